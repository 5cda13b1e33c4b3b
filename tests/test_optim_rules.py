"""Every optimizer beside PyTorch's: twenty steps, all options, checkpoints both ways, misuse."""

from __future__ import annotations

import math
import types
from typing import Any

import pytest
from c_tier import needs_compiler
from loop_programs import optimizer as sixty_parameters

import lazyt
from lazyt import optim
from lazyt.runtime.plan import Plan

# Parameters of three groups; the second has another rate, the third another decay.
VALUES = [[[1.0, -2.0], [0.5, 3.0]], [4.0, -1.0, 2.0], [[0.25]], 1.5]

RULES: list[tuple[str, dict[str, Any]]] = [
    ("SGD", {"lr": 0.1}),
    ("SGD", {"lr": 0.1, "momentum": 0.9, "dampening": 0.3, "weight_decay": 0.1}),
    ("SGD", {"lr": 0.1, "momentum": 0.9, "nesterov": True, "maximize": True, "fused": True}),
    ("Adam", {"foreach": True}),
    ("Adam", {"lr": 0.1, "betas": (0.5, 0.9), "eps": 1e-3, "weight_decay": 0.1, "amsgrad": True}),
    ("Adam", {"lr": 0.05, "decoupled_weight_decay": True, "maximize": True, "fused": True}),
    ("AdamW", {"lr": 0.1, "maximize": True}),
    ("AdamW", {"lr": 0.1, "weight_decay": 0.5, "amsgrad": True}),
    ("RMSprop", {}),
    ("RMSprop", {"lr": 0.05, "momentum": 0.6, "centered": True, "weight_decay": 0.1}),
    ("RMSprop", {"alpha": 0.8, "eps": 1e-3, "centered": True, "maximize": True}),
    ("RMSprop", {"momentum": 0.5, "foreach": True}),
    ("Adagrad", {}),
    ("Adagrad", {"lr": 0.1, "lr_decay": 0.2, "weight_decay": 0.1, "eps": 1e-3}),
    ("Adagrad", {"initial_accumulator_value": 0.3, "maximize": True, "fused": True}),
    ("Adadelta", {}),
    ("Adadelta", {"lr": 0.5, "rho": 0.7, "eps": 1e-4, "weight_decay": 0.1, "maximize": True}),
    ("Adamax", {}),
    ("Adamax", {"lr": 0.1, "betas": (0.5, 0.9), "eps": 1e-3, "weight_decay": 0.1}),
    ("Adamax", {"maximize": True, "foreach": True}),
    ("NAdam", {}),
    ("NAdam", {"lr": 0.05, "betas": (0.5, 0.9), "weight_decay": 0.1, "momentum_decay": 0.1}),
    ("NAdam", {"weight_decay": 0.2, "decoupled_weight_decay": True, "maximize": True}),
    ("RAdam", {}),
    ("RAdam", {"lr": 0.05, "betas": (0.8, 0.7), "weight_decay": 0.1, "eps": 1e-3}),
    ("RAdam", {"weight_decay": 0.2, "decoupled_weight_decay": True, "maximize": True}),
    ("Rprop", {}),
    ("Rprop", {"lr": 0.1, "etas": (0.3, 1.5), "step_sizes": (1e-3, 0.2), "maximize": True}),
    ("ASGD", {}),
    ("ASGD", {"lr": 0.1, "lambd": 0.1, "alpha": 0.5, "t0": 4, "weight_decay": 0.1}),
    ("ASGD", {"t0": 2.5, "maximize": True, "foreach": True}),
    ("Adafactor", {}),
    ("Adafactor", {"lr": 0.1, "beta2_decay": -0.5, "eps": (1e-4, 1e-2), "d": 1.5}),
    ("Adafactor", {"weight_decay": 0.1, "maximize": True, "foreach": True}),
]
IDS = [f"{name}-{'-'.join(options)}" for name, options in RULES]


def parameters(lib: types.ModuleType, requires_grad: bool = True) -> list[Any]:
    return [lib.tensor(v, requires_grad=requires_grad) for v in VALUES]


def groups(params: list[Any], name: str) -> list[dict[str, Any]]:
    last = {"params": params[2:]}
    if name != "Rprop":
        last["weight_decay"] = 0.05
    return [{"params": params[:1]}, {"params": [params[1]], "lr": 0.03}, last]


