"""Schedulers that rise and fall: cycles of rate and momentum, and restarts.

    scheduler = OneCycleLR(optimizer, max_lr=0.1, total_steps=len(loader) * epochs)

`CyclicLR` and `OneCycleLR` are stepped after every batch and move the momentum against the rate.
"""

from __future__ import annotations

import math
import types
from collections.abc import Callable
from functools import partial
from typing import Any

from lazyt.optim.lr_scheduler.base import LRScheduler, per_group, set_option
from lazyt.optim.optimizer import Optimizer

__all__ = ["CosineAnnealingWarmRestarts", "CyclicLR", "OneCycleLR"]


class CosineAnnealingWarmRestarts(LRScheduler):
    """Let the learning rate fall to `eta_min` along half a period of the cosine, again and again
    (Loshchilov and Hutter, SGDR: Stochastic gradient descent with warm restarts, 2017).

    Args:
        T_0: epochs of the first fall.
        T_mult: how many times longer each is than the one before.
        eta_min: the lowest rate.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        T_0: int,
        T_mult: int = 1,
        eta_min: float = 0.0,
        last_epoch: int = -1,
    ) -> None:
        if T_0 <= 0 or not isinstance(T_0, int):
            raise ValueError(f"Expected positive integer T_0, but got {T_0}")
        if T_mult < 1 or not isinstance(T_mult, int):
            raise ValueError(f"Expected integer T_mult >= 1, but got {T_mult}")
        if not isinstance(eta_min, float | int):
            raise ValueError(
                f"Expected float or int eta_min, but got {eta_min} of type {type(eta_min)}"
            )
        self.T_0 = T_0
        self.T_i = T_0
        self.T_mult = T_mult
        self.eta_min = eta_min
        self.T_cur: float = last_epoch
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[Any]:
        """The rates at `T_cur` epochs since the restart, of `T_i`."""
        self._warn_if_not_stepping()
        low, share = self.eta_min, 1 + math.cos(math.pi * self.T_cur / self.T_i)
        return [low + (base_lr - low) * share / 2 for base_lr in self.base_lrs]

    def step(self, epoch: float | None = None) -> None:
        """Go on to the next epoch, or to `epoch`, which may be a fraction between two."""
        if epoch is None and self.last_epoch < 0:
            epoch = 0
        if epoch is None:
            epoch = self.last_epoch + 1
            self.T_cur += 1
            if self.T_cur >= self.T_i:
                self.T_cur %= self.T_i
                self.T_i *= self.T_mult
        else:
            self._go_to(epoch)
        self._set_rates(math.floor(epoch), self.get_lr)

    def _go_to(self, epoch: float) -> None:
        if epoch < 0:
            raise ValueError(f"Expected non-negative epoch, but got {epoch}")
        if epoch < self.T_0:
            self.T_i, self.T_cur = self.T_0, epoch
        elif self.T_mult == 1:
            self.T_cur = epoch % self.T_0
        else:
            n = int(math.log(epoch / self.T_0 * (self.T_mult - 1) + 1, self.T_mult))
            self.T_cur = epoch - self.T_0 * (self.T_mult**n - 1) / (self.T_mult - 1)
            self.T_i = self.T_0 * self.T_mult**n


class _CyclesMomentum(LRScheduler):
    """Base of schedulers that set momenta, or the first of two betas, along with the rates."""

    cycle_momentum: bool
    use_beta1: bool

    def _start_momentum(
        self, base: float | list[float], most: float | list[float]
    ) -> tuple[list[float], list[float]]:
        """See that the optimizer has momenta; the limits of each group."""
        optimizer = self.optimizer
        if "momentum" not in optimizer.defaults and "betas" not in optimizer.defaults:
            raise ValueError(
                "optimizer must support momentum or beta1 with `cycle_momentum` option enabled"
            )
        self.use_beta1 = "betas" in optimizer.defaults
        return per_group("base_momentum", optimizer, base), per_group(
            "max_momentum", optimizer, most
        )

    def _begin_with(self, base: list[float], most: list[float]) -> None:
        for low, high, group in zip(base, most, self.optimizer.param_groups, strict=True):
            self._set_momentum(group, high)
            group["max_momentum"] = high
            group["base_momentum"] = low

    def _set_momentum(self, group: dict[str, Any], momentum: float) -> None:
        if self.use_beta1:
            group["betas"] = (momentum, *group["betas"][1:])
        else:
            group["momentum"] = momentum


class CyclicLR(_CyclesMomentum):
    """Let the learning rate go up and down between two limits (Smith, Cyclical learning rates for
    training neural networks, 2017).

    Args:
        base_lr, max_lr: the limits, for all groups or a list.
        step_size_up, step_size_down: batches on the way up and down.
        mode: "triangular", "triangular2" (each cycle half as high) or "exp_range" (`gamma` to the
            number of the batch as high).
        scale_fn, scale_mode: instead, a function of the "cycle" or of the "iterations".
        cycle_momentum: let the momentum go down and up between `base_momentum` and `max_momentum`.

    Raises:
        ValueError: an unknown mode, an optimizer without momentum, lists of another length.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        base_lr: float | list[float],
        max_lr: float | list[float],
        step_size_up: int = 2000,
        step_size_down: int | None = None,
        mode: str = "triangular",
        gamma: float = 1.0,
        scale_fn: Callable[[float], float] | None = None,
        scale_mode: str = "cycle",
        cycle_momentum: bool = True,
        base_momentum: float = 0.8,
        max_momentum: float = 0.9,
        last_epoch: int = -1,
    ) -> None:
        if not isinstance(optimizer, Optimizer):
            raise TypeError(f"{type(optimizer).__name__} is not an Optimizer")
        self.optimizer = optimizer
        base_lrs = per_group("base_lr", optimizer, base_lr)
        if last_epoch == -1:
            for lr, group in zip(base_lrs, optimizer.param_groups, strict=True):
                set_option(group, "lr", lr)
        self.max_lrs = per_group("max_lr", optimizer, max_lr)
        up = float(step_size_up)
        self.total_size = up + (float(step_size_down) if step_size_down is not None else up)
        self.step_ratio = up / self.total_size
        if mode not in ("triangular", "triangular2", "exp_range") and scale_fn is None:
            raise ValueError("mode is invalid and scale_fn is None")
        self.mode = mode
        self.gamma = gamma
        self._scale_fn_custom = scale_fn
        self.scale_mode = scale_mode
        self._init_scale_fn()
        self.cycle_momentum = cycle_momentum
        if cycle_momentum:
            self.base_momentums, self.max_momentums = self._start_momentum(
                base_momentum, max_momentum
            )
            if last_epoch == -1:
                self._begin_with(self.base_momentums, self.max_momentums)
        super().__init__(optimizer, last_epoch)
        self.base_lrs = base_lrs

    def _init_scale_fn(self) -> None:
        if self._scale_fn_custom is not None:
            return
        self._scale_fn_ref: Callable[[float], float]
        if self.mode == "exp_range":
            self._scale_fn_ref, self.scale_mode = partial(pow, self.gamma), "iterations"
        else:
            self._scale_fn_ref, self.scale_mode = _HEIGHTS[self.mode], "cycle"

    def scale_fn(self, x: float) -> float:
        """How high a cycle goes, of 1."""
        return (self._scale_fn_custom or self._scale_fn_ref)(x)

    def get_lr(self) -> list[Any]:
        """The rates of this batch; sets its momenta."""
        self._warn_if_not_stepping()
        cycle = math.floor(1 + self.last_epoch / self.total_size)
        x = 1.0 + self.last_epoch / self.total_size - cycle
        ratio = self.step_ratio
        share = x / ratio if x <= ratio else (x - 1) / (ratio - 1)
        at = cycle if self.scale_mode == "cycle" else self.last_epoch
        rates = [
            low + (high - low) * share * self.scale_fn(at)
            for low, high in zip(self.base_lrs, self.max_lrs, strict=True)
        ]
        if self.cycle_momentum:
            momenta = [
                high - (high - low) * share * self.scale_fn(at)
                for low, high in zip(self.base_momentums, self.max_momentums, strict=True)
            ]
            for group, momentum in zip(self.optimizer.param_groups, momenta, strict=True):
                self._set_momentum(group, momentum)
        return rates

    def state_dict(self) -> dict[str, Any]:
        """Everything but the optimizer and the scaling function; of one that is an object, what
        it holds."""
        state = super().state_dict()
        state.pop("_scale_fn_ref", None)
        fn = state.pop("_scale_fn_custom")
        plain = fn is None or isinstance(fn, types.FunctionType)
        state["_scale_fn_custom"] = None if plain else fn.__dict__.copy()
        return state

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over a `state_dict`; the scaling function stays."""
        state_dict = state_dict.copy()
        held = state_dict.pop("_scale_fn_custom")
        super().load_state_dict(state_dict)
        if held is not None:
            self._scale_fn_custom.__dict__.update(held)
        self._init_scale_fn()


def _always_full(cycle: float) -> float:
    return 1.0


def _half_of_the_last(cycle: float) -> float:
    return float(1 / 2.0 ** (cycle - 1))


_HEIGHTS = {"triangular": _always_full, "triangular2": _half_of_the_last}


def _along_cosine(start: Any, end: Any, share: float) -> Any:
    return end + (start - end) / 2.0 * (math.cos(math.pi * share) + 1)


def _along_line(start: Any, end: Any, share: float) -> Any:
    return (end - start) * share + start


_CURVES = {"cos": _along_cosine, "linear": _along_line}


def _phase(end: float, lr: tuple[str, str], momentum: tuple[str, str]) -> dict[str, Any]:
    return {
        "end_step": end,
        "start_lr": lr[0],
        "end_lr": lr[1],
        "start_momentum": momentum[0],
        "end_momentum": momentum[1],
    }


class OneCycleLR(_CyclesMomentum):
    """One cycle over the whole training: the learning rate rises from `max_lr / div_factor` to
    `max_lr` and falls to a `final_div_factor`-th of where it began (Smith and Topin,
    Super-convergence: Very fast training of neural networks using large learning rates, 2018).

    Args:
        max_lr: the largest rate, for all groups or a list.
        total_steps: batches in all; or `epochs` times `steps_per_epoch`.
        pct_start: the share of them on the way up.
        anneal_strategy: "cos" or "linear".
        cycle_momentum: let the momentum go down and up between `base_momentum` and `max_momentum`.
        three_phase: fall to where it began in as many steps as it rose, then on.

    Raises:
        ValueError: an option is out of its range, an optimizer without momentum; in `step`, more
            steps than in all.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        max_lr: float | list[float],
        total_steps: int | None = None,
        epochs: int | None = None,
        steps_per_epoch: int | None = None,
        pct_start: float = 0.3,
        anneal_strategy: str = "cos",
        cycle_momentum: bool = True,
        base_momentum: float | list[float] = 0.85,
        max_momentum: float | list[float] = 0.95,
        div_factor: float = 25.0,
        final_div_factor: float = 1e4,
        three_phase: bool = False,
        last_epoch: int = -1,
    ) -> None:
        if not isinstance(optimizer, Optimizer):
            raise TypeError(f"{type(optimizer).__name__} is not an Optimizer")
        self.optimizer = optimizer
        self.total_steps = _steps_in_all(total_steps, epochs, steps_per_epoch)
        up, down = ("initial_lr", "max_lr"), ("max_lr", "min_lr")
        fall, rise = ("max_momentum", "base_momentum"), ("base_momentum", "max_momentum")
        last = self.total_steps - 1
        self._schedule_phases = [_phase(float(pct_start * self.total_steps) - 1, up, fall)]
        if three_phase:
            middle = float(2 * pct_start * self.total_steps) - 2
            self._schedule_phases += [
                _phase(middle, ("max_lr", "initial_lr"), rise),
                _phase(last, ("initial_lr", "min_lr"), ("max_momentum", "max_momentum")),
            ]
        else:
            self._schedule_phases.append(_phase(last, down, rise))
        if pct_start < 0 or pct_start > 1 or not isinstance(pct_start, float):
            raise ValueError(f"Expected float between 0 and 1 pct_start, but got {pct_start}")
        if anneal_strategy not in _CURVES:
            raise ValueError(
                f"anneal_strategy must be one of 'cos' or 'linear', instead got {anneal_strategy}"
            )
        self._anneal_func_type = anneal_strategy
        max_lrs = per_group("max_lr", optimizer, max_lr)
        if last_epoch == -1:
            for most, group in zip(max_lrs, optimizer.param_groups, strict=True):
                group["initial_lr"] = most / div_factor
                group["max_lr"] = most
                group["min_lr"] = group["initial_lr"] / final_div_factor
        self.cycle_momentum = cycle_momentum
        if cycle_momentum:
            limits = self._start_momentum(base_momentum, max_momentum)
            if last_epoch == -1:
                self._begin_with(*limits)
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[Any]:
        """The rates of this batch; sets its momenta."""
        self._warn_if_not_stepping()
        step = self.last_epoch
        if step > self.total_steps:
            raise ValueError(
                f"Tried to step {step} times. The specified number of total steps is "
                f"{self.total_steps}"
            )
        start, phase = 0.0, self._schedule_phases[0]
        for following in self._schedule_phases[1:]:
            if step <= phase["end_step"]:
                break
            start, phase = phase["end_step"], following
        share = (step - start) / (phase["end_step"] - start)
        between = _CURVES[self._anneal_func_type]
        rates = []
        for group in self.optimizer.param_groups:
            rates.append(between(group[phase["start_lr"]], group[phase["end_lr"]], share))
            if self.cycle_momentum:
                ends = (group[phase["start_momentum"]], group[phase["end_momentum"]])
                self._set_momentum(group, between(*ends, share))
        return rates


def _steps_in_all(total_steps: int | None, epochs: int | None, steps_per_epoch: int | None) -> int:
    if total_steps is not None:
        if total_steps <= 0 or not isinstance(total_steps, int):
            raise ValueError(f"Expected positive integer total_steps, but got {total_steps}")
        return total_steps
    if epochs is None or steps_per_epoch is None:
        raise ValueError("You must define either total_steps OR (epochs AND steps_per_epoch)")
    for name, value in (("epochs", epochs), ("steps_per_epoch", steps_per_epoch)):
        if not isinstance(value, int) or value <= 0:
            raise ValueError(f"Expected positive integer {name}, but got {value}")
    return epochs * steps_per_epoch
