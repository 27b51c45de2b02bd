"""The codes that a text's own code is compared with: drawn once, embedded once, shared by all machines of a step.

Shape suffixes: K = codes of the pool, D = embedding width, X = exclusions.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import torch
from safetensors import safe_open
from safetensors.numpy import save_file

from data_collators.builders.extract import digest

from .search import Exclusions
from .source import TRAIN, PairSource, Piece

_POOL, _EMBEDDINGS = "pool.parquet", "embeddings"
_SCHEMA = pa.schema(
    [("code", pa.string()), ("language", pa.string()), ("code_key", pa.int64()), ("text_keys", pa.list_(pa.int64()))]
)


def keys_of(texts: Sequence[str]) -> list[int]:
    """A number for each text, equal where texts differ in blanks alone, as when the builders look for duplicates."""
    return [digest(" ".join(text.split())) for text in texts]


def draw_rows(languages: np.ndarray | int, size: int, seed: int) -> np.ndarray:
    """Numbers of the rows that make the pool, ascending, none twice; all of them if there are no more than `size`.

    Args:
        languages: How many rows there are; or the language of each, and then all languages get equal shares, so that
            a rank means the same in each of them.
        size: Codes to draw.
        seed: Another seed draws others.

    Raises:
        ValueError: There are more languages than codes to draw.
    """
    rng = np.random.default_rng(seed)
    if isinstance(languages, int):
        return np.sort(rng.choice(languages, min(size, languages), replace=False))
    names = sorted(set(languages.tolist()))
    if size < len(names):
        raise ValueError(f"a pool of {size} cannot hold codes of {len(names)} languages. Raise --pool.")
    shares = [np.flatnonzero(languages == name) for name in names]
    drawn = [rng.choice(rows, min(size // len(names), len(rows)), replace=False) for rows in shares]
    return np.sort(np.concatenate(drawn))


def draw_pool(source: PairSource, folder: Path, size: int, seed: int, same_language: bool) -> None:
    """Draw the pool from the split `train` and write it to `folder`, unless it is there.

    A code stands once, with the keys of all texts that the drawn pairs give it. With `same_language` the codes of a
    language stand together.
    """
    if (folder / _POOL).is_file():
        return
    pieces = source.cut([TRAIN])
    rows: np.ndarray | int = pieces[-1].first + len(pieces[-1]) if pieces else 0
    if same_language:
        columns = (source.read(piece, ("language",))["language"] for piece in pieces)
        rows = np.array([name for column in columns for name in column.to_pylist()])
    found: dict[int, dict[str, Any]] = {}
    for piece, places in _places(pieces, draw_rows(rows, size, seed)):
        table = source.read(piece, ("text", "code", "language")).take(pa.array(places))
        texts, codes, languages = (table[name].to_pylist() for name in ("text", "code", "language"))
        for code, language, code_key, text_key in zip(codes, languages, keys_of(codes), keys_of(texts), strict=True):
            entry = {"code": code, "language": language, "code_key": code_key, "text_keys": []}
            found.setdefault(code_key, entry)["text_keys"].append(text_key)
    entries = sorted(found.values(), key=lambda entry: entry["language"]) if same_language else list(found.values())
    table = pa.Table.from_pylist(entries, _SCHEMA)
    write_first(folder / _POOL, lambda partial: pq.write_table(table, partial, compression="zstd"))


def _places(pieces: list[Piece], rows: np.ndarray) -> Iterator[tuple[Piece, np.ndarray]]:
    """The pieces that hold some of the rows, with their places in the piece."""
    for piece in pieces:
        start, stop = np.searchsorted(rows, [piece.first, piece.first + len(piece)])
        if stop > start:
            yield piece, rows[start:stop] - piece.first


def write_first(path: Path, write: Callable[[Path], None]) -> None:
    """Write a file whole or not at all; if another process was first, its file stays.

    Each process writes under a name of its own, so that two that make the same file do each other no harm.
    """
    with tempfile.TemporaryDirectory(prefix=".making-", dir=path.parent) as folder:
        partial = Path(folder, path.name)
        write(partial)
        if not path.exists():
            os.replace(partial, path)


class Pool:
    """The codes drawn, with embeddings of length 1.

    Args:
        folder: Where `draw_pool` wrote.
        same_language: Whether a text is compared with the codes of its language alone.
    """

    def __init__(self, folder: Path, same_language: bool) -> None:
        self.folder, self.same_language = folder, same_language
        table = pq.read_table(folder / _POOL)
        self.codes, self.embeddings_KD = table["code"].combine_chunks(), torch.empty(0, 0)
        self._places = {key: place for place, key in enumerate(table["code_key"].to_pylist())}
        self._texts: dict[int, list[int]] = {}
        for place, keys in enumerate(table["text_keys"].to_pylist()):
            for key in keys:
                self._texts.setdefault(key, []).append(place)
        self._languages = table["language"].combine_chunks()

    def __len__(self) -> int:
        return len(self.codes)

    def embed(
        self,
        encode: Callable[[list[str]], tuple[np.ndarray, dict[str, float]]],
        *,
        dtype: str,
        chunk: int,
        share: tuple[int, int],
        device: Any,
    ) -> Iterator[int]:
        """Embed the codes, chunk by chunk; gives the number of codes in each chunk that is done, read or made.

        Chunks that are in the folder are read. A machine of several makes those of its share first and then what the
        others have not made yet.

        Args:
            encode: Embeddings of some codes, and the seconds that took.
            dtype: "float32", or "float16" for half the memory.
            chunk: Codes a chunk.
            share: (i, n): this is the i-th of n machines, from 1.
            device: Where products of matrices are computed.
        """
        starts = list(range(0, len(self), chunk))
        own = starts[share[0] - 1 :: share[1]]
        for start in [*own, *(start for start in starts if start not in set(own))]:
            path = self._chunk(start)
            if not path.is_file():
                texts = self.codes.slice(start, chunk).to_pylist()
                embeddings_CD, seconds = encode(texts)
                tensors = {_EMBEDDINGS: embeddings_CD.astype(dtype)}
                metadata = {name: str(value) for name, value in seconds.items()}
                write_first(path, lambda partial, t=tensors, m=metadata: save_file(t, partial, metadata=m))
            yield min(chunk, len(self) - start)
        for start in starts:
            with safe_open(self._chunk(start), framework="pt", device=str(device)) as file:
                part_CD = file.get_tensor(_EMBEDDINGS)
            if not start:
                self.embeddings_KD = part_CD.new_empty((len(self), part_CD.shape[1]))
            self.embeddings_KD[start : start + chunk] = part_CD

    def _chunk(self, start: int) -> Path:
        return self.folder / f"pool-{start:07d}.safetensors"

    def seconds(self) -> list[dict[str, float]]:
        """The seconds that each chunk of embeddings took, on whichever machine."""
        found = []
        for path in sorted(self.folder.glob("pool-*.safetensors")):
            with safe_open(path, framework="np") as file:
                found.append({name: float(value) for name, value in file.metadata().items()})
        return found

    def places(self, codes: Sequence[str], keys: Sequence[int]) -> np.ndarray:
        """Place of each code in the pool, -1 where it is not there to the letter: (codes,) int64."""
        found = (self._places.get(key, -1) for key in keys)
        exact = (
            place if place >= 0 and self.codes[place].as_py() == code else -1
            for code, place in zip(codes, found, strict=True)
        )
        return np.fromiter(exact, np.int64, len(codes))

    def exclusions(self, code_keys: Sequence[int], text_keys: Sequence[int]) -> Exclusions:
        """Codes that do not count for each pair: its own, its duplicates, and those of pairs with the same text.

        As in the loss, where they are no negatives either.
        """
        found = {
            (place, row)
            for row, (code, text) in enumerate(zip(code_keys, text_keys, strict=True))
            for place in (self._places.get(code), *self._texts.get(text, ()))
            if place is not None
        }
        pairs = torch.tensor(sorted(found), dtype=torch.int64).reshape(-1, 2)
        return pairs[:, 1], pairs[:, 0].contiguous()

    def parts(self, languages: Sequence[str]) -> Iterator[tuple[np.ndarray, slice]]:
        """Pairs, by their rows, with the part of the pool that they are compared with."""
        if not self.same_language:
            yield np.arange(len(languages)), slice(0, len(self))
            return
        names = np.array(languages)
        for name in sorted(set(languages)):
            places = np.flatnonzero(pc.equal(self._languages, name).to_numpy(zero_copy_only=False))
            part = slice(int(places[0]), int(places[-1]) + 1) if len(places) else slice(0, 0)
            yield np.flatnonzero(names == name), part

    @property
    def shares(self) -> dict[str, int]:
        """Codes of each language."""
        counted = pc.value_counts(self._languages).to_pylist()
        return {entry["values"]: entry["counts"] for entry in sorted(counted, key=lambda entry: entry["values"])}


def within(exclusions: Exclusions, rows: np.ndarray, part: slice) -> Exclusions:
    """The exclusions of some texts in a part of the pool, numbered from the beginning of both."""
    rows_X, columns_X = exclusions
    places = torch.full((int(max(rows.max(initial=0), int(rows_X.max()) if len(rows_X) else 0)) + 1,), -1)
    places[torch.from_numpy(rows)] = torch.arange(len(rows))
    kept = (places[rows_X] >= 0) & (columns_X >= part.start) & (columns_X < part.stop)
    return places[rows_X][kept], columns_X[kept] - part.start
