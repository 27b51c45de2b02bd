"""Retrieval: a set ranked by a model under a protocol, as numbers, per language, and per query.

Shape suffixes: Q = queries, C = documents.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from ..records import EvalResult
from .metrics import RankingMetrics
from .protocols import PROTOCOLS, Protocol
from .ranking import Relevance, mean
from .scorers import Scorer
from .sets import TEXT_TO_CODE, RetrievalSet

METRICS = ("mrr", "map", "ndcg@10", "recall@10")
_CELL_METRICS = ("mrr", "map")  # of each pair of languages


@dataclass(frozen=True)
class RetrievalOutcome:
    """What an evaluation gave.

    Args:
        results: Numbers over all queries, then those of each pair of languages.
        values: Metric -> its value of each query, NaN where the query has no relevant document in the pool.
    """

    results: list[EvalResult]
    values: dict[str, np.ndarray]


def evaluate_retrieval(
    scorer: Scorer,
    data: RetrievalSet,
    protocol: Protocol = PROTOCOLS["raw"],
    *,
    model: str | None = None,
    domain: str = "unknown",
) -> RetrievalOutcome:
    """Rank a set's documents for its queries.

    A query's own document is dropped from its ranking. Where documents name more than one language, or only those in
    the query's language are ranked, each pair of query and document language is a result of its own, whose rankings
    hold the documents in that language only.

    Args:
        scorer: What ranks.
        data: The set.
        protocol: How.
        model: Name in the results; default: the scorer's.
        domain: See `EvalResult`.

    Raises:
        ValueError: Scores are NaN, or no query has a relevant document in its pool.
    """
    started = time.monotonic()
    queries, documents = protocol.queries(data), protocol.documents(data)
    pools = _Pools(data)
    whole = _metrics(METRICS, protocol)
    cells = {language: _metrics(_CELL_METRICS, protocol) for language in pools.languages}
    start = 0
    for scores_QC in scorer.blocks(queries, documents, texts=data.task == TEXT_TO_CODE):
        pools.mask(scores_QC, start)
        relevance = pools.relevance.rows(start, start + len(scores_QC))
        whole.add(scores_QC, relevance)
        for language, columns, part in pools.by_language(relevance):
            cells[language].add(scores_QC[:, columns], part)
        start += len(scores_QC)
    values = _values(METRICS, whole)
    counts = {**data.problems, **scorer.counts(queries, documents)}
    lost = int(np.isnan(values["mrr"]).sum())
    if lost:
        counts["queries without a relevant document in their pool"] = lost
    counts = {name: count for name, count in counts.items() if count}
    seconds = round(time.monotonic() - started, 2)

    label = ", ".join([protocol.label, *scorer.changes])

    def result(metric: str, values_Q: np.ndarray, query_language: str = "", corpus_language: str = "") -> EvalResult:
        value, n = mean(values_Q)
        extra = {"query_language": query_language, "corpus_language": corpus_language, "domain": domain}
        extra["split"] = data.split
        record = (model or scorer.name, data.task, data.name, data.revision, label, metric, value, n, seconds)
        return EvalResult(*record, **extra, counts={} if corpus_language else counts)

    results = [result(metric, values[metric]) for metric in METRICS]
    for query_language, corpus_language, chosen in pools.cells():
        found = _values(_CELL_METRICS, cells[corpus_language])
        for metric in _CELL_METRICS:
            if not np.isnan(found[metric][chosen]).all():
                results.append(result(metric, found[metric][chosen], query_language, corpus_language))
    return RetrievalOutcome(results, values)


class _Pools:
    """Which documents are ranked for which queries."""

    def __init__(self, data: RetrievalSet) -> None:
        self._data = data
        self._own_Q = data.own_documents
        self._documents_C = np.array(data.document_languages)
        self._queries_Q = np.array(data.query_languages)
        found = sorted({language for language in data.document_languages if language})
        self.languages = found if len(found) > 1 else []
        self.relevance = self._within_pools(data.relevance)

    def _within_pools(self, relevance: Relevance) -> Relevance:
        """Only the relevant documents that are ranked: averages are over what can be found."""
        if not self._data.same_language:
            return relevance
        languages_R = self._queries_Q[relevance.queries]
        return relevance.only((languages_R == "") | (languages_R == self._documents_C[relevance.columns]))

    def mask(self, scores_QC: np.ndarray, start: int) -> None:
        """Take out, in place, what the queries from `start` on do not rank."""
        own_Q = self._own_Q[start : start + len(scores_QC)]
        has_own = np.flatnonzero(own_Q >= 0)
        scores_QC[has_own, own_Q[has_own]] = -np.inf
        if self._data.same_language:
            languages_Q = self._queries_Q[start : start + len(scores_QC)]
            for language in np.unique(languages_Q[languages_Q != ""]):
                rows, columns = languages_Q == language, self._documents_C != language
                scores_QC[np.ix_(rows, columns)] = -np.inf

    def by_language(self, relevance: Relevance) -> Iterator[tuple[str, np.ndarray, Relevance]]:
        """(language, its documents, relevance among them) of each language."""
        for language in self.languages:
            keep_C = self._documents_C == language
            part = relevance.restrict(keep_C)
            yield language, keep_C, Relevance(part.offsets, (np.cumsum(keep_C) - 1)[part.columns], part.gains)

    def cells(self) -> Iterator[tuple[str, str, np.ndarray]]:
        """(query language, document language, which queries) of each pair of languages."""
        for query_language in sorted(set(self._data.query_languages)):
            for corpus_language in self.languages:
                if not self._data.same_language or query_language == corpus_language:
                    yield query_language, corpus_language, self._queries_Q == query_language


def _metrics(names: Sequence[str], protocol: Protocol) -> RankingMetrics:
    cutoff = f"@{protocol.mrr_cutoff}" if protocol.mrr_cutoff else ""
    return RankingMetrics([f"mrr{cutoff}" if name == "mrr" else name for name in names], ties=protocol.ties)


def _values(names: Sequence[str], metrics: RankingMetrics) -> dict[str, np.ndarray]:
    """Values_Q by the names in results: a cut-off is part of the protocol."""
    return dict(zip(names, metrics.values().values(), strict=True))
