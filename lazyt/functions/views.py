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
from lazyt.ir.autodiff import source_of
from lazyt.ir.node import LOCAL
from lazyt.ir.numerics import bfloat16_bits, bfloat16_of_bits
from lazyt.ir.ops_shape import (
    alias,
    copy,
    expand_,
    permute_,
    reshape_,
)
from lazyt.ir.types import viewed_strides
from lazyt.warned import warn_once

from ..dispatch import renamed, tagged, wrap
from ..handles import has_history, name_view
from ..registry import FUNCTIONS
from ..state import (
    check_writable,
    geometry,
    is_alias,
    node_of,
    own_history,
    root_of,
    shape_of,
    touch,
    view_meta,
)
from ..tensor import Tensor, attach, from_numpy, wrap_dim
from .creation import size_argument

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
    if multi is not None or made.multi is not None or made.untracked:
        name_view(made, node, name, multi)
    view = _new(Tensor)
    view._storage = t._storage
    view._meta = made
    view._node = node
    view._seen = t._storage.node if t._storage.export is None else None
    if made.untracked and root_of(t).requires_grad:
        view._seen = None  # how it reads depends on the grad mode of the moment
    return view


def restep(
    t: Tensor, step: Step, offset: int, shape: tuple[int, ...], strides: tuple[int, ...], name: str
) -> Tensor:
    """Makes `t` itself show another view of its storage (transpose_, unsqueeze_, …).

    name: of the grad_fn.
    """
    check_writable(t, allow_overlap=True)
    history = None
    if is_alias(t):
        node_of(t)
        history = own_history(t)  # not the storage's: nothing else knows of it
    touch(t)
    own = t._own_meta()
    own.begun = own.base is not None and has_history(t)
    own.recipe = (*own.recipe, step)
    own.offset, own.shape, own.strides = offset, shape, strides
    t._node = t._seen = None
    if history is not None:
        op, arg, numbers = step
        t._node = op(source_of(history), *numbers, arg=arg)
    if LOCAL.grad and t.requires_grad:
        renamed(source_of(node_of(t)), name)
    return t


# --- shapes given by the user ---------------------------------------------------------------------


def ints(
    args: tuple, name: str, argument: str = "size", named: dict[str, Any] | None = None
) -> tuple[int, ...]:
    """Numbers given one by one or as one sequence, or by the argument's name."""
    if named:
        other = next((word for word in named if word != argument), None)
        if other is not None:
            raise TypeError(f"{name}() got an unexpected keyword argument '{other}'")
        if args:
            raise TypeError(f"{name}() got multiple values for argument '{argument}'")
        args = (named[argument],)
    elif not args and argument != "size":
        raise TypeError(f'{name}() missing 1 required positional arguments: "{argument}"')
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


