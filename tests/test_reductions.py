"""Reductions, scans, sorts and norms against PyTorch: values, dtypes, names, gradients, errors."""

from __future__ import annotations

import pickle
import types

import numpy as np
import pytest
from derivatives import check
from harness import load
from surface import lines_of

from lazyt.ir.numerics.reduce import cascade_sum

SUMS = """
x.sum()
x.sum(1)
x.sum((0, 1), keepdim=True)
x.sum(dim=-1, keepdim=True)
torch.sum(x, (0, 1))
torch.sum(x)
x.sum(())
x.sum(5)
x.sum((0, 0))
x.sum(0, 1)
i.sum()
b.sum(0)
u.sum()
i.sum(dtype=torch.float32)
x.detach().sum(dtype=torch.int64)
x.sum(dtype=torch.float64)
h.sum()
bf.sum(1)
s.sum()
s.sum(0)
s.sum(1)
e.sum()
e.sum(0)
torch.sum(i, 1, out=torch.empty(2))
torch.sum([1])
x.sum(axis=1, keepdims=True)
x.mean()
x.mean(1)
x.mean((0, 1))
x.mean(1, True)
y.mean((0, 2))
i.mean()
b.mean(0)
i.mean(dtype=torch.float32)
x.mean(dtype=torch.int64)
x.mean(dtype=torch.float64)
h.mean()
bf.mean()
e.mean()
s.mean()
n.nansum()
n.nansum(1)
n.nanmean()
i.nansum()
torch.nanmean(i)
x.prod()
x.prod(1)
(x * torch.tensor([0.0, 1, 1, 1])).prod(1)
(x * torch.tensor([0.0, 0, 1, 1])).prod()
i.prod()
b.prod()
x.prod((0, 1))
x.prod(0, keepdim=True)
e.prod()
e.prod(0)
s.prod()
s.prod(0)
u.prod(0)
y.prod(1)
x.count_nonzero()
torch.count_nonzero(i, (0, 1))
torch.count_nonzero(i, dim=0)
x.logsumexp(1)
x.logsumexp((0, 1))
torch.logsumexp(x, 0, True)
i.logsumexp(0)
e.logsumexp(0)
s.logsumexp(0)
(x * 1000).logsumexp(1)
d.sum(1)
"""
MOMENTS = """
x.var()
x.var(1)
x.var(1, False)
x.var(False)
x.var((0, 1), keepdim=True)
x.var(dim=1, correction=2)
x.var(dim=1, unbiased=True, keepdim=True)
x.var(correction=100)
x.var(0, correction=0.5)
x.std()
x.std(1)
x.std(0, False, True)
x.std(False)
x.std(correction=100)
(x * 0 + 1).std(1)
s.std()
s.var()
s.std(unbiased=False)
i.std()
i.var(0)
e.std()
e.var(0)
h.std()
h.var(1)
bf.var(1)
torch.var_mean(x)
torch.var_mean(x, 1)
torch.var_mean(x, 1, False)
torch.std_mean(x, dim=1, correction=0, keepdim=True)
torch.var_mean(i)
d.var(0)
"""
EXTREMES = """
x.max()
x.min()
x.max(1)
x.max(1, True)
x.max(1, keepdim=True)
x.min(dim=0)
torch.max(x, 1)
torch.max(x, x.detach() * 0)
x.min(x.detach() * 0)
x.min(other=x.detach() * 0)
x.max(axis=1)
ties.max()
ties.max(1)
ties.min(1)
ties.amax(1)
ties.amin()
ties.amax((0, 1))
n.max(1)
n.min(1)
i.max()
i.max(0)
b.max()
b.max(0)
u.min()
e.max()
e.min()
e.max(0)
e.max(1)
e.amax()
e.amax(0)
e.amax(1)
e.argmax()
e.argmax(0)
e.argmax(1)
e.argmin()
s.max()
s.max(0)
s.max(-2)
s.argmax()
s.argmax(0)
s.amax(0)
s.aminmax(dim=0)
x.max((0, 1))
x.max(3.0)
torch.max([1])
torch.max(i, 1, out=(torch.empty(2), torch.empty(2, dtype=torch.long)))
torch.max(i, 1, out=(torch.empty(2, dtype=torch.long), torch.empty(2, dtype=torch.long)))
torch.max(x, i)
x.argmax()
x.argmax(1)
x.argmax(1, True)
x.argmax(keepdim=True)
x.argmax((0, 1))
x.argmin(0)
x.argmin(axis=0)
b.argmax()
n.argmax(1)
n.argmin()
ties.argmax(1)
ties.argmin()
ties.aminmax()
x.aminmax(dim=1)
x.aminmax(dim=1, keepdim=True)
b.aminmax()
e.aminmax()
e.aminmax(dim=0)
x.aminmax(dim=(0, 1))
h.max()
h.max(1)
bf.max(1)
bf.argmax()
h.amin(1)
"""
TRUTH = """
x.all()
x.all(0)
x.all((0, 1))
x.any(dim=1, keepdim=True)
i.all()
i.any(0)
b.all(0)
b.any(1)
u.all()
u.any(0)
e.all()
e.any()
e.all(0)
s.all(0)
s.any()
n.all()
h.any()
"""
SCANS = """
x.cumsum(0)
x.cumsum(1)
x.cumsum(dim=-1)
x.cumsum(0, dtype=torch.float64)
b.cumsum(0)
i.cumsum(1)
u.cumsum(1)
x.cumsum(3)
x.cumsum("a")
e.cumsum(0)
s.cumsum(0)
h.cumsum(0)
bf.cumsum(1)
x.detach().cumsum(0, dtype=torch.int32)
x.cumprod(0)
x.cumprod(1)
x.cumprod(-1).cumprod(0)
x[:1].cumprod(0)
x[:0].cumprod(1)
x.round().cumprod(0)
(x * torch.tensor([1.0, 0, -2, 0])).cumprod(-1).exp()
(x * torch.tensor([[0.0], [1], [0]])).cumprod(0).exp()
(x * torch.tensor([0.0, 1, 1, 0])).cumprod(1)
i.cumprod(0)
b.cumprod(0)
s.cumprod(0)
x.logcumsumexp(0)
x.logcumsumexp(1)
torch.logcumsumexp(i, 0)
s.logcumsumexp(0)
x.cummax(0)
x.cummin(1)
ties.cummax(1)
n.cummax(1)
s.cummax(0)
b.cummax(0)
i.cummin(0)
"""
SORTS = """
x.sort()
x.sort(0)
x.sort(0, True)
x.sort(dim=1, descending=True)
x.sort(descending=True, stable=True)
torch.sort(x, stable=True, dim=0)
torch.sort(x, 1, True)
n.sort()
n.sort(descending=True)
ties.sort(descending=True)
ties.sort()
i.sort(0, descending=True)
b.sort()
e.sort()
e.sort(0)
s.sort()
x.sort(3)
x.argsort()
x.argsort(1, True)
s.argsort()
torch.argsort(x, dim=0, descending=True, stable=True)
x.msort()
torch.msort(s)
x.topk(2)
x.topk(2, 0)
x.topk(2, 1, False)
x.topk(1, largest=False)
x.topk(0)
x.topk(4)
x.topk(9)
x.topk(2, 5)
b.topk(1)
s.topk(1)
i.topk(2)
h.topk(2)
torch.topk(x, k=2, dim=0, largest=True, sorted=True)
n.topk(2)
"""
ORDER = """
x.kthvalue(2)
x.kthvalue(2, 0, True)
x.kthvalue(9)
x.kthvalue(0)
s.kthvalue(1)
i.kthvalue(1)
x.median()
x.median(0)
x.median(1, True)
ties.median()
ties.median(1)
n.median(1)
n.nanmedian(1)
i.median()
i.nanmedian()
e.median()
e.median(0)
e.median(1)
b.median()
s.median()
s.median(0)
x.mode()
ties.mode()
ties.mode(0, True)
i.mode(0)
e.mode(0)
s.mode()
x.quantile(0.5)
x.quantile(0.3, 0)
x.quantile(0.3, 1, True)
x.quantile(torch.tensor([0.1, 0.5]), 1)
x.quantile(torch.tensor([0.1, 0.5]), 0, True)
x.quantile(torch.tensor(0.4))
x.quantile(0.3, interpolation="lower")
x.quantile(0.3, interpolation="higher")
x.quantile(0.3, interpolation="nearest")
x.quantile(0.3, 1, interpolation="midpoint")
x.quantile(0.5, keepdim=True)
i.quantile(0.5)
x.quantile(2.0)
x.quantile(torch.tensor([2.0]))
x.quantile(torch.tensor([0.2]).double())
e.quantile(0.5)
x.quantile(0.5, interpolation="abc")
s.quantile(0.5)
d.quantile(0.7, 1)
"""
COUNTS = """
i.unique()
ties.detach().unique(return_counts=True)
ties.detach().unique(return_inverse=True, return_counts=True)
torch.unique(u)
torch.unique(torch.tensor([[1, 2], [1, 2], [0, 3]]), dim=0)
torch.unique(torch.tensor([[1, 2], [1, 2], [0, 3]]), dim=0, return_inverse=True, return_counts=True)
torch.unique(torch.tensor([[1, 1], [1, 1], [0, 0]]), dim=1)
torch.unique_consecutive(torch.tensor([1, 1, 2, 2, 1]))
torch.unique_consecutive(torch.tensor([1, 1, 2, 2, 1]), return_inverse=True, return_counts=True)
torch.unique_consecutive(torch.tensor([[1, 1], [1, 1], [0, 0]]), dim=0)
e.unique()
b.unique()
n.detach().unique()
torch.bincount(x)
torch.bincount(-i.flatten())
torch.bincount(i)
torch.bincount(i.flatten())
torch.bincount(torch.tensor([1, 1, 4]), minlength=7)
torch.bincount(torch.tensor([1, 1, 4]), weights=torch.tensor([0.5, 1, 2]))
torch.bincount(torch.tensor([1, 1, 4]), weights=torch.tensor([1, 1, 2]))
torch.bincount(i.flatten(), minlength=-1)
torch.bincount(torch.tensor([], dtype=torch.long))
torch.histc(i)
torch.histc(p, 5)
torch.histc(p, bins=3, min=-1, max=1)
torch.histc(p, bins=0)
torch.histc(p, bins=3, min=2, max=1)
torch.histc(torch.ones(3), 4)
torch.searchsorted(i, p)
torch.searchsorted(i[0], p)
torch.searchsorted(i, torch.tensor([[1.5], [4]]))
torch.searchsorted(i[0], 2)
torch.searchsorted(i[0], 1.5)
torch.searchsorted(i[0], 1, right=True)
torch.searchsorted(i[0], torch.tensor([0, 1, 2, 3]), side="right")
torch.searchsorted(i[0], torch.tensor([0, 1, 2, 3]), out_int32=True)
torch.searchsorted(torch.tensor([3, 1, 2]), torch.tensor([1, 2, 3]), sorter=torch.tensor([1, 2, 0]))
torch.searchsorted(i, 2)
torch.bucketize(p, i)
torch.bucketize(p, torch.tensor([-1.0, 0, 1]))
torch.bucketize(torch.tensor([0.0, 1.0]), torch.tensor([-1.0, 0, 1]), right=True)
torch.bucketize(3, i[0])
"""
NORMS = """
x.norm()
x.norm(3)
x.norm(1.5)
x.norm(0.5)
x.norm(-1)
x.norm(dim=1)
x.norm(2, 1, True)
x.norm("fro", dim=0)
torch.norm(x, "fro", dim=(0, 1))
torch.norm(x, dim=0, keepdim=True)
(x * 0).norm(3)
ties.norm(0.5)
i.norm()
e.norm(inf)
e.norm()
e.norm(-1)
e.norm(2, 0)
x.norm("abc")
x.norm(p=None)
x.norm(dtype=torch.float64)
x.norm(dim=3)
s.norm()
h.norm()
bf.norm(1)
x.norm(2, dim=(0, 5))
torch.linalg.norm(x, "fro")
torch.linalg.norm(x)
torch.linalg.norm(x, dim=1)
torch.linalg.norm(x, dim=(0, 1))
torch.linalg.norm(x, "abc")
torch.linalg.norm(x, 0)
torch.linalg.norm(v, 3)
torch.linalg.norm(v, "fro")
torch.linalg.norm(y, 1)
torch.linalg.norm(y, "fro", dim=(1, 2))
torch.linalg.norm(y, 1, dim=(0, 1, 2))
torch.linalg.matrix_norm(v)
torch.linalg.matrix_norm(y)
torch.linalg.matrix_norm(x, 3)
torch.linalg.vector_norm(x)
torch.linalg.vector_norm(x, 3, dim=1)
torch.linalg.vector_norm(x, "a")
torch.dist(x, p)
torch.dist(x, d)
torch.dist(i, i)
"""
# What PyTorch cannot differentiate twice here, or where the second derivative does not exist.
ONCE = """
n.median()
n.nanmedian()
n.quantile(0.5, 1)
n.nanquantile(0.5, 1)
n.nanquantile(0.3)
(x * 0).norm()
(x * 0).norm(1.5)
x.norm(1)
x.norm(inf)
x.norm(-inf)
x.norm(p=1, dim=(0, 1))
ties.norm(inf)
torch.linalg.norm(x, 1)
torch.linalg.norm(x, inf)
torch.linalg.norm(x, -1)
torch.linalg.matrix_norm(y, 1)
torch.linalg.matrix_norm(y, inf, keepdim=True)
torch.dist(x, p, 1)
torch.dist(x, v, inf)
x.norm(0)
torch.linalg.norm(v, 0)
"""
TWICE = SUMS + MOMENTS + EXTREMES + TRUTH + SCANS + SORTS + ORDER + COUNTS + NORMS


