"""What the transforms of `torch.func` have in common: inputs to differentiate by, and pulling back.

A transform differentiates by copies of its inputs. Where an input has a history of its own (an
outer transform, or the user's own `requires_grad`), the copy is a view that leads to it, so that
what comes out can be differentiated again; else it is a leaf nobody else knows of.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lazyt.autograd.engine import grad as autograd_grad
from lazyt.dispatch import wrap
from lazyt.ir.autodiff import history
from lazyt.ir.complexes import NO_GRADIENT
from lazyt.ir.node import LOCAL, Node
from lazyt.ir.ops_elementwise import zeros_like
from lazyt.state import node_of
from lazyt.tensor import Tensor

from .trees import flatten, unflatten


class Inputs:
    """Copies of tensors that a function is differentiated by.

    outer: whether the caller records history at all. Errors: ValueError or RuntimeError for what
    is no floating-point tensor.
    """

    def __init__(self, trees: Any, outer: bool):
        leaves, self.spec = flatten(trees)
        self.outer = outer
        self.given = leaves
        self.tensors = [self._copy(x) for x in leaves]

    def _copy(self, x: Any) -> Tensor:
        if not isinstance(x, Tensor):
            raise ValueError(f"Thing passed to transform API must be Tensor, got {type(x)}")
        if x.dtype.is_complex:
            raise NotImplementedError(NO_GRADIENT)
        if not x.dtype.is_floating_point:
            raise RuntimeError("only Tensors of floating point dtype can require gradients")
        if self.outer and x.requires_grad:
            return x.view_as(x)
        return x.detach().requires_grad_()

    @property
    def tree(self) -> Any:
        """The copies in the containers that the originals came in."""
        return unflatten(self.tensors, self.spec)

    def others(self, outputs: Sequence[Tensor]) -> bool:
        """Whether outputs have a history beyond these inputs, for the caller to differentiate."""
        if not self.outer:
            return False
        if any(x.requires_grad for x in self.given):
            return True
        own = {id(t) for t in self.tensors}
        roots = [node_of(t) for t in outputs if t.requires_grad]
        return any(_ends(n) and _owner(n) not in own for n in history(roots))

    def lead_to(self, output: Tensor) -> bool:
        """Whether an output has a history that begins at one of these inputs."""
        if not output.requires_grad:
            return False
        own, nodes = {id(t) for t in self.tensors}, {node_of(t) for t in self.tensors}
        return any(n in nodes or _owner(n) in own for n in history([node_of(output)]))

    def pull(
        self, outputs: Sequence[Tensor], cotangents: Sequence[Tensor | None], create: bool
    ) -> list[Tensor]:
        """The cotangents of the inputs; zeros where an output does not depend on one."""
        pairs = [(o, c) for o, c in zip(outputs, cotangents) if o.requires_grad]
        found: Sequence[Tensor | None] = [None] * len(self.tensors)
        if pairs:
            found = autograd_grad(
                [o for o, _ in pairs],
                self.tensors,
                None if pairs[0][1] is None else [c for _, c in pairs],
                retain_graph=True,
                create_graph=create,
                allow_unused=True,
            )
        return [
            wrap(zeros_like(node_of(t))) if g is None else g for t, g in zip(self.tensors, found)
        ]

    def outside(self, tree: Any, others: bool) -> Any:
        """Outputs as the caller gets them: without the history that ends at these inputs."""
        leaves, spec = flatten(tree)
        return unflatten(
            [t.detach() if isinstance(t, Tensor) and not others else t for t in leaves], spec
        )


def _ends(n: Node) -> bool:
    """Whether a walk through a history ends at a node."""
    if n.tag is not None and n.tag.leaf is not None:
        return True
    return not any(s.__class__ is Node and s.grad for s in n.src)


def _owner(n: Node) -> int | None:
    if n.tag is None or n.tag.leaf is None:
        return None
    return id(n.tag.leaf())


def tracking() -> bool:
    """Whether history is recorded now, for a caller that turns it on for a while."""
    return LOCAL.grad
