"""Which types a convolution's operands may have, in the words of PyTorch's kernels for the CPU.

conv2d(float, double)                    expected scalar type Float but found Double; or, of several
conv2d(half, float)                      samples, Input type (torch.HalfTensor) and weight type
                                         (torch.FloatTensor) should be the same or ...
conv2d(bool, bool)                       "slow_conv2d_cpu" not implemented for 'Bool'
"""

from __future__ import annotations

import math

from lazyt.dispatch import c_name, fit_dtype, scalar_name, unsupported
from lazyt.ir.dtypes import COMPLEX, FLOATING, DType, bool_, float32, int64
from lazyt.ir.node import Node

from .common import HALVES

__all__ = ["check_bias", "check_operands"]

# The types that had a class of tensors of their own when PyTorch had one for each.
_WITH_CLASS = {"float32", "float64", "float16", "int64", "int32", "int16", "int8", "uint8"}


def check_bias(x: Node, b: Node | None) -> None:
    """RuntimeError unless the bias has the input's type; a transposed convolution takes others."""
    if b is not None and b.type.dtype is not x.type.dtype:
        have, own = c_name(x.type.dtype), c_name(b.type.dtype)
        raise RuntimeError(f"Input type ({have}) and bias type ({own}) should be the same")


def check_operands(
    x: Node, w: Node, b: Node | None, groups: int, transposed: bool = False, wide: bool = False
) -> None:
    """RuntimeError where the operands' types differ, NotImplementedError for booleans and,
    transposed, for integers but int64. wide: with output padding as large as the stride."""
    dtype, own = x.type.dtype, w.type.dtype
    if dtype.category == COMPLEX and own is not dtype:
        raise _differing(dtype, own, "weight", "")
    if dtype in HALVES or (_with_onednn(x, w, groups) and not wide):
        for name, node in (("weight", w), ("bias", b)):
            if node is not None and node.type.dtype is not dtype:
                dense = f" or input should be a MKLDNN tensor and {name} is a dense tensor"
                raise _differing(dtype, node.type.dtype, name, dense)
    elif dtype is bool_ or (transposed and dtype.category < FLOATING and dtype is not int64):
        raise unsupported(_kernel(x, w, transposed), dtype)
    if own is not dtype:
        raise RuntimeError(
            f"expected scalar type {scalar_name(dtype)} but found {scalar_name(own)}"
        )
    if transposed and b is not None:
        fit_dtype(b.type.dtype, dtype)


def _with_onednn(x: Node, w: Node, groups: int) -> bool:
    """Whether PyTorch leaves a convolution to oneDNN, which compares the types in its own words
    (`ConvParams::use_mkldnn`, aten/src/ATen/native/Convolution.cpp)."""
    batch, *shape = x.type.shape
    kernel = (1, *w.type.shape[2:])[-2:]
    large = math.prod(x.type.shape if len(shape) < 4 else x.type.shape[:-1]) > 20480
    return x.type.dtype is float32 and (groups > 1 or min(kernel) > 3 or batch > 1 or large)


def _kernel(x: Node, w: Node, transposed: bool) -> str:
    volume = len(x.type.shape) == 5
    if transposed:
        return f"slow_conv_transpose{3 if volume else 2}d_out_cpu"
    if volume and any(extent > 1 for extent in w.type.shape[2:]):
        return "compute_columns3d"
    return "slow_conv3d_cpu" if volume else "slow_conv2d_cpu"


def _differing(dtype: DType, other: DType, name: str, rest: str) -> RuntimeError:
    return RuntimeError(
        f"Input type ({_class(dtype)}) and {name} type ({_class(other)}) should be the same{rest}"
    )


def _class(dtype: DType) -> str:
    name = scalar_name(dtype)
    return f"torch.{name}Tensor" if dtype.name in _WITH_CLASS else f"CPU{name}Type"
