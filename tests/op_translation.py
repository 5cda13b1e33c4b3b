"""What PyTorch's own tests are made of, said again for lazyt.

A sample input of PyTorch's tests is tensors, dtypes, lists of them and small functions that name
`torch`. `Translation` makes of each what it would be, had it been written with lazyt:

    to_lazyt = Translation(torch, lazyt)
    to_lazyt([torch.ones(2), torch.float16])     # [tensor([1., 1.]), torch.float16], of lazyt
    to_lazyt(lambda x: torch.relu(x))            # the same code, in which `torch` is lazyt
    to_lazyt(torch.Tensor.add_)                  # lazyt.Tensor.add_
"""

from __future__ import annotations

import functools
import importlib
import types
from typing import Any

import numpy as np

# Where PyTorch's functions are public, the nearest names first.
_NAMESPACES = (
    "",
    "Tensor",
    "linalg",
    "special",
    "fft",
    "nn.functional",
    "nn",
    "autograd",
    "random",
)
_NAMESPACES += ("signal.windows", "masked", "sparse", "_C._nn", "testing")
_RESOLVED = (types.BuiltinFunctionType, types.FunctionType, type, types.ModuleType)
_RESOLVED += (types.MethodDescriptorType, types.WrapperDescriptorType, types.GetSetDescriptorType)
_RESOLVED += (types.BuiltinMethodType,)


class Absent(AttributeError):
    """lazyt has nothing of this name."""


def tests_of_pytorch(name: str) -> types.ModuleType:
    """A module of PyTorch's own tests. Importing one forbids to set flags of `torch.backends` in
    the whole process; that is taken back, for other tests set them."""
    module = importlib.import_module(f"torch.testing._internal.{name}")
    backends = importlib.import_module("torch.backends")
    backends.disable_global_flags.__globals__["__allow_nonbracketed_mutation_flag"] = True
    return module


