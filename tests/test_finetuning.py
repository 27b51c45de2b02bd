"""Fine-tuning: data of users' own, adapters (LoRA), classifiers; what is saved works with plain transformers."""

from __future__ import annotations

import csv
import json
import re
import runpy
import shlex
import signal
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
import transformers
from running import Run, finish
from safetensors.torch import load_file
from torch import nn
from transformers import AutoModel, AutoModelForSequenceClassification, pipeline

import coderep
import trainers
from trainers.arguments import ClassifyArguments, ContrastiveArguments
from trainers.backbones import embed, load_backbone
from trainers.classifier import head_names
from trainers.classify import choose_rates, train_classify
from trainers.classify_data import LabelledRows, hold_out, load_labelled
from trainers.command_line import parse_arguments
from trainers.contrastive import train_contrastive
from trainers.encode import load_encoder
from trainers.evaluation import classification as heads
from trainers.evaluation.classification_sets import Examples
from trainers.finished import check_adapters
from trainers.lora import add_lora, auto_targets, linear_names, matched
from trainers.pair_data import load_pairs
from trainers.stage import load_tokenizer
from trainers.user_data import parse_columns

RECIPES = Path(trainers.__file__).parent / "recipes"
GOLDEN = Path(coderep.__file__).parent.parent / "shared" / "golden"
SIZES = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
COMMON = {"vocab_size": 1024, "pad_token_id": 0, "max_position_embeddings": 64}
VERBS = ("read", "write", "open", "close")
PAIRS = [(f"{v} the {n}", f"def {v}_{n}(x):\n    return x.{v}('{n}')") for v in VERBS for n in VERBS]
LOOPS = [f"for item in range({number}):\n    print(item)" for number in range(16)]
CLASSES = [f"class Reader{number}:\n    path = None" for number in range(16)]
SHAPES = [(code, "loop") for code in LOOPS] + [(code, "class") for code in CLASSES]


def write_lines(path, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture
def checkpoint(tmp_path, tokenizer, tiny_config):
    """A function that saves a new encoder, ours or BERT, with the tokenizer; returns its folder."""

    def make(kind="coderep"):
        torch.manual_seed(1)
        bert = transformers.BertConfig(**SIZES, **COMMON, initializer_range=0.2)
        AutoModel.from_config(tiny_config if kind == "coderep" else bert).save_pretrained(tmp_path / kind)
        tokenizer.save_pretrained(tmp_path / kind)
        return tmp_path / kind

    return make


# data of users' own


def pair_files(folder):
    """The same pairs in every format."""
    rows = [{"query": text, "func": code} for text, code in PAIRS]
    write_lines(folder / "a.jsonl", rows)
    for name, delimiter in (("a.csv", ","), ("a.tsv", "\t")):
        with (folder / name).open("w", newline="") as file:
            writer = csv.DictWriter(file, ["query", "func"], delimiter=delimiter)
            writer.writeheader()
            writer.writerows(rows)
    pq.write_table(pa.Table.from_pylist(rows), folder / "a.parquet")
    write_lines(folder / "halves" / "train-1.jsonl", rows[:5])
    pq.write_table(pa.Table.from_pylist(rows[5:]), folder / "halves" / "train-2.parquet")
    write_lines(folder / "halves" / "dev.jsonl", rows[:3])
    return [folder / name for name in ("a.jsonl", "a.csv", "a.tsv", "a.parquet", "halves")]


def test_every_format_gives_the_same_pairs_and_fingerprint(tmp_path):
    found = [load_pairs(path, columns="text=query, code=func") for path in pair_files(tmp_path)]
    for data in found:
        assert list(zip(data.rows["text"], data.rows["code"], strict=True)) == PAIRS
        assert data.rows.column_names == ["text", "code"]
    assert len({data.stats["fingerprint"] for data in found}) == 1
    assert load_pairs(tmp_path / "halves", "test", {"code": "func"}).rows["text"][:] == [text for text, _ in PAIRS[:3]]
    changed = write_lines(tmp_path / "b.jsonl", [{"query": text, "code": code + " "} for text, code in PAIRS])
    assert load_pairs(changed).stats["fingerprint"] != found[0].stats["fingerprint"]
    assert found[0].stats["sources"] == ["a.jsonl"] and found[0].stats["splits"] == {"train": {"rows": 16, "files": 1}}


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ([["x", "y"], ["z"], []], [["x", "y"], ["z"], []]),
        ([["x", " "], None, ["z"]], [["x"], [], ["z"]]),
        (["x", None, ""], [["x"], [], []]),
        ([None, None, None], None),
    ],
)
def test_negatives_none_one_or_several(given, expected, tmp_path):
    rows = [{"anchor": str(i), "positive": f"c{i}", "negative": value} for i, value in enumerate(given)]
    found = load_pairs(write_lines(tmp_path / "a.jsonl", rows)).rows
    assert (found["negatives"][:] if "negatives" in found.column_names else None) == expected


