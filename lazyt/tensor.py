"""The tensor a user holds: a handle on a storage. Its operations live in the functional modules.

This file has what makes a tensor a tensor: identity, shape, reading values, the protocols of Python
and NumPy. Everything else is attached to the class by the module that defines it: autograd
attributes by gradients.py, copies and pickles by copies.py, operations by `functions/`.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from lazyt.ir import dtypes
from lazyt.ir.dtypes import DType
from lazyt.ir.node import LOCAL, Node
from lazyt.ir.ops_shape import copy, expand
from lazyt.ir.public_type import PublicType

from . import printing
from .device import Device
from .dispatch import SETTINGS, TENSOR, copied_over, fit_shape, type_name, update, wrap
from .formats import STRIDED
from .size import Size, sized
from .state import (
    Meta,
    Storage,
    address_of,
    adopt,
    adopt_lent,
    array_of,
    check_overlap,
    check_writable,
    device_export,
    export,
    geometry,
    is_row_major,
    node_of,
    shape_of,
    values_of,
)
from .warned import warn_once

_Kind = TypeVar("_Kind", bound="Tensor")
_new = object.__new__
_getframe = sys._getframe
NUMPY_REQUIRES_GRAD = (
    "Can't call numpy() on Tensor that requires grad. Use tensor.detach().numpy() instead."
)
NOT_WRITABLE = (
    "The given NumPy array is not writable, and PyTorch does not support non-writable tensors. "
    "This means writing to this tensor will result in undefined behavior. You may want to copy the "
    "array to protect its data or make it writable before converting it to a tensor. This type of "
    "warning will be suppressed for the rest of this program."
)
LEAVES_HISTORY = (
    "Converting a tensor with requires_grad=True to a scalar may lead to unexpected behavior.\n"
    "Consider using tensor.detach() first."
)


class Tensor(metaclass=PublicType):
    """A multi-dimensional array of one dtype, with PyTorch's semantics.

    Operations are traced, not run; reading a value (`item`, `print`, `numpy`, `bool`, …) computes
    what is pending.
    """

    __slots__ = ("_storage", "_node", "_seen", "_meta", "__dict__", "__weakref__")
    __array_priority__ = 1000
    _public_name = "torch.Tensor"

    _storage: Storage
    _node: Node | None
    _seen: Node | None
    _meta: Meta | None

    if TYPE_CHECKING:
        # What other modules attach: methods, for a type checker, by their names alone.
        requires_grad: bool
        is_leaf: bool
        grad: Tensor | None
        data: Tensor
        _base: Tensor | None
        _version: int

        def __getattr__(self, name: str) -> Any: ...
        def __getitem__(self, key: Any) -> Tensor: ...
        def __setitem__(self, key: Any, value: Any) -> None: ...
        def __eq__(self, other: Any) -> Any: ...
        def __ne__(self, other: Any) -> Any: ...
        def __deepcopy__(self, memo: dict) -> Any: ...
        def __setstate__(self, state: Any) -> None: ...
        def _unary(self) -> Tensor: ...
        def _binary(self, other: Any) -> Tensor: ...

        __neg__ = __pos__ = __abs__ = __invert__ = _unary
        __add__ = __sub__ = __mul__ = __truediv__ = __floordiv__ = __mod__ = __pow__ = _binary
        __radd__ = __rsub__ = __rmul__ = __rtruediv__ = __rfloordiv__ = __rmod__ = _binary
        __rpow__ = __matmul__ = __rmatmul__ = _binary
        __iadd__ = __isub__ = __imul__ = __itruediv__ = __ifloordiv__ = __imod__ = _binary
        __ipow__ = __iand__ = __ior__ = __ixor__ = __ilshift__ = __irshift__ = _binary
        __and__ = __or__ = __xor__ = __rand__ = __ror__ = __rxor__ = _binary
        __lshift__ = __rshift__ = __rlshift__ = __rrshift__ = _binary
        __lt__ = __le__ = __gt__ = __ge__ = _binary

    def __new__(cls, *args: Any, **kwargs: Any) -> Tensor:
        from .dispatch import SETTINGS
        from .functions.conversion import legacy_tensor

        made = legacy_tensor(SETTINGS.default_dtype, *args, **kwargs)
        return made if cls is Tensor else made._as(cls)

    def _as(self, cls: type[_Kind]) -> _Kind:
        """A handle of class `cls` on the same storage, without this one's autograd record."""
        other: _Kind = _new(cls)
        other._storage, other._node, other._seen = self._storage, None, None
        other._meta = self._meta.child() if self._meta is not None else None
        return other

    @staticmethod
    def _make_subclass(cls: Any, data: Tensor, require_grad: bool = False) -> Any:
        """An instance of `cls` on the memory of `data`, without its history."""
        made = data.detach()._as(cls)
        made._own_meta().leaf = bool(require_grad)
        return made

    def _own_meta(self) -> Meta:
        if self._meta is None:
            self._meta = Meta()
        return self._meta

    # --- shape and type ---------------------------------------------------------------------------

    @property
    def shape(self) -> Size:
        return sized(shape_of(self))

    def size(self, dim: int | None = None) -> Any:
        """The shape, or the extent of one dimension."""
        shape = shape_of(self)
        if dim is None:
            return sized(shape)
        return shape[wrap_dim(dim, len(shape))]

    @property
    def dtype(self) -> DType:
        return self._storage.node.type.dtype

    @property
    def device(self) -> Device:
        return Device(self._storage.node.type.device)

    @property
    def ndim(self) -> int:
        return len(shape_of(self))

    def dim(self) -> int:
        return len(shape_of(self))

    ndimension = dim

    def numel(self) -> int:
        """The number of elements."""
        count = 1
        for extent in shape_of(self):
            count *= extent
        return count

    nelement = numel

    def element_size(self) -> int:
        """Bytes an element, as PyTorch counts them."""
        return self.dtype.itemsize

    @property
    def itemsize(self) -> int:
        return self.dtype.itemsize

    @property
    def nbytes(self) -> int:
        return self.numel() * self.dtype.itemsize

    def stride(self, dim: int | None = None) -> Any:
        """Strides in elements."""
        strides = geometry(self)[2]
        return strides if dim is None else strides[wrap_dim(dim, len(strides))]

    def storage_offset(self) -> int:
        return geometry(self)[0]

    def is_contiguous(self, memory_format: Any = None) -> bool:
        """Whether the elements lie row-major without gaps."""
        return is_row_major(shape_of(self), self.stride())

    def data_ptr(self) -> int:
        """The address of the first element; equal for two tensors that start together."""
        address = address_of(self._storage)
        return address and address + geometry(self)[0] * self.element_size()

    def is_floating_point(self) -> bool:
        return self.dtype.category == dtypes.FLOATING

    def is_complex(self) -> bool:
        return self.dtype.category == dtypes.COMPLEX

    def is_signed(self) -> bool:
        return self.dtype.is_signed

    is_cuda = property(lambda self: self._storage.node.type.device.startswith("cuda"))
    is_xpu = property(lambda self: False)
    is_sparse = property(lambda self: False)
    is_quantized = property(lambda self: False)
    is_meta = property(lambda self: False)
    is_cpu = property(lambda self: self._storage.node.type.device == "cpu")
    layout = property(lambda self: STRIDED)
    names = property(lambda self: (None,) * self.ndim)

    def get_device(self) -> int:
        return -1 if self.is_cpu else self.device.index or 0

    # --- reading values ---------------------------------------------------------------------------

    def item(self) -> Any:
        """The one element as a Python number; RuntimeError where there is not exactly one."""
        array = array_of(self)
        if array.size != 1:
            raise RuntimeError(f"a Tensor with {array.size} elements cannot be converted to Scalar")
        return array.item()

    def tolist(self) -> Any:
        """Nested lists of Python numbers (a number for 0-d)."""
        return array_of(self).tolist()

    def numpy(self, *, force: bool = False) -> np.ndarray:
        """The memory as a NumPy array, shared. Unless forced, RuntimeError in grad mode where a
        gradient is required, TypeError where it is on a device."""
        if self.requires_grad:
            if LOCAL.grad and not force:
                raise RuntimeError(NUMPY_REQUIRES_GRAD)
            return self.detach().numpy(force=force)
        if not self.is_cpu:
            if not force:
                raise TypeError(
                    f"can't convert {self.device} device type tensor to numpy. Use Tensor.cpu() to "
                    "copy the tensor to host memory first."
                )
            return self.cpu().numpy()
        if self.dtype is dtypes.bfloat16:
            raise TypeError("Got unsupported ScalarType BFloat16")
        return export(self)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        array = self.numpy()
        if dtype is not None and array.dtype != dtype:
            return array.astype(dtype)
        return array.copy() if copy else array

    def __array_wrap__(
        self, array: np.ndarray, context: Any = None, scalar: bool = False
    ) -> Tensor:
        # PyTorch wraps what a ufunc of NumPy found true as a uint8 tensor.
        return over_array(np.array(array, np.uint8 if array.dtype == np.bool_ else None))

    def __dlpack__(self, **options: Any) -> Any:
        if self.requires_grad:
            raise BufferError("Can't export tensors that require gradient, use tensor.detach()")
        if not self.is_cpu:
            raise BufferError(
                f"memory of {self.device} is exported by __cuda_array_interface__ only"
            )
        return export(self).__dlpack__(**options)

    def __dlpack_device__(self) -> tuple[int, int]:
        return (1, 0) if self.is_cpu else (2, self.get_device())

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        """The memory for other libraries that use the GPU, shared (version 3 of the protocol)."""
        if self.is_cpu:
            raise AttributeError(
                "Can't get __cuda_array_interface__ on non-CUDA tensor type: "
                f"{self.type()} If CUDA data is required use tensor.cuda() to copy tensor to "
                "device memory."
            )
        if self.requires_grad:
            raise RuntimeError(
                "Can't get __cuda_array_interface__ on Variable that requires grad. If gradients "
                "aren't required, use var.detach() to get Variable that doesn't require grad."
            )
        return device_export(self)

    def __bool__(self) -> bool:
        array = array_of(self)
        if array.size != 1:
            if array.size == 0:
                raise RuntimeError("Boolean value of Tensor with no values is ambiguous")
            raise RuntimeError("Boolean value of Tensor with more than one value is ambiguous")
        return bool(array.item())

    def _scalar(self) -> Any:
        if self.numel() != 1:
            raise ValueError("only one element tensors can be converted to Python scalars")
        return self.item()

    def _untracked_scalar(self) -> Any:
        """The number for Python, with PyTorch's warning where it leaves a history behind."""
        number = self._scalar()
        if LOCAL.grad and self.requires_grad:
            warn_once(LEAVES_HISTORY)
        return number

    def __float__(self) -> float:
        return float(_real(self._untracked_scalar(), "double"))

    def __int__(self) -> int:
        return int(_real(self._scalar(), "int64_t"))

    def __complex__(self) -> complex:
        return complex(self._untracked_scalar())

    def __index__(self) -> int:
        if self.dtype.is_floating_point or self.numel() != 1:
            raise TypeError("only integer tensors of a single element can be converted to an index")
        return int(self.item())

    def __len__(self) -> int:
        shape = shape_of(self)
        if not shape:
            raise TypeError("len() of a 0-d tensor")
        return shape[0]

    def __iter__(self) -> Iterator[Tensor]:
        if not shape_of(self):
            raise TypeError("iteration over a 0-d tensor")
        return iter(self.unbind(0))

    def __reversed__(self) -> Tensor:
        return self.flip(0) if shape_of(self) else self

    def __contains__(self, element: Any) -> bool:
        from .dispatch import number_of

        if isinstance(element, Tensor) or number_of(element) is not None:
            return bool((element == self).any())
        raise RuntimeError(
            "Tensor.__contains__ only supports Tensor or scalar, but you passed in a "
            f"{type(element)}."
        )

    def __hash__(self) -> int:
        return id(self)

    def __format__(self, spec: str) -> str:
        if type(self) is Tensor and not shape_of(self):
            return printing.format_scalar(array_of(self), spec)
        return object.__format__(self, spec)

    def __repr__(self, *, tensor_contents: str | None = None) -> str:
        meta = self._meta
        leaf = meta is not None and meta.leaf
        name = None
        if not leaf and self.requires_grad:
            try:
                made_by = self.grad_fn
                leaf, name = made_by is None, made_by and made_by.name().rsplit("::", 1)[-1]
            except RuntimeError:  # a view that a write to its base made unusable
                name = "Invalid"
        for level in LOCAL.levels[::-1]:
            if level.depends(values_of(self)):
                return level.show(values_of(self))
        kind = type(self)
        parameter = getattr(kind, "_is_parameter", False)
        return printing.tensor_text(
            array_of(self),
            self.dtype.name,
            requires_grad=leaf,
            grad_fn=name,
            device=self._storage.node.type.device,
            default_dtype=SETTINGS.default_dtype.name,
            class_name="tensor" if kind is Tensor or kind in SUBCLASSES else kind.__name__,
            parameter=parameter,
        )

    __str__ = __repr__

    # --- memory -----------------------------------------------------------------------------------

    def contiguous(self, memory_format: Any = None) -> Tensor:
        """This tensor if it lies row-major, else a row-major copy."""
        return self if self.is_contiguous() else wrap(copy(node_of(self)))

    def cpu(self) -> Tensor:
        return self.to("cpu")

    def copy_(self, src: Any, non_blocking: bool = False) -> Tensor:
        """Overwrites the elements with those of `src`, which broadcasts and converts."""
        from .functions.assignment import in_sequence
        from .functions.numeric import in_dtype

        if not isinstance(src, Tensor):
            raise TypeError(
                f"copy_(): argument 'other' (position 1) must be Tensor, not {type(src).__name__}"
            )
        check_writable(self)
        node = node_of(src)
        target = shape_of(self)
        if node.type.shape != target:
            fit_shape(target, node.type.shape)
        check_overlap(self, src)
        node = in_dtype(node, self.dtype)
        if node.type.shape != target:
            node = expand(node, target)
        if src._storage is self._storage:
            node = in_sequence(node, self, src)
        return update(self, copied_over(self, node))

    def set_(self, source: Tensor) -> Tensor:
        """Makes this tensor a handle on the storage of `source`."""
        self.data = source
        return self


