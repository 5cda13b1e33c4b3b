"""The random number generators of the GPUs.

    torch.cuda.manual_seed_all(0)
    x = torch.rand(3, device="cuda")
    state = torch.cuda.get_rng_state()        # 16 bytes: seed and offset
    torch.cuda.set_rng_state(state)           # draws go on from there

A draw is a function of seed and offset, so the two are all of a generator's state. Seeds and states
may be set where there is no GPU, and start none; to ask for them needs one, as in PyTorch.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from .devices import check, device_count, index_of

if TYPE_CHECKING:
    from lazyt.random import Generator
    from lazyt.tensor import Tensor


def generator(device: Any = None) -> Generator:
    """The default generator of a GPU."""
    from lazyt.random import generator_of

    return generator_of(f"cuda:{index_of(device)}")


def default_generators() -> tuple[Generator, ...]:
    """The default generators of all GPUs."""
    return tuple(map(generator, range(device_count())))


def get_rng_state(device: Any = "cuda") -> Tensor:
    """The state of a GPU's generator, uint8 of shape (16,). Errors: AssertionError without one."""
    check()
    return generator(device).get_state()


def get_rng_state_all() -> list[Tensor]:
    """The states of the generators of all GPUs."""
    return list(map(get_rng_state, range(device_count())))


def set_rng_state(new_state: Tensor, device: Any = "cuda") -> None:
    """Continues a GPU's stream from a state."""
    generator(device).set_state(new_state)


def set_rng_state_all(new_states: Iterable[Tensor]) -> None:
    """Continues the streams of the GPUs, in their order, from states."""
    for index, state in enumerate(new_states):
        set_rng_state(state, index)


def manual_seed(seed: int) -> None:
    """Seeds the generator of the current GPU."""
    generator().manual_seed(int(seed))


def manual_seed_all(seed: int) -> None:
    """Seeds the generators of all GPUs."""
    from lazyt.random import seed_gpus

    seed_gpus(int(seed))


def seed() -> None:
    """Seeds the generator of the current GPU from the operating system."""
    generator().seed()


def seed_all() -> None:
    """Seeds the generators of all GPUs with one seed of the operating system."""
    manual_seed_all(generator().seed())


def initial_seed() -> int:
    """The seed of the current GPU's generator. Errors: AssertionError without one."""
    check()
    return generator().initial_seed()
