"""Drawing random numbers: `torch.rand`, `normal`, `multinomial` and so on, and `Tensor.uniform_`.

Numbers are drawn when a function is called, never later; results are leaves. On a device they are
operations that compute the numbers of a place in the stream, which is taken when they are traced.
"""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np

from lazyt.ir import dtypes
from lazyt.ir.dtypes import DType
from lazyt.ir.node import LOCAL, Node
from lazyt.ir.ops_complex import of_parts
from lazyt.ir.ops_device import common_device, transfer
from lazyt.ir.ops_elementwise import cast, mul
from lazyt.ir.ops_shape import expand, narrow, reshape, stop
from lazyt.ir.types import TensorType, broadcast_shapes
from lazyt.runtime.philox import PhiloxGenerator

from ..device import resolve_like, resolve_out
from ..dispatch import (
    SETTINGS,
    as_dtype,
    c_name,
    data_node,
    deliver,
    leading_to,
    overwritten,
    unsupported,
    update,
)
from ..layout import memory_order
from ..random import Generator, drawn, engine_of
from ..registry import FUNCTIONS, public
from ..state import array_of, check_writable, node_of, shape_of
from ..tensor import Tensor, attach
from .arithmetic import compute_add, compute_mul
from .creation import extents, finish, made_into, size_argument
from .device_draws import Stream
from .device_engine import draw


def draw_on(
    device: str,
    generator: Generator | None,
    distribution: str,
    dtype: DType,
    order: tuple[int, ...] | None = None,
    result: DType | None = None,
    **parameters: Any,
) -> Node:
    """A node of random numbers on a device, of that device's stream: all draws are made here.

    distribution: the method of the engine that draws it, with its arguments as `parameters`: `size`
    is the result's shape, and tensors among them stand for their values. order: the dimensions of
    the result as they lie in memory, which is filled in that order. dtype: what is drawn in.
    result: the dtype of the result, where that is another.
    """
    if LOCAL.levels:
        where = (device, generator, distribution, dtype, order, result)
        return LOCAL.levels[-1].draw(draw_on, where, parameters)
    engine = engine_of(generator, device)
    size = parameters.pop("size", None)
    if isinstance(engine, PhiloxGenerator):
        for name, value in parameters.items():
            if isinstance(value, Tensor):
                parameters[name] = _on(device, value, size)
        type = TensorType.of(size or (), dtype, device)
        return draw(Stream(engine, order), distribution, type, **parameters)
    method = getattr(engine, distribution)
    for name, value in parameters.items():
        if isinstance(value, Tensor):
            parameters[name] = _values(value, size, order)
    if size is None:
        array = method(dtype=dtype, **parameters)
    else:
        array = drawn(lambda s: method(size=s, dtype=dtype, **parameters), size, order)
    return data_node(np.require(array, requirements="C"), result or dtype)


def _on(device: str, t: Tensor, size: tuple[int, ...] | None) -> Node:
    """A tensor's value on a device, without its history; one value for each draw."""
    node = transfer(stop(node_of(t)), device)
    return node if size is None else expand(node, size)


def _values(t: Tensor, size: tuple[int, ...] | None, order: tuple[int, ...] | None) -> np.ndarray:
    """What a tensor holds, row-major; one value for each draw, in the order of the draws."""
    array = array_of(t)
    if size is not None:
        array = np.broadcast_to(array, size)
    return np.require(array if order is None else array.transpose(order), requirements="C")


def _number(value: Any) -> Any:
    return value.item() if isinstance(value, Tensor) else value


def _complex_draws(
    device: str,
    generator: Generator | None,
    distribution: str,
    dtype: DType,
    order: tuple[int, ...] | None,
    **parameters: Any,
) -> Node:
    """Complex numbers whose parts are drawn one after the other: uniform ones, or normal ones of
    half the variance each. NotImplementedError for other distributions."""
    if distribution not in ("rand", "randn") or order is not None:
        raise NotImplementedError(f"{distribution} is not implemented for complex tensors")
    shape = parameters["size"]
    drawn_parts = draw_on(device, generator, distribution, dtype.to_real(), None, size=(*shape, 2))
    if distribution == "randn":
        drawn_parts = mul(drawn_parts, math.sqrt(0.5))
    first, second = (reshape(narrow(drawn_parts, len(shape), i, 1), shape) for i in (0, 1))
    return of_parts(first, second)


def _order_of(out: Tensor | None, size: tuple[int, ...]) -> tuple[int, ...] | None:
    """In which order an `out` is filled, that is not resized."""
    return memory_order(out) if out is not None and shape_of(out) == size else None


# --- new tensors ----------------------------------------------------------------------------------


