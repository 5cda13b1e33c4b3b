"""Products that are no matrix products: outer, inner, cross, Kronecker; traces and distances."""

from __future__ import annotations

from typing import Any

from lazyt.ir import ops_elementwise as ops
from lazyt.ir import ops_reduce as red
from lazyt.ir.dtypes import FLOATING, bool_, int64
from lazyt.ir.node import Node
from lazyt.ir.ops_elementwise import cast
from lazyt.ir.ops_linalg import matmul, transposed
from lazyt.ir.ops_shape import as_strided_, cat_, copy, narrow, reshape
from lazyt.ir.overwritten import kept_apart
from lazyt.ir.tags import OUTPUT
from lazyt.ir.types import broadcast_shapes
from lazyt.warned import warn_once

from ..dispatch import EXACT, deliver, scalar_name, tagged, unsupported, update, wrap
from ..registry import FUNCTIONS, public
from ..state import check_writable, node_of
from ..tensor import Tensor, attach, wrap_dim
from .arithmetic import compute_add, compute_mul
from .contraction import tensordot
from .matrix_products import operands
from .norms import compute_norm
from .old_forms import old_form
from .views import expand

# --- vectors --------------------------------------------------------------------------------------


def _column(node: Node) -> Node:
    return reshape(node, (*node.type.shape, 1))


def outer(input: Tensor, vec2: Tensor, *, out: Tensor | None = None) -> Tensor:
    """The products of all pairs of elements of two vectors."""
    a, b = operands("outer", input=input, vec2=vec2)
    for node, name in ((a, "self"), (b, "vec2")):
        rank = len(node.type.shape)
        if rank != 1:
            raise RuntimeError(f"outer: Expected 1-D argument {name}, but got {rank}-D")
    return deliver(compute_mul(_column(a), b), out)


def compute_addr(input: Tensor, vec1: Tensor, vec2: Tensor, beta: Any, alpha: Any) -> Node:
    """beta * input + alpha * the outer product of two vectors."""
    own, a, b = operands("addr", input=input, vec1=vec1, vec2=vec2)
    for node, name in ((a, "vec1"), (b, "vec2")):
        rank = len(node.type.shape)
        if rank != 1:
            raise RuntimeError(f"addr: Expected 1-D argument {name}, but got {rank}-D")
    if all(node.type.dtype is bool_ for node in (own, a, b)):
        beta, alpha = bool(beta), bool(alpha)
    spread = node_of(expand(input, a.type.shape[0], b.type.shape[0]))
    product = compute_mul(_column(a), b)
    if alpha != 1:
        product = compute_mul(product, alpha)
    if beta != 0:
        product = compute_add(spread if beta == 1 else compute_mul(spread, beta), product)
    return tagged(product, "Addr", own, a, b)


def addr(
    input: Tensor,
    vec1: Tensor,
    vec2: Tensor,
    *old: Any,
    beta: Any = 1,
    alpha: Any = 1,
    out: Tensor | None = None,
) -> Tensor:
    """beta * input + alpha * outer(vec1, vec2)."""
    if old:
        return old_form(addr, input, vec1, vec2, *old, out=out)
    return deliver(compute_addr(input, vec1, vec2, beta, alpha), out)


def addr_(
    self: Tensor, vec1: Tensor, vec2: Tensor, *old: Any, beta: Any = 1, alpha: Any = 1
) -> Tensor:
    """`addr`, in place."""
    if old:
        return old_form(addr_, self, vec1, vec2, *old)
    check_writable(self)
    return update(self, compute_addr(self, vec1, vec2, beta, alpha))


def inner(input: Tensor, other: Tensor, *, out: Tensor | None = None) -> Tensor:
    """Inner products over the last dimensions of both; a 0-d operand scales."""
    a, b = operands("inner", input=input, other=other)
    left, right = a.type.shape, b.type.shape
    if not left or not right:
        return deliver(compute_mul(a, b), out)
    if left[-1] != right[-1]:
        raise RuntimeError(
            "inner() the last dimension must match on both input tensors but got shapes "
            f"{list(left)} and {list(right)}"
        )
    return tensordot(input, other, ([-1], [-1]), out=out)


