"""CUDA C text of kernels of the loop IR, and how they are launched.

    render(kernel)             one nest: a function whose parameters are arrays, numbers, extents
                               and strides
    render_many([k0, k1, …])   nests of one text over other arrays: one launch, blockIdx.z chooses
                               the row of a table that is passed by value

The text holds no extents, so it is compiled once for all of them. What is compiled in is which axes
there are, whether the innermost stride of an array is 1, 0 or something else, and whether indices
need 64 bits. How a nest is mapped to blocks and threads stands in cuda_nest.py; the number of
blocks depends on the extents only, never on the device, so that results are the same everywhere.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Sequence

from .cuda_nest import LONG_ROW, ROWS_A_SLICE, SHORT_ROW, TILE, CudaNest
from .cuda_writer import LINE, THREADS, Formal, Function, PartCount, Parts, Shared
from .launches import Argument, Array, CudaKernel, Fixed, Launch, Scalar, Scratch, Table
from .loops import Kernel, Param

PRELUDES = ("cuda.h", "semantics.h", "random.h")
STORAGE = ("storage.cuh",)  # which stands before kernels that name elements of 16 bits
STORED_HALVES = re.compile(r"\blz_(half|bfloat16|round_b?f16)\b")
MOST_BLOCKS = 4096  # of a launch: some waves on the largest device, loops do the rest
MOST_PARTS = 1024  # blocks that leave partial results
ELEMENTS_A_BLOCK = 16 * THREADS  # of what is reduced to one number
TABLE_BYTES = 4000  # of the 4,096 bytes that the parameters of a launch may take
COLUMNS = 32  # threads along the columns, so that a warp reads 32 of them
# Threads of a block, blocks of a multiprocessor: 128 registers are left for each thread, with which
# nothing is spilled.
BOUNDS = dict.fromkeys(("map", "tiles", "all", "columns", "slices"), "256, 2")
BOUNDS |= {"point": "1", "rows": "512, 1"}
NAME = "k" + 16 * "?"  # stands for the name until the text is known


def render(kernel: Kernel) -> CudaKernel:
    """The CUDA C of a kernel."""
    return _Batch([kernel], table=False).render()


def render_many(kernels: Sequence[Kernel]) -> CudaKernel:
    """The CUDA C of kernels that differ in arrays and extents only, as one launch, or as several
    where their table would be too large.

    Array and Scalar of a launch count through the kernels: array i of kernel k is
    k * len(kernel.arrays) + i. The nests run at the same time: none may write what another reads or
    writes, memory that is used again included.

    Errors: ValueError for kernels whose text differs.
    """
    return _Batch(kernels, table=True).render()


class _Batch:
    def __init__(self, kernels: Sequence[Kernel], table: bool):
        self.kernels = list(kernels)
        self.table = table
        self.nests = [CudaNest(k) for k in self.kernels]
        made = [[nest.main()] + ([nest.finish()] if nest.totals else []) for nest in self.nests]
        self.functions = made[0]
        self.formals = [[f.formals for f in functions] for functions in made]
        self.shared = _may_be_shared(self.kernels[0])
        bodies = [
            [(f.body, f.packs, [(p.type, p.name) for p in f.formals]) for f in functions]
            for functions in made
        ]
        if any(body != bodies[0] for body in bodies):
            raise ValueError("kernels of one launch must have one text")
        self.block = _block(max(self.nests, key=lambda nest: math.prod(nest.kernel.shape)))
        grids = [_grid(nest, self.block) for nest in self.nests]
        self.grid = max(x for x, _ in grids), max(y for _, y in grids)
        self.parts = self.grid[0] * self.grid[1]
        places = self.parts
        if self.nests[0].shape == "slices":
            self.parts = self.grid[1]
            places = self.parts * max(nest.rows[-1].extent for nest in self.nests)
        self.part_bytes = -(-8 * places // 16) * 16

    def render(self) -> CudaKernel:
        text = "\n".join(self._text(f, last) for f, last in zip(self.functions, ("", "_finish")))
        name = "k" + hashlib.sha256(text.encode()).hexdigest()[: len(NAME) - 1]
        totals = len(self.nests[0].totals)
        scratch = len(self.nests) * totals * self.part_bytes
        launches = tuple(self._launches(name))
        preludes = PRELUDES + STORAGE if STORED_HALVES.search(text) else PRELUDES
        return CudaKernel(name, text.replace(NAME, name), launches, scratch, preludes)

    # --- text -------------------------------------------------------------------------------------

    def _text(self, f: Function, suffix: str) -> str:
        """A `__global__` function, with the function that it calls, if any, before it."""
        body, before = self._shared_memory(f), []
        head = [self._declared(p) for p in f.formals]
        if self.table:
            before.append(self._struct(f, suffix))
            head = [f"const __grid_constant__ {NAME}{suffix}_nests nests"]
            body.append(f"    const {NAME}{suffix}_nest &nest = nests.nest[blockIdx.z];")
        if self.table or f.width > 1:
            before.append(self._inner(f))
            body += self._calls(f)
        else:
            body += f.body
        bounds = "256, 2" if suffix else BOUNDS[self.nests[0].shape]
        opening = f'extern "C" __global__ void __launch_bounds__({bounds})\n'
        opening += _listed(f"{NAME}{suffix}(", head, ")")
        return "\n".join([*before, f"{opening}\n{{", *body, "}", ""])

    def _declared(self, formal: Formal) -> str:
        alone = formal.type.endswith("*") and formal.name not in self.shared
        return f"{formal.type}{_space(formal.type)}{'__restrict__ ' if alone else ''}{formal.name}"

    def _shared_memory(self, f: Function) -> list[str]:
        declared = lambda s: "".join(f"[{extent}]" for extent in s.extents)
        return [f"    __shared__ {s.type} {s.name}{declared(s)};" for s in f.shared]

    def _inner(self, f: Function) -> str:
        """The function that holds the body: a template where elements come in packs, too."""
        template = "template <int width>\n" if f.width > 1 else ""
        given = [f"{p.type}{_space(p.type)}{p.name}" for p in f.formals if self._passed(f, p)]
        given += map(_pointer, f.shared)
        if f.ranged:
            given += [f"{self.nests[0].index} first", f"{self.nests[0].index} last"]
        head = _listed(f"{NAME}{f.suffix}(", given, ")")
        body = "\n".join(f.body)
        return f"{template}static __device__ __forceinline__ void\n{head}\n{{\n{body}\n}}\n"

    def _passed(self, f: Function, p: Formal) -> bool:
        """Whether the inner function needs a parameter: an extent may be for the choice only."""
        return p.name != f.ranged

    def _calls(self, f: Function) -> list[str]:
        """Calls of the inner function: with packs where that is possible, and without."""
        nest = "nest." if self.table else ""
        given = [nest + p.name for p in f.formals if self._passed(f, p)]
        given += [s.name for s in f.shared]

        def call(indent: int, width: str, *more: str) -> str:
            return _listed(f"{' ' * indent}{NAME}{f.suffix}{width}(", [*given, *more], ");")

        if f.width == 1:
            return [call(4, "")]
        packs = [_qualified(text) for text in f.packs] if self.table else f.packs
        if not f.ranged:
            return [
                _listed("    if (", packs, ")", " && "),
                call(8, f"<{f.width}>"),
                "    else",
                call(8, "<1>"),
            ]
        inner = nest + f.ranged
        kind = self.nests[0].index
        return [
            _listed("    const bool packs = ", packs, ";", " && "),
            f"    const {kind} packed = packs ? {inner} - {inner} % {f.width} : 0;",
            call(4, f"<{f.width}>", "0", "packed"),
            call(4, "<1>", "packed", inner),
        ]

    def _struct(self, f: Function, suffix: str) -> str:
        """The table: a row a nest, fields of 8 bytes."""
        fields = "".join(f"    {_field(p.type)}{p.name};\n" for p in f.formals)
        rows = self._capacity(f)
        return (
            f"struct {NAME}{suffix}_nest {{\n{fields}}};\n"
            f"struct {NAME}{suffix}_nests {{\n    {NAME}{suffix}_nest nest[{rows}];\n}};\n"
        )

    def _capacity(self, f: Function) -> int:
        """Rows that a table has room for."""
        return TABLE_BYTES // (8 * len(f.formals))

    # --- launches ---------------------------------------------------------------------------------

    def _launches(self, name: str) -> list[Launch]:
        finish = ((1, 1, 1), (THREADS, 1, 1))
        if self.nests[0].shape == "slices":
            finish = ((self.grid[0], 1, 1), (*self.block, 1))
        shapes = [((*self.grid, 1), (*self.block, 1)), finish]
        found = []
        for j, (f, suffix) in enumerate(zip(self.functions, ("", "_finish"))):
            grid, block = shapes[j]
            rows = [self._arguments(k, formals[j]) for k, formals in enumerate(self.formals)]
            if not self.table:
                found.append(Launch(name + suffix, grid, block, rows[0]))
                continue
            room = self._capacity(f)
            for first in range(0, len(rows), room):
                some = rows[first : first + room]
                full = (*some, *some[-1:] * (room - len(some)))
                grid = *grid[:2], len(some)
                found.append(Launch(name + suffix, grid, block, (Table(full),)))
        return found

    def _arguments(self, k: int, formals: list[Formal]) -> tuple[Argument, ...]:
        """What nest `k` is given."""
        kernel = self.kernels[k]
        found: list[Argument] = []
        for formal in formals:
            a = formal.argument
            if isinstance(a, Array):
                found.append(Array(k * len(kernel.arrays) + a.index))
            elif isinstance(a, Scalar):
                found.append(Scalar(k * len(kernel.numbers) + a.index, a.kind))
            elif isinstance(a, Parts):
                total = k * len(self.nests[k].totals) + a.index
                found.append(Scratch(total * self.part_bytes))
            elif isinstance(a, PartCount):
                found.append(Fixed(self.parts, "q" if self.table else "i"))
            elif isinstance(a, Fixed):
                found.append(Fixed(a.value, "q" if self.table else a.kind))
            else:
                found.append(a)
        return tuple(found)


def _may_be_shared(kernel: Kernel) -> set[str]:
    """Arrays that another parameter may show too: an output may be written over an operand. The
    others are `__restrict__`."""
    found: set[Param] = set()
    for target in kernel.arrays:
        for p in kernel.arrays:
            if target.out and kernel.overwrites(target, p) and p.dtype == target.dtype:
                found |= {target, p}
    return {p.name for p in found}


# --- blocks and grids -----------------------------------------------------------------------------


def _points(axes: list) -> int:
    return math.prod(axis.extent for axis in axes)


def _power(n: int) -> int:
    """The smallest power of two that is at least n."""
    return 1 << (n - 1).bit_length()


def _block(nest: CudaNest) -> tuple[int, int]:
    """Threads of a block in x and y."""
    if nest.shape == "point":
        return 1, 1
    if nest.shape == "map" and len(nest.rows) > 1:
        x = min(THREADS, _power(-(-nest.inner.extent // nest.width)))
        return x, THREADS // x
    if nest.shape == "rows":
        n = _points(nest.loops)
        if n <= SHORT_ROW and not nest.single:
            return 32, THREADS // 32
        return 2 * THREADS if n > LONG_ROW else THREADS, 1
    if nest.shape in ("columns", "slices"):
        x = min(COLUMNS, _power(nest.rows[-1].extent))
        return x, THREADS // x
    if nest.shape == "tiles":
        return TILE, THREADS // TILE
    return THREADS, 1


def _grid(nest: CudaNest, block: tuple[int, int]) -> tuple[int, int]:
    """Blocks of a nest in x and y."""
    most = MOST_PARTS if nest.totals else MOST_BLOCKS
    outer = _points(nest.rows[:-1])
    if nest.shape == "map":
        x = min(most, -(-nest.inner.extent // (block[0] * nest.width)))
        return x, min(-(-outer // block[1]), max(1, most // x))
    if nest.shape == "rows":
        return min(most, -(-_points(nest.rows) // block[1])), 1
    if nest.shape == "all":
        return min(most, -(-_points(nest.loops) // ELEMENTS_A_BLOCK)), 1
    if nest.shape == "columns":
        x = min(most, -(-nest.rows[-1].extent // block[0]))
        return x, min(outer, max(1, most // x))
    if nest.shape == "slices":
        x = -(-nest.rows[-1].extent // block[0])
        return x, min(-(-_points(nest.loops) // ROWS_A_SLICE), max(1, most // x))
    if nest.shape == "tiles":
        assert nest.across is not None
        x = min(most, -(-nest.inner.extent // TILE))
        y = outer // nest.across.extent * -(-nest.across.extent // TILE)
        return x, min(y, max(1, most // x))
    return 1, 1


# --- text -----------------------------------------------------------------------------------------


def _space(kind: str) -> str:
    return "" if kind.endswith(("*", " ")) else " "


def _pointer(shared: Shared) -> str:
    """The parameter that shared memory is passed by."""
    if len(shared.extents) == 1:
        return f"{shared.type} *{shared.name}"
    return f"{shared.type} (*{shared.name})[{shared.extents[1]}]"


def _field(kind: str) -> str:
    """The type of a field of 8 bytes that holds a parameter."""
    return "int64_t " if kind == "int" else f"{kind}{_space(kind)}"


def _qualified(condition: str) -> str:
    """A condition on parameters as one on the fields of a nest."""
    head, _, rest = condition.partition("(")
    if not rest:
        return f"nest.{condition}"
    given = ", ".join("nest." + name for name in rest.rstrip(")").split(", "))
    return f"{head}({given})"


def _listed(before: str, items: Sequence[str], after: str, between: str = ", ") -> str:
    """Items in a row, on as many lines as they need."""
    indent = " " * (len(before) - len(before.lstrip()) + 4)
    lines, line = [], before
    for i, item in enumerate(items):
        text = item + (after if i == len(items) - 1 else between.rstrip())
        if len(line) + len(text) > LINE and line.strip() and i:
            lines.append(line.rstrip())
            line = indent
        line += text + " "
    return "\n".join([*lines, line.rstrip()])
