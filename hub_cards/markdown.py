"""Pieces of Markdown for cards: tables, folded parts, code. Names may hold anything and stay plain text."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

from .eval_words import escape_markdown

_PLAIN = re.compile(r"[\w .,:;/=+@%()-]+")
_LONGEST = 160


def md(value: Any, longest: int | None = _LONGEST) -> str:
    """A name as text, on one line, cut if it is very long. Braces become entities: none of them is a template's."""
    words = " ".join(str(value).split())
    if longest and len(words) > longest:
        words = f"{words[: longest - 1]}…"
    return escape_markdown(words).replace("{", "&#123;").replace("}", "&#125;")


def code(value: Any) -> str:
    """A name in the font of code; what a pair of backticks cannot hold in a table goes into a tag."""
    words = " ".join(str(value).split())
    return f"`{words}`" if _PLAIN.fullmatch(words) and len(words) < _LONGEST else f"<code>{md(words)}</code>"


def table(head: Sequence[str], rows: Sequence[Sequence[str]], *, text: int = 1) -> str:
    """A table of cells that are Markdown; the first `text` columns hold words, the others numbers, set to the right."""
    rule = ["---" if place < text else "---:" for place in range(len(head))]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in [head, rule, *rows])


def folded(summary: str, body: str) -> str:
    """A part that a click unfolds. The blank lines make its body Markdown again."""
    return f"<details>\n<summary>{summary}</summary>\n\n{body}\n\n</details>"


def json_block(value: Any) -> str:
    """A record as a block of JSON; its strings are on one line each, so that none can end the block."""
    return f"```json\n{json.dumps(value, indent=2, ensure_ascii=False, default=str)}\n```"


def count(value: float) -> str:
    """A whole number with separators."""
    return f"{value:,.0f}"


def listed(names: Sequence[str]) -> str:
    """a, b and c."""
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)
