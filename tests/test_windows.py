"""Adaptive and fractional maxima, unpooling, power pools, blocks and grids against PyTorch."""

from __future__ import annotations

import pytest
from test_functional import case, check
from test_nn import same
from test_nn_errors import raised

import lazyt

POOLS = [
    case("F.adaptive_max_pool1d(x, 3)", (2, 3, 7)),
    case("F.adaptive_max_pool1d(x, 3)", (3, 9)),
    case("F.adaptive_max_pool2d(x, (3, 2))", (2, 3, 7, 4)),
    case("F.adaptive_max_pool2d(x, (None, 2))", (3, 3, 5)),
    case("F.adaptive_max_pool2d(x, 7)", (1, 2, 3, 5)),
    case("F.adaptive_max_pool3d(x, (1, 2, 3))", (1, 2, 3, 4, 5)),
    case("F.adaptive_max_pool2d(x, 1)", (0, 2, 3, 3), second=False),
    case("F.adaptive_max_pool1d(x, 4, return_indices=True)[1] + x.sum()", (2, 3, 7)),
    case("F.adaptive_max_pool2d(x, (3, 2), True)[1] + x.sum()", (2, 3, 7, 5)),
    case("F.adaptive_max_pool3d(x, 2, True)[1] + x.sum()", (2, 3, 3, 4, 5)),
    case("torch.adaptive_max_pool1d(x, 2)[1] + x.sum()", (2, 3, 4)),
    case("F.max_unpool1d(x, t, 2)", (1, 2, 2), t=[[[1, 3], [0, 2]]]),
    case(
        "F.max_unpool2d(x, t, 2, padding=0, output_size=(1, 1, 3, 4))", (1, 1, 1, 2), t=[[[[5, 3]]]]
    ),
    case("F.max_unpool2d(x, t, (1, 2), (2, 1))", (1, 1, 2), t=[[[2, 1]]]),
    case("F.max_unpool3d(x, t, 2)", (1, 1, 1, 1, 2), t=[[[[[5, 12]]]]]),
    case("F.lp_pool1d(x, 2, 3)", (2, 3, 7)),
    case("F.lp_pool2d(x, 3, 2, 1)", (2, 3, 4, 5), positive=True),
    case("F.lp_pool2d(x, 2, (2, 3), ceil_mode=True)", (2, 5, 5)),
    case("F.lp_pool3d(x, 2, 2)", (1, 2, 4, 4, 3)),
    case("F.lp_pool2d(x, float('inf'), 2)", (2, 3, 4, 4)),
    case("F.lp_pool1d(x, float('-inf'), 2)", (2, 3, 4)),
    *(
        case(f"F.fractional_max_pool{text}", shape, r=samples)
        for text, shape, samples in [
            ("2d(x, 2, 3, _random_samples=r)", (1, 2, 7, 6), [[[0.3, 0.8], [0.1, 0.9]]]),
            ("2d(x, 2, None, (0.5, 0.4), False, r)", (2, 7, 6), [[[0.3, 0.8], [0.1, 0.9]]]),
            ("2d(x, (2, 3), 3, None, True, r)[1] + x.sum()", (1, 1, 7, 6), [[[0.3, 0.8]]]),
            ("3d(x, 2, (2, 3, 1), _random_samples=r)", (1, 1, 5, 6, 7), [[[0.3, 0.8, 0.5]]]),
        ]
    ),
]
BLOCKS = [
    case("F.unfold(x, 2)", (2, 3, 4, 5)),
    case("F.unfold(x, (2, 3), padding=(1, 2), stride=2)", (1, 2, 5, 6)),
    case("F.unfold(x, 2, dilation=2, stride=(1, 2))", (2, 5, 6)),
    case("F.unfold(x, 2)", (0, 3, 4, 5), second=False),
    case("F.fold(x, (4, 5), 2)", (2, 12, 12)),
    case("F.fold(x, (5, 6), (2, 3), padding=(1, 2), stride=2)", (1, 12, 12)),
    case("F.fold(x, (5, 6), 2, dilation=2, stride=(1, 2))", (8, 6)),
    case("F.fold(x, (5, 5), 2, stride=3)", (1, 4, 4)),
    case("F.fold(F.unfold(x, 3, padding=1), (4, 4), 3, padding=1)", (1, 2, 4, 4)),
]
GRIDS = [
    case(
        f"F.grid_sample(x, w, '{mode}', '{padding}', {corners})",
        *shapes,
        second=False,
    )
    for mode in ("bilinear", "nearest", "bicubic")
    for padding in ("zeros", "border", "reflection")
    for corners in (False, True)
    for shapes in [((2, 2, 4, 5), (2, 3, 4, 2)), ((1, 2, 3, 4, 3), (1, 2, 3, 2, 3))]
    if not (mode == "bicubic" and len(shapes[0]) == 5)
] + [
    case("F.grid_sample(x, w, align_corners=True)", (1, 1, 1, 1), (1, 2, 2, 2), second=False),
    case("F.grid_sample(x, w)", (0, 1, 2, 2), (0, 2, 2, 2), second=False),
    case("F.affine_grid(x, (2, 1, 3, 4), align_corners=False)", (2, 2, 3)),
    case("F.affine_grid(x, (2, 1, 3, 4), align_corners=True)", (2, 2, 3)),
    case("F.affine_grid(x, (1, 1, 3, 1, 4))", (1, 3, 4)),
    case(
        "F.grid_sample(w, F.affine_grid(x, w.shape), align_corners=False)",
        (1, 2, 3),
        (1, 2, 3, 3),
        second=False,
    ),
]
CASES = [*POOLS, *BLOCKS, *GRIDS]


