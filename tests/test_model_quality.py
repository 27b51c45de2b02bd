"""The quality of models over a folder of sets: fixed parts of sets, tables with their marks, the check, the page."""

from __future__ import annotations

import json

import numpy as np
import pytest

from benchmarks import (
    model_quality,
    model_quality_check,
    model_quality_models,
    model_quality_page,
    model_quality_sets,
    model_quality_tables,
    model_quality_time,
)
from benchmarks.ablations.page import BEGIN, END
from hub_cards.eval_results import Result
from trainers.evaluation.ranking import Relevance
from trainers.evaluation.sets import CODE_TO_CODE, TEXT_TO_CODE, RetrievalSet


def a_set(queries=40, documents=100, each=3, name="a"):
    """Query q is answered by documents q, q + 1, ..., as many as `each`."""
    return RetrievalSet(
        name=name,
        task=TEXT_TO_CODE,
        query_ids=[f"q{n}" for n in range(queries)],
        queries=[f"query {n}" for n in range(queries)],
        query_languages=[""] * queries,
        document_ids=[f"d{n}" for n in range(documents)],
        documents=[f"document {n}" for n in range(documents)],
        document_languages=["python"] * documents,
        relevance=Relevance.from_dicts([{q + k: 1.0 + k for k in range(each)} for q in range(queries)]),
    )


def judgements(data):
    """(query, document, gain) by their texts."""
    bounds = data.relevance.offsets
    return {
        (data.queries[q], data.documents[data.relevance.columns[r]], data.relevance.gains[r])
        for q in range(len(data.queries))
        for r in range(bounds[q], bounds[q + 1])
    }


def test_a_part_keeps_every_relevant_document_of_its_queries():
    whole = a_set()
    part = model_quality_sets.subsample(whole, 10, 50)
    assert (len(part.queries), len(part.documents)) == (10, 50)
    assert judgements(part) == {found for found in judgements(whole) if found[0] in part.queries}
    places = [whole.documents.index(text) for text in part.documents]
    assert places == sorted(places) and places != list(range(50)), "in the order of the set, drawn from all of it"
    assert part.revision != whole.revision


def test_a_part_is_the_same_whatever_the_order_of_the_set():
    whole = a_set(each=1)
    turned = RetrievalSet(
        **{
            **{name: getattr(whole, name)[::-1] for name in ("query_ids", "queries", "document_ids", "documents")},
            "name": "a",
            "task": TEXT_TO_CODE,
            "query_languages": whole.query_languages,
            "document_languages": whole.document_languages,
            "relevance": Relevance.from_dicts([{99 - q: 1.0} for q in reversed(range(40))]),
        }
    )
    parts = [model_quality_sets.subsample(data, 7, 30) for data in (whole, turned)]
    assert judgements(parts[0]) == judgements(parts[1]) and set(parts[0].documents) == set(parts[1].documents)
    assert parts[0].queries != [f"query {n}" for n in range(7)], "drawn, not the first ones"


def test_relevant_documents_bound_the_queries():
    part = model_quality_sets.subsample(a_set(queries=40, documents=200, each=5), 40, 20)
    assert 4 <= len(part.queries) < 40 and len(part.documents) == 20
    assert len(judgements(part)) == 5 * len(part.queries)
    with pytest.raises(ValueError, match="the first query of 'a' has more than 2 relevant documents. Allow more"):
        model_quality_sets.subsample(a_set(), 10, 2)
    with pytest.raises(ValueError, match="needs a query and a document, got 0 and 5"):
        model_quality_sets.subsample(a_set(), 0, 5)


def test_a_large_enough_part_is_the_whole_set():
    whole = a_set()
    assert model_quality_sets.subsample(whole, 1000, 1000).revision == whole.revision


# tables


def row(model, dataset, value, task=TEXT_TO_CODE, metric="mrr", revision="r", protocol="raw", **more):
    return Result(model, task, dataset, revision, protocol, metric, value, 10, 1.0, **more)


