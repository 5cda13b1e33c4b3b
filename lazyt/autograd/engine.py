"""backward() and grad(): from tensors to `ir.autodiff.differentiate` and back into `.grad`."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any, NamedTuple

from lazyt.dispatch import fit_shape, renamed, scalar_name, wrap
from lazyt.handles import Leaf
from lazyt.ir.autodiff import differentiate, source_of
from lazyt.ir.node import LOCAL, Node
from lazyt.ir.ops_elementwise import add, cast, div, full_like, mul, sub, zeros_like
from lazyt.ir.ops_shape import copy, stop
from lazyt.ir.public_type import PublicType
from lazyt.ir.tags import Tag
from lazyt.layout import like_operands
from lazyt.state import node_of, shape_of, write
from lazyt.tensor import Tensor, attach
from lazyt.utils.hooks import RemovableHandle
from lazyt.warned import warn

NO_HISTORY = "element {} of tensors does not require grad and does not have a grad_fn"
NOT_SCALAR = "grad can be implicitly created only for scalar outputs"


# --- roots and seeds ------------------------------------------------------------------------------


class GradientEdge(NamedTuple):
    """Where a gradient arrives: a node of the graph, and which of its results."""

    node: Any
    output_nr: int


def _tuple(value: Any) -> tuple:
    if value is None:
        return ()
    return (value,) if isinstance(value, (Tensor, GradientEdge)) else tuple(value)


def _seeds(tensors: tuple, gradients: tuple, create: bool) -> tuple[list[Node], list[Node]]:
    """The roots and what they are multiplied with, checked as PyTorch checks them."""
    if not gradients:
        gradients = (None,) * len(tensors)
    if len(gradients) != len(tensors):
        raise RuntimeError(f"got {len(tensors)} tensors and {len(gradients)} gradients")
    roots, seeds = [], []
    for i, (t, g) in enumerate(zip(tensors, gradients)):
        node = node_of(t)
        dead = node.tag is not None and node.tag.leaf is not None and node.tag.leaf() is None
        leads = node.grad and not dead
        if g is None:
            if not leads:
                raise RuntimeError(NO_HISTORY.format(i))
            if node.type.numel != 1:
                raise RuntimeError(NOT_SCALAR)
            seed = full_like(node, 1)
        else:
            seed = node_of(g)
            if seed.type.device != node.type.device:
                raise RuntimeError(
                    f"invalid gradient at index {i} - expected device {t.device} but got {g.device}"
                )
            if seed.type.shape != node.type.shape:
                raise RuntimeError(
                    f"Mismatch in shape: grad_output[{i}] has a shape of {g.shape} and output[{i}] "
                    f"has a shape of {t.shape}."
                )
            if not leads:
                raise RuntimeError(NO_HISTORY.format(i))
            if not create and seed.grad:
                seed = stop(seed)
            seed = cast(seed, node.type.dtype)
        roots.append(node)
        seeds.append(seed)
    return roots, seeds


def backward(
    tensors: Any,
    grad_tensors: Any = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    grad_variables: Any = None,
    inputs: Any = None,
) -> None:
    """Accumulates the gradients of `tensors` into `.grad` of the leaves (or of `inputs`).

    grad_tensors: a gradient for every tensor that is not a scalar. Errors: RuntimeError for a root
    without history, a non-scalar root without gradient, a second backward, an overwritten saved
    value.
    """
    if inputs is not None and len(_tuple(inputs)) == 0:
        raise RuntimeError("`inputs` argument to `backward()` cannot be empty.")
    if grad_variables is not None:
        warn("`grad_variables` is deprecated. Use `grad_tensors` instead.", FutureWarning)
        if grad_tensors is not None:
            raise RuntimeError(
                "`grad_tensors` and `grad_variables` (deprecated) arguments both passed to "
                "`backward()`. Please only use `grad_tensors`."
            )
        grad_tensors = grad_variables
    retain = create_graph if retain_graph is None else retain_graph
    roots, seeds = _seeds(_tuple(tensors), _tuple(grad_tensors), create_graph)
    if inputs is not None:
        targets = _tuple(inputs)
        if not all(t.requires_grad for t in targets):
            raise RuntimeError(NO_RETAINED)
        nodes = [node_of(t) for t in targets]
        found = differentiate(roots, seeds, retain=retain, create=create_graph, inputs=nodes)
        given: set[int] = set()
        for t, g in zip(targets, found):
            if g is not None:
                _accumulate(t, g, create_graph, given)
                _has_accumulated(t)
        return
    given = {id(s) for s in seeds}

    def collect(node: Node, g: Node) -> None:
        tag = node.tag
        if isinstance(tag, Leaf) and tag.in_interior():
            raise RuntimeError("leaf variable has been moved into the graph interior")
        tensor = tag.leaf()
        if tensor is None or tensor._meta is None:
            return
        if tensor._meta.leaf:  # which `requires_grad_(False)` ends, but not its hooks
            _accumulate(tensor, g, create_graph, given)
        _has_accumulated(tensor)

    differentiate(roots, seeds, retain=retain, create=create_graph, at_leaf=collect)


def _accumulate(t: Tensor, g: Node, create: bool, given: set[int]) -> None:
    """Adds `g` into t.grad: the first one becomes it, later ones are added in place."""
    meta = t._own_meta()
    local = LOCAL
    before = local.grad
    local.grad = create
    try:
        if meta.grad is None:
            # Memory of its own: never a view, the user's tensor or a gradient another leaf has too.
            if create and g.grad:
                g = renamed(copy(g), "CopyBackwards")
            elif g.op.view or g.value is not None or id(g) in given:
                g = copy(g)
            given.add(id(g))
            meta.grad = wrap(g) if meta.strides is None else like_operands(g, t)
        elif create:
            meta.grad = wrap(add(node_of(meta.grad), g))
        else:
            fit_shape(shape_of(meta.grad), g.type.shape)
            total = add(node_of(meta.grad), g)
            if meta.grad._meta is not None and node_of(meta.grad).grad:
                meta.grad = wrap(total)
            else:
                write(meta.grad, total)
    finally:
        local.grad = before


def _has_accumulated(t: Tensor) -> None:
    """Calls the hooks that wait for the gradient of a leaf."""
    hooks = t._own_meta().after_accumulate
    if hooks:
        for hook in list(hooks.values()):
            if hook(t) is not None:
                raise RuntimeError("Tensor post accumulate grad hooks should return None.")


def grad(
    outputs: Any,
    inputs: Any,
    grad_outputs: Any = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    only_inputs: bool = True,
    allow_unused: bool | None = None,
    is_grads_batched: bool = False,
    materialize_grads: bool = False,
) -> tuple[Tensor | None, ...]:
    """The gradients of `outputs` with respect to `inputs`, as a tuple; `.grad` stays as it is.

    Errors: RuntimeError for an input that is not part of the graph unless `allow_unused`.
    """
    if materialize_grads and allow_unused is False:
        raise ValueError(
            "Expected allow_unused to be True or not passed when materialize_grads=True, but got: "
            "allow_unused=False."
        )
    allow = bool(materialize_grads) if allow_unused is None else allow_unused
    retain = create_graph if retain_graph is None else retain_graph
    targets = _tuple(inputs)
    if not targets:
        raise RuntimeError("`inputs` argument to `grad()` cannot be empty.")
    if is_grads_batched:
        from .batched import batched_grad

        options = {"allow_unused": allow, "materialize_grads": materialize_grads}
        options |= {"retain_graph": retain, "create_graph": create_graph}
        return batched_grad(_tuple(outputs), targets, _tuple(grad_outputs), **options)
    roots, seeds = _seeds(_tuple(outputs), _tuple(grad_outputs), create_graph)
    nodes = []
    for t in targets:
        if isinstance(t, GradientEdge):
            nodes.append(t.node._node)
            continue
        if not t.requires_grad:
            raise RuntimeError("One of the differentiated Tensors does not require grad")
        nodes.append(node_of(t))
    found = differentiate(roots, seeds, retain=retain, create=create_graph, inputs=nodes)
    results: list[Tensor | None] = []
    for i, (node, g) in enumerate(zip(nodes, found)):
        if g is None:
            if not allow:
                raise RuntimeError(
                    f"The differentiated Tensor at index {i} appears to not have been used in the "
                    "graph. Set allow_unused=True if this is the desired behavior."
                )
            results.append(wrap(zeros_like(node)) if materialize_grads else None)
            continue
        if g.op.view or g.value is not None:
            local = LOCAL
            before, local.grad = local.grad, create_graph
            g = copy(g)
            local.grad = before
        results.append(wrap(g))
    return tuple(results)


# --- attributes and hooks of tensors --------------------------------------------------------------


def tensor_backward(
    self: Tensor,
    gradient: Tensor | None = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    inputs: Any = None,
) -> None:
    """Computes the gradients of this tensor and accumulates them into the leaves' `.grad`."""
    backward(self, gradient, retain_graph, create_graph, inputs=inputs)


