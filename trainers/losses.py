"""The stage-2 losses (section 3.2, equations 2 and 3 of arXiv 2402.01935).

Shape suffixes: N = pairs, D = embedding width, K = extra negatives, M = 2N + K items: the texts, the codes, the extra
negatives. Anchors are the first 2N items; B = a block of them, H = distinct codes.
Similarities are cosines in [-1, 1]; `temperature` divides them before the softmax. They are computed in float32, or in
the embeddings' own type where that is wider, whatever the autocast.

Memory: the similarities of one block of anchors, (block x M). The forward pass takes each block's gradient at once, the
backward pass only scales what is there: nothing is computed twice, and no similarity outlives its block.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

WeightNorm = Literal["mean", "sum"]
# Similarities in a block unless told otherwise: 512 pairs are one block, 8,192 pairs blocks of 64 anchors.
BLOCK_SIMILARITIES = 2**20


def negatives_mask(
    first: int,
    last: int,
    n_pairs: int,
    text_hash_N: Tensor | None = None,
    code_hash_N: Tensor | None = None,
    negative_hash_K: Tensor | None = None,
    n_negatives: int = 0,
    device: torch.device | str = "cpu",
) -> Tensor:
    """Which items are negatives of the anchors `first` to `last` (exclusive), mask_BM (bool).

    All of both modalities but the pair itself. Pairs whose texts or whose codes have equal hashes are not negatives of
    each other. An extra negative is none where its hash is that of the anchor's code, or of the code of such a pair.
    """
    pair_N = torch.arange(n_pairs, device=device)
    pair_B = torch.arange(first, last, device=device) % n_pairs
    same_BN = pair_B.unsqueeze(1) == pair_N
    for hash_N in (text_hash_N, code_hash_N):
        if hash_N is not None:
            same_BN |= hash_N[pair_B].unsqueeze(1) == hash_N
    same_BK = same_BN.new_zeros(len(pair_B), n_negatives)
    if n_negatives and negative_hash_K is not None and code_hash_N is not None:
        codes_H, code_L = torch.unique(torch.cat([code_hash_N, negative_hash_K]), return_inverse=True)
        code_N, code_K = code_L.split([n_pairs, n_negatives])
        # Counted: which codes stand in pairs that are no negatives of an anchor. By rows, which is faster.
        counts_HB = torch.zeros(len(codes_H), len(pair_B), device=device).index_add_(0, code_N, same_BN.T.float())
        same_BK = counts_HB[code_K].T > 0
    return ~torch.cat([same_BN, same_BN, same_BK], dim=1)


def anchor_losses(
    similarity_BM: Tensor,
    positive_B: Tensor,
    negative_BM: Tensor,
    *,
    hard_negatives: bool = True,
    weight_norm: WeightNorm = "mean",
    detach_weights: bool = False,
) -> Tensor:
    """-log(p / (p + n)) of each anchor, losses_B; p = exp(positive), n = the weighted sum over the negatives.

    The weights are the softmax over the negatives. Literally (eq. 3) they sum to 1: "sum". In the same authors' earlier
    code (`HardConLoss` of amazon-science/sentence-representations) their mean is 1: "mean". An anchor without
    negatives has the loss 0.
    """
    # Halved, so that it stays finite when doubled below.
    lowest = torch.finfo(similarity_BM.dtype).min / 4
    # Less the positive, so that a small loss is not the difference of two large numbers.
    margin_BM = (similarity_BM - positive_B.unsqueeze(1)).masked_fill(~negative_BM, lowest)
    if not hard_negatives:
        return F.softplus(margin_BM.logsumexp(dim=1))
    weighing_BM = margin_BM.detach() if detach_weights else margin_BM
    # sum_k softmax(m)_k exp(m_k) = sum_k exp(2 m_k) / sum_k exp(m_k)
    log_negatives_B = (margin_BM + weighing_BM).logsumexp(dim=1) - weighing_BM.logsumexp(dim=1)
    if weight_norm == "mean":
        n_negatives_B = negative_BM.sum(dim=1, dtype=torch.int32)  # int64 takes nine times as long
        log_negatives_B = log_negatives_B + n_negatives_B.clamp(min=1).to(margin_BM).log()
    return F.softplus(log_negatives_B)


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
    _check_options(temperature, weight_norm, dims, text_ND.shape[1], block)
    n_pairs, n_negatives = len(text_ND), len(negative_KD)
    items_MD = torch.cat([text_ND, code_ND, negative_KD.to(text_ND)])
    items_MD = items_MD.to(torch.promote_types(items_MD.dtype, torch.float32))
    hashes = [None if h is None else h.to(items_MD.device) for h in (text_hash_N, code_hash_N, negative_hash_K)]

    def block_losses(similarity_BM: Tensor, positive_B: Tensor, first: int) -> Tensor:
        last = first + len(positive_B)
        mask_BM = negatives_mask(first, last, n_pairs, *hashes, n_negatives, items_MD.device)
        return anchor_losses(
            similarity_BM,
            positive_B,
            mask_BM,
            hard_negatives=hard_negatives,
            weight_norm=weight_norm,
            detach_weights=detach_weights,
        )

    block = block or max(1, BLOCK_SIMILARITIES // len(items_MD))
    units = [F.normalize(items_MD[:, :width], dim=-1) for width in dims or [items_MD.shape[1]]]
    losses = [SumInBlocks.apply(unit_MD, n_pairs, temperature, block, block_losses) for unit_MD in units]
    return sum(losses) / (2 * n_pairs)


class SumInBlocks(torch.autograd.Function):
    """The sum of `block_losses(similarity_BM, positive_B, first)` over blocks of anchors, the first 2N of M items.

    Forward holds the graph of one block at a time; the gradients that it takes are added up in one tensor.
    """

    @staticmethod
    def forward(
        ctx: Any,
        unit_MD: Tensor,
        n_pairs: int,
        temperature: float,
        block: int,
        block_losses: Callable[[Tensor, Tensor, int], Tensor],
    ) -> Tensor:
        """The sum, and where it is needed the gradient."""
        total, gradient_MD = unit_MD.new_zeros(()), None
        wanted = ctx.needs_input_grad[0]
        if wanted:
            gradient_MD = torch.zeros_like(unit_MD)
        # Autocast off: bf16 would round cosines by a percent, and the gradient's products, which run in here.
        with torch.autocast(unit_MD.device.type, enabled=False):
            for first in range(0, 2 * n_pairs, block):
                anchor_B = torch.arange(first, min(first + block, 2 * n_pairs), device=unit_MD.device)
                partner_B = (anchor_B + n_pairs) % (2 * n_pairs)
                scaled_BD, partner_BD = unit_MD[anchor_B] / temperature, unit_MD[partner_B]
                similarities = scaled_BD @ unit_MD.T, (scaled_BD * partner_BD).sum(dim=1)
                with torch.set_grad_enabled(wanted):
                    similarities = [values.requires_grad_(wanted) for values in similarities]
                    loss = block_losses(*similarities, first).sum()
                total += loss.detach()
                if wanted:
                    by_similarity_BM, by_positive_B = torch.autograd.grad(loss, similarities)
                    by_positive_B1 = by_positive_B.unsqueeze(1)
                    by_anchor_BD = (by_similarity_BM @ unit_MD + by_positive_B1 * partner_BD) / temperature
                    gradient_MD.addmm_(by_similarity_BM.T, scaled_BD)
                    gradient_MD.index_add_(0, anchor_B, by_anchor_BD)
                    gradient_MD.index_add_(0, partner_B, by_positive_B1 * scaled_BD)
        ctx.save_for_backward(gradient_MD)
        return total

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        """The gradient that is there, scaled."""
        return gradient * ctx.saved_tensors[0], None, None, None, None


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


def _check_options(temperature: float, weight_norm: str, dims: Sequence[int], width: int, block: int | None) -> None:
    if temperature <= 0:
        raise ValueError(f"temperature must be positive, got {temperature}.")
    if weight_norm not in ("mean", "sum"):
        raise ValueError(f"weight_norm must be 'mean' or 'sum', got {weight_norm!r}.")
    if any(not 1 <= dim <= width for dim in dims) or len(set(dims)) < len(dims):
        raise ValueError(f"dims must be different widths in [1, {width}], got {list(dims)}.")
    if block is not None and block < 1:
        raise ValueError(f"block must be at least 1, got {block}.")
