"""Module and its containers: registration, hooks, saving and loading, printing, copies."""

from __future__ import annotations

import copy
import pickle
from collections import OrderedDict

import pytest

import lazyt
from lazyt.nn.containers import (
    ModuleDict,
    ModuleList,
    ParameterDict,
    ParameterList,
    Sequential,
)
from lazyt.nn.hooks import register_module_forward_hook, register_module_forward_pre_hook
from lazyt.nn.module import Module
from lazyt.parameter import Parameter


class Affine(Module):
    def __init__(self, n: int = 2, gain: float = 1.0) -> None:
        super().__init__()
        self.weight = Parameter(lazyt.full((n,), gain))
        self.bias = Parameter(lazyt.zeros(n))
        self.n = n

    def forward(self, x, shift=0.0, *, factor=1.0):
        return (self.weight * x + self.bias + shift) * factor

    def extra_repr(self) -> str:
        return f"n={self.n}"


class Norm(Module):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", lazyt.zeros(2))
        self.register_buffer("cache", lazyt.ones(1), persistent=False)
        self.register_buffer("none", None)
        self.register_parameter("absent", None)
        self.inner = Affine()

    def forward(self, x):
        return self.inner(x - self.mean)


def network() -> Sequential:
    return Sequential(Affine(), Norm(), Affine(gain=3.0))


# Attributes


def test_assignment_sorts_by_kind():
    net = Norm()
    net.plain = 3
    net.fresh = Parameter(lazyt.ones(1))
    net.child = Affine()
    assert "plain" in net.__dict__ and "fresh" not in net.__dict__ and "child" not in net.__dict__
    assert net._modules["child"] is net.child and net._parameters["fresh"] is net.fresh
    assert net.none is None and net.absent is None
    net.plain = Affine()  # changes its kind, and its place
    assert "plain" not in net.__dict__ and list(net._modules) == ["inner", "child", "plain"]
    net.cache = Parameter(lazyt.ones(1))
    assert "cache" in net._parameters and "cache" not in net._buffers
    net.mean = None
    assert net.mean is None and "mean" in net._buffers
    for name in ("plain", "fresh", "mean", "child"):
        delattr(net, name)
        assert not hasattr(net, name)
    assert "inner" in dir(net) and "cache" in dir(net) and "forward" in dir(net)


