"""What reductions, scans and sorts share: dimension arguments, names of grad_fns, named results.

    axes_of((-1, 0), 3, "sum")    # (0, 2)
    axes_of(None, 3, "sum")       # (0, 1, 2)

`dim` is an int or a tuple, and NumPy's words `axis` and `keepdims` stand for `dim` and `keepdim`.
"""

from __future__ import annotations

from collections.abc import Callable
from operator import index as as_int
from typing import Any

from lazyt.ir import ops_reduce as red
from lazyt.ir.node import Node
from lazyt.ir.ops_shape import copy, reshape

from .. import return_types
from ..dispatch import deliver, fit_exactly, tagged, type_name
from ..layout import like_operands
from ..registry import FUNCTIONS, also_called
from ..state import node_of
from ..tensor import Tensor, wrap_dim

Axes = tuple[int, ...]

# --- publishing -----------------------------------------------------------------------------------


def numpy_words(function: Callable) -> Callable:
    """Lets `axis` and `keepdims` stand for `dim` and `keepdim`."""
    return also_called(function, axis="dim", keepdims="keepdim")


def publish(function: Callable, *names: str) -> Callable:
    """Makes a reduction public as a function and a method, with NumPy's words."""
    called = numpy_words(function)
    for name in names or (function.__name__,):
        FUNCTIONS[name] = called
        setattr(Tensor, name, called)
    return called


def input_node(input: Any, name: str) -> Node:
    """The node of the tensor a function reduces; TypeError for anything else."""
    if not isinstance(input, Tensor):
        raise TypeError(
            f"{name}(): argument 'input' (position 1) must be Tensor, not {type_name(input)}"
        )
    return node_of(input)


def numbered(
    node: Node, grad_name: str, *inputs: Node, saves: bool = True, keeps: tuple[Node, ...] = ()
) -> Node:
    """`tagged`, with the whole name of the grad_fn ("SumBackward1")."""
    tagged(node, "", *inputs, saves=saves, keeps=keeps)
    if node.grad:
        node.tag.name = grad_name
    return node


# --- dimensions -----------------------------------------------------------------------------------


def one_dim(dim: Any, rank: int, name: str, place: str = " (position 1)") -> int:
    """A wrapped dimension; TypeError for what is no integer."""
    if dim.__class__ is not int:
        if isinstance(dim, (tuple, list, str, float, bool)) or dim is None:
            raise TypeError(
                f"{name}(): argument 'dim'{place} must be int, not {type(dim).__name__}"
            )
        dim = as_int(dim)
    return wrap_dim(dim, rank)


def overloaded_dim(dim: Any, rank: int, name: str) -> int:
    """`one_dim` of a function with several forms, whose TypeError names none of them."""
    if isinstance(dim, (tuple, list, str, float, bool)):
        raise TypeError(
            f"{name}() received an invalid combination of arguments - got ({type(dim).__name__}), "
            "but expected one of:"
        )
    return one_dim(dim, rank, name)


def axes_of(dim: Any, rank: int, name: str) -> Axes:
    """The reduced axes, ascending; all of them for None and for an empty tuple.

    Errors: IndexError for a dimension out of range, RuntimeError for one named twice.
    """
    if dim is None:
        return tuple(range(rank))
    if dim.__class__ is int:
        axis = wrap_dim(dim, rank)
        return (axis,) if rank else ()
    if not isinstance(dim, (tuple, list)):
        if isinstance(dim, (str, float, bool)):
            raise TypeError(
                f"{name}() received an invalid combination of arguments - got "
                f"({type(dim).__name__}), but expected one of:"
            )
        return axes_of(as_int(dim), rank, name)
    if not len(dim):
        return tuple(range(rank))
    seen: set[int] = set()
    for d in dim:
        axis = wrap_dim(as_int(d), rank)
        if axis in seen:
            raise RuntimeError(f"dim {axis} appears multiple times in the list of dims")
        seen.add(axis)
    return tuple(sorted(seen)) if rank else ()


def check_keepdim(keepdim: Any, name: str) -> None:
    """TypeError in PyTorch's words where `keepdim` is no bool."""
    if keepdim.__class__ is not bool:
        raise TypeError(
            f"{name}(): argument 'keepdim' (position 2) must be bool, not {type(keepdim).__name__}"
        )


def count_of(node: Node, axes: Axes) -> int:
    """How many elements every result is made of."""
    count = 1
    for axis in axes:
        count *= node.type.shape[axis]
    return count


def check_nonempty(node: Node, dim: Any, axes: Axes, name: str, whole: type = RuntimeError) -> None:
    """PyTorch's errors where a reduction without an identity meets no elements."""
    shape = node.type.shape
    if node.type.numel:
        return
    if dim is None or dim == () or dim == []:
        hint = (
            " Specify the reduction dim with the 'dim' argument." if whole is RuntimeError else ""
        )
        raise whole(
            f"{name}(): Expected reduction dim to be specified for input.numel() == 0.{hint}"
        )
    for axis in axes:
        if shape[axis] == 0:
            raise IndexError(f"{name}(): Expected reduction dim {axis} to have non-zero size.")


def at_least_vector(node: Node) -> Node:
    """A 0-d node as a vector of one; others as they are."""
    return node if node.type.shape else reshape(node, (1,))


def owned(node: Node) -> Node:
    """A node that may be a storage's: what comes out of a view operation is copied."""
    return copy(node) if node.op.view else node


# --- results --------------------------------------------------------------------------------------


def selected(op: Any, node: Node, axis: int, keepdim: bool, grad_name: str, *more: Any) -> tuple:
    """Values and indices of a selection along one axis, as nodes that own their memory."""
    flat = not node.type.shape
    pair = op(at_least_vector(node), arg=((axis,), keepdim and not flat, *more))
    values = copy(red.get(pair, 0))
    return numbered(values, grad_name, node, saves=False), copy(red.get(pair, 1))


def deliver_pair(name: str, nodes: tuple[Node, Node], out: Any, *like: Any) -> Any:
    """The named result of two nodes, written into the tensors of `out` where they are given.

    like: the operands that new results are laid out like; none where they are row-major.
    """
    if out is None:
        return getattr(return_types, name)(tuple(like_operands(node, *like) for node in nodes))
    for node, target in zip(nodes, out):
        fit_exactly(node.type.dtype, target.dtype)
    pair = deliver(nodes[0], out[0], name), deliver(nodes[1], out[1], name)
    return getattr(return_types, name + "_out")(pair)
