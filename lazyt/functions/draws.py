"""Drawing random numbers: `torch.rand`, `normal`, `multinomial` and so on, and `Tensor.uniform_`.

Numbers are drawn when a function is called, never later; results are leaves.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from lazyt.ir import dtypes
from lazyt.ir.dtypes import DType
from lazyt.ir.node import LOCAL, Node
from lazyt.ir.ops_elementwise import floor
from lazyt.ir.ops_shape import copy, replaced
from lazyt.ir.types import broadcast_shapes
from lazyt.runtime.generator import Generator as Engine

from ..device import resolve
from ..dispatch import SETTINGS, as_dtype, data_node, deliver, overwritten, tagged, update
from ..layout import memory_order
from ..random import Generator, drawn, engine_of
from ..registry import FUNCTIONS, public
from ..state import array_of, check_writable, node_of, shape_of
from ..tensor import Tensor, attach
from .creation import extents, finish, size_argument


def sampled(array: np.ndarray, dtype: DType, name: str, *sources: Node) -> Node:
    """A node over drawn values; the first source that needs a gradient receives zeros."""
    node = data_node(array, dtype)
    for source in sources:
        if source.grad and LOCAL.grad and source.type.shape == node.type.shape:
            made = tagged(copy(replaced(floor(source), node)), name, *sources, saves=False)
            made.tag.name = name
            return made
    return node


def _number(value: Any) -> Any:
    return value.item() if isinstance(value, Tensor) else value


# --- new tensors ----------------------------------------------------------------------------------


def _made(
    draw: Callable[[Engine, tuple, DType], np.ndarray],
    name: str,
    size: tuple,
    options: dict[str, Any],
    default: DType | None = None,
) -> Tensor:
    """A new tensor of draws, with the options that all constructors take."""
    generator = options.pop("generator", None)
    out = options.pop("out", None)
    like = [options.pop("like")] if "like" in options else []
    dtype = options.pop("dtype", None)
    requires_grad = options.pop("requires_grad", False)
    resolve(options.pop("device", None))
    if "size" in options:
        size = (options.pop("size"),)
    for ignored in ("layout", "pin_memory", "names"):
        options.pop(ignored, None)
    if options or (not size and name.startswith("rand")):
        given = [type(x).__name__ for x in size]
        given += [f"{k}={type(x).__name__}" for k, x in options.items()]
        raise TypeError(
            f"{name}() received an invalid combination of arguments - got ({', '.join(given)}), "
            "but expected one of:\n * (tuple of ints size, *, torch.Generator generator, ...)"
        )
    dtype = as_dtype(dtype, name)
    engine = engine_of(generator)
    shape = extents(name, *size)
    if dtype is None:
        dtype = out.dtype if out is not None else default or SETTINGS.default_dtype
    node = data_node(draw(engine, shape, dtype), dtype)
    return finish(node, requires_grad, *like) if out is None else deliver(node, out)


def rand(*size: Any, **options: Any) -> Tensor:
    """Uniform numbers of [0, 1) in a tensor of the given shape."""
    return _made(lambda e, shape, dtype: e.rand(shape, dtype), "rand", size, options)


def randn(*size: Any, **options: Any) -> Tensor:
    """Standard normal numbers in a tensor of the given shape."""
    return _made(lambda e, shape, dtype: e.randn(shape, dtype), "randn", size, options)


def _bounds(name: str, args: tuple, options: dict) -> tuple[int, int, tuple]:
    """low, high and what is left of `randint`'s arguments (a size, or nothing)."""
    rest = list(args)
    if "low" in options:
        rest.insert(0, options.pop("low"))
        rest.insert(1, options.pop("high") if "high" in options else rest.pop(1))
    elif "high" in options:
        rest.insert(min(len(rest), 1), options.pop("high"))
    numbers: list[Any] = []
    most = 1 if len(rest) == 2 and name == "randint" and "size" not in options else 2
    while rest and len(numbers) < most and not isinstance(rest[0], (tuple, list)):
        numbers.append(_number(rest.pop(0)))
    if len(numbers) == 1 and isinstance(numbers[0], float):
        raise TypeError(f"{name}(): argument 'high' (position 1) must be int, not float")
    if not numbers or not all(hasattr(n, "__index__") for n in numbers):
        got = ", ".join(type(a).__name__ for a in args)
        raise TypeError(
            f"{name}() received an invalid combination of arguments - got ({got}), but expected "
            "one of:\n * (int high, tuple of ints size)\n * (int low, int high, tuple of ints size)"
        )
    low, high = (0, numbers[0]) if len(numbers) == 1 else numbers
    return int(low), int(high), tuple(rest)


