"""Small fixed parts of retrieval sets: minutes instead of an hour on one core, for decisions while a model trains."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from trainers.evaluation.ranking import Relevance
from trainers.evaluation.sets import RetrievalSet


def subsample(data: RetrievalSet, queries: int, documents: int) -> RetrievalSet:
    """At most so many queries and documents of a set, among them all that are relevant to the queries.

    Documents are taken in the order of a hash of their texts, and queries in the order of the first relevant document,
    so every run and machine draws the same ones whatever the order of a set. Queries with the same answers come
    together, and sets that share documents share most of those drawn: few texts are embedded for many queries. A set
    has fewer queries than asked for where their relevant documents fill the corpus before.

    Raises:
        ValueError: A number is below 1, or the first query alone has more relevant documents than are allowed.
    """
    if queries < 1 or documents < 1:
        raise ValueError(f"a part of a set needs a query and a document, got {queries} and {documents}.")
    relevant, hashes = _relevant(data.relevance), [_hash(text) for text in data.documents]
    chosen: list[int] = []
    kept: set[int] = set()
    for query in _in_order(data, relevant, hashes)[:queries]:
        if len(kept | relevant[query].keys()) > documents:
            break
        chosen.append(query)
        kept |= relevant[query].keys()
    if not chosen:
        raise ValueError(f"the first query of {data.name!r} has more than {documents} relevant documents. Allow more.")
    others = sorted(set(range(len(hashes))) - kept, key=lambda place: (hashes[place], place))
    return _part(data, sorted(chosen), sorted({*kept, *others[: documents - len(kept)]}), relevant)


def _in_order(data: RetrievalSet, relevant: Sequence[dict[int, float]], hashes: Sequence[bytes]) -> list[int]:
    """Queries by the hash that comes first among their relevant documents and, where they are documents, their own."""
    own = data.own_documents.tolist()

    def first(query: int) -> tuple[bytes, bytes]:
        places = [*relevant[query], *([own[query]] if own[query] >= 0 else [])]
        return min((hashes[place] for place in places), default=b"\xff" * 32), _hash(data.queries[query])

    return sorted(range(len(data.queries)), key=first)


def _part(
    data: RetrievalSet, queries: Sequence[int], documents: Sequence[int], relevant: Sequence[dict[int, float]]
) -> RetrievalSet:
    places = {old: new for new, old in enumerate(documents)}
    return RetrievalSet(
        name=data.name,
        task=data.task,
        query_ids=[data.query_ids[query] for query in queries],
        queries=[data.queries[query] for query in queries],
        query_languages=[data.query_languages[query] for query in queries],
        document_ids=[data.document_ids[place] for place in documents],
        documents=[data.documents[place] for place in documents],
        document_languages=[data.document_languages[place] for place in documents],
        relevance=Relevance.from_dicts(
            [{places[place]: gain for place, gain in relevant[query].items()} for query in queries]
        ),
        same_language=data.same_language,
        joined_tokens=[data.joined_tokens[place] for place in documents] if data.joined_tokens else None,
        problems=data.problems,
    )


def _relevant(relevance: Relevance) -> list[dict[int, float]]:
    """Place -> gain of each query's relevant documents."""
    bounds = relevance.offsets.tolist()
    columns, gains = relevance.columns.tolist(), relevance.gains.tolist()
    return [
        dict(zip(columns[start:stop], gains[start:stop], strict=True))
        for start, stop in zip(bounds, bounds[1:], strict=False)
    ]


def _hash(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()
