"""Attention, MultiheadAttention and transformers against PyTorch."""

from __future__ import annotations

import importlib
import warnings
from typing import Any

import numpy as np
import pytest
from c_tier import needs_compiler
from layer_tools import numpy_state, same, same_error
from surface import lines_of

import lazyt
import lazyt.nn
import lazyt.nn.functional
from lazyt.nn.attention import SDPBackend, sdpa_kernel
from lazyt.runtime.plan import Plan

DOT_PRODUCTS = lines_of("""
f(q, k, v)
f(q, k, v, scale=0.3)
f(q, k, v, is_causal=True)
f(q, q, q, is_causal=True)
f(q, k, v, keep)
f(q, k, v, keep[1:2])
f(q, k, v, torch.rand(2, 1, 5, 3) > 0.5)
f(q, k, v, bias)
f(q, k, v, torch.randn(2, 4, 5, 3))
f(q, k, v, keep, is_causal=True)
f(q, k, v, nothing)
f(q, k, v, torch.where(nothing, 0.0, -math.inf))
f(q[0], k[0], v[0], nothing)
f(q[0, 0], k[0, 0], v[0, 0], bias)
f(q, k, v, nothing, dropout_p=0.5)
f(q, k, v, dropout_p=0.5, is_causal=True)
f(q, k, v, dropout_p=1.0)
f(q, k[:, :1], v[:, :1])
f(q, k[:, :2], v[:, :2], enable_gqa=True)
f(q, k[:, :1], v[:, :1], bias, 0.0, False, scale=None, enable_gqa=True)
f(q, k, v[..., :2])
f(q[:, :, :0], k, v)
f(q, k[:, :, :0], v[:, :, :0])
""")
OPERANDS = """
f = F.scaled_dot_product_attention
q, k, v = torch.randn(2, 4, 5, 6), torch.randn(2, 4, 3, 6), torch.randn(2, 4, 3, 6)
keep = torch.rand(5, 3) > 0.4
nothing = keep & torch.tensor([[False], [True], [True], [True], [False]])
bias = torch.randn(5, 3)
"""


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("line", DOT_PRODUCTS)
def test_scaled_dot_product_attention(line, dtype, oracle):
    same(
        OPERANDS + f"result = run(lambda q, k, v: {line}, q, k, v) + [torch.rand(2)]", oracle, dtype
    )


def test_gradients_of_masks(oracle):
    same(
        OPERANDS + "bias.requires_grad_()\n"
        "result = run(lambda *x: f(*x, bias), q, k, v) + [bias.grad]",
        oracle,
    )


@pytest.mark.parametrize("kind", ["float16", "bfloat16"])
def test_half_types(kind, oracle):
    text = f"q = (torch.arange(48.).reshape(2, 4, 6) / 48).to(torch.{kind})\n"
    text += "y = F.scaled_dot_product_attention(q, q, q, is_causal=True)\n"
    found = [float(t) for t in _result(text, lazyt)]
    wanted = [float(t) for t in _result(text, oracle)]
    np.testing.assert_allclose(found, wanted, 2e-2)


def _result(text: str, m: Any) -> Any:
    names = {"torch": m, "F": importlib.import_module(m.__name__ + ".nn.functional")}
    exec(text, names)
    assert str(names["y"].dtype) == str(names["q"].dtype)
    return names["y"].reshape(-1).tolist()


DOT_ERRORS = lines_of("""
f(1, k, v)
f(q, k.double(), v)
f(q[0, 0, 0], k, v)
f(q, k[..., :4], v)
f(q, k[:, :2], v[:, :2])
f(q, k[:, :3], v[:, :3], enable_gqa=True)
f(q, k, v, torch.ones(5, 3, dtype=torch.int64))
f(q, k, v, torch.ones(5, 3, dtype=torch.float64))
f(q, k, v, torch.ones(4, 3))
f(q, k, v, dropout_p=1.5)
f(q.long(), k.long(), v.long())
f(q[0], k[0], v[0], keep, is_causal=True)
f(q, k, v, keep, 0.5, True)
""")


@pytest.mark.parametrize("line", DOT_ERRORS)
def test_errors_of_scaled_dot_product_attention(line, oracle):
    preparation = OPERANDS.strip().splitlines()
    names = "; ".join(preparation)
    same_error(f"exec({names!r}, globals()) or ({line})", oracle)


