"""From a user's arguments to nodes and back: promotion, result types, `out=`, in-place.

Everything the frontend defines goes through the few functions here:

    node_of(t)              the node of a tensor (state.py)
    wrap(node)              a new tensor of a new storage
    promoted(a, b, ...)     operands of one dtype, by PyTorch's rules, numbers kept as numbers
    deliver(node, out)      what a function with `out=` returns
    update(t, node)         the result of an in-place function
    tagged(node, name, *)   names a composition for `grad_fn`
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, overload

import numpy as np

from lazyt.ir import dtypes
from lazyt.ir.dtypes import DType
from lazyt.ir.node import LOCAL, Node, leaf
from lazyt.ir.ops_constant import complex_number
from lazyt.ir.ops_device import on_several, transfer
from lazyt.ir.ops_elementwise import add, cast, floor, full
from lazyt.ir.ops_shape import alias, copy, expand, replaced, strided_update_
from lazyt.ir.overwritten import current
from lazyt.ir.tags import Tag
from lazyt.ir.types import TensorType, broadcast_shapes
from lazyt.runtime import drain as runtime
from lazyt.warned import warn

from .state import Storage, check_writable, data, node_of, resize, shape_of, shows_part, write

if TYPE_CHECKING:
    from .tensor import Tensor

_new = object.__new__
NUMBERS = (int, float, bool, complex)


class Settings:
    """The few settings of the frontend."""

    default_dtype: DType = dtypes.float32


SETTINGS = Settings()
TENSOR: list[Any] = []  # the Tensor class, set by tensor.py


def is_tensor(x: Any) -> bool:
    """Whether `x` is a tensor."""
    return isinstance(x, TENSOR[0])


def wrap(node: Node) -> Tensor:
    """A new tensor, alone on a new storage, whose value is `node`."""
    storage = _new(Storage)
    storage.node = node
    storage.version = 0
    storage.export = None
    storage.address = None
    t = _new(TENSOR[0])
    t._storage = storage
    t._node = node
    t._seen = node
    t._meta = None
    if LOCAL.inference:
        t._own_meta().inference = True
    return t


def from_array(array: np.ndarray, dtype: DType, device: str = "cpu") -> Tensor:
    """A tensor that owns `array` (already in the dtype's carrier, row-major, nobody else's)."""
    return wrap(data_node(array, dtype, device))


def number_of(x: Any) -> Any:
    """A Python number for a number or a NumPy scalar, whose bool PyTorch takes for a float; None
    for anything else."""
    kind = x.__class__
    if kind is float or kind is int or kind is bool or kind is complex:
        return x
    if isinstance(x, (np.generic, float, int)) and not isinstance(x, (str, bytes, np.str_)):
        if isinstance(x, np.generic):
            plain = float(x) if isinstance(x, np.bool_) else x.item()
        else:
            plain = float(x) if isinstance(x, float) else int(x)
        return plain if plain.__class__ in NUMBERS else None
    return None


def number_dtype(number: Any) -> DType:
    """The dtype a Python number stands for when it decides."""
    if number.__class__ is bool:
        return dtypes.bool_
    if number.__class__ is int:
        return dtypes.int64
    if number.__class__ is complex:
        return SETTINGS.default_dtype.to_complex()
    return SETTINGS.default_dtype


_PYTHON_TYPES = {float: dtypes.float64, int: dtypes.int64, bool: dtypes.bool_}
_PYTHON_TYPES[complex] = dtypes.complex128


@overload
def as_dtype(dtype: None, name: str) -> None: ...
@overload
def as_dtype(dtype: DType | type, name: str) -> DType: ...
def as_dtype(dtype: Any, name: str) -> DType | None:
    """The dtype that an argument names: a torch.dtype, Python's float, int, bool or complex, or
    None.

    Errors: TypeError in PyTorch's words, where `name` is the function that was called.
    """
    if dtype is None or dtype.__class__ is DType:
        return dtype
    found = _PYTHON_TYPES.get(dtype) if isinstance(dtype, type) else None
    if found is None:
        raise TypeError(
            f"{name}(): argument 'dtype' must be torch.dtype, not {type(dtype).__name__}"
        )
    return found


def result_dtype(*operands: Any) -> DType:
    """torch.result_type over nodes and numbers: tensors, then 0-d ones, then numbers."""
    if len(operands) == 2 and operands[0].__class__ is Node:
        dtype = operands[0].type.dtype
        if operands[1].__class__ is Node:
            if operands[1].type.dtype is dtype:
                return dtype
        elif dtype.category == dtypes.FLOATING and operands[1].__class__ is not complex:
            return dtype
    ranked: list[DType | None] = [None, None, None]
    for x in operands:
        if x.__class__ is Node:
            level, dtype = (0 if x.type.shape else 1), x.type.dtype
        else:
            level, dtype = 2, number_dtype(x)
        have = ranked[level]
        ranked[level] = dtype if have is None else dtypes.promote(have, dtype)
    result = ranked[0]
    for other in ranked[1:]:
        if other is not None and (result is None or other.category > result.category):
            parts = result is not None and result.category == dtypes.FLOATING
            result = result.to_complex() if parts else other  # type: ignore[union-attr]
    assert result is not None
    return result


def coerce(number: Any, dtype: DType) -> Any:
    """A number as an operand of `dtype`: wrapped into an integer range, a float for float types; a
    complex one becomes a tensor."""
    if number.__class__ is complex and dtype.category == dtypes.COMPLEX:
        return complex_number(number, dtype)
    if dtype.category >= dtypes.FLOATING:
        return float(number)
    if dtype.category == dtypes.INTEGRAL:
        if not -(2**63) <= number < 2**64:
            raise OverflowError("int too big to convert")
        return dtypes.wrap(int(number), dtype)
    return bool(number)


_CONVERSION_NAMES = {
    "float64": "double",
    "float32": "float",
    "float16": "c10::Half",
    "bfloat16": "c10::BFloat16",
    "int64": "int64_t",
    "int32": "int",
    "int16": "int16_t",
    "int8": "int8_t",
    "uint8": "uint8_t",
}
_LARGEST = {"float32": 3.4028234663852886e38, "float16": 65504.0, "bfloat16": 3.3895313892515355e38}


def converted(number: Any, dtype: DType) -> Any:
    """A number as an element of `dtype`, which PyTorch checks where it fills: RuntimeError if it
    lies outside the type's range (integers below zero wrap in an unsigned type)."""
    fits = True
    if number.__class__ is complex:
        if dtype.category == dtypes.COMPLEX:
            return number
        fits, number = not number.imag, number.real
    if not fits:
        pass
    elif dtype.category == dtypes.INTEGRAL:
        low, high = dtype.limits  # type: ignore[misc]
        if dtype is dtypes.uint8 and number.__class__ is not float:
            low = -high
        fits = low <= number <= high
    elif dtype.category == dtypes.FLOATING and abs(number) != float("inf"):
        fits = not abs(number) > _LARGEST.get(dtype.name, float("inf"))
    if not fits:
        name = _CONVERSION_NAMES[dtype.name]
        raise RuntimeError(f"value cannot be converted to type {name} without overflow")
    return coerce(number, dtype)


