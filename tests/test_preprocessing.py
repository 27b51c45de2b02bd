"""The published preprocessing: quirks, a slow version on the standard library's tokenizer, and broken code."""

from __future__ import annotations

import io
import random
import sys
import tokenize
from pathlib import Path

import pytest

from trainers.evaluation.preprocessing import codesage_code, codesage_query, codesage_tokens

STDLIB = Path(tokenize.__file__).parent
NINE = ("python", "java", "javascript", "typescript", "csharp", "c", "ruby", "php", "go")
# Pieces that break code where the rules have their corners.
PIECES = (
    *("'", '"', "\\", "\n", "\r\n", "\r", "#", "//", "/*", "*/", " ", "    ", "\t", "\f", "a", "f", "r", "1", "x = "),
    *("(", ")", "]", '"""', "'''", "def f():\n", "\\\n", "\\\r\n", "é", "\xa0", "rb", "ur", "`", "\n    ", "\n  "),
)


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ('def f(a):\n    """Doc."""\n    return a  # why\n', "def f(a): return a"),
        ('"""Module."""\nx = 1\n', "x = 1"),
        ("def f():\n    r'''Raw.'''\n    pass", "def f(): pass"),
        ("def f():\n    ur'''Not a prefix.'''\n    pass", "def f(): ur'''Not a prefix.''' pass"),
        # Any string that begins a statement goes, wherever it is, and so does the first of the file.
        ("x = 1\n'left over'\ny = 2", "x = 1 y = 2"),
        ("','.join(x)\n", ".join(x)"),
        # A string in column 0 goes even inside a call.
        ("f(\n'a',\n 'b')", "f( , 'b')"),
        # After a blank line, a comment or the end of a block it stays.
        ('class A:\n    x = 1\n\n    """Stays."""\n', 'class A: x = 1 """Stays."""'),
        ('if x:\n    if y:\n        z\n    """Stays."""\n', 'if x: if y: z """Stays."""'),
        # Before the first statement of a block a comment changes nothing: the indentation comes after it.
        ('def f():\n    # why\n    """Goes."""\n    pass', "def f(): pass"),
        # The backslash goes with its line break, and nothing takes its place.
        ("return\\\nx\n", "returnx"),
        ("a = 1 + \\\n  2\n", "a = 1 + 2"),
        # Marks inside strings are none, and f-strings are strings as before Python 3.12.
        ('x = "# no comment"\n', 'x = "# no comment"'),
        ('x = f"{a["b"]} # no comment"', 'x = f"{a["b"]} # no comment"'),
        ("x = '''a\n# b\n'''\n", "x = '''a # b '''"),
        # A quote that its line does not close is a sign like any other.
        ("it's # gone\n", "it's"),
        # Python 2, and number literals that newer tokenizers refuse.
        ("print 'a', 0777, 10L # old\n", "print 'a', 0777, 10L"),
    ],
)
def test_python(code, expected):
    assert codesage_code(code, "python") == expected


@pytest.mark.parametrize(
    "code", ["f(1\n# stays", "x = '''# stays\n", "if x:\n    a\n  b # stays\n", "x = 1 \\", ") # stays\n"]
)
def test_python_that_the_old_tokenizer_refuses_stays(code):
    assert codesage_code(code, "python") == " ".join(code.split())


@pytest.mark.parametrize("language", [language for language in NINE if language not in ("python", "ruby")])
@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("int x; // why\nint y;", "int x; int y;"),
        ("a/* b\n * c */d", "a d"),  # a comment becomes a blank
        ('s = "// no"; // yes', 's = "// no";'),
        ("c = '\"'; // yes", "c = '\"';"),
        (r's = "\"// no"; // yes', r's = "\"// no";'),
        ("s = `https://cut.here`", "s = `https:"),  # template literals and raw strings do not protect
        ("x = 1; # stays", "x = 1; # stays"),
        ("it's // kept\nbut that's // gone", "it's // kept but that's"),  # an apostrophe protects up to the next one
        ("a /* never closed", "a /* never closed"),
        ("a /* never closed // gone", "a /* never closed"),
        ("a //", "a"),
        ('a " // gone', 'a "'),
    ],
)
def test_languages_with_slashes(code, expected, language):
    assert codesage_code(code, language) == expected


