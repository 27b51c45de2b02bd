"""Which encoder a search takes: the whole one to build an index, a light one for a query where that gives the same."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from .light_encoder import LightEncoder, folder_fingerprint, open_light
from .search_index import Index

_FEW = 8  # so many functions a light encoder embeds sooner than the whole one is imported
_COSINE = 0.9995  # with weights in bfloat16, the whole encoder rounds every step and the light one does not
# A query, code, letters and signs of many kinds, what looks like a special token, a text that is cut.
_SAMPLES = (
    "read a csv file into rows",
    "def total(xs):\n    return sum(x for x in xs if x > 0)",
    "Größe naïve 東京 fooBar_baz42 -> <s> [MASK] </s> \\t 0x1F",
    "value = value + 1\n" * 400,
)


class SearchEncoder(Protocol):
    """What a search asks of an encoder."""

    def encode(self, texts: Sequence[str], *, max_length: int | None = None) -> np.ndarray:
        """Embeddings of shape (texts, width), each of length 1."""


class Encoders:
    """The encoders of a checkpoint, each loaded when it is needed.

    Args:
        checkpoint: Folder or Hub repo id.
        device: Where the whole encoder runs, such as "cuda:1"; None: an accelerator if there is one.
    """

    def __init__(self, checkpoint: str | Path, device: str | None = None) -> None:
        self._checkpoint, self._device = checkpoint, device

    @cached_property
    def whole(self) -> Any:
        """The encoder on torch."""
        from .encode import load_encoder
        from .messages import quiet_models

        quiet_models()
        return load_encoder(self._checkpoint, device=self._device)

    @cached_property
    def light(self) -> LightEncoder | None:
        """The encoder on NumPy, if the checkpoint is one that it reads."""
        return open_light(self._checkpoint)

    @cached_property
    def fingerprint(self) -> str:
        """Hash of what embeddings depend on; of a folder without loading it."""
        return folder_fingerprint(self._checkpoint) if Path(self._checkpoint).is_dir() else self.whole.fingerprint

    def choose(self, kept: Index, new: int = 0) -> tuple[SearchEncoder, bool]:
        """The encoder for a search with so many functions to embed, and whether the light one may be trusted.

        It may where an index says so, which was built when both were compared.
        """
        if kept.light and new <= _FEW and self.light is not None:
            return self.light, True
        return self.whole, kept.light or self._agree()

    def _agree(self) -> bool:
        if self.light is None:
            return False
        try:
            ours_SD = self.light.encode(_SAMPLES, max_length=256)
        except Exception:  # a part that it has not, or has otherwise
            return False
        theirs_SD = self.whole.encode(_SAMPLES, max_length=256)
        return ours_SD.shape == theirs_SD.shape and float((ours_SD * theirs_SD).sum(axis=1).min()) > _COSINE
