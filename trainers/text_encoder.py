"""What every encoder with a tokenizer does, whatever runs it: texts to embeddings of length 1."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import numpy as np
from torch import Tensor

from modeling_coderep import encode_texts


class TextEncoder:
    """Gives a class with `tokenizer`, `max_length` (tokens), `width` and `embedder` the method `encode`."""

    tokenizer: Any
    max_length: int
    dimensions: int | None = None  # of an embedding, unless told otherwise
    batch_tokens: ClassVar[int] = 8192

    @property
    def width(self) -> int:
        """Dimensions of the model's own embeddings."""
        raise NotImplementedError

    def embedder(self) -> Callable[[list[list[int]]], Tensor]:
        """A function from the token ids of some texts to their embeddings."""
        raise NotImplementedError

    def encode(
        self,
        texts: Sequence[str],
        *,
        max_length: int | None = None,
        dimensions: int | None = None,
        batch_tokens: int | None = None,
        progress: bool = False,
    ) -> np.ndarray:
        """Embeddings of shape (texts, dimensions), float32, each of length 1.

        Args:
            texts: Any number of texts.
            max_length: Longest text in tokens, the rest is cut; None and what lies above the model's limit is its
                limit.
            dimensions: Keep the first so many and scale them to length 1 (Matryoshka); None: the encoder's own.
            batch_tokens: Padded tokens at a time, the measure of memory.
            progress: Show a bar.

        Raises:
            ValueError: `max_length` is below 1, or there are fewer dimensions.
        """
        if max_length is not None and max_length < 1:
            raise ValueError(f"max_length must be at least 1, got {max_length}.")
        return encode_texts(
            self.embedder(),
            self.tokenizer,
            texts,
            max_length=min(max_length or self.max_length, self.max_length),
            batch_tokens=batch_tokens or self.batch_tokens,
            normalize=True,
            dimensions=self.dimensions if dimensions is None else dimensions,
            show_progress=progress,
            width=self.width,
        ).numpy()
