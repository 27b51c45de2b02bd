"""The comparison of models: its statistics, tables, words, pages and mistakes."""

from __future__ import annotations

import dataclasses
import itertools
import json
import math
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import coderep
from hub_cards import significance
from hub_cards.eval_compare import check_scores
from hub_cards.eval_matrices import make_matrices
from hub_cards.eval_plots import heat_colours
from hub_cards.eval_report import main
from hub_cards.eval_results import Result, find_results, read_results
from hub_cards.eval_tables import MAIN_METRICS, make_tables
from hub_cards.eval_words import escape_markdown, metric_name, short_names
from hub_cards.significance import BootstrapResult, Comparison, compare_models, holm, paired_bootstrap

NL, CC = "text-to-code retrieval", "code-to-code retrieval"
EVIL = "me/<script>alert(1)</script>|x"


# the bootstrap


def exact(differences):
    """Means of all n**n resamples, as the definition says."""
    return np.array([np.mean(draw) for draw in itertools.product(differences, repeat=len(differences))])


@pytest.mark.parametrize(
    "differences", [(0.5, 0.25, -0.125, 0.0), (1.0, 0.5, 0.75, 0.25), (0.3, -0.4, 0.1, 0.2, 0.15), (0.0, 0.0, 1.0, 0.0)]
)
def test_bootstrap_agrees_with_all_resamples(differences):
    resamples = 40_000
    means, mean = exact(differences), np.mean(differences)
    result = paired_bootstrap(np.array(differences), np.zeros(len(differences)), resamples=resamples, seed=3)
    p = np.mean(np.abs(means - mean) >= abs(mean) - 1e-9)
    assert result.difference == pytest.approx(mean)
    assert abs(result.p - p) < 5 * math.sqrt(p * (1 - p) / resamples) + 2 / resamples  # five sigma, and the +1
    slack = 5 * math.sqrt(0.025 * 0.975 / resamples)
    for end, level in ((result.low, 0.025), (result.high, 0.975)):  # ends are quantiles of the exact distribution
        assert np.mean(means <= end + 1e-9) >= level - slack
        assert np.mean(means < end - 1e-9) <= level + slack


def test_bootstrap_agrees_with_the_normal_distribution_on_many_queries():
    generator = np.random.default_rng(1)
    a_Q, b_Q = generator.normal(0.06, 1, 3000), generator.normal(0, 1, 3000)
    result = paired_bootstrap(a_Q, b_Q, resamples=20_000)
    mean, error = (a_Q - b_Q).mean(), (a_Q - b_Q).std() / math.sqrt(3000)
    assert result.n == 3000
    assert result.low == pytest.approx(mean - 1.96 * error, abs=0.06 * error)
    assert result.high == pytest.approx(mean + 1.96 * error, abs=0.06 * error)
    p = math.erfc(abs(mean / error) / math.sqrt(2))
    assert 0.001 < p < 0.5  # else this tells nothing
    assert result.p == pytest.approx(p, abs=5 * math.sqrt(p / 20_000) + 0.003)


def rejections(shift, trials=800, queries=60):
    generator = np.random.default_rng(2)
    found = 0
    for trial in range(trials):
        a_Q, b_Q = generator.normal(shift, 1, queries), generator.normal(0, 1, queries)
        found += paired_bootstrap(a_Q, b_Q, resamples=200, seed=trial).p < 0.05
    return found


def test_bootstrap_is_calibrated_and_finds_what_is_there():
    trials, p = 800, 0.05
    assert abs(rejections(0.0) - trials * p) < 5 * math.sqrt(trials * p * (1 - p))
    assert rejections(1.0) > 0.99 * trials  # five standard errors


def test_bootstrap_of_swapped_models_is_mirrored():
    a_Q, b_Q = np.random.default_rng(0).random((2, 50))
    one, other = paired_bootstrap(a_Q, b_Q), paired_bootstrap(b_Q, a_Q)
    mirrored = (-other.difference, -other.high, -other.low, other.p)
    assert (one.difference, one.low, one.high, one.p) == pytest.approx(mirrored)


def test_pairing_matters():
    """A constant small gain under large differences between queries is seen only because queries are paired."""
    hard_Q = np.random.default_rng(0).random(40)
    gain_Q = np.where(np.arange(40) % 2, 0.01, 0.02)
    assert paired_bootstrap(hard_Q + gain_Q, hard_Q, resamples=1000).p < 0.01
    assert paired_bootstrap((hard_Q + gain_Q)[::-1], hard_Q, resamples=1000).p > 0.05


