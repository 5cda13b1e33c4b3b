"""What is written out for devices only: where NumPy computes it well, or the rest is rare.

    x.sum() of a number         copy(x): a reduction of no axes is none
    matmul of integers          sum(x[:, :, None] * y[None]): no matrix unit, no library has one
    cat of twenty pieces        cat of cats of eight
    median(x) of everything     the median of one row

Each leaves alone what it does not know, which NumPy then computes on the host.
"""

from __future__ import annotations

from collections.abc import Callable

from ..dtypes import bool_, float32, float64, int32, int64
from ..graph import Value
from ..opdef import REGISTRY
from ..ops_index import index_checked
from ..ops_shape import overlaps
from .build import Build
from .rearrange import MOST_PIECES, joined
from .segments import SEGMENTS, overlapping_add

SMALL = ("int16", "int8", "uint8", "bool")  # dtypes that loops do not sum as they are


def for_device(b: Build, v: Value) -> Value:
    """A value on a device, written out; itself where there is nothing to write."""
    if v.op.kind == "reduce" and not v.arg[0] and v.op.name in OF_NO_AXES:
        return OF_NO_AXES[v.op.name](b, v)
    rule = ON_DEVICES.get(v.op.name)
    return v if rule is None else rule(b, v)


# --- reductions of no axes ------------------------------------------------------------------------


def _same(b: Build, v: Value) -> Value:
    return b.op("copy", v.src[0])


def _truth(b: Build, v: Value) -> Value:
    x = v.src[0]
    return b.op("copy", x) if x.type.dtype is bool_ else b.cast(x, bool_)


def _size(b: Build, v: Value) -> Value:
    return b.op("abs", v.src[0])


def _spread(b: Build, v: Value) -> Value:
    """The variance of one element: 0 for a finite one, nan if one is taken off the count."""
    away = b.op("sub", v.src[0], v.src[0])
    found = b.op("div", away, max(0.0, 1.0 - v.arg[2]))
    return b.op("sqrt", found) if v.op.name.startswith("std") else found


def _first(b: Build, v: Value) -> Value:
    return b.constant(0, v.type)


OF_NO_AXES: dict[str, Callable[[Build, Value], Value]] = {
    **dict.fromkeys(
        ("sum", "prod", "amax", "amin", "amax_whole", "amin_whole", "logsumexp"), _same
    ),
    **dict.fromkeys(("any", "all"), _truth),
    **dict.fromkeys(("norm2", "norm_p"), _size),
    **dict.fromkeys(("var", "std", "var_whole", "std_whole"), _spread),
    **dict.fromkeys(("argmax", "argmin"), _first),
}

# --- others ---------------------------------------------------------------------------------------


def _plain_variance(b: Build, v: Value) -> Value:
    """The rounding of the mean that PyTorch's CPU form has is not one of devices."""
    name = v.op.name.removesuffix("_whole")
    return Value(REGISTRY[name], v.src, v.arg, v.type, v.origin)


def _matmul(b: Build, v: Value) -> Value:
    """Integers: products over (…, rows, depth, columns), summed along the depth."""
    x, y = v.src
    if v.type.dtype.is_floating_point or not v.type.numel:
        return v
    if not x.type.numel:
        return b.constant(0, v.type)
    if len(x.type.shape) == 1:
        x = b.shaped(x, (1, *x.type.shape))
    if len(y.type.shape) == 1:
        y = b.shaped(y, (*y.type.shape, 1))
    if v.type.dtype.name in SMALL:
        x, y = b.cast(x, int32), b.cast(y, int32)
    rows, depth = x.type.shape[-2:]
    columns = y.type.shape[-1]
    vectors = (len(v.src[0].type.shape) == 1) + (len(v.src[1].type.shape) == 1)
    batch = v.type.shape[: len(v.type.shape) - 2 + vectors]
    shape = (*batch, rows, depth, columns)
    left = b.spread(b.shaped(x, (*x.type.shape, 1)), shape)
    right = b.spread(b.shaped(y, (*y.type.shape[:-2], 1, depth, columns)), shape)
    axis = len(batch) + 1
    total = b.op(
        "sum", b.op("mul", left, right), arg=((axis,), False), shape=(*batch, rows, columns)
    )
    return b.shaped(b.cast(total, v.type.dtype), v.type.shape)


