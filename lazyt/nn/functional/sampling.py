"""Images and volumes read at places that are numbers themselves: `grid_sample`, `affine_grid`.

    theta = [[[1., 0., 0.], [0., 1., 0.]]]                 the identity
    grid_sample(image, affine_grid(theta, image.shape))    the image itself

A place has coordinates from -1 to 1, the last dimension's first (x, y, z), as Jaderberg et al. 2015
have them. Positions and borders are those of PyTorch's kernels (ATen/native/GridSampler.h).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import Any

import numpy as np

import lazyt
from lazyt.dispatch import data_node, scalar_name, tagged, wrap
from lazyt.ir.dtypes import FLOATING, int64
from lazyt.ir.node import Node
from lazyt.ir.ops_elementwise import (
    abs_,
    add,
    cast,
    div,
    floor,
    fmod,
    ge,
    le,
    logical_and,
    lt,
    mul,
    remainder,
    round_,
    sub,
    where,
)
from lazyt.ir.ops_nn import row_pick
from lazyt.ir.ops_shape import copy, narrow, permute, reshape
from lazyt.state import node_of
from lazyt.tensor import Tensor
from lazyt.warned import warn

from .common import in_compute_dtype, tensor_node

_DEFAULT = (
    "Default grid_sample and affine_grid behavior has changed to align_corners=False since 1.3.0. "
    "Please specify align_corners=True if the old behavior is desired. See the documentation of "
    "grid_sample for details."
)
_UNIT = (
    "Since version 1.3.0, affine_grid behavior has changed for unit-size grids when "
    "align_corners=True. This is not an intended use case of affine_grid. See the documentation of "
    "affine_grid for details."
)

# --- where ----------------------------------------------------------------------------------------


def _position(place: Node, extent: int, corners: bool) -> Node:
    """A coordinate of -1 to 1 as a position among `extent` elements."""
    if corners:
        return mul(div(add(place, 1.0), 2.0), float(extent - 1))
    return div(sub(mul(add(place, 1.0), float(extent)), 1.0), 2.0)


def _clipped(at: Node, extent: int, corners: bool) -> Node:
    """The nearest position inside; no gradient flows at and beyond the ends."""
    last = float(extent - 1)
    return where(le(at, 0.0), 0.0, where(ge(at, last), last, at))


def _reflected(at: Node, extent: int, corners: bool) -> Node:
    """The position after mirrors at both ends: the outer elements' centres, or their edges."""
    low, high = (0.0, float(extent - 1)) if corners else (-0.5, extent - 0.5)
    span = high - low
    if span == 0:
        return mul(at, 0.0)
    away = abs_(sub(at, low))
    rest = fmod(away, span)
    even = lt(remainder(floor(div(away, span)), 2.0), 0.5)
    inside = where(even, add(rest, low), sub(high, rest))
    return _clipped(inside, extent, corners)


_BORDERS: dict[str, Callable[[Node, int, bool], Node]] = {
    "zeros": lambda at, extent, corners: at,
    "border": _clipped,
    "reflection": _reflected,
}


# --- what stands there ----------------------------------------------------------------------------


class _Image:
    """Elements of (N, C, *S) by their positions, all channels of one beside each other."""

    def __init__(self, x: Node):
        self.spatial = x.type.shape[2:]
        rows, channels, self.count = *x.type.shape[:2], math.prod(self.spatial)
        last = permute(x, (0, *range(2, len(x.type.shape)), 1))
        self.table = copy(reshape(last, (rows * self.count, channels)))
        self.starts = data_node(np.arange(rows)[:, None] * self.count, int64, x.type.device)

    def at(self, positions: list[Node]) -> Node:
        """positions: (N, L) whole numbers for each spatial dimension. Result: (N, L, C), 0
        outside."""
        inside, place = None, None
        for at, extent in zip(positions, self.spatial):
            held = logical_and(ge(at, 0.0), le(at, float(extent - 1)))
            inside = held if inside is None else logical_and(inside, held)
            step = cast(where(held, at, 0.0), int64)
            place = step if place is None else add(mul(place, extent), step)
        assert inside is not None and place is not None
        picked = row_pick(self.table, add(place, self.starts), arg=(None,))
        return where(reshape(inside, (*inside.type.shape, 1)), picked, 0.0)


