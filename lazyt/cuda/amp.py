"""torch.cuda.amp: the older names of torch.amp for CUDA."""

from __future__ import annotations

from lazyt.amp.older import CUDAAutocast as autocast
from lazyt.amp.older import CUDAGradScaler as GradScaler
from lazyt.amp.older import custom_of_cuda

__all__ = ["GradScaler", "autocast", "custom_bwd", "custom_fwd"]

custom_fwd = custom_of_cuda("custom_fwd")
custom_bwd = custom_of_cuda("custom_bwd")
