"""Update rules: optimizers whose step is one formula, for every parameter by itself.

    class SignDescent(UpdateRule):
        def _start(self, group, param):
            return {"step": self._numbers.new(group, param, 0.0)}

        def _update(self, group, param, grad, own):
            descend(param, grad.sign(), as_scalar(group["lr"]))

The common part walks over groups and parameters, counts the step, and hands the formula a gradient
with ascent and weight decay in it already. All operations of a step are one trace, which the
compiler fuses over all parameters; `foreach` and `fused` therefore change nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import chain
from typing import Any, ClassVar

import numpy as np

import lazyt
from lazyt.optim.optimizer import Optimizer, without_grad
from lazyt.optim.options import as_scalar
from lazyt.state import store
from lazyt.tensor import Tensor

__all__ = ["KnownNumbers", "UpdateRule", "descend", "descend_ratio", "rate_of"]


def step_dtype(fused: bool | None = None) -> Any:
    """PyTorch's dtype of the numbers in a state: float32, unless everything is float64 by
    default."""
    double = lazyt.get_default_dtype() == lazyt.float64 and not fused
    return lazyt.float64 if double else lazyt.float32


class KnownNumbers:
    """The numbers in an optimizer's state, which PyTorch keeps as tensors without dimensions.

    Reading such a tensor would compute everything that is pending. So beside each tensor its number
    is written down, with the tensor's version after that write, and read only where somebody else
    wrote since: a checkpoint, a user.
    """

    def __init__(self, optimizer: Optimizer, names: Iterable[str]) -> None:
        self._optimizer, self._names = optimizer, tuple(names)
        self._known: dict[Tensor, tuple[int, float]] = {}

    def new(self, group: dict[str, Any], param: Tensor, value: float) -> Tensor:
        """A tensor that holds `value`: on the parameter's device if the step runs there."""
        fused = group.get("fused")
        device = param.device if fused or group.get("capturable") else lazyt.device("cpu")
        tensor: Tensor = lazyt.full((), value, dtype=step_dtype(fused), device=device)
        self._known[tensor] = (tensor._version, _rounded(value, tensor))
        return tensor

    def get(self, tensor: Tensor) -> float:
        """What a tensor of the state holds."""
        known = self._known.get(tensor)
        if known is None or known[0] != tensor._version:
            self._read()
            known = self._known[tensor]
        return known[1]

    def put(self, tensor: Tensor, value: float) -> None:
        """Write `value` into a tensor of the state that holds a finite number."""
        if not _stored(tensor, value):
            # As arithmetic it joins the kernel of the update; a fill would be a call by itself.
            tensor.mul_(0).add_(value)
        self._known[tensor] = (tensor._version, _rounded(value, tensor))

    def add_one(self, tensor: Tensor) -> float:
        """Add 1 to a tensor of the state; the new number."""
        count = self.get(tensor) + 1
        if not _stored(tensor, count):
            tensor += 1
        self._known[tensor] = (tensor._version, count)
        return count

    def multiply(self, tensor: Tensor, factor: float) -> float:
        """Multiply a tensor of the state by `factor`; the new number."""
        product = self.get(tensor) * factor
        if tensor.dtype != lazyt.float64:
            product = float(np.float32(self.get(tensor)) * np.float32(factor))
        if not _stored(tensor, product):
            tensor *= factor
        self._known[tensor] = (tensor._version, product)
        return product

    def _read(self) -> None:
        """Read every tensor that somebody else wrote: all before any is written again, for only
        the first read has something to compute then."""
        optimizer = self._optimizer
        for param in chain.from_iterable(group["params"] for group in optimizer.param_groups):
            own = optimizer.state.get(param, {})
            for name in self._names:
                tensor = own.get(name)
                if tensor is None:
                    continue
                known = self._known.get(tensor)
                if known is None or known[0] != tensor._version:
                    self._known[tensor] = (tensor._version, tensor.item())


def _stored(tensor: Tensor, value: float) -> bool:
    """Writes a number into a tensor in the host's memory, where no kernel has to; False for one on
    a device, or of a half type."""
    if tensor.device.type != "cpu" or tensor.dtype.itemsize < 4:
        return False
    store(tensor, np.full(tensor.shape, value, tensor.dtype.numpy))
    return True


def _rounded(value: float, tensor: Tensor) -> float:
    return value if tensor.dtype == lazyt.float64 else float(np.float32(value))