def test_pairs_without_text_or_code_are_left_out_and_counted(tmp_path, capsys):
    rows = [{"text": "a", "code": "b"}, {"text": " ", "code": ""}, {"text": "a", "code": None}, {"code": "b"}]
    data = load_pairs(write_lines(tmp_path / "a.jsonl", rows))
    assert data.rows[:] == {"text": ["a"], "code": ["b"]}
    assert data.stats["dropped"] == {"empty text": 2, "empty code": 1}
    with pytest.raises(ValueError, match="has no pair whose text and code both hold something"):
        load_pairs(write_lines(tmp_path / "b.jsonl", rows[1:]))


@pytest.mark.parametrize(
    ("rows", "columns", "message"),
    [
        (
            [{"q": "a", "code": "b"}],
            None,
            r"has no column 'text'. It has q, code. Say which one it is: --columns text=q",
        ),
        ([{"q": "a", "code": "b"}], "text=r", "columns: .* has no column 'r'. It has q, code"),
        ([{"text": "a", "code": "b"}], "txt=text", "columns: 'txt' is none of text, code, negatives, code_body"),
        ([{"text": "a", "code": "b"}], "text", r'columns must look like "text=query code=func", got \'text\''),
        ([{"text": 1, "code": "b"}], None, "column 'text' must hold text, got int64"),
        ([{"text": "a", "code": "b", "negatives": [1]}], None, "column 'negatives' must hold text or lists of text"),
        ([{"text": "a", "code": "b"}, {"text": 1, "code": "b"}], None, "a column of values of different types"),
        ([], None, "has no rows"),
    ],
)
def test_mistakes_in_tables(rows, columns, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        load_pairs(write_lines(tmp_path / "a.jsonl", rows), columns=columns)


def test_data_that_do_not_exist(tmp_path):
    write_lines(tmp_path / "a.jsonl", [{"text": "a", "code": "b"}])
    for data, split in ((tmp_path / "no.jsonl", "train"), ("nobody/nothing", "train")):
        with pytest.raises(FileNotFoundError, match="neither a file nor a folder nor a data set on the Hub"):
            load_pairs(data, split)
    with pytest.raises(FileNotFoundError, match="has no split 'test': it needs files test"):
        load_pairs(tmp_path / "a.jsonl", "test")
    (tmp_path / "a.json").write_text("[]")
    with pytest.raises(ValueError, match="a.json' is none of .jsonl, .csv, .tsv, .parquet. Write it as one of these"):
        load_pairs(tmp_path / "a.json")
    (tmp_path / "bad.parquet").write_text("nothing")
    with pytest.raises(ValueError, match="is no Parquet file"):
        load_pairs(tmp_path / "bad.parquet")
    (tmp_path / "stats.json").write_text("{}")
    with pytest.raises(ValueError, match="made by `coderep data ...` and has its own names. Leave columns out"):
        load_pairs(tmp_path, columns="text=query")


def test_columns_as_text_or_mapping():
    assert parse_columns("text=query  code=func") == parse_columns({"text": "query", "code": "func"})
    assert parse_columns(None) == {}


def test_long_cells_of_csv(tmp_path):
    (tmp_path / "a.csv").write_text('text,code\na,"' + "x" * 200_000 + '"\n')
    assert len(load_pairs(tmp_path / "a.csv").rows["code"][0]) == 200_000


# adapters


LAYERS = {
    "bert": lambda: transformers.BertModel(transformers.BertConfig(**SIZES, **COMMON)),
    "roberta": lambda: transformers.RobertaForSequenceClassification(transformers.RobertaConfig(**SIZES, **COMMON)),
    "distilbert": lambda: transformers.DistilBertForSequenceClassification(
        transformers.DistilBertConfig(dim=16, n_layers=2, n_heads=2, hidden_dim=32, **COMMON)
    ),
    "modernbert": lambda: transformers.ModernBertForSequenceClassification(
        transformers.ModernBertConfig(**SIZES, **COMMON, bos_token_id=2, eos_token_id=3)
    ),
}


@pytest.mark.parametrize(("kind", "per_layer"), [("bert", 6), ("roberta", 6), ("distilbert", 6), ("modernbert", 4)])
def test_adapters_on_attention_and_feed_forward_alone(kind, per_layer):
    """Not on heads or poolers; ours has its own test below, with the layers written out."""
    model = LAYERS[kind]()
    assert len(linear_names(model)) == 2 * per_layer and matched(model, auto_targets(model)) == linear_names(model)
    args = SimpleNamespace(
        lora_rank=2, lora_alpha=None, lora_dropout=0.0, lora_targets="auto", gradient_checkpointing=False
    )
    names = linear_names(model)
    adapted = add_lora(model, args)
    trained = {name for name, weight in adapted.named_parameters() if weight.requires_grad}
    expected = {f"base_model.model.{name}.lora_{side}.default.weight" for name in names for side in "AB"}
    assert trained == expected


def test_targets_of_ours(tiny_config):
    model = AutoModel.from_config(tiny_config)
    widths = [tuple(model.get_submodule(name).weight.shape) for name in linear_names(model) if ".0." in name]
    every = [tuple(m.weight.shape) for m in model.layers[0].modules() if isinstance(m, nn.Linear)]
    assert widths == every and len(linear_names(model)) == 2 * len(every)


def lora_arguments(model, data, output, **more):
    how = {"per_device_train_batch_size": 8, "max_steps": 6, "learning_rate": 1e-2, "hard_positive_rate": 0}
    how |= {"lora_rank": 4, "max_code_length": 32, "max_text_length": 16, "use_cpu": True}
    return ContrastiveArguments(model=str(model), data=str(data), output_dir=str(output), **how | more)


@pytest.fixture
def pairs(tmp_path):
    return write_lines(tmp_path / "pairs.jsonl", [{"text": text, "code": code} for text, code in PAIRS])


@pytest.mark.parametrize("kind", ["coderep", "bert"])
def test_merged_model_equals_the_adapter(kind, checkpoint, pairs, tmp_path):
    from peft import PeftModel

    source = checkpoint(kind)
    folder = train_contrastive(lora_arguments(source, pairs, tmp_path / "out"))
    tokenizer = load_encoder(source).tokenizer
    batch = tokenizer([code for _, code in PAIRS], padding=True, return_tensors="pt", return_token_type_ids=False)
    adapted = PeftModel.from_pretrained(AutoModel.from_pretrained(source), tmp_path / "out" / "adapter").eval()
    merged, before = (AutoModel.from_pretrained(path).eval() for path in (folder, source))
    with torch.no_grad():
        mine, theirs, base = (embed(model, **batch) for model in (merged, adapted, before))
    assert (mine - theirs).abs().max() < 1e-5 < 1e-2 < (mine - base).abs().max()
    # Only the weights of the adapted layers have moved.
    moved = {name for name, weight in merged.state_dict().items() if not torch.equal(weight, before.state_dict()[name])}
    assert moved == {f"{name}.weight" for name in linear_names(before)}
    assert {path.name for path in (tmp_path / "out" / "adapter").iterdir()} == {
        "adapter_config.json",
        "adapter_model.safetensors",
    }


def test_adapters_name_no_folder_of_this_machine(checkpoint, pairs, tmp_path):
    train_contrastive(lora_arguments(checkpoint(), pairs, tmp_path / "out", max_steps=1))
    assert str(tmp_path) not in (tmp_path / "out" / "adapter" / "adapter_config.json").read_text()


@pytest.mark.skipif(not GOLDEN.is_dir(), reason="../shared/golden is not here")
@pytest.mark.parametrize("version", ["v1", "v2"])
def test_adapters_on_the_published_layout(version, pairs, tmp_path):
    """peft would read its configuration as one of ours."""
    folder = train_contrastive(
        lora_arguments(GOLDEN / f"codesage_tiny_{version}", pairs, tmp_path / "out", max_steps=2)
    )
    assert AutoModel.from_pretrained(folder).config.model_type == "coderep"


def test_lora_learns(checkpoint, pairs, tmp_path):
    train_contrastive(lora_arguments(checkpoint(), pairs, tmp_path / "out", max_steps=24, logging_steps=8))
    losses = [entry["loss"] for entry in json.loads((tmp_path / "out" / "run.json").read_text())["log"]]
    assert losses[-1] < 0.7 * losses[0]


def test_gradient_checkpointing_changes_no_gradient(checkpoint, pairs, tmp_path):
    gradients = []
    for on in (False, True):
        args = lora_arguments(checkpoint("bert"), pairs, tmp_path / "out", gradient_checkpointing=on)
        model = load_backbone(args, load_tokenizer(args)).model.train()
        for name, weight in model.named_parameters():
            if "lora_B" in name:
                nn.init.normal_(weight, generator=torch.Generator().manual_seed(0))
        for module in model.modules():
            if isinstance(module, nn.Dropout):
                module.p = 0.0
        if on:
            model.base_model.model.activation_checkpointing_enable({"use_reentrant": True})
        embed(model, torch.arange(5, 17).view(2, 6), torch.ones(2, 6)).square().sum().backward()
        gradients.append({name: weight.grad for name, weight in model.named_parameters() if weight.requires_grad})
    assert gradients[0].keys() == gradients[1].keys() and all(grad is not None for grad in gradients[1].values())
    for name, gradient in gradients[0].items():
        torch.testing.assert_close(gradients[1][name], gradient, msg=name)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"lora_rank": -1}, "lora_rank must be at least 1, got -1"),
        ({"lora_alpha": 0.0}, "lora_alpha must be above 0, got 0.0"),
        ({"lora_dropout": 1.0}, r"lora_dropout must be in \[0, 1\), got 1.0"),
        ({"lora_targets": "query,nothing"}, "BertModel has no linear layer 'nothing'. Leave it at 'auto', which takes"),
    ],
)
def test_lora_options_are_checked(options, message, checkpoint, pairs, tmp_path):
    args = lora_arguments(checkpoint("bert"), pairs, tmp_path / "out", **options)
    with pytest.raises(ValueError, match=message):
        train_contrastive(args)


