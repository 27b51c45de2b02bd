"""A frozen encoder whose embeddings of the texts of a batch training keeps near to."""

from __future__ import annotations

from copy import copy
from typing import Any

from accelerate.utils import convert_outputs_to_fp32, patch_environment
from torch import Tensor, nn
from transformers import PreTrainedTokenizerBase

from .arguments import ContrastiveArguments
from .backbones import load_backbone
from .embedding import FlatTexts, embed_texts, mini_batches, packs
from .gradcache import embed_all


def load_teacher(args: ContrastiveArguments, tokenizer: PreTrainedTokenizerBase) -> nn.Module | None:
    """The model that training starts from, once more, where the arguments ask for its geometry of texts.

    It is read anew however far training has come, so that a run that goes on has the same teacher.

    Raises:
        ValueError: Training starts from a new model, which has nothing to keep.
    """
    if not args.text_geometry_weight:
        return None
    if not args.model:
        raise ValueError(
            f"text_geometry_weight={args.text_geometry_weight} keeps texts where the model to start from has them, and "
            "none is given. Name it with --model, or leave text_geometry_weight out."
        )
    bare = copy(args)
    bare.lora_rank = None
    # FSDP may have only the first process read weights, and hand them on when it shards; this model it never sees.
    with patch_environment(fsdp_cpu_ram_efficient_loading="false"):
        return load_backbone(bare, tokenizer).model


class Teacher:
    """Embeds texts as the model does, in evaluation mode and without a graph.

    It is no part of what is trained: not saved, not sharded, not compiled.

    Args:
        model: The encoder; it is frozen, and moved to the device of training.
        pooling: A key of `POOLERS`.
        accelerator: Knows the device, and the precision that the trained model runs in.
    """

    def __init__(self, model: nn.Module, pooling: str, accelerator: Any) -> None:
        self.model = model.to(accelerator.device).eval().requires_grad_(False)
        self._pooling, self._packed = pooling, packs(self.model)
        self._pad_id = getattr(model.config, "pad_token_id", None) or 0

        def in_training_precision(**inputs: Tensor) -> Any:
            with accelerator.autocast():
                return self.model(**inputs)

        self._call = convert_outputs_to_fp32(in_training_precision)  # as `Accelerator.prepare` wraps the other model

    def embed(self, texts: FlatTexts, budget_tokens: int) -> Tensor:
        """Embeddings_ND of all texts, so many tokens at a time."""
        batches = mini_batches([texts.lengths_N], budget_tokens, self._packed)

        def embed(texts_I: Tensor) -> Tensor:
            return embed_texts(self._call, texts, texts_I, self._pooling, self._pad_id, self._packed)

        return embed_all(embed, batches)
