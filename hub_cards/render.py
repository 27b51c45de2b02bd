"""Model cards from the records of a run: run.json and results of evaluations. Nothing is computed anew."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from .data_words import contamination_words, filter_words, language_names, source_words, split_table
from .footprint import Power, cost_words, emissions
from .leakage_words import leakage_words, read_leakage
from .licenses import license_words
from .lineage import RUN, Lineage, read_record, trace
from .markdown import code, count, folded, listed, md
from .metadata import LICENSE, UNKNOWN, check_card, check_repo, is_repo, model_metadata
from .model_facts import ModelFacts, read_facts
from .model_words import NO_DATA, handling_words, intro_words, last_kind, purpose_words
from .recipe_words import recipe_words
from .score_words import score_words
from .scores import Scores, read_scores
from .usage import model_usage
from .weaknesses import weaknesses

__all__ = ["CardOptions", "fill_template", "model_card", "read_record", "render_card"]

RESULTS = "results.json"
_MODELS = ("checkpoint", "model")  # where the model of a run lies: exported, or as it was saved
_KINDS = {"pairs": "Text-code pairs", "stage1": "Documents of code", "labels": "Labelled code"}
_TOKEN = re.compile(r"\bhf_[A-Za-z0-9]{16,}")


@dataclass(frozen=True)
class CardOptions:
    """What a model card says that no record holds.

    Args:
        repo: Name on the Hub, for the code that uses the model; default: the model's name.
        license: What the Hub calls the licence of the weights; default: that of the model that training started from
            where its card is at hand, "unknown" where it is not; ours where training started from nothing.
        base_model: Repo on the Hub that training started from, where the record does not tell.
        datasets: Repos on the Hub with the training data.
        power: For the energy that training took.
        called: What results call this model, where they name no folder of the run.
        export: Folder to be published; default: the run's `checkpoint` or `model`. The card shows how to use what is in
            it.
        local: Whether `repo` is a folder on this machine, for the code that uses the model.
        leakage: What `coderep eval leakage --output` wrote of the training data.

    Raises:
        ValueError: A name of a repo is none.
    """

    repo: str | None = None
    license: str | None = None
    base_model: str | None = None
    datasets: tuple[str, ...] = ()
    power: Power | None = None
    called: tuple[str, ...] = ()
    export: Path | None = None
    local: bool = False
    leakage: str | Path | None = None

    def __post_init__(self) -> None:
        for repo in (None if self.local else self.repo, self.base_model, *self.datasets):
            if repo is not None:
                check_repo(repo)


def render_card(
    run_dir: str | Path,
    name: str | None = None,
    *,
    results: Sequence[str | Path] = (),
    options: CardOptions | None = None,
) -> str:
    """The text of a model card.

    Args:
        run_dir: Folder with run.json and, if the model was evaluated, results.json. Where training started from the
            model of another run, that run's record is read too.
        name: Model name; default: the repo's, the record's or the folder's.
        results: Further files of results, or folders of them. Of numbers of the same thing the last stays.
        options: What no record holds.

    Raises:
        FileNotFoundError: The folder holds no run.json, or a file of results does not exist.
        ValueError: A record is not JSON, lacks what it must hold, or is not of this model; a report of leakage is none.
    """
    from .eval_results import find_results

    run_dir, options = Path(run_dir), options or CardOptions()
    if name and options.repo is None and is_repo(name):
        options = replace(options, repo=name)
    lineage = trace(run_dir)
    named = read_record(run_dir / RUN).get("name")
    name = name or (options.repo or "").rpartition("/")[2] or named or run_dir.resolve().name
    paths = [run_dir / RESULTS] if (run_dir / RESULTS).is_file() else []
    paths += find_results([str(path) for path in results])
    also = [*options.called, *([options.repo] if options.repo else [])]
    scores = read_scores(paths, name, run_dir, also, _shipped(paths))
    places = [options.export, *(run_dir / folder for folder in _MODELS)]
    found = next((place for place in places if place and (place / "config.json").is_file()), None)
    return model_card(lineage, name, scores, options, read_facts(found))


def model_card(
    lineage: Lineage,
    name: str,
    scores: Scores | None = None,
    options: CardOptions | None = None,
    facts: ModelFacts | None = None,
) -> str:
    """The text of a model card from records at hand, as while a run goes on.

    Args:
        lineage: Records of the run and of those before it; each has `recipe` and `data`.
        name: Of the model.
        scores: Its numbers and those of others.
        options: What no record holds.
        facts: What it is; default: an encoder of ours.

    Raises:
        ValueError: The metadata would not be valid.
    """
    options, facts = options or CardOptions(), facts or ModelFacts()
    scores = scores or read_scores([], name)
    stages, last = lineage.stages, lineage.stages[-1]
    facts = replace(facts, inputs=last["data"].get("inputs", facts.inputs))
    base = options.base_model or lineage.base_model
    from_elsewhere = base is not None or lineage.unrecorded
    license = options.license or lineage.license or (UNKNOWN if from_elsewhere else LICENSE)
    metadata = model_metadata(
        name,
        stages,
        scores.own_rows,
        facts=facts,
        base_model=base,
        datasets=options.datasets,
        license=license,
        emissions=emissions(stages, options.power),
    )
    card = fill_template(
        "model_card.md.jinja",
        metadata=metadata.to_yaml(),
        name=name,
        kind=last_kind(stages),
        intro=intro_words(facts, stages, _start_words(base, lineage)),
        usage=model_usage(options.repo or name, facts, local=options.local),
        handling=handling_words(facts, stages),
        evaluation=score_words(scores),
        recipe=recipe_words(stages),
        data=_data_words(stages),
        leakage=leakage_words(read_leakage(options.leakage)) if options.leakage else "",
        cost=cost_words(stages, options.power),
        purpose=purpose_words(facts, listed([md(word) for word in language_names([one["data"] for one in stages])])),
        weaknesses=weaknesses(scores),
        license=license,
        version=(last.get("versions") or {}).get("coderep"),
    )
    check_card(card)
    return card


def _shipped(paths: Sequence[Path]) -> list[str]:
    """Models that results themselves mark as the one of their run."""
    rows = [row for path in paths for row in json.loads(path.read_text(encoding="utf-8")).get("results") or []]
    return list(dict.fromkeys(str(row["model"]) for row in rows if row.get("shipped") and "model" in row))


def _start_words(base: str | None, lineage: Lineage) -> str:
    if base:
        return f"Training started from [`{base}`](https://huggingface.co/{base}), whose licence and limits still apply."
    licensed = f", whose licence is {code(lineage.license)}" if lineage.license else ""
    return f"Training started from a checkpoint of which no record is left{licensed}." if lineage.unrecorded else ""


def _data_words(stages: Sequence[dict[str, Any]]) -> str:
    """The data of each stage; licences once for stages that read the same sources."""
    parts, seen = [], None
    for stage in stages:
        data = stage["data"]
        if data.get("kind") == NO_DATA:
            continue
        kind = _KINDS.get(str(data.get("kind")), "Rows")
        mark = f" (fingerprint {code(data['fingerprint'])})" if data.get("fingerprint") else ""
        parts.append(f"### Data of {md(stage['name'])}")
        parts.append(f"{kind} from {source_words(data)}{mark}.")
        parts.append(split_table(data))
        filters = filter_words(data)
        parts.append(folded("What each filter left out", filters) if filters else "")
        if data.get("repositories") != seen or seen is None:
            parts.append(license_words(data))
        else:
            parts.append("Sources and licences are those of the stage before.")
        parts.append(contamination_words(data))
        seen = data.get("repositories")
    return "\n\n".join(part for part in parts if part)


def fill_template(template: str, **values: Any) -> str:
    """A file of `templates/` with its values filled in; a value that it needs and does not get is an error.

    What looks like a token of the Hub is struck out, wherever it came from.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("hub_cards"), undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {
        "percent": lambda value: f"{100 * value:.1f}",
        "thousands": count,
        "md": md,
        "code": code,
    }
    text = environment.get_template(template).render(**values)
    text = re.sub(r"\n{3,}", "\n\n", text).rstrip("\n") + "\n"
    return _TOKEN.sub("hf_***", text)
