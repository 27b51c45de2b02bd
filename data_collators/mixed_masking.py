"""The stage-1 collator: masked language modelling mixed with identifier deobfuscation.

Shape suffixes: B = rows, T = tokens.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from .masking import IGNORE, apply_masks, mixed_positions

DOBF_PROBABILITY = {"random": 0.0, "parallel": 0.5, "dobf": 1.0}


class MixedMaskingCollator:
    """Masks packed or single documents; each draws its objective independently (section 3.1 of arXiv 2402.01935).

    Randomness comes from `draw`, the (seed, epoch, row number) of each feature, so a batch is the same whatever the
    number of workers. The paper's "sequential" is two runs: "random", then "dobf" from its checkpoint.

    Args:
        tokenizer: Gives the mask and padding tokens, the special tokens (never masked) and the vocabulary size.
        objective: "parallel" (each document takes deobfuscation or random masking), "random" or "dobf".
        dobf_probability: Probability of deobfuscation under "parallel".
        mlm_rate: Share of tokens that random masking predicts.
        identifier_share: Share of a document's identifiers that deobfuscation predicts. The paper does not state it;
            one half of the identifiers is about as many tokens as 15 % random masking.
        mask_share: Share of predicted positions that show the mask token; 1 is the paper's full mask.
        random_share: Share that shows a random token; what remains shows itself.
        seed: Seed of features that carry no `draw`.

    Raises:
        ValueError: An option is outside its range, or the tokenizer has no mask or padding token.
    """

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerBase,
        *,
        objective: str = "parallel",
        dobf_probability: float = 0.5,
        mlm_rate: float = 0.15,
        identifier_share: float = 0.5,
        mask_share: float = 1.0,
        random_share: float = 0.0,
        seed: int = 0,
    ) -> None:
        if objective not in DOBF_PROBABILITY:
            raise ValueError(f"objective must be one of {', '.join(DOBF_PROBABILITY)}, got {objective!r}.")
        if not 0 < mlm_rate < 1:
            raise ValueError(f"mlm_rate must lie in (0, 1), got {mlm_rate}. To mask identifiers only, use 'dobf'.")
        if not 0 < identifier_share <= 1:
            raise ValueError(
                f"identifier_share must lie in (0, 1], got {identifier_share}. To mask at random only, use 'random'."
            )
        if not 0 <= dobf_probability <= 1:
            raise ValueError(f"dobf_probability must lie in [0, 1], got {dobf_probability}.")
        if mask_share < 0 or random_share < 0 or mask_share + random_share > 1:
            raise ValueError(
                f"mask_share and random_share must not be negative and sum to 1 at most, "
                f"got {mask_share} and {random_share}. Full mask is 1 and 0, 80-10-10 is 0.8 and 0.1."
            )
        for name in ("mask_token_id", "pad_token_id"):
            if getattr(tokenizer, name) is None:
                raise ValueError(f"the tokenizer has no {name}. Add the token, or train one with train_tokenizer.")
        self.dobf_probability = dobf_probability if objective == "parallel" else DOBF_PROBABILITY[objective]
        self.mlm_rate, self.identifier_share = mlm_rate, identifier_share
        self.mask_share, self.random_share, self.seed = mask_share, random_share, seed
        self.mask_token_id, self.pad_token_id = tokenizer.mask_token_id, tokenizer.pad_token_id
        self.vocab_size = len(tokenizer)
        self.special_ids = np.array(sorted(tokenizer.all_special_ids))
        self._calls = 0

    def __call__(self, features: Sequence[Mapping[str, Any]]) -> dict[str, Tensor]:
        """Batch features with `input_ids`, `identifier_ids` and, when packed, `document_lengths` and `draw`.

        Returns:
            `input_ids`, `labels` (-100 where nothing is predicted) and `position_ids` (restarting at each document and
            at the padding), each (B, T).
        """
        width = max(len(feature["input_ids"]) for feature in features)
        shape = (len(features), width)
        inputs_BT = np.full(shape, self.pad_token_id, dtype=np.int64)
        labels_BT = np.full(shape, IGNORE, dtype=np.int64)
        positions_BT = np.zeros(shape, dtype=np.int64)
        for row, feature in enumerate(features):
            tokens = len(feature["input_ids"])
            lengths = np.asarray(feature.get("document_lengths", [tokens]))
            starts_T = np.repeat(lengths.cumsum() - lengths, lengths)
            positions_BT[row, :tokens] = np.arange(tokens) - starts_T
            positions_BT[row, tokens:] = np.arange(width - tokens)
            inputs_BT[row, :tokens], labels_BT[row, :tokens] = self._mask(feature, lengths)
        self._calls += 1
        return {
            "input_ids": torch.from_numpy(inputs_BT),
            "labels": torch.from_numpy(labels_BT),
            "position_ids": torch.from_numpy(positions_BT),
        }

    def _mask(self, feature: Mapping[str, Any], lengths: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        input_T, identifier_T = np.asarray(feature["input_ids"]), np.asarray(feature["identifier_ids"])
        rng = np.random.default_rng(feature.get("draw", (self.seed, self._calls)))
        chosen_T, _ = mixed_positions(
            ~np.isin(input_T, self.special_ids),
            identifier_T,
            np.repeat(np.arange(len(lengths)), lengths),
            dobf_probability=self.dobf_probability,
            mlm_rate=self.mlm_rate,
            identifier_share=self.identifier_share,
            rng=rng,
        )
        return apply_masks(
            input_T,
            chosen_T,
            mask_token_id=self.mask_token_id,
            vocab_size=self.vocab_size,
            mask_share=self.mask_share,
            random_share=self.random_share,
            rng=rng,
        )
