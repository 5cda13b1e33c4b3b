"""Layers against PyTorch: text, initial numbers, state, training, half types, in-place forms."""

from __future__ import annotations

import importlib
import math
import types
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import lazyt
import lazyt.nn
import lazyt.nn.functional
import lazyt.optim


def nn_of(m: types.ModuleType) -> types.ModuleType:
    return importlib.import_module(m.__name__ + ".nn")


def names_of(m: types.ModuleType) -> dict[str, Any]:
    nn = nn_of(m)
    return {"torch": m, "nn": nn, "F": nn.functional, "np": np, "math": math}


def values(t: Any) -> np.ndarray:
    return np.array(t.detach().double().tolist())


def same(text: str, oracle: types.ModuleType, rtol: float = 1e-5, atol: float = 1e-6) -> None:
    """Evaluates `text` (which assigns `result`, a list of tensors and other things) on both."""
    found = []
    for m in (lazyt, oracle):
        names = names_of(m)
        m.manual_seed(0)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            exec(text, names)
        found.append((m, names["result"]))
    (_, ours), (_, theirs) = found
    assert len(ours) == len(theirs)
    for i, (a, b) in enumerate(zip(ours, theirs)):
        if isinstance(b, oracle.Tensor):
            assert str(a.dtype).split(".")[-1] == str(b.dtype).split(".")[-1], i
            assert tuple(a.shape) == tuple(b.shape), i
            np.testing.assert_allclose(values(a), values(b), rtol, atol, err_msg=f"result {i}")
        else:
            assert a == b, i


LAYERS = """
nn.Identity(3, a=1)
nn.Linear(3, 4)
nn.Linear(3, 4, bias=False)
nn.Bilinear(1, 2, 3)
nn.Bilinear(1, 2, 3, bias=False)
nn.Conv1d(2, 4, 3)
nn.Conv2d(1, 6, 3)
nn.Conv2d(3, 8, (3, 5), stride=2, padding=1, bias=False)
nn.Conv2d(4, 4, 3, padding='same', dilation=2, groups=2, padding_mode='circular')
nn.Conv2d(2, 4, 3, padding='valid')
nn.Conv3d(1, 2, (1, 2, 3))
nn.ConvTranspose1d(2, 1, 2)
nn.ConvTranspose2d(2, 2, 3, 2, output_padding=1, dilation=2, padding=1)
nn.ConvTranspose3d(2, 1, 2, stride=2)
nn.MaxPool1d(2)
nn.MaxPool2d((2, 3), return_indices=True, ceil_mode=True)
nn.MaxPool3d(2, 1)
nn.AvgPool1d(2)
nn.AvgPool2d((2, 2))
nn.AvgPool3d(3, padding=1)
nn.AdaptiveAvgPool1d(3)
nn.AdaptiveAvgPool2d((1, None))
nn.BatchNorm1d(2, momentum=None, affine=False)
nn.BatchNorm2d(3)
nn.BatchNorm3d(3, track_running_stats=False)
nn.InstanceNorm1d(3)
nn.InstanceNorm2d(3, affine=True)
nn.LayerNorm(5)
nn.LayerNorm((2, 3), elementwise_affine=False)
nn.LayerNorm(5, bias=False)
nn.GroupNorm(2, 4)
nn.RMSNorm(3)
nn.Dropout()
nn.Dropout1d(0.3)
nn.Dropout2d(0.3, True)
nn.AlphaDropout(0.2)
nn.Embedding(10, 3)
nn.Embedding(10, 3, padding_idx=-1, max_norm=1.0)
nn.Embedding(3, 2, norm_type=3, scale_grad_by_freq=True, sparse=True)
nn.ReLU()
nn.ReLU(inplace=True)
nn.ReLU6(inplace=True)
nn.LeakyReLU(0.2)
nn.LeakyReLU(inplace=True)
nn.ELU()
nn.ELU(inplace=True)
nn.SELU(inplace=True)
nn.CELU(2.0, True)
nn.GELU()
nn.GELU(approximate='tanh')
nn.SiLU()
nn.Mish(inplace=True)
nn.Tanh()
nn.Sigmoid()
nn.LogSigmoid()
nn.Softplus(2, 3)
nn.Softsign()
nn.Tanhshrink()
nn.Hardtanh(-2, 3)
nn.Hardtanh(inplace=True)
nn.Hardswish(inplace=True)
nn.Hardsigmoid()
nn.Hardshrink()
nn.Softshrink(0.3)
nn.Softmax()
nn.Softmax(dim=1)
nn.LogSoftmax(1)
nn.Softmin(0)
nn.Softmax2d()
nn.Threshold(1, 2, True)
nn.PReLU(3)
nn.GLU()
nn.Flatten()
nn.Flatten(0, 2)
nn.Unflatten(1, (2, 3))
nn.CrossEntropyLoss(weight=torch.ones(2))
nn.NLLLoss()
nn.MSELoss()
nn.L1Loss()
nn.SmoothL1Loss()
nn.HuberLoss()
nn.BCELoss()
nn.BCEWithLogitsLoss(pos_weight=torch.ones(2))
nn.KLDivLoss()
nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Sequential(nn.Dropout(0.5), nn.Softmax(dim=1)))
""".strip().splitlines()


