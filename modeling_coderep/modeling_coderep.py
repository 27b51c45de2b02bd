"""The coderep encoder: pre-LN transformer with bidirectional attention and learned absolute positions.

The architecture is CodeSage's (arXiv 2402.01935, section 3 and Table 5). Shape suffixes: B = rows, T = tokens,
D = hidden units, H = heads, K = units per head, P = predicted positions, V = vocabulary.

Packed input: when `position_ids` restart inside a row and no `attention_mask` is given, every restart begins a
new document, and attention stays inside documents ("block attention", section 3.1).
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from transformers.activations import ACT2FN
from transformers.masking_utils import (
    create_bidirectional_mask,
    find_packed_sequence_indices,
    packed_sequence_mask_function,
)
from transformers.modeling_layers import GradientCheckpointingLayer
from transformers.modeling_outputs import (
    BaseModelOutputWithPooling,
    MaskedLMOutput,
    SequenceClassifierOutput,
)
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS, PreTrainedModel
from transformers.utils.generic import can_return_tuple, merge_with_config_defaults
from transformers.utils.output_capturing import capture_outputs

from .configuration_coderep import CodeRepConfig
from .encoding_coderep import EncodeMixin
from .pooling_coderep import POOLERS


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
    """Attention written out, giving output_BTHK and weights_BHTT. `attention_mask` is added to the scores."""
    scores_BHTT = query_BHTK @ key_BHTK.transpose(2, 3) * scaling
    if attention_mask is not None:
        scores_BHTT = scores_BHTT + attention_mask
    weights_BHTT = nn.functional.softmax(scores_BHTT, dim=-1)
    weights_BHTT = nn.functional.dropout(weights_BHTT, p=dropout, training=module.training)
    return (weights_BHTT @ value_BHTK).transpose(1, 2).contiguous(), weights_BHTT


def rotary_angles(position_ids: Tensor, head_dim: int, base: float, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Cosines and sines, each (B, 1, T, K), by which rotary positions turn queries and keys (arXiv 2104.09864)."""
    exponents_J = torch.arange(0, head_dim, 2, device=position_ids.device, dtype=torch.float32) / head_dim
    angles_BTJ = position_ids.unsqueeze(-1).float() * base**-exponents_J
    angles_B1TK = torch.cat([angles_BTJ, angles_BTJ], dim=-1).unsqueeze(1)
    return angles_B1TK.cos().to(dtype), angles_B1TK.sin().to(dtype)


def rotate(states_BHTK: Tensor, cos_B1TK: Tensor, sin_B1TK: Tensor) -> Tensor:
    """Turn the pairs (k, k + K/2) of each head by the angles of their positions."""
    first, second = states_BHTK.chunk(2, dim=-1)
    return states_BHTK * cos_B1TK + torch.cat([-second, first], dim=-1) * sin_B1TK


class CodeRepEmbeddings(nn.Module):
    """Token embeddings, plus position embeddings where positions are absolute."""

    def __init__(self, config: CodeRepConfig) -> None:
        super().__init__()
        self.tokens = nn.Embedding(config.vocab_size, config.hidden_size)
        absolute = config.position_embedding == "absolute"
        self.positions = nn.Embedding(config.max_position_embeddings, config.hidden_size) if absolute else None
        self.dropout = nn.Dropout(config.embedding_dropout)

    def forward(self, inputs_embeds: Tensor, position_ids: Tensor) -> Tensor:
        if self.positions is not None:
            inputs_embeds = inputs_embeds + self.positions(position_ids)
        return self.dropout(inputs_embeds)


