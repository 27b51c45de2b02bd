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
OBJECTIVES = ("random", "dobf")  # numbers of `objective_ids`
LAYOUTS = ("packed", "padded")


class MixedMaskingCollator:
    """Masks packed or single documents; each draws its objective independently (section 3.1 of arXiv 2402.01935).

    Randomness comes from `draw`, the (seed, epoch, row number) of each feature, so a batch is the same whatever the
    number of workers. The paper's "sequential" is two runs: "random", then "dobf" from its checkpoint.

    Args:
        tokenizer: Gives the mask and padding tokens, the special tokens (never masked) and the vocabulary size.
        objective: "parallel" (each document takes deobfuscation or random masking), "random" or "dobf".
        dobf_probability: Probability of deobfuscation under "parallel".
        mlm_rate: Share of tokens that random masking predicts.
        mlm_rate_max: Makes the rate dynamic: each document draws its own between `mlm_rate` and this.
        identifier_share: Share of a document's identifiers that deobfuscation predicts. The paper does not state it;
            one half of the identifiers is about as many tokens as 15 % random masking.
        mask_share: Share of predicted positions that show the mask token; 1 is the paper's full mask.
        random_share: Share that shows a random token; what remains shows itself.
        seed: Seed of features that carry no `draw`, along with torch's own seed.
        layout: "packed" keeps the documents of a feature in one row, for models whose attention stays inside documents
            by `position_ids`; "padded" gives each document a row of its own, for any masked LM.
        with_groups: Also tell the objective and the language of each token, for `MlmTrainer`'s logs.

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
        mlm_rate_max: float | None = None,
        identifier_share: float = 0.5,
        mask_share: float = 1.0,
        random_share: float = 0.0,
        seed: int = 0,
        layout: str = "packed",
        with_groups: bool = False,
    ) -> None:
        if objective not in DOBF_PROBABILITY:
            raise ValueError(f"objective must be one of {', '.join(DOBF_PROBABILITY)}, got {objective!r}.")
        if layout not in LAYOUTS:
            raise ValueError(f"layout must be one of {', '.join(LAYOUTS)}, got {layout!r}.")
        if not 0 < mlm_rate < 1:
            raise ValueError(f"mlm_rate must lie in (0, 1), got {mlm_rate}. To mask identifiers only, use 'dobf'.")
        if mlm_rate_max is not None and not mlm_rate <= mlm_rate_max < 1:
            raise ValueError(f"mlm_rate_max must lie in [mlm_rate, 1), got {mlm_rate_max} with mlm_rate={mlm_rate}.")
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
        self.mlm_rate = (mlm_rate, mlm_rate if mlm_rate_max is None else mlm_rate_max)
        self.identifier_share, self.mask_share, self.random_share = identifier_share, mask_share, random_share
        self.seed, self.layout, self.with_groups = seed, layout, with_groups
        self.mask_token_id, self.pad_token_id = tokenizer.mask_token_id, tokenizer.pad_token_id
        self._is_special = np.zeros(max(tokenizer.get_vocab().values()) + 1, dtype=bool)  # ids may have gaps
        self._is_special[tokenizer.all_special_ids] = True
        self._replacements = np.flatnonzero(~self._is_special)
        self._drawn = 0

    def __call__(self, features: Sequence[Mapping[str, Any]]) -> dict[str, Tensor]:
        """Batch features with `input_ids`, `identifier_ids` and, if they like, `document_lengths`, `languages`, `draw`.

        Returns:
            `input_ids`, `labels` (-100 where nothing is predicted) and `position_ids` (restarting at each document and
            at the padding), or `attention_mask` in the padded layout, each (B, T). With groups also `objective_ids`
            (places in `OBJECTIVES`) and `language_ids` (the features' `languages`) of each token, -1 at padding.

        Raises:
            ValueError: A token id is outside the tokenizer's vocabulary.
        """
        masked = [self._mask(feature) for feature in features]
        lengths_D = np.concatenate([row.pop("document_lengths") for row in masked])
        packed = self.layout == "packed"
        lengths_B = np.array([len(row["input_ids"]) for row in masked]) if packed else lengths_D
        place_T = np.arange(lengths_B.max())
        real_BT = place_T < lengths_B[:, None]
        fill = {"input_ids": self.pad_token_id, "labels": IGNORE, "objective_ids": -1, "language_ids": -1}
        batch = {name: np.full(real_BT.shape, fill[name], dtype=np.int64) for name in masked[0]}
        for name, values_BT in batch.items():
            values_BT[real_BT] = np.concatenate([row[name] for row in masked])
        if packed:
            batch["position_ids"] = np.maximum(place_T - lengths_B[:, None], 0)  # padding is a document of its own
            batch["position_ids"][real_BT] = _ramps(lengths_D)
        else:
            batch["attention_mask"] = real_BT.astype(np.int64)
        return {name: torch.from_numpy(values_BT) for name, values_BT in batch.items()}

    def _mask(self, feature: Mapping[str, Any]) -> dict[str, np.ndarray]:
        """A feature's tokens as the model sees them, their labels, groups, and the lengths of its documents."""
        input_T, identifier_T = np.asarray(feature["input_ids"]), np.asarray(feature["identifier_ids"])
        lengths_D = np.asarray(feature.get("document_lengths", [len(input_T)]))
        document_T = np.repeat(np.arange(len(lengths_D)), lengths_D)
        if input_T.max(initial=0) >= len(self._is_special):
            raise ValueError(
                f"the data hold token id {input_T.max()}, but the tokenizer's end at {len(self._is_special) - 1}. "
                "Name the tokenizer that the data were made with."
            )
        rng = np.random.default_rng(feature["draw"] if "draw" in feature else self._next_draw())
        chosen_T, dobf_D = self._choose(~self._is_special[input_T], identifier_T, document_T, rng)
        inputs_T, labels_T = apply_masks(
            input_T,
            chosen_T,
            mask_token_id=self.mask_token_id,
            replacement_R=self._replacements,
            mask_share=self.mask_share,
            random_share=self.random_share,
            rng=rng,
        )
        row = {"input_ids": inputs_T, "labels": labels_T, "document_lengths": lengths_D}
        if self.with_groups:
            languages_D = np.asarray(feature.get("languages", np.zeros(len(lengths_D), dtype=np.int64)))
            row["objective_ids"] = dobf_D.astype(np.int64)[document_T]
            row["language_ids"] = languages_D[document_T]
        return row

    def _next_draw(self) -> tuple[int, int, int]:
        """Another for each feature and each worker of a DataLoader, which differ in torch's seed."""
        self._drawn += 1
        return self.seed, torch.initial_seed(), self._drawn

    def _choose(
        self, maskable_T: np.ndarray, identifier_T: np.ndarray, document_T: np.ndarray, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        """Which positions are predicted, and which documents take deobfuscation."""
        return mixed_positions(
            maskable_T,
            identifier_T,
            document_T,
            dobf_probability=self.dobf_probability,
            mlm_rate=self.mlm_rate,
            identifier_share=self.identifier_share,
            rng=rng,
        )


class FoldMaskingCollator(MixedMaskingCollator):
    """Masks one of several parts of each row, so that over all parts every token is predicted once: pseudo-perplexity.

    Args:
        tokenizer: As `MixedMaskingCollator`.
        folds: Number of parts; 7 mask about as much as 15 % random masking does.
        layout: As `MixedMaskingCollator`.

    Raises:
        ValueError: Fewer than two parts, which would leave nothing to predict from.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, folds: int = 7, layout: str = "packed") -> None:
        super().__init__(tokenizer, layout=layout, with_groups=True)
        if folds < 2:
            raise ValueError(f"eval_passes must be at least 2, got {folds}: one pass would mask every token.")
        self.folds, self.fold = folds, 0

    def _choose(
        self, maskable_T: np.ndarray, identifier_T: np.ndarray, document_T: np.ndarray, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        fold_T = rng.permutation(len(maskable_T)) % self.folds
        return maskable_T & (fold_T == self.fold), np.zeros(int(document_T.max()) + 1, dtype=bool)


def _ramps(lengths: np.ndarray) -> np.ndarray:
    """0, 1, 2, ... for each length, end to end."""
    return np.arange(lengths.sum()) - np.repeat(lengths.cumsum() - lengths, lengths)
