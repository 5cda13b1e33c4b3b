"""Lazy layers, bags of embeddings, random activations, adaptive softmax, against PyTorch."""

from __future__ import annotations

import importlib
import io

import pytest
import test_losses
import test_resizing
import test_windows
from saved_things import file_of
from saved_things import same as same_things
from test_functional import case, check
from test_nn import nn_of, same
from test_nn_errors import raised

import lazyt
import lazyt.nn

PAIRS, FLAT, STARTS = [[0, 2, 1], [3, 3, 0]], [0, 2, 1, 3, 3, 0], [0, 2, 2, 5]
FUNCTIONS = [
    *(
        case(f"F.embedding_bag(t, x, mode='{mode}'{more})", (4, 3), t=PAIRS)
        for mode in ("sum", "mean", "max")
        for more in ("", ", padding_idx=3", ", padding_idx=-4")
    ),
    *(
        case(f"F.embedding_bag(t, x, s, mode='{mode}'{more})", (4, 3), t=FLAT, s=STARTS)
        for mode in ("sum", "mean", "max")
        for more in ("", ", padding_idx=3", ", include_last_offset=True")
    ),
    case("F.embedding_bag(t, x, mode='sum', per_sample_weights=w)", (4, 3), (2, 3), t=PAIRS),
    case(
        "F.embedding_bag(t, x, s, None, 2, False, 'sum', False, w)", (4, 3), (6,), t=FLAT, s=STARTS
    ),
    case("F.embedding_bag(t.int(), x)", (4, 3), t=PAIRS),
    case("F.local_response_norm(x, 3)", (2, 5, 4)),
    case("F.local_response_norm(x, 2, 0.1, 0.5, 2.0)", (2, 5, 4, 3)),
    case("F.local_response_norm(x, 2)", (1, 3, 2, 2, 2)),
    case("F.rrelu(x)", (3, 4)),
    case("torch.rrelu(x, 0.2, 0.4)", (3, 4)),
    case("F.conv_tbc(x, w, b, 1)", (5, 2, 3), (3, 3, 4), (4,)),
    case("F.max_pool3d_with_indices(x, 2)[0]", (1, 2, 4, 4, 4)),
    case("torch.norm_except_dim(x, 2, 1) * 2.0", (2, 3, 4)),
    case("torch.norm_except_dim(x, 2, -1) * 2.0", (2, 3)),
]


@pytest.mark.parametrize("c", FUNCTIONS, ids=lambda c: f"{c.text} {list(c.shapes.values())}")
def test_as_pytorch(c, oracle):
    if "max" in c.text or "sum" in c.text or "embedding_bag" in c.text:
        c = case(c.text, *c.shapes.values(), second=False, **c.arrays)
    check(c, oracle, "float64", 1e-9, 1e-11)


DRAWN = """
F.rrelu(x, training=True)
F.rrelu(x, 0.5, 0.9, True)
F.feature_alpha_dropout(x, 0.4, True)
F.feature_alpha_dropout(x, 1.0, True)
F.gumbel_softmax(x)
F.gumbel_softmax(x, 0.5, hard=True, dim=0)
nn.RReLU()(x)
nn.RReLU().eval()(x)
nn.FeatureAlphaDropout()(x)
nn.AlphaDropout(0.3)(x)
""".strip().splitlines()


@pytest.mark.parametrize("text", DRAWN)
def test_draws(text, oracle):
    same(
        f"x = torch.randn(4, 5, 3).requires_grad_()\ny = {text}\n"
        "y.square().sum().backward()\n"
        "result = [y, x.grad, type(y.grad_fn).__name__, torch.rand(2)]",
        oracle,
        1e-4,
        1e-5,
    )


@pytest.mark.parametrize(
    "text", ["F.rrelu_(x)", "F.rrelu(x, inplace=True)", "nn.RReLU(inplace=True)(x)"]
)
def test_rrelu_in_place(text, oracle):
    same(f"x = torch.randn(4, 5)\ny = {text}\nresult = [x, y is x]", oracle)


