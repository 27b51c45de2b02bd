"""Consistency filter: ranks against a slow version, pools, resuming, shares, records, errors, memory."""

from __future__ import annotations

import csv
import json
import signal
import sys
import time
from functools import cache, partialmethod
from pathlib import Path

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from fake_embedder import Fake

import coderep
from data_collators.builders.inspect import sample_rows
from data_collators.builders.parts import row_schema
from data_collators.builders.store import load_split, load_stats
from data_collators.files import write_json
from data_collators.rows import PairRow, columns
from hub_cards.data import render_dataset_card
from hub_cards.data_report import read_stats, report_tables
from trainers.consistency import PLOT, RANK, SCORE, ConsistencyFilter, filter_consistency
from trainers.filtering.histogram import rank_label
from trainers.filtering.options import PoolOptions
from trainers.filtering.pool import draw_rows
from trainers.filtering.search import own_ranks
from trainers.filtering.source import PairSource

ALL = ConsistencyFilter(keep_rank=10**6)
LANGUAGES = ("python", "go", "ruby")


def number_of(text):
    return int("".join(filter(str.isdigit, text)))


@cache
def perfect(text):
    """A text and a code with the same number point in the same direction."""
    return np.random.default_rng(number_of(text)).normal(size=16)


@cache
def random(text):
    return np.random.default_rng(list(text.encode())).normal(size=16)


def rows_of(count, **changes):
    found = []
    for number in range(count):
        row = {item.name: [] if pa.types.is_list(item.type) else "" for item in row_schema(PairRow)}
        row |= {"id": f"r{number}", "text": f"text {number}", "code": f"code {number}", "repo": "a", "path": "b"}
        row |= {"language": LANGUAGES[number % 3], "kind": "function", "name": f"f{number}"}
        found.append(row | {name: value[number] for name, value in changes.items()})
    return found


def write_pairs(folder, rows, test=(), shards=2, group=10):
    """A data set of pairs, as the builders write it, of some shards with row groups of some rows."""
    folder.mkdir()
    for split, chosen, files in (("train", rows, shards), ("test", test, 1)):
        for number, part in enumerate(np.array_split(np.arange(len(chosen)), files)):
            table = pa.Table.from_pylist([chosen[row] for row in part], row_schema(PairRow))
            if len(table):
                path = folder / f"{split}-{number:05d}-of-{files:05d}.parquet"
                pq.write_table(table, path, row_group_size=group)
    counts = {name: {"counts": {"rows": 0, "files": 1, "bytes": 9}, "dropped": {"stub": 1}} for name in LANGUAGES}
    for row in [*rows, *test]:
        counts[row["language"]]["counts"]["rows"] += 1
    stats = {"kind": "pairs", "sources": ["s"], "languages": dict.fromkeys(counts, 1), "test_share": 0.1}
    stats |= {"settings": {"near_dedup": None}, "splits": {"train": {"rows": len(rows)}, "test": {"rows": len(test)}}}
    stats |= {"files": {"kept": 3, "bytes": 27, "dropped": {}}, "dropped": {"stub": 3}, "per_language": counts}
    stats |= {"decontamination": {"sets": [], "ngram": 13, "removed": {}}, "repositories": {}}
    write_json(folder / "stats.json", {**stats, "fingerprint": "00ff", "seconds": 1.0})
    return folder


@pytest.fixture
def pairs(tmp_path):
    return write_pairs(tmp_path / "pairs", rows_of(50), rows_of(8))


def run(folder, output, vector=perfect, rule=ALL, **options):
    embedder = Fake(vector=vector)
    options = PoolOptions(**{"pool": 30, "piece_rows": 7, **options})
    return filter_consistency(embedder, folder, output, rule, options), embedder


def shards(folder):
    return {path.name: path.read_bytes() for path in sorted(Path(folder).glob("*.parquet"))}


# ranks


