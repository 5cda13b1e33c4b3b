"""Where tensors are: what every constructor, function and module makes of a device.

Nothing is computed here: `pretended_gpus` lets values be traced for a GPU that is not there.
"""

from __future__ import annotations

import pickle
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from devices import GPU, devices_of, error_of, on_gpu, pretended_gpus
from surface import lines_of

import lazyt as torch
from lazyt import nn
from lazyt.nn import functional as F


@pytest.fixture(autouse=True)
def _gpus():
    with pretended_gpus(2):
        yield


# --- constructors ---------------------------------------------------------------------------------

CONSTRUCTORS = """
torch.zeros(2, 3, device=D)
torch.ones((2,), device=D)
torch.empty(2, device=D)
torch.full((2, 3), 7, device=D)
torch.empty_strided((2, 3), (3, 1), device=D)
torch.tensor([1, 2], device=D)
torch.tensor(np.ones(3), device=D)
torch.as_tensor([1.0], device=D)
torch.as_tensor(np.ones(3), device=D)
torch.asarray([1.0], device=D)
torch.asarray(np.ones(3), device=D, copy=True)
torch.arange(5, device=D)
torch.arange(1.0, 2.0, 0.25, device=D)
torch.linspace(0, 1, 5, device=D)
torch.logspace(0, 1, 5, device=D)
torch.eye(3, device=D)
torch.tril_indices(3, 3, device=D)
torch.triu_indices(3, 3, device=D)
torch.rand(2, device=D)
torch.randn(2, 3, device=D)
torch.randint(5, (2,), device=D)
torch.randint(1, 5, (2,), device=D)
torch.randperm(4, device=D)
nn.Linear(2, 3, device=D)
nn.Bilinear(2, 3, 4, device=D)
nn.Conv1d(1, 2, 3, device=D)
nn.Conv2d(1, 2, 3, device=D)
nn.ConvTranspose2d(1, 2, 3, device=D)
nn.BatchNorm2d(3, device=D)
nn.InstanceNorm1d(3, affine=True, track_running_stats=True, device=D)
nn.LayerNorm(3, device=D)
nn.GroupNorm(1, 3, device=D)
nn.RMSNorm(3, device=D)
nn.PReLU(device=D)
nn.Embedding(3, 2, padding_idx=0, device=D)
"""
# These do not follow the default device, as in PyTorch.
NOT_BY_DEFAULT = """
torch.normal(0.0, 1.0, (3,), device=D)
torch.zeros_like(x, device=D)
torch.ones_like(x, device=D)
torch.empty_like(x, device=D)
torch.full_like(x, 2, device=D)
torch.rand_like(x, device=D)
torch.randn_like(x.t(), device=D)
torch.randint_like(x, 5, device=D)
x.new_zeros(2, device=D)
x.new_ones((2, 3), device=D)
x.new_empty(2, device=D)
x.new_full((2,), 3, device=D)
x.new_tensor([1, 2], device=D)
"""


def evaluated(line: str, **names: Any) -> Any:
    return eval(line, {"torch": torch, "nn": nn, "np": np, "F": F, **names})


@pytest.mark.parametrize("line", lines_of(CONSTRUCTORS + NOT_BY_DEFAULT))
def test_constructors_honour_the_device(line: str) -> None:
    x = torch.ones(2, 3)
    assert devices_of(evaluated(line, x=x, D="cuda")) == GPU
    assert devices_of(evaluated(line, x=x, D=torch.device("cuda", 1))) == {"cuda:1"}
    assert devices_of(evaluated(line, x=x, D=1)) == {"cuda:1"}
    assert devices_of(evaluated(line, x=x, D=None)) == {"cpu"}
    assert error_of(lambda: evaluated(line, x=x, D="cuda:2")) == (
        "RuntimeError: CUDA error: invalid device ordinal"
    )


