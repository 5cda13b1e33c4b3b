"""How exactly devices compute products: the user's settings, and what they mean for a device.

    matmul "highest"     products of float32 in float32: the default
    matmul "high"        rounded to tf32 by matrix units, from compute capability 8.0 on

Products of float16 and bfloat16 are taken by matrix units wherever a device has them: they multiply
exactly and add in float32. A setting is part of the key of every program that may use a device, and
what was traced before a change is computed before it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, NamedTuple

from lazyt.ir.opdef import PLACING

if TYPE_CHECKING:
    from lazyt.codegen.templates import MatrixUnits


class Precision(NamedTuple):
    """matmul: "highest", "high" or "medium", of which the last two are the same here.
    convolutions_in_tf32: what "high" is for products; None, until it is chosen, is True as in
    PyTorch, but for the host-executed device, which is there to be compared with the CPU."""

    matmul: str = "highest"
    convolutions_in_tf32: bool | None = None


PRECISION = [Precision()]
# From which compute capability on matrix units take which operands.
UNITS = {"float16": (7, 5), "bfloat16": (8, 0), "float32": (8, 0)}


def set_precision(**changes: Any) -> None:
    """Changes fields of the setting."""
    changed = PRECISION[0]._replace(**changes)
    if changed != PRECISION[0]:
        if PLACING:
            from .drain import drain

            drain()
        PRECISION[0] = changed


def units_of(capability: tuple[int, int], precision: Precision, host: bool = False) -> MatrixUnits:
    """What the matrix units of a device of a compute capability are to compute; host: of the
    host-executed device."""
    from lazyt.codegen.templates import MatrixUnits  # loads with the first plan

    able = frozenset(dtype for dtype, least in UNITS.items() if capability >= least)
    exact = able - {"float32"}
    chosen = precision.convolutions_in_tf32
    coarse = not host if chosen is None else chosen
    return MatrixUnits(
        exact if precision.matmul == "highest" else able,
        able if coarse else exact,
    )


def matrix_units(devices: Iterable[str]) -> dict[str, MatrixUnits]:
    """What matrix units are to compute on each of some devices ("cuda:0")."""
    from .cuda.calls import number
    from .cuda.driver import device

    found = {name: device(number(name)) for name in devices}
    return {name: units_of(d.capability, PRECISION[0], d.host) for name, d in found.items()}
