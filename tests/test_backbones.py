"""Any encoder as the backbone of stage 2: pooling, longest input, prompts, and what is saved."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest
import torch
import transformers
from torch import nn
from transformers import AutoModel

from modeling_coderep import CodeRepConfig
from modeling_coderep.pooling_coderep import cls_pool, last_pool, mean_pool
from trainers.arguments import ContrastiveArguments
from trainers.backbones import embed, load_backbone, pooling_of, position_limit
from trainers.contrastive import train_contrastive
from trainers.encode import load_encoder
from trainers.sentence_folder import read_sentence_folder
from trainers.stage import load_tokenizer

SIZES = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
COMMON = {"vocab_size": 1024, "pad_token_id": 0, "max_position_embeddings": 64}
ENCODERS = {
    "bert": lambda: transformers.BertConfig(**SIZES, **COMMON),
    "roberta": lambda: transformers.RobertaConfig(**SIZES, **COMMON | {"pad_token_id": 1}),
    "xlm-roberta": lambda: transformers.XLMRobertaConfig(**SIZES, **COMMON | {"pad_token_id": 1}),
    "distilbert": lambda: transformers.DistilBertConfig(dim=16, n_layers=2, n_heads=2, hidden_dim=32, **COMMON),
    "modernbert": lambda: transformers.ModernBertConfig(**SIZES, **COMMON, bos_token_id=2, eos_token_id=3),
    "mpnet": lambda: transformers.MPNetConfig(**SIZES, **COMMON | {"pad_token_id": 1}),
    "coderep": lambda: CodeRepConfig(**SIZES, **COMMON),
}
VERBS = ("read", "write", "open", "close")
PAIRS = [{"text": f"{v} the {n}", "code": f"def {v}_{n}(x):\n    return x.{v}('{n}')"} for v in VERBS for n in VERBS]
TEXTS = ["def read(x):\n    return x", "y", "for item in range(9): print(item, item)"]


@pytest.fixture
def pairs(tmp_path):
    path = tmp_path / "pairs.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in PAIRS))
    return path


@pytest.fixture
def checkpoint(tmp_path, tokenizer):
    """A function that saves a new encoder of a kind with the tokenizer; returns its folder."""

    def make(kind):
        AutoModel.from_config(ENCODERS[kind]()).save_pretrained(tmp_path / kind)
        tokenizer.save_pretrained(tmp_path / kind)
        return tmp_path / kind

    return make


def arguments(model, data, output, **more):
    how = {"per_device_train_batch_size": 8, "max_steps": 2, "learning_rate": 1e-2, "hard_positive_rate": 0}
    return ContrastiveArguments(
        model=str(model), data=str(data), output_dir=str(output), use_cpu=True, **{**how, "logging_steps": 1, **more}
    )


def slow_embeddings(model, tokenizer, pool, texts, max_length=64):
    """Each text by itself, without padding."""
    rows = []
    for text in texts:
        ids = tokenizer(text, truncation=True, max_length=max_length, return_tensors="pt")["input_ids"]
        with torch.no_grad():
            rows.append(pool(model(input_ids=ids).last_hidden_state, torch.ones_like(ids)))
    return nn.functional.normalize(torch.cat(rows), dim=-1)


@pytest.mark.parametrize("kind", ENCODERS)
def test_any_encoder_is_trained_and_saved(kind, checkpoint, pairs, tmp_path):
    """Codes longer than the model's positions are cut; every weight that is trained gets a gradient; it loads again."""
    source = checkpoint(kind)
    args = arguments(source, pairs, tmp_path / "out", max_code_length=1024)
    tokenizer = load_tokenizer(args)
    backbone = load_backbone(args, tokenizer)
    ids = torch.arange(5, 17).view(2, 6)
    embed(backbone.model, ids, torch.ones_like(ids)).square().sum().backward()
    left_out = [
        name for name, weight in backbone.model.named_parameters() if weight.requires_grad and weight.grad is None
    ]
    assert left_out == []

    folder = train_contrastive(args)
    encoder, before = load_encoder(folder), AutoModel.from_pretrained(source)
    assert type(encoder.model) is type(before) and pooling_of(encoder.model) == "mean"
    found = torch.from_numpy(encoder.encode(TEXTS))
    expected = slow_embeddings(encoder.model, encoder.tokenizer, mean_pool, TEXTS)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    moved = slow_embeddings(before.eval(), encoder.tokenizer, mean_pool, TEXTS)
    assert not torch.allclose(found, moved, atol=1e-3)
    assert {path.name for path in folder.iterdir()} == {path.name for path in source.iterdir()}


