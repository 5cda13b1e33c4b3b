"""Facts about speed, counted exactly and never timed: hits, plans, kernels, memory, donation.

with counted() as made:
    f(x).item()
made["hits"] == 1, made["by_op"]["matmul"] == 2
"""

from __future__ import annotations

import gc
import math
import operator
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest

import lazyt as torch
from lazyt.ir.node import FLUSH_NODES, Node
from lazyt.runtime import cache, donation
from lazyt.runtime import drain as runtime
from lazyt.runtime.cache import CACHE, UNPAID
from lazyt.runtime.stats import COUNTERS

F = torch.nn.functional


@pytest.fixture(autouse=True)
def _no_plans() -> None:
    runtime.drain()
    runtime.clear_plans()


@contextmanager
def counted() -> Iterator[dict[str, Any]]:
    """What the counters gained inside; `by_op` without the zeros."""
    found: dict[str, Any] = {}
    runtime.drain()
    before = COUNTERS.snapshot()
    yield found
    after = COUNTERS.snapshot()
    for name, value in after.items():
        if name == "by_op":
            gained = {op: n - before["by_op"].get(op, 0) for op, n in value.items()}
            found["by_op"] = {op: n for op, n in gained.items() if n}
        elif isinstance(value, int):
            found[name] = value - before[name]


def plans_of(run: Callable[[int], Any], times: int) -> list[str]:
    """How each of several drains got its values: "new", "miss" or "hit"."""
    kinds = []
    for i in range(times):
        with counted() as made:
            run(i)
        kinds.append("new" * made["evaluated"] + "miss" * made["misses"] + "hit" * made["hits"])
    return kinds


def small_network() -> tuple[Any, Any, Callable[[], Any]]:
    w1 = torch.randn(6, 5, requires_grad=True)
    w2 = torch.randn(5, 3, requires_grad=True)
    x, y = torch.randn(4, 6), torch.randn(4, 3)

    def loss() -> Any:
        return (((x @ w1).tanh() @ w2 - y) ** 2).mean()

    return w1, w2, loss


# --- a hit ----------------------------------------------------------------------------------------


def test_first_sighting_evaluates_second_compiles_third_hits() -> None:
    x = torch.randn(3, 4)
    kinds = plans_of(lambda i: (x.exp() * 2).sum().item(), 5)
    assert kinds == ["new", "miss", "hit", "hit", "hit"]


def test_hit_rewrites_nothing() -> None:
    w1, w2, loss = small_network()

    def step() -> None:
        value = loss()
        value.backward()
        with torch.no_grad():
            for w in (w1, w2):
                w -= 0.1 * w.grad
                w.grad = None
        value.item()

    for _ in range(4):
        step()
    with counted() as made:
        for _ in range(10):
            step()
    assert (made["hits"], made["drains"]) == (10, 10)
    assert made["passes"] == made["misses"] == made["evaluated"] == made["compiler_calls"] == 0
    assert made["by_op"]["matmul"] == 10 * 5  # two forward, three backward: x needs no gradient


def test_evaluating_and_running_a_plan_count_the_same_kernels() -> None:
    x = torch.randn(3, 4)
    tables = []
    for _ in range(3):
        with counted() as made:
            (x.reshape(4, 3) @ x).sum().item()
        tables.append(made["by_op"])
    assert tables[0] == tables[1] == tables[2] == {"matmul": 1, "sum": 1}


# --- numbers --------------------------------------------------------------------------------------


def test_learning_rate_schedule_makes_one_plan() -> None:
    w, g = torch.randn(5), torch.randn(5)
    rates = [0.1 * 0.9**i for i in range(12)]
    expected = w.numpy().copy()

    def step(i: int) -> None:
        w.sub_(g * rates[i])
        w[0].item()

    kinds = plans_of(step, 12)
    assert kinds == ["new", "miss"] + ["hit"] * 10
    for rate in rates:
        expected = expected - g.numpy() * np.float32(rate)
    np.testing.assert_allclose(w.numpy(), expected, rtol=1e-6)


