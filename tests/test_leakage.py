"""Evaluation texts in training data: every kind found, nothing reported on disjoint data, and the slow way agrees."""

from __future__ import annotations

import json
import math
import os
import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from data_collators.builders import SourceOptions, build_pairs, build_stage1
from data_collators.builders.decontamination import Contamination, read_contamination, word_hashes
from data_collators.builders.leakage import find_leakage, main
from data_collators.builders.leakage.index import (
    KINDS,
    LeakageIndex,
    Table,
    jaccard,
    meeting_probability,
    own_runs,
    shingles,
    split_words,
    squeeze,
)
from data_collators.builders.store import load_split

EVALDATA = Path(os.environ.get("CODEREP_EVALDATA", Path(__file__).resolve().parents[2] / "shared" / "evaldata"))


def words(seed, count, prefix="w"):
    """Random words, nearly all different."""
    draw = random.Random(f"{prefix} {seed}")
    return [f"{prefix}{draw.randrange(10**6)}" for _ in range(count)]


def text(seed, count=60, prefix="w"):
    return " ".join(words(seed, count, prefix))


def write_rows(path, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def kinds(report):
    return {(hit.part, hit.id): hit.kind for hit in report.hits}


def counts(report, part, name=None):
    found = next(row for row in report.parts if row.part == part and name in (None, row.set))
    return {kind: getattr(found, kind) for kind in KINDS if getattr(found, kind)}


@pytest.fixture
def leaky(tmp_path):
    """A retrieval set of which everything but d4, d5 and q1 leaked in some way, and the training data that hold it."""
    documents = [text(number, prefix="doc") for number in range(6)]
    documents[5] = "too short"
    queries = [text("q0", 8), text("q1", 8), text("q2", 20), "what is this"]
    near = documents[1].split()
    near[0] = "changed"  # 56 5-grams each, 55 of them shared: J = 55 / 57
    train = [
        {"id": "t0", "text": text("a"), "code": documents[0].replace(" ", "\n\t")},
        {"id": "t1", "text": queries[0], "code": " ".join(near)},
        {"id": "t2", "text": text("b"), "code": f"{text('c', 500)} {documents[2].upper()} {text('d', 500)}"},
        {
            "id": "t3",
            "text": text("e"),
            "code": " ".join([*words("f", 30), *documents[3].split()[20:33], *words("g", 30)]),
        },
        {
            "id": "t4",
            "text": f"{text('h', 9)} {queries[2]} {text('i', 9)}",
            "code": " ".join(documents[4].split()[:12]),
        },
    ]
    folder = tmp_path / "sets" / "made"
    write_rows(folder / "corpus.jsonl", [{"_id": f"d{n}", "text": one} for n, one in enumerate(documents)])
    write_rows(folder / "queries.jsonl", [{"_id": f"q{n}", "text": one} for n, one in enumerate(queries)])
    judgements = ["q0\td3\t1", "q0\td1\t1", "q1\td4\t1", "q2\td5\t1", "q3\td0\t1", "q1\td0\t0"]
    (folder / "qrels.tsv").write_text("\n".join(["query-id\tcorpus-id\tscore", *judgements]))
    return write_rows(tmp_path / "train.jsonl", train), tmp_path / "sets"


def test_every_kind_is_found_once(leaky):
    report = find_leakage([leaky[0]], [leaky[1]])
    assert kinds(report) == {
        ("queries", "q0"): "exact",
        ("queries", "q2"): "contained",
        ("documents", "d0"): "exact",
        ("documents", "d1"): "near",
        ("documents", "d2"): "contained",
        ("documents", "d3"): "overlap",
    }
    hits = {hit.id: hit for hit in report.hits}
    assert {name: (hit.train_id, hit.train_column) for name, hit in hits.items()} == {
        **{"q0": ("t1", "text"), "q2": ("t4", "text"), "d0": ("t0", "code")},
        **{"d1": ("t1", "code"), "d2": ("t2", "code"), "d3": ("t3", "code")},
    }
    assert hits["d1"].similarity == round(55 / 57, 4)
    # One of the 60 - 13 + 1 runs of the document.
    assert hits["d3"].similarity == round(1 / 48, 4)
    assert hits["d3"].words == " ".join(words(3, 60, "doc")[20:33])
    assert report.train["texts"] == 10


def test_counts_add_up(leaky):
    report = find_leakage([leaky[0]], [leaky[1]])
    documents = next(part for part in report.parts if part.part == "documents")
    assert (documents.set, documents.texts, documents.short, documents.share) == ("made", 5, 1, 4 / 5)
    assert counts(report, "documents") == dict.fromkeys(KINDS, 1)
    # q0 by its strongest (d1), q3 by d0; q1's d4 did not leak and its d0 is judged irrelevant; d5 is too short.
    assert counts(report, "positives") == {"near": 1, "exact": 1}
    assert next(part.texts for part in report.parts if part.part == "positives") == 4
    assert [report.count(kind) for kind in KINDS] == [2, 3, 5, 6]


def test_disjoint_data_leak_nothing(leaky, tmp_path):
    train = write_rows(tmp_path / "other.jsonl", [{"text": text(n, 200, "other")} for n in range(50)])
    report = find_leakage([train], [leaky[1]])
    assert report.hits == [] and all(part.share == 0 for part in report.parts)
    assert report.count("overlap") == 0


def test_runs_do_not_cross_from_one_training_text_into_the_next(tmp_path):
    one = words("x", 40)
    rows = [{"text": " ".join(one[start : start + 10])} for start in range(0, 40, 10)]
    report = find_leakage(
        [write_rows(tmp_path / "t.jsonl", rows)], [write_rows(tmp_path / "e.jsonl", [{"text": " ".join(one)}])]
    )
    assert report.hits == []


def test_normalisation():
    original = "def Area(a, b):\n    return a * b + offset(a)"
    index = LeakageIndex([original])
    found = {
        "def Area( a,b ) :\n\treturn a*b+offset( a )\n\n": "exact",  # white space is removed
        original.lower(): "contained",  # case counts for duplicates, not for runs of words
        original.replace("*", "/"): "near",  # signs are no words
    }
    assert [match.kind for match in index.scan(list(found))] == list(found.values())
    assert squeeze("a\u00a0b \u2003c") == "abc"


def test_tables_of_numbers_tell_nothing():
    numbers = ", ".join(map(str, range(100)))
    index = LeakageIndex([f"static table = {numbers}"])
    assert index.scan([f"{text(0)} {numbers}, 101"]) == []
    assert index._n_runs.tolist() == [0]


def mutated(draw, source, share):
    return [f"m{draw.randrange(10**6)}" if draw.random() < share else word for word in source]


def family(seed, count):
    """Texts of a few families, which resemble each other to all degrees."""
    draw = random.Random(seed)
    bases = [words(number, 300) for number in range(6)]
    texts = [" ".join(mutated(draw, draw.choice(bases), 0.06 * draw.random() ** 2)) for _ in range(count)]
    return list(dict.fromkeys(texts))


@pytest.mark.parametrize("threshold", [0.6, 0.75, 0.85, 0.95])
def test_near_duplicates_are_those_of_the_slow_way_but_for_what_bands_miss(threshold):
    evaluation, train = family("e", 60), family("t", 120)
    found = {
        (match.text, match.unit): match.similarity
        for match in LeakageIndex(evaluation, threshold).scan(train)
        if match.kind == "near"
    }
    grams = [[shingles(one) for one in texts] for texts in (train, evaluation)]
    every = {(t, e): jaccard(left, right) for t, left in enumerate(grams[0]) for e, right in enumerate(grams[1])}
    wanted = {
        pair: value
        for pair, value in every.items()
        if value >= threshold and squeeze(train[pair[0]]) != squeeze(evaluation[pair[1]])
    }
    assert len(wanted) > 15
    assert all(found[pair] == wanted[pair] for pair in found)  # none wrongly, and each with its true similarity
    # Five sigma of independent draws, and one; the hash functions are drawn once, by a fixed seed.
    expected = sum(1 - meeting_probability(value) for value in wanted.values())
    assert len(wanted) - len(found) <= expected + 5 * math.sqrt(expected) + 1
    assert len(found) > len(wanted) / 2


def test_meeting_probability_on_paper():
    # 0.5 ** 8 = 1 / 256, so (255 / 256) ** 16 of the pairs at 0.5 are missed.
    assert meeting_probability(0.5) == pytest.approx(1 - (255 / 256) ** 16)
    assert meeting_probability(0.85) == pytest.approx(0.9938, abs=1e-4)
    assert (meeting_probability(0), meeting_probability(1)) == (0, 1)


def test_a_higher_threshold_finds_less():
    evaluation, train = family("e", 60), family("t", 60)
    found = {}
    for threshold in (0.5, 0.7, 0.85, 1.0):
        matches = LeakageIndex(evaluation, threshold).scan(train)
        found[threshold] = {(match.text, match.unit) for match in matches if match.kind == "near"}
        assert all(match.similarity >= threshold for match in matches if match.kind == "near")
    sizes = [len(pairs) for pairs in found.values()]
    assert found[0.5] > found[0.7] > found[0.85] >= found[1.0] and sizes[2] > 0


def slow_runs(one, length):
    """Runs of a text that tell something, by the words themselves."""
    runs = (tuple(one[start : start + length]) for start in range(len(one) - length + 1))
    return {run for run in runs if len({word for word in run if not word.isdigit()}) * 2 >= length}


@pytest.mark.parametrize("length", [1, 5, 13])
def test_runs_are_those_of_the_slow_way(length):
    draw = random.Random(length)
    vocabulary = [b"if", b"x", b"y", b"0", b"1", b"27", b"return"]
    texts = [[draw.choice(vocabulary) for _ in range(length + draw.randrange(30))] for _ in range(40)]
    owners, hashes = own_runs(texts, length)
    assert len({*zip(owners.tolist(), hashes.tolist(), strict=True)}) == len(owners)
    assert np.bincount(owners, minlength=40).tolist() == [len(slow_runs(one, length)) for one in texts]


def test_table_is_a_dictionary_of_lists():
    draw = np.random.default_rng(0)
    keys, values = draw.integers(0, 50, 200).astype(np.uint64), np.arange(200)
    wanted = draw.integers(0, 100, 80).astype(np.uint64)
    table = Table(keys, values)
    places, rows = table.find(wanted)
    found = sorted(zip(places.tolist(), table.values[rows].tolist(), strict=True))
    assert found == [(p, v) for p, key in enumerate(wanted) for v in values.tolist() if keys[v] == key]
    empty = Table(keys[:0], values[:0]).find(wanted)
    assert [len(one) for one in empty] == [0, 0] and [len(one) for one in table.find(wanted[:0])] == [0, 0]


def test_what_decontamination_removes_is_found_and_runs_are_those_that_it_removes(tmp_path):
    draw = random.Random(0)
    vocabulary = [f"{number}" if number % 3 == 0 else f"w{number}" for number in range(12)]
    sample = [[draw.choice(vocabulary) for _ in range(draw.randrange(5, 60))] for _ in range(200)]
    evaluation = list({squeeze(one): one for one in map(" ".join, sample[:60])}.values())
    pieces = [one.split()[: draw.randrange(6, 40)] for one in evaluation]
    train = [" ".join([*draw.choice(pieces), *other]) for other in sample[60:]]
    path = write_rows(tmp_path / "e.jsonl", [{"text": one} for one in evaluation])
    known: Contamination = read_contamination([str(path)])
    matches = LeakageIndex(evaluation).scan(train)
    by_run = {m.text for m in matches if len(split_words(evaluation[m.unit])) >= 13 and m.kind in KINDS[2:]}
    assert by_run == {place for place, one in enumerate(train) if known.find(one)}
    assert {match.text for match in matches} >= {t for t, one in enumerate(train) if known.find_any([one], runs=True)}
    assert 20 < len(by_run) < len(train)


def test_words_are_those_of_decontamination():
    one = "Snake_case x2 Größe; 数 a\ud800b"
    assert len(split_words(one)) == len(word_hashes(one)) == 6


def test_order_pieces_and_processes_do_not_matter(leaky, tmp_path, monkeypatch):
    rows = [json.loads(line) for line in leaky[0].read_text().splitlines()]
    rows += [{"id": f"again {row['id']}", **{k: row[k] for k in ("code", "text")}} for row in rows]
    random.Random(1).shuffle(rows)
    both = [write_rows(tmp_path / f"{n}.jsonl", rows[n::2]) for n in range(2)]
    forward, backward = (find_leakage(paths, [leaky[1]]) for paths in (both, both[::-1]))
    monkeypatch.setattr("data_collators.builders.leakage.find._BATCH_CHARACTERS", 500)
    pieces = find_leakage(both, [leaky[1]])
    processes = find_leakage(both, [leaky[1]], num_proc=2)
    assert forward.hits == backward.hits == pieces.hits == processes.hits
    assert forward.parts == processes.parts and forward.train == backward.train
    assert {hit.train_texts for hit in forward.hits} == {2} and {hit.train_id[:5] for hit in forward.hits} == {"again"}


# what can be read


def test_pairs_leak_from_their_own_training_split_only(corpus, tmp_path):
    build_pairs(SourceOptions(source=(str(corpus),), test_share=0.3), tmp_path / "pairs")
    held_out = load_split(tmp_path / "pairs", "test")
    report = find_leakage([tmp_path / "pairs"], [tmp_path / "pairs"], split="test")
    documents = next(part for part in report.parts if part.part == "documents")
    assert documents.exact == documents.texts > 10 and documents.texts + documents.short == len(held_out)
    hit = next(hit for hit in report.hits if hit.part == "documents")
    assert (hit.train_repo, hit.train_path) in set(zip(held_out["repo"], held_out["path"], strict=True))
    assert find_leakage([tmp_path / "pairs"], [tmp_path / "pairs"]).count("near") < documents.texts / 10


def test_token_ids_are_decoded_by_their_tokenizer(corpus, tokenizer, tmp_path):
    build_stage1(SourceOptions(source=(str(corpus),), test_share=0.0), tokenizer, tmp_path / "rows", max_length=512)
    function = "\n".join((corpus / "textwrap.py").read_text().splitlines()[-30:-2])
    sets = write_rows(tmp_path / "e.jsonl", [{"code": function}])
    with pytest.raises(ValueError, match="holds token ids. Name the folder of their tokenizer with --tokenizer"):
        find_leakage([tmp_path / "rows"], [sets])
    tokenizer.save_pretrained(tmp_path / "tokenizer")  # found beside the data
    found = find_leakage([tmp_path / "rows"], [sets]).hits
    assert [(hit.kind in KINDS[2:], hit.train_path, hit.train_column) for hit in found] == [
        (True, "textwrap.py", "input_ids")
    ]
    tokenizer.save_pretrained(tmp_path / "named")
    assert find_leakage([tmp_path / "rows"], [sets], tokenizer=str(tmp_path / "named")).hits == found
    with pytest.raises(FileNotFoundError, match="has no tokenizer.json"):
        find_leakage([tmp_path / "rows"], [sets], tokenizer=str(tmp_path))
    other = json.loads((tmp_path / "named" / "tokenizer.json").read_text())
    other["added_tokens"][0]["content"] = "<other>"
    (tmp_path / "named" / "tokenizer.json").write_text(json.dumps(other))
    with pytest.raises(ValueError, match="is not the one that .* was made with"):
        find_leakage([tmp_path / "rows"], [sets], tokenizer=str(tmp_path / "named"))


def test_folders_of_code(corpus, tmp_path):
    whole = (corpus / "heapq.py").read_text()
    sets = write_rows(tmp_path / "e.jsonl", [{"code1": whole, "code2": "\n".join(whole.splitlines()[200:230])}])
    found = {hit.id: hit for hit in find_leakage([corpus], [sets]).hits}
    assert {name: (hit.kind, hit.train_path) for name, hit in found.items()} == {
        "e.jsonl:0 code1": ("exact", "heapq.py"),
        "e.jsonl:0 code2": ("contained", "heapq.py"),
    }


def test_tables_columns_and_names_of_sets(tmp_path):
    one, other = text(1), text(2)
    write_rows(tmp_path / "sets/b/valid.jsonl", [{"code": one, "label": 1}])
    write_rows(tmp_path / "sets/b/test.jsonl", [{"code": other, "label": 1}, {"code": None}])
    (tmp_path / "sets/a").mkdir()
    pq.write_table(pa.table({"func": [one, None, other]}), tmp_path / "sets/a/x.parquet")
    pq.write_table(pa.table({"body": [one], "repo": ["r"]}), tmp_path / "t.parquet")
    with pytest.raises(ValueError, match="no column known to hold texts. Its columns: body, repo"):
        find_leakage([tmp_path / "t.parquet"], [tmp_path / "sets"])
    with pytest.raises(ValueError, match="none of the columns func, nobody"):
        find_leakage([tmp_path / "t.parquet"], [tmp_path / "sets"], columns=("func", "nobody"))
    report = find_leakage([tmp_path / "t.parquet"], [tmp_path / "sets"], columns=("body", "func", "code"))
    assert [(part.set, part.part, part.texts, part.exact) for part in report.parts] == [
        ("a", "examples", 2, 1),
        ("b", "test examples", 1, 0),
        ("b", "valid examples", 1, 1),
    ]
    assert {(hit.train_id, hit.train_repo) for hit in report.hits} == {("t.parquet:0", "r")}


def test_rows_of_a_file_may_differ(tmp_path):
    train = write_rows(tmp_path / "t.jsonl", [{"text": "first", "n": 1}, {}, {"text": None, "content": text(1)}])
    report = find_leakage([train], [write_rows(tmp_path / "e.jsonl", [{"code": text(1)}])])
    assert [(hit.train_id, hit.train_column) for hit in report.hits] == [("t.jsonl:2", "content")]


def test_a_worker_that_is_killed(leaky, monkeypatch):
    monkeypatch.setattr("data_collators.builders.leakage.find.partial", lambda function, index: os._exit)
    monkeypatch.setattr("data_collators.builders.leakage.find._batches", lambda texts: iter([9]))
    with pytest.raises(OSError, match="a worker process was killed, perhaps for want of memory"):
        find_leakage([leaky[0]], [leaky[1]], num_proc=2)


@pytest.mark.parametrize(
    ("train", "sets", "error", "message"),
    [
        ("no", "sets", FileNotFoundError, "training data '.*no' does not exist"),
        ("train.jsonl", "no", FileNotFoundError, "evaluation set '.*no' does not exist"),
        ("train.jsonl", "empty", FileNotFoundError, "evaluation set '.*empty' holds no .jsonl or .parquet file"),
        ("empty", "sets", ValueError, "no usable .* file in"),
        ("torn.parquet", "sets", OSError, "is no Parquet file, or is torn"),
        ("rotten.parquet", "sets", OSError, "is corrupt"),
        ("torn.jsonl", "sets", ValueError, "torn.jsonl', line 2 is not JSON"),
        ("train.jsonl", "list.jsonl", ValueError, "line 1 is not a JSON object"),
        ("train.jsonl", "short.jsonl", ValueError, "hold no text of 5 words or more"),
        ("data", "sets", FileNotFoundError, "has no split 'train'. Name another with --split"),
        ("broken", "sets", ValueError, "stats.json' is not a JSON object"),
        ("train.jsonl", "nameless", ValueError, "corpus.jsonl', row 1 needs the fields _id and text, got text"),
        ("ids.parquet", "sets", ValueError, "holds token ids without stats.json"),
    ],
)
def test_mistakes(leaky, tmp_path, train, sets, error, message):
    (tmp_path / "empty").mkdir()
    (tmp_path / "torn.parquet").write_bytes(b"PAR1 torn")
    rows = pa.table({"text": [text(n, 300) for n in range(20)]})
    pq.write_table(rows, tmp_path / "rotten.parquet", compression="zstd", use_dictionary=False)
    raw = bytearray((tmp_path / "rotten.parquet").read_bytes())
    raw[4:1000] = b"\xff" * 996
    (tmp_path / "rotten.parquet").write_bytes(raw)
    (tmp_path / "torn.jsonl").write_text('{"text": "a b c d e"}\n{"text": "a')
    (tmp_path / "list.jsonl").write_text("[1]")
    write_rows(tmp_path / "short.jsonl", [{"text": "far too short"}])
    write_rows(tmp_path / "data/stats.json", [{"kind": "pairs"}])
    write_rows(tmp_path / "broken/stats.json", [[1]])
    write_rows(tmp_path / "nameless/corpus.jsonl", [{"text": "x"}])
    write_rows(tmp_path / "nameless/queries.jsonl", [{"_id": "1", "text": "x"}])
    pq.write_table(pa.table({"input_ids": [[1, 2]]}), tmp_path / "ids.parquet")
    with pytest.raises(error, match=message):
        find_leakage([tmp_path / train], [tmp_path / sets])


def test_limits(leaky):
    for limits, message in (
        ({"threshold": 0}, r"must lie in \(0, 1\], got 0"),
        ({"ngram": 4}, "at least 5 words, got 4"),
        ({"num_proc": 0}, "at least 1, got 0"),
    ):
        with pytest.raises(ValueError, match=message):
            find_leakage([leaky[0]], [leaky[1]], **limits)


# the command


def test_command(leaky, tmp_path, capsys):
    output = tmp_path / "leaks.json"
    argv = ["--train", str(leaky[0]), "--eval", str(leaky[1]), "--output", str(output)]
    assert main(argv) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["set", "part", "texts", *KINDS, "share"]
    assert lines[2].split() == ["made", "documents", "5", "1", "1", "1", "1", "80.0", "%"]
    assert lines[-1].startswith("10 training texts") and "2 evaluation texts of fewer than 5 words" in lines[-1]
    record = json.loads(output.read_text())
    assert record["settings"]["found_at_threshold"] == pytest.approx(0.9938, abs=1e-4)
    assert len(record["hits"]) == 6 and record["parts"][1]["share"] == 0.8
    assert main([*argv, "--examples", "0"]) == 0 and json.loads(output.read_text())["hits"] == []
    assert main([*argv, "--examples", "0", "--all"]) == 0 and json.loads(output.read_text())["hits"] == record["hits"]
    with pytest.raises(FileNotFoundError, match="the folder of output"):
        main([*argv[:-1], str(tmp_path / "no" / "x.json")])


def test_exit_code_for_ci(leaky, tmp_path):
    rows = [json.loads(line) for line in leaky[0].read_text().splitlines()]
    only_overlap = write_rows(tmp_path / "one.jsonl", [rows[3]])
    argv = ["--train", str(only_overlap), "--eval", str(leaky[1]), "--fail-on"]
    assert [main([*argv, kind]) for kind in KINDS] == [0, 0, 0, 1]
    argv[1] = str(leaky[0])
    assert [main([*argv, kind]) for kind in KINDS] == [1, 1, 1, 1]


def test_the_command_does_without_torch():
    code = "import sys, data_collators.builders.leakage; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.skipif(not EVALDATA.is_dir(), reason="no real evaluation sets here")
def test_real_sets_leak_into_themselves():
    """Each text is an exact duplicate of itself, in every layout; and each set has one."""
    for name in ("javacs_valid", "pre_runtime_error_binary"):
        files = sorted((EVALDATA / name).glob("*.jsonl"))
        report = find_leakage(files, [EVALDATA / name])
        assert report.parts and all(part.exact == part.texts for part in report.parts if part.part != "positives")
    positives = next(
        part
        for part in find_leakage([EVALDATA / "javacs_valid" / "corpus.jsonl"], [EVALDATA / "javacs_valid"]).parts
        if part.part == "positives"
    )
    assert positives.texts == 998 and positives.exact > 990
