"""Losses of margins, likelihoods and distances against PyTorch: values, first and second
derivatives, text, errors."""

from __future__ import annotations

import pytest
from test_functional import case, check
from test_nn import same
from test_nn_errors import raised

import lazyt

SIGNS, CLASSES = [1.0, -1.0, 1.0], [2, 0, 1]
LABELS = [[3, 0, -1, 1], [0, 1, 2, 3], [-1, 2, 2, 0]]
REDUCTIONS = ("none", "mean", "sum")

LOSSES = [
    *(
        case(text.format(f", reduction='{how}'"), *shapes, **more)
        for how in REDUCTIONS
        for text, shapes, more in [
            ("F.hinge_embedding_loss(x, t{})", [(3,)], {"t": SIGNS}),
            ("F.hinge_embedding_loss(x, t, 0.2{})", [(2, 3)], {"t": SIGNS}),
            ("F.margin_ranking_loss(x, w, t{})", [(3,), (3,)], {"t": SIGNS}),
            ("F.margin_ranking_loss(x, w, t, 0.5{})", [(2, 3), (2, 3)], {"t": [SIGNS]}),
            ("F.cosine_embedding_loss(x, w, t{})", [(3, 4), (3, 4)], {"t": SIGNS}),
            ("F.cosine_embedding_loss(x, w, t, 0.2{})", [(4,), (4,)], {"t": -1.0}),
            ("F.triplet_margin_loss(x, w, b{})", [(3, 4)] * 3, {}),
            ("F.triplet_margin_loss(x, w, b, 2.0, 1, swap=True{})", [(3, 4)] * 3, {}),
            ("F.triplet_margin_loss(x, w, b, p=3{})", [(4,)] * 3, {}),
            ("F.triplet_margin_with_distance_loss(x, w, b, swap=True{})", [(3, 4)] * 3, {}),
            ("F.soft_margin_loss(x, t{})", [(2, 3)], {"t": [SIGNS, SIGNS]}),
            ("F.multilabel_soft_margin_loss(x, t{})", [(2, 3)], {"t": [[1.0, 0, 1], [0, 0, 1]]}),
            ("F.multilabel_soft_margin_loss(x, t, k{})", [(3,)], {"t": [1.0, 0, 1], "k": SIGNS}),
            ("F.poisson_nll_loss(x, t{})", [(3,)], {"t": [0.0, 1, 5]}),
            ("F.poisson_nll_loss(x, t, full=True{})", [(3,)], {"t": [0.0, 1, 5]}),
            (
                "F.poisson_nll_loss(x, t, False, True{})",
                [(3,)],
                {"t": [0.0, 1, 5], "positive": True},
            ),
            ("F.gaussian_nll_loss(x, w, b.exp(){})", [(2, 3), (2, 3), (2, 3)], {}),
            ("F.gaussian_nll_loss(x, w, b.exp(), True{})", [(2, 3), (2, 3), (2, 1)], {}),
            ("F.gaussian_nll_loss(x, w, b.exp(){})", [(2, 3), (2, 3), (2,)], {}),
            ("F.gaussian_nll_loss(x, w, 0.5{})", [(2, 3), (2, 3)], {}),
            ("F.multi_margin_loss(x, t{})", [(3, 4)], {"t": CLASSES, "second": False}),
            ("F.multi_margin_loss(x, t, 2, 0.5{})", [(3, 4)], {"t": CLASSES, "second": False}),
            (
                "F.multi_margin_loss(x, t, weight=k{})",
                [(3, 3)],
                {"t": CLASSES, "k": [0.3, 2.0, 1.0], "second": False},
            ),
            ("F.multi_margin_loss(x, t{})", [(4,)], {"t": 3, "second": False}),
            ("F.multilabel_margin_loss(x, t{})", [(3, 4)], {"t": LABELS, "second": False}),
            ("F.multilabel_margin_loss(x, t{})", [(4,)], {"t": LABELS[0], "second": False}),
        ]
    )
]
DISTANCES = [
    case("F.pairwise_distance(x, w)", (3, 4), (3, 4)),
    case("F.pairwise_distance(x, w, 1, keepdim=True)", (3, 4), (4,)),
    case("F.pairwise_distance(x, w, 3.0, 0.1)", (4,), (4,)),
    case("F.cosine_similarity(x, w)", (3, 4), (3, 4)),
    case("F.cosine_similarity(x, w, 0, 3.0)", (3, 4), (4,)),
    case("torch.cosine_similarity(x, w, dim=-1)", (2, 3, 4), (3, 1)),
    case("F.pdist(x)", (4, 3), second=False),
    case("F.pdist(x, 1)", (4, 3), second=False),
    case("F.pdist(x, float('inf'))", (4, 3), second=False),
    case("torch.pdist(x)", (1, 3), second=False),
    case("torch.pairwise_distance(x, w)", (0, 4), (0, 4), second=False),
]


