"""Stage 2: bimodal contrastive learning with hard positives and hard negatives, on HF's Trainer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import Tensor, nn
from transformers import AutoModel, Trainer

from data_collators import PairCollator, Pairs
from data_collators.builders.store import load_split
from modeling_coderep.pooling_coderep import POOLERS

from .arguments import ContrastiveArguments, run_command
from .hub_push import PushesExport
from .losses import bimodal_contrastive_loss
from .stage import load_model, load_tokenizer, require_data, train_and_save


def embed(model: nn.Module, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
    """Pooled embeddings_BD of any HF encoder, by the pooling its config names, else the mean over real tokens."""
    outputs = model(input_ids=input_ids, attention_mask=attention_mask)
    config = getattr(model, "module", model).config
    return POOLERS[getattr(config, "pooling", "mean")](outputs.last_hidden_state, attention_mask)


class ContrastiveTrainer(PushesExport, Trainer):
    """HF's Trainer for stage 2: both sides of a batch embedded, then the loss of the paper.

    `tokens_seen` counts the tokens that this process has trained on, without padding.
    """

    args: ContrastiveArguments
    tokens_seen = 0
    loss_is_scaled_for_ga = False  # the loss is a mean over the batch

    def compute_loss(
        self, model: nn.Module, inputs: dict[str, Tensor], return_outputs: bool = False, **kwargs: Any
    ) -> Tensor | tuple[Tensor, dict[str, Tensor]]:
        """`bimodal_contrastive_loss` of a batch of `PairCollator`."""
        if model.training:
            self.tokens_seen += int(inputs["text_attention_mask"].sum() + inputs["code_attention_mask"].sum())
        text_ND = embed(model, inputs["text_input_ids"], inputs["text_attention_mask"])
        code_ND = embed(model, inputs["code_input_ids"], inputs["code_attention_mask"])
        loss = bimodal_contrastive_loss(
            text_ND,
            code_ND,
            temperature=self.args.temperature,
            hard_negatives=self.args.hard_negatives,
            weight_norm=self.args.weight_norm,
            detach_weights=self.args.detach_weights,
            text_hash_N=inputs["text_hash"],
            code_hash_N=inputs["code_hash"],
        )
        return (loss, {"text": text_ND, "code": code_ND}) if return_outputs else loss


def train_contrastive(args: ContrastiveArguments) -> Path:
    """Run stage 2; returns the folder of the trained model.

    Raises:
        ValueError: Arguments contradict each other or the data.
        FileNotFoundError: Data, tokenizer or model does not exist.
    """
    data, tokenizer = require_data(args), load_tokenizer(args)
    rows = Pairs(load_split(data, "train"), args.seed)
    if len(rows) < args.train_batch_size:
        raise ValueError(
            f"{len(rows)} pairs are fewer than one batch of {args.train_batch_size}. "
            "Lower per_device_train_batch_size or give more source code."
        )
    args.dataloader_drop_last = True  # a short last batch would have fewer negatives
    collator = PairCollator(
        tokenizer,
        max_text_length=args.max_text_length,
        max_code_length=args.max_code_length,
        hard_positive_rate=args.hard_positive_rate,
    )
    model = load_model(AutoModel, args, tokenizer)
    trainer = ContrastiveTrainer(model=model, args=args, data_collator=collator, train_dataset=rows)
    return train_and_save("stage 2", trainer, tokenizer, lambda: trainer.tokens_seen)


def main(argv: list[str]) -> int:
    """`coderep train contrastive`."""
    return run_command(ContrastiveArguments, "contrastive", train_contrastive, argv)
