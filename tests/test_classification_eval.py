"""Classification: features of codes and pairs, the probe, the tuned classifier, protocols, the command."""

from __future__ import annotations

import json
import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from trainers.encode import Encoder, load_encoder
from trainers.evaluation import classify_cli
from trainers.evaluation.classification import (
    CodeClassifier,
    collate_examples,
    finetune_arguments,
    finetune_trainer,
    frozen_features,
    join_sides,
    linear_head,
    predict_classes,
    standardize,
    tokenize_examples,
    train_probe,
)
from trainers.evaluation.classification_sets import ClassificationSet, Examples
from trainers.evaluation.classify_cli import load_sets
from trainers.evaluation.classify_learners import FinetuneLearner, ProbeLearner, evaluate_classification
from trainers.evaluation.classify_protocol import (
    ClassifyProtocol,
    finetune_rate,
    majority_scores,
    mean_and_spread,
    published_protocol,
    task_kind,
)


def examples(*rows):
    """Examples of (code, label) or (code, code, label)."""
    return Examples(tuple(list(column) for column in list(zip(*rows, strict=True))[:-1]), [row[-1] for row in rows])


@pytest.fixture
def encoder(tiny_config, tokenizer):
    from modeling_coderep import CodeRepModel

    return Encoder(CodeRepModel(tiny_config).eval(), tokenizer, 128)


@pytest.fixture
def checkpoint(tmp_path, encoder):
    """The tiny model as a folder."""
    folder = tmp_path / "tiny model"
    encoder.model.save_pretrained(folder)
    encoder.tokenizer.save_pretrained(folder)
    return folder


LOOPS = [f"for item in range({number}):\n    print(item)" for number in range(12)]
CLASSES = [f"class Reader{number}:\n    path = None" for number in range(12)]


def write_set(folder, train, test, task="", file="test.jsonl"):
    """A classification set as files; returns its folder."""
    folder.mkdir(parents=True)
    for name, rows in (("train.jsonl", train), (file, test)):
        (folder / name).write_text("".join(json.dumps(row) + "\n" for row in rows))
    if task:
        (folder / "meta.json").write_text(json.dumps({"task": task}))
    return folder


@pytest.fixture
def loops_or_classes(tmp_path):
    """Loops (1) and classes (0), told apart at a glance."""
    rows = [{"code": code, "label": 1} for code in LOOPS] + [{"code": code, "label": 0} for code in CLASSES]
    return write_set(tmp_path / "shapes", rows[::2], rows[1::2], "defect classification: loops (1) or classes (0)")


class TableEmbedder:
    """Embeddings from a table; remembers what it was asked."""

    name, limit, changes = "table", None, ()

    def __init__(self, table, tokenizer=None):
        self.table, self.asked = table, []
        self.tokenizer = tokenizer

    def embed(self, texts, *, max_length=None):
        self.asked.append((list(texts), max_length))
        return np.array([self.table[text] for text in texts], dtype=np.float32)


# features


def test_features_of_a_pair_by_hand():
    u, v = torch.tensor([[1.0, 2.0]]), torch.tensor([[3.0, -1.0]])
    assert join_sides([u, v]).tolist() == [[1, 2, 3, -1, 2, 3, 3, -2]]
    assert join_sides([u]).tolist() == [[1, 2]]


def test_difference_and_product_do_not_know_which_code_comes_first():
    u, v = torch.randn(5, 4), torch.randn(5, 4)
    there, back = join_sides([u, v]), join_sides([v, u])
    assert torch.equal(there[:, 8:], back[:, 8:])
    assert torch.equal(there[:, :8], torch.cat([back[:, 4:8], back[:, :4]], dim=1))
    assert not torch.equal(there, back)


def test_each_code_is_embedded_once():
    embedder = TableEmbedder({"a": [1, 0], "b": [0, 1], "c": [1, 1]})
    train = examples(("a", "b", "1"), ("b", "a", "0"))
    test = examples(("a", "c", "1"))
    train_NF, test_NF = frozen_features(embedder, train, test, max_length=7)
    assert [(sorted(texts), length) for texts, length in embedder.asked] == [(["a", "b", "c"], 7)]
    assert train_NF.tolist() == [[1, 0, 0, 1, 1, 1, 0, 0], [0, 1, 1, 0, 1, 1, 0, 0]]
    assert test_NF.tolist() == [[1, 0, 1, 1, 0, 1, 1, 0]]


