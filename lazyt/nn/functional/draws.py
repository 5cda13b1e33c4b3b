"""Activations that draw random numbers: randomized leaky ReLU, Gumbel softmax."""

from __future__ import annotations

import lazyt
from lazyt.dispatch import check_writable, tagged, update, wrap
from lazyt.ir.dtypes import float16, float64
from lazyt.ir.ops_elementwise import le, mul, where
from lazyt.registry import FUNCTIONS
from lazyt.state import node_of
from lazyt.tensor import Tensor
from lazyt.warned import warn

from .common import check_floating, in_compute_dtype, tensor_node


def rrelu(
    input: Tensor,
    lower: float = 1.0 / 8,
    upper: float = 1.0 / 3,
    training: bool = False,
    inplace: bool = False,
) -> Tensor:
    """input where it is positive, else times a slope of [lower, upper], drawn for each in training.

    In training the input is read: only elements that need a slope draw one, in their order.
    Errors: RuntimeError for bounds in the wrong order.
    """
    x = tensor_node(input, "rrelu")
    if lower > upper:
        raise RuntimeError("Lower bound should be less than or equal to the upper bound")
    if training:
        check_floating(x, "rrelu_with_noise_out_cpu", (float16,))
    check_floating(x, "leaky_relu_cpu")
    if inplace:
        check_writable(input)
    if training:
        slopes = node_of(_slopes(input, lower, upper))
        result = in_compute_dtype(mul, x, slopes)
    else:
        middle = (lower + upper) / 2
        result = in_compute_dtype(lambda n: where(le(n, 0.0), mul(n, middle), n), x)
    tagged(result, "RreluWithNoise", x, keeps=() if inplace else (x,))
    return update(input, result) if inplace else wrap(result)


def _slopes(input: Tensor, lower: float, upper: float) -> Tensor:
    """1, or a number of [lower, upper] for elements that are not positive."""
    negative = input.detach() <= 0
    count = int(negative.sum())
    drawn = lazyt.empty(count, dtype=float64, device=input.device).uniform_(lower, upper)
    ones = lazyt.ones(input.shape, dtype=input.dtype, device=input.device)
    return ones.masked_scatter(negative, drawn.to(input.dtype))


def rrelu_(
    input: Tensor, lower: float = 1.0 / 8, upper: float = 1.0 / 3, training: bool = False
) -> Tensor:
    """`rrelu`, in place."""
    return rrelu(input, lower, upper, training, True)


def gumbel_softmax(
    logits: Tensor, tau: float = 1, hard: bool = False, eps: float = 1e-10, dim: int = -1
) -> Tensor:
    """Samples of the Gumbel-softmax distribution (Jang et al. 2017, Maddison et al. 2017).

    tau: the temperature. hard: rows with a single one, differentiated as if they were soft.
    """
    if eps != 1e-10:
        warn("`eps` parameter is deprecated and has no effect.")
    noise = -lazyt.empty_like(logits).exponential_().log()
    soft = ((logits + noise) / tau).softmax(dim)
    if not hard:
        return soft
    largest = soft.max(dim, keepdim=True)[1]
    one_hot = lazyt.zeros_like(logits).scatter(dim, largest, 1.0)
    return one_hot - soft.detach() + soft


FUNCTIONS["rrelu"] = lambda input, lower=1.0 / 8, upper=1.0 / 3, training=False: rrelu(
    input, lower, upper, training
)
FUNCTIONS["rrelu_"] = rrelu_
