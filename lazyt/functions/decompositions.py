"""Decompositions and what is made of them: solve, det, qr, svd, eigh, lstsq, matrix_exp.

    torch.linalg.solve(A, B)        A^-1 B
    U, S, Vh = torch.linalg.svd(A)  A = U diag(S) Vh

They take float32 and float64, and stacks of matrices.
"""

from __future__ import annotations

from typing import Any

from lazyt.ir import dtypes
from lazyt.ir import ops_decompositions as dec
from lazyt.ir import ops_elementwise as ops
from lazyt.ir import ops_reduce as red
from lazyt.ir.dtypes import FLOATING, DType
from lazyt.ir.node import Node
from lazyt.ir.ops_linalg import matmul, transposed
from lazyt.ir.ops_rearrange import tril_
from lazyt.ir.ops_shape import copy, narrow, replaced, reshape, stop
from lazyt.ir.types import broadcast_shapes

from .. import return_types
from ..dispatch import EXACT, at_once, deliver, scalar_name, tagged, unsupported, wrap
from ..info import finfo
from ..registry import public
from ..state import node_of
from ..tensor import Tensor
from .dims import numbered
from .matrix_products import operands

# --- checks ---------------------------------------------------------------------------------------


def check_matrices(node: Node, name: str, argument: str = "A", kernel: str = "") -> None:
    """PyTorch's errors for what is no stack of matrices of float32 or float64.

    kernel: the one that lacks half types, where the function itself does not refuse them.
    """
    if len(node.type.shape) < 2:
        raise RuntimeError(f"{name}: The input tensor {argument} must have at least 2 dimensions.")
    dtype = node.type.dtype
    if dtype.is_complex:
        raise NotImplementedError(f"{name} is not implemented for complex tensors")
    if dtype.category != FLOATING:
        raise RuntimeError(
            f"{name}: Expected a floating point or complex tensor as input. Got "
            f"{scalar_name(dtype)}"
        )
    if dtype.is_half and kernel:
        raise unsupported(kernel, dtype)
    if dtype.is_half:
        raise RuntimeError(f"{name}: Low precision dtypes not supported. Got {scalar_name(dtype)}")


def check_square(node: Node, name: str) -> None:
    """RuntimeError in PyTorch's words for what is no stack of square matrices."""
    shape = node.type.shape
    if len(shape) < 2:
        raise RuntimeError(f"{name}: The input tensor A must have at least 2 dimensions.")
    if shape[-1] != shape[-2]:
        raise RuntimeError(
            f"{name}: A must be batches of square matrices, but they are {shape[-2]} by "
            f"{shape[-1]} matrices"
        )


def _square(name: str, kernel: str, **tensors: Any) -> Node:
    (node,) = operands(name.replace(".", "_"), **tensors)
    check_square(node, name)
    check_matrices(node, name, kernel=kernel)
    return node


def _delivered(
    kind: str, nodes: tuple[Node, ...], out: Any, *inputs: Node, exact: str = EXACT
) -> Any:
    """A named result of several nodes, written into the tensors of `out` where they are given."""
    made = getattr(return_types, kind)
    nodes = tuple(copy(node) if node.op.view else node for node in nodes)
    if out is None:
        title = "".join(word.title() for word in kind.split("_"))
        return made(tuple(wrap(tagged(node, title, *inputs)) for node in nodes))
    made = getattr(return_types, kind + "_out")
    return made(tuple(deliver(node, o, kind, exact) for node, o in zip(nodes, out)))


def _symmetric(node: Node, uplo: str = "L") -> Node:
    """The symmetric matrix that one triangle stands for; cotangents go to the matrix as it is."""
    x = stop(node) if node.grad else node
    if uplo == "U":
        x = transposed(x)
    low = tril_(x, arg=(0,))
    whole = ops.add(low, transposed(tril_(x, arg=(-1,))))
    return replaced(node, whole) if node.grad else whole


# --- linear systems -------------------------------------------------------------------------------


