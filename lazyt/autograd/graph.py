"""torch.autograd.graph: nodes of the graph, edges, hooks on what is saved and on several gradients.

    with saved_tensors_hooks(pack, unpack):
        y = x.exp()            # pack(result), now; unpack(packed) when y's backward needs it
    with save_on_cpu():
        …

What a backward saves is found as `ir.autodiff` finds it, operation by operation, when it is traced.
See https://docs.pytorch.org/docs/2.13/autograd.html#saved-tensors-hooks.
"""

from __future__ import annotations

import abc
import contextlib
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from typing import Any
from weakref import WeakKeyDictionary

from lazyt.dispatch import wrap
from lazyt.ir.autodiff import Walk, saved, source_of, takes_gradient
from lazyt.ir.node import LOCAL, NUMBERS, emit
from lazyt.ir.node import Node as IrNode
from lazyt.ir.ops_shape import alias, replaced, stop
from lazyt.ir.tags import OUTPUT, Tag
from lazyt.state import node_of, touch
from lazyt.tensor import Tensor
from lazyt.utils.hooks import RemovableHandle

from .engine import GradFn, GradientEdge, grad_fn_of
from .function import BackwardCFunction

__all__ = [
    "GradientEdge",
    "Node",
    "disable_saved_tensors_hooks",
    "get_gradient_edge",
    "increment_version",
    "register_multi_grad_hook",
    "save_on_cpu",
    "saved_tensors_hooks",
]


class Node(abc.ABC):
    """A node of the graph, as `Tensor.grad_fn` shows it: `isinstance(y.grad_fn, Node)`."""

    @abc.abstractmethod
    def name(self) -> str:
        """What it is called: "MulBackward0"."""

    @property
    @abc.abstractmethod
    def next_functions(self) -> tuple:
        """The nodes of its operands, each with the number of a result."""


Node.register(GradFn)
Node.register(BackwardCFunction)


def get_gradient_edge(tensor: Tensor) -> GradientEdge:
    """The edge that the gradient of a tensor arrives at; RuntimeError where it needs none."""
    if not tensor.requires_grad:
        raise RuntimeError(
            "It is not possible to get the gradient edge for a Tensor that does not "
            "require gradients"
        )
    return GradientEdge(grad_fn_of(node_of(tensor)), tensor.output_nr)


def increment_version(tensor: Tensor | Sequence[Tensor]) -> None:
    """Says that tensors were written to by means that autograd did not see."""
    for t in (tensor,) if isinstance(tensor, Tensor) else tensor:
        touch(t)


# --- several gradients at once --------------------------------------------------------------------


def register_multi_grad_hook(
    tensors: Sequence[Tensor], fn: Callable, *, mode: str = "all"
) -> RemovableHandle:
    """Calls `fn` once a backward: with the gradients of all tensors that it reaches (None for the
    others) when the last is there, or with `mode` "any" with the first of them.

    Errors: ValueError for another mode.
    """
    if mode not in ("all", "any"):
        raise ValueError(f"Expects mode to be one of ('all', 'any') but got {mode}")
    lock = threading.Lock()
    # By the walk of a backward, which may fail before all have arrived.
    arrived: WeakKeyDictionary[Walk, list[Tensor | None]] = WeakKeyDictionary()
    counts: WeakKeyDictionary[Walk, int] = WeakKeyDictionary()

    def hook_of(position: int) -> Callable:
        def hook(gradient: Tensor) -> None:
            walk = LOCAL.reached
            with lock:
                if mode == "any":
                    calls = walk not in counts
                    counts[walk] = 0
                else:
                    found = arrived.setdefault(walk, [None] * len(tensors))
                    found[position] = gradient
                    if walk not in counts:
                        counts[walk] = _reached(tensors, walk.nodes)
                    counts[walk] -= 1
                    calls = counts[walk] == 0
                    if calls:
                        counts.pop(walk)
                        arrived.pop(walk)
            if calls:
                fn(gradient if mode == "any" else found)

        return hook

    handles = [t.register_hook(hook_of(i)) for i, t in enumerate(tensors)]
    return _Handles(handles)


def _reached(tensors: Sequence[Tensor], walk: list[IrNode]) -> int:
    """How many of the tensors a backward reaches."""
    nodes = {id(n) for n in walk}
    leaves = {id(n.tag.leaf()) for n in walk if n.tag is not None and n.tag.leaf is not None}
    return sum(id(t) in leaves or id(source_of(node_of(t))) in nodes for t in tensors)