def _weighted(value: Node, weight: Node) -> Node:
    return mul(value, reshape(weight, (*weight.type.shape, 1)))


def _sum(parts: list[Node]) -> Node:
    total = parts[0]
    for part in parts[1:]:
        total = add(total, part)
    return total


def _linear(image: _Image, at: list[Node], border: Any, corners: bool) -> Node:
    at = [border(p, n, corners) for p, n in zip(at, image.spatial)]
    low = [floor(p) for p in at]
    parts = []
    for sides in itertools.product((0, 1), repeat=len(at)):
        weight = None
        for p, below, side in zip(at, low, sides):
            share = sub(p, below) if side else sub(add(below, 1.0), p)
            weight = share if weight is None else mul(weight, share)
        assert weight is not None
        corner = [add(below, 1.0) if side else below for below, side in zip(low, sides)]
        parts.append(_weighted(image.at(corner), weight))
    return _sum(parts)


def _nearest(image: _Image, at: list[Node], border: Any, corners: bool) -> Node:
    return image.at([round_(border(p, n, corners)) for p, n in zip(at, image.spatial)])


def _near(t: Node) -> Node:
    return add(mul(mul(sub(mul(t, 1.25), 2.25), t), t), 1.0)


def _far(t: Node) -> Node:
    return add(mul(sub(mul(add(mul(t, -0.75), 3.75), t), 6.0), t), 3.0)


def _cubic(image: _Image, at: list[Node], border: Any, corners: bool) -> Node:
    """The kernel of Keys 1981 with a = -0.75 over four by four elements."""
    low = [floor(p) for p in at]
    shares = []
    for p, below in zip(at, low):
        t = sub(p, below)
        shares.append([_far(add(t, 1.0)), _near(t), _near(sub(1.0, t)), _far(sub(2.0, t))])
    rows = []
    for i in range(4):
        parts = []
        for j in range(4):
            corner = [add(below, float(k - 1)) for below, k in zip(low, (i, j))]
            corner = [border(p, n, corners) for p, n in zip(corner, image.spatial)]
            parts.append(_weighted(image.at(corner), shares[1][j]))
        rows.append(_weighted(_sum(parts), shares[0][i]))
    return _sum(rows)


_MODES: dict[str, Callable[[_Image, list[Node], Any, bool], Node]] = {
    "bilinear": _linear,
    "nearest": _nearest,
    "bicubic": _cubic,
}


def _check_grid(x: Node, grid: Node, mode: str) -> None:
    shape, own = x.type.shape, grid.type.shape
    if x.type.dtype is not grid.type.dtype:
        raise RuntimeError(
            f"expected scalar type {scalar_name(x.type.dtype)} but found "
            f"{scalar_name(grid.type.dtype)}"
        )
    sizes = f"input with sizes {list(shape)} and grid with sizes {list(own)}"
    if shape[:1] != own[:1]:
        raise RuntimeError(
            f"grid_sampler(): expected grid and input to have same batch size, but got {sizes}"
        )
    if own[-1] != len(shape) - 2:
        raise RuntimeError(
            f"grid_sampler(): expected grid to have size {len(shape) - 2} in last dimension, but "
            f"got grid with sizes {list(own)}"
        )
    for axis in range(2, len(shape)):
        if shape[axis] == 0:
            raise RuntimeError(
                "grid_sampler(): expected input to have non-empty spatial dimensions, but input "
                f"has sizes {list(shape)} with dimension {axis} being empty"
            )
    if len(shape) not in (4, 5) or len(own) != len(shape):
        rank = 4 if len(shape) not in (4, 5) or len(shape) == 4 else 5
        raise RuntimeError(
            f"grid_sampler(): expected {rank}D input and grid with same number of dimensions, but "
            f"got {sizes}"
        )
    if len(shape) == 5 and mode == "bicubic":
        raise RuntimeError("grid_sampler(): bicubic interpolation only supports 4D input")
    if x.type.dtype.category != FLOATING:
        raise NotImplementedError(
            f'"grid_sampler_{len(shape) - 2}d_cpu_kernel_impl" not implemented for '
            f"'{scalar_name(x.type.dtype)}'"
        )


