"""Memory that others see too: arrays we hand out (`numpy`, DLPack, the CUDA array interface) and
arrays we took in (`from_numpy`).

An array we hand out is made through a `Lease`, which NumPy keeps as the base of every array derived
from it; a weak reference to the lease tells whether anybody can still see the memory. Memory we
took in is ours alone once the reference counts along its chain of bases say that nobody else holds
it. Memory of a GPU is handed out as an address: it counts as seen as long as it is a tensor's.
"""

from __future__ import annotations

import weakref
from sys import getrefcount
from typing import TYPE_CHECKING, Any

import numpy as np

from lazyt.ir.dtypes import DType
from lazyt.ir.node import LOCAL, NUMBERS, Node, leaf
from lazyt.ir.opdef import Op
from lazyt.ir.ops_shape import as_strided_, replaced
from lazyt.ir.types import TensorType, contiguous_strides
from lazyt.runtime import drain as runtime
from lazyt.runtime import placed
from lazyt.runtime.placed import copied, on_host, overwrite

from .storage import Meta, Placed, Storage, shape_of, span

if TYPE_CHECKING:
    from .tensor import Tensor

data = Op("data", "None", kind="constant", infer=None)

SNAPSHOT_BYTES = 64 << 10


class Lease:
    """Stands between an array we give away (or took in) and its memory.

    NumPy keeps it as the base of every array made through it, so it lives exactly as long as
    somebody can see the memory.
    """

    __slots__ = ("array", "__weakref__")

    def __init__(self, array: np.ndarray):
        self.array = array

    @property
    def __array_interface__(self) -> dict[str, Any]:
        interface = self.array.__array_interface__
        if not self.array.flags.writeable:  # a tensor writes to it all the same, as in PyTorch
            return {**interface, "data": (interface["data"][0], False)}
        return interface


class Export:
    """Who outside sees a storage's memory: leases given out, or the owner it came from.

    array: the memory itself, as the storage's value: an array of the host or of a device. replaces:
    the storage's node before the export, until the first write after it.
    """

    __slots__ = ("array", "leases", "foreign", "replaces")

    def __init__(self, array: Any, foreign: Lease | None = None):
        self.array = array
        self.leases: list[weakref.ref] = []
        self.foreign = foreign
        self.replaces: Node | None = None

    def alive(self) -> bool:
        self.leases = [ref for ref in self.leases if ref() is not None]
        return bool(self.leases) or (self.foreign is not None and _held_outside(self.foreign))


class Addressed(Export):
    """Memory of a GPU whose address others know: nothing says when they are done with it."""

    __slots__ = ()

    def alive(self) -> bool:
        return True


class Exported(Placed):
    """On a node whose array was handed out: a backward that saved it reads what is there then."""

    __slots__ = ()

    def value(self, node: Node) -> Node:
        storage = self.storage()
        if not isinstance(storage, Storage):  # gone, but others may see the array
            return leaf(data, copied(node.value), node.type)
        if storage.export is None:
            return node if storage.node.value is node.value else storage.node
        return leaf(data, copied(storage.export.array), node.type)


def _held_outside(lease: Lease) -> bool:
    """Whether anybody but `lease` can reach the memory of its array, by the chain of bases."""
    array: Any = lease.array
    # The lease's attribute, `array` and getrefcount's argument.
    if getrefcount(array) > 3:
        return True
    while True:
        below = array.base
        if below is None:
            return False
        if below.__class__ is not np.ndarray:
            return True
        # The attribute `base`, `below` and getrefcount's argument.
        if getrefcount(below) > 3:
            return True
        array = below
        del below


def is_exported(storage: Storage) -> bool:
    """Whether somebody outside can see the memory now; forgets an export nobody holds."""
    exported = storage.export
    if exported is None:
        return False
    if exported.alive():
        return True
    storage.export = None
    if exported.replaces is not None and exported.replaces.value is exported.array:
        storage.node = exported.replaces  # nothing was written: handles need not derive anew
        if storage.node.after.__class__ is Exported:
            storage.node.after = None
    return False


