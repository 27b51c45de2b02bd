"""Near duplicates among files, by MinHash signatures (rensa) and banding.

Files whose sets of word 5-grams overlap by about `threshold` (Jaccard) or more count as near duplicates, as in the
preparation of The Stack (arXiv 2211.15533, appendix A); the first one stays.
"""

from __future__ import annotations

import importlib.util
import re
from array import array

import numpy as np

PERMUTATIONS, BANDS, _NGRAM = 128, 16, 5
_WORD = re.compile(r"\w+")


def check_library() -> None:
    """Ask for the library before work begins.

    Raises:
        ImportError: rensa is not installed.
    """
    if importlib.util.find_spec("rensa") is None:
        raise ImportError("finding near duplicates needs rensa: pip install 'coderep[dedup]'")


def shingles(text: str) -> set[str]:
    """The word 5-grams of a text, whose overlap between two texts (Jaccard) is their similarity."""
    words = _WORD.findall(text)
    return {" ".join(words[start : start + _NGRAM]) for start in range(len(words) - _NGRAM + 1)}


def signature(text: str) -> bytes:
    """MinHash signature of a text: 128 numbers of 32 bits; the same in every process. b"" if it has too few words."""
    from rensa import RMinHash

    found = shingles(text)
    if not found:
        return b""
    sketch = RMinHash(num_perm=PERMUTATIONS, seed=42)
    sketch.update(list(found))
    return np.array(sketch.digest(), dtype="<u4").tobytes()


class NearDuplicates:
    """Signatures seen so far; the first of several near duplicates stays.

    Two texts meet in at least one of 16 bands of 8 numbers with a probability of 1 - (1 - J^8)^16: 99.4 % at a
    similarity of 0.85. Those that meet are compared by their whole signatures.

    Args:
        threshold: Share of equal numbers from which on two texts are near duplicates.

    Raises:
        ValueError: `threshold` is not in (0, 1].
    """

    def __init__(self, threshold: float) -> None:
        if not 0 < threshold <= 1:
            raise ValueError(f"the threshold of near duplicates must lie in (0, 1], got {threshold}.")
        self.threshold = threshold
        self._bands: list[dict[bytes, array[int]]] = [{} for _ in range(BANDS)]
        self._signatures = np.empty((1024, PERMUTATIONS), dtype="<u4")
        self._size = 0

    def add(self, raw: bytes) -> bool:
        """Whether a text with this signature is a near duplicate of an earlier one; if not, it is remembered."""
        if not raw:
            return False
        width = len(raw) // BANDS
        keys = [raw[band * width : (band + 1) * width] for band in range(BANDS)]
        met = {index for table, key in zip(self._bands, keys, strict=True) for index in table.get(key, ())}
        sketch = np.frombuffer(raw, dtype="<u4")
        if met and (self._signatures[sorted(met)] == sketch).mean(axis=1).max() >= self.threshold:
            return True
        if self._size == len(self._signatures):
            self._signatures = np.concatenate([self._signatures, np.empty_like(self._signatures)])
        self._signatures[self._size] = sketch
        for table, key in zip(self._bands, keys, strict=True):
            table.setdefault(key, array("I")).append(self._size)
        self._size += 1
        return False
