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
from .checkpoints import (
    COMPLETE,
    MarkComplete,
    SeedProcesses,
    SetEpoch,
    check_checkpoint,
    last_complete_checkpoint,
    save_model,
)
from .interruption import StopOnSignal, Stopped
from .processes import on_first
from .progress import say, show_progress
from .records import RunRecord
from .sharded import check_sharding, fit_checkpoint

RUN, MODEL, CLAIM = "run.json", "model", "stage.json"
# Arguments, by the beginning of their names, that a run may go on with changed. Workers deal out streamed rows.
HARMLESS = ("logging_", "log_", "save_", "eval_", "report_to", "run_name", "project", "ddp_", "fsdp", "use_cpu", "hub_")
HARMLESS += ("dataloader_num_workers", "dataloader_p", "push_to_hub")
LAYOUT = ("per_device_train_batch_size", "gradient_accumulation_steps")


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


def train_and_save(
    label: str,
    trainer: Trainer,
    tokenizer: PreTrainedTokenizerBase,
    tokens: Callable[[], int],
    any_layout: bool = False,
) -> Path:
    """Train, going on from the newest complete checkpoint in the output folder; save the model and the record.

    A finished run is not repeated. The output folder belongs to one stage, recipe, data set and starting model.
    Of several processes the first decides and writes; all must call.

    Args:
        label: Name of the stage.
        trainer: The Trainer.
        tokenizer: Saved beside the model.
        tokens: Gives the tokens that this process has trained on.
        any_layout: Whether it is the same run however the rows of a step are cut into processes and accumulated
            batches, as it is where rows do not see each other.

    Returns:
        Folder of the trained model, `<output_dir>/model`.

    Raises:
        FileExistsError: The output folder holds something else, or another run.
        ValueError: The kind of FSDP checkpoint could not be read by other runs.
        Stopped: SIGTERM came; a checkpoint of the step that it came in is complete.
    """
    args: StageArguments = trainer.args
    output, stats, recipe = Path(args.output_dir), load_stats(args.data), recipe_of(args)
    origin = {"stage": label, "seed": args.seed, "data": stats["fingerprint"], "model": args.model}
    origin["recipe"] = binding_recipe(recipe, trainer, any_layout)
    check_sharding(trainer)
    if args.push_to_hub:
        trainer.processing_class = tokenizer  # what a push puts beside the model
    done, checkpoint = on_first(trainer.accelerator, lambda: _claim(origin, trainer))
    if done:
        say(f"{label}: done before")
        if args.push_to_hub:
            trainer.push_to_hub()
        return output / MODEL
    before = json.loads((checkpoint / COMPLETE).read_text(encoding="utf-8")) if checkpoint else {}
    meter = MarkComplete(trainer.accelerator, tokens, before, keep=args.save_total_limit)
    args.save_total_limit = None  # `meter` removes old ones, later than the Trainer would
    state = json.loads((checkpoint / "trainer_state.json").read_text(encoding="utf-8")) if checkpoint else None
    if state and state["global_step"] >= state["max_steps"]:
        # Stopped between the last checkpoint and the final model: another call of `train` would add a step.
        trainer.model, history = type(trainer.model).from_pretrained(checkpoint), state["log_history"]
        weights = None
    else:
        _train(label, trainer, meter, checkpoint)
        history = trainer.state.log_history
        weights = trainer.accelerator.get_state_dict(trainer.model) if trainer.is_fsdp_enabled else None
    spent = meter.spent()
    record = RunRecord(
        recipe=recipe,
        seed=args.seed,
        data=stats,
        wall_seconds=spent["seconds"],
        tokens=spent["tokens"],
        parameters=trainer.model.num_parameters(),
        processes=spent["processes"],
        log=[entry for entry in history if "loss" in entry],
    )

    def write() -> None:
        save_model(trainer.model, tokenizer, output / MODEL, weights=weights)
        record.save(output / RUN)

    on_first(trainer.accelerator, write)
    if args.push_to_hub:
        trainer.push_to_hub()
    return output / MODEL


def _claim(origin: dict[str, Any], trainer: Trainer) -> tuple[bool, Path | None]:
    """Take the output folder: whether the run is done already, and the checkpoint to go on from."""
    output = Path(trainer.args.output_dir)
    claim_folder(output, CLAIM, origin)
    if (output / RUN).is_file() and (output / MODEL).is_dir():
        return True, None
    checkpoint = last_complete_checkpoint(output)
    if checkpoint:
        fit_checkpoint(checkpoint, trainer)
    return False, checkpoint


def _train(label: str, trainer: Trainer, meter: MarkComplete, checkpoint: Path | None) -> None:
    """Train to the end, or to the step in which SIGTERM comes.

    Raises:
        Stopped: It came.
    """
    processes = meter.before.get("processes", trainer.accelerator.num_processes)
    if processes != trainer.accelerator.num_processes:
        say(f"{label}: the checkpoint is of {processes} processes; the same rows follow, with other dropout")
    for callback in (meter, SetEpoch(trainer.train_dataset), SeedProcesses()):
        trainer.add_callback(callback)
    show_progress(trainer, label)
    with StopOnSignal(trainer.accelerator) as stop:
        trainer.add_callback(stop)
        trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    if stop.stopped:
        say(f"{label}: stopped by SIGTERM; step {trainer.state.global_step} is saved. The same command goes on from it")
        raise Stopped


def binding_recipe(recipe: dict[str, Any], trainer: Trainer, any_layout: bool) -> dict[str, Any]:
    """What of a recipe a run must go on with: all that bears upon its weights."""
    args, rows = trainer.args, trainer.train_dataset
    free = tuple(prefix for prefix in HARMLESS if hasattr(rows, "__len__") or prefix != "dataloader_num_workers")
    bound = {name: value for name, value in recipe.items() if not name.startswith(free)}
    bound["rows_per_step"] = args.train_batch_size * args.gradient_accumulation_steps * args.world_size
    bound["tokens_per_row"] = getattr(rows, "max_length", None)
    return {name: value for name, value in bound.items() if not (any_layout and name in LAYOUT)}


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
