"""Reductions by segment and counts to CUDA C (prelude/segments.cuh).

    segment_reduce of values [1, 40, 8] into 1000 rows
        runs        the 40 segment numbers are sorted, with the positions they stood at
        gather      a thread for each of the 8,000 elements takes what goes there, in order

A list of up to 32 segment numbers is not sorted: every row reads all of it.
"""

from __future__ import annotations

from collections.abc import Callable

from lazyt.ir.graph import Value

from ..launches import Argument, Array, Fixed
from .epilogue import STORED
from .sorting import LONGEST, PRELUDES, sorted_rows
from .steps import Assembled, Step, assembled, blocks, index_type, numbers

THREADS, BINS = 256, 2048  # of a block; that a block counts by itself (prelude/segments.cuh)
SHORT = 32  # a list so long is read whole by every row
COUNTED = 1024  # blocks that count
COMBINED = {"last": "Last", "sum": "Sum", "prod": "Product", "mean": "Sum"}
COMBINED |= {"amax": "Maximum", "amin": "Minimum"}
OF_BOOLS = {"last": "Last", "sum": "Any", "prod": "All", "amax": "Any", "amin": "All"}
FLOATS = ("float32", "float64")


def _segment_reduce(v: Value) -> Assembled | None:
    values, at, *base = v.src
    _, how, include_self = v.arg
    dtype, kind = values.type.dtype.name, STORED[values.type.dtype.name]
    combined = (OF_BOOLS if dtype == "bool" else COMBINED).get(how)
    outer, count, inner = values.type.shape
    rows = v.type.numel // (outer * inner)
    if values.type.dtype.is_half or combined is None or max(count, rows) >= LONGEST:
        return None
    # Sums and products of integers wrap, as those of unsigned ones do.
    wraps = how in ("sum", "prod", "mean") and dtype not in (*FLOATS, "bool")
    wide = "uint64_t" if wraps else kind
    index = index_type(values.type.numel, v.type.numel)
    each = len(at.type.shape) > 1
    number = STORED[at.type.dtype.name]
    lists: list[tuple[str, Argument]]
    if count <= SHORT:
        steps, scratch = [], 0
        lists = [(f"const {number} *__restrict__ at", Array(1))]
        form = f"lz::ShortLists<{index}, {number}>{{at}}"
    else:
        layout = (outer, count, inner) if each else (1, count, 1)
        done = sorted_rows(at.type.dtype.name, Array(1), layout)
        steps, scratch = list(done.steps), done.scratch
        lists = [
            (f"const {done.key} *__restrict__ keys", done.keys),
            ("const unsigned *__restrict__ positions", done.positions),
        ]
        form = f"lz::SortedLists<{index}, {number}, {done.key}>{{keys, positions}}"
    finish = f"lz::{'Mean' if how == 'mean' else 'Whole'}<{kind}, {wide}>"
    combine = f"lz::{combined}" if combined == "Last" else combined
    width = min(THREADS, 1 << max(inner - 1, 0).bit_length())
    gather = Step(
        "gather",
        (
            (f"const {kind} *__restrict__ values", Array(0)),
            *lists,
            (f"const {kind} *base", Array(2) if base else Fixed(0, "q")),
            (f"{kind} *result", Array(2 + len(base))),
            ("const lz::Segments segments", numbers(outer, rows, inner, count)),
            ("int include_base", Fixed(int(include_self), "i")),
        ),
        (
            f"lz::gather_segments<{str(each).lower()}, {finish}, {wide}, {index}>(",
            "    values, base, result, segments, include_base,",
            f"    {form}, {combine}());",
        ),
        blocks(outer * rows, THREADS // width),
        (width, THREADS // width),
    )
    preludes = (*PRELUDES, "segments.cuh")
    return assembled("segment_" + how, [*steps, gather], preludes, scratch)


def _count_each(v: Value) -> Assembled | None:
    (at,) = v.src
    (bins,) = v.arg
    if at.type.dtype.name != "int64":
        return None
    count = at.type.numel
    clear = Step(
        "clear",
        (("int64_t *counts", Array(1)), ("long long bins", Fixed(bins, "q"))),
        ("lz::clear_counts(counts, bins);",),
        blocks(bins, THREADS),
        (THREADS, 1),
    )
    each = Step(
        "each",
        (
            ("const int64_t *__restrict__ numbers", Array(0)),
            ("int64_t *counts", Array(1)),
            ("long long length", Fixed(count, "q")),
            ("long long bins", Fixed(bins, "q")),
        ),
        (
            "__shared__ unsigned own[lz::COUNT_BINS];",
            "lz::count_numbers(numbers, counts, length, bins, own);",
        ),
        min(COUNTED, blocks(count, THREADS)),
        (THREADS, 1),
    )
    return assembled("count", [clear, each], (*PRELUDES, "segments.cuh"))


SEGMENTS: dict[str, Callable[[Value], Assembled | None]] = {
    "segment_reduce": _segment_reduce,
    "count_each": _count_each,
}
