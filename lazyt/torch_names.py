"""PyTorch's module names on lazyt: `import torch.nn.functional as F` gives `lazyt.nn.functional`.

Two ways in. `torch_is_lazyt()` resolves every `torch` import while it is open (`python -m lazyt`).
And in a module that said `import lazyt as torch`, a later `import torch.nn as nn` means lazyt too,
where no PyTorch is installed.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.machinery
import importlib.util
import sys
from collections.abc import Iterator
from types import FrameType, ModuleType
from typing import Any

ALIAS = "torch"
# What other libraries have for PyTorch's tensors, and lazyt for its own.
ELSEWHERE = {"safetensors.torch": "lazyt.serialization.safetensors"}


class _Kept:
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


def _spec_of(fullname: str) -> Any:
    """The spec that makes `torch…` the module of lazyt with the same tail, or None."""
    name = ELSEWHERE.get(fullname) or "lazyt" + fullname[len(ALIAS) :]
    try:
        module = importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name and not name.startswith(error.name):
            raise
        return None
    loader: Any = _Kept(module)
    return importlib.util.spec_from_loader(fullname, loader)


def _stands_for(fullname: str) -> bool:
    """Whether a module's name is one that lazyt takes over."""
    return fullname == ALIAS or fullname.startswith(ALIAS + ".") or fullname in ELSEWHERE


class TorchFinder:
    """Finds `torch` and `torch.*` in lazyt, and what other libraries have for them."""

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> Any:
        if not _stands_for(fullname):
            return None
        return _spec_of(fullname) if self.applies(fullname) else None

    def applies(self, fullname: str) -> bool:
        return True


class ImporterFinder(TorchFinder):
    """Does so only in modules whose name `torch` is lazyt, where no PyTorch is installed."""

    def applies(self, fullname: str) -> bool:
        lazyt = sys.modules.get("lazyt")
        if fullname in ELSEWHERE:
            return importlib.machinery.PathFinder.find_spec(ALIAS) is None
        if fullname != ALIAS:
            return sys.modules.get(ALIAS) is lazyt
        frame: FrameType | None = sys._getframe(2)
        while frame is not None and frame.f_code.co_filename.startswith("<frozen importlib"):
            frame = frame.f_back
        if frame is None:
            return False
        named = frame.f_locals.get(ALIAS, frame.f_globals.get(ALIAS))
        if named is None or named is not lazyt:
            return False
        return importlib.machinery.PathFinder.find_spec(ALIAS) is None


def install_importer_finder() -> None:
    """Called once, when lazyt is imported."""
    sys.meta_path.insert(0, ImporterFinder())


@contextlib.contextmanager
def torch_is_lazyt() -> Iterator[None]:
    """Inside, `import torch` gives lazyt; a torch imported before comes back after."""
    before = {name: sys.modules.pop(name) for name in list(sys.modules) if _stands_for(name)}
    finder = TorchFinder()
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)
        for name in list(sys.modules):
            if _stands_for(name):
                del sys.modules[name]
        sys.modules.update(before)
        for name in ELSEWHERE:
            package, _, attribute = name.rpartition(".")
            vars(sys.modules.get(package, ModuleType(package))).pop(attribute, None)
            if name in before:
                setattr(sys.modules[package], attribute, before[name])
