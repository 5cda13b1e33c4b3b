"""torch.nn.functional against PyTorch: values, names of grad_fn, first and second derivatives.

Every case is an expression over tensors x, w, b, t that both implementations evaluate on the same
numbers. Derivatives are those of a sum of the result times fixed numbers; the second ones those of
the sum of squares of the first.
"""

from __future__ import annotations

import importlib
import types
import warnings
import zlib
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

import lazyt
import lazyt.nn.functional


@dataclass
class Case:
    """An expression, the shapes of its float operands, and other named arrays."""

    text: str
    shapes: dict[str, tuple[int, ...]]
    arrays: dict[str, Any] = field(default_factory=dict)
    second: bool = True
    positive: bool = False


def case(text: str, *shapes: tuple[int, ...], second: bool = True, positive=False, **arrays: Any):
    return Case(text, dict(zip("xwb", shapes)), arrays, second, positive)


ACTIVATIONS = [
    *(
        case(f"F.{name}(x)", (3, 4))
        for name in [
            "relu",
            "relu6",
            "leaky_relu",
            "elu",
            "selu",
            "celu",
            "gelu",
            "silu",
            "mish",
            "softplus",
            "logsigmoid",
            "hardtanh",
            "hardswish",
            "tanh",
            "sigmoid",
            "softsign",
            "tanhshrink",
            "hardshrink",
            "softshrink",
            "glu",
        ]
    ),
    case("F.leaky_relu(x, 0.3)", (3, 4)),
    case("F.elu(x, 2.0)", (3, 4)),
    case("F.celu(x, 0.5)", (3, 4)),
    case("F.gelu(x, approximate='tanh')", (3, 4)),
    case("F.softplus(x, 2.0, 1.0)", (3, 4)),
    case("F.hardtanh(x, -0.5, 0.25)", (3, 4)),
    case("F.threshold(x, 0.1, 20)", (3, 4)),
    case("F.hardshrink(x, 0.2)", (3, 4)),
    case("F.softshrink(x, 0.2)", (3, 4)),
    case("F.glu(x, 0)", (4, 3)),
    case("F.prelu(x, w)", (2, 3, 4), (3,)),
    case("F.prelu(x, w)", (2, 3), (1,)),
    case("F.softmax(x, 1)", (3, 4)),
    case("F.softmax(x, 0)", (3, 4, 2)),
    case("F.softmin(x, -1)", (3, 4)),
    case("F.log_softmax(x, 1)", (3, 4)),
    case("F.log_softmax(x, 1)", (2, 3, 2, 2)),
    case("x.softmax(0)", (5,)),
    case("torch.log_softmax(x, -1)", (2, 5)),
    case("F.softmax(x.float(), 1, dtype=torch.float64)", (3, 4), second=False),
]
LINEAR = [
    case("F.linear(x, w)", (3, 4), (5, 4)),
    case("F.linear(x, w, b)", (3, 4), (5, 4), (5,)),
    case("F.linear(x, w, b)", (2, 3, 4), (5, 4), (5,)),
    case("F.linear(x, w)", (2, 3, 4), (5, 4)),
    case("F.linear(x, w, b)", (4,), (5, 4), (5,)),
    case("F.linear(x, w)", (4,), (5, 4)),
    case("F.linear(x, w, b)", (0, 4), (5, 4), (5,), second=False),
    case("F.linear(x, w, b)", (3, 4), (5, 4), (1,)),
    case("F.bilinear(x, w, b)", (3, 2), (3, 4), (5, 2, 4)),
    case("F.bilinear(x, x, w, b)", (2, 3, 2), (5, 2, 2), (5,)),
    case("F.pad(x, (1, 2))", (2, 3)),
    case("F.pad(x, (1, -1, 0, 2), value=3.0)", (2, 3)),
    case("F.pad(x, (1, 2, 2, 1), mode='reflect')", (2, 3, 3)),
    case("F.pad(x, (1, 2), mode='replicate')", (2, 3)),
    case("F.pad(x, (1, 2, 0, 3), mode='circular')", (1, 2, 3, 4)),
    case("F.pad(x, (-1, 1), mode='circular')", (1, 2, 4)),
    case("F.pad(x, (2, -2), mode='circular')", (1, 2, 4)),
    case("F.normalize(x, dim=0)", (2, 3)),
]
CONVOLUTIONS = [
    case("F.conv1d(x, w, b)", (2, 3, 7), (4, 3, 3), (4,)),
    case("F.conv1d(x, w, b, stride=2, padding=1)", (3, 7), (4, 3, 3), (4,)),
    case("F.conv2d(x, w)", (2, 3, 5, 6), (4, 3, 3, 2)),
    case("F.conv2d(x, w, b)", (2, 3, 5, 6), (4, 3, 3, 2), (4,)),
    case("F.conv2d(x, w, b, 2, 1)", (2, 3, 6, 6), (4, 3, 3, 3), (4,)),
    case("F.conv2d(x, w, b, (2, 1), (0, 2), (1, 2), 2)", (2, 4, 6, 5), (6, 2, 3, 2), (6,)),
    case("F.conv2d(x, w, padding='same', dilation=2)", (1, 2, 5, 5), (2, 2, 3, 3)),
    case("F.conv2d(x, w, padding='same')", (1, 2, 5, 5), (2, 2, 2, 3)),
    case("F.conv2d(x, w, padding='valid')", (2, 5, 5), (2, 2, 2, 3)),
    case("F.conv3d(x, w, b, padding=1)", (1, 2, 3, 4, 3), (3, 2, 2, 3, 2), (3,)),
    case("F.conv_transpose1d(x, w, b, stride=2)", (2, 3, 4), (3, 2, 3), (2,)),
    case("F.conv_transpose2d(x, w, b, 2, 1, 1, 2, 2)", (2, 4, 3, 4), (4, 3, 3, 2), (6,)),
    case("F.conv_transpose2d(x, w)", (2, 3, 4), (2, 3, 2, 2)),
    # an output padding of a stride and more, which a dilation allows
    case("F.conv_transpose1d(x, w, b, output_padding=2, dilation=3)", (3, 4), (3, 2, 1), (2,)),
    case("F.conv_transpose1d(x, w, None, 2, 2, 4, 1, 5)", (1, 2, 1), (2, 2, 1)),
    case("F.conv_transpose2d(x, w, b, (1, 2), 1, (2, 1), 2, 3)", (2, 4, 3, 4), (4, 3, 3, 2), (6,)),
    case("F.conv_transpose3d(x, w, b)", (1, 2, 2, 3, 2), (2, 3, 2, 2, 2), (3,)),
    case("F.conv2d(x, w, b)", (0, 3, 5, 6), (4, 3, 3, 2), (4,), second=False),
]
POOLS = [
    case("F.max_pool1d(x, 2)", (2, 3, 7)),
    case("F.max_pool2d(x, 2)", (2, 3, 5, 6)),
    case("F.max_pool2d(x, (2, 3), 1, (1, 1), ceil_mode=True)", (2, 3, 5, 6)),
    case("F.max_pool2d(x, 3, 2, 1, dilation=2)", (3, 9, 8)),
    case("F.max_pool3d(x, 2, stride=1)", (1, 2, 3, 3, 4)),
    case("F.avg_pool1d(x, 3, 2, 1)", (2, 3, 7)),
    case("F.avg_pool2d(x, 2)", (2, 3, 5, 6)),
    case("F.avg_pool2d(x, 3, 2, 1, True, False)", (2, 3, 6, 6)),
    case("F.avg_pool2d(x, 2, divisor_override=3)", (3, 5, 6)),
    case("F.avg_pool3d(x, 2)", (1, 2, 4, 4, 4)),
    case("F.adaptive_avg_pool1d(x, 3)", (2, 3, 7)),
    case("F.adaptive_avg_pool2d(x, (3, 2))", (2, 3, 7, 4)),
    case("F.adaptive_avg_pool2d(x, (2, 3))", (3, 4, 6)),
    case("F.adaptive_avg_pool2d(x, 1)", (2, 3, 4, 5)),
    case("F.adaptive_avg_pool2d(x, (None, 2))", (2, 3, 3, 5)),
    case("F.adaptive_avg_pool3d(x, (1, 2, 3))", (1, 2, 3, 4, 5)),
    case("F.max_pool2d(x, 2, return_indices=True)[1].float() + x.sum()", (2, 4, 4)),
]
NORMS = [
    case("F.batch_norm(x, None, None, training=True)", (4, 3)),
    case("F.batch_norm(x, None, None, w, b, True)", (4, 3, 2), (3,), (3,)),
    case("F.batch_norm(x, None, None, w, b, True, eps=0.1)", (4, 3, 2, 2), (3,), (3,)),
    case("F.batch_norm(x, m, v, w, b)", (4, 3, 2), (3,), (3,), m=[1.0, 2, 3], v=[0.5, 1, 2]),
    case("F.batch_norm(x, m, v)", (4, 3), m=[1.0, 2, 3], v=[0.5, 1, 2]),
    case("F.layer_norm(x, (4,), w, b)", (2, 3, 4), (4,), (4,)),
    case("F.layer_norm(x, (3, 4))", (2, 3, 4)),
    case("F.layer_norm(x, (4,), w)", (2, 4), (4,)),
    case("F.group_norm(x, 2, w, b)", (2, 4, 3), (4,), (4,)),
    case("F.group_norm(x, 4)", (2, 4, 3, 2)),
    case("F.instance_norm(x)", (2, 3, 5)),
    case("F.instance_norm(x, weight=w, bias=b)", (2, 3, 4, 5), (3,), (3,)),
    case("F.rms_norm(x, (4,), w)", (2, 3, 4), (4,)),
    case("F.rms_norm(x, (3, 4), eps=0.1)", (2, 3, 4)),
]
_T, _W = [2, 0, 1], [0.2, 0.3, 0.9, 1.0]
LOSSES = [
    *(
        case(f"F.{name}(x, w, reduction='{reduction}')", (3, 4), (3, 4))
        for name in ("mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss", "kl_div")
        for reduction in ("none", "mean", "sum")
    ),
    case("F.smooth_l1_loss(x, w, beta=0.3)", (3, 4), (3, 4)),
    case("F.smooth_l1_loss(x, w, beta=0.0)", (3, 4), (3, 4)),
    case("F.huber_loss(x, w, delta=0.3)", (3, 4), (3, 4)),
    case("F.mse_loss(x, w, weight=t)", (3,), (3,), t=[0.5, 2.0, 1.0]),
    case("F.mse_loss(x, w)", (3, 4), (4,)),
    case("F.kl_div(x, t, reduction='batchmean')", (2, 2), t=[[0.0, 1.0], [0.3, 0.7]]),
    case("F.kl_div(x, w, log_target=True)", (3, 4), (3, 4)),
    *(
        case(f"F.cross_entropy(x, t, reduction='{reduction}'{more})", (3, 4), t=_T, k=_W)
        for reduction in ("none", "mean", "sum")
        for more in (
            "",
            ", weight=k",
            ", ignore_index=0",
            ", label_smoothing=0.1",
            ", weight=k, ignore_index=1, label_smoothing=0.2",
        )
    ),
    case("F.cross_entropy(x, t)", (3, 4), t=[-100, 1, -100]),
    case("F.cross_entropy(x, t)", (4,), t=3),
    case("F.cross_entropy(x, t)", (2, 4, 3), t=[[0, 1, 2], [3, -100, 1]]),
    case("F.cross_entropy(x, t, reduction='none')", (2, 4, 3), t=[[0, 1, 2], [3, -100, 1]]),
    case("F.cross_entropy(x, t)", (1, 3, 2, 2), t=[[[0, 1], [2, 2]]]),
    case("F.cross_entropy(x, t, reduction='sum')", (1, 3, 2, 2), t=[[[0, 1], [2, 2]]]),
    case("F.cross_entropy(x, w.softmax(1))", (3, 4), (3, 4)),
    case("F.cross_entropy(x, w.softmax(1), weight=k, label_smoothing=0.3)", (3, 4), (3, 4), k=_W),
    case("F.cross_entropy(x, w.softmax(1), reduction='none')", (3, 4), (3, 4)),
    case("F.cross_entropy(x, w.softmax(1), reduction='sum')", (3, 4), (3, 4)),
    case("F.nll_loss(x, t)", (3, 4), t=_T),
    case("F.nll_loss(x, t, k)", (3, 4), t=_T, k=_W),
    case("F.nll_loss(x, t, k, reduction='none')", (3, 4), t=_T, k=_W),
    case("F.nll_loss(x, t)", (2, 4, 3), t=[[0, 1, 2], [3, 0, 1]]),
    case("F.nll_loss(x, t)", (4,), t=3),
    *(
        case(f"F.binary_cross_entropy(x.sigmoid(), t, reduction='{r}')", (3,), t=[0.0, 1.0, 0.4])
        for r in ("none", "mean", "sum")
    ),
    case("F.binary_cross_entropy(x.sigmoid(), t, k)", (2, 3), t=np.eye(2, 3), k=[1.0, 2.0, 0.5]),
    case("F.binary_cross_entropy(x.sigmoid(), w.sigmoid())", (3,), (3,)),
    *(
        case(f"F.binary_cross_entropy_with_logits(x, w, reduction='{r}')", (2, 3), (2, 3))
        for r in ("none", "mean", "sum")
    ),
    case(
        "F.binary_cross_entropy_with_logits(x, w, k, pos_weight=p)",
        (2, 3),
        (2, 3),
        k=[1.0, 2.0, 0.5],
        p=[3.0, 1.0, 0.1],
    ),
]
TABLES = [
    case("F.embedding(t, x)", (4, 3), t=[[0, 3], [3, 1]]),
    case("F.embedding(t, x, padding_idx=3)", (4, 3), t=[[0, 3], [3, 1]]),
    case("F.embedding(t, x, padding_idx=-2)", (4, 3), t=2),
    case("F.embedding(t, x, scale_grad_by_freq=True)", (4, 3), t=[[0, 3], [3, 1]], second=False),
    case("F.one_hot(t) + x.sum()", (1,), t=[0, 3, 1], second=False),
    case("F.one_hot(t, 5) * x.sum()", (1,), t=[[0, 3], [4, 4]], second=False),
]
CASES = [*ACTIVATIONS, *LINEAR, *CONVOLUTIONS, *POOLS, *NORMS, *LOSSES, *TABLES]


