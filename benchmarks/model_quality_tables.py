"""Tables of quality by set and task, from the rows of results files.

Values are shares, 0 to 1, until they are shown, in percent.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from hub_cards.eval_results import Result
from hub_cards.eval_tables import main_metric

_VARIANT = "dimensions"  # a model with fewer of them is compared with the whole one, on purpose


@dataclass(frozen=True)
class Quality:
    """Models by sets, of one task.

    Args:
        task: Its name.
        metric: Its main metric.
        sets: Set -> model -> value.
        queries: Set -> number of queries.
    """

    task: str
    metric: str
    sets: dict[str, dict[str, float]]
    queries: dict[str, int]

    @property
    def models(self) -> list[str]:
        """In the order of the results."""
        return list(dict.fromkeys(model for values in self.sets.values() for model in values))

    @property
    def means(self) -> dict[str, float]:
        """Mean over the sets of each model that has a value on all of them."""
        whole = [model for model in self.models if all(model in values for values in self.sets.values())]
        return {model: sum(values[model] for values in self.sets.values()) / len(self.sets) for model in whole}

    def below(self, model: str, references: Sequence[str]) -> list[str]:
        """Sets on which a model has less than the best of the references."""
        return [name for name, values in self.sets.items() if _is_below(values, model, references)]


def qualities(rows: Iterable[Result]) -> list[Quality]:
    """One table for each task, by its main metric, in the order of the results.

    Raises:
        ValueError: A set comes in two versions or under two protocols, which do not compare.
    """
    found: dict[str, Quality] = {}
    seen: dict[str, tuple[str, ...]] = {}
    for row in rows:
        metric = main_metric(row.task)
        if row.is_cell or row.metric != metric:
            continue
        version = row.revision, *(part for part in row.protocol.split(", ") if not part.endswith(_VARIANT))
        if seen.setdefault(row.dataset, version) != version:
            raise ValueError(
                f"{row.dataset} comes as {', '.join(seen[row.dataset])} and as {', '.join(version)}, which do not "
                "compare. Name results of one version and protocol: whole sets and parts (--quick) apart."
            )
        table = found.setdefault(row.task, Quality(row.task, metric, {}, {}))
        table.sets.setdefault(row.dataset, {})[row.model] = row.value
        table.queries[row.dataset] = row.n
    return list(found.values())


def markdown(table: Quality, references: Sequence[str] = (), digits: int = 1) -> str:
    """A Markdown table of percentages: the best of a line is bold; less than the best reference has a `▼`."""
    lines = [
        f"| {table.task}, {table.metric.upper()} | queries | {' | '.join(table.models)} |",
        f"|---|---:|{'---:|' * len(table.models)}",
    ]
    for name, values in table.sets.items():
        lines.append(f"| {name} | {table.queries[name]:,} | {_cells(values, table.models, references, digits)} |")
    means = _cells(table.means, table.models, references, digits)
    lines.append(f"| **average of {len(table.sets)}** | {sum(table.queries.values()):,} | {means} |")
    return "\n".join(lines)


def _cells(values: dict[str, float], models: Sequence[str], references: Sequence[str], digits: int) -> str:
    best = max((round(100 * value, digits) for value in values.values()), default=0.0)
    cells = []
    for model in models:
        if model not in values:
            cells.append("")
            continue
        shown = f"{100 * values[model]:.{digits}f}"
        shown = f"**{shown}**" if len(values) > 1 and round(100 * values[model], digits) == best else shown
        cells.append(f"{shown} ▼" if _is_below(values, model, references) else shown)
    return " | ".join(cells)


def _is_below(values: dict[str, float], model: str, references: Sequence[str]) -> bool:
    rivals = [values[name] for name in references if name in values]
    return bool(rivals) and model in values and model not in references and values[model] < max(rivals)