@pytest.mark.parametrize("block", [1, 3, 7, 100])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_ranks_equal_a_slow_double_loop(block, dtype):
    """Small whole numbers, so that many scores tie; about a tenth of the pool is excluded for each text."""
    generator = torch.Generator().manual_seed(0)
    draw = lambda rows: torch.randint(-2, 3, (rows, 6), generator=generator).float()  # noqa: E731
    text_ND, code_ND, pool_KD = draw(11), draw(11), draw(20)
    excluded = torch.rand(11, 20, generator=generator) < 0.1
    columns_X, rows_X = excluded.T.nonzero(as_tuple=True)
    ranks, scores = own_ranks(text_ND, code_ND.to(dtype), pool_KD.to(dtype), (rows_X, columns_X), block)
    ties = 0
    for row in range(11):
        own = sum(float(a) * float(b) for a, b in zip(text_ND[row], code_ND[row], strict=True))
        others = [
            sum(float(a) * float(b) for a, b in zip(text_ND[row], pool_KD[place], strict=True))
            for place in range(20)
            if not excluded[row, place]
        ]
        ties += others.count(own)
        assert ranks[row] == 1 + sum(score >= own for score in others) and scores[row] == own
    assert ties and excluded.any(), "nothing is tested"


def slow_rank(row, pool, vector):
    """The rank as the documents define it, one code of the pool after the other."""

    def plain(text):
        return " ".join(text.split())

    def score(code):
        a, b = (np.asarray(vector(text), float) for text in (row["text"], code))
        return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))

    own, rank, seen = score(row["code"]), 1, set()
    for other in pool:
        code = plain(other["code"])
        texts = [plain(entry["text"]) for entry in pool if plain(entry["code"]) == code]
        if code != plain(row["code"]) and code not in seen and plain(row["text"]) not in texts:
            rank += score(other["code"]) >= own - 1e-6
        seen.add(code)
    return rank


@cache
def coarse(text):
    """Directions on a coarse grid, so that scores tie; blanks do not matter."""
    return np.random.default_rng(number_of(text) % 17).integers(-1, 2, 4) + 0.5


def test_ranks_of_a_data_set_with_ties_duplicates_and_equal_texts(tmp_path):
    """Codes that differ in blanks, the same code under two texts, and texts that several pairs have."""
    codes = [f"code{' ' * (1 + number % 2)}{number % 30}" for number in range(60)]
    texts = [f"text {number % 25}" for number in range(60)]
    rows = rows_of(60, code=codes, text=texts)
    folder = write_pairs(tmp_path / "pairs", rows)
    _, embedder = run(folder, tmp_path / "out", coarse, pool=40)
    pool = [rows[place] for place in draw_rows(60, 40, 0)]
    found = load_split(tmp_path / "out", "train")
    assert found["id"][:] == [row["id"] for row in rows]
    assert found[RANK][:] == [slow_rank(row, pool, coarse) for row in rows]
    assert len(set(found[RANK][:])) > 5 and len({" ".join(row["code"].split()) for row in pool}) < 40


def test_codes_of_the_pool_are_embedded_once(pairs, tmp_path):
    """50 texts and 50 codes, of which 30 are in the pool: not 130 texts."""
    _, embedder = run(pairs, tmp_path / "out")
    assert sum(embedder.seen) == 100 and max(embedder.seen) <= 7


def test_same_language_compares_within_a_language(tmp_path):
    rows = rows_of(60)
    folder = write_pairs(tmp_path / "pairs", rows)
    stats, _ = run(folder, tmp_path / "out", random, pool=30, same_language=True)
    names = np.array([row["language"] for row in rows])
    pool = [rows[place] for place in draw_rows(names, 30, 0)]
    expected = [slow_rank(row, [p for p in pool if p["language"] == row["language"]], random) for row in rows]
    assert load_split(tmp_path / "out", "train")[RANK][:] == expected
    assert stats["consistency"]["pool_by_language"] == dict.fromkeys(sorted(LANGUAGES), 10)
    assert max(expected) > 3


def test_a_half_precision_pool_gives_nearly_the_same_ranks(pairs, tmp_path):
    run(pairs, tmp_path / "single", random), run(pairs, tmp_path / "half", random, pool_dtype="float16")
    ranks = [np.array(load_split(tmp_path / name, "train")[RANK][:]) for name in ("single", "half")]
    assert np.abs(ranks[0] - ranks[1]).max() <= 1 and np.ptp(ranks[0]) > 10


# pools


