"""Weights that are computed: weight and spectral normalization, parametrizations, pruning, fusion.

Each case is a few lines that leave their findings in `result`, run on lazyt and on PyTorch.
"""

from __future__ import annotations

import copy
import importlib
import types

import numpy as np
import pytest
from test_nn import nn_of, same

import lazyt
import lazyt.nn

TRAIN = """
opt = torch.optim.SGD(net.parameters(), lr=0.1)
x = torch.randn(4, *shape)
for _ in range(3):
    loss = net(x).square().mean()
    opt.zero_grad()
    loss.backward()
    opt.step()
net.eval()
result = [loss, net(x), list(net.state_dict()), *net.state_dict().values(), str(net)]
"""
NETS = """
nn.utils.weight_norm(nn.Linear(3, 2))
nn.utils.weight_norm(nn.Linear(3, 2), dim=None)
nn.utils.weight_norm(nn.Conv2d(3, 2, 2), dim=1)
nn.utils.weight_norm(nn.ConvTranspose1d(3, 2, 2), 'weight', 2)
nn.utils.spectral_norm(nn.Linear(3, 2))
nn.utils.spectral_norm(nn.ConvTranspose2d(3, 2, 2), n_power_iterations=2)
nn.utils.spectral_norm(nn.Conv1d(3, 2, 2), dim=1)
nn.utils.parametrizations.weight_norm(nn.Linear(3, 2))
nn.utils.parametrizations.weight_norm(nn.Conv1d(3, 2, 2), dim=2)
nn.utils.parametrizations.spectral_norm(nn.Linear(3, 2))
nn.utils.parametrizations.spectral_norm(nn.Conv2d(3, 4, 2), n_power_iterations=3)
nn.utils.parametrizations.spectral_norm(nn.Linear(3, 2), 'bias')
nn.utils.parametrizations.orthogonal(nn.Linear(3, 3))
nn.utils.parametrizations.orthogonal(nn.Linear(3, 3), orthogonal_map='cayley')
nn.utils.parametrizations.orthogonal(nn.Linear(3, 2))
nn.utils.parametrizations.orthogonal(nn.Linear(3, 5))
nn.utils.parametrizations.orthogonal(nn.Linear(3, 5), use_trivialization=False)
nn.utils.prune.l1_unstructured(nn.Linear(3, 4), 'weight', 0.3)
nn.utils.prune.random_unstructured(nn.Linear(3, 4), 'bias', 2)
nn.utils.prune.ln_structured(nn.Conv1d(3, 4, 2), 'weight', 0.5, n=2, dim=0)
nn.utils.prune.random_structured(nn.Linear(3, 4), 'weight', 2, dim=1)
nn.utils.prune.custom_from_mask(nn.Linear(3, 2), 'weight', torch.tensor([[1., 0, 1], [0, 1, 1]]))
nn.utils.prune.identity(nn.Linear(3, 2), 'weight')
""".strip().splitlines()
SHAPES = {"Conv1d": "(3, 5)", "ConvTranspose1d": "(3, 5)"}
SHAPES |= {"Conv2d": "(3, 5, 4)", "ConvTranspose2d": "(3, 5, 4)"}


def modules_of(m: types.ModuleType) -> None:
    """Imports what programs import by name."""
    for name in ("optim", "nn.utils.prune"):
        importlib.import_module(f"{m.__name__}.{name}")


@pytest.mark.parametrize("text", NETS)
def test_training(text, oracle):
    modules_of(lazyt)
    modules_of(oracle)
    layer = text.split("nn.")[-1].split("(")[0]
    shape = SHAPES.get(layer, "(3,)")
    same(f"net = {text}\nshape = {shape}\n{TRAIN}", oracle, 1e-4, 1e-5)


