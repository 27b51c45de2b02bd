"""A smaller vocabulary: what its tokens spell has the embedding that it had; what is cut is spelled in pieces."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
import transformers
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import AutoModel, AutoTokenizer, PreTrainedTokenizerFast

import coderep
from trainers.encode import load_encoder
from trainers.vocabulary import cut_weights, kept_tokens, trim_vocabulary

WORDS = ["add", "two", "numbers", "def", "plus", "return", "rare", "##ly", "word", "##es", "never", "seen"]
SPECIAL = ["[PAD]", "[unused0]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]


@pytest.fixture
def bert(tmp_path):
    """The folder of a tiny BERT with a WordPiece vocabulary."""
    letters = [chr(code) for code in range(33, 127) if not chr(code).isupper()]
    tokens = [*SPECIAL, *letters, *(f"##{letter}" for letter in letters), *WORDS]
    backend = Tokenizer(models.WordPiece({token: place for place, token in enumerate(tokens)}, unk_token="[UNK]"))
    backend.normalizer, backend.pre_tokenizer = normalizers.BertNormalizer(), pre_tokenizers.BertPreTokenizer()
    ends = [(name, tokens.index(name)) for name in ("[CLS]", "[SEP]")]
    backend.post_processor = processors.TemplateProcessing("[CLS] $A [SEP]", special_tokens=ends)
    names = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, mask_token="[MASK]", model_max_length=32, **names)
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    torch.manual_seed(0)
    config = transformers.BertConfig(vocab_size=len(tokens), max_position_embeddings=32, **sizes, initializer_range=0.2)
    AutoModel.from_config(config).save_pretrained(tmp_path / "bert")
    tokenizer.save_pretrained(tmp_path / "bert")
    return tmp_path / "bert"


@pytest.fixture
def pairs(tmp_path, corpus):
    folder = tmp_path / "pairs"
    argv = ["data", "pairs", "--source", str(corpus / "csv.py"), str(corpus / "json"), "--output", str(folder)]
    assert coderep.main([*argv, "--test-share", "0.3"]) == 0
    return folder


def test_what_stays_on_paper():
    # 1 and 4 are needed; of the rest 5 is the most frequent, then 0 and 2 are equals, of which the lower id stays.
    counts = np.array([3, 0, 3, 1, 0, 9])
    assert kept_tokens(counts, {4, 1}, 4).tolist() == [0, 1, 4, 5]
    for size in (2, 6):
        with pytest.raises(ValueError, match=rf"size must lie in \(2, 6\), got {size}"):
            kept_tokens(counts, {4, 1}, size)


def test_rows_of_tokens_alone_are_cut():
    state = {"words": torch.arange(12.0).view(6, 2), "bias": torch.arange(6), "other": torch.ones(2, 6)}
    cut = cut_weights(state, np.array([1, 5]), 6)
    assert cut["words"].tolist() == [[2, 3], [10, 11]] and cut["bias"].tolist() == [1, 5]
    assert torch.equal(cut["other"], state["other"])


def test_texts_of_tokens_that_stay_keep_their_embeddings(bert, pairs, tmp_path, capsys):
    size = len(AutoTokenizer.from_pretrained(bert)) - 4
    folder = trim_vocabulary(bert, pairs, tmp_path / "out", size)
    before, after = load_encoder(bert), load_encoder(folder)
    assert len(after.tokenizer) == size == after.model.config.vocab_size
    gone = set(before.tokenizer.get_vocab()) - set(after.tokenizer.get_vocab())
    assert len(gone) == 4 and gone <= {"[unused0]", *WORDS}
    stays = [word for word in WORDS if word not in gone and not word.startswith("##")]
    texts = [f"{' '.join(stays)} {word} xyz" for word in stays] + [""]
    assert [before.tokenizer.tokenize(text) for text in texts] == [after.tokenizer.tokenize(text) for text in texts]
    np.testing.assert_array_equal(before.encode(texts), after.encode(texts))
    word = next(word for word in sorted(gone) if word.isalpha())
    assert after.tokenizer.tokenize(word) == [word[0], *(f"##{letter}" for letter in word[1:])]
    assert not np.allclose(before.encode([word]), after.encode([word]), atol=1e-3)
    for name in ("pad", "cls", "sep", "unk", "mask"):
        number = getattr(after.tokenizer, f"{name}_token_id")
        assert after.tokenizer.convert_ids_to_tokens(number) == getattr(before.tokenizer, f"{name}_token")
    assert f"{size} of {size + 4} tokens stay" in capsys.readouterr().err


def test_the_result_is_a_run_that_can_be_exported(bert, pairs, tmp_path):
    argv = ["train", "trim", str(bert), "--data", str(pairs), "--size", "148", "--output", str(tmp_path / "out")]
    assert coderep.main(argv) == 0
    assert coderep.main(["export", str(tmp_path / "out"), str(tmp_path / "export"), "--no-check"]) == 0
    assert "smaller vocabulary" in (tmp_path / "export" / "README.md").read_text()


@pytest.mark.parametrize("missing", ["tokenizer.json", "model.safetensors"])
def test_files_that_are_missing_are_named(bert, tmp_path, missing):
    (bert / missing).unlink()
    with pytest.raises(FileNotFoundError, match=r"no folder with (tokenizer\.json|\*\.safetensors)\. Fetch a model"):
        trim_vocabulary(bert, tmp_path, tmp_path / "out", 100)
    with pytest.raises(FileNotFoundError, match="'me/model' is no folder with tokenizer.json"):
        trim_vocabulary("me/model", tmp_path, tmp_path / "out", 100)


def test_other_tokenizers_are_refused(tokenizer, pairs, tmp_path, bert, capsys):
    tokenizer.save_pretrained(bert)
    argv = ["train", "trim", str(bert), "--data", str(pairs), "--size", "148", "--output", str(tmp_path / "out")]
    assert coderep.main(argv) == 2
    assert "only WordPiece vocabularies can be cut, got BPE" in capsys.readouterr().err
    assert (
        json.loads((bert / "tokenizer.json").read_text())["model"]["type"] == "BPE" and not (tmp_path / "out").exists()
    )
