"""Sources: local folders of code as a stream of files, with a counted reason for every file left out.

`repo`, the unit of splitting, is the first path component below the source folder, without its suffix: the repository
in a folder of repositories, the top-level module in a Python library.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from ..languages import suffix_table
from ..rows import SourceFile

SPLITS = ("train", "test")
NOT_SOURCE = frozenset(
    {"__pycache__", "node_modules", "site-packages", "dist-packages", "test", "tests", "idle_test", "_bundled"}
)


@dataclass(frozen=True)
class SourceOptions:
    """Where source files come from and which of them are used.

    Args:
        source: Folders or files of source code.
        languages: Languages to read; None means all in the table.
        test_share: Share of repositories set aside as the split `test`.
        exclude: Names of folders that are not entered; hidden folders never are.
        max_file_bytes: Longer files are left out.
        max_line_bytes: Files with a longer line (minified, data) are left out.
    """

    source: tuple[str, ...]
    languages: tuple[str, ...] | None = None
    test_share: float = 0.1
    exclude: frozenset[str] = NOT_SOURCE
    max_file_bytes: int = 1_000_000
    max_line_bytes: int = 10_000

    def __post_init__(self) -> None:
        if not self.source:
            raise ValueError("no source given. Name at least one folder of source code with --source.")
        if not 0 <= self.test_share < 1:
            raise ValueError(f"test_share must lie in [0, 1), got {self.test_share}.")
        suffix_table(list(self.languages) if self.languages else None)
        for source in self.source:
            if not Path(source).exists():
                raise FileNotFoundError(f"source {source!r} does not exist. Name a folder or file of source code.")


@dataclass
class FileReport:
    """What became of the files: how many were read and why others were left out, with an example of each reason."""

    kept: int = 0
    bytes: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    examples: dict[str, str] = field(default_factory=dict)

    def drop(self, reason: str, path: Path) -> None:
        """Count a file left out."""
        self.dropped[reason] += 1
        self.examples.setdefault(reason, str(path))

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
    suffixes = suffix_table(list(options.languages) if options.languages else None)
    for source in options.source:
        root = Path(source)
        for path in _paths(root, options.exclude, report):
            language = suffixes.get(path.suffix.lower())
            if language is None:
                continue
            text = _read(path, options, report)
            if text is None:
                continue
            relative = path.relative_to(root) if path != root else Path(path.name)
            report.kept += 1
            report.bytes += len(text.encode())
            yield SourceFile(
                id=f"{root.name}/{relative.as_posix()}",
                text=text,
                language=language,
                repo=relative.parts[0].removesuffix(path.suffix) if len(relative.parts) == 1 else relative.parts[0],
                path=relative.as_posix(),
            )
    if not report.kept:
        seen = sum(report.dropped.values())
        names = ", ".join(options.languages or sorted(set(suffixes.values())))
        raise ValueError(
            f"no usable {names} file in {', '.join(map(repr, options.source))}: {seen} found, all left out"
            f"{': ' + ', '.join(report.dropped) if seen else ''}. Expected suffixes: {', '.join(sorted(suffixes))}."
        )


def _paths(root: Path, exclude: frozenset[str], report: FileReport) -> Iterator[Path]:
    if root.is_file():
        yield root
        return

    def unreadable(error: OSError) -> None:
        report.drop(f"unreadable folder ({error.strerror})", Path(error.filename))

    for folder, folders, files in os.walk(root, onerror=unreadable):
        folders[:] = sorted(name for name in folders if name not in exclude and not name.startswith("."))
        for name in sorted(files):
            yield Path(folder, name)


def _read(path: Path, options: SourceOptions, report: FileReport) -> str | None:
    try:
        os.fsencode(path).decode("utf-8")
    except UnicodeDecodeError:
        return report.drop("file name is not UTF-8", Path(os.fsencode(path).decode("utf-8", "replace")))
    try:
        found = path.stat()
        if not stat.S_ISREG(found.st_mode):
            return report.drop("not a regular file", path)
        if found.st_size > options.max_file_bytes:
            return report.drop(f"larger than {options.max_file_bytes} bytes", path)
        data = path.read_bytes()
    except OSError as error:
        return report.drop(f"unreadable ({error.strerror})", path)
    if not data.strip():
        return report.drop("empty", path)
    if max(map(len, data.splitlines())) > options.max_line_bytes:
        return report.drop(f"a line longer than {options.max_line_bytes} bytes", path)
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return report.drop("not UTF-8", path)
    return report.drop("NUL characters", path) if "\0" in text else text
