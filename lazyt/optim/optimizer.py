"""Optimizer: parameter groups with their options, a state for each parameter, checkpoints.

    opt = SGD([{"params": body, "lr": 0.1}, {"params": head}], lr=0.01)
    opt.param_groups[0]["lr"]  # 0.1
    opt.state[p]["momentum_buffer"]

An update rule is a subclass with a `step` that writes the parameters in place. Semantics, error
texts and the layout of checkpoints follow
https://docs.pytorch.org/docs/2.13/generated/torch.optim.Optimizer.html.
"""

from __future__ import annotations

import functools
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Iterable
from copy import deepcopy
from itertools import chain
from typing import Any

from lazyt.gradmode import enable_grad
from lazyt.ir.node import LOCAL, caller
from lazyt.runtime.drain import drain
from lazyt.tensor import Tensor
from lazyt.utils import typename
from lazyt.utils.hooks import RemovableHandle
from lazyt.warned import warn

__all__ = [
    "Optimizer",
    "register_optimizer_step_post_hook",
    "register_optimizer_step_pre_hook",
]

_Hook = Callable[..., Any]
_HookTable = OrderedDict[int, _Hook]

# Hooks on the steps of all optimizers.
_global_pre_hooks: _HookTable = OrderedDict()
_global_post_hooks: _HookTable = OrderedDict()

# A step that left this many operations pending is computed at its end.
STEP_NODES = 64
_HOOK_TABLES = (
    "_optimizer_step_pre_hooks",
    "_optimizer_step_post_hooks",
    "_optimizer_state_dict_pre_hooks",
    "_optimizer_state_dict_post_hooks",
    "_optimizer_load_state_dict_pre_hooks",
    "_optimizer_load_state_dict_post_hooks",
)


class _Required:
    """The default of an option that every group has to give."""

    def __repr__(self) -> str:
        return "<required parameter>"


required = _Required()


def _register(table: _HookTable, hook: _Hook, prepend: bool = False) -> RemovableHandle:
    handle = RemovableHandle(table)
    table[handle.id] = hook
    if prepend:
        table.move_to_end(handle.id, last=False)
    return handle


def register_optimizer_step_pre_hook(hook: _Hook) -> RemovableHandle:
    """Call `hook(optimizer, args, kwargs)` before every step of every optimizer."""
    return _register(_global_pre_hooks, hook)


def register_optimizer_step_post_hook(hook: _Hook) -> RemovableHandle:
    """Call `hook(optimizer, args, kwargs)` after every step of every optimizer."""
    return _register(_global_post_hooks, hook)


def _cut_long_trace() -> None:
    """Compute what is pending. Here the cut falls at the same place of every step, whether the loop
    reads the loss or not, so the pieces are alike and share plans, and no batch outlives its
    step."""
    if len(LOCAL.trace) > STEP_NODES:
        drain()


def _with_hooks(step: _Hook) -> _Hook:
    """`step` with the step hooks around it."""

    @functools.wraps(step)
    def hooked(self: Optimizer, *args: Any, **kwargs: Any) -> Any:
        if not (
            self._optimizer_step_pre_hooks
            or self._optimizer_step_post_hooks
            or _global_pre_hooks
            or _global_post_hooks
        ):
            result = step(self, *args, **kwargs)
            _cut_long_trace()
            return result
        arguments: tuple[Any, ...] = (self, *args)
        for hook in (*_global_pre_hooks.values(), *self._optimizer_step_pre_hooks.values()):
            changed = hook(self, arguments, kwargs)
            if changed is None:
                continue
            if not (isinstance(changed, tuple) and len(changed) == 2):
                raise RuntimeError(
                    f"{step} must return None or a tuple of (new_args, new_kwargs), but got "
                    f"{changed}."
                )
            arguments, kwargs = changed
        result = step(*arguments, **kwargs)
        for hook in (*self._optimizer_step_post_hooks.values(), *_global_post_hooks.values()):
            hook(self, arguments, kwargs)
        _cut_long_trace()
        return result

    hooked.hooked = True  # type: ignore[attr-defined]
    return hooked


def without_grad(step: _Hook) -> _Hook:
    """Run a `step` untracked by autograd, unless the optimizer is `differentiable`; its closure
    is called first, tracked, and gives the result."""

    @functools.wraps(step)
    def untracked(self: Optimizer, closure: _Hook | None = None) -> Any:
        loss = None
        if closure is not None:
            with enable_grad():
                loss = closure()
        grad, origin = LOCAL.grad, LOCAL.origin
        try:
            LOCAL.grad = bool(self.defaults.get("differentiable", False))
            # Looked up once: all operations of a step are the same user line.
            LOCAL.origin = caller()
            step(self)
        finally:
            LOCAL.grad, LOCAL.origin = grad, origin
        return loss

    return untracked


