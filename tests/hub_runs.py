"""Runs and data sets to publish, and a small Hub on loopback to publish them to."""

from __future__ import annotations

import os
import subprocess
import sys
from types import SimpleNamespace

import pytest
import torch
from hub_server import HubServer, User
from huggingface_hub import close_session, constants

import coderep
from data_collators.files import write_json
from modeling_coderep import CodeRepModel
from trainers.checkpoints import save_model

TOKEN = "hf_" + "plantedTokenNobodyMaySee" + "0123456789"
TEXTS = ["read a file line by line", "def area(r):\n    return 3.14159 * r**2\n", "", "x " * 300]
RUN = {
    "recipe": {"learning_rate": 0.001},
    "seed": 1,
    "data": {
        "kind": "pairs",
        "sources": ["toy"],
        "languages": {"python": 3},
        "fingerprint": "f00",
        "splits": {"train": {"rows": 1000, "files": 3}},
        "dropped": {"no_docstring": 12345},
    },
    "wall_seconds": 12.5,
    "tokens": 1234567,
    "parameters": 98765,
    "versions": {"python": "3.11"},
    "machine": "Linux x86_64, 2 CPU cores",
    "log": [],
}


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """A Hub that knows one token, which is logged in; `slept` holds the seconds that the client waited, in no time."""
    with HubServer() as server:
        server.users[TOKEN] = User("me", orgs=("lab",))
        server.slept, server.page = [], 5
        template = server.url + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        for name, value in (("ENDPOINT", server.url), ("HF_HUB_OFFLINE", False), ("HF_HUB_DISABLE_XET", True)):
            monkeypatch.setattr(constants, name, value)
        monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "no token"))
        monkeypatch.setattr("huggingface_hub.utils._http.time", SimpleNamespace(sleep=server.slept.append))
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        close_session()
        yield server
        close_session()


@pytest.fixture(scope="session")
def model(tmp_path_factory, tokenizer):
    """The folder of a saved model."""
    from modeling_coderep import CodeRepConfig

    torch.manual_seed(0)
    config = CodeRepConfig(
        vocab_size=1024,
        hidden_size=32,
        num_hidden_layers=1,
        num_attention_heads=4,
        intermediate_size=64,
        max_position_embeddings=128,
        initializer_range=0.2,
    )
    folder = tmp_path_factory.mktemp("saved") / "model"
    save_model(CodeRepModel(config), tokenizer, folder)
    return folder


@pytest.fixture
def run(tmp_path, model):
    """The folder of a run, as a training command leaves it."""
    folder = tmp_path / "a run"
    folder.mkdir()
    (folder / "model").symlink_to(model)
    write_json(folder / "run.json", RUN)
    return folder


@pytest.fixture(scope="session")
def pairs(tmp_path_factory, corpus):
    """The folder of a data set, as `coderep data pairs` leaves it."""
    folder = tmp_path_factory.mktemp("data") / "pairs"
    sources = [str(corpus / name) for name in ("csv.py", "argparse.py", "json", "textwrap.py")]
    argv = ["data", "pairs", "--source", *sources, "--output", str(folder), "--test-share", "0.3"]
    assert coderep.main(argv) == 0
    return folder


@pytest.fixture
def elsewhere(hub, tmp_path):
    """Runs Python in a process with caches of its own, a Hub at the server, and in another folder."""
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    dropped = ("PYTHONPATH", "HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_MODULES_CACHE")
    environment = {name: value for name, value in os.environ.items() if name not in dropped}
    environment |= {"HF_ENDPOINT": hub.url, "HF_HOME": str(folder / "home"), "HF_TOKEN": TOKEN}
    environment |= {"HF_HUB_DISABLE_TELEMETRY": "1", "TMPDIR": str(tmp_path)}

    def python(*argv, given=""):
        done = subprocess.run(
            [sys.executable, *argv],
            cwd=folder,
            env=environment,
            input=given,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout + done.stderr

    python.folder = folder
    return python
