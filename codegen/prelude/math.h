/* Mathematics for generated loops: C11 that the compiler vectorises.

   Each function is straight-line code: every case is computed and selected from, so that a loop
   around a call becomes SIMD code on any target with floating-point vectors. A call of the C
   library's exp would keep the loop scalar. For example

       for (long i = 0; i < n; i++) y[i] = lz_tanh_f32(x[i]);

   Semantics are IEEE's. Nan gives nan; infinities, signed zeros and subnormal numbers are honoured;
   integers wrap; a value does not depend on the place of its element in the loop. Only which
   floating-point exceptions are flagged is undefined. Straight-line functions leave errno alone.
   Assumed: rounding to nearest, no flushing of subnormal numbers.

   Compile with -O3 and

       -fno-math-errno      needed: sqrt is an instruction, not a call that may set errno
       -fno-trapping-math   needed: selects may compute both sides, floor and conversions vectorise;
                            changes which exceptions are flagged and no value
       -ffp-contract=off    wanted, not needed: the bounds hold with contraction too, but results
                            would differ between compilers. fma is used by name where it exists
       -march=...           to have fma; below SSE4.1, floor, ceil, trunc, round and what uses them
                            stay scalar

   and never with -ffast-math, -fassociative-math or -ffinite-math-only: the sums that recover a
   rounding error would be "simplified" away.

   Errors in units in the last place: the bound that tests/test_c_math.py asserts, and the largest
   error found, with fma and without. A star: all 2^32 inputs were run (with fma); else a sample of
   every exponent and the places where a method changes. "-": no straight-line code, the C library's
   function under our name. float32 functions whose bound is 0.51 are computed in double precision.

   function         float32  measured     float64  measured
   exp               1.00     0.80*       1.00     0.75
   exp_nonpositive   1.00     0.80*       1.00     0.75
   exp2              1.25     1.03        1.25     1.09
   expm1             0.51     0.50        1.25     1.11
   log               1.00     0.80*       1.00     0.82
   log2              0.51     0.50        1.00     0.71
   log10             0.51     0.50        1.00     0.64
   log1p             0.51     0.50        1.00     0.77
   sin               1.00     0.92*       -
   cos               1.00     0.90*       -
   tan               0.51     0.51*       -
   sinh              0.51     0.50        -
   cosh              0.51     0.50        -
   tanh              1.50     1.35*       1.50     1.42
   asin              0.51     0.51        -
   acos              0.51     0.51        -
   atan              0.51     0.51        -
   asinh             0.51     0.50        -
   acosh             0.51     0.50        -
   atanh             0.51     0.50        -
   erf               1.50     1.32*       1.50     1.28
   erfc              0.51     0.51        3.00     2.86
   sqrt              0.50     0.50        0.50     0.50
   sigmoid           2.00     1.90*       2.00     1.71
   rsqrt             1.50     1.47        1.50     1.48
   atan2             0.51     0.51        -
   pow               0.51     0.50        1.00     0.74
   sin_near                                 1.00     0.77
   cos_near                                 1.00     0.76

   The near functions are for |x| <= 2^20 and give nan beyond. Exact are fmod, remainder, floor_div
   (float64 through the C library's fmod), conversions, rounding, sign, minimum and maximum; 64-bit
   integer division and remainder are exact and scalar.

   Naming: lz_<function>_<type>; lzi_ for what only this file uses. Coefficients are minimax fits of
   our own (Remez), those of float32 rounded one by one and the others refitted. */
#ifndef LAZYT_MATH_H
#define LAZYT_MATH_H

#include <math.h>
#include <stdint.h>
#include <string.h>

/* A function that is not inlined is a call, and a call stops the vectoriser. */
#define LZ_INLINE static inline __attribute__((always_inline, unused))

LZ_INLINE uint32_t lzi_bits_f32(float x) { uint32_t u; memcpy(&u, &x, 4); return u; }
LZ_INLINE uint64_t lzi_bits_f64(double x) { uint64_t u; memcpy(&u, &x, 8); return u; }
LZ_INLINE float lzi_of_bits_f32(uint32_t u) { float x; memcpy(&x, &u, 4); return x; }
LZ_INLINE double lzi_of_bits_f64(uint64_t u) { double x; memcpy(&x, &u, 8); return x; }

/* a * b + c, in one rounding where that is one instruction. Every error bound holds either way: the
   reductions below split their constants so that the products are exact. */
#if defined(__FMA__) || defined(__aarch64__) || defined(__FP_FAST_FMAF)
#define LZ_HAVE_FMA 1
LZ_INLINE float lzi_mad_f32(float a, float b, float c) { return __builtin_fmaf(a, b, c); }
LZ_INLINE double lzi_mad_f64(double a, double b, double c) { return __builtin_fma(a, b, c); }
#else
#define LZ_HAVE_FMA 0
LZ_INLINE float lzi_mad_f32(float a, float b, float c) { return a * b + c; }
LZ_INLINE double lzi_mad_f64(double a, double b, double c) { return a * b + c; }
#endif

/* A polynomial in x by Horner's rule, constant term first; M is one of the two functions above. */
#define LZ_P1(M, x, a) (a)
#define LZ_P2(M, x, a, ...) M(LZ_P1(M, x, __VA_ARGS__), x, a)
#define LZ_P3(M, x, a, ...) M(LZ_P2(M, x, __VA_ARGS__), x, a)
#define LZ_P4(M, x, a, ...) M(LZ_P3(M, x, __VA_ARGS__), x, a)
#define LZ_P5(M, x, a, ...) M(LZ_P4(M, x, __VA_ARGS__), x, a)
#define LZ_P6(M, x, a, ...) M(LZ_P5(M, x, __VA_ARGS__), x, a)
#define LZ_P7(M, x, a, ...) M(LZ_P6(M, x, __VA_ARGS__), x, a)
#define LZ_P8(M, x, a, ...) M(LZ_P7(M, x, __VA_ARGS__), x, a)
#define LZ_P9(M, x, a, ...) M(LZ_P8(M, x, __VA_ARGS__), x, a)
#define LZ_P10(M, x, a, ...) M(LZ_P9(M, x, __VA_ARGS__), x, a)
#define LZ_P11(M, x, a, ...) M(LZ_P10(M, x, __VA_ARGS__), x, a)
#define LZ_P12(M, x, a, ...) M(LZ_P11(M, x, __VA_ARGS__), x, a)
#define LZ_P13(M, x, a, ...) M(LZ_P12(M, x, __VA_ARGS__), x, a)
#define LZ_P14(M, x, a, ...) M(LZ_P13(M, x, __VA_ARGS__), x, a)
#define LZ_P15(M, x, a, ...) M(LZ_P14(M, x, __VA_ARGS__), x, a)
#define LZ_P16(M, x, a, ...) M(LZ_P15(M, x, __VA_ARGS__), x, a)
#define LZ_P17(M, x, a, ...) M(LZ_P16(M, x, __VA_ARGS__), x, a)
#define LZ_P18(M, x, a, ...) M(LZ_P17(M, x, __VA_ARGS__), x, a)
#define LZ_P19(M, x, a, ...) M(LZ_P18(M, x, __VA_ARGS__), x, a)
#define LZ_P20(M, x, a, ...) M(LZ_P19(M, x, __VA_ARGS__), x, a)
#define LZ_POLY_F32(n, ...) LZ_P##n(lzi_mad_f32, __VA_ARGS__)
#define LZ_POLY_F64(n, ...) LZ_P##n(lzi_mad_f64, __VA_ARGS__)

