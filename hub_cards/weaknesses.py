"""What its results say against a model, in sentences for the limits on its card."""

from __future__ import annotations

from collections.abc import Sequence

from .eval_results import ZERO_SHOT, Result
from .eval_tables import Table
from .eval_words import metric_name, percent
from .markdown import count, md
from .scores import Scores

_MOST = 4


def weaknesses(scores: Scores) -> list[str]:
    """What the results say against the model, in sentences."""
    found = []
    for one in scores.tables:
        found += _behind(one, scores)
        found += _lowest(one, scores.own)
    found += _weak_languages(scores.own_rows)
    totals = [row for row in scores.own_rows if not row.is_cell]
    if totals and not any(row.domain == ZERO_SHOT for row in totals):
        found.append("No number above is known to be zero-shot, so none says how it does on data of another kind.")
    found += _cut(totals)
    return found


def _behind(one: Table, scores: Scores) -> list[str]:
    lines = []
    for column in one.columns:
        mine = one.cells.get((scores.own, column))
        if mine is None:
            continue
        ahead = {
            model: one.cells[model, column]
            for model in one.models
            if (model, column) in one.cells and one.cells[model, column].value > mine.value
        }
        if not ahead:
            continue
        best = max(ahead, key=lambda model: ahead[model].value)
        noise = scores.own in scores.compared[column].tied
        lines.append(
            f"On {md(column.dataset)} ({md(column.protocol)}) {md(best)} is ahead of it: {percent(ahead[best].value)} "
            f"against {percent(mine.value)} {md(metric_name(column.metric))}"
            + (", which can be noise." if noise else ".")
        )
    return lines if len(lines) <= _MOST else [*lines[:_MOST], f"So it is on {len(lines) - _MOST} more sets."]


def _lowest(one: Table, own: str) -> list[str]:
    rows = [row for (model, column), row in one.cells.items() if model == own and column.metric == one.metric]
    if len(rows) < 2:
        return []
    worst = min(rows, key=lambda row: row.value)
    metric = md(metric_name(worst.metric))
    return [f"Its lowest {metric} at {md(one.task)} is {percent(worst.value)}, on {md(worst.dataset)}."]


def _weak_languages(rows: Sequence[Result]) -> list[str]:
    lines = []
    for where in dict.fromkeys((*row.of, row.task) for row in rows if row.is_cell):
        cells = [row for row in rows if row.is_cell and (*row.of, row.task) == where]
        cells = [row for row in cells if row.metric == cells[0].metric]
        if len(cells) > 1:
            low, high = (pick(cells, key=lambda row: row.value) for pick in (min, max))
            lines.append(
                f"By language on {md(low.dataset)} ({md(metric_name(low.metric))}): {percent(low.value)} for "
                f"{_cell(low)}, {percent(high.value)} for {_cell(high)}."
            )
    return lines


def _cell(row: Result) -> str:
    if row.query_language in ("", row.corpus_language):
        return md(row.corpus_language)
    return f"{md(row.query_language)} to {md(row.corpus_language or 'all')}"


def _cut(rows: Sequence[Result]) -> list[str]:
    counts: dict[tuple[str, str], int] = {}
    for row in rows:
        for name, number in row.counts.items():
            if "cut" in name:
                counts[row.dataset, name] = max(number, counts.get((row.dataset, name), 0))
    lines = [f"{count(number)} {md(name)} on {md(dataset)}" for (dataset, name), number in counts.items()]
    return [f"Longer texts are cut at the protocol's length: {'; '.join(lines[:_MOST])}."] if lines else []
