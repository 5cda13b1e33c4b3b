"""The scans of a drain in C, where the C tier is on.

A drain reads every node of its trace three times (scans.py). For a program of a dozen operations
that takes longer than computing them; `driver/traces.c` does the same to the same objects. It reads
the slots of nodes at their offsets, which are found here by looking for known values in a node.
"""

from __future__ import annotations

import ctypes
from functools import lru_cache
from typing import Any

import numpy as np

from lazyt.ir.node import Node
from lazyt.ir.ops_shape import replaced

from .donation import gives_up
from .programs import builtin, driver
from .scans import EXACT_COUNTS, SCANS, WITH_COMPILER, Scans

SLOTS = ("op", "src", "arg", "type", "value", "grad", "tag", "uses", "pos")
ARRAY_FLAGS = 6 * ctypes.sizeof(ctypes.c_void_p)  # after what every object has: see NumPy's headers
FUNCTIONS = (
    *("PyList_New", "PyList_Append", "PyList_GetItem", "PyList_Size", "PyList_SetSlice"),
    *("PyList_Reverse", "PyList_AsTuple", "PyTuple_New", "PyTuple_SetItem", "PyTuple_Size"),
    *("PyLong_FromLongLong", "PyLong_AsLongLong", "PyFloat_AsDouble"),
    *("PyObject_GetAttr", "PyObject_IsTrue"),
    *("PyObject_CallFunctionObjArgs", "Py_IncRef", "Py_DecRef", "PyLong_FromVoidPtr"),
    "PySet_Contains",
)
TEXTS = ("0.0", "-0.0", "strided", (), "view", "contiguous")
METHODS = ("lazyt_live", "lazyt_scan", "lazyt_settle", "lazyt_flags")
HELD: list[Any] = []


def slots_of(kind: type, names: tuple[str, ...]) -> list[int] | None:
    """Where the slots of an object of a class lie in it, in bytes; None where that cannot be
    told."""
    made: Any = object.__new__(kind)
    known = [object() for _ in names]
    for name, value in zip(names, known):
        setattr(made, name, value)
    step = ctypes.sizeof(ctypes.c_void_p)
    words = {
        ctypes.c_void_p.from_address(id(made) + at).value: at
        for at in range(object.__basicsize__, kind.__basicsize__, step)
    }
    found = [words[id(value)] for value in known if id(value) in words]
    return found if len(found) == len(names) else None


def install() -> None:
    """Drains use the scans in C from now on, where reference counts can be trusted, and whoever
    waits for the compiler is told that it is there."""
    found = scans()
    if found is not None:
        SCANS[0] = found
        while WITH_COMPILER:
            WITH_COMPILER.pop()()


@lru_cache(maxsize=1)
def scans() -> Scans | None:
    """The scans in C; None where they cannot be had."""
    at = slots_of(Node, SLOTS)
    if at is None or not EXACT_COUNTS:
        return None
    api, library = ctypes.pythonapi, driver()
    functions = [ctypes.cast(getattr(api, f), ctypes.c_void_p).value for f in FUNCTIONS]
    HELD.extend((None, True, float, np.ndarray, tuple, Node, *TEXTS, replaced, -1, 0, False))
    step = ctypes.sizeof(ctypes.c_void_p)
    layout = [tuple.__basicsize__, step, object.__basicsize__ + ARRAY_FLAGS]
    given = [*functions, *map(id, HELD), *layout, *at]
    library.lazyt_trace_init((ctypes.c_void_p * len(given))(*given))
    live, scan, settle, flags = map(builtin, METHODS)
    return Scans(
        live,
        scan,
        settle,
        lambda wanted, leaves, donors, read: flags(wanted, leaves, donors, read, gives_up),
    )
