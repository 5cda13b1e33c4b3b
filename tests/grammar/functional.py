"""Functional layers, activations and losses, as rows with their shapes."""

from __future__ import annotations

from .base import Statement
from .examples import Example
from .products import Products

LAYERS = [
    Example("F.linear({x}, {y})", [(2, 4), (3, 4)], (2, 3)),
    Example("F.linear({x}, {y}, {z})", [(2, 3, 4), (3, 4), (3,)], (2, 3, 3)),
    Example("F.conv1d({x}, {y})", [(2, 3, 6), (4, 3, 2)], (2, 4, 5)),
    Example(
        "F.conv1d({x}, {y}, {z}, stride=2, padding=1)", [(2, 3, 6), (4, 3, 3), (4,)], (2, 4, 3)
    ),
    Example("F.conv1d({x}, {y}, padding='same', dilation=2)", [(2, 3, 6), (4, 3, 3)], (2, 4, 6)),
    Example("F.conv2d({x}, {y})", [(1, 3, 6, 6), (2, 3, 3, 3)], (1, 2, 4, 4)),
    Example(
        "F.conv2d({x}, {y}, {z}, stride=(2, 1), padding=(1, 0))",
        [(1, 3, 6, 6), (2, 3, 3, 2), (2,)],
        (1, 2, 3, 5),
    ),
    Example("F.conv2d({x}, {y}, groups=3, dilation=2)", [(1, 3, 6, 6), (3, 1, 2, 2)], (1, 3, 4, 4)),
    Example("F.conv3d({x}, {y}, padding=1)", [(1, 2, 4, 4, 4), (3, 2, 2, 2, 2)], (1, 3, 5, 5, 5)),
    Example("F.conv_transpose1d({x}, {y}, stride=2)", [(2, 3, 6), (3, 2, 3)], (2, 2, 13)),
    Example(
        "F.conv_transpose2d({x}, {y}, {z}, stride=2, padding=1, output_padding=1)",
        [(1, 3, 6, 6), (3, 2, 3, 3), (2,)],
        (1, 2, 12, 12),
    ),
    Example("F.conv_transpose3d({x}, {y})", [(1, 2, 4, 4, 4), (2, 1, 2, 2, 2)], (1, 1, 5, 5, 5)),
    Example("F.max_pool1d({x}, 2)", [(2, 3, 6)], (2, 3, 3), kinked=True),
    Example("F.max_pool2d({x}, 2)", [(1, 3, 6, 6)], (1, 3, 3, 3), kinked=True),
    Example("F.max_pool2d({x}, 3, stride=2, padding=1)", [(1, 3, 6, 6)], (1, 3, 3, 3), kinked=True),
    Example(
        "F.max_pool2d({x}, 2, ceil_mode=True, dilation=2)",
        [(1, 3, 6, 6)],
        (1, 3, 3, 3),
        kinked=True,
    ),
    Example("F.max_pool3d({x}, 2)", [(1, 2, 4, 4, 4)], (1, 2, 2, 2, 2), kinked=True),
    Example("F.avg_pool1d({x}, 2)", [(2, 3, 6)], (2, 3, 3)),
    Example(
        "F.avg_pool2d({x}, 3, 2, padding=1, count_include_pad=False)", [(1, 3, 6, 6)], (1, 3, 3, 3)
    ),
    Example("F.avg_pool3d({x}, 2)", [(1, 2, 4, 4, 4)], (1, 2, 2, 2, 2)),
    Example("F.adaptive_avg_pool1d({x}, 4)", [(2, 3, 6)], (2, 3, 4)),
    Example("F.adaptive_avg_pool2d({x}, (2, 4))", [(1, 3, 6, 6)], (1, 3, 2, 4)),
    Example("F.adaptive_avg_pool3d({x}, 3)", [(1, 2, 4, 4, 4)], (1, 2, 3, 3, 3)),
    Example("F.adaptive_max_pool1d({x}, 4)", [(2, 3, 6)], (2, 3, 4), kinked=True),
    Example("F.adaptive_max_pool2d({x}, 4)", [(1, 3, 6, 6)], (1, 3, 4, 4), kinked=True),
    Example("F.lp_pool2d({x} + 4, 2, 2)", [(1, 3, 6, 6)], (1, 3, 3, 3)),
    Example("F.batch_norm({x}, None, None, training=True)", [(2, 3, 6)], (2, 3, 6)),
    Example(
        "F.batch_norm({x}, {y}, {y} * {y} + 0.5, {z}, {z})", [(2, 3, 6), (3,), (3,)], (2, 3, 6)
    ),
    Example("F.layer_norm({x}, (4,))", [(2, 3, 4)], (2, 3, 4)),
    Example("F.layer_norm({x}, (3, 4), {y}, {y})", [(2, 3, 4), (3, 4)], (2, 3, 4)),
    Example("F.group_norm({x}, 2)", [(1, 2, 4, 4, 4)], (1, 2, 4, 4, 4)),
    Example("F.group_norm({x}, 1, {y}, {y})", [(2, 3, 6), (3,)], (2, 3, 6)),
    Example("F.instance_norm({x})", [(1, 3, 6, 6)], (1, 3, 6, 6)),
    Example("F.rms_norm({x}, (4,), {y})", [(2, 3, 4), (4,)], (2, 3, 4)),
    Example("F.local_response_norm({x}, 2)", [(1, 3, 6, 6)], (1, 3, 6, 6)),
    Example("F.normalize({x} + 0.125, p=1, dim=1)", [(2, 4)], (2, 4)),
    Example("F.dropout({x}, 0.5)", [(2, 4)], (2, 4)),
    Example("F.dropout({x}, 0.5, training=False)", [(2, 4)], (2, 4)),
    Example("F.dropout2d({x}, 0.5)", [(1, 3, 6, 6)], (1, 3, 6, 6)),
    Example("F.alpha_dropout({x}, 0.25, True)", [(2, 4)], (2, 4)),
    Example("F.embedding(torch.tensor([[0, 2], [1, 1]]), {x})", [(3, 4)], (2, 2, 4)),
    Example("F.embedding(torch.tensor([2, 0]), {x}, padding_idx=0)", [(3, 4)], (2, 4)),
    Example(
        "F.embedding_bag(torch.tensor([0, 2, 1, 1]), {x}, torch.tensor([0, 3]))", [(3, 4)], (2, 4)
    ),
    Example("F.embedding_bag(torch.tensor([[0, 2], [1, 1]]), {x}, mode='sum')", [(3, 4)], (2, 4)),
    Example("F.one_hot(torch.tensor([0, 2]), 4).to({x}.dtype) * {x}", [(2, 4)], (2, 4)),
    Example(
        "F.scaled_dot_product_attention({x}, {y}, {z})",
        [(2, 3, 4), (2, 3, 4), (2, 3, 4)],
        (2, 3, 4),
    ),
    Example(
        "F.scaled_dot_product_attention({x}, {y}, {y}, is_causal=True)",
        [(2, 3, 4), (2, 3, 4)],
        (2, 3, 4),
    ),
    Example(
        "F.scaled_dot_product_attention({x}, {y}, {z}, attn_mask=torch.tensor([True, False, 1]))",
        [(2, 3, 4), (2, 3, 4), (2, 3, 4)],
        (2, 3, 4),
    ),
    Example("F.pad({x}, (1, 2))", [(2, 4)], (2, 7)),
    Example("F.pad({x}, (1, -1, 0, 2), value=0.5)", [(2, 3, 4)], (2, 5, 4)),
    Example("F.pad({x}, (1, 1, 2, 0), mode='reflect')", [(1, 3, 6, 6)], (1, 3, 8, 8)),
    Example("F.pad({x}, (2, 1), mode='replicate')", [(2, 3, 6)], (2, 3, 9)),
    Example("F.pad({x}, (2, 1), mode='circular')", [(2, 3, 6)], (2, 3, 9)),
    Example("F.interpolate({x}, scale_factor=2)", [(2, 3, 6)], (2, 3, 12)),
    Example("F.interpolate({x}, size=(4, 9), mode='bilinear')", [(1, 3, 6, 6)], (1, 3, 4, 9)),
    Example(
        "F.interpolate({x}, scale_factor=2, mode='bilinear', align_corners=True)",
        [(1, 3, 6, 6)],
        (1, 3, 12, 12),
    ),
    Example("F.interpolate({x}, size=4, mode='bicubic')", [(1, 3, 6, 6)], (1, 3, 4, 4)),
    Example("F.interpolate({x}, size=9, mode='linear')", [(2, 3, 6)], (2, 3, 9)),
    Example("F.interpolate({x}, size=3, mode='trilinear')", [(1, 2, 4, 4, 4)], (1, 2, 3, 3, 3)),
    Example("F.interpolate({x}, size=4, mode='area')", [(1, 3, 6, 6)], (1, 3, 4, 4)),
    Example("F.unfold({x}, 2, stride=2)", [(1, 3, 6, 6)], (1, 12, 9)),
    Example("F.fold({x}, (3, 3), 2)", [(2, 8, 4)], (2, 2, 3, 3)),
    Example("F.pixel_shuffle({x}, 2)", [(1, 4, 2, 2)], (1, 1, 4, 4)),
    Example("F.pixel_unshuffle({x}, 2)", [(1, 3, 6, 6)], (1, 12, 3, 3)),
    Example("F.channel_shuffle({x}, 2)", [(1, 4, 2, 2)], (1, 4, 2, 2)),
    Example(
        "F.grid_sample({x}, torch.tanh({y}), align_corners=False)",
        [(1, 3, 6, 6), (1, 2, 2, 2)],
        (1, 3, 2, 2),
    ),
    Example("F.affine_grid({x}, (1, 1, 2, 3), align_corners=True)", [(1, 2, 3)], (1, 2, 3, 2)),
    Example("F.bilinear({x}, {y}, {z})", [(2, 4), (2, 3), (2, 4, 3)], (2, 2)),
]
ACTIVATIONS = [
    Example("F.relu({x})", [(2, 4)], (2, 4), kinked=True),
    Example("F.relu6({x} * 4)", [(2, 4)], (2, 4), kinked=True),
    Example("F.gelu({x})", [(2, 4)], (2, 4)),
    Example("F.gelu({x}, approximate='tanh')", [(2, 4)], (2, 4)),
    Example("F.silu({x})", [(2, 4)], (2, 4)),
    Example("F.mish({x})", [(2, 4)], (2, 4)),
    Example("F.elu({x}, 0.5)", [(2, 4)], (2, 4), kinked=True),
    Example("F.celu({x})", [(2, 4)], (2, 4), kinked=True),
    Example("F.selu({x})", [(2, 4)], (2, 4), kinked=True),
    Example("F.leaky_relu({x}, 0.2)", [(2, 4)], (2, 4), kinked=True),
    Example("F.softplus({x})", [(2, 4)], (2, 4)),
    Example("F.softplus({x}, beta=2)", [(2, 4)], (2, 4)),
    Example("F.softsign({x})", [(2, 4)], (2, 4)),
    Example("F.tanhshrink({x})", [(2, 4)], (2, 4)),
    Example("F.hardshrink({x})", [(2, 4)], (2, 4), kinked=True),
    Example("F.softshrink({x}, 0.25)", [(2, 4)], (2, 4), kinked=True),
    Example("F.hardswish({x} * 4)", [(2, 4)], (2, 4), kinked=True),
    Example("F.hardsigmoid({x} * 4)", [(2, 4)], (2, 4), kinked=True),
    Example("F.hardtanh({x})", [(2, 4)], (2, 4), kinked=True),
    Example("F.threshold({x}, 0.1, 2)", [(2, 4)], (2, 4), kinked=True),
    Example("F.logsigmoid({x})", [(2, 4)], (2, 4)),
    Example("F.prelu({x}, {y})", [(2, 4), (4,)], (2, 4), kinked=True),
    Example("F.prelu({x}, {y}[:1])", [(2, 3, 6), (3,)], (2, 3, 6), kinked=True),
    Example("F.rrelu({x}, training=True)", [(2, 4)], (2, 4), kinked=True),
    Example("F.glu({x})", [(2, 4)], (2, 2)),
    Example("F.relu({x} * 1, inplace=True)", [(2, 4)], (2, 4), kinked=True),
    Example("F.silu({x} * 1, inplace=True)", [(2, 4)], (2, 4)),
    Example("F.gumbel_softmax({x}.contiguous(), tau=0.5)", [(2, 4)], (2, 4)),
]
LOSSES = [
    Example("F.cross_entropy({x}, torch.tensor([3, 0]))", [(2, 4)], ()),
    Example("F.cross_entropy({x}, torch.tensor([3, -100]), label_smoothing=0.1)", [(2, 4)], ()),
    Example(
        "F.cross_entropy({x}, torch.tensor([1, 2]), weight={y}.detach() ** 2, reduction='sum')",
        [(2, 4), (4,)],
        (),
    ),
    Example(
        "F.cross_entropy({x}, torch.softmax({y}, 1), reduction='none')", [(2, 4), (2, 4)], (2,)
    ),
    Example("F.cross_entropy({x}, torch.tensor([[0, 1, 2, 0], [2, 1, 0, 0]]))", [(2, 3, 4)], ()),
    Example(
        "F.nll_loss(F.log_softmax({x}, 1), torch.tensor([3, 0]), ignore_index=0)", [(2, 4)], ()
    ),
    Example("F.mse_loss({x}, {y})", [(2, 4), (2, 4)], ()),
    Example("F.mse_loss({x}, {y}, reduction='none')", [(2, 4), (2, 4)], (2, 4)),
    Example("F.l1_loss({x}, {y})", [(2, 4), (2, 4)], (), kinked=True),
    Example("F.smooth_l1_loss({x}, {y}, beta=0.5)", [(2, 4), (2, 4)], (), kinked=True),
    Example("F.huber_loss({x}, {y}, reduction='sum')", [(2, 4), (2, 4)], (), kinked=True),
    Example("F.binary_cross_entropy(torch.sigmoid({x}), torch.sigmoid({y}))", [(2, 4), (2, 4)], ()),
    Example(
        "F.binary_cross_entropy_with_logits({x}, torch.sigmoid({y}), pos_weight={z} * {z})",
        [(2, 4), (2, 4), (4,)],
        (),
    ),
    Example(
        "F.kl_div(F.log_softmax({x}, 1), torch.softmax({y}, 1), reduction='batchmean')",
        [(2, 4), (2, 4)],
        (),
    ),
    Example(
        "F.kl_div({x}, F.log_softmax({y}, 1), log_target=True, reduction='sum')",
        [(2, 4), (2, 4)],
        (),
    ),
    Example("F.poisson_nll_loss({x}, torch.exp({y}.tanh()))", [(2, 4), (2, 4)], ()),
    Example("F.gaussian_nll_loss({x}, {y}, {z} * {z} + 1)", [(2, 4), (2, 4), (2, 4)], ()),
    Example("F.hinge_embedding_loss({x}, torch.tensor([1, -1, 1, 1]))", [(2, 4)], (), kinked=True),
    Example("F.soft_margin_loss({x}, torch.tensor([1, -1, 1, 1]))", [(2, 4)], ()),
    Example(
        "F.margin_ranking_loss({x}, {y}, torch.tensor([1, -1, 1, -1]))",
        [(4,), (4,)],
        (),
        kinked=True,
    ),
    Example("F.multi_margin_loss({x}, torch.tensor([3, 0]))", [(2, 4)], (), kinked=True),
    Example(
        "F.multilabel_soft_margin_loss({x}, torch.tensor([[1., 0, 1, 0], [0, 0, 1, 1]]))",
        [(2, 4)],
        (),
    ),
    Example("F.triplet_margin_loss({x}, {y}, {z} + 4)", [(2, 4), (2, 4), (2, 4)], (), kinked=True),
    Example(
        "F.cosine_embedding_loss({x} + 0.125, {y} + 4, torch.tensor([1, -1]))", [(2, 4), (2, 4)], ()
    ),
    Example("F.cosine_similarity({x} + 0.125, {y} + 0.125)", [(2, 4), (2, 4)], (2,)),
    Example("F.pairwise_distance({x}, {y})", [(2, 4), (2, 4)], (2,)),
    Example("F.pdist({x} + torch.arange(3, dtype={x}.dtype)[:, None] * 9)", [(3, 4)], (3,)),
]


class Functional(Products):
    """Adds torch.nn.functional."""

    def statements(self) -> list[Statement]:
        return [
            *super().statements(),
            ("functional", 10, lambda: self.call_example(LAYERS)),
            ("functional", 5, lambda: self.call_example(ACTIVATIONS)),
            ("functional", 5, lambda: self.call_example(LOSSES)),
        ]
