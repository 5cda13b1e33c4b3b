"""Factors between the operands, as they were written before they got names; PyTorch takes both.

w.add_(-lr, g)                  w.add_(g, alpha=-lr)
addmm(0.5, c, 2, a, b)          addmm(c, a, b, beta=0.5, alpha=2)
c.addmm(0.5, 2, a, b)           the same
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

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
    written = ", ".join(f"{factor}={number}" for factor, number in numbers.items())
    warnings.warn(
        f"This overload of {name} is deprecated: write {name}(…, {written})",
        stacklevel=3,
    )
    kept = {} if out is None else {"out": out}
    return function(*(a for a in args if isinstance(a, Tensor)), **numbers, **kept)
