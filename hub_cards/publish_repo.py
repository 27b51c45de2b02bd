"""The Hub's side of publishing: one version of a repo, seen, compared and replaced by the next in one commit.

Large files go first and become visible to nobody; the commit that names them comes last. So whoever reads the repo
sees the old version or the new one, whatever breaks in between, and what has arrived is not sent again.
`upload_folder` (before huggingface_hub 2: `upload_large_folder`) makes several commits of many files, between which the
repo would be a mixture.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi, RepoCard, constants, get_token
from huggingface_hub.errors import RepositoryNotFoundError
from huggingface_hub.hf_api import RepoFile
from yaml import YAMLError

from data_collators.files import write_json

from .publish_errors import LOGIN, PublishError, explained, hide, lacks_xet, redact
from .publish_files import DATASET, MODEL, RECORD, TEXT_BYTES, TEXTS, File

MAIN = "main"
# Files of an earlier version that would make a mixture with this one. Anything else that is in the repo stays there.
OURS = {
    MODEL: (
        *("model*.safetensors", "model.safetensors.index.json", "onnx/model*.onnx*", "*_coderep.py"),
        *("modules.json", "[0-9]_*/config.json", "sentence_bert_config.json", "config_sentence_transformers.json"),
        *("special_tokens_map.json", "added_tokens.json", "vocab.json", "merges.txt", "vocab.txt"),
    ),
    DATASET: ("*-[0-9]*-of-[0-9]*.parquet",),
}
_SHA256 = 64  # characters; git's digests have 40
# What is uploaded is kept from here on, whatever happens to the rest: the work that a cut connection can cost.
_GROUP_BYTES, _GROUP_FILES = 1_000_000_000, 64


@dataclass(frozen=True)
class Target:
    """Where a publication goes.

    Args:
        repo: owner/name.
        kind: "model" or "dataset".
        revision: Branch.
        public: Whether everybody may see a repo that is created, and whether one that everybody sees may be pushed to.
        token: The token; None takes the one that is logged in.
    """

    repo: str
    kind: str
    revision: str = MAIN
    public: bool = False
    token: str | None = field(default=None, repr=False)


@dataclass(frozen=True)
class Pushed:
    """What a push did."""

    url: str
    commit: str
    private: bool
    created: bool
    changed: bool
    removed: tuple[str, ...]


def check_token(repo: str, token: str | None = None) -> None:
    """Refuse to begin without a token; a token given here is kept out of messages too.

    Raises:
        PublishError: There is none.
    """
    if token:
        hide(token)
    elif not explained(get_token, repo):
        raise PublishError(f"no Hub token on this machine. {LOGIN}, then run this again.")


class HubRepo:
    """A repo on the Hub, opened for a push; created if need be.

    Raises:
        PublishError: There is no token, or the Hub refuses or does not answer.
        ValueError: The name is taken by a repo of another type, or by one whose visibility was not asked for.
    """

    def __init__(self, target: Target) -> None:
        self.target, self.created = target, False
        self._api = HfApi(token=target.token)
        self._where = {"repo_id": target.repo, "repo_type": target.kind}
        check_token(target.repo, target.token)
        self.private = self._open()
        self.head: str = self._ask(lambda: self._api.repo_info(**self._where, revision=target.revision).sha)
        self.files = self._list(self.head)

    def _ask(self, action: Any) -> Any:
        return explained(action, self.target.repo)

    def _info(self, kind: str) -> Any:
        try:
            return self._api.repo_info(self.target.repo, repo_type=kind)
        except RepositoryNotFoundError as error:
            if error.response.status_code == 404:
                return None
            raise

    def _open(self) -> bool:
        """Make sure that the repo and its branch are there; whether the repo is private."""
        target = self.target
        info = self._ask(lambda: self._info(target.kind))
        if info is None:
            other = DATASET if target.kind == MODEL else MODEL
            if self._ask(lambda: self._info(other)) is not None:
                raise ValueError(f"repo {target.repo!r} exists as a {other} repo. Name another for this {target.kind}.")
            self._ask(lambda: self._api.create_repo(**self._where, private=not target.public, exist_ok=True))
            info, self.created = self._ask(lambda: self._info(target.kind)), True
        if not info.private and not target.public:
            raise ValueError(
                f"repo {target.repo!r} is public: everybody would see what is pushed. Add --public if they may "
                "(while training: hub_private_repo=false), make it private in its settings, or name another one."
            )
        if target.revision != MAIN and not target.revision.startswith("refs/"):
            self._ask(lambda: self._api.create_branch(**self._where, branch=target.revision, exist_ok=True))
        return bool(info.private)

    def _list(self, revision: str) -> dict[str, str]:
        """Path -> digest of every file: SHA-256 of large ones, git's of the others."""
        entries = self._ask(lambda: list(self._api.list_repo_tree(**self._where, revision=revision, recursive=True)))
        files = [entry for entry in entries if isinstance(entry, RepoFile)]
        return {file.path: file.lfs.sha256 if file.lfs else file.blob_id for file in files}

    def push(self, files: Sequence[File], message: str) -> Pushed:
        """Replace the version in the repo by these files, in one commit.

        Raises:
            PublishError: The Hub refuses or does not answer, or a file or the repo changed meanwhile.
        """
        for file in files:
            if file.path == "README.md":
                source = file.source
                text = source if isinstance(source, bytes) else source.read_bytes()
                self._check_card(text.decode("utf-8", errors="replace"))
        names = {file.path for file in files}
        ours = OURS[self.target.kind]
        stale = sorted(n for n in self.files if n not in names and any(fnmatch(n, pattern) for pattern in ours))
        additions = [CommitOperationAdd(file.path, _content(file)) for file in files]
        for group in _groups(files, additions):
            self._ask(lambda group=group: self._upload(group))
        if changed := [file.path for file in files if file.changed()]:
            raise PublishError(
                f"{changed[0]!r} changed on this machine while it was uploaded; nothing was written to "
                f"{self.target.repo!r}. Run the same command again when nothing writes to the folder."
            )
        operations = [*additions, *(CommitOperationDelete(name, is_folder=False) for name in stale)]
        commit = self._ask(
            lambda: self._api.create_commit(
                **self._where,
                operations=operations,
                commit_message=message,
                revision=self.target.revision,
                parent_commit=self.head,
            )
        )
        before, self.head = self.head, commit.oid
        if self.head != before:
            self.files = self._list(self.head)
        prefix = "datasets/" if self.target.kind == DATASET else ""
        url = f"{constants.ENDPOINT}/{prefix}{self.target.repo}"
        return Pushed(url, self.head, self.private, self.created, self.head != before, tuple(stale))

    def _check_card(self, text: str) -> None:
        """Refuse before the uploads what the Hub would refuse after them, in the commit.

        Raises:
            ValueError: The metadata are not valid.
        """

        def fault() -> str | None:
            try:
                RepoCard(text).validate(self.target.kind)
            except (ValueError, YAMLError) as error:
                return str(error)

        if said := self._ask(fault):
            raise ValueError(f"the metadata at the top of README.md are not valid: {redact(said)}. Mend them.")

    def _upload(self, additions: list[CommitOperationAdd]) -> None:
        """Send the large files among some, by Xet where hf_xet is installed and the Hub has it, else by LFS."""
        options = {**self._where, "revision": self.target.revision, "free_memory": False}
        try:
            return self._api.preupload_lfs_files(additions=additions, **options)
        except Exception as error:
            if constants.HF_HUB_DISABLE_XET or not lacks_xet(error):
                raise
        constants.HF_HUB_DISABLE_XET = True  # with hf_xet the client takes it for granted, and asks for nothing else
        self._api.preupload_lfs_files(additions=additions, **options)

    # what was pushed from here before

    def check_untouched(self, folder: Path, files: Sequence[File]) -> None:
        """Refuse to overwrite what somebody else changed in the repo since the last push from this folder.

        Raises:
            PublishError: A file that would be replaced was changed on the Hub.
        """
        before = _read(folder).get(self._key(), {}).get("files", {})
        for file in files:
            there = self.files.get(file.path)
            if there in (None, before.get(file.path, there)) or there == file.digest(large=len(there) == _SHA256):
                continue  # gone, as it was, or what it would become
            raise PublishError(
                f"{file.path!r} was changed in {self.target.repo!r} on the Hub since it was pushed from here. Take the "
                "change over first, or add --overwrite to replace it."
            )

    def remember(self, folder: Path, files: Sequence[File]) -> None:
        """Note beside the run what the repo holds now."""
        mine = {file.path: self.files[file.path] for file in files if file.path in self.files}
        write_json(folder / RECORD, {**_read(folder), self._key(): {"commit": self.head, "files": mine}})

    def _key(self) -> str:
        # Of the Hub's address no name and password.
        hub = urlsplit(constants.ENDPOINT).netloc.rpartition("@")[2]
        return f"{hub} {self.target.kind} {self.target.repo} {self.target.revision}"


def _read(folder: Path) -> dict[str, Any]:
    path = folder / RECORD
    try:
        return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    except ValueError:
        return {}  # a note, not a result: without it the next push looks at the repo alone


def _content(file: File) -> str | bytes:
    """What the client uploads. Texts are read now, since the client reads them in the middle of the commit."""
    if isinstance(file.source, bytes):
        return file.source
    small = file.source.suffix in TEXTS and file.size <= TEXT_BYTES
    return file.source.read_bytes() if small else str(file.source)


def _groups(files: Sequence[File], additions: list[CommitOperationAdd]) -> Iterator[list[CommitOperationAdd]]:
    group, size = [], 0
    for file, addition in zip(files, additions, strict=True):
        if group and (size + file.size > _GROUP_BYTES or len(group) == _GROUP_FILES):
            yield group
            group, size = [], 0
        group.append(addition)
        size += file.size
    if group:
        yield group
