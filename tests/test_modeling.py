"""The encoder against slow obvious versions, and its behaviour at the edges."""

from __future__ import annotations

import copy
import math

import numpy as np
import pytest
import torch
from huggingface_hub.errors import StrictDataclassError
from torch import nn
from transformers import AutoModel, AutoModelForMaskedLM, AutoModelForSequenceClassification

from modeling_coderep import (
    POOLERS,
    CodeRepConfig,
    CodeRepForMaskedLM,
    CodeRepForSequenceClassification,
    CodeRepModel,
    encode_texts,
)
from modeling_coderep.attention_coderep import AttentionPlan, rotary_angles, rotate
from modeling_coderep.encoding_coderep import token_budget_batches


@pytest.fixture
def model(tiny_config):
    return CodeRepModel(tiny_config).eval()


def ids(rows, tokens):
    return torch.randint(3, 1024, (rows, tokens))


@pytest.mark.parametrize("backend", ["eager", "sdpa"])
@pytest.mark.parametrize("positions", ["absolute", "rotary"])
@pytest.mark.parametrize("lengths", [(5, 7), (1, 10, 3), (14,)])
def test_packed_documents_equal_documents_alone(tiny_config, backend, positions, lengths):
    tiny_config._attn_implementation, tiny_config.position_embedding = backend, positions
    model = CodeRepModel(tiny_config).eval()
    documents = [ids(1, length) for length in lengths]
    positions = torch.cat([torch.arange(length) for length in lengths]).unsqueeze(0)
    packed = model(torch.cat(documents, dim=1), position_ids=positions).last_hidden_state
    alone = torch.cat([model(document).last_hidden_state for document in documents], dim=1)
    torch.testing.assert_close(packed, alone, rtol=1e-5, atol=1e-5)


def test_documents_in_a_row_would_see_each_other_without_restarts(model):
    """The test above can fail: without restarts the states differ."""
    first, second = ids(1, 5), ids(1, 7)
    together = model(torch.cat([first, second], dim=1)).last_hidden_state[:, :5]
    assert not torch.allclose(together, model(first).last_hidden_state, atol=1e-3)


def test_rotary_scores_depend_on_distance_alone():
    """The dot product of a query at i and a key at j is the same at i + 9 and j + 9, and not at another distance."""
    query, key = torch.randn(1, 1, 1, 8), torch.randn(1, 1, 1, 8)

    def score(i, j):
        turned = [
            rotate(states, *rotary_angles(torch.tensor([[place]]), 8, 10_000.0, torch.float32))
            for states, place in ((query, i), (key, j))
        ]
        return (turned[0] * turned[1]).sum().item()

    assert score(3, 1) == pytest.approx(score(12, 10), abs=1e-5)
    assert score(5, 5) == pytest.approx((query * key).sum().item(), abs=1e-5)
    assert abs(score(3, 1) - score(3, 2)) > 1e-3


def test_rotary_turns_each_pair_by_its_angle():
    # One pair, position 2, base 1: angle 2, so (1, 0) becomes (cos 2, sin 2).
    cos, sin = rotary_angles(torch.tensor([[2]]), 2, 1.0, torch.float32)
    assert rotate(torch.tensor([[[[1.0, 0.0]]]]), cos, sin).flatten().tolist() == pytest.approx(
        [math.cos(2), math.sin(2)]
    )


def test_padding_changes_nothing(model):
    row = ids(1, 6)
    padded = torch.cat([row, torch.full((1, 4), 2)], dim=1)
    mask = torch.tensor([[1] * 6 + [0] * 4])
    expected, got = model(row), model(padded, attention_mask=mask)
    torch.testing.assert_close(got.last_hidden_state[:, :6], expected.last_hidden_state, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(got.pooler_output, expected.pooler_output, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("pooling", ["mean", "cls", "last"])
def test_pad_only_rows_give_zeros(tiny_config, pooling):
    tiny_config.pooling = pooling
    model = CodeRepModel(tiny_config).eval()
    mask = torch.tensor([[1, 1, 0], [0, 0, 0]])
    pooled = model(ids(2, 3), attention_mask=mask).pooler_output
    assert torch.equal(pooled[1], torch.zeros(32))
    assert pooled[0].abs().sum() > 0


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


def test_masked_lm_gives_all_logits_outside_training(tiny_config):
    model, tokens = CodeRepForMaskedLM(tiny_config).eval(), ids(2, 7)
    assert model(tokens, labels=tokens).logits.shape == (2, 7, 1024)
    assert model.train()(tokens, labels=tokens).logits.shape == (14, 1024)


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
    ],
)
def test_config_refuses_nonsense(tiny_config, change, message):
    with pytest.raises(StrictDataclassError, match=message):
        CodeRepConfig(**{**tiny_config.to_dict(), **change})


# encode


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
