"""Functions along dimensions: reductions, scans, sorting, normalising, and functions of shape.

What a row makes of the shape says a NumPy function, called on the array that stands for the
tensor; where that array shares memory, so do the tensors.

    ("{x}.flip({d})", np.flip)     ("{x}.unflatten(0, (1, -1))", lambda a: a[None])
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from .base import Statement
from .functions import Functions, takes
from .model import BOOL, F64, I64, INEXACT, Var, empty


@dataclass(frozen=True)
class Along:
    """A function along a dimension {d}."""

    text: str
    grows: int = 0
    top: int | None = None
    exact: bool = False  # exact operands give the very same values everywhere
    kinked: bool = False  # exact operands only
    where: str = "float"
    dtype: str | None = None
    whole: str | None = None  # the same without a dimension


REDUCTIONS = [
    Along("{x}.sum({d}{keep})", 3, exact=True, where="number", whole="{x}.sum()"),
    Along("torch.sum({x}, ({d},){keep})", 3, exact=True, where="number"),
    Along("{x}.sum({d}{keep}, dtype=torch.float64)", 3, where="number", dtype=F64),
    Along("torch.mean({x}, {d}{keep})", whole="torch.mean({x})"),
    Along("{x}.var({d}{keep})", 6, whole="{x}.var()"),
    Along("{x}.std({d}, unbiased=False{keep})", 1),
    Along("torch.var({x} * 1.5 + {x}.sin(), {d}, correction=0{keep})", 6),
    Along("torch.var_mean({x}, {d}{keep})[0]", 6, whole="torch.var_mean({x})[1]"),
    Along("torch.logsumexp({x}, {d}{keep})", 2),
    Along("({x} * {x} + 0.5).norm(dim={d}{keep})", 12, whole="({x} * {x} + 0.5).norm()"),
    Along("torch.linalg.vector_norm({x} + 0.125, 3, {d}{keep})", 3),
    Along("torch.linalg.norm({x} * {x} + 1, dim={d}{keep})", 12),
    Along("({x}.tanh()).prod({d}{keep})", top=0, whole="({x}.tanh()).prod()"),
    Along("{x}.amax({d}{keep})", exact=True, kinked=True, where="number"),
    Along("torch.amin({x}, ({d},){keep})", exact=True, kinked=True, where="number"),
    Along("{x}.max({d}{keep}).values", exact=True, kinked=True, where="number"),
    Along("torch.min({x}, {d}{keep})[0]", exact=True, kinked=True, where="number"),
    Along("{x}.aminmax(dim={d}{keep}).max", exact=True, kinked=True, where="number"),
    Along(
        "{x}.contiguous().median({d}{keep}).values", exact=True, kinked=True, whole="{x}.median()"
    ),
    Along("{x}.kthvalue(1, {d}{keep}).values", exact=True, kinked=True),
    Along("torch.quantile({x}, 0.25, dim={d}{keep})", exact=False, kinked=True),
    Along("{x}.nansum({d}{keep})", 3, exact=True),
    Along("{x}.argmax({d}{keep})", top=3, kinked=True, where="number", dtype=I64),
    Along("torch.argmin({x}, {d}{keep})", top=3, kinked=True, where="number", dtype=I64),
    Along("torch.count_nonzero({x}, {d})", top=3, kinked=True, where="number", dtype=I64),
    Along("{x}.any({d}{keep})", top=0, kinked=True, where="any", dtype=BOOL, whole="{x}.any()"),
    Along("torch.all({x}, {d}{keep})", top=0, kinked=True, where="any", dtype=BOOL),
]
# PyTorch leaves undefined which of equal values sorting finds, but with stable=True.
SCANS = [
    Along("torch.softmax({x}, {d})", top=0),
    Along("{x}.softmax(dim={d})", top=0),
    Along("{x}.log_softmax({d})", 4),
    Along("torch.nn.functional.softmin({x}, dim={d})", top=0),
    Along("{x}.cumsum({d})", 3, exact=True, where="number"),
    Along("torch.cumsum({x}, {d}, dtype=torch.float64)", 3, where="number", dtype=F64),
    Along("{x}.tanh().cumprod({d})", top=0),
    Along("torch.logcumsumexp({x}, {d})", 3),
    Along("torch.cummax({x}, {d}).values", exact=True, kinked=True, where="number"),
    Along("{x}.sort({d}).values", exact=True, kinked=True, where="number"),
    Along("torch.sort({x}, dim={d}, descending=True)[0]", exact=True, kinked=True),
    Along("{x}.sort(dim={d}, stable=True).indices", top=3, kinked=True, where="number", dtype=I64),
    Along(
        "torch.argsort({x}, dim={d}, stable=True)", top=3, kinked=True, where="number", dtype=I64
    ),
    Along("torch.nn.functional.normalize({x} + 0.125, dim={d})", top=0),
    Along("{x}.diff(dim={d}, prepend={x}.narrow({d}, 0, 1))", 1, exact=True, where="number"),
]


@dataclass(frozen=True)
class Shaped:
    """A function of shape: its text, and the same of the array that stands for the tensor."""

    text: str
    array: Callable[[np.ndarray], np.ndarray]
    dims: tuple[int, ...] = (1, 2, 3)


REARRANGED = [
    Shaped("{x}.repeat(2, 1)", lambda a: np.tile(a, (2, 1)), (1, 2)),
    Shaped("{x}.repeat(2, 1, 2)", lambda a: np.tile(a, (2, 1, 2)), (1, 2)),
    Shaped("torch.tile({x}, (2,))", lambda a: np.tile(a, (2,)), (0, 1, 2)),
    Shaped("{x}.repeat_interleave(2)", lambda a: np.repeat(a, 2)),
    Shaped("{x}.repeat_interleave(2, dim=0)", lambda a: np.repeat(a, 2, 0)),
    Shaped("torch.roll({x}, 1, 0)", lambda a: np.roll(a, 1, 0)),
    Shaped("{x}.roll(-2)", lambda a: np.roll(a, -2)),
    Shaped("{x}.roll((1, -1), (0, 1))", lambda a: np.roll(a, (1, -1), (0, 1)), (2, 3)),
    Shaped("torch.flip({x}, [0, -1])", lambda a: np.flip(a, (0, -1)).copy(), (2, 3)),
    Shaped("{x}.fliplr()", lambda a: np.fliplr(a).copy(), (2, 3)),
    Shaped("torch.flipud({x})", lambda a: np.flipud(a).copy()),
    Shaped("torch.rot90({x}, 1, [0, 1])", lambda a: np.rot90(a).copy(), (2, 3)),
    Shaped("torch.hstack([{x}, {x}])", lambda a: np.hstack([a, a])),
    Shaped("torch.vstack([{x}, {x}])", lambda a: np.vstack([a, a])),
    Shaped("torch.dstack(({x}, {x}))", lambda a: np.dstack([a, a]), (1, 2)),
    Shaped("torch.column_stack([{x}, {x}])", lambda a: np.column_stack([a, a]), (1, 2)),
    Shaped("torch.stack([{x}, {x}], -1)", lambda a: np.stack([a, a], -1), (0, 1, 2)),
    Shaped("torch.cat([{x}, {x}, {x}], -1)", lambda a: np.concatenate([a, a, a], -1)),
    Shaped("torch.cat([{x}, {x}[:0]])", lambda a: a.copy()),
    Shaped("torch.diag({x})", lambda a: np.diag(a).copy(), (1, 2)),
    Shaped("torch.diag_embed({x})", lambda a: np.empty((*a.shape, a.shape[-1])), (1, 2)),
    Shaped("{x}.tril(-1)", np.copy, (2, 3)),
    Shaped("torch.triu({x}, 1)", np.copy, (2, 3)),
    Shaped(
        "torch.meshgrid({x}, {x}, indexing='ij')[0]",
        lambda a: np.broadcast_to(a[:, None], (a.size, a.size)),
        (1,),
    ),
    Shaped("{x}.masked_select({x} == {x})", lambda a: a.ravel().copy()),
    Shaped("{x}.take(torch.tensor([0, -1, 0]))", lambda a: np.take(a, [0, -1, 0])),
    Shaped(
        "{x}.expand_as(torch.empty(2, *{x}.shape))", lambda a: np.broadcast_to(a, (2, *a.shape))
    ),
    Shaped("torch.broadcast_to({x}, (3, *{x}.shape))", lambda a: np.broadcast_to(a, (3, *a.shape))),
    Shaped("{x}.view_as({x})", lambda a: a[...]),
    Shaped("{x}.unflatten(0, (1, -1))", lambda a: a[None]),
    Shaped("torch.unsqueeze({x}, -1)", lambda a: a[..., None]),
    Shaped("torch.movedim({x}, 0, -1)", lambda a: np.moveaxis(a, 0, -1), (2, 3)),
    Shaped("{x}.swapaxes(0, 1)", lambda a: np.swapaxes(a, 0, 1), (2, 3)),
    Shaped("{x}.mT", lambda a: np.swapaxes(a, -1, -2), (2, 3)),
    Shaped("torch.narrow({x}, 0, 1, 1)", lambda a: a[1:2]),
    Shaped("torch.select({x}, -1, 0)", lambda a: a[..., 0]),
    Shaped("{x}.split([1, {x}.shape[0] - 1])[1]", lambda a: a[1:]),
    Shaped("{x}.tensor_split(2)[0]", lambda a: np.array_split(a, 2)[0]),
    Shaped("torch.atleast_2d({x})", lambda a: np.atleast_2d(a), (0, 2, 3)),
    Shaped("{x}.flatten(0, 1)", lambda a: a.reshape(-1, *a.shape[2:]), (2, 3)),
]


class Reductions(Functions):
    """Adds functions along dimensions and of shape."""

    def statements(self) -> list[Statement]:
        return [
            *super().statements(),
            ("functions", 8, self.reduce_along),
            ("functions", 6, self.scan_along),
            ("functions", 8, self.rearrange),
            ("functions", 2, self.several_outputs),
        ]

    def along(self, rows: list[Along]) -> tuple[Along, Var] | None:
        row = self.pick(rows)
        v = self.operand(lambda v: takes(row.where, v))
        fits = takes(row.where, v) and (v.exact or not row.kinked)
        return (row, v) if fits and v.array.size and not self.fixed else None

    def bind_along(self, row: Along, v: Var, text: str, shape: tuple[int, ...]) -> None:
        dtype = row.dtype or v.dtype
        top = v.store.top + row.grows if row.top is None else row.top
        exact = row.exact and v.exact
        frac = (v.store.frac if exact else INEXACT) if dtype != I64 else 0
        made = self.bounded(self.result(text, shape, dtype, top, frac, (v,), (v,), True))
        if made is not None:
            self.mix((v,))
            made.loose |= made.scrambled
            self.bind(made)

    def reduce_along(self) -> None:
        found = self.along(REDUCTIONS)
        if found is None:
            return
        row, v = found
        if row.whole and self.chance(0.3):
            self.bind_along(row, v, row.whole.format(x=v.text), ())
            return
        if not v.array.ndim:
            return
        d, keep = self.choose.randrange(v.array.ndim), self.chance(0.3) and "{keep}" in row.text
        text = row.text.format(x=v.text, d=d, keep=", keepdim=True" if keep else "")
        shape = v.shape[:d] + ((1,) if keep else ()) + v.shape[d + 1 :]
        self.bind_along(row, v, text, shape)

    def scan_along(self) -> None:
        found = self.along(SCANS)
        if found is None or not found[1].array.ndim:
            return
        row, v = found
        d = self.choose.randrange(-v.array.ndim, v.array.ndim)
        self.bind_along(row, v, row.text.format(x=v.text, d=d), v.shape)

    def rearrange(self) -> None:
        row = self.pick(REARRANGED)
        v = self.operand()
        if v.array.ndim not in row.dims or not v.array.size or self.fixed:
            return
        array = row.array(v.array)
        if array.size > 64 or array.ndim > 4:
            return
        text = row.text.format(x=v.text)
        if not np.shares_memory(array, v.array):
            made = self.result(text, array.shape, v.dtype, v.store.top, v.store.frac, (v,), (v,))
            made.loose |= made.scrambled
            self.bind(made)
        elif not (v.loose and (".flatten" in text or ".unflatten" in text)):
            multiple = "split" in text or "meshgrid" in text
            self.bind(v.view(text, array, guarded=multiple or not self.recording))

    def several_outputs(self) -> None:
        """Functions with several results."""
        v = self.operand(lambda v: v.is_float and v.exact)
        if self.fixed or not (v.is_float and v.exact) or not v.array.ndim or not v.array.size:
            return
        d = v.array.ndim - 1
        lines = [
            ("topk({k})", (*v.shape[:d], min(2, v.shape[d])), False),
            ("sort(stable=True)", v.shape, True),
            ("max(-1)", v.shape[:d], False),
            ("min(-1)", v.shape[:d], False),
            ("cummin(-1)", v.shape, False),
            ("unique(return_inverse=True)", None, True),
            ("unique(return_counts=True)", None, True),
        ]
        call, shape, both = self.pick(lines)
        first, second = self.name(), self.name("y")
        self.emit(f"{first}, {second} = {v.text}.{call.format(k=min(2, v.shape[d]))}")
        if both:
            self.emit(f"out.append({second})")
        self.emit(f"del {second}")
        if shape is None:
            self.emit(f"out.append({first})\ndel {first}")
            return
        made = self.result(first, shape, v.dtype, v.store.top, v.store.frac, (v,), (v,))
        made.array, made.loose = empty(shape), made.loose or made.scrambled
        made.guarded = True
        self.names[first] = made