def attach(**methods: Any) -> None:
    """Gives `Tensor` methods and properties that a module of functions defines."""
    for name, method in methods.items():
        setattr(Tensor, name, method)


def wrap_dim(dim: int, rank: int) -> int:
    """A dimension counted from either end; IndexError in PyTorch's words where there is none,
    TypeError for what is no integer."""
    if dim.__class__ is not int:
        dim = _whole(dim, _getframe(1).f_code.co_name)
    span = max(rank, 1)
    if not -span <= dim < span:
        raise IndexError(
            f"Dimension out of range (expected to be in range of [{-span}, {span - 1}], but got "
            f"{dim})"
        )
    return dim + span if dim < 0 else dim


def _whole(dim: Any, name: str) -> int:
    """A dimension that is given as something else than an int: a NumPy integer, a 0-d tensor."""
    if isinstance(dim, bool) or not hasattr(dim, "__index__"):
        raise TypeError(f"{name}(): argument 'dim' must be int, not {type_name(dim)}")
    return dim.__index__()


def _real(number: Any, type_name: str) -> Any:
    """A number without imaginary part; RuntimeError where it has one."""
    if number.__class__ is not complex:
        return number
    if number.imag:
        raise RuntimeError(f"value cannot be converted to type {type_name} without overflow")
    return number.real


