"""Complex numbers: made of parts, taken apart, conjugated.

    torch.complex(real, imag)   polar(abs, angle)   view_as_complex(x)
    z.real   z.imag   view_as_real(z)   z.abs()   angle(z)   conj(z)   sgn(z)

What PyTorch shows through a view (the parts, the conjugate, `view_as_real`, `view_as_complex`) is a
copy here. Writing to such a copy is refused, for it would not reach the tensor it was taken from.
"""

from __future__ import annotations

import math

from lazyt.ir import dtypes
from lazyt.ir import ops_complex as parts
from lazyt.ir import ops_elementwise as ops
from lazyt.ir.dtypes import FLOATING
from lazyt.ir.node import Node
from lazyt.ir.ops_shape import cat_, narrow, reshape

from ..dispatch import FOUND, deliver, scalar_name, update, wrap
from ..registry import FUNCTIONS, public
from ..state import check_writable, geometry, node_of
from ..tensor import Tensor, attach
from .dims import input_node
from .pointwise import KEPT, keep_bool, to_float, unary


def _copied(node: Node) -> Tensor:
    """A tensor that PyTorch would share memory for: it must not be written to."""
    made = wrap(node)
    made._own_meta().copied = True
    return made


# --- made of parts --------------------------------------------------------------------------------


def _check_parts(a: Node, b: Node) -> None:
    first, second = a.type.dtype, b.type.dtype
    if any(d.category != FLOATING or d is dtypes.bfloat16 for d in (first, second)):
        raise RuntimeError(
            "Expected both inputs to be Half, Float or Double tensors but got "
            f"{scalar_name(first)} and {scalar_name(second)}"
        )
    if first is not second:
        raise RuntimeError(
            f"Expected object of scalar type {scalar_name(first)} but got scalar type "
            f"{scalar_name(second)} for second argument"
        )


OUT_OF_PARTS = "Expected object of scalar type {want} but got scalar type {have} for argument 'out'"


def _joined(a: Node, b: Node) -> Node:
    """Complex numbers of two parts; NotImplementedError for those of float16."""
    a.type.dtype.to_complex()
    return parts.of_parts(a, b)


def complex(real: Tensor, imag: Tensor, *, out: Tensor | None = None) -> Tensor:
    """The complex numbers of the given parts, which are of one float dtype and broadcast.

    Errors: RuntimeError for other dtypes, NotImplementedError for float16 (complex32 is missing).
    """
    a, b = input_node(real, "complex"), input_node(imag, "complex")
    _check_parts(a, b)
    return deliver(_joined(a, b), out, exact=OUT_OF_PARTS)


def polar(abs: Tensor, angle: Tensor, *, out: Tensor | None = None) -> Tensor:
    """The complex numbers of absolute values and angles, which are of one float dtype."""
    r, phi = input_node(abs, "polar"), input_node(angle, "polar")
    _check_parts(r, phi)
    made = _joined(ops.mul(r, ops.cos(phi)), ops.mul(r, ops.sin(phi)))
    return deliver(made, out, exact=OUT_OF_PARTS)


def view_as_complex(input: Tensor) -> Tensor:
    """The complex numbers whose parts are the two elements of the last dimension.

    Errors: RuntimeError where that has another extent, or the dtype is no float one.
    """
    node = input_node(input, "view_as_complex")
    dtype = node.type.dtype
    if dtype.category != FLOATING or dtype is dtypes.bfloat16:
        raise RuntimeError(
            "view_as_complex is only supported for half, float and double tensors, but got a "
            f"tensor of scalar type: {scalar_name(dtype)}"
        )
    if not node.type.shape:
        raise RuntimeError("Input tensor must have one or more dimensions")
    if node.type.shape[-1] != 2:
        raise RuntimeError("Tensor must have a last dimension of size 2")
    _check_pairs(*geometry(input))
    return _copied(_joined(_last(node, 0), _last(node, 1)))


def _check_pairs(offset: int, shape: tuple[int, ...], strides: tuple[int, ...]) -> None:
    """PyTorch's errors where two parts do not lie together, at an even place."""
    if strides[-1] != 1:
        raise RuntimeError("Tensor must have a last dimension with stride 1")
    if any(k % 2 for k in strides[:-1]):
        raise RuntimeError("Tensor must have a stride divisible by 2 for all but last dimension")
    if offset % 2:
        raise RuntimeError("Tensor must have a storage_offset divisible by 2")


