"""The stage-2 losses (section 3.2, equations 2 and 3 of arXiv 2402.01935).

Shape suffixes: N = pairs, D = embedding width, K = extra negatives, M = 2N + K items: the texts, the codes, the extra
negatives. Anchors are the first 2N items; B = a block of them.
Similarities are cosines in [-1, 1]; `temperature` divides them before the softmax. They are computed in float32, or in
the embeddings' own type where that is wider, whatever the autocast, and a block at a time: see `blockwise`.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from .anchor_losses import WeightNorm, anchor_losses, negatives_mask
from .blockwise import sum_in_blocks


def bimodal_contrastive_loss(
    text_ND: Tensor,
    code_ND: Tensor,
    *,
    temperature: float = 0.05,
    hard_negatives: bool = True,
    weight_norm: WeightNorm = "mean",
    detach_weights: bool = False,
    text_hash_N: Tensor | None = None,
    code_hash_N: Tensor | None = None,
    negative_KD: Tensor | None = None,
    negative_hash_K: Tensor | None = None,
    dims: Sequence[int] = (),
    block: int | None = None,
) -> Tensor:
    """Symmetric contrastive loss with the 2N - 2 negatives of both modalities, averaged over the 2N anchors.

    Args:
        text_ND: Text embeddings, any scale.
        code_ND: Code embeddings of the same pairs.
        temperature: Divides cosines.
        hard_negatives: Weight each negative by its softmax share among the negatives; off gives InfoNCE over 2N - 2.
        weight_norm: Whether the weights have mean 1 or sum 1; see `anchor_losses`.
        detach_weights: Keep gradients from flowing through the weights.
        text_hash_N: Equal for equal texts, so that duplicates are not negatives; None masks nothing.
        code_hash_N: The same for codes.
        negative_KD: Further items that are negatives of all 2N anchors and never anchors.
        negative_hash_K: Their hashes, comparable with `code_hash_N`; None masks nothing.
        dims: Matryoshka: the losses of the first so many dimensions, each prefix normalised anew, are added up, all
            with weight 1 (equation 1 of arXiv 2205.13147 with its c_m = 1). Name the whole width too, as there.
            Empty: the whole width alone.
        block: Anchors whose similarities are in memory at once; None: as many as have a million of them (2**20).

    Raises:
        ValueError: Shapes do not match, there is nothing to contrast, or an option is out of range.
    """
    negative_KD = text_ND[:0] if negative_KD is None else negative_KD
    _check_shapes(text_ND, code_ND, negative_KD, text_hash_N, code_hash_N, negative_hash_K)
    if weight_norm not in ("mean", "sum"):
        raise ValueError(f"weight_norm must be 'mean' or 'sum', got {weight_norm!r}.")
    n_pairs, n_negatives = len(text_ND), len(negative_KD)
    items_MD = torch.cat([text_ND, code_ND, negative_KD.to(text_ND)])
    hashes = [None if h is None else h.to(items_MD.device) for h in (text_hash_N, code_hash_N, negative_hash_K)]

    def block_losses(similarity_BM: Tensor, first: int) -> Tensor:
        last = first + len(similarity_BM)
        partner_B = (torch.arange(first, last, device=items_MD.device) + n_pairs) % (2 * n_pairs)
        return anchor_losses(
            similarity_BM,
            similarity_BM.gather(1, partner_B.unsqueeze(1)).squeeze(1),
            negatives_mask(first, last, n_pairs, *hashes, n_negatives, items_MD.device),
            hard_negatives=hard_negatives,
            weight_norm=weight_norm,
            detach_weights=detach_weights,
        )

    n_anchors = 2 * n_pairs
    return sum_in_blocks(items_MD, n_anchors, temperature, block_losses, dims=dims, block=block) / n_anchors


def unimodal_contrastive_loss(
    first_ND: Tensor,
    second_ND: Tensor,
    *,
    temperature: float = 0.05,
    hash_N: Tensor | None = None,
    dims: Sequence[int] = (),
    block: int | None = None,
) -> Tensor:
    """The paper's baseline: two views of the same items, encoded with different dropout masks, are the pair.

    InfoNCE over the 2N - 2 other views, in both directions, as in the same authors' earlier code for dropout views
    (`ContrastiveLoss` of VaSCL in amazon-science/sentence-representations). SimCSE, whom the paper cites for the idea,
    has the N - 1 second views of others as negatives, and the first views as anchors.

    Args:
        first_ND: Embeddings of the items.
        second_ND: Embeddings of the same items with another dropout mask.
        temperature: Divides cosines.
        hash_N: Equal for equal items, so that duplicates are not negatives; None masks nothing.
        dims: As for `bimodal_contrastive_loss`.
        block: As for `bimodal_contrastive_loss`.

    Raises:
        ValueError: As for `bimodal_contrastive_loss`.
    """
    return bimodal_contrastive_loss(
        first_ND,
        second_ND,
        temperature=temperature,
        hard_negatives=False,
        text_hash_N=hash_N,
        dims=dims,
        block=block,
    )


def _check_shapes(text_ND: Tensor, code_ND: Tensor, negative_KD: Tensor, *hashes: Tensor | None) -> None:
    if text_ND.dim() != 2 or text_ND.shape != code_ND.shape:
        raise ValueError(
            f"the two sides must have the same shape (pairs, width), got {tuple(text_ND.shape)} and "
            f"{tuple(code_ND.shape)}."
        )
    n_pairs, width = text_ND.shape
    if negative_KD.dim() != 2 or negative_KD.shape[1] != width:
        raise ValueError(f"negative_KD must have the shape (negatives, {width}), got {tuple(negative_KD.shape)}.")
    if n_pairs < 1 or n_pairs + len(negative_KD) < 2:
        raise ValueError(f"a contrastive batch needs at least 2 pairs, got {n_pairs}. Raise the batch size.")
    names, sizes = ("text_hash_N", "code_hash_N", "negative_hash_K"), (n_pairs, n_pairs, len(negative_KD))
    for name, hash_, size in zip(names, hashes, sizes, strict=True):
        if hash_ is not None and hash_.shape != (size,):
            raise ValueError(f"{name} must have the shape ({size},), got {tuple(hash_.shape)}.")
    if hashes[2] is not None and hashes[1] is None:
        raise ValueError("negative_hash_K is compared with code_hash_N, which is missing. Give both or neither.")
