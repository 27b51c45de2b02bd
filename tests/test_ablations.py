"""The ablation grid: recipes, scores and differences on paper, runs that are never repeated, the page."""

from __future__ import annotations

import json
import math
import re
import time
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from transformers import AutoTokenizer, BertConfig, BertModel

import coderep
from benchmarks.ablations import contrastive_report, page, report
from benchmarks.ablations import grid as grid_module
from benchmarks.ablations.__main__ import main
from benchmarks.ablations.plan import CONTRASTIVE_RECIPES, RECIPES, VARIANTS, Grid, read_recipes
from benchmarks.ablations.scores import (
    CROSS_LANGUAGE,
    IN_LANGUAGE,
    NL2CODE,
    column_scores,
    compare,
    differences,
    pairs,
    set_scores,
    t_quantile,
)
from data_collators.builders.store import load_split
from modeling_coderep import CodeRepConfig, CodeRepModel
from trainers.arguments import ContrastiveArguments, MlmArguments
from trainers.command_line import build_arguments
from trainers.evaluation import choose_protocol, evaluate_retrieval
from trainers.evaluation.ranking import Relevance
from trainers.evaluation.sets import CODE_TO_CODE, TEXT_TO_CODE, RetrievalSet, read_pairs
from trainers.records import EvalResult

ROOT = Path(coderep.__file__).resolve().parent

# recipes

FULL, SHORT = {"mask_share": 1.0, "random_share": 0.0}, {"mask_share": 0.8, "random_share": 0.1}
OWN = {
    "random": {"objective": "random", **FULL},
    "dobf": {"objective": "dobf", **FULL},
    "sequential": {"objective": "sequential", **FULL},
    "parallel": {"objective": "parallel", **FULL},
    "parallel_80_10_10": {"objective": "parallel", **SHORT},
    "random_80_10_10": {"objective": "random", **SHORT},
}


def test_recipes_differ_in_nothing_but_what_they_are_named_for():
    recipes = read_recipes()
    assert tuple(recipes) == VARIANTS
    shared = {
        name: {key: value for key, value in recipe.items() if key not in OWN[name]} for name, recipe in recipes.items()
    }
    assert all(recipe == shared["parallel"] for recipe in shared.values())
    assert {name: {key: recipes[name][key] for key in OWN[name]} for name in recipes} == OWN


def test_recipes_hold_keys_that_training_knows(tmp_path):
    for name, recipe in read_recipes().items():
        args = build_arguments(MlmArguments, {**recipe, "output_dir": str(tmp_path)}, name)
        assert args.learning_rate == recipe["learning_rate"] and args.max_steps > 1


def test_a_missing_recipe_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="has no variant 'paralel'. It has dobf, parallel"):
        read_recipes(RECIPES, ["paralel"])
    with pytest.raises(FileNotFoundError, match="holds no recipe"):
        read_recipes(tmp_path)
    (tmp_path / "bm25.yaml").write_text("mlm: {}")
    with pytest.raises(ValueError, match="'bm25' is a reference"):
        read_recipes(tmp_path)


# scores


def result(dataset, metric, value, query="", corpus="", task=CODE_TO_CODE):
    return EvalResult("m", task, dataset, "r", "raw", metric, value, 1, 0.0, query, corpus)


def test_scores_of_a_run_on_paper():
    results = [
        result("text a", "mrr", 0.2, task=TEXT_TO_CODE),
        result("text a", "map", 0.9, task=TEXT_TO_CODE),
        result("text a", "mrr", 0.7, "", "python", task=TEXT_TO_CODE),  # a part of the pool: not the number of the set
        result("text b", "mrr", 0.4, task=TEXT_TO_CODE),
        result("text b", "map", 0.8, task=TEXT_TO_CODE),
        result("in", "mrr", 0.99),
        result("in", "map", 0.5),
        result("in", "map", 0.1, "go", "go"),
        result("in", "map", 0.6, "c", "c"),
        result("cross", "mrr", 0.99),
        result("cross", "map", 0.98),
        result("cross", "map", 0.97, "go", "go"),
        result("cross", "map", 0.1, "go", "c"),
        result("cross", "mrr", 0.95, "go", "c"),
        result("cross", "map", 0.3, "c", "go"),
        result("cross", "map", 0.96, "c", "c"),
    ]
    assert set_scores(results) == {
        NL2CODE: {"text a": 0.2, "text b": 0.4},
        IN_LANGUAGE: {"in": 0.5},
        CROSS_LANGUAGE: {"cross": pytest.approx(0.2)},  # (0.1 + 0.3) / 2
    }
    assert column_scores(results)[NL2CODE] == pytest.approx(0.3)


