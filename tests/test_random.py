"""Random numbers: the values of PyTorch's CPU generator, in every form of drawing them."""

from __future__ import annotations

import copy
import pickle
import types

import pytest
from harness import load
from surface import lines_of, outcome, same

LAZYT = load("lazyt")
# On Intel processors PyTorch takes Bernoulli draws of one probability from another library: those
# numbers are not compared, only what PyTorch draws after them with its own generator would differ.
PREPARATION = """
g = torch.Generator().manual_seed(7)
w = (torch.arange(1., 5.) / 8).requires_grad_()
y = w * 1
x = torch.zeros(3, 4)
big = torch.zeros(5, 8)
half = torch.float16
brain = torch.bfloat16
"""
LINES = r"""
torch.rand(3)
torch.rand(2, 3)
torch.rand((2, 3), dtype=torch.float64)
torch.rand([], dtype=half)
torch.rand(3, dtype=brain)
torch.rand(0)
torch.rand(size=(2,))
torch.rand(2, generator=g)
torch.rand(-1)
torch.rand(2, dtype=torch.int64)
torch.rand(2.5)
torch.rand(2, requires_grad=True)
torch.rand(3, out=torch.empty(3))
torch.randn(3)
torch.randn(5, 7)
torch.randn(16, dtype=torch.float64)
torch.randn(20, dtype=half)
torch.randn(20, dtype=brain)
torch.randn(2, dtype=torch.int32)
(torch.randn(3), torch.randn(2), torch.rand(1), torch.randn(1))
torch.randint(10, (4,))
torch.randint(-3, 4, (2, 3))
torch.randint(low=2, high=5, size=(3,))
torch.randint(high=5, size=(3,))
torch.randint(0, 2**40, (3,))
torch.randint(0, 5, (3,), dtype=torch.float32)
torch.randint(0, 5, (3,), dtype=torch.uint8)
torch.randint(5, 5, (3,))
torch.randint(5, 3, (3,))
torch.randint(0, 300, (3,), dtype=torch.uint8)
torch.randperm(9)
torch.randperm(9, dtype=torch.int32)
torch.randperm(0)
torch.randperm(-1)
torch.randperm(5, generator=g)
torch.rand_like(x)
torch.rand_like(x.t())
torch.randn_like(x, dtype=torch.float64)
torch.randn_like(big.t())
torch.randn_like(torch.zeros(3, dtype=torch.int64))
torch.randint_like(x, 9)
torch.randint_like(x, 2, 9)
torch.randint_like(x.t(), 2, 9, dtype=torch.int64)
torch.normal(0., 1., (3,))
torch.normal(2, 3, size=(20,))
torch.normal(torch.arange(3.), 0.5)
torch.normal(torch.arange(3.), torch.ones(3))
torch.normal(1.0, torch.arange(1., 4.))
torch.normal(torch.zeros(2, 1), torch.ones(3))
torch.normal(torch.zeros(2), -1.)
torch.normal(w, 1.)
torch.normal(torch.zeros(2), torch.ones(3))
torch.bernoulli(torch.linspace(0, 1, 9))
torch.bernoulli(torch.linspace(0, 1, 9, dtype=torch.float64))
torch.bernoulli(torch.rand(3, 4).t())
torch.bernoulli(torch.rand(3, 4)[:, 1:3])
torch.bernoulli(torch.tensor([1.5]))
torch.bernoulli(torch.tensor([1]))
torch.bernoulli(w)
torch.multinomial(torch.tensor([1., 2., 3.]), 2)
torch.multinomial(torch.tensor([1., 2., 3.]), 8, replacement=True)
torch.multinomial(torch.ones(3, 4), 3)
torch.multinomial(torch.ones(3), 4)
torch.multinomial(torch.tensor([0., 0.]), 1)
torch.multinomial(torch.tensor([-1., 2.]), 1)
torch.multinomial(torch.ones(2, 2, 2), 1)
torch.multinomial(torch.ones(3, dtype=torch.int64), 1)
torch.zeros(4).uniform_(2, 5)
torch.zeros(4).uniform_(5, 2)
torch.zeros(4).uniform_(**{"from": 1, "to": 3})
torch.zeros(5).random_(**{"from": 4, "to": 9})
torch.zeros(5).random_(to=9)
x.t().bernoulli_(torch.rand(4, 3)); x = x
torch.zeros(3, 4).t().bernoulli_(torch.rand(3, 4).t())
torch.zeros(4, dtype=torch.int64).uniform_()
torch.zeros(20).normal_(1, 2)
torch.zeros(4).normal_(0, -1)
torch.zeros(4, dtype=half).normal_()
torch.zeros(5).random_()
torch.zeros(5).random_(7)
torch.zeros(5, dtype=torch.int32).random_(-3, 4)
torch.zeros(5, dtype=torch.int64).random_(0, None)
torch.zeros(5, dtype=torch.bool).random_()
torch.zeros(5).random_(4, 4)
torch.zeros(4).bernoulli_(torch.tensor([0., 1., 0.5, 0.5]))
torch.zeros(2, 4).bernoulli_(torch.tensor([0., 1., 0.5, 0.5]))
torch.zeros(4).bernoulli_(2)
torch.zeros(4).exponential_(2)
torch.zeros(4).exponential_(-1)
torch.zeros(4, dtype=torch.float64).geometric_(0.3)
torch.zeros(4).geometric_(0)
torch.zeros(4).log_normal_()
torch.zeros(4).cauchy_(1, 2)
x.t().uniform_()
x.t().normal_()
big.t().normal_()
big[:, 2:5].normal_()
big.t()[1:3].uniform_(); x = big
x[1].uniform_(2, 3); x[:, ::2].normal_()
x[:, 1].random_(9); x
x.expand(2, 3, 4).uniform_()
w.uniform_()
w[0].uniform_()
x = y.uniform_() * w
x = y.exponential_() * w
x = y; y[1:3].normal_()
torch.no_grad()(lambda: w.uniform_())().requires_grad
torch.manual_seed(3).initial_seed()
(torch.manual_seed(5) is torch.default_generator, torch.initial_seed(), torch.random.initial_seed())
(torch.manual_seed(-1).initial_seed(), torch.rand(2))
torch.manual_seed(2**64)
(torch.get_rng_state()[:8], torch.get_rng_state().shape)
torch.set_rng_state(torch.zeros(3, dtype=torch.uint8))
torch.set_rng_state(torch.zeros(5056))
torch.set_rng_state(3)
(g.device.type, g.initial_seed(), g.get_state().shape)
torch.rand(2, generator=3)
"""
# PyTorch lists all its signatures in this error.
LONG_TEXTS = ("torch.rand(2, generator=3)", "torch.rand(2.5)", "torch.set_rng_state(3)")


