"""Optimizers and schedulers: updates, groups, checkpoints, hooks, and the oracle's numbers."""

from __future__ import annotations

import copy
import pickle
import warnings

import pytest

import lazyt
from lazyt.optim import SGD, Adam, AdamW, Optimizer
from lazyt.optim.lr_scheduler import LambdaLR, LRScheduler, StepLR
from lazyt.parameter import Parameter
from lazyt.tensor import Tensor


def param(*values: float) -> Parameter:
    return Parameter(lazyt.tensor(values))


def close(tensor, values) -> bool:
    return tensor.tolist() == pytest.approx(values, rel=1e-5)


def descend(optimizer: Optimizer, steps: int = 3) -> list[float]:
    """A few steps down the sum of fourth powers; the first parameter."""
    params = optimizer.param_groups[0]["params"]
    for _ in range(steps):
        optimizer.zero_grad()
        sum((p**4).sum() for p in params).backward()
        optimizer.step()
    return params[0].tolist()


# Rules


def test_sgd_by_hand():
    p = param(1.0, 2.0)
    optimizer = SGD([p], lr=0.1, momentum=0.5, dampening=0.2, weight_decay=0.1)
    p.grad = lazyt.tensor([1.0, 1.0])
    optimizer.step()  # the buffer begins as g + 0.1 p
    assert close(p, [1 - 0.11, 2 - 0.12])
    optimizer.step()
    second = [0.5 * 1.1 + 0.8 * (1 + 0.089), 0.5 * 1.2 + 0.8 * (1 + 0.188)]
    assert close(optimizer.state[p]["momentum_buffer"], second)
    assert close(p, [0.89 - 0.1 * second[0], 1.88 - 0.1 * second[1]])


def test_adam_by_hand():
    p = param(1.0)
    optimizer = Adam([p], lr=0.1, betas=(0.5, 0.75), eps=0.0)
    p.grad = lazyt.tensor([2.0])
    optimizer.step()
    assert close(p, [0.9])  # m / (1 - β₁) over the root of v / (1 - β₂) is the sign of g
    p.grad = lazyt.tensor([4.0])
    optimizer.step()
    m, v = (0.5 * 1.0 + 0.5 * 4.0) / 0.75, (0.75 * 1.0 + 0.25 * 16.0) / (1 - 0.75**2)
    assert close(p, [0.9 - 0.1 * m / v**0.5])
    state = optimizer.state[p]
    assert list(state) == ["step", "exp_avg", "exp_avg_sq"]
    assert state["step"].dtype == lazyt.float32 and state["step"].shape == ()
    assert state["step"].item() == 2.0


def test_decoupled_weight_decay():
    p, q = param(1.0), param(1.0)
    for optimizer in (
        AdamW([p], lr=0.1, weight_decay=0.5),
        Adam([q], lr=0.1, weight_decay=0.5, decoupled_weight_decay=True),
    ):
        optimizer.param_groups[0]["params"][0].grad = lazyt.tensor([3.0])
        optimizer.step()
    assert close(p, [0.95 - 0.1]) and p.tolist() == q.tolist()


@pytest.mark.parametrize("lr", [0.1, lazyt.tensor(0.1), lazyt.tensor([0.1])])
def test_learning_rate_may_be_a_tensor(lr):
    for make in (SGD, Adam, AdamW):
        assert descend(make([param(1.0, -2.0)], lr=lr)) == pytest.approx(
            descend(make([param(1.0, -2.0)], lr=0.1)), rel=1e-5
        )


def test_maximize_and_differentiable():
    p = param(1.0)
    p.grad = lazyt.tensor([1.0])
    SGD([p], lr=0.5, maximize=True).step()
    assert p.tolist() == [1.5]
    lr = lazyt.tensor(0.1, requires_grad=True)
    start = lazyt.tensor([1.0, 2.0], requires_grad=True)
    moved = start.clone()
    moved.retain_grad()
    optimizer = SGD([moved], lr=lr, differentiable=True)
    moved.grad = lazyt.tensor([3.0, 4.0])
    optimizer.step()
    moved.sum().backward()
    assert lr.grad.item() == -7.0 and start.grad.tolist() == [1.0, 1.0]


def test_steps_are_in_place_and_untracked():
    p = param(1.0, 2.0)
    view, alias = p.detach()[:1], p.detach()
    p.grad = lazyt.ones(2)
    SGD([p], lr=1.0).step()
    assert view.tolist() == [0.0] and alias.tolist() == [0.0, 1.0]
    assert p.is_leaf and p.requires_grad and p.grad.tolist() == [1.0, 1.0]


