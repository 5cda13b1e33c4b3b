"""A plan: the compiled form of one program, and how a drained trace becomes one.

A plan knows which positions of the trace it keeps, which of the trace's numbers are run-time
scalars and which inputs may be donated. Running it binds arrays and numbers and calls one function;
it rewrites nothing.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import numpy as np

from lazyt.codegen.grouping import grouped, on_devices
from lazyt.codegen.numpy_calls import NumpyCode
from lazyt.codegen.source import generate
from lazyt.ir.graph import Graph, Scalar, Value
from lazyt.ir.node import Node
from lazyt.ir.opdef import NAMESPACE
from lazyt.ir.passes.fuse import Grouping
from lazyt.ir.passes.pipeline import Stage, optimize
from lazyt.ir.verify import verify

from .placed import row_major
from .precision import matrix_units

CHECK_PASSES = [False]
ON_COMPILE: list[Callable[[Plan], None]] = []


class Plan:
    """One compiled program.

    keep: positions in the wanted trace whose values it returns, ascending.
    literals: position in the list of numbers -> the number compiled in.
    scalars: positions in the list of numbers that are passed at run time.
    donors: input number -> the (position, operand) pairs through which the trace holds it.
    running: whether its function runs just now, on its one workspace.
    """

    __slots__ = (
        "keep",
        "kept",
        "numbers",
        "scalars",
        "donors",
        "run",
        "code",
        "graph",
        "traced",
        "stages",
        "grouping",
        "nbytes",
        "kernels_by_op",
        "number",
        "last",
        "fixed",
        "running",
    )

    keep: tuple[int, ...]
    kept: frozenset[int]
    numbers: tuple
    fixed: tuple[int, ...]
    scalars: tuple[int, ...]
    donors: list[tuple[int, tuple]]
    run: Callable
    code: NumpyCode
    graph: Graph
    traced: Graph
    stages: list[Stage] | None
    grouping: Grouping | None
    nbytes: int
    kernels_by_op: dict[str, int]
    number: int
    last: int
    running: bool


def build_graph(
    wanted: list[Node], keep: tuple[int, ...], leaves: dict[int, int], varying: set[int]
) -> tuple[Graph, list[int]]:
    """The graph of a wanted trace; `leaves` maps id(array) to the input number.

    Also returns the positions of the numbers that became scalars, in the order of `Graph.scalars`.
    """
    inputs: list[Value | None] = [None] * len(leaves)
    scalars: list[Scalar] = []
    positions: list[int] = []
    made: dict[Node, Value] = {}
    counter = 0
    for n in wanted:
        src: list[Any] = []
        for s in n.src:
            if s.__class__ is Node:
                if s.value is None:
                    src.append(made.get(s))  # None: a history whose value nobody reads
                    continue
                index = leaves[id(s.value)]
                if inputs[index] is None:
                    inputs[index] = Value(None, (), (), s.type, (s.code, s.line), index)
                src.append(inputs[index])
            else:
                if counter in varying or (n.op.runtime and s.__class__ is int):
                    scalar = Scalar(len(scalars), s.__class__)
                    scalars.append(scalar)
                    positions.append(counter)
                    src.append(scalar)
                else:
                    src.append(s)
                counter += 1
        made[n] = Value(n.op, tuple(src), n.arg, n.type, (n.code, n.line))
    body = list(made.values())
    outputs = [made[wanted[p]] for p in keep]
    return Graph(inputs, scalars, body, outputs), positions  # type: ignore[arg-type]


def compile_plan(
    wanted: list[Node],
    keep: tuple[int, ...],
    leaves: dict[int, int],
    numbers: tuple,
    varying: set[int],
    donatable: frozenset[int],
    record: bool,
) -> tuple[Plan, int]:
    """Optimizes and generates code for a trace. Also returns how many passes ran."""
    graph, positions = build_graph(wanted, keep, leaves, varying)
    plan = Plan()
    plan.running = False
    stages: list[Stage] | None = [] if record else None
    optimized, passes = optimize(graph, record=stages, check=CHECK_PASSES[0])
    shared = frozenset(i for i, p in enumerate(keep) if wanted[p].op.view)
    known = donatable, shared, _strided(wanted, leaves)
    grouping, code, plan.run = _made(optimized, known)
    optimized = code.graph
    if CHECK_PASSES[0]:
        verify(optimized)
    plan.keep = keep
    plan.kept = frozenset(keep)
    plan.numbers = numbers
    plan.scalars = tuple(positions)
    runtime = set(positions)
    plan.fixed = tuple(i for i in range(len(numbers)) if i not in runtime)
    plan.donors = _donors(wanted, code.memory.donated, leaves)
    plan.code, plan.graph, plan.traced, plan.stages = code, optimized, graph, stages
    plan.grouping = grouping if record else None
    buffers = [*code.memory.slots, *code.memory.blocks]
    plan.nbytes = sum(t.numel * t.dtype.numpy.itemsize for t in buffers)
    plan.nbytes += 2 * len(code.source) + 400 * len(graph.body)
    plan.kernels_by_op = count_kernels(code)
    for listener in ON_COMPILE:
        listener(plan)
    return plan, passes + 1


def in_loops() -> bool:
    """Whether plans run in native loops: LAZYT_CPU=c, and there is a compiler."""
    if os.environ.get("LAZYT_CPU") != "c":
        return False
    from .native import available

    return available()


def _made(
    graph: Graph, known: tuple[frozenset[int], frozenset[int], frozenset[int]]
) -> tuple[Grouping, NumpyCode, Callable]:
    """Groups, code and function of a plan, in the tier there is for it; where the C compiler fails,
    the process does without."""
    from . import applying, traces
    from .blas import blas
    from .native import CompilerError, give_up

    native = in_loops()
    grouping = grouped(graph, native)
    units = matrix_units(graph.devices() - {"cpu"})
    code = generate(grouping, *known, products=native and blas() is not None, units=units)
    try:
        made = grouping, code, load(code)
    except (CompilerError, OSError) as error:
        if not native or any(together[0].device != "cpu" for together in code.nests):
            raise
        give_up(error)
        return _made(graph, known)
    if native:
        traces.install()
        applying.install()
    return made


def _strided(wanted: list[Node], leaves: dict[int, int]) -> frozenset[int]:
    """The inputs that are not row-major (the key says so too)."""
    return frozenset(
        leaves[id(s.value)]
        for n in wanted
        for s in n.src
        if s.__class__ is Node and s.value is not None and not row_major(s.value)
    )


def _donors(wanted: list[Node], donated: list[int], leaves: dict[int, int]) -> list:
    refs: dict[int, list[tuple[int, int]]] = {index: [] for index in donated}
    for p, n in enumerate(wanted):
        for k, s in enumerate(n.src):
            if s.__class__ is Node and s.value is not None:
                index = leaves[id(s.value)]
                if index in refs:
                    refs[index].append((p, k))
    return [(index, tuple(refs[index])) for index in sorted(donated)]


def load(code: NumpyCode) -> Callable:
    """Compiles the source with its workspace; the slots live as long as the function."""
    scope = dict(NAMESPACE)
    for i, t in enumerate(code.memory.slots):
        scope[f"w{i}"] = np.empty(t.shape, t.dtype.numpy)
    for i, t in enumerate(code.memory.blocks):
        scope[f"t{i}"] = np.empty(t.shape, t.dtype.numpy)
    if code.segments:
        from .programs import callers

        workspace = [scope[f"w{i}"] for i in range(len(code.memory.slots))]
        for i, call in enumerate(callers(code.segments, workspace)):
            scope[f"p{i}"] = call
    if on_devices(code.graph):
        from .cuda.calls import scope_of

        scope |= scope_of(code)
    exec(compile(code.source, "<lazyt plan>", "exec"), scope)
    return scope["run"]


def count_kernels(code: NumpyCode) -> dict[str, int]:
    """How many NumPy calls of each primitive one run makes, and calls of loop nests; views cost
    none."""
    counts: dict[str, int] = {}
    for v in code.graph.body:
        if not v.op.view and v not in code.fused:
            counts[v.op.name] = counts.get(v.op.name, 0) + 1
    if code.nests:
        counts["loops"] = len(code.nests)
    return counts
