"""Metrics against numbers worked out by hand, a slow obvious version, pytrec_eval and scikit-learn."""

from __future__ import annotations

import math
import re
import tracemalloc
from pathlib import Path

import evaluate
import numpy as np
import pytest
import yaml

import trainers.evaluation.metrics
from trainers.evaluation.metrics import (
    ClassificationMetrics,
    MeanAveragePrecision,
    MeanReciprocalRank,
    NormalizedDiscountedGain,
    RankingMetrics,
    RecallAtK,
    accuracy,
    macro_f1,
    metric_named,
)
from trainers.evaluation.ranking import (
    NOWHERE,
    Relevance,
    average_precisions,
    mean,
    ndcgs,
    recalls,
    reciprocal_ranks,
    relevant_ranks,
)

METRICS = Path(trainers.evaluation.metrics.__file__).parent
CARDS = sorted(METRICS.glob("*.md"))
NAMES = ("mrr", "mrr@2", "map", "map@5", "ndcg", "ndcg@4", "recall@3")
SCORES = np.array([[0.9, 0.5, 0.1, 0.3], [0.2, 0.8, 0.8, 0.1]])


def ones(*rows):
    return Relevance.from_dicts([dict.fromkeys(row, 1.0) for row in rows])


def problem(queries=40, candidates=60, seed=0):
    """Scores with many ties and some -inf, 0 to 40 relevant candidates a query, graded gains."""
    rng = np.random.default_rng(seed)
    scores = rng.integers(0, 6, (queries, candidates)).astype(np.float32)
    scores[rng.random(scores.shape) < 0.15] = -np.inf
    rows = []
    for count in [0, 40, *rng.integers(0, 41, queries - 2)]:
        chosen = rng.choice(candidates, count, replace=False).tolist()
        rows.append(dict(zip(chosen, rng.choice([0.5, 1.0, 2.0, 3.0], count).tolist(), strict=True)))
    return scores, rows


def slow_ranking(scores, relevant, ties):
    """Candidates in the pool, best first: the list that a person would write down."""
    places = {column: place for place, column in enumerate(relevant)}
    pool = [column for column in range(len(scores)) if scores[column] > -np.inf]
    if ties == "worst":
        return sorted(pool, key=lambda column: (-scores[column], column in relevant, places.get(column, 0)))
    return sorted(pool, key=lambda column: (-scores[column], column))


def slow_values(ranking, gains):
    """The metrics of NAMES, walking down one ranking."""
    precisions, dcgs, hits = [], [], []
    for rank, column in enumerate(ranking, start=1):
        hits.append(column in gains)
        precisions.append(hits[-1] * sum(hits) / rank)
        dcgs.append(gains.get(column, 0) / math.log2(rank + 1))
    best = [gain / math.log2(rank + 1) for rank, gain in enumerate(sorted(gains.values(), reverse=True), start=1)]
    first = hits.index(True) + 1 if any(hits) else math.inf
    return {
        "mrr": 1 / first,
        "mrr@2": 1 / first if first <= 2 else 0,
        "map": sum(precisions) / len(gains),
        "map@5": sum(precisions[:5]) / len(gains),
        "ndcg": sum(dcgs) / sum(best),
        "ndcg@4": sum(dcgs[:4]) / sum(best[:4]),
        "recall@3": sum(hits[:3]) / len(gains),
    }


def test_ranks_and_values_by_hand():
    # Query 0 ranks 0, 1, 3, 2: candidates 3 and 0 stand at ranks 3 and 1. Query 1: candidate 1 ties with 2, so rank 2.
    relevance = ones([3, 0], [1])
    ranks = relevant_ranks(SCORES, relevance)
    assert ranks.tolist() == [3, 1, 2]
    assert relevant_ranks(SCORES, relevance, ties="order").tolist() == [3, 1, 1]  # candidate 1 comes before 2
    assert reciprocal_ranks(ranks, relevance).tolist() == [1, 1 / 2]
    assert reciprocal_ranks(ranks, relevance, 1).tolist() == [1, 0]
    assert average_precisions(ranks, relevance).tolist() == [(1 / 1 + 2 / 3) / 2, 1 / 2]
    assert average_precisions(ranks, relevance, 1).tolist() == [1 / 2, 0]
    assert recalls(ranks, relevance, 1).tolist() == [1 / 2, 0]
    assert mean(reciprocal_ranks(ranks, relevance)) == (3 / 4, 2)


