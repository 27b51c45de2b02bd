"""Cards: everything in them is from records, their metadata are valid, and no name can break them."""

from __future__ import annotations

import copy
import json
import re
import subprocess
import sys
from dataclasses import asdict

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from huggingface_hub import DatasetCard, ModelCard
from huggingface_hub.repocard_data import model_index_to_eval_results

import coderep
from data_collators.files import write_json
from hub_cards.data import render_dataset_card, write_dataset_card
from hub_cards.dataset_info import features, size_category
from hub_cards.footprint import Power, emissions, energy_kwh, flops
from hub_cards.licenses import hub_license, metadata_licenses
from hub_cards.lineage import trace
from hub_cards.markdown import code, md
from hub_cards.metadata import check_card, task_type
from hub_cards.recipe_words import clean_recipe
from hub_cards.render import CardOptions, render_card
from hub_cards.score_words import MAX_METRICS, MAX_SETS
from hub_cards.scores import MAX_MODELS
from trainers.records import EvalResult

PAIRS = {
    "kind": "pairs",
    "sources": ["toy", "hub:code-search-net/code_search_net@abc"],
    "languages": {"go": 1, "python": 3},
    "test_share": 0.1,
    "settings": {"min_text_words": 3, "kinds": ["function"], "keep_dropped": True, "near_dedup": None},
    "splits": {"train": {"rows": 1000, "files": 3}, "test": {"rows": 234, "files": 1}},
    "files": {"kept": 4, "bytes": 2_000_000, "dropped": {"not UTF-8": 2}},
    "dropped": {"no_docstring": 12345, "stub": 6},
    "per_language": {
        "go": {"counts": {"files": 1, "bytes": 5, "rows": 234, "documented": 240}, "dropped": {"stub": 6}},
        "python": {"counts": {"files": 3, "bytes": 9, "rows": 1000, "documented": 1000}, "dropped": {}},
    },
    "decontamination": {"sets": ["cosqa", "apps"], "ngram": 13, "removed": {"apps": 7}},
    "repositories": {
        "a/a": {"license": "MIT", "files": 3, "version": "1.0"},
        "b/b": {"license": "", "files": 1, "version": ""},
    },
    "fingerprint": "f00",
    "seconds": 3.0,
    "versions": {"python": "3.11", "pyarrow": "25"},
}
RUN = {
    "recipe": {"learning_rate": 0.001, "max_steps": 100, "model_config": {"hidden_size": 32}, "save_steps": 5},
    "seed": 1,
    "data": PAIRS,
    "wall_seconds": 7200.0,
    "tokens": 1_234_567,
    "parameters": 98_765,
    "processes": 2,
    "versions": {"python": "3.11", "coderep": "0.1.0", "transformers": "5.23.0"},
    "machine": "Linux x86_64, 2 CPU cores",
    "git_sha": "abc123",
    "log": [{"loss": 2.5, "step": 1}, {"loss": 1.25, "step": 2}],
}
HOSTILE = [
    "a|b",
    "{{ name }} {% raw %}",
    "<script>alert(1)</script>",
    "`back` ``ticks`` ```fence```",
    "line\nbreak\n# heading\n---\n| x |",
    "$math$ ~~x~~ [link](http://x) *b*",
    "'quote\" : # yaml\t- item",
    "\\back\\slash \u2028 é 代码",
]


def result(**changes):
    row = EvalResult(
        model="mine",
        task="text-to-code retrieval",
        dataset="toy",
        revision="abc",
        protocol="raw",
        metric="mrr",
        value=0.4321,
        n=1234,
        seconds=1.0,
        domain="zero-shot",
    )
    return {**asdict(row), **changes}


def write_run(folder, record=RUN, results=None, claim=None):
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / "run.json", record)
    if results is not None:
        write_json(folder / "results.json", {"results": results})
    if claim is not None:
        write_json(folder / "stage.json", claim)
    return folder


@pytest.fixture
def run(tmp_path):
    rows = [result(metric=metric, value=value) for metric, value in (("mrr", 0.4321), ("recall@10", 0.5))]
    return write_run(tmp_path / "mine", results=rows)


def prose(card):
    """The lines of a card outside of its metadata and of blocks of code."""
    text = card.split("\n---\n", 1)[1]
    return re.sub(r"^```\w+\n.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL).splitlines()


def tables(card):
    """The tables of a card as lists of rows of cells, cut at bars that are not escaped."""
    found, rows = [], []
    for line in [*prose(card), ""]:
        if line.startswith("|"):
            rows.append([cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]])
        elif rows:
            found.append(rows)
            rows = []
    return found


def check_form(card):
    """What every card must be: its tables are tables, its blocks and folded parts end, nothing is left to fill in."""
    check_card(card, "dataset" if "dataset_info" in card.split("\n---\n")[0] else "model")
    for rows in tables(card):
        assert len({len(row) for row in rows}) == 1, rows
        assert all(set(cell) <= set("-:") for cell in rows[1])
    text = "\n".join(prose(card))
    assert "```" not in text and text.count("<details>") == text.count("</details>")
    assert not re.search(r"\{\{|\{%|\bNone\b|\bUndefined\b", text), re.search(r".*(\{\{|\{%|\bNone\b).*", text)
    assert set(re.findall(r"<(\w+)", text)) <= {"details", "summary", "br", "sub", "code"}


# metadata


