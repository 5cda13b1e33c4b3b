// A transpose and a product through tiles in shared memory. Extents need not be multiples of a
// tile.

extern "C" __global__ void transpose(const float* __restrict__ a, float* __restrict__ b, int rows,
                                     int columns) {
    __shared__ float tile[32][33];
    int x = blockIdx.x * 32 + threadIdx.x;
    for (int j = threadIdx.y; j < 32; j += blockDim.y) {
        int y = blockIdx.y * 32 + j;
        if (x < columns && y < rows) tile[j][threadIdx.x] = a[(size_t)y * columns + x];
    }
    __syncthreads();
    x = blockIdx.y * 32 + threadIdx.x;
    for (int j = threadIdx.y; j < 32; j += blockDim.y) {
        int y = blockIdx.x * 32 + j;
        if (x < rows && y < columns) b[(size_t)y * rows + x] = tile[threadIdx.x][j];
    }
}

// c = a @ b of (m, k) and (k, n); blocks of 16 by 16 threads.
extern "C" __global__ void __launch_bounds__(256)
    matmul(const float* __restrict__ a, const float* __restrict__ b, float* __restrict__ c, int m,
           int n, int k) {
    __shared__ float ta[16][16];
    __shared__ float tb[16][16];
    const int tx = threadIdx.x, ty = threadIdx.y;
    const int row = blockIdx.y * 16 + ty, column = blockIdx.x * 16 + tx;
    float sum = 0.0f;
    for (int k0 = 0; k0 < k; k0 += 16) {
        ta[ty][tx] = row < m && k0 + tx < k ? a[(size_t)row * k + k0 + tx] : 0.0f;
        tb[ty][tx] = column < n && k0 + ty < k ? b[(size_t)(k0 + ty) * n + column] : 0.0f;
        __syncthreads();
#pragma unroll
        for (int i = 0; i < 16; i++) sum = fmaf(ta[ty][i], tb[i][tx], sum);
        __syncthreads();
    }
    if (row < m && column < n) c[(size_t)row * n + column] = sum;
}
