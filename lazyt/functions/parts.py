"""Views of a part: windows, single positions, splits, diagonals, arbitrary strides."""

from __future__ import annotations

from collections.abc import Callable
from operator import index as as_int
from typing import Any

from lazyt.ir.dtypes import INTEGRAL
from lazyt.ir.node import LOCAL
from lazyt.ir.ops_shape import (
    as_strided_,
    copy,
    part_,
    slice_,
)
from lazyt.ir.types import contiguous_strides

from ..dispatch import deliver, type_name
from ..gradmode import no_grad
from ..registry import FUNCTIONS, also_called
from ..state import check_writable, geometry, node_of, shape_of, touch
from ..tensor import Tensor, attach, wrap_dim
from .indexing import show
from .views import make_view


def slice_view(
    t: Tensor,
    axis: int,
    start: int,
    size: int,
    step: int,
    name: str,
    multi: tuple[int, str] | None = None,
) -> Tensor:
    """A regular window of one dimension."""
    offset, shape, strides = geometry(t)
    starts = [0] * len(shape)
    starts[axis] = start
    steps = tuple(step if i == axis else 1 for i in range(len(shape)))
    sizes = shape[:axis] + (size,) + shape[axis + 1 :]
    place = offset + start * strides[axis] if size else offset
    moved = tuple(k * s for k, s in zip(strides, steps))
    return make_view(t, ((slice_, (sizes, steps), tuple(starts)),), place, moved, name, multi)


def narrow(input: Tensor, dim: int, start: Any, length: int) -> Tensor:
    """`length` elements of one dimension from `start` on."""
    shape = shape_of(input)
    if not shape:
        raise RuntimeError("narrow() cannot be applied to a 0-dim tensor.")
    axis = wrap_dim(dim, len(shape))
    extent = shape[axis]
    if isinstance(start, Tensor):
        if start.dim() or start.dtype.category != INTEGRAL:
            raise RuntimeError("start must be an 0-dim integral Tensor.")
        start = start.item()
    if length < 0:
        raise RuntimeError("narrow(): length must be non-negative.")
    if not -extent <= start <= extent:
        raise IndexError(
            f"start out of range (expected to be in range of [{-extent}, {extent}], but got "
            f"{start})"
        )
    if start < 0:
        start += extent
    if start + length > extent:
        raise RuntimeError(
            f"start ({start}) + length ({length}) exceeds dimension size ({extent})."
        )
    return slice_view(input, axis, start, length, 1, "Slice")


def select(
    input: Tensor, dim: int, index: Any, multi: tuple[int, str] | None = None, name: str = "Select"
) -> Tensor:
    """One position of a dimension, which goes away."""
    offset, shape, strides = geometry(input)
    if not shape:
        raise IndexError("select() cannot be applied to a 0-dim tensor.")
    axis = wrap_dim(dim, len(shape))
    extent = shape[axis]
    index = as_int(index)
    if not -extent <= index < extent:
        raise IndexError(
            f"select(): index {index} out of range for tensor of size {list(shape)} at dimension "
            f"{axis}"
        )
    if index < 0:
        index += extent
    starts = [0] * len(shape)
    starts[axis] = index
    sizes = shape[:axis] + (1,) + shape[axis + 1 :]
    target = shape[:axis] + shape[axis + 1 :]
    steps = ((part_, (sizes, (1,) * len(shape), target), tuple(starts)),)
    place = offset + index * strides[axis]
    return make_view(input, steps, place, strides[:axis] + strides[axis + 1 :], name, multi)


def unbind(input: Tensor, dim: int = 0) -> tuple[Tensor, ...]:
    """Every position of a dimension."""
    offset, shape, strides = geometry(input)
    if not shape:
        raise IndexError("Dimension specified as 0 but tensor has no dimensions")
    axis = wrap_dim(dim, len(shape))
    source = node_of(input)  # raises for a view without a valid history, as reading one does
    before, after = shape[:axis], shape[axis + 1 :]
    arg = ((*before, 1, *after), (1,) * len(shape), before + after)
    type = source.type.with_shape(before + after)
    kept = strides[:axis] + strides[axis + 1 :]
    parts = []
    for i in range(shape[axis]):
        step = part_, arg, (*(0,) * len(before), i, *(0,) * len(after))
        place = offset + i * strides[axis]
        parts.append(show(input, source, step, type, place, kept, "Unbind", (i, "Unbind")))
    return tuple(parts)


