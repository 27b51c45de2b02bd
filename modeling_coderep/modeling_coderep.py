"""The coderep encoder: pre-LN transformer with bidirectional attention.

The default architecture is CodeSage's (arXiv 2402.01935, section 3 and Table 5); the configuration also has a modern
one. Shape suffixes: B = rows, T = tokens, D = hidden units, H = heads, K = units per head, P = predicted positions,
V = vocabulary.

Packed input: when `position_ids` restart inside a row and no `attention_mask` is given, every restart begins a
new document, and attention stays inside documents ("block attention", section 3.1).
"""

# No `from __future__ import annotations` here: transformers reads the annotation of `**kwargs` at run time.
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from transformers.activations import ACT2FN
from transformers.modeling_layers import GradientCheckpointingLayer
from transformers.modeling_outputs import (
    BaseModelOutputWithPooling,
    MaskedLMOutput,
    SequenceClassifierOutput,
    TokenClassifierOutput,
)
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS, PreTrainedModel
from transformers.processing_utils import Unpack
from transformers.utils import TransformersKwargs
from transformers.utils.generic import can_return_tuple, merge_with_config_defaults
from transformers.utils.import_utils import is_tracing
from transformers.utils.output_capturing import capture_outputs

from .attention_coderep import (
    AttentionPlan,
    attend_by_document,
    eager_attention,
    find_documents,
    plan_attention,
    positions_from_boundaries,
    rotary_angles,
    rotate,
)
from .configuration_coderep import CodeRepConfig
from .encoding_coderep import EncodeMixin
from .loading_coderep import check_weights
from .pooling_coderep import POOLERS


def check_ids(ids: Tensor, name: str, limit: int, limit_name: str, hint: str = "") -> None:
    """Refuse ids that are no rows of a table.

    Raises:
        TypeError: The ids are no integers.
        ValueError: An id is outside [0, limit). Told on CPUs; accelerators report it in their own way.
    """
    if ids.dtype not in (torch.int64, torch.int32):
        raise TypeError(f"{name} must be whole numbers (torch.long), got {ids.dtype}. Convert them with .long().")
    if ids.device.type == "cpu" and not is_tracing(ids) and ids.numel():
        low, high = (int(value) for value in ids.aminmax())
        if low < 0 or high >= limit:
            raise ValueError(
                f"{name} has the value {low if low < 0 else high}, outside [0, {limit - 1}] "
                f"({limit_name}={limit}).{hint}"
            )


# What flash attention calls the boundaries of documents; the first one says all.
_BOUNDARIES = ("cu_seq_lens_q", "cu_seq_lens_k", "max_length_q", "max_length_k")


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

    def __init__(self, config: CodeRepConfig, layer: int) -> None:
        super().__init__()
        self.config = config
        self.local = config.is_local(layer)
        self.head_dim = config.hidden_size // config.num_attention_heads
        self.scaling = self.head_dim**-0.5
        self.is_causal = False
        self.qkv = nn.Linear(config.hidden_size, 3 * config.hidden_size, bias=config.use_bias)
        self.out = nn.Linear(config.hidden_size, config.hidden_size, bias=config.use_bias)

    def forward(
        self,
        hidden_states: Tensor,
        plan: AttentionPlan,
        rotary: tuple[Tensor, Tensor] | None = None,
        **kwargs: Unpack[TransformersKwargs],
    ) -> tuple[Tensor, Tensor | None]:
        qkv_BT3HK = self.qkv(hidden_states).unflatten(-1, (3, -1, self.head_dim))
        query_BTHK, key_BTHK, value_BTHK = qkv_BT3HK.unbind(dim=2)
        if rotary is not None:
            query_BTHK, key_BTHK = rotate(query_BTHK, *rotary), rotate(key_BTHK, *rotary)
        attend = partial(
            ALL_ATTENTION_FUNCTIONS.get_interface(self.config._attn_implementation, eager_attention),
            self,
            dropout=self.config.attention_dropout if self.training else 0.0,
            scaling=self.scaling,
            **plan.kwargs,
            **(plan.local_kwargs if self.local else {}),
            **kwargs,
        )
        if plan.lengths is not None:
            bands = plan.bands if self.local else None
            output_BTHK = attend_by_document(attend, query_BTHK, key_BTHK, value_BTHK, plan.lengths, bands)
            weights_BHTT = None
        else:
            heads = (states.transpose(1, 2) for states in (query_BTHK, key_BTHK, value_BTHK))
            output_BTHK, weights_BHTT = attend(*heads, plan.local if self.local else plan.full)
        return self.out(output_BTHK.reshape(hidden_states.shape)), weights_BHTT


