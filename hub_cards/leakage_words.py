"""What `coderep eval leakage` found, for the card of a model."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from .markdown import count, folded, listed, md, table

# Columns of the command's table; in each row a text counts once, for the strongest kind that it leaked by.
_KINDS = {
    "exact": "equal",
    "near": "near duplicates",
    "contained": "inside a longer text",
    "overlap": "sharing a run of words",
}


def read_leakage(path: str | Path) -> dict[str, Any]:
    """What `coderep eval leakage --output` wrote.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It holds something else.
    """
    try:
        record = json.loads(Path(path).read_text(encoding="utf-8"))
        return {
            "settings": {name: float(record["settings"][name]) for name in ("threshold", "ngram")},
            "train": int(record["train"]["texts"]),
            "parts": [
                {name: str(part[name]) for name in ("set", "part")}
                | {name: int(part[name]) for name in ("texts", *_KINDS)}
                for part in record["parts"]
            ],
        }
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"{str(path)!r} is no report of `coderep eval leakage --output` ({type(error).__name__}: {error}). "
            "Write it again."
        ) from error


def leakage_words(report: Mapping[str, Any]) -> str:
    """A sentence on what evaluation sets share with training data, and the whole table folded."""
    parts: Sequence[Mapping[str, Any]] = report["parts"]
    texts, sets = sum(part["texts"] for part in parts), {part["set"] for part in parts}
    found = {kind: sum(part[kind] for part in parts) for kind in _KINDS}
    where = list(dict.fromkeys(part["set"] for part in parts if any(part[kind] for kind in _KINDS)))
    told = [f"{count(found[kind])} {words}" for kind, words in _KINDS.items() if found[kind]]
    settings = report["settings"]
    head = (
        f"`coderep eval leakage` compared the {count(report['train'])} texts and codes of the last stage with "
        f"{count(texts)} of {count(len(sets))} evaluation sets (near duplicates from a similarity of "
        f"{settings['threshold']:g}, runs of {settings['ngram']:g} words)"
    )
    if not told:
        return f"{head} and found nothing shared."
    head = f"{head}. Shared: {listed(told)}, in {listed([md(name) for name in where])}."
    rows = [
        [md(part["set"]), md(part["part"]), *(count(part[name]) for name in ("texts", *_KINDS))]
        for part in parts
        if part["set"] in where
    ]
    columns = ["evaluation set", "part", "texts", *_KINDS.values()]
    return f"{head}\n\n{folded('By evaluation set', table(columns, rows, text=2))}"