def test_metadata_hold_what_the_hub_wants(tmp_path):
    claim = {"stage": "stage 2", "model": "codesage/codesage-small-v2"}
    folder = write_run(tmp_path / "mine", results=[result()], claim=claim)
    card = render_card(folder, options=CardOptions(repo="me/model", datasets=("me/pairs",), license="mit"))
    data = ModelCard(card).data.to_dict()
    model_index = data.pop("model-index")
    assert data == {
        "license": "mit",
        "library_name": "transformers",
        "pipeline_tag": "feature-extraction",
        "language": ["code", "en"],
        "base_model": "codesage/codesage-small-v2",
        "base_model_relation": "finetune",
        "datasets": ["me/pairs", "code-search-net/code_search_net"],
        "tags": [
            *("code", "coderep", "code-search", "sentence-similarity", "feature-extraction"),
            *("sentence-transformers", "go", "python"),
        ],
    }
    name, (only,) = model_index_to_eval_results(model_index)
    assert (name, only.task_type, only.dataset_revision, only.metric_value) == (
        "model",
        "text-retrieval",
        "abc",
        0.4321,
    )
    assert only.dataset_args == {"protocol": "raw", "domain": "zero-shot"} and only.metric_args["n"] == 1234
    assert "[`codesage/codesage-small-v2`](https://huggingface.co/codesage/codesage-small-v2)" in card
    check_form(card)


def test_every_result_stays_apart_in_the_model_index(tmp_path):
    """The client merges results of one configuration and keeps the arguments of the first."""
    rows = [
        result(protocol=protocol, metric=metric, value=(place + 1) / 100, query_language=query, corpus_language=corpus)
        for place, (protocol, metric, query, corpus) in enumerate(
            (protocol, metric, *cell)
            for protocol in ("raw", "codesage, MRR not cut")
            for metric in ("mrr", "map")
            for cell in (("", ""), ("go", "go"), ("go", "python"), ("", "go"))
        )
    ]
    card = ModelCard(render_card(write_run(tmp_path / "mine", results=rows)))
    again = ModelCard(f"---\n{card.data.to_yaml()}\n---\n").data.eval_results
    expected = {
        (row["protocol"], row["metric"], row["query_language"], row["corpus_language"], row["value"]) for row in rows
    }
    arguments = [(found.dataset_args, found) for found in again]
    assert len(again) == len(rows) == 16
    assert expected == {
        (a["protocol"], f.metric_type, a.get("query_language", ""), a.get("corpus_language", ""), f.metric_value)
        for a, f in arguments
    }


@pytest.mark.parametrize(
    ("task", "expected"),
    [
        ("text-to-code retrieval", "text-retrieval"),
        ("code-to-code retrieval", "text-retrieval"),
        ("defect classification", "text-classification"),
        ("clone detection", "text-classification"),
        ("Reranking", "text-ranking"),
        ("something new", "feature-extraction"),
    ],
)
def test_task_types_are_ones_the_hub_knows(task, expected):
    assert task_type(task) == expected


def test_the_split_that_was_read_is_in_the_metadata(tmp_path):
    rows = [result(dataset="toy dev", split="test"), result(dataset="other dev"), result(dataset="third")]
    card = ModelCard(render_card(write_run(tmp_path / "mine", results=rows)))
    found = {row.dataset_name: row.dataset_split for row in card.data.eval_results}
    assert found == {"toy dev": "test", "other dev": "dev", "third": None}


def test_stage_one_alone_says_so(tmp_path):
    record = {**RUN, "data": {**PAIRS, "kind": "stage1"}}
    card = render_card(write_run(tmp_path / "mine", record))
    data = ModelCard(card).data
    assert data.pipeline_tag == "fill-mask" and data.language == ["code"] and "code-search" not in data.tags
    assert "not made for search" in card and "Not evaluated yet." in card


def test_metadata_that_cannot_be_read_are_refused():
    with pytest.raises(ValueError, match="the card has no metadata at its top"):
        check_card("# no metadata\n")
    with pytest.raises(ValueError, match="metadata cannot be read: .* Render it again"):
        check_card("---\nmodel-index:\n- name: x\n  results:\n  - task: {}\n---\n")
    with pytest.raises(ValueError, match="metadata cannot be read"):
        check_card("---\na: [\n---\n")


def test_the_hub_is_asked_only_on_demand(run, monkeypatch):
    asked = []
    monkeypatch.setattr(ModelCard, "validate", lambda self, repo_type: asked.append(repo_type))
    card = render_card(run)
    assert asked == []
    check_card(card, online=True)
    assert asked == ["model"]


# where a model is from


def test_stages_are_followed_to_the_first(tmp_path, monkeypatch):
    first = {**RUN, "data": {**PAIRS, "kind": "stage1"}, "parameters": 11_111}
    write_run(tmp_path / "mlm", first, claim={"stage": "stage 1", "model": None})
    (tmp_path / "mlm" / "model").mkdir()
    second = write_run(tmp_path / "out", claim={"stage": "stage 2", "model": str(tmp_path / "mlm" / "model")})
    third = write_run(tmp_path / "tuned", claim={"stage": "fine-tuning", "model": "out/model"})
    (second / "model").mkdir()
    found = trace(third)  # the path is seen from a folder above the run
    assert [stage["name"] for stage in found.stages] == ["stage 1", "stage 2", "fine-tuning"]
    assert found.base_model is None and not found.unrecorded
    card = render_card(third)
    assert "|  | stage 1 | stage 2 | fine-tuning |" in card and "| parameters | 11,111 | 98,765 | 98,765 |" in card
    assert str(tmp_path) not in card and "masked language modelling" in card


