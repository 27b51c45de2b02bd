"""`coderep data ...`: the builders on the command line."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from transformers import AutoTokenizer

from .build import build_pairs, build_stage1, build_tokenizer
from .sources import SourceOptions


def _parser(verb: str, description: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=f"coderep data {verb}", description=description)
    parser.add_argument("--source", nargs="+", required=True, help="folders or files of source code")
    parser.add_argument("--output", required=True, help="folder to write")
    parser.add_argument("--languages", nargs="+", help="languages to read (default: all that are known)")
    parser.add_argument("--test-share", type=float, default=0.1, help="share of repositories held out (default: 0.1)")
    parser.add_argument("--overwrite", action="store_true", help="replace an earlier result in the same folder")
    return parser


def _options(args: argparse.Namespace) -> SourceOptions:
    languages = tuple(args.languages) if args.languages else None
    return SourceOptions(source=tuple(args.source), languages=languages, test_share=args.test_share)


def tokenizer(argv: list[str]) -> int:
    """`coderep data tokenizer`."""
    parser = _parser("tokenizer", "Train a byte-level BPE tokenizer on source code.")
    parser.add_argument("--vocab-size", type=int, default=32768, help="tokens (default: 32768)")
    parser.add_argument("--max-length", type=int, default=2048, help="longest text in tokens (default: 2048)")
    args = parser.parse_args(argv)
    trained = build_tokenizer(
        _options(args),
        args.output,
        vocab_size=args.vocab_size,
        model_max_length=args.max_length,
        overwrite=args.overwrite,
    )
    print(f"{len(trained)} tokens: {args.output}")  # noqa: T201
    return 0


def stage1(argv: list[str]) -> int:
    """`coderep data stage1`."""
    parser = _parser("stage1", "Tokenize source code with its identifiers, for `coderep train mlm`.")
    parser.add_argument("--tokenizer", required=True, help="tokenizer folder")
    parser.add_argument("--max-length", type=int, default=1024, help="longest document in tokens (default: 1024)")
    args = parser.parse_args(argv)
    if not Path(args.tokenizer).is_dir():
        raise FileNotFoundError(
            f"tokenizer {args.tokenizer!r} is not a folder. Make one with `coderep data tokenizer`."
        )
    trained = AutoTokenizer.from_pretrained(args.tokenizer)
    _report(
        build_stage1(_options(args), trained, args.output, max_length=args.max_length, overwrite=args.overwrite),
        args.output,
    )
    return 0


def pairs(argv: list[str]) -> int:
    """`coderep data pairs`."""
    args = _parser("pairs", "Extract text-code pairs, for `coderep train contrastive`.").parse_args(argv)
    _report(build_pairs(_options(args), args.output, overwrite=args.overwrite), args.output)
    return 0


def _report(stats: dict[str, Any], output: str) -> None:
    for split, counts in stats["splits"].items():
        print(f"{split}: {counts.get('rows', 0)} rows from {counts.get('files', 0)} files")  # noqa: T201
    dropped = ", ".join(f"{count} {reason}" for reason, count in stats["dropped"].items())
    print(f"dropped: {dropped or 'nothing'}\n{output}")  # noqa: T201
