"""Derivatives of functions: grad, vjp, jvp and the matrices made of them.

    grad(lambda x: (x**3).sum())(torch.tensor([2.0]))       # tensor([12.])
    vmap(grad(loss), in_dims=(None, 0))(w, samples)         # a gradient for each sample

All of them build graphs, so that they nest in each other and in `vmap`. The forward-mode ones are
reverse mode applied twice: the vjp is linear in its cotangent, and its own vjp is the jvp; what
would be computed on the way alone is not wanted by anybody and so is not computed. Wording follows
https://docs.pytorch.org/docs/2.13/func.api.html.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

from lazyt.autograd.engine import grad as autograd_grad
from lazyt.dispatch import wrap
from lazyt.functions.joining import cat
from lazyt.functions.ranges import arange
from lazyt.gradmode import enable_grad
from lazyt.ir.ops_elementwise import zeros_like
from lazyt.state import node_of
from lazyt.tensor import Tensor

from .inputs import Inputs, tracking
from .trees import Spec, flatten, tree_map, unflatten
from .vmap import vmap

Argnums = int | tuple[int, ...]


# --- which arguments ------------------------------------------------------------------------------


def _chosen(argnums: Argnums, args: tuple) -> tuple[int, ...]:
    """The positions that are differentiated by; RuntimeError for what are none."""
    if not isinstance(argnums, (int, tuple)):
        raise RuntimeError(f"argnums must be int or Tuple[int, ...], got: {type(argnums)}")
    numbers = argnums if isinstance(argnums, tuple) else (argnums,)
    if not numbers:
        raise RuntimeError("argnums must be non-empty")
    for k in numbers:
        if not isinstance(k, int):
            raise RuntimeError(f"argnums must be int or Tuple[int, ...], got: {argnums}")
        if not -len(args) <= k < len(args):
            raise RuntimeError(f"Got argnum={k}, but only {len(args)} positional inputs")
    places = tuple(k % len(args) for k in numbers)
    if len(set(places)) != len(places):
        raise RuntimeError(f"argnums elements must be unique, got {argnums}")
    return places


def _with(args: tuple, places: tuple[int, ...], values: Sequence) -> tuple:
    changed = list(args)
    for place, value in zip(places, values):
        changed[place] = value
    return tuple(changed)


def _as_asked(argnums: Argnums, trees: tuple) -> Any:
    return trees if isinstance(argnums, tuple) else trees[0]


def _without_aux(output: Any, name: str) -> tuple[Any, Any]:
    if not (isinstance(output, tuple) and len(output) == 2):
        raise RuntimeError(
            f"{name}: output of function f should be a tuple: (output, aux) if has_aux is True"
        )
    return output


# --- gradients ------------------------------------------------------------------------------------


def grad_and_value(func: Callable, argnums: Argnums = 0, has_aux: bool = False) -> Callable:
    """A function that gives the gradient of `func`, which returns a scalar, and its value.

    argnums: the arguments (containers of tensors) to differentiate by. has_aux: `func` returns
    (value, aux), and the function (gradient, (value, aux)). Errors: RuntimeError where the value
    is no scalar tensor.
    """

    @functools.wraps(func)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        name = "grad_and_value(f)(*args)"
        places = _chosen(argnums, args)
        outer = tracking()
        with enable_grad():
            inputs = Inputs(tuple(args[k] for k in places), outer)
            output, aux = func(*_with(args, places, inputs.tree), **kwargs), None
            if has_aux:
                output, aux = _without_aux(output, name)
            if not isinstance(output, Tensor):
                raise RuntimeError(
                    f"{name}: Expected f(*args) to return a Tensor, got {type(output)}"
                )
            if output.dim():
                raise RuntimeError(
                    f"{name}: Expected f(*args) to return a scalar Tensor, got tensor with "
                    f"{output.dim()} dims. Maybe you wanted to use the vjp or jacrev APIs instead?"
                )
            others = inputs.others([output])
            found = unflatten(inputs.pull([output], [None], others), inputs.spec)
        gradients = _as_asked(argnums, found)
        value = inputs.outside(output, others)
        return gradients, (value, inputs.outside(aux, others)) if has_aux else value

    return wrapper


def grad(func: Callable, argnums: Argnums = 0, has_aux: bool = False) -> Callable:
    """A function that gives the gradient of `func`; with `has_aux` (gradient, aux).

    See `grad_and_value`.
    """
    both = grad_and_value(func, argnums, has_aux)

    @functools.wraps(func)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        found, value = both(*args, **kwargs)
        return (found, value[1]) if has_aux else found

    return wrapper


# --- products with the Jacobian -------------------------------------------------------------------


def _all_tensors(tree: Any, name: str) -> list[Tensor]:
    leaves, _ = flatten(tree)
    for leaf in leaves:
        if not isinstance(leaf, Tensor):
            raise RuntimeError(
                f"{name}: expected f(*primals) to return only tensors, got unsupported type "
                f"{type(leaf)}"
            )
    return leaves


def vjp(func: Callable, *primals: Any, has_aux: bool = False) -> tuple:
    """(output, vjp_fn), with has_aux (output, vjp_fn, aux): `vjp_fn(cotangents)` multiplies with
    the transposed Jacobian of `func` at `primals` and gives a tuple, an entry for each of them.

    Errors: RuntimeError where the output is not all tensors, or cotangents have another structure.
    """
    output, pull, aux, _ = _pulling(func, primals, has_aux)

    def vjp_fn(cotangents: Any, retain_graph: bool = True, create_graph: bool | None = None) -> Any:
        return pull(cotangents)

    return (output, vjp_fn, aux) if has_aux else (output, vjp_fn)


def _pulling(
    func: Callable, primals: tuple, has_aux: bool = False
) -> tuple[Any, Callable, Any, Spec]:
    """The output as the caller gets it, a function that pulls cotangents back, aux, and the
    output's structure."""
    name = "vjp(f, *primals)"
    outer = tracking()
    with enable_grad():
        inputs = Inputs(primals, outer)
        output, aux = func(*inputs.tree), None
        if has_aux:
            output, aux = _without_aux(output, name)
        outputs = _all_tensors(output, name)
        spec = flatten(output)[1]
        others = inputs.others(outputs)

    def pull(cotangents: Any) -> tuple:
        leaves, given = flatten(cotangents)
        if given != spec:
            raise RuntimeError(
                "Expected pytree structure of cotangents to be the same as pytree structure of "
                f"outputs to the function. cotangents: {given.pattern()}, primal output: "
                f"{spec.pattern()}"
            )
        create = tracking() and (others or any(c.requires_grad for c in leaves))
        found = inputs.pull(outputs, leaves, create)
        return unflatten(found, inputs.spec)

    return inputs.outside(output, others), pull, inputs.outside(aux, others), spec