CASES = {
    "removed weight norm": """
net = nn.utils.weight_norm(nn.Linear(3, 2))
with torch.no_grad():
    net.weight_g.mul_(2)
before = net(torch.ones(1, 3))
nn.utils.remove_weight_norm(net)
result = [before, net(torch.ones(1, 3)), list(net.state_dict()), net.weight]
result += [len(net._forward_pre_hooks)]
""",
    "removed spectral norm": """
net = nn.utils.spectral_norm(nn.Linear(3, 2))
net(torch.ones(1, 3))
nn.utils.remove_spectral_norm(net)
result = [list(net.state_dict()), net.weight, len(net._state_dict_hooks)]
""",
    "metadata of spectral norm": """
net = nn.Sequential(nn.utils.spectral_norm(nn.Linear(3, 2)))
result = [dict(net.state_dict()._metadata)]
""",
    "a parametrization of one's own": """
P = nn.utils.parametrize
class Symmetric(nn.Module):
    def forward(self, x):
        return x.triu() + x.triu(1).transpose(-1, -2)
    def right_inverse(self, x):
        return x.triu()
class Scaled(nn.Module):
    def __init__(self):
        super().__init__()
        self.by = nn.Parameter(torch.tensor(2.0))
    def forward(self, x):
        return x * self.by
net = nn.Linear(3, 3)
P.register_parametrization(net, 'weight', Symmetric())
result = [net.weight, str(net), type(net).__name__]
result += [P.is_parametrized(net), P.is_parametrized(net, 'bias')]
P.register_parametrization(net, 'weight', Scaled())
result += [net.weight, list(net.state_dict()), [n for n, _ in net.named_parameters()], str(net)]
with P.cached():
    result += [net.weight is net.weight]
result += [net.weight is net.weight, P.type_before_parametrizations(net) is nn.Linear]
net(torch.ones(2, 3)).sum().backward()
result += [p.grad for p in net.parameters()]
P.remove_parametrizations(net, 'weight')
result += [net.weight, type(net).__name__, list(net.state_dict())]
result += [isinstance(net.weight, nn.Parameter)]
""",
    "assigned, and left as it was": """
P = nn.utils.parametrize
class Exp(nn.Module):
    def forward(self, x):
        return x.exp()
    def right_inverse(self, x):
        return x.log()
net = nn.Linear(2, 2)
with torch.no_grad():
    net.weight.abs_()
first = net.weight
P.register_parametrization(net, 'weight', Exp())
start = net.parametrizations.weight.original
result = [net.weight, start, start is first]
net.weight = torch.full((2, 2), 3.0)
result += [net.weight, net.parametrizations.weight.original]
P.remove_parametrizations(net, 'weight', leave_parametrized=False)
result += [net.weight]
""",
    "copied": """
import copy
net = nn.utils.parametrizations.weight_norm(nn.Linear(2, 2))
other = copy.deepcopy(net)
with torch.no_grad():
    other.parametrizations.weight.original0.mul_(2)
result = [net.weight, other.weight, type(other).__name__]
""",
    "an older state dict": """
old = nn.utils.weight_norm(nn.Linear(2, 3))
new = nn.utils.parametrizations.weight_norm(nn.Linear(2, 3))
result = [str(new.load_state_dict(old.state_dict())), new.weight, old.weight_v]
""",
    "transferred": """
P = nn.utils.parametrize
a, b = nn.utils.parametrizations.spectral_norm(nn.Linear(2, 3)), nn.Linear(2, 3)
P.transfer_parametrizations_and_params(a, b)
result = [b.weight, list(b.state_dict())]
""",
    "pruned twice": """
import torch.nn.utils.prune as prune
net = nn.Linear(4, 4)
prune.l1_unstructured(net, 'weight', 4)
prune.ln_structured(net, 'weight', 1, n=1, dim=0)
prune.random_unstructured(net, 'weight', 0.25)
result = [net.weight, list(net.state_dict()), len(next(iter(net._forward_pre_hooks.values())))]
result += [prune.is_pruned(net)]
prune.remove(net, 'weight')
result += [net.weight, list(net.state_dict()), prune.is_pruned(net)]
result += [isinstance(net.weight, nn.Parameter)]
""",
    "pruned as if one": """
import torch.nn.utils.prune as prune
net = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 2))
pairs = [(net[0], 'weight'), (net[2], 'weight'), (net[0], 'bias')]
prune.global_unstructured(pairs, pruning_method=prune.L1Unstructured, amount=0.4)
result = [t for m, n in pairs for t in (getattr(m, n), getattr(m, n + '_mask'))]
result += [prune.L1Unstructured(0.5).prune(torch.tensor([1.0, -3.0, 2.0, 0.5]))]
""",
    "fused": """
result = []
for layer, norm, x, more in [
    (nn.Conv2d(2, 3, 2), nn.BatchNorm2d(3), torch.randn(2, 2, 4, 4), ()),
    (nn.Conv1d(2, 3, 2, bias=False), nn.BatchNorm1d(3, affine=False), torch.randn(2, 2, 4), ()),
    (nn.ConvTranspose2d(2, 3, 2), nn.BatchNorm2d(3), torch.randn(2, 2, 4, 4), (True,)),
]:
    norm(layer(x))
    fused = nn.utils.fuse_conv_bn_eval(layer.eval(), norm.eval(), *more)
    result += [norm(layer(x)), fused(x), fused.weight, fused.bias]
layer, norm = nn.Linear(2, 3), nn.BatchNorm1d(3)
norm(layer(torch.randn(4, 2)))
fused = nn.utils.fuse_linear_bn_eval(layer.eval(), norm.eval())
result += [fused(torch.ones(1, 2)), fused.weight]
""",
    "called with other weights": """
net = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))
x = torch.randn(4, 2)
given = {'0.weight': torch.ones(3, 2, requires_grad=True), '0.bias': torch.zeros(3)}
y = nn.utils.stateless.functional_call(net, given, x)
y.square().sum().backward()
result = [y, given['0.weight'].grad, net[0].weight.grad is None, net[0].weight]
""",
    "not drawn": """
net = nn.utils.skip_init(nn.Linear, 3, 2, bias=False)
result = [torch.rand(2), str(net), list(net.state_dict()), net.weight.shape == (2, 3)]
""",
}


