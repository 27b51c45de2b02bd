"""An index of evaluation texts that says which of them a training text holds, and how.

Shape suffixes: P = numbers of a MinHash signature, B = bands of it, N = texts, W = words, R = runs of words.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from zlib import crc32

import numpy as np

from ..decontamination import MULTIPLIER, run_hashes, split_words, word_hashes
from ..dedup import BANDS, PERMUTATIONS, shingles, signature

KINDS = ("exact", "near", "contained", "overlap")  # from the strongest to the weakest
MIN_WORDS = 5
_CHUNK = 1000  # texts whose runs are found at once
_CHUNK_PAIRS = 65536  # pairs of signatures that are compared at once


def squeeze(text: str) -> str:
    """The text without white space: what two exact duplicates have in common."""
    return "".join(text.split())


def digest(text: str) -> bytes:
    """128 bits that exact duplicates share."""
    return hashlib.blake2b(squeeze(text).encode("utf-8", "surrogatepass"), digest_size=16).digest()


def jaccard(left: set[str], right: set[str]) -> float:
    """Size of the intersection by size of the union; 0 if one is empty."""
    shared = len(left & right)
    return shared / (len(left) + len(right) - shared) if shared else 0.0


def meeting_probability(similarity: float) -> float:
    """How likely two texts of this Jaccard similarity have a band of their signatures in common."""
    return 1 - (1 - similarity ** (PERMUTATIONS // BANDS)) ** BANDS


def telling_runs(words_W: np.ndarray, numbers_W: np.ndarray, length: int) -> np.ndarray:
    """Which runs of `length` words show something, a bool for each of R.

    At least half as many different words as the run is long, numbers not counted: tables of numbers and rows of cases
    look alike everywhere.

    Args:
        words_W: A number for each word, at least `length` of them.
        numbers_W: Whether the word is a number.
        length: Words a run.
    """
    known_W = np.where(numbers_W, -1, words_W.astype(np.int64))
    runs_RL = np.sort(np.lib.stride_tricks.sliding_window_view(known_W, length), axis=1)
    different_R = 1 + (np.diff(runs_RL, axis=1) != 0).sum(axis=1) - (runs_RL[:, 0] == -1)
    return different_R * 2 >= length


def own_runs(texts: Sequence[Sequence[bytes]], length: int) -> tuple[np.ndarray, np.ndarray]:
    """(place of the text, number of the run) of each different telling run of words of texts with `length` or more."""
    flat = [word for words in texts for word in words]
    words_W = np.fromiter(map(crc32, flat), dtype=np.uint64, count=len(flat))
    numbers_W = np.fromiter((word.isdigit() for word in flat), dtype=bool, count=len(flat))
    owner_W = np.repeat(np.arange(len(texts)), [len(words) for words in texts])
    inside_R = owner_W[: len(flat) - length + 1] == owner_W[length - 1 :]
    kept = np.flatnonzero(inside_R & telling_runs(words_W, numbers_W, length))
    owner_R, hashes_R = owner_W[kept], run_hashes(words_W, length)[kept]
    order = np.lexsort((hashes_R, owner_R))
    owner_R, hashes_R = owner_R[order], hashes_R[order]
    new_R = np.ones(len(order), dtype=bool)
    new_R[1:] = (np.diff(owner_R) != 0) | (hashes_R[1:] != hashes_R[:-1])
    return owner_R[new_R], hashes_R[new_R]


def band_keys(signatures_NP: np.ndarray) -> np.ndarray:
    """A number for each band of each signature, giving keys_NB; equal bands at the same place have equal numbers."""
    parts_NBK = np.ascontiguousarray(signatures_NP).view("<u8").reshape(len(signatures_NP), BANDS, -1)
    keys_NB = np.broadcast_to(np.arange(1, BANDS + 1, dtype=np.uint64), parts_NBK.shape[:2])
    for part in range(parts_NBK.shape[2]):
        keys_NB = keys_NB * MULTIPLIER + parts_NBK[:, :, part]
    return keys_NB ^ (keys_NB >> np.uint64(31))


class Table:
    """Numbers of 64 bits and what they stand for; a number may stand for several things.

    Args:
        keys: The numbers.
        values: What each stands for, an index.
    """

    def __init__(self, keys: np.ndarray, values: np.ndarray) -> None:
        order = np.lexsort((values, keys))
        self.keys, self.values = keys[order], values[order]
        # Most numbers looked up are not here: a table of bits settles those without a binary search.
        self._mask = np.uint64(2 ** max(10, (8 * len(keys)).bit_length()) - 1)
        self._present = np.zeros(int(self._mask) + 1, dtype=bool)
        self._present[self.keys & self._mask] = True

    def __len__(self) -> int:
        return len(self.keys)

    def find(self, keys: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(place in `keys`, row of the table) of every two equal numbers."""
        places = np.flatnonzero(self._present[keys & self._mask])
        first = np.searchsorted(self.keys, keys[places])
        counts = np.searchsorted(self.keys, keys[places], side="right") - first
        ends = np.cumsum(counts)
        rows = np.arange(ends[-1] if len(ends) else 0) + np.repeat(first - ends + counts, counts)
        return np.repeat(places, counts), rows


