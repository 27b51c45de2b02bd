"""The picture of docs/MODEL.md: quality against what a model costs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hub_cards.eval_plots import new_figure, save_figure
from trainers.evaluation.scorers import BM25

from .model_quality_tables import Quality

# Colours that stay apart for colour-blind readers (Okabe and Ito); the shape tells them apart besides.
_COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00")
_SHAPES = "osD^vP"
_AXES = (("parameters", 1e-6, "parameters, millions"), ("milliseconds", 1.0, "CPU milliseconds a function"))


def plot(tables: Sequence[Quality], encoders: Mapping[str, Mapping[str, Any]], path: Path) -> None:
    """A row of panels for each task, its average against parameters and time; BM25 is a line.

    Raises:
        ImportError: matplotlib is not installed.
    """
    figure = new_figure(9.0, 3.3 * len(tables) + 0.4)
    for row, table in enumerate(tables):
        means = table.means
        for column, (key, scale, label) in enumerate(_AXES):
            axes = figure.add_subplot(len(tables), len(_AXES), len(_AXES) * row + column + 1)
            shown = [name for name in encoders if name in means]
            for name, colour, shape in zip(shown, _cycle(_COLOURS), _cycle(_SHAPES), strict=False):
                x, y = scale * encoders[name][key], 100 * means[name]
                axes.plot(x, y, shape, color=colour, markersize=8, label=name)
                axes.annotate(f"{y:.1f}", (x, y), xytext=(6, 6), textcoords="offset points", fontsize=8)
            if BM25 in means:
                axes.axhline(100 * means[BM25], color="#999999", linestyle="--", linewidth=1, label="BM25")
            axes.margins(0.15, 0.4)
            axes.set_xlim(left=0)
            axes.set_xlabel(label, fontsize=8)
            axes.set_ylabel(f"{table.metric.upper()}, mean of {len(table.sets)} sets, %", fontsize=8)
            axes.set_title(table.task, loc="left", fontsize=9)
            axes.spines[["top", "right"]].set_visible(False)
            axes.tick_params(labelsize=8)
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=min(4, len(labels)), frameon=False, fontsize=8)
    save_figure(figure, path)


def _cycle(values: Sequence[str]) -> list[str]:
    return list(values) * 8
