"""Loop nests: how many kernels a program is, exactly. How they read: test_dress.py."""

from __future__ import annotations

import loop_programs
import pytest
from loop_programs import calls, grouped

import lazyt
from lazyt.codegen.grouping import loop_nests
from lazyt.ir.graph import placed
from lazyt.ir.passes.pipeline import optimize
from lazyt.nn import functional as F
from lazyt.state import node_of

# Kernels that a program is, beside the draw of dropout and the count of batches of a batch norm.
COUNTS = {
    "softmax": 1,
    "log_softmax": 1,
    "softmax_of_columns": 1,
    "layer_norm": 1,
    "rms_norm": 1,
    "gelu": 1,
    "dropout": 1,
    "bias_relu": 1,
    "sum_of_rows": 1,
    "sum_of_columns": 1,
    "whole_sum": 1,
    "transposed": 1,
    "layer_norm_training": 2,
    "batch_norm_training": 2,
    "cross_entropy": 1,
    "cross_entropy_training": 2,
    "max_pool_training": 2,
    "overlapping_pool_training": 3,
    "average_pool_training": 3,
    "large_pool_training": 2,
    "sgd": 1,
    "adam": 1,
    "adamw": 1,
}


@pytest.mark.parametrize("name", COUNTS)
def test_kernels_are_few(name: str) -> None:
    report = lazyt.explain(loop_programs.programs()[name])
    found = [calls(grouped(view)) for view in report.programs]
    assert sum(map(len, found)) == COUNTS[name]


SUMS = {
    "cross entropy of probabilities": lambda x, p: F.cross_entropy(x, p, label_smoothing=0.1),
    "cross entropy of one": lambda x, p: F.cross_entropy(x[0], (p[0, 0] * 0).long(), weight=p[0]),
    "entropy": lambda x, p: -(x.softmax(1) * x.log_softmax(1)).sum(),
    "of columns": lambda x, p: x.softmax(0).pow(2).sum(),
    "layer norm": lambda x, p: F.layer_norm(x, (7,)).abs().mean(),
}


@pytest.mark.parametrize("name", SUMS)
def test_a_sum_of_what_rows_are_reduced_for_is_in_their_kernel(name: str) -> None:
    """It reduces other axes than they do, and so is a sum of sums of rows."""
    x = (lazyt.arange(42.0).view(6, 7) * 0.7).sin()
    p = (x * 2).softmax(1)
    p.tolist()
    (view,) = lazyt.explain(lambda: SUMS[name](x, p)).programs
    assert len(calls(grouped(view))) == 1
    assert {g.kind for g in grouped(view).groups} <= {"loops", "constant"}


SEVERAL = {
    "layer norm": lambda x: F.layer_norm(x, (6,)),
    "batch norm": lambda x: F.batch_norm(x, None, None, training=True),
    "max pool": lambda x: F.max_pool2d(x, 2),
    "max": lambda x: x.max(dim=1).values,
}


@pytest.mark.parametrize("device", ["cpu", "cuda"])
@pytest.mark.parametrize("name", SEVERAL)
def test_what_a_later_backward_reads_is_written_by_the_same_kernel(name: str, device: str) -> None:
    """A loss that is read before its backward keeps operations of several results whole."""
    x = (lazyt.arange(4 * 3 * 36.0).view(4, 3, 6, 6) * 0.3).sin().requires_grad_()
    x.tolist()
    (view,) = lazyt.explain(lambda: SEVERAL[name](x)).programs
    graph = view.traced
    assert any(v.type.__class__ is tuple for v in graph.outputs)
    if device != "cpu":
        graph = placed(graph, "cuda:0")[0]
    grouping = loop_nests(optimize(graph)[0], native=device == "cpu")
    assert [g.kind for g in grouping.groups if g.kind != "constant"] == ["loops"]
    assert len(calls(grouping)) == 1


@pytest.mark.parametrize("name", ["SGD", "Adam"])
def test_parameters_of_one_element_share_a_call(name: str) -> None:
    """Their kernel loops over nothing and is not that of their neighbours, wherever they stand."""
    kind = getattr(lazyt.optim, name)
    shapes = ((4, 3), (1,), (5,), ())
    step = loop_programs.optimizer(lambda p: kind(p, lr=0.1, weight_decay=0.1), shapes=shapes)
    (view,) = lazyt.explain(step).programs
    assert sorted(map(len, calls(grouped(view)))) == [30, 30]


def test_a_refusal_says_why() -> None:
    def two_ways() -> object:
        x = loop_programs.table()
        return (x * 2).sum(0), (x * 2).sum(1)

    view = lazyt.explain(two_ways).programs[0]
    reasons = [r.reason for r in grouped(view).refusals]
    assert any("one reduces the axes [0], the other [1]" in r for r in reasons), reasons


def test_text_has_no_extents() -> None:
    """Kernels that differ in their extents are one text: a ragged batch compiles nothing."""
    texts = set()
    x = loop_programs.table()
    x.tolist()
    for rows in (64, 48, 7):

        def step(rows: int = rows) -> object:
            return lazyt.softmax(x[:rows], -1)

        for view in lazyt.explain(step).programs:
            texts |= {b[0].c.text for b in calls(grouped(view)) if b[0].kernel.axes}
    assert len(texts) == 1


def test_a_training_step_of_the_digits_network() -> None:
    """Besides products and convolutions: 4 forward, 2 of the loss, 4 backward with the updates of
    the biases, 2 of the other updates, and 2 pools both ways."""
    (view,) = lazyt.explain(loop_programs.lenet_step()).programs
    grouping = grouped(view)
    single = [g.values[0].op.name for g in grouping.groups if g.kind not in ("loops", "constant")]
    assert [name for name in single if not name.startswith(("matmul", "conv"))] == []
    assert len(calls(grouping)) == 16


@pytest.mark.parametrize("spread", [False, True])
def test_nests_of_one_call_follow_each_other(spread: bool) -> None:
    """Memory is planned in the order of the graph, in which nests of one text stand together."""
    arrays = [lazyt.ones(n, 4).clone() for n in (5, 6, 7)]
    factors = [lazyt.ones(*shape).clone() for shape in ((5, 4), (4,) if spread else (6, 4), (7, 4))]
    for a in (*arrays, *factors):
        a.tolist()

    def step() -> object:
        return [a * b + 1 for a, b in zip(arrays, factors)]

    (view,) = lazyt.explain(step).programs
    assert [len(call) for call in calls(grouped(view))] == ([2, 1] if spread else [3])


@pytest.mark.parametrize("name", ["Adam", "AdamW", "NAdam", "RMSprop", "Adagrad"])
def test_the_numbers_of_an_optimizer_are_computed_by_no_kernel(name: str) -> None:
    """Its counts of steps lie on the host and are known, wherever the parameters are."""
    weights = [lazyt.ones(3, 4, requires_grad=True) for _ in range(5)]
    optimizer = getattr(lazyt.optim, name)(weights)
    for _ in range(3):
        optimizer.zero_grad()
        lazyt.stack(weights).pow(2).sum().backward()
        optimizer.step()
    steps = [optimizer.state[w]["step"] for w in weights]
    assert {node_of(t).op.name for t in steps} == {"data"}
    assert [t.item() for t in steps] == [3] * 5
