"""torch.cuda: the GPUs there are, what they do, and their memory.

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
    start.record(); step(); end.record(); end.synchronize()
    start.elapsed_time(end)                       # milliseconds

Nothing of CUDA is imported or started before it is asked for. Without a device, what needs one
raises AssertionError with PyTorch's words and what is missing; questions have the answers of a
machine without a GPU.

Operations are only traced when they are called. So whatever asks for the order or the amount of
work (an event, a stream, `synchronize`, the memory in use) first starts what was traced before it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .device import Device

if TYPE_CHECKING:
    from lazyt.runtime.cuda import driver, streams
    from lazyt.runtime.cuda.memory import OutOfMemoryError

__all__ = [
    "Event",
    "OutOfMemoryError",
    "Stream",
    "can_device_access_peer",
    "current_device",
    "current_stream",
    "default_stream",
    "device",
    "device_count",
    "empty_cache",
    "get_device_capability",
    "get_device_name",
    "get_device_properties",
    "init",
    "initial_seed",
    "is_available",
    "is_bf16_supported",
    "is_initialized",
    "manual_seed",
    "manual_seed_all",
    "max_memory_allocated",
    "max_memory_reserved",
    "mem_get_info",
    "memory_allocated",
    "memory_reserved",
    "reset_peak_memory_stats",
    "set_device",
    "set_stream",
    "stream",
    "synchronize",
]


def __getattr__(name: str) -> Any:
    if name == "OutOfMemoryError":
        from lazyt.runtime.cuda.memory import OutOfMemoryError

        return OutOfMemoryError
    raise AttributeError(f"module 'torch.cuda' has no attribute '{name}'")


# ---------------------------------------------------------------------------------- which there are


def is_available() -> bool:
    """Whether tensors can live on a GPU."""
    return device_count() > 0


def device_count() -> int:
    """The number of GPUs; 0 where a driver, PyCUDA or a compiler is missing."""
    from lazyt.runtime.cuda.driver import device_count

    return device_count()


def init() -> None:
    """Opens the current device, which its first use does too. Errors: AssertionError."""
    _opened(None)


def is_initialized() -> bool:
    """Whether a device is in use."""
    from lazyt.runtime.cuda.driver import in_use

    return in_use()


def is_bf16_supported(including_emulation: bool = True) -> bool:
    """Whether bfloat16 can be computed with: everywhere, and without emulation from sm_80 on."""
    return is_available() and (including_emulation or get_device_capability()[0] >= 8)


class _Current(threading.local):
    index = 0


_CURRENT = _Current()


def check() -> None:
    """AssertionError, in PyTorch's words and with what is missing, where there is no device."""
    from lazyt.runtime.cuda.driver import missing

    reason = missing()
    if reason:
        raise AssertionError(f"Torch not compiled with CUDA enabled: {reason}")


def index_of(device: Any) -> int:
    """The number of a device given as a number, a name or a torch.device; None: the current one.

    Errors: ValueError for a device of another type.
    """
    if device is None:
        return _CURRENT.index
    if isinstance(device, int):
        return device
    found = Device(device)
    if found.type != "cuda":
        raise ValueError(f"Expected a cuda device, but got: {found}")
    return _CURRENT.index if found.index is None else found.index


def _opened(device: Any) -> driver.Device:
    """The runtime's device. Errors: AssertionError without one; RuntimeError for a number that
    there is not, and in a forked child of a process that used CUDA."""
    from lazyt.runtime.cuda import driver

    check()
    return driver.device(index_of(device))


def current_device() -> int:
    """The number of the current GPU, a setting of each thread. Errors: AssertionError."""
    check()
    return _CURRENT.index


def set_device(device: Any) -> None:
    """Chooses the current GPU of this thread; a negative number chooses none.

    Errors: AssertionError without one, RuntimeError for a number that there is not.
    """
    index = index_of(device)
    if index >= 0:
        _opened(index)
        _CURRENT.index = index


