"""Masking, packing and pairing: properties, statistical bounds, alignment of identifiers with tokens."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from datasets import Dataset

from data_collators import MixedMaskingCollator, PackedDocuments, PairCollator, Pairs
from data_collators.builders.stage1 import Stage1Extractor, chunk_ends
from data_collators.masking import apply_masks, identifier_positions, random_positions
from data_collators.packing import pack
from data_collators.rows import SourceFile


@pytest.fixture(scope="module")
def documents(tokenizer, sources):
    """Stage-1 rows of real code as a data set."""
    extract = Stage1Extractor(tokenizer, max_length=64)
    rows = []
    for number, source in enumerate(sources):
        rows += extract(SourceFile(str(number), source.decode(), "python", "repo", "path")).rows
    return Dataset.from_dict(
        {"input_ids": [row.input_ids for row in rows], "identifier_ids": [row.identifier_ids for row in rows]}
    )


@pytest.fixture(scope="module")
def packed(documents):
    return PackedDocuments(documents, max_length=128, seed=7)


def batch_of(collator, packed, rows=16):
    features = [packed[row] for row in range(rows)]
    return features, collator(features)


def original(features, batch, pad):
    width = batch["input_ids"].shape[1]
    rows = [np.pad(f["input_ids"], (0, width - len(f["input_ids"])), constant_values=pad) for f in features]
    return torch.from_numpy(np.stack(rows).astype(np.int64))


# masking


@pytest.mark.parametrize("objective", ["parallel", "random", "dobf"])
@pytest.mark.parametrize("shares", [(1.0, 0.0), (0.8, 0.1)])
def test_labels_restore_the_source(tokenizer, packed, objective, shares):
    collator = MixedMaskingCollator(tokenizer, objective=objective, mask_share=shares[0], random_share=shares[1])
    features, batch = batch_of(collator, packed)
    restored = torch.where(batch["labels"] == -100, batch["input_ids"], batch["labels"])
    assert torch.equal(restored, original(features, batch, tokenizer.pad_token_id))
    assert (batch["labels"] != -100).any()


def test_full_mask_shows_only_mask_tokens(tokenizer, packed):
    _, batch = batch_of(MixedMaskingCollator(tokenizer), packed)
    assert (batch["input_ids"][batch["labels"] != -100] == tokenizer.mask_token_id).all()


def test_specials_and_padding_are_never_predicted(tokenizer, packed):
    for objective in ("random", "dobf", "parallel"):
        collator = MixedMaskingCollator(tokenizer, objective=objective, mlm_rate=0.9, identifier_share=1.0)
        _, batch = batch_of(collator, packed)
        assert not set(batch["labels"].unique().tolist()) & set(tokenizer.all_special_ids)


def test_dobf_masks_all_occurrences_of_chosen_identifiers_and_nothing_else(tokenizer, packed):
    collator = MixedMaskingCollator(tokenizer, objective="dobf")
    features, batch = batch_of(collator, packed)
    chosen_any = kept_any = False
    for row, feature in enumerate(features):
        tokens = len(feature["input_ids"])
        predicted = (batch["labels"][row, :tokens] != -100).numpy()
        document = np.repeat(np.arange(len(feature["document_lengths"])), feature["document_lengths"])
        for key in range(document.max() + 1):
            inside = document == key
            names = feature["identifier_ids"][inside]
            if not names.any():
                continue  # takes random masking
            assert not predicted[inside][names == 0].any()
            for name in set(names[names > 0].tolist()):
                share = predicted[inside][names == name].mean()
                assert share in (0.0, 1.0)
                chosen_any, kept_any = chosen_any or share == 1.0, kept_any or share == 0.0
    assert chosen_any and kept_any, "all or no identifier was chosen: nothing is tested"


def test_a_document_without_identifiers_takes_random_masking(tokenizer):
    feature = {"input_ids": list(range(3, 203)), "identifier_ids": [0] * 200, "draw": (0, 0, 0)}
    batch = MixedMaskingCollator(tokenizer, objective="dobf")([feature])
    assert (batch["labels"] != -100).any()


def test_masked_shares_lie_within_five_sigma():
    rng = np.random.default_rng(0)
    n, p = 100_000, 0.15
    chosen = random_positions(np.ones(n, dtype=bool), p, rng)
    assert abs(chosen.sum() - n * p) < 5 * math.sqrt(n * p * (1 - p))

    identifiers = np.arange(1, n + 1)
    chosen = identifier_positions(identifiers, np.zeros(n, dtype=int), 0.5, rng)
    assert abs(chosen.sum() - n / 2) < 5 * math.sqrt(n / 4)

    tokens = np.full(n, 999)
    inputs, labels = apply_masks(
        tokens, np.ones(n, dtype=bool), mask_token_id=1, vocab_size=500, mask_share=0.8, random_share=0.1, rng=rng
    )
    assert (labels == 999).all()
    for count, share in (((inputs == 1).sum(), 0.8 + 0.1 / 500), ((inputs == 999).sum(), 0.1)):
        assert abs(count - n * share) < 5 * math.sqrt(n * share * (1 - share))


def test_objectives_are_drawn_per_document_at_the_given_rate(tokenizer):
    n = 4000
    feature = {
        "input_ids": [5] * (2 * n),
        "identifier_ids": [0, 1] * n,
        "document_lengths": [2] * n,
        "draw": (0, 0, 0),
    }
    collator = MixedMaskingCollator(tokenizer, mlm_rate=0.5, identifier_share=1.0)
    labels = collator([feature])["labels"][0].view(n, 2) != -100
    # Deobfuscation predicts (no, yes) for certain; random masking with probability 1/4.
    share = (~labels[:, 0] & labels[:, 1]).float().mean().item()
    assert abs(share - 0.625) < 5 * math.sqrt(0.625 * 0.375 / n)


def test_a_row_depends_on_seed_epoch_and_row_alone(tokenizer, documents):
    collator = MixedMaskingCollator(tokenizer)
    one, two = (PackedDocuments(documents, 128, seed=3) for _ in range(2))
    together = collator([one[row] for row in range(4)])
    for row in (3, 0):
        alone = collator([two[row]])
        tokens = alone["labels"].shape[1]
        assert torch.equal(alone["labels"][0], together["labels"][row, :tokens])
    two.set_epoch(1)
    assert not torch.equal(collator([two[0]])["labels"], together["labels"][:1])


def test_positions_restart_at_each_document(tokenizer, packed):
    features, batch = batch_of(MixedMaskingCollator(tokenizer), packed)
    for feature, positions in zip(features, batch["position_ids"], strict=True):
        expected = [position for length in feature["document_lengths"] for position in range(length)]
        assert positions[: len(expected)].tolist() == expected
        assert not positions[len(expected) :].any()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"mlm_rate": 1.5}, r"mlm_rate must lie in \(0, 1\), got 1\.5. To mask identifiers only, use 'dobf'"),
        ({"objective": "dobff"}, "objective must be one of random, parallel, dobf, got 'dobff'"),
        (
            {"identifier_share": 0},
            r"identifier_share must lie in \(0, 1\], got 0. To mask at random only, use 'random'",
        ),
        ({"dobf_probability": 2}, r"dobf_probability must lie in \[0, 1\], got 2"),
        ({"mask_share": 0.9, "random_share": 0.2}, r"sum to 1 at most, got 0\.9 and 0\.2. Full mask is 1 and 0"),
    ],
)
def test_masking_collator_refuses_nonsense(tokenizer, options, message):
    with pytest.raises(ValueError, match=message):
        MixedMaskingCollator(tokenizer, **options)


# packing


@pytest.mark.parametrize("seed", range(3))
def test_packing_loses_nothing_cuts_nothing_and_wastes_little(seed):
    rng = np.random.default_rng(seed)
    lengths = rng.integers(1, 129, 2000)
    rows = pack(lengths, 128, rng)
    assert sorted(index for row in rows for index in row) == list(range(2000))
    assert all(lengths[row].sum() <= 128 for row in rows)
    assert lengths.sum() / (128 * len(rows)) > 0.97


def test_packed_rows_hold_whole_documents(packed, documents, tokenizer):
    seen = []
    for row in range(len(packed)):
        feature, start = packed[row], 0
        for length in feature["document_lengths"]:
            seen.append(feature["input_ids"][start : start + length].tolist())
            start += length
        assert start == len(feature["input_ids"]) <= 128
    assert sorted(seen) == sorted(documents["input_ids"][:])
    assert all(document[-1] == tokenizer.eos_token_id for document in seen)


def test_packing_refuses_what_does_not_fit(documents):
    with pytest.raises(ValueError, match=r"does not fit into rows of 32. Build the data with a smaller --max-length"):
        PackedDocuments(documents, max_length=32)
    with pytest.raises(ValueError, match="no document. Check its stats.json"):
        PackedDocuments(documents.select([]), max_length=32)


def test_chunks_never_cut_an_identifier():
    identifiers = np.array([0, 1, 1, 0, 2, 2, 2, 0, 0, 3])
    assert chunk_ends(identifiers, 6) == [4, 10]
    assert chunk_ends(identifiers, 5) == [4, 9, 10]
    assert chunk_ends(np.ones(7, dtype=int), 3) == [3, 6, 7]  # too long to be kept whole
    assert chunk_ends(np.zeros(0, dtype=int), 3) == [0]


# pairs

PAIR = {"text": "add two numbers", "code": "def f(a, b):\n    c = a + b\n    return c", "code_body": "c = a + b"}


def test_pair_batches(tokenizer):
    batch = PairCollator(tokenizer, max_text_length=8, max_code_length=12, hard_positive_rate=0.0)(
        [PAIR, {**PAIR, "text": "something quite different and much longer than eight tokens"}]
    )
    assert batch["text_input_ids"].shape == (2, 8) and batch["code_input_ids"].shape == (2, 12)
    assert (batch["code_input_ids"][:, -1] == tokenizer.eos_token_id).all()
    assert batch["code_hash"][0] == batch["code_hash"][1] and batch["text_hash"][0] != batch["text_hash"][1]


@pytest.mark.parametrize("rate", [0.0, 0.3, 1.0])
def test_hard_positives_come_at_their_rate(tokenizer, rate):
    rows = Pairs(Dataset.from_list([PAIR] * 1000), seed=1)
    collator = PairCollator(tokenizer, hard_positive_rate=rate)
    bodies = sum(collator._code(rows[row]) == PAIR["code_body"] for row in range(1000))
    assert abs(bodies - 1000 * rate) <= 5 * math.sqrt(1000 * rate * (1 - rate))
    before = [collator._code(rows[row]) for row in range(50)]
    assert before == [collator._code(rows[row]) for row in range(50)]
    rows.set_epoch(1)
    changed = before != [collator._code(rows[row]) for row in range(50)]
    assert changed == (0 < rate < 1)


def test_an_empty_body_keeps_the_whole_function(tokenizer):
    collator = PairCollator(tokenizer, hard_positive_rate=1.0)
    assert collator._code({**PAIR, "code_body": ""}) == PAIR["code"]


def test_pair_collator_refuses_nonsense(tokenizer):
    with pytest.raises(ValueError, match=r"max_text_length must be at least 2 \(one token and EOS\), got 1"):
        PairCollator(tokenizer, max_text_length=1)
    with pytest.raises(ValueError, match=r"hard_positive_rate must lie in \[0, 1\], got 1\.5"):
        PairCollator(tokenizer, hard_positive_rate=1.5)
