"""Reductions by segment: what scattered stores, adds and counts are made of on devices.

    value   [[1], [2], [3]]     three rows of one element
    at      [2, 0, 2]           the segment of each
    segment_reduce(value, at, extents=(1, 4, 1), how="sum")     [[2], [0], [4], [0]]

Nobody writes these primitives: ir/passes/segments.py makes them of index_put, scatter_add, the
gradient of an embedding, histograms, for tiers that gather what goes to a place instead of
sending it there. A segment number that is no row drops its value, as in TensorFlow's
unsorted_segment_sum.
"""

from __future__ import annotations

import numpy as np

from .numerics import scatter as forms
from .opdef import Op, provide
from .types import TensorType

# How the values of a segment become one: the last of them, or a reduction.
HOW = ("last", "sum", "prod", "mean", "amax", "amin")


def _infer(src: tuple, arg: tuple) -> TensorType:
    return src[0].type.with_shape(arg[0])


# Operands: values (outer, N, inner); their segments, (N,) for all or (outer, N, inner) each; and
# what stood there before, zeros if it is left out. The result, and what stood there, are (outer,
# rows, inner) in some shape of as many elements. include_self: whether what stood there counts in
# segments that receive something.
segment_reduce: Op = Op(
    "segment_reduce",
    "segment_reduce({0}, {1}, {rest}, {extents}, {how}, {include_self})",
    kind="opaque",
    fields=("extents", "how", "include_self"),
    infer=_infer,
    samples=lambda: [
        (((2, 3, 2), [2, 0, 2]), ((2, 8), "sum", True)),
        (((1, 3, 2), [2, -1, 2], (1, 4, 2)), ((1, 4, 2), "last", True)),
        (((2, 2, 2), [[[0, 1], [2, 1]], [[1, 1], [-1, 0]]], (2, 3, 2)), ((2, 3, 2), "mean", False)),
        *(
            (((1, 5, 1), [1, 0, 1, 7, 1], (1, 3, 1)), ((1, 3, 1), how, include))
            for how in HOW[1:]
            for include in (False, True)
        ),
        (((1, 40, 3), np.arange(40) * 7 % 11, (1, 12, 3)), ((12, 3), "sum", True)),
        (((2, 40, 3), np.arange(240).reshape(2, 40, 3) * 7 % 11), ((2, 12, 3), "last", True)),
    ],
)
# How many of the numbers 0, 1, …, bins - 1 there are; others do not count.
count_each: Op = Op(
    "count_each",
    "count_each({0}, {bins})",
    kind="opaque",
    fields=("bins",),
    infer=lambda src, arg: src[0].type.with_shape((arg[0],)),
    samples=lambda: [(([3, 0, 3, -1, 9],), (4,))],
)

provide(segment_reduce=forms.segment_reduce, count_each=forms.count_each)
