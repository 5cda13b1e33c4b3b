"""Constant folding: an elementwise primitive of constants alone is a constant.

Only single numbers are folded (`full` with a literal), with the reference evaluator, so that the
folded number is the one the program would have computed, in the type it would have had. What may
raise is left to the run, which names the user's line.
"""

from __future__ import annotations

import numpy as np

from .. import evaluate
from ..graph import Graph, Value, rewrite
from ..opdef import REGISTRY
from ..ops_constant import typed
from ..types import TensorType


def fold_constants(graph: Graph) -> Graph:
    """The graph with what is computed of constants alone computed now."""
    full = REGISTRY["full"]

    def rule(v: Value) -> Value:
        if not v.op.elementwise or v.op.name == "where" or v.op.raises(v.type):
            return v
        numbers = [_constant(s) for s in v.src]
        if any(n is None for n in numbers):
            return v
        one = TensorType.of((), v.type.dtype, v.type.device)
        with np.errstate(all="ignore"):
            result = evaluate.apply(v.op, one, v.arg, numbers)
        arg = typed(v.type.shape, v.type.dtype, v.type.device)
        return Value(full, (result.item(),), arg, v.type, v.origin)

    return rewrite(graph, rule)


def _constant(s):
    if s.__class__ is Value:
        if s.op is not None and s.op.name == "full" and s.src[0].__class__ in (int, float, bool):
            return evaluate.apply(s.op, s.type.with_shape(()), ((), s.type.dtype), [s.src[0]])
        return None
    return s if s.__class__ in (int, float, bool) else None
