"""View functions: handles that show a part or a rearrangement of a tensor's memory.

Each computes where it lies in the storage (offset, sizes, strides) and which primitive leads from
the tensor's value to its own; `make_view` makes the handle. Nothing is copied, and writes through
any handle reach all of them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from lazyt.ir import dtypes
from lazyt.ir.ops_shape import (
    alias,
    as_strided_,
    copy,
    expand_,
    part_,
    permute_,
    reshape_,
    slice_,
)
from lazyt.ir.types import contiguous_strides

from ..dispatch import renamed, tagged, wrap
from ..registry import FUNCTIONS
from ..state import check_writable, geometry, node_of, root_of, shape_of, touch, view_meta
from ..tensor import Tensor, attach, wrap_dim

_new = object.__new__
Step = tuple  # (op, arg, numbers)


def make_view(
    t: Tensor,
    steps: tuple[Step, ...],
    offset: int,
    strides: tuple[int, ...],
    name: str,
    multi: tuple[int, str] | None = None,
) -> Tensor:
    """A handle on t's storage at `offset` with `strides`, whose value `steps` compute from t's."""
    source = node_of(t)
    node = source
    for op, arg, numbers in steps:
        node = op(node, *numbers, arg=arg)
    if node is source:
        node = alias(source)
    if node.grad:
        tagged(node, name, source, saves=False)
    made = view_meta(t, steps, offset, node.type.shape, strides)
    if multi is not None:
        made.multi = multi
    elif made.multi is not None:
        made.multi = (0, name)
    view = _new(Tensor)
    view._storage = t._storage
    view._meta = made
    view._node = node
    view._seen = t._storage.node if t._storage.export is None else None
    if made.untracked and root_of(t).requires_grad:
        view._seen = None  # how it reads depends on the grad mode of the moment
    return view


def restep(
    t: Tensor, step: Step, offset: int, shape: tuple[int, ...], strides: tuple[int, ...]
) -> Tensor:
    """Makes `t` itself show another view of its storage (transpose_, unsqueeze_, …)."""
    check_writable(t, allow_overlap=True)
    touch(t)
    own = t._own_meta()
    own.recipe = (*own.recipe, step)
    own.offset, own.shape, own.strides = offset, shape, strides
    t._node = t._seen = None
    return t


# --- shapes given by the user ---------------------------------------------------------------------


def ints(args: tuple, name: str, argument: str = "size") -> tuple[int, ...]:
    """Numbers given one by one or as one sequence."""
    if len(args) == 1 and (
        isinstance(args[0], (tuple, list)) or isinstance(args[0], Tensor) and args[0].dim()
    ):
        args = tuple(args[0])
    out = []
    for i, a in enumerate(args):
        if isinstance(a, (bool, float, str)) or not hasattr(a, "__index__"):
            raise TypeError(
                f"{name}(): argument '{argument}' (position 1) must be tuple of ints, but found "
                f"element of type {type(a).__name__} at pos {i}"
            )
        out.append(a.__index__())
    return tuple(out)


def resolve_shape(shape: tuple[int, ...], numel: int, name: str = "view") -> tuple[int, ...]:
    """A shape with at most one -1 filled in; RuntimeError in PyTorch's words where it cannot be."""
    unknown = [i for i, d in enumerate(shape) if d == -1]
    known = 1
    for d in shape:
        if d < -1:
            where = f" at index {shape.index(d)} of shape {list(shape)}"
            raise RuntimeError(f"invalid shape dimension {d}{where}")
        if d != -1:
            known *= d
    if len(unknown) > 1:
        raise RuntimeError("only one dimension can be inferred")
    if unknown:
        if known == 0:
            raise RuntimeError(
                f"cannot reshape tensor of 0 elements into shape {list(shape)} because the "
                "unspecified dimension size -1 can be any value and is ambiguous"
            )
        if numel % known:
            raise RuntimeError(f"shape '{list(shape)}' is invalid for input of size {numel}")
        return tuple(numel // known if d == -1 else d for d in shape)
    if known != numel:
        raise RuntimeError(f"shape '{list(shape)}' is invalid for input of size {numel}")
    return shape


def viewed_strides(
    shape: tuple[int, ...], strides: tuple[int, ...], target: tuple[int, ...]
) -> tuple[int, ...] | None:
    """Strides that show a strided tensor in another shape without moving anything, or None.

    Works through both shapes from the right, matching runs of dimensions that lie together.
    """
    if 0 in shape:
        return contiguous_strides(target)
    runs: list[tuple[int, int]] = []  # (extent, innermost stride) of mergeable dimensions
    for extent, stride in zip(reversed(shape), reversed(strides)):
        if extent == 1:
            continue
        if runs and stride == runs[-1][0] * runs[-1][1]:
            runs[-1] = (runs[-1][0] * extent, runs[-1][1])
        else:
            runs.append((extent, stride))
    out: list[int] = []
    run, left, stride = 0, 1, strides[-1] if strides else 1
    for extent in reversed(target):
        if extent == 1:
            out.append(stride)
            continue
        if left == 1:
            if run == len(runs):
                return None
            left, stride = runs[run]
            run += 1
        if left % extent:
            return None
        out.append(stride)
        left //= extent
        stride *= extent
    return tuple(reversed(out)) if left == 1 and run == len(runs) else None


# --- reshapes -------------------------------------------------------------------------------------

VIEW_NEEDS_COPY = (
    "view size is not compatible with input tensor's size and stride (at least one dimension spans "
    "across two contiguous subspaces). Use .reshape(...) instead."
)


def _shown(t: Tensor, target: tuple[int, ...]) -> tuple[int, tuple[int, ...]] | None:
    offset, shape, strides = geometry(t)
    exported = t._storage.export
    foreign = exported is not None and exported.strides is not None
    # Memory from outside that is not row-major decides; places count as if it were.
    if foreign and viewed_strides(shape, t.stride(), target) is None:
        return None
    found = viewed_strides(shape, strides, target)
    return None if found is None else (offset, found)


def view(self: Tensor, *shape: Any, dtype: Any = None) -> Tensor:
    """The same memory in another shape; RuntimeError where that needs a copy."""
    if dtype is not None or (len(shape) == 1 and isinstance(shape[0], dtypes.DType)):
        return view_dtype(self, dtype or shape[0])
    target = resolve_shape(ints(shape, "view"), self.numel())
    place = _shown(self, target)
    if place is None:
        raise RuntimeError(VIEW_NEEDS_COPY)
    return make_view(self, ((reshape_, (target,), ()),), *place, "View")


def view_dtype(self: Tensor, dtype: dtypes.DType) -> Tensor:
    """The same bits read as another dtype (a copy: bits are not shared across dtypes).

    Errors: RuntimeError where elements of another size do not fit the last dimension, and for
    bfloat16, which is not kept as its bits.
    """
    if dtype is self.dtype:
        return view(self, *self.shape)
    if dtypes.bfloat16 in (dtype, self.dtype):
        raise RuntimeError("view(dtype) from or to bfloat16 is not supported")
    from ..dispatch import from_array, scalar_name
    from ..state import array_of

    have, want = self.dtype.itemsize, dtype.itemsize
    if have != want:
        what = (
            f"to view {scalar_name(self.dtype)} as {scalar_name(dtype)} (different element sizes)"
        )
        if not self.dim():
            raise RuntimeError(f"self.dim() cannot be 0 {what}")
        if self.stride(-1) != 1:
            raise RuntimeError(f"self.stride(-1) must be 1 {what}, but got {self.stride(-1)}")
        last = shape_of(self)[-1]
        if last * have % want:
            raise RuntimeError(
                f"self.size(-1) must be divisible by {want // have} {what}, but got {last}"
            )
    bits = np.array(array_of(self), order="C")
    return from_array(bits.view(dtype.numpy), dtype)


def reshape(input: Tensor, *shape: Any) -> Tensor:
    """The elements in another shape: a view where possible, else a copy."""
    target = resolve_shape(ints(shape, "reshape"), input.numel())
    place = _shown(input, target)
    if place is not None:
        if target == shape_of(input):
            return make_view(input, (), geometry(input)[0], geometry(input)[2], "View")
        return make_view(input, ((reshape_, (target,), ()),), *place, "View")
    node = node_of(input)
    return wrap(tagged(copy(reshape_(node, arg=(target,))), "UnsafeView", node, saves=False))


def flatten(input: Tensor, start_dim: int = 0, end_dim: int = -1) -> Tensor:
    """Dimensions start_dim to end_dim as one."""
    shape = shape_of(input)
    rank = len(shape)
    first, last = wrap_dim(start_dim, rank), wrap_dim(end_dim, rank)
    if first > last:
        raise RuntimeError("flatten() has invalid args: start_dim cannot come after end_dim")
    if not rank:
        return reshape(input, (1,))
    if first == last:
        return input
    merged = 1
    for extent in shape[first : last + 1]:
        merged *= extent
    return reshape(input, shape[:first] + (merged,) + shape[last + 1 :])


def unflatten(input: Tensor, dim: int, sizes: Any) -> Tensor:
    """One dimension split into several."""
    shape = shape_of(input)
    axis = wrap_dim(dim, len(shape))
    sizes = tuple(sizes)
    if not sizes:
        raise RuntimeError("unflatten: sizes must be non-empty")
    try:
        split = resolve_shape(sizes, shape[axis])
    except RuntimeError:
        raise RuntimeError(
            f"unflatten: Provided sizes {list(sizes)} don't multiply up to the size of dim {axis} "
            f"({shape[axis]}) in the input tensor"
        ) from None
    return view(input, *(shape[:axis] + split + shape[axis + 1 :]))


# --- order of dimensions --------------------------------------------------------------------------


def permute_view(t: Tensor, order: tuple[int, ...], name: str) -> Tensor:
    offset, _, strides = geometry(t)
    moved = tuple(strides[i] for i in order)
    return make_view(t, ((permute_, (order,), ()),), offset, moved, name)


def permute(input: Tensor, *dims: Any) -> Tensor:
    """The dimensions in another order."""
    rank = input.dim()
    order = ints(dims, "permute", "dims")
    if len(order) != rank:
        raise RuntimeError(
            "permute(sparse_coo): number of dimensions in the tensor input does not match the "
            f"length of the desired ordering of dimensions i.e. input.dim() = {rank} is not equal "
            f"to len(dims) = {len(order)}"
        )
    axes = tuple(wrap_dim(d, rank) for d in order)
    if len(set(axes)) != rank:
        raise RuntimeError("permute(): duplicate dims are not allowed.")
    return permute_view(input, axes, "Permute")


def _exchanged(rank: int, a: int, b: int) -> tuple[int, ...]:
    order = list(range(rank))
    order[a], order[b] = order[b], order[a]
    return tuple(order)


def transpose(input: Tensor, dim0: int, dim1: int) -> Tensor:
    """Two dimensions exchanged."""
    rank = input.dim()
    a, b = wrap_dim(dim0, rank), wrap_dim(dim1, rank)
    if rank == 0:
        return make_view(input, (), geometry(input)[0], (), "Transpose")
    return permute_view(input, _exchanged(rank, a, b), "Transpose")


def t(input: Tensor) -> Tensor:
    """The transpose of a matrix; vectors and scalars as they are."""
    rank = input.dim()
    if rank > 2:
        raise RuntimeError(f"t() expects a tensor with <= 2 dimensions, but self is {rank}D")
    if rank < 2:
        return make_view(input, (), geometry(input)[0], geometry(input)[2], "T")
    return permute_view(input, (1, 0), "T")


def movedim(input: Tensor, source: Any, destination: Any) -> Tensor:
    """Dimensions moved to other places, the others in order."""
    rank = input.dim()
    sources = [source] if isinstance(source, int) else list(source)
    targets = [destination] if isinstance(destination, int) else list(destination)
    if len(sources) != len(targets):
        raise RuntimeError(
            "movedim: Invalid source or destination dims: source "
            f"({sources} dims) should contain the same number of dims as destination ({targets} "
            "dims)"
        )
    sources = [wrap_dim(d, rank) for d in sources]
    targets = [wrap_dim(d, rank) for d in targets]
    if len(set(sources)) != len(sources):
        raise RuntimeError(f"movedim: repeated dim in `source` ({sources})")
    if len(set(targets)) != len(targets):
        raise RuntimeError(f"movedim: repeated dim in `destination` ({targets})")
    order: list[int] = [-1] * rank
    for s, d in zip(sources, targets):
        order[d] = s
    rest = iter(i for i in range(rank) if i not in sources)
    return permute_view(input, tuple(next(rest) if o < 0 else o for o in order), "Permute")


# --- extents of 1 ---------------------------------------------------------------------------------


def unsqueeze_place(t: Tensor, dim: int) -> tuple[tuple, int, tuple, int]:
    offset, shape, strides = geometry(t)
    axis = wrap_dim(dim, len(shape) + 1)
    stride = shape[axis] * strides[axis] if axis < len(shape) else 1
    target = shape[:axis] + (1,) + shape[axis:]
    return target, offset, strides[:axis] + (stride,) + strides[axis:], axis


def unsqueeze(input: Tensor, dim: int) -> Tensor:
    """A new dimension of extent 1 at `dim`."""
    target, offset, strides, _ = unsqueeze_place(input, dim)
    return make_view(input, ((reshape_, (target,), ()),), offset, strides, "Unsqueeze")


def _squeezed(t: Tensor, dim: Any) -> tuple[tuple[int, ...], int, tuple[int, ...]]:
    offset, shape, strides = geometry(t)
    rank = len(shape)
    if dim is None:
        axes = {i for i, n in enumerate(shape) if n == 1}
    else:
        dims = dim if isinstance(dim, (tuple, list)) else (dim,)
        axes = {wrap_dim(d, rank) for d in dims}
        axes = {a for a in axes if a < rank and shape[a] == 1}
    kept = [i for i in range(rank) if i not in axes]
    return tuple(shape[i] for i in kept), offset, tuple(strides[i] for i in kept)


def squeeze(input: Tensor, dim: Any = None) -> Tensor:
    """Without the dimensions of extent 1 (all, or those named)."""
    target, offset, strides = _squeezed(input, dim)
    steps = ((reshape_, (target,), ()),) if target != shape_of(input) else ()
    made = make_view(input, steps, offset, strides, "Squeeze")
    if dim is not None and made._node is not None:
        renamed(made._node, f"SqueezeBackward{2 if isinstance(dim, (tuple, list)) else 1}")
    return made


# --- parts ----------------------------------------------------------------------------------------


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
    start = int(start)
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
    index = int(index)
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
    shape = shape_of(input)
    if not shape:
        raise IndexError("Dimension specified as 0 but tensor has no dimensions")
    axis = wrap_dim(dim, len(shape))
    return tuple(select(input, axis, i, (i, "Unbind"), "Unbind") for i in range(shape[axis]))


def split(input: Tensor, split_size_or_sections: Any, dim: int = 0) -> tuple[Tensor, ...]:
    """Windows of equal size, or of the given sizes, along a dimension."""
    shape = shape_of(input)
    if not shape:
        raise RuntimeError("split expects at least a 1-dimensional tensor")
    axis = wrap_dim(dim, len(shape))
    extent = shape[axis]
    if isinstance(split_size_or_sections, (tuple, list)):
        sizes = [int(n) for n in split_size_or_sections]
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
        size = int(split_size_or_sections)
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
                f"torch.{name} requires a tensor with at least {least} dimension"
                f"{'s' if least > 1 else ''}, but got a tensor with {rank} dimensions!"
            )
        axis = axis_of(rank)
        extent = shape_of(input)[axis]
        n = indices_or_sections
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


