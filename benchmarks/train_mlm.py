"""Stage-1 training against HF's Trainer with `RobertaForMaskedLM` and `DataCollatorForLanguageModeling`.

    python -m benchmarks.train_mlm

Both sides train as people do, with their Trainer, collator and data loader, on the same tokens in the same shape and
type, without dropout. `packed files`: coderep packs documents and keeps attention inside them; the peer concatenates
them and cuts full rows, so that nobody has padding. `functions`: one function a document, of real lengths; coderep
packs them, the peer pads each batch to its longest, as is usual with it. Every peer runs in a process of its own, which
is where its peak memory is read. The collators are also timed alone, on the same rows.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import torch
from transformers import (
    AutoTokenizer,
    DataCollatorForLanguageModeling,
    PreTrainedTokenizerBase,
    RobertaConfig,
    RobertaForMaskedLM,
    Trainer,
    TrainerCallback,
    TrainingArguments,
)

from data_collators import MixedMaskingCollator, PackedDocuments
from data_collators.builders.stage1 import Stage1Extractor
from data_collators.rows import SourceFile
from modeling_coderep import CodeRepConfig, CodeRepForMaskedLM
from trainers.arguments import MlmArguments
from trainers.mlm_trainer import MlmTrainer
from trainers.progress import quiet_bars

from .common import arguments, code_tokenizer, matmul_rate, report, sample_functions, stdlib_modules

PEERS = ("coderep", "roberta")
TITLES = {"files": "packed files", "functions": "functions of real lengths"}
MASKED = 0.15
WARMUP_STEPS = 1


def documents(texts: Sequence[bytes | str], tokenizer: PreTrainedTokenizerBase, length: int) -> datasets.Dataset:
    """Stage-1 rows of texts, by the extractor that `coderep data stage1` uses."""
    extract = Stage1Extractor(tokenizer, max_length=length)
    texts = [text.decode("utf-8", "replace") if isinstance(text, bytes) else text for text in texts]
    files = [SourceFile(str(number), text, "python", repo="", path="") for number, text in enumerate(texts)]
    rows = [row for file in files for row in extract(file).rows]
    return datasets.Dataset.from_dict(
        {name: [getattr(row, name).tolist() for row in rows] for name in ("input_ids", "identifier_ids")}
        | {"language": ["python"] * len(rows)}
    )


@dataclass
class Clock:
    """Seconds spent in some function over all calls."""

    seconds: float = 0.0

    def around(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function, timed."""

        def timed(*args: Any, **kwargs: Any) -> Any:
            started = time.perf_counter()
            try:
                return function(*args, **kwargs)
            finally:
                self.seconds += time.perf_counter() - started

        return timed


class StepClock(TrainerCallback):
    """Seconds of each whole step, loading of its data included; the clocks start anew after the warm-up."""

    def __init__(self, device: str, clocks: Mapping[str, Clock]) -> None:
        self.device, self.clocks = device, clocks
        self.seconds: list[float] = []
        self._last = 0.0

    def on_step_end(self, args: TrainingArguments, state: Any, control: Any, **kwargs: Any) -> None:
        """Count a step."""
        if self.device == "cuda":
            torch.cuda.synchronize()
        now = time.perf_counter()
        if state.global_step > WARMUP_STEPS:
            self.seconds.append(now - self._last)
        else:
            for clock in self.clocks.values():
                clock.seconds = 0.0
        self._last = time.perf_counter()


def roberta(config: CodeRepConfig) -> RobertaForMaskedLM:
    """A RoBERTa of the shape that `config` names."""
    shape = RobertaConfig(
        vocab_size=config.vocab_size,
        hidden_size=config.hidden_size,
        num_hidden_layers=config.num_hidden_layers,
        num_attention_heads=config.num_attention_heads,
        intermediate_size=config.intermediate_size,
        # It counts positions from behind the one of padding.
        max_position_embeddings=config.max_position_embeddings + config.pad_token_id + 1,
        pad_token_id=config.pad_token_id,
        bos_token_id=config.bos_token_id,
        eos_token_id=config.eos_token_id,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
    )
    return RobertaForMaskedLM._from_config(shape, attn_implementation="sdpa")


