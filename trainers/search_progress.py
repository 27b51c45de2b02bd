"""Progress with an estimate of the time left: a bar on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import sys
import time
from typing import Any

from .messages import say

_EVERY_SECONDS = 10.0
_FORMAT = "{desc}: {percentage:3.0f}%|{bar}| {elapsed}, {remaining} left"


class Progress:
    """Shows how much of some work is done.

    Args:
        label: What the work is.
        total: How much there is of it, in any unit.
        show: Whether to show anything.
    """

    def __init__(self, label: str, total: float, show: bool = True) -> None:
        self._label, self._total, self._done = label, max(total, 1e-9), 0.0
        self._started = self._said = time.monotonic()
        self._show = show
        self._bar = self._make_bar() if show and sys.stderr.isatty() else None

    def reach(self, done: float) -> None:
        """So much is done now."""
        if self._bar is not None:
            self._bar.update(min(done, self._total) - self._done)
        self._done = min(done, self._total)
        now = time.monotonic()
        if self._show and self._bar is None and now - self._said >= _EVERY_SECONDS and self._done:
            self._said = now
            say(f"{self._label}: {100 * self._done / self._total:.0f} %, {self._left(now)} left")

    def advance(self, amount: float) -> None:
        """So much more is done."""
        self.reach(self._done + amount)

    def close(self) -> None:
        """End the line of the bar."""
        if self._bar is not None:
            self._bar.close()

    def _left(self, now: float) -> str:
        seconds = (now - self._started) * (self._total - self._done) / self._done
        return f"about {seconds:.0f} s" if seconds < 90 else f"about {seconds / 60:.0f} min"

    def _make_bar(self) -> Any:
        from tqdm import tqdm

        return tqdm(total=self._total, desc=self._label, bar_format=_FORMAT, mininterval=0.2, leave=False)
