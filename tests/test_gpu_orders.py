"""Sorts, scans and segments on a device, in sizes that need several blocks, tiles and launches.

Samples of every primitive are small (test_gpu_primitives.py); what is here crosses a tile of a
sort, a chunk of a scan, a list of segments that is sorted. Everything is compared with the CPU's
values, to the last bit where both compute in the same order.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from test_gpu_behaviour import by_host

import lazyt as torch
from lazyt.nn import functional as F
from lazyt.runtime import drain, plan

pytestmark = pytest.mark.gpu

DRAWN = np.random.default_rng(0)


@pytest.fixture(autouse=True)
def _nothing_on_the_host() -> Iterator[None]:
    """No plan that a test compiles computes on the host."""
    found: list[str] = []
    listener = lambda made: found.append(made.code.source)
    plan.ON_COMPILE.append(listener)
    drain.clear_plans()
    yield
    plan.ON_COMPILE.remove(listener)
    assert not by_host(found)


def normal(*shape: int, dtype: Any = np.float32) -> np.ndarray:
    return DRAWN.standard_normal(shape).astype(dtype)


def below(extent: int, *shape: int, low: int = 0) -> np.ndarray:
    return DRAWN.integers(low, extent, shape)


def with_ties(*shape: int, dtype: Any = np.float32) -> np.ndarray:
    """Values of which many are equal; of floats some are nan, infinite, or a zero with a sign."""
    values = np.round(3 * normal(*shape)).astype(dtype)
    if np.dtype(dtype).kind == "f":
        flat = values.reshape(-1)
        for special in (np.nan, np.inf, -np.inf, 0.0, -0.0):
            flat[DRAWN.integers(0, flat.size, 1 + flat.size // 50)] = special
    return values


def same(function: Callable, *arrays: np.ndarray, within: float = 0.0) -> None:
    """The results of a function on the device are those on the CPU.

    within: how far they may be apart, relative to the largest.
    """
    results = [function(*[torch.tensor(a).to(where) for a in arrays]) for where in ("cpu", "cuda")]
    expected, found = ([r] if isinstance(r, torch.Tensor) else list(r) for r in results)
    for e, f in zip(expected, found, strict=True):
        assert f.device.type == "cuda" and e.dtype == f.dtype
        a, b = e.detach().numpy(), f.detach().cpu().numpy()
        if within:
            finite = np.abs(a[np.isfinite(a)], dtype=np.float64)
            np.testing.assert_allclose(b, a, rtol=0, atol=within * finite.max(initial=1))
        else:
            np.testing.assert_array_equal(b, a)
            if a.dtype.kind == "f":
                np.testing.assert_array_equal(np.signbit(b[b == 0]), np.signbit(a[a == 0]))


# --- order ----------------------------------------------------------------------------------------

ROWS = [
    ((3, 5000), 1),
    ((5000, 3), 0),
    ((700, 10), 1),
    ((2, 300, 20), 1),
    ((2049,), 0),
    ((1, 1), 1),
]
SORTED = ("float32", "float64", "int64", "int32", "int16", "int8", "uint8", "bool")


@pytest.mark.parametrize(("shape", "axis"), ROWS, ids=str)
@pytest.mark.parametrize("descending", [False, True])
def test_sort(shape: tuple, axis: int, descending: bool) -> None:
    same(lambda x: torch.sort(x, dim=axis, descending=descending, stable=True), with_ties(*shape))


@pytest.mark.parametrize("dtype", SORTED)
def test_sort_of_every_dtype(dtype: str) -> None:
    for descending in (False, True):
        order = lambda x: torch.sort(x, dim=1, descending=descending, stable=True)  # noqa: B023
        same(order, with_ties(2, 3000, dtype=dtype))


def test_sort_of_extremes_of_integers() -> None:
    limits = np.iinfo(np.int64)
    row = np.array([0, limits.max, -1, limits.min, 1, limits.max, limits.min])
    same(lambda x: torch.sort(x, stable=True), row)
    same(lambda x: torch.sort(x, descending=True, stable=True), row)


def test_selections_of_one_element() -> None:
    x = normal(4, 3000)
    x[1, [5, 70, 2999]] = np.nan
    x[2] = np.nan
    same(lambda x: torch.median(x, dim=1), x)
    same(lambda x: torch.nanmedian(x, dim=1), x)
    same(lambda x: torch.median(x), x[0])
    same(lambda x: torch.median(x), x)
    same(lambda x: torch.nanmedian(x), x)
    same(lambda x: torch.kthvalue(x, 1234, dim=1), x[[0, 3]])
    same(lambda x: torch.topk(x, 7, dim=1), x[[0, 3]])
    same(lambda x: torch.topk(x, 7, dim=1, largest=False), x[[0, 3]])
    same(lambda x: torch.mode(x, dim=1)[0], with_ties(3, 3000))
    same(lambda x: torch.mode(x, dim=0)[0], below(9, 3000, 3))


def test_which_of_equal_elements_is_named() -> None:
    x = torch.tensor([[2, 1, 2, 1, 2], [0, 0, 0, 0, 0]], device="cuda")
    assert torch.topk(x, 2)[1].tolist() == [[0, 2], [0, 1]]
    assert torch.kthvalue(x, 2)[1].tolist() == [3, 1]
    assert torch.mode(x)[1].tolist() == [4, 4]  # the last of them, as in PyTorch


def test_searchsorted() -> None:
    rows, values = np.sort(with_ties(3, 3000), axis=1), with_ties(3, 50)
    for right in (False, True):
        same(lambda r, v: torch.searchsorted(r, v, right=right), rows, values)  # noqa: B023
        same(lambda r, v: torch.searchsorted(r[0], v, right=right), rows, values)  # noqa: B023
    halves = torch.tensor(rows[:, :90]).bfloat16().to("cuda"), torch.tensor(values).bfloat16()
    found = torch.searchsorted(halves[0], halves[1].to("cuda"))
    assert found.tolist() == torch.searchsorted(halves[0].cpu(), halves[1]).tolist()


# --- scans ----------------------------------------------------------------------------------------

LINES = [((3, 20000), 1), ((20000, 5), 0), ((300, 40), 0), ((200, 2, 40), 0), ((500, 70), 1)]
LINES += [((4096, 3), 1), ((7,), 0), ((2, 1025), 1)]


@pytest.mark.parametrize(("shape", "axis"), LINES, ids=str)
def test_scans(shape: tuple, axis: int) -> None:
    same(lambda x: torch.cumsum(x, axis), normal(*shape), within=1e-6)
    same(lambda x: torch.cumprod(x, axis), 1 + normal(*shape) / 100, within=1e-6)
    same(lambda x: torch.logcumsumexp(x, axis), 9 * normal(*shape), within=1e-6)
    same(lambda x: torch.cummax(x, axis), with_ties(*shape))
    same(lambda x: torch.cummin(x, axis), with_ties(*shape))


def test_scans_of_integers_wrap() -> None:
    x = below(2**62, 3, 9000, low=-(2**62))
    same(lambda x: torch.cumsum(x, 1), x)
    same(lambda x: torch.cumprod(x, 1), x)
    same(lambda x: torch.cumsum(x, 0), x.astype(np.int32))


@pytest.mark.parametrize("dtype", SORTED)
def test_running_extremes_of_every_dtype(dtype: str) -> None:
    same(lambda x: torch.cummax(x, 1), with_ties(2, 20000, dtype=dtype))
    same(lambda x: torch.cummin(x, 0), with_ties(70, 40, dtype=dtype))


def test_sums_of_exponentials_at_the_edges() -> None:
    inf = np.inf
    rows = [[-inf, -inf, 1, inf], [inf, -inf, inf, 0], [0, np.nan, 1, -inf], [-inf, 900, 900, -900]]
    same(lambda x: torch.logcumsumexp(x, 1), np.array(rows, np.float32), within=1e-7)


def test_derivatives_of_scans_and_sorts() -> None:
    def slopes(x: torch.Tensor) -> Any:
        x = x.requires_grad_()
        y = torch.cumsum(x, 0) * torch.sort(x, 0)[0] + torch.cummax(x, 0)[0]
        return torch.autograd.grad((y * y).sum() + torch.topk(x, 9, 0)[0].sum(), x)[0]

    same(slopes, normal(300, 5), within=1e-5)


# --- segments -------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [20, 3000])
@pytest.mark.parametrize("accumulate", [False, True])
def test_index_put(count: int, accumulate: bool) -> None:
    def put(x: torch.Tensor, i: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        return x.index_put((i,), v, accumulate=accumulate)

    for dtype in ("float32", "float64", "int64", "int32", "uint8"):
        values = with_ties(count, 9) if dtype == "float32" else below(90, count, 9).astype(dtype)
        same(put, below(9, 50, 9).astype(dtype), below(50, count, low=-50), values)
    # A stored value that is the same for all, and one that is spread over the rows.
    same(put, normal(50, 9), below(50, count), normal(1))
    same(put, normal(50, 9), below(50, count), normal(count, 1))


def test_index_put_at_several_axes() -> None:
    def put(x: torch.Tensor, i: torch.Tensor, j: torch.Tensor, v: torch.Tensor) -> Any:
        beside, apart = x.clone(), x.clone()
        beside[:, i, j] = v[..., :1, :].permute(2, 0, 1, 3)
        apart[:, i, :, j] += 1
        apart[i.squeeze(1)[:4], :, j.sum()] = 2
        return beside, apart

    x, i, j = normal(4, 5, 6, 7), below(4, 40, 1, low=-4), below(6, 3, low=-6)
    same(put, x, i, j, normal(40, 3, 4, 7))


def test_one_row_that_everything_goes_to() -> None:
    x, at, values = normal(3, 5), np.full(5000, 1), normal(5000, 5)
    same(lambda x, i, v: x.index_put((i,), v, accumulate=True), x, at, values)


@pytest.mark.parametrize(
    ("shape", "sizes", "axis"),
    [
        ((4, 50), (4, 200), 1),
        ((40, 50), (90, 30), 0),
        ((6, 7, 8), (6, 20, 8), 1),
        ((9,), (3000,), 0),
    ],
    ids=str,
)
def test_scatters(shape: tuple, sizes: tuple, axis: int) -> None:
    x, at, values = normal(*shape), below(shape[axis], *sizes), normal(*sizes)
    same(lambda x, i, v: x.scatter(axis, i, v), x, at, values)
    same(lambda x, i, v: x.scatter_add(axis, i, v), x, at, values)
    for how in ("sum", "prod", "mean", "amax", "amin"):
        for own in (False, True):
            reduce = lambda x, i, v: x.scatter_reduce(axis, i, v, how, include_self=own)  # noqa: B023
            same(reduce, x, at, values)
            whole = [np.round(9 * a).astype(np.int64) for a in (x, values)]
            same(reduce, whole[0], at, whole[1])


def test_the_gradient_of_an_embedding() -> None:
    def slopes(table: torch.Tensor, at: torch.Tensor) -> torch.Tensor:
        table = table.requires_grad_()
        picked = F.embedding(at, table, padding_idx=3)
        return torch.autograd.grad((picked * picked).sum(), table)[0]

    same(slopes, normal(100, 24), below(100, 8, 50))


def test_overlapping_windows() -> None:
    def slopes(x: torch.Tensor) -> torch.Tensor:
        x = x.requires_grad_()
        return torch.autograd.grad((x.unfold(0, 5, 2) ** 2).sum(), x)[0]

    same(slopes, normal(101), within=1e-6)


def test_histograms() -> None:
    x = normal(5000)
    x[:3] = -1, 1, 1.5
    same(lambda x: torch.histc(x, bins=10), x)
    same(lambda x: torch.histc(x, bins=10, min=-1, max=1), x)
    same(lambda x: torch.histc(x, bins=3000, min=-1, max=1), x)
    same(lambda x: torch.histc(x, bins=4), np.full(9, 2.5, np.float32))


@pytest.mark.parametrize("index", [50, -51])
def test_an_index_out_of_range_is_refused(index: int) -> None:
    x = torch.zeros(50, 3, device="cuda")
    at = torch.arange(40, device="cuda")
    at[7] = index
    with pytest.raises(IndexError, match=r"is out of range .*test_gpu_orders.py:\d+, in test"):
        x.index_put((at,), torch.ones(40, 3, device="cuda"), accumulate=True).tolist()


def test_negative_indices_are_refused_where_they_do_not_count_from_the_end() -> None:
    x, at = torch.arange(3.0, device="cuda"), torch.tensor([-1], device="cuda")
    ones = torch.ones(1, device="cuda")
    for call in (
        lambda: torch.index_select(x, 0, at),
        lambda: x.index_add(0, at, ones),
        lambda: x.index_copy(0, at, ones),
        lambda: torch.gather(x, 0, at),
        lambda: x.scatter_add(0, at, ones),
        lambda: F.embedding(at, x.view(3, 1)),
    ):
        with pytest.raises(IndexError, match="index is out of range"):
            call().tolist()
    assert x.index_fill(0, at, 7).tolist() == [0, 1, 7] and x.take(at).tolist() == [2]
    assert x.tolist() == [0, 1, 2]


# --- rare dtypes and shapes -----------------------------------------------------------------------


def test_many_pieces_are_joined() -> None:
    pieces = [normal(n % 4, 3) for n in range(21)]
    same(lambda *p: torch.cat(p), *pieces)
    same(lambda *p: torch.cat(p, 1), *[normal(2, n) for n in (0, 5, 0)])
    same(lambda x: torch.stack([x * k for k in range(30)], 1), normal(4, 5))


def test_products_and_powers_of_integers() -> None:
    for dtype in ("int64", "int32", "uint8"):
        a, b = below(300, 3, 7, 40).astype(dtype), below(300, 40, 9).astype(dtype)
        same(torch.matmul, a, b)
        same(torch.matmul, a[0, 0], b)
        same(torch.matmul, a, b[:, 0])
        same(torch.matmul, a[0, 0], b[:, 0])
    same(torch.pow, below(9, 50, low=-9), below(70, 50, low=-3))
    same(lambda x: 3**x, below(70, 50))


def test_reductions_of_one_number() -> None:
    for x in (np.float32(-2.5), np.float64(np.nan)):
        x = np.asarray(x)
        same(lambda x: [x.sum(), x.prod(), x.amax(), x.any(), x.all(), x.logsumexp(0)], x)
        same(lambda x: [x.norm(), x.var(), x.std(correction=0), x.argmax()], x)


def test_probabilities_have_to_be_within_their_range() -> None:
    x, target = DRAWN.random((3, 4)), DRAWN.random((3, 4))
    same(F.binary_cross_entropy, x, target, within=1e-12)
    x[1, 2] = 1.5
    with pytest.raises(IndexError):
        F.binary_cross_entropy(torch.tensor(x).cuda(), torch.tensor(target).cuda()).item()
