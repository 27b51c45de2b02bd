"""Stage 2's trainer: gradient caching changes nothing, dropout comes again bit for bit, and what the logs tell."""

from __future__ import annotations

import json
import math
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from pair_runs import stage2 as stage2
from pair_runs import train_argv
from running import weights
from safetensors.torch import load_file
from small_batches import VOCAB, batch_of, small_config, step, trainer_of
from torch import nn
from transformers import BertConfig, BertModel

import coderep
import trainers
from modeling_coderep import CodeRepModel
from trainers import ContrastiveArguments, ContrastiveTrainer
from trainers.command_line import build_arguments, parse_arguments
from trainers.embedding import FlatTexts, embed_texts, mini_batches
from trainers.gradcache import cached_backward
from trainers.losses import bimodal_contrastive_loss, unimodal_contrastive_loss
from trainers.pair_metrics import code_ranks, mean_reciprocal_ranks

CPU = torch.device("cpu")


def plainly(model, batch):
    """Loss and gradients without any of our trainer: every text alone, one graph, one `backward`."""
    model.zero_grad()
    embeddings = {}
    for side in ("text", "code", "negative"):
        if f"{side}_lengths" in batch:
            rows = batch[f"{side}_input_ids"].split(batch[f"{side}_lengths"].tolist())
            pooled = [model(input_ids=row.unsqueeze(0)).last_hidden_state[0].mean(dim=0) for row in rows if len(row)]
            embeddings[side] = torch.stack(pooled) if pooled else None
    loss = bimodal_contrastive_loss(
        embeddings["text"],
        embeddings["code"],
        negative_KD=embeddings.get("negative"),
        text_hash_N=batch["text_hash"],
        code_hash_N=batch["code_hash"],
        negative_hash_K=batch.get("negative_hash"),
    )
    loss.backward()
    return loss, {name: weight.grad.clone() for name, weight in model.named_parameters() if weight.grad is not None}


def assert_same(mine, theirs, **tolerance):
    torch.testing.assert_close(mine[0].double(), theirs[0].detach().double(), **tolerance)
    assert mine[1].keys() == theirs[1].keys()
    assert any(grad.abs().max() > 1e-3 for grad in theirs[1].values()), "no gradients: nothing is compared"
    for name, grad in theirs[1].items():
        torch.testing.assert_close(mine[1][name], grad, msg=lambda m, name=name: f"{name}: {m}", **tolerance)


