"""Loading workers, played in this process.

PyTorch's `num_workers` processes are seen by a program in three ways: `get_worker_info()` tells a
data set which share is its own; random draws of a data set come from the worker's generators,
seeded by base seed + worker number, and leave the program's own alone; batches come in an order
that the numbers of the workers fix. All three hold here, without processes: each worker is a
fetch function, its info and its random state, and a batch is fetched when it is asked for. What a
process would also do is not imitated: the workers share one data set object instead of copies.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

import lazyt

__all__ = ["WorkerInfo", "get_worker_info"]


@dataclass(frozen=True, slots=True)
class WorkerInfo:
    """Which worker asks: its number, how many there are, its seed and its data set."""

    id: int
    num_workers: int
    seed: int
    dataset: Any


_current: list[WorkerInfo] = []


def get_worker_info() -> WorkerInfo | None:
    """The worker that is fetching right now; None in the main program."""
    return _current[-1] if _current else None


def _random_states() -> tuple[Any, Any, Any]:
    return random.getstate(), lazyt.get_rng_state(), np.random.get_state()


def _set_random_states(states: tuple[Any, Any, Any]) -> None:
    random.setstate(states[0])
    lazyt.set_rng_state(states[1])
    np.random.set_state(states[2])


class Worker:
    """One worker of a loader.

    Args:
        info: what `get_worker_info` says inside it.
        base_seed: the loader's seed, from which NumPy's is made.
        start: makes the fetch function; called inside, after `init`.
        init: the user's `worker_init_fn`.
        draws: whether its data set may draw random numbers at all.
    """

    def __init__(
        self,
        info: WorkerInfo,
        base_seed: int,
        start: Callable[[], Callable[[Any], Any]],
        init: Callable[[int], Any] | None,
        draws: bool,
    ) -> None:
        self._info, self._base_seed, self._start, self._init = info, base_seed, start, init
        self._draws = draws
        self._states: tuple[Any, Any, Any] | None = None
        self._fetch: Callable[[Any], Any] | None = None
        self._initialised = False

    def restart(self) -> None:
        """Begin a new epoch with the data set; the random state goes on."""
        self._fetch = None

    def fetch(self, index: Any) -> Any:
        """What the fetch function makes of `index`, inside the worker."""
        with self._inside():
            if not self._initialised:
                self._initialised = True
                if self._init is not None:
                    self._init(self._info.id)
            if self._fetch is None:
                self._fetch = self._start()
            return self._fetch(index)

    @contextmanager
    def _inside(self) -> Iterator[None]:
        outside = _random_states() if self._draws else None
        if outside is not None:
            if self._states is None:
                self._seed()
            else:
                _set_random_states(self._states)
        _current.append(self._info)
        try:
            yield
        finally:
            _current.pop()
            if outside is not None:
                self._states = _random_states()
                _set_random_states(outside)

    def _seed(self) -> None:
        """The seeds of a PyTorch worker process: NumPy's are
        four words of a seed sequence over worker number and base seed."""
        random.seed(self._info.seed)
        lazyt.default_generator.manual_seed(self._info.seed)  # a process would have its own GPUs'
        low, high = self._base_seed & 0xFFFFFFFF, self._base_seed >> 32
        words = np.random.SeedSequence([self._info.id, low, high, 0]).generate_state(4)
        np.random.seed(words)
