"""Identifiers and functions of Python source, against spans checked by hand."""

from __future__ import annotations

import pytest

from data_collators.definitions import functions, hard_positive, without_docstring
from data_collators.names import identifiers

SNIPPET = b'''import os
from re import compile as regex

class Stack(Base):
    """A stack of items."""

    def __init__(self, items=None, *rest, limit: int = 3, **extra):
        self.data = items or []

    def push(self, item):
        # push an item
        self.data.append(item)
        print(len(self.data), end="push")
        return os.path.join(item)

def total(node):
    """Sum \xc3\xa9verything."""
    size = node.data
    return Stack(size).push(item=size)
'''


def occurrences(code, name):
    return [
        (found.kind, found.name_id) for found in identifiers(code, "python") if code[found.start : found.end] == name
    ]


def test_names_and_kinds():
    found = {code_name(found): found.kind for found in identifiers(SNIPPET, "python")}
    assert found[b"Stack"] == "call"  # its last occurrence
    assert occurrences(SNIPPET, b"Stack")[0][0] == "class"
    assert occurrences(SNIPPET, b"__init__") == [("function", occurrences(SNIPPET, b"__init__")[0][1])]
    arguments = {code_name(f) for f in identifiers(SNIPPET, "python") if f.kind == "argument"}
    assert arguments >= {b"self", b"items", b"limit", b"item", b"node"}
    assert found[b"Base"] == "variable"


def code_name(found):
    return SNIPPET[found.start : found.end]


def test_one_name_has_one_id_wherever_it_stands():
    ids = {name_id for _, name_id in occurrences(SNIPPET, b"data")}
    assert len(occurrences(SNIPPET, b"data")) == 4 and len(ids) == 1
    everything = identifiers(SNIPPET, "python")
    assert sorted({found.name_id for found in everything}) == list(range(1, len({*map(code_name, everything)}) + 1))


@pytest.mark.parametrize("name", [b"print", b"len", b"int", b"None", b"os", b"regex", b"compile", b"end", b"re"])
def test_builtins_imports_and_keyword_names_stay(name):
    assert occurrences(SNIPPET, name) == []


def test_keyword_argument_names_of_calls_stay_but_their_values_do_not():
    code = b"def f(item):\n    return g(item=item)\n"
    spans = [
        (found.start, found.end) for found in identifiers(code, "python") if code[found.start : found.end] == b"item"
    ]
    assert spans == [(6, 10), (31, 35)]


def test_comments_and_literals_are_no_identifiers():
    marked = {SNIPPET[found.start - 2 : found.end] for found in identifiers(SNIPPET, "python")}
    assert not any(text.startswith((b'"', b"# ")) for text in marked)
    assert occurrences(b'x = f"{y} z"', b"y") == [("variable", 2)]
    assert occurrences(b'x = f"{y} z"', b"z") == []


def test_functions_of_the_snippet():
    found = {function.name: function for function in functions(SNIPPET, "python")}
    assert {name: function.kind for name, function in found.items()} == {
        "Stack": "class",
        "__init__": "method",
        "push": "method",
        "total": "function",
    }
    assert found["total"].docstring == "Sum éverything."
    assert found["Stack"].docstring == "A stack of items."
    assert found["push"].docstring == ""
    assert found["push"].line == 10
    assert without_docstring(SNIPPET, found["total"]) == (
        "def total(node):\n    size = node.data\n    return Stack(size).push(item=size)"
    )
    assert hard_positive(SNIPPET, found["total"]) == "size = node.data"
    assert hard_positive(SNIPPET, found["push"]) == (
        '# push an item\nself.data.append(item)\nprint(len(self.data), end="push")'
    )


NESTED = b'''@cache
@wraps(f)
async def outer(x):
    """Outer.

    More.
    """
    def inner(y):
        return y
    if x: return 1
    return (
        inner(x)
    )
'''


def test_decorators_belong_and_inner_returns_stay():
    outer, inner = functions(NESTED, "python")
    assert (outer.name, outer.line, inner.name, inner.kind) == ("outer", 1, "inner", "function")
    assert without_docstring(NESTED, outer).startswith("@cache\n@wraps(f)\nasync def outer(x):\n    def inner(y):")
    assert hard_positive(NESTED, outer) == "def inner(y):\n    return y\nif x:"


@pytest.mark.parametrize(
    "body",
    [
        'x = "not a docstring"\n    return x',
        'f"not {a} docstring"\n    return 1',
        'b"bytes"\n    return 1',
        '"a" + "b"\n    return 1',
    ],
)
def test_what_is_no_docstring(body):
    (function,) = functions(f"def f(a):\n    {body}\n".encode(), "python")
    assert function.docstring == ""


def test_docstring_alone_leaves_nothing():
    code = b'def f():\n    """Doc."""\n'
    (function,) = functions(code, "python")
    assert without_docstring(code, function) == "def f():"
    assert hard_positive(code, function) == ""


def test_one_line_function():
    code = b"def f(x): return x\n"
    (function,) = functions(code, "python")
    assert without_docstring(code, function) == "def f(x): return x"
    assert hard_positive(code, function) == ""


@pytest.mark.parametrize(
    "code", [b"", b"def", b"class :\n  def f(:", b"\xff\xfe\x00", b"(" * 50_000, b"x = 1\r\ndef f():\r\n\treturn\r\n"]
)
def test_broken_code_neither_raises_nor_leaves_the_text(code):
    for found in identifiers(code, "python"):
        assert 0 <= found.start < found.end <= len(code)
    for function in functions(code, "python"):
        without_docstring(code, function)
        hard_positive(code, function)


def test_unknown_language_names_the_nearest():
    with pytest.raises(ValueError, match=r"unknown language 'pyton'. Did you mean 'python'\?"):
        identifiers(b"", "pyton")


def test_every_function_of_real_code_is_cut_cleanly(sources):
    """On real modules: the cut pieces are substrings line by line, and docstrings are gone."""
    seen = 0
    for code in sources:
        lines = {line.strip() for line in code.decode().splitlines()}
        for function in functions(code, "python"):
            whole = without_docstring(code, function)
            assert {line.strip() for line in whole.splitlines()} <= lines
            if function.docstring_span and function.kind != "class":
                seen += 1
                literal = code[slice(*function.docstring_span)].decode()
                assert literal not in whole
    assert seen > 100, "no documented function: nothing is tested"


BROKEN_RUBY = b"""class Vault
  # Open it.
  private def unlock(code)
    code == @secret
  end

f() int { return limit   # Makefunction one.
  private_class_method
end
)
    new(kind)
  end

  def close; @open = false; end
  privatelose def self.build(kind"""


def test_a_return_behind_the_body_is_not_its_own():
    """Found by tests/fuzz: a class goes on behind its body."""
    found = functions(BROKEN_RUBY, "ruby")
    assert [function.name for function in found][0] == "Vault"
    for function in found:
        assert all(function.body.start <= start < end <= function.body.end for start, end in function.returns)
