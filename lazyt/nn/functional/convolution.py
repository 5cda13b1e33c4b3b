"""Convolutions over one, two and three spatial dimensions, and their transposes.

Inputs are (N, C, *S) or, unbatched, (C, *S). The primitives are `ir.ops_linalg.conv` and
`conv_input`; a transposed convolution is the cotangent of a convolution's input.
"""

from __future__ import annotations

from typing import Any

from lazyt.dispatch import tagged, wrap
from lazyt.ir.node import Node
from lazyt.ir.ops_elementwise import add, cast
from lazyt.ir.ops_linalg import conv, conv_input
from lazyt.ir.ops_shape import copy, pad_, reshape
from lazyt.registry import FUNCTIONS
from lazyt.state import node_of
from lazyt.tensor import Tensor
from lazyt.warned import warn

from .common import numbered
from .convolution_types import check_bias, check_operands

SAME_NEEDS_COPY = (
    "Using padding='same' with even kernel lengths and odd dilation may require a zero-padded copy "
    "of the input be created"
)


def _numbers(value: Any, rank: int, name: str) -> tuple[int, ...]:
    """A setting once a dimension; RuntimeError in PyTorch's words for another count."""
    if value.__class__ is int:
        return (value,) * rank
    if value.__class__ is tuple and len(value) == rank:
        return value
    given = tuple(int(v) for v in value) if isinstance(value, (tuple, list)) else (int(value),)
    if len(given) == 1:
        return given * rank
    if len(given) != rank:
        raise RuntimeError(
            f"expected {name} to be a single integer value or a list of {rank} values to match the "
            f"convolution dimensions, but got {name}={list(given)}"
        )
    return given


def _check_settings(stride: tuple, padding: tuple, dilation: tuple, groups: int) -> None:
    if min(padding) < 0:
        raise RuntimeError("negative padding is not supported")
    if min(stride) <= 0:
        raise RuntimeError("non-positive stride is not supported")
    if min(dilation) <= 0:
        given = [1, *dilation][-max(len(dilation), 2) :]  # one dimension counts as a row
        raise RuntimeError(f"dilation should be greater than zero, but got {given}")
    if groups <= 0:
        raise RuntimeError("non-positive groups is not supported")


def _check_operands(name: str, input: Any, weight: Any, bias: Any) -> None:
    fine = isinstance(input, Tensor) and isinstance(weight, Tensor)
    if fine and (bias is None or isinstance(bias, Tensor)):
        return
    kinds = ["Tensor" if isinstance(t, Tensor) else type(t).__name__ for t in (input, weight)]
    if bias is not None:
        kinds.append("Tensor" if isinstance(bias, Tensor) else type(bias).__name__)
    raise TypeError(
        f"{name}() received an invalid combination of arguments - got ({', '.join(kinds)}), but "
        "expected one of:"
    )


def _batched(x: Node, rank: int, name: str) -> tuple[Node, bool]:
    """The input with a batch dimension, and whether it had one."""
    have = len(x.type.shape)
    if have == rank + 2:
        return x, True
    if have == rank + 1:
        return numbered(reshape(x, (1, *x.type.shape)), "UnsqueezeBackward0", x, saves=False), False
    raise RuntimeError(
        f"Expected {rank + 1}D (unbatched) or {rank + 2}D (batched) input to {name}, but got input "
        f"of size: {list(x.type.shape)}"
    )


def _unbatched(y: Node) -> Node:
    out = copy(reshape(y, y.type.shape[1:]))
    return numbered(out, "SqueezeBackward1", y, saves=False)


def _finish(y: Node, x: Node, w: Node, b: Node | None, batched: bool) -> Tensor:
    """The result with its bias, named, and without the batch dimension if the input had none."""
    if b is not None:
        b = cast(b, y.type.dtype)
        y = add(y, reshape(b, (b.type.shape[0],) + (1,) * (len(y.type.shape) - 2)))
    if y.grad:
        inputs = (x, w) if b is None else (x, w, b)
        tagged(y, "Convolution", *inputs, keeps=(x, w))
    return wrap(y if batched else _unbatched(y))


def _check_weight(x: Node, w: Node, b: Node | None, groups: int) -> None:
    shape, ws = x.type.shape, w.type.shape
    if ws[0] < groups:
        raise RuntimeError(
            f"Given groups={groups}, expected weight to be at least {groups} at dimension 0, but "
            f"got weight of size {list(ws)} instead"
        )
    if ws[0] % groups:
        raise RuntimeError(
            f"Given groups={groups}, expected weight to be divisible by {groups} at dimension 0, "
            f"but got weight of size [{list(ws)}] instead"
        )
    if shape[1] != ws[1] * groups:
        raise RuntimeError(
            f"Given groups={groups}, weight of size {list(ws)}, expected input{list(shape)} to "
            f"have {ws[1] * groups} channels, but got {shape[1]} channels instead"
        )
    if b is not None and b.type.shape != ws[:1]:
        raise RuntimeError(
            f"Given weight of size {list(ws)}, expected bias to be 1-dimensional with {ws[0]} "
            f"elements, but got bias of size {list(b.type.shape)} instead"
        )