class _Handles(RemovableHandle):
    """Removes several hooks together."""

    def __init__(self, handles: list[RemovableHandle]):
        super().__init__(OrderedDict())
        self._handles = handles

    def remove(self) -> None:
        for handle in self._handles:
            handle.remove()


# --- what is saved --------------------------------------------------------------------------------


class Packed(Tag):
    """On a saved value that a hook has packed: a backward reads what unpacking gives."""

    __slots__ = ("packed", "unpack")
    follows = True

    def __init__(self, packed: Any, unpack: Callable, like: Tag | None = None):
        super().__init__()
        self.packed = packed
        self.unpack = unpack
        for name in Tag.__slots__ if like is not None else ():
            setattr(self, name, getattr(like, name))

    def now(
        self, node: IrNode, reader: IrNode | None = None, shown: IrNode | None = None
    ) -> IrNode:
        before, LOCAL.grad = LOCAL.grad, False
        try:
            found = self.unpack(self.packed)
            if not isinstance(found, Tensor):
                raise TypeError(
                    "Output of saved tensor unpack_hook expected to be a Tensor but "
                    f"got result of type {type(found).__name__}"
                )
            value = stop(node_of(found))
        finally:
            LOCAL.grad = before
        return replaced(source_of(node), value) if before and node.grad else value


class _PackingTrace(list):
    """A trace that packs what each operation saves as it is appended."""

    def __init__(self, pack: Callable, unpack: Callable):
        super().__init__()
        self._pack = pack
        self._unpack = unpack
        self._busy = False

    def append(self, n: IrNode) -> None:
        super().append(n)
        if n.grad <= 0 or self._busy or n.op is alias:
            return
        reads = {k for i, s in enumerate(n.src) if takes_gradient(s) for k in saved(n, i)}
        if not reads:
            return
        self._busy = True
        self.pop()
        try:
            operands = list(n.src)
            for k in sorted(reads - {OUTPUT}):
                kept = emit(alias, (operands[k],), (), operands[k].type)
                kept.tag = Packed(self._packed(kept), self._unpack)
                operands[k] = kept
            n.src, n.grad = tuple(operands), next(NUMBERS)  # younger than its operands again
            super().append(n)
            if OUTPUT in reads and n.op.results == 1:
                n.tag = Packed(self._packed(n), self._unpack, n.tag)
        finally:
            self._busy = False

    def _packed(self, node: IrNode) -> Any:
        before, LOCAL.grad = LOCAL.grad, False
        try:
            return self._pack(wrap(stop(node)))
        finally:
            LOCAL.grad = before


class _Unbounded(int):
    """A bound of a trace that arithmetic traced in C reads as 0, so that it goes the ordinary way
    and is appended here, and nothing else reaches."""

    def __lt__(self, other: int) -> bool:
        return False


class _Disabled(threading.local):
    message: str | None = None


_DISABLED = _Disabled()


class saved_tensors_hooks:
    """While open, `pack_hook(tensor)` is called with everything that is saved for backward, and
    backward uses what `unpack_hook(packed)` gives.

    Errors: RuntimeError where hooks are disabled; at the backward TypeError for what is no tensor.
    """

    def __init__(self, pack_hook: Callable[[Tensor], Any], unpack_hook: Callable[[Any], Tensor]):
        self.pack_hook = pack_hook
        self.unpack_hook = unpack_hook
        self._before: list = []
        self._limit = 0

    def __enter__(self) -> None:
        if _DISABLED.message is not None:
            raise RuntimeError(_DISABLED.message)
        self._before = LOCAL.trace
        packing = _PackingTrace(self.pack_hook, self.unpack_hook)
        packing.extend(self._before)
        self._before.clear()
        self._limit = LOCAL.limit
        LOCAL.trace, LOCAL.limit = packing, _Unbounded(0)

    def __exit__(self, *error: Any) -> None:
        self._before[:] = LOCAL.trace
        LOCAL.trace, LOCAL.limit = self._before, self._limit


class save_on_cpu(saved_tensors_hooks):
    """What is saved lies in the memory of the host until backward. pin_memory: accepted."""

    def __init__(self, pin_memory: bool = False, device_type: str = "cuda"):
        super().__init__(lambda t: (t.device, t.cpu()), lambda packed: packed[1].to(packed[0]))


@contextlib.contextmanager
def disable_saved_tensors_hooks(error_message: str) -> Iterator[None]:
    """While open, using `saved_tensors_hooks` is a RuntimeError with this message."""
    before, _DISABLED.message = _DISABLED.message, error_message
    try:
        yield
    finally:
        _DISABLED.message = before
