"""Applying primitives in C, where the C tier is on.

Nearly all that is traced goes through `Op.__call__`, which infers a type and makes a node.
`driver/apply.c` does the same in a quarter of the time, and takes its place with the first plan
that has kernels:

    Op.__call__               <function Op.__call__>
    y = x + 1; y.sum().item() # a plan in C: the compiler is there
    Op.__call__               <method '__call__' of 'Op' objects>
"""

from __future__ import annotations

import ctypes
from functools import lru_cache
from typing import Any

from lazyt.ir import node
from lazyt.ir.node import _INTERNAL, FLUSH, LOCAL, NUMBERS, Node, is_internal
from lazyt.ir.opdef import PLACING, REFUSING, Op
from lazyt.ir.ops_elementwise import _same

from .programs import builtin, driver
from .traces import scans, slots_of

IN_PYTHON, CALLER = Op.__call__, node.caller
FUNCTIONS = (
    *("PyLong_FromLongLong", "PyDict_GetItem", "PyEval_GetFrame", "PyFrame_GetBack"),
    *("PyFrame_GetCode", "PyFrame_GetLasti", "PyObject_Hash", "PyObject_RichCompareBool"),
    *("PyObject_Vectorcall", "PyErr_Clear", "PyIter_Next"),
)
NAMES = ("__dict__", "trace", "limit", "grad", "origin", "arg", "infer", "differentiable")
NEW = 65  # of a type's functions, the one that makes an object: Py_tp_new of CPython's typeslots.h
HELD: list[Any] = []


def install() -> None:
    """Primitives are applied in C from now on, unless somebody replaced how they are."""
    made = in_c()
    if made is not None and Op.__call__ is IN_PYTHON:
        Op.__call__ = made  # type: ignore[method-assign]
        node.caller = builtin("lazyt_caller")  # what `emit` and `leaf` of Python ask


@lru_cache(maxsize=1)
def in_c() -> Any:
    """`Op.__call__` in C; None where it cannot be had."""
    layout = slots_of(Node, ("after", "code", "line"))
    api = ctypes.pythonapi
    if scans() is None or layout is None or not all(hasattr(api, name) for name in FUNCTIONS):
        return None
    slot = api.PyType_GetSlot
    slot.argtypes, slot.restype = [ctypes.py_object, ctypes.c_int], ctypes.c_void_p
    functions = [ctypes.cast(getattr(api, f), ctypes.c_void_p).value for f in FUNCTIONS]
    HELD.extend((IN_PYTHON, LOCAL, _INTERNAL, is_internal, PLACING, REFUSING, FLUSH, _same))
    HELD.extend((False, NUMBERS))
    HELD.extend((*NAMES, "co_filename"))
    given = [*functions, slot(Node, NEW), *map(id, HELD), *layout]
    library = driver()
    library.lazyt_apply_init((ctypes.c_void_p * len(given))(*given))
    describe = api.PyDescr_NewMethod
    describe.argtypes, describe.restype = [ctypes.py_object, ctypes.c_void_p], ctypes.py_object
    return describe(Op, ctypes.addressof(ctypes.c_char.in_dll(library, "lazyt_apply")))
