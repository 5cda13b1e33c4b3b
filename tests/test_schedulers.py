"""Every scheduler beside PyTorch's: the same floats, checkpoints, warnings and errors."""

from __future__ import annotations

import copy
import types
import warnings
from typing import Any

import pytest

import lazyt
from lazyt.optim import lr_scheduler


class Factor:
    """A callable object, whose state goes into a state dict."""

    def __init__(self, rate: float) -> None:
        self.rate = rate

    def __call__(self, epoch: float) -> float:
        return self.rate**epoch


# Each line makes a scheduler of an optimizer `opt`, in either library.
SCHEDULERS = """
LambdaLR(opt, lambda epoch: 0.95 ** epoch)
LambdaLR(opt, [lambda epoch: 1 / (epoch + 1), Factor(0.9)])
MultiplicativeLR(opt, lambda epoch: 0.97)
MultiplicativeLR(opt, [Factor(0.99), lambda epoch: 1.01])
StepLR(opt, 4)
StepLR(opt, step_size=3, gamma=0.7)
MultiStepLR(opt, [3, 8, 8, 15], gamma=0.3)
ConstantLR(opt)
ConstantLR(opt, factor=0.3, total_iters=7)
LinearLR(opt)
LinearLR(opt, start_factor=0.9, end_factor=0.1, total_iters=9)
ExponentialLR(opt, 0.93)
PolynomialLR(opt)
PolynomialLR(opt, total_iters=12, power=2.3)
CosineAnnealingLR(opt, 7)
CosineAnnealingLR(opt, T_max=5, eta_min=0.003)
CosineAnnealingWarmRestarts(opt, 4)
CosineAnnealingWarmRestarts(opt, T_0=3, T_mult=2, eta_min=0.001)
CyclicLR(opt, 0.01, 0.3, step_size_up=4)
CyclicLR(opt, [0.01, 0.02], [0.3, 0.2], 3, 5, mode="triangular2")
CyclicLR(opt, 0.01, 0.3, 4, mode="exp_range", gamma=0.95, base_momentum=0.7)
CyclicLR(opt, 0.01, 0.3, 4, scale_fn=Factor(0.9), scale_mode="iterations")
CyclicLR(opt, 0.01, 0.3, 4, scale_fn=lambda x: 1 / x, cycle_momentum=False)
OneCycleLR(opt, 0.5, total_steps=24)
OneCycleLR(opt, [0.5, 0.3], epochs=5, steps_per_epoch=6, anneal_strategy="linear")
OneCycleLR(opt, 0.5, total_steps=40, three_phase=True, pct_start=0.2, final_div_factor=50)
SequentialLR(opt, [ConstantLR(opt, 0.1, 3), ExponentialLR(opt, 0.9)], milestones=[5])
SequentialLR(opt, [LinearLR(opt, 0.2, total_iters=4), CosineAnnealingLR(opt, 9), StepLR(opt, 2)], [4, 13])
ChainedScheduler([ConstantLR(opt, 0.1, 3), ExponentialLR(opt, 0.9)])
ChainedScheduler([StepLR(opt, 2, 0.9), CosineAnnealingLR(opt, 6)], optimizer=opt)
swa_utils.SWALR(opt, 0.05)
swa_utils.SWALR(opt, [0.05, 0.02], anneal_epochs=4, anneal_strategy="linear")
"""  # noqa: E501
LINES = SCHEDULERS.strip().splitlines()
COMBINED = ("SequentialLR", "ChainedScheduler")  # their step takes no epoch


def made(lib: types.ModuleType, line: str, kind: str = "SGD", lr: Any = 0.1) -> Any:
    """The scheduler of a line, over two groups."""
    params = [lib.tensor([float(i)], requires_grad=True) for i in range(2)]
    for p in params:
        p.grad = lib.zeros(1)
    options = {"momentum": 0.9} if kind == "SGD" else {}
    groups = [{"params": params[:1]}, {"params": params[1:], "lr": lr / 3}]
    names = vars(lib.optim.lr_scheduler) | {"swa_utils": lib.optim.swa_utils, "Factor": Factor}
    return eval(line, {**names, "opt": getattr(lib.optim, kind)(groups, lr=lr, **options)})


