"""What autograd knows of a node beyond its operation: a `Tag`, for the few nodes that need one.

(x * x).mean()      # the last node's tag: name "MeanBackward0", inputs (x * x,)
w                   # a leaf's: `leaf`, the tensor that collects the gradient
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from .node import Node


class Anomaly(Protocol):
    """What looks for errors in backwards while `autograd.detect_anomaly` is on."""

    def check(self, node: Node, operand: int, cotangent: Node) -> None:
        """Called with what the backward of a node gives for an operand."""

    def blame(self, node: Node) -> None:
        """Called with the node whose backward has raised, or was looked at."""


ANOMALY: list[Anomaly | None] = [None]
OUTPUT = -1  # among the operands of a node, its result


class Call(Protocol):
    """What runs a user's backward, and the context it hands over, which is the `grad_fn`."""

    ctx: Any

    def __call__(self, cotangents: Any) -> list: ...


class Tag:
    """What autograd knows of a node beyond its operation.

    name, inputs: the surface operation that a composition stands for ("MeanBackward0"), and the
        nodes it was applied to, for `grad_fn.next_functions`.
    saves: False where PyTorch's own backward of the composition saves nothing.
        "once" where it runs once only though it saves nothing.
    keeps: what PyTorch's backward saves beyond what the primitives do (OUTPUT: the result): no
        write may replace it.
    leaf: a weak reference to the tensor whose `.grad` collects what arrives here.
    hooks: called with the finished cotangent; a node that one returns takes its place.
    after: called with the cotangents of the operands, which it may replace, and of the result.
    retain: called last with the cotangent (`Tensor.retain_grad`).
    call: `call(list of cotangents) -> list of cotangents`, for a user's autograd.Function;
        `call.release()` lets go of what it saved.
    steps: whether the slope of the composition is a function of its inputs, one that only steps.
    """

    __slots__ = (
        "name", "inputs", "saves", "keeps", "leaf", "hooks", "retain", "call", "grad_fn", "freed",
        "steps", "after",
    )  # fmt: skip

    # Whether a saved value with this tag is not the node's own but what `now` says at the backward.
    follows = False
    # Whether no gradient is computed for the node, though it requires one.
    ends = False

    def now(self, node: Node, reader: Node | None = None, shown: Node | None = None) -> Node:
        """What the node (or a view of it) reads as at this moment.

        Errors: RuntimeError where a counted write replaced it.
        """
        return node

    def __init__(self, name: str | None = None, inputs: tuple = (), saves: bool | str = True):
        self.name = name
        self.inputs = inputs
        self.saves = saves
        self.keeps: tuple = ()
        self.leaf: Any = None
        self.hooks: dict | None = None
        self.retain: Callable | None = None
        self.call: Call | None = None
        self.grad_fn: Any = None
        self.freed = False
        self.steps = False
        self.after: dict | None = None


class Copied(Tag):
    """On a value that PyTorch copied before it was saved: no later write reaches it."""

    __slots__ = ()
    follows = True
