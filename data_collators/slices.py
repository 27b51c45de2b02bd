"""Text of a span without parts of it, cut as a person would: whole lines, and the indentation taken off."""

from __future__ import annotations

import re
from collections.abc import Iterable

from .parsing import Span

# A longer run of blanks in front of code is no indentation; the bound keeps one endless line from costing its square.
_LONGEST_INDENT = 1024
_BLANK_LINES = re.compile(r"(?:[ \t\r\f\v]*\n)*")
_BLANK = re.compile(rb"[ \t\f\v\r]*")


def line_start(code: bytes, offset: int) -> int:
    """Start of the line if only blanks stand before `offset`, else `offset`."""
    first = max(0, offset - _LONGEST_INDENT)
    start = code.rfind(b"\n", first, offset) + 1
    if start == 0 and first > 0:
        return offset
    return start if not code[start:offset].strip() else offset


def own_line(code: bytes, offset: int) -> bool:
    """Whether only blanks stand before `offset` on its line."""
    start = line_start(code, offset)
    return start == 0 or code[start - 1 : start] == b"\n"


def _whole_lines(code: bytes, span: Span) -> Span:
    """The span with its indentation and line end, if nothing else stands on its lines."""
    start = line_start(code, span.start)
    if start > 0 and code[start - 1 : start] != b"\n":
        return span
    end = _BLANK.match(code, span.end).end()
    if end < len(code) and code[end : end + 1] != b"\n":
        ended = code[span.end - 1 : span.end] == b"\n"  # some grammars take the line end along
        return Span(start, span.end) if ended else span
    return Span(start, min(end + 1, len(code)))


def cut(code: bytes, keep: Span, drop: Iterable[Span]) -> str:
    """Text of `keep` without the spans in `drop`, blank lines that they leave, and common indentation."""
    pieces, position = [], line_start(code, keep.start)
    for span in sorted(_whole_lines(code, span) for span in drop):
        if span.end <= position or span.start >= keep.end:
            continue
        pieces.append(code[position : max(span.start, position)])
        position = span.end
    pieces.append(code[position : max(keep.end, position)])
    return dedent(b"".join(pieces).decode("utf-8", "replace"))


def dedent(text: str) -> str:
    """Take the first line's indentation off every line that has it, and blanks off the end."""
    blank = _BLANK_LINES.match(text).end()
    text = text[blank:]
    indent = text[: len(text) - len(text.lstrip(" \t"))]
    stripped = text[len(indent) :].replace("\n" + indent, "\n") if indent else text
    return stripped.rstrip()
