"""The functions of torch.nn.functional on PyTorch's own sample inputs, and what differed once.

Two samples of each function run here, in float32 and in one other dtype, and all inputs that are
errors. Everything runs with `python tests/op_samples.py --op "^nn.functional"`, on the C tier with
`LAZYT_CPU=c LAZYT_PLANS=first` before it.
"""

from __future__ import annotations

import types

import pytest
from harness import load
from op_outcomes import Known, unexplained
from op_samples import Samples
from sample_tools import Counterparts, table
from surface import lines_of, outcome, same

import lazyt

SHARES = 4
HALVES, FLOATS = "float16|bfloat16", "float.*|bfloat16"
KNOWN = (
    Known(".*(interpolate|upsample).*", ".*", "values", "uint8", "PyTorch rounds its weights"),
    Known(".*unfold", ".*", "refuses", "bool", "PyTorch asks no dtype where nothing is taken"),
    Known(".*adaptive_avg_pool.*", ".*", "refuses", ".*", "as for unfold"),
    Known(".*hardsigmoid", ".*", "values", "float64", "PyTorch's sixth is one of float32"),
    Known(".*grid_sample", ".*", "result", FLOATS, "nearest: a gradient of 0 is None"),
    Known(
        ".*(grid_sample|embedding_bag)", ".*", "values", HALVES, "rounded once, not at each step"
    ),
    Known(".*(conv_transpose.*|normalize|bilinear)", ".*", "values", HALVES, "as grid_sample"),
    Known(".*(attention.*|loss|with_logits)", ".*", "values", HALVES, "as grid_sample"),
    Known(
        ".*(avg_pool.d|linear|logsigmoid|shrink|gelu|softplus)",
        "out",
        "refuses|error type",
        ".*",
        "`out` of a function of torch.nn.functional, which its pages do not know",
    ),
)

