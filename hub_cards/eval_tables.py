"""Tables of models by sets, and their averages.

Numbers that cannot be compared never share a column: it is one version of one set under one protocol, by one metric.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from .eval_results import ZERO_SHOT, Result

# The metric that a task's tables show where they can; see `by_set`.
MAIN_METRICS = {"text-to-code": "mrr", "code-to-code": "map", "classification": "macro-f1"}


@dataclass(frozen=True, slots=True)
class Column:
    """One version of one set under one protocol, by one metric."""

    task: str
    dataset: str
    revision: str
    protocol: str
    metric: str


@dataclass(frozen=True, slots=True)
class Average:
    """Means of models over the same columns.

    Args:
        kind: "average" or "zero-shot average".
        protocol: Protocol of the columns.
        metric: Their metric.
        columns: How many they are.
        means: Model -> mean.
    """

    kind: str
    protocol: str
    metric: str
    columns: int
    means: dict[str, float]


@dataclass
class Table:
    """Models by columns, of one task.

    Args:
        task: Its name.
        metric: Its main metric.
        columns: In the order of the results.
        models: The best first, by the first average or else by the first column.
        cells: (model, column) -> number.
        averages: Only over columns that all models have; no "average" where the zero-shot one is over the same.
        notes: What the averages are over.
    """

    task: str
    metric: str
    columns: list[Column]
    models: list[str]
    cells: dict[tuple[str, Column], Result]
    averages: list[Average] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def tall(self) -> bool:
        """Whether it is shown with sets as rows: more of them than models would make it too wide to read."""
        return len(self.columns) > len(self.models)

    def best(self, column: Column) -> float:
        """The highest value of a column; above 1 if no two models can be compared."""
        values = [self.cells[model, column].value for model in self.models if (model, column) in self.cells]
        return max(values) if len(values) > 1 else math.inf


def make_tables(rows: Iterable[Result]) -> list[Table]:
    """One table for each task, in the order of the results."""
    tables: dict[str, Table] = {}
    for column, found in by_set(row for row in rows if not row.is_cell):
        table = tables.setdefault(
            column.task, Table(column.task, main_metric(column.task) or column.metric, [], [], {})
        )
        table.columns.append(column)
        table.cells |= {(row.model, column): row for row in found}
    for table in tables.values():
        table.models = list(dict.fromkeys(model for model, _ in table.cells))
        for protocol, metric in dict.fromkeys((column.protocol, column.metric) for column in table.columns):
            _add_averages(table, protocol, metric)
        order = table.averages[0].means if table.averages else _first_column(table)
        table.models.sort(key=lambda model: -order.get(model, -1.0))
    return list(tables.values())


def by_set(rows: Iterable[Result]) -> Iterator[tuple[Column, list[Result]]]:
    """Rows of each version of a set and protocol, by its task's main metric, else by what most of its models have."""
    groups: dict[tuple[str, ...], dict[str, list[Result]]] = {}
    for row in rows:
        group = groups.setdefault((row.task, row.dataset, row.revision, row.protocol), {})
        group.setdefault(row.metric, []).append(row)
    for where, by_metric in groups.items():
        main = main_metric(where[0])
        # Of equals the first: an evaluation names its main metric first.
        metric = main if main in by_metric else max(by_metric, key=lambda name: len(by_metric[name]))
        yield Column(*where, metric), by_metric[metric]


def _first_column(table: Table) -> dict[str, float]:
    return {model: row.value for (model, column), row in table.cells.items() if column == table.columns[0]}


def main_metric(task: str) -> str | None:
    """The metric that a task is usually reported by, None if unknown."""
    return next((metric for word, metric in MAIN_METRICS.items() if word in task), None)


def _add_averages(table: Table, protocol: str, metric: str) -> None:
    """Averages over columns that compare: all that every model has, and those zero-shot for every model."""
    columns = [column for column in table.columns if (column.protocol, column.metric) == (protocol, metric)]
    if len(columns) < 2:
        return
    common = [column for column in columns if all((model, column) in table.cells for model in table.models)]
    if len(common) < 2:
        table.notes.append(f"No average ({protocol}): fewer than two of its columns have numbers of every model.")
        return
    pure = [c for c in common if all(table.cells[model, c].domain == ZERO_SHOT for model in table.models)]
    left = [column for column in columns if column not in common]
    note = f"Averages ({protocol}) are over what every model has: {_sets(common)}"
    table.notes.append(note + (f"; left out, since a model has no number: {_sets(left)}." if left else "."))
    if pure == common:
        table.notes.append(f"All of these ({protocol}) are zero-shot for every model.")
    elif len(pure) >= 2:
        table.notes.append(
            f"The zero-shot average ({protocol}) is over sets that are zero-shot for every model: {_sets(pure)}."
        )
    else:
        table.notes.append(
            f"No zero-shot average ({protocol}): fewer than two of its sets are known to be zero-shot for every model."
        )
    if pure != common:
        table.averages.append(_average("average", common, table))
    if len(pure) >= 2:
        table.averages.append(_average("zero-shot average", pure, table))


def _average(kind: str, columns: list[Column], table: Table) -> Average:
    means = {model: sum(table.cells[model, c].value for c in columns) / len(columns) for model in table.models}
    return Average(kind, columns[0].protocol, columns[0].metric, len(columns), means)


def _sets(columns: Iterable[Column]) -> str:
    return ", ".join(column.dataset for column in columns)
