"""`python -m lazyt script.py args…`: runs a script that says `import torch`, unchanged, on lazyt.

For the length of the run `torch` and everything below it (`torch.nn.functional`, …) resolve to lazyt's own
modules: one object each, so `import torch` and `import lazyt` see the same classes.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.abc
import importlib.util
import os
import runpy
import sys
from collections.abc import Iterator, Sequence
from types import ModuleType
from typing import Any

ALIAS = "torch"


class TorchFinder(importlib.abc.MetaPathFinder):
    """Finds `torch` and `torch.*` in lazyt."""

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> Any:
        if fullname != ALIAS and not fullname.startswith(ALIAS + "."):
            return None
        name = "lazyt" + fullname[len(ALIAS) :]
        try:
            module = importlib.import_module(name)
        except ModuleNotFoundError as error:
            if error.name and not name.startswith(error.name):
                raise
            return None
        # The import system rewrites `__spec__` and friends of what a loader returns: keep lazyt's own.
        sys.modules[fullname] = module
        return importlib.util.spec_from_loader(fullname, _Kept(module))


class _Kept(importlib.abc.Loader):
    """Gives back a module of lazyt and leaves its own attributes as they were."""

    def __init__(self, module: ModuleType):
        self.module = module
        self.own = {
            key: getattr(module, key, None)
            for key in ("__spec__", "__loader__", "__name__", "__package__", "__path__")
            if hasattr(module, key)
        }

    def create_module(self, spec: Any) -> ModuleType:
        return self.module

    def exec_module(self, module: ModuleType) -> None:
        for key, value in self.own.items():
            setattr(module, key, value)


@contextlib.contextmanager
def torch_is_lazyt() -> Iterator[None]:
    """Inside, `import torch` gives lazyt; a real torch that was imported before comes back after."""
    before = {
        name: sys.modules.pop(name)
        for name in list(sys.modules)
        if name == ALIAS or name.startswith(ALIAS + ".")
    }
    finder = TorchFinder()
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)
        for name in list(sys.modules):
            if name == ALIAS or name.startswith(ALIAS + "."):
                del sys.modules[name]
        sys.modules.update(before)


def run_script(path: str, arguments: Sequence[str] = ()) -> dict[str, Any]:
    """Runs a script as `__main__` with torch resolved to lazyt; returns its globals."""
    argv, first = sys.argv, sys.path[0] if sys.path else ""
    sys.argv = [path, *arguments]
    folder = os.path.dirname(os.path.abspath(path))
    if sys.path:
        sys.path[0] = folder
    else:
        sys.path.insert(0, folder)
    try:
        with torch_is_lazyt():
            return runpy.run_path(path, run_name="__main__")
    finally:
        sys.argv = argv
        sys.path[0] = first


USAGE = """usage: python -m lazyt script.py [arguments ...]
       python -m lazyt -m module [arguments ...]

Runs a PyTorch script on lazyt, unchanged."""


def main(arguments: Sequence[str]) -> int:
    if not arguments or arguments[0] in ("-h", "--help"):
        print(USAGE)
        return 0 if arguments else 2
    if arguments[0] == "-m":
        if len(arguments) < 2:
            print(USAGE)
            return 2
        sys.argv = list(arguments[1:])
        with torch_is_lazyt():
            runpy.run_module(arguments[1], run_name="__main__", alter_sys=True)
        return 0
    if not os.path.exists(arguments[0]):
        print(f"python -m lazyt: cannot open {arguments[0]!r}", file=sys.stderr)
        return 2
    run_script(arguments[0], arguments[1:])
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
