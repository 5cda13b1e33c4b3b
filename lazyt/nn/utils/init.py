"""Modules made without drawing initial values that would be overwritten anyway."""

from __future__ import annotations

import inspect
from typing import Any

from lazyt.nn.module import Module
from lazyt.random import default_generator


def skip_init(module_cls: type[Module], *args: Any, **kwargs: Any) -> Module:
    """module_cls(*args, **kwargs), whose parameters hold any values; no random number is taken.

    Errors: RuntimeError for a class that is no module or takes no `device`.
    """
    if not issubclass(module_cls, Module):
        raise RuntimeError(f"Expected a Module; got {module_cls}")
    if "device" not in inspect.signature(module_cls).parameters:
        raise RuntimeError("Module must support a 'device' arg to skip initialization")
    state = default_generator.get_state()
    made = module_cls(*args, **kwargs)
    default_generator.set_state(state)
    return made