def test_ndcg_by_hand():
    # Gains 3 and 1 at ranks 3 and 1: log2(4) = 2, log2(2) = 1; at best 3 stands at 1 and 1 at 2.
    relevance = Relevance.from_dicts([{3: 3.0, 0: 1.0}])
    ranks = relevant_ranks(SCORES[:1], relevance)
    assert ndcgs(ranks, relevance) == pytest.approx((3 / 2 + 1) / (3 + 1 / math.log2(3)))
    assert ndcgs(ranks, relevance, 1) == pytest.approx(1 / 3)


def test_two_tied_relevant_candidates_stand_side_by_side():
    ranks = relevant_ranks(np.array([[0.5, 0.5, 0.5]]), ones([1, 0]))
    assert ranks.tolist() == [2, 3]  # behind the irrelevant one that ties with them, in the order of the judgements
    assert relevant_ranks(np.array([[0.5, 0.5, 0.5]]), ones([1, 0]), ties="order").tolist() == [2, 1]
    assert relevant_ranks(np.full((2, 2), 0.5), ones([0], [0])).tolist() == [
        2,
        2,
    ]  # two queries


def test_minus_infinity_is_out_of_the_pool():
    relevance = ones([2, 1])
    ranks = relevant_ranks(np.array([[-np.inf, 0.1, -np.inf]]), relevance)
    assert ranks.tolist() == [NOWHERE, 1]
    assert average_precisions(ranks, relevance).tolist() == [1 / 2]  # the lost one counts in the average
    assert reciprocal_ranks(ranks[:1], ones([2])).tolist() == [0]
    assert ndcgs(ranks[:1], ones([2])).tolist() == [0]


def test_query_without_relevant_candidates_is_left_out():
    relevance = ones([], [1], [])
    ranks = relevant_ranks(np.ones((3, 4)), relevance)
    for name in NAMES:
        values = metric_named(name)(ranks, relevance)
        assert np.isnan(values).tolist() == [True, False, True]
        assert mean(values) == (values[1], 1)
    with pytest.raises(ValueError, match="there is no query with a relevant candidate"):
        mean(reciprocal_ranks(ranks[:0], ones([], [])))


@pytest.mark.parametrize("ties", ["worst", "order"])
def test_ranks_and_metrics_equal_the_slow_version(ties):
    scores, rows = problem()
    relevance = Relevance.from_dicts(rows)
    ranks = relevant_ranks(scores, relevance, ties=ties)
    rankings = [slow_ranking(row, gains, ties) for row, gains in zip(scores, rows, strict=True)]
    expected = [
        ranking.index(column) + 1 if column in ranking else NOWHERE
        for ranking, gains in zip(rankings, rows, strict=True)
        for column in gains
    ]
    assert ranks.tolist() == expected
    assert NOWHERE in expected and 0 < sum(map(len, rows)) and {len(row) > 16 for row in rows} == {True, False}
    for name in NAMES:
        slow = [
            slow_values(ranking, row)[name] if row else math.nan for ranking, row in zip(rankings, rows, strict=True)
        ]
        np.testing.assert_allclose(metric_named(name)(ranks, relevance), slow, rtol=1e-12, atol=1e-15, err_msg=name)


def test_ties_against_us_are_the_worst_order():
    """No order of tied candidates gives lower values; shuffling the candidates changes nothing."""
    scores, rows = problem(seed=1)
    relevance = Relevance.from_dicts(rows)
    worst, order = (relevant_ranks(scores, relevance, ties=ties) for ties in ("worst", "order"))
    assert np.nanmax(average_precisions(worst, relevance) - average_precisions(order, relevance)) <= 0
    assert (worst != order).any()
    places = np.random.default_rng(2).permutation(scores.shape[1])
    moved = Relevance(relevance.offsets, np.argsort(places)[relevance.columns], relevance.gains)
    assert relevant_ranks(scores[:, places], moved).tolist() == worst.tolist()
    assert relevant_ranks(scores[:, places], moved, ties="order").tolist() != order.tolist()