def grid_sample(
    input: Tensor,
    grid: Tensor,
    mode: str = "bilinear",
    padding_mode: str = "zeros",
    align_corners: bool | None = None,
) -> Tensor:
    """input (N, C, H, W) at the places of grid (N, OH, OW, 2): (N, C, OH, OW); or of volumes.

    mode: bilinear, nearest, or for images bicubic. padding_mode: what stands outside, "zeros",
    "border" (the nearest element) or "reflection". align_corners: -1 and 1 are the centres of the
    corner elements, else their outer edges. Errors: ValueError, RuntimeError in PyTorch's words.
    """
    if mode not in _MODES:
        raise ValueError(
            "nn.functional.grid_sample(): expected mode to be 'bilinear', 'nearest' or 'bicubic', "
            f"but got: '{mode}'"
        )
    if padding_mode not in _BORDERS:
        raise ValueError(
            "nn.functional.grid_sample(): expected padding_mode to be 'zeros', 'border', or "
            f"'reflection', but got: '{padding_mode}'"
        )
    if align_corners is None:
        warn(_DEFAULT)
    x = tensor_node(input, "grid_sampler")
    places = tensor_node(grid, "grid_sampler", "grid", 2)
    _check_grid(x, places, mode)
    corners = bool(align_corners)
    out = places.type.shape[1:-1]
    rank = len(out)

    def formula(x: Node, places: Node) -> Node:
        rows, count = x.type.shape[0], math.prod(out)
        at = []
        for i in range(rank):  # the grid's first number belongs to the last dimension
            own = reshape(narrow(places, rank + 1, rank - 1 - i, 1), (rows, count))
            at.append(_position(own, x.type.shape[2 + i], corners))
        y = _MODES[mode](_Image(x), at, _BORDERS[padding_mode], corners)
        return copy(reshape(permute(y, (0, 2, 1)), (rows, x.type.shape[1], *out)))

    y = in_compute_dtype(formula, x, places)
    return wrap(tagged(y, f"GridSampler{rank}D", x, places, keeps=(x, places)))


def affine_grid(theta: Tensor, size: Any, align_corners: bool | None = None) -> Tensor:
    """The places that an affine map takes each element of an image to, for `grid_sample`.

    theta: (N, 2, 3) for a size (N, C, H, W): result (N, H, W, 2); or (N, 3, 4) for a volume.
    Errors: ValueError, NotImplementedError, RuntimeError in PyTorch's words.
    """
    if align_corners is None:
        warn(_DEFAULT)
    if not theta.is_floating_point():
        raise ValueError(f"Expected theta to have floating point type, but got {theta.dtype}")
    rank = len(size) - 2
    if rank not in (2, 3):
        raise NotImplementedError(
            "affine_grid only supports 4D and 5D sizes, for 2D and 3D affine transforms, "
            f"respectively. Got size {size}."
        )
    if theta.dim() != 3 or tuple(theta.shape)[1:] != (rank, rank + 1):
        raise ValueError(
            f"Expected a batch of {rank}D affine matrices of shape Nx{rank}x{rank + 1} for size "
            f"{size}. Got {theta.shape}."
        )
    spatial = [int(n) for n in size[2:]]
    if align_corners and min(spatial) == 1:
        warn(_UNIT)
    elif min(size) <= 0:
        raise ValueError(f"Expected non-zero, positive output size. Got {size}")
    base = lazyt.ones((*spatial, rank + 1), dtype=theta.dtype, device=theta.device)
    for i, n in enumerate(spatial):
        along = _centres(n, bool(align_corners), theta)
        base[..., rank - 1 - i] = along.view((-1, *(1,) * (rank - 1 - i)))
    rows = base.view(1, -1, rank + 1).expand(int(size[0]), -1, -1)
    grid = rows.bmm(theta.transpose(1, 2)).view(int(size[0]), *spatial, rank)
    return wrap(tagged(node_of(grid), "AffineGridGenerator", node_of(theta), saves=False))


def _centres(count: int, corners: bool, like: Tensor) -> Tensor:
    """The coordinates of `count` elements along a dimension."""
    if count <= 1:
        return lazyt.zeros(count, dtype=like.dtype, device=like.device)
    along = lazyt.linspace(-1, 1, count, dtype=like.dtype, device=like.device)
    return along if corners else along * (count - 1) / count
