"""The grid: every variant with every seed, trained and evaluated one after the other, each run once.

A run is `<output>/<variant>-seed<seed>/`, what `coderep train` leaves, and once it is evaluated a record beside it. A
run with a record is never repeated; one without goes on from its last checkpoint.
"""

from __future__ import annotations

import gc
import json
import shutil
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from statistics import fmean
from typing import Any

import torch
from transformers import AutoModelForMaskedLM

from data_collators.builders.store import load_stats
from data_collators.files import write_json
from trainers.checkpoints import save_model
from trainers.contrastive import train_contrastive
from trainers.evaluation import Bm25Scorer, CosineScorer, evaluate_retrieval, load_embedder
from trainers.evaluation.embedders import EncoderEmbedder
from trainers.evaluation.scorers import BM25, Scorer
from trainers.finished import MODEL, RUN
from trainers.messages import say
from trainers.mlm import train_mlm
from trainers.records import EvalResult
from trainers.run_recipe import recipe_of
from trainers.stage import load_model, load_tokenizer

from .plan import REFERENCES, START, TRUNCATED, UNTRAINED, Grid, run_name
from .start import weights_digest

_EMBEDDINGS = "embeddings"


def run_grid(grid: Grid) -> list[dict[str, Any]]:
    """Train and evaluate what is missing; the records of all runs, references first.

    Raises:
        FileExistsError: The output folder holds runs with another recipe, seed, length or data set.
    """
    grid.output.mkdir(parents=True, exist_ok=True)
    # Seeds outside, variants inside: a grid that is stopped half-way can be compared all the same.
    jobs = [(BM25, 0), *([(START, 0)] if grid.start else ((UNTRAINED, seed) for seed in grid.seeds))]
    jobs += [(variant, seed) for seed in grid.seeds for variant in grid.recipes]
    records = {job: _read(grid, *job) for job in jobs}  # refuses other work before any is done
    for number, (variant, seed) in enumerate(jobs, start=1):
        record = records[variant, seed]
        if record is None or record["evaluation"] != _evaluation(grid):
            say(f"grid: run {number} of {len(jobs)}, {variant}, seed {seed}{_left(records)}")
            records[variant, seed] = _run(grid, variant, seed)
    return list(records.values())


def _left(records: Mapping[tuple[str, int], dict[str, Any] | None]) -> str:
    """Time that the missing runs take, as far as finished ones tell."""
    missing = sum(record is None and variant not in REFERENCES for (variant, _), record in records.items())
    seconds = [_seconds(record) for record in records.values() if record and record["tokens"]]
    if not seconds or not missing:
        return ""
    minutes = round(missing * fmean(seconds) / 60)
    return f"; the whole grid has {minutes // 60}:{minutes % 60:02d} h left"


def _seconds(record: Mapping[str, Any]) -> float:
    return record["training_seconds"] + record["evaluation_seconds"]


def _run(grid: Grid, variant: str, seed: int) -> dict[str, Any]:
    """Train and evaluate one run and write its record."""
    name, training = run_name(variant, seed), _training(grid, variant, seed)
    model = _model(grid, variant, seed)
    runs = [json.loads(path.read_text(encoding="utf-8")) for path in sorted((grid.output / name).rglob(RUN))]
    started, kept = time.monotonic(), grid.output / _EMBEDDINGS
    results = list(_evaluate(_scorer(model, kept), grid, variant if variant == BM25 else name))
    record = {
        "variant": variant,
        "seed": seed,
        "training": training,
        "evaluation": _evaluation(grid),
        "parameters": runs[0]["parameters"] if runs else 0,
        "tokens": sum(run["tokens"] for run in runs),
        "training_seconds": round(sum(run["wall_seconds"] for run in runs), 1),
        "evaluation_seconds": round(time.monotonic() - started, 1),
        "results": [asdict(result) for result in results],
    }
    if grid.dims and variant in TRUNCATED:
        record["truncated"] = {
            str(dims): [
                asdict(result) for result in _evaluate(_scorer(model, kept, dims), grid, f"{name}, {dims} wide")
            ]
            for dims in grid.dims
        }
    write_json(grid.output / f"{name}.json", record)
    for checkpoint in (grid.output / name).rglob("checkpoint-*"):
        shutil.rmtree(checkpoint)  # nothing is resumed any more
    shutil.rmtree(kept, ignore_errors=True)
    return record


def _model(grid: Grid, variant: str, seed: int) -> Path | None:
    """The checkpoint of a run; None for BM25."""
    if variant == BM25:
        return None
    if variant == START:
        return Path(grid.start)
    return _untrained(grid, seed) if variant == UNTRAINED else _train(grid, variant, seed)


def _train(grid: Grid, variant: str, seed: int) -> Path:
    train = train_contrastive if grid.start else train_mlm
    model = train(grid.arguments(variant, seed))
    gc.collect()  # the Trainer and its data refer to each other
    return model


def _untrained(grid: Grid, seed: int) -> Path:
    """The encoder that the variants with this seed start from, as a checkpoint."""
    args = grid.arguments(next(iter(grid.recipes)), seed)
    folder = grid.output / run_name(UNTRAINED, seed) / MODEL
    tokenizer = load_tokenizer(args)
    folder.parent.mkdir(exist_ok=True)
    save_model(load_model(AutoModelForMaskedLM, args, tokenizer), tokenizer, folder)
    return folder


def _scorer(model: Path | None, cache: Path, dims: int | None = None) -> Scorer:
    if model is None:
        return Bm25Scorer()
    embedder = load_embedder(str(model), cache=cache, dimensions=dims)
    if isinstance(embedder, EncoderEmbedder) and torch.cuda.is_available():
        embedder.encoder.model.to("cuda")
    return CosineScorer(embedder)


def _evaluate(scorer: Scorer, grid: Grid, name: str) -> Iterator[EvalResult]:
    for data in grid.sets:
        results = evaluate_retrieval(scorer, data, grid.protocol, model=name).results
        say(f"{name}, {data.name}: MRR {100 * results[0].value:.2f} %, {results[0].seconds:.0f} s")
        yield from results


def _training(grid: Grid, variant: str, seed: int) -> dict[str, Any]:
    """What a run is: work with another of these is another run."""
    if variant == BM25:
        return {}
    start = {"start": weights_digest(grid.start), "dropout": grid.dropout} if grid.start else {}
    if variant == START:
        return start
    first = next(iter(grid.recipes))
    args = grid.arguments(first if variant == UNTRAINED else variant, seed)
    recipe = args.model_config if variant == UNTRAINED else recipe_of(args)
    data = load_stats(grid.data_of(variant))["fingerprint"]
    return json.loads(json.dumps({"recipe": recipe, "seed": seed, "data": data, **start}))


def _evaluation(grid: Grid) -> dict[str, Any]:
    """What a run is evaluated on."""
    dims = {"dims": list(grid.dims)} if grid.dims else {}
    return {"protocol": grid.protocol.label, "sets": {data.name: data.revision for data in grid.sets}, **dims}


def _read(grid: Grid, variant: str, seed: int) -> dict[str, Any] | None:
    """The record of a run that was finished before."""
    path = grid.output / f"{run_name(variant, seed)}.json"
    if not path.is_file():
        return None
    record = json.loads(path.read_text(encoding="utf-8"))
    changed = [key for key, value in _training(grid, variant, seed).items() if record["training"].get(key) != value]
    if changed:
        raise FileExistsError(
            f"{str(path)!r} is a run with another {', '.join(changed)}. Name another --output or delete the run."
        )
    return record
