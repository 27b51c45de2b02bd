"""Worker processes, any of which may be killed at any moment.

Each has a pipe of its own and shares nothing with the others. A queue for all would have a lock, and a worker killed
while it holds that lock, or before it has read what it is to do, leaves `concurrent.futures` waiting for ever.
"""

from __future__ import annotations

import os
import pickle
import signal
import threading
import traceback
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from multiprocessing import get_context, parent_process, resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any


class _WorkerTraceback(Exception):
    """Cause of an error that comes from a worker: where it was raised there."""


def share_out(
    function: Callable[..., Any], tasks: Iterable[tuple[Any, ...]], num_proc: int
) -> Iterator[tuple[tuple[Any, ...], Any]]:
    """Call a function on tasks in so many processes; gives each task with its result, as they get done.

    The processes end with the iterator, whatever ends it, and with their parent.

    Args:
        function: Something that can be pickled.
        tasks: Arguments of the calls.
        num_proc: Processes.

    Raises:
        OSError: A process died.
        Exception: What the function raises.
    """
    shared, left = pickle.dumps(function), iter(tasks)
    processes: list[BaseProcess] = []
    given: dict[Connection, tuple[Any, ...]] = {}
    try:
        connections = [_start(processes) for _ in range(num_proc)]
        for connection in connections:
            with _unless_killed():
                connection.send_bytes(shared)
        free = connections
        while True:
            for connection, task in zip(free, left, strict=False):
                given[connection] = task
                with _unless_killed():
                    connection.send(task)
            if not given:
                return
            free = wait(connections)
            for connection in free:
                with _unless_killed():
                    result, error, where = connection.recv()
                if error is not None:
                    raise error from _WorkerTraceback(where)
                yield given.pop(connection), result
    finally:
        # Nothing is lost: parts are whole or not at all, and whoever has none to make is waiting.
        for process in processes:
            process.kill()
        for process in processes:
            process.join()


@contextmanager
def _unless_killed() -> Iterator[None]:
    """The pipe to a process that is dead has an end, or breaks."""
    try:
        yield
    except (EOFError, OSError) as error:
        raise OSError(
            "a worker process was killed, perhaps for want of memory. Give the same command again; fewer --num-proc "
            "need less memory."
        ) from error


def _start(processes: list[BaseProcess]) -> Connection:
    """Start a process, add it to the list, and give our end of its pipe."""
    # New processes, not forks: threads of tokenizers and Arrow do not survive those.
    context = get_context("spawn")
    ours, theirs = context.Pipe()
    # All that it is to do goes through the pipe: `start` itself waits for ever for a dead process to read much.
    process = context.Process(target=_work, args=(theirs,), daemon=True)
    with _without_interrupts():
        process.start()
        processes.append(process)
    theirs.close()  # so that the pipe ends with the process
    return ours


@contextmanager
def _without_interrupts() -> Iterator[None]:
    """Processes started meanwhile are deaf to Ctrl-C, from their first instruction on: their parent ends them."""
    resource_tracker.ensure_running()  # else `start` does it, which ends the blocking of signals
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _work(connection: Connection) -> None:
    """What a process does: reads a function, then answers tasks with (result, error, traceback)."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    with suppress(EOFError, OSError):  # the parent is gone
        function, *failure = _answer(pickle.loads, connection.recv_bytes())
        while True:
            task = connection.recv()
            connection.send(_answer(function, *task) if failure[0] is None else (None, *failure))


def _end_with_parent() -> None:
    """End at once, not after a part that the same command, started again, may be making too."""
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _answer(function: Callable[..., Any], *arguments: Any) -> tuple[Any, Exception | None, str]:
    try:
        return function(*arguments), None, ""
    except Exception as error:
        where = f'\n"""\n{traceback.format_exc()}"""'
        try:
            pickle.loads(pickle.dumps(error))
        except Exception:
            error = RuntimeError(f"{type(error).__name__}: {error}")
        return None, error, where
