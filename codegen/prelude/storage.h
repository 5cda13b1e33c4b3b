/* Elements of 16 bits in C: kept in memory in their own type, computed with in float.

       lz_half h = lz_narrow_f16(0.1f);      // 0x2e66, the nearest of 11 bits
       float x = lz_widen_f16(h);            // 0.0999755859375f, as lz_round_f16(0.1f) is at once

   Rounding is to nearest, ties to even; what rounds past the largest finite number is infinite, and
   subnormal halves are honoured. Straight-line code for any target with integer vectors, after
   Giesen's float_to_half_fast3_rtne and half_to_float_fast4 (public domain, 2012). Stands after
   math.h; storage.cuh has the same names for CUDA C. NumPy has no bfloat16: its elements are floats
   that hold rounded numbers (ir/dtypes.py). */
#ifndef LAZYT_STORAGE_H
#define LAZYT_STORAGE_H

typedef uint16_t lz_half;
typedef float lz_bfloat16;

LZ_INLINE float lz_widen_f16(lz_half h) {
  const uint32_t infinite = 0x7c00u << 13, shifted = (uint32_t)(h & 0x7fff) << 13;
  const uint32_t exponent = shifted & infinite, normal = shifted + ((127u - 15u) << 23);
  /* A subnormal half: as if it had a leading one, which is then subtracted. */
  const float small = lzi_of_bits_f32(normal + (1u << 23)) - lzi_of_bits_f32(113u << 23);
  uint32_t bits = exponent == infinite ? normal + ((128u - 16u) << 23) : normal;
  bits = exponent == 0 ? lzi_bits_f32(small) : bits;
  return lzi_of_bits_f32(bits | ((uint32_t)(h & 0x8000) << 16));
}
LZ_INLINE lz_half lz_narrow_f16(float x) {
  const uint32_t all = lzi_bits_f32(x), size = all & 0x7fffffffu;
  /* Half a unit more carries where that rounds up, and one bit less of it where the last is even. */
  const uint32_t normal = (size - ((127u - 15u) << 23) + 0xfffu + (size >> 13 & 1)) >> 13;
  /* Below 2^-14 the addition of 0.5 rounds to a subnormal half's last place. */
  const uint32_t small = lzi_bits_f32(lzi_of_bits_f32(size) + 0.5f) - lzi_bits_f32(0.5f);
  uint32_t bits = size < 0x38800000u ? small : normal;
  bits = size >= 0x47800000u ? 0x7c00u : bits;
  bits = size > 0x7f800000u ? 0x7e00u : bits;
  return (lz_half)(bits | (all >> 16 & 0x8000u));
}
LZ_INLINE float lz_round_f16(float x) { return lz_widen_f16(lz_narrow_f16(x)); }

LZ_INLINE float lz_widen_bf16(lz_bfloat16 x) { return x; }
LZ_INLINE lz_bfloat16 lz_narrow_bf16(float x) { return x; }
LZ_INLINE float lz_round_bf16(float x) {
  const uint32_t bits = lzi_bits_f32(x);
  const uint32_t rounded = (bits + 0x7fffu + (bits >> 16 & 1)) & 0xffff0000u;
  return x != x ? x : lzi_of_bits_f32(rounded);
}

#endif
