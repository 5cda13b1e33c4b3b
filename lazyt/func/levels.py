"""What a vmap does while its function is traced: reads, writes and draws inside it.

    with Level(size, "different").opened() as trace:      # LOCAL.levels[-1] is trace
        y = trace.batched(node_of(function(wrap(trace.place(batch)))))

A tensor that depends on the example cannot be read, nor written into one that does not; a draw is
an error, one for all examples, or one for each, as `randomness` says. Levels nest: what an inner
one asks of the stream is asked of the one around it.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from math import prod
from textwrap import indent
from typing import Any, NamedTuple

from lazyt.dispatch import wrap
from lazyt.ir.batching import NO_VALUE, Batching
from lazyt.ir.batching_rules import ranked
from lazyt.ir.node import LOCAL, Node
from lazyt.ir.ops_shape import cat_, reshape
from lazyt.state import node_of
from lazyt.tensor import Tensor

from .trees import broadcast, flatten, unflatten

ITEM = (
    "vmap: It looks like you're calling .item() on a Tensor. We don't support vmap over calling "
    ".item() on a Tensor, please try to rewrite what you're doing with other operations. If error "
    "is occurring somewhere inside PyTorch internals, please file a bug report."
)
CONTROL_FLOW = (
    "vmap: It looks like you're attempting to use a Tensor in some data-dependent control flow. "
    "We don't support that yet, please file an issue at "
    "https://github.com/pytorch/pytorch/issues ."
)
SHAPE_OF_VALUES = (
    "vmap: We do not support batching operators that can output dynamic shape. Attempted to vmap "
    "over aten::{}. Please file an issue at https://github.com/pytorch/pytorch/issues if you need "
    "this feature."
)
MASK = (
    "vmap: We do not support batching operators that can support dynamic shape. Attempting to "
    "batch over indexing with a boolean mask."
)
# How a read is refused, by the function that reads.
_REFUSALS = {"__bool__": CONTROL_FLOW, "item": ITEM, "tolist": NO_VALUE, "index_nodes": MASK}
_REFUSALS["array_from"] = ITEM
WRITE = (
    "vmap: inplace arithmetic(self, *extra_args) is not possible because there exists a Tensor "
    "`other` in extra_args that has more elements than `self`. This happened due to `other` being "
    "vmapped over but `self` not being vmapped over in a vmap. Please try to use out-of-place "
    "operators instead of inplace arithmetic. If said operator is being called inside the PyTorch "
    "framework, please file a bug report instead."
)
RANDOM = (
    "vmap: called random operation while in randomness error mode. Please either use the 'same' "
    "or 'different' randomness flags on vmap or perform the randomness operation out of vmap"
)
SAME_OF_BATCH = (
    "Vmap does not currently support same randomness with a batched tensor input. Please file an "
    "issue with functorch"
)


class Info(NamedTuple):
    """What a Function's own `vmap` is told of the vmap."""

    batch_size: int
    randomness: str


class Level(Batching):
    """One vmap while it is traced."""

    def __init__(self, size: int, randomness: str):
        super().__init__(size)
        self.randomness = randomness

    def check_read(self, node: Node) -> None:
        """Raises in PyTorch's words where the value of `node` is one for each example."""
        if self.depends(node):
            reader = sys._getframe(2).f_code.co_name
            raise RuntimeError(_REFUSALS.get(reader) or SHAPE_OF_VALUES.format(reader))

    def check_write(self, old: Node, value: Node) -> None:
        """Raises where what every example shares would become one for each example."""
        if self.depends(value) and not self.depends(old) and not self._is_ours(old):
            raise RuntimeError(WRITE)

    def _is_ours(self, node: Node) -> bool:
        """Whether a node was traced since this level began."""
        return any(n is node for n in LOCAL.trace[self.start :])

    @contextmanager
    def opened(self) -> Iterator[Level]:
        """Inside, the function of this vmap is traced."""
        local = LOCAL
        before = local.levels, local.held
        local.levels, local.held = [*local.levels, self], True
        try:
            yield self
        finally:
            local.levels, local.held = before
            self.close()
            for outer in local.levels:
                outer.rescan(self.start)

    @contextmanager
    def outside(self) -> Iterator[None]:
        """Inside, this level and those in it are not there."""
        levels = LOCAL.levels
        LOCAL.levels = levels[: levels.index(self)]
        try:
            yield
        finally:
            LOCAL.levels = levels

    def show(self, node: Node) -> str:
        """How a tensor that depends on the example prints: with the values of all examples."""
        depth = LOCAL.levels.index(self) + 1
        batched = wrap(self.batched(node))
        with self.outside():
            text = indent(repr(batched.detach()), "    ")
        return f"BatchedTensor(lvl={depth}, bdim=0, value=\n{text}\n)"

    def apply(self, cls: Any, args: tuple) -> Any:
        """An autograd.Function with a `vmap` of its own, on all examples at once."""
        nodes = [node_of(a) if isinstance(a, Tensor) else None for a in args]
        dims = tuple(0 if n is not None and self.depends(n) else None for n in nodes)
        whole = [
            a if dim is None else wrap(self.batched(n))  # type: ignore[arg-type]
            for a, n, dim in zip(args, nodes, dims)
        ]
        with self.outside():
            outputs, out_dims = cls.vmap(Info(self.size, self.randomness), dims, *whole)
        leaves, spec = flatten(outputs)
        where = broadcast(out_dims, spec) or [0] * len(leaves)
        found = [
            x if dim is None else wrap(self.place(node_of(x.movedim(dim, 0))))
            for x, dim in zip(leaves, where)
        ]
        return unflatten(found, spec)

    def draw(self, draw_on: Callable, where: tuple, parameters: dict[str, Any]) -> Node:
        """A draw inside this vmap: `draw_on(*where, **parameters)` of one example.

        Errors: RuntimeError where randomness is "error", or "same" for values of an example.
        """
        if self.randomness == "error":
            raise RuntimeError(RANDOM)
        tensors = {k: node_of(v) for k, v in parameters.items() if isinstance(v, Tensor)}
        batched = any(self.depends(node) for node in tensors.values())
        if self.randomness == "same":
            if batched:
                raise RuntimeError(SAME_OF_BATCH)
            with self.outside():
                return draw_on(*where, **parameters)
        if "n" in parameters:
            return self._whole(draw_on, where, parameters, tensors.get("p"))
        *first, order, result = where
        size = parameters.get("size")
        rank = max(len(n.type.shape) for n in tensors.values()) if size is None else len(size)
        for name, node in tensors.items():
            parameters[name] = wrap(ranked(self.batched(node), rank))
        if size is not None:
            parameters["size"] = (self.size, *size)
            order = order and (0, *(a + 1 for a in order))
        with self.outside():
            return self.place(draw_on(*first, order, result, **parameters))

    def _whole(self, draw_on: Callable, where: tuple, parameters: dict, p: Node | None) -> Node:
        """Draws that come as a whole: permutations one after the other, choices from all rows."""
        size = self.size
        if p is not None:
            *lead, count = p.type.shape
            rows = reshape(self.batched(p), (size * prod(lead), count))
            with self.outside():
                drawn = draw_on(*where, **{**parameters, "p": wrap(rows)})
            return self.place(reshape(drawn, (size, *lead, parameters["n"])))
        with self.outside():
            each = [draw_on(*where, **parameters) for _ in range(size)]
            rows = cat_(*(reshape(d, (1, *d.type.shape)) for d in each), arg=(0,))
            return self.place(rows)