@pytest.mark.parametrize("c", [*LOSSES, *DISTANCES], ids=lambda c: f"{c.text} {c.shapes}")
def test_as_pytorch(c, oracle):
    check(c, oracle, "float64", 1e-9, 1e-11)


@pytest.mark.parametrize("c", [*LOSSES[::5], *DISTANCES[::2]], ids=lambda c: c.text)
def test_single_precision(c, oracle):
    check(c, oracle, "float32", 1e-3, 1e-4)


BY_NUMBER = [
    case("torch.hinge_embedding_loss(x, t, 0.5, 2)", (3,), t=SIGNS),
    case("torch.margin_ranking_loss(x, w, t, reduction=0)", (3,), (3,), t=SIGNS),
    case("torch.cosine_embedding_loss(x, w, t)", (3, 4), (3, 4), t=SIGNS),
    case("torch.triplet_margin_loss(x, w, b, swap=True)", *[(3, 4)] * 3),
    case("torch.poisson_nll_loss(x, t, True, False, 1e-8, 1)", (3,), t=[0.0, 1, 5]),
    *(case(f"torch.kl_div(x, w.exp(), {n})", (3, 4), (3, 4)) for n in (0, 1, 2)),
    case("torch.kl_div(x, w, log_target=True)", (3, 4), (3, 4)),
    case("torch.binary_cross_entropy_with_logits(x, w, None, k, 2)", (3,), (3,), k=SIGNS),
    case("torch.bilinear(x, w, b)", (3, 2), (3, 4), (5, 2, 4)),
    case("torch.hardshrink(x, 0.2)", (3, 4)),
    case("torch.constant_pad_nd(x, (1, 2), 3)", (2, 3)),
    case("torch.affine_grid_generator(x, (2, 1, 3, 4), False)", (2, 2, 3)),
    case("torch.grid_sampler(x, w, 0, 1, True)", (1, 2, 3, 3), (1, 2, 2, 2), second=False),
]


@pytest.mark.parametrize("c", BY_NUMBER, ids=lambda c: c.text)
def test_settings_by_number(c, oracle):
    check(c, oracle, "float64", 1e-9, 1e-11)


DROPS = """
torch.dropout(x, 0.5, True)
torch.dropout_(x, 0.5, True)
torch.feature_dropout(x, 0.5, True)
torch.feature_dropout_(x, 0.5, True)
torch.alpha_dropout(x, 0.5, True)
torch.alpha_dropout_(x, 0.5, True)
torch.feature_alpha_dropout(x, 0.5, True)
torch.feature_alpha_dropout_(x, 0.5, False)
""".strip().splitlines()


@pytest.mark.parametrize("text", DROPS)
def test_dropouts_of_torch(text, oracle):
    same(f"x = torch.randn(4, 3, 5)\nresult = [{text}, x, torch.rand(1)]", oracle, 1e-5, 1e-6)


