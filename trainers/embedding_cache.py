"""Embeddings on disk, found by the content of model and text: no text is embedded twice, also not after a kill."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from data_collators.files import new_file

from .messages import say

_CHUNK = 4096  # texts a file: what an interruption costs at most
_KEYS, _EMBEDDINGS = "keys", "embeddings"
_DIGEST = 16  # bytes

Rows = tuple[np.ndarray, np.ndarray]  # keys (texts, 16) uint8; embeddings (texts, width) float32


def cache_folder(folder: str | Path | None = None) -> Path:
    """Where embeddings are kept: `folder`, else `$CODEREP_CACHE`, else `~/.cache/coderep`."""
    return Path(folder or os.environ.get("CODEREP_CACHE") or Path.home() / ".cache" / "coderep")


def model_fingerprint(model: Any, tokenizer: Any = None, *settings: Any) -> str:
    """Hash of all weights, of the tokenizer and of whatever else embeddings depend on."""
    digest = hashlib.sha256(json.dumps(settings, default=str).encode())
    for name, tensor in model.state_dict().items():
        digest.update(f"{name} {tensor.dtype}".encode())
        digest.update(tensor.detach().cpu().contiguous().float().numpy().tobytes())
    if tokenizer is not None:
        backend = getattr(tokenizer, "backend_tokenizer", tokenizer)
        if hasattr(backend, "to_str"):  # without what the last call set
            state = {**json.loads(backend.to_str()), "truncation": None, "padding": None}
            digest.update(json.dumps(state, sort_keys=True).encode())
        else:
            digest.update(repr(tokenizer).encode())
    return digest.hexdigest()[:24]


def cached_embeddings(
    embed: Callable[[list[str]], np.ndarray],
    texts: Sequence[str],
    *,
    key: Sequence[Any],
    folder: str | Path | None = None,
) -> np.ndarray:
    """Embeddings_ND of texts, read where they are kept; those missing are made, longest first, and kept.

    Args:
        embed: Embeddings of some texts, one row each.
        texts: The texts, at least one; equal ones are embedded once.
        key: What the embeddings depend on besides the texts: the model's fingerprint, the longest text in tokens.
        folder: See `cache_folder`. If it cannot be written, that is said once and the work goes on.
    """
    name = hashlib.sha256(json.dumps(list(key), default=str).encode()).hexdigest()[:24]
    folder = cache_folder(folder) / f"embeddings-{name}"
    keys = [_key(text) for text in texts]
    wanted = dict(zip(keys, texts, strict=True))
    found_ND: np.ndarray | None = None
    places = {text: place for place, text in enumerate(wanted)}
    seen = np.zeros(len(wanted), dtype=bool)

    def take(rows: Rows) -> None:
        nonlocal found_ND
        hits = [(row, places[text]) for row, text in enumerate(map(bytes, rows[0])) if text in places]
        if hits:
            if found_ND is None:
                found_ND = np.empty((len(wanted), rows[1].shape[1]), dtype=np.float32)
            source, target = map(list, zip(*hits, strict=True))
            found_ND[target], seen[target] = rows[1][source], True

    for path in sorted(folder.glob("*.safetensors")):
        if not seen.all():
            take(_read(path))
    missing = sorted((text for text, place in places.items() if not seen[place]), key=lambda key: -len(wanted[key]))
    kept = True
    for start in range(0, len(missing), _CHUNK):
        chunk = missing[start : start + _CHUNK]
        embeddings_ND = embed([wanted[text] for text in chunk]).astype(np.float32, copy=False)
        rows = np.frombuffer(b"".join(chunk), dtype=np.uint8).reshape(-1, _DIGEST), embeddings_ND
        kept = kept and _keep(folder, rows)
        take(rows)
    return found_ND[[places[text] for text in keys]]


def _key(text: str) -> bytes:
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=_DIGEST).digest()


def _read(path: Path) -> Rows:
    """What a file holds; nothing if something else than us tore it."""
    try:
        with safe_open(path, framework="np") as file:
            return file.get_tensor(_KEYS), file.get_tensor(_EMBEDDINGS)
    except (OSError, SafetensorError):
        return np.empty((0, _DIGEST), np.uint8), np.empty((0, 0), np.float32)


def _keep(folder: Path, rows: Rows) -> bool:
    """Whether the rows could be kept."""
    path = folder / f"{hashlib.sha256(rows[0].tobytes()).hexdigest()[:24]}.safetensors"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with new_file(path) as partial:
            save_file({_KEYS: rows[0], _EMBEDDINGS: np.ascontiguousarray(rows[1])}, partial)
    except (OSError, SafetensorError) as error:
        reason = getattr(error, "strerror", None) or error
        say(f"embeddings are not kept ({reason}: {folder}); set CODEREP_CACHE to a folder with space")
        return False
    return True
