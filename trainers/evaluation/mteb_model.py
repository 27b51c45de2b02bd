"""Any encoder as a model of mteb (arXiv 2210.07316): `mteb.evaluate(mteb_encoder(path), tasks)`."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from .domain import training_data
from .embedders import DOCUMENT, QUERY, Embedder, SentenceTransformerEmbedder
from .loaders import load_embedder

# What training data of these kinds are called among mteb's tasks; its leaderboard tells zero-shot by these names.
_MTEB_NAMES = {
    "codesearchnet": ("CodeSearchNetRetrieval", "COIRCodeSearchNetRetrieval", "CodeSearchNetCCRetrieval"),
    "cosqa": ("CosQA",),
    "advtest": ("AdvTestRetrieval", "CodeSearchNetRetrieval"),
    "codenet": ("CodeNetCode2CodeRetrieval",),
}


def mteb_encoder(
    path: str | Path,
    name: str | None = None,
    revision: str | None = None,
    *,
    max_length: int | None = None,
    **loading: Any,
) -> Any:
    """The encoder in a folder or Hub repo as mteb calls it.

    Args:
        path: Folder or Hub repo of a checkpoint of ours, of any AutoModel, sentence-transformers or static model.
        name: "owner/name", as mteb's results name the model; default: the repo, or "local/<folder>".
        revision: Commit or tag of the repo. mteb's results record it; by default the hash of the weights, so that
            results kept of a folder are not taken for those of what stands there later.
        max_length: Longest text in tokens; None is the model's limit.
        **loading: `loader`, `dtype`, `cache`, `dimensions` and `progress` of `load_embedder`.

    Raises:
        FileNotFoundError: The path is no checkpoint.
        ImportError: The extra `mteb` is not installed.
    """
    name = name or (f"local/{Path(path).resolve().name}" if Path(path).is_dir() else str(path))
    embedder = load_embedder(path, revision=revision, **loading)
    return wrap(embedder, name, revision, max_length=max_length, training_datasets=trained_on(path))


def wrap(
    embedder: Embedder,
    name: str,
    revision: str | None = None,
    *,
    max_length: int | None = None,
    training_datasets: set[str] | None = None,
) -> Any:
    """An embedder as an `mteb` model. What mteb calls queries gets the model's prompt for queries, if it has one.

    Args:
        embedder: The model.
        name: "owner/name".
        revision: Its revision; None is the hash of the weights.
        max_length: Longest text in tokens; None is the model's limit.
        training_datasets: Names of what it was trained on, as mteb's tasks are called; None is unknown.

    Raises:
        ImportError: The extra `mteb` is not installed.
    """
    try:
        from mteb.models.abs_encoder import AbsEncoder
        from mteb.models.model_meta import ModelMeta, ScoringFunction
    except ImportError as error:
        raise ImportError("mteb's models need mteb: pip install 'coderep[mteb]'") from error

    shortened = {"max_length": max_length, "dimensions": embedder.dimensions}
    facts = {
        "name": name,
        "revision": revision or embedder.fingerprint,
        "loader": None,
        "similarity_fn_name": ScoringFunction.COSINE,
        "modalities": ["text"],
        "max_tokens": embedder.cut(max_length),
        "embed_dim": replace(embedder, progress=False).embed([]).shape[1],
        "training_datasets": training_datasets,
        # mteb keeps results by name, revision and these; what is cut must not pass for what is not.
        "experiment_kwargs": {key: value for key, value in shortened.items() if value is not None},
        **_facts_of_weights(embedder),
    }

    class MtebEncoder(AbsEncoder):
        """What mteb asks of a model."""

        mteb_model_meta = ModelMeta.create_empty({key: value for key, value in facts.items() if value != {}})

        def encode(self, inputs: Iterable[dict[str, Any]], *, prompt_type: Any = None, **kwargs: Any) -> np.ndarray:
            """Embeddings of all texts of mteb's batches, each of length 1."""
            texts = [text for batch in inputs for text in batch["text"]]
            kind = QUERY if getattr(prompt_type, "value", prompt_type) == QUERY else DOCUMENT
            return embedder.embed(texts, max_length=max_length, kind=kind)

    return MtebEncoder()


def trained_on(path: str | Path) -> set[str] | None:
    """What the records of a checkpoint's run name as training data, also as mteb names it; None if they are silent."""
    stages = training_data(path)
    if not stages or not all(stage.get("sources") for stage in stages):
        return None
    sources = {str(source) for stage in stages for source in stage["sources"]}
    return sources | {name for source in sources for name in _names_in_mteb(source)}


def _names_in_mteb(source: str) -> list[str]:
    plain = "".join(filter(str.isalnum, source.lower()))
    return [name for part, names in _MTEB_NAMES.items() if part in plain for name in names]


def _facts_of_weights(embedder: Embedder) -> dict[str, Any]:
    static = isinstance(embedder, SentenceTransformerEmbedder)
    model = getattr(embedder, "model", None) if static else getattr(getattr(embedder, "encoder", None), "model", None)
    if model is None:
        return {}
    prompts = getattr(model, "prompts", None) or {}
    return {
        "framework": ["Sentence Transformers", "PyTorch"] if static else ["PyTorch"],
        "n_parameters": sum(parameter.numel() for parameter in model.parameters()),
        "use_instructions": any(prompts.values()),
    }
