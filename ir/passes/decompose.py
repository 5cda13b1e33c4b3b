"""Composite primitives as what loops are made of: elementwise operations and simple reductions.

softmax, log-softmax, log-sum-exp, variance and the Euclidean norm are primitives of their own
because NumPy computes them best in one call. A loop compiler wants their parts, which it fuses with
what stands around them.

    softmax(x)      m = amax(x); e = exp(x - m); e / sum(e)
    nll(x, t)       -sum(where(t == arange(classes), x, 0))
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ..dtypes import float64, int64
from ..graph import Graph, Value, rewrite
from ..opdef import REGISTRY
from ..ops_reduce import count_of, get_, reduced, several
from ..types import TensorType
from .build import Build
from .fuse_loops import MAX_OPERATIONS
from .on_devices import for_device
from .pools import POOL_PIECES, POOLS
from .rearrange import REARRANGED, selected


def decompose(graph: Graph, wanted: Callable[[Value], bool] = lambda v: True) -> Graph:
    """The graph with composite primitives written out, those that are wanted so.

    Of one with several results, those that are read are written out where they are read; all of
    them if it is kept whole, for a backward that comes later.
    """
    kept = {id(v.origin) for v in graph.outputs if v.type.__class__ is tuple}

    def rule(v: Value) -> Value:
        if not wanted(v):
            return v
        type = v.type[0] if v.type.__class__ is tuple else v.type
        if type.device != "cpu":
            v = for_device(Build(v), v)
        if v.op.name == "get":
            of = v.src[0]
            if of.op is several:
                return of.src[v.arg[0]]
            parts = None if of.op is None else PIECES.get(of.op.name)
            return v if parts is None else parts(Build(v), v)
        if v.op.name in PIECES:
            return _whole(v) if id(v.origin) in kept else v
        parts = REARRANGED.get(v.op.name) or POOLS.get(v.op.name)
        if parts is None and v.type.__class__ is TensorType and v.type.dtype.is_floating_point:
            parts = RULES.get(v.op.name)
        return v if parts is None else parts(Build(v), v)

    found = rewrite(graph, rule)
    # Nothing computes with those that are kept whole: no segment ends for their sake.
    body = sorted(found.body, key=lambda v: v.op is several)
    return Graph(found.inputs, found.scalars, body, found.outputs)


def _whole(v: Value) -> Value:
    """All results of an operation, written out; itself where one of them cannot be."""
    results = [Value(get_, (v,), (k,), type, v.origin) for k, type in enumerate(v.type)]
    made = [PIECES[v.op.name](Build(one), one) for one in results]
    if any(a is b for a, b in zip(made, results)):
        return v
    return Value(several, tuple(made), (), v.type, v.origin)


def _softmax(b: Build, v: Value) -> Value:
    x, shape, axes = v.src[0], v.type.shape, (v.arg[0],)
    if not shape or not v.type.numel:
        return v
    top = b.reduce("amax", x, axes)
    powers = b.op("exp_nonpositive", b.op("sub", x, b.spread(top, shape)))
    total = b.reduce("sum", powers, axes)
    return b.op("div_by_total", powers, b.spread(total, shape))


def _log_softmax(b: Build, v: Value) -> Value:
    x, shape, axes = v.src[0], v.type.shape, (v.arg[0],)
    if not shape or not v.type.numel:
        return v
    top = b.reduce("amax", x, axes)
    moved = b.op("sub", x, b.spread(top, shape))
    total = b.reduce("sum", b.op("exp_nonpositive", moved), axes)
    return b.op("sub", moved, b.spread(b.op("log", total), shape))


def _logsumexp(b: Build, v: Value) -> Value:
    x, (axes, _keep) = v.src[0], v.arg
    if not axes or not x.type.numel:
        return v
    top = b.finite(b.reduce("amax", x, axes))
    powers = b.op("exp", b.op("sub", x, b.spread(top, x.type.shape)))
    total = b.op("log", b.reduce("sum", powers, axes))
    return b.shaped(b.op("add", total, top), v.type.shape)


def _moments(b: Build, x: Value, axes: tuple[int, ...]) -> tuple[Value, Value, float]:
    """The distances from the mean, the sum of their squares (axes kept) and the count.

    The mean is rounded; what that adds to the squares is known from the sum of the distances, which
    would be 0 otherwise (Chan, Golub and LeVeque, "Algorithms for computing the sample variance",
    1983: the corrected two-pass algorithm).
    """
    count = float(count_of(x.type.shape, axes))
    mean = b.op("div", b.reduce("sum", x, axes), count)
    away = b.op("sub", x, b.spread(mean, x.type.shape))
    rest = b.reduce("sum", away, axes)
    squares = b.reduce("sum", b.op("mul", away, away), axes)
    # Where the squares overflow, this does as well: the difference is to be infinite, not nan.
    largest = float(np.finfo(x.type.dtype.compute.numpy).max)
    excess = b.op("clamp_max", b.op("div", b.op("mul", rest, rest), count), largest)
    return away, b.op("clamp_min", b.op("sub", squares, excess), 0.0), count


def _var(b: Build, v: Value) -> Value:
    x, (axes, _keep, correction) = v.src[0], v.arg
    if not axes or count_of(x.type.shape, axes) <= correction:
        return v
    _, squares, count = _moments(b, x, axes)
    found = b.op("div", squares, count - correction)
    if v.op.name.startswith("std"):
        found = b.op("sqrt", found)
    return b.shaped(found, v.type.shape)


def _standardized(b: Build, v: Value) -> Value:
    """A result of `standardize`: centred and scaled values, their mean, their biased variance."""
    x, (axes, eps), which = v.src[0].src[0], v.src[0].arg, v.arg[0]
    if not axes or not x.type.numel or not x.type.dtype.is_floating_point:
        return v
    away, squares, count = _moments(b, x, axes)
    if which == 1:
        return b.shaped(b.op("div", b.reduce("sum", x, axes), count), v.type.shape)
    variance = b.op("div", squares, count)
    if which == 2:
        return b.shaped(variance, v.type.shape)
    scale = b.op("rsqrt", b.op("add", variance, eps))
    return b.op("mul", away, b.spread(scale, x.type.shape))


def _ignored(b: Build, target: Value, ignore: int, y: Value, other: float = 0.0) -> Value:
    """`y`, and `other` where the target is the class that does not count."""
    skipped = Value(REGISTRY["eq"], (target, ignore), (), target.type.boolean, b.of.origin)
    return Value(REGISTRY["where"], (skipped, other, y), (), y.type, b.of.origin)


def _own_class(b: Build, target: Value, scores: tuple[int, ...]) -> Value:
    """Where, over the shape of the scores, a class is the target's."""
    axis = min(1, len(scores) - 1)
    pair = b.shaped(target, reduced(scores, (axis,), True)), b.along(target, scores, axis)
    boolean = target.type.with_shape(scores).boolean
    return Value(REGISTRY["eq"], pair, (), boolean, b.of.origin)


