"""How classification sets are learnt and scored: CodeSage's protocol (arXiv 2402.01935, appendix), by kind of task.

AdamW, linear schedule, batches of 32; a label names what was changed. The model after the last epoch counts: none is
picked by its score.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from .classification_sets import ClassificationSet
from .metrics import accuracy, macro_f1

PROBE, FINETUNE = SETTINGS = ("probe", "finetune")
METRICS = {"macro-f1": macro_f1, "accuracy": accuracy}
# What the task or the name of a set says -> kind of task; the first that fits.
_KINDS = {
    "clone": "clone",
    "complexity": "complexity",
    "runtime.?error": "runtime error",
    "defect|vulnerab": "defect",
}
# Epochs of (probe, finetune) in the paper. It has none for clones and other tasks: those take the figures of defects.
_EPOCHS = {"defect": (10, 5), "complexity": (10, 5), "runtime error": (2, 2)}
_LARGE = 1_000_000_000  # parameters from which on a model of ours has the rate of the paper's large one
_OURS = ("coderep", "codesage")


@dataclass(frozen=True)
class ClassifyProtocol:
    """How a set is learnt.

    Args:
        name: Name in the results.
        epochs: Times that each training example is seen.
        learning_rate: The first one; it falls linearly to 0.
        batch_size: Examples a step.
        max_length: Tokens read of each code.
        seeds: Number of runs, with the seeds 0, 1, ...

    Raises:
        ValueError: A number is out of range.
    """

    name: str
    epochs: int
    learning_rate: float
    batch_size: int = 32
    max_length: int = 512
    seeds: int = 3

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size", "max_length", "seeds"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}.")
        if not 0 < self.learning_rate < 1:
            raise ValueError(f"learning_rate must lie in (0, 1), got {self.learning_rate}.")

    @property
    def training(self) -> dict[str, Any]:
        """What a training function takes besides the seed."""
        return {"epochs": self.epochs, "learning_rate": self.learning_rate, "batch_size": self.batch_size}

    def label(self, published: ClassifyProtocol) -> str:
        """The name with all that differs from the published protocol of that name."""
        words = ("{} epochs", "lr {:g}", "batch {}", "{} tokens", "{} seeds")
        pairs = [(getattr(self, item.name), getattr(published, item.name)) for item in fields(self)[1:]]
        found = [(text.format(own), own) for text, (own, other) in zip(words, pairs, strict=True) if own != other]
        changes = [text.removesuffix("s") if own == 1 else text for text, own in found]
        return ", ".join([self.name, *changes])


def task_kind(data: ClassificationSet) -> str:
    """Defect, clone, complexity or runtime error, as the set's task or name says; "code" for others."""
    text = f"{data.task} {data.name}"
    return next((kind for pattern, kind in _KINDS.items() if re.search(pattern, text, re.IGNORECASE)), "code")


def published_protocol(setting: str, kind: str, learning_rate: float) -> ClassifyProtocol:
    """The paper's protocol for a kind of task; ours where the paper has none."""
    origin = "codesage" if kind in _EPOCHS else "ours"
    name = {PROBE: f"frozen probe ({origin}), standardised", FINETUNE: f"full fine-tune ({origin})"}[setting]
    return ClassifyProtocol(name, _EPOCHS.get(kind, _EPOCHS["defect"])[SETTINGS.index(setting)], learning_rate)


def finetune_rate(model: Any) -> float:
    """The paper's learning rate when all weights are tuned: of its small and base, of its large, of other models."""
    if model.config.model_type not in _OURS:
        return 5e-5
    return 5e-6 if model.num_parameters() >= _LARGE else 1e-5


def majority_scores(data: ClassificationSet) -> dict[str, float]:
    """Metric -> its value if every test example gets the commonest training label, of several the first by name."""
    counts = Counter(data.train.labels)
    commonest = max(data.classes, key=lambda name: counts[name])
    return {name: metric([commonest] * len(data.test), data.test.labels) for name, metric in METRICS.items()}


def mean_and_spread(values: Sequence[float]) -> tuple[float, float | None]:
    """Mean, and standard deviation with n - 1 below the line; one value has no spread."""
    return float(np.mean(values)), float(np.std(values, ddof=1)) if len(values) > 1 else None
