"""From a kernel to a function that launches it.

    run = launcher(kernel, device(0))     # compiles, binds what is fixed
    run([x, y], [0.5])                    # arrays, then numbers; on the current stream

A parameter list is one packed buffer. What is known with the plan is packed once; for the rest,
each launch gets a small function, written as source and compiled, since a general one would cost
more than the launch. For `Array(0), Fixed(10000, "i"), Scalar(0)` it is

    lambda a, n, s, r: pack(a[0].address, fixed0, n[0])
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from typing import Any

from lazyt.codegen.launches import (
    Argument,
    Array,
    CudaKernel,
    Fixed,
    Launch,
    Refused,
    Scalar,
    Scratch,
    Table,
)

from .array import DeviceArray
from .compiler import function
from .driver import Device, driver
from .memory import allocate
from .streams import queue

Launcher = Callable[[Sequence[DeviceArray], Sequence[float]], None]

WIDE = {"i": "q", "I": "q", "q": "q", "f": "d", "d": "d"}  # kinds of numbers in a table


def launcher(kernel: CudaKernel, device: Device, reason: str = "") -> Launcher:
    """A function that launches a kernel, called with its arrays and its run-time numbers.

    reason: where in the user's program operands are that it may refuse.
    Errors: CompilerError here; RuntimeError with the driver's words when it is called.
    """
    steps = [
        (
            function(kernel, launch.function, device, launch.shared_bytes),
            launch.grid,
            launch.block,
            packer(launch),
            launch.shared_bytes,
        )
        for launch in kernel.launches
        if 0 not in launch.grid  # no blocks: the driver would refuse it
    ]
    index, scratch, refusal = device.index, kernel.scratch, device.refusal_of(reason)
    error = driver().error

    def run(arrays: Sequence[DeviceArray], numbers: Sequence[float]) -> None:
        device.activate()
        # Freed when this returns: whoever gets it next comes later in the stream.
        memory = allocate(scratch, device) if scratch else None
        place, stream = memory.address if memory else 0, queue(index)
        try:
            for launch, grid, block, pack, shared in steps:
                packed = pack(arrays, numbers, place, refusal)
                launch(grid, block, packed, shared, stream)
        except error as reason:
            raise RuntimeError(f"CUDA error: {reason} (kernel {kernel.name})") from reason

    return run


def packer(launch: Launch) -> Callable[..., bytes]:
    """A function of arrays, numbers, address of the scratch memory and address of the refusal flag
    that gives a launch's packed arguments, each at its natural alignment."""
    flat: list[tuple[str, Argument]] = []
    for argument in launch.arguments:
        if isinstance(argument, Table):
            flat += [(_kind(a, wide=True), a) for row in argument.rows for a in row]
        else:
            flat.append((_kind(argument, wide=False), argument))
    names: dict[str, Any] = {}
    layout, values, offset = "=", [], 0
    constant = b""

    def close() -> None:
        nonlocal constant, layout
        if constant:
            name = f"fixed{len(names)}"
            names[name] = constant
            layout += f"{len(constant)}s"
            values.append(name)
            constant = b""

    for kind, argument in flat:
        size = struct.calcsize(kind)
        padding = -offset % size
        offset += padding + size
        constant += bytes(padding)
        if isinstance(argument, Fixed):
            constant += struct.pack("=" + kind, argument.value)
            continue
        close()
        layout += kind
        values.append(_expression(argument))
    close()
    names["pack"] = struct.Struct(layout).pack
    return eval(f"lambda a, n, s, r: pack({', '.join(values)})", names)


def _kind(argument: Argument, wide: bool) -> str:
    """How `struct` calls an argument's type; wide: as a field of 8 bytes."""
    if isinstance(argument, Fixed):
        return WIDE[argument.kind] if wide else argument.kind
    return argument.kind if isinstance(argument, Scalar) else "Q"


def _expression(argument: Argument) -> str:
    match argument:
        case Array(index):
            return f"a[{index}].address"
        case Scalar(index, _):
            return f"n[{index}]"
        case Scratch(offset):
            return f"s + {offset}"
        case Refused():
            return "r"
    raise TypeError(f"{argument!r} cannot be an argument of a launch")