def _made(
    name: str,
    options: dict[str, Any],
    default: DType | None,
    distribution: str,
    order: tuple[int, ...] | None = None,
    **parameters: Any,
) -> Tensor:
    """A new tensor of draws, with the options that all constructors take.

    parameters: those of `draw_on`, `size` among them as the user gave it.
    """
    generator = options.pop("generator", None)
    out = options.pop("out", None)
    like = [options.pop("like")] if "like" in options else []
    dtype = options.pop("dtype", None)
    requires_grad = options.pop("requires_grad", False)
    device = resolve_out(options.pop("device", None), out, name)
    size = parameters.get("size")
    if "size" in options:
        size = (options.pop("size"),)
    for ignored in ("layout", "pin_memory", "names"):
        options.pop(ignored, None)
    if options or (size == () and name.startswith("rand")):
        given = [type(x).__name__ for x in size or ()]
        given += [f"{k}={type(x).__name__}" for k, x in options.items()]
        raise TypeError(
            f"{name}() received an invalid combination of arguments - got ({', '.join(given)}), "
            "but expected one of:\n * (tuple of ints size, *, torch.Generator generator, ...)"
        )
    dtype = as_dtype(dtype, name)
    if size is not None:
        parameters["size"] = extents(name, *size)
        order = order or _order_of(out, parameters["size"])
        if order is not None and distribution in ("randn", "normal"):
            distribution, parameters["contiguous"] = "normal", False
    if dtype is None:
        dtype = out.dtype if out is not None else default or SETTINGS.default_dtype
    if dtype.is_complex:
        node = _complex_draws(device, generator, distribution, dtype, order, **parameters)
    else:
        node = draw_on(device, generator, distribution, dtype, order, **parameters)
    return (
        finish(node, requires_grad, *like) if out is None else made_into(out, node, requires_grad)
    )


def rand(*size: Any, **options: Any) -> Tensor:
    """Uniform numbers of [0, 1) in a tensor of the given shape."""
    return _made("rand", options, None, "rand", size=size)


def randn(*size: Any, **options: Any) -> Tensor:
    """Standard normal numbers in a tensor of the given shape."""
    return _made("randn", options, None, "randn", size=size)


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
    return _made("randint", options, dtypes.int64, "randint", size=size, low=low, high=high)


def randperm(n: int, **options: Any) -> Tensor:
    """A permutation of 0..n-1; int64 by default."""
    number = _number(n)
    if isinstance(number, bool) or not hasattr(number, "__index__"):
        raise TypeError(
            f"randperm(): argument 'n' (position 1) must be int, not {type(n).__name__}"
        )
    number = number.__index__()
    return _made("randperm", options, dtypes.int64, "randperm", n=number)


def _like(
    name: str, input: Tensor, options: dict[str, Any], distribution: str, **parameters: Any
) -> Tensor:
    if not isinstance(input, Tensor):
        raise TypeError(
            f"{name}(): argument 'input' (position 1) must be Tensor, not {type(input).__name__}"
        )
    options["device"] = resolve_like(options.get("device"), input, name)
    order = None
    if options.pop("memory_format", None) != "torch.contiguous_format":
        options["like"], order = input, memory_order(input)
    size = (shape_of(input),)
    return _made(name, options, input.dtype, distribution, order, size=size, **parameters)


def rand_like(input: Tensor, **options: Any) -> Tensor:
    """`rand` in the shape and dtype of another tensor, on its device."""
    return _like("rand_like", input, options, "rand")


def randn_like(input: Tensor, **options: Any) -> Tensor:
    """`randn` in the shape and dtype of another tensor, on its device."""
    return _like("randn_like", input, options, "normal", contiguous=memory_order(input) is None)


def randint_like(input: Tensor, *args: Any, **options: Any) -> Tensor:
    """`randint` in the shape and dtype of another tensor, on its device."""
    low, high, _ = _bounds("randint_like", args, options)
    return _like("randint_like", input, options, "randint", low=low, high=high)


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
        options |= {"generator": generator, "out": out}
        if out is None and options.get("device") is None:
            options["device"] = "cpu"  # the default device is not for this one, as in PyTorch
        return _made("normal", options, None, "normal", size=(size,), mean=mean, std=std)
    nodes = [node_of(t) for t in tensors]
    dtype = nodes[0].type.dtype if out is None else out.dtype
    if len(nodes) == 2:
        broadcast_shapes(nodes[0].type.shape, nodes[1].type.shape)
    mean, std = (x if isinstance(x, Tensor) else float(x) for x in (mean, std))
    device = common_device(*nodes)
    shape = functools.reduce(broadcast_shapes, (n.type.shape for n in nodes))
    order = _order_of(out, shape)
    if order is None:
        node = draw_on(device, generator, "normal_like", dtype, mean=mean, std=std)
    else:
        plain: dict[str, Any] = {"mean": 0.0, "std": 1.0, "contiguous": False}
        node = draw_on(device, generator, "normal", dtype, order, size=shape, **plain)
        scale, middle = (node_of(x) if isinstance(x, Tensor) else x for x in (std, mean))
        node = compute_add(compute_mul(node, scale), middle)
    kind = 3 if len(nodes) == 2 else 1 if isinstance(mean, Tensor) else 2
    return deliver(leading_to(node, f"NormalBackward{kind}", *nodes), out)


