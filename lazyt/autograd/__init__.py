"""Autograd as the user sees it: backward, grad, hooks, grad_fn, Function, grad modes."""

from lazyt.gradmode import (
    enable_grad,
    inference_mode,
    is_grad_enabled,
    is_inference_mode_enabled,
    no_grad,
    set_grad_enabled,
)

from .engine import (
    Variable,
    backward,
    check_assigned_grad,
    grad,
    grad_fn_of,
    warn_non_leaf_grad,
)
from .function import Function, FunctionCtx, once_differentiable

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
