"""Rows that flow through the builders. The columns of every data set come from these classes.

Offsets are bytes of the UTF-8 text, end-exclusive.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np

# A column of augmented pairs: what a text is. The last two kinds are codes that stand for a text.
TEXT_KIND = "text_kind"
SUMMARY, QUERY, RENAMED, ACROSS = "summary", "query", "renamed", "across"
OF_CODES = (RENAMED, ACROSS)


@dataclass(frozen=True, slots=True)
class SourceFile:
    """One file of source code. `repo` is the unit of splitting: no repository sits on both sides of a split.

    `docstring` is set where the text is a single function whose doc comment stands apart, as in data sets of pairs.
    """

    id: str
    text: str
    language: str
    repo: str
    path: str
    license: str = ""
    docstring: str = ""


@dataclass(frozen=True, slots=True)
class Stage1Row:
    """One tokenized document for masked language modelling; token and identifier ids are int32.

    `identifier_ids` runs along `input_ids`: 0 where no identifier stands, k at every token of every occurrence of
    the k-th distinct identifier of the document.
    """

    input_ids: np.ndarray
    identifier_ids: np.ndarray
    language: str
    repo: str
    path: str


@dataclass(frozen=True, slots=True)
class PairRow:
    """One text-code pair for contrastive learning and retrieval.

    `code` is the function without its docstring. `code_body`, the hard positive, also lacks the signature and the
    return statements; it is empty when nothing is left, and then `code` stands in for it. `code_spans` says where in
    `code` they are: start and end of the body, then of each return statement, for other hard positives
    (`hard_positives`).
    """

    id: str
    text: str
    code: str
    code_body: str
    docstring: str
    language: str
    kind: str
    name: str
    repo: str
    path: str
    license: str = ""
    code_spans: tuple[int, ...] = ()


def columns(row_class: type) -> list[str]:
    """Column names of a row class, in order."""
    return [field.name for field in fields(row_class)]