@pytest.mark.parametrize(
    ("act", "error", "text"),
    [
        (lambda m: m.missing, AttributeError, "'Norm' object has no attribute 'missing'"),
        (
            lambda m: setattr(m, "absent", 3),
            TypeError,
            "cannot assign 'int' as parameter 'absent' (torch.nn.Parameter or None expected)",
        ),
        (
            lambda m: setattr(m, "absent", lazyt.ones(1)),
            TypeError,
            "cannot assign 'torch.FloatTensor' as parameter 'absent' "
            "(torch.nn.Parameter or None expected)",
        ),
        (
            lambda m: setattr(m, "inner", 3),
            TypeError,
            "cannot assign 'int' as child module 'inner' (torch.nn.Module or None expected)",
        ),
        (
            lambda m: setattr(m, "mean", 3),
            TypeError,
            "cannot assign 'int' as buffer 'mean' (torch.nn.Buffer, torch.Tensor or None expected)",
        ),
        (
            lambda m: m.register_parameter("x.y", None),
            KeyError,
            "'parameter name can\\'t contain \".\"'",
        ),
        (
            lambda m: m.register_buffer("", None),
            KeyError,
            "'buffer name can\\'t be empty string \"\"'",
        ),
        (
            lambda m: m.register_buffer(3, None),
            TypeError,
            "buffer name should be a string. Got int",
        ),
        (
            lambda m: m.register_buffer("training", None),
            KeyError,
            "\"attribute 'training' already exists\"",
        ),
        (
            lambda m: m.register_parameter("w", lazyt.ones(1)),
            TypeError,
            "cannot assign 'torch.FloatTensor' object to parameter 'w' "
            "(torch.nn.Parameter or None required)",
        ),
        (lambda m: m.add_module("x", 3), TypeError, "int is not a Module subclass"),
        (lambda m: m.get_submodule("inner.q"), AttributeError, "Affine has no attribute `q`"),
        (lambda m: m.get_submodule("inner.n"), AttributeError, "`n` is not an nn.Module"),
        (lambda m: m.get_parameter("mean"), AttributeError, "`mean` is not an nn.Parameter"),
        (lambda m: m.get_buffer("inner.bias"), AttributeError, "`bias` is not a buffer"),
        (lambda m: m.train("yes"), ValueError, "training mode is expected to be boolean"),
        (
            lambda m: m.to(lazyt.int64),
            TypeError,
            "nn.Module.to only accepts floating point or complex dtypes, but got desired "
            "dtype=torch.int64",
        ),
        (
            lambda m: Module()(1),
            NotImplementedError,
            'Module [Module] is missing the required "forward" function',
        ),
        (
            lambda m: Module(3),
            TypeError,
            "Module.__init__() takes 1 positional argument but 2 were given",
        ),
        (
            lambda m: m.load_state_dict([]),
            TypeError,
            "Expected state_dict to be dict-like, got <class 'list'>.",
        ),
    ],
)
def test_misuse_is_named(act, error, text):
    with pytest.raises(error) as caught:
        act(Norm())
    assert str(caught.value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (lambda: Affine(), "cannot assign module before Module.__init__() call"),
        (
            lambda: Parameter(lazyt.ones(1)),
            "cannot assign parameters before Module.__init__() call",
        ),
    ],
)
def test_assignment_before_init(value, text):
    class Early(Module):
        def __init__(self):
            self.member = value()

    with pytest.raises(AttributeError) as caught:
        Early()
    assert str(caught.value) == text


# Walking


def test_names_and_sharing():
    net = network()
    net[2].weight = net[0].weight
    assert [name for name, _ in net.named_parameters()] == [
        "0.weight",
        "0.bias",
        "1.inner.weight",
        "1.inner.bias",
        "2.bias",
    ]
    assert len(list(net.named_parameters(remove_duplicate=False))) == 6
    assert [name for name, _ in net.named_buffers()] == ["1.mean", "1.cache"]
    assert [name for name, _ in net.named_modules()] == ["", "0", "1", "1.inner", "2"]
    assert [name for name, _ in net[1].named_parameters("p", recurse=False)] == []
    assert net.get_parameter("1.inner.bias") is net[1].inner.bias
    assert net.get_submodule("1.inner") is net[1].inner and net.get_submodule("") is net
    net.again = net[0]
    assert len(list(net.children())) == 3 and "again.weight" in net.state_dict()
    order: list[str] = []
    assert net.apply(lambda module: order.append(type(module).__name__)) is net
    assert order == ["Affine", "Affine", "Norm", "Affine", "Sequential"]


def test_modes_and_gradients():
    net = network()
    assert [m.training for m in net.eval().modules()] == [False] * 5 and net.train()[1].training
    net(lazyt.ones(2)).sum().backward()
    net.zero_grad(set_to_none=False)
    assert [p.grad.tolist() for p in net.parameters()] == [[0.0, 0.0]] * 6
    net.zero_grad()
    assert [p.grad for p in net.parameters()] == [None] * 6
    assert not net.requires_grad_(False)(lazyt.ones(2)).requires_grad


def test_conversion_keeps_the_objects():
    net = Norm()
    net.count = None
    net.register_buffer("steps", lazyt.tensor(3))
    weight = net.inner.weight
    weight.grad = lazyt.ones(2)
    grad = weight.grad
    view = weight.detach()
    assert net.double() is net and net.inner.weight is weight and weight.grad is grad
    assert weight.dtype == grad.dtype == net.mean.dtype == lazyt.float64
    assert net.steps.dtype == lazyt.int64 and view.dtype == lazyt.float32
    net.to("cpu", lazyt.float16)
    assert weight.dtype == lazyt.float16 and net.steps.dtype == lazyt.int64
    net.to(lazyt.ones(1))
    assert weight.dtype == lazyt.float32 and weight.requires_grad and weight.is_leaf


