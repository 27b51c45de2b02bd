"""What the grid found, as JSON and as Markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime, timezone
from statistics import fmean
from typing import Any

from trainers.evaluation.scorers import BM25
from trainers.records import EvalResult, machine, versions

from .plan import REFERENCES, UNTRAINED
from .scores import SHORT_MASK, Difference, Scores, by_column, differences, mean_and_spread, set_scores

_LETTERS = {"random": "R", "dobf": "D", "sequential": "S", "parallel": "P"}


def summarize(
    records: Sequence[Mapping[str, Any]], compared: Sequence[tuple[str, str]] | None = None
) -> dict[str, Any]:
    """The numbers of the page, from the records of `run_grid`; JSON.

    Args:
        records: Of all runs.
        compared: Pairs of variants that are compared; None: those of `scores.pairs`.

    Returns:
        `scores`, column -> variant -> mean, spread (standard deviation over seeds) and the value of each seed;
        `sets`, the same of each set in each column; `differences` between variants; `runs`, what each run took.
    """
    runs = [(row["variant"], row["seed"], [EvalResult(**result) for result in row["results"]]) for row in records]
    trained = trained_variants(records)
    columns = by_column(runs)
    sets: dict[str, dict[str, dict[str, dict[int, float]]]] = {}
    for variant, seed, results in runs:
        for column, found in set_scores(results).items():
            for name, score in found.items():
                sets.setdefault(column, {}).setdefault(name, {}).setdefault(variant, {})[seed] = score
    took = ("variant", "seed", "training", "parameters", "tokens", "training_seconds", "evaluation_seconds")
    return {
        "scores": {column: means(scores) for column, scores in columns.items()},
        "sets": {column: {name: means(scores) for name, scores in found.items()} for column, found in sets.items()},
        "differences": [{**asdict(row), "told": row.told} for row in differences(columns, trained, compared)],
        "evaluation": records[0]["evaluation"],
        "runs": [{name: record[name] for name in took} for record in records],
        "machine": machine(),
        "versions": versions(),
        "date": datetime.now(timezone.utc).date().isoformat(),
    }


def trained_variants(records: Sequence[Mapping[str, Any]]) -> list[str]:
    """The variants of records that are no references, in their order."""
    return [name for name in dict.fromkeys(row["variant"] for row in records) if name not in REFERENCES]


def means(scores: Scores) -> dict[str, Any]:
    """Variant -> mean, spread over seeds, and the value of each."""
    found = {}
    for variant, of_seed in scores.items():
        mean, spread = mean_and_spread(list(of_seed.values()))
        found[variant] = {"mean": mean, "spread": spread, "seeds": {str(seed): v for seed, v in of_seed.items()}}
    return found


def markdown(summary: Mapping[str, Any]) -> str:
    """Tables and sentences of a summary."""
    trained = [name for name in next(iter(summary["scores"].values())) if name not in REFERENCES]
    full = [name for name in trained if not name.endswith(SHORT_MASK)]
    lines = [*_objectives(summary["scores"], full), "", *_by_set(summary["sets"], full), ""]
    masks = [(name, name + SHORT_MASK) for name in full if name + SHORT_MASK in trained]
    if masks:
        lines += [*_masks(summary, masks), ""]
    return "\n".join([*lines, *_sentences(summary), "", how(summary)])


def _objectives(scores: Mapping[str, Any], variants: list[str]) -> list[str]:
    """Table 3: a line for each column of scores, objectives side by side, the best in bold."""
    return _table([f"{_LETTERS.get(name, name)}" for name in variants], scores, variants)


def _by_set(sets: Mapping[str, Any], variants: list[str]) -> list[str]:
    rows = {f"{name} ({column})": found for column, names in sets.items() for name, found in names.items()}
    return _table([_LETTERS.get(name, name) for name in variants], rows, variants)


def _table(names: list[str], rows: Mapping[str, Any], variants: list[str]) -> list[str]:
    header = ["percent", *names, UNTRAINED, "BM25"]
    lines = [f"| {' | '.join(header)} |", f"|---|{'---:|' * (len(header) - 1)}"]
    for name, found in rows.items():
        best = max(found[variant]["mean"] for variant in variants)
        cells = [cell(found[variant], found[variant]["mean"] == best) for variant in variants]
        lines.append(f"| {' | '.join([name, *cells, cell(found[UNTRAINED]), cell(found[BM25])])} |")
    return lines


def cell(score: Mapping[str, Any], best: bool = False) -> str:
    """A mean with its spread, in percent."""
    mean = f"{100 * score['mean']:.2f}"
    spread = "" if score["spread"] is None else f" ± {100 * score['spread']:.2f}"
    return f"**{mean}**{spread}" if best else f"{mean}{spread}"


def _masks(summary: Mapping[str, Any], masks: list[tuple[str, str]]) -> list[str]:
    """Full mask and 80-10-10 side by side, and the first less the second."""
    header = ["percent"]
    for full, _ in masks:
        header += [f"{full}, full mask", f"{full}, 80-10-10", "full less 80-10-10"]
    lines = [f"| {' | '.join(header)} |", f"|---|{'---:|' * (len(header) - 1)}"]
    for column, found in summary["scores"].items():
        cells = [column]
        for full, short in masks:
            gap = _gap(summary["differences"], column, full, short)
            cells += [cell(found[full]), cell(found[short]), gap]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def _gap(rows: Sequence[Mapping[str, Any]], column: str, full: str, short: str) -> str:
    for row in rows:
        if row["column"] == column and {row["first"], row["second"]} == {full, short}:
            sign = 1 if row["first"] == full else -1
            spread = "" if row["spread"] is None else f" ± {100 * row['spread']:.2f}"
            return f"{100 * sign * row['mean']:+.2f}{spread}"
    return "no common seed"


def _sentences(summary: Mapping[str, Any]) -> list[str]:
    """Which differences are beyond the spread over seeds, and which are not."""
    fields = Difference.__dataclass_fields__
    found = [Difference(**{name: row[name] for name in fields}) for row in summary["differences"]]
    lines = []
    for column in summary["scores"]:
        own = [row for row in found if row.column == column]
        if all(row.half_width is None for row in own):
            lines.append(f"- {column}: one seed, so no spread and no difference can be told.")
            continue
        told = [words(row) for row in own if row.told]
        within = [f"{row.first} and {row.second} ({100 * row.mean:.2f})" for row in own if not row.told]
        lines.append(f"- {column}, beyond the spread: {'; '.join(told) or 'no difference'}.")
        lines.append(f"- {column}, within the spread: {'; '.join(within) or 'no difference'}.")
    return lines


def words(row: Difference) -> str:
    """A difference as words, in points, with its 95 % interval."""
    low, high = 100 * (row.mean - row.half_width), 100 * (row.mean + row.half_width)
    return f"{row.first} over {row.second} by {100 * row.mean:.2f} ({low:.2f} to {high:.2f})"


def how(summary: Mapping[str, Any]) -> str:
    """What the numbers are over."""
    runs = [run for run in summary["runs"] if run["tokens"]]
    seeds = len({run["seed"] for run in runs})
    kinds = sorted({run["training"]["recipe"]["max_steps"] for run in runs})
    return (
        f"{' and '.join(f'{steps:,}' for steps in kinds)} steps, "
        f"{fmean(run['tokens'] for run in runs):,.0f} tokens a run, {runs[0]['parameters']:,} parameters, {seeds} "
        f"seed{'s' if seeds > 1 else ''}; {fmean(run['training_seconds'] for run in runs) / 60:.1f} minutes of "
        f"training and {fmean(run['evaluation_seconds'] for run in runs) / 60:.1f} of evaluation a run. Protocol "
        f"{summary['evaluation']['protocol']}. {summary['machine']}; torch {summary['versions']['torch']}, "
        f"transformers {summary['versions']['transformers']}; {summary['date']}."
    )
