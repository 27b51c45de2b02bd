"""The encoder in other people's hands: sentence-transformers, PEFT, pipelines, Trainer, datasets, ONNX."""

from __future__ import annotations

import copy
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from datasets import Dataset
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import (
    AutoModel,
    AutoModelForMaskedLM,
    AutoModelForSequenceClassification,
    DataCollatorWithPadding,
    Trainer,
    TrainingArguments,
    pipeline,
)

import coderep
from hub_cards import export_checkpoint, export_onnx, publish_checkpoint
from hub_cards.verify import run_elsewhere
from modeling_coderep import CodeRepConfig, CodeRepForMaskedLM, CodeRepModel
from trainers.checkpoints import save_model
from trainers.encode import load_encoder
from trainers.onnx_encoder import OnnxEncoder

ROOT = Path(coderep.__file__).resolve().parent
TEXTS = ["read a file line by line", "def area(r):\n    return 3.14159 * r**2\n", "", "x " * 300]
MODERN = {"position_embedding": "rotary", "gated_mlp": True, "use_bias": False, "local_attention": 3}


@pytest.fixture(scope="module", params=["codesage", "modern"])
def checkpoint(request, tokenizer, tmp_path_factory):
    """An exported checkpoint with a masked-LM head, in both architectures; tests leave it as it is."""
    config = CodeRepConfig(
        vocab_size=1024,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=64,
        max_position_embeddings=128,
        embedding_dropout=0,
        hidden_dropout=0,
        attention_dropout=0,
        initializer_range=0.2,  # embeddings far from each other
        **(MODERN if request.param == "modern" else {}),
    )
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp(request.param)
    save_model(CodeRepForMaskedLM(config), tokenizer, folder / "model")
    return export_checkpoint(folder / "model", folder / "my checkpoint")


HEADS = {
    "AutoModel": "CodeRepModel",
    "AutoModelForMaskedLM": "CodeRepForMaskedLM",
    "AutoModelForSequenceClassification": "CodeRepForSequenceClassification",
    "AutoModelForTokenClassification": "CodeRepForTokenClassification",
}


def test_every_head_loads_without_coderep(tiny_config, tokenizer, tmp_path):
    """In one process, since most of its time goes into importing transformers."""
    import transformers

    import modeling_coderep

    batch = tokenizer(TEXTS, padding=True, truncation=True, return_tensors="pt")
    loads, here = [], []
    for auto_class, name in HEADS.items():
        save_model(getattr(modeling_coderep, name)(tiny_config), tokenizer, tmp_path / name)
        exported = export_checkpoint(tmp_path / name, tmp_path / f"exported {name}")
        loads.append((exported, auto_class))
        model = getattr(transformers, auto_class).from_pretrained(exported).eval()
        if auto_class == "AutoModel":
            here.append(model.encode(TEXTS))
        else:
            outputs = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"])
            here.append(outputs.logits.detach().numpy())
    for found, expected, auto_class in zip(run_elsewhere(loads, TEXTS), here, HEADS, strict=True):
        np.testing.assert_array_equal(found, expected, err_msg=auto_class)


def test_sentence_transformers_gives_the_vectors_of_encode(checkpoint):
    sentence_transformers = pytest.importorskip("sentence_transformers")
    model = sentence_transformers.SentenceTransformer(str(checkpoint), device="cpu")
    np.testing.assert_allclose(model.encode(TEXTS), AutoModel.from_pretrained(checkpoint).encode(TEXTS), atol=1e-5)
    assert model.get_embedding_dimension() == 32


