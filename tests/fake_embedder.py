"""An embedder without a model, for tests."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from trainers.evaluation.embedders import Embedder


@dataclass(frozen=True)
class Fake(Embedder):
    """Embeds by a function of the text."""

    name: str = "fake"
    limit: int | None = None
    vector: Any = field(kw_only=True)
    fingerprint: str = "fake"
    seen: list = field(default_factory=list, kw_only=True)

    def _embed(self, texts, max_length, kind, *, bar):
        self.seen.append(len(texts))
        return np.stack([np.asarray(self.vector(text), np.float32) for text in texts])
