"""lazyt: a static-graph tensor compiler with a lazy frontend that speaks PyTorch.

    import lazyt as torch

Operations are traced into a graph; reading a value compiles what is pending and runs it.
"""

from __future__ import annotations

import sys as _sys
import typing as _typing

# First: operations traced from here on have an origin.
from lazyt import origins as _origins  # noqa: F401

# isort: split
# Every family of functions: they fill FUNCTIONS and attach their methods to Tensor.
from lazyt import copies as _copies  # noqa: F401
from lazyt import functions as _functions  # noqa: F401
from lazyt import gradients as _gradients  # noqa: F401

# isort: split
# Modules that are public themselves.
from lazyt import autograd as autograd
from lazyt import linalg as linalg
from lazyt import random as random
from lazyt import return_types as return_types

# isort: split
# Public names that are not in FUNCTIONS, or that a module of lazyt goes by as well.
from lazyt import formats as _formats
from lazyt.device import Device as _Device
from lazyt.functions.conversion import LEGACY as _LEGACY
from lazyt.functions.creation import tensor as tensor
from lazyt.functions.softmax import softmax as softmax
from lazyt.gradmode import enable_grad as enable_grad
from lazyt.gradmode import inference_mode as inference_mode
from lazyt.gradmode import is_grad_enabled as is_grad_enabled
from lazyt.gradmode import is_inference_mode_enabled as is_inference_mode_enabled
from lazyt.gradmode import no_grad as no_grad
from lazyt.gradmode import set_grad_enabled as set_grad_enabled
from lazyt.info import finfo as finfo
from lazyt.info import iinfo as iinfo
from lazyt.inspect import dump as dump
from lazyt.inspect import explain as explain
from lazyt.inspect import reset_stats as reset_stats
from lazyt.inspect import stats as stats
from lazyt.ir import dtypes as _dtypes
from lazyt.missing import announce as _announce
from lazyt.missing import missing as _missing
from lazyt.printing import set_printoptions as set_printoptions
from lazyt.random import default_generator as default_generator
from lazyt.registry import FUNCTIONS as _FUNCTIONS
from lazyt.settings import *  # noqa: F403
from lazyt.size import Size as Size
from lazyt.tensor import Tensor as Tensor
from lazyt.tensor import attach as _attach
from lazyt.torch_names import install_importer_finder as _install
from lazyt.warned import *  # noqa: F403

if _typing.TYPE_CHECKING:
    from lazyt import amp as amp
    from lazyt import nn as nn
    from lazyt import optim as optim
    from lazyt import serialization as serialization
    from lazyt import utils as utils
    from lazyt.serialization import load as load
    from lazyt.serialization import save as save
    from lazyt.utils import typename as typename

_install()
globals().update(_LEGACY)
globals().update(_FUNCTIONS)
for _name, _function in _FUNCTIONS.items():
    # Pickle finds a function by its module and name: those it is public under, if it is made.
    if getattr(_sys.modules[_function.__module__], _function.__qualname__, None) is not _function:
        _function.__module__, _function.__qualname__ = __name__, _name

device = _Device
dtype = _dtypes.DType
float64 = double = _dtypes.float64
float32 = float = _dtypes.float32
float16 = half = _dtypes.float16
bfloat16 = _dtypes.bfloat16
int64 = long = _dtypes.int64
int32 = int = _dtypes.int32
int16 = short = _dtypes.int16
int8 = _dtypes.int8
uint8 = _dtypes.uint8
bool = _dtypes.bool_
complex64 = cfloat = _dtypes.complex64
complex128 = cdouble = _dtypes.complex128

inf, nan, pi, e = _dtypes.INF, _dtypes.NAN, 3.141592653589793, 2.718281828459045
newaxis = None
strided, layout = _formats.STRIDED, _formats.Layout
contiguous_format, preserve_format = _formats.CONTIGUOUS, _formats.PRESERVE
channels_last, channels_last_3d = _formats.CHANNELS_LAST, _formats.CHANNELS_LAST_3D
memory_format = _formats.MemoryFormat
__version__ = "0.1.0"

# What is imported when it is first named: submodules, and names by the submodule they are from.
_LATER: tuple[str, ...] = ("accelerator", "amp", "backends", "cpu", "cuda", "func", "nn", "optim")
_LATER += ("_C", "distributed", "functional", "hub", "jit", "onnx")
_LATER += ("multiprocessing", "profiler", "serialization", "special", "utils", "version")
_AUTOCAST = """
autocast is_autocast_available is_autocast_enabled set_autocast_enabled get_autocast_dtype
set_autocast_dtype is_autocast_cache_enabled set_autocast_cache_enabled clear_autocast_cache
autocast_increment_nesting autocast_decrement_nesting is_autocast_cpu_enabled
set_autocast_cpu_enabled get_autocast_cpu_dtype set_autocast_cpu_dtype get_autocast_gpu_dtype
set_autocast_gpu_dtype
"""
_FROM = {"load": "serialization", "save": "serialization", "typename": "utils", "vmap": "func"}
_FROM["compile"] = "jit"
_FROM["OutOfMemoryError"] = "cuda"
_FROM |= dict.fromkeys(_AUTOCAST.split(), "amp.autocast_mode")
_FROM["is_anomaly_enabled"] = _FROM["is_anomaly_check_nan_enabled"] = "autograd.anomaly_mode"


def __getattr__(name: str) -> _typing.Any:
    """What is imported when it is first named; functions of nn.functional among it."""
    import importlib

    if name in _LATER:
        return importlib.import_module(f"{__name__}.{name}")
    if name in _FROM:
        return getattr(importlib.import_module(f"{__name__}.{_FROM[name]}"), name)
    if not name.startswith("_"):
        importlib.import_module(f"{__name__}.nn.functional")
        if name in _FUNCTIONS:
            globals()[name] = _FUNCTIONS[name]
            return _FUNCTIONS[name]
    raise _missing(__name__, name)


def _later_method(name: str) -> _typing.Any:
    def method(self: Tensor, *args: _typing.Any, **kwargs: _typing.Any) -> _typing.Any:
        import importlib

        importlib.import_module(f"{__name__}.nn.functional")  # attaches the real method
        return getattr(self, name)(*args, **kwargs)

    method.__name__ = method.__qualname__ = name
    return method


_attach(**{name: _later_method(name) for name in ("prelu", "hardshrink")})
_announce(Tensor, "torch.Tensor")
