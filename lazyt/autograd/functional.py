"""torch.autograd.functional: derivatives of a function at inputs, as matrices and as products.

    jacobian(lambda x: x**2, torch.tensor([1.0, 2.0]))       # tensor([[2., 0.], [0., 4.]])

Inputs and outputs are a tensor or a tuple of tensors, and so are results. `create_graph` lets the
result be differentiated by the inputs, `strict` raises where something does not depend on an input
instead of giving zeros. Semantics and wording follow
https://docs.pytorch.org/docs/2.13/autograd.html#functional-higher-level-api.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from lazyt.functions.joining import cat
from lazyt.gradmode import enable_grad, is_grad_enabled, set_grad_enabled
from lazyt.tensor import Tensor

from .engine import grad

_NO_STRICT = "Please either set `strict=False` or "


# --- arguments and results ------------------------------------------------------------------------


def _as_tuple(given: Any, argument: str, function: str) -> tuple[bool, tuple[Tensor, ...]]:
    """Whether a tuple came, and the tensors; TypeError for anything else."""
    several = isinstance(given, tuple)
    values = given if several else (given,)
    for i, x in enumerate(values):
        if not isinstance(x, Tensor):
            what = f"value at index {i}" if several else f"given {argument}"
            raise TypeError(
                f"The {argument} given to {function} must be either a Tensor or a tuple of Tensors "
                f"but the {what} has type {type(x)}."
            )
    return several, values


def _one_or_all(values: tuple, several: bool) -> Any:
    return values if several else values[0]


def _nested(rows: tuple, outputs: bool, inputs: bool) -> Any:
    """Results by output and input, each level only where it came as a tuple."""
    return _one_or_all(tuple(_one_or_all(row, inputs) for row in rows), outputs)


def _prepared(inputs: tuple, create: bool, tracked: bool = True) -> tuple[Tensor, ...]:
    """What the function is called with: views that lead to the inputs, or leaves."""
    return tuple(
        x.view_as(x) if create and x.requires_grad else x.detach().requires_grad_(tracked)
        for x in inputs
    )


def _finished(tree: Any, create: bool) -> Any:
    """Results without history, unless they are to be differentiated."""
    if isinstance(tree, tuple):
        return tuple(_finished(x, create) for x in tree)
    return tree if create else tree.detach()


def _pull(
    outputs: Sequence[Tensor],
    inputs: Sequence[Tensor],
    seeds: Sequence[Tensor | None] | None = None,
    create: bool = False,
    retain: bool | None = None,
) -> tuple[Tensor | None, ...]:
    """`grad`, of the outputs that have a history."""
    given = seeds or (None,) * len(outputs)
    pairs = [(o, s) for o, s in zip(outputs, given) if o is not None and o.requires_grad]
    if not pairs:
        return (None,) * len(inputs)
    seeds = None if all(s is None for _, s in pairs) else [s for _, s in pairs]
    return grad(
        [o for o, _ in pairs], inputs, seeds, allow_unused=True, create_graph=create,
        retain_graph=retain,
    )  # fmt: skip


# What is said in strict mode of a gradient that does not exist, by the pass that asked for it.
_INDEPENDENT = {
    "back": "The output of the user-provided function is independent of input {}. This is not "
    "allowed in strict mode.",
    "back_trick": "The gradient with respect to the input is independent of entry {} in the "
    "grad_outputs when using the double backward trick to compute forward mode gradients. This is "
    "not allowed in strict mode.",
    "double_back": "The jacobian of the user-provided function is independent of input {}. This is "
    "not allowed in strict mode.",
    "double_back_trick": "The hessian of the user-provided function is independent of entry {} in "
    "the grad_jacobian. This is not allowed in strict mode as it prevents from using the double "
    "backward trick to replace forward mode AD.",
}
# The same of one that exists and has no history, where a graph is created.
_CONSTANT = {
    "double_back": "The jacobian of the user-provided function is independent of input {}. This is "
    "not allowed in strict mode when create_graph=True.",
    "double_back_trick": "The hessian of the user-provided function is independent of input {}. "
    "This is not allowed in strict mode when create_graph=True.",
}


def _filled(
    found: Sequence[Tensor | None],
    like: Sequence[Tensor],
    strict: bool,
    create: bool,
    stage: str,
) -> tuple[Tensor, ...]:
    """Gradients, with zeros for those that do not exist; RuntimeError for them in strict mode."""
    made = []
    for i, (g, x) in enumerate(zip(found, like)):
        if g is None:
            if strict:
                raise RuntimeError(_INDEPENDENT[stage].format(i))
            g = x.new_zeros(x.shape)
        elif strict and create and not g.requires_grad:
            text = _CONSTANT["double_back_trick" if stage == "double_back_trick" else "double_back"]
            raise RuntimeError(text.format(i))
        made.append(g)
    return tuple(made)


_NO_HISTORY = {
    "outputs": "Output {} of the user-provided function does not require gradients. The outputs "
    "must be computed in a differentiable manner from the input when running in strict mode.",
    "grad_inputs": "The gradient with respect to input {} is independent of the inputs of the "
    "user-provided function. This is not allowed in strict mode.",
    "jacobian": "While computing the hessian, found that the jacobian of the user-provided function"
    " with respect to input {} is independent of the input. This is not allowed in strict mode. You"
    " should ensure that your function is twice differentiable and that the jacobian depends on the"
    " inputs (this would be violated by a linear function for example).",
    "hessian": "The hessian of the user-provided function with respect to input {} is independent "
    "of the input. This is not allowed in strict mode. You should ensure that your function is "
    "thrice differentiable and that the hessian depends on the inputs.",
}


def _check_history(values: Sequence[Tensor | None], kind: str, strict: bool) -> None:
    """In strict mode, RuntimeError for a value without history."""
    for i, x in enumerate(values if strict else ()):
        if x is None:
            raise RuntimeError(_INDEPENDENT["back"].format(i))
        if not x.requires_grad:
            raise RuntimeError(_NO_HISTORY[kind].format(i))


def _check_shapes(v: tuple, other: tuple, several: bool) -> None:
    """RuntimeError unless the vector has the tensors and shapes of what it is multiplied with."""
    if len(v) != len(other):
        if several:
            raise RuntimeError(
                f"v is a tuple of invalid length: should be {len(other)} but got {len(v)}."
            )
        raise RuntimeError("The given v should contain a single Tensor.")
    for i, (a, b) in enumerate(zip(v, other)):
        if a.shape != b.shape:
            where = f"Entry {i} in " if several else ""
            raise RuntimeError(
                f"{where}v has invalid size: should be {b.size()} but got {a.size()}."
            )


def _vector(v: Any, like: tuple, several: bool, function: str, create: bool, missing: str) -> Any:
    """The vector of a product, or None where a number needs none."""
    if v is not None:
        _, given = _as_tuple(v, "v", function)
        given = _prepared(given, create, tracked=False)
        _check_shapes(given, like, several)
        return given
    if len(like) != 1 or like[0].nelement() != 1:
        raise RuntimeError(missing)
    return None


def _mode(create: bool) -> set_grad_enabled:
    return set_grad_enabled(True if create else is_grad_enabled())


# --- products -------------------------------------------------------------------------------------


def vjp(
    func: Callable, inputs: Any, v: Any = None, create_graph: bool = False, strict: bool = False
) -> tuple[Any, Any]:
    """(outputs, v times the Jacobian): `v` has the outputs' shapes; None for a number."""
    with enable_grad():
        several, given = _as_tuple(inputs, "inputs", "vjp")
        inside = _prepared(given, create_graph)
        many, outputs = _as_tuple(func(*inside), "outputs of the user-provided function", "vjp")
        _check_history(outputs, "outputs", strict)
        vector = _vector(
            v, outputs, many, "vjp", create_graph,
            "The vector v can only be None if the user-provided function returns a single Tensor "
            "with a single element.",
        )  # fmt: skip
    with _mode(create_graph):
        found = _pull(outputs, inside, vector, create_graph)
        product = _filled(found, given, strict, create_graph, "back")
    return (
        _one_or_all(_finished(outputs, create_graph), many),
        _one_or_all(_finished(product, create_graph), several),
    )