@dataclass(frozen=True, slots=True)
class Match:
    """A training text holds an evaluation text.

    Args:
        text: Place of the training text among those given.
        unit: Number of the evaluation text.
        kind: One of `KINDS`.
        similarity: 1 for `exact` and `contained`; Jaccard similarity for `near`; for `overlap` the share of the
            evaluation text's runs that the training text holds too.
        run: Number of a run of words that both hold; 0 unless the kind is `overlap`.
    """

    text: int
    unit: int
    kind: str
    similarity: float
    run: int = 0


class LeakageIndex:
    """Different evaluation texts, to be looked up in training texts. Its size depends on the evaluation texts alone.

    Args:
        texts: No two of them exact duplicates, each of at least `MIN_WORDS` words.
        threshold: Jaccard similarity of word 5-grams from which on two texts are near duplicates.
        ngram: Words in a row that two texts must share to overlap.

    Raises:
        ValueError: `threshold` is not in (0, 1], or `ngram` is too small.
    """

    def __init__(self, texts: Sequence[str], threshold: float = 0.85, ngram: int = 13) -> None:
        check_limits(threshold, ngram)
        self.texts, self.threshold, self.ngram = texts, threshold, ngram
        self._exact = {digest(text): unit for unit, text in enumerate(texts)}
        self._index_signatures()
        self._index_runs()

    def _index_signatures(self) -> None:
        found = [signature(text) for text in self.texts]
        self._signatures = np.frombuffer(b"".join(raw or bytes(4 * PERMUTATIONS) for raw in found), dtype="<u4")
        self._signatures = self._signatures.reshape(-1, PERMUTATIONS)
        units = np.array([unit for unit, raw in enumerate(found) if raw], dtype=np.int64)
        self._bands = Table(band_keys(self._signatures[units]).ravel(), np.repeat(units, BANDS))

    def _index_runs(self) -> None:
        keys: dict[int, list[np.ndarray]] = {}
        units: dict[int, list[np.ndarray]] = {}
        for start in range(0, len(self.texts), _CHUNK):
            words = [split_words(text) for text in self.texts[start : start + _CHUNK]]
            lengths = np.minimum([len(one) for one in words], self.ngram)
            for length in np.unique(lengths).tolist():
                chosen = np.flatnonzero(lengths == length)
                owner_R, hashes_R = own_runs([words[place] for place in chosen], length)
                keys.setdefault(length, []).append(hashes_R)
                units.setdefault(length, []).append(start + chosen[owner_R])
        self._runs = {
            length: Table(np.concatenate(keys[length]), np.concatenate(units[length])) for length in sorted(keys)
        }
        every = np.concatenate([table.values for table in self._runs.values()])
        self._n_runs = np.bincount(every, minlength=len(self.texts))

    def scan(self, texts: Sequence[str]) -> list[Match]:
        """What training texts hold of the evaluation texts: for each two the strongest kind, in a fixed order."""
        best: dict[tuple[int, int], Match] = {}
        for match in (*self._equal(texts), *self._similar(texts), *self._sharing(texts)):
            best.setdefault((match.text, match.unit), match)
        return [best[pair] for pair in sorted(best)]

    def _equal(self, texts: Sequence[str]) -> Iterator[Match]:
        for place, text in enumerate(texts):
            unit = self._exact.get(digest(text))
            if unit is not None:
                yield Match(place, unit, "exact", 1.0)

    def _similar(self, texts: Sequence[str]) -> Iterator[Match]:
        found = [(place, raw) for place, text in enumerate(texts) if (raw := signature(text))]
        signatures_NP = np.frombuffer(b"".join(raw for _, raw in found), dtype="<u4").reshape(-1, PERMUTATIONS)
        places, rows = self._bands.find(band_keys(signatures_NP).ravel())
        pairs = np.unique(places // BANDS * len(self.texts) + self._bands.values[rows])
        for start in range(0, len(pairs), _CHUNK_PAIRS):
            numbers, units = np.divmod(pairs[start : start + _CHUNK_PAIRS], len(self.texts))
            yield from self._compared(texts, found, signatures_NP, numbers, units)

    def _compared(
        self,
        texts: Sequence[str],
        found: Sequence[tuple[int, bytes]],
        signatures_NP: np.ndarray,
        numbers: np.ndarray,
        units: np.ndarray,
    ) -> Iterator[Match]:
        """Which pairs of (number of a signature, evaluation text) are near duplicates."""
        # The share of equal numbers estimates the similarity; five standard deviations below, nothing is lost.
        alike = (signatures_NP[numbers] == self._signatures[units]).mean(axis=1)
        slack = 5 * math.sqrt(self.threshold * (1 - self.threshold) / PERMUTATIONS)
        for kept in np.flatnonzero(alike >= self.threshold - slack).tolist():
            place, unit = found[numbers[kept]][0], int(units[kept])
            similarity = jaccard(shingles(texts[place]), shingles(self.texts[unit]))
            if similarity >= self.threshold:
                yield Match(place, unit, "near", similarity)

    def _sharing(self, texts: Sequence[str]) -> Iterator[Match]:
        words = [word_hashes(text) for text in texts]
        words_W = np.concatenate([np.empty(0, dtype=np.uint64), *words])
        owner_W = np.repeat(np.arange(len(texts)), [len(hashes) for hashes in words])
        for length, table in self._runs.items():
            hashes_R = run_hashes(words_W, length)
            places, rows = table.find(hashes_R)
            inside = owner_W[places] == owner_W[places + length - 1]
            # A run that stands in a training text twice counts once.
            held = np.unique(owner_W[places[inside]] * len(table) + rows[inside])
            yield from self._shared(texts, table, *np.divmod(held, max(len(table), 1)), whole=length < self.ngram)

    def _shared(
        self, texts: Sequence[str], table: Table, owners: np.ndarray, rows: np.ndarray, whole: bool
    ) -> Iterator[Match]:
        """Matches from (training text, row of a table of runs); `whole`: whether a run is all of a text."""
        pairs = owners * len(self.texts) + table.values[rows]
        pairs, first, counts = np.unique(pairs, return_index=True, return_counts=True)
        for pair, run, count in zip(pairs.tolist(), table.keys[rows[first]].tolist(), counts.tolist(), strict=True):
            place, unit = divmod(pair, len(self.texts))
            share = count / int(self._n_runs[unit])
            if whole or (share == 1 and _stands_in(self.texts[unit], texts[place])):
                yield Match(place, unit, "contained", 1.0)
            else:
                yield Match(place, unit, "overlap", share, run)

    def shared_words(self, match: Match) -> str:
        """Some words that both texts have in a row, for `overlap` and `contained`; "" for other kinds."""
        words, start = split_words(self.texts[match.unit]), 0
        if match.kind == "overlap":
            hashes_R = run_hashes(word_hashes(self.texts[match.unit]), self.ngram)
            start = int(np.flatnonzero(hashes_R == np.uint64(match.run))[0])
        elif match.kind != "contained":
            return ""
        return b" ".join(words[start : start + self.ngram]).decode("utf-8", "replace")


def check_limits(threshold: float, ngram: int) -> None:
    """Refuse limits that mean nothing.

    Raises:
        ValueError: `threshold` is not in (0, 1], or `ngram` is too small.
    """
    if not 0 < threshold <= 1:
        raise ValueError(f"the threshold of near duplicates must lie in (0, 1], got {threshold}.")
    if ngram < MIN_WORDS:
        raise ValueError(f"shared runs need at least {MIN_WORDS} words, got {ngram}. Runs of 13 are common.")


def _stands_in(text: str, other: str) -> bool:
    """Whether all words of a text stand in a row in another."""
    inner, outer = (b" " + b" ".join(split_words(one)) + b" " for one in (text, other))
    return inner in outer
