"""One kernel in the words of every tier: loop IR, NumPy, C, CUDA C, all under the same names.

    texts.loops, texts.numpy, texts.c, texts.cuda    "" where there is none: `absent` says why

The kernel's values are cut out of the program as a graph of their own, whatever tier it runs in.
Its NumPy code is a whole function; its loop nests are lowered as the C tier lowers them; a product
or convolution has its own kernel in CUDA C, and loops where a nest ends it. Each text begins with
what the kernel computes, what that costs and the user's lines; `files` has them with what a
compiler or Python needs before them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from lazyt.codegen.cstyle import PRELUDES
from lazyt.codegen.dress import (
    Facts,
    called,
    commented,
    dressed,
    folded,
    graph_names,
    identifier,
    kernel_names,
    listed,
    over,
    own_names,
    quantity,
    words,
)
from lazyt.codegen.dress_words import LOCALS, OWN_KERNELS
from lazyt.codegen.grouping import MOVING, has_template, loop_nests, no_kernel
from lazyt.codegen.launches import CudaKernel
from lazyt.codegen.lower import Lowered, lower
from lazyt.codegen.numpy_calls import NumpyCode
from lazyt.codegen.source import generate
from lazyt.codegen.templates.own import OwnKernel, epilogue, own_kernel
from lazyt.ir.cost import bytes_read, cost, nbytes
from lazyt.ir.graph import Graph, Scalar, Value, placed
from lazyt.ir.passes.fuse import Group, Grouping, fuse
from lazyt.ir.places import place
from lazyt.ir.printer import text

from .files import header, header_text, include, numpy_head
from .naming import UserNames
from .origins import line_of, words_of

LINES = 6  # of the user's, in a header


@dataclass
class Texts:
    """The texts of one kernel.

    values, outputs: of the kernel, in order, views among the values. names: the user's, of the
    program; given: by value of the program's graph. nest: the loop nest, where the program runs as
    one. together: how many nests of one text run in its call. own: the kernel of a product or
    convolution, where the program runs it.
    """

    values: list[Value]
    outputs: list[Value]
    names: UserNames
    given: Mapping[Value, str]
    nest: tuple[Group, Lowered] | None = None
    together: int = 1
    own: OwnKernel | None = None

    # --- the kernel as a graph of its own ---------------------------------------------------------

    @cached_property
    def _cut(self) -> tuple[Graph, dict[Value, Value]]:
        """The kernel alone, and what its values stand for: inputs are what it reads of others,
        while views of them and constants are its own."""
        inside = set(self.values)
        new: dict[Value, Value] = {}
        inputs: list[Value] = []
        scalars: list[Scalar] = []
        body: list[Value] = []

        def take(v: Value) -> Value:
            if v in new:
                return new[v]
            if not (v in inside or _belongs(v)):
                new[v] = Value(None, (), (), v.type, v.origin, len(inputs))
                inputs.append(new[v])
                return new[v]
            src = tuple(take(s) if s.__class__ is Value else s for s in v.src)
            scalars.extend(s for s in src if s.__class__ is Scalar and s not in scalars)
            new[v] = Value(v.op, src, v.arg, v.type, v.origin)
            body.append(new[v])
            return new[v]

        for v in self.values:
            take(v)
        graph = Graph(inputs, scalars, body, [new[v] for v in self.outputs])
        return graph, {copy: v for v, copy in new.items()}

    @property
    def graph(self) -> Graph:
        """The kernel alone."""
        return self._cut[0]

    @cached_property
    def _on_cpu(self) -> tuple[Graph, dict[Value, Value]]:
        """The same for the languages of the host."""
        graph, original = self._cut
        copy, copied = placed(graph, "cpu")
        return copy, {v: original[copied[v]] for v in copied}

    @cached_property
    def ir(self) -> str:
        """The graph, as the IR prints."""
        return text(self.graph)

    @cached_property
    def _grouping(self) -> Grouping:
        return loop_nests(self._on_cpu[0])

    @cached_property
    def nests(self) -> list[tuple[Group, Lowered]]:
        """The loop nests of the kernel: the one that runs, or those of its graph in the C tier."""
        if self.nest is not None:
            return [self.nest]
        groups = [g for g in self._grouping.groups if g.kind == "loops"]
        return [(g, lower(g)) for g in groups]

    @cached_property
    def _given(self) -> Mapping[Value, str]:
        """The user's names of the values of the nests."""
        if self.nest is not None:
            return self.given
        graph, original = self._on_cpu
        assert self._grouping.graph is not None
        inputs = {v.index: called(original[v], self.given) for v in graph.inputs}
        outputs = {i: self.given.get(v, "") for i, v in enumerate(self.outputs)}
        return self.names.in_graph(self._grouping.graph, inputs, outputs)

    @cached_property
    def _lead(self) -> Value | None:
        """The product or convolution that has a kernel of its own."""
        if self.nest is not None:
            return self.nest[0].lead
        members = [v for v in self.values if not v.op.view]
        return members[0] if len(members) == 1 and has_template(members[0]) else None

    @cached_property
    def _own(self) -> OwnKernel | None:
        lead = self._lead
        if lead is None or self.own is not None:
            return self.own
        return own_kernel(lead, [place(s).strides for s in lead.operands()], self.nest)

    # --- texts ------------------------------------------------------------------------------------

    @cached_property
    def _dressing(self) -> list[tuple[dict[str, str], dict[Value, str]]]:
        """For every nest the names, by canonical name and by value."""
        found = []
        for group, lowered in self.nests:
            on_device = lowered.cuda if self._own is None else self._own.kernel
            taken = words(lowered.c.text, on_device.text) - LOCALS["own"].keys() - {"a", "b"}
            taken |= set(LOCALS["c"].values())
            names, named = kernel_names(group, lowered, self._given, taken)
            if group.lead is not None:
                at = zip(lowered.kernel.params, lowered.values)
                read = next(p.name for p, v in at if place(v).root is group.lead)
                names["acc"] = names[read]
            found.append((names, named))
        return found

    def facts(self, k: int) -> Facts:
        """What stands above the text of a nest."""
        group, lowered = self.nests[k]
        names, named = self._dressing[k]
        arrays = [(p, v, names[p.name]) for p, v in zip(lowered.kernel.arrays, lowered.values)]
        members = [v for v in group.values if not v.op.view and v is not group.lead]
        results = [name for p, _, name in arrays if p.out]
        title = f"{listed(results)} {over(group)}"
        read: dict[Value, int] = {}  # what two views show is read once
        for p, v, _ in arrays:
            if not p.out:
                root = place(v).root
                read[root] = max(read.get(root, 0), bytes_read(v))
        more = []
        if self.together > 1:
            more.append(f"the first of {self.together} that one call runs, each on its own arrays")
        if lowered.numbers:
            given = ", ".join(names[f"s{j}"] for j in range(len(lowered.numbers)))
            more.append(f"numbers given at run time: {given}")
        return Facts(
            title,
            [(name, v.type) for p, v, name in arrays if not p.out],
            [(name, v.type) for p, v, name in arrays if p.out],
            sum(cost(v).flops for v in members),
            sum(read.values()),
            sum(nbytes(v.type) for p, v, _ in arrays if p.out),
            user_lines(members),
            more,
        )

    def _title(self, k: int) -> str:
        """An identifier for a nest: its results."""
        names = self._dressing[k][0]
        return _titled([names[p.name] for p in self.nests[k][1].kernel.arrays if p.out])

    @cached_property
    def loops(self) -> str:
        """The loop IR."""
        parts = []
        for k, (group, lowered) in enumerate(self.nests):
            head = commented(self.facts(k).text(), "python")
            kernel = lowered.kernel if group.lead is None else epilogue(lowered, group.lead)
            parts.append(f"{head}\n{dressed(str(kernel), self._dressing[k][0])}\n")
        return "\n".join(parts)

    @cached_property
    def c(self) -> str:
        """C11, which `files` puts behind the prelude."""
        parts = []
        for k, (_, lowered) in enumerate(self.nests):
            facts = self.facts(k)
            table = ", ".join(map(str, lowered.c.table))
            if table:
                facts.more.append(f"sizes, extents and strides: {table}")
            names = self._dressing[k][0] | LOCALS["c"] | {lowered.c.name: self._title(k)}
            text = folded(dressed(lowered.c.text, names), "c")
            parts.append(f"{commented(facts.text(), 'c')}\n{text}")
        return "\n".join(parts)

    @cached_property
    def cuda(self) -> str:
        """CUDA C, which `files` puts behind its preludes."""
        return "\n".join(written for written, _ in self._in_cuda)

    @cached_property
    def _in_cuda(self) -> list[tuple[str, tuple[str, ...]]]:
        """Text and preludes of the operation's own kernel, or of every nest."""
        if self._own is not None:
            return [self._own_in_cuda(self._own)]
        found = []
        for k, (_, lowered) in enumerate(self.nests):
            names = self._dressing[k][0]
            found.append(_written(lowered.cuda, self.facts(k), names, self._title(k)))
        return found

    def _own_in_cuda(self, own: OwnKernel) -> tuple[str, tuple[str, ...]]:
        lead = self._lead
        assert lead is not None
        taken = words(own.kernel.text) - LOCALS["own"].keys() - {*own.arrays, "a", "b", "acc"}
        nest = self._dressing[0] if own.ending is not None else ({}, {})
        names = own_names(own, self.given, nest, taken)
        arrays = dict(zip(own.arrays, own.values))
        outputs = own.values[-own.results :]
        members = [v for v in self.values if not v.op.view]
        results = [names[name] for name in own.arrays[-own.results :]]
        what = OWN_KERNELS.get(lead.op.name, lead.op.name)
        if own.ending is not None:
            what += ", then " + ", ".join(v.op.name for v in members if v is not lead)
        facts = Facts(
            f"{listed(results)} over {list(result_shape(lead))}: {what}",
            [(names[name], v.type) for name, v in arrays.items() if v not in outputs],
            [(names[name], v.type) for name, v in arrays.items() if v in outputs],
            sum(cost(v).flops for v in members),
            sum(bytes_read(v) for v in dict.fromkeys(arrays.values()) if v not in outputs),
            sum(nbytes(v.type) for v in outputs),
            user_lines(members),
        )
        return _written(own.kernel, facts, names, _titled(results))

    @cached_property
    def numpy(self) -> str:
        """A function of NumPy calls."""
        return self._in_numpy[1]

    @cached_property
    def _in_numpy(self) -> tuple[NumpyCode, str]:
        graph, original = self._on_cpu
        code = generate(fuse(graph))
        known = {v: name for _, named in self._dressing for v, name in named.items()}
        given = dict(self._numpy_given)
        for copy, v in original.items():
            if v in known:
                given[copy] = known[v]
        arranged = code.graph
        names = graph_names(arranged, given, words(code.source))
        number = arranged.numbered()
        results = [names[f"x{number[v]}"] for v in arranged.outputs]
        more = f"_and_{len(results) - 1}_more" if len(results) > 1 else ""
        names["run"] = identifier(f"compute_{results[0].removeprefix('new_')}{more}")
        members = [v for v in self.values if not v.op.view]
        arrays = [(v, names[f"x{number[v]}"]) for v in arranged.inputs]
        facts = Facts(
            ", ".join(results),
            [(name, v.type) for v, name in arrays],
            [(name, v.type) for v, name in zip(graph.outputs, results)],
            sum(cost(v).flops for v in members),
            sum(bytes_read(v) for v in graph.inputs),
            sum(nbytes(v.type) for v in graph.outputs),
            user_lines(members),
        )
        text = folded(dressed(code.source, names), "python")
        return code, f"{commented(facts.text(), 'python')}\n{text}"

    @cached_property
    def _numpy_given(self) -> dict[Value, str]:
        graph, original = self._on_cpu
        inputs = {v.index: called(original[v], self.given) for v in graph.inputs}
        outputs = {i: self.given.get(v, "") for i, v in enumerate(self.outputs)}
        return self.names.in_graph(graph, inputs, outputs)

    @cached_property
    def absent(self) -> dict[str, str]:
        """By the name of a text that is not there the reason."""
        found = {}
        members = [v for v in self.values if not v.op.view]
        if not self.nests:
            names = ", ".join(dict.fromkeys(v.op.name for v in members))
            found["loops"] = found["c"] = f"no loop nest computes {names}"
        if not self._in_cuda:
            moving = members[0].op.name in MOVING
            moves = f"{members[0].op.name} moves memory, and needs no kernel"
            found["cuda"] = moves if moving else no_kernel(members[0])
        return found

    def files(self) -> dict[str, str]:
        """The texts that there are, by ending: `loops`, `py`, `c` and `cu`, each whole but for the
        headers it includes (`headers`)."""
        found = {"py": f"{numpy_head(self._in_numpy[0])}\n{self.numpy}"}
        if self.nests:
            found["loops"] = self.loops
            found["c"] = "\n".join([*map(include, PRELUDES), "", self.c])
        if self._in_cuda:
            names = dict.fromkeys(name for _, preludes in self._in_cuda for name in preludes)
            found["cu"] = "\n".join([*map(include, names), "", self.cuda])
        return found

    def headers(self) -> dict[str, str]:
        """What the files include, by name."""
        used = set(PRELUDES) if self.nests else set()
        used.update(name for _, preludes in self._in_cuda for name in preludes)
        return {header(name): header_text(name) for name in sorted(used)}


