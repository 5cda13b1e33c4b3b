"""CUDA C without a GPU: kernels that run on the host with their faults found, and a driver."""
