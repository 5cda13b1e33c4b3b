"""Convolutions in CUDA C: values on the host with checks, against the NumPy forms in ir/numerics."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from cuda_kernels import host_module, launch, nvcc, resources_of
from test_cuda_templates import (
    ORDERS,
    SMALLEST,
    SUM_UNIT,
    UNIT,
    Operand,
    decode,
    empty,
    encode,
    needs_host,
    needs_nvcc,
)

from lazyt.codegen.launches import CudaKernel
from lazyt.codegen.loops import Apply, Load, Param, Store
from lazyt.codegen.templates import build as templates_build
from lazyt.codegen.templates.convolution import (
    Convolution,
    convolve,
    convolve_input,
    convolve_weight,
)
from lazyt.ir.numerics.conv import conv, conv_input_grad, conv_output_size, conv_weight_grad
from lazyt.runtime.cuda.host.build import HostModule

KERNELS = {"conv": convolve, "conv_input": convolve_input, "conv_weight": convolve_weight}


@dataclass(frozen=True)
class Case:
    """A convolution: shapes of input and weight, and its geometry. order: "rows", or "last" with
    channels innermost in memory."""

    x: tuple[int, ...]
    w: tuple[int, ...]
    stride: tuple[int, ...]
    padding: tuple[int, ...]
    dilation: tuple[int, ...]
    groups: int = 1
    dtype: str = "float32"
    order: str = "rows"
    tensor: bool = False

    def __str__(self) -> str:
        parts = ["x".join(map(str, e)) for e in (self.x, self.w)]
        for letter, values in zip("spd", (self.stride, self.padding, self.dilation)):
            parts.append(letter + "".join(map(str, values)))
        parts += [f"g{self.groups}", self.dtype, self.order]
        return "-".join(parts + (["tensor"] if self.tensor else []))

    @property
    def out(self) -> tuple[int, ...]:
        spatial = conv_output_size(self.x[2:], self.w[2:], self.stride, self.padding, self.dilation)
        return (self.x[0], self.w[0], *spatial)

    def operands(self, name: str) -> tuple[Operand, Operand]:
        shapes = {
            "conv": (self.x, self.w),
            "conv_input": (self.out, self.w),
            "conv_weight": (self.out, self.x),
        }[name]
        first, second = (laid(shape, self.dtype, i, self.order) for i, shape in enumerate(shapes))
        return first, second

    def problem(self, name: str) -> Convolution:
        a, b = self.operands(name)
        return Convolution(
            self.x,
            self.w,
            a.strides,
            b.strides,
            self.stride,
            self.padding,
            self.dilation,
            self.groups,
            self.dtype,
            tf32=self.tensor,
            tensor_cores=self.tensor,
        )

    def kernel(self, name: str) -> CudaKernel:
        return KERNELS[name](self.problem(name))

    def apply(self, name: str, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        """What ir/numerics says, in float64."""
        geometry = (self.stride, self.padding, self.dilation, self.groups)
        if name == "conv":
            return conv(a, b, *geometry)
        if name == "conv_input":
            return conv_input_grad(a, b, self.x[2:], *geometry)
        return conv_weight_grad(a, b, self.w[2:], *geometry)

    def shape(self, name: str) -> tuple[int, ...]:
        return {"conv": self.out, "conv_input": self.x, "conv_weight": self.w}[name]

    def terms(self, name: str) -> int:
        """The most products that an element of the result is a sum of."""
        taps = int(np.prod(self.w[2:]))
        positions = self.x[0] * int(np.prod(self.out[2:]))
        return {
            "conv": self.w[1] * taps,
            "conv_input": self.w[0] // self.groups * taps,
            "conv_weight": positions,
        }[name]

    def bound(self, name: str, a: np.ndarray, b: np.ndarray, exact: np.ndarray) -> np.ndarray:
        """See test_cuda_templates.py."""
        sums = self.apply(name, np.abs(a), np.abs(b))
        error = (self.terms(name) + 1) * SUM_UNIT.get(self.dtype, UNIT["float32"]) * sums
        if self.tensor and self.dtype == "float32":
            error += (2 * UNIT["tf32"] + UNIT["tf32"] ** 2) * sums
        error *= 1 + UNIT[self.dtype]
        return error + UNIT[self.dtype] * np.abs(exact) + SMALLEST.get(self.dtype, 0)


def laid(shape: tuple[int, ...], dtype: str, seed: int, order: str) -> Operand:
    """Random numbers, row-major or with the second axis innermost."""
    axes = list(range(len(shape)))
    if order == "last":
        axes.append(axes.pop(1))
    memory = encode(np.random.default_rng(seed).normal(size=[shape[i] for i in axes]), dtype)
    value = decode(memory).transpose(np.argsort(axes))
    strides = tuple(s // memory.itemsize for s in memory.transpose(np.argsort(axes)).strides)
    return Operand(memory, strides, np.ascontiguousarray(value))


PLAIN = Case((2, 3, 9, 10), (5, 3, 3, 3), (1, 1), (1, 1), (1, 1))
CASES = [
    PLAIN,
    Case((2, 4, 7, 8), (6, 2, 3, 2), (2, 1), (1, 0), (1, 2), 2),
    Case((2, 6, 11, 9), (6, 1, 3, 3), (1, 1), (1, 1), (1, 1), 6),
    Case((1, 6, 11, 9), (12, 1, 3, 3), (2, 2), (1, 1), (1, 1), 6),
    Case((2, 5, 8, 8), (7, 5, 1, 1), (1, 1), (0, 0), (1, 1)),
    Case((2, 5, 8, 9), (7, 5, 1, 1), (2, 2), (0, 0), (1, 1)),
    Case((1, 3, 12, 12), (4, 3, 4, 4), (4, 4), (0, 0), (1, 1)),
    Case((2, 2, 13, 11), (3, 2, 3, 3), (2, 3), (2, 1), (4, 3)),
    Case((2, 2, 13, 14), (3, 2, 2, 3), (4, 6), (1, 2), (2, 4)),
    Case((2, 3, 5, 5), (4, 3, 2, 2), (7, 1), (1, 1), (1, 1)),
    Case((2, 3, 40), (8, 3, 5), (1,), (2,), (1,)),
    Case((3, 4, 31), (8, 2, 4), (3,), (1,), (2,), 2),
    Case((1, 2, 5, 6, 7), (3, 2, 3, 2, 3), (1, 2, 1), (1, 0, 1), (1, 1, 2)),
    Case((2, 4, 5, 4, 5), (4, 2, 2, 2, 2), (2, 2, 2), (0, 1, 0), (1, 1, 1), 2),
    Case((4, 3, 20, 20), (4, 3, 3, 3), (1, 1), (1, 1), (1, 1)),
    Case((1, 40, 12, 12), (36, 40, 3, 3), (1, 1), (1, 1), (1, 1)),
    replace(PLAIN, order="last"),
    *(replace(PLAIN, dtype=d) for d in ("float64", "float16", "bfloat16")),
    *(replace(PLAIN, dtype=d, tensor=True) for d in ("float32", "float16", "bfloat16")),
    Case((2, 4, 9, 8), (40, 2, 3, 3), (2, 2), (1, 1), (1, 1), 2, "float16", tensor=True),
]
EVERY = [(name, case) for case in CASES for name in KERNELS]
NAMED = pytest.mark.parametrize("name, case", EVERY, ids=lambda v: str(v))


@pytest.fixture(scope="module")
def convolutions() -> HostModule:
    """The kernels of all cases, compiled in one call."""
    return host_module([case.kernel(name) for name, case in EVERY])


@needs_host
@ORDERS
@NAMED
def test_convolution(convolutions: HostModule, name: str, case: Case, reverse: bool) -> None:
    a, b = case.operands(name)
    y = empty(case.shape(name), case.dtype)
    launch(convolutions, case.kernel(name), [a.memory, b.memory, y], reverse=reverse)
    exact = case.apply(name, a.value, b.value)
    error = np.abs(decode(y) - exact)
    assert (error <= case.bound(name, a.value, b.value, exact)).all(), error.max()
