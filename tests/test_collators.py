"""Masking, packing and pairing: properties, statistical bounds, alignment of identifiers with tokens."""

from __future__ import annotations

import math
from collections import Counter

import numpy as np
import pytest
import torch
from datasets import Dataset
from tokenizers import Regex, Tokenizer, models, pre_tokenizers
from torch.utils.data import DataLoader
from transformers import PreTrainedTokenizerFast

from data_collators import FoldMaskingCollator, MixedMaskingCollator, PackedDocuments, PairCollator, Pairs
from data_collators.builders.stage1 import Stage1Extractor, chunk_ends
from data_collators.masking import apply_masks, identifier_positions, mixed_positions, random_positions
from data_collators.mixed_masking import OBJECTIVES
from data_collators.packing import choose_documents, group_alike, pack
from data_collators.rows import SourceFile
from data_collators.tokenization import SPLIT_PATTERN


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
        tokens,
        np.ones(n, dtype=bool),
        mask_token_id=1,
        replacement_R=np.arange(2, 502),
        mask_share=0.8,
        random_share=0.1,
        rng=rng,
    )
    assert (labels == 999).all()
    for shown, share in ((inputs == 1, 0.8), ((inputs > 1) & (inputs < 502), 0.1), (inputs == 999, 0.1)):
        assert abs(shown.sum() - n * share) < 5 * math.sqrt(n * share * (1 - share))


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
        assert positions[len(expected) :].tolist() == list(range(len(positions) - len(expected)))


def test_the_shares_hold_on_real_documents(tokenizer, documents):
    """Random masking takes 15 % of what may be masked; of it 80 % show the mask and 10 % something else."""
    rows = PackedDocuments(documents, max_length=128, seed=11)
    collator = MixedMaskingCollator(tokenizer, objective="random", mask_share=0.8, random_share=0.1)
    features, batch = batch_of(collator, rows, rows=len(rows))
    n = sum((~np.isin(feature["input_ids"], tokenizer.all_special_ids)).sum() for feature in features)
    predicted = batch["labels"] != -100
    shown, true = batch["input_ids"][predicted], batch["labels"][predicted]
    masked, kept = (shown == tokenizer.mask_token_id).sum(), (shown == true).sum()
    m, vocabulary = int(predicted.sum()), len(tokenizer) - len(set(tokenizer.all_special_ids))
    for count, total, share in ((m, n, 0.15), (masked, m, 0.8), (kept, m, 0.1 + 0.1 / vocabulary)):
        assert abs(count - total * share) < 5 * math.sqrt(total * share * (1 - share))


def test_a_random_replacement_is_never_a_special_token_and_may_be_any_other(tokenizer):
    feature = {"input_ids": [9] * 40_000, "identifier_ids": [0] * 40_000, "draw": (0, 0, 0)}
    collator = MixedMaskingCollator(tokenizer, objective="random", mlm_rate=0.9, mask_share=0.0, random_share=1.0)
    batch = collator([feature])
    shown = set(batch["input_ids"][batch["labels"] != -100].tolist())
    # Of 1,021 tokens each is missed by 36,000 draws with probability exp(-35).
    assert shown == set(range(len(tokenizer))) - set(tokenizer.all_special_ids)


def test_a_dynamic_rate_is_drawn_for_each_document(tokenizer):
    documents, length, low, high = 200, 1000, 0.1, 0.5
    feature = {
        "input_ids": [9] * (documents * length),
        "identifier_ids": [0] * (documents * length),
        "document_lengths": [length] * documents,
        "draw": (1, 0, 0),
    }
    batch = MixedMaskingCollator(tokenizer, objective="random", mlm_rate=low, mlm_rate_max=high)([feature])
    share = (batch["labels"][0] != -100).view(documents, length).float().mean(dim=1).numpy()
    noise = 5 * math.sqrt(0.25 / length)
    assert low - noise < share.min() < low + 0.1 and high - 0.1 < share.max() < high + noise
    sigma = math.sqrt(((high - low) ** 2 / 12 + 0.25 / length) / documents)  # variance of a uniform rate, and of masks
    assert abs(share.mean() - (low + high) / 2) < 5 * sigma


