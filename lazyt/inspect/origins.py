"""From a value's origin to the user's words: the line, and the variable it was put into.

An origin is a code object and the offset of the instruction that called the library. The line is
in the code object's table; the variable is named by the instruction that follows, where that
stores a result:

    loss = (x - y).pow(2).mean()      # the last call is followed by STORE_FAST loss
"""

from __future__ import annotations

import os
from functools import lru_cache
from typing import Any

from lazyt.ir.node import line_number


def line_of(origin: Any, short: bool = False) -> str:
    """`file:line` of an origin, "" where there is none. short: without the folders."""
    if origin is None or origin[0] is None:
        return ""
    code, offset = origin
    file = os.path.basename(code.co_filename) if short else code.co_filename
    return f"{file}:{line_number(code, offset)}"


@lru_cache(maxsize=4096)
def _target(code: Any, offset: int) -> str:
    import dis

    owner = ""
    for step in dis.get_instructions(code):
        # The offset may lie in the cache entries behind the calling instruction.
        if step.offset <= offset:
            continue
        name = step.opname
        if name in ("CACHE", "EXTENDED_ARG"):
            continue
        argument = step.argval[0] if step.argval.__class__ is tuple else step.argval
        if name.startswith("STORE_FAST") or name in ("STORE_NAME", "STORE_GLOBAL", "STORE_DEREF"):
            return str(argument) if not owner else ""
        if name == "STORE_ATTR" and owner:
            return f"{owner}.{argument}"
        if name.startswith("LOAD_FAST") or name in ("LOAD_NAME", "LOAD_GLOBAL", "LOAD_DEREF"):
            if owner:
                return ""
            owner = str(argument)
            continue
        return ""
    return ""


def variable_of(origin: Any) -> str:
    """The variable (or `owner.attribute`) that the user's statement stores into, or ""."""
    if origin is None or origin[0] is None:
        return ""
    return _target(*origin)


def place_of(origin: Any) -> str:
    """`file:line` and, where known, the variable: "train.py:12 (loss)"."""
    line = line_of(origin, short=True)
    variable = variable_of(origin)
    return f"{line} ({variable})" if line and variable else line
