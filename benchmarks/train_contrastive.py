"""A contrastive training step with gradient caching against sentence-transformers' cached loss.

    python -m benchmarks.train_contrastive
    python -m benchmarks.train_contrastive --memory --pairs PAIRS --length 32

Both train the same checkpoint on the same batches of the same pairs, with their real lengths, cut alike, with AdamW in
the same precision: coderep's `ContrastiveTrainer`, and `SentenceTransformerTrainer` with
`CachedMultipleNegativesRankingLoss`, which compares each text with the codes alone, while coderep's loss compares both
ways and within the sides. A step is everything from rows of text to changed weights. Their mini-batches are so many
rows; ours are as many tokens as one of theirs holds on average, padding included. A second run of theirs cuts its
mini-batches by tokens as well (`mini_batch_num_tokens`), as many without padding. Every peer runs in a process of its
own, which is where its peak memory is read. `--memory` compares batches of different sizes, of coderep alone.
"""

from __future__ import annotations

import argparse
import json
import random
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from itertools import cycle, islice, pairwise
from pathlib import Path
from typing import Any

import torch
from transformers import AutoTokenizer, PreTrainedTokenizerBase, Trainer, TrainerCallback

from data_collators import PairCollator, Pairs
from data_collators.builders.pairs import PairExtractor
from data_collators.rows import SourceFile
from hub_cards import export_checkpoint
from modeling_coderep import CodeRepConfig, CodeRepModel
from trainers.checkpoints import save_model
from trainers.pair_data import load_pairs

from .common import arguments, code_tokenizer, report, stdlib_modules

OURS, THEIRS, THEIRS_BY_TOKENS = "coderep", "rows", "tokens"
TITLES = {
    OURS: "coderep",
    THEIRS: "sentence-transformers, mini-batches of {mini_batch} rows",
    THEIRS_BY_TOKENS: "sentence-transformers, mini-batches by tokens",
}


def stdlib_pairs() -> list[dict[str, str]]:
    """Text and code of the documented functions of the standard library."""
    extract, rows = PairExtractor(), []
    for number, module in enumerate(stdlib_modules()):
        rows += extract(SourceFile(str(number), module.decode("utf-8", "replace"), "python", "", "")).rows
    return [{"text": row.text, "code": row.code} for row in rows]