def test_named_targets(checkpoint, pairs, tmp_path):
    args = lora_arguments(checkpoint("bert"), pairs, tmp_path / "out", lora_targets="query,value")
    model = load_backbone(args, load_tokenizer(args)).model
    trained = [name for name, weight in model.named_parameters() if weight.requires_grad]
    assert len(trained) == 2 * 2 * 2 and all(".query." in name or ".value." in name for name in trained)


def test_adapters_and_fsdp_are_refused():
    model = SimpleNamespace(peft_config={}, merge_and_unload=None)
    with pytest.raises(
        ValueError, match="LoRA and FSDP do not go together here: .* Leave out lora_rank, or train with"
    ):
        check_adapters(SimpleNamespace(model=model, is_fsdp_enabled=True))
    check_adapters(SimpleNamespace(model=nn.Linear(1, 1), is_fsdp_enabled=True))


# classification


@pytest.fixture
def shapes(tmp_path):
    """Loops and classes, told apart at a glance."""
    return write_lines(tmp_path / "shapes.jsonl", [{"code": code, "label": label} for code, label in SHAPES])


def classify_arguments(model, data, output, **more):
    how = {"per_device_train_batch_size": 8, "learning_rate": 1e-2, "num_train_epochs": 3, "test_share": 0.3}
    how |= {"max_length": 32, "use_cpu": True}
    return ClassifyArguments(model=str(model), data=str(data), output_dir=str(output), **how | more)


