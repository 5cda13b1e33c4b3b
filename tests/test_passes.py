"""Each pass on small graphs in the text form, with the text expected after it; and random graphs.

The random graphs are optimized with the verifier after every pass, compiled, and compared bit for
bit with the evaluator, for any kept set and any donated inputs.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator

import numpy as np
import pytest
from graph_tools import (
    assert_same_bits,
    compile_trace,
    evaluated,
    inputs_of,
    leaf_of,
    run_plan,
    tracing,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from random_graphs import build

import lazyt  # noqa: F401 (registers the primitives)
from lazyt.codegen import numpy_calls
from lazyt.ir import dtypes
from lazyt.ir.graph import Graph, Value
from lazyt.ir.node import Node
from lazyt.ir.opdef import REGISTRY
from lazyt.ir.parser import ParseError, parse
from lazyt.ir.passes import fuse as fusing
from lazyt.ir.passes.cse import eliminate_common_subexpressions
from lazyt.ir.passes.dce import eliminate_dead_code
from lazyt.ir.passes.fold import fold_constants
from lazyt.ir.passes.fuse import fuse
from lazyt.ir.passes.legalize import legalize_halves
from lazyt.ir.passes.pipeline import PASSES, Stage, optimize
from lazyt.ir.passes.simplify import holds, simplify
from lazyt.ir.printer import text
from lazyt.ir.verify import InvalidGraph, verify
from lazyt.runtime import plan

Pass = Callable[[Graph], Graph]


def graph(params: str, *body: str, returns: str) -> Graph:
    """A graph from its parts in the text form, verified."""
    lines = "".join(f"  {line}\n" for line in body)
    made = parse(f"graph({params}) {{\n{lines}  return {returns}\n}}\n")
    verify(made)
    return made


def after(run: Pass, made: Graph) -> list[str]:
    """The body and the results after a pass, dead code removed."""
    result = eliminate_dead_code(run(made))
    verify(result)
    written = text(result)
    assert text(parse(written)) == written
    return [line.strip() for line in written.splitlines()[1:-1]]


def ends_as(run: Pass, params: str, *body: str) -> str:
    """What the last value of `body` is after a pass: a parameter, or the line that computes it."""
    last = body[-1].split(":")[0]
    lines = after(run, graph(params, *body, returns=last))
    return lines[-1].removeprefix("return ") if len(lines) == 1 else lines[-2].split(" = ")[1]


# --- simplify -------------------------------------------------------------------------------------

F = "%0: float32[2,3]"


@pytest.mark.parametrize(
    "line",
    [
        "mul(%0, 1.0)",
        "mul(1.0, %0)",
        "div(%0, 1.0)",
        "sub(%0, 0.0)",
        "alias(%0)",
        "stop(%0)",
        "reshape(%0) {to=(2, 3)}",
        "permute(%0) {order=(0, 1)}",
        "expand(%0) {to=(2, 3)}",
        "cast(%0) {dtype_to=float32}",
    ],
)
def test_identities_disappear(line: str) -> None:
    assert ends_as(simplify, F, f"%1: float32[2,3] = {line}") == "%0"


@pytest.mark.parametrize(
    "line",
    [
        "add(%0, 0.0)",  # -0.0 + 0.0 is 0.0
        "add(%0, -0.0)",
        "sub(%0, -0.0)",
        "sub(0.0, %0)",
        "mul(%0, 0.0)",  # nan and infinity stay, zeros have signs
        "mul(%0, -1.0)",
        "div(1.0, %0)",
        "pow(%0, 1.0)",
        "maximum(%0, -inf)",
        "sub(%0, %0)",
        "div(%0, %0)",
        "copy(%0)",  # memory of its own
    ],
)
def test_what_ieee_arithmetic_distinguishes_stays(line: str) -> None:
    assert ends_as(simplify, F, f"%1: float32[2,3] = {line}") == line


def test_identity_that_broadcasts_stays() -> None:
    lines = after(
        simplify,
        graph(
            "%0: float32[3]",
            "%1: float32[2,3] = full(1.0) {extents=(2, 3), of=float32}",
            "%2: float32[2,3] = mul(%0, %1)",
            returns="%2",
        ),
    )
    assert lines[-2] == "%2: float32[2,3] = mul(%0, %1)"


@pytest.mark.parametrize("line", ["mul(%0, 1)", "mul(1, %0)"])
def test_identities_of_integers_are_left_alone(line: str) -> None:
    assert ends_as(simplify, "%0: int64[3]", f"%1: int64[3] = {line}") == line


def test_double_negation_disappears() -> None:
    body = ["%1: float32[2,3] = neg(%0)", "%2: float32[2,3] = neg(%1)"]
    assert ends_as(simplify, F, *body) == "%0"


CASTS = [
    ("float32", "float64", "float32", True),
    ("float16", "float32", "float16", True),
    ("bfloat16", "float32", "bfloat16", True),
    ("int32", "int64", "int32", True),
    ("int32", "float64", "int32", True),
    ("uint8", "int16", "uint8", True),
    ("bool", "float32", "bool", True),
    ("int16", "float32", "int16", True),
    ("uint8", "bfloat16", "uint8", True),
    ("int8", "float16", "int8", True),
    ("float64", "float32", "float64", False),
    ("float32", "float16", "float32", False),
    ("float32", "bfloat16", "float32", False),
    ("float16", "bfloat16", "float16", False),
    ("bfloat16", "float16", "bfloat16", False),
    ("int64", "float64", "int64", False),
    ("int32", "float32", "int32", False),
    ("int16", "bfloat16", "int16", False),
    ("uint8", "int8", "uint8", False),
    ("int8", "uint8", "int8", False),
    ("float32", "int64", "float32", False),
    ("float32", "bool", "float32", False),
]


@pytest.mark.parametrize(("first", "middle", "last", "exact"), CASTS)
def test_only_casts_that_lose_nothing_disappear(
    first: str, middle: str, last: str, exact: bool
) -> None:
    found = ends_as(
        simplify,
        f"%0: {first}[3]",
        f"%1: {middle}[3] = cast(%0) {{dtype_to={middle}}}",
        f"%2: {last}[3] = cast(%1) {{dtype_to={last}}}",
    )
    assert found == ("%0" if exact else f"cast(%1) {{dtype_to={last}}}")
    assert holds(dtypes.dtype_named(first), dtypes.dtype_named(middle)) == exact


def test_widening_is_skipped_on_the_way_to_a_third_type() -> None:
    found = ends_as(
        simplify,
        "%0: float32[3]",
        "%1: float64[3] = cast(%0) {dtype_to=float64}",
        "%2: float16[3] = cast(%1) {dtype_to=float16}",
    )
    assert found == "cast(%0) {dtype_to=float16}"


def test_chains_of_views_become_one() -> None:
    lines = after(
        simplify,
        graph(
            "%0: float32[2,3,4]",
            "%1: float32[6,4] = reshape(%0) {to=(6, 4)}",
            "%2: float32[24] = reshape(%1) {to=(24,)}",
            "%3: float32[4,2,3] = permute(%0) {order=(2, 0, 1)}",
            "%4: float32[3,4,2] = permute(%3) {order=(2, 0, 1)}",
            "%5: float32[1,24] = expand(%2) {to=(1, 24)}",
            "%6: float32[5,24] = expand(%5) {to=(5, 24)}",
            returns="%4, %6",
        ),
    )
    assert lines == [
        "%1: float32[24] = reshape(%0) {to=(24,)}",
        "%2: float32[3,4,2] = permute(%0) {order=(1, 2, 0)}",
        "%3: float32[5,24] = expand(%1) {to=(5, 24)}",
        "return %2, %3",
    ]


def test_views_of_constants_are_constants() -> None:
    lines = after(
        simplify,
        graph(
            "",
            "%0: float32[6] = full(2.0) {extents=(6,), of=float32}",
            "%1: float32[2,3] = reshape(%0) {to=(2, 3)}",
            "%2: float32[3,2] = permute(%1) {order=(1, 0)}",
            "%3: float32[4,3,2] = expand(%2) {to=(4, 3, 2)}",
            returns="%2, %3",
        ),
    )
    assert lines == [
        "%0: float32[3,2] = full(2.0) {extents=(3, 2), of=float32}",
        "%1: float32[4,3,2] = full(2.0) {extents=(4, 3, 2), of=float32}",
        "return %0, %1",
    ]


def filled(of: str, op: str, number: str, kind: str = "float32") -> str:
    """What `op` of a tensor and a constant tensor becomes."""
    return ends_as(
        simplify,
        f"%0: {kind}[2,3]",
        f"%1: {kind}[1] = full({number}) {{extents=(1,), of={kind}}}",
        f"%2: {kind}[2,3] = expand(%1) {{to=(2, 3)}}",
        f"%3: {of}[2,3] = {op}",
    )


def test_constant_tensors_become_numbers() -> None:
    assert filled("float32", "add(%0, %2)", "0.5") == "add(%0, 0.5)"
    assert filled("float32", "add(%2, %0)", "-0.0") == "add(-0.0, %0)"
    assert filled("float32", "maximum(%0, %2)", "nan") == "maximum(%0, nan)"
    assert filled("bool", "lt(%0, %2)", "inf") == "lt(%0, inf)"
    assert filled("float32", "mul(%0, %2)", "1.0") == "%0"
    assert filled("float32", "sub(%0, %2)", "0.0") == "%0"
    assert filled("float32", "sub(%0, %2)", "-0.0") == "sub(%0, -0.0)"


def test_constant_tensors_that_a_number_would_not_equal_stay() -> None:
    # A power that is a number takes shortcuts; a number is not rounded to a half type.
    assert filled("float32", "pow(%0, %2)", "3.0").startswith("pow(%0, %")
    assert filled("float16", "add(%0, %2)", "0.001", "float16").startswith("add(%0, %")
    assert filled("bfloat16", "mul(%0, %2)", "0.001", "bfloat16").startswith("mul(%0, %")


def test_replaced_is_its_value() -> None:
    params = "%0: float32[3], %1: float32[3]"
    assert ends_as(simplify, params, "%2: float32[3] = replaced(%0, %1)") == "%1"


# --- fold -----------------------------------------------------------------------------------------


def folded(kind: str, number: str, line: str, result: str | None = None) -> str:
    result = result or kind
    return ends_as(
        fold_constants,
        "",
        f"%0: {kind}[2] = full({number}) {{extents=(2,), of={kind}}}",
        f"%1: {result}[2] = {line}",
    )


@pytest.mark.parametrize(
    ("kind", "number", "line", "expected"),
    [
        ("float32", "0.1", "add(%0, 0.2)", float(np.float32(0.1) + np.float32(0.2))),
        ("float64", "0.1", "add(%0, 0.2)", 0.1 + 0.2),
        ("float32", "16777216.0", "add(%0, 1.0)", 16777216.0),
        ("float16", "0.1", "add(%0, 0.0)", float(np.float16(0.1))),
        ("bfloat16", "0.1", "mul(%0, 1.0)", 0.10009765625),
        ("float32", "0.0", "neg(%0)", -0.0),
        ("float32", "-1.0", "sqrt(%0)", float("nan")),
        ("float32", "1.0", "div(%0, -0.0)", float("-inf")),
        ("float32", "1e+38", "mul(%0, 10.0)", float("inf")),
        ("uint8", "200", "add(%0, 100)", 44),
        ("int32", "2147483647", "add(%0, 1)", -2147483648),
        ("int64", "7", "bitwise_and(%0, 3)", 3),
    ],
)
def test_numbers_fold_in_the_type_they_have(
    kind: str, number: str, line: str, expected: float
) -> None:
    found = folded(kind, number, line)
    assert found == f"full({expected!r}) {{extents=(2,), of={kind}}}"


def test_comparisons_and_casts_of_constants_fold() -> None:
    assert folded("float32", "nan", "ne(%0, nan)", "bool").startswith("full(True)")
    assert folded("float32", "0.0", "eq(%0, -0.0)", "bool").startswith("full(True)")
    cast = "cast(%0) {dtype_to=int64}"
    assert folded("float32", "-2.7", cast, "int64") == "full(-2) {extents=(2,), of=int64}"


def test_what_may_raise_is_left_to_the_run() -> None:
    assert folded("int64", "1", "floor_div(%0, 0)") == "floor_div(%0, 0)"
    assert folded("int64", "1", "remainder(%0, 2)") == "remainder(%0, 2)"
    assert folded("float32", "1.0", "floor_div(%0, 0.0)").startswith("full(inf)")


def test_run_time_numbers_do_not_fold() -> None:
    params = "$0: float"
    body = [
        "%0: float32[2] = full(1.0) {extents=(2,), of=float32}",
        "%1: float32[2] = mul(%0, $0)",
    ]
    assert ends_as(fold_constants, params, *body) == "mul(%0, $0)"


# --- common subexpressions and dead code ----------------------------------------------------------


def shared(first: str, second: str, params: str = F, kind: str = "float32[2,3]") -> bool:
    """Whether two lines are one value after elimination."""
    made = graph(params, f"%8: {kind} = {first}", f"%9: {kind} = {second}", returns="%8, %9")
    result = eliminate_common_subexpressions(made)
    verify(result)
    return result.outputs[0] is result.outputs[1]


def test_equal_applications_are_one_value() -> None:
    assert shared("exp(%0)", "exp(%0)")
    assert shared("mul(%0, 0.1)", "mul(%0, 0.1)")
    assert shared("mul(%0, nan)", "mul(%0, nan)")
    assert shared("mul(%0, $0)", "mul(%0, $0)", F + ", $0: float")


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("mul(%0, 0.0)", "mul(%0, -0.0)"),
        ("mul(%0, 1)", "mul(%0, 1.0)"),
        ("mul(%0, 1)", "mul(%0, True)"),
        ("mul(%0, 1.0)", "mul(%0, True)"),
        ("mul(%0, 0)", "mul(%0, False)"),
        ("sub(%0, 2.0)", "sub(2.0, %0)"),
        ("exp(%0)", "neg(%0)"),
        ("copy(%0)", "copy(%0)"),  # two results that are two memories
    ],
)
def test_different_applications_are_not(first: str, second: str) -> None:
    assert not shared(first, second)


def test_arguments_types_and_scalars_are_told_apart() -> None:
    assert not shared("mul(%0, $0)", "mul(%0, $1)", F + ", $0: float, $1: float")
    made = graph(
        F,
        "%1: float32[1,3] = sum(%0) {axes=(0,), keep=True}",
        "%2: float32[3] = sum(%0) {axes=(0,), keep=False}",
        "%3: float16[2,3] = cast(%0) {dtype_to=float16}",
        "%4: float64[2,3] = cast(%0) {dtype_to=float64}",
        returns="%1, %2, %3, %4",
    )
    assert len(eliminate_common_subexpressions(made).body) == 4


def test_sharing_goes_through_operands() -> None:
    made = graph(
        F,
        "%1: float32[2,3] = exp(%0)",
        "%2: float32[2,3] = exp(%0)",
        "%3: float32[2,3] = neg(%1)",
        "%4: float32[2,3] = neg(%2)",
        "%5: float32[2,3] = add(%3, %4)",
        returns="%5",
    )
    assert after(eliminate_common_subexpressions, made) == [
        "%1: float32[2,3] = exp(%0)",
        "%2: float32[2,3] = neg(%1)",
        "%3: float32[2,3] = add(%2, %2)",
        "return %3",
    ]


def test_dead_code_goes_and_the_order_stays() -> None:
    made = graph(
        F + ", %1: int64[2]",
        "%2: float32[2,3] = exp(%0)",
        "%3: float32[2,3] = index_put(%0, %2, %1) {axes=(0,), accumulate=False}",
        "%4: float32[2,3] = neg(%0)",
        "%5: float32[2,3] = tanh(%4)",
        returns="%4",
    )
    assert after(lambda g: g, made) == ["%2: float32[2,3] = neg(%0)", "return %2"]


# --- legalize -------------------------------------------------------------------------------------


def test_half_arithmetic_is_widened_and_rounded_once() -> None:
    made = graph("%0: float16[3], %1: float16[3]", "%2: float16[3] = mul(%0, %1)", returns="%2")
    assert after(legalize_halves, made) == [
        "%2: float32[3] = cast(%0) {dtype_to=float32}",
        "%3: float32[3] = cast(%1) {dtype_to=float32}",
        "%4: float32[3] = mul(%2, %3)",
        "%5: float16[3] = cast(%4) {dtype_to=float16}",
        "return %5",
    ]


def test_halves_of_several_results_are_rounded_where_they_are_taken() -> None:
    made = graph(
        "%0: bfloat16[3]",
        "%1: (bfloat16[3], int64[3]) = sort(%0) {axis=0, descending=False}",
        "%2: bfloat16[3] = get(%1) {index=0}",
        "%3: int64[3] = get(%1) {index=1}",
        returns="%2, %3",
    )
    assert after(legalize_halves, made) == [
        "%1: float32[3] = cast(%0) {dtype_to=float32}",
        "%2: (float32[3], int64[3]) = sort(%1) {axis=0, descending=False}",
        "%3: float32[3] = get(%2) {index=0}",
        "%4: bfloat16[3] = cast(%3) {dtype_to=bfloat16}",
        "%5: int64[3] = get(%2) {index=1}",
        "return %4, %5",
    ]


def test_views_copies_and_comparisons_of_halves_stay_as_they_are() -> None:
    body = [
        "%1: float16[3] = reshape(%0) {to=(3,)}",
        "%2: float16[3] = copy(%1)",
        "%3: bool[3] = lt(%2, 0.5)",
    ]
    made = graph("%0: float16[3,1]", *body, returns="%2, %3")
    assert after(legalize_halves, made) == [*body, "return %2, %3"]


def test_constants_of_half_types_are_rounded() -> None:
    made = graph("", "%0: bfloat16[2] = full(0.1) {extents=(2,), of=bfloat16}", returns="%0")
    assert after(legalize_halves, made) == [
        "%0: float32[2] = full(0.1) {extents=(2,), of=float32}",
        "%1: bfloat16[2] = cast(%0) {dtype_to=bfloat16}",
        "return %1",
    ]


def test_rounding_between_half_operations_survives_the_pipeline() -> None:
    made = graph(
        "%0: float16[3]",
        "%1: float16[3] = mul(%0, %0)",
        "%2: float16[3] = add(%1, %0)",
        returns="%2",
    )
    optimized, _ = optimize(made, check=True)
    assert text(optimized).count("{dtype_to=float16}") == 2


# --- fuse -----------------------------------------------------------------------------------------


def grouped(made: Graph) -> list[list[str]]:
    """The names of the primitives in each group, in execution order."""
    found = fuse(made)
    assert found.graph is not None
    verify(found.graph)
    assert sorted(map(id, found.graph.body)) == sorted(map(id, made.body))
    return [[v.op.name for v in g.values] for g in found.groups]


def refused(made: Graph) -> list[tuple[str, str, str]]:
    return [(r.producer.op.name, r.consumer.op.name, r.reason) for r in fuse(made).refusals]


def chain(*lines: str, returns: str, params: str = F) -> Graph:
    return graph(params, *lines, returns=returns)


def test_chain_is_one_group_and_only_what_is_read_outside_is_an_output() -> None:
    made = chain(
        "%1: float32[2,3] = exp(%0)",
        "%2: float32[2,3] = mul(%1, 2.0)",
        "%3: float32[2,3] = add(%2, %1)",
        returns="%2, %3",
    )
    assert grouped(made) == [["exp", "mul", "add"]]
    (group,) = fuse(made).fused()
    assert [v.op.name for v in group.outputs] == ["mul", "add"]
    assert group.shape == (2, 3)
    assert group.kind == "fused"


def test_reduction_splits_and_says_why() -> None:
    made = chain(
        "%1: float32[2,3] = exp(%0)",
        "%2: float32[2,1] = sum(%1) {axes=(1,), keep=True}",
        "%3: float32[2,1] = sqrt(%2)",
        returns="%3",
    )
    assert grouped(made) == [["exp"], ["sum"], ["sqrt"]]
    assert refused(made) == [
        ("exp", "sum", "sum is a kernel of its own and reads the finished value"),
        ("sum", "sqrt", "sum is a kernel of its own and must be finished first"),
    ]


def test_different_shapes_are_refused() -> None:
    made = graph(
        "%0: float32[3], %1: float32[2,3]",
        "%2: float32[3] = exp(%0)",
        "%3: float32[2,3] = add(%1, %2)",
        returns="%3",
    )
    assert grouped(made) == [["exp"], ["add"]]
    assert refused(made) == [("exp", "add", "different iteration spaces: [3] and [2, 3]")]


def test_diamond_through_a_reduction_is_not_fused_around_it() -> None:
    made = chain(
        "%1: float32[2,3] = exp(%0)",
        "%2: float32[2,1] = sum(%1) {axes=(1,), keep=True}",
        "%3: float32[2,3] = expand(%2) {to=(2, 3)}",
        "%4: float32[2,3] = div(%1, %3)",
        "%5: float32[2,3] = neg(%4)",
        returns="%5",
    )
    assert grouped(made) == [["exp"], ["sum"], ["div", "neg"]]
    assert ("exp", "div", "a path between them runs through sum, which is outside") in refused(made)


def test_diamond_of_elementwise_operations_is_one_group() -> None:
    made = chain(
        "%1: float32[2,3] = exp(%0)",
        "%2: float32[2,3] = neg(%1)",
        "%3: float32[2,3] = sqrt(%1)",
        "%4: float32[2,3] = add(%2, %3)",
        returns="%4",
    )
    assert grouped(made) == [["exp", "neg", "sqrt", "add"]]


def test_groups_that_would_need_each_other_first_are_dissolved() -> None:
    made = graph(
        "%0: float32[4], %1: float32[4]",
        "%2: float32[4] = neg(%0)",
        "%3: float32[4] = exp(%1)",
        "%4: float32[1] = sum(%3) {axes=(0,), keep=True}",
        "%5: float32[4] = expand(%4) {to=(4,)}",
        "%6: float32[4] = add(%2, %5)",
        "%7: float32[1] = sum(%2) {axes=(0,), keep=True}",
        "%8: float32[4] = expand(%7) {to=(4,)}",
        "%9: float32[4] = sub(%0, %8)",
        "%10: float32[4] = mul(%9, %3)",
        returns="%6, %10",
    )
    assert ["sub", "mul"] in [g[-2:] for g in grouped(made)]
    assert "each of two groups would need the other first" in [r[2] for r in refused(made)]


def test_groups_have_a_bound() -> None:
    n = fusing.MAX_GROUP + 6
    lines = [f"%{i + 1}: float32[2,3] = neg(%{i})" for i in range(n)]
    made = chain(*lines, returns=f"%{n}")
    assert [len(g) for g in grouped(made)] == [fusing.MAX_GROUP, 6]
    assert refused(made)[0][2] == f"the group has reached {fusing.MAX_GROUP} operations"


# --- the verifier, the parser and the pipeline ----------------------------------------------------


def test_verifier_finds_what_is_wrong() -> None:
    made = parse("graph(%0: float32[2]) {\n  %1: float32[3] = exp(%0)\n  return %1\n}\n")
    with pytest.raises(InvalidGraph, match=r"inferred float32\[2\]"):
        verify(made)
    made = chain("%1: float32[2,3] = exp(%0)", returns="%1")
    stray = Value(REGISTRY["neg"], (made.body[0],), (), made.body[0].type)
    with pytest.raises(InvalidGraph, match="not defined"):
        verify(Graph(made.inputs, [], made.body, [stray]))
    with pytest.raises(InvalidGraph, match="before it is defined"):
        verify(Graph(made.inputs, [], [stray, *made.body], [stray]))
    with pytest.raises(InvalidGraph, match="defined twice"):
        verify(Graph(made.inputs, [], made.body * 2, []))


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("", "starts with"),
        ("graph() {\n  %0: float32[2] = nothing()\n  return %0\n}", "no primitive is called"),
        ("graph() {\n  %0: float32[2] = neg(%7)\n  return %0\n}", "%7 is not defined yet"),
        ("graph() {\n  what is this\n  return %0\n}", "cannot read"),
    ],
)
def test_parser_names_the_line(source: str, message: str) -> None:
    with pytest.raises(ParseError, match=message):
        parse(source)


def test_pipeline_records_every_stage() -> None:
    made = chain("%1: float32[2,3] = mul(%0, 1.0)", returns="%1")
    stages: list[Stage] = []
    optimized, count = optimize(made, record=stages, check=True)
    assert [s.name for s in stages] == [name for name, _ in PASSES]
    assert count == len(PASSES)
    for earlier, later in zip(stages, stages[1:]):
        assert earlier.after == later.before
    assert text(optimized) == "graph(%0: float32[2,3]) {\n  return %0\n}\n"


PROGRAM = """
import sys
sys.path.insert(0, sys.argv[1])
import numpy as np
from graph_tools import compile_trace, tracing
from random_graphs import build
for seed in range(12):
    with tracing() as trace, np.errstate(all="ignore"):
        made = build(np.random.default_rng(seed), 40)
    print(compile_trace(trace, made[-3:]).source)
