"""What the builders know about each programming language: a table, so that a language is an entry, not a branch.

Node names are those of the official tree-sitter grammars.
"""

from __future__ import annotations

import builtins
from dataclasses import dataclass, field
from difflib import get_close_matches


@dataclass(frozen=True)
class Language:
    """Node types and rules of one language.

    Args:
        grammar: Importable grammar package.
        suffixes: File suffixes, lower case, with the dot.
        identifiers: Node types that are names.
        definitions: (parent node type, field) of the name that a definition gives -> its kind.
        references: (parent node type, field) of a name in use -> its kind; any other name is a variable.
        keeps: (parent node type, field or "") under which a name is never an identifier of the document.
        imports: Node types of import statements; the names they mention, and their uses, stay.
        reserved: Names that stay wherever they stand, such as builtins.
        functions: Node types of functions and methods.
        classes: Node types of classes.
        wrappers: Node types that enclose a definition and belong to it, such as decorators.
        body: Field of a definition that holds its body.
        returns: Node types of return statements.
        nested: Node types whose inside has its own return statements.
        docstring: Node types of a docstring: a statement and the string it consists of; None where doc comments
            stand above the declaration.
    """

    grammar: str
    suffixes: tuple[str, ...]
    identifiers: frozenset[str]
    definitions: dict[tuple[str, str], str]
    references: dict[tuple[str, str], str]
    functions: frozenset[str]
    classes: frozenset[str]
    body: str
    returns: frozenset[str]
    nested: frozenset[str]
    keeps: frozenset[tuple[str, str]] = frozenset()
    imports: frozenset[str] = frozenset()
    reserved: frozenset[str] = frozenset()
    wrappers: frozenset[str] = frozenset()
    docstring: tuple[str, str] | None = field(default=None)


_PYTHON_PARAMETERS = ("parameters", "lambda_parameters", "typed_parameter", "list_splat_pattern")

LANGUAGES: dict[str, Language] = {
    "python": Language(
        grammar="tree_sitter_python",
        suffixes=(".py", ".pyi"),
        identifiers=frozenset({"identifier"}),
        definitions={
            ("class_definition", "name"): "class",
            ("function_definition", "name"): "function",
            ("default_parameter", "name"): "argument",
            ("typed_default_parameter", "name"): "argument",
            **{(parent, ""): "argument" for parent in _PYTHON_PARAMETERS},
        },
        references={("attribute", "attribute"): "attribute", ("call", "function"): "call"},
        keeps=frozenset({("keyword_argument", "name"), ("aliased_import", "name")}),
        imports=frozenset({"import_statement", "import_from_statement", "future_import_statement"}),
        # Builtins and their types are the language, not the document; `_` is a throw-away name.
        reserved=frozenset(name for name in dir(builtins)) | {"_", "__file__", "__all__", "__version__"},
        functions=frozenset({"function_definition"}),
        classes=frozenset({"class_definition"}),
        wrappers=frozenset({"decorated_definition"}),
        body="body",
        returns=frozenset({"return_statement"}),
        nested=frozenset({"function_definition", "class_definition", "lambda"}),
        docstring=("expression_statement", "string"),
    ),
}


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
