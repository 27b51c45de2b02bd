"""Classification sets: codes or pairs of codes with labels, to train on and to test on.

What is wrong with a set is counted, and goes into the results; what makes it unusable is an error.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from data_collators.files import json_lines

from .sets import META

TRAIN, TEST_FILES = "train.jsonl", ("test.jsonl", "valid.jsonl")
SINGLE, PAIR = ("code",), ("code1", "code2")


@dataclass(frozen=True)
class Examples:
    """Labelled codes, or labelled pairs of codes.

    Args:
        codes: One list of codes, or two of the same length whose places belong together.
        labels: One an example.
    """

    codes: tuple[list[str], ...]
    labels: list[str]

    def __post_init__(self) -> None:
        lengths = {len(column) for column in self.codes} | {len(self.labels)}
        if len(self.codes) not in (1, 2) or len(lengths) != 1:
            raise ValueError(f"examples need one or two lists of codes as long as the labels, got lengths {lengths}.")

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True)
class ClassificationSet:
    """Examples to train on and to test on.

    Args:
        name: Name of the set.
        task: What is told apart, such as "defect".
        train: At least two classes.
        test: Examples whose label no training example has stay: they count as wrong.
        problems: What is wrong with the set -> how often.
        split: What the examples to test on are called in the set: "test" or "valid"; "" if they were drawn here.
    """

    name: str
    task: str
    train: Examples
    test: Examples
    problems: dict[str, int] = field(default_factory=dict)
    split: str = ""

    def __post_init__(self) -> None:
        for part, examples in (("training", self.train), ("test", self.test)):
            if not len(examples):
                raise ValueError(f"set {self.name!r} has no {part} examples. Check its files.")
        if len(self.train.codes) != len(self.test.codes):
            raise ValueError(f"set {self.name!r} mixes single codes and pairs between training and test.")
        if len(self.classes) < 2:
            raise ValueError(
                f"set {self.name!r} has one class in training, {self.classes[0]!r}: there is nothing to tell apart."
            )

    @cached_property
    def classes(self) -> list[str]:
        """The labels of the training examples, sorted."""
        return sorted(set(self.train.labels))

    @cached_property
    def revision(self) -> str:
        """Hash of all codes and labels."""
        digest = hashlib.sha256()
        for examples in (self.train, self.test):
            for column in (*examples.codes, examples.labels):
                digest.update(json.dumps(column).encode())
        return digest.hexdigest()[:16]


def read_classification(folder: str | Path, *, name: str | None = None) -> ClassificationSet:
    """A set in a folder: `train.jsonl`, and `test.jsonl` or else `valid.jsonl`, of lines {code, label} or {code1,
    code2, label}.

    `meta.json` may say its `task`. Empty codes, unseen labels and the like are counted in `problems`.

    Raises:
        FileNotFoundError: A file is missing.
        ValueError: A line lacks a code or a label, or the training examples are all of one class.
    """
    folder = Path(folder)
    test = next((folder / file for file in TEST_FILES if (folder / file).is_file()), None)
    if not (folder / TRAIN).is_file() or test is None:
        raise FileNotFoundError(
            f"{str(folder)!r} is no classification set: it needs {TRAIN} and {' or '.join(TEST_FILES)}, "
            "with lines {code, label} or {code1, code2, label}."
        )
    train, held_out = (collect(_examples(path), path) for path in (folder / TRAIN, test))
    return replace(make_set(name or folder.resolve().name, _task(folder), train, held_out), split=test.stem)


def make_set(
    name: str, task: str, train: Examples, test: Examples, problems: Mapping[str, int] | None = None
) -> ClassificationSet:
    """A set with what is wrong with it counted, besides the `problems` known already."""
    found = Counter(problems or {})
    seen = set(train.labels)
    found["test examples whose label is not in training"] += sum(label not in seen for label in test.labels)
    found["empty codes"] += sum(not code.strip() for part in (train, test) for column in part.codes for code in column)
    known = set(zip(*train.codes, strict=True))
    found["test examples also in training"] += sum(codes in known for codes in zip(*test.codes, strict=True))
    return ClassificationSet(name, task, train, test, {key: count for key, count in found.items() if count})


def collect(rows: Iterable[tuple[tuple[str, ...], str]], where: object) -> Examples:
    """Examples of (codes, label).

    Raises:
        ValueError: Single codes and pairs are mixed.
    """
    rows = list(rows)
    widths = {len(codes) for codes, _ in rows}
    if len(widths) > 1:
        raise ValueError(f"{str(where)!r} mixes single codes and pairs. Split it into two sets.")
    width = widths.pop() if widths else 1
    return Examples(tuple([codes[side] for codes, _ in rows] for side in range(width)), [label for _, label in rows])


def label_text(label: object) -> str:
    """A label as text, so that 1, true and "1" are one."""
    return str(int(label)) if isinstance(label, bool) else str(label)


def _examples(path: Path) -> Iterable[tuple[tuple[str, ...], str]]:
    for number, row in enumerate(json_lines(path), start=1):
        fields = PAIR if "code1" in row else SINGLE
        _need_fields(row, fields, path, number)
        yield tuple(row[field] for field in fields), label_text(row["label"])


def _need_fields(row: Mapping[str, Any], fields: tuple[str, ...], path: Path, number: int) -> None:
    if not all(isinstance(row.get(field), str) for field in fields):
        raise ValueError(f"{str(path)!r}, row {number} needs {' and '.join(fields)} as text, got {', '.join(row)}.")
    if row.get("label") in (None, ""):
        raise ValueError(f"{str(path)!r}, row {number} has no label. Label it or leave it out.")


def _task(folder: Path) -> str:
    path = folder / META
    if not path.is_file():
        return "classification"
    try:
        return str(json.loads(path.read_text(encoding="utf-8")).get("task", "classification"))
    except (ValueError, AttributeError) as error:
        raise ValueError(f"{str(path)!r} is not a JSON object ({error}). Mend or delete it.") from error
