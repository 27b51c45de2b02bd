"""Stage 1's trainer: any masked LM, one loss whatever the layout, its logs, when it stops, pseudo-perplexity."""

from __future__ import annotations

import json
import math
import os
import re
import signal
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from datasets import Dataset
from safetensors.torch import load_file
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers
from transformers import (
    AutoModelForMaskedLM,
    BertConfig,
    BertForMaskedLM,
    ModernBertConfig,
    ModernBertForMaskedLM,
    PreTrainedTokenizerFast,
    RobertaConfig,
    RobertaForMaskedLM,
    TrainerCallback,
)

import coderep
from data_collators import FoldMaskingCollator, MixedMaskingCollator, PackedDocuments
from data_collators.builders.stage1 import Stage1Extractor
from data_collators.builders.store import load_split
from data_collators.mixed_masking import OBJECTIVES
from data_collators.names import find_identifiers
from data_collators.parsing import parse
from data_collators.rows import SourceFile
from modeling_coderep import CodeRepConfig, CodeRepForMaskedLM
from trainers import MlmArguments, MlmTrainer, train_mlm
from trainers.command_line import parse_arguments
from trainers.mlm import check_fit, held_out
from trainers.perplexity import perplexities, predicted_losses, summed_losses

LANGUAGES = ("c", "go", "python")
SHAPE = {
    "vocab_size": 1024,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 64,
    "max_position_embeddings": 128,
    "pad_token_id": 2,
    "initializer_range": 0.2,  # large enough that differences show
}
NO_DROPOUT = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
FOREIGN = {
    "bert": lambda **more: BertForMaskedLM(BertConfig(**SHAPE, **NO_DROPOUT, **more)),
    "roberta": lambda **more: RobertaForMaskedLM(RobertaConfig(**{**SHAPE, **NO_DROPOUT, **more})),
    "modernbert": lambda **more: ModernBertForMaskedLM(
        ModernBertConfig(**SHAPE, bos_token_id=0, eos_token_id=0, cls_token_id=0, sep_token_id=0, **more)
    ),
}


def ours():
    rates = {"embedding_dropout": 0.0, "hidden_dropout": 0.0, "attention_dropout": 0.0}
    return CodeRepForMaskedLM(CodeRepConfig(**SHAPE, **rates, bos_token_id=0, eos_token_id=0, mask_token_id=1))


MODELS = {"coderep": ours, **FOREIGN}


@pytest.fixture(scope="module")
def documents(tokenizer, sources):
    """Stage-1 rows of real code, of three languages as far as their column says."""
    extract = Stage1Extractor(tokenizer, max_length=64)
    rows = [row for source in sources[:3] for row in extract(SourceFile("0", source.decode(), "python", "r", "p")).rows]
    return Dataset.from_dict(
        {
            "input_ids": [row.input_ids for row in rows],
            "identifier_ids": [row.identifier_ids for row in rows],
            "language": [LANGUAGES[number % 3] for number in range(len(rows))],
        }
    )


def arguments(folder, **more):
    options = {"max_steps": 3, "logging_steps": 1, "save_strategy": "no", "learning_rate": 1e-2, "optim": "sgd"}
    return MlmArguments(output_dir=str(folder), **{**options, "disable_tqdm": True, "seed": 4, **more})


def make_trainer(tokenizer, documents, folder, model, **more):
    layout = "packed" if model.config.model_type == "coderep" else "padded"
    rows = PackedDocuments(documents, 128, seed=1)
    return MlmTrainer(
        model=model,
        args=arguments(folder, **more),
        train_dataset=rows,
        data_collator=MixedMaskingCollator(tokenizer, layout=layout, with_groups=True),
        eval_collator=FoldMaskingCollator(tokenizer, 3, layout=layout),
        languages=rows.languages,
    )


def losses_in(trainer):
    return [entry for entry in trainer.state.log_history if "loss" in entry]


# one loss