/* x + magic - magic rounds x to an integer, half to even, and the low bits of x + magic hold that
   integer: no conversion instruction, which AVX2 lacks for 64 bits. |x| < 2^22 and 2^51. */
#define LZ_MAGIC_F32 0x1.8p23f
#define LZ_MAGIC_F64 0x1.8p52

#define LZ_NAN_F32 __builtin_nanf("")
#define LZ_NAN_F64 __builtin_nan("")
#define LZ_INF_F32 __builtin_inff()
#define LZ_INF_F64 __builtin_inf()

/* The comparison is false for nan, which passes. */
LZ_INLINE float lzi_clamp_f32(float x, float low, float high) {
  float y = x > high ? high : x;
  return y < low ? low : y;
}
LZ_INLINE double lzi_clamp_f64(double x, double low, double high) {
  double y = x > high ? high : x;
  return y < low ? low : y;
}

/* ---- float32: exponentials, in single precision ------------------------------------------------

   Cody and Waite's reduction (Software Manual for the Elementary Functions, 1980): x = n ln 2 + r,
   |r| <= ln 2 / 2, the first part of ln 2 short enough that its product with n is exact. 2^n is two
   factors, so that a result below the normal numbers is rounded once, by the second. */

/* exp(x) / 2^n, for n = `whole`. */
LZ_INLINE float lzi_exp_rest_f32(float x, float whole) {
  float r = lzi_mad_f32(whole, -0x1.62e4p-1f, x);
  r = lzi_mad_f32(whole, -0x1.7f7d1cp-20f, r);
  float q = LZ_POLY_F32(5, r, 4.9999994e-01f, 1.6666517e-01f, 4.1668106e-02f, 8.369141e-03f,
                        1.3836744e-03f);
  /* What 1 + r rounds away is added with the rest: one rounding less where the sum is below 1. */
  float one = 1.0f + r;
  return one + lzi_mad_f32(q, r * r, r - (one - 1.0f));
}

LZ_INLINE float lzi_exp_reduced_f32(float x, uint32_t *n) {
  float shifted = lzi_mad_f32(x, 0x1.715476p+0f, LZ_MAGIC_F32);
  *n = lzi_bits_f32(shifted) - lzi_bits_f32(LZ_MAGIC_F32);
  return lzi_exp_rest_f32(x, shifted - LZ_MAGIC_F32);
}

LZ_INLINE float lzi_scale_f32(float y, uint32_t n) {
  uint32_t half = (uint32_t)((int32_t)n >> 1);
  return y * lzi_of_bits_f32((half + 127u) << 23) * lzi_of_bits_f32((n - half + 127u) << 23);
}

/* As `lzi_scale_f32` of the reduced exponential, in fewer instructions: 2 (127) rides on the rounding
   constant, so that the bits of the sum hold n + 254, of which a shift makes either factor. What is
   out of range is put right at the end, where vectors need no comparison of their own for nan. */
LZ_INLINE float lz_exp_f32(float x) {
  float shifted = lzi_mad_f32(x, 0x1.715476p+0f, LZ_MAGIC_F32 + 254.0f);
  float whole = shifted - (LZ_MAGIC_F32 + 254.0f);
  uint32_t first = (lzi_bits_f32(shifted) << 22) & 0xff800000u;
  uint32_t second = (lzi_bits_f32(shifted) << 23) - first;
  float y = lzi_exp_rest_f32(x, whole) * lzi_of_bits_f32(first) * lzi_of_bits_f32(second);
  y = x > 89.0f ? LZ_INF_F32 : y;
  return x < -104.0f ? 0.0f : y;
}

/* exp(x) for x <= 0 or nan, bit for bit: only small results are left to scale, so that the bits of
   the sum, n + 191 modulo 256, are one factor and 2^-64 the other. */
LZ_INLINE float lz_exp_nonpositive_f32(float x) {
  float capped = -104.0f > x ? -104.0f : x;
  float shifted = lzi_mad_f32(capped, 0x1.715476p+0f, LZ_MAGIC_F32 + 191.0f);
  float whole = shifted - (LZ_MAGIC_F32 + 191.0f);
  return lzi_exp_rest_f32(capped, whole) * lzi_of_bits_f32(lzi_bits_f32(shifted) << 23) * 0x1p-64f;
}

/* a / total for 0 <= a <= 1 <= total < 2^60, or nan. The reciprocal of the total is the same along a
   row, and two steps of remainders by fma make of its product the rounded quotient (P. Markstein,
   "Computation of elementary functions on the IBM RISC System/6000 processor", 1990): a division
   takes as long as all that. The remainders are exact from a = 2^-101 on; below, the last place may
   be off by one. */
LZ_INLINE float lz_div_by_total_f32(float a, float total) {
#if LZ_HAVE_FMA
  float inverse = 1.0f / total;
  float q = a * inverse;
  q = __builtin_fmaf(__builtin_fmaf(-q, total, a), inverse, q);
  return __builtin_fmaf(__builtin_fmaf(-q, total, a), inverse, q);
#else
  return a / total;
#endif
}

/* exp(x) for |x| < 87, where one factor is enough. */
LZ_INLINE float lzi_exp_middle_f32(float x) {
  uint32_t n;
  float y = lzi_exp_reduced_f32(x, &n);
  return y * lzi_of_bits_f32((n + 127u) << 23);
}

LZ_INLINE float lz_exp2_f32(float x) {
  float y = lzi_clamp_f32(x, -151.0f, 129.0f);
  float shifted = y + LZ_MAGIC_F32;
  float r = y - (shifted - LZ_MAGIC_F32);
  float p = LZ_POLY_F32(7, r, 6.931472e-01f, 2.402265e-01f, 5.550406e-02f, 9.618086e-03f,
                        1.3336609e-03f, 1.545274e-04f, 1.469748e-05f);
  return lzi_scale_f32(lzi_mad_f32(p, r, 1.0f),
                       lzi_bits_f32(shifted) - lzi_bits_f32(LZ_MAGIC_F32));
}

/* 1 / (1 + exp(-x)), from exp(-|x|), which cannot overflow; small results keep their digits. */
LZ_INLINE float lz_sigmoid_f32(float x) {
  float e = lz_exp_nonpositive_f32(-__builtin_fabsf(x));
  float numerator = x < 0.0f ? e : 1.0f;
  float q = numerator / (1.0f + e);
  /* For small e, e / (1 + e) = e - e q, where the errors of q no longer count. */
  float small = lzi_mad_f32(-e, q, e);
  return x < -1.4f ? small : q;
}

/* x P(x^2) to 0.625 and 1 - 2 / (exp(2 |x|) + 1) above, as in Cephes tanhf.c. */
LZ_INLINE float lz_tanh_f32(float x) {
  float a = __builtin_fabsf(x);
  float z = a * a;
  float p = LZ_POLY_F32(5, z, -3.3333284e-01f, 1.3331483e-01f, -5.3742774e-02f, 2.0648062e-02f,
                        -5.7140635e-03f);
  float small = lzi_mad_f32(p * z, a, a);
  float capped = a > 10.0f ? 10.0f : a;
  float large = 1.0f - 2.0f / (lzi_exp_middle_f32(2.0f * capped) + 1.0f);
  return __builtin_copysignf(a < 0.625f ? small : large, x);
}