def _is_vector(a: Node, b: Node) -> bool:
    shape = b.type.shape
    return len(shape) == 1 or len(shape) == len(a.type.shape) - 1 and shape == a.type.shape[:-1]


def solve(A: Tensor, B: Tensor, *, left: bool = True, out: Tensor | None = None) -> Tensor:
    """X with A X = B (X A = B where not `left`); B is a stack of matrices or vectors.

    Errors: RuntimeError for shapes and dtypes that do not fit; LinAlgError for a singular A.
    """
    a, b = operands("linalg_solve", A=A, B=B)
    check_square(a, "linalg.solve")
    check_matrices(a, "linalg.solve", kernel="lu_cpu")
    if a.type.dtype is not b.type.dtype:
        raise RuntimeError(
            "linalg.solve: Expected A and B to have the same dtype, but found A of type "
            f"{scalar_name(a.type.dtype)} and B of type {scalar_name(b.type.dtype)} instead"
        )
    vector = _is_vector(a, b)
    if vector and not left:
        raise RuntimeError(
            "linalg.solve: Vector broadcasting of the left hand side is not supported for "
            "left=False. In this case linalg.solve is equivalent to B / A.squeeze(-1)"
        )
    x = reshape(b, (*b.type.shape, 1)) if vector else b
    shape, n = x.type.shape, a.type.shape[-1]
    if shape[-2 if left else -1] != n:
        raise RuntimeError(
            f"linalg.solve: Incompatible shapes of A and B for the equation "
            f"{'AX = B' if left else 'XA = B'} ({n}x{n} and {shape[-2]}x{shape[-1]})"
        )
    broadcast_shapes(a.type.shape[:-2], shape[:-2])
    y = at_once(dec.solve(a, x) if left else dec.solve(transposed(a), transposed(x)))
    if not left:
        y = transposed(y)
    if vector or not left:
        y = copy(reshape(y, y.type.shape[:-1]) if vector else y)
    return deliver(tagged(y, "LinalgSolveEx", a, b), out, "linalg_solve", EXACT)


def pinv(
    input: Tensor,
    rcond: float | None = None,
    hermitian: bool = False,
    *,
    atol: float | None = None,
    rtol: float | None = None,
    out: Tensor | None = None,
) -> Tensor:
    """The pseudoinverse; singular values of at most `rtol` of the largest count as 0."""
    (a,) = operands("linalg_pinv", input=input)
    check_matrices(a, "linalg.pinv")
    if atol is not None:
        raise NotImplementedError("linalg.pinv: atol is not supported; give rtol")
    limit = rtol if rtol is not None else rcond
    if hermitian:
        check_square(a, "linalg.pinv")
        a = _symmetric(a)
    return deliver(dec.pinv(a, arg=(_tolerance(a, limit),)), out, "linalg_pinv")


def pinverse(input: Tensor, rcond: float = 1e-15) -> Tensor:
    """`linalg.pinv`, as the function and the method are called."""
    return pinv(input, rcond)


def _tolerance(a: Node, given: float | None) -> float:
    if given is not None:
        return float(given)
    return finfo(a.type.dtype).eps * max(a.type.shape[-2:])


def matrix_rank(
    input: Tensor,
    tol: Any = None,
    hermitian: bool = False,
    *,
    atol: Any = None,
    rtol: Any = None,
    out: Tensor | None = None,
) -> Tensor:
    """How many singular values are above a tolerance: the larger of atol and rtol of the largest.

    Tolerances are numbers, or tensors with one for each matrix.
    """
    (a,) = operands("linalg_matrix_rank", input=input)
    check_matrices(a, "linalg.matrix_rank")
    if hermitian:
        check_square(a, "linalg.matrix_rank")
        a = _symmetric(a)
    return deliver(_rank(a, tol if tol is not None else atol, rtol), out)


