"""torch.nn.init: tensors filled in place with initial values, from the default generator.

Bounds and standard deviations follow Glorot and Bengio 2010 (xavier) and He et al. 2015 (kaiming),
as https://docs.pytorch.org/docs/2.13/nn.init.html gives them; numbers are PyTorch's own.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import numpy as np

import lazyt
from lazyt.functions.creation import tensor as tensor_of
from lazyt.gradmode import no_grad
from lazyt.missing import getattr_of
from lazyt.tensor import Tensor
from lazyt.warned import warn

NO_ELEMENTS = "Initializing zero-element tensors is a no-op"

_GAINS: dict[str, float] = {
    "linear": 1,
    "conv1d": 1,
    "conv2d": 1,
    "conv3d": 1,
    "conv_transpose1d": 1,
    "conv_transpose2d": 1,
    "conv_transpose3d": 1,
    "sigmoid": 1,
    "tanh": 5.0 / 3,
    "relu": math.sqrt(2.0),
    "selu": 3.0 / 4,
}


def calculate_gain(nonlinearity: str, param: float | None = None) -> float:
    """What the standard deviation is multiplied with before a nonlinearity. ValueError if
    unknown."""
    if nonlinearity == "leaky_relu":
        if param is None:
            slope = 0.01
        elif not isinstance(param, bool) and isinstance(param, (int, float)):
            slope = param
        else:
            raise ValueError(f"negative_slope {param} not a valid number")
        return math.sqrt(2.0 / (1 + slope**2))
    if nonlinearity not in _GAINS:
        raise ValueError(f"Unsupported nonlinearity {nonlinearity}")
    return _GAINS[nonlinearity]


def _filled(tensor: Tensor, fill: Callable[[Tensor], Any]) -> Tensor:
    with no_grad():
        fill(tensor)
    return tensor


def uniform_(tensor: Tensor, a: float = 0.0, b: float = 1.0, generator: Any = None) -> Tensor:
    """Uniform numbers of [a, b)."""
    return _filled(tensor, lambda t: t.uniform_(a, b, generator=generator))


def normal_(tensor: Tensor, mean: float = 0.0, std: float = 1.0, generator: Any = None) -> Tensor:
    """Normal numbers."""
    return _filled(tensor, lambda t: t.normal_(mean, std, generator=generator))


def trunc_normal_(
    tensor: Tensor,
    mean: float = 0.0,
    std: float = 1.0,
    a: float = -2.0,
    b: float = 2.0,
    generator: Any = None,
) -> Tensor:
    """Normal numbers within [a, b], by rejection (von Neumann 1951).

    Where [a, b] holds much of the distribution, normal numbers are drawn until they lie within;
    else uniform ones of [a, b], kept with the probability density relative to its peak there.
    """
    if mean < a - 2 * std or mean > b + 2 * std:
        warn(
            "mean is more than 2 std from [a, b] in nn.init.trunc_normal_. The distribution of "
            "values may be incorrect.",
        )

    def below(x: float) -> float:
        return (1.0 + math.erf((x - mean) / std / math.sqrt(2.0))) / 2.0

    likely = below(b) - below(a) > 0.3
    redraw = _normal_within if likely else _uniform_within
    return _filled(tensor, lambda t: redraw(t, mean, std, a, b, generator))


def _normal_within(t: Tensor, mean: float, std: float, a: float, b: float, source: Any) -> None:
    """Normal draws; every round draws anew for all elements and keeps those that were missing."""
    low, high = (t.new_tensor(bound).item() for bound in (a, b))  # as the dtype holds them
    t.normal_(mean, std, generator=source)
    while True:
        outside = (t < low) | (t > high)
        if not outside.any():
            return
        again = lazyt.empty_like(t).normal_(mean, std, generator=source)
        t.copy_(lazyt.where(outside, again, t))


def _uniform_within(t: Tensor, mean: float, std: float, a: float, b: float, source: Any) -> None:
    """Uniform draws, each accepted where the logarithm of another one is below its density's."""
    peak = -0.5 * ((max(a, min(mean, b)) - mean) / std) ** 2
    missing = None
    while missing is None or missing.any():
        drawn = lazyt.empty_like(t).uniform_(a, b, generator=source)
        t.copy_(drawn if missing is None else lazyt.where(missing, drawn, t))
        density = ((drawn - mean) / std) ** 2 * -0.5 - peak
        refused = lazyt.empty_like(t).uniform_(generator=source).log() > density
        missing = refused if missing is None else missing & refused


def constant_(tensor: Tensor, val: float) -> Tensor:
    """Every element `val`."""
    return _filled(tensor, lambda t: t.fill_(val))


def ones_(tensor: Tensor) -> Tensor:
    """Every element 1."""
    return constant_(tensor, 1.0)


def zeros_(tensor: Tensor) -> Tensor:
    """Every element 0."""
    return _filled(tensor, lambda t: t.zero_())


def eye_(tensor: Tensor) -> Tensor:
    """The identity matrix. ValueError unless 2-D."""
    if tensor.ndimension() != 2:
        raise ValueError("Only tensors with 2 dimensions are supported")
    return _filled(tensor, lambda t: t.copy_(lazyt.eye(*t.shape, dtype=t.dtype, device=t.device)))


