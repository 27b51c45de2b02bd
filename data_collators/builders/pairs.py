"""Text-code pairs from documented functions, by the five filters of the paper (section 3.2, appendix A)."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from dataclasses import dataclass

from ..definitions import Function, functions, hard_positive, without_docstring
from ..rows import PairRow, SourceFile

_URL = re.compile(r"(?:https?|ftp)://\S+|www\.\S+")
_HTML = re.compile(r"</?[A-Za-z][^<>]*>")
_ROLE = re.compile(r":[A-Za-z:]+:`~?([^`]*)`")
_DOCTAG = re.compile(r"(?m)^\s*(?::\w+[^:\n]*:|@\w+).*$")
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+(?=[A-Z(\"'`])")


@dataclass(frozen=True)
class PairOptions:
    """Filters of pairs.

    Args:
        min_text_words: Shorter summaries are dropped.
        max_text_words: Longer summaries are dropped.
        min_body_lines: Functions with fewer body lines are dropped (docstring and blank lines do not count).
        min_english_share: Summaries whose share of ASCII among letters is lower are dropped as not English.
        max_repeats: Later pairs with a summary that stood so many times are dropped: they would be false negatives.
        kinds: What may become a pair.
    """

    min_text_words: int = 3
    max_text_words: int = 256
    min_body_lines: int = 2
    min_english_share: float = 0.8
    max_repeats: int = 5
    kinds: tuple[str, ...] = ("function", "method")


def summary(docstring: str) -> str:
    """First sentence of a docstring, without URLs, HTML, doc tags and roles; "" if nothing remains."""
    text = _DOCTAG.sub("", _ROLE.sub(r"\1", _HTML.sub("", _URL.sub("", docstring)))).strip()
    paragraph = " ".join(re.split(r"\n\s*\n", text, maxsplit=1)[0].split())
    return _SENTENCE_END.split(paragraph, maxsplit=1)[0].strip()


def keep_text(text: str, options: PairOptions) -> tuple[bool, str]:
    """Whether a summary passes, else the reason."""
    words = len(text.split())
    if words < options.min_text_words:
        return False, "summary_too_short"
    if words > options.max_text_words:
        return False, "summary_too_long"
    letters = [char for char in text if char.isalpha()]
    if not letters:
        return False, "summary_without_letters"
    if sum(char.isascii() for char in letters) < options.min_english_share * len(letters):
        return False, "not_english"
    return True, ""


class PairExtractor:
    """Pairs of one file after another; remembers what it has seen to drop repeats."""

    def __init__(self, options: PairOptions | None = None) -> None:
        self.options = options or PairOptions()
        self._codes: set[bytes] = set()
        self._texts: Counter[str] = Counter()

    def __call__(self, file: SourceFile) -> tuple[list[PairRow], Counter[str]]:
        """The pairs of a file, and how many functions were dropped for which reason."""
        code, rows, dropped = file.text.encode(), [], Counter()
        for function in functions(code, file.language):
            row, reason = self._row(file, code, function)
            if row is None:
                dropped[reason] += 1
            else:
                rows.append(row)
        return rows, dropped

    def _row(self, file: SourceFile, code: bytes, function: Function) -> tuple[PairRow | None, str]:
        if function.kind not in self.options.kinds:
            return None, "other_kind"
        if not function.docstring:
            return None, "no_docstring"
        text = summary(function.docstring)
        kept, reason = keep_text(text, self.options)
        if not kept:
            return None, reason
        whole = without_docstring(code, function)
        if _body_lines(code, function) < self.options.min_body_lines:
            return None, "body_too_short"
        reason = self._repeat(text, whole)
        if reason:
            return None, reason
        return (
            PairRow(
                id=f"{file.id}:{function.line}",
                text=text,
                code=whole,
                code_body=hard_positive(code, function),
                docstring=function.docstring,
                language=file.language,
                kind=function.kind,
                name=function.name,
                repo=file.repo,
                path=file.path,
                license=file.license,
            ),
            "",
        )

    def _repeat(self, text: str, whole: str) -> str:
        digest = hashlib.blake2b(" ".join(whole.split()).encode(), digest_size=8).digest()
        if digest in self._codes:
            return "duplicate_code"
        if self._texts[text] >= self.options.max_repeats:
            return "repeated_summary"
        self._codes.add(digest)
        self._texts[text] += 1
        return ""


def _body_lines(code: bytes, function: Function) -> int:
    body = code[slice(*function.body)]
    if function.docstring_span is not None:
        body = code[function.docstring_span.end : function.body.end]
    return sum(bool(line.strip()) for line in body.splitlines())
