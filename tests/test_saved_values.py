"""What a backward saved: a write in between makes it raise exactly where PyTorch's does.

Every row of the random programs' tables is called once for each way its operands can require a
gradient; then an operand, the result or a parameter is written to, then comes the backward:

    x9 = F.conv2d(x0, x1)
    with torch.no_grad():
        x1.mul_(1)
    x9.sum().backward()     # raises: the weight was saved, for the gradient of the input
"""

from __future__ import annotations

import types
from collections.abc import Iterator

import numpy as np
import pytest
from grammar import functional, functions, modules, products, reductions
from grammar.examples import Example
from harness import implementation
from outcomes import Statements, check, runner

WRITE = "with torch.no_grad():\n    {}.mul_(1)"
WRITE_PARAMETERS = "with torch.no_grad():\n    for p in m.parameters():\n        p.mul_(1)"
BACKWARD = "x9.sum().backward()"
# PyTorch saves here what it has no need of, and lazyt does not.
LESS_SAVED = ("p=1)", "dims=([1, 0], [0, 1]))")


def tensor(shape: tuple[int, ...], number: int, requires_grad: bool) -> str:
    values = f"(np.arange({int(np.prod(shape))}) * {5 + 2 * number} % 11 - 5).reshape({shape}) / 4"
    return f"torch.tensor({values}, dtype=torch.float64, requires_grad={requires_grad})"


def calls() -> Iterator[Example]:
    """The rows that give a floating-point result, as calls of tensors."""
    yield from products.PRODUCTS + products.INDEXED
    yield from functional.LAYERS + functional.ACTIVATIONS + functional.LOSSES
    for fn in functions.ELEMENTWISE + functions.PAIRS:
        if fn.where in ("float", "number", "any"):
            text = f"torch.{fn.name}({fn.domain}, {fn.arguments})".replace("{c}", "0.5")
            text = text if "function" in fn.forms else f"{fn.domain}.{fn.call}"
            yield Example(text, [(2, 4)] * (2 if "{y}" in text else 1), (2, 4))
    for row in reductions.REDUCTIONS + reductions.SCANS:
        if row.dtype in (None, "float64"):
            yield Example(row.text.replace("{d}", "1").replace("{keep}", ""), [(2, 4)], (2,))


def programs_of(row: Example) -> Iterator[Statements]:
    names = [f"x{i}" for i in range(len(row.shapes))]
    call = f"x9 = {row.text.format(**dict(zip('xyz', names)))}"
    every = (True,) * len(names)
    alone = [tuple(i == k for i in range(len(names))) for k in range(len(names))]
    for needs in dict.fromkeys([every, *alone]):
        made = [
            f"{name} = {tensor(shape, i, need)}"
            for i, (name, shape, need) in enumerate(zip(names, row.shapes, needs))
        ]
        for written in [*names, "x9"]:
            yield [*made, call, WRITE.format(written), BACKWARD]


def programs_of_module(row: modules.Layer) -> Iterator[Statements]:
    kind = row.text.partition("(")[0]
    defined = [modules.CLASSES[kind]] if kind in modules.CLASSES else []
    written = [WRITE.format("x9"), WRITE_PARAMETERS]
    if "Embedding" not in kind:
        written.append(WRITE.format("x1"))
    for need in (False, True):
        made = [f"m = {row.text}.to(torch.float64)", f"x1 = {tensor(row.takes, 0, need)}"]
        for write in written:
            yield [*defined, *made, f"x9 = {row.call.format(m='m', x='x1')}", write, BACKWARD]


ROWS = [row for row in calls() if not row.text.endswith(LESS_SAVED)]


@pytest.mark.parametrize("batch", range(8))
def test_functions(batch: int, oracle: types.ModuleType) -> None:
    expected, actual = runner("torch"), runner(implementation())
    for row in ROWS[batch::8]:
        for program in programs_of(row):
            found = check(program, expected, actual)
            assert found is None, "\n".join([*program, f"# {found}"])


@pytest.mark.parametrize("row", modules.MODULES, ids=lambda row: row.text)
def test_modules(row: modules.Layer, oracle: types.ModuleType) -> None:
    expected, actual = runner("torch"), runner(implementation())
    for program in programs_of_module(row):
        found = check(program, expected, actual)
        assert found is None, "\n".join([*program, f"# {found}"])


@pytest.mark.parametrize("row", modules.MODULES, ids=lambda row: row.text)
def test_rows_of_modules_say_the_shape(row: modules.Layer, oracle: types.ModuleType) -> None:
    kind = row.text.partition("(")[0]
    defined = [modules.CLASSES[kind]] if kind in modules.CLASSES else []
    made = [f"m = {row.text}.to(torch.float64)", f"x1 = {tensor(row.takes, 0, False)}"]
    call = f"out.append({row.call.format(m='m', x='x1')}.shape)"
    outcome = runner("torch")([*defined, *made, call])
    assert outcome.state["out"] == [list(row.gives)], outcome.errors
