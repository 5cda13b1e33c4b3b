"""Products without a transpose after them, and copies of what nobody else has.

The gradient of a weight used as `w.t()` comes out as `(x.t() @ g).t()`; computed as `g.t() @ x` it
has the layout it is kept in. And a copy of a value that only the copy reads is the value itself; so
is that of one of several results on a device, where each has memory of its own.
"""

from __future__ import annotations

from ..graph import Graph, Value, rewrite
from ..opdef import REGISTRY


def own_results(graph: Graph) -> Graph:
    """The graph with results computed in the layout they are kept in."""
    users = graph.users()
    kept = set(graph.outputs)
    born: dict[Value, Value] = {}
    permute = REGISTRY["permute"]

    def alone(v: Value) -> bool:
        """Whether one value reads `v` and nothing keeps it."""
        original = born.get(v, v)
        return original not in kept and len(users.get(original, ())) == 1

    def transposed(v: Value) -> Value:
        rank = len(v.type.shape)
        order = (*range(rank - 2), rank - 1, rank - 2)
        shape = tuple(v.type.shape[i] for i in order)
        return Value(permute, (v,), (order,), v.type.with_shape(shape), v.origin)

    def rule(v: Value) -> Value:
        inner = v.src[0] if v.src and v.src[0].__class__ is Value else None
        if inner is None or inner.op is None or not alone(inner):
            return v
        if v.op is permute and inner.op.name == "matmul":
            rank = len(v.type.shape)
            if v.arg[0] != (*range(rank - 2), rank - 1, rank - 2):
                return v
            a, b = inner.src
            if len(a.type.shape) != rank or len(b.type.shape) != rank:
                return v
            return Value(inner.op, (transposed(b), transposed(a)), (), v.type, inner.origin)
        result = inner.op.name == "get" and inner.type.device != "cpu"
        if v.op.kind == "copy" and (result or inner.op.kind not in ("view", "copy")):
            return inner
        return v

    return rewrite(graph, rule, born)