# Hooks


def test_forward_hooks():
    net, log = Affine(gain=2.0), []
    x = lazyt.tensor([1.0, 2.0])
    handles = [
        net.register_forward_pre_hook(lambda m, args: log.append("pre")),
        net.register_forward_pre_hook(lambda m, args: (args[0] * 10,)),
        net.register_forward_pre_hook(
            lambda m, args, kwargs: (args, {"factor": 2.0}), with_kwargs=True
        ),
        net.register_forward_hook(lambda m, args, out: log.append(args[0].tolist())),
        net.register_forward_hook(lambda m, args, out: out + 1),
        net.register_forward_hook(
            lambda m, args, kwargs, out: log.append(sorted(kwargs)), prepend=True, with_kwargs=True
        ),
    ]
    assert net(x).tolist() == [41.0, 81.0]
    assert log == ["pre", ["factor"], [10.0, 20.0]]
    for handle in handles:
        handle.remove()
        handle.remove()
    assert net(x).tolist() == [2.0, 4.0] and not net._forward_hooks_with_kwargs
    net.register_forward_pre_hook(lambda m, args, kwargs: 3, with_kwargs=True)
    with pytest.raises(RuntimeError, match="must return None or a tuple of"):
        net(x)


def test_hooks_of_all_modules():
    log = []
    with (
        register_module_forward_pre_hook(lambda m, args: log.append(type(m).__name__)),
        register_module_forward_hook(lambda m, args, out: out * 2),
    ):
        assert Sequential(Affine(), Affine())(lazyt.ones(2)).tolist() == [8.0, 8.0]
    assert log == ["Sequential", "Affine", "Affine"]
    assert Affine()(lazyt.ones(2)).tolist() == [1.0, 1.0]


def test_hook_that_is_always_called():
    class Broken(Module):
        def forward(self, x):
            raise ValueError("broken")

    net, log = Broken(), []
    net.register_forward_hook(lambda m, args, out: log.append(out), always_call=True)
    net.register_forward_hook(lambda m, args, out: log.append("never"))
    with pytest.raises(ValueError, match="broken"):
        net(1)
    assert log == [None]


def test_full_backward_hooks():
    net, log = Affine(gain=3.0), []
    net.register_full_backward_pre_hook(lambda m, grads: (grads[0] * 10,))
    net.register_full_backward_hook(
        lambda m, grad_in, grad_out: log.append((grad_in[0].tolist(), grad_out[0].tolist()))
    )
    net.register_full_backward_hook(lambda m, grad_in, grad_out: (grad_in[0] + 1,))
    x = lazyt.ones(2, requires_grad=True)
    net(x).sum().backward()
    assert log == [([30.0, 30.0], [10.0, 10.0])]
    assert x.grad.tolist() == [31.0, 31.0] and net.weight.grad.tolist() == [10.0, 10.0]
    with pytest.raises(RuntimeError, match="Cannot use both regular backward hooks"):
        net.register_backward_hook(lambda *a: None)


def test_backward_hook_without_inputs_that_need_gradients():
    net, log = Affine(), []
    net.register_full_backward_hook(lambda m, gi, go: log.append((gi, go[0].tolist())))
    with pytest.warns(UserWarning, match="no inputs require gradients"):
        net(lazyt.ones(2)).sum().backward()
    assert log == [((None,), [1.0, 1.0])]


def test_backward_hook_sees_unused_outputs_as_none():
    class Two(Module):
        def forward(self, x, y):
            return x * 2, y * 3

    net, log = Two(), []
    net.register_full_backward_hook(lambda m, gi, go: log.append((gi[0].tolist(), go[1])))
    x, y = lazyt.ones(1, requires_grad=True), lazyt.ones(1, requires_grad=True)
    net(x, y)[0].sum().backward()
    assert log == [([2.0], None)] and y.grad.tolist() == [0.0]


# Saving and loading


