"""Loading checkpoints: what a wrong or torn one is answered with, instead of a model that is in part random."""

from __future__ import annotations

import errno
import pickle
import re
from collections.abc import Callable, Sequence
from typing import Any

import torch
from safetensors import SafetensorError
from torch import nn

# What tasks add to the encoder: the weights of each head. A new head starts from random weights by design, and
# transformers reports it; half a head is a damaged checkpoint.
_HEADS = (("head.", "lm_head."), ("classifier.",))
_TIED = "lm_head.weight"
_ENCODER = re.compile(r"(^|\.)(embeddings|layers|final_norm)\.")
_HUB_OPTIONS = ("revision", "token", "cache_dir", "local_files_only", "subfolder")


class WrongShapeError(ValueError, RuntimeError):
    """A weight has another shape than the configuration says. transformers' models raise `RuntimeError` for it."""


def check_weights(load: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Load a model by transformers' `from_pretrained`, and refuse one whose encoder did not come from the checkpoint.

    Args:
        load: `from_pretrained` of the model class.
        *args: Its arguments.
        **kwargs: Its arguments.

    Raises:
        ValueError: The file of the weights is damaged, a weight of the encoder is missing, or one has another shape
            than the configuration says (unless `ignore_mismatched_sizes=True`). The first such weight is named. With
            `output_loading_info=True` missing weights are told instead, as by every transformers model.
    """
    with_info = kwargs.pop("output_loading_info", False)
    accept_shapes = kwargs.pop("ignore_mismatched_sizes", False)
    source = repr(str(args[0] if args else kwargs.get("pretrained_model_name_or_path")))
    try:
        model, info = load(*args, **kwargs, output_loading_info=True, ignore_mismatched_sizes=True)
    except (SafetensorError, pickle.UnpicklingError, EOFError) as error:
        raise _damaged(source, error) from error
    except (RuntimeError, OSError) as error:
        # How torch meets the end of a zip file that is not there, by the way it reads.
        if "PytorchStreamReader" in str(error) or getattr(error, "errno", None) == errno.EINVAL:
            raise _damaged(source, error) from error
        raise
    model._hub_options = {name: kwargs[name] for name in _HUB_OPTIONS if name in kwargs}
    base = model.__dict__.pop("_loaded", None)
    _check(model, source, base.to_dict() if base is not None else info, accept_shapes, with_info, kwargs)
    if model.config.model_type != type(model.config).model_type:  # from here on a coderep model like any other
        model.config.model_type, model.config.tokenizer_class = type(model.config).model_type, None
    return (model, info) if with_info else model


def _check(
    model: nn.Module, source: str, info: dict[str, Any], accept_shapes: bool, with_info: bool, options: dict[str, Any]
) -> None:
    names = list(model.state_dict())
    # Who gives the weights, or asks what is missing, judges it.
    missing = _unexcused(set(info["missing_keys"]), names)
    if missing and not with_info and options.get("state_dict") is None:
        name, _ = _as_published(model, missing[0], ())
        raise ValueError(
            f"the checkpoint {source} lacks the weight {name}"
            f"{f' and {len(missing) - 1} more' if len(missing) > 1 else ''} of {type(model).__name__}. "
            f"Is it complete, and of this kind of model?"
        )
    if info["mismatched_keys"] and not accept_shapes:
        first, *shapes = min(info["mismatched_keys"], key=lambda entry: names.index(entry[0]))
        name, (found, expected) = _as_published(model, first, shapes)
        raise WrongShapeError(
            f"the checkpoint {source} has the weight {name} in the shape {found}, but its configuration says "
            f"{expected}. Is config.json the one that belongs to these weights? For a new head of another size, pass "
            f"ignore_mismatched_sizes=True."
        )
    left_over = sorted(name for name in info["unexpected_keys"] if _ENCODER.search(name))
    if left_over and not with_info:
        raise ValueError(
            f"the checkpoint {source} holds the weight {left_over[0]!r}, for which its configuration has no place. "
            f"Is config.json the one that belongs to these weights?"
        )


def _unexcused(missing: set[str], names: list[str]) -> list[str]:
    """Missing weights, in the model's order, but for those of a head of which nothing was there."""
    for prefixes in _HEADS:
        head = {name for name in names if name.startswith(prefixes) and name != _TIED}
        if head <= missing:
            missing = missing - head - {_TIED}
    return [name for name in names if name in missing]


def _damaged(source: str, error: Exception) -> ValueError:
    reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    return ValueError(f"the weights of {source} cannot be read ({reason}). Download or save the checkpoint again.")


def _as_published(model: nn.Module, name: str, shapes: Sequence[Sequence[int]]) -> tuple[str, list[tuple[int, ...]]]:
    """A weight's name, and shapes of it, in the layout that the checkpoint was read from; both names if they differ."""
    from transformers.core_model_loading import revert_weight_conversion

    model._weight_conversions = None  # those that were used; a missing weight is found by all that are known
    reverted = [revert_weight_conversion(model, {name: torch.empty(*shape)}) for shape in [*shapes, (1, 1)]]
    original = next(iter(reverted[-1]))
    label = repr(name) if original == name else f"{original!r} (here {name!r})"
    return label, [tuple(weight.shape) for weights in reverted[:-1] for weight in weights.values()]


__all__ = ["WrongShapeError", "check_weights"]
