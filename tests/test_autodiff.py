"""Differentiation as a transformation of graphs: saved sets, accumulation, depth, hooks, freeing.

That every rule is the derivative of its primitive is `test_primitives.py`'s work; here is what the
walk does with the rules.
"""

from __future__ import annotations

import gc
import math
from collections import Counter

import numpy as np
import pytest
from graph_tools import evaluated, leaf_of, tracing

import lazyt as torch
from lazyt.ir import autodiff
from lazyt.ir.autodiff import OUTPUT, SECOND_BACKWARD, differentiate, saved
from lazyt.ir.node import Node
from lazyt.ir.opdef import REGISTRY
from lazyt.ir.ops_reduce import get
from lazyt.ir.ops_shape import narrow

op = REGISTRY.__getitem__


def leaf(*shape: int) -> Node:
    size = int(np.prod(shape, dtype=int))
    return leaf_of(np.linspace(0.5, 1.5, size).reshape(shape), grad=True)


def seed_like(y: Node) -> Node:
    return leaf_of(np.ones(y.type.shape))


# --- saved sets -----------------------------------------------------------------------------------

AXIS, AXES = (0,), ((0,), False)
WINDOW = ((2, 2), (3, 1))
# primitive, operands (shapes, numbers, lists), argument, saved set of each operand's cotangent.
SAVED = [
    ("add", ((3,), (3,)), (), [(), ()]),
    ("add", ((3,), 2.0), (), [()]),
    ("sub", ((3,), (3,)), (), [(), ()]),
    ("neg", ((3,),), (), [()]),
    ("mul", ((3,), (3,)), (), [(1,), (0,)]),
    ("mul", ((3,), 2.0), (), [()]),
    ("div", ((3,), (3,)), (), [(1,), (0, 1)]),
    ("div", ((3,), 2.0), (), [()]),
    ("pow", ((3,), 2.0), (), [(0,)]),
    ("pow", ((3,), 0.0), (), [()]),
    ("pow", ((3,), (3,)), (), [(0, 1), (0, 1, OUTPUT)]),
    ("maximum", ((3,), (3,)), (), [(0, 1), (0, 1)]),
    ("exp", ((3,),), (), [(OUTPUT,)]),
    ("sqrt", ((3,),), (), [(OUTPUT,)]),
    ("tanh", ((3,),), (), [(OUTPUT,)]),
    ("sigmoid", ((3,),), (), [(OUTPUT,)]),
    ("relu", ((3,),), (), [(OUTPUT,)]),
    ("reciprocal", ((3,),), (), [(OUTPUT,)]),
    ("log", ((3,),), (), [(0,)]),
    ("sin", ((3,),), (), [(0,)]),
    ("abs", ((3,),), (), [(0,)]),
    ("sign", ((3,),), (), [()]),
    ("where", ([True, False, True], (3,), (3,)), (), [(), (0,), (0,)]),
    ("sum", ((2, 3),), AXES, [()]),
    ("amax", ((2, 3),), AXES, [(0, OUTPUT)]),
    ("norm2", ((2, 3),), AXES, [(0, OUTPUT)]),
    ("var", ((2, 3),), ((0,), False, 1), [(0,)]),
    ("cumsum", ((2, 3),), AXIS, [()]),
    ("softmax", ((2, 3),), AXIS, [(OUTPUT,)]),
    ("log_softmax", ((2, 3),), AXIS, [(OUTPUT,)]),
    ("logsumexp", ((2, 3),), AXES, [(0, OUTPUT)]),
    ("max_with_index", ((2, 3),), AXES, [(OUTPUT,)]),
    ("sort", ((2, 3),), (0, False), [(OUTPUT,)]),
    ("matmul", ((2, 3), (3, 2)), (), [(1,), (0,)]),
    ("conv", ((1, 2, 4), (2, 2, 2)), ((1,), (0,), (1,), 1), [(1,), (0,)]),
    ("max_pool", ((1, 2, 4),), ((2,), (2,), (0,), (1,), False), [(OUTPUT,)]),
    ("avg_pool", ((1, 2, 4),), ((2,), (2,), (0,), False, True, None), [()]),
    ("reshape", ((2, 3),), ((6,),), [()]),
    ("permute", ((2, 3),), ((1, 0),), [()]),
    ("expand", ((3,),), ((2, 3),), [()]),
    ("slice", ((2, 3), 0, 1), ((2, 2), (1, 1)), [()]),
    ("copy", ((3,),), (), [()]),
    ("cat", ((2, 3), (1, 3)), AXIS, [(), ()]),
    ("strided_update", ((2, 3), (2, 2), 0), WINDOW, [(), ()]),
    ("gather", ((2, 3), [[0, 1, 1]]), AXIS, [(1,)]),
    ("scatter_add", ((2, 3), [[0, 1, 1]], (1, 3)), AXIS, [(), (), (1,)]),
    ("index", ((2, 3), [0, 0]), ((0,),), [(1,)]),
    ("index_put", ((2, 3), (2, 3), [0, 1]), ((0,), False), [(2,), (2,)]),
    ("index_put", ((2, 3), (2, 3), [0, 1]), ((0,), True), [(), (2,)]),
    ("nll", ((2, 3), [0, 2]), (-100,), [(1,)]),
    ("row_pick", ((4, 3), [0, 2]), (None,), [(1,)]),
]