@pytest.mark.parametrize("line", lines_of(CONSTRUCTORS))
def test_constructors_honour_the_default_device(line: str) -> None:
    with torch.device("cuda:1"):
        assert devices_of(evaluated(line, D=None)) == {"cuda:1"}
        assert devices_of(evaluated(line, D="cpu")) == {"cpu"}


@pytest.mark.parametrize("line", lines_of(NOT_BY_DEFAULT)[1:])
def test_what_is_made_like_a_tensor_is_made_beside_it(line: str) -> None:
    x = torch.ones(2, 3, device="cuda:1")
    assert devices_of(evaluated(line, x=x, D=None)) == {"cuda:1"}
    with torch.device("cuda:0"):
        assert devices_of(evaluated(line, x=x, D=None)) == {"cuda:1"}
    assert devices_of(evaluated(line, x=x, D="cpu")) == {"cpu"}


def test_memory_of_others_and_old_constructors_stay_on_the_cpu() -> None:
    def make() -> list:
        made = [torch.from_numpy(np.ones(2)), torch.Tensor(2, 3), torch.FloatTensor([1.0])]
        return [*made, torch.LongTensor(3), torch.normal(0.0, 1.0, (2,)), torch.Tensor()]

    assert devices_of(on_gpu(make)) == {"cpu"}
    assert error_of(lambda: torch.Tensor(2, device="cuda")) == (
        "RuntimeError: legacy constructor expects device type: cpu but device type: cuda was passed"
    )


def test_data_of_a_tensor_stays_where_it_is() -> None:
    x = torch.ones(2, device="cuda")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert devices_of([torch.tensor(x), torch.as_tensor(x), torch.asarray(x)]) == GPU
        assert devices_of(torch.tensor(x, device="cpu", dtype=torch.float64)) == {"cpu"}
        assert torch.tensor(x, requires_grad=True).is_leaf
        with torch.device("cuda:1"):
            assert devices_of([torch.tensor(x), torch.as_tensor(x)]) == {"cuda:1"}
    assert torch.as_tensor(x) is x
    assert torch.as_tensor(x, device="cuda") is x


def test_a_result_goes_where_out_is() -> None:
    out = torch.empty(3, device="cuda")
    for made in (torch.zeros(3, out=out), torch.arange(3, out=out), torch.rand(3, out=out)):
        assert made is out
        assert devices_of(made) == GPU
    assert error_of(lambda: torch.zeros(3, out=out, device="cpu")) == (
        "RuntimeError: device type cpu does not match device type of out parameter (cuda)"
    )
    x = torch.ones(3)
    assert error_of(lambda: torch.add(x, x, out=out)) == SEVERAL
    assert error_of(lambda: torch.sum(x, 0, out=torch.zeros((), device="cuda"))) == SEVERAL


# --- the default device ---------------------------------------------------------------------------


def test_default_device() -> None:
    assert torch.get_default_device() == torch.device("cpu")
    with torch.device("cuda") as outer:
        assert outer == torch.device("cuda")
        assert torch.get_default_device() == torch.device("cuda:0")
        with torch.device("cpu"):
            assert devices_of(torch.zeros(1)) == {"cpu"}
        with pytest.raises(KeyError), torch.device("cuda:1"):
            raise KeyError
        assert devices_of(torch.zeros(1)) == GPU
    assert devices_of(torch.zeros(1)) == {"cpu"}
    torch.set_default_device("cuda:1")
    try:
        assert torch.get_default_device() == torch.device("cuda:1")
        assert devices_of(torch.zeros(1)) == {"cuda:1"}
    finally:
        torch.set_default_device(None)
    assert devices_of(torch.zeros(1)) == {"cpu"}


def test_a_default_device_that_is_not_there_is_an_error_when_a_tensor_is_made() -> None:
    with torch.device("cuda:7"):
        assert torch.get_default_device() == torch.device("cuda:7")
        assert (
            error_of(lambda: torch.zeros(1)) == "RuntimeError: CUDA error: invalid device ordinal"
        )
        assert devices_of(torch.zeros(1, device="cpu")) == {"cpu"}


