"""Recurrent layers, their cells and packed sequences against PyTorch."""

from __future__ import annotations

import copy
import pickle
from collections import Counter

import numpy as np
import pytest
from c_tier import needs_compiler
from layer_tools import numpy_state, same, same_error
from surface import lines_of

import lazyt
import lazyt.nn
from lazyt.nn.utils import rnn
from lazyt.runtime.plan import Plan

LAYERS = lines_of("""
nn.RNN(3, 4)
nn.RNN(3, 4, nonlinearity='relu', bias=False)
nn.RNN(3, 4, 2, 'relu', True, True)
nn.LSTM(3, 4)
nn.LSTM(3, 4, 2, batch_first=True)
nn.LSTM(3, 4, 2, bias=False, bidirectional=True)
nn.LSTM(3, 4, proj_size=2)
nn.LSTM(3, 4, 2, proj_size=2, bidirectional=True, bias=False, batch_first=True)
nn.GRU(3, 4)
nn.GRU(3, 4, 3, batch_first=True, bidirectional=True)
nn.GRU(3, 4, bias=False)
""")


@pytest.mark.parametrize("layer", [*LAYERS, "nn.RNNCell(3, 4)", "nn.RNNCell(3, 4, False, 'relu')",
                                   "nn.LSTMCell(3, 4)", "nn.GRUCell(3, 4, bias=False)",
                                   "nn.LSTM(3, 4, 2, dropout=0.25)"])  # fmt: skip
def test_text_state_and_initial_numbers(layer, oracle):
    same(
        f"m = {layer}\n"
        "result = [str(m), list(m.state_dict()), [n for n, _ in m.named_parameters()],"
        " list(m._parameters), m.extra_repr(), *m.state_dict().values(), torch.rand(2)]",
        oracle,
    )


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("layer", LAYERS)
def test_values_and_gradients(layer, dtype, oracle):
    same(
        f"m = {layer}\n"
        "result = run(m, torch.randn(5, 5, 3))\n"
        "result += run(m, torch.randn(1, 1, 3)) + run(m, torch.randn(4, 3))\n"
        "d = m.num_layers * (2 if m.bidirectional else 1)\n"
        "h = torch.randn(d, 5, m.proj_size or 4)\n"
        "hx = (h, torch.randn(d, 5, 4)) if m.mode == 'LSTM' else h\n"
        "result += run(m, torch.randn(5, 5, 3), hx)\n"
        "cut = lambda t: t[:, 1].detach()\n"
        "hx = tuple(map(cut, hx)) if m.mode == 'LSTM' else cut(hx)\n"
        "result += run(m, torch.randn(4, 3), hx)",
        oracle,
        dtype,
    )


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("layer", LAYERS)
def test_packed_sequences(layer, dtype, oracle):
    same(
        f"m = {layer}\n"
        "x = torch.randn(5, 4, 3, requires_grad=True)\n"
        "result = []\n"
        "for lengths, ordered in ([5, 3, 3, 1], True), ([2, 5, 1, 5], False), ([4] * 4, True):\n"
        "    packed = rnn.pack_padded_sequence(x, torch.tensor(lengths), enforce_sorted=ordered)\n"
        "    result += flat(m(packed))\n"
        "    d = m.num_layers * (2 if m.bidirectional else 1)\n"
        "    h = torch.randn(d, 4, m.proj_size or 4)\n"
        "    hx = (h, torch.randn(d, 4, 4)) if m.mode == 'LSTM' else h\n"
        "    y, last = m(packed, hx)\n"
        "    padded = rnn.pad_packed_sequence(y, batch_first=True)\n"
        "    result += [type(y).__name__, *y, last, *padded]\n"
        "    padded[0].sum().backward()\n"
        "result += [x.grad, *[p.grad for p in m.parameters()]]",
        oracle,
        dtype,
    )


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("cell", ["RNNCell(3, 4)", "RNNCell(3, 4, nonlinearity='relu')",
                                  "LSTMCell(3, 4)", "LSTMCell(3, 4, False)", "GRUCell(3, 4)",
                                  "GRUCell(3, 4, bias=False)"])  # fmt: skip
def test_cells(cell, dtype, oracle):
    same(
        f"m = nn.{cell}\n"
        "pair = isinstance(m, nn.LSTMCell)\n"
        "state = lambda *s: (torch.randn(*s), torch.randn(*s)) if pair else torch.randn(*s)\n"
        "result = run(m, torch.randn(2, 3)) + run(m, torch.randn(2, 3), state(2, 4))\n"
        "result += run(m, torch.randn(3)) + run(m, torch.randn(3), state(4))\n"
        "out = m(torch.randn(2, 3))\n"
        "result += [t.grad_fn.name() for t in (out if pair else [out])]",
        oracle,
        dtype,
    )


