"""What CodeSage's published evaluation does to code and texts before tokenization, behaving exactly as it does.

Facts, from the repository amazon-science/CodeSage (arXiv 2402.01935):

- `evaluation/utils.py`, Code2Code: comments and docstrings are stripped by a function that UniXcoder's
  script has too (microsoft/CodeBERT, `UniXcoder/downstream-tasks/zero-shot-search/run.py`), then runs of whitespace
  become one blank. Indentation and line breaks are lost, in Python too.
- `evaluation/utils.py`, NL2Code: code is its published tokens joined by blanks (`function_tokens` before
  `code_tokens`), or, where those are a string, the string with runs of whitespace as one blank. Comments stay. Texts
  are their published tokens joined by blanks, or the field `doc` with runs of whitespace as one blank.
- `evaluation/code2code_search.py`, `evaluation/nl2code_search.py`: the language is that of the file; a query's language
  is not told. `scripts/run_*_search.sh`: 1024 tokens for code, 128 for texts, both with the end token.

Quirks of the stripping, all kept here:

- Ruby is not stripped at all.
- Every language that is neither Python nor Ruby loses `//` and `/* */` comments, whether it has them or not, and keeps
  all others: `#` in PHP stays. Only text between ' or between " is protected, not template literals, raw strings, or
  regular expressions: `https://...` between backticks is cut. A lone apostrophe opens a "string" that reaches
  to the next one, over lines, and so may protect comments or unprotect strings. A comment becomes a blank.
- Python loses every string that begins a statement (docstrings, but also the "a" of `"a".join(x)`) and every string in
  column 0 (also one that continues a call). A string after a blank line, a comment or the end of a block stays,
  docstring or not.
- Python's backslash at the end of a line vanishes with the line break: `return \\` before an unindented `x` is
  `returnx`.
- The published script ran on Python 3.11 or older (its requirements pin torch 1.13), whose tokenizer is written in
  Python. Newer ones split f-strings and refuse more, so that its result changes with the version. The tokenizer here
  follows the old one on every version.
- Where that tokenizer fails (brackets or strings that never close, an indentation that matches none) the published
  script ends with its error. Here the code then stays as it is, only with its whitespace collapsed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

UNSTRIPPED = frozenset({"", "ruby"})

_MARK = re.compile(r"//|/\*|'|\"")
_AFTER_ESCAPES = {quote: re.compile(rf"(?:[^\\{quote}]|\\.)*", re.DOTALL) for quote in "'\""}


def codesage_code(text: str, language: str) -> str:
    """Code as the published Code2Code script embeds it: on one line, without comments and docstrings.

    Args:
        text: Code, broken or not.
        language: Name as in `data_collators.languages`. "" (unknown) is left unstripped: the published script always
            knows the language.
    """
    if language == "python":
        try:
            text = _strip_python(text)
        except SyntaxError:
            pass  # the published script ends here
    elif language not in UNSTRIPPED:
        text = _strip_slashes(text)
    return " ".join(text.split())


def codesage_tokens(code: str | Sequence[str]) -> str:
    """Code as the published NL2Code script embeds it: its tokens joined by blanks, comments and all.

    Args:
        code: The set's published tokens, which may hold whitespace of their own and keep it; or, for a set that
            ships none, code, whose runs of whitespace become one blank.
    """
    return " ".join(code.split() if isinstance(code, str) else code)


def codesage_query(text: str | Sequence[str]) -> str:
    """A text as the published NL2Code script embeds it: tokens joined by blanks, or runs of whitespace as one blank."""
    return codesage_tokens(text)


def _strip_slashes(text: str) -> str:
    """Without `//` and `/* */` comments outside '...' and "...". Takes linear time.

    An opening mark that nothing closes is ordinary text, and so are all later ones of its kind: a later quote can only
    be one that was escaped, after which the same characters follow.
    """
    kept, done, at, unclosed = [], 0, 0, set()
    while match := _MARK.search(text, at):
        mark, start = match[0], match.start()
        end = -1 if mark in unclosed else _mark_end(text, mark, start)
        if end < 0:
            unclosed.add(mark)
            at = start + 1
            continue
        if mark[0] == "/":
            kept += (text[done:start], " ")
            done = end
        at = end
    return "".join((*kept, text[done:]))


def _mark_end(text: str, mark: str, start: int) -> int:
    """Where a comment or a string ends that opens at `start`; -1: nowhere."""
    if mark == "//":
        end = text.find("\n", start)
        return len(text) if end < 0 else end
    if mark == "/*":
        end = text.find("*/", start + 2)
        return end + 2 if end >= 0 else -1
    end = _AFTER_ESCAPES[mark].match(text, start + 1).end()
    return end + 1 if text[end : end + 1] == mark else -1


def _strip_python(text: str) -> str:
    """Without comments and what looks like docstrings; how much whitespace stands between tokens is not kept.

    Raises:
        SyntaxError: The tokenizer of Python 3.11 would fail.
    """
    kept, before, line, end = [], _INDENT, -1, 0
    for kind, start, stop, token_line, last_line in _PythonTokens(text):
        if start > (end if token_line == line else token_line):
            kept.append(" ")
        docstring = kind == _STRING and (before in (_INDENT, _NEWLINE) or start == token_line)
        if kind != _COMMENT and not docstring:
            kept.append(text[start:stop])
        before, line, end = kind, last_line, stop
    return "".join(kept)


_INDENT, _DEDENT, _NEWLINE, _BLANK_LINE, _COMMENT, _STRING, _OTHER = range(7)
_BLANKS = re.compile(r"[ \t\f]*")
_TOKEN = re.compile(
    r"""
    (?P<joined>\\\r?\n)
    | (?P<comment>\#[^\r\n]*)
    | (?P<newline>\r?\n)
    | (?P<prefix>[bBrRuUfF]|[bBfF][rR]|[rR][bBfF])?(?P<quote>'''|\"\"\"|'|")
    | \w+
    | .
    """,
    re.VERBOSE | re.DOTALL,
)
_CLOSING = {quote: re.compile(rf"\\.|{quote}", re.DOTALL) for quote in ("'''", '"""')}
_BODY = {quote: re.compile(rf"(?:[^\n\\{quote}]|\\(?!\r?\n).)*", re.DOTALL) for quote in "'\""}
_JOIN = re.compile(r"\\\r?\n")


class _PythonTokens:
    """Tokens as the `tokenize` module of Python 3.8 to 3.11 finds them, as far as stripping needs to know.

    Yields (kind, start, stop, start of the line where the token begins, start of the line where it ends). Words,
    numbers and operators are not told apart.
    """

    def __init__(self, text: str) -> None:
        self.text, self.at, self.line, self.depth, self.indents = text, 0, 0, 0, [0]
        self.joined = self.stuck = False
        self.unclosed: dict[str, int] = {}

    def __iter__(self) -> Iterator[tuple[int, int, int, int, int]]:
        while self.at < len(self.text):
            self.line = self.at
            self.line_end = self._end_of_line(self.at)
            if self.depth or self.joined:
                self.joined = False
                yield from self._rest_of_line()
            else:
                yield from self._statement()
        if self.depth or self.joined:
            raise SyntaxError("the file ends inside a statement")

    def _end_of_line(self, start: int) -> int:
        return self.text.find("\n", start) + 1 or len(self.text)

    def _token(self, kind: int, start: int, stop: int) -> tuple[int, int, int, int, int]:
        return kind, start, stop, self.line, self.line

    def _statement(self) -> Iterator[tuple[int, int, int, int, int]]:
        start = _BLANKS.match(self.text, self.line).end()
        if start == len(self.text):  # blanks at the very end
            self.at = start
        elif self.text[start] in "#\r\n":
            self.at = self.line_end
            if self.text[start] == "#":
                comment = start
                start += len(self.text[start : self.line_end].rstrip("\r\n"))
                yield self._token(_COMMENT, comment, start)
            yield self._token(_BLANK_LINE, start, self.line_end)
        else:
            self.at = start
            yield from self._indentation(_width(self.text[self.line : start]))
            yield from self._rest_of_line()

    def _indentation(self, width: int) -> Iterator[tuple[int, int, int, int, int]]:
        if width > self.indents[-1]:
            self.indents.append(width)
            yield self._token(_INDENT, self.line, self.at)
        while width < self.indents[-1]:
            if width not in self.indents:
                raise SyntaxError("an indentation matches none before")
            self.indents.pop()
            yield self._token(_DEDENT, self.at, self.at)

    def _rest_of_line(self) -> Iterator[tuple[int, int, int, int, int]]:
        while self.at < self.line_end:
            start = _BLANKS.match(self.text, self.at).end()
            match = _TOKEN.match(self.text, start)
            if match is None:  # the end of the text
                self.at = start
                return
            self.at = match.end()
            if match["quote"]:
                yield self._string(start, match["quote"])
            elif match["joined"]:
                self.joined = True
            else:
                yield self._token(self._kind(match), start, self.at)

    def _kind(self, match: re.Match[str]) -> int:
        if match["comment"]:
            return _COMMENT
        if match["newline"]:
            return _BLANK_LINE if self.depth > 0 else _NEWLINE
        self.depth += (match[0] in "([{") - (match[0] in ")]}")
        return _OTHER

    def _string(self, start: int, quote: str) -> tuple[int, int, int, int, int]:
        """The string whose opening quotes end at `at`; a quote that nothing closes on its line is a token alone."""
        line, kind = self.line, _STRING
        unclosed = self.unclosed.get(quote) == self.line
        end = -1 if unclosed else _close(self.text, quote, self.at, self.line_end)
        if end >= 0:
            self.at = end
        elif len(quote) == 3:
            kind = self._over_lines(quote, self.line_end, self.stuck)
        elif not unclosed and (join := _JOIN.match(self.text, _BODY[quote].match(self.text, self.at).end())):
            kind = self._over_lines(quote, join.end(), needs_join=True)
        else:
            self.unclosed[quote] = line  # nor does anything close a later one on this line, so time is linear
            kind = _OTHER
        return kind, start, self.at, line, self.line

    def _over_lines(self, quote: str, at: int, needs_join: bool) -> int:
        """Follow a string over lines, which must end with a backslash if it `needs_join`; the kind that comes of it.

        After a string that lacked a backslash the old tokenizer wants them in the next triple-quoted one too.
        """
        while at < len(self.text):
            line_end = self._end_of_line(at)
            end = _close(self.text, quote, at, line_end)
            if end >= 0:
                self.at, self.line, self.line_end, self.stuck = end, at, line_end, False
                return _STRING
            if needs_join and not self.text.endswith(("\\\n", "\\\r\n"), at, line_end):
                self.at, self.line, self.line_end, self.stuck = line_end, at, line_end, True
                return _OTHER
            at = line_end
        raise SyntaxError("the file ends inside a string")


def _close(text: str, quote: str, start: int, stop: int) -> int:
    """Where a string ends whose body starts at `start`, if that is before `stop`, else -1."""
    if len(quote) == 3:
        return next((match.end() for match in _CLOSING[quote].finditer(text, start, stop) if match[0] == quote), -1)
    end = _BODY[quote].match(text, start, stop).end()
    return end + 1 if text[end : end + 1] == quote and end < stop else -1


def _width(indentation: str) -> int:
    """Columns of an indentation: tabs reach to the next multiple of 8, a form feed starts again."""
    return len(indentation.rpartition("\f")[2].expandtabs(8))