MODULES = """
nn.EmbeddingBag(5, 3)
nn.EmbeddingBag(5, 3, max_norm=1.0, norm_type=1.0, mode='sum', padding_idx=-1)
nn.EmbeddingBag(5, 3, scale_grad_by_freq=True, mode='max', padding_idx=0)
nn.EmbeddingBag.from_pretrained(torch.randn(3, 2), padding_idx=1)
nn.LocalResponseNorm(3, k=2.0)
nn.RReLU(0.1, 0.2, True)
nn.FeatureAlphaDropout(0.1, True)
nn.SyncBatchNorm(3)
nn.SyncBatchNorm(3, affine=False)
nn.SyncBatchNorm.convert_sync_batchnorm(nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2)))
nn.DataParallel(nn.Linear(2, 3))
nn.CrossMapLRN2d(3, k=2)
nn.LinearCrossEntropyLoss(3, 4)
nn.LinearCrossEntropyLoss(3, 4, out_features=(2,), bias=True, weight=torch.rand(4), ignore_index=1)
nn.AdaptiveLogSoftmaxWithLoss(8, 20, [4, 10], div_value=2.0)
nn.AdaptiveLogSoftmaxWithLoss(8, 20, [4], head_bias=True)
nn.LazyLinear(3)
nn.LazyLinear(3, bias=False)
nn.LazyConv1d(4, 3)
nn.LazyConv2d(4, (3, 2), stride=2, bias=False, padding='valid')
nn.LazyConv3d(4, 3, groups=2)
nn.LazyConvTranspose1d(4, 3)
nn.LazyConvTranspose2d(4, 3, output_padding=1, stride=2)
nn.LazyConvTranspose3d(4, 3)
nn.LazyBatchNorm1d()
nn.LazyBatchNorm2d(affine=False)
nn.LazyBatchNorm3d(track_running_stats=False)
nn.LazyInstanceNorm1d(affine=False, track_running_stats=False)
nn.LazyInstanceNorm2d()
nn.LazyInstanceNorm3d()
""".strip().splitlines()


@pytest.mark.parametrize("text", MODULES)
def test_text_and_state(text, oracle):
    same(
        f"m = {text}\nlazy = 'Lazy' in {text!r}\n"
        "result = [str(m), list(m.state_dict()), [n for n, _ in m.named_parameters()]]\n"
        "result += [str(v) for v in m.state_dict().values()] if lazy else "
        "list(m.state_dict().values())",
        oracle,
        1e-6,
        0,
    )


FORWARD = """
nn.LazyLinear(3)(torch.randn(2, 4))
nn.LazyConv1d(4, 3)(torch.randn(2, 2, 6))
nn.LazyConv2d(4, 3, padding=1, padding_mode='circular')(torch.randn(2, 6, 5))
nn.LazyConv3d(4, 2, groups=2)(torch.randn(1, 2, 4, 4, 4))
nn.LazyConvTranspose1d(4, 3)(torch.randn(2, 2, 6))
nn.LazyConvTranspose2d(4, 3, stride=2, output_padding=1)(torch.randn(1, 2, 3, 3))
nn.LazyConvTranspose3d(2, 2)(torch.randn(1, 2, 3, 3, 2))
nn.LazyBatchNorm1d()(torch.randn(5, 3))
nn.LazyBatchNorm2d()(torch.randn(5, 3, 2, 2))
nn.LazyBatchNorm3d()(torch.randn(5, 3, 2, 2, 1))
nn.LazyInstanceNorm1d()(torch.randn(5, 3, 4))
nn.LazyInstanceNorm2d()(torch.randn(5, 3, 4, 2))
nn.LazyInstanceNorm3d()(torch.randn(5, 3, 4, 2, 2))
nn.EmbeddingBag(5, 3, max_norm=1.0)(torch.tensor([[0, 1], [4, 4]]))
nn.EmbeddingBag(5, 3, mode='sum')(torch.tensor([0, 1, 4]), torch.tensor([0, 1]), torch.rand(3))
nn.SyncBatchNorm(3)(torch.randn(5, 3))
nn.DataParallel(nn.Linear(2, 3))(torch.randn(4, 2))
nn.LinearCrossEntropyLoss(3, 4, bias=True)(torch.randn(2, 3), torch.tensor([0, 3]))
nn.LinearCrossEntropyLoss(3, 4, label_smoothing=0.1)(torch.randn(3), torch.tensor(2))
nn.LinearCrossEntropyLoss(3, 4, out_features=(2,))(torch.randn(1, 3), torch.tensor([[0, 3]]))
nn.AdaptiveLogSoftmaxWithLoss(8, 20, [4, 10])(torch.randn(5, 8), torch.tensor([0, 19, 5, 3, 12]))
nn.AdaptiveLogSoftmaxWithLoss(8, 20, [4, 10])(torch.randn(8), torch.tensor(7))
""".strip().splitlines()


