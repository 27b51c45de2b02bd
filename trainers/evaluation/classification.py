"""Heads that classify code: one on frozen embeddings (a linear probe), or one tuned together with its encoder.

Shape suffixes: N = examples, B = examples of a batch, S = codes of an example (2 for pairs, else 1), T = tokens,
D = embedding width, F = features, C = classes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import torch
from torch import Tensor, nn
from transformers import Trainer, TrainingArguments

from modeling_coderep.encoding_coderep import token_budget_batches

from ..backbones import embed
from ..encode import Encoder
from ..progress import show_progress
from .classification_sets import Examples
from .embedders import Embedder

_INITIAL_STD = 0.02  # transformers' for new heads
_LEAST_DEVIATION = 1e-6  # a feature that never changes stays 0
_TYPES = "token_type_ids"


def join_sides(sides: Sequence[Tensor]) -> Tensor:
    """Features_NF of the embeddings_ND of one code, or of both codes of a pair.

    A pair gives [u, v, |u - v|, u * v]: the last two do not change when the codes change places.
    """
    if len(sides) == 1:
        return sides[0]
    u_ND, v_ND = sides
    return torch.cat([u_ND, v_ND, (u_ND - v_ND).abs(), u_ND * v_ND], dim=-1)


def frozen_features(
    embedder: Embedder,
    *parts: Examples,
    max_length: int | None = None,
    join: Callable[[Sequence[Tensor]], Tensor] = join_sides,
) -> list[Tensor]:
    """Features_NF of the examples of each part. A code that occurs several times is embedded once."""
    columns = [column for part in parts for column in part.codes]
    places = {code: place for place, code in enumerate(dict.fromkeys(code for column in columns for code in column))}
    embeddings = torch.from_numpy(embedder.embed(list(places), max_length=max_length))
    return [join([embeddings[[places[code] for code in column]] for column in part.codes]) for part in parts]


def standardize(train_NF: Tensor, *others: Tensor) -> list[Tensor]:
    """Every feature with mean 0 and deviation 1 over the training examples, and the others scaled in the same way.

    The learning rate of a probe is fixed, so that how far it gets depends on the scale of the features. Embeddings of
    length 1 have features of some 0.05, a hidden state of some 1. Standardised, models differ in what their embeddings
    tell, not in how long they are.
    """
    mean_F, deviation_F = feature_scale(train_NF)
    return [(features_NF - mean_F) / deviation_F for features_NF in (train_NF, *others)]


def feature_scale(train_NF: Tensor) -> tuple[Tensor, Tensor]:
    """Mean_F and deviation_F of features over the training examples."""
    return train_NF.mean(dim=0), train_NF.std(dim=0, correction=0).clamp(min=_LEAST_DEVIATION)


def unstandardized(head: nn.Linear, mean_F: Tensor, deviation_F: Tensor) -> tuple[Tensor, Tensor]:
    """Weight_CF and bias_C that do with features as they are what a head does with standardised ones."""
    weight_CF = head.weight.detach() / deviation_F
    return weight_CF, head.bias.detach() - weight_CF @ mean_F


def linear_head(features: int, classes: int, generator: torch.Generator | None = None) -> nn.Linear:
    """A new linear layer: small normal weights, no bias yet."""
    head = nn.Linear(features, classes)
    nn.init.normal_(head.weight, std=_INITIAL_STD, generator=generator)
    nn.init.zeros_(head.bias)
    return head


def train_probe(
    features_NF: Tensor,
    labels_N: Tensor,
    classes: int,
    *,
    epochs: int,
    learning_rate: float,
    batch_size: int = 32,
    seed: int = 0,
) -> nn.Linear:
    """A linear head trained on features: AdamW without weight decay, learning rate falling linearly to 0.

    The bias starts at the logarithm of how frequent a class is, since standardised features do not tell that and a few
    hundred steps cannot learn it.

    Args:
        features_NF: Standardised features.
        labels_N: Numbers of the classes, each of which occurs.
        classes: How many.
        epochs: Times that each example is seen.
        learning_rate: The first one.
        batch_size: Examples a step.
        seed: Of the initial weights and of the order of the examples.
    """
    generator = torch.Generator().manual_seed(seed)
    head = linear_head(features_NF.shape[1], classes, generator)
    with torch.no_grad():
        head.bias.copy_(torch.bincount(labels_N, minlength=classes).div(len(labels_N)).log())
    optimizer = torch.optim.AdamW(head.parameters(), lr=learning_rate, weight_decay=0.0)
    steps = epochs * -(-len(labels_N) // batch_size)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1 - step / steps)
    for _ in range(epochs):
        for batch_B in torch.randperm(len(labels_N), generator=generator).split(batch_size):
            optimizer.zero_grad()
            nn.functional.cross_entropy(head(features_NF[batch_B]), labels_N[batch_B]).backward()
            optimizer.step()
            schedule.step()
    return head


class CodeClassifier(nn.Module):
    """An encoder, its pooled embeddings, and a linear head on them; all of it, or what requires gradients, is trained.

    The encoder may carry adapters (peft): it is only called, and asked for its config.

    Args:
        encoder: Any HF encoder.
        classes: How many.
        sides: 2 to classify pairs.
        dropout: On the features.
        seed: Of the head's initial weights.
    """

    def __init__(
        self, encoder: nn.Module, classes: int, *, sides: int = 1, dropout: float = 0.0, seed: int = 0
    ) -> None:
        super().__init__()
        width = encoder.config.hidden_size * (1 if sides == 1 else 4)
        self.encoder, self.dropout = encoder, nn.Dropout(dropout)
        self.head = linear_head(width, classes, torch.Generator().manual_seed(seed))

    def forward(self, input_ids: Tensor, attention_mask: Tensor, labels: Tensor | None = None) -> dict[str, Tensor]:
        """Logits_BC and, with labels_B, the cross-entropy, of `input_ids` and `attention_mask` of shape (B, S, T)."""
        pooled_RD = embed(self.encoder, input_ids.flatten(0, 1), attention_mask.flatten(0, 1))
        sides = pooled_RD.unflatten(0, input_ids.shape[:2]).unbind(dim=1)
        logits_BC = self.head(self.dropout(join_sides(sides))).float()
        if labels is None:
            return {"logits": logits_BC}
        return {"loss": nn.functional.cross_entropy(logits_BC, labels), "logits": logits_BC}


def tokenize_examples(
    encoder: Encoder, examples: Examples, max_length: int, classes: Sequence[str] | None = None, joined: bool = False
) -> datasets.Dataset:
    """Rows of `input_ids` (a list for each code), `length` and, with the names of the classes, `labels`.

    What looks like a special token in a code is text, as in `Encoder.encode`. A code without any token is padding.

    Args:
        encoder: Its tokenizer and its longest input are used.
        examples: Codes or pairs of codes.
        max_length: Longest input in tokens.
        classes: Names of the classes by their numbers; None leaves out the labels.
        joined: Whether a pair is one input, as the tokenizer joins two texts, which tells them apart in
            `token_type_ids` where it makes any.
    """
    options = {"truncation": True, "max_length": min(max_length, encoder.max_length), "split_special_tokens": True}
    columns = [examples.codes] if joined else [(column,) for column in examples.codes]
    sides = [encoder.tokenizer(*column, **options) for column in columns]
    empty = [encoder.tokenizer.pad_token_id]
    rows: dict[str, list[Any]] = {
        "input_ids": [[ids or empty for ids in row] for row in zip(*(side["input_ids"] for side in sides), strict=True)]
    }
    if joined and _TYPES in sides[0]:
        rows[_TYPES] = [[ids] for ids in sides[0][_TYPES]]
    rows["length"] = [max(map(len, row)) for row in rows["input_ids"]]
    if classes is not None:
        numbers = {name: number for number, name in enumerate(classes)}
        rows["labels"] = [numbers[label] for label in examples.labels]
    return datasets.Dataset.from_dict(rows)


def collate_examples(rows: Sequence[dict[str, Any]], pad_token_id: int) -> dict[str, Tensor]:
    """Rows of `tokenize_examples` as one batch: `input_ids` and `attention_mask` (B, S, T), and the rest if given."""
    width = max(row["length"] for row in rows)
    lengths_BS1 = torch.tensor([[len(ids) for ids in row["input_ids"]] for row in rows]).unsqueeze(-1)

    def padded(name: str, filler: int) -> Tensor:
        return torch.tensor([[[*ids, *[filler] * (width - len(ids))] for ids in row[name]] for row in rows])

    batch = {"input_ids": padded("input_ids", pad_token_id), "attention_mask": torch.arange(width) < lengths_BS1}
    batch["attention_mask"] = batch["attention_mask"].long()
    if _TYPES in rows[0]:
        batch[_TYPES] = padded(_TYPES, 0)
    return batch | ({"labels": torch.tensor([row["labels"] for row in rows])} if "labels" in rows[0] else {})


def finetune_arguments(
    output_dir: str | Path, *, epochs: int, learning_rate: float, batch_size: int = 32, seed: int = 0, **changes: Any
) -> TrainingArguments:
    """The paper's: AdamW, linear schedule, no warm-up. Batches hold codes of similar lengths, which spares padding.

    Args:
        output_dir: Folder of checkpoints, if `changes` ask for any.
        epochs: Times that each example is seen.
        learning_rate: The first one.
        batch_size: Examples a step and device.
        seed: Of the order of the examples and of dropout.
        changes: Fields of TrainingArguments.
    """
    on_gpu = torch.cuda.is_available()
    fields = {
        "num_train_epochs": epochs,
        "learning_rate": learning_rate,
        "per_device_train_batch_size": batch_size,
        "seed": seed,
        "lr_scheduler_type": "linear",
        "train_sampling_strategy": "group_by_length",
        "remove_unused_columns": False,
        "save_strategy": "no",
        "report_to": "none",
        "logging_steps": 20,
        "bf16": on_gpu and torch.cuda.is_bf16_supported(),
        "dataloader_pin_memory": on_gpu,
    }
    return TrainingArguments(output_dir=str(output_dir), **{**fields, **changes})


def finetune_trainer(
    classifier: CodeClassifier, rows: datasets.Dataset, pad_token_id: int, args: TrainingArguments, label: str
) -> Trainer:
    """HF's Trainer of a classifier, with lines of progress.

    Args:
        classifier: Trained in place; what does not require gradients stays as it is.
        rows: Made by `tokenize_examples` with classes.
        pad_token_id: Of the tokenizer.
        args: See `finetune_arguments`.
        label: Begins the lines of progress.
    """
    collate = partial(collate_examples, pad_token_id=pad_token_id)
    trainer = Trainer(model=classifier, args=args, data_collator=collate, train_dataset=rows)
    show_progress(trainer, label)
    return trainer


def predict_classes(
    classifier: nn.Module,
    rows: datasets.Dataset,
    pad_token_id: int,
    batch_tokens: int = 8192,
    collate: Callable[[Sequence[dict[str, Any]], int], dict[str, Tensor]] = collate_examples,
) -> np.ndarray:
    """Numbers_N of the likeliest classes of rows of `tokenize_examples`, without dropout, where the classifier is."""
    classifier.eval()
    device = next(classifier.parameters()).device
    numbers_N = np.zeros(len(rows), dtype=np.int64)
    widths = [length * len(ids) for length, ids in zip(rows["length"], rows["input_ids"], strict=True)]
    for batch in token_budget_batches(widths, batch_tokens):
        inputs = collate([rows[index] for index in batch], pad_token_id)
        with torch.no_grad():
            logits_BC = classifier(**{name: tensor.to(device) for name, tensor in inputs.items()})["logits"]
        numbers_N[batch] = logits_BC.argmax(dim=1).cpu().numpy()
    return numbers_N
