"""Processes that a program under `python -m lazyt` spawns: `torch` is lazyt there, too.

A spawned process (multiprocessing's "spawn" and "forkserver") imports the program's main module
anew. While `children_too()` is open it imports this module in its place, which first resolves torch
to lazyt and then runs the program's, under the name that Python gives it there: `__mp_main__`.
"""

from __future__ import annotations

import contextlib
import runpy
import sys
from collections.abc import Iterator
from typing import Any

from lazyt.torch_names import TorchFinder

__all__ = ["children_too"]

_PROGRAM, _MODULE = "init_main_from_path", "init_main_from_name"  # what Python tells a process


@contextlib.contextmanager
def children_too() -> Iterator[None]:
    """Inside, processes that are spawned resolve torch to lazyt."""
    from multiprocessing import spawn

    before = spawn.get_preparation_data

    def prepared(name: str) -> dict[str, Any]:
        data = before(name)
        if _PROGRAM in data:
            data["sys_argv"] = [*data["sys_argv"][:1], data.pop(_PROGRAM), *data["sys_argv"][1:]]
            data[_MODULE] = __name__
        return data

    spawn.get_preparation_data = prepared
    try:
        yield
    finally:
        spawn.get_preparation_data = before


if __name__ == "__mp_main__":
    sys.meta_path.insert(0, TorchFinder())
    sys.argv[0] = sys.argv.pop(1)
    globals().update(runpy.run_path(sys.argv[0], run_name=__name__))