@pytest.mark.parametrize("text", LAYERS)
def test_text_state_and_initial_numbers(text, oracle):
    same(
        f"m = {text}\n"
        "result = [str(m), list(m.state_dict()), [n for n, _ in m.named_parameters()],"
        " list(m.__dict__['_parameters']), m.training, *m.state_dict().values()]",
        oracle,
        rtol=1e-6,
        atol=0,
    )


INITIALS = """
nn.init.uniform_(w, -1, 2)
nn.init.normal_(w, 3, 0.1)
nn.init.trunc_normal_(w, std=0.02, a=-0.03, b=0.03)
nn.init.trunc_normal_(w, 1.0, 0.5)
nn.init.trunc_normal_(w, 0.0, 1.0, 0.2, 0.9)
nn.init.trunc_normal_(w, 0.0, 1.0, 3.0, 4.0)
nn.init.constant_(w, 0.3)
nn.init.ones_(w)
nn.init.zeros_(w)
nn.init.eye_(w)
nn.init.xavier_uniform_(w)
nn.init.xavier_normal_(w, gain=2.0)
nn.init.kaiming_uniform_(w, a=0.2, mode='fan_out')
nn.init.kaiming_normal_(w, nonlinearity='relu')
nn.init.orthogonal_(w)
nn.init.orthogonal_(w.t())
nn.init.sparse_(w, 0.3)
nn.init.dirac_(w.view(5, 2, 10))
nn.init.kaiming_uniform_(w.view(5, 2, 2, 5), a=math.sqrt(5))
""".strip().splitlines()


@pytest.mark.parametrize("text", INITIALS)
def test_initial_values(text, oracle):
    same(f"w = torch.zeros(5, 20)\ny = {text}\nresult = [w, y, torch.rand(2)]", oracle, 1e-4, 1e-6)


@pytest.mark.parametrize("name", ["linear", "tanh", "relu", "leaky_relu", "selu", "conv2d"])
def test_gain(name, oracle):
    ours, theirs = lazyt.nn.init.calculate_gain(name), nn_of(oracle).init.calculate_gain(name)
    assert ours == pytest.approx(theirs)


