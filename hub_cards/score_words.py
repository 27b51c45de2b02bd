"""The evaluation part of a model card: tables that fit a page of the Hub, what is noise, and all numbers folded."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .eval_results import IN_DOMAIN, Result
from .eval_tables import Column, Table
from .eval_words import metric_name, percent
from .markdown import code, count, folded, md, table
from .scores import RESAMPLES, Scores, shown_models

# What a page of the Hub shows without scrolling sideways; `scores` limits the models.
MAX_SETS, MAX_METRICS = 4, 5
_LONG, _LONGEST = 12, 400


def score_words(scores: Scores) -> str:
    """The evaluation section."""
    if not scores.results.rows:
        return "Not evaluated yet."
    parts = [_task(one, scores) for one in scores.tables]
    parts.append(_legend(scores))
    parts.append(_all_numbers(scores))
    return "\n\n".join(part for part in parts if part)


def _task(one: Table, scores: Scores) -> str:
    models = shown_models(one, scores.own)
    title = f"### {md(one.task[:1].upper() + one.task[1:])}"
    if len(one.columns) == 1:
        body = _by_metric(one, models, scores)
    elif len(one.columns) <= MAX_SETS:
        body = _by_model(one, models, scores)
    else:
        body = _by_set(one, models, scores)
    left = [model for model in one.models if model not in models]
    parts = [title, body, _sets(one), _noise(one, scores)]
    if left:
        parts.append(f"{count(len(left))} more models are among all numbers below.")
    return "\n\n".join(part for part in parts if part)


def _by_metric(one: Table, models: Sequence[str], scores: Scores) -> str:
    """One set: a row a model, a column a metric."""
    column = one.columns[0]
    where = (column.task, column.dataset, column.revision, column.protocol)
    rows = [
        row
        for row in scores.results.rows
        if not row.is_cell and (row.task, row.dataset, row.revision, row.protocol) == where
    ]
    metrics = list(dict.fromkeys([column.metric, *(row.metric for row in rows)]))[:MAX_METRICS]
    cells = {(row.model, row.metric): row for row in rows}
    best = {
        metric: max((row.value for (_, name), row in cells.items() if name == metric), default=0) for metric in metrics
    }
    lines = [
        [
            _model(model, scores.own),
            *(_number(cells.get((model, metric)), best[metric], one, column, scores) for metric in metrics),
        ]
        for model in models
    ]
    return table(["model", *(f"{md(metric_name(metric))} (%)" for metric in metrics)], lines)


def _by_model(one: Table, models: Sequence[str], scores: Scores) -> str:
    head = ["model", *(_column(column) for column in one.columns), *(_average(mean) for mean in one.averages)]
    lines = [
        [
            _model(model, scores.own),
            *(_number(one.cells.get((model, c)), one.best(c), one, c, scores) for c in one.columns),
            *(percent(mean.means[model]) for mean in one.averages),
        ]
        for model in models
    ]
    return table(head, lines)


def _by_set(one: Table, models: Sequence[str], scores: Scores) -> str:
    """Many sets: a row a set, a column a model; beyond a dozen folded, the averages before them."""
    head = ["set", *(_model(model, scores.own) for model in models)]
    lines = [
        [_column(c), *(_number(one.cells.get((model, c)), one.best(c), one, c, scores) for model in models)]
        for c in one.columns
    ]
    means = [[_average(mean), *(percent(mean.means[model]) for model in models)] for mean in one.averages]
    if len(lines) <= _LONG:
        return table(head, [*lines, *means])
    whole = folded(f"{len(lines)} sets", table(head, lines))
    return f"{table(head, means)}\n\n{whole}" if means else whole


def _column(column: Column) -> str:
    return f"{md(column.dataset)}<br><sub>{md(metric_name(column.metric))}, {md(column.protocol)}</sub>"


def _average(mean: Any) -> str:
    return f"{mean.kind}<br><sub>{mean.columns} sets, {md(mean.protocol)}</sub>"


def _model(model: str, own: str) -> str:
    return f"**{md(model)}**" if model == own else md(model)


def _number(row: Result | None, best: float, one: Table, column: Column, scores: Scores) -> str:
    if row is None:
        return "-"
    compared = scores.compared.get(column)
    tied = compared is not None and row.metric == column.metric and row.model in compared.tied
    bold = "**" if row.value == best and len(one.models) > 1 else ""
    spread = f" ± {percent(row.spread)}" if row.spread is not None else ""
    return f"{'~ ' if tied else ''}{bold}{percent(row.value)}{bold}{spread}{'†' if row.domain == IN_DOMAIN else ''}"


def _sets(one: Table) -> str:
    """What was evaluated on, set by set."""
    lines = []
    for column in one.columns:
        rows = [row for (_, name), row in one.cells.items() if name == column]
        sizes = sorted({row.n for row in rows})
        ways = sorted({"domain unknown" if row.domain == "unknown" else row.domain for row in rows})
        lines.append(
            f"- {md(column.dataset)}, revision {code(column.revision or 'not recorded')}, protocol "
            f"{code(column.protocol)}: {' or '.join(map(count, sizes))} queries or examples, {', '.join(ways)}"
        )
    body = "\n".join(lines)
    return folded(f"{len(lines)} sets, with revision and protocol", body) if len(lines) > MAX_SETS else body


def _noise(one: Table, scores: Scores) -> str:
    """Comparisons with the model itself."""
    lines = []
    for column in one.columns:
        compared = scores.compared.get(column)
        pairs = {(c.first, c.second): c for c in [*compared.shown, *compared.pairs.values()]} if compared else {}
        lines += [f"- {md_words(pair, column)}" for names, pair in pairs.items() if scores.own in names]
    if not lines:
        return ""
    body = "\n".join(lines)
    method = f"Paired bootstrap over the same queries, {count(RESAMPLES)} resamples, p by Holm's method."
    return f"{method}\n\n{body}" if len(lines) <= MAX_SETS else folded("What is noise", f"{method}\n\n{body}")


def md_words(pair: Any, column: Column) -> str:
    """A comparison as a sentence; its names may hold anything."""
    return md(pair.words(f"{column.dataset} ({metric_name(column.metric)})"), longest=None)


def _legend(scores: Scores) -> str:
    words = ["Percent, higher is better; **bold** is the best of a column's models."]
    if any(compared.tied for compared in scores.compared.values()):
        words.append('"~": no difference from the best can be told.')
    if any(row.domain == IN_DOMAIN for row in scores.results.rows):
        words.append("†: in-domain, the model was trained on data of this kind.")
    words.append("Numbers compare only on one revision of a set under one protocol.")
    return " ".join(words)


def _all_numbers(scores: Scores) -> str:
    rows = [
        [
            _model(row.model, scores.own),
            md(row.dataset),
            md(row.protocol) + (f", {md(row.query_language or 'text')} to {md(row.corpus_language)}" * row.is_cell),
            md(metric_name(row.metric)),
            percent(row.value),
            count(row.n),
        ]
        for row in sorted(scores.results.rows, key=lambda row: (row.is_cell, row.model != scores.own))
    ]
    body = table(["model", "set", "protocol", "metric", "%", "n"], rows[:_LONGEST], text=4)
    if len(rows) > _LONGEST:
        body += f"\n\nand {count(len(rows) - _LONGEST)} more; the model's own are all in the metadata of this card."
    return folded(f"All {count(len(rows))} numbers", body)
