"""The fuzz run keeps working, and finds what it is there to find: wrong results, crashes, hangs."""

from __future__ import annotations

import importlib.util
import re
import sys
from pathlib import Path

import pytest

from data_collators import LANGUAGES

_SPEC = importlib.util.spec_from_file_location("fuzz_run", Path(__file__).parent / "fuzz" / "run.py")
fuzz = importlib.util.module_from_spec(_SPEC)
sys.modules["fuzz_run"] = fuzz  # its dataclasses look their module up
_SPEC.loader.exec_module(fuzz)

# A worker that dies at one input and hangs at another.
BUGGY = """
import os, sys, time
sys.path.insert(0, {folder!r})
import run
plain = run.check_input
dies, hangs = (run.make_input(number, 0, run.read_seeds())[1] for number in (30, 44))
def check_input(language, code, align, figures):
    if code == dies:
        os.abort()
    if code == hangs:
        time.sleep(60)
    plain(language, code, align, figures)
run.check_input = check_input
sys.exit(run.main(sys.argv[1:]))
"""


def test_two_thousand_inputs_pass():
    run = fuzz.Run(2000, seed=1)()
    assert run.failures == {}
    assert {name: mine.inputs for name, mine in run.figures.items()} == dict.fromkeys(LANGUAGES, 2000 // len(LANGUAGES))
    assert all(mine.names and mine.functions and mine.broken for mine in run.figures.values())


def test_inputs_are_made_from_their_number_and_the_seed():
    seeds = fuzz.read_seeds()
    made = [fuzz.make_input(number, 0, seeds) for number in range(200)]
    assert made == [fuzz.make_input(number, 0, seeds) for number in range(200)]
    assert len({code for _, code in made}) == 200
    assert made != [fuzz.make_input(number, 1, seeds) for number in range(200)]
    assert all(fuzz.SMALLEST <= len(code) <= fuzz.LARGEST for _, code in made)


def overlapping(names):
    return [name._replace(end=names[min(place + 1, len(names) - 1)].end) for place, name in enumerate(names)]


def other_id(names):
    return [name._replace(name_id=place + 1) for place, name in enumerate(names)]


@pytest.mark.parametrize("spoil", [overlapping, other_id, lambda names: names[::-1]])
def test_planted_bugs_in_names_are_found(monkeypatch, tmp_path, spoil):
    plain = fuzz.find_identifiers
    monkeypatch.setattr(fuzz, "find_identifiers", lambda *args: spoil(plain(*args)))
    run = fuzz.Run(100, seed=0, failures=tmp_path)()
    assert len(run.failures) > 20
    number = min(run.failures)
    language, code = fuzz.make_input(number, 0, run.seeds)
    (file,) = [path for path in tmp_path.glob(f"0-{number}-*") if path.suffix != ".log"]
    assert file.read_bytes() == code and file.suffix in LANGUAGES[language].suffixes
    assert "AssertionError" in file.with_suffix(".log").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "spoil",
    [
        lambda found: fuzz.Function(**{**fields(found), "body": found.body._replace(end=found.span.end + 1)}),
        lambda found: fuzz.Function(**{**fields(found), "returns": (found.span, found.span)}),
        lambda found: fuzz.Function(**{**fields(found), "signature": found.span}),
    ],
)
def test_planted_bugs_in_functions_are_found(monkeypatch, spoil):
    plain = fuzz.find_functions
    monkeypatch.setattr(fuzz, "find_functions", lambda *args: [spoil(found) for found in plain(*args)])
    assert len(fuzz.Run(100, seed=0)().failures) > 10


def fields(found):
    return {name: getattr(found, name) for name in found.__dataclass_fields__}


def test_a_planted_bug_in_tokens_is_found():
    tokenize, pieces = fuzz.small_tokenizer()
    code = b"def f(data):\n    return data\n"
    names = fuzz.find_identifiers(fuzz.parse(code, "python"), "python")
    fuzz.check_tokens(code, names, tokenize, pieces)
    with pytest.raises(AssertionError, match="another id"):
        fuzz.check_tokens(code, names, lambda *args: (tokenize(*args)[0], 0 * tokenize(*args)[1]), pieces)
    with pytest.raises(AssertionError, match="another text"):
        fuzz.check_tokens(code, names, lambda *args: tuple(found[1:] for found in tokenize(*args)), pieces)


def test_workers_that_die_or_hang_are_replaced_and_their_input_is_found(tmp_path):
    command = [sys.executable, "-c", BUGGY.format(folder=str(fuzz.HERE))]
    run = fuzz.Run(60, seed=0, processes=1, failures=tmp_path, command=command, seconds=2)()
    assert sorted(run.failures) == [30, 44]
    assert re.fullmatch(r"the worker died with exit code -?\d+", run.failures[30])
    assert run.failures[44] == "the worker gave no answer in time"
    assert sum(mine.inputs for mine in run.figures.values()) == 60
    assert len(list(tmp_path.glob("*.log"))) == 2


def test_the_report_says_what_was_seen(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "corpus").mkdir()
    (tmp_path / "corpus" / "a.py").write_bytes(b"def corpus_only(corpus_name):\n    return corpus_name\n" * 100)
    command = ["--inputs", "60", "--processes", "0", "--corpus", "corpus", "--output", "page.md"]
    assert fuzz.main(command) == 0
    page = (tmp_path / "page.md").read_text(encoding="utf-8")
    prose = " ".join(page.split())
    assert "run over 60 texts" in prose and "None of them failed." in prose and "of the files in `corpus`" in prose
    assert f"python tests/fuzz/run.py {' '.join(command)}" in page
    assert re.search(r"\| all \| 60 \|", page) and "tree-sitter-python" in page
    assert all(len(line) <= 120 for line in page.splitlines() if not line.startswith(("|", "python")))
    assert sorted(path.name for path in tmp_path.iterdir() if path.name != "coderep-cache") == ["corpus", "page.md"]
    assert fuzz.main(["--inputs", "1", "--corpus", "nowhere"]) == 2
    assert "corpus 'nowhere' is not a folder" in capsys.readouterr().err
