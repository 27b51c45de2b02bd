"""Write what coderep finds in the snippets of a golden file, for a person to check: `python tests/golden/show.py java`.

A golden file holds snippets under `#### title` lines. Names are marked with the first letters of their kind,
`«c:Stack»` (cl: `c`lass, `f`unction, `a`rgument, `v`ariable, a`t`tribute, call `k`); unmarked names stay. Below each
snippet, a line of JSON for each function, method or class: parts of the text that its spans cut out.
The script rewrites the marks and lines in place, so that `git diff` shows what changed; tests/test_golden.py compares.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

from data_collators.definitions import functions, hard_positive
from data_collators.names import identifiers

FOLDER = Path(__file__).parent
MARKS = {"class": "c", "function": "f", "argument": "a", "variable": "v", "attribute": "t", "call": "k"}
_MARK = re.compile(r"«[cfavtk]:([^«»]*)»")
_JSON = ">>>> "


def sections(text: str) -> list[tuple[str, str, list[str]]]:
    """(title, source with its marks, lines of JSON) of each snippet."""
    found = []
    for part in re.split(r"(?m)^#### ", text)[1:]:
        title, _, rest = part.partition("\n")
        lines = rest.rstrip("\n").split("\n")
        json_lines = [line for line in lines if line.startswith(_JSON)]
        found.append((title, "\n".join(line for line in lines if not line.startswith(_JSON)) + "\n", json_lines))
    return found


def source_of(marked: str) -> str:
    """The snippet without marks."""
    return _MARK.sub(r"\1", marked)


def marked_names(source: str, language: str) -> str:
    """The snippet with its names marked."""
    code, pieces, position = source.encode(), [], 0
    for start, end, kind, _ in identifiers(code, language):
        pieces += [code[position:start], f"«{MARKS[kind]}:".encode(), code[start:end], "»".encode()]
        position = end
    return b"".join([*pieces, code[position:]]).decode()


def function_lines(source: str, language: str) -> list[str]:
    """A line of JSON for each definition."""
    code, lines = source.encode(), []
    for found in functions(code, language):
        record = {
            "kind": found.kind,
            "name": found.name,
            "doc": found.docstring,
            "signature": code[slice(*found.signature)].decode(),
            "body": code[slice(*found.body)].decode(),
            "returns": [code[slice(*span)].decode() for span in found.returns],
            "hard_positive": hard_positive(code, found),
        }
        record = {key: value for key, value in record.items() if value}
        lines.append(_JSON + json.dumps(record, ensure_ascii=False))
    return lines


def render(text: str, language: str) -> str:
    """A golden file with the marks and lines that belong to its snippets now."""
    parts = []
    for title, marked, _ in sections(text):
        source = source_of(marked)
        lines = "".join(f"{line}\n" for line in function_lines(source, language))
        parts.append(f"#### {title}\n{marked_names(source, language)}{lines}")
    return "".join(parts)


if __name__ == "__main__":
    for name in sys.argv[1:]:
        path = FOLDER / f"{name}.txt"
        path.write_text(render(path.read_text(encoding="utf-8"), name), encoding="utf-8")
