"""Stage 1: masked language modelling mixed with identifier deobfuscation, on HF's Trainer."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from transformers import AutoModelForMaskedLM, PreTrainedModel

from data_collators import FoldMaskingCollator, MixedMaskingCollator, PackedDocuments, StreamedDocuments
from data_collators.builders.store import load_split, load_stats, split_files

from .arguments import MlmArguments
from .backbones import check_vocabulary, position_limit
from .command_line import run_command
from .held_out import held_out_rows
from .mlm_trainer import MlmTrainer
from .perplexity import is_ours
from .stage import load_model, load_tokenizer, require_data, train_and_save

SEQUENTIAL = "sequential"


def start_from_token_frequencies(model: PreTrainedModel, counts_V: np.ndarray) -> None:
    """Set the bias of a new vocabulary projection to the log frequency of each token (add-one smoothed).

    Otherwise the first thousand steps teach the encoder one direction that says how frequent tokens are, which makes
    all embeddings alike. A head without bias stays as it is.
    """
    head = model.get_output_embeddings()
    if getattr(head, "bias", None) is not None:
        with torch.no_grad():
            head.bias.copy_(torch.from_numpy(np.log((counts_V + 1) / (counts_V + 1).sum())))


def check_fit(model: PreTrainedModel, vocab_size: int, max_length: int) -> None:
    """Refuse a tokenizer or a length that the model has no embeddings for.

    Raises:
        ValueError: The tokenizer has more tokens than the model, or `max_length` exceeds the model's positions.
    """
    check_vocabulary(model, vocab_size)
    longest = position_limit(model) or max_length
    if max_length > longest:
        raise ValueError(f"max_length={max_length} exceeds the model's max_position_embeddings={longest}.")


def train_mlm(args: MlmArguments) -> Path:
    """Run stage 1; returns the folder of the trained model.

    Documents are packed where the model keeps attention inside documents (ours), else padded: a step then has as many
    tokens, padding included, in documents of similar length.

    Raises:
        ValueError: Arguments contradict each other or the data.
        FileNotFoundError: Data, tokenizer or model does not exist.
    """
    if args.objective == SEQUENTIAL:
        return _train_sequentially(args)
    data, tokenizer = require_data(args), load_tokenizer(args)
    if args.dataloader_persistent_workers:
        raise ValueError("dataloader_persistent_workers would repeat the rows of the first epoch. Leave it out.")
    model = load_model(AutoModelForMaskedLM, args, tokenizer)
    check_fit(model, len(tokenizer), args.max_length)
    packed = is_ours(model)
    rows = _documents(args, data, packed)
    collator = MixedMaskingCollator(
        tokenizer,
        objective=args.objective,
        dobf_probability=args.dobf_probability,
        mlm_rate=args.mlm_rate,
        mlm_rate_max=args.mlm_rate_max,
        identifier_share=args.identifier_share,
        mask_share=args.mask_share,
        random_share=args.random_share,
        seed=args.seed,
        layout="packed" if packed else "padded",
        with_groups=True,
    )
    if args.model is None:
        start_from_token_frequencies(model, rows.token_counts(model.config.vocab_size))
    trainer = MlmTrainer(
        model=model,
        args=args,
        data_collator=collator,
        train_dataset=rows,
        eval_dataset=held_out(args, packed) if args.eval_strategy != "no" else None,
        eval_collator=FoldMaskingCollator(tokenizer, args.eval_passes, layout=collator.layout),
        languages=rows.languages,
    )
    return train_and_save("stage 1", trainer, tokenizer, lambda: trainer.tokens_seen, any_layout=packed)


def _train_sequentially(args: MlmArguments) -> Path:
    """The paper's sequential objective: half of the steps random masking, then half deobfuscation, each a whole run."""
    if args.max_steps < 2:
        raise ValueError(f"objective 'sequential' needs max_steps, at least 2, to halve them; got {args.max_steps}.")
    first, output = args.max_steps // 2, Path(args.output_dir)
    before = replace(args, objective="random", max_steps=first, output_dir=str(output / "random"))
    model = train_mlm(before)
    after = replace(args, objective="dobf", max_steps=args.max_steps - first, output_dir=str(output / "dobf"))
    after.seed += 1  # or the second half would see the rows of the first
    after.model, after.model_config = str(model), None
    return train_mlm(after)


def _documents(args: MlmArguments, data: str, packed: bool) -> PackedDocuments | StreamedDocuments:
    """The training rows: in memory or streamed, packed or, as whole batches, grouped by length."""
    options = {"weights": args.language_weights}
    if not packed:
        options["padded_tokens"] = args.max_length * args.per_device_train_batch_size
    items_per_batch = (args.per_device_train_batch_size if packed else 1) * args.world_size
    if not args.streaming:
        options["multiple"] = items_per_batch * args.gradient_accumulation_steps
        return PackedDocuments(load_split(data, "train"), args.max_length, args.seed, **options)
    if args.max_steps < 1:
        raise ValueError("streaming needs max_steps: how long an epoch is shows only at its end.")
    args.accelerator_config.dispatch_batches = False  # each process reads for itself, and takes its share of the rows
    files, counted = split_files(data, "train"), load_stats(data)["per_language"]
    options["languages"] = [name for name, counters in counted.items() if counters["counts"].get("rows")]
    return StreamedDocuments(files, args.max_length, args.seed, batch_rows=items_per_batch, **options)


def held_out(args: MlmArguments, packed: bool) -> PackedDocuments:
    """The first documents of each language of the split `test`, which holds other repositories than `train`."""
    chosen = held_out_rows(lambda: load_split(args.data, "test"), args.eval_documents)
    tokens = None if packed else args.max_length * args.per_device_eval_batch_size
    return PackedDocuments(chosen, args.max_length, args.seed, padded_tokens=tokens)


def main(argv: list[str]) -> int:
    """`coderep train mlm`."""
    return run_command(MlmArguments, "mlm", train_mlm, argv)
