"""Where the random numbers of the GPUs stand.

    torch.cuda.manual_seed_all(0)
    random_state(1)               # RandomState(seed=0, offset=0)

A draw is a function of seed and offset, so the two are all of a generator's state.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from .devices import check, index_of

DEFAULT_SEED = 67280421310721  # PyTorch's


@dataclass
class RandomState:
    """Where a GPU's counter-based generator stands: its seed, and the draws that were made."""

    seed: int = DEFAULT_SEED
    offset: int = 0


_ALL = RandomState()  # of the devices that were not asked for yet
_STATES: dict[int, RandomState] = {}


def random_state(device: Any = None) -> RandomState:
    """The state of a GPU's generator, to be advanced by whoever draws; needs no GPU."""
    return _STATES.setdefault(index_of(device), RandomState(_ALL.seed))


def manual_seed(seed: int) -> None:
    """Seeds the generator of the current GPU."""
    _STATES[index_of(None)] = RandomState(int(seed))


def manual_seed_all(seed: int) -> None:
    """Seeds the generators of all GPUs."""
    _ALL.seed = int(seed)
    _STATES.clear()


def initial_seed() -> int:
    """The seed of the current GPU's generator. Errors: AssertionError without one."""
    check()
    return random_state().seed
