"""Half types made explicit: widen, compute in float32, round once.

After this pass every arithmetic operation works on types the machine has, and each rounding that
PyTorch does is a `cast` of its own that later stages may not remove. Products on a device stay as
they are: its kernels take halves, add in float32 and round once themselves.
"""

from __future__ import annotations

from ..dtypes import float32
from ..graph import Graph, Value, rewrite
from ..opdef import REGISTRY
from ..types import TensorType

EXACT = ("view", "copy")
PRODUCTS = ("matmul", "conv", "conv_input", "conv_weight")


def legalize_halves(graph: Graph) -> Graph:
    """The graph with half-precision arithmetic as casts around float32 arithmetic."""
    cast = REGISTRY["cast"]
    get = REGISTRY["get"]

    def widen(s):
        if s.__class__ is Value and s.type.__class__ is TensorType and s.type.dtype.is_half:
            return Value(cast, (s,), (float32,), s.type.with_dtype(float32), s.origin)
        return s

    def rule(v: Value) -> Value:
        if v.op.kind in EXACT or v.op is cast:
            if v.op is get and v.type.dtype.is_half and v.src[0].type[v.arg[0]].dtype is float32:
                wide = Value(get, v.src, v.arg, v.type.with_dtype(float32), v.origin)
                return Value(cast, (wide,), (v.type.dtype,), v.type, v.origin)
            return v
        if v.type.__class__ is tuple:
            if not any(t.dtype.is_half for t in v.type):
                return v
            wide_type = tuple(t.with_dtype(float32) if t.dtype.is_half else t for t in v.type)
            return Value(v.op, tuple(map(widen, v.src)), v.arg, wide_type, v.origin)
        if not v.type.dtype.is_half or _on_device(v):
            return v
        arg = tuple(float32 if a is v.type.dtype else a for a in v.arg)
        wide = Value(v.op, tuple(map(widen, v.src)), arg, v.type.with_dtype(float32), v.origin)
        return Value(cast, (wide,), (v.type.dtype,), v.type, v.origin)

    return rewrite(graph, rule)


def _on_device(v: Value) -> bool:
    """Whether a value is a product that a device's own kernel computes of halves."""
    same = all(s.type.dtype is v.type.dtype for s in v.operands())
    return v.type.device != "cpu" and v.op.name in PRODUCTS and same
