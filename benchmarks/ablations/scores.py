"""From results to the numbers of the ablation table: scores of a run, means over seeds, differences between variants.

Pure functions; scores are shares, 0 to 1. The columns are those of table 3 of arXiv 2402.01935.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from statistics import fmean, stdev

from trainers.evaluation.sets import TEXT_TO_CODE
from trainers.records import EvalResult

NL2CODE, IN_LANGUAGE, CROSS_LANGUAGE = "NL2Code, MRR", "Code2Code in-language, MAP", "Code2Code cross-language, MAP"
COLUMNS = (NL2CODE, IN_LANGUAGE, CROSS_LANGUAGE)
SHORT_MASK = "_80_10_10"  # variants are named after the objective; this says how predicted tokens are shown
# 97.5 % quantiles of Student's t with 1, 2, ... degrees of freedom. With more the last one errs on the safe side.
_T = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262)

Scores = Mapping[str, Mapping[int, float]]  # variant -> seed -> score


def set_scores(results: Sequence[EvalResult]) -> dict[str, dict[str, float]]:
    """Column -> set -> score of one model.

    Text-to-code sets give the MRR over all queries. Code-to-code sets whose queries rank documents in other languages
    give the mean of MAP over the pairs of unlike languages, each pair counting alike; others the MAP over all queries.
    """
    found: dict[str, dict[str, float]] = {}
    for name in dict.fromkeys(result.dataset for result in results):
        own = [result for result in results if result.dataset == name]
        whole = {result.metric: result.value for result in own if not result.corpus_language}
        unlike = [result.value for result in own if result.metric == "map" and _is_unlike(result)]
        if own[0].task == TEXT_TO_CODE:
            found.setdefault(NL2CODE, {})[name] = whole["mrr"]
        elif unlike:
            found.setdefault(CROSS_LANGUAGE, {})[name] = fmean(unlike)
        else:
            found.setdefault(IN_LANGUAGE, {})[name] = whole["map"]
    return found


def _is_unlike(result: EvalResult) -> bool:
    languages = result.query_language, result.corpus_language
    return all(languages) and languages[0] != languages[1]


def column_scores(results: Sequence[EvalResult]) -> dict[str, float]:
    """Column -> mean over its sets, of one model."""
    return {column: fmean(sets.values()) for column, sets in set_scores(results).items()}


def mean_and_spread(values: Sequence[float]) -> tuple[float, float | None]:
    """Mean and standard deviation (n - 1) over seeds; None of a single one."""
    return fmean(values), stdev(values) if len(values) > 1 else None


@dataclass(frozen=True, slots=True)
class Difference:
    """Two variants in one column, compared seed by seed: a seed fixes initial weights and order of the data.

    Args:
        column: Where.
        first: Name of the better variant.
        second: Name of the other.
        mean: Mean over seeds of the first's score less the second's.
        spread: Standard deviation of that over seeds; None with a single seed.
        half_width: Half of the 95 % interval of the mean (Student's t); None with a single seed.
        seeds: Seeds that both have.
    """

    column: str
    first: str
    second: str
    mean: float
    spread: float | None
    half_width: float | None
    seeds: int

    @property
    def told(self) -> bool:
        """Whether the difference is beyond the spread over seeds: its interval leaves out 0."""
        return self.half_width is not None and abs(self.mean) > self.half_width


def compare(column: str, scores: Scores, first: str, second: str) -> Difference | None:
    """The difference of two variants over the seeds that both have; None if they share none."""
    seeds = sorted(scores[first].keys() & scores[second].keys())
    if not seeds:
        return None
    gaps = [scores[first][seed] - scores[second][seed] for seed in seeds]
    if fmean(gaps) < 0:
        first, second, gaps = second, first, [-gap for gap in gaps]
    mean, spread = mean_and_spread(gaps)
    half = None if spread is None else t_quantile(len(gaps) - 1) * spread / math.sqrt(len(gaps))
    return Difference(column, first, second, mean, spread, half, len(gaps))


def t_quantile(freedom: int) -> float:
    """97.5 % quantile of Student's t; above 9 degrees of freedom that of 9."""
    return _T[min(freedom, len(_T)) - 1]


def pairs(variants: Sequence[str]) -> list[tuple[str, str]]:
    """What is compared: objectives with one another, and each with itself under 80-10-10."""
    full = [name for name in variants if not name.endswith(SHORT_MASK)]
    return [*combinations(full, 2), *((name, name + SHORT_MASK) for name in full if name + SHORT_MASK in variants)]


def differences(
    scores: Mapping[str, Scores], variants: Sequence[str], compared: Sequence[tuple[str, str]] | None = None
) -> list[Difference]:
    """Every pair of `compared`, else of `pairs`, in each column, from column -> variant -> seed -> score."""
    chosen = pairs(variants) if compared is None else compared
    found = [compare(column, scores[column], *pair) for column in scores for pair in chosen]
    return [difference for difference in found if difference is not None]


def by_column(runs: Sequence[tuple[str, int, Sequence[EvalResult]]]) -> dict[str, dict[str, dict[int, float]]]:
    """Column -> variant -> seed -> score, columns in their order, from (variant, seed, results) of each run."""
    found: dict[str, dict[str, dict[int, float]]] = {column: {} for column in COLUMNS}
    for variant, seed, results in runs:
        for column, score in column_scores(results).items():
            found[column].setdefault(variant, {})[seed] = score
    return {column: scores for column, scores in found.items() if scores}
