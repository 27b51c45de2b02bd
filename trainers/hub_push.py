"""HF's `push_to_hub` for our Trainers: what goes to the Hub is what `coderep card publish` would upload.

HF's Trainer uploads its output folder as it is, with a pickle of the arguments that holds the Hub token, without the
model's code, in several commits. Here each push is one commit of the exported layout with the card of the records so
far. With `hub_strategy=checkpoint` the state of the optimizer goes too, in the files of tensors that torch writes: the
one thing that is no safetensors file, and only for whom asks for it.

Cards and export belong to `hub_cards`, which trainers may not import, so it hands itself in: `set_publisher`.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, Protocol

from huggingface_hub import HfApi
from transformers import TrainingArguments
from transformers.trainer_utils import HubStrategy
from transformers.utils import PushInProgress

from data_collators.builders.store import STATS, load_stats

from .checkpoints import MarkComplete
from .finished import CLAIM, MODEL, RUN
from .progress import say
from .records import RunRecord
from .run_recipe import recipe_of

HUB = "hub"  # folder in the output folder that holds what was pushed last
# What training goes on from, besides the weights. Not the arguments: a pickle of classes, which HF reads with care.
STATE = ("trainer_state.json", "optimizer.pt", "scheduler.pt", "scaler.pt")


@dataclass(frozen=True)
class Destination:
    """Where a Trainer pushes to.

    Args:
        repo: owner/name, or a name alone: the owner of the token's.
        public: Whether everybody may see it.
        revision: Branch.
        token: The token; None takes the one that is logged in.
    """

    repo: str
    public: bool = False
    revision: str = "main"
    token: str | None = field(default=None, repr=False)


class Publisher(Protocol):
    """What `hub_cards` does for a Trainer."""

    def open(self, where: Destination) -> str:
        """Make sure that the repo is there and may be written to; its full name."""

    def card(self, run: Path, repo: str) -> str:
        """The card of a run's folder."""

    def lay_out(self, run: Path, output: Path, repo: str) -> None:
        """Write the model of a run's folder as the folder that goes to the Hub."""

    def push(self, folder: Path, where: Destination, message: str, state: dict[str, Path]) -> Any:
        """Upload such a folder, and the files of a training checkpoint, in one commit."""

    def publish(self, run: Path, where: Destination, message: str) -> Any:
        """`coderep card publish` of a finished run."""


_publisher: Publisher | None = None


def set_publisher(publisher: Publisher) -> None:
    """Say who lays out and uploads what Trainers push."""
    global _publisher
    _publisher = publisher


