"""Streams and events: queues of a device, and places in them.

    side = Stream(device(0))
    with side:
        start_something()            # everything that is started here goes to `side`
    done = side.record_event()
    current_stream(device(0)).wait_event(done)

The default stream waits for all others and they wait for it (CUDA's legacy default stream), so
that a program with one stream need not know of any. Driver streams are never destroyed: after
`LARGEST` of a device new objects share them, as in PyTorch.
"""

from __future__ import annotations

import threading
from typing import Any

from .driver import Device
from .memory import accounts

LARGEST = 32


class _Current(threading.local):
    def __init__(self) -> None:
        self.queues: dict[int, Any] = {}
        self.streams: dict[int, Stream] = {}


_CURRENT = _Current()
_TAKEN: dict[int, int] = {}
_LOCK = threading.Lock()


def queue(index: int) -> Any:
    """The driver's stream that this thread works on; None for the default one."""
    return _CURRENT.queues.get(index)


class Event:
    """A place in a stream: what was started before it is done when it has passed.

    timing: whether `elapsed_time` may be asked.
    """

    def __init__(self, timing: bool = False):
        self.timing = timing
        self._device: Device | None = None
        self._event: Any = None

    def _drop(self) -> None:
        """Leaves the driver's event to whoever next allocates, as memory that is freed."""
        if self._event is not None and self._device is not None:
            accounts(self._device).freed.append((self._event, 0))

    __del__ = _drop

    @property
    def device(self) -> Device | None:
        """The device whose stream it was recorded in; None before that."""
        return self._device

    def record(self, stream: Stream) -> None:
        """Puts the event behind everything that was started on the stream so far."""
        if self._event is None or self._device is not stream.device:
            self._drop()
            self._device = stream.device
            self._event = stream.device.event(self.timing)
        stream.device.activate()
        self._event.record(stream.queue)

    def wait(self, stream: Stream) -> None:
        """Lets what is started on a stream from here on wait for the event."""
        if self._event is None or self._device is None:
            return
        if stream.queue is not None:
            stream.device.activate()
            stream.queue.wait_for_event(self._event)
        elif self._device is not stream.device:
            # PyCUDA cannot let the default stream wait. It waits for its own device anyway.
            self._event.synchronize()

    def synchronize(self) -> None:
        """Waits until the event has passed. Errors: IndexError for an operand out of its range."""
        if self._event is not None and self._device is not None:
            self._device.activate()
            self._event.synchronize()
            self._device.check_refusal()

    def query(self) -> bool:
        """Whether the event has passed."""
        if self._event is None or self._device is None:
            return True
        self._device.activate()
        return bool(self._event.query())

    def elapsed_time(self, end: Event) -> float:
        """Milliseconds from this event to another. Errors: RuntimeError."""
        if not (self.timing and end.timing):
            raise RuntimeError("Both events must be created with argument 'enable_timing=True'.")
        if self._event is None or end._event is None:
            raise RuntimeError("Both events must be recorded before calculating elapsed time.")
        if not (self.query() and end.query()):
            raise RuntimeError("Both events must be completed before calculating elapsed time.")
        return float(self._event.time_till(end._event))


class Stream:
    """A queue of a device. Used as a context manager, what is started in it goes to the queue."""

    def __init__(self, device: Device):
        with _LOCK:
            taken = _TAKEN[device.index] = _TAKEN.get(device.index, -1) + 1
            if taken < LARGEST:
                device.queues.append(device.stream())
        self.device = device
        self.queue: Any = device.queues[taken % LARGEST]
        self._before: list[Stream] = []

    @classmethod
    def default(cls, device: Device) -> Stream:
        """The stream that is used if no other is chosen."""
        made = cls.__new__(cls)
        made.device, made.queue = device, None
        made._before = []
        return made

    @property
    def handle(self) -> int:
        """The driver's CUstream; 0 for the default stream."""
        return 0 if self.queue is None else int(self.queue.handle)

    def __enter__(self) -> Stream:
        self._before.append(current_stream(self.device))
        set_stream(self)
        return self

    def __exit__(self, *_: Any) -> None:
        set_stream(self._before.pop())

    def __eq__(self, other: object) -> bool:
        same = isinstance(other, Stream) and self.device is other.device
        return same and self.queue is other.queue  # type: ignore[attr-defined]

    def __hash__(self) -> int:
        return hash((self.device.index, self.handle))

    def synchronize(self) -> None:
        """Waits for the stream. Errors: IndexError for an operand out of its range."""
        if self.queue is None:
            self.device.synchronize()
            return
        self.device.activate()
        self.queue.synchronize()
        self.device.check_refusal()

    def query(self) -> bool:
        """Whether everything started on the stream is done."""
        if self.queue is None:
            event = self.record_event()
            return event.query()
        self.device.activate()
        return bool(self.queue.is_done())

    def record_event(self, event: Event | None = None) -> Event:
        """An event behind everything that was started on the stream so far."""
        found = event or Event()
        found.record(self)
        return found

    def wait_event(self, event: Event) -> None:
        """Lets what is started from here on wait for an event."""
        event.wait(self)

    def wait_stream(self, other: Stream) -> None:
        """Lets what is started from here on wait for what was started on another stream."""
        self.wait_event(other.record_event())


def current_stream(device: Device) -> Stream:
    """The stream that this thread works on."""
    return _CURRENT.streams.get(device.index) or Stream.default(device)


def set_stream(stream: Stream) -> None:
    """Chooses the stream that this thread works on."""
    _CURRENT.streams[stream.device.index] = stream
    _CURRENT.queues[stream.device.index] = stream.queue
