"""Whether a model has seen data of a set's kind: zero-shot, in-domain, or nobody says."""

from __future__ import annotations

import json
from collections.abc import Sequence
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from .scorers import BM25

ZERO_SHOT, IN_DOMAIN, UNKNOWN = "zero-shot", "in-domain", "unknown"
_RUN = "run.json"


def domain_of(model: str, dataset: str, in_domain: Sequence[str] = (), zero_shot: Sequence[str] = ()) -> str:
    """The domain of a result.

    What the user says counts first. BM25 is not trained. A checkpoint of ours tells by its record: a set that its
    training data were decontaminated against is zero-shot, the held-out part of its own data in-domain.

    Args:
        model: Checkpoint folder, Hub repo or "bm25".
        dataset: Name of the set.
        in_domain: Names of sets whose kind the model was trained on; `*` stands for anything.
        zero_shot: Names of sets of which it has seen nothing.
    """
    for patterns, domain in ((in_domain, IN_DOMAIN), (zero_shot, ZERO_SHOT)):
        if any(fnmatch(dataset, pattern) for pattern in patterns):
            return domain
    if model == BM25:
        return ZERO_SHOT
    stages = _stages(Path(model))
    if any(dataset == ", ".join(stage.get("sources", [])) for stage in stages):
        return IN_DOMAIN
    if stages and all(dataset in stage.get("decontamination", {}).get("sets", []) for stage in stages):
        return ZERO_SHOT
    return UNKNOWN


def _stages(checkpoint: Path) -> list[dict[str, Any]]:
    """The data records of the run that a checkpoint folder belongs to: its own, or the folder's above."""
    for folder in (checkpoint, checkpoint.parent):
        path = folder / _RUN
        if checkpoint.is_dir() and path.is_file():
            try:
                run = json.loads(path.read_text(encoding="utf-8"))
                return [stage["data"] for stage in run.get("stages") or [run]]
            except (ValueError, KeyError, AttributeError):
                return []
    return []
