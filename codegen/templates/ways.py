"""How a block of threads computes its part of a contraction: by tiles, or as a matrix and a vector.

way = tiled_way(c)
way.type        "lz::RegisterTile<float, 64, 64, 16, 4, 4, 1, 0>", of codegen/prelude
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from math import prod

from .contraction import Contraction
from .epilogue import STORED
from .tiles import TENSOR_TILES, TILES, choose, shares

VECTOR_THREADS = 256
LONG_ROW = 4096  # of this many reduced positions a block takes a row, of fewer a warp


@dataclass(frozen=True)
class Way:
    """How a block computes: the type in C++, the extents of its part of the result, its threads.

    granule: a share of the reduced axis is a multiple of this. gathered: whether the left and the
    right operand are found by tables (prelude/convolution.cuh).
    """

    type: str
    rows: int
    columns: int
    threads: int
    bounds: str
    granule: int
    shares: int
    preludes: tuple[str, ...]
    vector: bool = False
    gathered: tuple[bool, bool] = (False, False)


def vector_way(c: Contraction) -> Way:
    """For a matrix and a vector: threads along whichever axis neighbours lie in memory."""
    operand = STORED[c.dtype]
    if c.rows > 1 and abs(c.left.row) < abs(c.left.along[0]):
        kind, rows = f"lz::AlongRows<{operand}>", 32
    else:
        lanes = 32 if c.depth < LONG_ROW else VECTOR_THREADS
        kind, rows = f"lz::AlongReduced<{operand}, {lanes}>", VECTOR_THREADS // lanes
    pieces = shares(-(-c.rows // rows) * prod(c.batch), c.depth)
    preludes = ("contraction.cuh", "matrix_vector.cuh")
    bounds = str(VECTOR_THREADS)
    return Way(kind, rows, 1, VECTOR_THREADS, bounds, 64, pieces, preludes, vector=True)


def tiled_way(c: Contraction, index: str) -> Way:
    gathered = (len(c.left.along) > 1, c.window is not None)
    tiles, family = TILES[c.dtype], "RegisterTile"
    preludes: tuple[str, ...] = ("contraction.cuh",)
    if c.tensor_cores:
        tiles, family = TENSOR_TILES[c.dtype], "TensorTile"
        preludes += ("tensor_cores.cuh",)
        if all(gathered) and index != "int":
            tiles = tiles[1:]  # places of 64 bits would not fit in the registers of the largest
    tile, pieces = choose(tiles, c.rows, c.width, c.depth, prod(c.batch))
    if any(gathered):
        preludes += ("convolution.cuh",)
    # Whether neighbours along the reduced axis lie side by side.
    left = nearest(c.left.along, c.reduced) > nearest((c.left.row,), (c.rows,))
    steps = c.window.reduced if c.window else (c.right.row,)
    right = nearest(steps, c.reduced) > nearest(c.right.along, c.columns)
    numbers = (tile.rows, tile.columns, tile.depth, *tile.part, *map(int, (left, right)))
    kind = f"lz::{family}<{STORED[c.dtype]}, {', '.join(map(str, numbers))}>"
    # Places need registers too.
    resident = max(1, tile.resident // 3) if any(gathered) else tile.resident
    bounds = f"{tile.threads}, {resident}"
    return Way(
        kind,
        tile.rows,
        tile.columns,
        tile.threads,
        bounds,
        tile.depth,
        pieces,
        preludes,
        gathered=gathered,
    )


def nearest(strides: tuple[int, ...], extents: tuple[int, ...]) -> tuple[float, int]:
    """How good it is for neighbouring threads to run along axes: a small stride of the innermost,
    then a large extent. A single stride stands for all axes."""
    if len(strides) == 1:
        extents = (prod(extents),)
    inner = [(-float(abs(s)), e) for s, e in zip(strides, extents) if e > 1]
    return inner[-1] if inner else (-math.inf, 0)
