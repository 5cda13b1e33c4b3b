"""Drawing on a device: what `torch.rand(…, device="cuda")`, dropout and their kin compute.

The numbers are those of `functions/device_draws.py`, whose own tests say what they are worth; here
they are compared with its NumPy form on the CPU, and the kernels that draw them are counted.
"""

from __future__ import annotations

import math
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from devices import pretended_gpus

import lazyt as torch
from lazyt.dispatch import wrap
from lazyt.functions import device_draws as draws
from lazyt.functions.device_draws import Stream
from lazyt.ir.dtypes import float32, float64, int32, int64
from lazyt.ir.node import Node
from lazyt.ir.types import TensorType
from lazyt.nn import functional as F
from lazyt.runtime.drain import clear_plans
from lazyt.runtime.philox import PhiloxGenerator
from lazyt.runtime.plan import ON_COMPILE, Plan

SEED = 0xFEDCBA9876543210
GPU = "cuda:0"


@pytest.fixture
def compiled() -> Iterator[list[Plan]]:
    """The plans that are made during a test."""
    clear_plans()
    plans: list[Plan] = []
    ON_COMPILE.append(plans.append)
    yield plans
    ON_COMPILE.remove(plans.append)


def calls_of(plan: Plan) -> list[str]:
    """What a plan's source calls besides making memory and showing views."""
    names = (line.split("(")[0].split()[-1] for line in plan.code.source.splitlines()[1:-1])
    return [n for n in names if n[0] in "kg" or n in ("by_host", "moved", "copied")]


def draws_in(plan: Plan) -> list[int]:
    """How many words of Philox each nest of a plan computes."""
    return [nests[0].cuda.text.count("lz_philox(") for nests in plan.code.nests]


def on_cpu(draw: Callable[[Stream], Node], offset: int = 0, order: Any = None) -> np.ndarray:
    """The same draw on the CPU."""
    return wrap(draw(Stream(PhiloxGenerator(SEED).set_offset(offset), order))).numpy()


# --- values ---------------------------------------------------------------------------------------

SHAPE = (6, 50)
T = TensorType.of(SHAPE, float32)
SAME: dict[str, tuple[Callable[[], Any], Callable[[Stream], Node]]] = {
    "rand": (lambda: torch.rand(SHAPE, device=GPU), lambda s: draws.uniform(s, T)),
    "rand double": (
        lambda: torch.rand(SHAPE, device=GPU, dtype=torch.float64),
        lambda s: draws.uniform(s, T.with_dtype(float64)),
    ),
    "randint": (
        lambda: torch.randint(-3, 9, SHAPE, device=GPU),
        lambda s: draws.integers(s, T.with_dtype(int64), -3, 9),
    ),
    "randint wide": (
        lambda: torch.randint(1 << 40, SHAPE, device=GPU),
        lambda s: draws.integers(s, T.with_dtype(int64), 0, 1 << 40),
    ),
    "random_": (
        lambda: torch.empty(SHAPE, dtype=torch.int32, device=GPU).random_(),
        lambda s: draws.integers(s, T.with_dtype(int32), 0, 1 << 31),
    ),
    "random_ of bool": (
        lambda: torch.empty(SHAPE, dtype=torch.bool, device=GPU).random_().int(),
        lambda s: draws.integers(s, T.with_dtype(int32), 0, 2),
    ),
    "random_ everything": (
        lambda: torch.empty(SHAPE, dtype=torch.int64, device=GPU).random_(-(2**63), None),
        lambda s: draws.integers(s, T.with_dtype(int64), -(2**63), 2**63),
    ),
    "bernoulli_": (
        lambda: torch.empty(SHAPE, device=GPU).bernoulli_(0.3),
        lambda s: draws.bernoulli(s, T, 0.3),
    ),
    "uniform_": (
        lambda: torch.empty(SHAPE, device=GPU).uniform_(2, 5),
        lambda s: draws.uniform(s, T, 2.0, 5.0),
    ),
    "randperm": (
        lambda: torch.randperm(50, device=GPU),
        lambda s: draws.permutation(s, TensorType.of((50,), int64)),
    ),
}
CLOSE: dict[str, tuple[Callable[[], Any], Callable[[Stream], Node]]] = {
    "randn": (lambda: torch.randn(SHAPE, device=GPU), lambda s: draws.normal(s, T)),
    "normal_": (
        lambda: torch.empty(SHAPE, device=GPU).normal_(1, 2),
        lambda s: draws.normal(s, T, 1.0, 2.0),
    ),
    "log_normal_": (
        lambda: torch.empty(SHAPE, device=GPU).log_normal_(0.5, 0.25),
        lambda s: draws.log_normal(s, T, 0.5, 0.25),
    ),
    "exponential_": (
        lambda: torch.empty(SHAPE, device=GPU).exponential_(2),
        lambda s: draws.exponential(s, T, 2.0),
    ),
    "geometric_": (
        lambda: torch.empty(SHAPE, device=GPU).geometric_(0.2),
        lambda s: draws.geometric(s, T, 0.2),
    ),
    "cauchy_": (
        lambda: torch.empty(SHAPE, device=GPU).cauchy_(1, 2),
        lambda s: draws.cauchy(s, T, 1.0, 2.0),
    ),
    "normal": (
        lambda: torch.normal(torch.ones(SHAPE, device=GPU), 3.0),
        lambda s: draws.normal(s, T, 1.0, 3.0),
    ),
}


