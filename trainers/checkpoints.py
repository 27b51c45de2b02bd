"""Checkpoints: which one is complete, and models saved whole or not at all."""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from transformers import (
    PreTrainedModel,
    PreTrainedTokenizerBase,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)

from data_collators.files import new_folder, write_json

COMPLETE = "complete"  # written into a training checkpoint after everything else
CONFIG = "config.json"
_CHECKPOINT = re.compile(r"checkpoint-(\d+)")


class MarkComplete(TrainerCallback):
    """Marks each training checkpoint once it is written, so that a torn one is never resumed from.

    The mark holds the seconds and tokens spent so far, over all sessions of the run.

    Args:
        tokens: Gives the tokens of this session.
        before: What the mark of the checkpoint holds that this session goes on from.
    """

    def __init__(self, tokens: Callable[[], int], before: dict[str, Any]) -> None:
        self._tokens, self._before = tokens, before
        self._started = time.monotonic()

    def spent(self) -> dict[str, Any]:
        """Seconds and tokens, over all sessions of the run."""
        return {
            "seconds": round(time.monotonic() - self._started + self._before.get("seconds", 0), 1),
            "tokens": self._tokens() + self._before.get("tokens", 0),
        }

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Called by the Trainer after the last file of a checkpoint."""
        if state.is_world_process_zero:
            write_json(Path(args.output_dir, f"checkpoint-{state.global_step}", COMPLETE), self.spent())


class SetEpoch(TrainerCallback):
    """Tells the data set which epoch begins: the Trainer does so at the start, but not in an epoch that it resumes."""

    def __init__(self, dataset: Any) -> None:
        self.dataset = dataset

    def on_epoch_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Called by the Trainer before the first batch; `state.epoch` is a fraction in a resumed epoch."""
        self.dataset.set_epoch(int(state.epoch + 1e-6))


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


def save_model(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, folder: str | Path, overwrite: bool = True
) -> None:
    """Write model and tokenizer as one folder, whole or not at all."""
    with new_folder(folder, CONFIG, overwrite) as partial:
        model.save_pretrained(partial)
        tokenizer.save_pretrained(partial)


def check_checkpoint(path: str | Path) -> str:
    """The path of a checkpoint folder, or the id of a repo on the Hub, as a string.

    Raises:
        FileNotFoundError: The path exists but is no checkpoint, or cannot be a repo id either.
    """
    folder = Path(path)
    if folder.is_dir():
        if not (folder / CONFIG).is_file():
            raise FileNotFoundError(
                f"{str(path)!r} is not a checkpoint: it has no {CONFIG}. Name a saved model's folder."
            )
    elif folder.exists() or not re.fullmatch(r"[\w.-]+(/[\w.-]+)?", str(path)) or str(path).startswith("."):
        raise FileNotFoundError(
            f"checkpoint {str(path)!r} is not a folder. Name a saved model's folder or a Hub repo id."
        )
    return str(path)
