"""The order of dimensions in memory: results of permuted operands lie as PyTorch lays them.

Every storage is row-major in its own shape. A result that has to lie otherwise, such as that of
`x.t() * 2`, is stored with its dimensions in memory order and shown by a handle that permutes them
back, exactly as after an in-place transpose.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lazyt.ir.autodiff import Tag
from lazyt.ir.node import Node
from lazyt.ir.ops_shape import copy, permute_

from .dispatch import deliver, is_tensor, wrap
from .state import shape_of

if TYPE_CHECKING:
    from .tensor import Tensor


def memory_order(shape: tuple[int, ...], strides: tuple[int, ...]) -> tuple[int, ...] | None:
    """The dimensions from the outermost in memory to the innermost; None where that is their own
    order, or where the tensor repeats elements."""
    order = sorted(range(len(shape)), key=lambda i: (shape[i] == 1, -strides[i], i))
    least = 1
    for i in reversed(order):
        if shape[i] != 1:
            if strides[i] < least:
                return None
            least = strides[i] * shape[i]
    moved = [i for i in order if shape[i] != 1]
    return None if moved == sorted(moved) else tuple(order)


def laid_out(node: Node, order: tuple[int, ...], source: Node | None = None) -> Tensor:
    """A tensor whose value is `node`, in memory with its dimensions in the given order.

    source: what it is a clone of, for `grad_fn`; without it the grad_fn is that of `node`.
    """
    back = tuple(order.index(i) for i in range(len(order)))
    stored = wrap(copy(permute_(node, arg=(order,))))
    meta = stored._own_meta()
    strides = stored._storage.node.type.strides
    meta.recipe = ((permute_, (back,), ()),)
    meta.shape, meta.strides = node.type.shape, tuple(strides[i] for i in back)
    made = permute_(stored._storage.node, arg=(back,))
    if node.grad:
        tag = node.tag if source is None else Tag("CloneBackward0", (source,))
        inputs = tag.inputs if tag is not None and tag.inputs else node.src
        name = tag.name if tag is not None and tag.name is not None else node.op.grad_name
        made.tag = Tag(
            name, tuple(s for s in inputs if s.__class__ is Node and s.grad), saves=False
        )
    stored._node, stored._seen = made, stored._storage.node
    return stored


def given(node: Node, out: Tensor | None, name: str, *operands: Any) -> Tensor:
    """`deliver` for elementwise functions: a new result is laid out like the operands."""
    return like_operands(node, *operands) if out is None else deliver(node, out, name)


def like_operands(node: Node, *operands: Any) -> Tensor:
    """A tensor whose value is `node`, laid out as its first operand of the same shape is."""
    shape = node.type.shape
    if len(shape) > 1:
        for t in operands:
            if is_tensor(t) and shape_of(t) == shape:
                meta = t._meta
                if meta is not None and meta.strides is not None:
                    order = memory_order(shape, meta.strides)
                    if order is not None:
                        return laid_out(node, order)
                break
    return wrap(node)