def choose_pairs(source: str | None, count: int, batch: int) -> list[dict[str, str]]:
    """So many pairs in random order; they come again and again where there are fewer, but not within a batch.

    Raises:
        SystemExit: There are too few for a batch.
    """
    if source:
        found = load_pairs(source).rows.select_columns(["text", "code"])
        chosen = random.Random(0).sample(range(len(found)), min(count, len(found)))
        rows = found.select(chosen).to_list()
    else:
        rows = stdlib_pairs()
        random.Random(0).shuffle(rows)
    if len(rows) < batch:
        raise SystemExit(f"{len(rows)} pairs are fewer than a batch of {batch}. Name a folder of more with --pairs.")
    # Whole batches, so that a row never meets itself.
    rows = rows[: len(rows) // batch * batch]
    return list(islice(cycle(rows), count))


def write_model(preset: str, folder: Path, length: int) -> None:
    """A checkpoint with random weights, which sentence-transformers reads too."""
    torch.manual_seed(0)
    tokenizer = code_tokenizer(stdlib_modules(), vocab_size=16_384, model_max_length=length)
    config = CodeRepConfig.from_preset(preset, vocab_size=len(tokenizer), pad_token_id=tokenizer.pad_token_id)
    save_model(CodeRepModel(config), tokenizer, folder / "plain")
    export_checkpoint(folder / "plain", folder / "model")


def token_lengths(
    tokenizer: PreTrainedTokenizerBase, rows: Sequence[dict[str, str]], length: int
) -> dict[str, list[int]]:
    """Tokens of each text and of each code, as they are cut."""
    return {
        side: [len(ids) for ids in tokenizer([row[side] for row in rows], truncation=True, max_length=length).input_ids]
        for side in ("text", "code")
    }


def padded_tokens(lengths: Sequence[int], batch: int, mini_batch: int) -> list[int]:
    """Tokens with padding of each mini-batch when batches are cut every `mini_batch` rows."""
    batches = [lengths[start : start + batch] for start in range(0, len(lengths), batch)]
    parts = [rows[start : start + mini_batch] for rows in batches for start in range(0, len(rows), mini_batch)]
    return [len(part) * max(part) for part in parts]


class Timer(TrainerCallback):
    """Notes when steps end, and the processor time that this process has had by then."""

    def __init__(self) -> None:
        self.ends: list[float] = []
        self.used: list[float] = []

    def on_step_end(self, *args: Any, **kwargs: Any) -> None:
        """Called after the optimizer's step."""
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        self.ends.append(time.perf_counter())
        self.used.append(time.process_time())


def shared_arguments(args: argparse.Namespace, folder: str) -> dict[str, Any]:
    """What of HF's training arguments both have."""
    return {
        "output_dir": folder,
        "max_steps": args.steps + 1,
        "per_device_train_batch_size": args.batch,
        "learning_rate": 2e-5,
        "bf16": args.dtype == "bfloat16",
        "use_cpu": args.device == "cpu",
        "save_strategy": "no",
        "logging_strategy": "no",
        "report_to": "none",
        "disable_tqdm": True,
        "dataloader_drop_last": True,
    }


def our_trainer(args: argparse.Namespace, rows: list[dict[str, str]], folder: str) -> Trainer:
    """`ContrastiveTrainer` with gradient caching."""
    from trainers.arguments import ContrastiveArguments
    from trainers.backbones import load_backbone
    from trainers.contrastive_trainer import ContrastiveTrainer

    lengths = {"max_text_length": args.length, "max_code_length": args.length}
    training = ContrastiveArguments(
        **shared_arguments(args, folder),
        **lengths,
        model=args.model,
        mini_batch_tokens=args.budget,
        train_sampling_strategy="sequential",
    )
    tokenizer = AutoTokenizer.from_pretrained(args.model)
    backbone = load_backbone(training, tokenizer)
    return ContrastiveTrainer(
        model=backbone.model,
        args=training,
        pooling=backbone.pooling,
        data_collator=PairCollator(tokenizer, hard_positive_rate=0, **lengths),
        train_dataset=Pairs(rows),
    )


def their_trainer(args: argparse.Namespace, rows: list[dict[str, str]], folder: str) -> Trainer:
    """`SentenceTransformerTrainer` with `CachedMultipleNegativesRankingLoss`."""
    from datasets import Dataset
    from sentence_transformers import (
        SentenceTransformer,
        SentenceTransformerTrainer,
        SentenceTransformerTrainingArguments,
    )
    from sentence_transformers.sentence_transformer.losses import CachedMultipleNegativesRankingLoss
    from torch.utils.data import BatchSampler, SequentialSampler

    def in_order(dataset: Dataset, batch_size: int, drop_last: bool, **_: Any) -> BatchSampler:
        return BatchSampler(SequentialSampler(dataset), batch_size, drop_last)

    model = SentenceTransformer(args.model, device=args.device)
    model.max_seq_length = args.length
    return SentenceTransformerTrainer(
        model=model,
        args=SentenceTransformerTrainingArguments(**shared_arguments(args, folder), batch_sampler=in_order),
        train_dataset=Dataset.from_dict({side: [row[side] for row in rows] for side in ("text", "code")}),
        loss=CachedMultipleNegativesRankingLoss(
            model,
            mini_batch_size=args.mini_batch,
            mini_batch_num_tokens=args.budget if args.peer == THEIRS_BY_TOKENS else None,
        ),
    )


def child(args: argparse.Namespace) -> None:
    """Train some steps as one peer and print seconds and peak bytes as JSON."""
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    rows, timer = json.loads(Path(args.rows).read_text(encoding="utf-8")), Timer()
    with tempfile.TemporaryDirectory() as folder:
        trainer = (our_trainer if args.peer == OURS else their_trainer)(args, rows, folder)
        trainer.add_callback(timer)
        before = peak_bytes(args.device)
        trainer.train()
    result = {"seconds": differences(timer.ends), "used": differences(timer.used)}
    print(json.dumps({**result, "before": before, "peak": peak_bytes(args.device)}))


def differences(times: Sequence[float]) -> list[float]:
    """The times between each and the next."""
    return [end - start for start, end in pairwise(times)]


def peak_bytes(device: str) -> int:
    """Most memory that this process has had."""
    if device == "cuda":
        return torch.cuda.max_memory_allocated()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def run_child(args: argparse.Namespace, peer: str, rows: Path, batch: int, budget: int) -> dict[str, Any]:
    """One peer in a process of its own.

    Raises:
        SystemExit: It failed.
    """
    command = [sys.executable, "-m", "benchmarks.train_contrastive", "--peer", peer, "--rows", str(rows)]
    command += ["--batch", str(batch), "--budget", str(budget)]
    for name in ("model", "mini-batch", "length", "steps", "threads", "device", "dtype"):
        command += [f"--{name}", str(getattr(args, name.replace("-", "_")))]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{peer}: {(done.stderr.strip().splitlines() or ['no message'])[-1]}")
    return json.loads(done.stdout.splitlines()[-1])


def parse(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """The options."""
    parser = arguments(__doc__.splitlines()[0], rounds=2)
    parser.set_defaults(preset="mini")
    parser.add_argument("--model", help="checkpoint that both libraries read; default: random weights of --preset")
    parser.add_argument("--pairs", help="pairs, as `--data` of training takes them; default: the standard library's")
    parser.add_argument("--batch", type=int, default=256, help="pairs in a batch")
    parser.add_argument("--mini-batch", type=int, default=32, help="rows in their mini-batch")
    parser.add_argument("--length", type=int, default=256, help="tokens at which both sides are cut")
    parser.add_argument("--steps", type=int, default=2, help="timed steps of each round, after one that is not")
    parser.add_argument("--budget", type=int, help="tokens of our mini-batch; default: what theirs holds on average")
    parser.add_argument("--memory", action="store_true", help="peak memory of coderep by the size of the batch, alone")
    parser.add_argument("--batches", type=int, nargs="+", default=[256, 8192], help="sizes that --memory compares")
    for name in ("--peer", "--rows"):
        parser.add_argument(name, help=argparse.SUPPRESS)
    return parser.parse_args(argv)


def main() -> None:
    """Run the benchmark and print its table."""
    args = parse()
    if args.peer:
        child(args)
        return
    largest = max(args.batches) if args.memory else args.batch
    # A step's time ends with the rows of the next one read, so one batch more than steps.
    rows = choose_pairs(args.pairs, largest * (args.steps + 2), largest)
    with tempfile.TemporaryDirectory() as folder:
        if args.model is None:
            write_model(args.preset, Path(folder), args.length)
            args.model, name = str(Path(folder, "model")), args.preset
        else:
            name = Path(args.model).name
        path = Path(folder, "rows.json")
        path.write_text(json.dumps(rows), encoding="utf-8")
        lengths = token_lengths(AutoTokenizer.from_pretrained(args.model), rows, args.length)
        padded = [tokens for side in lengths.values() for tokens in padded_tokens(side, largest, args.mini_batch)]
        budget = args.budget or max(args.length, round(statistics.mean(padded)))
        (compare_memory if args.memory else compare_peers)(args, name, path, lengths, budget)


def compare_peers(args: argparse.Namespace, name: str, path: Path, lengths: dict[str, list[int]], budget: int) -> None:
    """Speed and memory of the peers in turn."""
    results: dict[str, list[dict[str, Any]]] = {peer: [] for peer in TITLES}
    for round_ in range(1, args.rounds + 1):
        for peer, found in results.items():
            found.append(run_child(args, peer, path, args.batch, budget))
            print(f"round {round_} of {args.rounds}: {peer} {_told(found[-1])}", flush=True)
    step = {peer: statistics.median(t for run in found for t in run["seconds"]) for peer, found in results.items()}
    peak = {peer: statistics.median(run["peak"] for run in found) for peer, found in results.items()}
    report(
        f"contrastive step, {name}, {args.batch} pairs, {args.dtype}, {args.device}",
        ["", "pairs/s", "peak memory, GiB", "coderep is faster by", "coderep's peak is"],
        [
            [
                title.format(mini_batch=args.mini_batch),
                f"{args.batch / step[peer]:.1f}",
                f"{peak[peer] / 2**30:.2f}",
                "" if peer == OURS else f"{step[peer] / step[OURS]:.2f}x",
                "" if peer == OURS else f"{peak[OURS] / peak[peer]:.2f}x",
            ]
            for peer, title in TITLES.items()
        ],
        [_about(args, lengths, budget), f"Medians of {args.rounds} rounds of {args.steps} steps."],
        args.output,
    )


def compare_memory(args: argparse.Namespace, name: str, path: Path, lengths: dict[str, list[int]], budget: int) -> None:
    """Memory of coderep by the size of the batch."""
    results = {}
    for batch in args.batches:
        results[batch] = run_child(args, OURS, path, batch, budget)
        print(f"{batch} pairs: {_told(results[batch])}", flush=True)
    first = results[args.batches[0]]["peak"]
    report(
        f"memory by the size of the batch, {name}, {args.dtype}, {args.device}",
        ["pairs in a batch", "peak memory, GiB", "of the first", "before training, GiB", "seconds a step"],
        [
            [
                f"{batch:,}",
                f"{run['peak'] / 2**30:.3f}",
                f"{run['peak'] / first:.2f}x",
                f"{run['before'] / 2**30:.3f}",
                f"{statistics.median(run['seconds']):.1f}",
            ]
            for batch, run in results.items()
        ],
        [_about(args, lengths, budget), f"The highest of {args.steps + 1} steps."],
        args.output,
    )


def _told(run: dict[str, Any]) -> str:
    seconds, used = (statistics.median(run[name]) for name in ("seconds", "used"))
    # On a busy machine the second says more.
    return f"{seconds:.2f} s a step ({used:.2f} s of processors), peak {run['peak'] / 2**30:.2f} GiB"


def _about(args: argparse.Namespace, lengths: dict[str, list[int]], budget: int) -> str:
    text, code = (statistics.mean(lengths[side]) for side in ("text", "code"))
    return (
        f"Texts of {text:.0f} and codes of {code:.0f} tokens on average, cut at {args.length}; coderep's mini-batches "
        f"hold at most {budget:,} tokens."
    )


if __name__ == "__main__":
    main()
