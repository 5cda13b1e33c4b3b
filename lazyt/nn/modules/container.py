"""torch.nn.modules.container: where PyTorch keeps the containers."""

from lazyt.nn.containers import *  # noqa: F403
