"""GradScaler: losses scaled up so that small gradients do not vanish in float16.

    scaler = GradScaler("cpu")
    for x, y in loader:
        optimizer.zero_grad()
        with torch.autocast("cpu", dtype=torch.float16):
            loss = criterion(model(x), y)
        scaler.scale(loss).backward()
        scaler.step(optimizer)  # unscales; leaves the step out if a gradient is infinite
        scaler.update()

The scale falls when a gradient was infinite and grows after `growth_interval` steps without. It is
a tensor, which only `step` reads, to know whether to take the step (Micikevicius et al., Mixed
precision training, 2018; in the form of https://docs.pytorch.org/docs/2.13/amp.html).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from enum import Enum
from typing import Any

import lazyt
from lazyt.gradmode import no_grad
from lazyt.optim.optimizer import Optimizer
from lazyt.tensor import Tensor
from lazyt.warned import warn

__all__ = ["GradScaler", "OptState"]


class OptState(Enum):
    """How far an optimizer is since the last `update`."""

    READY = 0
    UNSCALED = 1
    STEPPED = 2


def _refresh_per_optimizer_state() -> dict[str, Any]:
    return {"stage": OptState.READY, "found_inf_per_device": {}}


class _Copies:
    """A tensor, and its copies on the devices that ask for it."""

    def __init__(self, tensor: Tensor) -> None:
        self._tensor = tensor
        self.by_device: dict[Any, Tensor] = {}

    def on(self, device: Any) -> Tensor:
        """The copy on a device."""
        if device not in self.by_device:
            self.by_device[device] = self._tensor.to(device).clone()
        return self.by_device[device]


class GradScaler:
    """Scales losses, unscales gradients, and leaves out steps along infinite ones.

    Args:
        device: "cuda", which turns it off where there is none, or "cpu".
        init_scale: the scale at first.
        growth_factor, backoff_factor: what the scale is multiplied by to grow and to fall.
        growth_interval: so many finite steps let it grow.
        enabled: False makes every method do nothing, and `step` an ordinary step.

    Raises:
        AssertionError: a growth that shrinks or a backoff that grows.
    """

    def __init__(
        self,
        device: str = "cuda",
        init_scale: float = 2.0**16,
        growth_factor: float = 2.0,
        backoff_factor: float = 0.5,
        growth_interval: int = 2000,
        enabled: bool = True,
    ) -> None:
        self._device = device
        self._enabled = enabled
        if enabled and device == "cuda" and not lazyt.cuda.is_available():
            warn(
                "torch.cuda.amp.GradScaler is enabled, but CUDA is not available.  Disabling.",
            )
            self._enabled = False
        if not self._enabled:
            return
        if growth_factor <= 1.0:
            raise AssertionError("The growth factor must be > 1.0.")
        if backoff_factor >= 1.0:
            raise AssertionError("The backoff factor must be < 1.0.")
        self._init_scale = init_scale
        self._scale: Tensor | None = None
        self._growth_factor = growth_factor
        self._backoff_factor = backoff_factor
        self._growth_interval = growth_interval
        self._init_growth_tracker = 0
        self._growth_tracker: Tensor | None = None
        self._per_optimizer_states: dict[int, dict[str, Any]] = defaultdict(
            _refresh_per_optimizer_state
        )

    def _made(self, name: str) -> tuple[Tensor, Tensor]:
        """Scale and growth tracker, which the first `scale` makes."""
        if self._scale is None or self._growth_tracker is None:
            missing = "_scale" if self._scale is None else "_growth_tracker"
            raise AssertionError(
                f"Attempted {name} but {missing} is None.  This may indicate your script did not "
                "use scaler.scale(loss or outputs) earlier in the iteration."
            )
        return self._scale, self._growth_tracker

    def _scale_on(self, device: Any) -> Tensor:
        if self._scale is None:
            if self._growth_tracker is not None:
                raise AssertionError("_growth_tracker initialized before _scale")
            self._scale = lazyt.full((), self._init_scale, dtype=lazyt.float32, device=device)
            self._growth_tracker = lazyt.full(
                (), self._init_growth_tracker, dtype=lazyt.int32, device=device
            )
        return self._scale.to(device)

    def scale(self, outputs: Any) -> Any:
        """The outputs, a tensor or containers of tensors, times the scale.

        Raises:
            ValueError: something else is among them.
        """
        if not self._enabled:
            return outputs
        if isinstance(outputs, Tensor):
            return outputs * self._scale_on(outputs.device)
        if isinstance(outputs, Iterable):
            scaled = map(self.scale, outputs)
            return type(outputs)(scaled) if isinstance(outputs, list | tuple) else scaled
        raise ValueError("outputs must be a Tensor or an iterable of Tensors")

    def _unscale_grads_(
        self, optimizer: Optimizer, inv_scale: Tensor, found_inf: Tensor, allow_fp16: bool
    ) -> dict[Any, Tensor]:
        """Multiply the gradients by `inv_scale`; by device: 1 where one is infinite or nan."""
        factors, found = _Copies(inv_scale), _Copies(found_inf)
        with no_grad():
            for group in optimizer.param_groups:
                for param in group["params"]:
                    grad = param.grad
                    if grad is None:
                        continue
                    if not allow_fp16 and grad.dtype == lazyt.float16:
                        raise ValueError("Attempting to unscale FP16 gradients.")
                    infinite = (~lazyt.isfinite(grad)).any()
                    seen = found.on(grad.device)
                    seen.copy_(lazyt.maximum(seen, infinite.to(seen.dtype)))
                    grad.mul_(factors.on(grad.device).to(grad.dtype))
        return found.by_device

    def unscale_(self, optimizer: Optimizer) -> None:
        """Divide the gradients of an optimizer's parameters by the scale, to clip them before the
        step, say.

        Raises:
            RuntimeError: called twice since the last `update`, or after `step`.
            ValueError: gradients in float16.
        """
        if not self._enabled:
            return
        scale, _ = self._made("unscale_")
        state = self._per_optimizer_states[id(optimizer)]
        if state["stage"] is OptState.UNSCALED:
            raise RuntimeError(
                "unscale_() has already been called on this optimizer since the last update()."
            )
        if state["stage"] is OptState.STEPPED:
            raise RuntimeError("unscale_() is being called after step().")
        inverse = scale.double().reciprocal().float()
        state["found_inf_per_device"] = self._unscale_grads_(
            optimizer, inverse, lazyt.zeros((), device=scale.device), False
        )
        state["stage"] = OptState.UNSCALED

    def step(self, optimizer: Optimizer, *args: Any, **kwargs: Any) -> Any:
        """Unscale, unless `unscale_` has, and take the optimizer's step if all gradients are
        finite; what that returns, None without it.

        Raises:
            RuntimeError: called twice since the last `update`, or with a closure.
        """
        if not self._enabled:
            return optimizer.step(*args, **kwargs)
        if "closure" in kwargs:
            raise RuntimeError("Closure use is not currently supported if GradScaler is enabled.")
        self._made("step")
        state = self._per_optimizer_states[id(optimizer)]
        if state["stage"] is OptState.STEPPED:
            raise RuntimeError("step() has already been called since the last update().")
        if state["stage"] is OptState.READY:
            self.unscale_(optimizer)
        found = state["found_inf_per_device"]
        if not found:
            raise AssertionError("No inf checks were recorded for this optimizer.")
        result = None
        if not sum(value.item() for value in found.values()):
            result = optimizer.step(*args, **kwargs)
        state["stage"] = OptState.STEPPED
        return result

    def update(self, new_scale: float | Tensor | None = None) -> None:
        """Let the scale fall or grow by what the steps since the last `update` found, or set it.

        Raises:
            AssertionError: no step was made, or `new_scale` is no float and no tensor of one
                element without a gradient.
        """
        if not self._enabled:
            return
        scale, tracker = self._made("update")
        if new_scale is None:
            self._adapt(scale, tracker)
        elif isinstance(new_scale, float):
            scale.fill_(new_scale)
        else:
            if (
                new_scale.device.type != self._device
                or new_scale.numel() != 1
                or new_scale.requires_grad
            ):
                raise AssertionError(
                    "new_scale should be a float or a 1-element torch.cuda.FloatTensor or "
                    "torch.FloatTensor with requires_grad=False."
                )
            scale.copy_(new_scale.reshape(()))
        self._per_optimizer_states = defaultdict(_refresh_per_optimizer_state)

    def _adapt(self, scale: Tensor, tracker: Tensor) -> None:
        found = [
            value.to(scale.device)
            for state in self._per_optimizer_states.values()
            for value in state["found_inf_per_device"].values()
        ]
        if not found:
            raise AssertionError("No inf checks were recorded prior to update.")
        infinite = lazyt.stack(found).sum() > 0
        finite_steps = tracker + 1
        grows = ~infinite & (finite_steps == self._growth_interval)
        grown = scale * self._growth_factor
        grown = lazyt.where(lazyt.isfinite(grown), grown, scale)
        tracker.copy_(finite_steps.masked_fill(infinite | grows, 0))
        kept = lazyt.where(grows, grown, scale)
        scale.copy_(lazyt.where(infinite, scale * self._backoff_factor, kept))

    def _get_scale_async(self) -> Tensor | None:
        return self._scale

    def get_scale(self) -> float:
        """The scale, 1.0 when not enabled. Reads it."""
        if not self._enabled:
            return 1.0
        return self._init_scale if self._scale is None else float(self._scale.item())

    def get_growth_factor(self) -> float:
        """What the scale is multiplied by to grow."""
        return self._growth_factor

    def set_growth_factor(self, new_factor: float) -> None:
        """Set what the scale is multiplied by to grow."""
        self._growth_factor = new_factor

    def get_backoff_factor(self) -> float:
        """What the scale is multiplied by to fall."""
        return self._backoff_factor

    def set_backoff_factor(self, new_factor: float) -> None:
        """Set what the scale is multiplied by to fall."""
        self._backoff_factor = new_factor

    def get_growth_interval(self) -> int:
        """How many finite steps let the scale grow."""
        return self._growth_interval

    def set_growth_interval(self, new_interval: int) -> None:
        """Set how many finite steps let the scale grow."""
        self._growth_interval = new_interval

    def _get_growth_tracker(self) -> int:
        if not self._enabled:
            return 0
        if self._growth_tracker is None:
            return self._init_growth_tracker
        return int(self._growth_tracker.item())

    def is_enabled(self) -> bool:
        """Whether it does anything."""
        return self._enabled

    def state_dict(self) -> dict[str, Any]:
        """Scale, factors, interval and finite steps so far; empty when not enabled."""
        if not self._enabled:
            return {}
        return {
            "scale": self.get_scale(),
            "growth_factor": self._growth_factor,
            "backoff_factor": self._backoff_factor,
            "growth_interval": self._growth_interval,
            "_growth_tracker": self._get_growth_tracker(),
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over a `state_dict`.

        Raises:
            RuntimeError: it is empty: it came from one that was not enabled.
        """
        if not self._enabled:
            return
        if not state_dict:
            raise RuntimeError(
                "The source state dict is empty, possibly because it was saved from a disabled "
                "instance of GradScaler."
            )
        self._init_scale = state_dict["scale"]
        if self._scale is not None:
            self._scale.fill_(state_dict["scale"])
        self._growth_factor = state_dict["growth_factor"]
        self._backoff_factor = state_dict["backoff_factor"]
        self._growth_interval = state_dict["growth_interval"]
        self._init_growth_tracker = state_dict["_growth_tracker"]
        if self._growth_tracker is not None:
            self._growth_tracker.fill_(state_dict["_growth_tracker"])

    def __getstate__(self) -> dict[str, Any]:
        state = self.__dict__.copy()
        if self._enabled:
            if self._per_optimizer_states:
                raise AssertionError(
                    "A GradScaler instance may only be pickled at the beginning of an iteration, "
                    "or at the end after scaler.update()."
                )
            # A number goes along in place of each tensor: where it is made again is for `scale`.
            state["_init_scale"] = self.get_scale()
            state["_init_growth_tracker"] = self._get_growth_tracker()
            state["_scale"] = state["_growth_tracker"] = None
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
