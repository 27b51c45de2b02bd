"""The work of a plan: the list of its chunks, their parts, made by any number of processes, and the data set.

Sources are cut once, where a build starts. `work.jsonl` in the folder of parts names chunks, one a line, in order, so
that tasks on any machine agree on what there is to do; `work.json` says how many there are and what was left out while
cutting.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib import metadata
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..files import check_output_folder, new_file, new_folder, write_json
from ..languages import LANGUAGES
from .merge import Merger
from .parts import PartMaker, stems
from .progress import Progress
from .sources import SPLITS, Chunk, FileReport, check_any, iter_chunks, known_repositories
from .store import STATS
from .tables import HUB
from .workers import share_out

if TYPE_CHECKING:
    from .build import Plan

WORK, HEAD = "work.jsonl", "work.json"


def carry_out(plan: Plan, output: str | Path) -> dict[str, Any]:
    """Build a planned data set into `output` with the plan's `num_proc` processes; returns what stats.json holds.

    Raises:
        ValueError: No file can be used, or no row passes the filters.
        FileExistsError: `output` exists and may not be replaced.
        OSError: A process died; the same call goes on where this one stopped.
    """
    parts, files = prepare(plan, output), 0
    with parts_folder(plan, output):
        with Progress(plan.kind, read_head(parts)["bytes"]) as progress:
            for chunk, summary in make_parts(plan.maker, parts, plan.build.num_proc):
                files += summary["files"]
                progress.advance(chunk.size or summary["bytes"], files)
        return merge(plan, parts, output)


def parts_path(plan: Plan, output: str | Path) -> Path:
    """The hidden folder, beside the output, of a plan's parts."""
    output = Path(output).resolve()
    return output.parent / f".{output.name}.parts-{plan.digest()}"


@contextmanager
def parts_folder(plan: Plan, output: str | Path, *, keep: bool = False) -> Iterator[Path]:
    """The folder of a plan's parts; it stays after a kill or a full disk, for the same command started again.

    Those of other plans for the same output are removed. With `keep` it also stays when the block ends well.
    """
    parts = parts_path(plan, output)
    for old in parts.parent.glob(f"{parts.name.rpartition('-')[0]}-*"):
        if old != parts:
            shutil.rmtree(old, ignore_errors=True)
    parts.mkdir(parents=True, exist_ok=True)
    try:
        yield parts
    except BaseException as error:
        if isinstance(error, ValueError) or not any(parts.iterdir()):  # nothing that another run could use
            shutil.rmtree(parts, ignore_errors=True)
        raise
    if not keep:
        shutil.rmtree(parts, ignore_errors=True)


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


def make_parts(maker: PartMaker, parts: Path, num_proc: int) -> Iterator[tuple[Chunk, dict[str, Any]]]:
    """Make all parts in `num_proc` processes; gives each chunk and the summary of its part when it is done.

    Raises:
        OSError: A process died.
    """
    if num_proc == 1:
        yield from ((chunk, maker(chunk, stem)) for chunk, stem in read_work(parts))
        return
    for (chunk, _), summary in share_out(maker, read_work(parts), min(num_proc, read_head(parts)["parts"])):
        yield chunk, summary


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
    """Put the parts of a list of work together into `output`, which appears whole or not at all.

    Returns:
        What stats.json holds.

    Raises:
        OSError: Parts are missing.
        ValueError: No file was used, or no row passes the filters.
        FileExistsError: `output` exists and may not be replaced.
    """
    head, names = read_head(parts), [stem for _, stem in read_work(parts)]
    missing = [stem.name for stem in names if not stem.with_name(stem.name + ".json").is_file()]
    if missing:
        raise OSError(
            f"{len(missing)} of {len(names)} parts are missing in {str(parts)!r}, such as {missing[0]}: a task did not "
            "finish. The same command, started again, makes what is missing."
        )
    report = _report(head, names)
    check_any(plan.sources, report)
    with new_folder(output, STATS, plan.build.overwrite) as folder:
        stats = finish(plan, names, folder, report)
        write_json(folder / STATS, {**stats, "seconds": round(time.time() - head["started"], 1)})
    for line in report.lines():
        print(f"  {line}", file=sys.stderr)  # noqa: T201 - people watch this
    return stats


def _report(head: dict[str, Any], names: list[Path]) -> FileReport:
    """What became of the files, over all parts."""
    report = FileReport(dropped=Counter(head["dropped"]), examples=head["examples"])
    for stem in names:
        summary = json.loads(stem.with_name(stem.name + ".json").read_text(encoding="utf-8"))
        report.kept += summary["files"]
        report.dropped.update(summary["dropped"])
        for reason, example in summary["examples"].items():
            report.examples.setdefault(reason, example)
    return report


def finish(plan: Plan, parts: list[Path], folder: Path, report: FileReport) -> dict[str, Any]:
    """Put parts together into `folder`; returns the statistics.

    Raises:
        ValueError: No row passes the filters.
    """
    merger = Merger(folder, plan.maker.row_class, plan.merge, plan.keep_dropped)
    for stem in parts:
        merger.add(stem)
    merger.close()
    totals, known = merger.totals, known_repositories(plan.sources)
    dropped: Counter[str] = Counter()
    for counters in totals.languages.values():
        dropped.update(counters["dropped"])
    if not merger.rows:
        raise ValueError(f"no {plan.kind} row came out of {report.kept} files: {_reasons(dropped)}.")
    return {
        "kind": plan.kind,
        "sources": [source if source.startswith(HUB) else Path(source).name for source in plan.sources.source],
        "languages": {name: counters["counts"]["files"] for name, counters in sorted(totals.languages.items())},
        "test_share": plan.sources.test_share,
        "settings": {**plan.settings, "near_dedup": plan.build.near_dedup},
        "splits": {split: {"rows": 0, **totals.splits[split]} for split in SPLITS},
        "files": {
            "kept": totals.files,
            "bytes": totals.bytes,
            "dropped": dict(sorted((report.dropped + totals.repeated_files).items())),
        },
        "dropped": dict(sorted(dropped.items())),
        "per_language": {
            name: {kind: dict(sorted(counter.items())) for kind, counter in counters.items()}
            for name, counters in sorted(totals.languages.items())
        },
        "decontamination": {
            "sets": list(plan.maker.contamination.sets) if plan.maker.contamination else [],
            "ngram": plan.build.ngram,
            "removed": dict(sorted(totals.contaminated.items())),
        },
        "repositories": {
            repo: {**entry, "version": known.get(repo, {}).get("version", "")}
            for repo, entry in sorted(totals.repositories.items())
        },
        "fingerprint": f"{merger.fingerprint:016x}",
        "versions": _versions(),
    }


def _versions() -> dict[str, str]:
    """Versions of Python and of what decides which rows come out."""
    grammars = {name.partition(":")[0].replace("_", "-") for one in LANGUAGES.values() for name in one.grammars}
    found = {"python": platform.python_version()}
    for name in ("coderep", "pyarrow", "tree-sitter", *sorted(grammars)):
        with suppress(metadata.PackageNotFoundError):
            found[name] = metadata.version(name)
    return found


def _reasons(dropped: Counter[str]) -> str:
    return ", ".join(f"{count} {reason}" for reason, count in dropped.most_common()) or "they hold none"