def test_accelerator() -> None:
    assert torch.accelerator.is_available()
    assert torch.accelerator.device_count() == 2
    assert torch.zeros(1, device=torch.accelerator.current_accelerator()).is_cuda


# --- moving ---------------------------------------------------------------------------------------


def test_to_gives_the_tensor_itself_where_nothing_changes() -> None:
    x = torch.ones(2, 3, device="cuda")
    y = torch.ones(2, 3)
    same = [x.to("cuda"), x.to(0), x.to("cuda", torch.float32), x.cuda(), x.to(device="cuda:0")]
    same += [x.to(torch.device("cuda"), non_blocking=True), x.to(x), x.type_as(x), x.float()]
    assert all(t is x for t in same)
    assert all(t is y for t in (y.to("cpu"), y.cpu(), y.to(torch.float32), y.type_as(y)))
    assert x.to("cuda", copy=True) is not x


def test_moves() -> None:
    x = torch.ones(2, 3)
    ints = torch.ones(2, dtype=torch.int64, device="cuda:1")
    moved = [x.to("cuda"), x.cuda(), x.cuda(0), x.to(0), x.to("cuda", non_blocking=True)]
    moved += [x.to(device="cuda"), x.to("cuda", torch.float64), x.cuda(non_blocking=True)]
    assert devices_of(moved) == GPU
    assert devices_of([x.to(ints), x.type_as(ints), x.to("cuda:1", torch.float16)]) == {"cuda:1"}
    assert x.to(ints).dtype is torch.int64
    assert x.to("cuda", torch.float16).dtype is torch.float16
    assert devices_of([ints.cpu(), ints.to("cpu"), ints.to(x)]) == {"cpu"}
    assert devices_of(ints.to(torch.float32)) == {"cuda:1"}
    assert x.t().cuda().stride() == x.t().stride()


def test_the_smaller_dtype_travels() -> None:
    x = torch.ones(4).to("cuda", torch.float16)
    assert x._node.op.name == "transfer"
    assert x.cpu().double()._node.op.name == "cast"
    wide = torch.ones(4, dtype=torch.float16).to("cuda", torch.float64)._node
    assert (wide.op.name, wide.src[0].op.name) == ("cast", "transfer")


@pytest.mark.parametrize("dtype", [None, torch.float64, torch.float16])
def test_history_flows_through_a_move(dtype: Any) -> None:
    x = torch.ones(3, requires_grad=True)
    y = x.to("cuda", dtype)
    assert y.grad_fn.name() == "ToCopyBackward0"
    assert y.grad_fn.next_functions[0][0].name() == "torch::autograd::AccumulateGrad"
    (y * y).sum().backward()
    assert devices_of(x.grad) == {"cpu"}
    assert x.grad.dtype is torch.float32
    z = torch.ones(3, device="cuda", requires_grad=True)
    (g,) = torch.autograd.grad((z * 2).cpu().sum(), z)
    assert devices_of(g) == GPU


def test_copies_between_devices() -> None:
    x, y = torch.zeros(2, 3, device="cuda"), torch.ones(2, 3)
    assert devices_of(x.copy_(y)) == GPU
    assert devices_of(y.copy_(x, non_blocking=True)) == {"cpu"}
    x[0] = torch.ones(3)
    x[:, 1:] = torch.ones(2, 2, dtype=torch.float64)
    x[0, 0] = torch.tensor(3)
    y[1] = x[0]
    y.t()[0] = x[0, 1:]
    x.fill_(torch.tensor(2.0))
    y.fill_(x[0, 0])
    assert (devices_of(x), devices_of(y)) == (GPU, {"cpu"})
    w = torch.ones(3, requires_grad=True)
    z = torch.zeros(3, device="cuda")
    z.copy_(w)
    assert z.grad_fn.name().endswith("CopyBackwards")
    z.sum().backward()
    assert devices_of(w.grad) == {"cpu"}