def resolve_shape(shape: tuple[int, ...], numel: int) -> tuple[int, ...]:
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
        if known == 0 and numel == 0:
            raise RuntimeError(
                f"cannot reshape tensor of 0 elements into shape {list(shape)} because the "
                "unspecified dimension size -1 can be any value and is ambiguous"
            )
        if not known or numel % known:
            raise RuntimeError(f"shape '{list(shape)}' is invalid for input of size {numel}")
        return tuple(numel // known if d == -1 else d for d in shape)
    if known != numel:
        raise RuntimeError(f"shape '{list(shape)}' is invalid for input of size {numel}")
    return shape


# --- reshapes -------------------------------------------------------------------------------------

VIEW_NEEDS_COPY = (
    "view size is not compatible with input tensor's size and stride (at least one dimension spans "
    "across two contiguous subspaces). Use .reshape(...) instead."
)


def _shown(t: Tensor, target: tuple[int, ...]) -> tuple[int, tuple[int, ...]] | None:
    offset, shape, strides = geometry(t)
    found = viewed_strides(shape, strides, target)
    return None if found is None else (offset, found)


def view(self: Tensor, *shape: Any, dtype: Any = None, **named: Any) -> Tensor:
    """The same memory in another shape; RuntimeError where that needs a copy."""
    if dtype is not None or (len(shape) == 1 and isinstance(shape[0], dtypes.DType)):
        return view_dtype(self, dtype or shape[0])
    target = resolve_shape(ints(shape, "view", named=named), self.numel())
    place = _shown(self, target)
    if place is None:
        raise RuntimeError(VIEW_NEEDS_COPY)
    return make_view(self, ((reshape_, (target,), ()),), *place, "View")


def view_dtype(self: Tensor, dtype: dtypes.DType) -> Tensor:
    """The same memory read as another dtype; of bfloat16, whose bits are carried in float32, and
    on devices a copy.

    Errors: RuntimeError where elements of another size do not fit the last dimension.
    """
    if dtype is self.dtype:
        return view(self, *self.shape)
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
    if self.is_cpu and dtypes.bfloat16 not in (dtype, self.dtype):
        return from_numpy(self.detach().numpy().view(dtype.numpy))
    bits = np.array(array_of(self), order="C")
    if self.dtype is dtypes.bfloat16:
        bits = bfloat16_bits(bits).reshape(bits.shape)
    if dtype is dtypes.bfloat16:
        bits = bfloat16_of_bits(bits.view(np.uint16))
    return from_array(bits.view(dtype.numpy), dtype, self._storage.node.type.device)


def reshape(input: Tensor, *shape: Any, **named: Any) -> Tensor:
    """The elements in another shape: a view where possible, else a copy."""
    target = resolve_shape(ints(shape, "reshape", "shape", named), input.numel())
    place = _shown(input, target)
    if place is not None:
        meta = input._meta
        plain = meta is None or meta.strides is None or input.is_contiguous()
        name = "View" if plain else "ReshapeAlias"
        if target == shape_of(input):
            return make_view(input, (), geometry(input)[0], geometry(input)[2], name)
        return make_view(input, ((reshape_, (target,), ()),), *place, name)
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


def permute(input: Tensor, *dims: Any, **named: Any) -> Tensor:
    """The dimensions in another order."""
    rank = input.dim()
    order = ints(dims, "permute", "dims", named)
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
    given = {"source": sources, "destination": targets}
    sources = [wrap_dim(d, rank) for d in sources]
    targets = [wrap_dim(d, rank) for d in targets]
    for which, wrapped in (("source", sources), ("destination", targets)):
        if len(set(wrapped)) != len(wrapped):
            raise RuntimeError(f"movedim: repeated dim in `{which}` ({given[which]})")
    if not rank:
        return permute_view(input, (), "Permute")
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
        axes = set()
        for axis in (wrap_dim(d, rank) for d in dims):
            if axis in axes:
                raise RuntimeError(f"dim {axis} appears multiple times in the list of dims")
            axes.add(axis)
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


# --- repetition without copies --------------------------------------------------------------------


def expand(self: Tensor, *sizes: Any, implicit: bool = False, **named: Any) -> Tensor:
    """Extents of 1 stretched to the given ones (-1 keeps), new dimensions in front."""
    target = ints(sizes, "expand", named=named)
    offset, shape, strides = geometry(self)
    lead = len(target) - len(shape)
    if lead < 0:
        raise RuntimeError(
            f"expand({_legacy_name(self)}{{{list(shape)}}}, size={list(target)}): the number of "
            f"sizes provided ({len(target)}) must be greater or equal to the number of dimensions "
            f"in the tensor ({len(shape)})"
        )
    out, moved = [], []
    for i in reversed(range(len(target))):  # the last dimension that does not fit is named
        n, have = target[i], shape[i - lead] if i >= lead else None
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
    out.reverse()
    moved.reverse()
    for i in reversed(range(lead if shape else 0)):
        if out[i] == 1:
            moved[i] = out[i + 1] * moved[i + 1] if i + 1 < len(out) else 1
    steps = ((expand_, (tuple(out),), ()),) if tuple(out) != shape else ()
    return make_view(self, steps, offset, tuple(moved), "Expand")


def _legacy_name(t: Tensor) -> str:
    """What PyTorch calls a tensor's type in this message; some have a name of another kind."""
    from ..dispatch import scalar_name

    own = t._storage.node.type
    if own.device == "cpu" and own.dtype.name in ("bool", "bfloat16"):
        return f"CPU{scalar_name(own.dtype)}Type"
    return t.type()


def expand_as(self: Tensor, other: Tensor) -> Tensor:
    """`expand` to the shape of another tensor."""
    return expand(self, *shape_of(other))


def broadcast_to(input: Tensor, size: Any) -> Tensor:
    """`expand`, as a function. TypeError for a size that is no sequence."""
    return expand(input, size_argument("broadcast_to", size, 2))


def broadcast_to_method(self: Tensor, *size: Any, **named: Any) -> Tensor:
    """`expand`, as a method: extents one by one, or a sequence of them."""
    return expand(self, *size, **named)


def view_as(self: Tensor, other: Tensor) -> Tensor:
    """`view` in the shape of another tensor."""
    return view(self, *shape_of(other))


def reshape_as(self: Tensor, other: Tensor) -> Tensor:
    """`reshape` to the shape of another tensor."""
    return reshape(self, shape_of(other))


# --- in-place changes of shape --------------------------------------------------------------------


def transpose_(self: Tensor, dim0: int, dim1: int) -> Tensor:
    """`transpose`, of this handle itself."""
    return _transposed(self, dim0, dim1, "TransposeBackward1")


def _transposed(self: Tensor, dim0: int, dim1: int, name: str) -> Tensor:
    rank = self.dim()
    a, b = wrap_dim(dim0, rank), wrap_dim(dim1, rank)
    order = _exchanged(rank, a, b) if rank else ()
    offset, shape, strides = geometry(self)
    moved = tuple(strides[i] for i in order)
    return restep(
        self, (permute_, (order,), ()), offset, tuple(shape[i] for i in order), moved, name
    )


def t_(self: Tensor) -> Tensor:
    """`t`, of this handle itself."""
    if self.dim() > 2:
        raise RuntimeError(f"t_() expects a tensor with <= 2 dimensions, but self is {self.dim()}D")
    return _transposed(self, 0, -1, "TBackward1")


def unsqueeze_(self: Tensor, dim: int) -> Tensor:
    """`unsqueeze`, of this handle itself."""
    target, offset, strides, _ = unsqueeze_place(self, dim)
    step = reshape_, (target,), ()
    return restep(self, step, offset, target, strides, "UnsqueezeBackward1")


def squeeze_(self: Tensor, dim: Any = None) -> Tensor:
    """`squeeze`, of this handle itself."""
    target, offset, strides = _squeezed(self, dim)
    kind = 3 if dim is None else 5 if isinstance(dim, (tuple, list)) else 4
    step = reshape_, (target,), ()
    return restep(self, step, offset, target, strides, f"SqueezeBackward{kind}")


def _conjugate(t: Tensor) -> Tensor:
    return FUNCTIONS["conj"](t)


def adjoint(input: Tensor) -> Tensor:
    """The last two dimensions swapped, and complex numbers conjugated."""
    return _conjugate(_last_two_exchanged(input, "adjoint()"))


def _last_two_exchanged(t: Tensor, name: str) -> Tensor:
    """The transpose of matrices; RuntimeError in PyTorch's words for a vector."""
    if t.dim() == 1:
        raise RuntimeError(
            f"tensor.{name} is only supported on matrices or batches of matrices. Got 1-D tensor."
        )
    return transpose(t, -2, -1)


def _matrix_adjoint(t: Tensor) -> Tensor:
    """The adjoint of one matrix (or a number); RuntimeError for anything else."""
    if t.dim() not in (0, 2):
        text = f"tensor.H is only supported on matrices (2-D tensors). Got {t.dim()}-D tensor."
        batches = " For batches of matrices, consider using tensor.mH"
        raise RuntimeError(text + batches if t.dim() > 2 else text)
    if t.dim() == 0:
        warn_once("Tensor.H is deprecated on 0-D tensors. Consider using x.conj().")
    return _conjugate(transpose(t, 0, 1) if t.dim() else t)


def _reversed(self: Tensor) -> Tensor:
    """The dimensions in the opposite order: the transpose of a matrix."""
    rank = self.dim()
    if rank == 0:
        warn_once(
            "Tensor.T is deprecated on 0-D tensors. This function is the identity in these cases."
        )
    elif rank != 2:
        warn_once(
            "The use of `x.T` on tensors of dimension other than 2 to reverse their shape is "
            "deprecated and it will throw an error in a future release. Consider `x.mT` to "
            "transpose batches of matrices or `x.permute(*torch.arange(x.ndim - 1, -1, -1))` to "
            "reverse the dimensions of a tensor."
        )
    return permute_view(self, tuple(range(rank))[::-1], "Permute")


METHODS_ONLY: dict[str, Callable] = {
    "view": view,
    "view_as": view_as,
    "expand": expand,
    "expand_as": expand_as,
    "reshape_as": reshape_as,
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
    "ravel": lambda input: view(input.contiguous(), -1),
    "permute": permute,
    "transpose": transpose,
    "swapaxes": transpose,
    "swapdims": transpose,
    "t": t,
    "adjoint": adjoint,
    "movedim": movedim,
    "moveaxis": movedim,
    "unsqueeze": unsqueeze,
    "squeeze": squeeze,
}
for _name, _function in {**METHODS_ONLY, **BOTH}.items():
    setattr(Tensor, _name, _function)
FUNCTIONS.update(BOTH, broadcast_to=broadcast_to)
Tensor.broadcast_to = broadcast_to_method  # type: ignore[attr-defined]
attach(
    broadcast_to=expand,  # the method takes extents one by one, too
    T=property(_reversed),
    mT=property(lambda self: _last_two_exchanged(self, "mT")),
    mH=property(lambda self: _conjugate(_last_two_exchanged(self, "mH"))),
    H=property(_matrix_adjoint),
)
