"""The random number engine: the numbers of PyTorch's CPU generator, drawn with NumPy.

`Generator` is MT19937 (M. Matsumoto and T. Nishimura, 1998), seeded and consumed as PyTorch 2.13
does on x86-64 (without MKL's generators), so that `manual_seed(0)` gives the initial weights,
shuffles and dropout masks that every tutorial prints:

    Generator(0).rand(3)    ->  [0.4963, 0.7682, 0.0885]
    Generator(0).randn(3)   ->  [1.5410, -0.2934, -2.1788]

It knows no tensors: methods return new C-contiguous ndarrays, drawn in memory order. The terms r, k
and d of the docstrings are raw draws; `mersenne.py` explains them.

It is built in three layers: `mersenne.py` (seed, state, raw draws), `continuous.py` (uniform,
normal and others of real values) and, here, whatever has integer values. `sampling_dtypes.py` says
how a dtype is named and how bfloat16 is carried.

Wrong arguments raise RuntimeError or NotImplementedError in PyTorch's words, before anything is
drawn. A lock per generator makes each call atomic.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from lazyt.ir.dtypes import BOOL, DType
from lazyt.runtime import sampling_math as sm
from lazyt.runtime.continuous import Continuous
from lazyt.runtime.draw_arguments import (
    NO_PROBABILITY,
    NOT_PROBABILITIES,
    check_full_range,
    check_multinomial,
    check_permutation,
    integer_range,
    whole_range,
)
from lazyt.runtime.mersenne import CHUNK, check
from lazyt.runtime.sampling_dtypes import (
    SCALAR_TYPE,
    Array,
    DTypeLike,
    Size,
    cast,
    number_of,
    resolve,
)

_INT64_MIN, _INT64_MAX = -(2**63), 2**63 - 1
# PyTorch takes a 64-bit draw for ranges from here on, so that the remainder is nearly uniform,
_WIDE_RANGE = 1 << 28
# and for permutations of this many.
_LARGE_PERMUTATION = (2**32 - 1) // 20


class Generator(Continuous):
    """A stream of random numbers, equal to that of `torch.Generator()` on the CPU.

    Args:
        seed: as for `manual_seed`; PyTorch's default seed if left out.
    """

    def bernoulli(
        self, p: Array | float, size: Size | None = None, dtype: DTypeLike | None = None
    ) -> Array:
        """Zeros and ones, one with probability `p`.

        Args:
            p: a number, for d 2^-53 < p; a float64 array, for the same with an own probability
                each; or an array of another floating-point type, for k 2^-24 < p.
            size: shape of the result; by default that of `p`.
            dtype: any; by default that of `p`, and float32 if `p` is a number.
        """
        shape = np.shape(p) if size is None else size
        count = number_of(shape)
        if isinstance(p, np.ndarray):
            kind = resolve(p.dtype if dtype is None else dtype)
            if p.dtype.kind != "f":
                name = SCALAR_TYPE[resolve(p.dtype).name]
                raise NotImplementedError(
                    f"\"bernoulli_tensor_cpu_p_\" not implemented for '{name}'"
                )
            if not count:
                return np.empty(shape, kind.numpy)
            check(
                bool(((p >= 0) & (p <= 1)).all()),
                "Expected p_in >= 0 && p_in <= 1 to be true, but got false.  (Could this error "
                "message be improved?  If so, please report an enhancement request to PyTorch.)",
            )
            wide = p.dtype == np.float64
            uniforms = self._uniform64(count) if wide else self._uniform32(count)
            return (uniforms.reshape(shape) < p).astype(kind.numpy)
        kind = resolve("float32" if dtype is None else dtype)
        p = float(p)
        check(0 <= p <= 1, f"bernoulli_ expects p to be in [0, 1], but got p={p:g}")
        return self._below(p, count).astype(kind.numpy).reshape(shape)

    def _below(self, p: float, count: int) -> NDArray[np.bool_]:
        """Whether d 2^-53 < p, `count` times, without making the floats: d against ceil(p 2^53)."""
        high, low = divmod(math.ceil(math.ldexp(p, 53)), 1 << 32)
        result = np.empty(count, np.bool_)
        with self._lock:
            for start in range(0, count, CHUNK):
                part = result[start : start + CHUNK]
                draws = self.random32(2 * len(part)).reshape(-1, 2)
                upper = draws[:, 0] & np.uint32((1 << 21) - 1)
                np.less(upper, np.uint32(high), out=part)
                if low:
                    part |= (upper == high) & (draws[:, 1] < np.uint32(low))
        return result

    def geometric(self, size: Size, p: float, dtype: DTypeLike = "float32") -> Array:
        """Trials up to the first success, ceil(log(u) / log1p(-p)) of a float64 uniform u each."""
        kind, p = resolve(dtype), float(p)
        if kind.category == BOOL and number_of(size):
            raise NotImplementedError("\"geometric_cpu\" not implemented for 'Bool'")
        check(0 < p < 1, f"geometric_ expects p to be in (0, 1), but got p={p:g}")
        with np.errstate(divide="ignore"):
            values = np.ceil(np.log(self._uniform64(number_of(size))) / math.log1p(-p))
        return cast(values, kind).reshape(size)

    def randint(self, low: int, high: int, size: Size, dtype: DTypeLike = "int64") -> Array:
        """Integers of [low, high) in any dtype: low + r mod (high - low), or a 64-bit r if wide."""
        return self.random(size, dtype, low, high)

    def random(
        self,
        size: Size,
        dtype: DTypeLike = "int64",
        low: int | None = None,
        high: int | None = None,
    ) -> Array:
        """Integers as `Tensor.random_` draws them.

        Args:
            size: number or shape of the values.
            dtype: any.
            low: least value. Without it, draws are of all non-negative values of the dtype, or up
                to 2^digits for floating-point types.
            high: excluded upper end; without it the dtype's greatest value (for floating-point
                types 2^digits) is the last, and after low = -2^63 all 64 bits are used.
        """
        kind = resolve(dtype)
        count = number_of(size)
        if low is None:
            values = self._random_whole(count, kind)
        elif high is None and low == _INT64_MIN:
            if count:
                check_full_range(kind)
            values = self.random64(count).view(np.int64)
        else:
            low, last = integer_range(kind, low, high)
            values = self._remainders(count, last - low + 1, low)
        if kind.category == BOOL:
            return (values != 0).reshape(size)
        return cast(values, kind).reshape(size)

    def _random_whole(self, count: int, kind: DType) -> Array:
        """Remainders by the number of non-negative values that `kind` holds exactly."""
        values = whole_range(kind)
        if kind.name in ("int64", "float64"):
            return (self.random64(count) % np.uint64(values)).view(np.int64)
        return (self.random32(count) % np.uint32(values)).astype(np.int64)

    def _remainders(self, count: int, width: int, low: int) -> NDArray[np.int64]:
        """low + r mod width, `count` times; from 2^28 on r has 64 bits, and all is mod 2^64."""
        # NumPy divides by a number with multiplications, but does not so take the remainder.
        if width >= _WIDE_RANGE:
            wide = self.random64(count)
            wide -= (wide // np.uint64(width)) * np.uint64(width)
            wide += np.uint64(low % 2**64)
            return wide.view(np.int64)
        draws = self.random32(count)
        draws -= (draws // np.uint32(width)) * np.uint32(width)
        values = draws.astype(np.int64)
        values += np.int64(low)
        return values

    def randperm(self, n: int, dtype: DTypeLike = "int64") -> Array:
        """A permutation of 0..n-1 (R. A. Fisher and F. Yates; R. Durstenfeld, 1964)."""
        kind = resolve(dtype)
        check_permutation(n, kind)
        if n < _LARGE_PERMUTATION:
            return cast(sm.shuffled(n, self.random32(max(n - 1, 0))), kind)
        # PyTorch's second method, chosen where 32 bits no longer draw evenly: value i goes to a
        # random place of the first i + 1, and what stood there moves to the end.
        result = np.empty(n, np.int64)
        with self._lock:
            for start in range(0, n, CHUNK):
                sizes = np.arange(start + 1, min(start + CHUNK, n) + 1, dtype=np.uint64)
                places = self.random64(len(sizes)) % sizes
                for i, place in enumerate(places.tolist(), start):
                    result[i] = result[place]
                    result[place] = i
        return cast(result, kind)

    def multinomial(
        self, p: Array, n: int, replacement: bool = False, dtype: DTypeLike | None = None
    ) -> NDArray[np.int64]:
        """Indices drawn with probabilities proportional to `p`.

        One draw, or several without replacement, are the largest of p / q, with an exponential q
        each; draws with replacement search the cumulative sums of `p` for a float64 uniform each.
        (Where several of p / q are equal, as those of zero probability, their order is ours.)

        Args:
            p: floating-point array of shape (categories,) or (rows, categories), not negative.
            n: number of draws per row.
            replacement: whether an index may be drawn again.
            dtype: "bfloat16" where the float32 array `p` stands for bfloat16 numbers.

        Returns:
            int64 array of shape (n,) or (rows, n).
        """
        kind = resolve(p.dtype if dtype is None else dtype)
        check_multinomial(p.shape, kind, n, replacement)
        if not p.size:
            return np.empty((*p.shape[:-1], n), np.int64)
        if replacement and n > 1:
            return self._multinomial_search(p, n, kind)
        check(bool((p >= 0).all() and (p < np.inf).all()), NOT_PROBABILITIES)
        check(bool(p.any(axis=-1).all()), NO_PROBABILITY)
        with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
            score = cast(p / self.exponential(p.shape, kind), kind)
        if n == 1:
            return score.argmax(axis=-1, keepdims=True)
        return np.argsort(-score, axis=-1, kind="stable")[..., :n].copy()

    def _multinomial_search(self, p: Array, n: int, kind: DType) -> NDArray[np.int64]:
        """Draws with replacement, row after row."""
        check(
            bool((p >= 0).all()),
            "invalid multinomial distribution (encountering probability entry < 0)",
        )
        check(
            bool((p < np.inf).all()),
            "invalid multinomial distribution (encountering probability entry = infinity or NaN)",
        )
        sums = np.cumsum(p, axis=-1, dtype=kind.compute.numpy)
        check(bool((sums[..., -1] > 0).all()), NO_PROBABILITY)
        sums /= sums[..., -1:].copy()
        sums[..., -1] = 1.0
        bounds = sums.astype(np.float64).reshape(-1, p.shape[-1])
        uniforms = self._uniform64(len(bounds) * n).reshape(-1, n)
        found = [np.searchsorted(row, u) for row, u in zip(bounds, uniforms, strict=True)]
        return np.array(found, np.int64).reshape(*p.shape[:-1], n)
