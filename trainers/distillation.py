"""Distillation: an encoder learns the embeddings that another gives texts and codes, whatever the tokenizers of both.

Each text, and each code, is to have the direction in which the teacher sees it (Reimers and Gurevych 2020, arXiv
2004.09813, with the cosine for the squared error). Loss and trainer are sentence-transformers' own. A student of
another width learns through a linear map that is thrown away.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import datasets
from transformers.trainer_utils import get_last_checkpoint

from data_collators.builders.store import load_split
from data_collators.files import claim_folder

from .evaluation.embedders import DOCUMENT, QUERY, Embedder
from .evaluation.loaders import load_embedder, load_sentence_transformer
from .finished import CLAIM, MODEL, RUN, save_finished
from .messages import say
from .progress import quiet_bars, show_progress
from .records import RunRecord
from .sentence_folder import read_sentence_folder

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

_KINDS = {"text": QUERY, "code": DOCUMENT}
_STEPS = "steps"


@dataclass(frozen=True)
class DistillOptions:
    """How a student is taught.

    Args:
        steps: Batches, of texts and of codes by turns.
        batch_size: Texts, or codes, in a batch.
        learning_rate: The highest one; it falls as a cosine after a tenth of the steps, at most 100.
        pairs: So many pairs, drawn at random; None: all.
        max_text_length: Tokens of a text.
        max_code_length: Tokens of a code.
        seed: Of the order of the pairs.

    Raises:
        ValueError: One is out of range.
    """

    steps: int = 2000
    batch_size: int = 64
    learning_rate: float = 5e-4
    pairs: int | None = None
    max_text_length: int = 80
    max_code_length: int = 160
    seed: int = 42

    def __post_init__(self) -> None:
        for name in ("steps", "batch_size", "max_text_length", "max_code_length"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}.")
        if self.learning_rate <= 0:
            raise ValueError(f"learning_rate must be positive, got {self.learning_rate}.")


def sample_pairs(data: str | Path, pairs: int | None, seed: int) -> datasets.Dataset:
    """Texts and codes of the split `train` in a drawn order: so many, or all.

    Raises:
        ValueError: The data have fewer.
    """
    rows = load_split(data, "train").select_columns(list(_KINDS))
    if pairs is not None and not 1 <= pairs <= len(rows):
        raise ValueError(f"pairs must lie in [1, {len(rows)}], which {str(data)!r} has, got {pairs}.")
    return rows.shuffle(seed).select(range(pairs or len(rows)))


def taught_rows(teacher: Embedder, texts: list[str], kind: str, max_length: int) -> datasets.Dataset:
    """What sentence-transformers learns from: each text, with the teacher's embedding as its label."""
    labels_ND = teacher.embed(texts, max_length=max_length, kind=kind)
    features = datasets.Features({"text": datasets.Value("string"), "label": datasets.List(datasets.Value("float32"))})
    return datasets.Dataset.from_dict({"text": texts, "label": list(labels_ND)}, features)


def distill(
    teacher: str | Path,
    student: str | Path,
    data: str | Path,
    output: str | Path,
    options: DistillOptions | None = None,
) -> Path:
    """Teach the student; returns the folder of the model. The same call goes on where an earlier one was stopped.

    Args:
        teacher: Checkpoint folder or Hub repo of anything that embeds texts.
        student: Checkpoint folder of the encoder that learns.
        data: Pairs; labels are made of their split `train`.
        output: Folder to write: `model` and the record `run.json`.
        options: How; None: the defaults.

    Raises:
        FileNotFoundError: Teacher, student or data do not exist.
        FileExistsError: The output folder holds something else, or another run.
        ImportError: sentence-transformers is not installed.
        ValueError: The data have too few pairs, or the student has parts that cannot be trained.
    """
    options, output, started = options or DistillOptions(), Path(output), time.monotonic()
    folder, pupil = read_sentence_folder(student), load_sentence_transformer(str(student))
    rows = sample_pairs(data, options.pairs, options.seed)
    recipe = {"teacher": str(teacher), **asdict(options)}
    claim_folder(output, CLAIM, {"stage": "distillation", "model": str(student), "data": str(data), **recipe})
    if (output / RUN).is_file():
        say("distillation: done before")
        return output / MODEL
    embedder = load_embedder(teacher, progress=True)
    lengths = {"text": options.max_text_length, "code": options.max_code_length}
    taught = {side: taught_rows(embedder, list(rows[side]), _KINDS[side], most) for side, most in lengths.items()}
    pupil.max_seq_length = min(max(lengths.values()), pupil.max_seq_length)
    trainer = _trainer(pupil, datasets.DatasetDict(taught), output / _STEPS, options)
    trainer.train(resume_from_checkpoint=_last_step(output))
    model = pupil[0].auto_model
    seconds, stats = round(time.monotonic() - started, 1), {"kind": "pairs", "sources": [str(data)]}
    record = RunRecord(recipe, options.seed, stats, seconds, tokens=0, parameters=model.num_parameters())
    record.log = trainer.state.log_history
    save_finished(model, pupil.tokenizer, output, record, folder=folder)
    return output / MODEL