/* x P(x^2) to 0.9277; above, 1 - exp(-u) with u = -log(erfc |x|) = |x| + |x| Q(|x|). The two
   intervals and the use of log(erfc) follow N. Juffa's erff (public domain, 2014); the coefficients
   are our own minimax fits. erf(3.95) rounds to 1. */
LZ_INLINE float lz_erf_f32(float x) {
  float a = __builtin_fabsf(x);
  float p = LZ_POLY_F32(6, a * a, 1.2837915e-01f, -3.7612492e-01f, 1.12817675e-01f, -2.6764356e-02f,
                        4.9894317e-03f, -5.9702696e-04f);
  float small = lzi_mad_f32(p, a, a);
  float t = a > 3.95f ? 3.95f : a;
  float q = LZ_POLY_F32(7, t, 1.286485e-01f, 6.3515127e-01f, 1.06236935e-01f, -2.3762079e-02f,
                        3.6424461e-03f, -3.2279486e-04f, 1.1229069e-05f);
  float large = 1.0f - lzi_exp_middle_f32(-lzi_mad_f32(q, t, t));
  return __builtin_copysignf(a < 0.9277f ? small : large, x);
}

/* ---- float32: logarithm, in single precision ---------------------------------------------------

   x = 2^k (1 + f), sqrt(1/2) <= 1 + f < sqrt(2); log(1 + f) = f - f^2 / 2 + f^3 P(f), added
   smallest first (Cephes logf.c). */

LZ_INLINE float lz_log_f32(float x) {
  int tiny = x < 0x1p-126f;
  float scaled = tiny ? x * 0x1p23f : x;
  int32_t u = (int32_t)(lzi_bits_f32(scaled) - 0x3f3504f3u);
  float k = (float)(u >> 23) - (tiny ? 23.0f : 0.0f);
  float f = lzi_of_bits_f32(((uint32_t)u & 0x007fffffu) + 0x3f3504f3u) - 1.0f;
  float z = f * f;
  float p = LZ_POLY_F32(9, f, 3.3333313e-01f, -2.500003e-01f, 2.0002046e-01f, -1.6667566e-01f,
                        1.4220586e-01f, -1.24055594e-01f, 1.1878567e-01f, -1.1706293e-01f,
                        6.828862e-02f);
  float low = lzi_mad_f32(k, -0x1.bd0106p-13f, p * f * z);
  float y = lzi_mad_f32(k, 0x1.63p-1f, f + lzi_mad_f32(z, -0.5f, low));
  y = x < LZ_INF_F32 ? y : x;
  y = x < 0.0f ? LZ_NAN_F32 : y;
  return x == 0.0f ? -LZ_INF_F32 : y;
}

/* ---- float32: what is computed in double precision ---------------------------------------------

   To 2^-34 or better and rounded once at the end, so that none of it needs a second word. */

/* exp(x), |x| < 700; relative error 2^-39. */
LZ_INLINE double lzi_exp_short(double x) {
  double shifted = lzi_mad_f64(x, 0x1.71547652b82fep+0, LZ_MAGIC_F64);
  double r = lzi_mad_f64(shifted - LZ_MAGIC_F64, -0x1.62e42fefa39efp-1, x);
  double q = LZ_POLY_F64(7, r, 0.5000000000430115, 0.16666666785136786, 0.04166666439217839,
                         0.008333281604870851, 0.001388919826038043, 0.00019909072622435235,
                         2.4708147149593472e-05);
  double y = 1.0 + lzi_mad_f64(q, r * r, r);
  return lzi_of_bits_f64(lzi_bits_f64(y) + (lzi_bits_f64(shifted) << 52));
}

/* x = 2^k (1 + f) with sqrt(1/2) <= 1 + f < sqrt(2), for normal positive x. */
LZ_INLINE double lzi_split_f64(double x, double *k) {
  uint64_t u = lzi_bits_f64(x) + (0x3ff0000000000000u - 0x3fe6a09e667f3bcdu);
  /* An integer below 2^52 becomes a double by giving it the exponent of 2^52. */
  *k = lzi_of_bits_f64((u >> 52) | 0x4330000000000000u) - (0x1p52 + 1023.0);
  return lzi_of_bits_f64((u & 0x000fffffffffffffu) + 0x3fe6a09e667f3bcdu) - 1.0;
}

/* log(1 + f) = 2 atanh(s), s = f / (2 + f); relative error 2^-43. */
LZ_INLINE double lzi_log_of_fraction(double f) {
  double s = f / (2.0 + f);
  double z = s * s;
  double p = LZ_POLY_F64(5, z, 0.6666666667580402, 0.3999999562102016, 0.2857210922743854,
                         0.22176186398237627, 0.19584177434743608);
  return lzi_mad_f64(s * z, p, s + s);
}

/* log(1 + u), of any size. Where 1 + u is not scaled, f is u itself and 1 + u may have rounded. */
LZ_INLINE double lzi_log1p_short(double u) {
  double k;
  double f = lzi_split_f64(1.0 + u, &k);
  f = k == 0.0 ? u : f;
  double y = lzi_mad_f64(k, 0x1.62e42fefa39efp-1, lzi_log_of_fraction(f));
  y = u < LZ_INF_F64 ? y : u;
  y = u < -1.0 ? LZ_NAN_F64 : y;
  return u == -1.0 ? -LZ_INF_F64 : y;
}

/* scale k + factor log(1 + f) = the logarithm of x to some base. */
LZ_INLINE float lzi_log_base(float x, double scale, double factor) {
  double k;
  double f = lzi_split_f64((double)x, &k);
  float y = (float)lzi_mad_f64(k, scale, lzi_log_of_fraction(f) * factor);
  y = x < LZ_INF_F32 ? y : x;
  y = x < 0.0f ? LZ_NAN_F32 : y;
  return x == 0.0f ? -LZ_INF_F32 : y;
}
LZ_INLINE float lz_log2_f32(float x) { return lzi_log_base(x, 1.0, 0x1.71547652b82fep+0); }
LZ_INLINE float lz_log10_f32(float x) {
  return lzi_log_base(x, 0x1.34413509f79ffp-2, 0x1.bcb7b1526e50ep-2);
}
/* 0 + -0 is 0: the two functions that are x at 0 and no odd function say so themselves. */
LZ_INLINE float lz_log1p_f32(float x) {
  float y = (float)lzi_log1p_short((double)x);
  return x == 0.0f ? x : y;
}
LZ_INLINE float lz_expm1_f32(float x) {
  double c = lzi_clamp_f64((double)x, -40.0, 95.0);
  double shifted = lzi_mad_f64(c, 0x1.71547652b82fep+0, LZ_MAGIC_F64);
  double r = lzi_mad_f64(shifted - LZ_MAGIC_F64, -0x1.62e42fefa39efp-1, c);
  double q = LZ_POLY_F64(7, r, 0.5000000000430115, 0.16666666785136786, 0.04166666439217839,
                         0.008333281604870851, 0.001388919826038043, 0.00019909072622435235,
                         2.4708147149593472e-05);
  double scale = lzi_of_bits_f64((lzi_bits_f64(shifted) << 52) + 0x3ff0000000000000u);
  float y = (float)lzi_mad_f64(scale, lzi_mad_f64(q, r * r, r), scale - 1.0);
  return x == 0.0f ? x : y;
}