def test_padded_rows_have_the_loss_and_gradients_of_packed_rows(tokenizer, documents):
    rows = PackedDocuments(documents, 128, seed=1)
    features, results = [rows[row] for row in range(4)], {}
    for layout in ("packed", "padded"):
        torch.manual_seed(0)
        model = ours()
        loss = predicted_losses(model, MixedMaskingCollator(tokenizer, layout=layout)(features)).mean()
        loss.backward()
        results[layout] = loss.detach(), {name: weight.grad for name, weight in model.named_parameters()}
    torch.testing.assert_close(results["packed"][0], results["padded"][0])
    for name, gradient in results["packed"][1].items():
        torch.testing.assert_close(gradient, results["padded"][1][name], rtol=1e-4, atol=1e-6, msg=name)


@pytest.mark.parametrize("kind", MODELS)
def test_accumulated_batches_train_as_one_batch_does(tokenizer, documents, tmp_path, kind):
    """Each row has another number of predicted tokens; a mean of means would differ."""
    runs = []
    for size, accumulated in ((4, 1), (2, 2), (1, 4)):
        torch.manual_seed(0)
        trainer = make_trainer(
            tokenizer,
            documents,
            tmp_path / str(size),
            MODELS[kind](),
            per_device_train_batch_size=size,
            gradient_accumulation_steps=accumulated,
        )
        trainer.train()
        runs.append((trainer.model.state_dict(), losses_in(trainer), trainer.tokens_seen))
    (weights, logs, tokens), *others = runs
    assert logs[0]["loss"] != pytest.approx(logs[1]["loss"], abs=1e-4)
    for other_weights, other_logs, other_tokens in others:
        assert other_tokens == tokens > 0
        for one, two in zip(logs, other_logs, strict=True):
            names = [name for name in one if name.startswith(("loss", "predicted", "grad_norm"))]
            assert [one[name] for name in names] == pytest.approx([two[name] for name in names], rel=1e-4)
        for name, weight in weights.items():
            torch.testing.assert_close(weight, other_weights[name], rtol=1e-4, atol=1e-6, msg=name)


class Seen(TrainerCallback):
    """A tracker: keeps what it is told."""

    def __init__(self):
        self.logs = []

    def on_log(self, args, state, control, logs=None, **kwargs):
        self.logs.append(dict(logs))


@pytest.mark.parametrize("kind", ["coderep", "bert"])
def test_logs_tell_the_loss_of_each_objective_and_language(tokenizer, documents, tmp_path, kind):
    """Against sums over single tokens; the learning rate is 0, so that the model stays as it is."""
    model = MODELS[kind]()
    trainer = make_trainer(tokenizer, documents, tmp_path, model, learning_rate=0.0, logging_steps=3, max_steps=6)
    seen, batches = Seen(), []
    trainer.add_callback(seen)
    collate = trainer.data_collator
    trainer.data_collator = lambda features: batches.append(collate(features)) or batches[-1]
    trainer.train()
    told = [logs for logs in seen.logs if "loss" in logs]
    assert len(told) == 2
    for window, logs in enumerate(told):
        sums = {}
        for batch in batches[3 * window : 3 * window + 3]:
            inputs = {name: value for name, value in batch.items() if not name.endswith(("labels", "objective_ids"))}
            inputs.pop("language_ids")
            with torch.no_grad():
                logs_BTV = model(**inputs).logits.log_softmax(dim=-1)
            for row, place in (batch["labels"] != -100).nonzero().tolist():
                names = OBJECTIVES[batch["objective_ids"][row, place]], LANGUAGES[batch["language_ids"][row, place]]
                for name in names:
                    total, count = sums.get(name, (0.0, 0))
                    loss = -logs_BTV[row, place, batch["labels"][row, place]].item()
                    sums[name] = total + loss, count + 1
        assert set(sums) == {*OBJECTIVES, *LANGUAGES}
        assert {name[5:] for name in logs if name.startswith("loss_")} == set(sums)
        for name, (total, count) in sums.items():
            assert logs[f"predicted_{name}"] == count
            assert logs[f"loss_{name}"] == pytest.approx(total / count, rel=1e-5)


