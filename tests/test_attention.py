"""Attention against slow obvious versions: documents in packed rows, local windows, rotary positions, backends."""

from __future__ import annotations

import copy
import math
import shutil

import pytest
import torch
from accelerate.utils import send_to_device
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.masking_utils import flash_attention_mask

from modeling_coderep import CodeRepConfig, CodeRepForMaskedLM, CodeRepModel, attention_coderep
from modeling_coderep.attention_coderep import (
    attend_by_document,
    document_lengths,
    eager_attention,
    find_documents,
    local_band,
    plan_attention,
    rotary_angles,
    rotate,
)

MODERN = {"position_embedding": "rotary", "gated_mlp": True, "use_bias": False}
ARCHITECTURES = {
    "codesage": {},
    "modern": MODERN,
    "local": {**MODERN, "local_attention": 2, "global_attention_every": 2},
    "absolute local": {"local_attention": 1, "global_attention_every": 3},
}
BACKENDS = ("eager", "sdpa", "flex_attention")
# Said inside transformers and torch, of what transformers asks torch for.
ignores_flex_warnings = pytest.mark.filterwarnings(
    "ignore:_compile flag on create_block_mask:DeprecationWarning", "ignore:flex_attention called without torch.compile"
)


def ids(rows, tokens):
    return torch.randint(3, 90, (rows, tokens))


def positions(*lengths):
    return torch.cat([torch.arange(length) for length in lengths]).unsqueeze(0)


@pytest.fixture
def build():
    """A function from an architecture and a backend to a small encoder."""

    def make(architecture="codesage", backend="sdpa", cls=CodeRepModel, **fields):
        torch.manual_seed(0)
        config = CodeRepConfig(
            vocab_size=90,
            hidden_size=32,
            num_hidden_layers=4,
            num_attention_heads=4,
            intermediate_size=48,
            max_position_embeddings=64,
            hidden_dropout=0,
            embedding_dropout=0,
            attention_dropout=0,
            initializer_range=0.3,
            **{**ARCHITECTURES[architecture], **fields},
        )
        return cls._from_config(config, attn_implementation=backend).eval()

    return make


def assert_packed_equal_alone(model, lengths):
    rows = [[ids(1, length) for length in lengths] for _ in range(2)]
    with torch.no_grad():
        packed = model(
            torch.cat([torch.cat(row, dim=1) for row in rows]), position_ids=positions(*lengths).expand(2, -1)
        )
        alone = [torch.cat([model(document).last_hidden_state for document in row], dim=1) for row in rows]
    torch.testing.assert_close(packed.last_hidden_state, torch.cat(alone), rtol=1e-5, atol=1e-5)


@ignores_flex_warnings
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("lengths", [(5, 9), (1, 10, 3), (14,)])
def test_packed_documents_equal_documents_alone(build, backend, architecture, lengths):
    with torch.compiler.set_stance("force_eager"):  # flex attention compiles for half a minute
        assert_packed_equal_alone(build(architecture, backend), lengths)


@pytest.mark.slow
@ignores_flex_warnings
@pytest.mark.skipif(shutil.which("c++") is None, reason="torch compiles flex attention with a C++ compiler")
@pytest.mark.parametrize("architecture", ["codesage", "local"])
def test_packed_documents_equal_documents_alone_on_compiled_flex_attention(build, architecture):
    torch.compiler.reset()
    assert_packed_equal_alone(build(architecture, "flex_attention"), (5, 9))


