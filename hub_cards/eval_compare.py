"""Which models of a table differ, in words, and what a reader must know about its numbers."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from .eval_results import Results
from .eval_tables import Column, Table
from .eval_words import percent
from .significance import MAX_ALL_PAIRS, MIN_QUERIES, Comparison, compare_models, mean_score, pairs_to_compare


@dataclass(frozen=True, slots=True)
class Compared:
    """Comparisons of the models of a column.

    Args:
        models: Those with values per query, the best of the table first.
        shown: Comparisons with the best of them.
        pairs: All comparisons, empty if there are too many models for a table of pairs.
        tied: Models of which no difference from the best of the table can be told.
        notes: What could not be compared.
    """

    models: list[str]
    shown: list[Comparison]
    pairs: dict[tuple[str, str], Comparison]
    tied: set[str]
    notes: list[str]


def compare_column(
    table: Table, column: Column, results: Results, *, resamples: int = 10_000, seed: int = 0
) -> Compared:
    """Compare the models of a column that have values per query."""
    models = [model for model in table.models if (model, column) in table.cells]
    scores = {model: values for model in models if (values := results.per_query(table.cells[model, column]))}
    comparisons = compare_models(scores, resamples=resamples, seed=seed)
    best = max(scores, key=lambda model: mean_score(scores[model]), default=None)
    shown = [one for one in comparisons if best in (one.first, one.second)]
    tied = {one.second if one.first == best else one.first for one in shown if not one.told}
    if best is None or table.cells[best, column].value != table.best(column):
        tied = set()  # a model without values per query is better: nothing is known of differences from it
    return Compared(
        models=sorted(scores, key=lambda model: -table.cells[model, column].value),
        shown=shown,
        pairs={(one.first, one.second): one for one in comparisons} if len(scores) <= MAX_ALL_PAIRS else {},
        tied=tied,
        notes=_comparison_notes(models, scores, comparisons),
    )


def _comparison_notes(
    models: Sequence[str], scores: Mapping[str, Mapping[str, float]], comparisons: Sequence[Comparison]
) -> list[str]:
    notes = []
    missing = [model for model in models if model not in scores]
    if missing and scores:
        notes.append(f"Without values per query, so not compared: {', '.join(missing)}.")
    skipped = len(pairs_to_compare(list(scores))) - len(comparisons)
    if skipped:
        notes.append(f"{skipped} pairs have fewer than {MIN_QUERIES} queries in common, so were not compared.")
    apart = [one for one in comparisons if one.unshared]
    if apart:
        notes.append(
            "The models have values for different queries; only those of both are compared: "
            + "; ".join(f"{c.first} and {c.second} share {c.result.n:,}, {c.unshared:,} left out" for c in apart)
            + "."
        )
    return notes


def pair_words(pairs: dict[tuple[str, str], Comparison], row: str, column: str) -> str:
    """Points by which one model is ahead of another, "~" before a difference that can be noise; "" if not compared."""
    one = pairs.get((row, column)) or pairs.get((column, row))
    if one is None:
        return ""
    points = 100 * one.result.difference * (1 if one.first == row else -1)
    return f"{'' if one.told else '~ '}{points:+.1f}"


def check_scores(tables: Sequence[Table], results: Results) -> list[str]:
    """Notes on numbers in one column that are over other queries, and values per query that do not give the number."""
    notes = []
    for table in tables:
        for column in table.columns:
            rows = [table.cells[model, column] for model in table.models if (model, column) in table.cells]
            sizes = sorted({row.n for row in rows})
            if len(sizes) > 1:
                notes.append(
                    f"{column.dataset} ({column.protocol}): the numbers are over {' and '.join(map(str, sizes))} "
                    "queries or examples, so they compare only roughly."
                )
            for row in rows:
                mean = mean_score(results.per_query(row))
                if math.isfinite(mean) and abs(mean - row.value) > 5e-4:
                    notes.append(
                        f"{row.model} on {column.dataset} ({column.protocol}): the values per query average to "
                        f"{percent(mean)}, the result says {percent(row.value)}; they are not of "
                        "one run, and comparisons use the values per query."
                    )
    return notes


def version_notes(tables: Iterable[Table]) -> list[str]:
    """Notes on sets that come in several revisions or protocols."""
    notes = []
    for table in tables:
        for dataset in dict.fromkeys(column.dataset for column in table.columns):
            for what in ("revision", "protocol"):
                found = {getattr(column, what) for column in table.columns if column.dataset == dataset}
                if len(found) > 1:
                    notes.append(
                        f"{dataset} comes in {len(found)} {what}s ({'; '.join(sorted(found))}): a column each, and "
                        "numbers of different columns do not compare."
                    )
    return notes
