"""A line search for the strong Wolfe conditions.

Along a direction of descent, with φ(t) the loss after a step of length t, it looks for a t with

    φ(t) ≤ φ(0) + c₁ t φ'(0)    and    |φ'(t)| ≤ c₂ |φ'(0)|

(Nocedal and Wright, Numerical optimization, 2006, algorithms 3.5 and 3.6, with the safeguards of
Schmidt's minFunc, which PyTorch's L-BFGS follows): lengths grow until two of them bracket such a
point, then the bracket shrinks.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from lazyt.tensor import Tensor

__all__ = ["strong_wolfe"]

_SUFFICIENT_DECREASE = 1e-4  # c₁
_CURVATURE = 0.9  # c₂


class _Point(NamedTuple):
    """A length that was tried: the loss there, the gradient, and the slope along the direction."""

    t: Any
    loss: float
    grad: Tensor
    slope: Any


def _cubic_minimum(a: _Point, b: _Point, bounds: tuple[Any, Any] | None = None) -> Any:
    """The minimum between two points of the cubic through their losses and slopes; the middle
    where it has none (Nocedal and Wright, equation 3.59)."""
    if a.t > b.t:
        low, high = b, a
    else:
        low, high = a, b
    left, right = bounds or (low.t, high.t)
    d1 = a.slope + b.slope - 3 * (a.loss - b.loss) / (a.t - b.t)
    d2_squared = d1**2 - a.slope * b.slope
    if not d2_squared >= 0:
        return (left + right) / 2.0
    d2 = d2_squared.sqrt()
    share = (high.slope + d2 - d1) / (high.slope - low.slope + 2 * d2)
    return min(max(high.t - (high.t - low.t) * share, left), right)


def strong_wolfe(
    evaluate: Callable[[Any], tuple[float, Tensor]],
    t: Any,
    direction: Tensor,
    start: tuple[float, Tensor, Tensor],
    *,
    least_change: float = 1e-9,
    most: int = 25,
) -> tuple[float, Tensor, Any, int]:
    """A step length that meets the conditions, or the best one found.

    Args:
        evaluate: loss and gradient after a step of some length.
        t: the length to try first.
        direction: a vector.
        start: loss, gradient and slope where the search begins.
        least_change: how far a bracket may move the parameters before it is not shrunk any more.
        most: how often to interpolate.

    Returns:
        Loss, gradient, length, and how often `evaluate` was called.
    """
    loss, slope = start[0], start[2]

    def point(t: Any) -> _Point:
        value, grad = evaluate(t)
        return _Point(t, value, grad, grad.dot(direction))

    def too_high(p: _Point) -> bool:
        return bool(p.loss > loss + _SUFFICIENT_DECREASE * p.t * slope)

    def flat(p: _Point) -> bool:
        return bool(abs(p.slope) <= -_CURVATURE * slope)

    before, now = _Point(0, start[0], start[1].clone(), slope), point(t)
    origin = before
    calls, tries = 1, 0
    bracket = [origin, now]
    while tries < most:
        bracket = [before, now]
        if too_high(now) or (tries > 1 and now.loss >= before.loss):
            break
        if flat(now):
            return now.loss, now.grad, now.t, calls
        if now.slope >= 0:
            break
        bounds = (now.t + 0.01 * (now.t - before.t), now.t * 10)
        before, now = now, point(_cubic_minimum(before, now, bounds))
        calls += 1
        tries += 1
    else:
        bracket = [origin, now]

    low, high = (0, 1) if bracket[0].loss <= bracket[1].loss else (1, 0)
    reach = direction.abs().max()
    stalled = False
    while tries < most:
        ends = (bracket[0].t, bracket[1].t)
        if abs(ends[1] - ends[0]) * reach < least_change:
            break
        t = _cubic_minimum(bracket[0], bracket[1])
        # A point too near an end, twice or outside, is moved a tenth of the bracket inwards.
        margin = 0.1 * (max(ends) - min(ends))
        if min(max(ends) - t, t - min(ends)) < margin:
            if stalled or t >= max(ends) or t <= min(ends):
                nearer_top = abs(t - max(ends)) < abs(t - min(ends))
                t = max(ends) - margin if nearer_top else min(ends) + margin
                stalled = False
            else:
                stalled = True
        else:
            stalled = False
        now = point(t)
        calls += 1
        tries += 1
        if too_high(now) or now.loss >= bracket[low].loss:
            bracket[high] = now
            low, high = (0, 1) if bracket[0].loss <= bracket[1].loss else (1, 0)
            continue
        done = flat(now)
        if not done and now.slope * (bracket[high].t - bracket[low].t) >= 0:
            bracket[high] = bracket[low]
        bracket[low] = now
        if done:
            break
    best = bracket[low]
    return best.loss, best.grad, best.t, calls
