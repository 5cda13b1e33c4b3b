"""torch.cuda: the GPUs there are, what they do, and their memory.

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
    start.record(); step(); end.record(); end.synchronize()
    start.elapsed_time(end)                       # milliseconds

Nothing of CUDA is imported or started before it is asked for. Without a device, what needs one
raises AssertionError with PyTorch's words and a note that says what is missing; questions have the
answers of a machine without a GPU.

Operations are only traced when they are called. So whatever asks for the order or the amount of
work (an event, a stream, `synchronize`, the memory in use) first starts what was traced before it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lazyt.functions.conversion import CUDA_LEGACY
from lazyt.missing import missing

from .devices import (
    can_device_access_peer,
    current_device,
    device,
    device_count,
    get_arch_list,
    get_device_capability,
    get_device_name,
    get_device_properties,
    init,
    is_available,
    is_bf16_supported,
    is_initialized,
    set_device,
    synchronize,
)
from .memory import (
    empty_cache,
    max_memory_allocated,
    max_memory_reserved,
    mem_get_info,
    memory_allocated,
    memory_reserved,
    memory_stats,
    memory_summary,
    reset_peak_memory_stats,
)
from .random import (
    get_rng_state,
    get_rng_state_all,
    initial_seed,
    manual_seed,
    manual_seed_all,
    seed,
    seed_all,
    set_rng_state,
    set_rng_state_all,
)
from .streams import (
    Event,
    Stream,
    StreamContext,
    current_stream,
    default_stream,
    set_stream,
    stream,
)

if TYPE_CHECKING:
    from lazyt.random import Generator
    from lazyt.runtime.cuda.memory import OutOfMemoryError

    default_generators: tuple[Generator, ...]

__all__ = [
    "Event",
    "OutOfMemoryError",
    "Stream",
    "StreamContext",
    "can_device_access_peer",
    "current_device",
    "current_stream",
    "default_stream",
    "device",
    "device_count",
    "empty_cache",
    "get_arch_list",
    "get_device_capability",
    "get_device_name",
    "get_device_properties",
    "get_rng_state",
    "get_rng_state_all",
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
    "memory_stats",
    "memory_summary",
    "reset_peak_memory_stats",
    "seed",
    "seed_all",
    "set_device",
    "set_rng_state",
    "set_rng_state_all",
    "set_stream",
    "stream",
    "synchronize",
]


def __getattr__(name: str) -> Any:
    if name == "OutOfMemoryError":
        from lazyt.runtime.cuda.memory import OutOfMemoryError

        return OutOfMemoryError
    if name == "amp":
        import importlib

        return importlib.import_module("lazyt.cuda.amp")
    if name == "default_generators":
        from .random import default_generators

        return default_generators()
    if name in CUDA_LEGACY:
        return CUDA_LEGACY[name]
    raise missing(__name__, name)