@pytest.mark.parametrize("c", CASES, ids=lambda c: f"{c.text} {list(c.shapes.values())}")
def test_as_pytorch(c, oracle):
    check(c, oracle, "float64", 1e-9, 1e-11)


@pytest.mark.parametrize("c", CASES[::4], ids=lambda c: c.text)
def test_single_precision(c, oracle):
    check(c, oracle, "float32", 1e-3, 1e-4)


MODULES = """
nn.AdaptiveMaxPool1d(2)(torch.randn(1, 2, 5))
nn.AdaptiveMaxPool2d((2, None))(torch.randn(1, 2, 5, 3))
nn.AdaptiveMaxPool3d(2, return_indices=True)(torch.randn(1, 2, 5, 3, 4))[1]
nn.FractionalMaxPool2d(2, output_size=3)(torch.randn(2, 3, 8, 9))
nn.FractionalMaxPool3d(2, output_ratio=0.5)(torch.randn(1, 3, 8, 9, 7))
nn.LPPool1d(2, 3)(torch.randn(1, 2, 7))
nn.LPPool2d(1.5, (2, 1), stride=1)(torch.rand(1, 2, 4, 4))
nn.LPPool3d(2, 2)(torch.randn(1, 2, 4, 4, 4))
nn.Fold((4, 5), 2)(torch.randn(1, 4, 12))
nn.Unfold((2, 3), padding=1)(torch.randn(1, 2, 3, 4))
nn.MaxUnpool1d(2)(*nn.MaxPool1d(2, return_indices=True)(torch.randn(1, 2, 6)))
nn.MaxUnpool2d(3, 2)(*nn.MaxPool2d(3, 2, return_indices=True)(torch.randn(2, 7, 8)), (7, 8))
nn.MaxUnpool3d((1, 2, 2))(*nn.MaxPool3d((1, 2, 2), return_indices=True)(torch.randn(1, 2, 4, 4)))
""".strip().splitlines()


@pytest.mark.parametrize("text", MODULES)
def test_modules(text, oracle):
    layer = text[: min(text.index(end) for end in (")(torch", ")(*nn") if end in text) + 1]
    same(
        f"y = {text}\nm = {layer}\nresult = [y, str(m), list(m.state_dict()), torch.rand(1)]",
        oracle,
        1e-4,
        1e-5,
    )


