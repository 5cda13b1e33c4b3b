"""The public functions: one table, filled by the modules that define them."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from .tensor import Tensor

FUNCTIONS: dict[str, Callable] = {}


def public(function: Callable, *names: str, inplace: Callable | None = None) -> Callable:
    """Makes a function public under its names, as function and method (and in-place method)."""
    for name in names or (function.__name__,):
        FUNCTIONS[name] = function
        setattr(Tensor, name, function)
        if inplace is not None:
            FUNCTIONS[name + "_"] = inplace
            setattr(Tensor, name + "_", inplace)
    return function


def also_called(function: Callable, **words: str) -> Callable:
    """Lets keyword arguments go by other names: `also_called(f, axis="dim")`."""

    @functools.wraps(function)
    def call(*args: Any, **options: Any) -> Any:
        for word in options.keys() & words:
            options[words[word]] = options.pop(word)
        return function(*args, **options)

    return call
