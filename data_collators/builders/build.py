"""The builders as functions: sources in, a folder of shards or a tokenizer out.

Work is cut into chunks, whose parts are made by any number of processes (`work`) and put together in order (`merge`).
Parts wait in a hidden folder beside the output: the same command, started again after a kill, makes only those missing.
"""

from __future__ import annotations

import hashlib
import json
import sys
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tqdm.auto import tqdm

from ..files import new_folder
from ..rows import PairRow, Stage1Row
from ..tokenization import train_tokenizer
from . import dedup
from .decontamination import read_contamination
from .extract import sampled
from .merge import MergeOptions
from .pairs import PairExtractor, PairOptions
from .parts import PartMaker
from .sources import SourceOptions, iter_sources, split_of
from .stage1 import Stage1Extractor
from .work import carry_out

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
