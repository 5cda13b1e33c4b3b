"""torch.nn.parameter: where PyTorch keeps Parameter and Buffer."""

from lazyt.parameter import Buffer, Parameter

__all__ = ["Buffer", "Parameter"]
