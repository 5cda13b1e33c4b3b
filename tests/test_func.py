"""torch.func against PyTorch: vmap over what is here, derivatives, and all of them nested."""

from __future__ import annotations

import types
import warnings
from typing import Any

import pytest
from surface import lines_of, same

import lazyt

PREPARATION = """
from torch.func import *
vmap = torch.func.vmap
nn, Parameter = torch.nn, torch.nn.Parameter
g = torch.Generator()
def numbers(*shape):
    n = 1
    for s in shape: n *= s
    return torch.sin(torch.arange(1.0, n + 1) * 1.7).reshape(shape)
x, y, w, s = numbers(4, 3), numbers(4, 3) + 0.5, numbers(3, 5), numbers(4)
b = numbers(4, 2, 3)
i = torch.tensor([2, 0, 1, 1])
ii = torch.tensor([[0, 2], [1, 1], [2, 0], [0, 0]])
images, kernels = numbers(4, 2, 6, 6), numbers(4, 3, 2, 3, 3)
table = numbers(5, 3)
r = torch.tensor([1.0, -2.0, 0.5], requires_grad=True)
"""

# Lines whose value is compared; `x` is 4 examples of 3 numbers.
LINES = (
    """
vmap(torch.dot)(x, y)
vmap(lambda a: a.sin() * 2 + 1)(x)
vmap(lambda a, b: a * b.exp(), in_dims=(0, None))(x, y[0])
vmap(lambda a, b: a @ b, in_dims=(0, None))(x, w)
vmap(lambda a, b: b.t() @ a, in_dims=(0, None))(x, w)
vmap(lambda a, b: a @ b)(b, numbers(4, 3, 2))
vmap(lambda a, b: a @ b, in_dims=(None, 0))(w.t(), x)
vmap(torch.mv, in_dims=(None, 0))(w.t(), x)
vmap(torch.outer)(x, y)
vmap(torch.outer, in_dims=(1, 0))(x, y[:3])
vmap(lambda a: a.sum(), in_dims=1)(x)
vmap(lambda a: a, in_dims=-1, out_dims=-1)(x)
vmap(lambda a: (a, a.sum()), out_dims=(1, 0))(x)
vmap(lambda d: d["p"] * d["q"], in_dims=({"p": 0, "q": None},))({"p": x, "q": y[0]})
vmap(lambda d: {"s": d[0].sum(), "t": [d[1], 2 * d[1]]})([x, y])
vmap(lambda a, *, k: a * k)(x, k=y[0])
vmap(vmap(lambda a, b: a * b))(b, b + 1)
vmap(vmap(lambda a, b: a - b, in_dims=(None, 0)), in_dims=(0, None))(x, y)
vmap(vmap(torch.dot, in_dims=(None, 0)), in_dims=(0, None))(x, y)
vmap(lambda a: torch.ones(2))(x)
vmap(lambda a: a + torch.arange(3))(x)
vmap(lambda a: a.mean(0) + a.var() + a.std(0, unbiased=False) + a.prod() + a.norm())(x)
vmap(lambda a: (a.max(), a.min(0).values, a.argmax(), a.amax(0), a.median(), a.logsumexp(0)))(x)
vmap(lambda a: (a.max(0).indices, a.sort(descending=True).values, a.topk(2).indices))(x)
vmap(lambda a: (a.cumsum(0), a.cumprod(0), a.softmax(0), a.log_softmax(-1), a.flip(0)))(x)
vmap(lambda a: (a.t(), a.reshape(-1), a[0], a[:, 1:], a[..., None], a.unsqueeze(0)))(b)
vmap(lambda a: (a.expand(2, 3), a.repeat(2), a.roll(1), torch.cat([a, a * 2]), a.chunk(3)))(x)
vmap(lambda a, c: torch.stack([a, c, a], 1), in_dims=(0, None))(x, y[0])
vmap(lambda a, k: a[k], in_dims=(0, None))(x, torch.tensor([2, 0]))
vmap(lambda a, k: a[k])(x, ii)
vmap(lambda k: table[k])(i)
vmap(lambda k: table[:, k])(ii)
vmap(lambda k: table[k, torch.arange(2)])(ii)
vmap(lambda a, k: a.gather(0, k))(x, ii)
vmap(lambda a, k: a.index_select(0, k))(x, ii)
vmap(lambda a, k: torch.zeros(3).scatter_add(0, k, a[:2]), in_dims=(0, 0))(x, ii)
vmap(lambda a, k: F.embedding(k, a), in_dims=(None, 0))(table, ii)
vmap(lambda a: torch.where(a > 0, a, -1.0))(x)
vmap(lambda a: (a.clamp(-0.5, 0.5), a.abs().sqrt(), a.relu(), F.gelu(a), a.sign(), a > 0))(x)
vmap(lambda a: (a == a.max()).float().sum())(x)
vmap(lambda a: a.masked_fill(a > 0, 9.0))(x)
vmap(lambda a: F.pad(a, (1, 2)))(x)
vmap(lambda a: F.layer_norm(a, (3,)))(x)
vmap(lambda a: F.linear(a, w.t()))(x)
vmap(lambda a, c: F.linear(a, c))(x, numbers(4, 2, 3))
vmap(lambda a: F.conv2d(a, kernels[0], padding=1))(images)
vmap(lambda a: F.conv2d(a[None], kernels[0], stride=2))(images)
vmap(lambda k: F.conv2d(images, k), out_dims=1)(kernels)
vmap(lambda a, k: F.conv2d(a, k, padding=1))(images, kernels)
vmap(lambda a: F.conv2d(a, kernels[0][:2, :1], groups=2))(images)
vmap(lambda k: F.conv2d(images, k[:2, :1], groups=2))(kernels)
vmap(lambda a, k: F.conv_transpose2d(a, k.transpose(0, 1)))(images, kernels)
vmap(lambda a: (F.max_pool2d(a, 2), F.avg_pool2d(a, 3, 1, 1), F.adaptive_avg_pool2d(a, 2)))(images)
vmap(lambda a, t: F.cross_entropy(a, t))(x, i)
vmap(lambda a, t: F.cross_entropy(a, t))(b, torch.tensor([[0, 1], [2, 2], [1, 0], [0, 0]]))
vmap(F.mse_loss)(x, y)
vmap(lambda a: torch.einsum("ij,kj->ik", a, w.t()[:2]))(b)
vmap(lambda a: torch.tril(a @ a.t()))(b)
vmap(torch.linalg.inv)(b @ b.transpose(1, 2) + torch.eye(2))
vmap(lambda a: a.to(torch.float64).int())(x * 5)
vmap(lambda a: a.clone().mul_(2).add_(1))(x)
vmap(lambda a: torch.zeros_like(a).copy_(a))(x)
vmap(lambda a, c: a.clone().index_fill_(0, torch.tensor([1]), 3.0) + c)(x, y)
vmap(lambda a: a.new_zeros(2) + a[:2])(x)
vmap(lambda a: a.sum(), chunk_size=3)(x)
vmap(lambda a: (a, a.sum()), out_dims=(1, 0), chunk_size=1)(x)
vmap(lambda a: a * 2)(x[:0])
vmap(lambda a: a.detach() * a)(x)
grad(lambda a: (a**3).sum())(x[0])
grad(grad(lambda a: a**4))(torch.tensor(2.0))
grad(grad(grad(lambda a: a.sin())))(torch.tensor(0.5))
grad(lambda a: a[0, 0] * torch.ones(2).sum())(x)
grad(lambda a, c: (a * c).sum(), argnums=(0, 1))(x, y)
grad(lambda d: (d["u"] * d["v"]).sum())({"u": x, "v": y})
grad_and_value(lambda a: a.exp().sum())(x[0])
grad_and_value(lambda a: (a.exp().sum(), a * 2), has_aux=True)(x[0])
grad(lambda a: torch.tensor(3.0))(x)
vmap(grad(lambda a: (a**3).sum()))(x)
vmap(grad(lambda w, a, t: F.cross_entropy(a @ w, t)), in_dims=(None, 0, 0))(w, x, i)
vmap(grad(lambda k, a: F.conv2d(a[None], k).relu().sum()), in_dims=(None, 0))(kernels[0], images)
vmap(grad(lambda a: F.max_pool2d(a, 2).pow(2).sum()))(images)
vmap(vmap(grad(lambda a: a.tanh())))(x)
grad(lambda a: vmap(lambda c: (c**2).sum())(a).prod())(x)
grad(lambda a: vmap(grad(lambda c: (c**3).sum()))(a).sum())(x)
vmap(grad(grad(lambda a: a.sin() * a)))(s)
vjp(lambda a: a.sin(), x)[1](y)
vjp(lambda a, c: (a @ c, c.sum()), x, w)[1]((numbers(4, 5), torch.tensor(2.0)))
vjp(lambda a: {"p": a * 2}, x)[1]({"p": y})
vjp(lambda a: (a * 2, a + 1), x, has_aux=True)[2]
vmap(vjp(lambda a: a.sin(), x[0])[1])(y)
grad(lambda a: vjp(torch.sin, a)[1](torch.ones(3))[0].sum())(x[0])
jvp(torch.sin, (x,), (y,))
jvp(lambda a, c: (a @ c, a.sum()), (x, w), (y, w))
jvp(lambda a: (a * 2, a.sum()), (x,), (y,), has_aux=True)
jvp(lambda a: jvp(torch.sin, (a,), (torch.ones(3),))[1], (x[0],), (y[0],))
jvp(grad(lambda a: (a**3).sum()), (x[0],), (y[0],))
vmap(lambda t: jvp(torch.exp, (x[0],), (t,))[1])(y)
jvp(lambda a: torch.ones(2), (x,), (y,))
jvp(lambda a: (a * 2, a.sum()), (x,), (y,), strict=True)
jvp(lambda a: a * 2, (r,), (torch.ones(3),), strict=True)
jacrev(torch.sin)(x[0])
jacfwd(torch.sin)(x[0])
jacrev(lambda a, c: (a @ c, a.sum()), argnums=(0, 1))(x[:2], w)
jacfwd(lambda a, c: a @ c, argnums=1)(x[:2], w)
jacrev(lambda a: {"p": a.sum(0), "q": a.prod()})(x[:2])
jacrev(lambda a: (a**2, a), has_aux=True)(x[0])
jacfwd(lambda a: (a**2, a), has_aux=True)(x[0])
jacrev(lambda a: a**2, chunk_size=2)(x[0])
jacrev(jacrev(lambda a: (a**3).sum()))(x[0])
jacfwd(jacfwd(lambda a: (a**3).sum()))(x[0])
hessian(lambda a: (a.sin() * a.flip(0)).sum())(x[0])
hessian(lambda a, c: (a * c).prod(), argnums=(0, 1))(x[0], y[0])
vmap(jacrev(torch.sin))(x)
vmap(jacfwd(lambda a: a.cumsum(0) ** 2))(x)
vmap(hessian(lambda a: (a**3).sum()))(x)
jacrev(lambda a: vmap(torch.dot)(a, y))(x)
grad(lambda a: (a * r).sum())(x[0])
torch.autograd.grad(grad(lambda a: (a * r).pow(2).sum())(x[0]).sum(), r)
torch.autograd.grad(vmap(lambda a: (a * r).sum())(x).pow(2).sum(), r)
torch.autograd.grad(vmap(lambda a: (a**2).sum())(r.expand(2, 3)).sum(), r)
torch.autograd.grad(vjp(torch.sin, r)[1](torch.ones(3))[0].sum(), r)
torch.autograd.grad(vjp(torch.sin, r)[0].sum(), r)
torch.autograd.grad(jvp(torch.sin, (r,), (torch.ones(3),))[1].sum(), r)
torch.autograd.grad(jacrev(torch.sin)(r).sum(), r)
torch.autograd.grad(hessian(lambda a: (a**4).sum())(r).sum(), r)
grad(lambda a: (a * r).pow(2).sum())(x[0]).requires_grad
grad(lambda a: (a**3).sum())(r).requires_grad
grad(lambda a: (a**3).sum())(x).requires_grad
functional_call(nn.Linear(3, 2), {"weight": w[:, :2].t(), "bias": s[:2]}, (x,))
linearize(torch.sin, x)[1](y)
functionalize(lambda a: a.view(-1).add_(1))(x.clone())
"""
    + """
vmap(lambda a: a + torch.rand(3), randomness="same")(x)
vmap(lambda a: a + torch.rand(3), randomness="different")(x)
vmap(lambda a: torch.randn_like(a), randomness="different")(x)
vmap(lambda a: torch.randn(2, 2), randomness="different")(x)
vmap(lambda a: torch.randint(0, 9, (3,)), randomness="different")(x)
vmap(lambda a: F.dropout(a, 0.5), randomness="different")(x)
vmap(lambda a: F.dropout(a, 0.5), randomness="same")(x)
vmap(lambda a: torch.bernoulli(a.abs()), randomness="different")(x)
vmap(lambda a: torch.normal(a, 1.0), randomness="different")(x)
vmap(vmap(lambda a: torch.rand(()), randomness="different"), randomness="same")(x)
vmap(vmap(lambda a: torch.rand(()), randomness="different"), randomness="different")(x)
"""
)

