"""Stage 2 stopped at any step, by real signals and real write errors: the same command ends with the same weights."""

from __future__ import annotations

import json
import random
import re
import shutil
import signal
import sys
from pathlib import Path

import pytest
import torch
from pair_runs import stage2 as stage2
from pair_runs import train_argv
from running import FULL, TORN, Run, assert_same_run, finish
from safetensors.torch import load_file

from trainers.checkpoints import last_complete_checkpoint
from trainers.interruption import EXIT_CODE

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="needs signals")

STEPS = 18
# Dropout, so that the state of random numbers counts; more than two epochs, so that their order does; half of the codes
# in part, so that the draws do.
COMMON = ["--max_steps", str(STEPS), "--save_steps", "5", "--save_total_limit", "1", "--learning_rate", "1e-3"]
VARIANTS = {
    "plain": ["--dataloader_num_workers", "1"],
    "cached": ["--mini_batch_tokens", "120", "--gradient_accumulation_steps", "2", "--text_geometry_weight", "0.5"],
}


def argv_of(stage2, output, variant, *more):
    return train_argv(stage2, output, 32, *COMMON, *VARIANTS[variant], *more, model="dropout")


@pytest.fixture(scope="module")
def reference(start, stage2, tmp_path_factory):
    """The uninterrupted run of each variant, made when first asked for."""
    made = {}

    def reference(variant):
        if variant not in made:
            made[variant] = tmp_path_factory.mktemp(variant) / "run"
            process = start(argv_of(stage2, made[variant], variant), made[variant].parent / "log")
            assert finish(process) == 0, (made[variant].parent / "log").read_text()
            state = json.loads((made[variant] / f"checkpoint-{STEPS}" / "trainer_state.json").read_text())
            assert state["epoch"] > 2
        return made[variant]

    return reference


@pytest.mark.parametrize("variant", [pytest.param("plain", marks=pytest.mark.slow), "cached"])
def test_a_run_stopped_in_every_way_ends_with_the_same_weights(start, stage2, reference, variant, tmp_path):
    expected, chance = reference(variant), random.Random(variant)
    run = Run(start, argv_of(stage2, tmp_path / "run", variant), tmp_path)

    # Killed after a checkpoint, at any step.
    assert run.killed_at(chance.randrange(5, 8), signal.SIGKILL) == -signal.SIGKILL
    assert not (tmp_path / "run" / "model").exists()

    # Asked to stop: the step is finished and saved, and one line says so.
    assert run.killed_at(chance.randrange(8, 12), signal.SIGTERM) == EXIT_CODE
    saved = int(re.search(r"stopped by SIGTERM; step (\d+) is saved\. The same command goes on", run.log)[1])
    assert last_complete_checkpoint(tmp_path / "run").name == f"checkpoint-{saved}"

    # Killed while a checkpoint is written: the one before is used.
    assert finish(run.begin(TORN.format(call=chance.randrange(1, 4)))) == -signal.SIGKILL
    assert f"stage 2: resumed at step {saved}\n" in run.log

    assert finish(run.begin()) == 0
    assert f"stage 2: resumed at step {saved}\n" in run.log
    assert_same_run(tmp_path / "run", expected)
    assert finish(run.begin()) == 0 and "stage 2: done before" in run.log


KILLED_BEFORE_THE_MODEL = """
import os, signal, trainers.stage
trainers.stage.save_finished = lambda *args: os.kill(os.getpid(), signal.SIGKILL)
"""


def test_killed_before_the_final_model_the_best_one_is_saved(start, stage2, tmp_path):
    """All steps are done and the last checkpoint is complete; the rate is so high that later steps do harm."""
    more = ["--max_steps", "6", "--eval_strategy", "steps", "--eval_steps", "2", "--save_steps", "2"]
    more += ["--eval_pairs", "20", "--load_best_model_at_end", "--learning_rate", "0.02", "--mini_batch_tokens", "200"]
    run = Run(start, train_argv(stage2, tmp_path / "run", 16, *more, "--save_total_limit", "1"), tmp_path)
    assert finish(run.begin(KILLED_BEFORE_THE_MODEL)) == -signal.SIGKILL
    last = last_complete_checkpoint(tmp_path / "run")
    best = Path(json.loads((last / "trainer_state.json").read_text())["best_model_checkpoint"]).name
    assert last.name == "checkpoint-6" != best and not (tmp_path / "run" / "model").exists()
    assert finish(run.begin()) == 0, run.log
    found, wanted, other = (
        load_file(folder / "model.safetensors")
        for folder in (tmp_path / "run" / "model", tmp_path / "run" / best, last)
    )
    assert all(torch.equal(found[name], wanted[name]) for name in wanted)
    assert not all(torch.equal(other[name], wanted[name]) for name in wanted)


@pytest.mark.slow
def test_a_full_disk_leaves_nothing_torn(start, stage2, reference, tmp_path):
    run = Run(start, argv_of(stage2, tmp_path / "run", "cached"), tmp_path)
    assert finish(run.begin(FULL)) == 1
    assert run.log.splitlines()[-1].startswith("coderep: no space left.") and "Traceback" not in run.log
    assert last_complete_checkpoint(tmp_path / "run") is None
    assert finish(run.begin()) == 0
    assert_same_run(tmp_path / "run", reference("cached"))


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("variant", VARIANTS)
def test_many_kills_at_random_moments(start, stage2, reference, variant, tmp_path):
    """Not at steps but at moments, which fall into writing, reading and starting as well."""
    expected, chance = reference(variant), random.Random(1)
    for attempt in range(3):
        folder = tmp_path / str(attempt)
        folder.mkdir()
        run = Run(start, argv_of(stage2, folder / "run", variant), folder)
        for _ in range(6):
            process = run.begin()
            process.join(chance.uniform(0.3, 4))
            if process.is_alive():
                process.kill() if chance.random() < 0.5 else process.terminate()
            assert finish(process) in (0, 143, -signal.SIGKILL, -signal.SIGTERM), run.log
        assert finish(run.begin()) == 0, run.log
        assert_same_run(folder / "run", expected)
        shutil.rmtree(folder)


@pytest.mark.slow
def test_the_test_can_fail(start, stage2, reference, tmp_path):
    """Without the state of random numbers, going on gives other weights."""
    run = Run(start, argv_of(stage2, tmp_path / "run", "cached"), tmp_path)
    assert run.killed_at(7, signal.SIGTERM) == EXIT_CODE
    (last_complete_checkpoint(tmp_path / "run") / "rng_state.pth").unlink()
    assert finish(run.begin()) == 0
    with pytest.raises(AssertionError):
        assert_same_run(tmp_path / "run", reference("cached"))


@pytest.mark.slow
def test_mini_batches_bear_upon_the_weights(start, stage2, tmp_path):
    """They decide which dropout falls on what; evaluation decides nothing."""
    run = Run(start, argv_of(stage2, tmp_path / "run", "cached"), tmp_path)
    assert run.killed_at(6, signal.SIGKILL) == -signal.SIGKILL
    argv = list(run.argv)
    run.argv = [*argv, "--mini_batch_tokens", "200"]
    assert finish(run.begin()) == 2 and "holds work with another recipe" in run.log
    run.argv = [*argv, "--eval_strategy", "steps", "--eval_steps", "10", "--eval_pairs", "5"]
    assert finish(run.begin()) == 0
