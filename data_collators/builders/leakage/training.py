"""Training data as a stream of texts: data sets that coderep made, files of rows, folders of source code."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..sources import SourceOptions, iter_sources
from ..store import STATS
from .tables import TABLES, Decoder, TrainText, open_table, tables_in

PAIR_COLUMNS = ("text", "code")  # what stage 2 reads of a pair: the rest of its columns repeats these


@dataclass(frozen=True)
class ReadOptions:
    """How files are read.

    Args:
        columns: Columns that hold texts; empty means those of `TEXT_COLUMNS` that are there.
        split: Split of training data sets that coderep made.
        tokenizer: Folder of the tokenizer of data sets of token ids.
    """

    columns: tuple[str, ...] = ()
    split: str = "train"
    tokenizer: str | None = None


def open_training(path: str | Path, options: ReadOptions) -> Callable[[], Iterator[TrainText]]:
    """Check training data without reading it; what is returned streams its texts.

    Raises:
        FileNotFoundError: There is nothing at the path, or no shard of the split.
        ValueError: There are no texts, or token ids without their tokenizer.
        OSError: A shard is corrupt.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(
            f"training data {str(path)!r} does not exist. Name a data set, a JSONL or Parquet file, or code."
        )
    if (path / STATS).is_file():
        return _open_data_set(path, options)
    files = [path] if path.is_file() and path.suffix in TABLES else tables_in(path)
    if files:
        readers = [open_table(file, options.columns, None) for file in files]
        return lambda: (text for reader in readers for text in reader())
    sources = SourceOptions(source=(str(path),))
    return lambda: (TrainText(file.text, file.id, "file", file.repo, file.path) for file in iter_sources(sources))


def _open_data_set(folder: Path, options: ReadOptions) -> Callable[[], Iterator[TrainText]]:
    stats = read_stats(folder)
    shards = sorted(folder.glob(f"{options.split}-*.parquet"))
    if not shards:
        raise FileNotFoundError(f"data set {str(folder)!r} has no split {options.split!r}. Name another with --split.")
    decode = token_decoder(folder, stats, options.tokenizer) if stats.get("kind") == "stage1" else None
    columns = options.columns or (PAIR_COLUMNS if stats.get("kind") == "pairs" else ())
    readers = [open_table(shard, columns, decode) for shard in shards]
    return lambda: (text for reader in readers for text in reader())


def read_stats(folder: Path) -> dict[str, Any]:
    """The stats.json of a data set.

    Raises:
        ValueError: It is broken.
    """
    try:
        return dict(json.loads((folder / STATS).read_text(encoding="utf-8")))
    except (ValueError, TypeError) as error:
        raise ValueError(f"{str(folder / STATS)!r} is not a JSON object ({error}). Build the data set anew.") from error


def token_decoder(folder: Path, stats: dict[str, Any], named: str | None) -> Decoder:
    """Token ids to texts, by the tokenizer that made them: the one named, or the folder `tokenizer` beside the data.

    Raises:
        FileNotFoundError: The folder that was named holds no tokenizer.
        ValueError: No tokenizer was named and there is none beside the data, or it is another one.
    """
    from tokenizers import Tokenizer

    path = Path(named) / "tokenizer.json" if named else folder.resolve().parent / "tokenizer" / "tokenizer.json"
    if named and not path.is_file():
        raise FileNotFoundError(f"tokenizer {named!r} has no tokenizer.json. Name the folder the data was made with.")
    if not path.is_file():
        raise ValueError(f"{str(folder)!r} holds token ids. Name the folder of their tokenizer with --tokenizer.")
    tokenizer = Tokenizer.from_file(str(path))
    expected = stats.get("settings", {}).get("tokenizer")
    if (
        expected
        and hashlib.sha256(_tokenizer_json(tokenizer, path.parent, expected).encode()).hexdigest()[:12] != expected
    ):
        raise ValueError(
            f"tokenizer {str(path.parent)!r} is not the one that {str(folder)!r} was made with ({expected}), so its "
            "ids would give other texts. Name the right folder with --tokenizer."
        )
    return tokenizer.decode_batch


def _tokenizer_json(tokenizer: Any, folder: Path, expected: str) -> str:
    """What the builder hashed: the tokenizer as transformers loads it, which is mostly the file itself."""
    text = tokenizer.to_str()
    if hashlib.sha256(text.encode()).hexdigest()[:12] == expected:
        return text
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(folder, local_files_only=True).backend_tokenizer.to_str()
