"""Checkpoints: which one is complete, and models saved whole or not at all."""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import (
    PreTrainedModel,
    PreTrainedTokenizerBase,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)

from data_collators.files import new_folder, write_json

from .model_paths import CONFIG
from .processes import total

COMPLETE = "complete"  # written into a training checkpoint after everything else
_CHECKPOINT = re.compile(r"checkpoint-(\d+)")


class MarkComplete(TrainerCallback):
    """Marks each training checkpoint once all processes have written it, so that a torn one is never resumed from.

    The mark holds the seconds and tokens spent so far, over all sessions of the run, and how many processes it had.
    Older checkpoints are removed only then: a kill at any moment leaves a complete one.

    Args:
        accelerator: Adds up over processes.
        tokens: Gives the tokens of this session on this process.
        before: What the mark of the checkpoint holds that this session goes on from.
        keep: Number of checkpoints that stay, besides the best one; None keeps all.
    """

    def __init__(
        self, accelerator: Any, tokens: Callable[[], int], before: dict[str, Any], keep: int | None = None
    ) -> None:
        self._accelerator, self._tokens, self.before, self._keep = accelerator, tokens, before, keep
        self.started = time.monotonic()

    def spent(self) -> dict[str, Any]:
        """Seconds and tokens, over all sessions and processes of the run; all processes must ask."""
        return {
            "seconds": round(time.monotonic() - self.started + self.before.get("seconds", 0), 1),
            "tokens": total(self._accelerator, self._tokens()) + self.before.get("tokens", 0),
            "processes": self._accelerator.num_processes,
        }

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Called by the Trainer on each process, after its last file of a checkpoint."""
        spent = self.spent()  # waits for the other processes' files
        if state.is_world_process_zero:
            write_json(Path(args.output_dir, f"checkpoint-{state.global_step}", COMPLETE), spent)
            best = Path(state.best_model_checkpoint).name if state.best_model_checkpoint else None
            remove_old(args.output_dir, self._keep, best)


class SetEpoch(TrainerCallback):
    """Tells the data set which epoch begins: the Trainer does so at the start, but not in an epoch that it resumes."""

    def __init__(self, dataset: Any) -> None:
        self.dataset = dataset

    def on_epoch_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Called by the Trainer before the first batch; `state.epoch` is a fraction in a resumed epoch."""
        self.dataset.set_epoch(int(state.epoch + 1e-6))


class SeedProcesses(TrainerCallback):
    """Gives each of several processes its own dropout: the Trainer seeds all alike. Resuming restores its state."""

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Called by the Trainer once the model is made and the order of the data is set."""
        if args.world_size > 1:
            seeds = np.random.SeedSequence([args.seed, args.process_index, state.global_step])
            torch.manual_seed(int(seeds.generate_state(1)[0]))


def remove_old(output_dir: str | Path, keep: int | None, best: str | None = None) -> None:
    """Remove all but the newest `keep` training checkpoints and the best one, the mark of each before its files."""
    steps = sorted(int(match[1]) for path in Path(output_dir).iterdir() if (match := _CHECKPOINT.fullmatch(path.name)))
    for step in steps[:-keep] if keep else []:
        folder = Path(output_dir, f"checkpoint-{step}")
        if folder.name != best:
            (folder / COMPLETE).unlink(missing_ok=True)
            shutil.rmtree(folder)


def last_complete_checkpoint(output_dir: str | Path) -> Path | None:
    """The newest complete training checkpoint, None if there is none; torn ones are removed.

    Only for folders that `claim_folder` gave us: another Trainer's checkpoints carry no mark.
    """
    found: dict[int, Path] = {}
    for path in Path(output_dir).glob("checkpoint-*"):
        match = _CHECKPOINT.fullmatch(path.name)
        if match and (path / COMPLETE).is_file():
            found[int(match.group(1))] = path
        elif match:
            shutil.rmtree(path)
    return found[max(found)] if found else None


def best_checkpoint(state: dict[str, Any], last: Path) -> Path:
    """The checkpoint that the Trainer's state names as the best one, beside the last one; the last if there is none."""
    # By its name, since the output folder may have been moved.
    best = last.with_name(Path(state.get("best_model_checkpoint") or last).name)
    return best if best.is_dir() else last


def save_model(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    folder: str | Path,
    overwrite: bool = True,
    weights: dict[str, Any] | None = None,
    more: Callable[[Path], None] | None = None,
) -> None:
    """Write model and tokenizer as one folder, whole or not at all.

    Args:
        model: The model.
        tokenizer: Its tokenizer.
        folder: Folder to write.
        overwrite: Replace an earlier model in it.
        weights: Written instead of the model's.
        more: Adds files to the folder.
    """
    with new_folder(folder, CONFIG, overwrite) as partial:
        model.save_pretrained(partial, state_dict=weights)
        tokenizer.save_pretrained(partial)
        if more is not None:
            more(partial)
