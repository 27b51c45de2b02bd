"""What ranks documents for queries: BM25, or the cosine of embeddings. Scores come block by block of queries."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Protocol

import numpy as np

from .embedders import DOCUMENT, QUERY, Embedder

BM25 = "bm25"
_BLOCK_BYTES = 64_000_000
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+|[^\W\d_a-zA-Z]+")


class Scorer(Protocol):
    """Ranks documents for queries."""

    name: str
    changes: tuple[str, ...]  # what differs from the model as it is published, for the protocol of results

    def counts(self, queries: tuple[Sequence[str], int], documents: tuple[Sequence[str], int]) -> dict[str, int]:
        """What was cut, and how often."""

    def blocks(
        self, queries: tuple[Sequence[str], int], documents: tuple[Sequence[str], int], *, texts: bool
    ) -> Iterator[np.ndarray]:
        """Scores of some queries after others: blocks of shape (queries, documents), higher is better.

        Args:
            queries: The texts, and their longest length in tokens.
            documents: The same of the documents.
            texts: Whether the queries are prose, and not code as the documents are.
        """


def block_rows(documents: int) -> int:
    """Queries a block, so that its scores take some 64 MB."""
    return max(1, _BLOCK_BYTES // (4 * documents))


class CosineScorer:
    """Cosine of embeddings.

    Args:
        embedder: The model.
    """

    def __init__(self, embedder: Embedder) -> None:
        self.embedder, self.name, self.changes = embedder, embedder.name, embedder.changes

    def counts(self, queries: tuple[Sequence[str], int], documents: tuple[Sequence[str], int]) -> dict[str, int]:
        """Queries and documents that are longer than is read."""
        return {
            "queries cut": self.embedder.count_cut(*queries),
            "documents cut": self.embedder.count_cut(*documents),
        }

    def blocks(
        self, queries: tuple[Sequence[str], int], documents: tuple[Sequence[str], int], *, texts: bool
    ) -> Iterator[np.ndarray]:
        """See `Scorer`. Code that searches for code is embedded as the documents are, without a prompt for queries.

        Copies of a document get one score: a product of matrices may round its columns differently.
        """
        (query_texts, query_length), (document_texts, document_length) = queries, documents
        places = {text: place for place, text in enumerate(dict.fromkeys(document_texts))}
        place_C = np.array([places[text] for text in document_texts])
        documents_UD = self.embedder.embed(list(places), max_length=document_length, kind=DOCUMENT)
        queries_QD = self.embedder.embed(query_texts, max_length=query_length, kind=QUERY if texts else DOCUMENT)
        step = block_rows(len(place_C))
        for start in range(0, len(queries_QD), step):
            scores_QU = queries_QD[start : start + step] @ documents_UD.T
            yield scores_QU if len(places) == len(place_C) else scores_QU[:, place_C]


class Bm25Scorer:
    """BM25 (bm25s with its defaults) over words split at case changes, digits and punctuation, of whole texts.

    Raises:
        ImportError: bm25s is not installed.
    """

    name, changes = BM25, ()

    def __init__(self) -> None:
        try:
            import bm25s
        except ImportError as error:
            raise ImportError("BM25 needs bm25s: pip install 'coderep[eval]'") from error
        self._library = bm25s

    def counts(self, queries: tuple[Sequence[str], int], documents: tuple[Sequence[str], int]) -> dict[str, int]:
        """Nothing is cut."""
        return {}

    def blocks(
        self, queries: tuple[Sequence[str], int], documents: tuple[Sequence[str], int], *, texts: bool
    ) -> Iterator[np.ndarray]:
        """See `Scorer`."""
        index = self._library.BM25()
        found = [words(document) for document in documents[0]]
        if any(found):
            index.index(found, show_progress=False)
        nothing_C = np.zeros(len(documents[0]), dtype=np.float32)  # bm25s takes no query without words
        step = block_rows(len(documents[0]))
        for start in range(0, len(queries[0]), step):
            chosen = [words(query) for query in queries[0][start : start + step]]
            yield np.stack([index.get_scores(query) if query and any(found) else nothing_C for query in chosen])


def words(text: str) -> list[str]:
    """Lower-case words of text or code, split at case changes, digits and punctuation."""
    return [word.lower() for word in _WORD.findall(text)]
