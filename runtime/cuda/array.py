"""Strided arrays in device memory.

    x = upload(np.array([[0, 1, 2], [3, 4, 5]]), TensorType.of((2, 3), int64, "cuda:0"))
    y = x.view(lambda a: a.transpose(1, 0)[1:])     # shape (2, 2), strides (1, 3), same memory
    download(y)                                     # [[1, 4], [2, 5]]

An array's *geometry* is a NumPy array over the device's address that is never read or written: it
carries shape and strides, and NumPy's own functions compute views of it.

On the device bfloat16 takes 2 bytes; on the host it is carried in float32 (ir/dtypes.py), so copies
convert.
"""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Callable
from importlib import resources
from typing import Any

import numpy as np

from lazyt.codegen.launches import Array, CudaKernel, Fixed, Launch, Table
from lazyt.ir.dtypes import ALL, DType, bfloat16
from lazyt.ir.numerics import round_bfloat16
from lazyt.ir.types import TensorType

from .compiler import function
from .driver import Device, device, driver
from .memory import Memory, accounts, allocate, lent
from .streams import queue

DEVICE_DTYPES = {d: np.dtype(np.uint16) if d is bfloat16 else d.numpy for d in ALL}
LARGEST_RANK = 8
BLOCK, LARGEST_GRID = 256, 1 << 20  # threads, blocks of a strided copy
TILE, TILE_STEP = 32, 8  # as in strided_copy.cu


