"""L-BFGS: Newton's method with an inverse Hessian known from the last steps only.

From the gradient differences y and steps s of the last iterations the direction is found by the
two-loop recursion (Nocedal and Wright, Numerical optimization, 2006, algorithm 7.4). The length of
the step is the learning rate, or what a search for the strong Wolfe conditions finds
(`line_search`). One `step` is up to `max_iter` such iterations; state and stopping rules follow
https://docs.pytorch.org/docs/2.13/generated/torch.optim.LBFGS.html.

    optimizer = LBFGS([x], line_search_fn="strong_wolfe")

    def closure():
        optimizer.zero_grad()
        loss = rosenbrock(x)
        loss.backward()
        return loss

    optimizer.step(closure)
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import lazyt
from lazyt.gradmode import enable_grad, no_grad
from lazyt.optim.line_search import strong_wolfe
from lazyt.optim.optimizer import Optimizer
from lazyt.optim.options import as_scalar, check_lr
from lazyt.tensor import Tensor

__all__ = ["LBFGS"]

# A pair is kept only if it is curved by more than this.
_LEAST_CURVATURE = 1e-10
# What a step remembers for the next one, beside its counts.
_MEMORY = ("d", "t", "old_dirs", "old_stps", "ro", "H_diag", "prev_flat_grad", "prev_loss")


class LBFGS(Optimizer):
    """L-BFGS over all parameters together; there can be one group only.

    Args:
        params: tensors, (name, tensor) pairs or one parameter group.
        lr: length of a step, a number or a tensor of one element.
        max_iter: iterations a step.
        max_eval: evaluations of the closure a step; a quarter more than iterations by default.
        tolerance_grad: a largest gradient below this ends the step.
        tolerance_change: so does a change of loss or parameters below this.
        history_size: how many iterations the Hessian is made of.
        line_search_fn: None or "strong_wolfe".

    Raises:
        ValueError: a negative learning rate, or several groups.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float | Tensor = 1,
        max_iter: int = 20,
        max_eval: int | None = None,
        tolerance_grad: float = 1e-7,
        tolerance_change: float = 1e-9,
        history_size: int = 100,
        line_search_fn: str | None = None,
    ) -> None:
        check_lr(lr)
        defaults = {
            "lr": lr,
            "max_iter": max_iter,
            "max_eval": max_iter * 5 // 4 if max_eval is None else max_eval,
            "tolerance_grad": tolerance_grad,
            "tolerance_change": tolerance_change,
            "history_size": history_size,
            "line_search_fn": line_search_fn,
        }
        super().__init__(params, defaults)
        if len(self.param_groups) != 1:
            raise ValueError("LBFGS doesn't support per-parameter options (parameter groups)")

    @property
    def _params(self) -> list[Tensor]:
        params: list[Tensor] = self.param_groups[0]["params"]
        return params

    def _flat_grad(self) -> Tensor:
        """The gradients of all parameters as one vector."""
        flat: Tensor = lazyt.cat(
            [
                param.new_zeros(param.numel()) if param.grad is None else param.grad.reshape(-1)
                for param in self._params
            ]
        )
        return flat

    def _move(self, length: Any, direction: Tensor) -> None:
        """Move the parameters by `length` times the vector `direction`."""
        start = 0
        for param in self._params:
            size = param.numel()
            param.add_(direction[start : start + size].view_as(param) * length)
            start += size

    def _direction(
        self, own: dict[str, Any], memory: dict[str, Any], grad: Tensor, history_size: int
    ) -> Tensor:
        """Minus the inverse Hessian times the gradient, with the last step in its history."""
        if own["n_iter"] == 1:
            memory.update(old_dirs=[], old_stps=[], ro=[], H_diag=1)
            return grad.neg()
        changes, steps, curvatures = memory["old_dirs"], memory["old_stps"], memory["ro"]
        change, step = grad.sub(memory["prev_flat_grad"]), memory["d"].mul(memory["t"])
        curvature = change.dot(step)
        if curvature > _LEAST_CURVATURE:
            if len(changes) == history_size:
                for history in (changes, steps, curvatures):
                    history.pop(0)
            changes.append(change)
            steps.append(step)
            curvatures.append(1.0 / curvature)
            memory["H_diag"] = curvature / change.dot(change)
        shares = own.setdefault("al", [None] * history_size)
        q = grad.neg()
        for i in reversed(range(len(changes))):
            shares[i] = steps[i].dot(q) * curvatures[i]
            q = q - changes[i] * shares[i]
        direction = q * memory["H_diag"]
        for i in range(len(changes)):
            back = changes[i].dot(direction) * curvatures[i]
            direction = direction + steps[i] * (shares[i] - back)
        return direction

    @no_grad()
    def step(self, closure: Callable[[], Any]) -> Any:
        """Iterate until a tolerance or a limit is met; the closure's first result.

        Args:
            closure: computes the loss and its gradients anew and returns the loss.
        """
        evaluate = enable_grad()(closure)
        if len(self.param_groups) != 1:
            raise AssertionError(
                f"Expected exactly one param_group, but got {len(self.param_groups)}"
            )
        group = self.param_groups[0]
        lr, max_iter, max_eval = as_scalar(group["lr"]), group["max_iter"], group["max_eval"]
        smallest, least_change = group["tolerance_grad"], group["tolerance_change"]
        search = group["line_search_fn"]
        own = self.state[self._params[0]]
        own.setdefault("func_evals", 0)
        own.setdefault("n_iter", 0)
        memory = {name: own.get(name) for name in _MEMORY}
        first_loss = evaluate()
        loss, grad = float(first_loss), self._flat_grad()
        own["func_evals"] += 1
        evaluations, iterations = 1, 0
        flat = bool(grad.abs().max() <= smallest)
        if flat:
            return first_loss
        while iterations < max_iter:
            iterations += 1
            own["n_iter"] += 1
            direction = self._direction(own, memory, grad, group["history_size"])
            memory["d"], memory["prev_flat_grad"] = direction, grad.clone()
            memory["prev_loss"], memory["t"] = loss, lr
            if own["n_iter"] == 1:
                memory["t"] = min(1.0, 1.0 / grad.abs().sum()) * lr
            slope = grad.dot(direction)
            if slope > -least_change:
                break
            tried = 0
            if search is not None:
                if search != "strong_wolfe":
                    raise RuntimeError("only 'strong_wolfe' is supported")
                loss, grad, memory["t"], tried = strong_wolfe(
                    self._loss_along(evaluate, direction),
                    memory["t"],
                    direction,
                    (loss, grad, slope),
                    most=max_eval - evaluations,
                )
                self._move(memory["t"], direction)
                flat = bool(grad.abs().max() <= smallest)
            else:
                self._move(memory["t"], direction)
                if iterations != max_iter:
                    loss, grad, tried = float(evaluate()), self._flat_grad(), 1
                    flat = bool(grad.abs().max() <= smallest)
            evaluations += tried
            own["func_evals"] += tried
            if iterations == max_iter or evaluations >= max_eval or flat:
                break
            if direction.mul(memory["t"]).abs().max() <= least_change:
                break
            if abs(loss - memory["prev_loss"]) < least_change:
                break
        own.update(memory)
        return first_loss

    def _loss_along(
        self, evaluate: Callable[[], Any], direction: Tensor
    ) -> Callable[[Any], tuple[float, Tensor]]:
        """The function that tells loss and gradient so far along `direction` from here."""
        here = [param.clone() for param in self._params]

        def at(length: Any) -> tuple[float, Tensor]:
            self._move(length, direction)
            loss, grad = float(evaluate()), self._flat_grad()
            for param, value in zip(self._params, here, strict=True):
                param.copy_(value)
            return loss, grad

        return at
