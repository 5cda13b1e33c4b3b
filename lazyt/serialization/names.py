"""Whatever goes into a file goes by PyTorch's name, and comes back as lazyt's.

    name_of(lazyt.nn.Linear)                       # ("torch.nn.modules.linear", "Linear")
    found("torch.nn.modules.linear", "Linear")     # lazyt.nn.Linear

So PyTorch reads what is saved here without lazyt, and lazyt what PyTorch saved without PyTorch.
"""

from __future__ import annotations

import importlib
import types
from typing import Any

import lazyt
from lazyt.device import Device
from lazyt.ir.dtypes import ALL
from lazyt.parameter import Buffer, Parameter
from lazyt.size import Size
from lazyt.tensor import Tensor

from . import rebuild
from .storages import MISSING, STORAGES, UNTYPED, dtype_called

Name = tuple[str, str]

FIXED: dict[Name, Any] = {
    ("torch", "Tensor"): Tensor,
    ("torch", "Size"): Size,
    ("torch", "device"): Device,
    ("torch.nn.parameter", "Parameter"): Parameter,
    ("torch.nn.parameter", "Buffer"): Buffer,
    ("torch.storage", "UntypedStorage"): UNTYPED,
    ("torch._utils", "_rebuild_tensor"): rebuild.rebuild_tensor,
    ("torch._utils", "_rebuild_tensor_v2"): rebuild.rebuild_tensor_v2,
    ("torch._utils", "_rebuild_tensor_v3"): rebuild.rebuild_tensor_v3,
    ("torch._utils", "_rebuild_parameter"): rebuild.rebuild_parameter,
    ("torch._utils", "_rebuild_parameter_with_state"): rebuild.rebuild_parameter_with_state,
    ("torch._tensor", "_rebuild_from_type_v2"): rebuild.rebuild_from_type_v2,
    **{("torch", dtype.name): dtype for dtype in ALL},
    **{("torch", name): storage for name, storage in STORAGES.items()},
}
# Other names for the same: of earlier versions, and of PyTorch's own C code.
ALSO: dict[Name, Any] = {
    ("torch.tensor", "_rebuild_from_type_v2"): rebuild.rebuild_from_type_v2,
    ("torch", "UntypedStorage"): UNTYPED,
    ("torch._C", "_VariableFunctionsClass"): lazyt,  # a function is its attribute of some name
}
_GIVEN = {id(thing): name for name, thing in FIXED.items()}

# Modules, and single classes, that PyTorch has elsewhere.
_LAZY = {"Conv": "conv", "ConvTranspose": "conv", "BatchNorm": "batchnorm"}
_LAZY["InstanceNorm"] = "instancenorm"
_MOVED = {
    **{
        f"lazyt.nn.modules.lazy.Lazy{kind}{rank}d": f"torch.nn.modules.{place}"
        for kind, place in _LAZY.items()
        for rank in (1, 2, 3)
    },
    "lazyt.nn.modules.lazy.LazyLinear": "torch.nn.modules.linear",
    **{
        f"lazyt.optim.lr_scheduler.{part}": "torch.optim.lr_scheduler"
        for part in ("base", "combined", "cycles", "factors", "plateau")
    },
    **{f"lazyt.optim.{name}": "torch.optim" for name in ("adafactor", "muon")},
    "lazyt.nn.modules.attention": "torch.nn.modules.activation",
    "lazyt.nn.functional.linear_cross_entropy": "torch.nn.modules.linear_cross_entropy_options",
    "lazyt.nn.modules.cross_map": "torch.nn.modules.normalization",
    "lazyt.nn.modules.linear_cross_entropy": "torch.nn.modules.loss",
    "lazyt.nn.modules.max_windows": "torch.nn.modules.pooling",
    "lazyt.nn.modules.pixelshuffle.ChannelShuffle": "torch.nn.modules.channelshuffle",
    "lazyt.nn.modules.rnn_cells": "torch.nn.modules.rnn",
    "lazyt.nn.modules.transformer_layers": "torch.nn.modules.transformer",
    "lazyt.nn.parallel": "torch.nn.parallel.data_parallel",
    "lazyt.optim.adam.AdamW": "torch.optim.adamw",
    "lazyt.nn.module": "torch.nn.modules.module",
    "lazyt.nn.containers": "torch.nn.modules.container",
    "lazyt.nn.parameter_containers": "torch.nn.modules.container",
    "lazyt.gradmode": "torch.autograd.grad_mode",
}


def name_of(thing: Any) -> Name | None:
    """PyTorch's name of a class, function, dtype or storage class of lazyt; None for all else."""
    given = _GIVEN.get(id(thing))
    if given is not None or not isinstance(thing, (type, types.FunctionType)):
        return given
    module = getattr(thing, "__module__", None) or ""
    if module != "lazyt" and not module.startswith("lazyt."):
        return None
    qualified = thing.__qualname__
    moved = _MOVED.get(f"{module}.{qualified}") or _MOVED.get(module)
    if moved is None and isinstance(thing, types.FunctionType):
        module = _public_in(thing, module)
    name = moved or "torch" + module.removeprefix("lazyt"), qualified
    try:
        same = found(*name) is thing
    except AttributeError:
        return None
    return name if same else None


def _public_in(function: types.FunctionType, module: str) -> str:
    """The first package, from the top, that has a function under its name: PyTorch has it there."""
    parts = module.split(".")
    for depth in range(1, len(parts)):
        package = importlib.import_module(".".join(parts[:depth]))
        if getattr(package, function.__qualname__, None) is function:
            return package.__name__
    return module


def found(module: str, name: str) -> Any:
    """What lazyt has under PyTorch's name: there, or in a package above.

    Errors: AttributeError where it has nothing; RuntimeError for a dtype that is missing.
    """
    fixed = FIXED.get((module, name), ALSO.get((module, name)))
    if fixed is not None:
        return fixed
    if module == "torch" and name in MISSING:
        return dtype_called(name)
    place = "lazyt" + module.removeprefix("torch")
    while place:
        try:
            thing = _attribute(importlib.import_module(place), name)
        except (ImportError, AttributeError):
            place = place.rpartition(".")[0]
        else:
            return thing
    raise AttributeError(f"the file asks for {module}.{name}, which is missing here")


def _attribute(thing: Any, qualified: str) -> Any:
    for part in qualified.split("."):
        thing = getattr(thing, part)
    return thing


def is_torch(module: str) -> bool:
    """Whether a module's name is PyTorch's."""
    return module == "torch" or module.startswith("torch.")
