"""The stage-2 losses against a double loop in float64, and values derived on paper."""

from __future__ import annotations

import math
import subprocess
import sys

import pytest
import torch
from torch.nn.functional import normalize
from torch.utils._python_dispatch import TorchDispatchMode

from trainers.anchor_losses import anchor_losses
from trainers.blockwise import BLOCK_SIMILARITIES
from trainers.losses import bimodal_contrastive_loss, unimodal_contrastive_loss

# hard negatives, weight_norm, detach_weights
WEIGHTS = [
    (False, "mean", False),
    (True, "mean", False),
    (True, "sum", False),
    (True, "mean", True),
    (True, "sum", True),
]


def slow_loss(
    text, code, temperature, hard, norm, detach, text_hash=None, code_hash=None, extra=(), extra_hash=None, dims=()
):
    """Equations 2 and 3 written as loops over prefixes, anchors and negatives."""
    n, total = len(text), text.sum() * 0

    def same(i, k):
        return any(hashes is not None and hashes[i] == hashes[k] for hashes in (text_hash, code_hash)) or i == k

    def masked(i, k):
        return extra_hash is not None and any(same(i, j) and code_hash[j] == extra_hash[k] for j in range(n))

    for width in dims or (text.shape[1],):
        items = [item[:width] / item[:width].norm() for item in (*text, *code, *extra)]
        for anchor in range(2 * n):
            pair = anchor % n
            exponentials = [torch.exp(items[anchor] @ item / temperature) for item in items]
            positive = exponentials[(anchor + n) % (2 * n)]
            negatives = [exponentials[k] for k in range(2 * n) if not same(pair, k % n)]
            negatives += [exponentials[2 * n + k] for k in range(len(extra)) if not masked(pair, k)]
            weighted = torch.zeros(())
            for negative in negatives:
                weight = negative / sum(negatives) * (len(negatives) if norm == "mean" else 1) if hard else 1.0
                weighted = weighted + (weight.detach() if hard and detach else weight) * negative
            total = total - torch.log(positive / (positive + weighted))
    return total / (2 * n)


def sides(n, width=6, dtype=torch.float64, count=2):
    return [torch.randn(n, width, dtype=dtype).requires_grad_() for _ in range(count)]


# Texts 0 and 1 are equal, and codes 1 and 2; pair 4 stands alone. Of the extra negatives the first is code 0, which
# pair 1 shares a text with; the second code 2, which is also code 1; the third no code of the batch; the last code 4.
TEXT_HASH, CODE_HASH, EXTRA_HASH = [7, 7, 5, 4, 3], [1, 2, 2, -9, 6], [1, 2, 99, 6]


