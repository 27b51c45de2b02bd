"""Hard negatives: windows and margins against a slow version, draws, exclusions, resuming, what training takes."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from fake_embedder import Fake

import coderep
from data_collators import PairCollator
from data_collators.builders.store import load_split, load_stats
from hub_cards.data import render_dataset_card
from trainers.filtering.options import PoolOptions
from trainers.filtering.pool import draw_rows
from trainers.filtering.search import nearest
from trainers.mining import NEGATIVES, POSITIVE, SCORES, NegativeMining, mine_negatives


@cache
def random(text):
    """A direction for each text, and nearly the same one for the code of the same number, whatever its blanks."""
    kind, number = text.split()[:2]
    near = np.random.default_rng([ord(kind[0]), int(number)]).normal(size=8)
    return np.random.default_rng(int(number)).normal(size=8) + 0.8 * near


def write_rows(path, count, texts=None, codes=None):
    """Pairs of the same number, some in another language."""
    lines = [
        {
            "text": texts[n] if texts else f"text {n}",
            "code": codes[n] if codes else f"code {n}",
            "language": ("python", "go")[n % 3 == 0],
        }
        for n in range(count)
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


@pytest.fixture
def file(tmp_path):
    return write_rows(tmp_path / "pairs.jsonl", 60)


def run(data, output, rule=None, **options):
    embedder = Fake(vector=random)
    options = PoolOptions(**{"pool": 1000, "piece_rows": 11, **options})
    return mine_negatives(embedder, data, output, rule or NegativeMining(), options), embedder


def mined(folder):
    return load_split(folder, "train").to_list()


@cache
def cosine(text, code):
    a, b = (np.asarray(random(part), float) for part in (text, code))
    return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))


def slow_window(row, pool, rank_from, rank_to):
    """(score, code) of the ranks of a window, by sorting everything that counts."""

    def plain(text):
        return " ".join(text.split())

    others = {plain(other["code"]): other["code"] for other in reversed(pool)}
    for other in pool:
        if plain(other["code"]) == plain(row["code"]) or plain(other["text"]) == plain(row["text"]):
            others.pop(plain(other["code"]), None)
    ranked = sorted(((cosine(row["text"], code), code) for code in others.values()), reverse=True)
    return ranked[rank_from - 1 : rank_to]


def same(found, expected):
    codes, scores = found
    assert codes == [code for _, code in expected]
    assert scores == pytest.approx([score for score, _ in expected], abs=1e-5)


@pytest.mark.parametrize("block", [1, 4, 9, 100])
@pytest.mark.parametrize("count", [1, 5, 30])
def test_the_nearest_codes_are_those_of_a_full_sort(block, count):
    generator = torch.Generator().manual_seed(0)
    text_ND, pool_KD = torch.randn(6, 5, generator=generator), torch.randn(20, 5, generator=generator)
    excluded = torch.rand(6, 20, generator=generator) < 0.2
    columns_X, rows_X = excluded.T.nonzero(as_tuple=True)
    scores_NT, columns_NT = nearest(text_ND, pool_KD, (rows_X, columns_X), count, block)
    expected = (text_ND @ pool_KD.T).masked_fill(excluded, -torch.inf)
    for row in range(6):
        order = sorted(range(20), key=lambda place: -expected[row, place].item())[:count]
        allowed = [place for place in order if not excluded[row, place]]
        assert columns_NT[row, : len(allowed)].tolist() == allowed
        assert scores_NT[row, : len(allowed)].tolist() == pytest.approx(expected[row, allowed].tolist(), abs=1e-5)
        assert torch.isinf(scores_NT[row, len(allowed) :]).all()


@pytest.mark.parametrize(
    "rule",
    [
        NegativeMining(3, 1, 5, margin=None, top=True),
        NegativeMining(4, 10, 20, margin=None, top=True),
        NegativeMining(4, 2, 9, margin=0.7, top=True),
        NegativeMining(4, 2, 9, margin=None, absolute_margin=0.3, top=True),
        NegativeMining(60, 1, 100, margin=0.9, absolute_margin=0.1),
    ],
)
def test_negatives_equal_a_slow_version(file, tmp_path, rule):
    """All negatives of the window below both limits, best first, as many as asked for."""
    run(file, tmp_path / "out", rule)
    rows = mined(tmp_path / "out")
    fewer = 0
    for row in rows:
        positive = cosine(row["text"], row["code"])
        ceilings = [np.inf if rule.margin is None else positive - (1 - rule.margin) * abs(positive)]
        ceilings.append(np.inf if rule.absolute_margin is None else positive - rule.absolute_margin)
        window = slow_window(row, rows, rule.rank_from, rule.rank_to)
        expected = [(score, code) for score, code in window if score <= min(ceilings)][: rule.per_pair]
        same((row[NEGATIVES], row[SCORES]), expected)
        assert row[POSITIVE] == pytest.approx(positive, abs=1e-5)
        fewer += len(expected) < min(rule.per_pair, len(window))
    assert fewer or (rule.margin, rule.absolute_margin) == (None, None), "no limit did anything"


def test_a_margin_below_zero_goes_the_right_way():
    """95 % of -0.2 would be -0.19, above the positive itself."""
    assert NegativeMining(margin=0.95).ceiling(-0.2) == pytest.approx(-0.21)
    assert NegativeMining(margin=0.95).ceiling(0.2) == pytest.approx(0.19)
    assert NegativeMining(margin=0.95, absolute_margin=0.1).ceiling(0.2) == pytest.approx(0.1)
    assert NegativeMining(margin=None).ceiling(0.2) == np.inf


def test_draws_come_from_the_window_and_are_reproducible(file, tmp_path):
    rule = NegativeMining(4, 5, 30, margin=None)
    for name, seed in (("one", 0), ("again", 0), ("other", 1)):
        run(file, tmp_path / name, rule, seed=seed)
    one, again, other = (mined(tmp_path / name) for name in ("one", "again", "other"))
    assert one == again and one != other
    ranks = []
    for row in one:
        window = [code for _, code in slow_window(row, one, 5, 30)]
        places = [window.index(code) for code in row[NEGATIVES]]
        assert len(set(places)) == 4 and places == sorted(places)
        ranks += places
    # 26 places, each as likely: their mean is 12.5 with a deviation of 7.5 by the root of the number drawn.
    assert abs(np.mean(ranks) - 12.5) < 5 * 7.5 / np.sqrt(len(ranks))
    # Rows draw by their own numbers: pieces of another size change nothing.
    run(file, tmp_path / "pieces", rule, piece_rows=60)
    assert [row[NEGATIVES] for row in mined(tmp_path / "pieces")] == [row[NEGATIVES] for row in one]


def test_never_its_own_code_nor_one_that_the_same_text_has(tmp_path):
    """Copies differ in blanks; some texts stand several times; some codes stand under several texts."""
    codes = [f"code{' ' * (1 + number % 2)}{number % 30}" for number in range(60)]
    texts = [f"text {number % 25}" for number in range(60)]
    file = write_rows(tmp_path / "pairs.jsonl", 60, texts, codes)
    run(file, tmp_path / "out", NegativeMining(10**3, 1, 10**3, margin=None, top=True))
    rows, barred = mined(tmp_path / "out"), 0
    for row in rows:
        good = {" ".join(other["code"].split()) for other in rows if other["text"] == row["text"]}
        found = [" ".join(code.split()) for code in row[NEGATIVES]]
        assert not good & set(found) and len(set(found)) == len(found) == 30 - len(good)
        barred += len(good) > 1
    assert barred


def test_pools_of_a_size_and_of_a_language(file, tmp_path):
    rule = NegativeMining(100, 1, 100, margin=None)
    run(file, tmp_path / "few", rule, pool=20)
    rows = mined(tmp_path / "few")
    pool = {rows[place]["code"] for place in draw_rows(60, 20, 0)}
    assert {code for row in rows for code in row[NEGATIVES]} == pool
    run(file, tmp_path / "same", rule, same_language=True)
    language = {row["code"]: row["language"] for row in rows}
    for row in mined(tmp_path / "same"):
        assert {language[code] for code in row[NEGATIVES]} == {row["language"]}
        assert len(row[NEGATIVES]) == list(language.values()).count(row["language"]) - 1


def test_fewer_than_asked_for_are_kept_and_counted(file, tmp_path):
    stats, _ = run(file, tmp_path / "out", NegativeMining(4, 1, 10, margin=0.5, top=True))
    rows, figures = mined(tmp_path / "out"), stats["negatives"]
    counts = [len(row[NEGATIVES]) for row in rows]
    assert len(rows) == 60 and 0 < sum(count < 4 for count in counts) < 60
    assert figures["pairs_by_negatives"] == {str(number): counts.count(number) for number in range(5)}
    assert figures["mean_positive_score"] == pytest.approx(np.mean([row[POSITIVE] for row in rows]))
    assert figures["mean_negative_score"] == pytest.approx(np.mean([s for row in rows for s in row[SCORES]]))
    assert all(score <= 0.5 * row[POSITIVE] + 1e-6 for row in rows for score in row[SCORES])
    assert figures["kept"] == 60 and figures["dropped"] == 0 and stats["splits"]["train"]["rows"] == 60
    assert render_dataset_card(tmp_path / "out")


def test_a_window_behind_the_pool_gives_none(file, tmp_path):
    stats, _ = run(file, tmp_path / "out", NegativeMining(2, 100, 200))
    assert stats["negatives"]["pairs_by_negatives"] == {"0": 60, "1": 0, "2": 0}
    assert all(row[NEGATIVES] == [] for row in mined(tmp_path / "out"))


def test_training_takes_them(file, tmp_path, tokenizer):
    run(file, tmp_path / "out", NegativeMining(3, 1, 10, margin=None))
    rows = load_split(tmp_path / "out", "train")
    batch = PairCollator(tokenizer, max_negatives=3)([rows[0], rows[1]])
    assert len(batch["negative_lengths"]) == len(batch["negative_hash"]) == 6


def test_the_test_split_passes_without_negatives(tmp_path):
    folder = tmp_path / "rows"
    folder.mkdir()
    write_rows(folder / "train.jsonl", 30)
    write_rows(folder / "test.jsonl", 5)
    run(folder, tmp_path / "out")
    assert [row[NEGATIVES] for row in load_split(tmp_path / "out", "test").to_list()] == [None] * 5
    assert len(mined(tmp_path / "out")) == 30


def test_shares_and_resumed_runs_equal_the_whole(file, tmp_path):
    run(file, tmp_path / "whole")
    for place in (2, 1):
        assert run(file, tmp_path / "out", shard=(place, 2))[0] is None
    _, embedder = run(file, tmp_path / "out")
    whole, out = (
        {path.name: path.read_bytes() for path in Path(tmp_path / name).glob("*.parquet")} for name in ("whole", "out")
    )
    assert embedder.seen == [] and whole == out and whole
    assert load_stats(tmp_path / "whole")["fingerprint"] == load_stats(tmp_path / "out")["fingerprint"]


def test_parts_of_another_rule_are_not_taken(file, tmp_path):
    run(file, tmp_path / "out", shard=(1, 2))
    with pytest.raises(FileExistsError, match="holds work with another margin, per_pair"):
        run(file, tmp_path / "out", NegativeMining(per_pair=2, margin=0.9), shard=(2, 2))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"per_pair": 0}, "per_pair must be at least 1, got 0"),
        ({"rank_from": 0}, "ranks count from 1 and rank_from is not above rank_to, got 0 to 100"),
        ({"rank_from": 9, "rank_to": 8}, "rank_from is not above rank_to, got 9 to 8"),
        ({"margin": 1.5}, r"must lie in \(0, 1\], got 1.5"),
        ({"absolute_margin": -1}, r"difference of cosines, in \[0, 2\], got -1"),
    ],
)
def test_rules_out_of_range(changes, message):
    with pytest.raises(ValueError, match=message):
        NegativeMining(**changes)


def test_the_command(file, tmp_path, tiny_config, tokenizer, capsys):
    from modeling_coderep import CodeRepModel

    torch.manual_seed(0)
    CodeRepModel(tiny_config).save_pretrained(tmp_path / "model")
    tokenizer.save_pretrained(tmp_path / "model")
    argv = ["data", "negatives", str(tmp_path / "model"), "--data", str(file), "--output", str(tmp_path / "out")]
    argv += ["--device", "cpu", "--per-pair", "2", "--rank-from", "1", "--rank-to", "20"]
    assert coderep.main([*argv, "--no-margin", "--top", "--seed", "3"]) == 0
    printed, stats = capsys.readouterr().out, load_stats(tmp_path / "out")
    assert "2 negatives         60 pairs" in printed and "of positives" in printed
    rule = {"per_pair": 2, "rank_from": 1, "rank_to": 20, "margin": None, "top": True, "seed": 3}
    assert rule.items() <= stats["settings"]["negatives"].items()
    assert coderep.main(argv) == 2 and "add --overwrite" in capsys.readouterr().err
    assert coderep.main([*argv, "--overwrite"]) == 0
    assert stats["fingerprint"] != load_stats(tmp_path / "out")["fingerprint"]
    missing = [*argv[:4], str(tmp_path / "no.jsonl"), *argv[5:]]
    assert coderep.main([*missing, "--overwrite"]) == 2
    assert "is neither a file nor a folder nor a data set on the Hub" in capsys.readouterr().err
    assert not any(path.name.startswith(".") for path in tmp_path.iterdir())
