"""Arguments of the training commands from recipes, which are YAML files, and from flags, which override them."""

from collections.abc import Callable
from dataclasses import fields
from difflib import get_close_matches
from enum import Enum
from pathlib import Path
from types import UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

import yaml
from transformers import TrainingArguments

from .processes import first_speaks, is_first
from .progress import quiet_bars


def read_recipe(path: str | Path, section: str | None = None) -> dict[str, Any]:
    """Keys and values of a YAML recipe, or of one of its sections.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The file is not YAML, not a mapping, or lacks the section.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"recipe {str(path)!r} does not exist. Give a YAML file.")
    try:
        recipe = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"recipe {str(path)!r} is not valid YAML: {' '.join(str(error).split())}") from error
    if isinstance(recipe, dict) and section in recipe:
        recipe = recipe[section]
    if not isinstance(recipe, dict):
        raise ValueError(f"recipe {str(path)!r} must be a mapping of keys to values, got {type(recipe).__name__}.")
    return recipe


def check_keys(given: dict[str, Any], known: list[str], where: str) -> None:
    """Refuse unknown keys.

    Raises:
        ValueError: A key is unknown; the message names the nearest known one.
    """
    for key in given:
        if key not in known:
            close = get_close_matches(key, known, n=1)
            hint = f"Did you mean {close[0]!r}?" if close else f"Known keys: {', '.join(sorted(known))}."
            raise ValueError(f"unknown key {key!r} in {where}. {hint}")


def build_arguments(arguments_class: type, values: dict[str, Any], where: str = "the recipe") -> Any:
    """Arguments from a mapping.

    Raises:
        ValueError: A key is unknown or a value has the wrong type.
    """
    check_keys(values, [item.name for item in fields(arguments_class) if item.init], where)
    hints = get_type_hints(arguments_class)
    return arguments_class(**{name: _coerce(name, value, hints[name], where) for name, value in values.items()})


def parse_arguments(arguments_class: type, section: str, argv: list[str]) -> Any:
    """Arguments from `--config recipe.yaml` and flags `--name value`, which override it. Values are YAML.

    Raises:
        ValueError: A key or flag is unknown or has a bad value.
        FileNotFoundError: The recipe does not exist.
    """
    flags: dict[str, Any] = {}
    pending = list(argv)
    while pending:
        flag, has_value, value = pending.pop(0).partition("=")
        if not flag.startswith("--"):
            raise ValueError(f"unexpected argument {flag!r}. Flags look like --name value.")
        if not has_value:
            value = pending.pop(0) if pending and not pending[0].startswith("--") else "true"
        flags[flag[2:].replace("-", "_")] = value
    recipe = flags.pop("config", None)
    values = read_recipe(recipe, section) if recipe else {}
    known = [item.name for item in fields(arguments_class) if item.init]
    check_keys(values, known, f"recipe {recipe!r}")
    check_keys(flags, [*known, "config"], "the flags")
    hints = get_type_hints(arguments_class)
    flags = {name: _read_flag(name, value, hints[name]) for name, value in flags.items()}
    return build_arguments(arguments_class, {**values, **flags}, "the recipe and flags")


def _read_flag(name: str, value: str, hint: Any) -> Any:
    """The value of a flag: as it stands where the field takes a string, else read as YAML.

    Raises:
        ValueError: It is not valid YAML.
    """
    if str in (get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)):
        return value
    try:
        return yaml.safe_load(value)
    except yaml.YAMLError as error:
        raise ValueError(f"--{name} {value!r} is not valid YAML: {' '.join(str(error).split())}") from error


def run_command(arguments_class: type, section: str, train: Callable[[Any], Path], argv: list[str]) -> int:
    """A training command: parse, train, print the folder of the model; returns the exit code."""
    if {"-h", "--help"} & set(argv):
        print(usage(arguments_class, section))  # noqa: T201
    else:
        quiet_bars()
        with first_speaks():
            model = train(parse_arguments(arguments_class, section, argv))
        if is_first():
            print(model)  # noqa: T201
    return 0


def usage(arguments_class: type, section: str) -> str:
    """Help text of a training command."""
    inherited = {item.name for item in fields(TrainingArguments)}
    lines = [
        f"usage: coderep train {section} --config recipe.yaml [--name value ...]",
        "",
        "Keys of the recipe, also flags (besides every field of transformers.TrainingArguments):",
    ]
    for item in fields(arguments_class):
        if item.name not in inherited:
            text = item.metadata.get("help", "")
            lines.append(f"  --{item.name:<22} {text}{' ' if text else ''}(default: {item.default})")
    return "\n".join(lines)


def _coerce(name: str, value: Any, hint: Any, where: str) -> Any:
    """The value as the type that the field asks for, as far as YAML leaves a choice (`3e-4` is a string to it)."""
    kinds = get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)
    if value is None or bool in kinds and isinstance(value, bool):
        return value
    if value is False and any(kind is str or isinstance(kind, type) and issubclass(kind, Enum) for kind in kinds):
        return "no"  # YAML reads a bare `no` as false
    numeric = isinstance(value, (int, float, str)) and not isinstance(value, bool)
    for kind in (int, float):
        if kind in kinds and numeric:
            try:
                number = float(value)
            except ValueError:
                continue
            if kind is float or number.is_integer():
                return kind(number)
    plain = [kind for kind in kinds if isinstance(kind, type)]
    if len(plain) != len(kinds) or isinstance(value, tuple(plain)) or any(issubclass(kind, Enum) for kind in plain):
        return value
    if str in kinds and numeric:
        return str(value)
    wanted = " or ".join(kind.__name__ for kind in plain if kind is not type(None))
    raise ValueError(f"{name} in {where} must be {wanted}, got {value!r}.")