def test_agrees_with_trec_eval():
    pytrec_eval = pytest.importorskip("pytrec_eval")
    rng = np.random.default_rng(3)
    scores = np.stack([rng.permutation(50) for _ in range(30)]).astype(np.float32)  # trec_eval breaks ties by id
    scores[:, ::7] = -np.inf  # not in the run
    rows = [
        dict(zip(rng.choice(50, n, replace=False).tolist(), rng.integers(1, 4, n).tolist(), strict=True))
        for n in rng.integers(1, 30, 30)
    ]
    measures = {"mrr": "recip_rank", "map": "map", "map@5": "map_cut_5", "ndcg": "ndcg", "ndcg@10": "ndcg_cut_10"}
    measures["recall@5"] = "recall_5"
    judge = pytrec_eval.RelevanceEvaluator(
        {str(query): {str(column): gain for column, gain in row.items()} for query, row in enumerate(rows)},
        {"recip_rank", "map", "map_cut.5", "ndcg", "ndcg_cut.10", "recall.5"},
    )
    run = {
        str(query): {str(column): float(score) for column, score in enumerate(row) if score > -np.inf}
        for query, row in enumerate(scores)
    }
    found = judge.evaluate(run)
    streamed = RankingMetrics(list(measures))
    streamed.add(scores, Relevance.from_dicts(rows))
    for name, values in streamed.values().items():
        expected = [found[str(query)][measures[name]] for query in range(len(rows))]
        np.testing.assert_allclose(values, expected, rtol=1e-9, err_msg=name)


@pytest.mark.parametrize("k", [None, 5])
def test_ndcg_agrees_with_scikit_learn(k):
    sklearn_metrics = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(4)
    scores, gains = rng.permuted(np.tile(np.arange(30.0), (20, 1)), axis=1), rng.integers(0, 4, (20, 30))
    relevance = Relevance.from_dicts([dict(enumerate(row.tolist())) for row in gains])  # gains of 0 are left out
    assert 0 < relevance.counts.min() and len(relevance.columns) < gains.size
    value, queries = mean(ndcgs(relevant_ranks(scores, relevance), relevance, k))
    assert (value, queries) == (pytest.approx(sklearn_metrics.ndcg_score(gains, scores, k=k)), 20)


@pytest.mark.parametrize("block", [1, 3, 7, 40, 100])
def test_blocks_give_what_the_whole_matrix_gives(block):
    scores, rows = problem()
    relevance = Relevance.from_dicts(rows)
    whole, streamed = RankingMetrics(NAMES), RankingMetrics(NAMES)
    whole.add(scores, relevance)
    for start in range(0, len(scores), block):
        streamed.add(scores[start : start + block], relevance.rows(start, start + block))
    assert streamed.compute() == whole.compute()
    for name, values in whole.values().items():
        np.testing.assert_array_equal(streamed.values()[name], values)
    empty = sum(not row for row in rows)
    assert whole.compute()["without_references"] == empty > 0
    assert whole.compute()["queries"] == len(rows) - empty


def test_a_streamed_ranking_needs_no_full_matrix():
    size, block = 20_000, 250
    vectors = np.random.default_rng(5).standard_normal((size, 4), dtype=np.float32)
    relevance = ones(*([(query + 1) % size] for query in range(size)))
    metrics = RankingMetrics(["mrr", "recall@10"])
    tracemalloc.start()
    for start in range(0, size, block):
        metrics.add(vectors[start : start + block] @ vectors.T, relevance.rows(start, start + block))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert size * block * 4 < peak < 4 * size * block * 4  # one block of scores and the next; all would be 1.6 GB
    assert metrics.compute()["queries"] == size


def test_relevance_takes_rows_and_columns():
    relevance = Relevance.from_dicts([{2: 1.0, 0: 3.0}, {}, {1: 2.0, 4: 0.0}])
    assert len(relevance) == 3
    assert relevance.counts.tolist() == [2, 0, 1]  # a gain of 0 is not relevant
    assert relevance.queries.tolist() == [0, 0, 2]
    assert relevance.columns.tolist() == [2, 0, 1]
    assert relevance.gains.tolist() == [1, 3, 2]
    last = relevance.rows(1, 9)
    assert (last.offsets.tolist(), last.columns.tolist(), last.gains.tolist()) == ([0, 0, 1], [1], [2])
    kept = relevance.restrict(np.array([True, True, False, True, True]))
    assert (kept.offsets.tolist(), kept.columns.tolist(), kept.gains.tolist()) == ([0, 1, 1, 2], [0, 1], [3, 2])