def _nll(b: Build, v: Value) -> Value:
    (x, target), (ignore,) = v.src, v.arg
    if not v.type.numel or not x.type.numel or target.type.dtype is not int64:
        return v
    shape = x.type.shape
    axis = min(1, len(shape) - 1)
    target = b.op("class_checked", target, shape[axis], ignore)
    if x.op is None:  # scores that come from memory: only those of the targets are read
        at = b.shaped(_ignored(b, target, ignore, target, 0), reduced(shape, (axis,), True))
        picked = b.op("gather", x, at, arg=(axis,), shape=at.type.shape)
        return _ignored(b, target, ignore, b.op("neg", b.shaped(picked, v.type.shape)))
    hit = _own_class(b, target, shape)
    own = Value(REGISTRY["where"], (hit, x, 0.0), (), x.type, b.of.origin)
    picked = b.op("sum", own, arg=((axis,), False), shape=v.type.shape)
    return _ignored(b, target, ignore, b.op("neg", picked))


def _nll_grad(b: Build, v: Value) -> Value:
    (g, target), (classes, ignore) = v.src, v.arg
    shape = v.type.shape
    if not v.type.numel or not shape or target.type.dtype is not int64:
        return v
    target = b.op("class_checked", target, classes, ignore)
    axis = min(1, len(shape) - 1)
    share = _ignored(b, target, ignore, b.op("neg", g))
    share = b.shaped(share, reduced(shape, (axis,), True))
    hit = _own_class(b, target, shape)
    return Value(REGISTRY["where"], (hit, share, 0.0), (), v.type, b.of.origin)


