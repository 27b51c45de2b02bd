"""Pictures of the comparison of models: bars of tables, heat maps of language matrices."""

from __future__ import annotations

import math
import warnings
from pathlib import Path
from typing import Any

from data_collators.files import new_file

from .eval_matrices import Matrix
from .eval_results import IN_DOMAIN, ZERO_SHOT
from .eval_tables import Table
from .eval_words import metric_name, percent

# Colours that stay apart for colour-blind readers (Okabe and Ito).
_DOMAIN_COLOURS = {ZERO_SHOT: "#0072B2", IN_DOMAIN: "#E69F00"}
_OTHER_COLOUR, _HEAT = "#999999", "cividis"


def plot_bars(table: Table, path: Path) -> None:
    """A panel of bars for each column, a bar for each model.

    Raises:
        ImportError: matplotlib is not installed.
    """
    wide = min(4, len(table.columns))
    high = math.ceil(len(table.columns) / wide)
    figure = new_figure(2.4 * wide + 2.2, high * (0.32 * len(table.models) + 0.75) + 0.5)
    names = [_label(model) for model in table.models]
    top = max(row.value + (row.spread or 0) for row in table.cells.values()) or 1
    seen: dict[str, Any] = {}
    for number, column in enumerate(table.columns):
        axes = figure.add_subplot(high, wide, number + 1)
        for place, model in enumerate(table.models):
            row = table.cells.get((model, column))
            if row is None:
                axes.text(0, place, " no number", va="center", fontsize=8, color="#666666")
                continue
            colour = _DOMAIN_COLOURS.get(row.domain, _OTHER_COLOUR)
            hatch = "//" if row.domain == IN_DOMAIN else None  # not by colour alone
            bars = axes.barh(place, 100 * row.value, color=colour, hatch=hatch, edgecolor="white", height=0.75)
            error = 100 * row.spread if row.spread else None
            if error:
                axes.errorbar(100 * row.value, place, xerr=error, color="black", capsize=2, linewidth=1)
            axes.text(100 * row.value + (error or 0), place, f" {percent(row.value)}", va="center", fontsize=8)
            seen.setdefault(row.domain, bars)
        axes.set_yticks(range(len(names)), names if number % wide == 0 else [""] * len(names), fontsize=8)
        axes.set_ylim(len(names) - 0.4, -0.6)
        axes.set_xlim(0, 125 * top)
        metric = "" if column.metric == table.metric else f", {metric_name(column.metric)}"
        axes.set_title(f"{_label(column.dataset)}\n{_label(column.protocol)}{metric}", loc="left", fontsize=8)
        axes.spines[["top", "right"]].set_visible(False)
        axes.tick_params(axis="x", labelsize=7)
    figure.suptitle(f"{table.task}: {metric_name(table.metric)} (%), higher is better", fontsize=10)
    figure.legend(seen.values(), seen.keys(), loc="outside lower center", ncols=len(seen), frameon=False, fontsize=8)
    save_figure(figure, path)


def heat_colours(value: float, top: float) -> tuple[str, str]:
    """Background and the more legible of black and white on it, on a scale from 0 to `top`."""
    from matplotlib import colormaps
    from matplotlib.colors import to_hex

    rgb = colormaps[_HEAT](min(1.0, value / top if top else 0.0))[:3]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in rgb]
    luminance = sum(weight * part for weight, part in zip((0.2126, 0.7152, 0.0722), linear, strict=True))
    return to_hex(rgb), "#000000" if luminance > 0.179 else "#ffffff"  # where both contrast alike (WCAG)


def plot_matrix(matrix: Matrix, path: Path, top: float) -> None:
    """Heat map of a language matrix, values in its cells; `top` is the value of the lightest colour."""
    rows, columns = matrix.rows, matrix.languages
    figure = new_figure(0.62 * len(columns) + 2.6, 0.42 * max(2, len(rows)) + 1.7)
    axes = figure.add_subplot()
    values = [[100 * matrix.cells[r, c].value if (r, c) in matrix.cells else math.nan for c in columns] for r in rows]
    image = axes.imshow(values, cmap=_HEAT, vmin=0, vmax=100 * top, aspect="auto")
    for (row, column), cell in matrix.cells.items():
        colour = heat_colours(cell.value, top)[1]
        place = columns.index(column), rows.index(row)
        axes.text(*place, percent(cell.value), ha="center", va="center", color=colour, fontsize=8)
    axes.set_xticks(range(len(columns)), [name or "all" for name in columns], rotation=45, ha="right", fontsize=8)
    axes.set_yticks(range(len(rows)), [_label(name) for name in rows], fontsize=8)
    axes.set_xlabel("language of the corpus", fontsize=8)
    if matrix.model:
        axes.set_ylabel("language of the query", fontsize=8)
    what = f"{_label(matrix.model or 'all models')}: {metric_name(matrix.column.metric)} (%)"
    figure.suptitle(f"{what}\n{_label(matrix.column.dataset)}, {_label(matrix.column.protocol)}", fontsize=9)
    axes.spines[:].set_visible(False)
    figure.colorbar(image, ax=axes).ax.tick_params(labelsize=7)
    save_figure(figure, path)


def _label(text: str, width: int = 34) -> str:
    text = " ".join(text.split())
    text = text if len(text) <= width else f"{text[: width // 2 - 1]}…{text[-width // 2 :]}"
    return text.replace("$", r"\$")  # else a formula to matplotlib


def new_figure(width: float, height: float) -> Any:
    """An empty matplotlib figure; width and height in inches.

    Raises:
        ImportError: matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError("Plots need matplotlib: pip install 'coderep[eval]'") from error
    return Figure(figsize=(width, height), layout="constrained")


def save_figure(figure: Any, path: Path) -> None:
    """Write a figure as PNG, under a temporary name first."""
    with new_file(path) as partial, warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing")  # a name in a script that the font lacks
        figure.savefig(partial, format="png", dpi=130)
