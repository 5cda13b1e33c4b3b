"""Passes over a loader, in this process and with workers.

What can be seen of the order of things is PyTorch's: when the sampler's iterator is made and the
base seed drawn, how many indices are taken ahead, which worker gets which batch.
"""

from __future__ import annotations

import multiprocessing
import weakref
from collections.abc import Iterator
from itertools import cycle
from typing import TYPE_CHECKING, Any

from lazyt.utils.data.crew import InlineCrew, ProcessCrew
from lazyt.utils.data.fetch import make_fetch, rows_only
from lazyt.utils.data.pinning import pin_memory
from lazyt.utils.data.sampler import draw_seed
from lazyt.utils.data.worker import Ended, Failure, Job, Resume
from lazyt.warned import warn

if TYPE_CHECKING:
    from lazyt.utils.data.dataloader import DataLoader

__all__ = ["_BaseDataLoaderIter", "_MultiProcessingDataLoaderIter", "_SingleProcessDataLoaderIter"]


class _BaseDataLoaderIter:
    """One pass over a loader."""

    def __init__(self, loader: DataLoader[Any]) -> None:
        self._loader = loader
        self._pins = _pins(loader)
        self._indices = iter(loader._index_sampler)
        self._base_seed = draw_seed(loader.generator)
        self._yielded = 0

    def _next_data(self) -> Any:
        raise NotImplementedError

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        batch = self._next_data()
        self._yielded += 1
        expected = self._loader._stream_length
        if expected is not None and self._yielded > expected:
            self._warn_too_long(expected)
        return pin_memory(batch) if self._pins else batch

    def _warn_too_long(self, expected: int) -> None:
        message = (
            f"Length of IterableDataset {self._loader.dataset} was reported to be {expected}"
            f"(when accessing len(dataloader)), but {self._yielded} samples have been fetched. "
        )
        if self._loader.num_workers:
            message += (
                "For multiprocessing data-loading, this could be caused by not properly "
                "configuring the IterableDataset replica at each worker. Please see "
                "https://pytorch.org/docs/stable/data.html#torch.utils.data.IterableDataset for "
                "examples."
            )
        warn(message)

    def __len__(self) -> int:
        return len(self._loader._index_sampler)

    def __getstate__(self) -> Any:
        raise NotImplementedError("{} cannot be pickled", type(self).__name__)


def _pins(loader: DataLoader[Any]) -> bool:
    """Whether batches go to page-locked memory; warns where that cannot be."""
    from lazyt import accelerator

    if not loader.pin_memory:
        return False
    if loader.pin_memory_device:
        warn(
            "pin_memory_device is deprecated, the current accelerator will be used as the device,"
            f"ignore pin_memory_device='{loader.pin_memory_device}'.",
        )
    if accelerator.is_available():
        return True
    warn(
        "'pin_memory' argument is set as true but no accelerator is found, then device pinned "
        "memory won't be used.",
    )
    return False


class _SingleProcessDataLoaderIter(_BaseDataLoaderIter):
    """A pass without workers."""

    def __init__(self, loader: DataLoader[Any]) -> None:
        super().__init__(loader)
        if loader.timeout != 0:
            raise AssertionError("_SingleProcessDataLoaderIter requires timeout == 0")
        self._fetch = make_fetch(
            loader.dataset, loader._auto_collation, loader.collate_fn, loader.drop_last
        )

    def _next_data(self) -> Any:
        return self._fetch(next(self._indices))