class UpdateRule(Optimizer):
    """An optimizer that updates each parameter by one formula.

    A subclass names the numbers of its state (`number_names`), the options that older checkpoints
    lack (`later_options`), and defines `_start` and `_update`.
    """

    number_names: ClassVar[tuple[str, ...]] = ("step",)
    # Where PyTorch lets a step run on the tensors of its state alone.
    capturable_devices: ClassVar[list[str]] = ["cuda", "xpu", "hpu", "privateuseone", "xla"]
    foreach_devices: ClassVar[list[str]] = ["cuda", "xpu", "hpu", "privateuseone"]
    later_options: ClassVar[dict[str, Any]] = {
        "foreach": None,
        "maximize": False,
        "differentiable": False,
        "capturable": False,
    }

    def _complete(self) -> None:
        super()._complete()
        self._numbers = KnownNumbers(self, self.number_names)

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        for group in self.param_groups:
            for name, value in self.later_options.items():
                group.setdefault(name, value)
            for param in group["params"]:
                own = self.state.get(param, {})
                for name in self.number_names:
                    if name in own and not isinstance(own[name], Tensor):
                        own[name] = self._numbers.new(group, param, float(own[name]))

    def _start(self, group: dict[str, Any], param: Tensor) -> dict[str, Any]:
        """The state of a parameter before its first step, in PyTorch's order."""
        raise NotImplementedError

    def _update(
        self, group: dict[str, Any], param: Tensor, grad: Tensor, own: dict[str, Any]
    ) -> None:
        """Write the parameter and its state `own` for one step along `grad`."""
        raise NotImplementedError

    @without_grad
    def step(self) -> None:
        """Update every parameter that has a gradient; returns what the closure returns."""
        for group in self.param_groups:
            if group.get("foreach") and group.get("differentiable"):
                raise AssertionError("_foreach ops don't support autograd")
            for param in group["params"]:
                grad = param.grad
                if grad is None:
                    continue
                own = self.state[param]
                if not own:
                    own.update(self._start(group, param))
                self._check_devices(group, param)
                if group.get("maximize"):
                    grad = -grad
                self._update(group, param, self._decayed(group, param, grad), own)

    def _decayed(self, group: dict[str, Any], param: Tensor, grad: Tensor) -> Tensor:
        """The gradient with the group's weight decay, which may go into the parameter instead."""
        decay = group.get("weight_decay", 0)
        if not isinstance(decay, Tensor) and decay == 0:
            return grad
        if group.get("decoupled_weight_decay"):
            param.mul_(1 - rate_of(group) * decay)
            return grad
        if isinstance(decay, Tensor):
            return grad.addcmul(param, decay)
        return grad.add(param, alpha=decay)

    def _check_devices(self, group: dict[str, Any], param: Tensor) -> None:
        if not group.get("capturable") or group.get("fused"):
            return
        foreach = bool(group.get("foreach"))
        devices = self.foreach_devices if foreach else self.capturable_devices
        if param.device.type in devices:
            return
        *others, last = (f"{name}s" for name in ("param", *self.number_names[1:], "state_step"))
        comma = "," if len(others) > (1 if foreach else 2) else ""
        raise AssertionError(
            f"If capturable=True, {', '.join(others)}{comma} and {last} must be on supported "
            f"devices: {devices}."
        )


def rate_of(group: dict[str, Any]) -> Any:
    """A group's learning rate: a number, or a tensor without dimensions, in float64 for a fused
    step, as PyTorch's kernels take it."""
    lr = as_scalar(group["lr"])
    return lr.double() if group.get("fused") and isinstance(lr, Tensor) else lr


def descend(param: Tensor, direction: Tensor, lr: Any) -> None:
    """p ← p - γ d, for a rate γ that is a number or a tensor of one element. A tensor stays a
    tensor: taking its number would compute everything that is pending."""
    if isinstance(lr, Tensor):
        param.addcmul_(direction, lr, value=-1)
    else:
        param.add_(direction, alpha=-lr)


def descend_ratio(param: Tensor, numerator: Tensor, denominator: Tensor, lr: Any) -> None:
    """p ← p - γ n / d, for a rate γ that is a number or a tensor of one element."""
    if isinstance(lr, Tensor):
        param.addcmul_(numerator / denominator, lr, value=-1)
    else:
        param.addcdiv_(numerator, denominator, value=-lr)
