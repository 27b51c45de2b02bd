"""The demo at a reduced size: complete, reused, resumed after a real kill; and the training stages it consists of."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch
import yaml
from transformers import AutoModel

import coderep
from hub_cards.demo import BM25, STAGE1, STAGE2, UNTRAINED, run_demo
from trainers.checkpoints import last_complete_checkpoint

PARTS = (
    "recipe.json",
    "demo.log",
    "run.json",
    "results.json",
    "retrieval.png",
    "checkpoint/README.md",
    "checkpoint/model.safetensors",
    "checkpoint/modules.json",
    "tokenizer/tokenizer.json",
    "data/stage1/stats.json",
    "data/pairs/stats.json",
    "mlm/run.json",
    "contrastive/run.json",
)


def weights(folder):
    from safetensors.torch import load_file

    return load_file(folder / "model.safetensors")


def test_demo_leaves_everything_it_promises(demo):
    assert [name for name in PARTS if not (demo / name).is_file()] == []
    assert not [path for path in demo.rglob("*") if ".partial" in path.name]
    assert (demo / "retrieval.png").read_bytes().startswith(b"\x89PNG")
    log = (demo / "demo.log").read_text()
    for line in ("[1/11] train the tokenizer", "equal, bit for bit", "$ coderep search", ".py:"):
        assert line in log


def test_demo_numbers_are_those_of_its_card(demo):
    results = json.loads((demo / "results.json").read_text())["results"]
    mrr = {row["model"]: row["value"] for row in results if row["metric"] == "mrr"}
    assert list(mrr) == [BM25, UNTRAINED, STAGE1, STAGE2]
    card = (demo / "checkpoint" / "README.md").read_text()
    evaluation = card.split("## Evaluation")[1].split("<details>")[0]
    rows = (re.sub("[*†~]", "", line).split("|") for line in evaluation.splitlines() if line.startswith("|"))
    shown = {row[1].strip(): row[2].strip() for row in rows}
    for name, value in mrr.items():
        assert shown["coderep-demo" if name == STAGE2 else name] == f"{100 * value:.1f}"
    assert mrr[STAGE2] > mrr[STAGE1]


def test_records_say_how_the_checkpoint_came_about(demo):
    stages = json.loads((demo / "run.json").read_text())["stages"]
    assert [stage["name"] for stage in stages] == ["stage 1", "stage 2"]
    assert stages[0]["recipe"]["max_steps"] == 20 and stages[0]["recipe"]["learning_rate"] == 1e-3
    assert stages[0]["tokens"] > 20 * 4 * 64 * 0.8 and stages[1]["tokens"] > 0
    assert stages[1]["log"][-1]["loss"] < stages[1]["log"][0]["loss"]
    text = (demo / "run.json").read_text() + (demo / "results.json").read_text()
    assert str(demo.parent) not in text and os.environ.get("HOME", "/root") not in text


def test_demo_reuses_what_is_finished(demo, corpus, recipe, monkeypatch):
    """But for the check that the checkpoint loads elsewhere, which took place for real when the demo was made."""
    asked = []
    monkeypatch.setattr("hub_cards.verify.encode_elsewhere", lambda *args: asked.append(args) or embed(*args))
    before = {name: (demo / name).stat().st_mtime_ns for name in PARTS if name != "demo.log"}
    results = run_demo(demo, recipe=recipe, source=corpus)
    assert results == json.loads((demo / "results.json").read_text())
    assert before == {name: (demo / name).stat().st_mtime_ns for name in before}
    assert [path for path, _ in asked] == [demo / "checkpoint"]


def embed(checkpoint, texts):
    return AutoModel.from_pretrained(checkpoint).encode(texts)


def test_demo_does_not_touch_folders_that_are_not_its_own(demo, corpus, recipe, tmp_path):
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(FileExistsError, match="holds something else"):
        run_demo(tmp_path, recipe=recipe, source=corpus)
    with pytest.raises(FileExistsError, match="holds work with another source. Name another folder"):
        run_demo(demo, recipe=recipe, source=corpus / "json")
    (tmp_path / "bad.yaml").write_text("dta: {}")
    with pytest.raises(ValueError, match="unknown key 'dta' in the demo's recipe. Did you mean 'data'"):
        run_demo(tmp_path / "out", recipe=tmp_path / "bad.yaml", source=corpus)


def begin(output, corpus, recipe):
    argv = ["--output", str(output), "--source", str(corpus), "--recipe", str(recipe)]
    with open(output.parent / "stderr.txt", "w") as log:
        return subprocess.Popen([sys.executable, "-m", "coderep", "demo", *argv], stderr=log)


def test_a_finished_demo_runs_again_in_a_process_of_its_own(demo, corpus, recipe):
    """Where nothing of the earlier steps has been imported."""
    process = begin(demo, corpus, recipe)
    assert process.wait(timeout=120) == 0, (demo.parent / "stderr.txt").read_text()


@pytest.mark.skipif(sys.platform == "win32", reason="needs SIGKILL")
@pytest.mark.timeout(600)
@pytest.mark.slow
def test_demo_killed_in_training_goes_on_and_ends_with_the_same_weights(demo, corpus, recipe, tmp_path):
    """Killed for real between checkpoints of each stage; the final weights equal those of the run that was let be."""
    output, stderr = tmp_path / "demo", tmp_path / "stderr.txt"
    for folder, signal_number in (("mlm", signal.SIGKILL), ("contrastive", signal.SIGTERM)):
        process = begin(output, corpus, recipe)
        deadline = time.monotonic() + 240
        while last_complete_checkpoint_or_none(output / folder) is None:
            assert process.poll() is None and time.monotonic() < deadline, stderr.read_text()
            time.sleep(0.02)
        process.send_signal(signal_number)
        process.wait()
        assert not (output / "checkpoint").exists()
    # A checkpoint that was being written when the power went: newest, but not complete.
    torn = output / "contrastive" / "checkpoint-40"
    (torn / "complete").unlink(missing_ok=True)
    torn.mkdir(exist_ok=True)
    (torn / "model.safetensors").write_bytes(b"half")
    process = begin(output, corpus, recipe)
    assert process.wait() == 0, stderr.read_text()
    log = stderr.read_text()
    assert "done before" in log and "stage 2: resumed at step" in log
    for name in ("mlm/model", "contrastive/model", "checkpoint"):
        mine, theirs = weights(output / name), weights(demo / name)
        assert all(torch.equal(mine[key], theirs[key]) for key in theirs), name


def last_complete_checkpoint_or_none(folder):
    """Like `last_complete_checkpoint`, but removes nothing while another process writes."""
    marked = list(folder.glob("checkpoint-*/complete"))
    return marked[0] if marked else None


def test_torn_checkpoints_are_removed(tmp_path):
    for step, complete in ((10, True), (20, True), (30, False)):
        (tmp_path / f"checkpoint-{step}").mkdir()
        if complete:
            (tmp_path / f"checkpoint-{step}" / "complete").touch()
    assert last_complete_checkpoint(tmp_path).name == "checkpoint-20"
    assert not (tmp_path / "checkpoint-30").exists()
    assert last_complete_checkpoint(tmp_path / "nowhere") is None


# the commands on what the demo made


def test_encode_command(demo, tmp_path, capsys):
    lines = tmp_path / "texts.jsonl"
    lines.write_text('{"text": "a"}\n{"code": "def f(): pass"}\n')
    out = tmp_path / "out.npy"
    assert coderep.main(["encode", str(demo / "checkpoint"), str(lines), "--output", str(out)]) == 0
    vectors = np.load(out)
    assert vectors.shape == (2, 32) and np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    lines.write_text('{"text": "a"}\n{"txt": 1}\n')
    assert coderep.main(["encode", str(demo / "checkpoint"), str(lines), "--output", str(out)]) == 2
    assert "line 2 has no string field 'text' or 'code'" in capsys.readouterr().err


def test_eval_command_agrees_with_the_demo(demo, tmp_path, capsys):
    output = tmp_path / "results.json"
    argv = ["eval", "retrieval", "bm25", str(demo / "checkpoint"), "--data", str(demo / "data" / "pairs")]
    assert coderep.main([*argv, "--max-length", "32", "--output", str(output)]) == 0
    mine = {(r["model"], r["metric"]): r["value"] for r in json.loads(output.read_text())["results"]}
    theirs = {(r["model"], r["metric"]): r["value"] for r in json.loads((demo / "results.json").read_text())["results"]}
    assert mine["bm25", "mrr"] == pytest.approx(theirs[BM25, "mrr"])
    assert mine[str(demo / "checkpoint"), "mrr"] == pytest.approx(theirs[STAGE2, "mrr"])


def test_data_and_train_commands_make_a_model(corpus, tmp_path, capsys):
    tok, rows, pairs = (str(tmp_path / name) for name in ("tok", "rows", "pairs"))
    source = ["--source", str(corpus)]
    config = "{hidden_size: 16, num_hidden_layers: 1, num_attention_heads: 2, intermediate_size: 16}"
    for argv in (
        ["data", "tokenizer", *source, "--output", tok, "--vocab-size", "400", "--max-length", "64"],
        ["data", "stage1", *source, "--tokenizer", tok, "--output", rows, "--max-length", "64"],
        ["data", "pairs", *source, "--output", pairs],
        ["train", "mlm", "--data", rows, "--tokenizer", tok, "--output_dir", str(tmp_path / "mlm"), "--max_steps", "2",
         "--max_length", "64", "--model_config", config],
        ["train", "contrastive", "--data", pairs, "--model", str(tmp_path / "mlm" / "model"), "--max_steps", "2",
         "--max_code_length", "32", "--output_dir", str(tmp_path / "con"), "--per_device_train_batch_size", "4"],
        ["card", "render", str(tmp_path / "con"), "--output", str(tmp_path / "card.md")],
    ):  # fmt: skip
        assert coderep.main(argv) == 0, capsys.readouterr().err
    assert "# con" in (tmp_path / "card.md").read_text()
    assert coderep.main(["train", "mlm", "--data", rows, "--tokenizer", tok, "--max_length", "4096"]) == 2
    assert "max_length=4096 exceeds the model's max_position_embeddings=2048" in capsys.readouterr().err
    assert (
        coderep.main(["train", "contrastive", "--data", pairs, "--model", str(tmp_path / "mlm" / "model"),
                      "--per_device_train_batch_size", "5000"]) == 2
    )  # fmt: skip
    assert "pairs are fewer than one batch of 5000. Lower per_device_train_batch_size" in capsys.readouterr().err


def test_a_loss_that_is_no_number_stops_training(demo, tmp_path):
    argv = ["train", "mlm", "--data", str(demo / "data" / "stage1"), "--model", str(demo / "mlm" / "model")]
    argv += ["--max_length", "64", "--max_steps", "5", "--learning_rate", "1e30", "--output_dir", str(tmp_path / "run")]
    assert coderep.main(argv) == 1
    assert not (tmp_path / "run" / "model").exists()


def train_argv(demo, output, *more):
    data, model = str(demo / "data" / "pairs"), str(demo / "mlm" / "model")
    argv = ["train", "contrastive", "--data", data, "--model", model, "--output_dir", str(output), "--max_steps", "4"]
    return [*argv, "--per_device_train_batch_size", "4", "--max_code_length", "32", "--save_steps", "2", *more]


def test_a_run_folder_belongs_to_one_run(demo, tmp_path, capsys):
    theirs = tmp_path / "theirs" / "checkpoint-500"
    theirs.mkdir(parents=True)
    (theirs / "model.safetensors").write_bytes(b"precious")
    assert coderep.main(train_argv(demo, tmp_path / "theirs")) == 2
    assert "holds something else (no stage.json)" in capsys.readouterr().err
    assert (theirs / "model.safetensors").read_bytes() == b"precious"

    assert coderep.main(train_argv(demo, tmp_path / "run")) == 0
    assert coderep.main(train_argv(demo, tmp_path / "run")) == 0
    assert "stage 2: done before" in capsys.readouterr().err
    assert coderep.main(train_argv(demo, tmp_path / "run", "--temperature", "0.1")) == 2
    assert "holds work with another recipe. Name another folder" in capsys.readouterr().err


def test_a_run_stopped_before_its_final_model_adds_no_step(demo, tmp_path):
    assert coderep.main(train_argv(demo, tmp_path / "run", "--lr_scheduler_type", "constant")) == 0
    expected, record = weights(tmp_path / "run" / "model"), json.loads((tmp_path / "run" / "run.json").read_text())
    (tmp_path / "run" / "run.json").unlink()
    shutil.rmtree(tmp_path / "run" / "model")
    assert coderep.main(train_argv(demo, tmp_path / "run", "--lr_scheduler_type", "constant")) == 0
    mine = weights(tmp_path / "run" / "model")
    assert all(torch.equal(mine[key], expected[key]) for key in expected)
    again = json.loads((tmp_path / "run" / "run.json").read_text())
    assert again["tokens"] == record["tokens"] > 0 and again["wall_seconds"] > 0


@pytest.mark.skipif(sys.platform == "win32", reason="needs file size limits")
def test_a_full_disk_in_training_is_one_line_and_the_same_command_goes_on(demo, start, tmp_path):
    """A real limit on file size: the checkpoint's write fails in the kernel, inside a library that is not Python."""
    limit = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, 60_000))"
    argv = train_argv(demo, tmp_path / "run")
    process = start(argv, tmp_path / "log", before=limit)
    process.join(120)
    said = (tmp_path / "log").read_text()
    assert process.exitcode == 1 and "Traceback" not in said
    assert said.splitlines()[-1].startswith("coderep: no space left. Free space or name another output")
    assert not (tmp_path / "run" / "model").exists()
    assert coderep.main(argv) == 0
    assert (tmp_path / "run" / "model" / "model.safetensors").is_file()