class DeviceArray:
    """A strided array of a device. `strides` in elements; `whole`: it shows all of its memory, row
    after row."""

    __slots__ = ("memory", "geometry", "dtype", "device_index", "address", "__weakref__")

    def __init__(self, memory: Memory, geometry: np.ndarray, dtype: DType, device_index: int):
        self.memory, self.geometry, self.dtype = memory, geometry, dtype
        self.device_index = device_index
        self.address: int = geometry.__array_interface__["data"][0] if geometry.size else 0

    @property
    def shape(self) -> tuple[int, ...]:
        return self.geometry.shape

    @property
    def strides(self) -> tuple[int, ...]:
        size = self.dtype.itemsize
        return tuple(s // size for s in self.geometry.strides)

    @property
    def contiguous(self) -> bool:
        return self.geometry.flags.c_contiguous

    @property
    def nbytes(self) -> int:
        """Bytes of its elements."""
        return self.geometry.nbytes

    @property
    def whole(self) -> bool:
        same = self.address == self.memory.address and self.nbytes == self.memory.nbytes
        return same and self.contiguous

    @property
    def device(self) -> Device:
        return device(self.device_index)

    def view(self, change: Callable[[np.ndarray], np.ndarray]) -> DeviceArray:
        """The same memory in another geometry: `x.view(lambda a: a[2:].T)`.

        Errors: ValueError where the result shows anything else, or other elements. What NumPy can
        only do by copying (a reshape of a transposed array) must be asked with `copy=False`, and an
        element is `a[0, 0, ...]`: NumPy would read the device's memory.
        """
        geometry = change(self.geometry)
        made = DeviceArray(self.memory, geometry, self.dtype, self.device_index)
        if geometry.dtype != self.geometry.dtype:
            raise ValueError(f"a view has elements of {self.geometry.dtype}, not {geometry.dtype}")
        if geometry.size:
            low, high = extent_of(geometry)
            start = made.address - self.memory.address
            if start + low < 0 or start + high > self.memory.nbytes:
                raise ValueError("a view must show the memory of its array")
        return made

    def window(self, offset: int, shape: tuple[int, ...], strides: tuple[int, ...]) -> DeviceArray:
        """What lies `offset` elements behind the first one, in other strides (in elements).

        Errors: as `view`.
        """
        if 0 in shape:
            return self.view(lambda a: np.empty(shape, a.dtype))
        kind, place = self.geometry.dtype, _over(self.memory)
        start = self.address - self.memory.address + offset * kind.itemsize
        steps = tuple(k * kind.itemsize for k in strides)
        return self.view(lambda a: np.ndarray(shape, kind, place, start, steps))

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        stream = queue(self.device_index)
        return {
            "version": 3,
            "shape": self.shape,
            "typestr": "<V2" if self.dtype is bfloat16 else self.geometry.dtype.str,
            "data": (self.address, False),
            "strides": None if self.contiguous else self.geometry.strides,
            "stream": 1 if stream is None else int(stream.handle),  # 1: the default one
        }

    def __repr__(self) -> str:
        return (
            f"DeviceArray(cuda:{self.device_index}, {self.dtype.name}, shape={self.shape}, "
            f"strides={self.strides}, address={self.address:#x})"
        )


def extent_of(geometry: np.ndarray) -> tuple[int, int]:
    """The bytes before (negative) and after the first element that an array reaches."""
    low, high = 0, geometry.itemsize
    for extent, step in zip(geometry.shape, geometry.strides):
        reach = (extent - 1) * step
        if reach < 0:
            low += reach
        else:
            high += reach
    return low, high


def index_of(name: str) -> int:
    """The number of the device that a type names: 1 for "cuda:1"."""
    return int(name.rpartition(":")[2])


def geometry_over(memory: Memory, shape: tuple[int, ...], dtype: DType) -> np.ndarray:
    """The row-major geometry of all of a memory."""
    kind = DEVICE_DTYPES[dtype]
    if memory.address == 0:
        return np.empty(shape, kind)
    return np.ndarray(shape, kind, _over(memory))


def _over(memory: Memory) -> Any:
    """A buffer over a memory, for NumPy to count in."""
    return (ctypes.c_char * memory.nbytes).from_address(memory.address)


def empty(type: TensorType) -> DeviceArray:
    """A row-major array, not initialised. Errors: OutOfMemoryError."""
    index = index_of(type.device)
    memory = allocate(type.nbytes, device(index))
    return DeviceArray(memory, geometry_over(memory, type.shape, type.dtype), type.dtype, index)


def type_of(x: DeviceArray) -> TensorType:
    """The type of a tensor that an array holds."""
    return TensorType.of(x.shape, x.dtype, f"cuda:{x.device_index}")


# -------------------------------------------------------------------------- to and from the host


def upload(array: np.ndarray, type: TensorType, non_blocking: bool = False) -> DeviceArray:
    """Copies an array of the host, as lazyt carries it, to the device that its type names.

    non_blocking: in the order of the current stream, from page-locked memory that the values are
    copied to first: the call does not wait for the device, and `array` may change afterwards.

    Errors: ValueError for another shape; OutOfMemoryError.
    """
    if array.shape != type.shape:
        raise ValueError(f"an array of shape {array.shape} for a tensor of {type.shape}")
    made = empty(type)
    if type.numel == 0:
        return made
    held = np.ascontiguousarray(array, type.dtype.numpy)
    if type.dtype is bfloat16:
        held = (round_bfloat16(held).view(np.uint32) >> np.uint32(16)).astype(np.uint16)
    place = made.device
    if not non_blocking:
        place.write(made.address, held)
        return made
    try:
        staging = place.pinned(held.nbytes)
    except driver().memory_error:  # of the host: waiting needs none
        place.write(made.address, held)
        return made
    staging[:] = held.reshape(-1).view(np.uint8)
    stream = queue(place.index)
    place.write_later(made.address, staging, stream)
    accounts(place).hold(staging, (stream,))
    return made


def download(x: DeviceArray) -> np.ndarray:
    """The values as a new row-major array of the host; waits for the device.

    Errors: IndexError where an operation that ran before found an operand out of its range.
    """
    whole = contiguous(x)
    found = np.empty(x.shape, x.geometry.dtype)
    if found.size:
        x.device.read(found, whole.address)
    else:
        x.device.wait()
    x.device.check_refusal()
    if x.dtype is bfloat16:
        return (found.astype(np.uint32) << np.uint32(16)).view(np.float32)
    return found


# ------------------------------------------------------------------------------ within the device


def contiguous(x: DeviceArray) -> DeviceArray:
    """`x` itself if it is row-major, else a copy that is."""
    if x.contiguous:
        return x
    made = empty(type_of(x))
    copy_into(made, x)
    return made


def copy_into(target: DeviceArray, source: DeviceArray) -> None:
    """Copies values of the same dtype on one device, as if `source` had been copied first.

    source: of the target's shape, or expandable to it. target: every element once.

    Errors: ValueError for other shapes, dtypes and devices, for a target with repeated elements,
    and for more than 8 axes that cannot be merged.
    """
    if target.dtype is not source.dtype or target.device_index != source.device_index:
        raise ValueError(f"copying {source!r} into {target!r} would convert or move it")
    if 0 in target.shape:
        return
    if any(s == 0 and n > 1 for s, n in zip(target.strides, target.shape)):
        raise ValueError("several elements of the target are the same memory")
    if source.shape != target.shape:
        source = source.view(lambda a: np.broadcast_to(a, target.shape))
    if np.may_share_memory(target.geometry, source.geometry):
        if target.address == source.address and target.strides == source.strides:
            return
        made = empty(type_of(source))
        copy_into(made, source)
        source = made
    place = target.device
    extents, to, start = coalesce(target.shape, target.strides, source.strides)
    if len(extents) == 1 and to[0] in (0, 1) and to == start:
        place.copy(target.address, source.address, target.nbytes, queue(place.index))
        return
    if len(extents) > LARGEST_RANK:
        raise ValueError(f"a strided copy of {len(extents)} axes: at most {LARGEST_RANK}")
    _launch_copy(target, source, extents, to, start)


def coalesce(
    shape: tuple[int, ...], first: tuple[int, ...], second: tuple[int, ...]
) -> tuple[list[int], list[int], list[int]]:
    """Extents and two strides of the fewest axes that go over the same pairs of elements, the ones
    with the largest strides of `first` outermost.

    Axes of extent 1 go; neighbours merge where both arrays lie together in them.
    """
    axes = [(abs(a), n, a, b) for n, a, b in zip(shape, first, second) if n != 1]
    axes.sort(key=lambda axis: -axis[0])
    extents, to, start = [1], [0], [0]
    for _, n, a, b in axes:
        if to[-1] == n * a and start[-1] == n * b or extents[-1] == 1:
            extents[-1], to[-1], start[-1] = extents[-1] * n, a, b
        else:
            extents.append(n)
            to.append(a)
            start.append(b)
    return extents, to, start


@functools.cache
def copy_kernel() -> CudaKernel:
    """The strided copies: any, and those that transpose, a function for each size of an element."""
    text = resources.files("lazyt.runtime.cuda").joinpath("strided_copy.cu").read_text()
    names = [f"strided_{kind}_{n}" for kind in ("copy", "transpose") for n in (1, 2, 4, 8)]
    launches = tuple(Launch(name, (1, 1, 1), (1, 1, 1), ()) for name in names)
    return CudaKernel("strided", text, launches)


@functools.cache
def _copy_function(name: str, place: Device) -> Any:
    return function(copy_kernel(), name, place)


def transposed(extents: list[int], to: list[int], start: list[int]) -> int | None:
    """The axis along which the source lies together, where the target does so along the last and
    both are long enough for tiles."""
    if to[-1] != 1 or start[-1] == 1 or extents[-1] < TILE // 2:
        return None
    return next((i for i, n in enumerate(extents) if start[i] == 1 and n >= TILE // 2), None)


def _launch_copy(
    target: DeviceArray, source: DeviceArray, extents: list[int], to: list[int], start: list[int]
) -> None:
    from .launch import packer

    rank, total, size = len(extents), target.geometry.size, target.dtype.itemsize
    before: tuple[Fixed, ...]
    axis = transposed(extents, to, start)
    if axis is None:
        name, grid = f"strided_copy_{size}", min(-(-total // BLOCK), LARGEST_GRID)
        shape, before = (BLOCK, 1, 1), (Fixed(total, "q"), Fixed(rank, "i"))
    else:
        for row in (extents, to, start):
            row.insert(rank - 2, row.pop(axis))
        rows, columns = extents[-2], extents[-1]
        tiles = -(-rows // TILE) * -(-columns // TILE)
        name, grid = f"strided_transpose_{size}", total // (rows * columns) * tiles
        shape, before = (TILE, TILE_STEP, 1), (Fixed(rank, "i"),)
    rest = [0] * (LARGEST_RANK - rank)
    table = Table(tuple(tuple(Fixed(v, "q") for v in row + rest) for row in (extents, to, start)))
    step = Launch(name, (grid, 1, 1), shape, (Array(0), Array(1), *before, table))
    packed, place = packer(step)((target, source), (), 0, 0), target.device
    launch = _copy_function(name, place)
    place.activate()
    launch(step.grid, step.block, packed, 0, queue(place.index))


# -------------------------------------------------------------------------------- between devices


def to_device(x: DeviceArray, index: int) -> DeviceArray:
    """A row-major copy on another device; `x` itself on its own."""
    if index == x.device_index:
        return x
    whole = contiguous(x)
    made = empty(TensorType.of(x.shape, x.dtype, f"cuda:{index}"))
    if not made.nbytes:
        return made
    there = made.device
    if not there.copy_from(made.address, x.device, whole.address, made.nbytes):
        staging = there.pinned(made.nbytes)
        x.device.read(staging, whole.address)
        there.write(made.address, staging)
    return made


def from_interface(lender: Any, index: int = 0) -> DeviceArray:
    """An array over the memory of an object with `__cuda_array_interface__`, which is kept alive.

    index: of the device that the memory belongs to: the interface does not tell it.

    Errors: TypeError for types of elements that there are not, and for read-only memory.
    """
    told = lender.__cuda_array_interface__
    address, read_only = told["data"]
    kind, shape = told["typestr"], tuple(told["shape"])
    dtype = bfloat16 if kind == "<V2" else _BY_TYPESTR.get(kind)
    if dtype is None:
        raise TypeError(f"{kind} (of __cuda_array_interface__) is no type of tensors")
    if read_only:
        raise TypeError("tensors cannot share read-only memory: copy it first")
    if told.get("mask") is not None:
        raise TypeError("tensors cannot share memory with a mask")
    place = device(index)
    if told.get("stream") not in (None, 1):
        place.wait()  # for whatever the lender's stream still does with it
    if 0 in shape:
        return empty(TensorType.of(shape, dtype, f"cuda:{index}"))
    steps = told.get("strides")
    kinds = DEVICE_DTYPES[dtype]
    model = np.lib.stride_tricks.as_strided(np.empty(1, kinds), shape, steps or _rows(shape, kinds))
    low, high = extent_of(model)
    memory = lent(address + low, high - low, lender, place)
    whole: Any = (ctypes.c_char * memory.nbytes).from_address(memory.address)
    geometry = np.ndarray(shape, kinds, whole, -low, model.strides)
    return DeviceArray(memory, geometry, dtype, index)


_BY_TYPESTR = {DEVICE_DTYPES[d].str: d for d in ALL if d is not bfloat16}


def _rows(shape: tuple[int, ...], kind: np.dtype) -> tuple[int, ...]:
    strides = TensorType.of(shape, ALL[0]).strides
    return tuple(s * kind.itemsize for s in strides)
