"""How much memory of the GPUs is in use.

    torch.cuda.memory_allocated()     # bytes, each tensor's rounded up to 512

What was traced before a question is started first, so that its results are counted.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .devices import is_initialized, opened


def _memory(question: Callable[[Any, Any], int], device: Any) -> int:
    """What the runtime's memory module answers; 0 where no device is in use."""
    from lazyt.runtime.cuda import memory
    from lazyt.runtime.drain import drain

    if not is_initialized():
        return 0
    drain()
    return question(memory, opened(device))


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


def memory_stats(device: Any = None) -> dict[str, int]:
    """By PyTorch's names what is counted here: "allocated_bytes.all.current", "….all.peak", and
    the same of "reserved_bytes". Empty where no device is in use."""
    if not is_initialized():
        return {}
    counted = {
        "allocated_bytes.all.current": memory_allocated,
        "allocated_bytes.all.peak": max_memory_allocated,
        "reserved_bytes.all.current": memory_reserved,
        "reserved_bytes.all.peak": max_memory_reserved,
    }
    return {name: count(device) for name, count in counted.items()}


def memory_summary(device: Any = None, abbreviated: bool = False) -> str:
    """`memory_stats` as a table to print. abbreviated: accepted."""
    from lazyt.runtime.cuda.memory import shown

    found = opened(device)
    stats = memory_stats(found.index)
    lines = [f"memory of cuda:{found.index}", f"{'':12}{'now':>14}{'at most':>14}"]
    for title, name in (("allocated", "allocated_bytes"), ("reserved", "reserved_bytes")):
        now, peak = (shown(stats[f"{name}.all.{when}"]) for when in ("current", "peak"))
        lines.append(f"{title:12}{now:>14}{peak:>14}")
    return "\n".join(lines) + "\n"


def reset_peak_memory_stats(device: Any = None) -> None:
    """Measures the two maxima from here on."""
    from lazyt.runtime.cuda import memory
    from lazyt.runtime.drain import drain

    drain()
    memory.reset_peak(opened(device))


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
    found = opened(device)
    return found.free_memory(), found.total_memory
