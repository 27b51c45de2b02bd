"""Retrieval sets: queries, a corpus, and which documents are relevant to which query.

Read from folders in the layout of BEIR (arXiv 2104.08663), from our own data sets of pairs, and from the official files
of published sets (`official`). What is wrong with a set is counted, said, and goes into the results.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from data_collators.builders.store import STATS, load_split, load_stats
from data_collators.builders.tables import language_name
from data_collators.files import json_lines

from ..held_out import held_out_rows
from .preprocessing import codesage_tokens
from .ranking import Relevance

TEXT_TO_CODE, CODE_TO_CODE = "text-to-code retrieval", "code-to-code retrieval"
CORPUS, QUERIES, QRELS, META = "corpus.jsonl", "queries.jsonl", "qrels.tsv", "meta.json"


@dataclass(frozen=True)
class RetrievalSet:
    """Queries, a corpus, and the relevant documents of each query.

    Args:
        name: Name of the set.
        task: `TEXT_TO_CODE` or `CODE_TO_CODE`.
        query_ids: One a query.
        queries: Text or code.
        query_languages: Programming language of each query, "" for a text.
        document_ids: One a document. A query whose id and text are also a document's is that document: it is dropped
            from its own ranking.
        documents: Code.
        document_languages: Programming language of each document, "" if unknown.
        relevance: Relevant documents of each query, by their place in `documents`.
        same_language: Rank for each query only the documents in its language.
        joined_tokens: The documents as their published tokens joined by blanks, where the set has them.
        problems: What is wrong with the set -> how often.
        split: Part of a larger set that this is, such as "test"; "" if of none that is known. The revision, which is a
            hash of the content, does not depend on it.
    """

    name: str
    task: str
    query_ids: Sequence[str]
    queries: Sequence[str]
    query_languages: Sequence[str]
    document_ids: Sequence[str]
    documents: Sequence[str]
    document_languages: Sequence[str]
    relevance: Relevance
    same_language: bool = False
    joined_tokens: Sequence[str] | None = None
    problems: dict[str, int] = field(default_factory=dict)
    split: str = ""

    def __post_init__(self) -> None:
        if not self.documents:
            raise ValueError(f"set {self.name!r} has no documents, so nothing can be ranked. Check its corpus.")
        if not self.queries or not len(self.relevance.columns):
            raise ValueError(f"set {self.name!r} has no query with a relevant document. Check its queries and qrels.")

    @cached_property
    def revision(self) -> str:
        """Hash of everything that the ranking depends on."""
        digest = hashlib.sha256()
        texts = (self.query_ids, self.queries, self.query_languages, self.document_ids, self.documents)
        for part in (*texts, self.document_languages, self.joined_tokens or (), (self.task, self.same_language)):
            digest.update(json.dumps(list(part)).encode())
        for array in (self.relevance.offsets, self.relevance.columns, self.relevance.gains):
            digest.update(np.ascontiguousarray(array).tobytes())
        return digest.hexdigest()[:16]

    @cached_property
    def own_documents(self) -> np.ndarray:
        """Place of each query's own document in the corpus, -1 where there is none."""
        places = {pair: place for place, pair in enumerate(zip(self.document_ids, self.documents, strict=True))}
        pairs = zip(self.query_ids, self.queries, strict=True)
        return np.array([places.get(pair, -1) for pair in pairs], dtype=np.int64)