_ONE_NUMBER = (
    "The vector v can only be None if the input to the user-provided function is a single Tensor "
    "with a single element."
)


def jvp(
    func: Callable, inputs: Any, v: Any = None, create_graph: bool = False, strict: bool = False
) -> tuple[Any, Any]:
    """(outputs, the Jacobian times v): `v` has the inputs' shapes; None for a number."""
    with enable_grad():
        several, given = _as_tuple(inputs, "inputs", "jvp")
        inside = _prepared(given, create_graph)
        vector = _vector(v, given, several, "jvp", create_graph, _ONE_NUMBER)
        many, outputs = _as_tuple(func(*inside), "outputs of the user-provided function", "jvp")
        _check_history(outputs, "outputs", strict)
        # The vjp is linear in its vector: its own vjp is the jvp.
        seeds = tuple(o.new_zeros(o.shape).requires_grad_() for o in outputs)
        pulled = _pull(outputs, inside, seeds, create=True)
        _check_history(pulled, "grad_inputs", strict)
    with _mode(create_graph):
        weights = vector
        if vector is None:
            weights = tuple(x.new_ones(x.shape) for x in given)
        found = _pull(pulled, seeds, weights, create_graph)  # type: ignore[arg-type]
        product = _filled(found, outputs, strict, create_graph, "back_trick")
    return (
        _one_or_all(_finished(outputs, create_graph), many),
        _one_or_all(_finished(product, create_graph), many),
    )