@pytest.mark.parametrize("line", lines_of(TWICE))
def test_agrees_with_torch(line: str, oracle: types.ModuleType) -> None:
    check(load("lazyt"), oracle, line, twice=True)


@pytest.mark.parametrize("line", lines_of(ONCE))
def test_agrees_with_torch_up_to_gradients(line: str, oracle: types.ModuleType) -> None:
    check(load("lazyt"), oracle, line, twice=False)


# --- named results --------------------------------------------------------------------------------


def test_named_results_print_unpack_and_pickle() -> None:
    torch = load("lazyt")
    result = torch.tensor([[1.0, 3.0], [5.0, 2.0]]).max(1)
    values, indices = result
    assert values is result.values and indices is result[1]
    assert repr(result) == (
        "torch.return_types.max(\nvalues=tensor([3., 5.]),\nindices=tensor([1, 0]))"
    )
    copied = pickle.loads(pickle.dumps(result))
    assert type(copied) is torch.return_types.max
    assert copied.values.tolist() == [3.0, 5.0]
    with pytest.raises(TypeError, match=r"max\(\) takes a 2-sequence \(1-sequence given\)"):
        torch.return_types.max([values])


def test_out_receives_both_results() -> None:
    torch = load("lazyt")
    values, indices = torch.empty(2), torch.empty(2, dtype=torch.int64)
    result = torch.sort(torch.tensor([2.0, 1.0]), out=(values, indices))
    assert result[0] is values and indices.tolist() == [1, 0]
    assert type(result).__name__ == "sort_out"
    with pytest.raises(RuntimeError, match="Expected out tensor to have dtype long int, but got"):
        torch.max(torch.ones(2), 0, out=(values, torch.empty(2)))


