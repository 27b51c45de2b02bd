"""Checkpoints move between runs that shard the model (FSDP2) and runs that do not.

Both hold the whole model and the whole state of the optimizer; FSDP2's name each weight, the others number them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from transformers import Trainer

from data_collators.files import new_file

FULL, WEIGHTS = "FULL_STATE_DICT", "model.safetensors"
# Names that transformers and accelerate give.
SHARDED_MODEL, SHARDED_OPTIMIZER, OPTIMIZER = "pytorch_model_fsdp.bin", "optimizer.bin", "optimizer.pt"


def check_sharding(trainer: Trainer) -> None:
    """Refuse a kind of FSDP checkpoint that other runs could not read.

    Raises:
        ValueError: The checkpoints of FSDP would be shards.
    """
    kind = getattr(trainer.accelerator.state.fsdp_plugin, "state_dict_type", None) if trainer.is_fsdp_enabled else None
    if kind is not None and FULL not in str(kind):
        raise ValueError(
            f"fsdp_state_dict_type must be {FULL}, so that checkpoints hold the whole model; got {kind.name}. "
            "Change it in accelerate's config file."
        )


def optimizer_names(trainer: Trainer) -> list[list[str]]:
    """Names of the weights in each group of the optimizer that transformers makes, in its order."""
    decayed = set(trainer.get_decay_parameter_names(trainer.model))
    names = [name for name, weight in trainer.model.named_parameters() if weight.requires_grad]
    return [[name for name in names if name in decayed], [name for name in names if name not in decayed]]


def fit_checkpoint(checkpoint: Path, trainer: Trainer) -> None:
    """Let a run with FSDP go on from a checkpoint without, and the other way round; else nothing is done."""
    sharded = (checkpoint / SHARDED_MODEL).is_file()
    if sharded == trainer.is_fsdp_enabled:
        return
    if sharded:
        state = torch.load(checkpoint / SHARDED_OPTIMIZER, map_location="cpu", weights_only=True)
        _save(number(state), checkpoint / OPTIMIZER)
        # transformers refuses a checkpoint with this file unless FSDP is on; the weights stand beside it.
        (checkpoint / SHARDED_MODEL).unlink()
        return
    state = torch.load(checkpoint / OPTIMIZER, map_location="cpu", weights_only=True)
    _save(name_weights(state, optimizer_names(trainer)), checkpoint / SHARDED_OPTIMIZER)
    model = type(trainer.model).from_pretrained(checkpoint)
    _save(model.state_dict(), checkpoint / SHARDED_MODEL)


def number(state: dict[str, Any]) -> dict[str, Any]:
    """The state of an optimizer whose weights have names, with their numbers instead: groups end to end."""
    places = {name: place for place, name in enumerate(n for group in state["param_groups"] for n in group["params"])}
    groups = [{**group, "params": [places[name] for name in group["params"]]} for group in state["param_groups"]]
    return {"state": {places[name]: value for name, value in state["state"].items()}, "param_groups": groups}


def name_weights(state: dict[str, Any], names: list[list[str]]) -> dict[str, Any]:
    """The inverse of `number`.

    Raises:
        ValueError: The groups hold another number of weights.
    """
    sizes = [len(group["params"]) for group in state["param_groups"]]
    if sizes != [len(group) for group in names]:
        raise ValueError(
            f"the checkpoint's optimizer has groups of {sizes} weights, this model of {[len(g) for g in names]}. "
            "Start a new run with --model."
        )
    by_number = {
        number: name
        for group, own in zip(state["param_groups"], names, strict=True)
        for number, name in zip(group["params"], own, strict=True)
    }
    groups = [{**group, "params": list(own)} for group, own in zip(state["param_groups"], names, strict=True)]
    return {"state": {by_number[number]: value for number, value in state["state"].items()}, "param_groups": groups}


def _save(values: dict[str, Any], path: Path) -> None:
    with new_file(path) as partial:
        torch.save(values, partial)