def descend(lib: types.ModuleType, params: list[Any], optimizer: Any, steps: range) -> None:
    """Steps along gradients that change their signs."""
    for step in steps:
        for i, p in enumerate(params):
            p.grad = (p.detach() * (step % 7 - 1.5) + i).cos()
        optimizer.step()


def plain(value: Any) -> Any:
    """State as numbers in lists."""
    if isinstance(value, dict):
        return {key: plain(v) for key, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(v) for v in value]
    return value.tolist() if hasattr(value, "tolist") else value


def assert_close(ours: Any, theirs: Any) -> None:
    """The same structure, numbers equal to 1e-5."""
    if isinstance(theirs, dict):
        assert list(ours) == list(theirs)
        for key in theirs:
            assert_close(ours[key], theirs[key])
    elif isinstance(theirs, list):
        assert len(ours) == len(theirs)
        for a, b in zip(ours, theirs, strict=True):
            assert_close(a, b)
    elif isinstance(theirs, float):
        assert math.isclose(ours, theirs, rel_tol=1e-5, abs_tol=1e-5), (ours, theirs)
    else:
        assert ours == theirs


def moved(state: Any, source: types.ModuleType, target: types.ModuleType) -> Any:
    """A state dict of one library with the tensors of the other."""
    if isinstance(state, dict):
        return {key: moved(v, source, target) for key, v in state.items()}
    if isinstance(state, list):
        return [moved(v, source, target) for v in state]
    if isinstance(state, source.Tensor):
        dtype = getattr(target, str(state.dtype).rpartition(".")[2])
        return target.tensor(state.tolist(), dtype=dtype)
    return state


@pytest.mark.parametrize(("name", "options"), RULES, ids=IDS)
def test_twenty_steps_are_those_of_torch(name: str, options: dict, oracle: Any) -> None:
    made = []
    for lib in (lazyt, oracle):
        params = parameters(lib)
        optimizer = getattr(lib.optim, name)(groups(params, name), **options)
        descend(lib, params, optimizer, range(20))
        made.append((params, optimizer))
    (ours, own), (theirs, other) = made
    assert_close(plain([p.detach() for p in ours]), plain([p.detach() for p in theirs]))
    assert_close(plain(own.state_dict()), plain(other.state_dict()))
    assert repr(own) == repr(other)
    for mine, other_state in zip(own.state.values(), other.state.values(), strict=True):
        for key, value in other_state.items():
            assert str(mine[key].dtype) == str(value.dtype) and mine[key].shape == value.shape


@pytest.mark.parametrize("name", sorted({name for name, _ in RULES}))
def test_state_dicts_go_both_ways(name: str, oracle: Any) -> None:
    """Five steps there and five here are ten steps there, whichever library begins."""
    options = {"momentum": 0.9} if name in ("SGD", "RMSprop") else {}
    whole = parameters(oracle)
    descend(oracle, whole, getattr(oracle.optim, name)(whole, **options), range(10))
    for first, second in ((lazyt, oracle), (oracle, lazyt)):
        params = parameters(first)
        optimizer = getattr(first.optim, name)(params, **options)
        descend(first, params, optimizer, range(5))
        later = moved([p.detach() for p in params], first, second)
        for p in later:
            p.requires_grad_()
        resumed = getattr(second.optim, name)(later, **options)
        resumed.load_state_dict(moved(optimizer.state_dict(), first, second))
        descend(second, later, resumed, range(5, 10))
        assert_close(plain([p.detach() for p in later]), plain([p.detach() for p in whole]))


