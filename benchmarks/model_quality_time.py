"""CPU milliseconds a function of encoders, for `benchmarks.model_quality_page`.

    python -m benchmarks.model_quality_time checkpoints/coderep-mini --int8 --output timing.json

Every encoder reads the same functions of the standard library, one after the other in batches by a budget of tokens, as
`coderep search` does when it builds an index; tokenization is included. Rounds go in turn, and the median counts.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch

from data_collators.files import check_output_file, write_json
from hub_cards.onnx_export import INT8
from trainers.encode import load_encoder
from trainers.evaluation.scorers import BM25
from trainers.onnx_encoder import OnnxEncoder
from trainers.progress import quiet_bars
from trainers.records import machine, versions

from .common import measure, processor, sample_functions, stdlib_modules
from .model_quality import names_of
from .model_quality_models import Form, forms


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print a line for each encoder, and write JSON."""
    args = _parser().parse_args(argv)
    try:
        record = run(args)
    except (OSError, ValueError, ImportError) as error:
        print(f"model_quality_time: {error}", file=sys.stderr)
        return 2
    for name, found in record["encoders"].items():
        print(f"{name}: {found['milliseconds']:.2f} ms a function, {found['parameters'] / 1e6:.1f}M parameters")
    if args.output:
        write_json(args.output, record)
    return 0


def run(args: argparse.Namespace) -> dict[str, Any]:
    """The figures of every encoder and how they were measured.

    Raises:
        FileNotFoundError: There is no such checkpoint or ONNX file.
        ValueError: An argument is out of range.
    """
    if min(args.functions, args.rounds, args.threads) < 1:
        raise ValueError("--functions, --rounds and --threads must be at least 1.")
    if args.output:
        check_output_file(args.output)
    quiet_bars()
    torch.set_num_threads(args.threads)
    texts = sample_functions(stdlib_modules(), args.functions)
    names = names_of(args.models, args.name)
    chosen = [form for m, n in zip(args.models, names, strict=True) for form in forms(m, n, (), args.int8)]
    encoders = {form.name: _encoder(form, args.threads) for form in chosen if form.model != BM25}
    peers: dict[str, Callable[[], object]] = {
        name: partial(encoder.encode, texts, max_length=args.max_length) for name, encoder in encoders.items()
    }
    for warm in peers.values():
        warm()
    seconds = measure(peers, args.rounds)
    figures = {
        form.name: {
            "milliseconds": 1000 * seconds[form.name] / len(texts),
            "parameters": _parameters(form),
            "tokens": _mean_tokens(encoders[form.name], texts, args.max_length),
        }
        for form in chosen
        if form.model != BM25
    }
    how = {key: getattr(args, key) for key in ("functions", "rounds", "threads", "max_length")}
    return {"encoders": figures, "how": how, "machine": f"{machine()}, {processor()}", "versions": versions()}


def _encoder(form: Form, threads: int) -> Any:
    return OnnxEncoder(form.model, INT8, threads) if form.int8 else load_encoder(form.model, device="cpu")


def _parameters(form: Form) -> int:
    return sum(weight.numel() for weight in load_encoder(form.model, device="cpu").model.parameters())


def _mean_tokens(encoder: Any, texts: list[str], max_length: int) -> float:
    rows = encoder.tokenizer(texts, truncation=True, max_length=max_length)["input_ids"]
    return sum(map(len, rows)) / len(rows)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.model_quality_time", description=__doc__.splitlines()[0]
    )
    add = parser.add_argument
    add("models", nargs="+", help="checkpoint folders or Hub repo ids")
    add("--name", nargs="+", help="names of the models, those in the results (default: of their folders)")
    add("--int8", action="store_true", help="measure int8 ONNX files too")
    add("--functions", type=int, default=256, help="functions to encode (default: %(default)s)")
    add("--max-length", type=int, default=256, help="tokens read of each (default: %(default)s)")
    add("--rounds", type=int, default=5, help="timed rounds (default: %(default)s)")
    add("--threads", type=int, default=1, help="CPU threads (default: %(default)s)")
    add("--output", help="JSON file for the figures")
    return parser


if __name__ == "__main__":
    sys.exit(main())
