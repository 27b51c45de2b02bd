"""What the grid found, on disk: JSON, Markdown, a plot, and the section of a page that holds them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from data_collators.files import new_file, write_json
from hub_cards.eval_plots import new_figure, save_figure
from trainers.evaluation.scorers import BM25

from . import contrastive_report, report
from .plan import REFERENCES, START, UNTRAINED
from .scores import SHORT_MASK

Marks = tuple[str, str]
BEGIN, END = "<!-- what the command wrote: begin -->", "<!-- what the command wrote: end -->"
MARKS: dict[str, Marks] = {
    "mlm": (BEGIN, END),
    "contrastive": ("<!-- stage 2, what the command wrote: begin -->", "<!-- stage 2, what the command wrote: end -->"),
}
# Colours that stay apart for colour-blind readers (Okabe and Ito); 80-10-10 is told by its hatch.
_COLOURS = {"random": "#0072B2", "dobf": "#E69F00", "sequential": "#009E73", "parallel": "#CC79A7"}
_OTHER_COLOUR, _REFERENCE_COLOUR = "#56B4E9", "#999999"


def plot(summary: Mapping[str, Any], path: Path) -> None:
    """A panel for each column: bars of means, standard deviations over seeds as error bars, seeds as dots.

    Raises:
        ImportError: matplotlib is not installed.
    """
    columns = summary["scores"]
    figure = new_figure(3.4 * len(columns), 0.32 * len(next(iter(columns.values()))) + 1.2)
    for number, (column, scores) in enumerate(columns.items(), start=1):
        axes = figure.add_subplot(1, len(columns), number)
        reference = START if START in scores else UNTRAINED
        shown = [name for name in scores if name not in REFERENCES] + [reference]
        for place, name in enumerate(shown):
            short = name.endswith(SHORT_MASK)
            colour = _COLOURS.get(name.removesuffix(SHORT_MASK), _OTHER_COLOUR)
            colour = _REFERENCE_COLOUR if name == reference else colour
            mean, spread = 100 * scores[name]["mean"], scores[name]["spread"]
            axes.barh(place, mean, color=colour, hatch="//" if short else None, edgecolor="white", height=0.75)
            if spread is not None:
                axes.errorbar(mean, place, xerr=100 * spread, color="black", capsize=3, linewidth=1)
            values = [100 * value for value in scores[name]["seeds"].values()]
            axes.plot(values, [place] * len(values), "o", color="white", markeredgecolor="black", markersize=3)
        labels = [name.replace(SHORT_MASK, ", 80-10-10") for name in shown]
        axes.set_yticks(range(len(shown)), labels if number == 1 else [""] * len(shown), fontsize=8)
        axes.invert_yaxis()
        # Its bar would dwarf what is compared here.
        axes.set_title(f"{column}\n(BM25: {100 * scores[BM25]['mean']:.1f})", loc="left", fontsize=8)
        axes.spines[["top", "right"]].set_visible(False)
        axes.tick_params(axis="x", labelsize=7)
    what = "Stage-1 objectives" if reference == UNTRAINED else "Variants of stage 2"
    figure.suptitle(f"{what}, percent: means, standard deviations and single seeds", fontsize=9)
    save_figure(figure, path)


def check_page(path: Path, marks: Marks = (BEGIN, END)) -> None:
    """Refuse, before any work, a page without the marked section.

    Raises:
        FileNotFoundError: There is no such page.
        ValueError: It lacks the marks.
    """
    begin, end = marks
    if not path.is_file():
        raise FileNotFoundError(f"page {str(path)!r} does not exist. Write it, with the lines {begin} and {end}.")
    text = path.read_text(encoding="utf-8")
    if text.count(begin) != 1 or text.count(end) != 1 or text.index(begin) > text.index(end):
        raise ValueError(f"page {str(path)!r} needs the lines {begin} and {end} once each, in this order. Add them.")


def rewrite_page(path: Path, section: str, marks: Marks = (BEGIN, END)) -> None:
    """Replace what stands between the marks of a page."""
    check_page(path, marks)
    begin, end = marks
    text = path.read_text(encoding="utf-8")
    before, after = text[: text.index(begin) + len(begin)], text[text.index(end) :]
    with new_file(path) as partial:
        partial.write_text(f"{before}\n\n{section}\n\n{after}", encoding="utf-8")


def markdown(summary: Mapping[str, Any]) -> str:
    """The tables of the stage that a summary is of."""
    stage = contrastive_report if START in next(iter(summary["scores"].values())) else report
    return stage.markdown(summary)


def save(summary: Mapping[str, Any], output: Path) -> None:
    """Write `ablations.json`, `ablations.md` and `ablations.png` into the output folder."""
    write_json(output / "ablations.json", dict(summary))
    with new_file(output / "ablations.md") as partial:
        partial.write_text(markdown(summary) + "\n", encoding="utf-8")
    plot(summary, output / "ablations.png")
