"""Schedulers that multiply the learning rate: by a function, at steps, along a line or a curve.

    scheduler = MultiStepLR(optimizer, milestones=[30, 80], gamma=0.1)

`get_lr` goes on from the rates the groups have now, so that several schedulers can act on one
optimizer; `_get_closed_form_lr` is the rate of an epoch by itself, for `step(epoch)`. Each computes
in the order in which PyTorch does, to the same bits.
"""

from __future__ import annotations

import math
import types
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

from lazyt.optim.lr_scheduler.base import LRScheduler
from lazyt.optim.optimizer import Optimizer

__all__ = [
    "ConstantLR",
    "CosineAnnealingLR",
    "ExponentialLR",
    "LambdaLR",
    "LinearLR",
    "MultiStepLR",
    "MultiplicativeLR",
    "PolynomialLR",
    "StepLR",
]

_Factor = Callable[[int], float]


class _FunctionLR(LRScheduler):
    """Base of schedulers by a function of the epoch, one for all groups or one for each."""

    def __init__(
        self, optimizer: Optimizer, lr_lambda: _Factor | list[_Factor], last_epoch: int = -1
    ) -> None:
        self.optimizer = optimizer
        groups = len(optimizer.param_groups)
        if not isinstance(lr_lambda, list | tuple):
            lr_lambda = [lr_lambda] * groups
        elif len(lr_lambda) != groups:
            raise ValueError(f"Expected {groups} lr_lambdas, but got {len(lr_lambda)}")
        self.lr_lambdas = list(lr_lambda)
        self._check_functions()
        super().__init__(optimizer, last_epoch)

    def _check_functions(self) -> None:
        """Raise where something is no function."""

    def state_dict(self) -> dict[str, Any]:
        """Everything but the optimizer and the functions; of those that are objects, what they
        hold."""
        state = super().state_dict()
        del state["lr_lambdas"]  # what stands there is functions
        state["lr_lambdas"] = [
            None if isinstance(fn, types.FunctionType) else fn.__dict__.copy()
            for fn in self.lr_lambdas
        ]
        return state

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over a `state_dict`; the functions stay."""
        held = state_dict["lr_lambdas"]
        self.__dict__.update({k: v for k, v in state_dict.items() if k != "lr_lambdas"})
        for fn, values in zip(self.lr_lambdas, held, strict=False):
            if values is not None:
                fn.__dict__.update(values)


class LambdaLR(_FunctionLR):
    """Set the learning rate to the initial one times a function of the epoch.

    Args:
        lr_lambda: the function, or a list with one for each group.
    """

    def get_lr(self) -> list[Any]:
        """The initial rates, each times its function of the epoch."""
        self._warn_if_not_stepping()
        return [
            base_lr * fn(self.last_epoch)
            for fn, base_lr in zip(self.lr_lambdas, self.base_lrs, strict=True)
        ]


class MultiplicativeLR(_FunctionLR):
    """Multiply the learning rate by a function of the epoch, at every epoch but the first.

    Args:
        lr_lambda: the function, or a list with one for each group.
    """

    def _check_functions(self) -> None:
        for fn in self.lr_lambdas:
            if not callable(fn):
                raise TypeError(f"lr_lambda should be a function, but got {type(fn).__name__}")

    def get_lr(self) -> list[Any]:
        """The rates of now, each times its function of the epoch."""
        self._warn_if_not_stepping()
        if self._is_initial:
            return self._options("lr")
        return [
            group["lr"] * fn(self.last_epoch)
            for fn, group in zip(self.lr_lambdas, self.optimizer.param_groups, strict=True)
        ]


class StepLR(LRScheduler):
    """Multiply the learning rate by `gamma` every `step_size` epochs."""

    def __init__(
        self, optimizer: Optimizer, step_size: int, gamma: float = 0.1, last_epoch: int = -1
    ) -> None:
        self.step_size = step_size
        self.gamma = gamma
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[Any]:
        """The rates of now, times gamma where an interval of epochs ends."""
        self._warn_if_not_stepping()
        if self.last_epoch == 0 or self.last_epoch % self.step_size != 0:
            return self._options("lr")
        return self._times(self.gamma)

    def _get_closed_form_lr(self) -> list[Any]:
        factor = self.gamma ** (self.last_epoch // self.step_size)
        return [base_lr * factor for base_lr in self.base_lrs]


class MultiStepLR(LRScheduler):
    """Multiply the learning rate by `gamma` at each of the epochs `milestones`; at one that is
    named twice, twice."""

    def __init__(
        self,
        optimizer: Optimizer,
        milestones: Iterable[int],
        gamma: float = 0.1,
        last_epoch: int = -1,
    ) -> None:
        self.milestones = Counter(milestones)
        self.gamma = gamma
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[Any]:
        """The rates of now, times gamma at a milestone."""
        self._warn_if_not_stepping()
        if self.last_epoch not in self.milestones:
            return self._options("lr")
        return self._times(self.gamma ** self.milestones[self.last_epoch])

    def _get_closed_form_lr(self) -> list[Any]:
        passed = bisect_right(sorted(self.milestones.elements()), self.last_epoch)
        return [base_lr * self.gamma**passed for base_lr in self.base_lrs]


class ConstantLR(LRScheduler):
    """Multiply the learning rate by `factor` for the first `total_iters` epochs."""

    def __init__(
        self,
        optimizer: Optimizer,
        factor: float = 1.0 / 3,
        total_iters: int = 5,
        last_epoch: int = -1,
    ) -> None:
        if factor > 1.0 or factor < 0:
            raise ValueError("Constant multiplicative factor expected to be between 0 and 1.")
        self.factor = factor
        self.total_iters = total_iters
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[Any]:
        """The rates of now, times the factor at the first epoch, by it at the last."""
        self._warn_if_not_stepping()
        if self.last_epoch == 0:
            return self._times(self.factor)
        if self.last_epoch != self.total_iters:
            return self._options("lr")
        return self._times(1.0 / self.factor)

    def _get_closed_form_lr(self) -> list[Any]:
        ended = self.last_epoch >= self.total_iters
        return [base_lr * (self.factor + ended * (1 - self.factor)) for base_lr in self.base_lrs]


class LinearLR(LRScheduler):
    """Multiply the initial learning rate by a factor that goes from `start_factor` to `end_factor`
    in `total_iters` epochs."""

    def __init__(
        self,
        optimizer: Optimizer,
        start_factor: float = 1.0 / 3,
        end_factor: float = 1.0,
        total_iters: int = 5,
        last_epoch: int = -1,
    ) -> None:
        if start_factor > 1.0 or start_factor <= 0:
            raise ValueError(
                "Starting multiplicative factor expected to be greater than 0 and less or equal "
                "to 1."
            )
        if end_factor > 1.0 or end_factor < 0:
            raise ValueError("Ending multiplicative factor expected to be between 0 and 1.")
        self.start_factor = start_factor
        self.end_factor = end_factor
        self.total_iters = total_iters
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[Any]:
        """The rates of now, times the quotient of this factor and the one before."""
        self._warn_if_not_stepping()
        if self.last_epoch == 0:
            return self._times(self.start_factor)
        if self._is_initial or self.last_epoch > self.total_iters:
            return self._options("lr")
        rise = self.end_factor - self.start_factor
        before = self.total_iters * self.start_factor + (self.last_epoch - 1) * rise
        return self._times(1.0 + rise / before)

    def _get_closed_form_lr(self) -> list[Any]:
        rise = self.end_factor - self.start_factor
        epoch = min(self.total_iters, self.last_epoch)
        factor = self.start_factor + rise * epoch / self.total_iters
        return [base_lr * factor for base_lr in self.base_lrs]


class ExponentialLR(LRScheduler):
    """Multiply the learning rate by `gamma` at every epoch."""

    def __init__(self, optimizer: Optimizer, gamma: float, last_epoch: int = -1) -> None:
        self.gamma = gamma
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[Any]:
        """The rates of now, times gamma."""
        self._warn_if_not_stepping()
        return self._options("lr") if self._is_initial else self._times(self.gamma)

    def _get_closed_form_lr(self) -> list[Any]:
        return [base_lr * self.gamma**self.last_epoch for base_lr in self.base_lrs]


class PolynomialLR(LRScheduler):
    """Let the learning rate fall to 0 in `total_iters` epochs, as (1 - epoch / total) ** power."""

    def __init__(
        self,
        optimizer: Optimizer,
        total_iters: int = 5,
        power: float = 1.0,
        last_epoch: int = -1,
    ) -> None:
        self.total_iters = total_iters
        self.power = power
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[Any]:
        """The rates of now, times the quotient of this value and the one before."""
        self._warn_if_not_stepping()
        if self._is_initial or self.last_epoch > self.total_iters:
            return self._options("lr")
        left = 1.0 - self.last_epoch / self.total_iters
        before = 1.0 - (self.last_epoch - 1) / self.total_iters
        return self._times((left / before) ** self.power)

    def _get_closed_form_lr(self) -> list[Any]:
        epoch = min(self.total_iters, self.last_epoch)
        factor = (1.0 - epoch / self.total_iters) ** self.power
        return [base_lr * factor for base_lr in self.base_lrs]


class CosineAnnealingLR(LRScheduler):
    """Let the learning rate fall to `eta_min` in `T_max` epochs, along half a period of the cosine,
    and rise again (Loshchilov and Hutter, SGDR: Stochastic gradient descent with warm restarts,
    2017, without the restarts)."""

    def __init__(
        self, optimizer: Optimizer, T_max: int, eta_min: float = 0.0, last_epoch: int = -1
    ) -> None:
        self.T_max = T_max
        self.eta_min = eta_min
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[Any]:
        """The rates of now, moved along the curve."""
        self._warn_if_not_stepping()
        low, length, epoch = self.eta_min, self.T_max, self.last_epoch
        if self._is_initial:
            return self._options("lr")
        if self._step_count == 1 and epoch > 0:
            share = 1 + math.cos(epoch * math.pi / length)
            return [low + (base_lr - low) * share / 2 for base_lr in self.base_lrs]
        groups = self.optimizer.param_groups
        if (epoch - 1 - length) % (2 * length) == 0:  # from the lowest point, where 1 + cos is 0
            rise = 1 - math.cos(math.pi / length)
            return [
                group["lr"] + (base_lr - low) * rise / 2
                for base_lr, group in zip(self.base_lrs, groups, strict=True)
            ]
        here = 1 + math.cos(math.pi * epoch / length)
        before = 1 + math.cos(math.pi * (epoch - 1) / length)
        return [here / before * (group["lr"] - low) + low for group in groups]

    def _get_closed_form_lr(self) -> list[Any]:
        low = self.eta_min
        share = 1 + math.cos(math.pi * self.last_epoch / self.T_max)
        return [low + (base_lr - low) * share / 2 for base_lr in self.base_lrs]
