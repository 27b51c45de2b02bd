"""Stage 1 in several processes: the same numbers as in one, checkpoints that move between them, one voice."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from running import SGD, SHARD_ON_CPU, assert_close, free_port, fsdp_environment, losses, weights
from running import train as train

from trainers.checkpoints import last_complete_checkpoint
from trainers.processes import first_speaks
from trainers.sharded import check_sharding, name_weights, number

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="needs fork and gloo")

STEPS = 8
MODEL = (
    "{hidden_size: 32, num_hidden_layers: 2, num_attention_heads: 2, intermediate_size: 32, "
    "max_position_embeddings: 64, embedding_dropout: 0, hidden_dropout: 0, attention_dropout: 0}"
)


def train_argv(stage1, output, rows, *more):
    """`rows` of each batch: with one process 8, or 4 accumulated twice, or 4 in each of two processes."""
    data = ["--data", str(stage1 / "rows"), "--tokenizer", str(stage1 / "tokenizer"), "--output_dir", str(output)]
    sizes = ["--max_length", "64", "--model_config", MODEL, "--max_steps", str(STEPS), "--save_steps", "4"]
    rates = ["--per_device_train_batch_size", str(rows), "--learning_rate", "1e-3", "--logging_steps", "1"]
    return ["train", "mlm", *data, *sizes, *rates, *more]


@pytest.mark.parametrize(
    "more", [[], pytest.param(["--streaming", "true"], marks=pytest.mark.slow)], ids=["packed", "streaming"]
)
def test_two_processes_are_one(train, stage1, tmp_path, more):
    """Losses, the gradients' norms and the weights after some steps, with and without accumulation."""
    one, two, three = tmp_path / "one", tmp_path / "two", tmp_path / "three"
    assert train(train_argv(stage1, one, 8, *SGD, *more))[0] == [0]
    codes, logs = train(train_argv(stage1, two, 4, *SGD, *more), processes=2)
    assert codes == [0, 0], logs
    argv = train_argv(stage1, three, 2, "--gradient_accumulation_steps", "2", *SGD, *more)
    assert train(argv, processes=2)[0] == [0, 0]
    expected, record = losses(one)
    for folder in (two, three):
        mine, mine_record = losses(folder)
        torch.testing.assert_close(mine, expected, rtol=0, atol=1e-5)
        norms = [torch.tensor([entry["grad_norm"] for entry in r["log"]]) for r in (mine_record, record)]
        torch.testing.assert_close(*norms, rtol=1e-5, atol=1e-5)
        assert_close(weights(folder), weights(one))
        assert mine_record["tokens"] == record["tokens"] and mine_record["processes"] == 2
        for entry, other in zip(mine_record["log"], record["log"], strict=True):
            assert entry["predicted_random"] == other["predicted_random"]
    # One voice: results and progress come from the first process alone.
    assert str(two / "model") in logs[0] and "stage 1: step" in logs[0] and logs[1] == ""


