/* Operations whose meaning is PyTorch's or NumPy's own: one text for C and CUDA C.

   The file stands after the language's own mathematics (math.h or cuda.h), which gives LZ_INLINE and
   lz_fmod_f32 and _f64. For example

       lz_maximum_f32(1, NAN) is a nan, lz_fmax_f32(1, NAN) is 1, lz_floor_div_f64(1, 0.1) is 9.

   Straight-line code: every case is computed and selected from, so that a loop around a call becomes
   SIMD code, and no warp diverges. */
#ifndef LAZYT_SEMANTICS_H
#define LAZYT_SEMANTICS_H

/* ---- Roots, rounding, order; the same text for both widths -------------------------------------

   maximum and minimum return a nan operand, fmax and fmin the other one; of two zeros the first.
   sign keeps nan, as NumPy does; sign_torch makes it 0. */

#define LZ_BOTH_WIDTHS(T, F, S)                                                                   \
  LZ_INLINE T lz_sqrt_##S(T x) { return sqrt##F(x); }                                             \
  LZ_INLINE T lz_rsqrt_##S(T x) { return 1 / sqrt##F(x); }                                        \
  LZ_INLINE T lz_abs_##S(T x) { return fabs##F(x); }                                              \
  LZ_INLINE T lz_floor_##S(T x) { return floor##F(x); }                                           \
  LZ_INLINE T lz_ceil_##S(T x) { return ceil##F(x); }                                             \
  LZ_INLINE T lz_trunc_##S(T x) { return trunc##F(x); }                                           \
  LZ_INLINE T lz_round_##S(T x) { return rint##F(x); }                                            \
  LZ_INLINE T lz_sign_##S(T x) {                                                                  \
    T y = x < 0 ? (T)-1 : (T)0;                                                                   \
    y = x > 0 ? (T)1 : y;                                                                         \
    return x != x ? x : y;                                                                        \
  }                                                                                               \
  LZ_INLINE T lz_sign_torch_##S(T x) {                                                            \
    T y = x < 0 ? (T)-1 : (T)0;                                                                   \
    return x > 0 ? (T)1 : y;                                                                      \
  }                                                                                               \
  LZ_INLINE T lz_maximum_##S(T a, T b) {                                                          \
    T y = a >= b ? a : b;                                                                         \
    return a != a ? a : y;                                                                        \
  }                                                                                               \
  LZ_INLINE T lz_minimum_##S(T a, T b) {                                                          \
    T y = a <= b ? a : b;                                                                         \
    return a != a ? a : y;                                                                        \
  }                                                                                               \
  LZ_INLINE T lz_fmax_##S(T a, T b) {                                                             \
    T y = a >= b ? a : b;                                                                         \
    return b != b ? a : y;                                                                        \
  }                                                                                               \
  LZ_INLINE T lz_fmin_##S(T a, T b) {                                                             \
    T y = a <= b ? a : b;                                                                         \
    return b != b ? a : y;                                                                        \
  }

LZ_BOTH_WIDTHS(float, f, f32)
LZ_BOTH_WIDTHS(double, , f64)

/* remainder: a remainder of zero has the sign of the divisor (NumPy, Python); remainder_torch
   leaves it that of a. floor_div: the quotient of a - fmod(a, b), corrected to the floor, as in
   NumPy's npy_math and in PyTorch; 1.0 and 0.1 give 9, since 0.1 is above a tenth. */
#define LZ_DIVISION(T, F, S)                                                                      \
  LZ_INLINE T lz_remainder_##S(T a, T b) {                                                        \
    T rest = lz_fmod_##S(a, b);                                                                   \
    T moved = rest + b;                                                                           \
    moved = (b < 0) != (rest < 0) ? moved : rest;                                                 \
    return rest == 0 ? copysign##F((T)0, b) : moved;                                              \
  }                                                                                               \
  LZ_INLINE T lz_remainder_torch_##S(T a, T b) {                                                  \
    T rest = lz_fmod_##S(a, b);                                                                   \
    T moved = rest + b;                                                                           \
    moved = (b < 0) != (rest < 0) ? moved : rest;                                                 \
    return rest == 0 ? rest : moved;                                                              \
  }                                                                                               \
  LZ_INLINE T lz_floor_div_##S(T a, T b) {                                                        \
    T plain = a / b;                                                                              \
    T rest = lz_fmod_##S(a, b);                                                                   \
    T quotient = (a - rest) / b;                                                                  \
    T less = quotient - 1;                                                                        \
    quotient = rest != 0 && (b < 0) != (rest < 0) ? less : quotient;                              \
    T floored = floor##F(quotient);                                                               \
    T next = floored + 1;                                                                         \
    floored = quotient - floored > (T)0.5 ? next : floored;                                       \
    floored = quotient == 0 ? copysign##F((T)0, plain) : floored;                                 \
    return b == 0 ? plain : floored;                                                              \
  }

LZ_DIVISION(float, f, f32)
LZ_DIVISION(double, , f64)