def _scalar(func: Callable, inside: tuple, function: str, strict: bool) -> tuple[Tensor, ...]:
    """The one number that a function returns; RuntimeError for more."""
    many, outputs = _as_tuple(func(*inside), "outputs of the user-provided function", function)
    _check_history(outputs, "outputs", strict)
    if many or not isinstance(outputs[0], Tensor):
        raise RuntimeError(f"The function given to {function} should return a single Tensor")
    if outputs[0].nelement() != 1:
        raise RuntimeError(
            f"The Tensor returned by the function given to {function} should contain a single "
            "element"
        )
    return outputs


def vhp(
    func: Callable, inputs: Any, v: Any = None, create_graph: bool = False, strict: bool = False
) -> tuple[Any, Any]:
    """(output, v times the Hessian) of a function that returns a number."""
    with enable_grad():
        several, given = _as_tuple(inputs, "inputs", "vhp")
        inside = _prepared(given, create_graph)
        vector = _vector(v, given, several, "vhp", create_graph, _ONE_NUMBER)
        outputs = _scalar(func, inside, "vhp", strict)
        slopes = _pull(outputs, inside, create=True)
        _check_history(slopes, "jacobian", strict)
    with _mode(create_graph):
        found = _pull(slopes, inside, vector, create_graph)  # type: ignore[arg-type]
        product = _filled(found, given, strict, create_graph, "double_back")
    return (
        _finished(outputs[0], create_graph),
        _one_or_all(_finished(product, create_graph), several),
    )


def hvp(
    func: Callable, inputs: Any, v: Any = None, create_graph: bool = False, strict: bool = False
) -> tuple[Any, Any]:
    """(output, the Hessian times v) of a function that returns a number."""
    with enable_grad():
        several, given = _as_tuple(inputs, "inputs", "hvp")
        inside = _prepared(given, create_graph)
        vector = _vector(v, given, several, "hvp", create_graph, _ONE_NUMBER)
        outputs = _scalar(func, inside, "hvp", strict)
        slopes = _pull(outputs, inside, create=True)
        _check_history(slopes, "jacobian", strict)
        seeds = tuple(x.new_zeros(x.shape).requires_grad_() for x in given)
        pulled = _pull(slopes, inside, seeds, create=True)  # type: ignore[arg-type]
        _check_history(pulled, "hessian", strict)
    with _mode(create_graph):
        weights = vector
        if vector is None:
            weights = tuple(x.new_ones(x.shape) for x in given)
        found = _pull(pulled, seeds, weights, create_graph)  # type: ignore[arg-type]
        product = _filled(found, given, strict, create_graph, "double_back_trick")
    return (
        _finished(outputs[0], create_graph),
        _one_or_all(_finished(product, create_graph), several),
    )


# --- matrices -------------------------------------------------------------------------------------


def jacobian(
    func: Callable,
    inputs: Any,
    create_graph: bool = False,
    strict: bool = False,
    vectorize: bool = False,
    strategy: str = "reverse-mode",
) -> Any:
    """The Jacobian: an output of shape s by an input of shape t gives a tensor of shape s + t.

    vectorize: all rows (or columns) at once, by `vmap`. strategy: "reverse-mode", or "forward-mode"
    with `vectorize`. Errors: AssertionError, NotImplementedError or RuntimeError for options that
    do not go together, RuntimeError by `strict`.
    """
    if strategy not in ("forward-mode", "reverse-mode"):
        raise AssertionError(
            'Expected strategy to be either "forward-mode" or "reverse-mode". Hint: If your '
            'function has more outputs than inputs, "forward-mode" tends to be more performant. '
            'Otherwise, prefer to use "reverse-mode".'
        )
    if strategy == "forward-mode":
        if create_graph:
            raise NotImplementedError(
                "torch.autograd.functional.jacobian: `create_graph=True` and "
                '`strategy="forward-mode"` are not supported together (yet). Please either set '
                '`create_graph=False` or `strategy="reverse-mode"`.'
            )
        return _forward_jacobian(func, inputs, strict, vectorize)
    with enable_grad():
        several, given = _as_tuple(inputs, "inputs", "jacobian")
        inside = _prepared(given, create_graph)
        many, outputs = _as_tuple(
            func(*inside), "outputs of the user-provided function", "jacobian"
        )
        _check_history(outputs, "outputs", strict)
        if vectorize:
            if strict:
                raise RuntimeError(
                    "torch.autograd.functional.jacobian: `strict=True` and `vectorized=True` are "
                    f"not supported together. {_NO_STRICT}`vectorize=False`."
                )
            rows = _all_rows(outputs, inside, create_graph)
        else:
            rows = tuple(
                _row_by_row(i, o, inside, create_graph, strict) for i, o in enumerate(outputs)
            )
        return _nested(_finished(rows, create_graph), many, several)


