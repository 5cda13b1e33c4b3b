"""Resizing, shuffling, padding layers against PyTorch: values, derivatives, text, errors."""

from __future__ import annotations

import pytest
from test_functional import case, check
from test_nn import same
from test_nn_errors import raised

import lazyt

MODES = {
    "nearest": (3, 4, 5),
    "nearest-exact": (3, 4, 5),
    "area": (3, 4, 5),
    "linear": (3,),
    "bilinear": (4,),
    "trilinear": (5,),
    "bicubic": (4,),
}
# Larger and smaller, by uneven factors too.
HOW = {
    "size=7": ("", "align_corners=True"),
    "size=3": ("", "align_corners=True"),
    "scale_factor=2": ("", "align_corners=True"),
    "scale_factor=1.7": ("", "recompute_scale_factor=True"),
    "scale_factor=0.4": ("", "recompute_scale_factor=True", "align_corners=True"),
}
INTERPOLATIONS = [
    case(f"F.interpolate(x, {how}, mode='{mode}', {more})", (1, 2, 5, 6, 3)[:rank])
    for mode, ranks in MODES.items()
    for rank in ranks
    for how, options in HOW.items()
    for more in options
    if mode.endswith(("linear", "cubic")) or "corners" not in more
]
SMOOTHED = [
    case(f"F.interpolate(x, {size}, mode='{mode}', antialias=True{corners})", (1, 2, 9, 8))
    for mode in ("bilinear", "bicubic", "lanczos")
    for size in ("size=(4, 12)", "scale_factor=(0.3, 1.5)")
    for corners in ("", ", align_corners=True")
    if not (mode == "lanczos" and corners)
]
OTHERS = [
    case("F.interpolate(x, (4, 7), mode='bilinear')", (2, 1, 4, 3)),
    case("F.interpolate(x, (4, 3), mode='bilinear')", (2, 1, 4, 3)),
    case("F.interpolate(x, scale_factor=(2, 3))", (2, 1, 4, 3)),
    case("F.interpolate(x, size=5, mode='linear')", (2, 1, 1)),
    case("F.interpolate(x, size=1, mode='bicubic', align_corners=True)", (2, 1, 3, 3)),
    case("F.interpolate(x, size=5)", (0, 2, 3), second=False),
    case("F.upsample(x, scale_factor=2, mode='bilinear')", (1, 2, 3, 3)),
    case("F.upsample_nearest(x, 5)", (1, 2, 3, 3)),
    case("F.upsample_bilinear(x, 5)", (1, 2, 3, 3)),
    case("F.pixel_shuffle(x, 2)", (2, 8, 3, 4)),
    case("F.pixel_shuffle(x, 3)", (9, 1, 2)),
    case("F.pixel_shuffle(x, 1)", (2, 3, 2, 2)),
    case("torch.pixel_unshuffle(x, 2)", (3, 2, 4, 6)),
    case("F.pixel_unshuffle(x, 2)", (2, 4, 6)),
    case("F.channel_shuffle(x, 2)", (2, 6, 3)),
    case("torch.channel_shuffle(x, 3)", (2, 6, 2, 2)),
]


@pytest.mark.parametrize(
    "c", [*INTERPOLATIONS, *SMOOTHED, *OTHERS], ids=lambda c: f"{c.text} {c.shapes}"
)
def test_as_pytorch(c, oracle):
    check(c, oracle, "float64", 1e-9, 1e-11)


@pytest.mark.parametrize("c", [*INTERPOLATIONS[::4], *SMOOTHED], ids=lambda c: c.text)
def test_single_precision(c, oracle):
    check(c, oracle, "float32", 1e-4, 1e-5)


@pytest.mark.parametrize("extent", [3, 5, 7, 10, 16, 31])
def test_nearest_places_are_those_of_pytorch(extent, oracle):
    same(
        f"x = torch.arange({extent}.).view(1, 1, -1)\n"
        "result = [torch.nn.functional.interpolate(x, size=n, mode=mode)"
        " for n in range(1, 40) for mode in ('nearest', 'nearest-exact')]",
        oracle,
        0,
        0,
    )


MODULES = """
nn.Upsample(scale_factor=2)(torch.randn(1, 2, 3, 3))
nn.Upsample((4, 5), mode='bilinear', align_corners=True)(torch.randn(1, 2, 3, 3))
nn.Upsample(scale_factor=(1.5, 2), mode='bicubic')(torch.randn(1, 2, 3, 3))
nn.Upsample(5, mode='trilinear')(torch.randn(1, 2, 3, 3, 3))
nn.UpsamplingNearest2d(scale_factor=3)(torch.randn(1, 2, 3, 3))
nn.UpsamplingBilinear2d(size=(4, 5))(torch.randn(1, 2, 3, 3))
nn.PixelShuffle(2)(torch.randn(1, 4, 3, 3))
nn.PixelUnshuffle(3)(torch.randn(1, 4, 3, 3))
nn.ChannelShuffle(2)(torch.randn(1, 4, 3))
nn.ConstantPad1d((1, 2), 3.5)(torch.randn(2, 3))
nn.ConstantPad2d(1, 3)(torch.randn(1, 2, 3, 3))
nn.ConstantPad3d(1, 0.5)(torch.randn(1, 2, 2, 2))
nn.ZeroPad1d(2)(torch.randn(2, 3, 4))
nn.ZeroPad2d((1, -1, 0, 2))(torch.randn(2, 3, 4))
nn.ZeroPad3d(1)(torch.randn(1, 2, 2, 2, 2))
nn.ReflectionPad1d((2, 1))(torch.randn(2, 4))
nn.ReflectionPad2d(2)(torch.randn(1, 2, 4, 3))
nn.ReflectionPad3d(1)(torch.randn(1, 2, 2, 3, 2))
nn.ReplicationPad1d(2)(torch.randn(2, 3, 4))
nn.ReplicationPad2d((1, 2, 3, 4))(torch.randn(2, 3, 4))
nn.ReplicationPad3d(1)(torch.randn(2, 2, 2, 2))
nn.CircularPad1d(2)(torch.randn(2, 3, 4))
nn.CircularPad2d((1, 2, 0, 1))(torch.randn(1, 2, 3, 4))
nn.CircularPad3d(1)(torch.randn(1, 2, 2, 2, 2))
""".strip().splitlines()


