"""What `benchmarks.scale_costs` needs to know of this machine and of rows: rates on one core, bytes on disk, memory.

    python -m benchmarks.scale_measure --source corpus

Times are of this process's own CPU use, so a busy machine disturbs them less.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import tempfile
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

from data_collators import train_tokenizer
from data_collators.builders import SourceOptions, iter_sources
from data_collators.builders.build import Plan, plan_pairs, plan_stage1
from data_collators.builders.dedup import NearDuplicates
from data_collators.builders.extract import sampled
from data_collators.builders.work import make_share, merge, prepare

from .common import report


def build(plan: Plan, folder: Path) -> dict[str, Any]:
    """Figures of a build in this process."""
    parts = prepare(plan, folder)
    started = time.process_time()
    megabytes = sum(summary["bytes"] for _, summary in make_share(plan.maker, parts)) / 1e6
    made = time.process_time()
    waiting = sum(path.stat().st_size for path in parts.iterdir())
    stats = merge(plan, parts, folder)
    merged = time.process_time()
    shutil.rmtree(parts)
    unit = "tokens" if plan.kind == "stage1" else "rows"
    units = sum(counts.get(unit, 0) for counts in stats["splits"].values())
    size = sum(path.stat().st_size for path in folder.glob("*.parquet"))
    return {
        "source, MB": megabytes,
        "parts, MB/s": megabytes / (made - started),
        "merge, MB/s": megabytes / (merged - made),
        f"bytes a {unit[:-1]}": size / units,
        "parts on disk / data set": waiting / size,
    }


def memory(fill: Callable[[int], object], count: int) -> float:
    """Bytes an entry of what `fill` makes of `count` entries."""
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    kept = fill(count)
    used = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    del kept
    return used / count


def near_duplicates(count: int) -> NearDuplicates:
    """The memory of near duplicates after so many files that are none."""
    seen = NearDuplicates(0.85)
    for _ in range(count):
        seen.add(os.urandom(512))
    return seen


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--source", nargs="+", required=True, help="folders of source code")
    parser.add_argument("--vocab-size", type=int, default=49152, help="of the tokenizer (default: 49152)")
    parser.add_argument("--share", type=float, default=0.1, help="of the files, for the tokenizer (default: 0.1)")
    parser.add_argument("--output", help="JSON file for the figures")
    args = parser.parse_args()
    options = SourceOptions(tuple(args.source))
    texts = (file.text for file in iter_sources(options) if sampled(file.id, args.share))
    tokenizer = train_tokenizer(texts, vocab_size=args.vocab_size, model_max_length=2048)
    rows = []
    with tempfile.TemporaryDirectory() as temporary:
        for plan in (plan_pairs(options), plan_stage1(options, tokenizer)):
            found = build(plan, Path(temporary, plan.kind))
            rows += [[f"{plan.kind}: {name}", f"{value:,.2f}"] for name, value in found.items()]
    draw, entries = random.Random(0).getrandbits, 1_000_000
    number = memory(lambda count: {draw(63) for _ in range(count)}, entries)
    text = memory(lambda count: {draw(63): 1 for _ in range(count)}, entries)
    repository = memory(
        lambda count: {f"owner{i}/name{i}": {"license": "MIT", "files": i} for i in range(count)}, 10**5
    )
    rows += [
        ["merge: bytes a file", f"{number:,.0f}"],
        ["merge: bytes a pair", f"{number + text:,.0f}"],
        ["merge: bytes a repository", f"{repository:,.0f}"],
        ["merge: bytes a file for near duplicates", f"{memory(near_duplicates, 10**5):,.0f}"],
    ]
    report("what data sets at scale take", ["figure", "value"], rows, [], args.output)


if __name__ == "__main__":
    main()
