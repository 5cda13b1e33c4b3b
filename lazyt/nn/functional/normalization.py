"""Batch, instance, layer, group and root-mean-square normalization.

All but the last are `ir.ops_nn.standardize` over different axes, times a weight, plus a bias.
Arithmetic is in float32 where the input is of a half type.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from lazyt.dispatch import tagged, wrap
from lazyt.functions.padding import pad
from lazyt.info import finfo
from lazyt.ir.dtypes import FLOATING, float32
from lazyt.ir.node import LOCAL, Node
from lazyt.ir.ops_elementwise import add, cast, div, mul, neg, rsqrt
from lazyt.ir.ops_nn import standardize
from lazyt.ir.ops_reduce import get, get_, sum_
from lazyt.ir.ops_shape import copy, reshape, reshape_
from lazyt.ir.overwritten import kept_apart
from lazyt.registry import FUNCTIONS
from lazyt.state import node_of, write, write_uncounted
from lazyt.tensor import Tensor

from .common import HALVES, check_floating, not_differentiable, numbered, tensor_node
from .pooling import avg_pool2d


def _optional(t: Tensor | None) -> Node | None:
    return None if t is None else node_of(t)


def _check_parameters(x: Node, parameters: dict[str, Node | None]) -> None:
    """The dtypes PyTorch's CPU kernels take: the input's, or float32 beside a half input."""
    own = x.type.dtype
    have = [p for p in parameters.values() if p is not None]
    for p in have:
        dtype = p.type.dtype
        if dtype is own or (own.is_half and dtype is float32):
            if dtype is not have[0].type.dtype:
                raise RuntimeError("mixed dtype (CPU): all inputs must share same datatype.")
            continue
        if dtype is float32:
            raise RuntimeError("mixed dtype (CPU): all inputs must share same datatype.")
        raise RuntimeError("mixed dtype (CPU): expect parameter to have scalar type of Float")


def _affine(y: Node, weight: Node | None, bias: Node | None, shape: tuple[int, ...]) -> Node:
    """y * weight + bias, in y's dtype; both are reshaped to `shape` to broadcast."""
    if weight is not None:
        y = mul(y, reshape(cast(weight, y.type.dtype), shape))
    if bias is not None:
        y = add(y, reshape(cast(bias, y.type.dtype), shape))
    return y


def _named(
    y: Node, name: str, x: Node, *others: Node | None, kept: tuple[Node | None, ...] = ()
) -> Node:
    """The result in the input's dtype and on memory of its own, with PyTorch's grad_fn."""
    y = cast(y, x.type.dtype)
    if y.op is reshape_:
        y = copy(y)
    # `get` stands for the node that it takes a result of.
    named = y.src[0] if y.op is get_ else y
    inputs = [x, *[n for n in others if n is not None]]
    tagged(named, name, *inputs, keeps=(x, *[n for n in inputs[1:] if n.grad], *filter(None, kept)))
    return y


# --- batch ----------------------------------------------------------------------------------------


def _check_batch(size: tuple[int, ...]) -> None:
    count = size[0]
    for extent in size[2:]:
        count *= extent
    if count == 1:
        raise ValueError(
            "Expected more than 1 value per channel when training, got input size "
            f"torch.Size({list(size)})"
        )


def _check_channels(channels: int, tensors: dict[str, Node | None]) -> None:
    for name, node in tensors.items():
        if node is not None and node.type.numel != channels:
            raise RuntimeError(f"{name} should contain {channels} elements not {node.type.numel}")


def _track(
    running: Tensor,
    batch: Node,
    momentum: Any,
    scale: float = 1.0,
    put: Callable[[Tensor, Node], None] = write,
) -> None:
    """running = (1 - momentum) running + momentum * scale * batch, outside of autograd, which `put`
    writes."""
    before, LOCAL.grad = LOCAL.grad, False
    try:
        old = node_of(running)
        new = cast(reshape(batch, old.type.shape), old.type.dtype)
        if momentum.__class__ is Node:
            share = cast(momentum, old.type.dtype)
            kept = mul(old, add(neg(share), 1.0))
            new = mul(new if scale == 1.0 else mul(new, scale), share)
        else:
            kept, new = mul(old, 1.0 - momentum), mul(new, momentum * scale)
        put(running, add(kept, new))
    finally:
        LOCAL.grad = before