def test_pools_are_drawn_reproducibly():
    first, again, other = draw_rows(1000, 100, 1), draw_rows(1000, 100, 1), draw_rows(1000, 100, 2)
    assert first.tolist() == again.tolist() != other.tolist()
    assert len(set(first.tolist())) == 100 and first.tolist() == sorted(first.tolist()) and first.max() < 1000
    assert draw_rows(5, 100, 0).tolist() == [0, 1, 2, 3, 4]
    # Every row is as likely: the mean of the numbers drawn is that of all, within five of its standard deviations.
    drawn = np.concatenate([draw_rows(1000, 100, seed) for seed in range(100)])
    assert abs(drawn.mean() - 499.5) < 5 * 1000 / np.sqrt(12 * len(drawn))


def test_languages_have_equal_shares():
    languages = np.array(["a"] * 90 + ["b"] * 9 + ["c"])
    drawn = draw_rows(languages, 30, 0)
    assert [int((languages[drawn] == name).sum()) for name in "abc"] == [10, 9, 1]
    with pytest.raises(ValueError, match="a pool of 2 cannot hold codes of 3 languages. Raise --pool"):
        draw_rows(languages, 2, 0)


# properties


def test_a_pool_of_one_keeps_all(pairs, tmp_path):
    stats, _ = run(pairs, tmp_path / "out", random, ConsistencyFilter(), pool=1)
    assert stats["consistency"]["dropped"] == 0 and max(load_split(tmp_path / "out", "train")[RANK][:]) == 2


def test_a_perfect_model_keeps_all(pairs, tmp_path):
    stats, _ = run(pairs, tmp_path / "out", perfect, ConsistencyFilter(keep_rank=1), pool=50)
    assert stats["consistency"]["ranks"] == {"1": 50}
    assert min(load_split(tmp_path / "out", "train")[SCORE][:]) == pytest.approx(1)


def test_a_model_that_says_nothing_keeps_nothing_and_its_ranks_can_be_used_again(pairs, tmp_path):
    """All scores are equal, and ties count against the pair."""
    constant = lambda text: np.ones(4)  # noqa: E731
    with pytest.raises(ValueError, match="no pair stays: all 50 are inconsistent. Loosen the limits"):
        run(pairs, tmp_path / "out", constant, ConsistencyFilter())
    assert not (tmp_path / "out").exists()
    stats, embedder = run(pairs, tmp_path / "out", constant, ConsistencyFilter(keep_rank=31))
    assert stats["consistency"]["kept"] == 50 and embedder.seen == []
    # 20 pairs are not in the pool of 30, whose codes all score as high.
    assert sorted(load_split(tmp_path / "out", "train")[RANK][:]) == [30] * 30 + [31] * 20
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_a_random_model_keeps_about_rank_by_pool(tmp_path):
    """The own code has each rank from 1 to 100 with equal probability: 99 others, and none of a text equal to it."""
    folder = write_pairs(tmp_path / "pairs", rows_of(3000), shards=1, group=3000)
    stats, _ = run(folder, tmp_path / "out", random, ConsistencyFilter(keep_rank=5), pool=99, piece_rows=1000)
    share, n = 5 / 100, 3000
    # Pairs compete with the same pool, so they are not independent: twice the room of five sigma.
    assert abs(stats["consistency"]["kept"] - share * n) < 10 * np.sqrt(n * share * (1 - share))


def test_score_limit(pairs, tmp_path):
    rule = ConsistencyFilter(keep_rank=10**6, min_score=0.1)
    stats, _ = run(pairs, tmp_path / "out", random, rule)
    run(pairs, tmp_path / "all", random)
    scores = np.array(load_split(tmp_path / "all", "train")[SCORE][:])
    assert 0 < stats["consistency"]["kept"] == int((scores >= 0.1).sum()) < 50


# the data set that comes out