def test_the_groups_losses_average_to_the_loss_of_a_step(tokenizer, documents, tmp_path):
    trainer = make_trainer(tokenizer, documents, tmp_path, ours(), gradient_accumulation_steps=2)
    trainer.train()
    for logs in losses_in(trainer):
        for names in (OBJECTIVES, LANGUAGES):
            tokens = {name: logs.get(f"predicted_{name}", 0) for name in names}
            mean = sum(tokens[name] * logs[f"loss_{name}"] for name in names if tokens[name]) / sum(tokens.values())
            assert logs["loss"] == pytest.approx(mean, rel=1e-5)


def test_tokens_seen_are_those_of_documents(tokenizer, documents, tmp_path):
    few = documents.select(range(60))
    trainer = make_trainer(
        tokenizer, few, tmp_path, ours(), max_steps=-1, num_train_epochs=1, per_device_train_batch_size=3
    )
    trainer.train()
    assert trainer.tokens_seen == sum(map(len, few["input_ids"][:]))


def test_label_smoothing_is_refused(tokenizer, documents, tmp_path):
    with pytest.raises(ValueError, match="label_smoothing_factor has no place in stage 1. Leave it out"):
        make_trainer(tokenizer, documents, tmp_path, ours(), label_smoothing_factor=0.1)


# not a number


def test_a_bad_gradient_stops_before_it_reaches_the_weights(tokenizer, documents, tmp_path):
    """The loss is finite; one gradient of the second step is not."""
    trainer = make_trainer(tokenizer, documents, tmp_path, ours(), optim="adamw_torch")
    weight, calls, before = trainer.model.encoder.layers[0].mlp.up.weight, [], {}

    def poison(gradient):
        calls.append(1)
        if len(calls) == 2:
            before.update({name: value.clone() for name, value in trainer.model.state_dict().items()})
            gradient = gradient.clone()
            gradient[0, 0] = math.nan
        return gradient

    weight.register_hook(poison)
    with pytest.raises(FloatingPointError, match="a gradient is not a number at step 1. Lower the learning rate"):
        trainer.train()
    assert before and all(torch.equal(before[name], value) for name, value in trainer.model.state_dict().items())


@pytest.mark.parametrize("kind", ["coderep", "bert"])
def test_a_bad_loss_stops_before_it_reaches_the_weights(tokenizer, documents, tmp_path, kind):
    trainer = make_trainer(tokenizer, documents, tmp_path, MODELS[kind]())
    with torch.no_grad():
        trainer.model.get_output_embeddings().bias[5] = math.nan
    before = {name: value.clone() for name, value in trainer.model.state_dict().items()}
    with pytest.raises(FloatingPointError, match=r"the loss became nan at step 0. Lower the learning rate"):
        trainer.train()
    for name, value in trainer.model.state_dict().items():
        assert torch.equal(before[name].nan_to_num(1e3), value.nan_to_num(1e3)), name


# pseudo-perplexity


@pytest.mark.parametrize("kind", ["coderep", "bert"])
def test_with_as_many_parts_as_tokens_it_is_the_exact_pseudo_perplexity(tokenizer, documents, kind):
    """Against one token at a time, each in a row of its own."""
    model, some = MODELS[kind]().eval(), documents.select(range(3))
    rows = PackedDocuments(some, 192 if kind == "bert" else 64)
    longest = max(len(rows[row]["input_ids"]) for row in range(len(rows)))
    collator = FoldMaskingCollator(tokenizer, longest, layout="packed" if kind == "coderep" else "padded")
    found = perplexities(summed_losses(model, rows, collator, 2), rows.languages, "eval")
    losses = {}
    for row in some:
        for place, token in enumerate(row["input_ids"]):
            if token not in tokenizer.all_special_ids:
                ids = torch.tensor([row["input_ids"]])
                ids[0, place] = tokenizer.mask_token_id
                with torch.no_grad():
                    loss = -model(input_ids=ids).logits[0, place].log_softmax(dim=-1)[token]
                losses.setdefault(row["language"], []).append(loss.item())
    every = [loss for own in losses.values() for loss in own]
    assert found.pop("eval_loss") == pytest.approx(np.mean(every), rel=1e-5)
    assert found.pop("eval_perplexity") == pytest.approx(math.exp(np.mean(every)), rel=1e-4)
    assert found == {
        f"eval_perplexity_{name}": pytest.approx(math.exp(np.mean(own)), rel=1e-4) for name, own in losses.items()
    }