@pytest.mark.parametrize(("name", "operands", "arg", "expected"), SAVED)
def test_what_a_cotangent_is_computed_from(
    name: str, operands: tuple, arg: tuple, expected: list
) -> None:
    leaves = [
        leaf(*x) if isinstance(x, tuple) else leaf_of(np.asarray(x)) if isinstance(x, list) else x
        for x in operands
    ]
    with tracing(grad=True):
        y = op(name)(*leaves, arg=arg)
        assert [saved(y, i) for i in range(len(expected))] == expected


def test_deriving_a_saved_set_leaves_no_trace() -> None:
    with tracing(grad=True) as trace:
        y = op("exp")(leaf(3))
        op("exp").saved.clear()
        saved(y, 0)
        assert trace == [y]


def test_needed_values_follow_from_which_operand_needs_a_gradient() -> None:
    with tracing(grad=True):
        x, w = leaf(2, 3), leaf(3, 2)
        fixed = leaf_of(np.ones((2, 3)))
        assert autodiff.needed_values(op("matmul")(x, w)) == [w, x]
        assert autodiff.needed_values(op("matmul")(fixed, w)) == [fixed]
        y = op("exp")(x)
        assert autodiff.needed_values(y) == [y]
        assert autodiff.needed_values(op("add")(x, x)) == []


# --- accumulation ---------------------------------------------------------------------------------


def test_cotangents_of_slices_that_cover_a_value_are_put_together_once() -> None:
    with tracing(grad=True) as trace:
        x = leaf(2, 6)
        parts = [narrow(x, 1, start, n) for start, n in ((3, 1), (0, 3), (4, 2))]
        total = None
        for i, part in enumerate(parts, 1):
            y = op("sum")(op("mul")(part, float(i)), arg=((0, 1), False))
            total = y if total is None else op("add")(total, y)
        before = len(trace)
        (g,) = differentiate([total], [seed_like(total)], retain=True, create=False, inputs=[x])
        made = Counter(n.op.name for n in trace[before:])
    assert made["cat"] == 1
    assert made["full"] == made["strided_update"] == made["strided_add"] == 0
    np.testing.assert_array_equal(evaluated(trace, {})[g], [[2, 2, 2, 1, 3, 3]] * 2)


@pytest.mark.parametrize(
    ("windows", "expected"),
    [
        (((0, 2), (3, 2)), [1, 1, 0, 1, 1]),  # something left out
        (((0, 3), (2, 3)), [1, 1, 2, 1, 1]),  # an element in both
        (((0, 5), (0, 5)), [2] * 5),  # all of it, twice
        (((0, 2), (2, 3), (1, 1)), [1, 2, 1, 1, 1]),
    ],
)
def test_cotangents_of_slices_that_do_not_cover_a_value_once(windows, expected) -> None:
    with tracing(grad=True) as trace:
        x = leaf(5)
        parts = [op("slice")(x, start, arg=((n,), (1,))) for start, n in windows]
        total = None
        for part in parts:
            y = op("sum")(part, arg=((0,), False))
            total = y if total is None else op("add")(total, y)
        (g,) = differentiate([total], [seed_like(total)], retain=True, create=False, inputs=[x])
    np.testing.assert_array_equal(evaluated(trace, {})[g], expected)


