"""What vmap and its companions do besides giving values: tracing, writes, errors, networks."""

from __future__ import annotations

import gc
import types
import weakref
from typing import Any

import pytest
from harness import run_program

import lazyt as torch
from lazyt.func import functional_call, grad, jvp, stack_module_state, vjp, vmap
from lazyt.ir.node import LOCAL

X = torch.sin(torch.arange(1.0, 13.0) * 1.7).reshape(4, 3)

PREPARATION = """
import torch
from torch import nn
from torch.func import *
from torch.nn import functional as F
torch.manual_seed(0)
x = torch.sin(torch.arange(1.0, 13.0) * 1.7).reshape(4, 3)
t = torch.tensor([0, 1, 1, 0])
def shown(tree):
    if isinstance(tree, dict):
        return {k: shown(v) for k, v in tree.items()}
    if isinstance(tree, (tuple, list)):
        return [shown(v) for v in tree]
    return [list(tree.shape)] + [round(v, 3) + 0.0 for v in tree.detach().flatten().tolist()]
"""

PROGRAMS = {
    "a gradient for each sample": """
net = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.LayerNorm(4), nn.Linear(4, 2))
params = {k: v.detach() for k, v in net.named_parameters()}
def loss(params, sample, target):
    out = functional_call(net, params, (sample.unsqueeze(0),))
    return F.cross_entropy(out, target.unsqueeze(0))
print(shown(vmap(grad(loss), in_dims=(None, 0, 0))(params, x, t)))
""",
    "a gradient for each image": """
net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(2, 2))
params = {k: v.detach() for k, v in net.named_parameters()}
images = torch.sin(torch.arange(4 * 25.0)).reshape(4, 1, 5, 5)
def loss(params, sample, target):
    out = functional_call(net, params, (sample.unsqueeze(0),))
    return F.cross_entropy(out, target.unsqueeze(0))
print(shown(vmap(grad(loss), in_dims=(None, 0, 0))(params, images, t)))
""",
    "an ensemble": """
models = [nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2)) for _ in range(3)]
params, buffers = stack_module_state(models)
print({k: (list(v.shape), v.requires_grad) for k, v in params.items()}, buffers)
def run(params, buffers, x):
    return functional_call(models[0], (params, buffers), (x,))
y = vmap(run, in_dims=(0, 0, None))(params, buffers, x)
print(shown(y))
y.pow(2).sum().backward()
print(shown({k: v.grad for k, v in params.items()}))
print(shown(vmap(run, (0, 0, 0))(params, buffers, torch.stack([x, x * 2, x * 3]))))
""",
    "a network of batch norms": """
net = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))
try:
    vmap(net)(x.reshape(2, 2, 3))
except RuntimeError as error:
    print("RuntimeError")
replace_all_batch_norm_modules_(net)
print(shown(vmap(net)(x.reshape(2, 2, 3))))
print(shown(vmap(net.eval())(x.reshape(2, 2, 3))))
""",
    "a step of model-agnostic meta-learning": """
w = torch.tensor([0.5, -1.0, 0.25], requires_grad=True)
def inner(w, a, b):
    return ((a @ w - b) ** 2).mean()
def outer(w, a, b):
    return inner(w - 0.1 * grad(inner)(w, a, b), a, b)
tasks, targets = torch.stack([x, x.flip(0)]), torch.stack([t, 1 - t]).float()
loss = vmap(outer, in_dims=(None, 0, 0))(w, tasks, targets).sum()
loss.backward()
print(shown(loss), shown(w.grad))
""",
    "a function with a rule of its own": """
class Sine(torch.autograd.Function):
    @staticmethod
    def forward(a):
        return a.sin()
    @staticmethod
    def setup_context(ctx, inputs, output):
        ctx.save_for_backward(*inputs)
    @staticmethod
    def backward(ctx, g):
        a, = ctx.saved_tensors
        return g * a.cos() * 10
    @staticmethod
    def vmap(info, in_dims, a):
        print(info.batch_size, info.randomness, in_dims, list(a.shape))
        return Sine.apply(a), 0
print(shown(vmap(Sine.apply)(x)))
print(shown(vmap(lambda a: Sine.apply(a) + Sine.apply(a))(x * 2)))
""",
    "a function whose rule is generated": """
class Cube(torch.autograd.Function):
    generate_vmap_rule = True
    @staticmethod
    def forward(a):
        return a**3
    @staticmethod
    def setup_context(ctx, inputs, output):
        ctx.save_for_backward(*inputs)
    @staticmethod
    def backward(ctx, g):
        a, = ctx.saved_tensors
        return g * 30 * a**2
r = x.clone().requires_grad_()
y = vmap(Cube.apply)(r)
y.sum().backward()
print(shown(y), shown(r.grad))
print(shown(vmap(grad(lambda a: Cube.apply(a).sum()))(x)))
print(shown(grad(lambda a: vmap(Cube.apply)(a).sum())(x)))
print(shown(jacrev(Cube.apply)(x[0])))
""",
    "writes into what is mapped are seen": """
z = x.clone()
print(shown(vmap(lambda a: a.add_(1).mul(2))(z)), shown(z))
print(shown(vmap(lambda a, b: a[0].copy_(b[0]), in_dims=(1, 0))(z, x[:3])), shown(z))
""",
    "what is printed inside": """
print(vmap(lambda a: (print(a * 2), a)[1])(torch.ones(2, 2)).sum().item())
vmap(vmap(lambda a: (print(a), a)[1]))(torch.ones(2, 1, 2))
""",
    "grad modes": """
r = x.clone().requires_grad_()
with torch.no_grad():
    print(shown(grad(lambda a: (a**2).sum())(r)), grad(lambda a: (a**2).sum())(r).requires_grad)
    print(vmap(lambda a: a * 2)(r).requires_grad)
def partly(a):
    with torch.no_grad():
        c = a**2
    return (a * c).sum()
print(shown(grad(partly)(x)), shown(vmap(grad(partly))(x)))
y = vmap(lambda a: a.detach() * a)(r)
y.sum().backward()
print(shown(r.grad), y.requires_grad, vmap(lambda a: a.detach())(r).requires_grad)
""",
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_gives_what_torch_gives(oracle: types.ModuleType, name: str) -> None:
    text = PREPARATION + PROGRAMS[name]
    assert run_program(text, name="lazyt") == run_program(text, name="torch")


def test_the_function_runs_once_and_the_graph_is_batched() -> None:
    calls = []

    def function(a: Any) -> Any:
        calls.append(tuple(a.shape))
        return (a.sin() * W).sum()

    X.tolist()
    W = torch.ones(3).exp()
    torch.reset_stats()
    found = vmap(function)(X).tolist()
    assert calls == [(3,)]
    assert torch.stats()["by_op"] == {"exp": 1, "full": 1, "mul": 1, "sin": 1, "sum": 1}
    assert found == [function(a).item() for a in X]


def test_a_jvp_computes_no_more_than_its_tangent_needs() -> None:
    x, t = X[0].clone(), torch.ones(3)
    assert x.tolist() == X[0].tolist() and t.tolist() == [1.0] * 3  # both are computed
    torch.reset_stats()
    jvp(torch.sin, (x,), (t,))[1].tolist()
    assert torch.stats()["by_op"] == {"cos": 1, "mul": 1}


def test_vmap_with_another_batch_is_the_same_program() -> None:
    function = vmap(grad(lambda a: (a.exp() * a).sum()))
    for _ in range(3):
        function(X).tolist()
    torch.reset_stats()
    function(X + 1).tolist()
    assert torch.stats()["misses"] == 0


def test_nothing_of_one_example_stays() -> None:
    leaked: list[Any] = []
    held = torch.ones(2) * 3
    y = vmap(lambda a: (leaked.append(a * 2), a + 1)[1])(X)
    names = [n.op.name for n in LOCAL.trace]
    assert "per_example" not in names and names.count("add") == 1
    assert y.tolist() == (X + 1).tolist() and held.tolist() == [3.0, 3.0]
    with pytest.raises(RuntimeError, match="doesn't have storage"):
        leaked[0].tolist()
    reference = weakref.ref(leaked.pop()._node)
    gc.collect()
    assert reference() is None


def test_an_error_inside_leaves_the_trace_as_it_was() -> None:
    pending = torch.ones(2) * 5
    trace = list(LOCAL.trace)

    def fails(a: Any) -> Any:
        b = a * 2
        raise KeyError(b.shape)

    with pytest.raises(KeyError):
        vmap(fails)(X)
    assert trace == LOCAL.trace and not LOCAL.levels and not LOCAL.held
    assert pending.tolist() == [5.0, 5.0]


def test_a_value_that_is_shared_can_be_read_inside() -> None:
    scale = torch.ones(()) * 4

    def function(a: Any) -> Any:
        return a * scale.item() if (scale * 2).item() > 3 else a

    assert vmap(function)(X).tolist() == (X * 4).tolist()


def test_a_pulled_back_function_can_be_used_again_and_later() -> None:
    x = X[0].clone()
    _, pull = vjp(lambda a: a.sin(), x)
    first = pull(torch.ones(3))[0].tolist()
    assert pull(torch.ones(3))[0].tolist() == first == x.cos().tolist()
    assert vmap(pull)(torch.eye(3))[0].diagonal().tolist() == first


def test_checkpoints_go_through_transforms() -> None:
    checkpoint = torch.utils.checkpoint.checkpoint
    plain = lambda a: (a.sin() * a).sum()
    saved = lambda a: checkpoint(lambda b: b.sin() * b, a, use_reentrant=False).sum()
    expected = vmap(grad(plain))(X).tolist()
    assert vmap(grad(saved))(X).tolist() == expected
    assert grad(lambda a: vmap(saved)(a).sum())(X).tolist() == expected
    leaf = X.clone().requires_grad_()
    checkpoint(lambda a: vmap(plain)(a).sum(), leaf, use_reentrant=False).backward()
    assert leaf.grad.tolist() == expected


def test_modules_are_as_before() -> None:
    net = torch.nn.Linear(3, 3)
    weight = net.weight
    with pytest.raises(RuntimeError):
        functional_call(net, {"weight": torch.ones(7, 7)}, (X,))
    assert net.weight is weight
    tied = torch.nn.Sequential(net, torch.nn.ReLU())
    tied.register_module("again", net)
    found = functional_call(tied, {"0.weight": torch.zeros(3, 3), "0.bias": torch.ones(3)}, (X,))
    assert found.tolist() == [[1.0] * 3] * 4
    assert net.weight is weight
    parameters, _ = stack_module_state([net, torch.nn.Linear(3, 3)])
    assert parameters["weight"].is_leaf


@pytest.mark.parametrize("tier", ["numpy", "c"])
def test_on_every_tier(tier: str, request: pytest.FixtureRequest) -> None:
    expected = vmap(grad(lambda a: (a.softmax(0) * X[0]).logsumexp(0)))(X).tolist()
    if tier == "c":
        request.getfixturevalue("c_tier")
        found = vmap(grad(lambda a: (a.softmax(0) * X[0]).logsumexp(0)))(X).tolist()
        for a, b in zip(expected, found, strict=True):
            assert a == pytest.approx(b, abs=1e-6)


def _results(value: Any) -> list[Any]:
    return list(value) if isinstance(value, (tuple, list)) else [value]


def _public_functions() -> dict[str, Any]:
    import lazyt.nn.functional as F
    from lazyt.registry import FUNCTIONS

    found = {n: getattr(F, n) for n in dir(F)} | FUNCTIONS
    kinds = (types.FunctionType, types.BuiltinFunctionType)
    return {n: f for n, f in sorted(found.items()) if n[0] != "_" and isinstance(f, kinds)}


# What draws gives each call other numbers, and one call for all examples the same.
DRAWS = {"gumbel_softmax", "normal", "rrelu", "rrelu_", "bernoulli", "rand_like", "randn_like"}


@pytest.mark.filterwarnings("ignore")
def test_every_public_function_of_a_matrix_gives_what_a_loop_gives_or_says_why_not() -> None:
    x = torch.sin(torch.arange(1.0, 49.0) * 1.7).reshape(4, 3, 4) * 0.4 + 0.5
    checked, refused, wrong = [], [], []
    for name, function in _public_functions().items():
        if name in DRAWS or "dropout" in name or name == "broadcast_shapes":
            continue
        try:
            each = [_results(function(a.clone())) for a in x]
            assert all(type(r) is torch.Tensor for r in each[0])
            expected = [torch.stack(list(found)) for found in zip(*each, strict=True)]
            assert all(e.sum().item() is not None for e in expected)
        except Exception:
            continue  # no function of one tensor
        try:
            found = _results(vmap(function)(x.clone()))
            same = all(
                f.dtype is e.dtype
                and f.shape == e.shape
                and f.allclose(e, atol=1e-5, equal_nan=True)
                for f, e in zip(found, expected, strict=True)
            )
            (checked if same else wrong).append(name)
        except RuntimeError as error:
            (refused if str(error).startswith("vmap: ") else wrong).append(name)
    assert not wrong
    assert set(refused) <= {
        "argwhere", "masked_select", "nonzero", "nonzero_static", "tensor", "unique",
        "unique_consecutive", "where", "as_tensor", "asarray",
    }  # fmt: skip
    assert len(checked) > 180
