"""Which pairs of a data set stay: no text too often, no language too large. What is drawn is drawn by hashes of ids.

Shape suffix: N = pairs of the split `train`.
"""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from data_collators.builders.extract import digest
from data_collators.builders.query_style import query_of
from data_collators.rows import QUERY, SUMMARY

from ..filtering.source import TRAIN, PairSource
from .options import AugmentOptions

REPEATED, TOO_LARGE = "repeated_text", "language_share"
_SIGNS = re.compile(r"[\W_]+")


@dataclass(frozen=True)
class Selection:
    """The pairs that stay.

    Args:
        keep_N: Whether each stays.
        reasons_N: Why not, "" for those that stay.
        languages_N: The language of each.
    """

    keep_N: np.ndarray
    reasons_N: np.ndarray
    languages_N: np.ndarray

    def count(self) -> int:
        """How many stay."""
        return int(self.keep_N.sum())


def lot(seed: int, purpose: str, identity: str) -> float:
    """A number in [0, 1) that a row draws for a purpose: the same in every run and process."""
    return digest(f"{seed} {purpose} {identity}") / 2**63


def generator(seed: int, purpose: str, identity: str) -> random.Random:
    """A generator for what is drawn for a row."""
    return random.Random(digest(f"{seed} {purpose} {identity}"))


def normal(text: str) -> str:
    """A text without case, signs and blanks, for finding repeated ones."""
    return _SIGNS.sub(" ", text.lower()).strip()


def text_of(row: Mapping[str, str], options: AugmentOptions) -> tuple[str, str]:
    """The text of a pair in the new data set, and of which kind it is.

    Args:
        row: With `id`, `text`, `language`, `name`.
        options: What was asked for.
    """
    identity = row["id"]
    if options.query_share and lot(options.seed, QUERY, identity) < options.query_share:
        rng = generator(options.seed, "words", identity)
        named = lot(options.seed, "language", identity) < options.query_language_share
        query = query_of(row["text"], row["language"] if named else "", row["name"] or "", rng)
        if query:
            return query, QUERY
    return row["text"], SUMMARY


def select(source: PairSource, options: AugmentOptions) -> Selection:
    """Which pairs of the split `train` stay.

    Raises:
        ValueError: There are too few languages for so small a share.
    """
    lots, texts, languages = [], [], []
    for piece in source.cut([TRAIN]):
        rows = source.read(piece, ("id", "text", "language", "name")).to_pylist()
        languages += [row["language"] for row in rows]
        lots += [lot(options.seed, "stay", row["id"]) for row in rows]
        if options.max_repeats is not None:
            texts += [digest(normal(text_of(row, options)[0])) for row in rows]
    lots_N, languages_N = np.array(lots), np.array(languages, dtype=object)
    reasons_N = np.full(len(lots), "", dtype=object)
    if options.max_repeats is not None:
        reasons_N[beyond(texts, lots_N, options.max_repeats)] = REPEATED
    if options.language_share_max is not None:
        stay = np.flatnonzero(reasons_N == "")
        limit = language_limit(Counter(languages_N[stay].tolist()), options.language_share_max)
        reasons_N[stay[beyond(languages_N[stay].tolist(), lots_N[stay], limit)]] = TOO_LARGE
    return Selection(reasons_N == "", reasons_N, languages_N)


def beyond(keys: Sequence[int | str], lots_N: np.ndarray, limit: int) -> np.ndarray:
    """Numbers of the rows that are too many: of each key, all but the `limit` with the lowest lots."""
    seen: Counter[int | str] = Counter()
    too_many = []
    for row in np.argsort(lots_N, kind="stable").tolist():
        seen[keys[row]] += 1
        if seen[keys[row]] > limit:
            too_many.append(row)
    return np.array(sorted(too_many), np.int64)


def language_limit(counts: Mapping[str, int], share: float) -> int:
    """Most rows of a language so that none is more than a share of what stays then.

    Raises:
        ValueError: There are too few languages for so small a share.
    """
    if not counts or share * len(counts) < 1:
        raise ValueError(
            f"{len(counts)} languages cannot all stay below a share of {share:g}: the least is "
            f"{1 / max(1, len(counts)):.3f}. Raise --language-share-max."
        )
    low, high = 0, max(counts.values())
    while low < high:  # the largest limit for which limit <= share * what stays
        middle = (low + high + 1) // 2
        fits = middle <= share * sum(min(count, middle) for count in counts.values())
        low, high = (middle, high) if fits else (low, middle - 1)
    if not low:
        raise ValueError(f"too few pairs for a language share of {share:g}. Raise --language-share-max.")
    return low
