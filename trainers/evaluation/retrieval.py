"""Text-to-code retrieval: one query per text, its own code the only relevant candidate.

Protocol `raw`: texts and codes as they stand, cosine of embeddings cut at the model's length, ties against us, MRR
without cut-off. BM25 sees words split at case changes, digits and punctuation, lower-cased.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Sequence

import numpy as np

from ..records import EvalResult
from .ranking import mean_reciprocal_rank, recall_at, relevant_ranks

PROTOCOL = "raw"
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+|[^\W\d_a-zA-Z]+")

Scorer = Callable[[Sequence[str], Sequence[str]], np.ndarray]


def words(text: str) -> list[str]:
    """Lower-case words of text or code, split at case changes, digits and punctuation."""
    return [word.lower() for word in _WORD.findall(text)]


def bm25_scores(queries: Sequence[str], candidates: Sequence[str]) -> np.ndarray:
    """Scores_QC of BM25 (bm25s with its defaults).

    Raises:
        ImportError: bm25s is not installed.
    """
    try:
        import bm25s
    except ImportError as error:
        raise ImportError("BM25 needs bm25s: pip install 'coderep[eval]'") from error
    index = bm25s.BM25()
    index.index([words(candidate) for candidate in candidates], show_progress=False)
    empty = np.zeros(len(candidates), dtype=np.float32)
    return np.stack([index.get_scores(query) if query else empty for query in map(words, queries)])


def cosine_scores(encode: Callable[[Sequence[str]], np.ndarray]) -> Scorer:
    """A scorer from a function that gives embeddings of length 1."""
    return lambda queries, candidates: encode(queries) @ encode(candidates).T


def evaluate_retrieval(
    scorer: Scorer,
    queries: Sequence[str],
    candidates: Sequence[str],
    *,
    model: str,
    dataset: str,
    revision: str,
) -> list[EvalResult]:
    """MRR and recall@10 where candidate i answers query i.

    Raises:
        ValueError: There is no query, or the numbers differ.
    """
    if not queries or len(queries) != len(candidates):
        raise ValueError(f"need one candidate a query and at least one query, got {len(queries)}, {len(candidates)}.")
    started = time.monotonic()
    ranks = relevant_ranks(scorer(queries, candidates), [[i] for i in range(len(queries))])
    seconds = round(time.monotonic() - started, 2)
    values = {"mrr": mean_reciprocal_rank(ranks), "recall@10": recall_at(ranks, 10)}
    return [
        EvalResult(model, "text-to-code retrieval", dataset, revision, PROTOCOL, metric, value, len(queries), seconds)
        for metric, value in values.items()
    ]
