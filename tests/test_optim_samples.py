"""Every optimizer of PyTorch's own table, with its samples of settings, in lazyt and in PyTorch.

`torch.testing._internal.common_optimizers.optim_db` lists settings, settings that must fail, and
schedulers to combine. Here each setting trains the same network for twenty steps in both, alone and
with `foreach`, `fused`, `differentiable`, `capturable` and `maximize`; halfway the two exchange
their checkpoints. Parameters, states, groups, learning rates and errors must agree.

The tests take one dtype for most settings; everything runs with

    python tests/test_optim_samples.py [name ...]
"""

from __future__ import annotations

import copy
import sys
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
from sample_tools import differences, ours, outcome, short, table

import lazyt
import lazyt.nn
import lazyt.optim

# What is not compared, and why.
ABSENT = {"SparseAdam": "lazyt has no sparse tensors, and PyTorch's takes sparse gradients only"}
STEPS = 20
# One step of it is twenty iterations, each of which multiplies the differences of roundings: too
# much so in float32.
FEW_STEPS = {"LBFGS": 2}
FLAGS = ("foreach", "fused", "differentiable", "capturable", "maximize")
# Twenty steps multiply the differences of roundings.
SLACK = 30.0


def infos() -> list[Any]:
    """The entries of the table, without those of optimizers that lazyt lacks."""
    found = table("common_optimizers").optim_db
    return [info for info in found if info.name not in ABSENT]


class Training:
    """The same network and optimizer in one library: m is the library, `of` brings values there."""

    def __init__(self, m: Any, of: Any, info: Any, kwargs: dict, dtype: str, groups: bool = False):
        self.m, self.info = m, info
        numbers = np.random.RandomState(0)

        def tensor(*shape: int) -> Any:
            return m.tensor(numbers.uniform(-1, 1, shape), dtype=getattr(m, dtype))

        self.x, self.target = tensor(6, 3), tensor(6, 2)
        self.params = [m.nn.Parameter(tensor(*shape)) for shape in ((4, 3), (2, 4), (4,), (2,))]
        trained = self.params[:2] if info.name == "Muon" else self.params
        separate = [{"params": trained[:1]}, {"params": trained[1:], "lr": 0.02}]
        given = separate if groups else trained
        self.optimizer = getattr(m.optim, info.name)(given, **of(copy.deepcopy(kwargs)))

    def loss(self) -> Any:
        w1, w2, b1, b2 = self.params
        y = (self.x @ w1.T + b1).tanh() @ w2.T + b2
        return ((y - self.target) ** 2).mean()

    def step(self) -> Any:
        def closure() -> Any:
            self.optimizer.zero_grad()
            loss = self.loss()
            loss.backward()
            return loss

        if self.info.step_requires_closure:
            return self.optimizer.step(closure)
        loss = closure()
        self.optimizer.step()
        return loss

    def facts(self) -> dict[str, Any]:
        """Everything that a checkpoint of it would hold."""
        return {"parameters": self.params, "optimizer": self.optimizer.state_dict()}


def theirs_of(value: Any) -> Any:
    """The counterpart in PyTorch of a checkpoint of lazyt."""
    import torch

    if isinstance(value, lazyt.Tensor):
        return torch.tensor(value.detach().tolist(), dtype=getattr(torch, short(value.dtype)))
    if isinstance(value, dict):
        return {key: theirs_of(item) for key, item in value.items()}
    if isinstance(value, (tuple, list)):
        return type(value)(theirs_of(item) for item in value)
    return value


