"""`coderep search` on the command line."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from .messages import say

if TYPE_CHECKING:
    from .search import CodeIndex, Hit

DEFAULT = Path("checkpoints", "coderep-mini")
_USAGE = "coderep search [options] [CHECKPOINT] PATH QUERY\n       coderep search -i [options] [CHECKPOINT] PATH"
_DESCRIPTION = (
    "Search code by meaning: every function below PATH, ranked by its similarity to QUERY; folders of tests, hidden "
    "folders, vendored and generated files are left out. With PATH and QUERY alone, "
    f"the checkpoint is {DEFAULT.as_posix()} of the checkout around the current folder, else of the checkout that this "
    "program runs from. The first search of a PATH encodes it; later ones encode what has changed."
)


def default_checkpoint(start: str | Path = ".") -> Path:
    """The checkpoint that a checkout ships: that around the folder `start`, else that of this package.

    Raises:
        FileNotFoundError: Neither has one.
    """
    here = Path(start).resolve()
    for folder in (here, *here.parents, Path(__file__).resolve().parents[1]):
        if (folder / DEFAULT / "config.json").is_file():
            return folder / DEFAULT
    raise FileNotFoundError(
        f"there is no {DEFAULT.as_posix()} here, above, or beside this package. "
        "Name a checkpoint: coderep search CHECKPOINT PATH QUERY."
    )


def read_words(words: Sequence[str], interactive: bool) -> tuple[str | None, str, str | None]:
    """Checkpoint (None: the default one), path and query (None: from the prompt) of the arguments without options.

    Raises:
        ValueError: There are too few or too many.
    """
    needed = 1 if interactive else 2
    if not needed <= len(words) <= needed + 1:
        forms = "[CHECKPOINT] PATH, since -i asks for queries" if interactive else "[CHECKPOINT] PATH QUERY"
        raise ValueError(f"give {forms}; got {len(words)} arguments. A query of several words needs quotes.")
    checkpoint = words[0] if len(words) > needed else None
    rest = words[len(words) - needed :]
    return checkpoint, rest[0], None if interactive else rest[1]


def main(argv: list[str]) -> int:
    """`coderep search`."""
    args = _parser().parse_intermixed_args(argv)  # options may stand between PATH and QUERY
    checkpoint, path, query = read_words(args.words, args.interactive)
    if args.top_k < 1:  # before the code is read, which can take a while
        raise ValueError(f"--top-k must be at least 1, got {args.top_k}.")
    if args.context < 0:
        raise ValueError(f"--context must be at least 0, got {args.context}.")
    checkpoint = checkpoint or str(default_checkpoint())
    started = time.monotonic()
    index = _index(checkpoint, path, args)
    say(f"{len(index):,} functions in {len(index.files):,} files; ready after {time.monotonic() - started:.1f} s")
    for asked in [query] if query is not None else _ask():
        for hit in index.search(asked, args.top_k):
            print(_show(hit, asked, args))  # noqa: T201
    return 0


def _index(checkpoint: str, path: str, args: argparse.Namespace) -> CodeIndex:
    from .search import CodeIndex

    options = {"languages": args.language, "max_length": args.max_length, "device": args.device}
    return CodeIndex.build(checkpoint, path, progress=True, **options)


def _ask() -> Iterator[str]:
    """Queries line by line, from a prompt or a pipe; an empty line ends the prompt."""
    prompt = sys.stdin.isatty()
    while True:
        if prompt:
            print("query> ", end="", file=sys.stderr, flush=True)  # noqa: T201
        line = sys.stdin.readline()
        if not line or (prompt and not line.strip()):
            return
        if line.strip():
            yield line.strip()


def _show(hit: Hit, query: str, args: argparse.Namespace) -> str:
    code = hit.code(args.context) if args.context else ""
    if args.json:
        record = {"query": query, **asdict(hit), "score": round(hit.score, 6)}
        return json.dumps({**record, "code": code} if args.context else record, ensure_ascii=False)
    return "\n".join([str(hit), *(f"    {line}" for line in code.splitlines()), *([""] if args.context else [])])


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="coderep search", usage=_USAGE, description=_DESCRIPTION)
    add = parser.add_argument
    add("words", nargs="*", metavar="[CHECKPOINT] PATH QUERY", help="folder or Hub repo of a model; code; what it does")
    add("-i", "--interactive", action="store_true", help="ask for queries, or read them line by line from a pipe")
    add("--top-k", type=int, default=10, help="how many functions to show (default: 10)")
    add("--language", action="append", metavar="NAME", help="search only code in this language; may come again")
    add("--context", type=int, default=0, metavar="N", help="show the first N lines of each function")
    add("--json", action="store_true", help="one JSON object a line for each function found")
    add("--max-length", type=int, default=256, help="tokens read of each function (default: 256)")
    add("--device", help="where functions are encoded, such as cuda:1 (default: an accelerator if there is one)")
    return parser
