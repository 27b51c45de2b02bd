"""The encoder against slow obvious versions, and its behaviour at the edges."""

from __future__ import annotations

import copy
import math

import numpy as np
import pytest
import torch
from huggingface_hub.errors import StrictDataclassError
from tokenizers import processors
from torch import nn
from transformers import (
    AutoModel,
    AutoModelForMaskedLM,
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
    DataCollatorForMultipleChoice,
)

from modeling_coderep import (
    POOLERS,
    PRESETS,
    CodeRepConfig,
    CodeRepForMaskedLM,
    CodeRepForSequenceClassification,
    CodeRepModel,
    encode_texts,
)
from modeling_coderep.attention_coderep import AttentionPlan
from modeling_coderep.encoding_coderep import token_budget_batches


@pytest.fixture
def model(tiny_config):
    return CodeRepModel(tiny_config).eval()


def ids(rows, tokens):
    return torch.randint(3, 1024, (rows, tokens))


def test_padding_changes_nothing(model):
    row = ids(1, 6)
    padded = torch.cat([row, torch.full((1, 4), 2)], dim=1)
    mask = torch.tensor([[1] * 6 + [0] * 4])
    expected, got = model(row), model(padded, attention_mask=mask)
    torch.testing.assert_close(got.last_hidden_state[:, :6], expected.last_hidden_state, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(got.pooler_output, expected.pooler_output, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("backend", ["eager", "sdpa"])
@pytest.mark.parametrize("pooling", ["mean", "cls", "last"])
def test_pad_only_rows_give_zeros_and_finite_gradients(tiny_config, pooling, backend):
    tiny_config.pooling = pooling
    model = CodeRepModel._from_config(tiny_config, attn_implementation=backend)
    mask = torch.tensor([[1, 1, 0], [0, 0, 0]])
    pooled = model(ids(2, 3), attention_mask=mask).pooler_output
    assert torch.equal(pooled[1], torch.zeros(32))
    assert pooled[0].abs().sum() > 0
    pooled.pow(2).sum().backward()
    assert all(torch.isfinite(parameter.grad).all() for parameter in model.parameters())


def test_poolers_by_hand():
    hidden = torch.tensor([[[1.0, 2.0], [3.0, 6.0], [float("nan"), 9.0]]])
    mask = torch.tensor([[1, 1, 0]])
    assert POOLERS["mean"](hidden, mask).tolist() == [[2.0, 4.0]]
    assert POOLERS["cls"](hidden, mask).tolist() == [[1.0, 2.0]]
    assert POOLERS["last"](hidden, mask).tolist() == [[3.0, 6.0]]


def test_layer_is_the_pre_ln_transformer_written_out(model):
    """One layer against the formula: x + attention(LN x), then x + MLP(LN x)."""
    layer, x = model.layers[0], torch.randn(1, 6, 32)
    normed = layer.attention_norm(x)
    q, k, v = layer.attention.qkv(normed).view(6, 3, 4, 8).unbind(1)
    heads = []
    for head in range(4):
        scores = q[:, head] @ k[:, head].T / math.sqrt(8)
        heads.append(scores.softmax(-1) @ v[:, head])
    x1 = x + layer.attention.out(torch.cat(heads, dim=-1)).unsqueeze(0)
    mlp = layer.mlp
    expected = x1 + mlp.down(nn.functional.gelu(mlp.up(layer.mlp_norm(x1)), approximate="tanh"))
    torch.testing.assert_close(layer(x, AttentionPlan()), expected, rtol=1e-5, atol=1e-5)


def test_loss_at_predicted_positions_equals_dense_loss(tiny_config):
    """Skipping the projection elsewhere changes neither the value nor any gradient."""
    sparse = CodeRepForMaskedLM(tiny_config).train()
    dense = copy.deepcopy(sparse)
    tokens = ids(3, 10)
    labels = torch.where(torch.rand(3, 10) < 0.3, tokens, -100)
    loss = sparse(tokens, labels=labels).loss
    logits = dense(tokens).logits
    expected = nn.functional.cross_entropy(logits.view(-1, 1024), labels.view(-1), ignore_index=-100)
    torch.testing.assert_close(loss, expected)
    loss.backward()
    expected.backward()
    for (name, mine), theirs in zip(sparse.named_parameters(), dense.parameters(), strict=True):
        torch.testing.assert_close(mine.grad, theirs.grad, rtol=1e-4, atol=1e-6, msg=name)


def test_masked_lm_gives_the_logits_asked_for(tiny_config):
    model, tokens = CodeRepForMaskedLM(tiny_config).eval(), ids(2, 7)
    labels = tokens.masked_fill(torch.arange(7) > 2, -100)
    everywhere = model(tokens, labels=labels)
    assert everywhere.logits.shape == (2, 7, 1024)
    predicted = model(tokens, labels=labels, all_logits=False)
    torch.testing.assert_close(predicted.logits, everywhere.logits[labels != -100])
    torch.testing.assert_close(predicted.loss, everywhere.loss)
    model.train()
    assert model(tokens, labels=labels).logits.shape == (6, 1024)
    assert model(tokens, labels=labels, all_logits=True).logits.shape == (2, 7, 1024)
    with pytest.raises(ValueError, match="all_logits=False needs labels"):
        model(tokens, all_logits=False)


def test_no_predicted_position_gives_zero_loss(tiny_config):
    model, tokens, none = CodeRepForMaskedLM(tiny_config).train(), ids(1, 4), torch.full((1, 4), -100)
    for count in (None, 0, torch.tensor(0)):
        assert model(tokens, labels=none, num_items_in_batch=count).loss.item() == 0.0


def test_head_is_tied_through_saving(tiny_config, tmp_path):
    model = CodeRepForMaskedLM(tiny_config)
    model.save_pretrained(tmp_path)
    loaded = AutoModelForMaskedLM.from_pretrained(tmp_path)
    assert loaded.lm_head.weight is loaded.encoder.embeddings.tokens.weight
    encoder = AutoModel.from_pretrained(tmp_path)
    tokens = ids(1, 5)
    torch.testing.assert_close(
        encoder.eval()(tokens).pooler_output, model.encoder.eval()(tokens).pooler_output, rtol=0, atol=0
    )


@pytest.mark.parametrize(
    ("problem", "labels"),
    [
        ("single_label_classification", torch.tensor([0, 2])),
        ("multi_label_classification", torch.tensor([[1.0, 0, 1], [0, 0, 1]])),
        ("regression", torch.tensor([[0.1, 0.2, 0.3], [1, 2, 3]])),
    ],
)
def test_classification_learns_every_problem_type(tiny_config, problem, labels):
    tiny_config.num_labels, tiny_config.problem_type = 3, problem
    model = CodeRepForSequenceClassification(tiny_config).train()
    optimizer, tokens = torch.optim.Adam(model.parameters(), lr=1e-2), ids(2, 6)
    first = model(tokens, labels=labels).loss
    for _ in range(30):
        optimizer.zero_grad()
        loss = model(tokens, labels=labels).loss
        loss.backward()
        optimizer.step()
    assert loss < first / 2


def test_classification_refuses_packed_rows(tiny_config):
    model = AutoModelForSequenceClassification.from_config(tiny_config)
    with pytest.raises(ValueError, match="Give one document a row"):
        model(ids(1, 4), position_ids=torch.tensor([[0, 1, 0, 1]]))


def test_two_texts_are_classified_by_how_they_differ_and_agree(tiny_config):
    tiny_config.classifier_inputs = 2
    model = AutoModelForSequenceClassification.from_config(tiny_config).eval()
    left, right = ids(3, 6), ids(3, 6)
    mask = torch.ones(3, 2, 6, dtype=torch.long)
    mask[:, 1, 4:] = 0
    logits = model(torch.stack([left, right], dim=1), attention_mask=mask).logits
    swapped = model(torch.stack([right, left], dim=1), attention_mask=mask.flip(1)).logits
    torch.testing.assert_close(logits, swapped)
    u = model.encoder(left).pooler_output
    v = model.encoder(right[:, :4]).pooler_output
    expected = torch.cat([(u - v).abs(), u * v], dim=-1) @ model.classifier.weight.T + model.classifier.bias
    torch.testing.assert_close(logits, expected, rtol=1e-5, atol=1e-6)
    with pytest.raises(
        ValueError, match=r"needs pairs of rows, \(batch, 2, tokens\), got input_ids in the shape \(3, 6\)"
    ):
        model(left)


def test_clone_detection_is_learned_with_transformers_collator(tiny_config, tokenizer):
    """The collator for multiple choice makes the (batch, 2, tokens) input; equal pairs are told from unequal ones."""
    tiny_config.classifier_inputs, tiny_config.classifier_dropout = 2, 0
    model = AutoModelForSequenceClassification.from_config(tiny_config).train()
    texts = ["def a(): pass", "import os\nimport sys", "x = 1", "for i in range(3): print(i)"]
    features = [
        {**tokenizer([one, other]), "label": int(one == other)} for one in texts for other in (one, texts[0], texts[2])
    ]
    batch = DataCollatorForMultipleChoice(tokenizer)(features)
    assert batch["input_ids"].shape[:2] == (12, 2)
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    for _ in range(60):
        optimizer.zero_grad()
        outputs = model(batch["input_ids"], attention_mask=batch["attention_mask"], labels=batch["labels"])
        outputs.loss.backward()
        optimizer.step()
    assert (outputs.logits.argmax(-1) == batch["labels"]).all()


def test_tokens_are_classified_one_by_one(tiny_config):
    tiny_config.num_labels = 4
    model = AutoModelForTokenClassification.from_config(tiny_config).train()
    tokens = ids(2, 8)
    labels = (tokens % 4).masked_fill(torch.arange(8) == 7, -100)
    logits = model.eval()(tokens).logits
    expected = nn.functional.cross_entropy(logits.view(-1, 4), labels.view(-1), ignore_index=-100)
    torch.testing.assert_close(model(tokens, labels=labels).loss, expected)
    optimizer = torch.optim.Adam(model.train().parameters(), lr=1e-2)
    for _ in range(40):
        optimizer.zero_grad()
        loss = model(tokens, labels=labels).loss
        loss.backward()
        optimizer.step()
    assert loss < expected / 4


def test_gradient_checkpointing_changes_no_gradient(tiny_config):
    plain = CodeRepForMaskedLM(tiny_config).train()
    checkpointed = copy.deepcopy(plain)
    checkpointed.gradient_checkpointing_enable()
    tokens = ids(2, 8)
    for model in (plain, checkpointed):
        model(tokens, labels=tokens).loss.backward()
    for (name, mine), theirs in zip(plain.named_parameters(), checkpointed.parameters(), strict=True):
        torch.testing.assert_close(mine.grad, theirs.grad, msg=name)


def test_too_long_a_row_names_the_way_out(model):
    with pytest.raises(ValueError, match=r"129 tokens is longer than max_position_embeddings=128.*truncation=True"):
        model(ids(1, 129))


def test_both_or_no_inputs_are_refused(model):
    with pytest.raises(ValueError, match="exactly one of input_ids and inputs_embeds"):
        model()


@pytest.mark.parametrize(
    ("inputs", "error", "message"),
    [
        ({"input_ids": torch.tensor([[3, 1024]])}, ValueError, r"input_ids has the value 1024, outside \[0, 1023\]"),
        ({"input_ids": torch.tensor([[-1, 3]])}, ValueError, r"input_ids has the value -1.*tokenizer of this model"),
        ({"input_ids": torch.tensor([[0.5, 3]])}, TypeError, r"input_ids must be whole numbers.*torch.float32"),
        (
            {"input_ids": torch.tensor([[3, 4]]), "position_ids": torch.tensor([[127, 128]])},
            ValueError,
            r"position_ids has the value 128.*max_position_embeddings=128",
        ),
        (
            {"input_ids": torch.tensor([[3, 4]]), "attention_mask": torch.ones(1, 3)},
            ValueError,
            r"attention_mask has the shape \(1, 3\), the input \(1, 2\)",
        ),
    ],
)
def test_bad_input_is_named(model, inputs, error, message):
    with pytest.raises(error, match=message):
        model(**inputs)


def test_positions_beyond_the_limit_are_named_for_rotary_positions_too(tiny_config):
    tiny_config.position_embedding = "rotary"
    model = CodeRepModel(tiny_config)
    with pytest.raises(ValueError, match=r"position_ids has the value 128.*max_position_embeddings=128"):
        model(ids(1, 2), position_ids=torch.tensor([[127, 128]]))
    with pytest.raises(TypeError, match="position_ids must be whole numbers"):
        model(ids(1, 2), position_ids=torch.tensor([[0.0, 1.0]]))


def test_bad_labels_are_named(tiny_config):
    model = CodeRepForMaskedLM(tiny_config)
    with pytest.raises(ValueError, match=r"labels has the value 1024.*-100 marks positions"):
        model(torch.tensor([[3, 4]]), labels=torch.tensor([[1024, -100]]))


def test_embeddings_instead_of_ids(model):
    tokens = ids(2, 6)
    torch.testing.assert_close(
        model(inputs_embeds=model.get_input_embeddings()(tokens)).pooler_output, model(tokens).pooler_output
    )


def test_gated_layer_is_geglu_written_out(tiny_config):
    """arXiv 2002.05202: (gelu(x W) * x V) W2, without biases."""
    tiny_config.gated_mlp, tiny_config.use_bias = True, False
    model = CodeRepModel(tiny_config)
    assert not any(name.endswith("bias") for name, _ in model.named_parameters())
    mlp, x = model.layers[0].mlp, torch.randn(3, 32)
    w, v = mlp.up.weight.chunk(2)
    expected = (nn.functional.gelu(x @ w.T, approximate="tanh") * (x @ v.T)) @ mlp.down.weight.T
    torch.testing.assert_close(mlp(x), expected)


def test_mean_pooling_sums_in_float32():
    """2,000 tokens of 40 add up to more than float16 can hold."""
    hidden = torch.full((1, 2000, 1), 40.0, dtype=torch.float16)
    assert POOLERS["mean"](hidden, torch.ones(1, 2000)).item() == 40.0


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_stays_near(model, dtype):
    tokens = ids(2, 9)
    full = model(tokens).pooler_output
    half = copy.deepcopy(model).to(dtype)(tokens).pooler_output
    assert half.dtype == dtype
    torch.testing.assert_close(half.float(), full, rtol=0.05, atol=0.05)


def test_vocabulary_can_grow(tiny_config):
    model = CodeRepForMaskedLM(tiny_config).eval()
    tokens = ids(1, 4)
    before = model(tokens).logits
    model.resize_token_embeddings(1030)
    after = model(tokens).logits
    assert after.shape[-1] == model.config.vocab_size == 1030
    assert model.lm_head.weight is model.get_input_embeddings().weight
    torch.testing.assert_close(after[..., :1024], before)


@pytest.mark.parametrize("name", PRESETS)
@pytest.mark.parametrize("modern", [False, True])
def test_presets_build(name, modern):
    config = CodeRepConfig.from_preset(name, modern=modern, num_hidden_layers=1)
    assert config.num_hidden_layers == 1
    with torch.device("meta"):
        model = CodeRepModel(config)
    assert (model.embeddings.positions is None) == modern


def test_modern_presets_have_about_the_parameters_of_the_plain_ones():
    with torch.device("meta"):
        plain, modern = (
            CodeRepModel(CodeRepConfig.from_preset("small", modern=modern)).num_parameters() for modern in (False, True)
        )
    assert 0.95 < modern / plain < 1


def test_unknown_preset_names_the_known_ones():
    with pytest.raises(ValueError, match="unknown preset 'huge'. Known: tiny, mini, small, base, large"):
        CodeRepConfig.from_preset("huge")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"hidden_size": 30}, r"hidden_size=30 is not a multiple of num_attention_heads=4"),
        (
            {"hidden_size": 12, "position_embedding": "rotary"},
            r"rotary positions need an even number of units per head",
        ),
        ({"hidden_dropout": 1.0}, r"hidden_dropout must lie in \[0, 1\), got 1\.0"),
        ({"num_hidden_layers": 0}, r"num_hidden_layers must be at least 1, got 0"),
        ({"pad_token_id": 5000}, r"pad_token_id=5000 is outside the vocabulary of 1024"),
        ({"pooling": "max"}, r"pooling"),
        ({"hidden_act": "gelu_pytorch_tan"}, r"hidden_act='gelu_pytorch_tan'.*Did you mean gelu_pytorch_tanh"),
        ({"local_attention": 0}, r"local_attention must be at least 1, got 0"),
        ({"global_attention_every": 0}, r"global_attention_every must be at least 1"),
        ({"classifier_inputs": 3}, r"classifier_inputs"),
        ({"gated_mlp": "yes"}, r"gated_mlp"),
        ({"layer_norm_eps": -1.0}, r"layer_norm_eps must be above 0"),
        ({"rotary_base": 0}, r"rotary_base must be above 0"),
    ],
)
def test_config_refuses_nonsense(tiny_config, change, message):
    with pytest.raises(StrictDataclassError, match=message):
        CodeRepConfig(**{**tiny_config.to_dict(), **change})


