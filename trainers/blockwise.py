"""Sums over a square of similarities, a block of its rows at a time.

Shape suffixes: M = items, A = anchors, the first of the items, B = a block of anchors, D = embedding width.

Memory: the similarities of one block of anchors, (block x M). The forward pass takes each block's gradient at once, the
backward pass only scales what is there: nothing is computed twice, and no similarity outlives its block.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

# Similarities in a block unless told otherwise: 512 pairs are one block, 8,192 pairs blocks of 64 anchors.
BLOCK_SIMILARITIES = 2**20


def sum_in_blocks(
    items_MD: Tensor,
    n_anchors: int,
    temperature: float,
    block_losses: Callable[[Tensor, int], Tensor],
    *,
    dims: Sequence[int] = (),
    block: int | None = None,
) -> Tensor:
    """The sum of losses of all anchors, added up over prefixes of the width.

    Args:
        items_MD: Embeddings, any scale. Cosines are computed in float32, or in their own type where that is wider.
        n_anchors: How many of them are anchors.
        temperature: Divides cosines.
        block_losses: From the similarities_BM of some anchors with all items, and the number of the first of these
            anchors, to their losses_B.
        dims: Widths of the prefixes, each normalised anew; empty: the whole width alone.
        block: Anchors whose similarities are in memory at once; None: as many as have a million of them (2**20).

    Raises:
        ValueError: An option is out of range.
    """
    width = items_MD.shape[1]
    if temperature <= 0:
        raise ValueError(f"temperature must be positive, got {temperature}.")
    if any(not 1 <= dim <= width for dim in dims) or len(set(dims)) < len(dims):
        raise ValueError(f"dims must be different widths in [1, {width}], got {list(dims)}.")
    if block is not None and block < 1:
        raise ValueError(f"block must be at least 1, got {block}.")
    items_MD = at_least_float32(items_MD)
    block = block or max(1, BLOCK_SIMILARITIES // max(1, len(items_MD)))
    units = [F.normalize(items_MD[:, :dim], dim=-1) for dim in dims or [width]]
    return sum(SumInBlocks.apply(unit_MD, n_anchors, temperature, block, block_losses) for unit_MD in units)


def at_least_float32(values: Tensor) -> Tensor:
    """The same numbers in float32, or as they are where that is wider."""
    return values.to(torch.promote_types(values.dtype, torch.float32))


class SumInBlocks(torch.autograd.Function):
    """The sum of `block_losses(similarity_BM, first)` over blocks of anchors, the first of M items of length 1.

    Forward holds the graph of one block at a time; the gradients that it takes are added up in one tensor.
    """

    @staticmethod
    def forward(
        ctx: Any,
        unit_MD: Tensor,
        n_anchors: int,
        temperature: float,
        block: int,
        block_losses: Callable[[Tensor, int], Tensor],
    ) -> Tensor:
        """The sum, and where it is needed the gradient."""
        total, gradient_MD = unit_MD.new_zeros(()), None
        wanted = ctx.needs_input_grad[0]
        if wanted:
            gradient_MD = torch.zeros_like(unit_MD)
        # Autocast off: bf16 would round cosines by a percent, and the gradient's products, which run in here.
        with torch.autocast(unit_MD.device.type, enabled=False):
            for first in range(0, n_anchors, block):
                rows = slice(first, min(first + block, n_anchors))
                scaled_BD = unit_MD[rows] / temperature
                similarity_BM = scaled_BD @ unit_MD.T
                with torch.set_grad_enabled(wanted):
                    loss = block_losses(similarity_BM.requires_grad_(wanted), first).sum()
                total += loss.detach()
                if wanted:
                    (by_similarity_BM,) = torch.autograd.grad(loss, similarity_BM)
                    gradient_MD[rows] += by_similarity_BM @ unit_MD / temperature
                    gradient_MD.addmm_(by_similarity_BM.T, scaled_BD)
        ctx.save_for_backward(gradient_MD)
        return total

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        """The gradient that is there, scaled."""
        return gradient * ctx.saved_tensors[0], None, None, None, None