def test_dropout_between_layers(oracle):
    text = """
result = []
for kind in (nn.RNN, nn.LSTM, nn.GRU):
    m = kind(3, 4, 3, dropout=0.5, batch_first=True, bidirectional=True)
    x = torch.randn(2, 6, 3)
    result += run(m, x) + [torch.rand(2)]
    result += flat(m(rnn.pack_padded_sequence(x, [6, 2], batch_first=True))) + [torch.rand(2)]
    result += flat(m.eval()(x))
"""
    same(text, oracle)


NAMES = lines_of("""
nn.RNN(3, 4)(x)[0]
nn.GRU(3, 4, bidirectional=True)(x)[0]
nn.RNN(3, 4, batch_first=True)(x)[0]
nn.GRU(3, 4)(x)[1]
nn.LSTM(3, 4)(x)[1][1]
nn.LSTM(3, 4)(x)[0]
nn.LSTM(3, 4, batch_first=True)(x)[0]
nn.LSTM(3, 4, proj_size=2)(x)[0]
nn.LSTM(3, 4)(x[0])[0]
rnn.pack_padded_sequence(x, [5, 2])[0]
rnn.pad_packed_sequence(rnn.pack_padded_sequence(x, [5, 2]))[0]
rnn.pad_packed_sequence(rnn.pack_padded_sequence(x, [5, 2]), True)[0]
rnn.pad_sequence([x, x[:2]])
""")


@pytest.mark.parametrize("line", NAMES)
def test_grad_fn_and_strides(line, oracle):
    same(
        f"x = torch.randn(5, 2, 3, requires_grad=True)\ny = {line}\n"
        "result = [y.grad_fn.name(), y.stride(), y]",
        oracle,
    )


ERRORS = lines_of("""
nn.RNN(3)
nn.LSTM(0, 2)
nn.LSTM(3, 0)
nn.LSTM(3.0, 2)
nn.LSTM(3, 2.5)
nn.GRU(3, 2, 0)
nn.GRU(3, 2, bias=1)
nn.GRU(3, 2, batch_first=None)
nn.LSTM(3, 2, dropout=1.5)
nn.LSTM(3, 2, dropout=True)
nn.LSTM(3, 2, dropout='a')
nn.LSTM(3, 2, proj_size=-1)
nn.LSTM(3, 2, proj_size=2)
nn.RNN(3, 2, proj_size=1)
nn.GRU(3, 2, proj_size=1)
nn.RNN(3, 2, nonlinearity='gelu')
nn.RNNBase('CNN', 3, 2)
nn.RNNBase('LSTM', 3, 2)(torch.randn(2, 2, 3))
nn.RNN(3, 2)(torch.randn(2, 2, 4))
nn.LSTM(3, 2)(torch.randn(2, 2, 3, 1))
nn.RNN(3, 2)(torch.randn(3))
nn.GRU(3, 2)(torch.randn(3))
nn.GRU(3, 2)(torch.randn(2, 2, 3).double())
nn.GRU(3, 2)(torch.ones(2, 2, 3, dtype=torch.int64))
nn.GRU(3, 2)(torch.randn(2, 2, 3), torch.randn(1, 3, 2))
nn.GRU(3, 2)(torch.randn(2, 2, 3), torch.randn(1, 2))
nn.GRU(3, 2)(torch.randn(2, 2, 3), torch.randn(1, 2, 2).double())
nn.LSTM(3, 2, proj_size=1)(torch.ones(2, 2, 3), [torch.zeros(1, 2, 1).half(), torch.ones(1, 2, 2)])
nn.GRU(3, 2)(torch.randn(2, 3), torch.randn(1, 1, 2))
nn.LSTM(3, 2)(torch.randn(2, 2, 3), (torch.randn(1, 2, 2), torch.randn(1, 2, 3)))
nn.LSTM(3, 2)(torch.randn(2, 2, 3), (torch.randn(1, 2, 3), torch.randn(1, 2, 2)))
nn.LSTM(3, 2)(torch.randn(2, 2, 3), (torch.randn(2, 2), torch.randn(1, 2, 2)))
nn.LSTM(3, 2)(torch.randn(2, 3), (torch.randn(1, 1, 2), torch.randn(1, 1, 2)))
nn.LSTM(3, 2)(torch.randn(0, 2, 3))
nn.GRU(3, 2)(torch.randn(0, 2, 3))
nn.GRU(3, 2)(rnn.pack_sequence([torch.randn(2, 4)]))
nn.LSTMCell(3, 2)(torch.randn(2, 2, 3))
nn.LSTMCell(3, 2)(torch.randn(2, 3), (torch.randn(2, 2), torch.randn(1, 2, 2)))
nn.LSTMCell(3, 2)(torch.randn(2, 3), (torch.randn(3, 2), torch.randn(2, 2)))
nn.LSTMCell(3, 2)(torch.randn(2, 4))
nn.GRUCell(3, 2)(torch.randn(2, 3), torch.randn(2, 3))
nn.GRUCell(3, 2)(torch.randn(2, 3), torch.randn(3, 2))
nn.RNNCell(3, 2)(torch.randn(2, 3), torch.randn(2, 2, 2))
nn.RNNCell(3, 2, nonlinearity='sin')(torch.randn(2, 3))
rnn.pack_padded_sequence(torch.randn(3, 2, 1), [1, 3])
rnn.pack_padded_sequence(torch.randn(3, 2, 1), [3, 0])
rnn.pack_padded_sequence(torch.randn(3, 2, 1), [3])
rnn.pack_padded_sequence(torch.randn(0, 2, 1), [3, 1])
rnn.pack_sequence([torch.ones(1), torch.ones(2)])
rnn.pad_packed_sequence(rnn.pack_sequence([torch.ones(3)]), total_length=2)
rnn.pad_sequence(3)
rnn.pad_sequence([])
rnn.pad_sequence([torch.ones(2, 3), torch.ones(2, 2)])
rnn.pad_sequence([torch.ones(2)], padding_side='top')
rnn.unpad_sequence(torch.ones(2, 3), torch.tensor([1]))
rnn.PackedSequence(torch.ones(2))
""")


