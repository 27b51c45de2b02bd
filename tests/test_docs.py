"""The code blocks of README and docs run as they stand, in a folder where `demo/` holds a finished demo.

In that folder `codesage/codesage-small-v2` is a tiny checkpoint in the published layout, `my_set` a retrieval set and
`my_labels` a classification set.
"""

from __future__ import annotations

import json
import re
import runpy
import shlex
import shutil
from pathlib import Path

import pytest

import coderep

ROOT = Path(coderep.__file__).resolve().parent
GOLDEN = ROOT.parent / "shared" / "golden"
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def blocks(page, language):
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)


@pytest.fixture
def user_folder(demo, corpus, tmp_path, monkeypatch):
    shutil.copytree(demo, tmp_path / "demo")  # some blocks write into it
    (tmp_path / "my_project").symlink_to(corpus)
    (tmp_path / "checkpoints").symlink_to(ROOT / "checkpoints")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def evaluation_folder(user_folder):
    """With a retrieval set and a classification set."""
    pairs = [(verb, noun) for verb in ("read", "write") for noun in ("row", "page")]
    tasks = {f"{verb} the {noun}": f"def {verb}_{noun}(x): return x.find(1) + 1" for verb, noun in pairs}
    write_lines(user_folder / "my_set" / "corpus.jsonl", ({"_id": c, "text": c} for c in tasks.values()))
    write_lines(user_folder / "my_set" / "queries.jsonl", ({"_id": t, "text": t} for t in tasks))
    (user_folder / "my_set" / "qrels.tsv").write_text("".join(f"{t}\t{c}\t1\n" for t, c in tasks.items()))
    for split in ("train", "test"):
        rows = [{"code": f"{code} # {i}", "label": text.split()[0]} for text, code in tasks.items() for i in range(4)]
        write_lines(user_folder / "my_labels" / f"{split}.jsonl", rows)
    return user_folder


def write_lines(path, rows):
    path.parent.mkdir(exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def test_evaluation_commands_run(evaluation_folder, capsys):
    """Those of docs/EVALUATION.md that need nothing from elsewhere; a comment says which do."""
    pytest.importorskip("mteb")
    (evaluation_folder / "more").mkdir()
    lines = [line for block in blocks(ROOT / "docs" / "EVALUATION.md", "sh") for line in block.splitlines()]
    run = [line for line in lines if "# from the" not in line]
    assert {tuple(line.split()[1:3]) for line in run} == {
        ("eval", verb) for verb in ("retrieval", "report", "classify", "mteb", "leakage")
    }
    for line in run:
        words = [word for word in shlex.split(line, comments=True)[1:] if word != "more/*.json"]
        assert coderep.main(words) == 0, (line, capsys.readouterr().err)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_python_blocks_run(page, user_folder, request):
    found = blocks(page, "python")
    if page.name == "CODESAGE.md":
        if not GOLDEN.is_dir():
            pytest.skip("../shared/golden is not here")
        (user_folder / "codesage").mkdir()
        (user_folder / "codesage" / "codesage-small-v2").symlink_to(GOLDEN / "codesage_tiny_v2")
        coderep.convert_checkpoint("codesage/codesage-small-v2", "codesage-small-v2-coderep", check=False)
    if page.name == "EVALUATION.md":
        pytest.importorskip("mteb")
        request.getfixturevalue("evaluation_folder")
    if page.name == "ENCODER.md":
        pytest.importorskip("onnxscript")
        pytest.importorskip("mteb")
    if page.name == "SCALE.md":
        pytest.importorskip("datatrove")
    assert found or page.name in ("ABLATIONS.md", "CONFORMANCE.md", "MODEL.md", "PERFORMANCE.md")
    for number, block in enumerate(found):
        script = user_folder / f"block{number}.py"
        script.write_text(block)
        runpy.run_path(str(script))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_are_ones_that_exist(page):
    """Every `coderep ...` line in a shell block names a command and only flags that it knows."""
    for block in blocks(page, "sh"):
        for line in block.replace("\\\n", " ").splitlines():
            words = shlex.split(line, comments=True)
            if words[:1] == ["coderep"]:
                assert any(tuple(words[1 : 1 + len(name)]) == name for name in coderep.COMMANDS), line


def test_readme_shows_the_two_commands_first():
    first = (ROOT / "README.md").read_text().split("```")[1]
    assert "make demo" in first and "make test" in first


def test_paths_in_readme_exist():
    for target in re.findall(r"\]\(([^)#]+)\)", (ROOT / "README.md").read_text()):
        assert target.startswith("http") or (ROOT / target).exists(), target
