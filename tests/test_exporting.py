"""Exports of any encoder: the same folder as for ours, the same embeddings by every way that its card shows."""

from __future__ import annotations

import json
import re
import subprocess
import sys

import numpy as np
import pytest
import torch
import transformers
from hub_runs import RUN, TEXTS
from huggingface_hub import ModelCard
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from transformers import AutoModel

import coderep
from data_collators.files import write_json
from hub_cards import export_checkpoint
from hub_cards.export_weights import parse_bytes
from hub_cards.layout import ModelOptions, export_run
from hub_cards.metadata import check_card
from hub_cards.model_facts import read_facts
from hub_cards.render import CardOptions, render_card
from hub_cards.usage import model_usage
from hub_cards.verify import OUR_PACKAGES, SAMPLE, check_export, run_elsewhere
from trainers.encode import load_encoder
from trainers.onnx_encoder import OnnxEncoder

SIZES = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
COMMON = {"vocab_size": 1024, "pad_token_id": 0, "max_position_embeddings": 64, "initializer_range": 0.2}
ENCODERS = {
    "bert": lambda: transformers.BertConfig(**SIZES, **COMMON),
    "roberta": lambda: transformers.RobertaConfig(**SIZES, **COMMON | {"pad_token_id": 1}),
    "distilbert": lambda: transformers.DistilBertConfig(dim=16, n_layers=2, n_heads=2, hidden_dim=32, **COMMON),
    "modernbert": lambda: transformers.ModernBertConfig(**SIZES, **COMMON, bos_token_id=2, eos_token_id=3),
}
COMPARED = ["add two numbers", "def plus(a, b):\n    return a + b"]  # in the blocks of every card
# A tokenizer whose bare special tokens are warned of.
pytestmark = pytest.mark.filterwarnings("ignore:.*word_embedding_dimension.*:FutureWarning")


@pytest.fixture
def saved(tmp_path, tokenizer):
    """A function that saves a new encoder of a kind with the tokenizer; returns its folder."""

    def make(kind, pooling=None, auto_class=AutoModel, **more):
        config = ENCODERS[kind]()
        for name, value in more.items():
            setattr(config, name, value)
        if pooling:
            config.pooling = pooling
        torch.manual_seed(0)
        folder = tmp_path / "run" / "model"
        auto_class.from_config(config).save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        write_json(folder.parent / "run.json", RUN)
        return folder

    return make


@pytest.fixture
def sentences(tmp_path, saved):
    """A function that makes a sentence-transformers folder as the library saves it, as the model of a run."""
    st = pytest.importorskip("sentence_transformers")
    from sentence_transformers.sentence_transformer.modules import Normalize, Pooling, Transformer

    def make(kind="bert", pooling="mean", normalize=True, **options):
        folder = saved(kind)
        modules = [Transformer(str(folder), max_seq_length=24), Pooling(16, pooling), *[Normalize()] * normalize]
        whole = st.SentenceTransformer(modules=modules, device="cpu", **options)
        whole.save(str(tmp_path / "st"), create_model_card=False)
        run = tmp_path / "st run"
        run.mkdir()
        write_json(run / "run.json", RUN)
        (tmp_path / "st").rename(run / "model")
        return run

    return make


def blocks_of(card):
    return dict(re.findall(r"^With ([^\n]*):\n\n```python\n(.*?)^```", card, flags=re.MULTILINE | re.DOTALL))


def cosine(block):
    """What a block of a card finds between its two texts."""
    space = {}
    exec(compile(block, "card", "exec"), space)
    pair = space["embeddings"] if "embeddings" in space else (space["text"], space["code"])
    text, code = (np.array([float(number) for number in vector]) for vector in pair)
    return float(np.dot(text, code) / np.linalg.norm(text) / np.linalg.norm(code))


