"""LoRA (arXiv 2106.09685): low-rank matrices beside a model's frozen linear layers are trained in its place.

The adapter is saved as peft saves it, and besides it the model with the adapter added to its weights, which everything
else reads without knowing of either.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import nn

from data_collators.files import new_folder

from .arguments import TaskArguments

ADAPTER, AUTO = "adapter", "auto"
_CONFIG, _NAME = "adapter_config.json", "default"
_LAYER = re.compile(r"\.\d+\.")  # a place in a list of equal layers


def linear_names(model: nn.Module) -> list[str]:
    """Names of the linear layers of attention and feed-forward networks: those in lists of equal layers."""
    return [name for name, module in model.named_modules() if isinstance(module, nn.Linear) and _LAYER.search(name)]


def auto_targets(model: nn.Module) -> list[str]:
    """What those names end in behind the number of the layer, or the names where that would be ambiguous.

    Raises:
        ValueError: The model has none.
    """
    names = linear_names(model)
    if not names:
        raise ValueError(f"{type(model).__name__} has no linear layers that repeat. Name some with --lora_targets.")
    ends = sorted({_LAYER.split(name)[-1] for name in names})
    return ends if matched(model, ends) == names else names


def matched(model: nn.Module, targets: Sequence[str]) -> list[str]:
    """Names of the linear layers that end in one of the targets, as peft reads them."""
    linear = [name for name, module in model.named_modules() if isinstance(module, nn.Linear)]
    return [name for name in linear if any(name == end or name.endswith(f".{end}") for end in targets)]


def add_lora(model: nn.Module, args: TaskArguments, heads: Sequence[str] = ()) -> nn.Module:
    """The model with new adapters, its own weights frozen; the `heads` are trained whole.

    Args:
        model: Changed in place.
        args: `lora_rank`, `lora_alpha` (None: twice the rank), `lora_dropout` and `lora_targets`.
        heads: Names of modules, which are saved with the adapter.

    Raises:
        ValueError: An option is out of range, or a target is no linear layer of the model.
        ImportError: peft is not installed.
    """
    config = _config(model, args, heads)
    from peft import get_peft_model

    # By that name peft would look, at each save, whether the vocabulary was resized: in the checkpoint's configuration,
    # which for CodeSage's is in a layout of its own. And adapters should not name a folder of this machine.
    model.name_or_path = ""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # peft asks transformers by a name that has become another
        model = get_peft_model(model, config)
    if args.gradient_checkpointing:
        model.enable_input_require_grads()  # else nothing that is computed anew would need a gradient
    return model


def _config(model: nn.Module, args: TaskArguments, heads: Sequence[str]) -> Any:
    for name, good, rule in (
        ("lora_rank", (args.lora_rank or 0) >= 1, "at least 1"),
        ("lora_alpha", args.lora_alpha is None or args.lora_alpha > 0, "above 0"),
        ("lora_dropout", 0 <= args.lora_dropout < 1, "in [0, 1)"),
    ):
        if not good:
            raise ValueError(f"{name} must be {rule}, got {getattr(args, name)}.")
    targets = auto_targets(model) if args.lora_targets in (AUTO, [AUTO]) else args.lora_targets
    targets = targets.split(",") if isinstance(targets, str) else targets
    missing = [target for target in targets if not matched(model, [target])]
    if missing:
        known = ", ".join(auto_targets(model))
        raise ValueError(
            f"lora_targets: {type(model).__name__} has no linear layer {missing[0]!r}. "
            f"Leave it at {AUTO!r}, which takes {known}."
        )
    try:
        from peft import LoraConfig
    except ImportError as error:
        raise ImportError("LoRA needs peft: pip install peft") from error
    return LoraConfig(
        r=args.lora_rank,
        lora_alpha=args.lora_alpha or 2 * args.lora_rank,
        lora_dropout=args.lora_dropout,
        target_modules=list(targets),
        modules_to_save=list(heads) or None,
    )


def is_adapted(model: nn.Module) -> bool:
    """Whether the model carries adapters."""
    return hasattr(model, "peft_config") and hasattr(model, "merge_and_unload")


def load_adapter(model: nn.Module, folder: str | Path) -> None:
    """Give the model's adapters the weights that are saved in a folder."""
    model.load_adapter(str(folder), _NAME, is_trainable=True)


def save_adapter(model: nn.Module, folder: str | Path) -> None:
    """Write the adapters, whole or not at all; `peft.PeftModel.from_pretrained(model, folder)` reads them."""
    with new_folder(folder, _CONFIG, overwrite=True) as partial:
        model.save_pretrained(partial)
        (partial / "README.md").unlink(missing_ok=True)  # a form that nobody has filled in


def merged(model: nn.Module) -> nn.Module:
    """The model without adapters, what they have learnt added to its weights; it is changed in place."""
    return model.merge_and_unload()