NO_RETAINED = "can't retain_grad on Tensor that has requires_grad=False"
NO_HOOK = "cannot register a hook on a tensor that doesn't require gradient"


def register_hook(self: Tensor, hook: Any) -> RemovableHandle:
    """`hook(grad)` is called with this tensor's gradient; a tensor it returns takes the place."""
    if not self.requires_grad:
        raise RuntimeError(NO_HOOK)

    def run(g: Node) -> Node | None:
        with_grad = wrap(g)
        result = hook(with_grad)
        if result is None:
            return None
        if not isinstance(result, Tensor):
            raise TypeError(f"expected Variable, but hook returned '{type(result).__name__}'")
        node = node_of(result)
        changed = None
        if node.type.dtype is not g.type.dtype:
            changed = f"type of value (was {with_grad.type()} got {result.type()})"
        elif node.type.shape != g.type.shape:
            changed = "size of value"
        if changed is not None:
            name = getattr(hook, "__name__", type(hook).__name__)
            raise RuntimeError(f"hook '{name}' has changed the {changed}")
        return node

    run.hook = hook  # type: ignore[attr-defined]  # what a warning about it shows
    meta = self._meta
    if meta is not None and meta.leaf:
        node_of(self)  # makes the table, if there is none yet
        if meta.hooks is None:
            meta.hooks = OrderedDict()
        hooks = meta.hooks
    else:
        tag = _tag(source_of(node_of(self)))
        if tag.hooks is None:
            tag.hooks = OrderedDict()
        hooks = tag.hooks
    handle = RemovableHandle(hooks)
    hooks[handle.id] = run
    return handle


