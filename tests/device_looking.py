"""What is seen of programs on a device; run by test_inspect_devices.py in a process of its own.

    LAZYT_CUDA_HOST=ctypes python tests/device_looking.py training

A check is a function here; it asserts.
"""

from __future__ import annotations

import re
import sys
import tempfile
from pathlib import Path
from typing import Any

import lazyt as torch
from lazyt import nn
from lazyt.inspect.report import Recorder
from lazyt.nn import functional as F
from lazyt.runtime import plan as plans
from lazyt.runtime.drain import drain


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 4, 3)
        self.fc = nn.Linear(4 * 3 * 3, 10)

    def forward(self, x: Any) -> Any:
        x = F.max_pool2d(F.relu(self.conv(x)), 2)
        return self.fc(torch.flatten(x, 1))


def trainer() -> Any:
    """A step of a small network on the device, when it has been compiled."""
    net = Net().to("cuda")
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
    images = torch.linspace(-1, 1, 8 * 64).view(8, 1, 8, 8).to("cuda")
    labels = torch.arange(8).to("cuda")

    def step() -> float:
        optimizer.zero_grad()
        loss = F.cross_entropy(net(images), labels)
        loss.backward()
        optimizer.step()
        return loss.item()

    for _ in range(3):
        step()
    return step


def calls_of(source: str) -> list[str]:
    """What a plan calls: kernels by name, moves and what the host computes."""
    return re.findall(r"\b([kg]\d+|moved|by_host)\(", source)


def training() -> None:
    """The explanation names every launch of the plan that ran, in order, with its text."""
    seen: list[plans.Plan] = []
    step = trainer()
    found = torch.explain(step)
    (view,) = found.programs
    assert view.how == "ran once, as a compiled plan"
    torch.runtime.drain.clear_plans()
    plans.ON_COMPILE.append(seen.append)
    step(), step()
    plans.ON_COMPILE.remove(seen.append)
    ran = seen[-1].code
    shown = [k.call or ("by_host" if k.hosted else "") for k in view.pieces]
    assert [c for c in shown if c] == calls_of(view.source) == calls_of(ran.source)
    texts = {f"g{i}": kernel.text.rstrip() for i, (kernel, *_) in enumerate(ran.templates)}
    for k in view.pieces:
        assert k.device == "cuda:0" and not k.hosted
        assert k.call[0] == "k" or k.source == texts[k.call]
        assert "__global__" in k.source and "__global__" in k.cuda and k.nests >= 1
    assert view.pieces[0].operations[:3] == ("conv", "add", "relu")
    assert "on the host" not in view.summary()
    assert {"conv_weight", "conv_bias", "fc_weight", "images"} <= set(
        view.user_names.inputs.values()
    )
    reasons = {r.reason for r in view.groups.refusals}
    assert "the nest runs at once with others that do the same" in reasons
    led = [
        r
        for r in view.groups.refusals
        if (r.producer.split()[1:], r.consumer.split()[1:]) == (["conv"], ["add"])
    ]
    assert led == []
    assert max(map(len, str(found).split("== kernels")[1].split("== plan")[0].splitlines())) <= 130


def moving() -> None:
    """Transfers, an operation on the host, and a sum on the CPU, each where it runs."""
    x = torch.linspace(-1, 1, 12).view(3, 4)
    w = torch.eye(4, device="cuda")[:, :3].clone()
    drain()

    def step() -> Any:
        y = torch.sigmoid(x.to("cuda") @ w)
        return torch.linalg.inv(y).cpu() + 1

    for _ in range(2):
        step().tolist()
    found = torch.explain(step)
    (view,) = found.programs
    assert [(k.operations, k.device, bool(k.hosted)) for k in view.pieces] == [
        (("transfer",), "cuda:0", False),
        (("matmul", "sigmoid"), "cuda:0", False),
        (("inverse",), "cuda:0", True),
        (("transfer",), "cpu", False),
        (("add",), "cpu", False),
    ]
    assert view.pieces[0].absent["cuda"] == "transfer moves memory, and needs no kernel"
    operands = "const float *__restrict__ x,\n    const float *__restrict__ w,\n    float *y,"
    assert operands in view.pieces[1].cuda
    assert "float32[3,4] -> float32[3,4]@cuda:0" in repr(view.pieces[0])
    for k in view.pieces:
        scope: dict[str, Any] = {}
        exec(compile(k.texts.files()["py"], "kernel.py", "exec"), scope)


def dumping() -> None:
    """Files have the names that the code calls kernels by."""
    with tempfile.TemporaryDirectory() as folder:
        torch.dump(folder)
        trainer()
        torch.dump(None)
        plan = max(Path(folder).glob("*/plan.py"))
        calls = {c for c in calls_of(plan.read_text()) if c[0] in "kg" and c[1:].isdigit()}
        assert calls and all((plan.parent / f"{c}.cu").exists() for c in calls)
        assert re.search(r" g0\(.*# conv_add_relu", plan.read_text())


def hosting() -> None:
    """What NumPy computes on the host is a kernel that says so, and a refusal."""
    w = torch.eye(3, device="cuda") * 2
    drain()
    for _ in range(2):
        torch.linalg.inv(w).tolist()
    view = torch.explain(lambda: torch.linalg.inv(w).tolist()).programs[0]
    (k,) = [k for k in view.pieces if k.hosted]
    assert k.operations == ("inverse",)
    assert k.hosted == "inverse has no kernel on devices: NumPy computes it on the host"
    assert k.absent["cuda"] == k.hosted and k.hosted in str(k)
    assert "1 of them computed on the host" in view.summary()
    assert k.hosted in {r.reason for r in view.groups.refusals}


def reporting() -> None:
    """Where time went, by launches, and what was not fused."""
    recorder = Recorder()
    with recorder.recording():
        trainer()
    text = recorder.report(refusals=100)
    assert re.search(r"\d %  g\d+\(", text)
    assert re.search(r"not fused: %\d+ matmul -> %\d+ add: a reduction needs the whole", text)


if __name__ == "__main__":
    globals()[sys.argv[1]]()