@pytest.mark.parametrize("line", ERRORS)
def test_errors(line, oracle):
    same_error(line, oracle)


SEQUENCES = lines_of("""
rnn.pad_sequence([a, b, c])
rnn.pad_sequence((a, b, c), batch_first=True, padding_value=-1)
rnn.pad_sequence([a, b, c], True, 2.5, 'left')
rnn.pad_sequence(torch.ones(2, 3))
rnn.pad_sequence([torch.tensor([1, 2]), torch.tensor([3.5])])
rnn.pad_sequence([torch.zeros(0, 2), torch.ones(2, 2)])
rnn.pad_sequence(t for t in (b, c))
tuple(rnn.pack_sequence([a, b, c]))
tuple(rnn.pack_sequence([c, a, b], enforce_sorted=False))
rnn.unpack_sequence(rnn.pack_sequence([c, a, b], enforce_sorted=False))
rnn.pad_packed_sequence(rnn.pack_sequence([c, a, b], False), total_length=6, padding_value=-2)
rnn.pad_packed_sequence(rnn.pack_sequence([a, b, c]), True, 1.0, 5)
rnn.unpad_sequence(rnn.pad_sequence([a, c]), torch.tensor([4, 1]))
rnn.unpad_sequence(rnn.pad_sequence([a, c], True), torch.tensor([4, 1]), batch_first=True)
tuple(rnn.pack_padded_sequence(torch.arange(6).view(3, 2), [3, 2], batch_first=False))
tuple(rnn.pack_padded_sequence(torch.arange(6).view(2, 3), torch.tensor([3, 1]), True))
rnn.invert_permutation(torch.tensor([2, 0, 1]))
rnn.invert_permutation(None)
list(rnn.PackedSequence((torch.ones(3), torch.tensor([2, 1]))))
list(rnn.pack_sequence([c, a], False).double())
list(rnn.pack_sequence([c, a], False).to(torch.int64))
[rnn.pack_sequence([a, c]).is_cuda, rnn.pack_sequence([a, c]).half().data.dtype == torch.half]
""")


@pytest.mark.parametrize("line", SEQUENCES)
def test_packing_and_padding(line, oracle):
    same(
        "a, b, c = (torch.arange(2.0 * n).view(n, 2).requires_grad_() for n in (4, 2, 1))\n"
        f"result = {line}\n"
        "for r in (result if isinstance(result, (list, tuple)) else [result]):\n"
        "    if isinstance(r, torch.Tensor) and r.requires_grad:\n"
        "        (r * r).sum().backward(retain_graph=True)\n"
        "result = [result, a.grad, b.grad, c.grad]",
        oracle,
    )


def test_functions_of_sequences_and_cells(oracle):
    same(
        """
result = []
x, h = torch.randn(4, 2, 3), torch.randn(1, 2, 5)
for kind, name in (nn.RNN, 'rnn_tanh'), (nn.GRU, 'gru'), (nn.LSTM, 'lstm'):
    m = kind(3, 5)
    hx = (h, h * 2) if name == 'lstm' else h
    f = getattr(torch, name)
    result += f(x, hx, list(m.parameters()), True, 1, 0.0, False, False, False)
    p = rnn.pack_padded_sequence(x, [4, 1])
    result += f(p.data, p.batch_sizes, hx, list(m.parameters()), True, 1, 0.0, False, False)
    cell = getattr(torch, name + '_cell')
    state = (h[0], h[0]) if name == 'lstm' else h[0]
    made = cell(x[0], state, *m.parameters())
    result += made if name == 'lstm' else [made]
""",
        oracle,
    )


