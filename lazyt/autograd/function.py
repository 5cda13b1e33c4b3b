"""autograd.Function: a user's own forward and backward.

The forward runs under no_grad on the real tensors. Its results pass through one `function` node
whose operands are the inputs and the results, so that history runs through it and values do not
change.
"""

from __future__ import annotations

import functools
from typing import Any

from lazyt.dispatch import wrap
from lazyt.functions.views import view_as
from lazyt.gradmode import no_grad
from lazyt.handles import OfFunction
from lazyt.ir.autodiff import SECOND_BACKWARD
from lazyt.ir.node import LOCAL, NUMBERS, Node, emit
from lazyt.ir.opdef import Op
from lazyt.ir.ops_elementwise import cast, full
from lazyt.ir.ops_reduce import get
from lazyt.ir.ops_shape import alias, copy
from lazyt.ir.overwritten import hint, short_name
from lazyt.ir.tags import Tag
from lazyt.ir.types import broadcast_shapes
from lazyt.layout import like_operands
from lazyt.state import LEAF_WRITE, node_of, touch, write
from lazyt.tensor import Tensor
from lazyt.warned import warn

function = Op(
    "function",
    "tuple({rest}[{inputs}:])",
    kind="view",
    fields=("inputs",),
    infer=lambda src, arg: tuple(s.type for s in src[arg[0] :]),
    vjp=(),
    results=2,
)


class FunctionCtx:
    """What forward hands to backward: saved tensors, flags and whatever the user puts on it."""

    def __init__(self) -> None:
        self._saved: tuple = ()
        self._tag: Tag | None = None
        self._inputs: list[Node] = []
        self._results: frozenset[int] = frozenset()
        self._dirty: tuple = ()
        self._non_differentiable: tuple = ()
        self._materialize = True
        self.needs_input_grad: tuple[bool, ...] = ()

    def save_for_backward(self, *tensors: Any) -> None:
        """Keeps tensors for backward, where `saved_tensors` gives them back."""
        for i, t in enumerate(tensors):
            if t is not None and not isinstance(t, Tensor):
                raise TypeError(
                    f"save_for_backward can only save variables, but argument {i} is of type "
                    f"{type(t).__name__}"
                )
        self._saved = tuple((t, t._version if t is not None else 0) for t in tensors)

    def _made(self, returned: list[Tensor], pieces: list[Tensor]) -> None:
        """Puts what `apply` gives back in the place of the results that forward saved.

        So a backward that reads its result is differentiated through it.
        """
        made = {id(r): p for r, p in zip(returned, pieces) if r is not p}
        if made and self._saved:
            self._results = frozenset(id(p) for p in made.values())
            self._saved = tuple(
                (made[id(t)], made[id(t)]._version) if id(t) in made else (t, version)
                for t, version in self._saved
            )

    save_for_forward = save_for_backward

    @property
    def saved_tensors(self) -> tuple:
        if self._tag is not None and self._tag.freed:
            raise RuntimeError(SECOND_BACKWARD)
        for t, version in self._saved:
            if t is not None and t._version != version:
                raise RuntimeError(
                    "one of the variables needed for gradient computation has been modified by an "
                    f"inplace operation: [{t.type()} {list(t.shape)}]{self._maker(t)} is at "
                    f"version {t._version}; expected version {version} instead. Hint: {hint()}"
                )
        return tuple(t for t, _ in self._saved)

    saved_variables = saved_tensors

    def _maker(self, t: Tensor) -> str:
        made_by: Any = self if id(t) in self._results else t.grad_fn
        return "" if made_by is None else f", which is output 0 of {short_name(made_by.name())},"

    def mark_dirty(self, *tensors: Any) -> None:
        self._dirty = tensors

    def mark_non_differentiable(self, *tensors: Any) -> None:
        self._non_differentiable = tensors

    def set_materialize_grads(self, value: bool) -> None:
        self._materialize = value


class BackwardCFunction(FunctionCtx):
    """The context as `grad_fn`: it has the name and the edges of a graph node."""

    def name(self) -> str:
        return type(self).__name__

    @property
    def next_functions(self) -> tuple:
        from .engine import grad_fn_of

        return tuple((grad_fn_of(s) if s.grad else None, 0) for s in self._inputs)