def randint(*args: Any, **options: Any) -> Tensor:
    """Integers of [low, high): randint(high, size) or randint(low, high, size).

    int64 by default.
    """
    low, high, size = _bounds("randint", args, options)
    if not size and "size" not in options:
        kinds = ", ".join(type(a).__name__ for a in args)
        raise TypeError(
            f"randint() received an invalid combination of arguments - got ({kinds}), but expected "
            "one of:\n * (int high, tuple of ints size)\n * (int low, int high, tuple of ints size)"
        )
    size = size or (options.pop("size"),)
    size = (size_argument("randint", size[0], 2),)
    draw = lambda e, shape, dtype: e.randint(low, high, shape, dtype)
    return _made(draw, "randint", size, options, dtypes.int64)


def randperm(n: int, **options: Any) -> Tensor:
    """A permutation of 0..n-1; int64 by default."""
    number = _number(n)
    if isinstance(number, bool) or not hasattr(number, "__index__"):
        raise TypeError(
            f"randperm(): argument 'n' (position 1) must be int, not {type(n).__name__}"
        )
    number = number.__index__()
    draw = lambda e, shape, dtype: e.randperm(number, dtype)
    return _made(draw, "randperm", (max(number, 0),), options, dtypes.int64)


def _like(
    draw: Callable[[Engine, tuple, DType], np.ndarray],
    name: str,
    input: Tensor,
    options: dict[str, Any],
) -> Tensor:
    if not isinstance(input, Tensor):
        raise TypeError(
            f"{name}(): argument 'input' (position 1) must be Tensor, not {type(input).__name__}"
        )
    if options.pop("memory_format", None) != "torch.contiguous_format":
        options["like"] = input
    order, shape = memory_order(input) if "like" in options else None, shape_of(input)
    in_order = lambda e, _, dtype: drawn(lambda s: draw(e, s, dtype), shape, order)
    return _made(in_order, name, (shape,), options, input.dtype)


def rand_like(input: Tensor, **options: Any) -> Tensor:
    """`rand` in the shape and dtype of another tensor."""
    return _like(lambda e, shape, dtype: e.rand(shape, dtype), "rand_like", input, options)


def randn_like(input: Tensor, **options: Any) -> Tensor:
    """`randn` in the shape and dtype of another tensor."""
    whole = memory_order(input) is None
    draw = lambda e, shape, dtype: e.normal(shape, dtype, contiguous=whole)
    return _like(draw, "randn_like", input, options)


def randint_like(input: Tensor, *args: Any, **options: Any) -> Tensor:
    """`randint` in the shape and dtype of another tensor."""
    low, high, _ = _bounds("randint_like", args, options)
    draw = lambda e, shape, dtype: e.randint(low, high, shape, dtype)
    return _like(draw, "randint_like", input, options)


def normal(
    mean: Any = 0.0,
    std: Any = 1.0,
    size: Any = None,
    *,
    generator: Generator | None = None,
    out: Tensor | None = None,
    **options: Any,
) -> Tensor:
    """Normal numbers of the given mean and deviation: numbers (then with a size), or tensors."""
    tensors = [x for x in (mean, std) if isinstance(x, Tensor)]
    if size is not None or not tensors:
        if size is None:
            raise TypeError(
                "normal() received an invalid combination of arguments - got (float, float), but "
                "expected a size with two numbers"
            )
        mean, std = float(_number(mean)), float(_number(std))
        draw = lambda e, shape, dtype: e.normal(shape, dtype, mean, std)
        return _made(draw, "normal", (size,), {**options, "generator": generator, "out": out})
    nodes = [node_of(t) for t in tensors]
    dtype = nodes[0].type.dtype if out is None else out.dtype
    if len(nodes) == 2:
        broadcast_shapes(nodes[0].type.shape, nodes[1].type.shape)
    a, b = (array_of(x) if isinstance(x, Tensor) else float(x) for x in (mean, std))
    array = engine_of(generator).normal_like(a, b, dtype)
    kind = 3 if len(nodes) == 2 else 1 if isinstance(mean, Tensor) else 2
    name = f"NormalBackward{kind}"
    return deliver(sampled(np.require(array, requirements="C"), dtype, name, *nodes), out)


def bernoulli(
    input: Tensor, p: float | None = None, *, generator: Generator | None = None, out: Any = None
) -> Tensor:
    """Zeros and ones, one with the probability that `input` holds, or with `p`."""
    node = node_of(input)
    shape, dtype = node.type.shape, node.type.dtype
    engine = engine_of(generator)
    if p is not None:
        array = engine.bernoulli(p, shape, dtype)
    else:
        array = _bernoulli_each(engine, array_of(input), shape, None, dtype)
    return deliver(sampled(array, dtype, "BernoulliBackward0", node), out)


def _bernoulli_each(
    engine: Engine, p: np.ndarray, shape: tuple, order: tuple | None, dtype: DType
) -> np.ndarray:
    """A draw of every element's own probability, in memory order."""
    p = np.broadcast_to(p, shape)
    if order is not None:
        p = p.transpose(order)
    p = np.ascontiguousarray(p)
    return drawn(lambda s: engine.bernoulli(p.reshape(s), s, dtype), shape, order)