# Lines that raise: the type of the error and its words are compared.
ERRORS = """
vmap(lambda a: a if a.sum() > 0 else -a)(x)
vmap(lambda a: a * a.sum().item())(x)
vmap(lambda a: a * float(a.sum()))(x)
vmap(lambda a: a.tolist())(x)
vmap(lambda a: a.nonzero())(x)
vmap(lambda a: a[a > 0])(x)
vmap(lambda a: a + torch.rand(3))(x)
vmap(lambda a: torch.bernoulli(a.abs()), randomness="same")(x)
vmap(lambda a: a, randomness="foo")
vmap(lambda a: 1.0)(x)
vmap(lambda a: None)(x)
vmap(lambda: x)()
vmap(lambda a: a, in_dims=5)(x)
vmap(lambda a: a, in_dims=(0, 0))(x)
vmap(lambda a: a, in_dims=None)(x)
vmap(lambda a: a, in_dims=(None,))(x)
vmap(lambda a: a, in_dims="a")(x)
vmap(lambda a: a)(1.0)
vmap(lambda a, b: a + b)(x, torch.ones(5))
vmap(lambda a: a)(torch.tensor(1.0))
vmap(lambda a: a["x"], in_dims=({"x": 0, "y": 1},))({"x": x})
vmap(lambda a: a, out_dims="a")(x)
vmap(lambda a: (a, a), out_dims=(0,))(x)
vmap(lambda a: a, out_dims=3)(x)
vmap(lambda a: a, out_dims=None)(x)
vmap(lambda a: a, chunk_size=0)
vmap(lambda a: w[0].copy_(torch.cat([a, a[:2]])))(x)
grad(lambda a: a * 2)(x)
grad(lambda a: 1.0)(x)
grad(lambda a: a.sum())(torch.arange(3))
grad(lambda a: a * 2)(3.0)
grad(lambda a: a.sum(), argnums=1)(x)
grad(lambda a: a.sum(), argnums="x")(x)
grad(lambda a: a.sum(), argnums=(0, 0))(x)
grad(lambda a: a.sum(), has_aux=True)(x)
vjp(lambda a: a * 2, x)[1](torch.ones(3))
vjp(lambda a: (a * 2, a), x)[1](x)
vjp(lambda a: 2.0, x)
jvp(lambda a: a * 2, x, x)
jvp(lambda a: a * 2, (x,), (torch.ones(3),))
jvp(lambda a: a * 2, (), ())
jvp(lambda a: a * 2, (x,), (x, x))
jvp(lambda a: (a, torch.ones(2)), (x,), (y,), strict=True)
jvp(lambda a: w * 2, (x,), (y,), strict=True)
jacrev(lambda a: 2.0)(x)
functional_call(nn.Linear(3, 2), {"weight": w}, (x,), strict=True)
functional_call(nn.Linear(3, 2), ({"weight": w}, {"weight": w}), x)
functional_call(nn.Linear(3, 2), 3, x)
stack_module_state([])
stack_module_state([nn.Linear(3, 2), nn.ReLU()])
stack_module_state([nn.Linear(3, 2), nn.Linear(3, 2).eval()])
"""