def test_bootstrap_is_given_by_its_seed_and_not_by_its_blocks(monkeypatch):
    a_Q, b_Q = np.random.default_rng(0).random((2, 33))
    whole = paired_bootstrap(a_Q, b_Q, resamples=500, seed=7)
    assert paired_bootstrap(a_Q, b_Q, resamples=500, seed=8) != whole
    for draws in (1, 34 * 3, 33 * 77):  # a resample a block, some, a last block that is not full
        monkeypatch.setattr(significance, "_BLOCK_DRAWS", draws)
        assert paired_bootstrap(a_Q, b_Q, resamples=500, seed=7) == whole


def test_nan_queries_are_dropped_for_both():
    nan = math.nan
    a_Q, b_Q = [0.5, nan, 1.0, 0.2, 0.9], [0.1, 0.2, 0.3, nan, 0.4]
    assert paired_bootstrap(a_Q, b_Q) == paired_bootstrap([0.5, 1.0, 0.9], [0.1, 0.3, 0.4])
    assert paired_bootstrap(a_Q, b_Q).n == 3


def test_equal_models_differ_by_nothing():
    values = np.random.default_rng(0).random(20)
    assert paired_bootstrap(values, values) == BootstrapResult(0.0, 0.0, 0.0, 1.0, 20)


@pytest.mark.parametrize(
    ("a", "b", "options", "message"),
    [
        ([0.1, 0.2], [0.1], {}, r"shapes \(2,\) and \(1,\) are not of the same queries"),
        ([0.1, math.nan], [0.1, 0.3], {}, "at least 2 queries with values of both, got 1"),
        ([0.1, 0.2], [0.1, 0.3], {"resamples": 0}, "resamples must be at least 1, got 0"),
    ],
)
def test_bootstrap_refuses_nonsense(a, b, options, message):
    with pytest.raises(ValueError, match=message):
        paired_bootstrap(a, b, **options)


def test_holm_on_paper():
    # Sorted .01, .02, .03, .04 times 4, 3, 2, 1 are .04, .06, .06, .04; none may fall below one before it.
    assert holm([0.03, 0.01, 0.04, 0.02]) == pytest.approx([0.06, 0.04, 0.06, 0.06])
    assert holm([0.5, 0.9]) == pytest.approx([1.0, 1.0])
    assert holm([0.01], tests=10) == pytest.approx([0.1])
    assert holm([]) == []


def test_holm_over_a_part_of_the_family_errs_on_the_safe_side():
    generator = np.random.default_rng(0)
    for _ in range(50):
        p_values = list(generator.random(8) ** 3)
        assert all(np.array(holm(p_values[:3], tests=8)) >= np.array(holm(p_values))[:3])


# comparisons


def queries(mean, n=40, seed=0):
    values = np.clip(np.random.default_rng(seed).normal(mean, 0.1, n), 0, 1)
    return {f"q{number}": float(value) for number, value in enumerate(values)}


def test_comparisons_start_with_the_best_and_hold_every_pair():
    found = compare_models({"low": queries(0.2, seed=1), "top": queries(0.8, seed=2), "mid": queries(0.5, seed=3)})
    assert [(one.first, one.second) for one in found] == [("top", "mid"), ("top", "low"), ("mid", "low")]
    assert all(one.told for one in found)
    # Each is the smallest p there is; Holm multiplies the first by 3 and lifts the others to it.
    assert [one.p for one in found] == pytest.approx([3 / 10_001] * 3)


def test_of_more_than_six_models_each_is_compared_with_the_best():
    scores = {f"m{number}": queries(0.1 * number, seed=number) for number in range(1, 8)}
    found = compare_models(scores, resamples=500)
    assert [(one.first, one.second) for one in found] == [("m7", f"m{number}") for number in range(6, 0, -1)]
    assert min(one.p for one in found) == pytest.approx(21 / 501)  # corrected for all 7 * 6 / 2 pairs


def test_only_queries_of_both_are_compared_and_the_rest_counted():
    a, b = queries(0.5), queries(0.5)
    a |= {"only a": 1.0, "q0": math.nan}  # q0 has no value in a, so only in b
    (one,) = compare_models({"a": a, "b": b})
    assert (one.result.n, one.unshared, one.result.difference) == (39, 2, 0.0)
    assert "on the 39 queries that both have" in one.words("set")


def test_the_better_model_is_the_better_one_on_shared_queries():
    a, b = queries(0.4), queries(0.5)
    a |= {f"easy {number}": 1.0 for number in range(200)}
    (one,) = compare_models({"a": a, "b": b})
    assert (one.first, one.second) == ("b", "a") and one.result.difference > 0


def test_too_few_shared_queries_are_not_compared():
    assert compare_models({"a": queries(0.5, n=9), "b": queries(0.9, n=9)}) == []
    assert len(compare_models({"a": queries(0.5, n=10), "b": queries(0.9, n=10)})) == 1


