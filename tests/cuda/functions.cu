// Functions of one float or of two integers, each to its own row of the result.

#include <math.h>

extern "C" __global__ void functions(const float* __restrict__ x, float* __restrict__ y, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    const float v = x[i], a = fabsf(v) + 0.01f, unit = v / 8.0f;
    int row = 0;
#define PUT(e) y[row++ * n + i] = (e)
    PUT(expf(v));
    PUT(__expf(v));
    PUT(exp2f(v));
    PUT(expm1f(v));
    PUT(logf(a));
    PUT(log2f(a));
    PUT(log1pf(a));
    PUT(sinf(v));
    PUT(cosf(v));
    PUT(tanf(v));
    PUT(tanhf(v));
    PUT(sinhf(v));
    PUT(coshf(v));
    PUT(atanf(v));
    PUT(asinf(unit));
    PUT(acosf(unit));
    PUT(atan2f(v, 2.0f));
    PUT(asinhf(v));
    PUT(atanhf(unit));
    PUT(sqrtf(a));
    PUT(rsqrtf(a));
    PUT(cbrtf(v));
    PUT(powf(a, 1.5f));
    PUT(erff(v));
    PUT(erfcf(v));
    PUT(erfinvf(unit));
    PUT(fmaf(v, v, 1.0f));
    PUT(fminf(v, 1.0f));
    PUT(fmaxf(v, NAN));
    PUT(floorf(v));
    PUT(ceilf(v));
    PUT(truncf(v));
    PUT(rintf(v));
    PUT(roundf(v));
    PUT(fmodf(v, 1.5f));
    PUT(copysignf(1.0f, v));
    PUT(hypotf(v, 3.0f));
    PUT(lgammaf(a));
    PUT(__fdividef(v, 3.0f));
    PUT(__saturatef(v));
    PUT(max(v, 0.5f));
    PUT(min(v, INFINITY));
    PUT(__int_as_float(__float_as_int(v) ^ 0x80000000));
    PUT(isnan(v) ? 1.0f : 0.0f);
    PUT(__ldg(&x[i]));
    PUT(sinpif(v));
    PUT(normcdff(v));
}

extern "C" __global__ void integers(const unsigned* __restrict__ a, const unsigned* __restrict__ b,
                                    unsigned* __restrict__ y, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    int row = 0;
    PUT(__umulhi(a[i], b[i]));
    PUT((unsigned)__popc(a[i]));
    PUT((unsigned)__clz((int)a[i]));
    PUT(__brev(a[i]));
    PUT((unsigned)__ffs((int)a[i]));
    PUT(min(a[i], b[i]));
    PUT((unsigned)max((int)a[i], (int)b[i]));
    PUT(__funnelshift_l(a[i], b[i], 5));
    PUT((unsigned)__popcll((unsigned long long)a[i] << 32 | b[i]));
    PUT((unsigned)__float2int_rn((float)(a[i] % 1000) / 2));
    PUT((unsigned)(clock64() >= 0));
}
