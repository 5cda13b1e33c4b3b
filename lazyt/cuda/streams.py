"""Streams and events, with PyTorch's names, on those of the runtime (runtime/cuda/streams.py).

    with torch.cuda.stream(torch.cuda.Stream()):
        y = x @ w                     # started on that stream when the block ends

A stream holds only what was started. So every function here first starts what was traced so far.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lazyt.device import Device

from .devices import check, opened

if TYPE_CHECKING:
    from lazyt.runtime.cuda import streams


class Stream:
    """A queue of a GPU: what is started in a `with torch.cuda.stream(s)` block goes to it.

    device: None for the current one. priority: accepted, all are equal.
    """

    _stream: streams.Stream

    def __init__(self, device: Any = None, priority: int = 0):
        from lazyt.runtime.cuda import streams

        self._stream = streams.Stream(opened(device))
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


StreamContext = stream


def set_stream(stream: Stream) -> None:
    """Chooses the stream of this thread; what was traced before goes to the one before."""
    from lazyt.runtime.cuda import streams

    _start()
    streams.set_stream(stream._stream)


def current_stream(device: Any = None) -> Stream:
    """The stream of this thread on a GPU."""
    from lazyt.runtime.cuda import streams

    return Stream._of(streams.current_stream(opened(device)))


def default_stream(device: Any = None) -> Stream:
    """The stream that is used where no other is chosen; it waits for all others."""
    from lazyt.runtime.cuda import streams

    return Stream._of(streams.Stream.default(opened(device)))


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
