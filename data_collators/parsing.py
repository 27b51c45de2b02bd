"""Source code to syntax tree, and what queries capture in it, by tree-sitter.

All offsets are bytes of the text, end-exclusive. Broken code parses as far as it goes, and nothing here takes more than
linear time but the parser itself, which has a time budget.
"""

from __future__ import annotations

import importlib
import re
import time
from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from typing import NamedTuple

from tree_sitter import Language as Grammar
from tree_sitter import Node, Parser, Query, QueryCursor, Tree

from .languages import Language, language_table

# Real code takes a tenth of a second a megabyte; some broken code takes the parsers for ever.
PARSE_SECONDS, _SECONDS_A_BYTE = 2.0, 2e-6
# Queries take quadratic time in the children of one error node; wider ones are searched child by child.
_WIDE = 1000
# Queries also take time in proportion to nodes times depth (a chain `a.b.c...` is as deep as it is long), and lose
# count at a depth of 2**16. Trees twice as deep as this are searched in layers.
_DEEP = 100
# Longer texts are read in such pieces, since a predicate of a query reads one for every node that it looks at.
_SMALL, _PIECE = 100_000, 1024
_NOT_UTF8 = re.compile("[\udc80-\udcff]")


class Span(NamedTuple):
    """Byte offsets, end-exclusive."""

    start: int
    end: int


class ParseTimeout(ValueError):
    """A text takes longer to parse than the budget allows."""


class Syntax(NamedTuple):
    """A text with its tree and the grammar that read it."""

    code: bytes
    tree: Tree
    grammar: str


def parse(code: bytes | str, language: str, *, seconds: float | None = None) -> Syntax:
    """Syntax tree of a text of any quality.

    Args:
        code: The text; str is taken as UTF-8.
        language: Its language.
        seconds: Budget; default: 2 s and 2 s a megabyte.

    Raises:
        ValueError: The language is not in the table.
        ParseTimeout: Parsing takes longer than `seconds`.
    """
    table = language_table(language)
    code = code.encode("utf-8", "surrogatepass") if isinstance(code, str) else code
    text = _readable(code)
    seconds = PARSE_SECONDS + _SECONDS_A_BYTE * len(code) if seconds is None else seconds
    found = [_parse(text, table.grammars[0], seconds)]
    if found[0].tree.root_node.has_error:
        for grammar in table.grammars[1:]:
            with suppress(ParseTimeout):
                found.append(_parse(text, grammar, seconds))
    best = found[0] if len(found) == 1 else min(found, key=lambda syntax: len(_errors(syntax)))
    return best._replace(code=code)


def _readable(code: bytes) -> bytes:
    """The text with bytes that are not UTF-8 replaced, one by one: predicates of queries crash on them."""
    try:
        code.decode()
    except UnicodeDecodeError:
        return _NOT_UTF8.sub("\x1a", code.decode("utf-8", "surrogateescape")).encode()
    return code


def captures(syntax: Syntax, language: Language, kind: str) -> dict[str, list[Node]]:
    """Nodes by capture name, for the query `kind` of the language."""
    found: dict[str, list[Node]] = {}
    for cursor, node in _searches(syntax, language, kind):
        for name, nodes in cursor.captures(node).items():
            found.setdefault(name, []).extend(nodes)
    return found


def matches(syntax: Syntax, language: Language, kind: str) -> Iterator[dict[str, list[Node]]]:
    """Captured nodes by name, pattern match by pattern match, for the query `kind` of the language."""
    for cursor, node in _searches(syntax, language, kind):
        for _, found in cursor.matches(node):
            yield found


def literals(code: bytes | str, language: str) -> list[Span]:
    """Outermost literals and comments, sorted: what is not code in the paper's statistics (appendix A).

    Raises:
        ValueError: The language is not in the table.
        ParseTimeout: Parsing takes too long.
    """
    return syntax_literals(parse(code, language), language)