def test_it_is_a_data_set_of_pairs_like_any_other(pairs, tmp_path):
    rule = ConsistencyFilter(keep_rank=3, keep_dropped=True)
    stats, _ = run(pairs, tmp_path / "out", random, rule)
    kept, test = (load_split(tmp_path / "out", split).to_list() for split in ("train", "test"))
    dropped = pq.read_table(tmp_path / "out" / "dropped-00000-of-00001.parquet").to_pylist()
    assert 0 < len(kept) < 50 and len(kept) + len(dropped) == 50
    assert all(row[RANK] <= 3 for row in kept) and all(row[RANK] > 3 for row in dropped)
    assert {row["reason"] for row in dropped} == {"inconsistent"}
    back = sorted([*kept, *dropped], key=lambda row: int(row["id"][1:]))
    assert [{name: row[name] for name in columns(PairRow)} for row in back] == rows_of(50)
    assert test == [{**row, RANK: None, SCORE: None} for row in rows_of(8)]
    together = datasets.load_dataset(str(tmp_path / "out"), cache_dir=str(tmp_path / "cache"))
    assert {split: len(rows) for split, rows in together.items()} == {"train": len(kept), "test": 8}
    assert load_stats(tmp_path / "out") == json.loads(json.dumps(stats))
    assert stats["splits"] == {"train": {"rows": len(kept)}, "test": {"rows": 8}}
    assert stats["dropped"] == {"stub": 3, "inconsistent": len(dropped)}
    figures, languages = stats["consistency"], stats["per_language"]
    for name in LANGUAGES:
        of_language = [row for row in [*kept, *test] if row["language"] == name]
        assert languages[name]["counts"]["rows"] == len(of_language)
        assert languages[name]["dropped"]["inconsistent"] == figures["per_language"][name]["dropped"]
    assert sum(figures["ranks"].values()) == 50 and figures["kept"] == len(kept)
    assert (tmp_path / "out" / PLOT).read_bytes().startswith(b"\x89PNG")
    assert "inconsistent" in render_dataset_card(tmp_path / "out")
    assert "inconsistent" in report_tables(read_stats([tmp_path / "out"]))
    assert sample_rows(tmp_path / "out", ["go"], 1, dropped=True)["go"][0]["reason"] == "inconsistent"


def test_fingerprints_tell_results_apart(pairs, tmp_path):
    found = {"00ff"}
    for number, (vector, rank) in enumerate([(random, 3), (random, 4), (perfect, 3)]):
        stats, _ = run(pairs, tmp_path / str(number), vector, ConsistencyFilter(keep_rank=rank))
        found.add(stats["fingerprint"])
        assert stats["consistency"]["source_fingerprint"] == "00ff"
    again, _ = run(pairs, tmp_path / "again", random, ConsistencyFilter(keep_rank=3))
    assert len(found) == 4 and again["fingerprint"] in found


def test_filtering_again_replaces_the_columns(pairs, tmp_path):
    run(pairs, tmp_path / "one", random)
    stats, _ = run(tmp_path / "one", tmp_path / "two", perfect, ConsistencyFilter(keep_rank=1))
    rows = load_split(tmp_path / "two", "train")
    assert rows.column_names.count(RANK) == 1 and set(rows[RANK][:]) == {1} and stats["consistency"]["kept"] == 50


def test_the_test_split_is_filtered_only_when_named(pairs, tmp_path):
    run(pairs, tmp_path / "out", random, splits=("train", "test"))
    assert None not in load_split(tmp_path / "out", "test")[RANK][:]
    run(pairs, tmp_path / "other", random, splits=("test",))
    assert set(load_split(tmp_path / "other", "train")[RANK][:]) == {None}
    assert load_split(tmp_path / "other", "test")[RANK][:] == load_split(tmp_path / "out", "test")[RANK][:]


def test_rank_labels():
    ranks = (1, 2, 3, 4, 10, 11, 30, 31, 100, 101, 300, 301)
    expected = "1 2 3 4-10 4-10 11-30 11-30 31-100 31-100 101-300 101-300 301-1000"
    assert list(map(rank_label, ranks)) == expected.split()