def coderep_config(args: argparse.Namespace, tokenizer: PreTrainedTokenizerBase) -> CodeRepConfig:
    """The shape of both peers."""
    return CodeRepConfig.from_preset(
        args.preset,
        vocab_size=len(tokenizer),
        max_position_embeddings=args.length,
        embedding_dropout=0.0,
        hidden_dropout=0.0,
        attention_dropout=0.0,
        **{f"{name}_token_id": getattr(tokenizer, f"{name}_token_id") for name in ("bos", "eos", "mask", "pad")},
    )


def peer_rows(rows: datasets.Dataset, layout: str, length: int) -> datasets.Dataset:
    """What the peer trains on: full rows cut from all tokens end to end, or a function a row, in random order."""
    rows = rows.select_columns(["input_ids"])
    if layout == "files":
        tokens = np.concatenate(rows["input_ids"][:])
        full = tokens[: len(tokens) // length * length].reshape(-1, length)
        rows = datasets.Dataset.from_dict({"input_ids": full.tolist()})
    return rows


def trainer_of(
    args: argparse.Namespace, tokenizer: PreTrainedTokenizerBase, rows: datasets.Dataset, clocks: Mapping[str, Clock]
) -> tuple[Trainer, Callable[[], float]]:
    """The peer's Trainer, and the function that tells the mean number of its tokens in a step, padding left out."""
    torch.manual_seed(0)
    config = coderep_config(args, tokenizer)
    common = {
        "output_dir": tempfile.mkdtemp(dir=args.folder),
        "max_steps": WARMUP_STEPS + args.steps,
        "learning_rate": 1e-5,
        "save_strategy": "no",
        "logging_strategy": "no",
        "report_to": "none",
        "use_cpu": args.device == "cpu",
        "bf16": args.dtype == "bfloat16",
        "disable_tqdm": True,
        "seed": 1 + args.round,
    }
    if args.peer == "coderep":
        model = CodeRepForMaskedLM._from_config(config, attn_implementation=args.attention)
        packed = PackedDocuments(rows, args.length, multiple=args.rows)
        collator = MixedMaskingCollator(tokenizer, objective=args.objective, with_groups=True)
        trainer = MlmTrainer(
            model=model,
            args=MlmArguments(**common, per_device_train_batch_size=args.rows),
            data_collator=clocks["collator"].around(collator),
            train_dataset=packed,
            languages=packed.languages,
        )
        return trainer, lambda: trainer.tokens_seen / trainer.state.global_step
    own = peer_rows(rows, args.layout, args.length)
    batch = args.rows
    if args.layout == "functions":  # as many real tokens in a step as the other side has
        batch = round(args.tokens / statistics.fmean(map(len, own["input_ids"])))
    seen: list[int] = []  # tokens of each batch; the data loader is one batch ahead of the steps
    collator = DataCollatorForLanguageModeling(tokenizer, mlm_probability=MASKED)

    def counted(features: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
        seen.append(sum(len(feature["input_ids"]) for feature in features))
        return collator(features)

    trainer = Trainer(
        model=roberta(config),
        args=TrainingArguments(**common, per_device_train_batch_size=batch),
        data_collator=clocks["collator"].around(counted),
        train_dataset=own,
    )
    return trainer, lambda: statistics.fmean(seen)


def child(args: argparse.Namespace) -> None:
    """Train some steps as one peer and print what they took as JSON."""
    torch.set_num_threads(args.threads)
    quiet_bars()
    tokenizer = AutoTokenizer.from_pretrained(Path(args.folder, "tokenizer"))
    rows = datasets.Dataset.from_parquet(
        str(Path(args.folder, f"{args.layout}.parquet")), cache_dir=str(Path(args.folder, "cache"))
    )
    clocks = {"collator": Clock(), "loading": Clock()}
    trainer, tokens = trainer_of(args, tokenizer, rows, clocks)
    steps = StepClock(args.device, clocks)
    trainer.add_callback(steps)
    # Where HF's training loop takes its batches from the data loader.
    trainer.get_batch_samples = clocks["loading"].around(trainer.get_batch_samples)
    trainer.train()
    if args.device == "cuda":
        peak = torch.cuda.max_memory_allocated()
    else:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    total = sum(steps.seconds)
    figures = {"seconds": steps.seconds, "tokens": tokens(), "peak": peak}
    print(json.dumps(figures | {f"{name}_share": clock.seconds / total for name, clock in clocks.items()}))


def collators(
    tokenizer: PreTrainedTokenizerBase, rows: datasets.Dataset, args: argparse.Namespace
) -> dict[str, list[float]]:
    """Milliseconds a row that the collators take for the same packed rows, one thread, in turn."""
    packed = PackedDocuments(rows, args.length)
    features = [packed[number] for number in range(min(32, len(packed)))]
    lists = [{"input_ids": feature["input_ids"].tolist()} for feature in features]
    tensors = [{"input_ids": torch.tensor(row["input_ids"])} for row in lists]
    published = DataCollatorForLanguageModeling(tokenizer, mlm_probability=MASKED)
    peers: dict[str, tuple[Callable[..., Any], list]] = {
        "MixedMaskingCollator, parallel": (MixedMaskingCollator(tokenizer), features),
        "MixedMaskingCollator, random": (MixedMaskingCollator(tokenizer, objective="random"), features),
        "DataCollatorForLanguageModeling": (published, lists),
        "the same, of tensors": (published, tensors),
    }
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    milliseconds: dict[str, list[float]] = {name: [] for name in peers}
    for round_ in range(10 * args.rounds + 1):
        for name, (collate, given) in peers.items():
            batches = [given[start : start + 8] for start in range(0, len(given), 8)]
            started = time.perf_counter()
            for batch in batches:
                collate(batch)
            if round_:  # the first one warms up
                milliseconds[name].append(1000 * (time.perf_counter() - started) / len(given))
    torch.set_num_threads(threads)
    return milliseconds


def main() -> None:
    """Run the benchmark and print its tables."""
    parser = arguments(__doc__.splitlines()[0], rounds=3)
    parser.set_defaults(preset="mini")
    parser.add_argument("--rows", type=int, default=8, help="rows of `--length` tokens that make a batch")
    parser.add_argument("--length", type=int, default=1024, help="longest document and row, in tokens")
    parser.add_argument("--vocabulary", type=int, default=32_768, help="tokens of the tokenizer trained here")
    parser.add_argument("--steps", type=int, default=3, help="timed steps of a round, after one that is not")
    parser.add_argument("--objective", default="parallel", help="coderep's; the peer masks 15 % at random")
    parser.add_argument("--attention", default="sdpa", help="attention implementation of coderep; RoBERTa has sdpa")
    parser.add_argument("--only", choices=list(TITLES), help="one of the two layouts (default: both)")
    for name, kind in (("peer", str), ("layout", str), ("folder", str), ("tokens", float), ("round", int)):
        parser.add_argument(f"--{name}", type=kind, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.peer:
        child(args)
        return
    torch.set_num_threads(args.threads)
    quiet_bars()
    with tempfile.TemporaryDirectory() as folder:
        modules = stdlib_modules()
        tokenizer = code_tokenizer(modules, vocab_size=args.vocabulary, model_max_length=args.length)
        tokenizer.save_pretrained(Path(folder, "tokenizer"))
        texts = {"files": modules, "functions": sample_functions(modules, 5000)}
        for layout, title in TITLES.items():
            if args.only not in (None, layout):
                continue
            rows = documents(texts[layout], tokenizer, args.length)
            rows.to_parquet(Path(folder, f"{layout}.parquet"))
            if layout == "files":
                show_collators(args, collators(tokenizer, rows, args))
            runs = {peer: [] for peer in PEERS}
            for round_ in range(args.rounds):
                tokens = 0.0
                for peer in PEERS:
                    given = {"peer": peer, "layout": layout, "folder": folder, "tokens": tokens, "round": round_}
                    result = run_child(args, given)
                    tokens = tokens or result["tokens"]
                    runs[peer].append(result)
                    print(
                        f"round {round_ + 1} of {args.rounds}, {title}: {peer} "
                        f"{statistics.median(result['seconds']):.2f} s a step of {result['tokens']:,.0f} tokens, "
                        f"peak {result['peak'] / 2**30:.2f} GiB",
                        flush=True,
                    )
            show(args, title, rows, coderep_config(args, tokenizer), runs)


def run_child(args: argparse.Namespace, given: Mapping[str, Any]) -> dict[str, Any]:
    """One peer in a process of its own."""
    options = ("rows", "length", "steps", "objective", "attention", "threads", "device", "dtype", "preset")
    command = [sys.executable, "-m", "benchmarks.train_mlm"]
    for name, value in {**{name: getattr(args, name) for name in options}, **given}.items():
        command += [f"--{name}", str(value)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or [f"ended by signal {-done.returncode}; out of memory?"])[-1]
        raise SystemExit(f"{given['peer']}: {reason}")
    return json.loads(done.stdout.splitlines()[-1])


def show_collators(args: argparse.Namespace, milliseconds: Mapping[str, Sequence[float]]) -> None:
    """Print the collators' table."""
    medians = {name: statistics.median(values) for name, values in milliseconds.items()}
    first = next(iter(medians.values()))
    report(
        f"collators, rows of {args.length} tokens, one thread",
        ["", "ms a row", "of the first one's time"],
        [[name, f"{value:.3f}", f"{value / first:.2f}x"] for name, value in medians.items()],
        [f"batches of 8; medians of {10 * args.rounds} rounds over the same rows."],
        f"{args.output}.collators.json" if args.output else None,
    )


def show(
    args: argparse.Namespace,
    title: str,
    rows: datasets.Dataset,
    config: CodeRepConfig,
    runs: Mapping[str, Sequence[Mapping[str, Any]]],
) -> None:
    """Print the table of one layout."""
    # Rounds differ in their rows, so what counts is the time of a token.
    speeds = {peer: [run["tokens"] / second for run in own for second in run["seconds"]] for peer, own in runs.items()}
    speed = {peer: statistics.median(values) for peer, values in speeds.items()}
    median = {
        key: {peer: statistics.median(run[key] for run in own) for peer, own in runs.items()}
        for key in ("tokens", "peak", "collator_share", "loading_share")
    }
    width = config.hidden_size
    encoder = 2 * config.num_hidden_layers * (4 * width**2 + 2 * width * config.intermediate_size)
    # Attention is left out; its share is small where documents are short.
    flops = 3 * speed["coderep"] * (encoder + MASKED * 2 * width * config.vocab_size)
    rate = matmul_rate(torch.bfloat16 if args.dtype == "bfloat16" else torch.float32, args.device, hidden=width)
    names = {"coderep": "coderep (packed)", "roberta": "HF Trainer, RobertaForMaskedLM (sdpa)"}
    lengths = [len(row) for row in rows["input_ids"]]
    report(
        f"stage-1 training, {title}, {args.preset}, vocabulary {config.vocab_size:,}, {args.dtype}, {args.device}",
        ["", "tokens/s", "peak memory, GiB", "collator, % of a step", "all data loading, %"],
        [
            [
                names[peer],
                f"{speed[peer]:,.0f}",
                f"{median['peak'][peer] / 2**30:.2f}",
                f"{100 * median['collator_share'][peer]:.2f}",
                f"{100 * median['loading_share'][peer]:.2f}",
            ]
            for peer in PEERS
        ]
        + [
            [
                "ratio",
                f"{speed['coderep'] / speed['roberta']:.2f}x",
                f"{median['peak']['coderep'] / median['peak']['roberta']:.2f}x",
                "",
                "",
            ]
        ],
        [
            f"{len(lengths):,} documents of {statistics.fmean(lengths):.0f} tokens on average, at most {args.length}; "
            f"{median['tokens']['coderep']:,.0f} and {median['tokens']['roberta']:,.0f} tokens a step without padding; "
            f"medians of {args.rounds} rounds of {args.steps} steps. coderep reaches {flops / 1e9:,.0f} GFLOP/s, "
            f"{100 * flops / rate:.0f} % of the machine's matrix-product rate ({rate / 1e9:,.0f})."
        ],
        f"{args.output}.{title.replace(' ', '-')}.json" if args.output else None,
    )


if __name__ == "__main__":
    main()