def test_ruby_and_unknown_languages_keep_comments():
    code = "x = 1 # why\n=begin\nDoc.\n=end\n  y = '//'\n"
    assert codesage_code(code, "ruby") == codesage_code(code, "") == "x = 1 # why =begin Doc. =end y = '//'"


def test_other_languages_lose_slashes_as_published():
    assert codesage_code("let x = 1; // why", "rust") == "let x = 1;"


def test_tokens_and_queries():
    assert codesage_tokens(["def", "f", "(", ")", ":", "return", "'a\n  b'"]) == "def f ( ) : return 'a\n  b'"
    assert codesage_tokens("def f():\n    # stays\n    return 1") == "def f(): # stays return 1"
    assert codesage_query("  how to\n\tsort a list ") == "how to sort a list"
    assert codesage_query(["Sort", "a", "list", "."]) == "Sort a list ."


def slow_python(code):
    """By the standard library's tokenizer: the blanks before each token on its line, then its text, if it is kept."""
    kept, before, row, column = [], tokenize.INDENT, 0, 0
    try:
        for token in tokenize.generate_tokens(io.StringIO(code).readline):
            column = 0 if token.start[0] > row else column
            kept.append(" " * max(token.start[1] - column, 0))
            first = before in (tokenize.INDENT, tokenize.NEWLINE) or token.start[1] == 0
            gone = token.type == tokenize.COMMENT or (token.type == tokenize.STRING and first)
            kept.append("" if gone else token.string)
            before, (row, column) = token.type, token.end
    except (tokenize.TokenError, SyntaxError):
        kept = [code]
    return " ".join("".join(kept).split())


def slow_slashes(code):
    """Letter by letter; looks ahead for the end of everything that opens."""
    kept, at = [], 0
    while at < len(code):
        end = 0
        if code.startswith("//", at):
            end = len(code[at:].split("\n")[0]) + at
        elif code.startswith("/*", at) and "*/" in code[at + 2 :]:
            end = code.index("*/", at + 2) + 2
        if end:
            kept.append(" ")
            at = end
            continue
        if code[at] in "'\"":
            end = at + 1
            while end < len(code) and code[end] != code[at]:
                end += 2 if code[end] == "\\" else 1
        stop = end + 1 if end and end < len(code) else at + 1
        kept.append(code[at:stop])
        at = stop
    return " ".join("".join(kept).split())


old_tokenizer = pytest.mark.skipif(sys.version_info >= (3, 12), reason="Python's own tokenizer is another one since")


def mixtures(seed, count):
    rng = random.Random(seed)
    return ["".join(rng.choices(PIECES, k=rng.randrange(1, 30))) for _ in range(count)]


@old_tokenizer
def test_python_equals_the_slow_version_on_mixtures():
    codes = mixtures(0, 3000)
    assert {code: codesage_code(code, "python") for code in codes} == {code: slow_python(code) for code in codes}
    whole = [code for code in codes if slow_python(code) != " ".join(code.split())]
    assert len(whole) > 300  # enough that are not refused


@old_tokenizer
@pytest.mark.parametrize("name", ["argparse.py", "textwrap.py", "heapq.py", "tokenize.py"])
def test_python_equals_the_slow_version_on_files(name):
    code = (STDLIB / name).read_text(encoding="utf-8")
    for text in (code, code[: len(code) // 3], code[len(code) // 2 :], code.replace("\n", "\r\n")):
        assert codesage_code(text, "python") == slow_python(text)
    assert len(codesage_code(code, "python")) < 0.9 * len(" ".join(code.split()))


def test_slashes_equal_the_slow_version():
    codes = mixtures(1, 3000)
    assert {code: codesage_code(code, "java") for code in codes} == {code: slow_slashes(code) for code in codes}


BREAKERS = ("\\'", '\\"', "/*", "'\\\n", '"""', "(", "  x\n", "#", "//", "'", "\x00", "\ud800")


@pytest.mark.parametrize("language", NINE)
def test_never_raises(language):
    for piece in BREAKERS:
        assert "\n" not in codesage_code(f"x {piece}\n{piece} y" + piece * 99, language)


@pytest.mark.timeout(20)
@pytest.mark.parametrize("language", ["python", "java"])
@pytest.mark.parametrize("piece", BREAKERS)
def test_takes_linear_time(language, piece):
    """What would take a pattern that looks ahead from every mark minutes."""
    codesage_code(piece * (100_000 // len(piece)), language)
