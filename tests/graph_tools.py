"""Small programs of primitives, without the frontend: traced, evaluated, compiled and run.

with tracing() as trace:
    x = leaf_of(np.ones(3))
    y = REGISTRY["neg"](x)
evaluated(trace, {})[y]                    # the reference evaluator's value
run_plan(compile_trace(trace, [y]))        # the generated code's
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

import lazyt.ir
from lazyt.ir import evaluate
from lazyt.ir.dtypes import DType, from_numpy
from lazyt.ir.node import LIVE, LOCAL, Node, leaf
from lazyt.ir.types import TensorType
from lazyt.runtime.plan import Plan, compile_plan
from lazyt.state import data

# Every primitive is registered, also those that no frontend module asked for yet.
for _module in pkgutil.iter_modules(lazyt.ir.__path__, "lazyt.ir."):
    if _module.name.startswith("lazyt.ir.ops_"):
        importlib.import_module(_module.name)


@contextmanager
def tracing(grad: bool = False) -> Iterator[list[Node]]:
    """A trace of its own, in a grad mode; nothing of it is ever drained."""
    before = LOCAL.trace, LOCAL.limit, LOCAL.grad
    LOCAL.trace, LOCAL.limit, LOCAL.grad = [], 1 << 60, grad
    try:
        yield LOCAL.trace
    finally:
        LOCAL.trace, LOCAL.limit, LOCAL.grad = before


def leaf_of(array: np.ndarray, dtype: DType | None = None, grad: bool = False) -> Node:
    """A realised node over `array`; gradients flow to it where `grad` is set."""
    array = np.asarray(array)
    dtype = dtype or from_numpy(array.dtype)
    assert dtype is not None
    made = leaf(data, array, TensorType.of(array.shape, dtype))
    made.grad = LIVE if grad else 0
    return made


def evaluated(trace: list[Node], given: dict[Node, np.ndarray]) -> dict[Node, Any]:
    """Every value of a trace by the reference evaluator; `given` replaces values of leaves."""
    values: dict[Node, Any] = dict(given)

    def value(s: Any) -> Any:
        if s.__class__ is not Node:
            return s
        return values.get(s, s.value)

    with np.errstate(all="ignore"):
        for n in trace:
            values[n] = evaluate.apply(n.op, n.type, n.arg, [value(s) for s in n.src])
    return values


@dataclass
class Compiled:
    """A plan, the arrays of its inputs and its numbers."""

    plan: Plan
    inputs: list[np.ndarray]
    numbers: tuple

    @property
    def source(self) -> str:
        return self.plan.code.source


def inputs_of(trace: list[Node]) -> list[Node]:
    """The realised operands of a trace, in the order a drain numbers them."""
    found: dict[Node, None] = {}
    for n in trace:
        for s in n.src:
            if s.__class__ is Node and s.value is not None:
                found[s] = None
    return list(found)


def compile_trace(
    trace: list[Node],
    outputs: list[Node],
    donatable: frozenset[int] | None = None,
    varying: frozenset[int] = frozenset(),
) -> Compiled:
    """Compiles a trace that keeps `outputs`; by default every input may be donated."""
    leaves = inputs_of(trace)
    index: dict[int, int] = {}
    for s in leaves:
        index.setdefault(id(s.value), len(index))
    arrays = list({id(s.value): s.value for s in leaves}.values())
    numbers = tuple(s for n in trace for s in n.src if s.__class__ is not Node)
    keep = tuple(sorted({trace.index(o) for o in outputs}))
    if donatable is None:
        donatable = frozenset(range(len(arrays)))
    plan, _ = compile_plan(list(trace), keep, index, numbers, set(varying), donatable, False)
    return Compiled(plan, arrays, numbers)


def run_plan(
    compiled: Compiled, donate: Any = False, numbers: tuple | None = None
) -> tuple[list, list[np.ndarray]]:
    """Runs on copies of the inputs; `donate` is a bool or the numbers of the inputs given up.

    Returns the results and the input arrays after the run.
    """
    arrays = [np.array(a, order="K", copy=True) for a in compiled.inputs]
    numbers = compiled.numbers if numbers is None else numbers
    given_up = range(len(arrays)) if donate is True else (donate or ())
    flags = [k in given_up for k, _ in compiled.plan.donors]
    arguments = arrays + [numbers[i] for i in compiled.plan.scalars] + flags
    with np.errstate(all="ignore"):
        return list(compiled.plan.run(*arguments)), arrays


def flat(value: Any) -> list[np.ndarray]:
    """The arrays of a value, which may be a tuple."""
    return list(value) if isinstance(value, tuple) else [value]


def assert_same_bits(found: Any, expected: Any, what: str = "") -> None:
    """Equal types, shapes and bits; every nan equals every other."""
    for a, b in zip(flat(found), flat(expected), strict=True):
        assert type(a) is np.ndarray, f"{what}: {type(a).__name__} is no array"
        assert a.dtype == b.dtype and a.shape == b.shape, f"{what}: {a.dtype}{a.shape}"
        np.testing.assert_array_equal(a, b, err_msg=what)
        if a.dtype.kind == "f":
            numbers = ~np.isnan(a)
            assert (np.signbit(a) == np.signbit(b))[numbers].all(), f"{what}: sign of zero"