LZ_INLINE float lz_sinh_f32(float x) {
  double a = __builtin_fabs((double)x);
  double z = a * a;
  double p = LZ_POLY_F64(5, z, 0.1666666666706911, 0.008333333276341033, 0.00019841296045482952,
                         2.755206406593285e-06, 2.552981950869386e-08);
  double small = lzi_mad_f64(p * z, a, a);
  double e = lzi_exp_short(a > 95.0 ? 95.0 : a);
  return __builtin_copysignf((float)(a < 1.0 ? small : 0.5 * e - 0.5 / e), x);
}
LZ_INLINE float lz_cosh_f32(float x) {
  double a = __builtin_fabs((double)x);
  double e = lzi_exp_short(a > 95.0 ? 95.0 : a);
  return (float)(0.5 * e + 0.5 / e);
}
LZ_INLINE float lz_asinh_f32(float x) {
  double a = __builtin_fabs((double)x);
  double u = a + a * (a / (1.0 + __builtin_sqrt(lzi_mad_f64(a, a, 1.0))));
  return __builtin_copysignf((float)lzi_log1p_short(a < LZ_INF_F64 ? u : a), x);
}
LZ_INLINE float lz_acosh_f32(float x) {
  double t = (double)x - 1.0;
  double y = lzi_log1p_short(t + __builtin_sqrt(t * (t + 2.0)));
  return (float)(t < 0.0 ? LZ_NAN_F64 : y);
}
LZ_INLINE float lz_atanh_f32(float x) {
  double a = __builtin_fabs((double)x);
  return __builtin_copysignf((float)(0.5 * lzi_log1p_short((a + a) / (1.0 - a))), x);
}

/* asin(a) for a <= 1/2, and the asin of pi/2 - 2 asin(sqrt((1 - a) / 2)) above. */
LZ_INLINE double lzi_asin_part(double a) {
  double z = a < 0.5 ? a * a : 0.5 - 0.5 * a;
  double s = a < 0.5 ? a : __builtin_sqrt(z);
  double p = LZ_POLY_F64(7, z, 0.16666667191579304, 0.07499948007465289, 0.04466020563529204,
                         0.03010970783306489, 0.02462190933499544, 0.007457829144758537,
                         0.034706973193165104);
  return lzi_mad_f64(p * z, s, s);
}
LZ_INLINE float lz_asin_f32(float x) {
  double a = __builtin_fabs((double)x);
  double p = lzi_asin_part(a);
  return __builtin_copysignf((float)(a < 0.5 ? p : 0x1.921fb54442d18p+0 - 2.0 * p), x);
}
LZ_INLINE float lz_acos_f32(float x) {
  double v = (double)x, a = __builtin_fabs(v);
  double p = lzi_asin_part(a);
  double near = 0x1.921fb54442d18p+0 - (v < 0.0 ? -p : p);
  double far = v < 0.0 ? 0x1.921fb54442d18p+1 - 2.0 * p : 2.0 * p;
  return (float)(a < 0.5 ? near : far);
}

/* atan(t), 0 <= t <= 1; relative error 2^-36. */
LZ_INLINE double lzi_atan_part(double t) {
  double z = t * t;
  double p = LZ_POLY_F64(12, z, -0.33333333130214515, 0.19999985332418557, -0.1428534332651112,
                         0.11106369480642733, -0.090549520566958, 0.07515374613714826,
                         -0.060686694934186915, 0.044366670023250204, -0.026745709471458948,
                         0.01191087933094905, -0.0033771768099493523, 0.000449186134220116);
  return lzi_mad_f64(p * z, t, t);
}
LZ_INLINE float lz_atan_f32(float x) {
  double a = __builtin_fabs((double)x);
  double p = lzi_atan_part((a > 1.0 ? 1.0 : a) / (a > 1.0 ? a : 1.0));
  return __builtin_copysignf((float)(a > 1.0 ? 0x1.921fb54442d18p+0 - p : p), x);
}
LZ_INLINE float lz_atan2_f32(float y, float x) {
  double v = (double)x, b = __builtin_fabs((double)y), a = __builtin_fabs(v);
  double low = b > a ? a : b, high = b > a ? b : a;
  double t = low / high;
  t = low == high ? 1.0 : t; /* inf / inf */
  t = high + low == 0.0 ? 0.0 : t;
  double p = lzi_atan_part(t);
  p = b > a ? 0x1.921fb54442d18p+0 - p : p;
  p = __builtin_copysign(1.0, v) < 0.0 ? 0x1.921fb54442d18p+1 - p : p; /* -0 counts as negative */
  return __builtin_copysignf((float)p, y);
}

/* erfc(a) = exp(-a^2) g / (1 + 2 a) for a >= 1/2, g a polynomial in (a - 3) / (a + 3): the form of
   M. Shepherd and J. Laframboise, Math. Comp. 36, 1981. */
LZ_INLINE float lz_erfc_f32(float x) {
  double v = (double)x;
  double a = __builtin_fabs(v);
  a = a > 10.5 ? 10.5 : a;
  double p = LZ_POLY_F64(6, v * v, 0.1283791670820764, -0.3761263851907638, 0.11283773804617445,
                         -0.026863119816459943, 0.005200308078226373, -0.0007692849893605964);
  double small = 1.0 - lzi_mad_f64(p, v, v);
  double twice = lzi_mad_f64(2.0, a, 1.0);
  double inverse = 1.0 / (twice * (a + 3.0));
  double g = LZ_POLY_F64(12, (a - 3.0) * twice * inverse, 1.2530080582832184, -0.13562110534789132,
                         -0.047562296857642995, 0.12964511119523678, -0.1192735952747207,
                         0.06830886148553873, -0.02377110607582058, 0.0025231599082516116,
                         0.0018904077126670367, -0.0007577890202040934, -0.0001050979839948386,
                         8.977096711494648e-05);
  double tail = lzi_exp_short(-(a * a)) * (g * ((a + 3.0) * inverse));
  tail = v < 0.0 ? 2.0 - tail : tail;
  return (float)(a < 0.5 ? small : tail);
}

LZ_INLINE double lzi_whole_f64(double y) { return (y + LZ_MAGIC_F64) - LZ_MAGIC_F64; }

/* 2^(y log2 |x|). C11, F.10.4.4: a zero exponent and a base of 1 win over nan; -1 to an infinite
   power is 1. From 2^24 on a float is an even integer. */