@pytest.mark.parametrize("model", ["/elsewhere/run/model", "run/model", "out/checkpoint-200", "../x/best run"])
def test_a_start_without_record_is_no_repo(tmp_path, model):
    folder = write_run(tmp_path / "mine", claim={"stage": "stage 2", "model": model})
    assert trace(folder).base_model is None and trace(folder).unrecorded
    card = render_card(folder)
    assert "from a checkpoint of which no record is left" in card and model not in card
    named = render_card(folder, options=CardOptions(base_model="owner/start"))
    assert ModelCard(named).data.base_model == "owner/start" and "no record is left" not in named


def test_a_start_in_the_hubs_cache_is_its_repo(tmp_path):
    snapshot = tmp_path / "hub" / "models--owner--name" / "snapshots" / "0123"
    snapshot.mkdir(parents=True)
    folder = write_run(tmp_path / "mine", claim={"stage": "stage 2", "model": str(snapshot)})
    assert trace(folder).base_model == "owner/name"


def test_records_that_name_each_other_end(tmp_path):
    for one, other in (("a", "b"), ("b", "a")):
        write_run(tmp_path / one, claim={"stage": one, "model": str(tmp_path / other)})
    assert [stage["name"] for stage in trace(tmp_path / "a").stages] == ["b", "a"]


# use


CHILD = """
import importlib.abc, json, sys
names, blocks, folder = json.load(sys.stdin)

class Absent(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in names:
            raise ModuleNotFoundError(name)

sys.meta_path.insert(0, Absent())
import huggingface_hub
huggingface_hub.snapshot_download = lambda repo, allow_patterns: repo  # the repo's name is its path here
import numpy as np
found = {}
for title, block in blocks.items():
    space = {}
    exec(compile(block, title, "exec"), space)
    text, code = space["embeddings"] if "embeddings" in space else (space["text"], space["code"])
    found[title] = [len(text), float(np.dot(text, code) / np.linalg.norm(text) / np.linalg.norm(code))]
print(json.dumps(found))
"""