# Of 7 pairs: budgets of one mini-batch a side, of some that divide it, of a text each.
@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("tokens", [None, 16, 26, 1000])
@pytest.mark.parametrize("pairs, negatives, repeats", [(7, None, False), (2, None, False), (7, 3, True), (4, 0, True)])
def test_a_cached_step_is_the_plain_gradient(tmp_path, tokens, pairs, negatives, repeats, packed):
    model = CodeRepModel(small_config()).double()
    batch = batch_of(pairs, negatives, repeats=repeats)
    trainer = trainer_of(model, tmp_path, packed, mini_batch_tokens=tokens)
    assert_same(step(trainer, batch), plainly(model, batch), rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("packed", [True, False])
def test_without_caching_every_text_is_encoded_once(tmp_path, packed):
    model, batch = CodeRepModel(small_config()).double(), batch_of(7)
    tokens = sum(int(batch[f"{side}_lengths"].sum()) for side in ("text", "code"))
    seen = []
    model.register_forward_pre_hook(
        lambda module, args, given: seen.append(int(given.get("attention_mask", given["input_ids"].ne(-1)).sum())),
        with_kwargs=True,
    )
    for caching, most in ((True, 2 * tokens), (False, tokens)):
        seen.clear()
        trainer = trainer_of(model, tmp_path, packed, mini_batch_tokens=26, gradient_caching=caching)
        mine = step(trainer, batch)
        assert len(seen) > 2 and tokens <= sum(seen) <= most
        assert (sum(seen) == tokens) != caching
        assert_same(mine, plainly(model, batch), rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("kept, same_code", [(0, False), (1, False), (1, True), (3, False), (None, False)])
@pytest.mark.parametrize("idle", [0, 2])
def test_graphs_kept_and_idle_rounds_change_nothing(kept, same_code, idle):
    """With dropout on, against one graph over the same mini-batches in the same order."""
    torch.manual_seed(3)
    model = nn.Sequential(nn.Linear(4, 8), nn.Dropout(0.5), nn.Linear(8, 3)).double()
    items, batches = torch.randn(6, 4).double(), [torch.tensor(rows) for rows in ([4], [2, 0], [5, 3, 1])]

    def embed(rows):
        return model(items[rows])

    def differentiate(embeddings):
        with torch.enable_grad():
            embeddings.requires_grad_()
            loss = (embeddings @ embeddings.T).logsumexp(dim=1).sum()
            return loss.detach(), torch.autograd.grad(loss, embeddings)[0]

    torch.manual_seed(7)
    for _ in range(idle):
        embed(batches[-1][-1:])
    joined = torch.cat([embed(rows) for rows in batches])
    embeddings = torch.empty_like(joined).index_copy(0, torch.cat(batches), joined)
    expected = (embeddings @ embeddings.T).logsumexp(dim=1).sum()
    expected.backward()
    gradients, after = [weight.grad.clone() for weight in model.parameters()], torch.rand(1)

    model.zero_grad()
    now, calls = [False], []

    @contextmanager
    def hold():
        now[0] = True
        yield
        now[0] = False

    def backward(share):
        calls.append("held" if now[0] else "exchanged")
        share.backward()

    torch.manual_seed(7)
    options = {"kept": kept, "idle": idle, "hold": hold, "same_code": same_code}
    loss = cached_backward(embed, batches, differentiate, backward, device=CPU, **options)
    torch.testing.assert_close(loss, expected.detach(), rtol=1e-12, atol=0)
    for weight, gradient in zip(model.parameters(), gradients, strict=True):
        torch.testing.assert_close(weight.grad, gradient, rtol=1e-10, atol=1e-12)
    # The random numbers go on as after one pass over the mini-batches: steps do not share dropout.
    assert torch.equal(torch.rand(1), after)
    # Gradients are exchanged in the last call alone, and graphs that are kept go back in one.
    rounds = len(batches) + idle
    left = rounds if kept in (0, 1) else 1 if kept is None else rounds - kept + 1
    assert calls == ["held"] * (left - 1) + ["exchanged"]


def record_dropout(model):
    """A list of what every call of a dropout layer gives, from now on."""
    seen = []
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            assert module.p > 0, "no dropout: nothing is tested"
            module.register_forward_hook(lambda module, inputs, output: seen.append(output.detach().clone()))
    return seen


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("loss", ["bimodal", "unimodal"])
def test_dropout_comes_again_bit_for_bit(tmp_path, packed, loss):
    """Every output of every dropout layer: all mini-batches once, then all but the last, whose graph is kept, again."""
    model = CodeRepModel(small_config(embedding_dropout=0.1, hidden_dropout=0.2, attention_dropout=0.3))
    trainer = trainer_of(model, tmp_path, packed, mini_batch_tokens=20, loss=loss)
    batch = batch_of(9)
    seen = record_dropout(model)
    step(trainer, batch)
    lengths = [batch[f"{side}_lengths"] for side in trainer._sides(dict(batch))]
    mini = len(mini_batches(lengths, 20, packed))
    per_pass, left = divmod(len(seen), 2 * mini - 1)
    assert left == 0 and mini > 4
    first, again = seen[: per_pass * (mini - 1)], seen[per_pass * mini :]
    assert len(first) == len(again)
    assert all(torch.equal(one, other) for one, other in zip(first, again, strict=True))
    before = [output.clone() for output in first]
    seen.clear()
    step(trainer, batch)
    assert not all(torch.equal(one, other) for one, other in zip(before, seen, strict=False)), "each step the same"


def bert(**options):
    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
    config = {"vocab_size": VOCAB, "max_position_embeddings": 32, "initializer_range": 0.3, **sizes, **options}
    return BertModel(BertConfig(**config), add_pooling_layer=False)


@pytest.mark.parametrize("make", [bert, lambda: CodeRepModel(small_config(hidden_dropout=0.2, attention_dropout=0.1))])
def test_with_dropout_a_cached_step_is_one_graph_over_the_same_mini_batches(tmp_path, make):
    model, batch = make().double(), batch_of(9, 4)
    trainer = trainer_of(model, tmp_path, mini_batch_tokens=26)
    assert any(module.p > 0 for module in model.modules() if isinstance(module, nn.Dropout))
    torch.manual_seed(5)
    mine = step(trainer, batch)
    torch.manual_seed(5)
    model.zero_grad()
    sides = ["text", "code", "negative"]
    texts = FlatTexts.join([FlatTexts(batch[f"{side}_input_ids"], batch[f"{side}_lengths"]) for side in sides])
    batches = mini_batches([batch[f"{side}_lengths"] for side in sides], 26, trainer.packed)
    joined = torch.cat([embed_texts(model, texts, rows, "mean", 0, trainer.packed) for rows in batches])
    text, code, negative = torch.empty_like(joined).index_copy(0, torch.cat(batches), joined).split([9, 9, 4])
    hashes = {f"{side}_hash_{'K' if side == 'negative' else 'N'}": batch[f"{side}_hash"] for side in sides}
    loss = bimodal_contrastive_loss(text, code, negative_KD=negative, **hashes)
    loss.backward()
    theirs = loss, {name: weight.grad for name, weight in model.named_parameters() if weight.grad is not None}
    assert_same(mine, theirs, rtol=1e-9, atol=1e-11)


def test_any_encoder_with_any_pooling(tmp_path):
    """Padded mini-batches of BERT against each text alone; the name of a pooling beats the config's."""
    model, batch = bert(hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0).double(), batch_of(7)
    trainer = trainer_of(model, tmp_path, mini_batch_tokens=26)
    assert not trainer.packed and trainer.pooling == "mean"
    assert_same(step(trainer, batch), plainly(model, batch), rtol=1e-9, atol=1e-11)
    args = trainer.args
    model.config.pooling = "mean"
    first = ContrastiveTrainer(model=model, args=args, train_dataset=[0], pooling="cls")
    texts = FlatTexts(batch["text_input_ids"], batch["text_lengths"])
    row = batch["text_input_ids"][: int(batch["text_lengths"][0])]
    alone = model(input_ids=row.unsqueeze(0)).last_hidden_state[0, 0]
    torch.testing.assert_close(first._embed(model, texts, torch.arange(7))[0], alone)


@pytest.mark.parametrize("options", [{}, {"gradient_checkpointing": True}, {"bf16": True}], ids=str)
@pytest.mark.parametrize("tokens", [None, 24])
def test_training_under_the_trainers_options(tmp_path, tokens, options):
    """A whole `train`, with two batches a step: the step of SGD is the mean of the gradients of both, clipped."""
    batches = [batch_of(6, seed=1), batch_of(6, seed=2)]
    model = CodeRepModel(small_config())
    before = {name: weight.detach().clone() for name, weight in model.named_parameters()}
    found = [plainly(model, batch) for batch in batches]
    mean = {name: (found[0][1][name] + found[1][1][name]) / 2 for name in before}
    norm = math.sqrt(sum(float(grad.square().sum()) for grad in mean.values()))
    coarse = "bf16" in options
    values = {"optim": "sgd", "learning_rate": 0.5, "lr_scheduler_type": "constant", "max_grad_norm": norm / 2}
    values |= {"gradient_accumulation_steps": 2, "per_device_train_batch_size": 1, "max_steps": 1}
    values |= {"save_strategy": "no"}
    values |= {"output_dir": str(tmp_path), "max_text_length": 8, "max_code_length": 16, "logging_steps": 1, **options}
    args = build_arguments(ContrastiveArguments, {"disable_tqdm": True, "mini_batch_tokens": tokens, **values})
    trainer = ContrastiveTrainer(model=model, args=args, train_dataset=batches, data_collator=lambda rows: {**rows[0]})
    trainer.train()
    near = {"rtol": 0.1, "atol": 0.02 * norm} if coarse else {"rtol": 1e-3, "atol": 1e-6 * norm}
    for name, weight in model.named_parameters():
        step_taken = (before[name] - weight.detach()) / 0.5 * 2
        torch.testing.assert_close(step_taken, mean[name], msg=lambda m, name=name: f"{name}: {m}", **near)
    logs = trainer.state.log_history[0]
    assert logs["loss"] == pytest.approx((found[0][0] + found[1][0]).item() / 2, rel=0.02 if coarse else 1e-5)
    assert logs["grad_norm"] == pytest.approx(norm, rel=0.05 if coarse else 1e-4)
    tokens_there = sum(len(batch[f"{side}_input_ids"]) for batch in batches for side in ("text", "code"))
    assert logs["tokens"] == trainer.tokens_seen == tokens_there
    assert {weight.dtype for weight in model.parameters()} == {torch.float32}


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_compiled_model_trains_alike(tmp_path, monkeypatch):
    """Compiled by inductor, which draws dropout in its own way: cached steps against one graph over the same."""
    torch._dynamo.reset()
    model, batch = CodeRepModel(small_config(num_hidden_layers=1, hidden_dropout=0.3)), batch_of(7)
    compiled = torch.compile(model, dynamic=True)
    found = []
    for kept in (1, None):
        trainer = trainer_of(model, tmp_path, False, mini_batch_tokens=40)
        model.zero_grad()
        torch.manual_seed(1)
        monkeypatch.setattr(
            "trainers.contrastive_trainer.cached_backward",
            lambda *args, kept=kept, **options: cached_backward(*args, **{**options, "kept": kept}),
        )
        loss = trainer.training_step(compiled, dict(batch))
        found.append((loss, {name: weight.grad.clone() for name, weight in model.named_parameters()}))
    assert_same(*found, rtol=1e-4, atol=1e-5)
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] > 0, "nothing was compiled"


def test_the_unimodal_loss_compares_two_dropout_views(tmp_path):
    model, batch = CodeRepModel(small_config(hidden_dropout=0.2)).double(), batch_of(6)
    trainer = trainer_of(model, tmp_path, loss="unimodal")
    torch.manual_seed(2)
    loss, gradients = step(trainer, batch)
    torch.manual_seed(2)
    views = []
    for side in ("text", "code") * 2:
        texts = FlatTexts(batch[f"{side}_input_ids"], batch[f"{side}_lengths"])
        views.append(embed_texts(model, texts, torch.arange(6), "mean", 0, trainer.packed))
    expected = unimodal_contrastive_loss(views[0], views[2]) + unimodal_contrastive_loss(views[1], views[3])
    torch.testing.assert_close(loss, expected.detach() / 2)
    assert not torch.equal(views[0], views[2]) and gradients
    assert trainer.tokens_seen == 2 * (len(batch["text_input_ids"]) + len(batch["code_input_ids"]))


def test_matryoshka_losses_add_up(tmp_path):
    model, batch = CodeRepModel(small_config()).double(), batch_of(6)
    whole = [step(trainer_of(model, tmp_path, matryoshka_dims=dims), batch) for dims in ([4], [16], [4, 16])]
    torch.testing.assert_close(whole[2][0], whole[0][0] + whole[1][0])
    for name, grad in whole[2][1].items():
        torch.testing.assert_close(grad, whole[0][1][name] + whole[1][1][name])


def test_training_stops_at_a_loss_that_is_no_number(tmp_path):
    model = CodeRepModel(small_config())
    with torch.no_grad():
        model.final_norm.weight[0] = math.nan
    with pytest.raises(FloatingPointError, match="the loss became nan at step 0. Lower the learning rate"):
        step(trainer_of(model, tmp_path, mini_batch_tokens=40), batch_of(4))


def test_compute_loss_has_the_same_graph(tmp_path):
    """For those who call it: the loss of a batch and the embeddings of its sides."""
    model, batch = CodeRepModel(small_config()).double(), batch_of(7, 3)
    trainer = trainer_of(model, tmp_path)
    model.zero_grad()
    loss, outputs = trainer.compute_loss(model, dict(batch), return_outputs=True)
    loss.backward()
    mine = loss.detach(), {name: weight.grad.clone() for name, weight in model.named_parameters()}
    assert_same(mine, plainly(model, batch), rtol=1e-9, atol=1e-11)
    assert [outputs[side].shape for side in ("text", "code", "negative")] == [(7, 16), (7, 16), (3, 16)]


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("budget", [13, 20, 10_000])
def test_mini_batches_hold_everything_once_within_the_budget(packed, budget):
    sides = [batch_of(40)[f"{side}_lengths"] for side in ("text", "code")]
    batches, lengths = mini_batches([*sides, sides[0][:0]], budget, packed), torch.cat(sides)
    assert sorted(torch.cat(batches).tolist()) == list(range(80))
    for rows in batches:
        assert (rows < 40).all() or (rows >= 40).all()
        assert (lengths[rows].sum() if packed else lengths[rows].max() * len(rows)) <= budget
    assert len(batches) == 2 if budget == 10_000 else len(batches) > 10
    # Sorted: what one mini-batch has, the next of its side does not have shorter.
    longest, shortest = [lengths[rows].max() for rows in batches], [lengths[rows].min() for rows in batches]
    assert sum(low < high for high, low in zip(longest, shortest[1:], strict=False)) <= 1
    assert [len(rows) for rows in mini_batches(sides, None)] == [40, 40]


def test_padded_and_packed_texts():
    texts = FlatTexts(torch.tensor([5, 6, 7, 8, 9, 10]), torch.tensor([2, 1, 3]))
    ids, mask = texts.padded(torch.tensor([2, 0]), pad_id=1)
    assert ids.tolist() == [[8, 9, 10], [5, 6, 1]] and mask.tolist() == [[1, 1, 1], [1, 1, 0]]
    ids, positions = texts.packed(torch.tensor([2, 0]))
    assert ids.tolist() == [[8, 9, 10, 5, 6]] and positions.tolist() == [[0, 1, 2, 0, 1]]


def test_ranks_by_hand():
    """Four pairs at angles; two codes are alike, and ties count against the text."""
    text = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0], [1.0, 0.1]])
    code = torch.tensor([[1.0, 1.0], [0.0, 2.0], [1.0, 1.0], [1.0, 0.0]])
    own, hashes = torch.arange(4), torch.arange(4)
    ranks, cosines = code_ranks(text, code, own, hashes, hashes)
    assert ranks.tolist() == [3, 1, 2, 1]
    assert cosines.tolist() == pytest.approx([0.5**0.5, 1, 1, 1 / 1.01**0.5])
    # The first and the third code are equal: none stands in the other's way; nor does a pair with the same text.
    assert code_ranks(text, code, own, hashes, torch.tensor([0, 1, 0, 3]))[0].tolist() == [2, 1, 1, 1]
    assert code_ranks(text, code, own, torch.tensor([0, 1, 2, 0]), hashes)[0].tolist() == [2, 1, 2, 1]
    # Two languages: pairs 0 and 3, 1 and 2.
    group = torch.tensor([0, 1, 1, 0])
    ranks, _ = code_ranks(text, code, own, hashes, hashes, group)
    assert ranks.tolist() == [2, 1, 1, 1]
    metrics = mean_reciprocal_ranks(ranks, group, ["go", "ruby"], "eval")
    assert metrics == {"eval_mrr": 0.875, "eval_mrr_go": 0.75, "eval_mrr_ruby": 1.0}


