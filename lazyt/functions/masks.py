"""Functions of masks: masked_select, masked_scatter, nonzero.

    masked_select([[1, 2], [3, 4]], [[True, False], [True, True]]) = [1, 3, 4]

How many elements come out depends on the values, so the mask is read at once.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from lazyt.ir import dtypes
from lazyt.ir.node import Node
from lazyt.ir.ops_device import common_device
from lazyt.ir.ops_index import index as index_op
from lazyt.ir.ops_index import index_put as index_put_op
from lazyt.ir.ops_shape import copy, expand, reshape
from lazyt.ir.types import broadcast_shapes

from ..dispatch import data_node, deliver, from_array, scalar_name, tagged
from ..layout import laid_out
from ..registry import public
from ..state import array_of, node_of
from ..tensor import Tensor
from .indices import check_apart, tensor
from .keys import OfMask
from .scattering import both_forms, cropped


def masked_select(input: Tensor, mask: Tensor, *, out: Tensor | None = None) -> Tensor:
    """The elements where `mask` holds, as a vector; reads the mask."""
    node, chosen = node_of(input), node_of(tensor(mask, "masked_select", "mask", 2))
    check_apart(out, input, mask)
    if chosen.type.dtype is not dtypes.bool_:
        raise RuntimeError("masked_select: expected BoolTensor for mask")
    device = common_device(node, chosen)
    shape = broadcast_shapes(chosen.type.shape, node.type.shape)
    found = np.flatnonzero(np.broadcast_to(array_of(mask), shape))
    total = 1
    for n in shape:
        total *= n
    flat = reshape(expand(node, shape), (total,))
    places = data_node(found, dtypes.int64, device)
    places.tag = OfMask(reshape(expand(chosen, shape), (total,)), 0)
    picked = index_op(flat, places, arg=((0,),))
    text = "masked_select(): self and result must have the same scalar type"
    return deliver(tagged(picked, "MaskedSelect", node), out, exact=text)


def compute_masked_scatter(self: Tensor, mask: Tensor, source: Tensor) -> Node:
    """`self` with the elements of `source`, in order, where `mask` holds; reads the mask."""
    node, value = node_of(self), node_of(tensor(source, "masked_scatter", "source", 3))
    chosen = node_of(tensor(mask, "masked_scatter", "mask", 2))
    if chosen.type.dtype is not dtypes.bool_:
        raise RuntimeError(
            "masked_scatter_ only supports boolean masks, but got mask with dtype "
            f"{scalar_name(chosen.type.dtype)}"
        )
    if value.type.dtype is not node.type.dtype:
        raise RuntimeError(
            "masked_scatter: expected self and source to have same dtypes but got"
            f"{scalar_name(node.type.dtype)} and {scalar_name(value.type.dtype)}"
        )
    device = common_device(node, chosen, value)
    shape = broadcast_shapes(node.type.shape, chosen.type.shape)
    extents = shape or (1,)
    found = np.nonzero(np.broadcast_to(array_of(mask), extents))
    count = len(found[0])
    if value.type.numel < count:
        raise RuntimeError("Number of elements of source < number of ones in mask")
    given = cropped(reshape(value, (value.type.numel,)), (count,))
    places = [data_node(f, dtypes.int64, device) for f in found]
    axes = tuple(range(len(extents)))
    result = index_put_op(expand(node, extents), given, *places, arg=(axes, False))
    if not shape:
        result = copy(reshape(result, ()))
    return tagged(result, "MaskedScatter", node, value)


def nonzero(input: Tensor, *, as_tuple: bool = False, out: Tensor | None = None) -> Any:
    """The indices of elements that are not zero, one a row, or one tensor a dimension.

    Reads the input.
    """
    if as_tuple and out is not None:
        raise TypeError("nonzero() got an unexpected keyword argument 'out'")
    array, device = array_of(tensor(input, "nonzero")), input._storage.node.type.device
    if as_tuple:
        found = np.nonzero(array if array.ndim else array.reshape(1))
        return tuple(from_array(np.ascontiguousarray(f), dtypes.int64, device) for f in found)
    if not array.ndim:
        rows = np.empty((1 if array else 0, 0), np.int64)
    else:
        rows = np.ascontiguousarray(np.argwhere(array), np.int64)
    places = data_node(rows, dtypes.int64, device)
    # PyTorch fills a row a dimension and returns the transpose.
    if out is None and rows.shape[1] > 1:
        return laid_out(places, (1, 0))
    text = "nonzero: Expected out tensor to have scalar type {want} but got scalar type{have}"
    return deliver(places, out, exact=text)


def argwhere(input: Tensor) -> Tensor:
    """`nonzero`, one index a row."""
    return nonzero(input)


both_forms("masked_scatter", compute_masked_scatter)
for _function in (masked_select, nonzero, argwhere):
    public(_function)
