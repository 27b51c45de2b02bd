"""Arguments of the training commands: HF's TrainingArguments plus what the recipe adds.

A recipe is a YAML file with these names as keys; flags override it.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, fields
from difflib import get_close_matches
from enum import Enum
from pathlib import Path
from types import UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

import torch
import yaml
from transformers import TrainingArguments

from .processes import first_speaks, is_first
from .progress import quiet_bars


@dataclass
class StageArguments(TrainingArguments):
    """What both stages share."""

    data: str | None = field(default=None, metadata={"help": "Data set folder made by `coderep data ...`."})
    tokenizer: str | None = field(default=None, metadata={"help": "Tokenizer folder; default: the model's own."})
    model: str | None = field(default=None, metadata={"help": "Checkpoint to start from; default: a new model."})
    # Without it, transformers refuses bf16 on CPUs, and processes started by torchrun there would not meet.
    use_cpu: bool = field(default_factory=lambda: not torch.accelerator.is_available())
    ddp_find_unused_parameters: bool | None = False  # there are none, and looking for them takes time in every step
    # CPUs train as fast with one process; workers would re-import torch each.
    dataloader_num_workers: int = 0
    dataloader_pin_memory: bool = field(default_factory=torch.cuda.is_available)
    remove_unused_columns: bool = False
    report_to: str | list[str] | None = "none"
    save_total_limit: int | None = 2
    logging_steps: float = 20


@dataclass
class MlmArguments(StageArguments):
    """Stage 1. The meaning of the masking options is `MixedMaskingCollator`'s."""

    model_config: dict | None = field(
        default=None, metadata={"help": "Fields of CodeRepConfig for a new model; preset: NAME starts from a size."}
    )
    max_length: int = field(default=1024, metadata={"help": "Tokens per packed row."})
    objective: str = field(default="parallel", metadata={"help": "parallel, random, dobf or sequential."})
    dobf_probability: float = 0.5
    mlm_rate: float = 0.15
    mlm_rate_max: float | None = field(default=None, metadata={"help": "Makes the rate dynamic, up to this."})
    identifier_share: float = 0.5
    mask_share: float = 1.0
    random_share: float = 0.0
    language_weights: dict | None = field(
        default=None, metadata={"help": "Language -> how often its documents come in an epoch, on average."}
    )
    streaming: bool = field(default=False, metadata={"help": "Read the data while training; needs max_steps."})
    eval_passes: int = field(default=7, metadata={"help": "Passes of the pseudo-perplexity (with --eval_strategy)."})
    eval_documents: int = field(default=64, metadata={"help": "Held-out documents of each language it is over."})


@dataclass
class TaskArguments(StageArguments):
    """What training on pairs and on labels shares: data of users' own, and adapters."""

    columns: str | dict | None = field(
        default=None, metadata={"help": "Names of your data's columns, as in: text=query code=func."}
    )
    lora_rank: int | None = field(default=None, metadata={"help": "Train low-rank adapters instead of all weights."})
    lora_alpha: float | None = field(default=None, metadata={"help": "Scale of the adapters; default: twice the rank."})
    lora_dropout: float = 0.0
    lora_targets: str | list = field(
        default="auto", metadata={"help": "Linear layers with adapters: auto is all of attention and feed-forward."}
    )


@dataclass
class ContrastiveArguments(TaskArguments):
    """Stage 2. The meaning of the options is `PairCollator`'s and that of the losses in `trainers.losses`."""

    loss: str = field(default="bimodal", metadata={"help": "bimodal, or unimodal: two dropout views of each side."})
    mini_batch_tokens: int | None = field(
        default=None, metadata={"help": "Tokens in memory at once (gradient caching); without, a whole batch."}
    )
    max_text_length: int = field(default=128, metadata={"help": "Longest text in tokens; the rest is cut."})
    max_code_length: int = field(default=1024, metadata={"help": "Longest code in tokens; the rest is cut."})
    hard_positive_rate: float = field(default=1.0, metadata={"help": "Share of pairs that show a code in part."})
    hard_positive_drop: list | None = field(
        default=None, metadata={"help": "What such a code lacks, of signature, return, docstring (default: all)."}
    )
    hard_negatives: bool = field(default=True, metadata={"help": "Weight negatives by how near they are."})
    weight_norm: str = field(default="mean", metadata={"help": "These weights have mean 1, or (sum) sum 1."})
    detach_weights: bool = field(default=False, metadata={"help": "No gradients through these weights."})
    max_negatives: int = field(default=4, metadata={"help": "Most mined negatives of a pair, where the data has any."})
    temperature: float = field(default=0.05, metadata={"help": "Divides cosines."})
    matryoshka_dims: list | None = field(
        default=None, metadata={"help": "Widths whose losses are added up, such as [128, 256, 768]."}
    )
    eval_pairs: int = field(default=512, metadata={"help": "Held-out pairs of each language (with --eval_strategy)."})

    def __post_init__(self) -> None:
        """Refuse what cannot be meant.

        Raises:
            ValueError: An option is out of range or contradicts another.
        """
        if self.loss not in ("bimodal", "unimodal"):
            raise ValueError(f"loss must be bimodal or unimodal, got {self.loss!r}.")
        if self.temperature <= 0:
            raise ValueError(f"temperature must be positive, got {self.temperature}.")
        if self.eval_pairs < 2:
            raise ValueError(f"eval_pairs must be at least 2, got {self.eval_pairs}: one pair has no other to beat.")
        longest = max(("max_code_length", "max_text_length"), key=lambda name: getattr(self, name))
        if self.mini_batch_tokens is not None and self.mini_batch_tokens < getattr(self, longest):
            raise ValueError(
                f"mini_batch_tokens={self.mini_batch_tokens} is less than one text may have, "
                f"{longest}={getattr(self, longest)}. Raise the one or lower the other."
            )
        dims = self.matryoshka_dims or []
        if any(not isinstance(width, int) or width < 1 for width in dims) or len(set(dims)) < len(dims):
            raise ValueError(f"matryoshka_dims must be different whole numbers from 1, got {dims}.")
        if self.load_best_model_at_end and self.metric_for_best_model is None:
            self.metric_for_best_model = "mrr"  # transformers would look for a loss
        super().__post_init__()


@dataclass
class ClassifyArguments(TaskArguments):
    """Classification. What is not given is as in CodeSage's paper, by kind of task and size of the model."""

    freeze_encoder: bool = field(default=False, metadata={"help": "Train the head alone: a linear probe."})
    max_length: int = field(default=512, metadata={"help": "Tokens read of each code."})
    test_share: float = field(
        default=0.1, metadata={"help": "Share held out to be scored on, where the data have no split of their own."}
    )
    learning_rate: float | None = field(default=None, metadata={"help": "The first one; default: the paper's."})
    num_train_epochs: float | None = field(default=None, metadata={"help": "Default: the paper's."})
    per_device_train_batch_size: int = 32


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