def read_beir(folder: str | Path, *, split: str | None = None, name: str | None = None) -> RetrievalSet:
    """A set in the layout of BEIR: `corpus.jsonl`, `queries.jsonl`, and `qrels.tsv` or `qrels/<split>.tsv`.

    Lines of both files hold `_id`, `text` and, if they like, `title` (read before the text, as in BEIR) and `language`.
    Queries that name a programming language make it code-to-code. `meta.json` may hold `task`; one that
    says "in-language" ranks only documents in the query's language.

    Problems are counted, not fatal: a repeated id (its first line stays), a judgement of an unknown id (left out),
    a query without relevant documents (left out), an empty document.

    Raises:
        FileNotFoundError: A file is missing.
        ValueError: A line is torn, or nothing is left to rank.
    """
    folder = Path(folder)
    problems: Counter[str] = Counter()
    documents = _read_texts(_need(folder / CORPUS), "documents", problems)
    queries = _read_texts(_need(folder / QUERIES), "queries", problems)
    places = {row["_id"]: place for place, row in enumerate(documents)}
    texts = {row["_id"]: row["text"] for row in queries}
    own = {identity for identity, place in places.items() if texts.get(identity) == documents[place]["text"]}
    qrels = _qrels_file(folder, split)
    judged = _read_qrels(qrels, set(texts), places, own, problems)
    kept = [row for row in queries if judged.get(row["_id"])]
    problems["queries without a relevant document"] += len(queries) - len(kept)
    problems["empty documents"] += sum(not row["text"].strip() for row in documents)
    task = _meta(folder, "task")
    tokens = [_tokens(folder / CORPUS, row.get("code_tokens")) for row in documents]
    return RetrievalSet(
        name=name or folder.resolve().name,
        task=CODE_TO_CODE if any(row.get("language") for row in kept) else TEXT_TO_CODE,
        query_ids=[row["_id"] for row in kept],
        queries=[row["text"] for row in kept],
        query_languages=[row.get("language") or "" for row in kept],
        document_ids=[row["_id"] for row in documents],
        documents=[row["text"] for row in documents],
        document_languages=[row.get("language") or "" for row in documents],
        relevance=Relevance.from_dicts([judged[row["_id"]] for row in kept]),
        same_language="in-language" in task,
        joined_tokens=tokens if tokens and None not in tokens else None,
        problems={problem: count for problem, count in problems.items() if count},
        split=qrels.stem if qrels.parent.name == "qrels" else _meta(folder, "split"),
    )


def read_pairs(
    folder: str | Path, *, split: str = "test", name: str | None = None, per_language: int | None = None
) -> RetrievalSet:
    """The pairs of a split of a data set made by `coderep data pairs`: each text searches for its own code.

    With `per_language`, the first so many pairs of each language alone.

    Raises:
        FileNotFoundError: The folder is no such data set or lacks the split.
    """
    stats = load_stats(folder)
    if stats.get("kind") != "pairs":
        raise ValueError(
            f"{str(folder)!r} holds no pairs but {stats.get('kind')}. Build them with `coderep data pairs`."
        )
    rows = load_split(folder, split)
    if per_language is not None:
        rows = held_out_rows(lambda: rows, per_language)
    texts, codes, languages = rows["text"][:], rows["code"][:], rows["language"][:]
    numbers = [str(number) for number in range(len(rows))]
    return RetrievalSet(
        name=name or ", ".join(stats["sources"]),
        task=TEXT_TO_CODE,
        query_ids=[f"text {number}" for number in numbers],
        queries=texts,
        query_languages=[""] * len(texts),
        document_ids=[f"code {number}" for number in numbers],
        documents=codes,
        document_languages=languages,
        relevance=Relevance.from_dicts([{number: 1.0} for number in range(len(rows))]),
        split=split,
    )


def find_sets(path: str | Path) -> list[Path]:
    """The folders of retrieval sets at a path: itself, or those right below it, in the order of their names.

    Raises:
        FileNotFoundError: There is none.
    """
    path = Path(path)
    if (path / CORPUS).is_file() or (path / STATS).is_file():
        return [path]
    pairs = [stats.parent for stats in path.glob(f"*/{STATS}") if load_stats(stats.parent).get("kind") == "pairs"]
    found = sorted([*(corpus.parent for corpus in path.glob(f"*/{CORPUS}")), *pairs])
    if not found:
        raise FileNotFoundError(
            f"{str(path)!r} holds no retrieval set: no {CORPUS} (BEIR's layout), no {STATS} (`coderep data pairs`), no "
            "folder with one of them. Name such a folder, or a published set such as cosqa."
        )
    return found


