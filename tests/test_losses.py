"""The stage-2 loss against a double loop in float64, and values derived on paper."""

from __future__ import annotations

import math

import pytest
import torch

from trainers.losses import bimodal_contrastive_loss


def slow_loss(text, code, temperature, hard, norm, detach, text_hash=None, code_hash=None):
    """Equations 2 and 3 written as loops over anchors and negatives."""
    n = len(text)
    items = [item / item.norm() for item in (*text, *code)]
    pair_of = [*range(n), *range(n)]

    def duplicates(i, k):
        return any(hashes is not None and hashes[i] == hashes[k] for hashes in (text_hash, code_hash))

    total = 0.0
    for anchor in range(2 * n):
        positive = torch.exp(items[anchor] @ items[(anchor + n) % (2 * n)] / temperature)
        negatives = [
            torch.exp(items[anchor] @ items[k] / temperature)
            for k in range(2 * n)
            if pair_of[k] != pair_of[anchor] and not duplicates(pair_of[anchor], pair_of[k])
        ]
        if not negatives:
            continue
        weighted = 0.0
        for negative in negatives:
            weight = negative / sum(negatives) * (len(negatives) if norm == "mean" else 1) if hard else 1.0
            weighted = weighted + (weight.detach() if hard and detach else weight) * negative
        total = total - torch.log(positive / (positive + weighted))
    return total / (2 * n)


@pytest.mark.parametrize("n", [2, 5])
@pytest.mark.parametrize("hard, norm, detach", [(False, "mean", False), (True, "mean", False), (True, "sum", False),
                                                (True, "mean", True), (True, "sum", True)])  # fmt: skip
@pytest.mark.parametrize("duplicated", [False, True])
def test_loss_and_gradients_equal_the_double_loop(n, hard, norm, detach, duplicated):
    fast = [torch.randn(n, 6, dtype=torch.float64).float().requires_grad_() for _ in range(2)]
    slow = [side.detach().double().requires_grad_() for side in fast]
    hashes = {}
    if duplicated:
        hashes = {"text_hash": torch.arange(n).clamp(max=n - 2), "code_hash": torch.arange(n).clamp(min=1)}
    loss = bimodal_contrastive_loss(
        *fast,
        temperature=0.3,
        hard_negatives=hard,
        weight_norm=norm,
        detach_weights=detach,
        **{f"{name}_N": value for name, value in hashes.items()},
    )
    expected = slow_loss(*slow, 0.3, hard, norm, detach, **hashes)
    torch.testing.assert_close(loss.double(), torch.as_tensor(expected, dtype=torch.float64), rtol=1e-5, atol=1e-6)
    if not torch.is_tensor(expected):  # every negative is a duplicate
        return
    loss.backward()
    expected.backward()
    for mine, theirs in zip(fast, slow, strict=True):
        torch.testing.assert_close(mine.grad.double(), theirs.grad, rtol=1e-4, atol=1e-6)


def test_two_orthogonal_pairs_on_paper():
    # Text i equals code i; the pairs are orthogonal. Temperature 1: positive e, two negatives of 1 each. Equal
    # negatives have weights of 1/2 (sum 1) or 1 (mean 1). So -log(e / (e + 2)) with mean, -log(e / (e + 1)) with sum.
    eye = torch.eye(2)
    mean = bimodal_contrastive_loss(eye, eye, temperature=1.0, weight_norm="mean")
    assert mean.item() == pytest.approx(math.log((math.e + 2) / math.e), rel=1e-6)
    total = bimodal_contrastive_loss(eye, eye, temperature=1.0, weight_norm="sum")
    assert total.item() == pytest.approx(math.log((math.e + 1) / math.e), rel=1e-6)
    plain = bimodal_contrastive_loss(eye, eye, temperature=1.0, hard_negatives=False)
    assert plain.item() == pytest.approx(mean.item(), rel=1e-6)


def test_finite_at_low_temperature():
    sides = [torch.nn.functional.normalize(torch.randn(64, 8), dim=-1).requires_grad_() for _ in range(2)]
    loss = bimodal_contrastive_loss(*sides, temperature=0.001)
    loss.backward()
    assert torch.isfinite(loss) and all(torch.isfinite(side.grad).all() for side in sides)


def test_scale_of_embeddings_does_not_matter():
    text, code = torch.randn(4, 8), torch.randn(4, 8)
    torch.testing.assert_close(bimodal_contrastive_loss(text, code), bimodal_contrastive_loss(7 * text, 0.1 * code))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"code_ND": torch.ones(3, 4)}, "must have the same shape"),
        ({"text_ND": torch.ones(1, 4), "code_ND": torch.ones(1, 4)}, "at least 2 pairs, got 1. Raise the batch size"),
        ({"temperature": 0.0}, "temperature must be positive, got 0.0"),
        ({"weight_norm": "max"}, "weight_norm must be 'mean' or 'sum', got 'max'"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        bimodal_contrastive_loss(**{"text_ND": torch.ones(2, 4), "code_ND": torch.ones(2, 4), **arguments})
