"""Functions of networks as `torch` has them: settings that are words elsewhere are numbers.

torch.hinge_embedding_loss(x, t, 1.0, 2)       # F.hinge_embedding_loss(…, reduction="sum")
torch.dropout(x, 0.5, True)                    # F.dropout(x, 0.5, training=True)
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from lazyt.functions.padding import pad as framed
from lazyt.registry import FUNCTIONS
from lazyt.tensor import Tensor

from . import dropout, likelihoods, margins, regression
from .activations import hardshrink
from .linear import bilinear
from .sampling import affine_grid, grid_sample
from .shuffling import native_channel_shuffle

_REDUCTIONS = ("none", "mean", "sum")
_MODES = ("bilinear", "nearest", "bicubic")
_BORDERS = ("zeros", "border", "reflection")


def hinge_embedding_loss(
    input: Tensor, target: Tensor, margin: float = 1.0, reduction: int = 0
) -> Tensor:
    """`F.hinge_embedding_loss`; reduction: 0 none, 1 mean, 2 sum."""
    return margins.hinge_embedding_loss(input, target, margin, reduction=_REDUCTIONS[reduction])


def margin_ranking_loss(
    input1: Tensor, input2: Tensor, target: Tensor, margin: float = 0.0, reduction: int = 0
) -> Tensor:
    """`F.margin_ranking_loss`; reduction: 0 none, 1 mean, 2 sum."""
    return margins.margin_ranking_loss(
        input1, input2, target, margin, reduction=_REDUCTIONS[reduction]
    )


def cosine_embedding_loss(
    input1: Tensor, input2: Tensor, target: Tensor, margin: float = 0.0, reduction: int = 0
) -> Tensor:
    """`F.cosine_embedding_loss`; reduction: 0 none, 1 mean, 2 sum."""
    return margins.cosine_embedding_loss(
        input1, input2, target, margin, reduction=_REDUCTIONS[reduction]
    )


def triplet_margin_loss(
    anchor: Tensor,
    positive: Tensor,
    negative: Tensor,
    margin: float = 1.0,
    p: float = 2,
    eps: float = 1e-6,
    swap: bool = False,
    reduction: int = 0,
) -> Tensor:
    """`F.triplet_margin_loss`; reduction: 0 none, 1 mean, 2 sum."""
    return margins.triplet_margin_loss(
        anchor, positive, negative, margin, p, eps, swap, reduction=_REDUCTIONS[reduction]
    )


def poisson_nll_loss(
    input: Tensor, target: Tensor, log_input: bool, full: bool, eps: float, reduction: int
) -> Tensor:
    """`F.poisson_nll_loss`; reduction: 0 none, 1 mean, 2 sum."""
    return likelihoods.poisson_nll_loss(
        input, target, log_input, full, eps=eps, reduction=_REDUCTIONS[reduction]
    )


def kl_div(
    input: Tensor, target: Tensor, reduction: int = 0, *, log_target: bool = False
) -> Tensor:
    """`F.kl_div`; reduction: 0 none, 1 mean of all elements, 2 sum."""
    if reduction == 1:  # without the words about it that F.kl_div has
        return regression.kl_div(input, target, reduction="none", log_target=log_target).mean()
    return regression.kl_div(input, target, reduction=_REDUCTIONS[reduction], log_target=log_target)


def binary_cross_entropy_with_logits(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    pos_weight: Tensor | None = None,
    reduction: int = 0,
) -> Tensor:
    """`F.binary_cross_entropy_with_logits`; reduction: 0 none, 1 mean, 2 sum."""
    return regression.binary_cross_entropy_with_logits(
        input, target, weight, reduction=_REDUCTIONS[reduction], pos_weight=pos_weight
    )


def grid_sampler(
    input: Tensor, grid: Tensor, interpolation_mode: int, padding_mode: int, align_corners: bool
) -> Tensor:
    """`F.grid_sample`: bilinear, nearest, bicubic; padded by zeros, border, reflection."""
    return grid_sample(
        input, grid, _MODES[interpolation_mode], _BORDERS[padding_mode], align_corners
    )


def affine_grid_generator(theta: Tensor, size: Any, align_corners: bool) -> Tensor:
    """`F.affine_grid`."""
    return affine_grid(theta, size, align_corners)


def constant_pad_nd(input: Tensor, pad: Any, value: float = 0) -> Tensor:
    """`F.pad` with a number."""
    return framed(input, pad, "constant", value)


def _dropping(name: str, inplace: bool) -> Callable[[Tensor, float, bool], Tensor]:
    """A dropout with its probability and mode in order; RuntimeError for no probability."""

    def drop(input: Tensor, p: float, train: bool) -> Tensor:
        if p < 0.0 or p > 1.0:
            raise RuntimeError(f"dropout probability has to be between 0 and 1, but got {p:g}")
        return dropout.drawn(input, p, train, inplace, name)

    drop.__name__ = drop.__qualname__ = name + "_" * inplace
    return drop


_NAMES = ("dropout", "feature_dropout", "alpha_dropout", "feature_alpha_dropout")
_FUNCTIONS: tuple[Callable[..., Tensor], ...] = (
    affine_grid_generator,
    bilinear,
    binary_cross_entropy_with_logits,
    constant_pad_nd,
    cosine_embedding_loss,
    grid_sampler,
    hardshrink,
    hinge_embedding_loss,
    kl_div,
    margin_ranking_loss,
    poisson_nll_loss,
    triplet_margin_loss,
    *(_dropping(name, inplace) for name in _NAMES for inplace in (False, True)),
)
for _function in _FUNCTIONS:
    FUNCTIONS[_function.__name__] = _function
FUNCTIONS["native_channel_shuffle"] = native_channel_shuffle  # another name of channel_shuffle
