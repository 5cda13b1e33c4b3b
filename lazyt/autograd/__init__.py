"""Autograd as the user sees it: backward, grad, hooks, grad_fn, Function, grad modes.

What is built on them (functional, gradcheck, forward_ad, graph, profiler) is imported when it is
first named.
"""

from __future__ import annotations

import importlib
from typing import Any

from lazyt.gradmode import (
    enable_grad,
    inference_mode,
    is_grad_enabled,
    is_inference_mode_enabled,
    no_grad,
    set_grad_enabled,
)
from lazyt.missing import missing

from .engine import (
    backward,
    check_assigned_grad,
    grad,
    grad_fn_of,
    warn_non_leaf_grad,
)
from .function import Function, FunctionCtx, once_differentiable
from .variable import Variable

__all__ = [
    "Function",
    "FunctionCtx",
    "Variable",
    "backward",
    "check_assigned_grad",
    "enable_grad",
    "grad",
    "grad_fn_of",
    "inference_mode",
    "is_grad_enabled",
    "is_inference_mode_enabled",
    "no_grad",
    "once_differentiable",
    "set_grad_enabled",
    "warn_non_leaf_grad",
]

_SUBMODULES = (
    "anomaly_mode",
    "forward_ad",
    "functional",
    "grad_mode",
    "graph",
    "profiler",
)
_MEMBERS = {
    "gradcheck": "gradcheck",
    "gradgradcheck": "gradcheck",
    "GradcheckError": "gradcheck",
    "detect_anomaly": "anomaly_mode",
    "set_detect_anomaly": "anomaly_mode",
}


def __getattr__(name: str) -> Any:
    """Submodules, and the functions of some that are public here."""
    if name in _SUBMODULES:
        return importlib.import_module(f"{__name__}.{name}")
    if name in _MEMBERS:
        source = _MEMBERS[name]
        module = importlib.import_module(f"{__name__}.{source}")
        # All of them: the import has put the module itself where `gradcheck` is a function.
        globals().update({n: getattr(module, n) for n, of in _MEMBERS.items() if of == source})
        return globals()[name]
    raise missing(__name__, name)
