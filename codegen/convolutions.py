"""Convolutions as the driver computes them: their geometry, and how the operands lie.

    conv(x (8, 3, 32, 32), w (16, 3, 3, 3))   8 samples; 16 maps of 32 * 32 positions, each the
                                              product of 27 weights and what they meet

All three kinds are about an *image* (N, C, *S), *weights* (O, C / groups, *K) and *maps*
(N, O, *out); one of them is computed from the other two. Fewer than three spatial dimensions are
three with extents of 1 in front. `runtime/driver/convolution.c` runs what is described here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import prod

from lazyt.ir.graph import Value
from lazyt.ir.types import contiguous_strides

IMAGE, WEIGHTS, MAPS = "image", "weights", "maps"
# Which of the three an operation reads, in order, and which it writes.
ROLES: dict[str, tuple[str, str, str]] = {
    "conv": (IMAGE, WEIGHTS, MAPS),
    "conv_input": (MAPS, WEIGHTS, IMAGE),
    "conv_weight": (MAPS, IMAGE, WEIGHTS),
}
SPATIAL = 3

Extents = tuple[int, ...]
Strides = Callable[[Value], Extents]


@dataclass(frozen=True)
class Convolution:
    """One convolution; strides in elements.

    kind: the operation. channels, maps: of one group. image, out: the strides of samples, channels
    (maps) and spatial dimensions. weights: the strides of groups and of maps, whose own elements
    lie in a row.
    """

    kind: str
    dtype: str
    samples: int
    groups: int
    channels: int
    maps: int
    spatial: Extents
    positions: Extents
    kernel: Extents
    stride: Extents
    padding: Extents
    dilation: Extents
    image: Extents
    out: Extents
    weights: tuple[int, int]

    @property
    def points(self) -> int:
        """Multiplications."""
        maps = self.samples, self.groups, self.maps, *self.positions
        return prod(maps) * self.channels * prod(self.kernel)


def convolution(v: Value, strides: Strides) -> Convolution | None:
    """How the driver computes a `conv`, `conv_input` or `conv_weight`, or None where it cannot.

    strides: those of an operand as it will be handed over.
    """
    roles = ROLES.get(v.op.name)
    dtype = v.type.dtype.name if roles else ""
    if roles is None or dtype not in ("float32", "float64"):
        return None
    types = {role: s.type for role, s in zip(roles, (*v.src, v))}
    if not all(t.numel for t in types.values()):
        return None
    lies = {role: strides(s) for role, s in zip(roles, v.src)}
    lies[roles[2]] = contiguous_strides(v.type.shape)
    image, weights, maps = (types[role].shape for role in (IMAGE, WEIGHTS, MAPS))
    *geometry, groups = v.arg[-4:]
    rows = prod(weights[1:])
    row = lies[WEIGHTS][0] if weights[0] > 1 else rows
    steps = zip(weights[1:], lies[WEIGHTS][1:], contiguous_strides(weights[1:]))
    if row < rows or any(have != want for n, have, want in steps if n > 1):
        return None
    each = weights[0] // groups
    three = lambda extents, fill: (fill,) * (SPATIAL - len(extents)) + tuple(extents)
    places = {role: (*lies[role][:2], *three(lies[role][2:], 0)) for role in (IMAGE, MAPS)}
    stride, padding, dilation = geometry
    return Convolution(
        v.op.name,
        dtype,
        image[0],
        groups,
        weights[1],
        each,
        three(image[2:], 1),
        three(maps[2:], 1),
        three(weights[2:], 1),
        three(stride, 1),
        three(padding, 0),
        three(dilation, 1),
        places[IMAGE],
        places[MAPS],
        (row * each, row),
    )