def bernoulli(
    input: Tensor, p: float | None = None, *, generator: Generator | None = None, out: Any = None
) -> Tensor:
    """Zeros and ones, one with the probability that `input` holds, or with `p`."""
    source = node_of(input)
    shape, dtype = source.type.shape, source.type.dtype
    chance = input if p is None else p
    order = _order_of(out, shape)
    node = draw_on(source.type.device, generator, "bernoulli", dtype, order, size=shape, p=chance)
    if out is not None:
        node = cast(node, out.dtype)
    return deliver(leading_to(node, "BernoulliBackward0", source), out)


def multinomial(
    input: Tensor,
    num_samples: int,
    replacement: bool = False,
    *,
    generator: Generator | None = None,
    out: Tensor | None = None,
) -> Tensor:
    """Indices drawn with probabilities proportional to the rows of `input` (1-D or 2-D)."""
    type = node_of(input).type
    wanted: dict[str, Any] = {"p": input, "n": num_samples, "replacement": replacement}
    where = (type.device, generator, "multinomial", type.dtype, None, dtypes.int64)
    text = "multinomial expects Long tensor out, got: {have}"
    return deliver(draw_on(*where, **wanted), out, exact=text)


# --- in-place draws -------------------------------------------------------------------------------


def fill(
    self: Tensor, name: str, generator: Generator | None, distribution: str, **parameters: Any
) -> Tensor:
    """Writes draws into a tensor, in the order of its memory; `parameters` of `draw_on`."""
    check_writable(self)
    type = self._storage.node.type
    where = (type.device, generator, distribution, type.dtype, memory_order(self))
    node = draw_on(*where, size=shape_of(self), **parameters)
    return update(self, overwritten(self, node, name))


def uniform_(
    self: Tensor, from_: float = 0.0, to: float = 1.0, *, generator: Any = None, **more: Any
) -> Tensor:
    """Uniform numbers of [from, to)."""
    low, high = float(_number(more.pop("from", from_))), float(_number(to))
    return fill(self, "UniformBackward0", generator, "uniform", low=low, high=high)


def normal_(self: Tensor, mean: float = 0.0, std: float = 1.0, *, generator: Any = None) -> Tensor:
    """Normal numbers."""
    mean, std, whole = float(_number(mean)), float(_number(std)), self.is_contiguous()
    return fill(self, "NormalBackward0", generator, "normal", mean=mean, std=std, contiguous=whole)


def random_(self: Tensor, *bounds: Any, generator: Any = None, **more: Any) -> Tensor:
    """Integers: of [from, to), of [0, to) for one number, else of all non-negative values.

    from: positional, or by its name (which is a keyword of Python). to: None for no upper end.
    """
    if self.dtype.is_complex:
        raise unsupported("random_kernel_cpu", self.dtype)
    names = ("to",) if len(bounds) == 1 and "to" not in more else ("from", "to")
    given = {**dict(zip(names, bounds)), **more}
    if len(bounds) > 2 or not given.keys() <= {"from", "to"}:
        raise TypeError("random_() received an invalid combination of arguments")
    low, high = _number(given.get("from", 0)), _number(given.get("to"))
    if not given or given == {"to": None}:
        low = None
    name = f"RandomBackward{2 - len(given)}"
    return fill(self, name, generator, "random", low=low, high=high)


def bernoulli_(self: Tensor, p: Any = 0.5, *, generator: Any = None) -> Tensor:
    """Zeros and ones, one with probability `p` (a number, or a tensor that broadcasts)."""
    each = isinstance(p, Tensor)
    name = "BernoulliBackward1" if each else "BernoulliBackward2"
    return fill(self, name, generator, "bernoulli", p=p if each else float(p))


def exponential_(self: Tensor, lambd: float = 1.0, *, generator: Any = None) -> Tensor:
    """Exponential numbers of rate `lambd`."""
    return fill(self, "ExponentialBackward0", generator, "exponential", rate=float(lambd))


def geometric_(self: Tensor, p: float, *, generator: Any = None) -> Tensor:
    """Numbers of trials up to the first success, of probability `p`."""
    if self.dtype.is_complex:
        raise unsupported("geometric_cpu", self.dtype)
    return fill(self, "GeometricBackward0", generator, "geometric", p=p)


def log_normal_(
    self: Tensor, mean: float = 1.0, std: float = 2.0, *, generator: Any = None
) -> Tensor:
    """exp of normal numbers."""
    mean, std = float(mean), float(std)
    return fill(self, "LogNormalBackward0", generator, "log_normal", mean=mean, std=std)


def cauchy_(
    self: Tensor, median: float = 0.0, sigma: float = 1.0, *, generator: Any = None
) -> Tensor:
    """Cauchy numbers."""
    if self.dtype.is_complex:
        raise RuntimeError(
            "Cauchy distribution is a continuous probability distribution. dtype must be a "
            f"floating point but you specified {c_name(self.dtype)}"
        )
    median, sigma = float(median), float(sigma)
    return fill(self, "CauchyBackward0", generator, "cauchy", median=median, sigma=sigma)


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