def multinomial(
    input: Tensor,
    num_samples: int,
    replacement: bool = False,
    *,
    generator: Generator | None = None,
    out: Tensor | None = None,
) -> Tensor:
    """Indices drawn with probabilities proportional to the rows of `input` (1-D or 2-D)."""
    array = engine_of(generator).multinomial(
        np.require(array_of(input), requirements="C"), num_samples, replacement, input.dtype
    )
    return deliver(data_node(np.ascontiguousarray(array), dtypes.int64), out)


# --- in-place draws -------------------------------------------------------------------------------


def fill(self: Tensor, name: str, draw: Callable[[tuple], np.ndarray]) -> Tensor:
    """Writes draws into a tensor, in the order of its memory."""
    check_writable(self)
    array = drawn(draw, shape_of(self), memory_order(self))
    return update(self, overwritten(self, data_node(array, self.dtype), name))


def uniform_(
    self: Tensor, from_: float = 0.0, to: float = 1.0, *, generator: Any = None, **more: Any
) -> Tensor:
    """Uniform numbers of [from, to)."""
    low = float(_number(more.pop("from", from_)))
    high, e = float(_number(to)), engine_of(generator)
    return fill(self, "UniformBackward0", lambda s: e.uniform(s, self.dtype, low, high))


def normal_(self: Tensor, mean: float = 0.0, std: float = 1.0, *, generator: Any = None) -> Tensor:
    """Normal numbers."""
    mean, std, e = float(_number(mean)), float(_number(std)), engine_of(generator)
    return fill(
        self,
        "NormalBackward0",
        lambda s: e.normal(s, self.dtype, mean, std, self.is_contiguous()),
    )


def random_(self: Tensor, *bounds: Any, generator: Any = None, **more: Any) -> Tensor:
    """Integers: of [from, to), of [0, to) for one number, else of all non-negative values.

    from: positional, or by its name (which is a keyword of Python). to: None for no upper end.
    """
    names = ("to",) if len(bounds) == 1 and "to" not in more else ("from", "to")
    given = {**dict(zip(names, bounds)), **more}
    if len(bounds) > 2 or not given.keys() <= {"from", "to"}:
        raise TypeError("random_() received an invalid combination of arguments")
    low, high = _number(given.get("from", 0)), _number(given.get("to"))
    if not given or given == {"to": None}:
        low = None
    kind, e = 2 - len(given), engine_of(generator)
    return fill(self, f"RandomBackward{kind}", lambda s: e.random(s, self.dtype, low, high))


def bernoulli_(self: Tensor, p: Any = 0.5, *, generator: Any = None) -> Tensor:
    """Zeros and ones, one with probability `p` (a number, or a tensor that broadcasts)."""
    e = engine_of(generator)
    if not isinstance(p, Tensor):
        return fill(self, "BernoulliBackward2", lambda s: e.bernoulli(float(p), s, self.dtype))
    check_writable(self)
    shape = shape_of(self)
    array = _bernoulli_each(e, array_of(p), shape, memory_order(self), self.dtype)
    return update(self, overwritten(self, data_node(array, self.dtype), "BernoulliBackward1"))


def exponential_(self: Tensor, lambd: float = 1.0, *, generator: Any = None) -> Tensor:
    """Exponential numbers of rate `lambd`."""
    e = engine_of(generator)
    return fill(self, "ExponentialBackward0", lambda s: e.exponential(s, self.dtype, float(lambd)))


def geometric_(self: Tensor, p: float, *, generator: Any = None) -> Tensor:
    """Numbers of trials up to the first success, of probability `p`."""
    e = engine_of(generator)
    return fill(self, "GeometricBackward0", lambda s: e.geometric(s, p, self.dtype))


def log_normal_(
    self: Tensor, mean: float = 1.0, std: float = 2.0, *, generator: Any = None
) -> Tensor:
    """exp of normal numbers."""
    e = engine_of(generator)
    return fill(
        self, "LogNormalBackward0", lambda s: e.log_normal(s, self.dtype, float(mean), float(std))
    )


def cauchy_(
    self: Tensor, median: float = 0.0, sigma: float = 1.0, *, generator: Any = None
) -> Tensor:
    """Cauchy numbers."""
    e = engine_of(generator)
    return fill(
        self, "CauchyBackward0", lambda s: e.cauchy(s, self.dtype, float(median), float(sigma))
    )


FUNCTIONS |= {
    f.__name__: f
    for f in (
        rand, randn, randint, randperm, rand_like, randn_like, randint_like, normal, multinomial,
    )
}  # fmt: skip

for _method in (
    uniform_, normal_, random_, bernoulli_, exponential_, geometric_, log_normal_, cauchy_,
):  # fmt: skip
    setattr(Tensor, _method.__name__, _method)
attach(multinomial=multinomial)
public(bernoulli, "bernoulli")