LZ_INLINE float lz_pow_f32(float x, float y) {
  double v = (double)x, w = (double)y, a = __builtin_fabs(v), k;
  double f = lzi_split_f64(a, &k);
  double level = lzi_mad_f64(lzi_log_of_fraction(f), 0x1.71547652b82fep+0, k);
  level = a == 0.0 ? -LZ_INF_F64 : level;
  level = a < LZ_INF_F64 ? level : a;
  double t = lzi_clamp_f64(w * level, -200.0, 200.0);
  double shifted = t + LZ_MAGIC_F64;
  double r = t - (shifted - LZ_MAGIC_F64);
  double p = LZ_POLY_F64(8, r, 0.6931471805460434, 0.240226506955513, 0.0555041094114528,
                         0.009618129220134101, 0.0013333450477888147, 0.00015403414988482685,
                         1.531012467631809e-05, 1.3263598574198942e-06);
  double result = lzi_of_bits_f64(lzi_bits_f64(lzi_mad_f64(p, r, 1.0)) +
                                  (lzi_bits_f64(shifted) << 52));
  result = t == t ? result : t;
  double size = __builtin_fabs(w), even = size < 0x1p24 ? w : 0.0;
  int fraction = lzi_whole_f64(even) != even;
  int odd = lzi_whole_f64(0.5 * even) != 0.5 * even;
  double negative = fraction ? (a < LZ_INF_F64 && a > 0.0 ? LZ_NAN_F64 : result)
                             : (odd ? -result : result);
  result = __builtin_copysign(1.0, v) < 0.0 ? negative : result;
  result = a == 1.0 && size == LZ_INF_F64 ? 1.0 : result;
  result = w != w ? w : result;
  result = v != v ? v : result;
  return (float)(v == 1.0 || w == 0.0 ? 1.0 : result);
}

/* ---- float32: trigonometry ---------------------------------------------------------------------

   Payne and Hanek's reduction (SIGNUM Newsletter 18, 1983) for every size of argument. 2/pi is cut
   into pieces of 28 bits, whose products with a float are exact in double precision. Of the pieces
   only four matter: those before give multiples of 4 quarter turns, those after less than 2^-59. */

/* |x| in quarter turns to [-1/2, 1/2], as radians; *quadrant modulo 4 in the low bits. */
LZ_INLINE double lzi_quarter_f32(float x, uint32_t *quadrant) {
  double v = __builtin_fabs((double)x);
  int w0 = v < 0x1p53, w1 = v < 0x1p81, w2 = v < 0x1p109;
  double p0 = w0 ? 0x1.45f306cp-1 : w1 ? 0x1.c9c882ap-29 : w2 ? 0x1.4fe13a8p-59 : 0x1.f47d4dp-86;
  double p1 = w0 ? 0x1.c9c882ap-29 : w1 ? 0x1.4fe13a8p-59 : w2 ? 0x1.f47d4dp-86 : 0x1.bb81b6cp-113;
  double p2 = w0 ? 0x1.4fe13a8p-59 : w1 ? 0x1.f47d4dp-86 : w2 ? 0x1.bb81b6cp-113 : 0x1.4acc9ep-143;
  double p3 = w0 ? 0x1.f47d4dp-86 : w1 ? 0x1.bb81b6cp-113 : w2 ? 0x1.4acc9ep-143 : 0x1.0e4107cp-170;
  /* This magic number rounds to multiples of 4. */
  double a = v * p0, b = v * p1, c = v * p2, d = v * p3;
  double a4 = a + 0x1.8p54, b4 = b + 0x1.8p54;
  a -= a4 - 0x1.8p54;
  b -= b4 - 0x1.8p54;
  double shifted = ((a + b) + c) + LZ_MAGIC_F64;
  *quadrant = (uint32_t)lzi_bits_f64(shifted);
  /* a and the integer are multiples of one unit: their difference is exact. */
  double r = (((a - (shifted - LZ_MAGIC_F64)) + b) + c) + d;
  return r * 0x1.921fb54442d18p+0;
}

LZ_INLINE float lzi_sine_or_cosine_f32(double radians, uint32_t quadrant) {
  float r = (float)radians, low = (float)(radians - (double)r), z = r * r;
  float s = LZ_POLY_F32(3, z, -1.6666655e-01f, 8.332191e-03f, -1.9518599e-04f);
  float c = LZ_POLY_F32(3, z, 4.1666646e-02f, -1.3887301e-03f, 2.443067e-05f);
  float half = 0.5f * z, head = 1.0f - half;
  float sine = r + lzi_mad_f32(s * z, r, low);
  float cosine = head + lzi_mad_f32(c * z, z, ((1.0f - head) - half) - r * low);
  return quadrant & 1u ? cosine : sine;
}

LZ_INLINE float lz_sin_f32(float x) {
  uint32_t q;
  double r = lzi_quarter_f32(x, &q);
  float y = lzi_sine_or_cosine_f32(r, q);
  return lzi_of_bits_f32(lzi_bits_f32(y) ^ (q & 2u) << 30 ^ (lzi_bits_f32(x) & 0x80000000u));
}
LZ_INLINE float lz_cos_f32(float x) {
  uint32_t q;
  double r = lzi_quarter_f32(x, &q);
  q += 1u;
  return lzi_of_bits_f32(lzi_bits_f32(lzi_sine_or_cosine_f32(r, q)) ^ (q & 2u) << 30);
}
LZ_INLINE float lz_tan_f32(float x) {
  uint32_t q;
  double r = lzi_quarter_f32(x, &q), z = r * r;
  double s = LZ_POLY_F64(4, z, -0.16666666641527925, 0.00833332937424081, -0.00019839331033538944,
                         2.718274802524864e-06);
  double c = LZ_POLY_F64(4, z, 0.04166666662265418, -0.001388888373815393, 2.4799515919693442e-05,
                         -2.7209895245983483e-07);
  double sine = lzi_mad_f64(s * z, r, r);
  double cosine = lzi_mad_f64(z * z, c, lzi_mad_f64(z, -0.5, 1.0));
  uint64_t odd = (uint64_t)0 - (q & 1u);
  double top = odd ? -cosine : sine, bottom = odd ? sine : cosine;
  return lzi_of_bits_f32(lzi_bits_f32((float)(top / bottom)) ^ (lzi_bits_f32(x) & 0x80000000u));
}

/* ---- float64 -------------------------------------------------------------------------------- */

/* exp(x) = 1 + *high + *low times 2^n for x = high + low; the two parts of expm1(r). */
LZ_INLINE double lzi_exp_reduced_f64(double x, double tail, double *low, uint64_t *n) {
  double shifted = lzi_mad_f64(x, 0x1.71547652b82fep+0, LZ_MAGIC_F64);
  double whole = shifted - LZ_MAGIC_F64;
  double head = lzi_mad_f64(whole, -0x1.62e42fefp-1, x); /* 33 bits: exact */
  double rest = lzi_mad_f64(whole, -0x1.473de6af278edp-34, tail);
  double r = head + rest;
  *n = lzi_bits_f64(shifted) - lzi_bits_f64(LZ_MAGIC_F64);
  double h = LZ_POLY_F64(9, r, 0.1666666666666643, 0.0416666666666035, 0.008333333333501305,
                         0.001388888892700264, 0.00019841269464057905, 2.4801508397005245e-05,
                         2.755764214009028e-06, 2.762531019256792e-07, 2.497821204212435e-08);
  *low = lzi_mad_f64(lzi_mad_f64(h, r, 0.5), r * r, (head - r) + rest);
  return r;
}

LZ_INLINE double lzi_scale_f64(double y, uint64_t n) {
  uint64_t half = ((n + 2048u) >> 1) - 1024u; /* n >> 1, which AVX2 has for unsigned alone */
  return y * lzi_of_bits_f64((half + 1023u) << 52) * lzi_of_bits_f64((n - half + 1023u) << 52);
}

/* exp(x + tail). */
LZ_INLINE double lzi_exp_sum_f64(double x, double tail) {
  double low;
  uint64_t n;
  double high = lzi_exp_reduced_f64(x, tail, &low, &n);
  double one = 1.0 + high;
  return lzi_scale_f64(one + ((high - (one - 1.0)) + low), n);
}

