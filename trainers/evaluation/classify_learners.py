"""What learns a classification set and is scored on it, over several seeds: a probe, or a tuned encoder."""

from __future__ import annotations

import tempfile
import time
from dataclasses import replace
from typing import Any, TypeAlias

import numpy as np
import torch

from ..encode import load_encoder
from ..records import EvalResult
from . import classification as heads
from .classification_sets import ClassificationSet
from .classify_protocol import (
    FINETUNE,
    METRICS,
    PROBE,
    ClassifyProtocol,
    finetune_rate,
    mean_and_spread,
    published_protocol,
    task_kind,
)
from .embedders import Embedder, token_lengths


class ProbeLearner:
    """A linear head on frozen embeddings.

    Args:
        embedder: What embeds.
    """

    setting, learning_rate = PROBE, 1e-3

    def __init__(self, embedder: Embedder) -> None:
        self.embedder, self.name, self.limit = embedder, embedder.name, embedder.limit
        self.changes = embedder.changes
        self.tokenizer = embedder.tokenizer

    def predict(self, data: ClassificationSet, protocol: ClassifyProtocol) -> list[np.ndarray]:
        """For each seed the label of each test example."""
        features = heads.frozen_features(self.embedder, data.train, data.test, max_length=protocol.max_length)
        train_NF, test_NF = heads.standardize(*features)
        classes = np.array(data.classes)
        labels_N = torch.from_numpy(np.searchsorted(classes, data.train.labels))
        found = []
        for seed in range(protocol.seeds):
            head = heads.train_probe(train_NF, labels_N, len(classes), seed=seed, **protocol.training)
            found.append(classes[head(test_NF).argmax(dim=1).numpy()])
        return found


class FinetuneLearner:
    """An encoder all of whose weights are tuned, with mean pooling unless its config names another.

    Args:
        source: Checkpoint folder or Hub repo.
        revision: Commit, tag or branch of a repo.

    Raises:
        ValueError: It is no encoder that transformers loads.
    """

    setting = FINETUNE

    def __init__(self, source: str, revision: str | None = None) -> None:
        try:
            encoder = load_encoder(source, revision)
        except (ValueError, KeyError) as error:
            reason = str(error).splitlines()[0]
            raise ValueError(f"{source!r} cannot be tuned ({reason}). Use --setting {PROBE}.") from error
        self.name, self.revision = source, revision
        self.changes = (f"revision {revision}",) if revision else ()
        self.tokenizer, self.limit = encoder.tokenizer, encoder.max_length
        self.learning_rate = finetune_rate(encoder.model)

    def predict(self, data: ClassificationSet, protocol: ClassifyProtocol) -> list[np.ndarray]:
        """For each seed the label of each test example."""
        return [self._predict(data, protocol, seed) for seed in range(protocol.seeds)]

    def _predict(self, data: ClassificationSet, protocol: ClassifyProtocol, seed: int) -> np.ndarray:
        encoder = load_encoder(self.name, self.revision)
        pad = self.tokenizer.pad_token_id or 0  # masked: any number does where a tokenizer has none
        train = heads.tokenize_examples(encoder, data.train, protocol.max_length, data.classes)
        test = heads.tokenize_examples(encoder, data.test, protocol.max_length)
        # A checkpoint loads in the precision that it is saved in; steps this small vanish in bfloat16.
        classifier = heads.CodeClassifier(
            encoder.model.float(), len(data.classes), sides=len(data.train.codes), seed=seed
        )
        with tempfile.TemporaryDirectory() as folder:
            args = heads.finetune_arguments(folder, seed=seed, **protocol.training)
            heads.finetune_trainer(classifier, train, pad, args, f"{data.name}, seed {seed}").train()
        return np.array(data.classes)[heads.predict_classes(classifier, test, pad)]


Learner: TypeAlias = ProbeLearner | FinetuneLearner


def evaluate_classification(
    learner: Learner, data: ClassificationSet, *, domain: str = "unknown", **changes: Any
) -> list[EvalResult]:
    """Macro-F1 and accuracy on the test examples: the mean over seeds, and its spread.

    Args:
        learner: What learns.
        data: The set.
        domain: See `EvalResult`.
        changes: Fields of `ClassifyProtocol` that differ from the published ones.

    Raises:
        ValueError: A change is out of range.
    """
    started = time.monotonic()
    kind = task_kind(data)
    published = published_protocol(learner.setting, kind, learner.learning_rate)
    protocol = replace(published, **changes)
    predictions = learner.predict(data, protocol)
    counts = {**data.problems, **_count_cut(learner, data, protocol.max_length)}
    seconds = round(time.monotonic() - started, 2)
    label = ", ".join([protocol.label(published), *learner.changes])
    results = []
    for metric, function in METRICS.items():
        value, spread = mean_and_spread([function(labels_N, data.test.labels) for labels_N in predictions])
        record = (learner.name, f"{kind} classification", data.name, data.revision, label, metric)
        extra = {"domain": domain, "spread": spread, "split": data.split}
        extra["counts"] = {name: count for name, count in counts.items() if count}
        results.append(EvalResult(*record, value, len(data.test), seconds, **extra))
    return results


def _count_cut(learner: Learner, data: ClassificationSet, max_length: int) -> dict[str, int]:
    bound = min(max_length, learner.limit or max_length)
    counts = {}
    for name, part in (("training codes cut", data.train), ("test codes cut", data.test)):
        codes = [code for column in part.codes for code in column]
        counts[name] = sum(length > bound for length in token_lengths(learner.tokenizer, codes))
    return counts
