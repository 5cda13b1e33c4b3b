"""Dead code elimination: keep what an output is computed from."""

from __future__ import annotations

from ..graph import Graph, reachable


def eliminate_dead_code(graph: Graph) -> Graph:
    live = reachable(graph.outputs)
    return Graph(graph.inputs, graph.scalars, [v for v in graph.body if v in live], graph.outputs)
