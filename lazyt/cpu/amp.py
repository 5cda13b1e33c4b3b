"""torch.cpu.amp: the older names of torch.amp for the CPU."""

from __future__ import annotations

from lazyt.amp.older import CPUAutocast as autocast
from lazyt.amp.older import CPUGradScaler as GradScaler

__all__ = ["GradScaler", "autocast"]