def syntax_literals(syntax: Syntax, language: str) -> list[Span]:
    """`literals` of a parsed text."""
    spans: list[Span] = []
    for node in sorted(captures(syntax, language_table(language), "literals").get("literal", []), key=_place):
        if not spans or node.start_byte >= spans[-1].end:
            spans.append(Span(node.start_byte, node.end_byte))
    return spans


def _place(node: Node) -> tuple[int, int]:
    return node.start_byte, -node.end_byte


@cache
def _grammar(target: str) -> Grammar:
    package, function = target.split(":")
    return Grammar(getattr(importlib.import_module(package), function)())


@cache
def _parser(target: str) -> Parser:
    return Parser(_grammar(target))


@cache
def _query(grammar: str, language: str, kind: str) -> Query:
    if kind == "literals":
        text = "\n".join(f"({node}) @literal" for node in language_table(language).literals)
    else:
        text = language_table(language).read(f"{kind}.scm")
    return Query(_grammar(grammar), text)


def _parse(code: bytes, grammar: str, seconds: float) -> Syntax:
    parser, deadline = _parser(grammar), time.monotonic() + seconds
    piece = _PIECE if len(code) > _SMALL else len(code)
    try:
        tree = parser.parse(
            lambda offset, _: code[offset : offset + piece],
            progress_callback=lambda *_: time.monotonic() > deadline,
        )
    except ValueError as error:
        parser.reset()
        raise ParseTimeout(
            f"{len(code)} bytes of code take more than {seconds:g} s to parse. Leave the file out."
        ) from error
    return Syntax(code, tree, grammar)


def _errors(syntax: Syntax) -> list[Node]:
    query = _error_query(syntax.grammar)
    return [node for root in _regions(syntax.tree) for node in QueryCursor(query).captures(root).get("error", [])]


@cache
def _error_query(grammar: str) -> Query:
    return Query(_grammar(grammar), "(ERROR) @error")


def _searches(syntax: Syntax, language: Language, kind: str) -> Iterator[tuple[QueryCursor, Node]]:
    """Cursors of a query and nodes to use them on; together they find everything, in deep trees some of it twice."""
    query = _query(syntax.grammar, language.name, kind)
    for node in _regions(syntax.tree):
        if not _is_deep(node):
            yield QueryCursor(query), node
            continue
        for top in _layers(node):
            cursor = QueryCursor(query)
            cursor.set_max_start_depth(_DEEP)
            yield cursor, top


def _is_deep(root: Node) -> bool:
    """Whether a node at least `_DEEP` below is found; it is wherever there is one twice as far below.

    That one has an ancestor at depth `_DEEP`, whose nodes stand in one row of more than `_DEEP`: one is looked at.
    """
    count = root.descendant_count
    if count <= 2 * _DEEP:
        return False
    cursor = root.walk()
    for index in range(0, count, _DEEP):
        cursor.goto_descendant(index)
        if cursor.depth >= _DEEP:
            return True
    return False


def _layers(root: Node) -> Iterator[Node]:
    """The node, and every node with children whose depth below it is a multiple of `_DEEP`."""
    pending = [root]
    while pending:
        top = pending.pop()
        yield top
        level = [top]
        for rest in reversed(range(_DEEP)):  # with fewer nodes below than levels are left, none is deep enough
            level = [child for node in level for child in node.children if child.descendant_count > rest + 1]
        pending += level


def _regions(tree: Tree) -> Iterator[Node]:
    """Nodes that cover the tree: its root, or what wide error nodes hold where there are any."""
    if not _has_wide_error(tree):
        yield tree.root_node
        return
    pending = [tree.root_node]
    while pending:
        node = pending.pop()
        if node.has_error and node.child_count:
            pending.extend(reversed(node.children))
        else:
            yield node


def _has_wide_error(tree: Tree) -> bool:
    """Whether an error node has many children; looks into what holds errors alone."""
    if not tree.root_node.has_error:
        return False
    cursor = tree.walk()
    while True:
        node = cursor.node
        if node.is_error and node.child_count > _WIDE:
            return True
        if node.has_error and cursor.goto_first_child():
            continue
        while not cursor.goto_next_sibling():
            if not cursor.goto_parent():
                return False
