"""Configurations, splits and columns of data sets as the Hub reads them, from stats.json and the ends of shards.

One data set lies at the top of its repo; of several each has a folder, and one card speaks of all. Either way
`load_dataset("me/name", "pairs", split="train")` reads the pairs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .lineage import read_record

if TYPE_CHECKING:
    import pyarrow as pa

STATS = "stats.json"
SPLITS, DROPPED = ("train", "test"), "dropped"
_NEEDED = ("kind", "splits", "per_language", "repositories")
_SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))
_SIZES += ((10_000_000, "1M<n<10M"), (100_000_000, "10M<n<100M"), (1_000_000_000, "100M<n<1B"))


@dataclass(frozen=True)
class DataFolder:
    """A data set on disk and its place in a repo.

    Args:
        config: Name of its configuration.
        folder: Where it lies on this machine.
        prefix: Its folder in the repo with a slash at its end; "" is the top.
        stats: What its stats.json holds.
    """

    config: str
    folder: Path
    prefix: str
    stats: dict[str, Any]

    def shards(self, split: str) -> list[Path]:
        """Parquet files of a split."""
        return sorted(self.folder.glob(f"{split}-*.parquet"))

    @property
    def splits(self) -> list[str]:
        """Splits that have shards."""
        return [split for split in SPLITS if self.shards(split)]


def read_folders(folders: str | Path | Sequence[str | Path]) -> list[DataFolder]:
    """Data sets that share a repo, with their places in it: a configuration is called by what its rows are.

    Raises:
        FileNotFoundError: A folder holds no stats.json.
        ValueError: A record is not of a data set, or two would have one name.
    """
    paths = [Path(folders)] if isinstance(folders, (str, Path)) else [Path(folder) for folder in folders]
    records = []
    for path in paths:
        stats = read_record(path / STATS)
        missing = [key for key in _NEEDED if key not in stats]
        if missing:
            raise ValueError(f"record {str(path / STATS)!r} lacks {', '.join(missing)}. Is it a data set's record?")
        records.append(stats)
    kinds = [str(stats["kind"]) for stats in records]
    names = [kind if kinds.count(kind) == 1 else path.resolve().name for kind, path in zip(kinds, paths, strict=True)]
    if len(set(names)) < len(names):
        raise ValueError(f"two of the data sets would be called {max(names, key=names.count)!r}. Rename a folder.")
    return [
        DataFolder(name, path, f"{name}/" if len(paths) > 1 else "", stats)
        for name, path, stats in zip(names, paths, records, strict=True)
    ]


def present_columns(data: DataFolder) -> list[str]:
    """Columns of a data set's first shard; none without shards."""
    shards = [path for split in data.splits for path in data.shards(split)][:1]
    return [name for path in shards for name in _footer(path)[1].names]


def more_columns(data: DataFolder, known: Sequence[str]) -> list[str]:
    """Columns of a data set besides those known, as steps after the build add them."""
    return [name for name in present_columns(data) if name not in known]


def configs(found: Sequence[DataFolder]) -> list[dict[str, Any]]:
    """The entry `configs` of the metadata; the first data set is what `load_dataset` reads without a name."""
    entries = []
    for data in found:
        files = [{"split": split, "path": f"{data.prefix}{split}-*.parquet"} for split in data.splits]
        first = {"default": True} if data is found[0] else {}
        if files:
            entries.append({"config_name": data.config, **first, "data_files": files})
        if data.shards(DROPPED):
            files = [{"split": DROPPED, "path": f"{data.prefix}{DROPPED}-*.parquet"}]
            entries.append({"config_name": dropped_config(data), "data_files": files})
    return entries


def dropped_config(data: DataFolder) -> str:
    """Name of the configuration with the rows that were left out."""
    return DROPPED if data.config == "pairs" else f"{data.config}-{DROPPED}"


def dataset_info(found: Sequence[DataFolder]) -> list[dict[str, Any]]:
    """The entry `dataset_info` of the metadata.

    `num_bytes` is the size of the columns as shards hold them, before compression.

    Raises:
        ValueError: A shard is damaged, or rows are missing.
    """
    entries = []
    for data in found:
        if data.splits:
            entries.append({"config_name": data.config, **_info(data, data.splits)})
        if data.shards(DROPPED):
            entries.append({"config_name": dropped_config(data), **_info(data, [DROPPED])})
    return entries


def _info(data: DataFolder, splits: Sequence[str]) -> dict[str, Any]:
    schema, sizes = None, []
    for split in splits:
        rows = size = 0
        for path in data.shards(split):
            footer, schema = _footer(path)
            rows += footer.num_rows
            size += sum(footer.row_group(group).total_byte_size for group in range(footer.num_row_groups))
        expected = data.stats["splits"].get(split, {}).get("rows", rows)
        if rows != expected:
            raise ValueError(
                f"the shards of {split!r} in {str(data.folder)!r} hold {rows:,} rows, its {STATS} says {expected:,}. "
                "Shards are missing or of another build: build it anew."
            )
        sizes.append({"name": split, "num_bytes": size, "num_examples": rows})
    return {
        "features": features(schema),
        "splits": sizes,
        "download_size": sum(path.stat().st_size for split in splits for path in data.shards(split)),
        "dataset_size": sum(entry["num_bytes"] for entry in sizes),
    }


def _footer(path: Path) -> tuple[Any, Any]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            return file.metadata, file.schema_arrow
    except (pa.ArrowInvalid, OSError) as error:
        raise ValueError(f"shard {str(path)!r} is damaged ({error}). Build the data set anew.") from error


def features(schema: pa.Schema) -> list[dict[str, Any]]:
    """Columns in the form that `datasets` writes."""
    return [{"name": column.name, **_feature(column.type)} for column in schema]


def _feature(kind: pa.DataType) -> dict[str, Any]:
    import pyarrow as pa

    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        inner = _feature(kind.value_type)
        return {"list": inner["dtype"] if set(inner) == {"dtype"} else inner}
    if pa.types.is_struct(kind):
        return {"struct": [{"name": field.name, **_feature(field.type)} for field in kind]}
    names = {"double": "float64", "float": "float32", "halffloat": "float16"}
    return {"dtype": names.get(str(kind), str(kind))}


def size_category(rows: int) -> str:
    """What the Hub calls a number of rows."""
    return next((name for limit, name in _SIZES if rows < limit), "n>1T" if rows > 10**12 else "1B<n<10B")