FORWARD = """
nn.Linear(4, 3)(torch.randn(2, 4))
nn.Bilinear(2, 3, 4)(torch.randn(5, 2), torch.randn(5, 3))
nn.Conv1d(2, 4, 3, padding_mode='reflect', padding=1)(torch.randn(1, 2, 6))
nn.Conv2d(2, 4, 3, padding=2, padding_mode='circular')(torch.randn(1, 2, 6, 5))
nn.Conv2d(2, 4, 3, padding='same', padding_mode='replicate')(torch.randn(1, 2, 6, 5))
nn.ConvTranspose2d(2, 1, 3, stride=2)(torch.randn(1, 2, 3, 3), output_size=[8, 7])
nn.MaxPool2d(2, return_indices=True)(torch.randn(1, 2, 4, 4))[1]
nn.MaxPool2d(2, stride=())(torch.randn(1, 4, 4))
nn.AvgPool1d(3, 1, 1)(torch.randn(1, 2, 5))
nn.AvgPool2d(2)(torch.tensor([[[-1, -2], [-3, -5]]]))
nn.AdaptiveAvgPool2d(2)(torch.randn(1, 2, 5, 5))
nn.LayerNorm((2, 3))(torch.randn(4, 2, 3))
nn.GroupNorm(2, 4)(torch.randn(3, 4, 5))
nn.RMSNorm(6)(torch.randn(3, 6))
nn.InstanceNorm1d(3)(torch.randn(3, 7))
nn.InstanceNorm2d(3, affine=True, track_running_stats=True).eval()(torch.randn(1, 3, 2, 2))
nn.PReLU(3)(torch.randn(2, 3))
nn.Softmax(dim=1)(torch.randn(2, 3))
nn.Softmax2d()(torch.randn(2, 3, 2, 2))
nn.GLU(1)(torch.randn(2, 4))
nn.Unflatten(1, (2, 2))(torch.randn(3, 4))
nn.Flatten()(torch.randn(3, 4, 2))
nn.Embedding(5, 3, padding_idx=1)(torch.tensor([[0, 1], [4, 4]]))
nn.Embedding.from_pretrained(torch.randn(3, 2))(torch.tensor([2, 0]))
nn.CrossEntropyLoss(label_smoothing=0.1)(torch.randn(3, 4), torch.tensor([0, 3, 1]))
nn.NLLLoss(ignore_index=0)(torch.randn(3, 4), torch.tensor([0, 3, 1]))
nn.BCEWithLogitsLoss()(torch.randn(3), torch.ones(3))
nn.BCELoss()(torch.rand(3), torch.ones(3))
nn.KLDivLoss(reduction='batchmean')(torch.randn(3, 2), torch.rand(3, 2))
nn.SmoothL1Loss(beta=0.5)(torch.randn(3), torch.ones(3))
nn.HuberLoss(delta=0.5)(torch.randn(3), torch.ones(3))
nn.MSELoss(reduction='sum')(torch.randn(3), torch.ones(3))
nn.L1Loss(reduction='none')(torch.randn(3), torch.ones(3))
nn.Sequential(nn.Linear(3, 3), nn.Hardswish(), nn.Mish(), nn.SELU())(torch.randn(2, 3))
""".strip().splitlines()


@pytest.mark.parametrize("text", FORWARD)
def test_forward(text, oracle):
    same(f"y = {text}\nresult = [y, str(type(y.grad_fn).__name__)]", oracle, 1e-4, 1e-5)


BATCH_NORMS = """
nn.BatchNorm1d(3)
nn.BatchNorm1d(3, momentum=None)
nn.BatchNorm1d(3, momentum=0.5, affine=False)
nn.BatchNorm1d(3, track_running_stats=False)
nn.BatchNorm1d(3, dtype=torch.float64)
nn.InstanceNorm1d(3, track_running_stats=True)
""".strip().splitlines()


@pytest.mark.parametrize("text", BATCH_NORMS)
def test_running_statistics(text, oracle):
    same(
        f"m = {text}\nresult = []\n"
        "kind = torch.float64 if 'float64' in " + repr(text) + " else torch.float32\n"
        "for i in range(3):\n"
        "    x = (torch.randn(5, 3, 4) * (i + 1) + i).to(kind).requires_grad_()\n"
        "    y = m(x)\n"
        "    (y * y * y).sum().backward()\n"
        "    result += [y, x.grad, *(b.clone() for b in m.buffers())]\n"
        "m.eval()\n"
        "result += [m(torch.randn(2, 3, 4).to(kind)), *(p.grad for p in m.parameters())]\n",
        oracle,
        1e-4,
        1e-4,
    )


