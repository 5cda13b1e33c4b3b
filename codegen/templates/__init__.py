"""CUDA C for what has a form of its own: matrix products and convolutions, sorts, segments.

    template(v, strides)        the kernel of a product's primitive, or None
    whole(v)                    that of a primitive which nothing may follow, or None

A kernel needs nothing but nvcc or NVRTC. What may follow a product (a bias, an activation, a
residual that is added) is an epilogue: statements of the loop IR, computed before the result is
stored.
"""

from __future__ import annotations

from .convolution import Convolution, convolve, convolve_input, convolve_weight
from .matmul import Product, matmul
from .table import NO_UNITS, TEMPLATES, MatrixUnits, template
from .whole import WHOLE, whole

__all__ = [
    "NO_UNITS",
    "TEMPLATES",
    "WHOLE",
    "Convolution",
    "MatrixUnits",
    "Product",
    "convolve",
    "convolve_input",
    "convolve_weight",
    "matmul",
    "template",
    "whole",
]