JVP = "jvp(f, primals, tangents)"
INDEPENDENT = (
    "jvp(f, primals, tangents, strict=True): The output of f is independent of the inputs. This is "
    "not allowed with strict=True."
)


def jvp(
    func: Callable, primals: Any, tangents: Any, *, strict: bool = False, has_aux: bool = False
) -> tuple:
    """(output, tangents of the output), with has_aux also aux: the Jacobian of `func` at the
    tuple `primals` times `tangents`.

    Errors: RuntimeError where primals and tangents differ in structure, shape or dtype; with
    `strict` also where an output does not depend on the primals.
    """
    if not isinstance(primals, tuple):
        raise RuntimeError(
            f"{JVP}: Expected primals to be a tuple. E.g. it should be valid to call f(*primals)."
        )
    leaves, spec = flatten(primals)
    along, given = flatten(tangents)
    if spec != given:
        raise RuntimeError(
            f"{JVP}: Expected primals and tangents to have the same python structure. For example, "
            "if primals is a tuple of 3 tensors, tangents also must be. Got primals with structure "
            f"{spec} and tangents with structure {given}"
        )
    for tree, what in ((leaves, "primals"), (along, "tangents")):
        if not tree:
            raise RuntimeError(f"{JVP}: Expected {what} to contain at least one Tensor.")
        if not all(isinstance(t, Tensor) for t in tree):
            raise RuntimeError(f"{JVP}: Expected {what} to contain only tensors")
    for x, t in zip(leaves, along):
        check_tangent(x, t)
    outer = tracking()
    with enable_grad():
        inputs = Inputs(primals, outer)
        output, aux = func(*inputs.tree), None
        if has_aux:
            output, aux = _without_aux(output, JVP)
        outputs = _all_tensors(output, JVP)
        if strict and not all(map(inputs.lead_to, outputs)):
            raise RuntimeError(INDEPENDENT)
        others = inputs.others(outputs)
        tracked = others or outer and any(t.requires_grad for t in along)
        moved = pushed(outputs, inputs.tensors, along, tracked)
    result = inputs.outside(output, others), unflatten(moved, flatten(output)[1])
    return (*result, inputs.outside(aux, others)) if has_aux else result