def test_number_that_starts_to_change_makes_one_more_plan_and_never_another() -> None:
    x = torch.randn(5)
    rates = [0.5] * 4 + [0.5 + i / 8 for i in range(1, 10)] + [0.5, 0.5]
    kinds = plans_of(lambda i: (x * rates[i]).sum().item(), len(rates))
    assert kinds == ["new", "miss", "hit", "hit", "miss"] + ["hit"] * 10


SPECIAL = [2.0, 0.0, -0.0, 1.0, -1.0, math.inf, -math.inf, math.nan, 5e-324, 1e308]


@pytest.mark.parametrize("symbol", ["+", "-", "*", "/"])
def test_special_numbers_are_told_apart(symbol: str) -> None:
    values = np.array([0.0, -0.0, 1.5, -2.0, np.inf, np.nan])
    x = torch.tensor(values.tolist(), dtype=torch.float64)
    apply = {"+": operator.add, "-": operator.sub, "*": operator.mul, "/": operator.truediv}[symbol]
    misses = 0
    for n in SPECIAL * 3:
        with counted() as made, np.errstate(all="ignore"):
            found = apply(x, n).numpy()
            expected = apply(values, np.float64(n))
        misses += made["misses"]
        np.testing.assert_array_equal(found, expected)
        numbers = ~np.isnan(expected)
        assert (np.signbit(found) == np.signbit(expected))[numbers].all(), n
    # 0.0, -0.0 and the others are three programs; the others share one plan after it was renewed.
    assert misses <= 4


def test_nan_equals_itself() -> None:
    x = torch.randn(3)
    kinds = plans_of(lambda i: (x * float("nan")).sum().item(), 6)
    assert kinds[3:] == ["hit"] * 3
    assert kinds.count("miss") <= 2


def test_kinds_of_numbers_are_told_apart() -> None:
    i = torch.tensor([1, 2, 3])
    f = torch.tensor([1.0, 2.0, 3.0])
    for _ in range(3):
        assert (i * 2).dtype is torch.int64
        assert (i * 2).tolist() == [2, 4, 6]
        assert (i * 2.0).dtype is torch.float32
        assert (i * 2.0).tolist() == [2.0, 4.0, 6.0]
        assert (i * True).tolist() == [1, 2, 3]
        assert (i + True).dtype is torch.int64
        assert (i == True).tolist() == [True, False, False]  # noqa: E712
        assert (i / 2).tolist() == [0.5, 1.0, 1.5]
        assert (f * 1).tolist() == (f * 1.0).tolist() == (f * True).tolist() == [1, 2, 3]


def test_repeating_a_program_repeats_its_bits() -> None:
    """New, compiled and hit add in the same order, also where operands are transposed."""
    torch.manual_seed(3)
    x, w = torch.randn(7, 9), torch.randn(9, 7)

    def run() -> list[float]:
        y = (x.t() * 1.1 + w).sin()
        return [y.sum().item(), y.sum(0)[3].item(), (y / y.sum(1, keepdim=True)).prod().item()]

    turned = (x.t() * 1).t()
    assert run() == run() == run() == run()
    kinds = [(turned.t() + w).sum().item() for _ in range(4)]
    assert kinds == [(x.t() + w).sum().item()] * 4


def test_exponents_and_axes_are_structure() -> None:
    x = torch.tensor([[1.0, 2.0], [3.0, 4.0]])
    for _ in range(3):
        assert (x**2).tolist() == [[1, 4], [9, 16]]
        assert (x**3).tolist() == [[1, 8], [27, 64]]
        assert (x**0).tolist() == [[1, 1], [1, 1]]
        assert x.sum(0).tolist() == [4, 6]
        assert x.sum(1).tolist() == [3, 7]


# --- slices ---------------------------------------------------------------------------------------


def test_batches_at_any_offset_share_one_plan() -> None:
    data = torch.arange(40.0).reshape(20, 2)
    kinds = plans_of(lambda i: (data[i : i + 2] * 3).sum().item(), 8)
    assert kinds == ["new", "miss"] + ["hit"] * 6
    assert (data[7:9] * 3).sum().item() == 3 * (14 + 15 + 16 + 17)


