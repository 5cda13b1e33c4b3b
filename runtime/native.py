"""Compiling C kernels: the compiler, and the cache on disk.

A kernel's text is canonical (codegen/c.py), so it is the unit of the cache: what a plan lacks is
compiled in one call, and each kernel is found again by its name in any process. `LAZYT_CACHE` is
the folder, `CC` the compiler.

An entry of the cache is a shared object followed by its SHA-256, which loaders ignore: a file that
was cut off would end the process that loads it, and one with other bytes in it would compute
something else. Every kernel of a call has an entry of its own, a link to the same file.
"""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import hashlib
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable, Sequence
from functools import lru_cache
from importlib import resources
from pathlib import Path
from typing import Any, TypeVar

from lazyt.codegen.c import CKernel
from lazyt.codegen.cstyle import PRELUDES

from .stats import COUNTERS

FLAGS: tuple[str, ...] = ("-std=c11", "-O3", "-march=native", "-fopenmp-simd", "-fno-math-errno")
FLAGS += ("-fno-trapping-math", "-ffp-contract=off", "-fwrapv", "-fPIC", "-shared")
TIMEOUT_S = 120
ANSWER_S = 20  # for what a compiler says of itself
DIGEST_BYTES = 32

T = TypeVar("T")


class CompilerError(RuntimeError):
    """The C compiler refused a source, or did not finish; says where the source is."""


def cache_folder() -> Path:
    """Where compiled kernels are kept."""
    given = os.environ.get("LAZYT_CACHE")
    if given:
        return Path(given)
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "lazyt"


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
    target.parent.mkdir(parents=True, exist_ok=True)
    written = target.with_suffix(".c")
    _write_whole(written, source.encode())
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


def _write_whole(path: Path, content: bytes) -> None:
    handle, made = tempfile.mkstemp(dir=path.parent, suffix=".tmp")
    with os.fdopen(handle, "wb") as file:
        file.write(content)
    os.replace(made, path)


def seal(path: str) -> None:
    """Makes an entry of a shared object: its digest follows."""
    with open(path, "r+b") as file:
        digest = hashlib.sha256(file.read()).digest()
        file.write(digest)


def intact(path: Path) -> bool:
    """Whether an entry is there and as it was written; a broken one is removed."""
    try:
        content = path.read_bytes()
    except OSError:
        return False
    whole = hashlib.sha256(content[:-DIGEST_BYTES]).digest() == content[-DIGEST_BYTES:]
    if not whole:
        _remove(path)
    return whole


def _remove(path: Path) -> None:
    with contextlib.suppress(OSError):
        path.unlink()


def _link(whole: Path, own: Path) -> None:
    """Another name for an entry, in one step: a process may have the one that had it loaded."""
    with tempfile.TemporaryDirectory(dir=own.parent) as folder:
        made = Path(folder) / own.name
        try:
            os.link(whole, made)
        except OSError:
            shutil.copyfile(whole, made)
        os.replace(made, own)


_LOADED: dict[str, int] = {}
_LIBRARIES: list[ctypes.CDLL] = []


def addresses(kernels: Sequence[CKernel]) -> list[tuple[int, int | None]]:
    """The addresses of every kernel's functions; compiles those that no cache has, in one call."""
    lacking = [k for k in {k.name: k for k in kernels}.values() if k.name not in _LOADED]
    if lacking:
        _in_cache(lambda folder: _load_all(lacking, folder))
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
        _link(whole, entry(k.text))
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
        _remove(path)
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

    return _in_cache(find)


def _in_cache(find: Callable[[Path], T]) -> T:
    """What `find` gives for the cache's folder; where that takes nothing (a full disk, somebody
    else's), for a folder that goes with the process."""
    try:
        return find(cache_folder() / "c")
    except OSError as error:
        try:
            found = find(_passing_folder())
        except OSError:
            raise error from None
        warn_not_kept(error.strerror or str(error))
        return found


@lru_cache(maxsize=1)
def _passing_folder() -> Path:
    made = tempfile.mkdtemp(prefix="lazyt-")
    atexit.register(shutil.rmtree, made, ignore_errors=True)
    return Path(made)


@lru_cache(maxsize=8)
def warn_not_kept(reason: str) -> None:
    """Says once that the cache takes nothing."""
    text = f"Compiled kernels are not kept for the next run: {reason}, {cache_folder()}"
    warnings.warn(text, RuntimeWarning, stacklevel=2)


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
