"""torch.autograd.profiler: the older names of `torch.profiler`, and regions for NVTX.

    with torch.autograd.profiler.profile() as prof:
        step()
    print(prof.key_averages().table(sort_by="self_cpu_time_total"))

What an event is says `lazyt.profiler.recording`.
"""

from __future__ import annotations

from typing import Any

from lazyt.profiler import EventList, _Results, record_function
from lazyt.profiler.events import FunctionEvent
from lazyt.profiler.recording import OPEN, Interval, Recording

__all__ = ["FunctionEvent", "emit_itt", "emit_nvtx", "profile", "record_function"]


class profile(_Results):
    """Records what is computed while it is open, if `enabled`.

    use_cuda, use_device, record_shapes, with_flops, profile_memory, with_stack, with_modules:
    accepted; everything that runs is recorded, with its time.
    """

    def __init__(
        self,
        enabled: bool = True,
        *,
        use_cuda: bool = False,
        use_device: str | None = None,
        record_shapes: bool = False,
        with_flops: bool = False,
        profile_memory: bool = False,
        with_stack: bool = False,
        with_modules: bool = False,
        use_kineto: bool = False,
        use_cpu: bool = True,
        experimental_config: Any = None,
        acc_events: bool = False,
    ):
        self.enabled = enabled
        self._intervals: list[Interval] = []
        self._recording: Recording | None = None

    def __enter__(self) -> profile:
        if self._recording is not None:
            raise RuntimeError("Profiler context manager is not reentrant")
        if self.enabled:
            self._recording = Recording()
            self._recording.start()
            OPEN.append(self._recording)
        return self

    def __exit__(self, *error: Any) -> None:
        if self._recording is not None:
            OPEN.remove(self._recording)
            self._recording.stop()
            self._intervals = self._recording.finished()

    @property
    def function_events(self) -> EventList:
        return self.events()

    @property
    def self_cpu_time_total(self) -> float:
        """Microseconds of everything together."""
        return self.key_averages().self_cpu_time_total

    def table(self, *args: Any, **kwargs: Any) -> str:
        """The events of each name as a table; arguments as in `EventList.table`."""
        return self.key_averages().table(*args, **kwargs)

    def total_average(self) -> FunctionEvent:
        """All events as one."""
        return self.key_averages().total_average()

    def __str__(self) -> str:
        return self.table() if self._intervals else "<unfinished torch.autograd.profile>"


class emit_nvtx:
    """Accepted: kernels have names of their own, and no ranges are pushed around them."""

    def __init__(self, enabled: bool = True, record_shapes: bool = False):
        self.enabled = enabled

    def __enter__(self) -> emit_nvtx:
        return self

    def __exit__(self, *error: Any) -> None:
        pass


class emit_itt(emit_nvtx):
    """Accepted: nothing is emitted for Intel's tools."""