# encode


def test_packed_texts_are_embedded_like_padded_ones(tiny_config, tokenizer):
    """sdpa packs texts into one row, eager attention pads them."""
    texts = ["def f(x):\n    return x", "", "sort a list", "import os\n" * 30]
    for pooling in POOLERS:
        tiny_config.pooling = pooling
        packed, padded = (
            CodeRepModel._from_config(copy.deepcopy(tiny_config), attn_implementation=backend)
            for backend in ("sdpa", "eager")
        )
        padded.load_state_dict(packed.state_dict())
        assert packed.embedder(tokenizer) == packed._embed_packed
        assert padded.embedder(tokenizer) != padded._embed_packed
        np.testing.assert_allclose(
            packed.encode(texts, tokenizer), padded.encode(texts, tokenizer), rtol=1e-5, atol=1e-5
        )


def test_left_padding_tokenizers_change_nothing(tiny_config, tokenizer):
    model = CodeRepModel._from_config(tiny_config, attn_implementation="eager")
    texts = ["def f(x):\n    return x", "x", "import os\n" * 9]
    expected = model.encode(texts, tokenizer)
    left = copy.deepcopy(tokenizer)
    left.padding_side = "left"
    np.testing.assert_allclose(model.encode(texts, left), expected, rtol=1e-5, atol=1e-5)


