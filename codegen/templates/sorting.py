"""Sorts, selections by rank and searches to CUDA C (prelude/sort.cuh).

    sort of float32[1000, 5000] along axis 1
        runs        of 2048 in shared memory, by 3000 blocks
        merge       twice: runs of 4096, whole rows
        first       values and positions are written

What has fewer than 2,048 elements along the axis is sorted by one launch and taken by another.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from lazyt.ir.graph import Value

from ..launches import Argument, Array, Fixed, Scratch
from .epilogue import STORED
from .steps import Assembled, Step, assembled, blocks, index_type, numbers

THREADS, TILE = 256, 2048  # as in prelude/sort.cuh
PRELUDES = ("cuda.h", "sort.cuh")
WIDE_KEYS = ("float64", "int64")
SORTED = ("float32", "float64", "int64", "int32", "int16", "int8", "uint8", "bool")
LONGEST = 2**31  # positions are 32 bits


def split(shape: tuple[int, ...], axis: int) -> tuple[int, int, int]:
    """A row-major array as (outer, extent, inner) around an axis."""
    if not shape:
        return 1, 1, 1
    return math.prod(shape[:axis]), shape[axis], math.prod(shape[axis + 1 :])


def key_type(dtype: str) -> str:
    """The type of the keys that elements of a dtype are sorted by."""
    return "unsigned long long" if dtype in WIDE_KEYS else "unsigned"


@dataclass(frozen=True)
class SortedRows:
    """The steps that leave rows sorted in scratch memory.

    keys, positions: where. scratch: how many bytes that takes. key, index: types.
    """

    steps: tuple[Step, ...]
    keys: Scratch
    positions: Scratch
    scratch: int
    key: str
    index: str


def sorted_rows(
    dtype: str, array: Array, layout: tuple[int, int, int], descending: bool = False
) -> SortedRows:
    """Sorts an array's rows along an axis; layout: (outer, extent, inner)."""
    outer, extent, inner = layout
    rows, total = outer * inner, outer * extent * inner
    key, index = key_type(dtype), index_type(2 * total)  # two runs may pass the end of a row
    length = min(TILE, 1 << max(extent - 1, 0).bit_length())
    size = 8 if dtype in WIDE_KEYS else 4
    two = extent > length  # merges go to and fro between two places
    key_bytes, position_bytes = _aligned(total * size), _aligned(total * 4)
    places = [(Scratch(0), Scratch(key_bytes))]
    if two:
        behind = key_bytes + position_bytes
        places.append((Scratch(behind), Scratch(behind + key_bytes)))
    table = numbers(rows, extent, inner)
    here = 0
    keys, positions = places[here]
    runs = Step(
        "runs",
        (
            (f"const {STORED[dtype]} *__restrict__ x", array),
            (f"{key} *keys", keys),
            ("unsigned *positions", positions),
            ("const lz::Rows rows", table),
            ("int length", Fixed(length, "i")),
            ("int descending", Fixed(int(descending), "i")),
        ),
        (
            f"__shared__ {key} key[lz::SORT_TILE];",
            "__shared__ unsigned position[lz::SORT_TILE];",
            f"lz::sort_runs<{index}>(",
            "    x, keys, positions, rows, length, descending, key, position);",
        ),
        blocks(rows * blocks(extent, length), TILE // length),
        (THREADS, 1),
    )
    steps = [runs]
    while length < extent:
        here = 1 - here
        merged_keys, merged_positions = places[here]
        steps.append(
            Step(
                "merge",
                (
                    (f"const {key} *__restrict__ keys", keys),
                    ("const unsigned *__restrict__ positions", positions),
                    (f"{key} *__restrict__ merged_keys", merged_keys),
                    ("unsigned *__restrict__ merged_positions", merged_positions),
                    ("const lz::Rows rows", table),
                    ("long long length", Fixed(length, "q")),
                ),
                (
                    f"lz::merge_runs<{index}>(",
                    "    keys, positions, merged_keys, merged_positions, rows, length);",
                ),
                blocks(total, THREADS),
                (THREADS, 1),
            )
        )
        keys, positions = merged_keys, merged_positions
        length *= 2
    scratch = len(places) * (key_bytes + position_bytes)
    return SortedRows(tuple(steps), keys, positions, scratch, key, index)


def _aligned(size: int) -> int:
    return -(-size // 16) * 16


def _sorts(v: Value, axis: int) -> bool:
    x = v.src[0].type
    return x.dtype.name in SORTED and (not x.shape or x.shape[axis] < LONGEST)


def _first(v: Value, axis: int, count: int, descending: bool) -> Assembled | None:
    """The first elements of sorted rows, and their positions."""
    if not _sorts(v, axis):
        return None
    x = v.src[0].type
    outer, extent, inner = split(x.shape, axis)
    done = sorted_rows(x.dtype.name, Array(0), (outer, extent, inner), descending)
    kind = STORED[x.dtype.name]
    first = Step(
        "first",
        (
            (f"const {kind} *__restrict__ x", Array(0)),
            ("const unsigned *__restrict__ positions", done.positions),
            (f"{kind} *__restrict__ values", Array(1)),
            ("int64_t *__restrict__ indices", Array(2)),
            ("const lz::Rows rows", numbers(outer * inner, extent, inner)),
            ("long long count", Fixed(count, "q")),
        ),
        (f"lz::take_first<{done.index}>(x, positions, values, indices, rows, count);",),
        blocks(outer * inner * count, THREADS),
        (THREADS, 1),
    )
    return assembled(v.op.name, [*done.steps, first], PRELUDES, done.scratch)


def _one(v: Value, axis: int, choice: str, rank: int = 0) -> Assembled | None:
    """One element of every sorted row, and its position."""
    if not _sorts(v, axis):
        return None
    x = v.src[0].type
    outer, extent, inner = split(x.shape, axis)
    done = sorted_rows(x.dtype.name, Array(0), (outer, extent, inner))
    kind = STORED[x.dtype.name]
    mode = choice == "Mode"
    parameters: list[tuple[str, Argument]] = [
        (f"const {kind} *__restrict__ x", Array(0)),
        (f"const {done.key} *__restrict__ keys", done.keys),
        ("const unsigned *__restrict__ positions", done.positions),
        (f"{kind} *__restrict__ values", Array(1)),
        ("int64_t *__restrict__ indices", Array(2)),
        ("const lz::Rows rows", numbers(outer * inner, extent, inner)),
    ]
    given = "x, keys, positions, values, indices, rows"
    body: tuple[str, ...]
    if mode:
        shared = f"__shared__ {done.index} longest[lz::SORT_THREADS], ends[lz::SORT_THREADS];"
        body = (shared, f"lz::take_mode<{done.index}>(", f"    {given}, longest, ends);")
    elif choice == "Fixed":
        parameters.append(("const lz::Fixed choice", numbers(rank)))
        body = (f"lz::take_one<{done.index}>({given}, choice);",)
    else:
        body = (f"lz::take_one<{done.index}>({given}, lz::{choice}());",)
    rows = outer * inner
    grid = rows if mode else blocks(rows, THREADS)
    one = Step(choice.lower(), tuple(parameters), body, grid, (THREADS, 1))
    return assembled(v.op.name, [*done.steps, one], PRELUDES, done.scratch)


def _sort(v: Value) -> Assembled | None:
    axis, descending = v.arg
    return _first(v, axis, split(v.src[0].type.shape, axis)[1], descending)


def _topk(v: Value) -> Assembled | None:
    axis, count, largest = v.arg
    return _first(v, axis, count, largest)


def _search(v: Value) -> Assembled | None:
    rows, values = (s.type for s in v.src)
    right, narrow = v.arg
    if rows.dtype is not values.dtype or rows.dtype.name not in SORTED:
        return None
    count, extent = values.numel, rows.shape[-1]
    each = count if len(rows.shape) == 1 else values.shape[-1]
    kind, place = STORED[rows.dtype.name], "int32_t" if narrow else "int64_t"
    index = index_type(count, rows.numel)
    step = Step(
        "places",
        (
            (f"const {kind} *__restrict__ sorted", Array(0)),
            (f"const {kind} *__restrict__ values", Array(1)),
            (f"{place} *__restrict__ places", Array(2)),
            ("long long count", Fixed(count, "q")),
            ("long long per_row", Fixed(each, "q")),
            ("long long extent", Fixed(extent, "q")),
            ("int right", Fixed(int(right), "i")),
        ),
        (f"lz::search_sorted<{index}>(sorted, values, places, count, per_row, extent, right);",),
        blocks(count, THREADS),
        (THREADS, 1),
    )
    return assembled("searchsorted", [step], PRELUDES)


ORDERS: dict[str, Callable[[Value], Assembled | None]] = {
    "sort": _sort,
    "topk": _topk,
    "kthvalue": lambda v: _one(v, v.arg[0][0], "Fixed", v.arg[2] - 1),
    "median": lambda v: _one(v, v.arg[0][0], "Median"),
    "nanmedian": lambda v: _one(v, v.arg[0][0], "NanMedian"),
    "mode": lambda v: _one(v, v.arg[0][0], "Mode"),
    "searchsorted": _search,
}
