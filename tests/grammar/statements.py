"""Statements: new names, reads, blocks, flags, backward and mistakes; and whole programs."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace

from .base import FAMILIES, MAX_NAMES, MAX_TOP, Statement
from .creation import Creation
from .model import BOOL, INEXACT, Store, Track, Var, broadcast


class Program(Creation):
    """Writes one program, statement by statement."""

    def statements(self) -> list[Statement]:
        return [
            *super().statements(),
            ("core", 5, self.make),
            ("core", 26, self.calculate),
            ("core", 10, self.alias),
            ("core", 14, self.write),
            ("core", 8, self.write_item),
            ("core", 3, self.write_mask),
            ("core", 2, self.write_positions),
            ("core", 7, self.read),
            ("core", 4, self.export),
            ("core", 4, self.write_array),
            ("core", 1, self.reshape_in_place),
            ("core", 5, self.flags),
            ("core", 5, self.quiet_block),
            ("core", 3, self.branch),
            ("core", 2, self.loop),
            ("core", 10, self.backward),
            ("core", 3, self.gradient),
            ("core", 3, self.use_grad),
            ("core", 1, self.point_elsewhere),
            ("core", 2, self.unpack),
            ("core", 2, self.write_out),
            ("core", 1, self.swap),
            ("core", 2, self.draw),
        ]

    def write_program(self, length: int) -> list[str]:
        self.create()
        self.create()
        self.create(leaf=self.chance(0.7))
        often = {"core": 1} | {family: 3 for family in FAMILIES if self.chance(0.3)}
        drawn = [(n * often[f], make) for f, n, make in self.statements() if f in often]
        weights, makers = zip(*drawn)
        while len(self.lines) < length:
            before = len(self.lines)
            self.choose.choices(makers, weights)[0]()
            if len(self.names) > MAX_NAMES or (len(self.lines) > before and self.chance(0.04)):
                self.forget()
        return self.lines

    def forget(self) -> None:
        name = self.pick(list(self.names))
        if len(self.names) > 2:
            del self.names[name]
            self.emit(f"del {name}")

    # New names

    def make(self) -> None:
        self.create()

    def calculate(self) -> None:
        var = self.compute(self.operand())
        if var is not None:
            self.bind(var)

    def alias(self) -> None:
        v = self.view_of(self.some() or self.create())
        if self.chance(0.25):
            v = self.view_of(v)
        if self.chance(0.07):
            v = self.some() or v
            if v.text in self.names:
                name = self.name()
                self.emit(f"{name} = {v.text}")
                self.names[name] = replace(v, text=name)
                return
        self.bind(v)

    def unpack(self) -> None:
        """Several names from one tensor."""
        v = self.some(lambda v: v.array.ndim > 0 and v.shape[0] == 2)
        if v is None or self.fixed:
            return
        first, second = self.name(), self.name()
        how, rows = self.pick(
            [
                (".unbind(0)", (v.array[0, ...], v.array[1, ...])),
                ("", (v.array[0, ...], v.array[1, ...])),
                (".split(1)", (v.array[:1], v.array[1:])),
                (".chunk(2)", (v.array[:1], v.array[1:])),
            ]
        )
        self.emit(f"{first}, {second} = {v.text}{how}")
        for name, array in zip((first, second), rows):
            self.names[name] = v.view(name, array, guarded=True)

    # Reads

    def read(self) -> None:
        v = self.operand()
        if v.dtype == BOOL:
            self.emit(f"out.append({v.text}.{self.pick(['tolist()', 'any().item()'])})")
            return
        options = [
            f"out.append({v.text}.tolist())",
            f"out.append({v.text}.sum().item())",
            f"out.append(float({v.text}.sum()))",
            f"out.append(bool(({self.mask(v)}).any()))",
            f"out.append({v.text}[{self.mask(v)}].tolist())",
            f"out.append([{v.text}.shape, {v.text}.dtype, {v.text}.requires_grad])",
            f"out.append(np.asarray({v.text}.detach()).sum())",
            f"out.append(int(({self.mask(v)}).sum()))",
            f"out.append(({self.mask(v)}).nonzero().tolist())",
        ]
        if v.array.ndim:
            options.append(f"out.append([float(r.sum()) for r in {v.text}])")
        if v.exact:
            options.append(f"out.append(str({v.text}.detach()))")
            options.append(f"out.append(torch.equal({v.text}, {v.text}.clone()))")
        if v.array.size == 1:
            options.append(f"out.append({v.text}.item())")
        w = self.some(lambda w: w.array.size > 0)
        if w is not None and v.array.size and v.text.isidentifier():
            options.append(f"out.append({v.text}.data_ptr() == {w.text}.data_ptr())")
        self.emit(self.pick(options))

    # Grad mode, flags, control flow

    def flags(self) -> None:
        v = self.some(lambda v: v.is_float and v.text in self.names)
        if v is None or self.fixed:
            return
        if v.needs and not v.track.leaf:
            how = self.choose.random()
            if how < 0.7 and (v.is_view or v.track.counter.value):
                return  # PyTorch 2.13.0 can crash on a hook of a view of rewritten history
            if how < 0.3:
                self.emit(f"{v.text}.retain_grad()")
            elif how < 0.7:
                self.emit(f"{v.text}.register_hook(lambda g: g * 2)")
            elif not self.alone(v):
                return
            elif how < 0.9:
                made = self.compute(v)  # a new one: PyTorch refuses a backward that saved it
                # A product of stacks may be a view of a transposed product, where that is no copy.
                product = made is not None and ("matmul" in made.text or "@" in made.text)
                if made is not None and not made.is_view and not product:
                    self.bind(made)
                    self.emit(f"{made.text}.detach_()")
                    made.track = Track()
            else:
                self.emit(f"{v.text}.requires_grad_(False)")
        elif not self.alone(v):
            return
        elif v.needs:
            self.emit(f"{v.text}.requires_grad_(False)")
            v.track.needs = False
        elif self.chance(0.7):
            self.emit(f"{v.text}.requires_grad_()")
            v.track = Track(counter=v.track.counter, needs=True)
        else:
            name = self.name()
            self.emit(f"{name} = copy.deepcopy({v.text})")
            self.names[name] = Var(
                name, v.array.copy(), v.dtype, Store(v.store.top, v.store.frac), Track()
            )

    def alone(self, v: Var) -> bool:
        """Whether no other name shares v's memory. What PyTorch makes of a view whose base begins
        or ceases to require a gradient follows from no rule of its documentation."""
        return all(o is v or o.store is not v.store for o in self.names.values())

    def block(self, header: str, makers: list[Callable[[], object]], count: int) -> None:
        """Statements under a header; nothing where they come out empty."""
        outer, self.lines = self.lines, []
        for _ in range(count):
            self.pick(makers)()
        inner, self.lines = self.lines, outer
        if inner:
            body = "\n".join("    " + line.replace("\n", "\n    ") for line in inner)
            self.emit(f"{header}\n{body}")

    def quiet_block(self) -> None:
        if not self.recording:
            return
        self.recording = False
        makers: list[Callable[[], object]] = [self.write, self.write_item, self.write_mask]
        if not self.fixed:
            makers += [self.calculate, self.alias]
        self.block("with torch.no_grad():", makers, self.choose.randrange(1, 3))
        self.recording = True

    def branch(self) -> None:
        v = self.some(lambda v: v.dtype != BOOL and v.array.size > 0)
        if v is None or self.fixed:
            return
        self.fixed = True
        header = f"if ({self.mask(v)}).any():"
        if v.exact and self.chance(0.5):
            header = f"if {v.text}.sum() > 0.3:"
        self.block(header, [self.write, self.write_item, self.read], self.choose.randrange(1, 3))
        self.fixed = False

    def loop(self) -> None:
        v = self.target()
        if v.dtype == BOOL or self.fixed:
            return
        if v.array.ndim and self.chance(0.5):
            top = max(v.store.top, 2) + 2
            if top > MAX_TOP:
                return
            self.emit(f"for i in range({v.shape[0]}):\n    {v.text}[i] += i")
            self.written(v, top, v.store.frac, (v,))
        elif v.is_float and v.text.isidentifier() and v.store.top < MAX_TOP - 1:
            self.emit(f"for i in range(3):\n    {v.text} = {v.text} * 0.5 + i")
            new = self.result(v.text, v.shape, v.dtype, max(v.store.top, 3), v.store.frac + 4, (v,))
            self.names[v.text] = new
        elif v.array.ndim and v.store.top < MAX_TOP - 1:
            self.emit(f"for row in {v.text}:\n    row.mul_(-1)")
            self.written(v, v.store.top, v.store.frac, (v,))

    # Autograd

    def root(self) -> Var | None:
        """A tensor whose backward should work, seldom another one."""
        risky = self.chance(0.15)
        return self.some(lambda v: v.needs and (risky or v.track.works()))

    def backward(self) -> None:
        v = self.root()
        if v is None or self.fixed:
            return
        w = self.partner(v)
        keep = "retain_graph=True" if self.chance(0.3) else ""
        if not v.array.ndim and self.chance(0.6):
            text = f"{v.text}.backward({keep})"
        elif w is not None and w.is_float and (not w.needs or w.track.works()) and self.chance(0.5):
            text = f"({v.text} * {w.text}).sum().backward({keep})"
            if w.needs and not keep:
                w.track.free()
        elif self.chance(0.3):
            args = f"torch.ones_like({v.text})" + (", " + keep if keep else "")
            text = f"{v.text}.backward({args})"
        else:
            text = f"{v.text}.sum().backward({keep})"
        self.emit(text)
        if not keep:
            v.track.free()

    def gradient(self) -> None:
        """`torch.autograd.grad`, also of a graph that goes on."""
        v = self.root()
        if v is None or self.fixed or v.store.top > 4:
            return

        def fits(w: Var) -> bool:
            return w.needs and w.track.works() and broadcast(v.shape, w.shape) is not None

        w = self.some(fits)
        if w is None or w.text not in self.names or v.dtype != w.dtype or w.guarded:
            return  # one of several outputs: PyTorch walks to all of them
        if any(step.freed for step in v.track.history):
            return  # lazyt remembers of a freed graph only which leaves all of it led to
        more = self.chance(0.6)
        args = ", create_graph=True" if more else ""
        text = f"torch.autograd.grad(({v.text} * {w.text} * {w.text}).sum(), [{w.text}]{args})[0]"
        top = v.store.top + w.store.top + 5
        if top > MAX_TOP:
            return
        var = self.result(text, w.shape, w.dtype, top, INEXACT, (v, w), (v, w))
        var.loose = len(w.shape) > 1  # gradients lie as PyTorch's kernels left them
        if not more:
            v.track.free()
            w.track.free()
            var.track = Track()
        var.track.inner = True
        self.bind(var)

    def use_grad(self) -> None:
        v = self.some(lambda v: v.needs and v.track.leaf)
        if v is None:
            return
        g = f"{v.text}.grad"
        options = [
            f"out.append(None if {g} is None else {g}.tolist())",
            f"{g} = None",
            f"if {g} is not None:\n    {g}.zero_()",
            f"if {g} is not None:\n    with torch.no_grad():\n        {v.text} -= 0.25 * {g}",
            f"if {g} is not None:\n    {v.text}.data.sub_({g}, alpha=0.25)",
            f"if {g} is not None:\n    {g}.mul_(0.5)",
            f"if {g} is not None:\n    {v.text}.data.clamp_(-2, 2)",
        ]
        text = self.pick(options)
        if ".data" in text and v.store.mixed:
            return
        if "-=" in text and not v.text.isidentifier():
            return
        self.emit(text)
        if ".data" in text or "-=" in text:
            v.store.absorb(MAX_TOP - 1, INEXACT)
            if "-=" in text:
                v.track.counter.value += 1


def generate(choose: random.Random, length: int | None = None) -> list[str]:
    """A random program of about so many statements."""
    return Program(choose).write_program(length or choose.randrange(8, 45))