def split(input: Tensor, split_size_or_sections: Any, dim: int = 0) -> tuple[Tensor, ...]:
    """Windows of equal size, or of the given sizes, along a dimension."""
    shape = shape_of(input)
    if not shape:
        raise RuntimeError("split expects at least a 1-dimensional tensor")
    axis = wrap_dim(dim, len(shape))
    extent = shape[axis]
    if isinstance(split_size_or_sections, (tuple, list)):
        sizes = [as_int(n) for n in split_size_or_sections]
        name = "SplitWithSizes"
        if any(n < 0 for n in sizes):
            raise RuntimeError(
                "split_with_sizes expects split_sizes have only non-negative entries, but got "
                f"split_sizes={sizes}"
            )
        if sum(sizes) != extent:
            raise RuntimeError(
                "split_with_sizes expects split_sizes to sum exactly to "
                f"{extent} (input tensor's size at dimension {dim}), but got split_sizes={sizes}"
            )
    else:
        size = as_int(split_size_or_sections)
        name = "Split"
        if size < 0:
            raise RuntimeError(
                f"split expects split_size be non-negative, but got split_size={size}"
            )
        if size == 0 and extent:
            raise RuntimeError(
                f"split_size can only be 0 if dimension size is 0, but got dimension size of "
                f"{extent}"
            )
        sizes = [min(size, extent - i) for i in range(0, extent, size)] if extent else [0]
    out, start = [], 0
    for i, n in enumerate(sizes):
        out.append(slice_view(input, axis, start, n, 1, name, (i, name)))
        start += n
    return tuple(out)


