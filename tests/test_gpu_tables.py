"""Lines that other tests compare with PyTorch, on a device and on the CPU: results, gradients, and
gradients of those.

Many lines are computed together: nothing is read before
all of them are traced, so that a table takes a few calls of a compiler.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import derivatives
import numpy as np
import pytest
from gpu_tools import difference
from test_devices_everywhere import TABLES

import lazyt as torch

pytestmark = pytest.mark.gpu

TOGETHER = 40
# An index that is not known yet counts from the end where it is negative.
NOT_REFUSED = {"y.index_select(1,torch.tensor([-1]))"}
CPU, GPU = "cpu", "cuda"


def tensors(result: Any) -> list:
    """The tensors of a result, in order; other things as they are."""
    if isinstance(result, (tuple, list)):
        return [t for r in result for t in tensors(r)]
    return [result]


def derived(results: list, leaves: list, twice: bool) -> list:
    """First, and with `twice` second, gradients of weighted results."""
    tracked = [r for r in results if isinstance(r, torch.Tensor) and r.requires_grad]
    sums = [(r * derivatives.weights(torch, r)).sum() for r in tracked]
    first = derivatives.gradients(torch, sums, leaves, twice)
    if not twice:
        return first
    again = [(g * g).sum() for g in first if g is not None and g.requires_grad]
    return first + derivatives.gradients(torch, again, leaves)


def outcome(line: str, prepare: Callable[[], dict[str, Any]], twice: bool, device: str) -> list:
    """What a line gives: its tensors and their gradients, not read yet, or its error."""
    with torch.device(device):
        names = prepare()
    try:
        with torch.device(device):
            result = evaluated(line, names)
            leaves = [v for v in names.values() if isinstance(v, torch.Tensor) and v.is_leaf]
            leaves = [v for v in leaves if v.requires_grad]
            results = tensors(result)
            return [*results, *derived(results, leaves, twice)]
    except Exception as error:
        text = str(error).split("\n")[0].replace("torch.cuda.", "torch.")
        return [(type(error).__name__, text)]


def evaluated(line: str, names: dict[str, Any]) -> Any:
    """An expression's value; after a statement, that of the name `x`."""
    try:
        code = compile(line, "<line>", "eval")
    except SyntaxError:
        exec(line, names)
        return names["x"]
    return eval(code, names)


def differences(lines: list[tuple]) -> list[str]:
    """Lines that give something else on the device than on the CPU, with what they give.

    What raises comes last, alone: on the device an index is looked at when its result is computed,
    and the error belongs to whoever reads first.
    """
    here = [[read(r) for r in outcome(*line, CPU)] for line in lines]
    late = [any(kind.endswith("Error") for kind, _ in results) for results in here]
    there: dict[int, list] = {}
    for i, line in enumerate(lines):
        if not late[i]:
            there[i] = outcome(*line, GPU)
    wrong = []
    for i in sorted(range(len(lines)), key=lambda i: late[i]):
        found = there[i] if i in there else outcome(*lines[i], GPU)[:1]
        told = None
        if len(here[i]) != len(found):
            told = f"{found} instead of {here[i]}"
        for expected, one in zip(here[i], found):
            told = told or different(expected, one)
        if told:
            wrong.append(f"{lines[i][0]}: {told}")
    return wrong


def different(expected: tuple[str, Any], found: Any) -> str | None:
    """How what is on the device differs from what was read on the CPU."""
    if isinstance(found, torch.Tensor) and found.device.type != "cuda":
        return f"a result on {found.device}"
    (dtype, a), (kind, b) = expected, read(found)
    if dtype.endswith("Error") and re.search("out of (DATA )?(bounds|range)", a):
        # The CPU has looked at the index when the operation was called, in PyTorch's own words.
        late = kind == "IndexError" and "is out of bounds" in b
        return None if late or (dtype, a) == (kind, b) else f"{kind} {b}"
    if dtype != kind or not isinstance(a, np.ndarray):
        return None if (dtype, str(a)) == (kind, str(b)) else f"{kind} {b} instead of {dtype} {a}"
    return difference(b, a, dtype, 10)


def read(value: Any) -> tuple[str, Any]:
    """A tensor's dtype and values, or the error that reading them raises."""
    if isinstance(value, tuple):
        return value
    if not isinstance(value, torch.Tensor):
        return type(value).__name__, value
    try:
        host = value.detach().cpu()
        array = (host.float() if value.dtype is torch.bfloat16 else host).numpy()
        return str(value.dtype).removeprefix("torch."), array
    except Exception as error:
        return type(error).__name__, str(error).split("\n")[0]


def drawn_once(prepare: Callable[[], dict[str, Any]]) -> Callable[[], dict[str, Any]]:
    """Operands from random numbers: the CPU's, moved, as each device has a stream of its own."""

    def names() -> dict[str, Any]:
        device = torch.get_default_device()
        torch.manual_seed(0)
        with torch.device("cpu"):
            made = prepare()
        return {
            k: v.detach().to(device).requires_grad_(v.requires_grad)
            if isinstance(v, torch.Tensor)
            else v
            for k, v in made.items()
        }

    return names


def chunks() -> list[Any]:
    found = []
    for table, lines in TABLES.items():
        if table in ("modules", "forward", "initial values"):
            continue
        if table in ("nn.functional", "attention"):
            lines = [(line, drawn_once(prepare), twice) for line, prepare, twice in lines]
        if table == "attention":  # what a line itself draws is the device's own
            lines = [line for line in lines if not re.search(r"torch\.rand|dropout_p", line[0])]
        lines = [line for line in lines if line[0] not in NOT_REFUSED]
        for start in range(0, len(lines), TOGETHER):
            found.append(pytest.param(lines[start : start + TOGETHER], id=f"{table} {start}"))
    return found


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("lines", chunks())
def test_lines(lines: list[tuple]) -> None:
    assert not (wrong := differences(lines)), "\n".join(wrong)
