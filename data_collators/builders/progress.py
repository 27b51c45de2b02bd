"""How far a build is, for people who watch it."""

from __future__ import annotations

import sys
import time

from tqdm.auto import tqdm


class Progress:
    """A bar with MB/s and files/s on a terminal; a line every half minute elsewhere."""

    def __init__(self, label: str, size: int) -> None:
        self.label, self._started = label, time.monotonic()
        self._said, self._done = self._started, 0
        known = {"total": size} if size else {}
        self._bar = tqdm(
            desc=label, unit="B", unit_scale=True, disable=not sys.stderr.isatty(), mininterval=0.5, **known
        )
        self._size = size

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *error: object) -> None:
        self._bar.close()

    def advance(self, size: int, files: int) -> None:
        """Some bytes are done; `files` counts from the beginning."""
        now = time.monotonic()
        self._done += size
        rate = files / max(now - self._started, 1e-6)
        self._bar.set_postfix_str(f"{files} files, {rate:.0f} files/s", refresh=False)
        self._bar.update(size)
        if self._bar.disable and now - self._said >= 30:
            self._said = now
            share = f" of {self._size / 1e6:.0f}" if self._size else ""
            speed = self._done / 1e6 / max(now - self._started, 1e-6)
            print(  # noqa: T201 - people watch this
                f"  {self.label}: {self._done / 1e6:.0f}{share} MB, {files} files, {speed:.1f} MB/s", file=sys.stderr
            )
