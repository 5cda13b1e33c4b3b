"""Padding: a frame of a number, or of what the tensor itself continues with.

    pad([1, 2, 3], (2, 1))                    0 0 1 2 3 0
    pad([[1, 2, 3]], (2, 1), "reflect")       3 2 1 2 3 2
    pad([[1, 2, 3]], (2, 1), "replicate")     1 1 1 2 3 3
    pad([[1, 2, 3]], (2, 1), "circular")      2 3 1 2 3 1

Everything but a number is a gather along each dimension.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from lazyt.ir import dtypes
from lazyt.ir.node import Node
from lazyt.ir.ops_index import index as index_op
from lazyt.ir.ops_shape import copy, pad_

from ..dispatch import coerce, data_node, tagged, unsupported, wrap
from ..state import node_of
from ..tensor import Tensor

UNSUPPORTED = """Padding size {} is not supported for {}D input tensor.
Supported combinations for non-constant padding:
  - 2D or 3D input: padding size = 2 (pads last dimension)
  - 3D or 4D input: padding size = 4 (pads last 2 dimensions)
  - 4D or 5D input: padding size = 6 (pads last 3 dimensions)"""
NAMES = {"reflect": "ReflectionPad{}D", "replicate": "ReplicationPad{}D"}


def pad(input: Tensor, pad: Any, mode: str = "constant", value: float | None = None) -> Tensor:
    """`input` framed on both sides of its last dimensions.

    pad: widths before and after the last dimension, then the one before it, and so on; negative
        ones crop.
    mode: "constant" (with `value`, 0 by default), "reflect", "replicate" or "circular".
    Errors: RuntimeError, NotImplementedError in PyTorch's words.
    """
    node = node_of(input)
    shape = node.type.shape
    rank = len(shape)
    widths = [int(w) for w in pad]
    if len(widths) % 2:
        raise RuntimeError("Padding length must be divisible by 2")
    if len(widths) > 2 * rank:
        raise RuntimeError(
            "Padding length should be less than or equal to two times the input dimension but got "
            f"padding length {len(widths)} and input of dimension {rank}"
        )
    frame = [(0, 0)] * rank
    for i in range(len(widths) // 2):
        frame[rank - 1 - i] = (widths[2 * i], widths[2 * i + 1])
    if mode == "constant":
        return wrap(_constant(node, tuple(frame), 0 if value is None else value))
    if mode not in ("reflect", "replicate", "circular"):
        raise NotImplementedError(f"Unrecognised padding mode {mode}")
    if value is not None and value != 0:
        raise RuntimeError(f'Padding mode "{mode}" doesn\'t take in value argument')
    padded = len(widths) // 2
    if not padded or rank - padded not in (1, 2) or padded > 3:
        raise NotImplementedError(UNSUPPORTED.format(len(widths), rank))
    if mode != "circular" and 0 in shape[-padded - 1 :]:
        raise RuntimeError(
            f"Expected {padded + 1}D or {padded + 2}D (batch mode) tensor with possibly 0 batch "
            f"size and other non-zero dimensions for input, but got: {list(shape)}"
        )
    if mode != "circular" and node.type.dtype is dtypes.bool_:
        kind = "reflection" if mode == "reflect" else "replication"
        raise unsupported(f"{kind}_pad{padded}d", dtypes.bool_)
    result = node
    for axis in range(rank - padded, rank):
        places = _places(mode, shape, axis, *frame[axis])
        if places is not None:
            result = index_op(
                result, data_node(places, dtypes.int64, node.type.device), arg=((axis,),)
            )
    if result is node:
        result = copy(node)
    name = NAMES.get(mode)
    if name is not None:
        return wrap(tagged(result, name.format(padded), node, keeps=(node,)))
    tagged(result, "CopySlices", node)
    if result.grad:
        result.tag.name = "CopySlices"
    return wrap(result)


def _constant(node: Node, frame: tuple, value: Any) -> Node:
    if not any(a or b for a, b in frame):
        return tagged(copy(node), "ConstantPadNd", node, saves=False)
    for extent, (a, b) in zip(node.type.shape, frame):
        if extent + a + b < 0 or extent + min(a, 0) + min(b, 0) < 0:
            raise RuntimeError("narrow(): length must be non-negative.")
    return pad_(node, coerce(value, node.type.dtype), arg=(frame,))


def _places(mode: str, shape: tuple, axis: int, before: int, after: int) -> np.ndarray | None:
    """Which elements of a dimension stand in the padded one; None for all of them as they are."""
    extent = shape[axis]
    if not before and not after:
        return None
    if mode == "circular":
        if before > extent or after > extent:
            raise RuntimeError("Padding value causes wrapping around more than once.")
        # What is cropped on one side does not come back on the other.
        first, stop = max(-before, 0), extent - max(-after, 0)
        if stop <= first < extent:
            raise RuntimeError("Negative padding value is resulting in an empty dimension")
        steps = np.arange(-max(before, 0), stop - first + max(after, 0))
        return first + steps % max(stop - first, 1)
    if extent + before + after < 1:
        name = "DHW"[axis - len(shape)]
        raise RuntimeError(
            f"input ({name}: {extent}) is too small. Calculated output {name}: "
            f"{extent + before + after}"
        )
    places = np.arange(-before, extent + after)
    if mode == "replicate":
        return np.clip(places, 0, extent - 1)
    if before >= extent or after >= extent:
        argument = 4 + 2 * (len(shape) - 1 - axis)
        raise RuntimeError(
            f"Argument #{argument}: Padding size should be less than the corresponding input "
            f"dimension, but got: padding ({before}, {after}) at dimension {axis} of input "
            f"{list(shape)}"
        )
    return extent - 1 - np.abs(extent - 1 - np.abs(places)) if extent > 1 else np.zeros_like(places)