/* ---- Division with remainder: integers, for a divisor that is not 0 ----------------------------

   The smallest integer divided by -1 is itself, its remainder 0. 32-bit quotients come from double
   division, which the vectoriser has and integer division it has not: a quotient that is no integer
   is at least 2^-31 away from one, and double precision resolves that. */

LZ_INLINE int32_t lz_trunc_div_i32(int32_t a, int32_t b) {
  double q = (double)a / (double)b;
  return (int32_t)(q > 2147483647.0 ? -2147483648.0 : q);
}
LZ_INLINE int32_t lz_floor_div_i32(int32_t a, int32_t b) {
  double q = (double)a / (double)b;
  int32_t t = (int32_t)(q > 2147483647.0 ? -2147483648.0 : q);
  uint32_t rest = (uint32_t)a - (uint32_t)t * (uint32_t)b;
  return t - (rest != 0 && (int32_t)(rest ^ (uint32_t)b) < 0);
}
LZ_INLINE int32_t lz_fmod_i32(int32_t a, int32_t b) {
  return (int32_t)((uint32_t)a - (uint32_t)lz_trunc_div_i32(a, b) * (uint32_t)b);
}
LZ_INLINE int32_t lz_remainder_i32(int32_t a, int32_t b) {
  return (int32_t)((uint32_t)a - (uint32_t)lz_floor_div_i32(a, b) * (uint32_t)b);
}
LZ_INLINE int64_t lz_trunc_div_i64(int64_t a, int64_t b) {
  int64_t negated = (int64_t)((uint64_t)0 - (uint64_t)a), q = a / (b == -1 ? 1 : b);
  return b == -1 ? negated : q;
}
LZ_INLINE int64_t lz_fmod_i64(int64_t a, int64_t b) { return a % (b == -1 ? 1 : b); }
LZ_INLINE int64_t lz_floor_div_i64(int64_t a, int64_t b) {
  int64_t rest = lz_fmod_i64(a, b);
  return lz_trunc_div_i64(a, b) - (rest != 0 && (rest ^ b) < 0);
}
LZ_INLINE int64_t lz_remainder_i64(int64_t a, int64_t b) {
  int64_t rest = lz_fmod_i64(a, b);
  return rest + (rest != 0 && (rest ^ b) < 0 ? b : 0);
}

/* ---- Integers: what else C leaves undefined ----------------------------------------------------

   A divisor of 0 is refused by whoever calls; the quotient then is of no use. Shifts by a count that
   is negative or no less than the width leave 0, to the right the sign (NumPy's rule). A negative
   power is what truncation leaves of the reciprocal, and that of 0 is 0. */

#define LZ_INTEGERS(T, U, S, WIDTH)                                                               \
  LZ_INLINE T lz_pow_##S(T a, T b) {                                                              \
    U square = (U)a, product = 1;                                                                 \
    for (T rest = b; rest > 0; rest >>= 1) {                                                      \
      product *= rest & 1 ? square : 1;                                                           \
      square *= square;                                                                           \
    }                                                                                             \
    return b >= 0 ? (T)product : a == 1 ? 1 : a == -1 ? 1 - 2 * (b & 1) : 0;                      \
  }                                                                                               \
  LZ_INLINE T lz_divisor_##S(T b) { return b == 0 ? 1 : b; }                                      \
  LZ_INLINE T lz_shift_left_##S(T a, T count) {                                                   \
    T moved = (T)((U)a << (count & (WIDTH - 1)));                                                 \
    return (count >= 0) & (count < WIDTH) ? moved : 0;                                            \
  }                                                                                               \
  LZ_INLINE T lz_shift_right_##S(T a, T count) {                                                  \
    return a >> ((count >= 0) & (count < WIDTH) ? count : WIDTH - 1);                             \
  }

LZ_INTEGERS(int32_t, uint32_t, i32, 32)
LZ_INTEGERS(int64_t, uint64_t, i64, 64)

/* An index of an axis; -1 where it is out of range. wrapped: negative ones count from the end. */
LZ_INLINE int64_t lz_place(int64_t i, int64_t extent) { return i < extent && i >= 0 ? i : -1; }
LZ_INLINE int64_t lz_wrapped(int64_t i, int64_t extent) {
  return lz_place(i < 0 ? i + extent : i, extent);
}

/* A float as an integer; nan and what is out of range give the smallest, as x86's instructions. */
#define LZ_INTEGER_OF(T, F, S, BOUND)                                                             \
  LZ_INLINE int##T##_t lz_i##T##_of_##S(F x) {                                                    \
    return x >= -(F)BOUND && x < (F)BOUND ? (int##T##_t)x                                         \
                                          : (int##T##_t)((uint##T##_t)1 << (T - 1));              \
  }

LZ_INTEGER_OF(32, float, f32, 2147483648.0)
LZ_INTEGER_OF(32, double, f64, 2147483648.0)
LZ_INTEGER_OF(64, float, f32, 9223372036854775808.0)
LZ_INTEGER_OF(64, double, f64, 9223372036854775808.0)

#endif
