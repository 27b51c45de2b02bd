"""Functions, methods and classes of a source file, with the spans that training data is cut from."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from dataclasses import dataclass, field
from typing import NamedTuple

from tree_sitter import Node

from .doc_comments import comment_text, string_text
from .hard_positives import without
from .languages import DocComments, Language, language_table
from .parsing import Span, Syntax, matches, parse
from .slices import cut, line_start, own_line, relocate

_KINDS = ("function", "method", "class")
_LONGEST_GAP = 4096
# A comment inside a signature is a doc comment only if it is marked as one.
_STRICT = (b"/**", b"/*!", b"///", b"//!")


class Function(NamedTuple):
    """A function, method or class.

    `span` begins at the line of the first decorator or annotation and covers the whole definition; `signature` goes
    from there to the body; `body` has no braces around it; `returns` are the return statements of the function itself,
    not of functions inside it. `docstring` is the text of the doc comment, without the signs of a comment;
    `docstring_span` may lie before `span`. `inner_docstrings` are those of definitions inside the body.
    """

    name: str
    kind: str
    span: Span
    signature: Span
    body: Span
    returns: tuple[Span, ...]
    docstring_span: Span | None
    docstring: str
    inner_docstrings: tuple[Span, ...]
    line: int


@dataclass(slots=True)
class _Definition:
    """A definition while it is put together."""

    kind: str
    name: Node
    body: Span
    start: int
    end: int
    row: int
    braces: bool
    closed: bool
    returns: list[Span] = field(default_factory=list)
    doc: Span | None = None
    text: str = ""


def functions(code: bytes | str, language: str) -> list[Function]:
    """Functions, methods and classes of a file that have a body, in source order, nested ones included.

    Raises:
        ValueError: The language is not in the table.
        ParseTimeout: Parsing takes too long.
    """
    return find_functions(parse(code, language), language)


def find_functions(syntax: Syntax, language: str) -> list[Function]:
    """`functions` of a parsed text."""
    code, table = syntax.code, language_table(language)
    definitions, found = _definitions(syntax, table)
    _settle_kinds_and_returns(definitions, found)
    _attach_docs(code, definitions, found, table.docs)
    docs = sorted({definition.doc for definition in definitions if definition.doc is not None})
    doc_starts = [doc.start for doc in docs]
    return [_function(code, definition, docs, doc_starts) for definition in definitions]


def _definitions(syntax: Syntax, table: Language) -> tuple[list[_Definition], dict[str, list[tuple[int, int]]]]:
    """Definitions in source order, and the spans of everything else by capture name."""
    by_place: dict[tuple[int, int], _Definition] = {}
    others: dict[str, list[tuple[int, int]]] = {
        name: [] for name in ("container", "scope", "return", "comment", "docstring")
    }
    for match in matches(syntax, table, "functions"):
        if "body" not in match:
            for name, nodes in match.items():
                if name in others:
                    others[name] += [node.byte_range for node in nodes]
            continue
        kind = next(kind for kind in _KINDS if kind in match)
        node, name, body = match[kind][0], match["name"][0], match["body"][0]
        first = min((node, *match["start"]), key=lambda found: found.start_byte) if "start" in match else node
        place = (name.start_byte, body.start_byte)
        if place not in by_place:
            # Not the braces of a hash that is the whole body. Go has no node for what is in an interface's braces.
            braces = body.type == "{" or (body.child_count > 1 and body.child(0).type == "{")
            last = match["body"][-1]
            last = last.child(last.child_count - 1) if last.child_count else last
            closed = not last.is_missing  # in broken code, the last brace may be that of something inside
            span, row = Span(body.start_byte, match["body"][-1].end_byte), first.start_point.row
            by_place[place] = _Definition(kind, name, span, first.start_byte, node.end_byte, row, braces, closed)
            continue
        before = by_place[place]
        if first.start_byte < before.start:
            before.start, before.row = first.start_byte, first.start_point.row
        before.end = max(before.end, node.end_byte)
    definitions = sorted(by_place.values(), key=lambda definition: (definition.start, -definition.end))
    return definitions, {name: sorted(set(spans)) for name, spans in others.items()}


def _settle_kinds_and_returns(definitions: list[_Definition], found: dict[str, list[tuple[int, int]]]) -> None:
    """Functions inside classes become methods; return statements go to the innermost function around them."""
    # (start, -end, rank, index): what begins first and ends last comes first.
    places = [(start, -end, 1, 0) for start, end in found["container"]]
    places += [(start, -end, 2, 0) for start, end in found["scope"]]
    places += [(start, -end, 3, 0) for start, end in found["return"]]
    places += [(definition.start, -definition.end, 0, index) for index, definition in enumerate(definitions)]
    around: list[tuple[int, _Definition | str]] = []
    for start, minus_end, rank, index in sorted(places):
        while around and around[-1][0] <= start:
            around.pop()
        inside = around[-1][1] if around else None
        if rank == 3:
            # Ruby has it in parameters too, and broken code behind the body.
            if isinstance(inside, _Definition) and inside.body.start <= start and -minus_end <= inside.body.end:
                if not inside.returns or inside.returns[-1].end <= start:
                    inside.returns.append(Span(start, -minus_end))
            continue
        place: _Definition | str = definitions[index] if rank == 0 else ("class" if rank == 1 else "scope")
        if rank == 2 and isinstance(inside, _Definition) and start < inside.body.start:
            if inside.body.end <= -minus_end:  # the closure is what the definition binds to its name
                continue
        if isinstance(place, _Definition) and place.kind == "function" and _is_class(inside):
            place.kind = "method"
        around.append((-minus_end, place))


def _is_class(place: _Definition | str | None) -> bool:
    return place == "class" if not isinstance(place, _Definition) else place.kind == "class"


def _attach_docs(
    code: bytes, definitions: list[_Definition], found: dict[str, list[tuple[int, int]]], rule: DocComments | None
) -> None:
    """Find every definition's doc comment, and take the braces off its body."""
    comments = _Comments(code, found["comment"])
    for definition in definitions:
        raw_body = definition.body
        definition.body = _body(definition, comments)
        if rule is None:
            first = bisect_left(found["docstring"], (raw_body.start,))
            inside = found["docstring"][first : first + 1]
            if inside and inside[0][1] <= raw_body.end and comments.only_between(raw_body.start, inside[0][0]):
                definition.doc = Span(*inside[0])
                definition.text = string_text(code[slice(*definition.doc)])
            continue
        pieces = comments.above(definition.start, rule) or comments.before_name(definition, rule)
        if pieces:
            text = comment_text([code[slice(*piece)] for piece in pieces])
            if text:  # a ruler is no doc comment
                definition.doc, definition.text = Span(pieces[0].start, pieces[-1].end), text


