"""The order of dimensions in memory: results of permuted operands lie as PyTorch lays them.

Every storage is row-major in its own shape. A result that has to lie otherwise, such as that of
`x.t() * 2`, is stored with its dimensions in memory order and shown by a handle that permutes them
back, exactly as after an in-place transpose.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from lazyt.ir.node import Node
from lazyt.ir.ops_shape import copy, permute_
from lazyt.ir.overwritten import overwritten_text
from lazyt.ir.tags import Tag

from .dispatch import deliver, is_tensor, wrap
from .handles import Shown
from .state import geometry, is_row_major, named_as

if TYPE_CHECKING:
    from .state import Storage
    from .tensor import Tensor


Place = tuple[tuple[int, ...], tuple[int, ...]]  # the shape and strides of an operand


def iteration_order(shape: tuple[int, ...], places: Sequence[Place]) -> tuple[int, ...] | None:
    """The dimensions of a result from the outermost in memory to the innermost; None where that is
    their own order.

    shape: the result's; places: of its operands, which broadcast to it. An insertion sort from the
    last dimension on, by the strides of the first operand that tells two dimensions apart (a stride
    of 0 does not), as in PyTorch's TensorIteratorBase::reorder_dimensions.
    """
    rank = len(shape)
    if all(own == shape and is_row_major(own, strides) for own, strides in places):
        return None
    spread = [
        (0,) * (rank - len(own))
        + tuple(
            0 if n == 1 and whole != 1 else k
            for n, k, whole in zip(own, strides, shape[rank - len(own) :])
        )
        for own, strides in places
    ]
    inner = list(range(rank))[::-1]  # from the innermost to the outermost
    for i in range(1, rank):
        at = i
        for k in range(i - 1, -1, -1):
            turn = _turn(inner[k], inner[at], shape, spread)
            if turn > 0:
                inner[k], inner[at] = inner[at], inner[k]
                at = k
            elif turn < 0:
                break
    order = tuple(inner[::-1])
    return None if order == tuple(range(rank)) else order


def _turn(a: int, b: int, shape: tuple[int, ...], spread: Sequence[tuple[int, ...]]) -> int:
    """1 where dimension `a` belongs outside of `b`, -1 where it is inside, 0 where nothing says."""
    for strides in spread:
        if strides[a] and strides[b]:
            if strides[a] != strides[b]:
                return 1 if strides[a] > strides[b] else -1
            if shape[a] > shape[b]:
                return 1
    return 0


def memory_order(t: Tensor) -> tuple[int, ...] | None:
    """`iteration_order` of one tensor: that of its clone, and of filling it in place."""
    _, shape, strides = geometry(t)
    return iteration_order(shape, [(shape, strides)])


class LaidOut(Tag):
    """On a result that was copied into another order: its memory is the copy.

    A backward that saved the result reads what the copy holds then, and raises after a write.
    """

    __slots__ = ("shown",)
    follows = True

    def __init__(self, storage: Storage, back: tuple[int, ...], of: Tag | None):
        super().__init__()
        if of is not None:
            self.name, self.inputs, self.saves = of.name, of.inputs, of.saves
            self.keeps, self.steps = of.keeps, of.steps
        self.shown = Shown(storage, ((permute_, (back,), ()),), storage)

    def now(self, node: Node, reader: Node | None = None, shown: Node | None = None) -> Node:
        if not self.shown.holds():
            raise RuntimeError(overwritten_text(node, self.shown))
        return self.shown.value(node)


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
    if node.grad and source is not None:
        made.tag = Tag("CloneBackward0", (source,), saves=False)
    elif node.grad:
        made.tag = named_as(node)
        node.tag = LaidOut(stored._storage, back, node.tag)
    stored._node, stored._seen = made, stored._storage.node
    return stored


def given(node: Node, out: Tensor | None, name: str, *operands: Any, exact: str = "") -> Tensor:
    """`deliver` for elementwise functions: a new result is laid out like the operands."""
    return like_operands(node, *operands) if out is None else deliver(node, out, name, exact)


def like_operands(node: Node, *operands: Any) -> Tensor:
    """A tensor whose value is `node`, laid out as an elementwise function of `operands` lays it."""
    shape = node.type.shape
    if len(shape) > 1:
        for t in operands:
            meta = t._meta if is_tensor(t) else None
            if meta is not None and meta.strides is not None and len(meta.strides) > 1:
                order = iteration_order(shape, [geometry(u)[1:] for u in operands if is_tensor(u)])
                return wrap(node) if order is None else laid_out(node, order)
    return wrap(node)
