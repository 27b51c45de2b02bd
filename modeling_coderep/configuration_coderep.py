"""Configuration of the coderep encoder (CodeSage's architecture: arXiv 2402.01935, Table 5).

Sizes are counted in units of the model: hidden units, heads, layers, tokens.
"""

from typing import Literal

from huggingface_hub.dataclasses import strict
from transformers import PreTrainedConfig


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
        hidden_act: Activation of the feed-forward layer, a name that transformers knows. The default is the paper's
            `gelu_new` in its fused form.
        max_position_embeddings: Longest document in tokens, EOS included.
        position_embedding: "absolute" adds a learned vector for each position, as in CodeSage; "rotary" turns queries
            and keys by their position (arXiv 2104.09864) and needs an even number of units per head.
        rotary_base: Base of the rotary wave lengths.
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
    max_position_embeddings: int = 2048
    position_embedding: Literal["absolute", "rotary"] = "absolute"
    rotary_base: float = 10_000.0
    embedding_dropout: float | int = 0.1
    hidden_dropout: float | int = 0.1
    attention_dropout: float | int = 0.1
    layer_norm_eps: float = 1e-5
    initializer_range: float = 0.02
    pooling: Literal["mean", "cls", "last"] = "mean"
    mlm_head: Literal["linear", "transform"] = "transform"
    classifier_dropout: float | int | None = None
    bos_token_id: int | None = 0
    eos_token_id: int | list[int] | None = 0
    mask_token_id: int | None = 1
    pad_token_id: int | None = 2
    tie_word_embeddings: bool = True

    def validate_sizes(self) -> None:
        """Every size is at least 1 and the heads divide the hidden size."""
        sizes = (
            "vocab_size",
            "hidden_size",
            "num_hidden_layers",
            "num_attention_heads",
            "intermediate_size",
            "max_position_embeddings",
        )
        for name in sizes:
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}.")
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

    def validate_rates(self) -> None:
        """Dropout rates lie in [0, 1)."""
        for name in ("embedding_dropout", "hidden_dropout", "attention_dropout", "classifier_dropout"):
            rate = getattr(self, name)
            if rate is not None and not 0 <= rate < 1:
                raise ValueError(f"{name} must lie in [0, 1), got {rate}. To switch dropout off, use 0.")

    def validate_special_tokens(self) -> None:
        """Special-token ids name rows of the embedding."""
        for name in ("bos_token_id", "mask_token_id", "pad_token_id"):
            token = getattr(self, name)
            if token is not None and not 0 <= token < self.vocab_size:
                raise ValueError(
                    f"{name}={token} is outside the vocabulary of {self.vocab_size} tokens. "
                    f"Set it to the tokenizer's id, or to None."
                )


__all__ = ["CodeRepConfig"]
