"""Averages of a model's weights along its training (torch.optim.swa_utils).

    average = AveragedModel(model)
    scheduler = SWALR(optimizer, swa_lr=0.05)
    for batch in loader:
        ...
        average.update_parameters(model)
        scheduler.step()
    update_bn(loader, average)

Stochastic weight averaging takes the plain mean (Izmailov et al., Averaging weights leads to wider
optima and better generalization, 2018), exponential averaging lets the past fade; semantics follow
https://docs.pytorch.org/docs/2.13/optim.html#weight-averaging-swa-and-ema.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from copy import deepcopy
from itertools import chain
from typing import Any

import lazyt
from lazyt.gradmode import no_grad
from lazyt.nn import Module
from lazyt.nn.modules.batchnorm import _BatchNorm
from lazyt.optim.lr_scheduler.base import LRScheduler, per_group
from lazyt.optim.optimizer import Optimizer
from lazyt.tensor import Tensor

__all__ = [
    "SWALR",
    "AveragedModel",
    "get_ema_avg_fn",
    "get_ema_multi_avg_fn",
    "get_swa_avg_fn",
    "get_swa_multi_avg_fn",
    "update_bn",
]

# A new average of (average, value now, how many before); the other writes lists of averages.
AverageFunction = Callable[[Tensor, Tensor, Any], Tensor]
ListFunction = Callable[[list[Tensor], list[Tensor], Any], None]


def _check_decay(decay: float) -> None:
    if decay < 0.0 or decay > 1.0:
        raise ValueError(
            f"Invalid decay value {decay} provided. Please provide a value in [0,1] range."
        )


def get_ema_avg_fn(decay: float = 0.999) -> AverageFunction:
    """The exponential average a ← δ a + (1 - δ) p.

    Raises:
        ValueError: a decay outside 0 to 1.
    """
    _check_decay(decay)

    @no_grad()
    def ema_update(ema_param: Tensor, current_param: Tensor, num_averaged: Any) -> Tensor:
        return decay * ema_param + (1 - decay) * current_param

    return ema_update


def get_ema_multi_avg_fn(decay: float = 0.999) -> ListFunction:
    """The exponential average of `get_ema_avg_fn`, for lists of tensors in place."""
    _check_decay(decay)

    @no_grad()
    def ema_update(averages: list[Tensor], values: list[Tensor], _: Any) -> None:
        for average, value in zip(averages, values, strict=True):
            if average.is_floating_point():
                average.lerp_(value, 1 - decay)
            else:
                average.copy_(average * decay + value * (1 - decay))

    return ema_update


def get_swa_avg_fn() -> AverageFunction:
    """The mean a ← a + (p - a) / (n + 1), after n values before."""

    @no_grad()
    def swa_update(averaged_param: Tensor, current_param: Tensor, num_averaged: Any) -> Tensor:
        return averaged_param + (current_param - averaged_param) / (num_averaged + 1)

    return swa_update


def get_swa_multi_avg_fn() -> ListFunction:
    """The mean of `get_swa_avg_fn`, for lists of tensors in place."""

    @no_grad()
    def swa_update(averages: list[Tensor], values: list[Tensor], num_averaged: Any) -> None:
        count = num_averaged + 1
        for average, value in zip(averages, values, strict=True):
            average.add_(((value - average) / count).to(average.dtype))

    return swa_update


class AveragedModel(Module):
    """A copy of a model that holds averages of its parameters.

    Args:
        model: is copied, for its form.
        device: where the averages are.
        avg_fn, multi_avg_fn: how to average, one tensor at a time or lists of them of one device
            and dtype; the plain mean by default.
        use_buffers: average the buffers, too, instead of copying them.
    """

    n_averaged: Tensor

    def __init__(
        self,
        model: Module,
        device: Any = None,
        avg_fn: AverageFunction | None = None,
        multi_avg_fn: ListFunction | None = None,
        use_buffers: bool = False,
    ) -> None:
        super().__init__()
        if avg_fn is not None and multi_avg_fn is not None:
            raise AssertionError("Only one of avg_fn and multi_avg_fn should be provided")
        self.module = deepcopy(model)
        if device is not None:
            self.module = self.module.to(device)
        self.register_buffer("n_averaged", lazyt.tensor(0, dtype=lazyt.int64, device=device))
        self.avg_fn = avg_fn
        self.multi_avg_fn = multi_avg_fn
        self.use_buffers = use_buffers

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """What the model of averages says."""
        return self.module(*args, **kwargs)

    def update_parameters(self, model: Module) -> None:
        """Take the parameters of `model` into the average; the first time, copy them."""
        pairs = [
            (average.detach(), value.detach().to(average.device))
            for average, value in zip(self._averaged(self.module), self._averaged(model))
        ]
        if self.n_averaged == 0:
            for average, value in pairs:
                average.copy_(value)
        elif self.avg_fn is None:
            self._average_lists(pairs)
        else:
            for average, value in pairs:
                count = self.n_averaged.to(average.device)
                average.copy_(self.avg_fn(average, value, count))
        if not self.use_buffers:
            for own, buffer in zip(self.module.buffers(), model.buffers(), strict=True):
                own.detach().copy_(buffer.detach().to(own.device))
        self.n_averaged += 1

    def _averaged(self, model: Module) -> Iterable[Tensor]:
        return chain(model.parameters(), model.buffers() if self.use_buffers else ())

    def _average_lists(self, pairs: list[tuple[Tensor, Tensor]]) -> None:
        alike: dict[Any, list[tuple[Tensor, Tensor]]] = {}
        for pair in pairs:
            alike.setdefault((str(pair[0].device), pair[0].dtype), []).append(pair)
        average = self.multi_avg_fn or get_swa_multi_avg_fn()
        for same in alike.values():
            averages, values = (list(side) for side in zip(*same, strict=True))
            average(averages, values, self.n_averaged.to(averages[0].device))


@no_grad()
def update_bn(loader: Iterable[Any], model: Module, device: Any = None) -> None:
    """Compute the running statistics of a model's batch norms anew, as means over a loader.

    Args:
        loader: batches, or lists and tuples that begin with them.
        model: is called with each batch, in training mode.
        device: where to move the batches first.
    """
    momenta = {}
    for module in model.modules():
        if isinstance(module, _BatchNorm):
            module.reset_running_stats()
            momenta[module] = module.momentum
    if not momenta:
        return
    was_training = model.training
    model.train()
    for module in momenta:
        module.momentum = None
    for batch in loader:
        if isinstance(batch, list | tuple):
            batch = batch[0]
        model(batch if device is None else batch.to(device))
    for module, momentum in momenta.items():
        module.momentum = momentum
    model.train(was_training)


def _along_line(t: float) -> float:
    return t


def _along_cosine(t: float) -> float:
    return (1 - math.cos(math.pi * t)) / 2


_CURVES = {"linear": _along_line, "cos": _along_cosine}


class SWALR(LRScheduler):
    """Move the learning rate to `swa_lr` in `anneal_epochs` epochs, and keep it there.

    Args:
        swa_lr: for all groups or a list.
        anneal_strategy: "cos" or "linear".

    Raises:
        ValueError: an unknown strategy, a negative number of epochs, a list of another length.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        swa_lr: float | list[float],
        anneal_epochs: int = 10,
        anneal_strategy: str = "cos",
        last_epoch: int = -1,
    ) -> None:
        rates = per_group("swa_lr", optimizer, swa_lr)
        for rate, group in zip(rates, optimizer.param_groups, strict=True):
            group["swa_lr"] = rate
        if anneal_strategy not in _CURVES:
            raise ValueError(
                f"anneal_strategy must be one of 'cos' or 'linear', instead got {anneal_strategy}"
            )
        self._anneal_strategy = anneal_strategy
        if not isinstance(anneal_epochs, int) or anneal_epochs < 0:
            raise ValueError(f"anneal_epochs must be equal or greater than 0, got {anneal_epochs}")
        self.anneal_epochs = anneal_epochs
        super().__init__(optimizer, last_epoch)

    def _share(self, step: int) -> float:
        """How much of the rate is `swa_lr` at a step."""
        return _CURVES[self._anneal_strategy](max(0, min(1, step / max(1, self.anneal_epochs))))

    def get_lr(self) -> list[Any]:
        """The rates of this epoch, from those of now."""
        self._warn_if_not_stepping()
        step = self._step_count - 1
        if self.anneal_epochs == 0:
            step = max(1, step)
        before, now = self._share(step - 1), self._share(step)
        rates = []
        for group in self.optimizer.param_groups:
            target = group["swa_lr"]
            start = target if before == 1 else (group["lr"] - before * target) / (1 - before)
            rates.append(target * now + start * (1 - now))
        return rates