def test_rows_and_windows_written_at_any_offset_share_one_plan() -> None:
    x = torch.zeros(10, 3)

    def write(i: int) -> None:
        x[i] = i + 1.0
        x[i, 0].item()

    kinds = plans_of(write, 8)
    assert kinds == ["new", "miss"] + ["hit"] * 6
    assert x[:, 1].tolist() == [1, 2, 3, 4, 5, 6, 7, 8, 0, 0]


def test_another_shape_is_another_program() -> None:
    data = torch.arange(40.0)
    kinds = plans_of(lambda i: (data[: 5 + i % 2] * 3).sum().item(), 8)
    assert kinds == ["new", "new", "miss", "miss"] + ["hit"] * 4


def test_places_given_as_tensors_cut_no_program() -> None:
    """The rows of a batch whose places a tensor says: one program, not one a row."""
    data = torch.arange(40)

    def batch(i: int) -> None:
        places = torch.tensor([0, i, 2 * i + 3])
        rows = torch.stack([data[p : p + 2] for p in places])
        assert rows.sum().item() == 2 * (3 * i + 3) + 3

    for i in range(3):
        batch(i)
    with counted() as made:
        batch(7)
    assert (made["drains"], made["hits"], made["misses"]) == (1, 1, 0)


@pytest.mark.parametrize(
    "text, drains",
    [
        ("x[1]", 0),
        ("x[1] + 2", 0),
        ("2 * x[1] - 1", 0),
        ("x[1] > 3", 0),
        ("x[1] / 2", 1),  # not an integer
        ("x.max()", 1),  # not of a few numbers only
        ("x[1] + x[1] * x[2] - x[0]", 1),  # too many steps
        ("sum([1] * 2000, x[0])", 1),
        ("x[:1] + 1", 0),
    ],
)
def test_whole_numbers_of_a_few_steps_need_no_plan(text: str, drains: int) -> None:
    x, y = torch.tensor([3, 5, 7]), torch.rand(3)
    with counted() as made:
        pending = y.exp()
        value = eval(text, {"x": x}).item()
    assert value == eval(text, {"x": np.array([3, 5, 7])})
    assert made["drains"] == drains
    assert made["by_op"].get("exp", 0) == drains  # the rest of the trace stays pending
    assert pending.sum().item() > 3


def test_whole_number_that_fails_names_the_line() -> None:
    """What the evaluator cannot compute is left to the drain, which says where it stands."""
    x = torch.tensor([3, 0])
    y = x[0] // x[1]
    with pytest.raises(RuntimeError, match="ZeroDivisionError.*\n.*test_facts.py"):
        y.item()


# --- liveness -------------------------------------------------------------------------------------


def test_what_nobody_holds_is_not_computed() -> None:
    x = torch.randn(4, 4)
    for _ in range(3):
        with counted() as made:
            wasted = (x @ x).exp().sum()
            del wasted
            kept = x + 1
            kept.sum().item()
        assert made["by_op"] == {"add": 1, "sum": 1}
        assert made["dead"] >= 3


def test_what_is_held_is_computed_with_what_is_read() -> None:
    x = torch.randn(4)
    with counted() as made:
        held = x.exp()
        (x + 1).sum().item()
    assert made["by_op"] == {"add": 1, "exp": 1, "sum": 1}
    with counted() as made:
        held.sum().item()
    assert made["by_op"] == {"sum": 1}


def test_only_what_is_held_keeps_its_value() -> None:
    x = torch.randn(4)
    for _ in range(4):
        middle = x.exp()
        node = middle._node
        total = (middle * 2).sum()
        total.item()
        assert node.value is not None
        assert total._node.src == ()  # what it was computed from is forgotten
        del middle, node
        before = live_nodes()
        ((x.exp() * 2).sum()).item()
        assert live_nodes() <= before


# --- reading in the middle ------------------------------------------------------------------------


def kernels(build: Callable[[bool], Any], read: bool, rounds: int = 4) -> list[dict[str, int]]:
    tables = []
    for _ in range(rounds):
        with counted() as made:
            build(read)
        tables.append(made["by_op"])
    return tables


