"""Running and compiling `CudaKernel`s in tests: on the host with checks, and through nvcc.

module = host_module([kernel])
launch(module, kernel, [a, b, y])
"""

from __future__ import annotations

import os
import re
import shutil
import struct
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import numpy as np

from lazyt.codegen.launches import Argument, Array, CudaKernel, Fixed, Scalar, Scratch, Table
from lazyt.runtime.cuda.host.build import compile_host
from lazyt.runtime.cuda.host.launch import HostModule

PRELUDES = resources.files("lazyt.codegen").joinpath("prelude")


def source(kernels: Sequence[CudaKernel]) -> str:
    """One source of many kernels: every prelude and every text once."""
    preludes = dict.fromkeys(name for k in kernels for name in k.preludes)
    texts = dict.fromkeys(k.text for k in kernels)
    return "\n".join([*(PRELUDES.joinpath(name).read_text() for name in preludes), *texts])


def host_module(kernels: Sequence[CudaKernel]) -> HostModule:
    """The kernels compiled for the host: with its own checks, or with the address sanitizer if this
    process was started with it (`.ci/sanitize`)."""
    return HostModule(compile_host(source(kernels), sanitize="ASAN_OPTIONS" in os.environ))


def launch(
    module: HostModule,
    kernel: CudaKernel,
    arrays: Sequence[np.ndarray],
    numbers: Sequence[float] = (),
    reverse: bool = False,
) -> None:
    """All launches of a kernel; its scratch memory starts as nan."""
    scratch = np.full(kernel.scratch, 0xFF, np.uint8)

    def value(argument: Argument) -> object:
        match argument:
            case Array(index):
                return arrays[index]
            case Scalar(index):
                return float(numbers[index])
            case Scratch(offset):
                double = "double *partial" in kernel.text
                return scratch[offset:].view(np.float64 if double else np.float32)
            case Fixed(number, _):
                return number
            case Table(rows):
                fields = [f for row in rows for f in row if isinstance(f, Fixed)]
                return b"".join(struct.pack("<" + f.kind, f.value) for f in fields)
        raise TypeError(argument)

    for step in kernel.launches:
        arguments = [value(a) for a in step.arguments]
        module.launch(step.function, step.grid, step.block, arguments, step.shared_bytes, reverse)


@dataclass(frozen=True)
class Resources:
    """What nvcc tells of a function."""

    registers: int
    spills: int
    stack: int
    shared: int


def nvcc() -> str | None:
    return shutil.which("nvcc")


def resources_of(kernels: Sequence[CudaKernel], arch: str, folder: Path) -> dict[str, Resources]:
    """Compiles kernels with nvcc, in one call, and reads back what each function takes."""
    text, cubin = folder / "kernels.cu", folder / "kernels.cubin"
    text.write_text(source(kernels))
    options = [f"-arch={arch}", "-cubin", "-split-compile=2", "-Xptxas", "-v", "-o", str(cubin)]
    command = [nvcc() or "nvcc", *options, str(text)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = {}
    for part in done.stderr.split("Compiling entry function '")[1:]:
        stack = re.search(r"(\d+) bytes stack frame, (\d+) bytes spill stores", part)
        used = re.search(r"Used (\d+) registers", part)
        shared = re.search(r"(\d+) bytes smem", part)
        assert stack and used, part
        found[part[: part.index("'")]] = Resources(
            int(used[1]), int(stack[2]), int(stack[1]), int(shared[1]) if shared else 0
        )
    return found
