"""Choices and bookkeeping: what every part of the grammar uses."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import numpy as np

from .model import BOOL, CATEGORY, F32, F64, I64, INEXACT, Step, Store, Track, Var, empty

SHAPES: list[tuple[int, ...]] = [
    *[(), (1,), (2,), (3,), (3,), (4,), (6,), (0,)],
    *[(2, 3), (2, 3), (3, 2), (1, 3), (3, 1), (2, 2), (3, 3), (4, 2), (2, 0)],
    *[(2, 1, 3), (2, 2, 3), (1, 2, 2), (3, 1, 2)],
]
MAX_TOP = 10  # no value grows beyond 2**10
MAX_NAMES = 14
# Beside the core each program draws on some of the other families of statements.
FAMILIES = [
    "creation",
    "functions",
    "products",
    "functional",
    "modules",
    "training",
    "transforms",
    "mistakes",
]
Statement = tuple[str, int, Callable[[], object]]  # its family, how often it is drawn, its maker


class Base:
    """A program being written: its lines so far, and what is known of its names."""

    def __init__(self, choose: random.Random) -> None:
        self.choose = choose
        self.single = choose.random() < 0.35  # float32 tensors too; the comparison is then looser
        self.lines: list[str] = []
        self.names: dict[str, Var] = {}
        self.arrays: dict[str, Var] = {}
        self.count = 0
        self.recording = True  # grad mode
        self.fixed = False  # in a block that may not run: no new names, no new shapes

    def statements(self) -> list[Statement]:
        """The kinds of statements that the grammar can draw; each family adds its own."""
        return []

    # Choices

    def chance(self, p: float) -> bool:
        return self.choose.random() < p

    def pick(self, items: Any) -> Any:
        return self.choose.choice(items)

    def name(self, letter: str = "x") -> str:
        self.count += 1
        return f"{letter}{self.count - 1}"

    def emit(self, line: str) -> None:
        self.lines.append(line)

    def some(self, test: Callable[[Var], bool] = lambda v: True) -> Var | None:
        found = [v for v in self.names.values() if test(v)]
        if not found:
            return None
        # Late names more often: programs are then chains rather than heaps.
        return found[-1 - min(int(self.choose.random() ** 1.5 * len(found)), len(found) - 1)]

    def number(self, dtype: str) -> str:
        if dtype == BOOL:
            return self.pick(["True", "False"])
        if dtype == I64:
            return str(self.choose.randrange(-3, 4))
        return self.pick(["0.5", "-0.5", "2", "-1", "1.5", "0.25", "-2.0", "0", "1", "3"])

    # Bookkeeping

    def result(
        self,
        text: str,
        shape: tuple[int, ...],
        dtype: str,
        top: int,
        frac: int,
        parents: tuple[Var, ...] = (),
        saves: tuple[Var, ...] = (),
        saves_result: bool = False,
    ) -> Var:
        """A new tensor computed from parents; remembers what its backward will need."""
        var = Var(text, empty(shape), dtype, Store(top, frac), Track())
        var.loose = len(shape) > 1 and any(p.loose for p in parents)
        var.scrambled = len(shape) > 1 and any(p.permuted for p in parents)
        self.record(var, parents, saves, saves_result)
        return var

    def mix(self, parents: tuple[Var, ...]) -> None:
        """Remember that a composition's backward reads its operands."""
        for parent in parents:
            parent.store.mixed = True

    def record(
        self, var: Var, parents: tuple[Var, ...], saves: tuple[Var, ...], saves_result: bool
    ) -> None:
        tracked = [p for p in parents if p.needs]
        if not (self.recording and tracked and var.is_float):
            return
        step = Step([(v.track.counter, v.track.counter.value) for v in saves])
        if saves_result:
            step.saved.append((var.track.counter, var.track.counter.value))
        var.track.needs, var.track.leaf = True, False
        var.track.history |= {step}.union(*(p.track.history for p in tracked))

    def bind(self, var: Var) -> Var:
        """`name = expression`."""
        name = self.name()
        self.emit(f"{name} = {var.text}")
        var.text = name
        self.names[name] = var
        return var

    def written(
        self, var: Var, top: int, frac: int, parents: tuple[Var, ...] = (), saves_result=False
    ) -> None:
        """Account for an in-place write."""
        var.store.absorb(top, frac)
        var.track.counter.value += 1
        if var.is_float and any(p.needs for p in parents):
            self.record(var, (var, *parents), tuple(p for p in parents if p.needs), saves_result)

    # Tensors from nothing

    def literal(self, shape: tuple[int, ...], dtype: str) -> str:
        count = int(np.prod(shape))
        flat: list[Any]
        if dtype == BOOL:
            flat = [self.choose.randrange(2) == 1 for _ in range(count)]
        elif dtype == I64:
            flat = [self.choose.randrange(-4, 5) for _ in range(count)]
        elif self.chance(0.5):  # few values, so that maxima tie and kinks are hit
            flat = [self.pick([-1.0, 0.0, 0.5, 1.0]) for _ in range(count)]
        else:
            flat = [self.choose.randrange(-8, 9) / 4 for _ in range(count)]
        return str(np.array(flat, object).reshape(shape).tolist())

    def create(self, leaf: bool = False) -> Var:
        """A new tensor; with `leaf`, one that backward leaves a gradient in."""
        dtypes = [F64] * 6 + [I64] * 2 + [BOOL] + [F32] * (4 if self.single else 0)
        dtype, shape = self.pick([F64] if leaf else dtypes), self.pick(SHAPES)
        how = self.choose.random()
        kind = f"dtype=torch.{dtype}"
        needs = leaf or (CATEGORY[dtype] == 2 and self.chance(0.45))
        grad = ", requires_grad=True" if needs else ""
        top, frac = (2, 2) if CATEGORY[dtype] == 2 else (3, 0)
        size = int(np.prod(shape))
        if how < 0.7 or dtype == BOOL:
            text = f"torch.tensor({self.literal(shape, dtype)}, {kind}{grad})"
        elif how < 0.8:
            text = f"torch.{self.pick(['zeros', 'ones'])}({shape}, {kind}{grad})"
        elif how < 0.9 or dtype == I64:
            text = f"torch.arange({size}, {kind}).view({shape})"
            grad = ""
        else:
            text = f"torch.rand({shape}, {kind}{grad})"
            frac = INEXACT
        var = self.result(text, shape, dtype, top, frac)
        var.track.needs = bool(grad)
        var.is_view = ".view(" in text
        return self.bind(var)
