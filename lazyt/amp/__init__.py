"""Mixed precision: autocast and the scaling of gradients (torch.amp)."""

from __future__ import annotations

from lazyt.amp.autocast_mode import autocast, custom_bwd, custom_fwd, is_autocast_available
from lazyt.amp.grad_scaler import GradScaler
from lazyt.missing import getattr_of

__all__ = ["GradScaler", "autocast", "custom_bwd", "custom_fwd", "is_autocast_available"]

__getattr__ = getattr_of(__name__)
