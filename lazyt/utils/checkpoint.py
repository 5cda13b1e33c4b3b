"""torch.utils.checkpoint: what a function computes is not kept for backward, but computed again.

    y = checkpoint(block, x, use_reentrant=False)      # backward runs block(x) once more

Without reentrancy the region becomes one node, whose operands are where its history came from
(arguments, parameters, whatever else it closes over) and whose backward traces the function again
and differentiates that. So gradients, `autograd.grad`, hooks and higher derivatives go on as if
nothing had happened. The reentrant form is an `autograd.Function` that calls `backward` within
backward, as PyTorch's is. The second run draws what the first drew, under the same autocast. See
https://docs.pytorch.org/docs/2.13/checkpoint.html.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from lazyt.amp.state import STATE as AUTOCAST
from lazyt.autograd.engine import backward as autograd_backward
from lazyt.autograd.engine import grad_fn_name
from lazyt.autograd.function import Function, FunctionCtx, function
from lazyt.dispatch import renamed, wrap
from lazyt.func.trees import Spec, flatten, unflatten
from lazyt.gradmode import enable_grad
from lazyt.ir.autodiff import SECOND_BACKWARD, differentiate
from lazyt.ir.node import LOCAL, NUMBERS, Node, emit
from lazyt.ir.ops_reduce import get
from lazyt.ir.ops_shape import copy, stop
from lazyt.ir.tags import Tag
from lazyt.nn.containers import Sequential
from lazyt.random import RandomStates, fork_rng
from lazyt.runtime.stats import COUNTERS
from lazyt.state import node_of
from lazyt.tensor import Tensor
from lazyt.warned import warn

NOT_EXPLICIT = (
    "{}: the use_reentrant parameter should be passed explicitly. Starting in PyTorch 2.9, calling "
    "checkpoint without use_reentrant will raise an exception. use_reentrant=False is recommended, "
    "but if you need to preserve the current default behavior, you can pass use_reentrant=True. "
    "Refer to docs for more details on the differences between the two variants."
)
PARTIAL_BACKWARD = (
    "When use_reentrant=True, torch.utils.checkpoint is incompatible with .grad() or passing an "
    "`inputs` parameter to .backward(). To resolve this error, you can either set "
    "use_reentrant=False, or call .backward() without passing the `inputs` argument."
)


class CheckpointError(RuntimeError):
    """The second run of a function was not like its first."""


def noop_context_fn() -> tuple[Any, Any]:
    """Contexts for the two runs of a function: none."""
    return contextlib.nullcontext(), contextlib.nullcontext()


def checkpoint(
    function: Callable,
    *args: Any,
    use_reentrant: bool | None = None,
    context_fn: Callable[[], tuple[Any, Any]] = noop_context_fn,
    determinism_check: str = "default",
    debug: bool = False,
    early_stop: bool = True,
    **kwargs: Any,
) -> Any:
    """`function(*args, **kwargs)`, whose inner values are computed again in backward.

    use_reentrant: PyTorch's older form, which takes no keyword arguments, gives no gradients by
    `autograd.grad`, and none at all where no argument requires one. preserve_rng_state (a keyword
    argument, True by default): whether the second run draws what the first drew. context_fn: gives
    a context for each of the two runs. determinism_check: "none" does not compare the shapes of
    the two runs. debug, early_stop: accepted. Errors: ValueError for arguments that do not go
    together, CheckpointError where the second run gives other outputs.
    """
    if use_reentrant is None:
        warn(NOT_EXPLICIT.format("torch.utils.checkpoint"))
        use_reentrant = True
    preserve = kwargs.pop("preserve_rng_state", True)
    if not use_reentrant:
        region = Region(function, args, kwargs, preserve, context_fn, determinism_check)
        return region.run()
    if kwargs:
        raise ValueError("Unexpected keyword arguments: " + ",".join(kwargs))
    if context_fn is not noop_context_fn or debug is not False:
        raise ValueError(
            "Passing `context_fn` or `debug` is only supported when use_reentrant=False."
        )
    return CheckpointFunction.apply(function, preserve, *args)


def checkpoint_sequential(
    functions: Sequential | Iterable[Callable],
    segments: int,
    input: Any,
    use_reentrant: bool | None = None,
    **kwargs: Any,
) -> Any:
    """Functions one after the other, in `segments` of equal length; all but the last are
    checkpointed."""
    if use_reentrant is None:
        warn(NOT_EXPLICIT.format("torch.utils.checkpoint.checkpoint_sequential"))
        use_reentrant = True
    preserve = kwargs.pop("preserve_rng_state", True)
    if kwargs:
        raise ValueError("Unexpected keyword arguments: " + ",".join(kwargs))
    steps = list(functions.children() if isinstance(functions, Sequential) else functions)
    length = len(steps) // segments

    def part(start: int, stop: int) -> Callable:
        def forward(x: Any) -> Any:
            for step in steps[start:stop]:
                x = step(x)
            return x

        return forward

    last = length * (segments - 1)
    for start in range(0, last, length) if length else ():
        input = checkpoint(
            part(start, start + length),
            input,
            use_reentrant=use_reentrant,
            preserve_rng_state=preserve,
        )
    return part(last, len(steps))(input)


# --- without reentrancy ---------------------------------------------------------------------------


class Region:
    """One checkpointed call: what it was called with, and how to do it again."""

    ctx: Any = None  # the node goes by the name of its tag

    def __init__(
        self,
        function: Callable,
        args: tuple,
        kwargs: dict[str, Any],
        preserve: bool,
        context_fn: Callable[[], tuple[Any, Any]],
        determinism_check: str,
    ):
        self._function = function
        leaves, self._spec = flatten((args, kwargs))
        self._others = [None if isinstance(x, Tensor) else x for x in leaves]
        self._saved = FunctionCtx()
        self._saved.save_for_backward(*(x if isinstance(x, Tensor) else None for x in leaves))
        self._states = RandomStates(None) if preserve else None
        self._autocast = AUTOCAST.taken()
        self._contexts = context_fn()
        self._check = determinism_check != "none"
        self._sources: list[Node] = []
        self._types: list = []
        self._released = False

    def _call(self, tensors: Sequence[Tensor | None]) -> tuple[list, Spec]:
        inside = [o if t is None else t for t, o in zip(tensors, self._others)]
        args, kwargs = unflatten(inside, self._spec)
        return flatten(self._function(*args, **kwargs))

    def run(self) -> Any:
        """The first run: its outputs, with one node for their history."""
        trace, start, drains = LOCAL.trace, len(LOCAL.trace), COUNTERS.drains
        with self._contexts[0]:
            outputs, spec = self._call(self._saved.saved_tensors)
        tracked = [t for t in outputs if isinstance(t, Tensor) and node_of(t).grad]
        if not LOCAL.grad or not tracked:
            return unflatten(outputs, spec)
        whole = LOCAL.trace is trace and COUNTERS.drains == drains
        roots = [node_of(t) for t in tracked]
        self._sources = self._beneath(roots, set(trace[start:]) if whole else None)
        self._types = [r.type for r in roots]
        results = [stop(r) for r in roots]
        made = emit(
            function,
            (*self._sources, *results),
            (len(self._sources),),
            tuple(self._types),  # type: ignore[arg-type]
        )
        made.grad = next(NUMBERS)
        made.tag = Tag("CheckpointBackward")
        made.tag.call = self
        pieces = {
            id(t): wrap(renamed(copy(get(made, k)), grad_fn_name(roots[k])))
            for k, t in enumerate(tracked)
        }
        return unflatten([pieces.get(id(t), t) for t in outputs], spec)

    def _arguments(self) -> list[Node]:
        return [node_of(t) for t, _ in self._saved._saved if t is not None]

    def _beneath(self, roots: list[Node], region: set[Node] | None) -> list[Node]:
        """Where the histories of the outputs come from: arguments, leaves, what was made before.

        region: the nodes made since, None where the function read a value and they are forgotten.
        """
        arguments = {n for n in self._arguments() if n.grad}
        found: dict[Node, None] = {}
        seen: set[Node] = set()
        stack = list(roots)
        while stack:
            n = stack.pop()
            if n in seen:
                continue
            seen.add(n)
            ends = n.tag is not None and n.tag.leaf is not None
            if ends or n in arguments or (region is not None and n not in region):
                found[n] = None
            else:
                stack.extend(s for s in n.src if s.__class__ is Node and s.grad)
        return list(found)

    def release(self) -> None:
        """Lets go of the arguments, after a backward that does not retain the graph."""
        self._saved._saved = ()
        self._released = True

    def __call__(self, cotangents: Any) -> list[Node | None]:
        """Runs the function again and differentiates what it traced."""
        if self._released:
            raise RuntimeError(SECOND_BACKWARD)
        create = LOCAL.grad
        tensors = self._saved.saved_tensors
        before = self._arguments()
        with self._random(), AUTOCAST.put_back(self._autocast), enable_grad(), self._contexts[1]:
            outputs, _ = self._call(tensors)
        roots = [node_of(t) for t in outputs if isinstance(t, Tensor) and node_of(t).grad]
        self._compare(roots)
        pairs = [(r, c) for r, c in zip(roots, cotangents) if c is not None]
        moved = dict(zip(before, self._arguments()))
        sources = [moved.get(s, s) for s in self._sources]
        with _ending_at(sources):
            found = differentiate(
                [r for r, _ in pairs],
                [c for _, c in pairs],
                retain=create,
                create=create,
                inputs=sources,
            )
        return [*found, *(None for _ in self._types)]

    @contextlib.contextmanager
    def _random(self) -> Iterator[None]:
        if self._states is None:
            yield
            return
        with fork_rng():
            self._states.put_back()
            yield

    def _compare(self, roots: list[Node]) -> None:
        if len(roots) != len(self._types):
            raise CheckpointError(
                "torch.utils.checkpoint: A different number of tensors was saved during the "
                "original forward and recomputation.\nNumber of tensors saved during forward: "
                f"{len(self._types)}\nNumber of tensors saved during recomputation: {len(roots)}."
            )
        wrong = [(i, t, r.type) for i, (t, r) in enumerate(zip(self._types, roots)) if r.type != t]
        if wrong and self._check:
            lines = "".join(f"\n  output {i}: {t!r} at first, {now!r} now" for i, t, now in wrong)
            raise CheckpointError(
                "torch.utils.checkpoint: Recomputed values for the following tensors have "
                f"different metadata than during the forward pass.{lines}"
            )


@contextlib.contextmanager
def _ending_at(nodes: list[Node]) -> Iterator[None]:
    """While open, a backward does not go beyond these nodes: what lies there is another's."""
    tags = []
    for n in nodes:
        if n.tag is None:
            n.tag = Tag()
        if n.tag.leaf is None:
            n.tag.leaf = _nobody
            tags.append(n.tag)
    try:
        yield
    finally:
        for tag in tags:
            tag.leaf = None


