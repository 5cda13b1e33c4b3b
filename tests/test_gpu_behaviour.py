"""What a program sees of a device: moves, copies, hooks, views, writes, text, errors, memory; and
that nothing travels to the host unasked.
"""

from __future__ import annotations

import copy
import io
import pickle
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from devices import error_of
from surface import lines_of
from test_gpu_networks import LeNet, small_net, trained

import lazyt as torch
from lazyt import nn
from lazyt.nn import functional as F
from lazyt.runtime import drain, plan
from lazyt.runtime.cuda import array as arrays

pytestmark = pytest.mark.gpu


@pytest.fixture
def sources():
    """The sources of the plans that a test compiles."""
    found: list[str] = []
    listener = lambda made: found.append(made.code.source)
    plan.ON_COMPILE.append(listener)
    drain.clear_plans()
    yield found
    plan.ON_COMPILE.remove(listener)


def by_host(sources: list[str]) -> set[str]:
    """What NumPy computes of values on a device, in these sources."""
    return {name for text in sources for name in re.findall(r"by_host\(lambda [^:]*: (\w+)", text)}


# --- nothing travels unasked ----------------------------------------------------------------------

# What has neither a loop nor a template. These sets may only shrink.
HOST_TRIPS = {
    "an MLP": set(),
    "the digits LeNet": set(),
}
NETWORKS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "an MLP": (
        lambda: nn.Sequential(nn.Linear(7, 9), nn.ReLU(), nn.Linear(9, 10)),
        (5, 7),
    ),
    "the digits LeNet": (LeNet, (3, 1, 32, 32)),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_steps_stay_on_the_device(name: str, sources: list[str]) -> None:
    make, shape = NETWORKS[name]
    net = make().cuda()
    optimizer = torch.optim.Adam(net.parameters())
    x, t = torch.randn(shape).cuda(), torch.randint(0, 10, shape[:1]).cuda()
    trained(net, optimizer, [(x, t)] * 3, nn.CrossEntropyLoss())
    assert sources
    assert by_host(sources) <= HOST_TRIPS[name]


def test_nothing_is_compiled_or_kept_after_the_first_steps() -> None:
    net = small_net().cuda()
    optimizer = torch.optim.Adam(net.parameters(), lr=0.01)
    rng = np.random.default_rng(0)

    def steps(count: int) -> tuple[int, int, int]:
        for _ in range(count):
            x = torch.tensor(rng.standard_normal((4, 6)), dtype=torch.float32).cuda()
            t = torch.tensor(rng.integers(0, 3, 4)).cuda()
            optimizer.zero_grad()
            F.cross_entropy(net(x), t).backward()
            optimizer.step()
        del x, t
        optimizer.zero_grad()
        told = torch.stats()
        return torch.cuda.memory_allocated(), told["misses"], told["compiler_calls"]

    first = steps(20)
    torch.cuda.reset_peak_memory_stats()
    steps(20)
    peak = torch.cuda.max_memory_allocated()
    assert steps(200) == first
    assert torch.cuda.max_memory_allocated() == peak


# --- moves ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "bfloat16", "int64", "bool"])
def test_moves_keep_values_and_strides(dtype: str) -> None:
    kind = getattr(torch, dtype)
    x = (torch.arange(24).reshape(2, 3, 4) % 5).to(kind)
    views = [
        x,
        x.t() if x.dim() == 2 else x.permute(2, 0, 1),
        x[:, 1:],
        x[1, :, ::2],
        x[:0],
        x[0, 0, 0],
    ]
    there = [v.cuda() for v in views]
    for v, moved in zip(views, there):
        assert (moved.dtype, moved.shape) == (kind, v.shape)
        assert moved.tolist() == v.tolist() == moved.cpu().tolist()
    assert there[1].stride() == views[1].stride()
    assert torch.equal(x.cuda().permute(2, 0, 1).cpu(), x.permute(2, 0, 1))


