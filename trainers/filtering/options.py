"""What the steps of this package are told: which codes texts are compared with, and how the work is done."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from .source import TEST, TRAIN


@dataclass(frozen=True)
class PoolOptions:
    """What texts are compared with, and how the work is done.

    Args:
        pool: Codes to compare with, drawn from the split `train`; fewer if there are fewer.
        seed: Another seed draws others.
        same_language: Compare with codes of the pair's language alone. All languages get an equal share of the pool.
        max_text_length: Tokens read of a text.
        max_code_length: Tokens read of a code.
        pool_dtype: "float32", or "float16" for half the memory of the pool.
        splits: The splits to work on; others pass through.
        columns: (field, column) pairs that say where files of rows hold `text`, `code`, `language` and so on.
        piece_rows: Rows embedded and compared at a time: what a kill costs at most.
        shard: (i, n): do the i-th of n parts of the work, from 1, and put nothing together.
        overwrite: Whether to replace an earlier result.

    Raises:
        ValueError: An option is out of range.
    """

    pool: int = 100_000
    seed: int = 0
    same_language: bool = False
    max_text_length: int = 128
    max_code_length: int = 512
    pool_dtype: str = "float32"
    splits: tuple[str, ...] = (TRAIN,)
    columns: tuple[tuple[str, str], ...] = ()
    piece_rows: int = 1024
    shard: tuple[int, int] = (1, 1)
    overwrite: bool = False

    def __post_init__(self) -> None:
        for name in ("pool", "max_text_length", "max_code_length", "piece_rows"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}.")
        if self.pool_dtype not in ("float32", "float16"):
            raise ValueError(f"pool_dtype must be float32 or float16, got {self.pool_dtype!r}.")
        if not 1 <= self.shard[0] <= self.shard[1]:
            raise ValueError(f"shard must be i/n with 1 <= i <= n, got {self.shard[0]}/{self.shard[1]}.")
        if not self.splits or sorted(self.splits) != sorted(set(self.splits) & {TRAIN, TEST}):
            raise ValueError(f"splits must be {TRAIN}, {TEST} or both, got {', '.join(self.splits) or 'none'}.")

    def binding(self) -> dict[str, Any]:
        """Options that parts depend on."""
        return {name: value for name, value in asdict(self).items() if name not in ("shard", "overwrite")}
