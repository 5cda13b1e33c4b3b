"""torch.distributed, of which one process is all there is.

    if torch.distributed.is_available() and torch.distributed.is_initialized(): ...   # never

Questions have the answers of a process that belongs to no group; what needs one is an error.
"""

from __future__ import annotations

from typing import Any, NoReturn

UNINITIALIZED = (
    "Default process group has not been initialized, please make sure to call init_process_group."
)


def is_available() -> bool:
    """False: there is no communication between processes."""
    return False


def is_initialized() -> bool:
    """False: no process group exists."""
    return False


def is_torchelastic_launched() -> bool:
    """False: no launcher started this process."""
    return False


def init_process_group(*args: Any, **options: Any) -> NoReturn:
    """RuntimeError: there is no communication between processes."""
    raise RuntimeError(
        "torch.distributed is not available here: a program runs in one process; ask "
        "torch.distributed.is_available() before"
    )


def destroy_process_group(group: Any = None) -> NoReturn:
    """AssertionError, as in PyTorch: there is no group."""
    raise AssertionError("Process group cannot be None")


def _of_a_group(name: str) -> Any:
    def function(*args: Any, **options: Any) -> NoReturn:
        raise ValueError(UNINITIALIZED)

    function.__name__ = function.__qualname__ = name
    function.__doc__ = "ValueError: no process group was initialized."
    return function


get_rank, get_world_size, get_backend = map(
    _of_a_group, ("get_rank", "get_world_size", "get_backend")
)
barrier, broadcast, reduce = map(_of_a_group, ("barrier", "broadcast", "reduce"))
all_reduce, all_gather, gather = map(_of_a_group, ("all_reduce", "all_gather", "gather"))
