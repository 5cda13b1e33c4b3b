"""The NumPy forms of the larger primitives: against plain loops, and against PyTorch where it is
installed (those tests take the fixture `oracle`).

Random cases come from seeds, so a failure names the case that repeats it.
"""

from __future__ import annotations

import math
import types
from collections.abc import Iterator
from itertools import product

import numpy as np
import pytest

from lazyt.ir.numerics import conv, elementwise, pool, scatter, softmax, sort, special
from lazyt.ir.numerics import reduce as reductions

Torch = types.ModuleType
same = np.testing.assert_array_equal
close = np.testing.assert_allclose


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    with np.errstate(all="ignore"):
        yield


def _identical(ours: np.ndarray, theirs: np.ndarray) -> None:
    """Equal dtype, values, nan places and signs of zero."""
    assert isinstance(ours, np.ndarray)
    assert ours.dtype == theirs.dtype
    same(ours, theirs)
    if ours.dtype.kind == "f":
        numbers = ~np.isnan(ours)
        same(np.signbit(ours)[numbers], np.signbit(theirs)[numbers])


# Convolution


def _geometry(rng: np.random.Generator) -> tuple:
    rank, groups = int(rng.integers(1, 4)), int(rng.choice([1, 1, 2, 3]))
    pick = lambda choices: tuple(int(v) for v in rng.choice(choices, rank))
    kernel, padding, dilation = pick([1, 2, 3]), pick([0, 0, 1, 2]), pick([1, 1, 2])
    stride = pick([1, 2, 3]) if rng.random() < 0.6 else (1,) * rank
    spatial = tuple(
        int(rng.integers(d * (k - 1) + 1, 12)) for k, d in zip(kernel, dilation, strict=True)
    )
    channels, maps = groups * int(rng.integers(1, 4)), groups * int(rng.choice([1, 2, 5]))
    x = rng.standard_normal((int(rng.choice([0, 1, 2, 5])), channels, *spatial))
    w = rng.standard_normal((maps, channels // groups, *kernel))
    return x, w, stride, padding, dilation, groups


def _conv_loop(x, w, stride, padding, dilation, groups):
    spatial = conv.conv_output_size(x.shape[2:], w.shape[2:], stride, padding, dilation)
    x = np.pad(x, [(0, 0), (0, 0), *((p, p) for p in padding)])
    y = np.zeros((x.shape[0], w.shape[0], *spatial), x.dtype)
    per_in, per_out = w.shape[1], w.shape[0] // groups
    for out in np.ndindex(*spatial):
        for offset in np.ndindex(*w.shape[2:]):
            at = tuple(
                o * s + k * d for o, s, k, d in zip(out, stride, offset, dilation, strict=True)
            )
            for group in range(groups):
                maps = slice(group * per_out, (group + 1) * per_out)
                seen = x[(slice(None), slice(group * per_in, (group + 1) * per_in), *at)]
                weights = w[(maps, slice(None), *offset)]
                y[(slice(None), maps, *out)] += seen @ weights.T
    return y


@pytest.mark.parametrize("seed", range(40))
def test_conv_is_the_sum_over_windows_and_its_gradients_its_transposes(seed: int) -> None:
    rng = np.random.default_rng(seed)
    x, w, *rest = _geometry(rng)
    y = conv.conv(x, w, *rest)
    close(y, _conv_loop(x, w, *rest), atol=1e-12)
    g = rng.standard_normal(y.shape)
    dx = conv.conv_input_grad(g, w, x.shape[2:], *rest)
    dw = conv.conv_weight_grad(g, x, w.shape[2:], *rest)
    # <g, conv(x, w)> is bilinear: each gradient contracted with its operand gives it back.
    close([(dx * x).sum(), (dw * w).sum()], (g * y).sum(), rtol=1e-9, atol=1e-9)
    integers = [np.round(3 * v).astype(np.int64) for v in (x, w)]
    same(conv.conv(*integers, *rest), _conv_loop(*integers, *rest))


@pytest.mark.parametrize("setting", ["as shipped", "merged", "unmerged", "bands", "blocks"])
@pytest.mark.parametrize("seed", range(20))
def test_conv_and_gradients_as_torch(
    seed: int, setting: str, oracle: Torch, monkeypatch: pytest.MonkeyPatch
) -> None:
    name, value = {
        "as shipped": ("_LARGEST_COLUMNS", conv._LARGEST_COLUMNS),
        "merged": ("_FEW_POSITIONS", 10**6),
        "unmerged": ("_FEW_POSITIONS", 0),
        "bands": ("_LARGEST_COLUMNS", 40),
        "blocks": ("_MERGED_ELEMENTS", 1),
    }[setting]
    monkeypatch.setattr(conv, name, value)
    if setting == "unmerged":
        monkeypatch.setattr(conv, "_COLUMN_ELEMENTS", 1)
    rng = np.random.default_rng(seed + 100)
    x, w, *rest = _geometry(rng)
    tx, tw = (oracle.from_numpy(v).requires_grad_() for v in (x, w))
    function = (oracle.conv1d, oracle.conv2d, oracle.conv3d)[x.ndim - 3]
    y = function(tx, tw, None, *rest)
    g = rng.standard_normal(y.shape)
    y.backward(oracle.from_numpy(g))
    for order in (None, "C", "F"):
        out = lambda shape, o=order: None if o is None else np.full(shape, 7.0, order=o)
        close(conv.conv(x, w, *rest, out=out(y.shape)), y.detach().numpy(), atol=1e-12)
        dx = conv.conv_input_grad(g, w, x.shape[2:], *rest, out=out(x.shape))
        close(dx, tx.grad.numpy(), atol=1e-12)
        dw = conv.conv_weight_grad(g, x, w.shape[2:], *rest, out=out(w.shape))
        close(dw, tw.grad.numpy(), atol=1e-12)


def test_conv_input_grad_keeps_what_is_not_finite_in_its_place() -> None:
    w = np.zeros((8, 1, 3, 3))
    w[:, :, 1, 1] = np.inf
    g = np.zeros((1, 8, 12, 12))
    g[0, :, 0, 0] = 1
    grad = conv.conv_input_grad(g, w, (14, 14), (1, 1), (0, 0), (1, 1))
    assert grad[0, 0, 1, 1] == np.inf
    assert np.isfinite(grad[0, 0, 0]).all()
    assert np.isfinite(grad[0, 0, :, 0]).all()


# Pooling


def _pool_case(rng: np.random.Generator) -> tuple:
    rank = int(rng.integers(1, 4))
    pick = lambda choices: tuple(int(v) for v in rng.choice(choices, rank))
    kernel, stride, dilation = pick([1, 2, 3]), pick([1, 2, 3]), pick([1, 1, 2])
    padding = tuple(int(rng.integers(0, k // 2 + 1)) for k in kernel)
    spatial = tuple(
        int(rng.integers(d * (k - 1) + 1, 10)) for k, d in zip(kernel, dilation, strict=True)
    )
    x = rng.integers(0, 5, (int(rng.choice([1, 3])), 2, *spatial)).astype(np.float64)
    kind = rng.random()
    if kind < 0.25:
        x[rng.random(x.shape) < 0.1] = np.nan
    elif kind < 0.5:
        x[rng.random(x.shape) < 0.8] = -np.inf
    return x, kernel, stride, padding, dilation, bool(rng.random() < 0.5)


def test_max_pool_of_one_row_by_hand() -> None:
    x = np.array([[[3.0, 3.0, 1.0, np.nan, 0.0, np.nan]]])
    windows = ((2,), (2,), (0,), (1,))
    values, winners = pool.max_pool(x, *windows)
    same(values, [[[3.0, np.nan, np.nan]]])
    same(winners, np.array([[[0, 1, 1]]], np.int32))
    same(pool.max_pool_positions(winners, (6,), *windows), [[[0, 3, 5]]])
    g = np.array([[[1.0, 2.0, 4.0]]])
    same(pool.max_pool_grad(g, winners, (6,), *windows), [[[1, 0, 0, 2, 0, 4]]])
    same(pool.max_pool_gather(x, winners, *windows), values)
    assert pool.pool_output_size((6, 7), (1, 1), (2, 2), (0, 0), (1, 1), True) == (3, 4)


def test_footprints_are_whole_strides() -> None:
    assert pool.footprint((3, 2, 3, 1), (2, 2, 1, 3), (1, 1, 2, 1)) == (4, 2, 5, 3)
    # The rows of a footprint of 4 by 4: the largest element is in the second row, third column.
    x = np.zeros((1, 1, 3, 3))
    x[0, 0, 1, 2] = 1
    winners = pool.max_pool(x, (3, 3), (2, 2), (0, 0), (1, 1))[1]
    same(winners, np.array([[[[1 * 4 + 2]]]], np.int32))


@pytest.mark.parametrize("seed", range(60))
def test_max_pool_as_torch(seed: int, oracle: Torch) -> None:
    rng = np.random.default_rng(seed)
    x, *rest = _pool_case(rng)
    windows = rest[:-1]
    functional = oracle.nn.functional
    function = (functional.max_pool1d, functional.max_pool2d, functional.max_pool3d)[x.ndim - 3]
    tx = oracle.from_numpy(x).requires_grad_()
    y, places = function(tx, *rest, True)
    g = rng.standard_normal(y.shape)
    y.backward(oracle.from_numpy(g))
    values, winners = pool.max_pool(x, *rest)
    positions = pool.max_pool_positions(winners, x.shape[2:], *windows)
    assert winners.dtype == np.int32 and positions.dtype == np.int64
    assert values.shape[2:] == pool.pool_output_size(x.shape[2:], *rest)
    same(values, y.detach().numpy())
    same(positions, places.numpy())
    same(pool.max_pool_values(x, *rest), values)
    same(pool.max_pool(x[0], *rest)[1], winners[0])
    grad = pool.max_pool_grad(g, winners, x.shape[2:], *windows)
    close(grad, tx.grad.numpy(), rtol=1e-12)
    same(pool.max_pool_gather(x, winners, *windows), values)


@pytest.mark.parametrize("seed", range(60))
def test_avg_pool_as_torch(seed: int, oracle: Torch) -> None:
    rng = np.random.default_rng(seed + 1000)
    x, kernel, stride, padding, _, ceil_mode = _pool_case(rng)
    x = rng.standard_normal(x.shape)
    rank = len(kernel)
    options = [ceil_mode, bool(rng.random() < 0.5)]
    if rank > 1:
        options.append(rng.choice([None, 3]))
    functional = oracle.nn.functional
    function = (functional.avg_pool1d, functional.avg_pool2d, functional.avg_pool3d)[rank - 1]
    tx = oracle.from_numpy(x).requires_grad_()
    y = function(tx, kernel, stride, padding, *options)
    g = rng.standard_normal(y.shape)
    y.backward(oracle.from_numpy(g))
    close(pool.avg_pool(x, kernel, stride, padding, *options), y.detach().numpy(), atol=1e-12)
    grad = pool.avg_pool_grad(g, x.shape[2:], kernel, stride, padding, *options)
    close(grad, tx.grad.numpy(), atol=1e-12)


# Scatter


def _scatter_case(seed: int) -> tuple:
    rng = np.random.default_rng(seed)
    rank = int(rng.integers(0, 4))
    shape = tuple(int(v) for v in rng.integers(1, 7, rank))
    axis = int(rng.integers(max(rank, 1)))
    covered = tuple(
        int(rng.integers(1, 9 if d == axis else extent + 1)) for d, extent in enumerate(shape)
    )
    dtype = rng.choice([np.float32, np.float64, np.int64, np.int32])
    draw = lambda s: np.asarray(rng.standard_normal(s) * 4).astype(dtype)
    source = draw(tuple(extent + int(rng.integers(2)) for extent in covered))
    index = rng.integers(0, shape[axis], covered) if rank else np.array(0)
    if source.dtype.kind == "f" and rng.random() < 0.3:
        source.reshape(-1)[0] = np.nan
    return draw(shape), axis, np.asarray(index), source


@pytest.mark.parametrize("seed", range(30))
def test_scatter_is_a_loop_in_order(seed: int) -> None:
    x, axis, index, source = _scatter_case(seed)
    added, written, gathered = x.copy(), x.copy(), np.empty(index.shape, x.dtype)
    for place in np.ndindex(*index.shape):
        target = tuple(int(index[place]) if d == axis else i for d, i in enumerate(place))
        added[target] += source[place]
        written[target] = source[place]
        gathered[place] = x[target]
    same(scatter.scatter_add(x, axis, index, source), added)
    same(scatter.scatter(x, axis, index, source), written)
    same(scatter.gather(x, axis, index), gathered)
    reuse = x.copy()
    assert scatter.scatter_add(reuse, axis, index, source, out=reuse) is reuse
    same(reuse, added)
    strided = np.asfortranarray(x)
    same(scatter.scatter_add(x, axis, index, source, out=strided), added)


@pytest.mark.parametrize("seed", range(40))
def test_scatter_reduce_as_torch(seed: int, oracle: Torch) -> None:
    x, axis, index, source = _scatter_case(seed)
    tensors = [oracle.from_numpy(v.copy()) for v in (x, index, source)]
    for how, with_self in product(("sum", "prod", "mean", "amax", "amin"), (True, False)):
        theirs = oracle.scatter_reduce(
            tensors[0], axis, tensors[1], tensors[2], how, include_self=with_self
        ).numpy()
        ours = scatter.scatter_reduce(x, axis, index, source, how, with_self)
        assert ours.dtype == theirs.dtype
        close(ours, theirs, rtol=1e-6, err_msg=f"{how} {with_self}")


@pytest.mark.parametrize("seed", range(60))
def test_index_accumulate_in_every_layout(seed: int) -> None:
    rng = np.random.default_rng(seed)
    shape = tuple(int(v) for v in rng.integers(1, 6, int(rng.integers(1, 5))))
    common = [(3,), (2, 3), ()][int(rng.integers(3))]
    indices: list = []
    for extent in shape[: int(rng.integers(1, len(shape) + 1))]:
        if rng.random() < 0.5:
            one = common if rng.random() < 0.5 else common[-1:]
            indices.append(np.asarray(rng.integers(-extent, extent, one)))
        else:
            slices = [slice(None), slice(0, 2), slice(None, None, 2)]
            indices.append(slices[int(rng.integers(3))])
    if all(isinstance(i, slice) for i in indices):
        indices[0] = np.asarray(rng.integers(-shape[0], shape[0], common))
    key = tuple(indices)
    base = rng.standard_normal(shape)
    values = np.asarray(rng.standard_normal(base[key].shape))
    expected = np.zeros(shape)
    np.add.at(expected, key, values)
    same(scatter.index_accumulate(shape, key, values), expected)
    close(scatter.index_put_accumulate(base, key, values), base + expected, rtol=1e-12)
    spread = np.broadcast_to(np.float64(1.5), values.shape)
    same(
        scatter.index_put_accumulate(base, key, np.float64(1.5)),
        scatter.index_put_accumulate(base, key, spread),
    )
    strided = np.array(base, order="F")
    scatter.accumulate_at(strided, key, values)
    close(strided, base + expected, rtol=1e-12)


@pytest.mark.parametrize("width", [1, 3, 300])
def test_rows_accumulate_in_order_and_single_precision(width: int) -> None:
    rng = np.random.default_rng(0)
    index = rng.integers(0, 4, (5, 6))
    values = rng.standard_normal((5, 6, width)).astype(np.float32)
    expected = np.zeros((7, width), np.float32)
    for place in np.ndindex(5, 6):
        expected[index[place]] += values[place]
    same(scatter.row_accumulate(7, index, values), expected)
    wide = np.asarray(values.reshape(30, width)[:, None].repeat(2, 1).swapaxes(0, 1))
    added = scatter.index_add(np.zeros((2, 7, width), np.float32), 1, index.reshape(-1), wide)
    same(added[1], expected)


def test_bincount_sums_in_the_dtype_torch_does() -> None:
    x = np.array([1, 1, 3])
    same(scatter.bincount(x, minlength=6), [0, 2, 0, 1, 0, 0])
    for dtype, result in ((np.float32, np.float32), (np.float64, np.float64), (int, np.float64)):
        weighted = scatter.bincount(x, np.array([1, 2, 4], dtype))
        assert weighted.dtype == result
        same(weighted, [0, 3, 0, 4])


# Reductions


def test_long_sums_are_accurate_along_every_axis() -> None:
    x = np.full((1_000_000, 2), np.float32(0.1))
    exact = 1_000_000 * float(np.float32(0.1))
    for total in (reductions.sum(x, (0,)), reductions.sum(x.T, (1,))):
        close(total, exact, rtol=5e-7)
    close(reductions.sum(x, (0, 1)), 2 * exact, rtol=5e-7)
    close(reductions.sum(x.reshape(100, 100, 200), (0, 1)), 10_000 * exact / 1e6, rtol=5e-7)
    same(reductions.sum(x, (1,)), np.float32(0.2))


@pytest.mark.parametrize("seed", range(150))
def test_sum_and_variance_of_every_layout(seed: int) -> None:
    rng = np.random.default_rng(seed)
    extents = [0, 1, 2, 40] if seed % 20 == 0 else [1, 2, 3, 7, 33, 70]
    shape = tuple(int(v) for v in rng.choice(extents, int(rng.integers(0, 5))))
    while math.prod(shape) > 100_000:
        shape = tuple(max(1, extent // 2) for extent in shape)
    dtype = rng.choice([np.float32, np.float64])
    x = np.asarray(rng.standard_normal(shape)).astype(dtype)
    x = x.transpose(rng.permutation(x.ndim)) if x.ndim else x
    if x.ndim and rng.random() < 0.3:
        x = x[::2]
    if x.ndim and rng.random() < 0.3:
        x = x[..., ::-1]
    axes = tuple(d for d in range(x.ndim) if rng.random() < 0.6)
    keep = bool(rng.random() < 0.5)
    wide = x.astype(np.float64)
    expected = np.sum(wide, axis=axes, keepdims=keep)
    total = reductions.sum(x, axes, keep)
    assert isinstance(total, np.ndarray)
    assert total.flags.c_contiguous
    assert (total.dtype, total.shape) == (x.dtype, expected.shape)
    close(total, expected, rtol=1e-5, atol=2e-6 * (1 + float(np.abs(x).sum())) ** 0.5)
    # the same bits with a buffer, contiguous or not
    for order in "CF":
        out = np.empty(expected.shape, x.dtype, order)
        assert reductions.sum(x, axes, keep, out=out) is out
        same(out, total)
    if x.size:
        variance = np.var(wide, axis=axes, keepdims=keep, ddof=0)
        close(reductions.var(x, axes, 0, keep), variance, rtol=1e-5, atol=1e-12)
        close(reductions.std(x, axes, 0, keep) ** 2, variance, rtol=1e-5, atol=1e-12)
        mean = reductions.var_mean(x, axes, 0, keep)[1]
        close(mean, np.mean(wide, axis=axes, keepdims=keep), rtol=1e-4, atol=1e-5)
        norm = np.sqrt(np.sum(wide * wide, axis=axes, keepdims=keep))
        close(softmax.norm2(x, axes, keep), norm, rtol=1e-5)


def test_standard_deviation_beyond_the_range_of_squares() -> None:
    x = np.array([1, 2, 3, 4], np.float32)
    for scale in (np.float32(1e30), np.float32(1e-30)):
        close(reductions.std(x * scale, (0,)) / scale, 1.2909944, rtol=1e-6)
        close(reductions.std(x * scale, (0,), 0) / scale, 1.1180340, rtol=1e-6)
        close(softmax.norm2(x * scale, (0,)) / scale, 5.4772256, rtol=1e-6)
    shifted = ((np.arange(1000) * 37 % 101) / 64 + 1e5).astype(np.float32)
    close(reductions.var(shifted, (0,)), shifted.astype(np.float64).var(ddof=1), rtol=1e-6)
    assert np.isnan(reductions.var(x[:1], (0,)))


def test_scans_by_hand() -> None:
    nan = np.nan
    x = np.array([1.0, 3.0, 3.0, nan, 5.0])
    values, index = reductions.cummax(x, 0)
    same(values, [1, 3, 3, nan, nan])
    same(index, [0, 1, 2, 3, 3])
    same(reductions.cummin(x, 0)[1], [0, 0, 0, 3, 3])
    same(reductions.argmax(x, 0), 3)
    same(reductions.argmax(np.array([[1, 2], [2, 0]]), None), 1)
    same(reductions.max_with_index(np.array([[1, 2, 2]]), 1)[1], [1])
    tenth = np.full(10_000, 0.1, np.float32)
    close(reductions.cumsum(tenth, 0)[-1], 10_000 * float(tenth[0]), rtol=1e-7)


@pytest.mark.parametrize("seed", range(60))
def test_order_and_scans_as_torch(seed: int, oracle: Torch) -> None:
    rng = np.random.default_rng(seed)
    shape = tuple(int(v) for v in rng.choice([1, 2, 3, 9, 20], int(rng.integers(1, 4))))
    x = np.round(rng.standard_normal(shape) * 2).astype(rng.choice([np.float32, np.float64]))
    axis, keep = int(rng.integers(x.ndim)), bool(rng.random() < 0.5)
    plain = oracle.from_numpy(x.copy())
    if rng.random() < 0.5:
        x[rng.random(x.shape) < 0.1] = np.nan
    t = oracle.from_numpy(x.copy())

    def both(ours: tuple, theirs: tuple) -> None:
        for a, b in zip(ours, theirs, strict=True):
            _identical(np.asarray(a + 0), np.asarray(b.numpy() + 0))

    for name in ("argmax", "argmin"):
        ours = getattr(reductions, name)
        both(
            (ours(x, axis, keep), ours(x, None)), (getattr(t, name)(axis, keep), getattr(t, name)())
        )
    both(reductions.max_with_index(x, axis, keep), oracle.max(t, axis, keep))
    both(reductions.min_with_index(x, axis, keep), oracle.min(t, axis, keep))
    for name in ("cummax", "cummin"):
        both(getattr(reductions, name)(x, axis), getattr(oracle, name)(t, axis))
    for name in ("cumsum", "cumprod"):
        both((getattr(reductions, name)(x, axis),), (getattr(oracle, name)(t, axis),))
    for descending in (False, True):
        theirs = oracle.sort(t, dim=axis, descending=descending, stable=True)
        both(sort.sort(x, axis, descending), theirs)
        count = int(rng.integers(1, x.shape[axis] + 1))
        values, index = sort.topk(x, count, axis, descending)
        same(values, oracle.topk(t, count, axis, descending)[0].numpy())
        same(np.take_along_axis(x, index, axis), values)
    k = int(rng.integers(1, x.shape[axis] + 1))
    for ours, theirs in (
        (sort.kthvalue(x, k, axis, keep), oracle.kthvalue(t, k, axis, keep)),
        (sort.median(x, axis, keep), oracle.median(t, axis, keep)),
        (sort.median(x, axis, keep, True), oracle.nanmedian(t, axis, keep)),
        (sort.mode(plain.numpy(), axis, keep), oracle.mode(plain, axis, keep)),
    ):
        same(ours[0], theirs[0].numpy())
        assert ours[1].shape == theirs[1].shape
    same(
        reductions.take_one(x, axis, sort.median(x, axis, keep)[1], keep),
        sort.median(x, axis, keep)[0],
    )
    flags = {"return_inverse": True, "return_counts": True}
    both(sort.unique(plain.numpy()), oracle.unique(plain, **flags))
    both(sort.unique_consecutive(x), oracle.unique_consecutive(t, **flags))
    both(sort.unique(plain.numpy(), axis), oracle.unique(plain, dim=axis, **flags))
    both(sort.unique_consecutive(x, axis), oracle.unique_consecutive(t, dim=axis, **flags))


def test_stable_sort_in_both_directions() -> None:
    x = np.array([1, 0, 1, 2, 0, 1, 2])
    same(sort.argsort(x, 0), [1, 4, 0, 2, 5, 3, 6])
    same(sort.argsort(x, 0, True), [3, 6, 0, 2, 5, 1, 4])
    values, inverse, counts = sort.unique(x)
    same(values[inverse], x)
    same(counts, [2, 3, 2])
    same(sort.mode(np.array([[3, 1, 1, 3]]), 1)[0], [1])
    pairs = np.array([[1, 2], [0, 5], [1, 2]])
    same(sort.unique(pairs, 0)[0], [[0, 5], [1, 2]])
    same(sort.unique(pairs, 0)[1], [1, 0, 1])


@pytest.mark.parametrize("largest", [True, False])
def test_selection_in_long_rows_agrees_with_sorting(largest: bool) -> None:
    rng = np.random.default_rng(0)
    x = rng.integers(0, 300, (3, 5000)).astype(np.float32)
    x[1, ::50] = np.nan
    x[2, :4990] = np.nan
    for count in (1, 5, 200, 600, 4000):
        values, index = sort.topk(x, count, 1, largest)
        same(index, sort.argsort(x, 1, largest)[:, :count])
        same(values, np.take_along_axis(x, index, 1))
        same(sort.topk(x.T, count, 0, largest)[1], index.T)


@pytest.mark.parametrize("axis", [0, 1])
def test_softmax_family(axis: int) -> None:
    x = np.array([[1e4, 0.0, -1e4], [1.0, 2.0, 3.0], [-np.inf, -np.inf, 0.0]])
    logs = softmax.log_softmax(x, axis)
    close(softmax.softmax(x, axis).sum(axis), 1.0)
    close(np.exp(logs), softmax.softmax(x, axis), atol=1e-15)
    close(softmax.logsumexp(x, (axis,)), np.logaddexp.reduce(x, axis))
    same(softmax.logsumexp(np.full((2, 3), -np.inf), (1,)), [-np.inf, -np.inf])
    same(softmax.logsumexp(np.array([[np.inf, 1.0]]), (0, 1), True), [[np.inf]])
    again = x.copy()
    assert softmax.log_softmax(again, axis, out=again) is again
    same(again, logs)


# Elementwise

_CORNERS = [0.0, -0.0, 1, -1, 0.1, -0.1, 2, -7, 3.5, 6, 0.2, 1e9, 1 / 3, -8, 4, math.pi, 1e-20]
_SPECIAL = [*_CORNERS, math.inf, -math.inf, math.nan]
_DIVISIONS = ["floor_divide", "trunc_divide", "remainder", "fmod"]


def _pairs(values: list, dtype: type) -> tuple[np.ndarray, np.ndarray]:
    a, b = np.meshgrid(np.array(values, dtype), np.array(values, dtype))
    return a.ravel(), b.ravel()


def test_float_division_by_hand() -> None:
    a, b = np.array([1.0, 0.5, 6.0, -7.0]), np.array([0.1, 0.1, 0.2, 2.0])
    same(elementwise.floor_divide(a, b), [9, 4, 29, -4])
    zero = elementwise.remainder(np.array([-4.0]), np.array([2.0]))
    assert np.signbit(zero[0])
    same(elementwise.remainder(np.array([-3.5], np.float32), 2), np.float32([0.5]))
    assert elementwise.floor_divide(np.array([7], np.int32), 2).dtype == np.int32


@pytest.mark.parametrize("dtype", [np.int8, np.int16, np.int32, np.int64, np.uint8])
def test_integer_division(dtype: type) -> None:
    limits = np.iinfo(dtype)
    values = [v for v in (0, 1, 2, 3, 7, 100, -1, -2, -7, -100) if limits.min <= v]
    a, b = _pairs([*values, limits.min, limits.max], dtype)
    a, b = a[b != 0], b[b != 0]
    pairs = list(zip(a.tolist(), b.tolist(), strict=True))
    truncated = [abs(p) // abs(q) * (1 if (p < 0) == (q < 0) else -1) for p, q in pairs]
    low, width = int(limits.min), int(limits.max) - int(limits.min) + 1
    wrapped = lambda values: np.array([(v - low) % width + low for v in values], dtype)
    same(elementwise.floor_divide(a, b), wrapped([p // q for p, q in pairs]))
    same(elementwise.remainder(a, b), wrapped([p % q for p, q in pairs]))
    same(elementwise.trunc_divide(a, b), wrapped(truncated))
    rest = [p - q * t for (p, q), t in zip(pairs, truncated, strict=True)]
    same(elementwise.fmod(a, b), wrapped(rest))
    for name in _DIVISIONS:
        function = getattr(elementwise, name)
        with pytest.raises(RuntimeError, match="^ZeroDivisionError$"):
            function(a, np.zeros_like(b))
        for position in (0, 1):
            operands = [a.copy(), b.copy()]
            function(*operands, out=operands[position])
            same(operands[position], function(a, b))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_float_corners_as_torch(dtype: type, oracle: Torch) -> None:
    a, b = _pairs(_SPECIAL, dtype)
    ta, tb = oracle.from_numpy(a), oracle.from_numpy(b)
    _identical(elementwise.floor_divide(a, b), oracle.floor_divide(ta, tb).numpy())
    truncated = oracle.div(ta, tb, rounding_mode="trunc").numpy()
    _identical(elementwise.trunc_divide(a, b), truncated)
    _identical(elementwise.remainder(a, b), oracle.remainder(ta, tb).numpy())
    _identical(elementwise.fmod(a, b), oracle.fmod(ta, tb).numpy())
    close(elementwise.power(a, b), oracle.pow(ta, tb).numpy(), rtol=1e-6)
    x = np.array(_SPECIAL, dtype)
    t = oracle.from_numpy(x)
    for exponent in (0, 0.5, 1, 2, 3, -1, -2, -0.5, 1 / 3, 4, 2.5):
        ours, theirs = elementwise.power(x, exponent), (t**exponent).numpy()
        assert ours.dtype == dtype
        close(ours, theirs, rtol=1e-6)
        numbers = ~np.isnan(ours)
        same(np.signbit(ours)[numbers], np.signbit(theirs)[numbers])
        base = abs(exponent) + 0.5
        close(elementwise.power(base, x), (base**t).numpy(), rtol=1e-6)
    same(elementwise.sign(x), oracle.sign(t).numpy())
    _identical(elementwise.nan_to_num(x), oracle.nan_to_num(t).numpy())
    _identical(elementwise.nan_to_num(x, 7, 8, 9), oracle.nan_to_num(t, 7, 8, 9).numpy())
    functional = oracle.nn.functional
    z = np.concatenate([x, np.linspace(-100, 100, 999)]).astype(dtype)
    for ours, theirs in (
        (elementwise.sigmoid, oracle.sigmoid),
        (elementwise.silu, functional.silu),
        (elementwise.softplus, functional.softplus),
        (elementwise.log_sigmoid, functional.logsigmoid),
    ):
        y = ours(z)
        close(y, theirs(oracle.from_numpy(z)).numpy(), rtol=1e-6, atol=1e-44)
        again = z.copy()
        assert ours(again, out=again) is again
        same(again, y)


@pytest.mark.parametrize("dtype", [np.int8, np.int16, np.int32, np.int64, np.uint8])
def test_integer_powers_and_shifts_as_torch(dtype: type, oracle: Torch) -> None:
    limits = np.iinfo(dtype)
    a, b = _pairs([0, 1, 2, 3, 7, 70, limits.min, limits.max], dtype)
    if limits.min:
        a, b = (np.concatenate([v, *_pairs([-1, -2, -3, 1, 0, 5], dtype)]) for v in (a, b))
        a, b = a[: len(b)], b[: len(a)]
    ta, tb = oracle.from_numpy(a), oracle.from_numpy(b)
    _identical(elementwise.power(a, b), oracle.pow(ta, tb).numpy())
    _identical(elementwise.shift_left(a, b), (ta << tb).numpy())
    _identical(elementwise.shift_right(a, b), (ta >> tb).numpy())
    _identical(elementwise.power(a, 3), (ta**3).numpy())


def test_float_casts_as_torch(oracle: Torch) -> None:
    wild = [3e9, -3e9, 2.0**31, 2.0**32 + 5, 1e19, -1e19, 2.0**63, 2.0**64, 65543.0, -129, 300]
    for dtype in (np.float16, np.float32, np.float64):
        x = np.array([*_SPECIAL, *wild]).astype(dtype)
        t = oracle.from_numpy(x)
        for name in ("uint8", "int8", "int16", "int32", "int64", "bool"):
            theirs = t.to(getattr(oracle, name)).numpy()
            _identical(elementwise.cast_float_to_int(x, np.dtype(name)), theirs)
            out = np.empty(x.shape, name)
            assert elementwise.cast_float_to_int(x, out.dtype, out) is out
            same(out, theirs)
        _identical(elementwise.cast_float16(x), t.half().numpy())


def test_bfloat16_rounds_to_nearest_even(oracle: Torch) -> None:
    rng = np.random.default_rng(0)
    ties = (rng.integers(0, 1 << 16, 2000) << 16 | 0x8000).astype(np.uint32)
    edges = np.array([0x7F800000, 0xFF800000, 0x7FFFFFFF, 0x7F7FFFFF, 0, 1], np.uint32)
    bits = np.concatenate([rng.integers(0, 1 << 32, 20000).astype(np.uint32), ties, edges])
    x = bits.view(np.float32)
    _identical(elementwise.round_bfloat16(x), oracle.from_numpy(x).bfloat16().float().numpy())
    again = x.copy()
    elementwise.round_bfloat16(again, out=again)
    same(again, elementwise.round_bfloat16(x))


def test_bfloat16_by_hand() -> None:
    x = np.float32([1.0, 1.00390625, 1.01171875, -1.005, 3.4e38, np.nan])
    same(elementwise.round_bfloat16(x), np.float32([1, 1, 1.015625, -1.0078125, np.inf, np.nan]))


# Special functions


def _ulps(ours: np.ndarray, exact: list[float]) -> float:
    reference = np.array(exact)
    spacing = np.spacing(np.abs(reference).astype(ours.dtype)).astype(np.float64)
    return float(np.max(np.abs(ours.astype(np.float64) - reference) / spacing))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_erf_and_erfc_against_the_c_library(dtype: type) -> None:
    rng = np.random.default_rng(0)
    x = np.concatenate(
        [np.linspace(-7, 7, 20001), rng.standard_normal(9999), 10 ** rng.uniform(-30, 0, 999)]
    ).astype(dtype)
    assert _ulps(special.erf(x), [math.erf(v) for v in x.tolist()]) <= 1.0
    tail = np.concatenate([x, np.linspace(0, 9 if dtype == np.float32 else 26, 5001).astype(dtype)])
    assert _ulps(special.erfc(tail), [math.erfc(v) for v in tail.tolist()]) <= 4.0
    ends = np.array([np.inf, -np.inf, -0.0, np.nan], dtype)
    _identical(special.erf(ends), np.array([1, -1, -0.0, np.nan], dtype))
    _identical(special.erfc(ends), np.array([0, 2, 1, np.nan], dtype))
    y = x.copy()
    assert special.erf(y, out=y) is y
    same(y, special.erf(x))


def test_erfinv_undoes_erf() -> None:
    rng = np.random.default_rng(0)
    y = np.concatenate([rng.uniform(-1, 1, 5000), 10 ** rng.uniform(-200, -1, 500)])
    x = special.erfinv(y)
    close([math.erf(v) for v in x], y, rtol=1e-15, atol=2e-16)
    near = 1 - 10 ** rng.uniform(-15.9, -1, 500)
    close([math.erfc(v) for v in special.erfinv(near)], 1 - near, rtol=1e-13)
    ends = special.erfinv(np.array([1.0, -1.0, 2.0, np.nan, -0.0]))
    _identical(ends, np.array([np.inf, -np.inf, np.nan, np.nan, -0.0]))
    assert special.erfinv(np.float32([0.5])).dtype == np.float32


def test_lgamma_and_digamma() -> None:
    rng = np.random.default_rng(0)
    x = np.concatenate([rng.uniform(-20, 20, 2000), 10 ** rng.uniform(-9, 9, 500), [1.0, 2.0]])
    exact = np.array([math.lgamma(v) for v in x])
    close(special.lgamma(x), exact, rtol=1e-14, atol=1e-14)
    same(special.lgamma(np.array([0.0, -3.0, np.inf, -np.inf])), np.inf)
    inner = rng.uniform(0.1, 30, 500)
    close(special.digamma(inner + 1), special.digamma(inner) + 1 / inner, rtol=1e-13, atol=1e-14)
    close(special.digamma(np.array([1.0])), -0.5772156649015329, rtol=1e-15)
    mirrored = special.digamma(-inner) - np.pi / np.tan(np.pi * (1 + inner))
    close(mirrored, special.digamma(1 + inner), rtol=1e-6)
    corners = special.digamma(np.array([0.0, -0.0, -2.0, np.inf]))
    same(corners, [-np.inf, np.inf, np.nan, np.inf])
