"""What an extractor makes of one file. Extractors are pure: what files have in common is settled later, in `merge`."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from ..rows import SourceFile


@dataclass
class Extracted:
    """Rows of one file.

    Args:
        rows: The rows.
        keys: One number a row; of rows with equal keys only the first is kept in a data set. Empty if none may repeat.
        dropped: What was left out, by reason.
        rejected: The rows left out, with their reasons, where the extractor keeps them.
        counts: Figures for the statistics of the data set.
    """

    rows: list[Any] = field(default_factory=list)
    keys: list[int] = field(default_factory=list)
    dropped: Counter[str] = field(default_factory=Counter)
    rejected: list[tuple[Any, str]] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)


Extract = Callable[[SourceFile], Extracted]


def digest(text: str) -> int:
    """A 63-bit number that stands for a text, the same in every process."""
    return int.from_bytes(hashlib.blake2b(text.encode("utf-8", "replace"), digest_size=8).digest(), "big") >> 1


def sampled(identity: str, share: float) -> bool:
    """Whether a thing belongs to a sample: by a hash of its name, so the same in every run."""
    return digest(identity) < share * 2**63
