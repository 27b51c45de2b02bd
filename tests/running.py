"""Runs of `coderep train` in processes of their own, stopped in every way or several at once, and what they leave."""

from __future__ import annotations

import json
import os
import re
import socket
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

RECIPES = Path(__file__).parent.parent / "trainers" / "recipes" / "accelerate"
# Processes die in the middle of writing a file of a checkpoint: optimizer, schedule or random states.
TORN = """
import os, signal, torch
saved, whole = [], torch.save
def half(value, path, *args, **kwargs):
    saved.append(path)
    if len(saved) < {call}:
        return whole(value, path, *args, **kwargs)
    with open(path, "wb") as file:
        file.write(b"PK half of a file")
    os.kill(os.getpid(), signal.SIGKILL)
torch.save = half
"""
FULL = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, 60_000))"

# accelerate knows FSDP on accelerators alone and falls back to plain copies on CPUs; torch itself shards there too.
SHARD_ON_CPU = """
import torch.distributed.fsdp as fsdp
from accelerate.state import AcceleratorState, PartialState
from accelerate.utils import DistributedType
plain, whole_shard = AcceleratorState.__init__, fsdp.fully_shard
def shard(self, *args, fsdp_plugin=None, **kwargs):
    plain(self, *args, fsdp_plugin=fsdp_plugin, **kwargs)
    if fsdp_plugin is not None:
        self.distributed_type = PartialState._shared_state["distributed_type"] = DistributedType.FSDP
        if self._mixed_precision != "no":
            fsdp_plugin.set_mixed_precision(self._mixed_precision)
        self.fsdp_plugin = fsdp_plugin
def telling(*args, **kwargs):
    print("sharded", flush=True)
    return whole_shard(*args, **kwargs)
AcceleratorState.__init__, fsdp.fully_shard = shard, telling
"""


def finish(process, seconds=120):
    process.join(seconds)
    assert process.exitcode is not None, "still running"
    return process.exitcode


class Run:
    """A run that is started again and again, with one log file for each start."""

    def __init__(self, start, argv, folder):
        self.start, self.argv, self.folder, self.starts = start, argv, folder, 0

    @property
    def log(self):
        return (self.folder / f"log{self.starts}").read_text()

    def begin(self, before=""):
        self.starts += 1
        (self.folder / f"log{self.starts}").touch()
        return self.start(self.argv, self.folder / f"log{self.starts}", before)

    def to_step(self, step, before=""):
        """The process, once it has logged a step (or one after it)."""
        process = self.begin(before)
        deadline = time.monotonic() + 120
        while not any(int(found) >= step for found in re.findall(r": step (\d+)/", self.log)):
            assert process.is_alive() and time.monotonic() < deadline, self.log
            time.sleep(0.002)
        return process

    def killed_at(self, step, number):
        process = self.to_step(step)
        os.kill(process.pid, number)
        return finish(process)


def weights_and_tokens(folder):
    record = json.loads((folder / "run.json").read_text())
    return load_file(folder / "model" / "model.safetensors"), record["tokens"]


def assert_same_run(mine, theirs):
    mine, theirs = weights_and_tokens(mine), weights_and_tokens(theirs)
    assert mine[0].keys() == theirs[0].keys() and mine[1] == theirs[1] > 0
    assert [name for name in theirs[0] if not torch.equal(mine[0][name], theirs[0][name])] == []


def free_port():
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        return str(probe.getsockname()[1])


@pytest.fixture
def train(start, tmp_path):
    """Run a command in some processes that meet, as torchrun starts them; gives exit codes and the lines of each."""

    def train(argv, processes=1, before="", env=None, signal_after=None):
        meeting = {
            "MASTER_ADDR": "localhost",
            "MASTER_PORT": free_port(),
            "WORLD_SIZE": str(processes),
            "OMP_NUM_THREADS": "1",
        }
        logs = [tmp_path / f"log{time.monotonic_ns()}-{rank}" for rank in range(processes)]
        running = []
        for rank, log in enumerate(logs):
            log.touch()
            place = {**meeting, "RANK": str(rank), "LOCAL_RANK": str(rank)} if processes > 1 else {}
            running.append(start(argv, log, before, {**place, **(env or {})}))
        if signal_after:
            rank, number, line = signal_after
            while line not in logs[0].read_text():
                assert all(process.is_alive() for process in running), [log.read_text() for log in logs]
                time.sleep(0.01)
            os.kill(running[rank].pid, number)
        for process in running:
            process.join(150)
        return [process.exitcode for process in running], [log.read_text() for log in logs]

    return train


def losses(folder):
    record = json.loads((folder / "run.json").read_text())
    return torch.tensor([entry["loss"] for entry in record["log"]]), record


def weights(folder):
    return load_file(folder / "model" / "model.safetensors")


def assert_close(mine, theirs, tolerance=1e-5):
    for name, weight in theirs.items():
        torch.testing.assert_close(mine[name], weight, rtol=0, atol=tolerance, msg=lambda m, name=name: f"{name}: {m}")


def fsdp_environment():
    """What `accelerate launch --config_file fsdp2.yaml` sets."""
    from accelerate.commands.launch import _validate_launch_command, launch_command_parser
    from accelerate.utils.launch import prepare_multi_gpu_env

    command = ["--config_file", str(RECIPES / "fsdp2.yaml"), "--num_processes", "2", "-m", "coderep"]
    args, _, _ = _validate_launch_command(launch_command_parser().parse_args(command))
    return {name: value for name, value in prepare_multi_gpu_env(args).items() if "FSDP" in name}


# SGD, since AdamW divides by gradients' sizes, which makes much of rounding where they are near 0.
SGD = ["--optim", "sgd", "--learning_rate", "0.1", "--lr_scheduler_type", "constant"]
