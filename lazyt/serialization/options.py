"""The settings of saving and loading, by PyTorch's functions.

set_default_load_endianness(LoadEndianness.BIG)    # of files that do not say in which order
                                                   # the bytes of a number stand
"""

from __future__ import annotations

import sys
from enum import Enum


class LoadEndianness(Enum):
    """The order of the bytes of a number."""

    NATIVE = 1
    LITTLE = 2
    BIG = 3


class _Options:
    endianness: LoadEndianness | None = None
    checksums = True


def get_default_load_endianness() -> LoadEndianness | None:
    """The byte order of files that do not name theirs; None stands for little."""
    return _Options.endianness


def set_default_load_endianness(endianness: LoadEndianness | None) -> None:
    """Sets it. TypeError for anything but a LoadEndianness or None."""
    if not isinstance(endianness, LoadEndianness) and endianness is not None:
        raise TypeError("Invalid argument type in function set_default_load_endianness")
    _Options.endianness = endianness


def default_byteorder() -> bytes:
    """The byte order of a file that does not name its own."""
    if _Options.endianness is LoadEndianness.NATIVE:
        return sys.byteorder.encode()
    return b"big" if _Options.endianness is LoadEndianness.BIG else b"little"


def get_crc32_options() -> bool:
    """Whether `save` computes the checksums of records."""
    return _Options.checksums


def set_crc32_options(compute_crc32: bool) -> None:
    """Sets it. Without checksums damage to a file cannot be seen."""
    _Options.checksums = compute_crc32
