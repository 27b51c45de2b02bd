"""Export and cards: what leaves this machine works elsewhere."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest
import torch
import yaml
from hub_runs import RUN, TEXTS
from huggingface_hub import ModelCard
from transformers import AutoModel, AutoModelForMaskedLM, AutoModelForSequenceClassification, AutoTokenizer

from data_collators.files import write_json
from hub_cards import export_checkpoint, render_card
from hub_cards.verify import encode_elsewhere, run_elsewhere
from modeling_coderep import CodeRepForMaskedLM, CodeRepModel
from trainers.checkpoints import save_model

RESULT = {
    "model": "coderep-tiny",
    "task": "text-to-code retrieval",
    "dataset": "toy",
    "revision": "abc",
    "protocol": "raw",
    "metric": "mrr",
    "value": 0.4321,
    "n": 1234,
    "seconds": 1.0,
    "shipped": True,
}
NAMED = {**RUN, "name": "coderep-tiny", "recipe": {"learning_rate": 0.001, "model_config": {"hidden_size": 32}}}


@pytest.fixture
def run(tmp_path):
    folder = tmp_path / "run"
    folder.mkdir()
    write_json(folder / "run.json", NAMED)
    write_json(folder / "results.json", {"results": [RESULT, {**RESULT, "metric": "recall@10", "value": 0.5}]})
    return folder


@pytest.fixture
def checkpoint(tiny_config, tokenizer, tmp_path, run):
    save_model(CodeRepModel(tiny_config), tokenizer, tmp_path / "model")
    return export_checkpoint(tmp_path / "model", tmp_path / "my checkpoint", card=render_card(run))


def test_checkpoint_loads_elsewhere_bit_for_bit(checkpoint, tmp_path):
    """As a folder of files, and as the Hub's cache lays a snapshot out: as links into a folder of blobs."""
    blobs, snapshot = tmp_path / "blobs", tmp_path / "snapshot"
    blobs.mkdir()
    for number, path in enumerate(sorted(path for path in checkpoint.rglob("*") if path.is_file())):
        link = snapshot / path.relative_to(checkpoint)
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(shutil.copy(path, blobs / f"{number:040x}"))
    found = run_elsewhere([(checkpoint, "AutoModel"), (snapshot, "AutoModel")], TEXTS)
    for path, vectors in zip((checkpoint, snapshot), found, strict=True):
        np.testing.assert_array_equal(vectors, AutoModel.from_pretrained(path).encode(TEXTS))


def test_loading_elsewhere_can_fail(checkpoint):
    (checkpoint / "pooling_coderep.py").write_text("import trainers\nPOOLERS = {}\n")
    with pytest.raises(RuntimeError, match="does not load without coderep: .*trainers"):
        encode_elsewhere(checkpoint, TEXTS)


@pytest.mark.slow
def test_every_head_loads_by_its_auto_class_elsewhere(tiny_config, tokenizer, tmp_path):
    save_model(CodeRepForMaskedLM(tiny_config), tokenizer, tmp_path / "model")
    checkpoint = export_checkpoint(tmp_path / "model", tmp_path / "out")
    code = (
        "import sys; from transformers import *\n"
        "class Absent:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name in ('modeling_coderep', 'coderep'): raise ModuleNotFoundError(name)\n"
        "sys.meta_path.insert(0, Absent())\n"
        "for auto in (AutoModel, AutoModelForMaskedLM, AutoModelForSequenceClassification):\n"
        "    print(type(auto.from_pretrained(sys.argv[1], trust_remote_code=True)).__name__)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(checkpoint)],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "HF_MODULES_CACHE": str(tmp_path / "modules")},
    )
    names = ["CodeRepModel", "CodeRepForMaskedLM", "CodeRepForSequenceClassification"]
    assert done.stdout.split() == names, done.stderr
    for auto, name in zip((AutoModel, AutoModelForMaskedLM, AutoModelForSequenceClassification), names, strict=True):
        assert type(auto.from_pretrained(checkpoint)).__name__ == name


def test_exported_weights_and_tokenizer_are_those_saved(checkpoint, tmp_path):
    before, after = (AutoModel.from_pretrained(path) for path in (tmp_path / "model", checkpoint))
    for (name, mine), theirs in zip(before.named_parameters(), after.parameters(), strict=True):
        assert torch.equal(mine, theirs), name
    tokenizers = [AutoTokenizer.from_pretrained(path) for path in (tmp_path / "model", checkpoint)]
    assert tokenizers[0](TEXTS, truncation=True)["input_ids"] == tokenizers[1](TEXTS, truncation=True)["input_ids"]


def test_sentence_transformers_gives_the_same_vectors(checkpoint):
    from sentence_transformers import SentenceTransformer

    vectors = SentenceTransformer(str(checkpoint), trust_remote_code=True, device="cpu").encode(TEXTS)
    expected = AutoModel.from_pretrained(checkpoint).encode(TEXTS)
    np.testing.assert_allclose(vectors, expected, rtol=1e-5, atol=1e-5)


def test_export_refuses_what_it_cannot_export(tmp_path, tiny_config, tokenizer):
    with pytest.raises(FileNotFoundError, match="is not a checkpoint: it has no config.json"):
        export_checkpoint(tmp_path, tmp_path / "out")
    save_model(CodeRepModel(tiny_config), tokenizer, tmp_path / "model")
    (tmp_path / "model" / "model.safetensors").rename(tmp_path / "gone")
    with pytest.raises(FileNotFoundError, match="has no safetensors weights"):
        export_checkpoint(tmp_path / "model", tmp_path / "out")
    (tmp_path / "model" / "config.json").write_text('{"model_type": "nobodys"}')
    with pytest.raises(ValueError, match="holds a 'nobodys' model, whose code is not part of transformers"):
        export_checkpoint(tmp_path / "model", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_card_is_filled_and_its_metadata_is_valid(run):
    text = render_card(run)
    card = ModelCard(text)
    metadata = card.data.to_dict()
    assert metadata["license"] == "apache-2.0" and "python" in metadata["tags"]
    assert [result.metric_value for result in card.data.eval_results] == [0.4321, 0.5]
    yaml.safe_load(text.split("---")[1])
    assert "{{" not in text and "{%" not in text
    for shown in (
        "| **coderep-tiny** | 43.2 | 50.0 |",
        "1,234 queries",
        "| left out: no docstring | 12,345 | 92.5 |",
        "| tokens read | 1,234,567 |",
    ):
        assert shown in text


def test_card_without_results_says_so(run):
    (run / "results.json").unlink()
    assert "Not evaluated yet." in render_card(run)


def test_card_of_a_broken_record_names_it(run):
    (run / "run.json").write_text("{")
    with pytest.raises(ValueError, match=r"run.json' is not a JSON record .* Run the step that wrote it again"):
        render_card(run)


def test_config_names_every_auto_class(checkpoint):
    config = json.loads((checkpoint / "config.json").read_text())
    assert set(config["auto_map"]) == {
        "AutoConfig",
        "AutoModel",
        "AutoModelForMaskedLM",
        "AutoModelForSequenceClassification",
        "AutoModelForTokenClassification",
    }
    assert "_name_or_path" not in config