def test_words_on_a_difference():
    told = Comparison("MiniLM", "BM25", BootstrapResult(0.0512, 0.02, 0.0829, 1e-4, 500), 2e-4, 0)
    noise = Comparison("A", "B", BootstrapResult(0.0003, -0.0004, 0.02, 0.2, 500), 0.41, 0)
    assert (
        told.words("cosqa_dev")
        == "MiniLM is 5.1 points better than BM25 on cosqa_dev (95 % interval 2.0 to 8.3, p < 0.001)."
    )
    assert (
        noise.words("s")
        == "No difference can be told between A and B on s (0.03 points, 95 % interval -0.04 to 2.0, p = 0.410)."
    )


# reading


def row(model="a", dataset="cosqa_dev", value=0.5, **fields):
    base = {"task": NL, "revision": "r1", "protocol": "raw", "metric": "mrr", "n": 40, "seconds": 1.5}
    return {"model": model, "dataset": dataset, "value": value, **base, **fields}


def write(path, rows, scores=None, **fields):
    """A results.json and, of scores (query -> value), the file beside it for the first row."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"results": rows}))
    if scores:
        keys = [
            (r["model"], r["dataset"], r["revision"], r["protocol"], r["metric"]) for r in rows if r["model"] in scores
        ]
        tables = []
        for model, dataset, revision, protocol, metric in dict.fromkeys(keys):
            ids, n = list(scores[model]), len(scores[model])
            fixed = {"model": model, "dataset": dataset, "revision": revision, "protocol": protocol}
            columns = {name: pa.array([value] * n).dictionary_encode() for name, value in fixed.items()}
            columns |= {"query": ids, "language": [""] * n, metric: list(scores[model].values())}
            tables.append(pa.table(columns))
        pq.write_table(pa.concat_tables(tables, promote_options="default"), path.with_suffix(".queries.parquet"))
    return path


def results_of(*rows):
    return [Result(**one) for one in rows]


def test_rows_are_those_of_the_evaluations():
    """The records are read without trainers, which would bring torch; so their fields are told here once more."""
    from trainers.records import EvalResult

    def shape(cls):
        return [(one.name, one.default, one.default_factory) for one in dataclasses.fields(cls)]

    assert shape(Result) == shape(EvalResult)


def test_old_rows_get_defaults_and_unknown_fields_are_passed_over(tmp_path):
    path = write(tmp_path / "results.json", [row(shipped=True)])
    (one,) = read_results([path]).rows
    assert (one.domain, one.spread, one.counts, one.is_cell) == ("unknown", None, {}, False)


def test_of_repeated_rows_the_last_file_stays(tmp_path):
    first = write(tmp_path / "1.json", [row(value=0.4), row("b"), row(metric="map")], {"a": queries(0.4)})
    second = write(tmp_path / "2.json", [row(value=0.6), row("b")])
    found = read_results([first, second])
    assert {(one.model, one.metric): one.value for one in found.rows}["a", "mrr"] == 0.6
    assert found.notes == ["2 rows came more than once; the last file's stayed (1 of them had another value before)."]
    assert not found.scores  # values per query of the run that lost must not stand beside the other's number
    assert read_results([second, first]).scores
    assert not read_results([first]).notes


def test_cells_and_revisions_are_no_repetitions(tmp_path):
    rows = [row(), row(revision="r2"), row(protocol="codesage"), row(query_language="c", corpus_language="go")]
    found = read_results([write(tmp_path / "results.json", rows)])
    assert len(found.rows) == 4 and not found.notes


def test_folders_and_patterns(tmp_path, monkeypatch):
    write(tmp_path / "runs" / "b" / "results.json", [row("b")])
    write(tmp_path / "runs" / "a" / "results.json", [row("a")])
    (tmp_path / "runs" / "a" / "run.json").write_text('{"recipe": {}}')
    (tmp_path / "runs" / "a" / "other.json").write_text('{"results": [{"of": "another tool"}]}')
    monkeypatch.chdir(tmp_path)
    names = ["runs/a/results.json", "runs/b/results.json"]
    assert [str(path) for path in find_results(["runs"])] == names
    assert [str(path) for path in find_results(["runs/*/results.json"])] == names
    assert [str(path) for path in find_results(["runs/b/results.json", "runs"])] == names[::-1]


# tables


def test_versions_and_protocols_never_share_a_column():
    rows = [row("a"), row("b"), row("a", revision="r2"), row("a", protocol="codesage"), row("b", protocol="raw, 9")]
    (table,) = make_tables(results_of(*rows))
    assert [(column.revision, column.protocol) for column in table.columns] == [
        ("r1", "raw"),
        ("r2", "raw"),
        ("r1", "codesage"),
        ("r1", "raw, 9"),
    ]
    assert len(table.cells) == len(rows)


@pytest.mark.parametrize(
    ("task", "metrics", "shown"),
    [
        (NL, ("map", "mrr"), "mrr"),
        (CC, ("mrr", "map"), "map"),
        ("defect classification", ("accuracy", "macro-f1"), "macro-f1"),
        (NL, ("ndcg@10", "mrr@10"), "ndcg@10"),  # mteb's, its main score first
        ("clustering", ("v-measure",), "v-measure"),
    ],
)
def test_each_task_shows_its_metric(task, metrics, shown):
    (table,) = make_tables(results_of(*(row(task=task, metric=metric) for metric in metrics)))
    assert [column.metric for column in table.columns] == [shown]


def test_without_the_main_metric_most_models_decide():
    rows = [row("a", metric="ndcg@10"), row("a", metric="recall@10"), row("b", metric="recall@10")]
    (table,) = make_tables(results_of(*rows))
    assert [column.metric for column in table.columns] == ["recall@10"] and len(table.cells) == 2


def test_metrics_are_not_averaged_together():
    rows = [row("a", name) for name in ("one", "two")]
    rows += [row("a", name, protocol="mteb 2", metric="ndcg@10") for name in ("one", "two", "three")]
    rows += [row("a", "four", metric="map")]
    (table,) = make_tables(results_of(*rows))
    assert table.metric == "mrr"
    assert [(one.protocol, one.metric, one.columns) for one in table.averages] == [
        ("raw", "mrr", 2),
        ("mteb 2", "ndcg@10", 3),
    ]


@pytest.mark.parametrize(
    ("metric", "name"),
    [
        ("mrr", "MRR"),
        ("map@1000", "MAP@1000"),
        ("macro-f1", "macro-F1"),
        ("accuracy", "accuracy"),
        ("mapped", "mapped"),
    ],
)
def test_metrics_are_written_as_people_do(metric, name):
    assert metric_name(metric) == name


def test_averages_are_over_what_all_models_have():
    rows = [
        *(row(model, "one", value, domain="zero-shot") for model, value in (("a", 0.2), ("b", 0.3))),
        *(row(model, "two", value, domain="zero-shot") for model, value in (("a", 0.4), ("b", 0.7))),
        row("a", "seen", 0.9, domain="in-domain"),
        row("b", "seen", 0.2, domain="zero-shot"),
        row("a", "lonely", 1.0, domain="zero-shot"),
    ]
    (table,) = make_tables(results_of(*rows))
    plain, pure = table.averages
    assert (plain.kind, plain.columns, pure.kind, pure.columns) == ("average", 3, "zero-shot average", 2)
    assert plain.means == pytest.approx({"a": 1.5 / 3, "b": 1.2 / 3})
    assert pure.means == pytest.approx({"a": 0.3, "b": 0.5})
    assert table.models == ["a", "b"]
    notes = " ".join(table.notes)
    assert "what every model has: one, two, seen; left out, since a model has no number: lonely." in notes
    assert "zero-shot for every model: one, two." in notes


def test_one_average_where_all_is_zero_shot():
    rows = [row(model, name, domain="zero-shot") for model in "ab" for name in ("one", "two")]
    (table,) = make_tables(results_of(*rows))
    assert [(one.kind, one.columns) for one in table.averages] == [("zero-shot average", 2)]
    assert table.notes[1] == "All of these (raw) are zero-shot for every model."


def test_unknown_is_not_zero_shot_and_protocols_are_not_averaged_together():
    rows = [row("a", name, 0.5, domain="unknown") for name in ("one", "two")]
    rows += [row("a", "three", 0.5, protocol="codesage")]
    (table,) = make_tables(results_of(*rows))
    assert [(one.kind, one.protocol, one.columns) for one in table.averages] == [("average", "raw", 2)]
    assert "No zero-shot average (raw): fewer than two" in " ".join(table.notes)
    (table,) = make_tables(results_of(row("a", "one"), row("b", "two")))
    assert not table.averages and "No average (raw): fewer than two" in table.notes[0]


def test_cells_are_a_matrix_and_not_in_the_table():
    cells = [
        row(task=CC, metric=metric, value=value, query_language=query, corpus_language=corpus)
        for query, corpus, value in (("c", "c", 0.9), ("c", "go", 0.3), ("go", "c", 0.5))
        for metric in ("map", "mrr")
    ]
    rows = results_of(row(task=CC, metric="map"), *cells)
    (table,), (matrix,) = make_tables(rows), make_matrices(rows)
    assert list(table.cells.values()) == rows[:1]
    assert (matrix.rows, matrix.languages, len(matrix.cells)) == (["c", "go"], ["c", "go"], 3)
    assert matrix.summary == "mean of 1 cells same language: 90.0; mean of 2 cells across languages: 40.0"


@pytest.mark.parametrize("query_languages", [("", ""), ("c", "go")])
def test_without_cells_across_languages_models_share_a_matrix(query_languages):
    cells = [
        row(model, value=value, query_language=query, corpus_language=corpus)
        for model, values in (("a", (0.1, 0.5)), ("b", (0.2, 0.6)))
        for query, corpus, value in zip(query_languages, ("c", "go"), values, strict=True)
    ]
    (matrix,) = make_matrices(results_of(*cells))
    assert (matrix.model, matrix.rows, matrix.languages, matrix.summary) == (None, ["b", "a"], ["c", "go"], "")
    places = [("a", "c"), ("a", "go"), ("b", "c"), ("b", "go")]
    assert {place: matrix.cells[place].value for place in places} == dict(
        zip(places, (0.1, 0.5, 0.2, 0.6), strict=True)
    )
    assert len(matrix.cells) == 4


def test_one_cell_across_languages_makes_a_matrix_for_each_model():
    cells = [row(model, query_language="", corpus_language="go") for model in "ab"]
    cells += [row("a", query_language="c", corpus_language="go")]
    found = make_matrices(results_of(*cells))
    assert [(one.model, one.rows) for one in found] == [("a", ["c", "text"]), ("b", ["text"])]
    assert [one.summary for one in found] == ["mean of 1 cells across languages: 50.0", ""]  # words are no language


def test_short_names_stay_apart():
    names = ("raw, 256 tokens", "raw", "raw, 128 tokens", "codesage", "frozen linear probe", "…")
    short = short_names(names, r"[\w.+]+(-[\w.+]+)*")
    assert short["raw"] == "raw" and short["frozen linear probe"] == "frozen" and short["…"] == "…"
    assert len(set(short.values())) == len(names)


def test_values_per_query_that_are_not_of_the_run_are_noted(tmp_path):
    scores = {"a": queries(0.5), "b": queries(0.5)}
    mean = significance.mean_score(scores["a"])
    path = write(tmp_path / "results.json", [row("a", value=mean), row("b", value=mean + 0.01, n=41)], scores)
    results = read_results([path])
    first, second = check_scores(make_tables(results.rows), results)
    assert "the numbers are over 40 and 41 queries" in first
    assert second.startswith("b on cosqa_dev (raw): the values per query average to")


def test_text_on_heat_is_legible():
    def luminance(colour):
        parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
        linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    for step in range(21):
        light, dark = sorted(map(luminance, heat_colours(step / 20 * 0.8, 0.8)), reverse=True)
        assert (light + 0.05) / (dark + 0.05) >= 4.5  # what WCAG asks of small text
    assert heat_colours(0.0, 0.0)[1] == "#ffffff"


@pytest.mark.parametrize(
    ("text", "escaped"),
    [
        ("cosqa_dev", "cosqa_dev"),
        ("_a_ *b* `c`", r"\_a\_ \*b\* \`c\`"),
        ("a|b\nc", r"a\|b c"),
        ("<b>&", "&lt;b&gt;&amp;"),
        ("[x](y)", r"\[x\](y)"),
    ],
)
def test_markdown_shows_names_as_they_are(text, escaped):
    assert escape_markdown(text) == escaped


# reports


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """A report with everything: domains, versions, cells, spread, repetitions, a name that is markup."""
    folder = tmp_path_factory.mktemp("report")
    scores = {"bm25": queries(0.3, seed=1), "mini": queries(0.6, seed=2), EVIL: queries(0.6, seed=3)}
    del scores["mini"]["q0"]
    means = {model: significance.mean_score(values) for model, values in scores.items()}
    rows = [row(model, value=mean, domain="zero-shot") for model, mean in means.items()]
    for name, value in (("csn", 0.7), ("rosetta", 0.4), ("mbxp", 0.2)):
        rows += [row("bm25", name, value, domain="zero-shot"), row(EVIL, name, value + 0.1, domain="zero-shot")]
        rows += [row("mini", name, value + 0.05, domain="in-domain" if name == "csn" else "zero-shot")]
    rows += [row("mini", "csn", 0.75, revision="2" * 16, metric="ndcg@10"), row("mini", "csn", protocol="codesage, 9")]
    rows += [row("mini", "x", 0.61, task=CC, metric="map", counts={"documents cut": 1234})]
    rows += [
        row("mini", "x", value, task=CC, metric="map", query_language=query, corpus_language=corpus)
        for query, corpus, value in (("c", "c", 0.8), ("c", "go", 0.123), ("go", "c", 0.4))
    ]
    rows += [row("mini", "defect", 0.57, task="defect classification", metric="macro-f1", spread=0.012)]
    write(folder / "results.json", rows, {})
    write(folder / "scored.json", rows[:3], scores)
    arguments = [str(folder / "results.json"), str(folder / "scored.json"), "--output", str(folder / "out")]
    assert main([*arguments, "--resamples", "300"]) == 0
    return folder / "out"


class Page(HTMLParser):
    """Tags, and text of table cells."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.cells, self._open = [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag not in ("meta", "img", "br"):
            self._open.append(tag)
        if tag in ("td", "th"):
            self.cells.append((tag, dict(attributes), ""))

    def handle_endtag(self, tag):
        assert self._open.pop() == tag, f"</{tag}> closes something else"

    def handle_data(self, data):
        if "td" in self._open or "th" in self._open:
            tag, attributes, text = self.cells[-1]
            self.cells[-1] = (tag, attributes, text + data)


