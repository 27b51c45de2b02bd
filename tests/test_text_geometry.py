"""The term that keeps texts where another model has them: against a double loop, on paper, and in training."""

from __future__ import annotations

import math
import os
import sys
from types import SimpleNamespace

import pytest
import torch
from pair_runs import stage2 as stage2
from pair_runs import train_argv
from running import SGD, SHARD_ON_CPU, assert_close, fsdp_environment, losses, weights
from running import train as train
from small_batches import batch_of, small_config, step, trainer_of

import coderep
from modeling_coderep import CodeRepModel
from trainers import ContrastiveArguments
from trainers import teacher as teaching
from trainers.losses import bimodal_contrastive_loss
from trainers.text_geometry import text_geometry_loss

HASHES = [7, 7, 5, 4, 5]  # texts 0 and 1 are equal, and texts 2 and 4


def slow_loss(text, teacher, temperature, hashes=None, dims=()):
    """The definition as loops over prefixes and texts."""
    hashes, total = hashes or range(len(text)), text.sum() * 0
    goal = [row / row.norm() for row in teacher]
    for width in dims or (text.shape[1],):
        own = [row[:width] / row[:width].norm() for row in text]
        for i in range(len(text)):
            others = [k for k in range(len(text)) if hashes[k] != hashes[i]]
            p = [torch.exp(goal[i] @ goal[k] / temperature) for k in others]
            q = [torch.exp(own[i] @ own[k] / temperature) for k in others]
            for p_k, q_k in zip(p, q, strict=True):
                total = total + p_k / sum(p) * torch.log(p_k / sum(p) / (q_k / sum(q)))
    return total / len(text)


def sides(n, width=6, teacher_width=4):
    return torch.randn(n, width, dtype=torch.float64).requires_grad_(), torch.randn(n, teacher_width).double()


@pytest.mark.parametrize("hashes", [None, HASHES])
@pytest.mark.parametrize("dims", [(), (2, 6)])
@pytest.mark.parametrize("block", [None, 1, 2])  # five texts: at once, one by one, a short last block
def test_loss_and_gradient_equal_the_double_loop(hashes, dims, block):
    text, teacher = sides(5)
    expected = slow_loss(text, teacher, 0.3, hashes, dims)
    given = None if hashes is None else torch.tensor(hashes)
    loss = text_geometry_loss(text, teacher, temperature=0.3, text_hash_N=given, dims=dims, block=block)
    torch.testing.assert_close(loss, expected, rtol=1e-9, atol=1e-12)
    mine, theirs = (torch.autograd.grad(value, text)[0] for value in (loss, expected))
    assert theirs.abs().max() > 0.01
    torch.testing.assert_close(mine, theirs, rtol=1e-9, atol=1e-12)


def test_three_texts_on_paper():
    # The teacher has three orthogonal texts: half of the softmax for each of the other two. The model has east, north,
    # west, temperature 1: for east and west the cosines 0 and -1, so s = 1 / (1 + e^-1) and 1 - s instead of halves;
    # for north 0 and 0, so halves. KL = -log 2 - (log s + log(1 - s)) / 2 for two texts of three, 0 for the third.
    text, s = torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]]), 1 / (1 + math.exp(-1))
    wanted = 2 / 3 * (-math.log(2) - (math.log(s) + math.log(1 - s)) / 2)
    assert text_geometry_loss(text, torch.eye(3), temperature=1.0).item() == pytest.approx(wanted, rel=1e-6)


def test_nothing_to_learn_from_the_same_geometry():
    """A turned and scaled copy of the teacher is as good as the teacher."""
    text, _ = sides(7)
    turn = torch.linalg.qr(torch.randn(6, 6, dtype=torch.float64))[0]
    for teacher in (text.detach(), 3 * text.detach() @ turn):
        loss = text_geometry_loss(text, teacher)
        assert loss.item() == pytest.approx(0, abs=1e-12)
        assert torch.autograd.grad(loss, text)[0].abs().max() < 1e-12
    assert text_geometry_loss(text, text.detach().roll(1, dims=0)).item() > 0.1


def test_the_gradient_is_that_of_finite_differences():
    text, teacher = sides(5)
    assert torch.autograd.gradcheck(lambda t: text_geometry_loss(t, teacher, temperature=0.5, dims=(3, 6)), text)


def test_equal_texts_say_nothing_of_each_other():
    """All texts equal: no others, no loss. And the teacher gets no gradient."""
    text, teacher = sides(4)
    loss = text_geometry_loss(text, teacher.requires_grad_(), text_hash_N=torch.zeros(4, dtype=torch.int64))
    assert loss.item() == 0 and not torch.autograd.grad(loss, text)[0].any()
    text_geometry_loss(text, teacher).backward()
    assert text.grad.any() and teacher.grad is None


