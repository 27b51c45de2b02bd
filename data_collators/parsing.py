"""Identifiers and functions of a source file, by tree-sitter.

All offsets are bytes of the UTF-8 text, end-exclusive, sorted. Broken code parses as far as it goes.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import re
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

from tree_sitter import Language as Grammar
from tree_sitter import Node, Parser, Tree

from .languages import Language, language_table


class Span(NamedTuple):
    """Byte offsets, end-exclusive."""

    start: int
    end: int


class Identifier(NamedTuple):
    """One occurrence of a name. `name_id` counts the distinct names of the document from 1."""

    start: int
    end: int
    kind: str
    name_id: int


@dataclass(frozen=True, slots=True)
class Function:
    """A function, method or class, with the spans that training data is cut from.

    `span` begins at the line of the first decorator and covers the whole definition; `signature` goes from there to
    the body; `returns` are the return statements of the function itself, not of functions inside it.
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


@cache
def _parser(grammar: str) -> Parser:
    return Parser(Grammar(importlib.import_module(grammar).language()))


def parse(code: bytes, language: str) -> Tree:
    """Syntax tree of `code`.

    Raises:
        ValueError: The language is not in the table.
    """
    return _parser(language_table(language).grammar).parse(code)


class _Visit(NamedTuple):
    node: Node
    parent: str
    field: str
    in_import: bool


def _walk(tree: Tree, table: Language) -> Iterator[_Visit]:
    """Every named node before its children, without recursion, so that nesting depth is no limit."""
    cursor = tree.walk()
    parents: list[tuple[str, bool]] = [("", False)]
    while True:
        node, (parent, in_import) = cursor.node, parents[-1]
        if node.is_named:
            yield _Visit(node, parent, cursor.field_name or "", in_import)
        if cursor.goto_first_child():
            parents.append((node.type, in_import or node.type in table.imports))
            continue
        while not cursor.goto_next_sibling():
            if not cursor.goto_parent():
                return
            parents.pop()


def identifiers(code: bytes, language: str) -> list[Identifier]:
    """Names that belong to the document: classes, functions, arguments, variables, attributes, and their uses.

    Builtins, imported names and keyword-argument names of calls stay out, as do comments and literals (section 3.1 and
    Figure 8 of arXiv 2402.01935; that imported names stay is our choice). A name has one `name_id` wherever it stands.

    Raises:
        ValueError: The language is not in the table.
    """
    table = language_table(language)
    found: list[tuple[int, int, str, bytes]] = []
    kept = {name.encode() for name in table.reserved}
    for node, parent, field, in_import in _walk(parse(code, language), table):
        if node.type not in table.identifiers or node.start_byte == node.end_byte:
            continue
        name = code[node.start_byte : node.end_byte]
        if in_import:
            kept.add(name)
        elif (parent, field) not in table.keeps:
            place = (parent, field)
            kind = (
                table.definitions.get(place)
                or table.definitions.get((parent, ""))
                or table.references.get(place, "variable")
            )
            found.append((node.start_byte, node.end_byte, kind, name))
    name_ids: dict[bytes, int] = {}
    return [
        Identifier(start, end, kind, name_ids.setdefault(name, len(name_ids) + 1))
        for start, end, kind, name in found
        if name not in kept
    ]


def functions(code: bytes, language: str) -> list[Function]:
    """Functions, methods and classes of a file in source order, nested ones included.

    Raises:
        ValueError: The language is not in the table.
    """
    table = language_table(language)
    definitions = table.functions | table.classes
    return [
        _function(code, node, table)
        for node, *_ in _walk(parse(code, language), table)
        if node.type in definitions and node.child_by_field_name("name") and node.child_by_field_name(table.body)
    ]


def _function(code: bytes, node: Node, table: Language) -> Function:
    outer = node.parent if node.parent is not None and node.parent.type in table.wrappers else node
    body = node.child_by_field_name(table.body)
    docstring_node = _docstring_node(body, table)
    start, body_start = _line_start(code, outer.start_byte), _body_start(code, body)
    return Function(
        name=code[slice(*_span(node.child_by_field_name("name")))].decode("utf-8", "replace"),
        kind=_kind(node, table),
        span=Span(start, outer.end_byte),
        signature=Span(start, body_start),
        body=Span(body_start, body.end_byte),
        returns=tuple(_own_returns(body, table)),
        docstring_span=None if docstring_node is None else _span(docstring_node),
        docstring="" if docstring_node is None else _docstring_text(code[slice(*_span(docstring_node))]),
        inner_docstrings=tuple(_inner_docstrings(body, table)),
        line=outer.start_point.row + 1,
    )


