"""The builders as functions: sources in, a folder of shards or a tokenizer out.

Work is cut into chunks, whose parts are made by any number of processes (`parts`) and put together in order (`merge`).
Parts wait in a hidden folder beside the output: the same command, started again after a kill, makes only those missing.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import cache
from multiprocessing import get_context, parent_process
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tqdm.auto import tqdm

from ..files import check_output_folder, new_folder, write_json
from ..rows import PairRow, Stage1Row
from ..tokenization import train_tokenizer
from . import dedup
from .decontamination import read_contamination
from .extract import sampled
from .merge import MergeOptions, Merger
from .pairs import PairExtractor, PairOptions
from .parts import PartMaker, stems
from .sources import (
    SPLITS,
    Chunk,
    FileReport,
    SourceOptions,
    check_any,
    iter_chunks,
    iter_sources,
    known_repositories,
    split_of,
)
from .stage1 import Stage1Extractor
from .store import STATS

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast


@dataclass(frozen=True)
class BuildOptions:
    """How a data set is built, whatever is in it.

    Args:
        near_dedup: Similarity (Jaccard, of word 5-grams) from which on files are near duplicates, such as 0.85; None:
            only equal files are dropped.
        decontaminate: Evaluation sets whose texts must not be in the data: JSONL or Parquet files, or folders of them.
        ngram: Words that a text must share with an evaluation set in a row to be contaminated.
        num_proc: Processes. The data set is the same whatever their number.
        overwrite: Whether to replace an earlier result in the same folder.

    Raises:
        ValueError: An option is out of range.
        ImportError: `near_dedup` needs a library that is not installed.
    """

    near_dedup: float | None = None
    decontaminate: tuple[str, ...] = ()
    ngram: int = 13
    num_proc: int = 1
    overwrite: bool = False

    def __post_init__(self) -> None:
        if self.num_proc < 1:
            raise ValueError(f"num_proc must be at least 1, got {self.num_proc}.")
        if self.near_dedup is not None:
            dedup.NearDuplicates(self.near_dedup)
            dedup.check_library()


@dataclass(frozen=True)
class Plan:
    """Everything that decides what a data set holds; goes to other processes and machines."""

    kind: str
    sources: SourceOptions
    build: BuildOptions
    maker: PartMaker
    merge: MergeOptions
    settings: dict[str, Any]
    keep_dropped: bool = False

    def digest(self) -> str:
        """A name for the plan: parts made for one plan serve no other."""
        record = {
            "kind": self.kind,
            "sources": asdict(self.sources),
            "settings": self.settings,
            "near_dedup": self.build.near_dedup is not None,
            "decontaminate": [self.build.decontaminate, self.build.ngram],
            "code": _code_fingerprint(),
        }
        return hashlib.sha256(json.dumps(record, sort_keys=True, default=sorted).encode()).hexdigest()[:12]


@cache
def _code_fingerprint() -> str:
    """A name for the code that makes parts: those of another version are of no use."""
    state, package = hashlib.sha256(), Path(__file__).parent.parent
    for path in sorted(path for kind in ("*.py", "*.scm", "*.txt") for path in package.rglob(kind)):
        state.update(path.read_bytes())
    return state.hexdigest()[:12]


def plan_stage1(
    options: SourceOptions,
    tokenizer: PreTrainedTokenizerBase,
    build: BuildOptions | None = None,
    *,
    max_length: int = 1024,
    keep_license: bool = False,
) -> Plan:
    """What `build_stage1` does, to be carried out anywhere."""
    build, extract = build or BuildOptions(), Stage1Extractor(tokenizer, max_length, keep_license=keep_license)
    tokens = hashlib.sha256(tokenizer.backend_tokenizer.to_str().encode()).hexdigest()[:12]
    settings = {"max_length": max_length, "keep_license": keep_license, "tokenizer": tokens}
    maker = PartMaker(options, extract, Stage1Row, build.near_dedup is not None, _contamination(build))
    return Plan("stage1", options, build, maker, MergeOptions(options.test_share, build.near_dedup), settings)


def plan_pairs(options: SourceOptions, filters: PairOptions | None = None, build: BuildOptions | None = None) -> Plan:
    """What `build_pairs` does, to be carried out anywhere."""
    build, filters = build or BuildOptions(), filters or PairOptions()
    maker = PartMaker(
        options,
        PairExtractor(filters),
        PairRow,
        build.near_dedup is not None,
        _contamination(build),
        fields=("text", "code", "docstring"),
    )
    merge = MergeOptions(options.test_share, build.near_dedup, filters.max_repeats)
    settings = {**asdict(filters), "kinds": list(filters.kinds)}
    return Plan("pairs", options, build, maker, merge, settings, filters.keep_dropped)


def _contamination(build: BuildOptions) -> Any:
    return read_contamination(build.decontaminate, build.ngram) if build.decontaminate else None


def build_stage1(
    options: SourceOptions,
    tokenizer: PreTrainedTokenizerBase,
    output: str | Path,
    build: BuildOptions | None = None,
    *,
    max_length: int = 1024,
    keep_license: bool = False,
) -> dict[str, Any]:
    """Build stage-1 rows (`Stage1Row`) into `output`; returns what stats.json holds.

    Raises:
        ValueError: No file can be used, or an option is out of range.
        FileExistsError: `output` exists and may not be replaced.
    """
    return carry_out(plan_stage1(options, tokenizer, build, max_length=max_length, keep_license=keep_license), output)


def build_pairs(
    options: SourceOptions,
    output: str | Path,
    build: BuildOptions | None = None,
    *,
    filters: PairOptions | None = None,
) -> dict[str, Any]:
    """Build text-code pairs (`PairRow`) into `output`; returns what stats.json holds.

    Raises:
        ValueError: No file can be used, or no pair passes the filters.
        FileExistsError: `output` exists and may not be replaced.
    """
    return carry_out(plan_pairs(options, filters, build), output)


def build_tokenizer(
    options: SourceOptions,
    output: str | Path,
    *,
    vocab_size: int = 32768,
    model_max_length: int = 2048,
    share: float = 1.0,
    overwrite: bool = False,
) -> PreTrainedTokenizerFast:
    """Train a tokenizer on the split `train` of the sources and save it in `output`.

    Args:
        options: The sources.
        output: Folder to write.
        vocab_size: Tokens.
        model_max_length: Longest text in tokens.
        share: Share of the files to learn from, drawn by a hash of their names; training takes memory.
        overwrite: Whether to replace an earlier result.

    Raises:
        ValueError: No file can be used, or `vocab_size` is too small.
        FileExistsError: `output` exists and may not be replaced.
    """
    if not 0 < share <= 1:
        raise ValueError(f"share must lie in (0, 1], got {share}.")
    with new_folder(output, "tokenizer.json", overwrite) as folder:
        files = tqdm(iter_sources(options), desc="tokenizer", unit="file", disable=not sys.stderr.isatty())
        texts = (
            file.text
            for file in files
            if split_of(file.repo, options.test_share) == "train" and sampled(file.id, share)
        )
        tokenizer = train_tokenizer(texts, vocab_size=vocab_size, model_max_length=model_max_length)
        tokenizer.save_pretrained(folder)
    return tokenizer


def carry_out(plan: Plan, output: str | Path) -> dict[str, Any]:
    """Build a planned data set into `output`; returns what stats.json holds."""
    started = time.time()
    check_output_folder(output, STATS, plan.build.overwrite)
    with parts_folder(plan, output) as parts:
        report = FileReport()
        work = list(stems(iter_chunks(plan.sources, report), parts))
        with Progress(plan.kind, sum(chunk.size for chunk, _ in work)) as progress:
            for chunk, summary in make_parts(plan.maker, work, plan.build.num_proc):
                add_summary(report, summary)
                progress.advance(chunk.size or summary["bytes"], report.kept)
        return put_together(plan, [stem for _, stem in work], output, report, started)


def put_together(
    plan: Plan, parts: Iterable[Path], output: str | Path, report: FileReport, started: float
) -> dict[str, Any]:
    """Put all parts together into `output`, which appears whole or not at all; returns what stats.json holds.

    Args:
        plan: What was planned.
        parts: The parts, in order.
        output: Folder to write.
        report: What became of the files, over all parts.
        started: When work began, in seconds since the epoch.

    Raises:
        ValueError: No file was used, or no row passes the filters.
        FileExistsError: `output` exists and may not be replaced.
    """
    check_any(plan.sources, report)
    with new_folder(output, STATS, plan.build.overwrite) as folder:
        stats = finish(plan, parts, folder, report)
        write_json(folder / STATS, {**stats, "seconds": round(time.time() - started, 1)})
    for line in report.lines():
        print(f"  {line}", file=sys.stderr)  # noqa: T201 - people watch this
    return stats


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


def make_parts(
    maker: PartMaker, work: list[tuple[Chunk, Path]], num_proc: int
) -> Iterator[tuple[Chunk, dict[str, Any]]]:
    """Make the parts of chunks in `num_proc` processes; gives each chunk and the summary of its part when it is done.

    Raises:
        OSError: A process died.
    """
    if num_proc == 1:
        yield from ((chunk, maker(chunk, stem)) for chunk, stem in work)
        return
    # New processes, not forks: threads of tokenizers and Arrow do not survive those.
    with ProcessPoolExecutor(num_proc, get_context("spawn"), _start, (maker,)) as pool:
        try:
            waiting, pending = iter(work), {}
            for chunk, stem in waiting:
                pending[pool.submit(_make, chunk, stem)] = chunk
                if len(pending) >= 3 * num_proc:
                    yield from _done(pending)
            while pending:
                yield from _done(pending)
        except BrokenProcessPool as error:
            raise OSError(
                "a worker process was killed, perhaps for want of memory. The same command goes on where this one "
                "stopped; fewer --num-proc need less memory."
            ) from error
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


_maker: PartMaker | None = None


def _start(maker: PartMaker) -> None:
    global _maker
    _maker = maker
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """Without its parent, a worker would wait for work for ever."""
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _make(chunk: Chunk, stem: Path) -> dict[str, Any]:
    return _maker(chunk, stem)


def _done(pending: dict[Any, Chunk]) -> Iterator[tuple[Chunk, dict[str, Any]]]:
    for future in wait(pending, return_when=FIRST_COMPLETED).done:
        yield pending.pop(future), future.result()


def add_summary(report: FileReport, summary: dict[str, Any]) -> None:
    """Add the summary of a part to the report."""
    report.kept += summary["files"]
    report.bytes += summary["bytes"]
    report.dropped.update(summary["dropped"])
    for reason, example in summary["examples"].items():
        report.examples.setdefault(reason, example)


def finish(plan: Plan, parts: Iterable[Path], folder: Path, report: FileReport) -> dict[str, Any]:
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
        "sources": [Path(source).name for source in plan.sources.source],
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
    }


def _reasons(dropped: Counter[str]) -> str:
    return ", ".join(f"{count} {reason}" for reason, count in dropped.most_common()) or "they hold none"


class Progress:
    """A bar with MB/s and files/s on a terminal; a line every half minute elsewhere."""

    def __init__(self, label: str, size: int) -> None:
        self.label, self._started = label, time.monotonic()
        self._said, self._done = self._started, 0
        known = {"total": size} if size else {}
        self._bar = tqdm(
            desc=label, unit="B", unit_scale=True, disable=not sys.stderr.isatty(), mininterval=0.5, **known
        )
        self._size = size

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *error: object) -> None:
        self._bar.close()

    def advance(self, size: int, files: int) -> None:
        """Some bytes are done; `files` counts from the beginning."""
        now = time.monotonic()
        self._done += size
        rate = files / max(now - self._started, 1e-6)
        self._bar.set_postfix_str(f"{files} files, {rate:.0f} files/s", refresh=False)
        self._bar.update(size)
        if self._bar.disable and now - self._said >= 30:
            self._said = now
            share = f" of {self._size / 1e6:.0f}" if self._size else ""
            speed = self._done / 1e6 / max(now - self._started, 1e-6)
            print(  # noqa: T201 - people watch this
                f"  {self.label}: {self._done / 1e6:.0f}{share} MB, {files} files, {speed:.1f} MB/s", file=sys.stderr
            )