def from_numpy(array: np.ndarray) -> Tensor:
    """A tensor over the array's memory, without a copy. TypeError for dtypes PyTorch lacks."""
    if isinstance(array, np.ndarray) and not array.flags.writeable:
        warn_once(NOT_WRITABLE)
    return over_array(array)


def over_array(array: np.ndarray) -> Tensor:
    """`from_numpy` for arrays that nobody will write to through the tensor."""
    if not isinstance(array, np.ndarray):
        prefix = "numpy." if isinstance(array, np.generic) else ""
        raise TypeError(f"expected np.ndarray (got {prefix}{type(array).__name__})")
    dtype = dtypes.from_numpy(array.dtype)
    if dtype is None:
        raise TypeError(
            f"can't convert np.ndarray of type numpy.{array.dtype.type.__name__}. The only "
            "supported types are: float64, float32, float16, complex64, complex128, int64, int32, "
            "int16, int8, uint64, uint32, uint16, uint8, and bool."
        )
    if any(s < 0 for s in array.strides):
        raise ValueError(
            "At least one stride in the given numpy array is negative, and tensors with negative "
            "strides are not currently supported. (You can probably work around this by making a "
            "copy of your array  with array.copy().) "
        )
    if array.dtype.byteorder == ">":
        raise ValueError(
            "given numpy array has byte order different from the native byte order. Conversion "
            "between byte orders is currently not supported."
        )
    return _over(*adopt(array, dtype))


def over_lent(lender: Any) -> Tensor:
    """A tensor over the memory of an object with `__cuda_array_interface__`, without a copy."""
    return _over(*adopt_lent(lender))


def _over(storage: Storage, place: Meta | None) -> Tensor:
    t = _new(Tensor)
    t._storage, t._meta = storage, place
    t._node = t._seen = None
    return t


# Parameter and its like: as good as Tensor itself on the fast path of arithmetic.
SUBCLASSES: set[type] = set()
TENSOR.append(Tensor)
__all__ = ["Tensor", "attach", "from_numpy", "over_array", "over_lent", "wrap_dim"]