def test_missing_gradients_leave_no_state():
    a, b = param(1.0), param(2.0)
    optimizer = Adam([a, b])
    optimizer.step()
    a.grad = lazyt.ones(1)
    optimizer.step()
    assert len(optimizer.state) == 1 and b.tolist() == [2.0]
    optimizer.zero_grad(set_to_none=False)
    assert a.grad.tolist() == [0.0] and b.grad is None
    optimizer.zero_grad()
    assert a.grad is None


def test_closure_is_tracked_and_returned():
    p = param(3.0)
    optimizer = SGD([p], lr=0.5)

    def closure():
        optimizer.zero_grad()
        loss = (p * p).sum()
        loss.backward()
        return loss

    with lazyt.no_grad():
        assert optimizer.step(closure).item() == 9.0
    assert p.tolist() == [0.0] and not optimizer.step(lambda: None)


# The step count of Adam


def test_adam_reads_the_step_it_did_not_write():
    grads = [lazyt.tensor([float(i)]) for i in (1, 5, 2, 3)]

    def run(between):
        p = param(1.0)
        optimizer = Adam([p], lr=0.1)
        for i, grad in enumerate(grads):
            p.grad = grad.clone()
            if i == 2:
                optimizer = between(optimizer, p) or optimizer
            optimizer.step()
        return p.tolist()[0], optimizer.state[p]["step"].item()

    def reloaded(optimizer, p):
        fresh = Adam([p])
        fresh.load_state_dict(copy.deepcopy(optimizer.state_dict()))
        return fresh

    plain = run(lambda optimizer, p: None)
    assert run(reloaded) == plain and plain[1] == 4.0
    assert run(lambda o, p: o.state[p]["step"].fill_(0) and None) != plain
    replaced = run(lambda o, p: o.state[p].update(step=lazyt.tensor(0.0)))
    assert replaced == run(lambda o, p: o.state[p]["step"].zero_() is None)
    assert replaced[1] == 2.0


def test_adam_reads_nothing_while_it_goes(monkeypatch):
    """A read computes all that is pending: once a loaded tensor, and never at a usual step."""
    reads = []
    item = Tensor.item

    def counted(self):
        reads.append(self)
        return item(self)

    params = [param(1.0), param(2.0)]
    optimizer = Adam(params)
    monkeypatch.setattr(Tensor, "item", counted)
    descend(optimizer, 3)
    assert not reads
    optimizer.load_state_dict(optimizer.state_dict())
    descend(optimizer, 3)
    assert len(reads) == 2


# Groups


def test_groups_and_defaults():
    a, b, c = param(1.0), param(1.0), param(1.0)
    optimizer = SGD([{"params": [a], "lr": 0.1}, {"params": b, "momentum": 0.5}], lr=0.01)
    optimizer.add_param_group({"params": [c], "lr": 1.0})
    assert [g["lr"] for g in optimizer.param_groups] == [0.1, 0.01, 1.0]
    assert [g["momentum"] for g in optimizer.param_groups] == [0, 0.5, 0]
    for p in (a, b, c):
        p.grad = lazyt.ones(1)
    optimizer.step()
    assert close(a, [0.9]) and close(b, [0.99]) and close(c, [0.0])
    named = SGD([("x", a), ("y", b)])
    assert named.param_groups[0]["param_names"] == ["x", "y"]
    assert repr(SGD([a], lr=0.5)) == (
        "SGD (\nParameter Group 0\n    dampening: 0\n    differentiable: False\n"
        "    foreach: None\n    fused: None\n    lr: 0.5\n    maximize: False\n"
        "    momentum: 0\n    nesterov: False\n    weight_decay: 0\n)"
    )


SHARED = param(1.0)