def test_data_and_grad() -> None:
    p = nn.Parameter(torch.ones(2))
    p.data = p.data.cuda()
    assert devices_of(p) == GPU
    assert error_of(lambda: setattr(p, "grad", torch.ones(2))) == (
        "RuntimeError: attempting to assign a gradient with device type 'cpu' to a tensor with "
        "device type 'cuda'. Please ensure that the gradient and the tensor are on the same device"
    )
    assert error_of(lambda: (p * 2).backward(torch.ones(2))) == (
        "RuntimeError: invalid gradient at index 0 - expected device cuda:0 but got cpu"
    )


def test_old_type_names() -> None:
    x = torch.ones(2)
    assert x.cuda().type() == "torch.cuda.FloatTensor"
    assert x.cuda().long().type() == "torch.cuda.LongTensor"
    moved = x.type("torch.cuda.DoubleTensor")
    assert (devices_of(moved), moved.dtype) == (GPU, torch.float64)
    assert devices_of(x.to("cuda:1").type("torch.cuda.HalfTensor")) == {"cuda:1"}
    assert devices_of(moved.type(torch.FloatTensor)) == {"cpu"}
    assert isinstance(x, torch.FloatTensor)
    assert not isinstance(x.cuda(), torch.FloatTensor)
    assert (
        error_of(lambda: x.type("torch.cuda.Tensor"))
        == "ValueError: invalid type: 'torch.cuda.Tensor'"
    )


# --- modules and optimizers -----------------------------------------------------------------------


def small_net() -> nn.Module:
    return nn.Sequential(
        nn.Conv1d(1, 2, 3), nn.BatchNorm1d(2), nn.ReLU(), nn.Flatten(), nn.Linear(4, 3)
    )


@pytest.mark.parametrize(
    "move",
    [
        lambda net: net.cuda(),
        lambda net: net.cuda(0),
        lambda net: net.to("cuda"),
        lambda net: net.to(torch.device("cuda"), torch.float64),
        lambda net: net.to(torch.zeros(1, device="cuda"), non_blocking=True),
        lambda net: net.to_empty(device="cuda"),
        lambda net: net.type("torch.cuda.FloatTensor"),
    ],
)
def test_modules_move(move: Callable) -> None:
    net = small_net()
    before = list(net.parameters())
    net(torch.randn(2, 1, 4)).sum().backward()
    assert move(net) is net
    assert all(a is b for a, b in zip(before, net.parameters(), strict=True))
    assert devices_of(net) == GPU
    assert devices_of([p.grad for p in net.parameters()]) == GPU
    assert devices_of(list(net.state_dict().values())) == GPU
    assert devices_of(net.cpu()) == {"cpu"}


@pytest.mark.parametrize(
    "make",
    [
        lambda ps: torch.optim.SGD(ps, lr=0.1, momentum=0.9, nesterov=True, weight_decay=0.1),
        lambda ps: torch.optim.Adam(ps, amsgrad=True),
        lambda ps: torch.optim.AdamW(ps, fused=True),
        lambda ps: torch.optim.Adam(ps, capturable=True),
        lambda ps: torch.optim.RMSprop(ps, momentum=0.9, centered=True),
        lambda ps: torch.optim.Adagrad(ps, fused=True),
        lambda ps: torch.optim.Adadelta(ps, capturable=True),
        torch.optim.Adamax,
        lambda ps: torch.optim.NAdam(ps, capturable=True),
        torch.optim.NAdam,
        lambda ps: torch.optim.RAdam(ps, decoupled_weight_decay=True, weight_decay=0.1),
        lambda ps: torch.optim.Rprop(ps, capturable=True),
        lambda ps: torch.optim.ASGD(ps, t0=1),
    ],
)
def test_training_stays_on_the_device(make: Callable) -> None:
    net = small_net().to("cuda")
    optimizer = make(net.parameters())
    x, t = torch.randn(2, 1, 4).cuda(), torch.tensor([0, 2]).cuda()
    for _ in range(2):
        optimizer.zero_grad()
        loss = F.cross_entropy(net(x), t)
        loss.backward()
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimizer.step()
    assert devices_of([loss, net, *(p.grad for p in net.parameters())]) == GPU
    state = optimizer.state_dict()["state"]
    for own in state.values():
        moves = any(optimizer.param_groups[0].get(k) for k in ("fused", "capturable"))
        moves = moves or isinstance(optimizer, torch.optim.ASGD)
        for number in ("step", "mu_product"):
            assert devices_of(own.pop(number, [])) <= (GPU if moves else {"cpu"})
        assert not own or devices_of(own) == GPU