@pytest.mark.parametrize("text", FORWARD)
def test_forward(text, oracle):
    layer, _, inputs = (
        text.partition(")(torch") if "Data" not in text else text.partition(")(torch")
    )
    same(
        f"m = {layer})\ny = m(torch{inputs}\n"
        "y = y if isinstance(y, torch.Tensor) else y.output + y.loss\n"
        "y.square().sum().backward()\n"
        "result = [y, str(m), type(m).__name__, *m.state_dict().values()]\n"
        "result += [p.grad for p in m.parameters()]",
        oracle,
        1e-4,
        1e-4,
    )


CASES = {
    "neighbouring channels, as they were": """
result = []
for size, channels in [(3, 6), (5, 7), (5, 2), (4, 5)]:
    x = torch.randn(2, channels, 3, 2, requires_grad=True)
    y = nn.CrossMapLRN2d(size, 0.5)(x)
    y.square().sum().backward()
    result += [y, x.grad, y.grad_fn.name().split('.')[-1]]
""",
    "neighbouring channels": """
m = nn.LocalResponseNorm(2, 0.5)
result = [m(torch.randn(2, 3, 4, 4)), m(torch.randn(0, 3, 4))]
""",
    "adaptive softmax, all classes": """
m = nn.AdaptiveLogSoftmaxWithLoss(8, 20, [4, 10])
x = torch.randn(6, 8) * 3
result = [m.log_prob(x), m.predict(x)]
""",
    "a lazy net, loaded before it ran": """
a = nn.Sequential(nn.LazyLinear(4), nn.LazyBatchNorm1d(), nn.ReLU(), nn.LazyLinear(2))
b = nn.Sequential(nn.LazyLinear(4), nn.LazyBatchNorm1d(), nn.ReLU(), nn.LazyLinear(2))
x = torch.randn(3, 5)
a(x)
result = [str(b.load_state_dict(a.state_dict())), b[0].weight, str(b)]
a.eval(), b.eval()
result += [a(x) - b(x), str(b)]
""",
    "a lazy net, converted before it ran": """
import copy
m = copy.deepcopy(nn.LazyLinear(3)).double()
y = m(torch.ones(1, 2, dtype=torch.float64))
result = [y, nn.parameter.is_lazy(m.weight), len(m._forward_pre_hooks)]
""",
    "a lazy normalization, converted before it ran": """
m = nn.LazyBatchNorm1d().double()
y = m(torch.randn(4, 2, dtype=torch.float64))
result = [y, m.running_mean, m.weight, str(m)]
""",
    "a lazy parameter": """
p = nn.parameter.UninitializedParameter()
result = [str(p), repr(p), nn.parameter.is_lazy(p), p.requires_grad, str(p.dtype)]
p.materialize((2, 3))
result += [tuple(p.shape), type(p) is nn.Parameter, nn.parameter.is_lazy(p)]
""",
    "synchronized statistics": """
net = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))
weight = net[1].weight
net = nn.SyncBatchNorm.convert_sync_batchnorm(net)
result = [net[1].weight is weight, net(torch.randn(5, 3)), net[1].running_mean]
""",
}


