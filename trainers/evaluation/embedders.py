"""Anything that turns texts into embeddings: our encoders, any AutoModel, sentence-transformers, static models."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from ..devices import place
from ..embedding_cache import cached_embeddings, model_fingerprint
from ..encode import Encoder, load_encoder
from ..messages import say
from ..model_paths import CONFIG
from ..sentence_folder import MODULES, check_model, saved_json

LOADERS = ("auto", "transformers", "sentence-transformers", "static")
QUERY, DOCUMENT = "query", "document"
_NATIVE = ("coderep", "codesage")


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


def load_embedder(
    path: str | Path,
    *,
    loader: str = "auto",
    revision: str | None = None,
    dtype: str = "float32",
    cache: str | Path | None = None,
    dimensions: int | None = None,
    progress: bool = False,
    device: str | None = None,
) -> Embedder:
    """The model in a folder or Hub repo, ready to embed. Code that a checkpoint brings along is not run.

    Args:
        path: Folder or Hub repo.
        loader: One of `LOADERS`. `auto` takes sentence-transformers where a checkpoint lists its modules for it,
            model2vec's static models as such, and transformers for the rest and for coderep's and CodeSage's own.
        revision: Commit, tag or branch of a repo.
        dtype: Weights on load: "float32" or "bfloat16".
        cache: See `cache_folder`.
        dimensions: Keep the first so many dimensions.
        progress: Show bars on a terminal, lines elsewhere.
        device: Where the model runs, such as "cuda:1"; None: an accelerator if there is one.

    Raises:
        FileNotFoundError: The path is no checkpoint.
        ImportError: The library that the model needs is not installed.
        ValueError: The loader is unknown, or there is no such device.
    """
    if loader not in LOADERS:
        raise ValueError(f"loader must be one of {', '.join(LOADERS)}, got {loader!r}.")
    source = check_model(path)
    given = {
        f"{dimensions} dimensions": dimensions is not None,
        dtype: dtype != "float32",
        f"loaded by {loader}": loader != "auto",
        f"revision {revision}": revision is not None,
    }
    changes = tuple(text for text, holds in given.items() if holds)
    common = {"name": str(path), "cache": cache, "dimensions": dimensions, "progress": progress, "changes": changes}
    loader = _choose(source, revision) if loader == "auto" else loader
    if loader == "transformers":
        encoder = load_encoder(source, revision, device=device)
        encoder.model.to(dtype_of(dtype))
        return EncoderEmbedder(limit=encoder.max_length, encoder=encoder, **common)
    if loader == "static" and revision is not None:
        raise ValueError("static models are read at their newest revision only. Leave --revision out.")
    model = _static(source) if loader == "static" else _sentence_transformer(source, revision, dtype)
    place(model, device)
    limit = model.max_seq_length
    limit = None if limit is None or math.isinf(limit) else int(limit)
    return SentenceTransformerEmbedder(limit=limit, model=model, **common)


def dtype_of(name: str) -> Any:
    """The torch dtype of a name.

    Raises:
        ValueError: It is none that models run in here.
    """
    import torch

    if name not in ("float32", "bfloat16", "float16"):
        raise ValueError(f"dtype must be float32, bfloat16 or float16, got {name!r}.")
    return getattr(torch, name)


def _choose(source: str, revision: str | None) -> str:
    config = saved_json(source, CONFIG, revision)
    if config.get("model_type") in _NATIVE:
        return "transformers"
    if config.get("model_type") == "model2vec":
        return "static"
    return "sentence-transformers" if saved_json(source, MODULES, revision) else "transformers"


def _sentence_transformers() -> Any:
    try:
        import sentence_transformers
    except ImportError as error:
        raise ImportError("this model needs sentence-transformers: pip install 'coderep[st]'") from error
    return sentence_transformers


def _sentence_transformer(source: str, revision: str | None, dtype: str) -> Any:
    library = _sentence_transformers()
    return library.SentenceTransformer(
        source, device="cpu", revision=revision, trust_remote_code=False, model_kwargs={"dtype": dtype_of(dtype)}
    )


def _static(source: str) -> Any:
    library = _sentence_transformers()
    try:
        part = library.sentence_transformer.modules.StaticEmbedding.from_model2vec(source)
    except ImportError as error:
        raise ImportError("static models need model2vec: pip install model2vec") from error
    return library.SentenceTransformer(modules=[part], device="cpu")
