"""How near the code of a pair is to its text, among other codes.

Shape suffixes: Q = texts that are looked at, N = pairs, D = embedding width, L = languages.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

_BLOCK = 2**20  # cosines that are in memory at once


@torch.no_grad()
def code_ranks(
    text_QD: Tensor,
    code_ND: Tensor,
    own_Q: Tensor,
    text_hash_N: Tensor,
    code_hash_N: Tensor,
    group_N: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Rank, from 1, of each text's own code by cosine, ranks_Q, and the cosine of both, cosines_Q.

    Ties count against the text. Codes of pairs with an equal text or an equal code are not ranked: they are as right
    as its own.

    Args:
        text_QD: Embeddings of the texts, any scale.
        code_ND: Embeddings of the codes of all pairs.
        own_Q: Number of each text's pair.
        text_hash_N: Equal for equal texts.
        code_hash_N: Equal for equal codes.
        group_N: Only codes of the same group are ranked, such as those of the same language; None: all.
    """
    text_QD, code_ND = F.normalize(text_QD, dim=-1), F.normalize(code_ND, dim=-1)
    ranks, cosines, block = [], [], max(1, _BLOCK // max(1, len(code_ND)))
    for text_BD, own_B in zip(text_QD.split(block), own_Q.split(block), strict=True):
        with torch.autocast(text_BD.device.type, enabled=False):
            cosine_BN = text_BD @ code_ND.T
        cosine_B1 = cosine_BN.gather(1, own_B.unsqueeze(1))
        rival_BN = torch.ones_like(cosine_BN, dtype=torch.bool)
        if group_N is not None:
            rival_BN &= group_N[own_B].unsqueeze(1) == group_N
        for hash_N in (text_hash_N, code_hash_N):
            rival_BN &= hash_N[own_B].unsqueeze(1) != hash_N
        ranks.append(1 + ((cosine_BN >= cosine_B1) & rival_BN).sum(dim=1, dtype=torch.int32).long())  # int64 is slow
        cosines.append(cosine_B1.squeeze(1))
    return torch.cat(ranks), torch.cat(cosines)


def mean_reciprocal_ranks(ranks_N: Tensor, group_N: Tensor, languages: Sequence[str], prefix: str) -> dict[str, float]:
    """`<prefix>_mrr_<language>` of each language that has pairs, and their mean, `<prefix>_mrr`."""
    reciprocal_N = 1 / ranks_N.double()
    values = {
        f"{prefix}_mrr_{name}": reciprocal_N[group_N == number].mean().item()
        for number, name in enumerate(languages)
        if (group_N == number).any()
    }
    return {f"{prefix}_mrr": sum(values.values()) / len(values), **values}
