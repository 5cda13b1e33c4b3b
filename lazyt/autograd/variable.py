"""`Variable`, as tensors with history were once called: `from torch.autograd.variable import …`."""

from .engine import Variable

__all__ = ["Variable"]
