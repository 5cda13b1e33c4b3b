"""torch.nn.modules.module: where PyTorch keeps Module."""

from lazyt.nn.hooks import *  # noqa: F403
from lazyt.nn.module import Module as Module
