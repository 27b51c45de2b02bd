"""Our encoders as models of mteb (arXiv 2210.07316): `mteb.evaluate(mteb_encoder(path), tasks)`."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from ..encode import Encoder, load_encoder


def mteb_encoder(path: str | Path, name: str | None = None, revision: str | None = None) -> Any:
    """The encoder in a folder or Hub repo as mteb calls it.

    Texts are encoded as they stand, without prompts, as in CodeSage's evaluation.

    Args:
        path: Folder or Hub repo.
        name: "owner/name", as mteb's results name the model; default: the repo, or "local/<folder>".
        revision: Commit or tag of the repo; mteb's results record it.

    Raises:
        FileNotFoundError: The path is no checkpoint.
        ImportError: The extra `mteb` is not installed.
    """
    folder = Path(path).is_dir()
    name = name or (f"local/{Path(path).resolve().name}" if folder else str(path))
    return wrap(load_encoder(path, revision), name, revision or ("local" if folder else "main"))


def wrap(encoder: Encoder, name: str, revision: str) -> Any:
    """An encoder as an `mteb` model.

    Raises:
        ImportError: The extra `mteb` is not installed.
    """
    try:
        from mteb.models.abs_encoder import AbsEncoder
        from mteb.models.model_meta import ModelMeta, ScoringFunction
    except ImportError as error:
        raise ImportError("mteb's models need mteb: pip install 'coderep[mteb]'") from error

    class MtebEncoder(AbsEncoder):
        """What mteb asks of a model."""

        mteb_model_meta = ModelMeta.create_empty(
            {
                "name": name,
                "revision": revision,
                "loader": None,
                "framework": ["PyTorch"],
                "similarity_fn_name": ScoringFunction.COSINE,
                "modalities": ["text"],
                "max_tokens": encoder.max_length,
                "embed_dim": encoder.model.config.hidden_size,
                "n_parameters": encoder.model.num_parameters(),
            }
        )

        def encode(self, inputs: Iterable[dict[str, Any]], **kwargs: Any) -> np.ndarray:
            """Embeddings of all texts of mteb's batches, each of length 1."""
            return encoder.encode([text for batch in inputs for text in batch["text"]])

    return MtebEncoder()
