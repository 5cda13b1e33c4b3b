"""Draining the trace: everything still wanted is computed, in one plan, and nothing stays pending.

Three scans of the trace and a call:

1. liveness, backwards: a node that only the trace holds is dead. CPython's reference counts say
   which; a node held from outside is kept, and so is what unfreed history will read in its
   backward;
2. the key, forwards: operations, structural arguments, operand positions, types of the inputs;
3. the plan is looked up, its inputs and numbers are bound, it runs, and the values are put into
   their nodes.

A program seen for the first time is evaluated operation by operation; from the second time on it is
compiled. Plans are found by the exact key, never by a hash alone.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable
from sys import getrefcount
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from lazyt.ir.autodiff import needed_values
from lazyt.ir.node import FLUSH, FLUSH_NODES, LIVE, LOCAL, TRACERS, Node, location
from lazyt.ir.opdef import PLACING
from lazyt.ir.ops_shape import replaced

from .cache import CACHE, Program
from .placed import apply, device_of, on_host, owned
from .precision import PRECISION
from .stats import COUNTERS

if TYPE_CHECKING:
    from .plan import Plan

LOCK = threading.RLock()
VIEWS = 8
# Whether a program is compiled when it is seen first: tests of a tier want every program in it.
PLAN_FIRST = [os.environ.get("LAZYT_PLANS") == "first"]
RECORD = [bool(os.environ.get("LAZYT_DUMP"))]
# Called with every program before it runs: key, wanted nodes, kept positions, inputs by id,
# numbers.
OBSERVERS: list[Callable[[tuple, list[Node], tuple[int, ...], dict[int, int], tuple], None]] = []


def _counts_are_exact() -> bool:
    """Whether a reference count says how many hold an object, as liveness needs it to."""
    if getattr(sys, "_is_gil_enabled", lambda: True)() is False:
        return False

    def probe() -> tuple[int, int]:
        held = [object()]
        n = held.pop()
        alone = getrefcount(n)
        other = n
        return alone, getrefcount(other)

    return probe() == (2, 3)


EXACT_COUNTS = _counts_are_exact()


def drain() -> None:
    """Computes everything this thread traced and still wants."""
    trace = LOCAL.trace
    if trace:
        with LOCK:
            _drain(trace)


def flush_before(node: Node) -> None:
    """Called by the gate when the trace is long: cuts where its first line comes round again."""
    local = LOCAL
    trace = local.trace
    if local.urgent:
        # An operand is memory that somebody outside may change: it is read now.
        if not node.op.view:
            local.urgent = False
            local.limit = FLUSH_NODES
            drain()
        return
    first = trace[0]
    if first is node:
        return
    same = first.code is node.code and first.line == node.line and first.op is node.op
    if same or len(trace) > 2 * local.limit:
        trace.pop()
        try:
            with LOCK:
                _drain(trace)
        finally:
            trace.append(node)


FLUSH[0] = flush_before


def realised(node: Node) -> Any:
    """The value of a node where it is: an array of the host or of a device; computes it if need
    be."""
    value = node.value
    if value is None:
        drain()
        value = node.value
        if value is None:
            with LOCK:
                revive(node)
            value = node.value
    return value


def value_of(node: Node) -> np.ndarray:
    """The value of a node as the host reads it: a copy of what is on a device."""
    value = realised(node)
    return value if value.__class__ is np.ndarray else on_host(value)


def revive(node: Node) -> None:
    """Computes a node that is not in this thread's trace: another thread's, or one that failed."""
    _finish_threads()
    if node.value is not None:
        return
    order: list[Node] = []
    seen: set[Node] = set()
    stack: list[Any] = [node]
    while stack:
        n = stack.pop()
        if n.__class__ is tuple:
            order.append(n[0])
        elif n.value is None and n not in seen:
            seen.add(n)
            stack.append((n,))
            read = n.src[1:] if n.op is replaced else n.src
            stack.extend(s for s in read if s.__class__ is Node)
    with np.errstate(all="ignore"):
        for n in order:
            try:
                n.value = _apply(n)
            except Exception as error:
                raise _located(error, n) from None
            COUNTERS.count_call(n.op)


def _finish_threads() -> None:
    """Drains what threads that have ended left pending, and forgets their traces."""
    for entry in list(TRACERS):
        thread, trace = entry
        if trace is not LOCAL.trace and not thread.is_alive():
            TRACERS.remove(entry)
            if trace:
                _drain(trace)


def _apply(n: Node) -> Any:
    return apply(n.op, n.type, n.arg, [s.value if s.__class__ is Node else s for s in n.src])


def _drain(trace: list[Node]) -> None:
    """Computes a trace; an operand that another thread has pending is computed first."""
    first: Exception | None = None
    while (foreign := _sweep(trace)) is not None:
        try:
            revive(foreign)
        except Exception as error:
            first = first or error
            _drop_users(trace, foreign)
        del foreign
    if first is not None:
        raise first


def _drop_users(trace: list[Node], failed: Node) -> None:
    """Takes out of a trace what is computed from a node that fails; reading that raises again."""
    out = {failed}
    for n in trace:
        if any(s in out for s in n.src if s.__class__ is Node):
            out.add(n)
    trace[:] = [n for n in trace if n not in out]


def _sweep(trace: list[Node]) -> Node | None:
    """One attempt at a trace: None when it is done, or the operand that has to be there first."""
    batch = trace[:]
    del trace[: len(batch)]
    total = len(batch)
    marks = _Marks()
    wanted, held = SCANS[0].live(batch, marks.history, marks.tagged)
    COUNTERS.dead += total - len(wanted)
    if not wanted:
        return None
    foreign = _run(wanted, held, marks.read)
    if foreign is not None:
        for m in wanted:
            m.uses = 0
            m.pos = -1
        trace[:0] = wanted
    return foreign


class _Marks:
    """What liveness learns of histories on the way. Identities, not nodes: a set of nodes would
    itself count as a holder.

    read: values that a later backward reads. live: nodes with unfreed history above them.
    """

    __slots__ = ("read", "live")

    def __init__(self) -> None:
        self.read: set[int] | None = None
        self.live: set[int] | None = None

    def history(self, n: Node, outside: Any) -> None:
        """Counts the uses of the operands of a node with unfreed history."""
        live = self.live
        if outside or (live is not None and id(n) in live):
            if live is None:
                live = self.live = set()
                self.read = set()
            self.read.update(map(id, needed_values(n)))  # type: ignore[union-attr]
            for s in n.src:
                if s.__class__ is Node:
                    s.uses += 1
                    if s.grad:
                        live.add(id(s))
        else:
            for s in n.src:
                if s.__class__ is Node:
                    s.uses += 1

    @staticmethod
    def tagged(n: Node, outside: Any) -> None:
        """Counts the uses of what the tag of a node holds."""
        if n.tag.inputs:
            for s in n.tag.inputs:
                s.uses += 1


def _live(batch: list[Node], history: Callable, tagged: Callable) -> tuple[list[Node], list[int]]:
    """Empties a trace from its end: what is wanted of it, newest first, and the positions there of
    what is held from outside."""
    wanted: list[Node] = []
    held: list[int] = []
    exact = EXACT_COUNTS
    count = getrefcount
    pop = batch.pop
    while batch:
        n = pop()
        refs = count(n) - 2
        if refs == 0 and exact:
            continue
        if n.value is not None:
            continue
        outside = refs > n.uses or not exact
        if outside:
            held.append(len(wanted))
        wanted.append(n)
        if n.grad == LIVE:
            history(n, outside)
        else:
            for s in n.src:
                if s.__class__ is Node:
                    s.uses += 1
        if n.tag is not None:
            tagged(n, None)
        s = None  # the loop variable must not count as a holder of the next node
    return wanted, held


def _run(wanted: list[Node], held: list[int], read: set | None) -> Node | None:
    """Finds or makes the plan of a wanted trace (newest node first) and runs it.

    Runs nothing where an operand is pending elsewhere: then it is returned, and `wanted` is left in
    the order of the trace.
    """
    last = len(wanted) - 1
    wanted.reverse()
    held.reverse()
    keep = [last - i for i in held]
    if read:
        also = {i for i, n in enumerate(wanted) if id(n) in read}
        if also:
            keep = sorted(also.union(keep))
    bound = SCANS[0].scan(wanted)
    if bound.__class__ is Node:
        return bound
    key, values, leaves = bound
    if PLACING:
        key = key, PRECISION[0]
    counters = COUNTERS
    counters.drains += 1
    counters.nodes += len(wanted)
    cache = CACHE
    cache.clock += 1
    kept = tuple(keep)
    program = cache.programs.get(key)
    ok = False
    try:
        for observe in OBSERVERS:
            observe(key, wanted, kept, _index(leaves), values)
        first = program is None
        if program is None:
            program = Program(values, kept, 8 * len(bound[0]) + 200)
            program.last = cache.clock
            cache.programs[key] = program
            cache.nbytes += program.size
        if first and not PLAN_FIRST[0] and not (PLACING and _on_devices(wanted)):
            counters.evaluated += 1
            _evaluate(wanted, kept)
            cache.trim()
        else:
            program.last = cache.clock
            plan = program.plan
            if plan is None or not _serves(plan, kept, values):
                plan = _compile(program, wanted, kept, _index(leaves), values)
            else:
                counters.hits += 1
            _execute(plan, wanted, leaves, values, read)
        ok = True
    finally:
        SCANS[0].settle(wanted, ok)
    return None


def _index(leaves: list) -> dict[int, int]:
    """The positions of input arrays by identity."""
    return {id(array): k for k, array in enumerate(leaves)}


def _scan(wanted: list[Node]) -> Any:
    """The key of a wanted trace, its numbers and its input arrays.

    Where an operand is pending elsewhere, that node instead.
    """
    key: list[Any] = []
    add = key.append
    numbers: list[Any] = []
    leaves: list[Any] = []
    index: dict[int, int] = {}
    position = 0
    for n in wanted:
        add(n.op)
        add(n.arg)
        for s in n.src:
            if s.__class__ is Node:
                value = s.value
                if value is None:
                    p = s.pos
                    if p < 0:
                        if n.op is not replaced or s is not n.src[0]:
                            return s
                        add(None)  # only its history is meant
                    else:
                        add(p)
                    continue
                k = index.get(id(value))
                if k is None:
                    index[id(value)] = k = len(leaves)
                    leaves.append(value)
                    add(~k)
                    add(s.type)
                    if value.__class__ is np.ndarray:
                        if not value.flags.c_contiguous:
                            add("strided")
                    elif value.__class__ is not tuple and not value.contiguous:
                        add("strided")
                else:
                    add(~k)
            else:
                kind = s.__class__
                add(kind)
                if kind is float and s == 0.0:
                    add(str(s))
                numbers.append(s)
        n.pos = position
        position += 1
    return tuple(key), tuple(numbers), leaves


def _serves(plan: Plan, kept: tuple, values: tuple) -> bool:
    """Whether a plan computes all that is wanted with the numbers it has compiled in."""
    if kept != plan.keep and not plan.kept.issuperset(kept):
        return False
    if values == plan.numbers:
        return True
    own = plan.numbers
    return all(values[i] == own[i] for i in plan.fixed)


def _compile(program: Program, wanted: list, kept: tuple, index: dict, values: tuple) -> Plan:
    from .plan import compile_plan  # passes and code generators load with the first plan

    known = program.plan.numbers if program.plan is not None else program.numbers
    program.varying.update(
        i for i, (a, b) in enumerate(zip(known, values)) if a != b or a.__class__ is not b.__class__
    )
    union = tuple(sorted({*program.keep, *kept}))
    program.keep = union
    COUNTERS.misses += 1
    plan, passes = compile_plan(
        wanted, union, index, values, program.varying, _donatable(wanted), RECORD[0]
    )
    COUNTERS.passes += passes
    cache = CACHE
    cache.compiled += 1
    plan.number = cache.compiled
    if program.plan is not None:
        program.size -= program.plan.nbytes
        cache.nbytes -= program.plan.nbytes
    program.plan = plan
    program.size += plan.nbytes
    cache.nbytes += plan.nbytes
    cache.trim()
    return plan


def _execute(plan: Plan, wanted: list[Node], leaves: list, values: tuple, read: set | None) -> None:
    if plan.running:  # a finalizer, called in the middle, wants the same program
        _evaluate(wanted, plan.keep)
        return
    donors = plan.donors
    flags = [_gives_up(wanted, leaves, k, refs, read) for k, refs in donors] if donors else None
    arguments = leaves
    if plan.scalars:
        arguments = arguments + [values[i] for i in plan.scalars]
    if flags:
        arguments = arguments + flags
    plan.running = True
    try:
        if plan.code.native:
            results = plan.run(*arguments)
        else:
            with np.errstate(all="ignore"):
                results = plan.run(*arguments)
    except Exception as error:
        # Nothing was donated before the last operation that may raise: the inputs are whole.
        _evaluate(wanted, plan.keep)
        raise error  # the evaluator, which names the user's line, has not met it
    finally:
        plan.running = False
    COUNTERS.count_plan(plan)
    for i, value in zip(plan.keep, results):
        wanted[i].value = value


def _gives_up(wanted: list[Node], leaves: list, k: int, refs: tuple, read: set | None) -> bool:
    """Whether nobody but this run holds input `k`: its array, or the nodes that carry it; and no
    later backward reads it."""
    array = leaves[k]
    holders: dict[Node, int] = {}
    for p, i in refs:
        s = wanted[p].src[i]
        if read is not None and id(s) in read:
            return False
        holders[s] = holders.get(s, 0) + 1
    s = None
    # `array`, `leaves` and the argument of getrefcount are ours; each holder has the array once.
    if getrefcount(array) - 3 != len(holders):
        return False
    return owned(array) and _only(holders)


def _only(holders: dict[Node, int]) -> bool:
    """Whether every node is held exactly as often as counted, and by nobody else."""
    for holder in holders:  # noqa: SIM110 (a generator's frame would hold them too)
        # The dict's key, the loop variable and getrefcount's argument.
        if getrefcount(holder) - 3 != holders[holder]:
            return False
    return True


def _donatable(wanted: list[Node]) -> frozenset[int]:
    """Inputs that nobody outside this trace holds, judged on the run that is being compiled."""
    order: dict[int, int] = {}
    holders: dict[int, dict[Node, int]] = {}
    arrays: list[Any] = []
    for n in wanted:
        for s in n.src:
            if s.__class__ is Node and s.value is not None:
                array = s.value
                k = order.get(id(array))
                if k is None:
                    k = order[id(array)] = len(order)
                    arrays.append(array)
                    holders[k] = {}
                holders[k][s] = holders[k].get(s, 0) + 1
    n = s = array = None  # type: ignore[assignment]
    found = []
    for k in range(len(arrays)):
        if not owned(arrays[k]):
            continue
        # Holders, `arrays`, the caller's `leaves` and getrefcount's argument.
        if getrefcount(arrays[k]) - 3 != len(holders[k]):
            continue
        if _only(holders[k]):
            found.append(k)
    return frozenset(found)


def _evaluate(wanted: list[Node], kept: tuple[int, ...]) -> None:
    """Runs a trace operation by operation, dropping what no later one needs."""
    keep = set(kept)
    remaining: dict[Node, int] = {}
    for n in wanted:
        for s in n.src:
            if s.__class__ is Node and s.value is None:
                remaining[s] = remaining.get(s, 0) + 1
    kept_nodes = {wanted[i] for i in keep}
    failed: dict[Node, Exception] = {}
    first: tuple[Exception, Node] | None = None
    count_call = COUNTERS.count_call
    with np.errstate(all="ignore"):
        for n in wanted:
            src = n.src
            if failed and any(s in failed for s in src if s.__class__ is Node):
                failed[n] = failed[next(s for s in src if s.__class__ is Node and s in failed)]
                continue
            try:
                n.value = apply(
                    n.op, n.type, n.arg, [s.value if s.__class__ is Node else s for s in src]
                )
            except Exception as error:
                failed[n] = error
                if first is None:
                    first = (error, n)
                continue
            count_call(n.op)
            for s in src:
                if s.__class__ is Node and s in remaining:
                    left = remaining[s] - 1
                    remaining[s] = left
                    if left == 0 and s not in kept_nodes:
                        s.value = None
    if first is not None:
        raise _located(*first)


def _located(error: Exception, node: Node) -> Exception:
    """The error with the user's line, of the same type where it takes one message."""
    file, line, function = location(node)
    text = f"{error}\n  computed for {node.op.name} in {file}:{line}, in {function}"
    try:
        return type(error)(text)
    except Exception:
        return RuntimeError(text)