def _rotated(x: Node, by: int, axis: int) -> Node:
    """Elements of an axis of 3, counted from `by` on."""
    return cat_(narrow(x, axis, by, 3 - by), narrow(x, axis, 0, by), arg=(axis,))


def linalg_cross(
    input: Tensor, other: Tensor, *, dim: int = -1, out: Tensor | None = None
) -> Tensor:
    """The cross products of vectors of 3 along `dim`; everything else broadcasts."""
    a, b = operands("linalg_cross", input=input, other=other)
    left, right = a.type.shape, b.type.shape
    if len(left) != len(right):
        raise RuntimeError("linalg.cross: inputs must have the same number of dimensions.")
    axis = wrap_dim(dim, len(left))
    if left[axis] != 3 or right[axis] != 3:
        raise RuntimeError(
            f"linalg.cross: inputs dimension {dim} must have length 3. Got {left[axis]} and "
            f"{right[axis]}"
        )
    if a.type.dtype is not b.type.dtype:
        raise RuntimeError(
            f"expected scalar type {scalar_name(a.type.dtype)} but found "
            f"{scalar_name(b.type.dtype)}"
        )
    if a.type.dtype is bool_:
        raise unsupported("cross", bool_)
    broadcast_shapes(left, right)
    forward = ops.mul(_rotated(a, 1, axis), _rotated(b, 2, axis))
    backward = ops.mul(_rotated(a, 2, axis), _rotated(b, 1, axis))
    keeps = tuple(n for n, other in ((a, b), (b, a)) if other.grad)
    return deliver(
        tagged(ops.sub(forward, backward), "LinalgCross", a, b, keeps=keeps), out, exact=EXACT
    )


def cross(
    input: Tensor, other: Tensor, dim: int | None = None, *, out: Tensor | None = None
) -> Tensor:
    """`linalg.cross`, along the first dimension of 3 where none is given."""
    if dim is None:
        (a,) = operands("cross", input=input)
        if 3 not in a.type.shape:
            raise RuntimeError("no dimension of size 3 in input")
        warn_once(
            "Using torch.cross without specifying the dim arg is deprecated.\nPlease either pass "
            "the dim explicitly or simply use torch.linalg.cross.\nThe default value of dim will "
            "change to agree with that of linalg.cross in a future release."
        )
        dim = a.type.shape.index(3)
    return linalg_cross(input, other, dim=dim, out=out)


# --- matrices -------------------------------------------------------------------------------------


def kron(input: Tensor, other: Tensor, *, out: Tensor | None = None) -> Tensor:
    """The Kronecker product: every element of `input` times all of `other`."""
    a, b = operands("kron", input=input, other=other)
    rank = max(len(a.type.shape), len(b.type.shape))
    left = (1,) * (rank - len(a.type.shape)) + a.type.shape
    right = (1,) * (rank - len(b.type.shape)) + b.type.shape
    # As PyTorch's, these are no views that a write to the operands would reach.
    x = kept_apart(reshape(a, tuple(n for m in left for n in (m, 1))))
    y = kept_apart(reshape(b, tuple(n for m in right for n in (1, m))))
    product = compute_mul(x, y)
    result = copy(reshape(product, tuple(m * n for m, n in zip(left, right))))
    return deliver(tagged(result, "UnsafeView", product, saves=False), out)


def trace(input: Tensor) -> Tensor:
    """The sum of a matrix's diagonal."""
    (node,) = operands("trace", input=input)
    shape = node.type.shape
    if len(shape) != 2:
        raise RuntimeError(f"trace: expected a matrix, but got tensor with dim {len(shape)}")
    if node.type.dtype is bool_:
        raise NotImplementedError("\"trace\" not implemented for 'Bool'")
    diagonal = as_strided_(node, 0, arg=((min(shape),), (shape[1] + 1,)))
    if node.type.dtype.category < FLOATING:
        diagonal = cast(diagonal, int64)
    return wrap(tagged(red.sum_(diagonal, arg=((0,), False)), "Trace", node, saves=False))


