"""Negative log likelihoods of Poisson and normal distributions that a network describes."""

from __future__ import annotations

import math

import lazyt
from lazyt.gradmode import no_grad
from lazyt.tensor import Tensor

from .common import reduction_of, tensor_node
from .losses import check_reduction
from .margins import reduce_losses


def poisson_nll_loss(
    input: Tensor,
    target: Tensor,
    log_input: bool = True,
    full: bool = False,
    size_average: bool | None = None,
    eps: float = 1e-8,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """rate - target log(rate), where `input` is log(rate) or, without log_input, the rate.

    full: with Stirling's approximation of log(target!) for targets above 1.
    """
    reduction = reduction_of(size_average, reduce, reduction)
    check_reduction(reduction)
    tensor_node(input, "poisson_nll_loss")
    tensor_node(target, "poisson_nll_loss", "target", 2)
    if log_input:
        loss = lazyt.exp(input) - target * input
    else:
        loss = input - target * lazyt.log(input + eps)
    if full:
        stirling = target * lazyt.log(target) - target + 0.5 * lazyt.log(2 * math.pi * target)
        loss += stirling.masked_fill(target <= 1, 0)
    return reduce_losses(loss, reduction)


def gaussian_nll_loss(
    input: Tensor,
    target: Tensor,
    var: Tensor | float,
    full: bool = False,
    eps: float = 1e-6,
    reduction: str = "mean",
) -> Tensor:
    """(log(var) + (input - target)^2 / var) / 2, with variances of at least eps.

    Nix and Weigend 1994. var: in the shape of `input`, with a last dimension of 1 or without it, or
    a number. A tensor is read. full: with log(2 pi) / 2. Errors: ValueError for a negative variance
    or another shape.
    """
    if isinstance(var, float):
        negative, spread = var < 0, var * lazyt.ones_like(input)
    else:
        negative, spread = bool(lazyt.any(var < 0)), var
    if negative:
        raise ValueError("var has negative entry/entries")
    shape, own = tuple(input.shape), tuple(spread.shape)
    if own != shape:
        differing = [n for m, n in zip(shape, own) if m != n]
        if shape[:-1] == own:
            spread = spread.unsqueeze(-1)
        elif len(shape) != len(own) or sum(differing) != 1:
            raise ValueError("var is of incorrect size")
    if reduction not in ("none", "mean", "sum"):
        raise ValueError(f"{reduction} is not valid")
    limited = spread.clone()
    with no_grad():  # the gradient does not see the limit
        limited.clamp_(min=eps)
    loss = 0.5 * (lazyt.log(limited) + (input - target) ** 2 / limited)
    if full:
        loss += 0.5 * math.log(2 * math.pi)
    return reduce_losses(loss, reduction)
