"""Sources of code as a stream of files, in pieces of work ("chunks") that do not depend on each other.

A source is a folder, a JSONL or Parquet file of rows, or `hub:ID`, a data set on the Hub. In a folder, the repository
of a file, the unit of splitting, is
- what `repositories.json` at its top says: `{"repositories": [{"repo": "python/networkx", "license": "MIT"}]}`,
- or the git checkout below the folder that it lies in,
- or the first path component, without its suffix: the repository in a folder of repositories, the top-level module in
  a Python library.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ..languages import suffix_table
from ..rows import SourceFile
from . import tables
from .file_filters import FileFilters, check_bytes, check_path, decode, is_license_only

SPLITS = ("train", "test")
REPOSITORIES = "repositories.json"
NOT_SOURCE = frozenset(
    {"__pycache__", "node_modules", "site-packages", "dist-packages", "test", "tests", "idle_test", "_bundled"}
)
_CHUNK_FILES, _CHUNK_BYTES = 256, 4_000_000


@dataclass(frozen=True)
class SourceOptions:
    """Where source files come from and which of them are used.

    Args:
        source: Folders or files of source code, JSONL or Parquet files of rows, `hub:ID` for a data set on the Hub.
        languages: Languages to read; None means all in the table.
        test_share: Share of repositories set aside as the split `test`.
        exclude: Names of folders that are not entered; hidden folders never are.
        filters: Limits for files.
        columns: (field, column) pairs that say where rows hold `text`, `language`, `repo`, `path`, `license`.
    """

    source: tuple[str, ...]
    languages: tuple[str, ...] | None = None
    test_share: float = 0.1
    exclude: frozenset[str] = NOT_SOURCE
    filters: FileFilters = FileFilters()
    columns: tuple[tuple[str, str], ...] = ()

    def __post_init__(self) -> None:
        if not self.source:
            raise ValueError("no source given. Name at least one folder of source code with --source.")
        if not 0 <= self.test_share < 1:
            raise ValueError(f"test_share must lie in [0, 1), got {self.test_share}.")
        suffix_table(list(self.languages) if self.languages else None)
        tables.check_columns(dict(self.columns))
        for source in self.source:
            if not source.startswith(tables.HUB) and not Path(source).exists():
                raise FileNotFoundError(
                    f"source {source!r} does not exist. Name a folder or file of source code, or hub:ID."
                )


@dataclass(frozen=True)
class Chunk:
    """A piece of work: what `read_chunk` reads at once. `items` depend on the kind of source; `size` is in bytes."""

    source: str
    kind: str
    items: tuple[Any, ...]
    size: int = 0


@dataclass
class FileReport:
    """What became of the files: how many were read and why others were left out, with an example of each reason."""

    kept: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    examples: dict[str, str] = field(default_factory=dict)

    def drop(self, reason: str, path: str) -> None:
        """Count a file left out."""
        self.dropped[reason] += 1
        self.examples.setdefault(reason, path)

    def lines(self) -> list[str]:
        """One line for each reason, for people."""
        return [
            f"left out {count} file{'s' if count > 1 else ''}: {reason} (e.g. {self.examples[reason]})"
            for reason, count in sorted(self.dropped.items())
        ]


def split_of(repo: str, test_share: float) -> str:
    """Split of a repository, by a hash of its name, so that it is the same in every data set.

    Splitting by repository, not by file, keeps forks and vendored copies from sitting on both sides.
    """
    draw = int.from_bytes(hashlib.sha256(repo.encode()).digest()[:8], "big") / 2**64
    return "test" if draw < test_share else "train"


def iter_sources(options: SourceOptions, report: FileReport | None = None) -> Iterator[SourceFile]:
    """Files of all sources in a fixed order. What is left out is counted in `report`.

    Raises:
        ValueError: There is no file of the languages in any source, or none can be used.
    """
    report = report if report is not None else FileReport()
    for chunk in iter_chunks(options, report):
        yield from read_chunk(chunk, options, report)
    check_any(options, report)


def check_any(options: SourceOptions, report: FileReport) -> None:
    """Refuse sources without a usable file.

    Raises:
        ValueError: No file was kept.
    """
    if report.kept:
        return
    suffixes = suffix_table(list(options.languages) if options.languages else None)
    seen = sum(report.dropped.values())
    names = ", ".join(options.languages or sorted(set(suffixes.values())))
    raise ValueError(
        f"no usable {names} file in {', '.join(map(repr, options.source))}: {seen} found, all left out"
        f"{': ' + ', '.join(report.dropped) if seen else ''}. Expected suffixes: {', '.join(sorted(suffixes))}."
    )


def iter_chunks(options: SourceOptions, report: FileReport | None = None) -> Iterator[Chunk]:
    """Pieces of work over all sources, in a fixed order; folders that cannot be read are counted in `report`."""
    report = report if report is not None else FileReport()
    for source in options.source:
        if source.startswith(tables.HUB):
            yield from (Chunk(source, "hub", shard) for shard in tables.hub_shards(source, options.languages))
        elif Path(source).suffix in tables.SUFFIXES:
            yield from (Chunk(source, "table", item, size) for item, size in tables.table_pieces(Path(source)))
        else:
            yield from _folder_chunks(source, options, report)


def _folder_chunks(source: str, options: SourceOptions, report: FileReport) -> Iterator[Chunk]:
    suffixes = suffix_table(list(options.languages) if options.languages else None)
    root, pending, size = Path(source), [], 0
    known = _repositories(root)
    for path, checkout in _paths(root, options.exclude, report):
        if path.suffix.lower() not in suffixes:
            continue
        relative = path.relative_to(root) if path != root else Path(path.name)
        repo = _known_repo(relative, known) or checkout or _first_component(relative)
        pending.append((os.fsencode(relative), repo, known[repo]["license"] if repo in known else ""))
        size += _size(path)
        if len(pending) >= _CHUNK_FILES or size >= _CHUNK_BYTES:
            yield Chunk(source, "folder", tuple(pending), size)
            pending, size = [], 0
    if pending:
        yield Chunk(source, "folder", tuple(pending), size)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def known_repositories(options: SourceOptions) -> dict[str, dict[str, str]]:
    """Licence and version by repository, as far as folders among the sources say."""
    roots = [Path(source) for source in options.source if not source.startswith(tables.HUB)]
    return {repo: entry for root in roots for repo, entry in _repositories(root).items()}


def _repositories(root: Path) -> dict[str, dict[str, str]]:
    """Licence and version by repository, as far as the folder says.

    Raises:
        ValueError: repositories.json is broken.
    """
    path = root / REPOSITORIES
    if not path.is_file():
        return {}
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        return {
            entry["repo"]: {key: str(entry.get(key) or "") for key in ("license", "version")}
            for entry in record["repositories"]
        }
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(
            f'{str(path)!r} is broken ({error}). It must hold {{"repositories": [{{"repo": ..., "license": ...}}]}}.'
        ) from error


def _known_repo(relative: Path, known: dict[str, Any]) -> str:
    parts = relative.as_posix().split("/") if known else []
    return next((name for end in range(len(parts), 0, -1) if (name := "/".join(parts[:end])) in known), "")


def _first_component(relative: Path) -> str:
    first = relative.parts[0]
    name = first.removesuffix(relative.suffix) if len(relative.parts) == 1 else first
    return name.encode("utf-8", "replace").decode()


def _paths(root: Path, exclude: frozenset[str], report: FileReport) -> Iterator[tuple[Path, str]]:
    """Files in a fixed order, each with the git checkout below `root` that it lies in, or ""."""
    if root.is_file():
        yield root, ""
        return

    def unreadable(error: OSError) -> None:
        report.drop(f"unreadable folder ({error.strerror})", str(error.filename))

    checkouts: dict[str, str] = {}
    for folder, folders, files in os.walk(root, onerror=unreadable):
        checkout = checkouts.pop(folder, "")
        if ".git" in folders or ".git" in files:
            relative = Path(folder).relative_to(root).as_posix()
            checkout = checkout if relative == "." else relative
        folders[:] = sorted(name for name in folders if name not in exclude and not name.startswith("."))
        checkouts.update({os.path.join(folder, name): checkout for name in folders if checkout})
        for name in sorted(files):
            yield Path(folder, name), checkout


def read_chunk(chunk: Chunk, options: SourceOptions, report: FileReport) -> Iterator[SourceFile]:
    """The usable files of a piece of work. What is left out is counted in `report`."""
    found = _read_folder(chunk, options, report) if chunk.kind == "folder" else _read_rows(chunk, options, report)
    for file in found:
        reason = check_path(file.path, options.filters)
        if not reason and is_license_only(file.text):
            reason = "licence or comments only"
        if reason:
            report.drop(reason, file.path)
            continue
        report.kept += 1
        yield file


def _read_folder(chunk: Chunk, options: SourceOptions, report: FileReport) -> Iterator[SourceFile]:
    root, suffixes = Path(chunk.source), suffix_table(list(options.languages) if options.languages else None)
    name, is_folder = root.resolve().name, root.is_dir()
    for raw, repo, license_name in chunk.items:
        relative = Path(os.fsdecode(raw))
        path = root / relative if is_folder else root
        text = _read(path, options.filters, report)
        if text is not None:
            yield SourceFile(
                id=f"{name}/{relative.as_posix()}",
                text=text,
                language=suffixes[path.suffix.lower()],
                repo=repo,
                path=relative.as_posix(),
                license=license_name,
            )


def _read(path: Path, filters: FileFilters, report: FileReport) -> str | None:
    try:
        os.fsencode(path).decode("utf-8")
    except UnicodeDecodeError:
        return report.drop("file name is not UTF-8", os.fsencode(path).decode("utf-8", "replace"))
    try:
        found = path.stat()
        if not stat.S_ISREG(found.st_mode):
            return report.drop("not a regular file", str(path))
        if found.st_size > filters.max_file_bytes:
            return report.drop(f"larger than {filters.max_file_bytes} bytes", str(path))
        data = path.read_bytes()
    except OSError as error:
        return report.drop(f"unreadable ({error.strerror})", str(path))
    return _text(data, str(path), filters, report)


def _read_rows(chunk: Chunk, options: SourceOptions, report: FileReport) -> Iterator[SourceFile]:
    for file in tables.read_rows(chunk.source, chunk.kind, chunk.items, options, report.drop):
        text = _text(file.text.encode("utf-8", "surrogatepass"), file.id, options.filters, report)
        if text is not None:
            yield replace(file, text=text)


def _text(data: bytes, path: str, filters: FileFilters, report: FileReport) -> str | None:
    reason = check_bytes(data, filters)
    if reason:
        return report.drop(reason, path)
    text = decode(data)
    return report.drop("not UTF-8", path) if text is None else text
