"""What the `evaluate` modules of ranked lists have in common: their inputs, and ranks from lists of ids."""

from __future__ import annotations

from collections.abc import Sequence

import datasets
import evaluate
import numpy as np

from ..ranking import NOWHERE, Relevance, mean

INPUTS = """
Args:
    predictions: For each query its candidate ids, best first.
    references: For each query the ids of its relevant candidates.
    exclude: For each query a list of ids to leave out of its ranking and its references, as itself; default none.
"""
CUTOFF = "    cutoff: Candidates behind this rank count as not found; default: look at the whole list.\n"
_CITATION = """@book{manning2008introduction,
  title={Introduction to Information Retrieval},
  author={Manning, Christopher D. and Raghavan, Prabhakar and Sch{\\"u}tze, Hinrich},
  publisher={Cambridge University Press},
  year={2008}
}"""

Ids = Sequence[Sequence[str]]


def ranked_list_info(description: str, inputs: str) -> evaluate.MetricInfo:
    """What a metric of ranked lists of ids tells `evaluate` about itself."""
    ids = datasets.Sequence(datasets.Value("string"))
    return evaluate.MetricInfo(
        description=description,
        citation=_CITATION,
        inputs_description=inputs,
        features=datasets.Features({"predictions": ids, "references": ids}),
    )


def ranks_of(
    predictions: Ids,
    references: Ids,
    *,
    exclude: Ids | None = None,
    gains: Sequence[Sequence[float]] | None = None,
) -> tuple[np.ndarray, Relevance]:
    """Ranks_R of the references in the lists, `NOWHERE` for one that is missing, and the relevance they belong to.

    Raises:
        ValueError: The lengths differ, or an id stands twice in a list.
    """
    exclude = [[]] * len(predictions) if exclude is None else exclude
    gains = [[1.0] * len(gold) for gold in references] if gains is None else gains
    for name, given in (("references", references), ("exclude", exclude), ("gains", gains)):
        _require_one_a_query(name, given, len(predictions))
    ranks: list[int] = []
    rows: list[dict[int, float]] = []
    for query, (ranked, gold, without, weights) in enumerate(zip(predictions, references, exclude, gains, strict=True)):
        if len(gold) != len(weights):
            raise ValueError(f"query {query} has {len(weights)} gains for {len(gold)} references. Give one for each.")
        _refuse_repeated(ranked, "predictions", query)
        _refuse_repeated(gold, "references", query)
        left_out = set(without)
        pool = (candidate for candidate in ranked if candidate not in left_out)
        places = {candidate: rank for rank, candidate in enumerate(pool, start=1)}
        relevant = {
            identity: weight
            for identity, weight in zip(gold, weights, strict=True)
            if weight > 0 and identity not in left_out
        }
        ranks += [places.get(identity, NOWHERE) for identity in relevant]
        rows.append(dict(enumerate(relevant.values())))
    return np.array(ranks, dtype=np.int64), Relevance.from_dicts(rows)


def summary(name: str, values_Q: np.ndarray) -> dict[str, float | int]:
    """The mean of a metric, over how many queries, and how many had no references.

    Raises:
        ValueError: No query has any.
    """
    value, queries = mean(values_Q)
    return {name: value, "queries": queries, "without_references": len(values_Q) - queries}


def _require_one_a_query(name: str, rows: Sequence, queries: int) -> None:
    if len(rows) != queries or any(isinstance(row, str) for row in rows):
        raise ValueError(f"{name} must hold one list a query, got {str(rows)[:80]} for {queries} queries.")


def _refuse_repeated(ids: Sequence[str], name: str, query: int) -> None:
    if len(set(ids)) < len(ids):
        twice = next(identity for place, identity in enumerate(ids) if identity in ids[:place])
        raise ValueError(f"{name} of query {query} hold {twice!r} twice, so it has no one rank. Leave one out.")
