"""Things to save, made by either library, and how to compare what comes back.

    same(lazyt.load(io.BytesIO(file_of(torch, views(torch)))), views(lazyt))

None keeps a number that was drawn: files recorded by PyTorch (tests/data/saved) hold the same.
"""

from __future__ import annotations

import collections
import io
from pathlib import Path
from typing import Any

from lazyt.ir.dtypes import REAL

RECORDED = Path(__file__).parent / "data" / "saved"


def file_of(torch: Any, thing: Any, **options: Any) -> bytes:
    buffer = io.BytesIO()
    torch.save(thing, buffer, **options)
    return buffer.getvalue()


def bits(t: Any) -> tuple:
    """Everything about a tensor that a file holds, its elements as bytes."""
    names = {"bfloat16": "float32"}
    dtype = str(t.dtype).removeprefix("torch.")
    flat = t.detach().cpu()
    array = (flat.float() if dtype in names else flat).numpy()
    return dtype, tuple(t.shape), t.stride(), t.storage_offset(), t.requires_grad, array.tobytes()


def same(a: Any, b: Any) -> None:
    """Asserts that two objects, each with its own library's tensors, say the same."""
    shown = {"DType": "dtype", "Device": "device"}
    kind, other = (shown.get(name, name) for name in (type(a).__name__, type(b).__name__))
    assert kind == other
    if kind in ("Tensor", "Parameter"):
        assert bits(a) == bits(b)
        assert vars(a) == vars(b)
    elif isinstance(a, dict):
        assert list(a) == list(b)
        for key in a:
            same(a[key], b[key])
        assert getattr(a, "_metadata", None) == getattr(b, "_metadata", None)
    elif isinstance(a, (list, tuple)):
        assert len(a) == len(b)
        for x, y in zip(a, b):
            same(x, y)
    elif kind in ("dtype", "device"):
        assert repr(a) == repr(b)
    else:
        assert a == b


def dtypes(torch: Any) -> Any:
    return {d.name: torch.tensor([0, 1, 2], dtype=getattr(torch, d.name)) for d in REAL} | {
        "nan": torch.tensor([float("nan"), float("-inf"), -0.0, 1e-45])
    }


def views(torch: Any) -> Any:
    x = torch.arange(24.0).view(2, 3, 4)
    return [
        x,
        x[1],
        x.permute(2, 0, 1),
        x[:, 1, ::2],
        x.flatten()[3:3],
        x[0, 0, 0],
        x[:1].expand(5, 3, 4),
    ]


def shapes(torch: Any) -> Any:
    return [torch.zeros(shape) for shape in ((), (0,), (2, 0, 3), (1,), (1, 1), (3, 1, 2))]


def parameters(torch: Any) -> Any:
    p = torch.nn.Parameter(torch.ones(2, 2), requires_grad=False)
    p.note = "kept"
    x = torch.ones(3)
    x.tag = {"a": 1}
    return [torch.nn.Parameter(torch.arange(2.0)), p, x, torch.ones(2, requires_grad=True) * 2, p]


def containers(torch: Any) -> Any:
    return {
        "numbers": [0, -1, 255, 256, 65535, 65536, -(2**31), 2**31, 2**63, 10**70, 0.1, True, None],
        "texts": ["", "é", "x" * 300, b"\x00\xff", bytearray(b"ab"), 1 + 2j],
        "containers": [(), (1,), (1, 2), (1, 2, 3), (1, 2, 3, 4), {1}, collections.Counter("aab")],
        "ordered": collections.OrderedDict(b=torch.ones(1), a=2),
        "size": torch.Size([2, 3]),
        "dtypes": [getattr(torch, d.name) for d in REAL],
        "many": list(range(1005)),
        "table": {k: str(k) for k in range(1005)},
        7: [[[[]]]],
    }


def network(torch: Any) -> Any:
    nn = torch.nn
    layers = nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(16, 2)
    net = nn.Sequential(*layers, nn.LayerNorm(2), nn.Dropout(0.25))
    with torch.no_grad():
        for k, p in enumerate(net.parameters()):
            p.copy_((torch.arange(p.numel()).view(p.shape) - 2) * (k + 1) / 64)
    return net


def checkpoint(torch: Any) -> Any:
    net = network(torch)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.125, momentum=0.5)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 2, gamma=0.5)
    for p in net.parameters():
        p.grad = torch.ones_like(p)
    optimizer.step()
    scheduler.step()
    torch.manual_seed(5)
    return {
        "net": net.state_dict(),
        "optimizer": optimizer.state_dict(),
        "scheduler": scheduler.state_dict(),
        "epoch": 4,
        "random": torch.get_rng_state(),
    }


THINGS = [dtypes, views, shapes, parameters, containers, checkpoint]


def record() -> None:
    """Writes what PyTorch saves to RECORDED."""
    import torch

    RECORDED.mkdir(exist_ok=True)
    for make in THINGS:
        thing = make(torch)
        (RECORDED / f"{make.__name__}.pt").write_bytes(file_of(torch, thing))
        old = file_of(torch, thing, _use_new_zipfile_serialization=False)
        (RECORDED / f"{make.__name__}_old.pt").write_bytes(old)
    # A network's old file holds the text of PyTorch's modules: not recorded.
    (RECORDED / "network.pt").write_bytes(file_of(torch, network(torch)))
