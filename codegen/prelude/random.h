/* Random numbers by counting, for generated C and CUDA C: Philox 4x32-10.

   J. K. Salmon, M. A. Moraes, R. O. Dror and D. E. Shaw, "Parallel random numbers: as easy as 1, 2,
   3" (SC 2011). The counter is cuRAND's: offset below, subsequence (here: the block) above.

       lz_philox(0, 2, 0, 0, 0, 0) == 0xbc57ac4c

   Straight-line, so that loops around it vectorise; words of one block that are taken side by side
   share their rounds. Integers only: the same bits everywhere. */
#ifndef LAZYT_RANDOM_H
#define LAZYT_RANDOM_H

#ifndef __CUDACC_RTC__
#include <stdint.h>
#endif

#if defined(__CUDACC__) || defined(LAZYT_CUDA_HOST)
#define LZ_RANDOM __device__ __forceinline__
/* Both halves of a product: two instructions, where nvcc makes more of one of 64 bits. */
#define LZ_PRODUCT(high, low, x, y)                                                                \
    high = __umulhi(x, y);                                                                         \
    low = (x) * (y);
#else
#define LZ_RANDOM static inline __attribute__((always_inline, unused))
#define LZ_PRODUCT(high, low, x, y)                                                                \
    {                                                                                              \
        const uint64_t wide = (uint64_t)(x) * (y);                                                 \
        high = (uint32_t)(wide >> 32);                                                             \
        low = (uint32_t)wide;                                                                      \
    }
#endif

#define LZ_PHILOX_ROUND(i)                                                                         \
    LZ_PRODUCT(left, left_low, a, 0xD2511F53u)                                                     \
    LZ_PRODUCT(right, right_low, c, 0xCD9E8D57u)                                                   \
    a = right ^ b ^ (first + (i) * 0x9E3779B9u);                                                   \
    c = left ^ d ^ (second + (i) * 0xBB67AE85u);                                                   \
    b = right_low;                                                                                 \
    d = left_low;

/* Word (mod 4) of a block, in [0, 2^32). Seed and offset come as halves of 32 bits. */
LZ_RANDOM int64_t lz_philox(int64_t block, int64_t word, int64_t seed_low, int64_t seed_high,
                            int64_t offset_low, int64_t offset_high)
{
    const uint32_t first = (uint32_t)seed_low, second = (uint32_t)seed_high;
    uint32_t a = (uint32_t)offset_low, b = (uint32_t)offset_high;
    uint32_t c = (uint32_t)block, d = (uint32_t)((uint64_t)block >> 32);
    uint32_t left, right, left_low, right_low;
    LZ_PHILOX_ROUND(0u)
    LZ_PHILOX_ROUND(1u)
    LZ_PHILOX_ROUND(2u)
    LZ_PHILOX_ROUND(3u)
    LZ_PHILOX_ROUND(4u)
    LZ_PHILOX_ROUND(5u)
    LZ_PHILOX_ROUND(6u)
    LZ_PHILOX_ROUND(7u)
    LZ_PHILOX_ROUND(8u)
    LZ_PHILOX_ROUND(9u)
    const uint32_t lower = word & 1 ? b : a, upper = word & 1 ? d : c;
    return (int64_t)(word & 2 ? upper : lower);
}

/* x mod (high 2^32 + low), where x stands for an unsigned number. */
LZ_RANDOM int64_t lz_unsigned_remainder(int64_t x, int64_t low, int64_t high)
{
    return (int64_t)((uint64_t)x % ((uint64_t)high << 32 | (uint64_t)low));
}

#endif
