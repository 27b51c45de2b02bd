"""`coderep eval leakage` on the command line."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import Any

from ...files import check_output_file, write_json
from .find import find_leakage
from .index import KINDS, MIN_WORDS


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="coderep eval leakage",
        description="Look for the texts of evaluation sets in training data: exact and near duplicates, whole texts "
        "inside longer ones, shared runs of words. Exit code 0 whatever is found, unless --fail-on is given.",
    )
    add: Callable[..., Any] = parser.add_argument
    add("--train", nargs="+", required=True, help="data sets, JSONL or Parquet files, or folders of source code")
    add("--eval", nargs="+", required=True, help="evaluation sets (BEIR's layout, JSONL, Parquet), or folders of them")
    add("--output", help="JSON file for counts and examples")
    add("--threshold", type=float, default=0.85, help="similarity of near duplicates (default: 0.85)")
    add("--ngram", type=int, default=13, help="words in a row that count as overlap (default: 13)")
    add("--num-proc", type=int, default=1, help="processes (default: 1)")
    add("--columns", nargs="+", default=(), help="columns of files that hold texts (default: those with usual names)")
    add("--split", default="train", help="split of training data sets (default: train)")
    add("--tokenizer", help="tokenizer folder of data sets of token ids (default: `tokenizer` beside the data)")
    add("--examples", type=int, default=5, help="hits in the JSON for each kind and part of a set (default: 5)")
    add("--all", action="store_true", help="all hits in the JSON")
    add("--fail-on", choices=KINDS, help="exit with 1 if a text leaked by this kind or a stronger one, for CI")
    return parser


def main(argv: list[str]) -> int:
    """`coderep eval leakage`; returns 0, or 1 if `--fail-on` applies."""
    args = _parser().parse_args(argv)
    if args.output:
        check_output_file(args.output)
    started = time.monotonic()
    report = find_leakage(
        args.train,
        args.eval,
        threshold=args.threshold,
        ngram=args.ngram,
        num_proc=args.num_proc,
        columns=args.columns,
        split=args.split,
        tokenizer=args.tokenizer,
    )
    seconds = time.monotonic() - started
    print(report.table())  # noqa: T201
    short = sum(part.short for part in report.parts)
    print(  # noqa: T201
        f"{report.train['texts']:,} training texts ({report.train['characters'] / 1e6:.1f} MB) in {seconds:.0f} s; "
        f"{short:,} evaluation texts of fewer than {MIN_WORDS} words were not compared"
    )
    if args.output:
        write_json(args.output, {**report.record(None if args.all else args.examples), "seconds": round(seconds, 1)})
    return int(bool(args.fail_on and report.count(args.fail_on)))
