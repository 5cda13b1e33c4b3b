"""Rows of tables looked up by number: embedding, one_hot."""

from __future__ import annotations

from lazyt.dispatch import known, scalar_name, tagged, wrap
from lazyt.functions.views import _legacy_name
from lazyt.ir.dtypes import int32, int64
from lazyt.ir.node import LOCAL, Node
from lazyt.ir.numerics.nn import check_rows
from lazyt.ir.ops_constant import arange_, full_like, typed
from lazyt.ir.ops_elementwise import (
    abs_,
    add,
    cast,
    div,
    eq,
    full,
    gt,
    logical_and,
    mul,
    pow_,
    where,
)
from lazyt.ir.ops_nn import row_pick, row_put
from lazyt.ir.ops_reduce import norm2, sum_
from lazyt.ir.ops_shape import replaced, reshape
from lazyt.registry import FUNCTIONS
from lazyt.state import array_of, check_writable, node_of, of_an_example, write
from lazyt.tensor import Tensor

from .common import tensor_node


def embedding(
    input: Tensor,
    weight: Tensor,
    padding_idx: int | None = None,
    max_norm: float | None = None,
    norm_type: float = 2.0,
    scale_grad_by_freq: bool = False,
    sparse: bool = False,
) -> Tensor:
    """The rows of weight (R, D) that the integers of input (*) name: (*, D).

    padding_idx: a row that receives no gradient. max_norm: rows that are named and have a larger
    norm are scaled down in place first. Gradients are dense, whatever `sparse` says.
    Errors: IndexError for a number that is no row, RuntimeError for an index that is not int32 or
    int64.
    """
    index, w = tensor_node(input, "embedding", "indices", 2), node_of(weight)
    rows = w.type.shape[0] if w.type.shape else 0
    if padding_idx is not None:
        if not -rows <= padding_idx < rows:
            raise AssertionError("Padding_idx must be within num_embeddings")
        padding_idx %= rows
    if len(w.type.shape) != 2:
        raise RuntimeError("'weight' must be 2-D")
    if index.type.dtype not in (int64, int32):
        raise RuntimeError(
            "Expected tensor for argument #1 'indices' to have one of the following scalar types: "
            f"Long, Int; but got {_legacy_name(input)} instead (while checking arguments for "
            "embedding)"
        )
    rows_named = known(index)
    if rows_named is not None:
        check_rows(rows_named, rows)
    index = cast(index, int64)
    if max_norm is not None:
        renormalize(weight, index, float(max_norm), float(norm_type))
        w = node_of(weight)
    if scale_grad_by_freq and w.grad:
        w = shared_by_frequency(w, index)
    return wrap(tagged(row_pick(w, index, arg=(padding_idx,)), "Embedding", w))


def renormalize(weight: Tensor, index: Node, max_norm: float, p: float) -> None:
    """Scales the named rows whose p-norm is larger than max_norm down to it, in place."""
    if not weight.dtype.is_floating_point:
        raise RuntimeError(
            "norm(): input dtype should be either floating point or complex. Got "
            f"{scalar_name(weight.dtype)} instead."
        )
    before, LOCAL.grad = LOCAL.grad, False
    try:
        check_writable(weight)
        w = node_of(weight)
        rows, dtype = w.type.shape[0], w.type.dtype
        named = gt(_times_named(w, index), 0.0)
        if p == 2.0:
            norm = norm2(w, arg=((1,), False))
        else:
            norm = pow_(sum_(pow_(abs_(w), p), arg=((1,), False)), 1.0 / p)
        down = div(full((rows,), max_norm, dtype, w.type.device), add(norm, 1e-7))
        scale = where(logical_and(named, gt(norm, max_norm)), down, 1.0)
        write(weight, mul(w, reshape(scale, (rows, 1))))
    finally:
        LOCAL.grad = before


def shared_by_frequency(w: Node, index: Node) -> Node:
    """`w`, whose rows receive their gradient divided by how often they are named."""
    count = _times_named(w, index)
    share = where(gt(count, 0.0), div(full_like(count, 1), count), 0.0)
    return replaced(mul(w, reshape(share, (w.type.shape[0], 1))), w)


def _times_named(w: Node, index: Node) -> Node:
    """How often `index` names each row of `w`, in its dtype."""
    once = full(index.type.shape, 1, w.type.dtype, w.type.device)
    return row_put(once, index, arg=(w.type.shape[0], None))


def one_hot(tensor: Tensor, num_classes: int = -1) -> Tensor:
    """Integers (*) as rows of zeros with a one: (*, num_classes), in int64.

    Without num_classes there are as many as the largest value needs, which reads the values.
    Errors: RuntimeError for a value that is no class.
    """
    node = tensor_node(tensor, "one_hot")
    if node.type.dtype is not int64:
        raise RuntimeError("one_hot is only applicable to index tensor of type LongTensor.")
    if not node.type.numel:
        if num_classes <= 0:
            raise RuntimeError("Can not infer total number of classes from empty tensor.")
        return wrap(full(node.type.shape + (num_classes,), 0, int64, node.type.device))
    if num_classes == -1 or not of_an_example(node):
        values = array_of(tensor)
        if int(values.min()) < 0:
            raise RuntimeError("Class values must be non-negative.")
        top = int(values.max())
        if num_classes == -1:
            num_classes = top + 1
        elif top >= num_classes:
            raise RuntimeError("Class values must be smaller than num_classes.")
    shape = node.type.shape + (num_classes,)
    classes = arange_(0, 1, arg=typed((num_classes,), int64, node.type.device))
    hit = eq(reshape(node, node.type.shape + (1,)), classes)
    assert hit.type.shape == shape
    return wrap(cast(hit, int64))


FUNCTIONS["embedding"] = lambda weight, indices, padding_idx=-1, *more: embedding(
    indices, weight, None if padding_idx < 0 else padding_idx
)
