"""torch.autograd.functional, gradcheck and forward_ad against PyTorch."""

from __future__ import annotations

import itertools
import types
from typing import Any

import pytest
from surface import lines_of, same
from test_func import outcome

import lazyt

PREPARATION = """
from torch.autograd.functional import *
from torch.autograd import gradcheck, gradgradcheck
from torch.autograd import forward_ad as ad
def numbers(*shape):
    n = 1
    for s in shape: n *= s
    return torch.sin(torch.arange(1.0, n + 1) * 1.7).reshape(shape)
x, y, one, ints = numbers(3), numbers(2, 2), torch.tensor([0.7]), torch.arange(3)
r = torch.tensor([1.0, -2.0, 0.5], requires_grad=True)
d = r.detach().double().requires_grad_()
square = lambda a: (a**2).sum()
cube = lambda a: (a**3).sum()
both = lambda a, b: (a.sum() * b, a * 2)
mixed = lambda a, b: (a**2).sum() * (b**3).sum()
def dual(f, *pairs):
    with ad.dual_level():
        return ad.unpack_dual(f(*[ad.make_dual(p, t) for p, t in pairs]))
class Wrong(torch.autograd.Function):
    @staticmethod
    def forward(ctx, a): return a * 2
    @staticmethod
    def backward(ctx, g): return g * 3
"""

LINES = """
jacobian(torch.sin, x)
jacobian(lambda a: (a**2).sum(), x)
jacobian(lambda a: a.outer(a), x)
jacobian(both, (x, y))
jacobian(both, (x, y), vectorize=True)
jacobian(torch.sin, x, vectorize=True, strategy="forward-mode")
jacobian(both, (x, y), vectorize=True, strategy="forward-mode")
jacobian(lambda a: a, (x,))
jacobian(torch.sin, r).requires_grad
jacobian(torch.sin, r, create_graph=True).requires_grad
torch.autograd.grad(jacobian(torch.sin, r, create_graph=True).sum(), r)
torch.autograd.grad(jacobian(torch.sin, r, create_graph=True, vectorize=True).sum(), r)
jacobian(lambda a: torch.ones(2), x)
jacobian(torch.sin, x, strict=True)
hessian(cube, x)
hessian(mixed, (x, y))
hessian(mixed, (x, y), vectorize=True)
hessian(mixed, (x, y), vectorize=True, outer_jacobian_strategy="forward-mode")
hessian(lambda a: a.sum(), x)
hessian(lambda a: (a**2).sum(), x, strict=True, create_graph=True)
hessian(cube, x, create_graph=True).requires_grad
torch.autograd.grad(hessian(lambda a: (a**4).sum(), r, create_graph=True).sum(), r)
vjp(torch.sin, x, x)
vjp(square, x)
vjp(both, (x, y), (y, x))
vjp(lambda a: (a, a * 2), x, (x, x))
vjp(lambda a, b: a.sum(), (x, y))
torch.autograd.grad(vjp(torch.sin, r, x, create_graph=True)[1].sum(), r)
jvp(torch.sin, x, x)
jvp(both, (x, y), (x, y))
jvp(torch.exp, one)
jvp(lambda a: (a * 2, a.sum()), x, x)
torch.autograd.grad(jvp(torch.sin, r, x, create_graph=True)[1].sum(), r)
vhp(cube, x, x)
vhp(mixed, (x, y), (x, y))
hvp(cube, x, x)
hvp(mixed, (x, y), (x, y))
hvp(lambda a: a.exp().sum(), one)
vhp(lambda a: a.exp().sum(), one)
torch.autograd.grad(hvp(lambda a: (a**4).sum(), r, x, create_graph=True)[1].sum(), r)
torch.autograd.grad(r.sin(), r, torch.eye(3), is_grads_batched=True)
torch.autograd.grad([r.sin(), r], r, [torch.eye(3), torch.ones(3, 3)], is_grads_batched=True)
dual(torch.sin, (x, x))
dual(lambda a, b: a.sum() * b, (x, x), (y, y))
dual(lambda a: torch.ones(2), (x, x))
dual(lambda a: a.mul_(2).exp(), (x, x))
dual(lambda a: torch.nn.functional.linear(a, torch.ones(2, 3)), (x, x))
gradcheck(torch.sin, d)
gradcheck(lambda a: (a.exp(), a.prod()), [d])
gradcheck(lambda a, b: a @ b, (d, d.detach().clone().requires_grad_()))
gradcheck(torch.sin, d, fast_mode=True)
gradcheck(torch.sin, d, check_forward_ad=True, check_batched_grad=True)
gradcheck(Wrong.apply, d, raise_exception=False)
gradcheck(lambda a: a.long(), d)
gradgradcheck(torch.sin, d)
gradgradcheck(lambda a: a.sin().sum(), d, fast_mode=True)
gradgradcheck(torch.sin, d, torch.ones(3, dtype=torch.float64, requires_grad=True))
"""

