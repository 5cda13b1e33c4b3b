"""What happens around `Module.forward` when somebody listens.

`Module.__call__` comes here only if a hook is registered on the module or for all modules. The
order is PyTorch's: forward pre-hooks (global ones first), forward, forward hooks; backward hooks
wrap the inputs and outputs in an identity whose backward calls them.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

from lazyt.tensor import Tensor
from lazyt.utils.hooks import RemovableHandle
from lazyt.warned import warn

if TYPE_CHECKING:
    from lazyt.nn.module import Module

__all__ = [
    "register_module_buffer_registration_hook",
    "register_module_forward_hook",
    "register_module_forward_pre_hook",
    "register_module_full_backward_hook",
    "register_module_full_backward_pre_hook",
    "register_module_module_registration_hook",
    "register_module_parameter_registration_hook",
]


class GlobalHook(NamedTuple):
    """A hook on every module: its kind, the function, and how it wants to be called."""

    kind: str
    call: Callable[..., Any]
    with_kwargs: bool = False
    always_call: bool = False


# PyTorch's global hooks: one table for what runs at calls, so that a call checks one thing.
call_hooks: OrderedDict[int, GlobalHook] = OrderedDict()
registration_hooks: OrderedDict[int, GlobalHook] = OrderedDict()


def _register(table: OrderedDict[int, GlobalHook], hook: GlobalHook) -> RemovableHandle:
    handle = RemovableHandle(table)
    table[handle.id] = hook
    return handle


def _of_kind(kind: str) -> list[tuple[int, GlobalHook]]:
    return [(key, hook) for key, hook in call_hooks.items() if hook.kind == kind]


def register_module_forward_pre_hook(hook: Callable[..., Any]) -> RemovableHandle:
    """Call `hook(module, args)` before every module's forward."""
    return _register(call_hooks, GlobalHook("forward_pre", hook))


def register_module_forward_hook(
    hook: Callable[..., Any], *, with_kwargs: bool = False, always_call: bool = False
) -> RemovableHandle:
    """Call `hook(module, args, output)` after every module's forward."""
    return _register(call_hooks, GlobalHook("forward", hook, with_kwargs, always_call))


def register_module_full_backward_pre_hook(hook: Callable[..., Any]) -> RemovableHandle:
    """Call `hook(module, grad_output)` when a module's output gradients are known."""
    return _register(call_hooks, GlobalHook("backward_pre", hook))


def register_module_full_backward_hook(hook: Callable[..., Any]) -> RemovableHandle:
    """Call `hook(module, grad_input, grad_output)` when a module's input gradients are known."""
    return _register(call_hooks, GlobalHook("backward", hook))


def register_module_parameter_registration_hook(hook: Callable[..., Any]) -> RemovableHandle:
    """Call `hook(module, name, param)` at every registration; what it returns replaces it."""
    return _register(registration_hooks, GlobalHook("parameter", hook))


def register_module_buffer_registration_hook(hook: Callable[..., Any]) -> RemovableHandle:
    """Call `hook(module, name, buffer)` at every registration; what it returns replaces it."""
    return _register(registration_hooks, GlobalHook("buffer", hook))


def register_module_module_registration_hook(hook: Callable[..., Any]) -> RemovableHandle:
    """Call `hook(module, name, submodule)` at every registration; what it returns replaces it."""
    return _register(registration_hooks, GlobalHook("module", hook))


def registered(kind: str, module: Module, name: str, value: Any) -> Any:
    """The value to store under `name`, after the global registration hooks of this kind."""
    for hook in list(registration_hooks.values()):
        if hook.kind == kind:
            replacement = hook.call(module, name, value)
            if replacement is not None:
                value = replacement
    return value


