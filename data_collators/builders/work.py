"""The work of a plan on paper: the list of its chunks, so that tasks on any machine agree on what there is to do.

Sources are cut once, where a build starts. `work.jsonl` in the folder of parts names chunks, one a line, in order;
`work.json` says how many there are and what was left out while cutting.
"""

from __future__ import annotations

import json
import os
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from ..files import check_output_folder, new_file, write_json
from .build import Plan, add_summary, parts_folder, put_together
from .parts import PartMaker, stems
from .sources import Chunk, FileReport, check_any, iter_chunks
from .store import STATS

WORK, HEAD = "work.jsonl", "work.json"


def prepare(plan: Plan, output: str | Path) -> Path:
    """Cut the sources of a plan and write the list of work; returns the folder of parts.

    Raises:
        ValueError: There is nothing in the sources.
        FileExistsError: `output` exists and may not be replaced.
    """
    started, report, count, size = time.time(), FileReport(), 0, 0
    check_output_folder(output, STATS, plan.build.overwrite)
    with parts_folder(plan, output, keep=True) as parts:
        with new_file(parts / WORK) as partial, partial.open("w", encoding="ascii") as file:
            for chunk, stem in stems(iter_chunks(plan.sources, report), parts):
                file.write(json.dumps([stem.name, chunk.source, chunk.kind, _items(chunk), chunk.size]) + "\n")
                count, size = count + 1, size + chunk.size
        if not count:
            check_any(plan.sources, report)
        head = {"parts": count, "bytes": size, "dropped": report.dropped, "examples": report.examples}
        write_json(parts / HEAD, {**head, "started": started})
    return parts


def _items(chunk: Chunk) -> list[Any]:
    if chunk.kind == "folder":
        return [[os.fsdecode(path), *rest] for path, *rest in chunk.items]
    return list(chunk.items)


def read_head(parts: Path) -> dict[str, Any]:
    """How many chunks there are, and their bytes.

    Raises:
        FileNotFoundError: There is no list of work.
    """
    if not (parts / HEAD).is_file():
        raise FileNotFoundError(
            f"the folder of parts {str(parts)!r} holds no list of work ({HEAD}). Call prepare(plan, output) first; "
            "on several machines the output must lie on a file system that all of them see."
        )
    return json.loads((parts / HEAD).read_text(encoding="utf-8"))


def read_work(parts: Path, rank: int = 0, world_size: int = 1) -> Iterator[tuple[Chunk, Path]]:
    """Chunks whose number is `rank` modulo `world_size`, with the names of their parts."""
    with (parts / WORK).open(encoding="ascii") as file:
        for line in islice(file, rank, None, world_size):
            name, source, kind, items, size = json.loads(line)
            if kind == "folder":
                items = [(os.fsencode(path), *rest) for path, *rest in items]
            yield Chunk(source, kind, tuple(items), size), parts / name


def make_share(
    maker: PartMaker, parts: Path, rank: int = 0, world_size: int = 1
) -> Iterator[tuple[Chunk, dict[str, Any]]]:
    """Make the parts that fall to a task; gives each chunk with the summary of its part."""
    read_head(parts)
    for chunk, stem in read_work(parts, rank, world_size):
        yield chunk, _make(maker, chunk, stem)


def _make(maker: PartMaker, chunk: Chunk, stem: Path) -> dict[str, Any]:
    """Make a part in a folder of its own: two tasks at the same part, as after a retry, do each other no harm."""
    if stem.with_name(stem.name + ".json").is_file():
        return maker(chunk, stem)
    with tempfile.TemporaryDirectory(prefix=".making-", dir=stem.parent) as folder:
        summary = maker(chunk, Path(folder, stem.name))
        # What says that the part is whole goes last.
        for path in sorted(Path(folder).iterdir(), key=lambda path: path.suffix == ".json"):
            os.replace(path, stem.parent / path.name)
    return summary


def merge(plan: Plan, parts: Path, output: str | Path) -> dict[str, Any]:
    """Put the parts of a list of work together; returns what stats.json holds.

    Raises:
        OSError: Parts are missing.
        ValueError: No file was used, or no row passes the filters.
    """
    head, names = read_head(parts), [stem for _, stem in read_work(parts)]
    missing = [stem.name for stem in names if not stem.with_name(stem.name + ".json").is_file()]
    if missing:
        raise OSError(
            f"{len(missing)} of {len(names)} parts are missing in {str(parts)!r}, such as {missing[0]}: a task did not "
            "finish. The same command, started again, makes what is missing."
        )
    report = FileReport(dropped=Counter(head["dropped"]), examples=head["examples"])
    for stem in names:
        add_summary(report, json.loads(stem.with_name(stem.name + ".json").read_text(encoding="utf-8")))
    return put_together(plan, names, output, report, head["started"])
