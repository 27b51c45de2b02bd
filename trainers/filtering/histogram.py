"""The histogram of ranks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from data_collators.files import new_file


def rank_label(rank: int) -> str:
    """The bar of a histogram in which a rank is counted: 1, 2, 3, then 4-10, 11-30, 31-100, and so on."""
    if rank <= 3:
        return str(rank)
    low, high = 3, 10
    while rank > high:
        low, high = high, low * 10
    return f"{low + 1}-{high}"


def plot_ranks(figures: dict[str, Any], path: Path, keep_rank: int) -> None:
    """Bars of how many pairs have which rank, as a PNG.

    Raises:
        ImportError: matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError("plots need matplotlib: pip install 'coderep[eval]'") from error
    ranks = figures["ranks"]
    whole = sum(ranks.values())
    figure = Figure(figsize=(7, 3.2), layout="constrained")
    axes = figure.add_subplot()
    colours = ["#1f5f8b" if int(label.split("-")[-1]) <= keep_rank else "#9aa0a6" for label in ranks]
    bars = axes.bar(list(ranks), [100 * count / whole for count in ranks.values()], color=colours)
    axes.bar_label(bars, fmt="{:.1f}", padding=2, fontsize=8)
    axes.set_ylabel("% of pairs")
    axes.set_xlabel(f"rank of the pair's code in a pool of {figures['pool']:,} (dark: up to rank {keep_rank})")
    axes.set_title(f"{figures['kept']:,} of {whole:,} pairs stay", loc="left")
    axes.spines[["top", "right"]].set_visible(False)
    with new_file(path) as partial:
        figure.savefig(partial, format="png", dpi=130)
