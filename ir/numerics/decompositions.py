"""Decompositions of stacks of matrices by LAPACK, through NumPy, and the matrix exponential.

What has several results returns them in one array, the matrices of a decomposition row by row one
after the other (`packed`), so that one cotangent serves all of them:

    eigh of 2 by 2: [w1, w2, v11, v12, v21, v22]
"""

from __future__ import annotations

from typing import Literal

import numpy as np

from .matmul import LinAlgError


def packed(*parts: np.ndarray, rank: tuple[int, ...]) -> np.ndarray:
    """The parts along one last axis; rank: how many axes of each belong to one matrix."""
    flat = []
    for part, r in zip(parts, rank):
        cut = part.ndim - r
        flat.append(part.reshape(*part.shape[:cut], int(np.prod(part.shape[cut:]))))
    return np.concatenate(flat, -1)


def _symmetric(x: np.ndarray) -> np.ndarray:
    return (x + np.swapaxes(x, -1, -2)) / 2


def _element(place: tuple[int, ...], shape: tuple[int, ...]) -> str:
    number = np.ravel_multi_index(place, shape) if place else 0
    return f"(Batch element {number}): " if place else ""


def solve(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """x with a @ x = b. LinAlgError in PyTorch's words for a singular matrix."""
    try:
        return np.linalg.solve(a, b)
    except np.linalg.LinAlgError:
        where = ""
        for place in np.ndindex(a.shape[:-2]):
            if np.linalg.det(a[place]) == 0:
                where = _element(place, a.shape[:-2])
                break
        raise LinAlgError(
            f"torch.linalg.solve: {where}The solver failed because the input matrix is singular."
        ) from None


def cholesky(x: np.ndarray) -> np.ndarray:
    """The lower factor of a symmetric matrix. LinAlgError where it is not positive-definite."""
    x = _symmetric(x)
    try:
        return np.linalg.cholesky(x)
    except np.linalg.LinAlgError:
        pass
    for place in np.ndindex(x.shape[:-2]):
        for order in range(1, x.shape[-1] + 1):
            try:
                np.linalg.cholesky(x[place][:order, :order])
            except np.linalg.LinAlgError:
                raise LinAlgError(
                    f"linalg.cholesky: {_element(place, x.shape[:-2])}The factorization could not "
                    "be completed because the input is not positive-definite (the leading minor "
                    f"of order {order} is not positive-definite)."
                ) from None
    raise LinAlgError("linalg.cholesky: the input is not positive-definite.")


def eigh(x: np.ndarray, side: Literal["L", "U"]) -> np.ndarray:
    """Eigenvalues in ascending order and eigenvectors (columns) of a symmetric matrix."""
    values, vectors = np.linalg.eigh(_symmetric(x), side)
    return packed(values, vectors, rank=(1, 2))


def qr(x: np.ndarray, complete: bool) -> np.ndarray:
    """Q and R."""
    q, r = np.linalg.qr(x, "complete" if complete else "reduced")
    return packed(q, r, rank=(2, 2))


def svd(x: np.ndarray, full: bool) -> np.ndarray:
    """U, the singular values in descending order, and V transposed."""
    u, s, v = np.linalg.svd(x, full_matrices=full)
    return packed(u, s, v, rank=(2, 1, 2))


def pinv(x: np.ndarray, rtol: float) -> np.ndarray:
    """The pseudoinverse; singular values of at most `rtol` of the largest count as 0."""
    return np.linalg.pinv(x, rtol)


def sign_of_det(x: np.ndarray) -> np.ndarray:
    return np.linalg.slogdet(x)[0]


def log_of_det(x: np.ndarray) -> np.ndarray:
    return np.linalg.slogdet(x)[1]


# The coefficients of the approximant's numerator (Higham 2005, table 2.1).
_PADE = (
    64764752532480000.0,
    32382376266240000.0,
    7771770303897600.0,
    1187353796428800.0,
    129060195264000.0,
    10559470521600.0,
    670442572800.0,
    33522128640.0,
    1323241920.0,
    40840800.0,
    960960.0,
    16380.0,
    182.0,
    1.0,
)


def matrix_exp(x: np.ndarray) -> np.ndarray:
    """exp of square matrices: a Padé approximant of degree 13, scaled and squared (Higham 2005)."""
    out = np.empty(x.shape, np.float64)
    for place in np.ndindex(x.shape[:-2]):
        out[place] = _exponential(x[place].astype(np.float64))
    return out.astype(x.dtype)


def _exponential(a: np.ndarray) -> np.ndarray:
    norm = np.abs(a).sum(0).max(initial=0.0)
    if not np.isfinite(norm):
        return np.full_like(a, np.nan)
    squarings = max(0, int(np.ceil(np.log2(norm / 5.371920351148152)))) if norm > 0 else 0
    a = a / 2.0**squarings
    one, b = np.eye(len(a)), _PADE
    a2 = a @ a
    a4 = a2 @ a2
    a6 = a4 @ a2
    odd = (
        a6 @ (b[13] * a6 + b[11] * a4 + b[9] * a2) + b[7] * a6 + b[5] * a4 + b[3] * a2 + b[1] * one
    )
    even = (
        a6 @ (b[12] * a6 + b[10] * a4 + b[8] * a2) + b[6] * a6 + b[4] * a4 + b[2] * a2 + b[0] * one
    )
    odd = a @ odd
    result = np.linalg.solve(even - odd, even + odd)
    for _ in range(squarings):
        result = result @ result
    return result