LAYERS = lines_of("""
nn.MultiheadAttention(8, 2)
nn.MultiheadAttention(8, 4, bias=False)
nn.MultiheadAttention(8, 2, batch_first=True)
nn.MultiheadAttention(8, 2, add_bias_kv=True)
nn.MultiheadAttention(8, 2, add_zero_attn=True, batch_first=True)
nn.MultiheadAttention(8, 2, add_bias_kv=True, add_zero_attn=True, bias=False)
nn.MultiheadAttention(8, 2, kdim=8, vdim=8)
nn.MultiheadAttention(8, 1, kdim=6, vdim=8, add_bias_kv=True)
""")
CALLS = lines_of("""
dict()
dict(need_weights=False)
dict(average_attn_weights=False)
dict(key_padding_mask=padded)
dict(key_padding_mask=padded, need_weights=False)
dict(key_padding_mask=torch.zeros(2, 3).masked_fill(padded, -5.0), attn_mask=torch.randn(5, 3))
dict(attn_mask=masked, need_weights=False)
dict(attn_mask=masked, key_padding_mask=padded)
dict(attn_mask=torch.randn(4, 5, 3) if m.num_heads == 2 else None)
dict(attn_mask=masked, is_causal=True)
dict(attn_mask=masked, is_causal=True, need_weights=False)
""")


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("layer", LAYERS)
def test_multihead_attention(layer, dtype, oracle):
    same(
        f"m = {layer}\n"
        "result = [str(m), list(m.state_dict()), list(m._parameters), *m.state_dict().values()]\n"
        "padded = torch.tensor([[False, False, True], [False, False, False]])\n"
        "masked = torch.ones(5, 3).triu(1).bool()\n"
        "axis = 0 if m.batch_first else 1\n"
        "make = lambda steps, width: torch.randn(steps, 2, width).movedim(1, axis)\n"
        f"for options in ({', '.join(f'lambda: {c}' for c in CALLS)}):\n"
        "    q, k, v = make(5, 8), make(3, m.kdim), make(3, m.vdim)\n"
        "    result += run(m, q, k, v, **options())\n"
        "if m.kdim == 8:\n"
        "    x, memory = make(4, 8), make(3, 8)\n"
        "    result += run(m, x, x, x) + run(m, x, memory, memory)\n"
        "    result += run(m, x[0], x[0], x[0]) + run(m, x[0], memory[0], memory[0])\n"
        "    result += run(m, x[0], x[0], x[0], need_weights=False)\n",
        oracle,
        dtype,
    )


def test_attention_in_inference(oracle):
    """With rows in which no key counts, where PyTorch's shorter way gives nan and the longer 0."""
    same(
        """
result = []
padded = torch.tensor([[True, True, True], [False, True, False]])
for options in dict(batch_first=True), dict(), dict(batch_first=True, bias=False):
    m = nn.MultiheadAttention(8, 2, **options).eval()
    x = torch.randn(2, 3, 8) if m.batch_first else torch.randn(3, 2, 8)
    with torch.no_grad():
        for needed in True, False:
            y, w = m(x, x, x, key_padding_mask=padded, need_weights=needed)
            result += [y, w, y.is_contiguous()]
            result += m(x, x.clone(), x, key_padding_mask=padded, need_weights=needed)
        mask = torch.ones(3, 3).triu(1).bool()
        result += m(x, x, x, attn_mask=mask, is_causal=True, need_weights=False)
    result += m(x, x, x, attn_mask=mask)
    result += m.merge_masks(torch.zeros(3, 3), torch.zeros(2, 3), torch.zeros(2, 3, 8))
    result += m.merge_masks(torch.zeros(4, 3, 3), None, torch.zeros(2, 3, 8))
    result += m.merge_masks(None, None, x) + m.merge_masks(None, padded, x)
""",
        oracle,
    )


def test_dropout_of_weights(oracle):
    same(
        "m = nn.MultiheadAttention(8, 2, dropout=0.5)\nx = torch.randn(4, 3, 8)\n"
        "result = run(m, x, x, x) + run(m, x, x, x, need_weights=False) + [torch.rand(2)]",
        oracle,
    )