class CodeRepAttention(nn.Module):
    """Multi-head self-attention through transformers' attention interface."""

    def __init__(self, config: CodeRepConfig) -> None:
        super().__init__()
        self.config = config
        self.head_dim = config.hidden_size // config.num_attention_heads
        self.scaling = self.head_dim**-0.5
        self.is_causal = False
        self.qkv = nn.Linear(config.hidden_size, 3 * config.hidden_size)
        self.out = nn.Linear(config.hidden_size, config.hidden_size)

    def forward(
        self,
        hidden_states: Tensor,
        attention_mask: Tensor | None,
        rotary: tuple[Tensor, Tensor] | None = None,
        **kwargs: object,
    ) -> tuple[Tensor, Tensor | None]:
        rows_tokens = hidden_states.shape[:-1]
        qkv_BT3HK = self.qkv(hidden_states).view(*rows_tokens, 3, -1, self.head_dim)
        query_BHTK, key_BHTK, value_BHTK = (part.transpose(1, 2) for part in qkv_BT3HK.unbind(dim=2))
        if rotary is not None:
            query_BHTK, key_BHTK = rotate(query_BHTK, *rotary), rotate(key_BHTK, *rotary)
        attend: Callable = ALL_ATTENTION_FUNCTIONS.get_interface(self.config._attn_implementation, eager_attention)
        output_BTHK, weights_BHTT = attend(
            self,
            query_BHTK,
            key_BHTK,
            value_BHTK,
            attention_mask,
            dropout=self.config.attention_dropout if self.training else 0.0,
            scaling=self.scaling,
            **kwargs,
        )
        return self.out(output_BTHK.reshape(*rows_tokens, -1)), weights_BHTT


class CodeRepMlp(nn.Module):
    """Feed-forward block."""

    def __init__(self, config: CodeRepConfig) -> None:
        super().__init__()
        self.up = nn.Linear(config.hidden_size, config.intermediate_size)
        self.activation = ACT2FN[config.hidden_act]
        self.down = nn.Linear(config.intermediate_size, config.hidden_size)

    def forward(self, hidden_states: Tensor) -> Tensor:
        return self.down(self.activation(self.up(hidden_states)))


class CodeRepLayer(GradientCheckpointingLayer):
    """Pre-LN transformer layer."""

    def __init__(self, config: CodeRepConfig) -> None:
        super().__init__()
        self.attention_norm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.attention = CodeRepAttention(config)
        self.mlp_norm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.mlp = CodeRepMlp(config)
        self.dropout = nn.Dropout(config.hidden_dropout)

    def forward(self, hidden_states: Tensor, attention_mask: Tensor | None, **kwargs: object) -> Tensor:
        attended, _ = self.attention(self.attention_norm(hidden_states), attention_mask, **kwargs)
        hidden_states = hidden_states + self.dropout(attended)
        return hidden_states + self.dropout(self.mlp(self.mlp_norm(hidden_states)))


class CodeRepPreTrainedModel(PreTrainedModel):
    """What every coderep model shares with transformers."""

    config_class = CodeRepConfig
    config: CodeRepConfig
    base_model_prefix = "encoder"
    supports_gradient_checkpointing = True
    _no_split_modules = ["CodeRepEmbeddings", "CodeRepLayer"]
    _supports_flash_attn = True
    _supports_sdpa = True
    _supports_flex_attn = True
    _supports_attention_backend = True
    _can_record_outputs = {"hidden_states": CodeRepLayer, "attentions": CodeRepAttention}


