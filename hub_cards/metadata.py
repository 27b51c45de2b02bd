"""The metadata block of model cards, and its check: https://github.com/huggingface/hub-docs/blob/main/modelcard.md."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from .data_words import language_names
from .eval_results import Result
from .eval_words import metric_name
from .model_facts import ModelFacts
from .model_words import NO_DATA, last_kind

LICENSE, UNKNOWN = "apache-2.0", "unknown"  # "unknown" is an entry of the Hub's list
_TAGS = ("code", "coderep")
_STAGE1, _LABELS = "stage1", "labels"
_SEARCH_TAGS = ("code-search", "sentence-similarity", "feature-extraction", "sentence-transformers")
# Part of a task's name -> what the Hub calls such a task.
_TASKS = {
    "retrieval": "text-retrieval",
    "search": "text-retrieval",
    "rerank": "text-ranking",
    "classification": "text-classification",
    "detection": "text-classification",
    "similarity": "sentence-similarity",
    "sts": "sentence-similarity",
    "perplexity": "fill-mask",
    "masked": "fill-mask",
}
_METRICS = {"macro-f1": "f1"}
_REPO = re.compile(r"[\w][\w.-]*/[\w][\w.-]*", re.ASCII)


def model_metadata(
    name: str,
    stages: Sequence[dict[str, Any]],
    results: Sequence[Result] = (),
    *,
    facts: ModelFacts | None = None,
    base_model: str | None = None,
    datasets: Sequence[str] = (),
    license: str = LICENSE,
    emissions: dict[str, Any] | None = None,
) -> Any:
    """Metadata of a model card, as `huggingface_hub.ModelCardData`.

    Args:
        name: Of the model.
        stages: Records of its runs, the last one last.
        results: Its own numbers; all of them become the model index.
        facts: What it is; default: an encoder of ours.
        base_model: Repo on the Hub that the first stage started from.
        datasets: Repos on the Hub with its training data.
        license: What the Hub calls the licence of the weights.
        emissions: The Hub's `co2_eq_emissions`.

    Raises:
        ValueError: `base_model` or one of `datasets` is no name of a repo.
    """
    from huggingface_hub import ModelCardData

    for repo in [*datasets, *([base_model] if base_model else [])]:
        check_repo(repo)
    facts = facts or ModelFacts()
    kinds = {str(stage["data"].get("kind")) for stage in stages}
    tag, more = _purpose(facts, last_kind(stages))
    data = [stage["data"] for stage in stages]
    extra = {"base_model_relation": "finetune"} if base_model else {}
    if emissions:
        extra["co2_eq_emissions"] = emissions
    return ModelCardData(
        model_name=_line(name),
        license=license,
        library_name="transformers",
        pipeline_tag=tag,
        language=["code", *(["en"] if kinds - {_STAGE1, _LABELS, NO_DATA} else [])],
        tags=[*_TAGS, *more, *([] if facts.own_code else [facts.kind]), *map(_line, language_names(data))],
        datasets=list(dict.fromkeys([*datasets, *hub_sources(data)])) or None,
        base_model=base_model,
        eval_results=eval_results(results) or None,
        **extra,
    )


def _purpose(facts: ModelFacts, kind: str) -> tuple[str, tuple[str, ...]]:
    """The Hub's name for what a model does, and the tags that go with it."""
    if facts.classifies or kind == _LABELS:
        return "text-classification", ()
    return ("fill-mask", ()) if kind == _STAGE1 else ("feature-extraction", _SEARCH_TAGS)


def hub_sources(records: Sequence[dict[str, Any]]) -> list[str]:
    """Data sets on the Hub among the sources of data: `hub:owner/name@revision` as owner/name."""
    names = [str(source) for stats in records for source in stats.get("sources") or []]
    found = [name.removeprefix("hub:").partition("@")[0] for name in names if name.startswith("hub:")]
    return [name for name in dict.fromkeys(found) if is_repo(name)]


def is_repo(name: str) -> bool:
    """Whether a name has the form owner/name."""
    return _REPO.fullmatch(name) is not None


