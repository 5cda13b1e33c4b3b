"""Decompositions of matrices: solve, determinants, Cholesky, QR, eigenvalues, singular values.

NumPy computes them on every tier. Those with several results pack them into one array along a last
axis, so that a derivative is a function of one cotangent; `unpacked` takes them apart again:

    w, v = unpacked(eigh(a), (2,), (2, 2))

The derivatives are those of M. Giles, "Collected matrix derivative results for forward and reverse
mode algorithmic differentiation" (2008); that of the pseudoinverse is Golub's and Pereyra's (1973).
"""

from __future__ import annotations

import math

from .node import Node
from .numerics import decompositions as lapack
from .opdef import Op, provide
from .ops_constant import arange_, typed
from .ops_elementwise import add, div, eq, mul, neg, sub, where, zeros_like
from .ops_linalg import inverse, matmul, transposed
from .ops_rearrange import tril_, triu_
from .ops_shape import cat_, narrow, reshape
from .types import TensorType, broadcast_shapes

Shape = tuple[int, ...]

provide(
    solve=lapack.solve,
    cholesky=lapack.cholesky,
    eigh=lapack.eigh,
    qr=lapack.qr,
    svd=lapack.svd,
    pinv=lapack.pinv,
    sign_of_det=lapack.sign_of_det,
    log_of_det=lapack.log_of_det,
    matrix_exp=lapack.matrix_exp,
)


def pack(*parts: tuple[Node, int]) -> Node:
    """The parts of a decomposition, each with the number of its own axes, along one last axis."""
    flat = []
    for part, rank in parts:
        shape = part.type.shape
        cut = len(shape) - rank
        flat.append(reshape(part, shape[:cut] + (math.prod(shape[cut:]),)))
    return cat_(*flat, arg=(len(flat[0].type.shape) - 1,))


def unpacked(packed: Node, *shapes: Shape) -> tuple[Node, ...]:
    """The parts of a decomposition, of these shapes beyond the stack."""
    stack, start, parts = packed.type.shape[:-1], 0, []
    for shape in shapes:
        count = math.prod(shape)
        parts.append(reshape(narrow(packed, len(stack), start, count), stack + shape))
        start += count
    return tuple(parts)


def _packed_type(x: Node, *shapes: Shape) -> TensorType:
    return x.type.with_shape(x.type.shape[:-2] + (sum(map(math.prod, shapes)),))


def _column(x: Node) -> Node:
    """Vectors as matrices of one column."""
    return reshape(x, x.type.shape + (1,))


def _row(x: Node) -> Node:
    """Vectors as matrices of one row."""
    return reshape(x, x.type.shape[:-1] + (1, x.type.shape[-1]))


def eye_of(n: int, like: Node) -> Node:
    """The identity's mask, n by n, where `like` is."""
    count = arange_(0, 1, arg=typed((n,), like.type.dtype, like.type.device))
    return eq(_column(count), count)


def _shared(x: Node, by: Node) -> Node:
    """x / by, with 0 / 0 = 0: what has no cotangent has none where values are equal or 0."""
    return div(x, where(eq(x, 0.0), 1.0, by))


def _gaps(values: Node) -> Node:
    """values_j - values_i, and 1 on the diagonal."""
    gaps = sub(_row(values), _column(values))
    return where(eye_of(values.type.shape[-1], values), 1.0, gaps)


def _diagonal(values: Node, like: Node) -> Node:
    return where(eye_of(values.type.shape[-1], values), _row(values), 0.0)


# --- linear systems and determinants --------------------------------------------------------------


def _solved_type(src: tuple, arg: tuple) -> TensorType:
    a, b = src[0].type, src[1].type
    stack = broadcast_shapes(a.shape[:-2], b.shape[:-2])
    return b.with_shape(stack + b.shape[-2:])


solve: Op = Op(
    "solve",
    "solve({0}, {1})",
    kind="opaque",
    raising="always",
    infer=_solved_type,
    vjp=(
        lambda g, y, a, b: neg(matmul(solve(transposed(a), g), transposed(y))),
        lambda g, y, a, b: solve(transposed(a), g),
    ),
    grad_name="LinalgSolveEx",
    samples=lambda: [(((3, 3), (3, 2)), ()), (((2, 2, 2), (2, 1)), ())],
)


def _scalar_type(src: tuple, arg: tuple) -> TensorType:
    return src[0].type.with_shape(src[0].type.shape[:-2])


def _of_det(g: Node, a: Node) -> Node:
    """The cotangent of log |det a|, times g."""
    return mul(_column(_column(g)), transposed(inverse(a)))