def narrow_copy(input: Tensor, dim: int, start: int, length: int) -> Tensor:
    """`narrow`, as a copy."""
    return narrow(input, dim, start, length).clone()


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
    if not shape:
        shape, strides = (1,), (1,)
    axis = wrap_dim(dimension, len(shape))
    if size > shape[axis]:
        raise RuntimeError(
            f"maximum size for tensor at dimension {axis} is {shape[axis]} but size is {size}"
        )
    if step <= 0:
        raise RuntimeError(f"step is {step} but must be > 0")
    count = (shape[axis] - size) // step + 1
    own = contiguous_strides(shape)
    sizes = shape[:axis] + (count,) + shape[axis + 1 :] + (size,)
    taken = own[:axis] + (own[axis] * step,) + own[axis + 1 :] + (own[axis],)
    moved = strides[:axis] + (strides[axis] * step,) + strides[axis + 1 :] + (strides[axis],)
    return make_view(self, ((as_strided_, (sizes, taken), (0,)),), place, moved, "Unfold")


def as_strided(input: Tensor, size: Any, stride: Any, storage_offset: int | None = None) -> Tensor:
    """Any strided window of the storage."""
    sizes, strides = tuple(size), tuple(stride)
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
    return make_view(
        root, ((as_strided_, (sizes, strides), (offset - start,)),), offset, strides, "AsStrided"
    )


