"""Stage 1 stopped at any step, by real signals and real write errors: the same command ends with the same weights."""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import signal
import sys
import threading

import pytest
from running import FULL, TORN, Run, assert_same_run, finish

from trainers.checkpoints import COMPLETE, last_complete_checkpoint, remove_old
from trainers.interruption import EXIT_CODE, StopOnSignal

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="needs signals")

# Dropout, so that the state of random numbers counts; more than two epochs, so that their order does.
STEPS = 26
MODEL = (
    "{hidden_size: 32, num_hidden_layers: 1, num_attention_heads: 2, intermediate_size: 32, "
    "max_position_embeddings: 64, hidden_dropout: 0.2, attention_dropout: 0.1}"
)
VARIANTS = {
    "packed": ["--gradient_accumulation_steps", "2", "--dataloader_num_workers", "1"],
    "streaming": ["--streaming", "true", "--dataloader_num_workers", "1"],
}


def train_argv(stage1, output, *more):
    data = ["--data", str(stage1 / "rows"), "--tokenizer", str(stage1 / "tokenizer"), "--output_dir", str(output)]
    sizes = ["--max_length", "64", "--model_config", MODEL, "--max_steps", str(STEPS), "--save_steps", "5"]
    rates = ["--per_device_train_batch_size", "16", "--learning_rate", "1e-3", "--logging_steps", "1"]
    return ["train", "mlm", *data, *sizes, *rates, "--save_total_limit", "1", *more]


@pytest.fixture(scope="module")
def reference(start, stage1, tmp_path_factory):
    """The uninterrupted run of each variant, made when first asked for."""
    made = {}

    def reference(variant):
        if variant not in made:
            made[variant] = tmp_path_factory.mktemp(variant) / "run"
            process = start(train_argv(stage1, made[variant], *VARIANTS[variant]), made[variant].parent / "log")
            assert finish(process) == 0, (made[variant].parent / "log").read_text()
            state = json.loads((made[variant] / f"checkpoint-{STEPS}" / "trainer_state.json").read_text())
            assert state["epoch"] > 2 or variant == "streaming"  # which the Trainer takes for one endless epoch
        return made[variant]

    return reference


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_run_stopped_in_every_way_ends_with_the_same_weights(start, stage1, reference, variant, tmp_path):
    expected, chance = reference(variant), random.Random(variant)
    run = Run(start, train_argv(stage1, tmp_path / "run", *VARIANTS[variant]), tmp_path)

    # A disk too full for the first checkpoint.
    assert finish(run.begin(FULL)) == 1
    assert run.log.splitlines()[-1].startswith("coderep: no space left.") and "Traceback" not in run.log
    assert last_complete_checkpoint(tmp_path / "run") is None

    # Killed after a checkpoint, at any step.
    assert run.killed_at(chance.randrange(6, 9), signal.SIGKILL) == -signal.SIGKILL
    assert not (tmp_path / "run" / "model").exists()

    # Asked to stop: the step is finished and saved, and one line says so.
    assert run.killed_at(chance.randrange(9, 14), signal.SIGTERM) == EXIT_CODE == 143
    saved = int(re.search(r"stopped by SIGTERM; step (\d+) is saved\. The same command goes on", run.log)[1])
    assert last_complete_checkpoint(tmp_path / "run").name == f"checkpoint-{saved}"
    assert "coderep:" not in run.log and "Traceback" not in run.log

    # Killed while a checkpoint is written: the one before is used, although the limit is one.
    assert finish(run.begin(TORN.format(call=chance.randrange(1, 4)))) == -signal.SIGKILL
    assert f"stage 1: resumed at step {saved}\n" in run.log
    torn = {path.name for path in (tmp_path / "run").glob("checkpoint-*")} - {f"checkpoint-{saved}"}
    assert len(torn) == 1

    assert finish(run.begin()) == 0
    assert f"stage 1: resumed at step {saved}\n" in run.log
    assert_same_run(tmp_path / "run", expected)
    assert finish(run.begin()) == 0 and "stage 1: done before" in run.log


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("variant", VARIANTS)
def test_many_kills_at_random_moments(start, stage1, reference, variant, tmp_path):
    """Not at steps but at moments, which fall into writing, reading and starting as well."""
    expected, chance = reference(variant), random.Random(1)
    for attempt in range(5):
        folder = tmp_path / str(attempt)
        folder.mkdir()
        run = Run(start, train_argv(stage1, folder / "run", *VARIANTS[variant]), folder)
        for _ in range(8):
            process = run.begin()
            process.join(chance.uniform(0.3, 4))
            if process.is_alive():
                os.kill(process.pid, chance.choice([signal.SIGKILL, signal.SIGTERM]))
            assert finish(process) in (0, 143, -signal.SIGKILL, -signal.SIGTERM), run.log
        assert finish(run.begin()) == 0, run.log
        assert_same_run(folder / "run", expected)