def test_embedding_rows_are_renormed_in_place(oracle):
    same(
        "e = nn.Embedding(4, 3, max_norm=1.0)\n"
        "y = e(torch.tensor([0, 2]))\n"
        "y.sum().backward()\n"
        "result = [y, e.weight, e.weight.grad, e.weight.requires_grad]\n",
        oracle,
    )


DROPOUTS = """
F.dropout(torch.ones(3, 7), 0.3)
F.dropout(torch.ones(3, 7).t(), 0.3)
F.dropout(torch.ones(2, 3, 4).permute(2, 0, 1), 0.5)
F.dropout(torch.ones(3, 1).expand(3, 4), 0.5)
F.dropout(torch.ones(20, dtype=torch.float64), 0.9)
F.dropout(torch.ones(20).half(), 0.3)
F.dropout(torch.ones(20).bfloat16(), 0.3)
F.dropout(torch.ones(3), 1.0)
F.dropout(torch.ones(3), 0.0)
F.dropout(torch.ones(3), 0.5, training=False)
F.dropout(torch.ones(9), 0.5, inplace=True)
F.dropout1d(torch.ones(3, 4, 2), 0.5)
F.dropout1d(torch.ones(4, 2), 0.5)
F.dropout2d(torch.ones(3, 4, 2, 2), 0.5)
F.dropout2d(torch.ones(3, 4, 2), 0.5)
F.dropout3d(torch.ones(3, 4, 2, 2, 1), 0.5)
F.alpha_dropout(torch.ones(12), 0.3, True)
""".strip().splitlines()


@pytest.mark.parametrize("text", DROPOUTS)
def test_dropout_draws(text, oracle):
    # On Intel processors PyTorch's masks come from MKL, another generator.
    processor = Path("/proc/cpuinfo")
    if (
        processor.exists()
        and "Intel" in processor.read_text()
        and oracle.backends.mkl.is_available()
    ):
        pytest.skip("PyTorch takes its masks from MKL here")
    same(f"result = [{text}, torch.rand(3)]", oracle)


def test_dropout_in_place_and_its_gradient():
    x = lazyt.ones(50, requires_grad=True)
    y = x * 1
    z = lazyt.nn.functional.dropout(y, 0.5, inplace=True)
    assert z is y
    z.sum().backward()
    assert x.grad.tolist() == y.tolist()
    assert set(y.tolist()) == {0.0, 2.0}


IN_PLACE = [
    "relu",
    "relu6",
    "leaky_relu",
    "elu",
    "selu",
    "celu",
    "hardtanh",
    "silu",
    "mish",
    "hardswish",
    "hardsigmoid",
]


@pytest.mark.parametrize("name", [*IN_PLACE, "threshold"])
def test_in_place(name, oracle):
    more = "0.1, 7.0, " if name == "threshold" else ""
    # silu and mish keep their input, so PyTorch refuses to differentiate what was overwritten.
    backward = name not in ("silu", "mish", "hardswish", "hardsigmoid", "threshold")
    same(
        "x = torch.randn(4, 3, requires_grad=True)\n"
        "h = x * 2\n"
        f"y = F.{name}(h, {more}inplace=True)\n"
        "result = [h, y, y is h, h._version]\n"
        + ("y.sum().backward()\nresult.append(x.grad)\n" if backward else ""),
        oracle,
    )