def _bound(given: Any, dtype: DType) -> Any:
    """A tolerance as a number, or as a node with a last axis for the singular values."""
    if not isinstance(given, Tensor):
        return float(given)
    node = ops.cast(stop(node_of(given)), dtype)
    return reshape(node, (*node.type.shape, 1))


def _rank(a: Node, atol: Any, rtol: Any) -> Node:
    values = _singular_values(stop(a) if a.grad else a)
    axis = (len(values.type.shape) - 1,)
    if not values.type.shape[-1]:
        return red.sum_(ops.cast(values, dtypes.int64), arg=(axis, False))
    usual = _tolerance(a, None)
    absolute = 0.0 if atol is None else _bound(atol, a.type.dtype)
    if rtol is not None:
        relative = _bound(rtol, a.type.dtype)
    elif absolute.__class__ is Node:
        relative = ops.where(ops.gt(absolute, 0.0), 0.0, ops.full_like(absolute, usual))
    else:
        relative = 0.0 if absolute > 0 else usual
    limit = ops.maximum(ops.mul(red.amax(values, arg=(axis, True)), relative), absolute)
    return red.sum_(ops.cast(ops.gt(values, limit), dtypes.int64), arg=(axis, False))


DRIVERS = ("gels", "gelsy", "gelsd", "gelss")


def lstsq(
    input: Tensor,
    b: Tensor,
    rcond: float | None = None,
    *,
    driver: str | None = None,
    out: Any = None,
) -> Any:
    """(solution, residuals, rank, singular values): the least X with the least |input X - b|.

    The solution is pinv(input) b, and differentiable. Residuals are there where `input` is taller
    than wide, of full rank, and the driver is not gelsy (the default); singular values with the
    drivers gelsd and gelss.
    """
    a, other = operands("linalg_lstsq", input=input, b=b)
    if len(a.type.shape) < 2:
        raise RuntimeError("torch.linalg.lstsq: input must have at least 2 dimensions.")
    if not other.type.shape:
        raise RuntimeError("torch.linalg.lstsq: other must have at least 1 dimension.")
    if a.type.dtype is not other.type.dtype:
        raise RuntimeError(
            "torch.linalg.lstsq: input and other must have the same dtype, but got "
            f"{scalar_name(a.type.dtype)} and {scalar_name(other.type.dtype)}."
        )
    if a.type.dtype.is_complex:
        raise NotImplementedError("linalg.lstsq is not implemented for complex tensors")
    if a.type.dtype not in (dtypes.float32, dtypes.float64):
        raise RuntimeError("This function doesn't handle types other than float and double")
    driver = driver or "gelsy"
    if driver not in DRIVERS:
        raise RuntimeError(
            "torch.linalg.lstsq: parameter `driver` should be one of (gels, gelsy, gelsd, gelss)"
        )
    vector = _is_vector(a, other)
    x = reshape(other, (*other.type.shape, 1)) if vector else other
    m, n = a.type.shape[-2:]
    if x.type.shape[-2] != m:
        raise RuntimeError(
            "torch.linalg.lstsq: input.size(-2) should match other.size("
            f"{'-1' if vector else '-2'})"
        )
    solution = matmul(dec.pinv(a, arg=(_tolerance(a, rcond),)), x)
    nothing = narrow(reshape(solution, (solution.type.numel,)), 0, 0, 0)
    rank = _rank(a, None, rcond)
    residuals, values = nothing, stop(nothing) if nothing.grad else nothing
    if m > n and driver != "gelsy" and (driver == "gels" or bool((wrap(rank) == n).all())):
        gap = ops.sub(matmul(a, solution), x)
        residuals = red.sum_(ops.mul(gap, gap), arg=((len(gap.type.shape) - 2,), False))
    if driver in ("gelsd", "gelss"):
        values = _singular_values(stop(a) if a.grad else a)
    if driver == "gels":
        rank = ops.full((0,), 0, dtypes.int64, a.type.device)
    if vector:
        solution = copy(reshape(solution, solution.type.shape[:-1]))
    nodes = (solution, residuals, rank, values)
    return _delivered("linalg_lstsq", nodes, out, a, other, exact="")


