"""Kernels compiled and found again: in this process, then on disk, then by one compiler call.

    functions([add, softmax], device(0))                # one call for both, or none
    function(add, "k3f…", device(0))                    # what launches it

An entry of the cache is an image followed by its SHA-256: drivers read an image as far as its own
headers say, so a broken one must not reach them. Every kernel of a batch has an entry of its own, a
link to the same file.
"""

from __future__ import annotations

import functools
import hashlib
import threading
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Any

from lazyt.codegen.launches import CudaKernel

from ..disk_cache import (
    cache_folder,
    link,
    opened,
    passing_folder,
    remove,
    warn_not_kept,
    write_whole,
)
from ..native import CompilerError
from ..stats import COUNTERS
from .driver import Device, Function, driver, immortal
from .toolchains import toolchain

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
    found = opened(path)
    if found is None:
        return False
    try:
        _take(kernels, device, *found)
        return True
    except driver().error:
        remove(path)
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
        write_whole(whole, image + digest)
        for kernel in kernels:
            link(whole, _entry(kernel, device))
    except OSError as error:
        warn_not_kept(error)


def _save(source: str, path: Path) -> Path:
    """Writes a source where errors can point to it; elsewhere if the cache takes nothing."""
    try:
        write_whole(path, source.encode())
        return path
    except OSError as error:
        warn_not_kept(error)
        elsewhere = passing_folder() / path.name
        write_whole(elsewhere, source.encode())
        return elsewhere