class Given:
    """Stands in for a random generator: gives the draws that a test names, one call after the other."""

    def __init__(self, *draws):
        self.draws = [np.array(draw) for draw in draws]

    def random(self, shape):
        draw = self.draws.pop(0)
        assert draw.shape == (shape if isinstance(shape, tuple) else (shape,))
        return draw

    def uniform(self, low, high, shape):
        return low + (high - low) * self.random(shape)


def test_mixed_positions_by_hand():
    """Documents 0 and 3 take deobfuscation, 1 random masking, 2 too, though it drew the other: it has no identifier."""
    document = np.array([0, 0, 0, 0, 1, 1, 2, 2, 3, 3])
    identifier = np.array([1, 2, 0, 1, 1, 0, 0, 0, 1, 2])
    rng = Given(
        [0.4, 0.6, 0.1, 0.49],  # below 0.5 asks for deobfuscation
        [0.0, 0.5, 1.0, 0.0],  # place of each document's rate between 0.2 and 0.4: 0.2, 0.3, 0.4, 0.2
        [0.0, 0.0, 0.0, 0.0, 0.29, 0.31, 0.39, 0.41, 0.0, 0.0],  # below the rate is masked
        # Document x identifier, of which 0 is none; below 0.5 is chosen.
        [[0.0, 0.3, 0.7], [0.9, 0.0, 0.9], [0.9, 0.9, 0.9], [0.0, 0.6, 0.4]],
    )
    chosen, dobf = mixed_positions(
        np.ones(10, dtype=bool),
        identifier,
        document,
        dobf_probability=0.5,
        mlm_rate=(0.2, 0.4),
        identifier_share=0.5,
        rng=rng,
    )
    assert dobf.tolist() == [True, False, False, True]
    assert chosen.tolist() == [True, False, False, True, True, False, True, False, False, True]


SNIPPET = """class Reader:
    def read_csv(self, path):
        # read the path
        self.rows = open(path, mode="r")
        print(self.rows)
"""
# Its tokens, written out; under each the letter of its identifier: R = Reader, C = read_csv, S = self, P = path,
# W = rows. Builtins (open, print), the keyword mode and the comment stay, as in the paper's example.
TOKENS = [
    *("class", " Reader", ":", "\n   ", " def", " read", "_", "csv", "(", "self", ",", " path", "):", "\n       "),
    *(" #", " read", " the", " path", "\n       ", " self", ".", "rows", " =", " open", "(", "path", ",", " mode"),
    *('="', "r", '")', "\n       ", " print", "(", "self", ".", "rows", ")", "\n"),
]
NAMES = ".R...CCC.S.P.......S.W...P........S.W.."