det: Op = Op(
    "det",
    "np.linalg.det({0})",
    kind="opaque",
    infer=_scalar_type,
    vjp=(lambda g, y, a: _of_det(mul(g, y), a),),
    grad_name="LinalgDet",
    samples=lambda: [(((3, 3),), ()), (((2, 2, 2),), ())],
)
sign_of_det: Op = Op(
    "sign_of_det",
    "sign_of_det({0})",
    kind="opaque",
    infer=_scalar_type,
    vjp=(lambda g, y, a: zeros_like(a),),
    grad_name="LinalgSlogdet",
    samples=lambda: [(((2, 3, 3),), ())],
)
log_of_det: Op = Op(
    "log_of_det",
    "log_of_det({0})",
    kind="opaque",
    infer=_scalar_type,
    vjp=(lambda g, y, a: _of_det(g, a),),
    grad_name="LinalgSlogdet",
    samples=lambda: [(((3, 3),), ()), (((2, 2, 2),), ())],
)


def _pinv_vjp(g: Node, y: Node, a: Node) -> Node:
    t, pt = transposed(g), transposed(y)
    first = matmul(matmul(pt, g), pt)
    # (I - A P) g^T P P^T and P^T P g^T (I - P A)
    left = sub(t, matmul(a, matmul(y, t)))
    right = sub(t, matmul(matmul(t, y), a))
    return add(neg(first), add(matmul(left, matmul(y, pt)), matmul(matmul(pt, y), right)))


pinv: Op = Op(
    "pinv",
    "pinv({0}, {rtol})",
    kind="opaque",
    fields=("rtol",),
    infer=lambda src, arg: src[0].type.with_shape(
        src[0].type.shape[:-2] + src[0].type.shape[:-3:-1]
    ),
    vjp=(_pinv_vjp,),
    grad_name="LinalgPinv",
    samples=lambda: [(((3, 2),), (1e-15,)), (((2, 2, 3),), (1e-15,))],
)

# --- factors --------------------------------------------------------------------------------------


def _half_lower(x: Node) -> Node:
    """The lower triangle, with half of the diagonal."""
    low = tril_(x, arg=(0,))
    return where(eye_of(x.type.shape[-1], x), mul(low, 0.5), low)


def _symmetrized(x: Node) -> Node:
    return mul(add(x, transposed(x)), 0.5)


def _cholesky_vjp(g: Node, y: Node, x: Node) -> Node:
    inner = _half_lower(matmul(transposed(y), g))
    back = inverse(y)
    return _symmetrized(matmul(matmul(transposed(back), inner), back))


cholesky: Op = Op(
    "cholesky",
    "cholesky({0})",
    kind="opaque",
    raising="always",
    infer=lambda src, arg: src[0].type,
    vjp=(_cholesky_vjp,),
    grad_name="LinalgCholeskyEx",
    samples=lambda: [(([[4.0, 1.0, 0.5], [1.0, 3.0, -0.5], [0.5, -0.5, 2.0]],), ())],
)


def _eigh_vjp(g: Node, y: Node, x: Node) -> Node:
    n = x.type.shape[-1]
    values, vectors = unpacked(y, (n,), (n, n))
    of_values, of_vectors = unpacked(g, (n,), (n, n))
    turned = _shared(matmul(transposed(vectors), of_vectors), _gaps(values))
    inner = where(eye_of(n, x), _row(of_values), turned)
    return _symmetrized(matmul(matmul(vectors, inner), transposed(vectors)))


eigh: Op = Op(
    "eigh",
    "eigh({0}, {side})",
    kind="opaque",
    fields=("side",),
    infer=lambda src, arg: _packed_type(src[0], src[0].type.shape[-1:], src[0].type.shape[-2:]),
    vjp=(_eigh_vjp,),
    grad_name="LinalgEigh",
    samples=lambda: [(((3, 3),), ("L",)), (((2, 2, 2),), ("U",))],
)


def qr_shapes(x: Node, complete: bool = False) -> tuple[Shape, Shape]:
    """The shapes of Q and R."""
    m, n = x.type.shape[-2:]
    k = m if complete else min(m, n)
    return (m, k), (k, n)


def _tall_qr_vjp(of_q: Node, of_r: Node, q: Node, r: Node) -> Node:
    inner = triu_(sub(matmul(of_r, transposed(r)), matmul(transposed(q), of_q)), arg=(0,))
    both = add(inner, transposed(inner))
    both = where(eye_of(both.type.shape[-1], both), mul(both, 0.5), both)
    total = add(of_q, matmul(q, both))
    return transposed(solve(r, transposed(total)))


