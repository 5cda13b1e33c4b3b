"""Factors between the operands, as they were written before they got names; PyTorch takes both.

w.add_(-lr, g)                  w.add_(g, alpha=-lr)
addmm(0.5, c, 2, a, b)          addmm(c, a, b, beta=0.5, alpha=2)
c.addmm(0.5, 2, a, b)           the same
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from lazyt.warned import warn_once

from ..tensor import Tensor

# Where factors (f) may stand among the operands (t), and what they are called.
SUMS = ("tft",), ("alpha",)
POINTWISE = ("tftt",), ("value",)
PRODUCTS = ("ftftt", "fttt", "tfftt", "tftt"), ("beta", "alpha")

FORMS = {
    "add": SUMS,
    "sub": SUMS,
    "subtract": SUMS,
    "addcmul": POINTWISE,
    "addcdiv": POINTWISE,
    "addmm": PRODUCTS,
    "addmv": PRODUCTS,
    "addr": PRODUCTS,
    "baddbmm": PRODUCTS,
    "addbmm": PRODUCTS,
}


# What the operands after the first are called.
_MATRIX_VECTOR, _BATCHES = ("mat", "vec"), ("batch1", "batch2")
OPERANDS = {
    "add": ("other",),
    "sub": ("other",),
    "addcmul": ("tensor1", "tensor2"),
    "addcdiv": ("tensor1", "tensor2"),
    "addmm": ("mat1", "mat2"),
    "addmv": _MATRIX_VECTOR,
    "addr": ("vec1", "vec2"),
    "baddbmm": _BATCHES,
    "addbmm": _BATCHES,
}


def _outdated(name: str, kinds: str, operands: tuple[str, ...]) -> str:
    """PyTorch's warning: the form that was used, and the one that there is now."""
    factors = FORMS[name.removesuffix("_")][1]
    method = name.endswith("_")
    tensors = iter(["Tensor input", *(f"Tensor {o}" for o in operands)])
    numbers = iter([f"Number {f}" for f in factors])
    used = [next(tensors if kind == "t" else numbers) for kind in kinds]
    if method:
        used.remove("Tensor input")
    now = ["Tensor input"][method:] + [f"Tensor {o}" for o in operands] + ["*"]
    now += [f"Number {f} = 1" for f in factors]
    if not method:
        used += ["*", "Tensor out = None"]
        now.append("Tensor out = None")
    return (
        f"This overload of {name} is deprecated:\n\t{name}({', '.join(used)})\n"
        f"Consider using one of the following signatures instead:\n\t{name}({', '.join(now)})"
    )


def old_form(function: Callable, *args: Any, out: Tensor | None = None) -> Tensor:
    """Calls a function whose factors stand among its operands.

    Errors: TypeError where they do not stand in one of the places that PyTorch once had for them.
    """
    name = function.__name__
    places, factors = FORMS[name.removesuffix("_")]
    kinds = "".join("t" if isinstance(a, Tensor) else "f" for a in args)
    if kinds not in places:
        takes = places[-1].count("t")
        raise TypeError(f"{name}() takes {takes} positional arguments but {len(args)} were given")
    numbers = dict(zip(factors, (a for a in args if not isinstance(a, Tensor)), strict=False))
    warn_once(_outdated(name, kinds, OPERANDS[name.removesuffix("_")]), reason="overload")
    kept = {} if out is None else {"out": out}
    return function(*(a for a in args if isinstance(a, Tensor)), **numbers, **kept)