@pytest.mark.parametrize("text", MODULES)
def test_modules(text, oracle):
    same(
        f"y = {text}\nm = {text[: text.index(')(torch') + 1]}\n"
        "result = [y, str(m), list(m.state_dict())]",
        oracle,
        1e-4,
        1e-5,
    )


INTEGERS = """
F.interpolate(x, size=7)
F.interpolate(x, scale_factor=0.5, mode='nearest-exact')
F.interpolate(x, size=(7, 9), mode='bilinear')
F.interpolate(x, size=(5, 3), mode='bilinear', align_corners=True)
F.pixel_shuffle(x, 2)
""".strip().splitlines()


@pytest.mark.parametrize("text", INTEGERS)
def test_bytes(text, oracle):
    same(
        "x = (torch.arange(160).view(1, 4, 5, 8) * 37 % 256).to(torch.uint8)\n"
        f"result = [{text}.to(torch.int64)]",
        oracle,
        0,
        1 if "bilinear" in text else 0,
    )


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_halves(dtype, oracle):
    same(
        f"x = torch.randn(1, 2, 4, 4).to(torch.{dtype}).requires_grad_()\n"
        "y = F.interpolate(x, scale_factor=2, mode='bilinear')\n"
        "z = F.interpolate(x, scale_factor=2)\n"
        "(y.float().square().sum() + z.float().sum()).backward()\n"
        "result = [y, z, x.grad]",
        oracle,
        2e-2,
        2e-2,
    )


ERRORS = """
F.interpolate(o(1, 2, 3))
F.interpolate(o(1, 2, 3), size=2, scale_factor=2)
F.interpolate(o(1, 2, 3), size=2, align_corners=True)
F.interpolate(o(1, 2, 3), size=(2, 2))
F.interpolate(o(1, 2, 3, 3), scale_factor=(2,))
F.interpolate(o(1, 2, 3, 3), size=(2.5, 1))
F.interpolate(o(1, 2, 3), size=2, recompute_scale_factor=True)
F.interpolate(o(1, 2, 3), size=2, antialias=True)
F.interpolate(o(1, 2, 3), size=2, mode='bilinear')
F.interpolate(o(1, 2, 3, 3), size=2, mode='linear')
F.interpolate(o(1, 2, 3, 3, 3), size=2, mode='bilinear')
F.interpolate(o(1, 2, 3, 3, 3), size=2, mode='bicubic')
F.interpolate(o(1, 2, 3, 3), size=2, mode='lanczos')
F.interpolate(o(1, 2, 3, 3), size=2, mode='lanczos', antialias=True, align_corners=True)
F.interpolate(o(2, 3), size=2)
F.interpolate(o(1, 2, 3), size=2, mode='cubic')
F.interpolate(o(1, 2, 3), size=0)
F.interpolate(o(1, 2, 3, 0), size=2)
F.interpolate(o(1, 0, 3, 3), size=2)
F.interpolate(o(1, 2, 3).long(), size=2, mode='linear')
F.interpolate(o(1, 2, 3, 3).long(), size=2)
F.interpolate(o(1, 2, 3, 3), scale_factor=0.1)
F.pixel_shuffle(o(1, 3, 2, 2), 2)
F.pixel_shuffle(o(2, 2), 2)
F.pixel_shuffle(o(1, 4, 2, 2), 0)
F.pixel_unshuffle(o(1, 3, 3, 2), 2)
F.pixel_unshuffle(o(1, 3, 2, 3), 2)
F.pixel_unshuffle(o(2, 3), 2)
F.pixel_unshuffle(o(1, 2, 3), -1)
F.channel_shuffle(o(3, 2), 2)
F.channel_shuffle(o(3, 3, 3), 2)
F.channel_shuffle(o(3, 3, 3), 0)
nn.CircularPad2d(1)(o(3, 3))
nn.CircularPad1d(1)(o(3, 3, 3, 3))
nn.ReflectionPad1d(4)(o(2, 3))
nn.CircularPad1d(4)(o(2, 3))
nn.ReplicationPad2d(1)(o(3))
""".strip().splitlines()


@pytest.mark.parametrize("line", ERRORS)
def test_errors(line, oracle):
    wanted = raised(line, oracle)
    assert wanted is not None
    assert raised(line, lazyt) == wanted