@pytest.mark.parametrize(
    ("make", "error", "text"),
    [
        (lambda: SGD([]), ValueError, "optimizer got an empty parameter list"),
        (
            lambda: SGD(param(1.0)),
            TypeError,
            "params argument given to the optimizer should be an iterable of Tensors or dicts, "
            "but got torch.FloatTensor",
        ),
        (
            lambda: SGD([3]),
            TypeError,
            "optimizer can only optimize Tensors, but one of the params is int",
        ),
        (lambda: SGD([param(1.0) * 2]), ValueError, "can't optimize a non-leaf Tensor"),
        (
            lambda: SGD([{"params": [SHARED]}, {"params": [SHARED]}]),
            ValueError,
            "some parameters appear in more than one parameter group",
        ),
        (
            lambda: SGD([("a", param(1.0)), param(1.0)]),
            ValueError,
            "all optimizer params should be with/without names. Some param names are missing",
        ),
        (lambda: SGD([SHARED], lr=-1), ValueError, "Invalid learning rate: -1"),
        (lambda: SGD([SHARED], momentum=-1), ValueError, "Invalid momentum value: -1"),
        (lambda: SGD([SHARED], weight_decay=-1), ValueError, "Invalid weight_decay value: -1"),
        (
            lambda: SGD([SHARED], nesterov=True),
            ValueError,
            "Nesterov momentum requires a momentum and zero dampening",
        ),
        (lambda: SGD([SHARED], lr=lazyt.ones(2)), ValueError, "Tensor lr must be 1-element"),
        (lambda: Adam([SHARED], eps=-1), ValueError, "Invalid epsilon value: -1"),
        (
            lambda: Adam([SHARED], betas=(0.9, 1.0)),
            ValueError,
            "Invalid beta parameter at index 1: 1.0",
        ),
        (
            lambda: Adam([SHARED], betas=(0, 0.9)),
            ValueError,
            "betas must be either both floats or both Tensors",
        ),
        (
            lambda: SGD([SHARED], fused=True, foreach=True),
            RuntimeError,
            "`fused` and `foreach` cannot be `True` together.",
        ),
        (
            lambda: SGD([SHARED]).load_state_dict({"state": {}, "param_groups": []}),
            ValueError,
            "loaded state dict has a different number of parameter groups",
        ),
        (
            lambda: SGD([SHARED]).load_state_dict({"state": {}, "param_groups": [{"params": []}]}),
            ValueError,
            "loaded state dict contains a parameter group that doesn't match the size of "
            "optimizer's group",
        ),
    ],
)
def test_misuse_is_named(make, error, text):
    with pytest.raises(error) as caught:
        make()
    assert str(caught.value) == text


def test_duplicates_warn():
    with pytest.warns(UserWarning, match="duplicate parameters"):
        SGD([SHARED, SHARED])


# Checkpoints and hooks


@pytest.mark.parametrize(
    "make",
    [
        lambda p: SGD(p, lr=0.002, momentum=0.9),
        lambda p: Adam(p, lr=0.05, amsgrad=True),
        lambda p: AdamW(p, lr=0.05),
    ],
)
def test_training_goes_on_from_a_checkpoint(make):
    whole = descend(make([param(1.0, -2.0, 3.0)]), 6)
    first = make([param(1.0, -2.0, 3.0)])
    descend(first, 3)
    p = Parameter(first.param_groups[0]["params"][0].detach().clone())
    state = copy.deepcopy(first.state_dict())
    assert state["param_groups"][0]["params"] == [0] and list(state["state"]) == [0]
    second = make([p])
    second.load_state_dict(state)
    assert descend(second, 3) == whole
    pickled = pickle.loads(pickle.dumps(first))
    assert repr(pickled) == repr(first)
    assert descend(pickled, 3) == whole


def test_loading_casts_to_the_parameter():
    source = Adam([param(1.0)])
    descend(source)
    target = Adam([Parameter(lazyt.ones(1, dtype=lazyt.float64))])
    target.load_state_dict(source.state_dict())
    state = next(iter(target.state.values()))
    assert state["exp_avg"].dtype == lazyt.float64 and state["step"].dtype == lazyt.float32


def test_hooks():
    log = []

    class Own(Optimizer):
        def __init__(self, params):
            super().__init__(params, {"lr": 1.0})

        def step(self, closure=None):
            log.append("step")

    optimizer = Own([param(1.0)])
    optimizer.register_step_pre_hook(lambda o, args, kwargs: log.append("pre"))
    handle = optimizer.register_step_post_hook(lambda o, args, kwargs: log.append("post"))
    optimizer.step()
    handle.remove()
    optimizer.step()
    assert log == ["pre", "step", "post", "pre", "step"]
    optimizer.register_state_dict_post_hook(lambda o, state: {**state, "extra": 1})
    optimizer.register_load_state_dict_pre_hook(lambda o, state: log.append(state["extra"]))
    optimizer.load_state_dict(optimizer.state_dict())
    assert log[-1] == 1


# Schedulers


def rates(scheduler: LRScheduler, epochs: int = 6) -> list[float]:
    seen = []
    for _ in range(epochs):
        seen.append(scheduler.get_last_lr()[0])
        scheduler.optimizer.step()
        scheduler.step()
    return seen


