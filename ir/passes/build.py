"""Making the values that stand for parts of one value, when a pass writes it out.

b = Build(v)                        # v: the norm of x
b.op("sqrt", b.op("sum", b.op("mul", x, x), arg=((0,), False), shape=()))
"""

from __future__ import annotations

from typing import Any

from ..dtypes import DType, int64
from ..graph import Value
from ..opdef import REGISTRY
from ..ops_constant import typed
from ..ops_reduce import reduced
from ..places import constant_of, counted
from ..types import TensorType


class Build:
    """Makes values that stand for parts of one value, with its origin."""

    def __init__(self, of: Value):
        self.of = of

    def op(self, name: str, *src: Any, arg: tuple = (), shape: tuple | None = None) -> Value:
        """An applied primitive; its dtype is that of the first operand that is a value."""
        lead = next(s for s in src if s.__class__ is Value)
        type = lead.type if shape is None else lead.type.with_shape(shape)
        return Value(REGISTRY[name], src, arg, type, self.of.origin)

    def reduce(self, name: str, x: Value, axes: tuple[int, ...]) -> Value:
        """A reduction that keeps its axes as extents of 1."""
        shape = reduced(x.type.shape, axes, True)
        return self.op(name, x, arg=(axes, True), shape=shape)

    def spread(self, x: Value, shape: tuple[int, ...]) -> Value:
        """`x` expanded to a shape."""
        if x.type.shape == shape:
            return x
        return self.op("expand", x, arg=(shape,), shape=shape)

    def shaped(self, x: Value, shape: tuple[int, ...]) -> Value:
        """`x` reshaped."""
        if x.type.shape == shape:
            return x
        return self.op("reshape", x, arg=(shape,), shape=shape)

    def finite(self, x: Value) -> Value:
        """`x`, and 0 where it is infinite: what is subtracted before `exp`."""
        infinite = Value(REGISTRY["isinf"], (x,), (), x.type.boolean, self.of.origin)
        return Value(REGISTRY["where"], (infinite, 0.0, x), (), x.type, self.of.origin)

    def cast(self, x: Value, dtype: DType) -> Value:
        """`x` in another dtype."""
        if x.type.dtype is dtype:
            return x
        return Value(REGISTRY["cast"], (x,), (dtype,), x.type.with_dtype(dtype), self.of.origin)

    def told(self, name: str, *src: Any, shape: tuple | None = None) -> Value:
        """A comparison: its result is bool."""
        lead = next(s for s in src if s.__class__ is Value)
        type = lead.type.boolean if shape is None else lead.type.with_shape(shape).boolean
        return Value(REGISTRY[name], src, (), type, self.of.origin)

    def where(self, condition: Value, yes: Any, no: Any, like: TensorType) -> Value:
        """`yes` or `no`, of a type."""
        return Value(REGISTRY["where"], (condition, yes, no), (), like, self.of.origin)

    def along(self, like: Value, shape: tuple[int, ...], axis: int) -> Value:
        """0, 1, 2, … along an axis of a shape, extents of 1 elsewhere, on the device of `like`."""
        own = tuple(n if i == axis else 1 for i, n in enumerate(shape))
        number = TensorType.of(shape[axis : axis + 1], int64, like.type.device)
        arg = typed(number.shape, int64, number.device)
        return self.shaped(Value(REGISTRY["arange"], (0, 1), arg, number, self.of.origin), own)

    def constant(self, number: Any, type: TensorType) -> Value:
        """A tensor of one number."""
        arg = typed(type.shape, type.dtype, type.device)
        number = float(number) if type.dtype.is_floating_point else number
        return Value(REGISTRY["full"], (number,), arg, type, self.of.origin)

    def in_memory(self, x: Value) -> Value:
        """`x`, or a copy of a constant: what is read at other places has to be in memory."""
        return self.op("copy", x) if constant_of(x) is not None or counted(x) else x

    def computed(self, x: Value) -> Value:
        """`x`, or a copy of what is another value or a view of one."""
        return self.op("copy", x) if x.op is None or x.op.view else x
