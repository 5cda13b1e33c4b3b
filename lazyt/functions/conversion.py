"""Conversions: `to`, `float()`, `type()`, and the legacy constructors (`FloatTensor`, …)."""

from __future__ import annotations

from typing import Any

import numpy as np

from lazyt.ir import dtypes
from lazyt.ir.dtypes import DType
from lazyt.ir.ops_device import transfer
from lazyt.ir.ops_elementwise import cast
from lazyt.ir.ops_shape import copy
from lazyt.warned import warn_once

from ..device import Device, resolve, resolve_like
from ..dispatch import as_dtype, c_name, data_node, tagged, wrap
from ..layout import like_operands
from ..registry import FUNCTIONS
from ..settings import set_default_dtype
from ..size import Size
from ..state import node_of, values_of
from ..tensor import Tensor, from_numpy
from .creation import empty, extents
from .numeric import real_part
from .outside import array_from


def _target(self: Tensor, args: tuple, kwargs: dict) -> tuple[DType, str, bool]:
    dtype, device = kwargs.pop("dtype", None), kwargs.pop("device", None)
    copy_ = kwargs.pop("copy", False)
    kwargs.pop("non_blocking", None)
    kwargs.pop("memory_format", None)
    other = kwargs.pop("other", None)
    if kwargs:
        raise TypeError(f"to() got an unexpected keyword argument '{next(iter(kwargs))}'")
    for a in args:
        if isinstance(a, Tensor):
            other = a
        elif isinstance(a, DType):
            dtype = a
        elif isinstance(a, bool):
            continue
        elif isinstance(a, (str, Device, int)):
            device = a
        elif isinstance(a, type):
            dtype = a
        elif a is not None:
            raise TypeError(
                "to() received an invalid combination of arguments - got "
                f"({type(a).__name__}), but expected one of:\n"
                " * (torch.device, torch.dtype, Tensor)"
            )
    if other is not None:
        dtype, device = other.dtype, other.device
    return as_dtype(dtype, "to") or self.dtype, resolve_like(device, self, "to"), bool(copy_)


