"""The fast path of binary arithmetic in C, where the C tier is on.

`fast.c` holds the method that fast.py defines in Python, for the plainest of its cases; the rest
goes to that. It is compiled with the first plan that has kernels, and takes the place of the
methods of `Tensor` then:

    Tensor.__add__            <function fast_binary.<locals>.method>
    y = x + 1; y.sum().item() # a plan in C: the compiler is there
    Tensor.__add__            <method '__add__' of 'torch.Tensor' objects>
"""

from __future__ import annotations

import ctypes
from functools import lru_cache
from importlib import resources
from typing import Any

from lazyt.ir.node import _INTERNAL, LOCAL, NUMBERS, Node
from lazyt.runtime.native import CompilerError, compiled_once
from lazyt.runtime.traces import slots_of

from ..storage import Storage
from ..tensor import SUBCLASSES, Tensor
from .fast import FAST, Fast

FUNCTIONS = (
    *("PyTuple_New", "PyTuple_SetItem", "PyList_Append", "PyList_Size", "PyFloat_FromDouble"),
    *("PyFloat_AsDouble", "PyLong_FromLongLong", "PyLong_AsLongLong", "PyObject_GetAttr"),
    *("PyDict_GetItem", "PySet_Contains", "PyObject_IsTrue", "PyObject_CallFunctionObjArgs"),
    *("PyEval_GetFrame", "PyFrame_GetCode", "PyFrame_GetLasti", "PyErr_Occurred", "PyErr_Clear"),
    *("Py_IncRef", "Py_DecRef", "PyIter_Next"),
)
NAMES: tuple[str, ...] = ("__dict__", "trace", "limit", "grad", "inference", "co_filename")
NAMES += ("dtype", "category", "itemsize", "boolean")
SLOTS = {
    Node: "op src arg type value after tag uses pos grad code line",
    Storage: "node version export address",
    Tensor: "_storage _node _seen _meta",
}
NEW = 65  # of a type's functions, the one that makes an object: Py_tp_new of CPython's typeslots.h
TAKES_ONE, MOST = 0x8, 16  # METH_O; OPERATIONS in fast.c
HELD: list[Any] = []


class Definition(ctypes.Structure):
    """Python's PyMethodDef."""

    _fields_ = (
        ("name", ctypes.c_char_p),
        ("call", ctypes.c_void_p),
        ("flags", ctypes.c_int),
        ("doc", ctypes.c_char_p),
    )


def install() -> None:
    """Puts the methods in C in the place of those in Python, where nobody else replaced them."""
    made = library()
    if made is None:
        return
    for k, (name, fast) in enumerate(FAST.items()):
        if vars(Tensor).get(name) is fast.method:
            setattr(Tensor, name, _method(made, k, name, fast))


@lru_cache(maxsize=1)
def library() -> ctypes.PyDLL | None:
    """The compiled methods; None where objects lie in a way that cannot be told, or the compiler
    fails."""
    layouts = [slots_of(kind, tuple(names.split())) for kind, names in SLOTS.items()]
    if None in layouts or len(FAST) > MOST or not hasattr(ctypes.pythonapi, "PyFrame_GetLasti"):
        return None
    source = resources.files("lazyt.functions").joinpath("fast.c").read_text()
    try:
        made = ctypes.PyDLL(str(compiled_once(source)))
    except (CompilerError, OSError):
        return None  # kernels, which it compiled a moment ago, are another matter
    functions = [_address(getattr(ctypes.pythonapi, name)) for name in FUNCTIONS]
    slot = ctypes.pythonapi.PyType_GetSlot
    slot.argtypes, slot.restype = [ctypes.py_object, ctypes.c_int], ctypes.c_void_p
    HELD.extend((Tensor, Node, Storage, float, int, None, False, (), 0, -1, NUMBERS))
    HELD.extend((LOCAL, _INTERNAL, SUBCLASSES, *NAMES))
    type_offset = ctypes.sizeof(ctypes.c_void_p)
    offsets = [at for layout in layouts if layout is not None for at in layout]
    given = [*functions, slot(Node, NEW), *map(id, HELD), type_offset, *offsets]
    made.lazyt_fast_init((ctypes.c_void_p * len(given))(*given))
    return made


def _method(made: ctypes.PyDLL, k: int, name: str, fast: Fast) -> Any:
    """A method of `Tensor` that is the k-th of those in C."""
    call = (ctypes.c_void_p * MOST).in_dll(made, "lazyt_fast_methods")[k]
    definition = Definition(name.encode(), call, TAKES_ONE, None)
    HELD.extend((definition, fast))
    told = (fast.floats_only, fast.boolean, fast.rounds, fast.reverse)
    made.lazyt_fast_operation(
        ctypes.c_int64(k),
        ctypes.c_void_p(id(fast.op)),
        ctypes.c_void_p(id(fast.method)),
        *map(ctypes.c_int64, told),
    )
    describe = ctypes.pythonapi.PyDescr_NewMethod
    describe.argtypes = [ctypes.py_object, ctypes.c_void_p]
    describe.restype = ctypes.py_object
    return describe(Tensor, ctypes.addressof(definition))


def _address(function: Any) -> int | None:
    return ctypes.cast(function, ctypes.c_void_p).value
