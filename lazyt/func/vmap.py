"""vmap: a function of one example, applied to a batch of them at once.

    vmap(torch.dot)(x, y)        # x, y: float32[8, 3] -> float32[8]

The function runs once, on placeholders for one example, and the graph it leaves is batched
(`lazyt.ir.batching`); `levels` says what is refused meanwhile. Wording follows
https://docs.pytorch.org/docs/2.13/generated/torch.func.vmap.html.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from lazyt.dispatch import wrap
from lazyt.functions.joining import cat
from lazyt.ir.ops_shape import permute
from lazyt.state import node_of
from lazyt.tensor import Tensor, wrap_dim

from . import batching_of_functions  # noqa: F401 (the rule of autograd.Function)
from .levels import Level
from .trees import Spec, broadcast, flatten, unflatten

RANDOMNESS = ("error", "different", "same")


def name_of(func: Any) -> str:
    """What errors call a function."""
    return func.__name__ if hasattr(func, "__name__") else repr(func)


def vmap(
    func: Callable,
    in_dims: Any = 0,
    out_dims: Any = 0,
    randomness: str = "error",
    *,
    chunk_size: int | None = None,
) -> Callable:
    """A function that maps `func` over a dimension of its positional arguments.

    in_dims: which dimension of each argument is mapped (None: none), as nested as the arguments
    are. out_dims: where the batch goes in each output. randomness: whether random functions are an
    error, draw once ("same") or for each example ("different"). chunk_size: how many examples at a
    time. Keyword arguments are not mapped. Errors: ValueError for dimensions that do not fit,
    RuntimeError where the function depends on the values of an example.
    """
    if randomness not in RANDOMNESS:
        raise RuntimeError(
            f"Only allowed values for randomness are 'error', 'different', or 'same'. Got "
            f"{randomness}"
        )
    if not (chunk_size is None or chunk_size > 0):
        raise ValueError(f"vmap: chunk_size should be None or greater than 0. (got {chunk_size})")

    @functools.wraps(func)
    def mapped(*args: Any, **kwargs: Any) -> Any:
        size, dims, leaves, spec = _inputs(func, in_dims, args)
        if chunk_size is None or chunk_size >= size:
            outputs, batched, out_spec = _run(
                func, size, dims, leaves, spec, out_dims, randomness, kwargs
            )
        else:
            outputs, out_spec = _in_chunks(
                func, size, dims, leaves, spec, out_dims, randomness, kwargs, chunk_size
            )
        return unflatten(outputs, out_spec)

    return mapped


def _inputs(func: Any, in_dims: Any, args: tuple) -> tuple[int, list, list, Spec]:
    """The batch's size, the mapped dimension of every leaf, the leaves and how they stood."""
    given = f"vmap({name_of(func)}, in_dims={in_dims}, ...)(<inputs>): "
    if not isinstance(in_dims, (int, tuple)):
        raise ValueError(
            f"{given}expected `in_dims` to be int or a (potentially nested) tuple matching the "
            f"structure of inputs, got: {type(in_dims)}."
        )
    if not args:
        raise ValueError(
            f"vmap({name_of(func)})(<inputs>): got no inputs. Maybe you forgot to add inputs, or "
            "you are trying to vmap over a function with no inputs. The latter is unsupported."
        )
    leaves, spec = flatten(args)
    dims = broadcast(in_dims, spec)
    if dims is None:
        raise ValueError(
            f"{given}in_dims is not compatible with the structure of `inputs`. in_dims has "
            f"structure {flatten(in_dims)[1]} but inputs has structure {spec}."
        )
    sizes = []
    for k, (leaf, dim) in enumerate(zip(leaves, dims, strict=True)):
        if dim is None:
            continue
        if not isinstance(dim, int):
            raise ValueError(
                f"{given}Got in_dim={dim} for an input but in_dim must be either an integer "
                "dimension or None."
            )
        if not isinstance(leaf, Tensor):
            raise ValueError(
                f"{given}Got in_dim={dim} for an input but the input is of type {type(leaf)}. We "
                "cannot vmap over non-Tensor arguments, please use None as the respective in_dim"
            )
        rank = leaf.dim()
        if not -rank <= dim < rank:
            raise ValueError(
                f"{given}Got in_dim={dim} for some input, but that input is a Tensor of "
                f"dimensionality {rank} so expected in_dim to satisfy -{rank} <= in_dim < {rank}."
            )
        dims[k] = dim % rank
        sizes.append(leaf.shape[dims[k]])
    if not sizes:
        raise ValueError("vmap: Expected at least one Tensor to vmap over")
    if any(s != sizes[0] for s in sizes):
        raise ValueError(
            "vmap: Expected all tensors to have the same size in the mapped dimension, got sizes "
            f"{sizes} for the mapped dimension"
        )
    return sizes[0], dims, leaves, spec


