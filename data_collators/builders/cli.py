"""`coderep data ...`: the builders on the command line."""

from __future__ import annotations

import argparse
import shutil
import textwrap
from dataclasses import fields
from pathlib import Path
from typing import Any

from .build import BuildOptions, Plan, build_tokenizer, plan_pairs, plan_stage1
from .file_filters import FileFilters
from .inspect import sample_rows
from .pairs import KINDS, PairOptions
from .scale import EXECUTORS, SlurmOptions, carry_out_at_scale
from .sources import SourceOptions
from .store import load_stats


def _parser(verb: str, description: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=f"coderep data {verb}", description=description)
    parser.add_argument(
        "--source",
        nargs="+",
        required=True,
        help="folders or files of source code, .jsonl or .parquet files of rows, hub:ID for a data set on the Hub",
    )
    parser.add_argument("--output", required=True, help="folder to write")
    parser.add_argument("--languages", nargs="+", help="languages to read (default: all that are known)")
    parser.add_argument("--test-share", type=float, default=0.1, help="share of repositories held out (default: 0.1)")
    parser.add_argument(
        "--columns", nargs="+", default=[], metavar="FIELD=COLUMN", help="where rows hold text, language, repo, ..."
    )
    parser.add_argument("--overwrite", action="store_true", help="replace an earlier result in the same folder")
    _add_limits(parser, FileFilters, "files that are left out")
    return parser


def _builder_parser(verb: str, description: str) -> argparse.ArgumentParser:
    parser = _parser(verb, description)
    parser.add_argument("--num-proc", type=int, default=1, help="processes (default: 1)")
    parser.add_argument(
        "--near-dedup", type=float, metavar="SIMILARITY", help="drop near duplicates, e.g. from 0.85 on"
    )
    parser.add_argument("--decontaminate", nargs="+", default=[], metavar="PATH", help="evaluation sets to keep out")
    parser.add_argument("--ngram", type=int, default=13, help="words in a row that contaminate (default: 13)")
    _add_executor(parser)
    return parser


