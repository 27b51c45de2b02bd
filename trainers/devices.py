"""Where a model runs."""

from __future__ import annotations

import torch
from torch import nn


def place(model: nn.Module, device: str | None = None) -> nn.Module:
    """The model, moved to a device; None: an accelerator if there is one, as libraries choose.

    Raises:
        ValueError: There is no such device.
    """
    found = device or (torch.accelerator.current_accelerator() if torch.accelerator.is_available() else "cpu")
    try:
        return model.to(torch.device(found))
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(f"device {str(found)!r} cannot be used ({reason}). Name another, such as cpu.") from error
