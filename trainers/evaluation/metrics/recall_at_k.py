"""Recall@k as an `evaluate` module; recall_at_k.md is its card."""

from __future__ import annotations

import evaluate

from trainers.evaluation.metrics.ranked_lists import INPUTS, Ids, ranked_list_info, ranks_of, summary
from trainers.evaluation.ranking import recalls


class RecallAtK(evaluate.Metric):
    """Mean over queries of the share of the relevant candidates among the first k."""

    def _info(self) -> evaluate.MetricInfo:
        return ranked_list_info(type(self).__doc__, f"{INPUTS}    k: Ranks to look at.\n")

    def _compute(
        self, predictions: Ids, references: Ids, k: int = 10, exclude: Ids | None = None
    ) -> dict[str, float | int]:
        ranks_R, relevance = ranks_of(predictions, references, exclude=exclude)
        return summary("recall", recalls(ranks_R, relevance, k))
