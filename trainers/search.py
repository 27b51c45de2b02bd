"""Semantic code search: every function below a path, ranked by its cosine to a query.

Embeddings are cached under `$CODEREP_CACHE` (default `~/.cache/coderep`), by the content of model and code.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from data_collators.builders.sources import SourceOptions, iter_sources
from data_collators.definitions import functions
from data_collators.slices import dedent

from .checkpoints import check_checkpoint
from .embedding_cache import cached_embeddings
from .encode import Encoder, load_encoder
from .progress import quiet_bars, say


@dataclass(frozen=True, slots=True)
class Hit:
    """One function found. `line` counts from 1."""

    score: float
    path: str
    line: int
    name: str
    first_line: str

    def __str__(self) -> str:
        return f"{self.score:.3f}  {self.path}:{self.line}  {self.first_line}"


@dataclass(frozen=True, slots=True)
class _Place:
    path: str
    line: int
    name: str
    code: str

    @property
    def first_line(self) -> str:
        return next((line for line in self.code.splitlines() if not line.startswith("@")), self.code)


class CodeIndex:
    """Functions of a code base with their embeddings.

    Args:
        encoder: The model.
        places: The functions.
        embeddings_ND: One row a function, of length 1.
    """

    def __init__(self, encoder: Encoder, places: list[_Place], embeddings_ND: np.ndarray) -> None:
        self.encoder, self._places, self._embeddings_ND = encoder, places, embeddings_ND

    def __len__(self) -> int:
        return len(self._places)

    @classmethod
    def build(
        cls,
        checkpoint: str | Path,
        path: str | Path,
        *,
        max_length: int = 256,
        progress: bool = False,
        cache_dir: str | Path | None = None,
    ) -> CodeIndex:
        """Index every function and method below `path`, or in that file; reuses cached embeddings.

        Args:
            checkpoint: Folder or Hub repo id of an encoder.
            path: Folder or file of source code.
            max_length: Tokens of each function that the model reads.
            progress: Show a bar while encoding.
            cache_dir: Where embeddings are kept; default: `$CODEREP_CACHE`, else `~/.cache/coderep`.

        Raises:
            FileNotFoundError: The path or the checkpoint does not exist.
            ValueError: There is no function to index.
        """
        check_checkpoint(checkpoint)  # before the code is read, which can take a while
        places = _places(path)
        if not places:
            raise ValueError(f"no function below {str(path)!r}. Name a folder or file of source code.")
        encoder = load_encoder(checkpoint)
        codes = [place.code for place in places]
        embeddings_ND = cached_embeddings(
            lambda chunk: encoder.encode(chunk, max_length=max_length, progress=progress),
            codes,
            key=(encoder.fingerprint, max_length),
            folder=cache_dir,
        )
        return cls(encoder, places, embeddings_ND)

    def search(self, query: str, top_k: int = 10) -> list[Hit]:
        """The `top_k` functions nearest to the query, best first.

        Raises:
            ValueError: The query is blank or `top_k` is below 1.
        """
        if not query.strip():
            raise ValueError("the query is empty. Say what the code should do.")
        if top_k < 1:
            raise ValueError(f"top_k must be at least 1, got {top_k}.")
        scores_N = self._embeddings_ND @ self.encoder.encode([query])[0]
        best = np.argsort(-scores_N, kind="stable")[:top_k]
        hits = [(float(scores_N[i]), self._places[i]) for i in best]
        return [Hit(score, place.path, place.line, place.name, place.first_line) for score, place in hits]


def _places(path: str | Path) -> list[_Place]:
    options = SourceOptions(source=(str(path),))
    root = Path(path) if Path(path).is_dir() else Path(path).parent
    found = []
    for file in iter_sources(options):
        code = file.text.encode()
        for function in functions(code, file.language):
            if function.kind != "class":
                text = dedent(code[slice(*function.span)].decode())
                found.append(_Place(str(root / file.path), function.line, function.name, text))
    return found


def main(argv: list[str]) -> int:
    """`coderep search`."""
    parser = argparse.ArgumentParser(prog="coderep search", description="Search code by meaning.")
    parser.add_argument("checkpoint", help="checkpoint folder or Hub repo id")
    parser.add_argument("path", help="folder or file of source code")
    parser.add_argument("query", help="what the code should do, in words")
    parser.add_argument("--top-k", type=int, default=10, help="how many functions to show (default: 10)")
    parser.add_argument("--max-length", type=int, default=256, help="tokens read of each function (default: 256)")
    args = parser.parse_args(argv)
    quiet_bars()
    index = CodeIndex.build(args.checkpoint, args.path, max_length=args.max_length, progress=True)
    say(f"{len(index)} functions")
    for hit in index.search(args.query, args.top_k):
        print(hit)  # noqa: T201
    return 0
