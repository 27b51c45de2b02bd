"""The stage-2 collator: text-code pairs to two padded batches, with hard positives by choice."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset
from transformers import PreTrainedTokenizerBase


class Pairs(Dataset):
    """Pair rows that carry the (seed, epoch, row number) from which the collator draws."""

    def __init__(self, rows: Any, seed: int = 0) -> None:
        self.rows, self.seed, self.epoch = rows, seed, 0

    def set_epoch(self, epoch: int) -> None:
        """Redraw hard positives for an epoch."""
        self.epoch = epoch

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, row: int) -> dict[str, Any]:
        return {**self.rows[row], "draw": (self.seed, self.epoch, row)}


class PairCollator:
    """Tokenizes the two sides of pairs.

    Args:
        tokenizer: Appends EOS itself and keeps it under truncation.
        max_text_length: Longest text in tokens, EOS included.
        max_code_length: Longest code in tokens, EOS included.
        hard_positive_rate: Share of pairs whose code is its body alone, without signature and return statements
            (section 3.2 of arXiv 2402.01935). A pair whose body is empty keeps the whole function.

    Raises:
        ValueError: A length is below 2 (one token and EOS) or the rate outside [0, 1].
    """

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerBase,
        *,
        max_text_length: int = 128,
        max_code_length: int = 1024,
        hard_positive_rate: float = 1.0,
    ) -> None:
        for name, length in (("max_text_length", max_text_length), ("max_code_length", max_code_length)):
            if length < 2:
                raise ValueError(f"{name} must be at least 2 (one token and EOS), got {length}.")
        if not 0 <= hard_positive_rate <= 1:
            raise ValueError(f"hard_positive_rate must lie in [0, 1], got {hard_positive_rate}.")
        self.tokenizer = tokenizer
        self.max_text_length, self.max_code_length = max_text_length, max_code_length
        self.hard_positive_rate = hard_positive_rate

    def __call__(self, features: Sequence[Mapping[str, Any]]) -> dict[str, Tensor]:
        """Batch pair rows.

        Returns:
            `text_input_ids`, `text_attention_mask` (B, T_text), `code_input_ids`, `code_attention_mask` (B, T_code),
            and `text_hash`, `code_hash` (B,), equal where the text or the code shown is equal.
        """
        texts = [feature["text"] for feature in features]
        codes = [self._code(feature) for feature in features]
        return {
            **self._tokenize("text", texts, self.max_text_length),
            **self._tokenize("code", codes, self.max_code_length),
            "text_hash": _hashes(texts),
            "code_hash": _hashes(codes),
        }

    def _code(self, feature: Mapping[str, Any]) -> str:
        # Without a `draw`, the pair itself is the seed: the choice is the same in every epoch.
        rng = np.random.default_rng(feature.get("draw") or zlib.crc32(feature["code"].encode("utf-8", "replace")))
        use_body = feature["code_body"] and rng.random() < self.hard_positive_rate
        return feature["code_body"] if use_body else feature["code"]

    def _tokenize(self, side: str, texts: list[str], max_length: int) -> dict[str, Tensor]:
        batch = self.tokenizer(
            texts,
            truncation=True,
            max_length=max_length,
            padding=True,
            return_tensors="pt",
            return_token_type_ids=False,
            split_special_tokens=True,
        )
        return {f"{side}_{name}": tensor for name, tensor in batch.items()}


def _hashes(texts: list[str]) -> Tensor:
    digests = [hashlib.blake2b(text.encode("utf-8", "replace"), digest_size=8).digest() for text in texts]
    return torch.tensor([int.from_bytes(digest, "little", signed=True) for digest in digests])
