"""How a model was trained, from the records of its stages: a table to read, and the whole recipe to fold out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .markdown import code, count, folded, json_block, md, table

# What a reader looks for first; the rest follows as the record has it.
_FIRST = (
    *("model_config.preset", "model_config.num_hidden_layers", "model_config.hidden_size"),
    *("model_config.num_attention_heads", "max_length", "max_text_length", "max_code_length"),
    *("per_device_train_batch_size", "gradient_accumulation_steps", "max_steps", "num_train_epochs", "learning_rate"),
    *("lr_scheduler_type", "warmup_steps", "warmup_ratio", "weight_decay", "max_grad_norm", "optim", "bf16", "fp16"),
    *("temperature", "loss", "hard_positive_rate", "weight_norm", "matryoshka_dims", "mini_batch_tokens"),
)
# How a run was watched and kept, not how it learned.
_ASIDE = (
    "logging_",
    "log_",
    "save_",
    "eval_",
    "report_to",
    "run_name",
    "project",
    "hub_",
    "push_to_hub",
    "dataloader_",
)
_MOST_STAGES, _MOST_ROWS = 4, 24


def clean_recipe(recipe: dict[str, Any]) -> dict[str, Any]:
    """A recipe without folders of the machine: of a path only its last part stays."""
    return {str(key): _clean(value) for key, value in recipe.items() if str(key) != "hub_token"}


def _clean(value: Any) -> Any:
    if isinstance(value, dict):
        return clean_recipe(value)
    if isinstance(value, (list, tuple)):
        return [_clean(item) for item in value]
    if isinstance(value, str) and (value.startswith(("/", "~", "\\\\")) or value[1:3] in (":\\", ":/")):
        return value.replace("\\", "/").rstrip("/").rpartition("/")[2]
    return value


def _flat(recipe: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in recipe.items():
        if isinstance(value, dict) and value:
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def recipe_words(stages: Sequence[dict[str, Any]]) -> str:
    """Table of hyper-parameters of all stages, and the whole recipe of each, folded."""
    shown = list(stages)[-_MOST_STAGES:]
    recipes = [_flat(clean_recipe(stage["recipe"])) for stage in shown]
    keys = list(dict.fromkeys(key for recipe in recipes for key in recipe if not key.startswith(_ASIDE)))
    keys.sort(key=lambda key: _FIRST.index(key) if key in _FIRST else len(_FIRST))
    rows = [
        ["parameters", *(_number(stage.get("parameters")) for stage in shown)],
        ["tokens read", *(_number(stage.get("tokens")) for stage in shown)],
        *([_label(key), *(_value(recipe.get(key)) for recipe in recipes)] for key in keys[:_MOST_ROWS]),
        ["seed", *(_value(stage.get("seed")) for stage in shown)],
        ["last loss", *(_last_loss(stage) for stage in shown)],
    ]
    rows = [row for row in rows if set(row[1:]) != {"-"}]
    parts = [table(["", *(md(stage["name"]) for stage in shown)], rows)] if rows else []
    parts.append(_rest(shown, len(keys) - _MOST_ROWS))
    parts += [_whole(stage) for stage in stages]
    return "\n\n".join(parts)


def _rest(stages: Sequence[dict[str, Any]], more: int) -> str:
    versions = stages[-1].get("versions") or {}
    names = [f"{name} {versions[name]}" for name in ("coderep", "transformers") if name in versions]
    words = f"What is not listed has the default of {md(' and '.join(names) or 'the versions below')}."
    return words if more <= 0 else f"{words} {count(more)} more options are in the whole recipes."


def _whole(stage: dict[str, Any]) -> str:
    parts = [json_block(clean_recipe(stage["recipe"]))]
    versions = [f"{name} {version}" for name, version in (stage.get("versions") or {}).items()]
    if versions:
        parts.append(f"Versions: {md(', '.join(versions), longest=None)}.")
    if stage.get("git_sha"):
        parts.append(f"Commit of coderep: {code(stage['git_sha'])}.")
    return folded(f"The whole recipe of {md(stage['name'])}", "\n\n".join(parts))


def _label(key: str) -> str:
    return md(key.replace("model_config.", "model: ").replace("_", " "))


def _value(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:g}"
    return md(", ".join(map(str, value)) if isinstance(value, list) else value)


def _number(value: Any) -> str:
    return count(value) if value else "-"


def _last_loss(stage: dict[str, Any]) -> str:
    losses = [entry["loss"] for entry in stage.get("log") or [] if isinstance(entry.get("loss"), (int, float))]
    return f"{losses[-1]:.3f}" if losses else "-"