@pytest.fixture(scope="module")
def page(report):
    return Page((report / "report.html").read_text(encoding="utf-8"))


def test_report_is_whole(report):
    names = sorted(path.name for path in report.iterdir())
    assert names == [
        "bars_1_text_to_code_retrieval.png",
        "bars_2_code_to_code_retrieval.png",
        "bars_3_defect_classification.png",
        "matrix_1_mini_x.png",
        "report.html",
        "report.md",
    ]
    for name in names[:4]:
        assert (report / name).read_bytes().startswith(b"\x89PNG")
    markdown = (report / "report.md").read_text(encoding="utf-8")
    assert set(re.findall(r"\]\((\S+\.png)\)", markdown)) == set(names[:4])
    for text in (markdown, (report / "report.html").read_text(encoding="utf-8")):
        assert not re.search(r"\{\{|\{%|%\}|Undefined|None|<hub_cards", text)


def test_markdown_tables_are_tables(report):
    """Every line of a table has as many cells as its heading, and an empty line stands before it."""
    lines = (report / "report.md").read_text(encoding="utf-8").splitlines()
    heads = [number for number, line in enumerate(lines) if line.startswith("|---")]
    assert len(heads) == 5  # three tasks, pairs, what was counted
    for number in heads:
        assert lines[number - 2] == ""
        cells = {len(re.findall(r"(?<!\\)\|", lines[number - 1]))}
        for line in itertools.takewhile(lambda line: line.startswith("|"), lines[number:]):
            cells.add(len(re.findall(r"(?<!\\)\|", line)))
        assert len(cells) == 1