def test_evaluation_follows_the_weights_and_draws_nothing(tmp_path):
    """MRR against ranks one by one; dropout is off, and on again afterwards; random numbers are as before."""
    model, batch = CodeRepModel(small_config(hidden_dropout=0.2)), batch_of(9)
    rows = [{"language": ["go", "c"][number % 2]} for number in range(9)]
    trainer = trainer_of(model, tmp_path, mini_batch_tokens=20)
    trainer.eval_dataset, trainer._eval_collator = rows, lambda given: dict(batch) if given == rows else None
    model.train()
    state = torch.get_rng_state()
    metrics = trainer.evaluate()
    assert torch.equal(torch.get_rng_state(), state) and model.training
    model.eval()
    sides = []
    for side in ("text", "code"):
        ids = batch[f"{side}_input_ids"].split(batch[f"{side}_lengths"].tolist())
        sides.append(torch.stack([model(input_ids=row[None]).pooler_output[0] for row in ids]))
    found = {"go": [], "c": []}
    for place, row in enumerate(rows):
        scores = [torch.cosine_similarity(sides[0][place], code, dim=0).item() for code in sides[1]]
        others = [s for number, s in enumerate(scores) if rows[number] == row and number != place]
        found[row["language"]].append(1 / (1 + sum(score >= scores[place] for score in others)))
    expected = {f"eval_mrr_{name}": sum(values) / len(values) for name, values in found.items()}
    expected["eval_mrr"] = sum(expected.values()) / 2
    assert (
        metrics == pytest.approx({**expected, "epoch": 0})
        and trainer.state.log_history[-1]["eval_mrr"] == metrics["eval_mrr"]
    )


