"""Dead code elimination: keep what an output is computed from."""

from __future__ import annotations

from ..graph import Graph, reachable


def eliminate_dead_code(graph: Graph) -> Graph:
    """The graph without what no output is computed from."""
    live = reachable(graph.outputs)
    return Graph(graph.inputs, graph.scalars, [v for v in graph.body if v in live], graph.outputs)
