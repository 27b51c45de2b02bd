"""Functions of a code base, file by file: a file is parsed again only when it has changed.

A file counts as unchanged while its size and its time of modification stay. One that was written moments before it was
read counts as changed the next time: it may have been written again within the same tick of the clock.
"""

from __future__ import annotations

import hashlib
import os
import re
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from data_collators.builders.sources import Chunk, FileReport, SourceOptions, iter_chunks, read_chunk
from data_collators.rows import SourceFile

_MOMENT_NS = 2_000_000_000  # the coarsest clock of a file system in use
_NEVER = (0, 0)
_LONGEST_SIGNATURE = 160
_DECORATION = re.compile(r"\s*(?:@|\[|#\[|//|/\*|\*)")


class Place(NamedTuple):
    """A function in a file. Lines count from 1; `line` is the one that names it, behind decorators."""

    line: int
    end_line: int
    name: str
    signature: str
    key: str  # hash of the code that is embedded


class FileEntry(NamedTuple):
    """What is known of a file: when it was read (time of modification in ns, size), its language, its functions."""

    seen: tuple[int, int]
    language: str
    places: tuple[Place, ...]


@dataclass
class Scan:
    """What a look at a code base found.

    Args:
        files: Path below the root -> its entry, in a fixed order.
        codes: Key -> code, of the functions in files that were read now.
        read: How many files were read now.
    """

    files: dict[str, FileEntry] = field(default_factory=dict)
    codes: dict[str, str] = field(default_factory=dict)
    read: int = 0

    @property
    def places(self) -> list[tuple[str, FileEntry, Place]]:
        """Every function with its file, in order."""
        return [(path, entry, place) for path, entry in self.files.items() for place in entry.places]


def scan(
    path: str | Path,
    languages: Iterable[str] | None = None,
    known: Mapping[str, FileEntry] | None = None,
    *,
    report: FileReport | None = None,
    done: Callable[[int, int], None] = lambda files, total: None,
) -> Scan:
    """Every function and method below a folder, or in a file.

    Args:
        path: Folder or file of source code.
        languages: Languages to read; None reads all that are known.
        known: Entries of an earlier scan of this path; those whose file has not changed stay as they are.
        report: What was left out among the files read now, and why.
        done: Called now and then with the number of files that are done, and of all.

    Raises:
        FileNotFoundError: There is no such path.
        ValueError: It holds rows of a data set, not source code; or a language is unknown.
    """
    options = SourceOptions(source=(str(path),), languages=tuple(languages) if languages else None)
    report, known, found = report or FileReport(), known or {}, Scan()
    chunks = list(iter_chunks(options, report))
    total = sum(len(chunk.items) for chunk in chunks)
    for chunk in chunks:
        if chunk.kind != "folder":
            raise ValueError(f"{str(path)!r} holds rows of a data set. Name a folder or file of source code.")
        for item in chunk.items:
            relative = os.fsdecode(item[0])
            full = Path(path, relative) if Path(path).is_dir() else Path(path)
            now, seen = time.time_ns(), _seen(full)
            if (before := known.get(relative)) and before.seen == seen:
                found.files[relative] = before
                continue
            file = next(read_chunk(Chunk(chunk.source, chunk.kind, (item,)), options, report), None)
            found.read += 1
            places = _places(file, found.codes, report) if file else ()
            settled = seen if seen[0] < now - _MOMENT_NS else _NEVER
            found.files[relative] = FileEntry(settled, file.language if file else "", places)
        done(len(found.files), total)
    return found


def _seen(path: Path) -> tuple[int, int]:
    try:
        state = path.stat()
    except OSError:
        return _NEVER
    return state.st_mtime_ns, state.st_size


def _places(file: SourceFile, codes: dict[str, str], report: FileReport) -> tuple[Place, ...]:
    from data_collators.definitions import functions
    from data_collators.parsing import ParseTimeout
    from data_collators.slices import dedent

    code = file.text.encode()
    try:
        found = functions(code, file.language)
    except ParseTimeout:
        report.drop("takes too long to parse", file.path)
        return ()
    places = []
    for function in found:
        if function.kind == "class":
            continue
        text = code[slice(*function.span)].decode()
        skipped, shown = signature(code[slice(*function.signature)].decode(), function.name)
        key = hashlib.blake2b(dedent(text).encode(), digest_size=16).hexdigest()
        last = function.line + text.rstrip().count("\n")
        places.append(Place(function.line + skipped, last, function.name, shown, key))
        codes[key] = dedent(text)
    return tuple(places)


def signature(text: str, name: str) -> tuple[int, str]:
    """Lines before the one that names a function, and its signature from there, on one line.

    Decorators, annotations and attributes stand before it.
    """
    lines = text.split("\n")  # as lines are counted
    plain = [number for number, line in enumerate(lines) if line.strip() and not _DECORATION.match(line)] or [0]
    first = next((number for number in plain if name in lines[number]), plain[0])
    joined = " ".join(" ".join(lines[first:]).split()).rstrip(" {")
    joined = joined.replace("( ", "(").replace(", )", ")").replace(" )", ")")
    return first, joined if len(joined) <= _LONGEST_SIGNATURE else f"{joined[: _LONGEST_SIGNATURE - 1]}…"
