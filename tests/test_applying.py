"""Applying primitives in C: it makes the nodes that Python makes."""

from __future__ import annotations

import gc
import sys
import weakref
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from itertools import islice
from typing import Any

import numpy as np
import pytest
from c_tier import needs_compiler
from graph_tools import leaf_of
from test_primitives import NAMES, cases

import lazyt as torch
from lazyt.ir import node
from lazyt.ir import ops_elementwise as ops
from lazyt.ir.dtypes import float32, int64
from lazyt.ir.node import FLUSH, LOCAL, Node, caller, emit, line_number, location
from lazyt.ir.opdef import PLACING, REFUSING, REGISTRY, Op
from lazyt.ir.ops_reduce import sum_
from lazyt.ir.ops_shape import permute_, reshape_
from lazyt.runtime import applying
from lazyt.runtime.programs import builtin

pytestmark = needs_compiler


@pytest.fixture(autouse=True)
def _in_c(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Whatever came before, primitives are applied in C, and traces are as they were."""
    monkeypatch.setattr(Op, "__call__", applying.IN_PYTHON)
    monkeypatch.setattr(node, "caller", applying.CALLER)
    applying.install()
    yield
    LOCAL.trace.clear()


def in_python(op: Op, *src: Any, arg: tuple = ()) -> Node:
    return applying.IN_PYTHON(op, *src, arg=arg)


def told(n: Node) -> tuple:
    """All that a node says; operands by identity."""
    slots = n.op, n.arg, n.type, n.value, n.after, n.tag, n.uses, n.pos
    return (*slots, bool(n.grad), [id(s) for s in n.src], location(n))


def leaf(*shape: int, grad: int = 0) -> Node:
    made = leaf_of(np.zeros(shape, np.float32), float32, False)
    made.grad = grad
    return made


def test_it_is_in_use() -> None:
    assert type(Op.__call__).__name__ == "method_descriptor"


@pytest.mark.parametrize("name", NAMES)
def test_every_primitive(name: str) -> None:
    op = REGISTRY[name]
    for sample in islice(cases(name), 12):
        operands, made = sample.apply(op, grad=True)
        again = op(*operands, arg=sample.arg)  # whose type is remembered
        expected = in_python(op, *operands, arg=sample.arg)
        assert made.type == again.type == expected.type
        assert told(made)[:2] == told(again)[:2] == told(expected)[:2]
        assert told(made)[3:-1] == told(again)[3:-1] == told(expected)[3:-1]
        assert LOCAL.trace[-3:] == [made, again, expected]


def test_types_go_by_argument_and_operands() -> None:
    x, y = leaf(2, 6), leaf(6)
    assert reshape_(x, arg=((3, 4),)).type.shape == (3, 4)
    assert reshape_(x, arg=((4, 3),)).type.shape == (4, 3)
    assert reshape_(x, arg=((3, 4),)).type.shape == (3, 4)
    assert sum_(x, arg=((0,), False)).type.shape == (6,)
    assert sum_(x, arg=((0,), True)).type.shape == (1, 6)
    assert sum_(y, arg=((0,), False)).type.shape == ()
    assert permute_(x, arg=((1, 0),)).type.shape == (6, 2)
    assert ops.add(x, y).type.shape == ops.add(y, x).type.shape == (2, 6)
    assert ops.add(y, 1.0).type is ops.add(y, y).type is y.type
    assert ops.add(leaf(1), 2.0).type.shape == (1,)
    assert ops.cast_(x, arg=(int64,)).type.dtype is int64
    assert ops.gt(x, 0.0).type is ops.gt(x, x).type is x.type.boolean


def test_many_types_are_told_apart() -> None:
    for n in range(3000):
        x = leaf(n % 50, n % 7)
        assert reshape_(x, arg=((n % 50 * (n % 7),),)).type.shape == (n % 50 * (n % 7),)
        assert ops.add(x, leaf(n % 7)).type.shape == (n % 50, n % 7)


def raised(call: Callable[[], Any]) -> tuple[type, str]:
    with pytest.raises(Exception) as caught:
        call()
    return caught.type, str(caught.value)


def test_refuses_what_python_refuses() -> None:
    x, y = leaf(2, 3), leaf(4)
    wrong: list[tuple[Op, tuple, dict[str, Any]]] = [
        (ops.add, (x, y), {}),
        (ops.add, (1.0, 2.0), {}),
        (ops.add, (), {}),
        (ops.neg, (x,), {"args": ()}),
        (ops.neg, (x,), {"arg": (), "more": 1}),
    ]
    for op, src, named in wrong:
        before = len(LOCAL.trace)
        expected = raised(partial(applying.IN_PYTHON, op, *src, **named))
        assert raised(partial(op, *src, **named)) == expected
        assert len(LOCAL.trace) == before


def test_names_of_arguments_need_not_be_the_same_object() -> None:
    given = {"".join(["a", "rg"]): ((6,),)}
    assert reshape_(leaf(2, 3), **given).type.shape == (6,)
    assert reshape_(leaf(2, 3), arg=((6,),)).arg == ((6,),)


def test_history() -> None:
    for grads in ((0, 0), (1, 0), (0, 1), (-7, 0)):
        a, b = (leaf(3, grad=g) for g in grads)
        for op in (ops.add, ops.gt):
            for mode in (True, False):
                LOCAL.grad = mode
                for operands in ((a, b), (a, 1.0)):
                    made, again = op(*operands).grad, in_python(op, *operands).grad
                    assert again == (made + 1 if made else 0)
                LOCAL.grad = True


def test_the_origin_is_the_users_line() -> None:
    line = sys._getframe().f_lineno + 1
    y = torch.nn.Linear(2, 2)(torch.ones(1, 2))
    assert location(y._node) == (__file__, line, "test_the_origin_is_the_users_line")
    n = ops.neg(leaf(2))
    assert location(n)[1] == line + 2
    LOCAL.origin = caller(1)
    try:
        n = ops.neg(leaf(2))
    finally:
        LOCAL.origin = None
    assert location(n)[1] == line + 4
    code = compile("made = neg(x)", "somewhere else", "exec")
    scope: dict[str, Any] = {"neg": ops.neg, "x": leaf(2)}
    exec(code, scope)
    assert location(scope["made"]) == ("somewhere else", 1, "<module>")


def test_the_line_of_what_python_makes() -> None:
    in_c, in_python = builtin("lazyt_caller"), applying.CALLER

    def inner(depth: int) -> tuple:
        return in_c(depth), in_python(depth)

    for depth, expected in ((1, inner.__code__), (2, sys._getframe().f_code)):
        (code, line), (same, there) = inner(depth)
        assert code is same is expected
        assert line_number(code, line) == line_number(same, there)
    assert node.caller is not in_python
    n = emit(ops.neg, (leaf(2),), (), leaf(2).type)
    assert location(n) == (__file__, sys._getframe().f_lineno - 1, sys._getframe().f_code.co_name)
    LOCAL.origin = here = caller(1)
    try:
        assert in_c(2) == here and leaf(2).code is here[0]
    finally:
        LOCAL.origin = None


def test_long_traces_are_cut() -> None:
    x = torch.ones(2)
    for _ in range(3 * LOCAL.limit):
        x = torch.neg(x)
    assert len(LOCAL.trace) <= LOCAL.limit + 1
    assert x.tolist() == [1.0] * 2


def test_an_error_of_a_cut_is_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(n: Node) -> None:
        raise KeyError("cut")

    monkeypatch.setattr(LOCAL, "limit", 0)
    before, FLUSH[0] = FLUSH[0], fail
    try:
        with pytest.raises(KeyError, match="cut"):
            ops.neg(leaf(2))
    finally:
        FLUSH[0] = before


def test_operands_are_placed_in_python() -> None:
    seen = []

    def place(op: Op, src: tuple) -> tuple:
        seen.append(op)
        return src

    PLACING.append(place)
    try:
        n = reshape_(leaf(2, 3), arg=((6,),))
        assert n.type.shape == (6,) and seen == [reshape_]
        assert ops.add(leaf(3), 1.0).src[1] == 1.0
    finally:
        PLACING.remove(place)


def test_nothing_is_kept_alive() -> None:
    x, y, arg = leaf(2, 3), leaf(4), ((6,),)
    made = reshape_(x, arg=arg)
    watched = (x, y, arg, made.type, reshape_, made.code, LOCAL.trace, None, 0, -1)

    def applied() -> None:
        for _ in range(1000):
            reshape_(x, arg=arg)
            ops.add(x, 1.0)
            with suppress(RuntimeError):
                ops.add(x, y)
        del LOCAL.trace[1:]
        gc.collect()

    applied()  # what only the first round remembers
    before = [sys.getrefcount(o) for o in watched]
    applied()
    after = [sys.getrefcount(o) for o in watched]
    assert max(b - a for a, b in zip(before, after)) < 50
    seen = weakref.ref(made)
    LOCAL.trace.clear()
    del made
    assert seen() is None


def test_what_somebody_replaced_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    def mine(self: Op, *src: Any, arg: tuple = ()) -> Node:
        return src[0]

    monkeypatch.setattr(Op, "__call__", mine)
    applying.install()
    x = leaf(2)
    assert ops.neg(x) is x


def test_what_refuses_operands_is_asked() -> None:
    asked: list[str] = []
    refuse = lambda op, src: asked.append(op.name)
    REFUSING.append(refuse)
    try:
        ops.neg(leaf(2))
    finally:
        REFUSING.remove(refuse)
    assert asked == ["neg"]
