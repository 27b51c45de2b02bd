"""What a run leaves behind: run.json, results.json. Cards are written from these files and from nothing else."""

from __future__ import annotations

import platform
import subprocess
import time
from dataclasses import asdict, dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

from data_collators.files import write_json

RECORDED_PACKAGES = (
    "torch",
    "transformers",
    "tokenizers",
    "datasets",
    "accelerate",
    "tree-sitter",
    "tree-sitter-python",
)


@dataclass(frozen=True, slots=True)
class EvalResult:
    """One number: which model, on what, by which protocol.

    Args:
        model: Folder, Hub repo or "bm25".
        task: "text-to-code retrieval", "code-to-code retrieval", "defect classification" and so on.
        dataset: Name of the evaluation set.
        revision: Which version of it: a commit, or a hash of its content.
        protocol: Name of the protocol, with what was changed in it.
        metric: "mrr", "map", "ndcg@10", "recall@10", "macro-f1", "accuracy".
        value: Share, 0 to 1.
        n: Queries or examples that it is a mean over.
        seconds: Wall time of the evaluation that gave it.
        query_language: A cell of the language matrix counts only queries in this language; "" is all.
        corpus_language: A cell of the language matrix ranks only documents in this language; "" is all.
        domain: Whether the model was trained on data of this kind: "zero-shot", "in-domain" or "unknown".
        spread: Standard deviation over seeds, where there are several.
        counts: What was left out or cut, and how often.
        split: Part of the set that was read, such as "test"; "" if it has none, or none is known.
    """

    model: str
    task: str
    dataset: str
    revision: str
    protocol: str
    metric: str
    value: float
    n: int
    seconds: float
    query_language: str = ""
    corpus_language: str = ""
    domain: str = "unknown"
    spread: float | None = None
    counts: dict[str, int] = field(default_factory=dict)
    split: str = ""


@dataclass
class RunRecord:
    """How a checkpoint came about."""

    recipe: dict[str, Any]
    seed: int
    data: dict[str, Any]
    wall_seconds: float
    tokens: int
    parameters: int = 0
    processes: int = 1
    log: list[dict[str, Any]] = field(default_factory=list)
    git_sha: str = field(default_factory=lambda: git_sha())
    versions: dict[str, str] = field(default_factory=lambda: versions())
    machine: str = field(default_factory=lambda: machine())

    @classmethod
    def without_data(cls, recipe: dict[str, Any], started: float, parameters: int) -> RunRecord:
        """The record of a model made from others at once, with no example read in training.

        Args:
            recipe: How it was made.
            started: `time.monotonic()` at the start.
            parameters: What the model has.
        """
        seconds, nothing = round(time.monotonic() - started, 1), {"kind": "none", "sources": []}
        return cls(recipe, seed=0, data=nothing, wall_seconds=seconds, tokens=0, parameters=parameters)

    def save(self, path: str | Path) -> None:
        """Write the record as JSON."""
        write_json(path, asdict(self))


def git_sha() -> str:
    """Commit of the source checkout this package runs from; "" outside one."""
    folder = Path(__file__).resolve().parent
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), "rev-parse", "HEAD"], capture_output=True, text=True, timeout=10, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def versions() -> dict[str, str]:
    """Versions of this package, Python and the libraries that decide the numbers."""
    found = {"python": platform.python_version()}
    for name in ("coderep", *RECORDED_PACKAGES):
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def machine() -> str:
    """Processor architecture, cores and accelerator, without names that identify the machine."""
    import os

    import torch

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    accelerator = f", {torch.cuda.get_device_name()}" if torch.cuda.is_available() else ""
    return f"{platform.system()} {platform.machine()}, {cores} CPU cores{accelerator}"
