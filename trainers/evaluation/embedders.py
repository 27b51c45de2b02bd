"""Anything that turns texts into embeddings: our encoders, any AutoModel, sentence-transformers, static models."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from ..embedding_cache import cached_embeddings, model_fingerprint
from ..encode import Encoder
from ..messages import say

QUERY, DOCUMENT = "query", "document"


@dataclass(frozen=True)
class Embedder:
    """A model that embeds texts, with a cache.

    Args:
        name: Folder or Hub repo.
        limit: Longest text in tokens that the model takes; None if any.
        cache: Folder of kept embeddings; see `cache_folder`.
        dimensions: Keep the first so many dimensions (Matryoshka); None keeps all.
        progress: Show bars on a terminal, lines elsewhere.
        changes: What differs from the model as it is published, for the protocol of results ("64 dimensions").
    """

    name: str
    limit: int | None
    cache: str | Path | None = None
    dimensions: int | None = None
    progress: bool = False
    changes: tuple[str, ...] = ()

    @cached_property
    def fingerprint(self) -> str:
        """Hash of everything in the model that embeddings depend on."""
        raise NotImplementedError

    @property
    def tokenizer(self) -> Any:
        """What makes tokens of texts."""
        raise NotImplementedError

    def embed(self, texts: Sequence[str], *, max_length: int | None = None, kind: str = DOCUMENT) -> np.ndarray:
        """Embeddings_ND, float32, each of length 1 (0 for a text that has none).

        Args:
            texts: Any number of texts.
            max_length: Longest text in tokens, the rest is cut; None and what lies above the model's limit is its
                limit.
            kind: `QUERY` or `DOCUMENT`, for models that prompt them differently.

        Raises:
            ValueError: The model has fewer dimensions than asked for.
        """
        max_length = self.cut(max_length)
        key = (self.fingerprint, max_length, kind)

        def embed(chunk: list[str]) -> np.ndarray:
            if self.progress and not sys.stderr.isatty():  # where a bar would only fill a log
                say(f"{self.name}: embedding {len(chunk):,} texts of up to {len(chunk[0]):,} characters")
            return self._embed(chunk, max_length, kind, bar=self.progress and sys.stderr.isatty())

        found_ND = cached_embeddings(embed, texts or [""], key=key, folder=self.cache)  # an empty one tells the width
        return self._finish(found_ND[: len(texts)])

    def encode(self, texts: Sequence[str], *, max_length: int | None = None, kind: str = DOCUMENT) -> np.ndarray:
        """As `embed`, without the cache: for texts that pass by once."""
        return self._finish(self._embed(list(texts), self.cut(max_length), kind, bar=False))

    def _finish(self, found_ND: np.ndarray) -> np.ndarray:
        """The dimensions asked for, scaled to length 1."""
        if self.dimensions is not None and not 1 <= self.dimensions <= found_ND.shape[1]:
            raise ValueError(f"dimensions must lie in [1, {found_ND.shape[1]}], got {self.dimensions}.")
        found_ND = found_ND[:, : self.dimensions]
        lengths_N1 = np.linalg.norm(found_ND, axis=1, keepdims=True)
        return found_ND / np.maximum(lengths_N1, np.finfo(np.float32).tiny)

    def cut(self, max_length: int | None) -> int | None:
        """Longest text in tokens that is read when `max_length` is asked for.

        Raises:
            ValueError: `max_length` is below 1.
        """
        if max_length is not None and max_length < 1:
            raise ValueError(f"max_length must be at least 1, got {max_length}.")
        return min((bound for bound in (max_length, self.limit) if bound is not None), default=None)

    def count_cut(self, texts: Sequence[str], max_length: int | None) -> int:
        """How many texts are longer than is read."""
        bound = self.cut(max_length)
        return 0 if bound is None else sum(length > bound for length in token_lengths(self.tokenizer, texts))

    def _embed(self, texts: list[str], max_length: int | None, kind: str, *, bar: bool) -> np.ndarray:
        raise NotImplementedError


@dataclass(frozen=True)
class EncoderEmbedder(Embedder):
    """An `Encoder`, or whatever has its `encode`, `model` and `tokenizer`."""

    encoder: Encoder = field(kw_only=True)

    @cached_property
    def fingerprint(self) -> str:
        """Hash of weights, tokenizer and configuration."""
        return self.encoder.fingerprint

    @property
    def tokenizer(self) -> Any:
        """The encoder's."""
        return self.encoder.tokenizer

    def _embed(self, texts: list[str], max_length: int | None, kind: str, *, bar: bool) -> np.ndarray:
        return self.encoder.encode(texts, max_length=max_length, progress=bar)


@dataclass(frozen=True)
class SentenceTransformerEmbedder(Embedder):
    """A sentence-transformers model, static ones among them, with its own pooling and prompts."""

    model: Any = field(kw_only=True)

    @cached_property
    def fingerprint(self) -> str:
        """Hash of weights, tokenizer, modules and prompts."""
        return model_fingerprint(self.model, self.tokenizer, _settings(self.model))

    @property
    def tokenizer(self) -> Any:
        """The model's; of static models one of the library tokenizers."""
        return self.model.tokenizer

    def _embed(self, texts: list[str], max_length: int | None, kind: str, *, bar: bool) -> np.ndarray:
        encode = self.model.encode_query if kind == QUERY else self.model.encode_document
        if max_length is not None:
            self._cut_at(max_length)
        # On a CPU small batches fit its caches and waste less on padding.
        size = 8 if self.model.device.type == "cpu" else 64
        return encode(texts, batch_size=size, convert_to_numpy=True, show_progress_bar=bar).astype(np.float32)

    def _cut_at(self, max_length: int) -> None:
        if hasattr(self.tokenizer, "enable_truncation"):  # static models have no limit of their own
            self.tokenizer.enable_truncation(max_length)
        else:
            self.model.max_seq_length = max_length


def _settings(model: Any) -> dict[str, Any]:
    """What the embeddings of a sentence-transformers model depend on besides its weights and its tokenizer."""
    configs = [part.auto_model.config.to_dict() for part in model if hasattr(part, "auto_model")]
    for config in configs:
        config.pop("_name_or_path", None)
    return {
        "modules": repr(model),
        "configs": json.dumps(configs, sort_keys=True, default=str),
        "prompts": model.prompts,
        "default prompt": model.default_prompt_name,
    }


def token_lengths(tokenizer: Any, texts: Sequence[str]) -> list[int]:
    """Tokens of each text, with those that the tokenizer adds; static models have it add none."""
    if hasattr(tokenizer, "encode_batch"):  # of the library tokenizers, which only static models have
        tokenizer.no_truncation()
        return [len(encoding.ids) for encoding in tokenizer.encode_batch(list(texts), add_special_tokens=False)]
    return [len(ids) for ids in tokenizer(list(texts), truncation=False, verbose=False)["input_ids"]]
