"""The stage-2 collator: text-code pairs to flat batches, with hard positives and mined negatives by choice.

Shape suffixes: N = pairs, K = negatives of all pairs of a batch, T = tokens of all items of a side.
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Collection, Mapping, Sequence
from itertools import chain
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset
from transformers import BatchEncoding, PreTrainedTokenizerBase

from .hard_positives import PARTS, check_parts, hard_positive_of
from .rows import OF_CODES, SUMMARY, TEXT_KIND

# Text beyond so many characters a token is not tokenized, unless it turns out that the tokens are longer.
_CHARACTERS_PER_TOKEN = 8


class Pairs(Dataset):
    """Pair rows that carry the (seed, epoch, row number) from which the collator draws.

    Args:
        rows: The rows.
        seed: Another seed draws otherwise.
        whole_N: Rows whose code is never shown in part (bool), such as `shared_hard_positives`; None: there are none.
    """

    def __init__(self, rows: Any, seed: int = 0, whole_N: np.ndarray | None = None) -> None:
        self.rows, self.seed, self.epoch, self.whole_N = rows, seed, 0, whole_N

    def set_epoch(self, epoch: int) -> None:
        """Redraw hard positives and negatives for an epoch."""
        self.epoch = epoch

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, row: int) -> dict[str, Any]:
        whole = self.whole_N is not None and bool(self.whole_N[row])
        return {**self.rows[row], "draw": (self.seed, self.epoch, row), "whole": whole}


class PairCollator:
    """Tokenizes the sides of pairs, without padding.

    A row is a mapping with `text` and `code`. The other columns of `PairRow` give hard positives, `negatives` is a list
    of codes that do not answer the text; both may be missing. A row that is marked `whole` has no hard positive.

    Args:
        tokenizer: Adds its special tokens itself and keeps them under truncation.
        max_text_length: Longest text in tokens, special ones included.
        max_code_length: Longest code in tokens, special ones included.
        hard_positive_rate: Share of pairs whose code is shown without some of its parts. A pair of which nothing would
            be left keeps the whole function.
        hard_positive_drop: These parts, among signature, return and docstring; None: all, as in the paper. See
            `hard_positives.hard_positive_of`.
        max_negatives: Most negatives of a row that a batch takes; of more, as many are drawn.
        docstring_text_rate: Share of summaries in whose place the whole doc comment stands: long descriptions.
        docstring_code_rate: Share of codes shown whole that stand below their doc comment, as much of what people
            search does. No pair has both. Texts that `coderep data augment` made of codes are left alone.
        prompts: What a `text` and a `code` begin with for models that want it; hashes leave it out.

    Raises:
        ValueError: A length is below 2 (one token and EOS), a rate outside [0, 1], a part unknown, or `max_negatives`
            below 0.
    """

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerBase,
        *,
        max_text_length: int = 128,
        max_code_length: int = 1024,
        hard_positive_rate: float = 1.0,
        hard_positive_drop: Collection[str] | None = None,
        max_negatives: int = 4,
        docstring_text_rate: float = 0.0,
        docstring_code_rate: float = 0.0,
        prompts: Mapping[str, str] | None = None,
    ) -> None:
        for name, length in (("max_text_length", max_text_length), ("max_code_length", max_code_length)):
            if length < 2:
                raise ValueError(f"{name} must be at least 2 (one token and EOS), got {length}.")
        if not 0 <= hard_positive_rate <= 1:
            raise ValueError(f"hard_positive_rate must lie in [0, 1], got {hard_positive_rate}.")
        if max_negatives < 0:
            raise ValueError(f"max_negatives must be at least 0 (none are used), got {max_negatives}.")
        if min(docstring_text_rate, docstring_code_rate) < 0 or docstring_text_rate + docstring_code_rate > 1:
            raise ValueError(
                "docstring_text_rate and docstring_code_rate are shares of different pairs: none may be negative, and "
                f"their sum at most 1, got {docstring_text_rate} and {docstring_code_rate}."
            )
        self.tokenizer = tokenizer
        self.max_text_length, self.max_code_length = max_text_length, max_code_length
        self.hard_positive_drop = check_parts(PARTS if hard_positive_drop is None else hard_positive_drop)
        self.hard_positive_rate, self.max_negatives = hard_positive_rate, max_negatives
        self.docstring_text_rate, self.docstring_code_rate = docstring_text_rate, docstring_code_rate
        self.prompts = dict(prompts or {})

    def __call__(self, features: Sequence[Mapping[str, Any]]) -> dict[str, Tensor]:
        """Batch pair rows.

        Returns:
            For each side of text and code: `{side}_input_ids` (T,), the tokens of one item after the other, and
            `{side}_lengths` (N,), all int64; `{side}_hash` (N,), equal where what is shown is equal. Where rows have
            the column `negatives`, the same (T,) and (K,) for `negative`, whose hashes are comparable with the code's:
            a negative that is the code of another pair of the batch has the hash of that pair.

        Raises:
            ValueError: A row has no text or no code, or not the columns that its hard positive needs.
        """
        check_pairs(features)
        draws = [self._generator(feature) for feature in features]
        texts, codes = zip(*map(self._shown, features, draws), strict=True)
        batch = {**self._side("text", texts, self.max_text_length), **self._side("code", codes, self.max_code_length)}
        if self.max_negatives and any(feature.get("negatives") is not None for feature in features):
            drawn = [self._negatives(feature, rng) for feature, rng in zip(features, draws, strict=True)]
            negatives = list(chain.from_iterable(drawn))
            batch |= self._side("negative", negatives, self.max_code_length)
            shown = {feature["code"]: code for feature, code in zip(features, codes, strict=True)}
            batch["negative_hash"] = _hashes([shown.get(text, text) for text in negatives])
        return batch

    def _generator(self, feature: Mapping[str, Any]) -> np.random.Generator:
        # Without a `draw`, the pair itself is the seed: the choice is the same in every epoch.
        return np.random.default_rng(feature.get("draw") or zlib.crc32(feature["code"].encode("utf-8", "replace")))

    def _code(self, feature: Mapping[str, Any], rng: np.random.Generator) -> str:
        hard = rng.random() < self.hard_positive_rate and not feature.get("whole")
        return (hard and hard_positive_of(feature, self.hard_positive_drop)) or feature["code"]

    def _shown(self, feature: Mapping[str, Any], rng: np.random.Generator) -> tuple[str, str]:
        """What a pair shows as its text and as its code."""
        text, code, docstring = feature["text"], self._code(feature, rng), feature.get("docstring")
        if not docstring or not self.docstring_text_rate + self.docstring_code_rate:
            return text, code
        kind, lot = feature.get(TEXT_KIND) or SUMMARY, rng.random()
        if kind == SUMMARY and lot < self.docstring_text_rate:
            return docstring, code
        if kind not in OF_CODES and code == feature["code"] and lot >= 1 - self.docstring_code_rate:
            return text, f"{docstring}\n{code}"
        return text, code

    def _negatives(self, feature: Mapping[str, Any], rng: np.random.Generator) -> list[str]:
        found = list(feature.get("negatives") or [])
        if len(found) <= self.max_negatives:
            return found
        return [found[place] for place in rng.choice(len(found), self.max_negatives, replace=False)]

    def _side(self, side: str, texts: Sequence[str], max_length: int) -> dict[str, Tensor]:
        prompt = self.prompts.get("text" if side == "text" else "code", "")
        tokens = self._tokenize([prompt + text for text in texts], max_length)
        lengths = np.fromiter(map(len, tokens), dtype=np.int64, count=len(tokens))
        flat = np.fromiter(chain.from_iterable(tokens), dtype=np.int64, count=int(lengths.sum()))
        return {
            f"{side}_input_ids": torch.from_numpy(flat),
            f"{side}_lengths": torch.from_numpy(lengths),
            f"{side}_hash": _hashes(texts),
        }

    def _tokenize(self, texts: list[str], max_length: int) -> list[list[int]]:
        """Token ids of each text, in one or two calls of the tokenizer."""
        if not self.tokenizer.is_fast or self.tokenizer.truncation_side != "right":
            return self._encode(texts, max_length)["input_ids"] if texts else []
        # Functions are much longer than what is read of them: their ends would take most of the time.
        beginnings = [_beginning(text, _CHARACTERS_PER_TOKEN * max_length) for text in texts]
        batch = self._encode(beginnings, max_length) if texts else {"input_ids": []}
        cut_off = (place for place, text in enumerate(texts) if len(beginnings[place]) < len(text))
        # Without tokens to spare, a beginning was too short, or what follows could change its last ones.
        short = [place for place in cut_off if not batch.encodings[place].overflowing]
        if short:
            whole = self._encode([texts[place] for place in short], max_length)["input_ids"]
            for place, ids in zip(short, whole, strict=True):
                batch["input_ids"][place] = ids
        return batch["input_ids"]

    def _encode(self, texts: list[str], max_length: int) -> BatchEncoding:
        return self.tokenizer(
            texts,
            truncation=True,
            max_length=max_length,
            padding=False,
            return_attention_mask=False,
            return_token_type_ids=False,
            split_special_tokens=True,
        )


def _beginning(text: str, characters: int) -> str:
    """The text up to the last blank among its first characters; all of it, if there is none."""
    end = max(text.rfind(" ", 0, characters), text.rfind("\n", 0, characters)) if len(text) > characters else 0
    return text[:end].rstrip() or text


def check_pairs(rows: Sequence[Mapping[str, Any]]) -> None:
    """Refuse rows that are no pairs.

    Raises:
        ValueError: A row has no text or no code, or its negatives are no list.
    """
    for row in rows:
        for name in ("text", "code"):
            if not isinstance(row.get(name), str):
                raise ValueError(
                    f"a pair needs a string in the column {name!r}, got {row.get(name)!r}. "
                    f"The columns of this row: {', '.join(row) or 'none'}."
                )
        if isinstance(row.get("negatives"), str):
            raise ValueError(f"negatives must be a list of codes, got the string {row['negatives'][:40]!r}.")


def _hashes(texts: Sequence[str]) -> Tensor:
    digests = [hashlib.blake2b(text.encode("utf-8", "replace"), digest_size=8).digest() for text in texts]
    return torch.from_numpy(np.frombuffer(b"".join(digests), dtype="<i8").astype(np.int64))
