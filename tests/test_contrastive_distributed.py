"""Stage 2 in several processes: they see each other's pairs, so the numbers are those of one with the same batch."""

from __future__ import annotations

import sys

import pytest
import torch
from pair_runs import stage2 as stage2
from pair_runs import train_argv
from running import SGD, SHARD_ON_CPU, assert_close, fsdp_environment, losses, weights
from running import train as train
from safetensors.torch import load_file

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="needs fork and gloo")

STEPS = 4
COMMON = [*SGD, "--max_steps", str(STEPS), "--max_grad_norm", "0", "--learning_rate", "0.02"]
# Texts and codes of 24 tokens at most, ten of them in a mini-batch at least: mini-batches are many, and not as many
# in each process.
CACHED = ["--mini_batch_tokens", "48"]


def assert_same_numbers(mine, theirs):
    (losses_mine, record), (losses_theirs, other) = losses(mine), losses(theirs)
    torch.testing.assert_close(losses_mine, losses_theirs, rtol=0, atol=1e-5)
    assert_close(weights(mine), weights(theirs))
    for entry, expected in zip(record["log"], other["log"], strict=True):
        assert entry["grad_norm"] == pytest.approx(expected["grad_norm"], rel=1e-4)
        assert entry["own_code_nearest"] == pytest.approx(expected["own_code_nearest"])
        assert entry["pair_cosine"] == pytest.approx(expected["pair_cosine"], abs=1e-5)
        assert entry["tokens"] == expected["tokens"] > 0
    assert record["tokens"] == other["tokens"]


@pytest.mark.parametrize(
    "wrapper, cached",
    [
        ("ddp", True),
        pytest.param("ddp", False, marks=pytest.mark.slow),
        ("fsdp", True),
        pytest.param("fsdp", False, marks=pytest.mark.slow),
    ],
)
def test_two_processes_are_one(train, stage2, tmp_path, wrapper, cached):
    """Losses, norms of gradients, measures and weights; and that one alone with half of the pairs has others."""
    before, env = (SHARD_ON_CPU, fsdp_environment()) if wrapper == "fsdp" else ("", {})
    more = [*COMMON, *(CACHED if cached else [])]
    one, two, half = tmp_path / "one", tmp_path / "two", tmp_path / "half"
    assert train(train_argv(stage2, one, 12, *COMMON))[0] == [0]
    codes, logs = train(train_argv(stage2, two, 6, *more), 2, before, env)
    assert codes == [0, 0], logs
    assert all(("sharded" in log) == (wrapper == "fsdp") for log in logs)
    assert_same_numbers(two, one)
    assert train(train_argv(stage2, half, 6, *COMMON))[0] == [0]
    assert (losses(half)[0] - losses(one)[0]).abs().min() > 0.01


@pytest.mark.slow
@pytest.mark.parametrize("wrapper", ["ddp", "fsdp"])
def test_accumulated_batches_are_means(train, stage2, tmp_path, wrapper):
    """Two batches a step in two processes: gradients are exchanged in the last mini-batch of the last batch alone."""
    before, env = (SHARD_ON_CPU, fsdp_environment()) if wrapper == "fsdp" else ("", {})
    more = ["--gradient_accumulation_steps", "2", *COMMON]
    one, two = tmp_path / "one", tmp_path / "two"
    assert train(train_argv(stage2, one, 8, *more))[0] == [0]
    codes, logs = train(train_argv(stage2, two, 4, *more, *CACHED), 2, before, env)
    assert codes == [0, 0], logs
    assert_same_numbers(two, one)


def test_adapters_in_two_processes_are_those_of_one(train, stage2, tmp_path):
    """Weights of the merged model, the adapters themselves, and what the logs tell."""
    more = [*COMMON, "--lora_rank", "2", "--learning_rate", "0.1"]
    one, two = tmp_path / "one", tmp_path / "two"
    assert train(train_argv(stage2, one, 12, *more))[0] == [0]
    codes, logs = train(train_argv(stage2, two, 6, *more, *CACHED), 2)
    assert codes == [0, 0], logs
    assert_same_numbers(two, one)
    mine, theirs = (load_file(folder / "adapter" / "adapter_model.safetensors") for folder in (two, one))
    assert_close(mine, theirs)
    assert mine.keys() == theirs.keys() and max(mine[name].abs().max() for name in mine if "lora_B" in name) > 1e-3
    before = load_file(stage2 / "model" / "model.safetensors")
    moved = {name for name, weight in weights(two).items() if not torch.equal(weight, before[name])}
    assert moved and all(name.startswith("layers.") for name in moved)


@pytest.mark.slow
@pytest.mark.parametrize("wrapper", ["ddp", "fsdp"])
def test_evaluation_of_two_processes_is_that_of_one(train, stage2, tmp_path, wrapper):
    before, env = (SHARD_ON_CPU, fsdp_environment()) if wrapper == "fsdp" else ("", {})
    more = [*COMMON, "--eval_strategy", "steps", "--eval_steps", "2", "--eval_pairs", "7", "--save_steps", "2"]
    found = []
    for processes in (1, 2):
        folder = tmp_path / str(processes)
        place = (before, env) if processes == 2 else ("", {})
        codes, logs = train(train_argv(stage2, folder, 12 // processes, *more, *CACHED), processes, *place)
        assert codes == [0] * processes, logs
        found.append(evaluations(folder / f"checkpoint-{STEPS}"))
    assert len(found[0]) == 2 and found[1] == pytest.approx(found[0], abs=1e-4)


def evaluations(checkpoint):
    import json

    history = json.loads((checkpoint / "trainer_state.json").read_text())["log_history"]
    return [entry["eval_mrr"] for entry in history if "eval_mrr" in entry]