def test_cells_name_protocol_and_domain(report, page):
    markdown = (report / "report.md").read_text(encoding="utf-8")
    assert "75.0†<br><sub>raw, in-domain</sub>" in markdown
    assert "57.0 ± 1.2<br><sub>raw, unknown</sub>" in markdown
    assert "csn<br><sub>codesage, revision r1</sub>" in markdown and "- `codesage`: codesage, 9" in markdown
    assert "csn<br><sub>raw, revision 22222222, NDCG@10</sub>" in markdown
    assert "csn comes in 2 revisions (" + "2" * 16 + "; r1): a column each" in markdown
    (cell,) = [(attributes, text) for tag, attributes, text in page.cells if text.startswith("75.0†") and tag == "td"]
    assert cell[0]["class"].split() == ["number", "in-domain"] and cell[0]["data-sort"] == "0.75"
    assert cell[0]["title"] == "csn, revision r1; protocol raw; in-domain; n = 40"


def test_tables_with_more_sets_than_models_have_sets_as_rows(report, page):
    lines = (report / "report.md").read_text(encoding="utf-8").splitlines()
    wide, tall = (next(line for line in lines if line.startswith(f"| {head} |")) for head in ("model", "set"))
    assert [name in tall for name in ("bm25", "mini", "cosqa_dev")] == [True, True, False]
    assert [name in wide for name in ("mini", "x<br>")] == [False, True]
    (foot,) = [line for line in lines if line.startswith("| average<br>")]
    assert len(re.findall(r"\| \d+\.\d ", foot)) == 3
    assert [tag for tag, _ in page.tags].count("tfoot") == 1  # averages stay below when sets are sorted
    assert not make_tables(results_of(row("a"), row("b"), row("a", "two")))[0].tall