def test_without_matplotlib_there_is_no_picture_but_a_result(pairs, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    run(pairs, tmp_path / "out")
    assert not (tmp_path / "out" / PLOT).exists() and len(load_split(tmp_path / "out", "train")) == 50
    assert "no picture of the ranks" in capsys.readouterr().err


def test_the_record_says_where_the_time_went(pairs, tmp_path):
    def slow(text):
        time.sleep(0.002)
        return perfect(text)

    started = time.perf_counter()
    run(pairs, tmp_path / "out", slow, shard=(1, 2))  # what other sessions took counts as well
    stats, _ = run(pairs, tmp_path / "out", slow)
    seconds, whole = stats["consistency"]["seconds"], time.perf_counter() - started
    assert 0.002 * 100 <= seconds["encoding"] and 0 < seconds["elsewhere"]
    assert sum(seconds.values()) <= whole + 0.01


# users' own rows


def test_rows_of_a_json_file_become_pairs(tmp_path):
    lines = [{"query": f"text {n}", "document": f"code {n}", "lang": "Python" if n else None} for n in range(12)]
    lines[3]["document"] = "  "
    file = tmp_path / "mine.jsonl"
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    stats, _ = run(file, tmp_path / "out", perfect)
    rows = load_split(tmp_path / "out", "train").to_list()
    assert [row["text"] for row in rows] == [f"text {n}" for n in range(12) if n != 3]
    assert [row["language"] for row in rows] == ["unknown"] + ["python"] * 10
    assert stats["dropped"] == {"empty code": 1} and stats["splits"]["train"]["rows"] == 11
    assert render_dataset_card(tmp_path / "out") and sample_rows(tmp_path / "out", None, 1)
    with pytest.raises(ValueError, match="has no column 'text'"):
        file.write_text(json.dumps({"a": "b"}) + "\n")
        run(file, tmp_path / "other")
    assert not any(path.name.startswith(".other") for path in tmp_path.iterdir())
    run_with = PoolOptions(pool=5, columns=(("text", "a"), ("code", "b")))
    file.write_text(json.dumps({"a": "text 1", "b": "code 1"}) + "\n")
    assert filter_consistency(Fake(vector=perfect), file, tmp_path / "named", ALL, run_with)["consistency"]["kept"] == 1


def own_rows():
    """Users' own rows, some without a language, one without a code; codes of several lines, with what CSV quotes."""
    rows = [{"query": f"text {n}", "func": f'code {n},\n  "é;\tü"\n', "lang": "Go", "id": f"r{n}"} for n in range(12)]
    rows[3]["func"], rows[5]["lang"] = "  ", None
    return rows


def table_of(path, rows):
    """The rows in the format that the file's name says."""
    if path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    elif path.suffix == ".parquet":
        table = pa.Table.from_pylist(rows)
        if "dictionary" in path.name:  # as pandas writes categories, and polars all text
            table = table.set_column(2, "lang", table["lang"].dictionary_encode())
            table = table.set_column(1, "func", table["func"].cast(pa.large_string()))
        pq.write_table(table, path, row_group_size=5)
    else:
        encoding = "utf-8-sig" if "excel" in path.name else "utf-8"
        with path.open("w", newline="", encoding=encoding) as file:
            writer = csv.DictWriter(file, list(rows[0]), delimiter="," if path.suffix == ".csv" else "\t")
            writer.writeheader()
            writer.writerows(rows)
    return path


FORMATS = ("mine.jsonl", "mine.csv", "excel.csv", "mine.tsv", "mine.parquet", "dictionary.parquet")


@pytest.mark.parametrize("name", FORMATS)
def test_rows_of_every_format_become_the_same_pairs(tmp_path, name):
    """From a file; and from a folder whose test split passes through."""
    file, folder = table_of(tmp_path / name, own_rows()), tmp_path / "folder"
    folder.mkdir()
    table_of(folder / f"train-{name}", own_rows()), table_of(folder / f"valid-{name}", own_rows()[:2])
    for data in (file, folder):
        stats, _ = run(data, tmp_path / f"of {data.name}", perfect, columns=(("language", "lang"), ("code", "func")))
        rows = load_split(tmp_path / f"of {data.name}", "train").to_list()
        kept = [row for row in own_rows() if row["func"].strip()]
        for mine, theirs in zip(rows, kept, strict=True):
            assert (mine["text"], mine["code"], mine["id"]) == (theirs["query"], theirs["func"], theirs["id"])
            assert mine["language"] == ("go" if theirs["lang"] else "unknown") and mine[RANK] == 1
        assert stats["dropped"] == {"empty code": 1} and stats["splits"]["train"]["rows"] == 11
    assert load_split(tmp_path / "of folder", "test")["text"][:] == ["text 0", "text 1"]


def test_the_same_rows_have_the_same_fingerprint_in_every_format(tmp_path):
    rows, named = [{**row, "lang": "Go"} for row in own_rows()], (("code", "func"),)
    outputs = [run(table_of(tmp_path / name, rows), tmp_path / f"of {name}", columns=named)[0] for name in FORMATS]
    assert len({stats["fingerprint"] for stats in outputs}) == 1


@pytest.mark.parametrize("name", ["mine.csv", "mine.parquet"])
def test_the_command_takes_a_table(command, tmp_path, name):
    """And goes on with it after a kill; here what a killed run leaves is made by a share of the work."""
    file = table_of(tmp_path / name, own_rows())
    argv = [str(file) if word == str(tmp_path / "pairs") else word for word in command]
    argv = [*argv, str(tmp_path / "out"), "--columns", "text=query", "code=func"]
    assert coderep.main([*argv, "--shard", "1/2"]) == coderep.main(argv) == 0
    stats = load_stats(tmp_path / "out")
    assert stats["consistency"]["kept"] + stats["consistency"]["dropped"] == 11
    table_of(file, own_rows()[:8])
    assert coderep.main([*argv, "--overwrite"]) == 0
    assert sum(load_stats(tmp_path / "out")["consistency"][name] for name in ("kept", "dropped")) == 7


# shares of several machines


def test_shares_equal_the_whole(pairs, tmp_path, capsys):
    run(pairs, tmp_path / "whole", random)
    for place in (3, 1, 2):
        found, _ = run(pairs, tmp_path / "out", random, shard=(place, 3))
        assert found is None and not (tmp_path / "out").exists()
    # 10 parts: five row groups of a shard of 25 rows are 10, 10, 5, so pieces of 7, 3, 7, 3, 5, twice.
    assert "share 2/3 is done, 10 of 10 parts are there" in capsys.readouterr().err
    stats, embedder = run(pairs, tmp_path / "out", random)
    assert embedder.seen == [] and shards(tmp_path / "out") == shards(tmp_path / "whole")
    assert stats["fingerprint"] == load_stats(tmp_path / "whole")["fingerprint"]


def test_a_missing_share_is_made_by_the_last_command(pairs, tmp_path):
    run(pairs, tmp_path / "whole", random)
    _, first = run(pairs, tmp_path / "out", random, shard=(2, 3))
    _, last = run(pairs, tmp_path / "out", random)
    assert first.seen and last.seen and shards(tmp_path / "out") == shards(tmp_path / "whole")


# kills


@pytest.fixture
def command(tmp_path, tiny_config, tokenizer):
    """The command with a small real model, on pairs of real length."""
    from modeling_coderep import CodeRepModel

    torch.manual_seed(0)
    CodeRepModel(tiny_config).save_pretrained(tmp_path / "model")
    tokenizer.save_pretrained(tmp_path / "model")
    texts = [f"add {number} to x" for number in range(50)]
    codes = [f"def f(x):\n    y = {number}\n    return x + y\n" for number in range(50)]
    folder = write_pairs(tmp_path / "pairs", rows_of(50, text=texts, code=codes), rows_of(8))
    shared = ["data", "consistency", str(tmp_path / "model"), "--data", str(folder), "--pool", "20"]
    return [*shared, "--keep-rank", "15", "--keep-dropped", "--device", "cpu", "--output"]


# Pieces of 7 rows, and slow ones, in a process of its own.
SMALL = """
import time
from functools import cache, partialmethod
from trainers.filtering import job, merge, options
options.PoolOptions.__init__ = partialmethod(options.PoolOptions.__init__, piece_rows=7)
def slow(function):
    return lambda *given: (time.sleep(0.3), function(*given), time.sleep(0.3))
"""
SLOW_PARTS = SMALL + "job.Job.write = slow(job.Job.write)"
SLOW_MERGE = SMALL + "merge.Merger.add = slow(merge.Merger.add)"


@pytest.fixture
def small_pieces(monkeypatch):
    monkeypatch.setattr(PoolOptions, "__init__", partialmethod(PoolOptions.__init__, piece_rows=7))


def killed(process, when):
    """Wait for a moment, then kill; whether it came before the end."""
    deadline = time.monotonic() + 120
    while process.is_alive() and not when() and time.monotonic() < deadline:
        time.sleep(0.005)
    process.kill()
    process.join()
    return process.exitcode == -signal.SIGKILL


@pytest.mark.skipif(sys.platform == "win32", reason="needs SIGKILL")
def test_killed_while_it_ranks_and_while_it_writes_it_ends_with_the_same_bytes(command, start, tmp_path, small_pieces):
    whole, output, log = tmp_path / "whole", tmp_path / "out", tmp_path / "log"
    made = lambda: {p.name: p.stat().st_mtime_ns for p in tmp_path.glob(".out.parts/[0-9]*.parquet")}  # noqa: E731
    assert killed(start([*command, str(output)], log, SLOW_PARTS), lambda: len(made()) >= 2), log.read_text()
    first = made()
    assert 2 <= len(first) < 10
    partial = tmp_path / ".out.partial"
    assert killed(start([*command, str(output)], log, SLOW_MERGE), partial.exists), log.read_text()
    second = made()
    assert not output.exists() and len(second) == 10
    assert {name: second[name] for name in first} == first, "a part was made twice"
    assert f"goes on, {len(first)} of 10 parts are there" in log.read_text()
    assert coderep.main([*command, str(output)]) == coderep.main([*command, str(whole)]) == 0
    assert (output / "README.md").is_file()
    assert made() == {} and shards(output) == shards(whole) and len(shards(whole)) == 3
    assert sorted(path.name for path in tmp_path.iterdir() if path.name.startswith(".")) == []
    stats = [load_stats(folder) for folder in (whole, output)]
    for record in stats:
        record.pop("seconds"), record["consistency"].pop("seconds")
    assert stats[0] == stats[1] and stats[0]["consistency"]["pool"] == 20


@pytest.mark.slow
def test_two_machines_at_once(command, start, tmp_path, small_pieces):
    log = tmp_path / "log"
    processes = [start([*command, str(tmp_path / "out"), "--shard", f"{place}/2"], log, SMALL) for place in (1, 2)]
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0, 0], log.read_text()
    for name in ("out", "whole"):
        assert coderep.main([*command, str(tmp_path / name)]) == 0
    assert shards(tmp_path / "out") == shards(tmp_path / "whole")


