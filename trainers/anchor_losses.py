"""Negatives of an anchor, and its loss against them (equations 2 and 3 of arXiv 2402.01935).

Shape suffixes: N = pairs, K = extra negatives, M = 2N + K items: the texts, the codes, the extra negatives. Anchors are
the first 2N items; B = a block of them, H = distinct codes, L = hashes of codes and extra negatives, N + K of them.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

WeightNorm = Literal["mean", "sum"]


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