def test_rows_may_be_cut_differently(build):
    model = build()
    tokens = ids(2, 8)
    packed = model(tokens, position_ids=torch.cat([positions(3, 5), positions(6, 2)])).last_hidden_state
    torch.testing.assert_close(packed[1:, :6], model(tokens[1:, :6]).last_hidden_state, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(packed[:1, 3:], model(tokens[:1, 3:]).last_hidden_state, rtol=1e-5, atol=1e-5)


def test_documents_in_a_row_would_see_each_other_without_restarts(build):
    """The tests above can fail: without restarts the states differ."""
    model = build()
    first, second = ids(1, 5), ids(1, 7)
    together = model(torch.cat([first, second], dim=1)).last_hidden_state[:, :5]
    assert not torch.allclose(together, model(first).last_hidden_state, atol=1e-3)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_backends_agree_on_padded_rows(build, architecture):
    mask = torch.tensor([[1] * 12, [1] * 7 + [0] * 5])
    tokens = ids(2, 12)
    eager, sdpa = (
        build(architecture, backend)(tokens, attention_mask=mask).last_hidden_state for backend in ("eager", "sdpa")
    )
    real = mask.bool()
    torch.testing.assert_close(eager[real], sdpa[real], rtol=1e-5, atol=1e-5)
    alone = build(architecture)(tokens[1:, :7]).last_hidden_state
    torch.testing.assert_close(sdpa[1:, :7], alone, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("architecture", ["codesage", "local"])
def test_gradients_of_packed_rows_equal_those_of_documents_alone(build, architecture):
    packed = build(architecture, cls=CodeRepForMaskedLM).train()
    alone = copy.deepcopy(packed)
    documents = [ids(1, 6), ids(1, 9)]
    whole = torch.cat(documents, dim=1)
    packed(whole, position_ids=positions(6, 9), labels=whole).loss.backward()
    for document in documents:
        alone(document, labels=document, num_items_in_batch=15).loss.backward()
    for (name, mine), theirs in zip(packed.named_parameters(), alone.parameters(), strict=True):
        torch.testing.assert_close(mine.grad, theirs.grad, rtol=1e-4, atol=1e-5, msg=name)


def test_no_dense_mask_is_built_for_packed_rows(build, monkeypatch):
    """With sdpa on CPUs nothing of the size of tokens x tokens exists; eager attention needs it."""

    def refuse(**kwargs):
        raise AssertionError("a dense mask was built")

    monkeypatch.setattr(attention_coderep, "create_bidirectional_mask", refuse)
    build("modern")(ids(2, 14), position_ids=positions(5, 9).expand(2, -1))
    build("local")(ids(2, 14), position_ids=positions(5, 9).expand(2, -1))
    with pytest.raises(AssertionError, match="dense mask"):
        build("modern", "eager")(ids(2, 14), position_ids=positions(5, 9).expand(2, -1))


def test_flash_attention_gets_the_boundaries_of_documents(build):
    config = build("local").config
    config._attn_implementation = "flash_attention_2"
    documents = find_documents(torch.cat([positions(3, 5), positions(6, 2)]), 2)
    plan = plan_attention(config, torch.zeros(2, 8, 32), None, documents)
    assert plan.full is None
    assert plan.kwargs["cu_seq_lens_q"].tolist() == plan.kwargs["cu_seq_lens_k"].tolist() == [0, 3, 8, 14, 16]
    assert plan.kwargs["max_length_q"] == plan.kwargs["max_length_k"] == 6
    assert plan.local_kwargs == {"sliding_window": 3}  # two to either side and the token itself


@pytest.fixture
def reference_flash(monkeypatch):
    """Flash attention's contract written out: boundaries or a (B, T) mask, a window that counts the token itself."""

    def attend(module, query, key, value, attention_mask, scaling, dropout=0.0, sliding_window=None, **kwargs):
        boundaries = kwargs.get("cu_seq_lens_q")
        rows, _, tokens, _ = query.shape
        place = torch.arange(rows * tokens)
        if boundaries is None:
            document = place // tokens
            seen = torch.ones(rows * tokens).bool() if attention_mask is None else attention_mask.flatten().bool()
        else:
            assert attention_mask is None
            document, seen = torch.bucketize(place, boundaries[1:], right=True), torch.ones(rows * tokens).bool()
        allowed = (document[:, None] == document[None]) & seen[None]
        if sliding_window is not None:
            allowed &= (place[:, None] - place[None]).abs() < sliding_window
        flat = (states.transpose(0, 1).flatten(1, 2) for states in (query, key, value))
        query, key, value = flat
        scores = (query @ key.transpose(1, 2) * scaling).masked_fill(~allowed, torch.finfo(query.dtype).min)
        return (scores.softmax(-1) @ value).unflatten(1, (rows, tokens)).permute(1, 2, 0, 3), None

    AttentionInterface.register("reference_flash", attend)
    AttentionMaskInterface.register("reference_flash", flash_attention_mask)

    def use(model):
        model.config._attn_implementation = "reference_flash"  # transformers looks names with "flash" up on the Hub
        return model

    yield use
    for interface in (AttentionInterface, AttentionMaskInterface):
        interface._global_mapping.pop("reference_flash")


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_the_flash_path_agrees_with_sdpa(build, reference_flash, architecture):
    flash, sdpa = reference_flash(build(architecture)), build(architecture)
    tokens, packing = ids(2, 14), torch.cat([positions(5, 9), positions(3, 10, 1)])
    mask = torch.ones(2, 14, dtype=torch.long)
    mask[1, 8:] = 0
    for inputs in ({"position_ids": packing}, {"attention_mask": mask}, {}):
        real = inputs.get("attention_mask", torch.ones(2, 14)).bool()
        torch.testing.assert_close(
            flash(tokens, **inputs).last_hidden_state[real],
            sdpa(tokens, **inputs).last_hidden_state[real],
            rtol=1e-5,
            atol=1e-5,
        )


def test_boundaries_of_documents_do_for_positions(build, reference_flash):
    """What transformers' `DataCollatorWithFlattening` gives, with positions and without, on every backend."""
    tokens = ids(1, 14)
    boundaries = torch.tensor([0, 5, 14], dtype=torch.int32)
    given = {"cu_seq_lens_q": boundaries, "cu_seq_lens_k": boundaries, "max_length_q": 9, "max_length_k": 9}
    for model in (build("local", "eager"), build("local"), reference_flash(build("local"))):
        expected = model(tokens, position_ids=positions(5, 9)).last_hidden_state
        torch.testing.assert_close(model(tokens, **given).last_hidden_state, expected)
        torch.testing.assert_close(model(tokens, position_ids=positions(5, 9), **given).last_hidden_state, expected)
    with pytest.raises(ValueError, match="cu_seq_lens_q ends at 14, but there are 28 tokens"):
        build()(ids(2, 14), cu_seq_lens_q=boundaries)


@pytest.mark.parametrize("backend", ["eager", "sdpa"])
def test_packed_rows_may_have_a_mask(build, backend):
    """Documents stay apart, padding is seen by none, whatever positions the padding has."""
    model = build("codesage", backend)
    tokens = ids(1, 12)
    mask = torch.tensor([[1] * 9 + [0] * 3])
    for padding in ([0, 0, 0], [4, 5, 6], [0, 1, 2]):
        packing = torch.cat([positions(5, 4), torch.tensor([padding])], dim=1)
        outputs = model(tokens, attention_mask=mask, position_ids=packing)
        assert outputs.pooler_output is None
        states = outputs.last_hidden_state
        torch.testing.assert_close(states[:, :5], model(tokens[:, :5]).last_hidden_state, rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(states[:, 5:9], model(tokens[:, 5:9]).last_hidden_state, rtol=1e-5, atol=1e-5)


def test_positions_of_left_padded_rows_are_no_documents(build):
    model = build()
    row = ids(1, 4)
    padded = torch.cat([torch.zeros(1, 3, dtype=torch.long), row], dim=1)
    outputs = model(
        padded, attention_mask=torch.tensor([[0, 0, 0, 1, 1, 1, 1]]), position_ids=torch.tensor([[1, 1, 1, 0, 1, 2, 3]])
    )
    torch.testing.assert_close(outputs.pooler_output, model(row).pooler_output, rtol=1e-5, atol=1e-5)


def test_a_plan_moves_with_its_layers(build):
    """accelerate moves the arguments of a layer on another device by their method `to`."""
    documents = find_documents(positions(5, 9), 1)
    plans = [plan_attention(build("local", "eager").config, torch.zeros(1, 14, 32), None, documents)]
    plans.append(plan_attention(build("local").config, torch.zeros(1, 14, 32), None, documents))
    for plan in plans:
        moved = send_to_device(plan, "meta")
        tensors = [moved.full, moved.local, *moved.bands.values(), *moved.kwargs.values()]
        tensors = [tensor for tensor in tensors if isinstance(tensor, torch.Tensor)]
        assert tensors
        assert all(tensor.device.type == "meta" for tensor in tensors)
        assert moved.lengths == plan.lengths


def test_document_lengths_by_hand():
    documents = find_documents(torch.tensor([[0, 1, 0, 0], [0, 1, 2, 3]]), 2)
    assert documents.tolist() == [[0, 0, 1, 2], [0, 0, 0, 0]]
    assert document_lengths(documents).tolist() == [2, 1, 1, 4]
    assert find_documents(torch.arange(4).unsqueeze(0), 3) is None


def test_attention_by_document_is_block_diagonal_attention():
    """Against the softmax written out over a mask of blocks."""
    lengths, tokens = [3, 1, 4], 8
    query, key, value = (torch.randn(1, tokens, 2, 5) for _ in range(3))

    def attend(query, key, value, mask):
        return eager_attention(torch.nn.Identity(), query, key, value, mask, scaling=5**-0.5)

    got = attend_by_document(attend, query, key, value, lengths)
    block = torch.block_diag(*(torch.ones(length, length) for length in lengths)).bool()
    for head in range(2):
        scores = query[0, :, head] @ key[0, :, head].T / math.sqrt(5)
        expected = scores.masked_fill(~block, -math.inf).softmax(-1) @ value[0, :, head]
        torch.testing.assert_close(got[0, :, head], expected)


def test_local_band_by_hand():
    assert local_band(4, 1, torch.device("cpu"))[0, 0].int().tolist() == [
        [1, 1, 0, 0],
        [1, 1, 1, 0],
        [0, 1, 1, 1],
        [0, 0, 1, 1],
    ]


@pytest.mark.parametrize("backend", ["eager", "sdpa"])
def test_local_layers_see_no_farther_than_their_window(build, backend):
    """One global layer, then three local ones: with the global one made local too, sight ends at 4 windows."""
    model = build("local", backend, global_attention_every=1)
    far = build("local", backend)
    tokens = ids(1, 30)
    changed = tokens.clone()
    changed[0, 0] = (tokens[0, 0] + 1 - 3) % 87 + 3

    def moved(model):
        difference = model(tokens).last_hidden_state - model(changed).last_hidden_state
        return difference.abs().amax(dim=-1)[0]

    assert (moved(model) > 1e-6).all()  # global_attention_every=1: no layer is local
    assert (moved(far)[1:] > 1e-6).any()
    for layer in far.layers:
        layer.attention.local = True
    assert (moved(far)[9:] == 0).all()
    assert (moved(far)[:9] > 0).all()


def test_attention_weights_come_from_eager_attention(build):
    outputs = build("codesage", "eager")(ids(2, 6), output_attentions=True, output_hidden_states=True)
    assert len(outputs.attentions) == 4
    assert outputs.attentions[0].shape == (2, 4, 6, 6)
    torch.testing.assert_close(outputs.attentions[0].sum(-1), torch.ones(2, 4, 6))
    assert len(outputs.hidden_states) == 5
    torch.testing.assert_close(outputs.hidden_states[-1], outputs.last_hidden_state)


def test_a_mask_of_truth_values_is_not_added_to_the_scores(build):
    """A (B, 1, T, T) mask of one's own, in the two forms that users have."""
    tokens = ids(1, 5)
    allowed = torch.tril(torch.ones(5, 5, dtype=torch.bool))[None, None]
    added = torch.zeros(1, 1, 5, 5).masked_fill(~allowed, torch.finfo(torch.float32).min)
    states = [
        build("codesage", backend)(tokens, attention_mask=mask).last_hidden_state
        for backend in ("eager", "sdpa")
        for mask in (allowed, added)
    ]
    for other in states[1:]:
        torch.testing.assert_close(states[0], other, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("architecture", ["codesage", "local"])
def test_compiled_graph_gives_the_same(build, architecture):
    """Packed rows too, whose boundaries are data that a graph cannot branch on."""
    model = build(architecture)
    compiled = torch.compile(model, backend="aot_eager", fullgraph=True)
    tokens, packing = ids(2, 14), positions(5, 9).expand(2, -1)
    with torch.no_grad():
        torch.testing.assert_close(compiled(tokens).last_hidden_state, model(tokens).last_hidden_state)
        torch.testing.assert_close(
            compiled(tokens, position_ids=packing).last_hidden_state,
            model(tokens, position_ids=packing).last_hidden_state,
            rtol=1e-5,
            atol=1e-5,
        )
        # A graph cannot tell packed rows from others, so it pools whole rows.
        torch.testing.assert_close(
            compiled(tokens, position_ids=positions(14)).pooler_output, model(tokens).pooler_output
        )


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
