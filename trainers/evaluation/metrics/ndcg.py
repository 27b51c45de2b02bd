"""NDCG as an `evaluate` module; ndcg.md is its card."""

from __future__ import annotations

from collections.abc import Sequence

import evaluate

from trainers.evaluation.metrics.ranked_lists import INPUTS, Ids, ranked_list_info, ranks_of, summary
from trainers.evaluation.ranking import ndcgs

_INPUTS = f"""{INPUTS}    gains: For each query the gain of each of its references, default 1; one of 0 is not relevant.
    k: Ranks to look at; None looks at the whole list.
"""


class NormalizedDiscountedGain(evaluate.Metric):
    """Mean over queries of the discounted gain of the first k ranks, divided by that of the best ranking."""

    def _info(self) -> evaluate.MetricInfo:
        return ranked_list_info(type(self).__doc__, _INPUTS)

    def _compute(
        self,
        predictions: Ids,
        references: Ids,
        k: int | None = 10,
        gains: Sequence[Sequence[float]] | None = None,
        exclude: Ids | None = None,
    ) -> dict[str, float | int]:
        ranks_R, relevance = ranks_of(predictions, references, exclude=exclude, gains=gains)
        return summary("ndcg", ndcgs(ranks_R, relevance, k))
