"""Launches kernels that `build` compiled for the host on NumPy arrays, looking for faults.

    a = np.ones(100, np.float32)
    HostModule(compile_host(source)).launch("twice", 1, 128, (a, 100))

With `n` passed as 128 the launch raises HostFault: "kernel 'twice', block (0, 0, 0), thread
(100, 0, 0): read of 4 bytes at byte 400 of 'argument 0', which has 400 bytes (line 1)".
"""

from __future__ import annotations

import ctypes
import re
import shutil
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .build import call_tool

# Kinds of faults, by the number that lazyt_launch returns.
FAULTS = (
    "none",
    "barrier",
    "warp",
    "shared bounds",
    "uninitialised shared",
    "global bounds",
    "race",
    "trap",
    "assert",
    "stack",
    "launch",
)

RACE_ELEMENTS = 1 << 25  # above this a buffer's races are not looked for: 24 bytes an element


class HostFault(RuntimeError):
    """A kernel did what a GPU would not forgive, or not tell.

    kind: one of FAULTS. kernel: its name. line: of the source, None where it is not known.
    """

    def __init__(self, message: str, kind: str, kernel: str, line: int | None):
        super().__init__(message)
        self.kind = kind
        self.kernel = kernel
        self.line = line


class _Param(ctypes.Structure):
    _fields_ = [
        ("kind", ctypes.c_char),
        ("pointee", ctypes.c_char),
        ("constant", ctypes.c_ubyte),
        ("size", ctypes.c_uint),
        ("align", ctypes.c_uint),
        ("pointee_size", ctypes.c_uint),
    ]


class _Kernel(ctypes.Structure):
    _fields_ = [
        ("name", ctypes.c_char_p),
        ("invoke", ctypes.c_void_p),
        ("count", ctypes.c_int),
        ("params", ctypes.POINTER(_Param)),
        ("max_threads", ctypes.c_int),
        ("static_shared", ctypes.c_size_t),
    ]


class _Buffer(ctypes.Structure):
    _fields_ = [
        ("start", ctypes.c_void_p),
        ("bytes", ctypes.c_size_t),
        ("granule", ctypes.c_uint),
        ("writable", ctypes.c_int),
        ("name", ctypes.c_char_p),
    ]


