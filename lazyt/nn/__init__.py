"""torch.nn: networks as trees of modules, and the functions they compute."""

# ruff: noqa: F401 (what is imported here is what the module offers)
from __future__ import annotations

from lazyt.missing import getattr_of
from lazyt.parameter import Buffer, Parameter

from . import functional, init, modules, parameter, utils
from .modules import *  # noqa: F403

__getattr__ = getattr_of(__name__)
