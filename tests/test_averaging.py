"""Averages of checkpoints: of the weights on paper, of folders with what they keep, and what is refused."""

from __future__ import annotations

import json

import pytest
import torch
from safetensors.torch import load_file
from transformers import BertConfig, BertModel

import coderep
from trainers.averaging import average_models, average_weights, check_shares
from trainers.encode import load_encoder

SIZES = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}


@pytest.fixture
def models(tmp_path, tokenizer):
    """Two encoders of one architecture as sentence-transformers folders that pool by the first token."""
    for seed, name in enumerate(("general", "tuned")):
        torch.manual_seed(seed)
        model = BertModel(BertConfig(vocab_size=1024, max_position_embeddings=64, **SIZES))
        model.save_pretrained(tmp_path / name)
        tokenizer.save_pretrained(tmp_path / name)
        modules = [("Transformer", ""), ("Pooling", "1_Pooling")]
        listed = [
            {"idx": place, "name": str(place), "path": path, "type": f"sentence_transformers.models.{kind}"}
            for place, (kind, path) in enumerate(modules)
        ]
        (tmp_path / name / "modules.json").write_text(json.dumps(listed))
        (tmp_path / name / "1_Pooling").mkdir()
        (tmp_path / name / "1_Pooling" / "config.json").write_text(
            json.dumps({"word_embedding_dimension": 16, "pooling_mode_cls_token": True})
        )
    return [tmp_path / "general", tmp_path / "tuned"]


def test_weights_on_paper():
    first = {"w": torch.tensor([1.0, 2.0]), "positions": torch.tensor([0, 1])}
    second = {"w": torch.tensor([5.0, -2.0]), "positions": torch.tensor([7, 7])}
    mixed = average_weights([first, second], [0.25, 0.75])
    assert mixed["w"].tolist() == [4.0, -1.0]
    assert mixed["positions"].tolist() == [0, 1]


def test_bfloat16_is_summed_exactly_and_rounded_once():
    parts = [{"w": torch.full((1,), value, dtype=torch.bfloat16)} for value in (256.0, 1.0, 1.0)]
    mixed = average_weights(parts, [0.5, 0.25, 0.25])["w"]
    assert mixed.dtype == torch.bfloat16
    assert mixed.item() == torch.tensor(128.5).bfloat16().item()


@pytest.mark.parametrize("other", [{"v": torch.ones(2)}, {"w": torch.ones(3)}])
def test_other_architectures_are_refused(other):
    with pytest.raises(ValueError, match="models of one architecture"):
        average_weights([{"w": torch.ones(2)}, other], [0.5, 0.5])


def test_a_folder_of_the_average(models, tmp_path):
    made = average_models(models, tmp_path / "mean", [0.25, 0.75])
    states = [load_file(folder / "model.safetensors") for folder in models]
    mixed = load_file(made / "model.safetensors")
    for name, weight in mixed.items():
        torch.testing.assert_close(weight, 0.25 * states[0][name] + 0.75 * states[1][name])
    encoder = load_encoder(made)
    assert encoder.model.config.pooling == "cls"
    assert encoder.encode(["add two numbers"]).shape == (1, 16)
    assert json.loads((made / "1_Pooling" / "config.json").read_text())["pooling_mode_cls_token"]
    record = json.loads((tmp_path / "mean" / "run.json").read_text())
    assert record["recipe"]["shares"] == [0.25, 0.75]


def test_all_of_one_model_is_that_model(models, tmp_path):
    made = average_models(models, tmp_path / "one", [0.0, 1.0])
    texts = ["def add(a, b):\n    return a + b", "close the file"]
    assert (load_encoder(made).encode(texts) == load_encoder(models[1]).encode(texts)).all()


def test_other_vocabularies_are_refused(models, tmp_path):
    path = models[1] / "tokenizer.json"
    record = json.loads(path.read_text())
    vocab = record["model"]["vocab"]
    first, second = sorted(vocab, key=vocab.get)[-2:]
    vocab[first], vocab[second] = vocab[second], vocab[first]
    path.write_text(json.dumps(record))
    with pytest.raises(ValueError, match="model 2 has another vocabulary than the first"):
        average_models(models, tmp_path / "mean")
    assert not (tmp_path / "mean").exists()


def test_equal_shares_by_default():
    assert check_shares(None, 4) == [0.25] * 4


@pytest.mark.parametrize(
    ("shares", "count", "message"),
    [
        (None, 1, "at least two models, got 1"),
        ([1.0], 2, "2 models need 2 shares, got 1"),
        ([0.5, 0.6], 2, r"sum to 1, got \[0.5, 0.6\], sum 1.1"),
        ([-0.5, 1.5], 2, "must not be negative"),
    ],
)
def test_shares_that_cannot_be(shares, count, message):
    with pytest.raises(ValueError, match=message):
        check_shares(shares, count)


def test_command(models, tmp_path, capsys):
    output = tmp_path / "by command"
    argv = ["train", "average", *map(str, models), "--shares", "0.5", "0.5", "--output", str(output)]
    assert coderep.main(argv) == 0
    assert capsys.readouterr().out.strip() == str(output / "model")
    assert coderep.main([*argv[:-3], "0.6", "--output", str(output)]) == 2
    assert "sum to 1" in capsys.readouterr().err
    assert coderep.main([*argv[:-4], "0.4", "0.6", "--output", str(output)]) == 2
    assert "another" in capsys.readouterr().err