class TableScorer:
    name, changes = "table", ()

    def __init__(self, scores):
        self.scores = scores

    def counts(self, queries, documents):
        return {}

    def blocks(self, queries, documents, *, texts):
        yield self.scores.copy()


def test_off_diagonal_mean_is_the_slow_one():
    """Three languages, four problems; each pair of unlike languages ranked by sorting, then the plain mean of six."""
    languages = [language for language in ("c", "go", "php") for _ in range(4)]
    problems = [0, 1, 2, 3] * 3
    ids, texts = [str(n) for n in range(12)], [f"code {n}" for n in range(12)]
    relevant = [{d: 1.0 for d in range(12) if d != q and problems[d] == problems[q]} for q in range(12)]
    data = RetrievalSet(
        "cross", CODE_TO_CODE, ids, texts, languages, ids, texts, languages, Relevance.from_dicts(relevant)
    )
    scores_QC = np.random.default_rng(0).random((12, 12), dtype=np.float32)
    results = evaluate_retrieval(TableScorer(scores_QC), data, choose_protocol("raw")).results
    means = []
    for query in ("c", "go", "php"):
        for corpus in {"c", "go", "php"} - {query}:
            ranks = []
            for q in (n for n in range(12) if languages[n] == query):
                order = sorted((d for d in range(12) if languages[d] == corpus), key=lambda d, q=q: -scores_QC[q, d])
                ranks.append(1 + next(place for place, d in enumerate(order) if problems[d] == problems[q]))
            means.append(sum(1 / rank for rank in ranks) / 4)  # one relevant document: its precision
    assert column_scores(results) == {CROSS_LANGUAGE: pytest.approx(sum(means) / 6)}


# differences


def test_pairs_are_objectives_and_masks():
    assert pairs(VARIANTS) == [
        *(("random", "dobf"), ("random", "sequential"), ("random", "parallel")),
        *(("dobf", "sequential"), ("dobf", "parallel"), ("sequential", "parallel")),
        *(("random", "random_80_10_10"), ("parallel", "parallel_80_10_10")),
    ]
    assert pairs(["parallel", "random_80_10_10"]) == []


def test_differences_on_paper():
    """Gaps of 2, 3, 4 points: mean 3, deviation 1, half width 4.303 / sqrt(3) = 2.484. Gaps of 1, 3, 5: twice that."""
    scores = {"random": {1: 0.10, 2: 0.30, 3: 0.20}, "parallel": {1: 0.12, 2: 0.33, 3: 0.24}}
    found = compare(NL2CODE, scores, "random", "parallel")
    assert (found.first, found.second, found.seeds) == ("parallel", "random", 3)
    assert found.mean == pytest.approx(0.03) and found.spread == pytest.approx(0.01)
    assert found.half_width == pytest.approx(0.02484, abs=1e-5) and found.told
    wide = compare(NL2CODE, {**scores, "parallel": {1: 0.11, 2: 0.33, 3: 0.25}}, "parallel", "random")
    assert wide.mean == pytest.approx(0.03) and wide.half_width == pytest.approx(0.04968, abs=1e-5) and not wide.told
    assert report.words(found) == "parallel over random by 3.00 (0.52 to 5.48)"