def check_repo(repo: str) -> None:
    """Refuse what is no name of a repo on the Hub.

    Raises:
        ValueError: It is not owner/name, or name alone.
    """
    if not re.fullmatch(r"(?:[\w.-]+/)?[\w.-]+", repo, re.ASCII):
        raise ValueError(f"a repo on the Hub is called owner/name, got {repo!r}.")


def eval_results(results: Sequence[Result]) -> list[Any]:
    """Numbers for a model index, as `huggingface_hub.EvalResult`: a protocol is a configuration of its set.

    The Hub's client puts results of one task, set, configuration, split and revision together, and keeps the arguments
    of the first alone. So what tells two numbers apart is in the configuration too.
    """
    from huggingface_hub import EvalResult

    return [
        EvalResult(
            task_type=task_type(row.task),
            task_name=_line(row.task),
            dataset_type=_dataset_type(row.dataset),
            dataset_name=_line(row.dataset),
            dataset_config=_config(row),
            dataset_split=_line(row.split) or _split(row.dataset),
            dataset_revision=_line(row.revision) or None,
            dataset_args=_arguments(row),
            metric_type=_METRICS.get(row.metric, _line(row.metric)),
            metric_value=round(row.value, 5),
            metric_name=_line(f"{metric_name(row.metric)} ({_config(row)}, n={row.n})"),
            metric_args={"protocol": _line(row.protocol), "n": row.n, **({"std": row.spread} if row.spread else {})},
        )
        for row in results
    ]


def task_type(task: str) -> str:
    """What the Hub calls a task."""
    return next((kind for word, kind in _TASKS.items() if word in task.lower()), "feature-extraction")


def _arguments(row: Result) -> dict[str, Any]:
    named = {"query_language": row.query_language, "corpus_language": row.corpus_language}
    named = {key: _line(value) for key, value in named.items() if value}
    return {"protocol": _line(row.protocol), **named, "domain": row.domain}


def _config(row: Result) -> str:
    cell = f", {row.query_language or 'text'} to {row.corpus_language or 'all'}" if row.is_cell else ""
    return _line(f"{row.protocol}{cell}")


def _dataset_type(name: str) -> str:
    """The repo that a name is, else the name in the form of one."""
    if _REPO.fullmatch(name):
        return name
    return re.sub(r"[^\w.-]+", "-", name, flags=re.ASCII).strip("-.").lower() or "unnamed"


def _split(name: str) -> str | None:
    """The split that a set's name ends with, for results that name none; None if it ends with no split."""
    last = re.split(r"[\W_]+", name.lower())[-1]
    return last if last in ("train", "test", "dev", "valid", "validation") else None


def _line(text: str) -> str:
    return " ".join(str(text).split())


def check_card(text: str, repo_type: str = "model", *, online: bool = False) -> None:
    """Refuse a card whose metadata huggingface_hub cannot read, or would write otherwise.

    Args:
        text: The whole README.md.
        repo_type: "model" or "dataset".
        online: Ask the Hub too (`HF_ENDPOINT`), whose rules are not part of the client. The card leaves the machine.

    Raises:
        ValueError: The metadata are not valid; the message says why.
    """
    from huggingface_hub import DatasetCard, ModelCard
    from huggingface_hub.repocard_data import model_index_to_eval_results
    from yaml import YAMLError

    card_class = ModelCard if repo_type == "model" else DatasetCard
    try:
        card = card_class(text)
        data = card.data.to_dict()
        if "model-index" in data:
            model_index_to_eval_results(data["model-index"])
        again = card_class(f"---\n{card.data.to_yaml()}\n---\n").data.to_dict()
    except (KeyError, TypeError, ValueError, YAMLError) as error:
        raise ValueError(f"the card's metadata cannot be read: {error} Render it again.") from error
    if not data:
        raise ValueError("the card has no metadata at its top. Render it again.")
    if again != data:
        raise ValueError("the card's metadata change when they are written again. Render it again.")
    if online:
        card.validate(repo_type)