def test_zero_shot_average_leaves_in_domain_out(report):
    markdown = (report / "report.md").read_text(encoding="utf-8")
    assert "zero-shot average<br><sub>raw, 3 sets</sub>" in markdown
    assert "zero-shot for every model: cosqa_dev, rosetta, mbxp." in markdown


def test_repetitions_and_counts_are_said(report):
    markdown = (report / "report.md").read_text(encoding="utf-8")
    assert "- 3 rows came more than once; the last file's stayed (all had the same value)." in markdown
    assert "MAP 61.0 | 1,234 documents cut |" in markdown


def test_noise_is_told_from_differences(report):
    markdown = (report / "report.md").read_text(encoding="utf-8")
    noise = markdown.partition("## What is noise")[2].partition("## Languages")[0]
    assert "300 resamples, seed 0" in noise and "Holm" in noise
    assert re.search(r"- \S+ is [\d.]+ points better than bm25 on cosqa_dev \(95 % interval", noise)
    assert re.search(r"No difference can be told between .* and .* on cosqa_dev", noise)
    assert "only those of both are compared" in noise and "share 39, 1 left out" in noise
    assert "| bm25 | -" in noise  # the matrix of pairs
    assert "~ " in next(line for line in markdown.splitlines() if line.startswith("| me/"))


