"""Counters of what the compiler did; `lazyt.stats()` shows them."""

from __future__ import annotations


class Counters:
    """Plain integers, incremented under the drain lock.

    nodes: operations drained (wanted ones); dead: traced operations nobody wanted; drains; evaluated:
    drains whose program was seen for the first time; hits, misses: of plans; passes: passes run;
    kernels: NumPy calls run by plans and by the evaluator; compiler_calls: external compilers started;
    by_op: kernels a primitive.
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
        self.reset()

    def reset(self) -> None:
        self.nodes = self.dead = self.drains = self.evaluated = 0
        self.hits = self.misses = self.passes = self.kernels = self.compiler_calls = 0
        self.by_op: dict[str, int] = {}
        self.runs: dict = {}

    def count_plan(self, plan) -> None:
        """A run of a plan: only the run is noted here, its kernels are added up on demand."""
        self.runs[plan] = self.runs.get(plan, 0) + 1

    def snapshot(self) -> dict[str, int]:
        """The counters as a dict, kernels a primitive under `by_op`."""
        by_op = dict(self.by_op)
        kernels = self.kernels
        for plan, runs in self.runs.items():
            for name, count in plan.kernels_by_op.items():
                by_op[name] = by_op.get(name, 0) + count * runs
                kernels += count * runs
        found: dict = {name: getattr(self, name) for name in self.FIELDS}
        found["kernels"] = kernels
        found["by_op"] = dict(sorted(by_op.items()))
        return found


COUNTERS = Counters()