def test_moves_between_two_devices() -> None:
    if torch.cuda.device_count() < 2:
        pytest.skip("needs two devices")
    x = torch.arange(6.0).reshape(2, 3).requires_grad_()
    first = x.to("cuda:0")
    second = (first * 2).t().to("cuda:1")
    ((second + 1) ** 2).sum().cpu().backward()
    assert second.device == torch.device("cuda:1")
    assert x.grad.tolist() == [[4.0, 12.0, 20.0], [28.0, 36.0, 44.0]]
    split = nn.Sequential(nn.Linear(3, 4).to("cuda:0"), nn.Linear(4, 2).to("cuda:1"))
    hidden = split[0](first.detach())
    split[1](hidden.to("cuda:1")).sum().backward()
    assert [p.grad.device.index for p in split.parameters()] == [0, 0, 1, 1]
    a, b = torch.ones(3, device="cuda:0"), torch.ones(3, device="cuda:1")
    told = "Expected all tensors to be on the same device, but found at least two devices"
    assert error_of(lambda: a + b) == f"RuntimeError: {told}, cuda:0 and cuda:1!"
    a.copy_(b * 5)
    assert a.tolist() == [5.0, 5.0, 5.0]


def test_two_devices_are_refused() -> None:
    x, y = torch.ones(3, 3, device="cuda"), torch.ones(3, 3)
    told = "RuntimeError: Expected all tensors to be on the same device, but found at least two "
    told += "devices, cuda:0 and cpu!"
    for call in (lambda: x + y, lambda: x @ y, lambda: torch.cat([x, y]), lambda: x.add_(y)):
        assert error_of(call) == told
    assert error_of(lambda: nn.Linear(3, 2)(x)) == told
    assert error_of(lambda: F.cross_entropy(x, torch.tensor([0, 1, 2]))) == told
    assert (x + torch.tensor(2.0)).tolist() == [[3.0] * 3] * 3
    assert error_of(x.numpy) == (
        "TypeError: can't convert cuda:0 device type tensor to numpy. Use Tensor.cpu() to copy the "
        "tensor to host memory first."
    )
    assert x.tolist() == [[1.0] * 3] * 3


# --- copies, pickles, state -----------------------------------------------------------------------


def test_copies_and_pickles() -> None:
    net = small_net().cuda()
    x = torch.randn(2, 6).cuda()
    expected = net(x).tolist()
    for twin in (copy.deepcopy(net), pickle.loads(pickle.dumps(net))):
        assert all(p.is_cuda for p in twin.parameters())
        assert twin(x).tolist() == expected
    base = torch.arange(6.0, device="cuda")
    part = pickle.loads(pickle.dumps(base[2:4]))
    assert part.device == base.device and part.tolist() == [2.0, 3.0]
    whole, part = copy.deepcopy((base, base[2:4]))
    part += 1
    assert (whole.tolist(), base[2].item()) == ([0, 1, 3, 4, 4, 5], 2.0)


def test_state_is_loaded_where_the_parameters_are() -> None:
    net, twin = small_net(), small_net().cuda()
    with torch.no_grad():
        for p in net.parameters():
            p.mul_(3)
    before = list(twin.parameters())
    twin.load_state_dict(net.state_dict())
    assert all(a is b and a.is_cuda for a, b in zip(before, twin.parameters(), strict=True))
    assert [p.tolist() for p in twin.parameters()] == [p.tolist() for p in net.parameters()]
    net.load_state_dict({k: v * 2 for k, v in twin.state_dict().items()})
    assert net[0].weight.tolist() == (twin[0].weight * 2).tolist()
    shared = twin.state_dict()["0.bias"]
    with torch.no_grad():
        twin[0].bias.fill_(7)
    assert shared.tolist() == [7.0] * 8


# --- autograd -------------------------------------------------------------------------------------


def test_hooks_see_gradients_in_order() -> None:
    seen: list[tuple[str, Any]] = []
    x = torch.tensor([1.0, -2.0], device="cuda", requires_grad=True)
    y = x * 3
    y.register_hook(lambda g: seen.append(("y", g.tolist())) or g * 2)
    x.register_hook(lambda g: seen.append(("x", g.tolist())))
    x.register_post_accumulate_grad_hook(lambda t: seen.append(("grad", t.grad.tolist())))
    y.retain_grad()
    (y * y).sum().backward()
    assert seen == [("y", [6.0, -12.0]), ("x", [36.0, -72.0]), ("grad", [36.0, -72.0])]
    assert y.grad.tolist() == [12.0, -24.0] and y.grad.is_cuda
    net = small_net().cuda()
    shapes: list[Any] = []
    net[0].register_forward_hook(lambda m, args, out: shapes.append((out.device.type, out.shape)))
    net[0].register_full_backward_hook(lambda m, gi, go: shapes.append(go[0].device.type))
    net(torch.ones(2, 6, device="cuda", requires_grad=True)).sum().backward()
    assert shapes == [("cuda", torch.Size([2, 8])), "cuda"]