def test_standardised_by_the_training_examples():
    # Feature 0 is 1 and 5: mean 3, deviation 2. Feature 1 never changes in training.
    train, test = standardize(torch.tensor([[1.0, 7.0], [5.0, 7.0]]), torch.tensor([[9.0, 7.0]]))
    assert train.tolist() == [[-1, 0], [1, 0]] and test.tolist() == [[3, 0]]


# probe


def slow_probe(features, labels, classes, epochs, learning_rate, batch_size, seed):
    """The probe in float64 with gradients and AdamW written out."""
    generator = torch.Generator().manual_seed(seed)
    weight = linear_head(features.shape[1], classes, generator).weight.detach().double().numpy()
    bias = np.log(np.bincount(labels, minlength=classes) / len(labels))
    state = [[weight, np.zeros_like(weight), np.zeros_like(weight)], [bias, np.zeros_like(bias), np.zeros_like(bias)]]
    steps, step = epochs * math.ceil(len(labels) / batch_size), 0
    for _ in range(epochs):
        for batch in torch.randperm(len(labels), generator=generator).split(batch_size):
            x, y = features[batch].double().numpy(), labels[batch].numpy()
            logits = x @ state[0][0].T + state[1][0]
            shares = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
            error = (shares - np.eye(classes)[y]) / len(y)
            step += 1
            rate = learning_rate * (1 - (step - 1) / steps)
            for row, gradient in zip(state, (error.T @ x, error.sum(axis=0)), strict=True):
                row[1] = 0.9 * row[1] + 0.1 * gradient
                row[2] = 0.999 * row[2] + 0.001 * gradient**2
                mean, square = row[1] / (1 - 0.9**step), row[2] / (1 - 0.999**step)
                row[0] = row[0] - rate * mean / (np.sqrt(square) + 1e-8)
    return state[0][0], state[1][0]


