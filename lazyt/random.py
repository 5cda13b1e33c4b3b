"""Generators of random numbers and where their draws go: `torch.Generator`, `torch.random`.

The functions that draw stand in `functions/draws.py`. A draw happens when it is called, so that the
stream is read in the order of the program, whatever is computed later:

    torch.manual_seed(0)
    a = torch.rand(3)        # drawn here: 0.4963, 0.7682, 0.0885
    b = torch.rand(3)        # the next three, also if `a` is never read

A draw fills memory in the order of its addresses, so a transposed tensor receives the numbers that
its base would have received. Every device has a stream of its own; `manual_seed` restarts all. The
engine of the CPU (`runtime/generator.py`) draws arrays, that of a GPU (`runtime/philox.py`) counts:
nothing of CUDA is started for a seed or a state.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from lazyt.ir import dtypes
from lazyt.ir.public_type import PublicType
from lazyt.runtime.generator import Generator as Engine
from lazyt.runtime.mersenne import DEFAULT_SEED, check, seed_number
from lazyt.runtime.philox import PhiloxGenerator

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
    __slots__ = ("_engine", "_device", "__weakref__")

    _engine: Engine | PhiloxGenerator
    _device: str

    def __init__(self, device: Any = "cpu") -> None:
        self._device = resolve(device, "Generator")
        self._engine = Engine() if self._device == "cpu" else PhiloxGenerator()

    @property
    def device(self) -> Device:
        return Device(self._device)

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
        """The state of the stream in PyTorch's layout: uint8 of shape (5056,), of a GPU (16,)."""
        return wrap(data_node(self._engine.get_state(), dtypes.uint8))

    def set_state(self, new_state: Tensor) -> Generator:
        """Continues from a state; TypeError or RuntimeError for what is none."""
        if not isinstance(new_state, Tensor):
            raise TypeError(f"expected a torch.ByteTensor, but got {type(new_state).__name__}")
        self._engine.set_state(array_of(new_state))
        return self

    def get_offset(self) -> int:
        """Where a GPU's stream stands. Errors: RuntimeError on the CPU."""
        return self._counting().get_offset()

    def set_offset(self, offset: int) -> Generator:
        """Continues a GPU's stream from a multiple of 4. Errors: RuntimeError for what is none, and
        on the CPU."""
        self._counting().set_offset(offset)
        return self

    def _counting(self) -> PhiloxGenerator:
        check(isinstance(self._engine, PhiloxGenerator), "CPU Generator does not use offset")
        return self._engine  # type: ignore[return-value]

    graphsafe_get_state = property(lambda self: self.clone_state)

    def clone_state(self) -> Generator:
        """Another generator that continues from the same state."""
        return _restored(self._engine.clone(), self._device)

    def __reduce__(self) -> tuple:
        return (_restored, (self._engine, self._device))

    def __deepcopy__(self, memo: dict) -> Generator:
        return self.clone_state()


def _restored(engine: Engine | PhiloxGenerator, device: str = "cpu") -> Generator:
    made = Generator()
    made._engine, made._device = engine, device
    return made


default_generator = Generator()
# The default generators of the GPUs, from when they are first asked for on; until then each of them
# stands at the beginning of the stream of this seed.
_OF_GPUS: dict[str, Generator] = {}
_GPU_SEED = [DEFAULT_SEED]


def generator_of(device: str) -> Generator:
    """The default generator of a device ("cuda:0"); needs no GPU."""
    if device == "cpu":
        return default_generator
    found = _OF_GPUS.get(device)
    if found is None:
        found = _OF_GPUS.setdefault(device, _restored(PhiloxGenerator(_GPU_SEED[0]), device))
    return found


def seed_gpus(seed: int) -> None:
    """Restarts the default streams of all GPUs from a seed."""
    _GPU_SEED[0] = seed_number(seed)
    for generator in tuple(_OF_GPUS.values()):
        generator.manual_seed(seed)


def engine_of(generator: Generator | None, device: str = "cpu") -> Engine | PhiloxGenerator:
    """The engine to draw from on a device: that of `generator`, or of the device's default one.

    Errors: TypeError for what is no generator, RuntimeError for one of another device.
    """
    if generator is None:
        return generator_of(device)._engine
    if not isinstance(generator, Generator):
        raise TypeError(
            f"argument 'generator' must be torch.Generator, not {type(generator).__name__}"
        )
    if generator._device != device:
        wanted, have = Device(device), generator.device
        if wanted.type != have.type:
            raise RuntimeError(
                f"Expected a '{wanted.type}' device type for generator but found '{have.type}'"
            )
        raise RuntimeError(f"Expected a generator of {wanted} but found one of {have}")
    return generator._engine


def manual_seed(seed: int) -> Generator:
    """Restarts the default streams of all devices from a seed; returns the CPU's generator."""
    default_generator.manual_seed(int(seed))
    seed_gpus(int(seed))
    return default_generator


def seed() -> int:
    """Restarts the default streams from a seed of the operating system and returns that."""
    found = default_generator.seed()
    manual_seed(found)
    return found


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
    """While open, what is drawn and seeded does not change the streams outside.

    devices: the GPUs this is about, all by default; the CPU is always among them.
    """
    if not enabled:
        yield
        return
    kept = RandomStates(None if devices is None else [resolve(_gpu(d)) for d in devices])
    try:
        yield
    finally:
        kept.put_back()


class RandomStates:
    """Where the streams of the CPU and of GPUs stand, of all GPUs for None."""

    def __init__(self, gpus: list[str] | None):
        self._gpu_seed = _GPU_SEED[0] if gpus is None else None
        names = tuple(_OF_GPUS) if gpus is None else gpus
        self._engines = {name: generator_of(name)._engine.clone() for name in ("cpu", *names)}

    def put_back(self) -> None:
        if self._gpu_seed is not None:
            _GPU_SEED[0] = self._gpu_seed
            for name in _OF_GPUS.keys() - self._engines.keys():  # they were not asked for yet
                _OF_GPUS[name].manual_seed(self._gpu_seed)
        for name, engine in self._engines.items():
            generator_of(name)._engine.set_state(engine.get_state())


def _gpu(device: Any) -> Any:
    return Device("cuda", device) if isinstance(device, int) else device


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
