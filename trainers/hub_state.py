"""Training checkpoints on the Hub: which files of one go there, and how training goes on from one that was downloaded.

A pushed checkpoint holds, besides its own files, the record of what its run is (stage.json). So

    hf download me/name --include "last-checkpoint/*" --local-dir RUN

and the training command with `--output_dir RUN` go on where another machine stopped.
"""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

from data_collators.files import new_file

from .checkpoints import COMPLETE
from .finished import CLAIM

LAST = "last-checkpoint"  # what HF's Trainer calls the newest one on the Hub
# What training goes on from, besides weights and random states. Not the arguments: a pickle of classes.
_STATE = ("config.json", "adapter_config.json", "trainer_state.json", "optimizer.pt", "scheduler.pt", "scaler.pt")


def pushed_state(checkpoint: Path, claim: Path, folder: str) -> dict[str, Path]:
    """Path in the repo -> file of a training checkpoint that training goes on from.

    Args:
        checkpoint: Folder of the checkpoint, complete.
        claim: The record of what its run is.
        folder: What it is called in the repo.
    """
    files = [*(checkpoint / name for name in (*_STATE, COMPLETE)), claim]
    files += [*checkpoint.glob("*.safetensors*"), *checkpoint.glob("rng_state*.pth")]
    return {f"{folder}/{path.name}": path for path in sorted(files) if path.is_file()}


def adopt_pushed(output: Path) -> None:
    """Make checkpoints that were downloaded from the Hub into a run's folder ones that the run goes on from.

    Raises:
        ValueError: One lacks its state.
    """
    found = [path for path in (output / LAST, *output.glob("checkpoint-*")) if (path / CLAIM).is_file()]
    for folder in found:
        if not (folder / COMPLETE).is_file() or not (folder / "trainer_state.json").is_file():
            raise ValueError(
                f"{str(folder)!r} is a part of a checkpoint. Download all of it from the Hub, or remove it."
            )
        step = json.loads((folder / "trainer_state.json").read_text(encoding="utf-8"))["global_step"]
        place = output / f"checkpoint-{step}"
        if folder != place and not place.exists():
            os.replace(folder, place)
        if place.is_dir() and not (output / CLAIM).is_file():
            with new_file(output / CLAIM) as partial:
                shutil.copyfile(place / CLAIM, partial)
