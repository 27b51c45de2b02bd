"""Source code to syntax tree, and what queries capture in it, by tree-sitter.

All offsets are bytes of the text, end-exclusive. Broken code parses as far as it goes, and nothing here takes more than
linear time but the parser itself, which has a time budget.
"""

from __future__ import annotations

import importlib
import time
from collections.abc import Iterator
from functools import cache
from typing import NamedTuple

from tree_sitter import Language as Grammar
from tree_sitter import Node, Parser, Query, QueryCursor, Tree

from .languages import QUERIES, Language, language_table

PARSE_SECONDS = 10.0
# Queries take quadratic time in the children of one error node; wider ones are searched child by child.
_WIDE = 1000
# A predicate of a query reads this much for every node that it looks at.
_READ = 2**10
# Shorter texts are parsed at once: looking at the clock slows the parser down, and they take seconds at worst.
_SMALL = 100_000


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


def parse(code: bytes | str, language: str, *, seconds: float = PARSE_SECONDS) -> Syntax:
    """Syntax tree of a text of any quality.

    Raises:
        ValueError: The language is not in the table.
        ParseTimeout: Parsing takes longer than `seconds`.
    """
    table = language_table(language)
    code = code.encode("utf-8", "surrogatepass") if isinstance(code, str) else code
    deadline = time.monotonic() + seconds
    found = [_parse(code, table.grammars[0], deadline, seconds)]
    if found[0].tree.root_node.has_error:
        found += [_parse(code, grammar, deadline, seconds) for grammar in table.grammars[1:]]
    return found[0] if len(found) == 1 else min(found, key=lambda syntax: len(_errors(syntax)))


def captures(syntax: Syntax, language: Language, kind: str) -> dict[str, list[Node]]:
    """Nodes by capture name, for the query `kind` of the language."""
    query, found = _query(syntax.grammar, language.name, kind), {}
    for node in _regions(syntax.tree):
        for name, nodes in QueryCursor(query).captures(node).items():
            found.setdefault(name, []).extend(nodes)
    return found


def matches(syntax: Syntax, language: Language, kind: str) -> Iterator[dict[str, list[Node]]]:
    """Captured nodes by name, pattern match by pattern match, for the query `kind` of the language."""
    query = _query(syntax.grammar, language.name, kind)
    for node in _regions(syntax.tree):
        for _, found in QueryCursor(query).matches(node):
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
        text = (QUERIES / language / f"{kind}.scm").read_text(encoding="utf-8")
    return Query(_grammar(grammar), text)


def _parse(code: bytes, grammar: str, deadline: float, seconds: float) -> Syntax:
    parser = _parser(grammar)
    if len(code) < _SMALL:
        return Syntax(code, parser.parse(code), grammar)
    try:
        tree = parser.parse(
            lambda offset, _: code[offset : offset + _READ],
            progress_callback=lambda *_: time.monotonic() > deadline,
        )
    except ValueError as error:
        parser.reset()
        raise ParseTimeout(
            f"{len(code)} bytes of code take more than {seconds:g} s to parse. Leave the file out."
        ) from error
    return Syntax(code, tree, grammar)


def _errors(syntax: Syntax) -> list[Node]:
    query = Query(_grammar(syntax.grammar), "(ERROR) @error")
    return [node for root in _regions(syntax.tree) for node in QueryCursor(query).captures(root).get("error", [])]


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
