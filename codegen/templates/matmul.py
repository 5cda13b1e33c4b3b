"""Matrix products on the device.

    matmul(Product((), 512, 512, 64, a=(64, 1), b=(1, 64), dtype="float32"))

multiplies a row-major matrix by a transposed one. Strides are an operand's own, so neither a
transposed nor a broadcast operand is copied. A product with one row or column is one of a matrix
and a vector and has a kernel of its own.
"""

from __future__ import annotations

from dataclasses import dataclass

from lazyt.ir.types import contiguous_strides

from ..launches import CudaKernel
from ..loops import Param, Statement, Store
from .build import build
from .contraction import Contraction, Strides
from .epilogue import render
from .tiles import on_matrix_units


@dataclass(frozen=True)
class Product:
    """result[*batch, m, n] = sum over k of a[*batch, m, k] * b[*batch, k, n].

    a, b: strides in elements over (*batch, m, k) and (*batch, k, n); 0 where an operand is
        broadcast.
    dtype: of both, float32, float64, float16 or bfloat16; sums are in float64 for float64 and else
        in float32.
    tensor_cores: use those of compute capability 7.5 (float16) or 8.0 (bfloat16, and float32 where
        tf32) and up. tf32: float32 operands may be rounded to ten bits of mantissa for that.
    epilogue: statements that begin with the free name "acc", a sum, and store what becomes of it;
        the strides of their params are over (*batch, m, n). Without any, the result is stored
        row-major, in the operands' dtype.
    """

    batch: tuple[int, ...]
    m: int
    n: int
    k: int
    a: tuple[int, ...]
    b: tuple[int, ...]
    dtype: str
    tf32: bool = False
    tensor_cores: bool = False
    epilogue: tuple[Statement, ...] = ()


def stored(shape: tuple[int, ...], dtype: str) -> tuple[Statement, ...]:
    """The epilogue that stores sums as they are, row-major."""
    return (Store(Param("y", dtype, contiguous_strides(shape), out=True), "acc"),)


def matmul(problem: Product) -> CudaKernel:
    """The kernel of a product. Its arrays: a, b, the epilogue's inputs, its outputs (or the
    result).

    A result without elements has no launches; an empty sum is zero. Raises KeyError for a dtype
    without a kernel.
    """
    p, rank = problem, len(problem.batch)
    statements = p.epilogue or stored((*p.batch, p.m, p.n), p.dtype)
    left = Strides(p.a[:rank], p.a[rank], (p.a[rank + 1],))
    right = Strides(p.b[:rank], p.b[rank], (p.b[rank + 1],))
    places = [
        Strides(s.strides[:rank], s.strides[rank], (s.strides[rank + 1],))
        for s in render(statements, first=2).places
    ]
    rows, columns, arrays = p.m, p.n, (0, 1)
    if p.m == 1 and p.n != 1:
        # A vector times a matrix: the matrix is the left operand of the transposed product.
        rows, columns, arrays = p.n, 1, (1, 0)
        left, right = (Strides(s.batch, s.along[0], (s.row,)) for s in (right, left))
        places = [Strides(s.batch, s.along[0], (s.row,)) for s in places]
    uses = on_matrix_units(p.dtype, p.tensor_cores, p.tf32)
    form = Contraction(p.batch, rows, (columns,), (p.k,), left, right, tuple(places), p.dtype, uses)
    return build("matmul", [form], statements, arrays)