def test_sentence_transformers_trains_it(checkpoint, tmp_path):
    sentence_transformers = pytest.importorskip("sentence_transformers")
    from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss

    model = sentence_transformers.SentenceTransformer(str(checkpoint), device="cpu")
    words = ["alpha", "beta", "gamma", "delta", "list", "file", "socket", "thread"]
    pairs = Dataset.from_dict({"anchor": words, "positive": [f"def {word}(): pass" for word in words]})

    def rank_of_own():
        texts, codes = model.encode(pairs["anchor"][:]), model.encode(pairs["positive"][:])
        scores = torch.nn.functional.cosine_similarity(torch.tensor(texts)[:, None], torch.tensor(codes)[None], dim=-1)
        return float((scores >= scores.diagonal()[:, None]).float().sum(1).mean())

    before = rank_of_own()
    sentence_transformers.SentenceTransformerTrainer(
        model=model,
        args=sentence_transformers.SentenceTransformerTrainingArguments(
            str(tmp_path / "st"), max_steps=40, per_device_train_batch_size=8, learning_rate=5e-3, report_to="none",
            disable_tqdm=True, save_strategy="no", use_cpu=True,
        ),
        train_dataset=pairs,
        loss=MultipleNegativesRankingLoss(model),
    ).train()  # fmt: skip
    assert rank_of_own() < before
    model.save(str(tmp_path / "saved"))
    again = sentence_transformers.SentenceTransformer(str(tmp_path / "saved"), device="cpu")
    np.testing.assert_allclose(again.encode(TEXTS), model.encode(TEXTS), atol=1e-6)


def test_lora_trains_saves_merges_and_loads_again(checkpoint, tokenizer, tmp_path):
    torch.manual_seed(0)
    base = AutoModel.from_pretrained(checkpoint)
    before = base.encode(TEXTS)
    config = LoraConfig(r=4, target_modules=["qkv", "out", "up", "down"], task_type="FEATURE_EXTRACTION")
    model = get_peft_model(copy.deepcopy(base), config)
    optimizer = torch.optim.Adam((p for p in model.parameters() if p.requires_grad), lr=1e-2)
    batch = tokenizer(TEXTS[:2], padding=True, return_tensors="pt")
    for _ in range(5):
        optimizer.zero_grad()
        outputs = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"])
        outputs.pooler_output.pow(2).mean().backward()
        optimizer.step()
    trained = model.encode(TEXTS, tokenizer)
    assert np.abs(trained - before).max() > 1e-3
    model.save_pretrained(tmp_path / "adapter")
    again = PeftModel.from_pretrained(AutoModel.from_pretrained(checkpoint), tmp_path / "adapter")
    np.testing.assert_allclose(again.encode(TEXTS, tokenizer), trained, atol=1e-6)
    merged = again.merge_and_unload()
    np.testing.assert_allclose(merged.encode(TEXTS, tokenizer), trained, atol=1e-4)
    merged.save_pretrained(tmp_path / "merged")
    np.testing.assert_allclose(
        AutoModel.from_pretrained(tmp_path / "merged").encode(TEXTS, tokenizer), trained, atol=1e-4
    )


def test_feature_extraction_pipeline(checkpoint):
    extract = pipeline("feature-extraction", model=str(checkpoint), tokenizer=str(checkpoint))
    states = np.array(extract(TEXTS[1])[0])
    np.testing.assert_allclose(states.mean(0), AutoModel.from_pretrained(checkpoint).encode([TEXTS[1]])[0], atol=1e-5)


def test_fill_mask_pipeline(checkpoint, tokenizer):
    fill = pipeline("fill-mask", model=str(checkpoint), tokenizer=str(checkpoint))
    text = f"def {tokenizer.mask_token}(x): return x"
    answers = fill(text, top_k=3)
    batch = tokenizer(text, return_tensors="pt")
    model = AutoModelForMaskedLM.from_pretrained(checkpoint).eval()
    logits = model(batch["input_ids"]).logits[batch["input_ids"] == tokenizer.mask_token_id]
    best = logits.softmax(-1)[0].topk(3)
    assert [answer["token"] for answer in answers] == best.indices.tolist()
    assert [answer["score"] for answer in answers] == pytest.approx(best.values.tolist(), abs=1e-5)


