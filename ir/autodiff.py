"""Reverse-mode differentiation: a transformation of nodes into nodes.

`differentiate` walks the history of its roots backwards and applies each primitive's vjp, which
emits ordinary nodes; so the derivative of a derivative needs nothing more, and the backward of a
program is optimized and compiled together with its forward.

History is the graph itself: a node whose `grad` is positive leads, through its operands, to leaves.
What a vjp will read of the forward values (its saved set) is found by running the rule once on
placeholders; from it follow PyTorch's two errors: a saved value that a write replaced, and a saved
value that an earlier backward freed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from .cotangents import PARTS, Collected
from .node import LOCAL, Node, _new
from .ops_elementwise import add
from .ops_linalg import Outer
from .ops_reduce import sum_
from .ops_shape import Partial, alias, replaced, reshape
from .overwritten import current
from .tags import ANOMALY, OUTPUT, Tag

SECOND_BACKWARD = (
    "Trying to backward through the graph a second time (or directly access saved tensors after "
    "they have already been freed). Saved intermediate values of the graph are freed when you call "
    ".backward() or autograd.grad(). Specify retain_graph=True if you need to backward through the "
    "graph a second time or if you need to access saved tensors after calling backward."
)


# --- saved sets -----------------------------------------------------------------------------------


def rule_of(node: Node, i: int) -> Callable | None:
    vjp = node.op.vjp
    if vjp.__class__ is tuple:
        return vjp[i] if i < len(vjp) else None
    return lambda g, y, *src: vjp(i, g, y, *src)


def saved(node: Node, i: int) -> tuple[int, ...]:
    """Which operands (and OUTPUT) the cotangent of operand `i` is computed from."""
    op = node.op
    key: tuple
    if op.saves is not None:
        return op.saves
    if op.runtime:
        key = (i, node.arg)
    else:
        for s in node.src:
            if s.__class__ is not Node:
                key = (i, node.arg, *[2 if s.__class__ is Node else s == 0 for s in node.src])
                break
        else:
            key = (i, node.arg, None, len(node.src))
    found = op.saved.get(key)
    if found is None:
        found = op.saved[key] = _derive_saved(node, i)
    return found


def _derive_saved(node: Node, i: int) -> tuple[int, ...]:
    rule = rule_of(node, i)
    if rule is None:
        return ()
    stand_in = [_placeholder(s) if s.__class__ is Node else s for s in node.src]
    y = _placeholder(node)
    y.op, y.arg, y.src = node.op, node.arg, tuple(stand_in)
    result_type = node.type[0] if node.op.results > 1 else node.type  # type: ignore[index]
    g = _placeholder(node)
    g.type = result_type
    trace, limit = LOCAL.trace, LOCAL.limit
    LOCAL.trace, LOCAL.limit = [], 1 << 60
    try:
        used = _read_by(rule(g, y, *stand_in), y)
    finally:
        LOCAL.trace, LOCAL.limit = trace, limit
    indices = [k for k, s in enumerate(stand_in) if id(s) in used and s.__class__ is Node]
    return tuple(indices + [OUTPUT] if id(y) in used else indices)


def _read_by(result: Any, y: Node) -> set[int]:
    """The identities of everything a cotangent is computed from, the output `y` as a whole."""
    used: set[int] = set()
    if result.__class__ is Outer:
        stack = [result.left, result.g]
    else:
        stack = [result.g if result.__class__ is Partial else result] if result is not None else []
    while stack:
        n = stack.pop()
        if id(n) not in used:
            used.add(id(n))
            if n is not y and n.op is not None:
                stack.extend(s for s in n.src if s.__class__ is Node)
    return used


def _placeholder(like: Node) -> Node:
    n = _new(Node)
    n.op, n.src, n.arg, n.type = None, (), (), like.type
    n.value = n.after = n.tag = None
    n.uses = n.grad = 0
    n.pos = -1
    n.code, n.line = like.code, like.line
    return n


def takes_gradient(operand: Any) -> bool:
    """Whether a backward computes a gradient for an operand."""
    if operand.__class__ is not Node or not operand.grad:
        return False
    return operand.tag is None or not operand.tag.ends


def kept(node: Node, i: int) -> tuple[int, ...]:
    """`saved`, for an operand that may lead nowhere: what PyTorch saves all the same.

    That is all but operands that no other gradient is computed from (its code generator's
    `guard_for`); a function of one differentiable operand saves everything.
    """
    found = saved(node, i)
    if not found or takes_gradient(node.src[i]):
        return found
    others = [
        j
        for j, s in enumerate(node.src)
        if j != i and (s.__class__ is Node or node.op.saves_numbers) and rule_of(node, j)
    ]
    read = {k for j in others for k in saved(node, j)}
    return tuple(k for k in found if k == OUTPUT or k in read or not others)


def needed_values(node: Node) -> list[Node]:
    """The nodes whose values the backward of `node` will read."""
    out = []
    for i, s in enumerate(node.src):
        if takes_gradient(s):
            for k in saved(node, i):
                out.append(node if k == OUTPUT else node.src[k])
    return out


# --- the walk -------------------------------------------------------------------------------------


def history(roots: Iterable[Node], again: dict[Node, Node] | None = None) -> list[Node]:
    """Every node that gradients flow through, operands before users; without recursion.

    Walked backwards it is PyTorch's order: of all that could be next the node made last, and a leaf
    right after the last node that uses it.

    again: gets, for every further node of a leaf that was read in several states, the first one.
    """
    seen: set[Node] = set()
    inner: list[Node] = []
    stack = list(roots)
    ends = [n for n in stack if n.tag is not None and n.tag.leaf is not None]
    while stack:
        n = stack.pop()
        tag = n.tag
        if n in seen or (tag is not None and tag.leaf is not None):
            continue
        seen.add(n)
        inner.append(n)
        for s in n.src:
            if s.__class__ is Node and s.grad and s not in seen:
                stack.append(s)
    inner.sort(key=_age)
    order: list[Node] = []
    first: dict[int, Node] = {}

    def end(leaf: Node) -> None:
        seen.add(leaf)
        order.append(leaf)
        if again is not None and (begun := first.setdefault(_identity(leaf), leaf)) is not leaf:
            again[leaf] = begun

    for n in inner:
        for s in n.src[::-1]:
            if s.__class__ is Node and s.grad and s not in seen:
                end(s)
        order.append(n)
    for n in ends:
        if n not in seen:
            end(n)
    return order


def _age(n: Node) -> int:
    return abs(n.grad)


class Walk:
    """A backward that is running, and the nodes that it may reach."""

    __slots__ = ("nodes", "__weakref__")

    def __init__(self, nodes: list[Node]):
        self.nodes = nodes


def sum_to(c: Node, shape: tuple[int, ...]) -> Node:
    """`c` summed over the axes that broadcasting from `shape` added or stretched."""
    have = c.type.shape
    if have == shape:
        return c
    lead = len(have) - len(shape)
    axes = tuple(i for i in range(len(have)) if i < lead or (shape[i - lead] == 1 and have[i] != 1))
    if axes:
        c = sum_(c, arg=(axes, False))
    return reshape(c, shape)


def differentiate(
    roots: list[Node],
    seeds: list[Node],
    *,
    retain: bool,
    create: bool,
    inputs: list[Node] | None = None,
    at_leaf: Callable[[Node, Node], None] | None = None,
) -> list[Node | None]:
    """The cotangents of `inputs`; only what leads to them is differentiated.

    at_leaf: without `inputs`, called with each leaf under `roots` and its cotangent once that is
    whole. Errors: RuntimeError for freed or overwritten saved values.
    """
    again: dict[Node, Node] = {}
    order = history(roots, again)
    asked = [_identity(source_of(n)) for n in inputs or ()]
    targets = set(asked)
    wanted = None
    if inputs is not None:
        ends = {_identity(n) for n in inputs if n.tag is not None and n.tag.leaf is not None}
        wanted = _leading_to(order, targets, ends)
    cotangents: dict[Node, Any] = {}
    for root, seed in zip(roots, seeds):
        _accumulate(cotangents, root, seed)
    needed = None if wanted is None else wanted | {n for n in order if _identity(n) in targets}
    found: dict[int, Node] = {}
    visited: list[Node] = []
    local = LOCAL
    before, outer = (local.grad, local.origin), (local.partial, local.reached)
    local.grad, local.partial, local.reached = create, inputs is not None, Walk(order)
    try:
        for n in reversed(order):
            g = cotangents.pop(n, None)
            if g is None:
                continue
            if g.__class__ is Collected:
                local.origin = (n.code, n.line)
                g = g.total(n.type)
            if again and n in again:
                _accumulate(cotangents, again[n], g)
                continue
            tag = n.tag
            if tag is not None:
                if tag.hooks:
                    g = _run_hooks(tag, g, before)
                if tag.retain is not None:
                    tag.retain(g)
            if targets and (identity := _identity(n)) in targets:
                have = found.get(identity)
                found[identity] = g if have is None else add(have, g)
            if tag is not None and tag.leaf is not None:
                if wanted is None and at_leaf is not None:
                    local.origin = before[1]
                    at_leaf(n, g)
                continue
            if wanted is not None and n not in wanted:
                continue
            local.origin = (n.code, n.line)
            if tag is None or not tag.after:
                _backward_of(n, g, cotangents, needed)
            else:
                _with_hooks_after(n, g, cotangents, needed)
            visited.append(n)
    except Exception:
        if ANOMALY[0] is not None:
            ANOMALY[0].blame(n)
        raise
    finally:
        local.grad, local.origin = before
        local.partial, local.reached = outer
        if not retain:
            own = [n for n in order if n.tag is not None or n.grad.__class__ is Freed]
            under: frozenset[int] = frozenset().union(*map(_leaves_under, own))
            for n in visited:
                free(n, under)
    return [found.get(identity) for identity in asked]


def source_of(node: Node) -> Node:
    """The node that a gradient of `node` goes to: as it was before writes that are not recorded."""
    while node.op is replaced and node.src:
        node = node.src[0]
    return node


def _identity(n: Node) -> int:
    """What stands for a node among the inputs: a leaf is its tensor, whichever node reads it."""
    tensor = n.tag.leaf() if n.tag is not None and n.tag.leaf is not None else None
    return id(n) if tensor is None else id(tensor)


def _leaves_under(n: Node) -> frozenset[int]:
    """The leaves (their identities) that a node leads to, or led to before it was freed."""
    if n.grad.__class__ is Freed:
        return n.grad.leaves
    if n.tag is not None and n.tag.leaf is not None:
        return frozenset((_identity(n),))
    return frozenset()


def _leading_to(order: list[Node], targets: set[int], leaves: set[int]) -> set[Node]:
    """The nodes through which a cotangent can reach a target; `leaves`: those that are leaves."""
    leading: set[Node] = set()
    beneath = _beneath(order, targets)
    inner = not targets <= leaves
    for n in order:
        if n.grad < 0:
            # What it led to is forgotten but for the leaves: reaching it is the error.
            if n not in beneath and (inner or not targets.isdisjoint(_leaves_under(n))):
                leading.add(n)
            continue
        for s in n.src:
            if s.__class__ is Node and (s in leading or _identity(s) in targets):
                leading.add(n)
                break
    return leading


def _beneath(order: list[Node], targets: set[int]) -> set[Node]:
    """The freed nodes that every target was computed from, which therefore lead to none."""
    freed = {n for n in order if n.grad < 0}
    if freed:
        reached = {_identity(n): n for n in order if _identity(n) in targets}
        for target in targets:
            if not freed:
                break
            freed &= set(history([reached[target]])) if target in reached else set()
    return freed


def _run_hooks(tag: Tag, g: Node, before: tuple) -> Node:
    local = LOCAL
    inner = local.origin
    local.origin = before[1]
    try:
        for hook in list(tag.hooks.values()):  # type: ignore[union-attr]
            replacement = hook(g)
            if replacement is not None:
                g = replacement
    finally:
        local.origin = inner
    return g


def _with_hooks_after(n: Node, g: Any, cotangents: dict, needed: set | None) -> None:
    """`_backward_of`, with hooks that see what the node gives its operands, and may replace it."""
    given: list[tuple[Node, Any]] = []
    _backward_of(n, g, cotangents, needed, given)
    operands = [s for s, _ in given]
    found = [_whole(s, c) for s, c in given]
    for hook in list(n.tag.after.values()):
        found = hook(found, g) or found
    for s, c in zip(operands, found):
        if c is not None:
            _accumulate(cotangents, s, c)


def _whole(node: Node, c: Any) -> Node:
    """A cotangent that is no part."""
    if c.__class__ not in PARTS:
        return c
    collected = Collected(None)
    collected.take(c)
    return collected.total(node.type)


def _backward_of(
    n: Node, g: Any, cotangents: dict, needed: set | None, given: list | None = None
) -> None:
    """Applies the vjp of one node and adds its results to the cotangents of needed operands.

    given: where it says so, operands and their cotangents go there instead.
    """
    if n.grad < 0:
        raise RuntimeError(SECOND_BACKWARD)
    op = n.op
    src = n.src
    if n.tag is not None and n.tag.call is not None:
        for i, (s, c) in enumerate(zip(src, n.tag.call(g))):
            if c is not None and s.grad:
                if ANOMALY[0] is not None:
                    ANOMALY[0].check(n, i, c)
                if given is None:
                    _accumulate(cotangents, s, c)
                else:
                    given.append((s, c))
        return
    _check_saved(n)
    vjp = op.vjp
    table = vjp.__class__ is tuple
    for i, s in enumerate(src):
        if s.__class__ is not Node or not s.grad:
            continue
        if s.tag is not None and s.tag.ends:
            for k in kept(n, i):
                current(n if k == OUTPUT else src[k], n if k <= 0 else None)
            continue
        if needed is not None and s not in needed:
            continue
        rule = (vjp[i] if i < len(vjp) else None) if table else vjp
        if rule is None:
            continue
        operands, y = src, n
        for k in saved(n, i):
            value = n if k == OUTPUT else src[k]
            if value.after is not None or value.op.view or value.tag is not None:
                now = current(value, n if k <= 0 else None)
                if now is not value:
                    if k == OUTPUT:
                        y = _with_value(n, now)
                    else:
                        operands = operands[:k] + (now,) + operands[k + 1 :]
        c = rule(g, y, *operands) if table else rule(i, g, y, *operands)
        if c is None:
            continue
        if ANOMALY[0] is not None:
            ANOMALY[0].check(n, i, _whole(s, c))
        if op.name == "get" and s.tag is not None and s.tag.call is not None:
            _accumulate_result(cotangents, s, n.arg[0], c)
        elif given is None:
            _accumulate(cotangents, s, c)
        else:
            given.append((s, c))


def _check_saved(n: Node) -> None:
    """Raises where something that PyTorch would have saved for `n` was overwritten."""
    for k in n.op.also_saves(n):
        value = n if k == OUTPUT else n.src[k]
        if value.__class__ is Node:
            current(value, n)
    if n.tag is not None:
        for value in n.tag.keeps:
            current(n if value == OUTPUT else value, n)


def _with_value(n: Node, now: Node) -> Node:
    """A stand-in for the output `n` whose value is `now`'s and whose arguments are its own."""
    y = alias(now)
    y.arg = n.arg
    return y


