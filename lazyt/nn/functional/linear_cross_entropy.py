"""The cross entropy of a linear layer's scores: `linear_cross_entropy`.

    linear_cross_entropy(x, weight, target)      cross_entropy(linear(x, weight), target)

PyTorch's options say how the scores are computed piece by piece, to save memory; here they are
checked, and the result is that of the two functions.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from lazyt.ir import dtypes
from lazyt.ir.dtypes import FLOATING
from lazyt.tensor import Tensor

from .linear import linear
from .losses import cross_entropy

_POLICIES = ("auto", "accurate", "balanced", "compact")


@dataclass(slots=True, frozen=True)
class LinearCrossEntropyOptions:
    """How PyTorch divides the work. ValueError for values that PyTorch does not take."""

    allow_retain_graph: bool = False
    batch_chunk_size: int | None = None
    chunking_method: str | None = "auto"
    acc_policy: str = "auto"
    acc_dtype: dtypes.DType | None = None

    def __post_init__(self) -> None:
        if self.acc_policy not in _POLICIES:
            raise ValueError(f"invalid acc_policy: {self.acc_policy!r}")
        if self.chunking_method not in (None, "auto"):
            name, given, factor = self.chunking_method.partition(":")
            number = factor if given else "1"
            if name != "aspect_ratio" or not number.isdigit() or int(number) == 0:
                raise ValueError(f"invalid chunking_method: {self.chunking_method!r}")
        size = self.batch_chunk_size
        if size is not None and not (isinstance(size, int) and size > 0):
            raise ValueError(f"batch_chunk_size must be positive int or None, got {size!r}")
        if self.acc_dtype is not None and self.acc_dtype.category != FLOATING:
            raise ValueError(
                "acc_dtype must be one of {None, torch.float16, torch.bfloat16, torch.float32, "
                f"torch.float64}}, got {self.acc_dtype!r}. Pass acc_dtype=None to let the op pick "
                "automatically."
            )


def linear_cross_entropy(
    input: Tensor,
    linear_weight: Tensor,
    target: Tensor,
    *,
    linear_bias: Tensor | None = None,
    weight: Tensor | None = None,
    reduction: str = "mean",
    ignore_index: int | None = None,
    label_smoothing: float = 0.0,
    options: LinearCrossEntropyOptions | None = None,
) -> Tensor:
    """`cross_entropy` of scores `linear(input, linear_weight, linear_bias)`.

    input: (N, in) or (in,). linear_weight: (C, *S, in), linear_bias: (C, *S), for scores (N, C,
    *S). The rest is that of `cross_entropy`. Errors: RuntimeError in PyTorch's words.
    """
    if input.dim() not in (1, 2):
        raise RuntimeError(f"expected input with dimensionality 1 or 2, got {input.dim()}")
    if linear_weight.dim() < 2:
        raise RuntimeError(
            f"expected linear_weight with dimensionality at least 2, got {linear_weight.dim()}"
        )
    batch, features = tuple(input.shape[:-1]), input.shape[-1]
    own: Any = tuple(linear_weight.shape)
    if features != own[-1]:
        raise RuntimeError(
            "expected equal input and linear_weight last dimensions (in_features), got "
            f"{features} and {own[-1]}, respectively"
        )
    if linear_bias is not None and tuple(linear_bias.shape) != own[:-1]:
        raise RuntimeError(f"expected linear_bias shape {own[:-1]}, got {tuple(linear_bias.shape)}")
    if len(own) > 2 and not batch:
        raise RuntimeError(
            f"K-dimensional loss defined by linear_weight shape {own} requires batched input, (N, "
            f"{features}), got unbatched input with shape {tuple(input.shape)}"
        )
    shape = (*batch, *own[:-1])
    if tuple(target.shape) == shape and ignore_index is not None:
        raise RuntimeError("ignore_index cannot be specified when target contains probabilities")
    if len(own) > 2:
        linear_weight = linear_weight.reshape(math.prod(own[:-1]), features)
        linear_bias = None if linear_bias is None else linear_bias.reshape(-1)
    scores = linear(input, linear_weight, linear_bias).reshape(shape)
    return cross_entropy(
        scores,
        target,
        weight=weight,
        reduction=reduction,
        ignore_index=-100 if ignore_index is None else ignore_index,
        label_smoothing=label_smoothing,
    )
