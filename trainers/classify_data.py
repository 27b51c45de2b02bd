"""Labelled codes to train a classifier on: the sets of `coderep eval classify`, or users' own tables."""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import blake2b
from pathlib import Path
from typing import Any

import datasets
import numpy as np
from torch.utils.data import Dataset

from .arguments import ClassifyArguments
from .evaluation.classification_sets import (
    PAIR,
    SINGLE,
    TRAIN,
    ClassificationSet,
    Examples,
    collect,
    label_text,
    make_set,
)
from .evaluation.classify_cli import load_sets
from .evaluation.official_classification import classification_names
from .user_data import Column, parse_columns, read_table

LABEL = "label"
_SINGLE = (Column(SINGLE[0], ("func", "text")), Column(LABEL, ("target",)))
_PAIR = (*(Column(name) for name in PAIR), Column(LABEL, ("target",)))
_GROUP = 50  # batches whose rows are sorted by length together


def load_labelled(args: ClassifyArguments) -> ClassificationSet:
    """The set that the arguments name, with a part to be scored on.

    That part is the set's own; a table that has none gives a share of its rows, chosen by a hash of the code, so that
    equal codes stay together.

    Raises:
        FileNotFoundError: There is no such set.
        ValueError: It cannot be used: a column is missing, there is one class only, or there are several sets.
    """
    if not args.columns and (args.data in classification_names() or Path(args.data, TRAIN).is_file()):
        try:
            return load_sets(args.data)[0]
        except FileNotFoundError:
            if args.data in classification_names():
                raise  # else a folder with train.jsonl alone
    train = _examples(args, "train")
    try:
        test = _examples(args, "test")
    except FileNotFoundError:
        train, test = hold_out(train, args.test_share)
    name = Path(args.data).stem if Path(args.data).exists() else args.data
    return make_set(name, "classification", train, test)


def _examples(args: ClassifyArguments, split: str) -> Examples:
    """The labelled codes of a table, or its labelled pairs where it has no column of codes."""
    if set(PAIR) & set(parse_columns(args.columns)):
        return collect(_rows(read_table(args.data, split, _PAIR, args.columns), PAIR, args.data), args.data)
    try:
        table, sides = read_table(args.data, split, _SINGLE, args.columns), SINGLE
    except ValueError as error:
        try:
            table, sides = read_table(args.data, split, _PAIR, args.columns), PAIR
        except ValueError:
            raise error from None
    return collect(_rows(table, sides, args.data), args.data)


def _rows(table: datasets.Dataset, sides: tuple[str, ...], where: str) -> Iterator[tuple[tuple[str, ...], str]]:
    for number, row in enumerate(table, start=1):
        codes, label = tuple(row[side] for side in sides), row[LABEL]
        if not all(isinstance(code, str) for code in codes):
            raise ValueError(f"{where!r}, row {number} needs {' and '.join(sides)} as text, got {codes}.")
        if label is None or label == "":
            raise ValueError(f"{where!r}, row {number} has no label. Label it or leave it out.")
        yield codes, label_text(label)


def hold_out(examples: Examples, share: float) -> tuple[Examples, Examples]:
    """Examples to train on, and those of a share of the different codes, at least one, to be scored on.

    Raises:
        ValueError: The share is not within (0, 1), or leaves nothing to train on.
    """
    if not 0 < share < 1:
        raise ValueError(f"test_share must lie in (0, 1), got {share}.")
    rows = list(zip(*examples.codes, strict=True))
    different = sorted(set(rows), key=_digest)
    held = set(different[: max(1, round(share * len(different)))])
    if len(held) == len(different):
        raise ValueError(f"test_share={share} of {len(different)} different codes leaves none to train on. Give more.")
    parts: tuple[list, list] = ([], [])
    for row, label in zip(rows, examples.labels, strict=True):
        parts[row in held].append((row, label))
    return collect(parts[False], "training"), collect(parts[True], "held out")


def _digest(codes: tuple[str, ...]) -> bytes:
    return blake2b("\0".join(codes).encode("utf-8", "replace"), digest_size=16).digest()


class LabelledRows(Dataset):
    """Tokenized rows in a new order every epoch, in which a batch holds codes of similar lengths, which spares padding.

    The order depends on seed and epoch alone, unlike that of transformers' `group_by_length`, so that a run goes on
    from a checkpoint with the rows that it would have seen.

    Args:
        rows: Made by `tokenize_examples`, with `length`.
        batch_size: Rows of a step on one device.
        seed: Of the orders.
    """

    def __init__(self, rows: datasets.Dataset, batch_size: int, seed: int) -> None:
        self.rows, self._batch_size, self._seed = rows, batch_size, seed
        self._lengths = np.asarray(rows["length"])
        self.set_epoch(0)

    def set_epoch(self, epoch: int) -> None:
        """Order the rows for an epoch."""
        rng = np.random.default_rng([self._seed, epoch])
        order = rng.permutation(len(self._lengths))
        group = _GROUP * self._batch_size
        groups = [order[start : start + group] for start in range(0, len(order), group)]
        sorted_rows = np.concatenate([rows[np.argsort(-self._lengths[rows], kind="stable")] for rows in groups])
        whole = len(order) // self._batch_size * self._batch_size
        batches = sorted_rows[:whole].reshape(-1, self._batch_size)
        self._order = np.concatenate([rng.permutation(batches).reshape(-1), sorted_rows[whole:]])

    def __len__(self) -> int:
        return len(self._order)

    def __getitem__(self, place: int) -> dict[str, Any]:
        return self.rows[int(self._order[place])]
