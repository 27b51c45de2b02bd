"""The ablations of a stage as one command; see `--help` and docs/ABLATIONS.md."""

from __future__ import annotations

import argparse
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from trainers.evaluation.cli import load_sets
from trainers.evaluation.protocols import choose_protocol
from trainers.evaluation.sets import read_pairs
from trainers.progress import quiet_bars

from . import contrastive_report
from .grid import run_grid
from .page import MARKS, check_page, markdown, rewrite_page, save
from .plan import CONTRASTIVE_RECIPES, FILTERED, RECIPES, Grid, read_recipes
from .report import summarize
from .start import with_dropout

STAGES = ("mlm", "contrastive")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the grid, print its tables, write them into the output folder and, with `--docs`, into a page."""
    args = _parser().parse_args(argv)
    try:
        print(run(args))
    except (OSError, ValueError) as error:
        print(f"ablations: {error}", file=sys.stderr)
        return 2
    return 0


def run(args: argparse.Namespace) -> str:
    """The tables, as Markdown.

    Raises:
        ValueError: An argument is out of range, a recipe or set torn, or the page lacks its marks.
        OSError: A file is missing, or the output folder holds another grid's runs.
    """
    if args.seeds < 1:
        raise ValueError(f"--seeds must be at least 1, got {args.seeds}. 3 show a spread.")
    if not args.evaluation and not args.held_out:
        raise ValueError("nothing to evaluate on. Name retrieval sets with --evaluation, or in stage 2 --held-out 100.")
    if args.docs:
        check_page(args.docs, MARKS[args.stage])
    quiet_bars()
    if args.stage == "mlm":
        summary = summarize(run_grid(_grid_of_stage_1(args)))
    else:
        grid = _grid_of_stage_2(args)
        records = run_grid(grid)
        summary = summarize(records, contrastive_report.compared(list(grid.recipes)))
        summary["truncated"] = contrastive_report.truncated_scores(records)
    save(summary, args.output)
    if args.docs:
        name = args.docs.stem.lower() + ("_contrastive" if args.stage == "contrastive" else "")
        shutil.copyfile(args.output / "ablations.png", args.docs.with_name(f"{name}.png"))
        section = f"{markdown(summary)}\n\n![scores of the variants]({name}.png)"
        rewrite_page(args.docs, section, MARKS[args.stage])
    return markdown(summary)


def _common(args: argparse.Namespace) -> dict[str, Any]:
    return {
        "seeds": range(1, args.seeds + 1),
        "data": args.data,
        "tokenizer": args.tokenizer,
        "sets": [data for name in args.evaluation for data in load_sets(name)],
        "protocol": choose_protocol("raw", code_length=args.max_length, text_length=args.max_length),
        "output": args.output,
        "steps": args.steps,
    }


def _grid_of_stage_1(args: argparse.Namespace) -> Grid:
    if not args.tokenizer:
        raise ValueError("no tokenizer given. Name the folder that the data were made with, with --tokenizer.")
    return Grid(recipes=read_recipes(args.recipes or RECIPES, args.variants), **_common(args))


def _grid_of_stage_2(args: argparse.Namespace) -> Grid:
    if not args.start:
        raise ValueError("no checkpoint given. Name one of stage 1, or another encoder, with --start.")
    folder = args.recipes or CONTRASTIVE_RECIPES
    every = read_recipes(folder, None, args.stage, contrastive_report.VARIANTS)
    if FILTERED in (args.variants or ()) and not args.filtered:
        raise ValueError(f"the variant {FILTERED!r} needs pairs that passed the filter. Name them with --filtered.")
    asked = args.variants or [name for name in every if name != FILTERED or args.filtered]
    usual = every.get("both_mean", {}).get("max_steps")
    common = _common(args)
    if args.held_out:
        common["sets"].insert(0, read_pairs(args.data, name="held-out pairs", per_language=args.held_out))
    return Grid(
        recipes=read_recipes(folder, asked, args.stage, contrastive_report.VARIANTS),
        usual_steps=usual,
        start=str(with_dropout(args.start, args.dropout, args.output / "start")),
        dropout=args.dropout,
        filtered=args.filtered,
        dims=tuple(args.dims),
        **common,
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.ablations",
        description="Train every variant of a stage with every seed, evaluate each, and compare them. The same command "
        "goes on where it was stopped.",
    )
    parser.add_argument("--stage", choices=STAGES, default="mlm", help="what is trained (default: mlm, stage 1)")
    parser.add_argument("--data", required=True, help="made by `coderep data stage1` (stage 2: `pairs`)")
    parser.add_argument("--tokenizer", help="tokenizer folder that stage-1 data were made with")
    parser.add_argument(
        "--evaluation", default=[], nargs="+", metavar="SET", help="retrieval sets (docs/EVALUATION.md)"
    )
    parser.add_argument("--output", required=True, type=Path, help="folder for runs and results")
    parser.add_argument("--seeds", type=int, default=3, help="seeds of each variant: 1, 2, ... (default: 3)")
    parser.add_argument("--steps", type=int, help="training steps of most variants (default: the recipes')")
    parser.add_argument("--variants", nargs="+", metavar="NAME", help="recipes to run (default: all of the folder)")
    parser.add_argument("--recipes", help="folder of recipes, one a variant (default: the package's)")
    parser.add_argument("--max-length", type=int, default=256, help="tokens of a text that are read in evaluation")
    parser.add_argument("--docs", type=Path, help="page whose marked section is rewritten, such as docs/ABLATIONS.md")
    group = parser.add_argument_group("stage 2")
    group.add_argument("--start", help="checkpoint of stage 1, or another encoder")
    group.add_argument(
        "--held-out",
        type=int,
        metavar="N",
        help="evaluate on the first N pairs of each language of the split test, too",
    )
    group.add_argument("--dropout", type=float, default=0.1, help="dropout of its layers (default: 0.1, the paper's)")
    group.add_argument("--filtered", metavar="PAIRS", help="pairs that passed `coderep data consistency`")
    group.add_argument(
        "--dims", nargs="+", type=int, default=[64, 32, 16], help="first dimensions to evaluate too (default: 64 32 16)"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