def _nobody() -> None:
    """The leaf that a node belongs to which only stands for one."""


# --- with reentrancy ------------------------------------------------------------------------------


class CheckpointFunction(Function):
    """The reentrant form: forward records nothing, backward calls backward."""

    @staticmethod
    def forward(ctx: Any, run_function: Callable, preserve_rng_state: bool, *args: Any) -> Any:
        check_backward_validity(args)
        ctx.run_function = run_function
        ctx.states = RandomStates(None) if preserve_rng_state else None
        ctx.autocast = AUTOCAST.taken()
        ctx.others = [None if isinstance(a, Tensor) else a for a in args]
        ctx.save_for_backward(*(a if isinstance(a, Tensor) else None for a in args))
        return run_function(*args)

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        if LOCAL.partial:
            raise RuntimeError(PARTIAL_BACKWARD)
        saved = ctx.saved_tensors
        inside = detach_variable(tuple(o if t is None else t for t, o in zip(saved, ctx.others)))
        with contextlib.ExitStack() as contexts:
            if ctx.states is not None:
                contexts.enter_context(fork_rng())
                ctx.states.put_back()
            contexts.enter_context(AUTOCAST.put_back(ctx.autocast))
            contexts.enter_context(enable_grad())
            outputs = ctx.run_function(*inside)
        if isinstance(outputs, Tensor):
            outputs = (outputs,)
        pairs = [
            (o, g) for o, g in zip(outputs, grads) if isinstance(o, Tensor) and o.requires_grad
        ]
        if not pairs:
            raise RuntimeError(
                "none of output has requires_grad=True, this checkpoint() is not necessary"
            )
        autograd_backward([o for o, _ in pairs], [g for _, g in pairs])
        found = tuple(x.grad if isinstance(x, Tensor) else None for x in inside)
        return (None, None, *found)


