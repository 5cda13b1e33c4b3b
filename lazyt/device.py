"""torch.device: where a tensor lives, and where new ones go if nothing is said.

    with torch.device("cuda"):
        x = torch.zeros(3)        # on cuda:0, or whichever GPU is the current one

A tensor's type carries the name of its device ("cpu", "cuda:0"); `resolve` gives that name for
whatever a user names a device by, and finds out whether it is there.
"""

from __future__ import annotations

import re
import threading
from typing import TYPE_CHECKING, Any

from lazyt.ir.public_type import PublicType

if TYPE_CHECKING:
    from .tensor import Tensor

_FORM = re.compile(r"^(cpu|cuda|meta|mps|xpu)(?::(0|[1-9]\d*))?$")


class Device(metaclass=PublicType):
    """A device: `type` and `index` (None for the current one)."""

    _public_name = "torch.device"
    __slots__ = ("type", "index")

    type: str
    index: int | None

    def __init__(self, type: Any = "cpu", index: int | None = None):
        if isinstance(type, Device):
            self.type, self.index = type.type, type.index
            return
        if isinstance(type, int):
            self.type, self.index = "cuda", type
            return
        if not isinstance(type, str):
            raise TypeError(
                "device() received an invalid combination of arguments - got "
                f"({type.__class__.__name__}), but expected one of:\n * (torch.device device)\n"
                " * (str type, int index)"
            )
        if not type:
            raise RuntimeError("Device string must not be empty")
        match = _FORM.match(type)
        if match is None and re.match(r"^(cpu|cuda|meta|mps|xpu)(:|\d)", type):
            raise RuntimeError(f"Invalid device string: '{type}'")
        if match is None:
            known = "cpu, cuda, ipu, xpu, mkldnn, opengl, opencl, ideep, hip, ve, fpga, maia, xla, "
            known += "lazy, vulkan, mps, meta, hpu, mtia, privateuseone"
            raise RuntimeError(
                f"Expected one of {known} device type at start of device string: {type}"
            )
        if match.group(2) is not None and index is not None:
            raise RuntimeError(
                f"type (string) must not include an index because index was passed "
                f"explicitly: {type}"
            )
        self.type = match.group(1)
        self.index = int(match.group(2)) if match.group(2) is not None else index

    def __repr__(self) -> str:
        if self.index is None:
            return f"device(type='{self.type}')"
        return f"device(type='{self.type}', index={self.index})"

    def __str__(self) -> str:
        return self.type if self.index is None else f"{self.type}:{self.index}"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Device) and self.type == other.type and self.index == other.index

    def __hash__(self) -> int:
        return hash((self.type, self.index))

    def __reduce__(self) -> tuple:
        return (Device, (self.type, self.index))

    def __enter__(self) -> Device:
        """From here on new tensors go to this device, unless they are told where."""
        DEFAULT.outer.append(DEFAULT.device)
        DEFAULT.device = self
        return self

    def __exit__(self, *raised: Any) -> None:
        DEFAULT.device = DEFAULT.outer.pop()


class Default(threading.local):
    """The device of a thread's new tensors: None, the CPU, until a device is chosen.

    outer: what it was outside of the `with` blocks that are open.
    """

    device: Device | None = None

    def __init__(self) -> None:
        self.outer: list[Device | None] = []


DEFAULT = Default()


def resolve(device: Any, name: str = "to") -> str:
    """The device name a tensor's type carries ("cpu", "cuda:0"); the default device's for None.

    name: the function it is an argument of, for the TypeError about what is no device.

    Errors: AssertionError where no GPU can be used, with what is missing; RuntimeError for a GPU
    or a type of device that is not there.
    """
    if device is None:
        device = DEFAULT.device
        if device is None:
            return "cpu"
    if not isinstance(device, (str, Device, int)):
        raise TypeError(
            f"{name}(): argument 'device' must be torch.device, not {type(device).__name__}"
        )
    found = Device(device)
    if found.type == "cpu":
        return "cpu"
    if found.type == "cuda":
        return _gpu(found.index)
    raise RuntimeError(f"device type {found.type!r} is not available")


def _gpu(index: int | None) -> str:
    from lazyt import cuda
    from lazyt.ir.ops_device import several_devices

    cuda.init()
    if index is None:
        index = cuda.current_device()
    if not 0 <= index < cuda.device_count():
        raise RuntimeError(
            "CUDA error: invalid device ordinal\n"
            f"cuda:{index} was asked for, {cuda.device_count()} can be used"
        )
    several_devices()
    return f"cuda:{index}"


def resolve_like(device: Any, tensor: Tensor, name: str) -> str:
    """`resolve`, where no device means that of a tensor."""
    return tensor._storage.node.type.device if device is None else resolve(device, name)


def resolve_out(device: Any, out: Tensor | None, name: str) -> str:
    """`resolve` for a function that may write into a tensor it is given, whose device is the
    result's then.

    Errors: RuntimeError where another device was asked for.
    """
    if out is None:
        return resolve(device, name)
    found = resolve_like(device, out, name)
    if found != out._storage.node.type.device:
        raise RuntimeError(
            f"device type {Device(found).type} does not match device type of out parameter "
            f"({out.device.type})"
        )
    return found
