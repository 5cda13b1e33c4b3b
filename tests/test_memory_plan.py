"""Where generated code keeps its values: in place, workspace slots, donated inputs, blocks of rows.

x1 = np.exp(x0, out=w0)          a slot of the workspace
x2 = np.multiply(x1, 2, out=x1)  in place: x1 dies here
x3 = np.add(x2, x0)              kept after the run: memory of its own
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pytest
from graph_tools import Compiled, assert_same_bits, compile_trace, evaluated, leaf_of, run_plan
from graph_tools import tracing as tracing_

from lazyt.codegen import numpy_calls
from lazyt.codegen.memory import BLOCK, DONATED, OWN, PLACE, SLOT
from lazyt.ir import dtypes
from lazyt.ir.node import Node
from lazyt.ir.opdef import REGISTRY
from lazyt.runtime import plan

Build = Callable[..., Node | tuple[Node, ...]]
op = REGISTRY.__getitem__


@pytest.fixture(autouse=True)
def _checked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan, "CHECK_PASSES", [True])


def array(*shape: int, dtype: type = np.float64, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed + sum(shape))
    return np.asarray(rng.uniform(0.5, 2.0, shape).astype(dtype))


def compiled(
    build: Build, *arrays: np.ndarray, donatable: frozenset[int] | None = None
) -> Compiled:
    """The plan of `build(*leaves)`, checked against the evaluator with and without donation."""
    with tracing_() as trace:
        results = build(*map(leaf_of, arrays))
    outputs = results if isinstance(results, tuple) else (results,)
    keep = sorted(set(outputs), key=trace.index)
    values = evaluated(trace, {})
    made = compile_trace(trace, keep, donatable)
    for donate in (False, True):
        found, after = run_plan(made, donate)
        for result, node in zip(found, keep, strict=True):
            assert_same_bits(result, values[node], made.source)
        taken = made.plan.code.memory.donated if donate else []
        for i, (one, other) in enumerate(zip(made.inputs, after)):
            if i not in taken:
                assert_same_bits(other, one, f"input {i} changed\n{made.source}")
    return made


def kinds(made: Compiled) -> list[str]:
    """How each value that is not a view gets its memory, in the order of the body."""
    assignments = made.plan.code.memory.assignments
    return [assignments[v].kind for v in made.plan.graph.body if v in assignments]


def lines(made: Compiled) -> list[str]:
    return [line.strip() for line in made.source.splitlines()[1:]]


NOTHING: frozenset[int] = frozenset()


# --- slots and in-place ---------------------------------------------------------------------------


def test_what_is_kept_owns_its_memory_and_what_is_not_has_a_slot() -> None:
    made = compiled(lambda x: op("sum")(op("exp")(x), arg=((0,), False)), array(3, 4))
    assert kinds(made) == [DONATED, OWN]
    made = compiled(
        lambda x: op("sum")(op("exp")(x), arg=((0,), False)), array(3, 4), donatable=NOTHING
    )
    assert kinds(made) == [SLOT, OWN]
    assert made.plan.code.memory.slots == [made.plan.graph.body[0].type]


def test_chain_works_in_one_slot() -> None:
    def build(x: Node) -> Node:
        for _ in range(5):
            x = op("mul")(op("exp")(x), 0.5)
        return op("sum")(x, arg=((0, 1), False))

    made = compiled(build, array(3, 4), donatable=NOTHING)
    assert kinds(made) == [SLOT] + [PLACE] * 9 + [OWN]
    assert len(made.plan.code.memory.slots) == 1


def test_slots_are_taken_again_by_values_of_the_same_type() -> None:
    def build(x: Node) -> tuple[Node, ...]:
        first = op("sum")(op("exp")(x), arg=((1,), True))
        second = op("sum")(op("sin")(x), arg=((1,), True))
        return first, second

    made = compiled(build, array(3, 4), donatable=NOTHING)
    assert kinds(made) == [SLOT, OWN, SLOT, OWN]
    assert len(made.plan.code.memory.slots) == 1


def test_value_that_is_read_later_is_not_overwritten() -> None:
    def build(x: Node) -> Node:
        y = op("exp")(x)
        z = op("neg")(y)
        return op("sum")(op("mul")(z, y), arg=((0,), False))

    made = compiled(build, array(3, 4), donatable=NOTHING)
    # The product is the last reader of both; the negation is not.
    assert kinds(made) == [SLOT, SLOT, PLACE, OWN]


def test_operand_read_twice_in_one_call_may_be_overwritten() -> None:
    def build(x: Node) -> Node:
        y = op("exp")(x)
        return op("sum")(op("mul")(y, y), arg=((0,), False))

    assert kinds(compiled(build, array(3, 4), donatable=NOTHING)) == [SLOT, PLACE, OWN]


def test_operand_that_broadcasts_is_not_overwritten() -> None:
    def build(x: Node, y: Node) -> Node:
        return op("sum")(op("add")(op("exp")(x), y), arg=((0,), False))

    assert kinds(compiled(build, array(4), array(3, 4), donatable=NOTHING)) == [SLOT, SLOT, OWN]


def test_primitive_that_reads_neighbours_takes_no_operand() -> None:
    def build(x: Node) -> Node:
        return op("sum")(op("cumsum")(op("exp")(x), arg=(0,)), arg=((0,), False))

    assert PLACE not in kinds(compiled(build, array(3, 4), donatable=NOTHING))


# --- views ----------------------------------------------------------------------------------------


def test_view_keeps_its_source_alive() -> None:
    def build(x: Node) -> Node:
        y = op("exp")(x)
        turned = op("permute")(y, arg=((1, 0),))
        other = op("sin")(op("add")(x, 1.0))
        return op("matmul")(other, turned)

    made = compiled(build, array(3, 4), donatable=NOTHING)
    assert len(made.plan.code.memory.slots) == 2


def test_kept_view_makes_its_source_own_memory() -> None:
    def build(x: Node) -> Node:
        return op("permute")(op("exp")(x), arg=((1, 0),))

    assert kinds(compiled(build, array(3, 4), donatable=NOTHING)) == [OWN]


def test_value_seen_through_a_view_by_the_same_call_is_not_overwritten() -> None:
    def build(x: Node) -> Node:
        y = op("exp")(x)
        return op("sum")(op("add")(y, op("permute")(y, arg=((1, 0),))), arg=((0,), False))

    assert kinds(compiled(build, array(4, 4), donatable=NOTHING)) == [SLOT, SLOT, OWN]


def test_update_writes_into_what_dies_and_copies_what_does_not() -> None:
    def build(x: Node, value: Node) -> tuple[Node, ...]:
        y = op("exp")(x)
        one = op("strided_update")(y, value, 1, arg=((2,), (3,)))
        two = op("strided_update")(one, value, 2, arg=((2,), (3,)))
        return op("sum")(two, arg=((0,), False)), op("sum")(y, arg=((0,), False))

    made = compiled(build, array(3, 4), array(2), donatable=NOTHING)
    assert kinds(made)[:3] == [SLOT, SLOT, PLACE]


def test_update_that_writes_what_it_reads_elsewhere_copies() -> None:
    def build(x: Node) -> Node:
        y = op("exp")(x)
        window = op("slice")(y, 0, 0, arg=((2, 4), (1, 1)))
        return op("sum")(
            op("strided_update")(y, window, 4, arg=((2, 4), (4, 1))), arg=((0,), False)
        )

    assert kinds(compiled(build, array(3, 4), donatable=NOTHING)) == [SLOT, SLOT, OWN]


def test_widened_bfloat16_shares_memory_and_is_not_overwritten() -> None:
    with tracing_() as trace:
        x = leaf_of(np.asarray([1.0, 2.0], np.float32), dtypes.bfloat16)
        wide = op("cast")(x, arg=(dtypes.float32,))
        y = op("mul")(wide, 3.0)
    made = compile_trace(trace, [wide, y])
    found, arrays = run_plan(made, True)
    assert found[0].tolist() == [1.0, 2.0] and found[1].tolist() == [3.0, 6.0]
    assert arrays[0].tolist() == [1.0, 2.0]


# --- outputs and the workspace --------------------------------------------------------------------


def spoil(made: Compiled) -> None:
    """Overwrites the workspace that the plan keeps between runs."""
    for name, value in made.plan.run.__globals__.items():
        if name[0] in "wt" and name[1:].isdigit():
            value.fill(77)


def three_results(x: Node, y: Node) -> tuple[Node, ...]:
    a = op("exp")(x)
    b = op("add")(a, y)
    c = op("sum")(op("mul")(b, a), arg=((0,), True))
    d = op("permute")(op("sub")(b, op("expand")(c, arg=((3, 4),))), arg=((1, 0),))
    return b, c, d


@pytest.mark.parametrize("rows", [None, 1, 2])
def test_results_never_live_in_the_workspace(rows: int | None, monkeypatch) -> None:
    if rows:
        monkeypatch.setattr(numpy_calls, "BLOCKED_FROM", 1)
        monkeypatch.setattr(numpy_calls, "BLOCK_ELEMENTS", rows * 4)
    made = compiled(three_results, array(3, 4), array(3, 4, seed=1), donatable=NOTHING)
    assert made.plan.code.memory.slots or made.plan.code.memory.blocks
    first, _ = run_plan(made)
    copies = [np.array(r) for r in first]
    spoil(made)
    for result, copy in zip(first, copies):
        assert_same_bits(result, copy)
    again, _ = run_plan(made)
    for result, copy, later in zip(first, copies, again):
        assert_same_bits(result, copy, "a later run changed an earlier result")
        assert_same_bits(later, copy, "the workspace carried something over")
        assert not np.shares_memory(result, later)


# --- donation -------------------------------------------------------------------------------------


def step(g: Node, w: Node) -> Node:
    return op("sub")(w, op("mul")(g, 0.1))


def test_update_of_a_donated_input_is_in_place() -> None:
    made = compiled(step, array(3, 4, seed=1), array(3, 4), donatable=frozenset({1}))
    assert made.plan.code.memory.donated == [1]
    g, w = array(3, 4, seed=1), array(3, 4)
    (result,) = made.plan.run(g, w, True)
    assert result is w
    w = array(3, 4)
    (result,) = made.plan.run(g, w, False)
    assert not np.shares_memory(result, w)
    assert_same_bits(w, array(3, 4))


def test_input_that_may_not_be_donated_never_is() -> None:
    made = compiled(step, array(3, 4), array(3, 4, seed=1), donatable=NOTHING)
    assert made.plan.code.memory.donated == []
    assert made.plan.donors == []


def test_input_that_is_read_later_or_kept_through_a_view_is_not_donated() -> None:
    def later(w: Node) -> tuple[Node, ...]:
        return op("mul")(w, 2.0), op("sum")(w, arg=((0,), False))

    assert compiled(later, array(3, 4)).plan.code.memory.donated == []

    def seen(w: Node) -> tuple[Node, ...]:
        return op("permute")(w, arg=((1, 0),)), op("mul")(w, 2.0)

    assert compiled(seen, array(3, 4)).plan.code.memory.donated == []


def test_donation_waits_for_the_last_operation_that_may_raise() -> None:
    def early(w: Node, at: Node, rows: Node) -> tuple[Node, ...]:
        new = op("mul")(w, 2.0)
        return new, op("index")(rows, at, arg=((0,),))

    def late(w: Node, at: Node, rows: Node) -> tuple[Node, ...]:
        picked = op("index")(rows, at, arg=((0,),))
        return op("mul")(w, 2.0), picked

    arrays = array(3, 4), np.asarray([0, 1]), array(5, 2)
    assert compiled(early, *arrays).plan.code.memory.donated == []
    assert compiled(late, *arrays).plan.code.memory.donated == [2]  # w, the third operand met


def test_donated_window_update_touches_only_the_window() -> None:
    def build(w: Node, value: Node) -> Node:
        return op("strided_update")(w, value, 4, arg=((4,), (1,)))

    made = compiled(build, array(3, 4), array(4))
    assert made.plan.code.memory.donated == [0]
    w = array(3, 4)
    (result,) = made.plan.run(w, array(4), 4, True)  # the offset is a run-time number
    assert result is w


# --- blocked groups -------------------------------------------------------------------------------


@pytest.fixture
def blocks(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[int], None]]:
    """Lets small arrays run in blocks of about that many elements."""

    def set_size(elements: int) -> None:
        monkeypatch.setattr(numpy_calls, "BLOCKED_FROM", 4)
        monkeypatch.setattr(numpy_calls, "BLOCK_ELEMENTS", elements)

    yield set_size


def test_blocks_divide_the_rows_or_leave_a_remainder(blocks) -> None:
    def build(x: Node) -> Node:
        return op("tanh")(op("mul")(op("exp")(x), 0.5))

    blocks(8)
    whole = compiled(build, array(6, 4), donatable=NOTHING)
    assert "for i in range(0, 6, 2):" in lines(whole)
    assert "[:n]" not in whole.source
    ragged = compiled(build, array(7, 4), donatable=NOTHING)
    assert "n = min(2, 7 - i)" in lines(ragged)
    assert "[:n]" in ragged.source
    assert kinds(ragged) == [BLOCK, BLOCK, OWN]
    assert [t.shape for t in ragged.plan.code.memory.blocks] == [(2, 4)]
    blocks(100)
    assert "for i" not in compiled(build, array(7, 4), donatable=NOTHING).source


def test_blocks_of_one_dimension_and_of_rows_longer_than_a_block(blocks) -> None:
    def build(x: Node) -> Node:
        return op("add")(op("exp")(x), x)

    blocks(5)
    assert "for i in range(0, 13, 5):" in lines(compiled(build, array(13), donatable=NOTHING))
    assert "for i in range(0, 2, 1):" in lines(compiled(build, array(2, 9), donatable=NOTHING))
    assert "for i" not in compiled(build, array(1, 9), donatable=NOTHING).source
    compiled(build, array(3, 2, 5), donatable=NOTHING)


def test_operands_that_broadcast_over_a_blocked_group(blocks) -> None:
    def build(x: Node, row: Node, column: Node, one: Node) -> Node:
        y = op("mul")(op("add")(x, row), column)
        return op("sub")(op("exp")(y), one)

    blocks(6)
    for rows in (4, 5):
        compiled(build, array(rows, 3), array(3), array(rows, 1), array())
        compiled(build, array(rows, 3), array(1, 3), array(rows, 1), array(1, 1))
        compiled(build, array(rows, rows), array(rows), array(rows, 1), array(1))


def test_blocked_group_with_operations_that_take_no_buffer(blocks) -> None:
    def build(x: Node, y: Node) -> tuple[Node, ...]:
        condition = op("gt")(x, y)
        chosen = op("where")(condition, op("exp")(x), op("neg")(y))
        small = op("cast")(chosen, arg=(dtypes.float32,))
        return op("mul")(small, 2.0), chosen

    blocks(6)
    for rows in (4, 5):
        made = compiled(build, array(rows, 3), array(rows, 3, seed=1))
        assert "for i in range" in made.source


def test_blocked_halves(blocks) -> None:
    blocks(6)
    for dtype in (dtypes.bfloat16, dtypes.float16):
        with tracing_() as trace:
            x = leaf_of(np.asarray([[0.5, 1.5, 2.5]] * 5, dtype.numpy), dtype)
            y = op("add")(op("mul")(op("mul")(x, x), 0.1), x)
        made = compile_trace(trace, [y])
        assert "for i in range" in made.source
        for donate in (False, True):
            assert_same_bits(run_plan(made, donate)[0][0], evaluated(trace, {})[y], made.source)


@pytest.mark.parametrize("donatable", [NOTHING, None])
def test_blocks_do_not_overwrite_what_a_view_shows_to_later_blocks(blocks, donatable) -> None:
    def square(x: Node) -> Node:
        m = op("add")(op("permute")(x, arg=((1, 0),)), 1.0)
        return op("mul")(x, m)

    def inner(x: Node) -> Node:
        return square(op("cumsum")(op("exp")(x), arg=(0,)))

    def backwards(x: Node) -> Node:
        shifted = op("as_strided")(x, 0, arg=((4, 4), (4, 1)))
        upside = op("permute")(op("permute")(shifted, arg=((1, 0),)), arg=((1, 0),))
        return op("sub")(op("neg")(op("mul")(upside, 2.0)), op("permute")(x, arg=((1, 0),)))

    blocks(4)
    for build in (square, inner, backwards):
        compiled(build, array(4, 4), donatable=donatable)


def test_blocked_group_that_may_raise_donates_nothing(blocks) -> None:
    def build(x: Node, y: Node) -> Node:
        return op("add")(x, op("floor_div")(x, y))

    blocks(2)
    made = compiled(build, np.asarray([4, 5, 6, 7]), np.asarray([1, 2, 3, 4]))
    assert "for i in range" in made.source
    assert made.plan.code.memory.donated == []


def test_blocked_output_is_written_into_a_donated_input(blocks) -> None:
    blocks(8)
    made = compiled(step, array(6, 4, seed=1), array(6, 4), donatable=frozenset({1}))
    assert made.plan.code.memory.donated == [1]
    w = array(6, 4)
    (result,) = made.plan.run(array(6, 4, seed=1), w, True)
    assert result is w


def test_memory_plan_counts_its_bytes() -> None:
    made = compiled(three_results, array(3, 4), array(3, 4), donatable=NOTHING)
    held = sum(t.nbytes for t in made.plan.code.memory.slots)
    assert made.plan.nbytes >= held > 0
