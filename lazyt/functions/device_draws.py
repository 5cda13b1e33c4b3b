"""Draws on devices whose generator counts: distributions as graphs over the bits of Philox.

    u = uniform(Stream(generator), TensorType.of((64, 48), float32, "cuda:0"))

is one node of bits and a few of arithmetic, which fuse into the kernel that uses `u`. Every
function takes a stream, whose generator it moves on by one draw, and the type of the result.
Element i, counted in the order of memory, has words of block i // 4 (float32) or i // 2 (float64)
of the draw. Wrong arguments raise in PyTorch's words before anything is drawn.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from lazyt.ir import dtypes
from lazyt.ir.dtypes import DType, float32, float64, int64
from lazyt.ir.node import Node
from lazyt.ir.ops_constant import full, number, positions
from lazyt.ir.ops_elementwise import (
    add,
    bitwise_and,
    bitwise_xor,
    cast,
    ceil,
    clamp_min,
    div,
    exp,
    ge,
    log,
    lt,
    mul,
    neg,
    shift_right,
    sin,
    sqrt,
    sub,
    tan,
    where,
)
from lazyt.ir.ops_order import sort
from lazyt.ir.ops_random import philox, unsigned_remainder
from lazyt.ir.ops_reduce import get
from lazyt.ir.ops_shape import permute
from lazyt.ir.types import TensorType
from lazyt.runtime.mersenne import check
from lazyt.runtime.philox import PhiloxGenerator
from lazyt.runtime.sampling_dtypes import C_TYPE, DIGITS, SCALAR_TYPE, floating

WORD = 1 << 32
WIDE_RANGE = 1 << 28  # from here on PyTorch takes 64 bits, so that remainders are nearly uniform
_INT64_MIN = -(1 << 63)


# --- bits -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Stream:
    """Where the bits of a draw come from.

    generator: which a draw moves on. order: the dimensions of the result as they lie in memory,
    from the outermost; None for their own order.
    """

    generator: PhiloxGenerator
    order: tuple[int, ...] | None = None

    def index(self, type: TensorType) -> Node:
        """The number of every element, in the order of memory."""
        if self.order is None:
            return positions(type.shape, type.device)
        lying = positions(tuple(type.shape[i] for i in self.order), type.device)
        return permute(lying, tuple(self.order.index(i) for i in range(len(self.order))))

    def words(self, index: Node, shift: int) -> Callable[[Node | int], Node]:
        """A draw in which 2^shift elements share a block: a function from words of it to their
        bits, int64 of [0, 2^32)."""
        device = index.type.device
        taken = [number(half, int64, device) for half in self.generator.take()]
        block = shift_right(index, shift)

        def word(which: Node | int) -> Node:
            if which.__class__ is int:
                which = full((), which, int64, device)
            return philox(block, which, *taken)

        return word


def _low(bits: Node, count: int) -> Node:
    """The lowest bits of an integer."""
    return bitwise_and(bits, (1 << count) - 1)


def _signed(word: Node) -> Node:
    """A word as a signed number of 32 bits."""
    return sub(_low(add(word, WORD // 2), 32), WORD // 2)


def _joined(high: Node, low: Node) -> Node:
    """Two words as one number: signed, if `high` is."""
    return add(mul(high, WORD), low)


def _bits32(stream: Stream, index: Node) -> Node:
    """A word of its own for every element."""
    return stream.words(index, 2)(_low(index, 2))


def _pair(stream: Stream, index: Node) -> tuple[Node, Node]:
    """Two words of its own for every element."""
    word = stream.words(index, 1)
    first = mul(_low(index, 1), 2)
    return word(first), word(add(first, 1))


def _bits64(stream: Stream, index: Node) -> Node:
    """64 bits for every element, as a signed number."""
    high, low = _pair(stream, index)
    return _joined(_signed(high), low)


def _fraction(high: Node, low: Node) -> Node:
    """53 bits of two words, an integer."""
    return _joined(_low(high, 21), low)


def _unit(stream: Stream, type: TensorType) -> Node:
    """Uniform numbers of [0, 1) that the dtype holds exactly."""
    index = stream.index(type)
    if type.dtype is float64:
        return mul(cast(_fraction(*_pair(stream, index)), float64), 2.0**-53)
    digits = DIGITS[type.dtype.name]
    bits = _low(_bits32(stream, index), digits)
    return cast(mul(cast(bits, float32), 2.0**-digits), type.dtype)


def _above_zero(stream: Stream, type: TensorType) -> Node:
    """Uniform numbers of (0, 1], in float32 or float64: what a logarithm may be taken of."""
    index = stream.index(type)
    if _compute(type.dtype) is float64:
        bits = add(_fraction(*_pair(stream, index)), 1)
        return mul(cast(bits, float64), 2.0**-53)
    return mul(cast(add(_bits32(stream, index), 1), float32), 2.0**-32)


def _compute(dtype: DType) -> DType:
    return float64 if dtype is float64 else float32


def _float_type(type: TensorType, kernel: str) -> None:
    floating(type.dtype, kernel)


# --- real numbers ---------------------------------------------------------------------------------


def uniform(stream: Stream, type: TensorType, low: float = 0.0, high: float = 1.0) -> Node:
    """Uniform numbers of [low, high)."""
    _float_type(type, "check_uniform_bounds")
    check(
        low <= high,
        f"uniform_ expects to return a [from, to) range, but found from={low:g} > to={high:g}",
    )
    unit = _unit(stream, type)
    if (low, high) == (0.0, 1.0):
        return unit
    wide = cast(unit, _compute(type.dtype))
    values = cast(add(mul(wide, float(high - low)), float(low)), type.dtype)
    # Rounding may have reached the excluded bound; PyTorch answers with the other one.
    return where(ge(values, float(high)), float(low), values)


def normal(stream: Stream, type: TensorType, mean: float = 0.0, std: float = 1.0) -> Node:
    """Normal numbers (G. E. P. Box and M. E. Muller, 1958): two neighbours share a radius, and are
    its cosine and its sine."""
    _float_type(type, "normal_kernel_cuda")
    check(std >= 0.0, f"normal expects std >= 0.0, but found std {std:g}")
    index = stream.index(type)
    odd = _low(index, 1)
    quarter = mul(sub(1, odd), WORD // 4)  # the cosine is the sine a quarter of a turn on
    dtype = _compute(type.dtype)
    if dtype is float64:
        word = stream.words(index, 1)
        unit = mul(cast(add(_fraction(word(0), word(1)), 1), float64), 2.0**-53)
        turn = _joined(_signed(add(word(2), quarter)), word(3))
        angle = mul(cast(turn, float64), math.pi * 2.0**-63)
    else:
        word = stream.words(index, 2)
        first = bitwise_and(index, 2)
        unit = mul(cast(add(word(first), 1), float32), 2.0**-32)
        turn = _signed(add(word(add(first, 1)), quarter))
        angle = mul(cast(turn, float32), math.pi * 2.0**-31)
    values = mul(sqrt(mul(log(unit), -2.0)), sin(angle))
    if (mean, std) != (0.0, 1.0):
        values = add(mul(values, float(std)), float(mean))
    return cast(values, type.dtype)


def log_normal(stream: Stream, type: TensorType, mean: float = 1.0, std: float = 2.0) -> Node:
    """exp of normal numbers."""
    _float_type(type, "log_normal_cuda")
    check(std > 0.0, f"log_normal_ expects std > 0.0, but found std={float(std):g}")
    wide = type.with_dtype(_compute(type.dtype))
    return cast(exp(normal(stream, wide, mean, std)), type.dtype)


def exponential(stream: Stream, type: TensorType, rate: float = 1.0) -> Node:
    """Exponential numbers, -log(u) / rate, which are above 0."""
    check(rate > 0.0, f"exponential_ expects lambda > 0.0, but found lambda={float(rate):g}")
    _continuous(type, "Exponential", SCALAR_TYPE)
    u = _above_zero(stream, type)
    # u = 1 would give 0; PyTorch gives half of the dtype's epsilon.
    least = 2.0 ** -DIGITS[_compute(type.dtype).name]
    return cast(div(clamp_min(neg(log(u)), least), float(rate)), type.dtype)


def cauchy(stream: Stream, type: TensorType, median: float = 0.0, sigma: float = 1.0) -> Node:
    """Cauchy numbers, median + sigma tan(pi (u - 1/2))."""
    check(sigma > 0.0, f"cauchy_ expects sigma > 0.0, but found sigma={float(sigma):g}")
    _continuous(type, "Cauchy", C_TYPE)
    u = _unit(stream, type.with_dtype(_compute(type.dtype)))
    values = tan(mul(sub(u, 0.5), math.pi))
    return cast(add(mul(values, float(sigma)), float(median)), type.dtype)


def _continuous(type: TensorType, name: str, called: dict[str, str]) -> None:
    check(
        type.dtype.is_floating_point,
        f"{name} distribution is a continuous probability distribution. dtype must be a "
        f"floating point but you specified {called[type.dtype.name]}",
    )


# --- whole numbers --------------------------------------------------------------------------------


def integers(stream: Stream, type: TensorType, low: int, high: int) -> Node:
    """Integers of [low, high), -2^63 <= low < high <= 2^63: low + r mod (high - low), where r has
    32 bits, or 64 from a range of 2^28 on."""
    check(
        low < high,
        f"random_ expects 'from' to be less than 'to', but got from={low} >= to={high}",
    )
    width, index = high - low, stream.index(type)
    if width < WIDE_RANGE:
        bits = _bits32(stream, index)
    else:
        bits = _bits64(stream, index)
    if width < 1 << 64:
        bits = unsigned_remainder(bits, width % WORD, width // WORD)
    if width > 1 << 63:
        # The sum passes 2^63 on its way, and back: with a flipped sign it does not.
        bits, low = bitwise_xor(bits, _INT64_MIN), low - _INT64_MIN
    # In two parts, for a number of 64 bits may not be exact in a loop.
    for part in (low - low % WORD, low % WORD):
        bits = add(bits, part) if part else bits
    return cast(bits, type.dtype)


def bernoulli(stream: Stream, type: TensorType, p: float | Node) -> Node:
    """Zeros and ones, one with probability `p`: a number, for which 32 bits decide, or a floating
    tensor of the same shape, whose uniforms decide in its own precision."""
    if isinstance(p, Node):
        floating(p.type.dtype, "bernoulli_tensor_cuda_p_")
        wide = type.with_dtype(p.type.dtype)
        return cast(lt(_unit(stream, wide), p), type.dtype)
    check(0 <= p <= 1, f"bernoulli_ expects p to be in [0, 1], but got p={p:g}")
    bits = _bits32(stream, stream.index(type))
    return cast(lt(bits, math.ceil(math.ldexp(p, 32))), type.dtype)


def geometric(stream: Stream, type: TensorType, p: float) -> Node:
    """Trials up to the first success, ceil(log(u) / log1p(-p))."""
    if type.dtype is dtypes.bool_:
        raise NotImplementedError("\"geometric_cuda\" not implemented for 'Bool'")
    check(0 < p < 1, f"geometric_ expects p to be in (0, 1), but got p={p:g}")
    wide = type.with_dtype(float64 if not type.dtype.is_floating_point else type.dtype)
    u = _above_zero(stream, wide)
    trials = ceil(div(log(u), math.log1p(-p)))
    return cast(clamp_min(trials, 1.0), type.dtype)


def permutation(stream: Stream, type: TensorType) -> Node:
    """A permutation of 0..n-1, where type.shape is (n,): the order of n random keys of 64 bits."""
    keys = _bits64(stream, stream.index(type))
    return cast(get(sort(keys, arg=(0, False)), 1), type.dtype)
