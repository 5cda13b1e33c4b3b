"""Writes into views as functions: a copy of the input in which one view holds other values.

    y = select_scatter(x, src, 0, 1)        # y is x, but y[1] is src

Each is one operation: the view's place is written into a copy of the whole.
"""

from __future__ import annotations

from lazyt.ir.ops_elementwise import cast
from lazyt.ir.ops_shape import strided_update_
from lazyt.ir.types import contiguous_strides

from ..dispatch import EXACT, tagged
from ..layout import given
from ..registry import public
from ..state import node_of
from ..tensor import Tensor, wrap_dim
from .indices import tensor
from .keys import read_slice


def _written(
    input: Tensor,
    src: Tensor,
    name: str,
    offset: int,
    sizes: tuple,
    strides: tuple,
    out: Tensor | None = None,
) -> Tensor:
    node, value = node_of(input), node_of(tensor(src, name, "src", 2))
    if value.type.shape != sizes:
        raise RuntimeError(
            "expected src to have a size equal to the slice of self. src size = "
            f"{list(value.type.shape)}, slice size = {list(sizes)}"
        )
    place = offset if value.type.numel else 0
    value = cast(value, node.type.dtype)
    result = strided_update_(node, value, place, arg=(sizes, strides))
    title = "".join(part.title() for part in name.split("_"))
    made = tagged(result, title, node, value, saves=False)
    return given(made, out, name, input, exact=EXACT)


def select_scatter(input: Tensor, src: Tensor, dim: int, index: int) -> Tensor:
    """`input` with one position of a dimension replaced by `src`."""
    shape = node_of(input).type.shape
    axis = wrap_dim(dim, len(shape))
    extent, own = shape[axis], contiguous_strides(shape)
    if not -extent <= index < extent:
        raise IndexError(
            f"select(): index {index} out of range for tensor of size {list(shape)} at dimension "
            f"{axis}"
        )
    start = (index + extent if index < 0 else index) * own[axis]
    sizes, strides = shape[:axis] + shape[axis + 1 :], own[:axis] + own[axis + 1 :]
    return _written(input, src, "select_scatter", start, sizes, strides)


def slice_scatter(
    input: Tensor,
    src: Tensor,
    dim: int = 0,
    start: int | None = None,
    end: int | None = None,
    step: int = 1,
    *,
    out: Tensor | None = None,
) -> Tensor:
    """`input` with a slice of a dimension replaced by `src`."""
    shape = node_of(input).type.shape
    axis = wrap_dim(dim, len(shape))
    own = contiguous_strides(shape)
    first, size, by = read_slice(slice(start, end, step), shape[axis])
    sizes = shape[:axis] + (size,) + shape[axis + 1 :]
    strides = own[:axis] + (own[axis] * by,) + own[axis + 1 :]
    return _written(input, src, "slice_scatter", first * own[axis], sizes, strides, out)


def diagonal_scatter(
    input: Tensor, src: Tensor, offset: int = 0, dim1: int = 0, dim2: int = 1
) -> Tensor:
    """`input` with a diagonal of two dimensions replaced by `src`."""
    shape = node_of(input).type.shape
    a, b = wrap_dim(dim1, len(shape)), wrap_dim(dim2, len(shape))
    own = contiguous_strides(shape)
    if offset >= 0:
        size, start = max(min(shape[a], shape[b] - offset), 0), offset * own[b]
    else:
        size, start = max(min(shape[a] + offset, shape[b]), 0), -offset * own[a]
    rest = [i for i in range(len(shape)) if i not in (a, b)]
    sizes = tuple(shape[i] for i in rest) + (size,)
    strides = tuple(own[i] for i in rest) + (own[a] + own[b],)
    return _written(input, src, "diagonal_scatter", start, sizes, strides)


for _function in (select_scatter, slice_scatter, diagonal_scatter):
    public(_function)