# What torch lacks and lazyt has, or prints in another way; compared with the loop over examples.
LOOPS = """
lambda a: torch.histc(a, 3, -1.0, 1.0)
lambda a: torch.zeros(3).index_put((torch.tensor([0]),), a[:1])
lambda a: a.kthvalue(2).values
lambda a: a.mode().values
lambda a: a.cummax(0).indices
lambda a: a.logcumsumexp(0)
lambda a: torch.searchsorted(torch.tensor([-0.5, 0.0, 0.5]), a)
lambda a: torch.bucketize(a, torch.tensor([0.0, 0.5]))
lambda a: a.repeat_interleave(2)
lambda a: torch.nn.functional.one_hot((a > 0).long(), 2)
lambda a: torch.nn.functional.binary_cross_entropy(a.sigmoid(), a.abs())
"""


def plain(torch: types.ModuleType, value: Any) -> Any:
    if isinstance(value, torch.Tensor):
        kind = str(value.dtype).rpartition(".")[2]
        return ("tensor", list(value.shape), kind, value.detach().tolist())
    if isinstance(value, dict):
        return [(k, plain(torch, v)) for k, v in value.items()]
    if isinstance(value, (tuple, list)):
        return [plain(torch, v) for v in value]
    return value if not callable(value) else "function"