# --- distances ------------------------------------------------------------------------------------

# From this many differences on, Euclidean distances come from one matrix product.
_MANY = 1 << 22


def _by_products(p: float, left: tuple, right: tuple, mode: str) -> bool:
    """Whether PyTorch computes distances by a matrix product, which half types have."""
    large = max(left[-2], right[-2]) > 25
    always, if_large = "use_mm_for_euclid_dist", "use_mm_for_euclid_dist_if_necessary"
    return p == 2 and (mode == always or mode == if_large and large)


def cdist(
    x1: Tensor,
    x2: Tensor,
    p: float = 2.0,
    compute_mode: str = "use_mm_for_euclid_dist_if_necessary",
) -> Tensor:
    """The p-norms of the differences of each row of `x1` and each row of `x2`; stacks broadcast."""
    a, b = operands("cdist", x1=x1, x2=x2)
    left, right = a.type.shape, b.type.shape
    for node, name in ((a, "X1"), (b, "X2")):
        if len(node.type.shape) < 2:
            raise RuntimeError(
                f"cdist only supports at least 2D tensors, {name} got: {len(node.type.shape)}D"
            )
    if left[-1] != right[-1]:
        raise RuntimeError(
            f"X1 and X2 must have the same number of columns. X1: {left[-1]} X2: {right[-1]}"
        )
    for node, name in ((a, "X1"), (b, "X2")):
        if node.type.dtype.category != FLOATING:
            raise RuntimeError(
                f"cdist only supports floating-point dtypes, {name} got: "
                f"{scalar_name(node.type.dtype)}"
            )
    if a.type.dtype is not b.type.dtype:
        raise RuntimeError(
            f"expected scalar type {scalar_name(a.type.dtype)} but found "
            f"{scalar_name(b.type.dtype)}"
        )
    if p < 0:
        raise RuntimeError("cdist only supports non-negative p values")
    if a.type.dtype.is_half and not _by_products(p, left, right, compute_mode):
        raise unsupported("cdist", a.type.dtype)
    lead = broadcast_shapes(left[:-2], right[:-2])
    count = 1
    for n in (*lead, left[-2], right[-2], left[-1]):
        count *= n
    product = p == 2 and compute_mode != "donot_use_mm_for_euclid_dist"
    if product and (compute_mode == "use_mm_for_euclid_dist" or count >= _MANY):
        result = _euclidean(a, b)
    else:
        rows = reshape(a, (*left[:-1], 1, left[-1]))
        columns = reshape(b, (*right[:-2], 1, *right[-2:]))
        gap = ops.sub(rows, columns)
        result = compute_norm(gap, float(p), (len(gap.type.shape) - 1,), False)
    return wrap(tagged(result, "Cdist", a, b, keeps=(a, b, OUTPUT)))


def _euclidean(a: Node, b: Node) -> Node:
    """sqrt(|a|^2 + |b|^2 - 2 a.b), with a gradient of 0 at a distance of 0."""
    last = lambda x: (len(x.type.shape) - 1,)
    squares = red.sum_(ops.mul(a, a), arg=(last(a), True))
    others = transposed(red.sum_(ops.mul(b, b), arg=(last(b), True)))
    products = matmul(a, transposed(b))
    total = ops.sub(ops.add(squares, others), ops.mul(products, 2.0))
    apart = ops.gt(total, 0.0)
    return ops.where(apart, ops.sqrt(ops.where(apart, total, 1.0)), 0.0)


for _function in (outer, inner, cross, kron, trace):
    public(_function)
public(outer, "ger")
public(addr)
attach(addr_=addr_)
FUNCTIONS["cdist"] = cdist
