"""`coderep train classify`: a model that classifies code, saved as transformers' `AutoModelForSequenceClassification`.

A linear probe on frozen embeddings, all weights, or adapters (LoRA). `coderep eval classify` measures by the same
functions what an encoder is good for, over several seeds; this leaves one model to use.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor, nn
from transformers import (
    AutoModelForSequenceClassification,
    EvalPrediction,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    Trainer,
)

from data_collators.files import write_json
from modeling_coderep import CodeRepForSequenceClassification

from .arguments import ClassifyArguments
from .backbones import position_limit
from .classifier import fit_probe, freeze_encoder, head_names, load_classifier, row_collator, tokenize_rows
from .classify_data import LabelledRows, load_labelled
from .command_line import run_command
from .evaluation.classification import predict_classes
from .evaluation.classification_sets import ClassificationSet, Examples
from .evaluation.classify_protocol import FINETUNE, METRICS, PROBE, finetune_rate, published_protocol, task_kind
from .finished import MODEL, RUN, save_without_steps
from .hub_push import PushesExport
from .lora import add_lora
from .messages import say
from .publisher import open_repo, the_publisher
from .records import EvalResult, machine, versions
from .stage import load_tokenizer, require_data, train_and_save

RESULTS = "results.json"
_STAGE = "classification"
_LORA_RATE = 10


class ClassifyTrainer(PushesExport, Trainer):
    """HF's Trainer for classification: the mean cross-entropy of a batch, whatever the model would make of labels.

    `tokens_seen` counts the tokens that this process has trained on, without padding. `score_first` is done before the
    finished run is pushed, so that its card has the scores.
    """

    args: ClassifyArguments
    tokens_seen = 0
    score_first: Callable[[], None] | None = None
    loss_is_scaled_for_ga = False  # the loss is a mean over the batch

    def compute_loss(
        self, model: nn.Module, inputs: dict[str, Tensor], return_outputs: bool = False, **kwargs: Any
    ) -> Tensor | tuple[Tensor, dict[str, Tensor]]:
        """The loss of a batch of `row_collator`."""
        labels_B = inputs["labels"]
        if model.training:
            self.tokens_seen += int(inputs["attention_mask"].sum())
        if self.args.freeze_encoder:
            self.accelerator.unwrap_model(model).base_model.eval()  # what is frozen has no dropout
        outputs = model(**{name: tensor for name, tensor in inputs.items() if name != "labels"})
        smoothing = self.args.label_smoothing_factor
        loss = nn.functional.cross_entropy(outputs.logits.float(), labels_B, label_smoothing=smoothing)
        return (loss, {"logits": outputs.logits}) if return_outputs else loss

    def push_to_hub(self, *args: Any, **kwargs: Any) -> Any:
        """As in the base class, behind the scores of a finished run."""
        if self.score_first and Path(self.args.output_dir, RUN).is_file():
            self.score_first()
        return super().push_to_hub(*args, **kwargs)


def train_classify(args: ClassifyArguments) -> Path:
    """Train a classifier; returns the folder of the model. Its scores are in `results.json` beside that folder.

    Raises:
        ValueError: Arguments contradict each other or the data.
        FileNotFoundError: Data, tokenizer or model does not exist.
    """
    if args.freeze_encoder and args.lora_rank:
        raise ValueError("freeze_encoder trains the head alone, lora_rank adapters in the encoder. Leave one out.")
    require_data(args)
    data, tokenizer = load_labelled(args), load_tokenizer(args)
    model = load_classifier(args, tokenizer, data)
    limits = (args.max_length, position_limit(model), tokenizer.model_max_length)
    tokenizer.model_max_length = min(limit for limit in limits if limit is not None)  # saved: pipelines cut there
    choose_rates(args, data, model)
    if args.freeze_encoder and isinstance(model, CodeRepForSequenceClassification):
        fit = partial(fit_probe, model, tokenizer, data, args)
        where = open_repo(args) if args.push_to_hub else None  # refused before the work
        folder = save_without_steps(_STAGE, model, tokenizer, args, set_stats(data), fit)
        write_scores(folder, tokenizer, data, args)
        if where:
            the_publisher().publish(Path(args.output_dir), where, "End of training")
    else:
        folder = _tune(args, data, model, tokenizer)
        write_scores(folder, tokenizer, data, args)
    return folder


def write_scores(
    folder: Path, tokenizer: PreTrainedTokenizerBase, data: ClassificationSet, args: ClassifyArguments
) -> None:
    """Write the scores of a saved classifier beside its folder, unless they are there; the first process does."""
    results = Path(args.output_dir, RESULTS)
    if args.process_index == 0 and not results.is_file():
        rows = [asdict(result) for result in score(folder, tokenizer, data, args)]
        write_json(results, {"results": rows, "machine": machine(), "versions": versions()})
        say(f"{_STAGE}: macro-F1 {rows[0]['value']:.4f}, accuracy {rows[1]['value']:.4f} on {rows[0]['n']:,} examples")


def choose_rates(args: ClassifyArguments, data: ClassificationSet, model: PreTrainedModel) -> None:
    """Set what is not given to what the paper has for the kind of task: epochs, and the first learning rate.

    Adapters begin as nothing and move slowly: for them it has no rate, and ours is ten times that of all weights.
    """
    setting = PROBE if args.freeze_encoder else FINETUNE
    rate = 1e-3 if args.freeze_encoder else finetune_rate(model) * (_LORA_RATE if args.lora_rank else 1)
    published = published_protocol(setting, task_kind(data), rate)
    args.learning_rate = published.learning_rate if args.learning_rate is None else args.learning_rate
    args.num_train_epochs = published.epochs if args.num_train_epochs is None else args.num_train_epochs


def _tune(
    args: ClassifyArguments, data: ClassificationSet, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase
) -> Path:
    """Train all weights, adapters and head, or the head alone."""
    if args.freeze_encoder:
        freeze_encoder(model)
    tokenize = partial(tokenize_rows, model, tokenizer, args.max_length, data.classes)
    known = set(data.classes)
    places = [place for place, label in enumerate(data.test.labels) if label in known]
    codes = tuple([column[place] for place in places] for column in data.test.codes)
    test = Examples(codes, [data.test.labels[place] for place in places])
    args.train_sampling_strategy = "sequential"  # `LabelledRows` has an order of its own
    rows = LabelledRows(tokenize(data.train), args.train_batch_size, args.seed)
    collate = row_collator(model, tokenizer)
    trainer = ClassifyTrainer(
        model=add_lora(model, args, head_names(model)) if args.lora_rank else model,
        args=args,
        data_collator=collate,
        train_dataset=rows,
        eval_dataset=tokenize(test) if args.eval_strategy != "no" else None,
        compute_metrics=_metrics,
    )
    trainer.score_first = partial(write_scores, Path(args.output_dir, MODEL), tokenizer, data, args)
    return train_and_save(_STAGE, trainer, tokenizer, lambda: trainer.tokens_seen, stats=set_stats(data))


def _metrics(prediction: EvalPrediction) -> dict[str, float]:
    predicted_N = np.asarray(prediction.predictions).argmax(axis=-1)
    return {name: metric(predicted_N.tolist(), prediction.label_ids.tolist()) for name, metric in METRICS.items()}


def set_stats(data: ClassificationSet) -> dict[str, Any]:
    """What records tell of a set, as stats.json does of data sets made here."""
    return {
        "kind": "labels",
        "inputs": len(data.train.codes),
        "sources": [data.name],
        "languages": {},
        "classes": data.classes,
        "splits": {"train": {"rows": len(data.train), "files": 1}, "test": {"rows": len(data.test), "files": 1}},
        "dropped": {},
        "problems": data.problems,
        "fingerprint": data.revision,
    }


def score(
    folder: Path, tokenizer: PreTrainedTokenizerBase, data: ClassificationSet, args: ClassifyArguments
) -> list[EvalResult]:
    """Macro-F1 and accuracy of a saved classifier on the part of a set that it was not trained on."""
    started = time.monotonic()
    model = AutoModelForSequenceClassification.from_pretrained(folder).to(args.device)
    rows = tokenize_rows(model, tokenizer, args.max_length, None, data.test)
    pad, collate = tokenizer.pad_token_id or 0, row_collator(model, tokenizer)
    numbers_N = predict_classes(model, rows, pad, collate=lambda batch, _: collate(batch))
    predicted = [model.config.id2label[number] for number in numbers_N.tolist()]
    adapters = f"LoRA of rank {args.lora_rank}"
    how = "frozen encoder" if args.freeze_encoder else adapters if args.lora_rank else "all weights"
    at_once = args.freeze_encoder and isinstance(model, CodeRepForSequenceClassification)  # has epochs alone
    long = f"{args.num_train_epochs:g} epochs" if at_once or args.max_steps <= 0 else f"{args.max_steps:,} steps"
    protocol = f"trained model ({how}), {long}, lr {args.learning_rate:g}, seed {args.seed}"
    record = (str(folder), f"{task_kind(data)} classification", data.name, data.revision, protocol)
    seconds = round(time.monotonic() - started, 2)
    return [
        EvalResult(
            *(*record, name, metric(predicted, data.test.labels), len(data.test), seconds),
            domain="in-domain",
            counts=data.problems,
            split=data.split,
        )
        for name, metric in METRICS.items()
    ]


def main(argv: list[str]) -> int:
    """`coderep train classify`."""
    return run_command(ClassifyArguments, "classify", train_classify, argv)
