"""MRR and MAP as `evaluate` metrics over ranked lists of candidate ids."""

from __future__ import annotations

from collections.abc import Callable

import datasets
import evaluate
import numpy as np

from .ranking import mean_average_precision, mean_reciprocal_rank

_INPUTS = """
Args:
    predictions: For each query its candidate ids, best first.
    references: For each query the ids of its relevant candidates.
    cutoff: Candidates behind this rank count as not found; None looks at the whole list.
"""
_CITATION = "@book{manning2008, title={Introduction to Information Retrieval}, author={Manning, Raghavan, Schuetze}}"


class _RankedListMetric(evaluate.Metric):
    name_: str
    description: str
    function: staticmethod

    def __init__(self, **kwargs: object) -> None:
        super().__init__(config_name=self.name_, **kwargs)

    def _info(self) -> evaluate.MetricInfo:
        ids = datasets.Sequence(datasets.Value("string"))
        return evaluate.MetricInfo(
            description=self.description,
            citation=_CITATION,
            inputs_description=_INPUTS,
            features=datasets.Features({"predictions": ids, "references": ids}),
        )

    def _compute(
        self, predictions: list[list[str]], references: list[list[str]], cutoff: int | None = None
    ) -> dict[str, float]:
        ranks = [_ranks(ranked, gold) for ranked, gold in zip(predictions, references, strict=True)]
        metric: Callable[..., float] = type(self).function
        return {self.name_: metric(ranks, cutoff)}


def _ranks(ranked: list[str], gold: list[str]) -> np.ndarray:
    """Ranks of the relevant ids; one that is missing from the list ranks nowhere (the largest integer)."""
    place = {candidate: rank for rank, candidate in enumerate(ranked, start=1)}
    nowhere = np.iinfo(np.int64).max
    return np.sort(np.array([place.get(candidate, nowhere) for candidate in set(gold)], dtype=np.int64))


class MeanReciprocalRank(_RankedListMetric):
    """`evaluate` metric `mrr`."""

    name_ = "mrr"
    description = "Mean over queries of 1 / rank of the first relevant candidate, 0 where none is found."
    function = staticmethod(mean_reciprocal_rank)


class MeanAveragePrecision(_RankedListMetric):
    """`evaluate` metric `map`."""

    name_ = "map"
    description = "Mean over queries of the average precision at the ranks of the relevant candidates."
    function = staticmethod(mean_average_precision)
