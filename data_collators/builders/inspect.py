"""Random rows of a data set of pairs, to read by eye."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from .sources import SPLITS
from .store import STATS


def sample_rows(
    folder: str | Path, languages: list[str] | None, count: int, seed: int = 0, dropped: bool = False
) -> dict[str, list[dict[str, Any]]]:
    """`count` random rows of each language, from all splits or from what was dropped; the same for the same seed.

    Raises:
        FileNotFoundError: The folder is no data set, or has no dropped rows.
        ValueError: A language is not in the data set.
    """
    folder = Path(folder)
    if not (folder / STATS).is_file():
        raise FileNotFoundError(f"{str(folder)!r} is not a coderep data set (no {STATS}).")
    names = ("dropped",) if dropped else SPLITS
    shards = sorted(path for name in names for path in folder.glob(f"{name}-*.parquet"))
    if not shards:
        raise FileNotFoundError(f"{str(folder)!r} has no {' or '.join(names)} rows. Build it with --keep-dropped.")
    places: dict[str, list[tuple[int, int]]] = {}
    for number, path in enumerate(shards):
        for row, language in enumerate(pq.read_table(path, columns=["language"])["language"].to_pylist()):
            places.setdefault(language, []).append((number, row))
    unknown = sorted(set(languages or ()) - set(places))
    if unknown:
        raise ValueError(f"{str(folder)!r} has no {unknown[0]!r} rows. It has {', '.join(sorted(places))}.")
    drawn = {
        language: random.Random(f"{seed} {language}").sample(places[language], min(count, len(places[language])))
        for language in sorted(languages or places)
    }
    found: dict[tuple[int, int], dict[str, Any]] = {}
    for number, path in enumerate(shards):
        rows = [row for chosen in drawn.values() for shard, row in chosen if shard == number]
        table = pq.read_table(path).take(pa.array(rows, pa.int64())) if rows else None
        for row, record in zip(rows, table.to_pylist() if table else [], strict=True):
            found[number, row] = record
    return {language: [found[place] for place in chosen] for language, chosen in drawn.items()}
