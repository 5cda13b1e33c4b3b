"""The function a layer calls, found by its name when it is called.

class ReLU(Module):
    _function = Called("relu")

F.relu = mine                    # from here on every nn.ReLU calls `mine`, as in PyTorch
"""

from __future__ import annotations

from typing import Any

import lazyt
from lazyt.nn import functional as F


class Called:
    """A class attribute that reads as the function of `torch.nn.functional` (or of `torch`) that
    has a name at the moment."""

    __slots__ = ("name", "place")

    def __init__(self, name: str, place: Any = F):
        self.name = name
        self.place = place

    def __get__(self, instance: Any, owner: type) -> Any:
        return getattr(self.place, self.name)


def of_torch(name: str) -> Called:
    """The same, for a function of `torch` itself."""
    return Called(name, lazyt)
