"""SIGTERM, by which schedulers end work: training stops after the step that it is in, with a complete checkpoint."""

from __future__ import annotations

import signal
import threading
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from .processes import total

EXIT_CODE = 128 + signal.SIGTERM  # what shells report of a program that the signal ended


class Stopped(SystemExit):
    """Training was asked to stop, and did; the same command goes on."""

    def __init__(self) -> None:
        super().__init__(EXIT_CODE)


class StopOnSignal(TrainerCallback):
    """Saves and stops after the step in which SIGTERM came to any process; a second SIGTERM ends the process at once.

    transformers' `enable_jit_checkpoint` saves inside a step, after its dropout is drawn, so that a run which goes on
    would draw another; and it leaves the caller to find out that training is not done.

    Args:
        accelerator: Tells the processes of each other's signals.
    """

    def __init__(self, accelerator: Any) -> None:
        self._accelerator = accelerator
        self._asked, self._before = False, None
        self.stopped = False

    def __enter__(self) -> StopOnSignal:
        if threading.current_thread() is threading.main_thread():
            self._before = signal.signal(signal.SIGTERM, self._ask)
        return self

    def __exit__(self, *_: object) -> None:
        if self._before is not None:
            signal.signal(signal.SIGTERM, self._before)

    def _ask(self, *_: object) -> None:
        self._asked = True
        signal.signal(signal.SIGTERM, self._before)

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Called after each step of the optimizer, by all processes together."""
        if total(self._accelerator, int(self._asked)) and not control.should_training_stop:
            control.should_save = control.should_training_stop = self.stopped = True
            control.should_evaluate = False  # a scheduler gives seconds
