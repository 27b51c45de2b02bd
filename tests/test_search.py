"""Search: what is found where, what a second search does not do again, and the command line."""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors import SafetensorError

import coderep
import trainers.encode
from trainers import search, search_cli, search_files, search_index
from trainers.search import CodeIndex
from trainers.search_progress import Progress

CSV = '''import csv


def read_rows(path):
    """Rows of a csv file."""
    with open(path) as file:
        return list(csv.reader(file))


class Table:
    @property
    @cached(
        size=3,
    )
    def column_names(
        self,
        upper: bool = False,
    ) -> list[str]:
        return [name.upper() for name in self.names]
'''
GO = """package main

// Sum adds numbers.
func Sum(numbers []int) int {
	total := 0
	for _, n := range numbers {
		total += n
	}
	return total
}
"""


class Words:
    """An encoder that counts words; remembers what it encoded."""

    fingerprint = "words"

    def __init__(self):
        self.seen = []

    def encode(self, texts, max_length=None):
        self.seen += texts
        return np.stack([self.vector(text) for text in texts])

    @staticmethod
    def vector(text):
        vector = np.full(64, 1e-3, dtype=np.float32)
        for word in "".join(c.lower() if c.isalnum() else " " for c in text).split():
            vector[hashlib.sha256(word.encode()).digest()[0] % 64] += 1
        return vector / np.linalg.norm(vector)


@pytest.fixture
def encoder(monkeypatch):
    words = Words()
    monkeypatch.setattr(trainers.encode, "load_encoder", lambda *args, **kwargs: words)
    return words


@pytest.fixture
def project(tmp_path):
    folder = tmp_path / "project"
    (folder / "lib").mkdir(parents=True)
    (folder / "table.py").write_text(CSV)
    (folder / "lib" / "sum.go").write_text(GO)
    (folder / "notes.txt").write_text("no code")
    age(folder)
    return folder


def age(folder):
    """Files written long ago: what is written now is read again next time, in case it changes within the same tick."""
    for path in folder.rglob("*.*"):
        os.utime(path, (1e9, 1e9))


def build(folder, **options):
    return CodeIndex.build("words", folder, **options)


def forbid(monkeypatch, target):
    monkeypatch.setattr(target, lambda *args, **kwargs: pytest.fail(f"{target} was called"))


# what is found


def test_hits_name_the_line_and_the_signature(encoder, project):
    index = build(project)
    assert len(index) == 3
    best = {query: index.search(query)[0] for query in ("rows of a csv file", "sum of numbers", "column names upper")}
    read, add, names = best.values()
    assert str(read) == f"{read.score:.3f}  {project}/table.py:4  def read_rows(path):"
    assert (add.path, add.line, add.end_line) == (str(project / "lib" / "sum.go"), 4, 10)
    assert (add.signature, add.language, add.name) == ("func Sum(numbers []int) int", "go", "Sum")
    assert names.signature == "def column_names(self, upper: bool = False) -> list[str]:"
    assert (names.line, names.end_line) == (15, 19) and "def column_names" in CSV.splitlines()[names.line - 1]
    assert names.code(2) == "    def column_names(\n        self," and names.code().endswith("self.names]")


def test_the_order_is_that_of_cosines_one_by_one(encoder, corpus):
    index = build(corpus)
    hits = index.search("print the usage and help", top_k=10_000)
    assert len(hits) == len(index) > 100
    slow = {}
    for path in sorted(corpus.rglob("*.py")):
        code = path.read_bytes()
        for function in coderep.functions(code, "python"):
            if function.kind != "class":
                text = code[slice(*function.span)].decode()
                place = str(path), function.line + text.rstrip().count("\n"), function.name
                slow[place] = float(Words.vector(text) @ Words.vector("print the usage and help"))
    assert {(hit.path, hit.end_line, hit.name): hit.score for hit in hits} == pytest.approx(slow, abs=1e-5)
    scores = [hit.score for hit in hits]
    assert scores == sorted(scores, reverse=True)