def test_a_model_that_knows_nothing_has_the_perplexity_of_the_vocabulary(tokenizer, documents):
    model = ours().eval()
    with torch.no_grad():
        model.lm_head.weight.zero_()  # all logits equal
        model.lm_head.bias.zero_()
    rows = PackedDocuments(documents.select(range(40)), 128)
    sums = summed_losses(model, rows, FoldMaskingCollator(tokenizer, 3), 4)
    found = perplexities(sums, rows.languages, "eval")
    assert set(found) == {"eval_loss", "eval_perplexity", *(f"eval_perplexity_{name}" for name in LANGUAGES)}
    assert found.pop("eval_loss") == pytest.approx(math.log(1024))
    assert list(found.values()) == pytest.approx([1024] * 4)


def test_processes_share_the_evaluation_in_equally_many_passes(tokenizer, documents):
    """Though some have fewer rows, or none in a last pass: sharded models hang unless all take part."""
    model, rows = ours().eval(), PackedDocuments(documents.select(range(14)), 128)
    collator, passes = FoldMaskingCollator(tokenizer, 2), []
    model.register_forward_hook(lambda *_: passes.append(1))
    whole = summed_losses(model, rows, collator, 2)
    parts, counts = [], []
    for process in range(3):
        passes.clear()
        parts.append(summed_losses(model, rows, collator, 2, (process, 3)))
        counts.append(len(passes))
    assert len(set(counts)) == 1 and len(rows) % 6, "every process has as much to do: nothing is tested"
    torch.testing.assert_close(sum(parts), whole)


def test_a_perplexity_beyond_floats_is_infinite():
    found = perplexities(torch.tensor([[8000.0, 10.0]], dtype=torch.float64), ["c"], "eval")
    assert found == {"eval_loss": 800.0, "eval_perplexity": math.inf, "eval_perplexity_c": math.inf}


def test_evaluation_without_data_is_refused(tokenizer, documents, tmp_path):
    with pytest.raises(ValueError, match="there is no evaluation data. Build the data with a --test-share above 0"):
        make_trainer(tokenizer, documents, tmp_path, ours()).evaluate()


# train_mlm

SCRIPT = """
function sum{n}(values) {{
    let total{n} = {n};
    for (const value of values) {{
        total{n} += value * {n};
    }}
    return total{n} / values.length;
}}
"""


@pytest.fixture(scope="module")
def held(stage1, corpus, tmp_path_factory):
    """As `stage1`, of two languages and with held-out repositories."""
    folder = tmp_path_factory.mktemp("held out")
    for n in range(12):
        (folder / "scripts" / f"site{n}").mkdir(parents=True)
        (folder / "scripts" / f"site{n}" / "index.js").write_text(
            "".join(SCRIPT.format(n=10 * n + k) for k in range(5))
        )
    source = ["--source", str(corpus), str(folder / "scripts"), "--tokenizer", str(stage1 / "tokenizer")]
    options = ["--max-length", "64", "--test-share", "0.4", "--output", str(folder / "rows")]
    assert coderep.main(["data", "stage1", *source, *options]) == 0
    (folder / "tokenizer").symlink_to(stage1 / "tokenizer")
    return folder


RUN_MODEL = {
    **{name: value for name, value in SHAPE.items() if name not in ("vocab_size", "pad_token_id")},
    **{"max_position_embeddings": 64, "hidden_dropout": 0.1, "num_hidden_layers": 1},
}