# --- determinants ---------------------------------------------------------------------------------


def det(A: Tensor, *, out: Tensor | None = None) -> Tensor:
    """The determinants of square matrices. Their gradients need an inverse."""
    return deliver(dec.det(_square("linalg.det", "lu_cpu", A=A)), out, "linalg_det", EXACT)


def slogdet(A: Tensor, *, out: Any = None) -> Any:
    """(sign, logabsdet): the sign of the determinant, and the logarithm of its size."""
    node = _square("linalg.slogdet", "lu_cpu", A=A)
    return _delivered("linalg_slogdet", (dec.sign_of_det(node), dec.log_of_det(node)), out, node)


def logdet(input: Tensor) -> Tensor:
    """The logarithm of the determinant: nan where that is negative, -inf where it is 0."""
    node = _square("logdet", "lu_cpu", A=input)
    sign = dec.sign_of_det(node)
    result = ops.where(ops.lt(sign, 0.0), float("nan"), dec.log_of_det(node))
    return wrap(tagged(result, "Where", node))


# --- factors --------------------------------------------------------------------------------------


def cholesky(input: Tensor, *, upper: bool = False, out: Tensor | None = None) -> Tensor:
    """The lower (or upper) factor of symmetric matrices; reads their lower triangle.

    Errors: LinAlgError for a matrix that is not positive-definite.
    """
    return deliver(_triangular_factor(input, upper), out, "linalg_cholesky", EXACT)


def _triangular_factor(input: Tensor, upper: bool) -> Node:
    node = _square("linalg.cholesky", "cholesky_cpu", input=input)
    factor = at_once(dec.cholesky(_symmetric(node, "U" if upper else "L")))
    if upper:
        factor = tagged(copy(transposed(factor)), "LinalgCholeskyEx", node)
    return factor


def old_cholesky(input: Tensor, upper: bool = False, *, out: Tensor | None = None) -> Tensor:
    """`linalg.cholesky`, as the function and the method are called."""
    return deliver(_triangular_factor(input, upper), out, "cholesky")


MODES = ("reduced", "complete", "r")


def qr(A: Tensor, mode: str = "reduced", *, out: Any = None) -> Any:
    """(Q, R) with A = Q R; Q is square with mode "complete" and empty with "r"."""
    (a,) = operands("linalg_qr", A=A)
    check_matrices(a, "linalg.qr", kernel="geqrf_cpu")
    if mode not in MODES:
        raise RuntimeError(
            f"qr received unrecognized mode '{mode}' but expected one of 'reduced' (default), 'r', "
            "or 'complete'"
        )
    complete = mode == "complete"
    q, r = dec.unpacked(dec.qr(a, arg=(complete,)), *dec.qr_shapes(a, complete))
    if mode == "r":
        q = ops.full((0,), 0, a.type.dtype, a.type.device)
    return _delivered("linalg_qr", (q, r), out, a)


def eigh(input: Tensor, UPLO: str = "L", *, out: Any = None) -> Any:
    """(eigenvalues, eigenvectors) of symmetric matrices, ascending; reads one triangle."""
    node, parts = _eigen(input, UPLO, "linalg.eigh")
    return _delivered("linalg_eigh", parts, out, node)


def eigvalsh(input: Tensor, UPLO: str = "L", *, out: Tensor | None = None) -> Tensor:
    """The eigenvalues of symmetric matrices, ascending; reads one triangle."""
    node, parts = _eigen(input, UPLO, "linalg.eigh")
    values = tagged(copy(parts[0]), "LinalgEigh", node)
    return deliver(values, out, "linalg_eigvalsh", EXACT)


