"""The stage-2 loss (section 3.2, equations 2 and 3 of arXiv 2402.01935).

Shape suffixes: N = pairs, D = embedding width, M = 2N items: the texts, then the codes.
Similarities are cosines in [-1, 1]; `temperature` divides them before the softmax.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

WeightNorm = Literal["mean", "sum"]


def negatives_mask(n_pairs: int, text_hash_N: Tensor | None = None, code_hash_N: Tensor | None = None) -> Tensor:
    """Which items are negatives of which anchor, mask_MM (bool): all of both modalities but the pair itself.

    Pairs whose texts or whose codes have equal hashes are not negatives of each other.
    """
    same_NN = torch.eye(n_pairs, dtype=torch.bool)
    for hash_N in (text_hash_N, code_hash_N):
        if hash_N is not None:
            same_NN = same_NN.to(hash_N.device) | (hash_N.unsqueeze(0) == hash_N.unsqueeze(1))
    return ~same_NN.repeat(2, 2)


def weighted_negatives(similarity_MM: Tensor, negative_MM: Tensor, weight_norm: WeightNorm, detach: bool) -> Tensor:
    """Log of the weighted sum of exponentials of each anchor's negatives, logsum_M.

    The weights are the softmax over the negatives. Literally (eq. 3) they sum to 1: "sum". In the same authors' earlier
    code their mean is 1: "mean". An anchor without negatives gets the lowest finite number.
    """
    lowest = torch.finfo(similarity_MM.dtype).min
    masked_MM = similarity_MM.masked_fill(~negative_MM, lowest)
    log_weights_MM = masked_MM.log_softmax(dim=1)
    if weight_norm == "mean":
        log_weights_MM = log_weights_MM + negative_MM.sum(dim=1, keepdim=True).clamp(min=1).log()
    if detach:
        log_weights_MM = log_weights_MM.detach()
    weighted_MM = (similarity_MM + log_weights_MM).masked_fill(~negative_MM, lowest)
    return weighted_MM.logsumexp(dim=1)


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
) -> Tensor:
    """Symmetric contrastive loss with the 2N - 2 negatives of both modalities, averaged over the 2N anchors.

    Args:
        text_ND: Text embeddings, any scale.
        code_ND: Code embeddings of the same pairs.
        temperature: Divides cosines.
        hard_negatives: Weight each negative by its softmax share among the negatives; off gives InfoNCE over 2N - 2.
        weight_norm: Whether the weights have mean 1 or sum 1; see `weighted_negatives`.
        detach_weights: Keep gradients from flowing through the weights.
        text_hash_N: Equal for equal texts, so that duplicates are not negatives; None masks nothing.
        code_hash_N: The same for codes.

    Raises:
        ValueError: The sides differ in shape, there are fewer than two pairs, or an option is out of range.
    """
    if text_ND.shape != code_ND.shape:
        raise ValueError(f"texts {tuple(text_ND.shape)} and codes {tuple(code_ND.shape)} must have the same shape.")
    n_pairs = text_ND.shape[0]
    if n_pairs < 2:
        raise ValueError(f"a contrastive batch needs at least 2 pairs, got {n_pairs}. Raise the batch size.")
    if temperature <= 0:
        raise ValueError(f"temperature must be positive, got {temperature}.")
    if weight_norm not in ("mean", "sum"):
        raise ValueError(f"weight_norm must be 'mean' or 'sum', got {weight_norm!r}.")
    items_MD = F.normalize(torch.cat([text_ND, code_ND]).float(), dim=-1)
    with torch.autocast(items_MD.device.type, enabled=False):  # bf16 would round cosines by a percent
        similarity_MM = items_MD @ items_MD.T / temperature
    negative_MM = negatives_mask(n_pairs, text_hash_N, code_hash_N).to(items_MD.device)
    positive_M = similarity_MM.diagonal(n_pairs).repeat(2)
    if hard_negatives:
        negatives_M = weighted_negatives(similarity_MM, negative_MM, weight_norm, detach_weights)
    else:
        lowest = torch.finfo(similarity_MM.dtype).min
        negatives_M = similarity_MM.masked_fill(~negative_MM, lowest).logsumexp(dim=1)
    return (torch.logaddexp(positive_M, negatives_M) - positive_M).mean()