# What differed once: dtypes that PyTorch's kernels lack, special numbers, errors.
PREPARATION = """
t = torch.tensor
i, pair, whole = t([[0, 1]]), t([0, 1]), t([[1, 2], [3, 4]])
special = torch.tensor([0.0, -0.0, 1.0, -2.0, 3.0, -3.0, float("inf"), float("-inf"), float("nan")])
special = special.clone().requires_grad_()
"""
MENDED = """
F.avg_pool3d(torch.ones(0, 1, 49), 2)
F.avg_pool3d(torch.ones(1, 49), 2)
F.avg_pool2d(torch.ones(1, 49), 2)
F.avg_pool2d(torch.ones(49), 2)
F.avg_pool3d(torch.ones(49), 2)
F.pad(torch.ones(1, 3).bool(), (1, 1), "reflect")
F.pad(torch.ones(1, 3).bool(), (1, 1), "circular")
F.pad(torch.ones(1, 3).bool(), (1, 1), "constant")
F.pad(torch.ones(1, 1, 3, 3).bool(), (1, 1, 1, 1), "reflect")
F.pad(torch.ones(1, 1, 3, 3, 3).bool(), (1,)*6, "reflect")
F.pad(torch.ones(1, 1, 3, 3, 3).bool(), (1,)*6, "replicate")
F.interpolate(torch.ones(1, 2, 4).to(torch.uint8), (3,), mode="linear")
F.interpolate(torch.ones(1, 2, 4, 4, 4).to(torch.uint8), (3, 3, 3), mode="trilinear")
F.soft_margin_loss(t(5), t(1))
F.soft_margin_loss(t([True, False]), t([True, False]))
F.soft_margin_loss(t([5.]), t([1]))
F.soft_margin_loss(t([5]), t([1.]))
F.linear(t([True, False]), t([[True, False]]))
F.linear(t([True, False]), t([[True, False]]), t([True]))
F.linear(t([[True, False]]), t([[True, False]]))
F.linear(t([[True, False]]), t([[True, False]]), t([True]))
F.linear(t([[[True, False]]]), t([[True, False]]), t([True]))
F.linear(t([[[True, False]]]), t([[True, False]]))
t([True, False])@t([True, False])
t([[True, False]])@t([[True], [False]])
torch.bmm(t([[[True, False]]]), t([[[True], [False]]]))
F.bilinear(t([[True]]), t([[True]]), t([[[True]]]))
F.hardtanh(t([True]))
F.hardtanh(t([5], dtype=torch.uint8))
F.hardtanh(t([5], dtype=torch.uint8), 0, 3)
F.hardtanh(t([5]), -1.5, 1.5)
F.relu6(t([5], dtype=torch.uint8))
F.relu6(t([True]))
F.hardtanh(t([5], dtype=torch.uint8), -.5, .5)
F.alpha_dropout(t([5, 4, 3]), 0.5, True)
F.alpha_dropout(t([True]), 0.5, True)
F.feature_alpha_dropout(t([[5, 4, 3]]), 0.5, True)
F.alpha_dropout(t([5, 4]), 0., True)
F.alpha_dropout(t([5, 4]), 1., True)
F.alpha_dropout(t([5, 4]), .5, False)
F.embedding(i, whole, max_norm=1.0)
F.embedding(i, t([[True, False], [True, True]]), max_norm=1.0)
F.embedding(i, t([[1, 2], [3, 4]], dtype=torch.int16), max_norm=1.0)
F.embedding_bag(pair, whole, t([0]))
F.embedding_bag(pair, whole, t([0]), mode="sum")
F.embedding_bag(pair, whole, t([0]), mode="max")
F.embedding_bag(pair, t([[True, False], [True, True]]), t([0]), mode="max")
F.embedding_bag(pair, whole, t([0]), mode="sum", per_sample_weights=t([1, 2]))
F.embedding_bag(pair, t([[1., 2], [3, 4]]), t([0]), mode="sum", per_sample_weights=t([1, 2]))
torch.pdist(torch.ones(3, 2).half())
F.pdist(torch.ones(3, 2).bfloat16())
F.pdist(torch.ones(3, 2).int())
F.pdist(torch.ones(1, 2).half())
torch.cdist(torch.ones(3, 2).half(), torch.ones(3, 2).half())
F.adaptive_avg_pool2d(torch.ones(2, 2), (2, 2))
F.adaptive_avg_pool2d(torch.ones(2, 2), 2)
F.adaptive_max_pool2d(torch.ones(2, 2), [2, 2])
F.adaptive_max_pool2d(torch.ones(2, 2), 2)
F.adaptive_avg_pool3d(torch.ones(2, 2, 2), (2, 2, 2))
F.adaptive_max_pool3d(torch.ones(2, 2, 2), (2, 2, 2))
F.adaptive_max_pool1d(torch.ones(2), (2,))
F.adaptive_avg_pool1d(torch.ones(2), (2,))
F.adaptive_avg_pool2d(torch.ones(2), (2, None))
F.adaptive_avg_pool1d(t([[True]]), 1)
F.adaptive_avg_pool2d(t([[[1]]]), 1)
F.batch_norm(torch.ones(3), torch.ones(3), torch.ones(3))
F.batch_norm(torch.ones(0), torch.ones(0), torch.ones(0), training=True)
F.batch_norm(torch.ones(0), torch.ones(0), torch.ones(0), training=False)
F.batch_norm(torch.ones(3), torch.ones(3), torch.ones(3), training=True)
F.batch_norm(torch.ones(1), torch.ones(1), torch.ones(1))
F.batch_norm(t(1.), torch.ones(1), torch.ones(1))
F.batch_norm(torch.ones(2, 3).bool(), torch.ones(3), torch.ones(3))
F.max_pool1d(t([[1, 2, 3]]), 2)
F.max_pool1d(t([[1, 2, 3]]), 2, return_indices=True)
F.max_pool2d(torch.ones(1, 2, 2).bool(), 2)
F.layer_norm(torch.ones(2, 3).int(), (3,), torch.ones(3).int())
F.rms_norm(torch.ones(2, 3).int(), (3,))
F.l1_loss(t([1, 2], dtype=torch.int8), t([3, 4], dtype=torch.int8), reduction="sum")
F.l1_loss(t([True]), t([False]))
F.softmin(t([True]), 0)
F.mse_loss(t([1]), t([3]))
F.fractional_max_pool2d(torch.rand(3, 6, 6), 2, 3, _random_samples=torch.full((2, 3, 2), 0.3))
F.fractional_max_pool2d(torch.rand(1, 3, 6, 6), 2, 3, _random_samples=torch.rand(2, 3, 2))
F.fractional_max_pool2d(torch.rand(1, 3, 6, 6), 2, 3, _random_samples=torch.rand(1, 2, 2))
F.fractional_max_pool2d(torch.rand(1, 3, 6, 6), 2, 3, _random_samples=torch.rand(1, 3))
F.fractional_max_pool2d(torch.rand(1, 3, 6, 6), 2, 3, _random_samples=torch.rand(1, 3, 2).half())
F.relu(special)
F.hardswish(special)
F.softshrink(special.detach())
F.lp_pool1d(special[None, None], 1.5, 2)
F.conv1d(special.half()[None], torch.ones(1, 1, 2))
F.conv1d(special.bfloat16()[None], torch.ones(1, 1, 2), torch.ones(1).bfloat16())
F.conv1d(special.double()[None], torch.ones(1, 1, 2), padding="same")
F.conv1d(torch.ones(1, 4).int(), torch.ones(1, 1, 2).int())
F.conv_transpose1d(torch.ones(1, 4).int(), torch.ones(1, 1, 2).int())
F.conv2d(torch.ones(1, 4, 4), torch.ones(1, 1, 2, 2), torch.ones(1).double())
F.conv_transpose1d(special.double()[None], torch.ones(1, 1, 2).double(), torch.ones(1))
F.conv_transpose1d(torch.ones(1, 4).bool(), torch.ones(1, 1, 2).bool())
F.conv3d(torch.ones(1, 4, 4, 4).bool(), torch.ones(1, 1, 2, 2, 2).bool())
F.avg_pool3d(torch.ones(1, 2, 2, 2).half(), 2)
F.local_response_norm(torch.ones(1, 2, 2, 2).bfloat16(), 2)
F.multi_margin_loss(torch.ones(2).half(), t(1))
F.multilabel_margin_loss(torch.ones(2).bfloat16(), t([1, -1]))
F.rrelu(torch.ones(2).half(), training=True)
F.batch_norm(torch.ones(2, 3), None, None, training=True, eps=0.0)
F.batch_norm(torch.ones(2, 3), torch.ones(3), torch.ones(3), eps=-1.0)
torch.nn.HuberLoss(delta="1")
torch.addcmul(torch.ones(2).double(), torch.full((2,), 0.3).bfloat16(), t(0.001))
torch.addcdiv(torch.ones(2).double(), torch.full((2,), 0.3).half(), t([7.0, 3.0]))
"""


@pytest.mark.parametrize("line", lines_of(MENDED))
def test_what_differed_once(line: str, oracle: types.ModuleType) -> None:
    expected, actual = (outcome(t, PREPARATION, line) for t in (oracle, load("lazyt")))
    if expected[0] == actual[0] == "error":
        expected, actual = ((*o[:2], o[2].splitlines()[0]) for o in (expected, actual))
    assert same(expected, actual), f"{expected}\n{actual}"


@pytest.fixture(scope="module")
def samples(oracle: types.ModuleType) -> Samples:
    table("common_methods_invocations")
    both = Samples(oracle, lazyt)
    both.to_lazyt = Counterparts(oracle, lazyt)
    return both


@pytest.mark.parametrize("share", range(SHARES))
def test_functions_do_what_pytorch_does(samples: Samples, share: int) -> None:
    functions = [op for op in samples.table if op.name.startswith("nn.functional.")]
    differences = unexplained(samples.of_share(functions, share, SHARES), KNOWN)
    assert not differences, "\n".join(map(str, differences))
