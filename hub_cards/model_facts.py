"""What a saved model is, from the JSON files in its folder: what its export, its card and its check have to know.

A model of ours brings its code along and embeds texts by itself. Any other is one of transformers' own: whoever uses it
pools the states of its tokens, in the way that its config names under `pooling` (the mean where it names none).
"""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

CODEREP, MEAN = "coderep", "mean"
_HEAD = "ForSequenceClassification"
_SETTINGS = "config_sentence_transformers.json"
_BOUND = 10**9  # tokenizers without a limit name a number beyond
_DTYPES = {"BF16": "bfloat16", "F16": "float16", "F32": "float32"}


@dataclass(frozen=True)
class ModelFacts:
    """A saved model, without its weights.

    Args:
        kind: What transformers calls its architecture, `model_type`.
        architecture: Name of its class; "" if its config names none.
        pooling: What makes an embedding of its tokens' states: "mean", "cls" or "last".
        prompts: Side of a pair ("text" or "code") -> what its texts begin with.
        labels: Classes of a classifier by number; none of an encoder.
        inputs: Codes that a classifier is asked about: 2 if about pairs.
        max_length: Longest text in tokens; None if any.
        stored: In what the weights are stored, such as "bfloat16"; "" if there are none or of several kinds.
        onnx: ONNX files, relative, the smallest first.
    """

    kind: str = CODEREP
    architecture: str = ""
    pooling: str = MEAN
    prompts: dict[str, str] = field(default_factory=dict)
    labels: tuple[str, ...] = ()
    inputs: int = 1
    max_length: int | None = None
    stored: str = ""
    onnx: tuple[str, ...] = ()

    @property
    def own_code(self) -> bool:
        """Whether the model's code lies in its folder, and `trust_remote_code` is needed to run it."""
        return self.kind == CODEREP

    @property
    def classifies(self) -> bool:
        """Whether it is a classifier."""
        return bool(self.labels)


def read_facts(folder: str | Path | None) -> ModelFacts:
    """The facts of the model in a folder; those of an encoder of ours where there is none."""
    if folder is None or not Path(folder, "config.json").is_file():
        return ModelFacts()
    folder = Path(folder)
    config = _read(folder / "config.json")
    architecture = str((config.get("architectures") or [""])[0])
    longest = _read(folder / "tokenizer_config.json").get("model_max_length")
    return ModelFacts(
        kind=str(config.get("model_type")),
        architecture=architecture,
        pooling=config.get("pooling") or MEAN,
        prompts=_prompts(_read(folder / _SETTINGS)),
        labels=_labels(config) if architecture.endswith(_HEAD) else (),
        inputs=config.get("classifier_inputs", 1),
        max_length=int(longest) if longest and longest < _BOUND else None,
        stored=stored_dtype(folder),
        onnx=tuple(onnx_files(folder)),
    )


def is_classifier(config: dict[str, Any]) -> bool:
    """Whether a config is of a classifier."""
    return str((config.get("architectures") or [""])[0]).endswith(_HEAD)


def onnx_files(folder: str | Path | None) -> list[str]:
    """ONNX files of an exported checkpoint, relative, the smallest first; none without one."""
    found = list(Path(folder).glob("onnx/*.onnx")) if folder else []
    return [f"onnx/{path.name}" for path in sorted(found, key=lambda path: (path.stat().st_size, path.name))]


def stored_dtype(folder: Path) -> str:
    """In what the weights of a folder are stored; "" if there are none, or if they differ."""
    kinds = {kind for path in folder.glob("*.safetensors") for kind in _kinds(path)}
    return _DTYPES.get(kinds.pop(), "") if len(kinds) == 1 else ""


def _kinds(path: Path) -> set[str]:
    """Kinds of the floating-point tensors of a safetensors file, from its head: a length, then JSON."""
    try:
        with path.open("rb") as file:
            (size,) = struct.unpack("<Q", file.read(8))
            head = json.loads(file.read(size))
    except (struct.error, ValueError):
        return {""}  # whoever loads it says what is wrong with it
    return {entry["dtype"] for name, entry in head.items() if name != "__metadata__" and entry["dtype"] in _DTYPES}


def _labels(config: dict[str, Any]) -> tuple[str, ...]:
    names = config.get("id2label") or {"0": "LABEL_0", "1": "LABEL_1"}  # transformers leaves out its default
    return tuple(str(names[number]) for number in sorted(names, key=int))


def _prompts(settings: dict[str, Any]) -> dict[str, str]:
    if not any((settings.get("prompts") or {}).values()):
        return {}
    from trainers.sentence_folder import chosen_prompts  # brings torch: only for the few models that have prompts

    return chosen_prompts(settings)


def _read(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
