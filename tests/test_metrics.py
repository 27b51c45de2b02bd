"""Ranking metrics against numbers worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from trainers.evaluation import MeanAveragePrecision, MeanReciprocalRank, bm25_scores, evaluate_retrieval
from trainers.evaluation.ranking import mean_average_precision, mean_reciprocal_rank, recall_at, relevant_ranks
from trainers.evaluation.retrieval import words

SCORES = np.array([[0.9, 0.5, 0.1, 0.3], [0.2, 0.8, 0.8, 0.1]])


def test_ranks_by_hand():
    # Query 0 ranks 0, 1, 3, 2: candidates 3 and 0 stand at ranks 3 and 1. Query 1: candidate 1 ties with 2, so rank 2.
    ranks = relevant_ranks(SCORES, [[3, 0], [1]])
    assert [row.tolist() for row in ranks] == [[1, 3], [2]]
    assert mean_reciprocal_rank(ranks) == pytest.approx((1 + 1 / 2) / 2)
    assert mean_average_precision(ranks) == pytest.approx(((1 / 1 + 2 / 3) / 2 + 1 / 2) / 2)
    assert recall_at(ranks, 1) == pytest.approx((1 / 2 + 0) / 2)
    assert mean_reciprocal_rank(ranks, cutoff=1) == pytest.approx(1 / 2)
    assert mean_average_precision(ranks, cutoff=1) == pytest.approx((1 / 2 + 0) / 2)


def test_two_tied_relevant_candidates_stand_side_by_side():
    ranks = relevant_ranks(np.array([[0.5, 0.5, 0.5]]), [[0, 1]])
    assert ranks[0].tolist() == [2, 3]  # behind the irrelevant one that ties with them


def test_query_without_relevant_candidate_counts_as_zero():
    ranks = relevant_ranks(SCORES, [[], [1]])
    assert mean_reciprocal_rank(ranks) == pytest.approx(1 / 4)
    assert mean_average_precision(ranks) == pytest.approx(1 / 4)


def test_ranks_equal_sorting_by_hand():
    rng = np.random.default_rng(0)
    scores = rng.integers(0, 6, (40, 15)).astype(float)  # many ties
    for row, gold in zip(scores, rng.integers(0, 15, 40), strict=True):
        expected = 1 + sum(row[other] >= row[gold] for other in range(15) if other != gold)
        assert relevant_ranks(row[None], [[gold]])[0].tolist() == [expected]


def test_evaluate_metrics_agree_with_the_functions():
    predictions, references = [["a", "b", "c"], ["c", "a", "b"]], [["b"], ["c", "b"]]
    mrr = MeanReciprocalRank().compute(predictions=predictions, references=references)
    assert mrr == {"mrr": pytest.approx((1 / 2 + 1) / 2)}
    found = MeanAveragePrecision().compute(predictions=predictions, references=references)
    assert found == {"map": pytest.approx((1 / 2 + (1 + 2 / 3) / 2) / 2)}
    cut = MeanReciprocalRank().compute(predictions=predictions, references=references, cutoff=1)
    assert cut == {"mrr": pytest.approx(1 / 2)}
    missing = MeanAveragePrecision().compute(predictions=[["a"]], references=[["z"]])
    assert missing == {"map": pytest.approx(0, abs=1e-12)}


def test_nan_and_empty_are_refused():
    with pytest.raises(ValueError, match="NaN"):
        relevant_ranks(np.array([[np.nan, 1.0]]), [[0]])
    with pytest.raises(ValueError, match="there is no query"):
        mean_reciprocal_rank([])
    with pytest.raises(ValueError, match="at least one query"):
        evaluate_retrieval(bm25_scores, [], [], model="", dataset="", revision="")


def test_words_split_code_and_prose_alike():
    assert words("readCSVFile2(self._max_len)") == ["read", "csv", "file", "2", "self", "max", "len"]


def test_bm25_finds_the_only_shared_word():
    codes = ["def read_rows(path): pass", "def remove_tree(path): pass", "def add(a, b): pass"]
    results = evaluate_retrieval(
        bm25_scores,
        ["remove it", "add up", "rows"],
        [codes[1], codes[2], codes[0]],
        model="bm25",
        dataset="",
        revision="",
    )
    assert {result.metric: result.value for result in results} == {"mrr": 1.0, "recall@10": 1.0}
    assert np.isfinite(bm25_scores(["?!"], codes)).all()
