"""Which driver can be used, and what is missing where none can.

    not set              PyCUDA on a GPU: needs a driver, PyCUDA and a compiler of CUDA C
    LAZYT_CUDA_HOST=1    the host-executed device, through PyCUDA if it is installed, else ctypes
    =pycuda, =ctypes     the host-executed device through that one

For the host-executed device the library of host/driver.c is loaded first, so that PyCUDA finds it
in place of the driver of a GPU. `LAZYT_CUDA_HOST_DEVICES` is how many such devices there are (1).
"""

from __future__ import annotations

import ctypes
import importlib.util
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .driver import Driver

DRIVER_NEEDED = "install the driver of your GPU (https://www.nvidia.com/drivers)"


class Unavailable(RuntimeError):
    """Why a driver cannot be used, and what to install."""


def chosen_driver() -> Driver:
    """The driver that the environment chooses. Errors: Unavailable."""
    choice = host_choice()
    return host_driver(choice) if choice else gpu_driver()


def host_choice() -> str:
    """What LAZYT_CUDA_HOST says: "" for a real GPU, else "1", "pycuda" or "ctypes"."""
    given = os.environ.get("LAZYT_CUDA_HOST", "")
    if given not in ("", "0", "1", "pycuda", "ctypes"):
        raise Unavailable(f"LAZYT_CUDA_HOST must be 1, pycuda or ctypes, it is {given!r}")
    return "" if given == "0" else given


def gpu_driver() -> Driver:
    """PyCUDA on a GPU. Errors: Unavailable, naming all that is missing."""
    from .toolchains import missing_compiler

    lacks = [_missing_gpu(), _missing_pycuda(), missing_compiler()]
    if any(lacks):
        raise Unavailable("; ".join(filter(None, lacks)))
    return _pycuda_driver(host=False)


def _missing_gpu() -> str | None:
    name = "nvcuda.dll" if os.name == "nt" else "libcuda.so.1"
    try:
        library = ctypes.CDLL(name)
    except OSError:
        return f"no NVIDIA driver was found ({name}): {DRIVER_NEEDED}"
    code = library.cuInit(0)
    count = ctypes.c_int()
    if code == 0:
        library.cuDeviceGetCount(ctypes.byref(count))
    if count.value == 0:
        said = f"cuInit says {code}" if code else "it has no devices"
        return (
            f"the NVIDIA driver finds no GPU ({said}): see what nvidia-smi says and what "
            "CUDA_VISIBLE_DEVICES allows"
        )
    return None


def _missing_pycuda() -> str | None:
    if importlib.util.find_spec("pycuda") is None:
        return "PyCUDA is not installed: pip install 'lazyt[cuda]'"
    return None


def _pycuda_driver(host: bool) -> Driver:
    try:
        from .pycuda_driver import PyCudaDriver

        return PyCudaDriver(host)
    except ImportError as error:
        raise Unavailable(
            f"PyCUDA cannot be imported ({error}): pip install --force-reinstall --no-binary "
            "pycuda pycuda, with the CUDA toolkit's nvcc on PATH"
        ) from error


def host_driver(choice: str) -> Driver:
    """The host-executed device. Errors: Unavailable."""
    from .host import build

    if build.cpp_compiler() is None or build.c_compiler() is None:
        raise Unavailable(
            "the host-executed CUDA device needs a C and a C++ compiler: install gcc and g++ "
            "(or set CC and CXX)"
        )
    lacks = _missing_pycuda()
    if lacks and choice == "pycuda":
        raise Unavailable(lacks)
    try:
        path = build.fake_driver()
    except (RuntimeError, OSError) as error:
        raise Unavailable(f"the host-executed CUDA device cannot be built: {error}") from error
    library = ctypes.CDLL(str(path), mode=getattr(ctypes, "RTLD_GLOBAL", 0))
    if choice == "ctypes" or lacks:
        from .ctypes_driver import CtypesDriver

        return CtypesDriver(library)
    return _pycuda_driver(host=True)
