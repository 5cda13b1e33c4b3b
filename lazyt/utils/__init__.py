"""Helpers beside the tensor core, under PyTorch's names: `utils.data` loads data, `utils.hooks`
holds the handles that hooks are removed with. The submodules are imported on first use, so that
the core may import `lazyt.utils.hooks` before a Tensor exists."""

from __future__ import annotations

import importlib
from types import ModuleType

from lazyt.missing import missing

_SUBMODULES = ("checkpoint", "data", "dlpack", "hooks")

__all__ = ["checkpoint", "data", "dlpack", "hooks", "typename"]


def __getattr__(name: str) -> ModuleType:
    if name in _SUBMODULES:
        return importlib.import_module(f"lazyt.utils.{name}")
    raise missing(__name__, name)


def typename(obj: object) -> str:
    """The name of an object's type as error messages give it: "torch.FloatTensor", "int",
    "package.module.Class" (torch.typename). A class or function gives its own name."""
    from lazyt.tensor import Tensor

    if isinstance(obj, Tensor):
        return str(obj.type())
    named = obj if hasattr(obj, "__qualname__") else type(obj)
    module = getattr(named, "__module__", None) or ""
    qualname = str(named.__qualname__)
    if module in ("", "builtins"):
        return qualname
    if module.startswith("lazyt."):
        module = "torch" + module.removeprefix("lazyt")
    return f"{module}.{qualname}"
