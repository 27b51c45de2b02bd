"""Builders as a whole: processes, kills, repeats, contamination, tables, the Hub, cards."""

from __future__ import annotations

import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import datasets
import numpy as np
import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import coderep
from data_collators.builders import BuildOptions, PairOptions, SourceOptions, build_pairs, build_stage1, tables
from data_collators.builders.decontamination import read_contamination
from data_collators.builders.dedup import NearDuplicates, signature
from data_collators.builders.file_filters import FileFilters, check_bytes, is_license_only, without_license_header
from data_collators.builders.sources import FileReport, iter_chunks, iter_sources, read_chunk
from data_collators.builders.store import load_split
from data_collators.builders.workers import share_out
from hub_cards.data import render_dataset_card

FUNCTION = 'def {name}(a):\n    """{doc}"""\n    b = a + {n}\n    c = b * {n}\n    return c\n'


def write_repo(folder, repo, n, docs=None):
    """A repository of one file with three documented functions."""
    (folder / repo).mkdir(parents=True)
    docs = docs or [f"Add {word} number {n} to it." for word in ("one", "another", "the last")]
    text = "".join(FUNCTION.format(name=f"f{n}_{index}", doc=doc, n=n * 7 + index) for index, doc in enumerate(docs))
    (folder / repo / "code.py").write_text(text)
    return text


def shards(folder):
    return {path.name: path.read_bytes() for path in sorted(Path(folder).glob("*.parquet"))}


# processes and kills


@pytest.fixture(scope="module")
def many(tmp_path_factory, corpus):
    """Twelve sources, so at least twelve parts."""
    folder = tmp_path_factory.mktemp("many")
    for number in range(11):
        write_repo(folder / f"source{number}", f"repo{number}", number)
    return (str(corpus), *(str(folder / f"source{number}") for number in range(11)))


def test_any_number_of_processes_gives_the_same_shards(many, tokenizer, tmp_path):
    options = SourceOptions(many, test_share=0.3)
    one = build_pairs(options, tmp_path / "one", BuildOptions(near_dedup=0.85), filters=PairOptions(keep_dropped=True))
    three = build_pairs(
        options, tmp_path / "three", BuildOptions(near_dedup=0.85, num_proc=3), filters=PairOptions(keep_dropped=True)
    )
    assert shards(tmp_path / "one") == shards(tmp_path / "three")
    assert one == three and "dropped-00000-of-00001.parquet" in shards(tmp_path / "one")
    for name, processes in (("s1", 1), ("s2", 2)):
        build_stage1(options, tokenizer, tmp_path / name, BuildOptions(num_proc=processes), max_length=128)
    assert shards(tmp_path / "s1") == shards(tmp_path / "s2")


def command(many, output, *more):
    return [
        *(sys.executable, "-m", "coderep", "data", "pairs", "--source", *many, "--output", str(output)),
        *("--test-share", "0.3", *more),
    ]


def start(*arguments):
    return subprocess.Popen(
        command(*arguments),
        cwd=Path(coderep.__file__).parent,
        start_new_session=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )


def workers_of(process, count):
    """The first worker processes, as soon as there are so many."""
    found = []
    while len(found) < count and process.poll() is None:
        found = [child for child in psutil.Process(process.pid).children() if "spawn_main" in str(child.cmdline())]
    return found


def test_stubs_are_no_pairs(tmp_path):
    (tmp_path / "src").mkdir()
    stub = 'def a(x):\n    """Read all of it."""\n    raise NotImplementedError(\n        "later"\n    )\n'
    (tmp_path / "src" / "a.py").write_text(stub + FUNCTION.format(name="f", doc="Add it all up.", n=3))
    stats = build_pairs(SourceOptions((str(tmp_path / "src"),), test_share=0), tmp_path / "out")
    assert stats["dropped"] == {"stub": 1} and load_split(tmp_path / "out", "train")["name"][:] == ["f"]


