"""What a renderer of CUDA C hands to the runtime: text, and how its functions are launched.

    CudaKernel(
        "k3f…",
        'extern "C" __global__ void k3f…(const float *x0, float *y0, int n) {…}',
        (Launch("k3f…", (40, 1, 1), (256, 1, 1), (Array(0), Array(1), Fixed(10000, "i"))),),
    )

The text is canonical: it holds no extents, no user names and no prelude, and is the unit of the
cache of compiled kernels. Everything that differs from use to use stands in the launches.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Array:
    """The address of the first element of the kernel's array `index`; where several kernels are
    launched together, those of each in turn."""

    index: int


@dataclass(frozen=True)
class Scalar:
    """The run-time number `index`, as a double ("d") or an int64_t ("q"); counted as arrays are."""

    index: int
    kind: str = "d"


@dataclass(frozen=True)
class Scratch:
    """The address of the kernel's scratch memory, `offset` bytes in (a multiple of 16)."""

    offset: int = 0


@dataclass(frozen=True)
class Refused:
    """The address of an int that a kernel sets to 1 where an operand is out of its range."""


@dataclass(frozen=True)
class Fixed:
    """An extent, a stride or another number known with the plan; kind as `struct` has it ("i" int,
    "q" int64_t, "I" unsigned, "f" float, "d" double)."""

    value: int | float
    kind: str


@dataclass(frozen=True)
class Table:
    """A struct passed by value: rows of fields of 8 bytes each (addresses, doubles, int64_t). As
    many rows as the struct has: beyond the nests of a launch the last one again."""

    rows: tuple[tuple[Argument, ...], ...]


Argument = Array | Scalar | Scratch | Refused | Fixed | Table


@dataclass(frozen=True)
class Launch:
    """One launch of a `__global__` function; arguments in the order of its parameters."""

    function: str
    grid: tuple[int, int, int]
    block: tuple[int, int, int]
    arguments: tuple[Argument, ...]
    shared_bytes: int = 0


@dataclass(frozen=True)
class CudaKernel:
    """text: one or more `extern "C" __global__` functions, whose names begin with `name`.

    launches: in order, on one stream. scratch: bytes of memory that the launches share, not
    initialised. preludes: the files of codegen/prelude that stand before the text, in order.
    """

    name: str
    text: str
    launches: tuple[Launch, ...]
    scratch: int = 0
    preludes: tuple[str, ...] = ()