class _MultiProcessingDataLoaderIter(_BaseDataLoaderIter):
    """A pass with workers. Batches are numbered in the order of their indices, which are handed
    out in turn, `prefetch_factor` times the number of workers ahead."""

    def __init__(self, loader: DataLoader[Any]) -> None:
        super().__init__(loader)
        if not loader.prefetch_factor or loader.prefetch_factor <= 0:
            raise AssertionError(
                "prefetch_factor must be greater than 0 for MultiProcessingDataLoaderIter"
            )
        self._count = loader.num_workers
        self._most = loader.prefetch_factor * self._count
        jobs = [
            Job(
                id=i,
                num_workers=self._count,
                base_seed=self._base_seed,
                dataset=loader.dataset,
                batched=loader._auto_collation,
                collate=loader.collate_fn,
                drop_last=loader.drop_last,
                streams=loader._streams,
                init=loader.worker_init_fn,
            )
            for i in range(self._count)
        ]
        self._crew: InlineCrew | ProcessCrew
        if (
            loader.worker_init_fn is None
            and loader._auto_collation
            and rows_only(loader.dataset, loader.collate_fn)
        ):
            self._crew = InlineCrew(jobs)
        else:
            context = loader.multiprocessing_context or multiprocessing.get_context()
            self._crew = ProcessCrew(jobs, context)
        weakref.finalize(self, self._crew.close)
        self._begin()

    def _begin(self) -> None:
        self._indices = iter(self._loader._index_sampler)
        self._yielded = 0
        self._sent = 0  # the number of the next batch to be handed out
        self._wanted = 0  # the number of the next batch to be yielded
        self._workers: dict[int, int] = {}  # by number of a batch that is not yielded: its worker
        self._arrived: dict[int, Any] = {}  # batches that came before their turn
        self._loads = [0] * self._count
        self._streaming = [True] * self._count
        self._turns = cycle(range(self._count))
        for _ in range(self._most):
            self._hand_out()

    def restart(self) -> None:
        """Begin another pass with the same workers."""
        working = [worker for worker in range(self._count) if self._crew.works(worker)]
        for worker in working:
            self._crew.put(worker, Resume())
        resumed = 0
        while resumed < len(working):  # what was under way comes first, and is of no use
            resumed += isinstance(self._crew.get(self._loader.timeout)[0], Resume)
        self._begin()

    def _takes(self, worker: int) -> bool:
        """Whether a worker gets another batch."""
        if not self._runs(worker):
            return False
        running = sum(map(self._runs, range(self._count)))
        return self._loader.in_order or self._loads[worker] < self._most // running

    def _runs(self, worker: int) -> bool:
        return self._streaming[worker] and self._crew.works(worker)

    def _hand_out(self) -> None:
        """Give the next indices to the next worker that takes them."""
        try:
            indices = next(self._indices)
        except StopIteration:
            return
        for _ in range(self._count):
            worker = next(self._turns)
            if self._takes(worker):
                break
        else:
            return
        self._crew.put(worker, (self._sent, indices))
        self._workers[self._sent] = worker
        self._loads[worker] += 1
        self._sent += 1

    def _next_data(self) -> Any:
        while True:
            # Batches that nobody makes any more are passed over.
            while self._wanted < self._sent and self._wanted not in self._arrived:
                worker = self._workers.get(self._wanted)
                if worker is not None and self._runs(worker):
                    break
                self._workers.pop(self._wanted, None)
                self._wanted += 1
            if self._wanted >= self._sent:
                if not self._loader.persistent_workers:
                    self._crew.close()
                raise StopIteration
            if self._wanted in self._arrived:
                number, answer = self._wanted, self._arrived.pop(self._wanted)
            else:
                number, answer = self._crew.get(self._loader.timeout)
                if isinstance(answer, Ended):
                    self._end_stream(self._workers[number])
                    continue
                if number != self._wanted and self._loader.in_order:
                    self._arrived[number] = answer
                    continue
            if number == self._wanted:
                self._wanted += 1
            self._loads[self._workers.pop(number)] -= 1
            self._hand_out()
            if isinstance(answer, Failure):
                answer.reraise()
            return answer

    def _end_stream(self, worker: int) -> None:
        self._streaming[worker] = False
        if not self._loader.persistent_workers and isinstance(self._crew, ProcessCrew):
            self._crew.dismiss(worker)
        self._hand_out()