def dirac_(tensor: Tensor, groups: int = 1) -> Tensor:
    """A convolution's weight that passes channels through. ValueError unless 3-D to 5-D."""
    rank = tensor.ndimension()
    if rank not in (3, 4, 5):
        raise ValueError("Only tensors with 3, 4, or 5 dimensions are supported")
    sizes = tuple(tensor.size())
    if sizes[0] % groups != 0:
        raise ValueError("dim 0 must be divisible by groups")
    each = sizes[0] // groups
    centre = tuple(n // 2 for n in sizes[2:])

    def fill(t: Tensor) -> None:
        t.zero_()
        for g in range(groups):
            for d in range(min(each, sizes[1])):
                t[(g * each + d, d, *centre)] = 1

    return _filled(tensor, fill)


def _calculate_fan_in_and_fan_out(tensor: Tensor) -> tuple[int, int]:
    shape = tuple(tensor.shape)
    if len(shape) < 2:
        raise ValueError(
            "Fan in and fan out can not be computed for tensor with fewer than 2 dimensions"
        )
    field = math.prod(shape[2:])
    return shape[1] * field, shape[0] * field


def _calculate_correct_fan(tensor: Tensor, mode: str) -> int:
    mode = mode.lower()
    if mode not in ("fan_in", "fan_out"):
        raise ValueError(f"Mode {mode} not supported, please use one of ['fan_in', 'fan_out']")
    return _calculate_fan_in_and_fan_out(tensor)[mode == "fan_out"]


def xavier_uniform_(tensor: Tensor, gain: float = 1.0, generator: Any = None) -> Tensor:
    """Uniform numbers with variance gain^2 * 2 / (fan_in + fan_out). ValueError below 2-D."""
    bound = math.sqrt(3.0) * gain * math.sqrt(2.0 / sum(_calculate_fan_in_and_fan_out(tensor)))
    return uniform_(tensor, -bound, bound, generator)


def xavier_normal_(tensor: Tensor, gain: float = 1.0, generator: Any = None) -> Tensor:
    """Normal numbers with variance gain^2 * 2 / (fan_in + fan_out). ValueError below 2-D."""
    std = gain * math.sqrt(2.0 / float(sum(_calculate_fan_in_and_fan_out(tensor))))
    return normal_(tensor, 0.0, std, generator)


def kaiming_uniform_(
    tensor: Tensor,
    a: float = 0,
    mode: str = "fan_in",
    nonlinearity: str = "leaky_relu",
    generator: Any = None,
) -> Tensor:
    """Uniform numbers with variance gain^2 / fan; a: the slope of a leaky_relu."""
    if 0 in tensor.shape:
        warn(NO_ELEMENTS)
        return tensor
    std = calculate_gain(nonlinearity, a) / math.sqrt(_calculate_correct_fan(tensor, mode))
    bound = math.sqrt(3.0) * std
    return uniform_(tensor, -bound, bound, generator)


def kaiming_normal_(
    tensor: Tensor,
    a: float = 0,
    mode: str = "fan_in",
    nonlinearity: str = "leaky_relu",
    generator: Any = None,
) -> Tensor:
    """Normal numbers with variance gain^2 / fan; a: the slope of a leaky_relu."""
    if 0 in tensor.shape:
        warn(NO_ELEMENTS)
        return tensor
    std = calculate_gain(nonlinearity, a) / math.sqrt(_calculate_correct_fan(tensor, mode))
    return normal_(tensor, 0.0, std, generator)


def orthogonal_(tensor: Tensor, gain: float = 1, generator: Any = None) -> Tensor:
    """A (semi-)orthogonal matrix, from the QR decomposition of normal numbers (Saxe et al. 2013).

    Dimensions after the first count as one. ValueError below 2-D.
    """
    if tensor.ndimension() < 2:
        raise ValueError("Only tensors with 2 or more dimensions are supported")
    if tensor.numel() == 0:
        return tensor
    rows = tensor.size(0)
    columns = tensor.numel() // rows

    def fill(t: Tensor) -> None:
        flat = t.new_empty((rows, columns)).normal_(0, 1, generator=generator)
        matrix = flat.cpu().numpy().astype(np.float64)
        q, r = np.linalg.qr(matrix.T if rows < columns else matrix)
        q = q * np.sign(np.diag(r))
        if rows < columns:
            q = q.T
        made = tensor_of(np.ascontiguousarray(q), dtype=t.dtype, device=t.device)
        t.copy_(made.view(*t.shape))
        t.mul_(gain)

    return _filled(tensor, fill)


def sparse_(tensor: Tensor, sparsity: float, std: float = 0.01, generator: Any = None) -> Tensor:
    """Normal numbers with a fraction `sparsity` of every column zero. ValueError unless 2-D."""
    if tensor.ndimension() != 2:
        raise ValueError("Only tensors with 2 dimensions are supported")
    rows, columns = tuple(tensor.shape)
    zeros = int(math.ceil(sparsity * rows))

    def fill(t: Tensor) -> None:
        t.normal_(0, std, generator=generator)
        for column in range(columns):
            t[lazyt.randperm(rows)[:zeros], column] = 0

    return _filled(tensor, fill)


def _under_old_name(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """The function by its name without the underscore, with PyTorch's warning."""
    old = function.__name__[:-1]
    words = f"`nn.init.{old}` is now deprecated in favor of `nn.init.{function.__name__}`."

    @functools.wraps(function)
    def renamed(*args: Any, **kwargs: Any) -> Tensor:
        warn(words, FutureWarning)
        return function(*args, **kwargs)

    renamed.__name__ = renamed.__qualname__ = old
    return renamed


uniform = _under_old_name(uniform_)
normal = _under_old_name(normal_)
constant = _under_old_name(constant_)
eye = _under_old_name(eye_)
dirac = _under_old_name(dirac_)
xavier_uniform = _under_old_name(xavier_uniform_)
xavier_normal = _under_old_name(xavier_normal_)
kaiming_uniform = _under_old_name(kaiming_uniform_)
kaiming_normal = _under_old_name(kaiming_normal_)
orthogonal = _under_old_name(orthogonal_)
sparse = _under_old_name(sparse_)

__getattr__ = getattr_of(__name__)