class _Call:
    """One call of a module with hooks. The state is kept here because a failing forward still
    owes the hooks with `always_call=True` a visit, with what was known by then."""

    def __init__(self, module: Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self.module, self.args, self.kwargs = module, args, kwargs
        self.result: Any = None
        self.visited: set[int] = set()

    def run(self) -> Any:
        module = self.module
        self._forward_pre_hooks()
        backward = self._backward_hooks()
        if backward is not None:
            self.args = backward.wrap_inputs(self.args)
        self.result = module.forward(*self.args, **self.kwargs)
        for key, hook, with_kwargs, always_call in self._forward_hooks():
            if always_call:
                self.visited.add(key)
            self._visit(hook, with_kwargs)
        if backward is not None:
            self.result = backward.wrap_outputs(self.result)
        if module._backward_hooks and module._is_full_backward_hook is False:
            self._hook_grad_fn()
        return self.result

    def _visit(self, hook: Callable[..., Any], with_kwargs: bool) -> None:
        arguments = (self.args, self.kwargs) if with_kwargs else (self.args,)
        replacement = hook(self.module, *arguments, self.result)
        if replacement is not None:
            self.result = replacement

    def _forward_pre_hooks(self) -> None:
        module = self.module
        hooks = [(hook.call, False) for _, hook in _of_kind("forward_pre")]
        with_kwargs = module._forward_pre_hooks_with_kwargs
        hooks += [(hook, key in with_kwargs) for key, hook in module._forward_pre_hooks.items()]
        for hook, takes_kwargs in hooks:
            if takes_kwargs:
                changed = hook(module, self.args, self.kwargs)
                if changed is None:
                    continue
                if not (isinstance(changed, tuple) and len(changed) == 2):
                    raise RuntimeError(
                        "forward pre-hook must return None or a tuple of (new_args, new_kwargs), "
                        f"but got {changed}."
                    )
                self.args, self.kwargs = changed
            else:
                changed = hook(module, self.args)
                if changed is not None:
                    self.args = changed if isinstance(changed, tuple) else (changed,)

    def _forward_hooks(self) -> list[tuple[int, Callable[..., Any], bool, bool]]:
        module = self.module
        hooks = [(k, h.call, h.with_kwargs, h.always_call) for k, h in _of_kind("forward")]
        with_kwargs = module._forward_hooks_with_kwargs
        always = module._forward_hooks_always_called
        hooks += [(k, h, k in with_kwargs, k in always) for k, h in module._forward_hooks.items()]
        return hooks

    def _backward_hooks(self) -> Any:
        module = self.module
        pre = [hook.call for _, hook in _of_kind("backward_pre")]
        pre += module._backward_pre_hooks.values()
        full = [hook.call for _, hook in _of_kind("backward")]
        if module._is_full_backward_hook:
            full += module._backward_hooks.values()
        if not pre and not full:
            return None
        from lazyt.nn.backward_hooks import BackwardHooks

        return BackwardHooks(module, full, pre)

    def _hook_grad_fn(self) -> None:
        """The older `register_backward_hook`: it sees the last operation of forward, not forward
        as a whole, which is why PyTorch advises against it."""
        output = self.result
        while not isinstance(output, Tensor):
            if isinstance(output, dict):
                output = next(v for v in output.values() if isinstance(v, Tensor))
            else:
                output = output[0]
        if output.grad_fn is None:
            return
        for hook in self.module._backward_hooks.values():
            output.grad_fn.register_hook(WrappedHook(hook, self.module))

    def call_the_rest(self) -> None:
        """After an error: the hooks that are always called and have not been."""
        for key, hook, with_kwargs, always_call in self._forward_hooks():
            if not always_call or key in self.visited:
                continue
            try:
                self._visit(hook, with_kwargs)
            except Exception as error:
                owner = "global module" if key in call_hooks else "module"
                warn(
                    f"{owner} forward hook with ``always_call=True`` raised an exception that was "
                    f"silenced as another error was raised in forward: {error}",
                )


def call_with_hooks(module: Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """`module.forward(*args, **kwargs)` with every hook of the module and of all modules."""
    call = _Call(module, args, kwargs)
    try:
        return call.run()
    except Exception:
        call.call_the_rest()
        raise


class WrappedHook:
    """A hook that is given its module first, without keeping the module alive; copied and
    pickled together with it."""

    def __init__(self, hook: Callable[..., Any], module: Module | None = None) -> None:
        import weakref

        self.hook = hook
        self.module = None if module is None else weakref.ref(module)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if self.module is None:
            return self.hook(*args, **kwargs)
        module = self.module()
        if module is None:
            raise RuntimeError("You are trying to call the hook of a dead Module!")
        return self.hook(module, *args, **kwargs)

    def __getstate__(self) -> dict[str, Any]:
        return {"hook": self.hook, "module": None if self.module is None else self.module()}

    def __setstate__(self, state: dict[str, Any]) -> None:
        WrappedHook.__init__(self, state["hook"], state["module"])