LONG = "torch.zeros(1, 2, 3, dtype=torch.long)"
ERRORS = f"""
F.adaptive_max_pool1d(o(3), 2)
F.adaptive_max_pool1d(o(2, 2, 0), 2)
F.adaptive_max_pool1d(o(2, 2, 3), (2, 2))
F.adaptive_max_pool1d(o(2, 2, 3), -1)
F.adaptive_max_pool1d(o(2, 2, 3), None)
F.adaptive_max_pool2d(o(3), 2)
F.adaptive_max_pool2d(o(2, 0, 3, 3), 2)
F.adaptive_max_pool2d(o(2, 3, 3, 3), (1, 2, 3))
F.adaptive_max_pool2d(o(2, 3, 3, 3), -1)
F.adaptive_max_pool2d(o(2, 3, 3, 3), None)
F.adaptive_max_pool2d(o(2, 3, 3).long(), 2)
F.adaptive_max_pool3d(o(2, 3, 3, 3).long(), 2)
F.adaptive_max_pool3d(o(2, 2), 2)
F.max_unpool1d(o(1, 2, 3), {LONG}[:, :, :2], 2)
F.max_unpool1d(o(1, 2, 3), {LONG}.int(), 2)
F.max_unpool1d(o(1, 2, 3), torch.tensor([[[0, 1, 2], [3, 4, 50]]]), 2)
F.max_unpool1d(o(1, 2, 3), {LONG}, 2, output_size=(1,))
F.max_unpool1d(o(1, 2, 3), {LONG}, 2, output_size=(1, 2))
F.max_unpool1d(o(3), {LONG}[0, 0], 2)
F.max_unpool2d(o(2, 3), {LONG}[0], 2)
F.max_unpool2d(o(2, 0, 3, 3), torch.zeros(2, 0, 3, 3).long(), 2)
F.max_unpool2d(o(1, 2, 3).long(), {LONG}, 2)
F.max_unpool3d(o(1, 2, 3), {LONG}, 2)
F.max_unpool3d(o(1, 1, 2, 3), {LONG}[None].int(), 2)
F.fractional_max_pool2d(o(1, 2, 5, 5), 2)
F.fractional_max_pool2d(o(1, 2, 5, 5), 2, output_size=5)
F.fractional_max_pool2d(o(1, 2, 5, 5), 2, output_ratio=(0.5, 0.5, 0.5))
F.fractional_max_pool3d(o(1, 2, 5, 5, 5), 7, output_size=2)
nn.FractionalMaxPool2d(2)
nn.FractionalMaxPool2d(2, 3, 0.5)
nn.FractionalMaxPool3d(2, output_ratio=1.5)
F.unfold(o(5, 5), 2)
F.unfold(o(1, 2, 5, 5), 7)
F.unfold(o(1, 2, 5, 5), 0)
F.unfold(o(1, 2, 5, 5), 2, 0)
F.unfold(o(1, 2, 5, 5), 2, 1, -1)
F.unfold(o(1, 2, 5, 5), 2, 1, 0, 0)
F.unfold(o(1, 2, 5, 5), (2, 2, 2))
F.unfold(o(1, 0, 5, 5), 2)
F.unfold(o(1, 2, 5, 5).long(), 2)
F.fold(o(1, 8, 15), (5, 5), 2)
F.fold(o(1, 7, 16), (5, 5), 2)
F.fold(o(1, 1, 8, 16), (5, 5), 2)
F.fold(o(1, 8, 16), (1, 1), 2)
F.fold(o(1, 8, 16), (5, 5, 5), 2)
F.grid_sample(o(1, 2, 5, 5), o(1, 3, 3, 2), mode='x')
F.grid_sample(o(1, 2, 5, 5), o(1, 3, 3, 2), padding_mode='x')
F.grid_sample(o(1, 2, 5, 5), o(1, 3, 3, 3))
F.grid_sample(o(1, 2, 5, 5), o(2, 3, 3, 2))
F.grid_sample(o(1, 2, 5), o(1, 3, 3, 2))
F.grid_sample(o(1, 2, 5, 5), o(1, 3, 2))
F.grid_sample(o(1, 2, 0, 5), o(1, 3, 3, 2))
F.grid_sample(o(1, 2, 5, 5).double(), o(1, 3, 3, 2))
F.grid_sample(o(1, 2, 5, 5, 5), o(1, 3, 3, 3, 3), mode='bicubic')
F.grid_sample(o(1, 2, 5, 5).long(), o(1, 3, 3, 2).long())
F.affine_grid(o(1, 2, 3).long(), (1, 1, 4, 5))
F.affine_grid(o(1, 2, 2), (1, 1, 4, 5))
F.affine_grid(o(1, 2, 3), (1, 1, 4, 5, 6))
F.affine_grid(o(1, 2, 3), (1, 1, 4))
F.affine_grid(o(1, 2, 3), (1, 1, 0, 4))
F.affine_grid(o(1, 2, 3), (2, 1, 4, 5))
""".strip().splitlines()


@pytest.mark.parametrize("line", ERRORS)
def test_errors(line, oracle):
    wanted = raised(line, oracle)
    assert wanted is not None
    assert raised(line, lazyt) == wanted