# --- repetition without copies --------------------------------------------------------------------


def expand(self: Tensor, *sizes: Any) -> Tensor:
    """Extents of 1 stretched to the given ones (-1 keeps), new dimensions in front."""
    target = ints(sizes, "expand")
    offset, shape, strides = geometry(self)
    lead = len(target) - len(shape)
    if lead < 0:
        raise RuntimeError(
            f"expand({_legacy_name(self)}{{{list(shape)}}}, size={list(target)}): the number of "
            f"sizes provided ({len(target)}) must be greater or equal to the number of dimensions "
            f"in the tensor ({len(shape)})"
        )
    out, moved = [], []
    for i, n in enumerate(target):
        have = shape[i - lead] if i >= lead else None
        if n == -1:
            if have is None:
                raise RuntimeError(
                    f"The expanded size of the tensor ({n}) isn't allowed in a leading, "
                    f"non-existing dimension {i}"
                )
            n = have
        if have is None:
            out.append(n)
            moved.append(0)  # filled in below where the extent is 1
        elif have == n:
            out.append(n)
            moved.append(strides[i - lead])
        elif have == 1:
            out.append(n)
            moved.append(0)
        else:
            raise RuntimeError(
                f"The expanded size of the tensor ({n}) must match the existing size ({have}) at "
                f"non-singleton dimension {i}.  Target sizes: {list(target)}.  Tensor sizes: "
                f"{list(shape)}"
            )
    for i in reversed(range(lead if shape else 0)):
        if out[i] == 1:
            moved[i] = out[i + 1] * moved[i + 1] if i + 1 < len(out) else 1
    steps = ((expand_, (tuple(out),), ()),) if tuple(out) != shape else ()
    return make_view(self, steps, offset, tuple(moved), "Expand")


