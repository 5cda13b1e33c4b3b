"""Which tile of a matrix product a thread block computes.

A large tile reads every operand less often: with TM by TN sums in the registers of a thread there
are TM * TN / (TM + TN) multiplications for an element read from shared memory, 4 for 8 by 8 sums
and 2 for 4 by 4. A small tile gives more blocks, and wastes less where extents are small:

    choose(FLOAT, rows=4096, columns=4096, reduced=512, batch=1)   128 by 128, one share
    choose(FLOAT, rows=64, columns=64, reduced=100_000, batch=1)   64 by 64, 128 shares

The tile is the one with the least of an estimated time, in multiplications: a multiprocessor does
four (128 a cycle) while it reads a word of shared memory (32 a cycle), and about 24 while it gets
one from the second-level cache. The estimate depends on the problem alone, so that a result is the
same on every device; SPREAD stands for how many blocks keep a device busy.
"""

from __future__ import annotations

from dataclasses import dataclass

SPREAD = 128
SHARED_READ, CACHE_READ = 4, 24
SHORTEST_SHARE = 256  # reduced positions that are worth a block of their own


@dataclass(frozen=True)
class Tile:
    """rows by columns of the result in one block, `depth` reduced positions in shared memory.

    A thread has part[0] by part[1] sums; with tensor cores a warp has them. resident: so many
    blocks at least are to fit on a multiprocessor, which bounds the registers of a thread.
    """

    rows: int
    columns: int
    depth: int
    part: tuple[int, int]
    resident: int
    tensor: bool = False

    @property
    def threads(self) -> int:
        parts = (self.rows // self.part[0]) * (self.columns // self.part[1])
        return parts * (32 if self.tensor else 1)

    def effort(self, reduced: int) -> float:
        """The estimated time of a block."""
        height, width = self.part
        reads = SHARED_READ * (height + width) / (height * width)
        step = self.rows * self.columns * (1 + reads) + CACHE_READ * (self.rows + self.columns)
        return step * self.depth * max(1, -(-reduced // self.depth))


FLOAT = (
    Tile(128, 128, 8, (8, 8), 1),
    Tile(64, 64, 16, (4, 4), 3),
    Tile(128, 32, 16, (8, 4), 4),
    Tile(32, 128, 16, (4, 4), 3),
    Tile(32, 32, 16, (4, 4), 12),
)
DOUBLE = (
    Tile(128, 64, 8, (8, 4), 1),
    Tile(64, 64, 8, (4, 4), 2),
    Tile(32, 32, 16, (4, 2), 5),
)
# 16-byte loads of half as many elements: twice the depth, or threads would have none.
HALF = (
    Tile(128, 128, 16, (8, 8), 1),
    Tile(64, 64, 16, (4, 4), 3),
    Tile(128, 32, 16, (8, 4), 4),
    Tile(32, 128, 16, (4, 4), 3),
    Tile(32, 32, 16, (4, 4), 12),
)
TENSOR_HALF = (
    Tile(128, 128, 32, (64, 32), 1, True),
    Tile(64, 64, 32, (32, 32), 4, True),
    Tile(32, 32, 32, (16, 16), 8, True),
)
TENSOR_TF32 = (
    Tile(128, 128, 16, (64, 32), 1, True),
    Tile(64, 64, 16, (32, 32), 4, True),
    Tile(32, 32, 16, (16, 16), 8, True),
)
TENSOR_TILES = {"float32": TENSOR_TF32, "float16": TENSOR_HALF, "bfloat16": TENSOR_HALF}
TILES = {"float32": FLOAT, "float64": DOUBLE, "float16": HALF, "bfloat16": HALF}


def on_matrix_units(dtype: str, tensor_cores: bool, tf32: bool) -> bool:
    """Whether a product is computed by them: wanted, and for operands of this dtype allowed."""
    return tensor_cores and dtype in TENSOR_TILES and (tf32 or dtype != "float32")


def shares(blocks: int, reduced: int) -> int:
    """Into how many pieces the reduced axis is cut, that many blocks being there without it."""
    if 2 * blocks > SPREAD or reduced < 2 * SHORTEST_SHARE:
        return 1
    return min(SPREAD // blocks, reduced // SHORTEST_SHARE)


def choose(
    tiles: tuple[Tile, ...], rows: int, columns: int, reduced: int, batch: int
) -> tuple[Tile, int]:
    """The tile that takes the least time, the first of equals, and the shares that go with it."""

    def plan(tile: Tile) -> tuple[float, int]:
        blocks = batch * -(-rows // tile.rows) * -(-columns // tile.columns)
        pieces = shares(blocks, reduced)
        return max(blocks * pieces, SPREAD) * tile.effort(-(-reduced // pieces)), pieces

    best = min(tiles, key=lambda tile: plan(tile)[0])
    return best, plan(best)[1]