def results(output):
    """Metric -> value."""
    rows = json.loads((output / "results.json").read_text())["results"]
    assert {row["n"] for row in rows} == {rows[0]["n"]} and rows[0]["domain"] == "in-domain"
    return {row["metric"]: row["value"] for row in rows}


WAYS = {"all": {}, "lora": {"lora_rank": 4}, "probe": {"freeze_encoder": True, "num_train_epochs": 20}}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", ["coderep", "bert"])
def test_classifiers_work_in_a_pipeline(kind, way, checkpoint, shapes, tmp_path):
    """The saved model, in transformers alone, gives the names of the labels and the accuracy of results.json."""
    source = checkpoint(kind)
    args = classify_arguments(source, shapes, tmp_path / "out", **WAYS[way])
    folder = train_classify(args)
    data = load_labelled(args)
    assert 3 < len(data.test) < 29 and data.classes == ["class", "loop"]
    classify = pipeline("text-classification", model=str(folder), device="cpu")
    predicted = [row["label"] for row in classify(data.test.codes[0], truncation=True)]
    accuracy = np.mean([one == other for one, other in zip(predicted, data.test.labels, strict=True)])
    assert results(tmp_path / "out")["accuracy"] == pytest.approx(accuracy) and accuracy > 0.9
    assert classify.model.config.label2id == {"class": 0, "loop": 1} and classify.tokenizer.model_max_length == 32
    record = json.loads((tmp_path / "out" / "run.json").read_text())
    assert record["data"]["fingerprint"] == data.revision and record["tokens"] > 0
    before, after = AutoModel.from_pretrained(source).state_dict(), classify.model.base_model.state_dict()
    moved = [name for name in before if not torch.equal(before[name], after[name]) and "pooler" not in name]
    assert bool(moved) == (way != "probe")
    assert (tmp_path / "out" / "adapter").is_dir() == (way == "lora")


