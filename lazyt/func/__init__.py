"""torch.func: transforms of functions, which nest in each other.

    vmap(grad(loss), in_dims=(None, 0, 0))(w, x, y)      # a gradient for each example

`vmap` batches the traced graph, the others differentiate it.
"""

from __future__ import annotations

from lazyt.missing import getattr_of

from .derivatives import (
    functionalize,
    grad,
    grad_and_value,
    hessian,
    jacfwd,
    jacrev,
    jvp,
    linearize,
    vjp,
)
from .modules import functional_call, replace_all_batch_norm_modules_, stack_module_state
from .vmap import vmap

__all__ = [
    "functional_call",
    "functionalize",
    "grad",
    "grad_and_value",
    "hessian",
    "jacfwd",
    "jacrev",
    "jvp",
    "linearize",
    "replace_all_batch_norm_modules_",
    "stack_module_state",
    "vjp",
    "vmap",
]

__getattr__ = getattr_of(__name__)
