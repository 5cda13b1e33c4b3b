"""What an operation gave in one library, as plain data, and how it differs from another's.

    difference(("value", read(a)), ("value", read(b)), computed="float32")    # ("", "") or a kind

Kinds: "values", "dtype", "shape", "requires_grad", "result" and "length" of results that differ;
"accepts" what PyTorch refuses, "refuses" what it takes, "lacks" a name, another "error type";
"complex" where complex numbers are not implemented.
"""

from __future__ import annotations

import re
import types
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

# Relative and absolute: values, gradients. Halves may round once more or less than PyTorch's.
TOLERANCES = {
    "float16": (4e-3, 4e-3),
    "bfloat16": (3e-2, 3e-2),
    "float32": (3e-5, 2e-5),
    "float64": (1e-9, 1e-9),
    "complex64": (3e-5, 2e-5),
    "complex128": (1e-9, 1e-9),
}
HALVES = ("float16", "bfloat16")


@dataclass(frozen=True)
class Difference:
    """One way in which lazyt did not do what PyTorch does."""

    op: str
    dtype: str
    part: str
    kind: str
    sample: str
    detail: str

    def __str__(self) -> str:
        return (
            f"{self.op} [{self.dtype}] {self.part}: {self.kind}: {self.detail}\n    {self.sample}"
        )


@dataclass(frozen=True)
class Known:
    """A difference that is meant, and why; fields but the last are regular expressions that what
    they describe must match from beginning to end."""

    op: str
    part: str
    kind: str
    dtype: str
    reason: str

    def explains(self, d: Difference) -> bool:
        """Whether a difference is this one."""
        pairs = ((self.op, d.op), (self.part, d.part), (self.kind, d.kind), (self.dtype, d.dtype))
        return all(re.fullmatch(pattern, text) for pattern, text in pairs)


def unexplained(found: list[Difference], known: Sequence[Known]) -> list[Difference]:
    """The differences that no entry explains. Complex numbers are refused by default."""
    return [d for d in found if d.kind != "complex" and not any(k.explains(d) for k in known)]


@dataclass(frozen=True)
class Found:
    """What a tensor that was read is."""

    dtype: str
    shape: tuple[int, ...]
    requires_grad: bool
    values: np.ndarray


class Reader:
    """Reads what an operation gave, of one library."""

    def __init__(self, library: types.ModuleType):
        self.library = library

    def __call__(self, x: Any) -> Any:
        """Plain data: `Found` for tensors, in tuples; reading lazyt's computes them."""
        torch = self.library
        if isinstance(x, torch.Tensor):
            name = str(x.dtype).removeprefix("torch.")
            plain = x.detach()
            if name == "bfloat16":
                plain = plain.float()
            values = np.array(plain.resolve_conj().resolve_neg().numpy(force=True))
            return Found(name, tuple(x.shape), x.requires_grad, values)
        if isinstance(x, (list, tuple)):
            return tuple(self(i) for i in x)
        if isinstance(x, (torch.dtype, torch.device)):
            return str(x)
        return x


def difference(
    expected: Any, actual: Any, values: bool = True, computed: str = "", sums: bool = False
) -> tuple[str, str]:
    """The kind of the first difference between two outcomes and what it is; ("", "") if none.

    values: False where only types count. computed: the dtype of the operands, which bounds how
    exact a result of a wider dtype is. sums: elements are sums whose terms may be much larger.
    """
    if expected[0] != actual[0] or expected[0] == "error":
        if expected[0] == actual[0]:
            if expected[1] == actual[1]:
                return "", ""
            if actual[1] == "NotImplementedError" and "omplex" in actual[2]:
                return "complex", actual[2]
            return "error type", f"{expected[1:]} but {actual[1:]}"
        if expected[0] == "error":
            return "accepts", f"{expected[1:]} but {_brief(actual[1])}"
        if actual[1] == "NotImplementedError" and (
            "omplex" in actual[2] or computed.startswith("complex")
        ):
            return "complex", actual[2]
        return ("lacks" if actual[1] in _LACKING else "refuses"), f"{actual[1]}: {actual[2]}"
    # Of integers functions are computed in float32, whatever `out` is.
    bounds = TOLERANCES.get(computed, TOLERANCES["float32"])
    tolerance = (*bounds, sums) if values else None
    return _compare(expected[1], actual[1], "", tolerance)


_LACKING = ("AttributeError", "Absent")


# Relative, absolute, and whether that is a part of the largest element.
Tolerance = tuple[float, float, bool]


def _compare(
    expected: Any, actual: Any, where: str, tolerance: Tolerance | None
) -> tuple[str, str]:
    if isinstance(expected, tuple) and isinstance(actual, tuple):
        if len(expected) != len(actual):
            return "length", f"{where}: {len(expected)} but {len(actual)}"
        for index, (a, b) in enumerate(zip(expected, actual)):
            found = _compare(a, b, f"{where}[{index}]", tolerance)
            if found[0]:
                return found
        return "", ""
    if not (isinstance(expected, Found) and isinstance(actual, Found)):
        same = type(expected) is type(actual) and (expected == actual or expected != expected)
        return ("", "") if same else ("result", f"{where}: {_brief(expected)} but {_brief(actual)}")
    for kind in ("dtype", "shape", "requires_grad"):
        a, b = getattr(expected, kind), getattr(actual, kind)
        if a != b:
            return kind, f"{where}: {a} but {b}"
    if tolerance is not None and not _close(expected, actual, tolerance):
        return "values", f"{where}: {_brief(expected)} but {_brief(actual)}"
    return "", ""


def _close(a: Found, b: Found, tolerance: Tolerance) -> bool:
    """Equality up to rounding; a term of a sum, rounded, may be off by more than all of the sum."""
    if a.dtype not in TOLERANCES:
        return np.array_equal(a.values, b.values)
    *bounds, whole = tolerance
    relative, absolute = max(TOLERANCES[a.dtype], tuple(bounds))
    with np.errstate(all="ignore"):
        x, y = a.values, b.values
        if a.dtype in HALVES:
            x, y = x.astype(np.float64), y.astype(np.float64)
        if whole or a.dtype in HALVES:
            absolute *= max(1, np.abs(x[np.isfinite(x)]).max(initial=0))
        return np.allclose(y, x, relative, absolute, equal_nan=True)


def _brief(x: Any) -> str:
    if isinstance(x, Found):
        text = np.array2string(x.values, precision=5, threshold=12).replace("\n", "")
        return f"{x.dtype}{list(x.shape)} {text[:160]}"
    if isinstance(x, tuple):
        return "(" + ", ".join(_brief(i) for i in x[:4]) + ")"
    return repr(x)[:200]