@pytest.mark.parametrize("kind", ENCODERS)
def test_longest_input_is_what_the_positions_allow(kind, checkpoint):
    model = AutoModel.from_pretrained(checkpoint(kind)).eval()
    limit = position_limit(model)
    assert limit == (62 if kind in ("roberta", "xlm-roberta", "mpnet") else 64)
    model(input_ids=torch.full((1, limit), 7))
    if kind != "modernbert":  # rotary positions without a table
        with pytest.raises((IndexError, RuntimeError, ValueError)):
            model(input_ids=torch.full((1, limit + 1), 7))


# sentence-transformers


@pytest.fixture
def sentence_folder(checkpoint):
    """A function that makes a sentence-transformers folder as the library saves it."""
    st = pytest.importorskip("sentence_transformers")
    from sentence_transformers.sentence_transformer.modules import Normalize, Pooling, Transformer

    def make(kind="bert", pooling="mean", normalize=False, **options):
        source = checkpoint(kind)
        modules = [Transformer(str(source), max_seq_length=24), Pooling(16, pooling)]
        model = st.SentenceTransformer(
            modules=[*modules, *([Normalize()] if normalize else [])], device="cpu", **options
        )
        folder = source.parent / "st"
        model.save(str(folder), create_model_card=False)
        return folder

    return make


