"""What vmap does with a user's autograd.Function: its backward is batched as its forward was.

A function's node holds its inputs and its results and a call that runs the user's backward on one
example. For a batch that call runs once, on placeholders of the cotangents, inside the trace that
the forward was part of, so that what the user saved there is found again.
"""

from __future__ import annotations

from typing import Any

from lazyt.autograd.function import function
from lazyt.ir.batching_rules import all_batched, rule
from lazyt.ir.node import LOCAL, Node, emit
from lazyt.ir.tags import Tag

from .levels import Level


class BatchedCall:
    """The backward of one application of a Function, for all examples of a level."""

    def __init__(self, call: Any, trace: Level):
        self.ctx = None
        self._call = call
        self._trace = trace

    def release(self) -> None:
        self._call.release()

    def __call__(self, cotangents: Any) -> list[Node | None]:
        trace = self._trace
        trace.reopen()
        with trace.opened():
            inside = [None if c is None else trace.place(c) for c in cotangents]
            found = self._call(inside)
            return [None if c is None else trace.batched(c) for c in found]


@rule("function")
def _function(n: Node, src: list, mapped: tuple[bool, ...], size: int) -> Node:
    count = n.arg[0]
    operands = all_batched(src, mapped, size)
    types = tuple(s.type for s in operands[count:])
    made = emit(function, tuple(operands), n.arg, types)  # type: ignore[arg-type]
    call = n.tag.call if n.tag is not None else None
    if made.grad and call is not None:
        made.tag = Tag(n.tag.name)
        made.tag.call = BatchedCall(call, LOCAL.levels[-1])
    return made