ROWS = [
    *(row("bm25", name, value) for name, value in (("a", 0.30), ("b", 0.70))),
    *(row("MiniLM", name, value) for name, value in (("a", 0.50), ("b", 0.60))),
    *(row("ours", name, value) for name, value in (("a", 0.80), ("b", 0.65))),
    row("ours", "a", 0.1, metric="map"),
    row("ours", "a", 0.2, query_language="go", corpus_language="go"),
    row("ours", "c", 0.5, task=CODE_TO_CODE, metric="map"),
    row("ours", "c", 0.9, task=CODE_TO_CODE, metric="mrr"),
]


def test_tables_have_the_main_metric_averages_and_marks():
    text, code = model_quality_tables.qualities(ROWS)
    assert text.means == pytest.approx({"bm25": 0.5, "MiniLM": 0.55, "ours": 0.725})
    assert code.means == {"ours": 0.5} and code.metric == "map"
    assert text.below("ours", ["bm25", "MiniLM"]) == ["b"] and text.below("MiniLM", ["bm25", "MiniLM"]) == []
    lines = model_quality_tables.markdown(text, ["bm25", "MiniLM"]).splitlines()
    assert lines[0] == "| text-to-code retrieval, MRR | queries | bm25 | MiniLM | ours |"
    assert lines[2] == "| a | 10 | 30.0 | 50.0 | **80.0** |"
    assert lines[3] == "| b | 10 | **70.0** | 60.0 | 65.0 ▼ |"
    assert lines[4] == "| **average of 2** | 20 | 50.0 | 55.0 | **72.5** |"


def test_an_average_needs_every_set():
    (text,) = model_quality_tables.qualities([*ROWS[:6], row("ours", "c", 0.5)])
    assert text.means == {"ours": pytest.approx((0.8 + 0.65 + 0.5) / 3)}


@pytest.mark.parametrize("change", [{"revision": "other"}, {"protocol": "raw, 256 tokens"}])
def test_what_does_not_compare_shares_no_table(change):
    with pytest.raises(ValueError, match="which do not compare. Name results of one version"):
        model_quality_tables.qualities([*ROWS, row("theirs", "a", 0.1, **change)])


def test_fewer_dimensions_compare_with_all():
    table = model_quality_tables.qualities([*ROWS, row("ours, 8", "a", 0.1, protocol="raw, 8 dimensions")])[0]
    assert table.sets["a"]["ours, 8"] == 0.1


# forms and the check


def test_the_name_of_a_form_says_it():
    found = model_quality_models.forms("folder", "mini", [128, 64], int8=True)
    assert [form.name for form in found] == ["mini", "mini, 128 dimensions", "mini, 64 dimensions", "mini, int8 ONNX"]
    assert [model_quality_models.form_of("folder", form.name) for form in found] == found
    assert len(model_quality_models.forms("bm25", "bm25", [128], int8=True)) == 1


def test_the_check_names_numbers_that_are_not_reproduced():
    recorded = [row("mini", "a", 0.5), row("mini", "b", 0.5), row("mini", "c", 0.5), row("bm25", "a", 0.1)]
    found = [row("mini", "a", 0.5019), row("mini", "b", 0.47)]
    assert model_quality_check.differing(found, recorded) == [
        "mini, b, mrr: recorded 50.00, now 47.00",
        "mini, c, mrr: recorded 50.00, not found here",
    ]
    forms = model_quality_check.recorded_forms("x", [*recorded, row("mini, 8 dimensions", "a", 0.4), row("o", "a", 1)])
    assert [(form.name, form.dimensions) for form in forms] == [("mini", None), ("mini, 8 dimensions", 8)]


# the command