_HEAP_TYPE = 1 << 9  # CPython's flag of classes made by a class statement


def type_name(x: Any) -> str:
    """The type of a wrong argument as PyTorch's errors print it: numpy.ndarray, but MyClass."""
    kind = type(x)
    if kind.__flags__ & _HEAP_TYPE or kind.__module__ == "builtins":
        return kind.__name__
    return f"{kind.__module__}.{kind.__name__}"


def operand(x: Any, name: str, position: int = 1) -> Any:
    """The node or number for an argument; TypeError in PyTorch's manner for anything else."""
    if is_tensor(x):
        return node_of(x)
    number = number_of(x)
    if number is None:
        raise TypeError(
            f"{name}(): argument '{_ARGUMENT[position]}' (position {position + 1}) must be Tensor, "
            f"not {type_name(x)}"
        )
    return number


_ARGUMENT = ("input", "other", "third")


def without_history(function: Callable) -> Callable:
    """The function, whose result has no gradient: it asks its operands for their values only."""

    @functools.wraps(function)
    def run(*args: Any, **options: Any) -> Any:
        mode, LOCAL.grad = LOCAL.grad, False
        try:
            return function(*args, **options)
        finally:
            LOCAL.grad = mode

    return run


class Promoted(Tag):
    """On the cast of an operand that promotion made: what is saved for backward is the operand."""

    __slots__ = ("operand",)
    follows = True

    def __init__(self, operand: Node):
        super().__init__()
        self.operand = operand

    @property
    def ends(self) -> bool:  # type: ignore[override]
        return self.operand.tag is not None and self.operand.tag.ends

    def now(self, node: Node, reader: Node | None = None, shown: Node | None = None) -> Node:
        operand = current(self.operand, reader)
        return node if operand is self.operand else cast(operand, node.type.dtype)


class Inner(Tag):
    """On an inner step of a composition of which PyTorch saves the operands only.

    A backward that saved the step computes it anew from what the operands are then.
    """

    __slots__ = ()
    follows = True

    def now(self, node: Node, reader: Node | None = None, shown: Node | None = None) -> Node:
        operands = [current(s, reader) if s.__class__ is Node else s for s in node.src]
        if all(a is b for a, b in zip(operands, node.src)):
            return node
        return node.op(*operands, arg=node.arg)


