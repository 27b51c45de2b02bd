"""Lines for people. Apart from `progress`, so that what only says something need not import training."""

from __future__ import annotations

import logging
import sys

from .processes import is_first

LOGGER = logging.getLogger("coderep")


class _StandardError(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        print(self.format(record), file=sys.stderr, flush=True)  # noqa: T201


def say(line: str) -> None:
    """A line for people, on standard error and in any log file; standard output is for results.

    Of several processes only the first one speaks.
    """
    if not is_first():
        return
    if not LOGGER.handlers:
        LOGGER.addHandler(_StandardError())
        LOGGER.setLevel(logging.INFO)
        LOGGER.propagate = False
    LOGGER.info(line)


def quiet_models() -> None:
    """Keep transformers' bars and notes on loading models out of logs that nobody watches."""
    from transformers.utils import logging as transformers_logging

    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