class _Call:
    """Runs the user's backward on cotangent nodes."""

    def __init__(
        self,
        cls: Any,
        ctx: FunctionCtx,
        types: list,
        tensors: list[bool],
        positions: list,
        count: int,
    ):
        self.cls = cls
        self.ctx = ctx
        self.types = types
        self.tensors = tensors  # which of the results are tensors; backward gets None for others
        self.positions = positions
        self.count = count

    def release(self) -> None:
        """Lets go of what was saved, after a backward that does not retain the graph."""
        self.ctx._saved = ()

    def __call__(self, cotangents: Any) -> list[Node | None]:
        ctx = self.ctx
        arrived: list[Any] = []
        for c, t in zip(cotangents, self.types):
            if c is None and ctx._materialize:
                c = full(t.shape, 0, t.dtype, t.device)
            arrived.append(wrap(c) if c is not None else None)
        given_of = iter(arrived)
        given = [next(given_of) if is_tensor else None for is_tensor in self.tensors]
        results = self.cls.backward(ctx, *given)
        if not isinstance(results, tuple):
            results = (results,)
        if len(results) > self.count and all(r is None for r in results[self.count :]):
            results = results[: self.count]
        if len(results) != self.count:
            name = type(ctx).__name__
            raise RuntimeError(
                f"function {name} returned an incorrect number of gradients (expected "
                f"{self.count}, got {len(results)})"
            )
        for position, result in enumerate(results):
            if result is not None and position not in self.positions:
                raise RuntimeError(
                    f"function {type(ctx).__name__} returned a gradient different than None at "
                    f"position {position + 1}, but the corresponding forward input was not a "
                    "Variable"
                )
        found: list[Node | None] = []
        for k, position in enumerate(self.positions):
            result = results[position]
            if result is None:
                found.append(None)
                continue
            if not isinstance(result, Tensor):
                raise RuntimeError(f"expected Variable or None (got {type(result).__name__})")
            node = node_of(result)
            want = ctx._inputs[k].type
            if node.type.shape != want.shape:
                try:
                    fits = broadcast_shapes(want.shape, node.type.shape) == node.type.shape
                except RuntimeError:
                    fits = False
                if not fits:
                    raise RuntimeError(
                        f"Function {type(ctx).__name__} returned an invalid gradient at index "
                        f"{position} - got {list(node.type.shape)} but expected shape compatible "
                        f"with {list(want.shape)}"
                    )
            if node.type.dtype is not want.dtype:
                node = cast(node, want.dtype)
            found.append(node)
        return found + [None] * len(self.types)


class Function:
    """Base class of custom functions: static `forward(ctx, ...)` and `backward(ctx, *grads)`.

    Under `vmap` both are traced on one example, unless the class has a static
    `vmap(info, in_dims, *args)` of its own.
    """

    generate_vmap_rule = False

    def __init__(self, *args: Any, **kwargs: Any):
        warn(
            f"{type(self)} should not be instantiated. Methods on autograd functions are all "
            "static, so you should invoke them on the class itself. Instantiating an autograd "
            "function will raise an error in a future version of PyTorch.",
            DeprecationWarning,
        )

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        raise RuntimeError(
            "Legacy autograd function with non-static forward method is deprecated. Please use "
            "new-style autograd function with static forward method. (Example: "
            "https://pytorch.org/docs/stable/autograd.html#torch.autograd.Function)"
        )

    @staticmethod
    def forward(*args: Any, **kwargs: Any) -> Any:
        raise NotImplementedError(
            "You must implement the forward function for custom autograd.Function."
        )

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        raise NotImplementedError(
            "You must implement either the backward or vjp method for your custom "
            "autograd.Function to use it with backward mode AD."
        )

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        """Overridden by functions whose forward takes no ctx."""

    @classmethod
    def _context(cls) -> Any:
        made = cls.__dict__.get("_context_class")
        if made is None:
            made = type(cls.__name__ + "Backward", (BackwardCFunction,), {})
            cls._context_class = made  # type: ignore[attr-defined]
        return made()

    @classmethod
    def apply(cls, *args: Any, **kwargs: Any) -> Any:
        """Runs forward and records the function in the graph."""
        if LOCAL.levels and hasattr(cls, "vmap") and not cls.generate_vmap_rule:
            return LOCAL.levels[-1].apply(cls, args)
        ctx = cls._context()
        recording = LOCAL.grad
        tensors = [(i, a) for i, a in enumerate(args) if isinstance(a, Tensor)]
        nodes = [node_of(t) for _, t in tensors]
        ctx.needs_input_grad = tuple(isinstance(a, Tensor) and a.requires_grad for a in args)
        separate = cls.setup_context is not Function.setup_context
        with no_grad():
            if separate:
                outputs = cls.forward(*args, **kwargs)
                cls.setup_context(ctx, args, outputs)
            else:
                outputs = cls.forward(ctx, *args, **kwargs)
        single = not isinstance(outputs, tuple)
        results = (outputs,) if single else outputs
        _check_dirty(ctx, results)
        if not (recording and any(n.grad for n in nodes)):
            for t in ctx._dirty:
                touch(t)
            given = {id(t) for _, t in tensors} - {id(t) for t in ctx._dirty}
            if not any(id(r) in given for r in results):
                return outputs
            made = tuple(view_as(r, r) if id(r) in given else r for r in results)
            return made[0] if single else made
        kinds = [isinstance(r, Tensor) for r in results]
        returned = [r for r, is_tensor in zip(results, kinds) if is_tensor]
        _check_leaves(ctx)
        positions = [i for i, _ in tensors]
        node = _recorded(cls, ctx, nodes, returned, kinds, positions, len(args))
        pieces = _pieces(ctx, node, returned, [t for _, t in tensors], cls.__name__)
        ctx._made(returned, pieces)
        ready = iter(pieces)
        made = tuple(next(ready) if is_tensor else r for r, is_tensor in zip(results, kinds))
        return made[0] if single else made