def _last(node: Node, place: int) -> Node:
    """The elements at one place of the last dimension, without it."""
    *lead, _ = node.type.shape
    return reshape(narrow(node, len(lead), place, 1), tuple(lead))


# --- taken apart ----------------------------------------------------------------------------------


def real(input: Tensor) -> Tensor:
    """The real parts: the tensor itself where it is not complex."""
    node = input_node(input, "real")
    return _copied(parts.real(node)) if node.type.dtype.is_complex else input


def imag(input: Tensor) -> Tensor:
    """The imaginary parts. RuntimeError where there are none."""
    node = input_node(input, "imag")
    if not node.type.dtype.is_complex:
        raise RuntimeError("imag is not implemented for tensors with non-complex dtypes.")
    return _copied(parts.imag(node))


def view_as_real(input: Tensor) -> Tensor:
    """Both parts, in a new last dimension. RuntimeError for what is not complex."""
    node = input_node(input, "view_as_real")
    if not node.type.dtype.is_complex:
        raise RuntimeError("view_as_real is only supported for complex tensors")
    shape = (*node.type.shape, 1)
    halves = [reshape(p(node), shape) for p in (parts.real, parts.imag)]
    return _copied(cat_(*halves, arg=(len(shape) - 1,)))


def _angle(node: Node) -> Node:
    if node.type.dtype.is_complex:
        return ops.atan2(parts.imag(node), parts.real(node))
    x = to_float(node)
    turned = ops.where(ops.lt(x, 0.0), math.pi, ops.zeros_like(x))
    return ops.where(ops.isnan(x), x, turned)


def angle(input: Tensor, *, out: Tensor | None = None) -> Tensor:
    """The angle of every number with the positive half line, in (-pi, pi]: 0 or pi for a real
    one."""
    return deliver(_angle(input_node(input, "angle")), out)


def isreal(input: Tensor) -> Tensor:
    """Where the imaginary part is 0: everywhere in a tensor that is not complex."""
    node = input_node(input, "isreal")
    if node.type.dtype.is_complex:
        return wrap(ops.eq(parts.imag(node), 0.0))
    return wrap(ops.full(node.type.shape, True, dtypes.bool_, node.type.device))


# --- conjugated -----------------------------------------------------------------------------------


def conj(input: Tensor) -> Tensor:
    """The conjugates: the tensor itself where it is not complex."""
    node = input_node(input, "conj")
    return _copied(parts.conj(node)) if node.type.dtype.is_complex else input


def conj_physical(input: Tensor, *, out: Tensor | None = None) -> Tensor:
    """The conjugates, in memory of their own."""
    node = input_node(input, "conj_physical")
    if not node.type.dtype.is_complex:
        return input if out is None else deliver(node, out, exact=FOUND)
    return deliver(parts.conj(node), out, exact=FOUND)


def conj_physical_(self: Tensor) -> Tensor:
    """`conj_physical`, in place."""
    check_writable(self)
    node = node_of(self)
    return update(self, parts.conj(node)) if node.type.dtype.is_complex else self


def resolve_conj(input: Tensor) -> Tensor:
    """The tensor itself: a conjugate is computed where it is asked for."""
    return input


def is_conj(input: Tensor) -> bool:
    """False: no tensor is a conjugate that has yet to be computed."""
    return False


def resolve_neg(input: Tensor) -> Tensor:
    """The tensor itself: a negative is computed where it is asked for."""
    return input


def is_neg(input: Tensor) -> bool:
    """False: no tensor is a negative that has yet to be computed."""
    return False


def _sgn(node: Node) -> Node:
    """A complex number divided by its absolute value, 0 for 0; the sign of a real one."""
    if not node.type.dtype.is_complex:
        return keep_bool(ops.sign)(node)
    size = parts.modulus(node)
    zero = ops.eq(size, 0.0)
    return ops.where(zero, 0.0, ops.div(node, ops.cast(size, node.type.dtype)))


unary("sgn", _sgn, KEPT)
public(conj_physical, "conj_physical", inplace=conj_physical_)
for _function in (angle, isreal, conj, resolve_conj, is_conj, resolve_neg, is_neg):
    public(_function)
FUNCTIONS |= {f.__name__: f for f in (complex, polar, view_as_complex, view_as_real, real, imag)}
attach(real=property(real), imag=property(imag))