def detach_variable(inputs: tuple) -> tuple:
    """Tensors without their history, which require a gradient if they did."""
    if not isinstance(inputs, tuple):
        raise RuntimeError(
            "Only tuple of tensors is supported. Got Unsupported input type: "
            f"{type(inputs).__name__}"
        )
    return tuple(
        x.detach().requires_grad_(x.requires_grad) if isinstance(x, Tensor) else x for x in inputs
    )


def check_backward_validity(inputs: Iterable[Any]) -> None:
    """Warns where no input requires a gradient."""
    if not any(x.requires_grad for x in inputs if isinstance(x, Tensor)):
        warn("None of the inputs have requires_grad=True. Gradients will be None")


@contextlib.contextmanager
def set_checkpoint_early_stop(enable: bool) -> Iterator[None]:
    """Accepted: a second run is traced to its end, and what no gradient needs is not computed."""
    yield


@contextlib.contextmanager
def set_checkpoint_debug_enabled(enabled: bool | None) -> Iterator[None]:
    """Accepted: errors of checkpoints name what differs as it is."""
    yield


__all__ = [
    "CheckpointError",
    "CheckpointFunction",
    "check_backward_validity",
    "checkpoint",
    "checkpoint_sequential",
    "detach_variable",
    "noop_context_fn",
    "set_checkpoint_debug_enabled",
    "set_checkpoint_early_stop",
]
