"""Grad mode, per thread: no_grad, enable_grad, set_grad_enabled, inference_mode.

Each is a context manager and a decorator. A decorated generator runs every resumption under the
mode and gives the caller's mode back at each yield.
"""

from __future__ import annotations

import functools
import inspect
from typing import Any

from lazyt.ir.node import LOCAL


class _Mode:
    """A context manager that sets this thread's mode and, as a decorator, a function's."""

    def __init__(self) -> None:
        self._before: tuple[bool, bool] = LOCAL.grad, LOCAL.inference

    def _enter(self) -> None:
        raise NotImplementedError("a grad mode says what it sets")

    def __enter__(self) -> None:
        # One mode is remembered, as in PyTorch, also where one manager is entered twice.
        self._before = LOCAL.grad, LOCAL.inference
        self._enter()

    def __exit__(self, *error: Any) -> None:
        LOCAL.grad, LOCAL.inference = self._before

    def clone(self) -> _Mode:
        return type(self)()

    def __call__(self, function: Any) -> Any:
        if inspect.isclass(function):
            return self._decorate_class(function)
        if inspect.isgeneratorfunction(function):
            return self._decorate_generator(function)

        @functools.wraps(function)
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            with self.clone():
                return function(*args, **kwargs)

        return wrapped

    def _decorate_class(self, cls: type) -> type:
        cls.__init__ = self(cls.__init__)  # type: ignore[misc]
        return cls

    def _decorate_generator(self, function: Any) -> Any:
        @functools.wraps(function)
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            with self.clone():
                generator = function(*args, **kwargs)
            sent, method = None, generator.send
            while True:
                try:
                    with self.clone():
                        produced = method(sent)
                except StopIteration as stopped:
                    return stopped.value
                try:
                    sent, method = (yield produced), generator.send
                except GeneratorExit:
                    with self.clone():
                        generator.close()
                    raise
                except BaseException as error:
                    sent, method = error, generator.throw

        return wrapped


class no_grad(_Mode):
    """Operations inside record no history."""

    def __new__(cls, function: Any = None) -> Any:
        made = super().__new__(cls)
        if function is None:
            return made
        made.__init__()  # type: ignore[misc]
        return made(function)

    def __init__(self, function: Any = None) -> None:
        super().__init__()

    def _enter(self) -> None:
        LOCAL.grad = False


class enable_grad(no_grad):
    """Operations inside record history again."""

    def _enter(self) -> None:
        LOCAL.grad = True


class set_grad_enabled(_Mode):
    """Sets the mode at once; as a context manager gives the previous one back at its end."""

    def __init__(self, mode: bool) -> None:
        if not isinstance(mode, bool):
            raise TypeError(
                "set_grad_enabled(): argument 'enabled' (position 1) must be bool, not "
                f"{type(mode).__name__}"
            )
        super().__init__()
        self.mode = mode
        self.previous = LOCAL.grad, LOCAL.inference
        LOCAL.grad = self.mode

    def __enter__(self) -> None:
        self._before = self.previous
        LOCAL.grad = self.mode

    def __call__(self, function: Any) -> Any:
        LOCAL.grad, LOCAL.inference = self.previous
        return super().__call__(function)

    def __repr__(self) -> str:
        return f"torch.autograd.grad_mode.set_grad_enabled(mode={self.mode})"

    def clone(self) -> set_grad_enabled:
        return set_grad_enabled(self.mode)


class inference_mode(_Mode):
    """Like no_grad; tensors made inside cannot be given a gradient later."""

    def __new__(cls, mode: Any = True) -> Any:
        made = super().__new__(cls)
        if callable(mode) and not isinstance(mode, bool):
            made.__init__(True)  # type: ignore[misc]
            return made(mode)
        return made

    def __init__(self, mode: bool = True) -> None:
        super().__init__()
        self.mode = mode

    def _enter(self) -> None:
        if self.mode:
            LOCAL.grad, LOCAL.inference = False, True
        else:
            LOCAL.grad, LOCAL.inference = True, False

    def clone(self) -> inference_mode:
        return inference_mode(self.mode)


def is_grad_enabled() -> bool:
    """Whether operations of this thread record history."""
    return LOCAL.grad


def is_inference_mode_enabled() -> bool:
    """Whether this thread is inside `inference_mode`."""
    return LOCAL.inference
