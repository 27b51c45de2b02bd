"""What the logs of stage 2 tell of the batches since the last log.

Shape suffixes: N = pairs of this process, D = embedding width.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from .pair_metrics import code_ranks


class BatchCounts:
    """Sums over pairs and tokens, of this process until they are taken.

    Args:
        accelerator: Adds up over processes.
    """

    def __init__(self, accelerator: Any) -> None:
        self._accelerator, device = accelerator, accelerator.device
        exact = torch.float32 if device.type == "mps" else torch.float64
        # pairs, nearest, cosines, text geometry, tokens
        self._sums_5 = torch.zeros(5, dtype=exact, device=device)

    def add(self, text_ND: Tensor, code_ND: Tensor, text_hash_N: Tensor, code_hash_N: Tensor) -> None:
        """Count this process's texts among the codes of all processes, which have the same number of pairs."""
        place = self._accelerator.process_index
        own_N = torch.arange(len(text_ND), device=text_ND.device) + len(text_ND) * place
        ranks_N, cosines_N = code_ranks(text_ND, code_ND, own_N, text_hash_N, code_hash_N)
        self._sums_5[0] += len(text_ND)
        self._sums_5[1] += (ranks_N == 1).sum()
        self._sums_5[2] += cosines_N.sum()

    def add_geometry(self, loss: Tensor, pairs: int) -> None:
        """Count the unweighted `text_geometry_loss` of a batch of which this process has so many pairs."""
        self._sums_5[3] += loss * pairs

    def add_tokens(self, tokens: int) -> None:
        """Count tokens that this process has trained on."""
        self._sums_5[4] += tokens

    def take(self) -> Mapping[str, float]:
        """Means over pairs, and the tokens, of all processes, which must all ask; counting begins anew."""
        pairs, nearest, cosines, geometry, tokens = self._accelerator.reduce(self._sums_5.clone(), "sum").tolist()
        self._sums_5.zero_()
        if not pairs:
            return {}
        means = {"own_code_nearest": nearest / pairs, "pair_cosine": cosines / pairs, "text_geometry": geometry / pairs}
        return {**means, "tokens": tokens}