def plain(value: Any) -> Any:
    return value.item() if hasattr(value, "item") else value


def seen(scheduler: Any, steps: int) -> list[Any]:
    """Rates and momenta from epoch to epoch."""
    rows = []
    for _ in range(steps):
        groups = scheduler.optimizer.param_groups
        rates = [plain(group["lr"]) for group in groups]
        assert [plain(r) for r in scheduler.get_last_lr()] == rates
        rows.append((rates, [group.get("momentum", group.get("betas")) for group in groups]))
        scheduler.optimizer.step()
        scheduler.step()
    return rows


@pytest.mark.parametrize("line", LINES)
def test_sequences_are_equal(line: str, oracle: Any) -> None:
    ours, theirs = made(lazyt, line), made(oracle, line)
    assert seen(ours, 24) == seen(theirs, 24)
    own, other = ours.state_dict(), theirs.state_dict()
    assert set(own) == set(other)
    for key in set(own) - {"_schedulers", "anneal_func"}:
        assert own[key] == other[key], key


@pytest.mark.parametrize("line", [line for line in LINES if "momentum" in line or "Cycle" in line])
def test_the_first_beta_is_a_momentum(line: str, oracle: Any) -> None:
    assert seen(made(lazyt, line, "Adam"), 12) == seen(made(oracle, line, "Adam"), 12)


@pytest.mark.parametrize("line", LINES)
def test_state_dicts_go_both_ways(line: str, oracle: Any) -> None:
    expected = seen(made(oracle, line), 20)[9:]
    for first, second in ((lazyt, oracle), (oracle, lazyt), (lazyt, lazyt)):
        begun, resumed = made(first, line), made(second, line)
        seen(begun, 9)
        state = copy.deepcopy(begun.state_dict())
        kept = copy.deepcopy(state)
        resumed.load_state_dict(state)
        assert state == kept or second is oracle  # PyTorch takes something out of a CyclicLR's
        resumed.optimizer.load_state_dict(begun.optimizer.state_dict() | {"state": {}})
        assert seen(resumed, 11) == expected


@pytest.mark.parametrize("line", [line for line in LINES if not line.startswith(COMBINED)])
def test_an_epoch_by_number(line: str, oracle: Any) -> None:
    """`step(epoch)`, by the closed form where there is one, with its warning."""
    rows = []
    for lib in (lazyt, oracle):
        scheduler = made(lib, line)
        scheduler.optimizer.step()
        rates = []
        for epoch in (2, 9, 4):
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                scheduler.step(epoch)
            rates.append((scheduler.get_last_lr(), [str(w.message) for w in caught]))
        rows.append(rates)
    assert rows[0] == rows[1]


@pytest.mark.parametrize("line", [line for line in LINES if "swa_utils" not in line])
def test_tensor_rates_are_set_in_place(line: str, oracle: Any) -> None:
    rows = []
    for lib in (lazyt, oracle):
        scheduler = made(lib, line, lr=lib.tensor(0.1, dtype=lib.float64))
        tensor = scheduler.optimizer.param_groups[0]["lr"]
        rows.append(seen(scheduler, 10))
        assert scheduler.optimizer.param_groups[0]["lr"] is tensor
    for ours, theirs in zip(*rows, strict=True):
        assert ours[0] == pytest.approx(theirs[0], rel=1e-12, abs=1e-18)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"mode": "max", "factor": 0.5, "patience": 2},
        {"patience": 1, "threshold": 0.05, "threshold_mode": "abs", "cooldown": 2},
        {"mode": "max", "patience": 0, "threshold": 0.3, "min_lr": [0.01, 0.001]},
        {"mode": "max", "threshold_mode": "abs", "patience": 1, "eps": 0.02},
    ],
)
def test_plateaus(options: dict[str, Any], oracle: Any) -> None:
    metrics = [1.0, 0.9, 0.95, 0.93, 0.89, 0.89, 0.89, 1.2, 0.5, 0.6, 0.6, 0.6, 0.6, 0.6, 0.59] * 2
    rows = []
    for lib in (lazyt, oracle):
        scheduler = made(lib, f"ReduceLROnPlateau(opt, **{options!r})")
        twin = made(lib, f"ReduceLROnPlateau(opt, **{options!r})")
        rates = []
        for i, metric in enumerate(metrics):
            scheduler.step(lib.tensor(metric) if i % 2 else metric)
            rates.append((scheduler.get_last_lr(), scheduler.num_bad_epochs, scheduler.best))
        twin.load_state_dict(scheduler.state_dict())
        assert twin.state_dict() == scheduler.state_dict()
        rows.append((rates, scheduler.state_dict(), scheduler.in_cooldown))
    assert rows[0] == rows[1]