@pytest.mark.gpu
@pytest.mark.parametrize("name", [*SAME, *CLOSE])
def test_a_device_draws_what_numpy_computes(name: str) -> None:
    """Whole numbers and uniforms to the bit; a logarithm of the device may round otherwise."""
    draw, expected = (SAME | CLOSE)[name]
    torch.cuda.manual_seed(SEED)
    first, second = draw(), draw()
    for offset, found in ((4, second), (0, first)):
        right = on_cpu(expected, offset)
        if name in SAME:
            assert found.cpu().numpy().tolist() == right.tolist()
        else:
            np.testing.assert_allclose(found.cpu().numpy(), right, rtol=2e-4, atol=2e-5)


@pytest.mark.gpu
def test_draws_fill_memory_in_its_order() -> None:
    torch.manual_seed(1)
    base = torch.rand(3, 5, device=GPU).tolist()
    torch.manual_seed(1)
    shown = torch.empty(3, 5, device=GPU)
    shown.t().uniform_()
    assert shown.tolist() == base
    torch.manual_seed(1)
    assert torch.rand_like(shown.t()).t().tolist() == base
    torch.manual_seed(1)
    assert torch.rand_like(shown).tolist() == base


@pytest.mark.gpu
def test_statistics() -> None:
    n = 1 << 16
    x = torch.randn(n, device=GPU)
    assert abs(x.mean().item()) < 3.3 / math.sqrt(n)
    assert abs(x.var().item() - 1) < 3.3 * math.sqrt(2 / n)
    assert abs((x[1:] * x[:-1]).mean().item()) < 3.3 / math.sqrt(n)
    kept = F.dropout(torch.ones(n, device=GPU), 0.2)
    assert sorted(set(kept.tolist())) == [0.0, 1.25]
    assert abs(kept.mean().item() - 1) < 3.3 * 0.5 / math.sqrt(n)
    counts = torch.randint(10, (n,), device=GPU).bincount(minlength=10).cpu().numpy()
    assert ((counts - n / 10) ** 2 / (n / 10)).sum() < 30
    assert abs(torch.bernoulli(torch.full((n,), 0.3, device=GPU)).mean().item() - 0.3) < 0.006


