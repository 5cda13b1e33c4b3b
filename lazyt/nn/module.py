"""Module: a tree of named parameters, buffers and submodules with a forward.

    class Affine(Module):
        def __init__(self):
            super().__init__()
            self.scale = Parameter(lazyt.ones(2))  # registered: an attribute and in parameters()

        def forward(self, x):
            return self.scale * x

Tensors and modules that are assigned as attributes live in three ordered tables (`_parameters`,
`_buffers`, `_modules`), where everything that walks a network finds them. Semantics and error
texts follow https://docs.pytorch.org/docs/2.13/generated/torch.nn.Module.html.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import lazyt
from lazyt.gradmode import no_grad
from lazyt.nn.hooks import call_hooks, call_with_hooks, registered
from lazyt.nn.state_dict import StateDict
from lazyt.parameter import Buffer, Parameter
from lazyt.tensor import Tensor
from lazyt.utils import typename
from lazyt.utils.hooks import RemovableHandle

__all__ = ["Module"]

_Self = TypeVar("_Self", bound="Module")
_Hook = Callable[..., Any]

# What every module is born with, made anew for each.
_STATE: dict[str, Callable[[], Any]] = {
    "_parameters": dict,
    "_buffers": dict,
    "_non_persistent_buffers_set": set,
    "_backward_pre_hooks": OrderedDict,
    "_backward_hooks": OrderedDict,
    "_forward_hooks": OrderedDict,
    "_forward_hooks_with_kwargs": OrderedDict,
    "_forward_hooks_always_called": OrderedDict,
    "_forward_pre_hooks": OrderedDict,
    "_forward_pre_hooks_with_kwargs": OrderedDict,
    "_state_dict_hooks": OrderedDict,
    "_state_dict_pre_hooks": OrderedDict,
    "_load_state_dict_pre_hooks": OrderedDict,
    "_load_state_dict_post_hooks": OrderedDict,
    "_modules": dict,
}


class Module(StateDict):
    """Base class of all networks and layers."""

    training: bool
    _backward_pre_hooks: OrderedDict[int, _Hook]
    _backward_hooks: OrderedDict[int, _Hook]
    _forward_hooks: OrderedDict[int, _Hook]
    _forward_hooks_with_kwargs: OrderedDict[int, bool]
    _forward_hooks_always_called: OrderedDict[int, bool]
    _forward_pre_hooks: OrderedDict[int, _Hook]
    _forward_pre_hooks_with_kwargs: OrderedDict[int, bool]
    # True: full backward hooks are registered; False: old ones; None: neither yet.
    _is_full_backward_hook: bool | None = None
    call_super_init: bool = False

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        if not self.call_super_init:
            if kwargs:
                raise TypeError(
                    f"{type(self).__name__}.__init__() got an unexpected keyword argument "
                    f"'{next(iter(kwargs))}'"
                )
            if args:
                raise TypeError(
                    f"{type(self).__name__}.__init__() takes 1 positional argument but "
                    f"{len(args) + 1} were given"
                )
        state = self.__dict__
        state["training"] = True
        for name, make in _STATE.items():
            state[name] = make()
        if self.call_super_init:
            super().__init__(*args, **kwargs)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """What the module computes; every subclass defines it."""
        raise NotImplementedError(
            f'Module [{type(self).__name__}] is missing the required "forward" function'
        )

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        state = self.__dict__
        try:
            hooked = (
                state["_backward_hooks"]
                or state["_backward_pre_hooks"]
                or state["_forward_hooks"]
                or state["_forward_pre_hooks"]
                or call_hooks
            )
        except KeyError as error:  # Module.__init__ has not run
            return getattr(self, error.args[0])
        if hooked:
            return call_with_hooks(self, args, kwargs)
        return self.forward(*args, **kwargs)

    # Attributes

    def __getattr__(self, name: str) -> Any:
        state = self.__dict__
        if "_modules" in state:
            if name in state["_parameters"]:
                return state["_parameters"][name]
            if name in state["_modules"]:
                return state["_modules"][name]
            if name in state["_buffers"]:
                return state["_buffers"][name]
        raise AttributeError(f"'{type(self).__name__}' object has no attribute '{name}'")

    def __setattr__(self, name: str, value: Any) -> None:
        state = self.__dict__
        parameters = state.get("_parameters")
        if isinstance(value, Parameter):
            if parameters is None:
                raise AttributeError("cannot assign parameters before Module.__init__() call")
            self._forget(name, "_parameters")
            self.register_parameter(name, value)
        elif parameters is not None and name in parameters:
            if value is not None:
                raise TypeError(
                    f"cannot assign '{typename(value)}' as parameter '{name}' "
                    "(torch.nn.Parameter or None expected)"
                )
            self.register_parameter(name, value)
        elif isinstance(value, Module):
            if "_modules" not in state:
                raise AttributeError("cannot assign module before Module.__init__() call")
            self._forget(name, "_modules")
            state["_modules"][name] = registered("module", self, name, value)
        elif parameters is None:
            object.__setattr__(self, name, value)
        elif name in state["_modules"]:
            if value is not None:
                raise TypeError(
                    f"cannot assign '{typename(value)}' as child module '{name}' "
                    "(torch.nn.Module or None expected)"
                )
            state["_modules"][name] = registered("module", self, name, value)
        elif name in state["_buffers"]:
            if value is not None and not isinstance(value, Tensor):
                raise TypeError(
                    f"cannot assign '{typename(value)}' as buffer '{name}' "
                    "(torch.nn.Buffer, torch.Tensor or None expected)"
                )
            persistent = name not in state["_non_persistent_buffers_set"]
            self.register_buffer(name, value, getattr(value, "persistent", persistent))
        elif isinstance(value, Buffer):
            self.register_buffer(name, value, value.persistent)
        else:
            object.__setattr__(self, name, value)

    def _forget(self, name: str, kept: str) -> None:
        """Drop what `name` meant so far, unless it stands in the table `kept` (where it keeps its
        place in the order)."""
        self.__dict__.pop(name, None)
        for table in ("_parameters", "_buffers", "_modules"):
            if table != kept:
                self.__dict__[table].pop(name, None)
        self._non_persistent_buffers_set.discard(name)

    def __delattr__(self, name: str) -> None:
        if name in self._parameters:
            del self._parameters[name]
        elif name in self._buffers:
            del self._buffers[name]
            self._non_persistent_buffers_set.discard(name)
        elif name in self._modules:
            del self._modules[name]
        else:
            super().__delattr__(name)

    def __dir__(self) -> list[str]:
        names = {*dir(type(self)), *self.__dict__}
        names.update(self._parameters, self._modules, self._buffers)
        return sorted(name for name in names if not name[:1].isdigit())

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        for name, make in _STATE.items():
            if name not in self.__dict__:  # written by an older version
                self.__dict__[name] = make()

    # Registration

    def _check_name(self, kind: str, name: str, members: dict[str, Any]) -> None:
        if not isinstance(name, str):
            raise TypeError(f"{kind} name should be a string. Got {typename(name)}")
        if kind == "module":  # PyTorch checks the three in another order here
            if hasattr(self, name) and name not in members:
                raise KeyError(f"attribute '{name}' already exists")
            if "." in name:
                raise KeyError(f'module name can\'t contain ".", got: {name}')
        elif "." in name:
            raise KeyError(f'{kind} name can\'t contain "."')
        if name == "":
            raise KeyError(f'{kind} name can\'t be empty string ""')
        if hasattr(self, name) and name not in members:
            raise KeyError(f"attribute '{name}' already exists")

    def register_buffer(self, name: str, tensor: Tensor | None, persistent: bool = True) -> None:
        """Make `tensor` the buffer `name`: state that is no parameter; saved if `persistent`."""
        if "_buffers" not in self.__dict__:
            raise AttributeError("cannot assign buffer before Module.__init__() call")
        self._check_name("buffer", name, self._buffers)
        if tensor is not None and not isinstance(tensor, Tensor):
            raise TypeError(
                f"cannot assign '{typename(tensor)}' object to buffer '{name}' "
                "(torch Tensor or None required)"
            )
        self._buffers[name] = registered("buffer", self, name, tensor)
        if persistent:
            self._non_persistent_buffers_set.discard(name)
        else:
            self._non_persistent_buffers_set.add(name)

    def register_parameter(self, name: str, param: Parameter | None) -> None:
        """Make `param` the parameter `name`."""
        if "_parameters" not in self.__dict__:
            raise AttributeError("cannot assign parameter before Module.__init__() call")
        self._check_name("parameter", name, self._parameters)
        if param is not None:
            if not isinstance(param, Parameter):
                raise TypeError(
                    f"cannot assign '{typename(param)}' object to parameter '{name}' "
                    "(torch.nn.Parameter or None required)"
                )
            if param.grad_fn:
                raise ValueError(
                    f"Cannot assign non-leaf Tensor to parameter '{name}'. Model parameters must "
                    f"be created explicitly. To express '{name}' as a function of another Tensor, "
                    "compute the value in the forward() method."
                )
            param = registered("parameter", self, name, param)
        self._parameters[name] = param

    def add_module(self, name: str, module: Module | None) -> None:
        """Make `module` the submodule `name`."""
        if module is not None and not isinstance(module, Module):
            raise TypeError(f"{typename(module)} is not a Module subclass")
        self._check_name("module", name, self._modules)
        self._modules[name] = registered("module", self, name, module)

    def register_module(self, name: str, module: Module | None) -> None:
        """The same as `add_module`."""
        self.add_module(name, module)

    # Looking up by dotted name

    def get_submodule(self, target: str) -> Module:
        """The module at a dotted path: `net.get_submodule("head.0")`; "" is the module itself."""
        module: Module = self
        for name in target.split(".") if target else ():
            module = _member(module, name)
            if not isinstance(module, Module):
                raise AttributeError(f"`{name}` is not an nn.Module")
        return module

    def set_submodule(self, target: str, module: Module, strict: bool = False) -> None:
        """Put `module` at a dotted path; with `strict` something must be there already."""
        if target == "":
            raise ValueError("Cannot set the submodule without a target name!")
        if not isinstance(module, Module):
            raise ValueError(f"`module` is not an nn.Module, found {type(module)}")
        path, _, name = target.rpartition(".")
        parent = self.get_submodule(path)
        occupied = strict or hasattr(parent, name)
        if occupied and not isinstance(_member(parent, name), Module):
            raise AttributeError(f"`{name}` is not an nn.Module")
        setattr(parent, name, module)

    def get_parameter(self, target: str) -> Parameter:
        """The parameter at a dotted path."""
        path, _, name = target.rpartition(".")
        param = _member(self.get_submodule(path), name)
        if not isinstance(param, Parameter):
            raise AttributeError(f"`{name}` is not an nn.Parameter")
        return param

    def get_buffer(self, target: str) -> Tensor:
        """The buffer at a dotted path."""
        path, _, name = target.rpartition(".")
        module = self.get_submodule(path)
        buffer: Tensor = _member(module, name)
        if name not in module._buffers:
            raise AttributeError(f"`{name}` is not a buffer")
        return buffer

    # Walking the tree

    def named_modules(
        self, memo: set[Module] | None = None, prefix: str = "", remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Module]]:
        """This module and all below it with their dotted names, each object once."""
        memo = set() if memo is None else memo
        if self in memo:
            return
        if remove_duplicate:
            memo.add(self)
        yield prefix, self
        for name, module in self._modules.items():
            if module is not None:
                path = f"{prefix}.{name}" if prefix else name
                yield from module.named_modules(memo, path, remove_duplicate)

    def modules(self, remove_duplicate: bool = True) -> Iterator[Module]:
        """This module and all below it."""
        for _, module in self.named_modules(remove_duplicate=remove_duplicate):
            yield module

    def named_children(self) -> Iterator[tuple[str, Module]]:
        """The direct submodules with their names, each object once."""
        seen: set[Module] = set()
        for name, module in self._modules.items():
            if module is not None and module not in seen:
                seen.add(module)
                yield name, module

    def children(self) -> Iterator[Module]:
        """The direct submodules."""
        for _, module in self.named_children():
            yield module

    def _named_members(
        self,
        get_members_fn: Callable[[Module], Any],
        prefix: str = "",
        recurse: bool = True,
        remove_duplicate: bool = True,
    ) -> Iterator[tuple[str, Any]]:
        """Members of one kind over the tree with their dotted names, each object once."""
        seen: set[Any] = set()
        modules = (
            self.named_modules(prefix=prefix, remove_duplicate=remove_duplicate)
            if recurse
            else [(prefix, self)]
        )
        for path, module in modules:
            for name, member in get_members_fn(module):
                if member is None or member in seen:
                    continue
                if remove_duplicate:
                    seen.add(member)
                yield (f"{path}.{name}" if path else name), member

    def named_parameters(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Parameter]]:
        """The parameters with their dotted names; a shared one comes once, under its first."""
        yield from self._named_members(
            lambda module: module._parameters.items(), prefix, recurse, remove_duplicate
        )

    def parameters(self, recurse: bool = True) -> Iterator[Parameter]:
        """The parameters, as an optimizer wants them."""
        for _, param in self.named_parameters(recurse=recurse):
            yield param

    def named_buffers(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Tensor]]:
        """The buffers with their dotted names."""
        yield from self._named_members(
            lambda module: module._buffers.items(), prefix, recurse, remove_duplicate
        )

    def buffers(self, recurse: bool = True) -> Iterator[Tensor]:
        """The buffers."""
        for _, buffer in self.named_buffers(recurse=recurse):
            yield buffer

    def apply(self: _Self, fn: Callable[[Module], None]) -> _Self:
        """Call `fn` on every module of the tree, children before their parent."""
        for module in self.children():
            module.apply(fn)
        fn(self)
        return self

    # Modes, gradients, conversions

    def train(self: _Self, mode: bool = True) -> _Self:
        """Set training mode in the whole tree (what dropout and batch norm ask)."""
        if not isinstance(mode, bool):
            raise ValueError("training mode is expected to be boolean")
        self.training = mode
        for module in self.children():
            module.train(mode)
        return self

    def eval(self: _Self) -> _Self:
        """Set evaluation mode: `train(False)`."""
        return self.train(False)

    def requires_grad_(self: _Self, requires_grad: bool = True) -> _Self:
        """Freeze or thaw all parameters."""
        for param in self.parameters():
            param.requires_grad_(requires_grad)
        return self

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Drop all gradients, or set them to zero in place."""
        for param in self.parameters():
            clear_grad(param, set_to_none)

    def _apply(self: _Self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> _Self:
        """Convert every parameter, gradient and buffer with `fn`. Parameters and gradients stay
        the objects they are: an optimizer that holds them goes on working."""
        if recurse:
            for module in self.children():
                module._apply(fn)
        for param in self._parameters.values():
            if param is not None:
                _convert(param, fn)
                if param.grad is not None:
                    _convert(param.grad, fn)
        for name, buffer in self._buffers.items():
            if buffer is not None:
                self._buffers[name] = fn(buffer)
        return self

    def cuda(self: _Self, device: Any = None) -> _Self:
        """Move to a GPU."""
        return self._apply(lambda t: t.cuda(device))

    def cpu(self: _Self) -> _Self:
        """Move to the CPU."""
        return self._apply(lambda t: t.cpu())

    def type(self: _Self, dst_type: Any) -> _Self:
        """Convert all parameters and buffers, integers too, to a dtype or type name."""
        return self._apply(lambda t: t.type(dst_type))

    def float(self: _Self) -> _Self:
        """Convert what is floating point to float32."""
        return self._apply(lambda t: t.float() if t.is_floating_point() else t)

    def double(self: _Self) -> _Self:
        """Convert what is floating point to float64."""
        return self._apply(lambda t: t.double() if t.is_floating_point() else t)

    def half(self: _Self) -> _Self:
        """Convert what is floating point to float16."""
        return self._apply(lambda t: t.half() if t.is_floating_point() else t)

    def bfloat16(self: _Self) -> _Self:
        """Convert what is floating point to bfloat16."""
        return self._apply(lambda t: t.bfloat16() if t.is_floating_point() else t)

    def to_empty(self: _Self, *, device: Any, recurse: bool = True) -> _Self:
        """Move to a device without copying the values."""
        return self._apply(lambda t: lazyt.empty_like(t, device=device), recurse=recurse)

    def to(self: _Self, *args: Any, **kwargs: Any) -> _Self:
        """Move to a device, convert what is floating point to a dtype, or both:
        `to(device, dtype, non_blocking)`, `to(dtype)`, `to(tensor)`."""
        device, dtype, non_blocking = _parse_to(*args, **kwargs)
        if dtype is not None and not (dtype.is_floating_point or dtype.is_complex):
            raise TypeError(
                "nn.Module.to only accepts floating point or complex dtypes, but got desired "
                f"dtype={dtype}"
            )

        def convert(tensor: Tensor) -> Tensor:
            wanted = {} if device is None else {"device": device}
            if dtype is not None and tensor.is_floating_point():
                wanted["dtype"] = dtype
            return tensor.to(**wanted, non_blocking=non_blocking) if wanted else tensor

        return self._apply(convert)

    # Hooks

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

    # Printing

    def _get_name(self) -> str:
        return type(self).__name__

    def extra_repr(self) -> str:
        """What a subclass shows between its parentheses."""
        return ""

    def __repr__(self) -> str:
        extra = self.extra_repr()
        extra_lines = extra.split("\n") if extra else []
        children = [
            f"({name}): {_indented(repr(module))}" for name, module in self._modules.items()
        ]
        if not children and len(extra_lines) <= 1:
            return f"{self._get_name()}({extra})"
        body = "".join(f"\n  {line}" for line in (*extra_lines, *children))
        return f"{self._get_name()}({body}\n)"


def _indented(text: str) -> str:
    """`text` with all lines but the first moved right by two; blank ones become empty."""
    first, *rest = text.split("\n")
    return "\n".join([first, *(f"  {line}" if line.strip() else "" for line in rest)])


def _member(module: Module, name: str) -> Any:
    """The attribute of a module on a dotted path."""
    if not hasattr(module, name):
        raise AttributeError(f"{module._get_name()} has no attribute `{name}`")
    return getattr(module, name)


def clear_grad(param: Tensor, set_to_none: bool) -> None:
    """Drop a parameter's gradient or set it to zero in place, cut off from its history."""
    grad = param.grad
    if grad is None:
        return
    if set_to_none:
        param.grad = None
        return
    if grad.grad_fn is not None:
        grad.detach_()
    else:
        grad.requires_grad_(False)
    grad.zero_()


def _convert(tensor: Tensor, fn: Callable[[Tensor], Tensor]) -> None:
    """Give a tensor the data that `fn` makes of it; views of the old data keep that."""
    with no_grad():
        converted = fn(tensor)
    if converted is not tensor:
        tensor.data = converted


def _parse_to(
    *args: Any,
    device: Any = None,
    dtype: Any = None,
    non_blocking: bool = False,
    memory_format: Any = None,
    tensor: Tensor | None = None,
) -> tuple[Any, Any, bool]:
    """Device, dtype and non_blocking of the forms of `to` (torch.Tensor.to). Memory formats are
    accepted: here tensors always lie in the order of their dimensions."""
    given = list(args)
    if given and isinstance(given[0], Tensor):
        tensor = given.pop(0)
    elif given and isinstance(given[0], lazyt.dtype):
        dtype = given.pop(0)
    elif given:
        device = given.pop(0)
        if given and (given[0] is None or isinstance(given[0], lazyt.dtype)):
            dtype = given.pop(0)
    if given:
        non_blocking = given.pop(0)
    if tensor is not None:
        device, dtype = tensor.device, tensor.dtype
    if device is not None:
        device = lazyt.device(device)
    return device, dtype, bool(non_blocking)
