"""Loops in C in an order that suits the caches: transposes by tiles, the next row on its way.

    y + x.t()           for u, g in tiles of 32 x 32: for i in [u, w): for j in [g, h)
    softmax(x, 1)       the second loop over a row asks for the row after it

A processor fetches memory by lines, and guesses ahead within a page. Reading across the lines uses
one element of each, unless the neighbours are read before the line is gone; and the first loop over
a row that begins a page waits, while the loops after it have nothing to wait for.
"""

from __future__ import annotations

from lazyt.ir.dtypes import BY_NAME

from .loops import Load, Stage
from .nest_writer import Axis, NestWriter

TILE = 32  # of a tile, its extent along both axes
AHEAD = 512  # elements of the next row that are fetched at once, and then computed on in this one
LINE = 64  # bytes that memory is fetched in


class CacheLoops(NestWriter):
    """Writes the loops over tiles, and what is fetched ahead."""

    def turned(self, outer: list[Axis], inner: Axis) -> int | None:
        """The outer axis along which an array lies that another axis is innermost in: a transpose.

        Read along the innermost axis alone, each of its elements would cost a line of memory of
        which one element is used.
        """
        for k, p in enumerate(self.kernel.params):
            if p.counted or inner.strides[k] in (0, 1):
                continue
            for d, axis in enumerate(outer):
                if axis.strides[k] == 1 and axis.extent >= TILE and inner.extent >= TILE:
                    return d
        return None

    def tiles(self, outer: list[Axis], turned: int, inner: Axis) -> list[str]:
        """Opens loops over tiles of two axes, then over the rows of a tile: the lines of memory
        that one row reads are still in the cache for the next. Returns the index names."""
        names = [f"i{d}" for d in range(len(outer))]
        others = [d for d in range(len(outer)) if d != turned]
        for d in others:
            first, last = ("lo", "hi") if d == 0 else ("0", self.extent(outer[d]))
            self.line(f"for (int64_t {names[d]} = {first}; {names[d]} < {last}; {names[d]}++) {{")
            self.depth += 1
        first, last = ("lo", "hi") if turned == 0 else ("0", self.extent(outer[turned]))
        width = self.extent(inner)
        self.line(f"for (int64_t u = {first}; u < {last}; u += {TILE}) {{")
        self.depth += 1
        self.line(f"const int64_t w = u + {TILE} < {last} ? u + {TILE} : {last};")
        self.line(f"for (int64_t g = 0; g < {width}; g += {TILE}) {{")
        self.depth += 1
        self.line(f"const int64_t h = g + {TILE} < {width} ? g + {TILE} : {width};")
        i = names[turned]
        self.line(f"for (int64_t {i} = u; {i} < w; {i}++) {{")
        self.depth += 1
        return names

    def next_row(self, stage: Stage, inner: Axis) -> list[int]:
        """The parameters of which this stage fetches the next row, by their positions.

        The first loop over a row waits for memory, the later ones for the processor, unless what
        the first will read next is on its way meanwhile.
        """
        loops = [s for s in self.running if s.loop]
        if self.whole or len(loops) < 2 or stage is not loops[1]:
            return []
        rows, params = self.rows[-1], self.kernel.params
        read = {s.param for s in loops[0].statements if isinstance(s, Load)}
        return [
            k
            for k, p in enumerate(params)
            if p in read and not p.counted and rows.strides[k] and inner.strides[k] == 1
        ]

    def fetch(self, params: list[int]) -> None:
        """Asks for a chunk of the next row. An address past the end is not an error."""
        for k in params:
            p, step = self.kernel.params[k], self.stride(self.rows[-1], k)
            elements = LINE // BY_NAME[p.dtype].itemsize
            self.line(f"for (int64_t j = c; j < e; j += {elements})")
            self.line(f"    __builtin_prefetch({p.name}r + {step} + j);")
