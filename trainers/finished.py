"""What a finished run leaves: the model, its adapters, and the record, which says that the rest is whole."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from transformers import PreTrainedModel, PreTrainedTokenizerBase, Trainer

from data_collators.files import claim_folder

from .arguments import StageArguments
from .checkpoints import save_model
from .lora import ADAPTER, is_adapted, load_adapter, merged, save_adapter
from .messages import say
from .records import RunRecord
from .run_recipe import HARMLESS, recipe_of
from .sentence_folder import SentenceFolder

RUN, MODEL, CLAIM = "run.json", "model", "stage.json"


def save_without_steps(
    label: str,
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    args: StageArguments,
    stats: dict[str, Any],
    fit: Callable[[], int],
) -> Path:
    """As `train_and_save`, for a model that is fitted at once instead of in steps: there is nothing to go on from.

    Args:
        label: Name of the stage.
        model: What `fit` changes.
        tokenizer: Saved beside it.
        args: Arguments of the run.
        stats: What the data are, with a `fingerprint`.
        fit: Fits the model; returns the tokens that it read.

    Raises:
        FileExistsError: The output folder holds something else, or another run.
        ValueError: There are several processes.
    """
    if args.world_size > 1:
        raise ValueError(f"{label} of this kind takes one process, got {args.world_size}. Start it without torchrun.")
    output, recipe, started = Path(args.output_dir), recipe_of(args), time.monotonic()
    origin = {"stage": label, "seed": args.seed, "data": stats["fingerprint"], "model": args.model}
    bound = {name: value for name, value in recipe.items() if not name.startswith(HARMLESS)}
    claim_folder(output, CLAIM, {**origin, "recipe": bound})
    if (output / RUN).is_file() and (output / MODEL).is_dir():
        say(f"{label}: done before")
        return output / MODEL
    tokens, seconds = fit(), round(time.monotonic() - started, 1)
    record = RunRecord(recipe, args.seed, stats, seconds, tokens, parameters=model.num_parameters())
    save_finished(model, tokenizer, output, record)
    return output / MODEL


def save_finished(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    output: Path,
    record: RunRecord,
    folder: SentenceFolder | None = None,
    weights: dict[str, Any] | None = None,
) -> None:
    """Write what a finished run leaves, the record last: it says that the rest is whole."""
    if is_adapted(model):
        save_adapter(model, output / ADAPTER)
        model = merged(model)
    save_model(model, tokenizer, output / MODEL, weights=weights, more=folder.write if folder else None)
    record.save(output / RUN)


def check_adapters(trainer: Trainer) -> None:
    """Refuse adapters where they could not be saved.

    Raises:
        ValueError: FSDP shards a model that has some.
    """
    if is_adapted(trainer.model) and trainer.is_fsdp_enabled:
        raise ValueError(
            "LoRA and FSDP do not go together here: the checkpoints of one hold adapters, of the other whole models. "
            "Leave out lora_rank, or train without FSDP: frozen weights need little memory."
        )


def load_weights(trainer: Trainer, checkpoint: Path) -> None:
    """Give the model the weights of a training checkpoint."""
    if is_adapted(trainer.model):
        load_adapter(trainer.model, checkpoint)
    else:
        trainer.model = type(trainer.model).from_pretrained(checkpoint)
