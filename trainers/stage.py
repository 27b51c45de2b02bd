"""What both training stages do around their Trainer: load, resume, train, save, leave a record."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import MISSING, fields
from functools import partial
from pathlib import Path
from typing import Any

from transformers import AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase, Trainer, set_seed

import modeling_coderep
from data_collators.builders.store import load_stats
from data_collators.files import claim_folder

from .arguments import StageArguments, check_keys
from .checkpoints import COMPLETE, MarkComplete, SetEpoch, check_checkpoint, last_complete_checkpoint, save_model
from .progress import say, show_progress
from .records import RunRecord

RUN, MODEL, CLAIM = "run.json", "model", "stage.json"


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


def load_model(auto_class: Any, args: StageArguments, tokenizer: PreTrainedTokenizerBase) -> PreTrainedModel:
    """The checkpoint that the arguments name, else a new coderep model that fits the tokenizer.

    Raises:
        FileNotFoundError: The checkpoint does not exist.
        ValueError: The configuration contradicts itself.
    """
    set_seed(args.seed)
    fields_given = dict(getattr(args, "model_config", None) or {})
    known = ["preset", *(["modern"] if "preset" in fields_given else [])]
    known += [item.name for item in fields(modeling_coderep.CodeRepConfig)]
    check_keys(fields_given, known, "model_config")
    if args.model:
        return auto_class.from_pretrained(check_checkpoint(args.model))
    new_config = modeling_coderep.CodeRepConfig
    if "preset" in fields_given:
        new_config = partial(new_config.from_preset, fields_given.pop("preset"))
    config = new_config(
        vocab_size=len(tokenizer),
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        mask_token_id=tokenizer.mask_token_id,
        pad_token_id=tokenizer.pad_token_id,
        **fields_given,
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


def train_and_save(label: str, trainer: Trainer, tokenizer: PreTrainedTokenizerBase, tokens: Callable[[], int]) -> Path:
    """Train, going on from the newest complete checkpoint in the output folder; save the model and the record.

    A finished run is not repeated. The output folder belongs to one stage, recipe, data set and starting model.

    Args:
        label: Name of the stage.
        trainer: The Trainer.
        tokenizer: Saved beside the model.
        tokens: Gives the tokens that this process has trained on.

    Returns:
        Folder of the trained model, `<output_dir>/model`.

    Raises:
        FileExistsError: The output folder holds something else, or another run.
    """
    args: StageArguments = trainer.args
    output, stats, recipe = Path(args.output_dir), load_stats(args.data), recipe_of(args)
    origin = {"stage": label, "recipe": recipe, "seed": args.seed, "data": stats["fingerprint"], "model": args.model}
    claim_folder(output, CLAIM, origin)
    if (output / RUN).is_file() and (output / MODEL).is_dir():
        say(f"{label}: done before")
        return output / MODEL
    checkpoint = last_complete_checkpoint(output)
    before = json.loads((checkpoint / COMPLETE).read_text(encoding="utf-8")) if checkpoint else {}
    meter = MarkComplete(tokens, before)
    trainer.add_callback(meter)
    trainer.add_callback(SetEpoch(trainer.train_dataset))
    show_progress(trainer, label)
    state = json.loads((checkpoint / "trainer_state.json").read_text(encoding="utf-8")) if checkpoint else None
    if state and state["global_step"] >= state["max_steps"]:
        # Stopped between the last checkpoint and the final model: another call of `train` would add a step.
        model, history = type(trainer.model).from_pretrained(checkpoint), state["log_history"]
    else:
        trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
        model, history = trainer.model, trainer.state.log_history
    if trainer.is_world_process_zero():
        save_model(model, tokenizer, output / MODEL)
        spent = meter.spent()
        RunRecord(
            recipe=recipe,
            seed=args.seed,
            data=stats,
            wall_seconds=spent["seconds"],
            tokens=spent["tokens"],
            parameters=model.num_parameters(),
            log=[entry for entry in history if "loss" in entry],
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