class CodeRepMlp(nn.Module):
    """Feed-forward block, gated (GeGLU) or not."""

    def __init__(self, config: CodeRepConfig) -> None:
        super().__init__()
        self.gated = config.gated_mlp
        width = config.intermediate_size * (2 if config.gated_mlp else 1)
        self.up = nn.Linear(config.hidden_size, width, bias=config.use_bias)
        self.activation = ACT2FN[config.hidden_act]
        self.down = nn.Linear(config.intermediate_size, config.hidden_size, bias=config.use_bias)

    def forward(self, hidden_states: Tensor) -> Tensor:
        if not self.gated:
            return self.down(self.activation(self.up(hidden_states)))
        activated, gate = self.up(hidden_states).chunk(2, dim=-1)
        return self.down(self.activation(activated) * gate)


def _norm(config: CodeRepConfig) -> nn.LayerNorm:
    return nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps, bias=config.use_bias)


class CodeRepLayer(GradientCheckpointingLayer):
    """Pre-LN transformer layer."""

    def __init__(self, config: CodeRepConfig, layer: int) -> None:
        super().__init__()
        self.attention_norm = _norm(config)
        self.attention = CodeRepAttention(config, layer)
        self.mlp_norm = _norm(config)
        self.mlp = CodeRepMlp(config)
        self.dropout = nn.Dropout(config.hidden_dropout)

    def forward(self, hidden_states: Tensor, plan: AttentionPlan, **kwargs: Unpack[TransformersKwargs]) -> Tensor:
        attended, _ = self.attention(self.attention_norm(hidden_states), plan, **kwargs)
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

    @classmethod
    def from_pretrained(cls, *args: Any, **kwargs: Any) -> Any:
        """Load a checkpoint as every transformers model does, but never with an encoder that is in part random.

        Raises:
            ValueError: A weight of the encoder is missing, or one has another shape than the configuration says
                (unless `ignore_mismatched_sizes=True`).
        """
        return check_weights(super().from_pretrained, *args, **kwargs)

    @staticmethod
    def _finalize_model_loading(model: Any, load_config: Any, loading_info: Any) -> Any:
        # Called once the weights are read. With an adapter, `from_pretrained` tells of the adapter's weights alone.
        loading_info = PreTrainedModel._finalize_model_loading(model, load_config, loading_info)
        model._loaded = loading_info
        return loading_info

    def save_pretrained(self, *args: Any, save_original_format: bool = False, **kwargs: Any) -> None:
        """Save as every transformers model does, always in coderep's layout, whatever layout was read."""
        super().save_pretrained(*args, save_original_format=save_original_format, **kwargs)


