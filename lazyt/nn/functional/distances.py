"""Distances and similarities of vectors that lie along a dimension.

    pairwise_distance([[0., 3.]], [[4., 0.]])    [5.0]
    cosine_similarity([[1., 0.]], [[1., 1.]])    [0.7071]
    pdist([[0.], [1.], [3.]])                    [1.0, 3.0, 2.0]

They follow the compositions that PyTorch documents, so that their gradients are those of the steps.
"""

from __future__ import annotations

import lazyt
from lazyt.dispatch import renamed, result_dtype, scalar_name, tagged, wrap
from lazyt.functions.norms import vector_norm
from lazyt.gradmode import no_grad
from lazyt.ir.dtypes import FLOATING
from lazyt.ir.tags import OUTPUT
from lazyt.registry import FUNCTIONS
from lazyt.state import node_of
from lazyt.tensor import Tensor

from .common import HALVES, check_floating, tensor_node


def pairwise_distance(
    x1: Tensor, x2: Tensor, p: float = 2.0, eps: float = 1e-6, keepdim: bool = False
) -> Tensor:
    """The p-norms of x1 - x2 + eps along the last dimension; (*, D) and (*, D): (*), or (*, 1)."""
    tensor_node(x1, "pairwise_distance", "x1")
    tensor_node(x2, "pairwise_distance", "x2", 2)
    rank = max(x1.dim(), x2.dim())
    norm = vector_norm(x1 - x2 + eps, p, rank - 1, keepdim)
    renamed(node_of(norm), "NormBackward1")
    return norm


def cosine_similarity(x1: Tensor, x2: Tensor, dim: int = 1, eps: float = 1e-8) -> Tensor:
    """x1 . x2 / (max(|x1|, eps) max(|x2|, eps)) along a dimension; the operands broadcast.

    Errors: RuntimeError unless the common dtype is a floating-point one.
    """
    a, b = tensor_node(x1, "cosine_similarity", "x1"), tensor_node(x2, "cosine_similarity", "x2", 2)
    dtype = result_dtype(a, b)
    if dtype.category != FLOATING:
        raise RuntimeError(
            f"expected common dtype to be floating point, yet common dtype is {scalar_name(dtype)}"
        )
    integers = [t.to(dtype) if not t.dtype.is_floating_point else t for t in (x1, x2)]
    x, y = lazyt.broadcast_tensors(*integers)
    # Copies, because they are limited in place: the gradient of a norm does not see its limit.
    norms = [vector_norm(t, 2, dim, keepdim=True).clone() for t in (x, y)]
    with no_grad():
        for norm in norms:
            norm.clamp_min_(eps)
    return ((x / norms[0]) * (y / norms[1])).sum(dim)


def pdist(input: Tensor, p: float = 2.0) -> Tensor:
    """The p-norms of the differences of every two rows of (N, D): N (N - 1) / 2 of them.

    Errors: RuntimeError for other ranks, dtypes that are not floating-point ones and p < 0.
    """
    node = tensor_node(input, "pdist")
    rank = len(node.type.shape)
    if rank != 2:
        raise RuntimeError(f"pdist only supports 2D tensors, got: {rank}D")
    if node.type.dtype.category != FLOATING:
        raise RuntimeError("pdist only supports floating-point dtypes")
    if p < 0:
        raise RuntimeError("pdist only supports non-negative p values")
    rows = node.type.shape[0]
    if rows > 1:
        check_floating(node, "pdist", HALVES)
    first, second = lazyt.triu_indices(rows, rows, 1, device=input.device)
    result = vector_norm(input[first] - input[second], p, 1)
    return wrap(tagged(node_of(result), "Pdist", node, keeps=(node, OUTPUT)))


for _function in (pairwise_distance, cosine_similarity, pdist):
    FUNCTIONS[_function.__name__] = _function
