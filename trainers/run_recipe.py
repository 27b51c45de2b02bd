"""What of its arguments a run leaves in its record, and what of them it must go on with."""

from __future__ import annotations

from dataclasses import MISSING, fields
from typing import Any

from transformers import Trainer

from .arguments import StageArguments

# Arguments, by the beginning of their names, that a run may go on with changed. Workers deal out streamed rows.
HARMLESS = ("logging_", "log_", "save_", "eval_", "report_to", "run_name", "project", "ddp_", "fsdp", "use_cpu", "hub_")
HARMLESS += ("dataloader_num_workers", "dataloader_p", "do_eval", "push_to_hub")
LAYOUT = ("per_device_train_batch_size", "gradient_accumulation_steps")


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