@pytest.mark.gpu
@pytest.mark.parametrize("replacement", [False, True])
def test_multinomial(replacement: bool) -> None:
    p = torch.tensor([[0.0, 1.0, 3.0, 0.0], [2.0, 2.0, 0.0, 4.0]], device=GPU)
    drawn = [torch.multinomial(p, 2, replacement).tolist() for _ in range(100)]
    assert {i for first, _ in drawn for i in first} == {1, 2}
    assert {i for _, second in drawn for i in second} == {0, 1, 3}
    if not replacement:
        assert all(len(set(row)) == 2 for rows in drawn for row in rows)
    wide = torch.multinomial(p[1], 4000, True).bincount(minlength=4).tolist()
    assert wide[2] == 0 and abs(wide[3] - 2000) < 3.3 * math.sqrt(1000)
    before = torch.cuda.get_rng_state().tolist()
    for wrong in (torch.zeros(3), torch.tensor([1.0, -1.0]), torch.tensor([1.0, math.inf])):
        with pytest.raises(RuntimeError, match="probabilit"):
            torch.multinomial(wrong.to(GPU), 1)
    assert torch.cuda.get_rng_state().tolist() == before


@pytest.mark.gpu
def test_initial_values_of_layers() -> None:
    w = torch.empty(20, 30, device=GPU)
    for name in ("uniform_", "normal_", "trunc_normal_", "xavier_normal_", "kaiming_uniform_"):
        w.zero_()
        torch.manual_seed(2)
        getattr(torch.nn.init, name)(w)
        first = w.tolist()
        assert len({v for row in first for v in row}) > 590
        torch.manual_seed(2)
        assert getattr(torch.nn.init, name)(w).tolist() == first
    product = (torch.nn.init.orthogonal_(w) @ w.t()).cpu()
    assert torch.allclose(product, torch.eye(20), atol=1e-5)
    assert torch.nn.Linear(3, 4, device=GPU).weight.device.type == "cuda"


@pytest.mark.gpu
def test_half_precision_and_nothing() -> None:
    for dtype in (torch.float16, torch.bfloat16):
        x = torch.rand(1000, dtype=dtype, device=GPU)
        assert x.dtype is dtype and x.min().item() >= 0 and x.max().item() < 1
    assert torch.rand(0, 3, device=GPU).tolist() == []
    assert 0 <= torch.rand((), device=GPU).item() < 1
    assert torch.multinomial(torch.ones(0, 3, device=GPU), 2).shape == (0, 2)


# --- programs -------------------------------------------------------------------------------------


@pytest.mark.gpu
@pytest.mark.parametrize(
    "step",
    [
        lambda x: F.dropout(x, 0.25),
        lambda x: F.dropout(x, 0.25, inplace=True),
        lambda x: F.alpha_dropout(x, 0.25, True),
        lambda x: F.dropout(x, 0.25).relu() * 2 + x,
        lambda x: x + torch.rand_like(x),
        lambda x: x * torch.bernoulli(x * 0 + 0.5),
        lambda x: torch.empty_like(x).exponential_() + x,
    ],
)
def test_a_draw_and_what_reads_it_are_one_kernel(step: Any, compiled: list[Plan]) -> None:
    x = torch.ones(64, 48, device=GPU)
    torch.cuda.synchronize()
    x.tolist()
    compiled.clear()
    step(x).tolist()
    (plan,) = compiled
    assert calls_of(plan) == ["k0"]
    assert draws_in(plan) == [1]


@pytest.mark.gpu
def test_normals_and_their_reader_are_one_kernel(compiled: list[Plan]) -> None:
    x = torch.ones(64, 48, device=GPU)
    x.tolist()
    compiled.clear()
    (x + 0.1 * torch.randn_like(x)).tolist()
    (plan,) = compiled
    assert calls_of(plan) == ["k0"] and draws_in(plan) == [2]


@pytest.mark.gpu
def test_a_training_loop_with_dropout_has_one_plan(compiled: list[Plan]) -> None:
    torch.manual_seed(0)
    net = torch.nn.Sequential(
        torch.nn.Linear(8, 16), torch.nn.ReLU(), torch.nn.Dropout(0.3), torch.nn.Linear(16, 2)
    ).to(GPU)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    x = torch.randn(32, 8, device=GPU)

    def step() -> float:
        optimizer.zero_grad()
        loss = net(x).square().mean()
        loss.backward()
        optimizer.step()
        return loss.item()

    step(), step()
    compiled.clear()
    before = torch.stats()
    losses = {step() for _ in range(5)}
    after = torch.stats()
    assert len(losses) == 5
    assert not compiled and after["misses"] == before["misses"]
    assert after["hits"] - before["hits"] == 5
    assert torch.cuda.default_generators[0].get_offset() == 4 * 8


