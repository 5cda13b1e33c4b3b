"""Views: every way to see a tensor's memory in another shape."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .base import SHAPES, Base
from .model import Track, Var, reshaped

Seen = tuple[str, np.ndarray | None] | None  # text, and the array seen that way


class Views(Base):
    """Adds views to the grammar."""

    def index(self, shape: tuple[int, ...]) -> tuple[str, Any]:
        """A basic index for a shape: text and value."""
        parts: list[str] = []
        keys: list[Any] = []
        for n in shape[: self.choose.randrange(1, len(shape) + 1)]:
            if n and self.chance(0.4):
                i = self.choose.randrange(-n, n)
                parts.append(str(i))
                keys.append(i)
                continue
            start = self.choose.randrange(0, n + 1) if self.chance(0.5) else None
            stop = self.choose.randrange(-n, n + 2) if self.chance(0.4) else None
            step = self.pick([None, None, 2, 3])
            keys.append(slice(start, stop, step))
            parts.append(
                ("" if start is None else str(start))
                + (":" if stop is None else f":{stop}")
                + ("" if step is None else f":{step}")
            )
        if self.chance(0.1):
            parts.insert(0, "None")
            keys.insert(0, None)
        if self.chance(0.1):
            parts.append("None")
            keys.append(None)
        if self.chance(0.15) and len(shape) >= len([k for k in keys if k is not None]):
            parts.insert(0, "...")
            keys.insert(0, Ellipsis)
            # Behind an ellipsis the keys stand for the last dimensions.
            try:
                np.empty(shape, np.int8)[tuple(keys)]
            except IndexError:
                parts.pop(0)
                keys.pop(0)
        return ", ".join(parts), tuple(keys)

    def view_of(self, v: Var) -> Var:
        """A random view of a tensor, as an expression."""
        a, t = v.array, v.text
        n = a.ndim
        made_quietly = not self.recording
        options: list[Callable[[], Seen]] = [
            lambda: (f"{t}.detach()", a),
            lambda: (f"{t}.data", a),
            lambda: self._new_dim(t, a),
            lambda: (f"{t}.view({tuple(a.shape)})", a),
            lambda: (f"{t}.reshape(-1)", reshaped(a, (a.size,))),
            lambda: self._expand(t, a),
        ]
        if n:
            options += [lambda: self._indexed(t, a)] * 6
            options += [
                lambda: self._narrow(t, a),
                lambda: self._select(t, a),
                lambda: self._view(t, a),
                lambda: self._view(t, a),
                lambda: (f"{t}.squeeze()", a.squeeze()),
                lambda: self._piece(t, a),
                lambda: self._unfold(t, a),
            ]
        if n == 2:
            options += [lambda: (f"{t}.t()", a.T), lambda: (f"{t}.T", a.T)] * 2
        if n >= 2:
            options += [
                lambda: self._transpose(t, a),
                lambda: self._permute(t, a),
                lambda: self._diagonal(t, a),
                lambda: self._movedim(t, a),
            ]
        for _ in range(8):
            made = self.pick(options)()
            if made is None or made[1] is None:
                continue
            text, array = made
            if v.loose and text[len(t) :].startswith((".view(", ".reshape(")):
                continue
            if v.store.mixed and text.endswith(".data"):
                continue
            if v.overlaps and text.endswith((".detach()", ".data")):
                continue  # a base that PyTorch cannot write a gradient into
            multiple = text.endswith("]") and (".chunk(" in text or ".unbind(" in text)
            var = v.view(text, array, guarded=made_quietly or multiple)
            if text.endswith(".data"):
                var.track = Track()
            elif text.endswith(".detach()"):
                var.track = Track(counter=v.track.counter)
            return var
        return v.view(f"{t}.detach()", a)

    def _indexed(self, t: str, a: np.ndarray) -> Seen:
        text, key = self.index(a.shape)
        array = a[key + (Ellipsis,) if Ellipsis not in key else key]
        return f"{t}[{text}]", array

    def _new_dim(self, t: str, a: np.ndarray) -> Seen:
        if a.ndim >= 4:
            return None
        d = self.choose.randrange(0, a.ndim + 1)
        return f"{t}.unsqueeze({d})", np.expand_dims(a, d)

    def _expand(self, t: str, a: np.ndarray) -> Seen:
        shape = tuple(self.pick([2, 3]) if n == 1 else n for n in a.shape)
        if a.ndim < 3 and self.chance(0.4):
            shape = (2, *shape)
        return f"{t}.expand({shape})", np.broadcast_to(a, shape)

    def _narrow(self, t: str, a: np.ndarray) -> Seen:
        d = self.choose.randrange(a.ndim)
        start = self.choose.randrange(a.shape[d] + 1)
        length = self.choose.randrange(a.shape[d] - start + 1)
        key = (slice(None),) * d + (slice(start, start + length),)
        return f"{t}.narrow({d}, {start}, {length})", a[key]

    def _select(self, t: str, a: np.ndarray) -> Seen:
        d = self.choose.randrange(a.ndim)
        if not a.shape[d]:
            return None
        i = self.choose.randrange(-a.shape[d], a.shape[d])
        return f"{t}.select({d}, {i})", a[(slice(None),) * d + (i, Ellipsis)]

    def _view(self, t: str, a: np.ndarray) -> Seen:
        shapes = [s for s in SHAPES if int(np.prod(s)) == a.size and len(s)]
        shapes.append((a.size,))
        shape = self.pick(shapes)
        return f"{t}.view({shape})", reshaped(a, shape)

    def _piece(self, t: str, a: np.ndarray) -> Seen:
        d = self.choose.randrange(a.ndim)
        if not a.shape[d]:
            return None
        before: tuple[Any, ...] = (slice(None),) * d
        if self.chance(0.5):
            i = self.choose.randrange(a.shape[d])
            return f"{t}.unbind({d})[{i}]", a[(*before, i, Ellipsis)]
        size = -(-a.shape[d] // 2)
        return f"{t}.chunk(2, {d})[0]", a[(*before, slice(0, size))]

    def _unfold(self, t: str, a: np.ndarray) -> Seen:
        d = self.choose.randrange(a.ndim)
        if a.shape[d] < 2 or a.ndim > 2 or self.chance(0.5):
            return None
        return f"{t}.unfold({d}, 2, 1)", np.lib.stride_tricks.sliding_window_view(a, 2, d)

    def _transpose(self, t: str, a: np.ndarray) -> Seen:
        i, j = self.choose.randrange(a.ndim), self.choose.randrange(-a.ndim, a.ndim)
        return f"{t}.transpose({i}, {j})", np.swapaxes(a, i, j)

    def _movedim(self, t: str, a: np.ndarray) -> Seen:
        i, j = self.choose.randrange(a.ndim), self.choose.randrange(a.ndim)
        return f"{t}.movedim({i}, {j})", np.moveaxis(a, i, j)

    def _permute(self, t: str, a: np.ndarray) -> Seen:
        axes = list(range(a.ndim))
        self.choose.shuffle(axes)
        return f"{t}.permute({', '.join(map(str, axes))})", a.transpose(axes)

    def _diagonal(self, t: str, a: np.ndarray) -> Seen:
        if a.ndim == 2 and self.chance(0.5) and a.shape[1] > 1:
            return f"{t}.diagonal(1)", np.diagonal(a, 1)
        return f"{t}.diagonal()", np.diagonal(a)