@pytest.fixture(scope="module")
def word_tokenizer():
    """Each piece of the snippet is a token, cut as our tokenizers cut."""
    vocabulary = ["<eos>", "<mask>", "<pad>", *dict.fromkeys(TOKENS)]
    tokenizer = Tokenizer(models.WordLevel({token: number for number, token in enumerate(vocabulary)}, "<eos>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(SPLIT_PATTERN), "isolated")
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token="<eos>", mask_token="<mask>", pad_token="<pad>"
    )


@pytest.fixture(scope="module")
def snippet(word_tokenizer):
    """The snippet's stage-1 row."""
    (row,) = Stage1Extractor(word_tokenizer, max_length=64)(SourceFile("0", SNIPPET, "python", "r", "p")).rows
    return {"input_ids": row.input_ids, "identifier_ids": row.identifier_ids, "draw": (0, 0, 0)}


def shown(tokenizer, ids):
    return ["?" if token == "<mask>" else token for token in tokenizer.convert_ids_to_tokens(ids.tolist())]


def test_the_tokens_of_the_snippet(word_tokenizer, snippet):
    assert word_tokenizer.convert_ids_to_tokens(snippet["input_ids"].tolist()) == [*TOKENS, "<eos>"]
    assert "".join(TOKENS) == SNIPPET
    letters = dict(zip(snippet["identifier_ids"].tolist(), NAMES + ".", strict=True))
    assert [letters[number] for number in snippet["identifier_ids"].tolist()] == list(NAMES + ".")
    assert len(letters) == 6


def test_golden_deobfuscation_of_all_identifiers(word_tokenizer, snippet):
    """One mask for each sub-token of each identifier, the true sub-tokens as labels, nothing else."""
    batch = MixedMaskingCollator(word_tokenizer, objective="dobf", identifier_share=1.0)([snippet])
    expected = ["?" if name != "." else token for token, name in zip(TOKENS, NAMES, strict=True)]
    assert "".join(expected) == (
        'class?:\n    def???(?,?):\n        # read the path\n       ?.? = open(?, mode="r")\n        print(?.?)\n'
    )
    assert shown(word_tokenizer, batch["input_ids"][0]) == [*expected, "<eos>"]
    labels = [token if name != "." else None for token, name in zip(TOKENS, NAMES, strict=True)]
    known = word_tokenizer.convert_tokens_to_ids
    assert batch["labels"][0].tolist() == [-100 if token is None else known(token) for token in [*labels, None]]


@pytest.mark.parametrize("seed", range(5))
def test_golden_deobfuscation_of_some_identifiers(word_tokenizer, snippet, seed):
    """Which identifiers are chosen is told by one token of each; all others follow."""
    batch = MixedMaskingCollator(word_tokenizer, objective="dobf")([{**snippet, "draw": (seed, 0, 0)}])
    predicted = (batch["labels"][0, :-1] != -100).tolist()
    chosen = {name for name in "RCSPW" if predicted[NAMES.index(name)]}
    assert predicted == [name in chosen for name in NAMES]


def test_specials_inside_documents_are_never_masked(word_tokenizer, snippet):
    """Also not when they count as part of an identifier."""
    ids = snippet["input_ids"].copy()
    ids[[1, 9]] = word_tokenizer.pad_token_id, word_tokenizer.eos_token_id
    for objective in OBJECTIVES:
        collator = MixedMaskingCollator(word_tokenizer, objective=objective, mlm_rate=0.99, identifier_share=1.0)
        batch = collator([{**snippet, "input_ids": ids}])
        assert (batch["labels"][0, [1, 9, len(NAMES)]] == -100).all() and (batch["labels"] != -100).sum() > 5


# layouts, groups, draws


@pytest.mark.parametrize("objective", ["parallel", "random", "dobf"])
def test_padded_rows_are_the_documents_of_packed_rows(tokenizer, packed, objective):
    features = [packed[row] for row in range(8)]
    options = {"objective": objective, "mask_share": 0.8, "random_share": 0.1, "with_groups": True}
    rows = MixedMaskingCollator(tokenizer, layout="packed", **options)(features)
    single = MixedMaskingCollator(tokenizer, layout="padded", **options)(features)
    assert set(single) - set(rows) == {"attention_mask"} and set(rows) - set(single) == {"position_ids"}
    number = 0
    for row, feature in enumerate(features):
        start = 0
        for length in feature["document_lengths"].tolist():
            for name in set(rows) & set(single):
                assert torch.equal(rows[name][row, start : start + length], single[name][number, :length]), name
            assert single["attention_mask"][number].tolist() == [1] * length + [0] * (
                single["labels"].shape[1] - length
            )
            assert (single["input_ids"][number, length:] == tokenizer.pad_token_id).all()
            assert (single["labels"][number, length:] == -100).all()
            start, number = start + length, number + 1
    assert number == len(single["labels"]) > len(features)


def test_groups_tell_objective_and_language_of_every_token(tokenizer, documents):
    languages = ["go" if number % 3 else "c" for number in range(len(documents))]
    rows = PackedDocuments(documents.add_column("language", languages), max_length=128)
    assert rows.languages == ["c", "go"]
    of_document = {tuple(ids): name for ids, name in zip(documents["input_ids"][:], languages, strict=True)}
    features = [rows[row] for row in range(16)]
    batch = MixedMaskingCollator(tokenizer, with_groups=True, identifier_share=1.0)(features)
    seen = set()
    for row, feature in enumerate(features):
        start = 0
        for length in feature["document_lengths"].tolist():
            span = slice(start, start + length)
            (language,) = set(batch["language_ids"][row, span].tolist())
            (objective,) = set(batch["objective_ids"][row, span].tolist())
            assert rows.languages[language] == of_document[tuple(feature["input_ids"][span].tolist())]
            predicted = (batch["labels"][row, span] != -100).numpy()
            if OBJECTIVES[objective] == "dobf":
                assert np.array_equal(predicted, feature["identifier_ids"][span] > 0)
            seen.add((objective, language))
            start += length
        assert (batch["language_ids"][row, start:] == -1).all() and (batch["objective_ids"][row, start:] == -1).all()
    assert len(seen) == 4, "not all groups occur: nothing is tested"


@pytest.mark.filterwarnings("ignore:This DataLoader will create")  # on machines with fewer cores
def test_batches_are_the_same_whatever_the_number_of_workers(tokenizer, packed):
    collator = MixedMaskingCollator(tokenizer, with_groups=True)
    plain, *others = (
        list(DataLoader(packed, batch_size=5, collate_fn=collator, num_workers=workers)) for workers in (0, 1, 2)
    )
    for batches in others:
        assert len(batches) == len(plain) > 4
        for one, two in zip(plain, batches, strict=True):
            assert one.keys() == two.keys() and all(torch.equal(one[name], two[name]) for name in one)


@pytest.mark.filterwarnings("ignore:This DataLoader will create")  # on machines with fewer cores
def test_features_without_a_draw_differ_from_each_other_and_between_workers(tokenizer):
    rows = [{"input_ids": [9] * 200, "identifier_ids": [0] * 200}] * 8

    def masks(workers):
        torch.manual_seed(3)
        collator = MixedMaskingCollator(tokenizer, seed=5)
        loader = DataLoader(rows, batch_size=2, collate_fn=collator, num_workers=workers)
        return [tuple((row != -100).tolist()) for batch in loader for row in batch["labels"]]

    for workers in (0, 2):
        assert len(set(masks(workers))) == 8
        assert masks(workers) == masks(workers)


def test_tokens_of_another_tokenizer_are_refused(tokenizer):
    with pytest.raises(ValueError, match=r"hold token id 1024, but the tokenizer's end at 1023. Name the tokenizer"):
        MixedMaskingCollator(tokenizer)([{"input_ids": [3, 1024], "identifier_ids": [0, 0]}])
    rows = Dataset.from_dict({"input_ids": [[3, 1024]], "identifier_ids": [[0, 0]]})
    with pytest.raises(ValueError, match=r"hold token id 1024, outside a vocabulary of 1024. Name the tokenizer"):
        PackedDocuments(rows, 16).token_counts(1024)


@pytest.mark.parametrize("folds", [2, 3, 7])
def test_folds_predict_every_token_once(tokenizer, packed, folds):
    features = [packed[row] for row in range(4)]
    collator = FoldMaskingCollator(tokenizer, folds)
    times = 0
    for fold in range(folds):
        collator.fold = fold
        batch = collator(features)
        restored = torch.where(batch["labels"] == -100, batch["input_ids"], batch["labels"])
        source = original(features, batch, tokenizer.pad_token_id)
        assert torch.equal(restored, source)
        times = times + (batch["labels"] != -100).int()
    real = ~torch.isin(source, torch.tensor(tokenizer.all_special_ids))
    assert torch.equal(times, real.int())
    with pytest.raises(ValueError, match="eval_passes must be at least 2, got 1: one pass would mask every token"):
        FoldMaskingCollator(tokenizer, 1)


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
        ({"mask_share": -0.1}, r"must not be negative and sum to 1 at most, got -0\.1 and 0\.0"),
        ({"mlm_rate_max": 0.1}, r"mlm_rate_max must lie in \[mlm_rate, 1\), got 0\.1 with mlm_rate=0\.15"),
        ({"layout": "flat"}, "layout must be one of packed, padded, got 'flat'"),
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


@pytest.mark.parametrize("budget", [128, 400])
def test_documents_of_similar_length_come_together(budget):
    rng = np.random.default_rng(0)
    lengths = rng.integers(1, 129, 2000)
    groups = group_alike(lengths, budget, rng)
    assert sorted(index for group in groups for index in group) == list(range(2000))
    assert all(len(group) * lengths[group].max() <= budget for group in groups)
    assert lengths.sum() / sum(len(group) * lengths[group].max() for group in groups) > 0.95
    with pytest.raises(ValueError, match="a document of 129 tokens does not fit into rows of 128"):
        group_alike(np.array([129]), 128, rng)


def test_padded_items_hold_every_document_and_none_too_long(documents):
    rows = PackedDocuments(documents, max_length=64, padded_tokens=256)
    assert rows.whole_batches and not PackedDocuments(documents, max_length=64).whole_batches
    features = [rows[row] for row in range(len(rows))]
    assert sum(len(feature["document_lengths"]) for feature in features) == len(documents)
    assert all(len(f["document_lengths"]) * f["document_lengths"].max() <= 256 for f in features)
    with pytest.raises(ValueError, match="does not fit into rows of 32"):  # though it fits into the batch
        PackedDocuments(documents, max_length=32, padded_tokens=256)


def test_chosen_rows_of_a_data_set_are_packed_and_no_others(documents):
    some = documents.select([5, 3, 11])
    rows = PackedDocuments(some, max_length=64)
    packed = [rows[row] for row in range(len(rows))]
    assert sum(len(feature["input_ids"]) for feature in packed) == sum(map(len, some["input_ids"][:]))
    assert sum(len(feature["document_lengths"]) for feature in packed) == 3


def test_languages_come_as_often_as_their_weights_say():
    language = np.repeat([0, 1, 2, 3], [1000, 1000, 1000, 7])
    rng = np.random.default_rng(0)
    times = np.zeros(len(language))
    for _ in range(400):
        chosen = choose_documents(language, np.array([0.0, 2.0, 1.3, 0.05]), rng)
        once = np.bincount(chosen, minlength=len(language))
        assert not once[:1000].any() and (once[1000:2000] == 2).all() and np.isin(once[2000:3000], [1, 2]).all()
        times += once
    assert abs(times[2000:3000].mean() / 400 - 1.3) < 0.001  # 300 of 1,000, one more or less
    # A seventh of the 7 documents less than once an epoch: never, if the 0.35 documents were rounded.
    assert abs(times[3000:].sum() - 400 * 0.35) < 5 * math.sqrt(400 * 0.35 * 0.65)
    # Every document gets its turn: 400 draws at 0.3.
    assert np.abs(times[2000:3000] - 400 * 1.3).max() < 5.5 * math.sqrt(400 * 0.3 * 0.7)


@pytest.mark.parametrize("padded_tokens", [None, 256])
def test_the_number_of_rows_stays_the_same_from_epoch_to_epoch(documents, padded_tokens):
    languages = [("c", "go", "php")[number % 3] for number in range(len(documents))]
    named = documents.add_column("language", languages)
    of_document = {tuple(ids): name for ids, name in zip(documents["input_ids"][:], languages, strict=True)}
    weights = {"c": 0.0, "go": 0.37}
    rows = PackedDocuments(named, 64, seed=2, weights=weights, padded_tokens=padded_tokens, multiple=4)
    count, shares = len(rows), []
    assert count % 4 == 0
    for epoch in range(4):
        rows.set_epoch(epoch)
        assert len(rows) == count
        seen = []
        for row in range(count):
            feature = rows[row]
            assert feature["draw"] == (2, epoch, row)
            ends = feature["document_lengths"].cumsum()
            seen += [of_document[tuple(part.tolist())] for part in np.split(feature["input_ids"], ends[:-1])]
        assert set(seen) == {"go", "php"}
        shares.append(seen.count("go") / seen.count("php"))
    assert np.allclose(shares, 0.37, atol=0.1)


def test_weights_that_leave_nothing_are_refused(documents):
    named = documents.add_column("language", ["go"] * (len(documents) - 1) + ["c"])
    for weights, message in (
        ({"rust": 1.0}, "the data has no language 'rust' to weigh. Its languages: c, go"),
        ({"go": -1.0}, r"the weight of go must not be negative, got -1.0. 0 leaves the language out"),
        ({"go": float("nan")}, "the weight of go must not be negative, got nan"),
        ({"go": 0, "c": 0}, "all languages have the weight 0, so nothing is left to train on. Raise one"),
        ({"go": 0, "c": 1e-9}, "the language weights leave no document. Raise one"),
    ):
        with pytest.raises(ValueError, match=message):
            PackedDocuments(named, 64, weights=weights)


def test_chunks_never_cut_an_identifier():
    identifiers = np.array([0, 1, 1, 0, 2, 2, 2, 0, 0, 3])
    assert chunk_ends(identifiers, 6) == [4, 10]
    assert chunk_ends(identifiers, 5) == [4, 9, 10]
    assert chunk_ends(np.ones(7, dtype=int), 3) == [3, 6, 7]  # too long to be kept whole
    assert chunk_ends(np.zeros(0, dtype=int), 3) == [0]


# pairs

PAIR = {"text": "add two numbers", "code": "def f(a, b):\n    c = a + b\n    return c", "code_body": "c = a + b"}


LONG = {**PAIR, "text": "something quite different and much longer than eight tokens"}


def items(batch, side):
    """The token ids of each item of a side."""
    return [ids.tolist() for ids in batch[f"{side}_input_ids"].split(batch[f"{side}_lengths"].tolist())]


@pytest.mark.parametrize("max_length", [2, 5, 16, 128])
def test_flat_batches_hold_the_tokens_of_each_text(tokenizer, sources, max_length):
    """Against one call of the tokenizer a text; long texts are those of which only a beginning is tokenized."""
    longest = max((name for name in tokenizer.get_vocab() if name[0] == "Ġ" and name[1:].isalpha()), key=len)
    codes = [*(source.decode() for source in sources), "", "x", "a" * 5000, " " + longest[1:] * 2]
    codes.append((" " + longest[1:]) * (120 if max_length == 128 else 1))  # read to the end though beyond the cut
    rows = [{"text": code[:90], "code": code} for code in codes]
    batch = PairCollator(tokenizer, max_text_length=8, max_code_length=max_length)(rows)
    assert items(batch, "code") == [tokenizer(c, truncation=True, max_length=max_length)["input_ids"] for c in codes]
    assert items(batch, "text") == [tokenizer(c[:90], truncation=True, max_length=8)["input_ids"] for c in codes]
    lengths = zip(map(len, codes), map(len, items(batch, "code")), strict=True)
    ways = {(characters > 8 * max_length, tokens < max_length) for characters, tokens in lengths}
    assert (True, False) in ways and (max_length == 2 or (False, True) in ways)
    assert max_length < 128 or (True, True) in ways
    assert {(t.dtype, t.ndim) for t in batch.values()} == {(torch.int64, 1)}


def test_pair_batches(tokenizer):
    batch = PairCollator(tokenizer, max_text_length=8, max_code_length=12, hard_positive_rate=0.0)([PAIR, LONG])
    assert set(batch) == {f"{side}_{name}" for side in ("text", "code") for name in ("input_ids", "lengths", "hash")}
    assert batch["text_lengths"].tolist()[1] == 8 and batch["code_lengths"].tolist() == [12, 12]
    assert all(ids[-1] == tokenizer.eos_token_id for side in ("text", "code") for ids in items(batch, side))
    assert batch["code_hash"][0] == batch["code_hash"][1] and batch["text_hash"][0] != batch["text_hash"][1]


def test_what_looks_like_a_special_token_stays_text(tokenizer):
    row = {"text": f"print {tokenizer.eos_token} at the end", "code": f"x = '{tokenizer.mask_token}'"}
    batch = PairCollator(tokenizer)([row])
    for side in ("text", "code"):
        (ids,) = items(batch, side)
        assert not set(ids[:-1]) & set(tokenizer.all_special_ids) and tokenizer.decode(ids[:-1]) == row[side]


@pytest.mark.parametrize("rate", [0.0, 0.3, 1.0])
def test_hard_positives_come_at_their_rate(tokenizer, rate):
    rows = Pairs(Dataset.from_list([PAIR] * 1000), seed=1)
    collator = PairCollator(tokenizer, hard_positive_rate=rate)
    whole, body = (PairCollator(tokenizer, hard_positive_rate=r)([PAIR])["code_hash"].item() for r in (0, 1))
    assert whole != body

    def shown():
        return collator([rows[row] for row in range(1000)])["code_hash"]

    before = shown()
    assert set(before.tolist()) <= {whole, body}
    assert abs((before == body).sum() - 1000 * rate) <= 5 * math.sqrt(1000 * rate * (1 - rate))
    assert torch.equal(before, shown())
    rows.set_epoch(1)
    assert torch.equal(before, shown()) == (rate in (0, 1))


def test_an_empty_body_keeps_the_whole_function(tokenizer):
    whole = PairCollator(tokenizer, hard_positive_rate=0.0)([PAIR])
    for row in (
        {**PAIR, "code_body": ""},
        {**PAIR, "code_body": None},
        {name: PAIR[name] for name in ("text", "code")},
    ):
        batch = PairCollator(tokenizer, hard_positive_rate=1.0)([row])
        assert torch.equal(batch["code_input_ids"], whole["code_input_ids"])


def test_prompts_come_before_every_side(tokenizer):
    """Also before a hard positive, whose parts are cut by where they stand in the code without a prompt."""
    row = {**PAIR, "negatives": ["x = 1"]}
    plain, prompted = (
        PairCollator(tokenizer, hard_positive_rate=1.0, prompts=prompts)([row])
        for prompts in ({}, {"text": "query: ", "code": "code: "})
    )
    for side, prompt in (("text", "query: "), ("code", "code: "), ("negative", "code: ")):
        (before,), (after,) = (items(batch, side) for batch in (plain, prompted))
        assert tokenizer.decode(after[:-1]) == prompt + tokenizer.decode(before[:-1])
        assert torch.equal(plain[f"{side}_hash"], prompted[f"{side}_hash"])


# negatives


def test_negatives_are_flat_and_share_the_hashes_of_codes(tokenizer):
    rows = [
        {**PAIR, "negatives": ["x = 1", PAIR["code"], "y = 2"]},
        {**LONG, "code": "x = 1", "code_body": "", "negatives": ["x = 1"]},
        {**LONG, "code": "z", "code_body": "", "negatives": None},
    ]
    for rate in (0.0, 1.0):
        batch = PairCollator(tokenizer, hard_positive_rate=rate, max_negatives=9)(rows)
        assert [tokenizer.decode(ids[:-1]) for ids in items(batch, "negative")] == [
            *("x = 1", PAIR["code"], "y = 2", "x = 1")
        ]
        own, other, _ = batch["code_hash"].tolist()
        # Also where the other pair shows its body alone: the loss must not push a text from its own code.
        assert batch["negative_hash"].tolist() == [other, own, batch["negative_hash"][2].item(), other]
        assert batch["negative_hash"][2].item() not in (own, other)


def test_negatives_are_drawn_by_seed_epoch_and_row(tokenizer):
    names = [f"f{n}" for n in range(10)]
    rows = Pairs(Dataset.from_list([{**PAIR, "negatives": names}] * 300), seed=3)
    collator = PairCollator(tokenizer, max_negatives=3)

    def drawn():
        found = items(collator([rows[row] for row in range(300)]), "negative")
        return [tokenizer.decode(ids[:-1]) for ids in found]

    before = drawn()
    assert len(before) == 900 and before == drawn()
    assert all(len(set(before[start : start + 3])) == 3 for start in range(0, 900, 3))  # none twice in a row
    for name in names:  # each with probability 0.3
        assert abs(before.count(name) - 90) < 5 * math.sqrt(300 * 0.3 * 0.7)
    rows.set_epoch(1)
    assert before != drawn()


def test_rows_without_negatives(tokenizer):
    """Where the column is there the keys are, so that processes agree; without it, or when none are asked for, not."""
    collator = PairCollator(tokenizer)
    assert not [key for key in collator([PAIR]) if key.startswith("negative")]
    batch = collator([{**PAIR, "negatives": []}, PAIR])
    assert [batch[f"negative_{name}"].tolist() for name in ("input_ids", "lengths", "hash")] == [[], [], []]
    batch = PairCollator(tokenizer, max_negatives=0)([{**PAIR, "negatives": ["x"]}])
    assert not [key for key in batch if key.startswith("negative")]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_text_length": 1}, r"max_text_length must be at least 2 \(one token and EOS\), got 1"),
        ({"hard_positive_rate": 1.5}, r"hard_positive_rate must lie in \[0, 1\], got 1\.5"),
        ({"max_negatives": -1}, r"max_negatives must be at least 0 \(none are used\), got -1"),
        ({"hard_positive_drop": ["body"]}, r"list of parts among signature, return, docstring, got 'body'"),
        ({"hard_positive_drop": "return"}, r"list of parts among signature, return, docstring, got 'return'"),
    ],
)
def test_pair_collator_refuses_nonsense(tokenizer, options, message):
    with pytest.raises(ValueError, match=message):
        PairCollator(tokenizer, **options)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"text": "t", "func": "c"}, r"a string in the column 'code', got None. The columns of this row: text, func"),
        ({"text": None, "code": "c"}, r"a string in the column 'text', got None"),
        ({"text": "t", "code": "c", "negatives": "d"}, r"negatives must be a list of codes, got the string 'd'"),
    ],
)
def test_rows_that_are_no_pairs_are_refused(tokenizer, row, message):
    with pytest.raises(ValueError, match=message):
        PairCollator(tokenizer)([PAIR, row])