@pytest.mark.parametrize(
    "options, message",
    [
        ({"loss": "triplet"}, "loss must be bimodal or unimodal, got 'triplet'"),
        ({"mini_batch_tokens": 15}, "mini_batch_tokens=15 is less than one text may have, max_code_length=16. Raise"),
        ({"temperature": 0}, "temperature must be positive, got 0"),
        ({"matryoshka_dims": [8, 0]}, r"matryoshka_dims must be different whole numbers from 1, got \[8, 0\]"),
        ({"matryoshka_dims": [8, 17]}, r"matryoshka_dims=\[8, 17\] go beyond the model's hidden_size=16"),
        ({"eval_pairs": 1}, "eval_pairs must be at least 2, got 1"),
        ({"loss": "unimodal"}, "loss: unimodal compares two dropout views, but the model has no dropout"),
        ({"label_smoothing_factor": 0.1}, "label_smoothing_factor has no place in stage 2"),
    ],
)
def test_options_that_cannot_be_meant(tmp_path, options, message):
    with pytest.raises(ValueError, match=message):
        trainer_of(CodeRepModel(small_config()), tmp_path, **options)


def test_the_best_model_is_that_of_the_best_mrr(tmp_path):
    args = ContrastiveArguments(
        output_dir=str(tmp_path), load_best_model_at_end=True, eval_strategy="steps", save_steps=5, eval_steps=5
    )
    assert (args.metric_for_best_model, args.greater_is_better) == ("mrr", True)