def chunk(input: Tensor, chunks: int, dim: int = 0) -> tuple[Tensor, ...]:
    """At most `chunks` windows of equal size (the last may be smaller)."""
    if input.dim() == 0:
        raise RuntimeError("chunk expects at least a 1-dimensional tensor")
    chunks = as_int(chunks)
    if chunks <= 0:
        raise RuntimeError(f"chunk expects `chunks` to be greater than 0, got: {chunks}")
    axis = wrap_dim(dim, input.dim())
    extent = shape_of(input)[axis]
    if extent == 0:
        return split(input, [0] * chunks, axis)
    return split(input, -(-extent // chunks), axis)


def tensor_split(input: Tensor, indices_or_sections: Any, dim: int = 0) -> tuple[Tensor, ...]:
    """Windows between the given positions, or a number of nearly equal ones."""
    axis = wrap_dim(dim, input.dim())
    extent = shape_of(input)[axis]
    if isinstance(indices_or_sections, Tensor):
        indices_or_sections = indices_or_sections.tolist()
    if isinstance(indices_or_sections, int):
        n = indices_or_sections
        if n <= 0:
            raise RuntimeError(f"number of sections must be larger than 0, got {n}")
        base, extra = divmod(extent, n)
        sizes = [base + 1] * extra + [base] * (n - extra)
        ends = [sum(sizes[: i + 1]) for i in range(n - 1)]
    else:
        ends = [int(i) for i in indices_or_sections]
    out, start = [], 0
    for end in [*ends, extent]:
        low, high, _ = slice(start, end).indices(extent)
        out.append(slice_view(input, axis, low, max(high - low, 0), 1, "Slice"))
        start = end
    return tuple(out)


def _sections(name: str, axis_of: Callable[[int], int], least: int) -> Callable:
    """hsplit, vsplit and dsplit: `tensor_split` along a fixed axis, into equal parts only."""

    def function(input: Tensor, indices_or_sections: Any) -> tuple[Tensor, ...]:
        rank = input.dim()
        if rank < least:
            raise RuntimeError(
                f"torch.{name} requires a tensor with at least {least} dimension, but got a tensor "
                f"with {rank} dimensions!"
            )
        axis = axis_of(rank)
        extent = shape_of(input)[axis]
        n = indices_or_sections
        if not isinstance(n, (tuple, list)) and not hasattr(n, "__index__"):
            raise TypeError(
                f"{name}() received an invalid combination of arguments - got (Tensor, "
                f"{type_name(n)}), but expected one of:\n * (Tensor input, int sections)\n * "
                "(Tensor input, tuple of ints indices)"
            )
        if isinstance(n, int) and n > 0 and extent % n:
            raise RuntimeError(
                f"torch.{name} attempted to split along dimension {axis}, but the size of the "
                f"dimension {extent} is not divisible by the split_size {n}!"
            )
        return tensor_split(input, n, axis)

    function.__name__ = function.__qualname__ = name
    function.__doc__ = f"`tensor_split` along the axis of {name}."
    return function


hsplit = _sections("hsplit", lambda rank: 0 if rank == 1 else 1, 1)
vsplit = _sections("vsplit", lambda rank: 0, 2)
dsplit = _sections("dsplit", lambda rank: 2, 3)


def narrow_copy(
    input: Tensor, dim: int, start: int, length: int, *, out: Tensor | None = None
) -> Tensor:
    """`narrow`, as a copy."""
    taken = narrow(input, dim, start, length)
    if out is None:
        return taken.clone()
    return deliver(copy(node_of(taken)), out, exact=SAME_AS_OUT)


SAME_AS_OUT = "Expected self.dtype() == output.dtype() to be true, but got false."


def diagonal(input: Tensor, offset: int = 0, dim1: int = 0, dim2: int = 1) -> Tensor:
    """The diagonal of two dimensions, as the last one."""
    place, shape, strides = geometry(input)
    rank = len(shape)
    a, b = wrap_dim(dim1, rank), wrap_dim(dim2, rank)
    if a == b:
        raise RuntimeError(f"diagonal dimensions cannot be identical {dim1}, {dim2}")
    if offset >= 0:
        size, start = max(min(shape[a], shape[b] - offset), 0), (b, offset)
    else:
        size, start = max(min(shape[a] + offset, shape[b]), 0), (a, -offset)
    rest = [i for i in range(rank) if i not in (a, b)]
    sizes = tuple(shape[i] for i in rest) + (size,)
    own = contiguous_strides(shape)
    taken = tuple(own[i] for i in rest) + (own[a] + own[b],)
    moved = tuple(strides[i] for i in rest) + (strides[a] + strides[b],)
    if size:
        place += start[1] * strides[start[0]]
    first = start[1] * own[start[0]] if size else 0
    return make_view(input, ((as_strided_, (sizes, taken), (first,)),), place, moved, "Diagonal")


def unfold(self: Tensor, dimension: int, size: int, step: int) -> Tensor:
    """Windows of `size` along a dimension, `step` apart, as a new last dimension."""
    place, shape, strides = geometry(self)
    rank = len(shape)
    if not shape:
        shape, strides = (1,), (1,)
    axis = wrap_dim(dimension, len(shape))
    if size > shape[axis]:
        raise RuntimeError(
            f"maximum size for tensor at dimension {axis} is {shape[axis]} but size is {size}"
        )
    if size < 0:
        raise RuntimeError(f"size is {size} but must be >= 0")
    if step <= 0:
        raise RuntimeError(f"step is {step} but must be > 0")
    count = (shape[axis] - size) // step + 1
    own = contiguous_strides(shape)
    sizes = shape[:axis] + (count,) + shape[axis + 1 :] + (size,)
    taken = own[:axis] + (own[axis] * step,) + own[axis + 1 :] + (own[axis],)
    moved = strides[:axis] + (strides[axis] * step,) + strides[axis + 1 :] + (strides[axis],)
    if not rank:  # a number is a vector of one, and its only window takes that dimension
        sizes, taken, moved = sizes[1:], taken[1:], moved[1:]
    return make_view(self, ((as_strided_, (sizes, taken), (0,)),), place, moved, "Unfold")


def as_strided(input: Tensor, size: Any, stride: Any, storage_offset: int | None = None) -> Tensor:
    """Any strided window of the storage.

    Errors: RuntimeError where it reaches beyond the storage; NotImplementedError for a leaf that
    shows a part of a storage, where the window reaches beyond that part or the part has gaps.
    """
    sizes, strides = tuple(size), tuple(stride)
    if len(sizes) != len(strides):
        raise RuntimeError("mismatch in length of strides and shape")
    if any(k < 0 for k in strides):
        raise RuntimeError(
            "as_strided: Negative strides are not supported at the moment, got strides: "
            f"{list(strides)}"
        )
    root, start = input, 0
    meta = input._meta
    if meta is not None and meta.base is not None:
        if meta.leaf and input.is_contiguous():
            start = geometry(input)[0]  # a leaf's gradient ends at it, whatever it is a view of
        else:
            root = meta.base
    offset = geometry(input)[0] if storage_offset is None else storage_offset
    reach = offset + sum((n - 1) * k for n, k in zip(sizes, strides)) + 1 if 0 not in sizes else 0
    total = root._storage.node.type.numel
    if reach > total:
        item = input.dtype.itemsize
        raise RuntimeError(
            f"setStorage: sizes {list(sizes)}, strides {list(strides)}, storage offset {offset}, "
            f"and itemsize {item} requiring a storage size of {reach * item} are out of bounds for "
            f"storage of size {total * item}"
        )
    if meta is not None and meta.base is not None and meta.leaf and LOCAL.grad:
        inside = root is input and offset >= start and reach <= start + input.numel()
        if not inside and reach:
            raise NotImplementedError(
                "as_strided of a leaf that is a view: the window leaves what the leaf shows, or "
                "the leaf has gaps; take the window first and let it require a gradient"
            )
    return make_view(
        root, ((as_strided_, (sizes, strides), (offset - start,)),), offset, strides, "AsStrided"
    )


def as_strided_inplace(
    self: Tensor, size: Any, stride: Any, storage_offset: int | None = None
) -> Tensor:
    """`as_strided`, of this handle itself."""
    check_writable(self, allow_overlap=True)
    with no_grad():
        shown = as_strided(self, size, stride, storage_offset)._meta
    assert shown is not None
    touch(self)
    own = self._own_meta()
    own.recipe, own.offset = shown.recipe, shown.offset
    own.shape, own.strides = shown.shape, shown.strides
    self._node = self._seen = None
    return self


PARTS: dict[str, Callable] = {
    "narrow": narrow,
    "select": select,
    "unbind": unbind,
    "split": split,
    "chunk": chunk,
    "tensor_split": tensor_split,
    "hsplit": hsplit,
    "vsplit": vsplit,
    "dsplit": dsplit,
    "narrow_copy": narrow_copy,
    "diagonal": diagonal,
    "as_strided": as_strided,
    "as_strided_": as_strided_inplace,
    "split_with_sizes": split,
}
# The words that PyTorch has for some arguments, a form of the function each.
SECTIONS = {"sections": "indices_or_sections", "indices": "indices_or_sections"}
WORDS: dict[str, dict[str, str]] = {
    "split_with_sizes": {"split_sizes": "split_size_or_sections"},
    "tensor_split": {"tensor_indices_or_sections": "indices_or_sections", **SECTIONS},
    **dict.fromkeys(("hsplit", "vsplit", "dsplit"), SECTIONS),
}
PARTS |= {name: also_called(PARTS[name], **words) for name, words in WORDS.items()}
attach(unfold=unfold, **PARTS)
attach(split=also_called(split, split_size="split_size_or_sections"))
FUNCTIONS.update(PARTS)
FUNCTIONS["split"] = also_called(split, tensor="input")