@pytest.fixture
def folder_of_sets(tmp_path):
    """Texts that name their code, and code that finds its twin."""
    words = ["red", "green", "blue", "open", "close", "print", "parse", "sort"]
    text, code = tmp_path / "sets" / "text", tmp_path / "sets" / "twins"
    for folder, language in ((text, {}), (code, {"language": "python"})):
        folder.mkdir(parents=True)
        documents = [{"_id": f"d{n}", "text": f"def {word}(): pass", **language} for n, word in enumerate(words)]
        queries = [{"_id": f"q{n}", "text": f"how to {word}", **language} for n, word in enumerate(words)]
        (folder / "corpus.jsonl").write_text("".join(json.dumps(line) + "\n" for line in documents))
        (folder / "queries.jsonl").write_text("".join(json.dumps(line) + "\n" for line in queries))
        (folder / "qrels.tsv").write_text("".join(f"q{n}\td{n}\t1\n" for n in range(len(words))))
    return tmp_path / "sets"


def test_the_command_writes_results_and_shows_what_lies_beside(folder_of_sets, tmp_path, capsys):
    first, second = tmp_path / "first.json", tmp_path / "second.json"
    common = ["--data", str(folder_of_sets), "--quick", "--queries", "6", "--documents", "7"]
    assert model_quality.main(["bm25", *common, "--output", str(first)]) == 0
    assert (
        model_quality.main(["bm25", *common, "--name", "again", "--beside", str(first), "--output", str(second)]) == 0
    )
    shown = capsys.readouterr().out
    assert "| text | 6 | **100.00** | **100.00** |" in shown and "code-to-code retrieval, MAP" in shown
    record = json.loads(second.read_text())["results"]
    assert {(one["model"], one["dataset"]) for one in record} == {("again", "text"), ("again", "twins")}
    assert all(one["value"] == 1 and one["protocol"] == "raw, 256 tokens" for one in record)


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        ([], "name models, or one checkpoint with --check"),
        (["bm25", "--check", "x"], "name models, or one checkpoint with --check"),
        (["bm25", "bm25"], "--name needs a different name for each of the 2 models"),
        (["/no/model"], "'/no/model' is not a folder"),
        (["bm25", "--output", "/no/folder/x.json"], "does not exist"),
    ],
)
def test_mistakes_get_one_line(argv, message, folder_of_sets, capsys):
    assert model_quality.main([*argv, "--data", str(folder_of_sets)]) == 2
    assert message in capsys.readouterr().err.splitlines()[-1]


def test_checking_a_checkpoint(folder_of_sets, tmp_path, tiny_config, tokenizer, capsys):
    from modeling_coderep import CodeRepModel
    from trainers.checkpoints import save_model

    checkpoint = tmp_path / "mini"
    save_model(CodeRepModel(tiny_config), tokenizer, checkpoint)
    record = tmp_path / "results.json"
    argv = [str(checkpoint), "bm25", "--dimensions", "8", "--data", str(folder_of_sets), "--output", str(record)]
    assert model_quality.main(argv) == 0
    results = json.loads(record.read_text())
    assert {one["model"] for one in results["results"]} == {"mini", "mini, 8 dimensions", "bm25"}
    (checkpoint / "results.json").write_text(json.dumps(results))
    check = ["--check", str(checkpoint), "--data", str(folder_of_sets)]
    assert model_quality.main(check) == 0
    assert "0 numbers differ by more than 0.2 points" in capsys.readouterr().out
    results["results"][0]["value"] = float(np.clip(results["results"][0]["value"] - 0.1, 0, 1))
    (checkpoint / "results.json").write_text(json.dumps(results))
    assert model_quality.main(check) == 1
    assert "1 numbers differ" in capsys.readouterr().out


# the page


def test_the_page_says_what_small_forms_lose_and_where_the_model_is_behind():
    rows = [
        *ROWS[:6],
        row("ours, 8 dimensions", "a", 0.79, protocol="raw, 8 dimensions"),
        row("ours, 8 dimensions", "b", 0.64, protocol="raw, 8 dimensions"),
    ]
    cost = {"milliseconds": 12.34, "parameters": 22_713_216, "tokens": 100.4}
    timing = {
        "encoders": {"ours": cost, "MiniLM": {**cost, "tokens": 80}},
        "how": {"functions": 7, "max_length": 256, "threads": 1, "rounds": 5},
        "machine": "a machine",
        "versions": {"torch": "2"},
    }
    text = model_quality_page.section(model_quality_tables.qualities(rows), rows, timing, "ours")
    assert "| ours | 22.7M | 12.3 | 72.5 |" in text and "| bm25 |  |  | 50.0 |" in text
    assert "- ours, 8 dimensions: -1.00 points of NL2Code MRR" in text
    assert "ours is at least as good as each of bm25, MiniLM on 1 of 2 sets; behind (▼) on b." in text
    assert "7 functions of the standard library, 80 to 100 tokens on average (at most 256), 1 thread" in text
    assert "| b | 10 | **70.0** | 60.0 | 65.0 ▼ | 64.0 ▼ |" in text, "small forms are ours, no reference"
    assert text.endswith("Percent; protocol `raw` (docs/EVALUATION.md). Versions of the sets: a r, b r.")


