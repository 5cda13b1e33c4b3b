"""The functions of the BLAS library that NumPy has loaded: its OpenBLAS, called by address.

A wheel of NumPy brings its own OpenBLAS, whose functions carry a prefix and a suffix, and whose
integers have 64 or 32 bits: `scipy_cblas_sgemm64_`, `cblas_sgemm64_`, `cblas_sgemm`. No other
library would have its threads and its processor's kernels already there.
"""

from __future__ import annotations

import ctypes
import re
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np

# Prefix, suffix, whether integers have 64 bits; None: the library's own answer.
NAMES: tuple[tuple[str, str, bool | None], ...] = (
    ("scipy_", "64_", True),
    ("", "64_", True),
    ("scipy_", "", False),
    ("", "", None),
)
FUNCTIONS = tuple(f"cblas_{k}{f}" for k in "sd" for f in ("gemm", "gemv"))


class Blas(NamedTuple):
    """addresses: of the functions in FUNCTIONS, by name. wide: whether integers have 64 bits.

    threads: of the functions that say how many threads products have, and that set it; None where
    they are missing.
    """

    addresses: dict[str, int]
    wide: bool
    threads: tuple[int, int] | None = None


@lru_cache(maxsize=1)
def blas() -> Blas | None:
    """NumPy's BLAS, or None where it is not an OpenBLAS that can be found."""
    np.dot(np.ones((2, 2)), np.ones((2, 2)))  # it is loaded now, if ever
    for path in _loaded():
        try:
            library = ctypes.CDLL(path)
        except OSError:
            continue
        for prefix, suffix, wide in NAMES:
            try:
                found = {f: _address(library, f"{prefix}{f}{suffix}") for f in FUNCTIONS}
            except AttributeError:
                continue
            wide = _is_wide(library) if wide is None else wide
            return Blas(found, wide, _threads(library, prefix, suffix))
    return None


def _loaded() -> list[str]:
    """The OpenBLAS libraries of this process, those of NumPy's own wheel first."""
    try:
        mapped = Path("/proc/self/maps").read_text()
    except OSError:
        return []
    paths = dict.fromkeys(re.findall(r"\s(/\S*openblas\S*\.so\S*)$", mapped, re.MULTILINE))
    beside = str(Path(np.__file__).parent.parent / "numpy.libs")
    return sorted(paths, key=lambda path: not path.startswith(beside))


def _address(library: ctypes.CDLL, name: str) -> int:
    found = ctypes.cast(getattr(library, name), ctypes.c_void_p).value
    assert found is not None
    return found


def _threads(library: ctypes.CDLL, prefix: str, suffix: str) -> tuple[int, int] | None:
    """The functions that say and set how many threads there are."""
    names = (f"{prefix}openblas_{what}_num_threads{suffix}" for what in ("get", "set"))
    try:
        get, put = (_address(library, name) for name in names)
    except AttributeError:
        return None
    return get, put


def _is_wide(library: ctypes.CDLL) -> bool:
    """Whether a library without a suffix was built for 64-bit integers."""
    config = library.openblas_get_config
    config.restype = ctypes.c_char_p
    return b"USE64BITINT" in config()
