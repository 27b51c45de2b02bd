"""Model cards from the records of a run: run.json and results.json, nothing is computed anew."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from huggingface_hub import EvalResult, ModelCardData
from jinja2 import Environment, PackageLoader, StrictUndefined

LICENSE = "apache-2.0"
STAGE_KEYS = ("recipe", "data", "tokens", "wall_seconds", "machine", "versions", "parameters")


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


def render_card(run_dir: str | Path, name: str | None = None) -> str:
    """The text of a model card.

    Args:
        run_dir: Folder with run.json and, if the model was evaluated, results.json.
        name: Model name; default: the folder's name or the record's.

    Raises:
        FileNotFoundError: The folder holds no run.json.
        ValueError: A record is not JSON.
    """
    run_dir = Path(run_dir)
    run = read_record(run_dir / "run.json")
    results = read_record(run_dir / "results.json")["results"] if (run_dir / "results.json").is_file() else []
    results = [row for row in results if not row.get("corpus_language")]  # not each pair of languages
    name = name or run.get("name") or run_dir.resolve().name
    stages = run.get("stages") or [run]
    missing = [key for stage in stages for key in STAGE_KEYS if key not in stage]
    if missing:
        raise ValueError(f"record {str(run_dir / 'run.json')!r} lacks {', '.join(missing)}. Is it a run's record?")
    return fill_template(
        "model_card.md.jinja",
        metadata=_metadata(name, results, _languages(stages)).to_yaml(),
        name=name,
        stages=stages,
        last=stages[-1],
        results=results,
        mrr=[result for result in results if result["metric"] == "mrr"],
    )


def fill_template(template: str, **values: Any) -> str:
    """A file of `templates/` with its values filled in; a value that it needs and does not get is an error."""
    environment = Environment(
        loader=PackageLoader("hub_cards"), undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["percent"] = lambda value: f"{100 * value:.1f}"
    environment.filters["thousands"] = lambda value: f"{value:,}"
    return environment.get_template(template).render(**values)


def _languages(stages: list[dict[str, Any]]) -> list[str]:
    found = {language for stage in stages for language in stage["data"].get("languages", [])}
    return sorted(found)


def _metadata(name: str, results: list[dict[str, Any]], languages: list[str]) -> ModelCardData:
    own = [result for result in results if result.get("shipped")]
    return ModelCardData(
        model_name=name,
        license=LICENSE,
        library_name="transformers",
        pipeline_tag="feature-extraction",
        tags=["code", "code-search", "sentence-similarity", "sentence-transformers", "coderep", *languages],
        eval_results=[
            EvalResult(
                task_type="text-retrieval",
                task_name=result["task"],
                dataset_type="generated",
                dataset_name=result["dataset"],
                dataset_revision=result["revision"],
                metric_type=result["metric"],
                metric_value=round(result["value"], 4),
                metric_name=f"{result['metric']} (protocol {result['protocol']}, n={result['n']})",
            )
            for result in own
        ]
        or None,
    )