def _row_by_row(
    i: int, output: Tensor, inputs: tuple, create: bool, strict: bool
) -> tuple[Tensor, ...]:
    """The derivatives of one output by every input, one element after the other."""
    rows: list[list[Tensor]] = [[] for _ in inputs]
    units = output.new_zeros(output.numel(), output.numel()).fill_diagonal_(1)
    for unit in units.reshape(-1, *output.shape):
        found = _pull((output,), inputs, (unit,), create, retain=True)
        for k, (g, x) in enumerate(zip(found, inputs)):
            if strict and (g is None or create and not g.requires_grad):
                when = " when create_graph=True" if g is not None else ""
                what = "The jacobian" if g is not None else f"Output {i}"
                raise RuntimeError(
                    f"{what} of the user-provided function is independent of input {k}. This is "
                    f"not allowed in strict mode{when}."
                )
            rows[k].append(x.new_zeros(x.shape) if g is None else g)
    return tuple(
        cat([r.unsqueeze(0) for r in own]).reshape((*output.shape, *x.shape))
        if own
        else x.new_zeros(*output.shape, *x.shape)
        for own, x in zip(rows, inputs)
    )


def _all_rows(outputs: tuple, inputs: tuple, create: bool) -> tuple[tuple[Tensor, ...], ...]:
    """The derivatives of all outputs by every input, all rows at once."""
    from lazyt.func.derivatives import rows_of_identity

    def pull(row: Sequence[Tensor]) -> list[Tensor]:
        found = _pull(outputs, inputs, row, create, retain=True)
        return [x.new_zeros(x.shape) if g is None else g for g, x in zip(found, inputs)]

    pulled, at, blocks = rows_of_identity(pull, outputs), 0, []
    for o in outputs:
        blocks.append(
            tuple(
                p.narrow(0, at, o.numel()).reshape((*o.shape, *x.shape))
                for p, x in zip(pulled, inputs)
            )
        )
        at += o.numel()
    return tuple(blocks)


def _forward_jacobian(func: Callable, inputs: Any, strict: bool, vectorize: bool) -> Any:
    from lazyt.func.derivatives import jacfwd

    if strict:
        raise RuntimeError(
            'torch.autograd.functional.jacobian: `strict=True` and `strategy="forward-mode"` are '
            f'not supported together (yet). {_NO_STRICT}`strategy="reverse-mode"`.'
        )
    several, given = _as_tuple(inputs, "inputs", "jacobian")
    if not vectorize:
        raise NotImplementedError(
            "Computing Jacobian using forward-AD or forward-over-reverse Hessian is"
            "only implemented for `vectorize=True`."
        )
    many = False

    def checked(*inside: Tensor) -> tuple[Tensor, ...]:
        nonlocal many
        many, outputs = _as_tuple(
            func(*inside), "outputs of the user-provided function", "jacobian"
        )
        return outputs

    rows = jacfwd(checked, tuple(range(len(given))))(*given)
    return _nested(_finished(rows, False), many, several)


def hessian(
    func: Callable,
    inputs: Any,
    create_graph: bool = False,
    strict: bool = False,
    vectorize: bool = False,
    outer_jacobian_strategy: str = "reverse-mode",
) -> Any:
    """The second derivatives of a function that returns a number.

    Inputs of shapes s and t give a tensor of shape s + t, in a tuple of tuples where inputs are
    one. Errors: those of `jacobian`; RuntimeError where the function returns more than a number.
    """
    several, given = _as_tuple(inputs, "inputs", "hessian")
    if outer_jacobian_strategy not in ("forward-mode", "reverse-mode"):
        raise AssertionError('Expected strategy to be either "forward-mode" or "reverse-mode".')

    def number(*inside: Tensor) -> Tensor:
        return _scalar(func, inside, "hessian", strict)[0]

    def slopes(*inside: Tensor) -> tuple[Tensor, ...]:
        found = jacobian(number, inside, create_graph=True)
        _check_history(found, "jacobian", strict)
        return found

    found = jacobian(
        slopes, given, create_graph, strict, vectorize, strategy=outer_jacobian_strategy
    )
    return _nested(found, several, several)
