"""Functions of several tensors whose shapes belong together: a row is one call, with its shapes.

Example("{x}.mm({y})", [(2, 4), (4, 3)], (2, 3))
# x5 = x2.mm(x4), of any two tensors of these shapes, or new ones
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .base import MAX_TOP
from .model import F64, INEXACT, Var
from .reductions import Reductions

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Example:
    """A call of a function of tensors {x}, {y}, {z} of these shapes."""

    text: str
    shapes: list[Shape]
    shape: Shape
    kinked: bool = False  # whether the last bit of an operand can decide: exact operands only


class Examples(Reductions):
    """Adds calls that are made of rows."""

    def tensor_of(self, shape: Shape, dtype: str, exact: bool = False, top: int = 4) -> Var:
        """A tensor of the shape with small values: one there is, a view of one, or a new one."""

        def fits(v: Var, shape: Shape = shape) -> bool:
            small = v.store.top <= top and (v.exact or not exact)
            return v.shape == shape and v.dtype == dtype and small and not v.guarded

        v = self.some(fits)
        if v is not None and self.chance(0.75):
            return v
        if len(shape) > 1 and self.chance(0.5):
            w = self.some(lambda w: fits(w, (shape[-1], *shape[1:-1], shape[0])))
            if w is not None:
                return w.view(f"{w.text}.transpose(0, -1)", np.swapaxes(w.array, 0, -1))
        return self.new_of(shape, dtype)

    def new_of(self, shape: Shape, dtype: str) -> Var:
        """A new tensor of the shape, of few different values, so that maxima tie."""
        count, step = int(np.prod(shape)), self.pick([3, 4, 5, 7])
        needs = self.chance(0.5)
        if count <= 12:
            values = f"{self.literal(shape, dtype)}"
        else:
            values = f"(np.arange({count}) * {step} % 11 - 5).reshape({shape}) / 4"
        grad = ", requires_grad=True" if needs else ""
        var = self.result("", shape, dtype, 2, 2)
        var.text = f"torch.tensor({values}, dtype=torch.{dtype}{grad})"
        var.track.needs = needs
        return self.bind(var)

    def value_type(self) -> str:
        return "float32" if self.single and self.chance(0.4) else F64

    def call_example(self, rows: list[Example]) -> None:
        """`name = call`, with tensors of the row's shapes."""
        if self.fixed:
            return
        row, dtype = self.pick(rows), self.value_type()
        operands = [self.tensor_of(shape, dtype, row.kinked) for shape in row.shapes]
        text = row.text.format(**dict(zip("xyz", (v.text for v in operands))))
        self.bind_example(text, row.shape, dtype, tuple(operands))

    def bind_example(self, text: str, shape: Shape, dtype: str, parents: tuple[Var, ...]) -> None:
        top = min(2 * max(p.store.top for p in parents) + 2, MAX_TOP)
        made = self.result(text, shape, dtype, top, INEXACT, parents, parents, True)
        self.mix(parents)
        made.loose = len(shape) > 1  # results lie in memory as PyTorch's kernels left them
        self.bind(made)
