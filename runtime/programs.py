"""Segments as programs: words that the driver runs, and Python functions that run them.

A segment (codegen/segments.py) becomes an array of 64-bit words: addresses of functions, extents,
strides, positions of arguments. `driver/programs.c` says what each word means. The function is a
plain Python builtin whose `self` is that array, so a call costs no more than that of `len`.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable, Sequence
from functools import lru_cache
from importlib import import_module, resources
from typing import Any

import numpy as np

from lazyt.codegen.segments import (
    ARGUMENT,
    ARRAY,
    FLAG,
    NUMBER,
    OFFSET,
    RESULT,
    Address,
    Convolve,
    Instruction,
    MatrixProduct,
    Nest,
    Result,
    Segment,
)

from .blas import blas
from .native import CompilerError, addresses, compiled_once, threads

PARTS = (
    "pool.c",
    "blocks.c",
    "products.c",
    "convolution.c",
    "columns.c",
    "programs.c",
    "traces.c",
    "apply.c",
)
TYPES = ("float", "double")
OF_TYPE = "#define real {0}\n#define NAME(x) x##_{0}\n{1}\n#undef real\n#undef NAME"
# Statements of a nest from which on threads share it: those that are awake from some five
# microseconds on, for which handing over pays; from some twenty on they are woken.
SHARED_FROM = 1 << 19
WOKEN_FROM = 1 << 21
CONVOLUTIONS_SHARED_FROM = 1 << 20  # multiplications, by the same measure
PIECES = 4  # of a shared nest, for every thread: who is late takes fewer
SMALL_PIECES = 2  # of one that wakes nobody
MOST_PIECES = 256  # in driver/pool.c
MOST_PARAMETERS = 256  # in driver/programs.c
LARGE_FROM = 1 << 16  # bytes of a result from which on its memory is kept
KEPT_BYTES = 256 << 20  # of results that nobody holds any more
KINDS = {ARRAY: 0, NUMBER: 1, OFFSET: 2, FLAG: 3}
NEST, PRODUCT, CONVOLUTION = range(3)
WORK = {"conv": 0, "conv_input": 1, "conv_weight": 2}
DOUBLE, WIDE, VECTOR = 1, 2, 4
# Positions in NumPy's table of functions, which its binary interface fixes.
ARRAY_TYPE, NEW_ARRAY, SET_HANDLER = 2, 93, 304


@lru_cache(maxsize=1)
def driver() -> ctypes.PyDLL:
    """The driver, compiled once and told where Python's and NumPy's functions are."""
    folder = resources.files("lazyt.runtime").joinpath("driver")
    texts = {part: folder.joinpath(part).read_text() for part in PARTS}
    texts["columns.c"] = "\n".join(OF_TYPE.format(t, texts["columns.c"]) for t in TYPES)
    source = "\n".join(texts.values())
    library = ctypes.PyDLL(str(compiled_once(source)))
    api = ctypes.pythonapi
    at = lambda f: ctypes.cast(f, ctypes.c_void_p).value
    library.lazyt_handler.restype = ctypes.c_void_p
    library.lazyt_keep.argtypes, library.lazyt_keep.restype = [ctypes.c_int64], ctypes.c_int64
    library.lazyt_keep(KEPT_BYTES)
    capsule = api.PyCapsule_New
    capsule.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p]
    capsule.restype = ctypes.py_object
    handler = capsule(library.lazyt_handler(), b"mem_handler", None)
    table = _numpy_table()
    given = [
        at(api.PyFloat_AsDouble),
        at(api.PyLong_AsLongLong),
        at(api.PyErr_Occurred),
        at(api.PyErr_SetString),
        id(ValueError),
        id(MemoryError),
        at(api.Py_IncRef),
        at(api.Py_DecRef),
        at(api.PyTuple_New),
        at(api.PyTuple_SetItem),
        at(api.PyEval_SaveThread),
        at(api.PyEval_RestoreThread),
        id(True),
        id(None),
        table[ARRAY_TYPE],
        table[NEW_ARRAY],
        table[SET_HANDLER],
        id(handler),
        object.__basicsize__,  # an array's first field after a plain object's is its data
    ]
    library.held = [handler]  # type: ignore[attr-defined]
    library.lazyt_init((ctypes.c_void_p * len(given))(*given))
    found = blas()
    if found is not None and found.threads is not None:
        library.lazyt_blas_threads(*map(ctypes.c_void_p, found.threads))
    os.register_at_fork(after_in_child=library.lazyt_forked)
    return library


def _numpy_table() -> Any:
    """NumPy's table of functions and types."""
    pointer = ctypes.pythonapi.PyCapsule_GetPointer
    pointer.argtypes, pointer.restype = [ctypes.py_object, ctypes.c_char_p], ctypes.c_void_p
    at = pointer(import_module("numpy._core._multiarray_umath")._ARRAY_API, None)
    return ctypes.cast(at, ctypes.POINTER(ctypes.c_void_p))