def test_the_command_says_what_stays(command, tmp_path, capsys):
    assert coderep.main([*command, str(tmp_path / "out")]) == 0
    printed = capsys.readouterr().out
    stats = load_stats(tmp_path / "out")["consistency"]
    assert f"{stats['kept']} of        50 pairs stay ({2 * stats['kept']}.0 %)" in printed
    assert [line.split()[0] for line in printed.splitlines()[:4]] == [*sorted(LANGUAGES), "all"]
    assert "% of it outside the encoder" in printed and stats["model"] == "model"
    assert coderep.main([*command[:-2], "nonsense", "--output", str(tmp_path / "other")]) == 2
    assert "device 'nonsense' cannot be used" in capsys.readouterr().err


# memory


def test_no_more_than_one_row_group_is_in_memory(tmp_path, monkeypatch):
    """Row groups are read one at a time, each once a pass, and the last one read is the only one held."""
    folder = write_pairs(tmp_path / "pairs", rows_of(200), rows_of(8), shards=3, group=10)
    reads, read_row_group, read_table = [], pq.ParquetFile.read_row_group, pq.read_table

    def counted(self, group, **options):
        table = read_row_group(self, group, **options)
        reads.append((len(table), options.get("columns")))
        return table

    def guarded(path, *rest, **options):
        assert not Path(path).name.startswith(("train", "test")), "a whole shard was read"
        return read_table(path, *rest, **options)

    monkeypatch.setattr(pq.ParquetFile, "read_row_group", counted)
    monkeypatch.setattr(pq, "read_table", guarded)
    stats, embedder = run(folder, tmp_path / "out", pool=30, piece_rows=4)
    groups = sum(-(-len(part) // 10) for part in np.array_split(np.arange(200), 3))
    # A pass that draws the pool, one that ranks, one that writes, and the test split.
    assert max(rows for rows, _ in reads) == 10 and 2 * groups < len(reads) <= 3 * groups + 1
    assert max(embedder.seen) <= 4 and stats["consistency"]["kept"] == 200
    source = PairSource(folder, ("train",), 4)
    first = source.read(source.pieces[0])
    for piece in source.pieces:
        assert len(source.read(piece)) == len(piece) <= 4
    assert first["id"].to_pylist() == ["r0", "r1", "r2", "r3"] and source._held[1].num_rows <= 10


# mistakes


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"pool": 0}, "pool must be at least 1, got 0"),
        ({"max_code_length": 0}, "max_code_length must be at least 1, got 0"),
        ({"pool_dtype": "int8"}, "pool_dtype must be float32 or float16, got 'int8'"),
        ({"shard": (0, 4)}, "shard must be i/n with 1 <= i <= n, got 0/4"),
        ({"splits": ("dev",)}, "splits must be train, test or both, got dev"),
    ],
)
def test_options_out_of_range(changes, message):
    with pytest.raises(ValueError, match=message):
        PoolOptions(**changes)


