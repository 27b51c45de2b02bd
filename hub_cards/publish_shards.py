"""Tokens of the Hub in Parquet shards: every text in them is looked through before a data set leaves this machine."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from .publish_errors import TOKEN_PATTERN, known_tokens

if TYPE_CHECKING:
    import pyarrow as pa

_ROWS = 4096  # at once


def check_shard(path: Path) -> None:
    """Refuse a shard with a token in one of its texts.

    Raises:
        ValueError: There is one; the message says where, and does not repeat it. Or the shard is damaged.
    """
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    pattern = "|".join([TOKEN_PATTERN, *map(re.escape, sorted(known_tokens()))])
    try:
        with pq.ParquetFile(path) as file:
            names = [column.name for column in file.schema_arrow if _holds_text(column.type)]
            first = 0
            for batch in file.iter_batches(batch_size=_ROWS, columns=names) if names else ():
                for name, texts in ((column, text) for column in names for text in _texts(batch[column])):
                    if pc.any(pc.match_substring_regex(texts, pattern)).as_py():
                        raise ValueError(
                            f"{str(path)!r} holds a Hub token in column {name!r}, among rows {first:,} to "
                            f"{first + len(batch) - 1:,}. Leave that row out, and make a new token if it is yours: "
                            "this one may be known."
                        )
                first += len(batch)
    except (pa.ArrowInvalid, OSError) as error:
        raise ValueError(f"shard {str(path)!r} is damaged ({error}). Build the data set anew.") from error


def _holds_text(kind: pa.DataType) -> bool:
    import pyarrow as pa

    if pa.types.is_dictionary(kind) or pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return _holds_text(kind.value_type)
    if pa.types.is_struct(kind):
        return any(_holds_text(field.type) for field in kind)
    return pa.types.is_string(kind) or pa.types.is_large_string(kind)


def _texts(column: pa.Array) -> Iterator[pa.Array]:
    """The texts of a column, those in lists and records too, whatever their places."""
    import pyarrow as pa

    kind = column.type
    if pa.types.is_dictionary(kind):
        yield from _texts(column.dictionary)
    elif pa.types.is_list(kind) or pa.types.is_large_list(kind):
        yield from _texts(column.flatten())
    elif pa.types.is_struct(kind):
        for part in column.flatten():
            yield from _texts(part)
    elif pa.types.is_string(kind) or pa.types.is_large_string(kind):
        yield column