def promoted(*operands: Any, dtype: DType | None = None) -> tuple[tuple, DType]:
    """Operands cast to one dtype (given, or by promotion); numbers stay numbers of that dtype."""
    if dtype is None and len(operands) == 2:
        a, b = operands
        if a.__class__ is Node:
            dtype = a.type.dtype
            if b.__class__ is Node:
                if b.type.dtype is dtype:
                    return operands, dtype
            elif dtype.category == dtypes.FLOATING and b.__class__ is not complex:
                return (a, float(b)), dtype
            dtype = None
    if dtype is None:
        dtype = result_dtype(*operands)
    tracked = LOCAL.grad and any(x.__class__ is Node and x.grad for x in operands)
    out = []
    for x in operands:
        if x.__class__ is Node:
            made = cast(x, dtype)
            if tracked and made is not x:
                made.tag = Promoted(x)
            out.append(made)
        else:
            out.append(coerce(x, dtype))
    return tuple(out), dtype


def as_tensor_operand(number: Any, dtype: DType, device: str = "cpu") -> Node:
    """A 0-d constant, for primitives that want a node where the user gave a number."""
    return full((), number, dtype, device)


def tagged(
    node: Node, name: str, *inputs: Node, saves: bool = True, keeps: tuple[Node | int, ...] = ()
) -> Node:
    """Names the composition that ends in `node` for `grad_fn`; free where no gradient flows.

    saves: False where PyTorch's backward of it saves nothing. keeps: what it saves beyond what the
    primitives do (OUTPUT: the result).
    """
    if node.grad:
        if node.tag is None:
            node.tag = Tag()
        node.tag.name = name + "Backward0"
        node.tag.inputs = tuple(i for i in inputs if i.grad)
        node.tag.saves = saves
        node.tag.keeps = keeps
    return node


def renamed(node: Node, grad_name: str) -> Node:
    """`node` under another name for `grad_fn`: that of the overload PyTorch would have called."""
    if node.grad:
        if node.tag is None:
            node.tag = Tag()
        node.tag.name = grad_name
    return node


def leading_to(node: Node, name: str, *sources: Node) -> Node:
    """A value that depends on no source; those that need a gradient receive zeros."""
    tracked = [source for source in sources if source.grad]
    if not LOCAL.grad or not tracked:
        return node
    type = node.type
    flat = [expand(cast(floor(source), type.dtype), type.shape) for source in tracked]
    made = copy(replaced(functools.reduce(add, flat), node))
    return renamed(tagged(made, "", *sources, saves=False), name)


class NoDerivative:
    """In the place of a rule (`Tag.call`) that PyTorch lacks: reaching it is an error."""

    ctx = None

    def __init__(self, text: str, kind: type[Exception] = RuntimeError):
        self.text = text
        self.kind = kind

    def __call__(self, cotangents: Any) -> list[Node | None]:
        raise self.kind(self.text)

    def release(self) -> None:
        """Nothing was saved."""


def overwritten(t: Tensor, node: Node, name: str) -> Node:
    """`node`, which takes the place of all of t's value without depending on it.

    Where `t` has a history it stays in the graph, as in PyTorch, under `name`: it receives zeros.
    """
    meta = t._meta
    if not LOCAL.grad or (meta is not None and meta.leaf) or shows_part(t):
        return node
    old = node_of(t)
    if old.grad:
        node = tagged(replaced(floor(old), node), name, old, saves=False)
        node.tag.name = name
    return node


def copied_over(t: Tensor, node: Node) -> Node:
    """A node of its own with the value of `node` (of t's shape and dtype), to take t's place; from
    another device it is moved.

    Where `t` has a history it stays in the graph and receives zeros.
    """
    node = transfer(node, t._storage.node.type.device)
    if shows_part(t):
        made = alias(node) if node.grad else node
        return renamed(tagged(made, "", node, saves=False), "CopyBackwards")
    old = node_of(t)
    if old.grad and LOCAL.grad:
        made = strided_update_(old, node, 0, arg=(old.type.shape, old.type.strides))
    else:
        made = copy(node)
    return renamed(tagged(made, "", old, node, saves=False), "CopyBackwards")


def update(t: Tensor, node: Node) -> Tensor:
    """Writes the result of an in-place operation into `t` and returns `t`.

    Errors: RuntimeError where the result's shape, dtype or device does not fit.
    """
    shape, own = shape_of(t), t._storage.node.type
    if node.type is not own or shape != own.shape:
        if node.type.shape != shape:
            fit_shape(shape, node.type.shape)
            node = expand(node, shape)
        fit_dtype(node.type.dtype, own.dtype)
        if node.type.device != own.device:
            raise on_several(node.type.device, own.device)
    write(t, node)
    return t


