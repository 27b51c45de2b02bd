"""Rows that hold source files or pairs: JSONL and Parquet files, and data sets on the Hub, by `datasets`."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from ..languages import LANGUAGES, suffix_table
from ..rows import SourceFile

if TYPE_CHECKING:
    from .sources import SourceOptions

HUB = "hub:"
SUFFIXES = (".jsonl", ".parquet")
FIELDS = ("text", "language", "repo", "path", "license", "docstring")
_PIECE_BYTES = 4_000_000
# What data sets call the languages, where it is not our name in other case.
_NAMES = {"c-sharp": "csharp", "c#": "csharp", "tsx": "typescript", "jsx": "javascript", "golang": "go"}


@dataclass(frozen=True)
class Preset:
    """Where a known data set on the Hub holds things.

    Args:
        columns: Field -> column.
        folders: Whether `data/<language>` holds each language; `hyphens` as in c-sharp.
        configs: Whether each language is a configuration of its own.
    """

    columns: dict[str, str]
    folders: bool = False
    configs: bool = False


_STACK = {
    "text": "content",
    "language": "lang",
    "repo": "max_stars_repo_name",
    "path": "max_stars_repo_path",
    "license": "max_stars_repo_licenses",
}
PRESETS: dict[str, Preset] = {
    "bigcode/the-stack-dedup": Preset(_STACK, folders=True),
    "bigcode/the-stack": Preset(_STACK, folders=True),
    "bigcode/the-stack-smol": Preset(
        {"text": "content", "language": "lang", "repo": "repository_name", "path": "path", "license": "licenses"},
        folders=True,
    ),
    "bigcode/the-stack-smol-xl": Preset(_STACK, folders=True),
    "code-search-net/code_search_net": Preset(
        {
            "text": "func_code_string",
            "docstring": "func_documentation_string",
            "language": "language",
            "repo": "repository_name",
            "path": "func_path_in_repository",
        },
        configs=True,
    ),
    "nomic-ai/cornstack-*": Preset({"text": "document", "docstring": "query"}),
}


def preset_of(identifier: str) -> Preset | None:
    """The preset of a data set on the Hub."""
    if identifier.startswith("nomic-ai/cornstack-"):
        return PRESETS["nomic-ai/cornstack-*"]
    return PRESETS.get(identifier)


def check_columns(columns: dict[str, str]) -> None:
    """Refuse a mapping of fields that do not exist.

    Raises:
        ValueError: A field is unknown.
    """
    for name in columns:
        if name not in FIELDS:
            close = get_close_matches(name, FIELDS, n=1)
            hint = f"Did you mean {close[0]!r}? " if close else ""
            raise ValueError(f"unknown field {name!r} in the columns. {hint}Fields: {', '.join(FIELDS)}.")


def language_name(name: str, path: str = "") -> str | None:
    """Our name of a language that a row names, or that its path shows; None if there is none."""
    lower = name.strip().lower()
    lower = _NAMES.get(lower, lower)
    if lower in LANGUAGES:
        return lower
    return None if lower else suffix_table().get(Path(path).suffix.lower())


# files of rows


def table_pieces(path: Path) -> Iterator[tuple[tuple[Any, ...], int]]:
    """Pieces of a file of rows: byte ranges of a JSONL file, row groups of a Parquet file; with their size."""
    if path.suffix == ".jsonl":
        size = path.stat().st_size
        for start in range(0, size, _PIECE_BYTES):
            end = min(start + _PIECE_BYTES, size)
            yield ("bytes", start, end), end - start
        return
    with _parquet(path) as file:
        meta = file.metadata
    for group in range(meta.num_row_groups):
        yield ("group", group), meta.row_group(group).total_byte_size


def _parquet(path: Path) -> pq.ParquetFile:
    try:
        return pq.ParquetFile(path)
    except pa.ArrowInvalid as error:
        raise OSError(f"{str(path)!r} is no Parquet file, or is torn ({error}). Download it anew.") from error


def _jsonl_rows(path: Path, start: int, end: int) -> Iterator[tuple[int, dict[str, Any]]]:
    """(offset, row) of the lines that begin in a range of bytes."""
    with path.open("rb") as file:
        if start:
            file.seek(start - 1)
            file.readline()  # it belongs to the piece before, unless it begins right here
        while (offset := file.tell()) < end and (line := file.readline()):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except ValueError as error:
                raise ValueError(f"{str(path)!r} holds a line at byte {offset} that is no JSON ({error}).") from error
            if not isinstance(row, dict):
                raise ValueError(f"{str(path)!r} holds a line at byte {offset} that is no JSON object.")
            yield offset, row


# the Hub


def _hub_name(source: str) -> tuple[str, str]:
    identifier, _, revision = source.removeprefix(HUB).partition("@")
    return identifier, revision


def hub_shards(source: str, languages: tuple[str, ...] | None) -> Iterator[tuple[Any, ...]]:
    """(configuration, folder, shard, number of shards) for each shard of a data set on the Hub."""
    identifier, _ = _hub_name(source)
    preset = preset_of(identifier)
    selections: list[tuple[str, str]] = [("", "")]
    if preset and (preset.folders or preset.configs):
        names = languages or tuple(LANGUAGES)
        hyphened = ["c-sharp" if name == "csharp" else name for name in names]
        selections = [("", f"data/{name}") if preset.folders else (name, "") for name in hyphened]
    for config, folder in selections:
        shards = _stream(source, config, folder).num_shards
        yield from ((config, folder, shard, shards) for shard in range(shards))


@cache
def _stream(source: str, config: str, folder: str) -> Any:
    import datasets

    identifier, revision = _hub_name(source)
    try:
        return datasets.load_dataset(
            identifier,
            config or None,
            data_dir=folder or None,
            revision=revision or None,
            split="train",
            streaming=True,
        )
    except (datasets.exceptions.DatasetNotFoundError, FileNotFoundError, ConnectionError, ValueError) as error:
        raise OSError(
            f"data set {identifier!r} {folder or config} cannot be read ({' '.join(str(error).split())[:200]}). "
            "Check its name and your access: gated data sets need `hf auth login`."
        ) from error


def read_rows(
    source: str, kind: str, items: tuple[Any, ...], options: SourceOptions, drop: Callable[[str, str], None]
) -> Iterator[SourceFile]:
    """The files of a piece of a table; rows that hold none are dropped with a reason.

    Raises:
        ValueError: A mapped column does not exist.
    """
    if kind == "hub":
        identifier, _ = _hub_name(source)
        preset = preset_of(identifier)
        config, folder, shard, shards = items
        stream = _stream(source, config, folder)
        rows = enumerate(stream.shard(num_shards=shards, index=shard) if shards > 1 else stream)
        place = f"{identifier}/{folder or config or 'data'}/{shard}"
    elif items[0] == "bytes":
        preset, place = None, Path(source).name
        rows = _jsonl_rows(Path(source), items[1], items[2])
    else:
        preset, place = None, f"{Path(source).name}/{items[1]}"
        with _parquet(Path(source)) as file:
            rows = enumerate(file.read_row_group(items[1]).to_pylist())
    columns = {**(preset.columns if preset else {}), **dict(options.columns)}
    for number, row in rows:
        file = _source_file(row, columns, f"{place}:{number}", options, source, drop)
        if file is not None:
            yield file


def _source_file(
    row: dict[str, Any],
    columns: dict[str, str],
    identity: str,
    options: SourceOptions,
    source: str,
    drop: Callable[[str, str], None],
) -> SourceFile | None:
    for name in [*columns.values(), *([] if "text" in columns else ["text"])]:
        if name not in row:
            raise ValueError(
                f"{source!r} has no column {name!r}. Its columns: {', '.join(row)}. "
                "Say with --columns where it holds text, language, repo, path and license, as in text=content."
            )

    def get(name: str) -> str:
        value = row.get(columns.get(name, name))
        return (
            ", ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value if value is not None else "")
        )

    named = get("language") or _only_language(source, options)
    language = language_name(named, get("path"))
    if language is None or (options.languages and language not in options.languages):
        return drop("another language", identity)
    repo = get("repo") or identity.rsplit(":", 1)[0]
    return SourceFile(
        id=identity,
        text=get("text"),
        language=language,
        repo=repo,
        path=get("path"),
        license=get("license"),
        docstring=get("docstring") if "docstring" in columns else "",
    )


def _only_language(source: str, options: SourceOptions) -> str:
    """The language of rows that do not name one: the only one asked for, or the one in the data set's name."""
    if options.languages and len(options.languages) == 1:
        return options.languages[0]
    words = source.lower().replace("/", "-").split("-")
    return next((name for name in LANGUAGES if name in words), "")