HALVES = """
F.gelu(x)
F.gelu(x, approximate='tanh')
F.silu(x)
F.softplus(x)
F.logsigmoid(x)
F.elu(x)
F.leaky_relu(x)
F.hardswish(x)
F.softmax(x, 1)
F.log_softmax(x, 1)
F.layer_norm(x, (8,))
F.linear(x, w)
F.linear(x, w, w[0, :3])
F.mse_loss(x, x * 0.5)
F.smooth_l1_loss(x, x * 0.5)
F.cross_entropy(x, torch.arange(4))
F.max_pool1d(x, 2)
F.avg_pool1d(x, 2)
F.group_norm(x, 2)
F.rms_norm(x, (8,))
F.binary_cross_entropy_with_logits(x, x.sigmoid())
F.conv1d(x.view(1, 4, 8), w.view(1, 4, 6)[:, :, :3])
F.batch_norm(x, torch.zeros(8).to(x.dtype), torch.ones(8).to(x.dtype))
""".strip().splitlines()


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("text", HALVES)
def test_half_types(text, dtype, oracle):
    last = 2**-10 if dtype == "float16" else 2**-7
    same(
        f"x = torch.linspace(-3, 3, 32).view(4, 8).to(torch.{dtype})\n"
        f"w = torch.linspace(-1, 1, 24).view(3, 8).to(torch.{dtype})\n"
        f"result = [{text}]\n",
        oracle,
        rtol=1.01 * last,
        atol=last,
    )


def test_half_input_beside_float_parameters(oracle):
    same(
        "x = torch.linspace(-3, 3, 32).view(4, 8).half()\n"
        "result = [nn.LayerNorm(8)(x), nn.BatchNorm1d(8)(x), nn.GroupNorm(2, 8)(x)]\n",
        oracle,
        rtol=2e-3,
        atol=2e-3,
    )


CLIPS = """
nn.utils.clip_grad_norm_(ps, 1.0)
nn.utils.clip_grad_norm_(ps, 1e6)
nn.utils.clip_grad_norm_(ps, 0.5, norm_type=1)
nn.utils.clip_grad_norm_(ps, 0.5, norm_type=float('inf'))
nn.utils.clip_grad_norm_(ps[0], 0.5)
nn.utils.clip_grad_norm_(iter(ps), 0.5, error_if_nonfinite=True)
nn.utils.clip_grad_norm_([], 0.5)
nn.utils.clip_grad_norm_([torch.ones(1)], 0.5)
nn.utils.clip_grad_value_(ps, 0.3)
nn.utils.get_total_norm([p.grad for p in ps])
""".strip().splitlines()


@pytest.mark.parametrize("text", CLIPS)
def test_clipping(text, oracle):
    same(
        "ps = [torch.randn(3, 4, requires_grad=True), torch.randn(5, requires_grad=True)]\n"
        "(ps[0] ** 2).sum().backward()\n(ps[1] ** 3).sum().backward()\n"
        f"total = {text}\n"
        "result = [ps[0].grad, ps[1].grad, total]\n",
        oracle,
    )


def test_parameters_as_a_vector(oracle):
    same(
        "m = nn.Linear(2, 3)\n"
        "v = nn.utils.parameters_to_vector(m.parameters())\n"
        "w = m.weight\n"
        "nn.utils.vector_to_parameters(v.detach() * 2, m.parameters())\n"
        "(nn.utils.parameters_to_vector(m.parameters()) ** 2).sum().backward()\n"
        "result = [v, m.weight, m.bias, m.weight.grad, w is m.weight]\n",
        oracle,
    )


