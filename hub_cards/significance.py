"""Which differences between models are noise: the paired bootstrap over queries.

Two models answered the same queries; would the difference of their means survive other queries of the same kind?
Queries are drawn with replacement, both models' values together (Efron and Tibshirani 1993, chapter 16; Sakai, SIGIR
2006, for retrieval). Values are shares, 0 to 1; words speak of points, 0 to 100.

Shape suffixes: Q = queries, R = resamples, B = resamples of a block.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

ALPHA = 0.05
# Under so few queries the bootstrap is too sure of itself.
MIN_QUERIES = 10
# Up to so many models every pair is compared; beyond it each with the best.
MAX_ALL_PAIRS = 6
_BLOCK_DRAWS = 1 << 21


@dataclass(frozen=True, slots=True)
class BootstrapResult:
    """The mean difference of two models over queries.

    Args:
        difference: Mean of the first less mean of the second.
        low: Lower end of the 95 % percentile interval of the difference.
        high: Upper end.
        p: Two-sided: how often a difference as large turns up if there is none.
        n: Queries compared.
    """

    difference: float
    low: float
    high: float
    p: float
    n: int


def paired_bootstrap(a_Q: np.ndarray, b_Q: np.ndarray, *, resamples: int = 10_000, seed: int = 0) -> BootstrapResult:
    """Compare two models on the same queries; queries where one has NaN are dropped for both.

    p is the share of resampled means that lie at least as far from the mean difference as that lies from 0 (the
    distribution shifted to no difference), the sample itself counted among them, so that it is never 0 (Davison and
    Hinkley 1997, section 4.2).

    Raises:
        ValueError: The arrays are not of one length, fewer than two queries are left, or `resamples` is below 1.
    """
    a_Q, b_Q = np.asarray(a_Q, dtype=np.float64), np.asarray(b_Q, dtype=np.float64)
    if a_Q.ndim != 1 or a_Q.shape != b_Q.shape:
        raise ValueError(
            f"values of shapes {a_Q.shape} and {b_Q.shape} are not of the same queries. Give one each a query."
        )
    if resamples < 1:
        raise ValueError(f"resamples must be at least 1, got {resamples}. 10000 is usual.")
    differences_Q = (a_Q - b_Q)[~np.isnan(a_Q - b_Q)]
    if len(differences_Q) < 2:
        raise ValueError(f"a comparison needs at least 2 queries with values of both, got {len(differences_Q)}.")
    difference = float(differences_Q.mean())
    means_R = _resampled_means(differences_Q, resamples, np.random.default_rng(seed))
    # Means of few distinct values tie often, and rounding must not decide whether a tie counts.
    slack = 1e-12 * max(1.0, float(np.abs(differences_Q).max()))
    extreme = int((np.abs(means_R - difference) >= abs(difference) - slack).sum())
    low, high = np.quantile(means_R, (ALPHA / 2, 1 - ALPHA / 2))
    return BootstrapResult(difference, float(low), float(high), (1 + extreme) / (1 + resamples), len(differences_Q))


def _resampled_means(values_Q: np.ndarray, resamples: int, generator: np.random.Generator) -> np.ndarray:
    means_R = np.empty(resamples)
    block = max(1, _BLOCK_DRAWS // len(values_Q))
    for start in range(0, resamples, block):
        shape_BQ = (min(block, resamples - start), len(values_Q))
        draws_BQ = generator.integers(0, len(values_Q), shape_BQ, dtype=np.int32)
        means_R[start : start + block] = values_Q[draws_BQ].mean(axis=1)
    return means_R


def holm(p_values: Sequence[float], tests: int | None = None) -> list[float]:
    """p-values corrected for several tests (Holm 1979), in the order given.

    Args:
        p_values: Those at hand.
        tests: Size of the family when not all its p-values are at hand; what is missing then counts as if it came
            last, which errs on the safe side.
    """
    left = max(len(p_values), tests or 0)
    adjusted, largest = [0.0] * len(p_values), 0.0
    for rank, place in enumerate(np.argsort(p_values, kind="stable")):
        largest = max(largest, min(1.0, (left - rank) * p_values[place]))
        adjusted[place] = largest
    return adjusted


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two models on one set; `first` has the higher mean over the queries that both have.

    Args:
        first: Name of the better model.
        second: Name of the other.
        result: The difference.
        p: `result.p` corrected for the comparisons of the column.
        unshared: Queries that only one of them has a value for, which were left out.
    """

    first: str
    second: str
    result: BootstrapResult
    p: float
    unshared: int

    @property
    def told(self) -> bool:
        """Whether the difference is more than noise."""
        return self.p < ALPHA

    def words(self, where: str) -> str:
        """The comparison as a sentence."""
        points = 100 * self.result.difference
        interval = f"95 % interval {_points(100 * self.result.low)} to {_points(100 * self.result.high)}"
        p = "p < 0.001" if self.p < 0.001 else f"p = {self.p:.3f}"
        left_out = f", on the {self.result.n:,} queries that both have" if self.unshared else ""
        if self.told:
            return (
                f"{self.first} is {_points(points)} points better than {self.second} on {where} "
                f"({interval}, {p}{left_out})."
            )
        return (
            f"No difference can be told between {self.first} and {self.second} on {where} "
            f"({_points(points)} points, {interval}, {p}{left_out})."
        )


def compare_models(
    scores: Mapping[str, Mapping[str, float]], *, resamples: int = 10_000, seed: int = 0
) -> list[Comparison]:
    """Compare models on one set: every pair of up to six, of more each with the best.

    p-values are Holm's over all pairs, whether or not all were compared: the best was picked by the same queries.

    Args:
        scores: Model -> query -> value; NaN is no value.
        resamples: Resamples of each comparison.
        seed: Seed of each comparison.

    Returns:
        Comparisons of models that share at least `MIN_QUERIES` queries, the best model's first.
    """
    order = sorted(scores, key=lambda model: -mean_score(scores[model]))
    results = []
    for first, second in pairs_to_compare(order):
        a, b = scores[first], scores[second]
        valued = [{query for query, value in side.items() if value == value} for side in (a, b)]
        shared = sorted(valued[0] & valued[1])
        if len(shared) < MIN_QUERIES:
            continue
        a_Q, b_Q = (np.array([side[query] for query in shared]) for side in (a, b))
        if a_Q.mean() < b_Q.mean():  # over all of its queries the first is the better one, over the shared ones not
            first, second, a_Q, b_Q = second, first, b_Q, a_Q
        result = paired_bootstrap(a_Q, b_Q, resamples=resamples, seed=seed)
        results.append((first, second, result, len(valued[0] ^ valued[1])))
    corrected = holm([result.p for _, _, result, _ in results], tests=len(order) * (len(order) - 1) // 2)
    return [
        Comparison(first, second, result, p, unshared)
        for (first, second, result, unshared), p in zip(results, corrected, strict=True)
    ]


def pairs_to_compare(models: Sequence[str]) -> list[tuple[str, str]]:
    """Every pair of up to six models, of more each with the first."""
    if len(models) <= MAX_ALL_PAIRS:
        return list(combinations(models, 2))
    return [(models[0], model) for model in models[1:]]


def mean_score(scores: Mapping[str, float]) -> float:
    """Mean over the queries that have a value, -inf if none has."""
    values = [value for value in scores.values() if value == value]
    return sum(values) / len(values) if values else -np.inf


def _points(value: float) -> str:
    digits = 1 if abs(value) >= 0.05 else 2
    return f"{round(value, digits) + 0.0:.{digits}f}"  # + 0.0 makes -0.0 plain