def test_killed_at_random_moments_nothing_is_lost_or_doubled(many, tmp_path):
    """SIGKILL to all processes, again and again, until a run gets through."""
    build_pairs(SourceOptions(many, test_share=0.3), tmp_path / "whole")
    draw, kills, seen = random.Random(0), 0, set()
    for _ in range(40):
        process = subprocess.Popen(
            command(many, tmp_path / "out", "--num-proc", "2"),
            cwd=Path(coderep.__file__).parent,
            start_new_session=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        # Wait for some part to be there, then a moment more: imports take most of the time.
        target = len(seen) + draw.randint(0, 1)
        while process.poll() is None and len(list(tmp_path.glob(".out.parts-*/[0-9]*.json"))) < target:
            time.sleep(0.002)
        time.sleep(draw.random() * 0.02)
        if kills < 5 and process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            kills += 1
        if process.wait(timeout=120) == 0:
            break
        assert not (tmp_path / "out").exists(), "a killed run left a result"
        seen = {path.name for path in tmp_path.glob(".out.parts-*/[0-9]*.json")}
    assert process.returncode == 0 and kills >= 3, f"{kills} kills"
    assert shards(tmp_path / "out") == shards(tmp_path / "whole")
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_a_killed_worker_is_one_line_and_the_command_goes_on(many, tmp_path):
    again = many * 8  # work for some seconds
    process = start(again, tmp_path / "out", "--num-proc", "2")
    while process.poll() is None and len(list(tmp_path.glob(".out.parts-*/[0-9]*.json"))) < 3:
        time.sleep(0.002)
    os.kill(workers_of(process, 1)[0].pid, signal.SIGKILL)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 1 and "Traceback" not in errors
    assert "coderep: a worker process was killed, perhaps for want of memory. Give the same command again" in errors
    assert coderep.main(command(again, tmp_path / "out")[3:]) == 0


@pytest.fixture(scope="module")
def evaluation_set(tmp_path_factory):
    """So much to look for that it does not fit into the pipe that a process is started through (64 KiB)."""
    path, draw = tmp_path_factory.mktemp("evaluation") / "set.jsonl", random.Random(0)
    lines = [json.dumps({"text": " ".join(str(draw.random()) for _ in range(20))}) for _ in range(1000)]
    path.write_text("\n".join(lines) + "\n")
    return str(path)


@pytest.mark.parametrize("delay", [0, 0, 0, 0.1, 0.3])
def test_a_worker_killed_while_it_starts_is_one_line(many, evaluation_set, tmp_path, delay):
    process = start(many * 8, tmp_path / "out", "--num-proc", "2", "--decontaminate", evaluation_set)
    first = workers_of(process, 1)[0]
    time.sleep(delay)
    os.kill(first.pid, signal.SIGKILL)
    try:
        _, errors = process.communicate(timeout=60)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
    assert process.returncode == 1
    assert len(errors.splitlines()) == 1 and "coderep: a worker process was killed" in errors


@pytest.mark.parametrize("moment", ["starts", "works"])
def test_an_interrupt_is_one_line_and_leaves_no_process(many, tmp_path, moment):
    process = start(many * 8, tmp_path / "out", "--num-proc", "2")
    workers = workers_of(process, 2)
    while moment == "works" and not list(tmp_path.glob(".out.parts-*/[0-9]*.json")):
        time.sleep(0.002)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert [line.split(".")[0] for line in errors.splitlines()] == ["coderep: interrupted"]
    assert len(workers) == 2 and not any(worker.is_running() for worker in workers)


def test_errors_of_workers_come_with_text_and_traceback():
    assert sorted(share_out(abs, [(-5,), (6,), (-7,)], 2)) == [((-7,), 7), ((-5,), 5), ((6,), 6)]
    assert list(share_out(abs, [], 2)) == []
    with pytest.raises(ValueError, match="three is too many") as caught:
        list(share_out(exec, [("1",), ("2",), ("def f():\n raise ValueError('three is too many')\nf()", {})], 2))
    assert "line 2, in f" in str(caught.value.__cause__)
    unpicklable = "class Bad(Exception):\n def __init__(self, one, two): super().__init__(f'{one} and {two}')\n"
    with pytest.raises(RuntimeError, match="Bad: this and that"):
        list(share_out(exec, [(unpicklable + "raise Bad('this', 'that')", {})], 1))


def test_workers_end_with_their_parent(many, tmp_path):
    process = start(many, tmp_path / "out", "--num-proc", "2")
    workers = workers_of(process, 2)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    gone, alive = psutil.wait_procs(workers, timeout=30)
    assert len(gone) == 2 and not alive


def test_changed_sources_and_options_are_not_taken_from_old_parts(tmp_path, monkeypatch):
    write_repo(tmp_path / "src", "one", 1)
    options = SourceOptions((str(tmp_path / "src"),), test_share=0)
    from data_collators.builders import work

    def stop(*_):
        raise OSError("stop here")

    with monkeypatch.context() as patch:
        patch.setattr(work, "finish", stop)
        with pytest.raises(OSError, match="stop here"):
            build_pairs(options, tmp_path / "out")
    (left,) = tmp_path.glob(".out.parts-*")
    assert len(list(left.glob("[0-9]*.json"))) == 1
    path = tmp_path / "src" / "one" / "code.py"
    path.write_text(path.read_text().replace("f1_0", "renamed"))
    build_pairs(options, tmp_path / "out")
    assert "renamed" in load_split(tmp_path / "out", "train")["name"][:]
    assert not left.exists()


# files


def test_equal_files_and_near_duplicates_are_dropped_once(tmp_path):
    text = write_repo(tmp_path / "src", "a", 1)
    words = " ".join(f"word{index} = value{index}\n" for index in range(400))
    near = [FUNCTION.format(name="g", doc="Do what g does.", n=3) + words]
    near.append(near[0].replace("word17 ", "other17 "))
    for repo, content in {"b": text, "c": near[0], "d": near[1], "e": "x = 1\n" * 50}.items():
        (tmp_path / "src" / repo).mkdir()
        (tmp_path / "src" / repo / "code.py").write_text(content)
    options = SourceOptions((str(tmp_path / "src"),), test_share=0)
    stats = build_pairs(options, tmp_path / "out", BuildOptions(near_dedup=0.85))
    assert stats["files"]["dropped"] == {"equal to an earlier file": 1, "near duplicate of an earlier file": 1}
    assert set(stats["repositories"]) == {"a", "c", "e"}
    assert load_split(tmp_path / "out", "train")["repo"][:] == ["a", "a", "a", "c"]


def test_near_duplicates_by_similarity():
    """Texts with a known share of common 5-grams land on the right side of the threshold."""
    base = [f"w{index}" for index in range(2000)]
    found = NearDuplicates(0.8)
    assert not found.add(signature(" ".join(base)))
    for changed, expected in ((1, True), (5, True), (200, False), (2000, False)):
        words = list(base)
        for place in np.linspace(10, 1990, changed).astype(int):
            words[place] = f"x{place}"
        grams = [{tuple(text[i : i + 5]) for i in range(len(text) - 4)} for text in (base, words)]
        similarity = len(grams[0] & grams[1]) / len(grams[0] | grams[1])
        assert (similarity > 0.8) == expected
        assert found.add(signature(" ".join(words))) == expected
    assert not found.add(signature("too short")) and not found.add(signature("too short"))
    with pytest.raises(ValueError, match=r"must lie in \(0, 1\], got 2"):
        NearDuplicates(2)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"x = 1\n", ""),
        (b"x = '" + b"a" * 2000 + b"'\n", "a line longer than 1000 bytes"),
        (b"x = '" + b"a" * 200 + b"'\n", "lines longer than 100 bytes on average"),
        (b"+-/*" * 5 + b"\n(a)\n", "less than 25 % letters and digits"),
        (b"// Code generated by protoc-gen-go. DO NOT EDIT.\npackage a\n", "generated"),
        (b"# This file is @generated by tool\nx = 1\n", "generated"),
        (b"# generated ids are kept\nx = 1\n", ""),
        (b"\n" * 20 + b"# Code generated by me. DO NOT EDIT.\n", "generated"),
        (b"a = 1\n" * 300 + b"# Code generated by me. DO NOT EDIT.\n", ""),
        (b"a\0b = 1\n", "NUL characters"),
    ],
)
def test_file_filters(data, reason):
    assert check_bytes(data, FileFilters()) == reason


