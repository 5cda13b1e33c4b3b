"""Warnings at the user's own line, however deep in the library the reason was found.

    loss = F.mse_loss(a, b)            # script.py, line 7: a and b differ in shape
    loss = nn.MSELoss()(a, b)          # line 8: the same, two calls deeper

They name `script.py:7` and `script.py:8`. A fixed `stacklevel` could be right for one of them only,
and since Python shows a warning once for each line, a wrong line also hides what others deserve.
"""

from __future__ import annotations

import sys
import warnings
from types import FrameType

from lazyt.ir.node import is_internal

__all__ = ["is_warn_always_enabled", "set_warn_always"]

_SAID: set[str] = set()
_ALWAYS = [False]


def set_warn_always(b: bool, /) -> None:
    """Whether what is said once in a process is said every time."""
    if not isinstance(b, bool):
        raise RuntimeError(f"setWarnOnlyOnce expects a bool, but got {type(b).__name__}")
    _ALWAYS[0] = b


def is_warn_always_enabled() -> bool:
    """What `set_warn_always` was last told: False at first."""
    return _ALWAYS[0]


def warn(message: str, category: type[Warning] = UserWarning) -> None:
    """Warns at the first line outside the library that led here."""
    frame: FrameType = sys._getframe(1)
    while is_internal(frame.f_code.co_filename) and frame.f_back is not None:
        frame = frame.f_back
    names = frame.f_globals
    warnings.warn_explicit(
        message,
        category,
        frame.f_code.co_filename,
        frame.f_lineno,
        names.get("__name__", "<unknown>"),
        names.setdefault("__warningregistry__", {}),
    )


def warn_once(message: str, reason: str = "") -> None:
    """Warns the first time that a process has a reason to, whatever line gave it, or every time
    (`set_warn_always`).

    reason: what is said once, where messages with one reason differ.
    """
    reason = reason or message
    if _ALWAYS[0] or reason not in _SAID:
        _SAID.add(reason)
        warn(message)
