"""Compiles CUDA C for the host, and the driver that launches it there.

    source = 'extern "C" __global__ void twice(float* a, int n) {'
             '    int i = blockIdx.x * blockDim.x + threadIdx.x; if (i < n) a[i] *= 2; }'
    compile_host(source)        # a shared object: for `launch.HostModule`, or for the driver
    fake_driver()               # a libcuda.so.1 that launches such objects

How kernels run, and which faults are found and which are not, is told in cuda_host.h.
"""

from __future__ import annotations

import functools
import hashlib
import os
import platform
import re
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

from ...disk_cache import cache_folder, intact, seal
from ...native import TIMEOUT_S

HERE = Path(__file__).parent
HEADER = HERE / "cuda_host.h"
DRIVER = HERE / "driver.c"

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


class HostCompileError(RuntimeError):
    """A source did not compile; the message is the compiler's, with the path of the source."""


def cpp_compiler() -> str | None:
    """The C++ compiler: CXX if set, else the first of g++ and clang++ on PATH; None without any."""
    return _compiler("CXX", "g++", "clang++")


def c_compiler() -> str | None:
    """The C compiler: CC if set, else the first of gcc, clang and cc on PATH; None without any."""
    return _compiler("CC", "gcc", "clang", "cc")


def _compiler(variable: str, *names: str) -> str | None:
    chosen = os.environ.get(variable)
    return next(filter(None, map(shutil.which, [chosen] if chosen else names)), None)


def call_tool(command: Sequence[str], stdin: str = "") -> subprocess.CompletedProcess[str]:
    """Runs a tool of the compiler; the sanitizer that this process may have is not its own."""
    env = {k: v for k, v in os.environ.items() if k not in ("LD_PRELOAD", "ASAN_OPTIONS")}
    try:
        return subprocess.run(
            command,
            input=stdin,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
            env=env,
            timeout=TIMEOUT_S,
        )
    except subprocess.TimeoutExpired:
        raise HostCompileError(f"{command[0]} did not finish in {TIMEOUT_S} s") from None


@functools.cache
def _version(compiler: str) -> str:
    return f"{compiler}\n{call_tool([compiler, '--version']).stdout}"


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
    content = text.encode()
    if path.exists() and path.read_bytes() == content:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as file:
        file.write(content)
    os.replace(file.name, path)


def _run(command: Sequence[str], path: Path, stdin: str = "") -> None:
    done = call_tool(command, stdin)
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
    if intact(target):
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
        except HostCompileError:
            if header == HEADER:
                raise
            # It may be the compiled header that is broken: the next call makes it again.
            header.with_suffix(".h.gch").unlink(missing_ok=True)
            _run(command, text, f'#include "{HEADER}"\n{unit}')
        # The thread sanitizer's library stays out: the header has the functions it would bring.
        link = ["-fsanitize=address"] if sanitize else []
        if sanitize and not gnu:
            link.append("-shared-libasan")  # clang's own default is a library for programs only
        _run([compiler, *link, compiled, "-o", linked, *LINK_FLAGS], text)
        seal(linked)
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
    _write(header, f'#include "{HEADER}"\n')
    if not compiled.exists():
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
    if intact(target):
        return target
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as made:
        linked = f"{made}/libcuda.so.1"
        name = "-Wl,-soname,libcuda.so.1"
        _run([compiler, *flags, name, str(DRIVER), "-o", linked, "-ldl"], DRIVER)
        seal(linked)
        os.replace(linked, target)
    return target


def sanitizer_environment() -> dict[str, str]:
    """The variables that a process needs to load what `compile_host(sanitize=True)` made.

    Raises RuntimeError where the compiler has no address sanitizer.
    """
    compiler = cpp_compiler() or "g++"
    gnu = "clang" not in _version(compiler)
    library = "libasan.so" if gnu else f"libclang_rt.asan-{platform.machine()}.so"
    found = call_tool([compiler, f"-print-file-name={library}"]).stdout.strip()
    if not os.path.isabs(found):
        raise RuntimeError(f"{compiler} has no address sanitizer: install its library (libasan)")
    # Python leaks by design, and a second stack for each fiber would cost more than it finds.
    options = "detect_leaks=0:detect_stack_use_after_return=0"
    if not gnu:
        options += ":symbolize=0"  # it would start a program, and wait for it for ever
    return {"LD_PRELOAD": os.path.realpath(found), "ASAN_OPTIONS": options}