def test_function_with_keys_of_the_caller(oracle):
    same(
        """
x = torch.randn(4, 2, 8)
w, b = torch.randn(24, 8), torch.randn(24)
o = torch.randn(8, 8)
static = torch.randn(4, 5, 4)
f = F.multi_head_attention_forward
result = [*f(x, x, x, 8, 2, w, b, None, None, False, 0.0, o, None, static_k=static,
             static_v=static * 2),
          *f(x, x, x, 8, 2, None, b, None, None, False, 0.0, o, None, need_weights=False,
             use_separate_proj_weight=True, q_proj_weight=o, k_proj_weight=o * 2,
             v_proj_weight=o * 3)]
""",
        oracle,
    )


ERRORS = lines_of("""
nn.MultiheadAttention(5, 2)
nn.MultiheadAttention(0, 1)
nn.MultiheadAttention(8, 2)(x[None], x[None], x[None])
nn.MultiheadAttention(8, 2)(x, x, x[0])
nn.MultiheadAttention(8, 2)(x[0], x, x)
nn.MultiheadAttention(8, 2)(x, x, x, is_causal=True)
nn.MultiheadAttention(8, 2)(x, x, x, attn_mask=torch.ones(2, 2).bool())
nn.MultiheadAttention(8, 2)(x, x, x, attn_mask=torch.ones(2, 3, 3).bool())
nn.MultiheadAttention(8, 2)(x, x, x, attn_mask=torch.ones(3).bool())
nn.MultiheadAttention(8, 2)(x[0], x[0], x[0], attn_mask=torch.ones(3, 2, 2).bool())
nn.MultiheadAttention(8, 2)(x, x, x, attn_mask=torch.ones(3, 3).long())
nn.MultiheadAttention(8, 2)(x, x, x, key_padding_mask=torch.ones(3, 2).bool())
nn.MultiheadAttention(8, 2)(x, x, x, key_padding_mask=torch.ones(2, 2).bool())
nn.MultiheadAttention(8, 2)(x, x, x, key_padding_mask=torch.ones(2).bool())
nn.MultiheadAttention(8, 2)(x[0], x[0], x[0], key_padding_mask=torch.ones(2, 2).bool())
nn.MultiheadAttention(8, 2)(x[..., :4], x, x)
nn.MultiheadAttention(8, 2)(x, x, x[:2])
nn.MultiheadAttention(8, 2, kdim=4)(x, x, x)
nn.MultiheadAttention(8, 2, kdim=8, vdim=4)(x, x, x[:2, :, :4])
nn.TransformerEncoderLayer(4, 2, activation='tanh')
nn.TransformerEncoderLayer(4, 3)
nn.Transformer(8, 2, 1, 1, 4)(x, x[:, :1])
nn.Transformer(8, 2, 1, 1, 4, batch_first=True)(x, x[:1])
nn.Transformer(8, 2, 1, 1, 4)(x, x[..., :4])
""")


@pytest.mark.parametrize("line", ERRORS)
def test_errors(line, oracle):
    same_error(f"(lambda x: {line})(torch.ones(3, 2, 8))", oracle)