def test_bad_input_is_refused():
    with pytest.raises(ValueError, match="scores hold NaN"):
        relevant_ranks(np.array([[np.nan, 1.0]]), ones([0]))
    with pytest.raises(ValueError, match="2 rows of scores for 1 queries"):
        relevant_ranks(SCORES, ones([0]))
    for place in (-1, 4):
        with pytest.raises(ValueError, match=rf"relevant places {place} to {place} do not lie in the 4 candidates"):
            relevant_ranks(SCORES[:1], ones([place]))
    with pytest.raises(ValueError, match="ties must be .* got 'best'"):
        relevant_ranks(SCORES[:1], ones([0]), ties="best")
    with pytest.raises(ValueError, match="from 0 to the number of pairs"):
        Relevance(np.array([0, 2]), np.array([1]), np.array([1.0]))
    with pytest.raises(ValueError, match="counts ranks from 1, got 0"):
        recalls(np.array([1]), ones([0]), 0)
    for name in ("recall", "mrr@0", "MRR", "ndcg@"):
        with pytest.raises(ValueError, match=rf"metric '{name}' is unknown. There are mrr"):
            metric_named(name)


PREDICTIONS = [["a", "b", "c"], ["c", "a", "b"], ["a"], ["b"]]
REFERENCES = [["b"], ["c", "b"], ["z"], []]  # ranks 2; 1 and 3; nowhere; nothing to find
COUNTS = {"queries": 3, "without_references": 1}


@pytest.mark.parametrize(
    ("module", "metric", "options", "expected"),
    [
        ("mrr", MeanReciprocalRank, {}, (1 / 2 + 1) / 3),
        ("mrr", MeanReciprocalRank, {"cutoff": 1}, 1 / 3),
        ("map", MeanAveragePrecision, {}, (1 / 2 + (1 + 2 / 3) / 2) / 3),
        ("map", MeanAveragePrecision, {"cutoff": 2}, (1 / 2 + 1 / 2) / 3),
        ("ndcg", NormalizedDiscountedGain, {}, (1 / math.log2(3) + (1 + 1 / 2) / (1 + 1 / math.log2(3))) / 3),
        ("ndcg", NormalizedDiscountedGain, {"k": 1}, 1 / 3),
        ("recall_at_k", RecallAtK, {"k": 2}, (1 + 1 / 2) / 3),
    ],
)
def test_evaluate_modules_by_hand(module, metric, options, expected):
    """Imported or loaded from their file, in one go or added batch by batch."""
    name = module.removesuffix("_at_k")
    result = {name: pytest.approx(expected), **COUNTS}
    assert metric().compute(predictions=PREDICTIONS, references=REFERENCES, **options) == result
    loaded = evaluate.load(str(METRICS / f"{module}.py"))
    for start in (0, 2):
        loaded.add_batch(predictions=PREDICTIONS[start : start + 2], references=REFERENCES[start : start + 2])
    assert loaded.compute(**options) == result


def test_an_excluded_query_leaves_its_ranking_and_its_references():
    lists = {"predictions": [["q", "a", "r", "b"]], "references": [["a", "q", "b"]]}
    # Without q the list is a, r, b and the references are a and b, at ranks 1 and 3.
    assert MeanAveragePrecision().compute(**lists, exclude=[["q"]])["map"] == pytest.approx((1 + 2 / 3) / 2)
    assert MeanAveragePrecision().compute(**lists)["map"] == pytest.approx((1 + 2 / 2 + 3 / 4) / 3)
    assert MeanReciprocalRank().compute(**lists, exclude=[["q", "a"]])["mrr"] == pytest.approx(1 / 2)


