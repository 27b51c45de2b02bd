"""Retrieval quality of models on every set of a folder, with the averages over both tasks.

    python -m benchmarks.model_quality bm25 checkpoints/coderep-mini --data evaldata --output quality.json
    python -m benchmarks.model_quality run/model --data evaldata --quick --beside references.json
    python -m benchmarks.model_quality --check checkpoints/coderep-mini --data evaldata

The numbers are those of `coderep eval retrieval` by the protocol raw: the mean reciprocal rank of the first relevant
document where texts search for code, the mean average precision where code does, over whole rankings. `--quick` draws a
fixed part of each set and reads 256 tokens of a text: a checkpoint takes minutes on one core; the numbers compare with
each other and not with those of whole sets. `--check` evaluates a checkpoint again as the results beside it say, and
compares. `benchmarks.model_quality_page` makes a page of results.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

import torch

from data_collators.files import check_output_file
from hub_cards.eval_results import Result, find_results, read_results
from hub_cards.render import RESULTS
from trainers.evaluation.cli import load_sets, save_outcomes
from trainers.evaluation.protocols import choose_protocol
from trainers.evaluation.retrieval import RetrievalOutcome, evaluate_retrieval
from trainers.evaluation.scorers import BM25
from trainers.evaluation.sets import RetrievalSet
from trainers.messages import say
from trainers.progress import quiet_bars
from trainers.sentence_folder import check_model

from .model_quality_check import TOLERANCE, differing, recorded_forms
from .model_quality_models import Form, forms, scorer
from .model_quality_sets import subsample
from .model_quality_tables import markdown, qualities

QUICK_QUERIES, QUICK_DOCUMENTS, QUICK_TOKENS = 300, 300, 256


def main(argv: Sequence[str] | None = None) -> int:
    """Evaluate and print tables; 1 if `--check` finds another number than the one beside the checkpoint."""
    args = _parser().parse_args(argv)
    try:
        return run(args)
    except (OSError, ValueError, ImportError) as error:
        print(f"model_quality: {error}", file=sys.stderr)
        return 2


def run(args: argparse.Namespace) -> int:
    """What the command does; returns its exit code.

    Raises:
        FileNotFoundError: A checkpoint, set or file of results does not exist.
        ValueError: There is no model, or an argument is out of range.
    """
    chosen, expected = _forms(args)
    if args.output:
        check_output_file(args.output)
    beside = read_results(find_results(args.beside)).rows if args.beside else []
    sets = [data for folder in args.data for data in load_sets(folder)]
    if args.quick:
        sets = [subsample(data, args.queries, args.documents) for data in sets]
    torch.set_num_threads(args.threads)
    quiet_bars()
    started, spent = time.monotonic(), time.process_time()
    outcomes: list[tuple[str, RetrievalSet, RetrievalOutcome]] = []
    for outcome in evaluate(chosen, sets, args.max_length or (QUICK_TOKENS if args.quick else None), args.cache):
        outcomes.append(outcome)
        if args.output:  # after each set: what is done is kept if the next one fails
            save_outcomes(args.output, outcomes)
    say(f"{time.monotonic() - started:.0f} s, {time.process_time() - spent:.0f} s of processor time")
    rows = [Result(**asdict(result)) for _, _, outcome in outcomes for result in outcome.results]
    references = list(dict.fromkeys([BM25, *(row.model for row in beside)]))
    for table in qualities([*beside, *rows]):
        print(f"\n{markdown(table, references, digits=2)}")
    return report_check(differing(rows, expected)) if args.check else 0


def evaluate(
    chosen: Sequence[Form], sets: Sequence[RetrievalSet], max_length: int | None, cache: str | None = None
) -> Iterator[tuple[str, RetrievalSet, RetrievalOutcome]]:
    """(name, set, outcome) of each model on each set, one after the other."""
    protocol = choose_protocol("raw", code_length=max_length, text_length=max_length)
    for form in chosen:
        ranks = scorer(form, cache)
        for data in sets:
            outcome = evaluate_retrieval(ranks, data, protocol, model=form.name)
            first = outcome.results[0]
            say(f"{form.name}, {data.name}: MRR {100 * first.value:.2f} %, {first.seconds:.0f} s")
            yield form.name, data, outcome


def report_check(found: Sequence[str]) -> int:
    """Print how the numbers compare with those beside the checkpoint; 1 if some differ."""
    print("\n" + "\n".join([*found, f"{len(found)} numbers differ by more than {100 * TOLERANCE:g} points"]))
    return 1 if found else 0


def _forms(args: argparse.Namespace) -> tuple[list[Form], list[Result]]:
    """What is evaluated, and the rows that it must reproduce."""
    if bool(args.check) == bool(args.models):
        raise ValueError("name models, or one checkpoint with --check.")
    names = names_of(args.models, args.name)
    for model in args.models:
        if model != BM25:
            check_model(model)
    if not args.check:
        pairs = zip(args.models, names, strict=True)
        return [form for model, name in pairs for form in forms(model, name, args.dimensions, args.int8)], []
    expected = read_results(find_results([str(Path(args.check, RESULTS))])).rows
    recorded = recorded_forms(args.check, expected)
    if not recorded:
        raise ValueError(f"{RESULTS} of {args.check!r} has no results of a model to compare with.")
    return recorded, expected


def names_of(models: Sequence[str], given: Sequence[str] | None) -> list[str]:
    """The names of models in results: those given, else the ones of their folders.

    Raises:
        ValueError: There are too few or too many, or two are alike.
    """
    names = list(given or map(short_name, models))
    if len(names) != len(models) or len(set(names)) < len(names):
        raise ValueError(f"--name needs a different name for each of the {len(models)} models, got {names}.")
    return names


def short_name(model: str) -> str:
    """The name of a model's folder; where that says nothing, with the one above it."""
    path = Path(model)
    return f"{path.parent.name}/{path.name}" if path.name in ("model", "final", "checkpoint") else path.name


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.model_quality", description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("models", nargs="*", help="bm25, checkpoint folders, Hub repo ids")
    add("--check", metavar="CHECKPOINT", help=f"evaluate it as its {RESULTS} says, and compare")
    add("--data", nargs="+", required=True, help="folders of retrieval sets, or folders of such (docs/EVALUATION.md)")
    add("--name", nargs="+", help="names of the models (default: of their folders)")
    add("--dimensions", nargs="*", type=int, default=[], help="evaluate the first so many dimensions too, such as 128")
    add("--int8", action="store_true", help="evaluate int8 ONNX files too (`coderep onnx` writes them)")
    add("--quick", action="store_true", help="a fixed part of each set, 256 tokens")
    add("--queries", type=int, default=QUICK_QUERIES, help="with --quick: at most so many (default: %(default)s)")
    add("--documents", type=int, default=QUICK_DOCUMENTS, help="with --quick: at most so many (default: %(default)s)")
    add("--max-length", type=int, help="tokens read of each text (default: 512, with --quick 256)")
    add("--beside", nargs="+", default=(), metavar="RESULTS", help="results to show beside, and to mark what is below")
    add("--output", help="results.json to write")
    add("--cache", help="folder of kept embeddings (default: $CODEREP_CACHE, else ~/.cache/coderep)")
    add("--threads", type=int, default=1, help="CPU threads (default: 1)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
