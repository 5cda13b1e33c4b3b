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

from lazyt.ir.graph import Value
from lazyt.ir.opdef import literal
from lazyt.ir.places import place
from lazyt.ir.types import TensorType, contiguous_strides

from .lower import Lowered
from .memory import DEVICE_UPDATES
from .numpy_calls import Writer
from .templates import template

# Views that are the same text on every device.
SAME_TEXT = ("alias", "stop", "replaced", "get", "function", "as_strided")


class DeviceWriter(Writer):
    """Writes calls for every value's own device."""

    def fresh(self, v: Value, like: str = "") -> str:
        type = v.type
        if type.device == "cpu":
            return super().fresh(v, like)
        return f"empty({literal(type.shape)}, {type.dtype.name!r}, {type.device!r})"

    def row_major(self, text: str, v: Value) -> str:
        return super().row_major(text, v) if v.type.device == "cpu" else f"contiguous({text})"

    def body(self, lowered: Lowered) -> str:
        return super().body(lowered) if lowered.device == "cpu" else lowered.cuda.text

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
            shown = (
                f"view({operands[0]}, lambda {operands[0]}: {v.op.text(operands, v.arg, v.type)})"
            )
            self.line(f"    {self.name(v)} = {shown}", v)
        elif v.op.name in DEVICE_UPDATES:
            out = self.buffer(v)
            self.line(
                f"    {self.name(v)} = {v.op.text(operands, v.arg, v.type, out or 'None')}", v
            )
        elif not self.by_template(v):
            self.by_host(v, first.device, operands)

    def by_template(self, v: Value) -> bool:
        """Writes the call of an operation's own kernel; False where it has none."""
        if v.type.__class__ is not TensorType or not v.type.numel:
            return False
        scattered = [place(s).root in self.scattered for s in v.operands()]
        strides = [
            contiguous_strides(s.type.shape) if copy else place(s).strides
            for s, copy in zip(v.operands(), scattered)
        ]
        kernel = template(v, strides)
        if kernel is None:
            return False
        operands = [
            self.row_major(self.name(s), s) if copy else self.name(s)
            for s, copy in zip(v.operands(), scattered)
        ]
        self.line(f"    {self.name(v)} = {self.fresh(v)}")
        self.line(f"    g{len(self.templates)}({', '.join([*operands, self.name(v)])})", v)
        self.templates.append((kernel, v.type.device))
        return True

    def by_host(self, v: Value, device: str, operands: list[str]) -> None:
        """Writes the call that computes a value with NumPy on the host."""
        types = v.type if v.type.__class__ is tuple else (v.type,)
        names = tuple(t.dtype.name for t in types)
        text = v.op.text(operands, v.arg, v.type)
        arrays = ", ".join(dict.fromkeys(self.name(s) for s in v.operands()))
        call = f"by_host(lambda {arrays}: {text}, {device!r}, {names!r}, {arrays})"
        self.line(f"    {self.name(v)} = {call}", v)