class device:  # PyTorch's name
    """Chooses the current GPU in a `with` block; None and negative numbers choose none."""

    def __init__(self, device: Any):
        self.idx = -1 if device is None else index_of(device)
        self.prev_idx = -1

    def __enter__(self) -> None:
        self.prev_idx = _CURRENT.index
        set_device(self.idx)

    def __exit__(self, *_: Any) -> None:
        _CURRENT.index = self.prev_idx


@dataclass(frozen=True)
class Properties:
    """What a GPU is like. total_memory in bytes."""

    name: str
    major: int
    minor: int
    total_memory: int
    multi_processor_count: int


def get_device_properties(device: Any = None) -> Properties:
    """What a GPU is like. Errors: AssertionError without one."""
    found = _opened(device)
    return Properties(found.name, *found.capability, found.total_memory, found.multiprocessors)


def get_device_name(device: Any = None) -> str:
    """The name of a GPU. Errors: AssertionError without one."""
    return _opened(device).name


def get_device_capability(device: Any = None) -> tuple[int, int]:
    """The compute capability of a GPU: (9, 0). Errors: AssertionError without one."""
    return _opened(device).capability


def can_device_access_peer(device: Any, peer_device: Any) -> bool:
    """Whether kernels of one GPU may read another one's memory: not here, it is copied."""
    _opened(device), _opened(peer_device)
    return False


# -------------------------------------------------------------------------------------------- seeds

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
    _STATES[_CURRENT.index] = RandomState(int(seed))


def manual_seed_all(seed: int) -> None:
    """Seeds the generators of all GPUs."""
    _ALL.seed = int(seed)
    _STATES.clear()


def initial_seed() -> int:
    """The seed of the current GPU's generator. Errors: AssertionError without one."""
    check()
    return random_state().seed


# ------------------------------------------------------------------------------------------- memory


def _memory(question: Callable[[Any, Any], int], device: Any) -> int:
    """What the runtime's memory module answers; 0 where no device is in use."""
    from lazyt.runtime.cuda import memory
    from lazyt.runtime.drain import drain

    if not is_initialized():
        return 0
    drain()
    return question(memory, _opened(device))


def memory_allocated(device: Any = None) -> int:
    """Bytes of GPU memory in use by tensors."""
    return _memory(lambda memory, of: memory.memory_allocated(of), device)


def max_memory_allocated(device: Any = None) -> int:
    """The most bytes of GPU memory that were in use since the last `reset_peak_memory_stats`."""
    return _memory(lambda memory, of: memory.max_memory_allocated(of), device)


def memory_reserved(device: Any = None) -> int:
    """Bytes of GPU memory that the pool has, in use or not."""
    return _memory(lambda memory, of: memory.memory_reserved(of), device)


def max_memory_reserved(device: Any = None) -> int:
    """The most bytes that the pool had since the last `reset_peak_memory_stats`."""
    return _memory(lambda memory, of: memory.max_memory_reserved(of), device)


def reset_peak_memory_stats(device: Any = None) -> None:
    """Measures the two maxima from here on."""
    from lazyt.runtime.cuda import memory
    from lazyt.runtime.drain import drain

    drain()
    memory.reset_peak(_opened(device))


def empty_cache() -> None:
    """Gives unused memory of the GPUs back to the driver; without one nothing happens."""
    from lazyt.runtime.cuda import memory
    from lazyt.runtime.cuda.driver import devices
    from lazyt.runtime.drain import drain

    drain()
    for found in devices():
        memory.empty_cache(found)


def mem_get_info(device: Any = None) -> tuple[int, int]:
    """(free, total) bytes of GPU memory, as the driver has it."""
    found = _opened(device)
    return found.free_memory(), found.total_memory


# ------------------------------------------------------------------------------- streams and events


def synchronize(device: Any = None) -> None:
    """Starts everything traced so far and waits for the GPU.

    Errors: AssertionError without one; IndexError where an operand was out of its range.
    """
    from lazyt.runtime.drain import drain

    found = _opened(device)
    drain()
    found.synchronize()