LZ_INLINE double lz_exp_f64(double x) {
  return lzi_exp_sum_f64(lzi_clamp_f64(x, -746.0, 710.0), 0.0);
}

LZ_INLINE double lz_exp_nonpositive_f64(double x) { return lz_exp_f64(x); }
LZ_INLINE double lz_div_by_total_f64(double a, double total) { return a / total; }

LZ_INLINE double lz_exp2_f64(double x) {
  double y = lzi_clamp_f64(x, -1080.0, 1025.0);
  double shifted = y + LZ_MAGIC_F64;
  double r = y - (shifted - LZ_MAGIC_F64);
  double p = LZ_POLY_F64(11, r, 0.6931471805599453, 0.24022650695910133, 0.05550410866482174,
                         0.009618129107593052, 0.0013333558146379017, 0.0001540353045846605,
                         1.5252733867604487e-05, 1.3215434609860724e-06, 1.0178046420155836e-07,
                         7.0738979257854166e-09, 4.4573951912629155e-10);
  return lzi_scale_f64(lzi_mad_f64(p, r, 1.0), lzi_bits_f64(shifted) - lzi_bits_f64(LZ_MAGIC_F64));
}

/* expm1(x) for |x| <= 710 or nan, the error of the sum in *low. Half of 2^n is used, which does not
   overflow. */
LZ_INLINE double lzi_expm1_f64(double x, double *low) {
  double tail;
  uint64_t n;
  double r = lzi_exp_reduced_f64(x, 0.0, &tail, &n);
  double scale = lzi_of_bits_f64((n + 1022u) << 52);
  double base = scale - 0.5, part = scale * r;
  double sum = base + part;
  *low = 2.0 * lzi_mad_f64(scale, tail, part - (sum - base));
  return 2.0 * sum;
}
LZ_INLINE double lz_expm1_f64(double x) {
  double low;
  double sum = lzi_expm1_f64(lzi_clamp_f64(x, -60.0, 710.0), &low);
  double y = sum < LZ_INF_F64 ? sum + low : sum;
  return __builtin_fabs(x) < 0x1p-54 ? x : y; /* half of a subnormal would lose a bit */
}

LZ_INLINE double lz_sigmoid_f64(double x) {
  double e = lz_exp_f64(-__builtin_fabs(x));
  double numerator = x < 0.0 ? e : 1.0;
  double q = numerator / (1.0 + e);
  double small = lzi_mad_f64(-e, q, e);
  return x < -1.4 ? small : q;
}

/* -t / (t + 2) with t = expm1(-2 |x|) (FreeBSD msun, s_tanh.c); the rounding errors of t and of the
   divisor are put back afterwards. */
LZ_INLINE double lz_tanh_f64(double x) {
  double a = __builtin_fabs(x), low;
  double sum = lzi_expm1_f64(-2.0 * (a > 25.0 ? 25.0 : a), &low);
  double t = sum + low;
  low = (sum - t) + low;
  double divisor = t + 2.0;
  double rest = (t - (divisor - 2.0)) + low;
  double y = -t / divisor;
  y = y - lzi_mad_f64(y, rest, low) * (0.5 * (1.0 + y)); /* 1 + y = 2 / divisor */
  return __builtin_copysign(y, x);
}

/* The logarithm's kernel, FreeBSD msun's e_log.c: log(1 + f) = f - (f^2 / 2 - s (f^2 / 2 + R)) with
   s = f / (2 + f). *half is f^2 / 2; the result s (f^2 / 2 + R). */
LZ_INLINE double lzi_log_rest_f64(double f, double *half) {
  double s = f / (2.0 + f);
  double z = s * s;
  double p = LZ_POLY_F64(7, z, 0.6666666666666734, 0.39999999999416536, 0.28571428742066246,
                         0.22222198600029303, 0.1818356315973257, 0.15314075916260622,
                         0.1479573179352879);
  *half = 0.5 * f * f;
  return s * lzi_mad_f64(z, p, *half);
}

LZ_INLINE double lzi_split_any_f64(double x, double *k) {
  int tiny = x < 0x1p-1022;
  double f = lzi_split_f64(tiny ? x * 0x1p54 : x, k);
  *k -= tiny ? 54.0 : 0.0;
  return f;
}

LZ_INLINE double lzi_log_ends_f64(double x, double y) {
  y = x < LZ_INF_F64 ? y : x;
  y = x < 0.0 ? LZ_NAN_F64 : y;
  return x == 0.0 ? -LZ_INF_F64 : y;
}

LZ_INLINE double lz_log_f64(double x) {
  double k, half;
  double f = lzi_split_any_f64(x, &k);
  double rest = lzi_log_rest_f64(f, &half);
  rest = lzi_mad_f64(k, 0x1.473de6af278edp-34, rest);
  return lzi_log_ends_f64(x, lzi_mad_f64(k, 0x1.62e42fefp-1, f - (half - rest)));
}

LZ_INLINE double lz_log1p_f64(double x) {
  double u = 1.0 + x, k, half;
  double f = lzi_split_f64(u, &k);
  double lost = (x < 1.0 ? x - (u - 1.0) : 1.0 - (u - x)) / u;
  f = k == 0.0 ? x : f;
  lost = k == 0.0 ? 0.0 : lost;
  double rest = lzi_log_rest_f64(f, &half);
  rest += lzi_mad_f64(k, 0x1.473de6af278edp-34, lost);
  double y = lzi_mad_f64(k, 0x1.62e42fefp-1, f - (half - rest));
  y = x < LZ_INF_F64 ? y : x;
  y = x < -1.0 ? LZ_NAN_F64 : y;
  y = x == -1.0 ? -LZ_INF_F64 : y;
  return x == 0.0 ? x : y;
}

/* k scale + log(1 + f) times a constant, all three as two words; high words have free low bits, so
   that their products are exact. */
LZ_INLINE double lzi_log_base_f64(double x, double scale, double scale_low, double factor,
                                  double factor_low) {
  double k, half;
  double f = lzi_split_any_f64(x, &k);
  double rest = lzi_log_rest_f64(f, &half);
  double high = lzi_of_bits_f64(lzi_bits_f64(f - half) & 0xffffffff00000000u);
  double low = ((f - high) - half) + rest;
  double product = high * factor, base = k * scale;
  double sum = base + product;
  double error = (base - sum) + product;
  error += k * scale_low + (low * factor + (low + high) * factor_low);
  return lzi_log_ends_f64(x, sum + error);
}
LZ_INLINE double lz_log2_f64(double x) {
  return lzi_log_base_f64(x, 1.0, 0.0, 0x1.7154764p+0, 0x1.2b82fe1777d10p-28);
}
LZ_INLINE double lz_log10_f64(double x) {
  return lzi_log_base_f64(x, 0x1.34413509f6p-2, 0x1.9fef311f12b36p-42, 0x1.bcb7b14p-2,
                          0x1.26e50e32a6ab7p-30);
}