def test_state_dict_shares_and_loading_copies():
    net, other = network(), network()
    state = net.state_dict()
    assert isinstance(state, OrderedDict) and list(state) == [
        "0.weight",
        "0.bias",
        "1.mean",
        "1.inner.weight",
        "1.inner.bias",
        "2.weight",
        "2.bias",
    ]
    assert state._metadata["1.inner"] == {"version": 1}
    state["0.bias"].fill_(7)
    assert net[0].bias.tolist() == [7.0, 7.0] and not state["0.bias"].requires_grad
    weight = other[0].weight
    assert str(other.load_state_dict(state)) == "<All keys matched successfully>"
    assert other[0].weight is weight and other[0].bias.tolist() == [7.0, 7.0]
    state["0.bias"].zero_()
    assert other[0].bias.tolist() == [7.0, 7.0]
    assert net.state_dict(keep_vars=True)["0.bias"] is net[0].bias
    assert list(net[0].state_dict(prefix="p.")) == ["p.weight", "p.bias"]
    assert net.load_state_dict({k: v.double() for k, v in state.items()}) == ([], [])
    assert net[0].weight.dtype == lazyt.float32


def test_all_mismatches_are_listed():
    net = network()
    state = {k: v for k, v in net.state_dict().items() if k not in ("0.bias", "1.mean")}
    state.update({"0.scale": lazyt.ones(1), "zzz": lazyt.ones(1), "2.bias": lazyt.ones(3)})
    with pytest.raises(RuntimeError) as caught:
        net.load_state_dict(state)
    assert str(caught.value) == (
        "Error(s) in loading state_dict for Sequential:\n"
        '\tMissing key(s) in state_dict: "0.bias", "1.mean". \n'
        '\tUnexpected key(s) in state_dict: "zzz", "0.scale". \n'
        "\tsize mismatch for 2.bias: copying a param with shape torch.Size([3]) from checkpoint, "
        "the shape in current model is torch.Size([2])."
    )
    del state["2.bias"]
    keys = net.load_state_dict(state, strict=False)
    assert keys.missing_keys == ["0.bias", "1.mean", "2.bias"]
    assert repr(keys) == (
        "_IncompatibleKeys(missing_keys=['0.bias', '1.mean', '2.bias'], "
        "unexpected_keys=['zzz', '0.scale'])"
    )


def test_loading_by_assignment():
    net = Affine()
    weight, value = net.weight, lazyt.ones(2, dtype=lazyt.float64)
    net.bias.requires_grad_(False)
    net.load_state_dict({"weight": value, "bias": value}, assign=True)
    assert net.weight is not weight and net.weight.dtype == lazyt.float64
    assert net.weight.requires_grad and not net.bias.requires_grad


def test_extra_state_and_state_hooks():
    class Extra(Affine):
        got = None

        def get_extra_state(self):
            return {"k": 1}

        def set_extra_state(self, state):
            self.got = state

    net, log = Sequential(Extra()), []
    net[0].register_state_dict_pre_hook(lambda m, prefix, keep: log.append(("pre", prefix)))
    net[0].register_state_dict_post_hook(lambda m, state, prefix, meta: state.update(z=1))
    net.register_load_state_dict_pre_hook(lambda m, state, *rest: log.append(state.pop("z")))
    net.register_load_state_dict_post_hook(lambda m, keys: log.append(keys.missing_keys[:]))
    state = net.state_dict()
    assert list(state) == ["0.weight", "0.bias", "0._extra_state", "z"]
    net.load_state_dict(state)
    assert net[0].got == {"k": 1} and log == [("pre", "0."), 1, []]
    copy.deepcopy(net).load_state_dict(state)
    del state["0._extra_state"]
    with pytest.raises(RuntimeError, match='Missing key.*"0._extra_state"'):
        net.load_state_dict(state)