def run_arguments(stage1, output, **more):
    options = {"data": str(stage1 / "rows"), "tokenizer": str(stage1 / "tokenizer"), "max_length": 64}
    if "model" not in more:
        options["model_config"] = RUN_MODEL
    return arguments(output, **{**options, "per_device_train_batch_size": 4, **more})


def test_evaluation_while_training(held, tmp_path):
    args = run_arguments(held, tmp_path / "run", eval_strategy="steps", eval_steps=2, max_steps=4, eval_passes=3)
    seen = Seen()
    train_mlm_with(args, seen)
    evaluations = [logs for logs in seen.logs if "eval_loss" in logs]
    assert len(evaluations) == 2
    for logs in evaluations:
        assert {name for name in logs if "_" in name} == {
            *("eval_loss", "eval_perplexity", "eval_perplexity_javascript", "eval_perplexity_python")
        }
        assert logs["eval_perplexity"] == pytest.approx(math.exp(logs["eval_loss"]))
        assert 1 < logs["eval_perplexity_javascript"] != logs["eval_perplexity_python"] > 1
    assert evaluations[0]["eval_loss"] != evaluations[1]["eval_loss"]


def train_mlm_with(args, callback):
    """Train with one more callback, as a tracker would be."""
    from trainers import mlm

    class Trainer(MlmTrainer):
        def __init__(self, **kwargs):
            super().__init__(**kwargs)
            self.add_callback(callback)

    original, mlm.MlmTrainer = mlm.MlmTrainer, Trainer
    try:
        return train_mlm(args)
    finally:
        mlm.MlmTrainer = original


def test_evaluation_is_on_other_repositories(held, tmp_path):
    args = run_arguments(held, tmp_path, eval_documents=5)
    train, test = (load_split(args.data, split) for split in ("train", "test"))
    assert not set(train["repo"]) & set(test["repo"]) and len(test) > 5
    rows = held_out(args, packed=True)
    found = [rows[row] for row in range(len(rows))]
    parts = [part.tolist() for f in found for part in np.split(f["input_ids"], f["document_lengths"].cumsum()[:-1])]
    first = [[row["input_ids"] for row in test if row["language"] == name][:5] for name in rows.languages]
    assert rows.languages == ["javascript", "python"] and sorted(parts) == sorted(first[0] + first[1])


def test_without_held_out_data_evaluation_is_refused(held, tmp_path):
    data = tmp_path / "rows"
    data.mkdir()
    for path in (held / "rows").iterdir():
        if not path.name.startswith("test"):
            (data / path.name).write_bytes(path.read_bytes())
    args = run_arguments(held, tmp_path / "run", data=str(data), eval_strategy="steps", eval_steps=1)
    with pytest.raises(FileNotFoundError, match=r"no split 'test'. Rebuild .* Or train with --eval_strategy no\."):
        train_mlm(args)


@pytest.mark.parametrize(
    ("kind", "streaming"), [("bert", False), ("bert", True), ("roberta", False), ("modernbert", False)]
)
def test_any_masked_lm_trains(held, tmp_path, kind, streaming):
    from transformers import AutoTokenizer

    AutoTokenizer.from_pretrained(held / "tokenizer").save_pretrained(tmp_path / "start")
    FOREIGN[kind]().save_pretrained(tmp_path / "start")
    more = {"model": str(tmp_path / "start"), "tokenizer": None, "optim": "adamw_torch", "learning_rate": 3e-3}
    args = run_arguments(
        held, tmp_path / "run", **more, streaming=streaming, max_steps=20, eval_strategy="steps", eval_steps=20
    )
    seen = Seen()
    model = AutoModelForMaskedLM.from_pretrained(train_mlm_with(args, seen))
    assert model.config.model_type == kind
    losses = [logs["loss"] for logs in seen.logs if "loss" in logs]
    assert len(losses) == 20 and np.mean(losses[-5:]) < np.mean(losses[:5]) - 0.3
    assert any("loss_random" in logs for logs in seen.logs) and any("loss_dobf" in logs for logs in seen.logs)
    assert seen.logs[-1].get("train_loss") and any("eval_perplexity_python" in logs for logs in seen.logs)
    record = json.loads((tmp_path / "run" / "run.json").read_text())
    assert record["recipe"]["per_device_train_batch_size"] == 4
    # A batch holds 4 x 64 tokens with padding; documents of similar length leave little of it.
    assert 0.6 * 20 * 256 < record["tokens"] <= 20 * 256