def _qr_vjp(g: Node, y: Node, x: Node) -> Node:
    shapes = qr_shapes(x, *y.arg)
    (q, r), (of_q, of_r) = unpacked(y, *shapes), unpacked(g, *shapes)
    (m, n), last = x.type.shape[-2:], len(x.type.shape) - 1
    if m >= n:
        return _tall_qr_vjp(of_q, of_r, q, r)
    # A = [X Y], R = [U V] with U square: X = Q U, and V = Q^T Y depends on X through Q.
    rest = narrow(x, last, m, n - m)
    of_u, of_v = narrow(of_r, last, 0, m), narrow(of_r, last, m, n - m)
    of_q = add(of_q, matmul(rest, transposed(of_v)))
    head = _tall_qr_vjp(of_q, of_u, q, narrow(r, last, 0, m))
    return cat_(head, matmul(q, of_v), arg=(last,))


qr: Op = Op(
    "qr",
    "qr({0}, {complete})",
    kind="opaque",
    fields=("complete",),
    infer=lambda src, arg: _packed_type(src[0], *qr_shapes(src[0], *arg)),
    vjp=(_qr_vjp,),
    grad_name="LinalgQr",
    samples=lambda: [(((3, 2),), (False,)), (((2, 2, 3),), (False,)), (((2, 2),), (True,))],
)


def svd_shapes(x: Node, full: bool = False) -> tuple[Shape, Shape, Shape]:
    """The shapes of U, the singular values, and V transposed."""
    m, n = x.type.shape[-2:]
    k = min(m, n)
    return (m, m if full else k), (k,), (n if full else k, n)


def _skew(x: Node) -> Node:
    return sub(x, transposed(x))


def _svd_vjp(g: Node, y: Node, x: Node) -> Node:
    shapes = svd_shapes(x, *y.arg)
    (u, s, v), (of_u, of_s, of_v) = unpacked(y, *shapes), unpacked(g, *shapes)
    (m, n), last = x.type.shape[-2:], len(x.type.shape) - 1
    k = min(m, n)
    u, of_u = narrow(u, last, 0, k), narrow(of_u, last, 0, k)
    v, of_v = narrow(v, last - 1, 0, k), narrow(of_v, last - 1, 0, k)
    gaps = _gaps(mul(s, s))
    left = mul(_shared(_skew(matmul(transposed(u), of_u)), gaps), _row(s))
    right = mul(_shared(_skew(matmul(v, transposed(of_v))), gaps), _column(s))
    inner = matmul(u, add(add(left, right), _diagonal(of_s, s)))
    if m > k:  # what of_u has outside of the span of U
        outside = sub(of_u, matmul(u, matmul(transposed(u), of_u)))
        inner = add(inner, _shared(outside, _row(s)))
    result = matmul(inner, v)
    if n > k:
        outside = sub(of_v, matmul(matmul(of_v, transposed(v)), v))
        result = add(result, matmul(u, _shared(outside, _column(s))))
    return result


svd: Op = Op(
    "svd",
    "svd({0}, {full})",
    kind="opaque",
    fields=("full",),
    infer=lambda src, arg: _packed_type(src[0], *svd_shapes(src[0], *arg)),
    vjp=(_svd_vjp,),
    grad_name="LinalgSvd",
    samples=lambda: [(((3, 2),), (False,)), (((2, 2, 3),), (False,)), (((2, 2),), (True,))],
)

# --- the exponential ------------------------------------------------------------------------------


def _matrix_exp_vjp(g: Node, y: Node, x: Node) -> Node:
    """The upper right block of exp [[A^T, g], [0, A^T]] (Al-Mohy and Higham 2009)."""
    n, last = x.type.shape[-1], len(x.type.shape) - 1
    t = transposed(x)
    zero = zeros_like(t)
    rows = cat_(t, g, arg=(last,)), cat_(zero, t, arg=(last,))
    whole = matrix_exp(cat_(*rows, arg=(last - 1,)))
    return narrow(narrow(whole, last, n, n), last - 1, 0, n)


matrix_exp: Op = Op(
    "matrix_exp",
    "matrix_exp({0})",
    kind="opaque",
    infer=lambda src, arg: src[0].type,
    vjp=(_matrix_exp_vjp,),
    grad_name="LinalgMatrixExp",
    samples=lambda: [(((3, 3),), ()), (((2, 2, 2),), ())],
)