@pytest.mark.parametrize("kind", ["coderep", "bert"])
def test_pairs_of_codes(kind, checkpoint, tmp_path):
    """Ours embed each code; others read both as one input. Swapping the codes changes nothing in ours."""
    rows = [
        {"code1": one, "code2": other, "label": int(a == b)} for one, a in SHAPES[10:22] for other, b in SHAPES[:32:4]
    ]
    write_lines(tmp_path / "clones" / "train.jsonl", rows[::2])
    write_lines(tmp_path / "clones" / "valid.jsonl", rows[1::2])
    args = classify_arguments(checkpoint(kind), tmp_path / "clones", tmp_path / "out", max_length=40)
    folder = train_classify(args)
    model = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    assert model.config.id2label == {0: "0", 1: "1"} and 0 <= results(tmp_path / "out")["macro-f1"] <= 1
    tokenizer = load_encoder(folder).tokenizer
    codes = [rows[1]["code1"], rows[1]["code2"]]
    if kind == "bert":
        batch = tokenizer(*codes, return_tensors="pt")
        assert model(**batch).logits.shape == (1, 2)
        return
    batch = tokenizer(codes, padding=True, return_tensors="pt")
    batch = {name: batch[name].unsqueeze(0) for name in ("input_ids", "attention_mask")}
    swapped = {name: tensor.flip(1) for name, tensor in batch.items()}
    torch.testing.assert_close(model(**batch).logits, model(**swapped).logits)