def register_post_accumulate_grad_hook(self: Tensor, hook: Any) -> RemovableHandle:
    """`hook(tensor)` is called after this leaf's `.grad` was accumulated."""
    if not self.requires_grad:
        raise RuntimeError(NO_HOOK)
    if not self.is_leaf:
        raise RuntimeError("post accumulate grad hooks cannot be registered on non-leaf tensors")
    meta = self._own_meta()
    if meta.after_accumulate is None:
        meta.after_accumulate = OrderedDict()
    handle = RemovableHandle(meta.after_accumulate)
    meta.after_accumulate[handle.id] = hook
    return handle


def retain_grad(self: Tensor) -> None:
    """Lets this non-leaf tensor keep its gradient in `.grad`."""
    if not self.requires_grad:
        raise RuntimeError(NO_RETAINED)
    if self.is_leaf:
        return
    meta = self._own_meta()
    if meta.retains:
        return
    meta.retains = True
    import weakref

    ref = weakref.ref(self)

    def keep(g: Node) -> None:
        tensor = ref()
        if tensor is None:
            return
        own = tensor._own_meta()
        if own.grad is None:
            own.grad = wrap(copy(g))
        else:
            own.grad = wrap(add(node_of(own.grad), g))

    _tag(source_of(node_of(self))).retain = keep


def _tag(node: Node) -> Tag:
    if node.tag is None:
        node.tag = Tag()
    return node.tag


def check_assigned_grad(t: Tensor, value: Any) -> None:
    """PyTorch's checks on `t.grad = value`."""
    if not isinstance(value, Tensor):
        raise TypeError(
            f"assigned grad expected to be a Tensor or None but got grad of type "
            f"{type(value).__name__}"
        )
    if value is t:
        raise RuntimeError("can't assign Variable as its own grad")
    if value.dtype is not t.dtype:
        from lazyt.dispatch import c_name

        raise RuntimeError(
            f"attempting to assign a gradient with dtype '{c_name(value.dtype)}' to a "
            f"tensor with grad_dtype '{scalar_name(t.dtype)}'. The gradient must match the "
            "tensor's grad_dtype (defaults to the tensor's dtype). You can set the tensor's "
            "grad_dtype attribute with a specific dtype, or None to allow any dtype. Set "
            "grad_dtype with caution. Diverging the dtypes of a tensor and its gradient may break "
            "downstream systems that assume they match."
        )
    if value.device.type != t.device.type:
        raise RuntimeError(
            f"attempting to assign a gradient with device type '{value.device.type}' to a tensor "
            f"with device type '{t.device.type}'. Please ensure that the gradient and the tensor "
            "are on the same device"
        )
    if value.shape != t.shape:
        raise RuntimeError(
            f"attempting to assign a gradient of size '{list(value.shape)}' to a tensor of size "
            f"'{list(t.shape)}'. Please ensure that the gradient and the tensor are the same size"
        )


