"""Diverting a function: from now on each call of it goes to another function.

    divert(matmul, lambda original: lambda a, b: original(a.half(), b.half()))

Whoever holds `matmul`, under whatever name (a module, a class, a program that imported it), calls
the other function. A program that never asks for it pays nothing: no function looks for a mode that
is off. The price is paid from the first diversion on, by the functions that are diverted.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from types import FunctionType
from typing import Any

__all__ = ["divert"]


def _diverted(*args: Any, _handler: Callable[..., Any], **kwargs: Any) -> Any:
    return _handler(*args, **kwargs)


def divert(function: FunctionType, make: Callable[[FunctionType], Callable[..., Any]]) -> None:
    """Let calls of `function` go to `make(original)`, where `original` is what it was before."""
    original = FunctionType(
        function.__code__,
        function.__globals__,
        function.__name__,
        function.__defaults__,
        function.__closure__,
    )
    original.__kwdefaults__ = function.__kwdefaults__
    for name in functools.WRAPPER_ASSIGNMENTS:
        setattr(original, name, getattr(function, name))
    original.__dict__.update(function.__dict__)
    # A function keeps its closure, which its code has to name though the new one does not use it.
    free = function.__code__.co_freevars
    function.__code__ = _diverted.__code__.replace(co_freevars=free)
    function.__defaults__ = None
    function.__kwdefaults__ = {"_handler": make(original)}
    function.__wrapped__ = original  # type: ignore[attr-defined]  # for inspect.signature