@pytest.mark.parametrize("text", CASES.values(), ids=CASES)
def test_as_pytorch(text, oracle):
    modules_of(lazyt)
    modules_of(oracle)
    text = text.replace("import torch.nn.utils.prune as prune", "prune = nn.utils.prune")
    same(text, oracle, 1e-4, 1e-5)


ERRORS = """
nn.utils.weight_norm(nn.utils.weight_norm(nn.Linear(2, 2)))
nn.utils.remove_weight_norm(nn.Linear(2, 2))
nn.utils.spectral_norm(nn.Linear(2, 2), n_power_iterations=0)
nn.utils.spectral_norm(nn.Linear(2, 2, bias=False), 'bias')
nn.utils.spectral_norm(nn.utils.spectral_norm(nn.Linear(2, 2)))
nn.utils.remove_spectral_norm(nn.Linear(2, 2))
nn.utils.parametrizations.spectral_norm(nn.Linear(2, 2), 'x')
nn.utils.parametrizations.spectral_norm(nn.Linear(2, 2), dim=2)
nn.utils.parametrizations.spectral_norm(nn.Linear(2, 2), n_power_iterations=0)
nn.utils.parametrizations.orthogonal(nn.Linear(2, 2), 'bias')
nn.utils.parametrizations.orthogonal(nn.Linear(2, 2), orthogonal_map='x')
nn.utils.parametrize.register_parametrization(nn.Linear(2, 2), 'x', nn.ReLU())
nn.utils.parametrize.register_parametrization(nn.Linear(2, 2), 'weight', nn.Flatten(0))
nn.utils.parametrize.remove_parametrizations(nn.Linear(2, 2), 'weight')
nn.utils.parametrize.remove_parametrizations(computed, 'weight', False)
computed.__getstate__()
nn.utils.parametrize.ParametrizationList([], torch.ones(2))
nn.utils.prune.l1_unstructured(nn.Linear(2, 2), 'weight', 1.5)
nn.utils.prune.l1_unstructured(nn.Linear(2, 2), 'weight', 5)
nn.utils.prune.l1_unstructured(nn.Linear(2, 2), 'weight', 'x')
nn.utils.prune.l1_unstructured(nn.Linear(2, 2), 'weight', -1)
nn.utils.prune.ln_structured(nn.Linear(2, 2), 'bias', 1, 2, 0)
nn.utils.prune.ln_structured(nn.Linear(2, 2), 'weight', 1, 2, 3)
nn.utils.prune.custom_from_mask(nn.Linear(2, 2), 'weight', torch.ones(3))
nn.utils.prune.remove(nn.Linear(2, 2), 'weight')
nn.utils.prune.global_unstructured([], nn.utils.prune.L1Unstructured, importance_scores=1, amount=1)
nn.utils.fuse_conv_bn_eval(nn.Conv1d(1, 1, 1), nn.BatchNorm1d(1))
nn.utils.skip_init(int)
nn.utils.skip_init(nn.ReLU)
""".strip().splitlines()


@pytest.mark.parametrize("line", ERRORS)
def test_errors(line, oracle):
    found = []
    for m in (lazyt, oracle):
        modules_of(m)
        try:
            nn = nn_of(m)
            computed = nn.utils.parametrizations.weight_norm(nn.Linear(2, 2))
            eval(line, {"nn": nn, "torch": m, "computed": computed})
        except Exception as error:
            words = str(error).replace("lazyt.", "torch.")
            found.append((type(error).__name__, words))
    assert len(found) == 2
    assert found[0] == found[1]


def test_state_dicts_of_both_forms_interchange(oracle):
    for make in ("weight_norm", "spectral_norm"):
        for place in ("utils", "utils.parametrizations"):
            made = []
            for m in (lazyt, oracle):
                home = importlib.import_module(f"{m.__name__}.nn.{place}")
                m.manual_seed(0)
                made.append(getattr(home, make)(nn_of(m).Linear(3, 2)))
            ours, theirs = made
            state = {key: value.numpy().copy() for key, value in theirs.state_dict().items()}
            ours.load_state_dict({key: lazyt.tensor(value * 2) for key, value in state.items()})
            back = {key: value.numpy().copy() for key, value in ours.state_dict().items()}
            theirs.load_state_dict({key: oracle.tensor(value) for key, value in back.items()})
            assert list(back) == list(state)
            for key, value in theirs.state_dict().items():
                np.testing.assert_array_equal(value.numpy(), state[key] * 2)


def test_a_parametrized_module_is_copied_with_its_class():
    net = lazyt.nn.utils.parametrizations.weight_norm(lazyt.nn.Linear(2, 2))
    other = copy.deepcopy(net)
    assert type(other) is type(net)
    assert other.parametrizations.weight.original0 is not net.parametrizations.weight.original0
