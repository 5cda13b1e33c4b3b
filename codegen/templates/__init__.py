"""Kernels of single operations that are no loop nests: matrix products, convolutions."""

from __future__ import annotations

from lazyt.ir.graph import Value

from ..launches import CudaKernel


def template(v: Value, strides: list[tuple[int, ...]]) -> CudaKernel | None:
    """The kernel of an operation whose operands have these strides; None where there is none."""
    return None