def test_probe_is_that_of_the_evaluation(checkpoint, shapes, tmp_path):
    """The head on standardised features, with the scale moved into its weights."""
    source = checkpoint()
    args = classify_arguments(source, shapes, tmp_path / "out", freeze_encoder=True, seed=7)
    model = AutoModelForSequenceClassification.from_pretrained(train_classify(args)).eval()
    data, encoder = load_labelled(args), AutoModel.from_pretrained(source)
    train, test = (
        encoder.encode(part.codes[0], max_length=32, convert_to_tensor=True) for part in (data.train, data.test)
    )
    scaled, scaled_test = heads.standardize(train, test)
    labels = torch.tensor([data.classes.index(label) for label in data.train.labels])
    head = heads.train_probe(scaled, labels, 2, epochs=3, learning_rate=1e-2, batch_size=8, seed=7)
    torch.testing.assert_close(model.classifier(test), head(scaled_test), rtol=1e-3, atol=1e-4)


def test_what_is_trained_besides_a_frozen_encoder(checkpoint):
    for kind, names in (("coderep", ["classifier"]), ("bert", ["classifier", "pooler"])):
        model = AutoModelForSequenceClassification.from_pretrained(checkpoint(kind))
        assert head_names(model) == names


@pytest.mark.parametrize(
    ("task", "more", "expected"),
    [
        ("defect", {}, (1e-5, 5)),
        ("runtime error", {}, (1e-5, 2)),
        ("runtime error", {"freeze_encoder": True}, (1e-3, 2)),
        ("clone", {"freeze_encoder": True}, (1e-3, 10)),
        ("defect", {"lora_rank": 4}, (1e-4, 5)),
        ("defect", {"learning_rate": 3e-4, "num_train_epochs": 1}, (3e-4, 1)),
    ],
)
def test_rates_of_the_paper(task, more, expected):
    args = ClassifyArguments(output_dir="x", use_cpu=True, **more)
    model = SimpleNamespace(config=SimpleNamespace(model_type="coderep"), num_parameters=lambda: 10)
    choose_rates(args, SimpleNamespace(task=task, name=""), model)
    assert (args.learning_rate, args.num_train_epochs) == (pytest.approx(expected[0]), expected[1])


def test_orders_of_epochs():
    lengths = np.random.default_rng(0).integers(1, 100, 403).tolist()
    rows = [{"length": length, "row": row} for row, length in enumerate(lengths)]

    class Table(list):
        def __getitem__(self, key):
            return [row[key] for row in rows] if isinstance(key, str) else rows[key]

    table, orders = Table(), []
    for seed, epoch in ((0, 0), (0, 0), (0, 1), (1, 0)):
        labelled = LabelledRows(table, 4, seed)
        labelled.set_epoch(epoch)
        orders.append([labelled[place]["row"] for place in range(len(labelled))])
        assert sorted(orders[-1]) == list(range(403))
        batches = np.array([lengths[row] for row in orders[-1][:400]]).reshape(-1, 4)
        # Of sorted groups of 200 lengths below 100, a batch of 4 spans some 2; at random it would span 60.
        assert np.mean(batches.max(axis=1) - batches.min(axis=1)) < 5
        assert np.any(np.diff(batches.max(axis=1)) > 20), "batches in the order of their lengths"
    assert orders[0] == orders[1] != orders[2] and orders[0] != orders[3]


