"""vmap as a transformation of graphs: a function of one example becomes one of a batch.

The function is traced once, on a placeholder of one example's type. Every node that leads to a
placeholder is then made anew on operands with one more axis, the first, by its primitive's rule:

    per example                              batched, x: float32[8,3]
    y: float32[3] = mul(x, w)                mul(x, w): float32[8,3]
    z: float32[]  = sum(y) {axes=(0,)}       sum(y) {axes=(1,)}: float32[8]

What does not depend on the example (`w`) stays as it is and is computed once. A rule is called with
the node, its operands (batched ones and others), which of them are batched, and the batch's size.
The rules are a table (`batching_rules`); a primitive without one is applied example by example,
with a warning.
"""

from __future__ import annotations

from typing import Any, NoReturn

from .batching_rules import RULES, Rule, along, one_by_one, pointwise, spread
from .node import LIVE, LOCAL, Node, leaf
from .opdef import Op, provide
from .types import TensorType

NO_VALUE = "Cannot access data pointer of Tensor that doesn't have storage"


def _unreadable() -> NoReturn:
    raise RuntimeError(NO_VALUE)


provide(unreadable=_unreadable)
# What stands for one example while a function is traced. It never has a value.
per_example: Op = Op("per_example", "unreadable()", kind="constant", vjp=(), samples=list)


# --- which rule -----------------------------------------------------------------------------------


def rule_of(op: Op) -> Rule:
    """The batching rule of a primitive."""
    found = RULES.get(op.name)
    if found is not None:
        return found
    return {"elementwise": pointwise, "reduce": along}.get(op.kind, one_by_one)


# --- the transformation ---------------------------------------------------------------------------


class Batching:
    """One trace of a function on placeholders, and the batched nodes that were made of it so far.

    It begins where the thread's trace stands when it is made; `close` takes out again what was
    traced since and depends on an example, because nothing can compute that.
    """

    def __init__(self, size: int):
        self.size = size
        self.start = self._seen = len(LOCAL.trace)
        self._made: dict[Node, Any] = {}
        self._mapped: set[Node] = set()

    def place(self, batched: Node) -> Node:
        """A placeholder for one example of `batched`, whose first axis is the batch."""
        type = batched.type
        made = leaf(per_example, None, TensorType.of(type.shape[1:], type.dtype, type.device))
        made.grad = LIVE if batched.grad and LOCAL.grad else 0
        self._made[made] = batched
        self._mapped.add(made)
        return made

    def depends(self, node: Node) -> bool:
        """Whether a node leads to a placeholder of this trace."""
        trace, mapped = LOCAL.trace, self._mapped
        for n in trace[self._seen :]:
            if any(s in mapped for s in n.src if s.__class__ is Node):
                mapped.add(n)
        self._seen = len(trace)
        return node in mapped

    def batched(self, node: Node) -> Node:
        """The value of a node for the whole batch, along the first axis."""
        if not self.depends(node):
            return spread(node, self.size)
        made, mapped, stack = self._made, self._mapped, [node]
        mode, origin = LOCAL.grad, LOCAL.origin
        try:
            while stack:
                n = stack[-1]
                if n in made:
                    stack.pop()
                    continue
                missing = [s for s in n.src if s in mapped and s not in made]
                if missing:
                    stack.extend(missing)
                    continue
                # Where the example's node has a history the batch's has one, and only there.
                LOCAL.grad, LOCAL.origin = bool(n.grad), (n.code, n.line)
                flags = tuple(s in mapped for s in n.src)
                operands = [made[s] if m else s for s, m in zip(n.src, flags)]
                made[n] = rule_of(n.op)(n, operands, flags, self.size)
                stack.pop()
        finally:
            LOCAL.grad, LOCAL.origin = mode, origin
        return made[node]

    def close(self) -> None:
        """Takes what nothing can compute out of the thread's trace."""
        trace = LOCAL.trace
        self.depends(next(iter(self._mapped), None))  # type: ignore[arg-type]
        trace[self.start :] = [n for n in trace[self.start :] if n not in self._mapped]
        self._seen = len(trace)

    def reopen(self) -> None:
        """Goes on where the thread's trace stands now."""
        self.start = self._seen = len(LOCAL.trace)

    def rescan(self, start: int) -> None:
        """What was traced since `start` is looked at again: an inner trace was closed there."""
        self._seen = min(self._seen, start)