def test_step_and_lambda_schedules():
    optimizer = SGD([param(1.0)], lr=1.0)
    assert rates(StepLR(optimizer, 2, 0.5)) == [1.0, 1.0, 0.5, 0.5, 0.25, 0.25]
    optimizer = SGD([{"params": param(1.0)}, {"params": param(1.0), "lr": 3.0}], lr=1.0)
    scheduler = LambdaLR(optimizer, [lambda epoch: 1 / (epoch + 1), lambda epoch: epoch])
    assert rates(scheduler, 3) == [1.0, 0.5, pytest.approx(1 / 3)]
    assert scheduler.get_last_lr() == [0.25, 9.0] and optimizer.param_groups[1]["initial_lr"] == 3.0
    with pytest.raises(ValueError, match="Expected 2 lr_lambdas, but got 1"):
        LambdaLR(optimizer, [abs])


def test_tensor_rates_are_set_in_place():
    lr = lazyt.tensor(1.0)
    scheduler = StepLR(SGD([param(1.0)], lr=lr), 1, 0.5)
    assert [r.item() for r in rates(scheduler, 3)] == [1.0, 0.5, 0.25] and lr.item() == 0.125


def test_scheduler_goes_on_from_a_checkpoint():
    optimizer = SGD([param(1.0)], lr=1.0)
    scheduler = StepLR(optimizer, 2, 0.5)
    rates(scheduler, 3)
    twin = SGD([param(1.0)], lr=1.0)
    other = StepLR(twin, 2, 0.5)
    other.load_state_dict(scheduler.state_dict())
    twin.load_state_dict(optimizer.state_dict())
    assert "optimizer" not in scheduler.state_dict() and rates(other, 3) == rates(scheduler, 3)
    resumed = StepLR(twin, 2, 0.5, last_epoch=6)
    assert resumed.last_epoch == 7
    with pytest.raises(KeyError, match="'initial_lr' is not specified"):
        StepLR(SGD([param(1.0)]), 2, last_epoch=6)


def test_order_of_the_two_steps():
    scheduler = StepLR(SGD([param(1.0)], lr=1.0), 1)
    with pytest.warns(UserWarning, match="before `optimizer.step"):
        scheduler.step()
    scheduler = StepLR(SGD([param(1.0)], lr=1.0), 1)
    scheduler.optimizer.step()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        scheduler.step()
    with pytest.warns(UserWarning, match="get_last_lr"):
        scheduler.get_lr()


# The oracle

OPTIONS = [
    ("SGD", {"lr": 0.1}),
    ("SGD", {"lr": 0.1, "momentum": 0.9, "dampening": 0.3, "weight_decay": 0.1}),
    ("SGD", {"lr": 0.1, "momentum": 0.9, "nesterov": True, "maximize": True}),
    ("Adam", {}),
    ("Adam", {"lr": 0.1, "betas": (0.5, 0.9), "eps": 1e-3, "weight_decay": 0.1, "amsgrad": True}),
    ("AdamW", {"lr": 0.1, "maximize": True}),
    ("AdamW", {"lr": 0.1, "weight_decay": 0.5, "amsgrad": True}),
]


@pytest.mark.parametrize(("name", "options"), OPTIONS)
def test_against_the_oracle(name, options):
    torch = pytest.importorskip("torch")
    values = [[[1.0, -2.0], [0.5, 3.0]], [4.0, -1.0, 2.0]]

    def run(lib, cls, load=None):
        params = (
            [Parameter(lib.tensor(v)) for v in values]
            if lib is lazyt
            else [torch.nn.Parameter(torch.tensor(v)) for v in values]
        )
        optimizer = cls(params, **options)
        if load:
            optimizer.load_state_dict(load)
        for step in range(5):
            for i, p in enumerate(params):
                p.grad = (p.detach() * (step - 1.5) + i).cos()
            optimizer.step()
        return params, optimizer

    def numbers(tensor):
        return tensor.detach().reshape(-1).tolist()

    ours, our_optimizer = run(lazyt, getattr(lazyt.optim, name))
    theirs, their_optimizer = run(torch, getattr(torch.optim, name))
    for a, b in zip(ours, theirs):
        assert numbers(a) == pytest.approx(numbers(b), rel=2e-5, abs=1e-6)
    assert repr(our_optimizer) == repr(their_optimizer)
    state, expected = our_optimizer.state_dict(), their_optimizer.state_dict()
    assert state["param_groups"] == expected["param_groups"]
    assert {k: list(v) for k, v in state["state"].items()} == {
        k: list(v) for k, v in expected["state"].items()
    }
