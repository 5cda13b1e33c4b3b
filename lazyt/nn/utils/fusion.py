"""A layer and the batch normalization behind it as one layer, for evaluation.

fuse_conv_bn_eval(conv, bn)(x)      # bn(conv(x)), up to rounding
"""

from __future__ import annotations

import copy
from typing import TypeVar

import lazyt
from lazyt.nn.module import Module
from lazyt.nn.modules.batchnorm import _BatchNorm
from lazyt.parameter import Parameter
from lazyt.tensor import Tensor

_Module = TypeVar("_Module", bound=Module)


def _copied(layer: _Module, norm: _BatchNorm) -> _Module:
    if layer.training or norm.training:
        raise AssertionError("Fusion only for eval!")
    return copy.deepcopy(layer)


def _statistics(norm: _BatchNorm) -> tuple[Tensor, Tensor]:
    if norm.running_mean is None or norm.running_var is None:
        raise AssertionError("bn.running_mean and bn.running_var must not be None")
    return norm.running_mean, norm.running_var


def fuse_conv_bn_eval(conv: _Module, bn: _BatchNorm, transpose: bool = False) -> _Module:
    """A convolution that computes bn(conv(x)). AssertionError unless both are in evaluation."""
    fused = _copied(conv, bn)
    mean, var = _statistics(bn)
    fused.weight, fused.bias = fuse_conv_bn_weights(
        fused.weight,
        fused.bias,
        mean,
        var,
        bn.eps,
        bn.weight,
        bn.bias,
        transpose,
    )
    return fused


def fuse_conv_bn_weights(
    conv_w: Tensor,
    conv_b: Tensor | None,
    bn_rm: Tensor,
    bn_rv: Tensor,
    bn_eps: float,
    bn_w: Tensor | None,
    bn_b: Tensor | None,
    transpose: bool = False,
) -> tuple[Parameter, Parameter]:
    """The weight and bias of a convolution and the normalization behind it."""
    bias = lazyt.zeros_like(bn_rm) if conv_b is None else conv_b
    dtype = conv_w.dtype if conv_b is None else conv_b.dtype
    scale = lazyt.ones_like(bn_rm) if bn_w is None else bn_w
    shift = lazyt.zeros_like(bn_rm) if bn_b is None else bn_b
    inverse = lazyt.rsqrt(bn_rv + bn_eps)
    rest = [1] * (conv_w.dim() - 2)
    shape = [1, -1, *rest] if transpose else [-1, 1, *rest]
    weight = (conv_w * (scale * inverse).reshape(shape)).to(dtype=conv_w.dtype)
    bias_too = ((bias - bn_rm) * inverse * scale + shift).to(dtype=dtype)
    return (
        Parameter(weight, conv_w.requires_grad),
        Parameter(bias_too, bias.requires_grad),
    )


def fuse_linear_bn_eval(linear: _Module, bn: _BatchNorm) -> _Module:
    """A linear layer that computes bn(linear(x)). AssertionError unless both are in evaluation."""
    fused = _copied(linear, bn)
    if linear.out_features != bn.num_features and bn.num_features != 1:
        raise AssertionError(
            "To fuse, linear.out_features == bn.num_features or bn.num_features == 1, got "
            f"linear.out_features={linear.out_features} and bn.num_features={bn.num_features}"
        )
    mean, var = _statistics(bn)
    fused.weight, fused.bias = fuse_linear_bn_weights(
        fused.weight, fused.bias, mean, var, bn.eps, bn.weight, bn.bias
    )
    return fused


def fuse_linear_bn_weights(
    linear_w: Tensor,
    linear_b: Tensor | None,
    bn_rm: Tensor,
    bn_rv: Tensor,
    bn_eps: float,
    bn_w: Tensor,
    bn_b: Tensor,
) -> tuple[Parameter, Parameter]:
    """The weight and bias of a linear layer and the normalization behind it."""
    bias = lazyt.zeros_like(bn_rm) if linear_b is None else linear_b
    dtype = linear_w.dtype if linear_b is None else linear_b.dtype
    scale = bn_w * lazyt.rsqrt(bn_rv + bn_eps)
    weight = linear_w * scale.unsqueeze(-1).to(dtype=linear_w.dtype)
    bias_too = ((bias - bn_rm) * scale + bn_b).to(dtype=dtype)
    return (
        Parameter(weight, linear_w.requires_grad),
        Parameter(bias_too, bias.requires_grad),
    )
