"""Dropout: elements or whole channels set to zero at random, the others scaled up.

Masks are drawn from the default generator when the call is traced, in the order of the input's
memory, as PyTorch's CPU kernels draw them.
"""

from __future__ import annotations

import math

import numpy as np

from lazyt.dispatch import (
    SETTINGS,
    check_writable,
    fit_dtype,
    known,
    tagged,
    unsupported,
    update,
)
from lazyt.functions.draws import draw_on
from lazyt.ir.dtypes import FLOATING, bfloat16, bool_, float32, int64
from lazyt.ir.node import Node
from lazyt.ir.numerics import round_bfloat16
from lazyt.ir.ops_elementwise import add, full, mul
from lazyt.layout import like_operands, memory_order
from lazyt.tensor import Tensor
from lazyt.warned import warn

from .common import tensor_node


def _check_probability(p: float) -> None:
    if p < 0.0 or p > 1.0:
        raise ValueError(f"dropout probability has to be between 0 and 1, but got {p}")


def _kept(x: Node, p: float, shape: tuple[int, ...], order: tuple | None, scale: float) -> Node:
    """Draws of (1 with probability 1 - p, else 0) times scale, in the input's dtype."""
    dtype = x.type.dtype
    mask = draw_on(x.type.device, None, "bernoulli", dtype, order, size=shape, p=1.0 - p)
    if scale == 1.0:
        return mask
    if known(mask) is None:
        return mul(mask, scale)
    if dtype is bfloat16:  # drawn already, so that it may be scaled where it lies
        mask.value = round_bfloat16(mask.value * np.float32(scale))
    else:
        mask.value *= dtype.numpy.type(scale)
    return mask


def _dropout(input: Tensor, p: float, training: bool, inplace: bool, name: str) -> Tensor:
    x = tensor_node(input, name)
    if not training or p == 0.0 or not x.type.numel:
        return input
    channels = name == "feature_dropout"
    if x.type.dtype.is_complex:
        raise unsupported("bernoulli_scalar_cpu_", x.type.dtype)
    if p == 1.0:
        mask = full((), 0, x.type.dtype, x.type.device)
    else:
        shape = x.type.shape
        if channels:
            if len(shape) < 2:
                raise RuntimeError("Feature dropout requires at least 2 dimensions in the input")
            shape, order = shape[:2] + (1,) * (len(shape) - 2), None
        else:
            order = memory_order(input)
        if x.type.dtype.category != FLOATING:
            _kept(x, p, shape, order, 1.0)  # PyTorch draws before it finds the dtype wrong
            fit_dtype(SETTINGS.default_dtype, x.type.dtype)
        mask = _kept(x, p, shape, order, 1.0 / (1.0 - p))
    if inplace:
        check_writable(input)
    y = tagged(mul(x, mask), "Mul", x)
    return update(input, y) if inplace else like_operands(y, input)