def test_empty_texts_without_eos_give_zeros(model, tokenizer):
    bare = copy.deepcopy(tokenizer)
    bare.backend_tokenizer.post_processor = processors.TemplateProcessing(single="$A", pair="$A $B", special_tokens=[])
    assert bare("")["input_ids"] == []
    np.testing.assert_array_equal(model.encode(["", ""], bare), np.zeros((2, 32), dtype=np.float32))
    vectors = model.encode(["", "x = 1"], bare)
    assert not vectors[0].any()
    assert vectors[1].any()


def test_encode_cuts_at_the_lower_of_both_limits(model, tokenizer):
    short = copy.deepcopy(tokenizer)
    short.model_max_length = 16
    text = "import os\n" * 30
    np.testing.assert_allclose(
        model.encode([text], short), model.encode([text], tokenizer, max_length=16), rtol=1e-5, atol=1e-5
    )
    assert not np.allclose(model.encode([text], short), model.encode([text], tokenizer), atol=1e-3)


def test_encode_refuses_another_models_tokenizer(tiny_config, tokenizer):
    tiny_config.vocab_size = 1000
    with pytest.raises(ValueError, match=r"tokenizer has 1024 tokens, the model a vocabulary of 1000"):
        CodeRepModel(tiny_config).encode(["x"], tokenizer)


