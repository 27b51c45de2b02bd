"""Pictures of a run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from data_collators.files import new_file

from .records import EvalResult

# Colours that stay apart for colour-blind readers; grey for what is not ours.
_GREY, _OURS, _BEST = "#9aa0a6", "#7fb3d5", "#1f5f8b"


def plot_retrieval(results: Sequence[EvalResult], path: str | Path, *, shipped: str, baselines: Sequence[str]) -> None:
    """Bars of MRR, one a model, in the order of the results, as a PNG.

    Args:
        results: Results with the metric `mrr`; others are passed over.
        path: File to write.
        shipped: The model whose bar stands out.
        baselines: Models whose bars are grey.

    Raises:
        ImportError: matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError("Plots need matplotlib: pip install 'coderep[eval]'") from error
    shown = [result for result in results if result.metric == "mrr"][::-1]
    figure = Figure(figsize=(7, 0.55 * len(shown) + 1.3), layout="constrained")
    axes = figure.add_subplot()
    colours = [_BEST if row.model == shipped else _GREY if row.model in baselines else _OURS for row in shown]
    bars = axes.barh([row.model for row in shown], [100 * row.value for row in shown], color=colours)
    axes.bar_label(bars, labels=[f"{100 * row.value:.1f}" for row in shown], padding=4)
    axes.set_xlim(0, max(115 * row.value for row in shown) or 1)
    axes.set_xlabel("MRR (%), higher is better")
    axes.set_title(f"Text-to-code retrieval: {shown[0].n:,} functions of unseen modules", loc="left")
    axes.spines[["top", "right"]].set_visible(False)
    with new_file(path) as partial:
        figure.savefig(partial, format="png", dpi=150)
