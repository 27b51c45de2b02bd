"""Fixtures shared by the tests: a small corpus of real code, a tokenizer trained on it, a tiny model."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import sysconfig
import tempfile
from pathlib import Path

import pytest
import yaml
from filelock import FileLock

os.environ.setdefault("HF_HUB_OFFLINE", "1")  # no test talks to the Hub
os.environ["OMP_NUM_THREADS"] = "1"  # models are so small that threads wait for each other most of the time

STDLIB = Path(sysconfig.get_path("stdlib"))
MODULES = ("argparse.py", "textwrap.py", "json", "shutil.py", "heapq.py", "calendar.py", "csv.py", "tempfile.py")

# The demo at a size that trains in seconds.
DEMO_RECIPE = {
    "data": {"test_share": 0.3},
    "tokenizer": {"vocab_size": 1024, "model_max_length": 64},
    "mlm": {
        "model_config": {
            "hidden_size": 32,
            "num_hidden_layers": 1,
            "num_attention_heads": 2,
            "intermediate_size": 64,
            "max_position_embeddings": 64,
            "embedding_dropout": 0,
            "hidden_dropout": 0,
            "attention_dropout": 0,
        },
        "max_length": 64,
        "per_device_train_batch_size": 4,
        "max_steps": 20,
        "learning_rate": 1e-3,
        "logging_steps": 10,
        "save_steps": 10,
    },
    "contrastive": {
        "max_text_length": 16,
        "max_code_length": 32,
        "hard_positive_rate": 0.5,
        "per_device_train_batch_size": 16,
        "max_steps": 60,
        "learning_rate": 1e-3,
        "logging_steps": 20,
        "save_steps": 20,
    },
    "evaluation": {"max_length": 32},
    "search": {"max_length": 32, "top_k": 2, "queries": ["read rows of a csv file"]},
}


def pytest_configure(config):
    """A Hugging Face home for each process: those of pytest-xdist would write modules to the same place at once."""
    if "PYTEST_XDIST_WORKER" in os.environ:  # such processes end before they clean up; the one that starts them does
        home = os.path.join(os.environ["HF_HOME"], os.environ["PYTEST_XDIST_WORKER"])
    else:
        home = tempfile.mkdtemp(prefix="coderep-tests-")
        config.add_cleanup(lambda: shutil.rmtree(home, ignore_errors=True))
    os.environ["HF_HOME"] = home


@pytest.fixture(scope="session")
def made_once(tmp_path_factory):
    """`made_once(name, make)` is a folder that `make` has filled, the same one in all processes of pytest-xdist."""
    root = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        root = root.parent

    def made_once(name, make):
        folder, done = root / name, root / f"{name}.done"
        with FileLock(root / f"{name}.lock"):
            if not done.exists():
                shutil.rmtree(folder, ignore_errors=True)  # of a process that failed at it
                folder.mkdir()
                make(folder)
                done.touch()
        return folder

    return made_once


@pytest.fixture(scope="session", autouse=True)
def cache(tmp_path_factory):
    """Fixtures do not read or write the caches of whoever runs the tests."""
    os.environ["CODEREP_CACHE"] = str(tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="session")
def corpus(made_once):
    """A folder with some modules of the standard library."""

    def make(folder):
        for name in MODULES:
            for path in sorted((STDLIB / name).glob("*.py")) if (STDLIB / name).is_dir() else [STDLIB / name]:
                target = folder / path.relative_to(STDLIB)
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(path.read_bytes())

    return made_once("corpus with space", make)


@pytest.fixture(scope="session")
def sources(corpus):
    """The bytes of every file of the corpus."""
    return [path.read_bytes() for path in sorted(corpus.rglob("*.py"))]


@pytest.fixture(scope="session")
def tokenizer(sources):
    from data_collators import train_tokenizer

    return train_tokenizer([source.decode() for source in sources], vocab_size=1024, model_max_length=128)


@pytest.fixture
def tiny_config():
    from modeling_coderep import CodeRepConfig

    return CodeRepConfig(
        vocab_size=1024,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=64,
        max_position_embeddings=128,
        embedding_dropout=0.0,
        hidden_dropout=0.0,
        attention_dropout=0.0,
        initializer_range=0.2,  # large enough that differences show
    )


@pytest.fixture(scope="session")
def recipe(tmp_path_factory):
    """The reduced recipe as a file."""
    path = tmp_path_factory.mktemp("recipe") / "demo.yaml"
    path.write_text(yaml.safe_dump(DEMO_RECIPE))
    return path


@pytest.fixture(scope="session")
def demo(made_once, corpus, recipe, cache):
    """A finished demo of reduced size, made once."""
    from hub_cards.demo import run_demo

    make = lambda folder: run_demo(folder / "demo", recipe=recipe, source=corpus)  # noqa: E731
    return made_once("demo of tests", make) / "demo"


@pytest.fixture(autouse=True)
def seeded(tmp_path, monkeypatch):
    """Every test starts from the same seed and with caches of its own."""
    import torch  # here, since the process that only hands out tests imports this file too

    torch.manual_seed(0)
    monkeypatch.setenv("CODEREP_CACHE", str(tmp_path / "coderep-cache"))


@pytest.fixture(scope="session")
def stage1(made_once, corpus):
    """A folder with a `tokenizer` and stage-1 `rows` of at most 64 tokens; 280 packed rows to train on."""
    import coderep

    def make(folder):
        tokenizer, rows = str(folder / "tokenizer"), str(folder / "rows")
        source = ["--source", str(corpus / "csv.py"), str(corpus / "json"), "--output"]
        assert coderep.main(["data", "tokenizer", *source, tokenizer, "--vocab-size", "600", "--max-length", "64"]) == 0
        more = ["--tokenizer", tokenizer, "--max-length", "64", "--test-share", "0.4"]
        assert coderep.main(["data", "stage1", *source, rows, *more]) == 0

    return made_once("stage 1", make)


# What a process runs that `start` makes: the front door, with a log file for what it prints.
CHILD = """
import multiprocessing, os, sys
multiprocessing.set_start_method("fork", force=True)  # as everywhere else; this process came another way
for name, value in env.items():
    os.environ[name] = value
for number in (1, 2):
    os.dup2(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND), number)
sys.stdout, sys.stderr = open(1, "w", closefd=False), open(2, "w", closefd=False)
import coderep
exec(before)
code = coderep.main(argv)
sys.stdout.flush(), sys.stderr.flush()
sys.exit(code)
"""


@pytest.fixture(scope="session")
def start():
    """Start `coderep` with some arguments in a process of its own, made from one that has imported torch: in no time.

    `before` is code that the process runs first, `env` its additional environment, `log` a file for what it prints.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["coderep", "trainers.mlm", "transformers.trainer", "torch._dynamo"])

    def start(argv, log, before="", env=None):
        values = {"argv": list(argv), "log": str(log), "before": before, "env": env or {}}
        process = context.Process(target=exec, args=(CHILD, values))
        process.start()
        return process

    return start