TRAINING = [
    "nn.Linear(6, 8), nn.ReLU(), nn.LayerNorm(8), nn.Linear(8, 3)",
    "nn.Linear(6, 8), nn.BatchNorm1d(8), nn.GELU(), nn.Linear(8, 3)",
    "nn.Unflatten(1, (1, 6)), nn.Conv1d(1, 4, 3), nn.Tanh(), nn.MaxPool1d(2), nn.Flatten(), "
    "nn.Linear(8, 3)",
    "nn.Unflatten(1, (1, 2, 3)), nn.Conv2d(1, 4, 2, padding=1), nn.BatchNorm2d(4), nn.SiLU(), "
    "nn.AvgPool2d(2), nn.Flatten(), nn.Linear(8, 3)",
    "nn.Unflatten(1, (1, 2, 3)), nn.ReflectionPad2d(1), "
    "nn.utils.spectral_norm(nn.Conv2d(1, 4, 3)), nn.InstanceNorm2d(4, affine=True), "
    "nn.PixelShuffle(2), nn.LeakyReLU(0.2), "
    "nn.Upsample(scale_factor=2, mode='bilinear'), nn.AdaptiveMaxPool2d((3, 2)), nn.Flatten(), "
    "nn.LazyLinear(3)",
    "nn.Unflatten(1, (2, 3)), nn.utils.parametrizations.weight_norm(nn.ConvTranspose1d(2, 4, 2)), "
    "nn.RReLU(), nn.LocalResponseNorm(2), nn.FeatureAlphaDropout(0.2), nn.LPPool1d(2, 2), "
    "nn.Upsample(5), nn.Flatten(), nn.LazyBatchNorm1d(), nn.LazyLinear(3)",
]


@pytest.mark.parametrize("text", TRAINING)
def test_training(text, oracle):
    same(
        f"net = nn.Sequential({text})\n"
        "net(torch.randn(12, 6))\n"
        "opt = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)\n"
        "x, t = torch.randn(12, 6), torch.randint(0, 3, (12,))\n"
        "result = []\n"
        "for i in range(8):\n"
        "    opt.zero_grad()\n"
        "    loss = F.cross_entropy(net(x), t)\n"
        "    loss.backward()\n"
        "    nn.utils.clip_grad_norm_(net.parameters(), 1.0)\n"
        "    opt.step()\n"
        "    result.append(loss)\n"
        "result += list(net.state_dict().values())\n",
        oracle,
        1e-3,
        1e-4,
    )


def test_targets_that_are_computed_are_checked_when_they_are_read():
    F = lazyt.nn.functional
    scores = lazyt.zeros(2, 3, requires_grad=True)
    target = lazyt.tensor([0, 2]) + 1
    loss = F.cross_entropy(scores, target)
    with pytest.raises(IndexError, match="Target 3 is out of bounds"):
        loss.item()


def test_a_linear_layer_traces_three_nodes_and_a_loss_five():
    from lazyt.ir.node import LOCAL

    layer, loss = lazyt.nn.Linear(4, 3), lazyt.nn.CrossEntropyLoss()
    x, t = lazyt.ones(2, 4), lazyt.tensor([0, 1])
    (layer.weight.sum() + layer.bias.sum()).item()
    x.sum().item()
    y = layer(x)
    y.sum().item()
    for make, ops in (
        (lambda: layer(x), ["permute", "matmul", "add"]),
        (lambda: loss(y, t), ["log_softmax", "nll", "class_count", "sum", "div"]),
    ):
        before = len(LOCAL.trace)
        kept = make()
        assert [n.op.name for n in LOCAL.trace[before:]] == ops
        del kept


def test_nothing_is_read_by_a_forward():
    nn = lazyt.nn
    net = nn.Sequential(
        nn.Conv2d(1, 2, 3),
        nn.BatchNorm2d(2, momentum=None),
        nn.ReLU(),
        nn.Dropout(0.5),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(8, 3),
    )
    x = lazyt.ones(2, 1, 6, 6) + lazyt.rand(2, 1, 6, 6)
    lazyt.reset_stats()
    loss = nn.CrossEntropyLoss(label_smoothing=0.1)(net(x), lazyt.tensor([0, 1]) + 1)
    loss.backward()
    nn.utils.clip_grad_norm_(net.parameters(), 1.0)
    assert lazyt.stats()["drains"] == 0