def test_gains_belong_to_references():
    lists = {"predictions": [["a", "b", "c"]], "references": [["b", "a", "c"]]}
    # Gain 2 at rank 2, 1 at rank 1; c has gain 0, so it is not relevant.
    value = NormalizedDiscountedGain().compute(**lists, gains=[[2, 1, 0]])["ndcg"]
    assert value == pytest.approx((1 + 2 / math.log2(3)) / (2 + 1 / math.log2(3)))


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ({"predictions": [["a", "b", "a"]]}, "predictions of query 0 hold 'a' twice"),
        ({"references": [["a", "a"]]}, "references of query 0 hold 'a' twice"),
        ({"references": [[]]}, "there is no query with a relevant candidate"),
        ({"exclude": ["a"]}, r"exclude must hold one list a query, got \['a'\] for 1 queries"),
        ({"exclude": [["a"], ["b"]]}, "exclude must hold one list a query"),
        ({"gains": [[1, 2]]}, "query 0 has 2 gains for 1 references"),
        ({"k": 0}, "counts ranks from 1, got 0"),
    ],
)
def test_modules_refuse_bad_input(inputs, message, tmp_path):
    metric = NormalizedDiscountedGain(cache_dir=str(tmp_path))  # evaluate keeps the lock of a cache after an error
    with pytest.raises(ValueError, match=message):
        metric.compute(**{"predictions": [["a", "b"]], "references": [["a"]], **inputs})


def test_macro_f1_by_hand():
    # a: 1 hit, predicted 2, true 1: 2/3. b: 1 hit, predicted 1, true 2: 2/3. c never predicted, d never true: 0.
    predictions, references = ["a", "a", "b", "d"], ["a", "b", "b", "c"]
    assert macro_f1(predictions, references) == pytest.approx((2 / 3 + 2 / 3) / 4)
    assert accuracy(predictions, references) == 2 / 4
    assert macro_f1([1, 1], [1, 1]) == accuracy([1, 1], [1, 1]) == 1


@pytest.mark.parametrize("strings", [False, True])
def test_classification_agrees_with_scikit_learn(strings):
    sklearn_metrics = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(6)
    references, predictions = rng.choice(12, (2, 200), p=np.arange(12) / 66)
    predictions[predictions == 3] = 99  # 3 is never predicted, 99 never true
    if strings:
        references, predictions = references.astype(str), predictions.astype(str)
    assert 3 < len(np.unique(references)) < len(np.unique([references, predictions]))
    expected = {
        "macro_f1": pytest.approx(sklearn_metrics.f1_score(references, predictions, average="macro", zero_division=0)),
        "accuracy": pytest.approx(sklearn_metrics.accuracy_score(references, predictions)),
    }
    for metric in (ClassificationMetrics(), evaluate.load(str(METRICS / "classification.py"))):
        assert metric.compute(predictions=predictions.tolist(), references=references.tolist()) == expected


def test_classification_refuses_what_has_no_value():
    for metric in (macro_f1, accuracy):
        with pytest.raises(ValueError, match="at least one, got 0 and 0"):
            metric([], [])
        with pytest.raises(ValueError, match="got 2 and 1"):
            metric(["a", "b"], ["a"])
        with pytest.raises(ValueError, match="labels of different types, so none would match"):
            metric([0, 1], ["0", "1"])


def test_every_module_has_its_card():
    modules = {path.stem for path in METRICS.glob("*.py") if "evaluate.Metric)" in path.read_text(encoding="utf-8")}
    assert modules == {card.stem for card in CARDS} == {"classification", "map", "mrr", "ndcg", "recall_at_k"}


@pytest.mark.parametrize("card", CARDS, ids=lambda card: card.stem)
def test_cards_are_spaces_of_metrics_and_their_examples_print_what_they_say(card, capsys):
    _, head, body = card.read_text(encoding="utf-8").split("---\n", 2)
    fields = yaml.safe_load(head)
    assert fields["tags"] == ["evaluate", "metric"] and fields["sdk"] == "gradio"
    assert f"# {fields['title']}\n" in body and len(fields["description"]) > 20
    for topic in ("Ties", "ueries without a hit", "ut-offs"):
        assert topic in body.split("## What counts how")[1]
    (example,) = re.findall(r"^```python\n(.*?)^```", body, flags=re.MULTILINE | re.DOTALL)
    promised = re.findall(r"^print.*\n# (.*)$", example, flags=re.MULTILINE)
    exec(example, {})
    assert capsys.readouterr().out.splitlines() == promised and promised