@pytest.mark.parametrize(
    ("text", "name", "expected"),
    [
        ("def f(a):", "f", (0, "def f(a):")),
        ("@cache\n@x.setter\ndef x(self,\n      a):", "x", (2, "def x(self, a):")),
        ("    [Fact(\n      Skip = true)]\n    public void Run() {", "Run", (2, "public void Run()")),
        ("@Override\npublic <T>\n    T get()\n        throws E {", "get", (2, "T get() throws E")),
        ("", "f", (0, "")),
        ("def f(" + "a, " * 100 + "):", "f", (0, ("def f(" + "a, " * 100)[:159] + "…")),
    ],
)
def test_signatures_are_one_line_from_the_name_on(text, name, expected):
    assert search_files.signature(text, name) == expected


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_lines_are_counted_as_editors_do(encoder, project, end):
    """A form feed or a line separator in a string ends no line."""
    code = f'import csv\n\x0c\ntext = "\u2028"\n\n\n{CSV}'.replace("\n", end)
    (project / "table.py").write_bytes(code.encode())
    (hit,) = (hit for hit in build(project).search("x") if hit.name == "read_rows")
    assert hit.line == 9 and hit.code(1) == "def read_rows(path):" and hit.code().endswith("list(csv.reader(file))")


def test_languages_are_those_asked_for(encoder, project):
    assert [hit.language for hit in build(project, languages=["go"]).search("x")] == ["go"]
    assert len(build(project, languages=["go", "python"])) == 3
    with pytest.raises(ValueError, match="unknown language 'cobol'"):
        build(project, languages=["cobol"])
    with pytest.raises(ValueError, match="no function in rust below"):
        build(project, languages=["rust"])


def test_a_single_file_is_searched(encoder, project):
    assert {hit.path for hit in build(project / "table.py").search("x")} == {str(project / "table.py")}


def test_nonsense_is_refused(encoder, project, tmp_path):
    index = build(project)
    with pytest.raises(ValueError, match="the query is empty"):
        index.search("  ")
    with pytest.raises(ValueError, match="top_k must be at least 1, got 0"):
        index.search("x", 0)
    (tmp_path / "nothing.py").write_text("x = 1\n")
    with pytest.raises(ValueError, match="no function below"):
        build(tmp_path / "nothing.py")
    (tmp_path / "made.py").write_text("# Code generated by a program. DO NOT EDIT.\ndef f():\n    pass\n")
    with pytest.raises(ValueError, match=r"no function below .*; left out 1 file: generated \(e.g. .*Name a folder"):
        build(tmp_path / "made.py")
    (tmp_path / "rows.jsonl").write_text('{"text": "def f(): pass"}\n')
    with pytest.raises(ValueError, match="holds rows of a data set. Name a folder or file of source code"):
        build(tmp_path / "rows.jsonl")
    with pytest.raises(FileNotFoundError, match="'/no/path' does not exist"):
        build("/no/path")


def test_a_file_that_cannot_be_parsed_in_time_is_left_out(encoder, project, monkeypatch):
    from data_collators import definitions
    from data_collators.parsing import ParseTimeout

    whole = definitions.functions

    def functions(code, language):
        if language == "go":
            raise ParseTimeout("slow")
        return whole(code, language)

    monkeypatch.setattr(definitions, "functions", functions)
    assert len(build(project)) == 2


# what is not done again


def test_nothing_is_parsed_or_encoded_twice(encoder, project, monkeypatch):
    first = build(project)
    encoder.seen.clear()
    forbid(monkeypatch, "data_collators.definitions.functions")
    forbid(monkeypatch, "trainers.search.write_index")
    again = build(project)
    assert not encoder.seen and again.search("csv") == first.search("csv")


def test_only_what_changed_is_read_and_encoded(encoder, project, monkeypatch):
    build(project)
    encoder.seen.clear()
    parsed = []
    whole = search_files._places
    monkeypatch.setattr(search_files, "_places", lambda file, *more: parsed.append(file.path) or whole(file, *more))
    (project / "table.py").write_text(CSV + "\n\ndef new_one(x):\n    return x + 1\n")
    (project / "more.py").write_text("def other():\n    pass\n")
    index = build(project)
    assert sorted(parsed) == ["more.py", "table.py"]
    assert sorted(encoder.seen) == ["def new_one(x):\n    return x + 1", "def other():\n    pass"]
    assert len(index) == 5 and index.search("new one x")[0].line == 22
    (project / "table.py").unlink()
    assert {hit.name for hit in build(project).search("x")} == {"Sum", "other"}


def test_a_touched_file_is_read_but_not_encoded(encoder, project):
    build(project)
    encoder.seen.clear()
    os.utime(project / "table.py", (1.1e9, 1.1e9))
    assert len(build(project)) == 3 and encoder.seen == ["x"][:0]