def test_the_test_can_fail(start, stage1, reference, tmp_path):
    """Another seed gives other weights; and without the state of random numbers, going on gives others too."""
    argv = train_argv(stage1, tmp_path / "run", *VARIANTS["packed"])
    run = Run(start, argv, tmp_path)
    assert run.killed_at(7, signal.SIGTERM) == 143
    (last_complete_checkpoint(tmp_path / "run") / "rng_state.pth").unlink()
    assert finish(run.begin()) == 0
    with pytest.raises(AssertionError):
        assert_same_run(tmp_path / "run", reference("packed"))


def test_what_bears_upon_the_weights_must_stay(start, stage1, tmp_path):
    """Another way of dealing out the rows of a step is the same run; other numbers or rates are not."""
    run = Run(start, train_argv(stage1, tmp_path / "run"), tmp_path)
    assert run.killed_at(6, signal.SIGKILL) == -signal.SIGKILL
    argv = list(run.argv)
    for more, refused in (
        (["--learning_rate", "2e-3"], True),
        (["--per_device_train_batch_size", "8"], True),
        (["--per_device_train_batch_size", "8", "--gradient_accumulation_steps", "2", "--save_steps", "6"], False),
    ):
        run.argv = [*argv, *more]
        assert (finish(run.begin()) == 2) == refused
        assert ("holds work with another recipe. Name another folder or delete this one." in run.log) == refused


def test_a_second_sigterm_ends_the_process_at_once():
    from accelerate import Accelerator

    before = signal.getsignal(signal.SIGTERM)
    with StopOnSignal(Accelerator(cpu=True)) as stop:
        assert signal.getsignal(signal.SIGTERM) != before
        os.kill(os.getpid(), signal.SIGTERM)
        assert signal.getsignal(signal.SIGTERM) == before and not stop.stopped
    assert signal.getsignal(signal.SIGTERM) == before


def test_signals_are_left_alone_outside_the_main_thread():
    """Python lets only the main thread handle signals; training in another one must work nevertheless."""
    errors = []

    def use():
        try:
            with StopOnSignal(None):
                pass
        except ValueError as error:
            errors.append(error)

    thread = threading.Thread(target=use)
    thread.start()
    thread.join()
    assert errors == []


def test_old_checkpoints_lose_their_mark_first(tmp_path, monkeypatch):
    for step in (5, 10, 15, 20):
        (tmp_path / f"checkpoint-{step}").mkdir()
        (tmp_path / f"checkpoint-{step}" / COMPLETE).touch()
    remove_old(tmp_path, None)
    assert len(list(tmp_path.iterdir())) == 4
    monkeypatch.setattr(shutil, "rmtree", lambda folder: None)  # a kill before the folder is gone
    remove_old(tmp_path, 2, best="checkpoint-5")
    marked = {path.parent.name for path in tmp_path.glob(f"*/{COMPLETE}")}
    assert marked == {"checkpoint-5", "checkpoint-15", "checkpoint-20"}
