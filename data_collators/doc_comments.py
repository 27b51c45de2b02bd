"""Text of doc comments: what is left when the signs of a comment or of a string literal are taken off."""

from __future__ import annotations

import ast
import inspect
import re
import warnings
from collections.abc import Sequence

_BLOCK_OPEN = re.compile(r"/\*+!?<?")
_LINE_OPEN = re.compile(r"[ \t]*(?:///+|//!<?|//|#+)[ ]?")
# Orders to tools, which stand in, above or below doc comments: Go's, Ruby's.
_DIRECTIVE = re.compile(
    r"//(?:go:|lint:|nolint\b|revive:|export |sys(?:nb)? )"
    r"|#\s*(?:rubocop:|frozen_string_literal:|encoding:|-\*-|:(?:nocov|stopdoc|startdoc):)"
)
_RULER = "*/#=-_~+. \t\r"
_RUBY_BLOCK = re.compile(r"\A=begin[^\n]*\n|\n=end[^\n]*\Z")


def comment_text(pieces: Sequence[bytes]) -> str:
    """Text of a doc comment above a declaration: one block comment, or consecutive line comments.

    Rows of signs that only decorate are removed; bytes that are not UTF-8 are replaced.
    """
    first = pieces[0].decode("utf-8", "replace")
    if first.startswith("/*"):
        inner = first[_BLOCK_OPEN.match(first).end() :].rstrip("*/ \t\r\n")
        lines = [_without_star(line) for line in inner.split("\n")]
    elif first.startswith("=begin"):
        lines = _RUBY_BLOCK.sub("", first.rstrip()).split("\n")
    else:
        texts = [first, *(piece.decode("utf-8", "replace") for piece in pieces[1:])]
        lines = [line[_LINE_OPEN.match(line).end() :] for line in texts if not _DIRECTIVE.match(line)]
    lines = ["" if not line.strip(_RULER) and len(line) > 3 else line.rstrip() for line in lines]
    return "\n".join(_without_indent(lines)).strip()


def _without_star(line: str) -> str:
    """A line of a block comment without the star in front of it."""
    inner = line.lstrip(" \t")
    return inner.lstrip("*").removeprefix(" ") if inner.startswith("*") else line


def _without_indent(lines: list[str]) -> list[str]:
    """The lines without the indentation that all but the first have in common."""
    rest = [line for line in lines[1:] if line]
    indent = min((len(line) - len(line.lstrip()) for line in rest), default=0)
    return [lines[0].lstrip(), *(line[indent:] for line in lines[1:])] if lines else []


def string_text(literal: bytes) -> str:
    """Text of a Python docstring, its indentation taken off; "" if the literal is broken or no plain string."""
    if len(literal) > 6 and literal[:3] == literal[-3:] == b'"""' and b"\\" not in literal:
        text = literal[3:-3].decode("utf-8", "replace").replace("\r\n", "\n").replace("\r", "\n")  # as Python reads it
        return inspect.cleandoc(text)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of escapes such as "\\d", which newer Pythons warn about
            value = ast.literal_eval(literal.decode("utf-8"))
        value.encode("utf-8")  # an escape may stand for half a surrogate pair, which no file can hold
    except (ValueError, SyntaxError, AttributeError, MemoryError, RecursionError):
        return ""
    return inspect.cleandoc(value) if isinstance(value, str) else ""
