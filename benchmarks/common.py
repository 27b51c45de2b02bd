"""What the benchmarks share: real functions, interleaved timing, the machine's own rate, and tables.

Peers run in turn within one process, round after round, so that a busy moment of the machine meets all of them; what is
reported are medians and the ratios between them.
"""

from __future__ import annotations

import argparse
import random
import statistics
import sysconfig
import time
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path

import torch
from transformers import PreTrainedTokenizerBase

from data_collators import functions, train_tokenizer
from data_collators.files import write_json
from trainers.records import machine, versions

STDLIB = Path(sysconfig.get_path("stdlib"))
_NOT_LIBRARY = {"test", "tests", "idlelib", "site-packages", "dist-packages", "lib2to3"}


def stdlib_modules() -> list[bytes]:
    """Every module of this interpreter's standard library, without tests."""
    paths = sorted(path for path in STDLIB.rglob("*.py") if not _NOT_LIBRARY & set(path.relative_to(STDLIB).parts))
    return [path.read_bytes() for path in paths]


def sample_functions(modules: list[bytes], count: int, seed: int = 0) -> list[str]:
    """Functions drawn from modules, whole, with their real lengths."""
    found = [
        module[slice(*function.span)].decode("utf-8", "replace")
        for module in modules
        for function in functions(module, "python")
    ]
    return random.Random(seed).sample(found, count)


def code_tokenizer(modules: list[bytes], vocab_size: int, model_max_length: int) -> PreTrainedTokenizerBase:
    """A tokenizer trained on the modules."""
    texts = [module.decode("utf-8", "replace") for module in modules]
    return train_tokenizer(texts, vocab_size=vocab_size, model_max_length=model_max_length)


def measure(peers: dict[str, Callable[[], object]], rounds: int, device: str = "cpu") -> dict[str, float]:
    """Median seconds of each peer over `rounds`, in turn. Warm the peers up before."""
    seconds: dict[str, list[float]] = {name: [] for name in peers}
    for round_ in range(1, rounds + 1):
        for name, run in peers.items():
            _synchronize(device)
            started = time.perf_counter()
            run()
            _synchronize(device)
            seconds[name].append(time.perf_counter() - started)
            print(f"round {round_} of {rounds}: {name} {seconds[name][-1]:.2f} s", flush=True)
    return {name: statistics.median(values) for name, values in seconds.items()}


def _synchronize(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()


def matmul_rate(dtype: torch.dtype, device: str = "cpu", tokens: int = 2048, hidden: int = 1024) -> float:
    """FLOP/s of the encoder's largest matrix product, (tokens x hidden) by (hidden x 4 hidden): median of 20."""
    x = torch.randn(tokens, hidden, dtype=dtype, device=device)
    weight = torch.randn(4 * hidden, hidden, dtype=dtype, device=device)
    seconds = []
    with torch.no_grad():
        for _ in range(25):
            _synchronize(device)
            started = time.perf_counter()
            torch.nn.functional.linear(x, weight)
            _synchronize(device)
            seconds.append(time.perf_counter() - started)
    return 2 * tokens * hidden * 4 * hidden / statistics.median(seconds[5:])


def fast_in_bfloat16(device: str) -> bool:
    """Whether matrix products in bfloat16 are faster here than in float32."""
    return matmul_rate(torch.bfloat16, device) > matmul_rate(torch.float32, device)


def arguments(description: str, rounds: int) -> argparse.ArgumentParser:
    """The options that every benchmark has."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--rounds", type=int, default=rounds, help="timed rounds; the median counts")
    parser.add_argument("--threads", type=int, default=2, help="CPU threads")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--dtype", choices=["float32", "bfloat16"], default="float32")
    parser.add_argument("--preset", default="small", help="size of the encoder")
    parser.add_argument("--output", help="JSON file for the figures")
    return parser


def report(title: str, header: list[str], rows: list[list[str]], notes: list[str], output: str | None) -> None:
    """Print a Markdown table with the machine and the date, and write the same as JSON."""
    today = datetime.now(timezone.utc).date().isoformat()
    where = f"{machine()}, {processor()}; torch {torch.__version__}, transformers {versions()['transformers']}; {today}"
    print(f"\n### {title}\n\n{where}\n")
    print(f"| {' | '.join(header)} |\n|---|{'---:|' * (len(header) - 1)}")
    for row in rows:
        print(f"| {' | '.join(row)} |")
    for note in notes:
        print(f"\n{note}")
    if output:
        record = {"title": title, "machine": where, "header": header, "rows": rows, "notes": notes}
        write_json(output, record)


def processor() -> str:
    """The processor's model and the vector instructions that decide the rate, where the system tells."""
    info = Path("/proc/cpuinfo")
    if not info.is_file():
        return "unknown processor"
    fields = dict(line.split(":", 1) for line in info.read_text().splitlines() if ":" in line)
    fields = {key.strip(): value.strip() for key, value in fields.items()}
    flags = [flag for flag in ("avx2", "avx512f", "avx512_bf16", "amx_bf16") if flag in fields.get("flags", "").split()]
    return f"{fields.get('model name', 'unknown processor')} ({', '.join(flags) or 'no AVX2'})"