@pytest.mark.parametrize("name", sorted({name for name, _ in RULES} - {"SGD"}))
def test_nothing_is_read_while_steps_go_on(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A read would compute everything that is pending."""

    def read(self: Any) -> None:
        raise AssertionError("a number was read")

    params = parameters(lazyt)
    optimizer = getattr(optim, name)(params)
    monkeypatch.setattr(lazyt.Tensor, "item", read)
    descend(lazyt, params, optimizer, range(3))


@needs_compiler
@pytest.mark.parametrize(("name", "options"), [RULES[i] for i in (9, 13, 15, 18, 21, 23, 26, 29)])
def test_a_step_over_sixty_parameters_is_few_kernels(
    name: str, options: dict, plans: list[Plan]
) -> None:
    step = sixty_parameters(lambda p: getattr(optim, name)(p, **options))
    for _ in range(8):
        step()
    before = len(plans)
    for _ in range(4):
        step()
    assert len(plans) == before
    kernels = dict(plans[-1].kernels_by_op)
    assert kernels.pop("loops") <= 3 and not kernels


# A rate as a tensor, differentiable steps


@pytest.mark.parametrize("name", sorted({name for name, _ in RULES}))
def test_rates_may_be_tensors(name: str, oracle: Any) -> None:
    made = []
    for lib, lr in ((lazyt, lazyt.tensor([0.05])), (oracle, oracle.tensor([0.05]))):
        params = parameters(lib)
        optimizer = getattr(lib.optim, name)(params, lr=lr)
        descend(lib, params, optimizer, range(5))
        made.append(plain([p.detach() for p in params]))
    assert_close(*made)


@pytest.mark.parametrize("name", sorted({name for name, _ in RULES} - {"Adafactor"}))
def test_steps_can_be_differentiated(name: str, oracle: Any) -> None:
    """The gradient of the parameters after some steps by the values they began with."""
    made = []
    steps = 1 if name in ("Adamax", "Rprop") else 2  # PyTorch writes over what it saved
    for lib in (lazyt, oracle):
        start = [lib.tensor(v, requires_grad=True) for v in VALUES[:2]]
        params = [s.clone() for s in start]
        optimizer = getattr(lib.optim, name)(params, differentiable=True, lr=0.1)
        for _ in range(steps):
            for i, p in enumerate(params):
                p.grad = (p.clone() * 0.7 + i).cos()
            optimizer.step()
        sum((p * p).sum() for p in params).backward()
        made.append(plain([s.grad for s in start]))
    assert_close(*made)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"lr": 0.02, "nesterov": False, "adjust_lr_fn": "match_rms_adamw", "weight_decay": 0.0},
        {"lr": 0.05, "ns_steps": 3, "momentum": 0.5, "adjust_lr_fn": "original"},
    ],
)
def test_muon(options: dict[str, Any], oracle: Any) -> None:
    """In bfloat16, where an order of additions is worth some thousandths of a step."""
    made = []
    for lib in (lazyt, oracle):
        grids = [lib.arange(12.0).view(3, 4), lib.arange(10.0).view(5, 2)]
        params = [(grid * 1.3).sin().requires_grad_() for grid in grids]
        optimizer = lib.optim.Muon(params, **options)
        descend(lib, params, optimizer, range(10))
        made.append((params, optimizer.state_dict(), repr(optimizer)))
    for ours, theirs in zip(made[0][0], made[1][0], strict=True):
        bound = options.get("lr", 1e-3) * 0.1
        assert plain(ours.reshape(-1)) == pytest.approx(plain(theirs.reshape(-1)), abs=bound)
    assert made[0][2] == made[1][2]
    assert made[0][1]["param_groups"] == made[1][1]["param_groups"]
    assert_close(plain(made[0][1]["state"][0].keys()), plain(made[1][1]["state"][0].keys()))


# L-BFGS


def minimised(lib: types.ModuleType, options: dict[str, Any], steps: int) -> Any:
    """Losses on the way down Rosenbrock's valley, where it ends and what is known of it."""
    x = lib.tensor([-1.2, 1.0], dtype=lib.float64, requires_grad=True)
    y = lib.tensor(0.5, dtype=lib.float64, requires_grad=True)
    optimizer = lib.optim.LBFGS([x, y], **options)

    def closure() -> Any:
        optimizer.zero_grad()
        loss = (1 - x[0]) ** 2 + 100 * (x[1] - x[0] ** 2) ** 2 + (y - x[0]) ** 2
        loss.backward()
        return loss

    losses = [optimizer.step(closure).item() for _ in range(steps)]
    state = dict(optimizer.state[x])
    counts = [state["func_evals"], state["n_iter"], len(state["old_dirs"]), len(state["ro"])]
    vectors = plain([state["d"], state["prev_flat_grad"], state["H_diag"]])
    return losses, plain([x.detach(), y.detach()]), counts, vectors


@pytest.mark.parametrize(
    "options",
    [
        {"line_search_fn": "strong_wolfe", "max_iter": 5},
        {"line_search_fn": "strong_wolfe", "max_iter": 4, "history_size": 3, "lr": 0.5},
        {"lr": 0.001, "max_iter": 3},
        {"lr": 0.01, "max_iter": 6, "max_eval": 4, "tolerance_change": 1e-4},
    ],
)
def test_lbfgs_goes_the_way_of_torch(options: dict[str, Any], oracle: Any) -> None:
    ours, theirs = minimised(lazyt, options, 6), minimised(oracle, options, 6)
    assert_close(list(ours), list(theirs))


def test_lbfgs_stops_where_the_gradient_vanishes() -> None:
    x = lazyt.tensor([3.0, -1.0], requires_grad=True)
    optimizer = optim.LBFGS([x], lr=1, line_search_fn="strong_wolfe")
    calls = []

    def closure() -> Any:
        calls.append(1)
        optimizer.zero_grad()
        loss = (x * x).sum()
        loss.backward()
        return loss

    for _ in range(3):
        optimizer.step(closure)
    assert x.abs().max().item() < 1e-6
    before = len(calls)
    optimizer.step(closure)
    assert len(calls) == before + 1


# Misuse: type and text are PyTorch's

MISUSE = """
optim.RMSprop([p], lr=-1)
optim.RMSprop([p], lr=torch.ones(2))
optim.RMSprop([p], eps=-1)
optim.RMSprop([p], momentum=-1)
optim.RMSprop([p], weight_decay=-0.5)
optim.RMSprop([p], alpha=-1)
optim.RMSprop([p], lr="fast")
optim.RMSprop([])
optim.RMSprop(p)
optim.Adagrad([p], lr_decay=-1)
optim.Adagrad([p], initial_accumulator_value=-1)
optim.Adagrad([p], fused=True, foreach=True)
optim.Adagrad([p], fused=True, differentiable=True)
optim.Adadelta([p], rho=1.5)
optim.Adadelta([p], eps=-1)
optim.Adadelta([p], capturable=True).step()
optim.Adamax([p], betas=(0.9, 1.0))
optim.Adamax([p], betas=(-0.1, 0.5))
optim.Adamax([p], capturable=True).step()
optim.NAdam([p], momentum_decay=-1)
optim.NAdam([p], lr=-1)
optim.NAdam([p], capturable=True).step()
optim.RAdam([p], weight_decay=-1)
optim.RAdam([p], foreach=True, differentiable=True).step()
optim.RAdam([p], lr=float("nan"))
optim.Rprop([p], etas=(1.5, 1.2))
optim.Rprop([p], lr=-1)
optim.ASGD([p], weight_decay=-1)
optim.ASGD([p], lr=-1)
optim.ASGD([p], capturable=True).step()
optim.LBFGS([p], lr=-1)
optim.LBFGS([{"params": [p]}, {"params": [q]}])
optim.LBFGS([p], line_search_fn="armijo").step(lambda: closure(p))
optim.Adafactor([p], lr=-1)
optim.Adafactor([p], beta2_decay=1)
optim.Adafactor([p], eps=(-1, 1))
optim.Adafactor([p], eps=(None, -1))
optim.Adafactor([p], d=0.5)
optim.Adafactor([p], weight_decay=-1)
optim.Muon([p])
optim.Muon([q.view(1, 1).detach()], momentum=-1)
optim.Muon([q.view(1, 1).detach()], adjust_lr_fn="other")
optim.Adam([p], lr=torch.tensor(0.1), foreach=True)
optim.Adam([p], capturable=True).step()
optim.Adam([p], foreach=True, differentiable=True).step()
"""


@pytest.mark.parametrize("line", MISUSE.strip().splitlines())
def test_misuse_raises_as_in_torch(line: str, oracle: Any) -> None:
    raised = []
    for lib in (lazyt, oracle):
        p = lib.tensor([1.0], requires_grad=True)
        q = lib.tensor([2.0], requires_grad=True)
        p.grad = lib.ones(1)

        def closure(p: Any) -> Any:
            p.grad = None
            loss = (p * p).sum()
            loss.backward()
            return loss

        names = {"optim": lib.optim, "torch": lib, "p": p, "q": q, "closure": closure}
        with pytest.raises(Exception) as caught:
            eval(line, names)
        raised.append((type(caught.value), str(caught.value)))
    assert raised[0] == raised[1]