@pytest.mark.parametrize("layer", LAYERS)
def test_state_dicts_go_both_ways(layer, oracle):
    ours = eval(layer, {"nn": lazyt.nn})
    theirs = eval(layer, {"nn": oracle.nn})
    x = np.random.default_rng(0).standard_normal((4, 2, 3)).astype("float32")
    theirs.load_state_dict({k: oracle.from_numpy(v) for k, v in numpy_state(ours).items()})
    found, wanted = ours(lazyt.from_numpy(x))[0], theirs(oracle.from_numpy(x))[0]
    np.testing.assert_allclose(found.detach().numpy(), wanted.detach().numpy(), 1e-4, 1e-6)
    theirs.reset_parameters()
    ours.load_state_dict({k: lazyt.from_numpy(v) for k, v in numpy_state(theirs).items()})
    found, wanted = ours(lazyt.from_numpy(x))[0], theirs(oracle.from_numpy(x))[0]
    np.testing.assert_allclose(found.detach().numpy(), wanted.detach().numpy(), 1e-4, 1e-6)


def test_weights_by_name_and_in_lists():
    m = lazyt.nn.LSTM(3, 4, 2, bidirectional=True)
    assert [len(weights) for weights in m.all_weights] == [4, 4, 4, 4]
    assert m.all_weights[1][0] is m.weight_ih_l0_reverse
    assert m.flatten_parameters() is None
    replaced = lazyt.nn.Parameter(lazyt.zeros_like(m.weight_hh_l0))
    before = m(lazyt.ones(2, 1, 3))[0]
    m.weight_hh_l0 = replaced
    assert m.all_weights[0][1] is replaced
    assert not lazyt.equal(before, m(lazyt.ones(2, 1, 3))[0])


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))])
def test_copies(copied):
    m = lazyt.nn.GRU(3, 4)
    other = copied(m)
    x = lazyt.ones(2, 1, 3)
    assert lazyt.equal(m(x)[0], other(x)[0])
    other.weight_hh_l0.data.zero_()
    assert not lazyt.equal(m(x)[0], other(x)[0])
    packed = copied(rnn.pack_sequence([x[0], x[0]]))
    assert type(packed) is rnn.PackedSequence and packed.batch_sizes.tolist() == [2]


def test_converted_layers(oracle):
    same(
        "m = nn.LSTM(3, 4).double()\n"
        "result = run(m, torch.randn(4, 2, 3, dtype=torch.float64))\n"
        "result += [m.to(torch.float32)(torch.randn(4, 2, 3))[0].dtype == torch.float32]",
        oracle,
    )


def test_second_derivatives(oracle):
    same(
        """
result = []
for kind in (nn.RNN, nn.GRU):
    m = kind(2, 3)
    x = torch.randn(3, 2, 2, requires_grad=True)
    y = m(x)[0].pow(2).sum()
    g, = torch.autograd.grad(y, x, create_graph=True)
    g.pow(2).sum().backward()
    result += [g, x.grad, *[p.grad for p in m.parameters()]]
""",
        oracle,
        "float64",
    )


def test_long_sequences_take_linear_work():
    """As many nodes for each step, however many steps there are, forwards and backwards."""

    def traced(steps: int) -> int:
        m = lazyt.nn.LSTM(2, 3)
        x = lazyt.zeros(steps, 1, 2)
        lazyt.reset_stats()
        m(x)[0].sum().backward()
        assert m.weight_hh_l0.grad.isfinite().all()
        return lazyt.stats()["traced"]

    one, two, four = traced(50), traced(100), traced(200)
    assert four - two == 2 * (two - one)
    assert two - one < 50 * 60


@needs_compiler
def test_a_step_is_one_product_and_two_nests_each_way(plans: list[Plan]) -> None:
    """In the C tier; the weights' gradients are one product each, however many steps there are."""

    def kernels(steps: int) -> Counter[str]:
        m, x = lazyt.nn.LSTM(2, 3), lazyt.ones(steps, 1, 2)
        str(x.sum())
        m(x)[0].sum().backward()
        assert m.weight_hh_l0.grad.isfinite().all()
        return Counter(plans[-1].kernels_by_op)

    nine, ten = kernels(9), kernels(10)
    assert ten - nine == Counter(matmul=2, loops=4)
    # Two for each step but the last, forwards and backwards, one for its gates alone, and the
    # projection, its weight's gradient and that of the recurrent weight.
    assert nine["matmul"] == 2 * 9 - 1 + 3
    assert not {"strided_update", "strided_add"} & set(nine)