def test_trainer_fine_tunes_a_classifier(checkpoint, tokenizer, tmp_path):
    torch.manual_seed(0)
    texts = [f"def f{i}(x): return x + {i}" if i % 2 else f"class C{i}: pass" for i in range(40)]
    rows = Dataset.from_dict({"text": texts, "label": [i % 2 for i in range(40)]})
    rows = rows.map(lambda row: tokenizer(row["text"], truncation=True), remove_columns="text")
    model = AutoModelForSequenceClassification.from_pretrained(checkpoint, num_labels=2)
    trainer = Trainer(
        model,
        TrainingArguments(
            str(tmp_path / "run"), num_train_epochs=10, per_device_train_batch_size=8, learning_rate=3e-3,
            report_to="none", disable_tqdm=True, save_strategy="no", use_cpu=True, logging_strategy="no",
        ),
        train_dataset=rows,
        data_collator=DataCollatorWithPadding(tokenizer),
        compute_metrics=lambda output: {"accuracy": float((output.predictions.argmax(-1) == output.label_ids).mean())},
    )  # fmt: skip
    trainer.train()
    assert trainer.evaluate(rows)["eval_accuracy"] > 0.95


def test_accumulated_gradients_equal_those_of_a_larger_batch(checkpoint, tokenizer, tmp_path):
    """Trainer and heads agree on who divides the loss by the number of accumulation steps."""
    rows = Dataset.from_dict({"text": TEXTS, "label": [0, 1, 0, 1]})
    rows = rows.map(lambda row: tokenizer(row["text"], truncation=True), remove_columns="text")
    weights = []
    for batch_size, steps in ((4, 1), (2, 2)):
        torch.manual_seed(0)
        model = AutoModelForSequenceClassification.from_pretrained(checkpoint, num_labels=2, classifier_dropout=0.0)
        Trainer(
            model,
            TrainingArguments(
                str(tmp_path / "run"), max_steps=1, per_device_train_batch_size=batch_size, learning_rate=0.1,
                gradient_accumulation_steps=steps, optim="sgd", max_grad_norm=0, report_to="none", disable_tqdm=True,
                save_strategy="no", use_cpu=True, logging_strategy="no", lr_scheduler_type="constant",
            ),
            train_dataset=rows,
            data_collator=DataCollatorWithPadding(tokenizer),
        ).train()  # fmt: skip
        weights.append(model.classifier.weight.detach().clone())
    torch.testing.assert_close(weights[0], weights[1], rtol=1e-5, atol=1e-6)


def test_datasets_map_encodes_a_column(checkpoint):
    model = AutoModel.from_pretrained(checkpoint)
    rows = Dataset.from_dict({"code": TEXTS})
    encoded = rows.map(lambda batch: {"embedding": model.encode(batch["code"])}, batched=True, batch_size=2)
    np.testing.assert_allclose(np.array(encoded["embedding"][:]), model.encode(TEXTS), atol=1e-5)


def test_device_map_and_dtype(checkpoint):
    plain = AutoModel.from_pretrained(checkpoint)
    placed = AutoModel.from_pretrained(checkpoint, device_map="cpu", dtype=torch.bfloat16)
    assert placed.dtype == torch.bfloat16
    np.testing.assert_allclose(placed.encode(TEXTS), plain.encode(TEXTS), atol=0.1)


def test_layers_are_linear_so_that_quantisers_find_them(checkpoint):
    """Weights but for embeddings are those of `nn.Linear`; rounded to 8 bits by output channel, embeddings hold."""
    model = AutoModel.from_pretrained(checkpoint)
    expected = model.encode(TEXTS, normalize=True)
    linear = [module for module in model.modules() if isinstance(module, torch.nn.Linear)]
    assert len(linear) == 4 * len(model.layers)
    matrices = [p for name, p in model.named_parameters() if p.dim() == 2 and not name.startswith("embeddings.")]
    assert len(matrices) == len(linear)
    with torch.no_grad():
        for module in linear:
            scale = module.weight.abs().amax(dim=1, keepdim=True) / 127
            module.weight.copy_((module.weight / scale).round() * scale)
    assert (model.encode(TEXTS, normalize=True) * expected).sum(-1).min() > 0.999


# ONNX


@pytest.fixture(scope="module")
def onnx_checkpoint(checkpoint, tmp_path_factory):
    pytest.importorskip("onnxscript")
    pytest.importorskip("onnxruntime")
    folder = shutil.copytree(checkpoint, tmp_path_factory.mktemp("onnx") / "my checkpoint")
    export_onnx(folder)
    return folder


def padded_batch(rows, tokens):
    ids = torch.randint(3, 1024, (rows, tokens))
    lengths = torch.randint(1, tokens + 1, (rows,))
    lengths[0] = tokens
    return {"input_ids": ids, "attention_mask": (torch.arange(tokens) < lengths[:, None]).long()}


