"""What both training stages do around their Trainer: load, resume, train, save, leave a record."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import fields
from functools import partial
from pathlib import Path
from typing import Any

import torch
from transformers import AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase, Trainer, set_seed

import modeling_coderep
from data_collators.builders.store import load_stats
from data_collators.files import claim_folder

from .arguments import StageArguments
from .checkpoints import (
    COMPLETE,
    MarkComplete,
    SeedProcesses,
    SetEpoch,
    best_checkpoint,
    last_complete_checkpoint,
)
from .command_line import check_keys
from .finished import CLAIM, MODEL, RUN, check_adapters, load_weights, save_finished
from .hub_state import adopt_pushed
from .interruption import StopOnSignal, Stopped
from .messages import say
from .processes import on_first
from .progress import show_progress
from .records import RunRecord
from .run_recipe import binding_recipe, recipe_of
from .sentence_folder import MODULES, SentenceFolder, fit_tokenizer, read_sentence_folder, subfolder_options
from .sharded import check_sharding, fit_checkpoint


def load_tokenizer(args: StageArguments) -> PreTrainedTokenizerBase:
    """The tokenizer that the arguments name, else the one beside the model.

    Raises:
        ValueError: Neither is named.
        FileNotFoundError: The folder does not exist.
    """
    source = args.tokenizer or args.model
    if source is None:
        raise ValueError("no tokenizer given. Name one with --tokenizer, or a checkpoint with --model.")
    bare = Path(source).exists() and not Path(source, MODULES).is_file()  # perhaps a tokenizer alone
    folder = None if bare else read_sentence_folder(source)
    tokenizer = AutoTokenizer.from_pretrained(source, **subfolder_options(folder))
    return fit_tokenizer(tokenizer, folder) if folder else tokenizer


def load_model(
    auto_class: Any, args: StageArguments, tokenizer: PreTrainedTokenizerBase, **changes: Any
) -> PreTrainedModel:
    """The checkpoint that the arguments name, in float32, else a new coderep model that fits the tokenizer.

    Args:
        auto_class: transformers' Auto class of the task.
        args: Name the checkpoint, or the configuration of a new model.
        tokenizer: The model's own.
        **changes: Entries of a checkpoint's configuration that are set anew.

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
        folder = read_sentence_folder(args.model)
        # A checkpoint would load in the precision that it is saved in; small steps vanish in bfloat16.
        return auto_class.from_pretrained(args.model, dtype=torch.float32, **subfolder_options(folder), **changes)
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
        **changes,
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
    stats: dict[str, Any] | None = None,
    folder: SentenceFolder | None = None,
) -> Path:
    """Train, going on from the newest complete checkpoint in the output folder; save the model and the record.

    A finished run is not repeated. The output folder belongs to one stage, recipe, data set and starting model.
    Of several processes the first decides and writes; all must call. A model with adapters is saved with them added to
    its weights, and the adapters by themselves in `<output_dir>/adapter`.

    Args:
        label: Name of the stage.
        trainer: The Trainer.
        tokenizer: Saved beside the model.
        tokens: Gives the tokens that this process has trained on.
        any_layout: Whether it is the same run however the rows of a step are cut into processes and accumulated
            batches, as it is where rows do not see each other.
        stats: What the data are, with a `fingerprint`; None reads the stats.json of `args.data`.
        folder: The sentence-transformers folder that the model is from: it is saved as one again.

    Returns:
        Folder of the trained model, `<output_dir>/model`.

    Raises:
        FileExistsError: The output folder holds something else, or another run.
        ValueError: The kind of FSDP checkpoint could not be read by other runs, or it shards a model with
            adapters.
        Stopped: SIGTERM came; a checkpoint of the step that it came in is complete.
    """
    args: StageArguments = trainer.args
    output, stats, recipe = Path(args.output_dir), stats or load_stats(args.data), recipe_of(args)
    origin = {"stage": label, "seed": args.seed, "data": stats["fingerprint"], "model": args.model}
    origin["recipe"] = binding_recipe(recipe, trainer, any_layout)
    check_sharding(trainer)
    check_adapters(trainer)
    if args.push_to_hub:
        if not hasattr(trainer, "data_stats"):
            raise ValueError(f"push_to_hub is not for {label}. Train without it, then upload {str(output / MODEL)!r}.")
        trainer.processing_class = tokenizer  # what a push puts beside the model
        trainer.data_stats, trainer.sentence_folder = stats, folder
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
        load_weights(trainer, best_checkpoint(state, checkpoint) if args.load_best_model_at_end else checkpoint)
        history, weights = state["log_history"], None
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
    on_first(trainer.accelerator, lambda: save_finished(trainer.model, tokenizer, output, record, folder, weights))
    if args.push_to_hub:
        trainer.push_to_hub()
    return output / MODEL


def _claim(origin: dict[str, Any], trainer: Trainer) -> tuple[bool, Path | None]:
    """Take the output folder: whether the run is done already, and the checkpoint to go on from."""
    output = Path(trainer.args.output_dir)
    adopt_pushed(output)
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