PAIR, TRIPLET = "torch.randn(3, 4), torch.randn(3, 4)", ", ".join(["torch.randn(3, 4)"] * 3)
LABELLED = "torch.randn(3, 4), torch.tensor([2, 0, 1])"
SIGNED = "torch.tensor([1., -1., 1.])"
MODULES = f"""
nn.HingeEmbeddingLoss(0.5)(torch.randn(3), {SIGNED})
nn.MarginRankingLoss(reduction='sum')(torch.randn(3), torch.randn(3), {SIGNED})
nn.CosineEmbeddingLoss(0.1)({PAIR}, {SIGNED})
nn.TripletMarginLoss(p=1, swap=True)({TRIPLET})
nn.TripletMarginWithDistanceLoss()({TRIPLET})
nn.TripletMarginWithDistanceLoss(distance_function=nn.CosineSimilarity(), margin=2)({TRIPLET})
nn.SoftMarginLoss()({PAIR}.sign())
nn.MultiLabelMarginLoss()(torch.randn(2, 3), torch.tensor([[1, 0, -1], [2, -1, 0]]))
nn.MultiLabelSoftMarginLoss(torch.rand(4))({PAIR}.sign())
nn.MultiMarginLoss(2, weight=torch.rand(4))({LABELLED})
nn.PoissonNLLLoss(full=True)({PAIR}.exp())
nn.GaussianNLLLoss(full=True)({PAIR}, torch.rand(3, 1))
nn.NLLLoss2d()(torch.randn(1, 3, 2, 2), torch.ones(1, 2, 2, dtype=torch.long))
nn.PairwiseDistance(1, keepdim=True)({PAIR})
nn.CosineSimilarity(0)({PAIR})
""".strip().splitlines()


@pytest.mark.parametrize("text", MODULES)
def test_modules(text, oracle):
    layer = text[: text.index(")(") + 1] if not text.startswith("nn.Triplet") else "nn.Identity()"
    same(f"y = {text}\nm = {layer}\nresult = [y, str(m), list(m.state_dict())]", oracle, 1e-4, 1e-5)


ERRORS = """
F.hinge_embedding_loss(o(2), o(2), reduction='x')
F.hinge_embedding_loss([1.], o(2))
F.margin_ranking_loss(o(2), o(2), o(1, 2))
F.cosine_embedding_loss(o(2, 3), o(2, 3), o(1, 2))
F.cosine_embedding_loss(o(3), o(3), o(1))
F.cosine_embedding_loss(o(2, 3), o(2, 3), torch.tensor(1))
F.triplet_margin_loss(o(2, 3), o(2, 3), o(3))
F.triplet_margin_loss(o(2, 3), o(2, 3), o(2, 3), margin=0)
F.triplet_margin_with_distance_loss(o(2, 3), o(2, 3), o(2, 3), margin=-1.0)
F.triplet_margin_with_distance_loss(o(2, 3), o(2, 3), o(3))
F.multilabel_soft_margin_loss(o(2, 3), o(2, 3), reduction='x')
F.multi_margin_loss(o(2, 3), torch.tensor([0, 3]))
F.multi_margin_loss(o(2, 3), torch.tensor([0, 1, 2]))
F.multi_margin_loss(o(2, 3), torch.tensor([0, 1]), p=3)
F.multi_margin_loss(o(2, 3), torch.tensor([0, 1]), weight=o(2, 3))
F.multi_margin_loss(o(2, 3), torch.tensor([0, 1]), weight=o(2))
F.multi_margin_loss(o(2, 2, 2), torch.tensor([0, 1]))
F.multilabel_margin_loss(o(2, 3), torch.tensor([0, 1, 2]))
F.multilabel_margin_loss(o(2, 3), torch.tensor([[1, 3, 0], [0, 1, 2]]))
F.multilabel_margin_loss(o(2, 3), o(2, 3))
F.poisson_nll_loss(o(2), o(2), reduction='x')
F.gaussian_nll_loss(o(2), o(2), -o(2))
F.gaussian_nll_loss(o(2), o(2), -1.0)
F.gaussian_nll_loss(o(2, 3), o(2, 3), o(4))
F.gaussian_nll_loss(o(2), o(2), o(2), reduction='x')
F.cosine_similarity(o(2, 3).long(), o(2, 3).long())
F.cosine_similarity(o(2, 3), o(2, 3), 2)
F.pdist(o(3))
F.pdist(o(3, 2).long())
F.pdist(o(3, 2), -1)
F.pairwise_distance(o(2, 3), o(2, 4))
torch.dropout(o(3), 1.5, True)
torch.alpha_dropout_(o(3), -1.0, True)
nn.TripletMarginLoss(margin=0)
nn.TripletMarginWithDistanceLoss(margin=0)
nn.MultiMarginLoss(p=3)
nn.MultiMarginLoss(weight=o(2, 3))
""".strip().splitlines()


@pytest.mark.parametrize("line", ERRORS)
def test_errors(line, oracle):
    wanted = raised(line, oracle)
    assert wanted is not None
    assert raised(line, lazyt) == wanted