def test_encode_is_the_same_whatever_the_batching(model, tokenizer):
    texts = ["def f(x):\n    return x", "", "sort a list", "import os\n" * 30, "x"]
    one_by_one = np.concatenate([model.encode([text], tokenizer) for text in texts])
    for batch_tokens in (1, 64, 100_000):
        together = model.encode(texts, tokenizer, batch_tokens=batch_tokens)
        np.testing.assert_allclose(together, one_by_one, rtol=1e-5, atol=1e-5)


def test_encode_options(model, tokenizer):
    texts = ["read a file", "write a file"]
    raw = model.encode(texts, tokenizer)
    short = model.encode(texts, tokenizer, dimensions=8, normalize=True)
    np.testing.assert_allclose(short, raw[:, :8] / np.linalg.norm(raw[:, :8], axis=1, keepdims=True), atol=1e-6)
    assert model.encode([], tokenizer).shape == (0, 32)
    assert torch.is_tensor(model.encode(texts, tokenizer, convert_to_tensor=True))
    with pytest.raises(TypeError, match=r"Wrap it: \[text\]"):
        model.encode("read a file", tokenizer)
    with pytest.raises(ValueError, match=r"dimensions must lie in \[1, 32\], got 33"):
        model.encode(texts, tokenizer, dimensions=33)
    with pytest.raises(ValueError, match=r"max_length must lie in \[1, 128\]"):
        model.encode(texts, tokenizer, max_length=129)
    with pytest.raises(ValueError, match="Pass one: model.encode"):
        model.encode(texts)