def _legacy_name(t: Tensor) -> str:
    return t.type()


def expand_as(self: Tensor, other: Tensor) -> Tensor:
    """`expand` to the shape of another tensor."""
    return expand(self, *shape_of(other))


def broadcast_to(input: Tensor, *size: Any) -> Tensor:
    """`expand`, as a function."""
    return expand(input, *size)


def view_as(self: Tensor, other: Tensor) -> Tensor:
    """`view` in the shape of another tensor."""
    return view(self, *shape_of(other))


def reshape_as(self: Tensor, other: Tensor) -> Tensor:
    """`reshape` to the shape of another tensor."""
    return reshape(self, *shape_of(other))


# --- in-place changes of shape --------------------------------------------------------------------


def transpose_(self: Tensor, dim0: int, dim1: int) -> Tensor:
    """`transpose`, of this handle itself."""
    rank = self.dim()
    a, b = wrap_dim(dim0, rank), wrap_dim(dim1, rank)
    order = _exchanged(rank, a, b) if rank else ()
    offset, shape, strides = geometry(self)
    moved = tuple(strides[i] for i in order)
    return restep(self, (permute_, (order,), ()), offset, tuple(shape[i] for i in order), moved)


def t_(self: Tensor) -> Tensor:
    """`t`, of this handle itself."""
    if self.dim() > 2:
        raise RuntimeError(f"t_() expects a tensor with <= 2 dimensions, but self is {self.dim()}D")
    return transpose_(self, 0, -1)