def fit_shape(target: tuple[int, ...], result: tuple[int, ...]) -> None:
    shape = broadcast_shapes(target, result)
    if shape != target:
        raise RuntimeError(
            f"output with shape {list(target)} doesn't match the broadcast shape {list(shape)}"
        )


def fit_dtype(result: DType, target: DType) -> None:
    if not can_cast(result, target):
        raise RuntimeError(
            f"result type {scalar_name(result)} can't be cast to the desired output type "
            f"{scalar_name(target)}"
        )


def can_cast(source: DType, target: DType) -> bool:
    """torch.can_cast: never to a lower category, nor from signed numbers to bool."""
    return source.category <= target.category


def unsupported(kernel: str, dtype: DType) -> NotImplementedError:
    """PyTorch's error where a kernel does not exist for a dtype."""
    return NotImplementedError(f"\"{kernel}\" not implemented for '{scalar_name(dtype)}'")


_SCALAR_NAMES = {
    "float32": "Float",
    "float64": "Double",
    "float16": "Half",
    "bfloat16": "BFloat16",
    "int64": "Long",
    "int32": "Int",
    "int16": "Short",
    "int8": "Char",
    "uint8": "Byte",
    "bool": "Bool",
    "complex64": "ComplexFloat",
    "complex128": "ComplexDouble",
}


def scalar_name(dtype: DType) -> str:
    """PyTorch's C++ name of a dtype, as its errors print it."""
    return _SCALAR_NAMES[dtype.name]


_C_NAMES = {
    "float32": "float",
    "float64": "double",
    "float16": "c10::Half",
    "bfloat16": "c10::BFloat16",
    "int64": "long int",
    "int32": "int",
    "int16": "short int",
    "int8": "signed char",
    "uint8": "unsigned char",
    "bool": "bool",
    "complex64": "c10::complex<float>",
    "complex128": "c10::complex<double>",
}


def c_name(dtype: DType) -> str:
    """The C++ type of a dtype, as some of PyTorch's errors print it."""
    return _C_NAMES[dtype.name]


EXACT = "Expected out tensor to have dtype {want_c}, but got {have_c} instead"
FOUND = "Found dtype {have} but expected {want}"


def fit_exactly(result: DType, target: DType, text: str = EXACT) -> None:
    """RuntimeError where the dtype of `out` is not the result's; `text` is how PyTorch says it."""
    if result is not target:
        names = {"want": scalar_name(result), "have": scalar_name(target)}
        c_names = {"want_c": c_name(result), "have_c": c_name(target)}
        raise RuntimeError(text.format(**names, **c_names))


def deliver(node: Node, out: Tensor | None, name: str = "", exact: str = "") -> Tensor:
    """The tensor a function returns: a new one, or `out` with the result written into it.

    exact: the words of the error where `out` must have the result's dtype; otherwise it may have
    any that the result's can be cast to.
    """
    if out is None:
        return wrap(node)
    if LOCAL.grad and (node.grad or node_of(out).grad):
        raise RuntimeError(
            f"{name or sys._getframe(1).f_code.co_name}(): functions with out=... arguments don't "
            "support automatic differentiation, but one of the arguments requires grad."
        )
    if exact:
        fit_exactly(node.type.dtype, out.dtype, exact)
    else:
        fit_dtype(node.type.dtype, out.dtype)
    if node.type.device != out._storage.node.type.device:
        raise on_several(node.type.device, out._storage.node.type.device)
    if shape_of(out) != node.type.shape:
        resize_out(out, node.type.shape)
    check_writable(out)
    write(out, cast(node, out.dtype))
    return out


def resize_out(out: Tensor, shape: tuple[int, ...]) -> None:
    """Gives `out` another shape, with PyTorch's warning where it had elements."""
    if out.numel():
        warn(
            "An output with one or more elements was resized since it had shape "
            f"{list(shape_of(out))}, which does not match the required output shape {list(shape)}. "
            "This behavior is deprecated, and in a future PyTorch release outputs will not be "
            "resized unless they have zero elements. You can explicitly reuse an out tensor t by "
            "resizing it, inplace, to zero elements with t.resize_(0).",
        )
    resize(out, shape)


def known(node: Node) -> np.ndarray | None:
    """The value of a node where it can be looked at now: it has one, and that is on the CPU."""
    return node.value if node.type.device == "cpu" else None


def at_once(node: Node) -> Node:
    """A result that some values refuse and that fuses with nothing, computed now, so that a `try`
    around the call meets the error; on a device, and of one example of a vmap, when it is read."""
    if node.type.device == "cpu" and not LOCAL.held:
        runtime.realised(node)
    return node


def data_node(array: np.ndarray, dtype: DType, device: str = "cpu") -> Node:
    """A realised node over an array that nobody else holds; moved to a device."""
    return transfer(leaf(data, array, TensorType.of(array.shape, dtype)), device)
