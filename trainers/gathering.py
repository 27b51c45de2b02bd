"""Rows of tensors of all processes, in the same order everywhere."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


def gather_rows(accelerator: Any, own: Tensor) -> tuple[Tensor, int]:
    """The rows of all processes, first process first, and where ours begin; they may have different numbers of rows.

    All processes must call. No gradient flows.
    """
    if accelerator.num_processes == 1:
        return own, 0
    counts = accelerator.gather(torch.tensor([len(own)], device=own.device)).tolist()
    padding = own.new_zeros(max(counts) - len(own), *own.shape[1:])
    parts = accelerator.gather(torch.cat([own, padding])).split(max(counts)) if max(counts) else [own] * len(counts)
    rows = torch.cat([part[:count] for part, count in zip(parts, counts, strict=True)])
    return rows, sum(counts[: accelerator.process_index])
