"""A masked-LM training step (forward, backward, AdamW) against `RobertaForMaskedLM` of the same shape.

    python -m benchmarks.train_mlm

Both train on the same functions of the standard library with the same share of masked tokens, without dropout. In
`full rows` the functions are laid back to back in rows of equal length, so that nobody has padding: coderep keeps
attention inside functions, RoBERTa attends over the whole row, as is usual with it. In `one function a row` RoBERTa
pads, coderep packs the same functions. Every peer runs in a process of its own, which is where its peak memory is read.
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
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import RobertaConfig, RobertaForMaskedLM

from modeling_coderep import CodeRepConfig, CodeRepForMaskedLM

from .common import arguments, code_tokenizer, matmul_rate, report, sample_functions, stdlib_modules

PEERS = ("coderep", "roberta")
MASKED = 0.15
ROBERTA_PAD = 1  # it takes positions from this id, which no document holds


def documents(rows: int, length: int) -> list[Tensor]:
    """Token ids of functions, cut at `length`, as many as fill `rows` x `length` tokens; the last one is cut to fit."""
    modules = stdlib_modules()
    tokenizer = code_tokenizer(modules, vocab_size=16_384, model_max_length=length)
    ids = [torch.tensor(row) for row in tokenizer(sample_functions(modules, 2000), truncation=True)["input_ids"]]
    chosen, left = [], rows * length
    for row in ids:
        chosen.append(row[: min(left, length)])
        left -= len(chosen[-1])
        if left == 0:
            return chosen
    raise SystemExit(f"the standard library has too few functions for {rows} x {length} tokens.")


def full_rows(functions: list[Tensor], length: int) -> dict[str, Tensor]:
    """Functions back to back in rows of `length` tokens; positions restart at every function and every row."""
    ids = torch.cat(functions).view(-1, length)
    positions = torch.cat([torch.arange(len(function)) for function in functions]).view(-1, length)
    # A function that goes on in the next row starts anew there.
    starts = (positions == 0) | (torch.arange(length) == 0)
    place = torch.arange(length).expand_as(ids)
    return {"input_ids": ids, "position_ids": place - torch.where(starts, place, 0).cummax(dim=1).values}


def one_row(functions: list[Tensor]) -> dict[str, Tensor]:
    """Functions back to back in a single row."""
    positions = torch.cat([torch.arange(len(function)) for function in functions])
    return {"input_ids": torch.cat(functions).unsqueeze(0), "position_ids": positions.unsqueeze(0)}


def padded(functions: list[Tensor], pad: int) -> dict[str, Tensor]:
    """One function a row, padded to the longest."""
    ids = torch.nn.utils.rnn.pad_sequence(functions, batch_first=True, padding_value=pad)
    lengths = torch.tensor([len(function) for function in functions])
    return {"input_ids": ids, "attention_mask": (torch.arange(ids.shape[1]) < lengths[:, None]).long()}


def batch_for(peer: str, layout: str, functions: list[Tensor], length: int, config: CodeRepConfig) -> dict[str, Tensor]:
    """Inputs and labels of one step; the same share of real tokens is masked for every peer."""
    if layout == "full":
        batch = full_rows(functions, length)
        if peer == "roberta":
            batch = {"input_ids": batch["input_ids"], "attention_mask": torch.ones_like(batch["input_ids"])}
    elif peer == "coderep":
        batch = one_row(functions)
    else:
        batch = padded(functions, ROBERTA_PAD)
    real = batch.get("attention_mask", torch.ones_like(batch["input_ids"])).bool()
    masked = (torch.rand(real.shape, generator=torch.Generator().manual_seed(0)) < MASKED) & real
    labels = batch["input_ids"].masked_fill(~masked, -100)
    return {**batch, "input_ids": batch["input_ids"].masked_fill(masked, config.mask_token_id), "labels": labels}


def build(peer: str, config: CodeRepConfig, attention: str) -> torch.nn.Module:
    """A model of the shape that `config` names."""
    if peer == "coderep":
        return CodeRepForMaskedLM._from_config(config, attn_implementation=attention)
    shape = RobertaConfig(
        vocab_size=config.vocab_size,
        hidden_size=config.hidden_size,
        num_hidden_layers=config.num_hidden_layers,
        num_attention_heads=config.num_attention_heads,
        intermediate_size=config.intermediate_size,
        max_position_embeddings=config.max_position_embeddings + 2,
        pad_token_id=ROBERTA_PAD,
        bos_token_id=0,
        eos_token_id=0,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
    )
    return RobertaForMaskedLM._from_config(shape, attn_implementation="sdpa")


def child(args: argparse.Namespace) -> None:
    """Train some steps as one peer and print seconds and peak bytes as JSON."""
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    rates = {"embedding_dropout": 0.0, "hidden_dropout": 0.0, "attention_dropout": 0.0}
    config = CodeRepConfig.from_preset(args.preset, **rates)
    stored = load_file(args.documents)
    functions = [stored[str(number)] for number in range(len(stored))]
    batch = batch_for(args.peer, args.layout, functions, args.length, config)
    batch = {name: value.to(args.device) for name, value in batch.items()}
    model = build(args.peer, config, args.attention).to(args.device).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-5)
    autocast = torch.autocast(args.device, torch.bfloat16, enabled=args.dtype == "bfloat16")
    seconds = []
    for _ in range(args.steps + 1):
        started = time.perf_counter()
        with autocast:
            loss = model(**batch).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        if args.device == "cuda":
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - started)
    if args.device == "cuda":
        peak = torch.cuda.max_memory_allocated()
    else:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    print(json.dumps({"seconds": seconds[1:], "peak": peak}))


def main() -> None:
    """Run the benchmark and print its tables."""
    parser = arguments(__doc__.splitlines()[0], rounds=3)
    parser.add_argument("--rows", type=int, default=8, help="rows of `--length` tokens that make a batch")
    parser.add_argument("--length", type=int, default=512, help="longest function and row, in tokens")
    parser.add_argument(
        "--steps", type=int, default=2, help="timed steps of a peer in each round, after one that is not"
    )
    parser.add_argument("--attention", default="sdpa", help="attention implementation of coderep; RoBERTa has sdpa")
    for name in ("--peer", "--layout", "--documents"):
        parser.add_argument(name, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.peer:
        child(args)
        return
    torch.set_num_threads(args.threads)
    with tempfile.TemporaryDirectory() as folder:
        functions = documents(args.rows, args.length)
        path = Path(folder, "documents.safetensors")
        save_file({str(number): function.contiguous() for number, function in enumerate(functions)}, path)
        tokens = sum(map(len, functions))
        for layout, title in (("full", "full rows"), ("single", "one function a row")):
            seconds = {peer: [] for peer in PEERS}
            peaks = {peer: [] for peer in PEERS}
            for round_ in range(args.rounds):
                for peer in PEERS:
                    result = run_child(args, peer, layout, path)
                    seconds[peer] += result["seconds"]
                    peaks[peer].append(result["peak"])
                    print(
                        f"round {round_ + 1} of {args.rounds}, {title}: {peer} "
                        f"{statistics.median(result['seconds']):.2f} s a step, peak {result['peak'] / 2**30:.2f} GiB",
                        flush=True,
                    )
            show(args, title, functions, tokens, seconds, peaks)


def run_child(args: argparse.Namespace, peer: str, layout: str, path: Path) -> dict:
    """One peer in a process of its own."""
    options = ("rows", "length", "steps", "attention", "threads", "device", "dtype", "preset")
    command = [sys.executable, "-m", "benchmarks.train_mlm", "--peer", peer, "--layout", layout]
    command += ["--documents", str(path)]
    for name in options:
        command += [f"--{name}", str(getattr(args, name))]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{peer}: {(done.stderr.strip().splitlines() or ['no message'])[-1]}")
    return json.loads(done.stdout.splitlines()[-1])


def show(
    args: argparse.Namespace,
    title: str,
    functions: list[Tensor],
    tokens: int,
    seconds: dict[str, list[float]],
    peaks: dict[str, list[int]],
) -> None:
    """Print the table of one layout."""
    config = CodeRepConfig.from_preset(args.preset)
    step = {peer: statistics.median(values) for peer, values in seconds.items()}
    peak = {peer: statistics.median(values) for peer, values in peaks.items()}
    width = config.hidden_size
    encoder = 2 * config.num_hidden_layers * (4 * width**2 + 2 * width * config.intermediate_size)
    flops = 3 * tokens * (encoder + MASKED * 2 * width * config.vocab_size)
    rate = matmul_rate(torch.bfloat16 if args.dtype == "bfloat16" else torch.float32, args.device, hidden=width)
    report(
        f"masked-LM step, {title}, {args.preset}, vocabulary {config.vocab_size:,}, {args.dtype}, {args.device}",
        ["", "tokens/s", "peak memory, GiB"],
        [
            ["coderep (packed)", f"{tokens / step['coderep']:,.0f}", f"{peak['coderep'] / 2**30:.2f}"],
            ["RobertaForMaskedLM (sdpa)", f"{tokens / step['roberta']:,.0f}", f"{peak['roberta'] / 2**30:.2f}"],
            ["ratio", f"{step['roberta'] / step['coderep']:.2f}x", f"{peak['coderep'] / peak['roberta']:.2f}x"],
        ],
        [
            f"{len(functions)} functions, cut at {args.length}; {tokens:,} tokens a step without padding; medians of "
            f"{args.rounds} rounds of "
            f"{args.steps} steps. coderep reaches {flops / step['coderep'] / 1e9:.0f} GFLOP/s, "
            f"{100 * flops / step['coderep'] / rate:.0f} % of the machine's matrix-product rate ({rate / 1e9:.0f})."
        ],
        f"{args.output}.{title.replace(' ', '-')}.json" if args.output else None,
    )


if __name__ == "__main__":
    main()
