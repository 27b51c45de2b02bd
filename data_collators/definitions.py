"""Functions, methods and classes of a source file, with the spans that training data is cut from."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from dataclasses import dataclass, field

from tree_sitter import Node

from .doc_comments import comment_text, string_text
from .languages import DocComments, Language, language_table
from .parsing import Span, Syntax, matches, parse
from .slices import cut, line_start, own_line

_KINDS = ("function", "method", "class")
_LONGEST_GAP = 4096
# A comment inside a signature is a doc comment only if it is marked as one.
_STRICT = (b"/**", b"/*!", b"///", b"//!")


@dataclass(frozen=True, slots=True)
class Function:
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


def _definitions(syntax: Syntax, table: Language) -> tuple[list[_Definition], dict[str, list[Span]]]:
    """Definitions in source order, and the spans of everything else by capture name."""
    by_place: dict[tuple[int, int], _Definition] = {}
    others: dict[str, set[Span]] = {name: set() for name in ("container", "scope", "return", "comment", "docstring")}
    for match in matches(syntax, table, "functions"):
        kind = next((kind for kind in _KINDS if kind in match), None)
        if kind is None:
            for name in others.keys() & match.keys():
                others[name].update(Span(node.start_byte, node.end_byte) for node in match[name])
            continue
        node, name, body = match[kind][0], match["name"][0], match["body"][0]
        first = min((node, *match.get("start", ())), key=lambda found: found.start_byte)
        start, row = first.start_byte, first.start_point.row
        place = (name.start_byte, body.start_byte)
        before = by_place.get(place)
        if before is None:
            # Not the braces of a hash that is the whole body. Go has no node for what is in an interface's braces.
            braces = body.type == "{" or (body.child_count > 1 and body.child(0).type == "{")
            span = Span(body.start_byte, match["body"][-1].end_byte)
            by_place[place] = _Definition(kind, name, span, start, node.end_byte, row, braces)
        else:
            before.start, before.row = min((before.start, before.row), (start, row))
            before.end = max(before.end, node.end_byte)
    definitions = sorted(by_place.values(), key=lambda definition: (definition.start, -definition.end))
    return definitions, {name: sorted(spans) for name, spans in others.items()}


def _settle_kinds_and_returns(definitions: list[_Definition], found: dict[str, list[Span]]) -> None:
    """Functions inside classes become methods; return statements go to the innermost function around them."""
    places: list[tuple[int, int, int, _Definition | str | Span]] = [
        *((definition.start, -definition.end, 0, definition) for definition in definitions),
        *((span.start, -span.end, 1, "class") for span in found["container"]),
        *((span.start, -span.end, 2, "scope") for span in found["scope"]),
        *((span.start, -span.end, 3, span) for span in found["return"]),
    ]
    around: list[tuple[int, _Definition | str]] = []
    for start, minus_end, _, place in sorted(places, key=lambda place: place[:3]):
        while around and around[-1][0] <= start:
            around.pop()
        inside = around[-1][1] if around else None
        if isinstance(place, Span):
            if isinstance(inside, _Definition) and (not inside.returns or inside.returns[-1].end <= place.start):
                inside.returns.append(place)
            continue
        if place == "scope" and isinstance(inside, _Definition) and inside.body.end <= -minus_end:
            if start < inside.body.start:  # the closure is what the definition binds to its name
                continue
        if isinstance(place, _Definition) and place.kind == "function" and _is_class(inside):
            place.kind = "method"
        around.append((-minus_end, place))


def _is_class(place: _Definition | str | None) -> bool:
    return place == "class" if not isinstance(place, _Definition) else place.kind == "class"


def _attach_docs(
    code: bytes, definitions: list[_Definition], found: dict[str, list[Span]], rule: DocComments | None
) -> None:
    """Find every definition's doc comment, and take the braces off its body."""
    comments = _Comments(code, found["comment"])
    for definition in definitions:
        raw_body = definition.body
        definition.body = _body(definition, comments)
        if rule is None:
            first = bisect_left(found["docstring"], (raw_body.start,))
            inside = found["docstring"][first : first + 1]
            if inside and inside[0].end <= raw_body.end and comments.only_between(raw_body.start, inside[0].start):
                definition.doc = inside[0]
                definition.text = string_text(code[slice(*definition.doc)])
            continue
        pieces = comments.above(definition.start, rule) or comments.before_name(definition, rule)
        if pieces:
            definition.doc = Span(pieces[0].start, pieces[-1].end)
            definition.text = comment_text([code[slice(*piece)] for piece in pieces])


def _body(definition: _Definition, comments: _Comments) -> Span:
    """What is inside the braces; without braces, the body with the comment lines right above it."""
    code, (start, end) = comments.code, definition.body
    if definition.braces and code[end - 1 : end] == b"}":
        return Span(start + 1, end - 1)
    return Span(comments.first_of_chain(start, definition.name.end_byte), end)


class _Comments:
    """The comments of a text, for questions about what stands next to them."""

    def __init__(self, code: bytes, spans: list[Span]) -> None:
        self.code, self.spans = code, spans
        self._ends = [span.end for span in spans]

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
            span = self.spans[index]
            if span.start < limit or not self._blank(span.end, offset) or not own_line(self.code, span.start):
                break
            offset, index = span.start, index - 1
        return offset

    def above(self, offset: int, rule: DocComments) -> list[Span]:
        """The doc comment that ends right above `offset`, in pieces; [] if there is none."""
        index = self._last_before(offset)
        if index < 0:
            return []
        gap = self.code[self.spans[index].end : offset] if offset - self.spans[index].end < _LONGEST_GAP else b"x"
        ended = self.code[self.spans[index].end - 1 : self.spans[index].end] == b"\n"  # some grammars take it along
        if gap.strip() or gap.count(b"\n") + ended > rule.blank_lines + 1:
            return []
        return self._block(index, rule)

    def before_name(self, definition: _Definition, rule: DocComments) -> list[Span]:
        """A doc comment between annotations and the name."""
        name = min(definition.name.start_byte, definition.body.start)  # `typedef struct {...} name`
        index = self._last_before(name)
        while index >= 0 and definition.start <= self.spans[index].start and name - definition.start < _LONGEST_GAP:
            if self.code.startswith(_STRICT, self.spans[index].start) and (found := self._block(index, rule)):
                return found
            index -= 1
        return []

    def _block(self, index: int, rule: DocComments) -> list[Span]:
        """The doc comment whose last piece has this index."""
        span = self.spans[index]
        if not own_line(self.code, span.start) or not self.code.startswith(rule.openings, span.start):
            return []
        if not self.code.startswith(rule.lines, span.start):
            return [span]
        pieces = [span]
        while index > 0:
            index, before = index - 1, self.spans[index - 1]
            gap = self.code[before.end : span.start] if span.start - before.end < _LONGEST_GAP else b"x"
            ended = self.code[before.end - 1 : before.end] == b"\n"
            if gap.strip() or gap.count(b"\n") + ended > 1 or not own_line(self.code, before.start):
                break
            if not (
                self.code.startswith(rule.openings, before.start) and self.code.startswith(rule.lines, before.start)
            ):
                break
            pieces.append(before)
            span = before
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
    return cut(code, function.body, [*function.returns, *_docstrings(function)])


def _docstrings(function: Function) -> list[Span]:
    own = [function.docstring_span] if function.docstring_span else []
    return [*own, *function.inner_docstrings]