COSTLY = ("matmul", "conv", "conv_input", "conv_weight", "max_pool", "sum", "log_softmax", "exp")


def costly(table: dict[str, int]) -> dict[str, int]:
    return {op: n for op, n in table.items() if op in COSTLY}


def test_reading_between_forward_and_backward_computes_nothing_twice() -> None:
    w1, w2, loss = small_network()

    def step(read: bool) -> None:
        value = loss()
        if read:
            value.item()
        value.backward()
        if read:
            w1.grad.sum().item()
        w2.grad[0, 0].item()
        w1.grad = w2.grad = None

    plain, reading = kernels(step, False), kernels(step, True)
    for quiet, loud in zip(plain, reading, strict=True):
        assert quiet["matmul"] == loud["matmul"] == 5
        assert loud["sum"] == quiet["sum"] + 1  # the sum that was read


def test_reading_every_layer_of_a_convolutional_network() -> None:
    w = torch.randn(4, 1, 3, 3, requires_grad=True)
    v = torch.randn(36, 5, requires_grad=True)
    x, target = torch.randn(2, 1, 8, 8), torch.tensor([1, 3])

    def step(read: bool) -> None:
        layers = [F.conv2d(x, w)]
        layers.append(F.relu(layers[-1]))
        layers.append(F.max_pool2d(layers[-1], 2))
        layers.append(layers[-1].reshape(2, -1) @ v)
        layers.append(F.cross_entropy(layers[-1], target))
        if read:
            for y in layers:
                y.tolist()
        layers[-1].backward()
        w.grad.tolist(), v.grad.tolist()
        w.grad = v.grad = None

    plain, reading = kernels(step, False), kernels(step, True)
    for quiet, loud in zip(plain, reading, strict=True):
        assert costly(quiet) == costly(loud)
        assert quiet["conv"] == 1 and quiet["conv_weight"] == 1 and quiet["matmul"] == 3


def test_printing_in_a_loop_draws_nothing_again() -> None:
    for _ in range(3):
        x = torch.rand(5)
        first = x.tolist()
        y = (x * 2).tolist()
        assert x.tolist() == first
        assert y == [2 * v for v in first]


def test_wanted_sets_grow_to_their_union() -> None:
    x = torch.randn(4)
    held: list[Any] = []

    def run(i: int) -> None:
        a = x.exp()
        b = a + 1
        total = b.sum()
        held[:] = [[], [a], [b], [a, b]][i % 4]
        del a, b
        total.item()

    kinds = plans_of(run, 12)
    assert kinds[4:] == ["hit"] * 8
    assert kinds.count("miss") <= 3
    assert len(CACHE.programs) == 1


# --- memory ---------------------------------------------------------------------------------------


def live_nodes() -> int:
    gc.collect()
    return sum(1 for o in gc.get_objects() if type(o) is Node)


def test_plans_that_are_never_used_are_not_made_by_the_hundred() -> None:
    """Text that grows by a token is another program each time, however often it is written."""
    data = torch.arange(200.0)
    lengths = range(1, 101)

    def texts() -> dict[str, Any]:
        with counted() as made:
            for n in lengths:
                assert (data[:n] * 2).sum().item() == n * (n - 1)
        return {name: made[name] for name in ("evaluated", "misses", "hits")}

    assert texts() == {"evaluated": 100, "misses": 0, "hits": 0}
    assert texts() == {"evaluated": 100 - UNPAID, "misses": UNPAID, "hits": 0}
    third = texts()  # those that come round again pay for others
    assert third["hits"] == UNPAID and third["misses"] == 2 * UNPAID
    while (again := texts())["evaluated"]:
        assert again["hits"] > third["hits"]
        third = again
    assert texts() == {"evaluated": 0, "misses": 0, "hits": 100}


