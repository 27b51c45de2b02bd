"""Where the time of a step goes, and how much of it is left."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from tqdm.auto import tqdm

from ..evaluation.embedders import Embedder
from ..messages import say

_SAY_EVERY = 30


@dataclass
class Clock:
    """Seconds that the model took and all others, since the last lap."""

    embedder: Embedder
    encoding: float = 0.0
    started: float = field(default_factory=time.perf_counter)

    def encode(self, texts: list[str], max_length: int, kind: str) -> np.ndarray:
        """Embeddings of texts, timed.

        Raises:
            ValueError: One is not finite: NaN is above nothing and below nothing, so every pair would rank first.
        """
        begin = time.perf_counter()
        found_ND = self.embedder.encode(texts, max_length=max_length, kind=kind)
        self.encoding += time.perf_counter() - begin
        if not np.isfinite(found_ND).all():
            raise ValueError(f"{self.embedder.name}: embeddings hold NaN or infinity. Load it with --dtype float32.")
        return found_ND

    def lap(self) -> dict[str, float]:
        """The seconds since the last lap."""
        now, encoding = time.perf_counter(), self.encoding
        whole, self.started, self.encoding = now - self.started, now, 0.0
        return {"encoding": encoding, "elsewhere": whole - encoding}


class PairProgress:
    """A bar on a terminal; a line every half minute elsewhere, with the time left."""

    def __init__(self, label: str, todo: int) -> None:
        self.label, self._todo, self._done = label, todo, 0
        self._started = self._said = time.monotonic()
        self._bar = tqdm(total=todo, desc=label, unit=" pairs", disable=not sys.stderr.isatty(), mininterval=0.5)

    def __enter__(self) -> PairProgress:
        return self

    def __exit__(self, *error: object) -> None:
        self._bar.close()

    def advance(self, rows: int) -> None:
        """Some rows are done."""
        self._done += rows
        self._bar.update(rows)
        now = time.monotonic()
        if self._bar.disable and now - self._said >= _SAY_EVERY:
            self._said, rate = now, self._done / (now - self._started)
            left = (self._todo - self._done) / rate
            say(
                f"{self.label}: {self._done:,} of {self._todo:,}  {rate:,.0f}/s  "
                f"{int(left // 60)}:{int(left % 60):02d} left"
            )


def seconds_of(laps: Sequence[dict[str, float]]) -> dict[str, float]:
    """Seconds added up."""
    return {name: round(sum(lap.get(name, 0.0) for lap in laps), 3) for name in ("encoding", "elsewhere")}