def test_licences():
    header = "/*\n * Copyright 2020 Somebody\n */\npackage a;\n"
    assert without_license_header(header) == "package a;\n"
    assert without_license_header("// A parser.\npackage a\n") == "// A parser.\npackage a\n"
    assert without_license_header("#!/usr/bin/ruby\n# Copyright me\nx = 1\n").startswith("#!/usr/bin/ruby")
    assert without_license_header("# Copyright me\n# more\n\nx = 1\n") == "x = 1\n"
    assert is_license_only("# Copyright 2020 Somebody\n#\n# All rights reserved.\n")
    assert not is_license_only("# Copyright 2020 Somebody\nx = f(1, 2)\n")
    assert not is_license_only("# a comment\n")


def test_repositories_come_from_the_record_the_checkout_or_the_first_folder(tmp_path):
    for place in ("python/known/pkg/a.py", "python/other/b.py", "work/checkout/src/c.py", "lone.py"):
        (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / place).write_text("x = 1\n")
    (tmp_path / "work" / "checkout" / ".git").mkdir()
    record = {"repositories": [{"repo": "python/known", "license": "MIT", "version": "1"}]}
    (tmp_path / "repositories.json").write_text(json.dumps(record))
    found = {file.path: (file.repo, file.license) for file in iter_sources(SourceOptions((str(tmp_path),)))}
    assert found == {
        "python/known/pkg/a.py": ("python/known", "MIT"),
        "python/other/b.py": ("python", ""),
        "work/checkout/src/c.py": ("work/checkout", ""),
        "lone.py": ("lone", ""),
    }
    (tmp_path / "repositories.json").write_text("[]")
    with pytest.raises(ValueError, match=r"repositories.json' is broken .* It must hold"):
        list(iter_sources(SourceOptions((str(tmp_path),))))


