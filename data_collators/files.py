"""Results are written under a temporary name and renamed: whole or not at all."""

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
    path = Path(path)
    if path.exists() and not (path.is_dir() and not any(path.iterdir())):
        if not (path / marker).is_file():
            raise FileExistsError(f"output {str(path)!r} holds something else (no {marker}). Name another folder.")
        if not overwrite:
            raise FileExistsError(f"output {str(path)!r} exists already. Name another folder or add --overwrite.")
    partial = path.parent / f".{path.name}.partial"
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        yield partial
        if path.exists():
            shutil.rmtree(path)
        os.replace(partial, path)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise


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