ERRORS = """
jacobian(torch.sin, 3)
jacobian(torch.sin, (x, 3))
jacobian(lambda a: 3, x)
jacobian(torch.sin, x, strategy="sideways")
jacobian(torch.sin, x, strategy="forward-mode")
jacobian(torch.sin, x, strategy="forward-mode", create_graph=True)
jacobian(torch.sin, x, strategy="forward-mode", strict=True)
jacobian(torch.sin, x, strict=True, vectorize=True)
jacobian(lambda a: torch.ones(2), x, strict=True)
jacobian(lambda a, b: a * 2, (x, y), strict=True)
hessian(lambda a: a * 2, x)
hessian(lambda a: (a.sum(), a), x)
hessian(lambda a: a.sum(), x, strict=True)
vjp(torch.sin, x)
vjp(torch.sin, x, y)
vjp(both, (x, y), x)
vjp(lambda a, b: a * 2, (x, y), x, strict=True)
jvp(torch.sin, x)
jvp(torch.sin, x, y)
jvp(both, (x, y), (x, x))
jvp(lambda a: torch.ones(2), x, x, strict=True)
vhp(torch.sin, x, x)
vhp(cube, x)
vhp(lambda a: a.sum(), x, x, strict=True)
hvp(torch.sin, x, x)
hvp(lambda a: a.sum(), x, x, strict=True)
ad.make_dual(x, x)
dual(torch.sin, (x, y))
dual(torch.sin, (ints, ints))
gradcheck(Wrong.apply, d)
gradcheck(torch.sin, d.detach())
gradcheck(torch.sin, d[:1].expand(3))
gradcheck(lambda a: a.detach() * 2, d)
gradcheck(torch.sin, d, check_backward_ad=False)
gradcheck(lambda a: a[a > 0.5], torch.tensor([0.5, 1.0], dtype=torch.float64, requires_grad=True))
gradgradcheck(torch.sin, d.detach())
"""


def run(torch: types.ModuleType, line: str) -> Any:
    return outcome(torch, line, PREPARATION)


@pytest.mark.parametrize("line", lines_of(LINES))
def test_gives_what_torch_gives(oracle: types.ModuleType, line: str) -> None:
    expected = run(oracle, line)
    assert not isinstance(expected, tuple) or expected[0] != "error", expected
    found = run(lazyt, line)
    assert same(expected, found, 2e-5), (expected, found)


@pytest.mark.parametrize("line", lines_of(ERRORS))
def test_raises_what_torch_raises(oracle: types.ModuleType, line: str) -> None:
    expected = run(oracle, line)
    assert expected[0] == "error", expected
    assert run(lazyt, line) == expected


def test_a_backward_that_drifts_is_not_reentrant() -> None:
    torch = lazyt
    count = itertools.count()

    class Drifting(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, a: Any) -> Any:
            return a * 2

        @staticmethod
        def backward(ctx: Any, g: Any) -> Any:
            return g * 2 + next(count) * 1e-9

    x = torch.ones(2, dtype=torch.float64, requires_grad=True)
    with pytest.raises(torch.autograd.GradcheckError, match="Backward is not reentrant"):
        torch.autograd.gradcheck(Drifting.apply, x)
    assert torch.autograd.gradcheck(Drifting.apply, x, nondet_tol=1e-6)


def test_a_jacobian_at_once_is_one_program() -> None:
    torch = lazyt
    x = torch.linspace(0, 1, 5)
    function = lambda a: (a.sin() * a.flip(0)).cumsum(0)
    rows = torch.autograd.functional.jacobian(function, x)
    lazyt.reset_stats()
    at_once = torch.autograd.functional.jacobian(function, x, vectorize=True).tolist()
    assert lazyt.stats()["drains"] == 1
    assert same(rows.tolist(), at_once)
