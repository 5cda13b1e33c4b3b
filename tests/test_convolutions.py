"""Convolutions of the C tier, by products over columns, against NumPy's."""

from __future__ import annotations

import os
import random
import threading
from typing import Any

import numpy as np
import pytest
from c_tier import needs_compiler

import lazyt as torch
import lazyt.nn.functional as F
from lazyt.codegen.segments import Convolve
from lazyt.ir.numerics import conv as reference
from lazyt.runtime import blas, programs
from lazyt.runtime.plan import Plan

pytestmark = [
    needs_compiler,
    pytest.mark.usefixtures("c_tier"),
    pytest.mark.skipif(blas.blas() is None, reason="NumPy has no OpenBLAS here"),
]
NEAR = {"float32": {"rtol": 2e-4, "atol": 2e-4}, "float64": {"rtol": 1e-10, "atol": 1e-10}}


def forms(plan: Plan) -> list[Any]:
    """The convolutions that a plan has as instructions."""
    made = [i for s in plan.code.segments for i in s.instructions]
    return [i.form for i in made if isinstance(i, Convolve)]


def rand(shape: tuple[int, ...], dtype: str, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


def check(
    x: tuple[int, ...],
    w: tuple[int, ...],
    stride: tuple[int, ...],
    padding: tuple[int, ...],
    dilation: tuple[int, ...],
    groups: int = 1,
    dtype: str = "float32",
) -> None:
    """A convolution and both gradients against `ir.numerics.conv`."""
    image, weights = rand(x, dtype, 0), rand(w, dtype, 1)
    geometry = stride, padding, dilation, groups
    convolve = getattr(F, f"conv{len(stride)}d")
    a, b = (torch.from_numpy(t).requires_grad_() for t in (image, weights))
    y = convolve(a, b, None, stride, padding, dilation, groups)
    g = rand(tuple(y.shape), dtype, 2)
    y.backward(torch.from_numpy(g))
    near = NEAR[dtype]
    found = y.detach().numpy(), a.grad.numpy(), b.grad.numpy()
    np.testing.assert_allclose(found[0], reference.conv(image, weights, *geometry), **near)
    want = reference.conv_input_grad(g, weights, x[2:], *geometry)
    np.testing.assert_allclose(found[1], want, **near)
    want = reference.conv_weight_grad(g, image, w[2:], *geometry)
    scale = max(1.0, float(np.abs(want).max()))
    np.testing.assert_allclose(found[2] / scale, want / scale, **near)


def geometries(count: int, seed: int) -> list[tuple]:
    """Random ones: small and large images, kernels that reach over the edge, groups."""
    choose, made = random.Random(seed), []
    while len(made) < count:
        rank = choose.randint(1, 3)
        many = lambda low, high, rank=rank: tuple(choose.randint(low, high) for _ in range(rank))
        groups = choose.choice([1, 1, 2, 3])
        channels, maps = groups * choose.randint(1, 4), groups * choose.randint(1, 5)
        spatial, kernel = many(3, (60, 24, 9)[rank - 1]), many(1, 4)
        stride, padding, dilation = many(1, 3), many(0, 3), many(1, 2)
        extents = zip(spatial, kernel, padding, dilation)
        if all(s + 2 * p > d * (k - 1) for s, k, p, d in extents):
            x, w = (choose.randint(1, 9), channels, *spatial), (maps, channels // groups, *kernel)
            made.append((x, w, stride, padding, dilation, groups, choose.choice(list(NEAR))))
    return made


@pytest.mark.parametrize("threads", ["1", "2", "3"])
def test_random_geometries(
    monkeypatch: pytest.MonkeyPatch, threads: str, plans: list[Plan]
) -> None:
    """Threads share even the smallest."""
    monkeypatch.setenv("LAZYT_THREADS", threads)
    monkeypatch.setattr(programs, "CONVOLUTIONS_SHARED_FROM", 0)
    for geometry in geometries(25, int(threads)):
        check(*geometry)
    made = [form.kind for plan in plans for form in forms(plan)]
    assert made.count("conv") == made.count("conv_input") == made.count("conv_weight") == 25


@pytest.mark.parametrize(
    "geometry",
    [
        ((2, 16, 200, 210), (8, 16, 3, 3), (1, 1), (1, 1), (1, 1)),  # bands of lines
        ((1, 64, 40, 40), (48, 64, 3, 3), (2, 2), (1, 1), (1, 1)),  # parts of the channels
        ((37, 12, 3, 3), (20, 12, 3, 3), (1, 1), (1, 1), (1, 1)),  # a few samples together
        ((3, 24, 30, 30), (16, 24, 1, 1), (1, 1), (0, 0), (1, 1)),  # the image is its columns
        ((33, 24, 4, 4), (16, 24, 1, 1), (1, 1), (0, 0), (1, 1)),
        ((4, 12, 17, 17), (12, 1, 3, 3), (1, 1), (1, 1), (1, 1), 12),  # a group a channel
        ((2, 8, 9, 9), (4, 8, 1, 1), (2, 2), (0, 0), (1, 1)),
        ((2, 3, 4), (5, 3, 4), (1,), (6,), (3,)),  # windows that meet padding only
    ],
)
@pytest.mark.parametrize("threads", ["1", "2"])
def test_how_the_work_is_cut(
    geometry: tuple, threads: str, monkeypatch: pytest.MonkeyPatch, plans: list[Plan]
) -> None:
    monkeypatch.setattr(programs, "CONVOLUTIONS_SHARED_FROM", 0)
    monkeypatch.setenv("LAZYT_THREADS", threads)
    check(*geometry)
    made = sorted(form.kind for plan in plans for form in forms(plan))
    assert made == ["conv", "conv_input", "conv_weight"]


def test_operands_as_they_lie(plans: list[Plan]) -> None:
    """Views of what the plan computes are read in place; inputs in another order are copied."""
    image, weights = rand((2, 6, 7, 3), "float32", 0), rand((4, 3, 3, 3), "float32", 1)
    want = reference.conv(image.transpose(0, 3, 1, 2), weights, (1, 1), (0, 0), (1, 1))
    x, w = torch.from_numpy(image), torch.from_numpy(weights)
    found = F.conv2d((x * 1.0).permute(0, 3, 1, 2), w)
    np.testing.assert_allclose(found.numpy(), want, **NEAR["float32"])
    (form,) = forms(plans[-1])
    assert form.image == (126, 1, 0, 21, 3)
    found = F.conv2d(x.permute(0, 3, 1, 2), w)
    np.testing.assert_allclose(found.numpy(), want, **NEAR["float32"])
    every_second = F.conv2d((x * 1.0).permute(0, 3, 1, 2)[:, :, ::2], w).numpy()
    want = reference.conv(image.transpose(0, 3, 1, 2)[:, :, ::2], weights, (1, 1), (0, 0), (1, 1))
    np.testing.assert_allclose(every_second, want, **NEAR["float32"])


def test_maps_that_are_one_number_a_plane(plans: list[Plan]) -> None:
    """The cotangent of a mean over a plane is expanded: it is read without a copy in memory."""
    x = torch.from_numpy(rand((3, 4, 8, 8), "float32", 0)).requires_grad_()
    w = torch.from_numpy(rand((5, 4, 3, 3), "float32", 1)).requires_grad_()
    F.conv2d(x, w).mean((2, 3)).sin().sum().backward()
    (w.grad, x.grad)[0].tolist()
    assert sorted({form.kind for form in forms(plans[-1])}) == ["conv", "conv_input", "conv_weight"]
    y = reference.conv(x.detach().numpy(), w.detach().numpy(), (1, 1), (0, 0), (1, 1))
    g = np.broadcast_to(np.cos(y.mean((2, 3), keepdims=True)) / 36, y.shape)
    want = reference.conv_weight_grad(g, x.detach().numpy(), (3, 3), (1, 1), (0, 0), (1, 1))
    np.testing.assert_allclose(w.grad.numpy(), want, rtol=1e-3, atol=1e-4)


def test_weights_in_another_order_integers_and_nothing_are_numpy_calls(plans: list[Plan]) -> None:
    x = torch.ones(2, 3, 5, 5)
    turned = (torch.arange(54.0).view(3, 2, 3, 3) * 1).transpose(0, 1)
    assert F.conv2d(x, turned).sum().item() == 2 * 9 * turned.sum().item()
    assert not forms(plans[-1])
    whole = F.conv2d(torch.ones(1, 2, 4, 4, dtype=torch.int64) + 1, torch.ones(1, 2, 2, 2).long())
    assert whole.tolist() == [[[[16] * 3] * 3]]
    assert F.conv2d(torch.ones(0, 2, 4, 4) + 1, torch.ones(1, 2, 2, 2)).shape == (0, 1, 3, 3)


def test_what_is_not_finite_stays_where_it_is() -> None:
    x = torch.ones(1, 1, 6, 6)
    x[0, 0, 0, 0] = float("nan")
    y = F.conv2d(x, torch.ones(1, 1, 3, 3), padding=1)
    assert y.isnan().sum().item() == 4


def test_threads_of_blas_work_again_afterwards(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where several threads of Python convolve at once."""
    found = blas.blas()
    if found is None or found.threads is None:
        pytest.skip("this BLAS does not say how many threads it has")
    import ctypes

    get = ctypes.CFUNCTYPE(ctypes.c_int)(found.threads[0])
    before = get()
    monkeypatch.setenv("LAZYT_THREADS", "2")
    monkeypatch.setattr(programs, "CONVOLUTIONS_SHARED_FROM", 0)
    geometry = ((4, 8, 30, 30), (8, 8, 3, 3), (1, 1), (1, 1), (1, 1))
    failed: list[BaseException] = []

    def several() -> None:
        try:
            for _ in range(5):
                check(*geometry)
        except BaseException as error:  # shown by the thread that waits
            failed.append(error)

    threads = [threading.Thread(target=several) for _ in range(3)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not failed
    assert get() == before


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_after_a_fork() -> None:
    geometry = ((4, 8, 30, 30), (8, 8, 3, 3), (1, 1), (1, 1), (1, 1))
    check(*geometry)
    child = os.fork()
    if child == 0:
        try:
            check(*geometry)
            os._exit(0)
        except BaseException:
            os._exit(1)
    assert os.waitpid(child, 0)[1] == 0