class PushesExport:
    """To be named before `Trainer` among the bases of a class: its methods for the Hub, with our layout and card.

    A push while training runs in the background, and one that fails is told and does not stop the training; the next
    one goes on from what arrived. The last push, after training, must succeed.
    """

    push_in_progress: PushInProgress | None = None
    data_stats: Mapping[str, Any] = MappingProxyType({})  # of the training data, for the record
    _hub_token: str | None = None

    def init_hf_repo(self, token: str | None = None, private: bool | None = None) -> None:
        """Make sure, before training, that the repo can be pushed to; without `hub_private_repo=False` it is private.

        Raises:
            ValueError: Nobody said who publishes, or the name of the repo is taken.
            OSError: There is no token, or the Hub refuses or does not answer.
        """
        # The arguments are pickled into every checkpoint.
        self._hub_token, self.args.hub_token = token or self.args.hub_token or self._hub_token, None
        if not self.is_world_process_zero():
            return
        if private is not None:
            self.args.hub_private_repo = private
        name = self.args.hub_model_id or Path(self.args.output_dir).absolute().name
        self.hub_model_id = self._publish_by().open(self._destination(name))
        self.push_in_progress = None

    def push_to_hub(
        self,
        commit_message: str | None = "End of training",
        blocking: bool = True,
        token: str | None = None,
        revision: str | None = None,
        private: bool | None = None,
        **kwargs: Any,
    ) -> Any:
        """Push the finished run, as `coderep card publish` does; without a record of one, the model as it is.

        Args:
            commit_message: Message of the commit.
            blocking: Wait for it; otherwise a Future is returned.
            token: The token; default: that of the arguments, else the one that is logged in.
            revision: Branch; default: `hub_revision`, else main.
            private: Whether a repo that is created is private; default: `hub_private_repo`, else yes.
            **kwargs: Of HF's method, for its own card; ours is written from records.

        Raises:
            OSError: The Hub refused or did not answer.
        """
        if token or self.hub_model_id is None:
            self.init_hf_repo(token=token, private=private)
        output, message = Path(self.args.output_dir), commit_message or "End of training"
        finished = (output / RUN).is_file() and (output / MODEL).is_dir()
        place = None if finished else output / ".hub.saved"
        if place:
            self.save_model(str(place), _internal_call=True)  # all processes hold a part of the weights
        if not self.is_world_process_zero():
            return None
        self.callback_handler.on_push_begin(self.args, self.state, self.control)
        self._finish_current_push()
        where = self._destination(self.hub_model_id, revision)
        publisher = self._publish_by()

        def push() -> Any:
            if finished:
                return publisher.publish(output, where, message)
            return publisher.push(output / HUB, where, message, {})

        if place:
            with self._run_so_far(place) as run:
                publisher.lay_out(run, output / HUB, where.repo)
            shutil.rmtree(place)
        return push() if blocking else HfApi().run_as_future(push)

    def create_model_card(self, *args: Any, **kwargs: Any) -> None:
        """Write the card of the records so far as README.md of the output folder; HF's arguments are not asked."""
        if self.is_world_process_zero():
            name = self.hub_model_id or self.args.hub_model_id or Path(self.args.output_dir).absolute().name
            with self._run_so_far(None) as run:
                text = self._publish_by().card(run, name)
            Path(self.args.output_dir, "README.md").write_text(text, encoding="utf-8")

    def _push_from_checkpoint(self, checkpoint_folder: str) -> None:
        strategy = self.args.hub_strategy
        if not self.is_world_process_zero() or strategy == HubStrategy.END:
            return None
        if self.push_in_progress is not None and not self.push_in_progress.is_done():
            if not self.args.hub_always_push:
                return None
            self._finish_current_push()  # it reads the folder that this one is laid out in
        self.callback_handler.on_push_begin(self.args, self.state, self.control)
        checkpoint, output = Path(checkpoint_folder), Path(self.args.output_dir)
        where, publisher = self._destination(self.hub_model_id), self._publish_by()
        step = self.state.global_step
        try:
            with self._run_so_far(checkpoint) as run:
                publisher.lay_out(run, output / HUB, where.repo)
        except (OSError, ValueError) as error:
            return say(f"no push of step {step}: {error}")
        state = {}
        if strategy in (HubStrategy.CHECKPOINT, HubStrategy.ALL_CHECKPOINTS):
            folder = "last-checkpoint" if strategy == HubStrategy.CHECKPOINT else checkpoint.name
            state = {f"{folder}/{path.name}": path for path in _checkpoint_files(checkpoint)}

        def push() -> None:
            try:
                publisher.push(output / HUB, where, f"Training in progress, step {step}", state)
            except (OSError, ValueError) as error:
                say(f"no push of step {step}: {error}")

        job: Future = HfApi().run_as_future(push)
        self.push_in_progress = PushInProgress([job])
        return None

    def _destination(self, repo: str, revision: str | None = None) -> Destination:
        public = self.args.hub_private_repo is False
        return Destination(repo, public, revision or self.args.hub_revision or "main", self._hub_token)

    @staticmethod
    def _publish_by() -> Publisher:
        if _publisher is None:
            raise ValueError("push_to_hub has nobody to publish: `import hub_cards.training` before.")
        return _publisher

    @contextmanager
    def _run_so_far(self, checkpoint: Path | None) -> Iterator[Path]:
        """A folder like that of a finished run, for a while: record, claim, and the model of a checkpoint."""
        output = Path(self.args.output_dir)
        output.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=output, prefix=".hub.") as folder:
            run = Path(folder)
            self._record().save(run / RUN)
            if (output / CLAIM).is_file():
                shutil.copyfile(output / CLAIM, run / CLAIM)
            if checkpoint is not None:
                (run / MODEL).mkdir()
                for path in [checkpoint / "config.json", *checkpoint.glob("*.safetensors*")]:
                    (run / MODEL / path.name).symlink_to(os.path.abspath(path))
                if self.processing_class is None:
                    raise ValueError("a push needs the tokenizer: give it to the Trainer as processing_class.")
                self.processing_class.save_pretrained(run / MODEL)
            yield run

    def _record(self) -> RunRecord:
        marks = [call for call in self.callback_handler.callbacks if isinstance(call, MarkComplete)]
        before, started = (marks[0].before, marks[0].started) if marks else ({}, time.monotonic())
        processes = self.args.world_size
        return RunRecord(
            recipe=recipe_of(self.args),
            seed=self.args.seed,
            data=dict(self.data_stats) or _stats_of(self.args),
            wall_seconds=round(time.monotonic() - started + before.get("seconds", 0), 1),
            # The other processes are in the middle of something: they have seen about as much.
            tokens=getattr(self, "tokens_seen", 0) * processes + before.get("tokens", 0),
            parameters=self.accelerator.unwrap_model(self.model).num_parameters(),
            processes=processes,
            log=[entry for entry in self.state.log_history if "loss" in entry],
        )


def _stats_of(args: TrainingArguments) -> dict[str, Any]:
    """What is known of the training data of a Trainer that was made by hand."""
    folder = getattr(args, "data", None)
    return load_stats(folder) if folder and Path(folder, STATS).is_file() else {}


def _checkpoint_files(checkpoint: Path) -> list[Path]:
    """The files of a training checkpoint that training goes on from."""
    files = [checkpoint / "config.json", *checkpoint.glob("*.safetensors*"), *checkpoint.glob("rng_state*.pth")]
    return sorted(path for path in [*files, *(checkpoint / name for name in STATE)] if path.is_file())
