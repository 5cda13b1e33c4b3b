"""Values on several devices: how they move, and which of a primitive's operands follow the others.

    y = transfer(x, "cuda:0")        float32[3] -> float32[3]@cuda:0

A primitive computes on one device. A number in a CPU tensor of no dimensions follows the other
operands to theirs, and so do positions on the CPU that index something elsewhere; everything else
is the user's to move, and an error.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from .node import Node
from .opdef import PLACING, Op
from .types import TensorType

transfer_: Op = Op(
    "transfer",
    "np.array({0})",
    kind="transfer",
    fields=("device",),
    infer=lambda src, arg: TensorType.of(src[0].type.shape, src[0].type.dtype, arg[0]),
    vjp=(lambda g, y, x: transfer(g, x.type.device),),
    grad_name="ToCopy",
    samples=lambda: [(((2, 3),), ("cpu",))],
)


def transfer(x: Node, device: str) -> Node:
    """`x` on a device; itself where it is there."""
    return x if x.type.device == device else transfer_(x, arg=(device,))


def common_device(*nodes: Node) -> str:
    """The device of all nodes; RuntimeError in PyTorch's words where they are on several."""
    devices = dict.fromkeys(n.type.device for n in nodes)
    if len(devices) > 1:
        raise _several(devices)
    return next(iter(devices))


def _several(devices: Iterable[str]) -> RuntimeError:
    first, second = sorted(devices, key=lambda d: d == "cpu")[:2]
    return RuntimeError(
        "Expected all tensors to be on the same device, but found at least two devices, "
        f"{first} and {second}!"
    )


def on_one_device(op: Op, src: tuple) -> tuple:
    """The operands of a primitive on the device that computes it.

    Errors: RuntimeError in PyTorch's words where they are on several.
    """
    devices = dict.fromkeys(s.type.device for s in src if s.__class__ is Node)
    if len(devices) < 2:
        return src
    others = [d for d in devices if d != "cpu"]
    if len(others) == 1 and all(
        _follows(op, i) or s.__class__ is not Node or s.type.device != "cpu" or _single(op, s)
        for i, s in enumerate(src)
    ):
        return tuple(transfer(s, others[0]) if s.__class__ is Node else s for s in src)
    raise _several(devices)


def _single(op: Op, s: Any) -> bool:
    return op.elementwise and not s.type.shape


def _follows(op: Op, position: int) -> bool:
    """Whether an operand on the CPU may index, or fill, what is elsewhere."""
    return position > 0 and op.name in ("index", "index_put", "strided_update")


def several_devices() -> None:
    """From here on operands may be on several devices: every primitive looks where they are."""
    if not PLACING:
        PLACING.append(on_one_device)
