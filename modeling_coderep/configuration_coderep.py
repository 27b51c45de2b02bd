"""Configuration of the coderep encoder: CodeSage's architecture (arXiv 2402.01935, Table 5) and a modern one.

Sizes are counted in units of the model: hidden units, heads, layers, tokens.
"""

import difflib
from typing import Any, Literal

from huggingface_hub.dataclasses import strict
from transformers import PreTrainedConfig
from transformers.activations import ACT2FN

# What CodeSage's released models have in common: StarCoder's vocabulary with a mask and a padding token after it.
_CODESAGE = {
    "vocab_size": 49_154,
    "max_position_embeddings": 2048,
    "mlm_head": "linear",
    "bos_token_id": 0,
    "eos_token_id": 0,
    "mask_token_id": 49_152,
    "pad_token_id": 49_153,
}
# Ours for two CPU cores. Attention dropout costs CPUs more than half of their speed, and such models underfit.
_LIGHT = {"embedding_dropout": 0.0, "hidden_dropout": 0.0, "attention_dropout": 0.0}


def _shape(layers: int, heads: int, hidden: int) -> dict[str, int]:
    sizes = {"num_hidden_layers": layers, "num_attention_heads": heads, "hidden_size": hidden}
    return {**sizes, "intermediate_size": 4 * hidden}


PRESETS: dict[str, dict[str, Any]] = {
    "tiny": {**_shape(4, 4, 256), **_LIGHT, "vocab_size": 16_384, "max_position_embeddings": 512},
    "mini": {**_shape(6, 6, 384), **_LIGHT, "vocab_size": 32_768, "max_position_embeddings": 1024},
    "small": {**_shape(6, 8, 1024), **_CODESAGE},
    "base": {**_shape(24, 8, 1024), **_CODESAGE},
    "large": {**_shape(24, 16, 2048), **_CODESAGE},
}
# The encoder as it is built today (ModernBERT, arXiv 2412.13663, section 2.1); the gated layer keeps its parameters.
_MODERN = {"position_embedding": "rotary", "gated_mlp": True, "use_bias": False, "mlm_head": "transform"}


