"""Classifiers on encoders: their heads, the rows they read, and a head fitted to frozen embeddings.

Shape suffixes: N = examples, B = examples of a batch, T = tokens, D = embedding width, F = features, C = classes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import datasets
import numpy as np
import torch
from torch import Tensor, nn
from transformers import AutoModelForSequenceClassification, PreTrainedModel, PreTrainedTokenizerBase

from modeling_coderep import CodeRepForSequenceClassification

from .arguments import ClassifyArguments
from .encode import Encoder
from .evaluation import classification as heads
from .evaluation.classification_sets import ClassificationSet, Examples
from .sentence_folder import saved_json
from .stage import load_model

_OURS = ("coderep", "codesage")


def load_classifier(
    args: ClassifyArguments, tokenizer: PreTrainedTokenizerBase, data: ClassificationSet
) -> PreTrainedModel:
    """The checkpoint with a new head for the classes of a set.

    Pairs of codes are embedded one by one by our models, and read as one joined input by others.

    Raises:
        ValueError: No model is named, or transformers has no classifier on it.
    """
    if not args.model:
        raise ValueError("no model given. Name a checkpoint to start from with --model.")
    names = dict(enumerate(data.classes))
    changes: dict[str, Any] = {"id2label": names, "label2id": {name: number for number, name in names.items()}}
    if saved_json(args.model, "config.json").get("model_type") in _OURS and len(data.train.codes) == 2:
        changes["classifier_inputs"] = 2
    try:
        return load_model(AutoModelForSequenceClassification, args, tokenizer, **changes)
    except ValueError as error:
        if "Unrecognized configuration class" not in str(error):
            raise
        raise ValueError(f"{args.model!r} cannot be a classifier ({str(error).splitlines()[0]}).") from error


def head_names(model: PreTrainedModel) -> list[str]:
    """Names of the modules behind the encoder's token states: those around the encoder, and its pooler."""
    parts = {name: part for name, part in model.named_children() if name != model.base_model_prefix}
    around = [name for name, part in parts.items() if any(True for _ in part.parameters())]
    return around + (["pooler"] if isinstance(getattr(model.base_model, "pooler", None), nn.Module) else [])


def freeze_encoder(model: PreTrainedModel) -> None:
    """Leave only the modules of `head_names` to be trained."""
    model.requires_grad_(False)
    for name in head_names(model):
        getattr(model if hasattr(model, name) else model.base_model, name).requires_grad_(True)


def takes_pairs(model: PreTrainedModel) -> bool:
    """Whether a model embeds the two codes of a pair one by one."""
    return getattr(model.config, "classifier_inputs", 1) == 2


def tokenize_rows(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    max_length: int,
    classes: Sequence[str] | None,
    examples: Examples,
) -> datasets.Dataset:
    """Rows of `tokenize_examples`, a pair of codes as this kind of model reads it; see there."""
    encoder = Encoder(model, tokenizer, tokenizer.model_max_length)
    joined = len(examples.codes) == 2 and not takes_pairs(model)
    return heads.tokenize_examples(encoder, examples, max_length, classes, joined=joined)


def row_collator(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase
) -> Callable[[Sequence[dict[str, Any]]], dict[str, Tensor]]:
    """Batches of (B, 2, T) for models that embed the codes of a pair one by one, of (B, T) for others."""
    pairs, pad = takes_pairs(model), tokenizer.pad_token_id or 0

    def collate(rows: Sequence[dict[str, Any]]) -> dict[str, Tensor]:
        batch = heads.collate_examples(rows, pad)
        return (
            batch if pairs else {name: value.squeeze(1) if value.dim() == 3 else value for name, value in batch.items()}
        )

    return collate


def fit_probe(
    model: CodeRepForSequenceClassification,
    tokenizer: PreTrainedTokenizerBase,
    data: ClassificationSet,
    args: ClassifyArguments,
) -> int:
    """Fit the head to embeddings computed once, as `coderep eval classify` does; returns how many tokens they had.

    The evaluation standardises embeddings of length 1, this those that the model itself gives.
    """
    embedder = _Unscaled(model, tokenizer)
    (features_NF,) = heads.frozen_features(
        embedder, data.train, join=_distance if takes_pairs(model) else heads.join_sides
    )
    labels_N = torch.from_numpy(np.searchsorted(np.array(data.classes), data.train.labels))
    head = heads.train_probe(
        *(heads.standardize(features_NF)[0], labels_N, len(data.classes)),
        epochs=int(args.num_train_epochs),
        learning_rate=args.learning_rate,
        batch_size=args.per_device_train_batch_size,
        seed=args.seed,
    )
    weight_CF, bias_C = heads.unstandardized(head, *heads.feature_scale(features_NF))
    with torch.no_grad():
        model.classifier.weight.copy_(weight_CF)
        model.classifier.bias.copy_(bias_C)
    return embedder.tokens


class _Unscaled:
    """Embeddings as the classifier sees them, not scaled to length 1; counts their tokens."""

    def __init__(self, model: CodeRepForSequenceClassification, tokenizer: PreTrainedTokenizerBase) -> None:
        self._encoder, self._tokenizer, self.tokens = model.encoder, tokenizer, 0

    def embed(self, texts: Sequence[str], **_: Any) -> np.ndarray:
        self.tokens += sum(map(len, self._tokenizer(list(texts), truncation=True)["input_ids"]))
        return self._encoder.encode(texts, self._tokenizer, max_length=self._tokenizer.model_max_length)


def _distance(sides: Sequence[Tensor]) -> Tensor:
    """Features of a pair as `CodeRepForSequenceClassification` makes them."""
    u_ND, v_ND = sides
    return torch.cat([(u_ND - v_ND).abs(), u_ND * v_ND], dim=-1)
