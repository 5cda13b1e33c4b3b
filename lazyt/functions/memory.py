"""What lies under a tensor: the storage it shares with its views, and `resize_`.

    x[1:].untyped_storage().data_ptr() == x.data_ptr()

A storage is shown, not given away: the objects here read the tensor's memory when they are asked.
"""

from __future__ import annotations

import weakref
from typing import Any

import numpy as np

import lazyt
from lazyt.ir.dtypes import DType, bfloat16
from lazyt.ir.numerics import bfloat16_bits
from lazyt.warned import warn_once

from ..device import Device
from ..registry import FUNCTIONS
from ..state import Storage, address_of, memory_of, resize, shape_of
from ..tensor import Tensor, attach
from .creation import extents


class UntypedStorage:
    """The bytes that a tensor and its views share."""

    def __init__(self, tensor: Tensor):
        self._storage = tensor._storage

    @property
    def device(self) -> Device:
        return Device(self._storage.node.type.device)

    def data_ptr(self) -> int:
        """The address of the first byte."""
        return address_of(self._storage)

    def nbytes(self) -> int:
        """The number of bytes."""
        type = self._storage.node.type
        return type.numel * type.dtype.itemsize

    def size(self) -> int:
        """The number of elements, which are bytes."""
        return self.nbytes()

    __len__ = size

    def tolist(self) -> list:
        """The bytes as numbers."""
        elements = memory_of(self._storage).ravel()
        if self._storage.node.type.dtype is bfloat16:
            elements = bfloat16_bits(elements)
        return elements.view(np.uint8).tolist()

    def __getitem__(self, index: Any) -> Any:
        return self.tolist()[index]

    def _described(self) -> str:
        return f"device={self.device}"

    def __repr__(self) -> str:
        elements = "\n ".join(map(str, self.tolist()))
        kind = f"torch.storage.{type(self).__name__}"
        return f" {elements}\n[{kind}({self._described()}) of size {len(self)}]"


class TypedStorage(UntypedStorage):
    """The elements that a tensor and its views share, as one row."""

    @property
    def dtype(self) -> DType:
        return self._storage.node.type.dtype

    def size(self) -> int:
        """The number of elements."""
        return self._storage.node.type.numel

    __len__ = size

    def tolist(self) -> list:
        """The elements as Python numbers."""
        return memory_of(self._storage).ravel().tolist()

    def _described(self) -> str:
        return f"dtype={self.dtype}, device={self.device}"

    def untyped(self) -> UntypedStorage:
        """The same memory as bytes."""
        made = UntypedStorage.__new__(UntypedStorage)
        made._storage = self._storage
        return made


def resize_(self: Tensor, *size: Any, memory_format: Any = None) -> Tensor:
    """This handle with another shape, row-major from where it begins in its memory.

    Memory that is too small is replaced by a larger one, of zeros behind what was there; other
    handles keep the old. RuntimeError where a gradient is required.
    """
    shape = extents("resize_", *size)
    if shape == shape_of(self):
        return self
    if self.requires_grad:
        raise RuntimeError("cannot resize variables that require grad")
    resize(self, shape)
    return self


def resize_as_(self: Tensor, the_template: Tensor, memory_format: Any = None) -> Tensor:
    """`resize_` to the shape of another tensor."""
    return resize_(self, shape_of(the_template))


# Storages that were asked for in page-locked memory.
_PINNED: weakref.WeakSet[Storage] = weakref.WeakSet()


def pin_memory(self: Tensor, device: Any = None) -> Tensor:
    """A copy whose own copies to a GPU need not wait for it; itself where it is one already.

    The page-locked memory is the runtime's, which everything that is copied with `non_blocking`
    goes through.

    Errors: RuntimeError for a tensor that is not on the CPU, or without a GPU.
    """
    if not self.is_cpu:
        raise RuntimeError(f"cannot pin '{self.type()}' only dense CPU tensors can be pinned")
    if not lazyt.cuda.is_available():
        raise RuntimeError("Cannot access accelerator device when none is available.")
    if is_pinned(self):
        return self
    made = self.clone()
    _PINNED.add(made._storage)
    return made


def is_pinned(self: Tensor, device: Any = None) -> bool:
    """Whether the memory of the tensor is what `pin_memory` made."""
    return self._storage in _PINNED


def record_stream(self: Tensor, stream: Any) -> None:
    """Says that a stream works on the tensor's memory. Nothing is to be done: freed memory waits
    for all streams before it is given out again.

    Errors: RuntimeError for a tensor of the CPU.
    """
    if self.is_cpu:
        raise RuntimeError("record_stream is for tensors of a GPU, not of the CPU")


def storage(self: Tensor) -> TypedStorage:
    """The elements that a tensor and its views share."""
    warn_once(
        "TypedStorage is deprecated. It will be removed in the future and UntypedStorage will be "
        "the only storage class. This should only matter to you if you are using storages "
        "directly.  To access UntypedStorage directly, use tensor.untyped_storage() instead of "
        "tensor.storage()"
    )
    return TypedStorage(self)


FUNCTIONS["resize_as_"] = resize_as_
attach(
    pin_memory=pin_memory,
    is_pinned=is_pinned,
    record_stream=record_stream,
    resize_=resize_,
    resize_as_=resize_as_,
    untyped_storage=lambda self: UntypedStorage(self),
    storage=storage,
)