def test_products_with_one_matrix_share_its_gradient() -> None:
    """Steps of a loop: one product of all rows, where copying them is cheaper than adding."""

    def made(rows: int) -> tuple[Counter, np.ndarray, np.ndarray]:
        rng = np.random.default_rng(0)
        with tracing(grad=True) as trace:
            w, x = leaf(4, 4), leaf_of(rng.standard_normal((rows, 4)))
            own, h = rng.standard_normal((4, 4)), x
            for _ in range(3):
                h = op("matmul")(h, w)
            before = len(trace)
            (g,) = differentiate([h], [seed_like(h)], retain=True, create=False, inputs=[w])
            counts = Counter(n.op.name for n in trace[before:])
        found = evaluated(trace, {w: own})[g]
        a, seed = x.value, np.ones((rows, 4))
        terms = (
            (a @ own @ own).T @ seed,
            (a @ own).T @ (seed @ own.T),
            a.T @ (seed @ own.T @ own.T),
        )
        return counts, found, sum(terms)

    few, found, expected = made(1)
    assert (few["matmul"], few["cat"], few["add"]) == (3, 2, 0)
    np.testing.assert_allclose(found, expected)
    many, found, expected = made(20)
    assert (many["matmul"], many["cat"], many["add"]) == (5, 0, 2)
    np.testing.assert_allclose(found, expected)


def test_cotangents_of_many_slices_go_into_one_buffer() -> None:
    rows = 200
    with tracing(grad=True) as trace:
        x = leaf(rows + 1, 3)
        total = None
        for i in range(rows):
            y = op("mul")(narrow(x, 0, i, 1), float(i))
            total = y if total is None else op("add")(total, y)
        before = len(trace)
        (g,) = differentiate([total], [seed_like(total)], retain=True, create=False, inputs=[x])
        made = Counter(n.op.name for n in trace[before:])
    assert made["strided_update"] + made["strided_add"] == rows
    assert made["full"] == 1
    assert made["add"] == made["pad"] == made["sum"] == 0
    assert len(trace) - before <= 3 * rows
    expected = np.append(np.arange(rows), 0)[:, None] * np.ones(3)
    np.testing.assert_array_equal(evaluated(trace, {})[g], expected)


def test_cotangents_of_overlapping_windows_add_up() -> None:
    with tracing(grad=True) as trace:
        x = leaf(6)
        a = op("as_strided")(x, 0, arg=((4, 3), (1, 1)))
        b = narrow(x, 0, 2, 3)
        y = op("sum")(a, arg=((0, 1), False))
        z = op("sum")(b, arg=((0,), False))
        both = op("add")(y, z)
        (g,) = differentiate([both], [seed_like(both)], retain=True, create=False, inputs=[x])
    np.testing.assert_array_equal(evaluated(trace, {})[g], [1, 2, 4, 4, 3, 1])


def test_each_vjp_runs_once_however_often_its_result_is_read() -> None:
    with tracing(grad=True) as trace:
        x = leaf(3)
        y = x
        for _ in range(30):
            y = op("mul")(y, y)  # 2**30 paths
        before = len(trace)
        differentiate([y], [seed_like(y)], retain=True, create=False, inputs=[x])
        made = Counter(n.op.name for n in trace[before:])
    assert made == {"mul": 60, "add": 30}


def test_cotangent_has_the_shape_of_its_operand() -> None:
    with tracing(grad=True) as trace:
        shapes = [(), (3,), (1, 3), (2, 1), (2, 3), (1, 1)]
        leaves = [leaf(*s) for s in shapes]
        y = leaf(2, 3)
        for x in leaves:
            y = op("add")(y, x)
        found = differentiate([y], [seed_like(y)], retain=True, create=False, inputs=leaves)
    values = evaluated(trace, {})
    for x, g in zip(leaves, found, strict=True):
        assert g is not None and g.type is x.type
        assert np.all(values.get(g, g.value) == 6 / x.type.numel)


