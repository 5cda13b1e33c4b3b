"""Windows over the last dimensions of an array, and how they and what they cover are read.

    Windows((6,), (3,), kernel (3,), stride (2,), padding (1,), dilation (1,))
        element     offset 0 of every window: x[-1], x[1], x[3], of which the first is padding
        whole       all three offsets, as an axis of their own
    Rows            the other way round: x[i], counted from the padding, is at (i // 2, i % 2); it
                    lies in the window i // 2, and in the one before, there 2 places further

What lies inside is a view; what may lie outside is an `affine_pick`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from math import prod

from ..dtypes import DType, float32, int32
from ..graph import Value
from ..numerics.pool import footprint
from .build import Build

WRITTEN_OUT = 16  # windows up to this many elements: a nest has room for some hundred operations
FAR_APART = 8  # large windows that begin at least so far apart are reduced along the memory

Extents = tuple[int, ...]


@dataclass(frozen=True)
class Windows:
    """The windows of a pool: one entry a spatial dimension. out: how many there are."""

    spatial: Extents
    out: Extents
    kernel: Extents
    stride: Extents
    padding: Extents
    dilation: Extents

    @property
    def rank(self) -> int:
        return len(self.kernel)

    @property
    def large(self) -> bool:
        return prod(self.kernel) > WRITTEN_OUT

    @property
    def footprint(self) -> Extents:
        """Extents of a window, in whole strides."""
        return footprint(self.kernel, self.stride, self.dilation)

    @property
    def pitch(self) -> Extents:
        """What a step along each dimension adds to a place in the footprint."""
        return pitch_of(self.footprint)

    @property
    def over(self) -> Extents:
        """How many windows may lie over an element, along each dimension."""
        return tuple(f // t for f, t in zip(self.footprint, self.stride))

    def offsets(self) -> Iterator[Extents]:
        """How far the elements of a window are from its first one, row by row."""
        return product(*(range(0, k * d, d) for k, d in zip(self.kernel, self.dilation)))

    def place(self, offset: Extents) -> int:
        """The place of an offset in the footprint."""
        return sum(n * step for n, step in zip(offset, self.pitch))


def pitch_of(extents: Extents) -> Extents:
    """What a step along each axis adds to the number of an element, row by row."""
    return tuple(prod(extents[i + 1 :]) for i in range(len(extents)))


# --- reading --------------------------------------------------------------------------------------


def source(b: Build, x: Value) -> Value:
    """What is read in place of `x`: memory, of 16-bit elements if they were only widened."""
    widened = x.op is not None and x.op.name == "cast" and x.src[0].type.dtype.is_half
    return b.in_memory(x.src[0] if widened and x.type.dtype is float32 else x)


@dataclass(frozen=True)
class Along:
    """How an axis is read: from `start`, by `step`, `extent` times."""

    start: int
    step: int
    extent: int


def read(b: Build, x: Value, ways: list[Along], fill: float, dtype: DType) -> Value:
    """`x` read along its last axes; `fill` where it has no element."""
    lead = x.type.shape[: len(x.type.shape) - len(ways)]
    starts, steps, extents = [0] * len(lead), [1] * len(lead), list(lead)
    shape, complete = list(lead), True
    places: list[tuple] = [(0, ((axis, 1),)) for axis in range(len(lead))]
    for axis, way in enumerate(ways, len(lead)):
        inside = way.start >= 0 and way.start + (way.extent - 1) * way.step < x.type.shape[axis]
        starts.append(way.start if inside else 0)
        steps.append(way.step if inside else 1)
        extents.append(way.extent if inside else x.type.shape[axis])
        places.append((0, ((axis, 1),)) if inside else (way.start, ((axis, way.step),)))
        shape.append(way.extent)
        complete = complete and inside
    if tuple(extents) != x.type.shape:
        arg = (tuple(extents), tuple(steps))
        x = b.op("slice", x, *starts, arg=arg, shape=tuple(extents))
    if not complete:
        x = b.op("affine_pick", x, fill, arg=(tuple(shape), tuple(places)), shape=tuple(shape))
    return b.cast(x, dtype)


def element(b: Build, x: Value, w: Windows, offset: Extents, fill: float, dtype: DType) -> Value:
    """The element at an offset, of every window."""
    ways = [
        Along(at - p, t, o) for at, p, t, o in zip(offset, w.padding, w.stride, w.out, strict=True)
    ]
    return read(b, x, ways, fill, dtype)


def whole_windows(
    b: Build, x: Value, w: Windows, fill: float, dtype: DType
) -> tuple[Value, Extents]:
    """All elements of all windows, and which axes run through a window: the last ones where that is
    along the memory, else the first."""
    rank, lead = w.rank, x.type.shape[: len(x.type.shape) - w.rank]
    last = w.stride[-1] >= FAR_APART or w.out[-1] == 1
    shape = (*lead, *w.out, *w.kernel) if last else (*w.kernel, *lead, *w.out)
    window = len(lead) + rank if last else 0
    before = 0 if last else rank
    axes = tuple(range(window, window + rank))
    moves = [
        (-p, ((before + len(lead) + i, t), (window + i, d)))
        for i, (p, t, d) in enumerate(zip(w.padding, w.stride, w.dilation))
    ]
    whole: list[tuple] = [(0, ((before + i, 1),)) for i in range(len(lead))]
    ends = [(o - 1) * t + (k - 1) * d - p for o, t, k, d, p in _each(w)]
    if not any(w.padding) and all(end < n for end, n in zip(ends, w.spatial)):
        x = b.op("copy", x) if x.op is not None and x.op.view else x
        strides = [0] * len(shape)
        for (_, dims), step in zip([*whole, *moves], pitch_of(x.type.shape)):
            for d, n in dims:
                strides[d] += n * step
        found = b.op("as_strided", x, 0, arg=(shape, tuple(strides)), shape=shape)
    else:
        arg = (shape, (*whole, *moves))
        found = b.op("affine_pick", x, fill, arg=arg, shape=shape)
    return b.cast(found, dtype), axes


def _each(w: Windows) -> Iterator[tuple[int, int, int, int, int]]:
    return zip(w.out, w.stride, w.kernel, w.dilation, w.padding, strict=True)


def counting(b: Build, like: Value, shape: Extents, axis: int, dtype: DType = int32) -> Value:
    """0, 1, 2, … along an axis, for every element of a shape."""
    return b.cast(b.spread(b.along(like, shape, axis), shape), dtype)


def scaled(b: Build, x: Value, factor: int) -> Value:
    """`x` times a number."""
    return x if factor == 1 else b.op("mul", x, factor)


# --- what windows cover ---------------------------------------------------------------------------


@dataclass(frozen=True)
class Rows:
    """Where a gradient is computed: for every dimension an axis of whole strides, from where the
    padding begins, and one along a stride."""

    lead: Extents
    w: Windows

    @property
    def strides(self) -> Extents:
        """How many strides cover the padding and the input."""
        w = self.w
        return tuple(-(-(n + p) // t) for n, p, t in zip(w.spatial, w.padding, w.stride))

    @property
    def shape(self) -> Extents:
        return self.lead + tuple(n for pair in zip(self.strides, self.w.stride) for n in pair)

    def windows(self, b: Build, x: Value) -> Value:
        """One value a window, for every element along a stride."""
        apart = self.lead + tuple(n for o in self.w.out for n in (o, 1))
        wide = self.lead + tuple(n for pair in zip(self.w.out, self.w.stride) for n in pair)
        return b.spread(b.shaped(x, apart), wide)

    def earlier(self, b: Build, x: Value, steps: Extents, fill: float) -> Value:
        """The value of the window so many strides before each element's last one."""
        extents, inner = self.strides, self.w.stride
        ways = [
            way
            for back, n, t in zip(steps, extents, inner)
            for way in (Along(-back, 1, n), Along(0, 1, t))
        ]
        return read(b, self.windows(b, x), ways, fill, x.type.dtype)

    def all_earlier(self, b: Build, x: Value, fill: float) -> Value:
        """The values of all windows that may lie over each element, along axes of their own in
        front."""
        rank, lead = self.w.rank, len(self.lead)
        places: list[tuple] = [(0, ((rank + i, 1),)) for i in range(lead)]
        for i in range(rank):
            axis = rank + lead + 2 * i
            places += [(0, ((axis, 1), (i, -1))), (0, ((axis + 1, 1),))]
        shape = self.w.over + self.shape
        x = self.windows(b, x)
        return b.op("affine_pick", x, fill, arg=(shape, tuple(places)), shape=shape)

    def within(self, b: Build, like: Value, shape: Extents, i: int) -> Value:
        """How far an element is along its stride of dimension `i`, for a shape that ends as
        these rows."""
        return counting(b, like, shape, len(shape) - 2 * self.w.rank + 2 * i + 1)

    def cut(self, b: Build, found: Value) -> Value:
        """What lies in the input of a result over these rows."""
        w, lead = self.w, self.lead
        covered = tuple(n * t for n, t in zip(self.strides, w.stride))
        found = b.shaped(found, lead + covered)
        if covered == w.spatial:
            return found
        starts = (*(0,) * len(lead), *w.padding)
        arg = (lead + w.spatial, (1,) * len(starts))
        return b.op("copy", b.op("slice", found, *starts, arg=arg, shape=lead + w.spatial))
