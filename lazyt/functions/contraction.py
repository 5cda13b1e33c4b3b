"""tensordot and einsum: sums over products, as matrix products between permuted views.

    einsum("bij,bjk->bik", a, b)    permute both to (b, i, j) and (b, j, k), then one bmm
    einsum("ij->ji", a)             a view of `a`, as in PyTorch

Labels are handled one operand pair at a time from the left: a label that nothing later needs is
summed where it stands alone, and contracted where both operands have it.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from operator import index as as_int
from typing import Any

from lazyt.ir import dtypes
from lazyt.ir.types import broadcast_shapes

from ..dispatch import deliver, scalar_name, wrap
from ..registry import FUNCTIONS
from ..state import node_of, shape_of
from ..tensor import Tensor, wrap_dim
from .matrix_products import check_batches, compute_matmul, operands
from .parts import diagonal
from .views import permute, reshape, squeeze, unsqueeze

# --- tensordot ------------------------------------------------------------------------------------


def _contracted(dims: Any, left: int, right: int) -> tuple[list[int], list[int]]:
    if isinstance(dims, Tensor):
        dims = dims.tolist()
    if isinstance(dims, (tuple, list)):
        first, second = dims
        lists = [
            [as_int(d) for d in (s if isinstance(s, (tuple, list)) else [s])]
            for s in (first, second)
        ]
        return lists[0], lists[1]
    count = as_int(dims)
    if count < 0:
        raise RuntimeError(f"tensordot expects dims >= 0, but got dims={dims}")
    if count > min(left, right):
        raise RuntimeError(f"tensordot expects dims < ndim_a or ndim_b, but got dims={dims}")
    return list(range(-count, 0)), list(range(count))


OUT_OF_TENSORDOT = (
    "tensordot: Expected the output tensor to have dtype {want}, but got an output tensor with "
    "dtype {have}"
)


def tensordot(a: Tensor, b: Tensor, dims: Any = 2, out: Tensor | None = None) -> Tensor:
    """The sum of products over dimensions of both: the last `dims` of `a` with the first of `b`, or
    two lists of dimensions, pair by pair."""
    x, y = operands("tensordot", a=a, b=b)
    left, right = x.type.shape, y.type.shape
    first, second = _contracted(dims, len(left), len(right))
    if len(first) != len(second):
        raise RuntimeError("both dimension lists should have same length")
    if x.type.dtype is not y.type.dtype:
        raise RuntimeError("both inputs should have same dtype")
    axes = [wrap_dim(d, len(left)) for d in first], [wrap_dim(d, len(right)) for d in second]
    for i, (p, q) in enumerate(zip(*axes)):
        if left[p] == 1 and right[q] != 1:  # broadcast: its products are summed on the other side
            b = FUNCTIONS["sum"](b, q, keepdim=True, dtype=b.dtype)
        elif right[q] == 1 and left[p] != 1:
            a = FUNCTIONS["sum"](a, p, keepdim=True, dtype=a.dtype)
        elif left[p] != right[q]:
            raise RuntimeError(
                f"contracted dimensions need to match, but first has size {left[p]} in dim "
                f"{first[i]} and second has size {right[q]} in dim {second[i]}"
            )
    left, right = shape_of(a), shape_of(b)
    kept = (
        [i for i in range(len(left)) if i not in axes[0]],
        [i for i in range(len(right)) if i not in axes[1]],
    )
    size = prod(left[i] for i in axes[0])
    rows, columns = [left[i] for i in kept[0]], [right[i] for i in kept[1]]
    matrix = reshape(permute(a, (*kept[0], *axes[0])), (prod(rows), size))
    other = reshape(permute(b, (*axes[1], *kept[1])), (size, prod(columns)))
    if not rows and not columns:
        matrix, other = reshape(matrix, (size,)), reshape(other, (size,))
        product = FUNCTIONS["dot"](matrix, other)
    else:
        product = inner_product(matrix, other)
    if out is not None:
        return deliver(node_of(reshape(product, (*rows, *columns))), out, exact=OUT_OF_TENSORDOT)
    return _viewed(product, (*rows, *columns))


def _viewed(t: Tensor, shape: tuple[int, ...]) -> Tensor:
    return t.view(shape)


# --- einsum: the equation -------------------------------------------------------------------------

ELLIPSIS = "..."


def _letters(text: str, start: int, where: str) -> list[str]:
    """Subscripts of one term: letters, and at most one ellipsis."""
    labels: list[str] = []
    i = 0
    while i < len(text):
        c = text[i]
        if c == " ":
            i += 1
        elif c == ".":
            if ELLIPSIS in labels:
                raise RuntimeError(
                    f"einsum(): found '.' {where} for which an ellipsis was already found"
                )
            if text[i : i + 3] != ELLIPSIS:
                raise RuntimeError(f"einsum(): found '.' {where} that is not part of any ellipsis")
            labels.append(ELLIPSIS)
            i += 3
        elif c.isascii() and c.isalpha():
            labels.append(c)
            i += 1
        else:
            raise RuntimeError(
                f"einsum(): invalid subscript given at index {start + i} in the equation string, "
                "subscripts must be in [a-zA-Z]"
            )
    return labels


def _parsed(equation: str, count: int) -> tuple[list[list[str]], list[str] | None]:
    inputs, arrow, output = equation.partition("->")
    terms, start = [], 0
    for k, part in enumerate(inputs.split(",")):
        if k >= count:
            raise RuntimeError(
                "einsum(): fewer operands were provided than specified in the equation"
            )
        terms.append(_letters(part, start, f"for operand {k}"))
        start += len(part) + 1
    if len(terms) < count:
        raise RuntimeError("einsum(): more operands were provided than specified in the equation")
    if not arrow:
        return terms, None
    return terms, _letters(output, len(inputs) + 2, "for the output")


def _sublists(args: Sequence[Any]) -> tuple[list[Tensor], list[list[str]], list[str] | None]:
    """The interleaved form: operand, its labels, ..., and perhaps the output's labels."""

    def labels(sublist: Any) -> list[str]:
        out = []
        for s in sublist:
            if s is Ellipsis:
                out.append(ELLIPSIS)
                continue
            s = as_int(s)
            if not 0 <= s < 52:
                raise RuntimeError(
                    "einsum(): expected subscripts to be within range [0, 52), but got " + str(s)
                )
            out.append(chr(65 + s) if s < 26 else chr(71 + s))
        return out

    tensors = list(args[0 : len(args) // 2 * 2 : 2])
    terms = [labels(s) for s in args[1 : len(args) // 2 * 2 : 2]]
    return tensors, terms, labels(args[-1]) if len(args) % 2 else None


# --- einsum: shapes -------------------------------------------------------------------------------


def _spelled(tensors: list[Tensor], terms: list[list[str]]) -> tuple[list[list[Any]], int]:
    """The terms with every ellipsis spelled out as numbers, counted from the last dimension."""
    out: list[list[Any]] = []
    widest = 0
    for k, (t, term) in enumerate(zip(tensors, terms)):
        rank = len(shape_of(t))
        named = len(term) - (ELLIPSIS in term)
        if ELLIPSIS not in term and named != rank:
            raise RuntimeError(
                f"einsum(): the number of subscripts in the equation ({named}) does not match the "
                f"number of dimensions ({rank}) for operand {k} and no ellipsis was given"
            )
        if named > rank:
            raise RuntimeError(
                f"einsum(): the number of subscripts in the equation ({named}) is more than the "
                f"number of dimensions ({rank}) for operand {k}"
            )
        covered = rank - named
        widest = max(widest, covered)
        spelled: list[Any] = []
        for label in term:
            spelled += range(-covered, 0) if label == ELLIPSIS else [label]
        out.append(spelled)
    return out, widest


def _output(terms: list[list[Any]], output: list[str] | None, widest: int) -> list[Any]:
    """The labels of the result: as given, or the ellipsis and then what occurs once, sorted."""
    covered = list(range(-widest, 0))
    counts: dict[Any, int] = {}
    for term in terms:
        for label in term:
            counts[label] = counts.get(label, 0) + 1
    if output is None:
        once = sorted(s for s, n in counts.items() if isinstance(s, str) and n == 1)
        return covered + once
    result: list[Any] = []
    for label in output:
        if label == ELLIPSIS:
            result += covered
            continue
        if label in result:
            raise RuntimeError(
                f"einsum(): output subscript {label} appears more than once in the output"
            )
        if label not in counts:
            raise RuntimeError(
                f"einsum(): output subscript {label} does not appear in the equation for any input "
                "operand"
            )
        result.append(label)
    return result


def _without_repeats(t: Tensor, term: list[Any], k: int) -> tuple[Tensor, list[Any]]:
    """A label that one operand has twice stands for the diagonal of the two dimensions."""
    term = list(term)
    i = 0
    while i < len(term):
        if term[i] in term[:i]:
            j = term.index(term[i])
            shape = shape_of(t)
            if shape[i] != shape[j]:
                raise RuntimeError(
                    f"einsum(): subscript {term[i]} is repeated for operand {k} but the sizes "
                    f"don't match, {shape[i]} != {shape[j]}"
                )
            t = diagonal(t, 0, j, i)
            label = term[i]
            del term[i], term[j]
            term.append(label)
            i = 0
        else:
            i += 1
    return t, term


def _extents(tensors: list[Tensor], terms: list[list[Any]]) -> dict[Any, int]:
    sizes: dict[Any, int] = {}
    for k, (t, term) in enumerate(zip(tensors, terms)):
        for label, n in zip(term, shape_of(t)):
            have = sizes.get(label, 1)
            if n != have and n != 1 and have != 1:
                raise RuntimeError(
                    f"einsum(): subscript {label if isinstance(label, str) else ELLIPSIS} has size "
                    f"{n} for operand {k} which does not broadcast with previously seen size {have}"
                )
            sizes[label] = n if have == 1 else have
    return sizes


# --- einsum: the contraction ----------------------------------------------------------------------


def _arranged(t: Tensor, term: list[Any], order: list[Any]) -> Tensor:
    """Dimensions in the order of labels; a label the operand lacks gets an extent of 1."""
    have = [label for label in order if label in term]
    t = permute(t, tuple(term.index(label) for label in have))
    for i, label in enumerate(order):
        if label not in term:
            t = unsqueeze(t, i)
    return t


def _summed(t: Tensor, term: list[Any], needed: set) -> tuple[Tensor, list[Any]]:
    """Sums over the labels that nobody else needs."""
    axes = tuple(i for i, label in enumerate(term) if label not in needed)
    if not axes:
        return t, term
    return FUNCTIONS["sum"](t, axes, dtype=t.dtype), [s for s in term if s in needed]


def _dropped(t: Tensor, term: list[Any], label: Any) -> tuple[Tensor, list[Any]]:
    """Without a dimension of extent 1."""
    return squeeze(t, term.index(label)), [s for s in term if s != label]


def _contract(
    a: Tensor, left: list[Any], b: Tensor, right: list[Any], needed: set
) -> tuple[Tensor, list[Any]]:
    """One operand of two; labels that both have and nobody needs are contracted."""
    extent = dict(zip(left, shape_of(a)))
    other = dict(zip(right, shape_of(b)))
    common = [s for s in left if s in other]
    # An extent of 1 broadcasts, so that its label can be summed alone first.
    for s in [s for s in common if s not in needed and extent[s] != other[s]]:
        if extent[s] == 1:
            a, left = _dropped(a, left, s)
            b, right = _summed(b, right, {*right} - {s})
        else:
            b, right = _dropped(b, right, s)
            a, left = _summed(a, left, {*left} - {s})
        common.remove(s)
    contracted = [s for s in common if s not in needed]
    batch = [s for s in common if s in needed]
    rows = [s for s in left if s not in other or s not in common]
    columns = [s for s in right if s not in extent or s not in common]
    order = batch + rows + columns
    if not contracted:
        x, y = _arranged(a, left, order), _arranged(b, right, order)
        return FUNCTIONS["mul"](x, y), order
    x = permute(a, tuple(left.index(s) for s in batch + rows + contracted))
    y = permute(b, tuple(right.index(s) for s in batch + contracted + columns))
    count = len(batch)
    lead = broadcast_shapes(shape_of(x)[:count], shape_of(y)[:count])
    shapes = shape_of(x)[count : count + len(rows)], shape_of(y)[count + len(contracted) :]
    inner = prod(extent[s] for s in contracted)
    x = reshape(x, (*shape_of(x)[:count], prod(shapes[0]), inner))
    y = reshape(y, (*shape_of(y)[:count], inner, prod(shapes[1])))
    return _viewed(inner_products(x, y), (*lead, *shapes[0], *shapes[1])), order


def inner_product(a: Tensor, b: Tensor) -> Tensor:
    """The product of matrices that a contraction of two tensors comes down to. A function by
    itself, as autocast casts its operands."""
    return wrap(compute_matmul(node_of(a), node_of(b)))


def inner_products(a: Tensor, b: Tensor) -> Tensor:
    """The same of stacks of matrices, with the checks of `bmm`."""
    _check_scalar_types(a, b)
    check_batches(node_of(a), node_of(b), 0, (0, shape_of(b)[-2]))
    return wrap(compute_matmul(node_of(a), node_of(b)))


def _check_scalar_types(a: Tensor, b: Tensor) -> None:
    if a.dtype is not b.dtype:
        raise RuntimeError(
            f"expected scalar type {scalar_name(a.dtype)} but found {scalar_name(b.dtype)}"
        )


def einsum(*args: Any) -> Tensor:
    """Sums of products in Einstein's notation: `einsum(equation, *operands)`, or operands and lists
    of labels in turn. `...` stands for dimensions that broadcast.

    Errors: RuntimeError where the equation and the operands do not fit.
    """
    if len(args) < 2:
        raise ValueError(
            "einsum(): must specify the equation string and at least one operand, or at least one "
            "operand and its subscripts list"
        )
    if isinstance(args[0], Tensor):
        tensors, terms, output = _sublists(args)
    else:
        tensors = list(args[1:])
        if len(tensors) == 1 and isinstance(tensors[0], (tuple, list)):
            tensors = list(tensors[0])
        terms, output = _parsed(args[0], len(tensors))
    for t in tensors:
        operands("einsum", operands=t)
    spelled, widest = _spelled(tensors, terms)
    result = _output(spelled, output, widest)
    for k, (t, term) in enumerate(zip(tensors, spelled)):
        tensors[k], spelled[k] = _without_repeats(t, term, k)
    _extents(tensors, spelled)
    t, term = tensors[0], spelled[0]
    later = [{*result}.union(*spelled[k + 1 :]) for k in range(len(tensors))]
    start = t
    if len(tensors) == 1 and t.dtype.category < dtypes.FLOATING and set(term) - later[0]:
        t = start = t.to(dtypes.int64)  # integers add up in int64
    t, term = _summed(t, term, later[0])
    for k in range(1, len(tensors)):
        other, labels = _summed(tensors[k], spelled[k], {*term, *later[k]})
        t, term = _contract(t, term, other, labels, later[k])
        t, term = _summed(t, term, later[k])
    if term == result and t is not start:
        return t
    return permute(t, tuple(term.index(s) for s in result))


FUNCTIONS["tensordot"] = tensordot
FUNCTIONS["einsum"] = einsum