def test_loaded_state_goes_to_the_parameters() -> None:
    net = nn.Linear(2, 2)
    first = torch.optim.Adam(net.parameters())
    net(torch.ones(1, 2)).sum().backward()
    first.step()
    saved = first.state_dict()
    moved = nn.Linear(2, 2).cuda()
    second = torch.optim.Adam(moved.parameters())
    second.load_state_dict(saved)
    for own in second.state.values():
        assert devices_of(own["step"]) == {"cpu"}
        assert devices_of([own["exp_avg"], own["exp_avg_sq"]]) == GPU
    moved.load_state_dict(net.state_dict())
    assert devices_of(moved) == GPU


# --- random numbers -------------------------------------------------------------------------------


def test_every_device_has_a_stream_of_its_own() -> None:
    torch.manual_seed(3)
    first = torch.rand(4)
    torch.manual_seed(3)
    torch.rand(4, device="cuda")
    torch.nn.functional.dropout(torch.ones(5, device="cuda"))
    assert torch.equal(torch.rand(4), first)


def test_generators_have_a_device() -> None:
    generator = torch.Generator("cuda:1")
    assert generator.device == torch.device("cuda:1")
    assert generator.clone_state().device == torch.device("cuda:1")
    assert devices_of(torch.rand(2, device="cuda:1", generator=generator)) == {"cuda:1"}
    assert error_of(lambda: torch.rand(2, generator=generator)) == (
        "RuntimeError: Expected a 'cpu' device type for generator but found 'cuda'"
    )
    assert error_of(lambda: torch.ones(2, device="cuda").normal_(generator=torch.Generator())) == (
        "RuntimeError: Expected a 'cuda' device type for generator but found 'cpu'"
    )
    assert pickle.loads(pickle.dumps(generator)).device == torch.device("cuda:1")


def test_seeds_and_forks_are_of_all_devices() -> None:
    def draw() -> Any:
        torch.randint(1000, (4,), device="cuda")
        return torch.random.generator_of("cuda:0").get_state().tolist()

    torch.manual_seed(0)
    first = draw()
    with torch.random.fork_rng():
        inside = draw()
    assert draw() == inside
    torch.manual_seed(0)
    assert draw() == first
    with torch.random.fork_rng(devices=[0]):
        draw()
    assert draw() == inside


# --- several devices ------------------------------------------------------------------------------

SEVERAL = (
    "RuntimeError: Expected all tensors to be on the same device, but found at least two devices, "
    "cuda:0 and cpu!"
)
MIXED = """
x + y
y + x
x.add_(y)
y.add_(x)
y[0, 0].add_(x[0, 0])
torch.cat([x, y])
torch.stack([y, x])
x @ y.t()
torch.where(x > 0, y, x)
torch.where(y > 0, x, x)
torch.addmm(x[0, :2], x, y.t())
F.linear(x, y)
F.mse_loss(x, y)
F.layer_norm(x, (3,), y[0])
x.gather(0, i)
x.index_select(0, i[0])
F.embedding(i, x)
F.cross_entropy(x, i[:, 0])
x.scatter(0, i, 1.0)
x.scatter_add(0, i, y)
x[i[:, 0]] = y
x.index_put_((i[0, :2],), y[0])
x.masked_fill(y > 0, 0.0)
torch.max(x, y)
torch.equal(x, y)
x.masked_fill_(y > 0, 0.0)
x.masked_scatter(y > 0, x)
torch.lerp(x, y, 0.5)
torch.normal(x, y)
torch.searchsorted(x[0], y)
torch.einsum('ij,ij->i', x, y)
torch.bincount(i[0].cuda(), y[0])
F.batch_norm(x, y[0], y[0])
"""