def test_usage_runs_as_it_stands_without_coderep(tiny_config, tokenizer, tmp_path, run):
    pytest.importorskip("onnxscript")
    from hub_cards import export_checkpoint, export_onnx
    from hub_cards.verify import OUR_PACKAGES
    from modeling_coderep import CodeRepModel
    from trainers.checkpoints import save_model

    save_model(CodeRepModel(tiny_config), tokenizer, tmp_path / "model")
    export = export_checkpoint(tmp_path / "model", tmp_path / "my export")
    options = CardOptions(repo="me/name", export=export)
    assert "onnx" not in render_card(run, options=options).lower()
    export_onnx(export)
    card = render_card(run, options=options)
    found = re.findall(r"^With ([^\n]*):\n\n```python\n(.*?)^```", card, flags=re.MULTILINE | re.DOTALL)
    blocks = {title: block.replace('"me/name"', json.dumps(str(export))) for title, block in found}
    assert list(blocks) == ["transformers", "sentence-transformers", "ONNX, without torch"]
    assert "/onnx/model_quantized.onnx" in blocks["ONNX, without torch"]
    assert all(block.count(str(export)) == 1 for block in blocks.values())
    done = subprocess.run(
        [sys.executable, "-c", CHILD],
        input=json.dumps([OUR_PACKAGES, blocks, str(export)]),
        capture_output=True,
        text=True,
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    assert "Do you wish to run" not in done.stdout + done.stderr  # no block asks anything at the terminal
    same = json.loads(done.stdout.splitlines()[-1])
    assert list(same) == list(blocks) and {width for width, _ in same.values()} == {32}
    exact, again, int8 = (cosine for _, cosine in same.values())
    assert again == pytest.approx(exact, abs=1e-5) and int8 == pytest.approx(exact, abs=0.05)


# training and cost


def test_recipe_shows_what_was_chosen_and_no_folder_of_the_machine(tmp_path):
    recipe = {**RUN["recipe"], "deepspeed": "/home/me/zero2.json", "nested": {"path": "~/x/y"}, "hub_token": "hf_x"}
    card = render_card(write_run(tmp_path / "mine", {**RUN, "recipe": recipe}))
    assert clean_recipe(recipe) == {**RUN["recipe"], "deepspeed": "zero2.json", "nested": {"path": "y"}}
    for row in ("| learning rate | 0.001 |", "| model: hidden size | 32 |", "| last loss | 1.250 |", "| seed | 1 |"):
        assert row in card
    assert "| save steps" not in card  # how a run is kept is in the whole recipe alone
    whole = re.search(r"<summary>The whole recipe of stage 2</summary>\n\n```json\n(.*?)```", card, flags=re.DOTALL)
    assert json.loads(whole.group(1)) == clean_recipe(recipe)
    assert "/home/me" not in card and "hf_x" not in card


def test_cost_on_paper(tmp_path):
    stage = {**RUN, "name": "stage 2", "parameters": 1000, "tokens": 2000, "wall_seconds": 36_000.0}
    power = Power(watts=100, grams_per_kwh=300, location="Paris, France")
    assert flops(stage) == 12_000_000  # 6 x 1,000 x 2,000
    assert energy_kwh([stage], power) == 1.0  # 100 W x 10 h
    assert emissions([stage], power) == {
        "emissions": 300.0,
        "source": "estimate: 100 W x wall time x 300 g/kWh",
        "training_type": "fine-tuning",
        "geographical_location": "Paris, France",
        "hardware_used": "Linux x86_64, 2 CPU cores",
    }
    folder = write_run(tmp_path / "mine", stage)
    card = render_card(folder, options=CardOptions(power=power))
    assert "| stage 2 | Linux x86_64, 2 CPU cores | 2 | 10.0 | 2,000 | 1.2e+07 |" in card
    assert "**an estimate**: 100 W (given, not measured by coderep) × 10.0 h = 1 kWh." in card
    assert ModelCard(card).data.co2_eq_emissions["emissions"] == 300.0
    check_form(card)


def test_no_energy_without_a_power_and_no_emissions_without_the_carbon(run):
    plain = render_card(run)
    assert "No power was measured" in plain and "kWh" not in plain and "co2_eq_emissions" not in plain
    card = render_card(run, options=CardOptions(power=Power(50)))
    assert "= 0.1 kWh" in card and "co2_eq_emissions" not in card and "CO2" not in card
    with pytest.raises(ValueError, match="watts must be above 0, got -1"):
        Power(-1)


# evaluation


def with_queries(path, values):
    """Values per query beside a results.json, as evaluations write them."""
    columns = {name: [] for name in ("model", "dataset", "revision", "protocol", "query", "mrr")}
    for model, scores in values.items():
        for place, score in enumerate(scores):
            for name, value in zip(columns, (model, "toy", "abc", "raw", f"q{place}", float(score)), strict=True):
                columns[name].append(value)
    pq.write_table(pa.table(columns), path.with_name(f"{path.stem}.queries.parquet"))


def test_peers_stand_beside_the_model_and_noise_is_told(tmp_path):
    generator = np.random.default_rng(0)
    mine = generator.random(400)
    scores = {"mine": mine, "close": mine + generator.normal(0, 0.2, 400), "bm25": mine / 4}
    scores["close"] += mine.mean() + 0.001 - scores["close"].mean()  # ahead by a tenth of a point
    rows = [result(model=model, value=float(values.mean()), n=400) for model, values in scores.items()]
    folder = write_run(tmp_path / "mine", results=rows)
    with_queries(folder / "results.json", scores)
    card = render_card(folder)
    cells = {row[0]: row[1] for row in next(rows for rows in tables(card) if rows[0] == ["model", "MRR (%)"])}
    percent = {model: f"{100 * values.mean():.1f}" for model, values in scores.items()}
    assert cells["close"] == f"**{percent['close']}**"
    assert cells["**mine**"] == f"~ {percent['mine']}" and cells["bm25"] == percent["bm25"]
    assert "No difference can be told between close and mine on toy" in card
    assert "mine is " in card and "points better than bm25 on toy" in card
    assert "which can be noise." in card  # among the limits
    check_form(card)


def test_long_tables_are_cut_to_what_a_page_can_show(tmp_path):
    rows = [
        result(model=model, dataset=f"set {place}", value=(place + len(model)) / 100)
        for place in range(20)
        for model in ("mine", *(f"peer{'x' * number}" for number in range(9)))
    ]
    card = render_card(write_run(tmp_path / "mine", results=rows))
    check_form(card)
    main, every = tables(card)[1], next(rows for rows in tables(card) if rows[0][0] == "model")
    assert len(main) == 2 + 20 and len(main[0]) == 1 + MAX_MODELS and main[0][1:].count("**mine**") == 1
    assert "<summary>20 sets</summary>" in card and "5 more models are among all numbers below" in card
    assert len(every) == 2 + 200 and "<summary>All 200 numbers</summary>" in card
    assert all(len(rows[0]) <= 2 + max(MAX_MODELS, MAX_SETS, MAX_METRICS) for rows in tables(card))
    assert "So it is on 16 more sets." in card


@pytest.mark.parametrize("sets", [1, 2, MAX_SETS, MAX_SETS + 1])
def test_every_own_number_is_in_a_table_whatever_its_form(tmp_path, sets):
    values = {f"set {place}": (place + 1) / 100 for place in range(sets)}
    rows = [result(dataset=name, value=value) for name, value in values.items()]
    rows += [result(model="bm25", dataset=name, value=0.5) for name in values]
    card = render_card(write_run(tmp_path / "mine", results=rows))
    shown = {cell for row in tables(card)[0] for cell in row}
    assert shown >= {f"{100 * value:.1f}" for value in values.values()} and "**50.0**" in shown
    check_form(card)


def test_limits_say_what_the_results_say_against_it(tmp_path):
    rows = [
        result(value=0.2, domain="in-domain", counts={"documents cut": 17}),
        result(model="bm25", value=0.4),
        result(dataset="other", value=0.1, domain="in-domain"),
        *(result(query_language=a, corpus_language=b, value=v) for a, b, v in (("go", "go", 0.3), ("c", "go", 0.05))),
    ]
    limits = render_card(write_run(tmp_path / "mine", results=rows)).split("## Limits")[1].split("## Licence")[0]
    for words in (
        "On toy (raw) bm25 is ahead of it: 40.0 against 20.0 MRR.",
        "Its lowest MRR at text-to-code retrieval is 10.0, on other.",
        "By language on toy (MRR): 5.0 for c to go, 30.0 for go.",
        "No number above is known to be zero-shot",
        "17 documents cut on toy",
    ):
        assert words in limits


def test_results_know_their_model_by_its_folder_its_mark_or_its_name(tmp_path, monkeypatch):
    folder = write_run(tmp_path / "mine")
    (folder / "model").mkdir()
    (folder / "first" / "model").mkdir(parents=True)
    files = {}
    for name, model in (
        ("path", str(folder / "model")),
        ("elsewhere", "runs/mine/model"),
        ("folder", str(folder)),
        ("repo", "me/name"),
        ("called", "v2"),
    ):
        files[name] = tmp_path / f"{name}.json"
        rows = [result(model=model), result(model="/peers/other/model", value=0.1), result(model="bm25", value=0.2)]
        rows.append(result(model=str(folder / "first" / "model"), value=0.3))
        write_json(files[name], {"results": rows})
    for name, options in (
        ("path", CardOptions()),
        ("elsewhere", CardOptions()),
        ("folder", CardOptions()),
        ("repo", CardOptions(repo="me/name")),
        ("called", CardOptions(called=("v2",))),
    ):
        card = render_card(folder, "mine", results=[files[name]], options=options)
        for row in ("| **mine** | **43.2** |", "| first | 30.0 |", "| other | 10.0 |"):
            assert row in card, name
        assert "/peers" not in card
    with pytest.raises(ValueError, match=r"none of the results is known .* of v2, other, bm25, first. Say which"):
        render_card(folder, "mine", results=[files["called"]])
    write_json(tmp_path / "marked.json", {"results": [result(model="after stage 2", shipped=True), result(model="x")]})
    assert "| **mine** | **43.2** |" in render_card(folder, "mine", results=[tmp_path / "marked.json"])


def test_the_last_of_several_files_of_results_stays(run, tmp_path):
    write_json(tmp_path / "new.json", {"results": [result(value=0.9), result(dataset="more", value=0.3)]})
    card = render_card(run, results=[tmp_path / "new.json"])
    values = {
        (found.dataset_name, found.metric_type): found.metric_value for found in ModelCard(card).data.eval_results
    }
    assert values == {("toy", "mrr"): 0.9, ("toy", "recall@10"): 0.5, ("more", "mrr"): 0.3}


# records that lack parts, and hostile ones


def paths_of(record, depth=3):
    for key, value in record.items():
        yield (key,)
        if isinstance(value, dict) and depth > 1:
            yield from ((key, *rest) for rest in paths_of(value, depth - 1))


@pytest.mark.parametrize("path", [path for path in paths_of(RUN) if path not in (("recipe",), ("data",))], ids=".".join)
def test_a_record_may_lack_any_optional_part(tmp_path, path):
    record = copy.deepcopy(RUN)
    inner = record
    for key in path[:-1]:
        inner = inner[key]
    del inner[path[-1]]
    check_form(render_card(write_run(tmp_path / "mine", record, results=[result()])))


def test_a_record_with_nothing_but_recipe_and_data_gives_a_card(tmp_path):
    folder = write_run(tmp_path / "mine", {"recipe": {}, "data": {}})
    check_form(render_card(folder))
    write_json(folder / "run.json", {"recipe": {}})
    with pytest.raises(ValueError, match="lacks data. Is it a run's record?"):
        render_card(folder)


def hostile(value, name):
    """A record with `name` in all of its strings and keys that are names."""
    if isinstance(value, dict):
        fixed = {"kind", "splits", "train", "test", "files", "dropped", "counts", "rows", "kept", "license", "version"}
        fixed |= set(RUN) | set(PAIRS) | set(result()) | {"hidden_size", "learning_rate", "documented", "bytes", "sets"}
        fixed |= {"removed", "ngram", "loss", "step", "min_text_words", "kinds", "near_dedup", "keep_dropped"}
        return {
            (key if key in fixed else f"{key} {name}"): (inner if key in ("kind", "domain") else hostile(inner, name))
            for key, inner in value.items()
        }
    if isinstance(value, list):
        return [hostile(inner, name) for inner in value]
    return f"{value} {name}" if isinstance(value, str) and value else value


@pytest.mark.parametrize("name", HOSTILE)
def test_names_cannot_break_a_model_card(tmp_path, name):
    tame = render_card(write_run(tmp_path / "tame", results=[result(), result(model="bm25")]), "tame")
    rows = [hostile(result(counts={"documents cut": 3}), name), hostile(result(model="bm25"), name)]
    folder = write_run(tmp_path / "hostile", hostile(RUN, name), results=rows)
    card = render_card(folder, f"mine {name}", options=CardOptions(called=(f"mine {name}",)))
    check_form(card)
    headings = [line.split(" ")[0] for line in prose(card) if line.startswith("#")]
    assert headings == [line.split(" ")[0] for line in prose(tame) if line.startswith("#")]
    assert ModelCard(card).data.model_name == " ".join(f"mine {name}".split())
    compile(re.search(r"```python\n(.*?)^```", card, flags=re.MULTILINE | re.DOTALL).group(1), "usage", "exec")


def test_names_are_escaped_for_their_place():
    assert md("a|b\n<c> {d}") == r"a\|b &lt;c&gt; &#123;d&#125;"
    assert code("raw, 128 tokens") == "`raw, 128 tokens`" and code("a`|b") == r"<code>a\`\|b</code>"
    assert len(md("x" * 1000)) == 160


def test_a_token_in_a_record_is_struck_out(tmp_path):
    token = "hf_" + "aB3" * 10
    record = {**RUN, "recipe": {"run_name": token}, "machine": f"box {token}"}
    card = render_card(write_run(tmp_path / "mine", record))
    assert token not in card and card.count("hf_***") == 2


# data sets


@pytest.fixture(scope="module")
def built(tmp_path_factory, corpus):
    """A data set of pairs with the rows it left out, and stage-1 rows, of the command line."""
    folder = tmp_path_factory.mktemp("built")
    source = ["--source", str(corpus), "--test-share", "0.4", "--output"]
    tokenizer = ["data", "tokenizer", *source, str(folder / "tokenizer"), "--vocab-size", "600", "--max-length", "64"]
    assert coderep.main(tokenizer) == 0
    assert coderep.main(["data", "pairs", *source, str(folder / "my pairs"), "--keep-dropped"]) == 0
    rows = ["data", "stage1", *source, str(folder / "rows"), "--tokenizer", str(folder / "tokenizer")]
    assert coderep.main([*rows, "--max-length", "64"]) == 0
    return folder


def load(*args, **kwargs):
    return datasets.load_dataset(*args, **kwargs)


def test_a_data_set_loads_by_its_configuration(built, tmp_path):
    folder, cache = str(built / "my pairs"), str(tmp_path / "cache")
    stats = json.loads((built / "my pairs" / "stats.json").read_text())
    rows = load(folder, "pairs", split="train", cache_dir=cache)
    assert len(rows) == stats["splits"]["train"]["rows"] > 0
    assert len(load(folder, split="test", cache_dir=cache)) == stats["splits"]["test"]["rows"]  # without a name
    assert set(load(folder, "dropped", cache_dir=cache)["dropped"]["reason"]) <= set(stats["dropped"])


def test_several_data_sets_share_a_repo_and_a_card(built, tmp_path):
    repo = tmp_path / "repo"
    repo.mkdir()
    for config, name in (("pairs", "my pairs"), ("stage1", "rows")):
        (repo / config).mkdir()
        for shard in (built / name).glob("*.parquet"):
            (repo / config / shard.name).write_bytes(shard.read_bytes())
    path = write_dataset_card([built / "my pairs", built / "rows"], repo, repo="me/data")
    card = path.read_text()
    check_form(card)
    for config in ("pairs", "stage1"):
        assert f'load_dataset("me/data", "{config}", split="train")' in card
        rows = load(str(repo), config, split="train", cache_dir=str(tmp_path / "cache"))
        name = {"pairs": "my pairs", "stage1": "rows"}[config]
        assert len(rows) == json.loads((built / name / "stats.json").read_text())["splits"]["train"]["rows"]
    data = DatasetCard(card).data
    assert [entry["config_name"] for entry in data.configs] == ["pairs", "dropped", "stage1"]
    assert [entry["config_name"] for entry in data.dataset_info] == ["pairs", "dropped", "stage1"]
    assert data.task_categories == ["sentence-similarity", "feature-extraction", "text-retrieval", "fill-mask"]
    assert (repo / "amounts.png").read_bytes().startswith(b"\x89PNG") and "](drop_reasons.png)" in card


def test_columns_of_later_steps_are_named(built, tmp_path):
    """What filters, mining and augmenting add has words of its own; what nobody knows is named."""
    folder = tmp_path / "filtered"
    folder.mkdir()
    words = {"consistency_rank": "1 and the number", "negatives": "codes of other pairs", "text_kind": "where the text"}
    for path in (built / "my pairs").glob("*-*.parquet"):
        rows = pq.read_table(path)
        for name in ("consistency_rank", "consistency_score", "positive_score", "mine"):
            rows = rows.append_column(name, pa.array([1.0] * len(rows)))
        for name in ("negatives", "negative_scores", "text_kind"):
            rows = rows.append_column(name, pa.array(["x"] * len(rows)))
        pq.write_table(rows, folder / path.name)
    (folder / "stats.json").write_bytes((built / "my pairs" / "stats.json").read_bytes())
    card = render_dataset_card(folder)
    check_form(card)
    for name, said in words.items():
        assert f"- `{name}`: {said}" in card
    assert "- Added by later steps: `mine`." in card and "- `code_spans`: where in `code` the body is" in card
    plain = (built / "my pairs" / "README.md").read_text()
    assert "consistency" not in plain and "later steps" not in plain and "`code_spans`" in plain


def test_dataset_info_is_what_datasets_would_write(built, tmp_path):
    card = (built / "my pairs" / "README.md").read_text()
    info = next(entry for entry in DatasetCard(card).data.dataset_info if entry["config_name"] == "pairs")
    rows = datasets.load_dataset("parquet", data_dir=str(built / "rows"), cache_dir=str(tmp_path))["train"]
    pairs = load(str(built / "my pairs"), "pairs", split="train", cache_dir=str(tmp_path))
    assert info["features"] == pairs.features._to_yaml_list()
    assert features(pq.read_schema(next((built / "rows").glob("train-*")))) == rows.features._to_yaml_list()
    shards = [path for split in ("train", "test") for path in (built / "my pairs").glob(f"{split}-*.parquet")]
    assert info["download_size"] == sum(path.stat().st_size for path in shards)
    assert info["dataset_size"] == sum(split["num_bytes"] for split in info["splits"])


def test_columns_of_any_kind_are_described_as_datasets_does():
    schema = pa.schema(
        [
            ("text", pa.string()),
            ("score", pa.float32()),
            ("rank", pa.int64()),
            ("seen", pa.bool_()),
            ("negatives", pa.list_(pa.string())),
            ("deep", pa.list_(pa.list_(pa.int32()))),
            ("more", pa.struct([("a", pa.int8()), ("b", pa.list_(pa.float64()))])),
        ]
    )
    expected = datasets.Features.from_arrow_schema(schema)
    assert datasets.Features._from_yaml_list(features(schema)) == expected
    assert features(schema) == expected._to_yaml_list()


def test_card_of_a_build_says_what_is_in_it(built):
    card, stats = (
        (built / "my pairs" / "README.md").read_text(),
        json.loads((built / "my pairs/stats.json").read_text()),
    )
    check_form(card)
    assert card == render_dataset_card(built / "my pairs")
    for what in (
        f"| **functions kept** | {sum(split['rows'] for split in stats['splits'].values()):,} |",
        f"| left out: no docstring | {stats['dropped']['no_docstring']:,} |",
        "## Personal and sensitive data",
        "coderep data pairs",
        f"python {stats['versions']['python']}",
        f"tree-sitter-python {stats['versions']['tree-sitter-python']}",
        "](drop_reasons.png)",
        "Not decontaminated",
    ):
        assert what in card
    assert str(built) not in card
    steps = next(rows for rows in tables(card) if rows[0][0] == "functions")
    numbers = [int(row[1].replace(",", "")) for row in steps[2:]]
    assert numbers[0] == sum(numbers[1:])


def test_a_shard_that_is_missing_or_damaged_is_told(built, tmp_path):
    folder = tmp_path / "pairs"
    folder.mkdir()
    for path in (built / "my pairs").iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    shard = next(folder.glob("train-*.parquet"))
    table = pq.read_table(shard)
    pq.write_table(table.slice(0, 3), shard)
    with pytest.raises(
        ValueError, match=r"the shards of 'train' .* hold 3 rows, its stats.json says [\d,]+. Shards are"
    ):
        render_dataset_card(folder)
    shard.write_bytes(b"PAR1 torn")
    with pytest.raises(ValueError, match=r"shard .*train-.* is damaged .* Build the data set anew"):
        render_dataset_card(folder)


def stats_folder(folder, stats=PAIRS):
    folder.mkdir()
    write_json(folder / "stats.json", stats)
    return folder


def test_records_of_data_alone_give_a_card(tmp_path):
    card = render_dataset_card(stats_folder(tmp_path / "pairs"), repo="me/pairs")
    check_card(card, "dataset")
    assert "| python | nothing | 3 | 0.0 | 1,000 | 1,000 | 100.0 |" in card and "| go | 6 stub | 1 |" in card
    assert "| apps | 7 |" in card and "| cosqa | 0 |" in card and "was left out: 7 functions." in card
    assert "| MIT | 1 | 3 | 75.0 |" in card and "| not recorded | 1 | 1 | 25.0 |" in card
    data = DatasetCard(card).data.to_dict()
    assert data["license"] == "other" and data["license_link"].endswith("/me/pairs#licences")
    assert data["source_datasets"] == ["code-search-net/code_search_net"] and data["size_categories"] == ["1K<n<10K"]


@pytest.mark.parametrize("name", HOSTILE)
def test_names_cannot_break_a_dataset_card(tmp_path, name):
    tame = render_dataset_card(stats_folder(tmp_path / "tame"), "tame")
    card = render_dataset_card(stats_folder(tmp_path / "hostile", hostile(PAIRS, name)), f"data {name}")
    check_form(card)
    headings = [line.split(" ")[0] for line in prose(card) if line.startswith("#")]
    assert headings == [line.split(" ")[0] for line in prose(tame) if line.startswith("#")]
    assert DatasetCard(card).data.pretty_name == f"data {name}"


def test_later_steps_are_told_with_their_columns(built, tmp_path):
    """As consistency filtering and mining leave a data set: columns added, options under the step's name."""
    folder = tmp_path / "filtered"
    folder.mkdir()
    stats = json.loads((built / "my pairs" / "stats.json").read_text())
    settings = {**stats["settings"], "consistency": {"top_k": 3, "pool": 1000, "model": None}}
    write_json(folder / "stats.json", {**stats, "settings": settings})
    for split in ("train", "test"):
        rows = pq.read_table(next((built / "my pairs").glob(f"{split}-*")))
        rows = rows.append_column("rank", pa.array([1] * len(rows)))
        pq.write_table(rows, folder / f"{split}-00000-of-00001.parquet")
    card = render_dataset_card(folder)
    check_form(card)
    assert "- Added by later steps: `rank`." in card
    assert "Then `coderep data consistency` with top_k 3, pool 1000." in card and "--consistency" not in card


def test_licences_are_those_of_the_hub_where_it_has_names():
    assert [hub_license(name) for name in ("MIT", "GPL-2.0-or-later", "Apache-2.0", "curl", "")] == [
        *("mit", "gpl-2.0", "apache-2.0"),
        *(None, None),
    ]
    one = {"repositories": {"a": {"license": "MIT", "files": 1}}}
    two = {"repositories": {"a": {"license": "BSD-3-Clause", "files": 1}}}
    assert metadata_licenses([one]) == {"license": "mit"}
    assert metadata_licenses([one, two]) == {"license": ["bsd-3-clause", "mit"]}
    assert metadata_licenses([one, {"repositories": {"b": {"files": 1}}}])["license"] == "other"
    assert metadata_licenses([{}])["license"] == "other"


def test_sizes_are_called_as_the_hub_calls_them():
    names = {0: "n<1K", 999: "n<1K", 1000: "1K<n<10K", 999_999: "100K<n<1M", 10**6: "1M<n<10M", 10**9: "1B<n<10B"}
    assert {rows: size_category(rows) for rows in names} == names


# leakage


def leakage(path, **hits):
    """A report of two sets, whose second has texts that leaked."""
    kinds = {"exact": 0, "near": 0, "contained": 0, "overlap": 0}
    parts = [
        {"set": "clean", "part": "queries", "texts": 900, "short": 0, **kinds, "share": 0.0},
        {"set": "dirty_set", "part": "documents", "texts": 1100, "short": 3, **kinds, **hits, "share": 0.0},
    ]
    settings = {"threshold": 0.85, "ngram": 13, "train": ["data"]}
    write_json(path, {"settings": settings, "train": {"texts": 12345}, "parts": parts, "hits": [], "seconds": 1})
    return path


def test_what_leaked_is_told(run, tmp_path):
    path = leakage(tmp_path / "leakage.json", near=2, overlap=1004)
    text = render_card(run, "m", options=CardOptions(leakage=path))
    assert "compared the 12,345 texts and codes of the last stage with 2,000 of 2 evaluation sets" in text
    assert "Shared: 2 near duplicates and 1,004 sharing a run of words, in dirty_set." in text
    assert "| dirty_set | documents | 1,100 | 0 | 2 | 0 | 1,004 |" in text and "| clean |" not in text
    clean = render_card(run, "m", options=CardOptions(leakage=leakage(tmp_path / "clean.json")))
    assert "and found nothing shared." in clean
    assert "eval leakage" not in render_card(run, "m")


def test_the_report_is_that_of_the_command(run, tmp_path, capsys):
    rows = "".join(json.dumps({"text": f"read row {n} of a csv file", "code": "x = 1"}) + "\n" for n in range(9))
    (tmp_path / "train.jsonl").write_text(rows)
    (tmp_path / "eval.jsonl").write_text(json.dumps({"text": "read row 3 of a csv file"}) + "\n")
    words = ["--train", str(tmp_path / "train.jsonl"), "--eval", str(tmp_path / "eval.jsonl")]
    assert coderep.main(["eval", "leakage", *words, "--output", str(tmp_path / "found.json")]) == 0
    capsys.readouterr()
    assert coderep.main(["card", "render", str(run), "--leakage", str(tmp_path / "found.json")]) == 0
    assert "Shared: 1 equal, in eval." in capsys.readouterr().out


# the command


def test_command_prints_or_writes(run, tmp_path, capsys, built):
    words = ["card", "render", str(run), "--repo", "me/name"]
    assert coderep.main(words) == 0
    printed = capsys.readouterr().out
    assert 'AutoModel.from_pretrained("me/name"' in printed
    assert coderep.main([*words, "--output", str(tmp_path / "card.md")]) == 0
    assert (tmp_path / "card.md").read_text() == printed
    write_json(tmp_path / "more.json", {"results": [result(dataset="more", value=0.125)]})
    more = ["--results", str(tmp_path / "more.json"), "--watts", "50", "--datasets", "me/data", "--license", "mit"]
    assert coderep.main([*words, *more]) == 0
    data = ModelCard(capsys.readouterr().out).data
    assert {found.dataset_name for found in data.eval_results} == {"toy", "more"}
    assert data.license == "mit" and data.datasets[0] == "me/data"
    page = tmp_path / "page" / "README.md"
    page.parent.mkdir()
    both = [str(built / "my pairs"), str(built / "rows")]
    assert coderep.main(["card", "render", *both, "--repo", "me/data", "--output", str(page)]) == 0
    assert sorted(path.name for path in page.parent.iterdir()) == ["README.md", "amounts.png", "drop_reasons.png"]
    assert coderep.main(["card", "render", both[0]]) == 0
    assert ".png" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--repo", "a b/c"], "a repo on the Hub is called owner/name, got 'a b/c'"),
        (["--grams-per-kwh", "3"], "say something only with --watts"),
        (["--watts", "0"], "watts must be above 0, got 0.0"),
        (["--results", "gone.json"], "results 'gone.json' do not exist"),
        (["--leakage", __file__], "is no report of `coderep eval leakage --output` (JSONDecodeError"),
        (["--leakage", "gone.json"], "gone.json"),
        (["--base-model", "a/b/c"], "a repo on the Hub is called owner/name, got 'a/b/c'"),
    ],
)
def test_command_explains_what_it_cannot_do(run, more, message, capsys):
    assert coderep.main(["card", "render", str(run), *more]) == 2
    assert message in capsys.readouterr().err


def test_importing_cards_takes_neither_torch_nor_long():
    modules = "hub_cards, hub_cards.render, hub_cards.data, hub_cards.render_cli"
    script = f"import sys, time; began = time.process_time(); import {modules}; spent = time.process_time() - began"
    script += "; print(spent); sys.exit(any(name in sys.modules for name in ('torch', 'transformers', 'datasets')))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) < 0.5  # seconds of this process, whatever else runs


def test_yaml_blocks_parse_alone(run):
    assert yaml.safe_load(render_card(run).split("---\n")[1])["library_name"] == "transformers"
