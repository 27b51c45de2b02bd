"""The encoder on NumPy: the embeddings of the whole one, when it is used, and what a search with it imports."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

import trainers.encode
from trainers import light_encoder
from trainers.encode import load_encoder
from trainers.light_encoder import folder_fingerprint, open_light
from trainers.search import CodeIndex
from trainers.search_encoders import _SAMPLES, Encoders
from trainers.search_index import Index

TEXTS = [*_SAMPLES, "", " ", "a", "def f():\n\treturn '[CLS]'"]


@pytest.fixture
def checkpoint(tmp_path):
    """A small BERT with random weights that is a sentence-transformers folder."""
    return make(tmp_path / "bert")


def make(folder, pooling="mean", **changes):
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers

    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    learner = trainers.WordPieceTrainer(vocab_size=300, special_tokens=special, show_progress=False)
    tokenizer.train_from_iterator(TEXTS * 3, learner)
    tokenizer.post_processor = processors.TemplateProcessing(
        "[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    names = {
        "pad_token": "[PAD]",
        "unk_token": "[UNK]",
        "cls_token": "[CLS]",
        "sep_token": "[SEP]",
        "mask_token": "[MASK]",
    }
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, model_max_length=64, **names).save_pretrained(folder)
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 48}
    config = BertConfig(vocab_size=300, max_position_embeddings=64, initializer_range=0.3, **{**sizes, **changes})
    model = BertModel(config)
    for weight in model.parameters():  # biases and norms begin as zeros and ones
        weight.data += 0.1 * torch.randn_like(weight) if weight.dim() == 1 else 0
    model.save_pretrained(folder)
    modules = [
        {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"},
        {"idx": 1, "name": "1", "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
    ]
    (folder / "modules.json").write_text(json.dumps(modules))
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling" / "config.json").write_text(json.dumps({f"pooling_mode_{pooling}": True}))
    (folder / "sentence_bert_config.json").write_text(json.dumps({"max_seq_length": 48, "do_lower_case": False}))
    return folder


@pytest.mark.parametrize("pooling", ["mean_tokens", "cls_token", "lasttoken"])
def test_it_gives_the_embeddings_of_the_whole_encoder(tmp_path, pooling):
    folder = make(tmp_path / "bert", pooling)
    light, whole = open_light(folder), load_encoder(folder, device="cpu")
    for length in (None, 7):
        np.testing.assert_allclose(
            light.encode(TEXTS, max_length=length), whole.encode(TEXTS, max_length=length), rtol=0, atol=1e-5
        )
    assert np.abs(light.encode(TEXTS) - light.encode(TEXTS, max_length=7)).max() > 1e-2, "texts are cut"


def test_weights_in_bfloat16_and_in_shards_are_read(checkpoint):
    model = BertModel.from_pretrained(checkpoint).to(torch.bfloat16)
    expected = load_encoder(checkpoint, device="cpu")
    expected.model.load_state_dict(model.float().state_dict())
    expected = expected.encode(TEXTS)
    (checkpoint / "model.safetensors").unlink()
    model.to(torch.bfloat16).save_pretrained(checkpoint, max_shard_size="20KB")
    assert len(list(checkpoint.glob("*.safetensors"))) > 1
    np.testing.assert_allclose(open_light(checkpoint).encode(TEXTS), expected, rtol=0, atol=1e-5)


def test_gelu_is_the_exact_one():
    x = np.linspace(-6, 6, 101, dtype=np.float32)
    exact = [value * (1 + math.erf(value / math.sqrt(2))) / 2 for value in x.tolist()]
    np.testing.assert_allclose(light_encoder._gelu(x), exact, rtol=0, atol=1e-6)


@pytest.mark.parametrize("change", [{"model_type": "roberta"}, {"hidden_act": "relu"}, {"num_hidden_layers": "x"}])
def test_what_it_does_not_know_is_left_to_the_whole_encoder(checkpoint, change):
    assert open_light(checkpoint) is not None
    config = json.loads((checkpoint / "config.json").read_text())
    (checkpoint / "config.json").write_text(json.dumps({**config, **change}))
    light = open_light(checkpoint)
    assert light is None or ("num_hidden_layers" in change and not Encoders(checkpoint)._agree())
    assert open_light("nowhere") is None
    (checkpoint / "tokenizer.json").write_text("{}")
    assert open_light(checkpoint) is None


def test_it_is_trusted_only_where_it_agrees(checkpoint):
    encoders = Encoders(checkpoint)
    assert encoders.choose(Index()) == (encoders.whole, True)
    assert encoders.choose(Index(light=True)) == (encoders.light, True)
    assert encoders.choose(Index(light=True), new=100)[0] is encoders.whole
    other = Encoders(checkpoint)
    other.light._heads = 2
    assert other.choose(Index()) == (other.whole, False)


def test_the_fingerprint_is_that_of_what_embeddings_depend_on(checkpoint, tmp_path):
    before = folder_fingerprint(checkpoint)
    (checkpoint / "README.md").write_text("a card")
    (checkpoint / "results.json").write_text("{}")
    assert folder_fingerprint(checkpoint) == before
    weights = load_file(checkpoint / "model.safetensors")
    next(iter(weights.values())).view(-1)[0] += 1
    save_file(weights, checkpoint / "model.safetensors", metadata={"format": "pt"})
    changed = folder_fingerprint(checkpoint)
    assert changed != before
    (checkpoint / "1_Pooling" / "config.json").write_text('{"pooling_mode_cls_token": true}')
    assert folder_fingerprint(checkpoint) not in (before, changed)
    (checkpoint / "model.safetensors").unlink()
    found = set()
    for content in (b"", b"weights", b"others"):  # transformers reads such weights too
        (checkpoint / "pytorch_model.bin").write_bytes(content)
        found.add(folder_fingerprint(checkpoint))
    assert len(found) == 3


def test_a_second_search_does_without_the_whole_encoder(checkpoint, corpus, monkeypatch, tmp_path):
    first = CodeIndex.build(checkpoint, corpus / "csv.py").search("read rows", top_k=100)
    monkeypatch.setattr(trainers.encode, "load_encoder", lambda *args: pytest.fail("loaded"))
    again = CodeIndex.build(checkpoint, corpus / "csv.py")
    assert isinstance(again.encoder, light_encoder.LightEncoder)
    hits = {(hit.line, hit.name): hit.score for hit in again.search("read rows", top_k=100)}
    assert hits == pytest.approx({(hit.line, hit.name): hit.score for hit in first}, abs=1e-5)


def test_a_second_search_imports_neither_torch_nor_the_parser(checkpoint, corpus, tmp_path):
    """Imports would be most of its time."""
    path = tmp_path / "csv.py"
    path.write_bytes((corpus / "csv.py").read_bytes())
    os.utime(path, (1e9, 1e9))  # what was written just now is parsed again
    CodeIndex.build(checkpoint, path)
    code = (
        "import sys;"
        f"from trainers.search_cli import main; main([{str(checkpoint)!r}, {str(path)!r}, 'read rows']);"
        "print(sorted(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    *hits, loaded = done.stdout.splitlines()
    heavy = ("torch", "transformers", "tree_sitter", "datasets", "pandas", "scipy")
    assert len(hits) == 10 and [name for name in heavy if f"'{name}'" in loaded] == []