def warn_non_leaf_grad() -> None:
    warn(
        "The .grad attribute of a Tensor that is not a leaf Tensor is being accessed. Its .grad "
        "attribute won't be populated during autograd.backward(). If you indeed want the .grad "
        "field to be populated for a non-leaf Tensor, use .retain_grad() on the non-leaf Tensor. "
        "If you access the non-leaf Tensor by mistake, make sure you access the leaf Tensor "
        "instead. See github.com/pytorch/pytorch/pull/30531 for more information.",
        UserWarning,
    )


# --- grad_fn --------------------------------------------------------------------------------------

_CLASSES: dict[str, type] = {}
_NUMBERS_AS_TENSORS = (add, sub, mul, div)
_OF_AUTOGRAD = frozenset(("AccumulateGrad", "CopyBackwards", "CopySlices"))  # not of an operation


class GradFn:
    """How a tensor was made, as autograd sees it: a name, and what it was made from."""

    def __init__(self, node: Node):
        self._node = node

    def name(self) -> str:
        kind = type(self).__name__
        return f"torch::autograd::{kind}" if kind in _OF_AUTOGRAD else kind

    @property
    def next_functions(self) -> tuple:
        """A pair (grad_fn, 0) an operand; (None, 0) for operands without gradient."""
        node = self._node
        tag = node.tag
        if tag is not None and tag.name is not None and tag.inputs:
            sources: tuple = tag.inputs
        else:
            named = tag is not None and tag.name is not None and tag.name.startswith("Rsub")
            numbers = node.op in _NUMBERS_AS_TENSORS and not named
            # A number stands for a tensor where PyTorch makes one of it; indices and masks have no
            # edge.
            sources = tuple(
                s
                for s in node.src
                if (s.__class__ is Node and s.type.dtype.is_floating_point)
                or (s.__class__ is not Node and numbers)
            )
        return tuple(
            (grad_fn_of(s) if s.__class__ is Node and s.grad else None, 0) for s in sources
        )

    @property
    def variable(self) -> Any:
        """The leaf that collects the gradient (AccumulateGrad only)."""
        tag = self._node.tag
        if tag is None or tag.leaf is None:
            raise AttributeError(f"'{self.name()}' object has no attribute 'variable'")
        return tag.leaf()

    @property
    def metadata(self) -> dict:
        return self.__dict__.setdefault("_metadata", {})

    def register_hook(self, hook: Any) -> RemovableHandle:
        """`hook(grad_inputs, grad_outputs)` is called with tuples when the node's backward has run;
        a tuple it returns takes the place of `grad_inputs`."""
        tag = _tag(self._node)
        if tag.leaf is not None:
            return tag.leaf().register_post_accumulate_grad_hook(lambda t: hook((), (t.grad,)))

        def run(found: list[Node], g: Node) -> list[Node | None] | None:
            given = hook(tuple(map(wrap, found)), (wrap(g),))
            return None if given is None else [n if n is None else node_of(n) for n in given]

        return _registered(tag, "after", run)

    def register_prehook(self, hook: Any) -> RemovableHandle:
        """`hook(grad_outputs)` is called with a tuple before the node's backward runs; a tuple it
        returns takes its place."""

        def run(g: Node) -> Node | None:
            given = hook((wrap(g),))
            return None if given is None else node_of(given[0])

        return _registered(_tag(self._node), "hooks", run)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} object at {hex(id(self))}>"


def _registered(tag: Tag, kind: str, hook: Any) -> RemovableHandle:
    """Adds a hook to those of a tag."""
    if getattr(tag, kind) is None:
        setattr(tag, kind, OrderedDict())
    hooks = getattr(tag, kind)
    handle = RemovableHandle(hooks)
    hooks[handle.id] = hook
    return handle


def grad_fn_name(node: Node) -> str:
    tag = node.tag
    if tag is not None and tag.name is not None:
        return tag.name
    op = node.op
    if op.name == "get":
        return grad_fn_name(node.src[0]) if node.src else op.grad_name
    return op.grad_name


def grad_fn_of(node: Node) -> Any:
    """The one GradFn object of a node."""
    while node.op.name in ("get", "replaced") and node.src:
        node = node.src[0]
    tag = _tag(node)
    if tag.grad_fn is None:
        if tag.call is not None and tag.call.ctx is not None:
            tag.grad_fn = tag.call.ctx
            return tag.grad_fn
        name = grad_fn_name(node)
        cls = _CLASSES.get(name)
        if cls is None:
            cls = _CLASSES[name] = PublicType(name, (GradFn,), {"_public_name": name})
        tag.grad_fn = cls(node)
    return tag.grad_fn


for _function in (register_hook, register_post_accumulate_grad_hook, retain_grad):
    setattr(Tensor, _function.__name__, _function)
attach(backward=tensor_backward)
