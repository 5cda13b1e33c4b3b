"""Scans along an axis to CUDA C (prelude/scan.cuh).

    cumsum of float32[2, 1_000_000] along axis 1
        totals      of chunks of 4,096 elements, a block a chunk
        scan        every chunk, from the totals before it

One launch does where there are many lines, or short ones.
"""

from __future__ import annotations

from collections.abc import Callable

from lazyt.ir.graph import Value

from ..launches import Argument, Array, Fixed, Scratch
from .epilogue import STORED
from .sorting import LONGEST, split
from .steps import Assembled, Step, assembled, blocks, index_type, numbers

THREADS, ITEMS = 256, 4  # as in prelude/scan.cuh
PRELUDES = ("cuda.h", "sort.cuh", "scan.cuh")
FLOATS = ("float32", "float64")
WIDE = ("float64", "int64")
HELD = {"float32": "float", "float64": "double", "int64": "int64_t"}  # types of extremes
NEIGHBOURS = 32  # lines beside each other that threads read in one go
MANY = 4096  # lines that fill a device, a thread each
BUSY = 256  # blocks that do
CHUNK = 4096  # the fewest elements worth a block of their own


def _scan(v: Value, run: str, state: str, extremes: bool = False) -> Assembled | None:
    """The kernel of a scan; run: what runs along, state: of which type."""
    x = v.src[0].type
    outer, extent, inner = split(x.shape, v.arg[0])
    if extent >= LONGEST:
        return None
    lines = outer * inner
    kind, index = STORED[x.dtype.name], index_type(x.numel)
    results: list[tuple[str, Argument]] = [(f"{kind} *__restrict__ result", Array(1))]
    form = "{result}"
    if extremes:
        results = [
            (f"{kind} *__restrict__ values", Array(1)),
            ("int64_t *__restrict__ positions", Array(2)),
        ]
        form = "{values, positions}"
    read = (f"const {kind} *__restrict__ x", Array(0))
    rows = ("const lz::Rows rows", numbers(lines, extent, inner))
    if inner >= NEIGHBOURS and (lines >= MANY or extent <= THREADS):
        body = (f"lz::scan_across<{index}>(x, rows, {run}{form});",)
        parameters = (read, *results, rows)
        step = Step("across", parameters, body, blocks(lines, THREADS), (THREADS, 1))
        return assembled(v.op.name, [step], PRELUDES)
    lanes = 32 if extent <= 32 * ITEMS * 8 else THREADS
    chunks = 1
    if lanes > 32 and lines < BUSY:
        chunks = min(blocks(extent, CHUNK), blocks(BUSY, lines))
    chunk = blocks(blocks(extent, chunks), lanes * ITEMS) * lanes * ITEMS
    chunks = blocks(extent, chunk)
    grid = blocks(lines * chunks, THREADS // lanes)
    shared = f"__shared__ {state} shared[{THREADS // 32}];"
    length = ("long long chunk", Fixed(chunk, "q"))
    totals = (f"{state} *totals", Scratch())

    def along(suffix: str, stores: bool, given: tuple, runs: str) -> Step:
        body = (
            shared,
            f"lz::scan_along<{lanes}, {str(stores).lower()}, {index}>(",
            f"    x, rows, chunk, {run}{runs}, totals, shared);",
        )
        return Step(suffix, (read, *given, rows, length, totals), body, grid, (THREADS, 1))

    steps = [along("scan", True, tuple(results), form)]
    if chunks == 1:
        return assembled(v.op.name, steps, PRELUDES)
    steps.insert(0, along("totals", False, (), "{}"))
    return assembled(v.op.name, steps, PRELUDES, lines * chunks * (16 if extremes else 8))


def _accumulated(v: Value, run: str) -> Assembled | None:
    dtype = v.src[0].type.dtype.name
    if v.src[0].type.dtype.is_half or dtype == "bool":
        return None
    wide = "double" if dtype in FLOATS else "uint64_t"
    return _scan(v, f"lz::{run}<{STORED[dtype]}, {wide}>", wide)


def _log_sum(v: Value) -> Assembled | None:
    dtype = v.src[0].type.dtype.name
    if dtype not in FLOATS:
        return None
    return _scan(v, f"lz::RunningLogSum<{STORED[dtype]}>", "double")


def _extreme(v: Value, largest: bool) -> Assembled | None:
    if v.src[0].type.dtype.is_half:
        return None
    dtype = v.src[0].type.dtype.name
    held = HELD.get(dtype, "int32_t")
    position = "int64_t" if dtype in WIDE else "int32_t"
    kinds = f"{STORED[dtype]}, {held}, {position}, {str(largest).lower()}"
    return _scan(v, f"lz::RunningExtreme<{kinds}>", f"lz::Found<{held}, {position}>", True)


SCANS: dict[str, Callable[[Value], Assembled | None]] = {
    "cumsum": lambda v: _accumulated(v, "RunningSum"),
    "cumprod": lambda v: _accumulated(v, "RunningProduct"),
    "logcumsumexp": _log_sum,
    "cummax": lambda v: _extreme(v, True),
    "cummin": lambda v: _extreme(v, False),
}
