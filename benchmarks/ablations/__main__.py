"""The ablations of stage 1 as one command; see `--help` and docs/ABLATIONS.md."""

from __future__ import annotations

import argparse
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from trainers.evaluation.cli import load_sets
from trainers.evaluation.protocols import choose_protocol
from trainers.progress import quiet_bars

from .grid import RECIPES, Grid, read_recipes, run_grid
from .page import check_page, rewrite_page, save
from .report import markdown, summarize


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
    if args.docs:
        check_page(args.docs)
    quiet_bars()
    grid = Grid(
        recipes=read_recipes(args.recipes, args.variants),
        seeds=range(1, args.seeds + 1),
        data=args.data,
        tokenizer=args.tokenizer,
        sets=[data for name in args.evaluation for data in load_sets(name)],
        protocol=choose_protocol("raw", code_length=args.max_length, text_length=args.max_length),
        output=args.output,
        steps=args.steps,
    )
    summary = summarize(run_grid(grid))
    save(summary, args.output)
    if args.docs:
        picture = args.docs.with_suffix(".png").name.lower()
        shutil.copyfile(args.output / "ablations.png", args.docs.with_name(picture))
        rewrite_page(args.docs, f"{markdown(summary)}\n\n![scores of the variants]({picture})")
    return markdown(summary)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.ablations",
        description="Train every variant of stage 1 with every seed, evaluate each, and compare them. The same command "
        "goes on where it was stopped.",
    )
    parser.add_argument("--data", required=True, help="stage-1 data set, made by `coderep data stage1`")
    parser.add_argument("--tokenizer", required=True, help="tokenizer folder that the data were made with")
    parser.add_argument(
        "--evaluation", required=True, nargs="+", metavar="SET", help="retrieval sets (docs/EVALUATION.md)"
    )
    parser.add_argument("--output", required=True, type=Path, help="folder for runs and results")
    parser.add_argument("--seeds", type=int, default=3, help="seeds of each variant: 1, 2, ... (default: 3)")
    parser.add_argument("--steps", type=int, help="training steps (default: the recipes')")
    parser.add_argument("--variants", nargs="+", metavar="NAME", help="recipes to run (default: all of the folder)")
    parser.add_argument("--recipes", default=RECIPES, help="folder of recipes, one a variant (default: the package's)")
    parser.add_argument("--max-length", type=int, default=256, help="tokens of a text that are read in evaluation")
    parser.add_argument("--docs", type=Path, help="page whose marked section is rewritten, such as docs/ABLATIONS.md")
    return parser


if __name__ == "__main__":
    sys.exit(main())