def test_held_out_share():
    codes = [f"code {number % 500}" for number in range(1000)]
    train, test = hold_out(Examples((codes,), ["x"] * 1000), 0.2)
    assert len(train) + len(test) == 1000 and not set(train.codes[0]) & set(test.codes[0])
    assert len(test) == 2 * 100  # of 500 different codes, each of which comes twice
    # Whatever the order, the same codes; and with a few more examples most of them again.
    assert hold_out(Examples((codes[::-1],), ["x"] * 1000), 0.2)[1].codes[0] == test.codes[0][::-1]
    more = [*codes, *(f"new {number}" for number in range(25))]
    again = hold_out(Examples((more,), ["x"] * 1025), 0.2)[1]
    assert len(set(again.codes[0]) & set(test.codes[0])) > 80
    for share in (0, 1):
        with pytest.raises(ValueError, match=r"test_share must lie in \(0, 1\)"):
            hold_out(train, share)
    with pytest.raises(ValueError, match="test_share=0.9 of 2 different codes leaves none to train on"):
        hold_out(Examples((["a", "b"],), ["x", "y"]), 0.9)


def test_tables_of_labels(tmp_path):
    (tmp_path / "a.csv").write_text("func,target\na,1\nb,0\nc,1\nd,0\n")
    pq.write_table(pa.table({"code": list("abcd"), "label": [1, 0, 1, 0]}), tmp_path / "a.parquet")
    paths = (str(tmp_path / name) for name in ("a.csv", "a.parquet"))
    found = [load_labelled(ClassifyArguments(output_dir="x", data=path, test_share=0.25)) for path in paths]
    assert found[0].revision == found[1].revision and found[0].classes == ["0", "1"]
    with pytest.raises(ValueError, match="has no column 'code'. It has x, label"):
        load_labelled(
            ClassifyArguments(output_dir="x", data=str(write_lines(tmp_path / "b.jsonl", [{"x": "a", "label": 1}])))
        )
    with pytest.raises(ValueError, match="row 2 has no label. Label it or leave it out"):
        rows = [{"code": "a", "label": "1"}, {"code": "b", "label": None}]
        load_labelled(ClassifyArguments(output_dir="x", data=str(write_lines(tmp_path / "c.jsonl", rows))))


def test_classification_mistakes(checkpoint, shapes, tmp_path):
    with pytest.raises(ValueError, match="freeze_encoder trains the head alone, lora_rank adapters .* Leave one out"):
        train_classify(classify_arguments("x", shapes, tmp_path / "out", freeze_encoder=True, lora_rank=2))
    with pytest.raises(ValueError, match="no model given. Name a checkpoint to start from with --model"):
        args = ClassifyArguments(output_dir=str(tmp_path / "out"), data=str(shapes), tokenizer=str(checkpoint()))
        train_classify(args)
    with pytest.raises(FileNotFoundError, match="neither a file nor a folder"):
        train_classify(classify_arguments(checkpoint(), "nowhere.jsonl", tmp_path / "out"))


@pytest.mark.parametrize(
    ("name", "kind"), [("finetune_retrieval", ContrastiveArguments), ("finetune_classify", ClassifyArguments)]
)
def test_recipes(name, kind):
    section = "contrastive" if kind is ContrastiveArguments else "classify"
    args = parse_arguments(kind, section, ["--config", str(RECIPES / f"{name}.yaml"), "--output_dir", "x"])
    assert args.max_steps == -1 and args.lora_rank is None and args.lr_scheduler_type


# kills


