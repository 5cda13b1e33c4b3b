"""The base of learning rate schedulers.

A scheduler sets `group["lr"]` of its optimizer's groups once when it is made and then at every
`step()`, after the optimizer's own:

    scheduler = StepLR(optimizer, step_size=30)  # a tenth every 30 epochs
    for epoch in range(100):
        ...
        optimizer.step()
        scheduler.step()

Semantics follow
https://docs.pytorch.org/docs/2.13/optim.html#how-to-adjust-learning-rate.
"""

from __future__ import annotations

import functools
import weakref
from collections.abc import Callable
from typing import Any

from lazyt.optim.optimizer import Optimizer
from lazyt.optim.options import as_scalar
from lazyt.tensor import Tensor
from lazyt.warned import warn

__all__ = ["EPOCH_DEPRECATION_WARNING", "LRScheduler", "copied", "per_group", "set_option"]

_SEE = "See more details at https://pytorch.org/docs/stable/optim.html#how-to-adjust-learning-rate"
EPOCH_DEPRECATION_WARNING = (
    "The epoch parameter in `scheduler.step()` was not necessary and is being deprecated where "
    "possible. Please use `scheduler.step()` to step the scheduler. During the deprecation, if "
    "epoch is different from None, the closed form is used instead of the new chainable form, "
    "where available. Please open an issue if you are unable to replicate your use case: "
    "https://github.com/pytorch/pytorch/issues/new/choose."
)


def copied(value: Any) -> Any:
    """An option of a group, which a step in place must not change: a tensor's copy."""
    return value.clone() if isinstance(value, Tensor) else value


def per_group(name: str, optimizer: Optimizer, value: Any) -> list[Any]:
    """One value for each group of the optimizer, of one for all or a list of them.

    Raises:
        ValueError: a list of another length; `name` says of what.
    """
    groups = len(optimizer.param_groups)
    if not isinstance(value, list | tuple):
        value = [value] * groups
    elif len(value) != groups:
        raise ValueError(
            f"{name} must have the same length as optimizer.param_groups. {name} has "
            f"{len(value)} values, param_groups has {groups}."
        )
    return [copied(v) for v in value]


def set_option(group: dict[str, Any], key: str, value: Any) -> None:
    """Set an option of a group: in place where it is a tensor."""
    if isinstance(group[key], Tensor):
        group[key].fill_(as_scalar(value))
    else:
        group[key] = value


class LRScheduler:
    """Base class: a subclass computes the learning rates of an epoch in `get_lr`, from
    `last_epoch`, `base_lrs` and what the groups have now.

    Args:
        optimizer: whose groups to set.
        last_epoch: the epoch to go on from; -1 begins anew.
    """

    _get_lr_called_within_step: bool = False
    _is_initial: bool = False

    def __init__(self, optimizer: Optimizer, last_epoch: int = -1) -> None:
        if not isinstance(optimizer, Optimizer):
            raise TypeError(f"{type(optimizer).__name__} is not an Optimizer")
        self.optimizer = optimizer
        for i, group in enumerate(optimizer.param_groups):
            if last_epoch == -1:
                group.setdefault("initial_lr", copied(group["lr"]))
            elif "initial_lr" not in group:
                raise KeyError(
                    f"param 'initial_lr' is not specified in param_groups[{i}] when resuming "
                    "scheduler with last_epoch >= 0.\nThis typically happens when:\n"
                    "1. You're trying to resume training from a checkpoint but haven't properly "
                    "loaded the optimizer state\n"
                    "2. You're using last_epoch >= 0 for a fresh training run (not recommended)"
                )
        self.base_lrs = self._options("initial_lr")
        self.last_epoch = last_epoch
        _note_steps(optimizer)
        self._initial_step()

    def _options(self, key: str) -> list[Any]:
        return [copied(group[key]) for group in self.optimizer.param_groups]

    def _initial_step(self) -> None:
        """Set the learning rates of the first epoch."""
        self._step_count = 0
        self._is_initial = True
        try:
            self.step()
        finally:
            self._is_initial = False

    def state_dict(self) -> dict[str, Any]:
        """Everything but the optimizer."""
        return {key: value for key, value in self.__dict__.items() if key != "optimizer"}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over a `state_dict`."""
        self.__dict__.update(state_dict)

    def get_last_lr(self) -> list[Any]:
        """The learning rates as last set here, one a group."""
        return self._last_lr

    def get_lr(self) -> list[Any]:
        """The learning rates of `last_epoch`, one a group; for `step` to call."""
        raise NotImplementedError

    def step(self, epoch: int | None = None) -> None:
        """Go on to the next epoch, or (older use) to `epoch`."""
        if self._step_count == 1:
            self._warn_if_out_of_order()
        self._step_count += 1
        if epoch is not None:
            warn(EPOCH_DEPRECATION_WARNING, UserWarning)
        self._update_lr(epoch)

    def _warn_if_out_of_order(self) -> None:
        if not hasattr(self.optimizer.step, "_wrapped_by_lr_sched"):
            warn(
                "Seems like `optimizer.step()` has been overridden after learning rate scheduler "
                "initialization. Please, make sure to call `optimizer.step()` before "
                f"`lr_scheduler.step()`. {_SEE}",
                UserWarning,
            )
        elif not getattr(self.optimizer, "_opt_called", False):
            warn(
                "Detected call of `lr_scheduler.step()` before `optimizer.step()`. In PyTorch "
                "1.1.0 and later, you should call them in the opposite order: `optimizer.step()` "
                "before `lr_scheduler.step()`.  Failure to do this will result in PyTorch "
                f"skipping the first value of the learning rate schedule. {_SEE}",
                UserWarning,
            )

    def _update_lr(self, epoch: int | None = None) -> None:
        closed_form = getattr(self, "_get_closed_form_lr", None)
        rates = closed_form if epoch is not None and closed_form else self.get_lr
        self._set_rates(self.last_epoch + 1 if epoch is None else epoch, rates)

    def _set_rates(self, epoch: int, rates: Callable[[], list[Any]]) -> None:
        """Go to an epoch: the groups get what the function says then."""
        self._get_lr_called_within_step = True
        try:
            self.last_epoch = epoch
            values = rates()
        finally:
            self._get_lr_called_within_step = False
        for group, lr in zip(self.optimizer.param_groups, values, strict=True):
            set_option(group, "lr", lr)
        self._last_lr = self._options("lr")

    def _times(self, factor: Any) -> list[Any]:
        """The rates of now, times a factor."""
        return [group["lr"] * factor for group in self.optimizer.param_groups]

    def _warn_if_not_stepping(self) -> None:
        if not self._get_lr_called_within_step:
            warn(
                "To get the last learning rate computed by the scheduler, please use "
                "`get_last_lr()`.",
                UserWarning,
            )


class _LRScheduler(LRScheduler):
    """The base class before PyTorch 2.0; user code derives from it."""


def _note_steps(optimizer: Optimizer) -> None:
    """Make the optimizer note that its `step` was called. It is held weakly: the wrapper is an
    attribute of the optimizer itself."""
    if hasattr(optimizer.step, "_wrapped_by_lr_sched"):
        return
    ref = weakref.ref(optimizer)
    step = optimizer.step.__func__  # type: ignore[attr-defined]

    @functools.wraps(step)
    def noted(*args: Any, **kwargs: Any) -> Any:
        owner: Any = ref()
        owner._opt_called = True
        return step(owner, *args, **kwargs)

    noted._wrapped_by_lr_sched = True  # type: ignore[attr-defined]
    optimizer.step = noted  # type: ignore[method-assign]
