"""The index of a code base on disk: its functions and their embeddings in one file, written whole or not at all.

There is one for each code base, choice of languages, model and length of the text that the model reads.
Shape suffixes: N = functions, D = embedding width.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from data_collators.files import new_file

from .embedding_cache import cache_folder
from .search_files import FileEntry, Place

_FILES, _EMBEDDINGS = "files", "embeddings"
_VERSION = 1


@dataclass(frozen=True, eq=False)
class Index:
    """What is kept of a code base.

    Args:
        files: Path below the root -> its functions.
        embeddings_ND: Their embeddings, in order.
        light: Whether the checkpoint's light encoder gave the embeddings of the whole one.
    """

    files: dict[str, FileEntry] = field(default_factory=dict)
    embeddings_ND: np.ndarray = field(default_factory=lambda: np.empty((0, 0), dtype=np.float32))
    light: bool = False

    @property
    def rows(self) -> dict[str, np.ndarray]:
        """Key of each function -> its embedding."""
        places = [place for entry in self.files.values() for place in entry.places]
        return {place.key: self.embeddings_ND[row] for row, place in enumerate(places)}


def index_path(
    root: str | Path, languages: Iterable[str] | None, model: Sequence[Any], folder: str | Path | None = None
) -> Path:
    """Where an index is kept; `model` is all that embeddings depend on besides the code."""
    what = [_VERSION, str(Path(root).resolve()), sorted(languages or ()), list(model)]
    name = hashlib.sha256(json.dumps(what, default=str).encode("utf-8", "surrogateescape")).hexdigest()[:24]
    return cache_folder(folder) / f"search-{name}.safetensors"


def read_index(path: Path) -> Index:
    """What a file holds; nothing if there is none, or something else than us tore it."""
    try:
        with safe_open(path, framework="np") as file:
            record = json.loads(file.get_tensor(_FILES).tobytes())
            embeddings_ND = file.get_tensor(_EMBEDDINGS)
        files = {
            name: FileEntry(tuple(seen), language, tuple(Place(*place) for place in places))
            for name, (seen, language, places) in record["files"].items()
        }
        light = bool(record["light"])
    except (OSError, SafetensorError, ValueError, TypeError, KeyError, AttributeError):
        return Index()
    whole = sum(len(entry.places) for entry in files.values()) == len(embeddings_ND)
    return Index(files, embeddings_ND, light) if whole else Index()


def write_index(path: Path, index: Index) -> bool:
    """Whether the index could be written; where it cannot, the work goes on without."""
    record = json.dumps({"files": index.files, "light": index.light}).encode("ascii")
    tensors = {
        _FILES: np.frombuffer(record, dtype=np.uint8),
        _EMBEDDINGS: np.ascontiguousarray(index.embeddings_ND),
    }
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with new_file(path) as partial:
            save_file(tensors, partial)
    except (OSError, SafetensorError):  # a full disk is either
        return False
    return True