class Optimizer:
    """Base class of all optimizers.

    Args:
        params: tensors, (name, tensor) pairs, or dicts that are parameter groups.
        defaults: the options a group has where it gives none itself.
    """

    _optimizer_step_pre_hooks: _HookTable
    _optimizer_step_post_hooks: _HookTable
    _optimizer_state_dict_pre_hooks: _HookTable
    _optimizer_state_dict_post_hooks: _HookTable
    _optimizer_load_state_dict_pre_hooks: _HookTable
    _optimizer_load_state_dict_post_hooks: _HookTable

    def __init__(self, params: Iterable[Any], defaults: dict[str, Any]) -> None:
        self.defaults = defaults
        self._complete()
        if isinstance(params, Tensor):
            raise TypeError(
                "params argument given to the optimizer should be an iterable of Tensors or "
                f"dicts, but got {typename(params)}"
            )
        self.state: defaultdict[Any, Any] = defaultdict(dict)
        self.param_groups: list[dict[str, Any]] = []
        groups = list(params)
        if not groups:
            raise ValueError("optimizer got an empty parameter list")
        if not isinstance(groups[0], dict):
            groups = [{"params": groups}]
        for group in groups:
            self.add_param_group(group)

    def _complete(self) -> None:
        """Hook tables, and the class's `step` wrapped to call hooks: once a class, whoever wrote
        it (a user's optimizer defines a bare `step`)."""
        for name in _HOOK_TABLES:
            self.__dict__.setdefault(name, OrderedDict())
        cls = type(self)
        if not getattr(cls.step, "hooked", False):
            cls.step = _with_hooks(cls.step)  # type: ignore[method-assign]

    def __getstate__(self) -> dict[str, Any]:
        return {
            "defaults": self.defaults,
            "state": self.state,
            "param_groups": self.param_groups,
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._complete()
        self.defaults.setdefault("differentiable", False)

    def __repr__(self) -> str:
        text = f"{type(self).__name__} ("
        for i, group in enumerate(self.param_groups):
            text += f"\nParameter Group {i}\n"
            text += "".join(
                f"    {key}: {group[key]}\n" for key in sorted(group) if key != "params"
            )
        return text + ")"

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a group, completed by the defaults. `params` is one tensor or an ordered iterable
        of tensors or of (name, tensor) pairs."""
        if not isinstance(param_group, dict):
            raise TypeError(f"param_group must be a dict, but got {type(param_group)}")
        given = param_group["params"]
        if isinstance(given, set):
            raise TypeError(
                "optimizer parameters need to be organized in ordered collections, but the "
                "ordering of tensors in sets will change between runs. Please use a list instead."
            )
        given = [given] if isinstance(given, Tensor) else list(given)
        names = [item[0] for item in given if isinstance(item, tuple)]
        params = [item[1] if isinstance(item, tuple) else item for item in given]
        param_group["params"] = params
        if names:
            if len(names) != len(params):
                raise ValueError(
                    "all optimizer params should be with/without names. Some param names are "
                    "missing"
                )
            param_group["param_names"] = names
        for param in params:
            self._check_param(param)
        for name, default in self.defaults.items():
            if default is required and name not in param_group:
                raise ValueError(
                    f"parameter group didn't specify a value of required optimization parameter "
                    f"{name}"
                )
            param_group.setdefault(name, default)
        if len(params) != len(set(params)):
            warn(
                "optimizer contains a parameter group with duplicate parameters; in future, this "
                "will cause an error; see github.com/pytorch/pytorch/issues/40967 for more "
                "information",
            )
        for group in self.param_groups:
            if ("param_names" in param_group) != ("param_names" in group):
                ours = "with names" if "param_names" in param_group else "without names"
                raise ValueError(
                    "all optimizer param groups should be with/without names. cannot add param "
                    f"group {ours} to the optimizer"
                )
        known = set(chain.from_iterable(group["params"] for group in self.param_groups))
        if not known.isdisjoint(params):
            raise ValueError("some parameters appear in more than one parameter group")
        self.param_groups.append(param_group)

    def _check_param(self, param: Any) -> None:
        if not isinstance(param, Tensor):
            raise TypeError(
                f"optimizer can only optimize Tensors, but one of the params is {typename(param)}"
            )
        if self.defaults.get("differentiable") or param.is_leaf or param.retains_grad:
            return
        raise ValueError("can't optimize a non-leaf Tensor")

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Update the parameters from their gradients; `closure` evaluates the loss anew."""
        raise NotImplementedError

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Drop the gradients of all parameters, or set them to zero in place."""
        for group in self.param_groups:
            for param in group["params"]:
                grad = param.grad
                if grad is None:
                    continue
                if set_to_none:
                    param.grad = None
                    continue
                if grad.grad_fn is not None:
                    grad.detach_()
                else:
                    grad.requires_grad_(False)
                grad.zero_()

    # Checkpoints

    def state_dict(self) -> dict[str, Any]:
        """Two entries: "state", by the numbers of the parameters, which count through the
        groups; "param_groups", the options, with those numbers as "params". The tensors are the
        live ones."""
        for hook in self._optimizer_state_dict_pre_hooks.values():
            hook(self)
        numbers: dict[int, int] = {}
        groups = []
        start = 0
        for group in self.param_groups:
            for number, param in enumerate(group["params"], start):
                numbers.setdefault(id(param), number)
            start += len(group["params"])
            packed = {key: value for key, value in group.items() if key != "params"}
            packed["params"] = [numbers[id(param)] for param in group["params"]]
            groups.append(packed)
        state = {
            numbers[id(key)] if isinstance(key, Tensor) else key: value
            for key, value in self.state.items()
        }
        result: dict[str, Any] = {"state": state, "param_groups": groups}
        for hook in self._optimizer_state_dict_post_hooks.values():
            changed = hook(self, result)
            if changed is not None:
                result = changed
        return result

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over options and state of a `state_dict`. State tensors take the dtype and device
        of their parameter where that is floating point.

        Raises:
            ValueError: the groups differ in number or size.
        """
        state_dict = state_dict.copy()
        for hook in self._optimizer_load_state_dict_pre_hooks.values():
            changed = hook(self, state_dict)
            if changed is not None:
                state_dict = changed
        groups = self.param_groups
        saved = deepcopy(state_dict["param_groups"])
        if len(groups) != len(saved):
            raise ValueError("loaded state dict has a different number of parameter groups")
        if any(len(g["params"]) != len(s["params"]) for g, s in zip(groups, saved, strict=True)):
            raise ValueError(
                "loaded state dict contains a parameter group that doesn't match the size of "
                "optimizer's group"
            )
        params: dict[Any, tuple[Any, bool]] = {}  # by number: the tensor, "step" goes along
        for group, other in zip(groups, saved, strict=True):
            moves = bool(other.get("fused") or other.get("capturable"))
            for number, param in zip(other["params"], group["params"], strict=True):
                params[number] = (param, moves)
            other["params"] = group["params"]
            if "param_names" in group:
                other.setdefault("param_names", group["param_names"])
        state: defaultdict[Any, Any] = defaultdict(dict)
        for key, value in state_dict["state"].items():
            if key in params:
                state[params[key][0]] = _cast(*params[key], value)
            else:
                state[key] = value
        self.__setstate__({"state": state, "param_groups": saved})
        for hook in self._optimizer_load_state_dict_post_hooks.values():
            hook(self)

    # Hooks

    def register_step_pre_hook(self, hook: _Hook) -> RemovableHandle:
        """Call `hook(optimizer, args, kwargs)` before each step; a pair it returns replaces the
        arguments."""
        return _register(self._optimizer_step_pre_hooks, hook)

    def register_step_post_hook(self, hook: _Hook) -> RemovableHandle:
        """Call `hook(optimizer, args, kwargs)` after each step."""
        return _register(self._optimizer_step_post_hooks, hook)

    def register_state_dict_pre_hook(self, hook: _Hook, prepend: bool = False) -> RemovableHandle:
        """Call `hook(optimizer)` before saving."""
        return _register(self._optimizer_state_dict_pre_hooks, hook, prepend)

    def register_state_dict_post_hook(self, hook: _Hook, prepend: bool = False) -> RemovableHandle:
        """Call `hook(optimizer, state_dict)` after saving; what it returns replaces the dict."""
        return _register(self._optimizer_state_dict_post_hooks, hook, prepend)

    def register_load_state_dict_pre_hook(
        self, hook: _Hook, prepend: bool = False
    ) -> RemovableHandle:
        """Call `hook(optimizer, state_dict)` before loading; what it returns replaces the dict."""
        return _register(self._optimizer_load_state_dict_pre_hooks, hook, prepend)

    def register_load_state_dict_post_hook(
        self, hook: _Hook, prepend: bool = False
    ) -> RemovableHandle:
        """Call `hook(optimizer)` after loading."""
        return _register(self._optimizer_load_state_dict_post_hooks, hook, prepend)


def _cast(param: Tensor, step_moves: bool, value: Any, key: Any = None) -> Any:
    """A loaded piece of state as its parameter wants it. A step count keeps its dtype and stays
    where it is, unless the step runs on the device (`step_moves`)."""
    if isinstance(value, Tensor):
        if key == "step":
            import lazyt

            return value.to(device=param.device, dtype=lazyt.float32) if step_moves else value
        if param.is_floating_point():
            return value.to(device=param.device, dtype=param.dtype)
        return value.to(device=param.device)
    if isinstance(value, dict):
        return {k: _cast(param, step_moves, v, k) for k, v in value.items()}
    if isinstance(value, Iterable) and not isinstance(value, str):
        return type(value)(_cast(param, step_moves, v) for v in value)  # type: ignore[call-arg]
    return value
