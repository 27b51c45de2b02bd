"""What goes wrong with the Hub, each in one line with the way out, and without a token in it."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from huggingface_hub import constants
from huggingface_hub.errors import HfHubHTTPError, LocalTokenNotFoundError, OfflineModeIsEnabled

Result = TypeVar("Result")
AGAIN = "The same command goes on from there."
LOGIN = "Make one with write access at https://huggingface.co/settings/tokens and log in with `hf auth login`"
TOKEN_PATTERN = "hf_[A-Za-z0-9]{30,}"  # what nothing but a token looks like
_TOKEN = re.compile(r"hf_[A-Za-z0-9]{16,}")
# What hf_xet, which large files go through unless HF_HUB_DISABLE_XET is set, says of an answer that is an error.
_XET = re.compile(r"HTTP status \w+ error \((\d{3}) ([^)]*)\)")
_XET_TOKEN = "/xet-write-token/"  # where a client asks a Hub for its Xet storage
_SPACE = re.compile(r"storage limit|quota|no space|insufficient storage", re.IGNORECASE)


class PublishError(OSError):
    """The Hub, or the way to it, failed; the message is one line for people."""


_given: set[str] = set()


def hide(token: str) -> None:
    """Keep a token that was given, not logged in with, out of messages and files too."""
    _given.add(token)


def known_tokens() -> set[str]:
    """The tokens that this machine would send, without asking anybody for one."""
    names = ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HUGGINGFACE_TOKEN")
    found = {os.environ[name].strip() for name in names if os.environ.get(name)}
    path = Path(constants.HF_TOKEN_PATH)
    if path.is_file():
        found.add(path.read_text(encoding="utf-8", errors="replace").strip())
    return {token for token in found | _given if token}


def redact(text: str) -> str:
    """A text without tokens, without names and passwords in URLs, and without signatures of URLs."""
    for token in known_tokens():
        text = text.replace(token, "***")
    text = re.sub(r"(?<=://)[^/\s@]*@", "***@", text)
    text = re.sub(r"(https?://[^\s?'\"]+)\?[^\s'\"]*", r"\1", text)
    return _TOKEN.sub("***", text)


def holds_token(text: str) -> bool:
    """Whether a token of the Hub stands in a text."""
    return any(token in text for token in known_tokens()) or re.search(TOKEN_PATTERN, text) is not None


def explained(action: Callable[[], Result], repo: str) -> Result:
    """What `action` gives; what goes wrong with the Hub becomes one line.

    Raises:
        PublishError: The Hub refused or did not answer. It stands alone: the library's errors hold the request.
    """
    try:
        return action()
    except Exception as error:
        message = _explain(error, repo)
        if message is None:
            raise
    raise PublishError(redact(" ".join(message.split())))


def _explain(error: BaseException, repo: str) -> str | None:
    """The line for an error; None for one that has nothing to do with the Hub."""
    chain = list(_chain(error))
    for reason in (_by_answer, _by_connection):
        for cause in chain:
            if said := reason(cause, repo):
                return said
    text = str(error)
    if isinstance(error, OSError):  # of this machine's disk
        return None
    if _SPACE.search(text):
        return _no_space(repo, text)
    if isinstance(error, RuntimeError) or text.startswith("LFS batch API"):
        why = f" ({chain[-1]})" if len(chain) > 1 else ""
        return f"the upload to {repo!r} failed: {text.rstrip('.')}{why}. What arrived is kept. {AGAIN}"
    return None


def _by_answer(error: BaseException, repo: str) -> str | None:
    """The line for what the Hub answered, or for what kept the client from asking."""
    if isinstance(error, LocalTokenNotFoundError):
        return f"no Hub token on this machine. {LOGIN}, then run this again."
    if isinstance(error, OfflineModeIsEnabled):
        return "HF_HUB_OFFLINE is set: nothing may leave this machine. Unset it, then run this again."
    if isinstance(error, HfHubHTTPError) and error.response is not None:
        said = (error.server_message or "").strip() or "it gave no reason"
        return _by_status(error.response.status_code, said, repo, error.response.headers.get("Retry-After"))
    found = _XET.search(str(error))
    if found and found[1] == "404":
        return (
            f"the Xet storage of {constants.ENDPOINT} does not answer as one ({found[2]}). Set HF_HUB_DISABLE_XET=1 "
            "to send files the other way, then run this again."
        )
    return _by_status(int(found[1]), found[2], repo) if found else None


def lacks_xet(error: BaseException) -> bool:
    """Whether hf_xet found that the Hub has no Xet storage, as one of one's own may not."""
    said = [str(cause) for cause in _chain(error)]
    return any(_XET_TOKEN in text and (found := _XET.search(text)) and found[1] == "404" for text in said)


def _by_connection(error: BaseException, repo: str) -> str | None:
    # httpx's errors, under whatever name this version of the client has it.
    if type(error).__module__.startswith("http") or isinstance(error, ConnectionError):
        name = type(error).__name__
        return f"the connection to {constants.ENDPOINT} failed ({name}: {error}). What arrived is kept. {AGAIN}"
    return None


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _no_space(repo: str, said: str) -> str:
    return (
        f"the Hub has no space left for {repo!r} ({said}). Delete what is not needed there, or take another plan; "
        "nothing of the repo was changed, and the same command goes on."
    )


def _by_status(status: int, said: str, repo: str, wait: str | None = None) -> str:
    if status in (402, 413, 507) or status in (400, 403) and _SPACE.search(said):
        return _no_space(repo, said)
    if status == 401:
        return f"the Hub does not accept the token ({said}): it expired, was revoked or is mistyped. {LOGIN}."
    if status == 403:
        return f"the token may not write to {repo!r} ({said}). Name a repo of yours, or: {LOGIN}."
    if status == 404:
        return f"the Hub does not know {repo!r}, or not this revision of it ({said}). Check --repo and --revision."
    if status in (409, 412):
        return f"{repo!r} changed while this was uploaded ({said}); nothing was written. {AGAIN}"
    if status == 429:
        when = f"Wait {wait} s" if wait else "Wait some minutes"
        return f"the Hub takes no more requests for now (429). {when}; what arrived is kept. {AGAIN}"
    if status >= 500:
        return f"the Hub failed ({status}: {said}). What arrived is kept. Try later: the same command goes on."
    return f"the Hub refused {repo!r} ({status}: {said})."


class _Redacting(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        record.msg, record.args = redact(record.getMessage()), ()
        return True


@contextmanager
def redacted_logs() -> Iterator[None]:
    """Log lines of the Hub's client without tokens, and without the signatures of storage URLs, which are as good."""
    redacting = _Redacting()
    # A filter of a logger sees what is logged there, not what is logged below it.
    names = [name for name in logging.root.manager.loggerDict if name.startswith(("huggingface_hub", "http"))]
    loggers = [logging.getLogger(name) for name in names]
    for logger in loggers:
        logger.addFilter(redacting)
    try:
        yield
    finally:
        for logger in loggers:
            logger.removeFilter(redacting)
