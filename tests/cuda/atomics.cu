// Atomic operations on global and shared memory, constant and device variables.

__constant__ float weights[4];
__device__ int calls;

// 64 bins; values lie in [0, 64).
extern "C" __global__ void histogram(const int* __restrict__ x, int* __restrict__ bins, int n) {
    __shared__ int mine[64];
    for (int i = threadIdx.x; i < 64; i += blockDim.x) mine[i] = 0;
    __syncthreads();
    for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < n; i += gridDim.x * blockDim.x)
        atomicAdd(&mine[x[i]], 1);
    __syncthreads();
    for (int i = threadIdx.x; i < 64; i += blockDim.x)
        if (mine[i]) atomicAdd(&bins[i], mine[i]);
}

extern "C" __global__ void atomics(float* f, double* d, int* i, unsigned* u,
                                   unsigned long long* l) {
    const int t = blockIdx.x * blockDim.x + threadIdx.x;
    atomicAdd(f, 0.5f);
    atomicAdd(d, 0.25);
    atomicAdd(&i[0], t);
    atomicMax(&i[1], t);
    atomicMin(&i[2], -t);
    atomicAdd(&u[0], 2u);
    atomicExch(&u[1], 7u);
    atomicCAS(&u[2], 5u, 9u);
    atomicAdd(&l[0], 1ull << 33);
    atomicMax(&l[1], (unsigned long long)t << 40);
}

// The block that comes last adds up what all blocks left, once a fence and a counter say so.
extern "C" __global__ void last_block(const int* __restrict__ x, int* partial, unsigned* counter,
                                      int* out) {
    __shared__ bool last;
    if (threadIdx.x == 0) {
        partial[blockIdx.x] = x[blockIdx.x];
        __threadfence();
        last = atomicAdd(counter, 1u) == gridDim.x - 1;
    }
    __syncthreads();
    if (last && threadIdx.x == 0) {
        int sum = 0;
        for (int i = 0; i < gridDim.x; i++) sum += partial[i];
        *out = sum;
    }
}

extern "C" __global__ void weigh(float* out) {
    if (threadIdx.x < 4) out[threadIdx.x] = weights[threadIdx.x];
    if (threadIdx.x == 0) calls += 1;
}