def test_bfloat16_under_autocast():
    given, teacher = ((torch.randn(16) + 0.1 * torch.randn(48, 16)).bfloat16() for _ in range(2))
    exact = given.double().requires_grad_()
    given.requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        loss = text_geometry_loss(given, teacher, temperature=0.01, block=29)
    expected = text_geometry_loss(exact, teacher.double(), temperature=0.01)
    assert loss.dtype == torch.float32 and expected.item() > 0.1
    torch.testing.assert_close(loss.double(), expected, rtol=1e-4, atol=1e-5)
    loss.backward()
    expected.backward()
    assert (given.grad.double() - exact.grad).norm() < 2**-8 * exact.grad.norm()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"teacher_NE": torch.ones(2, 4)}, r"the same number of texts, .* got \(3, 4\) and \(2, 4\)"),
        ({"text_hash_N": torch.ones(2)}, r"text_hash_N must have the shape \(3,\), got \(2,\)"),
        ({"temperature": -1.0}, "temperature must be positive, got -1.0"),
        ({"dims": (5,)}, r"dims must be different widths in \[1, 4\], got \[5\]"),
        ({"block": 0}, "block must be at least 1, got 0"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        text_geometry_loss(**{"text_ND": torch.ones(3, 4), "teacher_NE": torch.ones(3, 4), **arguments})


def plainly(model, teacher, batch, weight):
    """Loss, its geometry and gradients of one graph, every text alone, the teacher by loops."""
    model.zero_grad()
    embeddings = {}
    for name, encoder, side in (("text", model, "text"), ("code", model, "code"), ("goal", teacher, "text")):
        rows = batch[f"{side}_input_ids"].split(batch[f"{side}_lengths"].tolist())
        embeddings[name] = torch.stack([encoder(input_ids=row[None]).last_hidden_state[0].mean(dim=0) for row in rows])
    hashes = batch["text_hash"].tolist()
    geometry = slow_loss(embeddings["text"], embeddings["goal"].detach(), 0.05, hashes)
    loss = bimodal_contrastive_loss(
        embeddings["text"], embeddings["code"], text_hash_N=batch["text_hash"], code_hash_N=batch["code_hash"]
    )
    loss = loss + weight * geometry
    loss.backward()
    return loss, geometry, {name: weight.grad.clone() for name, weight in model.named_parameters()}


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("tokens", [None, 16, 1000])
def test_a_cached_step_is_the_plain_gradient(tmp_path, tokens, packed):
    model, teacher = (CodeRepModel(small_config()).double() for _ in range(2))
    batch = batch_of(7, repeats=True)
    expected, geometry, gradients = plainly(model, teacher, batch, 0.7)
    trainer = trainer_of(model, tmp_path, packed, teacher, mini_batch_tokens=tokens, text_geometry_weight=0.7)
    loss, mine = step(trainer, batch)
    torch.testing.assert_close(loss, expected.detach(), rtol=1e-9, atol=1e-11)
    for name, gradient in gradients.items():
        torch.testing.assert_close(mine[name], gradient, rtol=1e-9, atol=1e-11, msg=lambda m, name=name: f"{name}: {m}")
    logs = {"loss": 1.0}
    trainer.log(logs)
    assert logs["text_geometry"] == pytest.approx(geometry.item()) and geometry.item() > 0.01
    torch.testing.assert_close(trainer.compute_loss(model, dict(batch)), expected)


def test_the_first_step_keeps_what_is_there(tmp_path):
    """The model still is the teacher, which has no dropout whatever the model has: no geometry in the loss."""
    model, teacher = CodeRepModel(small_config()), CodeRepModel(small_config(hidden_dropout=0.5)).train()
    teacher.load_state_dict(model.state_dict())
    plain = step(trainer_of(model, tmp_path, mini_batch_tokens=20), batch_of(9))
    trainer = trainer_of(model, tmp_path, None, teacher, mini_batch_tokens=20, text_geometry_weight=5.0)
    state = torch.get_rng_state()
    kept = step(trainer, batch_of(9))
    assert torch.equal(torch.get_rng_state(), state), "the teacher draws random numbers"
    torch.testing.assert_close(kept[0], plain[0], rtol=0, atol=1e-6)
    for name, gradient in plain[1].items():
        torch.testing.assert_close(kept[1][name], gradient, rtol=1e-4, atol=1e-5)
    assert not any(weight.requires_grad for weight in teacher.parameters())


def test_every_process_reads_the_teacher(monkeypatch, tmp_path):
    """FSDP may have only the first process read weights and hand them on, which nobody would do for the teacher."""
    monkeypatch.setenv("FSDP_CPU_RAM_EFFICIENT_LOADING", "true")
    seen = []

    def load(args, tokenizer):
        seen.append((os.environ["FSDP_CPU_RAM_EFFICIENT_LOADING"], args.lora_rank))
        return SimpleNamespace(model="the teacher")

    monkeypatch.setattr(teaching, "load_backbone", load)
    args = ContrastiveArguments(output_dir=str(tmp_path), model="a", text_geometry_weight=1.0, lora_rank=2)
    assert teaching.load_teacher(args, None) == "the teacher" and seen == [("false", None)]
    assert os.environ["FSDP_CPU_RAM_EFFICIENT_LOADING"] == "true" and args.lora_rank == 2
    args.text_geometry_weight = 0.0
    assert teaching.load_teacher(args, None) is None and len(seen) == 1


def run(stage2, folder, *more):
    return coderep.main(train_argv(stage2, folder, 12, "--max_steps", "6", "--learning_rate", "0.002", *more))


def test_a_run_keeps_its_texts_nearer_to_the_start_and_leaves_no_teacher(stage2, tmp_path):
    found = {}
    for weight in ("0", "3"):
        assert run(stage2, tmp_path / weight, "--text_geometry_weight", weight, "--mini_batch_tokens", "48") == 0
        found[weight] = losses(tmp_path / weight)[1]["log"]
    assert [entry["text_geometry"] for entry in found["3"]][0] == pytest.approx(0, abs=1e-5)
    assert all("text_geometry" not in entry for entry in found["0"])
    assert weights(tmp_path / "0").keys() == weights(tmp_path / "3").keys()
    assert found["0"][0]["loss"] == pytest.approx(found["3"][0]["loss"], abs=1e-4)
    # Both models among the texts of one batch, against the model that they began with.
    batch = batch_of(12)
    start, free, kept = (
        CodeRepModel.from_pretrained(folder).eval()
        for folder in (stage2 / "model", tmp_path / "0" / "model", tmp_path / "3" / "model")
    )
    with torch.no_grad():
        embedded = [
            torch.stack([model(input_ids=ids[None]).pooler_output[0] for ids in rows_of(batch)])
            for model in (start, free, kept)
        ]
    moved = [text_geometry_loss(text, embedded[0]).item() for text in embedded[1:]]
    assert moved[1] < 0.7 * moved[0]


def rows_of(batch):
    return batch["text_input_ids"].split(batch["text_lengths"].tolist())


def test_with_adapters_the_teacher_has_none(stage2, tmp_path):
    more = ["--text_geometry_weight", "1", "--lora_rank", "2", "--bf16", "true"]
    assert run(stage2, tmp_path / "run", *more) == 0
    log = losses(tmp_path / "run")[1]["log"]
    # Adapters begin at 0, and the teacher computes in bf16 as the model does.
    assert log[0]["text_geometry"] == pytest.approx(0, abs=1e-5) and log[-1]["text_geometry"] > 1e-4


@pytest.mark.skipif(sys.platform == "win32", reason="needs fork and gloo")
@pytest.mark.parametrize("wrapper", ["ddp", pytest.param("fsdp", marks=pytest.mark.slow)])
def test_two_processes_are_one(train, stage2, tmp_path, wrapper):
    before, env = (SHARD_ON_CPU, fsdp_environment()) if wrapper == "fsdp" else ("", {})
    more = [*SGD, "--max_steps", "4", "--max_grad_norm", "0", "--learning_rate", "0.02", "--text_geometry_weight", "1"]
    assert train(train_argv(stage2, tmp_path / "one", 12, *more))[0] == [0]
    codes, logs = train(train_argv(stage2, tmp_path / "two", 6, *more, "--mini_batch_tokens", "48"), 2, before, env)
    assert codes == [0, 0], logs
    (mine, record), (theirs, other) = (losses(tmp_path / name) for name in ("two", "one"))
    torch.testing.assert_close(mine, theirs, rtol=0, atol=1e-5)
    assert_close(weights(tmp_path / "two"), weights(tmp_path / "one"))
    geometry = [[entry["text_geometry"] for entry in one["log"]] for one in (record, other)]
    assert geometry[0] == pytest.approx(geometry[1], rel=1e-2, abs=1e-5) and geometry[1][-1] > 1e-3


@pytest.mark.parametrize(
    "flags, message",
    [
        (["--text_geometry_weight", "-1"], "text_geometry_weight must be at least 0 (off), got -1.0."),
        (["--text_geometry_temperature", "0"], "text_geometry_temperature must be positive, got 0.0."),
        (
            ["--text_geometry_weight", "1", "--loss", "unimodal"],
            "text_geometry_weight=1.0 is for loss: bimodal. Leave it out.",
        ),
    ],
)
def test_refused_in_a_line(stage2, tmp_path, capsys, flags, message):
    assert run(stage2, tmp_path / "run", *flags) == 2
    assert capsys.readouterr().err.splitlines() == [f"coderep: {message}"]


def test_a_new_model_has_no_geometry_to_keep(stage2, tmp_path, capsys):
    argv = train_argv(stage2, tmp_path / "run", 12, "--text_geometry_weight", "1", "--tokenizer", str(stage2 / "model"))
    place = argv.index("--model")
    assert coderep.main(argv[:place] + argv[place + 2 :]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("coderep: text_geometry_weight=1.0 keeps texts where the model to start from has them, and")
    assert line.endswith("Name it with --model, or leave text_geometry_weight out.")


def test_a_trainer_needs_its_teacher(tmp_path):
    with pytest.raises(
        ValueError, match="text_geometry_weight=1.0 needs a teacher. Give ContrastiveTrainer another copy"
    ):
        trainer_of(CodeRepModel(small_config()), tmp_path, text_geometry_weight=1)