def test_only_seeds_of_both_are_compared():
    scores = {"a": {1: 0.5, 2: 0.1}, "b": {2: 0.3, 7: 0.9}, "c": {9: 1.0}}
    found = compare(NL2CODE, scores, "a", "b")
    assert (found.first, found.mean, found.spread, found.half_width) == ("b", pytest.approx(0.2), None, None)
    assert not found.told and compare(NL2CODE, scores, "a", "c") is None
    assert len(differences({NL2CODE: scores}, ["a", "b", "c"])) == 1


def test_quantiles_are_those_of_student():
    stats = pytest.importorskip("scipy.stats")
    for freedom in range(1, 10):
        assert t_quantile(freedom) == pytest.approx(stats.t.ppf(0.975, freedom), abs=6e-4)
    assert t_quantile(30) == t_quantile(9) > stats.t.ppf(0.975, 30)


def test_without_a_difference_one_comparison_in_twenty_tells_one():
    rng, n = np.random.default_rng(0), 4000
    told = 0
    for _ in range(n):
        a, b = rng.normal(0.2, 0.01, (2, 3)).tolist()
        told += compare("x", {"a": dict(enumerate(a)), "b": dict(enumerate(b))}, "a", "b").told
    assert abs(told - 0.05 * n) < 5 * math.sqrt(n * 0.05 * 0.95)  # five sigma


# tables


def record(variant, seed, nl2code, in_language):
    results = [result("t", "mrr", nl2code, task=TEXT_TO_CODE), result("c", "map", in_language)]
    trained = variant not in ("bm25", "untrained")
    return {
        "variant": variant,
        "seed": seed,
        "training": {"recipe": {"max_steps": 5}, "seed": seed},
        "evaluation": {"protocol": "raw, 256 tokens", "sets": {"t": "r", "c": "r"}},
        "parameters": 1000 if trained else 0,
        "tokens": 2000 if trained else 0,
        "training_seconds": 60.0,
        "evaluation_seconds": 30.0,
        "results": [{name: getattr(row, name) for name in row.__dataclass_fields__} for row in results],
    }


def records(seeds=(1, 2, 3)):
    """Means on paper: random 20 ± 10, 80-10-10 of it 17 ± 9 (gaps 2, 3, 4), dobf 30 ± 0."""
    found = [record("bm25", 0, 0.5, 0.6), *(record("untrained", seed, 0.01, 0.02) for seed in seeds)]
    for seed in seeds:
        value = 0.1 * seed
        found += [record("random", seed, value, 0.4), record("dobf", seed, 0.3, 0.4)]
        found += [record("random_80_10_10", seed, value - 0.01 - 0.01 * seed, 0.4)]
    return found


def test_tables_hold_the_means_and_deviations_of_the_records():
    summary = json.loads(json.dumps(report.summarize(records())))
    scores = summary["scores"][NL2CODE]["random"]
    assert (scores["mean"], scores["spread"]) == (pytest.approx(0.2), pytest.approx(0.1))
    assert scores["seeds"] == {"1": 0.1, "2": 0.2, "3": pytest.approx(0.3)}
    text = report.markdown(summary)
    assert "| percent | R | D | untrained | BM25 |" in text
    assert "| NL2Code, MRR | 20.00 ± 10.00 | **30.00** ± 0.00 | 1.00 ± 0.00 | 50.00 |" in text
    assert "| percent | random, full mask | random, 80-10-10 | full less 80-10-10 |" in text
    assert "| NL2Code, MRR | 20.00 ± 10.00 | 17.00 ± 9.00 | +3.00 ± 1.00 |" in text
    assert "NL2Code, MRR, beyond the spread: random over random_80_10_10 by 3.00 (0.52 to 5.48)." in text
    assert "NL2Code, MRR, within the spread: dobf and random (10.00)." in text
    assert "5 steps, 2,000 tokens a run, 1,000 parameters, 3 seeds; 1.0 minutes of training and 0.5 of" in text


def test_one_seed_tells_nothing():
    text = report.markdown(report.summarize(records(seeds=(2,))))
    assert "NL2Code, MRR: one seed, so no spread and no difference can be told." in text and "±" not in text


