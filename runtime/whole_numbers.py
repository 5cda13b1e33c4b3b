"""A whole number that is read: computed at once where it hangs on a few others only.

    for i in places:                    # a tensor of integers
        rows.append(data[i : i + 8])    # reads i and i + 8

A drain takes what it takes to find a plan; that is dear for an addition of two numbers, and would
cut a line such as this, which reads two numbers for every row, into as many programs. So a single
integer or boolean whose operands are in memory, or a few steps away from there, is computed by the
evaluator, and the rest of the trace stays pending. Its value is the same either way; floating point
numbers, of which that is not true on every tier, go through the drain.
"""

from __future__ import annotations

import numpy as np

from lazyt.ir.evaluate import apply
from lazyt.ir.node import LOCAL, Node
from lazyt.ir.opdef import PLACING
from lazyt.ir.types import TensorType

from .scans import SCANS
from .stats import COUNTERS

# Of how many operations such a number may be the result: beyond that a plan is cheaper.
STEPS = 4


def is_whole_number(node: Node) -> bool:
    """Whether a node is one integer or boolean."""
    type = node.type
    return type.__class__ is TensorType and type.dtype.category <= 1 and type.numel == 1


def settle_number(node: Node) -> bool:
    """Whether a pending node is such a number; then it has its value now. The caller has the lock
    of the drain."""
    if PLACING or LOCAL.held or LOCAL.urgent:
        return False
    steps: list[Node] = []
    if not _steps_to(node, steps, STEPS):
        return False
    with np.errstate(all="ignore"):
        for n in steps:
            operands = [s.value if s.__class__ is Node else s for s in n.src]
            try:
                n.value = apply(n.op, n.type, n.arg, operands)
            except (ArithmeticError, LookupError, RuntimeError, TypeError, ValueError):
                return False  # the drain says it with the user's line
            COUNTERS.count_call(n.op)
    SCANS[0].settle(steps, True)
    return True


def _steps_to(n: Node, steps: list[Node], most: int) -> bool:
    """Appends what has to be computed for a node, in order; False where that is not for here."""
    if not most or n.grad or n.tag is not None or not (n.op.view or n.op.elementwise):
        return False
    if not is_whole_number(n):
        return False
    pending = [s for s in n.src if s.__class__ is Node and s.value is None]
    for s in pending:
        if s not in steps and not _steps_to(s, steps, most - 1):
            return False
    steps.append(n)
    return len(steps) <= STEPS