def functions(m: types.ModuleType) -> types.ModuleType:
    return importlib.import_module(m.__name__ + ".nn.functional")


def grad_name(t: Any) -> str | None:
    return None if t.grad_fn is None else type(t.grad_fn).__name__


def evaluate(c: Case, m: types.ModuleType, dtype: str) -> dict[str, Any]:
    """What the implementation `m` makes of a case: name -> array or word."""
    rng = np.random.default_rng(zlib.crc32(c.text.encode()))
    kind = getattr(m, dtype)
    leaves = {}
    names: dict[str, Any] = {"torch": m, "F": functions(m)}
    for name, shape in c.shapes.items():
        values = rng.normal(size=shape)
        values = np.abs(values) + 0.1 if c.positive else values
        names[name] = leaves[name] = m.tensor(values.tolist(), dtype=kind).reshape(shape)
        leaves[name].requires_grad_()
    for name, values in c.arrays.items():
        array = np.asarray(values)
        chosen = kind if array.dtype.kind == "f" else m.int64
        names[name] = m.tensor(array.tolist(), dtype=chosen)
    y = eval(c.text, names)
    found: dict[str, Any] = {"dtype": str(y.dtype).split(".")[-1], "grad_fn": grad_name(y)}
    found["value"] = np.array(y.detach().double().tolist())
    cotangent = rng.normal(size=tuple(y.shape))
    loss = (y * m.tensor(cotangent.tolist(), dtype=y.dtype).reshape(y.shape)).sum()
    used = list(leaves.values())
    options = {"create_graph": c.second, "allow_unused": True}
    grads = m.autograd.grad(loss, used, **options)
    for name, g in zip(leaves, grads):
        if g is not None:
            found["grad " + name] = np.array(g.detach().double().tolist())
    penalty = [(g * g).sum() for g in grads if g is not None and g.requires_grad]
    if c.second and penalty:
        again = m.autograd.grad(sum(penalty[1:], penalty[0]), used, allow_unused=True)
        for name, g in zip(leaves, again):
            found["second " + name] = (
                0.0 if g is None else np.array((g.double() + m.zeros(())).tolist())
            )
    return found


