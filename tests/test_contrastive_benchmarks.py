"""What the benchmarks of stage 2 compute around what they time."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from benchmarks import consistency, train_contrastive
from benchmarks.consistency import SampledEmbedder
from benchmarks.train_contrastive import choose_pairs, padded_tokens, parse


def write_pairs(folder, count):
    rows = [{"text": f"text {number}", "code": f"code {number}"} for number in range(count)]
    path = folder / "pairs.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)) + "\n")
    return str(path)


def test_padded_tokens_on_paper():
    # Batches of 5 and 2 rows in mini-batches of 2: (3 1) (4 4) (2) (1 9), padded to 3, 4, 2 and 9.
    assert padded_tokens([3, 1, 4, 4, 2, 1, 9], batch=5, mini_batch=2) == [6, 8, 2, 18]


def test_no_batch_holds_a_pair_twice(tmp_path):
    rows = choose_pairs(write_pairs(tmp_path, 7), count=10, batch=3)
    assert len(rows) == 10 and len({row["text"] for row in rows}) == 6
    for start in range(0, 10, 3):
        batch = [row["text"] for row in rows[start : start + 3]]
        assert len(set(batch)) == len(batch)
    assert all(row["code"] == row["text"].replace("text", "code") for row in rows)


def test_too_few_pairs(tmp_path):
    with pytest.raises(SystemExit, match="7 pairs are fewer than a batch of 8. Name a folder of more with --pairs"):
        choose_pairs(write_pairs(tmp_path, 7), count=16, batch=8)


@pytest.mark.parametrize("share", ["0", "1.5"])
def test_share_out_of_range(share, capsys):
    with pytest.raises(SystemExit):
        consistency.parse(["--share", share])
    assert f"--share must lie in (0, 1], got {float(share)}. 1 encodes everything." in capsys.readouterr().err


class Counting:
    """An embedder whose clock stands still but for one second a character; every text is its own direction."""

    name, fingerprint, changes, model = "counting", "0", (), torch.nn.Identity()

    def __init__(self, monkeypatch):
        self.now, self.seen = 0.0, []
        monkeypatch.setattr(consistency.time, "perf_counter", lambda: self.now)

    def encode(self, texts, *, max_length, kind):
        self.seen += texts
        self.now += sum(map(len, texts)) + len(texts)
        return np.eye(8, dtype=np.float32)[[len(text) % 8 for text in texts]]


def test_a_share_is_encoded_and_its_time_scaled_up(monkeypatch):
    embedder = Counting(monkeypatch)
    texts = ["x" * length for length in (1, 5, 9, 2, 30, 4, 7, 12)]
    sampled = SampledEmbedder(embedder, 0.25)
    found_ND = sampled.encode(texts, max_length=512, kind="document")
    assert len(embedder.seen) == 2 and set(embedder.seen) <= set(texts)
    for text in embedder.seen:
        assert found_ND[texts.index(text), len(text) % 8] == 1
    np.testing.assert_allclose(np.linalg.norm(found_ND, axis=1), 1, rtol=1e-6)
    # All eight would have taken their 70 characters and one second each.
    assert sampled.seconds == pytest.approx(78) and sampled.spent == sum(map(len, embedder.seen)) + 2
    assert sampled.texts == 8


def test_all_are_encoded_where_the_share_is_whole(monkeypatch):
    embedder = Counting(monkeypatch)
    found_ND = SampledEmbedder(embedder, 1.0).encode(["a", "bb", "ccc"], max_length=512, kind="query")
    assert np.array_equal(found_ND, np.eye(8)[[1, 2, 3]])


def test_options_that_the_children_get_are_those_of_the_parent(monkeypatch, tmp_path):
    """A child parses the same options; one that `run_child` forgot would silently have its default."""
    given = ["--model", "m", "--mini-batch", "3", "--length", "40", "--steps", "5", "--threads", "1", "--device", "cpu"]
    args = parse([*given, "--dtype", "bfloat16", "--batch", "8"])
    seen = []

    class Done:
        returncode, stdout, stderr = 0, '{"seconds": [1.0]}\n', ""

    monkeypatch.setattr(train_contrastive.subprocess, "run", lambda command, **_: seen.append(command) or Done)
    assert train_contrastive.run_child(args, "rows", tmp_path / "rows.json", 8, 99) == {"seconds": [1.0]}
    child = vars(parse(seen[0][3:]))
    told = {"peer": "rows", "rows": str(tmp_path / "rows.json"), "budget": 99}
    only_the_parents = {"rounds", "output", "preset", "pairs", "memory", "batches"}
    assert child == {**vars(args), **told, **{name: child[name] for name in only_the_parents}}


@pytest.mark.parametrize("peer", [train_contrastive.OURS, train_contrastive.THEIRS, train_contrastive.THEIRS_BY_TOKENS])
def test_a_peer_trains_some_steps(peer, tiny_config, tokenizer, tmp_path, capsys):
    pytest.importorskip("sentence_transformers")
    from hub_cards import export_checkpoint
    from modeling_coderep import CodeRepModel
    from trainers.checkpoints import save_model

    save_model(CodeRepModel(tiny_config), tokenizer, tmp_path / "plain")
    export_checkpoint(tmp_path / "plain", tmp_path / "model")
    rows = [{"text": f"text {number}", "code": f"def code_{number}(): pass"} for number in range(24)]
    (tmp_path / "rows.json").write_text(json.dumps(rows))
    options = ["--peer", peer, "--rows", str(tmp_path / "rows.json"), "--model", str(tmp_path / "model"), "--threads"]
    options += ["1", "--batch", "6", "--mini-batch", "2", "--length", "16", "--steps", "2", "--budget", "32"]
    train_contrastive.child(parse([*options, "--device", "cpu"]))
    result = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert len(result["seconds"]) == len(result["used"]) == 2 and min(result["seconds"]) > 0
    assert result["peak"] >= result["before"] > 0