def _span(node: Node) -> Span:
    return Span(node.start_byte, node.end_byte)


def _body_start(code: bytes, body: Node) -> int:
    """Start of the body with the comment lines right above it, which some grammars put outside."""
    first = body
    while (before := first.prev_named_sibling) is not None and before.type == "comment":
        line = _line_start(code, before.start_byte)
        if line == before.start_byte and code[line - 1 : line] != b"\n":
            break  # a comment behind the signature
        first = before
    return first.start_byte


def _kind(node: Node, table: Language) -> str:
    if node.type in table.classes:
        return "class"
    parent = node.parent
    while parent is not None and parent.type not in table.functions | table.classes:
        parent = parent.parent
    return "method" if parent is not None and parent.type in table.classes else "function"


def _own_returns(body: Node, table: Language) -> Iterator[Span]:
    pending = [body]
    while pending:
        node = pending.pop()
        if node.type in table.returns:
            yield _span(node)
        elif node.type not in table.nested:
            pending.extend(reversed(node.named_children))


def _docstring_node(body: Node, table: Language) -> Node | None:
    if table.docstring is None:
        return None
    statement_type, string_type = table.docstring
    first = next((child for child in body.named_children if child.type != "comment"), None)
    if first is None or first.type != statement_type or first.named_child_count != 1:
        return None
    return first if first.named_children[0].type == string_type else None


def _inner_docstrings(body: Node, table: Language) -> Iterator[Span]:
    """Docstrings of the definitions inside a body."""
    pending = list(body.named_children)
    while pending:
        node = pending.pop()
        if node.type in table.functions | table.classes and (inner := node.child_by_field_name(table.body)):
            docstring = _docstring_node(inner, table)
            if docstring is not None:
                yield _span(docstring)
        pending.extend(node.named_children)


def _docstring_text(literal: bytes) -> str:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of escapes such as "\\d", which newer Pythons warn about
            value = ast.literal_eval(literal.decode("utf-8"))
        value.encode("utf-8")  # an escape may stand for half a surrogate pair, which no file can hold
    except (ValueError, SyntaxError, AttributeError, MemoryError, RecursionError):
        return ""
    return inspect.cleandoc(value) if isinstance(value, str) else ""


def _line_start(code: bytes, offset: int) -> int:
    """Start of the line if only blanks stand before `offset`, else `offset`."""
    start = code.rfind(b"\n", 0, offset) + 1
    return start if not code[start:offset].strip() else offset


def _whole_lines(code: bytes, span: Span) -> Span:
    """The span with its indentation and line end, if nothing else stands on its lines."""
    start = _line_start(code, span.start)
    if start == span.start and start > 0 and code[start - 1 : start] != b"\n":
        return span
    newline = code.find(b"\n", span.end)
    end = len(code) if newline < 0 else newline + 1
    return Span(start, end) if not code[span.end : end].strip() else span


def cut(code: bytes, keep: Span, drop: list[Span]) -> str:
    """Text of `keep` without the spans in `drop`, blank lines that they leave, and common indentation."""
    pieces, position = [], _line_start(code, keep.start)
    for span in sorted(_whole_lines(code, span) for span in drop):
        pieces.append(code[position : max(span.start, position)])
        position = max(span.end, position)
    pieces.append(code[position : max(keep.end, position)])
    return dedent(b"".join(pieces).decode("utf-8", "replace"))


def dedent(text: str) -> str:
    """Take the first line's indentation off every line that has it, and blanks off the end."""
    indent = re.match(r"[ \t]*", text.lstrip("\n")).group()
    stripped = re.sub(rf"^{re.escape(indent)}", "", text, flags=re.MULTILINE) if indent else text
    return stripped.strip("\n").rstrip()


def without_docstring(code: bytes, function: Function) -> str:
    """The whole function, its docstring and those of definitions inside it removed."""
    return cut(code, function.span, _docstrings(function))


def hard_positive(code: bytes, function: Function) -> str:
    """The body without signature, docstrings and return statements (section 3.2); "" when nothing is left."""
    return cut(code, function.body, [*function.returns, *_docstrings(function)])


def _docstrings(function: Function) -> list[Span]:
    own = [function.docstring_span] if function.docstring_span else []
    return [*own, *function.inner_docstrings]