def check_tangent(x: Tensor, tangent: Tensor) -> None:
    """PyTorch's errors for a tangent of another shape or dtype than what it is a tangent of."""
    if x.shape != tangent.shape:
        raise RuntimeError(
            "Trying to set a forward gradient that has a different size than that of the original "
            f"Tensor, this is not supported. Tensor is of size {list(x.shape)} while the given "
            f"forward gradient is of size {list(tangent.shape)}."
        )
    if x.dtype is not tangent.dtype:
        raise RuntimeError(
            f"Expected tangent of dtype {x.dtype} for a primal of that dtype, but got "
            f"{tangent.dtype}"
        )


def pushed(
    outputs: Sequence[Tensor], inputs: Sequence[Tensor], tangents: Sequence[Tensor], create: bool
) -> list[Tensor]:
    """The tangents of `outputs` where `inputs`, which they were computed from, have `tangents`.

    The cotangents of the inputs are a linear function of those of the outputs; the gradient of
    that function in the direction of the tangents is the jvp.
    """
    zeros = [wrap(zeros_like(node_of(o))) for o in outputs]
    tracked = [o for o in outputs if o.requires_grad]
    if not tracked:
        return zeros
    dummies = [wrap(zeros_like(node_of(o))).requires_grad_() for o in tracked]
    pulled = autograd_grad(
        tracked, inputs, dummies, retain_graph=True, create_graph=True, allow_unused=True
    )
    pairs = [(g, t) for g, t in zip(pulled, tangents) if g is not None and g.requires_grad]
    if not pairs:
        return zeros
    found = autograd_grad(
        [g for g, _ in pairs],
        dummies,
        [t for _, t in pairs],
        retain_graph=True,
        create_graph=create,
        allow_unused=True,
    )
    of = {id(o): g for o, g in zip(tracked, found) if g is not None}
    return [of.get(id(o), z) for o, z in zip(outputs, zeros)]


# --- Jacobians ------------------------------------------------------------------------------------


def _basis(tensors: Sequence[Tensor], start: int, stop: int) -> list[Tensor]:
    """Rows [start, stop) of the identity over all elements of `tensors`, cut up as they are."""
    total = sum(t.numel() for t in tensors)
    first = tensors[0]
    rows = arange(start, stop, device=first.device).unsqueeze(1)
    unit = rows == arange(total, device=first.device)
    pieces, at = [], 0
    for t in tensors:
        piece = unit.narrow(1, at, t.numel()).to(t.dtype)
        pieces.append(piece.reshape(stop - start, *t.shape))
        at += t.numel()
    return pieces


def rows_of_identity(
    function: Callable, tensors: Sequence[Tensor], chunk_size: int | None = None
) -> list[Tensor]:
    """`function` of every row of the identity over `tensors`: a tensor for each of its results,
    whose first dimension counts the rows."""
    total = sum(t.numel() for t in tensors)
    step = total if chunk_size is None else chunk_size
    parts = []
    for start in range(0, max(total, 1), max(step, 1)):
        basis = _basis(tensors, start, min(start + step, total))
        parts.append(vmap(lambda *row: tuple(function(row)), randomness="same")(*basis))
    return [found[0] if len(found) == 1 else cat(list(found)) for found in zip(*parts)]


