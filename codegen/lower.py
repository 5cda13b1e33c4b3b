"""From a group of the graph to a kernel of the loop IR.

Every member is full (a value a point), row (a value a row) or total (one after all rows). Full and
row members belong to a phase: how many loops over the row have to be finished before they can be
computed.

    softmax(x) over rows    phase 0: amax     phase 1: exp(x - m), sum     phase 2: exp(x - m) / sum

A full member that several phases need is computed again in each, unless that is dear and a later
output of its dtype lends its memory in between.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from lazyt.ir.gathers import Chosen, Gathered, aligned, gathered
from lazyt.ir.graph import Scalar, Value
from lazyt.ir.passes.fuse import Group
from lazyt.ir.passes.fuse_loops import Space, over, own_strides
from lazyt.ir.places import Place, constant_of, counted, place
from lazyt.ir.types import contiguous_strides

from . import cuda
from .c import CKernel, render
from .cstyle import DEAR
from .launches import CudaKernel
from .loops import Apply, Kernel, Load, Number, Operand, Param, Pick, Reach, Reduce, Stage, Store


@dataclass
class Lowered:
    """A kernel and what its parameters stand for, in their order."""

    kernel: Kernel
    values: list[Value]
    numbers: list[Scalar]

    @property
    def device(self) -> str:
        """The device that runs it."""
        return self.values[-1].type.device

    @cached_property
    def c(self) -> CKernel:
        """The kernel in C."""
        return render(self.kernel)

    @cached_property
    def cuda(self) -> CudaKernel:
        """The kernel in CUDA C."""
        return cuda.render(self.kernel)

    @property
    def text(self) -> str:
        """The canonical text of what runs, on the processor or a device."""
        return self.c.text if self.device == "cpu" else self.cuda.text


def lower(group: Group, scattered: frozenset[Value] | set[Value] = frozenset()) -> Lowered:
    """The kernel of a group of kind "loops".

    scattered: values that may not lie row-major; operands that show one are handed over as
    row-major copies.
    """
    return _Lowering(group, scattered).lower()


def overwritable(lowered: Lowered, v: Value) -> list[Value]:
    """The operands of a kernel whose memory its output `v` may be written over: read at the point
    that is written only, and for the last time before."""
    kernel = lowered.kernel
    at = dict(zip(kernel.params, lowered.values))
    target = next(p for p, written in at.items() if p.out and written is v)
    found, kept = [], set()
    for p, read in at.items():
        if p.out:
            continue
        if not kernel.overwrites(target, p):
            kept.add(place(read).root)  # another parameter may show the same memory
        elif read.type is v.type:
            found.append(read)
    return [read for read in found if place(read).root not in kept]


class _Lowering:
    def __init__(self, group: Group, scattered: frozenset[Value] | set[Value]):
        self.scattered = scattered
        self.space = Space(group.shape, group.axes, group.total)
        self.members = [v for v in group.values if not v.op.view and v is not group.lead]
        self.outputs = set(group.outputs)
        self.inside = set(self.members)
        self.name = {v: f"v{i}" for i, v in enumerate(self.members)}
        self.phase: dict[Value, int] = {}
        # By the value and its strides: one value may be read at points and at rows.
        self.params: dict[tuple[Value, tuple[int, ...]], Param] = {}
        self.tables: dict[Value, Param] = {}  # by the operation that reads them
        self.reached: dict[tuple, tuple[Value, Param]] = {}  # tables, by how they are read
        self.alike: dict[tuple, str] = {}  # the first parameter of a root, by how it moves
        self.neighbours: set[str] = set()  # those that move alike through one root
        self.positions: dict[tuple[int, ...], Param] = {}  # along an axis, by their strides
        self.stores: dict[Value, Param] = {}
        self.numbers: dict[Scalar, Number] = {}
        self.stages: list[Stage] = []
        self.row_names: set[str] = set()

    def lower(self) -> Lowered:
        self.level = {v: self.space.level(v) for v in self.members}
        for v in self.members:
            if self.level[v] != "total":
                self.phase[v] = self._phase(v)
        for v in self.members:
            gather = gathered(v)
            if gather is not None:
                self.tables[v] = self._table(v, gather)
            for s in v.operands() if gather is None else gather.others():
                self._read(v, s)
        for k, v in enumerate(v for v in self.members if v in self.outputs):
            strides = own_strides(v, self.space)
            self.stores[v] = Param(f"y{k}", v.type.dtype.name, strides, out=True)
        last = max(self._last_loops(), default=-1)
        borrowed = self._borrowed()
        stored: dict[Value, int] = {}
        for p in range(last + 1):
            self._row_stage(p)
            self._loop_stage(p, stored, borrowed)
        self._row_stage(last + 1, final=True)
        self._end_stage()
        read = [(s, p) for (s, _), p in self.params.items() if not p.counted]
        read += self.reached.values()
        read.sort(key=lambda pair: int(pair[1].name[1:]))
        arrays = [*read, *self.stores.items()]
        along = [p for p in (*self.params.values(), *self.positions.values()) if p.counted]
        kernel = Kernel(
            self.space.shape,
            self.space.axes,
            [*(p for _, p in arrays), *along],
            self.stages,
            list(self.numbers.values()),
        )
        return Lowered(kernel, [v for v, _ in arrays], list(self.numbers))

    def _is_full(self, v: Value) -> bool:
        return self.level[v] == "full"

    def _along_row(self, v: Value) -> bool:
        """Whether a member reduces along the row."""
        return v.op.kind == "reduce" and self.level[v] == "row"

    def _member(self, s: Value) -> Value | None:
        root = place(s).root
        return root if root in self.inside and constant_of(s) is None else None

    def _phase(self, v: Value) -> int:
        """Loops that are finished before `v` is computed; for a reduction, its own among them."""
        before = [self.phase[m] for s in v.operands() if (m := self._member(s)) is not None]
        phase = max(before, default=0)
        return phase + 1 if v.op.kind == "reduce" else phase

    def _last_loops(self) -> list[int]:
        loops = [self.phase[v] - 1 for v in self.members if self._along_row(v)]
        return loops + [self.phase[v] for v in self.stores if self._is_full(v)]

    def _read(self, v: Value, s: Value) -> None:
        """The parameter of an operand from outside."""
        if self._member(s) is not None or constant_of(s) is not None:
            return
        key = s, self._strides(v, s)
        if key not in self.params:
            self.params[key] = self._param(s, key[1])

    def _strides(self, v: Value, s: Value) -> tuple[int, ...]:
        """How `v` moves through an operand from outside, over the axes of the space."""
        target = v.src[0].type.shape if v.op.kind == "reduce" else v.type.shape
        found, shape = aligned(v, s, self._place(s))
        return over(found, shape, target, self.space)

    def _table(self, v: Value, gather: Gathered) -> Param:
        """The parameter of what a gather reads."""
        table, along, chosen = gather[:3]
        own, shape = self._place(table), v.type.shape
        moved = own._replace(strides=tuple(0 if a is None else own.strides[a] for a in along))
        strides = over(moved, shape, shape, self.space)
        reach = tuple(Reach(table.type.shape[c.axis], own.strides[c.axis], c.start) for c in chosen)
        # Text says where each of these begins: several picks of one table need it once.
        again = all(c.index is None and c.start is None for c in chosen)
        key = (table, strides, reach) if again else (v,)
        if key not in self.reached:
            self.reached[key] = table, self._param(table, strides, reach)
        return self.reached[key][1]

    def _param(self, s: Value, strides: tuple[int, ...], reach: tuple[Reach, ...] = ()) -> Param:
        """A parameter that is read."""
        name, dtype = self._next(), s.type.dtype.name
        if counted(s):
            return Param(name, dtype, strides, counted=True)
        twin = self.alike.setdefault((self._place(s).root, strides, reach), name)
        if twin == name:
            return Param(name, dtype, strides, reach=reach)
        self.neighbours |= {name, twin}
        return Param(name, dtype, strides, reach=reach, twin=twin)

    def _next(self) -> str:
        """The name of the next parameter that is read."""
        return f"x{len(self.params) + len(self.reached) + len(self.positions)}"

    def _place(self, s: Value) -> Place:
        """Where an operand lies when the kernel gets it."""
        found = place(s)
        return Place(s, contiguous_strides(s.type.shape)) if found.root in self.scattered else found

    def _borrowed(self) -> dict[Value, tuple[Value, int]]:
        """Dear full members that two phases need: the output that lends its memory, and from which
        phase on it is the output's own."""
        free = [v for v in self.stores if self._is_full(v)]
        free.sort(key=lambda o: -self.phase[o])  # the longer it is lent, the better
        found: dict[Value, tuple[Value, int]] = {}
        for v in self.members:
            if not self._is_full(v) or v in self.outputs or v.op.name not in DEAR:
                continue
            for o in free:
                if o.type.dtype is v.type.dtype and self.phase[o] > self.phase[v]:
                    free.remove(o)
                    found[v] = (o, self.phase[o])
                    break
        return found

    # --- stages -----------------------------------------------------------------------------------

    def _row_stage(self, phase: int, final: bool = False) -> None:
        """What is computed once a row before the loop of a phase; at the end the row results."""
        stage = Stage(False)
        for v in self.members:
            if self.level[v] != "row" or v.op.kind == "reduce" or self.phase[v] != phase:
                continue
            self._apply(v, stage)
            self.row_names.add(self.name[v])
        if final:
            for v, param in self.stores.items():
                if self.level[v] == "row":
                    stage.statements.append(Store(param, self.name[v]))
            for v in self.members:
                if self.level[v] == "total" and v.op.kind == "reduce":
                    self._reduce(v, stage)
        if stage.statements:
            self.stages.append(stage)

    def _end_stage(self) -> None:
        """What is computed once all rows are finished."""
        stage = Stage(False, end=True)
        for v in self.members:
            if self.level[v] == "total" and v.op.kind != "reduce":
                self._apply(v, stage)
        for v, param in self.stores.items():
            if self.level[v] == "total":
                stage.statements.append(Store(param, self.name[v]))
        if stage.statements:
            self.stages.append(stage)

    def _reduce(self, v: Value, stage: Stage) -> None:
        operand = self._operand(v, v.src[0], stage)
        stage.statements.append(Reduce(self.name[v], v.op.name, operand, v.type.dtype.name))

    def _loop_stage(
        self, phase: int, stored: dict[Value, int], borrowed: dict[Value, tuple[Value, int]]
    ) -> None:
        reductions = [v for v in self.members if self._along_row(v) and self.phase[v] == phase + 1]
        results = [v for v in self.stores if self._is_full(v) and self.phase[v] == phase]
        if not reductions and not results:
            return
        needed: set[Value] = set()
        stack = [m for r in reductions if (m := self._member(r.src[0])) is not None] + results
        while stack:
            v = stack.pop()
            if v in needed or not self._is_full(v):
                continue
            needed.add(v)
            if not self._held(v, phase, stored, borrowed):
                stack += [m for s in v.operands() if (m := self._member(s)) is not None]
        stage = Stage(True)
        for v in self.members:
            if v not in needed:
                continue
            if self._held(v, phase, stored, borrowed):
                o = borrowed[v][0] if v in borrowed else v
                stage.statements.append(Load(self.name[v], self.stores[o]))
                continue
            self._apply(v, stage)
            if v in borrowed and phase < borrowed[v][1]:
                stage.statements.append(Store(self.stores[borrowed[v][0]], self.name[v]))
                stored[v] = phase
        for r in reductions:
            self._reduce(r, stage)
        for v in results:
            stage.statements.append(Store(self.stores[v], self.name[v]))
            stored.setdefault(v, phase)
        self.stages.append(stage)

    @staticmethod
    def _held(v: Value, phase: int, stored: dict, borrowed: dict) -> bool:
        """Whether the memory that a full member was stored in still holds it: what was borrowed is
        given back to its output."""
        return v in stored and (v not in borrowed or phase <= borrowed[v][1])

    def _apply(self, v: Value, stage: Stage) -> None:
        gather = gathered(v)
        if gather is not None:
            indices = tuple(
                self._position(v, c, stage) if c.index is None else self._operand(v, c.index, stage)
                for c in gather.chosen
            )
            outside = gather.outside
            if outside is not None:
                outside = self._operand(v, outside, stage)
            offsets = tuple(c.offset for c in gather.chosen)
            stage.statements.append(
                Pick(self.name[v], self.tables[v], indices, gather.wraps, outside, offsets)
            )
            return
        operands = tuple(self._operand(v, s, stage) for s in v.src)
        lead = next((s for s in v.src[-2:] if s.__class__ is Value), None)
        if v.op.name != "where":
            lead = next((s for s in v.src if s.__class__ is Value), None)
        source = v.type.dtype.name if lead is None else lead.type.dtype.name
        stage.statements.append(Apply(self.name[v], v.op.name, operands, v.type.dtype.name, source))

    def _operand(self, v: Value, s: Any, stage: Stage) -> Operand:
        if s.__class__ is Scalar:
            dtype = "float64" if s.kind is float else "int64"
            return self.numbers.setdefault(s, Number(len(self.numbers), dtype))
        if s.__class__ is not Value:
            return s
        constant = constant_of(s)
        if constant is not None:
            return self._operand(v, constant.src[0], stage)
        member = self._member(s)
        if member is not None:
            return self.name[member]
        return self._loaded(self.params[s, self._strides(v, s)], stage)

    def _position(self, v: Value, chosen: Chosen, stage: Stage) -> Operand:
        """The position of a point along dimensions of the result of `v`."""
        shape = v.type.shape
        steps = dict(zip(chosen.dims, chosen.steps))
        own = Place(v, tuple(steps.get(d, 0) for d in range(len(shape))))
        strides = over(own, shape, shape, self.space)
        if strides not in self.positions:
            self.positions[strides] = Param(self._next(), "int64", strides, counted=True)
        return self._loaded(self.positions[strides], stage)

    def _loaded(self, param: Param, stage: Stage) -> Operand:
        """The value of a parameter at the point of a stage, which loads it if it has not."""
        name = f"{param.name}v"
        along = param.varies(self.space.axes, self.space.shape) or not self.space.axes
        if not along and not stage.end:
            self._load_for_row(name, param, stage)
        elif not any(isinstance(t, Load) and t.name == name for t in stage.statements):
            # Neighbours are loaded before anything is computed: compilers turn a choice between
            # what one has loaded and what another would load into branches.
            leading = itertools.takewhile(lambda t: isinstance(t, Load), stage.statements)
            at = len(list(leading)) if param.name in self.neighbours else len(stage.statements)
            stage.statements.insert(at, Load(name, param))
        return name

    def _load_for_row(self, name: str, param: Param, stage: Stage) -> None:
        """A value that is the same along a row is loaded once a row, in the first stage."""
        if name in self.row_names:
            return
        self.row_names.add(name)
        if not stage.loop:
            stage.statements.append(Load(name, param))
            return
        if not self.stages or self.stages[0].loop:
            self.stages.insert(0, Stage(False))
        self.stages[0].statements.insert(0, Load(name, param))