def _body(definition: _Definition, comments: _Comments) -> Span:
    """What is inside the braces; without braces, the body with the comment lines right above it."""
    code, (start, end) = comments.code, definition.body
    if definition.braces and code.startswith(b"{", start) and not definition.closed:
        return Span(start + 1, end)
    if definition.braces and code[end - 1 : end] == b"}":
        return Span(start + 1, end - 1)
    return Span(comments.first_of_chain(start, definition.name.end_byte), end)


class _Comments:
    """The comments of a text, for questions about what stands next to them."""

    def __init__(self, code: bytes, spans: list[tuple[int, int]]) -> None:
        self.code = code
        self._starts, self._ends = [start for start, _ in spans], [end for _, end in spans]

    def _last_before(self, offset: int) -> int:
        """Index of the last comment that ends at or before `offset`; -1 if there is none."""
        return bisect_right(self._ends, offset) - 1

    def _blank(self, start: int, end: int) -> bool:
        return end - start < _LONGEST_GAP and not self.code[start:end].strip()

    def only_between(self, start: int, end: int) -> bool:
        """Whether nothing but comments on lines of their own stands between two offsets."""
        return self._blank(start, self.first_of_chain(end, start))

    def first_of_chain(self, offset: int, limit: int) -> int:
        """Start of the comments on lines of their own right above `offset`, none of which begins before `limit`."""
        index = self._last_before(offset)
        while index >= 0:
            start = self._starts[index]
            if start < limit or not self._blank(self._ends[index], offset) or not own_line(self.code, start):
                break
            offset, index = start, index - 1
        return offset

    def above(self, offset: int, rule: DocComments) -> list[Span]:
        """The doc comment that ends right above `offset`, in pieces; [] if there is none."""
        index = self._last_before(offset)
        if index < 0 or not self._near(index, offset, rule.blank_lines + 1):
            return []
        return self._block(index, rule)

    def _near(self, index: int, offset: int, newlines: int) -> bool:
        """Whether a comment ends at most so many line ends, and nothing else, before `offset`."""
        end = self._ends[index]
        gap = self.code[end:offset] if offset - end < _LONGEST_GAP else b"x"
        ended = self.code[end - 1 : end] == b"\n"  # some grammars take the line end along
        return not gap.strip() and gap.count(b"\n") + ended <= newlines

    def before_name(self, definition: _Definition, rule: DocComments) -> list[Span]:
        """A doc comment between annotations and the name."""
        name = min(definition.name.start_byte, definition.body.start)  # `typedef struct {...} name`
        index = self._last_before(name)
        while index >= 0 and definition.start <= self._starts[index] and name - definition.start < _LONGEST_GAP:
            if self.code.startswith(_STRICT, self._starts[index]) and (found := self._block(index, rule)):
                return found
            index -= 1
        return []

    def _block(self, index: int, rule: DocComments) -> list[Span]:
        """The doc comment whose last piece has this index."""
        code, starts, start = self.code, self._starts, self._starts[index]
        if not code.startswith(rule.openings, start) or not own_line(code, start):
            return []
        pieces = [Span(start, self._ends[index])]
        if not code.startswith(rule.lines, start):
            return pieces
        while index > 0 and self._near(index - 1, start, 1):
            index, start = index - 1, starts[index - 1]
            is_line = code.startswith(rule.openings, start) and code.startswith(rule.lines, start)
            if not is_line or not own_line(code, start):
                break
            pieces.append(Span(start, self._ends[index]))
        return pieces[::-1]


