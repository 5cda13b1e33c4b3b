"""What loop nests compute, against the reference evaluator: in C here, in CUDA C on the host.

    LAZYT_CUDA_HOST=ctypes python tests/loop_coverage.py cuda add gather

exits with 1 where something differs. `walk` takes a sample of every dtype of some primitives into
one plan and says what differs, and which of them no loop nest computed. A device is a matter of the
whole process: the tests call this file as a program for it.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from graph_tools import assert_same_bits, compile_trace, flat, leaf_of, run_plan, tracing
from test_primitives import Sample, samples

from lazyt.ir import dtypes, evaluate
from lazyt.ir.dtypes import DType
from lazyt.ir.node import Node
from lazyt.ir.opdef import REGISTRY
from lazyt.ir.ops_device import transfer
from lazyt.ir.ops_reduce import get

TOLERANCE = {"float64": 1e-14, "float16": 2e-3, "bfloat16": 1.6e-2}
HALVES = np.array([0.1, 1 / 3, 65504, 65519.9, 65520, 2**-14, 2**-24, 2**-25, 2**-26, 1e-7, 3e-5])
NUMBERS = np.array([0.0, -0.0, 1.0, -1.5, 2.5, 127.5, -128.5, 255.9, 256.0, 300.0, -300.0, 32767.9])
FAR = np.array([32768.0, 1e5, -1e5, 2.0**31, -(2.0**31), 2.0**40, -(2.0**40), 2.0**63, -(2.0**63)])
TIES = 1 + np.array([1, 3, 5, 7]) * 2.0**-11, 1 + np.array([1, 3, 5, 7]) * 2.0**-8
EDGES = np.concatenate([HALVES, -HALVES, NUMBERS, FAR, *TIES, [1e30, np.inf, -np.inf, np.nan]])
WHOLE = np.array([0, 1, -1, 2, -3, 100, 127, 128, -128, -129, 255, 256, 32767, 32768, 2**24 + 1])


@dataclass
class Made:
    """One application, its results, and what the evaluator makes of it."""

    what: str
    results: list[Node]
    expected: list[np.ndarray]
    dtype: DType
    exact: bool = False


def applied(name: str, sample: Sample, place: Callable[[Any], Any], exact: bool = False) -> Made:
    op = REGISTRY[name]
    with tracing():
        leaves, y = sample.apply(op)
    with np.errstate(all="ignore"):
        given = [x.value if isinstance(x, Node) else x for x in leaves]
        expected = flat(evaluate.apply(op, y.type, sample.arg, given))
    node = op(*map(place, leaves), arg=sample.arg)
    results = [get(node, i) for i in range(op.results)] if op.results > 1 else [node]
    return Made(f"{name} {sample.dtype.name} {sample.arg}", results, expected, sample.dtype, exact)


def first_samples(name: str) -> Iterator[Sample]:
    """A sample of every dtype in which the evaluator gives what is inferred."""
    op = REGISTRY[name]
    for dtype in dtypes.REAL:
        for sample in samples(op, dtype):
            if any(isinstance(x, np.ndarray) and not x.size for x in sample.operands):
                continue
            try:
                with tracing(), np.errstate(all="ignore"):
                    leaves, y = sample.apply(op)
                    given = [x.value if isinstance(x, Node) else x for x in leaves]
                    found = flat(evaluate.apply(op, y.type, sample.arg, given))
            except (TypeError, ValueError):  # NumPy has none for this dtype
                break
            types = y.type if isinstance(y.type, tuple) else (y.type,)
            if [a.dtype for a in found] == [t.dtype.numpy for t in types]:
                yield sample
            if not callable(op.samples):
                break


def conversions() -> Iterator[Sample]:
    """Every dtype to every other, at values where they change their ways."""
    for source in dtypes.REAL:
        values = EDGES if source.is_floating_point else WHOLE
        with np.errstate(all="ignore"):
            given = evaluate.apply(
                REGISTRY["cast"], leaf_of(values).type.with_dtype(source), (source,), [values]
            )
        for target in dtypes.REAL:
            if target is not source:
                yield Sample([given], (target,), source)


def differences(made: Sequence[Made], trace: list[Node], back: Callable[[Node], Node]) -> list[str]:
    """Runs everything in one plan; what is not as expected, in words."""
    results = [back(r) for m in made for r in m.results]
    compiled = compile_trace(trace, results, frozenset())
    found, _ = run_plan(compiled)
    position = {id(n): i for i, n in enumerate(trace)}
    at = dict(zip(compiled.plan.keep, found))
    arrays = iter([at[position[id(r)]] for r in results])
    wrong = []
    for m in made:
        for expected in m.expected:
            a = next(arrays)
            try:
                if m.exact or expected.dtype.kind != "f":
                    assert_same_bits(a, expected)
                else:
                    assert a.dtype == expected.dtype
                    tolerance = TOLERANCE.get(m.dtype.name, 2e-6)
                    np.testing.assert_allclose(a, expected, tolerance, tolerance)
            except AssertionError as error:
                wrong.append(f"{m.what}: {error}")
    return wrong


def alone(trace: list[Node], results: list[Node], device: str) -> set[str]:
    """The primitives of a trace that are kernels of their own, or NumPy calls, with the dtype of
    their operand. A reduction of no axes is a copy, and no loop."""
    compiled = compile_trace(trace, results, frozenset())
    inside = compiled.plan.code.fused
    types = lambda v: v.type if isinstance(v.type, tuple) else (v.type,)
    found = [v for v in compiled.plan.graph.body if not v.op.view and v not in inside]
    found = [v for v in found if types(v)[0].device == device]
    return {
        f"{v.op.name} of {v.operands()[0].type.dtype.name if v.operands() else 'numbers'}"
        for v in found
        if v.op.name != "transfer" and not (v.op.kind == "reduce" and not v.arg[0])
    }


def walk(names: Sequence[str], device: str) -> tuple[list[str], set[str]]:
    """What differs in samples of some primitives, and which primitives no nest computes.

    "conversions" stands for casts between all dtypes.
    """
    place = (lambda x: x) if device == "cpu" else lambda x: _placed(x, device)
    back = (lambda x: x) if device == "cpu" else lambda x: transfer(x, "cpu")
    with tracing() as trace:
        made = []
        for name in names:
            if name == "conversions":
                made += [applied("cast", s, place, exact=True) for s in conversions()]
            else:
                made += [applied(name, s, place) for s in first_samples(name)]
        wrong = differences(made, trace, back)
        outside = alone(trace, [r for m in made for r in m.results], device)
    return wrong, outside


def _placed(x: Any, device: str) -> Any:
    return transfer(x, device) if isinstance(x, Node) else x


def differing_programs(device: str, names: Sequence[str] = ()) -> list[str]:
    """The programs of access_programs.py whose tensors are others than NumPy's on the CPU."""
    import os

    from access_programs import programs

    from lazyt.runtime import drain

    def results(f: Callable[[str], list], device: str) -> list:
        drain.CACHE.clear()
        return [(t.dtype, t.double().cpu().numpy().copy()) for t in f(device)]

    wrong = []
    for name, f in programs().items():
        if names and name not in names:
            continue
        tier = os.environ.get("LAZYT_CPU", "")
        os.environ["LAZYT_CPU"] = "numpy"
        expected = results(f, "cpu")
        os.environ["LAZYT_CPU"] = tier
        for k, ((dtype, a), (same, b)) in enumerate(zip(results(f, device), expected)):
            tolerance = TOLERANCE.get(dtype.name, 2e-5)
            if dtype is not same or not np.allclose(a, b, tolerance, tolerance, equal_nan=True):
                wrong.append(f"{name}, result {k}: {a} and not {b}")
    return wrong


def main(language: str, *names: str) -> int:
    if language == "cuda":
        import lazyt

        lazyt.zeros(1, device="cuda")  # starts the device
    device = "cuda:0" if language == "cuda" else "cpu"
    if names[0] == "programs":
        wrong, outside = differing_programs(device, names[1:]), set()
    else:
        wrong, outside = walk(names, device)
    print("\n".join(wrong))
    print("not in loops:", ", ".join(sorted(outside)))
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
