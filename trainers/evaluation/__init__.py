"""Evaluation: metrics, protocols, baselines."""

from __future__ import annotations

from .metrics import MeanAveragePrecision as MeanAveragePrecision
from .metrics import MeanReciprocalRank as MeanReciprocalRank
from .retrieval import bm25_scores as bm25_scores
from .retrieval import cosine_scores as cosine_scores
from .retrieval import evaluate_retrieval as evaluate_retrieval
