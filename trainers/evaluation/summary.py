"""Results as aligned lines for a terminal."""

from __future__ import annotations

from collections.abc import Sequence

from ..records import EvalResult


def retrieval_table(results: Sequence[EvalResult]) -> str:
    """A line for each set and model, metrics over all queries as columns, in percent."""
    rows: dict[tuple[str, ...], dict[str, EvalResult]] = {}
    for result in results:
        if not result.corpus_language:
            key = (result.dataset, result.model, result.revision, result.protocol)
            rows.setdefault(key, {})[result.metric] = result
    metrics = list(dict.fromkeys(result.metric for result in results))
    widths = [max(len(key[place]) for key in [*rows, ("set", "model")]) for place in (0, 1)]
    lines = [f"{'set':<{widths[0]}}  {'model':<{widths[1]}}  queries" + "".join(f"{name:>11}" for name in metrics)]
    for (dataset, model, *_), row in rows.items():
        values = "".join(f"{100 * row[metric].value:11.2f}" if metric in row else f"{'':11}" for metric in metrics)
        lines.append(f"{dataset:<{widths[0]}}  {model:<{widths[1]}}  {next(iter(row.values())).n:7,}{values}")
    protocols = dict.fromkeys(result.protocol for result in results)
    return "\n".join([*lines, f"percent; protocol: {'; '.join(protocols)}"])
