"""Anomaly detection: which operation's backward gave nan or failed, and where it was called.

    with torch.autograd.detect_anomaly():
        loss.backward()        # RuntimeError: Function 'SqrtBackward0' returned nan values in its …

While it is on, every gradient is computed as soon as it is known, so that the error is raised at
the backward; a warning names the line of the forward.
"""

from __future__ import annotations

import linecache
from typing import Any

import numpy as np

from lazyt.ir.node import Node, location
from lazyt.ir.tags import ANOMALY
from lazyt.runtime import drain as runtime
from lazyt.warned import warn

from .engine import grad_fn_name

__all__ = [
    "detect_anomaly",
    "is_anomaly_check_nan_enabled",
    "is_anomaly_enabled",
    "set_detect_anomaly",
]


class _Detector:
    """What a backward is watched by."""

    def __init__(self, check_nan: bool):
        self.check_nan = check_nan

    def check(self, node: Node, operand: int, cotangent: Node) -> None:
        """RuntimeError for a gradient with nan in it."""
        if not self.check_nan or not cotangent.type.dtype.is_floating_point:
            return
        if np.isnan(runtime.value_of(cotangent)).any():
            raise RuntimeError(
                f"Function '{grad_fn_name(node)}' returned nan values in its {operand}th output."
            )

    def blame(self, node: Node) -> None:
        """Warns about the line that called the operation whose backward failed."""
        file, line, function = location(node)
        text = linecache.getline(file, line).strip()
        warn(
            f"Error detected in {grad_fn_name(node)}. Traceback of forward call that caused the "
            f'error:\n  File "{file}", line {line}, in {function}\n    {text}\n',
        )


def is_anomaly_enabled() -> bool:
    """Whether anomalies are looked for."""
    return ANOMALY[0] is not None


def is_anomaly_check_nan_enabled() -> bool:
    """Whether nan counts as an anomaly, where anomalies are looked for."""
    found = ANOMALY[0]
    return found.check_nan if isinstance(found, _Detector) else True


class set_detect_anomaly:
    """Turns anomaly detection on or off at once; as a context manager for a while."""

    def __init__(self, mode: bool, check_nan: bool = True):
        self._before = ANOMALY[0]
        ANOMALY[0] = _Detector(check_nan) if mode else None

    def __enter__(self) -> None:
        pass

    def __exit__(self, *error: Any) -> None:
        ANOMALY[0] = self._before


class detect_anomaly(set_detect_anomaly):
    """Looks for anomalies while it is open: slow, for debugging."""

    def __init__(self, check_nan: bool = True):
        warn(
            "Anomaly Detection has been enabled. This mode will increase the runtime and should "
            "only be enabled for debugging.",
        )
        self._check_nan = check_nan
        self._before = ANOMALY[0]

    def __enter__(self) -> None:
        self._before = ANOMALY[0]
        ANOMALY[0] = _Detector(self._check_nan)