class Cube(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(x)
        return x * x * x

    @staticmethod
    def backward(ctx: Any, g: torch.Tensor) -> torch.Tensor:
        (x,) = ctx.saved_tensors
        assert g.is_cuda and x.is_cuda
        return g * 3 * x * x


def test_functions_of_the_user() -> None:
    x = torch.tensor([1.0, 2.0], device="cuda", requires_grad=True)
    (g,) = torch.autograd.grad(Cube.apply(x).sum(), x, create_graph=True)
    (h,) = torch.autograd.grad(g.sum(), x)
    assert (g.tolist(), h.tolist()) == ([3.0, 12.0], [6.0, 12.0])


def test_higher_derivatives() -> None:
    found = []
    for device in ("cpu", "cuda"):
        x = torch.tensor([0.3, -0.7], device=device, requires_grad=True)
        y = (x.tanh() * x.exp()).sum()
        orders = []
        for _ in range(3):
            (g,) = torch.autograd.grad(y, x, create_graph=True)
            orders.append(g.tolist())
            y = g.sum()
        found.append(orders)
    np.testing.assert_allclose(found[1], found[0], rtol=1e-5)


# --- views and writes -----------------------------------------------------------------------------

WRITES = """
x[0] = 5.0
x[:, 1] = x[:, 0]
x[1:] = x[:-1] + 1
x.t()[0] += 1
x.view(-1)[::3].mul_(2)
x[[0, 2]] = x[[2, 0]]
x[x > 4] = -1.0
x[torch.tensor([2, 0]), torch.tensor([1, 1])] += 10
x.diagonal().zero_()
x.flip(0)[0].add_(100)
x[0], x[1] = x[1], x[0]
x.unsqueeze(0).expand(2, 3, 3)[0, 0, 0]; x.transpose(0, 1).copy_(x.clone())
x.narrow(1, 1, 2).fill_(3)
x.index_add_(0, torch.tensor([0, 0]), torch.ones(2, 3))
x.scatter_(1, torch.tensor([[0], [1], [2]]), 7.0)
x.masked_fill_(x < 3, 0); y = x[1].clone(); x += 1; x.add_(y)
x.data[1] = 4; x.detach().mul_(2)
x.copy_(torch.arange(3.0)); x[..., -1] -= x[..., 0]
x.clamp_(1, 6).sqrt_().sub_(x.mean())
torch.add(x, 1, out=x); torch.mul(x[0], 2, out=x[1])
"""


@pytest.mark.parametrize("order", [0, 1])
def test_views_and_writes(order: int) -> None:
    """One after the other on one tensor, with views that were taken before any of them."""
    lines = lines_of(WRITES)
    if order:
        lines.reverse()
    kept = []
    for device in ("cpu", "cuda"):
        with torch.device(device):
            x = torch.arange(9.0).reshape(3, 3)
            names = {"torch": torch, "x": x}
            views = [x, x[1], x.t(), x.view(-1)[::2], x[:, 1:]]
            copies = []
            for line in lines:
                exec(line, names)
                copies.append(x.clone())
            kept.append([v.tolist() for v in views + copies])
    for line, here, there in zip(["view"] * 5 + lines, *kept):
        np.testing.assert_allclose(there, here, rtol=1e-6, err_msg=line)


def test_writes_are_tracked() -> None:
    x = torch.ones(4, device="cuda", requires_grad=True)
    y = x * 2
    y[1:3] *= x[:2]
    y.view(2, 2)[0].zero_()
    y.sum().backward()
    assert x.grad.tolist() == [0.0, 2.0, 2.0, 2.0]
    z = (x * 1).exp()
    z.add_(1)
    assert "modified by an inplace operation" in error_of(z.sum().backward)


class Lender:
    """An object of another library over the memory of a tensor."""

    def __init__(self, x: torch.Tensor):
        self.__cuda_array_interface__ = x.__cuda_array_interface__
        self.holds = x


def test_memory_shown_to_other_libraries_is_shared() -> None:
    """What a tensor shows by the CUDA array interface sees its writes, in the same place."""
    x = torch.arange(8.0, device="cuda")
    y = x * 2
    told = y.__cuda_array_interface__
    assert told["shape"] == (8,) and told["typestr"] == "<f4"
    seen = arrays.from_interface(Lender(y))
    for _ in range(3):
        y.mul_(1.5).add_(x)
        y[2:] = y[:-2].relu() + 1
        y.view(2, 4).t()[1].zero_()
        y[y > 20] = -1
        assert arrays.download(seen).tolist() == y.tolist()
    assert y.__cuda_array_interface__["data"] == told["data"] and y.data_ptr() == told["data"][0]
    weight = nn.Parameter(torch.ones(3, device="cuda"))
    seen = arrays.from_interface(Lender(weight.detach()))
    optimizer = torch.optim.SGD([weight], lr=0.25)
    for _ in range(3):
        optimizer.zero_grad()
        (weight * weight).sum().backward()
        optimizer.step()
    assert arrays.download(seen).tolist() == weight.tolist() == [0.125] * 3


@pytest.mark.parametrize("n", [3, 200])  # below and above what is copied at a read
def test_writes_of_other_libraries_are_seen(n: int) -> None:
    """What was called before a write of somebody else has the values from before it."""
    x = torch.ones(n, n, device="cuda")
    seen = arrays.from_interface(Lender(x))
    before, turned = x + 1, x.t() * 2
    arrays.copy_into(seen, arrays.upload(np.full((n, n), 5, np.float32), arrays.type_of(seen)))
    assert before.max().item() == 2 and turned.max().item() == 2
    assert x.sum().item() == (x.t() + 0).sum().item() == 5 * n * n


def test_memory_of_other_libraries_is_taken_in() -> None:
    """The CUDA array interface the other way round: shared, or copied where that is asked for."""
    y = torch.arange(6.0, device="cuda").reshape(2, 3)
    shared = torch.as_tensor(Lender(y))
    assert shared.device == y.device and shared.data_ptr() == y.data_ptr()
    assert shared.tolist() == y.tolist()
    copied = torch.tensor(Lender(y), dtype=torch.float64)
    assert copied.dtype is torch.float64 and copied.data_ptr() != y.data_ptr()
    assert (copied * 2).tolist() == (y * 2).tolist()
    assert torch.as_tensor(Lender(y), device="cpu").is_cpu
    shared.add_(1)
    assert y.tolist() == [[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]
    y[0, 0] = 9
    assert shared[0, 0].item() == 9
    columns = torch.as_tensor(Lender(y[:, 1:]))
    assert columns.stride() == (3, 1) and columns.tolist() == [[2.0, 3.0], [5.0, 6.0]]
    columns.zero_()
    assert y.tolist() == shared.tolist() == [[9.0, 0.0, 0.0], [4.0, 0.0, 0.0]]
    repeated = torch.as_tensor(Lender(torch.ones(3, device="cuda").expand(2, 3)))
    assert repeated.stride() == (0, 1) and repeated.sum().item() == 6
    assert torch.as_tensor(Lender(torch.ones(0, 3, device="cuda"))).shape == (0, 3)

    class Backwards:
        whole = torch.arange(3.0, device="cuda")
        __cuda_array_interface__ = dict(whole.__cuda_array_interface__)

    told = Backwards.__cuda_array_interface__
    told["data"], told["strides"] = (told["data"][0] + 8, False), (-4,)
    assert torch.as_tensor(Backwards()).tolist() == [2.0, 1.0, 0.0]


# --- text and numbers -----------------------------------------------------------------------------


def test_text() -> None:
    x = torch.tensor([[1.5, -2.0], [0.25, 1e4]], device="cuda")
    here = str(x.cpu())
    assert str(x) == here[:-1] + ", device='cuda:0')"
    told = repr(x.double().requires_grad_())
    assert told.split()[-3:] == ["device='cuda:0',", "dtype=torch.float64,", "requires_grad=True)"]
    assert f"{x[0, 0]:.3f} {x[0, 1].item()} {int(x[1, 1])}" == "1.500 -2.0 10000"
    assert str(torch.zeros(0, device="cuda")) == "tensor([], device='cuda:0')"
    assert "device='cuda:0'" in str(nn.Linear(1, 1).cuda().weight)
    assert [float(t) for t in x[0]] == [1.5, -2.0] and bool(x[0, 0] > 1)


def test_saved_numbers_survive_the_tensor() -> None:
    buffer = io.BytesIO()
    x = torch.randn(5, device="cuda")
    pickle.dump(x, buffer)
    numbers = x.tolist()
    del x
    buffer.seek(0)
    assert pickle.load(buffer).tolist() == numbers
