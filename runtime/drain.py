"""Draining the trace: everything still wanted is computed, in one plan, and nothing stays pending.

Three scans of the trace and a call:

1. liveness, backwards: a node that only the trace holds is dead. CPython's reference counts say
   which; a node held from outside is kept, and so is what unfreed history will read in its
   backward;
2. the key, forwards: operations, structural arguments, operand positions, types of the inputs;
3. the plan is looked up, its inputs and numbers are bound, it runs, and the values are put into
   their nodes.

A program seen for the first time is evaluated operation by operation; from the second time on it
is compiled, or later where plans have not paid (cache.py). Plans are found by the exact key, never
by a hash alone.
"""

from __future__ import annotations

import gc
import os
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from lazyt.ir.node import FLUSH, FLUSH_NODES, LOCAL, TRACERS, Node, location
from lazyt.ir.opdef import PLACING
from lazyt.ir.ops_shape import replaced

from .cache import CACHE, Program
from .donation import donatable
from .placed import apply, device_of, on_host, out_of_memory
from .precision import PRECISION
from .scans import SCANS, Marks
from .stats import COUNTERS
from .whole_numbers import is_whole_number, settle_number

if TYPE_CHECKING:
    from .plan import Plan

LOCK = threading.RLock()
# Whether a program is compiled when it is seen first: tests of a tier want every program in it.
PLAN_FIRST = [os.environ.get("LAZYT_PLANS") == "first"]
RECORD = [bool(os.environ.get("LAZYT_DUMP"))]
# Whether nodes hold what scans have counted. A scan that an exception from outside cuts short (a
# signal's handler raises, as Ctrl-C does) leaves that behind, and the next drain clears it.
COUNTED = [False]
# Called with every program before it runs: key, wanted nodes, kept positions, inputs by id,
# numbers.
OBSERVERS: list[Callable[[tuple, list[Node], tuple[int, ...], dict[int, int], tuple], None]] = []


def drain() -> None:
    """Computes everything this thread traced and still wants."""
    trace = LOCAL.trace
    if trace and not LOCAL.held:
        with LOCK:
            _drain(trace)


def flush_before(node: Node) -> None:
    """Called by the gate when the trace is long: cuts where its first line comes round again."""
    local = LOCAL
    trace = local.trace
    if local.held:
        return
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
        if is_whole_number(node):
            with LOCK:
                if settle_number(node):
                    return node.value
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
        if trace is LOCAL.trace or thread.is_alive():
            continue
        if entry in TRACERS:  # a drain further down may have finished it
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
    if COUNTED[0]:
        _clear_counts()
    COUNTED[0] = True
    batch = trace[:]
    del trace[: len(batch)]
    total = len(batch)
    marks = Marks()
    wanted, kept = SCANS[0].live(batch, marks.history, marks.tagged)
    COUNTERS.dead += total - len(wanted)
    if not wanted:
        COUNTED[0] = False
        return None
    foreign = _run(wanted, kept, marks.read)
    if foreign is not None:
        for m in wanted:
            m.uses = 0
            m.pos = -1
            # What is another thread's must not count as used there: its drain would drop it.
            for s in m.src if m.tag is None else (*m.src, *m.tag.inputs):
                if s.__class__ is Node:
                    s.uses = 0
        trace[:0] = wanted
        COUNTED[0] = False
    return foreign


def _clear_counts() -> None:
    """Takes back what an interrupted scan has counted. Whatever it had in hand is computed when it
    is read (`revive`)."""
    for n in gc.get_objects():
        if type(n) is Node:  # what is foreign may answer `__class__` itself
            n.uses = 0
            n.pos = -1


def _run(wanted: list[Node], kept: tuple[int, ...], read: set | None) -> Node | None:
    """Finds or makes the plan of a wanted trace and runs it; `kept` are the positions of what is
    held from outside. Runs nothing where an operand is pending elsewhere: then it is returned.
    """
    if read:
        also = {i for i, n in enumerate(wanted) if id(n) in read}
        if also:
            kept = tuple(sorted(also.union(kept)))
    bound = SCANS[0].scan(wanted)
    if bound.__class__ is Node:
        return bound
    ok = False
    try:
        COUNTED[0] = False
        key, values, leaves = bound
        if PLACING:
            key = key, PRECISION[0]
        counters = COUNTERS
        counters.drains += 1
        counters.nodes += len(wanted)
        cache = CACHE
        cache.clock += 1
        program = cache.programs.get(key)
        for observe in OBSERVERS:
            observe(key, wanted, kept, _index(leaves), values)
        if program is None:
            program = Program(values, kept, 8 * len(bound[0]) + 200)
            cache.programs[key] = program
            cache.nbytes += program.size
        program.last = cache.clock
        program.seen += 1
        plan = program.plan
        if plan is None and program.seen < cache.sightings() and not _at_once(wanted):
            program.note(kept, values)
            counters.evaluated += 1
            _evaluate(wanted, kept)
            cache.trim()
        else:
            if plan is None or not _serves(plan, kept, values):
                plan = _compile(program, wanted, kept, _index(leaves), values)
            else:
                counters.hits += 1
                if program.unpaid:
                    cache.used(program)
            _execute(plan, wanted, leaves, values, read)
        ok = True
    finally:
        COUNTED[0] = True
        SCANS[0].settle(wanted, ok)
        COUNTED[0] = False
    return None


def _index(leaves: list) -> dict[int, int]:
    """The positions of input arrays by identity."""
    return {id(array): k for k, array in enumerate(leaves)}


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

    program.note(kept, values)
    COUNTERS.misses += 1
    plan, passes = compile_plan(
        wanted, program.keep, index, values, program.varying, donatable(wanted), RECORD[0]
    )
    COUNTERS.passes += passes
    cache = CACHE
    cache.made(program)
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
    flags = SCANS[0].flags(wanted, leaves, donors, read) if donors else None
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
        if out_of_memory(error):
            raise  # the host has no better way; what is read again is computed again
        # Nothing was donated before the last operation that may raise: the inputs are whole.
        _evaluate(wanted, plan.keep)
        raise error  # the evaluator, which names the user's line, has not met it
    finally:
        plan.running = False
    COUNTERS.count_plan(plan)
    for i, value in zip(plan.keep, results):
        wanted[i].value = value


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


def _at_once(wanted: list[Node]) -> bool:
    """Whether a program is compiled when it is seen first: where it uses a device, since kernels
    are all that runs there."""
    if PLAN_FIRST[0] or not PLACING:
        return PLAN_FIRST[0]
    return any(device_of(n.type) != "cpu" for n in wanted) or any(
        s.__class__ is Node and device_of(s.type) != "cpu" for n in wanted for s in n.src
    )


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
