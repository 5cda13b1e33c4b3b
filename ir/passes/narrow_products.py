"""Products of halves, for kernels that read halves and sum in float32.

    matmul(cast(a, float32), cast(b, float32))      matmul(a, b), of type float32

Legalization widens the operands of every operation (legalize.py). A product's kernel widens what it
has loaded, or hands halves to matrix units; so the widened copies need not be made. The result is
the same: every product of two halves is exact in float32.
"""

from __future__ import annotations

from collections.abc import Callable

from ..dtypes import float32
from ..graph import Graph, Value, rewrite


def narrow_products(graph: Graph, has_kernel: Callable[[Value], bool]) -> Graph:
    """The graph with such products.

    has_kernel: whether there is a kernel for a product, once it is narrowed.
    """

    def rule(v: Value) -> Value:
        operands = v.operands()
        if len(operands) != 2 or len(v.src) != 2 or v.op.kind != "opaque":
            return v
        narrow = [_before_widening(s) for s in operands]
        if any(s is None for s in narrow) or len({s.type.dtype for s in narrow}) > 1:  # type: ignore[union-attr]
            return v
        made = Value(v.op, tuple(narrow), v.arg, v.type, v.origin)
        return made if has_kernel(made) else v

    return rewrite(graph, rule)


def _before_widening(v: Value) -> Value | None:
    """What was widened to float32, through views; None where nothing was."""
    if v.op is None or v.type.__class__ is tuple:
        return None
    if v.op.name == "cast" and v.type.dtype is float32 and v.src[0].type.dtype.is_half:
        return v.src[0]
    if v.op.view and v.op.name in ("reshape", "permute", "expand", "slice", "as_strided"):
        inner = _before_widening(v.src[0])
        if inner is not None:
            type = v.type.with_dtype(inner.type.dtype)
            return Value(v.op, (inner, *v.src[1:]), v.arg, type, v.origin)
    return None