# contamination


def test_contaminated_rows_and_files_are_removed_and_named(tmp_path, tokenizer):
    secret = "how the quick brown fox jumps over the lazy dog and then runs all the way home"
    write_repo(tmp_path / "src", "clean", 1)
    write_repo(
        tmp_path / "src", "dirty", 2, docs=["Do a thing here.", f"Explain {secret} now.", "Parse the URI of a request."]
    )
    (tmp_path / "eval" / "set_a").mkdir(parents=True)
    rows = [{"_id": "1", "text": f"Something {secret.upper()}, and more."}, {"query": "parse the uri of a request"}]
    (tmp_path / "eval" / "set_a" / "q.jsonl").write_text("\n".join(map(json.dumps, rows)))
    options = SourceOptions((str(tmp_path / "src"),), test_share=0)
    build = BuildOptions(decontaminate=(str(tmp_path / "eval"),))
    stats = build_pairs(options, tmp_path / "out", build)
    assert [row["text"] for row in load_split(tmp_path / "out", "train") if row["repo"] == "dirty"] == [
        "Do a thing here."
    ]
    assert stats["decontamination"] == {"sets": ["set_a"], "ngram": 13, "removed": {"set_a": 2}}
    assert stats["dropped"]["contaminated"] == 2
    named = [json.loads(line) for line in (tmp_path / "out" / "contaminated.jsonl").read_text().splitlines()]
    assert [hit["id"] for hit in named] == ["src/dirty/code.py:6", "src/dirty/code.py:11"]
    assert named[0]["words"].startswith("how the quick brown") and named[0]["set"] == "set_a"
    stats = build_stage1(options, tokenizer, tmp_path / "rows", build, max_length=128)
    assert set(load_split(tmp_path / "rows", "train")["repo"]) == {"clean"}
    assert stats["decontamination"]["removed"] == {"set_a": 1}
    build_pairs(options, tmp_path / "all")
    assert not (tmp_path / "all" / "contaminated.jsonl").exists()


def test_runs_of_words_are_found_as_a_slow_search_finds_them(tmp_path):
    draw = random.Random(1)
    evaluation = [" ".join(f"w{draw.randint(0, 3)}" for _ in range(draw.randint(1, 30))) for _ in range(30)]
    evaluation.append("0 1 2 3 4 5 6 7 8 case case case case case case")
    (tmp_path / "e.jsonl").write_text("\n".join(json.dumps({"text": text}) for text in evaluation))
    found = read_contamination((str(tmp_path / "e.jsonl"),), ngram=6)

    def runs(text):
        words = text.split()
        found = {tuple(words[i : i + 6]) for i in range(len(words) - 5)}
        return {run for run in found if len({word for word in run if not word.isdigit()}) >= 3}

    known = set().union(*map(runs, evaluation))
    answers = []
    for _ in range(300):
        text = " ".join(f"w{draw.randint(0, 3)}" for _ in range(12))
        answers.append(bool(runs(text) & known))
        assert (found.find(text) is not None) == answers[-1]
    assert 20 < sum(answers) < 280
    assert found.find(evaluation[-1]) is None
    with pytest.raises(FileNotFoundError, match="evaluation set '/no/such' does not exist"):
        read_contamination(("/no/such",))


# tables and the Hub


ROWS = [
    {"content": FUNCTION.format(name=f"f{n}", doc=f"Compute thing {n}.", n=n), "lang": "Python", "who": f"r{n}"}
    for n in range(40)
]
COLUMNS = (("text", "content"), ("language", "lang"), ("repo", "who"))


