"""Data sets: the builders' commands with the card of what they wrote, and cards of several in one repo."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from data_collators.files import new_file

from .build_words import command_words
from .column_words import added_columns
from .data_words import (
    contamination_words,
    drop_table,
    filter_words,
    language_names,
    language_table,
    source_words,
    split_table,
)
from .dataset_info import STATS as STATS
from .dataset_info import (
    DataFolder,
    configs,
    dataset_info,
    dropped_config,
    more_columns,
    present_columns,
    read_folders,
    size_category,
)
from .licenses import license_words, metadata_licenses
from .metadata import check_card, check_repo, hub_sources, is_repo
from .render import fill_template
from .usage import data_usage

CARD = "README.md"
AMOUNTS, REASONS = "amounts.png", "drop_reasons.png"
_TASKS = {"pairs": ("sentence-similarity", "feature-extraction", "text-retrieval"), "stage1": ("fill-mask",)}
Folders = str | Path | Sequence[str | Path]


def render_dataset_card(
    folders: Folders,
    name: str | None = None,
    *,
    repo: str | None = None,
    license: str | None = None,
    pictures: Sequence[str] | None = None,
) -> str:
    """The text of the card of a data set, or of several that share a repo, from their stats.json and shards.

    Args:
        folders: Folder that `coderep data pairs` or `coderep data stage1` wrote, or several of them.
        name: Name of the data set; default: the repo's or the folder's.
        repo: Name on the Hub, for the code that loads it; default: the name, if it is owner/name.
        license: What the Hub calls the licence; default: by the licences of the repositories.
        pictures: Files that lie beside the card; default: those of a single folder that are there.

    Raises:
        FileNotFoundError: A folder holds no stats.json.
        ValueError: A record is not JSON, or of no data set; rows are missing; or `repo` is no name of a repo.
    """
    found = read_folders(folders)
    repo = name if repo is None and name and is_repo(name) else repo
    if repo is not None:
        check_repo(repo)
    name = name or (repo or "").rpartition("/")[2] or found[0].folder.resolve().name
    if pictures is None:
        pictures = [picture for picture in (AMOUNTS, REASONS) if (found[0].folder / picture).is_file()]
    usage = [(data, data_usage(repo or name, data.config, split)) for data in found for split in data.splits[:1]]
    card = fill_template(
        "dataset_card.md.jinja",
        metadata=_metadata(found, name, license, repo).to_yaml(),
        name=name,
        usage=usage,
        headers_cut=any(data.stats.get("settings", {}).get("keep_license") is False for data in found),
        parts=[_part(data) for data in found],
        pictures={picture: picture in pictures for picture in (AMOUNTS, REASONS)},
    )
    check_card(card, "dataset")
    return card


def _part(data: DataFolder) -> dict[str, Any]:
    """What the card says of one data set."""
    from data_collators.rows import PairRow, Stage1Row, columns

    stats = data.stats
    known = columns(Stage1Row if stats["kind"] == "stage1" else PairRow)
    return {
        "config": data.config,
        "kind": stats["kind"],
        "stats": stats,
        "sources": source_words(stats),
        "splits": split_table(stats),
        "languages": language_table(stats),
        "filters": filter_words(stats),
        "reasons": drop_table(stats),
        "columns": present_columns(data),
        "more": added_columns(more_columns(data, known)),
        "dropped": dropped_config(data) if data.shards("dropped") else None,
        "contamination": contamination_words(stats),
        "licenses": license_words(stats),
        "command": command_words(stats),
    }


def _metadata(found: Sequence[DataFolder], name: str, license: str | None, repo: str | None) -> Any:
    from huggingface_hub import DatasetCardData

    records = [data.stats for data in found]
    kinds = [str(stats["kind"]) for stats in records]
    rows = sum(counts.get("rows") or 0 for stats in records for counts in stats["splits"].values())
    info = dataset_info(found)
    return DatasetCardData(
        pretty_name=name,
        **({"license": license} if license else metadata_licenses(records, repo)),
        language=["code", "en"] if "pairs" in kinds else ["code"],
        task_categories=list(dict.fromkeys(task for kind in kinds for task in _TASKS.get(kind, ()))),
        size_categories=[size_category(rows)],
        source_datasets=hub_sources(records) or None,
        tags=list(dict.fromkeys(["code", "coderep", *kinds, *language_names(records)])),
        configs=configs(found),
        dataset_info=info[0] if len(info) == 1 else info or None,
    )


def write_dataset_card(
    folders: Folders, output: str | Path | None = None, *, name: str | None = None, repo: str | None = None
) -> Path:
    """Write the card of data sets with its plots, which need matplotlib and are left out without it.

    Args:
        folders: As in `render_dataset_card`.
        output: Folder for the card; default: that of the data set.
        name: As there.
        repo: As there.

    Returns:
        The card's file.
    """
    found = read_folders(folders)
    output = Path(output) if output is not None else found[0].folder
    pictures = write_pictures(found, output)
    text = render_dataset_card(folders, name, repo=repo, pictures=pictures)
    with new_file(output / CARD) as partial:
        partial.write_text(text, encoding="utf-8")
    return output / CARD


def write_pictures(found: Sequence[DataFolder], output: Path) -> list[str]:
    """Draw what a card shows; returns the names of the files, none without matplotlib."""
    if importlib.util.find_spec("matplotlib") is None:
        return []
    from .data_report import plot_amounts, plot_reasons

    records = {str(data.stats["kind"]): data.stats for data in found if data.stats["per_language"]}
    known = {kind: records[kind] for kind in ("stage1", "pairs") if kind in records}
    if known:
        plot_amounts(known, output / AMOUNTS)
    if "pairs" in known:
        plot_reasons(known["pairs"], output / REASONS)
    return [AMOUNTS] * bool(known) + [REASONS] * ("pairs" in known)


def pairs(argv: list[str]) -> int:
    """`coderep data pairs`."""
    from data_collators.builders import cli

    return _with_card(cli.pairs, argv)


def stage1(argv: list[str]) -> int:
    """`coderep data stage1`."""
    from data_collators.builders import cli

    return _with_card(cli.stage1, argv)


def consistency(argv: list[str]) -> int:
    """`coderep data consistency`."""
    from trainers.consistency import run

    return _with_card(run, argv)


def negatives(argv: list[str]) -> int:
    """`coderep data negatives`."""
    from trainers.mining import run

    return _with_card(run, argv)


def augment(argv: list[str]) -> int:
    """`coderep data augment`."""
    from trainers.augment import run

    return _with_card(run, argv)


def _with_card(build: Callable[[list[str]], Path | None], argv: list[str]) -> int:
    folder = build(argv)
    if folder is not None:  # jobs that were submitted have made nothing yet
        write_dataset_card(folder)
    return 0
