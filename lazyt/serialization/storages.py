"""Storages in files: which class of PyTorch's names an element type, and bytes to arrays and back.

    STORAGES["FloatStorage"].dtype       # torch.float32
    on_disk(array, float32)              # the bytes, as a vector of uint8

In a file tensors are places in storages: (storage, offset, size, stride). `LoadedStorage` is one
that is being loaded; it reads its bytes when the first tensor on it says which shape it has, so
that a tensor alone on its storage is as plain as one that was never saved.
"""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from pickle import UnpicklingError
from typing import Any

import numpy as np

from lazyt.device import Device, resolve
from lazyt.dispatch import data_node, wrap
from lazyt.functions.memory import TypedStorage, UntypedStorage
from lazyt.ir import dtypes
from lazyt.ir.dtypes import DType
from lazyt.ir.numerics import bfloat16_bits, bfloat16_of_bits
from lazyt.ir.ops_device import transfer
from lazyt.ir.ops_shape import as_strided_
from lazyt.ir.types import contiguous_strides
from lazyt.runtime.drain import value_of
from lazyt.storage import Meta, Storage, Versions, span
from lazyt.tensor import Tensor

Read = Callable[[tuple[int, ...], DType], np.ndarray]

# PyTorch's storage classes and what their elements are.
_NAMES = {
    "DoubleStorage": "float64",
    "FloatStorage": "float32",
    "HalfStorage": "float16",
    "BFloat16Storage": "bfloat16",
    "LongStorage": "int64",
    "IntStorage": "int32",
    "ShortStorage": "int16",
    "CharStorage": "int8",
    "ByteStorage": "uint8",
    "BoolStorage": "bool",
    "ComplexDoubleStorage": "complex128",
    "ComplexFloatStorage": "complex64",
    "QInt8Storage": "qint8",
    "QInt32Storage": "qint32",
    "QUInt8Storage": "quint8",
    "QUInt4x2Storage": "quint4x2",
    "QUInt2x4Storage": "quint2x4",
}
# Element types that PyTorch has and no storage class for.
_NAMELESS = (
    *("uint16", "uint32", "uint64", "complex32"),
    *("float8_e4m3fn", "float8_e4m3fnuz", "float8_e5m2", "float8_e5m2fnuz", "float8_e8m0fnu"),
)
MISSING = {n for n in (*_NAMES.values(), *_NAMELESS) if n not in dtypes.BY_NAME}


class StorageClass:
    """What stands for a class like torch.FloatStorage in a file. `element`: its dtype's name;
    "untyped" for bytes."""

    def __init__(self, name: str, element: str):
        self.name, self.element = name, element

    @property
    def dtype(self) -> DType:
        """RuntimeError where lazyt has no such dtype."""
        return dtype_called("uint8" if self.element == "untyped" else self.element)

    def __repr__(self) -> str:
        return f"StorageType(dtype=torch.{self.element})"

    def __reduce__(self) -> tuple:
        return storage_class, (self.name,)


UNTYPED = StorageClass("UntypedStorage", "untyped")
STORAGES = {name: StorageClass(name, element) for name, element in _NAMES.items()}
STORAGE_OF = {storage.element: storage for storage in STORAGES.values()}


def storage_class(name: str) -> StorageClass:
    """The one that goes by a name of PyTorch's."""
    return UNTYPED if name == UNTYPED.name else STORAGES[name]


def dtype_called(name: str) -> DType:
    """A dtype by its name. RuntimeError for one that lazyt lacks."""
    found = dtypes.BY_NAME.get(name)
    if found is None:
        raise RuntimeError(f"the file has tensors of torch.{name}, a dtype that is missing here")
    return found


def disk_dtype(dtype: DType) -> np.dtype:
    """How NumPy sees the elements in a file: bfloat16 as the 16 bits it has there."""
    return np.dtype(np.uint16) if dtype is dtypes.bfloat16 else dtype.numpy


def on_disk(array: np.ndarray, dtype: DType) -> np.ndarray:
    """The bytes of an array in its carrier, row-major, as a vector of uint8."""
    if dtype is dtypes.bfloat16:
        array = bfloat16_bits(array)
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8)


def off_disk(array: np.ndarray, dtype: DType) -> np.ndarray:
    """The carrier of what was read with `disk_dtype`."""
    if dtype is dtypes.bfloat16:
        return bfloat16_of_bits(array)
    if dtype is dtypes.bool_ and array.view(np.uint8).max(initial=0) > 1:
        return array.view(np.uint8) != 0
    return array


class SavedStorage:
    """Stands in a pickle for a tensor's storage: `persistent_id` writes where its bytes are."""

    def __init__(self, storage: Storage, kind: StorageClass):
        self.storage, self.kind = storage, kind

    @property
    def device(self) -> Device:
        return Device(self.storage.node.type.device)

    @property
    def numel(self) -> int:
        type = self.storage.node.type
        return type.nbytes if self.kind is UNTYPED else type.numel

    def payload(self) -> np.ndarray:
        """Its bytes as they are now."""
        node = self.storage.node
        return on_disk(value_of(node), node.type.dtype)


