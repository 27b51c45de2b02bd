"""Distillation: what the student comes to, which batches it sees, what a kill costs, and what is refused."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter

import numpy as np
import pytest
import torch
from pair_runs import stage2 as stage2

import coderep
from data_collators.builders.store import load_split
from modeling_coderep import CodeRepModel
from trainers.checkpoints import save_model
from trainers.distillation import DistillOptions, distill, sample_pairs, taught_rows
from trainers.encode import load_encoder
from trainers.evaluation.loaders import load_embedder

pytest.importorskip("sentence_transformers")
FEW = {"batch_size": 16, "max_text_length": 12, "max_code_length": 24, "pairs": 64}


@pytest.fixture(autouse=True)
def _cache(tmp_path, monkeypatch):
    monkeypatch.setenv("CODEREP_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def student(stage2, tmp_path):
    """A new model as the teacher's, with other weights."""
    teacher = load_encoder(stage2 / "model")
    torch.manual_seed(7)
    save_model(CodeRepModel(teacher.model.config), teacher.tokenizer, tmp_path / "student")
    return tmp_path / "student"


def nearness(one, other, texts):
    """Mean cosine of what two models make of the same texts."""
    first_ND, second_ND = (load_encoder(model).encode(texts, max_length=24) for model in (one, other))
    return float((first_ND * second_ND).sum(axis=1).mean())


def test_the_student_comes_to_see_texts_it_has_not_learnt_as_the_teacher_does(stage2, student, tmp_path, capsys):
    options = DistillOptions(**FEW, steps=60, learning_rate=1e-2)
    model = distill(stage2 / "model", student, stage2 / "pairs", tmp_path / "out", options)
    unseen = list(load_split(stage2 / "pairs", "test")["code"][:50])
    before, after = nearness(stage2 / "model", student, unseen), nearness(stage2 / "model", model, unseen)
    assert after > before + 0.3 and after > 0.6, (before, after)
    record = json.loads((tmp_path / "out" / "run.json").read_text())
    assert record["recipe"]["steps"] == 60 and record["recipe"]["teacher"] == str(stage2 / "model")
    losses = [entry["loss"] for entry in record["log"] if "loss" in entry]
    assert losses[-1] < losses[0]
    assert "distillation: step 60/60" in capsys.readouterr().err
    distill(stage2 / "model", student, stage2 / "pairs", tmp_path / "out", options)
    assert "distillation: done before" in capsys.readouterr().err


def test_labels_are_the_teachers_embeddings(stage2):
    teacher, rows = load_embedder(stage2 / "model"), sample_pairs(stage2 / "pairs", 5, seed=3)
    taught = taught_rows(teacher, list(rows["code"]), "document", 24)
    assert taught.column_names == ["text", "label"] and list(taught["text"]) == list(rows["code"])
    expected_ND = load_encoder(stage2 / "model").encode(list(rows["code"]), max_length=24)
    np.testing.assert_allclose(np.array(taught["label"]), expected_ND, atol=1e-5)


def test_a_student_of_another_width_and_kind_stays_what_it_is(stage2, tmp_path):
    from transformers import AutoTokenizer, BertConfig, BertModel

    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    tokenizer = AutoTokenizer.from_pretrained(stage2 / "model")
    BertModel(BertConfig(vocab_size=len(tokenizer), **sizes)).save_pretrained(tmp_path / "bert")
    tokenizer.save_pretrained(tmp_path / "bert")
    options = DistillOptions(**FEW, steps=2)
    model = distill(stage2 / "model", tmp_path / "bert", stage2 / "pairs", tmp_path / "out", options)
    assert load_encoder(model).encode(["x = 1"]).shape == (1, 16)
    assert json.loads((model / "config.json").read_text())["model_type"] == "bert"


@pytest.mark.parametrize("pairs", [1, 7, None])
def test_pairs_are_drawn_without_repetition(stage2, pairs):
    rows, everything = sample_pairs(stage2 / "pairs", pairs, seed=0), load_split(stage2 / "pairs", "train")
    assert len(rows) == (pairs or len(everything))
    drawn, known = (sorted(zip(some["text"], some["code"], strict=True)) for some in (rows, everything))
    assert drawn == known if pairs is None else not Counter(drawn) - Counter(known)


def test_a_killed_run_goes_on(stage2, student, tmp_path):
    argv = ["train", "distill", str(stage2 / "model"), str(student), "--data", str(stage2 / "pairs")]
    argv += ["--output", str(tmp_path / "out"), "--pairs", "64", "--batch-size", "16", "--max-text-length", "12"]
    argv += ["--max-code-length", "24", "--steps", "100", "--learning-rate", "0.001"]
    process = subprocess.Popen([sys.executable, "-m", "coderep", *argv], env=os.environ | {"OMP_NUM_THREADS": "1"})
    deadline = time.monotonic() + 120
    while not list((tmp_path / "out").glob("steps/checkpoint-*/trainer_state.json")) and process.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL and not (tmp_path / "out" / "run.json").exists()
    again = subprocess.run([sys.executable, "-m", "coderep", *argv], capture_output=True, text=True, check=True)
    assert "distillation: resumed at step" in again.stderr
    record = json.loads((tmp_path / "out" / "run.json").read_text())
    assert [entry["step"] for entry in record["log"] if "loss" in entry] == list(range(20, 101, 20))


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--steps", "0"], "steps must be at least 1, got 0"),
        (["--learning-rate", "-1"], "learning_rate must be positive, got -1.0"),
        (["--pairs", "1000000"], "pairs must lie in [1, "),
        (["--pairs", "0"], "got 0"),
    ],
)
def test_nonsense_is_refused(stage2, student, tmp_path, capsys, flags, message):
    argv = ["train", "distill", str(stage2 / "model"), str(student), "--data", str(stage2 / "pairs")]
    assert coderep.main([*argv, "--output", str(tmp_path / "out"), *flags]) == 2
    line = capsys.readouterr().err.splitlines()[-1]
    assert line.startswith("coderep: ") and message in line
    assert not (tmp_path / "out").exists()


def test_other_options_in_the_same_folder_are_refused(stage2, student, tmp_path):
    distill(stage2 / "model", student, stage2 / "pairs", tmp_path / "out", DistillOptions(**FEW, steps=1))
    with pytest.raises(FileExistsError, match="steps"):
        distill(stage2 / "model", student, stage2 / "pairs", tmp_path / "out", DistillOptions(**FEW, steps=2))