def _last_step(output: Path) -> str | None:
    return get_last_checkpoint(str(output / _STEPS)) if (output / _STEPS).is_dir() else None


def _trainer(student: SentenceTransformer, taught: datasets.DatasetDict, output: Path, options: DistillOptions) -> Any:
    """sentence-transformers' Trainer; batches hold texts or codes alone, which spares padding."""
    from sentence_transformers import SentenceTransformerTrainer, SentenceTransformerTrainingArguments
    from sentence_transformers.sentence_transformer.losses import EmbedDistillLoss

    width, wanted = student.get_embedding_dimension(), len(taught["text"][0]["label"])
    loss = EmbedDistillLoss(student, distance_metric="cosine", projection_dim=None if width == wanted else wanted)
    args = SentenceTransformerTrainingArguments(
        str(output),
        max_steps=options.steps,
        per_device_train_batch_size=options.batch_size,
        learning_rate=options.learning_rate,
        lr_scheduler_type="cosine",
        warmup_steps=min(100, options.steps // 10),
        multi_dataset_batch_sampler="round_robin",
        save_steps=max(1, min(200, options.steps // 5)),
        save_total_limit=2,
        logging_steps=max(1, min(20, options.steps // 5)),
        seed=options.seed,
        report_to="none",
        dataloader_pin_memory=False,
    )
    trainer = SentenceTransformerTrainer(student, args, train_dataset=taught, loss=loss)
    show_progress(trainer, "distillation")
    return trainer


def main(argv: list[str]) -> int:
    """`coderep train distill`."""
    default = DistillOptions()
    parser = argparse.ArgumentParser(
        prog="coderep train distill",
        description="Teach an encoder the embeddings that another gives the texts and the codes of pairs. The same "
        "command goes on where it was stopped.",
    )
    add = parser.add_argument
    add("teacher", help="checkpoint folder or Hub repo whose embeddings are learnt")
    add("student", help="checkpoint folder of the encoder that learns")
    add("--data", required=True, metavar="PAIRS", help="pairs, whose split train is read")
    add("--output", required=True, help="folder to write")
    add("--steps", type=int, default=default.steps, help="batches (default: %(default)s)")
    add("--batch-size", type=int, default=default.batch_size, help="texts, or codes, in one (default: %(default)s)")
    add("--learning-rate", type=float, default=default.learning_rate, help="highest one (default: %(default)s)")
    add("--pairs", type=int, help="so many pairs, drawn at random (default: all)")
    add("--max-text-length", type=int, default=default.max_text_length, help="tokens of a text (default: %(default)s)")
    add("--max-code-length", type=int, default=default.max_code_length, help="tokens of a code (default: %(default)s)")
    add("--seed", type=int, default=default.seed, help="of the order of the pairs (default: %(default)s)")
    args = parser.parse_args(argv)
    quiet_bars()
    given = {name: getattr(args, name) for name in asdict(default)}
    print(distill(args.teacher, args.student, args.data, args.output, DistillOptions(**given)))  # noqa: T201
    return 0
