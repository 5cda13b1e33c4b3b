"""DataLoader: batches of a data set, in an order, again and again.

    for x, y in DataLoader(TensorDataset(xs, ys), batch_size=32, shuffle=True):
        ...

Each iteration takes indices from the sampler, fetches the samples and collates them. Semantics
follow https://docs.pytorch.org/docs/2.13/data.html#torch.utils.data.DataLoader, with one
difference: workers run in this process, see `worker`.
"""

from __future__ import annotations

import warnings
from collections import deque
from collections.abc import Callable, Iterator
from itertools import cycle, repeat
from typing import Any, Generic, TypeVar

from lazyt.utils.data.collate import default_collate, default_convert
from lazyt.utils.data.dataset import IterableDataset
from lazyt.utils.data.fetch import Fetch, make_fetch, rows_only
from lazyt.utils.data.sampler import (
    BatchSampler,
    RandomSampler,
    Sampler,
    SequentialSampler,
    draw_seed,
)
from lazyt.utils.data.worker import Worker, WorkerInfo

__all__ = ["DataLoader"]

_Sample = TypeVar("_Sample", covariant=True)

# What cannot change once samplers were made of it.
_FIXED = {
    "batch_size",
    "batch_sampler",
    "sampler",
    "drop_last",
    "dataset",
    "persistent_workers",
}


class _NoIndices(Sampler[None]):
    """The sampler of a stream: it only says how many samples go into a batch."""

    def __iter__(self) -> Iterator[None]:
        return repeat(None)


