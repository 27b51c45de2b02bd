"""Files: results are written under a temporary name and renamed, whole or not at all; lines of JSON are read."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


@contextmanager
def new_folder(path: str | Path, marker: str, overwrite: bool = False) -> Iterator[Path]:
    """A folder to fill under a temporary name, renamed to `path` when the block ends well and removed when not.

    An existing folder is replaced only with `overwrite`, and only if it holds the file `marker`, which every result of
    this kind does.

    Raises:
        FileExistsError: `path` exists and may not be replaced.
    """
    path = check_output_folder(path, marker, overwrite)
    partial, before = (path.parent / f".{path.name}.{state}" for state in ("partial", "before"))
    for leftover in (partial, before):
        shutil.rmtree(leftover, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        yield partial
        if path.exists():
            os.replace(path, before)
        os.replace(partial, path)
        shutil.rmtree(before, ignore_errors=True)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise


def check_output_folder(path: str | Path, marker: str, overwrite: bool = False) -> Path:
    """Refuse, before any work, a folder that `new_folder` would refuse; returns its absolute name.

    Raises:
        FileExistsError: `path` exists and may not be replaced.
    """
    path = Path(path).resolve()  # a link to a folder on another disk stays a link
    if path.exists() and not (path.is_dir() and not any(path.iterdir())):
        if not (path / marker).is_file():
            raise FileExistsError(f"output {str(path)!r} holds something else (no {marker}). Name another folder.")
        if not overwrite:
            raise FileExistsError(f"output {str(path)!r} exists already. Name another folder or add --overwrite.")
    return path


@contextmanager
def new_file(path: str | Path) -> Iterator[Path]:
    """A temporary name beside `path` to write to, renamed to `path` when the block ends well."""
    path = Path(path)
    partial = path.with_name(f".{path.name}.partial")
    try:
        yield partial
        os.replace(partial, path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def write_json(path: str | Path, record: dict[str, Any]) -> None:
    """Write a record under a temporary name, then rename."""
    with new_file(path) as partial:
        partial.write_text(json.dumps(record, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def json_lines(path: str | Path) -> Iterator[dict[str, Any]]:
    """The objects of a JSONL file; bytes that are not UTF-8 become replacement characters.

    Raises:
        ValueError: A line is not a JSON object.
    """
    with Path(path).open(encoding="utf-8", errors="replace") as file:
        for number, line in enumerate(file, start=1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except ValueError as error:
                raise ValueError(f"{str(path)!r}, line {number} is not JSON ({error}). Fetch the file anew.") from error
            if not isinstance(row, dict):
                raise ValueError(f"{str(path)!r}, line {number} is not a JSON object.")
            yield row


def check_output_file(path: str | Path) -> None:
    """Refuse, before any work, a file that could not be written.

    Raises:
        FileNotFoundError: Its folder does not exist.
        IsADirectoryError: It is a folder.
    """
    path = Path(path)
    if path.is_dir():
        raise IsADirectoryError(f"output {str(path)!r} is a folder. Name a file in it.")
    if not path.parent.is_dir():
        raise FileNotFoundError(f"the folder of output {str(path)!r} does not exist. Create it or name another.")


def claim_folder(folder: str | Path, marker: str, record: dict[str, Any]) -> bool:
    """Take an empty or new folder for a piece of work, or go on in one that was taken for the same work.

    Args:
        folder: The folder.
        marker: File in it that says what it was taken for.
        record: What the work is; JSON.

    Returns:
        Whether the folder had been taken for this work before.

    Raises:
        FileExistsError: The folder holds something else, or was taken for other work.
    """
    folder, record = Path(folder), json.loads(json.dumps(record))
    path = folder / marker
    if path.is_file():
        try:
            before = json.loads(path.read_text(encoding="utf-8"))
        except json.JSONDecodeError:
            before = {}
        changed = sorted(key for key in {*before, *record} if before.get(key) != record.get(key))
        if changed:
            raise FileExistsError(
                f"output {str(folder)!r} holds work with another {', '.join(changed)}. "
                "Name another folder or delete this one."
            )
        return True
    if folder.exists() and not folder.is_dir() or folder.is_dir() and any(not _partial(p) for p in folder.iterdir()):
        raise FileExistsError(f"output {str(folder)!r} holds something else (no {marker}). Name another folder.")
    folder.mkdir(parents=True, exist_ok=True)
    write_json(path, record)
    return False


def _partial(path: Path) -> bool:
    return path.name.startswith(".") and path.name.endswith(".partial")
