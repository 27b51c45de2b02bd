"""Stage 2: bimodal contrastive learning with hard positives and hard negatives, on HF's Trainer."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

import datasets
import numpy as np
from transformers import PreTrainedTokenizerBase

from data_collators import PairCollator, Pairs
from data_collators.hard_positives import PARTS, check_parts
from data_collators.shared_positives import shared_hard_positives

from .arguments import ContrastiveArguments
from .backbones import Backbone, load_backbone
from .command_line import run_command
from .contrastive_trainer import ContrastiveTrainer
from .held_out import held_out_rows
from .messages import say
from .pair_data import load_pairs
from .stage import load_tokenizer, require_data, train_and_save
from .teacher import load_teacher


def train_contrastive(args: ContrastiveArguments) -> Path:
    """Run stage 2; returns the folder of the trained model.

    Raises:
        ValueError: Arguments contradict each other or the data.
        FileNotFoundError: Data, tokenizer or model does not exist.
    """
    data, tokenizer = require_data(args), load_tokenizer(args)
    if args.dataloader_persistent_workers:
        raise ValueError("dataloader_persistent_workers would repeat the draws of the first epoch. Leave it out.")
    pairs, teacher = load_pairs(data, "train", args.columns), load_teacher(args, tokenizer)
    backbone = load_backbone(args, tokenizer)  # last, since it sets the random numbers that training begins with
    if len(pairs.rows) < args.train_batch_size * args.world_size:
        raise ValueError(
            f"{len(pairs.rows)} pairs are fewer than one batch of {args.train_batch_size * args.world_size}. "
            "Lower per_device_train_batch_size or give more source code."
        )
    _check_docstrings(args, pairs.rows.column_names)
    args.dataloader_drop_last = True  # a short last batch would have fewer negatives
    trainer = ContrastiveTrainer(
        model=backbone.model,
        args=args,
        pooling=backbone.pooling,
        data_collator=_collator(
            args,
            tokenizer,
            backbone,
            hard_positive_rate=args.hard_positive_rate,
            docstring_text_rate=args.docstring_text_rate,
            docstring_code_rate=args.docstring_code_rate,
        ),
        train_dataset=Pairs(pairs.rows, args.seed, shown_whole(args, pairs.rows)),
        eval_dataset=held_out(args) if args.eval_strategy != "no" else None,
        eval_collator=_collator(args, tokenizer, backbone, hard_positive_rate=0, max_negatives=0),
        teacher=teacher,
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


def _check_docstrings(args: ContrastiveArguments, columns: Collection[str]) -> None:
    """Refuse shares of doc comments of rows that have none.

    Raises:
        ValueError: The column is missing.
    """
    for name in ("docstring_text_rate", "docstring_code_rate"):
        if getattr(args, name) and "docstring" not in columns:
            raise ValueError(
                f"{name}={getattr(args, name)} needs the column 'docstring', which these pairs lack. Leave it out."
            )


def shown_whole(args: ContrastiveArguments, rows: datasets.Dataset) -> np.ndarray | None:
    """Which rows have a hard positive that belongs to other texts too, whole_N (bool); None where none is shown.

    Raises:
        ValueError: The rows lack the columns that the hard positives need.
    """
    if not args.hard_positive_rate:
        return None
    drop = check_parts(PARTS if args.hard_positive_drop is None else args.hard_positive_drop)
    whole_N = shared_hard_positives(rows, drop)
    if whole_N.any():
        say(
            f"stage 2: {whole_N.sum():,} of {len(rows):,} codes are always shown whole: what would be left of them, "
            "other texts have too"
        )
    return whole_N


def held_out(args: ContrastiveArguments) -> Any:
    """The first pairs of each language of the split `test`, which holds other repositories than `train`.

    Raises:
        FileNotFoundError: There is no such split.
    """
    return held_out_rows(lambda: load_pairs(args.data, "test", args.columns).rows, args.eval_pairs)


def main(argv: list[str]) -> int:
    """`coderep train contrastive`."""
    return run_command(ContrastiveArguments, "contrastive", train_contrastive, argv)
