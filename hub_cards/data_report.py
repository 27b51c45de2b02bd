"""Reports on data sets: tables in Markdown and plots, from their stats.json."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from data_collators.files import new_file

from .data import AMOUNTS, REASONS, STATS
from .data_words import NO_CANDIDATE
from .eval_plots import new_figure, save_figure
from .lineage import read_record

REPORT = "report.md"
_KEPT = "kept"
# Colours that stay apart for colour-blind readers (Okabe and Ito), the strongest first.
_COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442", "#999999")


def read_stats(folders: Sequence[str | Path]) -> dict[str, dict[str, Any]]:
    """Records of data sets by kind.

    Raises:
        FileNotFoundError: A folder holds no stats.json.
        ValueError: Two are of one kind, or a record is of no data set.
    """
    found: dict[str, dict[str, Any]] = {}
    for folder in folders:
        stats = read_record(Path(folder) / STATS)
        if "per_language" not in stats:
            raise ValueError(f"{str(folder)!r} holds no figures per language. Build it anew with this version.")
        if stats["kind"] in found:
            raise ValueError(f"two folders of {stats['kind']} given. Name one folder of stage-1 rows and one of pairs.")
        found[stats["kind"]] = stats
    return found


def report_tables(stats: dict[str, dict[str, Any]]) -> str:
    """Tables in Markdown for the data sets given, by language."""
    parts = []
    if "pairs" in stats:
        parts += [_pair_table(stats["pairs"]), _drop_table(stats["pairs"]), _overlap_table(stats["pairs"])]
    if "stage1" in stats:
        parts += [_token_table(stats["stage1"])]
    for record in stats.values():
        parts.append(_file_lines(record))
    return "\n\n".join(part for part in parts if part) + "\n"


def _pair_table(stats: dict[str, Any]) -> str:
    rows = []
    for language, counters in _with_total(stats):
        counts = counters["counts"]
        functions, documented, kept = (counts.get(key, 0) for key in ("functions", "documented", "rows"))
        rows.append(
            [language, _n(counts.get("files", 0)), f"{counts.get('bytes', 0) / 1e6:.1f}", _n(functions)]
            + [_n(documented), _share(documented, functions), _n(kept), _share(kept, documented)]
        )
    head = ["language", "files", "MB", "functions", "documented", "%", "pairs", "% of documented"]
    return f"### Pairs ({stats['seconds']:,.0f} s)\n\n{_table(head, rows)}"


def _drop_table(stats: dict[str, Any]) -> str:
    reasons = _reasons(stats)
    rows = [
        [language, *(_n(counters["dropped"].get(reason, 0)) for reason in reasons)]
        for language, counters in _with_total(stats)
    ]
    return "### Documented functions left out\n\n" + _table(
        ["language", *(reason.replace("_", " ") for reason in reasons)], rows
    )


def _overlap_table(stats: dict[str, Any]) -> str:
    rows = []
    for language, counters in _with_total(stats):
        counts = counters["counts"]
        rows.append(
            [language]
            + [
                _share(counts.get(f"{part}_words_in_{text}", 0), counts.get(f"{part}_words", 0))
                for text in ("docstring", "summary")
                for part in ("signature", "body")
            ]
        )
    head = ["language", "signature in doc %", "body in doc %", "signature in summary %", "body in summary %"]
    return "### Words of the code that stand in the doc comment (of a sample)\n\n" + _table(head, rows)


def _token_table(stats: dict[str, Any]) -> str:
    rows = []
    for language, counters in _with_total(stats):
        counts = counters["counts"]
        measured = counts.get("measured_tokens", 0)
        code = measured - counts.get("measured_literal_tokens", 0)
        rows.append(
            [language, _n(counts.get("files", 0)), f"{counts.get('bytes', 0) / 1e6:.1f}", _n(counts.get("rows", 0))]
            + [
                f"{counts.get('tokens', 0) / 1e6:.2f}",
                _share(counts.get("identifier_tokens", 0), counts.get("tokens", 0)),
            ]
            + [_share(code, measured), _share(counts.get("measured_identifier_tokens", 0), code)]
        )
    head = ["language", "files", "MB", "documents", "M tokens", "identifiers %", "code %", "identifiers in code %"]
    return f"### Stage-1 rows ({stats['seconds']:,.0f} s)\n\n{_table(head, rows)}"


def _file_lines(stats: dict[str, Any]) -> str:
    dropped = ", ".join(f"{_n(count)} {reason}" for reason, count in stats["files"]["dropped"].items())
    removed = stats["decontamination"]["removed"]
    text = f"Files left out ({stats['kind']}): {dropped or 'none'}."
    if stats["decontamination"]["sets"]:
        hits = ", ".join(f"{_n(count)} {name}" for name, count in removed.items())
        text += f" Contaminated ({stats['kind']}): {hits or 'nothing'}."
    return text


def _with_total(stats: dict[str, Any]) -> list[tuple[str, dict[str, dict[str, int]]]]:
    total: dict[str, dict[str, int]] = {"counts": {}, "dropped": {}}
    for counters in stats["per_language"].values():
        for kind in total:
            for key, count in counters[kind].items():
                total[kind][key] = total[kind].get(key, 0) + count
    return [*stats["per_language"].items(), ("**all**", total)]


def _reasons(stats: dict[str, Any]) -> list[str]:
    return sorted(set(stats["dropped"]) - set(NO_CANDIDATE), key=lambda reason: -stats["dropped"][reason])


def _table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---", *("---:" for _ in head[1:])], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _n(count: int) -> str:
    return f"{count:,}"


def _share(part: int, whole: int) -> str:
    return f"{100 * part / whole:.1f}" if whole else "-"


# plots


def plot_amounts(stats: dict[str, dict[str, Any]], path: Path) -> None:
    """Bars of tokens and pairs, one a language."""
    panels = [
        (title, {name: counters["counts"].get(key, 0) / scale for name, counters in record["per_language"].items()})
        for kind, key, scale, title in (
            ("stage1", "tokens", 1e6, "tokens (millions)"),
            ("pairs", "rows", 1e3, "pairs (thousands)"),
        )
        if (record := stats.get(kind))
    ]
    figure = new_figure(4.5 * len(panels) + 1, 4)
    for number, (title, values) in enumerate(panels, start=1):
        axes = figure.add_subplot(1, len(panels), number)
        names = sorted(values, key=values.get)
        bars = axes.barh(names, [values[name] for name in names], color=_COLOURS[number - 1])
        axes.bar_label(bars, fmt="{:,.1f}", padding=3)
        axes.set_xlim(0, 1.18 * max(values.values()) or 1)
        axes.set_title(title, loc="left")
        axes.spines[["top", "right"]].set_visible(False)
    save_figure(figure, path)


def plot_reasons(stats: dict[str, Any], path: Path) -> None:
    """What became of documented functions, in percent, a bar a language."""
    reasons = _reasons(stats)
    shown = [_KEPT, *reasons[: len(_COLOURS) - 2]]
    figure = new_figure(9, 0.45 * len(stats["per_language"]) + 1.8)
    axes = figure.add_subplot()
    names = list(stats["per_language"])[::-1]
    left = dict.fromkeys(names, 0.0)
    for reason, colour in zip([*shown, "other reasons"], _COLOURS, strict=False):
        widths = []
        for name in names:
            counters = stats["per_language"][name]
            fates = {_KEPT: counters["counts"].get("rows", 0), **counters["dropped"]}
            fates = {key: count for key, count in fates.items() if key not in NO_CANDIDATE}
            whole = sum(fates.values()) or 1
            part = (
                fates.get(reason, 0)
                if reason != "other reasons"
                else sum(count for key, count in fates.items() if key not in shown)
            )
            widths.append(100 * part / whole)
        axes.barh(names, widths, left=list(left.values()), color=colour, label=reason.replace("_", " "))
        left = {name: left[name] + width for name, width in zip(names, widths, strict=True)}
    axes.set_xlim(0, 100)
    axes.set_xlabel("% of documented functions")
    axes.legend(ncols=4, loc="lower left", bbox_to_anchor=(0, 1), frameon=False, fontsize=8)
    axes.spines[["top", "right"]].set_visible(False)
    save_figure(figure, path)


def main(argv: list[str]) -> int:
    """`coderep data report`."""
    parser = argparse.ArgumentParser(prog="coderep data report", description="Tables and plots of data sets.")
    parser.add_argument("data", nargs="+", help="folders that `coderep data stage1` and `coderep data pairs` wrote")
    parser.add_argument("--output", help="folder for the report and its plots (default: print the tables)")
    args = parser.parse_args(argv)
    stats = read_stats(args.data)
    tables = report_tables(stats)
    if args.output is None:
        print(tables)  # noqa: T201
        return 0
    output = Path(args.output)
    output.mkdir(parents=True, exist_ok=True)
    plot_amounts(stats, output / AMOUNTS)
    pictures = [AMOUNTS]
    if "pairs" in stats:
        plot_reasons(stats["pairs"], output / REASONS)
        pictures.append(REASONS)
    with new_file(output / REPORT) as partial:
        partial.write_text(tables + "".join(f"\n![{name[:-4]}]({name})\n" for name in pictures), encoding="utf-8")
    print(output / REPORT)  # noqa: T201
    return 0
