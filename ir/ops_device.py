"""Values on several devices: how they move, and which of a primitive's operands follow the others.

    y = transfer(x, "cuda:0")        float32[3] -> float32[3]@cuda:0

A primitive computes on one device. A number in a CPU tensor of no dimensions follows the other
operands to theirs where elements are computed or indexed ones are replaced, and so do indices on
the CPU; everything else is the user's to move, and an error.
"""

from __future__ import annotations

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
        raise on_several(*devices)
    return next(iter(devices))


def on_several(*devices: str) -> RuntimeError:
    first, second = sorted(devices, key=lambda d: d == "cpu")[:2]
    return RuntimeError(
        "Expected all tensors to be on the same device, but found at least two devices, "
        f"{first} and {second}!"
    )


def index_on(index: Node, device: str) -> Node:
    """A tensor of indices, or a mask, on the device of what it indexes.

    Errors: RuntimeError for one that is neither there nor on the CPU.
    """
    if index.type.device not in ("cpu", device):
        raise RuntimeError(
            "indices should be either on cpu or on the same device as the indexed tensor "
            f"({device})"
        )
    return transfer(index, device)


def on_one_device(op: Op, src: tuple) -> tuple:
    """The operands of a primitive on the device that computes it.

    Errors: RuntimeError in PyTorch's words where they are on several.
    """
    if len(src) < 2:
        return src
    devices = dict.fromkeys(s.type.device for s in src if s.__class__ is Node)
    if len(devices) < 2:
        return src
    first = _FIRST_INDEX.get(op.name)
    if first is not None:
        target = src[0].type.device
        src = (*src[:first], *(index_on(s, target) for s in src[first:]))
    elif op.elementwise:
        target = next(d for d in devices if d != "cpu")
    else:
        raise on_several(*devices)
    return tuple(_following(s, target) if s.__class__ is Node else s for s in src)


# Primitives whose operands from here on are indices.
_FIRST_INDEX = {"index": 1, "index_put": 2}


def _following(s: Node, target: str) -> Node:
    """An operand on the device of the others: a number on the CPU follows them."""
    device = s.type.device
    if device != target and (device != "cpu" or s.type.shape):
        raise on_several(target, device)
    return transfer(s, target)


def several_devices() -> None:
    """From here on operands may be on several devices: every primitive looks where they are."""
    if not PLACING:
        PLACING.append(on_one_device)
