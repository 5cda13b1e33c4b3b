"""Error function, its complement and inverse, log-gamma and digamma, in float32 and float64.

Each is computed in float64 and rounded once, so float32 results are the correctly rounded ones but
for rare near-ties. float64 results of ``erf`` are within an ulp, of ``erfc`` within four.

The float64 ``erf`` follows W. J. Cody's scheme (Rational Chebyshev approximations for the error
function, Math. Comp. 23, 1969): a rational function per interval. Intervals and coefficients are
those of FreeBSD's msun, s_erf.c, which carries this notice: "Copyright (C) 1993 by Sun
Microsystems, Inc. All rights reserved. Developed at SunPro, a Sun Microsystems, Inc. business.
Permission to use, copy, modify, and distribute this software is freely granted, provided that this
notice is preserved."

As in ``elementwise`` the caller silences floating-point warnings, ``out=`` may be an operand, and
results are arrays.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

_BLOCK = 8192  # elements whose float64 intermediates stay in the cache

# erf(x) = x P(x^2) / Q(x^2) on [0, 3.95] within 2.4e-9 relative, for float32: a weighted
# least-squares fit on Chebyshev nodes (Sanathanan and Koerner, IEEE Trans. Autom. Control 8, 1963;
# weights after Lawson). erf(3.95) rounds to 1.
_SINGLE_LIMIT = 3.95
_SINGLE_P = (
    1.12837916970963,
    0.19261537894412917,
    0.05564130838538055,
    0.004205978918828426,
    0.0004076485508888007,
    6.6584392515592025e-06,
)
_SINGLE_Q = (
    1.0,
    0.5040343603785168,
    0.11732168127263455,
    0.016242294253702407,
    0.0014123287200748828,
    7.161008071834749e-05,
    2.5297260587430947e-07,
)

# |x| < 0.84375: erf(x) = x + x P/Q (x^2)
_PP = (
    1.28379167095512558561e-01,
    -3.25042107247001499370e-01,
    -2.84817495755985104766e-02,
    -5.77027029648944159157e-03,
    -2.37630166566501626084e-05,
)
_QQ = (
    1.0,
    3.97917223959155352819e-01,
    6.50222499887672944485e-02,
    5.08130628187576562776e-03,
    1.32494738004321644526e-04,
    -3.96022827877536812320e-06,
)
# 0.84375 <= |x| < 1.25: erf(|x|) = _ERX + P/Q (|x| - 1)
_ERX = 8.45062911510467529297e-01
_PA = (
    -2.36211856075265944077e-03,
    4.14856118683748331666e-01,
    -3.72207876035701323847e-01,
    3.18346619901161753674e-01,
    -1.10894694282396677476e-01,
    3.54783043256182359371e-02,
    -2.16637559486879084300e-03,
)
_QA = (
    1.0,
    1.06420880400844228286e-01,
    5.40397917702171048937e-01,
    7.18286544141962662868e-02,
    1.26171219808761642112e-01,
    1.36370839120290507362e-02,
    1.19844998467991074170e-02,
)
# 1.25 <= |x| < 1/0.35 and above: erfc(|x|) = exp(-x^2 - 0.5625 + P/Q (1/x^2)) / |x|
_RA = (
    -9.86494403484714822705e-03,
    -6.93858572707181764372e-01,
    -1.05586262253232909814e01,
    -6.23753324503260060396e01,
    -1.62396669462573470355e02,
    -1.84605092906711035994e02,
    -8.12874355063065934246e01,
    -9.81432934416914548592e00,
)
_SA = (
    1.0,
    1.96512716674392571292e01,
    1.37657754143519042600e02,
    4.34565877475229228821e02,
    6.45387271733267880336e02,
    4.29008140027567833386e02,
    1.08635005541779435134e02,
    6.57024977031928170135e00,
    -6.04244152148580987438e-02,
)
_RB = (
    -9.86494292470009928597e-03,
    -7.99283237680523006574e-01,
    -1.77579549177547519889e01,
    -1.60636384855821916062e02,
    -6.37566443368389627722e02,
    -1.02509513161107724954e03,
    -4.83519191608651397019e02,
)
_SB = (
    1.0,
    3.03380607434824582924e01,
    3.25792512996573918826e02,
    1.53672958608443695994e03,
    3.19985821950859553908e03,
    2.55305040643316442583e03,
    4.74528541206955367215e02,
    -2.24409524465858183362e01,
)


def _horner(z: np.ndarray, coefficients: tuple[float, ...]) -> np.ndarray:
    total = z * coefficients[-1]
    total += coefficients[-2]
    for coefficient in coefficients[-3::-1]:
        total *= z
        total += coefficient
    return total


def _ratio(z: np.ndarray, p: tuple[float, ...], q: tuple[float, ...]) -> np.ndarray:
    return _horner(z, p) / _horner(z, q)


def _blockwise(
    function: Callable[[np.ndarray], np.ndarray], x: np.ndarray, out: np.ndarray | None
) -> np.ndarray:
    """``function``, float64 to float64, over flat blocks of ``x``; the result in its dtype."""
    result = np.empty(x.shape, x.dtype)
    source, target = x.reshape(-1), result.reshape(-1)
    for start in range(0, source.size, _BLOCK):
        block = slice(start, start + _BLOCK)
        target[block] = function(source[block].astype(np.float64))
    if out is None:
        return result
    np.copyto(out, result)
    return out


def _erf_single(x: np.ndarray) -> np.ndarray:
    np.maximum(x, -_SINGLE_LIMIT, out=x)
    np.minimum(x, _SINGLE_LIMIT, out=x)
    z = x * x
    x *= _horner(z, _SINGLE_P)
    x /= _horner(z, _SINGLE_Q)
    return x


def _erfc_tail(a: np.ndarray) -> np.ndarray:
    """``erfc(a)`` for ``a >= 1.25``, with full relative precision."""
    z = 1 / (a * a)
    near = a < 1 / 0.35
    correction = np.empty_like(a)
    correction[near] = _ratio(z[near], _RA, _SA)
    far = ~near
    correction[far] = _ratio(z[far], _RB, _SB)
    # a^2 = head^2 + (a - head)(a + head), and head^2 is exact: half the digits of a
    head = (a.view(np.uint64) & np.uint64(0xFFFFFFFF00000000)).view(np.float64)
    result = np.exp(-head * head - 0.5625)
    result *= np.exp((head - a) * (head + a) + correction)
    return result / a


def _by_interval(x: np.ndarray, complement: bool) -> np.ndarray:
    """``erf`` or ``erfc`` of a flat float64 array."""
    a = np.abs(x)
    result = np.where(np.isnan(x), x, 1.0)
    np.copysign(result, x, out=result)
    if complement:
        result = 1.0 - result
    small, middle = a < 0.84375, (a >= 0.84375) & (a < 1.25)
    large = (a >= 1.25) & (a < (28.0 if complement else 6.0))
    if small.any():
        v = x[small]
        u = v * _ratio(v * v, _PP, _QQ)
        # Above 1/4, 1 - v is formed as 0.5 - (v - 0.5): neither difference rounds.
        result[small] = (
            np.where(v < 0.25, 1.0 - (v + u), 0.5 - (u + (v - 0.5))) if complement else v + u
        )
    if middle.any():
        v = x[middle]
        part = _ratio(np.abs(v) - 1.0, _PA, _QA)
        if complement:
            result[middle] = np.where(v >= 0, (1.0 - _ERX) - part, 1.0 + (_ERX + part))
        else:
            result[middle] = np.copysign(_ERX + part, v)
    if large.any():
        v = x[large]
        tail = _erfc_tail(np.abs(v))
        if complement:
            result[large] = np.where(v > 0, tail, 2.0 - tail)
        else:
            result[large] = np.copysign(1.0 - tail, v)
    return result


def erf(x: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
    """The error function, ``2 / sqrt(pi)`` times the integral of ``exp(-t^2)`` from 0 to ``x``."""
    if x.dtype == np.float64:
        return _blockwise(lambda v: _by_interval(v, False), x, out)
    return _blockwise(_erf_single, x, out)


def erfc(x: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
    """``1 - erf(x)`` with full relative precision for large ``x``."""
    return _blockwise(lambda v: _by_interval(v, True), x, out)


# Starting values of erfinv: M. Giles, "Approximating the erfinv function", GPU Computing Gems,
# Jade Edition, 2011, table 5 (single precision), lowest order first.
_CENTRAL = (
    1.50140941,
    0.246640727,
    -0.00417768164,
    -0.00125372503,
    0.00021858087,
    -4.39150654e-06,
    -3.5233877e-06,
    3.43273939e-07,
    2.81022636e-08,
)
_TAIL = (
    2.83297682,
    1.00167406,
    0.00943887047,
    -0.0076224613,
    0.00573950773,
    -0.00367342844,
    0.00134934322,
    0.000100950558,
    -0.000200214257,
)


def _erfinv(y: np.ndarray) -> np.ndarray:
    a = np.abs(y)
    w = -np.log((1.0 - a) * (1.0 + a))
    x = a * np.where(
        w < 5.0, _horner(w - 2.5, _CENTRAL), _horner(np.sqrt(np.maximum(w, 5.0)) - 3.0, _TAIL)
    )
    # Beyond single precision erfc(x) = exp(-x^2) / (x sqrt(pi)), solved for x.
    far = w > 16.0
    if far.any():
        level = -np.log((1.0 - a[far]) * np.sqrt(np.pi))
        x[far] = np.sqrt(level - 0.5 * np.log(level))
    for _ in range(3):
        # Halley's step. Near 1 the residual is taken between complements, which are exact there.
        residual = np.where(a < 0.5, _by_interval(x, False) - a, (1.0 - a) - _by_interval(x, True))
        step = residual * (0.5 * np.sqrt(np.pi)) * np.exp(x * x)
        x -= step / (1.0 + x * step)
    x[a == 1.0] = np.inf
    x[~(a <= 1.0)] = np.nan
    return np.copysign(x, y)


def erfinv(y: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
    """The ``x`` with ``erf(x) = y``; infinite at -1 and 1, nan beyond."""
    return _blockwise(_erfinv, y, out)


# Stirling's series (Abramowitz and Stegun 6.1.40) and its derivative (6.3.18) in powers of 1/x^2.
_LGAMMA_SERIES = (1 / 12, -1 / 360, 1 / 1260, -1 / 1680, 1 / 1188, -691 / 360360, 1 / 156)
_DIGAMMA_SERIES = (1 / 12, -1 / 120, 1 / 252, -1 / 240, 1 / 132, -691 / 32760, 1 / 12)
_SHIFT = 10  # the series serve from here on; smaller arguments are moved up by the recurrence


def _lgamma_positive(x: np.ndarray) -> np.ndarray:
    moved, factor = x.copy(), np.ones_like(x)
    for _ in range(_SHIFT):
        low = moved < _SHIFT
        if not low.any():
            break
        np.multiply(factor, moved, out=factor, where=low)
        np.add(moved, 1.0, out=moved, where=low)
    inverse = 1.0 / moved
    series = _horner(inverse * inverse, _LGAMMA_SERIES) * inverse
    stirling = (moved - 0.5) * (np.log(moved) - 1.0) + (0.5 * np.log(2 * np.pi) - 0.5)
    return np.where(np.isinf(x), np.inf, stirling + series - np.log(factor))


def _lgamma(x: np.ndarray) -> np.ndarray:
    reflected = x < 0.5
    result = _lgamma_positive(np.where(reflected, 1.0 - x, x))
    if reflected.any():
        v = x[reflected]
        # Gamma(v) Gamma(1 - v) = pi / sin(pi v) (A&S 6.1.17); the sine of the distance to an
        # integer keeps its precision.
        sine = np.abs(np.sin(np.pi * (v - np.rint(v))))
        mirrored = np.log(np.pi) - np.log(sine) - result[reflected]
        result[reflected] = np.where(np.isinf(v), np.inf, mirrored)
    return result


def lgamma(x: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
    """``log |Gamma(x)|``, infinite at 0 and the negative integers; in float64 to about 1e-14 of
    ``max(1, |lgamma(x)|)``."""
    return _blockwise(_lgamma, x, out)


def _digamma_positive(x: np.ndarray) -> np.ndarray:
    moved, shift = x.copy(), np.zeros_like(x)
    for _ in range(_SHIFT):
        low = moved < _SHIFT
        if not low.any():
            break
        np.add(shift, 1.0 / moved, out=shift, where=low)
        np.add(moved, 1.0, out=moved, where=low)
    inverse = 1.0 / moved
    square = inverse * inverse
    return np.log(moved) - 0.5 * inverse - _horner(square, _DIGAMMA_SERIES) * square - shift


def _digamma(x: np.ndarray) -> np.ndarray:
    reflected = x < 0.0
    result = _digamma_positive(np.where(reflected, 1.0 - x, x))
    if reflected.any():
        v = x[reflected]
        fraction = v - np.rint(v)
        # psi(1 - v) - psi(v) = pi cot(pi v) (A&S 6.3.7)
        mirrored = result[reflected] - np.pi / np.tan(np.pi * fraction)
        result[reflected] = np.where(fraction == 0.0, np.nan, mirrored)
    result[x == 0.0] = -np.copysign(np.inf, x[x == 0.0])
    return result


def digamma(x: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
    """The derivative of ``lgamma``; at zero infinite with the opposite sign, at negative integers
    nan."""
    return _blockwise(_digamma, x, out)
