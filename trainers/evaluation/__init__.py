"""Evaluation: metrics, sets, protocols, models and baselines. docs/EVALUATION.md is its guide."""

from __future__ import annotations

from .loaders import load_embedder as load_embedder
from .metrics import ClassificationMetrics as ClassificationMetrics
from .metrics import MeanAveragePrecision as MeanAveragePrecision
from .metrics import MeanReciprocalRank as MeanReciprocalRank
from .metrics import NormalizedDiscountedGain as NormalizedDiscountedGain
from .metrics import RankingMetrics as RankingMetrics
from .metrics import RecallAtK as RecallAtK
from .metrics import accuracy as accuracy
from .metrics import macro_f1 as macro_f1
from .protocols import PROTOCOLS as PROTOCOLS
from .protocols import choose_protocol as choose_protocol
from .retrieval import evaluate_retrieval as evaluate_retrieval
from .scorers import Bm25Scorer as Bm25Scorer
from .scorers import CosineScorer as CosineScorer
from .sets import RetrievalSet as RetrievalSet
from .sets import read_set as read_set
