"""The tokenizer's promises, and the alignment of tokens with identifiers."""

from __future__ import annotations

import pytest
from transformers import AutoTokenizer

from data_collators import train_tokenizer
from data_collators.names import identifiers
from data_collators.tokenization import IdentifierTokenizer

AWKWARD = "x\t= é  # ünïcode 🎉\r\n\n  y_2 =\t0x1F\x0b ½ <mask> <|endoftext|> שלום"


def plain(tokenizer, text):
    return tokenizer(text, add_special_tokens=False, split_special_tokens=True)["input_ids"]


def test_eos_is_appended_and_survives_truncation_and_reloading(tokenizer, tmp_path):
    tokenizer.save_pretrained(tmp_path)
    for version in (tokenizer, AutoTokenizer.from_pretrained(tmp_path)):
        long = "word " * 500
        assert version("a b")["input_ids"][-1] == version.eos_token_id == 0
        cut = version(long, truncation=True)["input_ids"]
        assert len(cut) == 128 and cut[-1] == 0 and cut.count(0) == 1
        batch = version(["a", long], truncation=True, max_length=10, padding=True)["input_ids"]
        assert [row[-1] for row in batch] == [version.pad_token_id, 0]
        assert version("")["input_ids"] == [0]
        assert (version.mask_token_id, version.pad_token_id, version.model_max_length) == (1, 2, 128)


def test_any_text_comes_back_byte_for_byte(tokenizer, sources):
    for text in [AWKWARD, *(source.decode() for source in sources)]:
        assert tokenizer.decode(plain(tokenizer, text)) == text


def test_digits_stand_alone(tokenizer):
    tokens = tokenizer.convert_ids_to_tokens(plain(tokenizer, "x = 2024"))
    assert tokens[-4:] == ["Ġ2", "0", "2", "4"]


def test_mask_swallows_the_blank_before_it(tokenizer):
    assert tokenizer("x = <mask>)")["input_ids"].count(tokenizer.mask_token_id) == 1
    assert len(tokenizer("x = <mask>")["input_ids"]) == len(tokenizer("x =<mask>")["input_ids"])


def test_cut_at_identifiers_gives_the_tokens_of_the_plain_text(tokenizer, sources):
    """Training (cut at identifiers) and use (plain text) see the same tokens, on every real file."""
    cut = IdentifierTokenizer(tokenizer)
    for source in sources:
        ids, _ = cut(source, identifiers(source, "python"))
        assert ids.tolist() == plain(tokenizer, source.decode())


def test_each_identifier_is_its_own_run_of_tokens(tokenizer, sources):
    cut = IdentifierTokenizer(tokenizer)
    source = max(sources, key=len)
    names = identifiers(source, "python")
    ids, identifier_ids = cut(source, names)
    assert len(ids) == len(identifier_ids)
    runs, previous = [], 0
    for token, name_id in zip(ids.tolist(), identifier_ids.tolist(), strict=True):
        if name_id and name_id != previous:
            runs.append((name_id, []))
        if name_id:
            runs[-1][1].append(token)
        previous = name_id
    assert [run[0] for run in runs] == [found.name_id for found in names]
    for (_, tokens), found in zip(runs, names, strict=True):
        assert tokenizer.decode(tokens).removeprefix(" ") == source[found.start : found.end].decode()


def test_special_looking_source_stays_text(tokenizer):
    code = 'mark = "<|endoftext|><mask>"'
    ids, _ = IdentifierTokenizer(tokenizer)(code.encode(), identifiers(code.encode(), "python"))
    assert not set(ids.tolist()) & set(tokenizer.all_special_ids)
    assert tokenizer.decode(ids.tolist()) == code


def test_training_is_deterministic(sources):
    texts = [source.decode() for source in sources[:3]]
    one, two = (train_tokenizer(texts, vocab_size=400).get_vocab() for _ in range(2))
    assert one == two


def test_bad_input():
    with pytest.raises(ValueError, match=r"vocab_size must be at least 259 \(256 bytes, 3 special tokens\)"):
        train_tokenizer(["x"], vocab_size=100)
    with pytest.raises(ValueError, match="there is no text to train a tokenizer on"):
        train_tokenizer([], vocab_size=300)
