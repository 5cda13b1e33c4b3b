"""What stands above a kernel's text, so that a file of it is whole: includes, imports, memory.

#include "lazyt_math.h"                     C and CUDA C: codegen/prelude, beside the file
from lazyt.ir.numerics.reductions import sum_
w0 = np.empty((64, 1), np.float32)          NumPy: functions of the library, buffers
"""

from __future__ import annotations

import sys
from importlib import resources

from lazyt.codegen.dress import words
from lazyt.codegen.numpy_calls import NumpyCode
from lazyt.ir.opdef import NAMESPACE, literal


def header(name: str) -> str:
    """What a file of codegen/prelude is called beside the files that include it."""
    return "lazyt_" + name.replace("/", "_")


def header_text(name: str) -> str:
    """What such a file holds: two kernels may be included by one program."""
    folder = resources.files("lazyt.codegen").joinpath("prelude")
    return "#pragma once\n" + folder.joinpath(name).read_text()


def include(name: str) -> str:
    """The line that includes a file of codegen/prelude."""
    return f'#include "{header(name)}"'


def numpy_head(code: NumpyCode) -> str:
    """What NumPy code needs: functions of the library, and memory to work in."""
    helpers = sorted(words(code.source) & (set(NAMESPACE) - {"np"}))
    found = dict.fromkeys(line for h in helpers for line in imports(h))
    lines = ["import numpy as np", "", *sorted(found, key=lambda s: (" = " in s, s))]
    lines.append("")
    for letter, buffers in (("w", code.memory.slots), ("t", code.memory.blocks)):
        for i, t in enumerate(buffers):
            lines.append(f"{letter}{i} = np.empty({literal(t.shape)}, np.{t.dtype.numpy.name})")
    return "\n".join(lines) + "\n"


def imports(name: str) -> list[str]:
    """Lines that define a function which NumPy code calls."""
    function = NAMESPACE[name]
    own = function.__name__
    if getattr(sys.modules[function.__module__], own, None) is function:
        renamed = "" if own == name else f" as {name}"
        return [f"from {function.__module__} import {own}{renamed}"]
    lines = [f"import {function.__module__}", "from lazyt.ir.opdef import NAMESPACE"]
    return [*lines, f'{name} = NAMESPACE["{name}"]']