@pytest.mark.parametrize("kind", ENCODERS)
@pytest.mark.parametrize("pooling", ["mean", "cls", "last"])
def test_every_block_of_the_card_gives_the_same(kind, pooling, saved, tmp_path, capsys):
    """Pooled by hand, and by sentence-transformers; texts longer than the model are cut."""
    pytest.importorskip("sentence_transformers")
    source = saved(kind, pooling)
    export = export_checkpoint(source, tmp_path / "export")
    facts = read_facts(export)
    encoder = load_encoder(source)
    limit = 62 if kind == "roberta" else 64
    assert (facts.kind, facts.pooling, facts.max_length, facts.own_code) == (kind, pooling, limit, False)
    usage = model_usage(str(export), facts)
    assert list(usage) == ["transformers", "sentence-transformers"]
    assert "trust_remote_code" not in "".join(usage.values())
    left, right = encoder.encode(COMPARED)
    for block in usage.values():
        assert cosine(block) == pytest.approx(float(left @ right), abs=1e-5)
    long = usage["transformers"].replace("add two numbers", "add " * 500)
    first, second = encoder.encode(["add " * 500, COMPARED[1]], max_length=limit)
    assert cosine(long) == pytest.approx(float(first @ second), abs=1e-5)


def test_a_block_with_another_pooling_gives_something_else(saved, tmp_path, capsys):
    """Or the test above would say nothing."""
    export = export_checkpoint(saved("bert", "cls"), tmp_path / "export")
    facts = read_facts(export)
    block = model_usage(str(export), facts)["transformers"].replace("states[:, 0]", "states[:, 1]")
    left, right = load_encoder(export).encode(COMPARED)
    assert abs(cosine(block) - float(left @ right)) > 1e-3


CHILD = """
import importlib.abc, json, sys
names, blocks = json.load(sys.stdin)

class Absent(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in names:
            raise ModuleNotFoundError(name)

sys.meta_path.insert(0, Absent())
import numpy as np
found = {}
for title, block in blocks.items():
    space = {}
    exec(compile(block, title, "exec"), space)
    text, code = space["embeddings"] if "embeddings" in space else (space["text"], space["code"])
    found[title] = float(np.dot(text, code) / np.linalg.norm(text) / np.linalg.norm(code))
print(json.dumps(found))
"""


