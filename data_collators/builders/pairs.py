"""Text-code pairs from documented functions, by the filters of the paper (section 3.2, appendix A.2)."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass

from ..definitions import Function, code_spans, functions, without_docstring
from ..hard_positives import without
from ..languages import language_table
from ..parsing import ParseTimeout
from ..rows import PairRow, SourceFile
from .extract import Extracted, digest, sampled
from .summaries import summary
from .text_filters import drop_reason

KINDS = ("function", "method", "class")
# Words as people write them in names, numbers, and single signs.
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+|[^\w\s]")
# The first sign of a line that is no bracket.
_CODE_LINE = re.compile(rb"(?m)^[ \t\r\f{}();]*[^\s{}();]")
# A body that ends where it begins to say that there is none yet.
_STUB = re.compile(
    rb"""\s*(?:(?:\"{3}|'{3}).*?(?:\"{3}|'{3})\s*)?"""
    rb"""(?:raise NotImplementedError|throw new (?:UnsupportedOperation|NotImplemented)Exception|"""
    rb"""panic\("not implemented)"""
    rb"""(?:\((?:[^()]|\([^()]*\))*\))?;?\s*\Z""",
    re.DOTALL,
)
# Share of pairs whose overlap of words between code and doc comment is counted.
_MEASURED = 0.125


@dataclass(frozen=True)
class PairOptions:
    """Filters of pairs.

    Args:
        min_text_words: Shorter summaries are dropped.
        max_text_words: Longer summaries are dropped.
        min_body_lines: Functions with fewer body lines are dropped (doc comments, lone braces and blank lines do not
            count).
        max_code_bytes: Longer functions are dropped.
        max_repeats: Later pairs with a summary that stood so many times are dropped: they would be false negatives.
        kinds: What may become a pair; add "class" for functions and classes, as CodeSage v2 does.
        keep_dropped: Whether documented functions that are dropped are kept with their reason.

    Raises:
        ValueError: A kind is unknown.
    """

    min_text_words: int = 3
    max_text_words: int = 256
    min_body_lines: int = 2
    max_code_bytes: int = 100_000
    max_repeats: int = 5
    kinds: tuple[str, ...] = ("function", "method")
    keep_dropped: bool = False

    def __post_init__(self) -> None:
        unknown = sorted(set(self.kinds) - set(KINDS))
        if unknown or not self.kinds:
            raise ValueError(f"kinds must be among {', '.join(KINDS)}, got {', '.join(unknown) or 'none'}.")


class PairExtractor:
    """Pairs of one file."""

    def __init__(self, options: PairOptions | None = None) -> None:
        self.options = options or PairOptions()

    def __call__(self, file: SourceFile) -> Extracted:
        """The pairs of a file, and how many functions were dropped for which reason."""
        code, found = file.text.encode("utf-8", "replace"), Extracted()
        if file.docstring:
            code = language_table(file.language).prefix + code
        try:
            candidates = functions(code, file.language)
        except ParseTimeout:
            found.dropped["file_too_slow_to_parse"] += 1
            return found
        if file.docstring:
            candidates = [_described(candidates, file.docstring)] if candidates else []
            found.dropped["no_function"] += not candidates
        for function in candidates:
            self._add(found, file, code, function)
        return found

    def _add(self, found: Extracted, file: SourceFile, code: bytes, function: Function) -> None:
        found.counts["functions"] += function.kind != "class"
        found.counts["documented"] += function.kind != "class" and bool(function.docstring)
        if function.kind not in self.options.kinds:
            found.dropped["other_kind"] += 1
        elif not function.docstring:
            found.dropped["no_docstring"] += 1
        else:
            reason = self._code_reason(code, function)
            text = "" if reason and not self.options.keep_dropped else summary(function.docstring, function.name)
            reason = reason or self._text_reason(text, function.name)
            if reason:
                found.dropped[reason] += 1
                if self.options.keep_dropped:
                    found.rejected.append((pair_row(file, code, function, text), reason))
                return
            row = pair_row(file, code, function, text)
            found.rows.append(row)
            found.keys.append(digest(" ".join(row.code.split())))
            if sampled(row.id, _MEASURED):
                found.counts.update(word_overlap(code, function, text))

    def _text_reason(self, text: str, name: str) -> str:
        return drop_reason(text, self.options.min_text_words, self.options.max_text_words, name)

    def _code_reason(self, code: bytes, function: Function) -> str:
        if body_lines(code, function) < self.options.min_body_lines:
            return "body_too_short"
        if _STUB.match(code[slice(*function.body)]):
            return "stub"
        if function.span.end - function.span.start > self.options.max_code_bytes:
            return "code_too_long"
        return ""


def _described(candidates: list[Function], docstring: str) -> Function:
    """The outermost function of a row of a data set of pairs, with the doc comment that stands beside it."""
    outermost = max(candidates, key=lambda function: function.span.end - function.span.start)
    kind = "function" if outermost.kind == "class" else outermost.kind
    return outermost._replace(docstring=docstring, kind=kind)


def pair_row(file: SourceFile, code: bytes, function: Function, text: str) -> PairRow:
    """The pair of a function and its summary."""
    whole, offsets = without_docstring(code, function), code_spans(code, function)
    return PairRow(
        id=f"{file.id}:{function.line}",
        text=text,
        code=whole,
        code_body=without(whole, offsets, ("signature", "return")),
        docstring=function.docstring,
        language=file.language,
        kind=function.kind,
        name=function.name,
        repo=file.repo,
        path=file.path,
        license=file.license,
        code_spans=offsets,
    )


def _code_start(function: Function) -> int:
    """Where the code of the body begins: behind a docstring inside it."""
    own = function.docstring_span
    return own.end if own is not None and own.start >= function.body.start else function.body.start


def body_lines(code: bytes, function: Function) -> int:
    """Lines of the body that hold code: no docstring, no blank lines, no lone brackets."""
    return len(_CODE_LINE.findall(code[_code_start(function) : function.body.end]))


def word_overlap(code: bytes, function: Function, text: str) -> Counter[str]:
    """How many words and signs of signature and body stand in the doc comment and in its summary (appendix A.3)."""
    docstring, first = set(_words(function.docstring)), set(_words(text))
    counts: Counter[str] = Counter()
    for part, (begin, end) in {
        "signature": function.signature,
        "body": (_code_start(function), function.body.end),
    }.items():
        words = _words(code[begin:end].decode("utf-8", "replace"))
        counts[f"{part}_words"] += len(words)
        counts[f"{part}_words_in_docstring"] += sum(map(docstring.__contains__, words))
        counts[f"{part}_words_in_summary"] += sum(map(first.__contains__, words))
    return counts


def _words(text: str) -> list[str]:
    return [word.lower() for word in _WORD.findall(text)]
