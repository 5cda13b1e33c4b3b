// One element a thread, a grid-stride loop, and four elements a load.

extern "C" __global__ void scale_add(const float* __restrict__ x, float* __restrict__ y, float s,
                                     int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) y[i] = s * x[i] + y[i];
}

extern "C" __global__ void __launch_bounds__(256)
    silu(const float* __restrict__ x, float* __restrict__ y, int n) {
    for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < n; i += gridDim.x * blockDim.x)
        y[i] = x[i] / (1.0f + expf(-x[i]));
}

// n is a multiple of 4; x and y start at multiples of 16 bytes.
extern "C" __global__ void square4(const float* __restrict__ x, float* __restrict__ y, int n) {
    for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < n / 4; i += gridDim.x * blockDim.x) {
        float4 v = reinterpret_cast<const float4*>(x)[i];
        reinterpret_cast<float4*>(y)[i] = make_float4(v.x * v.x, v.y * v.y, v.z * v.z, v.w * v.w);
    }
}

// Every index and extent, in the order that a launch counts them.
extern "C" __global__ void positions(unsigned* __restrict__ out) {
    unsigned block = (blockIdx.z * gridDim.y + blockIdx.y) * gridDim.x + blockIdx.x;
    unsigned thread = (threadIdx.z * blockDim.y + threadIdx.y) * blockDim.x + threadIdx.x;
    out[block * (blockDim.x * blockDim.y * blockDim.z) + thread] = block * 10000 + thread;
}

struct Affine {
    float scale, shift;
};

// Parameters of several sizes, a struct among them; a pointer that may be null.
extern "C" __global__ void parameters(double a, Affine f, bool flip, long long big,
                                      unsigned char small, const float* __restrict__ maybe,
                                      double* __restrict__ out) {
    out[0] = a * f.scale + f.shift;
    out[1] = flip;
    out[2] = (double)big;
    out[3] = small;
    out[4] = maybe ? maybe[0] : -1.0;
}
