"""Macro-F1 and accuracy as functions and as an `evaluate` module; classification.md is its card."""

from __future__ import annotations

from collections.abc import Sequence

import datasets
import evaluate
import numpy as np

_INPUTS = """
Args:
    predictions: The predicted label of each example, a string or an integer.
    references: Its true label.
"""
_CITATION = """@article{opitz2019macro,
  title={Macro F1 and Macro F1},
  author={Opitz, Juri and Burst, Sebastian},
  journal={arXiv preprint arXiv:1911.03347},
  year={2019}
}"""

Labels = Sequence[str] | Sequence[int] | np.ndarray


def macro_f1(predictions: Labels, references: Labels) -> float:
    """Mean of the F1 scores of all labels that are predicted or true somewhere, each label counting the same.

    F1 of a label is 2 TP / (number predicted + number true), so 0 for one that is never predicted or never true.

    Raises:
        ValueError: There is no example, the lengths differ, or the labels are of different types.
    """
    predicted_N, true_N = _checked(predictions, references)
    labels, numbers = np.unique(np.concatenate([predicted_N, true_N]), return_inverse=True)
    predicted_N, true_N = np.split(numbers, 2)
    hits, predicted, true = (
        np.bincount(rows, minlength=len(labels)) for rows in (true_N[predicted_N == true_N], predicted_N, true_N)
    )
    return float(np.mean(2 * hits / (predicted + true)))


def accuracy(predictions: Labels, references: Labels) -> float:
    """Share of the examples whose predicted label is the true one.

    Raises:
        ValueError: There is no example, the lengths differ, or the labels are of different types.
    """
    predicted_N, true_N = _checked(predictions, references)
    return float(np.mean(predicted_N == true_N))


def _checked(predictions: Labels, references: Labels) -> tuple[np.ndarray, np.ndarray]:
    predicted_N, true_N = np.asarray(predictions), np.asarray(references)
    if not len(true_N) or predicted_N.shape != true_N.shape or true_N.ndim != 1:
        raise ValueError(f"need one prediction a reference and at least one, got {len(predicted_N)} and {len(true_N)}.")
    if (predicted_N.dtype.kind == "U") != (true_N.dtype.kind == "U"):
        raise ValueError(
            f"predictions such as {predicted_N[0]!r} and references such as {true_N[0]!r} are labels of different "
            "types, so none would match. Give both as strings or both as integers."
        )
    return predicted_N, true_N


class ClassificationMetrics(evaluate.Metric):
    """Macro-F1 (the mean over labels of their F1 scores) and accuracy."""

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(
            description=type(self).__doc__,
            citation=_CITATION,
            inputs_description=_INPUTS,
            features=[
                datasets.Features({"predictions": datasets.Value(kind), "references": datasets.Value(kind)})
                for kind in ("string", "int64")
            ],
        )

    def _compute(self, predictions: Labels, references: Labels) -> dict[str, float]:
        return {"macro_f1": macro_f1(predictions, references), "accuracy": accuracy(predictions, references)}
