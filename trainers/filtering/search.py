"""Exact comparison of texts with a pool of codes, by products of matrices, a block of the pool at a time.

Shape suffixes: N = texts, D = embedding width, K = codes of the pool, T = nearest codes asked for, X = exclusions.
Embeddings have length 1, so products are cosines. Memory: one block of scores, N x `block`.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

BLOCK = 8192
# Scores that are this close are equal: copies of a code may differ by the rounding of a product, which depends on where
# in a block they stand.
TIE = 2e-6

Exclusions = tuple[Tensor, Tensor]  # rows_X and columns_X: codes that do not count for a text, sorted by column


def own_ranks(
    text_ND: Tensor, code_ND: Tensor, pool_KD: Tensor, exclusions: Exclusions, block: int = BLOCK
) -> tuple[Tensor, Tensor]:
    """Rank of each text's own code against a pool, and its score: ranks_N (int64, from 1), scores_N (float32).

    A code of the pool that scores as high as the own one ranks before it. Embeddings must be finite.
    """
    scores_N = own_scores(text_ND, code_ND)
    ranks_N = torch.ones_like(scores_N, dtype=torch.int64)
    for _, scores_NB in _blocks(text_ND, pool_KD, exclusions, block):
        ranks_N += (scores_NB >= (scores_N - TIE).unsqueeze(1)).sum(dim=1, dtype=torch.int32)  # int64 is slow
    return ranks_N, scores_N


def own_scores(text_ND: Tensor, code_ND: Tensor) -> Tensor:
    """Cosine of each text with its own code, float32: scores_N."""
    return (text_ND.float() * code_ND.float()).sum(dim=1)


def nearest(
    text_ND: Tensor, pool_KD: Tensor, exclusions: Exclusions, count: int, block: int = BLOCK
) -> tuple[Tensor, Tensor]:
    """The `count` nearest codes of the pool for each text, best first: scores_NT and columns_NT.

    Where fewer are left after exclusions, scores at the end are -inf. T is at most K.
    """
    best_NT = text_ND.new_empty((len(text_ND), 0), dtype=torch.float32)
    columns_NT = best_NT.to(torch.int64)
    for start, scores_NB in _blocks(text_ND, pool_KD, exclusions, block):
        found_NT, places_NT = scores_NB.topk(min(count, scores_NB.shape[1]), dim=1)
        together = torch.cat([best_NT, found_NT], dim=1)
        columns = torch.cat([columns_NT, places_NT + start], dim=1)
        # Stable: of codes that score alike, those of earlier blocks stay in front.
        best_NT, order = together.sort(dim=1, descending=True, stable=True)
        best_NT, columns_NT = best_NT[:, :count], columns.gather(1, order)[:, :count]
    return best_NT, columns_NT


def _blocks(text_ND: Tensor, pool_KD: Tensor, exclusions: Exclusions, block: int) -> Iterator[tuple[int, Tensor]]:
    """Scores of all texts with some codes after others, -inf where a code does not count, and where they begin."""
    rows_X, columns_X = exclusions
    text_ND = text_ND.float()
    for start in range(0, len(pool_KD), block):
        scores_NB = text_ND @ pool_KD[start : start + block].float().T
        here = slice(*torch.searchsorted(columns_X, torch.tensor([start, start + block])).tolist())
        scores_NB[rows_X[here].to(scores_NB.device), columns_X[here].to(scores_NB.device) - start] = -torch.inf
        yield start, scores_NB