def test_a_run_with_evaluation_ends_with_its_best_model(stage2, tmp_path):
    """The rate is so high that later steps do harm."""
    more = [
        "--eval_strategy",
        "steps",
        "--eval_steps",
        "2",
        "--save_steps",
        "2",
        "--eval_pairs",
        "20",
        "--max_steps",
        "6",
    ]
    more += ["--load_best_model_at_end", "--learning_rate", "0.02", "--mini_batch_tokens", "200"]
    assert coderep.main(train_argv(stage2, tmp_path / "run", 16, *more)) == 0
    state = json.loads((tmp_path / "run" / "checkpoint-6" / "trainer_state.json").read_text())
    found = {entry["step"]: entry["eval_mrr"] for entry in state["log_history"] if "eval_mrr" in entry}
    assert sorted(found) == [2, 4, 6] and all("eval_mrr_python" in e for e in state["log_history"] if "eval_mrr" in e)
    best = max(found, key=lambda step: (found[step], -step))
    assert best < 6, "the last is the best: nothing is tested"
    mine, theirs = weights(tmp_path / "run"), load_file(tmp_path / "run" / f"checkpoint-{best}" / "model.safetensors")
    assert all(torch.equal(mine[name], theirs[name]) for name in theirs)


@pytest.mark.parametrize(
    "name, processes", [("demo", 1), ("tiny", 1), ("mini", 1), ("small", 8), ("base", 16), ("large", 32)]
)
def test_recipes(name, processes, tmp_path):
    path = Path(trainers.__file__).parent / "recipes" / f"{name}.yaml"
    argv = ["--config", str(path), "--output_dir", str(tmp_path)]
    args = parse_arguments(ContrastiveArguments, "contrastive", argv)
    assert args.temperature == 0.05
    if processes > 1:
        stated = (args.per_device_train_batch_size * processes, args.max_steps, args.warmup_steps, args.learning_rate)
        assert stated == (8192, 20_000, 500, 5e-6) and args.gradient_accumulation_steps == 1
        assert f"x processes, here {processes};" in path.read_text()
