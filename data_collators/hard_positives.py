"""Hard positives: what is shown of a pair's code instead of the whole function (section 3.2 of arXiv 2402.01935).

The paper drops the signature and the return statements, whose words the summary repeats most. Here each part can stay,
for ablations. Offsets are bytes of the UTF-8 text, end-exclusive.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from .parsing import Span
from .slices import cut

PARTS = ("signature", "return", "docstring")


def check_parts(drop: Collection[str]) -> frozenset[str]:
    """The parts to drop as a set.

    Raises:
        ValueError: A part is unknown, or a string was given for a list.
    """
    unknown = [drop] if isinstance(drop, str) else sorted(set(drop) - set(PARTS))
    if unknown:
        raise ValueError(
            f"hard_positive_drop must be a list of parts among {', '.join(PARTS)}, got {', '.join(map(repr, unknown))}."
        )
    return frozenset(drop)


def hard_positive_of(row: Mapping[str, Any], drop: Collection[str] = PARTS) -> str:
    """The code of a pair without some of its parts; "" when nothing is left, or the row does not tell its parts.

    `row` is a row of the data set, where `code` has no docstring: a docstring that is not dropped stands above it, as
    plain text. Without its signature a function has no brackets around its body, nor a line that closes it.

    Raises:
        ValueError: The row lacks the columns that other parts than the default need.
    """
    if "signature" in drop and "return" in drop:
        code = row.get("code_body") or ""
    elif "signature" in drop or "return" in drop:
        code = without(row["code"], _column(row, "code_spans", drop), drop)
    else:
        code = row["code"]
    docstring = "" if "docstring" in drop else _column(row, "docstring", drop)
    return "\n".join(part for part in (docstring, code) if part)


def without(code: str, offsets: Collection[int], drop: Collection[str]) -> str:
    """Code without its signature, its return statements or both, by the offsets of a row (`code_spans`)."""
    whole, (body, *returns) = code.encode("utf-8", "replace"), _pairs(offsets)
    return cut(whole, body if "signature" in drop else Span(0, len(whole)), returns if "return" in drop else ())


def _pairs(offsets: Collection[int]) -> list[Span]:
    numbers = iter(offsets)
    return [Span(start, end) for start, end in zip(numbers, numbers, strict=True)]


def _column(row: Mapping[str, Any], name: str, drop: Collection[str]) -> Any:
    found = row.get(name)
    if found is None:
        raise ValueError(
            f"hard_positive_drop {[part for part in PARTS if part in drop]} needs the column {name!r}, which these "
            f"rows lack. Build the pairs anew with `coderep data pairs ... --overwrite`, or drop all parts."
        )
    return found