/* (erf(a) - a) / a, |a| <= 1. */
LZ_INLINE double lzi_erf_small_f64(double a) {
  return LZ_POLY_F64(13, a * a, 0.1283791670955126, -0.3761263890318375, 0.11283791670954857,
                         -0.026866170645072882, 0.005223977624780739, -0.000854832697873517,
                         0.00012055331036653976, -1.4925593501243258e-05, 1.6460972730447426e-06,
                         -1.6350024345998977e-07, 1.465787421209357e-08, -1.1365645182315817e-09,
                         5.945228176984277e-11);
}
LZ_INLINE double lz_erf_f64(double x) {
  double a = __builtin_fabs(x);
  double t = a > 6.0 ? 6.0 : a;
  double twice = lzi_mad_f64(2.0, t, 1.0);
  double inverse = 1.0 / (twice * (t + 3.0));
  double g = LZ_POLY_F64(12, (t - 3.0) * twice * inverse, 1.2530080582702199, -0.13562110610103137,
                         -0.04756229419980302, 0.12964515189520892, -0.11927382348716857,
                         0.06830637057909279, -0.02378071481073663, 0.0024886966756010966,
                         0.001780741377333221, -0.0009679183435620097, -0.0003077089864062625,
                         1.3610363266586844e-05);
  double large = 1.0 - lz_exp_f64(-(t * t)) * (g * ((t + 3.0) * inverse));
  double small = lzi_mad_f64(lzi_erf_small_f64(t), t, t);
  return __builtin_copysign(a < 1.0 ? small : large, x);
}
/* Below 1: (1 - x) - x P, whose first difference is exact where erf(x) is large. Above: exp(-x^2)
   / x times a polynomial in (x - 3) / (x + 3). x^2 = head^2 + (x - head) (x + head), and head^2 is
   exact. */
LZ_INLINE double lz_erfc_f64(double x) {
  double a = __builtin_fabs(x);
  a = a > 28.0 ? 28.0 : a;
  double v = __builtin_copysign(a, x);
  double small = lzi_mad_f64(-lzi_erf_small_f64(a), v, 1.0 - v);
  double g = LZ_POLY_F64(20, (a - 3.0) / (a + 3.0), 0.5370034535441699, 0.09530622695922784,
                         -0.14658304803289215, 0.13988054760179935, -0.09546975030654402,
                         0.0463502633298392, -0.014019825628201843, 0.0009108227221166524,
                         0.0012428761759856173, -0.00041254419693530686, -8.460815828812939e-05,
                         6.898284285002553e-05, 6.462093984510995e-06, -1.1122185802404342e-05,
                         -9.795490599767422e-07, 1.908728231208205e-06, 2.561028963719722e-07,
                         -3.4302985370741404e-07, -3.8271700476227186e-08, 4.28189811677233e-08);
  g = g / (a > 0.5 ? a : 0.5);
  double head = lzi_of_bits_f64(lzi_bits_f64(a) & 0xfffffffff8000000u);
  double low;
  uint64_t n;
  double high = lzi_exp_reduced_f64(-(head * head), (head - a) * (head + a), &low, &n);
  double tail = lzi_scale_f64(lzi_mad_f64(g, high + low, g), n);
  tail = x < 0.0 ? 2.0 - tail : tail;
  return a < 1.0 ? small : tail;
}

/* a b = product + *error, exactly (T. Dekker, Numer. Math. 18, 1971, where there is no fma). */
LZ_INLINE double lzi_product_f64(double a, double b, double *error) {
  double product = a * b;
#if LZ_HAVE_FMA
  *error = __builtin_fma(a, b, -product);
#else
  double a1 = lzi_of_bits_f64(lzi_bits_f64(a) & 0xfffffffff8000000u), a2 = a - a1;
  double b1 = lzi_of_bits_f64(lzi_bits_f64(b) & 0xfffffffff8000000u), b2 = b - b1;
  *error = ((a1 * b1 - product) + a1 * b2 + a2 * b1) + a2 * b2;
#endif
  return product;
}

/* log|x| as two words: 2 s + (2/3) s^3 with s = f / (2 + f) in two words, the rest in one; then y
   times it, and exp of that sum. */
LZ_INLINE double lz_pow_f64(double x, double y) {
  double a = __builtin_fabs(x), k;
  double f = lzi_split_any_f64(a, &k);
  double d = 2.0 + f, d_low = f - (d - 2.0), error;
  double s = f / d;
  double product = lzi_product_f64(s, d, &error);
  double s_low = (((f - product) - error) - s * d_low) / d;
  double z = lzi_product_f64(s, s, &error);
  double z_low = lzi_mad_f64(2.0 * s, s_low, error);
  double p = LZ_POLY_F64(7, z, 0.40000000000002256, 0.2857142857009932, 0.22222222519961085,
                         0.18181784364260178, 0.15386757444500246, 0.13256815478155698,
                         0.1319634681464192);
  /* c = 2/3 + z p in two words, times z, times s */
  double tail = lzi_mad_f64(z, p, 0x1.5555555555555p-55);
  double c = 0x1.5555555555555p-1 + tail;
  double c_low = tail - (c - 0x1.5555555555555p-1);
  double cz = lzi_product_f64(c, z, &error);
  double cz_low = error + (c * z_low + c_low * z);
  double cs = lzi_product_f64(cz, s, &error);
  double cs_low = error + (cz * s_low + cz_low * s);
  double two = s + s;
  double l = two + cs;
  double l_low = (two - l) + cs + (s_low + s_low + cs_low);
  double base = k * 0x1.62e42fefa38p-1; /* 42 bits: exact */
  double high = base + l;
  double low = ((base - high) + l) + lzi_mad_f64(k, 0x1.ef35793c76730p-45, l_low);
  double level = high + low;
  low = (high - level) + low;
  /* Beyond 2^66 every base but 1 has left the range. */
  double power = lzi_clamp_f64(y, -0x1p66, 0x1p66);
  double t = lzi_product_f64(power, level, &error);
  double t_low = lzi_mad_f64(power, low, error);
  double inside = lzi_clamp_f64(t, -800.0, 800.0);
  double result = lzi_exp_sum_f64(inside, inside == t ? t_low : 0.0);
  result = a == 0.0 ? (y < 0.0 ? LZ_INF_F64 : 0.0) : result;
  result = a == LZ_INF_F64 ? (y < 0.0 ? 0.0 : LZ_INF_F64) : result;
  double size = __builtin_fabs(y), even = size < 0x1p53 ? y : 0.0;
  int fraction = __builtin_rint(even) != even;
  int odd = __builtin_rint(0.5 * even) != 0.5 * even;
  double negative = fraction ? (a < LZ_INF_F64 && a > 0.0 ? LZ_NAN_F64 : result)
                             : (odd ? -result : result);
  result = __builtin_copysign(1.0, x) < 0.0 ? negative : result;
  result = a == 1.0 && size == LZ_INF_F64 ? 1.0 : result;
  result = y != y ? y : result;
  result = x != x ? x : result;
  return x == 1.0 || y == 0.0 ? 1.0 : result;
}

/* sin and cos for |x| <= 2^20, nan beyond. The whole range would take eight table look-ups an
   element, no faster than the C library; a loop that found a larger argument runs again with
   lz_sin_f64.
   pi/2 in three parts of 33 bits, whose products with the quadrant are exact, and a fourth
   (FreeBSD msun, e_rem_pio2.c). The argument is the result plus *low. */
