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
            np.matmul(flat, b, out=out.reshape(-1, b.shape[-1]))
            return out
        return np.matmul(flat, b).reshape(a.shape[:-1] + (b.shape[-1],))
    return np.matmul(a, b, out=out)
