"""Loading what embeds texts, by the library that a checkpoint is made for."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from ..devices import place
from ..encode import load_encoder
from ..model_paths import CONFIG
from ..sentence_folder import MODULES, check_model, saved_json
from .embedders import Embedder, EncoderEmbedder, SentenceTransformerEmbedder

LOADERS = ("auto", "transformers", "sentence-transformers", "static")
_NATIVE = ("coderep", "codesage")


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
    model = _static(source) if loader == "static" else load_sentence_transformer(source, revision, dtype)
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


def load_sentence_transformer(source: str, revision: str | None = None, dtype: str = "float32") -> Any:
    """A model as sentence-transformers loads it, on the CPU; code that it brings along is not run.

    Raises:
        ImportError: The library is not installed.
    """
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