class CodeRepModel(EncodeMixin, CodeRepPreTrainedModel):
    """The encoder. `pooler_output` is the embedding of each row; `encode` turns texts into embeddings."""

    # Loaded from a masked-LM checkpoint, the encoder has no use for the head.
    _keys_to_ignore_on_load_unexpected = [r"^head\.", r"^lm_head\."]

    def __init__(self, config: CodeRepConfig) -> None:
        super().__init__(config)
        self.embeddings = CodeRepEmbeddings(config)
        self.layers = nn.ModuleList(CodeRepLayer(config, i) for i in range(config.num_hidden_layers))
        self.final_norm = _norm(config)
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
        **kwargs: Unpack[TransformersKwargs],
    ) -> BaseModelOutputWithPooling:
        """Encode rows of tokens.

        Args:
            input_ids: (B, T) token ids, or give `inputs_embeds` (B, T, D).
            attention_mask: (B, T), 1 at real tokens and 0 at padding; None means no padding. A mask of one's own in
                the backend's form, such as (B, 1, T, T), replaces every other rule about who attends to whom.
            position_ids: (B, T) positions; None counts from 0. Restarts among real tokens pack several documents into
                a row. Instead of positions, flash attention's `cu_seq_lens_q` may tell where documents begin.
            inputs_embeds: (B, T, D) token embeddings instead of ids.
            **kwargs: Passed to the attention backend.

        Returns:
            `last_hidden_state` (B, T, D) and `pooler_output` (B, D), None for packed rows (in traced graphs, where
            that cannot be told, the pooling of the whole row).

        Raises:
            TypeError: Ids or positions are no integers.
            ValueError: Both or neither of ids and embeddings are given, an id or position is out of range, the mask
                has another shape, or a row is longer than the model allows.
        """
        if (input_ids is None) == (inputs_embeds is None):
            raise ValueError("Give exactly one of input_ids and inputs_embeds.")
        if inputs_embeds is None:
            hint = " Is this the tokenizer of this model?"
            check_ids(input_ids, "input_ids", self.config.vocab_size, "vocab_size", hint)
            inputs_embeds = self.embeddings.tokens(input_ids)
        rows, tokens = inputs_embeds.shape[:2]
        self._check_mask(attention_mask, rows, tokens)
        boundaries = [kwargs.pop(name, None) for name in _BOUNDARIES][0]
        if position_ids is None and boundaries is not None:
            position_ids = positions_from_boundaries(boundaries, rows, tokens)
        documents_BT = None
        if position_ids is None:
            self._check_length(tokens)
            position_ids = torch.arange(tokens, device=inputs_embeds.device).unsqueeze(0)
        else:
            check_ids(position_ids, "position_ids", self.config.max_position_embeddings, "max_position_embeddings")
            documents_BT = find_documents(position_ids, rows, attention_mask)
        hidden_states = self.embeddings(inputs_embeds, position_ids)
        # Documents keep padding apart, so that a mask besides is not needed.
        mask = attention_mask if documents_BT is None else None
        plan = plan_attention(self.config, hidden_states, mask, documents_BT)
        rotary = self._rotary(position_ids, hidden_states.dtype)
        for layer in self.layers:
            hidden_states = layer(hidden_states, plan, rotary=rotary, **kwargs)
        hidden_states = self.final_norm(hidden_states)
        packed = documents_BT is not None and not is_tracing(hidden_states)
        return BaseModelOutputWithPooling(
            last_hidden_state=hidden_states,
            pooler_output=None if packed else self._pool(hidden_states, attention_mask),
        )

    def _rotary(self, position_ids: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor] | None:
        if self.config.position_embedding != "rotary":
            return None
        head_dim = self.config.hidden_size // self.config.num_attention_heads
        return rotary_angles(position_ids, head_dim, self.config.rotary_base, dtype)

    def _check_length(self, tokens: int) -> None:
        limit = self.config.max_position_embeddings
        if tokens > limit:
            raise ValueError(
                f"A row of {tokens} tokens is longer than max_position_embeddings={limit}. "
                f"Tokenize with truncation=True, max_length={limit}."
            )

    def _check_mask(self, attention_mask: Tensor | None, rows: int, tokens: int) -> None:
        if isinstance(attention_mask, Tensor) and attention_mask.dim() == 2 and attention_mask.shape != (rows, tokens):
            raise ValueError(
                f"attention_mask has the shape {tuple(attention_mask.shape)}, the input ({rows}, {tokens}). "
                f"Give one number for each token: 1, or 0 at padding."
            )

    def _pool(self, hidden_BTD: Tensor, mask_BT: Tensor | None) -> Tensor:
        if not isinstance(mask_BT, Tensor) or mask_BT.dim() != 2:
            mask_BT = hidden_BTD.new_ones(hidden_BTD.shape[:2], dtype=torch.long)
        return POOLERS[self.config.pooling](hidden_BTD, mask_BT)


