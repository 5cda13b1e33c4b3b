"""A kernel as steps: functions that are launched one after another.

    assembled("sort", [Step("runs", …), Step("merge", …), Step("first", …)], ("cuda.h", "sort.cuh"))

A function that is launched several times is written once. Extents and strides are numbers of the
launches, so that the text is the same for all.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from ..launches import Argument, Array, CudaKernel, Fixed, Launch, Table

INT_LIMIT = 2**31 - 2**20  # an index may pass the end by a block


@dataclass(frozen=True)
class Step:
    """A function and one launch of it.

    suffix: what its name ends with. parameters: what it is declared with, and the argument of each.
    body: its statements. grid: blocks. block: threads along x and y.
    """

    suffix: str
    parameters: tuple[tuple[str, Argument], ...]
    body: tuple[str, ...]
    grid: int
    block: tuple[int, int]

    @property
    def text(self) -> str:
        threads = self.block[0] * self.block[1]
        head = f'extern "C" __global__ void __launch_bounds__({threads}) NAME_{self.suffix}('
        declared = [name for name, _ in self.parameters]
        lines = [head, *(f"    {p}," for p in declared[:-1]), f"    {declared[-1]})", "{"]
        return "\n".join([*lines, *(f"    {line}" for line in self.body), "}"]) + "\n"

    def launch(self, name: str) -> Launch:
        """This launch of the function; name: of the kernel."""
        arguments = tuple(argument for _, argument in self.parameters)
        return Launch(f"{name}_{self.suffix}", (self.grid, 1, 1), (*self.block, 1), arguments)


@dataclass(frozen=True)
class Assembled:
    """kernel: of steps. arrays: what its arrays are called in the text."""

    kernel: CudaKernel
    arrays: tuple[str, ...]


def assembled(
    label: str, steps: Sequence[Step], preludes: tuple[str, ...], scratch: int = 0
) -> Assembled:
    """The kernel of steps. label: what its name begins with."""
    given = [p for step in steps for p in step.parameters]
    called = {
        a.index: declared.split()[-1].lstrip("*") for declared, a in given if isinstance(a, Array)
    }
    text = "\n".join(dict.fromkeys(step.text for step in steps))
    name = f"{label}_{hashlib.sha256(text.encode()).hexdigest()[:16]}"
    launches = tuple(step.launch(name) for step in steps)
    kernel = CudaKernel(name, text.replace("NAME", name), launches, scratch, preludes)
    return Assembled(kernel, tuple(called[i] for i in range(len(called))))


def numbers(*values: int) -> Table:
    """A struct of integers."""
    return Table((tuple(Fixed(value, "q") for value in values),))


def index_type(*elements: int) -> str:
    """The type of indices that reach so many elements."""
    return "int" if max(elements) < INT_LIMIT else "long long"


def blocks(threads: int, each: int) -> int:
    """How many blocks so many threads are, `each` in a block."""
    return -(-threads // each)