def test_rules_out_of_range():
    with pytest.raises(ValueError, match=r"keep_rank must be at least 1 \(the best\), got 0"):
        ConsistencyFilter(keep_rank=0)
    with pytest.raises(ValueError, match=r"must lie in \[-1, 1\], got 2"):
        ConsistencyFilter(min_score=2)


def test_mistakes_get_one_line(pairs, tmp_path, capsys):
    other = tmp_path / "rows"
    other.mkdir()
    write_json(other / "stats.json", {"kind": "stage1", "fingerprint": ""})
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").write_text("")
    shared = ["--data", str(pairs), "--output", str(tmp_path / "out")]
    for argv, message in (
        (["nowhere/at/all", *shared], "checkpoint 'nowhere/at/all' is not a folder"),
        ([str(pairs), *shared], "is not a checkpoint: it has no config.json"),
        (["m", "--data", str(other), "--output", "x"], "holds no pairs but stage1"),
        (["m", "--data", str(tmp_path / "full"), "--output", "x"], "has no split 'train'"),
        (["m", *shared[:2], "--output", str(tmp_path / "full")], "holds something else (no stats.json)"),
        (["m", *shared[:2], "--output", str(pairs)], "exists already. Name another folder or add --overwrite"),
        (["m", *shared, "--pool", "0"], "pool must be at least 1, got 0"),
        (["m", *shared, "--shard", "2"], "--shard takes I/N, such as 1/4 for the first of four machines; got '2'"),
        (["m", *shared, "--columns", "text"], 'columns must look like "text=query code=func"'),
        (["m", *shared, "--columns", "text=a"], "has its own names. Leave --columns out"),
    ):
        assert coderep.main(["data", "consistency", *argv]) == 2
        error = capsys.readouterr().err
        assert message in error and error.startswith("coderep: ") and len(error.splitlines()) == 1, error
    assert sorted(path.name for path in tmp_path.iterdir()) == ["full", "pairs", "rows"]