def check(c: Case, oracle: types.ModuleType, dtype: str, rtol: float, atol: float) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ours, theirs = evaluate(c, lazyt, dtype), evaluate(c, oracle, dtype)
    for name, wanted in theirs.items():
        got = ours.get(name)
        if isinstance(wanted, str) or wanted is None:
            assert got == wanted, (c.text, name)
        else:
            if got is None:
                got = np.zeros(())
            got, wanted = np.broadcast_arrays(got, wanted) if not np.ndim(got) else (got, wanted)
            assert np.shape(got) == np.shape(wanted), (c.text, name)
            np.testing.assert_allclose(got, wanted, rtol, atol, err_msg=f"{c.text}: {name}")


@pytest.mark.parametrize("c", CASES, ids=lambda c: f"{c.text} {list(c.shapes.values())}")
def test_as_pytorch(c, oracle):
    check(c, oracle, "float64", 1e-9, 1e-11)


@pytest.mark.parametrize(
    "c",
    [
        case("F.hardsigmoid(x)", (3, 4), second=False),
        *ACTIVATIONS[::3],
        *LINEAR[:3],
        *CONVOLUTIONS[3:5],
        *NORMS[::3],
        *LOSSES[::5],
    ],
    ids=lambda c: f"{c.text} {list(c.shapes.values())}",
)
def test_single_precision(c, oracle):
    check(c, oracle, "float32", 1e-4, 1e-5)
