"""A step from a model and pairs to a data set: a pool, a part for each piece of the pairs, and all put together.

Parts hold the new columns of the rows of a piece. They wait with the pool in a hidden folder beside the output, whole
or not at all, so the same command goes on after a kill, and several machines that see the folder share them.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import torch

from data_collators.builders.store import STATS
from data_collators.files import check_output_folder, claim_folder

from ..evaluation.embedders import DOCUMENT, QUERY, Embedder, EncoderEmbedder
from ..messages import say
from .job import Job, Queries, Step
from .merge import merge
from .options import PoolOptions
from .pool import Pool, draw_pool, keys_of, write_first
from .rows import identity, rows_to_pairs
from .source import PairSource, Piece
from .timing import Clock, PairProgress

_CLAIM, _ROWS, _FORMAT = "work.json", "rows", 1


def carry_out(
    step: Step,
    embedder: Embedder,
    data: str | Path,
    output: str | Path,
    options: PoolOptions,
) -> dict[str, Any] | None:
    """Make the parts that are missing and put all together; returns the record of the data set.

    None is returned where only a share was asked for.

    Raises:
        FileExistsError: The output may not be replaced, or parts of other work wait beside it.
        FileNotFoundError: The data do not exist.
        ValueError: The data hold no pairs, or embeddings are not finite.
    """
    output = check(data, output, options)
    folder = output.parent / f".{output.name}.parts"
    record = {"step": step.name, "format": _FORMAT, "data": identity(data), "model": embedder.fingerprint}
    _claim(folder, {**record, **options.binding(), **step.binding()})
    clock = Clock(embedder)
    try:
        job = _prepare(step, embedder, data, folder, options)
        _work(job, clock)
    except BaseException:
        if options.shard[1] == 1 and not any(folder.glob("*.safetensors")):  # nothing that another run could use
            shutil.rmtree(folder, ignore_errors=True)
        raise
    if options.shard[1] > 1:
        done, pieces = sum(job.part(piece).is_file() for piece in job.source.pieces), len(job.source.pieces)
        say(
            f"{step.name}: share {options.shard[0]}/{options.shard[1]} is done, {done:,} of {pieces:,} parts are "
            "there. Once all are, the same command without --shard puts them together"
        )
        return None
    stats = merge(job, output)
    shutil.rmtree(folder, ignore_errors=True)
    return stats


def check(data: str | Path, output: str | Path, options: PoolOptions) -> Path:
    """Refuse, before any work, data and outputs that cannot be worked on; returns the absolute name of the output.

    Raises:
        FileExistsError: The output may not be replaced.
        FileNotFoundError: The data do not exist.
        ValueError: The data hold no pairs.
    """
    identity(data)
    if Path(data, STATS).is_file() and options.columns:
        raise ValueError(f"{str(data)!r} is made by `coderep data ...` and has its own names. Leave --columns out.")
    return check_output_folder(output, STATS, options.overwrite)


def _claim(folder: Path, record: dict[str, Any]) -> None:
    """Take the folder for this work; of machines that start together one writes the record."""
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / _CLAIM).is_file():
        text = json.dumps(record, indent=2) + "\n"
        write_first(folder / _CLAIM, lambda partial: partial.write_text(text, encoding="utf-8"))
    claim_folder(folder, _CLAIM, record)


def _prepare(step: Step, embedder: Embedder, data: str | Path, folder: Path, options: PoolOptions) -> Job:
    if not Path(data, STATS).is_file():
        rows_to_pairs(data, folder / _ROWS, dict(options.columns))
        data = folder / _ROWS
    source = PairSource(Path(data), options.splits, options.piece_rows)
    draw_pool(source, folder, options.pool, options.seed, options.same_language)
    return Job(step, embedder, options, folder, source, Pool(folder, options.same_language))


def _work(job: Job, clock: Clock) -> None:
    """Make the parts of this machine that are missing, after the embeddings of the pool, which they need."""
    share = job.share()
    todo = [piece for piece in share if not job.part(piece).is_file()]
    if not todo:
        return
    if len(job.pool) < job.options.pool:
        say(f"{job.step.name}: the pool has {len(job.pool):,} codes, the training pairs hold no more")
    _embed_pool(job, clock)
    if len(todo) < len(share):
        say(f"{job.step.name}: goes on, {len(share) - len(todo):,} of {len(share):,} parts are there")
    with PairProgress(job.step.name, sum(map(len, todo))) as progress:
        for piece in todo:
            columns = job.step.score(_queries(job, piece, clock), job.pool)
            job.write(piece, columns, clock.lap())  # its own milliseconds are in the next lap
            progress.advance(len(piece))


def _embed_pool(job: Job, clock: Clock) -> None:
    def encode(texts: list[str]) -> tuple[np.ndarray, dict[str, float]]:
        embeddings_CD = clock.encode(texts, job.options.max_code_length, DOCUMENT)
        return embeddings_CD, clock.lap()

    chunks = job.pool.embed(
        encode,
        dtype=job.options.pool_dtype,
        chunk=job.options.piece_rows,
        share=job.options.shard,
        device=device_of(job.embedder),
    )
    with PairProgress(f"{job.step.name}: pool", len(job.pool)) as progress:
        for codes in chunks:
            progress.advance(codes)


def _queries(job: Job, piece: Piece, clock: Clock) -> Queries:
    options, device = job.options, device_of(job.embedder)
    table = job.source.read(piece, ("text", "code", "language"))
    texts, codes, languages = (table[name].to_pylist() for name in ("text", "code", "language"))
    text_ND = clock.encode(texts, options.max_text_length, QUERY)
    keys = keys_of(codes)
    places = job.pool.places(codes, keys)
    missing = np.flatnonzero(places < 0)
    code_ND = job.pool.embeddings_KD[torch.from_numpy(places).to(device)]
    if len(missing):
        found_ND = clock.encode([codes[row] for row in missing], options.max_code_length, DOCUMENT)
        # Rounded as the pool's are: else a copy in the pool would score another number than the code itself.
        code_ND[torch.from_numpy(missing).to(device)] = torch.from_numpy(found_ND.astype(options.pool_dtype)).to(device)
    return Queries(
        torch.from_numpy(text_ND).to(device),
        code_ND,
        languages,
        job.pool.exclusions(keys, keys_of(texts)),
        piece.split,
        piece.first,
        options.seed,
    )


def device_of(embedder: Embedder) -> Any:
    """Where a model runs, and so products of matrices as well."""
    model: Any = embedder.encoder.model if isinstance(embedder, EncoderEmbedder) else getattr(embedder, "model", None)
    return getattr(model, "device", "cpu")
