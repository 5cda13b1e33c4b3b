"""The order of the passes, and the record of what each did."""

from __future__ import annotations

from collections.abc import Callable

from ..graph import Graph
from ..printer import text
from ..verify import verify
from .cse import eliminate_common_subexpressions
from .dce import eliminate_dead_code
from .fold import fold_constants
from .legalize import legalize_halves
from .own import own_results
from .simplify import simplify

PASSES: tuple[tuple[str, Callable[[Graph], Graph]], ...] = (
    ("eliminate dead code", eliminate_dead_code),
    ("simplify", simplify),
    ("fold constants", fold_constants),
    ("eliminate common subexpressions", eliminate_common_subexpressions),
    ("own results", own_results),
    ("simplify again", simplify),
    ("legalize halves", legalize_halves),
    ("eliminate common subexpressions again", eliminate_common_subexpressions),
    ("eliminate dead code again", eliminate_dead_code),
)


class Stage:
    """One pass as it ran: its name, and the graph's text before and after."""

    __slots__ = ("name", "before", "after")

    def __init__(self, name: str, before: str, after: str):
        self.name = name
        self.before = before
        self.after = after


def optimize(
    graph: Graph, *, record: list[Stage] | None = None, check: bool = False
) -> tuple[Graph, int]:
    """The optimized graph and the number of passes that ran.

    record: filled with a `Stage` a pass. check: verifies the graph after every pass (tests do).
    """
    for name, run in PASSES:
        before = text(graph) if record is not None else ""
        graph = run(graph)
        if check:
            verify(graph)
        if record is not None:
            record.append(Stage(name, before, text(graph)))
    return graph, len(PASSES)