def _cross_entropy(b: Build, v: Value) -> Value:
    """Logarithms of at least -100 (`binary_cross_entropy`), where all inputs are probabilities."""
    x, target = v.src
    if not v.type.numel or v.type.dtype.is_half or not isinstance(x, Value):
        return v
    inside = b.told("logical_and", b.told("ge", x, 0.0), b.told("le", x, 1.0))
    wrong = b.where(inside, 0, 1, inside.type.with_dtype(int64))
    refused = Value(index_checked, (wrong, 1), (0,), wrong.type, v.origin)
    yes = b.op("clamp_min", b.op("log", x), -100.0)
    no = b.op("clamp_min", b.op("log1p", b.op("neg", x)), -100.0)
    shape = v.type.shape
    sent = b.op("mul", b.op("sub", target, 1.0), no, shape=shape)
    loss = b.op("sub", sent, b.op("mul", target, yes, shape=shape))
    valid = b.told("eq", refused, 0)
    return b.where(valid, loss, float("nan"), v.type)


def _pad(b: Build, v: Value) -> Value:
    """Around nothing there is only the number."""
    x, number = v.src
    if x.type.numel or not v.type.numel:
        return v
    if number.__class__ is Value:
        return b.op("copy", b.spread(number, v.type.shape))
    return b.constant(number, v.type)


def _cat(b: Build, v: Value) -> Value:
    """Pieces without elements are left out; of many, some are joined before."""
    pieces = [x for x in v.src if x.type.numel]
    if not pieces or any(x.type.dtype is not v.type.dtype for x in pieces):
        return v
    while len(pieces) > 1:
        groups = [pieces[i : i + MOST_PIECES] for i in range(0, len(pieces), MOST_PIECES)]
        pieces = [joined(b, group, v.arg[0]) for group in groups]
    return b.op("copy", pieces[0]) if pieces[0] in v.src else pieces[0]


def _arange(b: Build, v: Value) -> Value:
    """To the CPU's loops NumPy's range is an operand like any other."""
    (start, step), type = v.src, v.type
    if not type.numel or type.dtype.is_half or v.src == (0, 1):
        return v
    counts: Value = b.along(v, type.shape, 0)
    if type.dtype.is_floating_point:
        counts = b.cast(counts, float64)
    found = b.op("add", b.op("mul", counts, step), start)
    return b.cast(found, type.dtype)


def _strided_add(b: Build, v: Value) -> Value:
    """Where the cells of the window are different ones: read, add, put back."""
    base, value, offset = v.src
    sizes, strides = v.arg
    if not v.type.numel:
        return v
    if 0 in sizes:
        return b.op("copy", base)
    if overlaps(sizes, strides):
        return overlapping_add(b, v)
    window = b.op("as_strided", base, offset, arg=v.arg, shape=sizes)
    total = b.op("add", window, value, shape=sizes)
    return Value(REGISTRY["strided_update"], (base, total, offset), v.arg, v.type, v.origin)


def _median_value(b: Build, v: Value) -> Value:
    """The median of one row, without its position."""
    x, (_axes, _keep, ignore_nan) = v.src[0], v.arg
    if not x.type.numel:
        return v
    row = b.shaped(x, (x.type.numel,))
    types = v.type.with_shape(()), v.type.with_shape(()).with_dtype(int64)
    name = "nanmedian" if ignore_nan else "median"
    pair = Value(REGISTRY[name], (row,), ((0,), False), types, v.origin)
    value = Value(REGISTRY["get"], (pair,), (0,), types[0], v.origin)
    return b.shaped(value, v.type.shape)


def _searchsorted(b: Build, v: Value) -> Value:
    """Halves are compared as floats, whose order is theirs."""
    rows, values = v.src
    if not values.type.dtype.is_half:
        return v
    wide = b.cast(rows, float32), b.cast(values, float32)
    return Value(v.op, wide, v.arg, v.type, v.origin)


ON_DEVICES: dict[str, Callable[[Build, Value], Value]] = {
    "var_whole": _plain_variance,
    "std_whole": _plain_variance,
    "matmul": _matmul,
    "binary_cross_entropy": _cross_entropy,
    "pad": _pad,
    "cat": _cat,
    "arange": _arange,
    "strided_add": _strided_add,
    "median_value": _median_value,
    "searchsorted": _searchsorted,
    **SEGMENTS,
}
