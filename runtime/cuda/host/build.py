"""Compiles CUDA C for the host and launches its kernels on NumPy arrays, looking for faults.

    source = 'extern "C" __global__ void twice(float* a, int n) {'
             '    int i = blockIdx.x * blockDim.x + threadIdx.x; if (i < n) a[i] *= 2; }'
    a = np.ones(100, np.float32)
    HostModule(compile_host(source)).launch("twice", 1, 128, (a, 100))

With `n` passed as 128 the launch raises HostFault: "kernel 'twice', block (0, 0, 0), thread
(100, 0, 0): read of 4 bytes at byte 400 of 'argument 0', which has 400 bytes (line 1)". How kernels
run, and which faults are found and which are not, is told in cuda_host.h.
"""

from __future__ import annotations

import ctypes
import functools
import hashlib
import os
import platform
import re
import shutil
import struct
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ...native import TIMEOUT_S, cache_folder

HERE = Path(__file__).parent
HEADER = HERE / "cuda_host.h"
DRIVER = HERE / "driver.c"

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

# Headers of the toolkit that a source may include; cuda_host.h has what they declare.
TOOLKIT_HEADERS = (
    "cuda_bf16.h",
    "cuda_fp16.h",
    "cuda_runtime.h",
    "device_launch_parameters.h",
    "math_constants.h",
    "mma.h",
    "vector_types.h",
)

COMMON_FLAGS = (
    "-std=c++17",
    "-fPIC",
    "-fvisibility=hidden",
    "-fno-exceptions",
    "-fno-rtti",
    "-fno-strict-aliasing",  # kernels read float4 through pointers to float
    "-fno-threadsafe-statics",  # shared arrays of half, a class, are guarded against threads
    "-fno-math-errno",
    "-ffp-contract=off",  # a product and a sum round twice unless the source says fmaf
    "-w",
)
# Modules must not share variables, and the arrays of the shared section stay as declared.
GNU_FLAGS = ("-fno-gnu-unique", "-fno-toplevel-reorder")
LINK_FLAGS = ("-shared", "-Wl,-Bsymbolic", "-pthread", "-ldl")
MODES = {
    # Most kernels of tests run once, on little: -O2 took longer to compile them than it saved.
    "fast": ("-O1",),
    # No load may move to where the source does not reach it: it would be reported as a fault.
    "check": ("-O1", "-g1", "-fsanitize=thread", "-DLAZYT_CHECK"),
    "sanitize": ("-O1", "-g1", "-fsanitize=address", "-DLAZYT_ASAN"),
}
GNU_CHECK_FLAGS = ("-fno-tree-loop-im", "-fno-tree-pre", "-fno-code-hoisting")

RACE_ELEMENTS = 1 << 25  # above this a buffer's races are not looked for: 24 bytes an element


class HostCompileError(RuntimeError):
    """A source did not compile; the message is the compiler's, with the path of the source."""


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


# ------------------------------------------------------------------------------------- compiling


def cpp_compiler() -> str | None:
    """The C++ compiler: CXX if set, else the first of g++ and clang++ on PATH; None without any."""
    return _compiler("CXX", "g++", "clang++")


def c_compiler() -> str | None:
    """The C compiler: CC if set, else the first of gcc, clang and cc on PATH; None without any."""
    return _compiler("CC", "gcc", "clang", "cc")


def _compiler(variable: str, *names: str) -> str | None:
    chosen = os.environ.get(variable)
    return next(filter(None, map(shutil.which, [chosen] if chosen else names)), None)


def _call(command: Sequence[str], stdin: str = "") -> subprocess.CompletedProcess[str]:
    """Runs a tool of the compiler; the sanitizer that this process may have is not its own."""
    env = {k: v for k, v in os.environ.items() if k not in ("LD_PRELOAD", "ASAN_OPTIONS")}
    try:
        return subprocess.run(
            command,
            input=stdin,
            capture_output=True,
            text=True,
            check=False,
            env=env,
            timeout=TIMEOUT_S,
        )
    except subprocess.TimeoutExpired:
        raise HostCompileError(f"{command[0]} did not finish in {TIMEOUT_S} s") from None


