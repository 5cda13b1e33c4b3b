"""Expressions: computations on tensors, with what their backward will need."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from .base import MAX_TOP
from .model import BOOL, CATEGORY, F32, F64, I64, INEXACT, Var, broadcast, promote, reshaped
from .views import Views


class Expressions(Views):
    """Adds computations to the grammar."""

    def operand(self, test: Callable[[Var], bool] = lambda v: True, depth: int = 1) -> Var:
        """A tensor to compute with: a name, a view of one, or a small expression."""
        v = self.some(test) or self.create()
        if depth and self.chance(0.3):
            w = self.view_of(v)
            if test(w):
                v = w
        if depth and self.chance(0.3):
            made = self.compute(v, depth - 1)
            if made is not None and test(made):
                v = replace(made, text=f"({made.text})")
        return v

    def partner(self, v: Var, into: bool = False) -> Var | None:
        """A tensor that broadcasts with v (or into v's shape)."""

        def fits(w: Var) -> bool:
            shape = broadcast(v.shape, w.shape)
            return shape is not None and (shape == v.shape or not into)

        w = self.some(fits)
        if w is not None and self.chance(0.25):
            u = self.view_of(w)
            if fits(u):
                w = u
        return w

    def compute(self, v: Var, depth: int = 1) -> Var | None:
        """A random computation on v, as an expression; None where the choice does not fit."""
        kinds = [self._unary] * 4 + [self._binary] * 6 + [self._reduce] * 3 + [self._scalar] * 4
        kinds += [self._matmul, self._matmul, self._advanced, self._join, self._compare]
        kinds += [self._where, self._cast, self._copy, self._flip]
        return self.pick(kinds)(v)

    def _scalar(self, v: Var) -> Var | None:
        if v.dtype == BOOL:
            return None
        c = self.number(v.dtype)
        op = self.pick(["+", "-", "*", "*", "/" if v.dtype != I64 else "+"])
        text = f"{c} {op} {v.text}" if op != "/" and self.chance(0.25) else f"{v.text} {op} {c}"
        if op == "/":
            text = f"{v.text} / 2"
        grows = op == "*" or (op == "/")
        top = v.store.top + 2 if grows else max(v.store.top, 2) + 1
        frac = v.store.frac + 2 if grows else max(v.store.frac, 2)
        if v.dtype == I64:
            frac = 0
        return self.bounded(self.result(text, v.shape, v.dtype, top, frac, (v,)))

    def bounded(self, var: Var) -> Var | None:
        """The result if its values stay small."""
        if var.is_float and var.store.top > MAX_TOP:
            return None
        return var

    def _unary(self, v: Var) -> Var | None:
        if v.dtype == BOOL:
            return self.result(f"~{v.text}", v.shape, BOOL, 0, 0, (v,))
        top, frac, t = v.store.top, v.store.frac, v.text
        if v.dtype == I64:
            text = self.pick([f"-{t}", f"{t}.abs()", f"{t} // 2", f"{t} % 3", f"{t} * {t}"])
            return self.result(text, v.shape, I64, min(2 * top, 40), 0, (v,))
        kinked = v.exact
        options = [
            (f"-{t}", top, frac, (), False),
            (f"{t}.sin()", 0, INEXACT, (v,), False),
            (f"torch.cos({t})", 0, INEXACT, (v,), False),
            (f"{t}.tanh()", 0, INEXACT, (), True),
            (f"torch.sigmoid({t})", 0, INEXACT, (), True),
            (f"{t} ** 2", 2 * top, 2 * frac, (v,), False),
            (f"{t}.pow(3)", 3 * top, 3 * frac, (v,), False),
            (f"({t} * {t} + 1).sqrt()", top + 1, INEXACT, (v,), False),
            (f"1 / ({t} * {t} + 1)", 0, INEXACT, (v,), False),
            (f"({t} * {t} + 1).log()", 5, INEXACT, (v,), False),
        ]
        if top <= 2:
            options.append((f"{t}.exp()", 6, INEXACT, (), True))
        if v.array.ndim:
            options.append((f"torch.softmax({t}, -1)", 0, INEXACT, (), True))
            options.append((f"{t}.cumsum(0)", top + 3, frac, (), False))
        if kinked:
            options += [
                (f"{t}.abs()", top, frac, (v,), False),
                (f"torch.relu({t})", top, frac, (), True),
                (f"{t}.clamp(-1, 1.5)", top, frac, (v,), False),
                (f"{t}.clamp(min=0.5)", max(top, 0), frac, (v,), False),
                (f"{t}.floor()", top, 0, (), False),
            ]
        text, top, frac, saves, keeps = self.pick(options)
        made = self.result(text, v.shape, v.dtype, top, min(frac, INEXACT), (v,), saves, keeps)
        return self.bounded(made)

    def _binary(self, v: Var) -> Var | None:
        w = self.partner(v)
        if w is None:
            return None
        if self.chance(0.3):
            v, w = w, v
        shape = broadcast(v.shape, w.shape)
        if shape is None or len(shape) > 4:
            return None
        a, b = v.text, w.text
        if v.dtype == BOOL and w.dtype == BOOL:
            return self.result(f"{a} {self.pick('&|^')} {b}", shape, BOOL, 0, 0, (v, w))
        dtype = promote(v, w)
        top, frac = max(v.store.top, w.store.top), max(v.store.frac, w.store.frac)
        saves = tuple(x for x, y in ((v, w), (w, v)) if y.needs)
        more, fine = v.store.top + w.store.top, min(v.store.frac + w.store.frac, INEXACT)
        options = [
            (f"{a} + {b}", top + 1, frac, ()),
            (f"{a} * {b}", more, fine, saves),
            (f"{a} * {b}", more, fine, saves),
            (f"torch.add({a}, {b}, alpha=2)", top + 2, frac, ()),
        ]
        if BOOL not in (v.dtype, w.dtype):
            options.append((f"{a} - {b}", top + 1, frac, ()))
        if CATEGORY[dtype] == 2:
            options.append((f"{a} / ({b} * {b} + 1)", v.store.top, INEXACT, (v, w)))
            if v.exact and w.exact:
                options.append((f"torch.maximum({a}, {b})", top, frac, (v, w)))
                options.append((f"torch.minimum({a}, {b})", top, frac, (v, w)))
        text, top, frac, saves = self.pick(options)
        if dtype == I64:
            frac = 0
        return self.bounded(self.result(text, shape, dtype, top, frac, (v, w), saves))

    def _reduce(self, v: Var) -> Var | None:
        if v.dtype == BOOL:
            name = self.pick(["any", "all", "sum"])
            dtype, top = (I64, 4) if name == "sum" else (BOOL, 0)
            return self.result(f"{v.text}.{name}()", (), dtype, top, 0)
        top, frac = v.store.top + max(v.array.size, 1).bit_length(), v.store.frac
        d = self.choose.randrange(v.array.ndim) if v.array.ndim and self.chance(0.6) else None
        keep = d is not None and self.chance(0.3)
        if d is None:
            shape: tuple[int, ...] = ()
            args = ""
        else:
            shape = v.shape[:d] + ((1,) if keep else ()) + v.shape[d + 1 :]
            args = f"{d}, keepdim=True" if keep else str(d)
        options: list[tuple[str, int, int, tuple[Var, ...]]] = [("sum", top, frac, ())]
        if v.is_float and v.array.size:
            options.append(("mean", v.store.top, INEXACT, ()))
            if v.exact:
                options.append(("amax", v.store.top, frac, (v,)))
                options.append(("amin", v.store.top, frac, (v,)))
                if d is None:
                    options.append(("max", v.store.top, frac, (v,)))
            if v.store.top <= 2 and v.array.size <= 4:
                options.append(("prod", 8, INEXACT, (v,)))
        name, top, frac, saves = self.pick(options)
        if name == "prod" and d is None:
            args = ""
        text = f"{v.text}.{name}({args})"
        return self.bounded(self.result(text, shape, v.dtype, top, frac, (v,), saves))

    def _matmul(self, v: Var) -> Var | None:
        if not v.is_float or v.array.ndim == 0:
            return None

        def fits(w: Var) -> bool:
            if w.dtype != v.dtype or w.array.ndim == 0:
                return False
            return w.shape[-2 if w.array.ndim > 1 else 0] == v.shape[-1]

        w = self.some(fits)
        if w is None or self.chance(0.2):
            if v.array.ndim != 2:
                return None
            w = v.view(f"{v.text}.t()", v.array.T)
        try:
            shape = np.matmul(v.array, w.array).shape
        except ValueError:
            return None
        top = v.store.top + w.store.top + v.shape[-1].bit_length()
        frac = min(v.store.frac + w.store.frac, INEXACT)
        saves = tuple(x for x, y in ((v, w), (w, v)) if y.needs)
        text = self.pick([f"{v.text} @ {w.text}", f"torch.matmul({v.text}, {w.text})"])
        return self.bounded(self.result(text, shape, v.dtype, top, frac, (v, w), saves))

    def positions(self, n: int, distinct: bool = False) -> list[int]:
        count = self.choose.randrange(1, 4)
        if distinct:
            return self.choose.sample(range(n), min(count, n))
        return [self.choose.randrange(-n, n) for _ in range(count)]

    def _advanced(self, v: Var) -> Var | None:
        if not v.array.ndim or not v.shape[0]:
            return None
        at = self.positions(v.shape[0])
        array = v.array
        options: list[tuple[str, tuple[Any, ...]]] = [
            (f"{v.text}[{at}]", (at, Ellipsis)),
            (f"{v.text}[torch.tensor({at})]", (at, Ellipsis)),
        ]
        positive = [i % v.shape[0] for i in at]
        options.append(
            (f"{v.text}.index_select(0, torch.tensor({positive}))", (positive, Ellipsis))
        )
        if array.ndim <= 2 and array.size:
            rows = [self.choose.randrange(v.shape[0]) for _ in range(array.size)]
            index = np.array(rows).reshape(v.shape).tolist()
            text = f"torch.gather({v.text}, 0, torch.tensor({index}))"
            options.append((text, (slice(None), Ellipsis)))
        if array.ndim >= 2 and array.shape[1]:
            to = [self.choose.randrange(array.shape[1]) for _ in at]
            options.append((f"{v.text}[{at}, {to}]", (at, to, Ellipsis)))
            options.append((f"{v.text}[:, {to}]", (slice(None), to, Ellipsis)))
            options.append((f"{v.text}[{at[0]}, {to}]", (at[0], to, Ellipsis)))
            options.append((f"{v.text}[None, {at}]", (None, at, Ellipsis)))
            options.append((f"{v.text}[{at}, 1:]", (at, slice(1, None), Ellipsis)))
        text, key = self.pick(options)
        return self.result(text, array[key].shape, v.dtype, v.store.top, v.store.frac, (v,))

    def _join(self, v: Var) -> Var | None:
        w = self.some(lambda w: w.shape == v.shape and w.dtype == v.dtype) or v
        top, frac = max(v.store.top, w.store.top), max(v.store.frac, w.store.frac)
        if v.array.ndim == 0 or (v.array.ndim < 3 and self.chance(0.5)):
            shape: tuple[int, ...] = (2, *v.shape)
            text = f"torch.stack([{v.text}, {w.text}])"
        else:
            d = self.choose.randrange(v.array.ndim)
            shape = v.shape[:d] + (2 * v.shape[d],) + v.shape[d + 1 :]
            text = f"torch.cat([{v.text}, {w.text}], {d})"
        if max(shape, default=0) > 8:
            return None
        return self.result(text, shape, v.dtype, top, frac, (v, w))

    def mask(self, v: Var) -> str | None:
        """A condition on v that no rounding can turn."""
        if v.dtype == BOOL:
            return v.text
        return f"{v.text} {self.pick(['>', '<', '>=', '<='])} {self.pick(['0.3', '-0.7', '1.1'])}"

    def _compare(self, v: Var) -> Var | None:
        w = self.partner(v)
        if w is not None and v.exact and w.exact and self.chance(0.5):
            shape = broadcast(v.shape, w.shape)
            if shape is not None and len(shape) <= 4:
                op = self.pick(["==", "!=", ">", "<="])
                return self.result(f"{v.text} {op} {w.text}", shape, BOOL, 0, 0, (v, w))
        if v.dtype == BOOL:
            return None
        return self.result(f"({self.mask(v)})", v.shape, BOOL, 0, 0, (v,))

    def _where(self, v: Var) -> Var | None:
        m = self.some(lambda m: m.dtype == BOOL and broadcast(m.shape, v.shape) is not None)
        condition, shape = (m.text, m.shape) if m else (self.mask(v), v.shape)
        w = self.partner(v)
        if w is None or v.dtype == BOOL or w.dtype == BOOL or self.chance(0.3):
            if v.dtype == BOOL or broadcast(shape, v.shape) is None:
                return None
            if self.chance(0.5) and broadcast(shape, v.shape) == v.shape:
                text = f"{v.text}.masked_fill({condition}, {self.number(I64)})"
            else:
                text = f"torch.where({condition}, {v.text}, {self.number(I64)})"
            shape = broadcast(shape, v.shape) or ()
            top, frac = max(v.store.top, 2), v.store.frac
            return self.result(text, shape, v.dtype, top, frac, (v,))
        full = broadcast(shape, v.shape, w.shape)
        if full is None or len(full) > 4:
            return None
        top, frac = max(v.store.top, w.store.top), max(v.store.frac, w.store.frac)
        text = f"torch.where({condition}, {v.text}, {w.text})"
        return self.result(text, full, promote(v, w), top, frac, (v, w))

    def _cast(self, v: Var) -> Var | None:
        to = self.pick([F64, F64, I64] + ([F32] if self.single else []))
        if to == I64 and not v.exact:
            return None
        text = self.pick([f"{v.text}.to(torch.{to})", f"{v.text}.type(torch.{to})"])
        if to == v.dtype:
            return replace(v, text=text)
        frac = 0 if to == I64 else v.store.frac
        return self.result(text, v.shape, to, v.store.top, frac, (v,))

    def _copy(self, v: Var) -> Var | None:
        if v.scrambled:  # it may be a copy or a view, which PyTorch's layouts decide
            text = f"{v.text}.clone()"
        elif reshaped(v.array, (v.array.size,)) is None and self.chance(0.6):
            text, shape = f"{v.text}.reshape(-1)", (v.array.size,)
            return self.result(text, shape, v.dtype, v.store.top, v.store.frac, (v,))
        elif self.chance(0.3) and not v.loose:
            text = f"{v.text}.contiguous()"
            if v.array.flags.c_contiguous:
                return replace(v, text=text)
        else:
            text = f"{v.text}.clone()"
        return self.result(text, v.shape, v.dtype, v.store.top, v.store.frac, (v,))

    def _flip(self, v: Var) -> Var | None:
        if not v.array.ndim:
            return None
        text = f"{v.text}.flip({self.choose.randrange(v.array.ndim)})"
        if v.array.ndim >= 2 and v.dtype != BOOL and self.chance(0.4):
            text = f"{v.text}.{self.pick(['tril', 'triu'])}()"
        return self.result(text, v.shape, v.dtype, v.store.top, v.store.frac, (v,))
