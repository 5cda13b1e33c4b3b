"""Every primitive on a device: the values of all its samples, and derivatives of both orders.

A dozen drains compute all of it; what a primitive's test asks for is then only looked up.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import pytest
from gpu_tools import Batch, host_trips
from graph_tools import evaluated, leaf_of, tracing
from test_primitives import DIFFERENTIABLE, NAMES, cases, of_dtype, samples

import lazyt as torch
from lazyt.ir import dtypes
from lazyt.ir.autodiff import differentiate
from lazyt.ir.node import LIVE, LOCAL, Node, leaf
from lazyt.ir.opdef import REGISTRY
from lazyt.ir.ops_device import transfer
from lazyt.ir.ops_index import gather
from lazyt.ir.ops_reduce import get, reduced
from lazyt.ir.ops_shape import reshape
from lazyt.ir.types import TensorType
from lazyt.runtime.cuda.array import upload
from lazyt.state import data

pytestmark = pytest.mark.gpu

TOGETHER = 16
WHERE = "cuda:0"


@pytest.fixture(autouse=True, scope="module")
def _started() -> None:
    torch.zeros(1, device="cuda")


def chunk_of(names: list[str], name: str) -> tuple[str, ...]:
    start = names.index(name) // TOGETHER * TOGETHER
    return tuple(names[start : start + TOGETHER])


def argument(op: Any, arg: tuple) -> tuple:
    """A sample's structural argument for the device."""
    if op.name == "transfer":
        return (WHERE,)
    return (*arg[:2], WHERE) if op.kind == "constant" and "device" in op.fields else arg


COMPUTED_BY_HOST: set[str] = set()
# What has neither a loop nor a template, by the names of the CPU's functions: LAPACK's
# factorizations, complex numbers, and two functions. This may only shrink.
HOST = """
abs array.imag array.real cholesky conjugate eigh erfinv inverse linalg.det log_of_det matrix_exp
nextafter of_parts.complex128 of_parts.complex64 pinv qr sign_of_det solve svd
"""


# The position that these give is that of any element with the value.
NAMES_ONE_OF_EQUALS = ("topk", "kthvalue", "mode")


# --- values ---------------------------------------------------------------------------------------


@functools.cache
def wrong_values(names: tuple[str, ...]) -> dict[str, list[str]]:
    """What is wrong with the values of these primitives on the device."""
    batch = Batch()
    for name in names:
        for sample in cases(name):
            _add_values(batch, name, sample)
    with host_trips() as trips:
        wrong = batch.differences()
    COMPUTED_BY_HOST.update(trips)
    return wrong


def _add_values(batch: Batch, name: str, sample: Any) -> None:
    op = REGISTRY[name]
    with tracing() as trace:
        leaves, y = sample.apply(op)
    expected = evaluated(trace, {})[y]
    moved = [transfer(x, WHERE) if isinstance(x, Node) else x for x in leaves]
    if name == "transfer":
        moved = leaves
    node = op(*moved, arg=argument(op, sample.arg))
    if name in NAMES_ONE_OF_EQUALS:
        values, places = expected[0], get(node, 1)
        axis, kept = sample.arg[0], places.type.shape
        if isinstance(axis, tuple):  # one that is reduced
            axis, kept = axis[0], reduced(moved[0].type.shape, axis, True)
        picked = gather(moved[0], reshape(places, kept), arg=(axis,))
        batch.add(name, get(node, 0), values)
        batch.add(name, reshape(picked, values.shape), values)
    elif op.results > 1:
        for i, e in enumerate(expected):
            batch.add(name, get(node, i), e)
    else:
        batch.add(name, node, expected)


@pytest.mark.parametrize("name", NAMES)
def test_values(name: str) -> None:
    assert name not in wrong_values(chunk_of(NAMES, name))


def test_what_the_host_computes() -> None:
    """Exactly these: a primitive that has a kernel keeps it, one that gets a kernel leaves the
    list."""
    for name in NAMES:
        wrong_values(chunk_of(NAMES, name))
    assert set(HOST.split()) == COMPUTED_BY_HOST


# --- derivatives ----------------------------------------------------------------------------------


def on_device(array: np.ndarray, dtype: Any, grad: bool) -> Node:
    type = TensorType.of(array.shape, dtype, WHERE)
    made = leaf(data, upload(array, type), type)
    made.grad = LIVE if grad else 0
    return made


def derived(op: Any, operands: list, arg: tuple, seeds: Any) -> list[Node | None]:
    """First cotangents of an application, and those of each of them."""
    y = op(*operands, arg=arg)
    if op.results > 1:
        y = get(y, 0)
    leaves = [x for x in operands if isinstance(x, Node) and x.grad]
    if not leaves or not y.grad or not y.type.dtype.is_floating_point:
        return []
    seed = seeds(y.type)
    first = differentiate([y], [seed], retain=True, create=True, inputs=leaves)
    found = list(first)
    for g in first:
        if g is not None and g.grad:
            again = seeds(g.type)
            second = differentiate([g], [again], retain=True, create=True, inputs=[*leaves, seed])
            found += second
    return found


@functools.cache
def wrong_derivatives(names: tuple[str, ...]) -> dict[str, list[str]]:
    """What is wrong with the derivatives of these primitives on the device."""
    batch = Batch(looser=10)
    for name in names:
        op = REGISTRY[name]
        for dtype in (dtypes.float64, dtypes.float32):
            for sample in samples(op, dtype):
                _add_derivatives(batch, name, sample)
    return batch.differences()


def _add_derivatives(batch: Batch, name: str, sample: Any) -> None:
    op = REGISTRY[name]
    if name == "transfer":
        return
    drawn = np.random.default_rng(3)
    arrays: list[np.ndarray] = []

    def seed(type: TensorType) -> Node:
        arrays.append(of_dtype(np.asarray(drawn.standard_normal(type.shape)), type.dtype))
        return leaf_of(arrays[-1], type.dtype, grad=True)

    with tracing(grad=True) as trace:
        leaves = sample.apply(op, grad=True)[0]
        expected = derived(op, leaves, sample.arg, seed)
    values = evaluated(trace, {})
    given = iter(arrays)
    operands = [
        on_device(x.value, x.type.dtype, bool(x.grad)) if isinstance(x, Node) else x for x in leaves
    ]
    before, LOCAL.grad = LOCAL.grad, True
    try:
        found = derived(
            op,
            operands,
            argument(op, sample.arg),
            lambda type: on_device(next(given), type.dtype, True),
        )
    finally:
        LOCAL.grad = before
    for e, f in zip(expected, found, strict=True):
        assert (e is None) == (f is None), name
        if e is not None and f is not None:
            batch.add(name, f, values.get(e, e.value))


@pytest.mark.parametrize("name", DIFFERENTIABLE)
def test_derivatives(name: str) -> None:
    assert name not in wrong_derivatives(chunk_of(DIFFERENTIABLE, name))
