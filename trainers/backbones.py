"""Backbones: any encoder that stage 2 starts from, with what makes an embedding of its token states.

A model's pooling is an entry of its config, `pooling`, whatever the model: transformers keeps entries that it does not
know. So a saved model tells it to `AutoModel` and to every command here.

Shape suffixes: B = documents, T = tokens, D = embedding width.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch import Tensor, nn
from transformers import AutoModel, PreTrainedModel, PreTrainedTokenizerBase

from modeling_coderep.pooling_coderep import POOLERS

from .sentence_folder import SentenceFolder, read_sentence_folder

if TYPE_CHECKING:
    from .arguments import TaskArguments

POOLING = "pooling"
_POOLER = "pooler"  # BERT's, for predicting the next sentence


def pooling_of(model: nn.Module) -> str:
    """The pooling that a model's config names, else the mean over real tokens."""
    return getattr(getattr(model, "module", model).config, POOLING, "mean")


def set_pooling(model: PreTrainedModel, pooling: str) -> None:
    """Make a model's config name its pooling, where that is not the one it has without."""
    if pooling != pooling_of(model):
        setattr(model.config, POOLING, pooling)


def embed(model: nn.Module, input_ids: Tensor, attention_mask: Tensor, pooling: str | None = None) -> Tensor:
    """Pooled embeddings_BD of any HF encoder for padded `input_ids` and `attention_mask` of shape (B, T)."""
    outputs = model(input_ids=input_ids, attention_mask=attention_mask)
    return POOLERS[pooling or pooling_of(model)](outputs.last_hidden_state, attention_mask)


@dataclass(frozen=True)
class Backbone:
    """An encoder to train.

    Args:
        model: What is called; with adapters where LoRA was asked for.
        pooling: Name of its pooling, a key of `POOLERS`.
        limit: Longest input in tokens; None if any.
        folder: The sentence-transformers folder that it is from; None if it is from none.
    """

    model: nn.Module
    pooling: str
    limit: int | None = None
    folder: SentenceFolder | None = None

    def cut(self, max_length: int) -> int:
        """The longest input in tokens when `max_length` is asked for."""
        return min(max_length, self.limit or max_length)

    @property
    def prompts(self) -> Mapping[str, str]:
        """What a `text` and a `code` begin with; most models have none."""
        return self.folder.prompts if self.folder else {}


def load_backbone(args: TaskArguments, tokenizer: PreTrainedTokenizerBase) -> Backbone:
    """The encoder that the arguments name, or a new coderep model, with adapters where `lora_rank` is given.

    Raises:
        FileNotFoundError: The checkpoint does not exist.
        ValueError: It is no encoder that can be trained here, or the tokenizer is another model's.
    """
    from .lora import add_lora  # here, since encoding needs nothing of training
    from .stage import load_model

    folder = read_sentence_folder(args.model) if args.model else None
    model = load_model(AutoModel, args, tokenizer)
    check_encoder_of(model, tokenizer)
    if folder:
        set_pooling(model, folder.pooling)
    freeze_unused(model)
    lengths = [position_limit(model), tokenizer.model_max_length]
    limit = min((length for length in lengths if length is not None), default=None)
    if args.lora_rank:
        model = add_lora(model, args)
    return Backbone(model, pooling_of(model), limit, folder)


def check_encoder_of(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:
    """Refuse what is no encoder, or not this tokenizer's.

    Raises:
        ValueError: The model has a decoder besides, or fewer tokens than the tokenizer.
    """
    if getattr(model.config, "is_encoder_decoder", False):
        raise ValueError(f"{type(model).__name__} has a decoder besides. Name a model that is an encoder alone.")
    check_vocabulary(model, len(tokenizer))


def check_vocabulary(model: PreTrainedModel, vocab_size: int) -> None:
    """Refuse a tokenizer that has tokens which the model has no embeddings for.

    Raises:
        ValueError: It has some.
    """
    tokens = model.get_input_embeddings().num_embeddings
    if vocab_size > tokens:
        raise ValueError(f"the tokenizer has {vocab_size} tokens, the model {tokens}. Name the model's own tokenizer.")


def freeze_unused(model: PreTrainedModel) -> None:
    """Take the weights behind the token states out of training: several processes would wait for their gradients."""
    pooler = getattr(model, _POOLER, None)
    if isinstance(pooler, nn.Module):
        pooler.requires_grad_(False)


def position_limit(model: PreTrainedModel) -> int | None:
    """Longest input in tokens that the model has positions for; None if any."""
    for name, module in model.named_modules():
        if name.endswith("position_embeddings") and getattr(module, "padding_idx", None) is not None:
            return module.num_embeddings - module.padding_idx - 1  # RoBERTa counts from behind the one of padding
    return getattr(model.config, "max_position_embeddings", None)
