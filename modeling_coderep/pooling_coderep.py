"""Pooling: from the states of a document's tokens to one embedding.

Shape suffixes: B = documents, T = tokens, D = hidden units. A mask is 1 at real tokens, 0 at padding.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


def _without_padding(hidden_BTD: Tensor, mask_BT: Tensor) -> Tensor:
    # Padding may hold NaN (an attention row with nothing to attend to), and NaN * 0 is NaN.
    return hidden_BTD.masked_fill(~mask_BT.bool().unsqueeze(-1), 0.0)


def _at_least_float32(dtype: torch.dtype) -> torch.dtype:
    return torch.promote_types(dtype, torch.float32)


def mean_pool(hidden_BTD: Tensor, mask_BT: Tensor) -> Tensor:
    """Average over real tokens, giving pooled_BD, summed in float32. A row without real tokens gives zeros."""
    count_B1 = mask_BT.sum(dim=1, keepdim=True).clamp(min=1)
    total_BD = _without_padding(hidden_BTD, mask_BT).sum(dim=1, dtype=_at_least_float32(hidden_BTD.dtype))
    return (total_BD / count_B1).to(hidden_BTD.dtype)


def cls_pool(hidden_BTD: Tensor, mask_BT: Tensor) -> Tensor:
    """State of the first real token, giving pooled_BD. A row without real tokens gives zeros."""
    first_B11 = mask_BT.bool().int().argmax(dim=1).view(-1, 1, 1)
    hidden_BTD = _without_padding(hidden_BTD, mask_BT)
    return hidden_BTD.gather(1, first_B11.expand(-1, 1, hidden_BTD.shape[-1])).squeeze(1)


def last_pool(hidden_BTD: Tensor, mask_BT: Tensor) -> Tensor:
    """State of the last real token (EOS), giving pooled_BD. A row without real tokens gives zeros."""
    return cls_pool(hidden_BTD.flip(1), mask_BT.flip(1))


POOLERS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "mean": mean_pool,
    "cls": cls_pool,
    "last": last_pool,
}


def pool_documents(hidden_ND: Tensor, lengths: list[int], pooling: str) -> Tensor:
    """One embedding for each of the documents that follow one another in `hidden_ND`, giving (documents, D)."""
    return torch.cat(
        [POOLERS[pooling](states.unsqueeze(0), states.new_ones(1, len(states))) for states in hidden_ND.split(lengths)]
    )