class LoadedStorage(TypedStorage):
    """A storage of a file, on the device it is to be on.

    read: gives the elements of a dtype in a shape, as an array that nobody else holds.
    """

    def __init__(self, dtype: DType, numel: int, read: Read, device: str = "cpu"):
        self._dtype, self._numel, self._read, self._device = dtype, numel, read, device
        self._made: Storage | None = None

    @property
    def _storage(self) -> Storage:  # type: ignore[override]
        if self._made is None:
            self.make((self._numel,))
        assert self._made is not None
        return self._made

    @property
    def dtype(self) -> DType:
        return self._dtype

    @property
    def device(self) -> Device:
        return Device(self._device)

    def size(self) -> int:
        """The number of elements."""
        return self._numel

    __len__ = size

    def nbytes(self) -> int:
        return self._numel * self._dtype.itemsize

    @property
    def fresh(self) -> bool:
        """Whether no tensor lies on it yet."""
        return self._made is None

    def make(self, shape: tuple[int, ...]) -> None:
        """Reads the elements; the storage's own value has this shape."""
        node = data_node(self._read(shape, self._dtype), self._dtype, self._device)
        self._made = wrap(node)._storage

    def become(self, dtype: DType) -> None:
        """Makes bytes of a fresh storage elements of a dtype. RuntimeError where they are not."""
        if dtype is not self._dtype:
            if self._made is not None or self.nbytes() % dtype.itemsize:
                raise RuntimeError(f"a storage of {self._dtype} cannot be one of {dtype}")
            self._numel, self._dtype = self.nbytes() // dtype.itemsize, dtype

    def to(self, device: Any) -> LoadedStorage:
        """The same elements on a device; RuntimeError where that is not there."""
        where = resolve(device)
        if where == self._device:
            return self
        moved = LoadedStorage(self._dtype, self._numel, self._read, where)
        if self._made is not None:
            moved._made = wrap(transfer(self._made.node, where))._storage
        return moved

    def cpu(self) -> LoadedStorage:
        """The same elements on the CPU."""
        return self.to("cpu")

    def cuda(self, device: Any = None, non_blocking: bool = False) -> LoadedStorage:
        """The same elements on a GPU, the current one if none is named."""
        return self.to("cuda" if device is None else device)


def tensor_on(
    storage: UntypedStorage, offset: int, shape: tuple[int, ...], strides: tuple[int, ...]
) -> Tensor:
    """A tensor at a place of a storage. The second one on a storage shares its memory, as a
    `.data` alias does: neither's history or version is the other's.

    Errors: RuntimeError for a place that is not in the storage.
    """
    loaded = storage if isinstance(storage, LoadedStorage) else None
    numel = loaded.size() if loaded else storage._storage.node.type.numel
    _check_place(numel, offset, shape, strides)
    alone = loaded is not None and loaded.fresh
    if loaded is not None and loaded.fresh:
        plain = offset == 0 and strides == contiguous_strides(shape) and prod(shape) == numel
        loaded.make(shape if plain else (numel,))
    t: Tensor = object.__new__(Tensor)
    t._storage, t._node, t._seen = storage._storage, None, None
    type, meta = t._storage.node.type, None
    if (offset, shape, strides) != (0, type.shape, type.strides):
        meta = Meta()
        meta.recipe = ((as_strided_, (shape, strides), (offset,)),)
        meta.offset, meta.shape, meta.strides = offset, shape, strides
    if not alone:
        meta = meta or Meta()
        meta.stopped, meta.counter = True, Versions()
    t._meta = meta
    return t


def _check_place(numel: int, offset: int, shape: tuple, strides: tuple) -> None:
    """RuntimeError for what is no place in a storage of so many elements."""
    numbers = (offset, *shape, *strides)
    whole = all(n.__class__ is int and 0 <= n < 1 << 62 for n in numbers)
    if not whole or len(shape) != len(strides) or len(shape) > 64:
        raise RuntimeError("the size, stride and offset of a tensor in the file are not such")
    ends = span(offset, shape, strides)
    if ends is not None and ends[1] >= numel:
        raise RuntimeError(
            f"setStorage: sizes {list(shape)}, strides {list(strides)}, storage offset {offset} "
            f"require {ends[1] + 1} elements, and the storage has {numel}"
        )


def named_storage(saved: Any, length: int) -> tuple[StorageClass, str, str, int]:
    """Class, key, location and number of elements out of what stands for a storage in a pickle.

    Errors: UnpicklingError for anything else.
    """
    if not isinstance(saved, tuple) or not saved or _text(saved[0]) != "storage":
        what = type(saved[0] if isinstance(saved, tuple) and saved else saved)
        raise UnpicklingError(f"Only persistent_load of storage is allowed, but got {what}")
    kind, key, location, numel = (*saved[1:], None, None, None, None)[:4]
    known = isinstance(kind, StorageClass) and numel.__class__ is int and numel >= 0
    if len(saved) != length or not known or None in map(_text, (key, location)):
        raise UnpicklingError("what stands for a storage in the pickle names none")
    return kind, _text(key), _text(location), numel  # type: ignore[return-value]


def _text(thing: Any) -> str | None:
    """A text, or the one that Python 2 wrote as bytes."""
    if isinstance(thing, bytes):
        return thing.decode("ascii", "replace")
    return thing if isinstance(thing, str) else None