def _norm(b: Build, v: Value) -> Value:
    """The Euclidean norm and other p-norms, in float64 as NumPy's form computes them."""
    x, axes = v.src[0], v.arg[0]
    if not axes or not x.type.numel:
        return v
    wide = b.cast(x, float64)
    p = v.arg[2] if v.op.name == "norm_p" else 2.0
    powers = b.op("mul", wide, wide) if p == 2.0 else b.op("pow", b.op("abs", wide), p)
    total = b.op("sum", powers, arg=(axes, v.arg[1]), shape=v.type.shape)
    root = b.op("sqrt", total) if p == 2.0 else b.op("pow", total, 1.0 / p)
    return b.cast(root, v.type.dtype)


def _sum(b: Build, v: Value) -> Value:
    """A sum of everything that is computed with reductions of rows: by rows first, which one nest
    then does with them."""
    x, (axes, _keep) = v.src[0], v.arg
    if not axes:
        return b.op("copy", x)
    rows = _rows_in(x) if 1 < len(axes) == len(x.type.shape) else None
    if rows is None or not v.type.numel:
        return v
    sums = b.op("sum", x, arg=(rows, False), shape=reduced(x.type.shape, rows, False))
    rest = tuple(range(len(sums.type.shape)))
    return b.shaped(b.op("sum", sums, arg=(rest, False), shape=()), v.type.shape)


def _rows_in(x: Value) -> tuple[int, ...] | None:
    """The axes of the reduction of rows, of values in the shape of `x`, from which elementwise
    operations lead to it."""
    found = [x]
    for v in found:
        if v.op is None or len(found) > MAX_OPERATIONS:
            continue
        if v.op.kind == "reduce":
            axes = tuple(v.arg[0])
            if v.src[0].type.shape == x.type.shape and 0 < len(axes) < len(x.type.shape):
                return axes
        elif v.op.elementwise or v.op.name in ("expand", "reshape"):
            found += [s for s in dict.fromkeys(v.operands()) if s not in found]
    return None


def _class_count(b: Build, v: Value) -> Value:
    target, (ignore, dtype) = v.src[0], v.arg
    counts = Value(REGISTRY["ne"], (target, ignore), (), target.type.boolean, b.of.origin)
    type = v.type.with_shape(target.type.shape)
    ones = Value(REGISTRY["cast"], (counts,), (dtype,), type, b.of.origin)
    axes = tuple(range(len(type.shape)))
    return b.op("sum", ones, arg=(axes, False), shape=()) if axes else ones


RULES: dict[str, Callable[[Build, Value], Value]] = {
    "softmax": _softmax,
    "log_softmax": _log_softmax,
    "logsumexp": _logsumexp,
    "norm2": _norm,
    "norm_p": _norm,
    "var": _var,
    "std": _var,
    "nll": _nll,
    "nll_grad": _nll_grad,
    "class_count": _class_count,
    "sum": _sum,
}
PIECES: dict[str, Callable[[Build, Value], Value]] = {
    "standardize": _standardized,
    "max_with_index": selected,
    "min_with_index": selected,
    **POOL_PIECES,
}