def test_page_is_safe_and_stands_alone(report, page):
    text = (report / "report.html").read_text(encoding="utf-8")
    assert "<script>alert" not in text and "&lt;script&gt;alert(1)" in text
    assert [tag for tag, _ in page.tags].count("script") == 1
    for _, attributes in page.tags:
        for name in ("src", "href"):
            assert attributes.get(name, "#").startswith(("#", "data:image/png;base64,"))
    assert "http" not in text.replace("http-equiv", "") and "@import" not in text
    markdown = (report / "report.md").read_text(encoding="utf-8")
    assert "<script" not in markdown


def test_page_can_be_sorted_and_read_aloud(page):
    tags = [tag for tag, _ in page.tags]
    assert all(attributes.get("alt") for tag, attributes in page.tags if tag == "img")
    assert all(attributes.get("scope") in ("col", "row") for tag, attributes in page.tags if tag == "th")
    assert tags.count("img") == 3 and ("html", {"lang": "en"}) in page.tags
    classes = [attributes.get("class", "") for tag, attributes in page.tags if tag == "table"]
    assert sum("sortable" in one for one in classes) == 5  # three tasks, the matrix, what was counted
    values = [attributes for tag, attributes, _ in page.cells if tag == "td" and "data-sort" in attributes]
    assert len(values) > 30
    heat = [attributes for attributes in values if "background" in attributes.get("style", "")]
    assert sorted(attributes["data-sort"] for attributes in heat) == ["0.123", "0.4", "0.8"]


SORTED = """
const fs = require("fs");
const script = fs.readFileSync(0, "utf8");
const rows = ["0.5", "", "10", "9"].map((value) => ({ cells: [{ dataset: { sort: value } }] }));
const body = { rows, append(...moved) { this.rows = moved; } };
const table = { tBodies: [body], tHead: { rows: [{ cells: [] }] } };
const header = {
  cellIndex: 0, state: null, closest: () => table,
  getAttribute() { return this.state; }, setAttribute(name, value) { this.state = value; }, removeAttribute() {},
};
let click;
const button = { closest: () => header, addEventListener: (name, act) => { click = act; } };
global.document = { querySelectorAll: () => [button] };
eval(script);
for (let turn = 0; turn < 2; turn++) {
  click();
  console.log(header.state, body.rows.map((row) => row.cells[0].dataset.sort).join(" "));
}
"""


def test_sort_script_sorts_numbers_and_keeps_what_is_missing_last(report):
    text = (report / "report.html").read_text(encoding="utf-8")
    script = text.partition("<script>")[2].partition("</script>")[0]
    assert "function sortBy" in script and "dataset.sort" in script
    try:
        done = subprocess.run(["node", "-e", SORTED], input=script, capture_output=True, text=True, timeout=60)
    except FileNotFoundError:
        pytest.skip("no node here")
    assert done.stdout.splitlines() == ["descending 10 9 0.5 ", "ascending 0.5 9 10 "], done.stderr


def test_same_input_gives_the_same_report(tmp_path):
    scores = {"a": queries(0.5, seed=1), "b": queries(0.52, seed=2)}
    rows = [row(model, value=significance.mean_score(values)) for model, values in scores.items()]
    path, pages = write(tmp_path / "results.json", rows, scores), []
    for name, seed in (("one", "0"), ("two", "0"), ("other", "1")):
        assert main([str(path), "--output", str(tmp_path / name), "--seed", seed, "--resamples", "300"]) == 0
        pages.append([file.read_bytes() for file in sorted((tmp_path / name).iterdir())])
    assert len(pages[0]) == 3 and pages[0] == pages[1] != pages[2]


def test_a_single_old_result_gives_a_report(tmp_path):
    write(tmp_path / "results.json", [row()])
    assert main([str(tmp_path / "results.json"), "--output", str(tmp_path / "out")]) == 0
    markdown = (tmp_path / "out" / "report.md").read_text(encoding="utf-8")
    assert "| a | 50.0<br><sub>raw, unknown</sub> |" in markdown  # one model is not the best of anything
    assert "Nothing was compared" in markdown and "## Languages" not in markdown