def test_what_does_not_fit_the_model_is_refused(stage1, tmp_path):
    """RoBERTa counts positions from behind the one of padding: of 40, with padding at 2, 37 are left."""
    model = FOREIGN["roberta"](max_position_embeddings=40)
    check_fit(model, 1024, 37)
    ids = torch.full((1, 37), 9)
    assert model(input_ids=ids, attention_mask=torch.ones_like(ids)).logits.shape == (1, 37, 1024)
    with pytest.raises(ValueError, match="max_length=38 exceeds the model's max_position_embeddings=37"):
        check_fit(model, 1024, 38)
    with pytest.raises((IndexError, RuntimeError)):
        model(input_ids=torch.full((1, 38), 9))
    with pytest.raises(ValueError, match="the tokenizer has 1025 tokens, the model 1024. Name the model's own"):
        check_fit(FOREIGN["bert"](), 1025, 64)
    with pytest.raises(ValueError, match="max_length=65 exceeds the model's max_position_embeddings=64"):
        train_mlm(run_arguments(stage1, tmp_path, max_length=65))
    with pytest.raises(ValueError, match="dataloader_persistent_workers would repeat the rows of the first epoch"):
        options = {"dataloader_persistent_workers": True, "dataloader_num_workers": 1}
        train_mlm(run_arguments(stage1, tmp_path, **options))
    with pytest.raises(ValueError, match="streaming needs max_steps: how long an epoch is shows only at its end"):
        train_mlm(run_arguments(stage1, tmp_path, streaming=True, max_steps=-1))


# other tokenizers

SPECIALS = {"wordpiece": ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]}
SPECIALS["bytelevel"] = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]


def foreign_tokenizer(kind, texts):
    """A tokenizer as BERT's or as RoBERTa's."""
    specials = SPECIALS[kind]
    options = {"vocab_size": 1000, "special_tokens": specials, "show_progress": False}
    if kind == "wordpiece":
        tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
        tokenizer.normalizer, tokenizer.pre_tokenizer = normalizers.BertNormalizer(), pre_tokenizers.BertPreTokenizer()
        tokenizer.train_from_iterator(texts, trainers.WordPieceTrainer(**options))
        tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
        names = dict(zip(("pad_token", "unk_token", "cls_token", "sep_token", "mask_token"), specials, strict=True))
    else:
        tokenizer = Tokenizer(models.BPE())
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        alphabet = pre_tokenizers.ByteLevel.alphabet()
        tokenizer.train_from_iterator(texts, trainers.BpeTrainer(**options, initial_alphabet=alphabet))
        tokenizer.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0))
        names = dict(zip(("bos_token", "pad_token", "eos_token", "unk_token", "mask_token"), specials, strict=True))
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, **names)