def dropout(input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    """input, each element 0 with probability p, else divided by 1 - p; unchanged in evaluation.

    Errors: ValueError unless 0 <= p <= 1.
    """
    _check_probability(p)
    return _dropout(input, p, training, inplace, "dropout")


def dropout1d(
    input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False
) -> Tensor:
    """Whole channels of (N, C, L) or (C, L) zeroed."""
    _check_probability(p)
    rank = input.dim()
    if rank not in (2, 3):
        raise RuntimeError(
            f"dropout1d: Expected 2D or 3D input, but received a {rank}D input. Note that "
            "dropout1d exists to provide channel-wise dropout on inputs with 1 spatial dimension, "
            "a channel dimension, and an optional batch dimension (i.e. 2D or 3D inputs)."
        )
    if rank == 3:
        return _dropout(input, p, training, inplace, "feature_dropout")
    batched = input.unsqueeze_(0) if inplace else input.unsqueeze(0)
    result = _dropout(batched, p, training, inplace, "feature_dropout")
    return result.squeeze_(0) if inplace else result.squeeze(0)


def _warn_rank(name: str, rank: int, spatial: int) -> None:
    warn(
        f"{name}: Received a {rank}-D input to {name}, which is deprecated and will result in an "
        "error in a future release. To retain the behavior and silence this warning, please use "
        f"dropout instead. Note that {name} exists to provide channel-wise dropout on inputs with "
        f"{spatial} spatial dimensions, a channel dimension, and an optional batch dimension "
        f"(i.e. {spatial + 1}D or {spatial + 2}D inputs).",
    )


def dropout2d(
    input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False
) -> Tensor:
    """Whole channels of (N, C, H, W) zeroed; a 3-D input counts as (N, C, L)."""
    _check_probability(p)
    rank = input.dim()
    if rank not in (3, 4):
        _warn_rank("dropout2d", rank, 2)
    if rank == 3:
        warn(
            "dropout2d: Received a 3D input to dropout2d and assuming that channel-wise 1D dropout "
            "behavior is desired - input is interpreted as shape (N, C, L), where C is the channel "
            "dim. This behavior will change in a future release to interpret the input as one "
            "without a batch dimension, i.e. shape (C, H, W). To maintain the 1D channel-wise "
            "dropout behavior, please switch to using dropout1d instead.",
        )
    return _dropout(input, p, training, inplace, "feature_dropout")


def dropout3d(
    input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False
) -> Tensor:
    """Whole channels of (N, C, D, H, W) or (C, D, H, W) zeroed."""
    _check_probability(p)
    rank = input.dim()
    if rank not in (4, 5):
        _warn_rank("dropout3d", rank, 3)
    if rank != 4:
        return _dropout(input, p, training, inplace, "feature_dropout")
    batched = input.unsqueeze_(0) if inplace else input.unsqueeze(0)
    result = _dropout(batched, p, training, inplace, "feature_dropout")
    return result.squeeze_(0) if inplace else result.squeeze(0)


def alpha_dropout(
    input: Tensor, p: float = 0.5, training: bool = False, inplace: bool = False
) -> Tensor:
    """Dropout that keeps mean 0 and variance 1 under `selu` (Klambauer et al. 2017)."""
    return _alpha_dropout(input, p, training, inplace, "alpha_dropout")


def feature_alpha_dropout(
    input: Tensor, p: float = 0.5, training: bool = False, inplace: bool = False
) -> Tensor:
    """`alpha_dropout` of whole channels of (N, C, *)."""
    return _alpha_dropout(input, p, training, inplace, "feature_alpha_dropout")


def _alpha_dropout(input: Tensor, p: float, training: bool, inplace: bool, name: str) -> Tensor:
    _check_probability(p)
    x = tensor_node(input, name)
    if not training or p == 0.0 or not x.type.numel:
        return input
    if p == 1.0:
        return _dropout(input, p, training, inplace, name)
    shape, order = x.type.shape, memory_order(input)
    if name.startswith("feature"):
        if len(shape) < 2:
            raise RuntimeError("Feature dropout requires at least 2 dimensions in the input")
        shape, order = shape[:2] + (1,) * (len(shape) - 2), None
    dtype = x.type.dtype
    if dtype.category < FLOATING:
        fit_dtype(float32, int64 if dtype is bool_ else dtype)
    if inplace:
        check_writable(input)
    alpha = 1.7580993408473766
    a = 1.0 / math.sqrt((alpha * alpha * p + 1.0) * (1.0 - p))
    kept = _kept(x, p, shape, order, 1.0)
    shift = add(mul(add(kept, -1.0), alpha * a), alpha * a * p)
    y = tagged(add(mul(x, mul(kept, a)), shift), "Add", x)
    return update(input, y) if inplace else like_operands(y, input)


def drawn(input: Tensor, p: float, training: bool, inplace: bool, name: str) -> Tensor:
    """The dropout of a name, for a probability that was checked."""
    drop = _alpha_dropout if "alpha" in name else _dropout
    return drop(input, p, training, inplace, name)
