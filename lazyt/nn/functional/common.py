"""What the functions of this package share: checked operands, names, arithmetic of half types."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from lazyt.dispatch import check_writable, scalar_name, tagged, type_name, update
from lazyt.functions.dims import numbered, owned
from lazyt.ir.dtypes import FLOATING, DType, bfloat16, float16
from lazyt.ir.node import LOCAL, Node
from lazyt.ir.ops_elementwise import cast
from lazyt.layout import like_operands
from lazyt.state import node_of
from lazyt.tensor import Tensor
from lazyt.warned import warn

__all__ = ["numbered", "owned"]
# Floating-point types that some of PyTorch's kernels for the CPU lack.
HALVES = (float16, bfloat16)
NOT_LEGACY = "size_average and reduce args will be deprecated, please use reduction='{}' instead."


def tensor_node(x: Any, name: str, argument: str = "input", position: int = 1) -> Node:
    """The node of a tensor argument; TypeError in PyTorch's words for anything else."""
    if isinstance(x, Tensor):
        return node_of(x)
    raise TypeError(
        f"{name}(): argument '{argument}' (position {position}) must be Tensor, not {type_name(x)}"
    )


def check_floating(node: Node, kernel: str, lacking: tuple[DType, ...] = ()) -> None:
    """NotImplementedError in PyTorch's words where a kernel takes floating-point types only, and
    on the CPU not those it is `lacking`."""
    dtype = node.type.dtype
    if dtype.category != FLOATING or (dtype in lacking and node.type.device == "cpu"):
        raise NotImplementedError(f"\"{kernel}\" not implemented for '{scalar_name(dtype)}'")


def check_has_batch(shape: tuple[int, ...], rank: int, output_size: Any) -> None:
    """ValueError in PyTorch's words where a list of sizes is as long as the input has dimensions,
    for windows over two dimensions or more."""
    if rank > 1 and isinstance(output_size, (tuple, list)) and len(shape) <= len(output_size):
        raise ValueError(f"Input dimension should be at least {len(output_size) + 1}")


def not_differentiable(function: str, **arguments: Node | None) -> None:
    """RuntimeError in PyTorch's words for an argument that asks for a gradient it cannot get."""
    for name, node in arguments.items():
        if node is not None and node.grad and LOCAL.grad:
            raise RuntimeError(
                f"The function '{function}' is not differentiable with respect to argument "
                f"'{name}'. This input cannot have requires_grad True."
            )


def in_compute_dtype(formula: Callable[..., Node], *nodes: Node) -> Node:
    """`formula(*nodes)`; of half types in float32, rounded once, as PyTorch's kernels do."""
    dtype = nodes[0].type.dtype
    if dtype.compute is dtype:
        return formula(*nodes)
    return cast(formula(*[cast(n, dtype.compute) for n in nodes]), dtype)


def elementwise(
    input: Any,
    inplace: bool,
    name: str,
    grad_name: str,
    formula: Callable[[Node], Node],
    steps: bool = False,
) -> Tensor:
    """The result of an elementwise function, new or written into `input`.

    steps: the function is made of straight pieces that `ops.where` chooses from.
    """
    node = tensor_node(input, name)
    if inplace:
        check_writable(input)
    keeps = () if inplace else (node,)
    result = tagged(in_compute_dtype(formula, node), grad_name, node, keeps=keeps)
    if steps and result.grad:
        result.tag.steps = True
    return update(input, result) if inplace else like_operands(result, input)


def extents(value: Any, rank: int) -> tuple[int, ...]:
    """A number once a dimension, or the given numbers."""
    if isinstance(value, (tuple, list)):
        if len(value) == 1:
            return (int(value[0]),) * rank
        return tuple(int(v) for v in value)
    return (int(value),) * rank


def reduction_of(size_average: bool | None, reduce: bool | None, reduction: str) -> str:
    """The reduction that the two old arguments ask for, with PyTorch's warning."""
    if size_average is None and reduce is None:
        return reduction
    if reduce is False:
        chosen = "none"
    else:
        chosen = "sum" if size_average is False else "mean"
    warn(NOT_LEGACY.format(chosen))
    return chosen
