"""torch.nn.attention: how attention is computed, which programs may ask for."""

from __future__ import annotations

from lazyt.backends.attention import SDPBackend, sdpa_kernel

__all__ = ["SDPBackend", "sdpa_kernel", "WARN_FOR_UNFUSED_KERNELS"]

WARN_FOR_UNFUSED_KERNELS = False
