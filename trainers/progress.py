"""Progress of long work: bars on a terminal, plain lines where nobody watches."""

from __future__ import annotations

import sys
import time
from typing import Any

import datasets
from transformers import (
    PrinterCallback,
    ProgressCallback,
    Trainer,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)

from .messages import quiet_models, say


class ProgressLines(TrainerCallback):
    """One line for each logging step: step, loss, rate and time left. With a terminal, only to log files."""

    def __init__(self, label: str) -> None:
        self.label = label
        self._started = self._first = 0.0

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Start the clock."""
        self._started, self._first = time.monotonic(), state.global_step
        if state.global_step:
            say(f"{self.label}: resumed at step {state.global_step}")

    def on_log(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, logs: Any = None, **kwargs: Any
    ) -> None:
        """Print the loss of this logging step."""
        if not state.is_local_process_zero or not logs or "loss" not in logs:
            return
        rate = (state.global_step - self._first) / max(time.monotonic() - self._started, 1e-9)
        left = (state.max_steps - state.global_step) / max(rate, 1e-9)
        say(
            f"{self.label}: step {state.global_step}/{state.max_steps}  loss {float(logs['loss']):.3f}  "
            f"{rate:.2f} steps/s  {int(left // 60)}:{int(left % 60):02d} left"
        )


def quiet_bars() -> None:
    """Keep the libraries' bars and notes out of logs that nobody watches."""
    quiet_models()
    datasets.disable_progress_bars()


def show_progress(trainer: Trainer, label: str) -> None:
    """Lines of step, loss, rate and time left; on a terminal also the Trainer's bar."""
    quiet_bars()
    trainer.remove_callback(PrinterCallback)
    if not sys.stderr.isatty():
        trainer.remove_callback(ProgressCallback)
    trainer.add_callback(ProgressLines(label))