@pytest.mark.parametrize("line", lines_of(MIXED))
def test_tensors_of_several_devices(line: str) -> None:
    names: dict[str, Any] = {"torch": torch, "F": F}
    names |= {"x": torch.ones(2, 3, device="cuda"), "y": torch.ones(2, 3)}
    names["i"] = torch.zeros(2, 3, dtype=torch.int64)
    assert error_of(lambda: exec(line, names)) == SEVERAL


def test_several_gpus() -> None:
    x, y = torch.ones(2, device="cuda:0"), torch.ones(2, device="cuda:1")
    assert error_of(lambda: x + y) == (
        "RuntimeError: Expected all tensors to be on the same device, but found at least two "
        "devices, cuda:0 and cuda:1!"
    )
    assert error_of(lambda: x + y.sum()) == error_of(lambda: x + y)


def test_numbers_on_the_cpu_follow() -> None:
    x, s = torch.ones(2, 3, device="cuda"), torch.tensor(2.0)
    followed = [x + s, s * x, s / x[0, 0], x.add_(s), torch.where(x > 0, x, s), x.clamp(s, None)]
    followed += [torch.lerp(x, x, s), x.masked_fill(x > 0, s), x**s, s < x, torch.maximum(x, s)]
    x[0] = s
    x[torch.tensor([0])] = s
    x[x > 0] = s
    assert devices_of([x, *followed]) == GPU
    w = torch.tensor(2.0, requires_grad=True)
    (x * w).sum().backward()
    assert devices_of(w.grad) == {"cpu"}


def test_indices_on_the_cpu_follow() -> None:
    x = torch.ones(4, 3, device="cuda")
    i, mask = torch.tensor([0, 2]), torch.tensor([True, False, True, False])
    assert devices_of([x[i], x[i, 1:], x[mask], x[:, [0, 1]], x[[True, False, True, False]]]) == GPU
    assert x[mask].shape == (2, 3)
    x[i] = 1.0
    x[mask] = 2.0
    x[mask] = torch.ones(2, 3, device="cuda")
    x[[0, 1]] += 1
    assert devices_of(x) == GPU
    w = torch.ones(4, device="cuda", requires_grad=True)
    w[i].sum().backward()
    assert devices_of(w.grad) == GPU
    y = torch.ones(4, 3)
    elsewhere = (
        "{}: indices should be either on cpu or on the same device as the indexed tensor (cpu)"
    )
    assert error_of(lambda: y[i.cuda()]) == elsewhere.format("RuntimeError")


# --- pinned memory --------------------------------------------------------------------------------


def test_pinned_memory() -> None:
    x = torch.ones(3)
    pinned = x.pin_memory()
    assert pinned.is_pinned() and pinned[1:].is_pinned() and pinned.pin_memory() is pinned
    assert not x.is_pinned() and not (pinned + 1).is_pinned() and not pinned.cuda().is_pinned()
    x.zero_()
    assert pinned.tolist() == [1.0, 1.0, 1.0]
    assert error_of(lambda: x.cuda().pin_memory()) == (
        "RuntimeError: cannot pin 'torch.cuda.FloatTensor' only dense CPU tensors can be pinned"
    )
    loader = torch.utils.data.DataLoader(torch.arange(4.0), batch_size=2, pin_memory=True)
    assert [batch.to("cuda", non_blocking=True).shape for batch in loader] == [(2,), (2,)]
    assert all(batch.is_pinned() for batch in loader)