@functools.cache
def _version(compiler: str) -> str:
    return f"{compiler}\n{_call([compiler, '--version']).stdout}"


@functools.cache
def _machine_flags() -> tuple[str, ...]:
    """Fused multiply-add as an instruction where this machine has it; else fmaf is a call."""
    info = Path("/proc/cpuinfo")
    features = info.read_text().split() if info.exists() else ()
    return ("-mfma",) if "fma" in features else ()


def _digest(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:32]


def _write(path: Path, text: str) -> None:
    """Writes a file in one step: whoever reads it meanwhile sees all of it or none."""
    if path.exists():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile("w", dir=path.parent, delete=False) as file:
        file.write(text)
    os.replace(file.name, path)


def _run(command: Sequence[str], path: Path, stdin: str = "") -> None:
    done = _call(command, stdin)
    if done.returncode:
        raise HostCompileError(f"compiling {path} for the host failed:\n{done.stderr.strip()}")


_COMMENT_OR_STRING = re.compile(r'//[^\n]*|/\*.*?\*/|"(?:\\.|[^"\\\n])*"', re.DOTALL)
_BOUNDS = r"(?:__launch_bounds__\s*\(\s*([^(),]+)[^()]*\)\s*)?"
_KERNEL = re.compile(rf"__global__\s+{_BOUNDS}void\s+{_BOUNDS}(\w+)\s*\(")


def kernels(source: str) -> dict[str, str]:
    """The kernels that a source defines: name -> its largest block, as an expression of C."""
    plain = _COMMENT_OR_STRING.sub(" ", source)
    found: dict[str, str] = {}
    for before, after, name in _KERNEL.findall(plain):
        found[name] = (before or after).strip() or found.get(name, "1024")
    return found


def _flags(mode: str) -> list[str]:
    gnu = "clang" not in _version(cpp_compiler() or "")
    flags = [*COMMON_FLAGS, *_machine_flags(), *MODES[mode], *(GNU_FLAGS if gnu else ())]
    return [*flags, *GNU_CHECK_FLAGS] if gnu and mode == "check" else flags


def _identity(mode: str) -> str:
    return _identity_of(mode, _version(cpp_compiler() or ""))


@functools.cache
def _identity_of(mode: str, version: str) -> str:
    return _digest(HEADER.read_text(), version, *_flags(mode), *LINK_FLAGS, *TOOLKIT_HEADERS)


def identity(check: bool) -> str:
    """All that decides what `compile_host` makes of a source, besides the source."""
    return _identity("check" if check else "fast")


def compile_host(source: str, *, sanitize: bool = False, check: bool = True) -> Path:
    """Compiles CUDA C to a shared object for HostModule or the fake driver; cached.

    check: every access of memory is looked at (see cuda_host.h); a launch is slower, by 2 to 20
        times: the more, the less it waits at barriers.
    sanitize: with the address sanitizer instead, whose library must be in the process from its
        start (`sanitizer_environment`).

    Raises HostCompileError with the compiler's message, RuntimeError where there is no compiler and
    ValueError for a source without kernels.
    """
    compiler = cpp_compiler()
    if compiler is None:
        raise RuntimeError(
            "running CUDA C on the host needs a C++ compiler: install g++ or set CXX"
        )
    names = kernels(source)
    if not names:
        raise ValueError("the source defines no kernel: expected '__global__ void name(...)'")
    mode = "sanitize" if sanitize else "check" if check else "fast"
    flags, gnu = _flags(mode), "clang" not in _version(compiler)
    folder = cache_folder() / "cuda-host"
    key = _digest(source, _identity(mode))
    target, text = folder / f"{key}.{mode}.so", folder / f"{key}.cu"
    if target.exists():
        return target
    for name in TOOLKIT_HEADERS:
        _write(folder / "include" / name, "// cuda_host.h has what this declares.\n")
    _write(text, source)
    table = "".join(f"    LAZYT_KERNEL({name}, ({limit})),\n" for name, limit in names.items())
    unit = (
        f'#include "{text}"\n'
        "static LAZYT_SHARED_SECTION unsigned char lazyt_guard_end[64];\n"
        f"lazyt_kernel lazyt_kernels[] = {{\n{table}}};\n"
        f"const int lazyt_kernel_total = {len(names)};\n"
    )
    with tempfile.TemporaryDirectory(dir=folder) as made:
        compiled, linked = f"{made}/unit.o", f"{made}/unit.so"
        include = ["-isystem", str(folder / "include")]
        command = [compiler, *flags, *include, "-x", "c++", "-c", "-", "-o", compiled]
        header = _precompiled(mode)
        try:
            _run(command, text, f'#include "{header}"\n{unit}')
        except HostCompileError as error:
            if "PCH file" not in str(error):
                raise
            header.with_suffix(".h.gch").unlink(missing_ok=True)  # broken: the next call renews it
            _run(command, text, f'#include "{HEADER}"\n{unit}')
        # The thread sanitizer's library stays out: the header has the functions it would bring.
        link = ["-fsanitize=address"] if sanitize else []
        if sanitize and not gnu:
            link.append("-shared-libasan")  # clang's own default is a library for programs only
        _run([compiler, *link, compiled, "-o", linked, *LINK_FLAGS], text)
        os.replace(linked, target)
    return target


