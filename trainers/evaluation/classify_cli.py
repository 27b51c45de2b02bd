"""`coderep eval classify`: classification sets, learnt by a probe on frozen embeddings or by tuning all weights.

Hyper-parameters are CodeSage's (arXiv 2402.01935, appendix): AdamW, linear schedule, batches of 32, 3 seeds; a result
names what was changed in them. The model after the last epoch counts: none is picked by its score.
"""

from __future__ import annotations

import argparse
import re
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch

from data_collators.files import check_output_file, write_json

from ..encode import load_encoder
from ..progress import quiet_bars, say
from ..records import EvalResult, machine, versions
from . import classification as heads
from .checks import check_encoder
from .classification_sets import TRAIN, ClassificationSet, read_classification
from .domain import domain_of
from .embedders import LOADERS, Embedder, load_embedder, token_lengths
from .metrics import accuracy, macro_f1
from .official_classification import classification_names, load_classification

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


def majority_scores(data: ClassificationSet) -> dict[str, float]:
    """Metric -> its value if every test example gets the commonest training label, of several the first by name."""
    counts = Counter(data.train.labels)
    commonest = max(data.classes, key=lambda name: counts[name])
    return {name: metric([commonest] * len(data.test), data.test.labels) for name, metric in METRICS.items()}


def mean_and_spread(values: Sequence[float]) -> tuple[float, float | None]:
    """Mean, and standard deviation with n - 1 below the line; one value has no spread."""
    return float(np.mean(values)), float(np.std(values, ddof=1)) if len(values) > 1 else None


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
        extra = {"domain": domain, "spread": spread, "counts": {name: count for name, count in counts.items() if count}}
        results.append(EvalResult(*record, value, len(data.test), seconds, **extra))
    return results


def _count_cut(learner: Learner, data: ClassificationSet, max_length: int) -> dict[str, int]:
    bound = min(max_length, learner.limit or max_length)
    counts = {}
    for name, part in (("training codes cut", data.train), ("test codes cut", data.test)):
        codes = [code for column in part.codes for code in column]
        counts[name] = sum(length > bound for length in token_lengths(learner.tokenizer, codes))
    return counts


def load_sets(name: str, root: str | None = None) -> list[ClassificationSet]:
    """The sets that a word on the command line names: a published set, a folder of a set, or a folder of such.

    Raises:
        FileNotFoundError: There is none.
        ValueError: One is torn, or has one class only.
    """
    path = Path(name)
    if name in classification_names() and not path.exists():
        return [load_classification(name, root)]
    folders = [path] if (path / TRAIN).is_file() else sorted(file.parent for file in path.glob(f"*/{TRAIN}"))
    if not folders:
        raise FileNotFoundError(
            f"{name!r} holds no classification set: no {TRAIN}, nor a folder with one. Name such a folder, or a "
            f"published set: {', '.join(classification_names())}."
        )
    return [read_classification(folder) for folder in folders]


def classification_table(results: Sequence[EvalResult], majority: dict[str, dict[str, float]]) -> str:
    """A line for each set and model, in percent, beside what the commonest class would score."""
    rows = [("set", "model", "setting", "macro-F1", "accuracy", "majority: F1", "accuracy", "n", "seconds")]
    for f1, hits in zip(results[::2], results[1::2], strict=True):
        base = [f"{100 * value:.2f}" for value in majority[f1.revision].values()]
        tail = (percent(f1), percent(hits), *base, f"{f1.n:,}", f"{f1.seconds:.0f}")
        rows.append((f1.dataset, f1.model, f1.protocol, *tail))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    sides = "<<<>>>>>>"
    lines = [
        "  ".join(f"{cell:{side}{width}}" for cell, side, width in zip(row, sides, widths, strict=True)) for row in rows
    ]
    return "\n".join([*lines, "percent; +- standard deviation over seeds"])


def percent(result: EvalResult) -> str:
    """Value and spread of a result."""
    return f"{100 * result.value:.2f}" + ("" if result.spread is None else f" +- {100 * result.spread:.2f}")


def main(argv: list[str]) -> int:
    """`coderep eval classify`."""
    args = _parser().parse_args(argv)
    if args.output:
        check_output_file(args.output)
    quiet_bars()
    given = {item.name: getattr(args, item.name, None) for item in fields(ClassifyProtocol)}
    changes = {name: value for name, value in given.items() if value is not None}
    replace(published_protocol(args.setting, "", 1e-3), **changes)  # refused before any work
    sets = [data for name in args.data for data in load_sets(name, args.root)]
    results: list[EvalResult] = []
    for model in args.model:
        learner = _learner(model, args)
        for warning in check_encoder(model, learner.tokenizer):
            say(f"{model}: {warning}")
        for data in sets:
            domain = domain_of(model, data.name, args.in_domain)
            results += evaluate_classification(learner, data, domain=domain, **changes)
            say(f"{model}, {data.name}: macro-F1 {percent(results[-2])} %, {results[-1].seconds:.0f} s")
            if args.output:  # after each set: what is done is kept if the next one fails
                rows = [asdict(result) for result in results]
                write_json(args.output, {"results": rows, "machine": machine(), "versions": versions()})
    print(classification_table(results, {data.revision: majority_scores(data) for data in sets}))  # noqa: T201
    return 0


def _learner(model: str, args: argparse.Namespace) -> Learner:
    if args.setting == FINETUNE:
        return FinetuneLearner(model, args.revision)
    options = {"loader": args.loader, "revision": args.revision, "dtype": args.dtype, "cache": args.cache}
    return ProbeLearner(load_embedder(model, progress=True, **options))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="coderep eval classify",
        description="Code classification: macro-F1 and accuracy, the mean over seeds. What is not given is as in "
        "CodeSage's paper, see docs/EVALUATION.md.",
    )
    add = parser.add_argument
    add("model", nargs="+", help="checkpoint folders or Hub repo ids")
    names = ", ".join(classification_names())
    help_data = f"folders with train.jsonl and test.jsonl or valid.jsonl, folders of such, or published sets: {names}"
    add("--data", nargs="+", required=True, metavar="SET", help=help_data)
    add("--root", help="folder with the official files of the published sets (default: from the Hub)")
    add("--setting", default=PROBE, choices=SETTINGS, help="head on frozen embeddings, or all weights (default: probe)")
    add("--seeds", type=int, help="runs to average (default: 3)")
    add("--epochs", type=int, help="times that each example is seen (default: by task)")
    add("--learning-rate", type=float, help="first learning rate (default: 1e-3 for a probe, else by model)")
    add("--batch-size", type=int, help="examples a step (default: 32)")
    add("--max-length", type=int, help="tokens read of each code (default: 512)")
    add("--loader", default="auto", choices=LOADERS, help="library that loads the model of a probe (default: auto)")
    add("--revision", help="commit, tag or branch of a model on the Hub")
    add("--dtype", default="float32", choices=("float32", "bfloat16", "float16"), help="weights of a probe's model")
    add("--cache", help="folder of kept embeddings (default: $CODEREP_CACHE, else ~/.cache/coderep)")
    add("--in-domain", nargs="+", default=(), metavar="SET", help="sets of whose kind the model was trained, * allowed")
    add("--output", help="results.json to write")
    return parser
