"""Hooks of one module: what is called around its forward and its backward (nn.hooks calls them)."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Any

from lazyt.utils.hooks import RemovableHandle

_Hook = Callable[..., Any]


class Hooked:
    """What Module offers to register hooks."""

    _backward_pre_hooks: OrderedDict[int, _Hook]
    _backward_hooks: OrderedDict[int, _Hook]
    _forward_hooks: OrderedDict[int, _Hook]
    _forward_hooks_with_kwargs: OrderedDict[int, bool]
    _forward_hooks_always_called: OrderedDict[int, bool]
    _forward_pre_hooks: OrderedDict[int, _Hook]
    _forward_pre_hooks_with_kwargs: OrderedDict[int, bool]
    # True: full backward hooks are registered; False: old ones; None: neither yet.
    _is_full_backward_hook: bool | None = None

    def register_forward_pre_hook(
        self, hook: _Hook, *, prepend: bool = False, with_kwargs: bool = False
    ) -> RemovableHandle:
        """Call `hook(module, args)` before forward, or `hook(module, args, kwargs)`; what it
        returns (args; with kwargs, a pair) replaces the arguments."""
        options = {"_forward_pre_hooks_with_kwargs": with_kwargs}
        return self._add_hook("_forward_pre_hooks", hook, prepend, options)

    def register_forward_hook(
        self,
        hook: _Hook,
        *,
        prepend: bool = False,
        with_kwargs: bool = False,
        always_call: bool = False,
    ) -> RemovableHandle:
        """Call `hook(module, args, output)` after forward, or `hook(module, args, kwargs,
        output)`; what it returns replaces the output. With `always_call` also after an error."""
        options = {
            "_forward_hooks_with_kwargs": with_kwargs,
            "_forward_hooks_always_called": always_call,
        }
        return self._add_hook("_forward_hooks", hook, prepend, options)

    def register_full_backward_pre_hook(
        self, hook: _Hook, prepend: bool = False
    ) -> RemovableHandle:
        """Call `hook(module, grad_output)` before the module's backward; what it returns replaces
        the gradients of the outputs."""
        return self._add_hook("_backward_pre_hooks", hook, prepend)

    def register_full_backward_hook(self, hook: _Hook, prepend: bool = False) -> RemovableHandle:
        """Call `hook(module, grad_input, grad_output)` after the module's backward; what it
        returns replaces the gradients of the inputs."""
        self._choose_backward_hooks(full=True)
        return self._add_hook("_backward_hooks", hook, prepend)

    def register_backward_hook(self, hook: _Hook) -> RemovableHandle:
        """Call `hook(module, grad_input, grad_output)` after the backward of the last operation
        of forward. Prefer `register_full_backward_hook`."""
        self._choose_backward_hooks(full=False)
        return self._add_hook("_backward_hooks", hook, prepend=False)

    def _choose_backward_hooks(self, full: bool) -> None:
        if self._is_full_backward_hook is not None and self._is_full_backward_hook != full:
            raise RuntimeError(
                "Cannot use both regular backward hooks and full backward hooks on a single "
                "Module. Please use only one of them."
            )
        self._is_full_backward_hook = full

    def _add_hook(
        self, table: str, hook: _Hook, prepend: bool, options: dict[str, bool] | None = None
    ) -> RemovableHandle:
        hooks = self.__dict__[table]
        beside = {name: self.__dict__[name] for name in options or {}}
        handle = RemovableHandle(hooks, extra_dict=list(beside.values()))
        hooks[handle.id] = hook
        if prepend:
            hooks.move_to_end(handle.id, last=False)
        for name, wanted in (options or {}).items():
            if wanted:
                beside[name][handle.id] = True
        return handle
