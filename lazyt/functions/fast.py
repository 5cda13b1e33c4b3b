"""The fast path of binary arithmetic: tensors of one type, or a tensor and a number, inline.

What tracing an operation takes stands here once more, without a call in between: the node, the
origin, the trace, storage and handle. Whatever is not this plain case goes the ordinary way.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, NamedTuple

from lazyt.ir.dtypes import int64
from lazyt.ir.node import _INTERNAL, FLUSH, LOCAL, NUMBERS, Node, caller
from lazyt.runtime.scans import WITH_COMPILER

from ..dispatch import without_history
from ..state import Storage, sync, values_of
from ..tensor import SUBCLASSES, Tensor

LARGE = 2**63  # beyond what an int64 holds
_new = object.__new__
_getframe = sys._getframe


class Fast(NamedTuple):
    """A method that was made here, its operation, and what `fast_binary` was told of it."""

    method: Callable
    op: Any
    floats_only: bool
    boolean: bool
    rounds: bool
    reverse: bool


# The methods of Tensor that were made here by their names: what fast_in_c.py replaces.
FAST: dict[str, Fast] = {}


def _in_c() -> None:
    from . import fast_in_c  # needs the compiler

    fast_in_c.install()


WITH_COMPILER.append(_in_c)


def fast_binary(
    name: str,
    op: Any,
    slow: Callable,
    *,
    floats_only: bool = False,
    boolean: bool = False,
    rounds: bool = False,
    reverse: bool = False,
) -> Callable:
    """The method `name` of Tensor, for `op`, which traces two tensors of one type, a float tensor
    and a number, or one of int64 and an integer, inline.

    Everything else (promotion, broadcasting, other operands) goes to `slow(self, other)`.
    floats_only: so do other types. boolean: a comparison. rounds: numbers are rounded to half
    types. reverse: the operands of `op` are other and self.
    """

    derive = values_of if boolean else sync
    categories = (2,) if floats_only else (0, 1, 2)  # complex numbers are never compared
    if boolean:
        slow = without_history(slow)

    def method(self: Any, other: Any) -> Any:
        kind = other.__class__
        meta = self._meta
        if meta is not None and meta.strides is not None and len(meta.strides) > 1:
            return slow(self, other)  # a view of several dimensions may lie permuted
        if kind is Tensor or kind in SUBCLASSES:
            a = self._node if self._seen is self._storage.node else derive(self)
            type = a.type
            b = other._node if other._seen is other._storage.node else derive(other)
            if b.type is not type or type.dtype.category not in categories:
                return slow(self, other)
            grad = a.grad or b.grad
        elif kind is float or kind is int:
            a = self._node if self._seen is self._storage.node else derive(self)
            type = a.type
            if type.dtype.category == 2:
                if rounds and type.dtype.itemsize == 2:
                    return slow(self, other)
                b = other if kind is float else float(other)
            elif (
                type.dtype is int64 and kind is int and not floats_only and -LARGE <= other < LARGE
            ):
                b = other
            else:
                return slow(self, other)
            grad = a.grad
        else:
            return slow(self, other)
        local = LOCAL
        n = _new(Node)
        n.op = op
        n.src = (b, a) if reverse else (a, b)
        n.arg = ()
        n.type = type.boolean if boolean else type
        n.value = None
        n.after = None
        n.tag = None
        n.uses = 0
        n.pos = -1
        n.grad = next(NUMBERS) if grad and local.grad and not boolean else 0
        frame = _getframe(1)
        code = frame.f_code
        if _INTERNAL.get(code.co_filename, True):
            n.code, n.line = caller(2)
        else:
            n.code = code
            n.line = frame.f_lasti
        trace = local.trace
        trace.append(n)
        if len(trace) > local.limit:
            FLUSH[0](n)
        storage = _new(Storage)
        storage.node = n
        storage.version = 0
        storage.export = None
        storage.address = None
        t = _new(Tensor)
        t._storage = storage
        t._node = n
        t._seen = n
        t._meta = None
        if local.inference:
            t._own_meta().inference = True
        return t

    FAST[name] = Fast(method, op, floats_only, boolean, rounds, reverse)
    return method
