"""Vector loops in C over what is inside of the arrays that they read, with the edges beside them.

    pad(x, 0), one element on either side       y[0] and y[4] may be outside of x of 3 elements
        begin, end = 1, 4                       where all picks are inside along the loop
        for j in [0, begin) and [end, 5)        one element at a time: inside ? x[j - 1] : 0
        for j in [begin, end)                   the vector loop: v0r[j], with v0r = x - 1

A processor loads neighbours at once only if it may load all of them. So what is asked along the
vector loop is asked at its edges alone. Along the loops around it the answer is the same for all
of the vector loop: if it is outside there, v0r is the one value that stands for it, its stride 0.
"""

from __future__ import annotations

from typing import Any

from .cstyle import C_TYPES, HALVES
from .loops import Load, Param, Pick
from .nest_writer import Axis, NestWriter

SHORT = 4  # elements along an axis that are no vector loop where another axis is longer


def longest_inside(rows: list[Axis]) -> list[Axis]:
    """The loops of a map, the longest inside where the innermost is very short; not the outermost,
    which is shared out."""
    *_, inner = rows
    longest = max(rows[-2:0:-1], key=lambda axis: axis.extent, default=inner)
    if inner.extent > SHORT or longest.extent <= inner.extent:
        return rows
    return [axis for axis in rows if axis is not longest] + [longest]


class SplitLoops(NestWriter):
    """Writes picks that may be outside, and the edges of loops.

    A point (c.Point) has an axis `inner`, a `suffix` of pointers and whether it is `clear`: between
    the edges.
    """

    def map_loop(self, at: Any, first: str, last: str) -> None:
        """A loop over the points [first, last) of `at`."""
        raise NotImplementedError

    def masked(self) -> list[Pick]:
        """The picks that have a number for what is outside; others are choices everywhere."""
        return [s for s in self.kernel.statements() if isinstance(s, Pick) and _is_masked(s)]

    def edges(self, at: Any, first: str, last: str) -> tuple[str, str]:
        """Writes the loops over the edges of [first, last), where there are such; returns what is
        left between them."""
        ranges: dict[str, tuple[str, str]] = {}
        for s in self.masked():
            for k in range(len(s.indices)):
                if step := self._along(s, k, at):
                    extent = self._reach(s, k, "extent", s.param.reach[k].extent)
                    ranges.setdefault(self._begin(s, k, at), (step, extent))
        if not ranges:
            return first, last
        self.line(f"int64_t begin = {first}, end = {last};")
        for place, (step, extent) in ranges.items():
            low, high = f"-({place})", f"{extent} - ({place})"
            if step != "1":
                low, high = (f"({text} + {step} - 1) / {step}" for text in (low, high))
            self.line(f"if ({low} > begin) begin = {low};")
            self.line(f"if ({high} < end) end = {high};")
        self.line(f"if (begin > {last}) begin = {last};")
        self.line("if (end < begin) end = begin;")
        self.line("for (int edge = 0; edge < 2; edge++) {")
        self.depth += 1
        self.line(f"const int64_t from = edge ? end : {first}, to = edge ? {last} : begin;")
        self.map_loop(at, "from", "to")
        self.close()
        return "begin", "end"

    def row_pointers(self, at: Any) -> None:
        """Where each pick reads along the vector loop, and by which stride."""
        for s in self.masked():
            kind = C_TYPES[s.param.dtype]
            inside, places, strides = [], [f"{s.param.name}{at.suffix}"], []
            if own := self.along(s.param, at.inner):
                strides.append(own)
            for k in range(len(s.indices)):
                self.line(f"const int64_t {s.name}i{k} = {self._begin(s, k, at)};")
                places.append(self.step(s, k, f"{s.name}i{k}"))
                if step := self._along(s, k, at):
                    strides.append(self.step(s, k, step))
                else:
                    inside.append(self.is_inside(s, k))
            row, stride = " + ".join(places), " + ".join(strides) or "0"
            if inside:
                self.line(f"const {kind} {s.name}out = {self.operand(s.outside, s.param.dtype)};")
                self.line(f"const int {s.name}in = {' && '.join(inside)};")
                row, stride = f"{s.name}in ? {row} : &{s.name}out", f"{s.name}in ? {stride} : 0"
            self.line(f"const {kind} *{s.name}r = {row};")
            self.line(f"const int64_t {s.name}s = {stride};")

    def pick_inside(self, s: Pick, at: Any) -> None:
        if at.clear and _is_masked(s):
            self.define(s.name, s.param.dtype, f"{s.name}r[j * {s.name}s]", at)
        else:
            super().pick_inside(s, at)

    def along(self, param: Param, axis: Axis) -> str:
        """The stride of a parameter along a loop, as a text; none where it stays."""
        number = self.kernel.params.index(param)
        stride = axis.strides[number]
        return "" if stride == 0 else "1" if stride == 1 else self.stride(axis, number)

    def _counted(self, s: Pick, k: int) -> Param:
        """The parameter that counts the places along axis `k` of the reach."""
        loads = (t for t in self.kernel.statements() if isinstance(t, Load))
        return next(t.param for t in loads if t.name == s.indices[k])

    def _along(self, s: Pick, k: int, at: Any) -> str:
        """How far the place along axis `k` goes in a step of the loop."""
        return self.along(self._counted(s, k), at.inner)

    def _begin(self, s: Pick, k: int, at: Any) -> str:
        """The place along axis `k` where the loop begins."""
        return f"{self._counted(s, k).name}{at.suffix}{self.shift(s, k)}"


def _is_masked(s: Pick) -> bool:
    number = s.outside is not None and not isinstance(s.outside, str)
    return number and s.param.dtype not in HALVES
