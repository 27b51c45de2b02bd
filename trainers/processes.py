"""Several processes: the first one decides and writes, the others hear of it."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

SECONDS_FOR_THE_FIRST = 5


def is_first() -> bool:
    """Whether this is the first of all processes, or the only one; torchrun and accelerate number them in RANK."""
    return os.environ.get("RANK", "0") == "0"


@contextmanager
def first_speaks() -> Iterator[None]:
    """Hold errors of the other processes back for a moment.

    Most come to all of them; the first one tells it, and its end ends those that were silent.
    """
    try:
        yield
    except Exception:
        if not is_first():
            time.sleep(SECONDS_FOR_THE_FIRST)
        raise


def on_first(accelerator: Any, work: Callable[[], Any]) -> Any:
    """Do some work on the first process alone; all get what it returns, once it is done.

    Raises:
        Exception: What the work raised, on all processes.
    """
    if accelerator.num_processes == 1:
        return work()
    from accelerate.utils import broadcast_object_list

    outcome: list[Any] = [None, None]
    if accelerator.is_main_process:
        try:
            outcome[0] = work()
        except Exception as error:  # the others would wait for ever
            outcome[1] = error
    broadcast_object_list(outcome)
    if outcome[1] is not None:
        raise outcome[1]
    return outcome[0]


def total(accelerator: Any, number: int) -> int:
    """The sum of a whole number over all processes; all must ask."""
    if accelerator.num_processes == 1:
        return number
    import torch  # here, since whoever speaks asks this module first

    return int(accelerator.reduce(torch.tensor([number], device=accelerator.device), "sum"))