def test_the_page_changes_between_its_marks_only(tmp_path):
    path = tmp_path / "page.md"
    path.write_text(f"before\n{page.BEGIN}\nold\n{page.END}\nafter\n")
    page.rewrite_page(path, "new")
    page.rewrite_page(path, "newer")
    assert path.read_text() == f"before\n{page.BEGIN}\n\nnewer\n\n{page.END}\nafter\n"
    path.write_text(f"{page.END}\n{page.BEGIN}\n")
    with pytest.raises(ValueError, match="needs the lines .* once each, in this order. Add them."):
        page.check_page(path)
    page.check_page(ROOT / "docs" / "ABLATIONS.md")


# the grid

TOY = {
    "hidden_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "max_position_embeddings": 64,
    "initializer_range": 0.2,  # large enough that two steps move rankings
}
TOY_VARIANTS = ("random", "sequential", "random_80_10_10")


def write_set(folder, documents, queries, relevant, task):
    folder.mkdir(parents=True)
    for name, rows in (("corpus.jsonl", documents), ("queries.jsonl", queries)):
        (folder / name).write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "qrels.tsv").write_text("".join(f"{q}\t{d}\t1\n" for q, d in relevant))
    (folder / "meta.json").write_text(json.dumps({"task": task}))


@pytest.fixture(scope="module")
def setup(tmp_path_factory, stage1):
    """Arguments of a grid on a toy corpus: three variants, two seeds, two steps, three sets."""
    folder = tmp_path_factory.mktemp("grid of toys")
    (folder / "recipes").mkdir()
    for name in TOY_VARIANTS:
        recipe = {**read_recipes(RECIPES, [name])[name], "model_config": TOY, "max_length": 64, "learning_rate": 0.05}
        recipe |= {"save_steps": 1, "logging_steps": 1}
        (folder / "recipes" / f"{name}.yaml").write_text(yaml.safe_dump({"mlm": recipe}))
    verbs = ["read", "write", "close", "parse", "skip", "count", "merge", "sort"]
    code = {
        language: [
            {"_id": f"{language} {verb} {n}", "language": language, "text": template.format(verb=verb, n=n)}
            for verb in verbs
            for n in range(2)
        ]
        for language, template in (("python", "def {verb}(rows):\n    return {n}"), ("c", "int {verb}(r) {{ {n}; }}"))
    }
    texts = [{"_id": verb, "text": f"{verb} all the rows"} for verb in verbs]
    both = [*code["python"], *code["c"]]
    same = [(a["_id"], b["_id"]) for a in both for b in both if a != b and a["_id"].split()[1] == b["_id"].split()[1]]
    write_set(folder / "sets" / "text", code["python"], texts, [(v, f"python {v} 0") for v in verbs], "nl2code")
    write_set(folder / "sets" / "within", both, both, same, "code2code in-language")
    write_set(folder / "sets" / "cross", both, both, same, "code2code cross-language")
    (folder / "page.md").write_text(f"# Page\n{page.BEGIN}\n{page.END}\nend\n")
    argv = ["--data", str(stage1 / "rows"), "--tokenizer", str(stage1 / "tokenizer"), "--steps", "2", "--seeds", "2"]
    argv += ["--evaluation", str(folder / "sets"), "--recipes", str(folder / "recipes"), "--max-length", "32"]
    return folder, argv


@pytest.fixture(scope="module")
def finished(setup):
    folder, argv = setup
    assert main([*argv, "--output", str(folder / "whole"), "--docs", str(folder / "page.md")]) == 0
    return folder / "whole"


def scores(folder):
    summary = json.loads((folder / "ablations.json").read_text())
    return {name: summary[name] for name in ("scores", "sets", "differences", "evaluation")}


