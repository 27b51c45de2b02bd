"""Which runs a model has behind it, from the records in their folders: stage after stage, back to where it began."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from yaml import YAMLError

RUN, CLAIM = "run.json", "stage.json"
# Names that a run gives its own folders; a path that ends so is no repo on the Hub.
_OURS = re.compile(r"model|checkpoint(-\d+)?")
_HUB_ID = re.compile(r"[\w.-]+(/[\w.-]+)?")
_NAMES = {"stage1": "stage 1", "pairs": "stage 2"}


@dataclass(frozen=True)
class Lineage:
    """How a model came about.

    Args:
        stages: Records of its runs, the first one first; each has a `name`.
        base_model: Repo on the Hub that the first of them started from; None if there is none.
        unrecorded: Whether it started from a checkpoint of which no record is left.
        license: What the card beside that checkpoint calls its licence; None if there is no such card.
    """

    stages: list[dict[str, Any]]
    base_model: str | None = None
    unrecorded: bool = False
    license: str | None = None


def read_record(path: Path) -> dict[str, Any]:
    """A JSON record.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It is not JSON.
    """
    if not path.is_file():
        raise FileNotFoundError(
            f"{str(path.parent)!r} is not a run folder: it has no {path.name}. Name a run's folder."
        )
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(record, dict) or not record:
            raise ValueError(f"it holds {record!r}")
        return record
    except ValueError as error:
        raise ValueError(
            f"record {str(path)!r} is not a JSON record ({error}). Run the step that wrote it again."
        ) from error


def trace(run_dir: str | Path) -> Lineage:
    """The stages of a run and of those whose models it started from.

    Raises:
        FileNotFoundError: The folder holds no run.json.
        ValueError: A record is not JSON, or lacks what a run records.
    """
    stages: list[dict[str, Any]] = []
    folder, seen, start = Path(run_dir), set(), None
    while True:
        seen.add(folder.resolve())
        stages = [*_stages(folder), *stages]
        start = _start(folder)
        if start is None:
            return Lineage(stages)
        before = _run_of(start, folder)
        if before is None or before.resolve() in seen:
            break
        folder = before
    base = hub_id(start, folder)
    return Lineage(stages, base, unrecorded=base is None, license=_license(start, folder))


def _stages(folder: Path) -> list[dict[str, Any]]:
    path = folder / RUN
    run = read_record(path)
    stages = run.get("stages") or [run]
    for stage in stages:
        missing = [key for key in ("recipe", "data") if not isinstance(stage.get(key), dict)]
        if missing:
            raise ValueError(f"record {str(path)!r} lacks {', '.join(missing)}. Is it a run's record?")
    claim = read_record(folder / CLAIM) if (folder / CLAIM).is_file() else {}
    label = claim.get("stage") if stages == [run] else None
    return [{**stage, "name": _stage_name(stage, label, len(stages) > 1)} for stage in stages]


def _stage_name(stage: dict[str, Any], label: Any, several: bool) -> str:
    """What a stage is called; the `name` of a record with a single stage is its model's."""
    known = label or (stage.get("name") if several else None)
    return str(known or _NAMES.get(str(stage["data"].get("kind")), "training"))


def _start(folder: Path) -> str | None:
    """What the first stage of a run started from; None: from nothing, or the record does not say."""
    if not (folder / CLAIM).is_file():
        return None
    model = read_record(folder / CLAIM).get("model")
    return str(model) if model else None


def _found(model: str, folder: Path) -> Path | None:
    """The folder that a record names, seen from here or from folders above the run."""
    roots = [Path(), *folder.resolve().parents]
    return next((root / model for root in roots if (root / model).is_dir()), None)


def _run_of(model: str, folder: Path) -> Path | None:
    place = _found(model, folder)
    if place is None:
        return None
    return next((root for root in (place, place.resolve().parent) if (root / RUN).is_file()), None)


def hub_id(model: str, folder: Path) -> str | None:
    """The repo on the Hub that a record names, or that a folder of the Hub's cache holds; None for other folders."""
    place = _found(model, folder)
    if place is not None:
        # A snapshot in the Hub's cache: models--owner--name/snapshots/revision.
        cached = [part for part in place.resolve().parts if part.startswith("models--")]
        return cached[-1].removeprefix("models--").replace("--", "/", 1) if cached else None
    if _OURS.fullmatch(model.rpartition("/")[2]) or not _HUB_ID.fullmatch(model):
        return None
    return model


def _license(model: str, folder: Path) -> str | None:
    """The licence of a model that training started from, by the card in its folder or in the Hub's cache."""
    from huggingface_hub import ModelCard, try_to_load_from_cache

    place = _found(model, folder)
    repo = None if place else hub_id(model, folder)
    path = place / "README.md" if place else try_to_load_from_cache(repo, "README.md") if repo else None
    if not isinstance(path, (str, Path)) or not Path(path).is_file():
        return None
    try:
        name = ModelCard(Path(path).read_text(encoding="utf-8"), ignore_metadata_errors=True).data.license
    except (TypeError, ValueError, YAMLError):
        return None
    return name if isinstance(name, str) else None
