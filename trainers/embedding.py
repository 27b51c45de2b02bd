"""Texts of any lengths, stored end to end without padding, to embeddings: some of them at a time, in training or not.

Shape suffixes: F = tokens of all texts, N = texts, I = texts of a mini-batch, T = tokens of the longest of them,
P = tokens of a mini-batch, D = embedding width.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from modeling_coderep.encoding_coderep import token_budget_batches
from modeling_coderep.pooling_coderep import POOLERS, pool_documents


@dataclass(frozen=True, eq=False)
class FlatTexts:
    """Token ids of some texts.

    Args:
        ids_F: Token ids, text after text.
        lengths_N: Tokens of each, at least 1.
    """

    ids_F: Tensor
    lengths_N: Tensor

    def __len__(self) -> int:
        return len(self.lengths_N)

    @classmethod
    def join(cls, parts: Sequence[FlatTexts]) -> FlatTexts:
        """The texts of each part, one part after the other."""
        return cls(torch.cat([part.ids_F for part in parts]), torch.cat([part.lengths_N for part in parts]))

    def padded(self, texts_I: Tensor, pad_id: int) -> tuple[Tensor, Tensor]:
        """`input_ids` and `attention_mask` of shape (I, T) of some texts, padded on the right."""
        lengths_I = self.lengths_N[texts_I]
        starts_I = (self.lengths_N.cumsum(0) - self.lengths_N)[texts_I]
        offset_T = torch.arange(int(lengths_I.max()), device=self.ids_F.device)
        mask_IT = offset_T < lengths_I.unsqueeze(1)
        place_IT = (starts_I.unsqueeze(1) + offset_T).masked_fill(~mask_IT, 0)
        return self.ids_F[place_IT].masked_fill(~mask_IT, pad_id), mask_IT.long()

    def packed(self, texts_I: Tensor) -> tuple[Tensor, Tensor]:
        """`input_ids` and `position_ids` of shape (1, P) of some texts end to end."""
        lengths_I = self.lengths_N[texts_I]
        starts_I = (self.lengths_N.cumsum(0) - self.lengths_N)[texts_I]
        before_P = (lengths_I.cumsum(0) - lengths_I).repeat_interleave(lengths_I)
        position_P = torch.arange(len(before_P), device=self.ids_F.device) - before_P
        place_P = starts_I.repeat_interleave(lengths_I) + position_P
        return self.ids_F[place_P].unsqueeze(0), position_P.unsqueeze(0)


def texts_of(batch: Mapping[str, Tensor], sides: Sequence[str]) -> FlatTexts:
    """The texts of some sides of a batch of `PairCollator`, side after side."""
    return FlatTexts.join([FlatTexts(batch[f"{side}_input_ids"], batch[f"{side}_lengths"]) for side in sides])


def embed_texts(
    model: nn.Module, texts: FlatTexts, texts_I: Tensor, pooling: str, pad_id: int, packed: bool = False
) -> Tensor:
    """Embeddings_ID of some texts by any HF encoder, in float32 at least.

    Args:
        model: Gives `last_hidden_state`; called once, so that wrappers for several processes see it.
        texts: All texts.
        texts_I: Which of them, by number.
        pooling: A key of `POOLERS`.
        pad_id: Token of the padding.
        packed: One row without padding; the model must keep attention inside documents, as ours do.
    """
    if packed:
        input_ids, position_ids = texts.packed(texts_I)
        hidden_PD = model(input_ids=input_ids, position_ids=position_ids).last_hidden_state[0]
        pooled_ID = pool_documents(hidden_PD, texts.lengths_N[texts_I].tolist(), pooling)
    else:
        input_ids, mask_IT = texts.padded(texts_I, pad_id)
        hidden_ITD = model(input_ids=input_ids, attention_mask=mask_IT).last_hidden_state
        pooled_ID = POOLERS[pooling](hidden_ITD, mask_IT)
    return pooled_ID.to(torch.promote_types(pooled_ID.dtype, torch.float32))


def packs(model: nn.Module) -> bool:
    """Whether a model takes packed rows, and without a dense mask, which is what makes them worth while.

    Measured with `tiny` on a CPU: as fast a token as padded rows of equal lengths, and no work on padding.
    """
    config = model.config
    backend, device = getattr(config, "_attn_implementation", None) or "", next(model.parameters()).device
    return config.model_type == "coderep" and ("flash" in backend or (backend == "sdpa" and device.type == "cpu"))


def mini_batches(sides: Sequence[Tensor], budget_tokens: int | None, packed: bool = False) -> list[Tensor]:
    """Mini-batches for texts of several sides, by the lengths of each side; numbers run through the sides.

    Each has texts of one side that are alike in length, at most `budget_tokens` with their padding, or without if they
    are `packed`. The first of a side is the least full. Without a budget each side is one mini-batch.
    """
    batches, first = [], 0
    for lengths_N in sides:
        lengths = lengths_N.tolist()
        if budget_tokens is None:
            groups = [range(len(lengths))] if lengths else []
        else:
            groups = (_packed_groups if packed else token_budget_batches)(lengths, budget_tokens)
        batches += [torch.tensor(group, device=lengths_N.device) + first for group in reversed(groups)]
        first += len(lengths)
    return batches


def _packed_groups(lengths: Sequence[int], budget_tokens: int) -> list[list[int]]:
    groups: list[list[int]] = []
    room = 0
    for index in sorted(range(len(lengths)), key=lambda index: -lengths[index]):
        if not groups or lengths[index] > room:
            groups.append([])
            room = budget_tokens
        groups[-1].append(index)
        room -= lengths[index]
    return groups