def test_the_grid_end_to_end(setup, finished):
    summary = json.loads((finished / "ablations.json").read_text())
    assert [(run["variant"], run["seed"]) for run in summary["runs"]] == [
        *(("bm25", 0), ("untrained", 1), ("untrained", 2)),
        *((name, seed) for seed in (1, 2) for name in ("random", "sequential", "random_80_10_10")),
    ]
    for column in (NL2CODE, IN_LANGUAGE, CROSS_LANGUAGE):
        found = summary["scores"][column]
        assert set(found) == {"bm25", "untrained", *TOY_VARIANTS}
        assert len({round(score["mean"], 6) for score in found.values()}) > 2, "training moves the numbers"
        for score in found.values():
            values = list(score["seeds"].values())
            assert score["mean"] == pytest.approx(sum(values) / len(values))
            if len(values) == 2:  # the deviation of two values
                assert score["spread"] == pytest.approx(abs(values[0] - values[1]) / math.sqrt(2))
    assert all(run["tokens"] > 0 and run["training"]["recipe"]["max_steps"] == 2 for run in summary["runs"][3:])
    text = (setup[0] / "page.md").read_text()
    assert text.startswith(f"# Page\n{page.BEGIN}\n\n| percent | R | S |") and text.endswith(f"{page.END}\nend\n")
    assert "](page.png)" in text and (setup[0] / "page.png").read_bytes().startswith(b"\x89PNG")
    assert not list(finished.rglob("checkpoint-*"))


def test_finished_runs_are_not_repeated(setup, finished, monkeypatch, capsys):
    folder, argv = setup
    before = scores(finished)

    def refuse(*_, **__):
        raise AssertionError("trained or evaluated again")

    monkeypatch.setattr(grid_module, "train_mlm", refuse)
    monkeypatch.setattr(grid_module, "evaluate_retrieval", refuse)
    assert main([*argv, "--output", str(finished)]) == 0
    assert scores(finished) == before and capsys.readouterr().out.startswith("| percent | R | S |")
    with pytest.raises(AssertionError, match="again"):  # what refuses is what a grid would call
        main([*argv, "--output", str(folder / "other"), "--variants", "random"])


def test_a_further_set_is_evaluated_without_training(setup, finished, tmp_path):
    """Records of other sets are made anew from the models at hand, which stay as they are."""
    _, argv = setup
    weights = {path: path.stat().st_mtime_ns for path in finished.rglob("model.safetensors")}
    part = [word if word != argv[argv.index("--evaluation") + 1] else f"{word}/text" for word in argv]
    assert main([*part, "--output", str(finished)]) == 0
    assert set(scores(finished)["scores"]) == {NL2CODE}
    assert {p: t for p, t in weights.items() if "untrained" not in str(p)} == {
        path: path.stat().st_mtime_ns for path in finished.rglob("model.safetensors") if "untrained" not in str(path)
    }
    assert main([*argv, "--output", str(finished)]) == 0
    assert set(scores(finished)["scores"]) == {NL2CODE, IN_LANGUAGE, CROSS_LANGUAGE}


def test_other_work_is_refused(setup, finished, capsys):
    _, argv = setup
    argv = [*argv, "--output", str(finished)]
    argv[argv.index("--steps") + 1] = "3"
    assert main(argv) == 2
    assert re.search("random-seed1.json' is a run with another recipe. Name another --output", capsys.readouterr().err)
    assert main([*argv, "--seeds", "0"]) == 2
    assert "--seeds must be at least 1, got 0" in capsys.readouterr().err


@pytest.mark.slow
def test_a_killed_grid_goes_on(setup, finished, start, tmp_path):
    """SIGKILL while the second variant trains: the first stays as it was, the numbers are those of a whole grid."""
    _, argv = setup
    argv = [*argv, "--output", str(tmp_path / "out")]
    run = "from benchmarks.ablations.__main__ import main; sys.exit(main(argv))"
    process = start(argv, tmp_path / "log", before=run)
    deadline = time.monotonic() + 120
    while not list(tmp_path.glob("out/sequential-seed1/*/checkpoint-1/complete")):
        assert process.is_alive() and time.monotonic() < deadline, (tmp_path / "log").read_text()
        time.sleep(0.005)
    process.kill()
    process.join()
    assert not (tmp_path / "out" / "ablations.json").exists(), "killed too late"
    first = tmp_path / "out" / "random-seed1.json"
    stamp = first.stat().st_mtime_ns
    assert main(argv) == 0
    assert first.stat().st_mtime_ns == stamp and scores(tmp_path / "out") == scores(finished)