def _run(
    func: Callable,
    size: int,
    dims: list,
    leaves: list,
    spec: Spec,
    out_dims: Any,
    randomness: str,
    kwargs: dict,
) -> tuple[list, list, Spec]:
    """One trace of the function: its outputs for all examples, where their batch lies, their
    structure."""
    with Level(size, randomness).opened() as trace:
        inside = [
            leaf if dim is None else wrap(trace.place(_first(node_of(leaf), dim)))
            for leaf, dim in zip(leaves, dims, strict=True)
        ]
        placed = [t._storage.node if d is not None else None for t, d in zip(inside, dims)]
        outputs, out_spec = flatten(func(*unflatten(inside, spec), **kwargs))
        where = _out_dims(func, out_dims, out_spec)
        found = [_output(func, trace, x, dim) for x, dim in zip(outputs, where, strict=True)]
        written = [
            (leaf, _back(trace.batched(node_of(t)), dim))
            for leaf, t, dim, node in zip(leaves, inside, dims, placed, strict=True)
            if node is not None and t._storage.node is not node
        ]
    for leaf, value in written:  # an in-place operation on an input is one on its memory
        leaf.copy_(wrap(value))
    return found, where, out_spec


def _first(node: Any, dim: int) -> Any:
    rank = len(node.type.shape)
    return permute(node, (dim, *(a for a in range(rank) if a != dim)))


def _back(node: Any, dim: int) -> Any:
    """The first axis moved to `dim`."""
    rest = list(range(1, len(node.type.shape)))
    return permute(node, (*rest[:dim], 0, *rest[dim:]))


def _out_dims(func: Any, out_dims: Any, spec: Spec) -> list:
    """The dimension of the batch in every output."""
    name = name_of(func)
    if not all(isinstance(d, (int, type(None))) for d in flatten(out_dims)[0]):
        raise ValueError(
            f"vmap({name}, ..., out_dims={out_dims}): `out_dims` must be an int, None or a python "
            "collection of ints representing where in the outputs the vmapped dimension should "
            "appear."
        )
    if isinstance(out_dims, tuple) and len(out_dims) == 1 and spec.kind is None:
        out_dims = out_dims[0]
    where = broadcast(out_dims, spec)
    if where is None:
        raise ValueError(
            f"vmap({name}, ..., out_dims={out_dims})(<inputs>): out_dims is not compatible with "
            f"the structure of `outputs`. out_dims has structure {flatten(out_dims)[1]} but "
            f"outputs has structure {spec}."
        )
    return where


def _output(func: Any, trace: Level, output: Any, dim: int | None) -> Any:
    """What every example's output is together."""
    name = name_of(func)
    if dim is None:
        if isinstance(output, Tensor) and trace.depends(node_of(output)):
            raise ValueError(
                f"vmap({name}, ...): `{name}` can not return a BatchedTensor when out_dim is None"
            )
        return output
    if not isinstance(output, Tensor):
        raise ValueError(
            f"vmap({name}, ...): `{name}` must only return Tensors, got type {type(output)}. Did "
            "you mean to set out_dims= to None for output?"
        )
    node = node_of(output)
    at = wrap_dim(dim, len(node.type.shape) + 1)
    return wrap(_back(trace.batched(node), at))


def _in_chunks(
    func: Callable,
    size: int,
    dims: list,
    leaves: list,
    spec: Spec,
    out_dims: Any,
    randomness: str,
    kwargs: dict,
    chunk: int,
) -> tuple[list, Spec]:
    """The outputs for `chunk` examples at a time, put behind each other."""
    parts = []
    for start in range(0, size, chunk):
        count = min(chunk, size - start)
        own = [
            leaf if dim is None else leaf.narrow(dim, start, count)
            for leaf, dim in zip(leaves, dims, strict=True)
        ]
        parts.append(_run(func, count, dims, own, spec, out_dims, randomness, kwargs))
    _, where, out_spec = parts[0]
    joined = [
        parts[0][0][k] if dim is None else cat([found[k] for found, _, _ in parts], dim)
        for k, dim in enumerate(where)
    ]
    return joined, out_spec
