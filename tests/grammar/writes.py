"""Writes: in-place methods, item and mask assignment, out=, NumPy arrays that share memory."""

from __future__ import annotations

import numpy as np

from .base import MAX_TOP, SHAPES
from .expressions import Expressions
from .model import BOOL, CATEGORY, F32, F64, I64, INEXACT, Store, Track, Var, broadcast


class Writes(Expressions):
    """Adds statements that write."""

    def target(self) -> Var:
        """A tensor to write to, seldom one that refuses."""
        for _ in range(20):
            v = self.some() or self.create()
            if self.chance(0.4):
                v = self.view_of(v)
                if self.chance(0.2):
                    v = self.view_of(v)
            refuses = (
                (v.needs and v.track.leaf and self.recording)
                or v.overlaps
                or (v.guarded and v.needs)
            )
            if v.crosses:
                # PyTorch leaves undefined what an in-place operation makes of such windows.
                continue
            if not refuses or self.chance(0.03):
                return v
        return self.create()

    def write(self) -> None:
        """An in-place method or an augmented assignment."""
        v = self.target()
        t, top, frac = v.text, v.store.top, v.store.frac
        if v.dtype == BOOL:
            self.emit(self.pick([f"{t}.logical_not_()", f"{t}.fill_(True)", f"{t}.zero_()"]))
            self.written(v, 0, 0)
            return
        c = self.number(v.dtype)
        options = [
            (f"{t}.add_({c})", max(top, 2) + 1, max(frac, 2)),
            (f"{t}.sub_({c})", max(top, 2) + 1, max(frac, 2)),
            (f"{t}.mul_({c})", top + 2, frac + 2),
            (f"{t}.neg_()", top, frac),
            (f"{t}.fill_({c})", 2, 2),
            (f"{t}.zero_()", 0, 0),
        ]
        if v.is_float:
            options += [
                (f"{t}.sin_()", 0, INEXACT),
                (f"{t}.tanh_()", 0, INEXACT),
                (f"{t}.sigmoid_()", 0, INEXACT),
                (f"{t}.div_(2)", top, frac + 1),
            ]
            if v.exact:
                options += [
                    (f"{t}.clamp_(-2, 2)", top, frac),
                    (f"{t}.relu_()", top, frac),
                    (f"{t}.abs_()", top, frac),
                ]
        if v.text.isidentifier():
            options.append((f"{t} *= {c}", top + 2, frac + 2))
            options.append((f"{t} += {c}", max(top, 2) + 1, max(frac, 2)))
        w = self.source(v)
        parents: tuple[Var, ...] = (v,)
        if w is not None and self.chance(0.6):
            parents = (v, w)
            both = (max(top, w.store.top), max(frac, w.store.frac))
            product = (top + w.store.top, frac + w.store.frac)
            options = [
                (f"{t}.add_({w.text})", both[0] + 1, both[1]),
                (f"{t}.copy_({w.text})", *both),
                (f"{t}.mul_({w.text})", *product),
                (f"{t}.add_({w.text}, alpha=2)", both[0] + 2, both[1]),
            ]
            if w.dtype != BOOL:
                options.append((f"{t}.sub_({w.text})", both[0] + 1, both[1]))
            if v.is_float and w.is_float and v.dtype == w.dtype:
                options.append((f"{t}.lerp_({w.text}, 0.5)", both[0] + 1, INEXACT))
                options.append((f"{t}.addcmul_({w.text}, {w.text})", 2 * both[0] + 1, INEXACT))
            if v.text.isidentifier():
                options.append((f"{t} += {w.text}", both[0] + 1, both[1]))
                options.append((f"{t} *= {w.text}", *product))
        fitting = [o for o in options if o[1] <= MAX_TOP or (v.dtype == I64 and o[1] < 40)]
        if not fitting:
            return
        text, top, frac = self.pick(fitting)
        self.emit(text)
        self.written(v, top, 0 if v.dtype == I64 else min(frac, INEXACT), parents)

    def source(self, v: Var) -> Var | None:
        """A tensor that can be written into v: shape and dtype fit, memory is not the same."""

        def fits(w: Var) -> bool:
            return (
                broadcast(v.shape, w.shape) == v.shape
                and CATEGORY[w.dtype] <= CATEGORY[v.dtype]
                and (w.store is not v.store or self.chance(0.1) and ordered(w))
            )

        def ordered(w: Var) -> bool:
            # Elements that are read after they were written: PyTorch refuses it where it notices.
            same = np.shares_memory(v.array, w.array) and v.array.size
            known = v.memory is w.memory and not v.scrambled
            dense = known and all(a.flags.forc for a in (v.array, w.array))
            plain = v.array.size > 1 and 1 not in v.shape  # an extent of 1 may have any stride
            return not same or (dense and plain) or v.text == w.text

        w = self.some(fits)
        if w is not None and self.chance(0.25):
            u = self.view_of(w)
            return u if fits(u) else w
        return w

    def write_item(self) -> None:
        """`x[index] = value`, `x[index] += value`, with a basic index."""
        v = self.target()
        if not v.array.ndim:
            return
        text, key = self.index(v.shape)
        region = v.view(f"{v.text}[{text}]", v.array[key])
        w = self.source(region) if self.chance(0.6) else None
        value = w.text if w else self.number(v.dtype)
        top = max(v.store.top, w.store.top if w else 2)
        frac = max(v.store.frac, w.store.frac if w else 2)
        op = "="
        if v.dtype != BOOL and self.chance(0.35):
            op = self.pick(["+=", "-=", "*="])
            if w is not None and w.dtype == BOOL:
                op = "="
        if op == "*=":
            top, frac = 2 * top, 2 * frac
        elif op != "=":
            top += 1
        if top > MAX_TOP:
            return
        if w is not None and self.chance(0.2) and op == "=" and w.dtype == v.dtype != BOOL:
            value = f"{value} + 1"
            top += 1
        self.emit(f"{region.text} {op} {value}")
        frac = 0 if v.dtype == I64 else min(frac, INEXACT)
        self.written(v, top, frac, (v, w) if w else (v,))

    def write_mask(self) -> None:
        v = self.target()
        if v.dtype == BOOL or not v.array.ndim or v.overlaps:
            return
        m = self.some(lambda m: m.dtype == BOOL and m.shape == v.shape)
        condition = m.text if m else self.mask(v)
        c = self.number(v.dtype)
        text = self.pick(
            [
                f"{v.text}[{condition}] = {c}",
                f"{v.text}.masked_fill_({condition}, {c})",
                f"{v.text}[{condition}] *= -1",
                f"{v.text}[{condition}] += {c}",
            ]
        )
        self.emit(text)
        self.written(v, max(v.store.top, 2) + 1, max(v.store.frac, 2 * v.is_float), (v,))

    def write_positions(self) -> None:
        """Advanced indices on the left, repeated ones where every order gives the same."""
        v = self.target()
        if v.dtype == BOOL or not v.array.ndim or not v.shape[0] or v.overlaps:
            return  # PyTorch warns that such writes to expanded tensors will not stay
        c = self.number(v.dtype)
        once, often = self.positions(v.shape[0], distinct=True), self.positions(v.shape[0])
        row = v.view("", v.array[once])
        # Not a value in the memory that is written: PyTorch leaves the order undefined.
        w = self.some(
            lambda w: (
                broadcast(row.shape, w.shape) == row.shape
                and w.dtype == v.dtype
                and w.store is not v.store
            )
        )
        positive = [i % v.shape[0] for i in often]
        options = [
            f"{v.text}[{once}] = {c}",
            f"{v.text}[torch.tensor({often})] = {c}",
            f"{v.text}[{often}] += {c}",
            f"{v.text}.index_fill_(0, torch.tensor({positive}), {c})",
            f"{v.text}[torch.tensor({once}), ...] = {c}",
        ]
        parents: tuple[Var, ...] = (v,)
        top, frac = max(v.store.top, 2) + 1, max(v.store.frac, 2 * v.is_float)
        if w is not None and self.chance(0.6):
            parents = (v, w)
            top, frac = max(top, w.store.top + 1), max(frac, w.store.frac)
            options = [
                f"{v.text}[{once}] = {w.text}",
                f"{v.text}[torch.tensor({once})] += {w.text}",
                f"{v.text}[{once}] = {w.text} * 0.5" if v.is_float else f"{v.text}[{once}] = 1",
            ]
            if w.shape == row.shape:
                some = [i % v.shape[0] for i in once]
                options.append(f"{v.text}.index_add_(0, torch.tensor({some}), {w.text})")
            frac = min(frac + 1, INEXACT) if v.is_float else 0
        if top > MAX_TOP:
            return
        self.emit(self.pick(options))
        self.written(v, top, frac, parents)

    def write_out(self) -> None:
        """`out=` of a function: a tensor of the result's shape, without gradients."""
        v = self.some(lambda v: v.is_float and not v.needs and not v.overlaps and not v.crosses)
        w = v and self.some(
            lambda w: (
                (w is v or w.store is not v.store)
                and w.shape == v.shape
                and w.dtype == v.dtype
                and not w.needs
            )
        )
        if v is None or w is None or w.store.top + 2 > MAX_TOP:
            return
        text, top, frac = self.pick(
            [
                (f"torch.add({w.text}, 1, out={v.text})", w.store.top + 1, w.store.frac),
                (f"torch.mul({w.text}, 2, out={v.text})", w.store.top + 1, w.store.frac),
                (f"torch.sin({w.text}, out={v.text})", 0, INEXACT),
                (f"torch.neg({w.text}, out={v.text})", w.store.top, w.store.frac),
            ]
        )
        self.emit(text)
        self.written(v, top, frac)

    def swap(self) -> None:
        """Assignments that read what they are about to write."""
        v = self.target()
        if not v.array.ndim or v.shape[0] < 2 or v.dtype == BOOL or v.overlaps or v.loose:
            return
        t = v.text
        text = self.pick(
            [
                f"{t}[0], {t}[1] = {t}[1], {t}[0]",
                f"{t}[[0, 1]] = {t}[[1, 0]]",
                f"{t}[1:] = {t}[:-1] + 1",
                f"{t}[1:] = {t}[:-1]",
                f"{t}.copy_({t}.flip(0))",
                f"{t}[0], {t}[-1] = {t}[-1].clone(), {t}[0].clone()",
            ]
        )
        if v.store.top + 1 <= MAX_TOP:
            self.emit(text)
            self.written(v, v.store.top + 1, v.store.frac, (v,))

    def draw(self) -> None:
        """Random numbers, into a tensor or a new one; the seed set again."""
        if self.chance(0.25):
            self.emit(f"torch.manual_seed({self.choose.randrange(5)})")
            return
        if self.chance(0.4) and not self.fixed:
            shape = self.pick(SHAPES)
            options = [
                (f"torch.randn({shape}, dtype=torch.float64)", F64, 4, INEXACT),
                (f"torch.randint(-3, 4, {shape})", I64, 3, 0),
            ]
            if len(shape) == 1:
                options.append((f"torch.randperm({shape[0]})", I64, 3, 0))
            text, dtype, top, frac = self.pick(options)
            self.bind(self.result(text, shape, dtype, top, frac))
            return
        v = self.target()
        if not v.is_float or v.loose:
            return  # PyTorch fills memory in its own order
        how = self.pick(["uniform_()", "uniform_(-1, 1)", "normal_()"])
        self.emit(f"{v.text}.{how}")
        self.written(v, 4, INEXACT)

    def reshape_in_place(self) -> None:
        """Methods that change the tensor's own shape: t_, unsqueeze_, squeeze_, transpose_."""
        v = self.some(
            lambda v: (
                v.array.ndim > 0
                and not (v.needs and (v.track.leaf or v.is_view))
                and f"{v.text}.requires_grad_(False)" not in self.lines  # a leaf's shape stays
            )
        )
        if v is None or self.fixed:
            # Not views with a gradient: PyTorch takes one whose history is outdated for a leaf.
            return
        n = v.array.ndim
        options = [(f"{v.text}.squeeze_()", v.array.squeeze())]
        if n < 3:
            options.append((f"{v.text}.unsqueeze_(0)", v.array[None]))
        if n == 2:
            options.append((f"{v.text}.t_()", v.array.T))
        if n >= 2:
            options.append((f"{v.text}.transpose_(0, -1)", v.array.swapaxes(0, -1)))
        text, v.array = self.pick(options)
        self.emit(text)

    def point_elsewhere(self) -> None:
        """`x.data = y`: the handle moves to other memory, its old views stay."""
        # Other data for a leaf. What a backward that saved anything else reads after this depends
        # on whether it saved the tensor or its memory.
        v = self.some(lambda v: v.needs and v.track.leaf and not v.is_view)
        w = self.some(lambda w: v is not None and w.dtype == v.dtype and w.shape == v.shape)
        if v is None or w is None or v is w or v.store.mixed or self.fixed or not self.alone(v):
            return  # old views keep their base and its version counter, but not its memory
        how = self.pick(["", ".clone()"])
        self.emit(f"{v.text}.data = {w.text}{how}")
        v.array, v.store = w.array, Store(w.store.top, w.store.frac)
        v.loose, v.memory = w.loose, object() if how else w.memory
        w.store.absorb(MAX_TOP, INEXACT)
        v.store = w.store

    # NumPy

    def export(self) -> None:
        """An array that shares memory with a tensor, from either side."""
        if self.fixed:
            return
        if self.arrays and self.chance(0.4):
            source = self.pick(list(self.arrays.values()))
            whole = self.chance(0.6) or not source.array.ndim
            var = Var(
                f"torch.from_numpy({source.text}{'' if whole else '[1:]'})",
                source.array if whole else source.array[1:],
                source.dtype,
                source.store,
                Track(),
                loose=source.loose,
            )
            self.bind(var)
            return
        name = self.name("n")
        if self.chance(0.25):
            shape = self.pick([(3,), (2, 3), (4,), (2, 2)])
            v = self.result("", shape, F64, 2, 2)
            self.emit(f"{name} = np.array({self.literal(shape, F64)})")
        else:
            v = self.some(lambda v: v.dtype != F32 or self.single) or self.create()
            if self.chance(0.3):
                v = self.view_of(v)
            detached = ".detach()" if v.needs or self.chance(0.1) else ""
            if self.chance(0.2) and not v.overlaps:
                self.emit(f"{name} = np.asarray({v.text}{detached})")
            else:
                self.emit(f"{name} = {v.text}{detached}.numpy()")
        self.arrays[name] = Var(name, v.array, v.dtype, v.store, Track(), loose=v.loose)

    def write_array(self) -> None:
        if not self.arrays:
            return
        name = self.pick(list(self.arrays))
        n = self.arrays[name]
        if self.chance(0.15) and not self.fixed:
            del self.arrays[name]
            self.emit(f"del {name}")
            return
        if self.chance(0.3):
            self.emit(f"out.append({name}.tolist())")
            return
        if n.overlaps or n.crosses:
            return
        if n.dtype == BOOL:
            self.emit(f"{name}[...] = {self.number(BOOL)}")
            return
        c = self.number(n.dtype)
        options = [f"{name}[...] = {c}", f"{name}[...] += {c}", f"{name}[...] *= -1"]
        if n.array.ndim and n.shape[0]:
            options += [f"{name}[0] = {c}", f"{name}[-1] -= {c}", f"{name}[::2] = {c}"]
        if n.store.top >= MAX_TOP:
            options = options[:1]
        self.emit(self.pick(options))
        n.store.absorb(min(max(n.store.top, 2) + 1, MAX_TOP), 2 if CATEGORY[n.dtype] == 2 else 0)
