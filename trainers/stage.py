"""What both training stages do around their Trainer: load, resume, train, save, leave a record."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any

from transformers import AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase, Trainer, set_seed

import modeling_coderep
from data_collators.builders.store import load_stats

from .arguments import StageArguments
from .checkpoints import MarkComplete, SetEpoch, check_checkpoint, last_complete_checkpoint, save_model
from .progress import show_progress
from .records import RunRecord

RUN, MODEL = "run.json", "model"


def load_tokenizer(args: StageArguments) -> PreTrainedTokenizerBase:
    """The tokenizer that the arguments name, else the one beside the model.

    Raises:
        ValueError: Neither is named.
        FileNotFoundError: The folder does not exist.
    """
    source = args.tokenizer or args.model
    if source is None:
        raise ValueError("no tokenizer given. Name one with --tokenizer, or a checkpoint with --model.")
    if not Path(source).exists():
        check_checkpoint(source)
    return AutoTokenizer.from_pretrained(source)


def load_model(auto_class: Any, args: StageArguments, tokenizer: PreTrainedTokenizerBase) -> PreTrainedModel:  # noqa: ANN401
    """The checkpoint that the arguments name, else a new coderep model that fits the tokenizer.

    Raises:
        FileNotFoundError: The checkpoint does not exist.
        ValueError: The configuration contradicts itself.
    """
    set_seed(args.seed)
    if args.model:
        return auto_class.from_pretrained(check_checkpoint(args.model))
    config = modeling_coderep.CodeRepConfig(
        vocab_size=len(tokenizer),
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        mask_token_id=tokenizer.mask_token_id,
        pad_token_id=tokenizer.pad_token_id,
        **(getattr(args, "model_config", None) or {}),
    )
    return auto_class.from_config(config)


def require_data(args: StageArguments) -> str:
    """The data folder that the arguments name.

    Raises:
        ValueError: None is named.
    """
    if not args.data:
        raise ValueError("no data given. Name a folder made by `coderep data ...` with --data.")
    return args.data


def train_and_save(
    label: str,
    trainer: Trainer,
    tokenizer: PreTrainedTokenizerBase,
    recipe: dict[str, Any],
    tokens: Callable[[], int],
) -> Path:
    """Train, going on from the newest complete checkpoint in the output folder; save the model and the record.

    A finished run is not repeated.

    Returns:
        Folder of the trained model, `<output_dir>/model`.
    """
    args: StageArguments = trainer.args
    output = Path(args.output_dir)
    if (output / RUN).is_file() and (output / MODEL).is_dir():
        return output / MODEL
    trainer.add_callback(MarkComplete())
    trainer.add_callback(SetEpoch(trainer.train_dataset))
    show_progress(trainer, label)
    checkpoint = last_complete_checkpoint(output)
    started = time.monotonic()
    trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    if trainer.is_world_process_zero():
        save_model(trainer.model, tokenizer, output / MODEL)
        RunRecord(
            recipe=recipe,
            seed=args.seed,
            data=load_stats(args.data),
            wall_seconds=round(time.monotonic() - started, 1),
            tokens=tokens(),
            parameters=trainer.model.num_parameters(),
            log=[entry for entry in trainer.state.log_history if "loss" in entry],
        ).save(output / RUN)
    return output / MODEL


def recipe_of(args: StageArguments) -> dict[str, Any]:
    """The arguments that differ from their defaults, without folders of this machine."""
    local = {"output_dir", "data", "tokenizer", "model"}
    given = args.to_dict()
    # Derived from other arguments or from the surroundings, not chosen.
    derived = {"disable_tqdm", "logging_dir", "local_rank", "accelerator_config", "hub_token", "dataloader_pin_memory"}
    recipe = {}
    for item in fields(args):
        default = item.default_factory() if item.default is MISSING and callable(item.default_factory) else item.default
        value = given.get(item.name)
        unset = default in (None, "none", "") and value in (False, [], {}, "no")
        if item.name not in local | derived and value != getattr(default, "value", default) and not unset:
            recipe[item.name] = value
    return recipe
