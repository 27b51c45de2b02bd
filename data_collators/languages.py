"""What the builders know about each programming language: a table, so that a language is an entry, not a branch.

An entry here says where the grammar is and how doc comments look; `queries/<language>/` says the rest in tree-sitter's
query language, over the node types of the official grammars:

- `names.scm` captures names by their kind (`@class`, `@function`, `@argument`, `@variable`, `@attribute`, `@call`),
  `@keep` (this occurrence stays), `@import` (the name stays wherever it stands), and `@imports` (so do all names in
  it). The first of `@keep`, `@import`, `@class`, `@function`, `@argument`, `@call`, `@attribute`, `@variable` that
  captures a node decides.
- `functions.scm` captures definitions as `@function`, `@method` or `@class` together with their `@name` and `@body`
  (and `@start`, where something before the node belongs to it), `@container` (its functions are methods), `@scope`
  (its return statements are its own), `@return`, `@comment` and `@docstring`. Several patterns may match one
  definition, such as one with and one without its `export`: the widest counts.
- `locals.scm` captures where functions give names: `@local`, `@free` (not the function's own after all), `@type` (a
  type of whatever name), `@shorthand` (stands for `name: name`). Parameters are those of `names.scm`.
- `reserved.txt` lists names that stay wherever they stand, such as builtins.

What languages have in common stands in a folder of its own, which their entries name (`shared`); it is read first.
"""

from __future__ import annotations

from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache
from pathlib import Path

QUERIES = Path(__file__).parent / "queries"


@dataclass(frozen=True)
class DocComments:
    """How doc comments above a declaration look.

    Args:
        openings: How a comment must begin to be a doc comment.
        lines: Comments that begin so end with their line; several on consecutive lines are one doc comment.
        blank_lines: Most blank lines between the comment and the declaration.
    """

    openings: tuple[bytes, ...]
    lines: tuple[bytes, ...] = ()
    blank_lines: int = 0


@dataclass(frozen=True)
class Language:
    """One language.

    Args:
        name: Its name in data sets and on the command line.
        grammars: Grammars as `package:function`. The first is used; the others are tried on code that it cannot read to
            the end (TSX), and the one with the fewest errors counts.
        suffixes: File suffixes, lower case, with the dot.
        docs: Doc comments above declarations; None where they are strings inside the body.
        literals: Node types of literals and comments (numbers, strings): what the paper counts as not code.
        prefix: What the grammar needs before a bare function.
        shared: Folder of queries that hold for other languages too.
    """

    name: str
    grammars: tuple[str, ...]
    suffixes: tuple[str, ...]
    docs: DocComments | None
    literals: tuple[str, ...]
    prefix: bytes = b""
    shared: str = ""

    @property
    def reserved(self) -> frozenset[bytes]:
        """Names that stay wherever they stand."""
        return _reserved(self)

    def read(self, file: str) -> str:
        """Text of a file of queries, behind what it shares with other languages.

        Raises:
            FileNotFoundError: A folder lacks the file.
        """
        folders = [QUERIES / folder for folder in (self.shared, self.name) if folder]
        return "\n".join((folder / file).read_text(encoding="utf-8") for folder in folders)


@cache
def _reserved(language: Language) -> frozenset[bytes]:
    lines = language.read("reserved.txt").splitlines()
    return frozenset(word.encode() for line in lines if not line.startswith("#") for word in line.split())


_JAVADOC = DocComments(openings=(b"/**",), blank_lines=1)

