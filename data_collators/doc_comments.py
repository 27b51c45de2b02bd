"""Text of doc comments: what is left when the signs of a comment or of a string literal are taken off."""

from __future__ import annotations

import ast
import inspect
import re
import textwrap
import warnings
from collections.abc import Sequence

_BLOCK_OPEN = re.compile(r"\A/\*+!?<?(?!/)")
_BLOCK_CLOSE = re.compile(r"\s*\**\*/\s*\Z")
_STAR = re.compile(r"(?m)^[ \t]*\*+(?!/)[ \t]?")
_LINE_OPEN = re.compile(r"\A[ \t]*(?:///+|//!<?|//|#+)[ ]?")
# Orders to Go's tools, which stand in or below doc comments.
_DIRECTIVE = re.compile(r"//(?:go:|lint:|nolint\b|revive:|export |sys(?:nb)? )")
_RULER = re.compile(r"(?m)^[\s*/#=\-_~+.]{4,}$")
_RUBY_BLOCK = re.compile(r"\A=begin[^\n]*\n|\n=end[^\n]*\Z")


def comment_text(pieces: Sequence[bytes]) -> str:
    """Text of a doc comment above a declaration: one block comment, or consecutive line comments.

    Rows of signs that only decorate are removed; bytes that are not UTF-8 are replaced.
    """
    texts = [piece.decode("utf-8", "replace").replace("\r\n", "\n") for piece in pieces]
    if texts[0].startswith("=begin"):
        text = _RUBY_BLOCK.sub("", texts[0].rstrip())
    elif texts[0].startswith("/*"):
        text = _STAR.sub("", _BLOCK_CLOSE.sub("", _BLOCK_OPEN.sub("", texts[0])))
    else:
        text = "\n".join(_LINE_OPEN.sub("", line) for line in texts if not _DIRECTIVE.match(line))
    first, _, rest = _RULER.sub("", text).partition("\n")
    return f"{first.strip()}\n{textwrap.dedent(rest)}".strip() if first.strip() else textwrap.dedent(rest).strip()


def string_text(literal: bytes) -> str:
    """Text of a Python docstring, its indentation taken off; "" if the literal is broken or no plain string."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of escapes such as "\\d", which newer Pythons warn about
            value = ast.literal_eval(literal.decode("utf-8"))
        value.encode("utf-8")  # an escape may stand for half a surrogate pair, which no file can hold
    except (ValueError, SyntaxError, AttributeError, MemoryError, RecursionError):
        return ""
    return inspect.cleandoc(value) if isinstance(value, str) else ""
