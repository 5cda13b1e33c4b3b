"""The node and the one gate that makes it.

A node is one application of a primitive: `op`, its operands `src` (nodes, or plain Python numbers),
its structural argument `arg` and its inferred `type`. That much never changes. What does change is
small: `value` (the array, once there is one), `grad` (whether history runs through it), `after`
(what a write put in its place) and `uses`, a counter that belongs to the drain.

    x = emit(FULL, (1.0,), None, TensorType.of((2,), float32))
    y = emit(NEG, (x,), None, x.type)        # TRACE is now [x, y]

Every node made is appended to the trace of its thread, which therefore is in topological order.
Nothing is hashed, interned or simplified here: tracing has to cost less than computing.
"""

from __future__ import annotations

import itertools
import os
import sys
import threading
from collections.abc import Callable
from functools import lru_cache
from types import CodeType
from typing import Any

from .types import TensorType

# Values of `grad`. 0: no history runs through the node. A positive number: it does; the nodes are
# numbered as they are made, and backwards take the youngest first. Negative: it did, and what a
# backward needs is freed. LIVE: it is where history begins.
LIVE = 1
NUMBERS = itertools.count(2)


class Overwritten:
    """Stands in `Node.after` when a tracked write replaced the value: backward may not use it."""

    __slots__ = ("by",)

    by: frozenset[int]  # the operation that wrote, node by node: it keeps what it read
    text: str | None = None  # what the error says instead of the versions

    def holds(self) -> bool:
        """Whether the value is still there after all."""
        return False

    def value(self, node: Node) -> Node:
        """The node to read where the value is still there."""
        return node


class Node:
    """One traced operation. Made only by `emit` (and by the frontend's inlined copies of it)."""

    __slots__ = (
        "op",
        "src",
        "arg",
        "type",
        "value",
        "grad",
        "after",
        "tag",
        "uses",
        "pos",
        "code",
        "line",
        "__weakref__",
    )

    op: Any
    src: tuple
    arg: tuple
    type: TensorType
    value: Any
    grad: int
    after: Any
    tag: Any
    uses: int
    pos: int
    code: Any
    line: int

    @property
    def shape(self) -> tuple[int, ...]:
        return self.type.shape

    @property
    def dtype(self):
        return self.type.dtype

    def __repr__(self) -> str:
        return f"<{self.op.name} {self.type!r}>"


class Tracer(threading.local):
    """What one thread is doing: its pending nodes, its grad mode, its bound before a flush."""

    def __init__(self) -> None:
        self.trace: list[Node] = []
        self.grad = True
        self.inference = False
        self.limit = FLUSH_NODES
        self.urgent = False
        self.origin: tuple | None = None
        # The vmaps being traced, the outermost first. Meanwhile nothing is drained (`held`), for
        # what depends on an example has no value.
        self.levels: list = []
        self.held = False
        # Whether the backward that is running was asked for the gradients of some inputs only.
        self.partial = False
        # The backward that is running (autodiff.Walk); None outside of one.
        self.reached: Any = None
        TRACERS[:] = [entry for entry in TRACERS if entry[1] or entry[0].is_alive()]
        TRACERS.append((threading.current_thread(), self.trace))


FLUSH_NODES = 2000
TRACERS: list[tuple] = []
LOCAL = Tracer()
_INTERNAL_DIRS = [os.path.dirname(os.path.abspath(__file__))]
_INTERNAL: dict[str, bool] = {}
_new = object.__new__
_getframe = sys._getframe


def no_flush(node: Node) -> None:
    """What happens to an overlong trace before a runtime is there: nothing."""


FLUSH: list[Callable[[Node], None]] = [no_flush]


def mark_internal(path: str) -> None:
    """Frames of files under `path` are the library's own: they are no origin."""
    _INTERNAL_DIRS.append(os.path.abspath(path))
    _INTERNAL.clear()


def is_internal(filename: str) -> bool:
    """Whether a file is one of the library's own."""
    known = _INTERNAL.get(filename)
    if known is None:
        path = os.path.abspath(filename)
        known = any(path.startswith(d + os.sep) for d in _INTERNAL_DIRS)
        _INTERNAL[filename] = known
    return known


def caller(depth: int = 2):
    """The first frame outside the library, as (code object, instruction offset)."""
    origin = LOCAL.origin
    if origin is not None:
        return origin
    frame = _getframe(depth)
    known = _INTERNAL
    while True:
        code = frame.f_code
        inside = known.get(code.co_filename)
        if inside is None:
            inside = is_internal(code.co_filename)
        if not inside:
            return code, frame.f_lasti
        outer = frame.f_back
        if outer is None:
            return code, frame.f_lasti
        frame = outer


def emit(op, src: tuple, arg: tuple, type: TensorType) -> Node:
    """Makes a node of already checked operands and appends it to the thread's trace."""
    n = _new(Node)
    n.op = op
    n.src = src
    n.arg = arg
    n.type = type
    n.value = None
    n.after = None
    n.tag = None
    n.uses = 0
    n.pos = -1
    n.grad = 0
    local = LOCAL
    for s in src:
        if s.__class__ is Node and s.grad:
            if local.grad and op.differentiable:
                n.grad = next(NUMBERS)
            break
    origin = local.origin
    n.code, n.line = caller(2) if origin is None else origin
    trace = local.trace
    trace.append(n)
    if len(trace) > local.limit:
        FLUSH[0](n)
    return n


def leaf(op, value, type: TensorType) -> Node:
    """A realised node that holds `value`: data from outside, or a constant."""
    n = _new(Node)
    n.op = op
    n.src = ()
    n.arg = ()
    n.type = type
    n.value = value
    n.after = None
    n.tag = None
    n.uses = 0
    n.pos = -1
    n.grad = 0
    n.code, n.line = caller(2)
    return n


@lru_cache(maxsize=4096)
def line_number(code: CodeType, offset: int) -> int:
    """The line of the instruction at `offset`, or the first line where the table has none."""
    for start, stop, line in code.co_lines():
        if start <= offset < stop and line is not None:
            return line
    return code.co_firstlineno


def location(node: Node) -> tuple[str, int, str]:
    """File, line number and function of the user's line that made `node`."""
    code = node.code
    if code is None:
        return ("<unknown>", 0, "")
    return (code.co_filename, line_number(code, node.line), code.co_name)