MISUSE = """
StepLR(3, 2)
StepLR(opt, 2, verbose=True)
StepLR(opt, 2, last_epoch=4)
LambdaLR(opt, [abs])
MultiplicativeLR(opt, 3)
MultiplicativeLR(opt, [abs, abs, abs])
ConstantLR(opt, factor=2)
LinearLR(opt, start_factor=0)
LinearLR(opt, end_factor=2)
CosineAnnealingWarmRestarts(opt, 0)
CosineAnnealingWarmRestarts(opt, 3, T_mult=1.5)
CosineAnnealingWarmRestarts(opt, 3, eta_min="0")
CosineAnnealingWarmRestarts(opt, 3).step(-1)
CyclicLR(opt, 0.1, 0.2, mode="square")
CyclicLR(opt, [0.1], 0.2)
CyclicLR(opt, 0.1, [0.2, 0.3, 0.4])
CyclicLR(plain, 0.1, 0.2)
CyclicLR(None, 0.1, 0.2)
OneCycleLR(opt, 0.1)
OneCycleLR(opt, 0.1, total_steps=0)
OneCycleLR(opt, 0.1, epochs=2)
OneCycleLR(opt, 0.1, epochs=2.5, steps_per_epoch=2)
OneCycleLR(opt, 0.1, epochs=2, steps_per_epoch=-1)
OneCycleLR(opt, 0.1, total_steps=9, pct_start=2)
OneCycleLR(opt, 0.1, total_steps=9, anneal_strategy="step")
OneCycleLR(plain, 0.1, total_steps=9)
[s := OneCycleLR(opt, 0.1, total_steps=2), s.step(), s.step(), s.step()]
ReduceLROnPlateau(opt, factor=1.0)
ReduceLROnPlateau(opt, mode="least")
ReduceLROnPlateau(opt, threshold_mode="ratio")
ReduceLROnPlateau(opt, min_lr=[0.1])
ReduceLROnPlateau(3)
SequentialLR(opt, [], [])
SequentialLR(opt, [StepLR(opt, 2)], [3])
SequentialLR(opt, [StepLR(opt, 2), 7], [3])
SequentialLR(opt, [StepLR(opt, 2), ReduceLROnPlateau(opt)], [3])
SequentialLR(opt, [StepLR(opt, 2), StepLR(plain, 2)], [3])
ChainedScheduler([])
ChainedScheduler([StepLR(opt, 2), ReduceLROnPlateau(opt)])
LRScheduler(opt)
swa_utils.SWALR(opt, 0.1, anneal_strategy="step")
swa_utils.SWALR(opt, 0.1, anneal_epochs=-1)
swa_utils.SWALR(opt, [0.1])
swa_utils.AveragedModel(model, avg_fn=print, multi_avg_fn=print)
swa_utils.get_ema_avg_fn(1.5)
swa_utils.get_ema_multi_avg_fn(-0.5)
"""


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("line", MISUSE.strip().splitlines())
def test_misuse_raises_as_in_torch(line: str, oracle: Any) -> None:
    raised = []
    for lib in (lazyt, oracle):
        p = [lib.tensor([1.0], requires_grad=True) for _ in range(3)]
        names = vars(lib.optim.lr_scheduler) | {
            "swa_utils": lib.optim.swa_utils,
            "opt": lib.optim.SGD([{"params": p[:1]}, {"params": p[1:2]}], momentum=0.9, lr=0.1),
            "plain": lib.optim.Adagrad(p[2:]),
            "model": lib.nn.Linear(1, 1),
        }
        with pytest.raises(Exception) as caught:
            eval(line, names)
        raised.append((type(caught.value), str(caught.value)))
    assert raised[0] == raised[1]


