"""Half types made explicit: widen, compute in float32, round once.

After this pass every arithmetic operation works on types the machine has, and each rounding that
PyTorch does is a `cast` of its own that later stages may not remove.
"""

from __future__ import annotations

from ..dtypes import float32
from ..graph import Graph, Value, rewrite
from ..opdef import REGISTRY
from ..types import TensorType

EXACT = ("view", "copy", "transfer")
# Their results are elements of their operands: nothing is rounded, whatever the dtype.
MOVES = (
    "index",
    "gather",
    "row_pick",
    "flip",
    "roll",
    "tile",
    "repeat_each",
    "tril",
    "triu",
    "cat",
)


def _moves(v: Value) -> bool:
    if v.op.name == "pad" and v.src[1] in (0, 1, float("inf"), -float("inf")):
        return True
    floats = (
        [s for s in v.operands() if s.type.dtype.is_floating_point] if v.op.name in MOVES else []
    )
    return bool(floats) and all(s.type.dtype is v.type.dtype for s in floats)


def legalize_halves(graph: Graph) -> Graph:
    """The graph with half-precision arithmetic as casts around float32 arithmetic."""
    cast = REGISTRY["cast"]
    get = REGISTRY["get"]

    def widen(s):
        if s.__class__ is Value and s.type.__class__ is TensorType and s.type.dtype.is_half:
            return Value(cast, (s,), (float32,), s.type.with_dtype(float32), s.origin)
        return s

    def rule(v: Value) -> Value:
        if v.op.kind in EXACT or v.op is cast or _moves(v):
            if v.op is get and v.type.dtype.is_half and v.src[0].type[v.arg[0]].dtype is float32:
                wide = Value(get, v.src, v.arg, v.type.with_dtype(float32), v.origin)
                return Value(cast, (wide,), (v.type.dtype,), v.type, v.origin)
            return v
        if v.type.__class__ is tuple:
            if not any(t.dtype.is_half for t in v.type):
                return v
            wide_type = tuple(t.with_dtype(float32) if t.dtype.is_half else t for t in v.type)
            return Value(v.op, tuple(map(widen, v.src)), v.arg, wide_type, v.origin)
        if not v.type.dtype.is_half:
            return v
        arg = tuple(float32 if a is v.type.dtype else a for a in v.arg)
        wide = Value(v.op, tuple(map(widen, v.src)), arg, v.type.with_dtype(float32), v.origin)
        return Value(cast, (wide,), (v.type.dtype,), v.type, v.origin)

    return rewrite(graph, rule)