# --- depth ----------------------------------------------------------------------------------------


def test_chain_of_twenty_thousand_needs_no_recursion() -> None:
    depth = 20_000
    x = torch.ones(2, requires_grad=True)
    y = x
    for _ in range(depth):
        y = y * 1.0001
    y.sum().backward()
    assert x.grad[0].item() == pytest.approx(1.0001**depth, rel=1e-3)
    del y
    gc.collect()


def test_differentiating_a_deep_graph_is_linear() -> None:
    counts = []
    for depth in (2_000, 4_000):
        with tracing(grad=True) as trace:
            x = y = leaf(2)
            for _ in range(depth):
                y = op("sin")(y)
            differentiate([y], [seed_like(y)], retain=True, create=False, inputs=[x])
            counts.append(len(trace))
    assert counts[1] == 2 * counts[0]


# --- hooks ----------------------------------------------------------------------------------------


def test_hooks_see_the_finished_cotangent_and_may_replace_it() -> None:
    x = torch.tensor([1.0, 2.0], requires_grad=True)
    seen = []
    y = x * 3
    y.register_hook(lambda g: seen.append(("y", g.tolist())))
    y.register_hook(lambda g: g * 10)
    y.register_hook(lambda g: seen.append(("y again", g.tolist())))
    x.register_hook(lambda g: seen.append(("x", g.tolist())))
    (y.sum() + (y * y).sum()).backward()
    assert seen == [("y", [7, 13]), ("y again", [70, 130]), ("x", [210, 390])]
    assert x.grad.tolist() == [210, 390]


def test_removed_hook_is_not_called() -> None:
    x = torch.ones(2, requires_grad=True)
    y = x * 2
    handle = y.register_hook(lambda g: g * 0)
    handle.remove()
    y.sum().backward()
    assert x.grad.tolist() == [2, 2]


def test_hook_that_traces_and_reads_does_not_disturb_the_walk() -> None:
    x = torch.ones(3, requires_grad=True)
    y = x.exp()
    norms = []
    y.register_hook(lambda g: norms.append((g * g).sum().sqrt().item()))
    (y * 2).sum().backward()
    assert norms == [pytest.approx(math.sqrt(12))]
    np.testing.assert_allclose(x.grad.numpy(), 2 * np.exp(np.ones(3)), rtol=1e-6)


def test_retained_gradient_is_what_hooks_left() -> None:
    x = torch.ones(2, requires_grad=True)
    y = x * 2
    y.retain_grad()
    y.register_hook(lambda g: g + 1)
    y.sum().backward()
    assert y.grad.tolist() == [2, 2]
    assert x.grad.tolist() == [4, 4]


# --- partial graphs -------------------------------------------------------------------------------


def test_only_what_leads_to_the_inputs_is_differentiated() -> None:
    with tracing(grad=True) as trace:
        x, w = leaf(3), leaf(3)
        y = op("exp")(x)
        other = op("tan")(w)
        z = op("mul")(op("sin")(y), other)
        before = len(trace)
        (g,) = differentiate([z], [seed_like(z)], retain=True, create=False, inputs=[y])
        made = Counter(n.op.name for n in trace[before:])
    assert made == {"mul": 2, "cos": 1}
    values = evaluated(trace, {})
    np.testing.assert_allclose(values[g], values[other] * np.cos(values[y]))


def test_grad_of_an_intermediate_and_a_leaf_together() -> None:
    x = torch.tensor(2.0, requires_grad=True)
    y = x * x
    z = y * x
    gy, gx = torch.autograd.grad(z, (y, x))
    assert (gy.item(), gx.item()) == (2, 12)
    assert x.grad is None


def test_grad_leaves_other_leaves_alone() -> None:
    x, w = torch.ones(2, requires_grad=True), torch.ones(2, requires_grad=True)
    (g,) = torch.autograd.grad((x * w).sum(), x)
    assert g.tolist() == [1, 1]
    assert x.grad is None and w.grad is None