ENCODERS = lines_of("""
nn.TransformerEncoderLayer(8, 2, 16, 0.0)
nn.TransformerEncoderLayer(8, 2, 16, 0.0, 'gelu', batch_first=True)
nn.TransformerEncoderLayer(8, 2, 16, 0.0, nn.Tanh(), norm_first=True, bias=False)
nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, 16, 0.0), 2, nn.LayerNorm(8))
nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, 16, 0.0, batch_first=True), 2)
""")
DECODERS = lines_of("""
nn.TransformerDecoderLayer(8, 2, 16, 0.0)
nn.TransformerDecoderLayer(8, 2, 16, 0.0, F.gelu, batch_first=True, layer_norm_eps=1e-3)
nn.TransformerDecoderLayer(8, 2, 16, 0.0, norm_first=True, bias=False)
nn.TransformerDecoder(nn.TransformerDecoderLayer(8, 2, 16, 0.0), 2, nn.LayerNorm(8))
nn.Transformer(8, 2, 1, 2, 16, 0.0)
nn.Transformer(8, 2, 1, 1, 16, 0.0, batch_first=True, norm_first=True)
""")


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("layer", ENCODERS)
def test_encoders(layer, dtype, oracle):
    same(
        f"m = {layer}\n"
        "result = [str(m), list(m.state_dict()), *m.state_dict().values()]\n"
        "causal = nn.Transformer.generate_square_subsequent_mask(4)\n"
        "padded = torch.zeros(4, 4).bool(); padded[1, 2:] = True\n"
        "x = torch.randn(4, 4, 8)\n"
        "result += run(m, x) + run(m, x[0])\n"
        "result += run(m, x, causal) + run(m, x, causal, is_causal=True)\n"
        "result += run(m, x, src_key_padding_mask=padded)\n"
        "result += run(m, x, causal.bool(), padded)",
        oracle,
        dtype,
    )


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("layer", DECODERS)
def test_decoders(layer, dtype, oracle):
    same(
        f"m = {layer}\n"
        "result = [str(m), list(m.state_dict()), *m.state_dict().values()]\n"
        "causal = nn.Transformer.generate_square_subsequent_mask(4)\n"
        "padded = torch.zeros(4, 4).bool(); padded[1, 2:] = True\n"
        "x, memory = torch.randn(4, 4, 8), torch.randn(4, 4, 8)\n"
        "a, b = (memory, x) if isinstance(m, nn.Transformer) else (x, memory)\n"
        "result += run(m, a, b) + run(m, a[0], b[0]) + run(m, a, b, tgt_mask=causal)\n"
        "result += run(m, a, b, tgt_mask=causal, tgt_is_causal=True, memory_mask=causal.bool())\n"
        "result += run(m, a, b, tgt_key_padding_mask=padded, memory_key_padding_mask=padded)",
        oracle,
        dtype,
    )


def test_dropout_and_inference_of_transformers(oracle):
    same(
        """
x, y = torch.randn(5, 2, 8), torch.randn(3, 2, 8)
m = nn.Transformer(8, 2, 2, 2, 16, 0.2)
result = run(m, x, y) + [torch.rand(2), m.eval()(x, y)]
with torch.no_grad():
    result += [m(x, y, tgt_mask=m.generate_square_subsequent_mask(3))]
custom = nn.Transformer(8, 2, 1, 1, 16, custom_encoder=m.encoder, custom_decoder=m.decoder)
result += [custom(x, y), len(list(custom.parameters()))]
a, b = m.encoder.layers
result += [a.linear1.weight is b.linear1.weight, torch.equal(a.norm1.bias, b.norm1.bias)]
""",
        oracle,
    )


def test_padded_steps_in_inference(oracle):
    """PyTorch leaves them out, and there are zeros in their place, where it can."""
    same(
        """
from torch.backends import mha
result = []
x = torch.randn(3, 4, 8)
at_end = torch.tensor([[0, 0, 0, 1], [0, 0, 0, 0], [0, 1, 1, 1]]).bool()
inside = torch.tensor([[0, 1, 0, 1], [0, 0, 0, 0], [0, 1, 1, 1]]).bool()
for options in dict(batch_first=True), dict(batch_first=True, norm_first=True), dict():
    layer = nn.TransformerEncoderLayer(8, 2, 16, **options)
    for enabled in True, False:
        m = nn.TransformerEncoder(layer, 2, nn.LayerNorm(8), enable_nested_tensor=enabled).eval()
        a = x if m.layers[0].self_attn.batch_first else x.transpose(0, 1)
        result += [m(a, src_key_padding_mask=at_end)]
        with torch.no_grad():
            result += [m(a, src_key_padding_mask=at_end), m(a, src_key_padding_mask=inside), m(a)]
            mha.set_fastpath_enabled(False)
            result += [m(a, src_key_padding_mask=at_end), mha.get_fastpath_enabled()]
            mha.set_fastpath_enabled(True)
""".replace("from torch.backends import mha", "mha = torch.backends.mha"),
        oracle,
    )