def jacrev(
    func: Callable,
    argnums: Argnums = 0,
    *,
    has_aux: bool = False,
    chunk_size: int | None = None,
    _preallocate_and_copy: bool = False,
) -> Callable:
    """A function that gives the Jacobian of `func`, row by row in reverse mode.

    For an output of shape s and an argument of shape t it has shape s + t; containers of outputs
    hold containers of arguments. chunk_size: how many rows at a time. Errors: those of `vjp`.
    """
    if chunk_size is not None and chunk_size <= 0:
        raise ValueError("jacrev: `chunk_size` should be greater than 0.")

    @functools.wraps(func)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        places = _chosen(argnums, args)
        primals = tuple(args[k] for k in places)
        partial = lambda *changed: func(*_with(args, places, changed), **kwargs)
        output, pull, aux, spec = _pulling(partial, primals, has_aux)
        outputs = flatten(output)[0]
        leaves, given = flatten(primals)
        pulled = rows_of_identity(
            lambda row: flatten(pull(unflatten(row, spec)))[0], outputs, chunk_size
        )
        blocks, at = [], 0
        for o in outputs:
            own = [
                p.narrow(0, at, o.numel()).reshape((*o.shape, *x.shape))
                for p, x in zip(pulled, leaves)
            ]
            blocks.append(_as_asked(argnums, unflatten(own, given)))
            at += o.numel()
        result = unflatten(blocks, spec)
        return (result, aux) if has_aux else result

    return wrapper


def jacfwd(
    func: Callable,
    argnums: Argnums = 0,
    has_aux: bool = False,
    *,
    randomness: str = "error",
    chunk_size: int | None = None,
) -> Callable:
    """A function that gives the Jacobian of `func`, column by column in forward mode.

    Its shape is that of `jacrev`. randomness: accepted; `func` runs once, not once a column, so
    that its draws are those of one call. Errors: those of `jvp`.
    """

    @functools.wraps(func)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        places = _chosen(argnums, args)
        primals = tuple(args[k] for k in places)
        leaves, given = flatten(primals)
        outer = tracking()
        with enable_grad():
            inputs = Inputs(primals, outer)
            output, aux = func(*_with(args, places, inputs.tree), **kwargs), None
            if has_aux:
                output, aux = _without_aux(output, "jacfwd")
            outputs = _all_tensors(output, JVP)
            others = inputs.others(outputs)
            columns = rows_of_identity(
                lambda row: pushed(outputs, inputs.tensors, row, others), leaves, chunk_size
            )
        blocks = []
        for o, found in zip(outputs, columns):
            own, at = [], 0
            for x in leaves:
                block = found.narrow(0, at, x.numel()).movedim(0, -1)
                own.append(block.reshape((*o.shape, *x.shape)))
                at += x.numel()
            blocks.append(_as_asked(argnums, unflatten(own, given)))
        result = unflatten(blocks, flatten(output)[1])
        return (result, inputs.outside(aux, others)) if has_aux else result

    return wrapper


def hessian(func: Callable, argnums: Argnums = 0) -> Callable:
    """A function that gives the second derivatives of `func`: `jacfwd` of `jacrev`."""
    return jacfwd(jacrev(func, argnums), argnums)


def linearize(func: Callable, *primals: Any) -> tuple[Any, Callable]:
    """(output, jvp_fn): the output of `func` and a function of tangents that multiplies with its
    Jacobian there."""
    outer = tracking()
    with enable_grad():
        inputs = Inputs(primals, outer)
        output = func(*inputs.tree)
        outputs = _all_tensors(output, "linearize(f, *primals)")
        others = inputs.others(outputs)

    def jvp_fn(*tangents: Any) -> Any:
        leaves, given = flatten(tangents)
        if given != inputs.spec:
            raise RuntimeError(
                "Expected the tangents to have the structure of the primals, "
                f"{inputs.spec.pattern()}, but got {given.pattern()}"
            )
        with enable_grad():
            found = pushed(outputs, inputs.tensors, leaves, others)
        return unflatten(found, flatten(output)[1])

    return inputs.outside(output, others), jvp_fn


def functionalize(func: Callable, *, remove: str = "mutations") -> Callable:
    """`func` itself: what lazyt traces is without mutations as it is."""
    if remove not in ("mutations", "mutations_and_views"):
        raise RuntimeError(
            f"functionalize(f, remove='mutations'): received invalid argument for remove={remove}."
            " Valid options are:\n     remove='mutations': removes mutating operations, but leaves "
            "views\n     remove='mutations_and_views': removes both"
        )
    return func


__all__ = [
    "functionalize",
    "grad",
    "grad_and_value",
    "hessian",
    "jacfwd",
    "jacrev",
    "jvp",
    "linearize",
    "tree_map",
    "vjp",
]
