"""Random graphs of primitives: elementwise chains, reductions, views, casts, updates, constants.

`build(rng, length)` emits `length` nodes into the current trace, over a few leaves with zeros of
both signs, infinities and nan among their values, and returns the nodes made.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from graph_tools import leaf_of

from lazyt.ir import dtypes
from lazyt.ir.dtypes import DType
from lazyt.ir.node import Node
from lazyt.ir.numerics import round_bfloat16
from lazyt.ir.opdef import REGISTRY
from lazyt.ir.ops_reduce import get
from lazyt.ir.types import broadcast_shapes

SHAPES: tuple[tuple[int, ...], ...] = ((3, 4), (4,), (3, 1), (4, 3), (12,), (), (2, 3, 4), (5, 4))
FLOATS = (dtypes.float32, dtypes.float64, dtypes.float16, dtypes.bfloat16)
WEIGHTED = (*FLOATS, dtypes.float32, dtypes.float32, dtypes.int64, dtypes.int32, dtypes.bool_)
UNARY = [
    "neg",
    "exp",
    "sqrt",
    "abs",
    "sigmoid",
    "tanh",
    "relu",
    "sign",
    "floor",
    "reciprocal",
    "sin",
]
BINARY = ["add", "sub", "mul", "div", "maximum", "minimum", "clamp_min", "clamp_max", "pow", "fmod"]
WHOLE = ["add", "sub", "mul", "maximum", "minimum", "bitwise_and", "bitwise_xor"]
COMPARE = ["eq", "ne", "lt", "le", "gt", "ge"]
NUMBERS = [0.0, -0.0, 1.0, -1.0, 2.0, 0.5, float("nan"), float("inf"), float("-inf"), 1e-3, 3.0]


def leaf_like(rng: np.random.Generator, shape: tuple[int, ...], dtype: DType) -> Node:
    """A realised operand with some special values."""
    if dtype is dtypes.bool_:
        return leaf_of(rng.random(shape) < 0.5)
    if not dtype.is_floating_point:
        return leaf_of(rng.integers(-5, 6, shape).astype(dtype.numpy))
    values = np.asarray(rng.standard_normal(shape) * 3)
    special = rng.random(shape) < (0.15 if rng.random() < 0.4 else 0.0)
    values = np.where(special, rng.choice(NUMBERS, shape), values)
    array = np.asarray(values.astype(dtype.numpy))
    if dtype is dtypes.bfloat16:
        array = np.asarray(round_bfloat16(array))
    return leaf_of(array, dtype)


class Builder:
    """Makes nodes over a pool of earlier ones."""

    def __init__(self, rng: np.random.Generator):
        self.rng = rng
        self.pool: list[Node] = []
        for _ in range(int(rng.integers(2, 5))):
            self.pool.append(leaf_like(rng, self.pick(SHAPES), self.pick(WEIGHTED)))
        self.made: list[Node] = []

    def pick(self, choices: Any) -> Any:
        return choices[int(self.rng.integers(len(choices)))]

    def some(self, test: Any = None) -> Node | None:
        """An earlier node that passes a test; recent ones are likelier."""
        found = [n for n in self.pool if n.type.__class__ is not tuple and (not test or test(n))]
        if not found:
            return None
        if self.rng.random() < 0.5:
            return found[-1 - int(self.rng.integers(min(3, len(found))))]
        return self.pick(found)

    def number(self, dtype: DType) -> Any:
        if dtype.is_floating_point:
            return float(self.pick(NUMBERS))
        return (
            bool(self.rng.random() < 0.5) if dtype is dtypes.bool_ else int(self.rng.integers(0, 4))
        )

    def step(self) -> None:
        """One more node, of a kind chosen at random."""
        made = self.pick(KINDS)(self)
        if made is not None:
            self.pool.append(made)
            self.made.append(made)

    # --- kinds ------------------------------------------------------------------------------------

    def unary(self) -> Node | None:
        x = self.some(lambda n: n.dtype.is_floating_point)
        return x and REGISTRY[self.pick(UNARY)](x)

    def pair(self) -> tuple[Any, Any] | None:
        a = self.some(lambda n: n.dtype is not dtypes.bool_)
        if a is None:
            return None
        b: Any = self.some(lambda n: n.dtype is a.dtype and fits(a, n))
        if b is None or self.rng.random() < 0.35:
            b = self.number(a.dtype)
            if self.rng.random() < 0.2:
                b = REGISTRY["full"](b, arg=(a.type.shape, a.dtype))
        return (b, a) if self.rng.random() < 0.3 else (a, b)

    def binary(self) -> Node | None:
        found = self.pair()
        if found is None:
            return None
        node = found[0] if found[0].__class__ is Node else found[1]
        return REGISTRY[self.pick(BINARY if node.dtype.is_floating_point else WHOLE)](*found)

    def compare(self) -> Node | None:
        found = self.pair()
        return found and REGISTRY[self.pick(COMPARE)](*found)

    def where(self) -> Node | None:
        found = self.pair()
        condition = self.some(lambda n: n.dtype is dtypes.bool_)
        if found is None or condition is None:
            return None
        shape = condition.type.shape
        for s in found:
            if s.__class__ is Node:
                if not shapes_fit(shape, s.type.shape):
                    return None
                shape = broadcast_shapes(shape, s.type.shape)
        return REGISTRY["where"](condition, *found)

    def cast(self) -> Node | None:
        x = self.some()
        return REGISTRY["cast"](x, arg=(self.pick(WEIGHTED),))

    def reduce(self) -> Node | None:
        x = self.some(lambda n: n.type.shape and n.dtype is not dtypes.bool_)
        if x is None:
            return None
        rank = len(x.type.shape)
        axes = tuple(sorted({int(a) for a in self.rng.integers(0, rank, 2)}))
        keep = bool(self.rng.random() < 0.5)
        if x.dtype.is_floating_point or x.dtype is dtypes.int64:
            name = self.pick(["sum", "amax", "amin", "argmax", "prod"])
        else:
            name = self.pick(["amax", "amin", "argmax"])
        if name == "argmax":
            axes = axes[:1]
        return REGISTRY[name](x, arg=(axes, keep))

    def soften(self) -> Node | None:
        x = self.some(lambda n: n.type.shape and n.dtype.is_floating_point)
        if x is None:
            return None
        axis = int(self.rng.integers(len(x.type.shape)))
        return REGISTRY[self.pick(["softmax", "log_softmax", "cumsum"])](x, arg=(axis,))

    def ordered(self) -> Node | None:
        x = self.some(lambda n: n.type.shape and n.dtype.is_floating_point)
        if x is None:
            return None
        y = REGISTRY["sort"](x, arg=(int(self.rng.integers(len(x.type.shape))), False))
        return get(y, int(self.rng.integers(2)))

    def view(self) -> Node | None:
        x = self.some()
        shape = x.type.shape
        rank = len(shape)
        kind = self.pick(["reshape", "permute", "expand", "slice", "as_strided", "alias"])
        if kind == "reshape":
            other = [s for s in (*SHAPES, (1, *shape), (x.type.numel,)) if numel(s) == x.type.numel]
            return REGISTRY[kind](x, arg=(self.pick(other),))
        if kind == "permute":
            return REGISTRY[kind](x, arg=(tuple(int(i) for i in self.rng.permutation(rank)),))
        if kind == "expand":
            return REGISTRY[kind](x, arg=((2, *shape),)) if rank < 3 else None
        if kind == "slice":
            starts, sizes, steps = [], [], []
            for d in shape:
                start = int(self.rng.integers(0, d))
                step = int(self.rng.integers(1, 3))
                starts.append(start)
                sizes.append(int(self.rng.integers(1, (d - start - 1) // step + 2)))
                steps.append(step)
            return REGISTRY[kind](x, *starts, arg=(tuple(sizes), tuple(steps)))
        if kind == "as_strided":
            window = self.window(x)
            return window and REGISTRY[kind](x, window[0], arg=window[1:])
        return REGISTRY[kind](x)

    def window(self, x: Node) -> tuple[int, tuple[int, ...], tuple[int, ...]] | None:
        if x.type.numel < 4:
            return None
        offset = int(self.rng.integers(0, x.type.numel - 3))
        return offset, (2, 2), self.pick([(2, 1), (1, 2)])

    def update(self) -> Node | None:
        x = self.some()
        window = self.window(x)
        if window is None:
            return None
        value = self.some(lambda n: n.dtype is x.dtype and shapes_fit((2, 2), n.type.shape))
        if value is None or broadcast_shapes((2, 2), value.type.shape) != (2, 2):
            value = leaf_like(self.rng, (2, 2), x.dtype)
        kind = "strided_update" if x.dtype is dtypes.bool_ else self.pick(UPDATES)
        return REGISTRY[kind](x, value, window[0], arg=window[1:])

    def put(self) -> Node | None:
        x = self.some(lambda n: len(n.type.shape) == 2 and n.dtype.is_floating_point)
        if x is None:
            return None
        rows = leaf_of(self.rng.integers(-x.type.shape[0], x.type.shape[0], 2))
        value = self.some(lambda n: n.dtype is x.dtype and n.type.shape in ((), x.type.shape[1:]))
        if value is None:
            value = leaf_like(self.rng, (2, x.type.shape[1]), x.dtype)
        return REGISTRY["index_put"](x, value, rows, arg=((0,), bool(self.rng.random() < 0.5)))

    def constant(self) -> Node:
        dtype = self.pick(WEIGHTED)
        return REGISTRY["full"](self.number(dtype), arg=(self.pick(SHAPES), dtype))

    def copy(self) -> Node:
        return REGISTRY[self.pick(["copy", "stop"])](self.some())

    def product(self) -> Node | None:
        x = self.some(lambda n: len(n.type.shape) == 2 and n.dtype.is_floating_point)
        if x is None:
            return None
        inner = x.type.shape[1]
        w = self.some(
            lambda n: n.dtype is x.dtype and len(n.type.shape) == 2 and inner in n.type.shape
        )
        if w is None:
            w = leaf_like(self.rng, (inner, 3), x.dtype)
        if w.type.shape[0] != inner:
            w = REGISTRY["permute"](w, arg=((1, 0),))
        # Small integers: every order of additions and every kernel of the library gives one result.
        x, w = (self.small(v) for v in (x, w))
        y = REGISTRY["matmul"](x, w)
        if self.rng.random() < 0.5:
            y = REGISTRY["permute"](y, arg=((1, 0),))
        return REGISTRY["mul"](y, 0.125)

    def small(self, x: Node) -> Node:
        bounded = REGISTRY["clamp_max"](REGISTRY["clamp_min"](x, -3.0), 3.0)
        return REGISTRY["floor"](bounded)


UPDATES = ["strided_update", "strided_add"]
KINDS = (
    [Builder.unary] * 3
    + [Builder.binary] * 6
    + [Builder.compare, Builder.where, Builder.where, Builder.cast, Builder.cast]
    + [Builder.reduce, Builder.reduce, Builder.soften, Builder.ordered]
    + [Builder.view] * 3
    + [Builder.update, Builder.update, Builder.put, Builder.constant, Builder.copy, Builder.product]
)


def numel(shape: tuple[int, ...]) -> int:
    return int(np.prod(shape, dtype=np.int64))


def shapes_fit(a: tuple[int, ...], b: tuple[int, ...]) -> bool:
    """Whether two shapes broadcast to one of not too many elements."""
    try:
        return numel(broadcast_shapes(a, b)) <= 120
    except RuntimeError:
        return False


def fits(a: Node, b: Node) -> bool:
    return shapes_fit(a.type.shape, b.type.shape)


def build(rng: np.random.Generator, length: int) -> list[Node]:
    """A random program of `length` steps; returns the nodes that could be kept."""
    builder = Builder(rng)
    for _ in range(length):
        builder.step()
    return builder.made