def test_encode_switches_dropout_off_and_training_back_on(tiny_config, tokenizer):
    tiny_config.hidden_dropout = 0.5
    model = CodeRepModel(tiny_config).train()
    first, second = (model.encode(["a b c"], tokenizer) for _ in range(2))
    np.testing.assert_array_equal(first, second)
    assert model.training
    model.final_norm.eval()  # someone's frozen part stays so
    model.encode(["a b c"], tokenizer)
    assert model.training
    assert not model.final_norm.training


def test_token_budget_batches_hold_every_index_once():
    lengths = [3, 50, 7, 7, 1, 20]
    batches = token_budget_batches(lengths, batch_tokens=21)
    assert sorted(index for batch in batches for index in batch) == list(range(6))
    assert all(len(batch) * max(lengths[i] for i in batch) <= 21 or len(batch) == 1 for batch in batches)
    with pytest.raises(ValueError, match="at least 1"):
        token_budget_batches(lengths, 0)


def test_text_that_looks_special_is_text(model, tokenizer):
    """A source file that mentions `<|endoftext|>` is not cut in two by it."""
    seen = []
    encode_texts(lambda ids: seen.extend(ids) or model.embedder(tokenizer)(ids), tokenizer, ["a <|endoftext|> b"])
    assert seen[0].count(tokenizer.eos_token_id) == 1