class CodeRepHeadTransform(nn.Module):
    """Dense layer, activation and norm between token states and the vocabulary projection."""

    def __init__(self, config: CodeRepConfig) -> None:
        super().__init__()
        self.dense = nn.Linear(config.hidden_size, config.hidden_size, bias=config.use_bias)
        self.activation = ACT2FN[config.hidden_act]
        self.norm = _norm(config)

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
        all_logits: bool | None = None,
        **kwargs: Unpack[TransformersKwargs],
    ) -> MaskedLMOutput:
        """Predict masked tokens.

        Args:
            input_ids: (B, T) token ids with mask tokens; see `CodeRepModel.forward` for the other inputs.
            attention_mask: (B, T).
            position_ids: (B, T).
            inputs_embeds: (B, T, D).
            labels: (B, T), the true token at predicted positions and -100 elsewhere.
            num_items_in_batch: Predicted positions to divide the summed loss by; None takes those of this batch.
            all_logits: Whether `logits` covers all positions, or the predicted ones only, which spares the vocabulary
                projection at the others: a third or more of a small model's work. None means predicted ones only
                when labels are given in training mode. The loss is the same.
            **kwargs: Passed to the encoder.

        Returns:
            `loss` if labels are given, and `logits` (B, T, V), or (P, V) at predicted positions, row after row.

        Raises:
            ValueError: `all_logits=False` without labels, or a label is outside the vocabulary.
        """
        outputs = self.encoder(
            input_ids,
            attention_mask=attention_mask,
            position_ids=position_ids,
            inputs_embeds=inputs_embeds,
            **kwargs,
        )
        hidden_states = outputs.last_hidden_state
        if all_logits is None:
            all_logits = labels is None or not self.training
        if labels is None:
            if not all_logits:
                raise ValueError("all_logits=False needs labels: they say which positions are predicted.")
            loss, logits = None, self.lm_head(self.head(hidden_states))
        else:
            predicted_BT = labels != -100
            if all_logits:
                logits = self.lm_head(self.head(hidden_states))
                logits_PV = logits[predicted_BT]
            else:
                logits = logits_PV = self.lm_head(self.head(hidden_states[predicted_BT]))
            loss = masked_lm_loss(logits_PV, labels[predicted_BT], num_items_in_batch)
        return MaskedLMOutput(
            loss=loss, logits=logits, hidden_states=outputs.hidden_states, attentions=outputs.attentions
        )


def masked_lm_loss(logits_PV: Tensor, labels_P: Tensor, num_items_in_batch: Tensor | int | None = None) -> Tensor:
    """Cross-entropy summed over predicted positions and divided by their number; 0 when there is none.

    Raises:
        TypeError: The labels are no integers.
        ValueError: A label is outside the vocabulary. Told on CPUs.
    """
    check_ids(labels_P, "labels", logits_PV.shape[-1], "vocab_size", " -100 marks positions that are not predicted.")
    total = nn.functional.cross_entropy(logits_PV.float(), labels_P, reduction="sum")
    if num_items_in_batch is None:
        return total / max(labels_P.numel(), 1)
    if isinstance(num_items_in_batch, Tensor):
        return total / num_items_in_batch.to(total.device).clamp(min=1)
    return total / max(num_items_in_batch, 1)


