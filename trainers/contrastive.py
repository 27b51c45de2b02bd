"""Stage 2: bimodal contrastive learning with hard positives and hard negatives, on HF's Trainer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from transformers import PreTrainedTokenizerBase

from data_collators import PairCollator, Pairs

from .arguments import ContrastiveArguments, run_command
from .backbones import Backbone, load_backbone
from .contrastive_trainer import ContrastiveTrainer
from .held_out import held_out_rows
from .pair_data import load_pairs
from .stage import load_tokenizer, require_data, train_and_save


def train_contrastive(args: ContrastiveArguments) -> Path:
    """Run stage 2; returns the folder of the trained model.

    Raises:
        ValueError: Arguments contradict each other or the data.
        FileNotFoundError: Data, tokenizer or model does not exist.
    """
    data, tokenizer = require_data(args), load_tokenizer(args)
    if args.dataloader_persistent_workers:
        raise ValueError("dataloader_persistent_workers would repeat the draws of the first epoch. Leave it out.")
    pairs, backbone = load_pairs(data, "train", args.columns), load_backbone(args, tokenizer)
    if len(pairs.rows) < args.train_batch_size * args.world_size:
        raise ValueError(
            f"{len(pairs.rows)} pairs are fewer than one batch of {args.train_batch_size * args.world_size}. "
            "Lower per_device_train_batch_size or give more source code."
        )
    args.dataloader_drop_last = True  # a short last batch would have fewer negatives
    trainer = ContrastiveTrainer(
        model=backbone.model,
        args=args,
        pooling=backbone.pooling,
        data_collator=_collator(args, tokenizer, backbone, hard_positive_rate=args.hard_positive_rate),
        train_dataset=Pairs(pairs.rows, args.seed),
        eval_dataset=held_out(args) if args.eval_strategy != "no" else None,
        eval_collator=_collator(args, tokenizer, backbone, hard_positive_rate=0, max_negatives=0),
    )
    return train_and_save(
        "stage 2", trainer, tokenizer, lambda: trainer.tokens_seen, stats=pairs.stats, folder=backbone.folder
    )


def _collator(
    args: ContrastiveArguments, tokenizer: PreTrainedTokenizerBase, backbone: Backbone, **options: Any
) -> PairCollator:
    return PairCollator(
        tokenizer,
        max_text_length=backbone.cut(args.max_text_length),
        max_code_length=backbone.cut(args.max_code_length),
        hard_positive_drop=args.hard_positive_drop,
        prompts=backbone.prompts,
        **{"max_negatives": args.max_negatives, **options},
    )


def held_out(args: ContrastiveArguments) -> Any:
    """The first pairs of each language of the split `test`, which holds other repositories than `train`.

    Raises:
        FileNotFoundError: There is no such split.
    """
    return held_out_rows(lambda: load_pairs(args.data, "test", args.columns).rows, args.eval_pairs)


def main(argv: list[str]) -> int:
    """`coderep train contrastive`."""
    return run_command(ContrastiveArguments, "contrastive", train_contrastive, argv)
