"""Generators of random numbers and where their draws go: `torch.Generator`, `torch.random`.

The engine is `runtime/generator.py`, the functions that draw stand in `draws`. A draw happens when
it is called, so that the stream is read in the order of the program, whatever is computed later:

    torch.manual_seed(0)
    a = torch.rand(3)        # drawn here: 0.4963, 0.7682, 0.0885
    b = torch.rand(3)        # the next three, also if `a` is never read

A draw fills memory in the order of its addresses, so a transposed tensor receives the numbers that
its base would have received.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from lazyt.ir import dtypes
from lazyt.ir.public_type import PublicType
from lazyt.runtime.generator import Generator as Engine

from .device import Device, resolve
from .dispatch import data_node, wrap
from .registry import FUNCTIONS
from .state import array_of
from .tensor import Tensor

__all__ = [
    "Generator",
    "default_generator",
    "fork_rng",
    "get_rng_state",
    "initial_seed",
    "manual_seed",
    "seed",
    "set_rng_state",
]

# --- generators -----------------------------------------------------------------------------------


class Generator(metaclass=PublicType):
    """A stream of random numbers, equal to that of `torch.Generator()` on the CPU."""

    _public_name = "torch._C.Generator"
    __slots__ = ("_engine", "__weakref__")

    def __init__(self, device: Any = "cpu") -> None:
        resolve(device)
        self._engine = Engine()

    @property
    def device(self) -> Device:
        return Device("cpu")

    def manual_seed(self, seed: int) -> Generator:
        """Restarts the stream from a seed of at most 64 bits; returns itself."""
        self._engine.manual_seed(seed)
        return self

    def seed(self) -> int:
        """Restarts the stream from a seed of the operating system and returns that."""
        return self._engine.seed()

    def initial_seed(self) -> int:
        """The seed the stream was started from."""
        return self._engine.initial_seed()

    def get_state(self) -> Tensor:
        """The state of the stream, uint8 of shape (5056,), in PyTorch's layout."""
        return wrap(data_node(self._engine.get_state(), dtypes.uint8))

    def set_state(self, new_state: Tensor) -> Generator:
        """Continues from a state; TypeError or RuntimeError for what is none."""
        if not isinstance(new_state, Tensor):
            raise TypeError(f"expected a torch.ByteTensor, but got {type(new_state).__name__}")
        self._engine.set_state(array_of(new_state))
        return self

    graphsafe_get_state = property(lambda self: self.clone_state)

    def clone_state(self) -> Generator:
        """Another generator that continues from the same state."""
        other = Generator()
        other._engine = self._engine.clone()
        return other

    def __reduce__(self) -> tuple:
        return (_restored, (self._engine,))

    def __deepcopy__(self, memo: dict) -> Generator:
        return self.clone_state()


def _restored(engine: Engine) -> Generator:
    made = Generator()
    made._engine = engine
    return made


default_generator = Generator()


def engine_of(generator: Generator | None) -> Engine:
    """The engine to draw from: that of `generator`, or of the default one."""
    if generator is None:
        return default_generator._engine
    if not isinstance(generator, Generator):
        raise TypeError(
            f"argument 'generator' must be torch.Generator, not {type(generator).__name__}"
        )
    return generator._engine


def manual_seed(seed: int) -> Generator:
    """Restarts the default stream from a seed; returns the default generator."""
    return default_generator.manual_seed(int(seed))


def seed() -> int:
    """Restarts the default stream from a seed of the operating system and returns that."""
    return default_generator.seed()


def initial_seed() -> int:
    """The seed of the default stream."""
    return default_generator.initial_seed()


def get_rng_state() -> Tensor:
    """The state of the default stream."""
    return default_generator.get_state()


def set_rng_state(new_state: Tensor) -> None:
    """Continues the default stream from a state."""
    default_generator.set_state(new_state)


@contextlib.contextmanager
def fork_rng(
    devices: Any = None,
    enabled: bool = True,
    _caller: str = "fork_rng",
    _devices_kw: str = "devices",
    device_type: str = "cuda",
) -> Iterator[None]:
    """While open, what is drawn and seeded does not change the stream outside."""
    if not enabled:
        yield
        return
    kept = default_generator._engine.clone()
    try:
        yield
    finally:
        default_generator._engine.set_state(kept.get_state())


# --- where draws go -------------------------------------------------------------------------------


def drawn(draw: Callable[[tuple], np.ndarray], shape: tuple, order: tuple | None) -> np.ndarray:
    """`draw(shape)`, filled in the order of memory."""
    if order is None:
        return draw(shape)
    array = draw(tuple([shape[i] for i in order]))
    back = np.argsort(order)
    return np.ascontiguousarray(array.transpose(back))


FUNCTIONS |= {
    "Generator": Generator,
    "manual_seed": manual_seed,
    "seed": seed,
    "initial_seed": initial_seed,
    "get_rng_state": get_rng_state,
    "set_rng_state": set_rng_state,
}
