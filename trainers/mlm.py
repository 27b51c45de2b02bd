"""Stage 1: masked language modelling mixed with identifier deobfuscation, on HF's Trainer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from transformers import AutoModelForMaskedLM, PreTrainedModel, Trainer

from data_collators import MixedMaskingCollator, PackedDocuments
from data_collators.builders.store import load_split

from .arguments import MlmArguments, run_command
from .stage import load_model, load_tokenizer, require_data, train_and_save


class MlmTrainer(Trainer):
    """HF's Trainer for stage 1. The loss is the model's own; training stops when it is not a number.

    `tokens_seen` counts the tokens that this process has trained on, without padding.
    """

    tokens_seen = 0

    def compute_loss(
        self, model: nn.Module, inputs: dict[str, Any], return_outputs: bool = False, **kwargs: Any
    ) -> torch.Tensor | tuple[torch.Tensor, Any]:
        """The model's masked-LM loss.

        Raises:
            FloatingPointError: The loss is NaN or infinite.
        """
        if model.training:
            # Padding has position 0 in a document of its own; every other document of one token is as rare.
            starts_BT = inputs["position_ids"] == 0
            lone_BT = starts_BT & torch.cat([starts_BT[:, 1:], torch.ones_like(starts_BT[:, :1])], dim=1)
            self.tokens_seen += int((~lone_BT).sum())
        loss, outputs = super().compute_loss(model, inputs, return_outputs=True, **kwargs)
        if not torch.isfinite(loss):
            raise FloatingPointError(
                f"the loss became {loss.item()} at step {self.state.global_step}. Lower the learning rate, "
                "raise warmup_steps or check the data; the last checkpoint is intact."
            )
        return (loss, outputs) if return_outputs else loss


def start_from_token_frequencies(model: PreTrainedModel, counts_V: np.ndarray) -> None:
    """Set the bias of a new vocabulary projection to the log frequency of each token (add-one smoothed).

    Otherwise the first thousand steps teach the encoder one direction that says how frequent tokens are, which makes
    all embeddings alike. A head without bias stays as it is.
    """
    head = model.get_output_embeddings()
    if getattr(head, "bias", None) is not None:
        with torch.no_grad():
            head.bias.copy_(torch.from_numpy(np.log((counts_V + 1) / (counts_V + 1).sum())))


def train_mlm(args: MlmArguments) -> Path:
    """Run stage 1; returns the folder of the trained model.

    Raises:
        ValueError: Arguments contradict each other or the data.
        FileNotFoundError: Data, tokenizer or model does not exist.
    """
    data, tokenizer = require_data(args), load_tokenizer(args)
    rows = PackedDocuments(load_split(data, "train"), args.max_length, args.seed)
    collator = MixedMaskingCollator(
        tokenizer,
        objective=args.objective,
        dobf_probability=args.dobf_probability,
        mlm_rate=args.mlm_rate,
        identifier_share=args.identifier_share,
        mask_share=args.mask_share,
        random_share=args.random_share,
        seed=args.seed,
    )
    model = load_model(AutoModelForMaskedLM, args, tokenizer)
    longest = model.config.max_position_embeddings
    if args.max_length > longest:
        raise ValueError(f"max_length={args.max_length} exceeds the model's max_position_embeddings={longest}.")
    if args.model is None:
        start_from_token_frequencies(model, rows.token_counts(model.config.vocab_size))
    trainer = MlmTrainer(model=model, args=args, data_collator=collator, train_dataset=rows)
    return train_and_save("stage 1", trainer, tokenizer, lambda: trainer.tokens_seen)


def main(argv: list[str]) -> int:
    """`coderep train mlm`."""
    return run_command(MlmArguments, "mlm", train_mlm, argv)
