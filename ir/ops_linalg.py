"""Matrix products and convolutions.

`matmul` multiplies the last two axes and broadcasts the others; as in NumPy a vector on the left
counts as a row, one on the right as a column, and the result lacks that axis. The three
convolutions are each other's derivatives, so any order of differentiation stays within them (a
transposed convolution is `conv_input`).
"""

from __future__ import annotations

import math
from typing import Any

from .node import Node
from .numerics import conv as convolutions
from .numerics import matmul as products
from .opdef import Op, provide
from .ops_elementwise import neg
from .ops_shape import permute, reshape, slice_
from .types import TensorType, broadcast_shapes

provide(
    conv=convolutions.conv,
    conv_input=convolutions.conv_input_grad,
    conv_weight=convolutions.conv_weight_grad,
    matmul=products.matmul_arrays,
    inverse=products.inverse,
)


def transposed(x: Node) -> Node:
    """The last two axes exchanged."""
    rank = len(x.type.shape)
    return permute(x, (*range(rank - 2), rank - 1, rank - 2))


def _matmul_type(src: tuple, arg: tuple) -> TensorType:
    a, b = src[0].type, src[1].type
    lead = broadcast_shapes(a.shape[:-2], b.shape[:-2])
    return a.with_shape(lead + a.shape[-2:-1] + (b.shape[-1:] if len(b.shape) > 1 else ()))


def _as_matrices(a: Node, b: Node, g: Node) -> tuple[Node, Node, Node]:
    """Operands and cotangent, a vector on the left lifted to a row, on the right to a column."""
    (m, n), shape = _vectors(a, b), g.type.shape
    if n:
        b, shape = reshape(b, (*b.type.shape, 1)), (*shape, 1)
    if m:
        a, shape = reshape(a, (1, *a.type.shape)), (*shape[:-1], 1, shape[-1])
    return a, b, reshape(g, shape)


def _vectors(a: Node, b: Node) -> tuple[bool, bool]:
    return len(a.type.shape) == 1, len(b.type.shape) == 1


def _matmul_left(g: Node, y: Node, a: Any, b: Any) -> Node:
    """g @ b^T, brought back to the shape of a vector."""
    _, b, g = _as_matrices(a, b, g)
    return _like(matmul(g, transposed(b)), a)


class Outer:
    """A cotangent left^T @ g of a matrix, of (rows, m) and (rows, n): those that one matrix gets of
    several products may be one product (cotangents.py)."""

    __slots__ = ("left", "g")

    def __init__(self, left: Node, g: Node):
        self.left = left
        self.g = g

    def product(self) -> Node:
        """The cotangent by itself."""
        return matmul(transposed(self.left), self.g)


def _matmul_right(g: Node, y: Node, a: Any, b: Any) -> Node | Outer:
    """a^T @ g; a stack against one matrix is one product of tall matrices, not a sum of many."""
    if len(a.type.shape) == len(b.type.shape) == 2:
        return Outer(a, g)
    lifted, _, g = _as_matrices(a, b, g)
    if len(b.type.shape) <= 2 and len(lifted.type.shape) > 2:
        rows = math.prod(lifted.type.shape[:-1])
        lifted, g = (reshape(t, (rows, t.type.shape[-1])) for t in (lifted, g))
    return _like(matmul(transposed(lifted), g), b)


def _like(product: Node, operand: Node) -> Node:
    shape = operand.type.shape
    if len(shape) > 1:
        return product
    # A vector's cotangent may still carry the stack's axes, which the differentiator sums away.
    return reshape(product, product.type.shape[:-2] + shape)


