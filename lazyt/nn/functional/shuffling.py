"""Channels moved into space, out of it, and among each other.

pixel_shuffle      (N, 4 C, H, W)  to  (N, C, 2 H, 2 W)   for a factor of 2
pixel_unshuffle    the way back
channel_shuffle    0 1 2 3 4 5  to  0 3 1 4 2 5           for two groups
"""

from __future__ import annotations

from lazyt.dispatch import tagged, wrap
from lazyt.functions.dims import owned
from lazyt.ir.node import Node
from lazyt.ir.ops_shape import copy, permute, reshape
from lazyt.registry import FUNCTIONS
from lazyt.tensor import Tensor

from .common import tensor_node


def _moved(
    x: Node, apart: tuple[int, ...], order: tuple[int, ...], shape: tuple[int, ...], name: str
) -> Tensor:
    """Reshaped apart, permuted, and put together again."""
    y = owned(reshape(permute(reshape(x, apart), order), shape))
    return wrap(tagged(copy(x) if y is x else y, name, x, saves=False))


def _image(x: Node, name: str, factor: int, which: str) -> tuple[tuple[int, ...], int, int, int]:
    """Leading dimensions, channels, height and width of what a shuffle takes."""
    shape = x.type.shape
    if len(shape) < 3:
        raise RuntimeError(
            f"{name} expects input to have at least 3 dimensions, but got input with {len(shape)} "
            "dimension(s)"
        )
    if factor <= 0:
        raise RuntimeError(f"{name} expects a positive {which}, but got {factor}")
    channels, height, width = shape[-3:]
    return shape[:-3], channels, height, width


def pixel_shuffle(input: Tensor, upscale_factor: int) -> Tensor:
    """(*, C r^2, H, W) to (*, C, H r, W r), as Shi et al. 2016. RuntimeError if C r^2 is none."""
    x, r = tensor_node(input, "pixel_shuffle"), upscale_factor
    lead, channels, height, width = _image(x, "pixel_shuffle", r, "upscale_factor")
    if channels % (r * r):
        raise RuntimeError(
            "pixel_shuffle expects its input's 'channel' dimension to be divisible by the square "
            f"of upscale_factor, but input.size(-3)={channels} is not divisible by {r * r}"
        )
    n = len(lead)
    apart = (*lead, channels // (r * r), r, r, height, width)
    order = (*range(n), n, n + 3, n + 1, n + 4, n + 2)
    shape = (*lead, channels // (r * r), height * r, width * r)
    return _moved(x, apart, order, shape, "PixelShuffle")


def pixel_unshuffle(input: Tensor, downscale_factor: int) -> Tensor:
    """(*, C, H r, W r) to (*, C r^2, H, W). RuntimeError for extents that r does not divide."""
    x, r = tensor_node(input, "pixel_unshuffle"), downscale_factor
    lead, channels, height, width = _image(x, "pixel_unshuffle", r, "downscale_factor")
    for what, axis, extent in (("height", -2, height), ("width", -1, width)):
        if extent % r:
            raise RuntimeError(
                f"pixel_unshuffle expects {what} to be divisible by downscale_factor, but "
                f"input.size({axis})={extent} is not divisible by {r}"
            )
    n = len(lead)
    apart = (*lead, channels, height // r, r, width // r, r)
    order = (*range(n), n, n + 2, n + 4, n + 1, n + 3)
    shape = (*lead, channels * r * r, height // r, width // r)
    return _moved(x, apart, order, shape, "PixelUnshuffle")


def channel_shuffle(input: Tensor, groups: int) -> Tensor:
    """The channels of (N, C, *), in groups of C / groups, dealt out in turn (Zhang et al. 2018)."""
    x = tensor_node(input, "channel_shuffle")
    shape = x.type.shape
    if len(shape) <= 2:
        raise RuntimeError(
            f"channel_shuffle expects input with > 2 dims, but got input with sizes {list(shape)}"
        )
    if groups <= 0:
        raise RuntimeError(
            f"Number of groups to divide channels in must be positive. Value of groups:{groups}"
        )
    if shape[1] % groups:
        raise RuntimeError(
            f"Number of channels must be divisible by groups. Got {shape[1]} channels and {groups} "
            "groups."
        )
    apart = (shape[0], groups, shape[1] // groups, *shape[2:])
    order = (0, 2, 1, *range(3, len(apart)))
    return _moved(x, apart, order, shape, "ChannelShuffle")


native_channel_shuffle = channel_shuffle

for _function in (pixel_shuffle, pixel_unshuffle, channel_shuffle):
    FUNCTIONS[_function.__name__] = _function
