"""Convolutions on the device: forward, the gradient of the input, and that of the weight.

Each is a matrix product whose right operand is seen through windows (prelude/convolution.cuh). With
`x (N, C, *S)`, `w (O, C / groups, *K)`, `g (N, O, *out)` and a group as batch axis:

                 rows    columns            reduced
    conv         O       (N, *out)          (C, *K)       w by windows of x
    conv_input   C       (N, *S)            (O, *K)       w by windows of g
    conv_weight  O       (C, *K)            (N, *out)     g by windows of x

With stride s the gradient of the input falls into s parts a dimension: input positions i of which
i + padding leaves the same rest meet the same taps, and among them the output position that a tap
leads to is again i plus a multiple of the tap. Each part is a launch of the same function, so
nothing is multiplied by a zero between strides.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import product
from math import gcd

from lazyt.ir.numerics.conv import conv_output_size

from ..launches import CudaKernel
from ..loops import Statement
from .build import build
from .contraction import Contraction, Strides, Window, merge_axes
from .epilogue import render
from .matmul import stored
from .tiles import on_matrix_units

Extents = tuple[int, ...]
FEW_POSITIONS = 64


@dataclass(frozen=True)
class Convolution:
    """One of the three, for up to three spatial dimensions.

    x, w: shapes of the input and the weight. left, right: strides in elements of the first and the
    second operand, as the primitive has them: (x, w), (g, w) or (g, x).
    dtype, tf32, tensor_cores: as for `Product`.
    epilogue: as for `Product`; the strides of its params are over the result's axes.
    """

    x: Extents
    w: Extents
    left: Extents
    right: Extents
    stride: Extents
    padding: Extents
    dilation: Extents
    groups: int
    dtype: str
    tf32: bool = False
    tensor_cores: bool = False
    epilogue: tuple[Statement, ...] = ()

    @property
    def out(self) -> Extents:
        """The spatial extents of conv's result."""
        return conv_output_size(self.x[2:], self.w[2:], self.stride, self.padding, self.dilation)


