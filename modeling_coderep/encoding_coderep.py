"""Texts to embeddings: sorted by length, batched by a budget of tokens, given back in the order they came.

Shape suffixes: N = texts, D = embedding width.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor


def token_budget_batches(lengths: Sequence[int], batch_tokens: int) -> list[list[int]]:
    """Indices of `lengths`, longest first, in batches whose padded size stays within `batch_tokens`.

    A text longer than the budget is a batch of its own.

    Raises:
        ValueError: `batch_tokens` is below 1.
    """
    if batch_tokens < 1:
        raise ValueError(f"batch_tokens must be at least 1, got {batch_tokens}.")
    batches: list[list[int]] = []
    widest = 0
    for index in sorted(range(len(lengths)), key=lambda i: -lengths[i]):
        if not batches or (len(batches[-1]) + 1) * widest > batch_tokens:
            batches.append([])
            widest = lengths[index]
        batches[-1].append(index)
    return batches


def encode_texts(
    embed: Callable[..., Tensor],
    tokenizer: Any,
    texts: Sequence[str],
    *,
    device: torch.device | str = "cpu",
    max_length: int | None = None,
    batch_tokens: int = 8192,
    normalize: bool = False,
    dimensions: int | None = None,
    show_progress: bool = False,
    width: int = 0,
) -> Tensor:
    """Embeddings_ND of texts, float32 on the CPU, whatever the batching.

    Args:
        embed: Function from `input_ids, attention_mask` to embeddings_BD.
        tokenizer: Appends EOS itself and keeps it under truncation.
        texts: Any number of texts; an empty one is its EOS token alone.
        device: Where `embed` expects its tensors.
        max_length: Longest text in tokens, the rest is cut; None takes the tokenizer's own limit.
        batch_tokens: Padded tokens per batch, the measure of memory.
        normalize: Scale every embedding to length 1, so that dot products are cosines.
        dimensions: Keep the first so many dimensions (Matryoshka), before normalising.
        show_progress: Show a bar that counts texts.
        width: Embedding width, needed when there is no text.

    Raises:
        TypeError: `texts` is a single string.
        ValueError: `batch_tokens` or `dimensions` is out of range.
    """
    if isinstance(texts, str):
        raise TypeError("texts must be a list of strings, got one string. Wrap it: [text].")
    if len(texts) == 0:
        return torch.zeros(0, dimensions or width)
    ids = tokenizer(
        list(texts),
        truncation=True,
        max_length=max_length,
        padding=False,
        return_attention_mask=False,
        return_token_type_ids=False,
        split_special_tokens=True,
    )["input_ids"]
    order: list[int] = []
    parts: list[Tensor] = []
    progress = _progress(len(texts)) if show_progress else None
    for batch in token_budget_batches([len(row) for row in ids], batch_tokens):
        padded = tokenizer.pad({"input_ids": [ids[i] for i in batch]}, return_tensors="pt").to(device)
        with torch.no_grad():
            parts.append(embed(padded["input_ids"], padded["attention_mask"]).float().cpu())
        order.extend(batch)
        if progress is not None:
            progress.update(len(batch))
    if progress is not None:
        progress.close()
    sorted_ND = torch.cat(parts)
    embeddings_ND = torch.empty_like(sorted_ND)
    embeddings_ND[torch.tensor(order)] = sorted_ND
    return _finish(embeddings_ND, dimensions, normalize)


def _finish(embeddings_ND: Tensor, dimensions: int | None, normalize: bool) -> Tensor:
    if dimensions is not None:
        if not 1 <= dimensions <= embeddings_ND.shape[1]:
            raise ValueError(f"dimensions must lie in [1, {embeddings_ND.shape[1]}], got {dimensions}.")
        embeddings_ND = embeddings_ND[:, :dimensions].contiguous()
    return torch.nn.functional.normalize(embeddings_ND, dim=-1) if normalize else embeddings_ND


def _progress(total: int) -> Any:
    from tqdm.auto import tqdm

    return tqdm(total=total, desc="encoding", unit="text", mininterval=1.0)


class EncodeMixin:
    """Gives a model with a pooled output the method `encode`."""

    def encode(
        self,
        texts: Sequence[str],
        tokenizer: Any = None,
        *,
        max_length: int | None = None,
        batch_tokens: int = 8192,
        normalize: bool = False,
        dimensions: int | None = None,
        show_progress: bool = False,
        convert_to_tensor: bool = False,
    ) -> np.ndarray | Tensor:
        """Embeddings of shape (texts, hidden_size), float32, on the CPU, in the order of `texts`.

        Dropout is off while encoding, whatever mode the model is in. The tokenizer is the one saved beside
        the weights unless another is given. See `encode_texts` for the other arguments.

        Raises:
            TypeError: `texts` is a single string.
            ValueError: An argument is out of range, or the model was not loaded from a folder or repo and
                no tokenizer is given.
        """
        limit = self.config.max_position_embeddings
        if max_length is not None and not 1 <= max_length <= limit:
            raise ValueError(f"max_length must lie in [1, {limit}] (max_position_embeddings), got {max_length}.")
        was_training = self.training
        self.eval()
        try:
            embeddings_ND = encode_texts(
                lambda ids, mask: self(input_ids=ids, attention_mask=mask).pooler_output,
                tokenizer or self._saved_tokenizer(),
                texts,
                device=self.device,
                max_length=max_length or limit,
                batch_tokens=batch_tokens,
                normalize=normalize,
                dimensions=dimensions,
                show_progress=show_progress,
                width=self.config.hidden_size,
            )
        finally:
            self.train(was_training)
        return embeddings_ND if convert_to_tensor else embeddings_ND.numpy()

    def _saved_tokenizer(self) -> Any:
        if getattr(self, "_tokenizer", None) is None:
            from transformers import AutoTokenizer

            if not self.config._name_or_path:
                raise ValueError(
                    "This model was not loaded from a folder or repo, so it has no tokenizer of its own. "
                    "Pass one: model.encode(texts, tokenizer)."
                )
            self._tokenizer = AutoTokenizer.from_pretrained(self.config._name_or_path)
        return self._tokenizer
