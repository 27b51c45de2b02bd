"""`coderep eval mteb`: mteb's benchmarks and tasks, and any retrieval set as one of its tasks."""

from __future__ import annotations

import argparse
import copy
import logging
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from data_collators.files import check_output_file, write_json

from ..messages import say
from ..model_paths import check_checkpoint
from ..progress import quiet_bars
from ..records import EvalResult, machine, versions
from .cli import load_sets
from .mteb_model import mteb_encoder
from .mteb_run import run_task
from .official import load_official
from .scorers import BM25

_OFFICIAL_SETS = {"CodeNetCode2CodeRetrieval": "codenet", "AdvTestRetrieval": "advtest"}


def main(argv: list[str]) -> int:
    """`coderep eval mteb`."""
    args = _parser().parse_args(argv)
    _check(args)
    quiet_bars()
    sets = [data for name in args.data for data in load_sets(name, root=args.root)]
    _import_quietly()
    tasks = [*_upstream(args.benchmark, args.tasks, args.root), *_of_sets(sets, args.matrix)]
    left_out = [task.metadata.name for task in tasks if not in_languages(task, args.languages)]
    tasks = [task for task in tasks if task.metadata.name not in left_out]
    if left_out:
        say(f"nothing in {', '.join(args.languages)}: {', '.join(left_out)}")
    if not tasks:
        raise ValueError(f"no task has a subset in {', '.join(args.languages)}. Name other --languages.")
    kept = Path(args.output).with_suffix(".mteb") if args.output else None
    results: list[EvalResult] = []
    for path in args.model:
        model = mteb_encoder(path, max_length=args.max_length, cache=args.cache, progress=True)
        for task in tasks:
            results += run_task(model, task, kept, str(path), args.max_length)
            if args.output:  # after each task: what is done is kept if the next one fails
                record = {"results": [asdict(result) for result in results]}
                write_json(args.output, {**record, "machine": machine(), "versions": versions()})
    print(table(results))  # noqa: T201
    if args.output:
        say(f"mteb's own files, which its leaderboard takes: {kept}")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="coderep eval mteb",
        description="mteb's benchmarks and tasks, and any retrieval set as one of its tasks.",
    )
    parser.add_argument("model", nargs="+", help="checkpoint folders or Hub repo ids, of any encoder")
    parser.add_argument("--benchmark", help='a benchmark of mteb: CoIR, "MTEB(Code, v1)"')
    parser.add_argument(
        "--tasks",
        nargs="+",
        default=[],
        help=f"tasks of mteb, or {' and '.join(_OFFICIAL_SETS)} (TASK@OWNER/REPO: from a data set on the Hub)",
    )
    parser.add_argument("--data", nargs="+", default=[], metavar="SET", help="sets as of `coderep eval retrieval`")
    parser.add_argument("--root", help="folder with the official files of published sets (default: from the Hub)")
    parser.add_argument("--matrix", action="store_true", help="of --data: one subset for each pair of languages")
    parser.add_argument("--languages", nargs="+", default=[], help="only subsets in these: python java cpp csharp")
    parser.add_argument("--max-length", type=int, help="tokens read of each text (default: the model's limit)")
    parser.add_argument("--output", help="results.json to write; mteb's own files go to a folder beside it")
    parser.add_argument("--cache", help="folder of kept embeddings (default: $CODEREP_CACHE, else ~/.cache/coderep)")
    return parser


def _check(args: argparse.Namespace) -> None:
    """Refuse, before anything heavy is imported, what cannot be carried out."""
    if args.output:
        check_output_file(args.output)
    if not (args.benchmark or args.tasks or args.data):
        raise ValueError("nothing to evaluate on. Name a --benchmark such as CoIR, --tasks, or a folder with --data.")
    for model in args.model:
        if model == BM25:
            raise ValueError("bm25 is no encoder, which mteb's tasks want. Use: coderep eval retrieval bm25")
        check_checkpoint(model)


def _import_quietly() -> None:
    try:
        import mteb  # noqa: F401
    except ImportError as error:
        raise ImportError("mteb's tasks need mteb: pip install 'coderep[mteb]'") from error
    logging.getLogger("mteb").setLevel(logging.ERROR)


def _upstream(benchmark: str | None, names: Sequence[str], root: str | None) -> list[Any]:
    import mteb

    try:
        # Copies: choosing subsets changes a task, and a benchmark's are shared.
        chosen = [copy.copy(task) for task in mteb.get_benchmark(benchmark).tasks] if benchmark else []
        for name in names:
            kind, _, repo = name.partition("@")
            chosen.append(_official(kind, repo, root) if kind in _OFFICIAL_SETS else mteb.get_task(name))
    except KeyError as error:
        raise ValueError(
            f"mteb has no such benchmark or task: {str(error.args[0]).removeprefix('KeyError: ')}"
        ) from error
    return chosen


def _official(name: str, repo: str, root: str | None) -> Any:
    from .mteb_tasks import OFFICIAL

    if repo:
        return OFFICIAL[name](hub=repo)
    return OFFICIAL[name](load_official(_OFFICIAL_SETS[name], root))


def _of_sets(sets: Sequence[Any], matrix: bool) -> list[Any]:
    from .mteb_tasks import retrieval_task

    return [retrieval_task(data, matrix=matrix) for data in sets]


def in_languages(task: Any, languages: Sequence[str]) -> bool:
    """Keep a task's subsets in some programming languages; whether any is left.

    A subset that mteb names by languages must have no other, the whole of a task at least one of them.
    """
    from .mteb_tasks import WHOLE, mteb_code

    wanted = {mteb_code(language) for language in languages}
    if not wanted:
        return True
    subsets = []
    for name in task.hf_subsets:
        codes = {code for code in task.metadata.hf_subsets_to_langscripts[name] if code.endswith("-Code")}
        if codes & wanted and (name == WHOLE or codes <= wanted):
            subsets.append(name)
    task.hf_subsets = subsets
    return bool(subsets)


def table(results: Sequence[EvalResult]) -> str:
    """The main scores as aligned lines, one a task and subset, in percent, a column a model."""
    models = list(dict.fromkeys(result.model for result in results))
    cells: dict[tuple[str, str, str], dict[str, float]] = {}
    first: dict[str, str] = {}
    for result in results:
        if first.setdefault(result.dataset, result.metric) == result.metric:
            subset = "-".join(filter(None, (result.query_language, result.corpus_language)))
            subset = "mean" if result.counts else subset
            cells.setdefault((result.dataset, subset, result.metric), {})[result.model] = 100 * result.value
    rows = [["task", "subset", "metric", *models]]
    rows += [[*key, *(f"{row[model]:.2f}" if model in row else "-" for model in models)] for key, row in cells.items()]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    aligned = [
        [
            cell.ljust(width) if column < 3 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        for row in rows
    ]
    return "\n".join("  ".join(row).rstrip() for row in aligned)