class HostModule:
    """The kernels of a shared object that `compile_host` made."""

    def __init__(self, path: Path):
        """path: of the shared object.

        Raises RuntimeError for one with the address sanitizer in a process without its library
        (loading it would end the process), OSError for what cannot be loaded.
        """
        self.path = Path(path)
        self._sanitized = self.path.suffixes[-2:-1] == [".sanitize"]
        if self._sanitized and not hasattr(ctypes.CDLL(None), "__asan_init"):
            raise RuntimeError(
                f"{path} needs the address sanitizer from the start of the process: "
                "run it with the variables that sanitizer_environment() returns"
            )
        self._library = library = ctypes.CDLL(str(self.path))
        library.lazyt_kernel_at.restype = ctypes.POINTER(_Kernel)
        library.lazyt_fault.restype = ctypes.c_char_p
        library.lazyt_fault_offset.restype = ctypes.c_size_t
        kernels = [library.lazyt_kernel_at(i) for i in range(library.lazyt_kernel_count())]
        self._kernels = {k.contents.name.decode(): k for k in kernels}

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the kernels, in the order of the source."""
        return tuple(self._kernels)

    def static_shared(self, name: str) -> int:
        """Bytes of static shared memory that a kernel declares."""
        return self._kernel(name).contents.static_shared

    def _kernel(self, name: str) -> Any:
        if name not in self._kernels:
            raise KeyError(f"no kernel '{name}' in {self.path}: it has {', '.join(self.names)}")
        return self._kernels[name]

    def launch(
        self,
        name: str,
        grid: int | Sequence[int],
        block: int | Sequence[int],
        args: Sequence[Any],
        shared_bytes: int = 0,
        reverse: bool = False,
        memory: Sequence[np.ndarray] = (),
    ) -> None:
        """Runs a kernel to its end.

        grid, block: extents in x, y, z; missing ones are 1.
        args: NumPy arrays for pointers (an array's memory, written in place; None for a null
            pointer), numbers for scalars, an object of the size (NumPy scalar, bytes) for structs.
        shared_bytes: of dynamic shared memory.
        reverse: takes the threads of a block in descending order.
        memory: arrays that structs among the arguments point into; not with the address sanitizer.

        Raises HostFault for what the kernel did wrong, TypeError and OverflowError for arguments
        that do not fit the kernel's parameters.
        """
        kernel = self._kernel(name)
        params = kernel.contents.params[: kernel.contents.count]
        if len(args) != len(params):
            raise TypeError(f"{name} takes {len(params)} arguments, {len(args)} were given")
        arrays: list[tuple[int, np.ndarray]] = []
        packed = []
        for i, (arg, param) in enumerate(zip(args, params)):
            if param.kind == b"p":
                _check_pointer(name, i, arg, param)
                packed.append(b"" if arg is None else None)
                if arg is not None:
                    arrays.append((i, arg))
            else:
                packed.append(_pack_scalar(name, i, arg, param))
        arrays += [(len(args) + i, array) for i, array in enumerate(memory)]
        copies = _exact_copies(arrays) if self._sanitized else None
        values = []
        for i, bits in enumerate(packed):
            if bits is None:
                address = copies[i][0] if copies else _address(args[i])
                bits = struct.pack("P", address)
            values.append(ctypes.create_string_buffer(bits, max(len(bits), params[i].size)))
        pointers = (ctypes.c_void_p * max(len(values), 1))(*map(ctypes.addressof, values))
        buffers = [] if copies else _buffers(arrays)
        dims = (ctypes.c_uint * 6)(*_extents("grid", grid), *_extents("block", block))
        code = self._library.lazyt_launch(
            kernel,
            dims,
            ctypes.c_size_t(shared_bytes),
            pointers,
            (_Buffer * len(buffers))(*buffers),
            -1 if copies else len(buffers),
            int(reverse),
        )
        for address, array in (copies or {}).values():
            _copy_back(address, array)
        if code:
            self._raise(FAULTS[code], name)

    def _raise(self, kind: str, name: str) -> None:
        message = self._library.lazyt_fault().decode(errors="replace")
        line = self._line(self._library.lazyt_fault_offset())
        if line is not None:
            message += f" (line {line})"
        else:
            told = re.search(r"line (\d+)", message)
            line = int(told[1]) if told else None
        raise HostFault(message, kind, name, line)

    def _line(self, offset: int) -> int | None:
        """The line of the source that an address in the image belongs to."""
        tool = shutil.which("addr2line")
        if not offset or tool is None:
            return None
        command = [tool, "-i", "-e", str(self.path), hex(offset)]
        told = re.search(r"\.cu:(\d+)", call_tool(command).stdout)
        return int(told[1]) if told else None


def _extents(what: str, given: int | Sequence[int]) -> tuple[int, ...]:
    extents = (given,) if isinstance(given, int) else tuple(given)
    if len(extents) > 3 or any(not 0 <= e < 1 << 32 for e in extents):
        raise ValueError(f"a {what} has up to three extents of 32 bits, not {given}")
    return (*extents, 1, 1, 1)[:3]


def _address(array: np.ndarray) -> int:
    return array.__array_interface__["data"][0]


def _check_pointer(name: str, i: int, arg: Any, param: _Param) -> None:
    """That an array's elements are what the pointer points to; a void* or struct* takes any."""
    if arg is None:
        return
    if not isinstance(arg, np.ndarray):
        raise TypeError(f"{name}: argument {i} is for a pointer and must be a NumPy array")
    if param.pointee in (b"\0", b"s", b"p"):
        return
    floats = {b"f": "f", b"g": "uV"}.get(param.pointee)
    kinds = floats or "iub"
    # bfloat16 is kept as its bits or as a dtype from elsewhere, of kind V.
    fits = arg.dtype.kind in kinds and arg.dtype.itemsize == param.pointee_size
    if not fits:
        what = {b"f": "floats", b"g": "bfloat16 as uint16"}.get(param.pointee, "integers")
        raise TypeError(
            f"{name}: argument {i} has dtype {arg.dtype}, "
            f"the kernel takes a pointer to {what} of {param.pointee_size} bytes"
        )