def test_loop_without_reads_holds_memory_and_plans_flat() -> None:
    w = torch.zeros(3)
    g = torch.ones(3)

    def steps(count: int) -> None:
        for _ in range(count):
            w.add_(g)

    steps(3 * FLUSH_NODES)
    sizes, programs = [], len(CACHE.programs)
    with counted() as made:
        for _ in range(4):
            steps(2 * FLUSH_NODES)
            sizes.append(live_nodes())
    assert max(sizes) <= 2 * FLUSH_NODES + 500
    assert sizes[-1] <= sizes[0] + FLUSH_NODES
    assert made["evaluated"] + made["misses"] <= 1  # the drain that `counted` itself asks for
    assert len(CACHE.programs) <= programs + 1
    assert w.tolist() == [11.0 * FLUSH_NODES] * 3


def test_training_without_reads_holds_memory_and_plans_flat() -> None:
    w1, w2, loss = small_network()

    def steps(count: int) -> None:
        for _ in range(count):
            loss().backward()
            with torch.no_grad():
                for w in (w1, w2):
                    w -= 0.01 * w.grad
                    w.grad = None

    steps(400)
    programs, sizes = len(CACHE.programs), []
    with counted() as made:
        for _ in range(3):
            steps(200)
            sizes.append(live_nodes())
    assert made["evaluated"] + made["misses"] <= 1
    assert made["drains"] >= 3
    assert len(CACHE.programs) <= programs + 1
    assert max(sizes) <= 3 * FLUSH_NODES


def test_statistics_collected_in_a_list_hold_only_their_values() -> None:
    p, y = torch.randn(8, 3), torch.tensor([0, 1, 2, 0, 1, 2, 0, 1])
    found = []

    def steps(count: int) -> None:
        for _ in range(count):
            found.append((p.argmax(1) == y).float().mean())

    steps(2000)
    torch.stack(found[-2:]).sum().item()
    before = live_nodes()
    with counted() as made:
        steps(2000)
        found[-1].item()
    assert live_nodes() - before <= 2 * 2000 + 100  # one node a value that is held, two at most
    assert all(t._node.value is not None for t in found)
    assert len(CACHE.programs) < 12
    assert made["drains"] < 40


def test_plan_cache_is_bounded_in_bytes(monkeypatch) -> None:
    bound = 200_000
    monkeypatch.setattr(cache, "PLAN_BYTES", bound)
    for n in range(1, 60):
        for _ in range(3):
            x = torch.ones(100 + n, 10)
            total = (x.exp().sin() * 2).sum(0).cumsum(0)[-1]
            assert total.item() == pytest.approx(20 * (100 + n) * math.sin(math.e), rel=1e-4)
            assert CACHE.nbytes <= bound
    assert len(CACHE.programs) < 59
    assert CACHE.nbytes == sum(p.size for p in CACHE.programs.values())


def test_programs_that_come_once_are_bounded_in_number(monkeypatch) -> None:
    monkeypatch.setattr(cache, "PROGRAMS", 40)
    for n in range(1, 100):
        assert torch.ones(n).sum().item() == n
        assert len(CACHE.programs) <= 41


# --- donation -------------------------------------------------------------------------------------


