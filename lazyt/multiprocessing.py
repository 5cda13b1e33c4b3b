"""torch.multiprocessing: Python's multiprocessing, whose queues and pipes take tensors.

    queue = torch.multiprocessing.Queue()
    queue.put(torch.ones(3))  # arrives as a copy

What arrives is a copy: there is no memory that several processes share. A sharing strategy is
therefore remembered and makes no difference.
"""

from __future__ import annotations

from multiprocessing import *  # noqa: F403

from lazyt.utils.data import transport as _transport  # noqa: F401 (tells pickles about tensors)

_STRATEGIES = {"file_descriptor", "file_system"}
_chosen = ["file_descriptor"]


def set_sharing_strategy(new_strategy: str) -> None:
    """Remember how tensors would be shared.

    Raises:
        AssertionError: it is none of `get_all_sharing_strategies`.
    """
    if new_strategy not in _STRATEGIES:
        raise AssertionError(
            f"invalid sharing strategy {new_strategy!r}, expected one of {_STRATEGIES}"
        )
    _chosen[0] = new_strategy


def get_sharing_strategy() -> str:
    """What `set_sharing_strategy` was last told: "file_descriptor" at first."""
    return _chosen[0]


def get_all_sharing_strategies() -> set[str]:
    """The names of PyTorch's strategies."""
    return set(_STRATEGIES)