def read_set(folder: str | Path, *, split: str | None = None) -> RetrievalSet:
    """The set in a folder, of either layout.

    Raises:
        FileNotFoundError: A file is missing.
        ValueError: A line is torn, or nothing is left to rank.
    """
    return (
        read_pairs(folder, split=split or "test")
        if (Path(folder) / STATS).is_file()
        else read_beir(folder, split=split)
    )


def _need(path: Path) -> Path:
    if not path.is_file():
        raise FileNotFoundError(f"{str(path.parent)!r} has no {path.name}. A set has {CORPUS}, {QUERIES} and {QRELS}.")
    return path


def _qrels_file(folder: Path, split: str | None) -> Path:
    if split is None and not (folder / "qrels" / "test.tsv").is_file():
        return _need(folder / QRELS)
    path = folder / "qrels" / f"{split or 'test'}.tsv"
    if not path.is_file():
        raise FileNotFoundError(f"{str(folder)!r} has no split {split!r} (qrels/{split}.tsv). Leave --split out.")
    return path


def _tokens(path: Path, tokens: Any) -> str | None:
    """Published tokens joined by blanks; None if there are none."""
    if tokens is None or isinstance(tokens, str):
        return None if tokens is None else codesage_tokens(tokens)
    if not isinstance(tokens, list) or not all(isinstance(token, str) for token in tokens):
        raise ValueError(f"{str(path)!r} holds code_tokens that are no list of strings: {str(tokens)[:60]}.")
    return codesage_tokens(tokens)


def _meta(folder: Path, name: str) -> str:
    """An entry of a set's meta.json; "" if it has none."""
    path = folder / META
    if not path.is_file():
        return ""
    try:
        return str(json.loads(path.read_text(encoding="utf-8")).get(name, ""))
    except (ValueError, AttributeError) as error:
        raise ValueError(f"{str(path)!r} is not a JSON object ({error}). Mend or delete it.") from error


def _read_texts(path: Path, what: str, problems: Counter[str]) -> list[dict[str, Any]]:
    rows: dict[str, dict[str, Any]] = {}
    for number, row in enumerate(json_lines(path), start=1):
        if "_id" not in row or not isinstance(row.get("text"), str):
            raise ValueError(f"{str(path)!r}, row {number} needs the fields _id and text, got {', '.join(row)}.")
        identity = str(row["_id"])
        if identity in rows:
            problems[f"repeated ids of {what}"] += 1
            continue
        title = row.get("title")
        language = _language(row.get("language"))
        rows[identity] = {
            **row,
            "_id": identity,
            "language": language,
            "text": f"{title} {row['text']}" if title else row["text"],
        }
    return list(rows.values())


def _language(name: Any) -> str:
    """Our name of a language where we have one ("Python", "C#"), else the name as it stands."""
    name = str(name or "")
    return language_name(name) or name


def _read_qrels(
    path: Path, queries: set[str], places: dict[str, int], own: set[str], problems: Counter[str]
) -> dict[str, dict[int, float]]:
    """Query id -> place of a relevant document -> gain. A first line whose score is no number is a header.

    `own` are the queries that are documents themselves: they do not count as relevant to themselves.
    """
    judged: dict[str, dict[int, float]] = {}
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        cells = line.split("\t")
        if not line.strip() or (number == 1 and not _is_number(cells[-1])):
            continue
        if len(cells) == 4:  # TREC's layout has an iteration between query and document
            cells = [cells[0], *cells[2:]]
        if len(cells) != 3 or not _is_number(cells[2]):
            raise ValueError(f"{str(path)!r}, line {number} is not `query-id<TAB>corpus-id<TAB>score`: {line[:80]!r}.")
        query, document, gain = cells[0], cells[1], float(cells[2])
        if query not in queries or document not in places:
            problems[f"judgements of unknown {'queries' if query not in queries else 'documents'}"] += 1
        elif query == document and query in own:
            problems["judgements of a query itself"] += 1
        elif gain > 0:
            judged.setdefault(query, {})[places[document]] = gain
    return judged


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
