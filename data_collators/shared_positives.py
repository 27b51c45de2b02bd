"""Hard positives that several texts share.

What is left of many functions is the same, such as `'use strict';` or a call of the parent's method. Shown alone it
would be the positive of many texts and pull them all to one place.

Shape suffixes: N = rows, U = distinct hard positives.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator

import datasets
import numpy as np

from .hard_positives import PARTS, hard_positive_of
from .rows import OF_CODES, TEXT_KIND

_ROWS_AT_ONCE = 1000
_BODY, _ALL = ("text", "code_body"), ("text", "code", "code_body", "code_spans", "docstring")


def shared_hard_positives(rows: datasets.Dataset, drop: Collection[str] = PARTS) -> np.ndarray:
    """Which rows have a hard positive that another row has for another text, shared_N (bool).

    Differences of blanks do not count. Rows that have none are not among them. Texts that `coderep data augment` made
    of codes do not count either: the function is one that has a row of its own.

    Args:
        rows: Rows of pairs.
        drop: What hard positives lack; see `hard_positive_of`.

    Raises:
        ValueError: The rows lack the columns that other parts than the default need.
    """
    keys = [(_key(text), _key(part)) for text, part in _hard_positives(rows, drop)]
    keys_N2 = np.array(keys, np.int64).reshape(-1, 2)
    written_N2 = keys_N2[keys_N2[:, 0] != _key("")]
    parts_U, texts_U = np.unique(np.unique(written_N2, axis=0)[:, 1], return_counts=True)
    return np.isin(keys_N2[:, 1], np.setdiff1d(parts_U[texts_U > 1], _key("")))


def _hard_positives(rows: datasets.Dataset, drop: Collection[str]) -> Iterator[tuple[str, str]]:
    """Text ("" where a code stands for it) and hard positive of each row, from the columns that are needed alone."""
    names = (*(_BODY if set(drop) == set(PARTS) else _ALL), TEXT_KIND)
    for batch in rows.select_columns([name for name in names if name in rows.column_names]).iter(_ROWS_AT_ONCE):
        for values in zip(*batch.values(), strict=True):
            row = dict(zip(batch, values, strict=True))
            yield "" if row.get(TEXT_KIND) in OF_CODES else row["text"], hard_positive_of(row, drop)


def _key(text: str) -> int:
    digest = hashlib.blake2b(" ".join(text.split()).encode("utf-8", "replace"), digest_size=8).digest()
    return int.from_bytes(digest, "little", signed=True)
