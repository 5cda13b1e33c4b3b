"""The source of a plan that runs on a device, or on several and the CPU: the same function, whose
calls are launches.

    def run(x0):
        x1 = empty((32, 10), 'float32', 'cuda:0')
        k0(x0, x1)                                        a loop nest
        x2 = view(x1, lambda x1: x1.transpose((1, 0)))    index arithmetic
        g0(x1, x2, x3)                                    a template: a matrix product
        x4 = by_host(lambda x3: sorted_(x3), 'cuda:0', ('float32',), x3)
        return (x4,)

What has neither loops nor a template is computed by NumPy on the host: the values travel there and
back. `Grouping.refusals` names these operations.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lazyt.ir.graph import Value
from lazyt.ir.opdef import literal
from lazyt.ir.passes.fuse import Group
from lazyt.ir.places import place
from lazyt.ir.types import TensorType, contiguous_strides

from . import cuda
from .grouping import has_template
from .launches import CudaKernel
from .lower import Lowered
from .memory import DEVICE_UPDATES
from .numpy_calls import Writer, sliced
from .templates import NO_UNITS, WHOLE, MatrixUnits
from .templates.own import OwnKernel, own_kernel

# Views that are the same text on every device.
SAME_TEXT = ("alias", "stop", "replaced", "get", "several", "function", "as_strided")


class DeviceWriter(Writer):
    """Writes calls for every value's own device.

    units: what matrix units compute, by the name of the device; nothing where it has none.
    """

    def __init__(self, *known: Any, units: Mapping[str, MatrixUnits]):
        super().__init__(*known)
        self.units = units

    def fresh(self, v: Value, like: str = "") -> str:
        return super().fresh(v, like) if v.type.device == "cpu" else self.empty(v.type)

    @staticmethod
    def empty(type: TensorType) -> str:
        """The text that makes memory on a device."""
        return f"empty({literal(type.shape)}, {type.dtype.name!r}, {type.device!r})"

    def shows(self, v: Value) -> bool:
        result = v.op is not None and v.op.name == "get" and v.type.device != "cpu"
        return super().shows(v) and not result

    def row_major(self, text: str, v: Value) -> str:
        return super().row_major(text, v) if v.type.device == "cpu" else f"contiguous({text})"

    def whole(self, v: Value) -> None:
        first = v.type[0] if v.type.__class__ is tuple else v.type
        operands = [self.name(s) for s in v.src]
        if v.op.kind == "transfer":
            moved = f"moved({operands[0]}, {v.type.dtype.name!r}, {v.type.device!r})"
            self.line(f"    {self.name(v)} = {moved}", v)
        elif first.device == "cpu" or v.op.name in SAME_TEXT:
            super().whole(v)
        elif v.op.name == "reshape":
            self.line(f"    {self.name(v)} = reshaped({operands[0]}, {literal(v.type.shape)})", v)
        elif v.op.view:
            shown = sliced(v, operands) or v.op.text(operands, v.arg, v.type)
            call = f"view({operands[0]}, lambda {operands[0]}: {shown})"
            self.line(f"    {self.name(v)} = {call}", v)
        elif v.op.name in DEVICE_UPDATES:
            out = self.buffer(v)
            self.line(
                f"    {self.name(v)} = {v.op.text(operands, v.arg, v.type, out or 'None')}", v
            )
        elif not self.by_template(v):
            self.by_host(v, first.device, operands)

    def by_template(self, v: Value) -> bool:
        """Writes the call of an operation's own kernel; False where it has none."""
        if not has_template(v):
            return False
        own = self.own(v)
        assert own is not None, v
        self.line(f"    {self.name(v)} = {self.memory_of(v)}")
        self.call(v, own, [v])
        return True

    def memory_of(self, v: Value) -> str:
        """The text that makes memory for a value, or for each of its results."""
        if v.type.__class__ is not tuple:
            return self.fresh(v)
        return f"({', '.join(self.empty(t) for t in v.type)})"

    def own(self, v: Value, nest: tuple[Group, Lowered] | None = None) -> OwnKernel | None:
        """An operation's own kernel, with the nest that ends it."""
        units = self.units.get(device_of(v), NO_UNITS)
        return own_kernel(v, self.strides(v), nest, units.compute(v))

    def strides(self, v: Value) -> list[tuple[int, ...]]:
        """The strides of a template's operands, in elements."""
        return [
            contiguous_strides(s.type.shape)
            if place(s).root in self.scattered
            else place(s).strides
            for s in v.operands()
        ]

    def call(self, v: Value, own: OwnKernel, results: list[Value]) -> None:
        """Writes the launch of an operation's own kernel, whose results have their memory."""
        arrays = []
        for s in own.values:
            if s not in self.number:  # one of several results
                arrays.append(f"{self.name(v)}[{s.arg[0]}]")
            elif s not in results and self.rearranged(v, s):
                arrays.append(self.row_major(self.name(s), s))
            else:
                arrays.append(self.name(s))
        numbers = [self.number_of(s) for s in own.numbers]
        self.line(f"    g{len(self.templates)}({', '.join([*arrays, *numbers])})", v)
        self.templates.append((own.kernel, device_of(v), len(arrays), len(numbers)))

    def rearranged(self, v: Value, s: Value) -> bool:
        """Whether an operand has to be brought into row-major order for the own kernel of `v`."""
        found = place(s)
        if found.root in self.scattered:
            return True
        return v.op.name in WHOLE and found.strides != contiguous_strides(s.type.shape)

    def nest(self, together: list[tuple[Group, Lowered]]) -> None:
        group, lowered = together[0]
        if group.lead is None:
            super().nest(together)
            return
        for v in group.outputs:
            self.line(f"    {self.name(v)} = {self.buffer(v) or self.fresh(v)}")
        own = self.own(group.lead, (group, lowered))
        assert own is not None, group.lead
        self.call(group.lead, own, group.outputs)
        self.called.update((v, len(self.lines)) for v in group.values)
        for v in group.values:
            if v.op.view and v in self.read:
                self.whole(v)

    def by_host(self, v: Value, device: str, operands: list[str]) -> None:
        """Writes the call that computes a value with NumPy on the host."""
        types = v.type if v.type.__class__ is tuple else (v.type,)
        names = tuple(t.dtype.name for t in types)
        text = v.op.text(operands, v.arg, v.type)
        arrays = ", ".join(dict.fromkeys(self.name(s) for s in v.operands()))
        call = f"by_host(lambda {arrays}: {text}, {device!r}, {names!r}, {arrays})"
        self.line(f"    {self.name(v)} = {call}", v)


def device_of(v: Value) -> str:
    """Where a value is, or all of its results are."""
    return v.type[0].device if v.type.__class__ is tuple else v.type.device


def launched(together: list[Lowered]) -> CudaKernel:
    """What the call of nests of one text launches."""
    one = together[0]
    return one.cuda if len(together) == 1 else cuda.render_many([n.kernel for n in together])