LZ_INLINE double lzi_minus_f64(double a, double b, double *lost) {
  double r = a - b, back = r - a;
  *lost += (a - (r - back)) - (b + back);
  return r;
}
LZ_INLINE double lzi_quarter_near_f64(double a, double *low, uint64_t *quadrant) {
  double shifted = lzi_mad_f64(a, 0x1.45f306dc9c883p-1, LZ_MAGIC_F64);
  double n = shifted - LZ_MAGIC_F64, lost = 0.0;
  *quadrant = lzi_bits_f64(shifted);
  double r = a - n * 0x1.921fb544p+0;
  r = lzi_minus_f64(r, n * 0x1.0b4611a6p-34, &lost);
  r = lzi_minus_f64(r, n * 0x1.3198a2ep-69, &lost);
  lost -= n * 0x1.b839a252049c1p-104;
  double sum = r + lost;
  *low = (r - sum) + lost;
  return a <= 0x1p20 ? sum : LZ_NAN_F64;
}
LZ_INLINE double lzi_sine_or_cosine_f64(double r, double low, uint64_t quadrant) {
  double z = r * r, half = 0.5 * z, head = 1.0 - half;
  double s = LZ_POLY_F64(6, z, -0.16666666666666632, 0.00833333333332237, -0.00019841269829771425,
                         2.7557313678747276e-06, -2.505075597336138e-08, 1.5896667163569274e-10);
  double c = LZ_POLY_F64(6, z, 0.0416666666666666, -0.0013888888888874066, 2.4801587289443756e-05,
                         -2.755731434073952e-07, 2.087572163450688e-09, -1.1359559879062713e-11);
  double sine = r + lzi_mad_f64(s * z, r, low * head);
  double cosine = head + lzi_mad_f64(c * z, z, ((1.0 - head) - half) - r * low);
  return quadrant & 1u ? cosine : sine;
}
LZ_INLINE double lz_sin_near_f64(double x) {
  double low;
  uint64_t q;
  double r = lzi_quarter_near_f64(__builtin_fabs(x), &low, &q);
  double y = lzi_sine_or_cosine_f64(r, low, q);
  return lzi_of_bits_f64(lzi_bits_f64(y) ^ (q & 2u) << 62 ^
                         (lzi_bits_f64(x) & 0x8000000000000000u));
}
LZ_INLINE double lz_cos_near_f64(double x) {
  double low;
  uint64_t q;
  double r = lzi_quarter_near_f64(__builtin_fabs(x), &low, &q);
  q += 1u;
  return lzi_of_bits_f64(lzi_bits_f64(lzi_sine_or_cosine_f64(r, low, q)) ^ (q & 2u) << 62);
}

/* The functions that stay the C library's. */
LZ_INLINE double lz_sin_f64(double x) { return sin(x); }
LZ_INLINE double lz_cos_f64(double x) { return cos(x); }
LZ_INLINE double lz_tan_f64(double x) { return tan(x); }
LZ_INLINE double lz_sinh_f64(double x) { return sinh(x); }
LZ_INLINE double lz_cosh_f64(double x) { return cosh(x); }
LZ_INLINE double lz_asin_f64(double x) { return asin(x); }
LZ_INLINE double lz_acos_f64(double x) { return acos(x); }
LZ_INLINE double lz_atan_f64(double x) { return atan(x); }
LZ_INLINE double lz_atan2_f64(double y, double x) { return atan2(y, x); }
LZ_INLINE double lz_asinh_f64(double x) { return asinh(x); }
LZ_INLINE double lz_acosh_f64(double x) { return acosh(x); }
LZ_INLINE double lz_atanh_f64(double x) { return atanh(x); }

/* ---- Remainder of truncation ------------------------------------------------------------------ */

/* Long division in base 2^29, ten digits for a quotient below 2^278. A digit is rounded to nearest,
   so it may be one too large and the rest negative; digit times divisor has 53 bits, so every step
   is exact, and one correction at the end makes the rest the remainder of truncation. */
LZ_INLINE float lz_fmod_f32(float a, float b) {
  double rest = __builtin_fabs((double)a), divisor = __builtin_fabs((double)b);
  double inverse = 1.0 / divisor;
#define LZ_DIGIT(up, down)                                                                        \
  rest -= ((rest * (inverse * down) + LZ_MAGIC_F64) - LZ_MAGIC_F64) * (divisor * up)
  LZ_DIGIT(0x1p261, 0x1p-261);
  LZ_DIGIT(0x1p232, 0x1p-232);
  LZ_DIGIT(0x1p203, 0x1p-203);
  LZ_DIGIT(0x1p174, 0x1p-174);
  LZ_DIGIT(0x1p145, 0x1p-145);
  LZ_DIGIT(0x1p116, 0x1p-116);
  LZ_DIGIT(0x1p87, 0x1p-87);
  LZ_DIGIT(0x1p58, 0x1p-58);
  LZ_DIGIT(0x1p29, 0x1p-29);
  LZ_DIGIT(1.0, 1.0);
#undef LZ_DIGIT
  rest = rest < 0.0 ? rest + divisor : rest;
  rest = rest >= divisor ? rest - divisor : rest;
  float y = __builtin_copysignf((float)rest, a);
  return __builtin_fabsf(b) == LZ_INF_F32 && __builtin_fabsf(a) < LZ_INF_F32 ? a : y;
}
LZ_INLINE double lz_fmod_f64(double a, double b) { return fmod(a, b); }

/* ---- float16 and bfloat16, kept as uint16_t ----------------------------------------------------

   Bit arithmetic after F. Giesen's half_to_float_fast4 and float_to_half_fast3_rtne (public
   domain): a float addition does the shift and the rounding of subnormal halves. Nan keeps its sign
   and the top of its payload, and becomes quiet. */

LZ_INLINE float lz_f32_of_f16(uint16_t h) {
  uint32_t m = ((uint32_t)h & 0x7fffu) << 13, e = m & 0x0f800000u;
  uint32_t u = m + 0x38000000u;
  float small = lzi_of_bits_f32(u + 0x00800000u) - 0x1p-14f;
  u = e == 0x0f800000u ? u + 0x38000000u : u;
  u = e == 0 ? lzi_bits_f32(small) : u;
  return lzi_of_bits_f32(u | (((uint32_t)h & 0x8000u) << 16));
}
LZ_INLINE uint16_t lz_f16_of_f32(float x) {
  uint32_t u = lzi_bits_f32(x), a = u & 0x7fffffffu;
  uint32_t small = lzi_bits_f32(lzi_of_bits_f32(a) + 0.5f) - 0x3f000000u;
  uint32_t normal = (a - 0x38000000u + 0x0fffu + (a >> 13 & 1u)) >> 13;
  uint32_t nan = 0x7e00u | (a >> 13 & 0x1ffu);
  uint32_t y = (int32_t)a < 0x38800000 ? small : normal;
  y = (int32_t)a >= 0x477ff000 ? 0x7c00u : y; /* 65520 and above round to infinity */
  y = (int32_t)a > 0x7f800000 ? nan : y;
  return (uint16_t)(y | (u >> 16 & 0x8000u));
}
LZ_INLINE float lz_f32_of_bf16(uint16_t h) { return lzi_of_bits_f32((uint32_t)h << 16); }
LZ_INLINE uint16_t lz_bf16_of_f32(float x) {
  uint32_t u = lzi_bits_f32(x);
  uint32_t rounded = (u + 0x7fffu + (u >> 16 & 1u)) >> 16, nan = u >> 16 | 0x40u;
  return (uint16_t)((int32_t)(u & 0x7fffffffu) > 0x7f800000 ? nan : rounded);
}

#endif