# --- history --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "total"),
    [("x.sum()", 12), ("x.sum(1).sum()", 12), ("x.mean()", 2), ("x.mean(0).sum()", 6)],
)
def test_what_saves_nothing_can_be_differentiated_again(line: str, total: int) -> None:
    torch = load("lazyt")
    x = torch.ones(2, 3, requires_grad=True)
    loss = eval(line, {"x": x})
    loss.backward()
    loss.backward()
    assert x.grad.sum().item() == pytest.approx(total)


@pytest.mark.parametrize("line", ["x.prod()", "x.var()", "x.norm()", "x.amax()", "x.logsumexp(0)"])
def test_what_saves_its_operand_cannot(line: str) -> None:
    torch = load("lazyt")
    x = torch.arange(3.0, requires_grad=True)
    loss = eval(line, {"x": x}).sum()
    loss.backward()
    with pytest.raises(RuntimeError, match="Trying to backward through the graph a second time"):
        loss.backward()


@pytest.mark.parametrize("name", ["cumsum", "cumprod"])
def test_scans_in_place(name: str) -> None:
    torch = load("lazyt")
    x = torch.tensor([[1, 2], [3, 4]], dtype=torch.int32)
    expected = {"cumsum": [[1, 2], [4, 6]], "cumprod": [[1, 2], [3, 8]]}[name]
    assert getattr(x, name + "_")(0) is x
    assert x.tolist() == expected and x.dtype is torch.int32


