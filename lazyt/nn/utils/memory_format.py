"""Weights of convolutions in another order of memory."""

from __future__ import annotations

from typing import Any, TypeVar

from lazyt.nn.module import Module

_Module = TypeVar("_Module", bound=Module)


def convert_conv2d_weight_memory_format(module: _Module, memory_format: Any) -> _Module:
    """The module as it is: tensors here are row-major, whatever order is asked for."""
    return module


def convert_conv3d_weight_memory_format(module: _Module, memory_format: Any) -> _Module:
    """The module as it is: tensors here are row-major, whatever order is asked for."""
    return module