@pytest.mark.parametrize("text", CASES.values(), ids=CASES)
def test_programs(text, oracle):
    same(text, oracle, 1e-4, 1e-5)


ERRORS = """
F.embedding_bag(torch.tensor([0, 5]), o(3, 2), torch.tensor([0]))
F.embedding_bag(torch.tensor([0, 1]), o(3, 2), torch.tensor([1]))
F.embedding_bag(torch.tensor([0, 1]), o(3, 2), torch.tensor([0, 3]))
F.embedding_bag(torch.tensor([0, 1]), o(3, 2), torch.tensor([0]), padding_idx=3)
F.embedding_bag(o(2), o(3, 2), torch.tensor([0]))
F.embedding_bag(torch.tensor([0, 1]), o(3, 2), torch.tensor([0.]))
F.embedding_bag(torch.tensor([0, 1]), o(3, 2))
F.embedding_bag(torch.tensor([0, 1]), o(3, 2), torch.tensor([[0]]))
F.embedding_bag(torch.tensor([[[0, 1]]]), o(3, 2))
F.embedding_bag(torch.tensor([0, 1]), o(3), torch.tensor([0]))
F.embedding_bag(torch.tensor([[0, 1]]), o(3, 2), mode='x')
F.embedding_bag(torch.tensor([[0, 1]]), o(3, 2), mode='max', scale_grad_by_freq=True)
F.embedding_bag(torch.tensor([[0, 1]]), o(3, 2), per_sample_weights=o(2))
F.embedding_bag(torch.tensor([[0, 1]]), o(3, 2), per_sample_weights=o(1, 2))
F.embedding_bag(torch.tensor([[0, 1]]), o(3, 2), mode='sum', per_sample_weights=o(1, 2).double())
F.rrelu(o(3), 0.5, 0.1)
F.rrelu(o(3).long())
F.rrelu(o(3).long(), training=True)
F.feature_alpha_dropout(o(3), 0.5, True)
F.feature_alpha_dropout(o(3, 2), 1.5, True)
F.local_response_norm(o(3, 2), 2)
F.conv_tbc(o(5, 2), o(3, 3, 4), o(4))
F.conv_tbc(o(5, 2, 3), o(3, 2, 4), o(4))
nn.EmbeddingBag(3, 2, padding_idx=3)
nn.EmbeddingBag(3, 2, _weight=o(2, 2))
nn.EmbeddingBag.from_pretrained(o(3))
nn.SyncBatchNorm(3)(o(3))
nn.SyncBatchNorm(3)(o(3, 0))
nn.AdaptiveLogSoftmaxWithLoss(8, 20, [])
nn.AdaptiveLogSoftmaxWithLoss(8, 20, [10, 4])
nn.AdaptiveLogSoftmaxWithLoss(8, 20, [20])
nn.AdaptiveLogSoftmaxWithLoss(8, 20, [4])(o(2, 8), torch.tensor([0, 20]))
nn.AdaptiveLogSoftmaxWithLoss(8, 20, [4])(o(2, 8), torch.tensor([0]))
nn.AdaptiveLogSoftmaxWithLoss(8, 20, [4])(o(2, 8), torch.tensor(0))
nn.CrossMapLRN2d(3)(o(3, 4))
nn.LinearCrossEntropyLoss(3, 4, weight=o(3))
nn.LinearCrossEntropyLoss(3, 4, label_smoothing=2.0)
nn.LinearCrossEntropyOptions(acc_policy='x')
nn.LinearCrossEntropyOptions(chunking_method='aspect_ratio:0')
nn.LinearCrossEntropyOptions(batch_chunk_size=0)
F.linear_cross_entropy(o(2, 2, 3), o(4, 3), torch.tensor([0, 1]))
F.linear_cross_entropy(o(2, 3), o(3), torch.tensor([0, 1]))
F.linear_cross_entropy(o(2, 3), o(4, 2), torch.tensor([0, 1]))
F.linear_cross_entropy(o(2, 3), o(4, 3), torch.tensor([0, 1]), linear_bias=o(3))
F.linear_cross_entropy(o(3), o(4, 2, 3), torch.tensor([0, 1]))
F.linear_cross_entropy(o(2, 3), o(4, 3), o(2, 4), ignore_index=1)
nn.LazyLinear(3).weight.shape
nn.LazyLinear(3).weight.numel()
nn.LazyConv2d(4, 3)(o(3, 3))
nn.LazyConv2d(4, 3, groups=2)(o(3, 3, 3))
nn.LazyBatchNorm1d()(o(2, 3, 4, 5))
""".strip().splitlines()


