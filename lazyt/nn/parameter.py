"""torch.nn.parameter: Parameter and Buffer, and those whose shape the first input will tell.

layer = nn.LazyLinear(3)
layer.weight                          # <UninitializedParameter>
layer(torch.ones(2, 5))
layer.weight.shape                    # torch.Size([3, 5])
"""

from __future__ import annotations

from typing import Any, ClassVar

from lazyt.functions.creation import empty
from lazyt.parameter import Buffer, Parameter
from lazyt.tensor import SUBCLASSES, Tensor

__all__ = ["Buffer", "Parameter", "UninitializedBuffer", "UninitializedParameter", "is_lazy"]

_NO_SHAPE = (
    "Can't access the shape of an uninitialized parameter or buffer. This error usually happens in "
    "`load_state_dict` when trying to load an uninitialized parameter into an initialized one. "
    "Call `forward` to initialize the parameters before accessing their attributes."
)
_NO_SHARING = (
    "Can't share memory on an uninitialized parameter or buffer. Call `forward` to initialize the "
    "parameters before calling `module.share_memory()`."
)
_NO_VALUE = (
    "Attempted to use an uninitialized parameter in {}. This error happens when you are using a "
    "`LazyModule` or explicitly manipulating `torch.nn.parameter.{}` objects. When using "
    "LazyModules Call `forward` with a dummy batch to initialize the parameters before calling "
    "torch functions"
)


class UninitializedTensorMixin:
    """What a tensor without a shape can do: be moved, be converted, get its shape."""

    __slots__ = ()
    cls_to_become: ClassVar[type[Tensor]]

    def materialize(self: Any, shape: Any, device: Any = None, dtype: Any = None) -> None:
        """Becomes an ordinary tensor of a shape, with any values."""
        self.data = empty(
            tuple(shape),
            device=self.device if device is None else device,
            dtype=self.dtype if dtype is None else dtype,
        )
        self.__class__ = self.cls_to_become

    @property
    def shape(self) -> Any:
        raise RuntimeError(_NO_SHAPE)

    def share_memory_(self) -> Any:
        """Cannot be shared yet: RuntimeError."""
        raise RuntimeError(_NO_SHARING)

    def numel(self) -> int:
        """Has no elements to count yet: ValueError."""
        name = type(self).__name__
        method = "<method 'numel' of 'torch._C.TensorBase' objects>"
        raise ValueError(_NO_VALUE.format(method, name))

    def __repr__(self, *, tensor_contents: str | None = None) -> str:
        return f"<{type(self).__name__}>"

    def __str__(self) -> str:
        return repr(self)

    def __reduce_ex__(self: Any, protocol: Any) -> tuple:
        return type(self), (self.requires_grad,)


class UninitializedParameter(UninitializedTensorMixin, Parameter):  # type: ignore[misc]
    """A parameter whose shape is not known yet."""

    __slots__ = ()
    cls_to_become = Parameter
    _public_name = "torch.nn.parameter.UninitializedParameter"

    def __new__(cls, requires_grad: bool = True, device: Any = None, dtype: Any = None) -> Any:
        return cls._make_subclass(cls, empty(0, device=device, dtype=dtype), requires_grad)

    def __deepcopy__(self, memo: dict) -> Any:
        if id(self) not in memo:
            memo[id(self)] = type(self)(self.requires_grad, self.device, self.dtype)
        return memo[id(self)]


class UninitializedBuffer(UninitializedTensorMixin, Tensor):  # type: ignore[misc]
    """A buffer whose shape is not known yet."""

    __slots__ = ()
    cls_to_become = Tensor
    _public_name = "torch.nn.parameter.UninitializedBuffer"
    persistent: bool

    def __new__(
        cls,
        requires_grad: bool = False,
        device: Any = None,
        dtype: Any = None,
        persistent: bool = True,
    ) -> Any:
        return cls._make_subclass(cls, empty(0, device=device, dtype=dtype), requires_grad)

    def __deepcopy__(self, memo: dict) -> Any:
        if id(self) not in memo:
            memo[id(self)] = type(self)(self.requires_grad, self.device, self.dtype)
        return memo[id(self)]


def is_lazy(param: Any) -> bool:
    """Whether a parameter or buffer has no shape yet."""
    return isinstance(param, UninitializedTensorMixin)


SUBCLASSES.update((UninitializedParameter, UninitializedBuffer))
