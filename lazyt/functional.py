"""torch.functional: functions of the top module, by their older place.

from torch.functional import norm, einsum
"""

from __future__ import annotations

from typing import Any

from lazyt.missing import missing
from lazyt.registry import FUNCTIONS


def __getattr__(name: str) -> Any:
    import importlib

    importlib.import_module("lazyt.nn.functional")  # some of the functions are defined there
    if name in FUNCTIONS:
        return FUNCTIONS[name]
    raise missing(__name__, name)