def convolve(problem: Convolution) -> CudaKernel:
    """conv: x, w to (N, O, *out). The arrays: x, w, the epilogue's inputs, its outputs."""
    p = problem
    shape = (p.x[0], p.w[0], *p.out)
    places, statements = _places(p, shape)
    results = [_grouped(s, p.w[0] // p.groups, batch=1, row=1, along=0) for s in places]
    x, w, maps, channels = p.left, p.right, p.w[0] // p.groups, p.w[1]
    left = Strides((maps * w[0],), w[0], (w[1], *w[2:]))
    right = Strides(
        (channels * x[1],),
        0,
        (x[0], *_times(p.stride, x[2:])),
        -sum(_times(p.padding, x[2:])),
    )
    direct = _direct(p, maps, channels, left, x, places)
    if direct:
        return build("conv", [direct], statements, operands=(1, 0))
    window = Window(
        (x[1], *_times(p.dilation, x[2:])), p.x[2:], _negative(p.padding), p.stride, p.dilation
    )
    form = _contraction(
        p, maps, (p.x[0], *p.out), (channels, *p.w[2:]), left, right, results, window
    )
    return build("conv", _one_stride([form]), statements, operands=(1, 0))


def convolve_weight(problem: Convolution) -> CudaKernel:
    """conv_weight: g, x to the weight's shape. The arrays: g, x, then the epilogue's."""
    p = problem
    places, statements = _places(p, p.w)
    g, x, maps, channels = p.left, p.right, p.w[0] // p.groups, p.w[1]
    results = [_grouped(s, maps, batch=0, row=0, along=1) for s in places]
    left = Strides((maps * g[1],), g[1], (g[0], *g[2:]))
    right = Strides(
        (channels * x[1],),
        0,
        (x[1], *_times(p.dilation, x[2:])),
        -sum(_times(p.padding, x[2:])),
    )
    window = Window(
        (x[0], *_times(p.stride, x[2:])), p.x[2:], _negative(p.padding), p.dilation, p.stride
    )
    form = _contraction(
        p, maps, (channels, *p.w[2:]), (p.x[0], *p.out), left, right, results, window
    )
    return build("conv_weight", _one_stride([form]), statements)


def convolve_input(problem: Convolution) -> CudaKernel:
    """conv_input: g, w to the input's shape. The arrays: g, w, then the epilogue's."""
    p = problem
    places, statements = _places(p, p.x)
    g, w, maps, channels = p.left, p.right, p.w[0] // p.groups, p.w[1]
    results = [_grouped(s, channels, batch=1, row=1, along=0) for s in places]
    whole = Strides((maps * w[0],), w[1], (w[0],))
    direct = _direct(p, channels, maps, whole, g, places)
    if direct:
        return build("conv_input", [direct], statements, operands=(1, 0))
    dimensions = zip(p.x[2:], p.w[2:], p.stride, p.padding, p.dilation, strict=True)
    forms = []
    for phases in product(*(list(_phases(*d)) for d in dimensions)):
        firsts, counts, taps, kept, tap_steps, starts, moves = zip(*phases, strict=True)
        left = Strides(
            (maps * w[0],),
            w[1],
            (w[0], *_times(tap_steps, w[2:])),
            sum(_times(taps, w[2:])),
        )
        right = Strides((maps * g[1],), 0, (g[0], *g[2:]), sum(_times(starts, g[2:])))
        window = Window((g[1], *_times(moves, g[2:])), p.out, starts, (1,) * len(starts), moves)
        parts = [
            Strides(
                s.batch,
                s.row,
                (s.along[0], *_times(p.stride, s.along[1:])),
                s.start + sum(_times(firsts, s.along[1:])),
            )
            for s in results
        ]
        forms.append(
            _contraction(p, channels, (p.x[0], *counts), (maps, *kept), left, right, parts, window)
        )
    return build("conv_input", _one_stride(forms), statements, operands=(1, 0))


def _phases(
    extent: int, kernel: int, stride: int, padding: int, dilation: int
) -> Iterator[tuple[int, int, int, int, int, int, int]]:
    """The parts of one dimension of the gradient of the input.

    Each is (first, count, tap, taps, tap_step, start, move): input positions first, first + stride,
    ... count times; kernel taps tap, tap + tap_step, ... taps times; position number q meets tap
    number t at the output position start + q + t * move.
    """
    common = gcd(stride, dilation)
    tap_step, move = stride // common, -(dilation // common)
    for first in range(min(stride, extent)):
        count = -(-(extent - first) // stride)
        rest = (first + padding) % stride
        meets = (t for t in range(min(tap_step, kernel)) if t * dilation % stride == rest)
        tap = next(meets, None)
        if tap is None:
            yield first, count, 0, 0, tap_step, 0, move
        else:
            start = (first + padding - tap * dilation) // stride
            yield first, count, tap, -(-(kernel - tap) // tap_step), tap_step, start, move


def _direct(
    p: Convolution, rows: int, depth: int, left: Strides, seen: Extents, places: list[Extents]
) -> Contraction | None:
    """A kernel of one tap that meets every position: a product for each sample, without windows.

    seen: strides of the operand that has positions. None for other kernels, for positions that do
    not lie equally far apart, and for few of them: tiles would be filled badly.
    """
    if {*p.w[2:], *p.stride} != {1} or any(p.padding):
        return None
    extents, strides = merge_axes(p.x[2:], [seen[2:], *(s[2:] for s in places)])
    if len(extents) != 1 or extents[0] < FEW_POSITIONS:
        return None
    (step,), *steps = strides
    return Contraction(
        (p.x[0], p.groups),
        rows,
        extents,
        (depth,),
        Strides((0, *left.batch), left.row, left.along[:1]),
        Strides((seen[0], depth * seen[1]), seen[1], (step,)),
        tuple(Strides((s[0], rows * s[1]), s[1], along) for s, along in zip(places, steps)),
        p.dtype,
        on_matrix_units(p.dtype, p.tensor_cores, p.tf32),
    )


def _contraction(
    p: Convolution,
    rows: int,
    columns: Extents,
    reduced: Extents,
    left: Strides,
    right: Strides,
    places: list[Strides],
    window: Window,
) -> Contraction:
    uses = on_matrix_units(p.dtype, p.tensor_cores, p.tf32)
    return Contraction(
        (p.groups,), rows, columns, reduced, left, right, tuple(places), p.dtype, uses, window
    )


def _one_stride(forms: list[Contraction]) -> list[Contraction]:
    """With a single stride of the left operand along the reduced axes, if they all have one."""
    made = []
    for form in forms:
        merged, (steps,) = merge_axes(form.reduced, [form.left.along])
        if len(merged) > 1:
            return forms
        made.append(replace(form, left=replace(form.left, along=steps or (0,))))
    return made


def _places(p: Convolution, shape: Extents) -> tuple[list[Extents], tuple[Statement, ...]]:
    """The strides of the epilogue's params over the result's axes, and its statements."""
    statements = p.epilogue or stored(shape, p.dtype)
    return [s.strides for s in render(statements, first=2).places], statements


def _grouped(strides: Extents, size: int, batch: int, row: int, along: int) -> Strides:
    """A result's strides: axis `batch` cut into groups of `size`, rows within them."""
    return Strides((size * strides[batch],), strides[row], (strides[along], *strides[2:]))


def _times(a: Extents, b: Extents) -> Extents:
    return tuple(x * y for x, y in zip(a, b, strict=True))


def _negative(a: Extents) -> Extents:
    return tuple(-x for x in a)
