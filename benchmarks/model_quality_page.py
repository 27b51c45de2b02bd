"""The figures of docs/MODEL.md, from files: results of evaluations, and a run of `benchmarks.model_quality_time`.

    python -m benchmarks.model_quality_page quality.json --timing timing.json --ours coderep-mini --docs docs/MODEL.md

Nothing is evaluated or measured here. The tables have every set; what falls below the best of the other models is
marked. Without `--docs` the section is only printed.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hub_cards.eval_results import Result, find_results, read_results

from .ablations.page import BEGIN, END, check_page, rewrite_page
from .model_quality_plot import plot
from .model_quality_tables import Quality, markdown, qualities

_SHORT = {"mrr": "NL2Code MRR", "map": "Code2Code MAP"}


def main(argv: Sequence[str] | None = None) -> int:
    """Print the section and, with `--docs`, write it and its picture."""
    args = _parser().parse_args(argv)
    try:
        print(run(args))
    except (OSError, ValueError, ImportError) as error:
        print(f"model_quality_page: {error}", file=sys.stderr)
        return 2
    return 0


def run(args: argparse.Namespace) -> str:
    """The section as Markdown.

    Raises:
        FileNotFoundError: A file is missing.
        ValueError: A file is torn, the model has no results, or the page lacks its marks.
    """
    if args.docs:
        check_page(args.docs, (BEGIN, END))
    rows = read_results(find_results(args.results)).rows
    names = list(dict.fromkeys(row.model for row in rows))
    if args.ours not in names:
        raise ValueError(f"the results have no model {args.ours!r}, but {', '.join(names)}. Name one with --ours.")
    timing = json.loads(args.timing.read_text(encoding="utf-8")) if args.timing else {"encoders": {}}
    tables = qualities(rows)
    text = section(tables, rows, timing, args.ours)
    if args.docs:
        picture = args.docs.with_name(f"{args.docs.stem.lower()}.png")
        plot(tables, timing["encoders"], picture)
        caption = "averages against parameters and CPU milliseconds a function"
        rewrite_page(args.docs, f"{text}\n\n![{caption}]({picture.name})", (BEGIN, END))
    return text


def section(tables: Sequence[Quality], rows: Sequence[Result], timing: Mapping[str, Any], ours: str) -> str:
    """All tables, with what is told by them."""
    others = [name for table in tables for name in table.models if name.split(", ")[0] != ours]
    references = list(dict.fromkeys(others))
    parts = [summary(tables, timing["encoders"]), how(timing)] if timing["encoders"] else [summary(tables, {})]
    parts += [losses(tables, ours), behind(tables, ours, references)]
    parts += [markdown(table, references) for table in tables]
    parts.append(protocol(rows))
    return "\n\n".join(part for part in parts if part)


def summary(tables: Sequence[Quality], encoders: Mapping[str, Mapping[str, Any]]) -> str:
    """A line for each model: what it costs and both averages."""
    names = list(dict.fromkeys(name for table in tables for name in table.models))
    lines = [
        f"| model | parameters | CPU ms a function | {' | '.join(_SHORT[table.metric] for table in tables)} |",
        f"|---|---:|---:|{'---:|' * len(tables)}",
    ]
    for name in names:
        cost = encoders.get(name)
        costs = [f"{cost['parameters'] / 1e6:.1f}M", f"{cost['milliseconds']:.1f}"] if cost else ["", ""]
        means = [f"{100 * table.means[name]:.1f}" if name in table.means else "" for table in tables]
        lines.append(f"| {name} | {' | '.join([*costs, *means])} |")
    return "\n".join(lines)


def how(timing: Mapping[str, Any]) -> str:
    """How the times were measured."""
    how, tokens = timing["how"], [found["tokens"] for found in timing["encoders"].values()]
    spread = (
        f"{min(tokens):.0f} to {max(tokens):.0f}" if round(min(tokens)) < round(max(tokens)) else f"{tokens[0]:.0f}"
    )
    threads = f"{how['threads']} thread{'s' if how['threads'] > 1 else ''}"
    return (
        f"Times: {how['functions']} functions of the standard library, {spread} tokens on average (at most "
        f"{how['max_length']}), {threads}, median of {how['rounds']} rounds; {timing['machine']}; torch "
        f"{timing['versions']['torch']}."
    )


def losses(tables: Sequence[Quality], ours: str) -> str:
    """What the smaller forms of a model lose of its averages, in points."""
    lines = []
    for form in dict.fromkeys(name for table in tables for name in table.models if name.startswith(f"{ours}, ")):
        gaps = [
            f"{100 * (table.means[form] - table.means[ours]):+.2f} points of {_SHORT[table.metric]}"
            for table in tables
            if form in table.means and ours in table.means
        ]
        lines.append(f"- {form}: {', '.join(gaps)}")
    return "Against the whole model:\n\n" + "\n".join(lines) if lines else ""


def behind(tables: Sequence[Quality], ours: str, references: Sequence[str]) -> str:
    """On how many sets a model is at least as good as the best of the others, and on which it is not."""
    if not references:
        return ""
    below = [name for table in tables for name in table.below(ours, references)]
    total = sum(ours in values for table in tables for values in table.sets.values())
    told = f"{ours} is at least as good as each of {', '.join(references)} on {total - len(below)} of {total} sets"
    return f"{told}; behind (▼) on {', '.join(below)}." if below else f"{told}."


def protocol(rows: Sequence[Result]) -> str:
    """By which protocol, and on which version of each set."""
    whole = min((row.protocol for row in rows), key=len)
    sets = dict.fromkeys((row.dataset, row.revision) for row in rows if not row.is_cell)
    versions = ", ".join(f"{name} {revision[:8]}" for name, revision in sets)
    return f"Percent; protocol `{whole}` (docs/EVALUATION.md). Versions of the sets: {versions}."


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.model_quality_page", description=__doc__.splitlines()[0]
    )
    add = parser.add_argument
    add("results", nargs="+", help="results.json files, or folders that hold them")
    add("--timing", type=Path, help="what `benchmarks.model_quality_time` wrote")
    add("--ours", default="coderep-mini", help="the model that the page is of (default: %(default)s)")
    add("--docs", type=Path, help="page whose marked section is rewritten, such as docs/MODEL.md")
    return parser


if __name__ == "__main__":
    sys.exit(main())