def batch_norm(
    input: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: Any = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """input (N, C, *) normalized by channel, times weight (C,), plus bias (C,).

    training: with the statistics of the batch, which also move the running ones by `momentum` (the
    variance unbiased); else with the running ones. Errors: ValueError for one value a channel in
    training, RuntimeError for sizes that do not fit.
    """
    x = tensor_node(input, "batch_norm")
    if training:
        _check_batch(x.type.shape)
        if eps <= 0.0:
            raise ValueError(f"batch_norm eps must be positive during training, but got {eps}")
    elif eps < 0.0:
        raise ValueError(f"batch_norm eps must be non-negative, but got {eps}")
    shape = x.type.shape
    channels = shape[1] if len(shape) > 1 else 0
    m, v = _optional(running_mean), _optional(running_var)
    w, b = _optional(weight), _optional(bias)
    if not training:
        for name, node in (("running_mean", m), ("running_var", v)):
            if node is None:
                raise RuntimeError(f"{name} must be defined in evaluation mode")
    _check_channels(channels, {"running_mean": m, "running_var": v, "weight": w, "bias": b})
    check_floating(x, "batch_norm")
    _check_parameters(x, {"weight": w, "bias": b, "running_mean": m, "running_var": v})
    not_differentiable("native_batch_norm", running_mean=m, running_var=v)
    if len(shape) == 1:
        return wrap(_named(copy(x), "NativeBatchNorm", x, w, b))  # there are no elements
    wide = cast(x, x.type.dtype.compute)
    around = (1, channels) + (1,) * (len(shape) - 2)
    if training:
        y = _normalized_batch(wide, running_mean, running_var, momentum, float(eps))
        y = _affine(y, w, b, around)
        saved = _optional(running_mean), _optional(running_var)
    else:
        y = _normalized_running(wide, m, v, w, b, float(eps), around)
        saved = m, v
    return wrap(_named(y, "NativeBatchNorm", x, w, b, kept=(*saved, None if training else w)))


def _normalized_batch(
    x: Node, running_mean: Tensor | None, running_var: Tensor | None, momentum: Any, eps: float
) -> Node:
    """The batch standardized by channel; the running statistics move along."""
    shape = x.type.shape
    axes = (0, *range(2, len(shape)))
    parts = standardize(x, arg=(axes, eps))
    count = x.type.numel // shape[1] if shape[1] else 0
    if isinstance(momentum, Tensor):
        momentum = node_of(momentum)
    if running_mean is not None and count:
        _track(running_mean, _untracked(parts, 1), momentum, put=write_uncounted)
    if running_var is not None and count:
        unbiased = count / (count - 1) if count > 1 else float("nan")
        _track(running_var, _untracked(parts, 2), momentum, unbiased, write_uncounted)
    return get(parts, 0)


def _untracked(parts: Node, index: int) -> Node:
    piece = get(parts, index)
    piece.grad = 0
    return piece


def _normalized_running(
    x: Node, m: Any, v: Any, w: Node | None, b: Node | None, eps: float, around: tuple
) -> Node:
    """x * alpha + beta, with alpha = weight / sqrt(var + eps) and beta = bias - mean * alpha."""
    dtype = x.type.dtype
    alpha = rsqrt(add(cast(v, dtype), eps))
    if w is not None:
        alpha = mul(alpha, cast(w, dtype))
    beta = neg(mul(cast(m, dtype), alpha))
    if b is not None:
        beta = add(beta, cast(b, dtype))
    return add(mul(x, reshape(alpha, around)), reshape(beta, around))


def instance_norm(
    input: Tensor,
    running_mean: Tensor | None = None,
    running_var: Tensor | None = None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    use_input_stats: bool = True,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """input (N, C, *) normalized by sample and channel; running statistics average the samples'."""
    x = tensor_node(input, "instance_norm")
    shape = x.type.shape
    if use_input_stats:
        _check_spatial(shape)
    if not use_input_stats:
        if running_mean is None or running_var is None:
            raise RuntimeError(
                "Expected running_mean and running_var to be defined when use_input_stats is false"
            )
        mean, var = (wrap(kept_apart(node_of(t))) for t in (running_mean, running_var))
        y = batch_norm(input, mean, var, weight, bias, False, momentum, eps)  # PyTorch repeats them
        tagged(node_of(y), "View", x)
        return y
    check_floating(x, "batch_norm")
    w, b = _optional(weight), _optional(bias)
    _check_channels(shape[1], {"weight": w, "bias": b})
    _check_parameters(x, {"weight": w, "bias": b})
    w, b = (None if n is None else kept_apart(n) for n in (w, b))  # PyTorch repeats them
    axes = tuple(range(2, len(shape)))
    wide = cast(x, x.type.dtype.compute)
    parts = standardize(wide, arg=(axes, float(eps)))
    count = 1
    for extent in shape[2:]:
        count *= extent
    scales = (1.0, count / (count - 1) if count > 1 else float("nan"))
    means, spreads = _optional(running_mean), _optional(running_var)
    not_differentiable("native_batch_norm", running_mean=means, running_var=spreads)
    for running, index, scale in zip((running_mean, running_var), (1, 2), scales):
        if running is not None:
            own = _untracked(parts, index)
            total = sum_(own, arg=((0, *range(2, len(shape))), False))
            _track(running, total, momentum, scale / max(shape[0], 1))
    around = (1, shape[1]) + (1,) * (len(shape) - 2)
    return wrap(_named(_affine(get(parts, 0), w, b, around), "View", x, w, b))


def _check_spatial(size: tuple[int, ...]) -> None:
    count = 1
    for extent in size[2:]:
        count *= extent
    if count == 1:
        raise ValueError(
            "Expected more than 1 spatial element when training, got input size "
            f"torch.Size({list(size)})"
        )


# --- layer, group, root mean square ---------------------------------------------------------------


def _normalized_shape(
    x: Node, normalized_shape: Any, parameters: dict[str, Node | None], name: str
) -> tuple[int, ...]:
    """The trailing axes to normalize over, after PyTorch's checks."""
    if not isinstance(normalized_shape, (tuple, list)):
        raise TypeError(
            f"{name}(): argument 'normalized_shape' (position 2) must be tuple of ints, not "
            f"{type(normalized_shape).__name__}"
        )
    own = tuple(int(n) for n in normalized_shape)
    shape = x.type.shape
    if not own:
        raise RuntimeError(
            "Expected normalized_shape to be at least 1-dimensional, i.e., containing at least one "
            "element, but got normalized_shape = []"
        )
    for word, node in parameters.items():
        if node is not None and node.type.shape != own:
            raise RuntimeError(
                f"Expected {word} to be of same shape as normalized_shape, but got {word} of shape "
                f"{list(node.type.shape)} and normalized_shape = {list(own)}"
            )
    if shape[-len(own) :] != own or len(shape) < len(own):
        comma = ", " if name == "layer_norm" else ""
        words = ", ".join(map(str, own))
        raise RuntimeError(
            f"Given normalized_shape={list(own)}, expected input with shape [*{comma}{words}], but "
            f"got input of size{list(shape)}"
        )
    return tuple(range(len(shape) - len(own), len(shape)))


def layer_norm(
    input: Tensor,
    normalized_shape: Any,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
) -> Tensor:
    """input standardized over its last dimensions, normalized_shape; times weight, plus bias."""
    x = tensor_node(input, "layer_norm")
    w, b = _optional(weight), _optional(bias)
    axes = _normalized_shape(x, normalized_shape, {"weight": w, "bias": b}, "layer_norm")
    if w is not None and w.type.dtype is not x.type.dtype and x.type.dtype.category < FLOATING:
        raise RuntimeError("mixed dtype (CPU): all inputs must share same datatype.")
    check_floating(x, "LayerNormKernelImpl")
    _check_parameters(x, {"weight": w, "bias": b})
    y = get(standardize(cast(x, x.type.dtype.compute), arg=(axes, float(eps))), 0)
    own = x.type.shape[axes[0] :]
    return wrap(_named(_affine(y, w, b, own), "NativeLayerNorm", x, w, b))


def group_norm(
    input: Tensor,
    num_groups: int,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
) -> Tensor:
    """input (N, C, *) standardized by sample and group of channels; weight and bias by channel."""
    x = tensor_node(input, "group_norm")
    shape = x.type.shape
    if len(shape) < 2:
        raise RuntimeError(
            f"Expected at least 2 dimensions for input tensor but received {len(shape)}"
        )
    rest = 1
    for extent in shape[2:]:
        rest *= extent
    if shape[0] * shape[1] // num_groups * rest == 1:
        raise ValueError(
            "Expected more than 1 value per channel when training, got input size "
            f"{[shape[0] * shape[1] // num_groups, num_groups, *shape[2:]]}"
        )
    if shape[1] % num_groups:
        raise RuntimeError(
            "Expected number of channels in input to be divisible by num_groups, but got input of "
            f"shape {list(shape)} and num_groups={num_groups}"
        )
    w, b = _optional(weight), _optional(bias)
    for word, node in (("weight", w), ("bias", b)):
        if node is not None and node.type.shape != shape[1:2]:
            node = w if w is not None else node  # as PyTorch has it, also for the bias
            raise RuntimeError(
                f"Expected {word} to be a vector of size equal to the number of channels in input, "
                f"but got {word} of shape {list(node.type.shape)} and input of shape {list(shape)}"
            )
    check_floating(x, "GroupNormKernelImpl")
    _check_parameters(x, {"weight": w, "bias": b})
    grouped = (shape[0], num_groups, shape[1] // num_groups * rest)
    wide = reshape(cast(x, x.type.dtype.compute), grouped)
    y = reshape(get(standardize(wide, arg=((2,), float(eps))), 0), shape)
    y = _affine(y, w, b, (1, shape[1]) + (1,) * (len(shape) - 2))
    return wrap(_named(y, "NativeGroupNorm", x, w, b))


def rms_norm(
    input: Tensor,
    normalized_shape: Any,
    weight: Tensor | None = None,
    eps: float | None = None,
) -> Tensor:
    """input divided by its root mean square over the last dimensions, times weight.

    Zhang and Sennrich 2019, "Root mean square layer normalization". eps: of the dtype if None.
    """
    x = tensor_node(input, "rms_norm")
    w = _optional(weight)
    axes = _normalized_shape(x, normalized_shape, {"weight": w}, "rms_norm")
    check_floating(x, "rms_norm")
    wide = cast(x, x.type.dtype.compute)
    count = 1
    for axis in axes:
        count *= x.type.shape[axis]
    small = finfo(wide.type.dtype).eps if eps is None else float(eps)
    power = div(sum_(mul(wide, wide), arg=(axes, True)), float(count))
    y = mul(wide, rsqrt(add(power, small)))
    if w is not None:
        y = mul(y, cast(w, y.type.dtype))
    result = cast(y, x.type.dtype)
    return wrap(numbered(result, "MulBackward0", *([x] if w is None else [x, w])))


def local_response_norm(
    input: Tensor, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0
) -> Tensor:
    """(N, C, *) over (k + alpha mean(square))^beta, the mean over `size` neighbouring channels.

    Krizhevsky et al. 2012. ValueError below 3-D.
    """
    shape = tuple(input.shape)
    if len(shape) < 3:
        raise ValueError(
            "Expected 3D or higher dimensionality                          input (got "
            f"{len(shape)} dimensions)"
        )
    if input.numel() == 0:
        return input
    if len(shape) > 3:
        check_floating(node_of(input), "avg_pool3d_out_frame", HALVES)
    square = input.mul(input).reshape(shape[0], 1, shape[1], -1)
    framed = pad(square, (0, 0, size // 2, (size - 1) // 2))
    mean = avg_pool2d(framed, (size, 1), stride=1).reshape(shape)
    return input / mean.mul(alpha).add(k).pow(beta)


for _function in (batch_norm, instance_norm, layer_norm, group_norm, rms_norm):
    FUNCTIONS[_function.__name__] = _function
