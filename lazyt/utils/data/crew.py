"""The workers of a loader: messages out, answers back, whoever is done first.

    crew = ProcessCrew(jobs, multiprocessing.get_context())
    crew.put(0, (7, [1, 2, 3]))
    crew.get()  # (7, the batch)

Messages go through a queue to each worker, so that sending never waits. Answers come through a pipe
from each: what a worker that dies leaves unfinished disturbs no other, and the end of its pipe
tells at once that it died.
"""

from __future__ import annotations

import os
import signal
import time
from collections import deque
from collections.abc import Sequence
from multiprocessing.connection import Connection, wait
from pickle import PicklingError
from typing import Any

from lazyt.runtime.drain import drain
from lazyt.utils.data.fetch import Fetch
from lazyt.utils.data.transport import receive
from lazyt.utils.data.worker import CHECK_SECONDS, Failure, Job, Resume, run_worker
from lazyt.warned import warn

__all__ = ["InlineCrew", "ProcessCrew"]

_NOT_PICKLABLE = (
    "Got pickle error when attempting to start a worker Process. This might be because the worker "
    "Process arguments are not picklable. Python 3.14+ changed the multiprocessing start method in "
    "non-Mac POSIX platforms to 'forkserver', which requires the worker Process arguments to be "
    "picklable. You can also try multiprocessing.set_start_method('fork')."
)


class ProcessCrew:
    """Workers that are processes.

    Args:
        jobs: one for each worker.
        context: of multiprocessing, which says how processes are started.
    """

    def __init__(self, jobs: Sequence[Job], context: Any) -> None:
        self._pid = os.getpid()
        drain()  # what the data set is made of is computed here, once, and not in every worker
        self._done = context.Event()
        self._queues: list[Any] = []
        self._pipes: list[Connection] = []
        self.processes: list[Any] = []
        self._working: set[int] = set()  # who has not been dismissed and not been found dead
        for job in jobs:
            messages = context.Queue()
            messages.cancel_join_thread()
            answers, theirs = context.Pipe()
            process = context.Process(
                target=run_worker, args=(job, messages, theirs, self._done), daemon=True
            )
            try:
                process.start()
            except (TypeError, AttributeError, PicklingError):
                warn(_NOT_PICKLABLE)
                raise
            theirs.close()  # or the pipe would not end with the worker
            self._working.add(len(self.processes))
            self._queues.append(messages)
            self._pipes.append(answers)
            self.processes.append(process)

    def put(self, worker: int, message: Any) -> None:
        """Send a message to a worker."""
        self._queues[worker].put(message)

    def get(self, timeout: float = 0) -> tuple[Any, Any]:
        """The next answer of any worker.

        Raises:
            RuntimeError: a worker died, or nothing came in `timeout` seconds (0: wait on).
        """
        watched: dict[Any, int] = {self._pipes[i]: i for i in self._working}
        watched |= {self.processes[i].sentinel: i for i in self._working}
        if not watched:
            raise RuntimeError("all DataLoader workers have exited")
        ready = wait(watched, timeout or None)
        if not ready:
            raise RuntimeError(f"DataLoader timed out after {timeout} seconds")
        dead = set()
        for i in sorted({watched[source] for source in ready}):
            try:
                if self._pipes[i].poll():  # who has exited may have left answers
                    return receive(self._pipes[i])
            except (EOFError, ConnectionError):
                pass
            dead.add(i)
        raise self._death_of(dead)

    def _death_of(self, workers: set[int]) -> RuntimeError:
        """The error that says that workers died, and how."""
        reasons = []
        for i in workers:
            self._working.discard(i)
            process = self.processes[i]
            process.join(CHECK_SECONDS)
            code = process.exitcode
            if code is not None and code < 0:
                how = f"is killed by signal: {signal.strsignal(-code)}. "
            else:
                how = (
                    f"exited unexpectedly with exit code {code}. Details are lost due to "
                    "multiprocessing. Rerunning with num_workers=0 may give better error trace."
                )
            reasons.append(f"DataLoader worker (pid {process.pid}) {how}")
        pids = ", ".join(str(self.processes[i].pid) for i in workers)
        error = RuntimeError(f"DataLoader worker (pid(s) {pids}) exited unexpectedly")
        error.__cause__ = RuntimeError("\n".join(reasons))
        return error

    def works(self, worker: int) -> bool:
        """Whether a worker was neither dismissed nor found dead."""
        return worker in self._working

    def dismiss(self, worker: int) -> None:
        """Let a worker end: it gets no more messages."""
        self._working.discard(worker)
        self._queues[worker].put(None)

    def close(self) -> None:
        """Let all workers end; who does not within some seconds is terminated. Does nothing in a
        forked process: the workers are not its own."""
        if os.getpid() != self._pid or self._done.is_set():
            return
        self._done.set()
        for messages in self._queues:
            messages.put(None)
        # A worker may wait for somebody to take its answer: take it, and let it fall.
        pipes, ends = set(self._pipes), {process.sentinel for process in self.processes}
        deadline = time.monotonic() + CHECK_SECONDS
        while ends and (left := deadline - time.monotonic()) > 0:
            for ready in wait([*pipes, *ends], left):
                if not isinstance(ready, Connection):
                    ends.discard(ready)
                    continue
                try:
                    ready.recv_bytes()
                except (EOFError, OSError):
                    pipes.discard(ready)
        for process in self.processes:
            if process.is_alive():
                process.terminate()
            process.join(CHECK_SECONDS)
        for messages in self._queues:
            messages.close()
        for pipe in self._pipes:
            pipe.close()


class InlineCrew:
    """Workers that are no processes: for batches in whose making nothing runs that a user wrote,
    so that nobody can tell. A batch is made when it is asked for."""

    def __init__(self, jobs: Sequence[Job]) -> None:
        self._jobs = jobs
        self._fetch: list[Fetch] = [job.make_fetch() for job in jobs]
        self._messages: deque[tuple[int, Any]] = deque()
        self.processes: list[Any] = []

    def put(self, worker: int, message: Any) -> None:
        """Send a message to a worker."""
        self._messages.append((worker, message))

    def get(self, timeout: float = 0) -> tuple[Any, Any]:
        """The answer to the oldest message."""
        worker, message = self._messages.popleft()
        if isinstance(message, Resume):
            return message, None
        number, indices = message
        try:
            return number, self._fetch[worker](indices)
        except Exception as error:
            return number, Failure(error, self._jobs[worker].where)

    def works(self, worker: int) -> bool:
        """Always."""
        return True

    def close(self) -> None:
        """Nothing to end."""
