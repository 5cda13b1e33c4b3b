"""Counters of what the compiler did; `lazyt.stats()` shows them."""

from __future__ import annotations

from typing import Any

FOLD_AT = 1024


class Counters:
    """Plain integers, incremented under the drain lock.

    nodes: operations drained (wanted); dead: traced operations nobody wanted. drains; evaluated:
    those whose program was seen for the first time. hits, misses: of plans. passes: passes run.
    kernels: NumPy calls run by plans and by the evaluator; by_op: the same, a primitive.
    compiler_calls: external compilers started.
    """

    FIELDS = (
        "nodes",
        "dead",
        "drains",
        "evaluated",
        "hits",
        "misses",
        "passes",
        "kernels",
        "compiler_calls",
    )

    def __init__(self) -> None:
        self.listeners: list = []  # told of every primitive that the evaluator applies
        self.reset()

    def reset(self) -> None:
        self.nodes = self.dead = self.drains = self.evaluated = 0
        self.hits = self.misses = self.passes = self.kernels = self.compiler_calls = 0
        self.by_op: dict[str, int] = {}
        # A plan's table of kernels, by its identity, and how often it ran. The plan itself is not
        # held: one that left the cache must free its workspace.
        self.runs: dict[int, list] = {}

    def count_call(self, op: Any) -> None:
        """One primitive run by the evaluator; views cost nothing."""
        if not op.view:
            self.kernels += 1
            self.by_op[op.name] = self.by_op.get(op.name, 0) + 1
        for listener in self.listeners:
            listener.called(op)

    def count_plan(self, plan: Any) -> None:
        """A run of a plan: only the run is noted here, its kernels are added up on demand."""
        table = plan.kernels_by_op
        entry = self.runs.get(id(table))
        if entry is None:
            if len(self.runs) >= FOLD_AT:
                self._fold()
            self.runs[id(table)] = [table, 1]
        else:
            entry[1] += 1

    def _fold(self) -> None:
        """Adds the noted runs to `kernels` and `by_op` and forgets them."""
        by_op = self.by_op
        for table, runs in self.runs.values():
            for name, count in table.items():
                by_op[name] = by_op.get(name, 0) + count * runs
                self.kernels += count * runs
        self.runs.clear()

    def snapshot(self) -> dict[str, Any]:
        """The counters as a dict; `by_op`: kernels a primitive; `traced`: `nodes` plus `dead`."""
        self._fold()
        found: dict[str, Any] = {"traced": self.nodes + self.dead}
        found.update({name: getattr(self, name) for name in self.FIELDS})
        found["by_op"] = dict(sorted(self.by_op.items()))
        return found


COUNTERS = Counters()
