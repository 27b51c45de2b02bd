"""Whether a model has seen data of a set's kind: zero-shot, in-domain, or nobody says."""

from __future__ import annotations

import json
from collections.abc import Sequence
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from .scorers import BM25

ZERO_SHOT, IN_DOMAIN, UNKNOWN = "zero-shot", "in-domain", "unknown"
_RUN, _CLAIM = "run.json", "stage.json"


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
    stages = training_data(model)
    if any(dataset == ", ".join(stage.get("sources", [])) for stage in stages):
        return IN_DOMAIN
    if stages and all(dataset in stage.get("decontamination", {}).get("sets", []) for stage in stages):
        return ZERO_SHOT
    return UNKNOWN


def training_data(checkpoint: str | Path) -> list[dict[str, Any]]:
    """What a checkpoint was trained on, a record a stage, by the run.json of its folder or of the one above.

    An empty record stands for a start model of which nothing is known; no record at all means that there is no run.
    """
    checkpoint = Path(checkpoint)
    for folder in (checkpoint, checkpoint.resolve().parent):
        path = folder / _RUN
        if checkpoint.is_dir() and path.is_file():
            run = _read(path)
            stages = [stage.get("data") or {} for stage in run.get("stages") or [run]]
            whole = "stages" in run or _read(folder / _CLAIM).get("model", "unknown") is None
            return stages if whole else [{}, *stages]
    return []


def _read(path: Path) -> dict[str, Any]:
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return record if isinstance(record, dict) else {}
