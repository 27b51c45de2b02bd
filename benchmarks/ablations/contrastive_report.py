"""The tables of stage 2: groups of variants, each beside the paper's figures for the same question."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from trainers.evaluation.scorers import BM25
from trainers.records import EvalResult

from .plan import START, TRUNCATED
from .report import cell, how, means, words
from .scores import Difference, Scores, by_column, compare

_HARD = "Code2Code MAP in the paper, small / base"
_STEPS = "Code2Code MAP in the paper, small"


@dataclass(frozen=True)
class Group:
    """Variants that answer one question.

    Args:
        title: Of the table.
        rows: Variant -> what the table calls it.
        against: Variant -> the one that it is compared with.
        heading: Of the column with the paper's figures.
        paper: Variant -> the paper's figure (section 4.3 of arXiv 2402.01935, read off its plots).
        note: A sentence on what the paper found or what is held constant.
    """

    title: str
    rows: Mapping[str, str]
    against: Mapping[str, str]
    heading: str = ""
    paper: Mapping[str, str] = ()
    note: str = ""

    @property
    def variants(self) -> list[str]:
        """Names of the rows."""
        return list(self.rows)


def _all_against(base: str, names: Sequence[str]) -> dict[str, str]:
    return {name: base for name in names if name != base}


_HARD_ROWS = {
    "baseline": "neither (InfoNCE)",
    "hard_positives": "hard positives",
    "hard_negatives_sum": "hard negatives, sum",
    "hard_negatives_mean": "hard negatives, mean",
    "both_sum": "both, sum",
    "both_mean": "both, mean",
}
_STEP_ROWS = {
    "unimodal_quarter": "unimodal, a quarter of the steps",
    "unimodal_half": "unimodal, half",
    "unimodal": "unimodal, all",
    "bimodal_quarter": "bimodal, a quarter",
    "bimodal_half": "bimodal, half",
    "both_mean": "bimodal, all",
}
_BATCHES = {"batch_16": "16", "batch_32": "32", "both_mean": "64", "batch_128": "128", "batch_256": "256"}
_TEMPERATURES = {
    **{f"temperature_{value}": value for value in ("0.01", "0.02")},
    "both_mean": "0.05",
    **{f"temperature_{value}": value for value in ("0.1", "0.2")},
}
GROUPS = (
    Group(
        "Hard positives and hard negatives",
        _HARD_ROWS,
        {**_all_against("baseline", list(_HARD_ROWS)), "both_mean": "baseline"},
        _HARD,
        {
            "baseline": "22.2 / 24.8",
            "hard_positives": "25 / 27.8",
            **dict.fromkeys(("hard_negatives_sum", "hard_negatives_mean"), "24.4 / 29.8"),
            **dict.fromkeys(("both_sum", "both_mean"), "26.1 / 33.0"),
        },
        "The paper does not say which norm its weights have.",
    ),
    Group(
        "Unimodal and bimodal over steps",
        _STEP_ROWS,
        {"unimodal_quarter": "bimodal_quarter", "unimodal_half": "bimodal_half", "unimodal": "both_mean"},
        _STEPS,
        {
            "unimodal_quarter": "22.7 at 500 steps",
            "unimodal": "13.4 at 20,000",
            "bimodal_quarter": "19.7",
            "both_mean": "26.1",
        },
        "Each row is a run of its own with a whole schedule; the paper's are points of one run.",
    ),
    Group("Pairs a step", _BATCHES, _all_against("both_mean", list(_BATCHES)), note="All see equally many pairs."),
    Group("Temperature", _TEMPERATURES, _all_against("both_mean", list(_TEMPERATURES))),
    Group(
        "Consistency filter",
        {"both_mean": "all pairs", "filtered": "consistent pairs"},
        {"filtered": "both_mean"},
        note="CodeSage v2 drops 40 % of its pairs so, and reports over 10 points more in Code2Code, over 3 in NL2Code.",
    ),
)
MATRYOSHKA = Group(
    "Matryoshka", {"both_mean": "without", "matryoshka": "with the loss over prefixes"}, {"matryoshka": "both_mean"}
)
VARIANTS = tuple(dict.fromkeys(name for group in (*GROUPS, MATRYOSHKA) for name in group.rows))


def compared(variants: Sequence[str]) -> list[tuple[str, str]]:
    """What is compared with what, among variants."""
    found = [pair for group in (*GROUPS, MATRYOSHKA) for pair in group.against.items()]
    return [pair for pair in dict.fromkeys(found) if set(pair) <= set(variants)]


def truncated_scores(records: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Width -> column -> variant -> mean, spread and seeds, of records that were evaluated by first dimensions."""
    runs: dict[str, list[tuple[str, int, list[EvalResult]]]] = {}
    for row in records:
        for width, results in row.get("truncated", {}).items():
            runs.setdefault(width, []).append((row["variant"], row["seed"], [EvalResult(**r) for r in results]))
    return {
        width: {column: means(scores) for column, scores in by_column(found).items()} for width, found in runs.items()
    }


