"""What of a run, an exported checkpoint or data sets would go to the Hub; nothing here talks to it.

A run is laid out anew in its folder `hub`, with the card for the repo's name. Data sets go from where they lie; their
card for the repo's name is made in memory, so that no folder is touched.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from .data import AMOUNTS, CARD, REASONS, render_dataset_card, write_pictures
from .dataset_info import STATS, read_folders
from .layout import ModelOptions, lay_out, model_of, read_card
from .lineage import RUN
from .metadata import check_card
from .publish_errors import holds_token, redact
from .publish_files import DATASET, MODEL, File, check_links, check_text, sort_files

EXPORT = "hub"
_MORE_PICTURES = (AMOUNTS, REASONS)


@dataclass(frozen=True)
class Plan:
    """What goes to the Hub.

    Args:
        run: The folder that was named, the first of several.
        repo: owner/name.
        kind: "model" or "dataset".
        files: What goes.
        stays: Names of files that are no part of a checkpoint or data set.
        folder: Folder of the exported checkpoint; of data sets that of the first.
        model: The model that `folder` was laid out from just now; None where it was there before.
    """

    run: Path
    repo: str
    kind: str
    files: tuple[File, ...]
    stays: tuple[str, ...]
    folder: Path
    model: Path | None = None


def make_plan(
    folders: str | Path | Sequence[str | Path],
    repo: str,
    options: ModelOptions | None = None,
    card: str | Path | None = None,
    say: Callable[[str], None] = lambda line: None,
) -> Plan:
    """What `publish_run` would upload; lays out a run's model in its folder `hub`.

    Raises:
        FileNotFoundError: A folder is no run, exported checkpoint or data set.
        ValueError: `repo` is not owner/name, or a file may not leave this machine.
    """
    check_repo(repo)
    paths = [Path(folders)] if isinstance(folders, (str, Path)) else [Path(folder) for folder in folders]
    for path in paths:
        if not path.is_dir():
            raise FileNotFoundError(f"{str(path)!r} is not a folder. Name a run, an exported checkpoint or a data set.")
    options, own = options or ModelOptions(), read_card(card)
    if all((path / STATS).is_file() and not (path / RUN).is_file() for path in paths):
        return _plan_data(paths, repo, own)
    if len(paths) > 1:
        raise ValueError(f"{len(paths)} folders make a repo only if each is a data set (stats.json). Name one run.")
    return _plan_model(paths[0], repo, options, own, say)


def _plan_model(run: Path, repo: str, options: ModelOptions, own: str | None, say: Callable[[str], None]) -> Plan:
    model = model_of(run)
    if own is not None:
        check_card(own)
    if model:
        folder = run / EXPORT
        check_links(model, run)
        say(f"laying out {folder}")
        lay_out(run, model, folder, replace(options, card=replace(options.card, repo=repo)), own)
    else:
        folder = run / "checkpoint" if (run / "checkpoint").is_dir() else run
        for needed in ("config.json", CARD):
            if not (folder / needed).is_file():
                raise FileNotFoundError(f"{str(folder)!r} is not an exported checkpoint: it has no {needed}.")
        if own is not None or replace(options, card=replace(options.card, repo=None)) != ModelOptions():
            raise ValueError(f"{str(folder)!r} is exported already: options for weights and cards need a run's folder.")
        if repo not in (folder / CARD).read_text(encoding="utf-8", errors="replace"):
            say(f"the card in {str(folder)!r} does not name {repo}: its code may load something else. Publish the run.")
    goes, stays = sort_files(folder, MODEL)
    return Plan(run, repo, MODEL, tuple(goes), tuple(stays), folder, model)


def _plan_data(folders: list[Path], repo: str, own: str | None) -> Plan:
    found = read_folders(folders)
    goes, stays = [], []
    for data in found:
        files, left = sort_files(data.folder, DATASET)
        if not any(file.path.endswith(".parquet") for file in files):
            raise FileNotFoundError(f"data set {str(data.folder)!r} has no Parquet files. Build it anew.")
        goes += [replace(file, path=data.prefix + file.path) for file in files if not _shown(file.path, data.prefix)]
        stays += [data.prefix + name for name in left]
    pictures = _pictures(folders) if len(folders) > 1 else {}
    card = own
    if card is None:
        card = render_dataset_card(folders, repo=repo, pictures=sorted(pictures) if pictures else None)
    check_card(card, DATASET)
    check_text(card, CARD)
    made = [File(CARD, card.encode()), *(File(name, content) for name, content in pictures.items())]
    return Plan(folders[0], repo, DATASET, tuple([*made, *goes]), tuple(stays), folders[0])


def _shown(path: str, prefix: str) -> bool:
    """Whether a file is part of a single data set's card, which another stands for in the repo."""
    return path == CARD or bool(prefix) and path in _MORE_PICTURES


def _pictures(folders: list[Path]) -> dict[str, bytes]:
    with tempfile.TemporaryDirectory() as output:
        return {name: Path(output, name).read_bytes() for name in write_pictures(read_folders(folders), Path(output))}


def check_repo(repo: str) -> None:
    """Refuse what is no name of a repo, without repeating a token that may stand in it.

    Raises:
        ValueError: `repo` is not of the form owner/name.
    """
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", repo, re.ASCII):
        raise ValueError(f"repo must be owner/name, got {redact(repo)!r}.")
    if holds_token(repo):
        raise ValueError(f"repo {redact(repo)!r} has a Hub token in its name. Give a name, and make a new token.")
    if re.search(r"--|\.\.|^[.-]|/[.-]|[.-](/|$)|\.git$", repo):
        raise ValueError(f"{redact(repo)!r} cannot name a repo: no '--', no '..', no '-' or '.' at an end.")
