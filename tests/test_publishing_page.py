"""docs/PUBLISHING.md as a user follows it: every command and block, against a small Hub on loopback.

Blocks marked `python` run in test_docs.py, those marked `py` here: they load from the Hub what the commands pushed.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from hub_runs import TOKEN
from hub_runs import hub as hub
from huggingface_hub import DatasetCard, ModelCard

import coderep
from hub_cards.metadata import check_card

# Raised inside huggingface_hub.
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")
PAGE = Path(coderep.__file__).resolve().parent / "docs" / "PUBLISHING.md"


def blocks(language):
    text = PAGE.read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)


def commands():
    for block in blocks("sh"):
        for line in block.replace("\\\n", " ").splitlines():
            if line.strip():
                yield shlex.split(line, comments=True)


def elsewhere(script, hub, folder):
    """Runs Python in a process with caches of its own and a Hub at the server."""
    folder.mkdir()
    dropped = ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_MODULES_CACHE")
    environment = {name: value for name, value in os.environ.items() if name not in dropped}
    environment |= {"HF_ENDPOINT": hub.url, "HF_HOME": str(folder / "home"), "HF_TOKEN": TOKEN, "PYTHONPATH": ""}
    done = subprocess.run([sys.executable, "-c", script], cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.timeout(900)  # with the demo that it starts from, on a machine that does much else
def test_the_page_takes_a_user_to_the_hub(hub, demo, corpus, tmp_path, monkeypatch, capsys):
    user = tmp_path / "user"
    shutil.copytree(demo, user / "demo")
    (user / "my_project").mkdir(parents=True)
    for name in ("csv.py", "argparse.py", "textwrap.py"):
        shutil.copyfile(corpus / name, user / "my_project" / name)
    monkeypatch.chdir(user)
    # Each export would be loaded in a process of its own, as test_publishing.py has it; here that is done at the end.
    for module in ("publish", "layout"):
        monkeypatch.setattr(f"hub_cards.{module}.check_export", lambda *_: 0.0)
    for words in commands():
        assert words[0] == "coderep"
        assert coderep.main(words[1:]) == 0, (words, capsys.readouterr().err)
        if "--push" not in words and "--push_to_hub" not in words and "publish" in words:
            assert not hub.repos, "a dry run pushed"
        if "more.json" in words and "--output" in words and words[1] == "card":
            assert "| bm25 |" in (user / "card.md").read_text()
    assert 'from_pretrained("checkpoints/mine", trust' in (user / "checkpoints" / "mine" / "README.md").read_text()
    pushed = {"me/code-encoder", "me/open-encoder", "me/code-pairs", "me/code-data", "me/tuned"}
    assert {repo.id for repo in hub.repos.values()} == pushed
    assert [repo.id for repo in hub.repos.values() if not repo.private] == ["me/open-encoder"]
    for repo in hub.repos.values():
        card = repo.read("README.md").decode()
        check_card(card, repo.kind, online=True)  # the Hub's own validation, at the server
        assert TOKEN not in card and str(tmp_path) not in card
        data = (ModelCard if repo.kind == "model" else DatasetCard)(card).data
        assert data.license and ("stage1" in data.tags or "pairs" in data.tags or data.pipeline_tag)
    said = elsewhere("\n".join(blocks("py")), hub, tmp_path / "elsewhere").splitlines()
    assert said[0] == "(1, 32)" and said[-1].isdigit() and "'reason'" in said[-2]
