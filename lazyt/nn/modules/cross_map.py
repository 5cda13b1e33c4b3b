"""Normalization by neighbouring channels, as the Lua version of Torch computed it.

Which channels are neighbours is not what `size` says at the borders: the first channel stays in
every sum, and gradients come from channels before. Networks of that time were trained so; PyTorch
keeps it, and `LocalResponseNorm` is what one wants today.
"""

from __future__ import annotations

from typing import Any

import numpy as np

import lazyt
from lazyt.autograd import Function
from lazyt.nn.module import Module
from lazyt.tensor import Tensor


def _neighbours(channels: int, size: int) -> np.ndarray:
    """How often each channel (a column) is in the sum of each (a row)."""
    reach = int((size - 1) / 2 + 1)
    rows = np.zeros((channels, channels))
    rows[0, : min(reach, channels)] = 1
    for c in range(1, channels):
        rows[c] = rows[c - 1]
        if c < channels - reach + 1:
            rows[c, c + reach - 1] += 1
        if c > reach:
            rows[c, c - reach] -= 1
    return rows


def _givers(channels: int, size: int) -> np.ndarray:
    """From which channels (columns) each (a row) receives a gradient."""
    reach = int(size - (size - 1) / 2)
    rows = np.zeros((channels, channels))
    for c in range(channels):
        rows[c, max(c - reach, 0) : max(c - reach + size, 0)] = 1
    return rows


def _over_channels(rows: np.ndarray, x: Tensor) -> Tensor:
    matrix = lazyt.tensor(rows.tolist(), dtype=x.dtype, device=x.device)
    return lazyt.einsum("cd,ndhw->nchw", matrix, x)


class _CrossMap(Function):
    @staticmethod
    def forward(ctx: Any, input: Tensor, size: int, alpha: float, beta: float, k: float) -> Tensor:
        if input.dim() != 4:
            raise ValueError(f"CrossMapLRN2d: Expected input to be 4D, got {input.dim()}D instead.")
        ctx.settings = size, alpha, beta
        sums = _over_channels(_neighbours(input.size(1), size), input.pow(2))
        ctx.scale = sums * (alpha / size) + k
        output = input * ctx.scale.pow(-beta)
        ctx.save_for_backward(input, output)
        return output

    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> tuple:
        input, output = ctx.saved_tensors
        size, alpha, beta = ctx.settings
        ratio = _over_channels(_givers(input.size(1), size), grad_output * output / ctx.scale)
        grad = grad_output * ctx.scale.pow(-beta) - 2 * alpha * beta / size * input * ratio
        return grad, None, None, None, None


_CrossMap.__name__ = "CrossMapLRN2d"  # of which the name of its backward is made


class CrossMapLRN2d(Module):
    """(N, C, H, W) over a power of what neighbouring channels are, squared and added."""

    def __init__(self, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1) -> None:
        super().__init__()
        self.size = size
        self.alpha = alpha
        self.beta = beta
        self.k = k

    def forward(self, input: Tensor) -> Tensor:
        return _CrossMap.apply(input, self.size, self.alpha, self.beta, self.k)

    def extra_repr(self) -> str:
        return f"{self.size}, alpha={self.alpha}, beta={self.beta}, k={self.k}"