def trained(info: Any, kwargs: dict, dtype: str, groups: bool = False) -> list[str]:
    """How training differs, with checkpoints exchanged halfway."""
    import torch

    def started(m: Any, of: Any) -> Any:
        return outcome(lambda: Training(m, of, info, kwargs, dtype, groups))

    def run(training: Any, steps: int) -> Any:
        return outcome(lambda: [training.step().detach() for _ in range(steps)])

    theirs, mine = started(torch, lambda value: value), started(lazyt, ours)
    if isinstance(theirs, Exception) or isinstance(mine, Exception):
        return differences(theirs, mine, "constructor")
    found = differences(repr(theirs.optimizer), repr(mine.optimizer), "repr")
    steps = FEW_STEPS.get(info.name, STEPS)
    for half in range(2):
        losses = run(theirs, steps // 2), run(mine, steps // 2)
        slack = SLACK * (100 if info.name in FEW_STEPS else 1)
        found += differences(*losses, "losses", slack=slack)
        if any(isinstance(one, Exception) for one in losses):
            return found
        found += differences(theirs.facts(), mine.facts(), "state", slack=slack)
        if half == 0:
            exchanged = ours(theirs.optimizer.state_dict()), mine.optimizer.state_dict()
            theirs.optimizer.load_state_dict(theirs_of(exchanged[1]))
            mine.optimizer.load_state_dict(exchanged[0])
    return found


def settings(info: Any) -> Iterator[dict[str, Any]]:
    """The table's settings, those for CUDA too, alone and with each flag."""
    seen = []
    for device in ("cpu", "cuda"):
        for sample in info.optim_inputs_func(device=device):
            if repr(sample.kwargs) in seen:
                continue
            seen.append(repr(sample.kwargs))
            yield sample.kwargs
            for flag in FLAGS:
                if not sample.kwargs.get(flag):
                    yield {**sample.kwargs, flag: True}


def training_differences(info: Any, dtypes: tuple[str, ...], groups: bool) -> Iterator[str]:
    for kwargs in settings(info):
        for dtype in dtypes[-1:] if info.name in FEW_STEPS else dtypes:
            for text in trained(info, kwargs, dtype, groups):
                yield f"{info.name} {dtype} {kwargs}{' in groups' if groups else ''}: {text}"


def test_training_is_pytorchs(oracle):
    found = [text for info in infos() for text in training_differences(info, ("float64",), False)]
    assert found == []


def test_training_in_float32_and_in_groups_is_pytorchs(oracle):
    found = []
    for info in infos():
        for sample in info.optim_inputs_func(device="cpu"):
            rows = [(False, "float32")] * (info.name not in FEW_STEPS)
            rows += [(True, "float64")] * bool(info.supports_param_groups)
            for groups, dtype in rows:
                for text in trained(info, sample.kwargs, dtype, groups):
                    found.append(f"{info.name} {dtype} {sample.kwargs} {groups}: {text}")
    assert found == []


def error_outcomes(info: Any, error: Any, dtype: str) -> list[Any]:
    """What happens in both libraries with settings that must fail: warnings are errors."""
    import torch

    given = error.optimizer_error_input
    params = given.params
    if params is None:
        params = [torch.nn.Parameter(torch.ones(2, 3, dtype=getattr(torch, dtype)))]
    found = []
    for m, of in ((torch, lambda value: value), (lazyt, ours)):

        def attempt(m: Any = m, of: Any = of) -> None:
            with warnings.catch_warnings():
                warnings.simplefilter("error", UserWarning)
                own, kwargs = of((params, dict(given.kwargs)))
                optimizer = getattr(m.optim, info.name)(own, **kwargs)
                if error.error_on.name == "STEP_ERROR":
                    for theirs, mine in zip(params, own, strict=True):
                        mine.grad = of(theirs.grad)
                    optimizer.step()

        found.append(outcome(attempt))
    return found


def test_errors_are_pytorchs(oracle):
    found, count = [], 0
    for info in infos():
        for dtype in ("float32", "float64"):
            for error in info.optim_error_inputs_func(device="cpu", dtype=getattr(oracle, dtype)):
                theirs, mine = error_outcomes(info, error, dtype)
                assert isinstance(theirs, Exception)
                what = error.optimizer_error_input.desc
                found += [f"{info.name} {what}: {t}" for t in differences(theirs, mine)]
                count += 1
    assert found == [] and count > 150


def scheduled(info: Any, makers: list[Any], kwargs: dict) -> list[str]:
    """How training under schedulers differs: every loss and rate, and the schedulers' states."""
    import torch

    def run(m: Any, of: Any) -> Any:
        training = Training(m, of, info, kwargs, "float64")
        schedulers = [of(make)(training.optimizer) for make in makers]
        plateau = m.optim.lr_scheduler.ReduceLROnPlateau
        rates = []
        for _ in range(FEW_STEPS.get(info.name, STEPS)):
            loss = training.step().detach()
            for scheduler in schedulers:
                arguments = (loss,) if isinstance(scheduler, plateau) else ()
                scheduler.step(*arguments)
            rates.append((loss, [group["lr"] for group in training.optimizer.param_groups]))
        states = []
        for scheduler in schedulers:
            state = dict(scheduler.state_dict())
            states.append({k: v for k, v in state.items() if not k.startswith("_")})
        return [training.params, states, *rates]

    return differences(
        outcome(lambda: run(torch, lambda value: value)),
        outcome(lambda: run(lazyt, ours)),
        slack=SLACK,
    )


def test_schedules_are_pytorchs(oracle):
    found = []
    for info in infos():
        for kwargs in ({}, {"lr": oracle.tensor(0.01)}):
            for index, makers in enumerate(info.scheduler_inputs):
                for text in scheduled(info, makers, kwargs):
                    found.append(f"{info.name} {kwargs} schedulers {index}: {text}")
    assert found == []


def test_the_list_of_what_is_absent_is_true(oracle):
    assert not [name for name in ABSENT if hasattr(lazyt.optim, name)]


def main(names: list[str]) -> None:
    import torch

    torch.set_num_threads(1)
    for info in infos():
        if names and info.name not in names:
            continue
        for groups in (False, True):
            for text in training_differences(info, ("float32", "float64"), groups):
                print(text[:400], flush=True)
        print(info.name, flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
