"""Rows of published sets, as their authors or the Hub ship them, made into retrieval sets."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from data_collators.definitions import functions, without_docstring

from .codenet import Solution, code2code
from .preprocessing import codesage_tokens
from .ranking import Relevance
from .sets import TEXT_TO_CODE, RetrievalSet


def by_url(
    name: str, queries: Iterable[Mapping[str, Any]], documents: Iterable[Mapping[str, Any]], language: str
) -> RetrievalSet:
    """Rows of CodeSearchNet and its offspring: texts and code that belong together have the same `url`.

    A text is its published tokens joined by blanks. For Python, `code` holds the docstring, that is the answer: it is
    cut out. The published tokens, which have none, are in `joined_tokens`.
    """
    problems: Counter[str] = Counter()
    pool = list(documents)
    places: dict[str, dict[int, float]] = defaultdict(dict)
    for place, row in enumerate(pool):
        places[_field(row, "url", name)][place] = 1.0
    rows = list(queries)
    kept = [(number, row) for number, row in enumerate(rows) if places.get(_field(row, "url", name))]
    problems["queries without a relevant document"] += len(rows) - len(kept)
    tokens = [row.get("function_tokens") or row.get("code_tokens") for row in pool]
    codes = [_field(row, ("function", "code", "original_string"), name) for row in pool]
    return RetrievalSet(
        name=name,
        task=TEXT_TO_CODE,
        query_ids=[f"text {number}" for number, _ in kept],
        queries=[codesage_tokens(_field(row, ("docstring_tokens", "docstring"), name)) for _, row in kept],
        query_languages=[""] * len(kept),
        document_ids=[f"code {number}" for number in range(len(pool))],
        documents=[undocumented(code) for code in codes] if language == "python" else codes,
        document_languages=[language] * len(pool),
        relevance=Relevance.from_dicts([places[row["url"]] for _, row in kept]),
        joined_tokens=[codesage_tokens(row) for row in tokens] if None not in tokens else None,
        problems={problem: count for problem, count in problems.items() if count},
    )


def cosqa(name: str, queries: Sequence[Mapping[str, Any]], pool: Mapping[str, int]) -> RetrievalSet:
    """CoSQA's own files: `code_idx_map.txt` is {code: number}; a query names its code's number and a label.

    The published script splits the codes of the map at blanks, docstrings and all; so does `joined_tokens`.
    """
    places: dict[int, dict[int, float]] = defaultdict(dict)
    for place, number in enumerate(pool.values()):
        places[number][place] = 1.0
    right = [row for row in queries if int(row.get("label", 1)) == 1]
    kept = [row for row in right if places.get(row.get("retrieval_idx"))]
    problems = {
        "pairs judged wrong (label 0)": len(queries) - len(right),
        "queries without a relevant document": len(right) - len(kept),
    }
    return RetrievalSet(
        name=name,
        task=TEXT_TO_CODE,
        query_ids=[str(row["idx"]) for row in kept],
        queries=[_field(row, "doc", name) for row in kept],
        query_languages=[""] * len(kept),
        document_ids=[f"code {place}" for place in range(len(pool))],
        documents=list(pool),
        document_languages=["python"] * len(pool),
        relevance=Relevance.from_dicts([places[row["retrieval_idx"]] for row in kept]),
        joined_tokens=[codesage_tokens(code) for code in pool],
        problems={problem: count for problem, count in problems.items() if count},
    )


def poj104(name: str, rows: Iterable[Mapping[str, Any]]) -> RetrievalSet:
    """POJ-104: every program searches for the others with its label."""
    solutions = []
    for place, row in enumerate(rows):
        identity = str(row.get("index", row.get("id", place)))
        solutions.append(Solution(identity, str(_field(row, "label", name)), "cpp", _field(row, "code", name)))
    return code2code(name, solutions, Counter())


def coir(
    name: str,
    documents: Iterable[Mapping[str, Any]],
    queries: Iterable[Mapping[str, Any]],
    judgements: Iterable[Mapping[str, Any]],
    language: str,
) -> RetrievalSet:
    """The three tables of a text-to-code set of CoIR; a score of 0 is no relevance."""
    pool = {str(row["_id"]): row["text"] for row in documents}
    places = {identity: place for place, identity in enumerate(pool)}
    texts = {str(row["_id"]): row["text"] for row in queries}
    judged: dict[str, dict[int, float]] = defaultdict(dict)
    for row in judgements:
        query, document = str(row["query-id"]), str(row["corpus-id"])
        if row["score"] > 0 and query in texts and document in places:
            judged[query][places[document]] = float(row["score"])
    return RetrievalSet(
        name=name,
        task=TEXT_TO_CODE,
        query_ids=list(judged),
        queries=[texts[identity] for identity in judged],
        query_languages=[""] * len(judged),
        document_ids=list(pool),
        documents=list(pool.values()),
        document_languages=[language] * len(pool),
        relevance=Relevance.from_dicts(list(judged.values())),
    )


def code_search_net_row(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row of code_search_net on the Hub with the names of the original files."""
    names = {"url": "func_code_url", "code": "func_code_string", "code_tokens": "func_code_tokens"}
    return {name: row[theirs] for name, theirs in names.items()}


def undocumented(code: str) -> str:
    """A Python function without its docstrings. Code that is not one definition from end to end stays as it is."""
    whole = code.encode(errors="replace")
    found = functions(whole, "python")
    if not found or found[0].span.start > 0 or found[0].span.end < len(whole.rstrip()):
        return code
    if found[0].docstring_span is None and not found[0].inner_docstrings:
        return code
    return without_docstring(whole, found[0])


def _field(row: Mapping[str, Any], names: str | tuple[str, ...], where: str) -> Any:
    """The first of some fields that a row has."""
    names = (names,) if isinstance(names, str) else names
    for name in names:
        if row.get(name) is not None:
            return row[name]
    raise ValueError(f"a row of {where!r} has no {' or '.join(names)}, only {', '.join(row)}. Check its files.")
