"""What cards say of data, from the record of a data set (stats.json): what was kept, what was left out, and why."""

from __future__ import annotations

from typing import Any

from .markdown import code, count, folded, listed, md, table

# What was never meant to become a pair.
NO_CANDIDATE = ("no_docstring", "other_kind")
_REASONS = {"other_kind": "not of the kinds asked for", "not_english": "not in English"}


def split_table(stats: dict[str, Any]) -> str:
    """Rows of each split; "" if the record has none."""
    splits = stats.get("splits") or {}
    keys = [key for key in ("files", "rows", "tokens") if any(counts.get(key) for counts in splits.values())]
    rows = [[md(split), *(count(counts.get(key) or 0) for key in keys)] for split, counts in splits.items()]
    return table(["split", *keys], rows) if rows and keys else ""


def filter_words(stats: dict[str, Any]) -> str:
    """How many files and rows each step left out; "" if the record does not say."""
    files = stats.get("files") or {}
    rows = sum(counts.get("rows") or 0 for counts in (stats.get("splits") or {}).values())
    what = {"pairs": "functions", "stage1": "documents"}.get(str(stats.get("kind")), "rows")
    parts = [_steps("files", files.get("kept"), files.get("dropped")), _steps(what, rows, stats.get("dropped"))]
    return "\n\n".join(part for part in parts if part)


def _steps(what: str, kept: int | None, dropped: dict[str, int] | None) -> str:
    if kept is None or dropped is None:
        return ""
    found = kept + sum(dropped.values())
    order = sorted(dropped, key=lambda reason: -dropped[reason])
    rows = [[f"{what} found", count(found), "100.0"]]
    rows += [
        [f"left out: {_reason(reason)}", count(dropped[reason]), _share(dropped[reason], found)] for reason in order
    ]
    rows.append([f"**{what} kept**", count(kept), _share(kept, found)])
    return table([what, "number", "%"], rows)


def _reason(reason: str) -> str:
    return md(_REASONS.get(reason, reason.replace("_", " ")))


def _share(part: int, whole: int) -> str:
    return f"{100 * part / whole:.1f}" if whole else "-"


def language_table(stats: dict[str, Any]) -> str:
    """What was kept of each language; "" if the record does not say."""
    rows = []
    for name, counters in (stats.get("per_language") or {}).items():
        counts, dropped = counters.get("counts") or {}, counters.get("dropped") or {}
        kept = counts.get("rows") or 0
        found = kept + sum(dropped.values()) if "documented" not in counts else counts["documented"]
        shown = [reason for reason in dropped if reason not in NO_CANDIDATE]
        top = sorted(shown, key=lambda reason: -dropped[reason])[:2]
        rows.append(
            [
                md(name),
                ", ".join(f"{count(dropped[reason])} {_reason(reason)}" for reason in top) or "nothing",
                count(counts.get("files") or 0),
                f"{(counts.get('bytes') or 0) / 1e6:,.1f}",
                count(found),
                count(kept),
                _share(kept, found),
            ]
        )
    what = "documented functions" if stats.get("kind") == "pairs" else "found"
    head = ["language", "left out most often", "files", "MB", what, "rows", "% kept"]
    return table(head, rows, text=2) if rows else ""


def drop_table(stats: dict[str, Any]) -> str:
    """Reasons for leaving rows out, by language, folded; "" without any."""
    languages = {name: counters.get("dropped") or {} for name, counters in (stats.get("per_language") or {}).items()}
    rows = [
        [md(name), _reason(reason), count(dropped[reason])]
        for name, dropped in languages.items()
        for reason in sorted(dropped, key=lambda reason: -dropped[reason])
    ]
    return folded("Every reason, by language", table(["language", "reason", "rows"], rows, text=2)) if rows else ""


def contamination_words(stats: dict[str, Any]) -> str:
    """Against which evaluation sets the data were decontaminated, and what that removed."""
    record = stats.get("decontamination") or {}
    sets, removed = record.get("sets") or [], record.get("removed") or {}
    if not sets:
        return (
            "Not decontaminated: nothing was compared with evaluation sets, so numbers on public ones may be too high."
        )
    total, documents = sum(removed.values()), (stats.get("dropped") or {}).get("contaminated", 0)
    # Of stage 1 a whole file goes with each hit, and a file can be many documents.
    what = f"files, {count(documents)} documents" if stats.get("kind") == "stage1" else "functions"
    words = (
        f"Decontaminated against {count(len(sets))} evaluation sets: what shares {record.get('ngram', 'several')} "
        f"words in a row with a text of theirs, or equals a shorter one, was left out: {count(total)} {what}."
    )
    rows = [[md(name), count(removed.get(name, 0))] for name in sorted(sets, key=lambda name: -removed.get(name, 0))]
    return f"{words}\n\n{folded('By evaluation set', table(['evaluation set', 'left out'], rows))}"


def language_names(records: list[dict[str, Any]]) -> list[str]:
    """Programming languages in data, sorted."""
    return sorted({str(name) for stats in records for name in stats.get("languages") or {}})


def source_words(stats: dict[str, Any]) -> str:
    """Where data are from, in a line."""
    names = [code(name) for name in stats.get("sources") or []]
    return listed(names) if names else "sources that the record does not name"
