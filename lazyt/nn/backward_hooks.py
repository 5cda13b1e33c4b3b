"""Backward hooks of modules: identities around forward whose backward calls the hooks.

    x ─► identity ─► forward ─► identity ─► y
         (hooks)                (pre-hooks)

The cotangents of the right identity are the module's `grad_output`, those of the left one its
`grad_input`; what a hook returns goes on in their place. As in PyTorch, an output that nobody
used has None for a gradient, an input that forward did not use has zeros.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from lazyt.autograd import Function
from lazyt.gradmode import is_grad_enabled
from lazyt.tensor import Tensor
from lazyt.warned import warn

if TYPE_CHECKING:
    from lazyt.nn.module import Module

_Hook = Callable[..., Any]


class BackwardHookFunction(Function):
    """The identity on some tensors; its backward passes the cotangents through `on_backward`,
    missing ones as zeros or as None."""

    @staticmethod
    def forward(ctx: Any, on_backward: _Hook, zeros: bool, *tensors: Tensor) -> Any:
        ctx.on_backward = on_backward
        ctx.mark_non_differentiable(*[t for t in tensors if not t.requires_grad])
        ctx.set_materialize_grads(zeros)
        return tensors

    @staticmethod
    def backward(ctx: Any, *cotangents: Tensor | None) -> Any:
        return (None, None, *ctx.on_backward(cotangents))


class BackwardHooks:
    """The backward hooks of one call of a module."""

    def __init__(self, module: Module, hooks: list[_Hook], pre_hooks: list[_Hook]) -> None:
        self.module, self.hooks, self.pre_hooks = module, hooks, pre_hooks
        self.grad_output: Any = None
        self.n_inputs = self.n_outputs = 0
        self.inputs: list[int] | None = None
        self.outputs: list[int] = []

    def wrap_inputs(self, args: tuple[Any, ...]) -> tuple[Any, ...]:
        """The arguments of forward, tensors among them passed through the left identity."""
        self.n_inputs = len(args)
        wrapped, self.inputs = _through_identity(self._on_inputs, True, args)
        return wrapped

    def wrap_outputs(self, result: Any) -> Any:
        """The result of forward (a Tensor or a tuple) passed through the right identity."""
        if not isinstance(result, Tensor | tuple):
            warn(
                "For backward hooks to be called, module output should be a Tensor or a tuple of "
                f"Tensors but received {type(result)}",
            )
        outputs = result if isinstance(result, tuple) else (result,)
        self.n_outputs = len(outputs)
        wrapped, positions = _through_identity(self._on_outputs, False, outputs)
        self.outputs = positions or []
        return wrapped if isinstance(result, tuple) else wrapped[0]

    def _on_outputs(self, cotangents: Sequence[Tensor | None]) -> Sequence[Tensor | None]:
        grads = _spread(self.outputs, cotangents, self.n_outputs)
        for hook in self.pre_hooks:
            changed = hook(self.module, grads)
            if changed is None:
                continue
            if len(changed) != len(grads):
                raise RuntimeError(
                    "Backward pre hook returned an invalid number of grad_output, got "
                    f"{len(changed)}, but expected {len(grads)}"
                )
            grads = changed
        self.grad_output = grads
        if self.inputs is None:
            self._call_without_inputs()
        return [grads[i] for i in self.outputs]

    def _call_without_inputs(self) -> None:
        """No input needs a gradient: there is no left identity, so the hooks run here."""
        warn(
            "Full backward hook is firing when gradients are computed with respect to module "
            "outputs since no inputs require gradients. See "
            "https://docs.pytorch.org/docs/main/generated/torch.nn.Module.html"
            "#torch.nn.Module.register_full_backward_hook for more details.",
        )
        for hook in self.hooks:
            changed = hook(self.module, (None,) * self.n_inputs, self.grad_output)
            if changed is not None and not (
                isinstance(changed, tuple) and all(grad is None for grad in changed)
            ):
                raise RuntimeError(
                    "Backward hook for Modules where no input requires gradient should always "
                    "return None or None for all gradients."
                )
        self.grad_output = None

    def _on_inputs(self, cotangents: Sequence[Tensor | None]) -> Sequence[Tensor | None]:
        if self.grad_output is None:  # a gradient that did not come through the outputs
            return cotangents
        positions = self.inputs or []
        grads = _spread(positions, cotangents, self.n_inputs)
        for hook in self.hooks:
            changed = hook(self.module, grads, self.grad_output)
            if changed is None:
                continue
            if len(changed) != len(grads):
                raise RuntimeError(
                    "Backward hook returned an invalid number of grad_input, got "
                    f"{len(changed)}, but expected {len(grads)}"
                )
            grads = changed
        self.grad_output = None
        return [grads[i] for i in positions]


def _spread(positions: Sequence[int], values: Sequence[Any], size: int) -> tuple[Any, ...]:
    """`values` at their `positions` of a tuple of `size`, None elsewhere."""
    spread: list[Any] = [None] * size
    for position, value in zip(positions, values, strict=True):
        spread[position] = value
    return tuple(spread)


def _through_identity(
    on_backward: _Hook, zeros: bool, values: tuple[Any, ...]
) -> tuple[tuple[Any, ...], list[int] | None]:
    """`values` with the tensors passed through the identity, and where those are; None instead
    of the positions if no gradient will flow."""
    positions = [i for i, value in enumerate(values) if isinstance(value, Tensor)]
    if not (is_grad_enabled() and any(values[i].requires_grad for i in positions)):
        return values, None
    passed = BackwardHookFunction.apply(on_backward, zeros, *[values[i] for i in positions])
    wrapped = list(values)
    for position, tensor in zip(positions, passed, strict=True):
        wrapped[position] = tensor
    if hasattr(values, "_fields"):
        return type(values)(*wrapped), positions
    return tuple(wrapped), positions
