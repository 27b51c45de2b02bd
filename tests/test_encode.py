"""Encoders: where they run, how many dimensions they keep, and the command."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from transformers import RobertaConfig, RobertaModel

import coderep
from modeling_coderep import CodeRepModel
from trainers.encode import Encoder, load_encoder, read_texts
from trainers.evaluation.loaders import load_embedder
from trainers.text_encoder import TextEncoder

TEXTS = ["read rows of a file", "", "def f(x):\n    return x + 1", "x = 1 " * 50]


@pytest.fixture
def checkpoint(tmp_path, tiny_config, tokenizer):
    CodeRepModel(tiny_config).save_pretrained(tmp_path / "model")
    tokenizer.save_pretrained(tmp_path / "model")
    return tmp_path / "model"


def test_dimensions_are_the_first_ones_scaled_to_length_1(checkpoint):
    whole_ND = load_encoder(checkpoint).encode(TEXTS)
    first_ND = whole_ND[:, :8] / np.linalg.norm(whole_ND[:, :8], axis=1, keepdims=True)
    short = load_encoder(checkpoint, dimensions=8)
    for found_ND in (short.encode(TEXTS), load_encoder(checkpoint).encode(TEXTS, dimensions=8)):
        np.testing.assert_allclose(found_ND, first_ND, atol=1e-6)
    assert short.encode(TEXTS, dimensions=32).shape == (4, 32) and short.encode([]).shape == (0, 8)
    # Kept embeddings of one must not be taken for the other's.
    assert short.fingerprint != load_encoder(checkpoint).fingerprint
    for dimensions in (0, 33):
        with pytest.raises(ValueError, match=rf"dimensions must lie in \[1, 32\], got {dimensions}"):
            load_encoder(checkpoint, dimensions=dimensions)
        with pytest.raises(ValueError, match=rf"dimensions must lie in \[1, 32\], got {dimensions}"):
            short.encode(TEXTS, dimensions=dimensions)


def test_the_longest_text_is_what_a_model_has_positions_for(checkpoint):
    """RoBERTa counts positions from behind that of padding: of 18 rows 16 are for tokens."""
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    config = RobertaConfig(vocab_size=1024, max_position_embeddings=18, **sizes)
    RobertaModel(config).save_pretrained(checkpoint)
    path = checkpoint / "tokenizer_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "model_max_length": 10**9}))
    encoder = load_encoder(checkpoint)
    assert encoder.max_length == 16 and encoder.encode(TEXTS).shape == (4, 16)


class Elsewhere:
    """What stands for an accelerator; torch's own `meta` device holds no numbers, but shows where a model was put."""

    @staticmethod
    def is_available():
        return True

    @staticmethod
    def current_accelerator():
        return torch.device("meta")


@pytest.mark.parametrize("load", [load_encoder, lambda *a, **k: load_embedder(*a, **k).encoder])
def test_an_accelerator_is_used_if_there_is_one(checkpoint, monkeypatch, load):
    assert load(checkpoint).model.device.type == ("cuda" if torch.accelerator.is_available() else "cpu")
    monkeypatch.setattr(torch, "accelerator", Elsewhere)
    assert load(checkpoint).model.device.type == "meta"
    assert load(checkpoint, device="cpu").model.device.type == "cpu"
    with pytest.raises(ValueError, match="device 'nonsense' cannot be used .* Name another, such as cpu"):
        load(checkpoint, device="nonsense")


def test_a_model_of_sentence_transformers_goes_there_too(checkpoint, monkeypatch, tmp_path):
    pytest.importorskip("sentence_transformers")
    options = {"loader": "sentence-transformers", "cache": tmp_path}
    here = load_embedder(checkpoint, device="cpu", **options)
    assert here.model.device.type == "cpu" and here.embed(TEXTS).shape == (4, 32)
    monkeypatch.setattr(torch, "accelerator", Elsewhere)
    assert load_embedder(checkpoint, **options).model.device.type == "meta"


def test_the_command(checkpoint, tmp_path, capsys):
    (tmp_path / "texts.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in TEXTS))
    argv = ["encode", str(checkpoint), str(tmp_path / "texts.jsonl"), "--output", str(tmp_path / "out.npy")]
    assert coderep.main([*argv, "--dimensions", "8", "--device", "cpu"]) == 0
    found_ND = np.load(tmp_path / "out.npy")
    np.testing.assert_allclose(found_ND, load_encoder(checkpoint).encode(TEXTS, dimensions=8), atol=1e-6)
    assert "4 embeddings of 8 dimensions" in capsys.readouterr().out
    assert coderep.main([*argv, "--device", "nonsense"]) == 2
    line = capsys.readouterr().err.splitlines()[-1]
    assert line.startswith("coderep: device 'nonsense' cannot be used (")


def test_lines_end_where_json_lines_do(tmp_path):
    path = tmp_path / "texts.jsonl"
    path.write_text('{"text": "a\u2028b\x85"}\n{"code": "c"}', encoding="utf-8")
    assert read_texts(path) == ["a\u2028b\x85", "c"]
    path.write_text("")
    assert read_texts(path) == []
    path.write_text('{"text": "a"}\n\n')
    with pytest.raises(ValueError, match="line 2 is not JSON"):
        read_texts(path)


def test_every_encoder_cuts_and_batches_alike(checkpoint):
    """The shared method: an encoder that gives a text's ids says what it was given."""

    class Ids(TextEncoder):
        def __init__(self, encoder):
            self.tokenizer, self.max_length, self.seen = encoder.tokenizer, 8, []

        width = 2

        def embedder(self):
            def embed(ids):
                self.seen.append([len(row) for row in ids])
                return torch.tensor([[float(len(row)), 1.0] for row in ids])

            return embed

    encoder = Ids(load_encoder(checkpoint))
    found_ND = encoder.encode(TEXTS, max_length=100, batch_tokens=16)
    assert max(map(max, encoder.seen)) == 8 and all(len(batch) * max(batch) <= 16 for batch in encoder.seen)
    np.testing.assert_allclose(np.linalg.norm(found_ND, axis=1), 1, atol=1e-6)
    assert encoder.encode(TEXTS, dimensions=1).tolist() == [[1.0]] * 4
    with pytest.raises(ValueError, match="max_length must be at least 1, got 0"):
        encoder.encode(TEXTS, max_length=0)


def test_an_encoder_can_be_made_by_hand(checkpoint):
    encoder = load_encoder(checkpoint)
    again = Encoder(encoder.model, encoder.tokenizer, encoder.max_length)
    np.testing.assert_array_equal(again.encode(TEXTS), encoder.encode(TEXTS))
