"""What happens inside a loading worker: a process that makes batches of the indices it is sent.

A worker is seeded by base seed + number, calls the user's `worker_init_fn`, and then fetches for
every message (number of the batch, indices) a batch, which it sends back with that number. An error
goes back as a `Failure`, which raises it again, traceback and all, in the program.
"""

from __future__ import annotations

import os
import queue
import random
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NoReturn

import numpy as np

import lazyt
from lazyt.utils.data.fetch import Fetch, make_fetch
from lazyt.utils.data.transport import send

__all__ = ["CHECK_SECONDS", "Failure", "Job", "WorkerInfo", "get_worker_info", "run_worker"]

CHECK_SECONDS = 5.0  # how often a worker looks whether the program is still there


@dataclass(frozen=True, slots=True)
class WorkerInfo:
    """Which worker asks: its number, how many there are, its seed and its data set."""

    id: int
    num_workers: int
    seed: int
    dataset: Any
    rng: Any = None
    worker_method: str | None = "multiprocessing"


_current: list[WorkerInfo] = []


def get_worker_info() -> WorkerInfo | None:
    """The worker that runs this process; None in the main program."""
    return _current[-1] if _current else None


class _KeyErrorText(str):
    """The text of a KeyError, which would show it quoted."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)


class Failure:
    """An exception that was caught in a worker, as a value: its type, its text and its traceback.

    To be made while the exception is handled.
    """

    def __init__(self, error: BaseException, where: str) -> None:
        self.kind = type(error)
        self.text = "".join(traceback.format_exception(error))
        self.where = where

    def reraise(self) -> NoReturn:
        """Raise it here: an exception of its type, or RuntimeError where none can be made of a
        text."""
        text = f"Caught {self.kind.__name__} {self.where}.\nOriginal {self.text}"
        if issubclass(self.kind, KeyError):
            text = _KeyErrorText(text)
        elif getattr(self.kind, "message", None):
            raise self.kind(message=text)  # type: ignore[call-arg]
        try:
            error = self.kind(text)
        except Exception:
            raise RuntimeError(text) from None
        raise error


class Resume:
    """A message: begin another pass. It comes back as the answer."""


class Ended:
    """An answer: the worker's stream has ended."""


@dataclass(frozen=True)
class Job:
    """All that a worker is told when it starts."""

    id: int
    num_workers: int
    base_seed: int
    dataset: Any
    batched: bool
    collate: Callable[[Any], Any]
    drop_last: bool
    streams: bool
    init: Callable[[int], Any] | None

    @property
    def where(self) -> str:
        """How a failure names the worker."""
        return f"in DataLoader worker process {self.id}"

    def make_fetch(self) -> Fetch:
        """The function from indices to a batch; a stream begins anew."""
        return make_fetch(self.dataset, self.batched, self.collate, self.drop_last)

    def seed(self) -> None:
        """Seed all three generators; NumPy's with words of a seed sequence over worker number and
        base seed."""
        seed = self.base_seed + self.id
        random.seed(seed)
        lazyt.default_generator.manual_seed(seed)
        low, high = self.base_seed & 0xFFFFFFFF, self.base_seed >> 32
        np.random.seed(np.random.SeedSequence([self.id, low, high, 0]).generate_state(4))


def run_worker(job: Job, messages: Any, answers: Any, done: Any) -> None:
    """The main function of a worker process.

    Args:
        messages: a queue of (number, indices), `Resume` and, at the end, None.
        answers: a connection for (number, batch), `Failure` or `Ended` in place of the batch.
        done: an event: nobody waits for answers any more.
    """
    try:
        _serve(job, messages, answers, done)
    except (KeyboardInterrupt, ConnectionError):
        pass  # the program was interrupted, or is gone
    finally:
        answers.close()


def _serve(job: Job, messages: Any, answers: Any, done: Any) -> None:
    lazyt.set_num_threads(1)
    job.seed()
    info = WorkerInfo(job.id, job.num_workers, job.base_seed + job.id, job.dataset)
    _current.append(info)
    fetch: Fetch | None = None
    failure: Failure | None = None
    try:
        if job.init is not None:
            job.init(job.id)
        fetch = job.make_fetch()
    except Exception as error:
        failure = Failure(error, job.where)
    ended = False
    parent = os.getppid()
    while os.getppid() == parent:
        try:
            message = messages.get(timeout=CHECK_SECONDS)
        except queue.Empty:
            continue
        if message is None:
            return
        if isinstance(message, Resume):
            ended = False
            send(answers, (message, None))
            fetch = job.make_fetch()
            continue
        if ended or done.is_set():
            continue
        number, indices = message
        answer: Any
        if fetch is None:
            answer = failure
        else:
            try:
                answer = fetch(indices)
            except Exception as error:
                if isinstance(error, StopIteration) and job.streams:
                    ended = True
                    answer = Ended()
                else:
                    answer = Failure(error, job.where)
        try:
            send(answers, (number, answer))
        except ConnectionError:
            raise
        except Exception as error:  # it cannot be pickled
            send(answers, (number, Failure(error, job.where)))