# --- equal elements -------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(60))
def test_selections_name_the_element_torch_names(seed: int, oracle: types.ModuleType) -> None:
    torch = load("lazyt")
    rng = np.random.default_rng(seed)
    shape = tuple(int(n) for n in rng.choice([1, 2, 3, 5, 8, 17, 40, 130], rng.integers(1, 3)))
    x = rng.integers(0, int(rng.choice([1, 2, 3, 9, 50])), shape).astype(np.float32)
    missing = rng.random(shape) < (0.2 if seed % 3 == 0 else 0.0)
    x[missing] = np.nan
    dim = int(rng.integers(0, len(shape)))
    k = int(rng.integers(1, shape[dim] + 1))
    calls = {
        "topk": lambda t: t.topk(k, dim, bool(seed % 2)),
        "kthvalue": lambda t: t.kthvalue(k, dim),
        "median": lambda t: t.median(dim),
        "nanmedian": lambda t: t.nanmedian(dim),
        "sort": lambda t: t.sort(dim=dim, descending=bool(seed % 2), stable=True),
        "max": lambda t: t.max(dim),
        "min": lambda t: t.min(dim),
        "cummax": lambda t: t.cummax(dim),
        "cummin": lambda t: t.cummin(dim),
    }
    if not missing.any():
        calls["mode"] = lambda t: t.mode(dim)
    for name, call in calls.items():
        expected, actual = call(oracle.tensor(x.tolist())), call(torch.tensor(x.tolist()))
        assert np.array_equal(expected[0].tolist(), actual[0].tolist(), equal_nan=True), name
        assert expected[1].tolist() == actual[1].tolist(), name