class CodeRepModel(EncodeMixin, CodeRepPreTrainedModel):
    """The encoder. `pooler_output` is the embedding of each row; `encode` turns texts into embeddings."""

    # Loaded from a masked-LM or classification checkpoint, the encoder has no use for the head.
    _keys_to_ignore_on_load_unexpected = [r"^head\.", r"^lm_head\.", r"^classifier\."]

    def __init__(self, config: CodeRepConfig) -> None:
        super().__init__(config)
        self.embeddings = CodeRepEmbeddings(config)
        self.layers = nn.ModuleList(CodeRepLayer(config) for _ in range(config.num_hidden_layers))
        self.final_norm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.gradient_checkpointing = False
        self.post_init()

    def get_input_embeddings(self) -> nn.Embedding:
        """The token embedding."""
        return self.embeddings.tokens

    def set_input_embeddings(self, value: nn.Embedding) -> None:
        """Replace the token embedding."""
        self.embeddings.tokens = value

    @merge_with_config_defaults
    @capture_outputs
    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        **kwargs: object,
    ) -> BaseModelOutputWithPooling:
        """Encode rows of tokens.

        Args:
            input_ids: (B, T) token ids, or give `inputs_embeds` (B, T, D).
            attention_mask: (B, T), 1 at real tokens and 0 at padding; None means no padding.
            position_ids: (B, T) positions; None counts from 0. Restarts pack several documents into a row.
            inputs_embeds: (B, T, D) token embeddings instead of ids.
            **kwargs: Passed to the attention backend.

        Returns:
            `last_hidden_state` (B, T, D) and `pooler_output` (B, D), None for packed rows.

        Raises:
            ValueError: Both or neither of ids and embeddings are given, or a row is longer than the model allows.
        """
        if (input_ids is None) == (inputs_embeds is None):
            raise ValueError("Give exactly one of input_ids and inputs_embeds.")
        if inputs_embeds is None:
            inputs_embeds = self.embeddings.tokens(input_ids)
        rows, tokens = inputs_embeds.shape[:2]
        documents_BT = None
        if position_ids is None:
            self._check_length(tokens)
            position_ids = torch.arange(tokens, device=inputs_embeds.device).unsqueeze(0)
        elif attention_mask is None:
            documents_BT = find_packed_sequence_indices(position_ids.expand(rows, -1))
        hidden_states = self.embeddings(inputs_embeds, position_ids)
        block_mask = create_bidirectional_mask(
            config=self.config,
            inputs_embeds=hidden_states,
            attention_mask=attention_mask,
            and_mask_function=None if documents_BT is None else packed_sequence_mask_function(documents_BT),
        )
        rotary = self._rotary(position_ids, hidden_states.dtype)
        for layer in self.layers:
            hidden_states = layer(hidden_states, block_mask, position_ids=position_ids, rotary=rotary, **kwargs)
        hidden_states = self.final_norm(hidden_states)
        return BaseModelOutputWithPooling(
            last_hidden_state=hidden_states,
            pooler_output=None if documents_BT is not None else self._pool(hidden_states, attention_mask),
        )

    def _rotary(self, position_ids: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor] | None:
        if self.config.position_embedding != "rotary":
            return None
        head_dim = self.config.hidden_size // self.config.num_attention_heads
        return rotary_angles(position_ids, head_dim, self.config.rotary_base, dtype)

    def _check_length(self, tokens: int) -> None:
        if tokens > self.config.max_position_embeddings:
            raise ValueError(
                f"A row of {tokens} tokens is longer than max_position_embeddings="
                f"{self.config.max_position_embeddings}. Tokenize with truncation=True, max_length="
                f"{self.config.max_position_embeddings}."
            )

    def _pool(self, hidden_BTD: Tensor, mask_BT: Tensor | None) -> Tensor:
        if mask_BT is None or mask_BT.dim() != 2:
            mask_BT = hidden_BTD.new_ones(hidden_BTD.shape[:2], dtype=torch.long)
        return POOLERS[self.config.pooling](hidden_BTD, mask_BT)


class CodeRepHeadTransform(nn.Module):
    """Dense layer, activation and norm between token states and the vocabulary projection."""

    def __init__(self, config: CodeRepConfig) -> None:
        super().__init__()
        self.dense = nn.Linear(config.hidden_size, config.hidden_size)
        self.activation = ACT2FN[config.hidden_act]
        self.norm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)

    def forward(self, hidden_states: Tensor) -> Tensor:
        return self.norm(self.activation(self.dense(hidden_states)))