# stage 2

OWN_KEYS = {"loss", "hard_positive_rate", "hard_negatives", "weight_norm", "temperature", "matryoshka_dims"}
OWN_KEYS |= {"per_device_train_batch_size", "max_steps"}


def recipes_of_stage_2(variants=None):
    return read_recipes(CONTRASTIVE_RECIPES, variants, "contrastive", contrastive_report.VARIANTS)


def test_recipes_of_stage_2_differ_in_what_they_are_named_for(tmp_path):
    recipes = recipes_of_stage_2()
    assert tuple(recipes) == contrastive_report.VARIANTS
    usual = recipes["both_mean"]
    changed = {
        name: {key: value for key, value in recipe.items() if value != usual[key]} for name, recipe in recipes.items()
    }
    assert all(set(recipe) == set(usual) and set(changed[name]) <= OWN_KEYS for name, recipe in recipes.items())
    assert changed["filtered"] == {} and changed["matryoshka"] == {"matryoshka_dims": [384, 128, 64, 32]}
    assert changed["both_sum"] == {"weight_norm": "sum"} and changed["hard_positives"] == {"hard_negatives": False}
    assert changed["baseline"] == {"hard_positive_rate": 0.0, "hard_negatives": False}
    assert changed["hard_negatives_mean"] == {"hard_positive_rate": 0.0}
    assert changed["hard_negatives_sum"] == {"hard_positive_rate": 0.0, "weight_norm": "sum"}
    for name, value in changed.items():
        kind, _, number = name.partition("_")
        if kind == "temperature":
            assert value == {"temperature": float(number)}
        elif kind == "batch":  # as many pairs in all
            assert value == {"per_device_train_batch_size": int(number), "max_steps": value["max_steps"]}
            assert value["max_steps"] * int(number) == usual["max_steps"] * usual["per_device_train_batch_size"]
        elif kind == "bimodal":
            assert value == {"max_steps": usual["max_steps"] // {"quarter": 4, "half": 2}[number]}
    for part in ("quarter", "half"):
        assert changed[f"unimodal_{part}"] == {**changed["unimodal"], **changed[f"bimodal_{part}"]}
    for name, recipe in recipes.items():
        args = build_arguments(ContrastiveArguments, {**recipe, "output_dir": str(tmp_path)}, name)
        assert args.max_steps == recipe["max_steps"] and args.loss == ("unimodal" if "uni" in name else "bimodal")


def test_steps_keep_the_proportion_of_recipes(tmp_path):
    recipes = recipes_of_stage_2(["both_mean", "bimodal_quarter", "batch_16"])
    grid = Grid(recipes, (1,), "data", None, [], choose_protocol("raw"), tmp_path, 40, 60, start="start")
    assert [grid.arguments(name, 1).max_steps for name in recipes] == [40, 10, 160]
    assert grid.arguments("both_mean", 7).model == "start" and grid.arguments("both_mean", 7).seed == 7


def record_of_stage_2(variant, seed, value, truncated=None):
    found = record(variant, seed, value, value)
    if truncated is not None:
        found["truncated"] = {"16": record(variant, seed, truncated, truncated)["results"]}
    return found


def test_tables_of_stage_2():
    """On paper: both_mean leads baseline by 2, 3 and 4 points; matryoshka keeps more of the first 16 dimensions."""
    records = [record("bm25", 0, 0.5, 0.6), record("start", 0, 0.01, 0.02)]
    for seed in (1, 2, 3):
        records += [
            record_of_stage_2("baseline", seed, 0.1 * seed),
            record_of_stage_2("both_mean", seed, 0.11 * seed + 0.01, 0.05),
            record_of_stage_2("matryoshka", seed, 0.2, 0.15 + 0.01 * seed),
        ]
    summary = report.summarize(records, contrastive_report.compared(["baseline", "both_mean", "matryoshka"]))
    summary["truncated"] = contrastive_report.truncated_scores(records)
    text = page.markdown(json.loads(json.dumps(summary)))
    assert text == contrastive_report.markdown(summary)
    assert "| neither (InfoNCE) | 20.00 ± 10.00 | 20.00 ± 10.00 | 22.2 / 24.8 |" in text
    assert "| both, mean | **23.00** ± 11.00 | **23.00** ± 11.00 | 26.1 / 33.0 |" in text
    assert "| before stage 2 | 1.00 | 2.00 |  |" in text and "| BM25 | 50.00 | 60.00 |  |" in text
    assert "- NL2Code, MRR: beyond the spread both_mean over baseline by 3.00 (0.52 to 5.48)." in text
    assert "| first 16 | 5.00 ± 0.00 | 17.00 ± 1.00 | 5.00 ± 0.00 | 17.00 ± 1.00 |" in text
    assert "- first 16, NL2Code, MRR: beyond the spread matryoshka over both_mean by 12.00 (9.52 to 14.48)." in text
    assert "- whole, NL2Code, MRR: within it both_mean and matryoshka (3.00)." in text
    assert "### Temperature" not in text and "### Consistency filter" not in text  # of which nothing was run


TOY_STAGE_2 = ("baseline", "both_mean", "unimodal", "filtered", "matryoshka")


@pytest.fixture(scope="module")
def setup_2(setup, tmp_path_factory, stage1, corpus):
    """Arguments of a grid of stage 2: a checkpoint without dropout, pairs, and pairs said to be filtered."""
    folder = tmp_path_factory.mktemp("grid of stage 2")
    tokenizer = AutoTokenizer.from_pretrained(stage1 / "tokenizer")
    rates = {"embedding_dropout": 0.0, "hidden_dropout": 0.0, "attention_dropout": 0.0}
    model = CodeRepModel(CodeRepConfig(vocab_size=len(tokenizer), **TOY, **rates))
    model.save_pretrained(folder / "model")
    tokenizer.save_pretrained(folder / "model")
    for name, modules in (("pairs", ["argparse.py", "csv.py", "shutil.py"]), ("fewer", ["shutil.py", "csv.py"])):
        sources = [str(corpus / module) for module in modules]
        command = ["data", "pairs", "--source", *sources, "--output", str(folder / name), "--test-share", "0"]
        assert coderep.main(command) == 0
    (folder / "recipes").mkdir()
    for name in TOY_STAGE_2:
        recipe = {**recipes_of_stage_2([name])[name], "per_device_train_batch_size": 8, "learning_rate": 0.05}
        recipe |= {"max_text_length": 16, "max_code_length": 32, "logging_steps": 1, "save_steps": 1}
        recipe |= {"matryoshka_dims": [16, 4]} if name == "matryoshka" else {}
        (folder / "recipes" / f"{name}.yaml").write_text(yaml.safe_dump({"contrastive": recipe}))
    begin, end = page.MARKS["contrastive"]
    (folder / "page.md").write_text(f"{page.BEGIN}\nstage 1\n{page.END}\n{begin}\nold\n{end}\n")
    argv = ["--stage", "contrastive", "--start", str(folder / "model"), "--data", str(folder / "pairs"), "--steps", "2"]
    argv += ["--evaluation", str(setup[0] / "sets" / "text"), str(setup[0] / "sets" / "within"), "--seeds", "1"]
    argv += ["--recipes", str(folder / "recipes"), "--max-length", "32", "--dims", "8", "4"]
    return folder, [*argv, "--output", str(folder / "out")]


def test_the_grid_of_stage_2_end_to_end(setup_2, monkeypatch, capsys):
    folder, argv = setup_2
    argv = [*argv, "--filtered", str(folder / "fewer"), "--docs", str(folder / "page.md")]
    assert main(argv) == 0
    summary = json.loads((folder / "out" / "ablations.json").read_text())
    assert [(run["variant"], run["seed"]) for run in summary["runs"]] == [
        *(("bm25", 0), ("start", 0)),
        *((name, 1) for name in TOY_STAGE_2),
    ]
    runs = {(run["variant"], run["seed"]): run for run in summary["runs"]}
    own, other = runs["both_mean", 1]["training"], runs["filtered", 1]["training"]
    assert own["data"] != other["data"] and own["recipe"] == other["recipe"] and own["start"] == other["start"]
    assert json.loads((folder / "out" / "start" / "config.json").read_text())["hidden_dropout"] == 0.1
    for column in (NL2CODE, IN_LANGUAGE):
        found = summary["scores"][column]
        assert len({round(score["mean"], 6) for score in found.values()}) > 3, "training moves the numbers"
        assert set(summary["truncated"]["4"][column]) == {"both_mean", "matryoshka"}
    text = (folder / "page.md").read_text()
    assert text.startswith(f"{page.BEGIN}\nstage 1\n{page.END}\n")
    assert "### Matryoshka" in text and "\nold\n" not in text
    assert "](page_contrastive.png)" in text and (folder / "page_contrastive.png").is_file()
    assert capsys.readouterr().out.startswith("### Hard positives and hard negatives")

    def refuse(*_, **__):
        raise AssertionError("trained or evaluated again")

    monkeypatch.setattr(grid_module, "train_contrastive", refuse)
    monkeypatch.setattr(grid_module, "evaluate_retrieval", refuse)
    assert main(argv) == 0  # nothing is repeated
    assert main([*argv, "--dropout", "0.2"]) == 2
    assert "is another checkpoint to start from. Name another --output" in capsys.readouterr().err


def test_stage_2_starts_from_any_encoder_and_looks_at_held_out_pairs(setup_2, tmp_path, corpus, tokenizer):
    """A BERT, and pairs of each language that no run has seen, without any other set."""
    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    BertModel(BertConfig(vocab_size=len(tokenizer), hidden_dropout_prob=0.0, **sizes)).save_pretrained(
        tmp_path / "bert"
    )
    tokenizer.save_pretrained(tmp_path / "bert")
    command = ["data", "pairs", "--source", str(corpus), "--output", str(tmp_path / "pairs"), "--test-share", "0.3"]
    assert coderep.main(command) == 0
    argv = ["--stage", "contrastive", "--start", str(tmp_path / "bert"), "--data", str(tmp_path / "pairs")]
    argv += ["--held-out", "9", "--steps", "2", "--seeds", "1", "--variants", "baseline", "--dims", "8"]
    argv += ["--recipes", str(setup_2[0] / "recipes"), "--max-length", "32", "--output", str(tmp_path / "out")]
    assert main(argv) == 0
    assert json.loads((tmp_path / "out" / "start" / "config.json").read_text())["hidden_dropout_prob"] == 0.1
    record = json.loads((tmp_path / "out" / "baseline-seed1.json").read_text())
    assert {(found["dataset"], found["n"]) for found in record["results"]} == {("held-out pairs", 9)}
    assert [row["text"] for row in load_split(tmp_path / "pairs", "test").select(range(9))] == list(
        read_pairs(tmp_path / "pairs", per_language=9).queries
    )


def test_arguments_of_stage_2_are_checked(setup_2, capsys):
    folder, argv = setup_2
    without = [word for word in argv if word not in ("--start", str(folder / "model"))]
    for given, message in (
        (without, "no checkpoint given. Name one of stage 1, or another encoder, with --start"),
        ([*argv, "--variants", "filtered"], "needs pairs that passed the filter. Name them with --filtered"),
        ([*argv[: argv.index("--evaluation")], "--output", "x"], "nothing to evaluate on. Name retrieval sets"),
        ([*argv, "--dropout", "1"], r"--dropout must lie in \[0, 1\), got 1.0"),
        ([*argv, "--docs", str(folder / "recipes" / "baseline.yaml")], "needs the lines <!-- stage 2, what"),
    ):
        assert main(given) == 2 and re.search(message, capsys.readouterr().err)
    assert main(["--data", "x", "--output", str(folder / "x"), "--evaluation", "x"]) == 2
    assert "no tokenizer given" in capsys.readouterr().err
