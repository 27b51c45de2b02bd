"""Held-out rows that both stages are evaluated on while they train."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import datasets
import numpy as np


def held_out_rows(load: Callable[[], datasets.Dataset], count: int) -> datasets.Dataset:
    """The first `count` rows of each language of the split that `load` reads, in its order.

    Raises:
        FileNotFoundError: There is no such split.
    """
    try:
        rows = load()
    except FileNotFoundError as error:
        raise FileNotFoundError(f"{error} Or train with --eval_strategy no.") from error
    languages = np.array(rows["language"][:] if "language" in rows.column_names else [""] * len(rows))
    first = [np.flatnonzero(languages == name)[:count] for name in np.unique(languages)]
    return rows.select(np.sort(np.concatenate(first)))


def evaluation_rows(given: Any, own: Any, collator: Any) -> Any:
    """What a Trainer's `evaluate` is asked to look at, else its own rows.

    Raises:
        ValueError: There is neither, or nothing to make batches of them.
    """
    rows = given if given is not None else own
    if rows is None or collator is None:
        raise ValueError("there is no evaluation data. Build the data with a --test-share above 0.")
    return rows