class CodeRepForMaskedLM(CodeRepPreTrainedModel):
    """The encoder with its tied token embedding as masked-language-model head."""

    _tied_weights_keys = {"lm_head.weight": "encoder.embeddings.tokens.weight"}

    def __init__(self, config: CodeRepConfig) -> None:
        super().__init__(config)
        self.encoder = CodeRepModel(config)
        transform = config.mlm_head == "transform"
        self.head = CodeRepHeadTransform(config) if transform else nn.Identity()
        self.lm_head = nn.Linear(config.hidden_size, config.vocab_size, bias=transform)
        self.post_init()

    def get_output_embeddings(self) -> nn.Linear:
        """The projection onto the vocabulary."""
        return self.lm_head

    def set_output_embeddings(self, new_embeddings: nn.Linear) -> None:
        """Replace the projection onto the vocabulary."""
        self.lm_head = new_embeddings

    @can_return_tuple
    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        labels: Tensor | None = None,
        num_items_in_batch: Tensor | int | None = None,
        **kwargs: object,
    ) -> MaskedLMOutput:
        """Predict masked tokens.

        Args:
            input_ids: (B, T) token ids with mask tokens; see `CodeRepModel.forward` for the other inputs.
            attention_mask: (B, T).
            position_ids: (B, T).
            inputs_embeds: (B, T, D).
            labels: (B, T), the true token at predicted positions and -100 elsewhere. With labels and in training
                mode the vocabulary projection, a third or more of a small model's work, is computed at predicted
                positions only, and `logits` has shape (P, V).
            num_items_in_batch: Predicted positions to divide the summed loss by; None takes those of this batch.
            **kwargs: Passed to the encoder.

        Returns:
            `loss` if labels are given, and `logits` (B, T, V), or (P, V) in training.
        """
        outputs = self.encoder(
            input_ids,
            attention_mask=attention_mask,
            position_ids=position_ids,
            inputs_embeds=inputs_embeds,
            **kwargs,
        )
        hidden_states = outputs.last_hidden_state
        if labels is None:
            loss, logits = None, self.lm_head(self.head(hidden_states))
        else:
            predicted_BT = labels != -100
            if self.training:
                logits = logits_PV = self.lm_head(self.head(hidden_states[predicted_BT]))
            else:
                logits = self.lm_head(self.head(hidden_states))
                logits_PV = logits[predicted_BT]
            loss = masked_lm_loss(logits_PV, labels[predicted_BT], num_items_in_batch)
        return MaskedLMOutput(
            loss=loss, logits=logits, hidden_states=outputs.hidden_states, attentions=outputs.attentions
        )


def masked_lm_loss(logits_PV: Tensor, labels_P: Tensor, num_items_in_batch: Tensor | int | None = None) -> Tensor:
    """Cross-entropy summed over predicted positions and divided by their number; 0 when there is none."""
    total = nn.functional.cross_entropy(logits_PV.float(), labels_P, reduction="sum")
    if num_items_in_batch is None:
        return total / max(labels_P.numel(), 1)
    if isinstance(num_items_in_batch, Tensor):
        return total / num_items_in_batch.to(total.device).clamp(min=1)
    return total / max(num_items_in_batch, 1)


class CodeRepForSequenceClassification(CodeRepPreTrainedModel):
    """The encoder with a linear head on its pooled output."""

    def __init__(self, config: CodeRepConfig) -> None:
        super().__init__(config)
        self.num_labels = config.num_labels
        self.encoder = CodeRepModel(config)
        dropout = config.hidden_dropout if config.classifier_dropout is None else config.classifier_dropout
        self.dropout = nn.Dropout(dropout)
        self.classifier = nn.Linear(config.hidden_size, config.num_labels)
        self.post_init()

    @can_return_tuple
    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        labels: Tensor | None = None,
        **kwargs: object,
    ) -> SequenceClassifierOutput:
        """Classify rows.

        Args:
            input_ids: (B, T); see `CodeRepModel.forward` for the inputs.
            attention_mask: (B, T).
            position_ids: (B, T), without restarts: packed rows have no single class.
            inputs_embeds: (B, T, D).
            labels: (B,) class numbers or regression targets, or (B, L) for several labels at once; which loss they
                get follows `config.problem_type`, as in every transformers classifier.
            **kwargs: Passed to the encoder.

        Raises:
            ValueError: The rows are packed.
        """
        outputs = self.encoder(
            input_ids,
            attention_mask=attention_mask,
            position_ids=position_ids,
            inputs_embeds=inputs_embeds,
            **kwargs,
        )
        if outputs.pooler_output is None:
            raise ValueError("Packed rows hold several documents and cannot be classified. Give one document a row.")
        logits = self.classifier(self.dropout(outputs.pooler_output))
        loss = None
        if labels is not None:
            loss = self.loss_function(labels=labels, pooled_logits=logits, config=self.config)
        return SequenceClassifierOutput(
            loss=loss, logits=logits, hidden_states=outputs.hidden_states, attentions=outputs.attentions
        )


__all__ = [
    "CodeRepForMaskedLM",
    "CodeRepForSequenceClassification",
    "CodeRepModel",
    "CodeRepPreTrainedModel",
]
