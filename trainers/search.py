"""Semantic code search: every function below a path, ranked by its cosine to a query.

What is slow is kept under `$CODEREP_CACHE` (default `~/.cache/coderep`): the functions of each file with their
embeddings, so that only files which have changed are parsed and encoded again; and embeddings by their content, so that
another checkout of the same code is only parsed. What is fast is not imported: see `search_encoders`.

Shape suffixes: N = functions, M = functions that are new, D = embedding width.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from data_collators.builders.sources import FileReport

from .embedding_cache import cached_embeddings
from .messages import say
from .search_encoders import Encoders, SearchEncoder
from .search_files import FileEntry, Scan, scan
from .search_index import Index, index_path, read_index, write_index
from .search_progress import Progress
from .sentence_folder import check_model

_SLICE = 4096  # functions that an interruption costs at most
_STEP = 128  # functions from one sign of progress to the next
_FEW = 64  # so many are not worth a file of embeddings; the index holds them
_CHARACTERS_A_TOKEN = 4


@dataclass(frozen=True, slots=True)
class Hit:
    """One function found. Lines count from 1."""

    score: float
    path: str
    line: int
    end_line: int
    name: str
    language: str
    signature: str

    def __str__(self) -> str:
        return f"{self.score:.3f}  {self.path}:{self.line}  {self.signature}"

    def code(self, lines: int | None = None) -> str:
        """The function as it stands in its file, or its first lines; "" if the file is gone."""
        try:
            text = Path(self.path).read_bytes().decode("utf-8-sig", "replace")
        except OSError:
            return ""
        last = self.end_line if lines is None else min(self.end_line, self.line + lines - 1)
        # Not `splitlines`, for which a form feed ends a line too.
        return "\n".join(text.replace("\r\n", "\n").split("\n")[self.line - 1 : last])


class CodeIndex:
    """Functions of a code base with their embeddings.

    Args:
        encoder: The model.
        root: Folder or file of source code.
        found: Its functions.
        embeddings_ND: One row a function, of length 1.
    """

    def __init__(self, encoder: SearchEncoder, root: str | Path, found: Scan, embeddings_ND: np.ndarray) -> None:
        self.encoder, self.files = encoder, found.files
        self._folder = Path(root) if Path(root).is_dir() else Path(root).parent
        self._places, self._embeddings_ND = found.places, embeddings_ND

    def __len__(self) -> int:
        return len(self._places)

    @classmethod
    def build(
        cls,
        checkpoint: str | Path,
        path: str | Path,
        *,
        languages: Iterable[str] | None = None,
        max_length: int = 256,
        progress: bool = False,
        cache_dir: str | Path | None = None,
        device: str | None = None,
    ) -> CodeIndex:
        """Index every function and method below `path`, or in that file; reuses what is kept.

        Args:
            checkpoint: Folder or Hub repo id of an encoder.
            path: Folder or file of source code.
            languages: Languages to read; None reads all that are known.
            max_length: Tokens of each function that the model reads.
            progress: Show progress and an estimate of the time left.
            cache_dir: Where indexes and embeddings are kept; default: `$CODEREP_CACHE`, else `~/.cache/coderep`.
            device: Where the model encodes functions, such as "cuda:1"; None: an accelerator if there is one.

        Raises:
            FileNotFoundError: The path or the checkpoint does not exist.
            ValueError: There is no function to index, a language is unknown, or there is no such device.
        """
        check_model(checkpoint)  # before the code is read, which can take a while
        languages = sorted(languages) if languages else None
        encoders = Encoders(checkpoint, device)
        file = index_path(path, languages, (encoders.fingerprint, max_length), cache_dir)
        kept = read_index(file)
        report = FileReport()
        found = _scan(path, languages, kept.files, report, progress)
        if not found.places:
            what = f" in {', '.join(languages)}" if languages else ""
            why = "".join(f"; {line}" for line in report.lines())
            raise ValueError(f"no function{what} below {str(path)!r}{why}. Name a folder or file of source code.")
        if found.files == kept.files:
            return cls(encoders.choose(kept)[0], path, found, kept.embeddings_ND)
        rows = kept.rows
        new = {key: code for key, code in found.codes.items() if key not in rows}
        encoder, light = encoders.choose(kept, len(new))
        rows |= _encode(encoder, new, max_length, cache_dir, progress)
        embeddings_ND = np.stack([rows[place.key] for *_, place in found.places])
        if not write_index(file, Index(found.files, embeddings_ND, light)):
            say(f"the index could not be written to {str(file.parent)!r}, so the next search reads everything again")
        return cls(encoder, path, found, embeddings_ND)

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
        return [self._hit(i, float(scores_N[i])) for i in np.argsort(-scores_N, kind="stable")[:top_k]]

    def _hit(self, number: int, score: float) -> Hit:
        path, entry, place = self._places[number]
        where = str(self._folder / path)
        return Hit(score, where, place.line, place.end_line, place.name, entry.language, place.signature)


def _scan(
    path: str | Path, languages: Sequence[str] | None, known: dict[str, FileEntry], report: FileReport, show: bool
) -> Scan:
    shown: list[Progress] = []

    def done(files: int, total: int) -> None:
        if not shown:
            shown.append(Progress("reading source files", total, show))
        shown[0].reach(files)

    try:
        return scan(path, languages, known, report=report, done=done)
    finally:
        for bar in shown:
            bar.close()


def _encode(
    encoder: SearchEncoder,
    codes: dict[str, str],
    max_length: int,
    folder: str | Path | None,
    show: bool,
) -> dict[str, np.ndarray]:
    """Key -> embedding of some codes, read where they are kept."""
    texts = list(codes.values())
    weights = [work(text, max_length) for text in texts]
    if show and len(texts) > _FEW:
        say(f"encoding {len(texts):,} functions, once: later searches encode only what has changed")
    bar = Progress("encoding", sum(weights), show)

    def embed(chunk: list[str]) -> np.ndarray:
        parts = []
        for start in range(0, len(chunk), _STEP):
            step = chunk[start : start + _STEP]
            parts.append(encoder.encode(step, max_length=max_length))
            bar.advance(sum(work(text, max_length) for text in step))
        return np.concatenate(parts)

    if len(texts) <= _FEW:
        rows_MD = embed(texts) if texts else []
    else:
        key = (encoder.fingerprint, max_length)
        rows_MD = _in_slices(texts, weights, bar, lambda part: cached_embeddings(embed, part, key=key, folder=folder))
    bar.close()
    return dict(zip(codes, rows_MD, strict=True))


def _in_slices(
    texts: list[str], weights: list[int], bar: Progress, embed: Callable[[list[str]], np.ndarray]
) -> np.ndarray:
    parts = []
    for start in range(0, len(texts), _SLICE):
        parts.append(embed(texts[start : start + _SLICE]))
        bar.reach(sum(weights[: start + _SLICE]))
    return np.concatenate(parts)


def work(text: str, max_length: int) -> int:
    """How long it takes to encode a text, in characters that are read and what each text costs besides."""
    return min(len(text), _CHARACTERS_A_TOKEN * max_length) + _CHARACTERS_A_TOKEN