@pytest.mark.parametrize(("hard", "norm", "detach"), WEIGHTS)
@pytest.mark.parametrize("hashed", [False, True])
@pytest.mark.parametrize("negatives", [0, 4])
@pytest.mark.parametrize("dims", [(), (2, 6)])
def test_loss_and_gradients_equal_the_double_loop(hard, norm, detach, hashed, negatives, dims):
    (text, code), (extra,) = sides(5), sides(max(negatives, 1), count=1)
    given, hashes, slow_hashes = [text, code], {}, {}
    if hashed:
        hashes = {"text_hash_N": torch.tensor(TEXT_HASH), "code_hash_N": torch.tensor(CODE_HASH)}
        slow_hashes = {"text_hash": TEXT_HASH, "code_hash": CODE_HASH}
    if negatives:
        given, hashes["negative_KD"], slow_hashes["extra"] = [text, code, extra], extra, extra
        if hashed:
            hashes["negative_hash_K"], slow_hashes["extra_hash"] = torch.tensor(EXTRA_HASH), EXTRA_HASH
    options = {"hard_negatives": hard, "weight_norm": norm, "detach_weights": detach, "dims": dims}
    expected = slow_loss(text, code, 0.3, hard, norm, detach, dims=dims, **slow_hashes)
    theirs = torch.autograd.grad(expected, given)
    for block in (None, 1, 3):  # ten anchors: all at once, one by one, a short last block
        loss = bimodal_contrastive_loss(text, code, temperature=0.3, block=block, **options, **hashes)
        torch.testing.assert_close(loss, expected, rtol=1e-8, atol=1e-8)
        for gradient, wanted in zip(torch.autograd.grad(loss, given), theirs, strict=True):
            torch.testing.assert_close(gradient, wanted, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("hashed", [False, True])
@pytest.mark.parametrize("block", [None, 4])
def test_unimodal_loss_equals_the_double_loop(hashed, block):
    first, second = sides(5)
    hash_N = torch.tensor(TEXT_HASH) if hashed else None
    loss = unimodal_contrastive_loss(first, second, temperature=0.3, hash_N=hash_N, block=block)
    expected = slow_loss(first, second, 0.3, False, "mean", False, text_hash=TEXT_HASH if hashed else None)
    torch.testing.assert_close(loss, expected, rtol=1e-8, atol=1e-8)
    mine, theirs = (torch.autograd.grad(value, (first, second)) for value in (loss, expected))
    for gradient, wanted in zip(mine, theirs, strict=True):
        torch.testing.assert_close(gradient, wanted, rtol=1e-8, atol=1e-10)


def test_default_blocks_equal_one_block():
    # Odd, and more than one block of the default size: the last one is short.
    n = math.isqrt(BLOCK_SIMILARITIES // 4) + 7
    text, code = sides(n, 4)
    losses = [bimodal_contrastive_loss(text, code, block=block) for block in (None, 2 * n)]
    torch.testing.assert_close(*losses)
    for blocked, whole in zip(*(torch.autograd.grad(loss, (text, code)) for loss in losses), strict=True):
        torch.testing.assert_close(blocked, whole)


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
    assert unimodal_contrastive_loss(eye, eye, temperature=1.0).item() == pytest.approx(plain.item(), rel=1e-6)


def test_unequal_negatives_on_paper():
    # Temperature 1. Text 0 = code 0 = east, text 1 = north, code 1 = west. With negatives a and b (as exponentials) the
    # softmax weighs them a / (a + b) and b / (a + b): in sum (a^2 + b^2) / (a + b), twice that with weights of mean 1.
    # Anchors text 0 and code 0: positive e, negatives e^0 (north) and e^-1 (west).
    # Anchor text 1 (north): positive e^0, negatives e^0 twice, so 1. Anchor code 1 (west): positive e^0, negatives e^-1
    # twice.
    text, code = torch.tensor([[1.0, 0.0], [0.0, 1.0]]), torch.tensor([[1.0, 0.0], [-1.0, 0.0]])
    east = (1 + math.exp(-2)) / (1 + math.exp(-1)) / math.e
    for norm, scale in (("sum", 1), ("mean", 2)):
        wanted = (2 * math.log1p(scale * east) + math.log1p(scale) + math.log1p(scale * math.exp(-1))) / 4
        loss = bimodal_contrastive_loss(text, code, temperature=1.0, weight_norm=norm)
        assert loss.item() == pytest.approx(wanted, rel=1e-6)


def test_extra_negative_and_prefixes_on_paper():
    # Pairs (1, 0) and (0.6, 0.8), temperature 1, no weights. In the first dimension alone, normalised anew, everything
    # is 1: positive and two negatives of e give log 3. In both, negatives have the cosine 0.6. The two are added up.
    # An extra negative (-1, 0) has cosines of -1 and -0.6 in full, and -1 in the first dimension.
    items = torch.tensor([[1.0, 0.0], [0.6, 0.8]])
    options = {"temperature": 1.0, "hard_negatives": False, "dims": (1, 2)}
    wanted = math.log(3) + math.log1p(2 * math.exp(0.6 - 1))
    assert bimodal_contrastive_loss(items, items, **options).item() == pytest.approx(wanted, rel=1e-6)
    more = torch.tensor([[-1.0, 0.0]])
    wanted = math.log(3 + math.exp(-2))
    wanted += sum(math.log1p(2 * math.exp(0.6 - 1) + math.exp(cosine - 1)) for cosine in (-1, -0.6)) / 2
    loss = bimodal_contrastive_loss(items, items, negative_KD=more, **options)
    assert loss.item() == pytest.approx(wanted, rel=1e-6)


@pytest.mark.parametrize(("hard", "norm", "detach"), WEIGHTS)
def test_order_and_sides_do_not_matter(hard, norm, detach):
    """Pairs in another order, or texts taken for codes: the same value, gradients move along."""
    text, code = sides(7)
    order = torch.tensor([3, 0, 6, 2, 5, 1, 4])
    options = {"hard_negatives": hard, "weight_norm": norm, "detach_weights": detach}
    loss = bimodal_contrastive_loss(text, code, **options)
    other = bimodal_contrastive_loss(code[order], text[order], **options)
    torch.testing.assert_close(other, loss)
    for one, two in zip(torch.autograd.grad(loss, (text, code)), torch.autograd.grad(other, (text, code)), strict=True):
        torch.testing.assert_close(two, one)


def test_scale_of_embeddings_does_not_matter():
    text, code = sides(4)
    loss, scaled = bimodal_contrastive_loss(text, code), bimodal_contrastive_loss(7 * text, 0.1 * code)
    torch.testing.assert_close(loss, scaled)
    for side, gradient in zip((text, code), torch.autograd.grad(loss, (text, code)), strict=True):
        along = (side * gradient).sum(dim=1)
        torch.testing.assert_close(along, torch.zeros_like(along), atol=1e-12, rtol=0)


def test_mean_weights_are_sum_weights_times_the_number_of_negatives():
    # A loss is log(1 + n / p); the weighted negatives n of "mean" are those of "sum", K times.
    similarity, positive = torch.randn(4, 9, dtype=torch.float64), torch.randn(4, dtype=torch.float64)
    negative = torch.ones(4, 9, dtype=torch.bool)
    negative[1, :4] = False
    mean, total = (anchor_losses(similarity, positive, negative, weight_norm=norm) for norm in ("mean", "sum"))
    torch.testing.assert_close(mean.expm1(), total.expm1() * torch.tensor([9.0, 5.0, 9.0, 9.0], dtype=torch.float64))


def test_detached_weights_change_gradients_alone():
    text, code = sides(5)
    losses = [bimodal_contrastive_loss(text, code, temperature=1.0, detach_weights=detach) for detach in (False, True)]
    torch.testing.assert_close(*losses)
    one, two = (torch.autograd.grad(loss, text)[0] for loss in losses)
    assert (one - two).abs().max() > 0.1 * one.abs().max()


def test_gradients_scale_with_what_comes_from_above():
    """The gradient is taken in the forward pass; weights of losses, as in accumulation, must still reach it."""
    text, code = sides(5)
    plain = torch.autograd.grad(bimodal_contrastive_loss(text, code), code)[0]
    scaled = torch.autograd.grad(3 * bimodal_contrastive_loss(text, code) + code.sum(), code)[0]
    torch.testing.assert_close(scaled, 3 * plain + 1)


def test_only_the_side_that_asks_gets_a_gradient():
    text, code = sides(5)
    loss = bimodal_contrastive_loss(text.detach(), code)
    expected = torch.autograd.grad(bimodal_contrastive_loss(text, code), code)[0]
    torch.testing.assert_close(torch.autograd.grad(loss, code)[0], expected)
    with torch.no_grad():
        assert bimodal_contrastive_loss(text, code).item() == pytest.approx(loss.item())


@pytest.mark.parametrize(("hard", "norm", "detach"), WEIGHTS)
@pytest.mark.parametrize("spread", [0.02, 1.0])  # cosines near 1, as of an untrained encoder; cosines of both signs
def test_bfloat16_embeddings_at_temperature_001(hard, norm, detach, spread):
    """What comes out is what float64 makes of the same numbers, but for the rounding of gradients to bfloat16."""
    center = torch.randn(16)
    given = [(center + spread * torch.randn(48, 16)).bfloat16().requires_grad_() for _ in range(2)]
    exact = [side.detach().double().requires_grad_() for side in given]
    options = {"temperature": 0.01, "hard_negatives": hard, "weight_norm": norm, "detach_weights": detach, "block": 29}
    with torch.autocast("cpu", torch.bfloat16):
        loss = bimodal_contrastive_loss(*given, **options)
    expected = bimodal_contrastive_loss(*exact, **options)
    assert loss.dtype == torch.float32 and expected.item() > 0.1
    torch.testing.assert_close(loss.double(), expected, rtol=1e-4, atol=1e-5)
    loss.backward()
    expected.backward()
    for mine, theirs in zip(given, exact, strict=True):
        assert mine.grad.dtype == torch.bfloat16
        error = (mine.grad.double() - theirs.grad).norm() / theirs.grad.norm()
        assert error < 2**-8  # half a unit in the last of 8 places


def test_small_losses_keep_their_places():
    # One pair east, one west: cosines of 1 and -1. At temperature 0.05 a loss is log(1 + 2 exp(-40)) = 8.5e-18, and its
    # gradient with respect to a negative's similarity exp(-40).
    text = torch.tensor([[1.0, 0.0], [-1.0, 0.0]], requires_grad=True)
    loss = bimodal_contrastive_loss(text, text, hard_negatives=False)
    assert loss.item() == pytest.approx(2 * math.exp(-40), rel=1e-4)


def test_finite_at_very_low_temperature_and_without_an_embedding():
    text, code = (normalize(torch.randn(64, 8), dim=-1) for _ in range(2))
    text[3] = 0.0
    for hard, norm, detach in WEIGHTS:
        given = [side.clone().requires_grad_() for side in (text, code)]
        options = {"hard_negatives": hard, "weight_norm": norm, "detach_weights": detach}
        loss = bimodal_contrastive_loss(*given, temperature=0.001, **options)
        loss.backward()
        assert torch.isfinite(loss) and all(torch.isfinite(side.grad).all() for side in given)


@pytest.mark.parametrize(("hard", "norm", "detach"), WEIGHTS)
def test_anchors_without_negatives_cost_nothing(hard, norm, detach):
    text, code = sides(3, dtype=torch.float32)
    options = {"hard_negatives": hard, "weight_norm": norm, "detach_weights": detach}
    loss = bimodal_contrastive_loss(text, code, text_hash_N=torch.zeros(3, dtype=torch.int64), **options)
    loss.backward()
    assert loss.item() == 0 and not text.grad.any() and not code.grad.any()


def test_one_pair_with_extra_negatives_and_none_of_them():
    text, code = sides(1)
    (extra,) = sides(3, count=1)
    expected = slow_loss(text, code, 0.3, True, "mean", False, extra=extra)
    loss = bimodal_contrastive_loss(text, code, temperature=0.3, negative_KD=extra)
    torch.testing.assert_close(loss, expected)
    text, code = sides(3)
    none = {"negative_KD": torch.zeros(0, 6), "negative_hash_K": torch.zeros(0, dtype=torch.int64)}
    with_none = bimodal_contrastive_loss(text, code, code_hash_N=torch.arange(3), **none)
    torch.testing.assert_close(with_none, bimodal_contrastive_loss(text, code, code_hash_N=torch.arange(3)))


class Largest(TorchDispatchMode):
    """Notes the most elements of any tensor that an operation gives."""

    elements = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        for tensor in result if isinstance(result, (tuple, list)) else [result]:
            if isinstance(tensor, torch.Tensor):
                self.elements = max(self.elements, tensor.numel())
        return result


def test_no_tensor_is_larger_than_a_block():
    n, block = 100, 8
    text, code = sides(n)
    (extra,) = sides(30, count=1)
    hashes = {"text_hash_N": torch.arange(n), "code_hash_N": torch.arange(n), "negative_hash_K": torch.arange(30)}
    for size, elements in ((block, block * 230), (None, 200 * 230)):
        with Largest() as largest:
            bimodal_contrastive_loss(text, code, negative_KD=extra, block=size, **hashes).backward()
        assert largest.elements == elements


PEAK = """
import os, re, resource, sys, torch
from trainers.losses import bimodal_contrastive_loss
torch.set_num_threads(1)
def peak():
    if os.path.exists("/proc/self/status"):  # where getrusage begins with the peak of the process that started us
        with open("/proc/self/status") as file:
            return int(re.search(r"VmHWM:\\s+(\\d+)", file.read())[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
for n in (64, {n}):
    text, code = (torch.randn(n, 64, requires_grad=True) for _ in range(2))
    hashes = {{"text_hash_N": torch.arange(n), "code_hash_N": torch.arange(n)}}
    bimodal_contrastive_loss(text, code, block={block}, **hashes).backward()
    print(peak())
"""


def growth(n, block):
    """Bytes by which the peak of a process grows from 64 pairs to n."""
    done = subprocess.run([sys.executable, "-c", PEAK.format(n=n, block=block)], capture_output=True, check=True)
    small, large = map(int, done.stdout.split())
    return large - small


@pytest.mark.slow
def test_peak_memory_of_8192_pairs():
    # One matrix of all similarities would take 16,384^2 x 4 bytes = 1 GiB. A block takes 2^20 x 4 = 4 MiB, of which a
    # dozen stand beside one another. The whole of 2,048 pairs (64 MiB a matrix) shows that the measure sees matrices.
    assert growth(8192, None) < 256 * 2**20
    assert growth(2048, 4096) > 3 * 64 * 2**20


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"code_ND": torch.ones(3, 4)}, r"must have the same shape \(pairs, width\), got \(2, 4\) and \(3, 4\)"),
        ({"text_ND": torch.ones(4), "code_ND": torch.ones(4)}, r"must have the same shape .* got \(4,\) and \(4,\)"),
        ({"text_ND": torch.ones(1, 4), "code_ND": torch.ones(1, 4)}, "at least 2 pairs, got 1. Raise the batch size"),
        ({"negative_KD": torch.ones(5, 3)}, r"negative_KD must have the shape \(negatives, 4\), got \(5, 3\)"),
        ({"text_hash_N": torch.ones(3)}, r"text_hash_N must have the shape \(2,\), got \(3,\)"),
        ({"code_hash_N": torch.ones(3)}, r"code_hash_N must have the shape \(2,\), got \(3,\)"),
        (
            {"negative_KD": torch.ones(5, 4), "negative_hash_K": torch.ones(4), "code_hash_N": torch.ones(2)},
            r"negative_hash_K must have the shape \(5,\), got \(4,\)",
        ),
        (
            {"negative_KD": torch.ones(5, 4), "negative_hash_K": torch.ones(5)},
            "compared with code_hash_N, which is missing. Give both or neither",
        ),
        ({"temperature": 0.0}, "temperature must be positive, got 0.0"),
        ({"weight_norm": "max"}, "weight_norm must be 'mean' or 'sum', got 'max'"),
        ({"dims": (2, 8)}, r"dims must be different widths in \[1, 4\], got \[2, 8\]"),
        ({"dims": (2, 2)}, r"dims must be different widths in \[1, 4\], got \[2, 2\]"),
        ({"dims": (0,)}, r"dims must be different widths in \[1, 4\], got \[0\]"),
        ({"block": 0}, "block must be at least 1, got 0"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        bimodal_contrastive_loss(**{"text_ND": torch.ones(2, 4), "code_ND": torch.ones(2, 4), **arguments})