def test_unused_input() -> None:
    x, w = torch.ones(2, requires_grad=True), torch.ones(2, requires_grad=True)
    y = (x * 2).sum()
    with pytest.raises(RuntimeError, match="appears to not have been used"):
        torch.autograd.grad(y, w, retain_graph=True)
    assert torch.autograd.grad(y, (x, w), allow_unused=True)[1] is None


def test_several_roots_with_cotangents() -> None:
    x = torch.tensor([1.0, 2.0], requires_grad=True)
    a, b = x * 2, x * x
    torch.autograd.backward([a, b], [torch.tensor([1.0, 0.0]), torch.tensor([10.0, 1.0])])
    assert x.grad.tolist() == [22, 4]


# --- retaining and freeing ------------------------------------------------------------------------


def test_what_saved_something_is_freed_and_what_saved_nothing_is_not() -> None:
    with tracing(grad=True):
        x = leaf(3)
        y = op("exp")(x)
        z = op("add")(y, 1.0)
        differentiate([z], [seed_like(z)], retain=False, create=False)
        assert y.grad < 0 < z.grad
        with pytest.raises(RuntimeError) as error:
            differentiate([z], [seed_like(z)], retain=False, create=False)
        assert str(error.value) == SECOND_BACKWARD


def test_sum_may_run_twice_and_a_product_may_not() -> None:
    x = torch.ones(3, requires_grad=True)
    y = (x + 1).sum()
    y.backward()
    y.backward()
    assert x.grad.tolist() == [2, 2, 2]
    y = (x * x).sum()
    y.backward(retain_graph=True)
    y.backward()
    with pytest.raises(RuntimeError, match="backward through the graph a second time"):
        y.backward()
    with pytest.raises(RuntimeError, match="backward through the graph a second time"):
        torch.autograd.grad(y, x)


def test_freed_history_drops_its_operands() -> None:
    x = torch.ones(3, requires_grad=True)
    y = x.exp()
    z = (y * y).sum()
    node = z._node
    z.backward()
    z.item()
    assert node.src == () or all(s.__class__ is not Node or not s.src for s in node.src)


# --- higher orders --------------------------------------------------------------------------------


def test_third_derivative() -> None:
    x = torch.tensor([0.3, 0.7], dtype=torch.float64, requires_grad=True)
    y = x.sin() * x.exp()
    found = []
    for order in range(3):
        (y,) = torch.autograd.grad(y.sum(), x, create_graph=order < 2)
        found.append(y.detach().numpy())
    v = x.detach().numpy()
    sin, cos, exp = np.sin(v), np.cos(v), np.exp(v)
    np.testing.assert_allclose(found[0], exp * (sin + cos), rtol=1e-12)
    np.testing.assert_allclose(found[1], 2 * exp * cos, rtol=1e-12)
    np.testing.assert_allclose(found[2], 2 * exp * (cos - sin), rtol=1e-12)
    assert not y.requires_grad


def test_gradient_penalty() -> None:
    w = torch.tensor([[1.0, -2.0], [0.5, 3.0]], dtype=torch.float64, requires_grad=True)
    x = torch.tensor([[0.2, 0.4]], dtype=torch.float64, requires_grad=True)

    def penalty(weights):
        (g,) = torch.autograd.grad((x @ weights).tanh().sum(), x, create_graph=True)
        return (g * g).sum()

    penalty(w).backward()
    step, numeric = 1e-6, np.zeros((2, 2))
    for i in range(2):
        for j in range(2):
            moved = []
            for sign in (1, -1):
                other = w.detach().clone()
                other[i, j] += sign * step
                moved.append(penalty(other).item())
            numeric[i, j] = (moved[0] - moved[1]) / (2 * step)
    np.testing.assert_allclose(w.grad.numpy(), numeric, rtol=1e-6, atol=1e-8)


def test_derivative_of_the_second_result_is_of_integers_and_none() -> None:
    with tracing(grad=True):
        y = op("sort")(leaf(3), arg=(0, False))
        assert get(y, 0).grad > 0
        assert get(y, 1).grad == 0
