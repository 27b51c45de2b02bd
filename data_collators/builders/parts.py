"""Parts: what one chunk of the sources gives, on disk, whole or not at all.

A part does not depend on any other, so any process on any machine may make it, in any order, again after a kill. It
consists of `<number>-<digest>.rows.parquet`, `.files.parquet`, `.rejected.parquet` and, written last, `.json`.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ..files import new_file, write_json
from ..rows import SourceFile, columns
from .dedup import signature
from .extract import Extract, digest
from .sources import Chunk, FileReport, SourceOptions, read_chunk

_ROWS_AT_ONCE = 2000


@dataclass(frozen=True)
class PartMaker:
    """Makes parts; goes to worker processes.

    Args:
        options: The sources.
        extract: What is made of each file.
        row_class: Class of the rows.
        near_dedup: Whether files get signatures for finding near duplicates.
        contamination: What to look for in files and rows; see `decontamination`.
        fields: Text fields of a row that are looked at for contamination; none: the whole file is.
    """

    options: SourceOptions
    extract: Extract
    row_class: type
    near_dedup: bool = False
    contamination: Any = None
    fields: tuple[str, ...] = ()

    def __call__(self, chunk: Chunk, stem: Path) -> dict[str, Any]:
        """Make the part of a chunk, unless it is there; returns its summary."""
        path = stem.with_name(stem.name + ".json")
        if path.is_file():
            return json.loads(path.read_text(encoding="utf-8"))
        os.environ["TOKENIZERS_PARALLELISM"] = "false"  # processes share the work; threads inside them only disturb
        report, files = FileReport(), []
        with _Rows(stem, "rows", self.row_class) as rows, _Rows(stem, "rejected", self.row_class) as rejected:
            for number, file in enumerate(read_chunk(chunk, self.options, report)):
                files.append(self._file(file, number, rows, rejected))
        table = pa.Table.from_pylist(files, schema=_FILE_SCHEMA)
        with new_file(stem.with_name(stem.name + ".files.parquet")) as partial:
            pq.write_table(table, partial, compression="zstd")
        summary = {
            "files": report.kept,
            "bytes": sum(file["bytes"] for file in files),
            "dropped": dict(sorted(report.dropped.items())),
            "examples": dict(sorted(report.examples.items())),
        }
        write_json(path, summary)
        return summary

    def _file(self, file: SourceFile, number: int, rows: _Rows, rejected: _Rows) -> dict[str, Any]:
        found, hits = self.extract(file), []
        file_hit = self.contamination.find(file.text) if self.contamination else None
        keep = np.ones(len(found.rows), dtype=bool)
        if file_hit is not None and not self.fields:
            hits.append({"id": file.id, **file_hit})
            keep[:] = False
        elif self.contamination and self.fields:
            for index, row in enumerate(found.rows):
                texts = [getattr(row, name) for name in self.fields]
                # Long runs of words can only come from the file; what is short may match as a whole.
                hit = self.contamination.find_any(texts, runs=file_hit is not None)
                if hit is not None:
                    hits.append({"id": row.id, **hit})
                    keep[index] = False
        kept = [row for row, good in zip(found.rows, keep, strict=True) if good]
        keys = found.keys or [0] * len(found.rows)
        rows.write(kept, number, [key for key, good in zip(keys, keep, strict=True) if good])
        rejected.write([row for row, _ in found.rejected], number, reasons=[reason for _, reason in found.rejected])
        if hits:
            found.dropped["contaminated"] += len(found.rows) - len(kept)
        return {
            "number": number,
            "id": file.id,
            "language": file.language,
            "repo": file.repo,
            "license": file.license,
            "bytes": len(file.text.encode("utf-8", "replace")),
            "digest": digest(file.text),
            "signature": signature(file.text) if self.near_dedup else b"",
            "rows": len(kept),
            "dropped": json.dumps(found.dropped),
            "counts": json.dumps(found.counts),
            "hits": json.dumps(hits),
        }


_FILE_SCHEMA = pa.schema(
    [
        ("number", pa.int32()),
        *((name, pa.string()) for name in ("id", "language", "repo", "license")),
        *((name, pa.int64()) for name in ("bytes", "digest")),
        ("signature", pa.binary()),
        ("rows", pa.int64()),
        *((name, pa.string()) for name in ("dropped", "counts", "hits")),
    ]
)


def row_schema(row_class: type) -> pa.Schema:
    """Columns of a row class in a data set."""
    numbers = pa.list_(pa.int32())
    kinds = {"np.ndarray": numbers, "tuple[int, ...]": numbers, "str": pa.string()}
    return pa.schema([(name, kinds[row_class.__annotations__[name]]) for name in columns(row_class)])


class _Rows:
    """Writes the rows of a part, with the number of their file, a key and, for rejected ones, the reason."""

    def __init__(self, stem: Path, kind: str, row_class: type) -> None:
        self.path, self.kind = stem.with_name(f"{stem.name}.{kind}.parquet"), kind
        self._columns = columns(row_class)
        extra = [("_file", pa.int32()), ("_key", pa.int64()) if kind == "rows" else ("reason", pa.string())]
        self._schema = pa.schema([*row_schema(row_class), *(pa.field(*pair) for pair in extra)])
        self._pending: dict[str, list[Any]] = {name: [] for name in self._schema.names}
        self._context: Any = None
        self._writer: Any = None

    def __enter__(self) -> _Rows:
        self._context = new_file(self.path)
        self._writer = pq.ParquetWriter(self._context.__enter__(), self._schema, compression="zstd")
        return self

    def __exit__(self, *error: object) -> None:
        try:
            if error[0] is None:
                self._flush()
            self._writer.close()
        except BaseException as inner:
            self._context.__exit__(type(inner), inner, inner.__traceback__)
            raise
        self._context.__exit__(*error)

    def write(
        self, rows: list[Any], number: int, keys: list[int] | None = None, reasons: list[str] | None = None
    ) -> None:
        """Add rows of a file."""
        for name in self._columns:
            self._pending[name].extend(getattr(row, name) for row in rows)
        self._pending["_file"].extend([number] * len(rows))
        if keys is not None:
            self._pending["_key"].extend(keys)
        if reasons is not None:
            self._pending["reason"].extend(reasons)
        if len(self._pending["_file"]) >= _ROWS_AT_ONCE:
            self._flush()

    def _flush(self) -> None:
        if self._pending["_file"]:
            self._writer.write_table(pa.table(self._pending, schema=self._schema))
            self._pending = {name: [] for name in self._pending}


def stems(chunks: Iterator[Chunk], folder: Path) -> Iterator[tuple[Chunk, Path]]:
    """Chunks with the names of their parts, which change when what is in them changes."""
    for number, chunk in enumerate(chunks):
        yield chunk, folder / f"{number:06d}-{_fingerprint(chunk)}"


def _fingerprint(chunk: Chunk) -> str:
    state = hashlib.blake2b(json.dumps([chunk.source, chunk.kind, chunk.size]).encode(), digest_size=6)
    files_inside = chunk.kind == "folder" and os.path.isdir(chunk.source)
    for item in chunk.items:
        state.update(repr(item).encode())
        if files_inside:
            state.update(_stamp(os.path.join(chunk.source, os.fsdecode(item[0]))))
    if chunk.kind != "hub" and not files_inside:
        state.update(_stamp(chunk.source))
    return state.hexdigest()


def _stamp(path: str) -> bytes:
    try:
        found = os.stat(path)
    except OSError:
        return b"-"
    return f"{found.st_size} {found.st_mtime_ns}".encode()


def read_files(stem: Path) -> list[dict[str, Any]]:
    """Records of the files of a part."""
    return pq.read_table(stem.with_name(stem.name + ".files.parquet")).to_pylist()


def read_rows(stem: Path, kind: str = "rows") -> Iterator[pa.Table]:
    """Rows of a part, in pieces."""
    with pq.ParquetFile(stem.with_name(f"{stem.name}.{kind}.parquet")) as file:
        for group in range(file.num_row_groups):
            yield file.read_row_group(group)