@pytest.mark.parametrize("line", lines_of(LINES))
def test_drawing(line: str, oracle: types.ModuleType) -> None:
    expected = outcome(oracle, PREPARATION, line)
    actual = outcome(LAZYT, PREPARATION, line)
    if line in LONG_TEXTS:
        expected, actual = expected[:2], actual[:2]
    assert same(expected, actual), f"{expected}\n{actual}"


def test_states_are_continued_by_pytorch(oracle: types.ModuleType) -> None:
    LAZYT.manual_seed(11)
    LAZYT.randn(3)
    state = LAZYT.get_rng_state()
    oracle.set_rng_state(oracle.tensor(state.tolist(), dtype=oracle.uint8))
    assert LAZYT.randn(5).tolist() == oracle.randn(5).tolist()
    LAZYT.set_rng_state(LAZYT.tensor(oracle.get_rng_state().tolist(), dtype=LAZYT.uint8))
    assert LAZYT.randperm(9).tolist() == oracle.randperm(9).tolist()


def test_a_draw_takes_its_place_when_it_is_made() -> None:
    LAZYT.manual_seed(0)
    first, _, third = LAZYT.rand(2), LAZYT.rand(2), LAZYT.rand(2)
    LAZYT.manual_seed(0)
    values = LAZYT.rand(6).tolist()
    assert third.tolist() == values[4:]
    assert first.tolist() == values[:2]


def test_generators_are_copied_and_pickled_with_their_state() -> None:
    generator = LAZYT.Generator().manual_seed(3)
    LAZYT.randn(3, generator=generator)
    copies = [
        copy.deepcopy(generator),
        pickle.loads(pickle.dumps(generator)),
        generator.clone_state(),
    ]
    expected = LAZYT.randn(4, generator=generator).tolist()
    for other in copies:
        assert LAZYT.randn(4, generator=other).tolist() == expected


def test_fork_rng_gives_the_stream_back() -> None:
    LAZYT.manual_seed(2)
    before = LAZYT.get_rng_state().tolist()
    with pytest.raises(KeyError), LAZYT.random.fork_rng():
        LAZYT.rand(5)
        raise KeyError
    assert LAZYT.get_rng_state().tolist() == before
    with LAZYT.random.fork_rng(enabled=False):
        LAZYT.rand(5)
    assert LAZYT.get_rng_state().tolist() != before


def test_a_failed_draw_leaves_the_stream_alone() -> None:
    LAZYT.manual_seed(2)
    before = LAZYT.get_rng_state().tolist()
    leaf = LAZYT.zeros(3, requires_grad=True)
    for draw in (
        leaf.uniform_,
        lambda: LAZYT.randint(3, 3, (2,)),
        lambda: LAZYT.zeros(3).normal_(0, -1),
        lambda: LAZYT.multinomial(LAZYT.zeros(3), 1),
    ):
        with pytest.raises(RuntimeError):
            draw()
    assert LAZYT.get_rng_state().tolist() == before


@pytest.mark.parametrize("draw", ["normal_", "uniform_", "exponential_", "random_", "bernoulli_"])
def test_a_draw_asks_for_writability_before_it_looks_at_its_target(draw: str) -> None:
    """Looking would give the view the history whose absence PyTorch reports."""
    scale = LAZYT.tensor(1.0, requires_grad=True)
    view = LAZYT.ones(2, 3).t()
    view.permute(0, 1).add_(scale)
    with pytest.raises(RuntimeError, match="a leaf Variable that requires grad"):
        getattr(view, draw)()
