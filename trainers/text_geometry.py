"""Keeping texts where another model has them among each other: relational distillation.

What is compared is not an embedding but what it is near to, so the model is free to turn the space, and to put codes
into it: relational knowledge distillation (Park et al. 2019, arXiv 1904.05068), here with the softmax over similarities
of SEED (Fang et al. 2021, arXiv 2101.04731), over the texts of the batch instead of a queue.

Shape suffixes: N = texts, B = a block of them, D = embedding width, E = the teacher's.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from .blockwise import at_least_float32, sum_in_blocks


def text_geometry_loss(
    text_ND: Tensor,
    teacher_NE: Tensor,
    *,
    temperature: float = 0.05,
    text_hash_N: Tensor | None = None,
    dims: Sequence[int] = (),
    block: int | None = None,
) -> Tensor:
    """KL(teacher || model) between their softmaxes over each text's cosines with the other texts; the mean over texts.

    0 where the model has the teacher's cosines. A text itself and texts equal to it are left out: their cosine is 1 for
    both, and would take most of the softmax. A text without others has the loss 0.

    Args:
        text_ND: The model's embeddings, any scale.
        teacher_NE: The teacher's of the same texts. No gradient flows.
        temperature: Divides the cosines of both.
        text_hash_N: Equal for equal texts; None: all differ.
        dims: Matryoshka: the losses of the first so many dimensions are added up, each against the teacher's whole
            width: a prefix is to be an embedding by itself, and the teacher's prefixes are none.
        block: Texts whose similarities are in memory at once; None: as many as have a million of them (2**20).

    Raises:
        ValueError: Shapes do not match, or an option is out of range.
    """
    _check_shapes(text_ND, teacher_NE, text_hash_N)
    text_hash_N = torch.arange(len(text_ND)) if text_hash_N is None else text_hash_N
    hash_N = text_hash_N.to(text_ND.device)
    unit_NE = F.normalize(at_least_float32(teacher_NE.detach().to(text_ND.device)), dim=-1)

    def block_losses(similarity_BN: Tensor, first: int) -> Tensor:
        rows = slice(first, first + len(similarity_BN))
        teacher_BN = ((unit_NE[rows] / temperature) @ unit_NE.T).to(similarity_BN)
        return divergences(similarity_BN, teacher_BN, hash_N[rows].unsqueeze(1) != hash_N)

    return sum_in_blocks(text_ND, len(text_ND), temperature, block_losses, dims=dims, block=block) / len(text_ND)


def divergences(similarity_BN: Tensor, teacher_BN: Tensor, other_BN: Tensor) -> Tensor:
    """KL(softmax(teacher) || softmax(similarity)) of each row over the places that `other_BN` (bool) names, shape (B,).

    A row without such places has 0.
    """
    lowest = torch.finfo(similarity_BN.dtype).min / 4  # finite, so that 0 times a difference of two stays 0
    own_BN, theirs_BN = (
        values_BN.masked_fill(~other_BN, lowest).log_softmax(dim=1) for values_BN in (similarity_BN, teacher_BN)
    )
    return F.kl_div(own_BN, theirs_BN, reduction="none", log_target=True).sum(dim=1)


def _check_shapes(text_ND: Tensor, teacher_NE: Tensor, text_hash_N: Tensor | None) -> None:
    if text_ND.dim() != 2 or teacher_NE.dim() != 2 or len(text_ND) != len(teacher_NE) or not len(text_ND):
        raise ValueError(
            f"model and teacher must have the same number of texts, shapes (texts, width), got {tuple(text_ND.shape)} "
            f"and {tuple(teacher_NE.shape)}."
        )
    if text_hash_N is not None and text_hash_N.shape != (len(text_ND),):
        raise ValueError(f"text_hash_N must have the shape ({len(text_ND)},), got {tuple(text_hash_N.shape)}.")
