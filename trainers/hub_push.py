"""HF's `push_to_hub` for our Trainers: what goes to the Hub is what `coderep card publish` would upload.

HF's Trainer uploads its output folder as it is, with a pickle of the arguments that holds the Hub token, without the
model's code, in several commits. Here each push is one commit of the exported layout with the card of the records so
far. With `hub_strategy=checkpoint` the state of the optimizer goes too, in the files of tensors that torch writes: the
one thing that is no safetensors file, and only for whom asks for it.

Of several processes the first alone talks to the Hub.
"""

from __future__ import annotations

import copy
import os
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any

from huggingface_hub import HfApi
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.trainer_utils import HubStrategy
from transformers.utils import PushInProgress

from data_collators.builders.store import STATS, load_stats

from .checkpoints import MarkComplete
from .finished import CLAIM, MODEL, RUN
from .hub_state import LAST, pushed_state
from .lora import is_adapted, merged
from .messages import say
from .processes import on_first
from .publisher import Destination, destination, repo_name, take_token, the_publisher
from .records import RunRecord
from .run_recipe import recipe_of
from .sentence_folder import SentenceFolder

HUB = "hub"  # folder in the output folder that holds what was pushed last


class PushesExport:
    """To be named before `Trainer` among the bases of a class: its methods for the Hub, with our layout and card.

    What could not be published is refused before training. A push while training runs in the background, and one that
    fails is told and does not stop the training; the next one goes on from what arrived. The last push, after training,
    must succeed.
    """

    push_in_progress: PushInProgress | None = None
    data_stats: Mapping[str, Any] = MappingProxyType({})  # of the training data, for the record
    sentence_folder: SentenceFolder | None = None  # that the model is from, and is saved as again
    _hub_token: str | None = None
    _saved: Path | None = None  # checkpoint that is to be pushed

    def init_hf_repo(self, token: str | None = None, private: bool | None = None) -> None:
        """Make sure, before training, that the repo can be pushed to; without `hub_private_repo=False` it is private.

        Raises:
            ValueError: Nobody said who publishes, or the name of the repo is taken.
            OSError: There is no token, or the Hub refuses or does not answer.
        """
        self._hub_token = take_token(self.args, token) or self._hub_token
        if private is not None:
            self.args.hub_private_repo = private
        where = self._destination(repo_name(self.args))
        self.hub_model_id = on_first(self.accelerator, lambda: the_publisher().open(where))
        self.push_in_progress = None

    def train(self, *args: Any, **kwargs: Any) -> Any:
        """HF's `train`; a run that is to be pushed and could not be is refused before it begins.

        Raises:
            ValueError: The model is of a kind that cannot be published, or its card cannot be written.
            OSError: The tokenizer has no file that others can read.
        """
        if self.args.push_to_hub:
            on_first(self.accelerator, self._check_publishable)
            self.remove_callback(_PushSaved)
            self.add_callback(_PushSaved(self))  # behind the one that marks a checkpoint as complete
        return super().train(*args, **kwargs)

    def _check_publishable(self) -> None:
        with self._run_so_far() as run:
            the_publisher().check(run, self.hub_model_id)

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

        def push() -> Any:
            if finished:
                return the_publisher().publish(output, where, message)
            return the_publisher().push(output / HUB, where, message, {})

        if place:
            with self._run_so_far(place) as run:
                the_publisher().lay_out(run, output / HUB, where.repo)
            shutil.rmtree(place)
        return push() if blocking else HfApi().run_as_future(push)

    def create_model_card(self, *args: Any, **kwargs: Any) -> None:
        """Write the card of the records so far as README.md of the output folder; HF's arguments are not asked."""
        if self.is_world_process_zero():
            with self._run_so_far() as run:
                text = the_publisher().card(run, self.hub_model_id or repo_name(self.args))
            Path(self.args.output_dir, "README.md").write_text(text, encoding="utf-8")

    def _push_from_checkpoint(self, checkpoint_folder: str) -> None:
        self._saved = Path(checkpoint_folder)  # other processes still write to it: see `_PushSaved`

    def _push_saved(self) -> None:
        """Push the checkpoint that was saved last, in the background, if the strategy says so."""
        checkpoint, self._saved, strategy = self._saved, None, self.args.hub_strategy
        if checkpoint is None or not self.is_world_process_zero() or strategy == HubStrategy.END:
            return
        if self.push_in_progress is not None and not self.push_in_progress.is_done():
            if not self.args.hub_always_push:
                return
            self._finish_current_push()  # it reads the folder that this one is laid out in
        self.callback_handler.on_push_begin(self.args, self.state, self.control)
        output, step = Path(self.args.output_dir), self.state.global_step
        where, publisher = self._destination(self.hub_model_id), the_publisher()
        try:
            with self._run_so_far(checkpoint) as run:
                publisher.lay_out(run, output / HUB, where.repo)
        except (OSError, ValueError) as error:
            return say(f"no push of step {step}: {error}")
        state = {}
        if strategy in (HubStrategy.CHECKPOINT, HubStrategy.ALL_CHECKPOINTS):
            name = LAST if strategy == HubStrategy.CHECKPOINT else checkpoint.name
            state = pushed_state(checkpoint, output / CLAIM, name)

        def push() -> None:
            try:
                publisher.push(output / HUB, where, f"Training in progress, step {step}", state)
            except (OSError, ValueError) as error:
                say(f"no push of step {step}: {error}")

        job: Future = HfApi().run_as_future(push)
        self.push_in_progress = PushInProgress([job])

    def _destination(self, repo: str, revision: str | None = None) -> Destination:
        return destination(self.args, repo, self._hub_token, revision)

    @contextmanager
    def _run_so_far(self, checkpoint: Path | None = None) -> Iterator[Path]:
        """A folder like that of a finished run, for a while: record, claim, model; without a checkpoint no weights."""
        output = Path(self.args.output_dir)
        output.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=output, prefix=".hub.") as folder:
            run = Path(folder)
            self._record().save(run / RUN)
            if (output / CLAIM).is_file():
                shutil.copyfile(output / CLAIM, run / CLAIM)
            self._put_model(run / MODEL, checkpoint)
            yield run

    def _put_model(self, folder: Path, checkpoint: Path | None) -> None:
        """Config, tokenizer and modules of the model in a folder, with the weights of a checkpoint if there is one.

        Raises:
            ValueError: The Trainer has no tokenizer.
        """
        folder.mkdir()
        model = self.accelerator.unwrap_model(self.model)
        if checkpoint is None:
            whole = model.get_base_model() if is_adapted(model) else model
            config = copy.deepcopy(whole.config)
            config.architectures = [type(whole).__name__]
            config.save_pretrained(folder)
        elif is_adapted(model):  # the checkpoint holds the adapters alone
            merged(copy.deepcopy(model)).save_pretrained(folder)
        else:
            for path in [checkpoint / "config.json", *checkpoint.glob("*.safetensors*")]:
                (folder / path.name).symlink_to(os.path.abspath(path))
        if self.processing_class is None:
            raise ValueError("a push needs the tokenizer: give it to the Trainer as processing_class.")
        self.processing_class.save_pretrained(folder)
        if self.sentence_folder:
            self.sentence_folder.write(folder)

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


class _PushSaved(TrainerCallback):
    """Pushes a checkpoint once all processes have written their files of it."""

    def __init__(self, trainer: PushesExport) -> None:
        self._trainer = trainer

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Called by the Trainer behind its own files, and behind `MarkComplete`, which waits for the processes."""
        self._trainer._push_saved()


def _stats_of(args: TrainingArguments) -> dict[str, Any]:
    """What is known of the training data of a Trainer that was made by hand."""
    folder = getattr(args, "data", None)
    return load_stats(folder) if folder and Path(folder, STATS).is_file() else {}
