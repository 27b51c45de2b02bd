"""Dataset builders on real and on awkward input."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys

import pytest
from datasets import load_dataset

from data_collators.builders import (
    BuildOptions,
    SourceOptions,
    build_pairs,
    build_stage1,
    build_tokenizer,
    iter_sources,
)
from data_collators.builders.pairs import PairExtractor
from data_collators.builders.sources import FileReport, split_of
from data_collators.builders.store import load_split, load_stats


@pytest.fixture
def options(corpus):
    return SourceOptions(source=(str(corpus),), test_share=0.3)


def test_stage1_rows_restore_every_file(options, tokenizer, corpus, tmp_path):
    stats = build_stage1(options, tokenizer, tmp_path / "out", max_length=128)
    texts = {}
    for split in ("train", "test"):
        for row in load_split(tmp_path / "out", split):
            assert len(row["input_ids"]) == len(row["identifier_ids"]) <= 128
            assert row["input_ids"][-1] == tokenizer.eos_token_id and row["identifier_ids"][-1] == 0
            names = sorted(set(row["identifier_ids"]) - {0})
            assert names == list(range(1, len(names) + 1))
            texts[row["path"]] = texts.get(row["path"], "") + tokenizer.decode(row["input_ids"][:-1])
    short = stats["dropped"].get("document_too_short", 0)
    whole = sum(texts[path.relative_to(corpus).as_posix()] == path.read_text() for path in corpus.rglob("*.py"))
    assert whole >= len(texts) - short and whole > 3


def test_repositories_are_on_one_side_of_the_split(options, tmp_path):
    build_pairs(options, tmp_path / "out")
    repos = {split: set(load_split(tmp_path / "out", split)["repo"]) for split in ("train", "test")}
    assert repos["train"] and repos["test"] and not repos["train"] & repos["test"]
    assert all(split_of(repo, 0.3) == split for split in repos for repo in repos[split])


def test_split_share_is_near_the_asked_one():
    n, p = 5000, 0.2
    tests = sum(split_of(f"repo{number}", p) == "test" for number in range(n))
    assert abs(tests - n * p) < 5 * (n * p * (1 - p)) ** 0.5


def test_pairs_hold_no_docstring_and_load_dataset_reads_them(options, tmp_path):
    stats = build_pairs(options, tmp_path / "out")
    rows = load_dataset(str(tmp_path / "out"), split="train", cache_dir=str(tmp_path / "cache"))
    assert len(rows) == stats["splits"]["train"]["rows"] > 50
    for row in rows:
        assert row["text"] and row["docstring"] not in row["code"]
        assert row["name"] in row["code"] and not row["code_body"].startswith("def " + row["name"])
        assert len(row["text"].split()) >= 3
    assert {**load_stats(tmp_path / "out"), "seconds": 0} == {**stats, "seconds": 0}
    assert sum(stats["dropped"].values()) > 0


def test_builders_are_deterministic(options, tmp_path):
    for name in ("one", "two"):
        build_pairs(options, tmp_path / name)
    shards = [sorted((tmp_path / name).glob("*.parquet")) for name in ("one", "two")]
    assert [path.read_bytes() for path in shards[0]] == [path.read_bytes() for path in shards[1]]


def test_pair_filters_count_what_they_drop(tmp_path):
    function = 'def f{n}(a):\n    """{doc}"""\n    b = a + {n}\n    return b\n'
    text = "".join(function.format(n=n, doc="Add a number to it.") for n in range(8))
    text += function.format(n=0, doc="Add a number to it.")  # the first one again
    text += (
        "def g(a):\n    return a\n"
        + 'def h(a):\n    """Return a as it is."""\n    return a\n'
        + "class C:\n    x = 1\n"
    )
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "p.py").write_text(text)
    stats = build_pairs(SourceOptions((str(tmp_path / "code"),), test_share=0), tmp_path / "out")
    assert load_split(tmp_path / "out", "train")["name"][:] == ["f0", "f1", "f2", "f3", "f4"]
    assert stats["dropped"] == {
        "repeated_summary": 3,
        "duplicate_code": 1,
        "no_docstring": 1,
        "body_too_short": 1,
        "other_kind": 1,
    }
    assert stats["per_language"]["python"]["counts"] == {
        **{"bytes": len(text), "files": 1, "rows": 5, "functions": 11, "documented": 10},
        **{key: value for key, value in stats["per_language"]["python"]["counts"].items() if "words" in key},
    }


# bad input


@pytest.fixture
def awkward(tmp_path):
    folder = tmp_path / "code"
    (folder / "tests").mkdir(parents=True)
    (folder / "tests" / "skipped.py").write_text("x = 1\n")
    (folder / "good.py").write_text('def f(a):\n    """Add one to it."""\n    b = a + 1\n    return b\n' * 1)
    (folder / "bom.py").write_bytes(b"\xef\xbb\xbfx = 1\n")
    (folder / "latin.py").write_bytes(b"# caf\xe9\nx = 1\n")
    (folder / "nul.py").write_bytes(b"x = 1\0\n")
    (folder / "empty.py").write_bytes(b" \n")
    (folder / "long.py").write_bytes(b"x = [" + b"1, " * 3_500_000 + b"]\n")
    (folder / "line.py").write_bytes(b"x = [" + b"1, " * 5_000 + b"]\n")
    (folder / "broken.py").write_text("def broken(:\n  return (((\n")
    (folder / "notes.txt").write_text("not code")
    (folder / "dangling.py").symlink_to(folder / "nowhere.py")
    return folder


def test_every_file_left_out_has_a_reason(awkward):
    report = FileReport()
    kept = [file.path for file in iter_sources(SourceOptions(source=(str(awkward),)), report)]
    assert kept == ["bom.py", "broken.py", "good.py"]
    assert report.dropped == {
        "not UTF-8": 1,
        "NUL characters": 1,
        "empty": 1,
        "larger than 1000000 bytes": 1,
        "a line longer than 1000 bytes": 1,
        "unreadable (No such file or directory)": 1,
    }
    assert any("latin.py" in line and "not UTF-8" in line for line in report.lines())


def test_odd_names_docstrings_and_nested_docstrings(tmp_path):
    folder = tmp_path / "code"
    folder.mkdir()
    (folder / "pipe.py").touch()
    os.remove(folder / "pipe.py")
    os.mkfifo(folder / "pipe.py")
    (folder / os.fsdecode(b"caf\xe9.py")).write_text("x = 1\n")
    (folder / "good.py").write_text(
        'def f(a):\n    """Half a pair \\udcff is here."""\n    b = a\n    return b\n'
        'def g(a):\n    """Match \\d with it."""\n'
        '    def h():\n        """Inner words here."""\n        return 1\n    return h\n'
    )
    report = FileReport()
    (file,) = iter_sources(SourceOptions(source=(str(folder),)), report)
    assert report.dropped == {"not a regular file": 1, "file name is not UTF-8": 1}
    rows = PairExtractor()(file).rows
    assert [row.name for row in rows] == ["g"]
    assert "Inner words" not in rows[0].code + rows[0].code_body


def test_nothing_half_written_is_left_when_nothing_is_usable(awkward, tmp_path):
    (awkward / "good.py").unlink()
    with pytest.raises(ValueError, match="no pairs row came out of 2 files: they hold none"):
        build_pairs(SourceOptions(source=(str(awkward),)), tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["code"]


def test_sources_that_cannot_be_used(tmp_path):
    with pytest.raises(FileNotFoundError, match="source '/no/such' does not exist. Name a folder or file"):
        SourceOptions(source=("/no/such",))
    with pytest.raises(ValueError, match="unknown language 'pyhton'. Did you mean 'python'"):
        SourceOptions(source=(str(tmp_path),), languages=("pyhton",))
    with pytest.raises(ValueError, match=r"no usable python file in .*: 0 found, all left out. Expected suffixes: .py"):
        list(iter_sources(SourceOptions(source=(str(tmp_path),), languages=("python",))))
    with pytest.raises(ValueError, match=r"test_share must lie in \[0, 1\), got 1"):
        SourceOptions(source=(str(tmp_path),), test_share=1)


def test_output_that_holds_something_else_is_not_touched(options, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.txt").write_text("mine")
    with pytest.raises(FileExistsError, match=r"holds something else \(no stats.json\). Name another folder"):
        build_pairs(options, tmp_path / "out", BuildOptions(overwrite=True))
    assert (tmp_path / "out" / "thesis.txt").read_text() == "mine"


def test_an_earlier_result_is_replaced_only_when_asked(options, tmp_path):
    build_pairs(options, tmp_path / "out")
    with pytest.raises(FileExistsError, match="exists already. Name another folder or add --overwrite"):
        build_pairs(options, tmp_path / "out")
    build_pairs(options, tmp_path / "out", BuildOptions(overwrite=True))


def test_corrupt_and_missing_data_sets(options, tmp_path):
    build_pairs(options, tmp_path / "out")
    shard = next((tmp_path / "out").glob("train-*"))
    shard.write_bytes(shard.read_bytes()[:200])
    with pytest.raises(OSError, match=r"a shard of '.*out' is corrupt .* Build it anew"):
        load_split(tmp_path / "out", "train")
    with pytest.raises(FileNotFoundError, match=r"is not a coderep data set \(no stats.json\)"):
        load_split(tmp_path, "train")
    with pytest.raises(FileNotFoundError, match="has no split 'valid'"):
        load_split(tmp_path / "out", "valid")


@pytest.mark.skipif(not hasattr(resource, "RLIMIT_FSIZE"), reason="needs file size limits")
def test_no_space_left_is_one_line_and_leaves_no_result(corpus, tmp_path):
    """A real limit on file size: the write fails in the kernel, as on a full disk."""
    done = subprocess.run(
        [sys.executable, "-m", "coderep", "data", "pairs", "--source", str(corpus), "--output", str(tmp_path / "out")],
        capture_output=True,
        text=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000)),
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
    )
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("coderep: no space left")
    assert "Traceback" not in done.stderr
    # What was made before stays, hidden, for the same command started again.
    assert all(path.name.startswith(".out.parts-") for path in tmp_path.iterdir())


def test_tokenizer_is_trained_on_the_training_split_alone(options, tmp_path):
    trained = build_tokenizer(options, tmp_path / "tok", vocab_size=600, model_max_length=64)
    assert len(trained) == 600
    assert json.loads((tmp_path / "tok" / "tokenizer_config.json").read_text())["model_max_length"] == 64