"""


def test_same_program_gives_the_same_code_in_every_process() -> None:
    sources = set()
    for hash_seed in ("1", "2"):
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM, os.path.dirname(__file__)],
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            capture_output=True,
            text=True,
            check=True,
        )
        sources.add(done.stdout)
    assert len(sources) == 1
    assert sources.pop().count("def run(") == 12


# --- random graphs --------------------------------------------------------------------------------


@pytest.fixture
def checked(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(plan, "CHECK_PASSES", [True])
    yield


def compare_random_graph(seed: int, length: int) -> None:
    """One random graph: evaluator against generated code, for kept sets and donations."""
    rng = np.random.default_rng(seed)
    with tracing() as trace, np.errstate(all="ignore"):
        made = build(rng, length)
    if not made:
        return
    values = evaluated(trace, {})
    chosen = {made[-1], *[made[i] for i in rng.integers(len(made), size=int(rng.integers(1, 5)))]}
    keep = sorted(chosen, key=trace.index)
    numbers = [s for n in trace for s in n.src if s.__class__ is not Node]
    varying = frozenset(i for i in range(len(numbers)) if rng.random() < 0.2)
    inputs = range(len(inputs_of(trace)))
    some = lambda share: frozenset(i for i in inputs if rng.random() < share)
    compiled = compile_trace(trace, keep, some(0.7), varying)
    for donated in (frozenset(), frozenset(inputs), some(0.5)):
        found, arrays = run_plan(compiled, donated)
        what = f"seed {seed}, length {length}, donated {sorted(donated)}\n{compiled.source}"
        for result, node in zip(found, keep, strict=True):
            assert_same_bits(result, values[node], what)
        taken = donated & set(compiled.plan.code.memory.donated)
        for i, (before, after_run) in enumerate(zip(compiled.inputs, arrays, strict=True)):
            if i not in taken:
                assert_same_bits(after_run, before, f"input {i} changed, {what}")


@pytest.mark.usefixtures("checked")
@settings(max_examples=250)
@given(seed=st.integers(0, 2**32), length=st.integers(1, 60))
def test_optimized_code_gives_the_evaluators_bits(seed: int, length: int) -> None:
    compare_random_graph(seed, length)


@pytest.mark.usefixtures("checked")
@settings(max_examples=250)
@given(seed=st.integers(0, 2**32), length=st.integers(1, 60), rows=st.integers(1, 9))
def test_blocked_code_gives_the_evaluators_bits(seed: int, length: int, rows: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(numpy_calls, "BLOCKED_FROM", 4)
        patch.setattr(numpy_calls, "BLOCK_ELEMENTS", rows)
        compare_random_graph(seed, length)


def test_order_of_additions_is_that_of_the_evaluator_whatever_the_layout() -> None:
    rng = np.random.default_rng(1)
    for _ in range(20):
        x = rng.standard_normal((5, 7)).astype(np.float32)
        for array in (x, np.asfortranarray(x), x.T.copy().T[::1]):
            with tracing() as trace:
                turned = REGISTRY["permute"](leaf_of(array), arg=((1, 0),))
                y = REGISTRY["neg"](turned)
                kept = [y]
                for axes in ((0,), (1,), (0, 1)):
                    kept.append(REGISTRY["sum"](y, arg=(axes, False)))
                    kept.append(REGISTRY["prod"](y, arg=(axes, True)))
            values = evaluated(trace, {})
            assert values[y].flags.c_contiguous
            compiled = compile_trace(trace, kept)
            for donate in (False, True):
                for result, node in zip(run_plan(compiled, donate)[0], kept, strict=True):
                    assert_same_bits(result, values[node], compiled.source)


def test_update_of_a_value_that_is_not_row_major() -> None:
    with tracing() as trace:
        x = leaf_of(np.arange(12.0).reshape(3, 4))
        turned = REGISTRY["permute"](x, arg=((1, 0),))
        chosen = REGISTRY["where"](REGISTRY["gt"](turned, 2.0), turned, 0.0)
        y = REGISTRY["strided_update"](chosen, leaf_of(np.full(2, 9.0)), 0, arg=((2,), (1,)))
    (found,), _ = run_plan(compile_trace(trace, [y]))
    assert_same_bits(found, evaluated(trace, {})[y])
