"""The code blocks of README and docs run as they stand, in a folder where `demo/` holds a finished demo.

In that folder `codesage/codesage-small-v2` is a tiny checkpoint in the published layout.
"""

from __future__ import annotations

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
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_python_blocks_run(page, user_folder):
    found = blocks(page, "python")
    if page.name == "CODESAGE.md":
        if not GOLDEN.is_dir():
            pytest.skip("../shared/golden is not here")
        (user_folder / "codesage").mkdir()
        (user_folder / "codesage" / "codesage-small-v2").symlink_to(GOLDEN / "codesage_tiny_v2")
        coderep.convert_checkpoint("codesage/codesage-small-v2", "codesage-small-v2-coderep", check=False)
    if page.name == "ENCODER.md":
        pytest.importorskip("onnxscript")
        pytest.importorskip("mteb")
    if page.name == "SCALE.md":
        pytest.importorskip("datatrove")
    assert found or page.name in ("CONFORMANCE.md", "PERFORMANCE.md")
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
