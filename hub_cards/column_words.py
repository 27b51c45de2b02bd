"""What the columns of pairs are, besides those of a plain build: steps after it add them."""

from __future__ import annotations

from collections.abc import Sequence

from .markdown import code, listed

_WORDS = {
    "consistency_rank": "1 and the number of codes in a pool of others that a model finds at least as near to the text",
    "consistency_score": "the cosine of text and code by that model",
    "negatives": "codes of other pairs that a model finds near to the text, though not so near as to answer it",
    "negative_scores": "the cosine of the text and each of them",
    "positive_score": "the cosine of the text and its own code, by the same model",
    "text_kind": "where the text is from: the pair's own summary, or what `coderep data augment` made",
    "reason": "why the row was left out",
}


def added_columns(names: Sequence[str]) -> str:
    """Lines of a card on columns that steps after the build have added; "" without any."""
    lines = [f"- {code(name)}: {_WORDS[name]}." for name in names if name in _WORDS]
    others = [code(name) for name in names if name not in _WORDS]
    if others:
        lines.append(f"- Added by later steps: {listed(others)}.")
    return "\n".join(lines)