def test_a_sentence_transformers_model_is_exported_small_and_whole(sentences, tmp_path, monkeypatch, capsys):
    """As `checkpoints/` holds one: bfloat16 in small files, modules, ONNX; checked and used where coderep is not."""
    pytest.importorskip("onnxscript")
    run = sentences()
    monkeypatch.chdir(tmp_path)
    options = ["--dtype", "bfloat16", "--max-shard-size", "40KB", "--onnx"]
    assert coderep.main(["export", "st run", "checkpoints/small", *options]) == 0  # with the check in a clean process
    export = tmp_path / "checkpoints" / "small"
    listed = capsys.readouterr().out
    shards = sorted(export.glob("model-*-of-*.safetensors"))
    assert len(shards) > 1 and all(shard.stat().st_size <= 40_000 for shard in shards)
    assert all(f"{path.stat().st_size:>14,}  " in listed for path in shards)
    types = [module["type"].rpartition(".")[2] for module in json.loads((export / "modules.json").read_text())]
    assert types == ["Transformer", "Pooling", "Normalize"]

    before, after = load_encoder(run / "model").model, AutoModel.from_pretrained(export)
    for (name, mine), theirs in zip(before.named_parameters(), after.parameters(), strict=True):
        assert theirs.dtype == torch.float32 and torch.equal(mine.bfloat16().float(), theirs), name
    card = (export / "README.md").read_text()
    check_card(card)
    assert "transformers' own `BertModel`" in card and "stored in bfloat16 and load as float32" in card
    assert "bert" in ModelCard(card).data.tags and "EOS" not in card and "cut at 24 tokens" in card
    blocks = blocks_of(card)
    assert list(blocks) == ["transformers", "sentence-transformers", "ONNX, without torch"]
    assert all(block.count('"checkpoints/small"') >= 1 for block in blocks.values())
    assert "snapshot_download" not in card
    given = json.dumps([OUR_PACKAGES, blocks])
    done = subprocess.run([sys.executable, "-c", CHILD], input=given, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    exact, again, int8 = json.loads(done.stdout.splitlines()[-1]).values()
    left, right = load_encoder(export).encode(COMPARED)
    assert exact == pytest.approx(float(left @ right), abs=1e-5) == again
    assert int8 == pytest.approx(exact, abs=0.05)
    np.testing.assert_allclose(OnnxEncoder(export).encode(TEXTS), load_encoder(export).encode(TEXTS), atol=1e-4)


def test_prompts_are_part_of_the_code_that_uses_a_model(sentences, tmp_path, capsys):
    from sentence_transformers import SentenceTransformer

    run = sentences(normalize=False, prompts={"query": "query: ", "document": "passage: "})
    export = export_run(run, tmp_path / "export", check=False)
    blocks = blocks_of((export / "README.md").read_text())
    whole = SentenceTransformer(str(export), device="cpu")
    text, code = whole.encode_query(COMPARED[0]), whole.encode_document(COMPARED[1])
    expected = float(text @ code / np.linalg.norm(text) / np.linalg.norm(code))
    for block in blocks.values():
        assert cosine(block.replace('"export"', json.dumps(str(export)))) == pytest.approx(expected, abs=1e-5)
    bare = whole.encode(COMPARED, prompt="", normalize_embeddings=True)
    assert abs(float(bare[0] @ bare[1]) - expected) > 1e-4, "the prompts change nothing: nothing is tested"
    assert '"passage: "' in (export / "README.md").read_text()


def test_a_pooling_that_only_sentence_transformers_knows_is_kept(sentences, tmp_path, capsys):
    """A folder of theirs says how it pools beside the config; transformers and ONNX read the config alone."""
    run = sentences(pooling="cls", normalize=False)
    config = run / "model" / "config.json"
    assert "pooling" not in json.loads(config.read_text())
    export = export_run(run, tmp_path / "export", check=False)
    left, right = load_encoder(run / "model").encode(COMPARED)
    blocks = blocks_of((export / "README.md").read_text())
    assert list(blocks) == ["transformers", "sentence-transformers"]
    for block in blocks.values():
        found = cosine(block.replace('"export"', json.dumps(str(export))))
        assert found == pytest.approx(float(left @ right), abs=1e-5)


# what is stored


def test_weights_in_another_precision(saved, tmp_path):
    source = saved("bert")
    before = load_file(source / "model.safetensors")
    for dtype in ("float32", "bfloat16", "float16"):
        export = export_checkpoint(source, tmp_path / dtype, dtype=dtype)
        after = load_file(export / "model.safetensors")
        assert {tensor.dtype for tensor in after.values() if tensor.is_floating_point()} == {getattr(torch, dtype)}
        assert all(torch.equal(after[name], before[name].to(after[name].dtype)) for name in before)
        assert json.loads((export / "config.json").read_text())["dtype"] == "float32"
        assert read_facts(export).stored == dtype
        with safe_open(export / "model.safetensors", "pt") as file:
            assert file.metadata() == {"format": "pt"}
    before["embeddings.LayerNorm.weight"][0] = 1e6
    save_file(before, source / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ValueError, match="float16 cannot hold 'embeddings.LayerNorm.weight': it has 1e.06"):
        export_checkpoint(source, tmp_path / "too large", dtype="float16")
    assert not (tmp_path / "too large").exists()
    with pytest.raises(ValueError, match="dtype must be one of float32, bfloat16, float16, got 'int8'"):
        export_checkpoint(source, tmp_path / "int8", dtype="int8")


def test_files_are_as_small_as_asked_or_it_is_said_why_not(saved, tmp_path):
    """The embeddings of 1,024 tokens of 16 numbers of 4 bytes are 65,536 bytes, which is the largest tensor."""
    source = saved("bert")
    export = export_checkpoint(source, tmp_path / "small", max_shard_size="80KB")
    assert 65_536 < max(path.stat().st_size for path in export.glob("*.safetensors")) <= 80_000
    whole, cut = AutoModel.from_pretrained(source).state_dict(), AutoModel.from_pretrained(export).state_dict()
    assert all(torch.equal(whole[name], cut[name]) for name in whole)
    with pytest.raises(
        ValueError, match="as max_shard_size=50KB: 'embeddings.word_embeddings.weight' alone has 65,536"
    ):
        export_checkpoint(source, tmp_path / "smaller", max_shard_size="50KB")
    export_checkpoint(source, tmp_path / "halved", max_shard_size="50KB", dtype="bfloat16")
    assert [parse_bytes(size) for size in ("15MB", "1.5 gb", "7", 7)] == [15_000_000, 1_500_000_000, 7, 7]
    for size in ("", "0MB", "many", "-1GB"):
        with pytest.raises(ValueError, match="max_shard_size is a size such as 2GB"):
            parse_bytes(size)


# the check


def test_the_check_sees_weights_that_changed(saved, tmp_path, monkeypatch):
    source = saved("bert")
    export = export_checkpoint(source, tmp_path / "export", dtype="bfloat16")

    def here(loads, texts):
        return [load_encoder(export).encode(texts) for _ in loads]

    monkeypatch.setattr("hub_cards.verify.run_elsewhere", here)
    assert check_export(export, source) < 1e-6  # what rounding does is no difference
    weights = load_file(export / "model.safetensors")
    weights["encoder.layer.0.output.dense.weight"] += 0.1
    save_file(weights, export / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(RuntimeError, match="gives other embeddings elsewhere"):
        check_export(export, source)


def test_classifiers_give_the_same_scores_elsewhere(saved, tiny_config, tokenizer, tmp_path, monkeypatch):
    names = {0: "loop", 1: "class", 2: "other"}
    labels = {"id2label": names, "label2id": {name: number for number, name in names.items()}}
    auto_class = transformers.AutoModelForSequenceClassification
    for name, value in {**labels, "classifier_inputs": 2}.items():
        setattr(tiny_config, name, value)
    auto_class.from_config(tiny_config).save_pretrained(tmp_path / "pairs")
    tokenizer.save_pretrained(tmp_path / "pairs")
    sources = {"bert": saved("bert", auto_class=auto_class, **labels), "pairs": tmp_path / "pairs"}
    exports = {
        kind: export_checkpoint(source, tmp_path / f"{kind} out", dtype="bfloat16") for kind, source in sources.items()
    }
    found = run_elsewhere([(export, auto_class.__name__) for export in exports.values()], SAMPLE)
    for (kind, export), logits in zip(exports.items(), found, strict=True):
        facts = read_facts(export)
        assert facts.labels == ("loop", "class", "other") and facts.inputs == (1 if kind == "bert" else 2)
        assert not (export / "modules.json").exists() and logits.shape == (len(SAMPLE), 3)
        monkeypatch.setattr("hub_cards.verify.run_elsewhere", lambda *_, logits=logits: [logits])
        assert check_export(export, sources[kind]) < 1e-4
        (block,) = model_usage(str(export), facts).values()
        assert ("trust_remote_code=True" in block) == (kind == "pairs")
        space = {}
        exec(block, space)
        assert space["scores"].shape == (3,) and float(space["scores"].sum()) == pytest.approx(1)
        with pytest.raises(ValueError, match="the ONNX files give embeddings, and this is a classifier. Leave out"):
            coderep.export_onnx(export)


# what cannot be exported


def test_models_that_would_not_load_elsewhere_are_refused(saved, tmp_path):
    source = saved("bert")
    config = json.loads((source / "config.json").read_text())
    for change, message in (
        ({"auto_map": {"AutoModel": "x.Y"}}, "holds a 'bert' model, whose code is not part of transformers"),
        ({"model_type": "nobodys"}, "holds a 'nobodys' model, whose code is not part of transformers"),
        ({"model_type": "codesage"}, "Convert it first: coderep convert"),
        ({"is_encoder_decoder": True}, "which has a decoder besides. Take an encoder alone"),
    ):
        write_json(source / "config.json", {**config, **change})
        with pytest.raises(ValueError, match=message):
            export_checkpoint(source, tmp_path / "out")
    write_json(source / "config.json", config)
    (source / "tokenizer.json").unlink()
    with pytest.raises(
        FileNotFoundError, match="has no tokenizer.json. Save the tokenizer beside the model, a fast one"
    ):
        export_checkpoint(source, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_the_export_command_says_what_it_needs(saved, tmp_path, capsys):
    source, output = saved("bert"), tmp_path / "out"
    assert coderep.main(["export", str(source), str(output)]) == 2
    assert "is not a run: it has no run.json with a model beside it" in capsys.readouterr().err
    (tmp_path / "card.md").write_text("---\nlicense: mit\n---\n# Mine\n")
    more = ["--card", str(tmp_path / "card.md"), "--no-check"]
    assert coderep.main(["export", str(source), str(output), *more]) == 0
    assert (output / "README.md").read_text().endswith("# Mine\n")
    assert coderep.main(["export", str(source), str(output), *more]) == 2
    assert "exists already. Name another folder or add --overwrite" in capsys.readouterr().err
    assert coderep.main(["export", str(source.parent), str(output), "--no-check", "--overwrite"]) == 0
    assert 'from_pretrained("out")' in (output / "README.md").read_text()  # no path of this machine
    assert str(tmp_path) not in (output / "README.md").read_text()
    assert sorted(path.name for path in tmp_path.iterdir() if path.name.startswith(".")) == []
    for given in (source, tmp_path / "checkpoint-2"):
        given.mkdir(exist_ok=True)
        write_json(given / "config.json", json.loads((source / "config.json").read_text()))
        assert coderep.main(["export", str(source.parent), str(given), "--no-check", "--overwrite"]) == 2
        assert "holds a model that is no export. Name another folder" in capsys.readouterr().err


# where it is from


@pytest.mark.parametrize("given", [None, "mit"])
def test_the_licence_is_that_of_the_model_training_started_from(given, saved, tmp_path):
    source = saved("bert")
    base = tmp_path / "base"
    base.mkdir()
    (base / "README.md").write_text("---\nlicense: bsd-3-clause\n---\n# Base\n")
    write_json(source.parent / "stage.json", {"stage": "stage 2", "model": str(base)})
    card = render_card(source.parent, options=CardOptions(license=given, base_model="owner/base"))
    data = ModelCard(card).data
    assert (data.license, data.base_model) == (given or "bsd-3-clause", "owner/base")
    (base / "README.md").write_text("---\nlicense: [\n---\n# Base\n")
    card = render_card(source.parent)  # it has one, whatever it is
    assert ModelCard(card).data.license == "unknown" and "started from has a licence of its own" in card
    (source.parent / "stage.json").unlink()
    card = render_card(source.parent)
    assert ModelCard(card).data.license == "apache-2.0" and "a licence of its own" not in card


def test_dimensions_that_can_be_used_alone_are_named(saved, tmp_path):
    source = saved("bert")
    write_json(source.parent / "run.json", {**RUN, "recipe": {"matryoshka_dims": [16, 8, 4]}})
    card = render_card(source.parent)
    assert "the first 4, 8 and 16 dimensions" in card and "truncate_dim=4" in card


def test_an_average_of_weights_is_a_stage_without_data(saved, tmp_path):
    source = saved("bert")
    average = tmp_path / "average"
    (average / "model").mkdir(parents=True)
    (average / "model" / "config.json").write_bytes((source / "config.json").read_bytes())
    write_json(average / "run.json", {**RUN, "data": {"kind": "none", "sources": []}, "tokens": 0, "log": []})
    write_json(average / "stage.json", {"stage": "weight averaging", "model": str(source)})
    card = render_card(average)
    check_card(card)
    assert "then weight averaging" in card and "Data of weight averaging" not in card
    assert ModelCard(card).data.pipeline_tag == "feature-extraction" and "Data of stage 2" in card


def test_a_kind_that_onnx_cannot_hold_is_one_line(saved, monkeypatch):
    pytest.importorskip("onnxscript")
    from transformers.exporters import OnnxExporter

    def fails(*_):
        raise RuntimeError("no such operator\nand a long story")

    monkeypatch.setattr(OnnxExporter, "export", fails)
    with pytest.raises(ValueError, match=r"a 'bert' model cannot be written as ONNX \(no such operator\). Leave out"):
        coderep.export_onnx(saved("bert"))


def test_options_reach_the_card(saved, tmp_path):
    options = ModelOptions(dtype="bfloat16", card=CardOptions(repo="me/small"))
    export = export_run(saved("bert").parent, tmp_path / "out", options=options, check=False)
    assert 'from_pretrained("me/small")' in (export / "README.md").read_text()
