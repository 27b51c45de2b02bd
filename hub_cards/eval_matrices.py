"""Numbers by language of the queries and of the corpus."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from .eval_results import Result
from .eval_tables import Column, by_set
from .eval_words import percent

# Stands for the language of queries that are no code.
_WORDS = "text"


@dataclass(frozen=True)
class Matrix:
    """Numbers of one set by language of the corpus: of one model by language of the query, or of all models.

    Args:
        model: Whose; None if its rows are models, where queries are in words or in the language of the corpus.
        column: On what.
        cells: (language of the query or model, language of the corpus) -> number.
    """

    model: str | None
    column: Column
    cells: dict[tuple[str, str], Result]

    @property
    def rows(self) -> list[str]:
        """Languages of the queries; models, the best first."""
        names = sorted({row for row, _ in self.cells})
        return names if self.model else sorted(names, key=lambda name: -self._mean_of_row(name))

    @property
    def languages(self) -> list[str]:
        """Languages of the corpus, "" for all at once."""
        return sorted({language for _, language in self.cells})

    @property
    def summary(self) -> str:
        """Means within a language and across languages, as words; "" of a matrix of models."""
        if not self.model:
            return ""
        cells = [(row == language, cell.value) for (row, language), cell in self.cells.items() if row != _WORDS]
        parts = []
        for name, same in (("same language", True), ("across languages", False)):
            values = [value for is_same, value in cells if is_same == same]
            if values:
                parts.append(f"mean of {len(values)} cells {name}: {percent(sum(values) / len(values))}")
        return "; ".join(parts)

    def _mean_of_row(self, name: str) -> float:
        values = [cell.value for (row, _), cell in self.cells.items() if row == name]
        return sum(values) / len(values)


def make_matrices(rows: Iterable[Result]) -> list[Matrix]:
    """Matrices of the sets that have cells, by the metric that tables would show."""
    found: dict[tuple[str | None, Column], dict[tuple[str, str], Result]] = {}
    for column, cells in by_set(row for row in rows if row.is_cell):
        # Without these a model's matrix would be one row or a diagonal.
        across = any(row.query_language not in ("", row.corpus_language) for row in cells)
        for row in cells:
            model, name = (row.model, row.query_language or _WORDS) if across else (None, row.model)
            found.setdefault((model, column), {})[name, row.corpus_language] = row
    return [Matrix(model, column, cells) for (model, column), cells in found.items()]