def _on_devices(wanted: list[Node]) -> bool:
    """Whether a program uses a device: then it is compiled when it is seen first, since kernels are
    all that runs there."""
    return any(device_of(n.type) != "cpu" for n in wanted) or any(
        s.__class__ is Node and device_of(s.type) != "cpu" for n in wanted for s in n.src
    )


def _settle(wanted: list[Node], ok: bool) -> None:
    """Resets what the drain wrote; realised nodes without live history drop their operands."""
    for n in wanted:
        n.uses = 0
        n.pos = -1
        if n.grad != LIVE and (ok or n.value is not None) and not (n.op.view and _shows(n)):
            n.src = ()


def _shows(n: Node) -> bool:
    """Whether a view keeps its operand: a backward that saved it asks whether that was overwritten.

    Views of views of views … are cut, so that a loop of them stays flat.
    """
    for _ in range(VIEWS):
        s = n.src[0] if n.src else None
        if s.__class__ is not Node or s.grad:
            return False
        if not s.op.view or not s.src:
            return True
        n = s
    return False


class Scans(NamedTuple):
    """The three scans of a drain: `_live`, `_scan` and `_settle`, or what does the same."""

    live: Callable[[list[Node], Callable, Callable], tuple[list[Node], list[int]]]
    scan: Callable[[list[Node]], Any]
    settle: Callable[[list[Node], bool], None]


SCANS = [Scans(_live, _scan, _settle)]


def _before_fork() -> None:
    LOCK.acquire()


def _after_fork_in_parent() -> None:
    LOCK.release()


def _after_fork_in_child() -> None:
    """The child computes what the parent has pending only where it reads it itself (`revive`)."""
    for _, trace in TRACERS:
        trace.clear()
    LOCK.release()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_before_fork,
        after_in_parent=_after_fork_in_parent,
        after_in_child=_after_fork_in_child,
    )


def clear_plans() -> None:
    """Forgets every program and plan."""
    with LOCK:
        CACHE.clear()


def plan_bytes() -> int:
    """Bytes held by plans: workspaces, sources and keys."""
    return CACHE.nbytes