@pytest.mark.parametrize("batch_size", [4, 5, 50])  # 10 examples: a short last batch, whole ones, a single one
def test_probe_equals_a_slow_one(batch_size):
    features, labels = torch.randn(10, 6), torch.tensor([0, 1, 2, 0, 1, 2, 0, 0, 0, 1])
    how = {"epochs": 3, "learning_rate": 0.01, "batch_size": batch_size, "seed": 5}
    head = train_probe(features, labels, 3, **how)
    weight, bias = slow_probe(features, labels, 3, **how)
    np.testing.assert_allclose(head.weight.detach().numpy(), weight, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(head.bias.detach().numpy(), bias, rtol=1e-4, atol=1e-6)


def test_probe_begins_at_the_frequencies_of_the_classes():
    labels = torch.tensor([0, 1, 1, 1])
    head = train_probe(torch.zeros(4, 2), labels, 2, epochs=1, learning_rate=1e-9)
    torch.testing.assert_close(head(torch.zeros(1, 2)).softmax(dim=1), torch.tensor([[0.25, 0.75]]))


def noisy_set(tokenizer, informative):
    """400 training and 400 test codes of two classes whose embeddings tell the class, or do not."""
    generator = np.random.default_rng(1)
    labels = generator.integers(0, 2, 800)
    points = generator.normal(size=(800, 8)) + 6.0 * informative * (labels[:, None] - 0.5)
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    embedder = TableEmbedder({f"x{number}": point for number, point in enumerate(points)}, tokenizer)
    rows = [(f"x{number}", str(label)) for number, label in enumerate(labels)]
    return embedder, ClassificationSet("points", "", examples(*rows[:400]), examples(*rows[400:]))


def test_probe_finds_what_is_there_and_nothing_else(tokenizer):
    embedder, data = noisy_set(tokenizer, informative=True)
    f1, hits = evaluate_classification(ProbeLearner(embedder), data)
    assert (f1.value, f1.spread, hits.value, hits.spread) == (1.0, 0.0, 1.0, 0.0)
    embedder, data = noisy_set(tokenizer, informative=False)
    protocol = ClassifyProtocol("p", 10, 1e-3)
    for predicted in ProbeLearner(embedder).predict(data, protocol):
        assert abs(np.mean(predicted == data.test.labels) - 0.5) < 5 * math.sqrt(0.25 / 400)


def test_same_seed_same_probe():
    features, labels = torch.randn(40, 6), torch.arange(40) % 3
    how = {"epochs": 2, "learning_rate": 1e-3}
    first, again, other = (train_probe(features, labels, 3, seed=seed, **how) for seed in (0, 0, 1))
    assert torch.equal(first.weight, again.weight) and torch.equal(first.bias, again.bias)
    assert not torch.equal(first.weight, other.weight)


def test_scale_of_embeddings_does_not_matter(tokenizer):
    embedder, data = noisy_set(tokenizer, informative=0.2)
    protocol = ClassifyProtocol("p", 2, 1e-3)
    before = ProbeLearner(embedder).predict(data, protocol)
    embedder.table = {code: 1000 * point + 3 for code, point in embedder.table.items()}
    for one, other in zip(before, ProbeLearner(embedder).predict(data, protocol), strict=True):
        assert np.mean(one == other) > 0.99  # rounding may turn one that lies on the border
    assert any(np.mean(one == data.test.labels) < 0.99 for one in before), "too easy: nothing is tested"


# tuned classifier


PAIRS = examples((LOOPS[0], CLASSES[0] * 3, "1"), ("", CLASSES[1], "0"), (LOOPS[2], LOOPS[3] * 2, "1"))


def slow_logits(classifier, encoder, codes, max_length):
    """Logits of the codes of one example, each embedded by itself."""
    sides = []
    for code in codes:
        ids = encoder.tokenizer(code, truncation=True, max_length=max_length, return_tensors="pt")["input_ids"]
        sides.append(encoder.model(input_ids=ids).last_hidden_state.mean(dim=1))
    return classifier.head(join_sides(sides))


@pytest.mark.parametrize("sides", [1, 2])
def test_classifier_equals_one_code_at_a_time(encoder, sides):
    rows = Examples(PAIRS.codes[:sides], PAIRS.labels)
    classifier = CodeClassifier(encoder.model, 2, sides=sides, seed=3).eval()
    nn.init.normal_(classifier.head.weight)
    batch = collate_examples(list(tokenize_examples(encoder, rows, 20, ["0", "1"])), encoder.tokenizer.pad_token_id)
    assert batch["attention_mask"].sum() < batch["attention_mask"].numel(), "no padding: nothing is tested"
    with torch.no_grad():
        found = classifier(**batch)
        slow = torch.cat([slow_logits(classifier, encoder, codes, 20) for codes in zip(*rows.codes, strict=True)])
    torch.testing.assert_close(found["logits"], slow, rtol=1e-4, atol=1e-4)
    expected = -np.mean([slow[place].log_softmax(0)[label].item() for place, label in enumerate([1, 0, 1])])
    assert found["loss"].item() == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("batch_tokens", [1, 60, 100_000])
def test_predictions_keep_the_order_whatever_the_batches(encoder, batch_tokens):
    rows = tokenize_examples(encoder, PAIRS, 30)
    classifier = CodeClassifier(encoder.model, 7, sides=2)
    nn.init.normal_(classifier.head.weight)
    slow = [int(slow_logits(classifier, encoder, codes, 30).argmax()) for codes in zip(*PAIRS.codes, strict=True)]
    assert predict_classes(classifier, rows, encoder.tokenizer.pad_token_id, batch_tokens).tolist() == slow


def test_code_without_tokens_is_one_padding_token(encoder):
    bare = Encoder(encoder.model, lambda texts, **_: {"input_ids": [[] for _ in texts]}, 128)
    bare.tokenizer.pad_token_id = 9
    assert tokenize_examples(bare, examples(("", "0")), 20)["input_ids"][:] == [[[9]]]


def test_special_tokens_in_a_code_are_text(encoder):
    eos = encoder.tokenizer.eos_token
    ids = tokenize_examples(encoder, examples((f"a{eos}b", "0")), 50)["input_ids"][0][0]
    assert ids.count(encoder.tokenizer.eos_token_id) == 1 and ids[-1] == encoder.tokenizer.eos_token_id


def tune(classifier, encoder, rows, folder, **how):
    """Train on rows of two classes; returns the Trainer."""
    train = tokenize_examples(encoder, rows, 32, ["0", "1"])
    args = finetune_arguments(folder, use_cpu=True, **how)
    trainer = finetune_trainer(classifier, train, encoder.tokenizer.pad_token_id, args, "test")
    trainer.train()
    return trainer


SHAPES = examples(*[(code, "1") for code in LOOPS], *[(code, "0") for code in CLASSES])


def test_tuning_learns_and_leaves_nothing_behind(encoder, tmp_path):
    classifier = CodeClassifier(encoder.model, 2)
    before = {name: tensor.clone() for name, tensor in classifier.state_dict().items()}
    trainer = tune(classifier, encoder, SHAPES, tmp_path / "out", epochs=5, learning_rate=1e-3, batch_size=8)
    assert trainer.state.global_step == 5 * 3 and trainer.args.warmup_steps == 0
    changed = {name for name, tensor in classifier.state_dict().items() if not torch.equal(tensor, before[name])}
    assert {name.split(".")[0] for name in changed} == {"encoder", "head"}
    found = predict_classes(classifier, tokenize_examples(encoder, SHAPES, 32), encoder.tokenizer.pad_token_id)
    assert found.tolist() == [1] * 12 + [0] * 12
    assert list((tmp_path / "out").glob("*")) == []


def test_frozen_weights_and_adapters(encoder, tmp_path):
    """The same function trains a head alone, and low-rank adapters with a head."""
    from peft import LoraConfig, get_peft_model

    targets = [name for name, module in encoder.model.named_modules() if isinstance(module, nn.Linear)][:1]
    adapted = get_peft_model(encoder.model, LoraConfig(r=2, target_modules=targets))
    classifier = CodeClassifier(adapted, 2)
    before = {name: tensor.clone() for name, tensor in classifier.state_dict().items()}
    tune(classifier, encoder, SHAPES, tmp_path, epochs=1, learning_rate=1e-2, batch_size=8)
    changed = {name for name, tensor in classifier.state_dict().items() if not torch.equal(tensor, before[name])}
    assert {"head.weight", "head.bias"} < changed
    assert all("lora_" in name or name.startswith("head.") for name in changed)


def test_batches_hold_similar_lengths(encoder, tmp_path):
    lengths = [1, 9] * 16
    rows = tokenize_examples(encoder, examples(*[("x " * length, "0") for length in lengths]), 64, ["0"])
    args = finetune_arguments(tmp_path, epochs=1, learning_rate=1e-3, batch_size=4, use_cpu=True)
    trainer = finetune_trainer(CodeClassifier(encoder.model, 2), rows, encoder.tokenizer.pad_token_id, args, "test")
    batches = list(trainer.get_train_dataloader())
    mixed = sum(len(set(batch["attention_mask"].sum(dim=2).flatten().tolist())) > 1 for batch in batches)
    # Each of four groups of 8 is sorted, so that at most one of its two batches is mixed; at random 7 in 8 would be.
    assert len(batches) == 8 and mixed <= 4


def test_tuned_twice_gives_the_same_and_another_seed_something_else(checkpoint):
    from modeling_coderep import CodeRepModel

    model = CodeRepModel.from_pretrained(checkpoint)
    model.config.hidden_dropout = 0.1
    model.save_pretrained(checkpoint)
    weights = []
    for seed in (0, 0, 1):
        encoder = load_encoder(checkpoint)
        assert any(module.p > 0 for module in encoder.model.modules() if isinstance(module, nn.Dropout))
        classifier = CodeClassifier(encoder.model, 2, seed=seed)
        tune(classifier, encoder, SHAPES, checkpoint / "out", epochs=1, learning_rate=1e-3, batch_size=8, seed=seed)
        weights.append(torch.cat([tensor.flatten() for tensor in classifier.parameters()]).detach())
    assert torch.equal(weights[0], weights[1]) and not torch.equal(weights[0], weights[2])


# protocols and numbers


@pytest.mark.parametrize(
    ("kind", "epochs", "origin"),
    [("defect", (10, 5), "codesage"), ("complexity", (10, 5), "codesage"), ("runtime error", (2, 2), "codesage")]
    + [("clone", (10, 5), "ours"), ("code", (10, 5), "ours")],
)
def test_published_protocols(kind, epochs, origin):
    probe, tuned = (published_protocol(setting, kind, 1e-3) for setting in ("probe", "finetune"))
    assert (probe.epochs, tuned.epochs) == epochs and (probe.batch_size, probe.seeds) == (32, 3)
    assert probe.name == f"frozen probe ({origin}), standardised" and tuned.name == f"full fine-tune ({origin})"


def test_label_names_what_was_changed():
    published = published_protocol("probe", "defect", 1e-3)
    assert published.label(published) == published.name
    changed = ClassifyProtocol(published.name, 3, 5e-4, batch_size=8, max_length=64, seeds=1)
    assert changed.label(published) == f"{published.name}, 3 epochs, lr 0.0005, batch 8, 64 tokens, 1 seed"


@pytest.mark.parametrize(
    ("model_type", "parameters", "rate"),
    [("coderep", 128_010_240, 1e-5), ("codesage", 354_742_272, 1e-5), ("coderep", 1_313_464_320, 5e-6)]
    + [("roberta", 125_000_000, 5e-5), ("bert", 2_000_000_000, 5e-5)],
)
def test_rates_of_the_paper(model_type, parameters, rate):
    model = SimpleNamespace(config=SimpleNamespace(model_type=model_type), num_parameters=lambda: parameters)
    assert finetune_rate(model) == rate


@pytest.mark.parametrize(
    ("task", "name", "kind"),
    [
        ("defect classification: buggy (1) / fixed (0)", "bugs2fix_small", "defect"),
        ("time-complexity classification, 7 classes", "codecomplex", "complexity"),
        ("balanced binary: error / ok", "pre_runtime_error_binary", "runtime error"),
        ("runtime-error classification", "x", "runtime error"),
        ("clone pair classification, Java", "x", "clone"),
        ("classification", "my labels", "code"),
    ],
)
def test_kind_of_task(task, name, kind):
    rows = examples(("a", "0"), ("b", "1"))
    assert task_kind(ClassificationSet(name, task, rows, rows)) == kind


def test_spread_is_the_deviation_of_a_sample():
    # Mean 2, squared distances 1, 0, 1, so variance (1 + 0 + 1) / (3 - 1) = 1.
    assert mean_and_spread([1.0, 2.0, 3.0]) == (2.0, 1.0)
    assert mean_and_spread([0.25]) == (0.25, None)


def test_majority_by_hand():
    # Commonest: "b". Of 4 test labels 3 are "b": F1 of "b" is 2 * 3 / (4 + 3), that of "a" is 0.
    data = ClassificationSet(
        "x", "", examples(("1", "a"), ("2", "b"), ("3", "b")), Examples((list("5678"),), list("abbb"))
    )
    assert majority_scores(data) == {"macro-f1": pytest.approx(6 / 7 / 2), "accuracy": 0.75}


def test_labels_not_seen_in_training_count_as_wrong(tokenizer):
    table = {"a": [1, 0], "b": [0, 1], "c": [1, 0]}
    train, test = examples(("a", "x"), ("b", "y")), examples(("a", "x"), ("b", "y"), ("c", "z"))
    data = ClassificationSet("few", "", train, test)
    learner = ProbeLearner(TableEmbedder(table, tokenizer))
    f1, hits = evaluate_classification(learner, data, epochs=200, learning_rate=0.1, seeds=1)
    # Predicted x, y, x: F1 of x is 2 / 3, of y 1, of z 0.
    assert f1.value == pytest.approx((2 / 3 + 1 + 0) / 3) and hits.value == pytest.approx(2 / 3)
    assert f1.spread is None and f1.n == 3


# command


def test_probe_command(checkpoint, loops_or_classes, tmp_path, capsys):
    flags = ["--data", str(loops_or_classes), "--output", str(tmp_path / "r.json"), "--max-length", "6"]
    flags += ["--epochs", "60", "--learning-rate", "0.01", "--batch-size", "8", "--in-domain", "sha*"]
    assert classify_cli.main([str(checkpoint), *flags]) == 0
    record = json.loads((tmp_path / "r.json").read_text())
    f1, hits = record["results"]
    assert (f1["metric"], f1["value"], f1["n"], f1["spread"]) == ("macro-f1", 1.0, 12, 0.0)
    assert (hits["metric"], hits["value"], hits["domain"]) == ("accuracy", 1.0, "in-domain")
    assert f1["task"] == "defect classification" and f1["dataset"] == "shapes" and f1["model"] == str(checkpoint)
    changes = "60 epochs, lr 0.01, batch 8, 6 tokens"
    assert f1["protocol"] == f"frozen probe (codesage), standardised, {changes}"
    assert f1["counts"] == {"training codes cut": 12, "test codes cut": 12}
    first = (tmp_path / "r.json").read_text()
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3 and "100.00 +- 0.00" in lines[1] and "33.33     50.00" in lines[1]
    assert classify_cli.main([str(checkpoint), *flags]) == 0
    again = json.loads((tmp_path / "r.json").read_text())["results"]
    assert [row["value"] for row in again] == [row["value"] for row in json.loads(first)["results"]]


def test_tuning_command_on_pairs(checkpoint, tmp_path, capsys):
    rows = [
        {"code1": one, "code2": other, "label": int(one[0] == other[0])}
        for one in LOOPS[:4]
        for other in SHAPES.codes[0][::4]
    ]
    write_set(tmp_path / "sets" / "clones", rows, rows[:6], "clone pairs", file="valid.jsonl")
    flags = ["--setting", "finetune", "--seeds", "2", "--epochs", "1", "--output", str(tmp_path / "r.json")]
    assert classify_cli.main([str(checkpoint), "--data", str(tmp_path / "sets"), *flags]) == 0
    f1, hits = json.loads((tmp_path / "r.json").read_text())["results"]
    assert f1["protocol"] == "full fine-tune (ours), 1 epoch, 2 seeds" and f1["task"] == "clone classification"
    assert f1["n"] == 6 and 0 <= hits["value"] <= 1 and hits["spread"] is not None
    assert f1["counts"] == {"test examples also in training": 6}
    assert "clones" in capsys.readouterr().out


def test_tuning_a_half_precision_checkpoint(encoder, checkpoint, loops_or_classes):
    encoder.model.to(torch.bfloat16).save_pretrained(checkpoint)
    data = load_sets(str(loops_or_classes))[0]
    predicted = FinetuneLearner(str(checkpoint)).predict(data, ClassifyProtocol("p", 1, 1e-3, seeds=1))
    assert [len(row) for row in predicted] == [12]


def test_mistakes(checkpoint, loops_or_classes, tmp_path):
    def run(*flags, data=loops_or_classes):
        classify_cli.main([str(checkpoint), "--data", str(data), *flags])

    with pytest.raises(ValueError, match="device 'nonsense' cannot be used"):
        run("--device", "nonsense")
    with pytest.raises(ValueError, match="--device cpu is for a probe: .* CUDA_VISIBLE_DEVICES"):
        run("--setting", "finetune", "--device", "cpu")
    with pytest.raises(ValueError, match="epochs must be at least 1, got 0"):
        run("--epochs", "0")
    with pytest.raises(ValueError, match=r"learning_rate must lie in \(0, 1\), got 2.0"):
        run("--learning-rate", "2")
    with pytest.raises(FileNotFoundError, match="holds no classification set: no train.jsonl"):
        run(data=tmp_path / "nowhere")
    with pytest.raises(FileNotFoundError, match="the folder of output .* does not exist"):
        run("--output", str(tmp_path / "no" / "r.json"))
    one = write_set(tmp_path / "one", [{"code": "a", "label": 1}] * 2, [{"code": "b", "label": 1}])
    with pytest.raises(ValueError, match="nothing to tell apart"):
        run(data=one)
    (tmp_path / "static").mkdir()
    (tmp_path / "static" / "config.json").write_text('{"model_type": "model2vec"}')
    with pytest.raises(ValueError, match="cannot be tuned .* Use --setting probe"):
        classify_cli.main([str(tmp_path / "static"), "--data", str(loops_or_classes), "--setting", "finetune"])