def test_unfinished_work_of_another_kind_is_not_mixed_nor_lost(pairs, tmp_path):
    with pytest.raises(RuntimeError, match="stop"):
        run(pairs, tmp_path / "out", stop_after(60))
    made = shards(tmp_path / ".out.parts")
    assert len(made) > 1
    with pytest.raises(FileExistsError, match=r"holds work with another max_text_length, pool.*delete this one"):
        run(pairs, tmp_path / "out", perfect, pool=40, max_text_length=9)
    assert shards(tmp_path / ".out.parts") == made
    stats, _ = run(pairs, tmp_path / "out", perfect)
    assert stats["consistency"]["kept"] == 50


def stop_after(count):
    def vector(text, left=[count]):  # noqa: B006 - counts
        left[0] -= 1
        if left[0] < 0:
            raise RuntimeError("stop")
        return perfect(text)

    return vector


def test_a_model_that_gives_nan_is_refused(pairs, tmp_path):
    with pytest.raises(ValueError, match="embeddings hold NaN or infinity. Load it with --dtype float32"):
        run(pairs, tmp_path / "out", lambda text: np.full(4, np.nan))
    assert [path.name for path in tmp_path.iterdir()] == ["pairs"]


def test_a_torn_shard_is_named(pairs, tmp_path):
    path = pairs / "train-00001-of-00002.parquet"
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(OSError, match="train-00001-of-00002.parquet' is corrupt"):
        run(pairs, tmp_path / "out")