def test_onnx_gives_what_torch_gives(onnx_checkpoint):
    import onnxruntime

    model = AutoModel.from_pretrained(onnx_checkpoint).eval()
    session = onnxruntime.InferenceSession(onnx_checkpoint / "onnx/model.onnx", providers=["CPUExecutionProvider"])
    assert [value.shape for value in session.get_inputs()] == [["batch", "tokens"]] * 2
    for rows, tokens in ((1, 1), (1, 9), (3, 17), (4, 128)):
        batch = padded_batch(rows, tokens)
        outputs = model(**batch)
        states, pooled = session.run(
            ["last_hidden_state", "pooler_output"], {name: value.numpy() for name, value in batch.items()}
        )
        real = batch["attention_mask"].bool().numpy()
        np.testing.assert_allclose(states[real], outputs.last_hidden_state.detach().numpy()[real], atol=1e-4)
        np.testing.assert_allclose(pooled, outputs.pooler_output.detach().numpy(), atol=1e-4)


def test_onnx_encoder_gives_what_encode_gives(onnx_checkpoint):
    expected = load_encoder(onnx_checkpoint).encode(TEXTS)
    np.testing.assert_allclose(OnnxEncoder(onnx_checkpoint).encode(TEXTS), expected, atol=1e-4)
    small = OnnxEncoder(onnx_checkpoint, "onnx/model_quantized.onnx").encode(TEXTS)
    assert (small * expected).sum(-1).min() > 0.97
    assert OnnxEncoder(onnx_checkpoint).encode([]).shape == (0, 32)
    with pytest.raises(FileNotFoundError, match="Write it: coderep onnx"):
        OnnxEncoder(onnx_checkpoint, "onnx/other.onnx")


def test_int8_file_holds_int8_weights(onnx_checkpoint):
    import onnx

    def products(name):
        graph = onnx.load(onnx_checkpoint / "onnx" / name).graph
        return [node.op_type for node in graph.node if node.op_type.startswith("MatMul")], graph

    whole, _ = products("model.onnx")
    quantised, graph = products("model_quantized.onnx")
    layers = 2
    assert whole.count("MatMul") == 6 * layers  # four weights, scores, values
    assert quantised.count("MatMulInteger") == 4 * layers
    assert sum(i.data_type in (onnx.TensorProto.INT8, onnx.TensorProto.UINT8) for i in graph.initializer) >= 4 * layers


def test_onnx_files_name_nothing_of_this_machine(onnx_checkpoint):
    for path in (onnx_checkpoint / "onnx").iterdir():
        content = path.read_bytes()
        for trace in (b"site-packages", b"modeling_coderep.py", str(onnx_checkpoint).encode()):
            assert trace not in content, f"{path.name} holds {trace}"


@pytest.mark.slow
def test_onnx_command(checkpoint, tmp_path):
    """In a process of its own, where nothing has imported the model classes before."""
    pytest.importorskip("onnxscript")
    folder = shutil.copytree(checkpoint, tmp_path / "copy")
    command = [sys.executable, "-m", "coderep", "onnx"]
    done = subprocess.run([*command, str(folder)], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "model.onnx" in done.stdout and "model_quantized.onnx" in done.stdout
    assert "[torch.onnx]" not in done.stdout
    done = subprocess.run([*command, str(tmp_path)], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "it has no config.json" in done.stderr


def test_published_folder_takes_its_onnx_files_along(onnx_checkpoint):
    (onnx_checkpoint / "README.md").write_text("card")
    assert Path("onnx/model.onnx") in publish_checkpoint(onnx_checkpoint, "me/name")


def test_masked_lm_checkpoint_serves_every_task(checkpoint):
    """One checkpoint: encoder, masked-LM head as trained, new classification head."""
    masked = AutoModelForMaskedLM.from_pretrained(checkpoint)
    encoder = AutoModel.from_pretrained(checkpoint)
    assert isinstance(encoder, CodeRepModel)
    for (name, mine), theirs in zip(masked.encoder.state_dict().items(), encoder.state_dict().values(), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=0, atol=0, msg=name)
