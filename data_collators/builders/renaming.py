"""A function with other names: its parameters, its locals and its own name replaced, everything else as it was.

What other code gave names stays: functions that are called, attributes, fields, types, literals. So the copy does the
same and shares few of its words with the original, which makes both a pair of equal meaning.

Offsets are bytes of the UTF-8 text, end-exclusive.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

from ..languages import language_table
from ..names import Identifier, find_identifiers
from ..parsing import ParseTimeout, Span, Syntax, captures, parse
from ..slices import cut, own_line

ARGUMENT, LOCAL, FUNCTION = "argument", "local", "function"
ROLES = (ARGUMENT, LOCAL, FUNCTION)

# What stands around a method where a file stands around it in life.
_CLASS, _OBJECT = (b"class A {\n", b"\n}"), (b"x = {\n", b"\n}")
_AROUND: dict[str, tuple[tuple[bytes, bytes], ...]] = {
    "java": (_CLASS,),
    "csharp": (_CLASS,),
    "php": (_CLASS,),
    "javascript": (_CLASS, _OBJECT),
    "typescript": (_CLASS, _OBJECT),
}
# Names that a language or its programmers give a meaning.
_FIXED = re.compile(rb"__\w+__|__construct|constructor|initialize|main|init|self|cls|this|super|_+")
_MEMBER = re.compile(rb"(?:(?<!\.)\.|->|::)\s*\Z")
_OWN_MEMBER = re.compile(rb"(?:\b(?:self|this|cls|static)\s*(?:\?\.|\.|->|::))\s*\Z")
# A constructor has the name of its type: no type stands in front of it.
_WITH_CONSTRUCTORS = ("java", "csharp")
_MODIFIED = re.compile(rb"(?:\b(?:public|private|protected|internal|static)|[{})]|@\w+)\s*\Z")
_CONSTRUCTED = re.compile(rb"\bnew\s+\Z")
# Calls that see names as text.
_BY_NAME = re.compile(rb"\b(?:locals|vars|eval|exec|compact|extract|get_defined_vars|binding|arguments)\b")


@dataclass(frozen=True)
class OwnNames:
    """The names that a function gives itself.

    Args:
        code: The function, without what was put around it to read it.
        roles: Name -> what it names, in the order of their first places.
        places: (start, end, name, short) of each occurrence, sorted; `short` ones stand for `key: name`.
        comments: Spans of the comments.
    """

    code: bytes
    roles: dict[bytes, str]
    places: tuple[tuple[int, int, bytes, bool], ...]
    comments: tuple[Span, ...]


def own_names(code: str, language: str, name: str, kind: str = "function") -> OwnNames | None:
    """The names that a function gives its parameters, its locals and itself; None if it cannot be read as it stands.

    Left out are names whose other occurrences another meaning may have: builtins, imports, globals, keywords of calls.

    Args:
        code: A function without its surroundings.
        language: Its language.
        name: Its name.
        kind: "method" is read as one first.

    Raises:
        ValueError: The language is not in the table.
    """
    text = code.encode("utf-8", "replace")
    found = _read(text, language, kind)
    if found is None or _BY_NAME.search(text):
        return None
    syntax, before = found
    shift = len(before)
    span = Span(shift, shift + len(text))
    captured = captures(syntax, language_table(language), "locals")
    spans = {key: {node.byte_range for node in nodes} for key, nodes in captured.items()}
    names = [one for one in find_identifiers(syntax, language) if span.start <= one.start and one.end <= span.end]
    comments = list(_comments(syntax, language))
    code_alone = _without(syntax.code, comments)  # a comment may end in what looks like the access to a member
    roles = _roles(code_alone, names, spans, name.encode(), language)
    places = tuple(
        (one.start - shift, one.end - shift, word, (one.start, one.end) in spans.get("shorthand", ()))
        for one in names
        if (word := syntax.code[one.start : one.end]) in roles
        and _stands_for(code_alone, one, roles[word], spans, language)
    )
    inside = tuple(Span(start - shift, end - shift) for start, end in comments if start >= shift)
    return OwnNames(text, roles, places, inside)


def _read(text: bytes, language: str, kind: str) -> tuple[Syntax, bytes] | None:
    """The function as the parser reads it without errors, and what was put before it."""
    around = [(b"", b""), *_AROUND.get(language, ())]
    if kind == "method":
        around = [*around[1:], around[0]]
    prefix = language_table(language).prefix
    for before, behind in around:
        try:
            syntax = parse(prefix + before + text + behind, language)
        except ParseTimeout:
            return None
        if not syntax.tree.root_node.has_error:
            return syntax, prefix + before
    return None


def _roles(
    code: bytes, names: Sequence[Identifier], spans: Mapping[str, set[tuple[int, int]]], own: bytes, language: str
) -> dict[bytes, str]:
    """What each name that may change names."""
    local, roles = {code[slice(*span)].strip(b"$") for span in spans.get("local", ())}, {}
    free = {code[slice(*span)].strip(b"$:") for span in spans.get("free", ())}
    arguments = {code[one.start : one.end] for one in names if one.kind == "argument"}
    for one in names:
        word = code[one.start : one.end]
        if word in roles or word in free or _FIXED.fullmatch(word):
            continue
        if word in arguments or word in local:
            roles[word] = ARGUMENT if word in arguments else LOCAL
    settled = not own or own in roles or own in free or _FIXED.fullmatch(own)
    if not settled and _is_free(code, names, own, spans.get("type", ()), language):
        roles[own] = FUNCTION
    return roles


def _is_free(
    code: bytes, names: Sequence[Identifier], own: bytes, types: Collection[tuple[int, int]], language: str
) -> bool:
    """Whether a function's name may change: it is declared here, and is not that of a type or of others' methods."""
    uses = [one for one in names if code[one.start : one.end] == own]
    declared = [one for one in uses if one.kind == "function"]
    if not declared or any(one.kind in ("class", "attribute") for one in uses):
        return False
    if any((one.start, one.end) in types or _CONSTRUCTED.search(code[: one.start][-20:]) for one in uses):
        return False
    constructor = language in _WITH_CONSTRUCTORS and _MODIFIED.search(code[: declared[0].start])
    return not constructor and all(one in declared or _calls_itself(code, one) for one in uses)


def _calls_itself(code: bytes, one: Identifier) -> bool:
    before = code[max(0, one.start - 20) : one.start]
    if before.endswith(b":") and not before.endswith(b"::"):  # a symbol of Ruby, `map(&:name)`
        return False
    return not _MEMBER.search(before) or bool(_OWN_MEMBER.search(before))


def _stands_for(
    code: bytes, one: Identifier, role: str, spans: Mapping[str, set[tuple[int, int]]], language: str
) -> bool:
    """Whether an occurrence of a name is the parameter, local or function, and not a member or key of that name."""
    span = (one.start, one.end)
    if role == FUNCTION:
        return True
    if span in spans.get("type", ()):
        return False
    if language == "php" and code[one.start - 1 : one.start] != b"$":
        return False
    if one.kind == "attribute" or _MEMBER.search(code[max(0, one.start - 20) : one.start]):
        return span in spans.get("shorthand", ())
    if one.kind in ("function", "class"):
        return span in spans.get("local", ())
    return not (one.kind == "call" and language == "ruby")  # `name = name()` calls a method


def _comments(syntax: Syntax, language: str) -> Iterator[Span]:
    for node in captures(syntax, language_table(language), "literals").get("literal", ()):
        if "comment" in node.type:
            yield Span(node.start_byte, node.end_byte)


def _without(code: bytes, spans: Sequence[Span]) -> bytes:
    """The code with blanks in the place of some spans."""
    text = bytearray(code)
    for start, end in spans:
        text[start:end] = b" " * (end - start)
    return bytes(text)


def renamed(names: OwnNames, new: Mapping[bytes, bytes]) -> str:
    """The function without comments and with other names.

    Args:
        names: The function.
        new: Name -> what it is called now; others stay.
    """
    pieces, ends, shifts, position, shift = [], [0], [0], 0, 0
    for start, end, word, short in names.places:
        name = new.get(word, word)
        name = word + b": " + name if short and name != word else name
        pieces += [names.code[position:start], name]
        position, shift = end, shift + len(name) - (end - start)
        ends.append(end)
        shifts.append(shift)
    code = b"".join([*pieces, names.code[position:]])
    comments = [Span(*(place + shifts[bisect_right(ends, place) - 1] for place in span)) for span in names.comments]
    return cut(code, Span(0, len(code)), [_with_blanks(code, span) for span in comments])


def _with_blanks(code: bytes, span: Span) -> Span:
    """A comment behind code with the blanks in front of it."""
    if own_line(code, span.start):
        return span
    return Span(len(code[: span.start].rstrip(b" \t")), span.end)