# No `from __future__ import annotations` here: `strict` reads the annotations at run time.
@strict
class CodeRepConfig(PreTrainedConfig):
    """Shape and behaviour of a coderep encoder; refuses contradictory values when it is built.

    Args:
        vocab_size: Rows of the token embedding.
        hidden_size: Width of the residual stream; a multiple of `num_attention_heads`.
        num_hidden_layers: Transformer layers.
        num_attention_heads: Attention heads per layer.
        intermediate_size: Width of the feed-forward layer.
        gated_mlp: Multiply the activation by a second projection of the same width (GeGLU, arXiv 2002.05202).
        use_bias: Give linear layers and norms of the encoder a bias.
        hidden_act: Activation of the feed-forward layer, a name that transformers knows. The default is the paper's
            `gelu_new` in its fused form.
        max_position_embeddings: Longest document in tokens, EOS included.
        position_embedding: "absolute" adds a learned vector for each position, as in CodeSage; "rotary" turns queries
            and keys by their position (arXiv 2104.09864) and needs an even number of units per head.
        rotary_base: Base of the rotary wave lengths.
        local_attention: Farthest token, to either side, that a token attends to in local layers; None makes every
            layer global.
        global_attention_every: With local attention, layers 0, n, 2n, ... are global.
        embedding_dropout: Dropout rate after the embeddings.
        hidden_dropout: Dropout rate on the output of each attention and feed-forward block.
        attention_dropout: Dropout rate on the attention weights.
        layer_norm_eps: Epsilon of every layer norm.
        initializer_range: Standard deviation of the normal distribution that weights start from.
        pooling: How token states become one embedding: their mean, the first or the last token.
        mlm_head: What stands between token states and the tied vocabulary projection. "linear" is nothing, as in
            CodeSage. "transform" is a dense layer with norm and a bias on the logits, as in BERT and its successors:
            it takes up what belongs to masked language modelling alone, such as token frequencies, and leaves the
            states free for embeddings.
        classifier_dropout: Dropout rate before a classification head; None takes `hidden_dropout`.
        classifier_inputs: Texts that a sequence classifier looks at: 1, or 2 for questions about a pair, such as
            whether one is a clone of the other.

    Raises:
        StrictDataclassFieldValidationError: A field has a value of the wrong type.
        StrictDataclassClassValidationError: Fields contradict each other; the cause says which and why.
    """

    model_type = "coderep"

    vocab_size: int = 32768
    hidden_size: int = 768
    num_hidden_layers: int = 12
    num_attention_heads: int = 12
    intermediate_size: int = 3072
    hidden_act: str = "gelu_pytorch_tanh"
    gated_mlp: bool = False
    use_bias: bool = True
    max_position_embeddings: int = 2048
    position_embedding: Literal["absolute", "rotary"] = "absolute"
    rotary_base: float | int = 10_000.0
    local_attention: int | None = None
    global_attention_every: int = 3
    embedding_dropout: float | int = 0.1
    hidden_dropout: float | int = 0.1
    attention_dropout: float | int = 0.1
    layer_norm_eps: float = 1e-5
    initializer_range: float = 0.02
    pooling: Literal["mean", "cls", "last"] = "mean"
    mlm_head: Literal["linear", "transform"] = "transform"
    classifier_dropout: float | int | None = None
    classifier_inputs: Literal[1, 2] = 1
    bos_token_id: int | None = 0
    eos_token_id: int | list[int] | None = 0
    mask_token_id: int | None = 1
    pad_token_id: int | None = 2
    tie_word_embeddings: bool = True

    @classmethod
    def from_dict(cls, config_dict: dict[str, Any], **kwargs: Any) -> Any:
        """The configuration in a dictionary, such as the content of config.json.

        Raises:
            ValueError: It is that of another kind of model.
        """
        kind = config_dict.get("model_type", cls.model_type)
        if kind != cls.model_type:
            raise ValueError(
                f"this is the configuration of a {kind!r} model, not of a {cls.model_type!r} one. "
                f"Load it with AutoModel.from_pretrained, which finds the right class."
            )
        return super().from_dict(config_dict, **kwargs)

    @classmethod
    def from_preset(cls, name: str, *, modern: bool = False, **fields: Any) -> "CodeRepConfig":
        """The configuration of a named size.

        "small", "base" and "large" are CodeSage's (128M, 355M, 1.3B parameters), "mini" (24M) and "tiny" (7M) are
        ours.

        Args:
            name: One of `PRESETS`.
            modern: Rotary positions, GeGLU of as many parameters, no biases, and an own masked-LM head, instead of
                CodeSage's architecture.
            **fields: Fields that differ from the preset.

        Raises:
            ValueError: There is no such preset.
        """
        if name not in PRESETS:
            raise ValueError(f"unknown preset {name!r}. Known: {', '.join(PRESETS)}.")
        preset = {**PRESETS[name], **(_MODERN if modern else {})}
        if modern:
            preset["intermediate_size"] = preset["intermediate_size"] * 2 // 3 // 64 * 64
        return cls(**{**preset, **fields})

    def is_local(self, layer: int) -> bool:
        """Whether a layer, counted from 0, has local attention."""
        return self.local_attention is not None and layer % self.global_attention_every != 0

    def validate_sizes(self) -> None:
        """Every size is at least 1 and the heads divide the hidden size."""
        sizes = (
            "vocab_size",
            "hidden_size",
            "num_hidden_layers",
            "num_attention_heads",
            "intermediate_size",
            "max_position_embeddings",
            "global_attention_every",
            "local_attention",
        )
        for name in sizes:
            size = getattr(self, name)
            if size is not None and size < 1:
                raise ValueError(f"{name} must be at least 1, got {size}.")
        if self.hidden_size % self.num_attention_heads:
            raise ValueError(
                f"hidden_size={self.hidden_size} is not a multiple of "
                f"num_attention_heads={self.num_attention_heads}. Change one of the two."
            )
        if self.position_embedding == "rotary" and self.hidden_size // self.num_attention_heads % 2:
            raise ValueError(
                f"rotary positions need an even number of units per head, got hidden_size={self.hidden_size} over "
                f"num_attention_heads={self.num_attention_heads}. Change one of the two, or use 'absolute'."
            )

    def validate_activation(self) -> None:
        """The activation is one that transformers knows."""
        if self.hidden_act not in ACT2FN:
            close = difflib.get_close_matches(self.hidden_act, list(ACT2FN), n=3)
            raise ValueError(
                f"hidden_act={self.hidden_act!r} is no activation that transformers knows. "
                f"{'Did you mean ' + ' or '.join(close) + '?' if close else 'CodeSage has gelu_new.'}"
            )

    def validate_rates(self) -> None:
        """Dropout rates lie in [0, 1)."""
        for name in ("embedding_dropout", "hidden_dropout", "attention_dropout", "classifier_dropout"):
            rate = getattr(self, name)
            if rate is not None and not 0 <= rate < 1:
                raise ValueError(f"{name} must lie in [0, 1), got {rate}. To switch dropout off, use 0.")
        for name in ("layer_norm_eps", "initializer_range", "rotary_base"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} must be above 0, got {getattr(self, name)}.")

    def validate_special_tokens(self) -> None:
        """Special-token ids name rows of the embedding."""
        for name in ("bos_token_id", "eos_token_id", "mask_token_id", "pad_token_id"):
            token = getattr(self, name)
            if isinstance(token, int) and not 0 <= token < self.vocab_size:
                raise ValueError(
                    f"{name}={token} is outside the vocabulary of {self.vocab_size} tokens. "
                    f"Set it to the tokenizer's id, or to None."
                )


__all__ = ["PRESETS", "CodeRepConfig"]
