"""Metrics as `evaluate` modules, each with its card beside it, and as an accumulator over blocks of scores.

`evaluate.load(".../metrics/mrr.py")` and `from trainers.evaluation.metrics import MeanReciprocalRank` give the same.
"""

from __future__ import annotations

from .classification import ClassificationMetrics as ClassificationMetrics
from .classification import accuracy as accuracy
from .classification import macro_f1 as macro_f1
from .map import MeanAveragePrecision as MeanAveragePrecision
from .mrr import MeanReciprocalRank as MeanReciprocalRank
from .ndcg import NormalizedDiscountedGain as NormalizedDiscountedGain
from .recall_at_k import RecallAtK as RecallAtK
from .streaming import RankingMetrics as RankingMetrics
from .streaming import metric_named as metric_named
