"""Which of the user's variables hold the tensors of a program: names for reading generated code.

    x = torch.rand(8, 4); net = nn.Linear(4, 2)
    net(x).sum().backward()               # inputs: {0: "x", 1: "weight", 2: "bias"}

Found at the moment a program is drained: variables of the user's functions on the stack, and of the
function that is explained; tensors in modules, optimizers and lists that these hold. A look must
change nothing: it leaves no reference behind.
"""

from __future__ import annotations

import contextlib
import inspect
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from inspect import CO_OPTIMIZED
from typing import Any

from lazyt.ir.node import Node, is_internal

from ..tensor import Tensor

OWN_REFERENCES = 3  # the frame, the variable here and the argument of getrefcount
MANY = 1000  # a list of more tensors than that is left alone


@dataclass(frozen=True)
class Names:
    """What variables hold of a program: names of inputs and outputs, by number.

    written: outputs that a variable was written in place with. tracked: which operations of the
    body have a history, and so are no backward.
    """

    inputs: Mapping[int, str] = field(default_factory=dict)
    outputs: Mapping[int, str] = field(default_factory=dict)
    written: frozenset[int] = frozenset()
    tracked: frozenset[int] = frozenset()


@dataclass(frozen=True)
class Held:
    """The same for a program of which it is not said yet what is kept: names and writes by the
    place of a value among the operations that were wanted."""

    inputs: Mapping[int, str] = field(default_factory=dict)
    positions: Mapping[int, str] = field(default_factory=dict)
    written: frozenset[int] = frozenset()
    tracked: frozenset[int] = frozenset()

    def kept(self, keep: tuple[int, ...]) -> Names:
        """The names for a plan that keeps these positions."""
        outputs = {i: self.positions[p] for i, p in enumerate(keep) if p in self.positions}
        written = frozenset(i for i, p in enumerate(keep) if p in self.written)
        return Names(self.inputs, outputs, written, self.tracked)


def held(
    wanted: list[Node], index: Mapping[int, int], roots: Mapping[str, Any] | None = None
) -> Held:
    """Names for a program: its operations, and its inputs by the identity of their arrays.

    roots: further variables in reach, by name.
    """
    nodes: dict[int, str] = {}
    arrays: dict[int, str] = {}
    versions: dict[int, int] = {}
    for name, t in _tensors(roots or {}):
        for node in (t._node, t._storage.node):
            if node is None:
                continue
            nodes.setdefault(id(node), name)
            versions.setdefault(id(node), t._version)
            if node.value is not None:
                arrays.setdefault(id(node.value), name)
    positions = {p: nodes[id(n)] for p, n in enumerate(wanted) if id(n) in nodes}
    inputs = {number: arrays[key] for key, number in index.items() if key in arrays}
    written = frozenset(p for p, n in enumerate(wanted) if versions.get(id(n)))
    return Held(inputs, positions, written, frozenset(p for p, n in enumerate(wanted) if n.grad))


def variables_of(function: Callable, args: tuple, kwargs: dict) -> dict[str, Any]:
    """What a call gives a function to work with: arguments by parameter, closure, the object of a
    method, globals, of which those that it names come first."""
    found: dict[str, Any] = {}
    plain = inspect.unwrap(getattr(function, "__func__", function))
    if hasattr(function, "__self__"):
        found["self"] = function.__self__
    elif not hasattr(plain, "__code__"):
        found["net"] = function
    with contextlib.suppress(TypeError, ValueError):
        found |= inspect.signature(function).bind(*args, **kwargs).arguments
    code = getattr(plain, "__code__", None)
    if code is None:
        return found
    for name, cell in zip(code.co_freevars, plain.__closure__ or ()):
        try:
            found.setdefault(name, cell.cell_contents)
        except ValueError:  # not assigned yet
            continue
    for name in (*code.co_names, *plain.__globals__):
        if name in plain.__globals__ and not name.startswith("__"):
            found.setdefault(name, plain.__globals__[name])
    return found


def _tensors(roots: Mapping[str, Any]) -> Iterator[tuple[str, Tensor]]:
    """Tensors in reach with a name for each: of the roots, then of the stack, the nearest first."""
    scopes = [dict(roots), *_frames()]
    try:
        for inside in (_inside, _of_optimizer):
            for scope in scopes:
                for name, value in list(scope.items()):
                    yield from inside(name, value)
    finally:
        for scope in scopes:
            scope.clear()


def _frames() -> Iterator[dict[str, Any]]:
    """Copies of the variables of the user's functions on the stack, the innermost first; of the
    library's own, the module or optimizer whose method runs."""
    frame: Any = sys._getframe(1)
    while frame is not None:
        code, scope = frame.f_code, frame.f_locals
        own = is_internal(code.co_filename)
        names = ("self",) if own else tuple(scope)
        yield {n: scope[n] for n in names if n in scope and not (own and _is_tensor(scope[n]))}
        # The frame keeps this copy of its variables, and so would hold them, unless somebody else
        # has it too, who called `locals()`.
        copied = scope.__class__ is dict and code.co_flags & CO_OPTIMIZED
        if copied and sys.getrefcount(scope) <= OWN_REFERENCES:
            scope.clear()
        frame = frame.f_back


def _is_tensor(value: Any) -> bool:
    return isinstance(value, Tensor)


def _inside(name: str, value: Any) -> Iterator[tuple[str, Tensor]]:
    """A variable's tensors: itself, or those of a module or a plain container."""
    if isinstance(value, Tensor):
        yield from _with_gradient(name, value)
    elif hasattr(value, "named_parameters") and hasattr(value, "named_buffers"):
        yield from _of_module(name, value)
    elif value.__class__ in (list, tuple) and len(value) <= MANY:
        for i, item in enumerate(value):
            if isinstance(item, Tensor):
                yield from _with_gradient(f"{name}_{i}", item)
    elif value.__class__ is dict and len(value) <= MANY:
        for key, item in value.items():
            if isinstance(item, Tensor):
                yield from _with_gradient(f"{name}_{key}", item)


def _with_gradient(name: str, t: Tensor) -> Iterator[tuple[str, Tensor]]:
    yield name, t
    meta = t._meta
    gradient = getattr(meta, "grad", None) if meta is not None else None
    if isinstance(gradient, Tensor):
        yield f"grad_{name}", gradient


def _of_module(owner: str, module: Any) -> Iterator[tuple[str, Tensor]]:
    """By their names in the module; a layer that has only a number is the owner's."""
    try:
        named = [*module.named_parameters(), *module.named_buffers()]
    except Exception:  # a user's class may answer to these names with anything
        return
    for name, t in named:
        if isinstance(name, str) and isinstance(t, Tensor):
            name = f"{owner}.{name}" if name[0].isdigit() else name
            yield from _with_gradient(name.replace(".", "_"), t)


def _of_optimizer(name: str, optimizer: Any) -> Iterator[tuple[str, Tensor]]:
    """Parameters that nobody else names, and what an optimizer keeps for each."""
    if not (hasattr(optimizer, "param_groups") and hasattr(optimizer, "state")):
        return
    try:
        parameters = [p for group in optimizer.param_groups for p in group["params"]]
        for p in parameters:
            yield from _with_gradient("parameter", p)
            for key, kept in optimizer.state.get(p, {}).items():
                if isinstance(kept, Tensor):
                    yield key, kept
    except (TypeError, KeyError, AttributeError):
        return