def _precompiled(mode: str) -> Path:
    """What to include for cuda_host.h: beside it is its compiled form, which gcc then finds itself,
    if it can use it."""
    compiler = cpp_compiler() or ""
    if "clang" in _version(compiler):
        return HEADER
    header = cache_folder() / "cuda-host" / "include" / f"cuda_host-{_identity(mode)}.h"
    compiled = header.with_suffix(".h.gch")
    if not compiled.exists():
        _write(header, f'#include "{HEADER}"\n')
        with tempfile.TemporaryDirectory(dir=header.parent) as made:
            output = f"{made}/header.gch"
            _run([compiler, *_flags(mode), "-x", "c++-header", str(header), "-o", output], HEADER)
            os.replace(output, compiled)
    return header


def fake_driver() -> Path:
    """The path of a libcuda.so.1 that runs on the host (driver.c); cached.

    Loading it by this path, or its folder in LD_LIBRARY_PATH, makes PyCUDA find it:

        ctypes.CDLL(str(fake_driver()), mode=ctypes.RTLD_GLOBAL)
        import pycuda.driver

    Raises HostCompileError, or RuntimeError where there is no compiler.
    """
    compiler = c_compiler()
    if compiler is None:
        raise RuntimeError("the CUDA driver for the host needs a C compiler: install gcc or set CC")
    flags = ["-std=gnu11", "-O1", "-fPIC", "-shared", "-fvisibility=hidden", "-pthread"]
    key = _digest(DRIVER.read_text(), _version(compiler), *flags)
    folder = cache_folder() / "cuda-driver" / key
    target = folder / "libcuda.so.1"
    if target.exists():
        return target
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as made:
        linked = f"{made}/libcuda.so.1"
        name = "-Wl,-soname,libcuda.so.1"
        _run([compiler, *flags, name, str(DRIVER), "-o", linked, "-ldl"], DRIVER)
        os.replace(linked, target)
    return target


def sanitizer_environment() -> dict[str, str]:
    """The variables that a process needs to load what `compile_host(sanitize=True)` made.

    Raises RuntimeError where the compiler has no address sanitizer.
    """
    compiler = cpp_compiler() or "g++"
    gnu = "clang" not in _version(compiler)
    library = "libasan.so" if gnu else f"libclang_rt.asan-{platform.machine()}.so"
    found = _call([compiler, f"-print-file-name={library}"]).stdout.strip()
    if not os.path.isabs(found):
        raise RuntimeError(f"{compiler} has no address sanitizer: install its library (libasan)")
    # Python leaks by design, and a second stack for each fiber would cost more than it finds.
    options = "detect_leaks=0:detect_stack_use_after_return=0"
    if not gnu:
        options += ":symbolize=0"  # it would start a program, and wait for it for ever
    return {"LD_PRELOAD": os.path.realpath(found), "ASAN_OPTIONS": options}


# ------------------------------------------------------------------------------------- launching


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
        told = re.search(r"\.cu:(\d+)", _call(command).stdout)
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
