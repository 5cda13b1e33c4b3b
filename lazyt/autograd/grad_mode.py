"""The grad modes under the name of PyTorch's module for them."""

from lazyt.gradmode import enable_grad, inference_mode, no_grad, set_grad_enabled

__all__ = ["enable_grad", "inference_mode", "no_grad", "set_grad_enabled"]