class Stream:
    """A queue of a GPU: what is started in a `with torch.cuda.stream(s)` block goes to it.

    device: None for the current one. priority: accepted, all are equal.
    """

    _stream: streams.Stream

    def __init__(self, device: Any = None, priority: int = 0):
        from lazyt.runtime.cuda import streams

        self._stream = streams.Stream(_opened(device))
        self.priority = 0

    @classmethod
    def _of(cls, stream: streams.Stream) -> Stream:
        made = cls.__new__(cls)
        made._stream, made.priority = stream, 0
        return made

    @property
    def device(self) -> Device:
        return Device("cuda", self._stream.device.index)

    @property
    def cuda_stream(self) -> int:
        """The driver's CUstream; 0 for the default stream."""
        return self._stream.handle

    def synchronize(self) -> None:
        """Starts what was traced so far and waits for the stream."""
        _start()
        self._stream.synchronize()

    def query(self) -> bool:
        """Whether everything started on the stream is done."""
        _start()
        return self._stream.query()

    def record_event(self, event: Event | None = None) -> Event:
        """An event behind everything that was started on the stream so far."""
        found = event or Event()
        found.record(self)
        return found

    def wait_event(self, event: Event) -> None:
        """Lets what is started from here on wait for an event."""
        event.wait(self)

    def wait_stream(self, stream: Stream) -> None:
        """Lets what is started from here on wait for what was started on another stream."""
        self.wait_event(stream.record_event())

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Stream) and self._stream == other._stream

    def __hash__(self) -> int:
        return hash(self._stream)

    def __repr__(self) -> str:
        return f"<torch.cuda.Stream device={self.device} cuda_stream={self.cuda_stream:#x}>"


def _start() -> None:
    """Starts what was traced so far: a stream holds only what was started."""
    from lazyt.runtime.drain import drain

    drain()


class stream:  # PyTorch's name
    """Chooses the stream of this thread in a `with` block; None chooses none."""

    def __init__(self, stream: Stream | None):
        self.stream = stream
        self._before: Stream | None = None

    def __enter__(self) -> None:
        if self.stream is not None:
            self._before = current_stream(self.stream.device)
            set_stream(self.stream)

    def __exit__(self, *_: Any) -> None:
        if self._before is not None:
            set_stream(self._before)


def set_stream(stream: Stream) -> None:
    """Chooses the stream of this thread; what was traced before goes to the one before."""
    from lazyt.runtime.cuda import streams

    _start()
    streams.set_stream(stream._stream)


def current_stream(device: Any = None) -> Stream:
    """The stream of this thread on a GPU."""
    from lazyt.runtime.cuda import streams

    return Stream._of(streams.current_stream(_opened(device)))


def default_stream(device: Any = None) -> Stream:
    """The stream that is used where no other is chosen; it waits for all others."""
    from lazyt.runtime.cuda import streams

    return Stream._of(streams.Stream.default(_opened(device)))


class Event:
    """A place in a stream.

    enable_timing: whether `elapsed_time` may be asked. blocking: accepted. interprocess: not
    supported, RuntimeError.
    """

    def __init__(
        self, enable_timing: bool = False, blocking: bool = False, interprocess: bool = False
    ):
        from lazyt.runtime.cuda import streams

        check()
        if interprocess:
            raise RuntimeError("events cannot be shared between processes")
        self._event = streams.Event(enable_timing)

    @property
    def device(self) -> Device | None:
        """The device whose stream it was recorded in; None before that."""
        found = self._event.device
        return None if found is None else Device("cuda", found.index)

    def record(self, stream: Stream | None = None) -> None:
        """Puts the event behind everything called so far; stream: None for the current one."""
        chosen = stream or current_stream()
        _start()
        self._event.record(chosen._stream)

    def wait(self, stream: Stream | None = None) -> None:
        """Lets what a stream does from here on wait for the event."""
        chosen = stream or current_stream()
        _start()
        self._event.wait(chosen._stream)

    def query(self) -> bool:
        """Whether the event has passed."""
        return self._event.query()

    def synchronize(self) -> None:
        """Waits for the event. Errors: IndexError where an operand was out of its range."""
        self._event.synchronize()

    def elapsed_time(self, end_event: Event) -> float:
        """Milliseconds from this event to another. Errors: RuntimeError, also without timing."""
        return self._event.elapsed_time(end_event._event)