@pytest.mark.parametrize(
    "line",
    [
        "nn.TransformerEncoder(nn.TransformerEncoderLayer(4, 2), 1)",
        "nn.TransformerEncoder(nn.TransformerEncoderLayer(4, 2, norm_first=True), 1)",
        "nn.TransformerEncoder(nn.TransformerEncoderLayer(3, 1, batch_first=True), 1)",
        "nn.TransformerEncoder(nn.TransformerEncoderLayer(4, 2, batch_first=True, bias=False), 1)",
        "nn.TransformerEncoder(nn.TransformerEncoderLayer(4, 2, batch_first=True), 1)",
        "nn.TransformerEncoder(nn.TransformerDecoderLayer(4, 2), 1)",
        "nn.Transformer(4, 2, 1, 1, 4)",
        "nn.TransformerEncoderLayer(4, 2)(torch.ones(1, 1, 4), torch.ones(1, 1), torch.eye(1) < 0)",
        "nn.LSTM(2, 3, dropout=0.5)",
    ],
)
def test_warnings(line, oracle):
    def shown(m: Any) -> list[tuple[str, str]]:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            eval(line, {"nn": m.nn, "torch": m})
        return [(w.category.__name__, str(w.message)) for w in caught]

    assert shown(lazyt) == shown(oracle)


@pytest.mark.parametrize("layer", [LAYERS[0], LAYERS[7], ENCODERS[3], DECODERS[4]])
def test_state_dicts_go_both_ways(layer, oracle):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ours = eval(layer, {"nn": lazyt.nn})
        theirs = eval(layer, {"nn": oracle.nn})
    theirs.load_state_dict({k: oracle.from_numpy(v) for k, v in numpy_state(ours).items()})
    for name, value in numpy_state(theirs).items():
        np.testing.assert_array_equal(value, numpy_state(ours)[name])
    for p in theirs.parameters():
        p.data.mul_(2)
    ours.load_state_dict({k: lazyt.from_numpy(v) for k, v in numpy_state(theirs).items()})
    for name, value in numpy_state(theirs).items():
        np.testing.assert_array_equal(value, numpy_state(ours)[name])


def test_modules_are_where_programs_look():
    modules = importlib.import_module("lazyt.nn.modules")
    activation = importlib.import_module("lazyt.nn.modules.activation")
    transformer = importlib.import_module("lazyt.nn.modules.transformer")
    assert (
        activation.MultiheadAttention is modules.MultiheadAttention is lazyt.nn.MultiheadAttention
    )
    assert transformer.TransformerEncoderLayer is lazyt.nn.TransformerEncoderLayer
    assert importlib.import_module("lazyt.nn.modules.rnn").LSTM is lazyt.nn.LSTM


def test_choosing_an_implementation():
    cuda = lazyt.backends.cuda
    q = lazyt.ones(1, 1, 2, 3)
    with sdpa_kernel(SDPBackend.MATH) as opened:
        assert opened == {} and cuda.math_sdp_enabled() and not cuda.flash_sdp_enabled()
        assert lazyt.nn.functional.scaled_dot_product_attention(q, q, q).shape == q.shape
    assert cuda.flash_sdp_enabled() and cuda.cudnn_sdp_enabled()
    with sdpa_kernel([SDPBackend.FLASH_ATTENTION, SDPBackend.EFFICIENT_ATTENTION]):
        assert cuda.mem_efficient_sdp_enabled() and not cuda.math_sdp_enabled()
    with pytest.warns(FutureWarning, match="deprecated"), cuda.sdp_kernel(enable_flash=False):
        assert not cuda.flash_sdp_enabled() and cuda.math_sdp_enabled()
    cuda.enable_flash_sdp(False)
    assert not cuda.flash_sdp_enabled()
    cuda.enable_flash_sdp(True)
    with pytest.raises(RuntimeError, match="set_sdp_use_math expects a bool, but got int"):
        cuda.enable_math_sdp(3)
    with pytest.raises(AssertionError, match="got str"), sdpa_kernel("math"):
        pass
    assert (str(SDPBackend.MATH), int(SDPBackend.ERROR)) == ("SDPBackend.MATH", -1)


@needs_compiler
@pytest.mark.parametrize("options", [{}, {"attn_mask": True}, {"is_causal": True}])
def test_what_lies_between_the_products_is_one_nest(options, plans: list[Plan]) -> None:
    """In the C tier: the scale, the mask and the softmax; a mask's rows may be another."""
    if "attn_mask" in options:
        options = {"attn_mask": lazyt.randn(6, 6) > 0}
    q, k, v = lazyt.randn(3, 2, 2, 6, 4)
    lazyt.nn.functional.scaled_dot_product_attention(q, k, v, **options).tolist()
    made = plans[-1].kernels_by_op
    assert made["matmul"] == 2 and made["loops"] == (2 if options else 1)
