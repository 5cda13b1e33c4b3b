"""Kernels compiled and found again: in this process, then on disk, then by one compiler call.

    functions([add, softmax], device(0))                # one call for both, or none
    function(add, "k3f…", device(0))                    # what launches it

An entry of the cache is an image followed by its SHA-256: drivers read an image as far as its own
headers say, so a broken one must not reach them. Every kernel of a batch has an entry of its own, a
link to the same file.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import shutil
import tempfile
import threading
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Any

from lazyt.codegen.launches import CudaKernel

from ..native import CompilerError, cache_folder, warn_not_kept
from ..stats import COUNTERS
from .driver import Device, Function, driver, immortal
from .toolchains import toolchain

DIGEST_BYTES = 32

_MODULES: dict[tuple[int, bytes], Any] = immortal({})  # by device and digest of the image
_LOADED: dict[tuple[int, tuple[str, ...], str], Any] = {}  # by device, preludes and text
_LOCK = threading.RLock()


def functions(kernels: Sequence[CudaKernel], device: Device) -> None:
    """Makes every kernel ready to be launched; what no cache has is compiled in one call.

    Errors: CompilerError, with the compiler's words and the path of the source.
    """
    with _LOCK:
        lacking = {_place(k, device): k for k in kernels if _place(k, device) not in _LOADED}
        for place, kernel in list(lacking.items()):
            if _load([kernel], device, _entry(kernel, device)):
                del lacking[place]
        if lacking:
            _compile(list(lacking.values()), device)


def function(kernel: CudaKernel, name: str, device: Device, shared_bytes: int = 0) -> Function:
    """One `__global__` function of a kernel, which may use so much dynamic shared memory."""
    functions([kernel], device)
    return device.function(_LOADED[_place(kernel, device)], name, shared_bytes)


def architecture(device: Device) -> str:
    """What a compiler calls the device: "sm_90"."""
    return "sm_{}{}".format(*device.capability)


def source_of(kernels: Sequence[CudaKernel]) -> str:
    """One source for many kernels: each prelude once, then the texts."""
    preludes = dict.fromkeys(name for k in kernels for name in k.preludes)
    return "\n".join([*map(_prelude, preludes), *(k.text for k in kernels)])


@functools.cache
def _prelude(name: str) -> str:
    return resources.files("lazyt.codegen").joinpath("prelude", name).read_text()


def _place(kernel: CudaKernel, device: Device) -> tuple[int, tuple[str, ...], str]:
    return (device.index, kernel.preludes, kernel.text)


def _folder() -> Path:
    return cache_folder() / "cuda"


def _path(source: str, device: Device, ending: str) -> Path:
    parts = (toolchain(device).identity, architecture(device), source)
    return _folder() / (hashlib.sha256("\0".join(parts).encode()).hexdigest()[:32] + ending)


def _entry(kernel: CudaKernel, device: Device) -> Path:
    return _path(source_of([kernel]), device, ".cubin")


# ---------------------------------------------------------------------------------------- loading


def _load(kernels: Sequence[CudaKernel], device: Device, path: Path) -> bool:
    """Takes kernels out of an entry; False where it is not there, or broken and then removed."""
    try:
        with path.open("rb") as file:
            content = file.read()
    except OSError:
        return False
    image, digest = content[:-DIGEST_BYTES], content[-DIGEST_BYTES:]
    try:
        if hashlib.sha256(image).digest() == digest:
            _take(kernels, device, image, digest)
            return True
    except driver().error:
        pass
    with contextlib.suppress(OSError):
        path.unlink()
    return False


def _take(kernels: Sequence[CudaKernel], device: Device, image: bytes, digest: bytes) -> None:
    module = _MODULES.get((device.index, digest))
    if module is None:
        module = device.load(image)
    for name in {launch.function for k in kernels for launch in k.launches}:
        device.function(module, name, 0)
    _MODULES[device.index, digest] = module
    for kernel in kernels:
        _LOADED[_place(kernel, device)] = module


# -------------------------------------------------------------------------------------- compiling


def _compile(kernels: Sequence[CudaKernel], device: Device) -> None:
    source = source_of(kernels)
    saved = _save(source, _path(source, device, ".cu"))
    COUNTERS.compiler_calls += 1
    image = toolchain(device).compile(source, architecture(device), saved)
    digest = hashlib.sha256(image).digest()
    try:
        _take(kernels, device, image, digest)
    except driver().error as error:
        raise CompilerError(f"what was compiled from {saved} cannot be loaded: {error}") from None
    try:
        whole = _path(source, device, ".cubin")
        _write_whole(whole, image + digest)
        for kernel in kernels:
            _link(whole, _entry(kernel, device))
    except OSError as error:
        warn_not_kept(error.strerror or str(error))


def _save(source: str, path: Path) -> Path:
    """Writes a source where errors can point to it; elsewhere if the cache takes nothing."""
    try:
        _write_whole(path, source.encode())
        return path
    except OSError as error:
        warn_not_kept(error.strerror or str(error))
        elsewhere = Path(tempfile.mkdtemp(prefix="lazyt-")) / path.name
        elsewhere.write_text(source)
        return elsewhere


def _write_whole(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, made = tempfile.mkstemp(dir=path.parent, suffix=".tmp")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        os.replace(made, path)
    finally:
        Path(made).unlink(missing_ok=True)


def _link(whole: Path, own: Path) -> None:
    if own == whole:
        return
    own.unlink(missing_ok=True)
    try:
        os.link(whole, own)
    except OSError:
        shutil.copyfile(whole, own)
