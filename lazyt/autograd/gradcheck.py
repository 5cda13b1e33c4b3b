"""gradcheck and gradgradcheck: gradients against finite differences.

    x = torch.randn(3, dtype=torch.float64, requires_grad=True)
    gradcheck(torch.sin, (x,))                # True, or a GradcheckError that shows both matrices

Both matrices have a row for each element of the input and a column for each of the output.
Defaults and wording follow
https://docs.pytorch.org/docs/2.13/generated/torch.autograd.gradcheck.gradcheck.html.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from lazyt.functions.joining import stack
from lazyt.gradmode import enable_grad
from lazyt.random import fork_rng
from lazyt.tensor import Tensor
from lazyt.warned import warn

from .engine import grad


class GradcheckError(RuntimeError):
    """What `gradcheck` and `gradgradcheck` raise for gradients that are wrong."""


def gradcheck(
    func: Callable[..., Any],
    inputs: Any,
    *,
    eps: float = 1e-6,
    atol: float = 1e-5,
    rtol: float = 1e-3,
    raise_exception: bool = True,
    nondet_tol: float = 0.0,
    check_undefined_grad: bool = True,
    check_grad_dtypes: bool = False,
    check_batched_grad: bool = False,
    check_batched_forward_grad: bool = False,
    check_forward_ad: bool = False,
    check_backward_ad: bool = True,
    fast_mode: bool = False,
    masked: bool | None = None,
) -> bool:
    """Whether the gradients of `func` by the inputs that require one are those of differences.

    eps: the step of the differences. nondet_tol: how far two backwards may be apart.
    fast_mode: one random product with each matrix instead of all of it. check_batched_grad:
    gradients under `vmap`, too. check_forward_ad: `jvp`s, too. Errors: GradcheckError (where not
    `raise_exception`, the result is False), ValueError where no input requires a gradient.
    """
    if not (check_backward_ad or check_forward_ad):
        raise AssertionError(
            "Expected at least one of check_forward_ad or check_backward_ad to be True"
        )
    if check_batched_grad and not check_backward_ad:
        raise AssertionError(
            "Setting check_batched_grad=True requires check_backward_ad to be True"
        )
    if check_batched_forward_grad and not check_forward_ad:
        raise AssertionError(
            "Setting check_batched_forward_grad=True requires check_forward_ad to be True"
        )
    check = _Check(func, _as_tuple(inputs), eps, atol, rtol)
    try:
        check.prepare()
        if not check.outputs:
            return check.constant()
        if check_backward_ad:
            check.backward(nondet_tol, check_grad_dtypes, fast_mode)
        if check_forward_ad:
            check.forward()
        if check_batched_grad:
            check.batched()
    except GradcheckError:
        if raise_exception:
            raise
        return False
    return True


def gradgradcheck(
    func: Callable[..., Any],
    inputs: Any,
    grad_outputs: Any = None,
    *,
    eps: float = 1e-6,
    atol: float = 1e-5,
    rtol: float = 1e-3,
    gen_non_contig_grad_outputs: bool = False,
    raise_exception: bool = True,
    nondet_tol: float = 0.0,
    check_undefined_grad: bool = True,
    check_grad_dtypes: bool = False,
    check_batched_grad: bool = False,
    check_fwd_over_rev: bool = False,
    check_rev_over_rev: bool = True,
    fast_mode: bool = False,
    masked: bool = False,
) -> bool:
    """`gradcheck` of the gradients: second derivatives by the inputs and by `grad_outputs`.

    grad_outputs: drawn at random where they are not given.
    """
    if not (check_fwd_over_rev or check_rev_over_rev):
        raise AssertionError(
            "Expected at least one of check_fwd_over_rev or check_rev_over_rev to be True"
        )
    given = _as_tuple(inputs)
    if grad_outputs is None:
        outputs = _differentiable(func(*given))
        with fork_rng():
            seeds = tuple(_drawn(o, gen_non_contig_grad_outputs) for o in outputs)
    else:
        seeds = _as_tuple(grad_outputs)

    def gradients(*args: Any) -> tuple[Tensor, ...]:
        values, weights = args[: len(given)], args[len(given) :]
        with enable_grad():
            outputs = _differentiable(func(*values))
            wanted = [x for x in values if isinstance(x, Tensor) and x.requires_grad]
            found = grad(outputs, wanted, weights, create_graph=True, allow_unused=True)
        return tuple(g for g in found if g is not None)

    return gradcheck(
        gradients,
        given + seeds,
        eps=eps,
        atol=atol,
        rtol=rtol,
        raise_exception=raise_exception,
        nondet_tol=nondet_tol,
        check_undefined_grad=check_undefined_grad,
        check_grad_dtypes=check_grad_dtypes,
        check_batched_grad=check_batched_grad,
        check_forward_ad=check_fwd_over_rev,
        check_backward_ad=check_rev_over_rev,
        fast_mode=fast_mode,
        masked=masked,
    )


def _as_tuple(values: Any) -> tuple:
    if isinstance(values, (tuple, list)):
        return tuple(values)
    return (values,)


def _differentiable(outputs: Any) -> tuple[Tensor, ...]:
    return tuple(o for o in _as_tuple(outputs) if o.requires_grad)


def _drawn(like: Tensor, strided: bool) -> Tensor:
    """Numbers of [-1, 1) in the shape of a tensor, in memory with gaps if so asked."""
    if not strided or like.dim() == 0:
        return like.detach().new_empty(like.shape).uniform_(-1, 1).requires_grad_()
    wide = like.detach().new_empty((*like.shape, 2)).uniform_(-1, 1)
    return wide[..., 0].requires_grad_()


class _Check:
    """One call of `gradcheck`."""

    def __init__(self, func: Callable, inputs: tuple, eps: float, atol: float, rtol: float):
        self.func = func
        self.inputs = inputs
        self.eps = eps
        self.close = {"atol": atol, "rtol": rtol}
        self.wanted = [i for i, x in enumerate(inputs) if isinstance(x, Tensor) and x.requires_grad]
        self.outputs: tuple[Tensor, ...] = ()
        self.places: list[int] = []

    def prepare(self) -> None:
        """Looks at the inputs, and runs the function on them."""
        for i in self.wanted:
            x = self.inputs[i]
            if str(x.dtype) != "torch.float64":
                warn(
                    f"Input #{i} requires gradient and is not a double precision floating point or "
                    "complex. This check will likely fail if all the inputs are not of double "
                    "precision floating point or complex. ",
                )
            if any(k == 0 and n > 1 for k, n in zip(x.stride(), x.shape)):
                raise RuntimeError(
                    f"The {i}th input has a dimension with stride 0. gradcheck only supports inputs"
                    " that are non-overlapping to be able to compute the numerical gradients "
                    "correctly. You should call .contiguous on the input before passing it to "
                    "gradcheck."
                )
        if not self.wanted:
            raise ValueError(
                "gradcheck expects at least one input tensor to require gradient, but none of them "
                "have requires_grad=True."
            )
        found = _as_tuple(self.func(*self.inputs))
        self.places = [k for k, o in enumerate(found) if o.requires_grad]
        self.outputs = tuple(found[k] for k in self.places)

    # --- differences ------------------------------------------------------------------------------

    def _moved(self, i: int, step: Tensor) -> tuple[Tensor, ...]:
        """The outputs with `step` added to one input, all of them."""
        args = list(self.inputs)
        for k in self.wanted:
            x = args[k].detach().clone()
            args[k] = (x + step.reshape(x.shape) if k == i else x).requires_grad_()
        return tuple(o.detach() for o in _as_tuple(self.func(*args)))

    def _slope(self, i: int, direction: Tensor, where: Any) -> list[Tensor]:
        """The differences of all outputs in one direction of an input, over the step."""
        before, after = self._moved(i, -direction * self.eps), self._moved(i, direction * self.eps)
        for a, b in zip(before, after):
            for what, first, second in (("shape", a.shape, b.shape), ("dtype", a.dtype, b.dtype)):
                if first != second:
                    raise AssertionError(
                        f"Expected `func` to return outputs with the same {what} when inputs are "
                        f"perturbed {where}by {self.eps}, but got: {what}s {first} and {second}."
                    )
        return [((b - a) / (2 * self.eps)).reshape(-1) for a, b in zip(before, after)]

    def numerical(self, i: int) -> list[Tensor]:
        """The matrices of all outputs by one input, by differences."""
        x = self.inputs[i]
        rows = []
        for flat, unit in enumerate(_units(x)):
            rows.append(self._slope(i, unit, f"on index {_index(flat, x.shape)} "))
        if not rows:
            shapes = [o.numel() for o in _as_tuple(self.func(*self.inputs))]
            return [x.new_zeros(0, n) for n in shapes]
        return [stack(list(found)) for found in zip(*rows)]

    def constant(self) -> bool:
        """A function without a differentiable output: differences must be zero."""
        found = _as_tuple(self.func(*self.inputs))
        for i in self.wanted:
            for matrix, output in zip(self.numerical(i), found):
                moved = matrix.numel() and output.dtype.is_floating_point
                if moved and bool((matrix.abs() > self.close["atol"]).any()):
                    raise GradcheckError("Numerical gradient for function expected to be zero")
        return True

    # --- gradients --------------------------------------------------------------------------------

    def _pulled(self, output: Tensor, seed: Tensor) -> tuple[Tensor | None, ...]:
        wanted = [self.inputs[i] for i in self.wanted]
        return grad(output, wanted, seed, retain_graph=True, allow_unused=True)

    def analytical(self, output: Tensor, check_dtypes: bool) -> list[Tensor]:
        """The matrices of one output by every input, by backwards."""
        columns: list[list[Tensor]] = [[] for _ in self.wanted]
        for unit in _units(output):
            found = self._pulled(output, unit.reshape(output.shape))
            for own, g, i in zip(columns, found, self.wanted):
                x = self.inputs[i]
                if g is not None and check_dtypes and g.dtype is not x.dtype:
                    raise GradcheckError("Gradient has dtype mismatch")
                if g is not None and g.shape != x.shape:
                    raise GradcheckError("Analytical gradient has incorrect size")
                own.append(x.new_zeros(x.numel()) if g is None else g.detach().reshape(-1))
        return [
            stack(own, 1) if own else self.inputs[i].new_zeros(self.inputs[i].numel(), 0)
            for own, i in zip(columns, self.wanted)
        ]

    def backward(self, tolerance: float, check_dtypes: bool, fast: bool) -> None:
        """Backwards against differences."""
        if fast:
            self._fast()
            return
        numerical = [self.numerical(i) for i in self.wanted]
        for k, (place, output) in enumerate(zip(self.places, self.outputs)):
            first = self.analytical(output, check_dtypes)
            for j, matrix in enumerate(first):
                self._compare(matrix, numerical[j][place], k, j)
            again = self.analytical(output, False)
            for a, b in zip(first, again):
                if a.numel() and float((a - b).abs().max()) > tolerance:
                    raise GradcheckError(
                        "Backward is not reentrant, i.e., running backward with same input and "
                        "grad_output multiple times gives different values, although analytical "
                        "gradient matches numerical gradient.The tolerance for nondeterminism was "
                        f"{tolerance}."
                    )

    def _compare(self, analytical: Tensor, numerical: Tensor, output: int, place: int) -> None:
        if not _all_close(analytical, numerical, self.close):
            raise GradcheckError(
                f"Jacobian mismatch for output {output} with respect to input {self.wanted[place]},"
                f"\nnumerical:{numerical}\nanalytical:{analytical}\n"
            )

    def _fast(self) -> None:
        """One number for each output and input: random directions on both sides."""
        with fork_rng():
            directions = [_direction(self.inputs[i]) for i in self.wanted]
            weights = [_direction(o) for o in self.outputs]
        slopes = [self._slope(i, u, "") for i, u in zip(self.wanted, directions)]
        for k, (place, output) in enumerate(zip(self.places, self.outputs)):
            found = self._pulled(output, weights[k].reshape(output.shape))
            for j, (g, u) in enumerate(zip(found, directions)):
                numerical = (slopes[j][place] * weights[k]).sum()
                analytical = u.new_zeros(()) if g is None else (g.detach().reshape(-1) * u).sum()
                if _all_close(analytical, numerical, self.close):
                    continue
                text = ""
                try:
                    whole = self.analytical(output, False)[j]
                    self._compare(whole, self.numerical(self.wanted[j])[place], k, j)
                except GradcheckError as error:
                    text = f"\nIn slow mode: {error}"
                raise GradcheckError(
                    f"Jacobian mismatch for output {k} with respect to input {self.wanted[j]},\n"
                    f"numerical:{numerical.item()}\nanalytical:{analytical.item()}\n\nThe above "
                    "quantities relating the numerical and analytical jacobians are computed in "
                    f"fast mode.{text}"
                )

    def forward(self) -> None:
        """Forward mode against differences."""
        from lazyt.func.derivatives import pushed

        for j, i in enumerate(self.wanted):
            with enable_grad():
                args = list(self.inputs)
                args[i] = args[i].detach().requires_grad_()
                outputs = [_as_tuple(self.func(*args))[k] for k in self.places]
                rows = [
                    [
                        t.reshape(-1)
                        for t in pushed(outputs, [args[i]], [u.reshape(args[i].shape)], False)
                    ]
                    for u in _units(args[i])
                ]
            numerical = self.numerical(i)
            for k, found in enumerate(zip(*rows)):
                self._compare(stack(list(found)), numerical[self.places[k]], k, j)

    def batched(self) -> None:
        """Gradients under vmap against the same one by one."""
        from .batched import batched_grad

        wanted = [self.inputs[i] for i in self.wanted]
        for k, output in enumerate(self.outputs):
            with fork_rng():
                seeds = [output.detach().new_empty(output.shape).normal_() for _ in range(2)]
            options = {"retain_graph": True, "allow_unused": True}
            expected = [grad(output, wanted, s, **options) for s in seeds]
            found = batched_grad([output], wanted, [stack(seeds)], **options)
            for j, together in enumerate(found):
                if together is None:
                    continue
                alone = stack([e[j] for e in expected])
                if not _all_close(together, alone, {"atol": 1e-8, "rtol": 1e-5}):
                    raise GradcheckError(
                        f"While computing batched gradients: for output {k} and input "
                        f"{self.wanted[j]}:\n\nvmap:{together}\none by one:{alone}\n"
                    )


def _units(x: Tensor) -> Any:
    """Every direction of a tensor's elements, flat."""
    return x.detach().new_zeros(x.numel(), x.numel()).fill_diagonal_(1)


def _direction(x: Tensor) -> Tensor:
    """A random direction of length 1, flat."""
    drawn = x.detach().new_empty(x.numel()).uniform_(0, 1)
    return drawn / drawn.norm() if x.numel() else drawn


def _index(flat: int, shape: Sequence[int]) -> tuple[int, ...]:
    index: list[int] = []
    for extent in reversed(shape):
        flat, at = divmod(flat, extent)
        index.insert(0, at)
    return tuple(index)


def _all_close(a: Tensor, b: Tensor, close: dict[str, float]) -> bool:
    return bool(a.to(b.dtype).allclose(b, **close)) if a.numel() else True
