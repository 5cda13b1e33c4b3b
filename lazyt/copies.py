"""Copies of tensors, and pickles: what a copy takes along of the memory, the history and the class.

    w = torch.ones(3, requires_grad=True)
    w.clone()                   # memory of its own; differentiable
    copy.copy(w)                # a handle on the same memory; a leaf
    copy.deepcopy([w, w.data])  # memory that the two share as before
    pickle.dumps(w)             # values, strides, requires_grad

Files for `torch.load` are another matter: `serialization/`.
"""

from __future__ import annotations

import copy as copying
from typing import Any

import numpy as np

from lazyt.ir import dtypes
from lazyt.ir.node import Node
from lazyt.ir.ops_shape import as_strided_, copy
from lazyt.ir.types import TensorType
from lazyt.runtime.drain import value_of

from .device import resolve
from .dispatch import data_node, renamed, wrap
from .layout import laid_out, memory_order
from .state import Meta, geometry, node_of, shape_of
from .tensor import Tensor, attach
from .utils.hooks import warn_if_has_hooks

_new = object.__new__


def clone(self: Tensor, *, memory_format: Any = None) -> Tensor:
    """A copy with memory of its own; differentiable. It keeps the order of the dimensions in
    memory, unless `memory_format` is torch.contiguous_format."""
    meta = self._meta
    if meta is not None and meta.strides is not None and memory_format != "torch.contiguous_format":
        order = memory_order(self)
        if order is not None:
            node = node_of(self)
            return laid_out(node, order, source=node)
    return wrap(copy(node_of(self)))


def _deepcopy(self: Tensor, memo: dict) -> Tensor:
    found = memo.get(id(self))
    if found is not None:
        return found
    if not self.is_leaf:
        raise RuntimeError(
            "Only Tensors created explicitly by the user (graph leaves) support the deepcopy "
            "protocol at the moment.  If you were attempting to deepcopy a module, this may be "
            "because of a torch.nn.utils.weight_norm usage, see "
            "https://github.com/pytorch/pytorch/pull/103001"
        )
    meta = self._meta
    storage = memo.get(id(self._storage))
    if storage is None:
        node = self._storage.node
        value = value_of(node)
        storage = wrap(_placed(np.array(value, order="C", copy=True), node.type))._storage
        storage.version = 1  # PyTorch makes it empty first
        memo[id(self._storage)] = storage
    other = _new(type(self))
    other._storage, other._node, other._seen = storage, None, None
    other._meta = None
    if meta is not None:
        copied = other._meta = meta.child()
        copied.counter = None
        if meta.grad is not None and shape_of(meta.grad) != shape_of(self):
            raise RuntimeError(
                f"attempting to assign a gradient of size '{list(shape_of(meta.grad))}' to a "
                f"tensor of size '{list(shape_of(self))}'. Please ensure that the gradient and "
                "the tensor are the same size"
            )
        copied.leaf = self.requires_grad
        if meta.grad is not None:
            copied.grad = copying.deepcopy(meta.grad, memo)
    memo[id(self)] = other
    if self.__dict__:
        other.__dict__.update(copying.deepcopy(self.__dict__, memo))
    return other


def _copy(self: Tensor) -> Tensor:
    other = self.detach()._as(type(self))
    if self.requires_grad:
        other._own_meta().leaf = True
    other.__dict__.update(self.__dict__)
    return other


def as_subclass(self: Tensor, cls: type) -> Any:
    """This tensor's value and history, as an instance of `cls`."""
    if not (isinstance(cls, type) and issubclass(cls, Tensor)):
        raise TypeError(f"cls must be a type of Tensor, not {cls!r}")
    made = self.view_as(self)
    renamed(node_of(made), "AliasBackward0")
    made.__class__ = cls
    return made


def _reduce(self: Tensor, protocol: Any) -> tuple:
    warn_if_has_hooks(self)
    # What two tensors share is not shared by their pickles: each brings its whole memory.
    offset, shape, strides = geometry(self)
    node = self._storage.node
    value = np.array(value_of(node), order="C")
    extra = dict(self.__dict__) or None
    return (
        _rebuild,
        (
            type(self),
            (value, node.type.dtype.name, node.type.device),
            offset,
            shape,
            strides,
            self.requires_grad,
            extra,
        ),
    )


def _set_state(self: Tensor, state: Any) -> None:
    self.__dict__.update(state or {})


def _placed(array: np.ndarray, type: TensorType) -> Node:
    return data_node(array, type.dtype, type.device)


def _rebuild(
    cls: type,
    memory: tuple[np.ndarray, str, str],
    offset: int,
    shape: tuple[int, ...],
    strides: tuple[int, ...],
    requires_grad: bool,
    extra: dict | None,
) -> Any:
    """A tensor out of its pickle: `memory` is the storage's values, the name of its dtype and its
    device."""
    t: Tensor = _new(cls)
    array, dtype, device = memory
    type = TensorType.of(array.shape, dtypes.dtype_named(dtype), resolve(device))
    t._storage = wrap(_placed(array, type))._storage
    t._node = t._seen = None
    t._meta = None
    type = t._storage.node.type
    if (offset, shape, strides) != (0, type.shape, type.strides):
        t._meta = Meta()
        t._meta.recipe = ((as_strided_, (shape, strides), (offset,)),)
        t._meta.offset, t._meta.shape, t._meta.strides = offset, shape, strides
    if requires_grad:
        t._own_meta().leaf = True
    if extra:
        t.__dict__.update(extra)
    return t


attach(
    clone=clone,
    __deepcopy__=_deepcopy,
    __copy__=_copy,
    as_subclass=as_subclass,
    __reduce_ex__=_reduce,
    __setstate__=_set_state,
)
