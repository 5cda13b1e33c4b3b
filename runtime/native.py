"""Compiling C kernels, and finding them again.

A kernel's text is canonical (codegen/c.py), so it is the unit of the cache on disk: what a plan
lacks is compiled in one call, and each kernel is found again by its name in any process. Every
kernel of a call has an entry of its own, a link to the same file. `CC` is the compiler.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Sequence
from functools import lru_cache
from importlib import resources
from pathlib import Path
from typing import Any

from lazyt.codegen.c import CKernel
from lazyt.codegen.cstyle import PRELUDES

from .disk_cache import in_cache, intact, link, remove, seal, write_whole
from .stats import COUNTERS

FLAGS: tuple[str, ...] = ("-std=c11", "-O3", "-march=native", "-fopenmp-simd", "-fno-math-errno")
FLAGS += ("-fno-trapping-math", "-ffp-contract=off", "-fwrapv", "-fPIC", "-shared")
TIMEOUT_S = 120
ANSWER_S = 20  # for what a compiler says of itself


class CompilerError(RuntimeError):
    """The C compiler refused a source, or did not finish; says where the source is."""


@lru_cache(maxsize=1)
def compiler() -> tuple[str, ...] | None:
    """The command of the C compiler: CC, else cc, gcc or clang, else `zig cc`; None without one.

    Errors: CompilerError where CC is no command.
    """
    given = os.environ.get("CC")
    if given:
        try:
            return tuple(shlex.split(given))
        except ValueError as error:
            raise CompilerError(f"CC is no command, {given!r}: {error}") from None
    for name in ("cc", "gcc", "clang"):
        found = shutil.which(name)
        if found:
            return (found,)
    import importlib.util

    if importlib.util.find_spec("ziglang") is not None:
        return (sys.executable, "-m", "ziglang", "cc")
    return None


def _run(call: Sequence[str], seconds: float) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        call, capture_output=True, text=True, errors="replace", timeout=seconds, check=False
    )


@lru_cache(maxsize=1)
def identity() -> str:
    """What the compiler says it is, with the processor that `-march=native` means."""
    command = compiler()
    assert command is not None
    call = [*command, "--version"]
    try:
        said = _run(call, ANSWER_S)
    except subprocess.TimeoutExpired:
        raise CompilerError(f"{shlex.join(call)} did not finish in {ANSWER_S} s") from None
    lines = [*command, said.stdout.split("\n", 1)[0], *flags(), *_processor()]
    return "\n".join(lines)


def _processor() -> list[str]:
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        import platform

        return [platform.processor(), platform.machine()]
    return [line for line in text.splitlines() if line.startswith(("model name", "flags"))][:2]


@lru_cache(maxsize=1)
def flags() -> tuple[str, ...]:
    """What the compiler is called with: compilers shy away from the widest vectors unless told."""
    wide = any("avx512f" in line for line in _processor())
    return (*FLAGS, "-mprefer-vector-width=512") if wide else FLAGS


@lru_cache(maxsize=1)
def prelude() -> str:
    """What every source begins with: the math functions, random numbers."""
    folder = resources.files("lazyt.codegen").joinpath("prelude")
    return "\n".join(folder.joinpath(name).read_text() for name in PRELUDES)


def _key(text: str) -> str:
    return hashlib.sha256("\n".join((identity(), prelude(), text)).encode()).hexdigest()[:32]


def compile_shared(source: str, target: Path) -> None:
    """Compiles a C text to an entry of the cache, which appears whole or not at all.

    Errors: CompilerError, with the compiler's words and the path of the source.
    """
    command = compiler()
    assert command is not None
    written = target.with_suffix(".c")
    write_whole(written, source.encode())
    handle, made = tempfile.mkstemp(dir=target.parent, suffix=".tmp")
    os.close(handle)
    COUNTERS.compiler_calls += 1
    call = [*command, *flags(), "-o", made, str(written), "-lm", "-lpthread"]
    try:
        done = _run(call, TIMEOUT_S)
        if done.returncode != 0:
            raise CompilerError(f"{shlex.join(call)} failed on {written}:\n{done.stderr}")
        seal(made)
        os.replace(made, target)
    except subprocess.TimeoutExpired:
        raise CompilerError(
            f"{shlex.join(call)} did not finish {written} in {TIMEOUT_S} s"
        ) from None
    finally:
        Path(made).unlink(missing_ok=True)


_LOADED: dict[str, int] = {}
_LIBRARIES: list[ctypes.CDLL] = []


def addresses(kernels: Sequence[CKernel]) -> list[tuple[int, int | None]]:
    """The addresses of every kernel's functions; compiles those that no cache has, in one call."""
    lacking = [k for k in {k.name: k for k in kernels}.values() if k.name not in _LOADED]
    if lacking:
        in_cache("c", lambda folder: _load_all(lacking, folder))
    return [(_LOADED[k.name], _LOADED.get(f"{k.name}_end")) for k in kernels]


def _load_all(kernels: Sequence[CKernel], folder: Path) -> None:
    entry = lambda text: folder / f"{_key(text)}.so"
    lacking = [k for k in kernels if not _load(entry(k.text), _functions(k))]
    if not lacking:
        return
    source = prelude() + "\n" + "\n".join(k.text for k in lacking)
    whole = entry(source)
    compile_shared(source, whole)
    for k in lacking:
        link(whole, entry(k.text))
    if not _load(whole, [name for k in lacking for name in _functions(k)]):
        raise CompilerError(f"{whole} cannot be loaded")


def _functions(kernel: CKernel) -> list[str]:
    """The names of a kernel's functions."""
    return [kernel.name, f"{kernel.name}_end"] if kernel.partials else [kernel.name]


def _load(path: Path, names: list[str]) -> bool:
    """Takes functions out of a shared object; False where it is not there or broken."""
    if not intact(path):
        return False
    try:
        library = ctypes.CDLL(str(path))
        found = {n: ctypes.cast(getattr(library, n), ctypes.c_void_p).value for n in names}
    except (OSError, AttributeError):
        remove(path)
        return False
    _LIBRARIES.append(library)
    _LOADED.update(found)  # type: ignore[arg-type]
    return True


def compiled_once(source: str) -> Path:
    """The shared object of a C text, compiled where it is not in the cache."""

    def find(folder: Path) -> Path:
        path = folder / f"{_key(source)}.so"
        if not intact(path):
            compile_shared(source, path)
        return path

    return in_cache("c", find)


def threads() -> int:
    """How many threads share a large kernel: LAZYT_THREADS, else the processors there are."""
    given = os.environ.get("LAZYT_THREADS")
    if given:
        return max(1, int(given))
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


GIVEN_UP: list[str] = []


def available() -> bool:
    """Whether the C tier can run: a compiler is there and has not failed. Warns once if not."""
    if GIVEN_UP:
        return False
    try:
        if compiler() is None:
            give_up("no C compiler was found (CC, cc, gcc, clang, or the wheel ziglang)")
    except CompilerError as error:
        give_up(error)
    return not GIVEN_UP


def give_up(reason: Any) -> None:
    """This process does without the C tier from here on."""
    if not GIVEN_UP:
        text = f"The C tier is off, NumPy code runs instead: {reason}"
        warnings.warn(text, RuntimeWarning, stacklevel=2)
    GIVEN_UP.append(str(reason))