def _accumulate(cotangents: dict, node: Node, c: Any) -> None:
    have = cotangents.get(node)
    part = c.__class__ in PARTS
    if not part and node.type.__class__ is not tuple and c.type.shape != node.type.shape:
        c = sum_to(c, node.type.shape)
    if part and have.__class__ is not Collected:
        have = cotangents[node] = Collected(have)
    if have.__class__ is Collected:
        have.take(c)
    else:
        cotangents[node] = c if have is None else add(have, c)


def _accumulate_result(cotangents: dict, node: Node, index: int, c: Node) -> None:
    """Several results, each with a cotangent of its own (autograd.Function)."""
    have = cotangents.get(node)
    if have is None:
        have = cotangents[node] = [None] * len(node.type)  # type: ignore[arg-type]
    have[index] = c if have[index] is None else add(have[index], c)


class Freed(int):
    """What `grad` is of a node that is freed: its number, negative, and the leaves it led to."""

    leaves: frozenset[int]

    def __new__(cls, number: int, leaves: frozenset[int]) -> Freed:
        made = super().__new__(cls, -number)
        made.leaves = leaves
        return made


def free(n: Node, leaves: frozenset[int]) -> None:
    """Forgets what the backward of `n` saved; a second backward through it is an error.

    leaves: those under the backward (their identities).
    """
    if n.grad <= 0:
        return
    tag, once = n.tag, False
    if tag is not None:
        once = tag.saves == "once" or bool(tag.keeps)
        tag.inputs = tag.keeps = ()
        if tag.call is not None:
            tag.freed = True
            tag.call.release()
            return
        if not tag.saves:
            return
    if once or n.op.also_saves(n) or _saves(n):
        n.grad = Freed(n.grad, leaves)


def _saves(n: Node) -> bool:
    """Whether PyTorch's backward of a node has saved anything."""
    if n.op.runs_again:
        return False
    numbers = n.op.saves_numbers
    if numbers and numbers != "always":
        numbers = any(map(takes_gradient, n.src))
    for i, s in enumerate(n.src):
        if s.__class__ is not Node:
            if numbers:
                return True
        elif s.grad and kept(n, i):
            return True
    return False