class Translation:
    """A function from objects of PyTorch's tests to those of lazyt.

    A tensor keeps its dtype, shape, strides and `requires_grad`; it becomes a leaf. Whatever is
    translated a second time by the same `Translation` within one `fresh()` is the same object.
    """

    def __init__(self, torch: types.ModuleType, lazyt: types.ModuleType):
        table = tests_of_pytorch("common_methods_invocations")
        self.torch, self.lazyt = torch, lazyt
        self._paths: dict[int, str] = {}
        self._code: dict[int, Any] = {}
        self._tensors: dict[int, tuple[Any, Any]] = {}
        self._code[id(table.wrapper_set_seed)] = self._seeded, table.wrapper_set_seed
        for namespace in _NAMESPACES:
            owner = _resolve(torch, namespace)
            for name in dir(owner):
                value = getattr(owner, name, None)
                if isinstance(value, _RESOLVED) or value.__class__.__name__ == "method_descriptor":
                    self._paths.setdefault(id(value), f"{namespace}.{name}".lstrip("."))
        self._paths[id(torch)] = ""

    def fresh(self) -> None:
        """Forget which tensors were translated."""
        self._tensors.clear()

    def __call__(self, x: Any) -> Any:
        torch = self.torch
        if isinstance(x, torch.Tensor):
            return self.tensor(x)
        if isinstance(x, (list, tuple)) and type(x) in (list, tuple):
            return type(x)(self(i) for i in x)
        if isinstance(x, torch.Size):
            return self.lazyt.Size(x)
        if isinstance(x, dict):
            return {key: self(value) for key, value in x.items()}
        if isinstance(x, slice):
            return slice(self(x.start), self(x.stop), self(x.step))
        if isinstance(x, (torch.dtype, torch.memory_format, torch.layout)):
            return _resolve(self.lazyt, str(x).removeprefix("torch."))
        if isinstance(x, torch.device):
            return self.lazyt.device(str(x))
        if isinstance(x, functools.partial):
            return functools.partial(self(x.func), *self(x.args), **self(x.keywords))
        if isinstance(x, types.MethodType):
            return types.MethodType(self(x.__func__), self(x.__self__))
        if id(x) in self._paths:
            return _resolve(self.lazyt, self._paths[id(x)])
        if isinstance(x, types.FunctionType) and x.__module__.startswith(("torch.", "__main__")):
            return self.function(x)
        return x

    def tensor(self, x: Any) -> Any:
        """A leaf of lazyt with the elements, strides and `requires_grad` of a tensor."""
        if id(x) in self._tensors:
            return self._tensors[id(x)][0]
        torch, lazyt = self.torch, self.lazyt
        plain = x.detach().resolve_conj().resolve_neg()
        elements = _elements(plain)
        if x.dtype is torch.bfloat16:
            elements = elements.float()
        made = lazyt.tensor(np.array(elements.numpy()), dtype=self(x.dtype))
        if plain.is_contiguous() and plain.numel() == elements.numel():
            made = made.reshape(tuple(plain.shape))
        else:
            made = made.as_strided(tuple(plain.shape), plain.stride(), plain.storage_offset())
        made.requires_grad_(x.requires_grad)
        self._tensors[id(x)] = made, x
        return made

    def _seeded(self, f: Any, *args: Any, **options: Any) -> Any:
        """What PyTorch's tests call `wrapper_set_seed`; the state of its generator is not put
        back."""
        self.lazyt.manual_seed(42)
        return f(*args, **options)

    def function(self, f: types.FunctionType) -> Any:
        """A Python function with what it names translated: globals, defaults and closure."""
        if id(f) in self._code:
            return self._code[id(f)][0]
        names = _names(f.__code__)
        scope = dict(f.__globals__)
        made = types.FunctionType(
            f.__code__, scope, f.__name__, self(f.__defaults__), _cells(f.__closure__)
        )
        self._code[id(f)] = made, f  # kept, for an id names what is alive
        made.__kwdefaults__ = self(f.__kwdefaults__)
        for name in names & scope.keys():
            scope[name] = self(scope[name])
        for cell in made.__closure__ or ():
            cell.cell_contents = self(cell.cell_contents)
        return made


def same_leaf(torch: types.ModuleType, x: Any, memo: dict[int, Any]) -> Any:
    """A tensor, or what holds tensors, with every tensor a leaf of its own, strides kept: what a
    `Translation` makes, of PyTorch."""
    if isinstance(x, torch.Tensor):
        if id(x) not in memo:
            plain = x.detach().resolve_conj().resolve_neg()
            base = _elements(plain).clone()
            made = base.as_strided(plain.shape, plain.stride(), plain.storage_offset())
            memo[id(x)] = made.requires_grad_(x.requires_grad)
        return memo[id(x)]
    if type(x) in (list, tuple):
        return type(x)(same_leaf(torch, i, memo) for i in x)
    if isinstance(x, dict):
        return {key: same_leaf(torch, value, memo) for key, value in x.items()}
    if isinstance(x, slice):
        return slice(*(same_leaf(torch, i, memo) for i in (x.start, x.stop, x.step)))
    return x


def _elements(x: Any) -> Any:
    """All elements of a tensor's storage, in one dimension."""
    count = x.untyped_storage().nbytes() // x.element_size()
    return x.as_strided((count,), (1,), 0)


def _names(code: types.CodeType) -> set[str]:
    names = set(code.co_names)
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            names |= _names(constant)
    return names


def _cells(closure: tuple[types.CellType, ...] | None) -> Any:
    return closure and tuple(types.CellType(cell.cell_contents) for cell in closure)


def _resolve(root: Any, path: str) -> Any:
    found = root
    for name in path.split(".") if path else ():
        try:
            found = getattr(found, name)
        except AttributeError:
            try:
                found = importlib.import_module(f"{found.__name__}.{name}")
            except ImportError:
                raise Absent(path) from None
    return found
