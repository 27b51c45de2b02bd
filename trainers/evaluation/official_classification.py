"""Published classification sets of CodeSage's evaluation, from their authors' files or from the Hub.

Facts: amazon-science/CodeSage, `evaluation/{defect,complexity,runtime_error}_prediction.py` and `clone_detection.py`.
Its complexity set is split anew, 80/10/10, by each seed of training, and its runtime-error files
(`train_balanced.json`, `test_balanced.json`) are not given out. Both draws are ordered by a hash here, so that they are
the same everywhere.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from data_collators.files import json_lines

from .classification_sets import ClassificationSet, collect, label_text, make_set
from .codenet import chance
from .official import hub_rows

Rows = Iterable[Mapping[str, Any]]
Labelled = tuple[tuple[str, ...], str]


@dataclass(frozen=True)
class OfficialClassification:
    """A published classification set.

    Args:
        task: What is told apart.
        where: Where its files are.
        licence: Its licence.
        construction: How it is made, and what we do about its traps.
        files: What a folder must hold.
        read: (folder, part) -> rows, where part is "train" or "test".
        fields: Fields of a row: the code or the two codes, then the label; alternatives are divided by "|".
        hub: Its id on the Hub, "" if it is not there.
    """

    task: str
    where: str
    licence: str
    construction: str
    files: str
    read: Callable[[Path, str], Rows]
    fields: tuple[str, ...]
    hub: str = ""


def classification_names() -> list[str]:
    """Names that `load_classification` knows."""
    return list(OFFICIAL_CLASSIFICATION)


def load_classification(name: str, root: str | Path | None = None, *, seed: int = 0) -> ClassificationSet:
    """A published classification set.

    Args:
        name: One of `classification_names`.
        root: Folder with its files. Default: the Hub.
        seed: Of the draws, where a set is drawn (complexity, runtime-error).

    Raises:
        ValueError: There is no such set, or a file is torn.
        FileNotFoundError: The files are not there, or the Hub cannot be reached.
    """
    if name not in OFFICIAL_CLASSIFICATION:
        close = get_close_matches(name, OFFICIAL_CLASSIFICATION, n=1)
        hint = f"Did you mean {close[0]!r}? " if close else ""
        raise ValueError(f"unknown classification set {name!r}. {hint}Sets: {', '.join(OFFICIAL_CLASSIFICATION)}.")
    entry = OFFICIAL_CLASSIFICATION[name]
    try:
        parts = {part: list(_labelled(_rows(entry, root, part, seed), entry, name)) for part in ("train", "test")}
    except FileNotFoundError as error:
        online = f"Online, it comes from the Hub: {entry.hub}." if entry.hub else "The Hub does not have it."
        raise FileNotFoundError(
            f"classification set {name!r} is not here: {error} Put {entry.files} in a folder and name it with --root. "
            f"Get them from {entry.where}. Licence: {entry.licence}. {online}"
        ) from error
    problems: Counter[str] = Counter()
    if name == "runtime-error":
        parts = {part: balanced(rows, seed, problems) for part, rows in parts.items()}
    train, test = (collect(rows, name) for rows in parts.values())
    return replace(make_set(name, entry.task, train, test, problems), split="" if _is_drawn(entry) else "test")


def balanced(rows: list[Labelled], seed: int, problems: Counter[str] | None = None) -> list[Labelled]:
    """As many programs without an error as all others together, drawn by hash; the order stays."""
    fine = [row for row in rows if _is_fine(row[1])]
    chosen = sorted(fine, key=lambda row: chance(seed, "\0".join(row[0])))[: len(rows) - len(fine)]
    left = Counter(chosen)
    kept = []
    for row in rows:
        if not _is_fine(row[1]) or left[row] > 0:
            left[row] -= 1
            kept.append(row)
    if problems is not None:
        problems["programs without an error left out to balance"] += len(rows) - len(kept)
    return kept


def split_by_hash(rows: Rows, part: str, seed: int) -> Iterator[Mapping[str, Any]]:
    """80 % of the rows for training, 10 % for validation (not used), 10 % for testing; equal codes stay together."""
    for row in rows:
        share = int(chance(seed, row["src"])[:8], 16) / 16**8
        if part == ("train" if share < 0.8 else "valid" if share < 0.9 else "test"):
            yield row


def _is_fine(label: str) -> bool:
    return "".join(filter(str.isalpha, label)).lower() == "noerror"


def _is_drawn(entry: OfficialClassification) -> bool:
    return entry.task == "complexity"


def _rows(entry: OfficialClassification, root: str | Path | None, part: str, seed: int) -> Rows:
    drawn = _is_drawn(entry)
    if root is not None:
        rows = entry.read(Path(root), part)
    elif entry.hub:
        rows = hub_rows(entry.hub, None, "train" if drawn else part)
    else:
        raise FileNotFoundError("no folder was named.")
    return split_by_hash(rows, part, seed) if drawn else rows


def _labelled(rows: Rows, entry: OfficialClassification, name: str) -> Iterator[Labelled]:
    *codes, label = [field.split("|") for field in entry.fields]
    for row in rows:
        values = [next((row[field] for field in fields if row.get(field) is not None), None) for fields in codes]
        answer = next((row[field] for field in label if row.get(field) is not None), None)
        if answer is None or not all(isinstance(value, str) for value in values):
            raise ValueError(
                f"a row of {name!r} needs {', '.join(entry.fields)}, got {', '.join(row)}. Check its files."
            )
        yield tuple(values), label_text(answer)


def _need(root: Path, *names: str) -> Path:
    for name in names:
        for path in sorted(root.glob(name)):
            return path
    raise FileNotFoundError(f"{str(root)!r} has no {' or '.join(names)}.")


def _read_devign(root: Path, part: str) -> Rows:
    """`<part>.jsonl` as its preprocess.py writes it, or `function.json` with the places listed in `<part>.txt`."""
    if (root / f"{part}.jsonl").is_file():
        return json_lines(root / f"{part}.jsonl")
    try:
        found = json.loads(_need(root, "function.json").read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise ValueError(f"{str(root / 'function.json')!r} is not JSON ({error}). Fetch the file anew.") from error
    path = _need(root, f"{part}.txt")
    try:
        return [found[int(place)] for place in path.read_text(encoding="utf-8").split()]
    except (ValueError, LookupError, TypeError) as error:
        raise ValueError(f"{str(path)!r} does not list places in function.json ({error}). Fetch both anew.") from error


def _read_clones(root: Path, part: str) -> Rows:
    """`data.jsonl` of {idx, func}, and `<part>.txt` of idx, idx, label. Pairs of unknown functions are left out."""
    codes = {str(row["idx"]): row["func"] for row in json_lines(_need(root, "data.jsonl"))}
    path = _need(root, f"{part}.txt")
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        cells = line.split("\t")
        if len(cells) != 3:
            raise ValueError(f"{str(path)!r}, line {number} is not `idx<TAB>idx<TAB>label`: {line[:80]!r}.")
        first, second, label = cells
        if first in codes and second in codes:
            yield {"func1": codes[first], "func2": codes[second], "label": label}


def _read_complexity(root: Path, part: str) -> Rows:
    return json_lines(_need(root, "data.jsonl", "java_data.jsonl"))


def _read_errors(root: Path, part: str) -> Rows:
    return json_lines(_need(root, f"{part}_balanced.json", f"{part}.jsonl"))


OFFICIAL_CLASSIFICATION = {
    "defect": OfficialClassification(
        task="defect",
        where="https://github.com/microsoft/CodeXGLUE, Code-Code/Defect-detection (function.json through its README)",
        licence="C-UDA (CodeXGLUE); Devign",
        construction="21,854 C functions to train on and 2,732 to test on, vulnerable (1) or not (0)",
        files="train.jsonl and test.jsonl, or function.json, train.txt and test.txt",
        read=_read_devign,
        fields=("func", "target|label"),
        hub="google/code_x_glue_cc_defect_detection",
    ),
    "clone": OfficialClassification(
        task="clone",
        where="https://github.com/microsoft/CodeXGLUE, Code-Code/Clone-detection-BigCloneBench/dataset",
        licence="C-UDA (CodeXGLUE); BigCloneBench",
        construction="901,028 pairs of Java functions to train on (CodeXGLUE's script: a tenth), 415,416 to test on",
        files="data.jsonl, train.txt and test.txt",
        read=_read_clones,
        fields=("func1", "func2", "label"),
        hub="google/code_x_glue_cc_clone_detection_big_clone_bench",
    ),
    "complexity": OfficialClassification(
        task="complexity",
        where="https://huggingface.co/datasets/codeparrot/codecomplex",
        licence="as its card on the Hub says; the programs are submissions to Codeforces",
        construction="4,517 Java programs in 7 classes, 80/10/10 by the hash of the code; a problem straddles parts",
        files="data.jsonl (or java_data.jsonl) of {src, complexity}",
        read=_read_complexity,
        fields=("src", "complexity"),
        hub="codeparrot/codecomplex",
    ),
    "runtime-error": OfficialClassification(
        task="runtime error",
        where=(
            "https://github.com/google-research/runtime-error-prediction (TFRecords of token numbers: write their "
            "programs from Project CodeNet by submission_id as JSON lines first)"
        ),
        licence="CDLA-Permissive-2.0",
        construction="29 classes; as many programs without an error as of all 28 others together, drawn by hash",
        files="train.jsonl and test.jsonl of {code, label}, or train_balanced.json and test_balanced.json",
        read=_read_errors,
        fields=("code", "label|target_label"),
    ),
}