@pytest.mark.skipif(sys.platform == "win32", reason="needs signals")
@pytest.mark.parametrize("stage", ["contrastive", pytest.param("classify", marks=pytest.mark.slow)])
def test_killed_with_adapters_it_ends_with_the_same_weights(stage, start, checkpoint, pairs, shapes, tmp_path):
    """Dropout, in the model and in the adapters; more than an epoch."""
    source = checkpoint("bert")
    data = pairs if stage == "contrastive" else shapes
    argv = ["train", stage, "--data", str(data), "--model", str(source), "--lora_rank", "4", "--lora_dropout", "0.2"]
    argv += ["--max_steps", "12", "--save_steps", "3", "--logging_steps", "1", "--learning_rate", "1e-2"]
    argv += ["--per_device_train_batch_size", "8", "--use_cpu", "true", "--save_total_limit", "1"]
    whole = Run(start, [*argv, "--output_dir", str(tmp_path / "whole")], tmp_path / "logs")
    whole.folder.mkdir()
    assert finish(whole.begin()) == 0, whole.log
    run = Run(start, [*argv, "--output_dir", str(tmp_path / "killed")], tmp_path)
    assert run.killed_at(5, signal.SIGKILL) == -signal.SIGKILL
    assert not (tmp_path / "killed" / "model").exists()
    assert finish(run.begin()) == 0 and re.search(r": resumed at step [369]\n", run.log), run.log
    for name in ("model/model.safetensors", "adapter/adapter_model.safetensors"):
        mine, theirs = (load_file(tmp_path / folder / name) for folder in ("killed", "whole"))
        assert mine.keys() == theirs.keys() and all(torch.equal(mine[key], theirs[key]) for key in mine)
    assert any(key.endswith("lora_B.weight") and mine[key].any() for key in mine), "nothing was trained"
    if stage == "classify":
        return  # both go the same way from here
    # Stopped between the last checkpoint and the model: it is made of the checkpoint.
    for name in ("model", "adapter"):
        (tmp_path / "killed" / name).rename(tmp_path / name)
    (tmp_path / "killed" / "run.json").unlink()
    assert finish(run.begin()) == 0, run.log
    mine, theirs = (load_file(path / "model" / "model.safetensors") for path in (tmp_path / "killed", tmp_path))
    assert all(torch.equal(mine[key], theirs[key]) for key in mine)


def test_results_that_a_kill_left_out_are_made(checkpoint, shapes, tmp_path):
    args = classify_arguments(checkpoint(), shapes, tmp_path / "out", freeze_encoder=True)
    train_classify(args)
    first = results(tmp_path / "out")
    (tmp_path / "out" / "results.json").unlink()
    weights = (tmp_path / "out" / "model" / "model.safetensors").stat().st_mtime_ns
    train_classify(classify_arguments(checkpoint(), shapes, tmp_path / "out", freeze_encoder=True))
    assert results(tmp_path / "out") == first
    assert (tmp_path / "out" / "model" / "model.safetensors").stat().st_mtime_ns == weights


def test_scores_tell_how_long_the_training_was(checkpoint, shapes, tmp_path):
    """`max_steps` overrides the epochs, except where nothing is done in steps."""
    for name, more, expected in (
        ("steps", {"max_steps": 2}, "trained model (all weights), 2 steps, lr"),
        ("epochs", {"max_steps": 2, "freeze_encoder": True}, "trained model (frozen encoder), 2 epochs, lr"),
    ):
        train_classify(classify_arguments(checkpoint(), shapes, tmp_path / name, num_train_epochs=2, **more))
        rows = json.loads((tmp_path / name / "results.json").read_text())["results"]
        assert rows[0]["protocol"].startswith(expected)


# the page


@pytest.mark.slow
def test_every_block_of_the_page_runs(checkpoint, corpus, tmp_path, monkeypatch, capsys):
    """The commands as they stand, in the order of the page; tests/test_docs.py runs its Python alone."""
    page = Path(coderep.__file__).parent / "docs" / "FINETUNING.md"
    (tmp_path / "demo").mkdir()
    checkpoint().rename(tmp_path / "demo" / "checkpoint")
    (tmp_path / "my_project").symlink_to(corpus)
    (tmp_path / "trainers").symlink_to(RECIPES.parent)
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"^```(sh|python)\n(.*?)^```", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    assert len(blocks) >= 8
    for number, (language, block) in enumerate(blocks):
        if language == "python":
            script = tmp_path / f"block{number}.py"
            script.write_text(block)
            runpy.run_path(str(script))
            continue
        for line in block.replace("\\\n", " ").splitlines():
            assert coderep.main(shlex.split(line, comments=True)[1:]) == 0, (line, capsys.readouterr().err)
    assert (tmp_path / "tuned_again" / "model").is_dir() and (tmp_path / "report").is_dir()