def _add_executor(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("where it runs (docs/SCALE.md)")
    group.add_argument("--executor", default="processes", metavar="NAME", help=f"one of {', '.join(EXECUTORS)}")
    group.add_argument("--tasks", type=int, help="tasks that the work is cut into (default: 16 a worker, 100 on Slurm)")
    group.add_argument("--workers", type=int, help="tasks at a time (default: --num-proc; no limit on clusters)")
    for field in fields(SlurmOptions):
        flag = "--slurm-" + field.name.replace("_", "-")
        if field.name == "sbatch":
            group.add_argument(flag, nargs="+", default=[], metavar="KEY=VALUE", help="further options of sbatch")
        else:
            known = f"default: {field.default}" if field.default else f"see SlurmOptions.{field.name}"
            group.add_argument(flag, type=type(field.default), default=field.default, help=known)


def _add_limits(parser: argparse.ArgumentParser, options: type, title: str) -> None:
    """A flag for each number among the fields of a dataclass of options."""
    group = parser.add_argument_group(title)
    for field in fields(options):
        flag = "--" + field.name.replace("_", "-")
        if isinstance(field.default, bool):
            group.add_argument(flag, action="store_true", help=f"see {options.__name__}.{field.name}")
        elif isinstance(field.default, (int, float)):
            group.add_argument(flag, type=type(field.default), default=field.default, help=f"default: {field.default}")


def _limits(args: argparse.Namespace, options: type) -> dict[str, Any]:
    return {field.name: getattr(args, field.name) for field in fields(options) if hasattr(args, field.name)}


def _sources(args: argparse.Namespace) -> SourceOptions:
    columns = [pair.partition("=") for pair in args.columns]
    bare = [field for field, sign, column in columns if not (field and sign and column)]
    if bare:
        raise ValueError(f"--columns takes FIELD=COLUMN, such as text=content; got {bare[0]!r}.")
    return SourceOptions(
        source=tuple(args.source),
        languages=tuple(args.languages) if args.languages else None,
        test_share=args.test_share,
        filters=FileFilters(**_limits(args, FileFilters)),
        columns=tuple((field, column) for field, _, column in columns),
    )


def _build(args: argparse.Namespace) -> BuildOptions:
    return BuildOptions(
        near_dedup=args.near_dedup,
        decontaminate=tuple(args.decontaminate),
        ngram=args.ngram,
        num_proc=args.num_proc,
        overwrite=args.overwrite,
    )


def tokenizer(argv: list[str]) -> int:
    """`coderep data tokenizer`."""
    parser = _parser("tokenizer", "Train a byte-level BPE tokenizer on source code.")
    parser.add_argument("--vocab-size", type=int, default=32768, help="tokens (default: 32768)")
    parser.add_argument("--max-length", type=int, default=2048, help="longest text in tokens (default: 2048)")
    parser.add_argument("--share", type=float, default=1.0, help="share of the files to learn from (default: 1)")
    args = parser.parse_args(argv)
    trained = build_tokenizer(
        _sources(args),
        args.output,
        vocab_size=args.vocab_size,
        model_max_length=args.max_length,
        share=args.share,
        overwrite=args.overwrite,
    )
    print(f"{len(trained)} tokens: {args.output}")  # noqa: T201
    return 0


def stage1(argv: list[str]) -> Path | None:
    """Build what `coderep data stage1` asks for; returns the folder, or None if jobs will make it."""
    parser = _builder_parser("stage1", "Tokenize source code with its identifiers, for `coderep train mlm`.")
    parser.add_argument("--tokenizer", required=True, help="tokenizer folder")
    parser.add_argument("--max-length", type=int, default=1024, help="longest document in tokens (default: 1024)")
    parser.add_argument("--keep-license", action="store_true", help="keep the licence at the head of files")
    args = parser.parse_args(argv)
    if not Path(args.tokenizer).is_dir():
        raise FileNotFoundError(
            f"tokenizer {args.tokenizer!r} is not a folder. Make one with `coderep data tokenizer`."
        )
    from transformers import AutoTokenizer

    trained = AutoTokenizer.from_pretrained(args.tokenizer)
    plan = plan_stage1(
        _sources(args), trained, _build(args), max_length=args.max_length, keep_license=args.keep_license
    )
    return _carry_out(plan, args)


def pairs(argv: list[str]) -> Path | None:
    """Build what `coderep data pairs` asks for; returns the folder, or None if jobs will make it."""
    parser = _builder_parser("pairs", "Extract text-code pairs, for `coderep train contrastive`.")
    parser.add_argument(
        "--kinds", nargs="+", default=list(PairOptions.kinds), help=f"what becomes a pair, among {', '.join(KINDS)}"
    )
    _add_limits(parser, PairOptions, "functions that are left out")
    args = parser.parse_args(argv)
    filters = PairOptions(**{**_limits(args, PairOptions), "kinds": tuple(args.kinds)})
    return _carry_out(plan_pairs(_sources(args), filters, _build(args)), args)


def _carry_out(plan: Plan, args: argparse.Namespace) -> Path | None:
    slurm = {field.name: getattr(args, f"slurm_{field.name}") for field in fields(SlurmOptions)}
    stats = carry_out_at_scale(
        plan,
        args.output,
        args.executor,
        tasks=args.tasks,
        workers=args.workers,
        slurm=SlurmOptions(**{**slurm, "sbatch": tuple(slurm["sbatch"])}),
    )
    if stats is None:
        return None
    _report(stats, args.output)
    return Path(args.output)


def _report(stats: dict[str, Any], output: str) -> None:
    for language, counters in stats["per_language"].items():
        files, size, rows = (counters["counts"].get(key, 0) for key in ("files", "bytes", "rows"))
        print(f"{language:<12} {files:>8,} files {size / 1e6:>9.1f} MB {rows:>9,} rows")  # noqa: T201
    for split, counts in stats["splits"].items():
        print(f"{split}: {counts.get('rows', 0):,} rows from {counts.get('files', 0):,} files")  # noqa: T201
    dropped = ", ".join(f"{count:,} {reason}" for reason, count in stats["dropped"].items())
    print(f"dropped: {dropped or 'nothing'}\n{output}")  # noqa: T201


def inspect(argv: list[str]) -> int:
    """`coderep data inspect`."""
    parser = argparse.ArgumentParser(prog="coderep data inspect", description="Show random pairs of a data set.")
    parser.add_argument("data", help="folder that `coderep data pairs` wrote")
    parser.add_argument("--languages", nargs="+", help="languages to show (default: all in the data set)")
    parser.add_argument("-n", type=int, default=3, help="pairs a language (default: 3)")
    parser.add_argument("--lines", type=int, default=12, help="lines of code to show of each (default: 12)")
    parser.add_argument("--seed", type=int, default=0, help="another seed shows others (default: 0)")
    parser.add_argument("--dropped", action="store_true", help="show what was dropped (needs --keep-dropped)")
    args = parser.parse_args(argv)
    if load_stats(args.data)["kind"] != "pairs":
        raise ValueError(f"{args.data!r} holds no pairs. Name a folder that `coderep data pairs` wrote.")
    width = shutil.get_terminal_size((100, 24)).columns
    for language, rows in sample_rows(args.data, args.languages, args.n, args.seed, args.dropped).items():
        print(f"\n{f' {language} ':=^{width}}")  # noqa: T201
        for row in rows:
            why = f"  [dropped: {row['reason']}]" if args.dropped else ""
            print(f"\n{row['repo']}  {row['path']}  {row['kind']} {row['name']}{why}")  # noqa: T201
            print(textwrap.fill(row["text"], width, initial_indent="  text: ", subsequent_indent="        "))  # noqa: T201
            lines = row["code"].splitlines()
            print(textwrap.indent("\n".join(lines[: args.lines]), "  | ", lambda line: True))  # noqa: T201
            if len(lines) > args.lines:
                print(f"  | ... {len(lines) - args.lines} more lines")  # noqa: T201
    return 0
