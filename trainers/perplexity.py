"""Pseudo-perplexity of masked language models (Salazar et al. 2020, arXiv 1910.14659), a language at a time.

Exactly, one token at a time is masked. Here each pass masks one of several parts of the tokens at once, so that all
tokens are predicted once in as many passes as there are parts; with as many parts as tokens it is the exact one.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil
from typing import Any

import torch
from torch import Tensor, nn

from data_collators.mixed_masking import FoldMaskingCollator

GROUPS = ("objective_ids", "language_ids")


def predicted_losses(model: nn.Module, batch: dict[str, Tensor]) -> Tensor:
    """Cross-entropy losses_P at the predicted positions, row after row, of any masked LM."""
    predicted_BT = batch["labels"] != -100
    if is_ours(model):
        logits_PV = model(**batch, all_logits=False).logits
    else:
        logits_PV = model(**{name: value for name, value in batch.items() if name != "labels"}).logits[predicted_BT]
    return token_losses(logits_PV, batch["labels"][predicted_BT])


def token_losses(logits_PV: Tensor, labels_P: Tensor) -> Tensor:
    """Cross-entropy losses_P, in float32 whatever the precision of the logits."""
    return nn.functional.cross_entropy(logits_PV.float(), labels_P, reduction="none")


def is_ours(model: nn.Module) -> bool:
    """Whether a masked LM is a `CodeRepForMaskedLM`: it packs documents, and spares logits that nobody asked for."""
    model = getattr(model, "module", model)
    return getattr(getattr(model, "config", None), "model_type", "") == "coderep"


@torch.no_grad()
def summed_losses(
    model: nn.Module, rows: Any, collator: FoldMaskingCollator, batch_size: int, share: tuple[int, int] = (0, 1)
) -> Tensor:
    """Sum of losses and number of predicted tokens of each language, (L, 2), over all parts of some rows.

    Args:
        model: A masked LM, in evaluation mode.
        rows: `PackedDocuments`.
        collator: Masks the parts.
        batch_size: Rows at a time.
        share: This process's number and how many there are; each takes its rows, in as many passes as the others,
            which sharded models need.
    """
    device = next(model.parameters()).device
    sums_L2 = torch.zeros(len(rows.languages), 2, dtype=torch.float64)
    process, processes = share
    for batch_number in range(ceil(len(rows) / (batch_size * processes))):
        start = (batch_number * processes + process) * batch_size
        features = [rows[place] for place in range(start, min(start + batch_size, len(rows)))]
        for fold in range(collator.folds):
            collator.fold = fold
            batch = {name: value.to(device) for name, value in collator(features or [rows[0]]).items()}
            language_P = batch["language_ids"][batch["labels"] != -100].cpu()
            losses_P = predicted_losses(model, {k: v for k, v in batch.items() if k not in GROUPS}).double().cpu()
            if features:
                sums_L2[:, 0].index_add_(0, language_P, losses_P)
                sums_L2[:, 1].index_add_(0, language_P, torch.ones_like(losses_P))
    return sums_L2


def perplexities(sums_L2: Tensor, languages: Sequence[str], prefix: str) -> dict[str, float]:
    """`<prefix>_loss`, `<prefix>_perplexity` over all languages, and `<prefix>_perplexity_<language>` of each."""
    loss, tokens = sums_L2.sum(dim=0)
    values = {f"{prefix}_loss": loss / tokens, f"{prefix}_perplexity": (loss / tokens).exp()}
    for name, (loss, tokens) in zip(languages, sums_L2, strict=True):
        if tokens and name:
            values[f"{prefix}_perplexity_{name}"] = (loss / tokens).exp()
    return {name: value.item() for name, value in values.items()}
