"""What the random-program generator knows about the tensors of the program it writes.

The generator never runs a program; it follows enough of PyTorch's state to write programs that
mostly work. Shapes, strides and aliasing are followed exactly, by empty NumPy arrays that are
sliced and reshaped like the tensors. The rest is approximate: how large and how fine values can be
(so that nothing overflows and no comparison hangs on the last bit), and which backward would fail.
A wrong guess costs nothing but a statement that raises, on every implementation alike.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

F64, F32, I64, BOOL = "float64", "float32", "int64", "bool"
INEXACT = 1000
CATEGORY = {BOOL: 0, I64: 1, F32: 2, F64: 2}


@dataclass(eq=False)
class Store:
    """One piece of memory: values are multiples of 2**-frac, below 2**top in size."""

    top: int
    frac: int
    # Whether a backward reads it beside what it was computed to: what that makes of a write that
    # no version counter sees (`.data`) depends on the formula.
    mixed: bool = False

    def absorb(self, top: int, frac: int) -> None:
        self.top, self.frac = max(self.top, top), max(self.frac, frac)


@dataclass(eq=False)
class Counter:
    """A version counter."""

    value: int = 0


@dataclass(eq=False)
class Step:
    """A recorded operation: what it saved, at which version, and whether that was freed."""

    saved: list[tuple[Counter, int]]
    freed: bool = False

    def works(self) -> bool:
        return not self.saved or (
            not self.freed and all(counter.value == version for counter, version in self.saved)
        )


@dataclass(eq=False)
class Track:
    """The autograd side of a base tensor and its views."""

    counter: Counter = field(default_factory=Counter)
    needs: bool = False
    leaf: bool = True
    history: set[Step] = field(default_factory=set)
    inner: bool = False  # recorded within a transform: by which steps is its own affair

    def works(self) -> bool:
        """Whether a backward from here is likely to work."""
        return self.needs and all(step.works() for step in self.history)

    def free(self) -> None:
        for step in self.history:
            step.freed = True


@dataclass(eq=False)
class Var:
    """A tensor expression: its text and what is known of it."""

    text: str
    array: np.ndarray
    dtype: str
    store: Store
    track: Track
    guarded: bool = False  # a view made under no_grad or one of several outputs: writes may raise
    is_view: bool = False
    loose: bool = False  # whether it can be viewed in another shape depends on the implementation
    scrambled: bool = False  # whether it may lie in memory in another order than its array
    memory: object = field(default_factory=object)  # what PyTorch knows to be one piece of memory

    @property
    def shape(self) -> tuple[int, ...]:
        return self.array.shape

    @property
    def is_float(self) -> bool:
        return CATEGORY[self.dtype] == 2

    @property
    def needs(self) -> bool:
        return self.is_float and self.track.needs

    @property
    def exact(self) -> bool:
        """Whether every implementation must get the very same values."""
        return self.store.top + self.store.frac <= (20 if self.dtype == F32 else 45)

    @property
    def overlaps(self) -> bool:
        """Whether several elements share memory (an expanded tensor)."""
        return any(s == 0 and n > 1 for s, n in zip(self.array.strides, self.shape))

    @property
    def permuted(self) -> bool:
        """Whether what is computed from it may lie in memory in the order of its strides."""
        strides = [s for s, n in zip(self.array.strides, self.shape) if n > 1]
        return self.scrambled or any(a <= b for a, b in zip(strides, strides[1:]))

    @property
    def crosses(self) -> bool:
        """Whether elements share memory though no dimension repeats (windows of `unfold`)."""
        span = 0
        for stride, n in sorted(
            (abs(s), n) for s, n in zip(self.array.strides, self.shape) if n > 1
        ):
            if 0 < stride <= span:
                return True
            span += stride * (n - 1)
        return False

    def view(self, text: str, array: np.ndarray, guarded: bool = False) -> Var:
        """Another view of the same tensor."""
        return Var(
            text,
            array,
            self.dtype,
            self.store,
            self.track,
            self.guarded or guarded,
            True,
            self.loose,
            self.scrambled,
            self.memory,
        )


def empty(shape: tuple[int, ...]) -> np.ndarray:
    return np.empty(shape, np.int8)


def promote(a: Var, b: Var) -> str:
    """PyTorch's result dtype of an operation of two tensors."""
    if CATEGORY[a.dtype] != CATEGORY[b.dtype]:
        return a.dtype if CATEGORY[a.dtype] > CATEGORY[b.dtype] else b.dtype
    if (a.array.ndim == 0) != (b.array.ndim == 0):
        return b.dtype if a.array.ndim == 0 else a.dtype
    return F64 if F64 in (a.dtype, b.dtype) else a.dtype


def broadcast(*shapes: tuple[int, ...]) -> tuple[int, ...] | None:
    """The common shape, or None."""
    try:
        return np.broadcast_shapes(*shapes)
    except ValueError:
        return None


def reshaped(array: np.ndarray, shape: tuple[int, ...]) -> np.ndarray | None:
    """The array seen in another shape without a copy, or None."""
    if array.size == 0:
        return empty(shape)
    result = array.reshape(shape)
    return result if np.shares_memory(result, array) else None
