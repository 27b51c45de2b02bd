"""Whether a checkpoint still gives the numbers that lie beside it."""

from __future__ import annotations

from collections.abc import Sequence

from hub_cards.eval_results import Result
from trainers.evaluation.scorers import BM25

from .model_quality_models import Form, form_of

TOLERANCE = 0.002  # other processors and releases of torch round otherwise, and a tie may fall the other way


def recorded_forms(checkpoint: str, expected: Sequence[Result]) -> list[Form]:
    """The forms of a checkpoint whose numbers were recorded, in their order; other models are left out.

    The checkpoint's own rows are those whose name begins with that of the first row, BM25 apart.
    """
    names = [name for name in dict.fromkeys(row.model for row in expected) if name != BM25]
    return [form_of(checkpoint, name) for name in names if name.split(", ")[0] == names[0].split(", ")[0]]


def differing(rows: Sequence[Result], expected: Sequence[Result]) -> list[str]:
    """A line for each recorded number that was found to be another, or was not found."""
    found = {_key(row): row.value for row in rows}
    lines = []
    for row in expected:
        if row.is_cell or row.model not in {model for model, *_ in found}:
            continue
        value = found.get(_key(row))
        if value is None:
            lines.append(f"{row.model}, {row.dataset}, {row.metric}: recorded {100 * row.value:.2f}, not found here")
        elif abs(value - row.value) > TOLERANCE:
            lines.append(
                f"{row.model}, {row.dataset}, {row.metric}: recorded {100 * row.value:.2f}, now {100 * value:.2f}"
            )
    return lines


def _key(row: Result) -> tuple[str, ...]:
    return row.model, row.dataset, row.revision, row.metric, row.query_language, row.corpus_language
