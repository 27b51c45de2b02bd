"""`coderep eval report`: one comparison of models from the results.json that evaluations wrote.

Reads records only; nothing is evaluated anew. Values are shares in [0, 1] until they are shown, in percent.
"""

from __future__ import annotations

import argparse
import base64
import re
import textwrap
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

from data_collators.files import check_output_folder, new_file, new_folder

from .eval_compare import check_scores, compare_column, pair_words, version_notes
from .eval_matrices import Matrix, make_matrices
from .eval_plots import heat_colours, plot_bars, plot_matrix
from .eval_results import IN_DOMAIN, Result, Results, find_results, read_results
from .eval_tables import Table, make_tables
from .eval_words import escape_markdown, metric_name, percent, short_names
from .significance import ALPHA

REPORT, PAGE = "report.md", "report.html"
_MARKS = {IN_DOMAIN: "†"}


def write_report(results: Results, folder: Path, *, seed: int = 0, resamples: int = 10_000) -> None:
    """Write report.md, report.html and pictures into a folder.

    Raises:
        ImportError: matplotlib is not installed.
        ValueError: There is nothing to show, or `resamples` is below 1.
    """
    tables, matrices = make_tables(results.rows), make_matrices(results.rows)
    if not tables and not matrices:
        raise ValueError("no results to report. Name a results.json that an evaluation wrote.")
    options = {"seed": seed, "resamples": resamples}
    compared = {column: compare_column(t, column, results, **options) for t in tables for column in t.columns}
    values = {
        "tables": tables,
        "heats": _draw_matrices(matrices, folder),
        "bars": _draw_bars(tables, folder),
        "compared": compared,
        "uncompared": [column.dataset for column, one in compared.items() if not one.models],
        "evaluated": _evaluated(results.rows),
        "metrics": list(dict.fromkeys(row.metric for row in results.rows if not row.is_cell)),
        "notes": [*results.notes, *version_notes(tables), *check_scores(tables, results)],
        "protocols": short_names((row.protocol for row in results.rows), r"[\w.+]+(-[\w.+]+)*"),
        "revisions": _revisions(results.rows),
        "options": {"alpha": ALPHA, **options},
    }
    environment = _environment(folder)
    for name in (REPORT, PAGE):
        text = environment.get_template(f"eval_{name}.jinja").render(**values)
        with new_file(folder / name) as partial:
            partial.write_text(text, encoding="utf-8")


def _draw_bars(tables: Sequence[Table], folder: Path) -> dict[str, str]:
    """Task -> file name of its picture."""
    names = {table.task: f"bars_{number}_{_slug(table.task)}.png" for number, table in enumerate(tables, start=1)}
    for table in tables:
        plot_bars(table, folder / names[table.task])
    return names


def _draw_matrices(matrices: Sequence[Matrix], folder: Path) -> list[dict[str, Any]]:
    """Each matrix with the value of its lightest colour and the file name of its picture."""
    heats, digits = [], len(str(len(matrices)))
    for number, matrix in enumerate(matrices, start=1):
        # One scale for all models on a set, so that their maps compare.
        top = max(row.value for m in matrices if m.column == matrix.column for row in m.cells.values())
        name = f"matrix_{number:0{digits}}_{_slug(matrix.model or '', matrix.column.dataset)}.png"
        plot_matrix(matrix, folder / name, top)
        heats.append({"matrix": matrix, "top": top, "picture": name})
    return heats


def _environment(folder: Path) -> Environment:
    environment = Environment(
        loader=PackageLoader("hub_cards"),
        undefined=StrictUndefined,
        autoescape=select_autoescape(("html.jinja",)),
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "percent": percent,
        "thousands": lambda value: f"{value:,}",
        "md": escape_markdown,
        "metric": metric_name,
        "mark": lambda domain: _MARKS.get(domain, ""),
    }
    environment.globals |= {
        "pair_words": pair_words,
        "heat_colours": heat_colours,
        "picture": lambda name: base64.b64encode((folder / name).read_bytes()).decode(),
    }
    return environment


def _evaluated(rows: Iterable[Result]) -> list[dict[str, Any]]:
    """Totals by what was evaluated: all its metrics, what was counted, the time."""
    found: dict[tuple[str, ...], list[Result]] = {}
    for row in rows:
        if not row.is_cell:
            found.setdefault((*row.of, row.task), []).append(row)
    return [
        {
            "first": group[0],
            "numbers": {row.metric: row for row in group},
            "n": max(row.n for row in group),
            "seconds": max(row.seconds for row in group),
            "counts": {name: count for row in group for name, count in row.counts.items()},
        }
        for group in found.values()
    ]


def _revisions(rows: Iterable[Result]) -> dict[tuple[str, str], str]:
    """(set, revision) -> its short form, only where a set comes in several revisions."""
    by_set: dict[str, list[str]] = {}
    for row in rows:
        by_set.setdefault(row.dataset, []).append(row.revision)
    return {
        (dataset, revision): short
        for dataset, revisions in by_set.items()
        if len(set(revisions)) > 1
        for revision, short in short_names(revisions, r".{1,8}").items()
    }


def _slug(*words: str) -> str:
    return textwrap.shorten(re.sub(r"[^a-z0-9]+", " ", " ".join(words).lower()), 60, placeholder="").replace(" ", "_")


def main(argv: list[str]) -> int:
    """`coderep eval report`."""
    parser = argparse.ArgumentParser(
        prog="coderep eval report", description="Tables, plots and comparisons of models from their results."
    )
    parser.add_argument("results", nargs="+", help="results.json files, folders that hold them, or patterns (quoted)")
    parser.add_argument("--output", required=True, help="folder for the report")
    parser.add_argument("--seed", type=int, default=0, help="seed of the bootstrap (default: 0)")
    parser.add_argument("--resamples", type=int, default=10_000, help="resamples of the bootstrap (default: 10000)")
    parser.add_argument("--overwrite", action="store_true", help="replace a report that is there")
    args = parser.parse_args(argv)
    if args.resamples < 1:
        raise ValueError(f"--resamples must be at least 1, got {args.resamples}. 10000 is usual.")
    check_output_folder(args.output, PAGE, args.overwrite)
    results = read_results(find_results(args.results))
    with new_folder(args.output, PAGE, args.overwrite) as folder:
        write_report(results, folder, seed=args.seed, resamples=args.resamples)
    print(Path(args.output) / PAGE)  # noqa: T201
    return 0
