"""Attention of the coderep encoder: who may attend to whom, rotary positions, and attention document by document.

Shape suffixes: B = rows, T = tokens, N = tokens of all rows, H = heads, K = units per head, J = K / 2.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, fields
from typing import Any

import torch
from torch import Tensor, nn
from transformers.masking_utils import (
    and_masks,
    create_bidirectional_mask,
    find_packed_sequence_indices,
    packed_sequence_mask_function,
    sliding_window_bidirectional_overlay,
)
from transformers.utils.import_utils import is_tracing

from .configuration_coderep import CodeRepConfig


@dataclass(frozen=True)
class AttentionPlan:
    """What one forward pass's attention layers share.

    Attributes:
        full: Mask of global layers, in the form that the attention backend takes; None where there is none.
        local: Mask of local layers.
        lengths: Tokens of each document, row after row, where attention is computed document by document.
        bands: Masks of local layers for such documents, by length; short documents need none.
        kwargs: Further arguments of the attention backend.
        local_kwargs: The same for local layers only.
    """

    full: Any = None
    local: Any = None
    lengths: list[int] | None = None
    bands: dict[int, Tensor] = field(default_factory=dict)
    kwargs: dict[str, Any] = field(default_factory=dict)
    local_kwargs: dict[str, Any] = field(default_factory=dict)

    def to(self, device: torch.device | str | int, **kwargs: Any) -> AttentionPlan:
        """A copy on another device; accelerate asks for it where layers lie on several (`device_map`)."""

        def moved(value: Any) -> Any:
            if isinstance(value, dict):
                return {key: moved(item) for key, item in value.items()}
            return value.to(device, **kwargs) if hasattr(value, "to") else value

        return AttentionPlan(**{item.name: moved(getattr(self, item.name)) for item in fields(self)})


def plan_attention(
    config: CodeRepConfig, inputs_embeds: Tensor, attention_mask: Tensor | None, documents_BT: Tensor | None
) -> AttentionPlan:
    """Masks, or what spares them, for the attention backend that the configuration names.

    Packed rows need no mask on flash attention, which takes the boundaries of documents, nor with sdpa on CPUs, where
    attention is computed document by document. Flex attention compresses its masks. The rest gets a dense mask.

    Args:
        config: With the attention implementation that transformers has chosen.
        inputs_embeds: (B, T, D), for shape, type and device.
        attention_mask: (B, T), 0 at padding.
        documents_BT: Number of each token's document within its row; None if no row is packed.
    """
    backend, window = config._attn_implementation, config.local_attention
    tokens, device = inputs_embeds.shape[1], inputs_embeds.device
    flash = "flash" in backend
    if flash and window is not None:
        local_kwargs = {"sliding_window": window + 1}  # flash counts the token itself
    else:
        local_kwargs = {}
    if documents_BT is not None and flash:
        return AttentionPlan(kwargs=_flash_boundaries(documents_BT), local_kwargs=local_kwargs)
    if documents_BT is not None and backend == "sdpa" and device.type == "cpu" and not is_tracing(documents_BT):
        lengths = document_lengths(documents_BT).tolist()
        long = {length for length in lengths if window is not None and length > window + 1}
        return AttentionPlan(lengths=lengths, bands={n: local_band(n, window, device) for n in long})
    within = None if documents_BT is None else packed_sequence_mask_function(documents_BT)

    def mask(and_mask_function: Callable | None) -> Any:
        return create_bidirectional_mask(
            config=config,
            inputs_embeds=inputs_embeds,
            attention_mask=attention_mask,
            and_mask_function=and_mask_function,
        )

    full = mask(within)
    short = window is not None and not is_tracing(inputs_embeds) and tokens <= window + 1
    if window is None or flash or short:
        return AttentionPlan(full=full, local=full, local_kwargs=local_kwargs)
    near = sliding_window_bidirectional_overlay(window)
    return AttentionPlan(full=full, local=mask(near if within is None else and_masks(near, within)))


def find_documents(position_ids: Tensor, rows: int, attention_mask: Tensor | None = None) -> Tensor | None:
    """Number of each token's document within its row, (B, T): a new one begins where positions do not go on by one.

    With an attention mask, each run of padding counts as a document of its own. None if no row holds more than one
    document; while a graph is traced, that would be a branch on data: then rows without a mask are always taken as
    packed, and rows with one never.
    """
    position_ids = position_ids.expand(rows, -1)
    if attention_mask is None:
        return find_packed_sequence_indices(position_ids)
    if attention_mask.dim() != 2 or is_tracing(position_ids):
        return None
    real_BT = attention_mask.bool()
    both_real = real_BT[:, 1:] & real_BT[:, :-1]
    restart = (torch.diff(position_ids, dim=1) != 1) & both_real
    if not restart.any():
        return None
    begins = restart | (real_BT[:, 1:] != real_BT[:, :-1])
    return nn.functional.pad(begins.long().cumsum(dim=1), (1, 0))


def positions_from_boundaries(boundaries: Tensor, rows: int, tokens: int) -> Tensor:
    """(B, T) positions that restart where flash attention's `cu_seq_lens` say that a document begins.

    Raises:
        ValueError: The boundaries do not end at the number of tokens.
    """
    if int(boundaries[-1]) != rows * tokens:
        raise ValueError(f"cu_seq_lens_q ends at {int(boundaries[-1])}, but there are {rows * tokens} tokens.")
    starts = torch.zeros(rows * tokens, dtype=torch.long, device=boundaries.device)
    begins = boundaries[:-1].long()
    starts[begins] = begins
    place = torch.arange(rows * tokens, device=boundaries.device)
    return (place - starts.cummax(dim=0).values).view(rows, tokens)


def document_lengths(documents_BT: Tensor) -> Tensor:
    """Tokens of each document, row after row."""
    starts_BT = torch.diff(documents_BT, prepend=documents_BT.new_full((len(documents_BT), 1), -1), dim=1) != 0
    starts = starts_BT.flatten().nonzero().flatten()
    return torch.diff(starts, append=starts.new_tensor([documents_BT.numel()]))


def local_band(tokens: int, window: int, device: torch.device) -> Tensor:
    """(1, 1, T, T), True where two tokens are at most `window` apart."""
    position_T = torch.arange(tokens, device=device)
    return ((position_T[:, None] - position_T[None, :]).abs() <= window)[None, None]


def _flash_boundaries(documents_BT: Tensor) -> dict[str, Any]:
    lengths = document_lengths(documents_BT)
    ends = nn.functional.pad(lengths.cumsum(0), (1, 0)).to(torch.int32)
    longest = int(lengths.max())
    return {"cu_seq_lens_q": ends, "cu_seq_lens_k": ends, "max_length_q": longest, "max_length_k": longest}


def attend_by_document(
    attend: Callable[..., tuple[Tensor, Any]],
    query_BTHK: Tensor,
    key_BTHK: Tensor,
    value_BTHK: Tensor,
    lengths: list[int],
    bands: dict[int, Tensor] | None = None,
) -> Tensor:
    """Attention inside each document, one after the other, giving output_BTHK; no mask, and no work across documents.

    Args:
        attend: Function from query, key, value (each 1, H, T, K) and a mask to output (1, T, H, K) and weights.
        query_BTHK: Queries of rows that hold whole documents back to back.
        key_BTHK: Keys.
        value_BTHK: Values.
        lengths: Tokens of each document, row after row; their sum is B x T.
        bands: Mask of a document, by its length; None where there is none.
    """
    parts = (states.flatten(0, 1).split(lengths) for states in (query_BTHK, key_BTHK, value_BTHK))
    outputs = [
        attend(*(part.transpose(0, 1).unsqueeze(0) for part in document), (bands or {}).get(len(document[0])))[0]
        for document in zip(*parts, strict=True)
    ]
    return torch.cat(outputs, dim=1).view(query_BTHK.shape)


def eager_attention(
    module: nn.Module,
    query_BHTK: Tensor,
    key_BHTK: Tensor,
    value_BHTK: Tensor,
    attention_mask: Tensor | None,
    scaling: float,
    dropout: float = 0.0,
    **kwargs: object,
) -> tuple[Tensor, Tensor]:
    """Attention written out, giving output_BTHK and weights_BHTT.

    `attention_mask` is True where a token may be attended to, or a number added to the scores.
    """
    scores_BHTT = query_BHTK @ key_BHTK.transpose(2, 3) * scaling
    if attention_mask is not None and attention_mask.dtype == torch.bool:
        scores_BHTT = scores_BHTT.masked_fill(~attention_mask, torch.finfo(scores_BHTT.dtype).min)
    elif attention_mask is not None:
        scores_BHTT = scores_BHTT + attention_mask
    weights_BHTT = nn.functional.softmax(scores_BHTT, dim=-1, dtype=torch.float32).to(query_BHTK.dtype)
    weights_BHTT = nn.functional.dropout(weights_BHTT, p=dropout, training=module.training)
    return (weights_BHTT @ value_BHTK).transpose(1, 2).contiguous(), weights_BHTT


def rotary_angles(position_ids: Tensor, head_dim: int, base: float, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Cosines and sines, each (B, T, 1, K), by which rotary positions turn queries and keys (arXiv 2104.09864)."""
    exponents_J = torch.arange(0, head_dim, 2, device=position_ids.device, dtype=torch.float32) / head_dim
    angles_BTJ = position_ids.unsqueeze(-1).float() * base**-exponents_J
    angles_BT1K = torch.cat([angles_BTJ, angles_BTJ], dim=-1).unsqueeze(2)
    return angles_BT1K.cos().to(dtype), angles_BT1K.sin().to(dtype)


def rotate(states_BTHK: Tensor, cos_BT1K: Tensor, sin_BT1K: Tensor) -> Tensor:
    """Turn the pairs (k, k + K/2) of each head by the angles of their positions."""
    first, second = states_BTHK.chunk(2, dim=-1)
    return states_BTHK * cos_BT1K + torch.cat([-second, first], dim=-1) * sin_BT1K


__all__ = [
    "AttentionPlan",
    "attend_by_document",
    "document_lengths",
    "eager_attention",
    "find_documents",
    "local_band",
    "positions_from_boundaries",
    "plan_attention",
    "rotary_angles",
    "rotate",
]
