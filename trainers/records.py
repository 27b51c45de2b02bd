"""What a run leaves behind: run.json, results.json. Cards are written from these files and from nothing else."""

from __future__ import annotations

import platform
import subprocess
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
    """One number: which model, on what, by which protocol. `n` counts queries or examples."""

    model: str
    task: str
    dataset: str
    revision: str
    protocol: str
    metric: str
    value: float
    n: int
    seconds: float


@dataclass
class RunRecord:
    """How a checkpoint came about."""

    recipe: dict[str, Any]
    seed: int
    data: dict[str, Any]
    wall_seconds: float
    tokens: int
    parameters: int = 0
    log: list[dict[str, Any]] = field(default_factory=list)
    git_sha: str = field(default_factory=lambda: git_sha())
    versions: dict[str, str] = field(default_factory=lambda: versions())
    machine: str = field(default_factory=lambda: machine())

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