def markdown(summary: Mapping[str, Any]) -> str:
    """Tables and sentences of a grid of stage 2."""
    lines: list[str] = []
    for group in GROUPS:
        lines += _group(group, summary["scores"])
    lines += _matryoshka(summary)
    return "\n".join([*lines, how(summary)])


def _group(group: Group, scores: Mapping[str, Any]) -> list[str]:
    """Title, table and differences of a group; nothing if fewer than two of its variants were run."""
    run = [name for name in group.variants if all(name in found for found in scores.values())]
    if len(run) < 2:
        return []
    header = ["percent", *scores, *([group.heading] if group.paper else [])]
    lines = [f"### {group.title}", "", f"| {' | '.join(header)} |", f"|---|{'---:|' * (len(header) - 1)}"]
    best = {column: max(found[name]["mean"] for name in run) for column, found in scores.items()}
    for name in run:
        cells = [cell(found[name], found[name]["mean"] == best[column]) for column, found in scores.items()]
        paper = [dict(group.paper).get(name, "")] if group.paper else []
        lines.append(f"| {' | '.join([group.rows[name], *cells, *paper])} |")
    for name, label in ((START, "before stage 2"), (BM25, "BM25")):
        cells = [cell(found[name]) for found in scores.values()] + [""] * bool(group.paper)
        lines.append(f"| {' | '.join([label, *cells])} |")
    return [*lines, "", *([group.note, ""] if group.note else []), *_sentences(group, scores), ""]


def _sentences(group: Group, scores: Mapping[str, Any]) -> list[str]:
    """Which variants differ from what they are compared with by more than seeds do."""
    lines = []
    for column, found in scores.items():
        pairs = [(first, second) for first, second in group.against.items() if first in found and second in found]
        rows = [compare(column, _of_seeds(found), *pair) for pair in pairs]
        rows = [row for row in rows if row is not None]
        if rows:
            lines.append(f"- {column}: {_told(rows)}")
    return lines


def _told(rows: Sequence[Difference]) -> str:
    if all(row.half_width is None for row in rows):
        return "one seed, so no spread and no difference can be told."
    told = [words(row) for row in rows if row.told]
    within = [f"{row.first} and {row.second} ({100 * row.mean:.2f})" for row in rows if not row.told]
    parts = [f"beyond the spread {'; '.join(told)}" if told else "", f"within it {'; '.join(within)}" if within else ""]
    return f"{'. '.join(part for part in parts if part)}."


def _of_seeds(found: Mapping[str, Any]) -> Scores:
    return {name: {int(seed): value for seed, value in score["seeds"].items()} for name, score in found.items()}


def _matryoshka(summary: Mapping[str, Any]) -> list[str]:
    """Scores by first dimensions, with and without the loss over prefixes."""
    widths, scores = summary["truncated"], summary["scores"]
    run = [name for name in TRUNCATED if all(name in found for found in scores.values())]
    if not widths or len(run) < 2:
        return []
    header = ["percent", *(f"{column}, {MATRYOSHKA.rows[name]}" for column in scores for name in run)]
    lines = [f"### {MATRYOSHKA.title}", "", f"| {' | '.join(header)} |", f"|---|{'---:|' * (len(header) - 1)}"]
    for label, found in [("whole", scores), *((f"first {width}", widths[width]) for width in widths)]:
        cells = [cell(found[column][name]) for column in scores for name in run]
        lines.append(f"| {' | '.join([label, *cells])} |")
    lines.append("")
    for label, found in [("whole", scores), *((f"first {width}", widths[width]) for width in widths)]:
        lines += [f"{line[:2]}{label}, {line[2:]}" for line in _sentences(MATRYOSHKA, found)]
    return [*lines, ""]