@pytest.mark.parametrize("kind", SPECIALS)
def test_identifiers_align_with_the_tokens_of_other_tokenizers(kind, sources):
    """The tokens of an identifier are those of its text, at each of its places; documents end with EOS or SEP."""
    source = sources[0][:12_000].rsplit(b"\n", 1)[0]
    tokenizer = foreign_tokenizer(kind, [text.decode() for text in sources[:3]])
    (row,) = Stage1Extractor(tokenizer, 8192, keep_license=True)(
        SourceFile("0", source.decode(), "python", "r", "p")
    ).rows
    assert row.input_ids[-1] == (3 if kind == "wordpiece" else 2)
    names = find_identifiers(parse(source, "python"), "python")
    starts = np.flatnonzero(np.diff(row.identifier_ids, prepend=0) != 0)
    runs = [(start, end) for start, end in zip(starts, [*starts[1:], len(row.input_ids)], strict=True)]
    runs = [(start, end) for start, end in runs if row.identifier_ids[start]]
    assert len(runs) == len(names) > 30
    for (start, end), name in zip(runs, names, strict=True):
        blank = b" " if source[name.start - 1 : name.start] == b" " else b""
        text = (blank + source[name.start : name.end]).decode()
        assert row.input_ids[start:end].tolist() == tokenizer(text, add_special_tokens=False)["input_ids"]
        assert (row.identifier_ids[start:end] == row.identifier_ids[start]).all()
    plain = tokenizer(source.decode(), add_special_tokens=False)["input_ids"]
    if kind == "wordpiece":  # it splits at every border of a name; RoBERTa's merges some signs with names: `._`
        assert row.input_ids[:-1].tolist() == plain


@pytest.mark.parametrize("kind", SPECIALS)
def test_data_of_other_tokenizers_from_the_front_door(kind, corpus, sources, tmp_path, capfd):
    foreign_tokenizer(kind, [text.decode() for text in sources[:3]]).save_pretrained(tmp_path / "start")
    model = FOREIGN["bert" if kind == "wordpiece" else "roberta"]
    pad = {"wordpiece": 0, "bytelevel": 1}[kind]
    made = model() if kind == "wordpiece" else model(pad_token_id=pad)
    made.config.pad_token_id = pad
    made.save_pretrained(tmp_path / "start")
    data = ["--source", str(corpus / "csv.py"), "--test-share", "0", "--max-length", "64"]
    start, rows = str(tmp_path / "start"), str(tmp_path / "rows")
    assert coderep.main(["data", "stage1", *data, "--tokenizer", start, "--output", rows]) == 0
    sizes = ["--max_length", "64", "--max_steps", "2", "--per_device_train_batch_size", "2"]
    run = ["train", "mlm", "--model", start, "--data", rows, "--output_dir", str(tmp_path / "run"), *sizes]
    assert coderep.main(run) == 0
    assert (tmp_path / "run" / "model" / "tokenizer.json").is_file()


# by the front door


def test_a_run_that_diverges_ends_with_one_line(stage1, tmp_path, capfd):
    run = ["train", "mlm", "--data", str(stage1 / "rows"), "--tokenizer", str(stage1 / "tokenizer")]
    sizes = ["--max_length", "64", "--max_steps", "20", "--max_grad_norm", "0", "--learning_rate", "1e30"]
    options = ["--model_config", json.dumps(RUN_MODEL), "--lr_scheduler_type", "constant"]
    assert coderep.main([*run, "--output_dir", str(tmp_path / "run"), *sizes, *options]) == 1
    lines = [line for line in capfd.readouterr().err.splitlines() if line.startswith("coderep:")]
    assert len(lines) == 1 and re.search(r"(the loss became|a gradient is not a number).* at step \d+. Lower", lines[0])