@pytest.mark.slow
def test_evaluation_of_shards_ends(train, stage1, tmp_path):
    """With FSDP every process must run the model as often as the others, also where rows do not divide evenly."""
    more = ["--eval_strategy", "steps", "--eval_steps", "8", "--per_device_eval_batch_size", "1"]
    more += ["--eval_documents", "9", "--eval_passes", "2"]  # three rows or so
    found = []
    for processes, before, env in ((1, "", {}), (2, SHARD_ON_CPU, fsdp_environment())):
        output = tmp_path / str(processes)
        codes, logs = train(train_argv(stage1, output, 8 // processes, *SGD, *more), processes, before, env)
        assert codes == [0] * processes, logs
        state = json.loads((output / f"checkpoint-{STEPS}" / "trainer_state.json").read_text())
        found.append([entry["eval_loss"] for entry in state["log_history"] if "eval_loss" in entry])
    assert len(found[0]) == 1
    assert found[1] == pytest.approx(found[0], abs=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("wrapper", ["ddp", "fsdp"])
def test_checkpoints_move_between_one_process_and_two(train, stage1, tmp_path, wrapper):
    """Begun by one and ended by two, and the other way round: the same rows, so the same weights; AdamW's state too."""
    before, env = (SHARD_ON_CPU, fsdp_environment()) if wrapper == "fsdp" else ("", {})
    assert train(train_argv(stage1, tmp_path / "whole", 8))[0] == [0]
    ways = {1: (train_argv(stage1, tmp_path / "a", 8), "", {}), 2: (train_argv(stage1, tmp_path / "a", 4), before, env)}
    for first, second in ((1, 2), (2, 1)):
        output = str(tmp_path / f"{first}-{second}")
        for processes in (first, second):
            argv, code, environment = ways[processes]
            argv = [output if value == str(tmp_path / "a") else value for value in argv]
            stop = (processes - 1, signal.SIGTERM, "step 3/") if processes == first else None
            codes, logs = train(argv, processes, code, environment, stop)
            assert codes == [143 if stop else 0] * processes, logs
            if wrapper == "fsdp" and processes == 2:
                assert all("sharded" in log for log in logs)
        assert re.search(rf"the checkpoint is of {first} processes; the same rows follow", logs[0])
        assert_close(weights(Path(output)), weights(tmp_path / "whole"), tolerance=2e-5)


def torchrun(argv, *options):
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port", free_port()]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run([*command, *options, "-m", "coderep", *argv], capture_output=True, text=True, env=environment)


@pytest.mark.slow
def test_torchrun_starts_the_front_door(stage1, tmp_path):
    """The only test that starts processes as users do; the first of them alone prints."""
    done = torchrun(train_argv(stage1, tmp_path / "run", 4))
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{tmp_path / 'run' / 'model'}\n"
    assert len(re.findall("stage 1: step 8/8", done.stderr)) == 1
    assert json.loads((tmp_path / "run" / "run.json").read_text())["processes"] == 2


def test_an_error_is_told_once(train, stage1, tmp_path, monkeypatch):
    """What all processes meet the first one tells at once, and ends the others; one that fails alone tells it late."""
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "thesis.txt").write_text("mine")
    at_once = "import trainers.processes; trainers.processes.SECONDS_FOR_THE_FIRST = 0"
    codes, logs = train(train_argv(stage1, tmp_path / "taken", 4), 2, at_once)
    assert codes == [2, 2]  # none waits for the other
    assert [log.count("holds something else") for log in logs] == [1, 1] and "Traceback" not in "".join(logs)

    waited = []
    monkeypatch.setattr("trainers.processes.time.sleep", waited.append)
    for rank, seconds in (("0", []), ("1", [5])):
        monkeypatch.setenv("RANK", rank)
        with pytest.raises(ValueError, match="told"), first_speaks():
            raise ValueError("told")
        assert waited == seconds


@pytest.mark.slow
def test_a_process_that_dies_takes_no_checkpoint_along(train, stage1, tmp_path):
    """The others fail at their next word with it; the same command goes on, to the weights of a whole run."""
    assert train(train_argv(stage1, tmp_path / "whole", 4), processes=2)[0] == [0, 0]
    argv = train_argv(stage1, tmp_path / "run", 4)
    codes, logs = train(argv, processes=2, signal_after=(1, signal.SIGKILL, "step 5/"))
    assert codes[1] == -signal.SIGKILL and codes[0] == 1 and "Traceback" not in logs[0], logs
    assert last_complete_checkpoint(tmp_path / "run").name == "checkpoint-4"
    codes, logs = train(argv, processes=2)
    assert codes == [0, 0] and "resumed at step 4" in logs[0]
    mine, theirs = weights(tmp_path / "run"), weights(tmp_path / "whole")
    assert all(torch.equal(mine[name], theirs[name]) for name in theirs)


def test_checkpoints_of_shards_are_refused():
    from torch.distributed.fsdp import StateDictType

    def trainer(**plugin):
        state = SimpleNamespace(fsdp_plugin=SimpleNamespace(**plugin))
        return SimpleNamespace(is_fsdp_enabled=bool(plugin), accelerator=SimpleNamespace(state=state))

    check_sharding(trainer())
    check_sharding(trainer(state_dict_type=StateDictType.FULL_STATE_DICT))
    with pytest.raises(ValueError, match="fsdp_state_dict_type must be FULL_STATE_DICT, .* got SHARDED_STATE_DICT"):
        check_sharding(trainer(state_dict_type=StateDictType.SHARDED_STATE_DICT))


def test_names_and_numbers_of_weights():
    """Two groups of three weights: numbers run through the groups, whatever the order of the states."""
    named = {
        "state": {"c": {"step": 3}, "a": {"step": 1}, "b": {"step": 2}},
        "param_groups": [{"lr": 0.1, "params": ["b", "c"]}, {"lr": 0.2, "params": ["a"]}],
    }
    numbered = {
        "state": {1: {"step": 3}, 2: {"step": 1}, 0: {"step": 2}},
        "param_groups": [{"lr": 0.1, "params": [0, 1]}, {"lr": 0.2, "params": [2]}],
    }
    assert number(named) == numbered
    assert name_weights(numbered, [["b", "c"], ["a"]]) == named
    with pytest.raises(ValueError, match=r"has groups of \[2, 1\] weights, this model of \[3, 0\]. Start a new run"):
        name_weights(numbered, [["a", "b", "c"], []])


@pytest.mark.slow
def test_bf16_stays_within_a_percent_of_float32(train, stage1, tmp_path):
    """Autocast with float32 weights: the loss, smoothed over ten steps, step for step."""
    curves, smooth = [], []
    for precision in ("false", "true"):
        argv = train_argv(stage1, tmp_path / precision, 8, "--bf16", precision, "--max_steps", "30")
        codes, logs = train(argv)
        assert codes == [0], logs
        curves.append(losses(tmp_path / precision)[0])
        smooth.append(curves[-1].unfold(0, 10, 1).mean(dim=1))
    assert {weight.dtype for weight in weights(tmp_path / "true").values()} == {torch.float32}
    assert not torch.equal(*curves), "autocast changed nothing: it was off"
    torch.testing.assert_close(smooth[1], smooth[0], rtol=0.01, atol=0)
    # One step's loss is several times further from the next one's than one curve is from the other.
    assert (curves[0].diff() / curves[0][1:]).abs().mean() > 0.01