def _check_fits(shape: tuple, kernel: tuple, padding: tuple, dilation: tuple) -> None:
    padded = tuple(s + 2 * p for s, p in zip(shape, padding))
    if any(k <= 0 for k in kernel):
        if len(kernel) == 3:
            sizes = f": {' x '.join(map(str, kernel))} (TxHxW)"
        else:  # one spatial dimension counts as a row
            height, width = (1, *kernel)[-2:]
            sizes = f" kernel_height: {height} kernel_width: {width}"
        raise RuntimeError(f"kernel size should be greater than zero, but got{sizes}")
    reach = tuple(d * (k - 1) + 1 for k, d in zip(kernel, dilation))
    if any(r > p for r, p in zip(reach, padded)):
        has, needs = " x ".join(map(str, padded)), " x ".join(map(str, reach))
        raise RuntimeError(
            f"Calculated padded input size per channel: ({has}). Kernel size: ({needs}). Kernel "
            "size can't be greater than actual input size"
        )


def _same(x: Node, kernel: tuple, stride: tuple, dilation: tuple) -> tuple[Node, tuple]:
    """Padding that keeps the extents: symmetric as far as it goes, an odd rest at the end."""
    if any(s != 1 for s in stride):
        raise RuntimeError("padding='same' is not supported for strided convolutions")
    total = [d * (k - 1) for k, d in zip(kernel, dilation)]
    if any(t % 2 for t in total):
        warn(SAME_NEEDS_COPY)
        widths = ((0, 0), (0, 0), *((0, t % 2) for t in total))
        x = pad_(x, 0.0 if x.type.dtype.is_floating_point else 0, arg=(widths,))
    return x, tuple(t // 2 for t in total)


def _convolution(
    rank: int,
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: Any,
    padding: Any,
    dilation: Any,
    groups: int,
) -> Tensor:
    name = f"conv{rank}d"
    _check_operands(name, input, weight, bias)
    x, w = node_of(input), node_of(weight)
    b = None if bias is None else node_of(bias)
    check_bias(x, None if isinstance(padding, str) else b)
    x, batched = _batched(x, rank, name)
    if len(w.type.shape) != rank + 2:
        _refuse_weight(w, rank, stride)
    steps = _numbers(stride, rank, "stride")
    apart = _numbers(dilation, rank, "dilation")
    kernel = w.type.shape[2:]
    if isinstance(padding, str):
        if padding not in ("same", "valid"):
            raise RuntimeError(f"Invalid padding string: '{padding}'")
        around: tuple = (0,) * rank
        if padding == "same":
            x, around = _same(x, kernel, steps, apart)
    else:
        around = _numbers(padding, rank, "padding")
    _check_settings(steps, around, apart, groups)
    _check_weight(x, w, b, groups)
    _check_fits(x.type.shape[2:], kernel, around, apart)
    check_operands(x, w, b, groups)
    return _finish(conv(x, w, arg=(steps, around, apart, groups)), x, w, b, batched)


def _refuse_weight(w: Node, rank: int, stride: Any) -> None:
    dimensions = len(w.type.shape) - 2
    raise RuntimeError(
        f"expected stride to be a single integer value or a list of {dimensions} values to match "
        f"the convolution dimensions, but got stride={list(_numbers(stride, rank, 'stride'))}"
    )


def conv1d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Tensor:
    """Cross-correlation over one dimension; weight (O, C / groups, K)."""
    return _convolution(1, input, weight, bias, stride, padding, dilation, groups)


def conv2d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Tensor:
    """Cross-correlation over two dimensions; weight (O, C / groups, KH, KW)."""
    return _convolution(2, input, weight, bias, stride, padding, dilation, groups)


def conv3d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Tensor:
    """Cross-correlation over three dimensions; weight (O, C / groups, KD, KH, KW)."""
    return _convolution(3, input, weight, bias, stride, padding, dilation, groups)


def conv_tbc(input: Tensor, weight: Tensor, bias: Tensor, pad: int = 0) -> Tensor:
    """`conv1d` of (T, N, C) with weight (K, C, O): (T', N, O)."""
    if input.dim() != 3:
        raise RuntimeError("Input must have 3 dims: time, batch, in_channel")
    if input.size(2) != weight.size(1):
        raise RuntimeError("Input dim 2 (input channels) is not == dim 1 in the weight tensor")
    y = conv1d(input.permute(1, 2, 0), weight.permute(2, 1, 0), bias, 1, pad)
    moved = node_of(y.permute(2, 0, 1).contiguous())
    return wrap(tagged(moved, "ConvTbc", *(node_of(t) for t in (input, weight, bias))))


# --- transposed -----------------------------------------------------------------------------------

_AXES = {1: ("width",), 2: ("height", "width"), 3: ("depth", "height", "width")}


def _check_output_padding(extra: tuple, stride: tuple, dilation: tuple) -> None:
    if min(extra) < 0:
        raise RuntimeError("negative output_padding is not supported")
    if all(e < s or e < d for e, s, d in zip(extra, stride, dilation)):
        return
    axes = _AXES[len(extra)]
    words = [
        f"{what}_{axis}: {value}"
        for what, values in (("output_padding", extra), ("stride", stride), ("dilation", dilation))
        for axis, value in zip(axes, values)
    ]
    raise RuntimeError(
        "output padding must be smaller than either stride or dilation, but got " + " ".join(words)
    )


def _transposed(
    rank: int,
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: Any,
    padding: Any,
    output_padding: Any,
    groups: int,
    dilation: Any,
) -> Tensor:
    name = f"conv_transpose{rank}d"
    _check_operands(name, input, weight, bias)
    x, w = node_of(input), node_of(weight)
    b = None if bias is None else node_of(bias)
    x, batched = _batched(x, rank, name)
    if len(w.type.shape) != rank + 2:
        _refuse_weight(w, rank, stride)
    steps = _numbers(stride, rank, "stride")
    around = _numbers(padding, rank, "padding")
    apart = _numbers(dilation, rank, "dilation")
    extra = _numbers(output_padding, rank, "output_padding")
    _check_settings(steps, around, apart, groups)
    ws, shape = w.type.shape, x.type.shape
    if ws[0] < groups or ws[0] % groups:
        _check_weight(x, w, None, groups)
    if shape[1] != ws[0]:
        raise RuntimeError(
            f"Given transposed=1, weight of size {list(ws)}, expected input{list(shape)} to have "
            f"{ws[0]} channels, but got {shape[1]} channels instead"
        )
    if b is not None and b.type.shape != (ws[1] * groups,):
        raise RuntimeError(
            f"Given transposed=1, weight of size {list(ws)}, expected bias to be 1-dimensional "
            f"with {ws[1] * groups} elements, but got bias of size {list(b.type.shape)} instead"
        )
    _check_output_padding(extra, steps, apart)
    spatial = tuple(
        (s - 1) * t - 2 * p + d * (k - 1) + e + 1
        for s, t, p, d, k, e in zip(shape[2:], steps, around, apart, ws[2:], extra)
    )
    if any(s < 0 for s in spatial):
        raise RuntimeError(
            f"Given input size per channel: ({' x '.join(map(str, shape[2:]))}). Calculated output "
            f"size per channel: ({' x '.join(map(str, spatial))}). Output size is too small"
        )
    # No image of this extent has this result if what is added to it is a stride or more: zeros
    # behind the input give the whole strides of it.
    behind = tuple(e // t for e, t in zip(extra, steps))
    check_operands(x, w, b, groups, transposed=True, wide=any(behind))
    longer = x
    if any(behind):
        zero = 0.0 if x.type.dtype.is_floating_point else 0
        longer = pad_(x, zero, arg=(((0, 0), (0, 0), *((0, n) for n in behind)),))
    y = conv_input(longer, w, arg=(spatial, steps, around, apart, groups))
    return _finish(y, x, w, b, batched)


def conv_transpose1d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    groups: int = 1,
    dilation: Any = 1,
) -> Tensor:
    """The transpose of `conv1d`; weight (C, O / groups, K)."""
    return _transposed(1, input, weight, bias, stride, padding, output_padding, groups, dilation)


def conv_transpose2d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    groups: int = 1,
    dilation: Any = 1,
) -> Tensor:
    """The transpose of `conv2d`; weight (C, O / groups, KH, KW)."""
    return _transposed(2, input, weight, bias, stride, padding, output_padding, groups, dilation)


def conv_transpose3d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    groups: int = 1,
    dilation: Any = 1,
) -> Tensor:
    """The transpose of `conv3d`; weight (C, O / groups, KD, KH, KW)."""
    return _transposed(3, input, weight, bias, stride, padding, output_padding, groups, dilation)


for _function in (
    conv1d,
    conv2d,
    conv3d,
    conv_tbc,
    conv_transpose1d,
    conv_transpose2d,
    conv_transpose3d,
):
    FUNCTIONS[_function.__name__] = _function
