"""Text of a span without parts of it, cut as a person would: whole lines, and the indentation taken off."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterable

from .parsing import Span

# A longer run of blanks in front of code is no indentation; the bound keeps one endless line from costing its square.
_LONGEST_INDENT = 1024
_BLANK_LINES = re.compile(r"(?:[ \t\r\f\v]*\n)*")
_INDENT = re.compile(r"[ \t]*")
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
    return dedent(_join(code, _kept(code, keep, drop)).decode("utf-8", "replace"))


def _kept(code: bytes, keep: Span, drop: Iterable[Span]) -> list[Span]:
    """The spans that `cut` keeps, in order."""
    pieces, position = [], line_start(code, keep.start)
    for span in sorted(_whole_lines(code, span) for span in drop):
        if span.end <= position or span.start >= keep.end:
            continue
        pieces.append(Span(position, max(span.start, position)))
        position = span.end
    return [*pieces, Span(position, max(keep.end, position))]


def _join(code: bytes, pieces: list[Span]) -> bytes:
    return b"".join(code[slice(*piece)] for piece in pieces)


def dedent(text: str) -> str:
    """Take the first line's indentation off every line that has it, and blanks off the end."""
    blank, indent = _indentation(text)
    text = text[blank:]
    stripped = text[len(indent) :].replace("\n" + indent, "\n") if indent else text
    return stripped.rstrip()


def _indentation(text: str) -> tuple[int, str]:
    """Length of the blank lines at the beginning, and the blanks before what follows."""
    blank = _BLANK_LINES.match(text).end()
    return blank, _INDENT.match(text, blank).group()


def relocate(code: bytes, keep: Span, drop: Iterable[Span], offsets: Iterable[int]) -> list[int]:
    """Where byte offsets of `code` are in the UTF-8 bytes of `cut(code, keep, drop)`.

    An offset in something that was cut off is where that was.
    """
    pieces = _kept(code, keep, drop)
    joined = _join(code, pieces)
    blank, indent = _indentation(joined.decode("utf-8", "replace"))
    length = len(cut(code, keep, drop).encode())
    margin = indent.encode()
    # Where indentation begins that `dedent` takes off: the first line's, and that of every other line that has it.
    others = (blank + found.end() - len(margin) for found in re.finditer(b"\n" + margin, joined[blank:]))
    margins = [blank, *others] if margin else []
    placed = (sum(min(max(offset - start, 0), end - start) for start, end in pieces) for offset in offsets)
    return [min(_outside(place, blank, margins, len(margin)), length) for place in placed]


def _outside(place: int, blank: int, margins: list[int], width: int) -> int:
    """An offset after the blank lines and all indentation before it are taken off."""
    before = bisect_left(margins, place)
    inside = max(margins[before - 1] + width - place, 0) if before else 0
    return max(place - blank - before * width + inside, 0)