@pytest.mark.parametrize(
    ("pooling", "pool", "normalize"),
    [("mean", mean_pool, True), ("cls", cls_pool, False), ("lasttoken", last_pool, False)],
)
def test_sentence_transformers_folder_stays_one(pooling, pool, normalize, sentence_folder, pairs, tmp_path):
    """Trained with its pooling, and the same embeddings by every way to load it."""
    from sentence_transformers import SentenceTransformer

    source = sentence_folder(pooling=pooling, normalize=normalize)
    args = arguments(source, pairs, tmp_path / "out")
    backbone = load_backbone(args, load_tokenizer(args))
    assert backbone.limit == 24 and backbone.cut(128) == 24 and backbone.cut(9) == 9
    folder = train_contrastive(args)
    long = [*TEXTS, "x = 1\n" * 50]
    library = SentenceTransformer(str(folder), device="cpu")
    encoder = load_encoder(folder)
    expected = slow_embeddings(AutoModel.from_pretrained(folder).eval(), encoder.tokenizer, pool, long, 24)
    theirs = nn.functional.normalize(torch.from_numpy(library.encode(long)), dim=-1)
    torch.testing.assert_close(theirs, expected, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(torch.from_numpy(encoder.encode(long)), expected, rtol=1e-4, atol=1e-5)
    before = SentenceTransformer(str(source), device="cpu")
    assert [type(part) for part in library] == [type(part) for part in before]
    assert library.max_seq_length == 24
    other = nn.functional.normalize(torch.from_numpy(before.encode(long)), dim=-1)
    assert not torch.allclose(theirs, other, atol=1e-3)


def edit(path, **changes):
    config = json.loads(path.read_text())
    path.write_text(json.dumps({**config, **changes}))


def test_folder_of_an_older_release(sentence_folder, pairs, tmp_path):
    """Weights in a folder of their own, a flag for each pooling, lower case, prompts."""
    from sentence_transformers import SentenceTransformer

    source = sentence_folder()
    (source / "0_Transformer").mkdir()
    for path in list(source.iterdir()):
        if path.is_file() and path.name not in ("modules.json", "config_sentence_transformers.json"):
            path.rename(source / "0_Transformer" / path.name)
    modules = json.loads((source / "modules.json").read_text())
    (source / "modules.json").write_text(json.dumps([{**modules[0], "path": "0_Transformer"}, modules[1]]))
    flags = {f"pooling_mode_{name}": name == "cls_token" for name in ("cls_token", "mean_tokens", "max_tokens")}
    (source / "1_Pooling" / "config.json").write_text(json.dumps({"word_embedding_dimension": 16, **flags}))
    edit(source / "0_Transformer" / "sentence_bert_config.json", do_lower_case=True)
    edit(source / "config_sentence_transformers.json", prompts={"query": "q: ", "passage": "p: ", "other": "o: "})

    found = read_sentence_folder(source)
    assert (found.subfolder, found.pooling, found.lower_case) == ("0_Transformer", "cls", True)
    assert found.prompts == {"text": "q: ", "code": "p: "}
    folder = train_contrastive(arguments(source, pairs, tmp_path / "out"))
    library, encoder = SentenceTransformer(str(folder), device="cpu"), load_encoder(folder)
    assert library.prompts["query"] == "q: "
    theirs = nn.functional.normalize(torch.from_numpy(library.encode_query(["Read THE row"])), dim=-1)
    torch.testing.assert_close(torch.from_numpy(encoder.encode(["q: read the row"])), theirs, rtol=1e-4, atol=1e-5)
    # The pooling of the untrained folder is known to our commands as well.
    library, encoder = SentenceTransformer(str(source), device="cpu"), load_encoder(source)
    theirs = nn.functional.normalize(torch.from_numpy(library.encode(TEXTS)), dim=-1)
    torch.testing.assert_close(torch.from_numpy(encoder.encode(TEXTS)), theirs, rtol=1e-4, atol=1e-5)


def test_a_default_prompt_is_of_both_sides(sentence_folder):
    folder = sentence_folder(prompts={"code": "c: "}, default_prompt_name="code")
    edit(folder / "config_sentence_transformers.json", prompts={"code": "c: "})
    assert read_sentence_folder(folder).prompts == {"text": "c: ", "code": "c: "}


@pytest.mark.parametrize(
    ("pooling", "message"),
    [
        ({"pooling_mode": "max"}, r"pools by max; here it must be mean, cls or lasttoken\. Train it with sentence-tr"),
        ({"pooling_mode": ["cls", "mean"]}, "pools by cls and mean; here"),
        ({"pooling_mode_max_tokens": True, "pooling_mode_mean_tokens": True}, "pools by max_tokens and mean_tokens"),
        ({"pooling_mode": "mean", "include_prompt": False}, "leaves its prompts out of the pooling, .* to true"),
    ],
)
def test_poolings_that_are_refused(pooling, message, sentence_folder):
    folder = sentence_folder()
    (folder / "1_Pooling" / "config.json").write_text(json.dumps(pooling))
    edit(folder / "config_sentence_transformers.json", prompts={"query": "q: "})
    with pytest.raises(ValueError, match=message):
        read_sentence_folder(folder)


def test_other_modules_are_refused(sentence_folder, pairs, tmp_path):
    folder = sentence_folder()
    modules = json.loads((folder / "modules.json").read_text())
    more = {"idx": 2, "name": "2", "path": "2_Dense", "type": "sentence_transformers.models.Dense"}
    (folder / "modules.json").write_text(json.dumps([*modules, more]))
    with pytest.raises(ValueError, match="consists of Transformer, Pooling, Dense. Only .* can be trained here: name"):
        train_contrastive(arguments(folder, pairs, tmp_path / "out"))


def test_what_is_no_encoder_is_refused(tmp_path, tokenizer, pairs):
    sizes = {"d_model": 16, "d_kv": 8, "d_ff": 16, "num_layers": 1, "num_heads": 2, "vocab_size": 1024}
    AutoModel.from_config(transformers.T5Config(**sizes)).save_pretrained(tmp_path / "t5")
    tokenizer.save_pretrained(tmp_path / "t5")
    with pytest.raises(ValueError, match="T5Model has a decoder besides. Name a model that is an encoder alone"):
        train_contrastive(arguments(tmp_path / "t5", pairs, tmp_path / "out"))


def test_tokenizer_of_another_model_is_refused(checkpoint, tokenizer):
    source = checkpoint("bert")
    AutoModel.from_config(transformers.BertConfig(**SIZES, vocab_size=100)).save_pretrained(source)
    with pytest.raises(
        ValueError, match="the tokenizer has 1024 tokens, the model 100. Name the model's own tokenizer"
    ):
        load_backbone(arguments(source, "x", "y"), tokenizer)


def test_low_precision_checkpoints_are_trained_in_float32(checkpoint, tokenizer):
    source = checkpoint("bert")
    AutoModel.from_pretrained(source).to(torch.bfloat16).save_pretrained(source)
    assert AutoModel.from_pretrained(source).dtype == torch.bfloat16
    assert load_backbone(arguments(source, "x", "y"), tokenizer).model.dtype == torch.float32


def test_pooling_is_read_through_wrappers():
    model = SimpleNamespace(config=SimpleNamespace(pooling="cls"))
    assert pooling_of(SimpleNamespace(module=model)) == "cls" == pooling_of(model)
    assert pooling_of(SimpleNamespace(config=SimpleNamespace())) == "mean"


@pytest.mark.parametrize("rate", ["docstring_text_rate", "docstring_code_rate"])
def test_doc_comments_that_rows_lack_are_missed_before_training(rate, checkpoint, pairs, tmp_path):
    with pytest.raises(ValueError, match=f"{rate}=0.1 needs the column 'docstring', which these pairs lack"):
        train_contrastive(arguments(checkpoint("bert"), pairs, tmp_path / "out", **{rate: 0.1}))
