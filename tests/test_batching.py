"""Every primitive's batching rule against the primitive itself, applied example by example.

The samples of the registry are batched: all array operands at once, and each of them alone.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from graph_tools import leaf_of
from random_graphs import Builder
from test_primitives import NAMES, WHOLE, samples

import lazyt  # noqa: F401 (registers the frontend's primitives)
from lazyt.ir import dtypes
from lazyt.ir.batching import Batching, one_by_one, rule_of
from lazyt.ir.batching_rules import RULES
from lazyt.ir.node import LOCAL, Node
from lazyt.ir.opdef import REGISTRY
from lazyt.ir.ops_reduce import get
from lazyt.runtime.drain import value_of

SIZE = 3
# Whose operands are numbers, or several results: `get` is batched with what makes them.
WITHOUT_OPERANDS = {"full", "arange", "positions", "number", "get"}
# What the passes make of other primitives: no traced function holds them.
MADE_BY_PASSES = {"affine_pick", "div_by_total", "exp_nonpositive", "segment_reduce", "count_each"}
MADE_BY_PASSES.add("several")
BATCHED = [n for n in NAMES if n not in WITHOUT_OPERANDS | MADE_BY_PASSES]
# Applied one by one, with PyTorch's warning: torch has no rule for them either.
WITHOUT_RULE = {"histogram"}
# The same where other operands than the first are batched.
OF_THE_FIRST = {"resample"}
# Operands from here on are one number for all elements, and so for all examples.
SHARED = {"philox": 2, "unsigned_remainder": 1}


def examples(name: str, x: np.ndarray, b: int) -> np.ndarray:
    """The values of one example: those of the sample in another order. Winners of windows go with
    their windows: at the border some places are outside."""
    if name == "cholesky":  # any order would not be positive-definite
        return x * (b + 1)
    if name.startswith("max_pool") and x.dtype.kind == "i":
        return np.roll(x, b, 0)
    return np.roll(x.reshape(-1), b).reshape(x.shape)


def mappings(name: str, operands: list[Any]) -> Iterator[tuple[int, ...]]:
    arrays = [i for i, x in enumerate(operands) if isinstance(x, np.ndarray)]
    arrays = [i for i in arrays if i < SHARED.get(name, len(arrays))]
    for chosen in dict.fromkeys([tuple(arrays), *((i,) for i in arrays)]):
        if chosen:
            yield chosen


def results(node: Node) -> list[np.ndarray]:
    if node.op.results == 1:
        return [np.array(value_of(node))]
    return [np.array(value_of(get(node, i))) for i in range(len(node.type))]  # type: ignore[arg-type]


def test_every_primitive_has_a_rule() -> None:
    without = {n for n in BATCHED if rule_of(REGISTRY[n]) is one_by_one}
    assert without == WITHOUT_RULE
    assert set(RULES) <= set(REGISTRY), "a rule of a primitive that does not exist"


@pytest.mark.parametrize("name", BATCHED)
def test_the_rule_of(name: str) -> None:
    op = REGISTRY[name]
    dtype = dtypes.int64 if op.samples in WHOLE else dtypes.float64
    for sample in samples(op, dtype):
        for mapped in mappings(name, sample.operands):
            own = [
                [examples(name, x, b) if i in mapped else x for i, x in enumerate(sample.operands)]
                for b in range(SIZE)
            ]

            def leaf(x: Any, dtype: Any = dtype) -> Any:
                if not isinstance(x, np.ndarray):
                    return x
                return leaf_of(x, dtype if x.dtype.kind == "f" else None)

            expected = [results(op(*map(leaf, operands), arg=sample.arg)) for operands in own]
            batching = Batching(SIZE)
            inside = [
                batching.place(leaf(np.stack([o[i] for o in own]))) if i in mapped else leaf(x)
                for i, x in enumerate(sample.operands)
            ]
            node = op(*inside, arg=sample.arg)
            types: Any = node.type
            pieces = [node] if op.results == 1 else [get(node, i) for i in range(len(types))]
            with warnings.catch_warnings():
                looped = name in WITHOUT_RULE or (name in OF_THE_FIRST and mapped != (0,))
                warnings.simplefilter("ignore" if looped else "error")
                made = [batching.batched(p) for p in pieces]
            batching.close()
            for k, piece in enumerate(made):
                found = np.array(value_of(piece))
                assert piece.type.shape == (SIZE, *pieces[k].type.shape)
                assert piece.type.dtype is pieces[k].type.dtype
                for b in range(SIZE):
                    np.testing.assert_allclose(
                        found[b], expected[b][k], rtol=1e-12, atol=1e-12, err_msg=f"{sample}"
                    )
    assert not LOCAL.trace


def test_what_depends_on_no_example_is_not_batched() -> None:
    batching = Batching(SIZE)
    x = batching.place(leaf_of(np.ones((SIZE, 2))))
    w = REGISTRY["exp"](leaf_of(np.ones(2)))
    y = batching.batched(REGISTRY["mul"](x, w))
    batching.close()
    assert y.src[1] is w
    assert LOCAL.trace == [w, y]
    value_of(y)


def test_a_primitive_without_a_rule_warns_and_names_itself() -> None:
    batching = Batching(2)
    x = batching.place(leaf_of(np.array([[0.1, 0.7], [0.2, 0.3]])))
    node = REGISTRY["histogram"](x, arg=(2, 0.0, 1.0))
    with pytest.warns(UserWarning, match="batching rule for histogram"):
        found = batching.batched(node)
    batching.close()
    np.testing.assert_array_equal(value_of(found), [[1, 1], [2, 0]])


def run_random(seed: int, exchange: Any) -> list[Node]:
    """The nodes of a random program, over leaves that `exchange` gives for those it begins with."""
    builder = Builder(np.random.default_rng(seed))
    builder.pool = [exchange(leaf) for leaf in builder.pool]
    for _ in range(25):
        builder.step()
    return builder.made


@pytest.mark.parametrize("seed", range(40))
def test_random_programs(seed: int) -> None:
    """Forty programs of 25 primitives, every leaf of them batched."""

    def rolled(leaf: Node, b: int) -> np.ndarray:
        return examples("", np.asarray(leaf.value), b)

    each = []
    for b in range(SIZE):
        made = run_random(seed, lambda leaf, b=b: leaf_of(rolled(leaf, b), leaf.dtype))
        each.append([results(n) if n.op.results == 1 else None for n in made])
    batching = Batching(SIZE)
    made = run_random(
        seed,
        lambda leaf: batching.place(
            leaf_of(np.stack([rolled(leaf, b) for b in range(SIZE)]), leaf.dtype)
        ),
    )
    whole = [batching.batched(n) if n.op.results == 1 else None for n in made]
    batching.close()
    for k, (node, example) in enumerate(zip(whole, made, strict=True)):
        if node is None:
            continue
        assert node.type.shape == (SIZE, *example.type.shape)
        assert node.type.dtype is example.type.dtype
        tolerance = {"float16": 2e-2, "bfloat16": 1e-1}.get(node.type.dtype.name, 1e-4)
        with np.errstate(all="ignore"):
            found = np.asarray(value_of(node), np.float64)
        for b in range(SIZE):
            np.testing.assert_allclose(
                found[b],
                np.asarray(each[b][k][0], np.float64),
                rtol=tolerance,
                atol=tolerance,
                err_msg=f"{example.op.name}",
            )
