"""The builders as steps of datatrove pipelines.

`MakeParts` in any number of tasks, then `MergeParts` in one, build a planned data set; `ExtractPairs` makes pairs of
documents that come from elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

try:
    from datatrove.data import Document
    from datatrove.executor import LocalPipelineExecutor as LocalPipelineExecutor
    from datatrove.executor import SlurmPipelineExecutor as SlurmPipelineExecutor
    from datatrove.pipeline.base import PipelineStep
except ImportError as error:
    raise ImportError("pipelines of datatrove need datatrove: pip install 'coderep[scale]'") from error

from ..rows import SourceFile
from .build import Plan
from .pairs import PairExtractor, PairOptions
from .tables import language_name
from .work import make_share, merge, parts_folder, parts_path


class _Held:
    """Holds a plan, so that datatrove neither copies it for each task nor writes all of it into its records."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan

    def __deepcopy__(self, memo: dict[int, Any]) -> _Held:
        return self

    def __repr__(self) -> str:
        return f"{self.plan.kind}-{self.plan.digest()}"


class MakeParts(PipelineStep):
    """Makes parts of a planned data set: those whose number is the task's rank modulo the number of tasks.

    Documents that come in are passed on. Parts that are there are not made again.

    Args:
        plan: What to build; see `plan_pairs` and `plan_stage1`.
        output: The data set's folder, for which `prepare(plan, output)` was called.
    """

    type, name = "coderep", "make parts"

    def __init__(self, plan: Plan, output: str | Path) -> None:
        super().__init__()
        self.held, self.parts = _Held(plan), parts_path(plan, output)

    def run(self, data: Iterator[Document] | None, rank: int = 0, world_size: int = 1) -> Iterator[Document]:
        """Make the parts of a task."""
        if data:
            yield from data
        with self.track_time("task"):
            for _, summary in make_share(self.held.plan.maker, self.parts, rank, world_size):
                self.stat_update("parts")
                self.stat_update("files", value=summary["files"], unit="part")
                self.stat_update("bytes", value=summary["bytes"], unit="part")
                for reason, count in summary["dropped"].items():
                    self.stat_update(f"left out: {reason}", value=count, unit="part")


class MergeParts(PipelineStep):
    """Puts the parts of a planned data set together and removes them; the task of rank 0 does all of it.

    Documents that come in are passed on.

    Args:
        plan: What to build.
        output: The data set's folder.
    """

    type, name = "coderep", "merge parts"

    def __init__(self, plan: Plan, output: str | Path) -> None:
        super().__init__()
        self.held, self.output = _Held(plan), Path(output).resolve()

    def run(self, data: Iterator[Document] | None, rank: int = 0, world_size: int = 1) -> Iterator[Document]:
        """Put parts together."""
        if data:
            yield from data
        if rank == 0:
            with self.track_time("data set"), parts_folder(self.held.plan, self.output) as parts:
                stats = merge(self.held.plan, parts, self.output)
            for split, counts in stats["splits"].items():
                self.stat_update(f"rows of {split}", value=counts["rows"], unit="data set")


class ExtractPairs(PipelineStep):
    """Makes text-code pairs of documents that hold source files.

    A document's metadata names its `language`, or its `path` shows it; `repo`, `path` and `license` are taken along.
    Out comes one document a pair: its text is the summary, its metadata are the other columns of `PairRow`. Files and
    pairs that repeat are not looked for here: that takes all of them.

    Args:
        options: Filters of pairs.
    """

    type, name = "coderep", "extract pairs"

    def __init__(self, options: PairOptions | None = None) -> None:
        super().__init__()
        self.options = options or PairOptions()

    def run(self, data: Iterator[Document] | None, rank: int = 0, world_size: int = 1) -> Iterator[Document]:
        """Turn documents into pairs."""
        extract = PairExtractor(self.options)
        for document in data or ():
            known = {name: str(document.metadata.get(name) or "") for name in ("language", "repo", "path", "license")}
            known["language"] = language_name(known["language"], known["path"]) or ""
            if not known["language"]:
                self.stat_update("another language")
                continue
            with self.track_time():
                found = extract(SourceFile(id=document.id, text=document.text, **known))
            self.stat_update("pairs", value=len(found.rows))
            for reason, count in found.dropped.items():
                self.stat_update(f"dropped: {reason}", value=count)
            for row in found.rows:
                record = asdict(row)
                yield Document(text=record.pop("text"), id=record.pop("id"), metadata=record)
