"""torch.nn: networks as trees of modules, and the functions they compute."""

# ruff: noqa: F401 (what is imported here is what the module offers)
from __future__ import annotations

from lazyt.missing import getattr_of
from lazyt.parameter import Buffer, Parameter

from . import attention, functional, init, modules, parallel, parameter, utils
from .modules import *  # noqa: F403
from .parallel import DataParallel
from .parameter import UninitializedBuffer, UninitializedParameter

__getattr__ = getattr_of(__name__)