@pytest.fixture
def timed(tmp_path, tiny_config, tokenizer, sources, monkeypatch):
    """A checkpoint and the file of its times."""
    monkeypatch.setattr(model_quality_time, "stdlib_modules", lambda: sources[:2])
    from modeling_coderep import CodeRepModel
    from trainers.checkpoints import save_model

    save_model(CodeRepModel(tiny_config), tokenizer, tmp_path / "mini")
    argv = [str(tmp_path / "mini"), "--functions", "5", "--rounds", "1", "--output", str(tmp_path / "timing.json")]
    assert model_quality_time.main(argv) == 0
    return tmp_path / "mini", tmp_path / "timing.json"


def test_the_page_is_made_of_files_alone(timed, folder_of_sets, tmp_path, capsys):
    pytest.importorskip("matplotlib")
    checkpoint, timing = timed
    found = json.loads(timing.read_text())["encoders"]["mini"]
    weights = sum(weight.numel() for weight in model_quality_time.load_encoder(checkpoint).model.parameters())
    assert found["parameters"] == weights and found["milliseconds"] > 0
    results, page = str(tmp_path / "results.json"), tmp_path / "MODEL.md"
    assert model_quality.main(["bm25", str(checkpoint), "--data", str(folder_of_sets), "--output", results]) == 0
    page.write_text(f"# Title\n{BEGIN}\nold\n{END}\nbelow\n")
    argv = [results, "--timing", str(timing), "--docs", str(page)]
    assert model_quality_page.main([*argv, "--ours", "mini"]) == 0
    text = page.read_text()
    assert text.startswith(f"# Title\n{BEGIN}\n\n| model |") and text.endswith(f"{END}\nbelow\n") and "old" not in text
    assert "](model.png)" in text and (tmp_path / "model.png").read_bytes().startswith(b"\x89PNG")
    capsys.readouterr()
    assert model_quality_page.main(argv) == 2
    assert "the results have no model 'coderep-mini', but bm25, mini" in capsys.readouterr().err
    page.write_text("no marks")
    assert model_quality_page.main([*argv, "--ours", "mini"]) == 2 and page.read_text() == "no marks"


def test_a_check_needs_results_of_a_model(folder_of_sets, tmp_path, capsys):
    argv = ["bm25", "--data", str(folder_of_sets), "--output", str(tmp_path / "results.json")]
    assert model_quality.main(argv) == 0
    (tmp_path / "config.json").write_text("{}")
    assert model_quality.main(["--check", str(tmp_path), "--data", str(folder_of_sets)]) == 2
    assert "has no results of a model to compare with" in capsys.readouterr().err


def test_a_set_without_a_value_is_no_win():
    tables = model_quality_tables.qualities([*ROWS, row("MiniLM", "d", 0.5)])
    assert "on 2 of 3 sets" in model_quality_page.behind(tables, "ours", ["bm25", "MiniLM"])
    assert model_quality_page.behind(tables, "ours", []) == ""


def test_times_need_positive_numbers(capsys):
    assert model_quality_time.main(["bm25", "--name", "a", "b"]) == 2
    assert "--name needs a different name for each of the 1 models" in capsys.readouterr().err
    assert model_quality_time.main(["bm25", "--rounds", "0"]) == 2
    assert "--functions, --rounds and --threads must be at least 1" in capsys.readouterr().err