def test_four_equal_elements() -> None:
    torch = load("lazyt")
    x = torch.ones(4)
    assert x.topk(2).indices.tolist() == [2, 3]
    assert x.kthvalue(1).indices.item() == 1
    assert x.median(0).indices.item() == 1


def test_var_of_everything_deviates_from_the_float32_mean() -> None:
    torch = load("lazyt")
    x = (torch.arange(1000) * 37 % 101).float() / 64 + 1e5
    assert x.var().item() == pytest.approx(0.2081441730260849, rel=1e-6)
    assert torch.var_mean(x)[0].item() == pytest.approx(0.20808061957359314, rel=1e-6)
    assert x.double().var().item() == pytest.approx(0.2080806147944783, rel=1e-9)


@pytest.mark.parametrize("count", [1, 7, 8, 33, 100, 4096, 10_000])
def test_cascade_sum_adds_in_the_order_of_torch(count: int, oracle: types.ModuleType) -> None:
    x = np.random.default_rng(count).standard_normal(count).astype(np.float32)
    assert cascade_sum(x) == oracle.tensor(x.tolist()).sum().numpy()


def test_the_backward_of_a_running_product_is_short() -> None:
    """A few operations, however many factors there are."""
    torch = load("lazyt")
    x = torch.rand(3, 500).requires_grad_()
    before = torch.stats()["traced"]
    x.cumprod(1).sum().backward()
    x.grad.tolist()
    assert torch.stats()["traced"] - before < 60