def _check_dirty(ctx: Any, results: tuple) -> None:
    """What forward marked as written to must be among its results."""
    given = {id(r) for r in results}
    if any(id(t) not in given for t in ctx._dirty):
        raise RuntimeError(
            "Some elements marked as dirty during the forward method were not returned as output. "
            "The inputs that are modified inplace must all be outputs of the Function."
        )


def _check_leaves(ctx: Any) -> None:
    """A leaf that collects a gradient must not be marked as written to."""
    for t in ctx._dirty:
        if t.is_leaf and t.requires_grad:
            raise RuntimeError(LEAF_WRITE.replace("is being", "has been"))


def _recorded(
    cls: Any,
    ctx: Any,
    nodes: list[Node],
    returned: list[Tensor],
    kinds: list[bool],
    positions: list[int],
    count: int,
) -> Node:
    """The node of one application: operands are the inputs and the results.

    kinds: which of the results are tensors. positions: those of the tensors among the `count`
        arguments of `apply`.
    """
    types = [node_of(r).type for r in returned]
    node = emit(
        function,
        (*nodes, *(node_of(r) for r in returned)),
        (len(nodes),),
        tuple(types),  # type: ignore[arg-type]
    )
    node.grad = next(NUMBERS)
    node.tag = tag = Tag(type(ctx).__name__)
    ctx._tag, ctx._inputs = tag, nodes
    tag.call = _Call(cls, ctx, types, kinds, positions, count)
    return node


def _pieces(
    ctx: Any, node: Node, returned: list[Tensor], inputs: list[Tensor], name: str
) -> list[Tensor]:
    """What `apply` gives back for the tensors that forward returned."""
    dirty = {id(t) for t in ctx._dirty}
    skipped = {id(t) for t in ctx._non_differentiable}
    memory = {id(t._storage) for t in inputs}
    pieces: list[Tensor] = []
    for k, r in enumerate(returned):
        piece = get(node, k)
        if id(r) in skipped or not r.dtype.is_floating_point:
            piece.grad = 0
            pieces.append(r)
        elif id(r) in dirty:
            piece.tag = Tag(ctx._tag.name, tuple(ctx._inputs))
            write(r, piece)
            pieces.append(r)
        elif id(r._storage) in memory:
            shown = view_as(r, r) if any(r is t for t in inputs) else r
            own = name if len(returned) > 1 else OfFunction(name)
            pieces.append(_showing(shown, _named(alias(piece), ctx._tag, piece), k, own))
        else:
            pieces.append(like_operands(_named(copy(piece), ctx._tag, piece), r))
    return pieces


def _showing(shown: Tensor, node: Node, number: int, name: str) -> Tensor:
    """A result that shows the memory of an input, with the history that the function gives it.

    It must not be written to, nor read after its input was: that history cannot be derived anew.
    """
    storage = shown._storage
    shown._node = node
    shown._seen = storage.node if storage.export is None else None
    meta = shown._own_meta()
    if meta.base is not None:
        meta.untracked = False
        meta.multi = (number, name)
    return shown


def _named(node: Node, tag: Tag, piece: Node) -> Node:
    """The copy that gives a result its own memory goes by the function's own grad_fn."""
    own = Tag(tag.name, (piece,))
    own.grad_fn = tag.call.ctx  # type: ignore[union-attr]
    node.tag = own
    return node


def once_differentiable(method: Any) -> Any:
    """Declares that a backward cannot be differentiated again."""

    @functools.wraps(method)
    def wrapped(ctx: Any, *grads: Any) -> Any:
        with no_grad():
            results = method(ctx, *grads)
        if not LOCAL.grad or not any(isinstance(g, Tensor) and g.requires_grad for g in grads):
            return results
        single = not isinstance(results, tuple)
        marked = [
            _Twice.apply(r.detach().requires_grad_()) if isinstance(r, Tensor) else r
            for r in ((results,) if single else results)
        ]
        return marked[0] if single else tuple(marked)

    return wrapped


class _Twice(Function):
    """What a backward declared `once_differentiable` returns: its own backward is an error."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Tensor:
        raise RuntimeError(
            "trying to differentiate twice a function that was marked with @once_differentiable"
        )


_Twice.__name__ = "DelayedError"