def test_warnings_are_those_of_torch(oracle: Any) -> None:
    rows = []
    for lib in (lazyt, oracle):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            scheduler = made(lib, "ExponentialLR(opt, 0.5)")
            scheduler.step()  # before the optimizer's
            scheduler.get_lr()
            other = made(lib, "MultiStepLR(opt, [2])")
            other.optimizer.step = lambda: None
            other.step()
        rows.append([(w.category, str(w.message)) for w in caught])
    assert len(rows[0]) == 3 and rows[0] == rows[1]


def test_bases() -> None:
    """User code derives from either name, and PyTorch's own schedulers from the newer."""
    assert issubclass(lr_scheduler._LRScheduler, lr_scheduler.LRScheduler)
    assert not issubclass(lr_scheduler.StepLR, lr_scheduler._LRScheduler)

    class Halves(lr_scheduler._LRScheduler):
        def get_lr(self) -> list[float]:
            return [base / 2**self.last_epoch for base in self.base_lrs]

    optimizer = lazyt.optim.SGD([lazyt.tensor([1.0], requires_grad=True)], lr=1.0)
    assert [rates[0] for rates, _ in seen(Halves(optimizer), 3)] == [1.0, 0.5, 0.25]


# Averages of weights


def averaged(lib: types.ModuleType, options: dict[str, Any]) -> Any:
    """The averages of a small network after four updates, and its state's names."""
    swa = lib.optim.swa_utils
    model = lib.nn.Sequential(lib.nn.Linear(2, 2), lib.nn.BatchNorm1d(2))
    with lib.no_grad():
        for i, p in enumerate(model.parameters()):
            p.copy_(lib.arange(float(p.numel())).view(p.shape) + i)
    average = swa.AveragedModel(model, **{k: make(swa) for k, make in options.items()})
    data = lib.arange(12.0).view(6, 2).cos()
    for step in range(4):
        with lib.no_grad():
            for p in model.parameters():
                p.mul_(0.9).add_(0.1 * step)
        model(data)
        average.update_parameters(model)
    swa.update_bn([data[:3], (data[3:], None)], average)
    return {key: value.tolist() for key, value in average.state_dict().items()}, average(
        data
    ).tolist()


def flat(value: Any) -> list[float]:
    if isinstance(value, dict):
        value = list(value.values())
    return [x for v in value for x in flat(v)] if isinstance(value, (list, tuple)) else [value]


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"use_buffers": lambda swa: True},
        {"multi_avg_fn": lambda swa: swa.get_ema_multi_avg_fn(0.9)},
        {"avg_fn": lambda swa: swa.get_ema_avg_fn(0.7)},
        {"multi_avg_fn": lambda swa: swa.get_swa_multi_avg_fn()},
        {"avg_fn": lambda swa: swa.get_swa_avg_fn()},
        {"avg_fn": lambda swa: lambda a, p, n: a + (p - a) / (2 * n + 1)},
    ],
)
def test_averages_of_models(options: dict[str, Any], oracle: Any) -> None:
    ours, theirs = averaged(lazyt, options), averaged(oracle, options)
    assert list(ours[0]) == list(theirs[0])
    assert flat(ours) == pytest.approx(flat(theirs), rel=1e-5, abs=1e-6)
