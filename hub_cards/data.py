"""Data sets: `coderep data pairs|stage1` with the card of what they wrote, and reports over several of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from huggingface_hub import DatasetCardData

from data_collators.files import new_file

from .render import fill_template, read_record

STATS, CARD = "stats.json", "README.md"
_TASKS = {"pairs": ["sentence-similarity", "feature-extraction"], "stage1": ["fill-mask"]}


def render_dataset_card(folder: str | Path, name: str | None = None) -> str:
    """The text of the card of a data set, from its stats.json.

    Args:
        folder: Folder that `coderep data pairs` or `coderep data stage1` wrote.
        name: Name of the data set; default: the folder's name.

    Raises:
        FileNotFoundError: The folder holds no stats.json.
        ValueError: It is not JSON, or of no data set.
    """
    folder = Path(folder)
    stats = read_record(folder / STATS)
    missing = [key for key in ("kind", "splits", "per_language", "repositories") if key not in stats]
    if missing:
        raise ValueError(f"record {str(folder / STATS)!r} lacks {', '.join(missing)}. Is it a data set's record?")
    name = name or folder.resolve().name
    return fill_template(
        "dataset_card.md.jinja",
        metadata=_metadata(folder, stats, name).to_yaml(),
        name=name,
        stats=stats,
        has_dropped=any(folder.glob("dropped-*.parquet")),
    )


def _metadata(folder: Path, stats: dict[str, Any], name: str) -> DatasetCardData:
    splits = [split for split in ("train", "test") if any(folder.glob(f"{split}-*.parquet"))]
    configs = [
        {"config_name": "default", "data_files": [{"split": split, "path": f"{split}-*.parquet"} for split in splits]}
    ]
    if any(folder.glob("dropped-*.parquet")):
        configs.append({"config_name": "dropped", "data_files": [{"split": "dropped", "path": "dropped-*.parquet"}]})
    return DatasetCardData(
        pretty_name=name,
        license="other",
        language=["code", "en"] if stats["kind"] == "pairs" else ["code"],
        task_categories=_TASKS.get(stats["kind"], []),
        tags=["code", "coderep", stats["kind"], *stats["per_language"]],
        configs=configs,
    )


def write_dataset_card(folder: str | Path) -> Path:
    """Write the card of a data set into its folder."""
    path = Path(folder) / CARD
    text = render_dataset_card(folder)
    with new_file(path) as partial:
        partial.write_text(text, encoding="utf-8")
    return path


def pairs(argv: list[str]) -> int:
    """`coderep data pairs`."""
    from data_collators.builders import cli

    return _with_card(cli.pairs, argv)


def stage1(argv: list[str]) -> int:
    """`coderep data stage1`."""
    from data_collators.builders import cli

    return _with_card(cli.stage1, argv)


def _with_card(build: Callable[[list[str]], Path | None], argv: list[str]) -> int:
    folder = build(argv)
    if folder is not None:  # jobs that were submitted have made nothing yet
        write_dataset_card(folder)
    return 0
