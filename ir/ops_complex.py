"""Primitives of complex numbers: their parts, conjugate, modulus, and making them of parts.

A real operand is its own real part and conjugate.

    real(z)   imag(z)   conj(z)   modulus(z)   of_parts(a, b)
"""

from __future__ import annotations

import numpy as np

from .complexes import check_gradient
from .node import Node
from .opdef import Op, provide
from .types import TensorType, broadcast_shapes


def _of_parts(a: np.ndarray, b: np.ndarray, dtype: np.dtype) -> np.ndarray:
    made = np.empty(np.broadcast_shapes(np.shape(a), np.shape(b)), dtype)
    made.real, made.imag = a, b
    return made


provide(of_parts=_of_parts)


def _parts_type(src: tuple, arg: tuple) -> TensorType:
    type = src[0].type
    return type.with_dtype(type.dtype.to_real())


def _joined_type(src: tuple, arg: tuple) -> TensorType:
    a, b = src[0].type, src[1].type
    shape = broadcast_shapes(a.shape, b.shape)
    return TensorType.of(shape, a.dtype.compute.to_complex(), a.device)


def _samples() -> list:
    numbers = np.array([1 + 2j, -0.5j, complex(-0.0, 3)], np.complex64)
    return [((numbers,), ()), (((2, 3),), ()), (((),), ()), (((0, 2),), ())]


real: Op = Op("real", "np.array({0}.real)", kind="opaque", infer=_parts_type, samples=_samples)
imag: Op = Op("imag", "np.array({0}.imag)", kind="opaque", infer=_parts_type, samples=_samples)
conj: Op = Op(
    "conj",
    "np.asarray(np.conjugate({0}))",
    kind="opaque",
    infer=lambda src, arg: src[0].type,
    samples=_samples,
)
modulus: Op = Op(
    "modulus", "np.asarray(np.abs({0}))", kind="opaque", infer=_parts_type, samples=_samples
)
_joined: Op = Op(
    "of_parts",
    "of_parts({0}, {1}, {dtype})",
    kind="opaque",
    infer=_joined_type,
    samples=lambda: [(((2, 3), (3,)), ()), (((), ()), ()), (((0, 2), (0, 2)), ())],
)


def of_parts(a: Node, b: Node) -> Node:
    """The complex numbers of real parts `a` and imaginary parts `b`, which have one float dtype."""
    check_gradient(a)
    check_gradient(b)
    return _joined(a, b)