@pytest.mark.parametrize("suffix", [".jsonl", ".parquet"])
def test_files_of_rows_are_read_whole_and_in_order(tmp_path, suffix, monkeypatch):
    monkeypatch.setattr(tables, "_PIECE_BYTES", 700)
    path = tmp_path / f"rows{suffix}"
    if suffix == ".jsonl":
        path.write_text("\n".join(map(json.dumps, [*ROWS, {**ROWS[0], "lang": "COBOL"}])))
    else:
        pq.write_table(pa.Table.from_pylist([*ROWS, {**ROWS[0], "lang": "COBOL"}]), path, row_group_size=7)
    options, report = SourceOptions((str(path),), columns=COLUMNS), FileReport()
    assert len(list(iter_chunks(options))) > 5
    files = list(iter_sources(options, report))
    assert [(file.text, file.repo, file.language) for file in files] == [
        (row["content"], row["who"], "python") for row in ROWS
    ]
    assert report.dropped == {"another language": 1}
    assert len({file.id for file in files}) == len(files)


def test_what_is_wrong_with_a_table_is_said(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text(json.dumps({"content": "x = 1\n", "lang": "python"}))
    with pytest.raises(ValueError, match=r"has no column 'text'. Its columns: content, lang. Say with --columns"):
        list(iter_sources(SourceOptions((str(path),))))
    with pytest.raises(ValueError, match=r"unknown field 'txt' in the columns. Did you mean 'text'\?"):
        SourceOptions((str(path),), columns=(("txt", "content"),))
    path.write_text("{not json")
    with pytest.raises(ValueError, match="holds a line at byte 0 that is no JSON"):
        list(iter_sources(SourceOptions((str(path),))))
    (tmp_path / "rows.parquet").write_bytes(b"PAR1 torn")
    with pytest.raises(OSError, match="is no Parquet file, or is torn .* Download it anew"):
        list(iter_sources(SourceOptions((str(tmp_path / "rows.parquet"),))))


def stack_row(n):
    return {
        "hexsha": str(n),
        "lang": "C#" if n % 2 else "Python",
        "content": FUNCTION.format(name=f"f{n}", doc=f"Compute thing {n}.", n=n),
        "max_stars_repo_name": f"me/repo{n}",
        "max_stars_repo_path": f"src/f{n}.py",
        "max_stars_repo_licenses": ["MIT", "Apache-2.0"],
    }


def test_the_stack_is_read_shard_by_shard(tmp_path, monkeypatch):
    """`datasets` itself streams a local copy of the layout; only the name is led there."""
    for shard in range(3):
        (tmp_path / "data" / "python").mkdir(parents=True, exist_ok=True)
        rows = [stack_row(shard * 10 + index) for index in range(4)]
        pq.write_table(pa.Table.from_pylist(rows), tmp_path / "data" / "python" / f"train-{shard:05d}-of-00003.parquet")
    load, asked = datasets.load_dataset, []

    def local(identifier, config, **options):
        asked.append((identifier, config, options["data_dir"], options["revision"]))
        return load(str(tmp_path), config, **{**options, "revision": None})

    monkeypatch.setattr(datasets, "load_dataset", local)
    tables._stream.cache_clear()
    options, report = SourceOptions(("hub:bigcode/the-stack-dedup@v1.2",), languages=("python",)), FileReport()
    chunks = list(iter_chunks(options))
    assert [chunk.items[2:] for chunk in chunks] == [(0, 3), (1, 3), (2, 3)]
    files = [file for chunk in chunks for file in read_chunk(chunk, options, report)]
    tables._stream.cache_clear()
    assert asked == [("bigcode/the-stack-dedup", None, "data/python", "v1.2")]
    assert [file.repo for file in files] == [f"me/repo{n}" for n in (0, 2, 10, 12, 20, 22)]
    assert report.dropped == {"another language": 6}
    assert files[0].license == "MIT, Apache-2.0" and files[0].path == "src/f0.py"


@pytest.mark.parametrize(
    ("language", "code", "body"),
    [
        ("python", 'def f(a):\n    """Old."""\n    b = a\n    c = b\n    return c', "b = a\nc = b"),
        ("java", "public int f(int a) {\n    int b = a;\n    b += 1;\n    return b;\n}", "int b = a;\nb += 1;"),
        ("php", "public function f($a) {\n    $b = $a;\n    $b++;\n    return $b;\n}", "$b = $a;\n$b++;"),
        ("go", "func f(a int) int {\n\tb := a\n\tb++\n\treturn b\n}", "b := a\nb++"),
        ("ruby", "def f(a)\n  b = a\n  b += 1\n  return b\nend", "b = a\nb += 1"),
        ("javascript", "function f(a) {\n  let b = a;\n  b++;\n  return b;\n}", "let b = a;\nb++;"),
    ],
)
def test_data_sets_of_pairs_keep_their_texts_and_get_hard_positives(tmp_path, language, code, body):
    row = {
        "func_code_string": code,
        "func_documentation_string": "Compute a thing from it. And more.",
        "language": language,
        "repository_name": "me/it",
        "func_path_in_repository": "x",
    }
    (tmp_path / "rows.jsonl").write_text(json.dumps(row))
    columns = tuple(tables.PRESETS["code-search-net/code_search_net"].columns.items())
    build_pairs(SourceOptions((str(tmp_path / "rows.jsonl"),), test_share=0, columns=columns), tmp_path / "out")
    (pair,) = load_split(tmp_path / "out", "train")
    assert (pair["text"], pair["code_body"], pair["name"]) == ("Compute a thing from it.", body, "f")
    assert "Old" not in pair["code"] and pair["code"].replace('    """Old."""\n', "") in code.replace(
        '    """Old."""\n', ""
    )


def test_a_data_set_that_cannot_be_reached_is_one_line(capsys, tmp_path):
    argv = ["data", "pairs", "--source", "hub:nobody/nothing", "--output", str(tmp_path / "out")]
    assert coderep.main(argv) == 1
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("coderep: data set 'nobody/nothing'") and "Check its name and your access" in error


# cards and eyes


def test_cards_name_licences_and_versions(tmp_path, capsys):
    write_repo(tmp_path / "src", "one", 1)
    record = {"repositories": [{"repo": "one", "license": "MIT", "version": "1.2"}]}
    (tmp_path / "src" / "repositories.json").write_text(json.dumps(record))
    stats = build_pairs(SourceOptions((str(tmp_path / "src"),), test_share=0), tmp_path / "out")
    assert stats["repositories"] == {"one": {"license": "MIT", "files": 1, "version": "1.2"}}
    assert set(load_split(tmp_path / "out", "train")["license"]) == {"MIT"}
    assert coderep.main(["card", "render", str(tmp_path / "out")]) == 0
    assert "| one | MIT | 1.2 | 1 |" in capsys.readouterr().out


def test_card_configurations_and_inspection(many, tmp_path, capsys):
    argv = command(many, tmp_path / "out", "--keep-dropped")[3:]
    assert coderep.main(argv) == 0
    card = (tmp_path / "out" / "README.md").read_text()
    assert card == render_dataset_card(tmp_path / "out") and str(tmp_path) not in card
    assert re.search(r"\| python \| [^|]+ \| 2", card) and "repo3 | not recorded" in card
    assert re.search(r"\| train \| \d+ \| \d+ \|\n\| test \| \d+ \| \d+ \|\n", card)
    kept = datasets.load_dataset(str(tmp_path / "out"), cache_dir=str(tmp_path / "cache"))
    dropped = datasets.load_dataset(str(tmp_path / "out"), "dropped", cache_dir=str(tmp_path / "cache"))
    assert set(kept) == {"train", "test"} and set(dropped["dropped"]["reason"]) >= {"body_too_short"}
    capsys.readouterr()
    for more, expected in (([], "def "), (["--dropped"], "[dropped: ")):
        assert coderep.main(["data", "inspect", str(tmp_path / "out"), "-n", "2", *more]) == 0
        shown = capsys.readouterr().out
        assert " python " in shown and shown.count("  text: ") == 2 and expected in shown
    assert coderep.main(["data", "inspect", str(tmp_path / "out"), "--languages", "java"]) == 2
    assert "has no 'java' rows. It has python" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--num-proc", "0"], "num_proc must be at least 1, got 0"),
        (["--near-dedup", "3"], "must lie in (0, 1], got 3.0"),
        (["--kinds", "lambda"], "kinds must be among function, method, class, got lambda"),
        (["--columns", "text"], "--columns takes FIELD=COLUMN, such as text=content; got 'text'"),
        (["--decontaminate", "/no/such"], "evaluation set '/no/such' does not exist"),
    ],
)
def test_options_that_make_no_sense_are_one_line(argv, message, capsys, tmp_path):
    write_repo(tmp_path / "src", "a", 1)
    whole = ["data", "pairs", "--source", str(tmp_path / "src"), "--output", str(tmp_path / "out"), *argv]
    assert coderep.main(whole) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists() and not list(tmp_path.glob(".out*"))