class DataLoader(Generic[_Sample]):
    """An iterable of batches.

    Args:
        dataset: map-style (`__getitem__`, `__len__`) or an IterableDataset.
        batch_size: samples a batch; None gives single samples.
        shuffle: go through the data set in a new random order each time.
        sampler: the order instead, an iterable of indices.
        batch_sampler: the batches instead, an iterable of lists of indices.
        num_workers: workers as `get_worker_info` and random draws in the data set see them.
        collate_fn: makes a batch of a list of samples.
        drop_last: leave out a last batch that is shorter.
        worker_init_fn: called in each worker with its number.
        generator: what the order and the seed of the workers are drawn from.
        pin_memory, timeout, multiprocessing_context, prefetch_factor, persistent_workers,
            pin_memory_device, in_order: accepted as in PyTorch.

    Raises:
        ValueError: options that exclude each other.
    """

    _initialized = False

    def __init__(
        self,
        dataset: Any,
        batch_size: int | None = 1,
        shuffle: bool | None = None,
        sampler: Any = None,
        batch_sampler: Any = None,
        num_workers: int = 0,
        collate_fn: Callable[[Any], Any] | None = None,
        pin_memory: bool = False,
        drop_last: bool = False,
        timeout: float = 0,
        worker_init_fn: Callable[[int], Any] | None = None,
        multiprocessing_context: Any = None,
        generator: Any = None,
        *,
        prefetch_factor: int | None = None,
        persistent_workers: bool = False,
        pin_memory_device: str = "",
        in_order: bool = True,
    ) -> None:
        _check_workers(num_workers, timeout, prefetch_factor, persistent_workers)
        if multiprocessing_context is not None and num_workers == 0:
            raise ValueError(
                "multiprocessing_context can only be used with multi-process loading "
                f"(num_workers > 0), but got num_workers={num_workers}"
            )
        self.dataset = dataset
        self.num_workers = num_workers
        self.prefetch_factor = 2 if num_workers and prefetch_factor is None else prefetch_factor
        self.pin_memory = pin_memory
        self.pin_memory_device = pin_memory_device
        self.timeout = timeout
        self.worker_init_fn = worker_init_fn
        self.multiprocessing_context = multiprocessing_context
        self.in_order = in_order
        self.generator = generator
        self.persistent_workers = persistent_workers

        self._streams = isinstance(dataset, IterableDataset)
        if self._streams:
            _check_stream(shuffle, sampler, batch_sampler)
        _check_batches(batch_size, shuffle, sampler, batch_sampler, drop_last)
        if batch_sampler is not None:
            batch_size = None
        if sampler is None:
            if self._streams:
                sampler = _NoIndices()
            elif shuffle:
                sampler = RandomSampler(dataset, generator=generator)
            else:
                sampler = SequentialSampler(dataset)
        if batch_size is not None:
            batch_sampler = BatchSampler(sampler, batch_size, drop_last)
        self.batch_size = batch_size
        self.drop_last = drop_last
        self.sampler = sampler
        self.batch_sampler = batch_sampler
        if collate_fn is None:
            collate_fn = default_collate if self._auto_collation else default_convert
        self.collate_fn = collate_fn
        self._iterator: _WorkerIterator | None = None
        self._stream_length: int | None = None
        self._initialized = True

    def __setattr__(self, name: str, value: Any) -> None:
        if self._initialized and name in _FIXED:
            raise ValueError(
                f"{name} attribute should not be set after {type(self).__name__} is initialized"
            )
        super().__setattr__(name, value)

    @property
    def _auto_collation(self) -> bool:
        return self.batch_sampler is not None

    @property
    def _index_sampler(self) -> Any:
        return self.batch_sampler if self._auto_collation else self.sampler

    def _make_fetch(self) -> Fetch:
        return make_fetch(self.dataset, self._auto_collation, self.collate_fn, self.drop_last)

    def __iter__(self) -> Iterator[Any]:
        if self.num_workers == 0:
            return _Iterator(self)
        if not self.persistent_workers:
            return _WorkerIterator(self)
        if self._iterator is None:
            self._iterator = _WorkerIterator(self)
        else:
            self._iterator.restart()
        return self._iterator

    def __len__(self) -> int:
        if not self._streams:
            return len(self._index_sampler)
        length = self._stream_length = len(self.dataset)
        if self.batch_size is None:
            return length
        if self.drop_last:
            return length // self.batch_size
        return -(-length // self.batch_size)


def _check_workers(
    num_workers: int, timeout: float, prefetch_factor: int | None, persistent: bool
) -> None:
    if num_workers < 0:
        raise ValueError(
            "num_workers option should be non-negative; use num_workers=0 to disable "
            "multiprocessing."
        )
    if timeout < 0:
        raise ValueError("timeout option should be non-negative")
    if num_workers == 0 and prefetch_factor is not None:
        raise ValueError(
            "prefetch_factor option could only be specified in multiprocessing.let num_workers > 0 "
            "to enable multiprocessing, otherwise set prefetch_factor to None."
        )
    if prefetch_factor is not None and prefetch_factor < 0:
        raise ValueError("prefetch_factor option should be non-negative")
    if persistent and num_workers == 0:
        raise ValueError("persistent_workers option needs num_workers > 0")


def _check_batches(
    batch_size: int | None, shuffle: Any, sampler: Any, batch_sampler: Any, drop_last: bool
) -> None:
    if sampler is not None and shuffle:
        raise ValueError("sampler option is mutually exclusive with shuffle")
    if batch_sampler is not None:
        if batch_size != 1 or shuffle or sampler is not None or drop_last:
            raise ValueError(
                "batch_sampler option is mutually exclusive with batch_size, shuffle, "
                "sampler, and drop_last"
            )
    elif batch_size is None and drop_last:
        raise ValueError(
            "batch_size=None option disables auto-batching and is mutually exclusive with drop_last"
        )


def _check_stream(shuffle: Any, sampler: Any, batch_sampler: Any) -> None:
    prefix = "DataLoader with IterableDataset: expected unspecified"
    if shuffle not in (False, None):
        raise ValueError(f"{prefix} shuffle option, but got shuffle={shuffle}")
    if sampler is not None:
        raise ValueError(f"{prefix} sampler option, but got sampler={sampler}")
    if batch_sampler is not None:
        raise ValueError(f"{prefix} batch_sampler option, but got batch_sampler={batch_sampler}")


class _Iterator:
    """One pass over a loader. The order of draws is PyTorch's: the sampler's iterator is made
    first, then the base seed is drawn, and a sampler that is a generator draws when it is first
    asked for an index."""

    def __init__(self, loader: DataLoader[Any]) -> None:
        self._loader = loader
        self._indices = iter(loader._index_sampler)
        self._base_seed = draw_seed(loader.generator)
        self._yielded = 0
        self._start()

    def _start(self) -> None:
        if self._loader.timeout != 0:
            raise AssertionError("a DataLoader without workers requires timeout == 0")
        self._fetch = self._loader._make_fetch()

    def _next_batch(self) -> Any:
        return self._fetch(next(self._indices))

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        batch = self._next_batch()
        self._yielded += 1
        expected = self._loader._stream_length
        if expected is not None and self._yielded > expected:
            self._warn_too_long(expected)
        return batch

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
        warnings.warn(message, stacklevel=3)

    def __len__(self) -> int:
        return len(self._loader._index_sampler)

    def __getstate__(self) -> Any:
        raise NotImplementedError(f"{type(self).__name__} cannot be pickled")


class _WorkerIterator(_Iterator):
    """One pass with workers: batch i is the next worker's in turn. Indices are taken ahead, as
    many as PyTorch would have handed out, so that the sampler draws at the same moments."""

    def _start(self) -> None:
        loader = self._loader
        draws = loader.worker_init_fn is not None or not (
            loader._auto_collation and rows_only(loader.dataset, loader.collate_fn)
        )
        self._workers = [
            Worker(
                WorkerInfo(i, loader.num_workers, self._base_seed + i, loader.dataset),
                self._base_seed,
                loader._make_fetch,
                loader.worker_init_fn,
                draws,
            )
            for i in range(loader.num_workers)
        ]
        self._hand_out_first()

    def restart(self) -> None:
        """Begin another pass with the same workers."""
        self._indices = iter(self._loader._index_sampler)
        self._yielded = 0
        for worker in self._workers:
            worker.restart()
        self._hand_out_first()

    def _hand_out_first(self) -> None:
        self._running = set(self._workers)
        self._turns = cycle(self._workers)
        self._tasks: deque[tuple[Worker, Any]] = deque()
        for _ in range((self._loader.prefetch_factor or 1) * len(self._workers)):
            self._hand_out()

    def _hand_out(self) -> None:
        """Give the next index to the next worker that still runs."""
        try:
            index = next(self._indices)
        except StopIteration:
            return
        for worker in self._turns:
            if not self._running:
                return
            if worker in self._running:
                self._tasks.append((worker, index))
                return

    def _next_batch(self) -> Any:
        while self._tasks:
            worker, index = self._tasks.popleft()
            if worker not in self._running:
                continue
            try:
                batch = worker.fetch(index)
            except StopIteration:
                if not self._loader._streams:
                    raise
                self._running.discard(worker)
                self._hand_out()
                continue
            self._hand_out()
            return batch
        raise StopIteration