def _function(code: bytes, definition: _Definition, docs: list[Span], doc_starts: list[int]) -> Function:
    start, body, own = line_start(code, definition.start), definition.body, definition.doc
    inside = docs[bisect_left(doc_starts, body.start) : bisect_left(doc_starts, body.end)]
    signature_end = start + len(code[start : body.start].rstrip(b" \t\r\n{"))
    return Function(
        name=code[definition.name.start_byte : definition.name.end_byte].decode("utf-8", "replace"),
        kind=definition.kind,
        span=Span(start, definition.end),
        signature=Span(start, signature_end),
        body=body,
        returns=tuple(definition.returns),
        docstring_span=own,
        docstring=definition.text,
        inner_docstrings=tuple(doc for doc in inside if doc != own),
        line=definition.row + 1,
    )


def without_docstring(code: bytes, function: Function) -> str:
    """The whole definition, its doc comment and those of definitions inside it removed."""
    return cut(code, function.span, _docstrings(function))


def hard_positive(code: bytes, function: Function) -> str:
    """The body without signature, doc comments and return statements (section 3.2); "" when nothing is left."""
    return without(without_docstring(code, function), code_spans(code, function), ("signature", "return"))


def code_spans(code: bytes, function: Function) -> tuple[int, ...]:
    """Where body and return statements are in `without_docstring`, as byte offsets: start, end, start, end, ..."""
    offsets = [offset for span in (function.body, *function.returns) for offset in span]
    return tuple(relocate(code, function.span, _docstrings(function), offsets))


def _docstrings(function: Function) -> list[Span]:
    own = [function.docstring_span] if function.docstring_span else []
    return [*own, *function.inner_docstrings]
