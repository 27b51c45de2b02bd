"""What is compared: BM25, a checkpoint as it is, its first dimensions alone, its int8 ONNX file."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from hub_cards.onnx_export import INT8
from trainers.embedding_cache import model_fingerprint
from trainers.evaluation.embedders import Embedder
from trainers.evaluation.loaders import load_embedder
from trainers.evaluation.scorers import BM25, Bm25Scorer, CosineScorer, Scorer
from trainers.onnx_encoder import OnnxEncoder

_DIMENSIONS, _INT8 = " dimensions", "int8 ONNX"


@dataclass(frozen=True, slots=True)
class Form:
    """A model in one of the forms that it is used in.

    Args:
        name: Its name in results, which says the form too: "coderep-mini, 128 dimensions".
        model: `bm25`, or a checkpoint folder or Hub repo.
        dimensions: Keep the first so many, scaled to length 1 again (Matryoshka).
        int8: Take the checkpoint's `onnx/model_quantized.onnx`.
    """

    name: str
    model: str
    dimensions: int | None = None
    int8: bool = False


def forms(model: str, name: str, dimensions: Sequence[int] = (), int8: bool = False) -> list[Form]:
    """A model as it is and, unless it is BM25, in the smaller forms asked for."""
    found = [Form(name, model)]
    if model != BM25:
        found += [Form(f"{name}, {number}{_DIMENSIONS}", model, dimensions=number) for number in dimensions]
        found += [Form(f"{name}, {_INT8}", model, int8=True)] if int8 else []
    return found


def form_of(model: str, name: str) -> Form:
    """The form of a model that a name in results says."""
    last = name.rsplit(", ", 1)[-1]
    number = last.removesuffix(_DIMENSIONS)
    return Form(name, model, int(number) if number != last and number.isdecimal() else None, last == _INT8)


@dataclass(frozen=True)
class OnnxEmbedder(Embedder):
    """An ONNX file of a checkpoint, with the cache."""

    encoder: OnnxEncoder = field(kw_only=True)
    file: Path = field(kw_only=True)

    @cached_property
    def fingerprint(self) -> str:
        """Hash of weights and graph, and of the tokenizer."""
        weights = hashlib.sha256(self.file.read_bytes()).hexdigest()
        return model_fingerprint(nn.Module(), self.encoder.tokenizer, weights)

    @property
    def tokenizer(self) -> Any:
        """The checkpoint's."""
        return self.encoder.tokenizer

    def _embed(self, texts: list[str], max_length: int | None, kind: str, *, bar: bool) -> np.ndarray:
        return self.encoder.encode(texts, max_length=max_length, progress=bar)


def scorer(form: Form, cache: str | None = None) -> Scorer:
    """What ranks by a model: BM25, or the cosine of its embeddings, which are kept in the folder `cache`.

    Raises:
        FileNotFoundError: There is no such checkpoint or ONNX file.
        ImportError: The library that it needs is not installed.
    """
    if form.model == BM25:
        return Bm25Scorer()
    if not form.int8:
        return CosineScorer(load_embedder(form.model, cache=cache, dimensions=form.dimensions, progress=True))
    encoder = OnnxEncoder(form.model, INT8)
    common = {"name": form.model, "limit": encoder.max_length, "cache": cache, "progress": True}
    return CosineScorer(OnnxEmbedder(encoder=encoder, file=Path(form.model, INT8), **common))