def callers(segments: Sequence[Segment], workspace: Sequence[np.ndarray]) -> list[Callable]:
    """A function a segment, called with its arguments; it returns nothing, its result, or a tuple
    of its results.

    workspace: the slots of the plan, which must live as long as the functions. The functions raise
    ValueError where a kernel refuses an operand.
    """
    kernels = [i.kernel for s in segments for i in s.instructions if isinstance(i, Nest)]
    functions = dict(zip((k.name for k in kernels), addresses(kernels)))
    assembled = (_Assembler(s, workspace, functions).words() for s in segments)
    return [builtin("lazyt_segment", words) for words in assembled]


def builtin(name: str, self: Any = None) -> Callable:
    """A Python function from a method definition of the driver."""
    make = ctypes.pythonapi.PyCFunction_NewEx
    make.argtypes = [ctypes.c_void_p, ctypes.py_object, ctypes.c_void_p]
    make.restype = ctypes.py_object
    return make(ctypes.addressof(ctypes.c_char.in_dll(driver(), name)), self, None)


class _Assembler:
    """Writes the words of one segment."""

    def __init__(
        self,
        segment: Segment,
        workspace: Sequence[np.ndarray],
        functions: dict[str, tuple[int, int | None]],
    ):
        self.segment, self.workspace, self.functions = segment, workspace, functions
        self.places: dict[Address, int] = {}
        self.derived: list[int] = []
        self.work = 0

    def words(self) -> np.ndarray:
        s = self.segment
        body = [w for i in s.instructions for w in self._instruction(i)]
        results = [w for r in s.results for w in self._result(r)]
        counts = [len(s.arguments), len(s.results), len(self.places), len(s.instructions)]
        kinds = [KINDS[k] for k in s.arguments]
        return np.array([*counts, self.work, *kinds, *results, *self.derived, *body], np.int64)

    def _instruction(self, made: Instruction) -> list[int]:
        if isinstance(made, Convolve):
            return self._convolution(made)
        return self._nest(made) if isinstance(made, Nest) else self._product(made)

    def _result(self, made: Result) -> list[int]:
        dtype, shape = np.dtype(made.type.dtype.numpy), made.type.shape
        large = int(made.type.numel * dtype.itemsize >= LARGE_FROM)
        return [dtype.num, made.flag, made.taken, large, len(shape), *shape]

    def _place(self, a: Address) -> int:
        """The number of a place; one that is moved, or in the workspace, is derived."""
        arguments, results = len(self.segment.arguments), len(self.segment.results)
        start = {ARGUMENT: a.of, RESULT: arguments + a.of}.get(a.base, -1)
        if start >= 0 and not a.offset and not a.terms:
            return start
        if a not in self.places:
            self.places[a] = arguments + results + len(self.places)
            offset = a.offset + (self.workspace[a.of].ctypes.data if start < 0 else 0)
            terms = [word for term in a.terms for word in term]
            self.derived += [start, offset, len(a.terms), *terms]
        return self.places[a]

    def _nest(self, made: Nest) -> list[int]:
        k = made.kernel
        call, end = self.functions[k.name]
        places = [*map(self._place, made.arrays), *made.numbers]
        if len(places) > MOST_PARAMETERS:
            raise CompilerError(f"a kernel of {len(places)} parameters; {MOST_PARAMETERS} at most")
        most = threads() if k.work >= SHARED_FROM else 1
        small = k.work < WOKEN_FROM
        each = SMALL_PIECES if small else PIECES
        pieces = min(each * most, MOST_PIECES, k.extent) if most > 1 else 1
        self.work += k.work
        head = [NEST, call, end or 0, k.partials, k.extent, pieces, most, int(small)]
        return [*head, len(places), len(k.table), *places, *k.table]

    def _product(self, made: MatrixProduct) -> list[int]:
        form, found = made.form, blas()
        assert found is not None
        double = form.dtype == "float64"
        name = f"cblas_{'d' if double else 's'}{'gemv' if form.vector else 'gemm'}"
        kind = DOUBLE * double + WIDE * found.wide + VECTOR * form.vector
        places = map(self._place, (made.a, made.b, made.c))
        item = 8 if double else 4
        axes = [w for n, *steps in form.batch for w in (n, *(item * k for k in steps))]
        self.work += form.points
        extents = form.rows, form.columns, form.inner
        layout = [*map(int, form.turned), *extents, *form.leading]
        return [PRODUCT, found.addresses[name], kind, *places, *layout, len(form.batch), *axes]

    def _convolution(self, made: Convolve) -> list[int]:
        form, found = made.form, blas()
        assert found is not None
        double = form.dtype == "float64"
        name = f"cblas_{'d' if double else 's'}gemm"
        kind = DOUBLE * double + WIDE * found.wide
        places = map(self._place, (made.image, made.weights, made.maps))
        shared = found.threads is not None and form.points >= CONVOLUTIONS_SHARED_FROM
        counts = form.samples, form.groups, form.channels, form.maps
        geometry = form.spatial, form.positions, form.kernel, form.stride, form.padding
        strides = form.dilation, form.image, form.out, form.weights
        self.work += form.points
        head = [CONVOLUTION, int(double), found.addresses[name], kind, WORK[form.kind], *places]
        return [
            *head,
            threads() if shared else 1,
            *counts,
            *(n for extents in (*geometry, *strides) for n in extents),
        ]