def outcome(torch: types.ModuleType, line: str, preparation: str = PREPARATION) -> Any:
    names: dict[str, Any] = {"torch": torch, "F": torch.nn.functional}
    if torch is lazyt:
        preparation = preparation.replace("from torch.", "from lazyt.")
    torch.manual_seed(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        exec(preparation, names)
        try:
            return plain(torch, eval(line, names))
        except Exception as error:
            return ("error", type(error).__name__, str(error))


@pytest.mark.parametrize("line", lines_of(LINES))
def test_gives_what_torch_gives(oracle: types.ModuleType, line: str) -> None:
    expected = outcome(oracle, line)
    assert not isinstance(expected, tuple) or expected[0] != "error", expected
    found = outcome(lazyt, line)
    assert same(expected, found, 2e-5), (expected, found)


@pytest.mark.parametrize("line", lines_of(ERRORS))
def test_raises_what_torch_raises(oracle: types.ModuleType, line: str) -> None:
    expected = outcome(oracle, line)
    assert expected[0] == "error", expected
    assert outcome(lazyt, line) == expected


@pytest.mark.parametrize("line", lines_of(LOOPS))
def test_gives_what_a_loop_gives(line: str) -> None:
    torch = lazyt
    names = {"torch": torch}
    function = eval(line, names)
    x = torch.sin(torch.arange(1.0, 13.0) * 1.7).reshape(4, 3)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = lazyt.func.vmap(function)(x)
    expected = torch.stack([function(a) for a in x])
    assert same(plain(torch, expected), plain(torch, found))