def test_sequential_is_two_runs_and_goes_on_after_a_kill(start, stage1, tmp_path):
    data = ["--data", str(stage1 / "rows"), "--tokenizer", str(stage1 / "tokenizer"), "--objective", "sequential"]
    sizes = ["--max_length", "64", "--max_steps", "25", "--save_steps", "4", "--per_device_train_batch_size", "2"]
    options = [*data, *sizes, "--model_config", json.dumps(RUN_MODEL), "--logging_steps", "1"]

    def launch(name):
        return start(["train", "mlm", *options, "--output_dir", str(tmp_path / name)], tmp_path / f"{name}.log")

    whole = launch("whole")
    cut = launch("cut")
    deadline = time.monotonic() + 120
    while not (tmp_path / "cut" / "dobf" / "checkpoint-4" / "complete").is_file():
        assert cut.is_alive() and time.monotonic() < deadline, (tmp_path / "cut.log").read_text()
        time.sleep(0.002)
    os.kill(cut.pid, signal.SIGKILL)
    cut.join(60)
    assert cut.exitcode == -signal.SIGKILL and not (tmp_path / "cut" / "dobf" / "model").exists()
    again = launch("cut")
    for process, name in ((whole, "whole"), (again, "cut")):
        process.join(120)
        assert process.exitcode == 0, (tmp_path / f"{name}.log").read_text()
        assert (tmp_path / f"{name}.log").read_text().splitlines()[-1] == str(tmp_path / name / "dobf" / "model")
    one, two = (load_file(tmp_path / name / "dobf" / "model" / "model.safetensors") for name in ("whole", "cut"))
    assert all(torch.equal(one[name], two[name]) for name in one)
    for part, steps, other in (("random", 12, "dobf"), ("dobf", 13, "random")):
        record = json.loads((tmp_path / "whole" / part / "run.json").read_text())
        assert record["recipe"]["objective"] == part and record["log"][-1]["step"] == steps
        share = [logs.get(f"predicted_{other}", 0) for logs in record["log"]]
        own = [logs.get(f"predicted_{part}", 0) for logs in record["log"]]
        # Documents without identifiers take random masking, also in the second part.
        assert sum(own) and (part == "dobf" or not any(share))
    seeds = [json.loads((tmp_path / "whole" / part / "run.json").read_text())["seed"] for part in ("random", "dobf")]
    assert seeds[0] != seeds[1]  # else the second half would see the rows of the first


def test_sequential_needs_steps_to_halve(stage1, tmp_path):
    with pytest.raises(ValueError, match="objective 'sequential' needs max_steps, at least 2, to halve them; got -1"):
        train_mlm(run_arguments(stage1, tmp_path, objective="sequential", max_steps=-1))


# recipes

RECIPES = Path(__file__).parents[1] / "trainers" / "recipes"


@pytest.mark.parametrize("name", ["tiny", "mini", "small", "base", "large"])
def test_recipes_have_the_size_that_they_are_named_after(name, tmp_path):
    path = RECIPES / f"{name}.yaml"
    args = parse_arguments(MlmArguments, "mlm", ["--config", str(path), "--output_dir", str(tmp_path)])
    fields = dict(args.model_config)
    config = CodeRepConfig.from_preset(fields.pop("preset"), **fields)
    plain = CodeRepConfig.from_preset(name)
    for field in ("hidden_size", "num_hidden_layers", "num_attention_heads"):
        assert getattr(config, field) == getattr(plain, field)
    assert args.max_length <= config.max_position_embeddings and args.objective == "parallel"
    assert (args.mlm_rate, args.mask_share, args.dobf_probability) == (0.15, 1.0, 0.5)
    if name in ("tiny", "mini"):
        return
    # The paper: 2,048 rows of 1,024 tokens, 250,000 steps, warmup 5,000, learning rate 3e-4, dropout 0.1.
    processes = int(re.search(r"for\s+(\d+)\s+accelerators", path.read_text().replace("#", ""))[1])
    assert args.per_device_train_batch_size * args.gradient_accumulation_steps * processes == 2048
    assert (args.max_length, args.max_steps, args.warmup_steps, args.learning_rate) == (1024, 250_000, 5000, 3e-4)
    assert (config.embedding_dropout, config.hidden_dropout, config.attention_dropout) == (0.1, 0.1, 0.1)


def test_recipes_refuse_unknown_keys(tmp_path):
    recipe = (RECIPES / "tiny.yaml").read_text().replace("mlm_rate:", "mlm_rates:")
    (tmp_path / "recipe.yaml").write_text(recipe)
    with pytest.raises(ValueError, match="unknown key 'mlm_rates' in recipe .* Did you mean 'mlm_rate'"):
        parse_arguments(MlmArguments, "mlm", ["--config", str(tmp_path / "recipe.yaml")])