_TABLE = (
    Language(
        name="python",
        grammars=("tree_sitter_python:language",),
        suffixes=(".py", ".pyi"),
        docs=None,
        literals=("string", "integer", "float", "comment"),
    ),
    Language(
        name="java",
        grammars=("tree_sitter_java:language",),
        suffixes=(".java",),
        docs=_JAVADOC,
        literals=(
            "string_literal",
            "character_literal",
            "decimal_integer_literal",
            "hex_integer_literal",
            "octal_integer_literal",
            "binary_integer_literal",
            "decimal_floating_point_literal",
            "hex_floating_point_literal",
            "line_comment",
            "block_comment",
        ),
    ),
    Language(
        name="javascript",
        shared="ecmascript",
        grammars=("tree_sitter_javascript:language",),
        suffixes=(".js", ".jsx", ".mjs", ".cjs"),
        docs=_JAVADOC,
        literals=(
            "string",
            "template_string",
            "number",
            "regex",
            "jsx_text",
            "comment",
            "html_comment",
            "hash_bang_line",
        ),
    ),
    Language(
        name="typescript",
        shared="ecmascript",
        grammars=("tree_sitter_typescript:language_typescript", "tree_sitter_typescript:language_tsx"),
        suffixes=(".ts", ".tsx", ".mts", ".cts"),
        docs=_JAVADOC,
        literals=(
            "string",
            "template_string",
            "template_literal_type",
            "number",
            "regex",
            "jsx_text",
            "comment",
            "html_comment",
            "hash_bang_line",
        ),
    ),
    Language(
        name="csharp",
        grammars=("tree_sitter_c_sharp:language",),
        suffixes=(".cs",),
        docs=DocComments(openings=(b"///", b"/**"), lines=(b"///",)),
        literals=(
            "string_literal",
            "verbatim_string_literal",
            "raw_string_literal",
            "interpolated_string_expression",
            "character_literal",
            "integer_literal",
            "real_literal",
            "comment",
        ),
    ),
    Language(
        name="c",
        grammars=("tree_sitter_c:language",),
        suffixes=(".c", ".h"),
        docs=DocComments(openings=(b"/*", b"//"), lines=(b"//",)),
        literals=("string_literal", "char_literal", "number_literal", "system_lib_string", "comment"),
    ),
    Language(
        name="ruby",
        grammars=("tree_sitter_ruby:language",),
        suffixes=(".rb", ".rake"),
        docs=DocComments(openings=(b"#", b"=begin"), lines=(b"#",)),
        literals=(
            "string",
            "string_array",
            "subshell",
            "heredoc_beginning",
            "heredoc_body",
            "regex",
            "character",
            "simple_symbol",
            "delimited_symbol",
            "symbol_array",
            "integer",
            "float",
            "rational",
            "complex",
            "comment",
            "uninterpreted",
        ),
    ),
    Language(
        name="php",
        grammars=("tree_sitter_php:language_php",),
        suffixes=(".php",),
        prefix=b"<?php ",
        docs=_JAVADOC,
        literals=(
            "string",
            "encapsed_string",
            "shell_command_expression",
            "heredoc",
            "nowdoc",
            "integer",
            "float",
            "text",
            "comment",
        ),
    ),
    Language(
        name="go",
        grammars=("tree_sitter_go:language",),
        suffixes=(".go",),
        docs=DocComments(openings=(b"//", b"/*"), lines=(b"//",)),
        literals=(
            "interpreted_string_literal",
            "raw_string_literal",
            "rune_literal",
            "int_literal",
            "float_literal",
            "imaginary_literal",
            "comment",
        ),
    ),
    Language(
        name="rust",
        grammars=("tree_sitter_rust:language",),
        suffixes=(".rs",),
        docs=DocComments(openings=(b"///", b"/**"), lines=(b"///",)),
        literals=(
            "string_literal",
            "raw_string_literal",
            "char_literal",
            "integer_literal",
            "float_literal",
            "line_comment",
            "block_comment",
        ),
    ),
)
LANGUAGES: dict[str, Language] = {language.name: language for language in _TABLE}


def language_table(name: str) -> Language:
    """The entry of a language.

    Raises:
        ValueError: The language is not in the table.
    """
    if name in LANGUAGES:
        return LANGUAGES[name]
    close = get_close_matches(name, LANGUAGES, n=1)
    hint = f"Did you mean {close[0]!r}? " if close else ""
    raise ValueError(f"unknown language {name!r}. {hint}Languages: {', '.join(sorted(LANGUAGES))}.")


def suffix_table(names: list[str] | None = None) -> dict[str, str]:
    """File suffix -> language, for the named languages or all.

    Raises:
        ValueError: A language is not in the table.
    """
    return {suffix: name for name in names or LANGUAGES for suffix in language_table(name).suffixes}
