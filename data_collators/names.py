"""Names that belong to a document, with one id for each distinct name."""

from __future__ import annotations

import re
from typing import NamedTuple

from .languages import language_table
from .parsing import Syntax, captures, parse

# What decides when several patterns capture one node.
_PRECEDENCE = ("imports", "keep", "import", "class", "function", "argument", "call", "attribute", "variable")
# A name without the signs some languages put around it: `$name`, `@name`, `#name`, `name?`, `name!`.
_BARE_NAME = re.compile(rb"[0-9A-Za-z_\x80-\xff](?:[^\s]*[0-9A-Za-z_\x80-\xff])?")
# What a path of Go has behind the name of the package: `gopkg.in/yaml.v3`, `k8s.io/klog/v2`.
_VERSION = re.compile(rb"[./]v[0-9]+\Z")


class Identifier(NamedTuple):
    """One occurrence of a name. `name_id` counts the distinct names of the document from 1."""

    start: int
    end: int
    kind: str
    name_id: int


def identifiers(code: bytes | str, language: str) -> list[Identifier]:
    """Names that belong to the document: classes, functions, arguments, variables, attributes, and their uses.

    Builtins, imported names and keyword-argument names of calls stay out, as do comments and literals (section 3.1 and
    Figure 8 of arXiv 2402.01935; that imported names stay is our choice). A name has one `name_id` wherever it stands
    and whatever its kind: if `data` the argument and `.data` the attribute had two, `self.data = data` would give the
    masked one away. Spans are sorted and leave out the signs that some languages put around names (`$`, `@`, `?`).

    Raises:
        ValueError: The language is not in the table.
        ParseTimeout: Parsing takes too long.
    """
    return find_identifiers(parse(code, language), language)


def find_identifiers(syntax: Syntax, language: str) -> list[Identifier]:
    """`identifiers` of a parsed text."""
    code, table = syntax.code, language_table(language)
    kept = set(table.reserved)
    kinds: dict[tuple[int, int], str] = {}
    found = captures(syntax, table, "names")
    for kind in _PRECEDENCE:
        for node in found.get(kind, ()):
            kinds.setdefault((node.start_byte, node.end_byte), kind)
    names: list[tuple[int, int, str, bytes]] = []
    end = imports_end = 0
    for span, kind in sorted(kinds.items()):
        if kind == "imports":
            imports_end = span[1]
            continue
        bare = _BARE_NAME.search(code, *span)
        if bare is None or bare.start() < end:
            continue
        if kind == "import" or span[1] <= imports_end:
            kept.add(_VERSION.sub(b"", bare.group()).rpartition(b"/")[2])  # Go imports by path
        elif kind != "keep":
            names.append((*bare.span(), kind, bare.group()))
            end = bare.end()
    name_ids: dict[bytes, int] = {}
    return [
        Identifier(start, end, kind, name_ids.setdefault(name, len(name_ids) + 1))
        for start, end, kind, name in names
        if name not in kept
    ]