@pytest.mark.gpu
def test_another_seed_is_the_same_program(compiled: list[Plan]) -> None:
    def draw() -> Any:
        return torch.rand(7, device=GPU).tolist()

    torch.manual_seed(1)
    first = draw()
    compiled.clear()
    torch.manual_seed(SEED)
    assert draw() != first
    torch.cuda.default_generators[0].set_offset(1 << 40)
    draw()
    torch.manual_seed(1)
    assert draw() == first
    assert not compiled


@pytest.mark.gpu
def test_a_draw_never_changes() -> None:
    """Read now or later, by one program or several, whatever is drawn and seeded meanwhile."""
    torch.manual_seed(3)
    x, y = torch.rand(40, device=GPU), torch.rand(40, device=GPU)
    torch.manual_seed(9)
    late = y.tolist()
    first = x.tolist()
    total = (x + 1).sum().item()
    assert x.tolist() == first and (x + 1).sum().item() == total
    torch.manual_seed(3)
    assert [torch.rand(40, device=GPU).tolist() for _ in range(2)] == [first, late]


@pytest.mark.gpu
def test_a_backward_of_a_later_program_has_the_same_mask() -> None:
    x = torch.ones(100, device=GPU, requires_grad=True)
    y = F.dropout(x, 0.5)
    kept = y.tolist()
    torch.rand(10, device=GPU).tolist()
    y.sum().backward()
    assert x.grad.tolist() == kept


@pytest.mark.gpu
def test_gradients_pass_a_draw_by() -> None:
    p = torch.full((4,), 0.5, device=GPU, requires_grad=True)
    drawn = torch.bernoulli(p)
    assert drawn.requires_grad
    (drawn * 2).sum().backward()
    assert p.grad.tolist() == [0.0] * 4
    mean = torch.zeros(4, device=GPU, requires_grad=True)
    torch.normal(mean, 1.0).sum().backward()
    assert mean.grad.tolist() == [0.0] * 4


# --- generators -----------------------------------------------------------------------------------


@pytest.mark.gpu
def test_seeds() -> None:
    def draw() -> list:
        return [torch.rand(3, device=GPU).tolist(), torch.randn(2, device=GPU).tolist()]

    torch.manual_seed(0)
    first = draw()
    torch.manual_seed(0)
    assert draw() == first != draw()
    assert torch.cuda.initial_seed() == 0
    on_the_cpu = torch.rand(3).tolist()
    torch.manual_seed(0)
    torch.cuda.manual_seed(5)
    assert torch.cuda.initial_seed() == 5 and torch.initial_seed() == 0
    assert torch.rand(3).tolist() == on_the_cpu  # a stream of its own
    assert draw() != first
    torch.cuda.manual_seed_all(0)
    assert draw() == first
    torch.cuda.seed()
    assert torch.cuda.initial_seed() != 0 and draw() != first
    torch.cuda.seed_all()
    assert torch.seed() == torch.cuda.initial_seed() == torch.initial_seed()


@pytest.mark.gpu
def test_states() -> None:
    torch.cuda.manual_seed(7)
    torch.rand(3, device=GPU)  # never read, and yet drawn
    state = torch.cuda.get_rng_state()
    assert state.dtype is torch.uint8 and state.device.type == "cpu"
    assert state.tolist() == [7, *[0] * 7, 4, *[0] * 7]
    first = torch.randn(5, device=GPU).tolist()
    torch.cuda.set_rng_state(state)
    assert torch.randn(5, device=GPU).tolist() == first
    states = torch.cuda.get_rng_state_all()
    assert len(states) == torch.cuda.device_count()
    torch.cuda.set_rng_state_all([state, *states[1:]])
    assert torch.randn(5, device=GPU).tolist() == first
    generator = torch.Generator(GPU)
    assert generator.initial_seed() == 67280421310721 and generator.get_offset() == 0
    assert generator.set_state(state).initial_seed() == 7
    assert torch.randn(5, device=GPU, generator=generator).tolist() == first
    assert generator.get_state().shape == (16,) and generator.get_offset() == 8
    with pytest.raises(RuntimeError, match="RNG state is wrong size"):
        torch.cuda.set_rng_state(torch.get_rng_state())
    with pytest.raises(RuntimeError, match="CPU Generator does not use offset"):
        torch.default_generator.get_offset()


