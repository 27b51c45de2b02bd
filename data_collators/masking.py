"""Masking for stage 1: which positions are predicted, and what the model sees there.

Pure functions over integer arrays of one row. Shape suffix: T = tokens of the row. Identifier ids are 0 where no
identifier stands; document ids count the documents of a packed row from 0.
Source: section 3.1 of arXiv 2402.01935; the share of identifiers is not stated there and is ours to choose.
"""

from __future__ import annotations

import numpy as np

IGNORE = -100  # label of a position that is not predicted


def random_positions(maskable_T: np.ndarray, rate: float | np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Masked language modelling: each maskable position with probability `rate` or rate_T, giving chosen_T (bool)."""
    return maskable_T & (rng.random(maskable_T.shape) < rate)


def identifier_positions(
    identifier_T: np.ndarray, document_T: np.ndarray, share: float, rng: np.random.Generator
) -> np.ndarray:
    """Deobfuscation: every token of every occurrence of each chosen identifier, giving chosen_T (bool).

    Each identifier of each document is chosen with probability `share`, all its occurrences together.
    """
    draws = rng.random((int(document_T.max(initial=0)) + 1, int(identifier_T.max(initial=0)) + 1))
    draws[:, 0] = 1.0  # id 0 is no identifier
    return draws[document_T, identifier_T] < share


def mixed_positions(
    maskable_T: np.ndarray,
    identifier_T: np.ndarray,
    document_T: np.ndarray,
    *,
    dobf_probability: float,
    mlm_rate: tuple[float, float],
    identifier_share: float,
    rng: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray]:
    """The parallel objective: each document takes deobfuscation with `dobf_probability`, else random masking.

    A document without identifiers always takes random masking. Its rate is drawn between the two of `mlm_rate`, which
    are equal unless the rate is dynamic.

    Returns:
        chosen_T (bool), and dobf_D (bool): which documents took deobfuscation.
    """
    n_documents = int(document_T.max(initial=0)) + 1
    has_identifiers_D = np.bincount(document_T, weights=identifier_T > 0, minlength=n_documents) > 0
    dobf_D = (rng.random(n_documents) < dobf_probability) & has_identifiers_D
    rate_D = rng.uniform(*mlm_rate, n_documents)
    random_T = random_positions(maskable_T, rate_D[document_T], rng)
    names_T = identifier_positions(identifier_T, document_T, identifier_share, rng) & maskable_T
    return np.where(dobf_D[document_T], names_T, random_T), dobf_D


def apply_masks(
    input_T: np.ndarray,
    chosen_T: np.ndarray,
    *,
    mask_token_id: int,
    replacement_R: np.ndarray,
    mask_share: float,
    random_share: float,
    rng: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray]:
    """What the model sees and what it must say.

    Of the chosen positions a share shows the mask token, a share a random one of `replacement_R`, the rest their own
    token: 1 and 0 are the paper's full mask, 0.8 and 0.1 BERT's 80-10-10.

    Returns:
        inputs_T and labels_T; labels are -100 outside chosen positions.
    """
    labels_T = np.where(chosen_T, input_T, IGNORE)
    if mask_share == 1.0:
        return np.where(chosen_T, mask_token_id, input_T), labels_T
    draw_T = rng.random(input_T.shape)
    random_T = replacement_R[rng.integers(0, len(replacement_R), input_T.shape)]
    inputs_T = np.where(chosen_T & (draw_T < mask_share), mask_token_id, input_T)
    replaced_T = chosen_T & (draw_T >= mask_share) & (draw_T < mask_share + random_share)
    return np.where(replaced_T, random_T, inputs_T), labels_T