def adopt(array: np.ndarray, dtype: DType) -> tuple[Storage, Meta | None]:
    """A storage over somebody's array, without a copy, and the place of the array in it.

    Memory that is not row-major becomes a vector of all that lies between its first and its last
    element, shown through the array's strides. Errors: ValueError where these are not whole
    elements.
    """
    lease = Lease(array)
    value = np.asarray(lease)
    place = None
    row_major = tuple(k * array.itemsize for k in contiguous_strides(array.shape))
    if array.size and array.strides != row_major:
        if any(s % array.itemsize for s in array.strides):
            raise ValueError(
                "given numpy array strides not a multiple of the element byte size. Copy the numpy "
                "array to reallocate the memory."
            )
        strides = tuple(s // array.itemsize for s in array.strides)
        place = _place(array.shape, strides)
        _, last = span(0, array.shape, strides)  # type: ignore[misc]
        value = np.lib.stride_tricks.as_strided(value, (last + 1,), (array.itemsize,))
    storage = Storage(leaf(data, value, TensorType.of(value.shape, dtype)))
    storage.export = Export(value, lease)
    return storage, place


def _place(shape: tuple[int, ...], strides: tuple[int, ...]) -> Meta:
    """The place of a handle that shows a storage from its first element on, in other strides."""
    made = Meta()
    made.shape, made.strides = shape, strides
    made.recipe = ((as_strided_, (shape, strides), (0,)),)
    return made


def _opened(storage: Storage, kind: type[Export]) -> Export:
    """The export of a storage, which begins here if nobody outside sees the memory yet."""
    if storage.export is None or not is_exported(storage):
        node = storage.node
        value = runtime.realised(node)
        runtime.drain()  # what is pending has to read the memory before anybody writes to it
        if not _all_its_own(value):
            value = copied(value)
        if node.after is None:
            node.after = Exported(storage)
        fresh = leaf(data, value, node.type)
        storage.node = with_history(node, fresh)
        storage.export = kind(value)
        storage.export.replaces = node
    return storage.export


def _all_its_own(value: Any) -> bool:
    """Whether an array is all of its memory, row-major, and not somebody's view."""
    if value.__class__ is np.ndarray:
        return value.base is None and value.flags.writeable and value.flags.c_contiguous
    return value.whole


def export(t: Tensor) -> np.ndarray:
    """An array over the tensor's own memory; writes are seen both ways."""
    shown = _opened(t._storage, Export)
    lease = Lease(shown.array)
    shown.leases.append(weakref.ref(lease))
    whole = np.asarray(lease)
    del lease
    return window_of(t, whole)


def with_history(old: Node, fresh: Node) -> Node:
    """`fresh`, with the history of `old` where it has one."""
    if not old.grad:
        return fresh
    node = leaf(replaced, fresh.value, fresh.type)
    node.src = (old, fresh)
    node.grad = next(NUMBERS)
    return node


def _shared(storage: Storage) -> Export:
    """The export of a storage that has one."""
    assert storage.export is not None
    return storage.export


def window(t: Tensor) -> Any:
    """The handle's window on exported memory as it is now."""
    return window_of(t, _shared(t._storage).array)


def window_of(t: Tensor, whole: Any) -> Any:
    """The handle's window on the array of its whole storage."""
    meta = t._meta
    if meta is None or meta.strides is None:
        return whole
    return placed.window(whole, meta.offset, shape_of(t), meta.strides)


def snapshot(t: Tensor) -> Node:
    """A node with what exported memory holds now: a copy, or the window itself where that is large.

    An operation that reads the window runs at once, before anybody can write to it.
    """
    seen = window(t)
    type = t._storage.node.type.with_shape(seen.shape)
    on_device = seen.__class__ is not np.ndarray
    if seen.nbytes <= SNAPSHOT_BYTES or on_device and not seen.contiguous:
        return leaf(data, copied(seen), type)
    LOCAL.urgent = True
    LOCAL.limit = 0
    return leaf(data, seen, type)


def land_at(t: Tensor, value: Node) -> Node:
    """Writes `value` into t's window on exported memory, at once; the storage's new node.

    For a write without history: what lies beside the window is not touched.
    """
    array = _shared(t._storage).array
    runtime.drain()  # what is pending has to read the memory before it changes
    overwrite(window(t), runtime.realised(value))
    return leaf(data, array, t._storage.node.type)


def land(storage: Storage, new: Node) -> None:
    """Writes a new value of the storage into exported memory, at once."""
    array = _shared(storage).array
    value = runtime.realised(new)
    if value is not array:
        overwrite(array, value)
        new.value = array
    new.after = new.after or Exported(storage)


def device_export(t: Tensor) -> dict[str, Any]:
    """The CUDA array interface of a tensor on a device; writes are seen both ways."""
    whole = _opened(t._storage, Addressed).array
    whole.memory.shared = True  # no plan overwrites it unasked
    return window_of(t, whole).__cuda_array_interface__


def adopt_lent(lender: Any) -> tuple[Storage, Meta | None]:
    """A storage over the memory of an object with `__cuda_array_interface__`, which is kept alive,
    and the place of the object's elements in it.

    What lies backwards (negative strides) is copied. Errors: AssertionError without a device;
    TypeError for what tensors cannot share.
    """
    from lazyt.runtime.cuda.array import from_interface, type_of

    from .device import resolve

    where = resolve("cuda")
    value = from_interface(lender, int(where.removeprefix("cuda:")))
    if any(k < 0 for k in value.strides):
        value = copied(value)
        return Storage(leaf(data, value, type_of(value))), None
    place = None
    if not value.contiguous:
        place = _place(value.shape, value.strides)
        count = value.memory.nbytes // value.dtype.itemsize
        value = value.window(0, (count,), (1,))
    storage = Storage(leaf(data, value, type_of(value)))
    storage.export = Addressed(value)
    return storage, place


def address_of(storage: Storage) -> int:
    """The address of a storage's memory, on its device; 0 where it has no elements."""
    type = storage.node.type
    if not type.numel:
        return 0
    if type.device != "cpu":
        return runtime.realised(storage.node).address
    return memory_of(storage).ctypes.data


def memory_of(storage: Storage) -> np.ndarray:
    """The array whose address `data_ptr` reports: the same one while nobody else holds it."""
    if storage.export is not None:
        return on_host(storage.export.array)
    value = runtime.value_of(storage.node)
    kept = storage.address
    # 3: the storage's slot, `kept` and getrefcount's argument; the old memory is ours alone.
    if (
        kept is not None
        and kept is not value
        and kept.shape == value.shape
        and getrefcount(kept) == 3
    ):
        np.copyto(kept, value)
        storage.node.value = value = kept
    if value.base is not None or not value.flags.c_contiguous:
        storage.node.value = value = np.array(value, order="C", copy=True)
    storage.address = value
    return value
