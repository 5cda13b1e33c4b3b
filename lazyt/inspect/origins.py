"""From a value's origin to the user's words: the line, and the variable it was put into.

An origin is a code object and the offset of the instruction that called the library. The line is
in the code object's table; the variable is named by the instruction that follows, where that
stores a result:

    loss = (x - y).pow(2).mean()      # the last call is followed by STORE_FAST loss
"""

from __future__ import annotations

import ast
import linecache
import os
from functools import lru_cache
from itertools import islice
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


def words_of(origin: Any) -> str:
    """The text of the user's line, "" where it cannot be read."""
    if origin is None or origin[0] is None:
        return ""
    return linecache.getline(origin[0].co_filename, line_number(*origin)).strip()


@lru_cache(maxsize=4096)
def _callee(code: Any, offset: int) -> str:
    at = next(islice(code.co_positions(), offset // 2, None), None)
    if at is None or None in at:
        return ""
    first, last, begin, end = at
    lines = [linecache.getline(code.co_filename, n).encode() for n in range(first, last + 1)]
    if not lines[0]:
        return ""
    lines[-1] = lines[-1][:end]
    lines[0] = lines[0][begin:]
    try:
        called = ast.parse(b"(" + b"".join(lines) + b")", mode="eval").body
    except (SyntaxError, ValueError):
        return ""
    if not isinstance(called, ast.Call):
        return ""
    if isinstance(called.func, ast.Attribute):
        return called.func.attr
    return called.func.id if isinstance(called.func, ast.Name) else ""


def callee_of(origin: Any) -> str:
    """What the user's expression calls: `layer_norm` of `F.layer_norm(x, (8,))`; "" where it is no
    call, or its source cannot be read."""
    if origin is None or origin[0] is None:
        return ""
    return _callee(*origin)
