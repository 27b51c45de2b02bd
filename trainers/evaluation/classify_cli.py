"""`coderep eval classify`: classification sets, learnt by a probe on frozen embeddings or by tuning all weights.

See `classify_protocol` for how; a result is the mean over seeds.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import asdict, fields, replace
from pathlib import Path

from data_collators.files import check_output_file, write_json

from ..messages import say
from ..progress import quiet_bars
from ..records import EvalResult, machine, versions
from .checks import check_encoder
from .classification_sets import TRAIN, ClassificationSet, read_classification
from .classify_learners import FinetuneLearner, Learner, ProbeLearner, evaluate_classification
from .classify_protocol import FINETUNE, PROBE, SETTINGS, ClassifyProtocol, majority_scores, published_protocol
from .domain import domain_of
from .loaders import LOADERS, load_embedder
from .official_classification import classification_names, load_classification


def load_sets(name: str, root: str | None = None) -> list[ClassificationSet]:
    """The sets that a word on the command line names: a published set, a folder of a set, or a folder of such.

    Raises:
        FileNotFoundError: There is none.
        ValueError: One is torn, or has one class only.
    """
    path = Path(name)
    if name in classification_names() and not path.exists():
        return [load_classification(name, root)]
    folders = [path] if (path / TRAIN).is_file() else sorted(file.parent for file in path.glob(f"*/{TRAIN}"))
    if not folders:
        raise FileNotFoundError(
            f"{name!r} holds no classification set: no {TRAIN}, nor a folder with one. Name such a folder, or a "
            f"published set: {', '.join(classification_names())}."
        )
    return [read_classification(folder) for folder in folders]


def classification_table(results: Sequence[EvalResult], majority: dict[str, dict[str, float]]) -> str:
    """A line for each set and model, in percent, beside what the commonest class would score."""
    rows = [("set", "model", "setting", "macro-F1", "accuracy", "majority: F1", "accuracy", "n", "seconds")]
    for f1, hits in zip(results[::2], results[1::2], strict=True):
        base = [f"{100 * value:.2f}" for value in majority[f1.revision].values()]
        tail = (percent(f1), percent(hits), *base, f"{f1.n:,}", f"{f1.seconds:.0f}")
        rows.append((f1.dataset, f1.model, f1.protocol, *tail))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    sides = "<<<>>>>>>"
    lines = [
        "  ".join(f"{cell:{side}{width}}" for cell, side, width in zip(row, sides, widths, strict=True)) for row in rows
    ]
    return "\n".join([*lines, "percent; +- standard deviation over seeds"])


def percent(result: EvalResult) -> str:
    """Value and spread of a result."""
    return f"{100 * result.value:.2f}" + ("" if result.spread is None else f" +- {100 * result.spread:.2f}")


def main(argv: list[str]) -> int:
    """`coderep eval classify`."""
    args = _parser().parse_args(argv)
    if args.device and args.setting == FINETUNE:
        raise ValueError(
            f"--device {args.device} is for a probe: the Trainer chooses where a model is tuned. "
            "Leave it out, and name a GPU with CUDA_VISIBLE_DEVICES."
        )
    if args.output:
        check_output_file(args.output)
    quiet_bars()
    given = {item.name: getattr(args, item.name, None) for item in fields(ClassifyProtocol)}
    changes = {name: value for name, value in given.items() if value is not None}
    replace(published_protocol(args.setting, "", 1e-3), **changes)  # refused before any work
    sets = [data for name in args.data for data in load_sets(name, args.root)]
    results: list[EvalResult] = []
    for model in args.model:
        learner = _learner(model, args)
        for warning in check_encoder(model, learner.tokenizer):
            say(f"{model}: {warning}")
        for data in sets:
            domain = domain_of(model, data.name, args.in_domain)
            results += evaluate_classification(learner, data, domain=domain, **changes)
            say(f"{model}, {data.name}: macro-F1 {percent(results[-2])} %, {results[-1].seconds:.0f} s")
            if args.output:  # after each set: what is done is kept if the next one fails
                rows = [asdict(result) for result in results]
                write_json(args.output, {"results": rows, "machine": machine(), "versions": versions()})
    print(classification_table(results, {data.revision: majority_scores(data) for data in sets}))  # noqa: T201
    return 0


def _learner(model: str, args: argparse.Namespace) -> Learner:
    if args.setting == FINETUNE:
        return FinetuneLearner(model, args.revision)
    options = {"loader": args.loader, "revision": args.revision, "dtype": args.dtype, "cache": args.cache}
    options["device"] = args.device
    return ProbeLearner(load_embedder(model, progress=True, **options))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="coderep eval classify",
        description="Code classification: macro-F1 and accuracy, the mean over seeds. What is not given is as in "
        "CodeSage's paper, see docs/EVALUATION.md.",
    )
    add = parser.add_argument
    add("model", nargs="+", help="checkpoint folders or Hub repo ids")
    names = ", ".join(classification_names())
    help_data = f"folders with train.jsonl and test.jsonl or valid.jsonl, folders of such, or published sets: {names}"
    add("--data", nargs="+", required=True, metavar="SET", help=help_data)
    add("--root", help="folder with the official files of the published sets (default: from the Hub)")
    add("--setting", default=PROBE, choices=SETTINGS, help="head on frozen embeddings, or all weights (default: probe)")
    add("--seeds", type=int, help="runs to average (default: 3)")
    add("--epochs", type=int, help="times that each example is seen (default: by task)")
    add("--learning-rate", type=float, help="first learning rate (default: 1e-3 for a probe, else by model)")
    add("--batch-size", type=int, help="examples a step (default: 32)")
    add("--max-length", type=int, help="tokens read of each code (default: 512)")
    add("--loader", default="auto", choices=LOADERS, help="library that loads the model of a probe (default: auto)")
    add("--revision", help="commit, tag or branch of a model on the Hub")
    add("--dtype", default="float32", choices=("float32", "bfloat16", "float16"), help="weights of a probe's model")
    add("--device", help="where a probe's model runs, such as cuda:1 (default: an accelerator if there is one)")
    add("--cache", help="folder of kept embeddings (default: $CODEREP_CACHE, else ~/.cache/coderep)")
    add("--in-domain", nargs="+", default=(), metavar="SET", help="sets of whose kind the model was trained, * allowed")
    add("--output", help="results.json to write")
    return parser
