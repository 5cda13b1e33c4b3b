"""Values of primitives on a device, many computed together, against the CPU's.

    batch = Batch()
    batch.add("exp", node_on_device, expected)
    batch.differences()                     # {"exp": ["..."]} where they differ

One drain computes the whole batch, so that its kernels go to the compiler together.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

import numpy as np

from lazyt.ir.node import Node
from lazyt.runtime import drain
from lazyt.runtime.cuda.array import DeviceArray
from lazyt.runtime.cuda.calls import FUNCTIONS, by_host

# Relative to the largest magnitude of a result: the order of a sum is the device's own, and CUDA's
# functions may err by 2 units in the last place.
TOLERANCES = {"float64": 1e-13, "float32": 4e-6, "float16": 2e-3, "bfloat16": 1.6e-2}


def difference(found: Any, expected: Any, dtype: str, looser: float = 1.0) -> str | None:
    """How an array differs from what is expected, in words; None where it does not."""
    found, expected = np.asarray(found), np.asarray(expected)
    if found.dtype != expected.dtype or found.shape != expected.shape:
        return f"{found.dtype}{found.shape} instead of {expected.dtype}{expected.shape}"
    tolerance = TOLERANCES.get(dtype, 0) * looser
    if expected.dtype.kind != "f" or not tolerance:
        same = np.array_equal(found, expected)
    else:
        finite = np.abs(expected[np.isfinite(expected)].astype(np.float64))
        scale = max([1.0, *finite.ravel().tolist()])
        same = np.allclose(
            found.astype(np.float64),
            expected.astype(np.float64),
            rtol=0,
            atol=tolerance * scale,
            equal_nan=True,
        )
    return None if same else f"{dtype}: {found.tolist()} instead of {expected.tolist()}"


# Names that a call's text has beside its function's.
NO_FUNCTIONS = {
    "np", "int32", "int64", "float16", "float32", "float64", "bool", "uint8", "copy", "asarray",
}  # fmt: skip


class Batch:
    """Nodes to be computed in one drain, each with a name and the value expected of it."""

    def __init__(self, looser: float = 1.0) -> None:
        self.looser = looser
        self.rows: list[tuple[str, Node, np.ndarray]] = []

    def add(self, name: str, node: Node, expected: np.ndarray) -> None:
        """A node on a device, and the CPU's value of it."""
        self.rows.append((name, node, expected))

    def differences(self) -> dict[str, list[str]]:
        """What is wrong, by name."""
        drain.drain()
        wrong: dict[str, list[str]] = {}
        for name, node, expected in self.rows:
            found = drain.value_of(node)
            on_device = isinstance(node.value, DeviceArray)
            assert on_device == (node.type.device != "cpu"), f"{name} is not where it belongs"
            told = difference(found, expected, node.type.dtype.name, self.looser)
            if told:
                wrong.setdefault(name, []).append(told)
        return wrong


@contextmanager
def host_trips() -> Iterator[set[str]]:
    """What NumPy computes, while this is open, of values on a device, by the plans made meanwhile:
    names of functions. What has no elements does not count."""
    found: set[str] = set()

    def watched(compute: Callable, where: str, dtypes: tuple[str, ...], *operands: Any) -> Any:
        result = by_host(compute, where, dtypes, *operands)
        one = result[0] if isinstance(result, tuple) else result
        if one.nbytes:
            names = [n for n in compute.__code__.co_names if n not in NO_FUNCTIONS]
            found.add(".".join(names) or "number")
        return result

    with mock.patch.dict(FUNCTIONS, by_host=watched):
        yield found
