"""torch.compile and torch.jit: what asks for compilation gets its function back.

    step = torch.compile(step)           # the same function
    model = torch.jit.script(model)      # the same module

Whatever lazyt runs is traced and compiled, so there is nothing to add; a function that is given
here keeps its Python behaviour, data-dependent control flow included. Saving a scripted program is
the one thing that is missing, and says so.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NoReturn

from lazyt.gradmode import no_grad
from lazyt.warned import warn

AS_IT_IS = "torch.jit.{} returns what it is given: lazyt compiles whatever it runs"


def compile(
    model: Callable | None = None,
    *,
    fullgraph: bool = False,
    dynamic: bool | None = None,
    backend: str | Callable = "inductor",
    mode: str | None = None,
    options: dict[str, Any] | None = None,
    disable: bool = False,
) -> Any:
    """The function or module itself; without one, a decorator. The other arguments are accepted and
    change nothing."""
    if mode is not None and options is not None:
        raise RuntimeError(
            "Either mode or options can be specified, but both can't be specified at the same time."
        )
    return _same if model is None else model


def _same(function: Any) -> Any:
    return function


def script(obj: Any, *args: Any, **options: Any) -> Any:
    """The function, class or module itself, with a warning that says so."""
    warn(AS_IT_IS.format("script"))
    return obj


def trace(func: Any, example_inputs: Any = None, *args: Any, **options: Any) -> Any:
    """The function or module itself, called once with the example inputs as PyTorch does."""
    warn(AS_IT_IS.format("trace"))
    if example_inputs is not None:
        inputs = example_inputs if isinstance(example_inputs, (tuple, list)) else (example_inputs,)
        with no_grad():
            func(*inputs)
    return func


def ignore(drop: Any = False, **options: Any) -> Any:
    """A decorator that leaves its function as it is."""
    return drop if callable(drop) else _same


def unused(fn: Callable) -> Callable:
    """The function as it is."""
    return fn


def export(fn: Callable) -> Callable:
    """The function as it is."""
    return fn


def is_scripting() -> bool:
    """False: nothing is compiled from source text."""
    return False


def is_tracing() -> bool:
    """False: what PyTorch would trace here runs as it is."""
    return False


def save(*args: Any, **options: Any) -> NoReturn:
    """RuntimeError: there are no scripted programs to save."""
    raise RuntimeError(
        "torch.jit.save is not here, as there are no scripted programs; save the state_dict with "
        "torch.save"
    )


def load(*args: Any, **options: Any) -> NoReturn:
    """RuntimeError: there are no scripted programs to load."""
    raise RuntimeError(
        "torch.jit.load is not here, as there are no scripted programs; load a state_dict with "
        "torch.load"
    )


_overload_method = unused
