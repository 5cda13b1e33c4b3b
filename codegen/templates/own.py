"""An operation's own kernel, together with the nest that ends it.

    y = relu(x @ w + b)         own_kernel(product, strides, nest)
                                kernel: matmul_…, which stores max(acc + b, 0)
                                values: x, w, b, y

A nest reads the product it ends as an array; here the array is `acc`, the sum in a register.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from lazyt.ir.graph import Scalar, Value
from lazyt.ir.opdef import REGISTRY
from lazyt.ir.passes.fuse import Group
from lazyt.ir.places import place

from ..launches import Array, CudaKernel
from ..loops import Apply, Kernel, Load, Stage, Statement, Store
from ..lower import Lowered
from .epilogue import render
from .table import template
from .whole import whole


@dataclass(frozen=True)
class OwnKernel:
    """kernel: in CUDA C. values: what its arrays stand for: the operands, what the epilogue reads,
    the results; arrays: what these are called in the text. numbers: those given at run time.

    results: how many of the arrays, the last ones, are written. ending: the epilogue in loop IR,
    None where the value is stored as it is. names: what the names of the nest's loop IR, arrays
    among them, are called in the text. whole: whether the kernel is one that nothing may follow.
    """

    kernel: CudaKernel
    values: list[Value]
    arrays: list[str]
    numbers: list[Scalar] = field(default_factory=list)
    results: int = 1
    ending: Kernel | None = None
    names: Mapping[str, str] = field(default_factory=dict)
    whole: bool = False


def own_kernel(
    v: Value,
    strides: list[tuple[int, ...]],
    nest: tuple[Group, Lowered] | None = None,
    matrix_units: bool = False,
) -> OwnKernel | None:
    """The own kernel of a value, None where it has none.

    strides: of its operands, in elements. nest: one that it leads, lowered. matrix_units: whether
    those of the device compute it, of float32 in tf32.
    """
    if nest is None:
        made = whole(v)
        if made is not None:
            outputs = results_of(v)
            values, arrays = [*v.operands(), *outputs], list(made.arrays)
            return OwnKernel(made.kernel, values, arrays, results=len(outputs), whole=True)
        kernel = template(v, strides, (), matrix_units, matrix_units)
        if kernel is None:
            return None
        return OwnKernel(kernel, [*v.operands(), v], [*_sides(kernel), "y2"])
    _, lowered = nest
    ending = epilogue(lowered, v)
    statements = tuple(ending.statements())
    kernel = template(v, strides, statements, matrix_units, matrix_units)
    if kernel is None:
        return None
    rendered = render(statements, first=2)
    of = dict(zip(lowered.kernel.params, lowered.values))
    names = {p.name: f"{'y' if p.out else 'x'}{2 + i}" for i, p in enumerate(rendered.params)}
    values = [*v.operands(), *(of[p] for p in rendered.params)]
    arrays = [*_sides(kernel), *names.values()]
    results = sum(p.out for p in rendered.params)
    known = {**rendered.names, **names}
    return OwnKernel(kernel, values, arrays, lowered.numbers, results, ending, known)


def results_of(v: Value) -> list[Value]:
    """A value, or each of its results."""
    if v.type.__class__ is not tuple:
        return [v]
    return [Value(REGISTRY["get"], (v,), (i,), t, v.origin) for i, t in enumerate(v.type)]


def _sides(kernel: CudaKernel) -> list[str]:
    """What the text calls the two operands: "a" is the left one of the contraction."""
    given = [a.index for a in kernel.launches[0].arguments if isinstance(a, Array)]
    return ["ab"[given.index(0)], "ab"[given.index(1)]]


def epilogue(lowered: Lowered, lead: Value) -> Kernel:
    """An elementwise kernel with the array of the product that it reads as the free name "acc"."""
    kernel = lowered.kernel
    leads = {p for p, v in zip(kernel.params, lowered.values) if place(v).root is lead}
    found: list[Statement] = []
    acc: set[str] = set()
    for s in kernel.statements():
        if isinstance(s, Load) and s.param in leads:
            acc.add(s.name)
        elif isinstance(s, Apply):
            found.append(replace(s, operands=tuple("acc" if o in acc else o for o in s.operands)))
        elif isinstance(s, Store):
            found.append(replace(s, operand="acc" if s.operand in acc else s.operand))
        else:
            found.append(s)
    params = [p for p in kernel.params if p not in leads]
    return replace(kernel, params=params, stages=[Stage(True, found)])
