"""torch.utils.dlpack: tensors to and from other libraries, by the DLPack protocol.

https://dmlc.github.io/dlpack/latest/python_spec.html
"""

from __future__ import annotations

from typing import Any

from lazyt.functions.creation import from_dlpack as _from_dlpack
from lazyt.tensor import Tensor


class _Capsule:
    """A bare DLPack capsule of CPU memory, with the two methods that consumers ask for."""

    def __init__(self, capsule: Any):
        self.capsule = capsule

    def __dlpack__(self, **options: Any) -> Any:
        return self.capsule

    def __dlpack_device__(self) -> tuple[int, int]:
        return (1, 0)


def to_dlpack(tensor: Tensor) -> Any:
    """A DLPack capsule over the tensor's memory; it can be consumed once."""
    # A capsule of the first version cannot say that its memory may be written to.
    return tensor.__dlpack__(max_version=(1, 0))


def from_dlpack(source: Any) -> Tensor:
    """A tensor over the memory of an object with `__dlpack__`, or of a capsule."""
    return _from_dlpack(source if hasattr(source, "__dlpack__") else _Capsule(source))