@pytest.mark.gpu
def test_fork_rng() -> None:
    torch.manual_seed(4)
    torch.rand(1, device=GPU)
    state = torch.cuda.get_rng_state().tolist()
    with torch.random.fork_rng():
        torch.manual_seed(8)
        torch.rand(3, device=GPU)
    assert torch.cuda.get_rng_state().tolist() == state
    assert torch.initial_seed() == 4
    with torch.random.fork_rng(devices=[]):
        torch.rand(3, device=GPU)
    assert torch.cuda.get_rng_state().tolist() != state


@pytest.mark.gpu
def test_failed_draws_leave_the_stream_alone() -> None:
    before = torch.cuda.get_rng_state().tolist()
    leaf = torch.zeros(3, device=GPU, requires_grad=True)
    for draw in (
        leaf.uniform_,
        lambda: torch.randint(3, 3, (2,), device=GPU),
        lambda: torch.zeros(3, device=GPU).normal_(0, -1),
        lambda: torch.normal(torch.zeros(2, device=GPU), torch.tensor([1.0, -1.0]).to(GPU)),
        lambda: torch.randperm(-1, device=GPU),
    ):
        with pytest.raises(RuntimeError):
            draw()
    assert torch.cuda.get_rng_state().tolist() == before


@pytest.mark.gpu
def test_devices_are_independent() -> None:
    if torch.cuda.device_count() < 2:
        pytest.skip("one device only")
    torch.manual_seed(6)
    first = torch.rand(4, device="cuda:0").tolist()
    assert torch.rand(4, device="cuda:1").tolist() == first  # PyTorch seeds all alike
    torch.manual_seed(6)
    with torch.cuda.device(1):
        torch.cuda.manual_seed(7)
    torch.rand(4, device="cuda:1")
    assert torch.rand(4, device="cuda:0").tolist() == first
    assert [g.initial_seed() for g in torch.cuda.default_generators[:2]] == [6, 7]
    x = torch.ones(8, device="cuda:1")
    assert F.dropout(x).device == torch.device("cuda:1")


# --- without a device -----------------------------------------------------------------------------


def test_a_stream_that_was_not_asked_for_begins_with_the_last_seed_of_all() -> None:
    with pretended_gpus(2):
        torch.manual_seed(1)
        with torch.random.fork_rng():
            torch.manual_seed(2)
            made = torch.random.generator_of("cuda:7")
            torch.rand(3, device="cuda:1")
        assert made.initial_seed() == 1 and made.get_offset() == 0
        torch.default_generator.manual_seed(3)
        assert torch.random.generator_of("cuda:8").initial_seed() == 1
        torch.cuda.manual_seed_all(4)
        assert torch.random.generator_of("cuda:9").initial_seed() == 4
        assert made.initial_seed() == 4
    torch.manual_seed(0)


def test_workers_of_a_loader_leave_the_streams_of_devices_alone() -> None:
    class Noise(torch.utils.data.Dataset):
        def __len__(self) -> int:
            return 2

        def __getitem__(self, i: int) -> Any:
            return torch.rand(1)

    generator = torch.random.generator_of(GPU).manual_seed(5)
    list(torch.utils.data.DataLoader(Noise(), num_workers=2))
    assert generator.initial_seed() == 5


def test_seeds_start_no_cuda() -> None:
    text = """
import sys, lazyt as torch
torch.manual_seed(1), torch.cuda.manual_seed(2), torch.cuda.manual_seed_all(3), torch.seed()
with torch.random.fork_rng():
    torch.rand(3).tolist()
print([name for name in sys.modules if name.startswith("lazyt.runtime.cuda")])
"""
    done = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
