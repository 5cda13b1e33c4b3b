"""The fast path of arithmetic in C: it traces what the one in Python traces."""

from __future__ import annotations

import gc
import re
import sys
import threading
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from c_tier import needs_compiler

import lazyt as torch
from lazyt.functions import fast_in_c
from lazyt.functions.fast import FAST
from lazyt.ir.node import LOCAL, Node, location

pytestmark = needs_compiler


@pytest.fixture(autouse=True)
def _in_c() -> Iterator[None]:
    """The methods in C, whatever came before; afterwards those in Python."""
    for name, fast in FAST.items():
        setattr(torch.Tensor, name, fast.method)
    fast_in_c.install()
    yield
    for name, fast in FAST.items():
        setattr(torch.Tensor, name, fast.method)


def told(node: Node) -> tuple:
    """What a node says but for its place in the text."""
    return node.op, node.src, node.arg, node.type, node.value, node.after, node.tag, bool(node.grad)


OPERANDS: dict[str, Callable[[], tuple[Any, Any]]] = {
    "tensors": lambda: (torch.ones(3), torch.arange(3.0)),
    "doubles": lambda: (torch.ones(3).double(), torch.ones(3).double()),
    "integers": lambda: (torch.arange(3), torch.ones(3, dtype=torch.int64)),
    "float": lambda: (torch.ones(3), 2.5),
    "int": lambda: (torch.ones(3), 3),
    "bool": lambda: (torch.ones(3), True),
    "huge int": lambda: (torch.ones(3), 10**30),
    "integers and float": lambda: (torch.arange(3), 2.5),
    "half and float": lambda: (torch.ones(3).half(), 1.0001),
    "broadcast": lambda: (torch.ones(2, 3), torch.ones(3)),
    "promoted": lambda: (torch.ones(3), torch.ones(3).double()),
    "grad left": lambda: (torch.ones(3, requires_grad=True), torch.ones(3)),
    "grad right": lambda: (torch.ones(3), torch.ones(3, requires_grad=True)),
    "parameter": lambda: (torch.nn.Parameter(torch.ones(3)), torch.ones(3)),
    "views": lambda: (torch.ones(3, 3).t(), torch.ones(3, 3)),
    "column": lambda: (torch.ones(3, 3)[:, 1], 2.0),
    "array": lambda: (torch.ones(3), np.ones(3, np.float32)),
}


def test_it_is_in_use() -> None:
    assert [type(vars(torch.Tensor)[name]).__name__ for name in FAST] == ["method_descriptor"] * 10


@pytest.mark.parametrize("name", FAST)
@pytest.mark.parametrize("kind", OPERANDS)
def test_traces_what_python_traces(kind: str, name: str) -> None:
    a, b = OPERANDS[kind]()
    inside, outside = getattr(torch.Tensor, name), FAST[name].method
    try:
        theirs = outside(a, b)
    except RuntimeError as error:
        with pytest.raises(RuntimeError, match=re.escape(str(error))):
            inside(a, b)
        return
    ours = inside(a, b)
    if theirs is NotImplemented:
        assert ours is NotImplemented
        return
    assert told(ours._node)[4:] == told(theirs._node)[4:]
    assert ours._node.op is theirs._node.op and ours._node.type is theirs._node.type
    assert ours.requires_grad == theirs.requires_grad and type(ours) is type(theirs)
    assert ours.tolist() == theirs.tolist()


def test_a_plain_case_is_one_node_and_reads_nothing_else() -> None:
    a = torch.ones(3)
    node = a._node
    before = len(LOCAL.trace)
    y = a * 2
    assert len(LOCAL.trace) == before + 1
    assert told(y._node)[1:] == ((node, 2.0), (), node.type, None, None, None, 0)
    assert y._node.src[1].__class__ is float
    assert y._storage.node is y._node is y._seen and y._storage.version == 0 and y._meta is None


def test_refuses_what_python_refuses() -> None:
    for name in FAST:
        with pytest.raises(TypeError):
            getattr(torch.ones(3), name)()
    with pytest.raises(TypeError, match="unsupported operand"):
        torch.ones(3) * None  # type: ignore[operator]
    with pytest.raises(RuntimeError, match="must match the size"):
        torch.ones(3) + torch.ones(4)


def test_the_origin_is_the_users_line() -> None:
    a = torch.ones(3)
    line = sys._getframe().f_lineno + 1
    y = a + 1
    file, number, function = location(y._node)
    assert (file, number, function) == (__file__, line, "test_the_origin_is_the_users_line")
    layer = torch.nn.Linear(2, 2)
    z = layer(torch.ones(1, 2)) * 2
    assert location(z._node)[1] == line + 4


def test_modes_of_the_thread() -> None:
    w = torch.ones(3, requires_grad=True)
    with torch.no_grad():
        assert not (w * 2).requires_grad
    with torch.inference_mode():
        assert (w * 2).is_inference()
    assert (w * 2).requires_grad and not (w * 2).is_inference()


def test_threads_have_traces_of_their_own() -> None:
    found: list[list[float]] = []

    def work(k: int) -> None:
        x = torch.ones(4)
        for _ in range(50):
            x = x * 1.5 - 0.5 * k
        found.append([k, x[0].item()])

    threads = [threading.Thread(target=work, args=(k,)) for k in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for k, value in sorted(found):
        x = 1.0
        for _ in range(50):
            x = np.float32(np.float32(x * np.float32(1.5)) - np.float32(0.5 * k))
        assert value == pytest.approx(float(x), rel=1e-5)


def test_long_traces_are_cut() -> None:
    x = torch.ones(2)
    for _ in range(3 * LOCAL.limit):
        x = x + 1
    assert len(LOCAL.trace) <= LOCAL.limit + 1
    assert x.tolist() == [3 * 2000 + 1.0] * 2


def test_nothing_is_kept_alive() -> None:
    a = torch.ones(3)
    y = a * 2
    seen = weakref.ref(y), weakref.ref(y._storage), weakref.ref(y._node)
    before = sys.getrefcount(a._node)
    for _ in range(1000):
        a * 2
    LOCAL.trace.clear()
    assert sys.getrefcount(a._node) == before
    del y
    gc.collect()
    assert [r() for r in seen] == [None] * 3


def test_a_method_that_somebody_replaced_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.Tensor, "__add__", lambda self, other: "mine")
    fast_in_c.install()
    assert torch.ones(3) + 1 == "mine"
