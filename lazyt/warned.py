"""Warnings that PyTorch gives once in a process, however often what they warn of happens.

warn_once("The use of `x.T` ...", 3)      # the second call says nothing
"""

from __future__ import annotations

import warnings

_GIVEN: set[str] = set()


def warn_once(text: str, stacklevel: int) -> None:
    """A UserWarning at the caller's caller (stacklevel 3) or further out, the first time only."""
    if text not in _GIVEN:
        _GIVEN.add(text)
        warnings.warn(text, UserWarning, stacklevel=stacklevel)