def test_broken_checkpoints_and_configs_get_one_line(demo, tmp_path, capsys):
    broken = tmp_path / "broken"
    shutil.copytree(demo / "checkpoint", broken)
    (broken / "model.safetensors").write_bytes(b"\x08\0\0\0\0\0\0\0{}")
    assert coderep.main(["search", str(broken), str(demo), "query"]) != 0
    assert coderep.main(["encode", str(broken), str(tmp_path / "x.jsonl"), "--output", str(tmp_path / "no" / "x")]) == 2
    rows, tokenizer = str(demo / "data" / "stage1"), str(demo / "tokenizer")
    argv = ["train", "mlm", "--data", rows, "--tokenizer", tokenizer, "--output_dir", str(tmp_path / "out")]
    for config, message in (
        ("{hiden_size: 8}", "unknown key 'hiden_size' in model_config. Did you mean 'hidden_size'?"),
        ("{hidden_size: 7, num_attention_heads: 2}", "hidden_size=7 is not a multiple of num_attention_heads=2"),
        ("[", "--model_config '[' is not valid YAML"),
    ):
        capsys.readouterr()
        assert coderep.main([*argv, "--max_length", "64", "--model_config", config]) == 2
        error = capsys.readouterr().err
        assert message in error and "Traceback" not in error
    assert not (tmp_path / "out" / "model").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"tokenizer": {"vocab_sise": 1024}}, "unknown key 'vocab_sise' in section 'tokenizer'"),
        ({"data": None}, "section 'data' of the demo's recipe must hold keys and values, got None"),
        ({"search": 5}, "section 'search' of the demo's recipe must hold keys and values, got 5"),
        ({"data": {"test_share": "abc"}}, "test_share in section 'data' of the demo's recipe must be float, got 'abc'"),
        ({"mlm": {"max_length": 64, "mlm_rte": 1}}, "unknown key 'mlm_rte' in section 'mlm'"),
    ],
)
def test_a_bad_demo_recipe_is_refused_before_anything_is_written(change, message, corpus, recipe, tmp_path):
    bad = tmp_path / "bad.yaml"
    bad.write_text(yaml.safe_dump({**yaml.safe_load(recipe.read_text()), **change}))
    with pytest.raises(ValueError, match=message):
        run_demo(tmp_path / "out", recipe=bad, source=corpus)
    assert not (tmp_path / "out").exists()