def result_shape(v: Value) -> tuple[int, ...]:
    """The shape of a value, or of the first of several results."""
    return (v.type[0] if v.type.__class__ is tuple else v.type).shape


def _titled(results: list[str]) -> str:
    """An identifier for a kernel: its results."""
    more = f"_and_{len(results) - 1}_more" if len(results) > 1 else ""
    return identifier(f"{results[0].removeprefix('new_')}{more}_kernel")


def _written(
    kernel: CudaKernel, facts: Facts, names: Mapping[str, str], title: str
) -> tuple[str, tuple[str, ...]]:
    """A kernel in CUDA C under readable names, with its launches above it; and its preludes."""
    functions = {launch.function for launch in kernel.launches} | {kernel.name}
    titles = {name: name.replace(kernel.name, title) for name in functions}
    for launch in kernel.launches:
        grid, block = (" x ".join(map(str, n)) for n in (launch.grid, launch.block))
        facts.more.append(f"{titles[launch.function]}: grid {grid}, block {block}")
    if kernel.scratch:
        facts.more.append(f"{quantity(kernel.scratch, 'B')} of scratch memory between the launches")
    head = commented(facts.text(), "c")
    text = folded(dressed(kernel.text, {**names, **titles}), "c")
    return f"{head}\n{text}", kernel.preludes


def _belongs(v: Value) -> bool:
    """Whether a value outside of a kernel is shown with it: constants, views of what it reads."""
    if v.op is None:
        return False
    return v.op.kind == "constant" or (v.op.view and v.op.name not in ("get", "replaced"))


def user_lines(values: list[Value]) -> list[tuple[str, str]]:
    """The lines that values come from, each once: (file:line, text)."""
    lines = {line_of(v.origin, short=True): words_of(v.origin) for v in values}
    found = [(place, text) for place, text in lines.items() if place]
    if len(found) > LINES:
        found[LINES:] = [(f"and {len(found) - LINES} lines more", "")]
    return found