def to(self: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    """This tensor in another dtype or on another device; itself where nothing changes."""
    return converted(self, *_target(self, args, kwargs))


def cuda(self: Tensor, device: Any = None, non_blocking: bool = False) -> Tensor:
    """This tensor on a GPU; AssertionError where there is none."""
    return to(self, "cuda" if device is None else device)


def converted(self: Tensor, dtype: DType, device: str | None = None, copy_: bool = False) -> Tensor:
    """A tensor in a dtype and on a device; itself where it is so already, unless `copy_`."""
    type = self._storage.node.type
    device = device or type.device
    stays = device == type.device
    if stays and dtype is type.dtype and not copy_:
        return self
    node = node_of(self) if dtype.category >= dtypes.FLOATING else values_of(self)
    node = real_part(node, dtype)
    if stays:
        made = copy(node) if dtype is node.type.dtype else cast(node, dtype)
    else:
        # Of the two dtypes the smaller one travels.
        first = cast(node, dtype) if dtype.itemsize < node.type.dtype.itemsize else node
        made = cast(transfer(first, device), dtype)
        if dtype is not node.type.dtype:
            tagged(made, "ToCopy", node, saves=False)
    return like_operands(made, self)


def _conversion(dtype: DType):
    def method(self: Tensor, memory_format: Any = None) -> Tensor:
        return converted(self, dtype)

    method.__doc__ = f"This tensor as {dtype.name}."
    return method


CONVERSIONS = {
    "float": dtypes.float32,
    "double": dtypes.float64,
    "half": dtypes.float16,
    "bfloat16": dtypes.bfloat16,
    "long": dtypes.int64,
    "int": dtypes.int32,
    "short": dtypes.int16,
    "char": dtypes.int8,
    "byte": dtypes.uint8,
    "bool": dtypes.bool_,
    "cfloat": dtypes.complex64,
    "cdouble": dtypes.complex128,
}
for _name, _dtype in CONVERSIONS.items():
    _method = _conversion(_dtype)
    _method.__name__ = _method.__qualname__ = _name
    setattr(Tensor, _name, _method)


def type_as(self: Tensor, other: Tensor) -> Tensor:
    """This tensor in the dtype of another, on its device."""
    return converted(self, other.dtype, other._storage.node.type.device)


TYPE_NAMES = {
    "float32": "FloatTensor",
    "float64": "DoubleTensor",
    "float16": "HalfTensor",
    "bfloat16": "BFloat16Tensor",
    "int64": "LongTensor",
    "int32": "IntTensor",
    "int16": "ShortTensor",
    "int8": "CharTensor",
    "uint8": "ByteTensor",
    "bool": "BoolTensor",
    "complex64": "ComplexFloatTensor",
    "complex128": "ComplexDoubleTensor",
}


def type_(self: Tensor, dtype: Any = None, non_blocking: bool = False) -> Any:
    """The legacy type's name, or this tensor converted to a type."""
    own = self._storage.node.type
    if dtype is None:
        module = "torch." if own.device == "cpu" else "torch.cuda."
        return module + TYPE_NAMES[own.dtype.name]
    if isinstance(dtype, DType):
        return converted(self, dtype)
    if not isinstance(dtype, (str, type)):
        raise TypeError("dtype must be a type, str, or dtype object")
    kind = dtype if isinstance(dtype, LegacyType) else _named_type(dtype)
    if kind is None:
        raise ValueError(f"invalid type: '{dtype if isinstance(dtype, str) else dtype.__name__}'")
    stays = own.device.startswith(kind.device)
    return converted(self, kind.dtype, own.device if stays else resolve(kind.device))


def _named_type(dtype: str | type) -> LegacyType | None:
    """The legacy type with a name (torch.FloatTensor, torch.cuda.FloatTensor) or None."""
    name = dtype if isinstance(dtype, str) else dtype.__name__
    types = CUDA_LEGACY if name.startswith("torch.cuda.") else LEGACY
    return types.get(name.removeprefix("torch.").removeprefix("cuda."))


class LegacyType(type):
    """The class of FloatTensor, cuda.LongTensor, …: constructors and isinstance tests of one dtype
    on one type of device."""

    dtype: DType
    device: str

    def __instancecheck__(cls, instance: Any) -> bool:
        return (
            isinstance(instance, Tensor)
            and instance.dtype is cls.dtype
            and instance.device.type == cls.device
        )

    def __call__(cls, *args: Any, **kwargs: Any) -> Any:
        made = legacy_tensor(cls.dtype, *args, **kwargs)
        return made.to(cls.device)


def legacy_tensor(dtype: DType, *args: Any, device: Any = None) -> Tensor:
    """Tensor(2, 3) makes a shape, Tensor([2, 3]) takes data; both on the CPU.

    Errors: RuntimeError where another device is asked for.
    """
    if device is not None and Device(device).type != "cpu":
        raise RuntimeError(
            "legacy constructor expects device type: cpu but device type: "
            f"{Device(device).type} was passed"
        )
    if not args:
        return empty(0, dtype=dtype, device="cpu")
    first = args[0]
    if len(args) == 1 and isinstance(first, Size):
        return empty(first, dtype=dtype, device="cpu")
    if len(args) == 1 and isinstance(first, Tensor):
        if first.dtype is not dtype:
            raise TypeError(
                f"expected TensorOptions(dtype={c_name(dtype)}, device=cpu) (got "
                f"TensorOptions(dtype={c_name(first.dtype)}, device={first.device})"
            )
        return first.detach()
    if len(args) == 1 and isinstance(first, np.ndarray):
        return from_numpy(first).to(dtype)
    if isinstance(first, int) and not isinstance(first, bool):
        return empty(extents("new", *args), dtype=dtype, device="cpu")
    if len(args) > 1:
        kinds = ", ".join(type(a).__name__ for a in args)
        raise TypeError(
            f"new() received an invalid combination of arguments - got ({kinds}), but expected one "
            "of:\n * (*, torch.device device)\n * (tuple of ints size)\n * (object data)"
        )
    if first is None or isinstance(first, (bool, float, dict)):
        raise TypeError(f"new(): data must be a sequence (got {type(first).__name__})")
    array, found = array_from(first, dtype)
    return wrap(data_node(array, found))


def new(self: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    """A tensor of a shape or of data, as the legacy constructors take them, in this one's dtype and
    on its device."""
    return legacy_tensor(self.dtype, *args, **kwargs).to(self.device)


def set_default_tensor_type(t: str | type) -> None:
    """The default dtype, by a legacy type: torch.DoubleTensor, "torch.FloatTensor".

    Errors: TypeError where there is no such type, or it holds no floating point numbers.
    """
    warn_once(
        "torch.set_default_tensor_type() is deprecated as of PyTorch 2.1, please use "
        "torch.set_default_dtype() and torch.set_default_device() as alternatives."
    )
    kind = t if isinstance(t, LegacyType) else _named_type(t)
    if kind is None:
        raise TypeError(f"invalid type object: {t}")
    if not kind.dtype.is_floating_point:
        raise TypeError("only floating-point types are supported as the default type")
    set_default_dtype(kind.dtype)


def _legacy_types(device: str, module: str) -> dict[str, LegacyType]:
    return {
        legacy: LegacyType(
            legacy,
            (),
            {"dtype": dtypes.dtype_named(name), "device": device, "__module__": module},
        )
        for name, legacy in TYPE_NAMES.items()
        if not legacy.startswith("Complex")
    }


LEGACY = _legacy_types("cpu", "torch")
CUDA_LEGACY = _legacy_types("cuda", "torch.cuda")

for _function, _name in (
    (to, "to"),
    (type_as, "type_as"),
    (type_, "type"),
    (new, "new"),
    (cuda, "cuda"),
):
    setattr(Tensor, _name, _function)

FUNCTIONS["set_default_tensor_type"] = set_default_tensor_type
