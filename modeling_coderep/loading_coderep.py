"""Loading checkpoints: what a wrong or torn one is answered with, instead of a model that is in part random."""

from __future__ import annotations

import errno
import pickle
from collections.abc import Callable
from typing import Any

from safetensors import SafetensorError
from torch import nn

# What a task adds to the encoder. A new head starts from random weights by design, and transformers reports it.
_HEADS = ("head.", "lm_head.", "classifier.")


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
    order = {name: position for position, name in enumerate(model.state_dict())}
    missing = [name for name in info["missing_keys"] if not name.startswith(_HEADS)]
    # Who gives the weights, or asks what is missing, judges it.
    if missing and not with_info and kwargs.get("state_dict") is None:
        first = min(missing, key=lambda name: order.get(name, -1))
        raise ValueError(
            f"the checkpoint {source} lacks the weight {_name(model, first)}"
            f"{f' and {len(missing) - 1} more' if len(missing) > 1 else ''} of {type(model).__name__}. "
            f"Is it complete, and of this kind of model?"
        )
    if info["mismatched_keys"] and not accept_shapes:
        first, found, expected = min(info["mismatched_keys"], key=lambda entry: order.get(entry[0], -1))
        raise WrongShapeError(
            f"the checkpoint {source} has the weight {_name(model, first)} in the shape {tuple(found)}, but its "
            f"configuration says {tuple(expected)}. Is config.json the one that belongs to these weights? For a new "
            f"head of another size, pass ignore_mismatched_sizes=True."
        )
    _forget_origin(model)
    return (model, info) if with_info else model


def _damaged(source: str, error: Exception) -> ValueError:
    reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    return ValueError(f"the weights of {source} cannot be read ({reason}). Download or save the checkpoint again.")


def _name(model: nn.Module, name: str) -> str:
    """A weight's name in the model and, if that differs, in the layout that the checkpoint was read from."""
    from transformers.core_model_loading import revert_weight_conversion

    model._weight_conversions = None  # those that were used; a missing weight is found by all that are known
    original = next(iter(revert_weight_conversion(model, {name: model.state_dict()[name]})))
    return repr(name) if original == name else f"{original!r} (here {name!r})"


def _forget_origin(model: nn.Module) -> None:
    """A model read from another layout is a coderep model from here on."""
    model.config.model_type = type(model.config).model_type


__all__ = ["WrongShapeError", "check_weights"]
