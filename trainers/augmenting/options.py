"""What is asked of `coderep data augment`."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from data_collators.rows import ACROSS, QUERY, RENAMED, SUMMARY

KINDS = (SUMMARY, QUERY, RENAMED, ACROSS)


@dataclass(frozen=True)
class AugmentOptions:
    """Which kinds of pairs are made, and which pairs stay. All is off by default.

    Args:
        query_share: Share of the texts that are rewritten as searches; the rest stay summaries.
        query_language_share: Share of these that may name their language; about 60 % of them do. A model that is often
            asked for a language might learn to tell languages apart; not measured by itself.
        renamed_share: So many more pairs, as a share of those that stay, of a function under other names and itself.
        across_share: So many more pairs at most, of two functions that are described alike. Needs a model.
        across_min: Lowest cosine of their summaries.
        across_min_words: Shorter summaries do not count: they describe too much.
        across_max_words: Longer summaries do not count: they describe one function alone, and take the most time.
        across_pool: Most functions whose summaries are compared, drawn from the rest: it takes the model a second for
            150 or so on one core.
        max_text_length: Tokens that the model reads of a summary.
        max_repeats: Most pairs with the same text; None: any number.
        language_share_max: Largest share of a language among the pairs that stay; None: any.
        seed: Another seed draws others.

    Raises:
        ValueError: An option is out of range.
    """

    query_share: float = 0.0
    query_language_share: float = 1.0
    renamed_share: float = 0.0
    across_share: float = 0.0
    across_min: float = 0.85
    across_min_words: int = 4
    across_max_words: int = 16
    across_pool: int = 100_000
    max_text_length: int = 48
    max_repeats: int | None = None
    language_share_max: float | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("query_share", "query_language_share", "renamed_share"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} must lie in [0, 1], got {getattr(self, name)}.")
        if self.across_share < 0:
            raise ValueError(f"across_share must be at least 0, got {self.across_share}.")
        if not -1 <= self.across_min <= 1:
            raise ValueError(f"across_min is a cosine, so it must lie in [-1, 1], got {self.across_min}.")
        for name in ("across_min_words", "across_max_words", "across_pool", "max_text_length", "max_repeats"):
            if (value := getattr(self, name)) is not None and value < 1:
                raise ValueError(f"{name} must be at least 1, got {value}.")
        if self.language_share_max is not None and not 0 < self.language_share_max <= 1:
            raise ValueError(f"language_share_max must lie in (0, 1], got {self.language_share_max}.")
        asked = (self.query_share, self.renamed_share, self.across_share, self.max_repeats, self.language_share_max)
        if not any(asked):
            raise ValueError(
                "nothing to do. Ask for --query-share, --renamed-share, --across-model, --max-repeats or "
                "--language-share-max."
            )

    def settings(self) -> dict[str, Any]:
        """All options; None for what was not asked for."""
        across = {name for name in asdict(self) if name.startswith("across_")} | {"max_text_length"}
        unasked = {name for name in ("query_share", "renamed_share") if not getattr(self, name)}
        unasked |= set() if self.query_share else {"query_language_share"}
        unasked |= set() if self.across_share else across
        return {name: None if name in unasked else value for name, value in asdict(self).items()}
