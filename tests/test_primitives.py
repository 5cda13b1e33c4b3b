"""Every primitive of the registry: its values, its generated code, its derivatives of both orders.

The tests walk `REGISTRY`: a primitive that is added is tested from the day it is there, and one
without samples fails `test_every_primitive_has_samples`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from graph_tools import (
    assert_same_bits,
    compile_trace,
    evaluated,
    flat,
    leaf_of,
    run_plan,
    tracing,
)

import lazyt.functions.device_draws  # noqa: F401 (registers the primitives)
from lazyt.ir import dtypes
from lazyt.ir.autodiff import differentiate
from lazyt.ir.dtypes import DType
from lazyt.ir.node import Node
from lazyt.ir.numerics import round_bfloat16
from lazyt.ir.opdef import REGISTRY, Op
from lazyt.ir.ops_reduce import get
from lazyt.ir.parser import parse
from lazyt.ir.printer import text
from lazyt.ir.verify import verify
from lazyt.runtime import plan

# What is no operation on values: data from outside, and the frontend's user-defined functions.
RECORDS = {"data", "function", "per_example"}
NAMES = sorted(set(REGISTRY) - RECORDS)
FLOATS = (dtypes.float32, dtypes.float64, dtypes.float16, dtypes.bfloat16)
INTEGERS = (dtypes.int64, dtypes.int32, dtypes.uint8)
DOMAINS = {
    None: lambda r, shape: r.standard_normal(shape) * 2,
    "positive": lambda r, shape: r.uniform(0.4, 3.0, shape),
    "nonzero": lambda r, shape: r.uniform(0.4, 3.0, shape) * r.choice([-1.0, 1.0], shape),
    "unit": lambda r, shape: r.uniform(-0.8, 0.8, shape),
    "above_one": lambda r, shape: r.uniform(1.3, 3.0, shape),
    "integer": lambda r, shape: r.integers(0, 100, shape),
    "shift": lambda r, shape: r.integers(0, 7, shape),
}
WHOLE = {"integer", "shift"}
# Elementwise primitives that the frontend applies to integers too.
_ALSO_INTEGER = """
add sub mul neg abs sign floor_div trunc_div remainder fmod pow maximum minimum clamp_min clamp_max
relu eq ne lt le gt ge logical_and logical_or logical_xor logical_not
"""
# Others that are applied to int64 as they are.
_ALSO_LONG = """
sum prod amax amin all any argmax argmin max_with_index min_with_index median mode sort topk
kthvalue cumsum cumprod cummax cummin cast where flip cat copy gather scatter scatter_add index
index_put row_pick matmul slice as_strided reshape permute expand strided_update strided_add
"""
ALSO_INTEGER = set(_ALSO_INTEGER.split())
ALSO_LONG = set(_ALSO_LONG.split())
SHAPES = {
    1: [((2, 3),), ((),), ((0, 3),)],
    2: [
        ((2, 3), (2, 3)),
        ((2, 3), (3,)),
        ((2, 1), (1, 3)),
        ((), (3,)),
        ((), ()),
        ((0, 3), (1, 3)),
        ((2, 3), 1.5),
        (1.5, (2, 3)),
        ((), 2.0),
    ],
}


@dataclass
class Sample:
    """Operands (arrays, or plain numbers) and the structural argument of one application."""

    operands: list[Any]
    arg: tuple
    dtype: DType

    def apply(self, op: Op, grad: bool = False) -> tuple[list[Any], Node]:
        """Emits the node; the floating operands are leaves that gradients flow to if asked."""
        leaves = [
            leaf_of(x, self.dtype if x.dtype.kind == "f" else None, grad and x.dtype.kind == "f")
            if isinstance(x, np.ndarray)
            else x
            for x in self.operands
        ]
        return leaves, op(*leaves, arg=self.arg)


def of_dtype(values: np.ndarray, dtype: DType) -> np.ndarray:
    """Floats in the carrier of a floating dtype; indices and conditions as they are."""
    if values.dtype.kind != "f" and dtype.is_floating_point:
        return values
    if dtype is dtypes.bfloat16:
        return np.asarray(round_bfloat16(values.astype(np.float32)))
    return np.asarray(values.astype(dtype.numpy))


def samples(op: Op, dtype: DType) -> Iterator[Sample]:
    """The samples of a primitive, elementwise ones in every broadcasting shape."""
    rng = np.random.default_rng(sum(map(ord, op.name)))
    if callable(op.samples):
        for operands, arg in op.samples():
            yield Sample([_operand(x, rng, dtype) for x in operands], arg, dtype)
        return
    draw = DOMAINS[op.samples]
    whole = not dtype.is_floating_point
    if whole and op.samples not in WHOLE:
        draw = lambda r, shape: r.integers(1, 5, shape)
    for shapes in SHAPES[op.numbered]:
        operands = []
        for shape in shapes:
            if isinstance(shape, tuple):
                operands.append(of_dtype(np.asarray(draw(rng, shape)), dtype))
            else:
                operands.append(int(shape) if whole else 0.5 if op.samples == "unit" else shape)
        yield Sample(operands, (), dtype)


def _operand(x: Any, rng: np.random.Generator, dtype: DType) -> Any:
    if isinstance(x, tuple):
        return of_dtype(np.asarray(rng.standard_normal(x) * 2), dtype)
    if isinstance(x, (list, np.ndarray)):
        given = np.asarray(x)
        return of_dtype(given, dtype) if given.dtype.kind == "f" else given
    return int(x) if dtype is dtypes.int64 else x


def cases(name: str) -> Iterator[Sample]:
    """Samples in every dtype that the primitive is for."""
    op = REGISTRY[name]
    if isinstance(op.samples, str) and op.samples in WHOLE:
        kinds: tuple[DType, ...] = INTEGERS
    elif name in ALSO_INTEGER:
        kinds = FLOATS + INTEGERS
    elif name in ALSO_LONG:
        kinds = (*FLOATS, dtypes.int64)
    else:
        kinds = FLOATS
    for dtype in kinds:
        yield from samples(op, dtype)


def assert_typed(value: Any, type: Any) -> None:
    """An array (or a tuple of them) of the inferred shape, in the carrier of the inferred dtype."""
    types = type if isinstance(type, tuple) else (type,)
    for array, t in zip(flat(value), types, strict=True):
        assert array.__class__ is np.ndarray
        assert array.shape == t.shape
        assert array.dtype == t.dtype.numpy
        if t.dtype is dtypes.bfloat16:
            assert_same_bits(array, np.asarray(round_bfloat16(array)), "not rounded")


def test_every_primitive_has_samples() -> None:
    missing = [n for n in NAMES if REGISTRY[n].samples is None and not REGISTRY[n].elementwise]
    assert missing == []
    unknown = {o.samples for o in REGISTRY.values() if isinstance(o.samples, str)} - set(DOMAINS)
    assert unknown == set()


def test_derivatives_have_a_rule_an_operand() -> None:
    for name in NAMES:
        op = REGISTRY[name]
        if isinstance(op.vjp, tuple) and not callable(op.samples):
            assert len(op.vjp) == op.numbered, name


@pytest.mark.parametrize("name", NAMES)
def test_values_have_the_inferred_type(name: str) -> None:
    op = REGISTRY[name]
    for sample in cases(name):
        with tracing() as trace:
            leaves, y = sample.apply(op)
        value = evaluated(trace, {})[y]
        assert_typed(value, y.type)
        if op.kind == "view" or name == "cast":
            continue
        for x in leaves:
            if isinstance(x, Node):
                assert not any(np.shares_memory(a, x.value) for a in flat(value)), "no own memory"


@pytest.mark.parametrize("name", NAMES)
def test_generated_code_gives_the_evaluators_bits(name: str, monkeypatch) -> None:
    monkeypatch.setattr(plan, "CHECK_PASSES", [True])
    op = REGISTRY[name]
    for sample in cases(name):
        with tracing() as trace:
            _, y = sample.apply(op)
            results = [get(y, i) for i in range(op.results)] if op.results > 1 else [y]
        values = evaluated(trace, {})
        compiled = compile_trace(trace, results)
        verify(compiled.plan.traced)
        written = text(compiled.plan.traced)
        assert text(parse(written)) == written
        for donate in (False, True):
            found, arrays = run_plan(compiled, donate)
            for a, r in zip(found, results, strict=True):
                assert_same_bits(a, values[r], f"{name} {sample.dtype.name}\n{compiled.source}")
            if not donate:
                for before, after in zip(compiled.inputs, arrays):
                    assert_same_bits(after, before, f"{name} changed an operand")


# --- derivatives ----------------------------------------------------------------------------------


STEP = 1e-6
# `get` is differentiated in the samples of the primitives with several results; what `replaced`
# does is no derivative: the cotangent goes to the old history.
ELSEWHERE = {"get", "replaced"}
DIFFERENTIABLE = [n for n in NAMES if REGISTRY[n].differentiable and n not in ELSEWHERE]


def check_derivatives(
    trace: list[Node], y: Node, leaves: list[Node], found: list, seed: Node
) -> None:
    """Cotangents against central differences of sum(seed * y) in two random directions."""
    rng = np.random.default_rng(5)

    def loss(moved: dict[Node, np.ndarray]) -> float:
        values = evaluated(trace, moved)
        return float(np.sum(values.get(y, y.value) * values.get(seed, seed.value)))

    values = evaluated(trace, {})
    for x, g in zip(leaves, found, strict=True):
        for _ in range(2):
            way = np.asarray(rng.standard_normal(x.type.shape))
            up = loss({x: np.asarray(x.value + STEP * way)})
            down = loss({x: np.asarray(x.value - STEP * way)})
            slope = (up - down) / (2 * STEP)
            mine = 0.0 if g is None else float(np.sum(values.get(g, g.value) * way))
            assert mine == pytest.approx(slope, rel=2e-5, abs=2e-7), f"operand {leaves.index(x)}"


@pytest.mark.parametrize("name", DIFFERENTIABLE)
def test_vjp_is_the_derivative_and_so_is_its_vjp(name: str) -> None:
    op = REGISTRY[name]
    rng = np.random.default_rng(3)
    tried = 0
    for sample in samples(op, dtypes.float64):
        with tracing(grad=True) as trace:
            operands, y = sample.apply(op, grad=True)
            if op.results > 1:
                y = get(y, 0)
            if y.type.dtype is not dtypes.float64:
                continue
            leaves = [x for x in operands if isinstance(x, Node) and x.grad]
            if not leaves or not y.grad:
                continue
            seed = leaf_of(np.asarray(rng.standard_normal(y.type.shape)), grad=True)
            first = differentiate([y], [seed], retain=True, create=True, inputs=leaves)
        check_derivatives(trace, y, leaves, first, seed)
        tried += 1
        for g in first:
            if g is None or not g.grad:
                continue
            with tracing(grad=True) as more:
                more += trace
                again = leaf_of(np.asarray(rng.standard_normal(g.type.shape)), grad=True)
                second = differentiate(
                    [g], [again], retain=True, create=True, inputs=[*leaves, seed]
                )
            check_derivatives(more, g, [*leaves, seed], second, again)
    assert tried, "no sample was differentiated"


def test_replaced_sends_the_cotangent_to_the_old_history() -> None:
    with tracing(grad=True):
        old, value = leaf_of(np.ones(3), grad=True), leaf_of(np.zeros(3), grad=True)
        y = REGISTRY["replaced"](old, value)
        seed = leaf_of(np.full(3, 2.0))
        found = differentiate([y], [seed], retain=True, create=False, inputs=[old, value])
    assert found == [seed, None]