@pytest.fixture
def donations(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Whether each donor of each plan that ran was given up."""
    flags: list[bool] = []
    original = donation.gives_up

    def watched(*args: Any) -> bool:
        given = original(*args)
        flags.append(given)
        return given

    monkeypatch.setattr(donation, "gives_up", watched)
    return flags


def address(t: Any) -> int:
    return t._storage.node.value.ctypes.data


def test_update_loop_stays_in_its_buffer(donations: list[bool]) -> None:
    w, g = torch.zeros(1000), torch.ones(1000)
    addresses = []
    for _ in range(8):
        w.add_(g, alpha=0.5)
        w[0].item()
        addresses.append(address(w))
    assert len(set(addresses[2:])) == 1
    assert donations and all(donations)
    assert w.tolist() == [4.0] * 1000


def update_while(hold: Callable[[Any], Any]) -> list[float]:
    """Updates a tensor while what `hold(w)` gave is alive; the first element of that each time."""
    w, g = torch.zeros(50), torch.ones(50)
    seen = []
    for i in range(6):
        held = hold(w)
        w.add_(g)
        assert w.tolist() == [i + 1.0] * 50
        seen.append(float(held[0]))
        del held
    return seen


OLD, NEW = [0, 1, 2, 3, 4, 5], [1, 2, 3, 4, 5, 6]


def test_copies_keep_the_old_value() -> None:
    assert update_while(lambda w: w.clone()) == OLD
    assert update_while(lambda w: w.detach().numpy().copy()) == OLD
    assert update_while(lambda w: w + 0) == OLD
    assert update_while(lambda w: w.clone().detach()[:2]) == OLD


def test_aliases_see_the_new_value() -> None:
    assert update_while(lambda w: w.detach()) == NEW
    assert update_while(lambda w: w.data) == NEW
    assert update_while(lambda w: w[:3]) == NEW
    assert update_while(lambda w: w.detach().numpy()) == NEW
    assert update_while(lambda w: w.view(5, 10)[0].numpy()) == NEW


def test_value_that_a_node_holds_is_not_donated(donations: list[bool]) -> None:
    """A node held from outside stands for what history saved, or another program reads."""
    w, g = torch.zeros(50), torch.ones(50)
    for _ in range(4):
        w.add_(g)
        w[0].item()
    assert donations and all(donations)
    donations.clear()
    for i in range(4, 8):
        node = w._storage.node
        w.add_(g)
        w[0].item()
        assert node.value.tolist() == [float(i)] * 50
        del node
    assert donations and not any(donations)
    assert w.tolist() == [8.0] * 50


def test_history_keeps_the_old_value() -> None:
    w, g = torch.zeros(50), torch.ones(50)
    v = torch.full((50,), 2.0, requires_grad=True)
    for i in range(5):
        product = (w * v).sum()  # saves w's value for v's gradient
        saved = w._node
        w = w + g
        w[0].item()
        assert saved.value.tolist() == [float(i)] * 50
        product.backward()
    assert v.grad.tolist() == [0.0 + 1 + 2 + 3 + 4] * 50
    assert w.tolist() == [5.0] * 50


def test_array_that_is_out_sees_every_write() -> None:
    w, g = torch.zeros(50), torch.ones(50)
    array = w.numpy()
    for i in range(5):
        w.add_(g)
        assert array[0] == i + 1
        assert w.tolist() == [i + 1.0] * 50


def test_detached_snapshot_taken_as_an_array_is_left_alone() -> None:
    w, g = torch.zeros(50), torch.ones(50)
    arrays = []
    for _ in range(5):
        arrays.append((w + 0).numpy())
        w.add_(g)
        w[0].item()
    assert [a[3] for a in arrays] == [0, 1, 2, 3, 4]


def test_views_follow_the_buffer_they_are_views_of() -> None:
    w, g = torch.zeros(4, 5), torch.ones(4, 5)
    row, turned = w[1], w.t()
    for i in range(5):
        w.add_(g)
        assert row.tolist() == [i + 1.0] * 5
        assert turned[0].tolist() == [i + 1.0] * 4


def test_data_that_somebody_kept_is_not_overwritten() -> None:
    w = torch.zeros(6, requires_grad=True)
    for i in range(5):
        old = w.data * 1
        loss = ((w - 1) ** 2).sum()
        loss.backward()
        with torch.no_grad():
            w -= 0.25 * w.grad
        w.grad = None
        w[0].item()
        assert old[0].item() == pytest.approx(1 - 0.5**i)
    assert w[0].item() == pytest.approx(1 - 0.5**5)


def test_swapped_buffers_alternate() -> None:
    a, b = torch.zeros(100), torch.ones(100)
    for _ in range(6):
        a, b = b, a + b
        a[0].item(), b[0].item()
    assert (a[0].item(), b[0].item()) == (8, 13)


def test_optimizer_steps_keep_their_buffers() -> None:
    w1, w2, loss = small_network()
    optimizer = torch.optim.SGD([w1, w2], lr=0.05, momentum=0.9)
    seen = []
    for _ in range(8):
        optimizer.zero_grad()
        value = loss()
        value.backward()
        optimizer.step()
        value.item()
        seen.append((address(w1), address(w2)))
    assert len(set(seen[3:])) == 1
