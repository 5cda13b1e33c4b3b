"""Matrix products through BLAS, with the layouts it is fast for."""

from __future__ import annotations

import numpy as np


def matmul_arrays(a: np.ndarray, b: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
    """a @ b over the last two axes; leading axes broadcast, vectors count as rows and columns.

    A stack times one matrix is one product of a taller matrix, which BLAS does in one call.
    """
    if a.ndim > 2 and b.ndim == 2 and a.flags.c_contiguous and a.size:
        flat = a.reshape(-1, a.shape[-1])
        if out is not None and out.flags.c_contiguous:
            np.matmul(flat, b, out=out.reshape(len(flat), b.shape[-1]))
            return out
        return np.matmul(flat, b).reshape(a.shape[:-1] + (b.shape[-1],))
    return np.matmul(a, b, out=out)


class _LinAlgError(RuntimeError):
    """A matrix that an operation is not defined for."""


LinAlgError = _LinAlgError  # PyTorch's public name of it


def inverse(x: np.ndarray) -> np.ndarray:
    """The inverses of a stack of matrices. LinAlgError in PyTorch's words for a singular one."""
    try:
        return np.linalg.inv(x)
    except np.linalg.LinAlgError:
        pass
    for place in np.ndindex(x.shape[:-2]):
        pivot = _zero_pivot(x[place])
        if pivot:
            where = (
                f"(Batch element {np.ravel_multi_index(place, x.shape[:-2])}): " if place else ""
            )
            raise LinAlgError(
                f"linalg.inv: {where}The diagonal element {pivot} is zero, the inversion could not "
                "be completed because the input matrix is singular."
            )
    raise LinAlgError("linalg.inv: the input matrix is singular.")


def _zero_pivot(matrix: np.ndarray) -> int:
    """The first pivot (from 1) that elimination with row exchanges finds to be 0; 0 for none."""
    a = matrix.astype(np.float64)
    for k in range(len(a)):
        best = k + int(np.argmax(np.abs(a[k:, k])))
        if a[best, k] == 0:
            return k + 1
        a[[k, best]] = a[[best, k]]
        a[k + 1 :] -= np.outer(a[k + 1 :, k] / a[k, k], a[k])
    return 0
