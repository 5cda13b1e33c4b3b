"""The continuous distributions of the random number engine.

Formulas and roundings are those of PyTorch 2.13 on x86-64, where kernels use fused multiply-adds:

    uniform of [2, 5)   k 2^-24 times 3, plus 2, rounded once
    normal, n < 16      pairs of float64 uniforms u1, u2: sqrt(-2 log1p(-u2)) cos and sin of 2 pi u1
    normal, n >= 16     blocks of 16 uniforms, of which eight give the radii and eight the angles

`sampling_math.py` says how the roundings are made.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from lazyt.ir.dtypes import DType
from lazyt.runtime import sampling_math as sm
from lazyt.runtime.mersenne import CHUNK, Mersenne, check
from lazyt.runtime.sampling_dtypes import (
    C_TYPE,
    LARGEST,
    SCALAR_TYPE,
    Array,
    DTypeLike,
    Size,
    cast,
    floating,
    number_of,
    resolve,
)


class Continuous(Mersenne):
    """The stream with draws of real numbers."""

    def rand(self, size: Size, dtype: DTypeLike = "float32") -> Array:
        """Uniform numbers of [0, 1)."""
        return self.uniform(size, dtype)

    def uniform(
        self, size: Size, dtype: DTypeLike = "float32", low: float = 0.0, high: float = 1.0
    ) -> Array:
        """Uniform numbers of [low, high); half types are drawn as float32 and rounded."""
        kind = floating(dtype, "check_uniform_bounds")
        low, high, largest = float(low), float(high), LARGEST[kind.name]
        for name, bound in (("from", low), ("to", high)):
            inside = -largest <= bound <= largest
            check(inside, f"{name} is out of bounds for {C_TYPE[kind.name]}")
        check(
            low <= high,
            f"uniform_ expects to return a [from, to) range, but found from={low:g} > to={high:g}",
        )
        check(
            high - low <= largest,
            f"uniform_ expects to-from <= std::numeric_limits<{SCALAR_TYPE[kind.name]}>::max(), "
            f"but found to={high:g} and from={low:g} which result in to-from to exceed the limit",
        )
        count = number_of(size)
        if kind.name == "float64":
            values: Array = self._uniform64(count)
            if (low, high) != (0.0, 1.0):
                values = sm.scale_float64(values, low, high - low)
        else:
            values = self._uniform32(count, low, high)
        values = cast(values, kind)
        # Rounding may have reached the excluded bound; PyTorch answers with the other one.
        if kind.is_half or (low, high) != (0.0, 1.0):
            bounds = cast(np.array([low, high]), kind)
            values[values == bounds[1]] = bounds[0]
        return values.reshape(size)

    def _uniform32(self, count: int, low: float = 0.0, high: float = 1.0) -> NDArray[np.float32]:
        """`count` values of k 2^-24 (high - low) + low in float32, fused."""
        values = np.empty(count, np.float32)
        start_at = np.float32(low)
        width = np.float64(np.float32(high) - start_at) * 2.0**-24
        with self._lock:
            for start in range(0, count, CHUNK):
                part = values[start : start + CHUNK]
                draws = self._uniform24(len(part))
                if low == 0.0 and high == 1.0:
                    part[...] = draws
                    part *= np.float32(2.0**-24)
                else:
                    part[...] = draws * width + np.float64(start_at)
        return values

    def randn(self, size: Size, dtype: DTypeLike = "float32") -> Array:
        """Standard normal numbers."""
        return self.normal(size, dtype)

    def normal(
        self,
        size: Size,
        dtype: DTypeLike = "float32",
        mean: float = 0.0,
        std: float = 1.0,
        contiguous: bool = True,
    ) -> Array:
        """Normal numbers by Box and Muller.

        Args:
            size: number or shape of the values.
            dtype: a floating-point type.
            mean: mean.
            std: standard deviation, not negative.
            contiguous: False where the numbers fill a tensor that is not contiguous: PyTorch then
                draws them in pairs of float64 however many they are, not in blocks of 16.
        """
        kind = floating(dtype, "normal_kernel_cpu")
        mean, std = float(mean), float(std)
        check(std >= 0.0, f"normal expects std >= 0.0, but found std {std:g}")
        count = number_of(size)
        with self._lock:
            if count >= 16 and contiguous:
                values = self._normal_blocks(count, kind, mean, std)
            else:
                exact = kind.name == "float64"
                values = self._normal_pairs(count, mean, std, exact)
        return cast(values, kind).reshape(size)

    def _normal_blocks(self, count: int, kind: DType, mean: float, std: float) -> Array:
        """Sixteen or more normals in blocks of 16; the last 16 are drawn again if some are left."""
        whole = count - count % 16
        # float32 and float64 fill the whole array with uniforms first, half types only the blocks.
        drawn = whole if kind.is_half else count
        extra = 16 if count % 16 else 0
        uniforms = self.uniform(drawn + extra, "float64" if kind.name == "float64" else "float32")
        transform = sm.box_muller_float64 if kind.name == "float64" else sm.box_muller_float32
        values = np.empty(count, uniforms.dtype)
        values[:whole] = uniforms[:whole]
        transform(values[:whole], mean, std)
        if extra:
            values[-16:] = uniforms[drawn:]
            transform(values[-16:], mean, std)
        return values

    def _normal_pairs(
        self, count: int, mean: float, std: float, exact: bool
    ) -> NDArray[np.float64]:
        """Normals two at a time from two float64 uniforms, the odd one kept for the next call.

        `exact` takes the C library's functions, which matters where float64 is the result's type.
        """
        values = np.empty(count, np.float64)
        start = 0
        if count and self._normal is not None:
            values[0], self._normal, start = self._normal, None, 1
        pairs = (count - start + 1) // 2
        if pairs:
            uniforms = self._uniform64(2 * pairs)
            angle, u2 = sm.TWO_PI * uniforms[0::2], uniforms[1::2]
            if exact or count < 16:
                radius = np.sqrt(-2.0 * sm.libm(math.log1p, -u2))
                first, second = sm.libm(math.cos, angle), sm.libm(math.sin, angle)
            else:
                radius = np.sqrt(-2.0 * np.log1p(-u2))
                first, second = np.cos(angle), np.sin(angle)
            first *= radius
            second *= radius
            values[start::2] = first
            kept = (count - start) // 2
            values[start + 1 :: 2] = second[:kept]
            if kept < pairs:
                # Exact in any case: the next draw may be float64, or the state go to PyTorch.
                last = math.sqrt(-2.0 * math.log1p(-u2[-1]))
                self._normal = last * math.sin(angle[-1])
        return sm.scale_float64(values, mean, std)

    def normal_like(
        self, mean: Array | float, std: Array | float, dtype: DTypeLike | None = None
    ) -> Array:
        """Normals of an own mean or deviation each (`torch.normal` of one or two tensors).

        Args:
            mean: array or number, broadcast against `std`.
            std: array or number, not negative.
            dtype: of the result; by default that of `mean` if it is an array, else of `std`.
        """
        if dtype is None:
            dtype = mean.dtype if isinstance(mean, np.ndarray) else np.asarray(std).dtype
        kind = floating(dtype, "normal_kernel_cpu")
        if isinstance(std, np.ndarray):
            check(not std.size or std.min() >= 0, "normal expects all elements of std >= 0.0")
            values = self.normal(np.broadcast_shapes(np.shape(mean), std.shape), kind)
            values = cast(values * std, kind)
        else:
            values = self.normal(np.shape(mean), kind, 0.0, std)
        shift = mean if isinstance(mean, np.ndarray) else cast(np.array(float(mean)), kind)
        return cast(values + shift, kind)

    def log_normal(
        self, size: Size, dtype: DTypeLike = "float32", mean: float = 1.0, std: float = 2.0
    ) -> Array:
        """exp of normal numbers, which are drawn in pairs however many they are."""
        kind = floating(dtype, "log_normal_cpu")
        check(std > 0.0, f"log_normal_ expects std > 0.0, but found std={float(std):g}")
        exact = kind.name == "float64"
        with self._lock:
            values = self._normal_pairs(number_of(size), float(mean), float(std), exact)
        with np.errstate(over="ignore"):
            values = sm.libm(_exp, values) if exact else np.exp(values)
        return cast(values, kind).reshape(size)

    def exponential(self, size: Size, dtype: DTypeLike = "float32", rate: float = 1.0) -> Array:
        """Exponential numbers, -log1p(-u) / rate of a float64 uniform u each."""
        kind = resolve(dtype)
        check(rate > 0.0, f"exponential_ expects lambda > 0.0, but found lambda={float(rate):g}")
        check(
            kind.is_floating_point,
            "Exponential distribution is a continuous probability distribution. dtype must be a "
            f"floating point but you specified {SCALAR_TYPE[kind.name]}",
        )
        values = -self._uniform64(number_of(size))
        values = sm.libm(math.log1p, values) if kind.name == "float64" else np.log1p(values)
        values *= -1.0 / rate
        return cast(values, kind).reshape(size)

    def cauchy(
        self, size: Size, dtype: DTypeLike = "float32", median: float = 0.0, sigma: float = 1.0
    ) -> Array:
        """Cauchy numbers, median + sigma tan(pi (u - 1/2)) of a float64 uniform u each."""
        kind = resolve(dtype)
        check(sigma > 0.0, f"cauchy_ expects sigma > 0.0, but found sigma={float(sigma):g}")
        check(
            kind.is_floating_point,
            "Cauchy distribution is a continuous probability distribution. dtype must be a "
            f"floating point but you specified {C_TYPE[kind.name]}",
        )
        angle = math.pi * (self._uniform64(number_of(size)) - 0.5)
        values = sm.libm(math.tan, angle) if kind.name == "float64" else np.tan(angle)
        return cast(sm.scale_float64(values, float(median), float(sigma)), kind).reshape(size)


def _exp(x: float) -> float:
    """The C library's exp, which overflows to infinity; Python's raises."""
    return math.exp(x) if x < 709.8 else float(np.exp(x))