matmul: Op = Op(
    "matmul",
    "matmul({0}, {1}, out={out})",
    kind="opaque",
    infer=_matmul_type,
    vjp=(_matmul_left, _matmul_right),
    grad_name="Mm",
    samples=lambda: [
        (((2, 3), (3, 4)), ()),
        (((5, 2, 3), (3, 4)), ()),
        (((2, 3), (3,)), ()),
        (((3,), (2, 3, 4)), ()),
        (((3,), (3,)), ()),
        (((2, 3), (4, 3, 2)), ()),
        (((2, 0), (0, 3)), ()),
        (((0, 2), (2, 3)), ()),
    ],
)
inverse: Op = Op(
    "inverse",
    "inverse({0})",
    kind="opaque",
    raising="always",
    infer=lambda src, arg: src[0].type,
    vjp=(lambda g, y, x: neg(matmul(transposed(y), matmul(g, transposed(y)))),),
    grad_name="LinalgInvEx",
    samples=lambda: [(((3, 3),), ()), (((2, 1, 1),), ())],
)

# --- convolution ----------------------------------------------------------------------------------


def _conv_type(src: tuple, arg: tuple) -> TensorType:
    x, w = src[0].type, src[1].type
    spatial = convolutions.conv_output_size(x.shape[2:], w.shape[2:], *arg[:3])
    return x.with_shape((x.shape[0], w.shape[0], *spatial))


def _conv_front(a: Node, w: Node, arg: tuple, shape: tuple[int, ...]) -> Node:
    """The front part of a convolution. The cotangent of a transposed convolution whose output was
    padded by a stride or more has room for more positions than there were."""
    y = conv(a, w, arg=arg)
    if y.type.shape == shape:
        return y
    return slice_(y, *(0,) * len(shape), arg=(shape, (1,) * len(shape)))


_GEOMETRY = ("stride", "padding", "dilation", "groups")
_ONE_CASE = ((2, 1), (1, 0), (1, 2), 2)

conv: Op = Op(
    "conv",
    "conv({0}, {1}, {stride}, {padding}, {dilation}, {groups}, out={out})",
    kind="opaque",
    fields=_GEOMETRY,
    infer=_conv_type,
    vjp=(
        lambda g, y, x, w: conv_input(g, w, arg=(x.type.shape[2:], *y.arg)),
        lambda g, y, x, w: conv_weight(g, x, arg=(w.type.shape[2:], *y.arg)),
    ),
    also_saves=lambda n: (0, 1),
    grad_name="Convolution",
    samples=lambda: [(((2, 4, 7, 8), (6, 2, 3, 2)), _ONE_CASE)],
)
conv_input: Op = Op(
    "conv_input",
    "conv_input({0}, {1}, {spatial}, {stride}, {padding}, {dilation}, {groups}, out={out})",
    kind="opaque",
    fields=("spatial", *_GEOMETRY),
    infer=lambda src, arg: src[0].type.with_shape(
        (src[0].type.shape[0], src[1].type.shape[1] * arg[4], *arg[0])
    ),
    vjp=(
        lambda g, y, x, w: _conv_front(g, w, y.arg[1:], x.type.shape),
        lambda g, y, x, w: conv_weight(x, g, arg=(w.type.shape[2:], *y.arg[1:])),
    ),
    grad_name="Convolution",
    samples=lambda: [(((2, 6, 4, 6), (6, 2, 3, 2)), ((7, 8), *_ONE_CASE))],
)
conv_weight: Op = Op(
    "conv_weight",
    "conv_weight({0}, {1}, {kernel}, {stride}, {padding}, {dilation}, {groups}, out={out})",
    kind="opaque",
    fields=("kernel", *_GEOMETRY),
    infer=lambda src, arg: src[0].type.with_shape(
        (src[0].type.shape[1], src[1].type.shape[1] // arg[4], *arg[0])
    ),
    vjp=(
        lambda g, y, x, u: _conv_front(u, g, y.arg[1:], x.type.shape),
        lambda g, y, x, u: conv_input(x, g, arg=(u.type.shape[2:], *y.arg[1:])),
    ),
    grad_name="ConvolutionBackward",
    samples=lambda: [(((2, 6, 4, 6), (2, 4, 7, 8)), ((3, 2), *_ONE_CASE))],
)
