"""From a primitive of the IR to the kernel that computes it.

v = matmul of a float32[8,3,4] and b float32[4,5]
template(v, [(12, 4, 1), (5, 1)])       Product((8,), 3, 5, 4, (12, 4, 1), (0, 5, 1), "float32")
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from lazyt.ir.graph import Value

from ..launches import CudaKernel
from ..loops import Load, Statement, Store
from .convolution import Convolution, convolve, convolve_input, convolve_weight
from .matmul import Product, matmul, stored
from .tiles import TILES

Strides = tuple[int, ...]


@dataclass(frozen=True)
class MatrixUnits:
    """What a device's matrix units are to compute: dtypes of the operands, of matrix products and
    of convolutions. float32 operands are rounded to tf32 there."""

    products: frozenset[str] = frozenset()
    convolutions: frozenset[str] = frozenset()

    def compute(self, v: Value) -> bool:
        """Whether they compute a value."""
        dtypes = self.products if v.op.name == "matmul" else self.convolutions
        return v.src[0].type.dtype.name in dtypes


NO_UNITS = MatrixUnits()


@dataclass(frozen=True)
class Use:
    """A primitive as it is used: its operands' strides in elements, what follows it (statements
    whose params have strides over the result's axes), and what the device may be asked for."""

    v: Value
    strides: list[Strides]
    epilogue: tuple[Statement, ...]
    tensor_cores: bool
    tf32: bool

    @property
    def dtype(self) -> str:
        """The operands' dtype; the result is stored in its own."""
        return self.v.src[0].type.dtype.name

    @property
    def shapes(self) -> list[tuple[int, ...]]:
        return [s.type.shape for s in self.v.src]

    @property
    def ending(self) -> tuple[Statement, ...]:
        return self.epilogue or stored(self.v.type.shape, self.v.type.dtype.name)


def template(
    v: Value,
    strides: list[Strides],
    epilogue: tuple[Statement, ...] = (),
    tensor_cores: bool = False,
    tf32: bool = False,
) -> CudaKernel | None:
    """The kernel that computes a value, with what follows it; None where there is none.

    strides: of each operand, over its own axes, in elements. epilogue: begins with the free name
    "acc", the value; its params have strides over the value's axes. Without any, the value is
    stored row-major. The arrays: the operands, the epilogue's inputs, its outputs (or the value).
    tensor_cores, tf32: as for `Product`.

    There is none for integers, for more than three spatial dimensions, and for operands of two
    dtypes.
    """
    make = TEMPLATES.get(v.op.name) if v.op else None
    if make is None or any(s.__class__ is not Value for s in v.src):
        return None
    dtypes = {s.type.dtype.name for s in v.src}
    if len(dtypes) > 1 or not dtypes <= TILES.keys():
        return None
    return make(Use(v, strides, epilogue, tensor_cores, tf32))


def _matmul(use: Use) -> CudaKernel:
    (a, b), (a_strides, b_strides) = use.shapes, use.strides
    row, column = len(a) > 1, len(b) > 1
    shape = use.v.type.shape
    batch = shape[: len(shape) - row - column]
    if not row:
        a, a_strides = (1, *a), (0, *a_strides)
    if not column:
        b, b_strides = (*b, 1), (*b_strides, 0)
    # A vector's result lacks an axis that the product has.
    ending = tuple(_with_axes(s, row, column) for s in use.ending)
    return matmul(
        Product(
            batch,
            a[-2],
            b[-1],
            a[-1],
            _broadcast(a, a_strides, batch),
            _broadcast(b, b_strides, batch),
            use.dtype,
            use.tf32,
            use.tensor_cores,
            ending,
        )
    )


def _broadcast(shape: tuple[int, ...], strides: Strides, batch: tuple[int, ...]) -> Strides:
    """The strides of a stack of matrices over the batch axes of a product, and its own two."""
    lead = [0 if extent == 1 else step for extent, step in zip(shape[:-2], strides)]
    return (*(0,) * (len(batch) - len(lead)), *lead, *strides[-2:])


def _with_axes(statement: Statement, row: bool, column: bool) -> Statement:
    """A statement over (*batch, m, n) from one over a result that lacks m or n."""
    if not isinstance(statement, (Load, Store)):
        return statement
    strides = list(statement.param.strides)
    if not column:
        strides.append(0)
    if not row:
        strides.insert(len(strides) - 1, 0)
    return replace(statement, param=replace(statement.param, strides=tuple(strides)))


def _convolution(
    use: Use,
    x: tuple[int, ...],
    w: tuple[int, ...],
    geometry: tuple,
    make: Callable[[Convolution], CudaKernel],
) -> CudaKernel | None:
    if not 1 <= len(x) - 2 <= 3:
        return None
    left, right = use.strides
    stride, padding, dilation, groups = geometry
    return make(
        Convolution(
            x,
            w,
            left,
            right,
            stride,
            padding,
            dilation,
            groups,
            use.dtype,
            use.tf32,
            use.tensor_cores,
            use.ending,
        )
    )


def _conv(use: Use) -> CudaKernel | None:
    x, w = use.shapes
    return _convolution(use, x, w, use.v.arg, convolve)


def _conv_input(use: Use) -> CudaKernel | None:
    return _convolution(use, use.v.type.shape, use.shapes[1], use.v.arg[1:], convolve_input)


def _conv_weight(use: Use) -> CudaKernel | None:
    return _convolution(use, use.shapes[1], use.v.type.shape, use.v.arg[1:], convolve_weight)


TEMPLATES: dict[str, Callable[[Use], CudaKernel | None]] = {
    "matmul": _matmul,
    "conv": _conv,
    "conv_input": _conv_input,
    "conv_weight": _conv_weight,
}
