"""How numbers and names are written in the comparison of models."""

from __future__ import annotations

import re
from collections.abc import Iterable


def percent(value: float) -> str:
    """A share in percent with one decimal."""
    return f"{100 * value:.1f}"


def metric_name(metric: str) -> str:
    """A metric as people write it: "mrr" is MRR, "macro-f1" is macro-F1."""
    return re.sub(r"^(mrr|map|ndcg)\b|f1$", lambda match: match.group().upper(), metric)


def short_names(names: Iterable[str], pattern: str) -> dict[str, str]:
    """A short form of each name: what the pattern finds at its start, numbered where several would be alike."""
    short: dict[str, str] = {}
    for name in sorted(set(names), key=lambda name: (len(name), name)):
        match = re.match(pattern, name)
        stem = form = match.group() if match else name
        number = 1
        while form in short.values():
            number += 1
            form = f"{stem}-{number}"
        short[name] = form
    return short


def escape_markdown(text: str) -> str:
    """Text as it stands, for Markdown and cells of its tables."""
    text = " ".join(str(text).split()).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    text = re.sub(r"[\\`*\[\]|~$]", r"\\\g<0>", text)
    return re.sub(r"(?<![^\W_])_|_(?![^\W_])", r"\\_", text)  # within a word it means nothing