def test_a_change_within_the_same_tick_of_the_clock_is_seen(encoder, project):
    path = project / "table.py"
    path.write_text("def before(): pass\n")
    stamp = path.stat()
    assert "before" in {hit.name for hit in build(project).search("x")}
    path.write_text("def behind(): pass\n")
    os.utime(path, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    assert path.stat().st_size == stamp.st_size and path.stat().st_mtime_ns == stamp.st_mtime_ns
    assert "behind" in {hit.name for hit in build(project).search("x")}


def test_another_checkout_is_not_encoded_again(encoder, corpus, tmp_path):
    first = build(corpus)
    encoder.seen.clear()
    shutil.copytree(corpus, tmp_path / "copy")
    second = build(tmp_path / "copy")
    assert not encoder.seen and len(second) == len(first)


def test_other_lengths_and_models_have_their_own_index(encoder, project):
    build(project)
    encoder.seen.clear()
    build(project, max_length=8)
    encoder.fingerprint = "others"
    build(project)
    assert len(encoder.seen) == 6


def test_an_interruption_costs_a_slice(encoder, corpus, monkeypatch):
    monkeypatch.setattr(search, "_SLICE", 50)
    whole = encoder.encode

    def stop(texts, max_length=None):
        if len(encoder.seen) >= 100:
            raise KeyboardInterrupt
        return whole(texts, max_length)

    monkeypatch.setattr(encoder, "encode", stop)
    with pytest.raises(KeyboardInterrupt):
        build(corpus)
    done = len(encoder.seen)
    monkeypatch.setattr(encoder, "encode", whole)
    index = build(corpus)
    assert done >= 100 and len(encoder.seen) == len(set(encoder.seen)), "nothing is encoded twice"
    assert len(encoder.seen) > done and len(index) >= len(encoder.seen)


@pytest.mark.parametrize("content", [b"", b"torn", b"\x08\x00\x00\x00\x00\x00\x00\x00{}      "])
def test_a_torn_index_is_made_anew(encoder, project, content):
    build(project)
    path = search_index.index_path(project, None, ("words", 256))
    assert path.is_file()
    path.write_bytes(content)
    assert search_index.read_index(path).files == {}
    assert len(build(project)) == 3 and len(search_index.read_index(path).files) == 2


def test_an_index_that_cannot_be_written_is_said(encoder, project, tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert len(build(project, cache_dir=tmp_path / "file" / "cache")) == 3
    assert "the index could not be written" in capsys.readouterr().err


def test_a_full_disk_is_no_end(encoder, project, monkeypatch, capsys):
    def save_file(*_):
        raise SafetensorError("I/O error: No space left on device (os error 28)")

    monkeypatch.setattr(search_index, "save_file", save_file)
    assert len(build(project)) == 3
    assert "the index could not be written" in capsys.readouterr().err


def test_an_index_is_read_as_it_was_written(tmp_path):
    place = search_files.Place(3, 5, "f", "def f(): # ü", "ab" * 16)
    files = {"a.py": search_files.FileEntry((1, 2), "python", (place,)), "b\udc80.py": ((0, 0), "", ())}
    files["b\udc80.py"] = search_files.FileEntry(*files["b\udc80.py"])
    embeddings = np.array([[0.6, 0.8]], dtype=np.float32)
    assert search_index.write_index(tmp_path / "x", search_index.Index(files, embeddings, light=True))
    found = search_index.read_index(tmp_path / "x")
    assert found.files == files and list(found.files) == list(files) and found.light
    np.testing.assert_array_equal(found.embeddings_ND, embeddings)
    assert [path.name for path in tmp_path.iterdir()] == ["x"]


# progress


def test_progress_says_what_is_left(monkeypatch, capsys):
    now = [0.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    bar = Progress("encoding", 400)
    for seconds, done in ((5, 50), (10, 100), (12, 200), (300, 300)):
        now[0] = seconds
        bar.reach(done)
    # After 10 s a quarter is done, so 30 s are left; after 300 s three quarters are, so 100 s are.
    lines = capsys.readouterr().err.splitlines()
    assert lines == ["encoding: 25 %, about 30 s left", "encoding: 75 %, about 2 min left"]
    quiet = Progress("encoding", 400, show=False)
    now[0] = 1000
    quiet.reach(100)
    assert capsys.readouterr().err == ""


# the command


def run(*argv):
    return coderep.main(["search", *map(str, argv)])


@pytest.fixture
def checkpoint(tmp_path, tiny_config, tokenizer):
    from modeling_coderep import CodeRepModel
    from trainers.checkpoints import save_model

    save_model(CodeRepModel(tiny_config), tokenizer, tmp_path / "here" / search_cli.DEFAULT)
    return tmp_path / "here" / search_cli.DEFAULT


def test_the_command_with_a_real_model(checkpoint, corpus, capsys):
    assert run(checkpoint, corpus, "parse arguments", "--top-k", "3", "--max-length", "32") == 0
    out, err = capsys.readouterr()
    lines = out.splitlines()
    scores = [float(line.split()[0]) for line in lines]
    assert len(lines) == 3 and scores == sorted(scores, reverse=True)
    path, line = lines[0].split("  ")[1].rsplit(":", 1)
    assert lines[0].split("  ")[2][:20] in Path(path).read_text().splitlines()[int(line) - 1]
    assert "functions, once" in err and "functions in" in err


def test_the_device_is_the_one_asked_for(checkpoint, project, monkeypatch, capsys):
    assert run(checkpoint, project, "sum", "--device", "nonsense") == 2
    assert "device 'nonsense' cannot be used (" in capsys.readouterr().err.splitlines()[-1]
    asked = []
    load = trainers.encode.load_encoder
    monkeypatch.setattr(trainers.encode, "load_encoder", lambda *a, device: asked.append(device) or load(*a))
    assert run(checkpoint, project, "sum", "--device", "cpu") == 0
    assert asked == ["cpu"]


def test_two_arguments_take_the_checkpoint_of_the_checkout(checkpoint, project, monkeypatch, capsys):
    below = checkpoint.parent.parent / "a" / "b"
    below.mkdir(parents=True)
    monkeypatch.chdir(below)
    assert run(project, "sum") == 0
    two = capsys.readouterr().out
    assert run(checkpoint, project, "sum") == 0
    assert capsys.readouterr().out == two and two.count("\n") == 3


def test_without_a_checkpoint_anywhere(project, monkeypatch, tmp_path, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(search_cli, "__file__", str(tmp_path / "trainers" / "search_cli.py"))
    assert run(project, "sum") == 2
    assert "there is no checkpoints/coderep-mini here, above, or beside this package" in capsys.readouterr().err


def test_json_and_context(encoder, project, checkpoint, capsys):
    assert (
        run(checkpoint, project, "sum of numbers", "--json", "--context", "2", "--top-k", "1", "--language", "go") == 0
    )
    (line,) = capsys.readouterr().out.splitlines()
    found = json.loads(line)
    assert found.pop("score") == pytest.approx(
        float(Words.vector(GO[GO.index("func") :]) @ Words.vector("sum of numbers")), abs=1e-5
    )
    assert found == {
        "query": "sum of numbers",
        "path": str(project / "lib" / "sum.go"),
        "line": 4,
        "end_line": 10,
        "name": "Sum",
        "language": "go",
        "signature": "func Sum(numbers []int) int",
        "code": "func Sum(numbers []int) int {\n\ttotal := 0",
    }
    assert run(checkpoint, project, "sum of numbers", "--context", "1", "--top-k", "1") == 0
    assert capsys.readouterr().out.splitlines()[1] == "    func Sum(numbers []int) int {"


def test_options_may_stand_anywhere(encoder, project, checkpoint, capsys):
    assert run(checkpoint, "--json", project, "--top-k", "1", "sum of numbers") == 0
    assert json.loads(capsys.readouterr().out)["name"] == "Sum"


def test_queries_from_a_pipe(encoder, project, checkpoint, monkeypatch, capsys):
    monkeypatch.setattr("sys.stdin", io.StringIO("sum of numbers\n\nrows of a csv file\n"))
    assert run(checkpoint, project, "-i", "--json", "--top-k", "1") == 0
    found = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [one["name"] for one in found] == ["Sum", "read_rows"]


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["x"], "give [CHECKPOINT] PATH QUERY; got 1 arguments. A query of several words needs quotes"),
        (["a", "b", "c", "d"], "got 4 arguments"),
        (["-i", "a", "b", "c"], "give [CHECKPOINT] PATH, since -i asks for queries; got 3"),
        (["a", "b", "c", "--context", "-1"], "--context must be at least 0, got -1"),
        (["a", "b", "c", "--top-k", "0"], "--top-k must be at least 1, got 0"),
        (["tests", "b", "c"], "'tests' is not a checkpoint"),
    ],
)
def test_mistakes(argv, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tests").mkdir()
    assert run(*argv) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("argv", [["-h"], ["x"]])
def test_help_and_mistakes_come_at_once(argv):
    code = f"import sys, trainers.search_cli as s; print(sorted(sys.modules)); s.main({argv})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "'numpy'" not in done.stdout.splitlines()[0] and "[CHECKPOINT] PATH QUERY" in done.stdout + done.stderr
