"""Texts to embeddings: sorted by length, batched by a budget of tokens, given back in the order they came.

Shape suffixes: N = texts, D = embedding width.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .pooling_coderep import pool_documents


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


def embed_padded(
    embed: Callable[[Tensor, Tensor], Tensor], tokenizer: Any, device: torch.device | str
) -> Callable[[list[list[int]]], Tensor]:
    """A function from token ids of each text to embeddings, by one that takes padded `input_ids, attention_mask`."""

    def embed_ids(ids: list[list[int]]) -> Tensor:
        padded = tokenizer.pad({"input_ids": ids}, return_tensors="pt", padding_side="right").to(device)
        return embed(padded["input_ids"], padded["attention_mask"])

    return embed_ids


def encode_texts(
    embed: Callable[[list[list[int]]], Tensor],
    tokenizer: Any,
    texts: Sequence[str],
    *,
    max_length: int | None = None,
    batch_tokens: int = 8192,
    normalize: bool = False,
    dimensions: int | None = None,
    show_progress: bool = False,
    width: int = 0,
) -> Tensor:
    """Embeddings_ND of texts, float32 on the CPU, whatever the batching.

    Args:
        embed: Function from the token ids of some texts to their embeddings; see `embed_padded`.
        tokenizer: Appends EOS itself and keeps it under truncation. What looks like a special token in a text is
            text.
        texts: Any number of texts; an empty one is its EOS token alone.
        max_length: Longest text in tokens, the rest is cut; None takes the tokenizer's own limit.
        batch_tokens: Padded tokens per batch, the measure of memory.
        normalize: Scale every embedding to length 1, so that dot products are cosines.
        dimensions: Keep the first so many dimensions (Matryoshka), before normalising.
        show_progress: Show a bar that counts texts.
        width: Embedding width, needed when there is no text, and to check `dimensions` before any work.

    Raises:
        TypeError: `texts` is a single string.
        ValueError: `batch_tokens` or `dimensions` is out of range.
    """
    if isinstance(texts, str):
        raise TypeError("texts must be a list of strings, got one string. Wrap it: [text].")
    if dimensions is not None and not 1 <= dimensions <= (width or dimensions):
        raise ValueError(f"dimensions must lie in [1, {width}], got {dimensions}.")
    ids = _tokenize(tokenizer, texts, max_length) if len(texts) else []
    # A tokenizer that adds no EOS makes nothing of an empty text; its embedding is zero.
    filled = [index for index, row in enumerate(ids) if row]
    parts: list[Tensor] = []
    order: list[int] = []
    with _progress(len(texts), show_progress) as progress:
        for batch in token_budget_batches([len(ids[index]) for index in filled], batch_tokens):
            chosen = [filled[index] for index in batch]
            with torch.no_grad():
                parts.append(embed([ids[index] for index in chosen]).float().cpu())
            order.extend(chosen)
            progress.update(len(chosen))
    embeddings_ND = torch.zeros(len(texts), parts[0].shape[1] if parts else width)
    if parts:
        embeddings_ND[torch.tensor(order)] = torch.cat(parts)
    return _finish(embeddings_ND, dimensions, normalize)


def _tokenize(tokenizer: Any, texts: Sequence[str], max_length: int | None) -> list[list[int]]:
    return tokenizer(
        list(texts),
        truncation=True,
        max_length=max_length,
        padding=False,
        return_attention_mask=False,
        return_token_type_ids=False,
        split_special_tokens=True,
    )["input_ids"]


def _finish(embeddings_ND: Tensor, dimensions: int | None, normalize: bool) -> Tensor:
    if dimensions is not None:
        if not 1 <= dimensions <= embeddings_ND.shape[1]:
            raise ValueError(f"dimensions must lie in [1, {embeddings_ND.shape[1]}], got {dimensions}.")
        embeddings_ND = embeddings_ND[:, :dimensions].contiguous()
    return torch.nn.functional.normalize(embeddings_ND, dim=-1) if normalize else embeddings_ND


def _progress(total: int, show: bool) -> Any:
    from tqdm.auto import tqdm

    return tqdm(total=total, desc="encoding", unit="text", mininterval=1.0, disable=not show)


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
        the weights unless another is given. Texts are cut at `max_length`, by default the model's or the tokenizer's
        limit, whichever is lower. See `encode_texts` for the other arguments.

        Raises:
            TypeError: `texts` is a single string.
            ValueError: An argument is out of range, or the model was not loaded from a folder or repo and
                no tokenizer is given.
        """
        limit = self.config.max_position_embeddings
        if max_length is not None and not 1 <= max_length <= limit:
            raise ValueError(f"max_length must lie in [1, {limit}] (max_position_embeddings), got {max_length}.")
        tokenizer = tokenizer or self._saved_tokenizer()
        if len(tokenizer) > self.config.vocab_size:
            raise ValueError(
                f"the tokenizer has {len(tokenizer)} tokens, the model a vocabulary of {self.config.vocab_size}. "
                f"Use the tokenizer that the model was trained with."
            )
        training = [module for module in self.modules() if module.training]
        self.eval()
        try:
            embeddings_ND = encode_texts(
                self.embedder(tokenizer),
                tokenizer,
                texts,
                max_length=max_length or min(limit, tokenizer.model_max_length),
                batch_tokens=batch_tokens,
                normalize=normalize,
                dimensions=dimensions,
                show_progress=show_progress,
                width=self.config.hidden_size,
            )
        finally:
            for module in training:
                module.training = True
        return embeddings_ND if convert_to_tensor else embeddings_ND.numpy()

    def embedder(self, tokenizer: Any) -> Callable[[list[list[int]]], Tensor]:
        """A function from the token ids of some texts to their embeddings_ND, in the mode that the model is in.

        Texts are packed into one row, which spares all work on padding, where the attention backend then needs no
        dense mask; elsewhere they are padded.
        """
        backend = self.config._attn_implementation
        if "flash" in backend or (backend == "sdpa" and self.device.type == "cpu"):
            return self._embed_packed
        return embed_padded(self._embed, tokenizer, self.device)

    def _embed(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        return self(input_ids=input_ids, attention_mask=attention_mask).pooler_output

    def _embed_packed(self, ids: list[list[int]]) -> Tensor:
        lengths = [len(row) for row in ids]
        input_ids = torch.tensor([token for row in ids for token in row], dtype=torch.long, device=self.device)
        position_ids = torch.cat([torch.arange(length, device=self.device) for length in lengths])
        outputs = self(input_ids=input_ids.unsqueeze(0), position_ids=position_ids.unsqueeze(0))
        return pool_documents(outputs.last_hidden_state[0], lengths, self.config.pooling)

    def _saved_tokenizer(self) -> Any:
        if getattr(self, "_tokenizer", None) is None:
            from transformers import AutoTokenizer

            if not self.config._name_or_path:
                raise ValueError(
                    "This model was not loaded from a folder or repo, so it has no tokenizer of its own. "
                    "Pass one: model.encode(texts, tokenizer)."
                )
            # The tokenizer needs no code of its own; unsaid, transformers would ask at the terminal whether to run any.
            self._tokenizer = AutoTokenizer.from_pretrained(
                self.config._name_or_path, trust_remote_code=False, **getattr(self, "_hub_options", {})
            )
        return self._tokenizer