def test_copies_and_pickles():
    net = network()
    net.tag = {"k": [1]}
    net[2].weight = net[0].weight
    net[0].register_forward_hook(scaled)
    for twin in (copy.deepcopy(net), pickle.loads(pickle.dumps(net))):
        with lazyt.no_grad():
            net[0].weight.zero_()
        net.tag["k"].append(2)
        assert twin[0].weight is twin[2].weight and twin[0].weight is not net[0].weight
        assert twin[0](lazyt.ones(2)).tolist() == [5.0, 5.0] and twin.tag == {"k": [1]}
        with lazyt.no_grad():
            net[0].weight.fill_(1)
        net.tag["k"].pop()


def scaled(module, args, out):
    return out * 5


# Printing and containers


def test_printing():
    net = Sequential(OrderedDict(first=Affine(), rest=ModuleList([Affine(), Affine(), Norm()])))
    assert repr(net) == (
        "Sequential(\n"
        "  (first): Affine(n=2)\n"
        "  (rest): ModuleList(\n"
        "    (0-1): 2 x Affine(n=2)\n"
        "    (2): Norm(\n"
        "      (inner): Affine(n=2)\n"
        "    )\n"
        "  )\n"
        ")"
    )
    assert repr(Module()) == "Module()" and repr(ModuleList()) == "ModuleList()"
    assert repr(ParameterList([lazyt.ones(2, 3), 5])) == (
        "ParameterList(\n"
        "    (0): Parameter containing: [torch.float32 of size 2x3]\n"
        "    (1): Object of type: int\n"
        ")"
    )
    assert repr(ParameterDict({"b": lazyt.ones(2)})) == (
        "ParameterDict(  (b): Parameter containing: [torch.FloatTensor of size 2])"
    )


def test_lists_of_modules():
    a, b, c = Affine(), Norm(), Module()
    seq = Sequential(a, b)
    assert seq[-1] is b and list(seq[1:]._modules) == ["1"] and len(seq + seq) == 4
    assert seq.append(c) is seq and seq.pop(0) is a and list(seq._modules) == ["0", "1"]
    seq.insert(0, a)
    seq[1] = Affine(3)
    assert [type(m) for m in seq] == [Affine, Affine, Module]
    assert len(seq * 2) == 6 and len(2 * seq) == 6
    modules = ModuleList([a])
    modules += [b]
    modules.insert(1, c)
    del modules[0]
    assert list(modules._modules.items()) == [("0", c), ("1", b)] and isinstance(
        modules[0:1], ModuleList
    )
    for bad, text in ((lambda: seq[9], "index 9 is out of range"), (lambda: modules[-3], "-3")):
        with pytest.raises(IndexError, match=text):
            bad()
    with pytest.raises(TypeError, match="int is not a Module subclass"):
        Sequential(1)
    with pytest.raises(TypeError, match="ModuleList.extend should be called with an iterable"):
        ModuleList(3)


def test_dicts_of_modules():
    modules = ModuleDict({"b": Affine(), "a": Norm()})
    modules.update([("c", Module())])
    assert list(modules) == ["b", "a", "c"] and "a" in modules and len(modules) == 3
    assert isinstance(modules.pop("b"), Affine) and list(modules.keys()) == ["a", "c"]
    with pytest.raises(KeyError):
        modules["b"]
    with pytest.raises(ValueError, match="element #0 has length 1; 2 is required"):
        ModuleDict([(1,)])


def test_containers_of_parameters():
    params = ParameterList([lazyt.ones(1), Parameter(lazyt.zeros(2))])
    params.append(3)
    assert [n for n, _ in params.named_parameters()] == ["0", "1"] and params[-1] == 3
    assert params[0].requires_grad and len(params) == 3 and len(params[:2]) == 2
    named = ParameterDict({"b": lazyt.ones(1), "a": lazyt.ones(2)})
    assert list(named) == ["a", "b"] and [n for n, _ in named.named_parameters()] == ["a", "b"]
    assert named.popitem()[0] == "b" and "b" not in named and named.get("b") is None
    assert list((named | ParameterDict({"c": lazyt.ones(1)})).keys()) == ["a", "c"]
    with pytest.raises(RuntimeError, match="ParameterList should not be called."):
        params(1)