def _pack_scalar(name: str, i: int, arg: Any, param: _Param) -> bytes:
    kind, size = param.kind, param.size
    if kind == b"s":
        bits = arg if isinstance(arg, bytes) else np.asarray(arg).tobytes()
        if len(bits) != size:
            raise TypeError(f"{name}: argument {i} has {len(bits)} bytes, the kernel takes {size}")
        return bits
    if not isinstance(arg, (int, float, np.generic)):
        raise TypeError(f"{name}: argument {i} must be a number, not {type(arg).__name__}")
    if kind == b"f":
        return struct.pack({2: "e", 4: "f", 8: "d"}[size], arg)
    if kind == b"g":
        if isinstance(arg, np.uint16):
            return struct.pack("H", arg)
        (bits,) = struct.unpack("I", struct.pack("f", arg))
        rounded = bits + 0x7FFF + (bits >> 16 & 1)
        return struct.pack("H", rounded >> 16 & 0xFFFF if arg == arg else 0x7FFF)
    if isinstance(arg, (float, np.floating)):
        raise TypeError(f"{name}: argument {i} is an integer of {size} bytes, {arg} was given")
    return int(arg).to_bytes(size, "little", signed=kind == b"i")


def _buffers(arrays: list[tuple[int, np.ndarray]]) -> list[_Buffer]:
    """The memory a kernel may touch, by address; arrays that overlap make one buffer."""
    spans = []
    for i, array in arrays:
        if array.size:
            low, high = np.lib.array_utils.byte_bounds(array)
            item = array.dtype.itemsize
            granule = min(item, 4) if item in (1, 2, 4, 8, 16) else 1
            spans.append((low, high, granule, int(array.flags.writeable), f"argument {i}"))
    merged: list[tuple[int, int, int, int, str]] = []
    for span in sorted(spans):
        if merged and span[0] < merged[-1][1]:
            low, high, granule, writable, name = merged[-1]
            name = name if (low, high) == span[:2] and name == span[4] else f"{name}, {span[4]}"
            high, granule = max(high, span[1]), min(granule, span[2])
            merged[-1] = (low, high, granule, writable | span[3], name)
        else:
            merged.append(span)
    buffers = []
    for low, high, granule, writable, name in merged:
        watched = granule if (high - low) // granule <= RACE_ELEMENTS else 0
        buffers.append(_Buffer(low, high - low, watched, writable, name.encode()))
    return buffers


def _exact_copies(arrays: list[tuple[int, np.ndarray]]) -> dict[int, tuple[int, np.ndarray]]:
    """Each array's bytes in memory of exactly that size, so that the sanitizer sees its ends."""
    malloc = ctypes.CDLL(None).malloc
    malloc.restype = ctypes.c_void_p
    copies = {}
    for i, array in arrays:
        if not array.flags.c_contiguous:
            raise TypeError(f"argument {i} must be contiguous under the address sanitizer")
        address = malloc(ctypes.c_size_t(array.nbytes))
        ctypes.memmove(address, _address(array), array.nbytes)
        copies[i] = (address, array)
    return copies


def _copy_back(address: int, array: np.ndarray) -> None:
    if array.flags.writeable:
        ctypes.memmove(_address(array), address, array.nbytes)
    ctypes.CDLL(None).free(ctypes.c_void_p(address))