def _eigen(A: Any, uplo: str, name: str) -> tuple[Node, tuple[Node, ...]]:
    (node,) = operands(name.replace(".", "_"), A=A)
    check_square(node, name)
    if node.type.dtype not in (dtypes.float32, dtypes.float64):
        raise unsupported("linalg_eigh_cpu", node.type.dtype)
    if uplo.upper() not in ("L", "U"):
        raise RuntimeError(f"Expected UPLO argument to be 'L' or 'U', but got {uplo}")
    n = node.type.shape[-1]
    side = uplo.upper()
    return node, dec.unpacked(dec.eigh(_symmetric(node, side), arg=(side,)), (n,), (n, n))


def svd(
    A: Tensor, full_matrices: bool = True, *, driver: str | None = None, out: Any = None
) -> Any:
    """(U, S, Vh) with A = U diag(S) Vh, S descending. Equal singular values have no gradient."""
    (a,) = operands("linalg_svd", A=A)
    check_matrices(a, "linalg.svd", kernel="linalg_svd_cpu")
    full = bool(full_matrices)
    parts = dec.unpacked(dec.svd(a, arg=(full,)), *dec.svd_shapes(a, full))
    return _delivered("linalg_svd", parts, out, a)


def svdvals(A: Tensor, *, driver: str | None = None, out: Tensor | None = None) -> Tensor:
    """The singular values of matrices, descending."""
    (a,) = operands("linalg_svdvals", A=A)
    check_matrices(a, "linalg.svdvals", kernel="linalg_svd_cpu")
    return deliver(_singular_values(a), out, "linalg_svdvals", EXACT)


def _singular_values(a: Node) -> Node:
    return tagged(
        copy(dec.unpacked(dec.svd(a, arg=(False,)), *dec.svd_shapes(a))[1]), "LinalgSvd", a
    )


def old_svd(input: Tensor, some: bool = True, compute_uv: bool = True, *, out: Any = None) -> Any:
    """(U, S, V) with input = U diag(S) V^T; with `some`, as few columns as there are values."""
    (a,) = operands("svd", input=input)
    check_matrices(a, "linalg.svd", kernel="linalg_svd_cpu")
    parts = dec.unpacked(dec.svd(a, arg=(not some,)), *dec.svd_shapes(a, not some))
    u, s, v = parts[0], parts[1], transposed(parts[2])
    if not compute_uv:
        (m, _), (_, n) = dec.svd_shapes(a, True)[::2]
        stack = a.type.shape[:-2]
        u, v = (ops.full((*stack, k, k), 0, a.type.dtype, a.type.device) for k in (m, n))
    return _delivered("svd", (u, s, v), out, a)


def old_qr(input: Tensor, some: bool = True, *, out: Any = None) -> Any:
    """`linalg.qr`; reduced with `some`, else complete."""
    made = qr(input, "reduced" if some else "complete", out=out)
    return getattr(return_types, "qr" if out is None else "qr_out")(made)


# --- the exponential ------------------------------------------------------------------------------


def matrix_exp(input: Tensor) -> Tensor:
    """exp of square matrices."""
    (node,) = operands("linalg_matrix_exp", A=input)
    check_square(node, "linalg.matrix_exp")
    if node.type.dtype.category < FLOATING:
        raise RuntimeError(
            "linalg.matrix_exp: Expected a floating point or complex tensor as input. Got "
            f"{scalar_name(node.type.dtype)}"
        )
    return wrap(dec.matrix_exp(node))


def of_singular_values(a: Node, ord: Any) -> Node:
    """The matrix norms that singular values make: their sum, the largest or the smallest."""
    values = _singular_values(a)
    axis = (len(values.type.shape) - 1,)
    op = red.sum_ if ord == "nuc" else red.amax if ord > 0 else red.amin
    names = {red.sum_: "SumBackward1", red.amax: "AmaxBackward0", red.amin: "AminBackward0"}
    return numbered(op(values, arg=(axis, False)), names[op], values)


public(det, "det")
public(slogdet, "slogdet")
public(logdet, "logdet")
public(matrix_exp, "matrix_exp")
public(old_svd, "svd")
public(old_qr, "qr")
public(old_cholesky, "cholesky")
public(pinverse, "pinverse")
