"""One mteb task on one model: load the data or say what is missing, evaluate, and mteb's numbers as our results."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from ..records import EvalResult
from .domain import IN_DOMAIN, UNKNOWN, domain_of

# Beside a task's main score, in mteb's names.
_METRICS = ("ndcg_at_10", "mrr_at_10", "mrr_at_1000", "map_at_1000", "recall_at_10")


def run_task(model: Any, task: Any, kept: Path | None, name: str, max_length: int | None = None) -> list[EvalResult]:
    """A task's numbers, subset by subset, and the mean of its main score where there are several.

    Args:
        model: An mteb model.
        task: An mteb task.
        kept: Folder of mteb's own results; what stands there of the same model, data and mteb is not computed anew.
        name: Name of the model in the results.
        max_length: Longest text in tokens, if that is not the model's limit.

    Raises:
        FileNotFoundError: The task's data are neither here nor to be had.
    """
    import mteb

    meta, shown = model.mteb_model_meta, sys.stderr.isatty()
    cache = mteb.ResultCache(kept) if kept else None
    before = cache.load_task_result(task.metadata.name, meta) if cache else None
    # mteb itself takes a kept result for that of a data set with the same name whose content has changed.
    same = before is not None and (before.dataset_revision, before.mteb_version) == (
        task.metadata.revision,
        mteb.__version__,
    )
    if not same or before.get_missing_evaluations(task) or getattr(task, "data", None) is not None:
        load_data(task)  # a set that is here is loaded anyway, for the number of its queries
    evaluated = mteb.evaluate(
        model,
        task,
        cache=cache,
        overwrite_strategy="only-missing" if same else "always",
        co2_tracker=False,
        show_progress_bar=shown,
        encode_kwargs={"batch_size": 1024, "show_progress_bar": shown},
    ).task_results[0]
    counts = {subset: queries_of(task, subset) for subset in task.hf_subsets}
    task.unload_data()
    return to_results(evaluated, task, name, _domain(meta, task, name), counts, max_length)


def load_data(task: Any) -> None:
    """Load a task's data, or say in one line which they are.

    Raises:
        FileNotFoundError: They are neither here nor to be had.
    """
    path, revision = task.metadata.dataset["path"], task.metadata.revision
    try:
        task.load_data()
    except (OSError, ValueError, RuntimeError) as error:
        if getattr(task, "data", None) is not None or path == "unpublished":
            raise
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
        raise FileNotFoundError(
            f"task {task.metadata.name} needs the data set {path} (commit {revision[:12]}, split "
            f"{', '.join(task.eval_splits)}) from https://huggingface.co/datasets/{path}, which is neither in the "
            f"cache nor to be had ({reason}). With internet, fetch it: hf download --repo-type dataset {path} "
            f"--revision {revision}"
        ) from error


def queries_of(task: Any, subset: str) -> int:
    """Queries of a subset: of the data if they are loaded, else as mteb's statistics count them, 0 if unknown."""
    split = task.eval_splits[0]
    if task.data_loaded:
        queries = task.dataset.get(subset, {}).get(split, {}) if isinstance(task.dataset, dict) else {}
        return len(queries["queries"]) if "queries" in queries else 0
    statistics = (task.metadata.descriptive_stats or {}).get(split, {})
    return statistics.get("hf_subset_descriptive_stats", {}).get(subset, statistics).get("num_queries", 0)


def to_results(
    evaluated: Any, task: Any, model: str, domain: str, counts: dict[str, int], max_length: int | None = None
) -> list[EvalResult]:
    """mteb's result of a task as ours: "ndcg_at_10" is "ndcg@10"."""
    main = task.metadata.main_score
    protocol = f"mteb {evaluated.mteb_version}" + (f", {max_length} tokens" if max_length else "")
    common = {"model": model, "revision": evaluated.dataset_revision, "protocol": protocol, "domain": domain}
    common |= {"task": _kind(task), "seconds": round(evaluated.evaluation_time or 0, 2)}
    common["split"] = next(iter(evaluated.scores)) if len(evaluated.scores) == 1 else ""
    results, means = [], []
    for scores in (scores for split in evaluated.scores.values() for scores in split):
        subset = scores["hf_subset"]
        if subset not in counts:
            continue
        dataset, languages = place(task, subset)
        means.append((scores["main_score"], counts[subset]))
        results += [
            EvalResult(
                **common, dataset=dataset, metric=ours(metric), value=scores[metric], n=counts[subset], **languages
            )
            for metric in dict.fromkeys((main, *_METRICS))
            if metric in scores
        ]
    if len(means) > 1:
        value, n = sum(value for value, _ in means) / len(means), sum(number for _, number in means)
        extra = {"counts": {"subsets in the mean": len(means)}}
        results.append(EvalResult(**common, dataset=task.metadata.name, metric=ours(main), value=value, n=n, **extra))
    return results


def ours(metric: str) -> str:
    """mteb's name of a metric as we write it."""
    return metric.replace("_at_", "@")


def place(task: Any, subset: str) -> tuple[str, dict[str, str]]:
    """Name of the data set and languages of a result: a subset named by languages is a cell of the language matrix."""
    name = task.metadata.name
    if subset == "default":
        return name, {}
    cell = getattr(task, "cells", {}).get(subset)
    if cell is None:
        query, _, document = subset.partition("-")
        codes = task.metadata.hf_subsets_to_langscripts[subset]
        if document and all(code.endswith("-Code") for code in codes):
            cell = (query, document)
        elif [f"{subset}-Code"] == list(codes):
            cell = ("", subset)
        else:
            return f"{name} {subset}", {}
    return name, {"query_language": cell[0], "corpus_language": cell[1]}


def _kind(task: Any) -> str:
    data = getattr(task, "data", None)
    return data.task if data is not None else str(task.metadata.type).lower()


def _domain(meta: Any, task: Any, model: str) -> str:
    """That mteb does not find a task among what a model was trained on is no proof; that it does, is one."""
    data = getattr(task, "data", None)
    domain = domain_of(model, data.name if data is not None else task.metadata.name)
    return IN_DOMAIN if domain == UNKNOWN and meta.is_zero_shot_on([task]) is False else domain
