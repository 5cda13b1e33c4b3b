"""What a `.pt` file says of a tensor, and tensors out of it again.

    reduced(x[1:3], saved)     # (rebuild_tensor_v2, (storage, 1, (2,), (1,), False, OrderedDict()))

The functions go by PyTorch's names in files (names.py) and take PyTorch's arguments. Hooks are not
saved: an empty table stands where they would.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Any

from lazyt.functions.memory import UntypedStorage
from lazyt.ir.dtypes import DType
from lazyt.parameter import Buffer, Parameter
from lazyt.storage import Storage, geometry
from lazyt.tensor import Tensor
from lazyt.utils.hooks import warn_if_has_hooks

from .storages import STORAGE_OF, UNTYPED, LoadedStorage, SavedStorage, StorageClass, tensor_on

Saved = Callable[[Storage, StorageClass], SavedStorage]


def reduced(t: Tensor, saved: Saved) -> tuple[Callable, tuple]:
    """The function and the arguments that make a tensor anew.

    saved: gives what stands for a storage in the pickle.
    """
    state = dict(t.__dict__)
    kind = type(t)
    if isinstance(t, Parameter) and kind is Parameter:
        warn_if_has_hooks(t)
        data = _plain(t, saved, requires_grad=False)
        arguments: tuple = (Whole(*data), t.requires_grad, OrderedDict())
        if state:
            return rebuild_parameter_with_state, (*arguments, state)
        return rebuild_parameter, arguments
    warn_if_has_hooks(t)
    function, arguments = _plain(t, saved, t.requires_grad)
    if kind is Buffer:
        kind, state = Tensor, {**state, "_is_buffer": True}  # a mark on a plain tensor, in PyTorch
    if kind is Tensor and not state:
        return function, arguments
    return rebuild_from_type_v2, (function, kind, arguments, state)


class Whole:
    """A plain tensor within what another one is made of: pickled as that function's result."""

    def __init__(self, function: Callable, arguments: tuple):
        self.function, self.arguments = function, arguments

    def __reduce__(self) -> tuple[Callable, tuple]:
        return self.function, self.arguments


def _plain(t: Tensor, saved: Saved, requires_grad: bool) -> tuple[Callable, tuple]:
    offset, shape, strides = geometry(t)
    kind = STORAGE_OF.get(t.dtype.name, UNTYPED)
    # Tuples of their own: pickles would refer to those that tensors of one type share.
    size, stride = (*shape,), (*strides,)
    place: tuple = (saved(t._storage, kind), offset, size, stride, requires_grad, OrderedDict())
    if kind is UNTYPED:
        return rebuild_tensor_v3, (*place, t.dtype)
    return rebuild_tensor_v2, place


def rebuild_tensor(storage: Any, offset: int, size: Any, stride: Any) -> Tensor:
    """A tensor at a place of a storage. TypeError where the arguments are no such things."""
    if not isinstance(storage, UntypedStorage):
        raise TypeError(f"a tensor needs a storage, not {type(storage).__name__}")
    return tensor_on(storage, offset, tuple(size), tuple(stride))


def rebuild_tensor_v2(
    storage: Any,
    storage_offset: int,
    size: Any,
    stride: Any,
    requires_grad: bool,
    backward_hooks: Any,
    metadata: Any = None,
) -> Tensor:
    """A tensor at a place of a storage, a leaf.

    Errors: RuntimeError for marks that tensors do not have here (of conjugates and negatives).
    """
    if metadata:
        raise RuntimeError("the file has a tensor marked as conjugate or negative: none is here")
    t = rebuild_tensor(storage, storage_offset, size, stride)
    if requires_grad is not False:
        t.requires_grad = requires_grad
    return t


def rebuild_tensor_v3(
    storage: Any,
    storage_offset: int,
    size: Any,
    stride: Any,
    requires_grad: bool,
    backward_hooks: Any,
    dtype: DType,
    metadata: Any = None,
) -> Tensor:
    """A tensor of a dtype on a storage of bytes."""
    if isinstance(storage, LoadedStorage) and isinstance(dtype, DType):
        storage.become(dtype)
    place = (storage, storage_offset, size, stride)
    return rebuild_tensor_v2(*place, requires_grad, backward_hooks, metadata)


def rebuild_parameter(data: Tensor, requires_grad: bool, backward_hooks: Any) -> Parameter:
    """A Parameter on the memory of a tensor."""
    if not isinstance(data, Tensor):
        raise TypeError(f"a Parameter needs a tensor, not {type(data).__name__}")
    return Parameter(data, requires_grad)


def rebuild_parameter_with_state(
    data: Tensor, requires_grad: bool, backward_hooks: Any, state: Any
) -> Parameter:
    """`rebuild_parameter`, with the attributes that a program gave it."""
    return _with_state(rebuild_parameter(data, requires_grad, backward_hooks), state)


def rebuild_from_type_v2(function: Callable, new_type: Any, args: tuple, state: Any) -> Any:
    """The result of a function above as an instance of a class, with its attributes."""
    if not any(function is f for f in TENSORS):
        raise TypeError(f"a {type(function).__name__} that makes no tensor")
    made = function(*args)
    if type(made) is not new_type:
        if not (isinstance(new_type, type) and issubclass(new_type, Tensor)):
            raise TypeError("what a tensor is to be is no class of tensors")
        leaf = made.requires_grad
        made = made.detach()._as(new_type)
        if leaf:
            made.requires_grad = True
    if new_type.__setstate__ is not Tensor.__setstate__:
        made.__setstate__(state)
        return made
    return _with_state(made, state)


def _with_state(made: Any, state: Any) -> Any:
    """A tensor with its attributes: a dict, or a pair of those in it and those in slots.

    Errors: TypeError for what is no such state; AttributeError for a slot that tensors have for
    themselves.
    """
    plain, slots = state if isinstance(state, tuple) and len(state) == 2 else (state, None)
    if not all(isinstance(name, str) for name in (*(plain or ()), *(slots or ()))):
        raise TypeError("attributes of a tensor are named by texts")
    made.__dict__.update(plain or {})
    for name, value in (slots or {}).items():
        if hasattr(Tensor, name):
            raise AttributeError(f"a tensor has no attribute {name!r} of a program")
        setattr(made, name, value)
    return made


TENSORS = (
    rebuild_tensor,
    rebuild_tensor_v2,
    rebuild_tensor_v3,
    rebuild_parameter,
    rebuild_parameter_with_state,
)