@pytest.mark.parametrize("line", ERRORS)
def test_errors(line, oracle):
    wanted = raised(line, oracle)
    assert wanted is not None
    assert raised(line, lazyt) == wanted


def layer_of(line: str) -> str:
    """`nn.Linear(2, 3)` of `nn.Linear(2, 3)(torch.ones(1, 2))`."""
    for called in (")(torch", ")(*nn"):
        line = line.partition(called)[0] + ")" if called in line else line
    return line


TABLES = (MODULES, test_losses.MODULES, test_resizing.MODULES, test_windows.MODULES)
# Those without a shape hold hooks of their own; others are not made by their class alone.
MADE_OTHERWISE = ("Lazy", "convert", "from_pretrained")
LAYERS = sorted(
    {
        layer_of(line)
        for table in TABLES
        for line in table
        if not any(word in line for word in MADE_OTHERWISE)
    }
)


@pytest.mark.parametrize("text", LAYERS)
def test_layers_are_saved_both_ways(text, oracle):
    made = {m: eval(text, {"torch": m, "nn": nn_of(m)}) for m in (oracle, lazyt)}
    for writer, reader in ((oracle, lazyt), (lazyt, oracle)):
        state = reader.load(io.BytesIO(file_of(writer, made[writer].state_dict())))
        assert str(made[reader].load_state_dict(state)) == "<All keys matched successfully>"
        same_things(made[reader].state_dict(), made[writer].state_dict())
        whole = reader.load(io.BytesIO(file_of(writer, made[writer])), weights_only=False)
        assert type(whole) is type(made[reader])
        assert repr(whole) == repr(made[writer])
        # PyTorch's modules have this one where no hook is registered, and do not read it.
        unread = {"_is_full_backward_hook"}
        assert vars(whole).keys() - unread == vars(made[reader]).keys() - unread


def test_a_row_named_often_moves_less():
    weight, rows = lazyt.ones(4, 2, requires_grad=True), lazyt.tensor([[0, 2, 1], [3, 3, 0]])
    bag = lazyt.nn.functional.embedding_bag
    bag(rows, weight, mode="sum").sum().backward()
    plain, weight.grad = weight.grad, None
    bag(rows, weight, mode="sum", scale_grad_by_freq=True).sum().backward()
    times = lazyt.tensor([2.0, 1.0, 1.0, 2.0])
    assert weight.grad.tolist() == (plain / times.unsqueeze(1)).tolist()


# Recurrent layers, attention and CTC, and what is deprecated or experimental.
NOT_HERE = """
CTCLoss GRU GRUCell LSTM LSTMCell MultiheadAttention RNN RNNBase RNNCell RNNCellBase Transformer
TransformerDecoder TransformerDecoderLayer TransformerEncoder TransformerEncoderLayer Container
"""


def test_every_public_layer_is_there(oracle):
    theirs, ours = nn_of(oracle), importlib.import_module("lazyt.nn")
    names = {n for n in dir(theirs) if isinstance(getattr(theirs, n), type) and n[0].isupper()}
    assert {n for n in names if not hasattr(ours, n)} <= set(NOT_HERE.split())