def unsqueeze_(self: Tensor, dim: int) -> Tensor:
    """`unsqueeze`, of this handle itself."""
    target, offset, strides, _ = unsqueeze_place(self, dim)
    return restep(self, (reshape_, (target,), ()), offset, target, strides)


def squeeze_(self: Tensor, dim: Any = None) -> Tensor:
    """`squeeze`, of this handle itself."""
    target, offset, strides = _squeezed(self, dim)
    return restep(self, (reshape_, (target,), ()), offset, target, strides)


METHODS_ONLY: dict[str, Callable] = {
    "view": view,
    "view_as": view_as,
    "expand": expand,
    "expand_as": expand_as,
    "reshape_as": reshape_as,
    "unfold": unfold,
    "transpose_": transpose_,
    "swapaxes_": transpose_,
    "swapdims_": transpose_,
    "t_": t_,
    "unsqueeze_": unsqueeze_,
    "squeeze_": squeeze_,
}
BOTH: dict[str, Callable] = {
    "reshape": reshape,
    "flatten": flatten,
    "unflatten": unflatten,
    "ravel": lambda input: reshape(input, (-1,)),
    "permute": permute,
    "transpose": transpose,
    "swapaxes": transpose,
    "swapdims": transpose,
    "t": t,
    "adjoint": lambda input: transpose(input, -2, -1),
    "movedim": movedim,
    "moveaxis": movedim,
    "unsqueeze": unsqueeze,
    "squeeze": squeeze,
    "narrow": narrow,
    "select": select,
    "unbind": unbind,
    "split": split,
    "split_with_sizes": split,
    "chunk": chunk,
    "tensor_split": tensor_split,
    "hsplit": hsplit,
    "vsplit": vsplit,
    "dsplit": dsplit,
    "narrow_copy": narrow_copy,
    "diagonal": diagonal,
    "as_strided": as_strided,
    "broadcast_to": broadcast_to,
}
for _name, _function in {**METHODS_ONLY, **BOTH}.items():
    setattr(Tensor, _name, _function)
FUNCTIONS.update(BOTH)
attach(
    T=property(lambda self: permute_view(self, tuple(range(self.dim()))[::-1], "Permute")),
    mT=property(lambda self: transpose(self, -2, -1)),
    mH=property(lambda self: transpose(self, -2, -1)),
    real=property(lambda self: self),
    H=property(lambda self: t(self)),
)
