"""Our encoders as models of mteb (arXiv 2210.07316): `mteb.evaluate(mteb_encoder(path), tasks)`."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from ..encode import Encoder, load_encoder

try:
    from mteb.models.abs_encoder import AbsEncoder
    from mteb.models.model_meta import ModelMeta, ScoringFunction
except ImportError as error:
    raise ImportError("mteb's models need mteb: pip install 'coderep[mteb]'") from error


class MtebEncoder(AbsEncoder):
    """An encoder as mteb calls it. Texts are encoded as they stand, without prompts, as in CodeSage's evaluation.

    Args:
        encoder: The model, with `encode`.
        name: "owner/name", as mteb's results name it.
        revision: Commit or tag of the checkpoint.
    """

    def __init__(self, encoder: Encoder, name: str, revision: str = "local") -> None:
        self.encoder = encoder
        self.mteb_model_meta = ModelMeta.create_empty(
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
        return self.encoder.encode([text for batch in inputs for text in batch["text"]])


def mteb_encoder(path: str | Path, name: str | None = None, revision: str = "local") -> MtebEncoder:
    """The encoder in a folder or Hub repo for mteb; `name` defaults to the path, or "local/<folder>".

    Raises:
        FileNotFoundError: The path is no checkpoint.
    """
    name = name or (f"local/{Path(path).name}" if Path(path).is_dir() else str(path))
    return MtebEncoder(load_encoder(path), name, revision)
