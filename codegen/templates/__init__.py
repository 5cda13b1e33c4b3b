"""CUDA C for what has a form of its own: matrix products and convolutions."""

from __future__ import annotations

from lazyt.ir.graph import Value

from ..launches import CudaKernel
from .matmul import Product, matmul

__all__ = ["Product", "matmul", "template"]


def template(v: Value, strides: list[tuple[int, ...]]) -> CudaKernel | None:
    """The kernel of an operation whose operands have these strides; None where there is none."""
    return None