class CodeRepForSequenceClassification(CodeRepPreTrainedModel):
    """The encoder with a linear head on its pooled output.

    With `classifier_inputs=2` it answers questions about two texts, such as clone detection: rows come as (B, 2, T),
    both texts are embedded alone, and the head sees how their embeddings u and v differ and agree, [|u - v|, u * v]
    (arXiv 1705.02364, section 3.1, without the parts that depend on the order), so that swapping them changes nothing.
    """

    accepts_loss_kwargs = False  # the loss is a mean over the batch: the Trainer divides by accumulation steps

    def __init__(self, config: CodeRepConfig) -> None:
        super().__init__(config)
        self.num_labels = config.num_labels
        self.encoder = CodeRepModel(config)
        self.dropout = _classifier_dropout(config)
        self.classifier = nn.Linear(config.hidden_size * config.classifier_inputs, config.num_labels)
        self.post_init()

    @can_return_tuple
    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        labels: Tensor | None = None,
        **kwargs: Unpack[TransformersKwargs],
    ) -> SequenceClassifierOutput:
        """Classify rows, or pairs of rows.

        Args:
            input_ids: (B, T), or (B, 2, T) with two inputs, as transformers' `DataCollatorForMultipleChoice` makes
                them; see `CodeRepModel.forward` for the inputs.
            attention_mask: (B, T) or (B, 2, T).
            position_ids: (B, T) or (B, 2, T), without restarts: packed rows have no single class.
            inputs_embeds: (B, T, D) or (B, 2, T, D).
            labels: (B,) class numbers or regression targets, or (B, L) for several labels at once; which loss they
                get follows `config.problem_type`, as in every transformers classifier.
            **kwargs: Passed to the encoder.

        Raises:
            ValueError: The rows are packed, or not as many per example as `classifier_inputs`.
        """
        inputs = {
            "input_ids": input_ids,
            "attention_mask": attention_mask,
            "position_ids": position_ids,
            "inputs_embeds": inputs_embeds,
        }
        if self.config.classifier_inputs == 2:
            self._check_pairs(inputs)
            inputs = {name: None if value is None else value.flatten(0, 1) for name, value in inputs.items()}
        outputs = self.encoder(**inputs, **kwargs)
        features = outputs.pooler_output
        if features is None:
            raise ValueError("Packed rows hold several documents and cannot be classified. Give one document a row.")
        if self.config.classifier_inputs == 2:
            left, right = features.unflatten(0, (-1, 2)).unbind(1)
            features = torch.cat([(left - right).abs(), left * right], dim=-1)
        logits = self.classifier(self.dropout(features))
        loss = None
        if labels is not None:
            loss = self.loss_function(labels=labels, pooled_logits=logits, config=self.config)
        return SequenceClassifierOutput(
            loss=loss, logits=logits, hidden_states=outputs.hidden_states, attentions=outputs.attentions
        )

    def _check_pairs(self, inputs: dict[str, Tensor | None]) -> None:
        for name, value in inputs.items():
            dimensions = 4 if name == "inputs_embeds" else 3
            if value is not None and (value.dim() != dimensions or value.shape[1] != 2):
                raise ValueError(
                    f"classifier_inputs=2 needs pairs of rows, (batch, 2, tokens), got {name} in the shape "
                    f"{tuple(value.shape)}."
                )


class CodeRepForTokenClassification(CodeRepPreTrainedModel):
    """The encoder with a linear head on each token."""

    accepts_loss_kwargs = False  # the loss is a mean over the batch: the Trainer divides by accumulation steps

    def __init__(self, config: CodeRepConfig) -> None:
        super().__init__(config)
        self.num_labels = config.num_labels
        self.encoder = CodeRepModel(config)
        self.dropout = _classifier_dropout(config)
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
        **kwargs: Unpack[TransformersKwargs],
    ) -> TokenClassifierOutput:
        """Classify tokens.

        Args:
            input_ids: (B, T); see `CodeRepModel.forward` for the inputs. Packed rows are welcome.
            attention_mask: (B, T).
            position_ids: (B, T).
            inputs_embeds: (B, T, D).
            labels: (B, T) class numbers, -100 at tokens without one.
            **kwargs: Passed to the encoder.
        """
        outputs = self.encoder(
            input_ids,
            attention_mask=attention_mask,
            position_ids=position_ids,
            inputs_embeds=inputs_embeds,
            **kwargs,
        )
        logits = self.classifier(self.dropout(outputs.last_hidden_state))
        loss = None if labels is None else self.loss_function(logits, labels, self.config)
        return TokenClassifierOutput(
            loss=loss, logits=logits, hidden_states=outputs.hidden_states, attentions=outputs.attentions
        )


def _classifier_dropout(config: CodeRepConfig) -> nn.Dropout:
    return nn.Dropout(config.hidden_dropout if config.classifier_dropout is None else config.classifier_dropout)


__all__ = [
    "CodeRepForMaskedLM",
    "CodeRepForSequenceClassification",
    "CodeRepForTokenClassification",
    "CodeRepModel",
    "CodeRepPreTrainedModel",
]
