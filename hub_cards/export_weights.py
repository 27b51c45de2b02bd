"""Weights of an export: the tensors of a checkpoint as they are, or cut into files of a size and in another precision.

Tensors are moved, not computed anew, so that the same checkpoint gives the same files each time.
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

DTYPES = ("float32", "bfloat16", "float16")
_PATTERN = "*.safetensors*"
_HEAD = 120  # bytes that a tensor's entry in the head of a file takes at most, besides its name


def find_weights(source: Path) -> list[Path]:
    """Files of weights of a checkpoint, their index among them.

    Raises:
        FileNotFoundError: There are none.
    """
    weights = sorted(source.glob(_PATTERN))
    if not weights:
        raise FileNotFoundError(f"{str(source)!r} has no safetensors weights. Save the model with save_pretrained.")
    return weights


def write_weights(
    weights: list[Path], folder: Path, *, max_shard_size: str | int | None = None, dtype: str | None = None
) -> None:
    """Write the tensors of some files into a folder.

    Args:
        weights: Files of `find_weights`.
        folder: Where they go.
        max_shard_size: Cut into files of at most this size, e.g. "15MB"; None leaves the files as they are.
        dtype: One of `DTYPES`, for floating-point tensors; None leaves them as they are.

    Raises:
        ValueError: The dtype is not known or cannot hold a weight, the size is none, or a tensor is larger.
    """
    if dtype is not None and dtype not in DTYPES:
        raise ValueError(f"dtype must be one of {', '.join(DTYPES)}, got {dtype!r}.")
    if not max_shard_size and dtype is None:
        for path in weights:
            shutil.copyfile(path, folder / path.name)
        return
    from huggingface_hub import save_torch_state_dict
    from safetensors.torch import load_file

    state: dict[str, Any] = {}
    for path in weights:
        if path.suffix == ".safetensors":
            state |= load_file(path)
    if dtype is not None:
        state = {name: _cast(tensor, dtype, name) for name, tensor in state.items()}
    limit = _room(state, max_shard_size) if max_shard_size else sum(map(_size, state.values()))
    # "pt" is what transformers asks for when it loads the files.
    save_torch_state_dict(state, folder, max_shard_size=limit, metadata={"format": "pt"})


def _cast(tensor: Any, dtype: str, name: str) -> Any:
    import torch

    if not tensor.is_floating_point():
        return tensor
    cast = tensor.to(getattr(torch, dtype))
    if not cast.isfinite().all() and tensor.isfinite().all():
        raise ValueError(f"{dtype} cannot hold {name!r}: it has {tensor.abs().max():.3g}. Take bfloat16 or float32.")
    return cast


def _size(tensor: Any) -> int:
    return tensor.numel() * tensor.element_size()


def _room(state: dict[str, Any], size: str | int) -> int:
    """Bytes of tensors that a file of some size has room for beside its head.

    Raises:
        ValueError: It has no room for the largest tensor, since files hold whole tensors.
    """
    limit = parse_bytes(size)
    room = limit - sum(len(name) + _HEAD for name in state)
    largest = max(state, key=lambda name: _size(state[name]), default=None)
    if largest is not None and _size(state[largest]) > room:
        raise ValueError(
            f"no file can be as small as max_shard_size={size}: {largest!r} alone has {_size(state[largest]):,} bytes, "
            "and tensors are not cut. Give more, or store it in fewer bytes with --dtype bfloat16."
        )
    return room


def parse_bytes(size: str | int) -> int:
    """Bytes of a size such as 15MB, of units of a thousand.

    Raises:
        ValueError: It is none.
    """
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([KMGT]?)B?", str(size).strip().upper())
    if not found or not float(found[1]):
        raise ValueError(f"max_shard_size is a size such as 2GB, got {size!r}.")
    return int(float(found[1]) * 1000 ** " KMGT".index(found[2] or " "))
