"""Resizing of images and of signals: `interpolate`.

    interpolate([[[1., 3.]]], size=4)                   1 1 3 3
    interpolate([[[1., 3.]]], size=4, mode="linear")    1 1.5 2.5 3

One dimension after the other is resampled, the last one first: every mode is a separable kernel.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from lazyt.dispatch import data_node, scalar_name, tagged, wrap
from lazyt.ir.dtypes import FLOATING, DType, float32, int64, uint8
from lazyt.ir.node import LOCAL, Node
from lazyt.ir.ops_elementwise import cast, clamp_min, minimum, round_
from lazyt.ir.ops_index import index
from lazyt.ir.ops_resample import resample
from lazyt.tensor import Tensor
from lazyt.warned import warn

from .common import tensor_node
from .pooling import adaptive_avg_pool1d, adaptive_avg_pool2d, adaptive_avg_pool3d
from .taps import output_extent, taps

_CORNERS = (
    "align_corners option can only be set with the interpolating modes: linear | bilinear | "
    "bicubic | trilinear"
)
_RANKS = (
    "Input Error: Only 3D, 4D and 5D input Tensors supported (got {}D) for the modes: nearest | "
    "linear | bilinear | bicubic | trilinear | lanczos | area | nearest-exact (got {})"
)
_WORDS = {
    True: ("output", "output size of", "output size in (o1, o2, ...,oK)"),
    False: ("scale_factor", "scale_factor of shape", "scale_factor in (s1, s2, ...,sK)"),
}
# Modes without corners; and those of one rank: their kernel along an axis, and the rank.
_PLAIN = ("nearest", "nearest-exact", "area")
_OF_RANK = {
    "linear": ("linear", 3),
    "bilinear": ("linear", 4),
    "trilinear": ("linear", 5),
    "bicubic": ("cubic", 4),
    "lanczos": ("lanczos", 4),
}
_AREA: dict[int, Callable[..., Tensor]] = {
    3: adaptive_avg_pool1d,
    4: adaptive_avg_pool2d,
    5: adaptive_avg_pool3d,
}


def _sizes(
    shape: tuple[int, ...], size: Any, scale_factor: Any
) -> tuple[list[int] | None, list[float] | None]:
    """What was asked for, an entry a dimension: sizes or scales. Errors: those of PyTorch."""
    rank = len(shape) - 2
    if size is not None and scale_factor is not None:
        raise ValueError("only one of size or scale_factor should be defined")
    if size is None and scale_factor is None:
        raise ValueError("either size or scale_factor should be defined")
    given = size if size is not None else scale_factor
    if not isinstance(given, (tuple, list)):
        listed = [given] * rank
    elif len(given) == rank:
        listed = list(given)
    else:
        what, got, form = _WORDS[size is not None]
        raise ValueError(
            f"Input and {what} must have the same number of spatial dimensions, but got input with "
            f"spatial dimensions of {list(shape[2:])} and {got} {given}. Please provide input "
            f"tensor in (N, C, d1, d2, ...,dK) format and {form} format."
        )
    if size is None:
        return None, listed
    if isinstance(size, (tuple, list)) and not all(_is_integer(n) for n in size):
        raise TypeError(
            "expected size to be one of int or Tuple[int] or Tuple[int, int] or Tuple[int, int, "
            f"int], but got size with types {[type(n) for n in size]}"
        )
    return [_whole(n, rank) for n in listed], None


def _is_integer(n: Any) -> bool:
    return isinstance(n, (int, np.integer)) or (
        isinstance(n, Tensor) and not n.dtype.is_floating_point
    )


def _whole(n: Any, rank: int) -> int:
    if isinstance(n, float):
        raise TypeError(
            f"upsample_nearest{rank}d() received an invalid combination of arguments - got "
            "(Tensor, list, NoneType), but expected one of:"
        )
    return int(n)


def interpolate(
    input: Tensor,
    size: Any = None,
    scale_factor: Any = None,
    mode: str = "nearest",
    align_corners: bool | None = None,
    recompute_scale_factor: bool | None = None,
    antialias: bool = False,
) -> Tensor:
    """input (N, C, *S) with 1 to 3 spatial dimensions resized to `size`, or by `scale_factor`.

    mode: nearest, nearest-exact or area for any rank, linear for (N, C, L), bilinear, bicubic or
        lanczos for (N, C, H, W), trilinear for (N, C, D, H, W).
    align_corners: the centres of the corner elements stay where they are, else the outer edges.
    recompute_scale_factor: positions follow from the extents, not from the given factor.
    antialias: kernels grow with the factor when images shrink (bilinear, bicubic, lanczos).
    Errors: ValueError, NotImplementedError, RuntimeError in PyTorch's words.
    """
    if mode in _PLAIN and align_corners is not None:
        raise ValueError(_CORNERS)
    corners = bool(align_corners)
    rank = input.dim()
    shape = tuple(input.shape)
    sizes, scales = _sizes(shape, size, scale_factor)
    if recompute_scale_factor and sizes is not None:
        raise ValueError("recompute_scale_factor is not meaningful with an explicit size.")
    if scales is not None:
        sizes = [output_extent(n, s) for n, s in zip(shape[2:], scales)]
        if recompute_scale_factor:
            scales = None
    if antialias and (mode not in ("bilinear", "bicubic", "lanczos") or rank != 4):
        raise ValueError(
            "Anti-alias option is restricted to bilinear, bicubic, and lanczos modes and requires "
            "a 4-D tensor as input"
        )
    kernel, own = _OF_RANK.get(mode, (mode, rank))
    if rank not in _AREA or (mode not in _PLAIN and (mode not in _OF_RANK or rank != own)):
        if rank in _AREA and mode.endswith("linear"):
            raise NotImplementedError(f"Got {rank}D input, but {mode} mode needs {own}D input")
        raise NotImplementedError(_RANKS.format(rank, mode))
    if mode == "area":
        return _AREA[rank](input, sizes)
    if mode == "lanczos":
        if corners:
            raise ValueError("Lanczos mode does not support align_corners=True")
        if not antialias:
            raise ValueError("Lanczos mode requires antialias=True")
    assert sizes is not None
    x = tensor_node(input, "interpolate")
    _check_sizes(shape, sizes)
    _check_dtype(x, mode, rank, antialias)
    name = "".join(p.title() for p in mode.split("-")) + f"{rank - 2}D" + "Aa" * antialias
    factors: list[float | None] = [*scales] if scales else [None] * (rank - 2)
    y = _resized(x, kernel, sizes, factors, corners, antialias)
    return wrap(tagged(y, f"Upsample{name}", x, saves=False))


def _constant(array: np.ndarray, dtype: DType, like: Node) -> Node:
    """A table, which others share, as a node of its own."""
    return data_node(array.copy(), dtype, like.type.device)


def _resized(
    x: Node, kernel: str, sizes: list[int], scales: Any, corners: bool, antialias: bool
) -> Node:
    dtype = x.type.dtype
    # Without a gradient the nearest elements are looked up; else they are sums of one.
    picks = kernel.startswith("nearest") and not (x.grad and LOCAL.grad)
    real = dtype.compute if dtype.category == FLOATING else float32
    y = x if picks else cast(x, real)
    for i in reversed(range(len(sizes))):
        axis, extent = i + 2, x.type.shape[i + 2]
        places, weights, back, back_weights = taps(
            kernel, extent, sizes[i], scales[i], corners, antialias, real
        )
        if picks:
            y = index(y, _constant(places[0], int64, x), arg=((axis,),))
            continue
        there = _constant(places, int64, x), _constant(weights, real, x)
        y = resample(
            y, *there, _constant(back, int64, x), _constant(back_weights, real, x), arg=(axis,)
        )
    if dtype is uint8 and not picks:
        y = minimum(clamp_min(round_(y), 0.0), 255.0)
    return cast(y, dtype)


def _check_sizes(shape: tuple[int, ...], sizes: list[int]) -> None:
    before, after = shape[2:], tuple(sizes)
    if min(before) <= 0 or min(after) <= 0:
        axes = "DHW"[-len(sizes) :]
        have, want = (
            ", ".join(f"{a}: {n}" for a, n in zip(axes, extents)) for extents in (before, after)
        )
        joint = " and" if len(sizes) == 1 else ""
        raise RuntimeError(
            f"Input and output sizes should be greater than 0, but got input ({have}){joint} "
            f"output ({want})"
        )
    if shape[1] == 0:
        raise RuntimeError(
            f"Non-empty {len(shape)}D data tensor expected but got a tensor with sizes "
            f"{list(shape)}"
        )


def _check_dtype(x: Node, mode: str, rank: int, antialias: bool) -> None:
    dtype = x.type.dtype
    if dtype.category == FLOATING or (dtype is uint8 and mode not in ("linear", "trilinear")):
        return
    if antialias:
        kernel = "compute_index_ranges_weights"
    elif mode == "bilinear" or (mode.startswith("nearest") and rank == 4):
        kernel = f"upsample_{mode.split('-')[0]}2d_channels_last"
    else:
        kinds = {"nearest": "nearest", "nearest-exact": "nearest", "bicubic": "cubic"}
        kernel = f"compute_indices_weights_{kinds.get(mode, 'linear')}"
    raise NotImplementedError(f"\"{kernel}\" not implemented for '{scalar_name(dtype)}'")


_OLD = "`nn.functional.{}` is deprecated. Use `nn.functional.interpolate` instead."


def upsample(
    input: Any,
    size: Any = None,
    scale_factor: Any = None,
    mode: Any = "nearest",
    align_corners: Any = None,
) -> Tensor:
    """`interpolate` under its old name."""
    warn(_OLD.format("upsample"))
    return interpolate(input, size, scale_factor, mode, align_corners)


def upsample_nearest(input: Any, size: Any = None, scale_factor: Any = None) -> Tensor:
    """`interpolate` with mode nearest, under its old name."""
    warn(_OLD.format("upsample_nearest"))
    return interpolate(input, size, scale_factor, mode="nearest")


def upsample_bilinear(input: Any, size: Any = None, scale_factor: Any = None) -> Tensor:
    """`interpolate` with mode bilinear and aligned corners, under its old name."""
    warn(_OLD.format("upsample_bilinear"))
    return interpolate(input, size, scale_factor, mode="bilinear", align_corners=True)
