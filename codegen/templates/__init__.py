"""CUDA C for what has a form of its own: matrix products and convolutions."""

from __future__ import annotations

from .matmul import Product, matmul

__all__ = ["Product", "matmul"]