def test_names_that_plots_could_trip_over(tmp_path):
    rows = [row("$\\frac{", value=0.0), row("模型 " * 30, value=0.0), row("a\nb", "x" * 90, value=1.0)]
    write(tmp_path / "results.json", rows)
    assert main([str(tmp_path / "results.json"), "--output", str(tmp_path / "out")]) == 0


def test_reports_are_replaced_only_when_asked(tmp_path):
    write(tmp_path / "results.json", [row()])
    arguments = [str(tmp_path / "results.json"), "--output", str(tmp_path / "out")]
    assert main(arguments) == 0
    (tmp_path / "out" / "stale.png").touch()
    with pytest.raises(FileExistsError, match="exists already. Name another folder or add --overwrite"):
        main(arguments)
    assert main([*arguments, "--overwrite"]) == 0
    assert not (tmp_path / "out" / "stale.png").exists()
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").touch()
    with pytest.raises(FileExistsError, match="holds something else"):
        main([*arguments[:2], str(tmp_path / "mine"), "--overwrite"])


@pytest.mark.parametrize(
    ("name", "content", "error", "message"),
    [
        ("missing.json", None, FileNotFoundError, "results '.*missing.json' do not exist. `coderep eval"),
        ("none/*.json", None, FileNotFoundError, "do not exist"),
        ("", None, FileNotFoundError, "holds no results.json. Name one that an evaluation wrote"),
        ("torn.json", '{"results": [', ValueError, "torn.json' is not JSON"),
        ("run.json", '{"recipe": {}}', ValueError, "run.json' holds no results of an evaluation. Name the file"),
        ("list.json", "[1]", ValueError, "holds no results of an evaluation"),
        ("empty.json", '{"results": []}', ValueError, "holds no results of an evaluation"),
        ("odd.json", '{"results": [3]}', ValueError, "a result that is no object: 3"),
        ("short.json", '{"results": [{"model": "a", "n": 3}]}', ValueError, "without task, dataset, revision, "),
        ("pct.json", json.dumps({"results": [row(value=54.1)]}), ValueError, "54.1 on cosqa_dev; values are shares"),
        ("nan.json", json.dumps({"results": [row(value=math.nan)]}), ValueError, "mrr of nan on cosqa_dev"),
    ],
)  # fmt: skip
def test_mistakes_are_said_and_leave_nothing_behind(name, content, error, message, tmp_path):
    (tmp_path / "in").mkdir()
    if content is not None:
        (tmp_path / "in" / name).write_text(content)
    with pytest.raises(error, match=message):
        main([str(tmp_path / "in" / name), "--output", str(tmp_path / "out")])
    assert [path.name for path in tmp_path.iterdir()] == ["in"]


def test_torn_values_per_query_are_said(tmp_path):
    path = write(tmp_path / "results.json", [row()])
    path.with_suffix(".queries.parquet").write_text("no parquet")
    with pytest.raises(ValueError, match="results.queries.parquet' holds no values per query"):
        read_results([path])
    pq.write_table(pa.table({"model": ["a"]}), path.with_suffix(".queries.parquet"))
    with pytest.raises(ValueError, match="holds no values per query"):
        read_results([path])


def test_a_torn_file_in_a_folder_is_not_passed_over(tmp_path):
    write(tmp_path / "in" / "a.json", [row()])
    (tmp_path / "in" / "b.json").write_text('{"results": [')
    with pytest.raises(ValueError, match="b.json' is not JSON"):
        main([str(tmp_path / "in"), "--output", str(tmp_path / "out")])


def test_resamples_must_be_some(tmp_path):
    with pytest.raises(ValueError, match="--resamples must be at least 1, got 0"):
        main([str(tmp_path), "--output", str(tmp_path / "out"), "--resamples", "0"])


def test_without_matplotlib_the_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    write(tmp_path / "results.json", [row()])
    with pytest.raises(ImportError, match=r"pip install 'coderep\[eval\]'"):
        main([str(tmp_path / "results.json"), "--output", str(tmp_path / "out")])
    assert not (tmp_path / "out").exists()


def test_report_leaves_torch_and_plots_alone_until_needed():
    code = "import sys, hub_cards.eval_report; sys.exit(bool({'torch', 'matplotlib', 'pyarrow'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], cwd=Path(coderep.__file__).parent, check=False)
    assert done.returncode == 0


def test_main_metrics_are_those_of_the_tasks():
    assert MAIN_METRICS == {"text-to-code": "mrr", "code-to-code": "map", "classification": "macro-f1"}
