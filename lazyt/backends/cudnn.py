"""torch.backends.cudnn: settings of a library that is not used here.

`allow_tf32`, on at first as in PyTorch, is what has an effect: whether convolutions of float32 on a
GPU may be rounded to tf32, which its matrix units multiply.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from types import ModuleType

from lazyt.runtime.precision import PRECISION, set_precision

from .cuda import switch

enabled = True
benchmark = False
benchmark_limit = 10
deterministic = False


def is_available() -> bool:
    """Whether cuDNN is there."""
    return False


def version() -> None:
    """Its version: None, for it is not there."""


@contextlib.contextmanager
def flags(
    enabled: bool = False,
    benchmark: bool = False,
    benchmark_limit: int = 10,
    deterministic: bool = False,
    allow_tf32: bool = True,
) -> Iterator[None]:
    """While open, the settings are these."""
    module = sys.modules[__name__]
    inside = {
        "enabled": enabled,
        "benchmark": benchmark,
        "benchmark_limit": benchmark_limit,
        "deterministic": deterministic,
        "allow_tf32": allow_tf32,
    }
    before = {name: getattr(module, name) for name in inside}
    for name, value in inside.items():
        setattr(module, name, value)
    try:
        yield
    finally:
        for name, value in before.items():
            setattr(module, name, value)


class _Cudnn(ModuleType):
    """The module, one of whose settings is a function of another's."""

    @property
    def allow_tf32(self) -> bool:
        return PRECISION[0].convolutions_in_tf32 is not False

    @allow_tf32.setter
    def allow_tf32(self, value: bool) -> None:
        set_precision(convolutions_in_tf32=switch(value, "set_allow_tf32_cublas"))


sys.modules[__name__].__class__ = _Cudnn