def pairs_shown(tokenizer, row, draws=400, **rates):
    """How often a pair shows which text and code."""
    collate = PairCollator(tokenizer, hard_positive_rate=0, **rates)
    return Counter(collate._shown(row, np.random.default_rng(draw)) for draw in range(draws))


def test_doc_comments_stand_for_texts_and_above_codes_as_often_as_asked(tokenizer):
    row = {"text": "Adds.", "code": "def add(a, b): ...", "docstring": "Adds.\n\nTwo numbers, that is."}
    long, commented = (row["docstring"], row["code"]), (row["text"], f"{row['docstring']}\n{row['code']}")
    found = pairs_shown(tokenizer, row, docstring_text_rate=0.25, docstring_code_rate=0.5)
    assert set(found) == {(row["text"], row["code"]), long, commented}
    assert abs(found[long] - 100) < 40 and abs(found[commented] - 200) < 50  # four standard deviations and more
    assert set(pairs_shown(tokenizer, row, 50)) == {(row["text"], row["code"])}
    assert set(pairs_shown(tokenizer, row | {"docstring": ""}, 50, docstring_text_rate=1.0)) == {
        (row["text"], row["code"])
    }


@pytest.mark.parametrize("kind, texts, codes", [("query", 1, 2), ("renamed", 1, 1), ("across", 1, 1), (None, 2, 2)])
def test_only_summaries_become_longer_and_texts_of_code_stay_alone(tokenizer, kind, texts, codes):
    row = {"text": "add two", "code": "def add(a, b): ...", "docstring": "Adds two.", "text_kind": kind}
    found = pairs_shown(tokenizer, row, 60, docstring_text_rate=0.5, docstring_code_rate=0.5)
    assert (len({text for text, _ in found}), len({code for _, code in found})) == (texts, codes)


def test_shares_of_doc_comments_that_cannot_be(tokenizer):
    with pytest.raises(ValueError, match="their sum at most 1, got 0.7 and 0.4"):
        PairCollator(tokenizer, docstring_text_rate=0.7, docstring_code_rate=0.4)
